/* loop.c - one thread, one epoll descriptor, one heap of timers.
 *
 * WHY our own and not libuv: the bus sockets of ZeroMQ are neither readable nor writable in the
 * sense of epoll. Their descriptor only says "look again", once; whoever has not emptied the socket
 * is not told a second time, and a send may swallow the signal for a message that came in. So
 * sockets are *sources*: marked by their descriptor, and by every send, and emptied before the loop
 * sleeps.
 *
 * A pass takes all that waits before it runs what was deferred: that is where the store cuts its
 * batches, and why throughput grows with load. */
#include "bus/loop_impl.h"

#include "bus/base/check.h"
#include "bus/base/grow.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <unistd.h>

enum { EVENTS_PER_WAIT = 64 };

struct kb_loop_fd {
    struct kb_loop *loop;
    int fd;
    uint32_t events;
    kb_loop_fd_fn *fn;
    void *user;
};

struct deferred {
    void (*fn)(void *user);
    void *user;
};

struct kb_loop {
    const struct kb_clock *clock;
    struct kb_loop_wait wait;
    kb_ms now_ms;
    bool in_pass; /* outside of one, `now_ms` is stale */
    int epoll;
    struct kb_timers timers;
    struct kb_link marked;
    struct deferred *deferred, *running; /* swapped, so that neither grows while it is walked */
    size_t n_deferred, n_running, cap_deferred, cap_running;
    struct epoll_event ready[EVENTS_PER_WAIT];
    int n_ready;
};

static void wait_epoll(void *user, kb_ms timeout_ms)
{
    struct kb_loop *loop = user;
    int timeout = timeout_ms > 3600000 ? 3600000 : (int)timeout_ms;
    int n = epoll_wait(loop->epoll, loop->ready, EVENTS_PER_WAIT, timeout);
    KB_ASSERT(n >= 0 || errno == EINTR);
    loop->n_ready = n > 0 ? n : 0;
}

struct kb_loop *kb_loop_new(const struct kb_clock *clock, const struct kb_loop_wait *wait)
{
    struct kb_loop *loop = calloc(1, sizeof(*loop));
    KB_ASSERT(loop != NULL);
    loop->clock = clock;
    loop->epoll = -1;
    kb_list_init(&loop->marked);
    if (wait) {
        loop->wait = *wait;
    } else {
        loop->epoll = epoll_create1(EPOLL_CLOEXEC);
        KB_ASSERT(loop->epoll >= 0);
        loop->wait = (struct kb_loop_wait){wait_epoll, loop};
    }
    loop->now_ms = kb_clock_now(clock);
    return loop;
}

void kb_loop_destroy(struct kb_loop **loop_p)
{
    struct kb_loop *loop = KB_STEAL(*loop_p);
    if (loop == NULL)
        return;
    kb_timers_finish(&loop->timers);
    if (loop->epoll >= 0)
        close(loop->epoll);
    free(loop->deferred);
    free(loop->running);
    free(loop);
}

kb_ms kb_loop_now(const struct kb_loop *loop)
{
    return loop->in_pass ? loop->now_ms : kb_clock_now(loop->clock);
}

const struct kb_clock *kb_loop_clock(const struct kb_loop *loop)
{
    return loop->clock;
}

void kb_loop_timer_set(struct kb_loop *loop, struct kb_loop_timer *timer, kb_ms after_ms)
{
    kb_timers_arm(&loop->timers, &timer->timer, kb_loop_now(loop) + (after_ms > 0 ? after_ms : 0));
}

void kb_loop_timer_stop(struct kb_loop *loop, struct kb_loop_timer *timer)
{
    kb_timers_disarm(&loop->timers, &timer->timer);
}

struct kb_loop_fd *kb_loop_fd_add(struct kb_loop *loop, int fd, uint32_t epoll_events,
                                  kb_loop_fd_fn *fn, void *user)
{
    KB_ASSERT(loop->epoll >= 0);
    struct kb_loop_fd *watch = calloc(1, sizeof(*watch));
    KB_ASSERT(watch != NULL);
    *watch = (struct kb_loop_fd){loop, fd, epoll_events, fn, user};
    struct epoll_event event = {.events = epoll_events, .data.ptr = watch};
    int rc = epoll_ctl(loop->epoll, EPOLL_CTL_ADD, fd, &event);
    KB_ASSERT(rc == 0);
    return watch;
}

