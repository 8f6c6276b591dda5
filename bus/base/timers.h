/* Timers in a binary heap. Equal deadlines fire in the order in which they were armed, which is
 * what makes a simulation repeatable. No clock of its own: time is a parameter. */
#ifndef KUBUS_BASE_TIMERS_H
#define KUBUS_BASE_TIMERS_H

#include "bus/base/clock.h"

#include <stdbool.h>
#include <stddef.h>

/* Embed in the owner. Zero-initialized is "not armed". */
struct kb_timer {
    kb_ms due_ms;
    uint64_t seq;
    size_t slot; /* 1 + index in the heap; 0: not armed */
};

/* Zero-initialized is empty and valid. */
struct kb_timers {
    struct kb_timer **heap;
    size_t count, cap;
    uint64_t next_seq;
};

KB_API void kb_timers_finish(struct kb_timers *timers); /* the timers themselves are their owners' */
/* Arm, or move, to `due_ms`. O(log n). */
KB_API void kb_timers_arm(struct kb_timers *timers, struct kb_timer *timer, kb_ms due_ms);
KB_API void kb_timers_disarm(struct kb_timers *timers, struct kb_timer *timer); /* no-op if not armed */
/* Take the earliest timer that is due at `now_ms`, disarmed; NULL when none is. */
KB_API struct kb_timer *kb_timers_pop(struct kb_timers *timers, kb_ms now_ms);
/* Milliseconds until the earliest, 0 when overdue, -1 when there is none: poll's timeout. */
KB_API kb_ms kb_timers_wait_ms(const struct kb_timers *timers, kb_ms now_ms);

static inline bool kb_timer_armed(const struct kb_timer *timer)
{
    return timer->slot != 0;
}

#endif
