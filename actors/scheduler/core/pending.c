#include "actors/scheduler/core/pending.h"

#include "actors/scheduler/core/lifecycle.h"
#include "actors/scheduler/core/preempt.h"
#include "actors/scheduler/core/turns.h"
#include "bus/base/check.h"

#include <stdlib.h>

/* The unschedulable pods of one kind, oldest failure first. */
struct kb_waiting_group {
    struct kb_link link;
    struct kb_link waiting;
    struct kb_podspec *spec;
    uint32_t events;  /* what could help any of them */
    uint32_t stirred; /* of these, happened, as far as hints do not say that it cannot help */
    int32_t priority; /* highest of those that may preempt; INT32_MIN: none does */
};

/* Groups to look at before a pod is taken: when others wait, and when none does. */
enum { LOOK_BUSY = 4, LOOK_IDLE = 32 };

struct kb_pending {
    struct kb_core *core;
    struct kb_turns active;
    struct kb_timers backoff;
    kb_ms backoff_ms, backoff_max_ms;
    struct kb_link groups;
    struct kb_map group_of; /* address of the spec → group */
    uint32_t events;        /* happened since the groups were last looked at */
    uint32_t round_events;  /* … and what the round under way asks about */
    size_t round_left;      /* groups still to look at in it */
    kb_ms flush_ms;         /* no group has a pod that is to move by time alone before this */
    uint64_t seq;
    struct kb_pending_counts counts;
};

struct kb_pending *kb_pending_new(struct kb_core *core)
{
    struct kb_pending *p = calloc(1, sizeof(*p));
    KB_ASSERT(p != NULL);
    p->core = p->active.core = core;
    kb_list_init(&p->groups);
    p->flush_ms = INT64_MAX;
    kb_pending_set_backoff(p, KB_PENDING_BACKOFF_MS, KB_PENDING_BACKOFF_MAX_MS);
    return p;
}

void kb_pending_set_backoff(struct kb_pending *p, kb_ms first_ms, kb_ms most_ms)
{
    p->backoff_ms = first_ms;
    p->backoff_max_ms = most_ms;
}

static kb_str spec_key(struct kb_podspec *const *spec)
{
    return kb_str_n((const char *)spec, sizeof(*spec));
}

static void drop_group(struct kb_pending *p, struct kb_waiting_group *g)
{
    kb_map_del(&p->group_of, spec_key(&g->spec));
    kb_list_remove(&g->link);
    kb_core_spec_release(p->core, &g->spec);
    free(g);
}

void kb_pending_destroy(struct kb_pending **p_p)
{
    struct kb_pending *p = *p_p;
    if (p == NULL)
        return;
    KB_LIST_EACH_SAFE(it, &p->groups)
    drop_group(p, KB_CONTAINER(it, struct kb_waiting_group, link));
    kb_map_finish(&p->group_of);
    kb_timers_finish(&p->backoff);
    kb_turns_finish(&p->active);
    free(p);
    *p_p = NULL;
}

/* ---- moving ---- */

static void to_active(struct kb_pending *p, struct kb_waiting *w, kb_ms now)
{
    w->where = KB_ACTIVE;
    w->q.queued_ms = now;
    p->counts.active++;
    kb_turns_push(&p->active, w);
}

static kb_ms backoff_end(const struct kb_pending *p, const struct kb_waiting *w)
{
    kb_ms wait = p->backoff_ms;
    for (uint32_t i = 1; i < w->q.attempts && wait < p->backoff_max_ms; i++)
        wait *= 2;
    return w->failed_ms + (wait < p->backoff_max_ms ? wait : p->backoff_max_ms);
}

static void to_backoff_or_active(struct kb_pending *p, struct kb_waiting *w, kb_ms now)
{
    kb_ms end = backoff_end(p, w), later = w->later_ms ? now + w->later_ms : now;
    end = end > later ? end : later;
    if (end <= now) {
        to_active(p, w, now);
        return;
    }
    w->where = KB_BACKOFF;
    p->counts.backoff++;
    kb_timers_arm(&p->backoff, &w->timer, end);
}

