/* view.c - the shell of a follower: one subscription socket a publisher, calls to the store, and
 * delivery. What to do is view_core.c's decision.
 *
 * Views of the same query in one process share the subscription. A callback may close any view,
 * also its own: a closed one is only marked while messages are being delivered, and freed after. */
#include "bus/impl.h"

#include "bus/base/log.h"
#include "bus/view_core.h"

enum {
    LIST_PAGE = 1000,
    REPLAY_PAGE = 2000,
    CALL_TIMEOUT_MS = 30000,
};

struct kb_view {
    struct kb_actor *actor;
    struct kb__feed *feed;
    struct kb_link link; /* in the topic's views */
    char *name;
    const struct kb_view_handlers *handlers;
    void *user;
    struct kb_view_options options;
    struct kb_view_core core;
    char *after; /* the last key of the page before; NULL: first page */
    uint64_t call;
    bool closed;
    int busy;
    struct kb_loop_timer retry, tick;
};

struct topic {
    struct kb_link views;
    size_t bytes;
    int busy;
    char name[]; /* with the NUL that belongs to the topic */
};

struct kb__feed {
    struct kb_actor *actor;
    struct kb_peer *peer;
    struct kb_socket *socket;
    char *endpoint;
    struct kb_map topics;
    kb_tap_fn *tap;
    void *tap_user;
};

static void perform(struct kb_view *view, enum kb_view_wish wish);

/* ---- life ---- */

static void view_release(struct kb_view *view)
{
    kb_view_core_finish(&view->core);
    free(view->after);
    free(view->name);
    free(view);
}

static void busy_end(struct kb_view *view)
{
    if (--view->busy == 0 && view->closed)
        view_release(view);
}

static void topic_drop_if_empty(struct kb__feed *feed, struct topic *topic)
{
    if (topic->busy || !kb_list_empty(&topic->views))
        return;
    kb_str name = kb_str_n(topic->name, topic->bytes);
    if (feed->socket)
        kb_socket_subscribe(feed->socket, name, false);
    kb_map_del(&feed->topics, name);
    free(topic);
}

static struct topic *topic_of(struct kb__feed *feed, const char *name)
{
    size_t n = strlen(name) + 1;
    struct topic *topic = kb_map_get(&feed->topics, kb_str_n(name, n));
    if (topic)
        return topic;
    topic = calloc(1, sizeof(*topic) + n);
    KB_ASSERT(topic != NULL);
    kb_list_init(&topic->views);
    topic->bytes = n;
    memcpy(topic->name, name, n);
    kb_map_put(&feed->topics, kb_str_n(name, n), topic);
    if (feed->socket)
        kb_socket_subscribe(feed->socket, kb_str_n(topic->name, n), true);
    return topic;
}

void kb_view_close(struct kb_view **view_p)
{
    struct kb_view *view = KB_STEAL(*view_p);
    if (view == NULL)
        return;
    KB_ASSERT(!view->closed);
    view->closed = true;
    kb_loop_timer_stop(view->actor->loop, &view->retry);
    kb_loop_timer_stop(view->actor->loop, &view->tick);
    if (view->call)
        kb_call_cancel(view->feed->peer, view->call);
    struct topic *topic = topic_of(view->feed, view->name);
    if (!topic->busy || view->busy == 0) /* else the dispatcher takes it out */
        kb_list_remove(&view->link);
    topic_drop_if_empty(view->feed, topic);
    if (view->busy == 0)
        view_release(view);
}

/* ---- delivery ---- */

static void deliver(struct kb_view *view, const struct kb_change *change)
{
    if (!view->closed && view->handlers->change)
        view->handlers->change(view->user, change);
}

static void tell_synced(struct kb_view *view)
{
    if (!view->closed && view->core.complete && view->handlers->synced)
        view->handlers->synced(view->user, view->core.have);
}

/* A change, or an item of a listing, read in one walk: documents are long, and what stands behind
 * one is only found by walking over it. */
static struct kb_change read_change(kb_val val)
{
    struct kb_change change = {.op = KB_PUT};
    for (struct kb_iter it = kb_iter(val); kb_iter_next(&it);) {
        if (kb_str_is(it.key, "key"))
            change.key = kb_val_str(it.val);
        else if (kb_str_is(it.key, "rev"))
            change.rev = kb_val_int(it.val, 0);
        else if (kb_str_is(it.key, "doc"))
            change.doc = it.val;
        else if (kb_str_is(it.key, "old"))
            change.old = it.val;
        else if (kb_str_is(it.key, "op"))
            change.op = kb_str_is(kb_val_str(it.val), "del") ? KB_DEL : KB_PUT;
    }
    return change;
}

