#include "store/store_actor.h"

#include "bus/base/check.h"
#include "bus/base/log.h"
#include "bus/loop.h"
#include "bus/wire/envelope.h"

#include <malloc.h>
#include <stdlib.h>
#include <sys/epoll.h>

enum { QUIET_MS = 30000, QUIET_REQUESTS = 1000 };

struct kb_store {
    struct kb_actor *actor;
    struct kb_engine *engine;
    struct kb_store_core *core;
    struct kb_loop *loop;
    struct kb_loop_fd *watch;
    struct kb_loop_timer timer;   /* when the core wants to be called */
    struct kb_loop_timer soon;    /* at the end of this pass, after all messages that wait */
    struct kb_buf head;           /* scratch */
    struct kb_loop_timer quiet;   /* looks whether it has become quiet */
    uint64_t served, served_then; /* requests, and how many at the last look */
    bool untidy;                  /* requests came since memory was given back */
    bool planned;
    bool stopping, stopped;
};

static struct kb_store_time time_now(const struct kb_store *s)
{
    return (struct kb_store_time){kb_loop_now(s->loop),
                                  kb_clock_wall_us(kb_loop_clock(s->loop)) / 1000};
}

/* ---- wishes ---- */

static void publish(struct kb_store *s, const struct kb_store_wish *wish)
{
    struct kb_wire_head head = {
        .type = wish->body.p ? KB_WIRE_EVENT : KB_WIRE_BEAT,
        .db = kb_str_of(kb_engine_id(s->engine)),
        .rev = (int64_t)wish->rev,
        .prev = (int64_t)wish->prev,
        .now = (int64_t)wish->now,
    };
    kb_wire_encode(&head, &s->head);
    const uint8_t *p = (const uint8_t *)s->head.p;
    kb_actor_publish(s->actor, wish->topic, (kb_val){p, p + s->head.n}, wish->body);
}

static void carry_out(struct kb_store *s, const struct kb_store_wish *wish)
{
    struct kb_request *request = wish->token;
    switch (wish->kind) {
    case KB_STORE_REPLY:
        kb_request_reply(&request, wish->body);
        break;
    case KB_STORE_FAIL:
        if (wish->err->code == KB_EIO)
            kb_error("%s: %s", kb_request_method(request), wish->err->text);
        kb_request_fail_with(&request, wish->err, wish->body);
        break;
    case KB_STORE_EVENT:
        publish(s, wish);
        break;
    }
}

static void finish_stop(struct kb_store *s)
{
    struct kb_err err = {0};
    s->stopped = true;
    if (kb_engine_checkpoint(s->engine, &err) < 0)
        kb_warn("stop: %s; the log will be replayed at the next start", err.text);
    kb_actor_stopped(s->actor);
}

static void step(void *user)
{
    struct kb_store *s = user;
    struct kb_store_wish wish;
    s->planned = false;
    kb_ms wait = kb_store_core_step(s->core, time_now(s));
    while (kb_store_core_next(s->core, &wish))
        carry_out(s, &wish);
    if (wait < 0)
        kb_loop_timer_stop(s->loop, &s->timer);
    else
        kb_loop_timer_set(s->loop, &s->timer, wait > 0 ? wait : 1); /* never this same pass */
    kb_actor_gauge(s->actor, "rev", (int64_t)kb_engine_rev(s->engine));
    if (s->stopping && !s->stopped && kb_store_core_idle(s->core))
        finish_stop(s);
    else if (kb_engine_failed(s->engine))
        kb_actor_stopped(s->actor);
}

static void plan(struct kb_store *s)
{
    if (s->planned)
        return;
    s->planned = true;
    kb_loop_timer_set(s->loop, &s->soon, 0);
}

static void on_timer(void *user)
{
    step(user);
}

static void on_engine(void *user, int fd, uint32_t events)
{
    (void)fd;
    (void)events;
    plan(user);
}

static void on_subscription(void *user, kb_str topic, bool subscribed)
{
    struct kb_store *s = user;
    kb_store_core_subscribe(s->core, topic, subscribed);
    plan(s);
}

/* ---- methods ---- */

/* A quiet store gives memory back once. One that never was asked has no timer. */
static void on_quiet(void *user)
{
    struct kb_store *s = user;
    bool quiet = s->served - s->served_then < QUIET_REQUESTS;
    s->served_then = s->served;
    if (quiet) {
        kb_store_core_trim(s->core);
        kb_engine_trim(s->engine);
        malloc_trim(0);
        s->untidy = false;
    } else {
        kb_loop_timer_set(s->loop, &s->quiet, QUIET_MS);
    }
}

