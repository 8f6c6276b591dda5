/* watch.c - one client's watch.
 *
 *   start --no revision--> LISTING (each object as ADDED) --+
 *     |                                                      v
 *     +--from a revision--------------------------------> JOINING --ring reaches back--> LIVE
 *                                                            |  ^
 *                                                            v  |
 *                                                         REPLAYING (the store's history)
 *
 * `pos` is the revision up to which all was delivered. It makes every path safe: whatever comes
 * twice, from the history and from the ring, is passed over the second time. A client that reads
 * too slowly while it is caught up is waited for; one that is live and too slow is closed by the
 * server (its queue is bounded), since to leave out an event would corrupt what it knows. */
#include "actors/api/watch.h"

#include "bus/base/check.h"
#include "bus/base/rand.h"
#include "bus/model/json.h"

#include <stdio.h>
#include <stdlib.h>

enum { PAGE_ITEMS = 500, CATCH_UP_BYTES = 4 * 1024 * 1024, TIMEOUT_S = 1800 };

static void watcher_free(struct kb__watcher *w)
{
    struct kb__api *api = w->op.api;
    kb_list_remove(&w->link);
    if (w->call)
        kb_call_cancel(api->store, w->call);
    kb_loop_timer_stop(api->loop, &w->timer);
    if (w->hub)
        kb__hub_release(w->hub);
    kb_selection_finish(&w->selection);
    api->watchers--;
    free(w);
}

static void watcher_closed(struct kb__op *op)
{
    watcher_free((struct kb__watcher *)op);
}

static void end(struct kb__watcher *w)
{
    if (w->dead)
        return; /* on_close is on its way, and frees */
    kb_http_stream_end(w->op.req);
    watcher_free(w);
}

static void send_blob(struct kb__watcher *w, struct kb_blob *blob)
{
    if (w->dead || kb_http_stream_write(w->op.req, blob) == 0)
        return;
    w->dead = true;
    kb_list_remove(&w->link);
}

static void send_text(struct kb__watcher *w, struct kb_buf *text)
{
    struct kb_blob *blob = kb_blob_take(text);
    send_blob(w, blob);
    kb_blob_unref(&blob);
}

void kb__watcher_fail(struct kb__watcher *w, const struct kb_err *err)
{
    KB_AUTO(kb_arena_finish) struct kb_arena arena = {0};
    KB_AUTO(kb_w_finish) struct kb_w status_w = {0};
    struct kb_status status = {0};
    struct kb_buf out = {0};
    if (err->code == KB_EGONE)
        kb_status_set(&status, &arena, 410, "Expired", "too old resource version: %lld (%lld)",
                      (long long)w->pos, (long long)(w->hub ? w->hub->rev : 0));
    else
        kb_status_of_err(&status, &arena, err);
    kb_status_write(&status, &status_w);
    kb_buf_puts(&out, "{\"type\":\"ERROR\",\"object\":");
    kb_json_write(&out, kb_w_val(&status_w), 0);
    kb_buf_puts(&out, "}\n");
    send_text(w, &out);
    end(w);
}

void kb__watcher_bookmark(struct kb__watcher *w, int64_t rev)
{
    struct kb_buf out = {0};
    const struct kb_kind *kind = w->look.kind;
    if (rev < w->pos)
        rev = w->pos;
    w->pos = rev;
    kb_buf_puts(&out, "{\"type\":\"BOOKMARK\",\"object\":{");
    if (w->look.accept.form == KB_FORM_OBJECT)
        kb_buf_printf(&out, "\"kind\":\"%.*s\",\"apiVersion\":\"%.*s\",", KB_STR_ARG(kind->kind),
                      KB_STR_ARG(kind->api_version));
    else
        kb_buf_printf(&out, "\"kind\":\"%s\",\"apiVersion\":\"meta.k8s.io/v1\",",
                      w->look.columns ? "Table" : "PartialObjectMetadata");
    kb_buf_printf(&out, "\"metadata\":{\"resourceVersion\":\"%lld\"", (long long)rev);
    if (w->initial_bookmark)
        kb_buf_puts(&out, ",\"annotations\":{\"k8s.io/initial-events-end\":\"true\"}");
    w->initial_bookmark = false;
    kb_buf_printf(&out, "%s}%s}}\n", w->look.columns ? "" : ",\"creationTimestamp\":null",
                  w->look.columns ? ",\"columnDefinitions\":null,\"rows\":[]" : "");
    send_text(w, &out);
}