static void deliver_changes(struct kb_view *view, kb_val changes)
{
    for (struct kb_iter it = kb_iter(changes); !view->closed && kb_iter_next(&it);) {
        struct kb_change change = read_change(it.val);
        if (!view->options.with_old)
            change.old = (kb_val){NULL, NULL};
        if (change.key.n &&
            kb_view_core_change(&view->core, change.key, change.rev, change.op == KB_DEL))
            deliver(view, &change);
    }
}

static void deliver_items(struct kb_view *view, kb_val items)
{
    kb_str last = {0};
    for (struct kb_iter it = kb_iter(items); !view->closed && kb_iter_next(&it);) {
        struct kb_change change = read_change(it.val);
        if (change.key.n == 0)
            continue;
        last = change.key;
        if (kb_view_core_item(&view->core, change.key, change.rev))
            deliver(view, &change);
    }
    if (last.n) {
        free(view->after);
        view->after = kb_str_dup(last);
    }
}

static void deliver_vanished(struct kb_view *view, int64_t rev)
{
    char **keys;
    size_t n = kb_view_core_vanished(&view->core, &keys);
    for (size_t i = 0; i < n; i++) {
        struct kb_change change = {.op = KB_DEL, .key = kb_str_of(keys[i]), .rev = rev};
        deliver(view, &change);
        free(keys[i]);
    }
    free(keys);
}

/* ---- calls to the store ---- */

static void failed(struct kb_view *view, const struct kb_err *err)
{
    if (err->code == KB_EINVAL)
        kb_warn("view '%s': %s", view->name, err->text);
    enum kb_view_wish wish = kb_view_core_failed(&view->core, err->code);
    if (wish == KB_VIEW_LOST && view->options.lost) {
        view->busy++;
        view->options.lost(view->user, err);
        if (!view->closed)
            kb_view_close(&(struct kb_view *){view});
        busy_end(view);
        return;
    }
    perform(view, wish);
}

static void on_list(void *user, const struct kb_err *err, kb_val body)
{
    struct kb_view *view = user;
    view->call = 0;
    if (err) {
        failed(view, err);
        return;
    }
    int64_t rev = kb_val_int_at(body, "rev", 0);
    bool more = kb_val_bool_at(body, "more", false);
    if (!kb_view_core_page(&view->core, kb_val_str_at(body, "db"), rev)) {
        perform(view, KB_VIEW_RETRY);
        return;
    }
    view->busy++;
    deliver_items(view, kb_val_get(body, "items"));
    if (!more && !view->closed)
        deliver_vanished(view, rev);
    if (!view->closed)
        perform(view, kb_view_core_listed(&view->core, rev, more));
    busy_end(view);
}

static void on_replay(void *user, const struct kb_err *err, kb_val body)
{
    struct kb_view *view = user;
    enum kb_view_wish wish;
    view->call = 0;
    if (err) {
        failed(view, err);
        return;
    }
    view->busy++;
    if (!kb_view_core_replay_page(&view->core, kb_val_str_at(body, "db"), &wish)) {
        perform(view, wish);
    } else {
        deliver_changes(view, kb_val_get(body, "changes"));
        if (!view->closed)
            perform(view, kb_view_core_replayed(&view->core, kb_val_int_at(body, "rev", 0),
                                                kb_val_bool_at(body, "more", false)));
    }
    busy_end(view);
}

static void ask_list(struct kb_view *view)
{
    KB_AUTO(kb_w_finish) struct kb_w w = {0};
    if (view->core.snapshot == 0) {
        free(view->after);
        view->after = NULL;
    }
    kb_w_map(&w);
    kb_w_kcstr(&w, "view", view->name);
    kb_w_kint(&w, "limit", LIST_PAGE);
    if (view->after) {
        kb_w_kcstr(&w, "after", view->after);
        kb_w_kint(&w, "rev", view->core.snapshot);
    }
    kb_w_end(&w);
    view->call =
        kb_call(view->feed->peer, "store.list", kb_w_val(&w), CALL_TIMEOUT_MS, on_list, view);
}

static void ask_replay(struct kb_view *view)
{
    KB_AUTO(kb_w_finish) struct kb_w w = {0};
    kb_w_map(&w);
    kb_w_kcstr(&w, "view", view->name);
    kb_w_kint(&w, "since", view->core.have);
    kb_w_kint(&w, "limit", REPLAY_PAGE);
    kb_w_end(&w);
    view->call =
        kb_call(view->feed->peer, "store.replay", kb_w_val(&w), CALL_TIMEOUT_MS, on_replay, view);
}

