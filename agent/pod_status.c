/* pod_status.c - what a pod's state looks like in the API, in kubelet's words. */
#include "agent/pod_core_impl.h"
#include "bus/model/meta.h"
#include "bus/model/quantity.h"

#include <stdio.h>

/* ---- quality of service ---- */

/* Whether a resource is requested, limited, and both alike, in one container. */
static void judge(kb_val resources, const char *name, bool *any, bool *guaranteed)
{
    kb_val request = kb_val_get(kb_val_get(resources, "requests"), name);
    kb_val limit = kb_val_get(kb_val_get(resources, "limits"), name);
    int64_t r = kb_val_milli(request, 0), l = kb_val_milli(limit, 0);
    if (r > 0 || l > 0)
        *any = true;
    if (l == 0 || (kb_val_present(request) && r != l))
        *guaranteed = false;
}

const char *kb_pod_qos(kb_val pod)
{
    static const char *const lists[] = {"spec.initContainers", "spec.containers"};
    bool any = false, guaranteed = true;
    for (size_t k = 0; k < KB_COUNT(lists); k++)
        for (struct kb_iter it = kb_iter(kb_val_at(pod, lists[k])); kb_iter_next(&it);) {
            kb_val resources = kb_val_get(it.val, "resources");
            judge(resources, "cpu", &any, &guaranteed);
            judge(resources, "memory", &any, &guaranteed);
        }
    return !any ? "BestEffort" : guaranteed ? "Guaranteed" : "Burstable";
}

/* ---- phase ---- */

static const char *phase_of_init(const struct kb_pod_core *core)
{
    for (int i = 0; i < core->n_init; i++) {
        const struct kb__container *c = &core->c[i];
        if (c->state == C_EXITED && !c->sidecar && c->exit.rt.code != 0 &&
            core->policy == POLICY_NEVER)
            return "Failed";
    }
    return core->initialized || core->finished ? NULL : "Pending";
}

const char *kb__pod_phase(const struct kb_pod_core *core)
{
    int waiting = 0, running = 0, stopped = 0, good = 0;
    kb_str old = kb_val_str_at(kb_doc_root(core->doc), "status.phase");
    if (kb_str_is(old, "Succeeded"))
        return "Succeeded";
    if (kb_str_is(old, "Failed") || core->reason != NULL)
        return "Failed";
    const char *init = phase_of_init(core);
    if (init != NULL)
        return init;
    for (int i = core->n_init; i < core->n_main; i++) {
        const struct kb__container *c = &core->c[i];
        running += c->state == C_RUNNING;
        waiting += c->state != C_RUNNING && !c->exit.there;
        stopped += c->state != C_RUNNING && c->exit.there;
        good += c->state != C_RUNNING && c->exit.there && c->exit.rt.code == 0;
    }
    if (core->deleting && core->finished)
        return stopped > 0 && stopped == good && waiting == 0 ? "Succeeded" : "Failed";
    if (waiting > 0)
        return "Pending";
    if (running > 0 || core->policy == POLICY_ALWAYS)
        return "Running";
    if (!core->finished)
        return "Running";
    return stopped == good ? "Succeeded" : "Failed";
}

/* ---- containers ---- */

static void put_time(struct kb_arena *a, struct kb_node *map, const char *key, int64_t us)
{
    kb_node_put(a, map, key, kb_node_time(a, us));
}

static struct kb_node *terminated(struct kb_arena *a, const struct kb__exit *exit)
{
    struct kb_node *t = kb_node_map(a);
    if (exit->id != NULL && exit->id[0])
        kb_node_set_cstr(a, t, "containerID", exit->id);
    kb_node_set_int(a, t, "exitCode", exit->rt.code);
    put_time(a, t, "finishedAt", exit->rt.finished_us);
    if (exit->message != NULL && exit->message[0])
        kb_node_set_cstr(a, t, "message", exit->message);
    kb_node_set_cstr(a, t, "reason", exit->reason);
    /* "signal" stays unset, as containerd leaves it: the code says it. */
    put_time(a, t, "startedAt", exit->rt.started_us);
    struct kb_node *state = kb_node_map(a);
    kb_node_put(a, state, "terminated", t);
    return state;
}

