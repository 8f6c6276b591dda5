/* preempt.c - nominated pods, and what post_filter may ask.
 *
 * WHY a policy chooses the victims and not the core: who may be evicted for whom is policy, and the
 * part that needs the core (what would fit if …) is five functions. */
#include "actors/scheduler/core/preempt.h"

#include "actors/scheduler/core/histogram.h"
#include "bus/base/check.h"
#include "bus/base/grow.h"

#include <stdlib.h>

/* The nominations to one slot. */
struct room {
    uint32_t slot;
    struct kb_link nominations;
};

struct kb_promises {
    struct kb_link nominations;
    size_t n;
    struct kb_map rooms; /* slot → struct room */
    uint64_t version;
    struct kb_budgets budgets;
    struct kb_overruled *overruled; /* in the decision under way */
    uint32_t overruled_n, overruled_cap;
    struct run *run; /* the post_filter under way */
};

struct kb_promises *kb__promises_new(void)
{
    struct kb_promises *p = calloc(1, sizeof(*p));
    KB_ASSERT(p != NULL);
    kb_list_init(&p->nominations);
    return p;
}

void kb__promises_destroy(struct kb_promises **p_p)
{
    struct kb_promises *p = *p_p;
    if (p == NULL)
        return;
    struct room *room;
    for (size_t i = 0; kb_map_next(&p->rooms, &i, NULL, (void **)&room);)
        free(room);
    kb_map_finish(&p->rooms);
    kb_budgets_finish(&p->budgets);
    free(p->overruled);
    free(p);
    *p_p = NULL;
}

uint64_t kb_core_promises(const struct kb_core *core)
{
    return kb__core_promises(core)->version;
}

void kb_core_promises_changed(struct kb_core *core)
{
    kb__core_promises(core)->version++;
}

void kb_core_budget_put(struct kb_core *core, kb_str ns, kb_str name, kb_val budget)
{
    struct kb_promises *p = kb__core_promises(core);
    kb_budgets_put(&p->budgets, kb_core_columns(core)->intern, ns, name, budget);
    p->version++;
}

bool kb_core_overruled(const struct kb_core *core)
{
    return kb__core_promises(core)->overruled_n > 0;
}

/* ---- nominations ---- */

static kb_str slot_key(const uint32_t *slot)
{
    return kb_str_n((const char *)slot, sizeof(*slot));
}

static struct room *room_at(const struct kb_promises *p, uint32_t slot)
{
    return kb_map_get(&p->rooms, slot_key(&slot));
}

static struct room *make_room(struct kb_promises *p, uint32_t slot)
{
    struct room *room = room_at(p, slot);
    if (room != NULL)
        return room;
    room = calloc(1, sizeof(*room));
    KB_ASSERT(room != NULL);
    room->slot = slot;
    kb_list_init(&room->nominations);
    kb_map_put(&p->rooms, slot_key(&slot), room);
    return room;
}

void kb_core_denominate(struct kb_core *core, struct kb_nomination *n)
{
    struct kb_promises *p = kb__core_promises(core);
    if (!n->on)
        return;
    struct room *room = room_at(p, n->ghost.slot);
    kb_list_remove(&n->link);
    kb_list_remove(&n->node_link);
    if (kb_list_empty(&room->nominations)) {
        kb_map_del(&p->rooms, slot_key(&room->slot));
        free(room);
    }
    kb_core_spec_release(core, &n->ghost.spec);
    n->on = false;
    p->n--;
    p->version++;
}

void kb_core_nominate(struct kb_core *core, struct kb_nomination *n, struct kb_podspec *spec,
                      uint32_t slot, const struct kb_policy_queued *who)
{
    struct kb_promises *p = kb__core_promises(core);
    kb_core_denominate(core, n);
    spec->refs++;
    n->ghost = (struct kb_core_pod){.spec = spec, .slot = slot, .priority = who->priority};
    n->id = who->id;
    n->on = true;
    kb_list_push(&p->nominations, &n->link);
    kb_list_push(&make_room(p, slot)->nominations, &n->node_link);
    p->n++;
    p->version++;
}

struct kb_nomination *kb_core_nominated(const struct kb_core *core, uint32_t slot,
                                        const struct kb_nomination *after)
{
    const struct kb_promises *p = kb__core_promises(core);
    const struct room *room = p->n > 0 ? room_at(p, slot) : NULL;
    if (room == NULL)
        return NULL;
    struct kb_link *next = after ? after->node_link.next : room->nominations.next;
    return next == &room->nominations ? NULL : KB_CONTAINER(next, struct kb_nomination, node_link);
}

/* ---- pods that are moved in thought ---- */

static int32_t priority_of(const struct kb_link *link)
{
    return KB_CONTAINER(link, const struct kb_core_pod, node_link)->priority;
}

