/* The loop of an actor: timers, file descriptors and bus sockets in one thread.
 *
 * On the real bus it waits in epoll; on the simulated one time jumps to the next thing that is due,
 * and descriptors are not available. Order within a pass: bus messages, descriptors, timers, then
 * what was deferred. */
#ifndef KUBUS_BUS_LOOP_H
#define KUBUS_BUS_LOOP_H

#include "bus/base/timers.h"

struct kb_loop;

KB_API kb_ms kb_loop_now(const struct kb_loop *loop); /* monotonic, read once a pass */
KB_API const struct kb_clock *kb_loop_clock(const struct kb_loop *loop);

/* A timer with a callback; embed it in the owner, zero-initialized. */
struct kb_loop_timer {
    struct kb_timer timer;
    void (*fn)(void *user);
    void *user;
};
KB_API void kb_loop_timer_set(struct kb_loop *loop, struct kb_loop_timer *timer, kb_ms after_ms);
KB_API void kb_loop_timer_stop(struct kb_loop *loop, struct kb_loop_timer *timer);

/* Watch a descriptor, level-triggered, for EPOLLIN/EPOLLOUT/…; the loop does not own it. */
struct kb_loop_fd;
typedef void kb_loop_fd_fn(void *user, int fd, uint32_t epoll_events);
KB_API struct kb_loop_fd *kb_loop_fd_add(struct kb_loop *loop, int fd, uint32_t epoll_events,
                                         kb_loop_fd_fn *fn, void *user);
KB_API void kb_loop_fd_mod(struct kb_loop_fd *watch, uint32_t epoll_events);
KB_API void kb_loop_fd_del(struct kb_loop_fd **watch_p); /* before the descriptor is closed */

/* Run `fn` once at the end of this pass, after all messages that wait have been taken: where
 * a batch is cut. */
KB_API void kb_loop_defer(struct kb_loop *loop, void (*fn)(void *user), void *user);
/* Forget what was deferred with this `user`, who is about to go. O(deferred). */
KB_API void kb_loop_undefer(struct kb_loop *loop, const void *user);

#endif
