/* watch_cache.c - reads without the store.
 *
 * A resource that is read often is kept here, as of one revision, and kept current by the hub's
 * view. A read must see all that was committed before it was asked (Kubernetes' default), and the
 * view alone cannot promise that: it lags by a message. So the store is asked for news since the
 * cache's revision, one question for all the reads that came while the last one was under way:
 * under load thirty reads share it, and its answer is nearly always "nothing". What it does say is
 * applied at once; the view brings it again, and `cache_rev` passes over it.
 *
 * Rejected: waiting for the view to reach the store's revision (its beats come every two seconds),
 * and answering at whatever revision the cache has (a client would not find what it just made).
 *
 * Who lists needs all objects; who only gets needs the few that are asked for. The first get that
 * is worth a cache must not wait for ten thousand objects that nobody reads, so a cache is either
 * whole, or has the objects that were got since it began (and drops those that no one asks for any
 * more).
 *
 * INVARIANT: the cache is the store's content of the resource at cache_rev; one that is not whole,
 * of the keys that it has. There an entry may be newer, when it was got after cache_rev. */
#include "actors/api/watch.h"

#include "bus/base/check.h"
#include "bus/base/log.h"

#include <stdlib.h>

enum {
    HEAT_WINDOW_MS = 10000,
    HEAT_BUILD = 100, /* points in a window that make it worth while */
    LIST_POINTS = 40, /* of a list, a get being 1 */
    PAGE_ITEMS = 1000,
    NEWS_MAX = 2000,
    CACHE_BYTES_MAX = 256 * 1024 * 1024,
    COLD_TICKS = 4,          /* two minutes */
    TOO_BIG_MS = 600 * 1000, /* until it is tried again */
};

/* How often a resource is read. */
struct heat {
    kb_ms since_ms, banned_until_ms; /* banned: too large to be kept whole */
    unsigned gets, lists;            /* points in this window */
};

static struct heat *heat_of(struct kb__api *api, const struct kb_kind *kind)
{
    struct heat *heat = kb_map_get(&api->heat, kind->resource);
    if (heat == NULL) {
        heat = calloc(1, sizeof(*heat));
        KB_ASSERT(heat != NULL);
        kb_map_put(&api->heat, kind->resource, heat);
    }
    return heat;
}

static struct heat *heat_now(struct kb__api *api, const struct kb_kind *kind)
{
    struct heat *heat = heat_of(api, kind);
    kb_ms now_ms = kb_loop_now(api->loop);
    if (now_ms - heat->since_ms > HEAT_WINDOW_MS) {
        heat->since_ms = now_ms;
        heat->gets = heat->lists = 0;
    }
    return heat;
}

/* ---- building ---- */

static void list_page(struct kb__hub *hub);

static void build_abandon(struct kb__hub *hub)
{
    kb_cache_destroy(&hub->building);
    hub->after[0] = '\0';
    hub->list_rev = 0;
}

/* The listing is complete: bring it to where the hub's view is, or start the view there. */
static void build_complete(struct kb__hub *hub)
{
    if (hub->view && hub->from_rev > hub->list_rev) { /* a watch began later: cannot be joined */
        build_abandon(hub);
        return;
    }
    hub->cache = KB_STEAL(hub->building);
    hub->cache_rev = hub->list_rev;
    hub->cold_ticks = 0;
    build_abandon(hub);
    if (hub->view == NULL) {
        kb__hub_follow(hub, hub->cache_rev);
        return;
    }
    for (size_t i = 0; i < hub->count; i++) {
        const struct kb__event *event = hub->ring[(hub->head + i) % hub->cap];
        struct kb_change change = {.op = event->deleted ? KB_DEL : KB_PUT,
                                   .key = kb_str_of(event->key),
                                   .rev = event->rev,
                                   .doc = kb_doc_root(event->doc)};
        kb__cache_change(hub, &change);
    }
    kb__cache_synced(hub, hub->rev);
}

