#include "actors/scheduler/core/turns.h"

#include "actors/scheduler/core/pending.h"
#include "bus/base/check.h"
#include "bus/base/grow.h"

#include <stdlib.h>

struct kb_turns_class {
    uint32_t id;
    size_t busy_at; /* 1 + index among the busy; 0: it has no pods */
    size_t n, cap;
    struct kb_waiting **heap; /* heap_at = 1 + index */
};

void kb_turns_finish(struct kb_turns *q)
{
    struct kb_turns_class *c;
    for (size_t i = 0; kb_map_next(&q->classes, &i, NULL, (void **)&c);) {
        free(c->heap);
        free(c);
    }
    kb_map_finish(&q->classes);
    free(q->busy);
    *q = (struct kb_turns){.core = q->core};
}

/* ---- the heap of a class ---- */

static bool before(const struct kb_turns *q, const struct kb_waiting *a, const struct kb_waiting *b)
{
    return kb_core_before(q->core, 0, &a->q, &b->q);
}

static void set_at(struct kb_turns_class *c, size_t at, struct kb_waiting *w)
{
    c->heap[at] = w;
    w->heap_at = at + 1;
}

static void swap(struct kb_turns_class *c, size_t a, size_t b)
{
    struct kb_waiting *w = c->heap[a];
    set_at(c, a, c->heap[b]);
    set_at(c, b, w);
}

static void sift(const struct kb_turns *q, struct kb_turns_class *c, size_t at)
{
    for (; at > 0 && before(q, c->heap[at], c->heap[(at - 1) / 2]); at = (at - 1) / 2)
        swap(c, at, (at - 1) / 2);
    for (;;) {
        size_t first = at;
        for (size_t child = 2 * at + 1; child <= 2 * at + 2 && child < c->n; child++)
            if (before(q, c->heap[child], c->heap[first]))
                first = child;
        if (first == at)
            return;
        swap(c, at, first);
        at = first;
    }
}

/* ---- classes ---- */

static struct kb_turns_class *class_of(struct kb_turns *q, const struct kb_waiting *w)
{
    uint32_t id = kb_core_queue_class(q->core, &w->q);
    kb_str key = kb_str_n((const char *)&id, sizeof(id));
    struct kb_turns_class *c = kb_map_get(&q->classes, key);
    if (c == NULL) {
        c = calloc(1, sizeof(*c));
        KB_ASSERT(c != NULL);
        c->id = id;
        kb_map_put(&q->classes, key, c);
    }
    return c;
}

static void make_busy(struct kb_turns *q, struct kb_turns_class *c)
{
    KB_GROW(q->busy, q->busy_n, q->busy_cap, 8);
    q->busy[q->busy_n++] = c;
    c->busy_at = q->busy_n;
}

/* A class without pods goes: users come and go. */
static void drop(struct kb_turns *q, struct kb_turns_class *c)
{
    struct kb_turns_class *last = q->busy[--q->busy_n];
    q->busy[c->busy_at - 1] = last;
    last->busy_at = c->busy_at;
    c->busy_at = 0;
    if (c->id == 0)
        return; /* the common one keeps its memory */
    kb_map_del(&q->classes, kb_str_n((const char *)&c->id, sizeof(c->id)));
    free(c->heap);
    free(c);
}

void kb_turns_push(struct kb_turns *q, struct kb_waiting *w)
{
    struct kb_turns_class *c = class_of(q, w);
    KB_GROW(c->heap, c->n, c->cap, 16);
    if (c->n == 0)
        make_busy(q, c);
    w->queue_class = c;
    q->n++;
    set_at(c, c->n++, w);
    sift(q, c, w->heap_at - 1);
}

void kb_turns_remove(struct kb_turns *q, struct kb_waiting *w)
{
    struct kb_turns_class *c = w->queue_class;
    size_t at = w->heap_at - 1;
    struct kb_waiting *last = c->heap[--c->n];
    w->heap_at = 0;
    w->queue_class = NULL;
    q->n--;
    if (last != w) {
        set_at(c, at, last);
        sift(q, c, at);
    }
    if (c->n == 0)
        drop(q, c);
}

struct kb_waiting *kb_turns_first(const struct kb_turns *q)
{
    struct kb_waiting *first = q->busy_n ? q->busy[0]->heap[0] : NULL;
    for (size_t i = 1; i < q->busy_n; i++)
        if (before(q, q->busy[i]->heap[0], first))
            first = q->busy[i]->heap[0];
    return first;
}
