/* scheduler_actor.c - between the bus and the core.
 *
 * WHY it writes to the store and not through the API: a binding changes two fields of an object
 * that the API has validated already, under compare-and-swap, and it is the one write of which a
 * busy cluster has thousands a second. One transaction a pod: a conflict on one must not undo the
 * others; the store commits all that wait together anyway.
 *
 * WHY events are held back while bindings are under way: they are for people, who do not mind half
 * a second, and each costs the cluster as much as a binding. Over EVENTS_MAX waiting, new ones are
 * dropped and counted, as Kubernetes' broadcaster does.
 *
 * It decides nothing before all views are complete: half a picture would overfill nodes. */
#include "actors/scheduler/scheduler_actor.h"

#include "actors/scheduler/core/outside.h"
#include "actors/scheduler/live.h"
#include "actors/scheduler/record.h"
#include "actors/scheduler/scheduler_core.h"
#include "bus/actor.h"
#include "bus/base/check.h"
#include "bus/base/log.h"
#include "bus/loop.h"
#include "bus/model/key.h"

#include <stdlib.h>

enum {
    BATCH = 256,       /* decisions in one pass, then the bus is served again */
    WRITES_MAX = 2048, /* under way at once */
    WRITE_TIMEOUT_MS = 10000,
    ASKS_MAX = 64, /* under way */
    OTHERS = 16,
    EVENTS_MAX = 20000,     /* waiting */
    EVENTS_FLIGHT = 64,     /* under way, when nothing else is to do */
    EVENTS_FLIGHT_BUSY = 2, /* … and while bindings are … */
    EVENTS_LULL_MS = 250    /* … and so long after the last one */
};

struct kb_sched_actor {
    struct kb_actor *actor;
    struct kb_loop *loop;
    struct kb_peer *store, *api;
    struct kb_view *nodes, *pods;
    struct kb_view *others[OTHERS]; /* of kb_sched_resources */
    struct kb_sched *sched;
    struct kb_sched_live *live;
    struct kb_record *record; /* or NULL */
    struct kb_sched_out out;
    struct kb_loop_timer timer, lull;
    kb_ms busy_ms; /* when a binding was last written */
    bool ready, deferred;
    size_t writes, asks; /* under way */
    struct kb_link flights;
    struct kb_link events; /* waiting, of struct event */
    size_t events_n, events_flight, events_dropped;
    struct kb_w body; /* kept for its memory */
};

/* A write under way. */
struct flight {
    struct kb_link link;
    struct kb_sched_actor *a;
    struct kb_peer *peer;
    uint64_t id;
    enum kb_sched_wish_kind kind;
    char *key;
    uint64_t attempt;
    struct kb_doc *doc; /* of EVICT */
};

struct event {
    struct kb_link link;
    struct kb_doc *doc;
};

static void schedule_work(struct kb_sched_actor *a);
static void perform(struct kb_sched_actor *a);

/* ---- writes ---- */

static struct flight *flight_new(struct kb_sched_actor *a, enum kb_sched_wish_kind kind)
{
    struct flight *f = calloc(1, sizeof(*f));
    KB_ASSERT(f != NULL);
    f->a = a;
    f->kind = kind;
    kb_list_push(&a->flights, &f->link);
    return f;
}

static void flight_end(struct flight *f)
{
    kb_list_remove(&f->link);
    kb_doc_destroy(&f->doc);
    free(f->key);
    free(f);
}

static void written(void *user, const struct kb_err *err, kb_val body)
{
    struct flight *f = user;
    struct kb_sched_actor *a = f->a;
    int rc = err ? -abs(err->code) : 0;
    a->writes--;
    if (f->kind == KB_SCHED_BIND)
        kb_sched_bind_done(a->sched, kb_str_of(f->key), f->attempt, rc,
                           kb_val_int(kb_val_get(body, "rev"), 0), &a->out);
    else
        kb_sched_condition_done(a->sched, kb_str_of(f->key), rc);
    if (rc < 0 && rc != -KB_ECONFLICT && rc != -KB_ENOTFOUND)
        kb_warn("%s: %s", f->key, err->text);
    flight_end(f);
    schedule_work(a);
}

