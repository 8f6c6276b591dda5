#include "store/skip.h"

/* Bytewise as LMDB compares: memcmp, the shorter first. */
static int compare(kb_str a, kb_str b)
{
    size_t n = a.n < b.n ? a.n : b.n;
    int c = n ? memcmp(a.p, b.p, n) : 0;
    return c ? c : a.n < b.n ? -1 : a.n > b.n;
}

/* Fill `links` with the links that lead to the first node ≥ key, one a level; returns that node. */
static struct kb_skip_node *search(const struct kb_skip *skip, kb_str key,
                                   struct kb_skip_node **links[KB_SKIP_HEIGHT])
{
    struct kb_skip_node *const *row = skip->head, *next = NULL, *known = NULL;
    for (int level = KB_SKIP_HEIGHT - 1; level >= 0; level--) {
        while ((next = row[level]) != NULL && next != known && compare(next->key, key) < 0)
            row = next->next;
        known = next; /* it was compared one level up: not less */
        if (links)
            links[level] = (struct kb_skip_node **)(uintptr_t)&row[level];
    }
    return next;
}

struct kb_skip_node *kb_skip_seek(const struct kb_skip *skip, kb_str key)
{
    return search(skip, key, NULL);
}

struct kb_skip_node *kb_skip_find(const struct kb_skip *skip, kb_str key)
{
    struct kb_skip_node *node = search(skip, key, NULL);
    return node && kb_str_eq(node->key, key) ? node : NULL;
}

/* One level in four goes up one more. */
static uint32_t height_of(kb_str key)
{
    uint64_t bits = kb_hash64(key.p, key.n) * UINT64_C(0x9e3779b97f4a7c15);
    uint32_t height = 1;
    for (bits >>= 16; height < KB_SKIP_HEIGHT && (bits & 3) == 0; bits >>= 2)
        height++;
    return height;
}

struct kb_skip_node *kb_skip_add(struct kb_skip *skip, struct kb_arena *arena, kb_str key)
{
    struct kb_skip_node **links[KB_SKIP_HEIGHT];
    struct kb_skip_node *node = search(skip, key, links);
    if (node && kb_str_eq(node->key, key))
        return node;
    uint32_t height = height_of(key);
    node = kb_arena_alloc(arena, sizeof(*node) + height * sizeof(node->next[0]));
    node->key = kb_arena_str(arena, key);
    node->value = NULL;
    node->height = height;
    for (uint32_t level = 0; level < height; level++) {
        node->next[level] = *links[level];
        *links[level] = node;
    }
    skip->count++;
    return node;
}