static struct kb_node *waiting(struct kb_arena *a, const struct kb_pod_core *core,
                               const struct kb__container *c)
{
    struct kb_node *w = kb_node_map(a), *state = kb_node_map(a);
    const char *reason = c->waiting_reason != NULL ? c->waiting_reason
                         : core->n_init > 0        ? "PodInitializing"
                                                   : "ContainerCreating";
    if (c->waiting_message != NULL && c->waiting_message[0])
        kb_node_set_cstr(a, w, "message", c->waiting_message);
    kb_node_set_cstr(a, w, "reason", reason);
    kb_node_put(a, state, "waiting", w);
    return state;
}

static struct kb_node *running(struct kb_arena *a, const struct kb__container *c)
{
    struct kb_node *r = kb_node_map(a), *state = kb_node_map(a);
    put_time(a, r, "startedAt", c->started_us);
    kb_node_put(a, state, "running", r);
    return state;
}

/* An exit is shown as the state, unless it is being waited for the next start with a reason. */
static bool shows_exit(const struct kb__container *c)
{
    return c->exit.there && !(c->waiting_reason != NULL && c->state != C_RUNNING);
}

static void put_states(struct kb_arena *a, const struct kb_pod_core *core,
                       const struct kb__container *c, struct kb_node *status)
{
    struct kb_node *state, *last = kb_node_map(a);
    bool over = core->finished || core->ended || core->deleting;
    if (c->state == C_RUNNING)
        state = running(a, c);
    else if (shows_exit(c) || (c->exit.there && over))
        state = terminated(a, &c->exit);
    else
        state = waiting(a, core, c);
    if (c->exit.there && !shows_exit(c) && c->state != C_RUNNING && !over)
        last = terminated(a, &c->exit);
    else if (c->last.there)
        last = terminated(a, &c->last);
    kb_node_put(a, status, "lastState", last);
    kb_node_put(a, status, "state", state);
}

static struct kb_node *container_status(struct kb_arena *a, const struct kb_pod_core *core,
                                        const struct kb__container *c)
{
    struct kb_node *s = kb_node_map(a);
    kb_str asked = kb_val_str(kb_val_get(kb_pod_core_spec(core, (int)(c - core->c)), "image"));
    bool done = c->init && !c->sidecar && c->state == C_EXITED && c->exit.rt.code == 0;
    if (c->id[0])
        kb_node_set_cstr(a, s, "containerID", c->id);
    kb_node_set_str(a, s, "image", c->image[0] ? kb_str_of(c->image) : asked);
    kb_node_set_cstr(a, s, "imageID", c->image_id);
    kb_node_set_cstr(a, s, "name", c->name);
    kb_node_set_bool(a, s, "ready", !c->ephemeral && (done || c->ready));
    kb_node_set_int(a, s, "restartCount", c->restarts);
    kb_node_set_bool(a, s, "started", c->state == C_RUNNING && c->started);
    put_states(a, core, c, s);
    return s;
}

/* ---- conditions ---- */

/* "containers with unready status: [a b]", or NULL when there are none. */
static const char *unready(struct kb_arena *a, const struct kb_pod_core *core, bool init)
{
    struct kb_buf list = {0};
    const char *text = NULL;
    for (int i = 0; i < core->n_main; i++) {
        const struct kb__container *c = &core->c[i];
        bool counts = init ? c->init : (!c->init || c->sidecar);
        bool ok = init ? (c->sidecar ? c->started || core->initialized
                                     : c->state == C_EXITED && c->exit.rt.code == 0)
                       : c->ready;
        if (counts && !ok)
            kb_buf_printf(&list, "%s%s", list.n ? " " : "", c->name);
    }
    if (list.n > 0)
        text = kb_arena_printf(a, "containers with %s status: [" KB_STR_FMT "]",
                               init ? "incomplete" : "unready", KB_STR_ARG(kb_buf_str(&list)))
                   .p;
    kb_buf_finish(&list);
    return text;
}

