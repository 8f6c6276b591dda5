/* The inside of watches and of cached reads, split over watch_event.c (one change, its texts),
 * watch_hub.c (one resource, its ring) and watch.c (one client). Folder-private. */
#ifndef KUBUS_API_WATCH_H
#define KUBUS_API_WATCH_H

#include "actors/api/api.h"
#include "actors/api/cache.h"

/* ---- watch_event.c ---- */

enum kb__event_type {
    KB__ADDED,
    KB__MODIFIED,
    KB__DELETED,
    KB__LEFT, /* shown as DELETED, with the state before: it no longer matches a selection */
    KB__EVENT_TYPES
};
enum { KB__EVENT_FORMS = 5 }; /* object, partial, table with metadata, with nothing, with object */

/* One change of one object, shared by the ring and reference-counted blobs in watchers' queues. */
struct kb__event {
    int64_t rev;
    kb_str ns, name; /* in `key` */
    char *key;
    struct kb_doc *doc, *old; /* after (its last state, when deleted) and before; NULL: none */
    bool deleted;
    size_t bytes;
    struct kb_blob *texts[KB__EVENT_FORMS][KB__EVENT_TYPES];
};
struct kb__event *kb__event_new(kb_str key, int64_t rev, bool deleted, kb_val doc, kb_val old);
void kb__event_destroy(struct kb__event **event_p);
/* The line for this form and type; made at first use, owned by the event. */
struct kb_blob *kb__event_text(struct kb__event *event, const struct kb__look *look,
                               enum kb__event_type type, int64_t now_us);
/* The same made for one watcher alone: the first of a table, which brings the columns. Caller owns.
 */
struct kb_blob *kb__event_first_text(const struct kb__event *event, const struct kb__look *look,
                                     enum kb__event_type type, int64_t now_us);

/* ---- watch_hub.c ---- */

struct kb__watcher;

/* All watches of one resource: one view of the store, the last changes, who listens. */
struct kb__hub {
    struct kb__api *api;
    const struct kb_kind *kind;
    struct kb_view *view;
    struct kb__event **ring; /* oldest first, from `head` */
    size_t head, count, cap, bytes;
    int64_t from_rev;        /* all changes after this revision are in the ring */
    int64_t rev;             /* all up to here is known */
    struct kb_link watchers; /* live ones */
    size_t users;            /* live or on their way */
    struct kb_loop_timer timer;
    bool unused; /* since the last tick */
    bool lost;   /* follows no more; out of the map */

    /* watch_cache.c */
    struct kb_cache *cache;    /* as of cache_rev; NULL: none */
    bool whole;                /* it has all objects; else those that were got one by one */
    struct kb_cache *building; /* being listed at list_rev */
    int64_t cache_rev, list_rev;
    char db[64]; /* the database that the cache is of */
    char after[KB_KEY_MAX_BYTES + 1];
    uint64_t call;                        /* the listing, or the question for news */
    struct kb_link reads_now, reads_next; /* that this question answers; that the next one will */
    unsigned cold_ticks;                  /* without a read */
};

/* The hub of a kind; made, following from `since`, when there is none. */
struct kb__hub *kb__hub_use(struct kb__api *api, const struct kb_kind *kind, int64_t since);
/* The same, but following nothing yet. */
struct kb__hub *kb__hub_of(struct kb__api *api, const struct kb_kind *kind);
void kb__hub_follow(struct kb__hub *hub, int64_t since);
void kb__hub_release(struct kb__hub *hub);
void kb__hub_destroy(struct kb__hub *hub);

/* ---- watch_cache.c ---- */

/* Someone who wants to read what is true from now on. */
struct kb__read {
    struct kb_link link;
    /* The cache knows all that was committed before kb__hub_read. NULL: it is gone, read from the
     * store. */
    void (*ready)(struct kb__read *read, struct kb__hub *hub);
};
/* The hub of the kind when it has all objects in its cache, else NULL; lists that come often make
 * it build one. */
struct kb__hub *kb__cached_all(struct kb__api *api, const struct kb_kind *kind);
/* The same when it knows this object: has it, or knows that there is none. Gets that come often
 * make it keep what they find. */
struct kb__hub *kb__cached_one(struct kb__api *api, const struct kb_kind *kind, kb_str key);
/* What the store answered a get with; kept when the kind is got often. */
void kb__cache_keep(struct kb__api *api, const struct kb_kind *kind, kb_val got);
/* `ready` comes from the loop, never from here. */
void kb__hub_read(struct kb__hub *hub, struct kb__read *read);
/* For watch_hub.c: a change, all changes up to `rev`, every 30 seconds, and the end. */
void kb__cache_change(struct kb__hub *hub, const struct kb_change *change);
void kb__cache_synced(struct kb__hub *hub, int64_t rev);
void kb__cache_tick(struct kb__hub *hub);
void kb__cache_drop(struct kb__hub *hub);

/* ---- watch.c ---- */

struct kb__watcher {
    struct kb__op op;
    struct kb_link link; /* hub->watchers, when live */
    struct kb__hub *hub; /* NULL while it lists */
    struct kb__look look;
    struct kb_selection selection;
    bool filtered, bookmarks, initial_bookmark, headers_sent, dead, waiting;
    int64_t pos; /* all up to this revision was delivered */
    int64_t list_rev;
    char after[KB_KEY_MAX_BYTES + 1];
    uint64_t call;
    struct kb_loop_timer timer;
};
/* One change; skipped when it is not selected or was delivered already. */
void kb__watcher_event(struct kb__watcher *watcher, struct kb__event *event, int64_t now_us);
void kb__watcher_bookmark(struct kb__watcher *watcher, int64_t rev);
/* ERROR event and end. */
void kb__watcher_fail(struct kb__watcher *watcher, const struct kb_err *err);

#endif
