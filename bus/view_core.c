/* view_core.c - list, then follow: never misses, never reorders, on a channel that drops.
 *
 * `have` is the only truth: all changes of the view up to it were delivered, none above it. Every
 * event says which revision of the same view came before it (`prev`), so an event applies exactly
 * when prev ≤ have < rev; prev > have is a gap, and the store replays from `have`.
 *
 * While a listing or a replay is under way, events are not kept: only the greatest revision is
 * noted, and when it lies above what was got, one more replay fetches it. That costs a round trip
 * on a busy view at its opening and spares a buffer without a bound.
 *
 * What a relist does not contain any more was deleted while nobody told: the keys are kept for
 * that, with the revision last delivered, so an object that has not changed is not delivered again.
 * A user who holds the objects anyway (most do) is asked instead: a second map of a million keys
 * would cost more than all else that a follower does with an event. */
#include "bus/view_core.h"

#include "bus/base/check.h"
#include "bus/base/grow.h"
#include "bus/base/sm.h"

#include <stdlib.h>

enum { RETRY_MIN_MS = 50, RETRY_MAX_MS = 5000 };

static const struct kb_sm_state states[] = {
    [KB_VIEW_LISTING] = {"listing", KB_SM_TO(KB_VIEW_LIVE) | KB_SM_TO(KB_VIEW_REPLAYING) |
                                        KB_SM_TO(KB_VIEW_WAITING) | KB_SM_TO(KB_VIEW_LISTING)},
    [KB_VIEW_REPLAYING] = {"replaying", KB_SM_TO(KB_VIEW_LIVE) | KB_SM_TO(KB_VIEW_WAITING) |
                                            KB_SM_TO(KB_VIEW_LISTING) |
                                            KB_SM_TO(KB_VIEW_REPLAYING)},
    [KB_VIEW_LIVE] = {"live", KB_SM_TO(KB_VIEW_REPLAYING) | KB_SM_TO(KB_VIEW_LISTING)},
    [KB_VIEW_WAITING] = {"waiting", KB_SM_TO(KB_VIEW_REPLAYING) | KB_SM_TO(KB_VIEW_LISTING)},
};

static void move(struct kb_view_core *core, enum kb_view_state to)
{
    kb_sm_move(states, &core->state, (int)to, "view");
}

void kb_view_core_init(struct kb_view_core *core, int64_t since, kb_ms now_ms)
{
    *core = (struct kb_view_core){
        .state = since > 0 ? KB_VIEW_REPLAYING : KB_VIEW_LISTING,
        .resumes = since > 0,
        .have = since > 0 ? since : 0,
        .retry_ms = RETRY_MIN_MS,
        .heard_ms = now_ms,
    };
}

void kb_view_core_held(struct kb_view_core *core, const struct kb_view_held *held, void *user)
{
    core->held = held;
    core->user = user;
}

void kb_view_core_finish(struct kb_view_core *core)
{
    kb_map_finish(&core->keys);
}

enum kb_view_wish kb_view_core_start(const struct kb_view_core *core)
{
    return core->resumes ? KB_VIEW_REPLAY : KB_VIEW_LIST;
}

/* ---- the keys: a revision and a generation in the space of a pointer ---- */

static void *note(int64_t rev, bool generation)
{
    return (void *)(uintptr_t)((uint64_t)rev << 2 | (uint64_t)generation << 1 | 1);
}

static int64_t note_rev(const void *note)
{
    return (int64_t)((uintptr_t)note >> 2);
}

static bool note_generation(const void *note)
{
    return (uintptr_t)note >> 1 & 1;
}

bool kb_view_core_change(struct kb_view_core *core, kb_str key, int64_t rev, bool del)
{
    if (rev <= core->have)
        return false;
    if (core->resumes || core->held)
        return true;
    if (del)
        kb_map_del(&core->keys, key);
    else
        kb_map_put(&core->keys, key, note(rev, core->generation));
    return true;
}