static void put_on(struct kb_core *core, struct kb_core_pod *pod)
{
    kb_columns_pod_add(kb_core_columns(core), pod->slot, &pod->spec->pod, pod->gpus, pod->priority,
                       &pod->node_link);
}

static void take_off(struct kb_core *core, struct kb_core_pod *pod)
{
    kb_columns_pod_del(kb_core_columns(core), pod->slot, &pod->spec->pod, pod->gpus, pod->priority,
                       &pod->node_link, priority_of);
}

/* Pods nominated to the slot that come before this one: on it, or (put false) off again. */
static uint32_t ghosts(struct kb_core *core, uint32_t slot, const struct kb_policy_queued *who,
                       bool put)
{
    uint32_t found = 0;
    for (struct kb_nomination *n = NULL; (n = kb_core_nominated(core, slot, n)) != NULL;) {
        if (n->id == who->id || n->ghost.priority < who->priority)
            continue;
        if (put)
            put_on(core, &n->ghost);
        else
            take_off(core, &n->ghost);
        found++;
    }
    return found;
}

/* The verdict with them and, should it fit, without: it must fit in both cases, since they may not
 * come after all, and may be what it wants to be near to. */
static uint32_t verdict_among(struct kb_core *core, struct kb_plan *plan, uint32_t slot,
                              const struct kb_policy_queued *who)
{
    uint32_t verdict = 0, n = ghosts(core, slot, who, true);
    if (n > 0) {
        verdict = kb_plan_try(plan, slot);
        ghosts(core, slot, who, false);
    }
    return verdict ? verdict : kb_plan_try(plan, slot);
}

/* ---- decisions ---- */

static bool listed(const struct kb_promises *p, uint32_t slot)
{
    for (uint32_t i = 0; i < p->overruled_n; i++)
        if (p->overruled[i].slot == slot)
            return true;
    return false;
}

static void list(struct kb_promises *p, uint32_t slot, uint32_t verdict)
{
    KB_GROW(p->overruled, p->overruled_n, p->overruled_cap, 16);
    p->overruled[p->overruled_n++] = (struct kb_overruled){slot, verdict};
}

/* Where the pod would fit, were it not for others that are nominated there. */
static void overrule(struct kb_core *core, struct kb_podspec *spec, struct kb_plan *plan,
                     const struct kb_policy_queued *who)
{
    struct kb_promises *p = kb__core_promises(core);
    KB_LIST_EACH(it, &p->nominations)
    {
        const struct kb_nomination *n = KB_CONTAINER(it, struct kb_nomination, link);
        uint32_t slot = n->ghost.slot;
        if (n->id == who->id || n->ghost.priority < who->priority ||
            kb_plan_verdict(plan, slot) != 0 || listed(p, slot))
            continue;
        kb_columns_pretend(kb_core_columns(core), true);
        uint32_t verdict = verdict_among(core, plan, slot, who);
        kb_columns_pretend(kb_core_columns(core), false);
        if (verdict != 0)
            list(p, slot, verdict);
    }
    if (p->overruled_n == 0)
        return;
    kb_plan_overrule(kb__core_plan(core, spec), p->overruled, p->overruled_n);
}

static bool takes(const struct kb_plan *plan, uint32_t slot)
{
    return slot != UINT32_MAX && kb_plan_verdict(plan, slot) == 0;
}

bool kb_core_decide_for(struct kb_core *core, struct kb_podspec *spec,
                        const struct kb_policy_queued *who, const struct kb_nomination *own,
                        uint32_t suggested, uint32_t *ret_slot)
{
    struct kb_promises *p = kb__core_promises(core);
    p->overruled_n = 0;
    if (p->n == 0 && suggested == UINT32_MAX)
        return kb_core_decide(core, spec, ret_slot);
    struct kb_plan *plan = kb__core_plan(core, spec);
    if (kb_plan_fits_any(plan))
        overrule(core, spec, plan, who);
    plan = kb__core_plan(core, spec);
    if (!kb_plan_fits_any(plan))
        return false;
    uint32_t promised = own && own->on ? own->ghost.slot : UINT32_MAX;
    if (takes(plan, promised) || takes(plan, suggested)) {
        *ret_slot = takes(plan, promised) ? promised : suggested;
        return true;
    }
    return kb_core_decide(core, spec, ret_slot);
}

void kb_core_decided(struct kb_core *core, struct kb_podspec *spec)
{
    struct kb_promises *p = kb__core_promises(core);
    if (p->overruled_n == 0)
        return;
    if (spec->plan != NULL)
        kb_plan_overrule(spec->plan, NULL, 0);
    p->overruled_n = 0;
}

/* ---- post_filter ---- */

