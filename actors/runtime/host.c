/* host.c - feeds a controller's core from views, sends its wishes to `api`, and sleeps as long as
 * it says. All of a loop's pass is taken in before keys are run, so that a burst of changes is one
 * run a key. */
#include "actors/runtime/host.h"

#include "bus/base/check.h"
#include "bus/base/list.h"
#include "bus/base/log.h"
#include "bus/model/fence.h"
#include "bus/loop.h"

#include <stdlib.h>

enum {
    CALL_TIMEOUT_MS = 30000,
    RUNS_A_PASS = 64, /* then the loop gets its turn: beats must not wait */
    GAUGES_MS = 1000,
};

struct host_view {
    struct kb_host *host;
    struct kb_core_view *core;
    struct kb_view *view;
};

struct host_call {
    struct kb_link link;
    struct kb_host *host;
    uint64_t id;
};

struct kb_host {
    struct kb_actor *actor;
    struct kb_loop *loop;
    struct kb_peer *api, *store;
    kb_controller *core;
    struct kb_loop_timer wake;
    struct kb_link calls; /* under way */
    bool pumping, ready, fenced;
    uint64_t views_version;
    kb_ms gauges_due_ms;
};

static void pump_later(struct kb_host *h);

/* ---- views ---- */

static void on_change(void *user, const struct kb_change *change)
{
    struct host_view *v = user;
    kb_core_change(v->host->core, v->core, change->op == KB_DEL, change->key, change->rev,
                   change->doc);
    pump_later(v->host);
}

static void on_synced(void *user, int64_t rev)
{
    struct host_view *v = user;
    kb_core_synced(v->host->core, v->core, rev);
    pump_later(v->host);
}

static int64_t held_rev(void *user, kb_str key)
{
    return kb_core_view_rev(((struct host_view *)user)->core, key);
}

static bool held_next(void *user, size_t *cursor, kb_str *ret_key)
{
    return kb_core_view_next(((struct host_view *)user)->core, cursor, ret_key);
}

static const struct kb_view_held view_held = {.rev = held_rev, .next = held_next};
static const struct kb_view_handlers view_handlers = {.change = on_change, .synced = on_synced};

/* The query with `fields=`, in its place among the keys: what is not looked at is not sent. */
static void view_query(const struct kb_core_view *core, struct kb_buf *out)
{
    kb_str rest = kb_str_of(core->query);
    bool first = true, due = core->fields != NULL;
    kb_buf_add_str(out, kb_str_cut(&rest, '?'));
    while (rest.p || due) {
        bool now = due && (rest.p == NULL || kb_str_cmp(rest, kb_str_of("fields")) > 0);
        kb_buf_putc(out, first ? '?' : '&');
        first = false;
        if (!now) {
            kb_buf_add_str(out, kb_str_cut(&rest, '&'));
            continue;
        }
        due = false;
        kb_buf_puts(out, "fields=");
        for (const char *p = core->fields; *p; p++)
            kb_buf_putc(out, *p == ' ' ? ',' : *p);
    }
}

static void view_open(struct kb_host *h, struct kb_core_view *core)
{
    static const struct kb_view_options options = {.held = &view_held};
    KB_AUTO(kb_buf_finish) struct kb_buf query = {0};
    struct host_view *v = calloc(1, sizeof(*v));
    KB_ASSERT(v != NULL);
    v->host = h;
    v->core = core;
    core->open = true;
    core->shell = v;
    view_query(core, &query);
    v->view = kb_view_open(h->actor, query.p, &options, &view_handlers, v);
}

static void view_close(struct kb_core_view *core)
{
    struct host_view *v = core->shell;
    kb_view_close(&v->view);
    free(v);
}

static void views_update(struct kb_host *h)
{
    struct kb_core_view **views, *unwanted;
    /* Listed before the first epoch has begun, they would have to wait for a beat to reach it. */
    if (!h->fenced || h->views_version == kb_core_views_version(h->core))
        return;
    h->views_version = kb_core_views_version(h->core);
    size_t n = kb_core_views(h->core, &views);
    for (size_t i = 0; i < n; i++)
        if (!views[i]->open)
            view_open(h, views[i]);
    while ((unwanted = kb_core_view_unwanted(h->core)) != NULL) {
        view_close(unwanted);
        kb_core_view_closed(h->core, unwanted);
    }
}

/* ---- calls ---- */

static void on_answer(void *user, const struct kb_err *err, kb_val body)
{
    struct host_call *call = user;
    struct kb_host *h = call->host;
    if (err)
        kb_debug("call failed: %s", err->text);
    kb_core_answer(h->core, call->id, err, body);
    kb_list_remove(&call->link);
    free(call);
    pump_later(h);
}

