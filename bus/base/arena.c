#include "bus/base/arena.h"

#include "bus/base/check.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

struct kb_arena_block {
    struct kb_arena_block *older;
    size_t cap;
    char bytes[];
};

enum { ARENA_FIRST = 2048, ARENA_LARGEST = 256 * 1024 };

void kb_arena_finish(struct kb_arena *arena)
{
    while (arena->blocks) {
        struct kb_arena_block *block = arena->blocks;
        arena->blocks = block->older;
        free(block);
    }
    *arena = (struct kb_arena){0};
}

static void arena_use(struct kb_arena *arena, struct kb_arena_block *block)
{
    arena->blocks = block;
    arena->at = block->bytes;
    arena->end = block->bytes + block->cap;
}

void kb_arena_reset(struct kb_arena *arena)
{
    struct kb_arena_block *largest = NULL;
    while (arena->blocks) {
        struct kb_arena_block *block = arena->blocks;
        arena->blocks = block->older;
        if (largest == NULL || block->cap > largest->cap) {
            free(largest);
            largest = block;
        } else {
            free(block);
        }
    }
    *arena = (struct kb_arena){0};
    if (largest) {
        largest->older = NULL;
        arena_use(arena, largest);
    }
}

void *kb_arena_alloc(struct kb_arena *arena, size_t n)
{
    n = (n + 7) & ~(size_t)7;
    if (n > (size_t)(arena->end - arena->at)) {
        size_t cap = arena->blocks ? arena->blocks->cap * 2 : ARENA_FIRST;
        if (cap > ARENA_LARGEST)
            cap = ARENA_LARGEST;
        if (cap < n)
            cap = n;
        struct kb_arena_block *block = malloc(sizeof(*block) + cap);
        KB_ASSERT(block != NULL);
        block->older = arena->blocks;
        block->cap = cap;
        arena_use(arena, block);
    }
    void *p = arena->at;
    arena->at += n;
    return p;
}

kb_str kb_arena_str(struct kb_arena *arena, kb_str s)
{
    char *p = kb_arena_alloc(arena, s.n + 1);
    if (s.n)
        memcpy(p, s.p, s.n);
    p[s.n] = '\0';
    return kb_str_n(p, s.n);
}

kb_str kb_arena_printf(struct kb_arena *arena, const char *format, ...)
{
    va_list args, again;
    va_start(args, format);
    va_copy(again, args);
    int n = vsnprintf(NULL, 0, format, args);
    KB_ASSERT(n >= 0);
    char *p = kb_arena_alloc(arena, (size_t)n + 1);
    vsnprintf(p, (size_t)n + 1, format, again);
    va_end(again);
    va_end(args);
    return kb_str_n(p, (size_t)n);
}
