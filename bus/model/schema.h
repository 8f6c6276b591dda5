/* The schema engine: one walk each to decode, default and validate a tree.
 *
 * A schema is compiled once from the words of an OpenAPI v3 structural schema (see
 * bus/model/kinds/README.md for the words beyond it) and is immutable from then on. The order of
 * the steps for an object that comes in is: decode, default, the kind's own logic, validate. */
#ifndef KUBUS_MODEL_SCHEMA_H
#define KUBUS_MODEL_SCHEMA_H

#include "bus/model/causes.h"

struct kb_schema;

/* ---- looking into one: for OpenAPI, explain, patches ---- */

/* The schema of a member: a property's, else that of additionalProperties, else NULL. O(1). NULL
 * in, NULL out. */
KB_API const struct kb_schema *kb_schema_member(const struct kb_schema *schema, kb_str name);
KB_API const struct kb_schema *kb_schema_items(const struct kb_schema *schema);
/* Down a path "spec.template.spec"; `[*]` goes into a list's items. NULL when there is no such. */
KB_API const struct kb_schema *kb_schema_at(const struct kb_schema *schema, const char *path);
/* The document it was compiled from, words beside a $ref not included. */
KB_API kb_val kb_schema_source(const struct kb_schema *schema);
KB_API kb_str kb_schema_name(const struct kb_schema *schema); /* of the definition, or empty */

enum kb_list_type { KB_LIST_ATOMIC, KB_LIST_SET, KB_LIST_MAP };
/* What a strategic merge patch does here. */
enum { KB_PATCH_MERGE = 1, KB_PATCH_RETAIN_KEYS = 2 };
KB_API unsigned kb_schema_patch(const struct kb_schema *schema, kb_str *ret_merge_key);

/* ---- decode ---- */

/* What decoding found that is not an error of itself: fields that no schema knows. */
struct kb_unknowns {
    struct kb_arena *arena;
    kb_str *paths; /* "spec.foo" */
    size_t count, cap;
};

/* Make `node` an object of this schema, in place: null members go, unknown fields go (their paths
 * into `unknowns`, which may be NULL), numbers and quantities get their canonical form. -KB_EINVAL:
 * a value of the wrong type, with the text that Kubernetes' decoder has ("json: cannot unmarshal
 * string into Go struct field DeploymentSpec.spec.replicas of type int32"). For schemas of
 * user-defined kinds wrong types are left to validation instead. O(size). */
KB_API int kb_schema_decode(const struct kb_schema *schema, struct kb_arena *arena,
                            struct kb_node *node, struct kb_unknowns *unknowns, struct kb_err *err);

/* Fill in what is absent and has a default, in place. O(size). */
KB_API void kb_schema_default(const struct kb_schema *schema, struct kb_arena *arena,
                              struct kb_node *node);

/* Check everything that the schema says, adding all that is wrong. `at` is where `node` stands;
 * NULL for a whole object. `causes` brings the arena. O(size). */
KB_API void kb_schema_validate(const struct kb_schema *schema, const struct kb_node *node,
                               const struct kb_at *at, struct kb_causes *causes);

/* Text against a named format ("dns1123-subdomain", "quantity" …): NULL when it fits or the format
 * is not known, else what is wrong, as Kubernetes says it. */
KB_API const char *kb_format_check(const char *format, kb_str text);

#endif
