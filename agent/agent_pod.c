/* agent_pod.c - one pod on this node: what its core wishes is done here, what happens is told to
 * it.
 *
 * Everything enters through the small functions named on_… and kb__pod_…: each tells the core one
 * fact and performs the wishes. Wishes that can be answered at once are, so performing nests; a pod
 * is freed only when the outermost of them returns (settle).
 *
 * The status goes to the API at most once at a time. While a start is under way, a status that only
 * says Pending waits a little: as a rule the next one, Running, overtakes it, and a write is saved.
 */
#include "agent/agent_impl.h"
#include "agent/files.h"
#include "bus/base/check.h"
#include "bus/base/file.h"
#include "bus/base/log.h"
#include "bus/model/meta.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

enum { PENDING_DELAY_MS = 100, MESSAGE_MAX = 4096 };

/* What an earlier agent left of a pod, until the API says what it was. */
struct kb__found {
    bool sandbox;
    char ip[16];
    bool host_network;
    struct found_box *boxes;
    size_t n;
};

struct found_box {
    char *name;
    unsigned attempt;
};

struct running_probe {
    struct kb_link link;
    struct kb__pod *pod;
    struct kb_probe *probe;
    int container;
    unsigned attempt;
    bool is_hook;
    enum kb_pod_probe kind;
    enum kb_pod_hook hook;
};

static void perform(struct kb__pod *pod, struct kb_pod_out *out);
static void settle(struct kb__pod *pod);

struct kb_pod_time kb__now(const struct kb_agent *agent)
{
    return (struct kb_pod_time){kb_ev_now(agent->ev), kb_ev_wall_us(agent->ev)};
}

/* Tell the core something and do what follows. `call` uses `now` and `out`. */
#define TELL(pod, call)                                                                            \
    do {                                                                                           \
        struct kb_pod_out out_ = {0}, *out = &out_;                                                \
        struct kb_pod_time now = kb__now((pod)->agent);                                            \
        (pod)->depth++;                                                                            \
        call;                                                                                      \
        perform((pod), out);                                                                       \
        kb_pod_out_finish(out);                                                                    \
        (pod)->depth--;                                                                            \
        settle(pod);                                                                               \
    } while (0)

static struct kb__pod *pod_by_uid(struct kb_agent *agent, const char *uid)
{
    return kb_map_get(&agent->pods_by_uid, kb_str_of(uid));
}

struct kb__pod *kb__pod_named(struct kb_agent *agent, kb_str ns, kb_str name)
{
    KB_AUTO(kb_auto_free)
    char *key = kb_strf("pods/" KB_STR_FMT "/" KB_STR_FMT, KB_STR_ARG(ns), KB_STR_ARG(name));
    return kb_map_get(&agent->pods_by_key, kb_str_of(key));
}

char *kb__pod_log_path(const struct kb__pod *pod, const char *container, int attempt)
{
    return kb_strf("%s/logs/%s/%d.log", pod->dir, container, attempt);
}

/* ---- status ---- */

static void status_send(struct kb__pod *pod);

void kb__pod_status_next(struct kb_agent *agent)
{
    while (kb_fence_holds(&agent->fence) && agent->status_flying < STATUS_FLIGHT_MAX &&
           !kb_list_empty(&agent->status_queue)) {
        struct kb_link *link = kb_list_pop(&agent->status_queue);
        status_send(KB_CONTAINER(link, struct kb__pod, status_link));
    }
}

static void on_status_retry(void *arg)
{
    struct kb__pod *pod = arg;
    if (pod->status_dirty && !pod->status_flying)
        status_send(pod);
}

/* The pod may be gone when its answer comes: the reply finds it by its uid. */
struct status_call {
    struct kb_agent *agent;
    int64_t epoch;
    char uid[64];
};

