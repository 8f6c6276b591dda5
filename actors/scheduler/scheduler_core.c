#include "actors/scheduler/scheduler_core.h"

#include "actors/scheduler/objects.h"
#include "bus/base/check.h"
#include "bus/model/key.h"

#include <stdio.h>
#include <stdlib.h>

enum pod_state { POD_WAITING, POD_ASSUMED, POD_PLACED };

struct pod {
    struct kb_core_pod core;
    struct kb_waiting wait; /* its spec is kept while WAITING or ASSUMED */
    enum pod_state state;
    char *key;
    char uid[40];
    int64_t rev;
    struct kb_doc *doc; /* as of rev, while WAITING or ASSUMED */
    uint64_t attempt;   /* of the binding under way */
    int64_t tried_rev;  /* it depends on this revision */
    bool outdated;     /* a conflict showed that we have not seen its newest state: see bind_done */
    uint64_t told;     /* hash of the last message about it */
    int64_t bound_rev; /* of our binding, until the view shows it; else 0 */
    kb_ms bound_ms;    /* when it was answered */
};

/* How long what the view shows may be from before our binding. Afterwards the store was restored
 * from a backup, and its revisions went back. */
enum { VIEW_BEHIND_MS = 30000 };

struct kb_sched {
    struct kb_core *core;
    struct kb_pending *pending;
    struct kb_map pods; /* key → struct pod */
    kb_ms now;
    int64_t wall_us;
    uint64_t attempt, serial;
    struct kb_sched_counts counts;
    /* The last diagnosis: identical pods get it without the work. */
    struct diagnosis {
        struct kb_podspec *spec; /* a reference */
        uint64_t generation;
        int32_t priority;
        bool may_preempt;
        uint32_t events;
        struct kb_buf text;
    } diagnosis;
};

/* ---- wishes ---- */

static struct kb_sched_wish *wish(struct kb_sched_out *out, enum kb_sched_wish_kind kind,
                                  const struct pod *pod)
{
    if (out->n == out->cap) {
        out->cap = out->cap ? out->cap * 2 : 64;
        out->wishes = realloc(out->wishes, out->cap * sizeof(*out->wishes));
        KB_ASSERT(out->wishes != NULL);
    }
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

static void wish_event(struct kb_sched *s, const struct pod *pod, const char *type,
                       const char *reason, const char *message, struct kb_sched_out *out)
{
    struct kb_key key;
    if (kb_key_parse(kb_str_of(pod->key), &key, NULL) < 0)
        return;
    struct kb_sched_about about = {key.ns,   key.name,   kb_str_of(pod->uid),
                                   pod->rev, s->wall_us, ++s->serial};
    wish(out, KB_SCHED_EVENT, pod)->doc = kb__sched_event(&about, type, reason, message);
}

/* ---- life ---- */

struct kb_sched *kb_sched_new(uint64_t seed)
{
    struct kb_sched *s = calloc(1, sizeof(*s));
    struct kb_err err = {0};
    uint32_t profile;
    KB_ASSERT(s != NULL);
    s->core = kb_sched_core_new(seed);
    int rc = kb_core_add_profile(s->core, "default-scheduler", kb_profile_default,
                                 kb_profile_default_n, &profile, &err);
    KB_ASSERT(rc == 0);
    s->pending = kb_pending_new(s->core);
    return s;
}

static void forget(struct kb_sched *s, struct pod *pod)
{
    kb_pending_remove(s->pending, &pod->wait);
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
    struct pod *pod;
    for (size_t i = 0; kb_map_next(&s->pods, &i, NULL, (void **)&pod);)
        forget(s, pod);
    kb_map_finish(&s->pods);
    kb_core_spec_release(s->core, &s->diagnosis.spec);
    kb_buf_finish(&s->diagnosis.text);
    kb_pending_destroy(&s->pending);
    kb_sched_core_destroy(&s->core);
    free(s);
    *s_p = NULL;
}

struct kb_core *kb_sched_core(struct kb_sched *s)
{
    return s->core;
}

void kb_sched_time(struct kb_sched *s, kb_ms now, int64_t wall_us)
{
    s->now = now > s->now ? now : s->now;
    s->wall_us = wall_us;
}

/* ---- nodes ---- */

void kb_sched_node_put(struct kb_sched *s, kb_str key, kb_val node)
{
    struct kb_key k;
    if (kb_key_parse(key, &k, NULL) == 0)
        kb_pending_event(s->pending, kb_core_node_put(s->core, k.name, node));
}

void kb_sched_node_del(struct kb_sched *s, kb_str key)
{
    struct kb_key k;
    if (kb_key_parse(key, &k, NULL) == 0)
        kb_core_node_del(s->core, k.name);
}

/* ---- pods come and go ---- */

/* What the scheduler reads of a pod, in one place. */
struct seen {
    kb_str node, uid;
    uint32_t profile; /* UINT32_MAX: another scheduler's */
    int32_t priority;
    uint32_t gates;
    uint32_t gpus; /* set */
    bool ended, deleting;
};

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
    }
    kb_str phase = kb_val_str(kb_val_get(kb_val_get(pod, "status"), "phase"));
    seen.gpus = kb_gpu_index_of(pod);
    seen.ended = kb_str_is(phase, "Succeeded") || kb_str_is(phase, "Failed");
    seen.uid = kb_val_str(kb_val_get(metadata, "uid"));
    seen.deleting = kb_val_present(kb_val_get(metadata, "deletionTimestamp"));
    seen.profile =
        kb_core_profile(s->core, scheduler.n ? scheduler : kb_str_of("default-scheduler"));
    return seen;
}