static void take(struct kb_store *s, enum kb_store_method method, struct kb_request *request,
                 kb_val body)
{
    if (s->stopping) {
        struct kb_err err;
        kb_err_set(&err, KB_EUNAVAILABLE, "the store is stopping");
        kb_request_fail(&request, &err);
        return;
    }
    s->served++;
    if (!s->untidy) {
        s->untidy = true;
        s->served_then = s->served;
        kb_loop_timer_set(s->loop, &s->quiet, QUIET_MS);
    }
    kb_store_core_request(s->core, method, request, body, time_now(s));
    plan(s);
}

#define METHODS(X)                                                                                 \
    X(KB_STORE_GET, get, "store.get")                                                              \
    X(KB_STORE_LIST, list, "store.list")                                                           \
    X(KB_STORE_TXN, txn, "store.txn")                                                              \
    X(KB_STORE_REPLAY, replay, "store.replay")                                                     \
    X(KB_STORE_DECLARE, declare, "store.declare")                                                  \
    X(KB_STORE_STATUS, status, "store.status")                                                     \
    X(KB_STORE_COMPACT, compact, "store.compact")                                                  \
    X(KB_STORE_BACKUP, backup, "store.backup")                                                     \
    X(KB_STORE_CHECK, check, "store.check")                                                        \
    X(KB_LEASE_ACQUIRE, acquire, "lease.acquire")                                                  \
    X(KB_LEASE_RENEW, renew, "lease.renew")                                                        \
    X(KB_LEASE_RELEASE, release, "lease.release")

#define X(method, fn, name)                                                                        \
    static void do_##fn(void *user, struct kb_request *request, kb_val body)                       \
    {                                                                                              \
        take(user, method, request, body);                                                         \
    }
METHODS(X)
#undef X

static const struct kb_method methods[] = {
#define X(method, fn, name) {name, do_##fn},
    METHODS(X)
#undef X
};

/* ---- lifetime ---- */

int kb_store_start(struct kb_actor *actor, const char *dir, const struct kb_engine_config *engine,
                   const struct kb_store_config *config, struct kb_store **ret_store,
                   struct kb_err *err)
{
    KB_AUTO(kb_store_destroy) struct kb_store *s = calloc(1, sizeof(*s));
    struct kb_engine_config engine_config = engine ? *engine : (struct kb_engine_config){0};
    KB_ASSERT(s != NULL);
    s->actor = actor;
    s->loop = kb_actor_loop(actor);
    s->timer = (struct kb_loop_timer){.fn = on_timer, .user = s};
    s->soon = (struct kb_loop_timer){.fn = step, .user = s};
    s->quiet = (struct kb_loop_timer){.fn = on_quiet, .user = s};
    engine_config.dir = dir;
    int rc = kb_engine_open(&engine_config, &s->engine, err);
    if (rc < 0)
        return rc;
    s->core = kb_store_core_new(config, s->engine);
    if (kb_engine_fd(s->engine) >= 0)
        s->watch = kb_loop_fd_add(s->loop, kb_engine_fd(s->engine), EPOLLIN, on_engine, s);
    kb_actor_on_subscription(actor, on_subscription, s);
    kb_actor_serve(actor, methods, KB_COUNT(methods), s);
    step(s);
    *ret_store = KB_STEAL(s);
    return 0;
}

void kb_store_stop(struct kb_store *s)
{
    s->stopping = true;
    plan(s);
}

bool kb_store_failed(const struct kb_store *s)
{
    return kb_engine_failed(s->engine);
}

void kb_store_destroy(struct kb_store **store_p)
{
    struct kb_store *s = KB_STEAL(*store_p);
    if (s == NULL)
        return;
    if (s->loop) {
        kb_loop_timer_stop(s->loop, &s->timer);
        kb_loop_timer_stop(s->loop, &s->soon);
        kb_loop_timer_stop(s->loop, &s->quiet);
        kb_actor_on_subscription(s->actor, NULL, NULL);
    }
    if (s->watch)
        kb_loop_fd_del(&s->watch);
    kb_store_core_destroy(&s->core);
    kb_engine_close(&s->engine);
    kb_buf_finish(&s->head);
    free(s);
}