static void set_cond(struct kb_arena *a, struct kb_node *status, const char *type, bool yes,
                     const char *reason, const char *message, int64_t now_us)
{
    struct kb_cond cond = {.type = type,
                           .status = yes ? "True" : "False",
                           .reason = yes ? NULL : reason,
                           .message = yes ? NULL : message};
    if (yes && reason != NULL && strcmp(reason, "PodCompleted") == 0)
        cond.reason = reason;
    (void)kb_cond_set(a, status, &cond, now_us);
    struct kb_node *node = kb_cond_node(status, type);
    if (kb_node_get(node, "lastProbeTime") == NULL)
        kb_node_put(a, node, "lastProbeTime", kb_node_nil(a));
}

/* Why an evicted pod had to go, for controllers that treat that unlike a failure of its own. */
static void put_disruption(struct kb_arena *a, const struct kb_pod_core *core,
                           struct kb_node *status, int64_t now_us)
{
    struct kb_cond cond = {.type = "DisruptionTarget",
                           .status = "True",
                           .reason = "TerminationByKubelet",
                           .message = core->message};
    if (core->reason != NULL && strcmp(core->reason, "Evicted") == 0)
        (void)kb_cond_set(a, status, &cond, now_us);
}

/* Readiness gates: conditions of others that the pod's own readiness waits for. What is wrong with
 * them, or NULL. */
static const char *closed_gates(struct kb_arena *a, const struct kb_pod_core *core)
{
    KB_AUTO(kb_buf_finish) struct kb_buf list = {0};
    kb_val pod = kb_doc_root(core->doc);
    for (struct kb_iter it = kb_iter(kb_val_at(pod, "spec.readinessGates")); kb_iter_next(&it);) {
        const char *type = kb_arena_str(a, kb_val_str_at(it.val, "conditionType")).p;
        kb_val condition = kb_cond_get(pod, type);
        const char *comma = list.n > 0 ? ", " : "";
        if (!kb_val_present(condition))
            kb_buf_printf(&list,
                          "%scorresponding condition of pod readiness gate \"%s\" does not exist.",
                          comma, type);
        else if (!kb_cond_is(pod, type, "True"))
            kb_buf_printf(
                &list, "%sthe status of pod readiness gate \"%s\" is not \"True\", but " KB_STR_FMT,
                comma, type, KB_STR_ARG(kb_val_str_at(condition, "status")));
    }
    return list.n > 0 ? kb_arena_str(a, kb_buf_str(&list)).p : NULL;
}

static void put_conditions(struct kb_arena *a, const struct kb_pod_core *core,
                           struct kb_node *status, const char *phase, int64_t now_us)
{
    bool succeeded = strcmp(phase, "Succeeded") == 0, failed = strcmp(phase, "Failed") == 0;
    const char *not_ready = unready(a, core, false), *not_init = unready(a, core, true);
    const char *gates = closed_gates(a, core);
    const char *why = succeeded ? "PodCompleted" : failed ? "PodFailed" : "ContainersNotReady";
    bool over = succeeded || failed;
    set_cond(a, status, "PodReadyToStartContainers", core->sandbox && !over, NULL, NULL, now_us);
    if (succeeded || core->initialized)
        set_cond(a, status, "Initialized", true, succeeded ? "PodCompleted" : NULL, NULL, now_us);
    else
        set_cond(a, status, "Initialized", not_init == NULL, "ContainersNotInitialized", not_init,
                 now_us);
    set_cond(a, status, "Ready", !over && not_ready == NULL && gates == NULL,
             gates && !not_ready && !over ? "ReadinessGatesNotReady" : why,
             over        ? NULL
             : not_ready ? not_ready
                         : gates,
             now_us);
    set_cond(a, status, "ContainersReady", !over && not_ready == NULL, why, over ? NULL : not_ready,
             now_us);
    if (kb_cond_node(status, "PodScheduled") == NULL)
        set_cond(a, status, "PodScheduled", true, NULL, NULL, now_us);
    put_disruption(a, core, status, now_us);
}

/* ---- the whole ---- */

