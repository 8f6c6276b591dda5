#include "actors/scheduler/objects.h"
#include "actors/scheduler/scheduler_impl.h"
#include "bus/base/check.h"
#include "bus/base/clock.h"
#include "bus/base/grow.h"
#include "bus/model/key.h"

#include <stdio.h>
#include <stdlib.h>

/* How long what the view shows may be from before our binding. Afterwards the store was restored
 * from a backup, and its revisions went back. */
enum { VIEW_BEHIND_MS = 30000 };

/* ---- wishes ---- */

struct kb_sched_wish *kb__sched_wish(struct kb_sched_out *out, enum kb_sched_wish_kind kind,
                                     const struct kb_sched_pod *pod)
{
    KB_GROW(out->wishes, out->n, out->cap, 64);
    struct kb_sched_wish *w = &out->wishes[out->n++];
    *w = (struct kb_sched_wish){kind, kb_str_dup(kb_str_of(pod->key)), pod->rev, 0, NULL};
    return w;
}

void kb_sched_out_clear(struct kb_sched_out *out)
{
    for (size_t i = 0; i < out->n; i++) {
        free(out->wishes[i].key);
        kb_doc_destroy(&out->wishes[i].doc);
    }
    out->n = 0;
}

void kb_sched_out_finish(struct kb_sched_out *out)
{
    kb_sched_out_clear(out);
    free(out->wishes);
    *out = (struct kb_sched_out){0};
}

void kb__sched_wish_event(struct kb_sched *s, const struct kb_sched_pod *pod, const char *type,
                          const char *reason, const char *message, struct kb_sched_out *out)
{
    struct kb_key key;
    if (kb_key_parse(kb_str_of(pod->key), &key, NULL) < 0)
        return;
    struct kb_sched_about about = {key.ns,      key.name, kb_str_of(pod->uid), pod->rev, s->wall_us,
                                   ++s->serial, NULL};
    kb__sched_wish(out, KB_SCHED_EVENT, pod)->doc = kb__sched_event(&about, type, reason, message);
}

/* ---- life ---- */

int kb_sched_new_with(uint64_t seed, const char *name, const struct kb_profile_entry *entries,
                      size_t n, struct kb_sched **ret, struct kb_err *err)
{
    struct kb_sched *s = calloc(1, sizeof(*s));
    uint32_t profile;
    KB_ASSERT(s != NULL);
    s->core = kb_sched_core_new(seed);
    int rc = kb_core_add_profile(s->core, name, entries, n, &profile, err);
    if (rc < 0) {
        kb_sched_core_destroy(&s->core);
        free(s);
        return rc;
    }
    s->pending = kb_pending_new(s->core);
    kb_list_init(&s->claims);
    kb_list_init(&s->parked);
    *ret = s;
    return 0;
}

struct kb_sched *kb_sched_new(uint64_t seed)
{
    struct kb_sched *s = NULL;
    struct kb_err err = {0};
    int rc = kb_sched_new_with(seed, "default-scheduler", kb_profile_default, kb_profile_default_n,
                               &s, &err);
    KB_ASSERT(rc == 0);
    return s;
}

static void forget(struct kb_sched *s, struct kb_sched_pod *pod)
{
    kb_list_remove(&pod->parked);
    kb_pending_remove(s->pending, &pod->wait);
    kb__sched_unpromise(s, pod);
    kb_cycle_undo(s->core, &pod->wait.cycle);
    kb_group_leave(s->core, &pod->wait);
    kb_core_spec_release(s->core, &pod->wait.spec);
    kb_core_lift(s->core, &pod->core);
    kb_doc_destroy(&pod->doc);
    free(pod->key);
    free(pod);
}

void kb_sched_destroy(struct kb_sched **s_p)
{
    struct kb_sched *s = *s_p;
    if (s == NULL)
        return;
    struct kb_sched_pod *pod;
    for (size_t i = 0; kb_map_next(&s->pods, &i, NULL, (void **)&pod);)
        forget(s, pod);
    kb_map_finish(&s->pods);
    kb_core_spec_release(s->core, &s->diagnosis.spec);
    kb_buf_finish(&s->diagnosis.text);
    kb_preemption_finish(&s->preemption);
    kb_pending_destroy(&s->pending);
    kb_sched_core_destroy(&s->core);
    free(s);
    *s_p = NULL;
}

struct kb_core *kb_sched_core(struct kb_sched *s)
{
    return s->core;
}

