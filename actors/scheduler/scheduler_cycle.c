/* scheduler_cycle.c - pods from the queue to their nodes.
 *
 *   decided --> place --> (HELD) --> go_on --> bind --> bound
 *      |          |          |         |         |
 *      no node    +----------+---------+---------+--> refused, taken back: the queue again */
#include "actors/scheduler/core/outside.h"
#include "actors/scheduler/core/batch.h"
#include "actors/scheduler/objects.h"
#include "actors/scheduler/scheduler_impl.h"
#include "bus/base/check.h"
#include "bus/model/key.h"

#include <stdio.h>

/* ---- nowhere to go ---- */

/* Does the last diagnosis hold for this pod, word for word? */
static bool known(const struct kb_sched *s, const struct kb_sched_pod *pod)
{
    const struct kb_sched_diagnosis *d = &s->diagnosis;
    return d->spec == pod->wait.spec && pod->nomination == NULL && pod->wait.q.group == 0 &&
           d->generation == kb_core_columns(s->core)->view.generation &&
           d->promises == kb_core_promises(s->core) && d->priority == pod->wait.q.priority &&
           d->never_preempts == pod->wait.q.never_preempts;
}

/* Why no node takes it, and what preemption made of that. */
static const struct kb_sched_diagnosis *diagnose(struct kb_sched *s, struct kb_sched_pod *pod,
                                                 struct kb_sched_out *out)
{
    struct kb_sched_diagnosis *d = &s->diagnosis;
    struct kb_podspec *spec = pod->wait.spec;
    bool overruled = kb_core_overruled(s->core), nominated = pod->nomination != NULL;
    if (!overruled && known(s, pod))
        return d;
    kb_buf_clear(&d->text);
    d->events = kb_core_diagnose(s->core, spec, &d->text);
    kb__sched_preempt(s, pod, out);
    if (s->preemption.text.n > 0)
        kb_buf_printf(&d->text, " %s", s->preemption.text.p);
    if (s->preemption.found || overruled)
        d->events |= KB_POLICY_ON_POD_DELETE;
    kb_core_spec_release(s->core, &d->spec);
    if (s->preemption.found || overruled || nominated || pod->wait.q.group != 0)
        return d; /* for this pod alone */
    spec->refs++;
    d->spec = spec;
    d->generation = kb_core_columns(s->core)->view.generation;
    d->promises = kb_core_promises(s->core);
    d->priority = pod->wait.q.priority;
    d->never_preempts = pod->wait.q.never_preempts;
    return d;
}

/* Write it into the pod's condition, and an event when it is news. */
static void tell_why(struct kb_sched *s, struct kb_sched_pod *pod, const char *why,
                     struct kb_sched_out *out)
{
    struct kb_sched_condition condition = {false, "Unschedulable", why, s->wall_us};
    struct kb_sched_edit edit = {.condition = &condition, .nominated = kb__sched_nominated(s, pod)};
    uint64_t hash = kb_hash64(why, strlen(why));
    kb_val root = kb_doc_root(pod->doc);
    kb_str was = kb_val_str(kb_val_get(kb_val_get(root, "status"), "nominatedNodeName"));
    if (!kb__sched_has_condition(root, &condition) ||
        (edit.nominated && !kb_str_is(was, edit.nominated)))
        kb__sched_wish(out, KB_SCHED_CONDITION, pod)->doc = kb__sched_pod(root, &edit);
    if (pod->told != hash)
        kb__sched_wish_event(s, pod, "Warning", "FailedScheduling", why, out);
    pod->told = hash;
}

/* That, and back to the queue until one of `events`. */
static void unschedulable(struct kb_sched *s, struct kb_sched_pod *pod, const char *why,
                          uint32_t events, struct kb_sched_out *out)
{
    tell_why(s, pod, why, out);
    kb_pending_failed(s->pending, &pod->wait, events, s->now);
}

static void no_node(struct kb_sched *s, struct kb_sched_pod *pod, struct kb_sched_out *out)
{
    const struct kb_sched_diagnosis *d = diagnose(s, pod, out);
    unschedulable(s, pod, d->text.p, d->events, out);
}