static void on_status_written(void *user, const struct kb_err *err, kb_val body)
{
    struct status_call *call = user;
    struct kb_agent *agent = call->agent;
    struct kb__pod *pod = pod_by_uid(agent, call->uid);
    int code = err ? abs(err->code) : 0;
    bool fenced = err != NULL && kb_val_bool(kb_val_get(body, "fenced"), false);
    if (code == KB_ETIMEOUT || code == KB_EUNAVAILABLE || fenced)
        kb__fence_doubt(agent, call->epoch);
    free(call);
    agent->status_flying--;
    if (pod != NULL) {
        pod->status_flying = false;
        if (fenced) {
            pod->status_dirty = true;
            status_send(pod);
        } else if (code == KB_ENOTFOUND) {
            pod->status_dirty = false; /* it is gone, as will be told */
        } else if (code != 0) {
            kb_warn("status of %s: %s", pod->key, err->text);
            pod->status_dirty = true;
            kb_ev_arm(agent->ev, &pod->status_timer, RETRY_CALL_MS, on_status_retry, pod);
        } else if (pod->status_dirty) {
            status_send(pod);
        }
    }
    kb__pod_status_next(agent);
}

static void status_send(struct kb__pod *pod)
{
    struct kb_agent *agent = pod->agent;
    KB_AUTO(kb_w_finish) struct kb_w w = {0};
    kb_ev_disarm(agent->ev, &pod->status_timer);
    if (pod->gone_from_api)
        return;
    if (!kb_fence_holds(&agent->fence) || agent->status_flying >= STATUS_FLIGHT_MAX) {
        kb_list_remove(&pod->status_link);
        kb_list_push(&agent->status_queue, &pod->status_link);
        return;
    }
    struct status_call *call = calloc(1, sizeof *call);
    KB_ASSERT(call != NULL);
    call->agent = agent;
    call->epoch = agent->fence.epoch;
    snprintf(call->uid, sizeof call->uid, "%s", kb_pod_core_uid(pod->core));
    kb_w_map(&w);
    kb_w_kcstr(&w, "resource", "pods");
    kb_w_kcstr(&w, "ns", kb_pod_core_ns(pod->core));
    kb_w_kcstr(&w, "name", kb_pod_core_name(pod->core));
    kb_w_kcstr(&w, "subresource", "status");
    kb_w_kcstr(&w, "type", "merge");
    kb_w_kmap(&w, "patch");
    kb_w_kraw(&w, "status", kb_doc_root(kb_pod_core_status(pod->core)));
    kb_w_end(&w);
    kb_w_kcstr(&w, "uid", kb_pod_core_uid(pod->core));
    kb_w_kcstr(&w, "manager", "kubelet");
    kb_fence_write(&agent->fence, &w);
    kb_w_end(&w);
    pod->status_dirty = false;
    pod->status_flying = true;
    agent->status_flying++;
    kb_call(agent->api, "object.patch", kb_w_val(&w), CALL_TIMEOUT_MS, on_status_written, call);
}

static void status_changed(struct kb__pod *pod)
{
    bool pending =
        kb_str_is(kb_val_str(kb_doc_at(kb_pod_core_status(pod->core), "phase")), "Pending");
    pod->status_dirty = true;
    if (pod->status_flying)
        return;
    if (pending && !kb_timer_armed(&pod->status_timer.timer))
        kb_ev_arm(pod->agent->ev, &pod->status_timer, PENDING_DELAY_MS, on_status_retry, pod);
    else if (!pending)
        status_send(pod);
}

/* ---- deleting ---- */

struct delete_call {
    struct kb_agent *agent;
    char uid[64];
    struct kb_ev_timer timer;
};

static void send_delete(struct kb__pod *pod);

static void on_delete_retry(void *arg)
{
    struct delete_call *call = arg;
    struct kb__pod *pod = pod_by_uid(call->agent, call->uid);
    free(call);
    if (pod != NULL && !pod->gone_from_api)
        send_delete(pod);
}

static void on_deleted(void *user, const struct kb_err *err, kb_val body)
{
    struct delete_call *call = user;
    int code = err ? abs(err->code) : 0;
    (void)body;
    if (code == 0 || code == KB_ENOTFOUND || code == KB_ECONFLICT) {
        free(call);
        return;
    }
    kb_warn("delete pod: %s", err->text);
    kb_ev_arm(call->agent->ev, &call->timer, RETRY_CALL_MS, on_delete_retry, call);
}

