/* A mutable tree: what a document becomes while it is defaulted, patched, pruned or built.
 *
 * All nodes and strings live in one arena and are freed with it. Strings may also be borrowed from
 * a document that outlives the tree. Map members keep their order; lookups are linear, which beats
 * hashing at the sizes that objects have. */
#ifndef KUBUS_MODEL_NODE_H
#define KUBUS_MODEL_NODE_H

#include "bus/base/arena.h"
#include "bus/model/doc.h"

struct kb_node;

struct kb_member {
    kb_str key; /* empty in arrays */
    struct kb_node *val;
};

/* `type` is never KB_NONE. Read the fields freely; change them through the functions. */
struct kb_node {
    enum kb_type type;
    uint32_t count, cap; /* of a map or array */
    union {
        bool b;
        int64_t i;
        double d;
        kb_str s;
        struct kb_member *items;
    };
};

/* ---- making ---- */
KB_API struct kb_node *kb_node_nil(struct kb_arena *a);
KB_API struct kb_node *kb_node_bool(struct kb_arena *a, bool b);
KB_API struct kb_node *kb_node_int(struct kb_arena *a, int64_t i);
KB_API struct kb_node *kb_node_double(struct kb_arena *a, double d);
KB_API struct kb_node *kb_node_str(struct kb_arena *a, kb_str s); /* copies the text */
KB_API inline struct kb_node *kb_node_cstr(struct kb_arena *a, const char *s)
{
    return kb_node_str(a, (kb_str){s, s ? strlen(s) : 0});
}
KB_API struct kb_node *kb_node_map(struct kb_arena *a);
KB_API struct kb_node *kb_node_array(struct kb_arena *a);
/* Decode a value; texts are borrowed from the value's document. KB_NONE gives NULL. */
KB_API struct kb_node *kb_node_of(struct kb_arena *a, kb_val val);
KB_API struct kb_node *kb_node_copy(struct kb_arena *a, const struct kb_node *node); /* deep */

/* ---- reading: NULL in, NULL or the default out ---- */
KB_API struct kb_node *kb_node_getn(const struct kb_node *map, kb_str key);
KB_API inline struct kb_node *kb_node_get(const struct kb_node *map, const char *key)
{
    return kb_node_getn(map, (kb_str){key, strlen(key)});
}
KB_API struct kb_node *kb_node_at(const struct kb_node *node, const char *path); /* as kb_val_at */
KB_API kb_str kb_node_text(const struct kb_node *node); /* empty when it is not a string */
KB_API int64_t kb_node_num(const struct kb_node *node, int64_t otherwise);
KB_API bool kb_node_true(const struct kb_node *node);
KB_API kb_str kb_node_text_at(const struct kb_node *node, const char *path);
/* Deep; the order of map members does not matter. Two NULLs are equal. */
KB_API bool kb_node_equal(const struct kb_node *a, const struct kb_node *b);

/* ---- changing ---- */
/* Set a member, replacing one of that name. The key's text is copied when it is new. A value of
 * NULL (kb_node_of what is absent) sets nothing. */
KB_API void kb_node_putn(struct kb_arena *a, struct kb_node *map, kb_str key, struct kb_node *val);
KB_API inline void kb_node_put(struct kb_arena *a, struct kb_node *map, const char *key,
                               struct kb_node *val)
{
    kb_node_putn(a, map, (kb_str){key, strlen(key)}, val);
}
KB_API bool kb_node_del(struct kb_node *map, const char *key); /* true: it was there */
KB_API bool kb_node_deln(struct kb_node *map, kb_str key);
KB_API void kb_node_append(struct kb_arena *a, struct kb_node *array, struct kb_node *val);
KB_API void kb_node_insert(struct kb_arena *a, struct kb_node *array, size_t at,
                           struct kb_node *val); /* at <= count */
KB_API void kb_node_remove(struct kb_node *container, size_t at);
/* The map at `path` ("metadata.labels"), made with all maps above it where missing; a member on
 * the way that is no map is replaced by one, and so is `map` itself. Never NULL. */
KB_API struct kb_node *kb_node_ensure(struct kb_arena *a, struct kb_node *map, const char *path);
/* Put at a path of member names, making the maps above it. */
KB_API void kb_node_set(struct kb_arena *a, struct kb_node *map, const char *path,
                        struct kb_node *val);
KB_API void kb_node_set_str(struct kb_arena *a, struct kb_node *map, const char *path, kb_str s);
KB_API void kb_node_set_cstr(struct kb_arena *a, struct kb_node *map, const char *path,
                             const char *s);
KB_API void kb_node_set_int(struct kb_arena *a, struct kb_node *map, const char *path, int64_t i);
KB_API void kb_node_set_bool(struct kb_arena *a, struct kb_node *map, const char *path, bool b);
/* Remove what a path of member names leads to; true: it was there. */
KB_API bool kb_node_unset(struct kb_node *map, const char *path);

/* ---- out ---- */
KB_API void kb_w_node(struct kb_w *w, const struct kb_node *node); /* NULL writes nil */
KB_API struct kb_doc *kb_node_doc(const struct kb_node *node);

#endif