/* A policy took back what had been decided. */
static void refused(struct kb_sched *s, struct kb_sched_pod *pod, struct kb_sched_out *out)
{
    const struct kb_refusal *why = kb_cycle_refusal(s->core);
    KB_AUTO(kb_auto_free) char *text = kb_strf("0/1 nodes are available: 1 %s.", why->text.p);
    uint32_t events = why->events;
    kb__sched_take_back(s, pod);
    unschedulable(s, pod, text, events, out);
}

/* ---- a node for it ---- */

/* To the node that it is assumed on. */
static void bind(struct kb_sched *s, struct kb_sched_pod *pod, struct kb_sched_out *out)
{
    struct kb_sched_condition condition = {true, "", "", s->wall_us};
    struct kb_sched_edit edit = {.node = kb_core_node_name(s->core, pod->core.slot),
                                 .gpus = pod->core.gpus,
                                 .annotations = kb_cycle_annotations(pod->wait.cycle),
                                 .condition = &condition};
    pod->attempt = ++s->attempt;
    pod->tried_rev = pod->rev;
    struct kb_sched_wish *w = kb__sched_wish(out, KB_SCHED_BIND, pod);
    w->attempt = pod->attempt;
    w->doc = kb__sched_pod(kb_doc_root(pod->doc), &edit);
}

static void assume(struct kb_sched *s, struct kb_sched_pod *pod, uint32_t slot)
{
    kb__sched_unpromise(s, pod);
    pod->core.gpus = kb_core_assign(s->core, pod->wait.spec, slot);
    kb_core_place(s->core, &pod->core, pod->wait.spec, slot, pod->wait.q.priority);
    kb_pending_event(s->pending, KB_POLICY_ON_POD_ADD, pod->core.slot);
    pod->state = POD_ASSUMED;
    s->counts.assumed++;
}

/* A policy has somebody else bind it: what that one needs to know is written. */
static void left_to_others(struct kb_sched_pod *pod, struct kb_sched_out *out)
{
    struct kb_sched_edit edit = {.annotations = kb_cycle_annotations(pod->wait.cycle)};
    pod->state = POD_HELD;
    if (kb_val_present(edit.annotations))
        kb__sched_wish(out, KB_SCHED_CONDITION, pod)->doc =
            kb__sched_pod(kb_doc_root(pod->doc), &edit);
}

/* Permits are given: what pre_bind wants, and then the binding. */
static void go_on(struct kb_sched *s, struct kb_sched_pod *pod, struct kb_sched_out *out)
{
    enum kb_policy_status ready = kb_cycle_prepare(s->core, &pod->wait.cycle, s->now);
    pod->state = ready == KB_POLICY_WAIT ? POD_HELD : POD_ASSUMED;
    if (ready == KB_POLICY_UNSCHEDULABLE)
        refused(s, pod, out);
    else if (ready == KB_POLICY_OK && kb_cycle_bind(s->core, pod->wait.cycle, s->now))
        left_to_others(pod, out);
    else if (ready == KB_POLICY_OK)
        bind(s, pod, out);
}

static void place(struct kb_sched *s, struct kb_sched_pod *pod, uint32_t slot,
                  struct kb_sched_out *out)
{
    assume(s, pod, slot);
    enum kb_policy_status s_ = kb_cycle_begin(s->core, &pod->wait, slot, s->now, pod);
    if (s_ == KB_POLICY_UNSCHEDULABLE)
        refused(s, pod, out);
    else if (s_ == KB_POLICY_WAIT)
        pod->state = POD_HELD;
    else
        go_on(s, pod, out);
}

/* Those that waited for permits and the like. */
static void resume(struct kb_sched *s, struct kb_sched_pod *pod, enum kb_policy_status status,
                   struct kb_sched_out *out)
{
    if (status != KB_POLICY_OK) {
        refused(s, pod, out);
    } else if (!kb_core_columns(s->core)->view.present[pod->core.slot]) {
        kb__sched_take_back(s, pod);
        kb_pending_retry(s->pending, &pod->wait, false, s->now);
    } else {
        go_on(s, pod, out);
    }
}

/* How the last binding went is unknown: the same once more finds out, unless it makes no sense now.
 */
static bool again(struct kb_sched *s, struct kb_sched_pod *pod)
{
    if (pod->state != POD_ASSUMED)
        return false;
    if (pod->core.spec == pod->wait.spec && kb_core_columns(s->core)->view.present[pod->core.slot])
        return true;
    kb__sched_take_back(s, pod);
    return false;
}