static void send_delete(struct kb__pod *pod)
{
    KB_AUTO(kb_w_finish) struct kb_w w = {0};
    struct delete_call *call = calloc(1, sizeof *call);
    KB_ASSERT(call != NULL);
    call->agent = pod->agent;
    snprintf(call->uid, sizeof call->uid, "%s", kb_pod_core_uid(pod->core));
    kb_w_map(&w);
    kb_w_kcstr(&w, "resource", "pods");
    kb_w_kcstr(&w, "ns", kb_pod_core_ns(pod->core));
    kb_w_kcstr(&w, "name", kb_pod_core_name(pod->core));
    kb_w_kint(&w, "grace_s", 0);
    kb_w_kcstr(&w, "uid", kb_pod_core_uid(pod->core));
    kb_w_kcstr(&w, "manager", "kubelet");
    kb_w_end(&w);
    kb_call(pod->agent->api, "object.delete", kb_w_val(&w), CALL_TIMEOUT_MS, on_deleted, call);
}

/* ---- wishes ---- */

struct kb_resolve kb__pod_resolve(struct kb__pod *pod)
{
    const struct kb_agent *agent = pod->agent;
    const struct kb_agent_options *o = agent->options;
    return (struct kb_resolve){.pod = kb_doc_root(kb_pod_core_doc(pod->core)),
                               .node = pod->node->name,
                               .node_ip = pod->node->ip,
                               .pod_ip = kb_pod_core_ip(pod->core),
                               .pod_dir = pod->dir,
                               .node_cpu_milli = agent->cpu_milli,
                               .node_memory = agent->memory_bytes,
                               .cluster_dns = o->cluster_dns,
                               .cluster_domain =
                                   o->cluster_domain ? o->cluster_domain : "cluster.local",
                               .find = kb__refs_find,
                               .arg = pod};
}

void kb__pod_prepared(struct kb__pod *pod, const struct kb_err *err)
{
    TELL(pod, kb_pod_core_prepared(pod->core, err, now, out));
}

static void make_sandbox(struct kb__pod *pod)
{
    KB_AUTO(kb_arena_finish) struct kb_arena arena = {0};
    struct kb_rt_sandbox_spec spec = {0};
    struct kb_resolve resolve = kb__pod_resolve(pod);
    if (pod->agent->hollow) {
        spec.uid = kb_pod_core_uid(pod->core);
        spec.host_network = kb_val_bool_at(resolve.pod, "spec.hostNetwork", false);
    } else {
        kb_resolve_sandbox(&resolve, &arena, &spec);
    }
    kb_runtime_sandbox(pod->agent->rt, &spec);
}

/* The PID namespace of the container that an ephemeral one is put in to look at; *ret NULL: none.
 * With a namespace of the whole pod there is nothing to choose. */
static int target_pid_ns(struct kb__pod *pod, kb_val container, char **ret, struct kb_err *err)
{
    kb_str target = kb_val_str(kb_val_get(container, "targetContainerName"));
    kb_val spec = kb_val_get(kb_doc_root(kb_pod_core_doc(pod->core)), "spec");
    int at = target.n > 0 ? kb_pod_core_find(pod->core, target) : -1;
    if (target.n == 0 || pod->agent->hollow)
        return 0;
    if (at < 0 || !kb_pod_core_running(pod->core, at))
        return kb_err_set(err, KB_EFORBIDDEN, "unable to find target container " KB_STR_FMT,
                          KB_STR_ARG(target));
    if (kb_val_bool(kb_val_get(spec, "shareProcessNamespace"), false))
        return 0;
    struct kb_rt_ref ref = {kb_pod_core_uid(pod->core), kb_pod_core_container_name(pod->core, at),
                            (unsigned)kb_pod_core_attempt(pod->core, at)};
    pid_t pid = kb_runtime_pid(pod->agent->rt, &ref);
    *ret = pid > 0 ? kb_strf("/proc/%d/ns/pid", (int)pid) : NULL;
    return 0;
}