static void on_page(void *user, const struct kb_err *err, kb_val body)
{
    struct kb__hub *hub = user;
    bool more = false;
    hub->call = 0;
    if (err) {
        build_abandon(hub);
        return;
    }
    for (struct kb_iter it = kb_iter(body); kb_iter_next(&it);) {
        if (kb_str_is(it.key, "rev"))
            hub->list_rev = kb_val_int(it.val, 0);
        else if (kb_str_is(it.key, "db"))
            kb_str_copy(kb_val_str(it.val), hub->db, sizeof(hub->db));
        else if (kb_str_is(it.key, "more"))
            more = kb_val_bool(it.val, false);
        else if (kb_str_is(it.key, "items") && hub->whole)
            for (struct kb_iter item = kb_iter(it.val); kb_iter_next(&item);) {
                kb_str key = kb_val_str(kb_val_get(item.val, "key"));
                kb_cache_put(hub->building, key, kb_val_int(kb_val_get(item.val, "rev"), 0),
                             kb_val_get(item.val, "doc"));
                if (item.left == 0)
                    kb_str_copy(key, hub->after, sizeof(hub->after));
            }
    }
    if (kb_cache_bytes(hub->building) > CACHE_BYTES_MAX) {
        heat_of(hub->api, hub->kind)->banned_until_ms = kb_loop_now(hub->api->loop) + TOO_BIG_MS;
        build_abandon(hub);
    } else if (more && hub->whole) {
        list_page(hub);
    } else {
        build_complete(hub);
    }
}

/* The next page; of a cache that is to have what is got, only where it begins. */
static void list_page(struct kb__hub *hub)
{
    KB_AUTO(kb_w_finish) struct kb_w w = {0};
    kb_w_map(&w);
    kb_w_kstr(&w, "view", hub->kind->resource);
    kb_w_kint(&w, "limit", hub->whole ? PAGE_ITEMS : 1);
    if (hub->after[0])
        kb_w_kcstr(&w, "after", hub->after);
    if (hub->list_rev > 0)
        kb_w_kint(&w, "rev", hub->list_rev);
    kb_w_end(&w);
    hub->call = kb_call(hub->api->store, "store.list", kb_w_val(&w), KB__CALL_MS, on_page, hub);
}

static void build(struct kb__hub *hub, bool whole)
{
    if (hub->building || hub->call)
        return;
    hub->whole = whole;
    hub->building = kb_cache_new();
    list_page(hub);
}

struct kb__hub *kb__cached_all(struct kb__api *api, const struct kb_kind *kind)
{
    struct kb__hub *hub = kb_map_get(&api->hubs, kind->resource);
    if (hub && hub->cache && hub->whole)
        return hub;
    struct heat *heat = heat_now(api, kind);
    heat->lists += LIST_POINTS;
    if (heat->lists < HEAT_BUILD || kb_loop_now(api->loop) < heat->banned_until_ms)
        return NULL;
    hub = kb__hub_of(api, kind);
    if (hub->cache) /* of some objects */
        kb__cache_drop(hub);
    build(hub, true);
    return NULL;
}

struct kb__hub *kb__cached_one(struct kb__api *api, const struct kb_kind *kind, kb_str key)
{
    struct kb__hub *hub = kb_map_get(&api->hubs, kind->resource);
    if (hub && hub->cache)
        return hub->whole || kb_cache_get(hub->cache, key) ? hub : NULL;
    if (++heat_now(api, kind)->gets >= HEAT_BUILD)
        build(kb__hub_of(api, kind), false);
    return NULL;
}

void kb__cache_keep(struct kb__api *api, const struct kb_kind *kind, kb_val got)
{
    struct kb__hub *hub = kb_map_get(&api->hubs, kind->resource);
    if (hub == NULL || hub->cache == NULL || hub->whole ||
        kb_cache_bytes(hub->cache) > CACHE_BYTES_MAX)
        return;
    kb_str key = kb_val_str(kb_val_get(got, "key"));
    int64_t rev = kb_val_int(kb_val_get(got, "rev"), 0);
    const struct kb_cache_entry *entry = kb_cache_get(hub->cache, key);
    bool behind = kb_val_int(kb_val_get(got, "now"), 0) < hub->cache_rev;
    if (!behind && (entry == NULL || entry->rev < rev))
        kb_cache_put(hub->cache, key, rev, kb_val_get(got, "doc"));
}

/* ---- following ---- */

static void apply(struct kb__hub *hub, bool deleted, kb_str key, int64_t rev, kb_val doc)
{
    if (rev <= hub->cache_rev)
        return;
    if (!hub->whole) {
        const struct kb_cache_entry *entry = kb_cache_get(hub->cache, key);
        if (entry == NULL || rev <= entry->rev)
            return;
    }
    if (deleted)
        kb_cache_del(hub->cache, key);
    else
        kb_cache_put(hub->cache, key, rev, doc);
}

