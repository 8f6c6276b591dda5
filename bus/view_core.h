/* The state of one follower: list, then follow. Pure: what comes in are the headers of messages and
 * the ends of calls, what goes out is what to do next. bus/view.c does it. */
#ifndef KUBUS_BUS_VIEW_CORE_H
#define KUBUS_BUS_VIEW_CORE_H

#include "bus/base/clock.h"
#include "bus/base/err.h"
#include "bus/base/map.h"
#include "bus/view.h"

/* What the shell is to do next. */
enum kb_view_wish {
    KB_VIEW_NOTHING,
    KB_VIEW_APPLY,  /* apply this event's changes above `have`, then call applied */
    KB_VIEW_LIST,   /* ask for the next page of the listing */
    KB_VIEW_REPLAY, /* ask for what came after `have` */
    KB_VIEW_RETRY,  /* wait core->retry_ms, then call kb_view_core_retry */
    KB_VIEW_SYNCED, /* tell the user how far it is */
    KB_VIEW_LOST,   /* tell the user, and close */
};

/*  LISTING --last page--> LIVE or REPLAYING;   REPLAYING --last page--> LIVE or REPLAYING
 *  LIVE --gap, silence--> REPLAYING;   any --call failed--> WAITING --retry--> LISTING or REPLAYING
 *  any --history gone, another database--> LISTING */
enum kb_view_state { KB_VIEW_LISTING, KB_VIEW_REPLAYING, KB_VIEW_LIVE, KB_VIEW_WAITING };

struct kb_view_core {
    int state;
    bool resumes;      /* opened with `since`: never lists, is lost instead */
    bool complete;     /* the first listing, or the first replay of one that resumes, is done */
    bool listing_next; /* WAITING: what to do then */
    int64_t have;      /* all up to here was delivered */
    int64_t seen;      /* the view's greatest revision that was heard of */
    int64_t snapshot;  /* revision of the listing under way, 0: its first page is to come */
    char db[64];       /* "" until known */
    kb_ms retry_ms, heard_ms;
    /* What a relist is compared with: key → revision and generation. Where the user holds the
     * objects: the keys of the listing under way, and these only when something was held before. */
    struct kb_map keys;
    bool generation, broken_off;     /* broken_off: a listing began and has not ended */
    const struct kb_view_held *held; /* or NULL */
    void *user;
    bool compares; /* `held`: this listing is a relist */
};

enum { KB_VIEW_SILENCE_MS = 7000 }; /* three beats missed: ask */

void kb_view_core_init(struct kb_view_core *core, int64_t since, kb_ms now_ms);
/* Before the first wish: the user holds the objects. */
void kb_view_core_held(struct kb_view_core *core, const struct kb_view_held *held, void *user);
void kb_view_core_finish(struct kb_view_core *core);
/* The first wish: LIST or REPLAY. */
enum kb_view_wish kb_view_core_start(const struct kb_view_core *core);

struct kb_view_event {
    bool beat;
    kb_str db;
    int64_t rev, prev, now;
};
enum kb_view_wish kb_view_core_event(struct kb_view_core *core, const struct kb_view_event *event,
                                     kb_ms now_ms);
/* After APPLY's changes were delivered. SYNCED. */
enum kb_view_wish kb_view_core_applied(struct kb_view_core *core, int64_t rev);

/* Is this change news? Of an event or a replay: its revision is above `have`; the key's revision is
 * noted. */
bool kb_view_core_change(struct kb_view_core *core, kb_str key, int64_t rev, bool del);
/* Is this item of a listing news: unknown, or known with another revision? Notes it. */
bool kb_view_core_item(struct kb_view_core *core, kb_str key, int64_t rev);
/* After the last page: keys that were known and are no more, sorted; they are forgotten. Caller
 * frees the array and each key. */
size_t kb_view_core_vanished(struct kb_view_core *core, char ***ret_keys);

/* A page of a listing came whose items have been taken. LIST (more), RETRY (again, from the start),
 * else done: SYNCED or REPLAY. Call `vanished` before, on the last page. */
enum kb_view_wish kb_view_core_listed(struct kb_view_core *core, int64_t rev, bool more);
/* Before a page's items are taken: false when this page is of another database or snapshot than the
 * ones before it, and the listing must start again (then: RETRY was set up). */
bool kb_view_core_page(struct kb_view_core *core, kb_str db, int64_t rev);
/* A replay's page came: false when it is of another database; then `wish` says what to do. */
bool kb_view_core_replay_page(struct kb_view_core *core, kb_str db, enum kb_view_wish *ret_wish);
enum kb_view_wish kb_view_core_replayed(struct kb_view_core *core, int64_t rev, bool more);
/* The list or replay under way failed. */
enum kb_view_wish kb_view_core_failed(struct kb_view_core *core, int code);
enum kb_view_wish kb_view_core_retry(struct kb_view_core *core);
/* Call now and then: REPLAY when nothing was heard for long. */
enum kb_view_wish kb_view_core_tick(struct kb_view_core *core, kb_ms now_ms);

#endif