/* How a change looks through the selection; false: it does not concern this watcher. */
static bool event_type(const struct kb__watcher *w, const struct kb__event *event,
                       enum kb__event_type *ret)
{
    const struct kb_selection *s = &w->selection;
    if (event->rev <= w->pos || (s->ns.n && !kb_str_eq(s->ns, event->ns)) ||
        (s->name.n && !kb_str_eq(s->name, event->name)))
        return false;
    kb_val doc = kb_doc_root(event->doc), old = kb_doc_root(event->old);
    if (event->deleted) {
        *ret = KB__DELETED;
        return event->doc && (!w->filtered || kb_selection_match(s, old.p ? old : doc));
    }
    bool now = !w->filtered || kb_selection_match(s, doc);
    bool before = event->old && (!w->filtered || kb_selection_match(s, old));
    *ret = now && before ? KB__MODIFIED : now ? KB__ADDED : KB__LEFT;
    return now || before;
}

void kb__watcher_event(struct kb__watcher *w, struct kb__event *event, int64_t now_us)
{
    enum kb__event_type type;
    if (w->dead || !event_type(w, event, &type))
        return;
    if (w->look.columns && !w->headers_sent) {
        struct kb_blob *first = kb__event_first_text(event, &w->look, type, now_us);
        send_blob(w, first);
        kb_blob_unref(&first);
    } else {
        send_blob(w, kb__event_text(event, &w->look, type, now_us));
    }
    w->headers_sent = true;
}

/* ---- catching up ---- */

static void join(struct kb__watcher *w);
static void list_page(struct kb__watcher *w);
static void replay_page(struct kb__watcher *w);

static bool must_wait(struct kb__watcher *w)
{
    w->waiting = !w->dead && kb_http_stream_queued(w->op.req) > CATCH_UP_BYTES;
    return w->waiting;
}

static void watcher_drain(struct kb__op *op)
{
    struct kb__watcher *w = (struct kb__watcher *)op;
    if (!w->waiting || w->call)
        return;
    w->waiting = false;
    if (w->hub)
        join(w);
    else
        list_page(w);
}

static void on_replay(void *user, const struct kb_err *err, kb_val body)
{
    struct kb__watcher *w = user;
    int64_t now_us = kb_clock_wall_us(kb_actor_clock(w->op.api->actor));
    w->call = 0;
    if (err) {
        kb__watcher_fail(w, err);
        return;
    }
    for (struct kb_iter it = kb_iter(kb_val_get(body, "changes")); kb_iter_next(&it);) {
        struct kb__event *event = kb__event_new(
            kb_val_str(kb_val_get(it.val, "key")), kb_val_int(kb_val_get(it.val, "rev"), 0),
            kb_str_is(kb_val_str(kb_val_get(it.val, "op")), "del"), kb_val_get(it.val, "doc"),
            kb_val_get(it.val, "old"));
        kb__watcher_event(w, event, now_us);
        kb__event_destroy(&event);
    }
    int64_t reached = kb_val_int(kb_val_get(body, "rev"), 0);
    if (reached > w->pos)
        w->pos = reached;
    if (!w->dead && !must_wait(w))
        join(w);
}

static void replay_page(struct kb__watcher *w)
{
    KB_AUTO(kb_w_finish) struct kb_w body = {0};
    KB_AUTO(kb_auto_free)
    char *view = kb_strf(KB_STR_FMT "?with=old", KB_STR_ARG(w->look.kind->resource));
    kb_w_map(&body);
    kb_w_kcstr(&body, "view", view);
    kb_w_kint(&body, "since", w->pos);
    kb_w_kint(&body, "limit", PAGE_ITEMS);
    kb_w_end(&body);
    w->call = kb_call(w->op.api->store, "store.replay", kb_w_val(&body), KB__CALL_MS, on_replay, w);
}

/* Go live when the ring reaches back to where the watcher stands, else read history first. */
static void join(struct kb__watcher *w)
{
    struct kb__hub *hub = w->hub;
    int64_t now_us = kb_clock_wall_us(kb_actor_clock(w->op.api->actor));
    if (hub->lost) {
        kb__watcher_fail(w, &(struct kb_err){.code = KB_EGONE});
        return;
    }
    if (w->pos < hub->from_rev) {
        replay_page(w);
        return;
    }
    for (size_t i = 0; i < hub->count; i++)
        kb__watcher_event(w, hub->ring[(hub->head + i) % hub->cap], now_us);
    if (w->dead)
        return;
    kb_list_push(&hub->watchers, &w->link);
    if (w->initial_bookmark)
        kb__watcher_bookmark(w, w->pos);
}

static void enter_hub(struct kb__watcher *w)
{
    w->hub = kb__hub_use(w->op.api, w->look.kind, w->pos);
    join(w);
}

static void send_listed(struct kb__watcher *w, kb_val item, int64_t now_us)
{
    kb_val doc = kb_val_get(item, "doc");
    kb_str key = kb_val_str(kb_val_get(item, "key"));
    kb_str_copy(key, w->after, sizeof(w->after));
    if (w->filtered && !kb_selection_match(&w->selection, doc))
        return;
    struct kb_buf out = {0};
    kb_buf_puts(&out, "{\"type\":\"ADDED\",\"object\":");
    kb__render(&w->look, doc, kb_val_int(kb_val_get(item, "rev"), 0), now_us, !w->headers_sent,
               &out);
    kb_buf_puts(&out, "}\n");
    w->headers_sent = true;
    send_text(w, &out);
}