void kb_sched_share(struct kb_sched *s, uint32_t share, uint32_t shares)
{
    s->share = share;
    s->shares = shares;
    kb__sched_told(
        s, &(struct kb_sched_input){.kind = KB_SCHED_IN_SHARE, .attempt = share, .most = shares});
}

void kb_sched_time(struct kb_sched *s, kb_ms now, int64_t wall_us)
{
    s->now = now > s->now ? now : s->now;
    s->wall_us = wall_us;
    kb__sched_told(
        s, &(struct kb_sched_input){.kind = KB_SCHED_IN_TIME, .now = now, .wall_us = wall_us});
}

void kb_sched_tap(struct kb_sched *s, kb_sched_tap_fn *tap, void *user)
{
    s->tap = tap;
    s->tap_user = user;
}

void kb__sched_happened(struct kb_sched *s, uint32_t events, uint32_t slot)
{
    kb_pending_event(s->pending, events, slot);
    if (events != 0)
        kb_cycle_stir(s->core);
}

/* ---- nodes ---- */

void kb_sched_node_put(struct kb_sched *s, kb_str key, kb_val node)
{
    struct kb_key k;
    if (kb_key_parse(key, &k, NULL) < 0)
        return;
    uint32_t events = kb_core_node_put(s->core, k.name, node);
    kb__sched_happened(s, events, kb_columns_find(kb_core_columns(s->core), k.name));
    if (events & KB_POLICY_ON_NODE_ADD)
        kb__sched_claims(s);
    kb__sched_told(s,
                   &(struct kb_sched_input){.kind = KB_SCHED_IN_NODE_PUT, .key = key, .doc = node});
}

void kb_sched_node_del(struct kb_sched *s, kb_str key)
{
    struct kb_key k;
    if (kb_key_parse(key, &k, NULL) < 0)
        return;
    kb__sched_node_lost(s, k.name);
    kb_core_node_del(s->core, k.name);
    kb__sched_told(s, &(struct kb_sched_input){.kind = KB_SCHED_IN_NODE_DEL, .key = key});
}

/* ---- other objects ---- */

const char *const kb_sched_resources[] = {"namespaces",
                                          "services",
                                          "replicationcontrollers",
                                          "replicasets.apps",
                                          "statefulsets.apps",
                                          "persistentvolumes",
                                          "persistentvolumeclaims",
                                          "storageclasses.storage.k8s.io",
                                          "csinodes.storage.k8s.io",
                                          "poddisruptionbudgets.policy",
                                          NULL};

void kb_sched_object_put(struct kb_sched *s, kb_str key, kb_val object)
{
    struct kb_key k;
    if (kb_key_parse(key, &k, NULL) < 0)
        return;
    if (kb_str_is(k.resource, "poddisruptionbudgets.policy"))
        kb_core_budget_put(s->core, k.ns, k.name, object);
    else if (kb_core_object_put(s->core, k.resource, k.ns, k.name, object))
        kb__sched_happened(s, KB_POLICY_ON_OBJECT, UINT32_MAX);
    kb__sched_told(
        s, &(struct kb_sched_input){.kind = KB_SCHED_IN_OBJECT_PUT, .key = key, .doc = object});
}

bool kb_sched_next_write(struct kb_sched *s, struct kb_volume_write *ret)
{
    struct kb_columns *c = kb_core_columns(s->core);
    return kb_volumes_next_write(&c->volumes, c->intern, ret);
}

void kb_sched_write_done(struct kb_sched *s, uint32_t ns, uint32_t claim, int rc)
{
    kb_volumes_written(&kb_core_columns(s->core)->volumes, ns, claim, rc);
}

/* ---- pods come and go ---- */

/* What the scheduler reads of a pod, in one place. */
struct seen {
    kb_str node, uid;
    uint32_t profile; /* UINT32_MAX: another scheduler's */
    int32_t priority;
    uint32_t gates;
    uint32_t gpus; /* set */
    kb_str nominated;
    int64_t started_us;
    bool ended, deleting, never_preempts;
    bool evicted; /* by a scheduler, and on its way out */
};

static int64_t time_of(kb_val val)
{
    char text[KB_TIME_BYTES];
    int64_t us = 0;
    return kb_str_copy(kb_val_str(val), text, sizeof(text)) && kb_time_parse(text, &us) == 0 ? us
                                                                                             : 0;
}