void kb_pending_add(struct kb_pending *p, struct kb_waiting *w, kb_ms now)
{
    KB_ASSERT(w->where == KB_NOWHERE && w->spec != NULL);
    w->q.size = sizeof(w->q);
    w->q.pod = &w->spec->pod;
    w->q.queued_ms = now;
    if (w->q.seq == 0)
        w->q.seq = ++p->seq;
    if (!kb_core_may_enter(p->core, w->spec->profile, &w->q)) {
        w->where = KB_GATED;
        p->counts.gated++;
    } else if (w->q.attempts > 0 || w->later_ms > 0) {
        to_backoff_or_active(p, w, now);
    } else {
        to_active(p, w, now);
    }
}

void kb_pending_remove(struct kb_pending *p, struct kb_waiting *w)
{
    switch (w->where) {
    case KB_NOWHERE:
        return;
    case KB_GATED:
        p->counts.gated--;
        break;
    case KB_ACTIVE:
        p->counts.active--;
        kb_turns_remove(&p->active, w);
        break;
    case KB_BACKOFF:
        p->counts.backoff--;
        kb_timers_disarm(&p->backoff, &w->timer);
        break;
    case KB_UNSCHEDULABLE:
        p->counts.unschedulable--;
        kb_list_remove(&w->link);
        if (kb_list_empty(&w->group->waiting))
            drop_group(p, w->group);
        w->group = NULL;
    }
    w->where = KB_NOWHERE;
}

void kb_pending_failed(struct kb_pending *p, struct kb_waiting *w, uint32_t events, kb_ms now)
{
    KB_ASSERT(w->where == KB_NOWHERE);
    struct kb_waiting_group *g = kb_map_get(&p->group_of, spec_key(&w->spec));
    if (g == NULL) {
        g = calloc(1, sizeof(*g));
        KB_ASSERT(g != NULL);
        kb_list_init(&g->waiting);
        kb_list_push(&p->groups, &g->link);
        g->spec = w->spec;
        g->priority = INT32_MIN;
        g->spec->refs++;
        kb_map_put(&p->group_of, spec_key(&g->spec), g);
    }
    g->events |= events;
    if (!w->q.never_preempts && w->q.priority > g->priority)
        g->priority = w->q.priority;
    w->q.attempts++;
    w->failed_ms = now;
    w->where = KB_UNSCHEDULABLE;
    w->group = g;
    p->counts.unschedulable++;
    kb_list_push(&g->waiting, &w->link);
    if (now + KB_PENDING_FLUSH_MS < p->flush_ms)
        p->flush_ms = now + KB_PENDING_FLUSH_MS;
}

void kb_pending_retry(struct kb_pending *p, struct kb_waiting *w, bool at_once, kb_ms now)
{
    KB_ASSERT(w->where == KB_NOWHERE);
    if (at_once) {
        to_active(p, w, now);
        return;
    }
    w->q.attempts++;
    w->failed_ms = now;
    to_backoff_or_active(p, w, now);
}

void kb_pending_group(struct kb_pending *p, uint32_t group, kb_ms now)
{
    const struct kb_link *members = kb_group_members(p->core, group);
    if (members == NULL)
        return;
    KB_LIST_EACH(it, members)
    {
        struct kb_waiting *w = KB_CONTAINER(it, struct kb_waiting, group_link);
        if (w->where != KB_GATED || !kb_core_may_enter(p->core, w->spec->profile, &w->q))
            continue;
        kb_pending_remove(p, w);
        kb_pending_add(p, w, now);
    }
}

void kb_pending_send_back(struct kb_pending *p, uint32_t group, kb_ms now)
{
    const struct kb_link *members = kb_group_members(p->core, group);
    if (members == NULL)
        return;
    KB_LIST_EACH(it, members)
    {
        struct kb_waiting *w = KB_CONTAINER(it, struct kb_waiting, group_link);
        if (w->where != KB_ACTIVE)
            continue;
        kb_pending_remove(p, w);
        kb_pending_retry(p, w, false, now);
    }
}

void kb_pending_event(struct kb_pending *p, uint32_t events, uint32_t slot)
{
    p->events |= events;
    if (events == 0 || !kb_core_hints(p->core))
        return;
    KB_LIST_EACH(it, &p->groups)
    {
        struct kb_waiting_group *g = KB_CONTAINER(it, struct kb_waiting_group, link);
        uint32_t news = events & g->events & ~g->stirred;
        if (news != 0)
            g->stirred |= kb_core_helpful(p->core, g->spec, news, slot);
    }
}

