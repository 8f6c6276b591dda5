/* test_views.c - Show 5: subscribers that are slow, killed or partitioned see every event once and
 * in order.
 *
 * A small store that speaks the protocol (list, replay, events, beats, compaction, restarts) and
 * followers on hosts whose links drop, delay and break by seed, in virtual time. A follower's whole
 * story is checked against the store's log: change by change while no relist was needed, and the
 * state at every `synced` in any case. */
#include "bus/actor.h"
#include "bus/base/map.h"
#include "bus/loop.h"
#include "bus/transport_sim.h"
#include "bus/wire/envelope.h"
#include "tests/lib/test.h"

#include <stdlib.h>

enum { KEYS = 40, NODES = 3, LOG_MAX = 6000, FOLLOWERS = 6, GONE = -1, PAGE_OF_LIST = 7 };

/* One change: the key's node before and after; GONE: it does not exist. */
struct entry {
    int64_t rev;
    int key, was, is;
};

struct store {
    struct kb_sim *sim;
    struct kb_actor *actor;
    struct entry log[LOG_MAX];
    int n;
    int64_t rev, compacted;
    int node[KEYS]; /* current state; GONE */
    int64_t changed[KEYS];
    struct kb_map topics; /* name with NUL → revision of its last event */
    struct kb_loop_timer beat;
};

/* ---- the log as a view sees it ---- */

/* What a view selects: all (-1), or one node. */
static bool selects(int view, int node)
{
    return node != GONE && (view < 0 || node == view);
}

static bool concerns(int view, const struct entry *e)
{
    return selects(view, e->was) || selects(view, e->is);
}

static int view_of(kb_str name)
{
    if (kb_str_is(name, "pods"))
        return -1;
    KB_CHECK(kb_str_starts(name, "pods?node=n") && name.n == 12);
    return name.p[11] - '0';
}

/* ---- the store ---- */

static void put_object(struct kb_w *w, int key, int64_t rev, int node)
{
    char name[32];
    snprintf(name, sizeof(name), "pods/ns/p%02d", key);
    kb_w_kcstr(w, "key", name);
    kb_w_kint(w, "rev", rev);
    kb_w_kmap(w, "doc");
    kb_w_kint(w, "node", node);
    kb_w_end(w);
}

static void put_change(struct kb_w *w, int view, const struct entry *e)
{
    bool del = !selects(view, e->is);
    kb_w_map(w);
    kb_w_kcstr(w, "op", del ? "del" : "put");
    put_object(w, e->key, e->rev, del ? e->was : e->is);
    kb_w_end(w);
}

static void refuse(struct kb_request *request, int code)
{
    struct kb_err err = {.code = code};
    kb_request_fail(&request, &err);
}

/* The state at a revision, out of the log. */
static void state_at(const struct store *s, int64_t rev, int node[KEYS], int64_t changed[KEYS])
{
    for (int k = 0; k < KEYS; k++)
        node[k] = GONE, changed[k] = 0;
    for (int i = 0; i < s->n && s->log[i].rev <= rev; i++) {
        node[s->log[i].key] = s->log[i].is;
        changed[s->log[i].key] = s->log[i].rev;
    }
}

static void serve_list(void *user, struct kb_request *request, kb_val body)
{
    struct store *s = user;
    int view = view_of(kb_val_str_at(body, "view"));
    int64_t at = kb_val_int_at(body, "rev", s->rev);
    kb_str after = kb_val_str_at(body, "after");
    int first = after.n ? atoi(after.p + after.n - 2) + 1 : 0, n = 0, k;
    int node[KEYS];
    int64_t changed[KEYS];
    if (at < s->compacted) {
        refuse(request, KB_EGONE);
        return;
    }
    state_at(s, at, node, changed);
    KB_AUTO(kb_w_finish) struct kb_w w = {0};
    kb_w_map(&w);
    kb_w_kint(&w, "rev", at);
    kb_w_kcstr(&w, "db", "db1");
    kb_w_karray(&w, "items");
    for (k = first; k < KEYS && n < PAGE_OF_LIST; k++) {
        if (!selects(view, node[k]))
            continue;
        kb_w_map(&w);
        put_object(&w, k, changed[k], node[k]);
        kb_w_end(&w);
        n++;
    }
    kb_w_end(&w);
    kb_w_kbool(&w, "more", k < KEYS);
    kb_w_end(&w);
    kb_request_reply(&request, kb_w_val(&w));
}