static bool was_preempted(kb_val conditions)
{
    for (struct kb_iter it = kb_iter(conditions); kb_iter_next(&it);)
        if (kb_str_is(kb_val_str(kb_val_get(it.val, "type")), "DisruptionTarget"))
            return kb_str_is(kb_val_str(kb_val_get(it.val, "status")), "True") &&
                   kb_str_is(kb_val_str(kb_val_get(it.val, "reason")), "PreemptionByScheduler");
    return false;
}

static struct seen look(const struct kb_sched *s, kb_val pod)
{
    struct seen seen = {0};
    kb_str scheduler = {0};
    kb_val metadata = kb_val_get(pod, "metadata");
    for (struct kb_iter it = kb_iter(kb_val_get(pod, "spec")); kb_iter_next(&it);) {
        if (kb_str_is(it.key, "nodeName"))
            seen.node = kb_val_str(it.val);
        else if (kb_str_is(it.key, "schedulerName"))
            scheduler = kb_val_str(it.val);
        else if (kb_str_is(it.key, "priority"))
            seen.priority = (int32_t)kb_val_int(it.val, 0);
        else if (kb_str_is(it.key, "schedulingGates"))
            seen.gates = (uint32_t)kb_val_count(it.val);
        else if (kb_str_is(it.key, "preemptionPolicy"))
            seen.never_preempts = kb_str_is(kb_val_str(it.val), "Never");
    }
    kb_str phase = {0};
    kb_val conditions = {0};
    for (struct kb_iter it = kb_iter(kb_val_get(pod, "status")); kb_iter_next(&it);) {
        if (kb_str_is(it.key, "phase"))
            phase = kb_val_str(it.val);
        else if (kb_str_is(it.key, "nominatedNodeName"))
            seen.nominated = kb_val_str(it.val);
        else if (kb_str_is(it.key, "startTime"))
            seen.started_us = time_of(it.val);
        else if (kb_str_is(it.key, "conditions"))
            conditions = it.val;
    }
    seen.gpus = kb_gpu_index_of(pod);
    seen.ended = kb_str_is(phase, "Succeeded") || kb_str_is(phase, "Failed");
    seen.uid = kb_val_str(kb_val_get(metadata, "uid"));
    seen.deleting = kb_val_present(kb_val_get(metadata, "deletionTimestamp"));
    seen.evicted = seen.deleting && was_preempted(conditions);
    seen.profile =
        kb_core_profile(s->core, scheduler.n ? scheduler : kb_str_of("default-scheduler"));
    return seen;
}

void kb__sched_lift(struct kb_sched *s, struct kb_sched_pod *pod)
{
    if (!pod->core.placed)
        return;
    kb_cycle_undo(s->core, &pod->wait.cycle);
    if (pod->state == POD_PLACED)
        s->counts.placed--;
    else
        s->counts.assumed--;
    uint32_t slot = pod->core.slot;
    kb_core_lift(s->core, &pod->core);
    kb__sched_happened(s, KB_POLICY_ON_POD_DELETE, slot);
}

void kb__sched_take_back(struct kb_sched *s, struct kb_sched_pod *pod)
{
    kb__sched_lift(s, pod);
    pod->state = POD_WAITING;
    kb__sched_promise(s, pod);
}

void kb__sched_arrived(struct kb_sched *s, struct kb_sched_pod *pod)
{
    kb_cycle_end(s->core, &pod->wait.cycle);
    kb_core_spec_release(s->core, &pod->wait.spec);
    kb_doc_destroy(&pod->doc);
    pod->wait.object = (kb_val){0};
}

static void drop(struct kb_sched *s, struct kb_sched_pod *pod)
{
    if (pod == NULL)
        return;
    kb__sched_lift(s, pod);
    kb_map_del(&s->pods, kb_str_of(pod->key));
    forget(s, pod);
}

/* Of several schedulers, all agree whose a pod is; a group is one's as a whole. */
static bool is_ours(const struct kb_sched *s, const struct kb_sched_pod *pod)
{
    uint32_t group = pod->wait.q.group;
    const char *what = group ? kb_intern_text(kb_core_columns(s->core)->intern, group) : pod->uid;
    return s->shares <= 1 || kb_hash64(what, strlen(what)) % s->shares == s->share;
}

