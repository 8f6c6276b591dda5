/* scheduler_preempt.c - nominations and evictions: what a pod that fits nowhere is promised, and
 * who has to go for it.
 *
 * A pod keeps the node that it is nominated to until it is placed, given up, or somebody more
 * important takes the room. While it waits and the node is there, the core counts the promise; a
 * node that is not known yet (or not any more) makes it a claim. What status.nominatedNodeName says
 * of a pod that we have said nothing about ourselves is believed: another scheduler that was killed
 * said it. */
#include "actors/scheduler/objects.h"
#include "actors/scheduler/scheduler_impl.h"
#include "bus/base/check.h"
#include "bus/model/key.h"

#include <stdio.h>
#include <stdlib.h>

/* ---- promises ---- */

static const char *node_text(struct kb_sched *s, uint32_t id)
{
    return kb_intern_text(kb_core_columns(s->core)->intern, id);
}

void kb__sched_unpromise(struct kb_sched *s, struct kb_sched_pod *pod)
{
    kb_list_remove(&pod->claim);
    if (pod->nomination == NULL)
        return;
    if (pod->nomination->on)
        kb_pending_event(s->pending, KB_POLICY_ON_POD_DELETE,
                         pod->nomination->ghost.slot); /* room for others */
    kb_core_denominate(s->core, pod->nomination);
    free(pod->nomination);
    pod->nomination = NULL;
}

void kb__sched_promise(struct kb_sched *s, struct kb_sched_pod *pod)
{
    if (pod->nominated == 0 || pod->state != POD_WAITING || pod->wait.spec == NULL) {
        kb__sched_unpromise(s, pod);
        return;
    }
    uint32_t slot =
        kb_columns_find(kb_core_columns(s->core), kb_str_of(node_text(s, pod->nominated)));
    bool there = slot != UINT32_MAX && kb_core_columns(s->core)->view.present[slot];
    const struct kb_nomination *n = pod->nomination;
    if (n && n->on && n->ghost.slot == slot && n->ghost.spec == pod->wait.spec &&
        n->ghost.priority == pod->wait.q.priority)
        return;
    kb__sched_unpromise(s, pod);
    if (!there) {
        kb_list_push(&s->claims, &pod->claim);
        return;
    }
    pod->nomination = calloc(1, sizeof(*pod->nomination));
    KB_ASSERT(pod->nomination != NULL);
    pod->nomination->owner = pod;
    kb_core_nominate(s->core, pod->nomination, pod->wait.spec, slot, &pod->wait.q);
}

void kb__sched_believe(struct kb_sched *s, struct kb_sched_pod *pod, kb_str nominated)
{
    if (!pod->nominated_by_us)
        pod->nominated = nominated.n ? kb__core_intern(s->core, nominated) : 0;
    kb__sched_promise(s, pod);
}

void kb__sched_claims(struct kb_sched *s)
{
    struct kb_link waiting;
    struct kb_link *link;
    if (kb_list_empty(&s->claims))
        return;
    kb_list_init(&waiting);
    while ((link = kb_list_pop(&s->claims)) != NULL)
        kb_list_push(&waiting, link);
    while ((link = kb_list_pop(&waiting)) != NULL)
        kb__sched_promise(s, KB_CONTAINER(link, struct kb_sched_pod, claim));
}

void kb__sched_node_lost(struct kb_sched *s, kb_str node)
{
    uint32_t slot = kb_columns_find(kb_core_columns(s->core), node);
    struct kb_nomination *n;
    while (slot != UINT32_MAX && (n = kb_core_nominated(s->core, slot, NULL)) != NULL) {
        struct kb_sched_pod *pod = n->owner;
        kb__sched_unpromise(s, pod);
        kb_list_push(&s->claims, &pod->claim);
    }
}

static void nominate(struct kb_sched *s, struct kb_sched_pod *pod, uint32_t node)
{
    pod->nominated = node;
    pod->nominated_by_us = true;
    kb__sched_promise(s, pod);
}

