/* The registry of kinds: what each resource is called, can do and looks like.
 *
 * Kinds are data. A registry is built from documents in the format of bus/model/kinds/README.md:
 * the built-in ones are linked into the program (kb_kinds_builtin), a plugin may bring its own, and
 * a user's CustomResourceDefinition compiles with the same engine. */
#ifndef KUBUS_MODEL_KIND_H
#define KUBUS_MODEL_KIND_H

#include "bus/model/schema.h"

enum kb_verb {
    KB_VERB_GET = 1,
    KB_VERB_LIST = 2,
    KB_VERB_WATCH = 4,
    KB_VERB_CREATE = 8,
    KB_VERB_UPDATE = 16,
    KB_VERB_PATCH = 32,
    KB_VERB_DELETE = 64,
    KB_VERB_DELETECOLLECTION = 128,
};

/* One verb of a word ("get"), 0 when unknown; and the word of one verb. */
KB_API unsigned kb_verb_of(kb_str word);
KB_API const char *kb_verb_word(unsigned verb);

struct kb_strs {
    const kb_str *items;
    size_t count;
};

struct kb_subresource {
    kb_str name;
    unsigned verbs;
    kb_str group, version, kind; /* of its body */
};

struct kb_column {
    kb_str name, type, format, description;
    int64_t priority;
    kb_val source; /* the whole entry: cell, path, paths, of */
};

struct kb_selectable {
    kb_str name, path, otherwise; /* `otherwise`: another path when the first is empty */
};

struct kb_kind_index {
    kb_str name, path;
    bool controller; /* the UID of the owner reference with controller: true */
};

/* Immutable; all pointers live as long as the registry. Paths have no leading dot. */
struct kb_kind {
    kb_str group, version, kind, list_kind, plural, singular;
    kb_str resource;    /* of store keys: "pods", "deployments.apps" */
    kb_str api_version; /* "v1", "apps/v1" */
    bool namespaced, generation;
    bool stored;           /* false: only the body of a call */
    bool subresource_only; /* not in discovery */
    bool status_split;     /* has a status subresource */
    bool custom;           /* user-defined: schema rules of a CRD */
    unsigned verbs;
    struct kb_strs short_names, categories;
    const struct kb_schema *schema;
    kb_str schema_name;
    const struct kb_subresource *subresources;
    size_t nsubresources;
    kb_str scale_spec, scale_status, scale_selector; /* paths; empty without scale */
    const struct kb_column *columns;
    size_t ncolumns;
    const struct kb_selectable *selectable;
    size_t nselectable;
    const struct kb_kind_index *indices;
    size_t nindices;
    struct kb_strs immutable, immutable_once_set;
    kb_str immutable_when; /* path of a boolean */
    struct kb_strs immutable_then;
    kb_str mutable_under, mutable_message; /* below `under` only `mutable_fields` may change */
    struct kb_strs mutable_fields;
    kb_str name_format, grace_path, finalizers_path;
    int64_t ttl_s; /* 0: for ever */
    kb_val source; /* the kind's whole entry */
};

struct kb_kinds;

KB_API struct kb_kinds *kb_kinds_new(void);
KB_API void kb_kinds_destroy(struct kb_kinds **kinds_p);
/* The kinds that are linked into the program. O(all of them), some milliseconds. Never NULL. */
KB_API struct kb_kinds *kb_kinds_builtin(void);
/* Add a document {kinds: […], definitions: {…}} or a list of such. Borrows `document`'s bytes for
 * as long as the registry lives. Definitions may be used across calls. On failure the registry is
 * as before but for definitions. -KB_EINVAL with what is wrong. */
KB_API int kb_kinds_add(struct kb_kinds *kinds, kb_val document, struct kb_err *err);
/* The same, keeping the document. */
KB_API int kb_kinds_add_doc(struct kb_kinds *kinds, struct kb_doc *doc, struct kb_err *err);

/* Compile a schema by the rules of user-defined kinds (a CustomResourceDefinition's
 * openAPIV3Schema): null and "" are values, wrong types are causes of validation, messages are
 * those of Kubernetes' OpenAPI validation. Lives as long as the registry, which borrows
 * `openapi_v3`. -KB_EINVAL. */
KB_API int kb_kinds_compile(struct kb_kinds *kinds, kb_val openapi_v3,
                            const struct kb_schema **ret_schema, struct kb_err *err);

/* Lookups: O(1); NULL when there is none. */
KB_API const struct kb_kind *kb_kinds_by_resource(const struct kb_kinds *kinds, kb_str resource);
KB_API const struct kb_kind *kb_kinds_by_plural(const struct kb_kinds *kinds, kb_str group,
                                                kb_str version, kb_str plural);
KB_API const struct kb_kind *kb_kinds_by_kind(const struct kb_kinds *kinds, kb_str api_version,
                                              kb_str kind);
/* All, in the order they were added. */
KB_API size_t kb_kinds_count(const struct kb_kinds *kinds);
KB_API const struct kb_kind *kb_kinds_index(const struct kb_kinds *kinds, size_t at);
/* The document of a definition; KB_NONE when there is none. */
KB_API kb_val kb_kinds_definition(const struct kb_kinds *kinds, kb_str name);

KB_API const struct kb_subresource *kb_kind_subresource(const struct kb_kind *kind, kb_str name);

#endif