void kb__cache_change(struct kb__hub *hub, const struct kb_change *change)
{
    if (hub->cache)
        apply(hub, change->op == KB_DEL, change->key, change->rev, change->doc);
}

void kb__cache_synced(struct kb__hub *hub, int64_t rev)
{
    if (hub->cache && rev > hub->cache_rev)
        hub->cache_rev = rev;
}

void kb__cache_tick(struct kb__hub *hub)
{
    if (hub->cache == NULL)
        return;
    if (++hub->cold_ticks > COLD_TICKS || kb_cache_bytes(hub->cache) > 2u * CACHE_BYTES_MAX)
        kb__cache_drop(hub);
    else if (hub->whole)
        kb_cache_sweep(hub->cache);
    else
        kb_cache_keep_used(hub->cache);
}

void kb__cache_drop(struct kb__hub *hub)
{
    struct kb_link *lists[] = {&hub->reads_now, &hub->reads_next};
    if (hub->call)
        kb_call_cancel(hub->api->store, hub->call);
    hub->call = 0;
    build_abandon(hub);
    kb_cache_destroy(&hub->cache);
    for (size_t i = 0; i < KB_COUNT(lists); i++)
        for (struct kb_link *link; (link = kb_list_pop(lists[i])) != NULL;) {
            struct kb__read *read = KB_CONTAINER(link, struct kb__read, link);
            read->ready(read, NULL);
        }
}

/* ---- reading ---- */

static void ask_news(struct kb__hub *hub);

/* The next question leaves before these reads are answered: it is on its way, and the store at it,
 * while the answers are encrypted and written. */
static void serve(struct kb__hub *hub)
{
    struct kb_link answered;
    kb_list_init(&answered);
    kb_list_move(&answered, &hub->reads_now);
    kb_list_move(&hub->reads_now, &hub->reads_next);
    if (!kb_list_empty(&hub->reads_now))
        ask_news(hub);
    for (struct kb_link *link; (link = kb_list_pop(&answered)) != NULL;) {
        struct kb__read *read = KB_CONTAINER(link, struct kb__read, link);
        read->ready(read, hub->cache ? hub : NULL);
    }
}

static void on_news(void *user, const struct kb_err *err, kb_val body)
{
    struct kb__hub *hub = user;
    int64_t reached = 0;
    bool more = false, ours = false;
    kb_val changes = {0};
    hub->call = 0;
    for (struct kb_iter it = kb_iter(body); !err && kb_iter_next(&it);) {
        if (kb_str_is(it.key, "changes"))
            changes = it.val;
        else if (kb_str_is(it.key, "rev"))
            reached = kb_val_int(it.val, 0);
        else if (kb_str_is(it.key, "more"))
            more = kb_val_bool(it.val, false);
        else if (kb_str_is(it.key, "db"))
            ours = kb_str_is(kb_val_str(it.val), hub->db);
    }
    if (err || !ours) { /* behind the history, or another database: the reads go to the store */
        kb__cache_drop(hub);
        return;
    }
    for (struct kb_iter it = kb_iter(changes); kb_iter_next(&it);)
        apply(hub, kb_str_is(kb_val_str(kb_val_get(it.val, "op")), "del"),
              kb_val_str(kb_val_get(it.val, "key")), kb_val_int(kb_val_get(it.val, "rev"), 0),
              kb_val_get(it.val, "doc"));
    kb__cache_synced(hub, reached);
    if (more)
        ask_news(hub);
    else
        serve(hub);
}

static void ask_news(struct kb__hub *hub)
{
    KB_AUTO(kb_w_finish) struct kb_w w = {0};
    kb_w_map(&w);
    kb_w_kstr(&w, "view", hub->kind->resource);
    kb_w_kint(&w, "since", hub->cache_rev);
    kb_w_kint(&w, "limit", NEWS_MAX);
    kb_w_end(&w);
    hub->call = kb_call(hub->api->store, "store.replay", kb_w_val(&w), KB__CALL_MS, on_news, hub);
}

void kb__hub_read(struct kb__hub *hub, struct kb__read *read)
{
    KB_ASSERT(hub->cache != NULL);
    hub->cold_ticks = 0;
    bool asking = hub->call != 0;
    kb_list_push(asking ? &hub->reads_next : &hub->reads_now, &read->link);
    if (!asking)
        ask_news(hub);
}