const char *kb__sched_nominated(struct kb_sched *s, const struct kb_sched_pod *pod)
{
    return pod->nominated_by_us ? node_text(s, pod->nominated) : NULL;
}

/* Those of lower priority that were promised room on the node: it may not suffice any more. */
static void disappoint(struct kb_sched *s, const struct kb_sched_pod *preemptor, uint32_t slot,
                       struct kb_sched_out *out)
{
    struct kb_nomination *n = kb_core_nominated(s->core, slot, NULL), *next;
    for (; n != NULL; n = next) {
        next = kb_core_nominated(s->core, slot, n);
        struct kb_sched_pod *pod = n->owner;
        if (n->ghost.priority >= preemptor->wait.q.priority)
            continue;
        nominate(s, pod, 0);
        kb__sched_wish(out, KB_SCHED_CONDITION, pod)->doc =
            kb__sched_pod(kb_doc_root(pod->doc), &(struct kb_sched_edit){.nominated = ""});
    }
}

/* ---- evictions ---- */

static struct kb_sched_pod *owner_of(struct kb_core_pod *pod)
{
    return KB_CONTAINER(pod, struct kb_sched_pod, core);
}

static void evict(struct kb_sched *s, const struct kb_sched_pod *preemptor,
                  struct kb_sched_pod *victim, struct kb_sched_out *out)
{
    char text[512];
    const char *node = kb_core_node_name(s->core, victim->core.slot);
    const char *scheduler = kb__core_profile(s->core, preemptor->wait.spec->profile)->name;
    if (victim->core.view.leaving)
        return; /* it goes already */
    if (!kb_cycle_reject(s->core, victim->wait.cycle, "preempted")) {
        struct kb_sched_wish *w = kb__sched_wish(out, KB_SCHED_EVICT, victim);
        w->doc = kb__sched_disruption(kb_str_of(victim->uid), scheduler, s->wall_us);
        victim->evicting = victim->core.view.leaving = true;
        kb_core_promises_changed(s->core);
    }
    snprintf(text, sizeof(text), "Preempted by pod %s on node %s", preemptor->uid, node);
    kb__sched_wish_event(s, victim, "Normal", "Preempted", text, out);
}

void kb_sched_evict_done(struct kb_sched *s, kb_str key, int rc)
{
    struct kb_sched_pod *victim = kb_map_get(&s->pods, key);
    kb__sched_told(s,
                   &(struct kb_sched_input){.kind = KB_SCHED_IN_EVICT_DONE, .key = key, .rc = rc});
    if (rc == 0 || rc == -KB_ENOTFOUND || victim == NULL || !victim->evicting)
        return; /* the view will show it */
    victim->evicting = victim->core.view.leaving = false;
    kb_core_promises_changed(s->core);
    if (!victim->core.placed)
        return;
    /* Whoever waits for its place has to try again. */
    for (struct kb_nomination *n = NULL;
         (n = kb_core_nominated(s->core, victim->core.slot, n)) != NULL;) {
        struct kb_sched_pod *pod = n->owner;
        if (pod->wait.where != KB_UNSCHEDULABLE)
            continue;
        kb_pending_remove(s->pending, &pod->wait);
        kb_pending_retry(s->pending, &pod->wait, false, s->now);
    }
}

/* ---- post_filter ---- */

void kb__sched_preempt(struct kb_sched *s, struct kb_sched_pod *pod, struct kb_sched_out *out)
{
    struct kb_preemption *p = &s->preemption;
    kb_core_post_filter(s->core, pod->wait.spec, &pod->wait.q, pod->nomination, p);
    if (p->gives_up)
        nominate(s, pod, 0);
    if (!p->found)
        return;
    disappoint(s, pod, p->slot, out);
    nominate(s, pod, kb_core_columns(s->core)->view.name[p->slot]);
    for (size_t i = 0; i < p->victims_n; i++)
        evict(s, pod, owner_of(p->victims[i]), out);
}
