/* The loop's inner side: for transports, which feed it, and for whoever runs it. Users of the loop
 * include bus/loop.h. */
#ifndef KUBUS_BUS_LOOP_IMPL_H
#define KUBUS_BUS_LOOP_IMPL_H

#include "bus/base/list.h"
#include "bus/loop.h"

/* How a loop waits. Real: epoll. Simulated: the clock jumps ahead. */
struct kb_loop_wait {
    /* Wait until a descriptor is ready or `timeout_ms` is over; < 0: no limit. `fds` is the loop's
     * epoll descriptor, or -1. NULL: epoll. */
    void (*wait)(void *user, kb_ms timeout_ms);
    void *user;
};

KB_API struct kb_loop *kb_loop_new(const struct kb_clock *clock, const struct kb_loop_wait *wait);
KB_API void kb_loop_destroy(struct kb_loop **loop_p);

/* One pass: takes what waits, waits at most `max_wait_ms` (< 0: no limit) when nothing does. */
KB_API void kb_loop_pass(struct kb_loop *loop, kb_ms max_wait_ms);
/* Passes until *stop is true. */
KB_API void kb_loop_run(struct kb_loop *loop, const bool *stop);

/* Something that holds messages: pumped in the pass after it was marked. Zero-initialized. */
struct kb_loop_source {
    /* Take what waits, up to a bound. True when any message was taken. A source that stopped at
     * its bound marks itself again. */
    bool (*pump)(void *user);
    void *user;
    struct kb_link link;
};
KB_API void kb_loop_mark(struct kb_loop *loop, struct kb_loop_source *source); /* idempotent */
KB_API void kb_loop_unmark(struct kb_loop_source *source);

#endif