static void calls_send(struct kb_host *h)
{
    struct kb_core_call out;
    struct kb_err refusal;
    while (kb_core_next_call(h->core, &out)) {
        struct host_call *call = calloc(1, sizeof(*call));
        KB_ASSERT(call != NULL);
        call->host = h;
        call->id = out.id;
        kb_list_push(&h->calls, &call->link);
        kb_call(h->api, out.method, out.body, CALL_TIMEOUT_MS, on_answer, call);
    }
    while (kb_core_refusal(h->core, &refusal))
        kb_warn("%s", refusal.text);
}

static void on_epoch(void *user, const struct kb_err *err, kb_val body)
{
    struct kb_host *h = user;
    if (err)
        kb_debug("lease: %s", err->text);
    kb_core_time(h->core, kb_loop_now(h->loop), kb_clock_wall_us(kb_loop_clock(h->loop)));
    h->fenced |= kb_core_epoch(h->core, err, body);
    pump_later(h);
}

static void epoch_ask(struct kb_host *h)
{
    KB_AUTO(kb_w_finish) struct kb_w body = {0};
    if (kb_core_ask_epoch(h->core, kb_actor_name(h->actor), &body))
        kb_call(h->store, "lease.acquire", kb_w_val(&body), KB_FENCE_CALL_MS, on_epoch, h);
}

/* ---- the pump ---- */

static void gauges_set(struct kb_host *h, kb_ms now_ms)
{
    if (now_ms < h->gauges_due_ms)
        return;
    struct kb_core_stats s = kb_core_stats(h->core);
    h->gauges_due_ms = now_ms + GAUGES_MS;
    kb_actor_gauge(h->actor, "reconciles", (int64_t)s.runs);
    kb_actor_gauge(h->actor, "reconcile_failures", (int64_t)s.failures);
    kb_actor_gauge(h->actor, "writes", (int64_t)s.wishes);
    kb_actor_gauge(h->actor, "conflicts", (int64_t)s.conflicts);
    kb_actor_gauge(h->actor, "queue", (int64_t)s.ready);
    kb_actor_gauge(h->actor, "working", (int64_t)s.working);
    kb_actor_gauge(h->actor, "cached_objects", (int64_t)s.objects);
    kb_actor_gauge(h->actor, "cached_bytes", (int64_t)s.bytes);
}

static void pump(void *user)
{
    struct kb_host *h = user;
    kb_ms now_ms = kb_loop_now(h->loop);
    h->pumping = false;
    kb_core_time(h->core, now_ms, kb_clock_wall_us(kb_loop_clock(h->loop)));
    views_update(h);
    for (int i = 0; i < RUNS_A_PASS && kb_core_run(h->core); i++)
        views_update(h);
    calls_send(h);
    epoch_ask(h);
    gauges_set(h, now_ms);
    if (!h->ready && kb_core_ready(h->core)) {
        h->ready = true;
        kb_actor_ready(h->actor);
    }
    kb_ms wait = kb_core_wait_ms(h->core);
    if (wait >= 0)
        kb_loop_timer_set(h->loop, &h->wake, wait);
    else
        kb_loop_timer_stop(h->loop, &h->wake);
}

static void pump_later(struct kb_host *h)
{
    if (h->pumping)
        return;
    h->pumping = true;
    kb_loop_defer(h->loop, pump, h);
}

static void on_wake(void *user)
{
    pump_later(user);
}

int kb_host_new(struct kb_actor *actor, const struct kb_core_config *config,
                struct kb_host **ret_host, struct kb_err *err)
{
    struct kb_host *h = calloc(1, sizeof(*h));
    KB_ASSERT(h != NULL);
    kb_list_init(&h->calls);
    h->actor = actor;
    h->loop = kb_actor_loop(actor);
    h->wake = (struct kb_loop_timer){.fn = on_wake, .user = h};
    h->api = kb_actor_peer(actor, "api");
    h->store = kb_actor_peer(actor, "store");
    KB_AUTO(kb_auto_free) char *lease = kb_strf("controller/%s", kb_actor_name(actor));
    struct kb_core_config fenced = *config;
    fenced.lease = lease;
    int rc = kb_core_new(&fenced, &h->core, err);
    if (rc < 0) {
        free(h);
        return rc;
    }
    pump_later(h);
    *ret_host = h;
    return 0;
}

void kb_host_destroy(struct kb_host **host_p)
{
    struct kb_host *h = KB_STEAL(*host_p);
    struct kb_core_view **views;
    if (h == NULL)
        return;
    kb_loop_timer_stop(h->loop, &h->wake);
    size_t n = kb_core_views(h->core, &views);
    for (size_t i = 0; i < n; i++)
        if (views[i]->open)
            view_close(views[i]);
    kb_loop_undefer(h->loop, h);
    for (struct kb_link *link; (link = kb_list_pop(&h->calls)) != NULL;)
        free(KB_CONTAINER(link, struct host_call, link)); /* the actor goes too: nobody answers */
    kb_core_destroy(&h->core);
    free(h);
}
