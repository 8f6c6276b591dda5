#include "bus/base/grow.h"
#include "bus/base/timers.h"

#include "bus/base/check.h"

#include <stdlib.h>

static bool timer_before(const struct kb_timer *a, const struct kb_timer *b)
{
    return a->due_ms != b->due_ms ? a->due_ms < b->due_ms : a->seq < b->seq;
}

static void heap_set(struct kb_timers *timers, size_t at, struct kb_timer *timer)
{
    timers->heap[at] = timer;
    timer->slot = at + 1;
}

static void heap_up(struct kb_timers *timers, size_t at)
{
    struct kb_timer *timer = timers->heap[at];
    while (at > 0 && timer_before(timer, timers->heap[(at - 1) / 2])) {
        heap_set(timers, at, timers->heap[(at - 1) / 2]);
        at = (at - 1) / 2;
    }
    heap_set(timers, at, timer);
}

static void heap_down(struct kb_timers *timers, size_t at)
{
    struct kb_timer *timer = timers->heap[at];
    for (;;) {
        size_t child = 2 * at + 1;
        if (child >= timers->count)
            break;
        if (child + 1 < timers->count && timer_before(timers->heap[child + 1], timers->heap[child]))
            child++;
        if (!timer_before(timers->heap[child], timer))
            break;
        heap_set(timers, at, timers->heap[child]);
        at = child;
    }
    heap_set(timers, at, timer);
}

void kb_timers_finish(struct kb_timers *timers)
{
    for (size_t i = 0; i < timers->count; i++)
        timers->heap[i]->slot = 0;
    free(timers->heap);
    *timers = (struct kb_timers){0};
}

void kb_timers_disarm(struct kb_timers *timers, struct kb_timer *timer)
{
    if (timer->slot == 0)
        return;
    size_t at = timer->slot - 1;
    KB_ASSERT(at < timers->count && timers->heap[at] == timer);
    timer->slot = 0;
    timers->count--;
    if (at == timers->count)
        return;
    heap_set(timers, at, timers->heap[timers->count]);
    heap_up(timers, at);
    heap_down(timers, timers->heap[at]->slot - 1);
}

void kb_timers_arm(struct kb_timers *timers, struct kb_timer *timer, kb_ms due_ms)
{
    kb_timers_disarm(timers, timer);
    KB_GROW(timers->heap, timers->count, timers->cap, 16);
    timer->due_ms = due_ms;
    timer->seq = timers->next_seq++;
    heap_set(timers, timers->count, timer);
    timers->count++;
    heap_up(timers, timers->count - 1);
}

struct kb_timer *kb_timers_pop(struct kb_timers *timers, kb_ms now_ms)
{
    if (timers->count == 0 || timers->heap[0]->due_ms > now_ms)
        return NULL;
    struct kb_timer *timer = timers->heap[0];
    kb_timers_disarm(timers, timer);
    return timer;
}

kb_ms kb_timers_wait_ms(const struct kb_timers *timers, kb_ms now_ms)
{
    if (timers->count == 0)
        return -1;
    kb_ms due = timers->heap[0]->due_ms;
    return due > now_ms ? due - now_ms : 0;
}