static void start(struct kb__pod *pod, const struct kb_pod_wish *wish)
{
    KB_AUTO(kb_arena_finish) struct kb_arena arena = {0};
    struct kb_agent *agent = pod->agent;
    int at = wish->container;
    unsigned attempt = wish->attempt;
    const char *name = kb_pod_core_container_name(pod->core, at);
    KB_AUTO(kb_auto_free) char *log = kb__pod_log_path(pod, name, (int)attempt);
    KB_AUTO(kb_auto_free)
    char *image = kb_str_dup(kb_val_str(kb_val_get(kb_pod_core_spec(pod->core, at), "image")));
    KB_AUTO(kb_auto_free)
    char *pid_ns = NULL;
    struct kb_err err = {0};
    struct kb_rt_container_spec spec = {.ref = {kb_pod_core_uid(pod->core), name, attempt},
                                        .image = image,
                                        .restarts = kb_pod_core_restarts(pod->core, at),
                                        .log_path = log,
                                        .log_max_bytes = agent->options->log_max_bytes,
                                        .log_max_files = agent->options->log_max_files};
    struct kb_resolve resolve = kb__pod_resolve(pod);
    kb_val container = kb_pod_core_spec(pod->core, at);
    if (target_pid_ns(pod, container, &pid_ns, &err) < 0 ||
        (!agent->hollow && kb_resolve_container(&resolve, container, &arena, &spec, &err) < 0)) {
        struct kb_rt_container_info none = {.id = "", .image = "", .image_id = ""};
        TELL(pod, kb_pod_core_started(pod->core, at, attempt, &err, &none, now, out));
        return;
    }
    spec.pid_ns = pid_ns;
    kb_runtime_start(agent->rt, &spec);
}

static void on_probe_done(void *arg, bool ok, const char *words)
{
    struct running_probe *run = arg;
    struct kb__pod *pod = run->pod;
    struct running_probe was = *run;
    struct kb_err err = {0};
    KB_AUTO(kb_auto_free) char *text = kb_str_dup(kb_str_of(words));
    kb_list_remove(&run->link);
    kb_probe_destroy(&run->probe);
    free(run);
    if (!was.is_hook) {
        TELL(pod, kb_pod_core_probed(pod->core, was.container, was.attempt, was.kind, ok, text, now,
                                     out));
        return;
    }
    if (!ok)
        kb_err_set(&err, KB_EINTERNAL, "%s", text);
    TELL(pod, kb_pod_core_hook(pod->core, was.container, was.hook, ok ? NULL : &err, now, out));
}

static void ask(struct kb__pod *pod, const struct kb_pod_wish *wish, bool is_hook)
{
    static const char *const probes[] = {"startupProbe", "livenessProbe", "readinessProbe"};
    static const char *const hooks[] = {"lifecycle.postStart", "lifecycle.preStop"};
    struct running_probe *run = calloc(1, sizeof *run);
    KB_ASSERT(run != NULL);
    kb_val container = kb_pod_core_spec(pod->core, wish->container);
    kb_val handler = kb_val_at(container, is_hook ? hooks[wish->hook] : probes[wish->probe]);
    int attempt = kb_pod_core_attempt(pod->core, wish->container);
    int64_t seconds = kb_val_int_at(handler, "timeoutSeconds", 1);
    *run = (struct running_probe){.pod = pod,
                                  .container = wish->container,
                                  .is_hook = is_hook,
                                  .attempt = (unsigned)attempt,
                                  .kind = wish->probe,
                                  .hook = wish->hook};
    struct kb_probe_target target = {.ref = {kb_pod_core_uid(pod->core),
                                             kb_pod_core_container_name(pod->core, wish->container),
                                             (unsigned)attempt},
                                     .ip = kb_pod_core_ip(pod->core),
                                     .container = container};
    kb_list_push(&pod->probes, &run->link);
    run->probe = kb_probe_start(pod->agent->rt, pod->agent->ev, handler, &target,
                                is_hook ? 3600000 : kb_seconds_ms(seconds > 0 ? seconds : 1),
                                on_probe_done, run);
}