static void serve_replay(void *user, struct kb_request *request, kb_val body)
{
    struct store *s = user;
    int view = view_of(kb_val_str_at(body, "view"));
    int64_t since = kb_val_int_at(body, "since", 0), reached = s->rev;
    int n = 0, i = 0;
    if (since < s->compacted) {
        refuse(request, KB_EGONE);
        return;
    }
    KB_AUTO(kb_w_finish) struct kb_w w = {0};
    kb_w_map(&w);
    kb_w_kcstr(&w, "db", "db1");
    kb_w_karray(&w, "changes");
    for (; i < s->n; i++) {
        if (s->log[i].rev <= since || !concerns(view, &s->log[i]))
            continue;
        if (n >= 5 && s->log[i].rev != s->log[i - 1].rev) { /* pages do not split a revision */
            reached = s->log[i].rev - 1;
            break;
        }
        put_change(&w, view, &s->log[i]);
        n++;
    }
    kb_w_end(&w);
    kb_w_kint(&w, "rev", reached);
    kb_w_kbool(&w, "more", i < s->n);
    kb_w_end(&w);
    kb_request_reply(&request, kb_w_val(&w));
}

static void publish(struct store *s, kb_str topic, enum kb_wire_type type, int64_t rev,
                    int64_t prev, kb_val body)
{
    KB_AUTO(kb_buf_finish) struct kb_buf head = {0};
    kb_wire_encode(
        &(struct kb_wire_head){
            .type = type, .db = kb_str_of("db1"), .rev = rev, .prev = prev, .now = s->rev},
        &head);
    const uint8_t *p = (const uint8_t *)head.p;
    kb_actor_publish(s->actor, topic, (kb_val){p, p + head.n}, body);
}

static void beat(struct store *s, kb_str topic)
{
    int64_t last = (int64_t)(uintptr_t)kb_map_get(&s->topics, topic) - 1;
    publish(s, topic, KB_WIRE_BEAT, last, last, (kb_val){NULL, NULL});
}

static void on_subscription(void *user, kb_str topic, bool subscribed)
{
    struct store *s = user;
    if (!subscribed) {
        kb_map_del(&s->topics, topic);
        return;
    }
    if (kb_map_get(&s->topics, topic) == NULL)
        kb_map_put(&s->topics, topic, (void *)(uintptr_t)(s->rev + 1));
    beat(s, topic);
}

static void on_beat(void *user)
{
    struct store *s = user;
    kb_str topic;
    void *value;
    for (size_t i = 0; kb_map_next(&s->topics, &i, &topic, &value);)
        beat(s, topic);
    kb_loop_timer_set(kb_actor_loop(s->actor), &s->beat, 2000);
}

static const struct kb_method methods[] = {{"store.list", serve_list},
                                           {"store.replay", serve_replay}};

static struct kb_actor *join(struct kb_sim *sim, const char *host, const char *name)
{
    struct kb_err err = {0};
    struct kb_actor *actor;
    struct kb_actor_config config = {.name = name,
                                     .data_dir = "/sim",
                                     .standalone = true,
                                     .publishes = strcmp(name, "store") == 0,
                                     .transport = kb_sim_transport(sim, host)};
    KB_CHECK_OK(kb_actor_new(&config, &actor, &err), &err);
    return actor;
}

static void store_start(struct store *s)
{
    s->actor = join(s->sim, "hs", "store");
    kb_actor_serve(s->actor, methods, KB_COUNT(methods), s);
    kb_actor_on_subscription(s->actor, on_subscription, s);
    s->beat = (struct kb_loop_timer){.fn = on_beat, .user = s};
    kb_loop_timer_set(kb_actor_loop(s->actor), &s->beat, 2000);
}

static void store_stop(struct store *s)
{
    kb_loop_timer_stop(kb_actor_loop(s->actor), &s->beat);
    kb_actor_destroy(&s->actor);
    kb_map_finish(&s->topics);
}

/* One transaction: some keys change, created, moved or deleted; then it is published. */
static void store_write(struct store *s)
{
    struct kb_rand *rand = kb_sim_rand(s->sim);
    int first = s->n, changes = 1 + (int)kb_rand_below(rand, 3);
    s->rev++;
    int start = (int)kb_rand_below(rand, KEYS);
    for (int c = 0; c < changes && s->n < LOG_MAX; c++) {
        int k = (start + c) % KEYS;
        int is = s->node[k] != GONE && kb_rand_below(rand, 4) == 0
                     ? GONE
                     : (int)kb_rand_below(rand, NODES);
        if (is == GONE && s->node[k] == GONE)
            continue;
        s->log[s->n++] = (struct entry){s->rev, k, s->node[k], is};
        s->node[k] = is;
    }
    kb_str topic;
    void *value;
    for (size_t i = 0; s->actor && kb_map_next(&s->topics, &i, &topic, &value);) {
        KB_AUTO(kb_w_finish) struct kb_w w = {0};
        int view = view_of(kb_str_n(topic.p, topic.n - 1)), n = 0;
        kb_w_map(&w);
        kb_w_karray(&w, "changes");
        for (int e = first; e < s->n; e++)
            if (concerns(view, &s->log[e])) {
                put_change(&w, view, &s->log[e]);
                n++;
            }
        kb_w_end(&w);
        kb_w_end(&w);
        if (n == 0)
            continue;
        publish(s, topic, KB_WIRE_EVENT, s->rev, (int64_t)(uintptr_t)value - 1, kb_w_val(&w));
        kb_map_put(&s->topics, topic, (void *)(uintptr_t)(s->rev + 1));
    }
}