static void decide(struct kb_sched *s, struct kb_sched_pod *pod, uint32_t suggested,
                   struct kb_sched_out *out)
{
    struct kb_podspec *spec = pod->wait.spec;
    uint32_t slot;
    if (pod->readmit) {
        kb__sched_readmit(s, pod);
        return;
    }
    if (again(s, pod)) {
        bind(s, pod, out);
        return;
    }
    bool found = kb_core_decide_for(s->core, spec, &pod->wait.q, pod->nomination, suggested, &slot);
    if (found)
        kb_core_used(spec);
    else if (kb_core_waits(spec))
        kb_list_push(&s->parked, &pod->parked);
    else
        no_node(s, pod, out);
    kb_core_decided(s->core, spec);
    if (found)
        place(s, pod, slot, out);
}

/* Whose waiting has ended comes first: what he gives back is there for the next one to decide. */
static bool resume_next(struct kb_sched *s, struct kb_sched_out *out)
{
    enum kb_policy_status status;
    uint32_t group;
    struct kb_cycle *c = kb_cycle_next(s->core, s->now, &status);
    if (c != NULL)
        resume(s, kb_cycle_owner(c), status, out);
    while (kb_group_sent_back(s->core, &group))
        kb_pending_send_back(s->pending, group, s->now);
    return c != NULL;
}

/* The next pods together: those with a suggestion first, lest one that was left out takes a node
 * that another one is to have. Returns how many. */
static size_t decide_batch(struct kb_sched *s, size_t most, struct kb_sched_out *out)
{
    struct kb_waiting *pods[KB_BATCH_PODS] = {0};
    uint32_t slots[KB_BATCH_PODS];
    size_t n = 0;
    most = most < KB_BATCH_PODS ? most : KB_BATCH_PODS;
    while (n < most && (pods[n] = kb_pending_pop(s->pending, s->now)) != NULL)
        n++;
    kb_core_suggest(s->core, pods, n, s->now, slots);
    for (size_t i = 0; i < 2 * n; i++) {
        bool suggested = slots[i % n] != UINT32_MAX;
        if (suggested != (i < n))
            continue;
        decide(s, KB_CONTAINER(pods[i % n], struct kb_sched_pod, wait), slots[i % n], out);
        while (resume_next(s, out))
            ;
    }
    return n;
}

static size_t decide_one(struct kb_sched *s, struct kb_sched_out *out)
{
    struct kb_waiting *w = kb_pending_pop(s->pending, s->now);
    if (w == NULL)
        return 0;
    decide(s, KB_CONTAINER(w, struct kb_sched_pod, wait), UINT32_MAX, out);
    return 1;
}

size_t kb_sched_decide(struct kb_sched *s, size_t most, struct kb_sched_out *out)
{
    size_t n = 0, decided = 1, from = out->n;
    bool batches = kb_core_batches(s->core);
    while (n < most && decided > 0) {
        if (resume_next(s, out)) {
            n++;
            continue;
        }
        decided = batches ? decide_batch(s, most - n, out) : decide_one(s, out);
        s->counts.decided += decided;
        n += decided;
    }
    kb__sched_told(s, &(struct kb_sched_input){
                          .kind = KB_SCHED_IN_DECIDE, .most = most, .out = out, .from = from});
    return n;
}

/* ---- services outside ---- */

bool kb_sched_next_ask(struct kb_sched *s, struct kb_outside_ask *ret)
{
    if (!kb_outsides_next(kb_core_outsides(s->core), kb_core_columns(s->core), ret))
        return false;
    kb__sched_told(s, &(struct kb_sched_input){.kind = KB_SCHED_IN_ASK});
    return true;
}