static void lift(struct kb_sched *s, struct pod *pod)
{
    if (!pod->core.placed)
        return;
    if (pod->state == POD_ASSUMED)
        s->counts.assumed--;
    else
        s->counts.placed--;
    kb_core_lift(s->core, &pod->core);
    kb_pending_event(s->pending, KB_POLICY_ON_POD_DELETE);
}

static void drop(struct kb_sched *s, struct pod *pod)
{
    if (pod == NULL)
        return;
    lift(s, pod);
    kb_map_del(&s->pods, kb_str_of(pod->key));
    forget(s, pod);
}

static struct pod *find_or_make(struct kb_sched *s, kb_str key, const struct seen *seen)
{
    struct pod *pod = kb_map_get(&s->pods, key);
    if (pod != NULL)
        return pod;
    pod = calloc(1, sizeof(*pod));
    KB_ASSERT(pod != NULL);
    pod->key = kb_str_dup(key);
    kb_str_copy(seen->uid, pod->uid, sizeof(pod->uid));
    kb_map_put(&s->pods, key, pod);
    return pod;
}

/* It stands on a node: by our binding, or by somebody else's. */
static void put_placed(struct kb_sched *s, struct pod *pod, const struct seen *seen, kb_val val)
{
    struct kb_podspec *spec =
        kb_core_spec(s->core, val, seen->profile == UINT32_MAX ? 0 : seen->profile, false);
    bool same = pod->core.placed && pod->core.spec == spec &&
                pod->core.priority == seen->priority && pod->core.gpus == seen->gpus &&
                kb_str_is(seen->node, kb_core_node_name(s->core, pod->core.slot));
    if (same && pod->state == POD_ASSUMED) {
        s->counts.assumed--;
        s->counts.placed++;
    } else if (!same) {
        lift(s, pod);
        uint32_t slot = kb_core_slot(s->core, seen->node);
        pod->core.gpus = seen->gpus;
        kb_core_place(s->core, &pod->core, spec, slot, seen->priority);
        s->counts.placed++;
    }
    pod->state = POD_PLACED;
    kb_core_spec_release(s->core, &spec);
    kb_pending_remove(s->pending, &pod->wait);
    kb_core_spec_release(s->core, &pod->wait.spec);
    kb_doc_destroy(&pod->doc);
}