static void lost(struct kb_view *view)
{
    struct kb_err err = {0};
    kb_err_set(&err, KB_EGONE, "view '%s': the history after revision %lld is gone", view->name,
               (long long)view->core.have);
    view->busy++;
    if (view->options.lost)
        view->options.lost(view->user, &err);
    else
        kb_warn("%s", err.text);
    if (!view->closed)
        kb_view_close(&(struct kb_view *){view});
    busy_end(view);
}

static void perform(struct kb_view *view, enum kb_view_wish wish)
{
    switch (wish) {
    case KB_VIEW_NOTHING:
    case KB_VIEW_APPLY: /* done by the dispatcher, which has the event */
        break;
    case KB_VIEW_LIST:
        ask_list(view);
        break;
    case KB_VIEW_REPLAY:
        if (view->call == 0)
            ask_replay(view);
        break;
    case KB_VIEW_RETRY:
        kb_loop_timer_set(view->actor->loop, &view->retry, view->core.retry_ms);
        break;
    case KB_VIEW_SYNCED:
        view->busy++;
        tell_synced(view);
        busy_end(view);
        break;
    case KB_VIEW_LOST:
        lost(view);
        break;
    }
}

static void on_retry(void *user)
{
    struct kb_view *view = user;
    perform(view, kb_view_core_retry(&view->core));
}

static void on_tick(void *user)
{
    struct kb_view *view = user;
    struct kb_loop *loop = view->actor->loop;
    kb_loop_timer_set(loop, &view->tick, KB_VIEW_SILENCE_MS);
    perform(view, kb_view_core_tick(&view->core, kb_loop_now(loop)));
}

/* ---- what is published ---- */

static void on_event(struct kb_view *view, const struct kb_wire_head *head, kb_val body)
{
    struct kb_view_event event = {head->type == KB_WIRE_BEAT, head->db, head->rev, head->prev,
                                  head->now};
    enum kb_view_wish wish =
        kb_view_core_event(&view->core, &event, kb_loop_now(view->actor->loop));
    view->busy++;
    if (wish == KB_VIEW_APPLY) {
        deliver_changes(view, kb_val_get(body, "changes"));
        wish = view->closed ? KB_VIEW_NOTHING : kb_view_core_applied(&view->core, head->rev);
    }
    if (!view->closed)
        perform(view, wish);
    busy_end(view);
}

static void dispatch(struct kb__feed *feed, struct topic *topic, const struct kb_wire_head *head,
                     kb_val body)
{
    topic->busy++;
    KB_LIST_EACH(it, &topic->views)
    {
        struct kb_view *view = KB_CONTAINER(it, struct kb_view, link);
        view->busy++; /* keeps it until it is out of the list */
        if (!view->closed)
            on_event(view, head, body);
    }
    topic->busy--;
    KB_LIST_EACH_SAFE(it, &topic->views)
    {
        struct kb_view *view = KB_CONTAINER(it, struct kb_view, link);
        if (view->closed)
            kb_list_remove(&view->link);
        busy_end(view);
    }
    topic_drop_if_empty(feed, topic);
}

static void show_to_tap(struct kb__feed *feed, const struct kb_message *message)
{
    struct kb_err err = {0};
    kb_val header, body = {NULL, NULL};
    if (message->n < 2 || kb_val_check(message->frame[1].p, message->frame[1].n, &header, &err) < 0)
        return;
    if (message->n > 2 && kb_wire_body(message->frame[2], &body, &err) < 0)
        return;
    feed->tap(feed->tap_user, message->frame[0], header, body);
}

static void on_message(void *user, struct kb_message *owned)
{
    KB_AUTO(kb_message_destroy) struct kb_message *message = owned;
    struct kb__feed *feed = user;
    struct kb_wire_head head;
    struct kb_err err = {0};
    kb_val body = {NULL, NULL};
    if (feed->tap)
        show_to_tap(feed, message);
    struct topic *topic = message->n >= 2 ? kb_map_get(&feed->topics, message->frame[0]) : NULL;
    if (topic == NULL)
        return;
    int rc = kb_wire_decode(message->frame[1], &head, &err);
    if (rc == 0 && message->n > 2)
        rc = kb_wire_body(message->frame[2], &body, &err);
    if (rc < 0) {
        kb_warn("event of '%s' cannot be read: %s", topic->name, err.text);
        return; /* the next one shows the gap */
    }
    if (head.type == KB_WIRE_EVENT || head.type == KB_WIRE_BEAT)
        dispatch(feed, topic, &head, body);
}

static const struct kb_socket_handlers feed_handlers = {.message = on_message};

/* ---- the feed ---- */

