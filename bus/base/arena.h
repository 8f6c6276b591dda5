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

#endif
