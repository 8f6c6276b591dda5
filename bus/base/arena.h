/* Memory that is freed all at once: for a tree that is built, used and thrown away. */
#ifndef KUBUS_BASE_ARENA_H
#define KUBUS_BASE_ARENA_H

#include "bus/base/str.h"

struct kb_arena_block;

/* Zero-initialized is empty and valid. */
struct kb_arena {
    struct kb_arena_block *blocks; /* newest first */
    char *at, *end;
};

KB_API void kb_arena_finish(struct kb_arena *arena);
/* Forget all but the largest block, which is kept for reuse. */
KB_API void kb_arena_reset(struct kb_arena *arena);
/* `n` bytes, aligned to 8, not cleared. Never NULL. */
KB_API void *kb_arena_alloc(struct kb_arena *arena, size_t n);
/* A terminated copy. */
KB_API kb_str kb_arena_str(struct kb_arena *arena, kb_str s);
KB_API kb_str kb_arena_printf(struct kb_arena *arena, const char *format, ...) KB_PRINTF(2, 3);

/* KB_GROW (bus/base/grow.h) for an array in an arena, where what it outgrew stays until the end. */
#define KB_ARENA_GROW(arena, v, n, cap, first)                                                     \
    do {                                                                                           \
        if ((n) >= (cap)) {                                                                        \
            size_t kb_old_ = (cap);                                                                \
            (cap) = (cap) ? (cap)*2 : (first);                                                     \
            (v) = kb_arena_grow_to(arena, (v), kb_old_ * sizeof(*(v)), (cap) * sizeof(*(v)));      \
        }                                                                                          \
    } while (0)

/* For KB_ARENA_GROW: more bytes that begin as the old ones. */
static inline void *kb_arena_grow_to(struct kb_arena *arena, const void *old, size_t old_bytes,
                                     size_t bytes)
{
    void *v = kb_arena_alloc(arena, bytes);
    return old_bytes ? memcpy(v, old, old_bytes) : v;
}

#endif