/* {ops: [{op: put, key, doc, if: {rev}}]} */
static void write_pod(struct kb_sched_actor *a, struct kb_sched_wish *wish)
{
    struct kb_w *w = &a->body;
    struct flight *f = flight_new(a, wish->kind);
    kb_buf_clear(&w->buf);
    kb_w_map(w);
    kb_w_karray(w, "ops");
    kb_w_map(w);
    kb_w_kcstr(w, "op", "put");
    kb_w_kcstr(w, "key", wish->key);
    kb_w_kraw(w, "doc", kb_doc_root(wish->doc));
    kb_w_kmap(w, "if");
    kb_w_kint(w, "rev", wish->rev);
    kb_w_end(w);
    kb_w_end(w);
    kb_w_end(w);
    kb_w_end(w);
    f->key = KB_STEAL(wish->key);
    f->attempt = wish->attempt;
    f->peer = a->store;
    a->busy_ms = kb_loop_now(a->loop);
    a->writes++;
    f->id = kb_call(a->store, "store.txn", kb_w_val(w), WRITE_TIMEOUT_MS, written, f);
}

/* ---- evictions: the condition, then the deletion ---- */

static void evict_end(struct flight *f, int rc, const struct kb_err *err)
{
    struct kb_sched_actor *a = f->a;
    if (rc < 0 && rc != -KB_ENOTFOUND)
        kb_warn("evict %s: %s", f->key, err->text);
    kb_sched_evict_done(a->sched, kb_str_of(f->key), rc);
    flight_end(f);
    schedule_work(a);
}

/* A call on the pod of a flight; the map is left open. */
static struct kb_w *about_object(struct flight *f)
{
    struct kb_w *w = &f->a->body;
    struct kb_key key = {0};
    kb_key_parse(kb_str_of(f->key), &key, NULL);
    kb_buf_clear(&w->buf);
    kb_w_map(w);
    kb_w_kstr(w, "resource", key.resource);
    kb_w_kstr(w, "ns", key.ns);
    kb_w_kstr(w, "name", key.name);
    return w;
}

static void evict_deleted(void *user, const struct kb_err *err, kb_val body)
{
    (void)body;
    evict_end(user, err ? -abs(err->code) : 0, err);
}

static void evict_marked(void *user, const struct kb_err *err, kb_val body)
{
    struct flight *f = user;
    (void)body;
    if (err) {
        evict_end(f, -abs(err->code), err);
        return;
    }
    struct kb_w *w = about_object(f);
    kb_w_kraw(w, "uid", kb_doc_at(f->doc, "metadata.uid"));
    kb_w_end(w);
    f->id = kb_call(f->peer, "object.delete", kb_w_val(w), WRITE_TIMEOUT_MS, evict_deleted, f);
}

static void evict(struct kb_sched_actor *a, struct kb_sched_wish *wish)
{
    struct flight *f = flight_new(a, KB_SCHED_EVICT);
    f->key = KB_STEAL(wish->key);
    f->doc = KB_STEAL(wish->doc);
    f->peer = a->api;
    struct kb_w *w = about_object(f);
    kb_w_kcstr(w, "subresource", "status");
    kb_w_kcstr(w, "type", "strategic");
    kb_w_kraw(w, "patch", kb_doc_root(f->doc));
    kb_w_kcstr(w, "manager", "kube-scheduler");
    kb_w_end(w);
    f->id = kb_call(a->api, "object.patch", kb_w_val(w), WRITE_TIMEOUT_MS, evict_marked, f);
}

/* ---- volumes ---- */

static void volume_written(void *user, const struct kb_err *err, kb_val body)
{
    struct flight *f = user;
    struct kb_sched_actor *a = f->a;
    (void)body;
    if (err)
        kb_warn("%s: %s", f->key, err->text);
    kb_sched_write_done(a->sched, (uint32_t)(f->attempt >> 32), (uint32_t)f->attempt,
                        err ? -abs(err->code) : 0);
    flight_end(f);
    schedule_work(a);
}

static void write_volumes(struct kb_sched_actor *a)
{
    struct kb_volume_write write;
    while (kb_sched_next_write(a->sched, &write)) {
        struct flight *f = flight_new(a, KB_SCHED_CONDITION);
        f->key = write.key;
        f->attempt = (uint64_t)write.ns << 32 | write.claim;
        f->peer = a->api;
        struct kb_w *w = about_object(f);
        kb_w_kcstr(w, "type", "merge");
        kb_w_kraw(w, "patch", kb_doc_root(write.patch));
        kb_w_kcstr(w, "manager", "kube-scheduler");
        kb_w_end(w);
        f->id = kb_call(a->api, "object.patch", kb_w_val(w), WRITE_TIMEOUT_MS, volume_written, f);
        kb_doc_destroy(&write.patch);
    }
}

/* ---- events ---- */

