/* watch_hub.c - one resource's changes, for all who watch it.
 *
 * WHY a hub: a change is taken from the bus once, and made JSON once for each form in which it is
 * watched; a thousand watchers then cost a thousand pointers. WHY a ring: a client that comes back
 * with the revision where it was (they all do, every few minutes) goes on from memory. One that is
 * further behind is caught up from the store's history alone, without disturbing the others.
 *
 * INVARIANT: the ring holds every change with a revision in (from_rev, rev]. */
#include "actors/api/watch.h"

#include "bus/base/check.h"
#include "bus/base/log.h"

#include <stdlib.h>

enum { RING_EVENTS_MAX = 8192, RING_BYTES_MAX = 16 * 1024 * 1024, TICK_MS = 30000 };

static struct kb__event **slot(struct kb__hub *hub, size_t at)
{
    return &hub->ring[(hub->head + at) % hub->cap];
}

static void drop_oldest(struct kb__hub *hub)
{
    struct kb__event **oldest = slot(hub, 0);
    hub->from_rev = (*oldest)->rev;
    hub->bytes -= (*oldest)->bytes;
    kb__event_destroy(oldest);
    hub->head = (hub->head + 1) % hub->cap;
    hub->count--;
}

static void ring_push(struct kb__hub *hub, struct kb__event *event)
{
    while (hub->count > 0 &&
           (hub->count >= RING_EVENTS_MAX || hub->bytes + event->bytes > RING_BYTES_MAX))
        drop_oldest(hub);
    if (hub->count == hub->cap) {
        size_t cap = hub->cap ? hub->cap * 2 : 64;
        struct kb__event **ring = malloc(cap * sizeof(struct kb__event *));
        KB_ASSERT(ring != NULL);
        for (size_t i = 0; i < hub->count; i++)
            ring[i] = *slot(hub, i);
        free(hub->ring);
        hub->ring = ring;
        hub->cap = cap;
        hub->head = 0;
    }
    *slot(hub, hub->count++) = event;
    hub->bytes += event->bytes;
}

static void on_change(void *user, const struct kb_change *change)
{
    struct kb__hub *hub = user;
    struct kb__event *event =
        kb__event_new(change->key, change->rev, change->op == KB_DEL, change->doc, change->old);
    int64_t now_us = kb_clock_wall_us(kb_actor_clock(hub->api->actor));
    ring_push(hub, event);
    kb__cache_change(hub, change);
    KB_LIST_EACH_SAFE(link, &hub->watchers)
    kb__watcher_event(KB_CONTAINER(link, struct kb__watcher, link), event, now_us);
}

static void on_synced(void *user, int64_t rev)
{
    struct kb__hub *hub = user;
    if (rev > hub->rev)
        hub->rev = rev;
    kb__cache_synced(hub, rev);
}

/* The history behind us was compacted while we were away: nobody can be told what happened. */
static void on_lost(void *user, const struct kb_err *err)
{
    struct kb__hub *hub = user;
    struct kb_err gone = *err;
    if (gone.code != KB_EGONE)
        kb_warn("watch of " KB_STR_FMT ": %s", KB_STR_ARG(hub->kind->resource), err->text);
    kb_map_del(&hub->api->hubs, hub->kind->resource);
    hub->view = NULL; /* it closes itself */
    hub->lost = true;
    kb__cache_drop(hub);
    hub->users++; /* stays until the loop is through */
    KB_LIST_EACH_SAFE(link, &hub->watchers)
    kb__watcher_fail(KB_CONTAINER(link, struct kb__watcher, link), &gone);
    kb__hub_release(hub);
}

static void tick(void *user)
{
    struct kb__hub *hub = user;
    kb__cache_tick(hub);
    if (hub->users == 0 && hub->unused && !hub->cache && !hub->building) {
        kb_map_del(&hub->api->hubs, hub->kind->resource);
        kb__hub_destroy(hub);
        return;
    }
    hub->unused = hub->users == 0;
    KB_LIST_EACH_SAFE(link, &hub->watchers)
    {
        struct kb__watcher *watcher = KB_CONTAINER(link, struct kb__watcher, link);
        if (watcher->bookmarks)
            kb__watcher_bookmark(watcher, hub->rev);
    }
    kb_loop_timer_set(hub->api->loop, &hub->timer, TICK_MS);
}

struct kb__hub *kb__hub_of(struct kb__api *api, const struct kb_kind *kind)
{
    struct kb__hub *hub = kb_map_get(&api->hubs, kind->resource);
    if (hub)
        return hub;
    hub = calloc(1, sizeof(*hub));
    KB_ASSERT(hub != NULL);
    hub->api = api;
    hub->kind = kind;
    kb_list_init(&hub->watchers);
    kb_list_init(&hub->reads_now);
    kb_list_init(&hub->reads_next);
    hub->timer.fn = tick;
    hub->timer.user = hub;
    kb_map_put(&api->hubs, kind->resource, hub);
    kb_loop_timer_set(api->loop, &hub->timer, TICK_MS);
    return hub;
}

void kb__hub_follow(struct kb__hub *hub, int64_t since)
{
    static const struct kb_view_handlers handlers = {.change = on_change, .synced = on_synced};
    KB_AUTO(kb_auto_free) char *query = kb_str_dup(hub->kind->resource);
    struct kb_view_options options = {.with_old = true, .since = since, .lost = on_lost};
    hub->from_rev = hub->rev = since;
    hub->view = kb_view_open(hub->api->actor, query, &options, &handlers, hub);
}

struct kb__hub *kb__hub_use(struct kb__api *api, const struct kb_kind *kind, int64_t since)
{
    struct kb__hub *hub = kb__hub_of(api, kind);
    if (hub->view == NULL)
        kb__hub_follow(hub, since > 0 ? since : 1);
    hub->users++;
    hub->unused = false;
    return hub;
}

/* It stays for a while without users: who just left often comes back. */
void kb__hub_release(struct kb__hub *hub)
{
    KB_ASSERT(hub->users > 0);
    hub->users--;
    if (hub->users == 0 && kb_map_get(&hub->api->hubs, hub->kind->resource) != hub)
        kb__hub_destroy(hub); /* lost, and this was the last who knew it */
}

void kb__hub_destroy(struct kb__hub *hub)
{
    kb_loop_timer_stop(hub->api->loop, &hub->timer);
    kb__cache_drop(hub);
    kb_view_close(&hub->view);
    while (hub->count > 0)
        drop_oldest(hub);
    free(hub->ring);
    free(hub);
}
