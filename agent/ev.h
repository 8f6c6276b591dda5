/* The agent's event loop: descriptors by epoll, timers, nothing that polls.
 *
 * Apart from the bus's loop so that everything below the actor can be run and tested without a
 * bus: the actor watches one descriptor, kb_ev_pollfd(), and calls kb_ev_run() when it is readable.
 */
#ifndef KUBUS_AGENT_EV_H
#define KUBUS_AGENT_EV_H

#include "bus/base/list.h"
#include "bus/base/timers.h"

#include <sys/epoll.h>

struct kb_ev;
struct kb_ev_fd;

typedef void kb_ev_fd_fn(void *arg, uint32_t epoll_events);
typedef void kb_ev_timer_fn(void *arg);

/* A timer with its callback. Embed; zero-initialized is "not armed". */
struct kb_ev_timer {
    struct kb_timer timer;
    kb_ev_timer_fn *fn;
    void *arg;
};

/* Never NULL. Caller owns. `clock` is borrowed. */
struct kb_ev *kb_ev_new(const struct kb_clock *clock);
void kb_ev_destroy(struct kb_ev **ev_p);

/* Something that frees itself when it is over, and is freed with the loop when that comes first.
 * Embed. */
struct kb_ev_owned {
    struct kb_link link;
    void (*free)(struct kb_ev_owned *owned);
};
void kb_ev_own(struct kb_ev *ev, struct kb_ev_owned *owned, void (*fn)(struct kb_ev_owned *owned));
void kb_ev_disown(struct kb_ev_owned *owned);

/* Call fn(arg, events) whenever `fd` is ready. The descriptor stays the caller's. Never NULL. */
struct kb_ev_fd *kb_ev_watch(struct kb_ev *ev, int fd, uint32_t epoll_events, kb_ev_fd_fn *fn,
                             void *arg);
void kb_ev_rewatch(struct kb_ev_fd *watch, uint32_t epoll_events); /* other events from now */
/* Stop; *watch_p becomes NULL. Fine inside any callback. Before the descriptor is closed. */
void kb_ev_unwatch(struct kb_ev_fd **watch_p);

void kb_ev_arm(struct kb_ev *ev, struct kb_ev_timer *timer, kb_ms delay_ms, kb_ev_timer_fn *fn,
               void *arg);
void kb_ev_disarm(struct kb_ev *ev, struct kb_ev_timer *timer);

int kb_ev_pollfd(const struct kb_ev *ev);
kb_ms kb_ev_now(const struct kb_ev *ev);
int64_t kb_ev_wall_us(const struct kb_ev *ev);
/* Wait at most `wait_ms` (-1: until something happens) and dispatch what is ready. */
void kb_ev_run(struct kb_ev *ev, kb_ms wait_ms);

#endif