/* What does not change while the pod lives. */
static void name(struct kb_sched *s, struct kb_sched_pod *pod, const struct seen *seen, kb_val val)
{
    struct kb_policy_queued *q = &pod->wait.q;
    struct kb_key key;
    if (kb_key_parse(kb_str_of(pod->key), &key, NULL) == 0)
        q->ns = kb__core_intern(s->core, key.ns);
    q->size = sizeof(*q);
    q->id = pod->core.view.id = ++s->ids;
    q->priority = seen->priority;
    q->queued_ms = s->now;
    pod->wait.object = val;
    bool foreign = seen->profile == UINT32_MAX && seen->node.n == 0;
    uint32_t profile = seen->profile == UINT32_MAX ? 0 : seen->profile;
    q->group = foreign ? 0 : kb_group_of(s->core, profile, &pod->wait);
    pod->core.view.group = q->group;
    pod->wait.later_ms = is_ours(s, pod) ? 0 : KB_SCHED_LATER_MS;
    kb_group_join(s->core, &pod->wait);
    kb_pending_group(s->pending, q->group, s->now);
}

static struct kb_sched_pod *find_or_make(struct kb_sched *s, kb_str key, const struct seen *seen,
                                         kb_val val)
{
    struct kb_sched_pod *pod = kb_map_get(&s->pods, key);
    if (pod != NULL)
        return pod;
    pod = calloc(1, sizeof(*pod));
    KB_ASSERT(pod != NULL);
    pod->key = kb_str_dup(key);
    pod->core.key = pod->key;
    kb_str_copy(seen->uid, pod->uid, sizeof(pod->uid));
    kb_map_put(&s->pods, key, pod);
    name(s, pod, seen, val);
    return pod;
}

/* It stands on a node: by our binding, or by somebody else's. */
static void put_placed(struct kb_sched *s, struct kb_sched_pod *pod, const struct seen *seen,
                       kb_val val)
{
    kb_list_remove(&pod->parked);
    struct kb_podspec *spec =
        kb_core_spec(s->core, val, seen->profile == UINT32_MAX ? 0 : seen->profile, false);
    bool same = pod->core.placed && pod->core.spec == spec &&
                pod->core.priority == seen->priority && pod->core.gpus == seen->gpus &&
                kb_str_is(seen->node, kb_core_node_name(s->core, pod->core.slot));
    if (same && pod->state != POD_PLACED) {
        s->counts.assumed--;
        s->counts.placed++;
    } else if (!same) {
        kb__sched_lift(s, pod);
        uint32_t slot = kb_core_slot(s->core, seen->node);
        pod->core.gpus = seen->gpus;
        kb_core_place(s->core, &pod->core, spec, slot, seen->priority);
        kb_pending_event(s->pending, KB_POLICY_ON_POD_ADD, pod->core.slot);
        s->counts.placed++;
    }
    pod->state = POD_PLACED;
    pod->evicting &= !seen->deleting;
    pod->core.view.started_us = seen->started_us;
    pod->core.view.leaving = seen->evicted || pod->evicting;
    pod->nominated = 0;
    kb__sched_unpromise(s, pod);
    kb_core_spec_release(s->core, &spec);
    kb_pending_remove(s->pending, &pod->wait);
    kb__sched_arrived(s, pod);
}

static void put_waiting(struct kb_sched *s, struct kb_sched_pod *pod, const struct seen *seen,
                        kb_val val)
{
    kb_list_remove(&pod->parked);
    struct kb_podspec *spec = kb_core_spec(s->core, val, seen->profile, false);
    bool changed = pod->wait.spec != spec || pod->wait.q.gates != seen->gates ||
                   pod->wait.q.priority != seen->priority;
    kb_doc_destroy(&pod->doc);
    pod->doc = kb_doc_of(val);
    pod->wait.object = kb_doc_root(pod->doc);
    if (pod->state == POD_PLACED || (pod->state == POD_ASSUMED && pod->outdated && changed) ||
        (pod->state == POD_HELD && changed)) {
        /* It was unbound (a store that was restored), or it is not what was decided. Else what the
         * conflict was about does not matter: it keeps its place and is bound as it is now. */
        kb__sched_take_back(s, pod);
        pod->wait.q.attempts = 0;
        changed = true;
    }
    pod->outdated = false;
    if (changed)
        kb_pending_remove(s->pending, &pod->wait);
    kb_core_spec_release(s->core, &pod->wait.spec);
    pod->wait.spec = spec;
    pod->wait.q.gates = seen->gates;
    pod->wait.q.priority = seen->priority;
    pod->wait.q.never_preempts = seen->never_preempts;
    pod->wait.q.pod = &spec->pod;
    kb__sched_believe(s, pod, seen->nominated);
    bool under_way = pod->state == POD_HELD ||
                     (pod->state == POD_ASSUMED && pod->attempt != 0); /* it will conflict */
    if (pod->wait.where == KB_NOWHERE && !under_way)
        kb_pending_add(s->pending, &pod->wait, s->now);
}