void kb__pod_remove(struct kb__pod *pod)
{
    struct kb_agent *agent = pod->agent;
    const char *uid = kb_pod_core_uid(pod->core);
    for (int i = 0; agent->hollow && i < kb_pod_core_count(pod->core); i++) {
        struct kb_rt_ref box = {uid, kb_pod_core_container_name(pod->core, i),
                                (unsigned)kb_pod_core_attempt(pod->core, i)};
        kb_runtime_remove(agent->rt, &box);
    }
    kb_runtime_remove_pod(agent->rt, uid);
}

static void perform_one(struct kb__pod *pod, const struct kb_pod_wish *wish)
{
    struct kb_agent *agent = pod->agent;
    struct kb_rt_ref ref = {
        kb_pod_core_uid(pod->core),
        wish->container >= 0 ? kb_pod_core_container_name(pod->core, wish->container) : "",
        wish->attempt};
    switch (wish->kind) {
    case KB_POD_PREPARE:
        kb__volumes_prepare(pod);
        break;
    case KB_POD_SANDBOX:
        make_sandbox(pod);
        break;
    case KB_POD_IMAGE:
        kb__images_want(pod, wish->container);
        break;
    case KB_POD_START:
        start(pod, wish);
        break;
    case KB_POD_SIGNAL:
        (void)kb_runtime_signal(agent->rt, &ref, wish->signal);
        break;
    case KB_POD_HOOK:
        ask(pod, wish, true);
        break;
    case KB_POD_PROBE:
        ask(pod, wish, false);
        break;
    case KB_POD_REMOVE:
        kb_runtime_remove(agent->rt, &ref);
        break;
    case KB_POD_EVENT:
        kb__event(agent, pod, wish->container, wish->warning, wish->reason, wish->message);
        break;
    case KB_POD_STATUS:
        status_changed(pod);
        break;
    case KB_POD_TEARDOWN:
        pod->removing = true;
        if (kb_mounter_stop(&pod->mounter))
            kb__pod_remove(pod);
        break;
    case KB_POD_DELETE:
        if (pod->status_dirty && !pod->status_flying)
            status_send(pod);
        send_delete(pod);
        break;
    }
}

static void perform(struct kb__pod *pod, struct kb_pod_out *out)
{
    for (size_t i = 0; i < out->n; i++)
        perform_one(pod, &out->wishes[i]);
}

/* ---- life ---- */

static void stop_probes(struct kb__pod *pod)
{
    for (struct kb_link *link; (link = kb_list_pop(&pod->probes)) != NULL;) {
        struct running_probe *run = KB_CONTAINER(link, struct running_probe, link);
        kb_probe_destroy(&run->probe);
        free(run);
    }
}

static void pod_free(struct kb__pod *pod)
{
    struct kb_agent *agent = pod->agent;
    const char *uid = kb_pod_core_uid(pod->core);
    kb_ev_disarm(agent->ev, &pod->timer);
    kb_ev_disarm(agent->ev, &pod->status_timer);
    kb_list_remove(&pod->status_link);
    kb_list_remove(&pod->node_link);
    stop_probes(pod);
    kb_mounter_finish(&pod->mounter);
    kb__images_forget(pod);
    kb__refs_drop(pod);
    kb__streams_ended(agent, pod, -1, 0);
    kb_map_del(&agent->pods_by_uid, kb_str_of(uid));
    if (kb_map_get(&agent->pods_by_key, kb_str_of(pod->key)) == pod)
        kb_map_del(&agent->pods_by_key, kb_str_of(pod->key));
    kb_pod_core_destroy(&pod->core);
    free(pod->key);
    free(pod->dir);
    free(pod);
}

static void on_timer(void *arg)
{
    struct kb__pod *pod = arg;
    TELL(pod, kb_pod_core_tick(pod->core, now, out));
}

/* At the end of whatever happened: free a pod of which nothing is left, else set its next deadline.
 */
