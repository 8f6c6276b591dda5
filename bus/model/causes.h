/* What is wrong with an object: a list of causes, each at a field, as in a Status of reason
 * Invalid.
 *
 * A place is a chain of frames on the stack of whoever walks the object; its text
 * ("spec.containers[0].name") is made only when something is wrong there. */
#ifndef KUBUS_MODEL_CAUSES_H
#define KUBUS_MODEL_CAUSES_H

#include "bus/model/node.h"

/* One step of a path; the root is NULL. Lives on the stack. */
struct kb_at {
    const struct kb_at *up;
    enum { KB_AT_FIELD, KB_AT_INDEX, KB_AT_KEY } how;
    kb_str name;  /* FIELD, KEY */
    size_t index; /* INDEX */
};

static inline struct kb_at kb_at_name(const struct kb_at *up, kb_str name)
{
    return (struct kb_at){.up = up, .how = KB_AT_FIELD, .name = name};
}
static inline struct kb_at kb_at_field(const struct kb_at *up, const char *name)
{
    return kb_at_name(up, kb_str_of(name)); /* may hold dots: "spec.template" */
}
static inline struct kb_at kb_at_key(const struct kb_at *up, kb_str key)
{
    return (struct kb_at){.up = up, .how = KB_AT_KEY, .name = key};
}
static inline struct kb_at kb_at_index(const struct kb_at *up, size_t index)
{
    return (struct kb_at){.up = up, .how = KB_AT_INDEX, .index = index};
}
/* Append the text of a place; nothing for the root. */
KB_API void kb_at_write(const struct kb_at *at, struct kb_buf *out);

/*    type            reason                     text */
#define KB_CAUSE_MAP(X)                                                                            \
    X(REQUIRED, "FieldValueRequired", "Required value")                                            \
    X(INVALID, "FieldValueInvalid", "Invalid value")                                               \
    X(NOT_SUPPORTED, "FieldValueNotSupported", "Unsupported value")                                \
    X(DUPLICATE, "FieldValueDuplicate", "Duplicate value")                                         \
    X(FORBIDDEN, "FieldValueForbidden", "Forbidden")                                               \
    X(TOO_LONG, "FieldValueTooLong", "Too long")                                                   \
    X(TOO_MANY, "FieldValueTooMany", "Too many")                                                   \
    X(TYPE_INVALID, "FieldValueTypeInvalid", "Invalid value")                                      \
    X(NOT_FOUND, "FieldValueNotFound", "Not found")                                                \
    X(INTERNAL, "InternalError", "Internal error")                                                 \
    X(NAMESPACE_TERMINATING, "NamespaceTerminating", "")                                           \
    X(DISRUPTION_BUDGET, "DisruptionBudget", "")

enum kb_cause_type {
#define X(type, reason, text) KB_CAUSE_##type,
    KB_CAUSE_MAP(X)
#undef X
};

/* Everything lives in the arena of the list. */
struct kb_cause {
    enum kb_cause_type type;
    kb_str field;   /* "spec.replicas"; empty for the object as a whole */
    kb_str message; /* "Invalid value: -1: must be greater than or equal to 0" */
};

/* Zero-initialized but for `arena` is empty and valid. Keeps KB_CAUSES_MAX and counts the rest. */
struct kb_causes {
    struct kb_arena *arena;
    struct kb_cause *items;
    size_t count, cap;
    size_t left_out;
};
enum { KB_CAUSES_MAX = 256 };

/* Add a cause. `bad` is the value at fault (NULL: none is shown), `detail` a printf format for what
 * comes behind it (NULL: nothing). */
KB_API void kb_causes_add(struct kb_causes *causes, enum kb_cause_type type, const struct kb_at *at,
                          const struct kb_node *bad, const char *detail, ...) KB_PRINTF(5, 6);
/* The same with a text as the bad value. */
KB_API void kb_causes_add_str(struct kb_causes *causes, enum kb_cause_type type,
                              const struct kb_at *at, kb_str bad, const char *detail, ...)
    KB_PRINTF(5, 6);
/* The same with a value that is written already, as kb_go_labels does. */
KB_API void kb_causes_add_go(struct kb_causes *causes, enum kb_cause_type type,
                             const struct kb_at *at, kb_str value, const char *detail, ...)
    KB_PRINTF(5, 6);
/* Append a map of texts, or a LabelSelector, as Go prints it (%#v), for so it stands in messages of
 * Kubernetes that people know. NULL is nil. */
KB_API void kb_go_labels(const struct kb_node *map, struct kb_buf *out);
KB_API void kb_go_selector(const struct kb_node *selector, struct kb_buf *out);
KB_API const char *kb_cause_reason(enum kb_cause_type type);
/* "spec.x: Required value", or "[a, b]" for several: what follows `Pod "x" is invalid: `. */
KB_API void kb_causes_text(const struct kb_causes *causes, struct kb_buf *out);

#endif