struct run {
    struct kb_core *core;
    const struct kb_profile *profile;
    struct kb_plan *plan;
    const struct kb_policy_queued *who;
    struct kb_preemption *result;
    struct kb_arena arena; /* lists of pods that policies hold */
    struct kb_map away;    /* taken off in thought: address of the pod → the pod */
    struct kb_histogram reasons;
    bool counted;
    uint32_t unfit; /* the last verdict that was not 0 */
    struct kb_buf said;
};

static struct run *run_of(const struct kb_policy_cycle *cycle)
{
    struct run *run = kb__core_promises(cycle->host->core)->run;
    KB_ASSERT(run != NULL);
    return run;
}

static uint32_t ask_verdict(struct kb_policy_cycle *cycle, uint32_t node)
{
    struct run *run = run_of(cycle);
    if (kb_plan_refused_by(run->plan) != UINT32_MAX)
        return KB_POLICY_UNRESOLVABLE | 1;
    return kb_plan_verdict(run->plan, node) & 0xffffffu;
}

static uint32_t ask_pods(struct kb_policy_cycle *cycle, uint32_t node,
                         const struct kb_policy_placed *const **ret_pods)
{
    struct run *run = run_of(cycle);
    const struct kb_node_rec *rec = &kb_core_columns(run->core)->rec[node];
    const struct kb_policy_placed **pods =
        kb_arena_alloc(&run->arena, (rec->pods_n + 1) * sizeof(struct kb_policy_placed *));
    uint32_t n = 0;
    KB_LIST_EACH(it, &rec->pods)
    pods[n++] = &KB_CONTAINER(it, struct kb_core_pod, node_link)->view;
    *ret_pods = pods;
    return n;
}

static struct kb_core_pod *pod_of(const struct kb_policy_placed *view)
{
    return (struct kb_core_pod *)(uintptr_t)KB_CONTAINER(view, const struct kb_core_pod, view);
}

static kb_str address(struct kb_core_pod *const *pod)
{
    return kb_str_n((const char *)pod, sizeof(*pod));
}

static void do_remove(struct kb_policy_cycle *cycle, const struct kb_policy_placed *view)
{
    struct run *run = run_of(cycle);
    struct kb_core_pod *pod = pod_of(view);
    if (kb_map_get(&run->away, address(&pod)) != NULL)
        return;
    kb_map_put(&run->away, address(&pod), pod);
    take_off(run->core, pod);
}

static void do_put_back(struct kb_policy_cycle *cycle, const struct kb_policy_placed *view)
{
    struct run *run = run_of(cycle);
    struct kb_core_pod *pod = pod_of(view);
    if (kb_map_del(&run->away, address(&pod)) != NULL)
        put_on(run->core, pod);
}

static bool ask_fits(struct kb_policy_cycle *cycle, uint32_t node)
{
    struct run *run = run_of(cycle);
    uint32_t verdict = verdict_among(run->core, run->plan, node, run->who);
    run->unfit = verdict ? verdict : run->unfit;
    return verdict == 0;
}

static void ask_violations(struct kb_policy_cycle *cycle,
                           const struct kb_policy_placed *const *pods, uint32_t n,
                           bool *ret_violates)
{
    kb_budgets_violations(&kb__core_promises(cycle->host->core)->budgets, pods, n, ret_violates);
}

static void do_count(struct kb_policy_cycle *cycle, const char *reason, uint32_t nodes)
{
    struct run *run = run_of(cycle);
    run->counted = true;
    run->reasons.weight = nodes;
    if (nodes > 0)
        kb_histogram_add(&run->reasons, reason);
}

static void do_count_unfit(struct kb_policy_cycle *cycle)
{
    struct run *run = run_of(cycle);
    uint32_t verdict = kb_plan_verdict_of(run->plan, run->unfit);
    if (verdict == 0 || verdict == KB_PLAN_ABSENT)
        return;
    uint32_t by = KB_PLAN_POLICY(verdict);
    struct kb_policy_cycle *refused = kb_plan_cycle(run->plan, by);
    run->counted = true;
    run->reasons.weight = 1;
    KB_ASK(run->profile, by, KB_GUARD_REASON,
           refused->self->reason(refused, KB_PLAN_CODE(verdict), kb_histogram_add, &run->reasons));
}

static void do_say(struct kb_policy_cycle *cycle, const char *text)
{
    struct kb_buf *said = &run_of(cycle)->said;
    kb_buf_puts(said, said->n ? ", " : "");
    kb_buf_puts(said, text);
}

static void do_evict(struct kb_policy_cycle *cycle, const struct kb_policy_placed *view)
{
    struct kb_preemption *r = run_of(cycle)->result;
    KB_GROW(r->victims, r->victims_n, r->victims_cap, 16);
    r->victims[r->victims_n++] = pod_of(view);
}