static void settle(struct kb__pod *pod)
{
    KB_CHECK_OBJ(pod, KB__POD_MAGIC);
    if (pod->depth > 0)
        return;
    if (pod->torn_down && pod->gone_from_api) {
        pod_free(pod);
        return;
    }
    kb_ms wait = kb_pod_core_wait_ms(pod->core, kb_ev_now(pod->agent->ev));
    if (wait < 0)
        kb_ev_disarm(pod->agent->ev, &pod->timer);
    else
        kb_ev_arm(pod->agent->ev, &pod->timer, wait, on_timer, pod);
}

static void found_free(struct kb__found *found)
{
    for (size_t i = 0; i < found->n; i++)
        free(found->boxes[i].name);
    free(found->boxes);
    free(found);
}

/* Give the core what an earlier agent left, as it is now: what has started or ended since it was
 * found was told to nobody. false: it left nothing. */
static bool claim(struct kb__pod *pod, struct kb_pod_time now, struct kb_pod_out *out)
{
    const char *uid = kb_pod_core_uid(pod->core);
    struct kb__found *found = kb_map_del(&pod->agent->found, kb_str_of(uid));
    if (found == NULL)
        return false;
    struct kb_rt_sandbox_info sandbox = {found->ip, found->host_network};
    struct kb_err interrupted = {0};
    kb_pod_core_found(pod->core, found->sandbox ? &sandbox : NULL, NULL, NULL, now, out);
    for (size_t i = 0; i < found->n; i++) {
        struct found_box *box = &found->boxes[i];
        struct kb_rt_ref ref = {uid, box->name, box->attempt};
        struct kb_rt_container_info info = {.id = "", .image = "", .image_id = ""};
        bool there = kb_runtime_look(pod->agent->rt, &ref, &info);
        int at = kb_pod_core_find(pod->core, kb_str_of(box->name));
        kb_pod_core_found(pod->core, NULL, &ref, &info, now, out);
        kb_err_set(&interrupted, KB_EIO, "the start was interrupted");
        if (!there && at >= 0)
            kb_pod_core_started(pod->core, at, box->attempt, &interrupted, &info, now, out);
    }
    found_free(found);
    return true;
}

/* Has the node said yes to it already? */
static bool is_known(const struct kb__pod *pod)
{
    kb_val status = kb_val_get(kb_doc_root(kb_pod_core_doc(pod->core)), "status");
    return kb_val_present(kb_val_get(status, "startTime"));
}

void kb__pod_begin(struct kb__pod *pod)
{
    struct kb_refusal refusal;
    if (!kb__admit_refuses(pod, &refusal))
        TELL(pod, kb_pod_core_begin(pod->core, now, out));
    else if (kb__admit_is_final(pod))
        TELL(pod, kb_pod_core_reject(pod->core, refusal.reason, refusal.message, now, out));
}

static struct kb__pod *pod_new(struct kb__node *node, const struct kb_change *change)
{
    struct kb_agent *agent = node->agent;
    struct kb_pod_node facts = {.ip = node->ip};
    KB_AUTO(kb_doc_destroy) struct kb_doc *doc = kb_doc_of(change->doc);
    struct kb__pod *pod = calloc(1, sizeof *pod);
    KB_ASSERT(pod != NULL);
    pod->magic = KB__POD_MAGIC;
    pod->agent = agent;
    pod->node = node;
    pod->rev = change->rev;
    pod->judged_rev = -1;
    pod->key = kb_str_dup(change->key);
    pod->core = kb_pod_core_new(doc, &facts);
    kb_list_init(&pod->uses);
    kb_list_init(&pod->probes);
    kb_list_init(&pod->status_link);
    kb_list_init(&pod->node_link);
    kb_list_push(&node->pods, &pod->node_link);
    pod->requests = kb_admit_requests(change->doc);
    kb__volumes_init(pod);
    pod->dir = kb_runtime_pod_dir(agent->rt, kb_pod_core_uid(pod->core));
    kb_map_put(&agent->pods_by_uid, kb_str_of(kb_pod_core_uid(pod->core)), pod);
    kb_map_put(&agent->pods_by_key, change->key, pod);
    return pod;
}