static void on_list(void *user, const struct kb_err *err, kb_val body)
{
    struct kb__watcher *w = user;
    int64_t now_us = kb_clock_wall_us(kb_actor_clock(w->op.api->actor));
    w->call = 0;
    if (err) {
        kb__watcher_fail(w, err);
        return;
    }
    w->list_rev = kb_val_int(kb_val_get(body, "rev"), 0);
    for (struct kb_iter it = kb_iter(kb_val_get(body, "items")); kb_iter_next(&it);)
        send_listed(w, it.val, now_us);
    if (w->dead)
        return;
    if (kb_val_bool(kb_val_get(body, "more"), false)) {
        if (!must_wait(w))
            list_page(w);
        return;
    }
    w->pos = w->list_rev;
    enter_hub(w);
}

static void list_page(struct kb__watcher *w)
{
    KB_AUTO(kb_w_finish) struct kb_w body = {0};
    KB_AUTO(kb_buf_finish) struct kb_buf view = {0};
    bool exact;
    kb_selection_view(&w->selection, &view, &exact);
    kb_w_map(&body);
    kb_w_kstr(&body, "view", kb_buf_str(&view));
    kb_w_kint(&body, "limit", PAGE_ITEMS);
    if (w->after[0])
        kb_w_kcstr(&body, "after", w->after);
    if (w->list_rev > 0)
        kb_w_kint(&body, "rev", w->list_rev);
    kb_w_end(&body);
    w->call = kb_call(w->op.api->store, "store.list", kb_w_val(&body), KB__CALL_MS, on_list, w);
}

/* ---- start ---- */

static void on_timeout(void *user)
{
    end(user);
}

/* Watches that nobody bounds end after 30 to 60 minutes, spread so that they do not come back at
 * once. */
static void arm_timeout(struct kb__watcher *w)
{
    int64_t seconds = 0;
    struct kb_rand rand;
    if (!kb_str_i64(kb__param(w->op.req, "timeoutSeconds"), &seconds) || seconds <= 0) {
        kb_rand_init_system(&rand);
        seconds = TIMEOUT_S + (int64_t)kb_rand_below(&rand, TIMEOUT_S);
    }
    w->timer.fn = on_timeout;
    w->timer.user = w;
    kb_loop_timer_set(w->op.api->loop, &w->timer, kb_seconds_ms(seconds));
}

static void start(struct kb__watcher *w, bool list_first)
{
    struct kb_http_header header = {"cache-control", "no-cache, private"};
    struct kb_http_head head = {
        .status = 200, .content_type = "application/json", .headers = &header, .headers_n = 1};
    kb__count_answer(w->op.api, 200);
    kb_http_stream_start(w->op.req, &head);
    arm_timeout(w);
    if (list_first)
        list_page(w);
    else
        enter_hub(w);
}

void kb__watch(struct kb__api *api, struct kb_http_req *req, const struct kb_route *route)
{
    struct kb__look look;
    struct kb_selection selection;
    struct kb_err err = {0};
    int64_t rev = 0;
    kb_str rev_text = kb__param(req, "resourceVersion");
    if (!kb__look_of(api, req, route->kind, &look))
        return;
    if (rev_text.n && (!kb_str_i64(rev_text, &rev) || rev < 0)) {
        kb_err_set(&err, KB_EINVAL,
                   "Invalid value: \"" KB_STR_FMT "\": resourceVersion must be a number",
                   KB_STR_ARG(rev_text));
        kb__answer_err(api, req, &err);
        return;
    }
    if (kb_selection_parse(route->kind, route->ns, kb__param(req, "labelSelector"),
                           kb__param(req, "fieldSelector"), &selection, &err) < 0) {
        kb__answer_err(api, req, &err);
        return;
    }
    struct kb__watcher *w = calloc(1, sizeof(*w));
    KB_ASSERT(w != NULL);
    kb_list_init(&w->link);
    w->look = look;
    w->selection = selection;
    w->filtered = kb_selection_is_filtered(&selection);
    w->bookmarks = kb__param_true(req, "allowWatchBookmarks");
    w->initial_bookmark = w->bookmarks && kb__param_true(req, "sendInitialEvents");
    w->pos = rev;
    w->op.closed = watcher_closed;
    w->op.drain = watcher_drain;
    kb__op_begin(&w->op, api, req);
    api->watchers++;
    start(w, rev == 0 || w->initial_bookmark);
}

void kb__watch_finish(struct kb__api *api)
{
    kb_str key;
    void *hub;
    for (size_t i = 0; kb_map_next(&api->hubs, &i, &key, &hub);) {
        struct kb__hub *it = hub;
        KB_LIST_EACH_SAFE(link, &it->watchers)
        end(KB_CONTAINER(link, struct kb__watcher, link));
    }
}
