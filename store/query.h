/* A view's name, taken apart: which objects of a resource it selects. docs/protocol.md, section 5.
 */
#ifndef KUBUS_STORE_QUERY_H
#define KUBUS_STORE_QUERY_H

#include "bus/model/keep.h"
#include "bus/model/selector.h"
#include "store/index.h"

enum { KB_QUERY_KEYS_MAX = 8 };

struct kb_query_key {
    kb_str name;      /* "ns", "node" */
    kb_str value;     /* decoded */
    const char *path; /* of an index, borrowed from the declaration; NULL: ns or name */
};

struct kb_query {
    struct kb_arena arena;
    kb_str resource;
    struct kb_query_key keys[KB_QUERY_KEYS_MAX]; /* sorted by name */
    size_t n;
    struct kb_selector *labels; /* NULL: none */
    uint32_t shard, shards;     /* shards 0: none */
    bool with_old;
    struct kb_keep *fields; /* what of the documents is wanted; NULL: all */
    kb_str fields_text;
};

/* `declared` are the indices of the query's resource, asked for at parse time, and must not change
 * while the query is used. -KB_EINVAL: malformed, or a key that is no index. */
int kb_query_parse(kb_str text, const struct kb_indices *declared, struct kb_query *ret_query,
                   struct kb_err *err);
void kb_query_finish(struct kb_query *query);
/* Is this object (of the query's resource) selected? */
bool kb_query_match(const struct kb_query *query, struct kb_key key, kb_val doc);

/* All queries of one shape are answered for an object by one lookup: the shape says what is looked
 * at (names of keys, the number of shards, the selector) and what is told (fields, with=old), the
 * values say which of its views an object is in. */
void kb_query_shape(const struct kb_query *query, struct kb_buf *out);
void kb_query_values(const struct kb_query *query, struct kb_buf *out);
/* The values of an object for the shape of `query`; false: the selector does not match, so it is in
 * no view of the shape. */
bool kb_query_values_of(const struct kb_query *query, struct kb_key key, kb_val doc,
                        struct kb_buf *out);
/* Does it depend on the document, or on the key alone? */
bool kb_query_reads_doc(const struct kb_query *query);

#endif
