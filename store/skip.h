/* A skip list: byte strings in order, each with a pointer. Nodes and keys live in an arena and go
 * with it; nothing is removed. One writer; any number of readers once nobody writes.
 *
 * WHY not a tree: insertion is one search and one short write, nothing is rebalanced, and the
 * newest generation of the store does little but insert. Heights come from a hash of the key:
 * nothing is random. */
#ifndef KUBUS_STORE_SKIP_H
#define KUBUS_STORE_SKIP_H

#include "bus/base/arena.h"

enum { KB_SKIP_HEIGHT = 12 };

struct kb_skip_node {
    kb_str key;
    void *value; /* the owner's */
    uint32_t height;
    struct kb_skip_node *next[];
};

/* Zero-initialized is empty and valid. */
struct kb_skip {
    struct kb_skip_node *head[KB_SKIP_HEIGHT];
    size_t count;
};

/* The node of `key`, NULL when there is none. O(log n). */
struct kb_skip_node *kb_skip_find(const struct kb_skip *skip, kb_str key);
/* The first node with a key ≥ `key`, or NULL. O(log n). */
struct kb_skip_node *kb_skip_seek(const struct kb_skip *skip, kb_str key);
/* The node of `key`, made with a NULL value when there is none; the key is copied then. O(log n).
 */
struct kb_skip_node *kb_skip_add(struct kb_skip *skip, struct kb_arena *arena, kb_str key);

static inline struct kb_skip_node *kb_skip_first(const struct kb_skip *skip)
{
    return skip->head[0];
}

static inline struct kb_skip_node *kb_skip_after(const struct kb_skip_node *node)
{
    return node->next[0];
}

#endif
