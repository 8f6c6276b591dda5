/* Selectors: which objects are meant, by label or by field.
 *
 * Compiled once, matched often: a match reads the labels in place and allocates nothing. Texts of
 * errors are those of Kubernetes. */
#ifndef KUBUS_MODEL_SELECTOR_H
#define KUBUS_MODEL_SELECTOR_H

#include "bus/model/node.h"

/* ---- labels ---- */

struct kb_selector;

/* "a=b,c in (x,y),!d,e!=f,g notin (z),h,i>5"; the empty text selects everything. -KB_EINVAL. */
KB_API int kb_selector_parse(kb_str text, struct kb_selector **ret_selector, struct kb_err *err);
/* A LabelSelector object: matchLabels and matchExpressions. One that is absent or null selects
 * nothing, an empty one everything. -KB_EINVAL. */
KB_API int kb_selector_of(kb_val label_selector, struct kb_selector **ret_selector,
                          struct kb_err *err);
/* A plain map of labels, as spec.selector of Services and ReplicationControllers. Absent or empty
 * selects nothing. Never NULL. */
KB_API struct kb_selector *kb_selector_of_map(kb_val labels);
KB_API void kb_selector_destroy(struct kb_selector **selector_p);

/* `labels` is the map itself; KB_NONE is an object without labels. O(requirements × labels). */
KB_API bool kb_selector_match(const struct kb_selector *selector, kb_val labels);
KB_API bool kb_selector_match_node(const struct kb_selector *selector,
                                   const struct kb_node *labels);
/* metadata.labels of an object. */
KB_API bool kb_selector_match_object(const struct kb_selector *selector, kb_val object);

KB_API bool kb_selector_is_nothing(const struct kb_selector *selector);
KB_API bool kb_selector_is_everything(const struct kb_selector *selector);
/* Append the canonical text, which parses to the same selector ("nothing" appends nothing). */
KB_API void kb_selector_format(const struct kb_selector *selector, struct kb_buf *out);

/* Why a text is no label key ("example.com/name") or value; NULL when it is fine. Static texts. */
KB_API const char *kb_label_key_problem(kb_str key);
KB_API const char *kb_label_value_problem(kb_str value);

/* ---- fields ---- */

struct kb_field_requirement {
    kb_str path; /* "spec.nodeName" */
    kb_str value;
    bool equal; /* else: not equal */
};

struct kb_field_selector;

/* "metadata.name=a,spec.nodeName!=n1"; =, == and !=, a backslash before , = or \ in a value. Which
 * paths a kind supports is for the caller to check. -KB_EINVAL. */
KB_API int kb_field_selector_parse(kb_str text, struct kb_field_selector **ret_selector,
                                   struct kb_err *err);
KB_API void kb_field_selector_destroy(struct kb_field_selector **selector_p);
KB_API size_t kb_field_selector_requirements(const struct kb_field_selector *selector,
                                             const struct kb_field_requirement **ret);
/* Texts compare as they are, numbers and booleans by their text; what is absent is "", and false
 * when it is compared with "true" or "false". NULL matches all. */
KB_API bool kb_field_selector_match(const struct kb_field_selector *selector, kb_val object);

#endif