/* Did something happen that could help them? */
static bool is_stirred(const struct kb_pending *p, struct kb_waiting_group *g)
{
    uint32_t stirred = g->stirred;
    g->stirred = 0;
    return kb_core_hints(p->core) ? stirred != 0 : (g->events & p->round_events) != 0;
}

/* Exactly: would a node take one of them now, or could room be made for the most important one? */
static bool has_chance(const struct kb_pending *p, const struct kb_waiting_group *g)
{
    return kb_core_fits_any(p->core, g->spec) ||
           (g->priority != INT32_MIN && kb_core_may_preempt(p->core, g->spec, g->priority));
}

static void move_group(struct kb_pending *p, struct kb_waiting_group *g, kb_ms failed_before,
                       kb_ms now)
{
    struct kb_podspec *spec = g->spec; /* kept: the group goes with its last member */
    spec->refs++;
    KB_LIST_EACH_SAFE(it, &g->waiting)
    {
        struct kb_waiting *w = KB_CONTAINER(it, struct kb_waiting, link);
        bool last = g->waiting.prev == it;
        if (w->failed_ms > failed_before)
            break;
        kb_pending_remove(p, w);
        to_backoff_or_active(p, w, now);
        if (last)
            break;
    }
    kb_core_spec_release(p->core, &spec);
}

static kb_ms flush_of(const struct kb_waiting_group *g)
{
    return KB_CONTAINER(g->waiting.next, struct kb_waiting, link)->failed_ms + KB_PENDING_FLUSH_MS;
}

static void look_at(struct kb_pending *p, struct kb_waiting_group *g, kb_ms now)
{
    kb_list_remove(&g->link);
    kb_list_push(&p->groups, &g->link);
    if (is_stirred(p, g) && has_chance(p, g))
        move_group(p, g, INT64_MAX, now);
    else if (flush_of(g) <= now)
        move_group(p, g, now - KB_PENDING_FLUSH_MS, now);
    else
        p->flush_ms = flush_of(g) < p->flush_ms ? flush_of(g) : p->flush_ms;
}

/* A round over all groups, some at a time: with thousands of kinds of pods on many nodes, to ask
 * all their plans would take seconds in which nothing else were done. What happens meanwhile is for
 * the next round. */
static void look_at_groups(struct kb_pending *p, size_t most, kb_ms now)
{
    if (p->round_left == 0) {
        if (p->events == 0 && now < p->flush_ms)
            return;
        p->round_events = p->events;
        p->events = 0;
        p->round_left = p->group_of.count;
        p->flush_ms = INT64_MAX;
    }
    for (; p->round_left > 0 && most > 0; p->round_left--, most--) {
        if (kb_list_empty(&p->groups)) {
            p->round_left = 0;
            return;
        }
        look_at(p, KB_CONTAINER(p->groups.next, struct kb_waiting_group, link), now);
    }
}

struct kb_waiting *kb_pending_pop(struct kb_pending *p, kb_ms now)
{
    struct kb_timer *timer;
    look_at_groups(p, p->active.n > 0 ? LOOK_BUSY : LOOK_IDLE, now);
    while ((timer = kb_timers_pop(&p->backoff, now)) != NULL) {
        struct kb_waiting *w = KB_CONTAINER(timer, struct kb_waiting, timer);
        p->counts.backoff--;
        to_active(p, w, now);
    }
    struct kb_waiting *w = kb_turns_first(&p->active);
    if (w != NULL)
        kb_pending_remove(p, w);
    return w;
}

kb_ms kb_pending_wait_ms(const struct kb_pending *p, kb_ms now)
{
    if (p->active.n > 0 || ((p->events || p->round_left) && !kb_list_empty(&p->groups)))
        return 0;
    kb_ms wait = kb_timers_wait_ms(&p->backoff, now);
    if (kb_list_empty(&p->groups))
        return wait;
    kb_ms flush = p->flush_ms > now ? p->flush_ms - now : 0;
    return wait < 0 || flush < wait ? flush : wait;
}

struct kb_pending_counts kb_pending_counts(const struct kb_pending *p)
{
    return p->counts;
}