static void put_waiting(struct kb_sched *s, struct pod *pod, const struct seen *seen, kb_val val)
{
    struct kb_podspec *spec = kb_core_spec(s->core, val, seen->profile, false);
    bool changed = pod->wait.spec != spec || pod->wait.q.gates != seen->gates ||
                   pod->wait.q.priority != seen->priority;
    kb_doc_destroy(&pod->doc);
    pod->doc = kb_doc_of(val);
    if (pod->state == POD_PLACED || (pod->state == POD_ASSUMED && pod->outdated)) {
        /* It was unbound (a store that was restored), or here is what the conflict was about. */
        lift(s, pod);
        pod->state = POD_WAITING;
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
    bool under_way = pod->state == POD_ASSUMED && pod->attempt != 0; /* it will conflict */
    if (pod->wait.where == KB_NOWHERE && !under_way)
        kb_pending_add(s->pending, &pod->wait, s->now);
}

void kb_sched_pod_put(struct kb_sched *s, kb_str key, int64_t rev, kb_val val)
{
    struct seen seen = look(s, val);
    struct pod *pod = kb_map_get(&s->pods, key);
    if (pod != NULL && rev < pod->bound_rev && s->now < pod->bound_ms + VIEW_BEHIND_MS)
        return; /* from before our own write */
    if (pod != NULL && !kb_str_is(seen.uid, pod->uid)) {
        drop(s, pod);
        pod = NULL;
    }
    bool waits = seen.node.n == 0;
    if (seen.ended || (waits && (seen.deleting || seen.profile == UINT32_MAX))) {
        drop(s, pod);
        return;
    }
    bool is_new = pod == NULL;
    pod = find_or_make(s, key, &seen);
    pod->rev = rev;
    pod->bound_rev = 0;
    if (waits)
        put_waiting(s, pod, &seen, val);
    else
        put_placed(s, pod, &seen, val);
    if (is_new)
        kb_core_workload_learn(s->core, waits ? pod->wait.spec : pod->core.spec);
}

void kb_sched_pod_del(struct kb_sched *s, kb_str key)
{
    drop(s, kb_map_get(&s->pods, key));
}

/* ---- deciding ---- */

static const struct diagnosis *diagnose(struct kb_sched *s, const struct pod *pod)
{
    struct diagnosis *d = &s->diagnosis;
    struct kb_podspec *spec = pod->wait.spec;
    uint64_t generation = kb_core_columns(s->core)->view.generation;
    int32_t priority = pod->wait.q.priority;
    bool may_preempt =
        !kb_str_is(kb_val_str(kb_doc_at(pod->doc, "spec.preemptionPolicy")), "Never");
    if (d->spec == spec && d->generation == generation && d->priority == priority &&
        d->may_preempt == may_preempt)
        return d;
    kb_core_spec_release(s->core, &d->spec);
    spec->refs++;
    d->spec = spec;
    d->generation = generation;
    d->priority = priority;
    d->may_preempt = may_preempt;
    kb_buf_clear(&d->text);
    d->events = kb_core_diagnose(s->core, spec, priority, may_preempt, &d->text);
    return d;
}

static void no_node(struct kb_sched *s, struct pod *pod, struct kb_sched_out *out)
{
    const struct diagnosis *d = diagnose(s, pod);
    struct kb_sched_condition condition = {false, "Unschedulable", d->text.p, s->wall_us};
    uint64_t hash = kb_hash64(d->text.p, d->text.n);
    kb_val root = kb_doc_root(pod->doc);
    if (!kb__sched_has_condition(root, &condition))
        wish(out, KB_SCHED_CONDITION, pod)->doc = kb__sched_pod(root, NULL, 0, &condition);
    if (pod->told != hash)
        wish_event(s, pod, "Warning", "FailedScheduling", d->text.p, out);
    pod->told = hash;
    kb_pending_failed(s->pending, &pod->wait, d->events, s->now);
}

/* To the node that it is assumed on. */
static void bind(struct kb_sched *s, struct pod *pod, struct kb_sched_out *out)
{
    struct kb_sched_condition condition = {true, "", "", s->wall_us};
    const char *node = kb_core_node_name(s->core, pod->core.slot);
    pod->attempt = ++s->attempt;
    pod->tried_rev = pod->rev;
    struct kb_sched_wish *w = wish(out, KB_SCHED_BIND, pod);
    w->attempt = pod->attempt;
    w->doc = kb__sched_pod(kb_doc_root(pod->doc), node, pod->core.gpus, &condition);
}

static void assume(struct kb_sched *s, struct pod *pod, uint32_t slot)
{
    pod->core.gpus = kb_core_assign(s->core, pod->wait.spec, slot);
    kb_core_place(s->core, &pod->core, pod->wait.spec, slot, pod->wait.q.priority);
    pod->state = POD_ASSUMED;
    s->counts.assumed++;
}

/* How the last binding went is unknown: the same once more finds out, unless it makes no sense now.
 */
static bool again(struct kb_sched *s, struct pod *pod)
{
    if (pod->state != POD_ASSUMED)
        return false;
    if (pod->core.spec == pod->wait.spec && kb_core_columns(s->core)->view.present[pod->core.slot])
        return true;
    lift(s, pod);
    pod->state = POD_WAITING;
    return false;
}

static void decide(struct kb_sched *s, struct pod *pod, struct kb_sched_out *out)
{
    struct kb_podspec *spec = pod->wait.spec;
    uint32_t slot;
    if (again(s, pod)) {
        bind(s, pod, out);
    } else if (kb_core_decide(s->core, spec, &slot) && kb_core_reserve(s->core, spec, slot)) {
        assume(s, pod, slot);
        bind(s, pod, out);
    } else {
        no_node(s, pod, out);
    }
}

size_t kb_sched_decide(struct kb_sched *s, size_t most, struct kb_sched_out *out)
{
    size_t n = 0;
    struct kb_waiting *w;
    while (n < most && (w = kb_pending_pop(s->pending, s->now)) != NULL) {
        decide(s, KB_CONTAINER(w, struct pod, wait), out);
        n++;
    }
    s->counts.decided += n;
    return n;
}

static void bound(struct kb_sched *s, struct pod *pod, int64_t rev, struct kb_sched_out *out)
{
    char text[1024];
    struct kb_key key;
    if (pod->state == POD_ASSUMED) {
        s->counts.assumed--;
        s->counts.placed++;
        pod->state = POD_PLACED;
        kb_core_spec_release(s->core, &pod->wait.spec);
        kb_doc_destroy(&pod->doc);
        pod->rev = pod->bound_rev = rev;
        pod->bound_ms = s->now;
    }
    s->counts.bound++;
    if (kb_key_parse(kb_str_of(pod->key), &key, NULL) < 0)
        return;
    snprintf(text, sizeof(text), "Successfully assigned " KB_STR_FMT "/" KB_STR_FMT " to %s",
             KB_STR_ARG(key.ns), KB_STR_ARG(key.name), kb_core_node_name(s->core, pod->core.slot));
    wish_event(s, pod, "Normal", "Scheduled", text, out);
}

void kb_sched_bind_done(struct kb_sched *s, kb_str key, uint64_t attempt, int rc, int64_t rev,
                        struct kb_sched_out *out)
{
    struct pod *pod = kb_map_get(&s->pods, key);
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
    if (rc == -KB_ECONFLICT || rc == -KB_ENOTFOUND) {
        kb_core_unreserve(s->core, pod->core.spec, pod->core.slot);
        lift(s, pod);
        pod->state = POD_WAITING;
    }
    kb_pending_retry(s->pending, &pod->wait, rc == -KB_ECONFLICT, s->now);
}

void kb_sched_condition_done(struct kb_sched *s, kb_str key, int rc)
{
    struct pod *pod = kb_map_get(&s->pods, key);
    if (rc == 0 || pod == NULL || pod->wait.where != KB_UNSCHEDULABLE)
        return;
    kb_pending_remove(s->pending, &pod->wait);
    kb_pending_retry(s->pending, &pod->wait, false, s->now);
}

kb_ms kb_sched_wait_ms(const struct kb_sched *s)
{
    return kb_pending_wait_ms(s->pending, s->now);
}

struct kb_sched_counts kb_sched_counts(const struct kb_sched *s)
{
    struct kb_sched_counts counts = s->counts;
    counts.waiting = kb_pending_counts(s->pending);
    counts.nodes = kb_core_nodes(s->core);
    return counts;
}

bool kb_sched_explain(struct kb_sched *s, kb_str key, struct kb_w *w)
{
    const struct pod *pod = kb_map_get(&s->pods, key);
    if (pod == NULL)
        return false;
    kb_core_explain(s->core, pod->core.placed ? pod->core.spec : pod->wait.spec, w);
    return true;
}