static void take_answer(struct kb_sched *s, uint64_t id, kb_val answer, const struct kb_err *why,
                        struct kb_sched_out *out)
{
    struct kb_err err = why ? *why : (struct kb_err){0};
    int rc = 0;
    struct kb_podspec *spec = kb_outsides_answer(kb_core_outsides(s->core),
                                                 kb_core_columns(s->core), id, answer, &rc, &err);
    if (spec == NULL)
        return;
    KB_LIST_EACH_SAFE(it, &s->parked)
    {
        struct kb_sched_pod *pod = KB_CONTAINER(it, struct kb_sched_pod, parked);
        if (pod->wait.spec != spec)
            continue;
        kb_list_remove(&pod->parked);
        if (rc < 0)
            tell_why(s, pod, err.text, out);
        kb_pending_retry(s->pending, &pod->wait, rc == 0, s->now);
    }
    kb__sched_happened(s, UINT32_MAX,
                       UINT32_MAX); /* those that found no place by an older answer */
}

void kb_sched_answer(struct kb_sched *s, uint64_t id, kb_val answer, const struct kb_err *why,
                     struct kb_sched_out *out)
{
    size_t from = out->n;
    take_answer(s, id, answer, why, out);
    kb__sched_told(s, &(struct kb_sched_input){.kind = KB_SCHED_IN_ANSWER,
                                               .attempt = id,
                                               .doc = answer,
                                               .rc = why ? -why->code : 0,
                                               .why = why ? why->text : NULL,
                                               .out = out,
                                               .from = from});
}

static void bound(struct kb_sched *s, struct kb_sched_pod *pod, int64_t rev,
                  struct kb_sched_out *out)
{
    char text[1024];
    struct kb_key key;
    if (pod->state == POD_ASSUMED) {
        s->counts.assumed--;
        s->counts.placed++;
        pod->state = POD_PLACED;
        kb__sched_arrived(s, pod);
        pod->rev = pod->bound_rev = rev;
        pod->bound_ms = s->now;
    }
    s->counts.bound++;
    if (kb_key_parse(kb_str_of(pod->key), &key, NULL) < 0)
        return;
    snprintf(text, sizeof(text), "Successfully assigned " KB_STR_FMT "/" KB_STR_FMT " to %s",
             KB_STR_ARG(key.ns), KB_STR_ARG(key.name), kb_core_node_name(s->core, pod->core.slot));
    kb__sched_wish_event(s, pod, "Normal", "Scheduled", text, out);
}

static void bind_done(struct kb_sched *s, kb_str key, uint64_t attempt, int rc, int64_t rev,
                      struct kb_sched_out *out)
{
    struct kb_sched_pod *pod = kb_map_get(&s->pods, key);
    if (pod == NULL || pod->attempt != attempt)
        return;
    pod->attempt = 0;
    if (rc == 0) {
        bound(s, pod, rev, out);
        return;
    }
    s->counts.conflicts += rc == -KB_ECONFLICT;
    if (pod->state != POD_ASSUMED)
        return; /* the view has told meanwhile where it is */
    if (rc == -KB_ECONFLICT && pod->rev == pod->tried_rev) {
        /* It changed, and we do not know how: perhaps it is bound, even by an attempt of ours whose
         * answer was lost. It keeps its place until the view tells. */
        pod->outdated = true;
        return;
    }
    bool differs = pod->core.spec != pod->wait.spec;
    if ((rc == -KB_ECONFLICT && differs) || rc == -KB_ENOTFOUND)
        kb__sched_take_back(s, pod);
    kb_pending_retry(s->pending, &pod->wait, rc == -KB_ECONFLICT, s->now);
}

void kb_sched_bind_done(struct kb_sched *s, kb_str key, uint64_t attempt, int rc, int64_t rev,
                        struct kb_sched_out *out)
{
    size_t from = out->n;
    bind_done(s, key, attempt, rc, rev, out);
    kb__sched_told(s, &(struct kb_sched_input){.kind = KB_SCHED_IN_BIND_DONE,
                                               .key = key,
                                               .attempt = attempt,
                                               .rc = rc,
                                               .rev = rev,
                                               .out = out,
                                               .from = from});
}

void kb_sched_condition_done(struct kb_sched *s, kb_str key, int rc)
{
    struct kb_sched_pod *pod = kb_map_get(&s->pods, key);
    kb__sched_told(
        s, &(struct kb_sched_input){.kind = KB_SCHED_IN_CONDITION_DONE, .key = key, .rc = rc});
    if (rc == 0 || pod == NULL || pod->wait.where != KB_UNSCHEDULABLE)
        return;
    kb_pending_remove(s->pending, &pod->wait);
    kb_pending_retry(s->pending, &pod->wait, false, s->now);
}