void kb_loop_fd_mod(struct kb_loop_fd *watch, uint32_t epoll_events)
{
    if (watch->events == epoll_events)
        return;
    watch->events = epoll_events;
    struct epoll_event event = {.events = epoll_events, .data.ptr = watch};
    int rc = epoll_ctl(watch->loop->epoll, EPOLL_CTL_MOD, watch->fd, &event);
    KB_ASSERT(rc == 0);
}

void kb_loop_fd_del(struct kb_loop_fd **watch_p)
{
    struct kb_loop_fd *watch = KB_STEAL(*watch_p);
    if (watch == NULL)
        return;
    struct kb_loop *loop = watch->loop;
    epoll_ctl(loop->epoll, EPOLL_CTL_DEL, watch->fd, NULL);
    for (int i = 0; i < loop->n_ready; i++) /* an event of this pass that is still to come */
        if (loop->ready[i].data.ptr == watch)
            loop->ready[i].data.ptr = NULL;
    free(watch);
}

void kb_loop_defer(struct kb_loop *loop, void (*fn)(void *user), void *user)
{
    KB_GROW(loop->deferred, loop->n_deferred, loop->cap_deferred, 16);
    loop->deferred[loop->n_deferred++] = (struct deferred){fn, user};
}

void kb_loop_mark(struct kb_loop *loop, struct kb_loop_source *source)
{
    if (source->link.next == NULL || kb_list_empty(&source->link))
        kb_list_push(&loop->marked, &source->link);
}

void kb_loop_unmark(struct kb_loop_source *source)
{
    kb_list_remove(&source->link);
}

static void forget(struct deferred *deferred, size_t n, const void *user)
{
    for (size_t i = 0; i < n; i++)
        if (deferred[i].user == user)
            deferred[i].fn = NULL;
}

void kb_loop_undefer(struct kb_loop *loop, const void *user)
{
    forget(loop->deferred, loop->n_deferred, user);
    forget(loop->running, loop->n_running, user);
}

/* Pump every source that is marked now, once each; one marked meanwhile waits for the next time. */
static bool pump(struct kb_loop *loop)
{
    bool any = false;
    size_t n = 0;
    KB_LIST_EACH(it, &loop->marked)
    n++;
    struct kb_link *link;
    while (n-- > 0 && (link = kb_list_pop(&loop->marked)) != NULL) {
        struct kb_loop_source *source = KB_CONTAINER(link, struct kb_loop_source, link);
        any |= source->pump(source->user);
    }
    return any;
}

static void run_fds(struct kb_loop *loop)
{
    for (int i = 0; i < loop->n_ready; i++) {
        struct kb_loop_fd *watch = loop->ready[i].data.ptr;
        if (watch)
            watch->fn(watch->user, watch->fd, loop->ready[i].events);
    }
    loop->n_ready = 0;
}

static void run_timers(struct kb_loop *loop)
{
    struct kb_timer *due;
    while ((due = kb_timers_pop(&loop->timers, loop->now_ms)) != NULL) {
        struct kb_loop_timer *timer = KB_CONTAINER(due, struct kb_loop_timer, timer);
        timer->fn(timer->user);
    }
}

static void run_deferred(struct kb_loop *loop)
{
    size_t n = loop->n_deferred, cap = loop->cap_deferred;
    struct deferred *now = loop->deferred;
    loop->deferred = loop->running;
    loop->cap_deferred = loop->cap_running;
    loop->n_deferred = 0;
    loop->running = now;
    loop->cap_running = cap;
    loop->n_running = n;
    for (size_t i = 0; i < n; i++)
        if (now[i].fn)
            now[i].fn(now[i].user);
    loop->n_running = 0;
}

void kb_loop_pass(struct kb_loop *loop, kb_ms max_wait_ms)
{
    loop->now_ms = kb_clock_now(loop->clock);
    loop->in_pass = true;
    bool busy = pump(loop) || loop->n_deferred > 0 || !kb_list_empty(&loop->marked);
    kb_ms wait_ms = busy ? 0 : kb_timers_wait_ms(&loop->timers, loop->now_ms);
    if (max_wait_ms >= 0 && (wait_ms < 0 || wait_ms > max_wait_ms))
        wait_ms = max_wait_ms;
    loop->wait.wait(loop->wait.user, wait_ms);
    loop->now_ms = kb_clock_now(loop->clock);
    run_fds(loop); /* those of the bus only mark their sockets */
    pump(loop);
    run_timers(loop);
    run_deferred(loop);
    loop->in_pass = false;
}

void kb_loop_run(struct kb_loop *loop, const bool *stop)
{
    while (!*stop)
        kb_loop_pass(loop, -1);
}