bool kb_view_core_item(struct kb_view_core *core, kb_str key, int64_t rev)
{
    if (core->held) {
        if (core->compares)
            kb_map_put(&core->keys, key, note(rev, core->generation));
        return core->held->rev(core->user, key) != rev;
    }
    void *was = kb_map_put(&core->keys, key, note(rev, core->generation));
    return was == NULL || note_rev(was) != rev;
}

static int key_order(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

struct names {
    char **keys;
    size_t n, cap;
};

static void names_add(struct names *names, kb_str key)
{
    KB_GROW(names->keys, names->n, names->cap, 16);
    names->keys[names->n++] = kb_str_dup(key);
}

static void vanished_of_held(struct kb_view_core *core, struct names *gone)
{
    kb_str key;
    for (size_t i = 0; core->compares && core->held->next(core->user, &i, &key);)
        if (kb_map_get(&core->keys, key) == NULL)
            names_add(gone, key);
    kb_map_finish(&core->keys);
    core->compares = false;
}

static void vanished_of_keys(struct kb_view_core *core, struct names *gone)
{
    kb_str key;
    void *value;
    for (size_t i = 0; kb_map_next(&core->keys, &i, &key, &value);) {
        if (note_generation(value) == core->generation)
            continue;
        names_add(gone, key);
        kb_map_del(&core->keys, key);
    }
}

size_t kb_view_core_vanished(struct kb_view_core *core, char ***ret_keys)
{
    struct names gone = {0};
    if (core->held)
        vanished_of_held(core, &gone);
    else
        vanished_of_keys(core, &gone);
    if (gone.n)
        qsort(gone.keys, gone.n, sizeof(*gone.keys), key_order);
    *ret_keys = gone.keys;
    return gone.n;
}

/* ---- listing ---- */

static enum kb_view_wish list_again(struct kb_view_core *core)
{
    if (core->resumes)
        return KB_VIEW_LOST;
    move(core, KB_VIEW_LISTING);
    core->snapshot = 0;
    return KB_VIEW_LIST;
}

static enum kb_view_wish wait_for(struct kb_view_core *core, bool listing)
{
    core->listing_next = listing;
    move(core, KB_VIEW_WAITING);
    return KB_VIEW_RETRY;
}

static void back_off(struct kb_view_core *core)
{
    core->retry_ms *= 2;
    if (core->retry_ms > RETRY_MAX_MS)
        core->retry_ms = RETRY_MAX_MS;
}

/* A listing begins: what was noted before it is of the other generation. One that was broken off
 * has left both; its notes become old ones too. */
static void next_generation(struct kb_view_core *core)
{
    kb_str key;
    void *value;
    if (core->held) {
        size_t first = 0;
        kb_map_finish(&core->keys);
        core->compares = core->held->next(core->user, &first, &key);
        return;
    }
    core->generation = !core->generation;
    if (core->broken_off)
        for (size_t i = 0; kb_map_next(&core->keys, &i, &key, &value);)
            kb_map_put(&core->keys, key, note(note_rev(value), !core->generation));
    core->broken_off = true; /* until its last page */
}

bool kb_view_core_page(struct kb_view_core *core, kb_str db, int64_t rev)
{
    if (core->snapshot == 0) {
        if (!kb_str_is(db, core->db)) {
            kb_str_copy(db, core->db, sizeof(core->db));
            core->seen = 0; /* revisions of another database mean nothing */
        }
        next_generation(core);
        core->snapshot = rev;
        return true;
    }
    if (kb_str_is(db, core->db) && rev == core->snapshot)
        return true;
    /* The store was replaced between two pages. The keys noted so far stay: they were delivered. */
    wait_for(core, true);
    return false;
}

static enum kb_view_wish caught_up(struct kb_view_core *core)
{
    core->retry_ms = RETRY_MIN_MS;
    if (core->seen > core->have) {
        move(core, KB_VIEW_REPLAYING);
        return KB_VIEW_REPLAY;
    }
    move(core, KB_VIEW_LIVE);
    core->complete = true;
    return KB_VIEW_SYNCED;
}

enum kb_view_wish kb_view_core_listed(struct kb_view_core *core, int64_t rev, bool more)
{
    if (more)
        return KB_VIEW_LIST;
    core->have = rev;
    core->snapshot = 0;
    core->broken_off = false;
    core->complete = true;
    return caught_up(core);
}

/* ---- replay ---- */

bool kb_view_core_replay_page(struct kb_view_core *core, kb_str db, enum kb_view_wish *ret_wish)
{
    if (core->db[0] == '\0')
        kb_str_copy(db, core->db, sizeof(core->db));
    if (kb_str_is(db, core->db))
        return true;
    *ret_wish = list_again(core);
    return false;
}

enum kb_view_wish kb_view_core_replayed(struct kb_view_core *core, int64_t rev, bool more)
{
    bool progress = rev > core->have;
    if (progress)
        core->have = rev;
    if (more)
        return KB_VIEW_REPLAY;
    if (core->seen > core->have && !progress) {
        /* It was heard of and yet the store has nothing: not even a bug of ours may spin. */
        enum kb_view_wish wish = wait_for(core, false);
        back_off(core);
        return wish;
    }
    return caught_up(core);
}

/* ---- what is published ---- */

static enum kb_view_wish follow(struct kb_view_core *core, const struct kb_view_event *event)
{
    int64_t behind = event->beat ? event->rev : event->prev;
    if (behind > core->have) {
        move(core, KB_VIEW_REPLAYING);
        return KB_VIEW_REPLAY;
    }
    if (event->beat) {
        if (event->now > core->have)
            core->have = event->now;
        return KB_VIEW_SYNCED;
    }
    return event->rev > core->have ? KB_VIEW_APPLY : KB_VIEW_NOTHING;
}

enum kb_view_wish kb_view_core_event(struct kb_view_core *core, const struct kb_view_event *event,
                                     kb_ms now_ms)
{
    core->heard_ms = now_ms;
    bool other_db = core->db[0] != '\0' && !kb_str_is(event->db, core->db);
    if (other_db)
        return core->state == KB_VIEW_LIVE ? list_again(core) : KB_VIEW_NOTHING;
    if (event->rev > core->seen)
        core->seen = event->rev;
    return core->state == KB_VIEW_LIVE ? follow(core, event) : KB_VIEW_NOTHING;
}

enum kb_view_wish kb_view_core_applied(struct kb_view_core *core, int64_t rev)
{
    core->have = rev;
    return KB_VIEW_SYNCED;
}

/* ---- trouble ---- */

enum kb_view_wish kb_view_core_failed(struct kb_view_core *core, int code)
{
    bool listing = core->state == KB_VIEW_LISTING;
    if (code == KB_EGONE && !listing)
        return list_again(core);
    if (code == KB_EINVAL && core->resumes)
        return KB_VIEW_LOST;
    enum kb_view_wish wish = wait_for(core, listing);
    if (code != KB_EGONE) /* a listing that took longer than the history: again, soon */
        back_off(core);
    return wish;
}

enum kb_view_wish kb_view_core_retry(struct kb_view_core *core)
{
    if (core->state != KB_VIEW_WAITING)
        return KB_VIEW_NOTHING;
    if (core->listing_next)
        return list_again(core);
    move(core, KB_VIEW_REPLAYING);
    return KB_VIEW_REPLAY;
}

enum kb_view_wish kb_view_core_tick(struct kb_view_core *core, kb_ms now_ms)
{
    if (core->state != KB_VIEW_LIVE || now_ms - core->heard_ms < KB_VIEW_SILENCE_MS)
        return KB_VIEW_NOTHING;
    core->heard_ms = now_ms;
    move(core, KB_VIEW_REPLAYING);
    return KB_VIEW_REPLAY;
}