static void event_written(void *user, const struct kb_err *err, kb_val body)
{
    struct flight *f = user;
    struct kb_sched_actor *a = f->a;
    (void)body;
    if (err)
        kb_debug("event: %s", err->text);
    a->events_flight--;
    flight_end(f);
    schedule_work(a);
}

static void send_event(struct kb_sched_actor *a, struct kb_doc *doc)
{
    struct kb_w *w = &a->body;
    struct flight *f = flight_new(a, KB_SCHED_EVENT);
    kb_buf_clear(&w->buf);
    kb_w_map(w);
    kb_w_kcstr(w, "resource", "events");
    kb_w_kraw(w, "ns", kb_doc_at(doc, "metadata.namespace"));
    kb_w_kraw(w, "doc", kb_doc_root(doc));
    kb_w_kcstr(w, "manager", "kube-scheduler");
    kb_w_end(w);
    f->peer = a->api;
    a->events_flight++;
    f->id = kb_call(a->api, "object.create", kb_w_val(w), WRITE_TIMEOUT_MS, event_written, f);
}

static void send_events(struct kb_sched_actor *a)
{
    kb_ms lull = kb_loop_now(a->loop) - a->busy_ms;
    bool busy = a->writes > 0 || lull < EVENTS_LULL_MS;
    size_t most = busy ? EVENTS_FLIGHT_BUSY : EVENTS_FLIGHT;
    if (busy && a->events_n > 0)
        kb_loop_timer_set(a->loop, &a->lull, EVENTS_LULL_MS);
    while (a->events_n > 0 && a->events_flight < most) {
        struct event *e = KB_CONTAINER(kb_list_pop(&a->events), struct event, link);
        a->events_n--;
        send_event(a, e->doc);
        kb_doc_destroy(&e->doc);
        free(e);
    }
}

static void queue_event(struct kb_sched_actor *a, struct kb_doc **doc_p)
{
    if (a->events_n == EVENTS_MAX) {
        a->events_dropped++;
        return;
    }
    struct event *e = calloc(1, sizeof(*e));
    KB_ASSERT(e != NULL);
    e->doc = KB_STEAL(*doc_p);
    kb_list_push(&a->events, &e->link);
    a->events_n++;
}

/* ---- questions to services ---- */

static void judged(void *user, const struct kb_err *err, kb_val body)
{
    struct flight *f = user;
    struct kb_sched_actor *a = f->a;
    a->asks--;
    kb_sched_answer(a->sched, f->attempt, err ? (kb_val){0} : body, err, &a->out);
    flight_end(f);
    schedule_work(a);
}

static void send_asks(struct kb_sched_actor *a)
{
    struct kb_outside_ask ask;
    while (a->asks < ASKS_MAX && kb_sched_next_ask(a->sched, &ask)) {
        struct flight *f = flight_new(a, KB_SCHED_EVENT);
        f->peer = kb_actor_peer(a->actor, ask.service);
        f->attempt = ask.id;
        a->asks++;
        f->id = kb_call(f->peer, "policy.judge", kb_doc_root(ask.body), ask.timeout_ms, judged, f);
        kb_doc_destroy(&ask.body);
    }
}

static void perform(struct kb_sched_actor *a)
{
    for (size_t i = 0; i < a->out.n; i++) {
        if (a->out.wishes[i].kind == KB_SCHED_EVENT)
            queue_event(a, &a->out.wishes[i].doc);
        else if (a->out.wishes[i].kind == KB_SCHED_EVICT)
            evict(a, &a->out.wishes[i]);
        else
            write_pod(a, &a->out.wishes[i]);
    }
    kb_sched_out_clear(&a->out);
}

/* ---- work ---- */

static void tell_time(struct kb_sched_actor *a)
{
    kb_sched_time(a->sched, kb_loop_now(a->loop), kb_clock_wall_us(kb_actor_clock(a->actor)));
}

static void show_gauges(struct kb_sched_actor *a)
{
    struct kb_sched_counts c = kb_sched_counts(a->sched);
    kb_actor_gauge(a->actor, "nodes", (int64_t)c.nodes);
    kb_actor_gauge(a->actor, "pods_placed", (int64_t)c.placed);
    kb_actor_gauge(a->actor, "pods_waiting", (int64_t)(c.waiting.active + c.waiting.backoff));
    kb_actor_gauge(a->actor, "pods_unschedulable", (int64_t)c.waiting.unschedulable);
    kb_actor_gauge(a->actor, "pods_gated", (int64_t)c.waiting.gated);
    kb_actor_gauge(a->actor, "pods_held", (int64_t)c.held);
    kb_actor_gauge(a->actor, "bound", (int64_t)c.bound);
    kb_actor_gauge(a->actor, "conflicts", (int64_t)c.conflicts);
    kb_actor_gauge(a->actor, "policies_held", (int64_t)kb_sched_live_held(a->live));
    kb_actor_gauge(a->actor, "events_dropped", (int64_t)a->events_dropped);
}