static void gone(struct kb__pod *pod)
{
    pod->gone_from_api = true;
    if (kb_map_get(&pod->agent->pods_by_key, kb_str_of(pod->key)) == pod)
        kb_map_del(&pod->agent->pods_by_key, kb_str_of(pod->key));
    TELL(pod, kb_pod_core_removed(pod->core, now, out));
}

void kb__pod_change(struct kb__node *node, const struct kb_change *change)
{
    struct kb_agent *agent = node->agent;
    struct kb__pod *pod = kb_map_get(&agent->pods_by_key, change->key);
    kb_str uid = kb_meta_uid(change->doc);
    struct kb_refusal refusal;
    if (pod != NULL && (change->op == KB_DEL || !kb_str_is(uid, kb_pod_core_uid(pod->core)))) {
        gone(pod);
        pod = NULL;
    }
    if (change->op == KB_DEL || !kb_admit_uid(uid))
        return;
    if (pod != NULL && !agent->hollow && !kb_pod_core_over(pod->core) &&
        !kb_admit_names(change->doc, &refusal)) {
        kb_warn("%s: a change of the pod is ignored, but its end: %s", pod->key, refusal.message);
        TELL(pod, kb_pod_core_ends(pod->core, change->doc, now, out));
        return;
    }
    if (pod != NULL) {
        KB_AUTO(kb_doc_destroy) struct kb_doc *doc = kb_doc_of(change->doc);
        pod->rev = change->rev;
        if (!agent->hollow && kb_val_present(kb_val_at(change->doc, "spec.ephemeralContainers")))
            kb__refs_of_pod_now(pod, change->doc);
        TELL(pod, kb_pod_core_update(pod->core, doc, now, out));
        return;
    }
    if (kb_map_get(&agent->pods_by_uid, uid) != NULL) /* the same uid again while it is torn down */
        return;
    pod = pod_new(node, change);
    if (!agent->hollow && !kb_admit_names(change->doc, &refusal)) {
        TELL(pod, kb_pod_core_reject(pod->core, refusal.reason, refusal.message, now, out));
        return;
    }
    if (!agent->hollow)
        kb__refs_of_pod(pod);
    bool known = is_known(pod);
    TELL(pod, {
        known |= claim(pod, now, out);
        if (known)
            kb_pod_core_begin(pod->core, now, out);
    });
    if (!known && kb__admit_open(node))
        kb__pod_begin(pod);
}

void kb__pod_image(struct kb__pod *pod, int container, const struct kb_err *err, const char *reason)
{
    TELL(pod, kb_pod_core_image(pod->core, container, err, reason, now, out));
}

static const struct kb__use *use_of(const struct kb__pod *pod, const struct kb__ref *ref)
{
    KB_LIST_EACH(it, &pod->uses)
    {
        const struct kb__use *use = KB_CONTAINER(it, struct kb__use, link);
        if (use->ref == ref)
            return use;
    }
    return NULL;
}

void kb__pod_refs_changed(struct kb_agent *agent, struct kb__ref *ref)
{
    kb_str key;
    void *value;
    for (size_t i = 0; kb_map_next(&agent->pods_by_uid, &i, &key, &value);) {
        struct kb__pod *pod = value;
        const struct kb__use *use = use_of(pod, ref);
        if (use == NULL)
            continue;
        if (use->volume)
            kb__volumes_refresh(pod);
        TELL(pod, kb_pod_core_retry(pod->core, now, out));
    }
}

/* ---- what the runtime tells ---- */

static void on_sandbox(void *arg, const char *uid, int rc, const struct kb_err *err,
                       const struct kb_rt_sandbox_info *info)
{
    struct kb__pod *pod = pod_by_uid(arg, uid);
    if (pod != NULL)
        TELL(pod, kb_pod_core_sandbox(pod->core, rc < 0 ? err : NULL, info, now, out));
}

static void on_pod_gone(void *arg, const char *uid, int rc, const struct kb_err *err)
{
    struct kb__pod *pod = pod_by_uid(arg, uid);
    if (pod == NULL) {
        if (rc < 0)
            kb_warn("removing what was left of pod %s: %s", uid, err->text);
        return;
    }
    pod->torn_down = rc == 0;
    TELL(pod, kb_pod_core_torn_down(pod->core, rc < 0 ? err : NULL, now, out));
}

