/* Indices that are declared for a resource: which value an object has in each, and the keys of
 * their entries.
 *
 * Every object has exactly one value in every index of its resource; one that it does not state is
 * the empty text, so that `pods?node=` finds the pods without a node. An entry says only that some
 * kept version of the object has the value: a reader looks at the version it wants. */
#ifndef KUBUS_STORE_INDEX_H
#define KUBUS_STORE_INDEX_H

#include "bus/base/map.h"
#include "bus/base/limits.h"
#include "bus/model/doc.h"
#include "bus/model/key.h"

enum { KB_INDEX_MAX = 32, KB_INDEX_ENTRY_MAX_BYTES = 12 + KB_KEY_MAX_BYTES };

struct kb_index {
    uint32_t id; /* never used again */
    char *name;  /* "node" */
    char *path;  /* "spec.nodeName", "@owner", "@label:KEY" */
    bool ready;  /* its entries are complete */
};

struct kb_resource {
    char *name; /* "pods" */
    size_t n;
    struct kb_index indices[KB_INDEX_MAX];
};

/* All resources that have declared something. Zero-initialized is empty and valid. */
struct kb_indices {
    struct kb_map resources; /* name → struct kb_resource */
    uint32_t next_id;        /* 0 counts as 1 */
};

void kb_indices_finish(struct kb_indices *indices);
struct kb_resource *kb_indices_of(const struct kb_indices *indices, kb_str resource); /* or NULL */
/* NULL when it is not declared. */
struct kb_index *kb_index_find(const struct kb_resource *resource, kb_str name);

/* Is this list of {name, path} what is declared already? Refuses a malformed one: -KB_EINVAL. */
int kb_indices_same(const struct kb_indices *indices, kb_str resource, kb_val list, bool *ret_same,
                    struct kb_err *err);
/* Declare: the value that goes to the log and the database, with ids: {resource, indices: [{id,
 * name, path, ready}]}. Unchanged indices keep id and readiness. `list` has been checked. */
void kb_indices_plan(struct kb_indices *indices, kb_str resource, kb_val list, struct kb_w *w);
/* Carry out what was planned, or what the database has. -KB_EIO when malformed. */
int kb_indices_apply(struct kb_indices *indices, kb_val planned, struct kb_err *err);
/* The present state of a resource in the same form. */
void kb_indices_write(const struct kb_resource *resource, struct kb_w *w);

/* The object's value at a path; numbers and booleans as text in `scratch`. Empty when there is
 * none. */
kb_str kb_index_value(const char *path, kb_val doc, char scratch[KB_VAL_TEXT_BYTES]);
/* The uid of the controlling owner; empty without one. */
kb_str kb_doc_owner_uid(kb_val doc);

/* The entry of an object, `key` being its whole key; returns the length. With an empty name the
 * prefix of all with this value. */
size_t kb_index_entry(uint32_t id, kb_str value, struct kb_key key,
                      char out[KB_INDEX_ENTRY_MAX_BYTES]);
/* "ns/name" in an entry; empty when malformed. */
kb_str kb_index_entry_name(kb_str entry);
enum { KB_INDEX_PREFIX_BYTES = 12 };

#endif