static void feed_connect(struct kb__feed *feed)
{
    const char *endpoint = feed->peer->events_endpoint;
    struct kb_err err = {0};
    if (endpoint == NULL || (feed->endpoint && strcmp(endpoint, feed->endpoint) == 0))
        return;
    kb_socket_close(&feed->socket);
    free(feed->endpoint);
    feed->endpoint = kb_strf("%s", endpoint);
    if (kb_socket_open(feed->actor->transport, KB_SOCKET_FOLLOWER, endpoint, &feed_handlers, feed,
                       &feed->socket, &err) < 0) {
        kb_error("events of %s: %s", feed->peer->name, err.text);
        return;
    }
    kb_str name;
    void *topic;
    for (size_t i = 0; kb_map_next(&feed->topics, &i, &name, &topic);)
        kb_socket_subscribe(feed->socket, name, true);
    if (feed->tap)
        kb_socket_subscribe(feed->socket, kb_str_n("", 0), true);
}

void kb__views_resolved(struct kb_actor *actor, struct kb_peer *peer)
{
    struct kb__feed *feed = kb_map_get(&actor->feeds, kb_str_of(peer->name));
    if (feed)
        feed_connect(feed);
}

static struct kb__feed *feed_of(struct kb_actor *actor, const char *service)
{
    struct kb__feed *feed = kb_map_get(&actor->feeds, kb_str_of(service));
    if (feed)
        return feed;
    feed = calloc(1, sizeof(*feed));
    KB_ASSERT(feed != NULL);
    feed->actor = actor;
    feed->peer = kb_actor_peer(actor, service);
    feed->peer->wanted = true;
    kb_map_put(&actor->feeds, kb_str_of(service), feed);
    kb__peer_use(feed->peer);
    feed_connect(feed);
    return feed;
}

int kb_actor_tap(struct kb_actor *actor, const char *service, kb_tap_fn *fn, void *user)
{
    struct kb__feed *feed = feed_of(actor, service);
    if (feed->tap)
        return -KB_EEXISTS;
    feed->tap = fn;
    feed->tap_user = user;
    if (feed->socket)
        kb_socket_subscribe(feed->socket, kb_str_n("", 0), true);
    return 0;
}

void kb__views_finish(struct kb_actor *actor)
{
    kb_str name;
    void *value, *topic;
    for (size_t i = 0; kb_map_next(&actor->feeds, &i, &name, &value);) {
        struct kb__feed *feed = value;
        for (size_t k = 0; kb_map_next(&feed->topics, &k, &name, &topic);) {
            struct kb_link *views = &((struct topic *)topic)->views;
            while (!kb_list_empty(views)) {
                struct kb_view *view = KB_CONTAINER(views->next, struct kb_view, link);
                kb_list_remove(&view->link);
                kb_loop_timer_stop(actor->loop, &view->retry);
                kb_loop_timer_stop(actor->loop, &view->tick);
                view_release(view);
            }
            free(topic);
        }
        kb_map_finish(&feed->topics);
        kb_socket_close(&feed->socket);
        free(feed->endpoint);
        free(feed);
    }
    kb_map_finish(&actor->feeds);
}

/* ---- opening ---- */

/* The query with `with=old`: keys stand in order, and none that is defined comes after "with". */
static char *view_name(const char *query, bool with_old)
{
    if (!with_old)
        return kb_strf("%s", query);
    return kb_strf("%s%cwith=old", query, strchr(query, '?') ? '&' : '?');
}

struct kb_view *kb_view_open(struct kb_actor *actor, const char *query,
                             const struct kb_view_options *options,
                             const struct kb_view_handlers *handlers, void *user)
{
    struct kb_view *view = calloc(1, sizeof(*view));
    KB_ASSERT(view != NULL);
    view->actor = actor;
    view->options = options ? *options : (struct kb_view_options){0};
    view->name = view_name(query, view->options.with_old);
    KB_ASSERT(view->options.since == 0 || view->options.lost != NULL);
    view->handlers = handlers;
    view->user = user;
    view->retry = (struct kb_loop_timer){.fn = on_retry, .user = view};
    view->tick = (struct kb_loop_timer){.fn = on_tick, .user = view};
    view->feed = feed_of(actor, "store");
    kb_view_core_init(&view->core, view->options.since, kb_loop_now(actor->loop));
    if (view->options.held)
        kb_view_core_held(&view->core, view->options.held, user);
    kb_list_push(&topic_of(view->feed, view->name)->views, &view->link);
    kb_loop_timer_set(actor->loop, &view->tick, KB_VIEW_SILENCE_MS);
    perform(view, kb_view_core_start(&view->core));
    return view;
}

int64_t kb_view_rev(const struct kb_view *view)
{
    return view->core.have;
}

bool kb_view_synced(const struct kb_view *view)
{
    return view->core.complete;
}