static void put_addresses(struct kb_arena *a, const struct kb_pod_core *core,
                          struct kb_node *status)
{
    static const char *const lists[2][2] = {{"hostIP", "hostIPs"}, {"podIP", "podIPs"}};
    const char *ips[2] = {core->node.ip, core->ip};
    for (int k = 0; k < 2; k++) {
        if (ips[k] == NULL || ips[k][0] == '\0')
            continue;
        struct kb_node *list = kb_node_array(a), *entry = kb_node_map(a);
        kb_node_set_cstr(a, status, lists[k][0], ips[k]);
        kb_node_set_cstr(a, entry, "ip", ips[k]);
        kb_node_append(a, list, entry);
        kb_node_put(a, status, lists[k][1], list);
    }
}

/* The conditions to start from: what we said last, and those of others as the API has them. */
static struct kb_node *old_conditions(struct kb_arena *a, const struct kb_pod_core *core)
{
    static const char *const ours[] = {"PodReadyToStartContainers", "Initialized", "Ready",
                                       "ContainersReady"};
    kb_val pod = kb_doc_root(core->doc);
    struct kb_node *list = kb_node_array(a);
    kb_val said = kb_doc_at(core->status, "conditions");
    for (size_t i = 0; i < KB_COUNT(ours); i++) {
        kb_val found = {0};
        for (struct kb_iter it = kb_iter(said); kb_iter_next(&it);)
            if (kb_str_is(kb_val_str_at(it.val, "type"), ours[i]))
                found = it.val;
        if (!kb_val_present(found))
            found = kb_cond_get(pod, ours[i]);
        if (kb_val_present(found))
            kb_node_append(a, list, kb_node_of(a, found));
    }
    for (struct kb_iter it = kb_iter(kb_val_at(pod, "status.conditions")); kb_iter_next(&it);) {
        bool own = false;
        for (size_t i = 0; i < KB_COUNT(ours); i++)
            own |= kb_str_is(kb_val_str_at(it.val, "type"), ours[i]);
        if (!own)
            kb_node_append(a, list, kb_node_of(a, it.val));
    }
    return list;
}

/* All that there is of the containers. */
static void put_containers(struct kb_arena *a, const struct kb_pod_core *core,
                           struct kb_node *status)
{
    struct kb_node *init = kb_node_array(a), *regular = kb_node_array(a),
                   *ephemeral = kb_node_array(a);
    for (int i = 0; i < core->n; i++)
        kb_node_append(a,
                       i < core->n_init   ? init
                       : i < core->n_main ? regular
                                          : ephemeral,
                       container_status(a, core, &core->c[i]));
    kb_node_put(a, status, "containerStatuses", regular);
    if (core->n_init > 0)
        kb_node_put(a, status, "initContainerStatuses", init);
    if (core->n > core->n_main)
        kb_node_put(a, status, "ephemeralContainerStatuses", ephemeral);
}

void kb__pod_status(struct kb_pod_core *core, struct kb_pod_time now, struct kb_pod_out *out)
{
    KB_AUTO(kb_arena_finish) struct kb_arena arena = {0};
    struct kb_arena *a = &arena;
    struct kb_node *status = kb_node_map(a);
    const char *phase = kb__pod_phase(core);
    if (core->frozen)
        return;
    kb_node_put(a, status, "conditions", old_conditions(a, core));
    if (!core->rejected) { /* nothing of it was ever here */
        put_conditions(a, core, status, phase, now.wall_us);
        put_containers(a, core, status);
        put_addresses(a, core, status);
    }
    kb_node_set_cstr(a, status, "phase", phase);
    kb_node_set_cstr(a, status, "qosClass", kb_pod_qos(kb_doc_root(core->doc)));
    if (core->reason != NULL) {
        kb_node_set_cstr(a, status, "reason", core->reason);
        kb_node_set_cstr(a, status, "message", core->message);
    }
    put_time(a, status, "startTime", core->start_us);
    struct kb_doc *doc = kb_node_doc(status);
    if (core->status != NULL && kb_val_equal(kb_doc_root(doc), kb_doc_root(core->status))) {
        kb_doc_destroy(&doc);
        return;
    }
    kb_doc_destroy(&core->status);
    core->status = doc;
    if (!core->object_gone)
        kb__pod_wish(out, KB_POD_STATUS, -1);
}