static void end_run(struct run *run)
{
    struct kb_core_pod *pod;
    for (size_t i = 0; kb_map_next(&run->away, &i, NULL, (void **)&pod);)
        put_on(run->core, pod); /* the policy forgot it */
    kb_map_finish(&run->away);
    kb_arena_finish(&run->arena);
    kb_histogram_finish(&run->reasons);
    kb_buf_finish(&run->said);
}

/* The policy's words, if it had any. */
static void write_words(struct run *run, struct kb_buf *out)
{
    if (!run->counted && run->said.n == 0)
        return;
    kb_buf_puts(out, out->n ? ", " : "");
    kb_buf_add(out, run->said.p, run->said.n);
    if (!run->counted)
        return;
    kb_buf_printf(out, "%spreemption: 0/%u nodes are available:", run->said.n ? " " : "",
                  kb_core_columns(run->core)->view.present_n);
    kb_histogram_write(&run->reasons, out);
}

/* What post_filter is about. */
struct ask {
    const struct kb_profile *profile;
    const struct kb_policy_queued *who;
    const struct kb_nomination *own;
    struct kb_preemption *result;
};

/* One policy. True: room was found. */
static bool ask_policy(struct kb_core *core, struct kb_plan *plan, uint32_t policy, struct ask *ask)
{
    struct kb_preemption *result = ask->result;
    struct kb_promises *promises = kb__core_promises(core);
    struct kb_policy_preemption api = {.size = sizeof(api),
                                       .nominated = ask->own && ask->own->on ? ask->own->ghost.slot
                                                                             : UINT32_MAX,
                                       .offset = kb_rand_next(kb__core_rand(core)),
                                       .verdict = ask_verdict,
                                       .pods = ask_pods,
                                       .remove = do_remove,
                                       .put_back = do_put_back,
                                       .fits = ask_fits,
                                       .violations = ask_violations,
                                       .count = do_count,
                                       .count_unfit = do_count_unfit,
                                       .say = do_say,
                                       .evict = do_evict};
    struct run run = {
        .core = core, .profile = ask->profile, .plan = plan, .who = ask->who, .result = result};
    struct kb_policy_cycle *cycle = kb_plan_cycle(plan, policy);
    uint32_t slot = api.nominated;
    promises->run = &run;
    cycle->who = ask->who;
    cycle->preemption = &api;
    kb_columns_pretend(kb_core_columns(core), true);
    enum kb_policy_status s = KB_POLICY_ERROR;
    KB_ASK(ask->profile, policy, KB_POINT_POST_FILTER, s = cycle->self->post_filter(cycle, &slot));
    result->found = s == KB_POLICY_OK && slot < kb_core_columns(core)->view.count;
    result->slot = slot;
    result->gives_up |= !result->found && slot == UINT32_MAX && api.nominated != UINT32_MAX;
    if (!result->found)
        write_words(&run, &result->text);
    cycle->who = NULL;
    cycle->preemption = NULL;
    end_run(&run);
    kb_columns_pretend(kb_core_columns(core), false);
    promises->run = NULL;
    return result->found;
}

void kb_core_post_filter(struct kb_core *core, struct kb_podspec *spec,
                         const struct kb_policy_queued *who, const struct kb_nomination *own,
                         struct kb_preemption *result)
{
    const struct kb_profile *profile = kb__core_profile(core, spec->profile);
    result->found = result->gives_up = false;
    result->victims_n = 0;
    kb_buf_clear(&result->text);
    if (!profile->has_post_filter || kb_core_nodes(core) == 0)
        return;
    struct kb_plan *plan = kb__core_plan(core, spec);
    struct ask ask = {profile, who, own, result};
    for (uint32_t i = 0; i < profile->n; i++) {
        if (!profile->at[i].policy->post_filter)
            continue;
        result->victims_n = 0;
        if (ask_policy(core, plan, i, &ask))
            break;
    }
    if (result->found)
        kb_buf_clear(&result->text);
    else
        result->victims_n = 0;
}

bool kb_core_may_preempt(struct kb_core *core, struct kb_podspec *spec, int32_t priority)
{
    const struct kb_policy_nodes *nodes = &kb_core_columns(core)->view;
    bool lower = false;
    if (!kb__core_profile(core, spec->profile)->has_post_filter)
        return false;
    for (uint32_t i = 0; i < nodes->count && !lower; i++)
        lower = nodes->lowest_priority[i] < priority;
    if (!lower)
        return false;
    const struct kb_plan *plan = kb__core_plan(core, spec);
    for (uint32_t i = 0; i < nodes->count; i++)
        if (nodes->present[i] && nodes->lowest_priority[i] < priority &&
            !(kb_plan_verdict(plan, i) & KB_POLICY_UNRESOLVABLE))
            return kb_plan_refused_by(plan) == UINT32_MAX;
    return false;
}

void kb_preemption_finish(struct kb_preemption *p)
{
    free(p->victims);
    kb_buf_finish(&p->text);
    *p = (struct kb_preemption){0};
}