/* ---- followers ---- */

struct follower {
    struct store *store;
    struct kb_actor *actor;
    struct kb_view *view;
    char host[8], query[24];
    int selects, node[KEYS];
    int64_t changed[KEYS], synced;
    bool holds;         /* it is asked what it has; else the view keeps the keys */
    bool listed, exact; /* exact: no history was lost, so the log must match change by change */
    int cursor, delivered;
};

static void follower_state(struct follower *f, const struct kb_change *change, int key)
{
    int node = (int)kb_val_int_at(change->doc, "node", -5);
    f->node[key] = change->op == KB_DEL ? GONE : node;
    f->changed[key] = change->op == KB_DEL ? 0 : change->rev;
    f->delivered++;
}

static void on_change(void *user, const struct kb_change *change)
{
    struct follower *f = user;
    const struct store *s = f->store;
    int key = atoi(change->key.p + change->key.n - 2);
    if (f->listed && f->exact) {
        while (f->cursor < s->n && !concerns(f->selects, &s->log[f->cursor]))
            f->cursor++;
        KB_CHECK(f->cursor < s->n);
        const struct entry *e = &s->log[f->cursor++];
        KB_CHECK_I64(change->rev, ==, e->rev);
        KB_CHECK_I64(key, ==, e->key);
        KB_CHECK((change->op == KB_DEL) == !selects(f->selects, e->is));
    }
    follower_state(f, change, key);
}

static void on_synced(void *user, int64_t rev)
{
    struct follower *f = user;
    const struct store *s = f->store;
    int node[KEYS];
    int64_t changed[KEYS];
    KB_CHECK_I64(rev, >=, f->synced);
    state_at(s, rev, node, changed);
    for (int k = 0; k < KEYS; k++) {
        bool in = selects(f->selects, node[k]);
        KB_CHECK_I64(f->node[k], ==, in ? node[k] : GONE);
        KB_CHECK_I64(f->changed[k], ==, in ? changed[k] : 0);
    }
    f->synced = rev;
    if (!f->listed || !f->exact)
        for (f->cursor = 0; f->cursor < s->n && s->log[f->cursor].rev <= rev;)
            f->cursor++;
    f->listed = true;
    while (f->cursor < s->n && !concerns(f->selects, &s->log[f->cursor]))
        f->cursor++;
    KB_CHECK(f->cursor == s->n || s->log[f->cursor].rev > rev); /* all up to here was delivered */
}

static const struct kb_view_handlers handlers = {.change = on_change, .synced = on_synced};

static int64_t held_rev(void *user, kb_str key)
{
    return ((struct follower *)user)->changed[atoi(key.p + key.n - 2)];
}

static bool held_next(void *user, size_t *cursor, kb_str *ret_key)
{
    static char name[32];
    const struct follower *f = user;
    while (*cursor < KEYS && f->changed[*cursor] == 0)
        ++*cursor;
    if (*cursor == KEYS)
        return false;
    snprintf(name, sizeof(name), "pods/ns/p%02d", (int)(*cursor)++);
    *ret_key = kb_str_of(name);
    return true;
}

static void follower_start(struct follower *f)
{
    static const struct kb_view_held held = {.rev = held_rev, .next = held_next};
    struct kb_view_options options = {.held = f->holds ? &held : NULL};
    for (int k = 0; k < KEYS; k++)
        f->node[k] = GONE, f->changed[k] = 0;
    f->synced = f->cursor = 0;
    f->listed = false;
    f->actor = join(f->store->sim, f->host, f->host);
    f->view = kb_view_open(f->actor, f->query, &options, &handlers, f);
}

static void follower_kill(struct follower *f)
{
    kb_actor_destroy(&f->actor);
    f->view = NULL;
}

/* ---- the story ---- */

struct story {
    struct store store;
    struct follower followers[FOLLOWERS];
    bool compacts, restarts;
};