static void on_started(void *arg, const struct kb_rt_ref *ref, int rc, const struct kb_err *err,
                       const struct kb_rt_container_info *info)
{
    struct kb__pod *pod = pod_by_uid(arg, ref->uid);
    int at = pod != NULL ? kb_pod_core_find(pod->core, kb_str_of(ref->container)) : -1;
    if (at >= 0)
        TELL(pod,
             kb_pod_core_started(pod->core, at, ref->attempt, rc < 0 ? err : NULL, info, now, out));
}

static void on_exited(void *arg, const struct kb_rt_ref *ref, const struct kb_rt_exit *exit)
{
    struct kb__pod *pod = pod_by_uid(arg, ref->uid);
    int at = pod != NULL ? kb_pod_core_find(pod->core, kb_str_of(ref->container)) : -1;
    char message[MESSAGE_MAX + 1] = "";
    KB_AUTO(kb_buf_finish) struct kb_buf buf = {0};
    if (at < 0)
        return;
    KB_AUTO(kb_auto_free)
    char *path = kb_strf("%s/messages/%s.%u", pod->dir, ref->container, ref->attempt);
    if (*pod->dir) {
        kb_str text = kb_get_file(path, &buf);
        if (text.n > MESSAGE_MAX)
            text = kb_str_n(text.p + text.n - MESSAGE_MAX, MESSAGE_MAX);
        (void)kb_str_copy(text, message, sizeof message);
        unlink(path);
    }
    kb__streams_ended(pod->agent, pod, at, ref->attempt);
    TELL(pod, kb_pod_core_exited(pod->core, at, ref->attempt, exit, message, now, out));
}

const struct kb_rt_listener kb__pod_listener = {on_sandbox, on_pod_gone, on_started, on_exited};

/* ---- after a restart ---- */

void kb__pod_found(void *arg, const char *uid, const struct kb_rt_sandbox_info *sandbox,
                   const struct kb_rt_ref *ref, const struct kb_rt_container_info *info)
{
    (void)info;
    struct kb_agent *agent = arg;
    struct kb__found *found = kb_map_get(&agent->found, kb_str_of(uid));
    if (found == NULL) {
        found = calloc(1, sizeof *found);
        KB_ASSERT(found != NULL);
        kb_map_put(&agent->found, kb_str_of(uid), found);
    }
    if (ref == NULL) {
        found->sandbox = sandbox != NULL;
        if (sandbox != NULL) {
            snprintf(found->ip, sizeof found->ip, "%s", sandbox->ip);
            found->host_network = sandbox->host_network;
        }
        return;
    }
    found->boxes = realloc(found->boxes, (found->n + 1) * sizeof *found->boxes);
    KB_ASSERT(found->boxes != NULL);
    found->boxes[found->n++] =
        (struct found_box){kb_str_dup(kb_str_of(ref->container)), ref->attempt};
}

void kb__pod_evict(struct kb__pod *pod, const char *why)
{
    TELL(pod, kb_pod_core_evict(pod->core, why, now, out));
}

void kb__pod_unclaimed(struct kb_agent *agent)
{
    kb_str key;
    void *value;
    for (size_t i = 0; kb_map_next(&agent->found, &i, &key, &value);) {
        KB_AUTO(kb_auto_free) char *uid = kb_str_dup(key);
        kb_map_del(&agent->found, key);
        found_free(value);
        kb_info("pod %s is no more in the cluster: removing what is left of it", uid);
        kb_runtime_remove_pod(agent->rt, uid);
    }
}

void kb__pod_free_all(struct kb_agent *agent)
{
    kb_str key;
    void *value;
    for (size_t i = 0; kb_map_next(&agent->pods_by_uid, &i, &key, &value);)
        pod_free(value);
    for (size_t i = 0; kb_map_next(&agent->found, &i, &key, &value);)
        found_free(value);
    kb_map_finish(&agent->pods_by_uid);
    kb_map_finish(&agent->pods_by_key);
    kb_map_finish(&agent->found);
}