static void work(void *user)
{
    struct kb_sched_actor *a = user;
    a->deferred = false;
    perform(a); /* what replies brought */
    if (!a->ready)
        return;
    tell_time(a);
    size_t room = a->writes < WRITES_MAX ? WRITES_MAX - a->writes : 0;
    size_t most = room < BATCH ? room : BATCH;
    size_t n = kb_sched_decide(a->sched, most, &a->out);
    kb_sched_live_look(a->live);
    perform(a);
    write_volumes(a);
    send_asks(a);
    send_events(a);
    show_gauges(a);
    kb_ms wait = kb_sched_wait_ms(a->sched);
    if (n > 0 && n == most)
        kb_loop_timer_set(a->loop, &a->timer, 0);
    else if (wait > 0 || (wait == 0 && a->writes < WRITES_MAX))
        kb_loop_timer_set(a->loop, &a->timer, wait);
    else
        kb_loop_timer_stop(a->loop, &a->timer);
}

/* At the end of the loop's pass, when all that waits has been taken in. */
static void schedule_work(struct kb_sched_actor *a)
{
    if (a->deferred)
        return;
    a->deferred = true;
    kb_loop_defer(a->loop, work, a);
}

/* ---- views ---- */

static void node_changed(void *user, const struct kb_change *change)
{
    struct kb_sched_actor *a = user;
    if (change->op == KB_PUT)
        kb_sched_node_put(a->sched, change->key, change->doc);
    else
        kb_sched_node_del(a->sched, change->key);
}

static void pod_changed(void *user, const struct kb_change *change)
{
    struct kb_sched_actor *a = user;
    tell_time(a);
    if (change->op == KB_PUT)
        kb_sched_pod_put(a->sched, change->key, change->rev, change->doc);
    else
        kb_sched_pod_del(a->sched, change->key);
}

static void other_changed(void *user, const struct kb_change *change)
{
    struct kb_sched_actor *a = user;
    kb_sched_object_put(a->sched, change->key, change->op == KB_PUT ? change->doc : (kb_val){0});
}

static bool all_synced(const struct kb_sched_actor *a)
{
    bool all = a->nodes && a->pods && kb_view_synced(a->nodes) && kb_view_synced(a->pods);
    for (size_t i = 0; all && kb_sched_resources[i] != NULL; i++)
        all = a->others[i] && kb_view_synced(a->others[i]);
    return all;
}

/* All views and the configuration: none is enough without the others. */
static void go_on(struct kb_sched_actor *a)
{
    if (!a->ready && all_synced(a) && kb_sched_live_ready(a->live)) {
        a->ready = true;
        kb_actor_ready(a->actor);
    }
    schedule_work(a);
}

static void synced(void *user, int64_t rev)
{
    (void)rev;
    go_on(user);
}

static void configured(void *user)
{
    go_on(user);
}

static void take_event(void *user, struct kb_doc **doc_p)
{
    queue_event(user, doc_p);
    schedule_work(user);
}

static const struct kb_view_handlers node_handlers = {node_changed, synced};
static const struct kb_view_handlers pod_handlers = {pod_changed, synced};
static const struct kb_view_handlers other_handlers = {other_changed, synced};

/* ---- scheduler.explain ---- */

static void serve_explain(void *user, struct kb_request *request, kb_val body)
{
    struct kb_sched_actor *a = user;
    struct kb_w w = {0};
    kb_str key = kb_val_str(kb_val_get(body, "key"));
    if (kb_sched_explain(a->sched, key, &w)) {
        kb_request_reply(&request, kb_w_val(&w));
    } else {
        struct kb_err err = {0};
        kb_err_set(&err, KB_ENOTFOUND,
                   "the scheduler knows no pod " KB_STR_FMT
                   ": it is not there, or its schedulerName is of no profile",
                   KB_STR_ARG(kb_str_starts(key, "pods/") ? kb_str_n(key.p + 5, key.n - 5) : key));
        kb_request_fail(&request, &err);
    }
    kb_w_finish(&w);
}

/* ---- scheduler.policies, scheduler.check, scheduler.keep ---- */

static void serve_policies(void *user, struct kb_request *request, kb_val body)
{
    struct kb_sched_actor *a = user;
    KB_AUTO(kb_w_finish) struct kb_w w = {0};
    (void)body;
    kb_sched_live_describe(a->live, &w);
    kb_request_reply(&request, kb_w_val(&w));
}