static void random_link(struct story *story, const char *host)
{
    struct kb_rand *rand = kb_sim_rand(story->store.sim);
    struct kb_sim_link link = {
        .delay_min_ms = (kb_ms)kb_rand_below(rand, 20),
        .drop = kb_rand_unit(rand) * 0.5,
        .breaks = kb_rand_below(rand, 3) ? 0 : 0.02,
        .backlog = kb_rand_below(rand, 3) ? 0 : 3,
    };
    link.delay_max_ms = link.delay_min_ms + (kb_ms)kb_rand_below(rand, 3000);
    kb_sim_set_link(story->store.sim, "hs", host, &link);
}

static void trouble(struct story *story)
{
    struct store *s = &story->store;
    struct kb_rand *rand = kb_sim_rand(s->sim);
    struct follower *f = &story->followers[kb_rand_below(rand, FOLLOWERS)];
    switch (kb_rand_below(rand, 6)) {
    case 0:
        kb_sim_partition(s->sim, "hs", f->host, true);
        break;
    case 1:
        kb_sim_partition(s->sim, "hs", f->host, false);
        break;
    case 2:
        follower_kill(f);
        follower_start(f);
        break;
    case 3:
        random_link(story, f->host);
        break;
    case 4:
        if (story->compacts)
            s->compacted = s->rev - (int64_t)kb_rand_below(rand, 10);
        break;
    default:
        if (story->restarts) {
            store_stop(s);
            kb_sim_run_for(s->sim, (kb_ms)kb_rand_below(rand, 5000));
            store_start(s);
        }
    }
}

static bool all_synced(void *user)
{
    const struct story *story = user;
    for (int i = 0; i < FOLLOWERS; i++)
        if (!story->followers[i].listed || story->followers[i].synced < story->store.rev)
            return false;
    return true;
}

static void story_run(struct story *story, uint64_t seed)
{
    static const struct kb_sim_link good = {.delay_min_ms = 1, .delay_max_ms = 5};
    struct store *s = &story->store;
    s->sim = kb_sim_new(seed);
    struct kb_rand *rand = kb_sim_rand(s->sim);
    for (int k = 0; k < KEYS; k++)
        s->node[k] = GONE;
    store_start(s);
    for (int i = 0; i < FOLLOWERS; i++) {
        struct follower *f = &story->followers[i];
        f->store = s;
        f->exact = !story->compacts;
        f->selects = i % 4 - 1;
        f->holds = i >= 3;
        snprintf(f->host, sizeof(f->host), "h%d", i);
        snprintf(f->query, sizeof(f->query), f->selects < 0 ? "pods" : "pods?node=n%d", f->selects);
        random_link(story, f->host);
        follower_start(f);
    }
    for (int i = 0; i < 1500; i++) {
        store_write(s);
        if (kb_rand_below(rand, 4) == 0)
            kb_sim_run_for(s->sim, (kb_ms)kb_rand_below(rand, 400));
        if (kb_rand_below(rand, 20) == 0)
            trouble(story);
    }
    for (int i = 0; i < FOLLOWERS; i++) { /* peace */
        kb_sim_partition(s->sim, "hs", story->followers[i].host, false);
        kb_sim_set_link(s->sim, "hs", story->followers[i].host, &good);
    }
    KB_CHECK(kb_sim_run_until(s->sim, all_synced, story, 120000));
    for (int i = 0; i < FOLLOWERS; i++) {
        KB_CHECK_I64(story->followers[i].delivered, >, 0);
        follower_kill(&story->followers[i]);
    }
    store_stop(s);
    kb_sim_destroy(&s->sim);
}

KB_TEST(views, miss_nothing_and_double_nothing_on_links_that_drop_delay_and_break)
{
    uint64_t seed = kb_test_seed();
    for (uint64_t i = 0; i < 20; i++) {
        struct story *story = calloc(1, sizeof(*story));
        story_run(story, seed + i);
        free(story);
    }
}

KB_TEST(views, survive_a_store_that_restarts)
{
    uint64_t seed = kb_test_seed();
    for (uint64_t i = 0; i < 10; i++) {
        struct story *story = calloc(1, sizeof(*story));
        story->restarts = true;
        story_run(story, seed + i);
        free(story);
    }
}

KB_TEST(views, end_in_the_right_state_though_history_was_compacted_away)
{
    uint64_t seed = kb_test_seed();
    for (uint64_t i = 0; i < 10; i++) {
        struct story *story = calloc(1, sizeof(*story));
        story->restarts = story->compacts = true;
        story_run(story, seed + i);
        free(story);
    }
}
