/* ev.c - epoll, and a heap of timers whose earliest deadline stands in one timerfd, so that whoever
 * waits on our descriptor needs to know nothing else.
 *
 * A watch that is removed while its batch of events is being dispatched must not be called any
 * more: removal marks it dead and the memory goes after the batch. */
#include "agent/ev.h"
#include "bus/base/check.h"
#include "bus/base/list.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/timerfd.h>
#include <unistd.h>

struct kb_ev_fd {
    struct kb_link link;
    struct kb_ev *ev;
    int fd;
    bool dead;
    kb_ev_fd_fn *fn;
    void *arg;
};

struct kb_ev {
    const struct kb_clock *clock;
    int epoll_fd, timer_fd;
    kb_ms armed_ms; /* what timer_fd is set to; -1: nothing */
    bool dispatching;
    struct kb_link watches, dead, owned;
    struct kb_timers timers;
};

struct kb_ev *kb_ev_new(const struct kb_clock *clock)
{
    struct kb_ev *ev = calloc(1, sizeof *ev);
    KB_ASSERT(ev != NULL);
    ev->clock = clock;
    ev->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    ev->timer_fd = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK);
    ev->armed_ms = -1;
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = NULL};
    KB_ASSERT(ev->epoll_fd >= 0 && ev->timer_fd >= 0);
    int rc = epoll_ctl(ev->epoll_fd, EPOLL_CTL_ADD, ev->timer_fd, &event);
    KB_ASSERT(rc == 0);
    kb_list_init(&ev->watches);
    kb_list_init(&ev->dead);
    kb_list_init(&ev->owned);
    return ev;
}

static void free_all(struct kb_link *head)
{
    for (struct kb_link *link; (link = kb_list_pop(head)) != NULL;)
        free(KB_CONTAINER(link, struct kb_ev_fd, link));
}

void kb_ev_destroy(struct kb_ev **ev_p)
{
    struct kb_ev *ev = KB_STEAL(*ev_p);
    if (ev == NULL)
        return;
    for (struct kb_link *link; (link = kb_list_pop(&ev->owned)) != NULL;) {
        struct kb_ev_owned *owned = KB_CONTAINER(link, struct kb_ev_owned, link);
        owned->free(owned);
    }
    free_all(&ev->watches);
    free_all(&ev->dead);
    kb_timers_finish(&ev->timers);
    close(ev->timer_fd);
    close(ev->epoll_fd);
    free(ev);
}

struct kb_ev_fd *kb_ev_watch(struct kb_ev *ev, int fd, uint32_t epoll_events, kb_ev_fd_fn *fn,
                             void *arg)
{
    struct kb_ev_fd *watch = calloc(1, sizeof *watch);
    KB_ASSERT(watch != NULL);
    *watch = (struct kb_ev_fd){.ev = ev, .fd = fd, .fn = fn, .arg = arg};
    struct epoll_event event = {.events = epoll_events, .data.ptr = watch};
    int rc = epoll_ctl(ev->epoll_fd, EPOLL_CTL_ADD, fd, &event);
    KB_ASSERT(rc == 0);
    kb_list_push(&ev->watches, &watch->link);
    return watch;
}

void kb_ev_rewatch(struct kb_ev_fd *watch, uint32_t epoll_events)
{
    struct epoll_event event = {.events = epoll_events, .data.ptr = watch};
    epoll_ctl(watch->ev->epoll_fd, EPOLL_CTL_MOD, watch->fd, &event);
}

void kb_ev_unwatch(struct kb_ev_fd **watch_p)
{
    struct kb_ev_fd *watch = KB_STEAL(*watch_p);
    if (watch == NULL)
        return;
    epoll_ctl(watch->ev->epoll_fd, EPOLL_CTL_DEL, watch->fd, NULL);
    watch->dead = true;
    kb_list_remove(&watch->link);
    if (watch->ev->dispatching)
        kb_list_push(&watch->ev->dead, &watch->link);
    else
        free(watch);
}

/* Bring timer_fd in line with the earliest timer. */
static void timer_sync(struct kb_ev *ev)
{
    kb_ms wait = kb_timers_wait_ms(&ev->timers, kb_ev_now(ev));
    kb_ms due = wait < 0 ? -1 : kb_ev_now(ev) + wait;
    struct itimerspec spec = {{0, 0}, {wait / 1000, (wait % 1000) * 1000000}};
    if (due == ev->armed_ms)
        return;
    if (wait < 0)
        spec.it_value = (struct timespec){0, 0};
    else if (wait == 0)
        spec.it_value.tv_nsec = 1;
    timerfd_settime(ev->timer_fd, 0, &spec, NULL);
    ev->armed_ms = due;
}

void kb_ev_arm(struct kb_ev *ev, struct kb_ev_timer *timer, kb_ms delay_ms, kb_ev_timer_fn *fn,
               void *arg)
{
    timer->fn = fn;
    timer->arg = arg;
    kb_timers_arm(&ev->timers, &timer->timer, kb_ev_now(ev) + delay_ms);
    timer_sync(ev);
}

void kb_ev_disarm(struct kb_ev *ev, struct kb_ev_timer *timer)
{
    kb_timers_disarm(&ev->timers, &timer->timer);
    timer_sync(ev);
}

int kb_ev_pollfd(const struct kb_ev *ev)
{
    return ev->epoll_fd;
}

kb_ms kb_ev_now(const struct kb_ev *ev)
{
    return kb_clock_now(ev->clock);
}

int64_t kb_ev_wall_us(const struct kb_ev *ev)
{
    return kb_clock_wall_us(ev->clock);
}

void kb_ev_own(struct kb_ev *ev, struct kb_ev_owned *owned, void (*fn)(struct kb_ev_owned *owned))
{
    owned->free = fn;
    kb_list_push(&ev->owned, &owned->link);
}

void kb_ev_disown(struct kb_ev_owned *owned)
{
    kb_list_remove(&owned->link);
}

static void dispatch_timers(struct kb_ev *ev)
{
    struct kb_timer *timer;
    kb_ms now = kb_ev_now(ev);
    uint64_t expired;
    if (read(ev->timer_fd, &expired, sizeof expired) > 0)
        ev->armed_ms = -1;
    while ((timer = kb_timers_pop(&ev->timers, now)) != NULL) {
        struct kb_ev_timer *due = KB_CONTAINER(timer, struct kb_ev_timer, timer);
        due->fn(due->arg);
    }
    timer_sync(ev);
}

void kb_ev_run(struct kb_ev *ev, kb_ms wait_ms)
{
    struct epoll_event events[64];
    int n = epoll_wait(ev->epoll_fd, events, KB_COUNT(events),
                       wait_ms > INT32_MAX ? INT32_MAX : (int)wait_ms);
    ev->dispatching = true;
    for (int i = 0; i < n; i++) {
        struct kb_ev_fd *watch = events[i].data.ptr;
        if (watch != NULL && !watch->dead)
            watch->fn(watch->arg, events[i].events);
    }
    ev->dispatching = false;
    free_all(&ev->dead);
    dispatch_timers(ev);
}