/* Would this configuration be used? */
static void serve_check(void *user, struct kb_request *request, kb_val body)
{
    struct kb_sched_actor *a = user;
    struct kb_err err = {0};
    if (kb_sched_live_check(a->live, kb_val_str(kb_val_get(body, "config")),
                            kb_val_str(kb_val_get(body, "policies")), &err) < 0)
        kb_request_fail(&request, &err);
    else
        kb_request_reply(&request, (kb_val){0});
}

static void serve_keep(void *user, struct kb_request *request, kb_val body)
{
    struct kb_sched_actor *a = user;
    KB_AUTO(kb_w_finish) struct kb_w w = {0};
    KB_AUTO(kb_auto_free) char *path = kb_str_dup(kb_val_str(kb_val_get(body, "file")));
    struct kb_err err = {0};
    if (kb_sched_live_keep(a->live, path, &w, &err) < 0)
        kb_request_fail(&request, &err);
    else
        kb_request_reply(&request, kb_w_val(&w));
}

static const struct kb_method methods[] = {{"scheduler.explain", serve_explain},
                                           {"scheduler.policies", serve_policies},
                                           {"scheduler.check", serve_check},
                                           {"scheduler.keep", serve_keep}};

/* ---- life ---- */

struct kb_sched_actor *kb_sched_actor_new(struct kb_actor *actor, uint64_t seed)
{
    struct kb_sched_actor *a = calloc(1, sizeof(*a));
    KB_ASSERT(a != NULL);
    a->actor = actor;
    a->loop = kb_actor_loop(actor);
    a->store = kb_actor_peer(actor, "store");
    a->api = kb_actor_peer(actor, "api");
    a->timer = a->lull = (struct kb_loop_timer){.fn = work, .user = a};
    a->busy_ms = kb_loop_now(a->loop) - EVENTS_LULL_MS;
    kb_list_init(&a->flights);
    kb_list_init(&a->events);
    a->sched = kb_sched_new(seed);
    struct kb_sched_live_user live = {configured, take_event, a};
    a->live = kb_sched_live_new(actor, a->sched, &live);
    kb_actor_serve(actor, methods, KB_COUNT(methods), a);
    a->nodes = kb_view_open(actor, "nodes", NULL, &node_handlers, a);
    a->pods = kb_view_open(actor, "pods", NULL, &pod_handlers, a);
    for (size_t i = 0; kb_sched_resources[i] != NULL; i++) {
        KB_ASSERT(i < OTHERS);
        a->others[i] = kb_view_open(actor, kb_sched_resources[i], NULL, &other_handlers, a);
    }
    return a;
}

void kb_sched_actor_share(struct kb_sched_actor *a, uint32_t share, uint32_t shares)
{
    kb_sched_share(a->sched, share, shares);
}

void kb_sched_actor_guard(struct kb_sched_actor *a, struct kb_guard_page *page,
                          const struct kb_watchdog_found *found)
{
    kb_sched_live_guard(a->live, page, found);
}

int kb_sched_actor_record(struct kb_sched_actor *a, uint64_t seed, const char *path,
                          struct kb_err *err)
{
    return kb_record_open(a->sched, seed, path, &a->record, err);
}

void kb_sched_actor_destroy(struct kb_sched_actor **a_p)
{
    struct kb_sched_actor *a = *a_p;
    if (a == NULL)
        return;
    kb_view_close(&a->nodes);
    kb_view_close(&a->pods);
    for (size_t i = 0; i < OTHERS; i++)
        kb_view_close(&a->others[i]);
    kb_loop_timer_stop(a->loop, &a->timer);
    kb_loop_timer_stop(a->loop, &a->lull);
    kb_loop_undefer(a->loop, a);
    KB_LIST_EACH_SAFE(it, &a->flights)
    {
        struct flight *f = KB_CONTAINER(it, struct flight, link);
        kb_call_cancel(f->peer, f->id);
        flight_end(f);
    }
    struct kb_link *link;
    while ((link = kb_list_pop(&a->events)) != NULL) {
        struct event *e = KB_CONTAINER(link, struct event, link);
        kb_doc_destroy(&e->doc);
        free(e);
    }
    kb_sched_out_finish(&a->out);
    kb_record_close(&a->record);
    kb_sched_destroy(&a->sched);
    kb_sched_live_destroy(&a->live);
    kb_w_finish(&a->body);
    free(a);
    *a_p = NULL;
}