/* For another scheduler, as things stand. */
static void put_foreign(struct kb_sched *s, struct kb_sched_pod *pod, kb_val val)
{
    kb_list_remove(&pod->parked);
    kb__sched_unpromise(s, pod);
    kb__sched_take_back(s, pod);
    kb__sched_unpromise(s, pod);
    kb_pending_remove(s->pending, &pod->wait);
    kb_group_leave(s->core, &pod->wait);
    pod->wait.q.group = 0;
    kb_core_spec_release(s->core, &pod->wait.spec);
    kb_doc_destroy(&pod->doc);
    pod->doc = kb_doc_of(val);
    pod->wait.object = kb_doc_root(pod->doc);
    pod->state = POD_FOREIGN;
}

void kb__sched_readmit(struct kb_sched *s, struct kb_sched_pod *pod)
{
    KB_AUTO(kb_doc_destroy) struct kb_doc *doc = kb_doc_ref(pod->doc);
    struct seen seen = look(s, kb_doc_root(doc));
    pod->readmit = false;
    if (seen.profile == UINT32_MAX) {
        put_foreign(s, pod, kb_doc_root(doc));
        return;
    }
    if (pod->state == POD_FOREIGN)
        pod->state = POD_WAITING;
    if (!pod->core.placed) {
        uint32_t group = kb_group_of(s->core, seen.profile, &pod->wait);
        kb_group_leave(s->core, &pod->wait);
        pod->wait.q.group = pod->core.view.group = group;
        kb_group_join(s->core, &pod->wait);
        kb_pending_group(s->pending, group, s->now);
    }
    put_waiting(s, pod, &seen, kb_doc_root(doc));
}

static void pod_put(struct kb_sched *s, kb_str key, int64_t rev, kb_val val)
{
    struct seen seen = look(s, val);
    struct kb_sched_pod *pod = kb_map_get(&s->pods, key);
    if (pod != NULL && rev < pod->bound_rev && s->now < pod->bound_ms + VIEW_BEHIND_MS)
        return; /* from before our own write */
    if (pod != NULL && !kb_str_is(seen.uid, pod->uid)) {
        drop(s, pod);
        pod = NULL;
    }
    bool waits = seen.node.n == 0;
    if (seen.ended || (waits && seen.deleting)) {
        drop(s, pod);
        return;
    }
    bool is_new = pod == NULL;
    pod = find_or_make(s, key, &seen, val);
    pod->rev = rev;
    pod->bound_rev = 0;
    if (waits && seen.profile == UINT32_MAX) {
        put_foreign(s, pod, val);
        return;
    }
    if (waits)
        put_waiting(s, pod, &seen, val);
    else
        put_placed(s, pod, &seen, val);
    if (is_new)
        kb_core_workload_learn(s->core, waits ? pod->wait.spec : pod->core.spec);
}

void kb_sched_pod_put(struct kb_sched *s, kb_str key, int64_t rev, kb_val val)
{
    pod_put(s, key, rev, val);
    kb__sched_told(s, &(struct kb_sched_input){
                          .kind = KB_SCHED_IN_POD_PUT, .key = key, .rev = rev, .doc = val});
}

void kb_sched_pod_del(struct kb_sched *s, kb_str key)
{
    drop(s, kb_map_get(&s->pods, key));
    kb__sched_told(s, &(struct kb_sched_input){.kind = KB_SCHED_IN_POD_DEL, .key = key});
}

kb_ms kb_sched_wait_ms(const struct kb_sched *s)
{
    kb_ms queue = kb_pending_wait_ms(s->pending, s->now);
    kb_ms held = kb_cycle_wait_ms(s->core, s->now);
    return held < 0 || (queue >= 0 && queue < held) ? queue : held;
}

struct kb_sched_counts kb_sched_counts(const struct kb_sched *s)
{
    struct kb_sched_counts counts = s->counts;
    counts.waiting = kb_pending_counts(s->pending);
    counts.nodes = kb_core_nodes(s->core);
    counts.held = kb_cycle_waiting(s->core);
    return counts;
}

bool kb_sched_explain(struct kb_sched *s, kb_str key, struct kb_w *w)
{
    const struct kb_sched_pod *pod = kb_map_get(&s->pods, key);
    if (pod == NULL || pod->state == POD_FOREIGN)
        return false;
    kb_core_explain(s->core, pod->core.placed ? pod->core.spec : pod->wait.spec, w);
    return true;
}
