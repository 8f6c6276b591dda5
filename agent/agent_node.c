/* agent_node.c - the Node object: made at the start, its status written when it is not what it
 * should be and every five minutes, its Lease renewed every ten seconds (that is what the node
 * controller watches). */
#include "agent/agent_impl.h"
#include "agent/files.h"
#include "bus/base/log.h"
#include "bus/model/key.h"
#include "bus/model/meta.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/statvfs.h>
#include <sys/utsname.h>
#include <unistd.h>

enum { LEASE_MS = 10000, LEASE_SECONDS = 40, STATUS_MS = 300000, RETRY_MS = 1000, PODS_MAX = 110 };

static void send_status(void *arg);
static void send_lease(void *arg);
static void register_node(void *arg);

static const char *architecture(void)
{
#if defined(__x86_64__)
    return "amd64";
#elif defined(__aarch64__)
    return "arm64";
#else
    return "unknown";
#endif
}

static void w_labels(struct kb_w *w, const struct kb__node *node)
{
    kb_w_kmap(w, "labels");
    kb_w_kcstr(w, "beta.kubernetes.io/arch", architecture());
    kb_w_kcstr(w, "beta.kubernetes.io/os", "linux");
    kb_w_kcstr(w, "kubernetes.io/arch", architecture());
    kb_w_kcstr(w, "kubernetes.io/hostname", node->name);
    kb_w_kcstr(w, "kubernetes.io/os", "linux");
    kb_w_end(w);
}

/* ---- status ---- */

static void put_amounts(struct kb_arena *a, struct kb_node *status, const char *key,
                        const struct kb_agent *agent)
{
    struct kb_node *m = kb_node_map(a);
    struct statvfs fs = {0};
    if (agent->hollow || statvfs(agent->options->data_dir, &fs) < 0)
        fs.f_blocks = 25 << 20, fs.f_frsize = 4096;
    kb_node_put(a, m, "cpu",
                kb_node_str(a, kb_arena_printf(a, "%lld", (long long)agent->cpu_milli / 1000)));
    kb_node_put(
        a, m, "ephemeral-storage",
        kb_node_str(
            a, kb_arena_printf(a, "%lluKi", (unsigned long long)fs.f_blocks * fs.f_frsize / 1024)));
    kb_node_put(a, m, "hugepages-1Gi", kb_node_cstr(a, "0"));
    kb_node_put(a, m, "hugepages-2Mi", kb_node_cstr(a, "0"));
    kb_node_put(
        a, m, "memory",
        kb_node_str(a, kb_arena_printf(a, "%lldKi", (long long)agent->memory_bytes / 1024)));
    kb_node_put(a, m, "pods", kb_node_str(a, kb_arena_printf(a, "%d", PODS_MAX)));
    kb_node_put(a, status, key, m);
}

static void put_address(struct kb_arena *a, struct kb_node *list, const char *type,
                        const char *value)
{
    struct kb_node *entry = kb_node_map(a);
    kb_node_set_cstr(a, entry, "address", value);
    kb_node_set_cstr(a, entry, "type", type);
    kb_node_append(a, list, entry);
}

/* The value of PRETTY_NAME in os-release, and the like. */
static kb_str file_text(const char *path, struct kb_buf *buf, const char *key)
{
    kb_str text = kb_get_file(path, buf);
    if (key != NULL)
        text = kb_line_value(text, key);
    text = kb_str_trim(text);
    if (text.n >= 2 && text.p[0] == '"')
        text = kb_str_n(text.p + 1, text.n - 2);
    return text;
}

static void put_info(struct kb_arena *a, struct kb_node *status, const struct kb__node *node)
{
    KB_AUTO(kb_buf_finish) struct kb_buf buf = {0};
    struct kb_node *info = kb_node_map(a);
    struct utsname uts = {0};
    uname(&uts);
    kb_node_set_cstr(a, info, "architecture", architecture());
    kb_node_set_str(a, info, "bootID", file_text("/proc/sys/kernel/random/boot_id", &buf, NULL));
    kb_node_set_cstr(a, info, "containerRuntimeVersion", kb_runtime_version(node->agent->rt));
    kb_node_set_cstr(a, info, "kernelVersion", uts.release);
    kb_node_set_cstr(a, info, "kubeProxyVersion", "v1.32.0+kubus");
    kb_node_set_cstr(a, info, "kubeletVersion", "v1.32.0+kubus");
    kb_node_set_str(a, info, "machineID", file_text("/etc/machine-id", &buf, NULL));
    kb_node_set_cstr(a, info, "operatingSystem", "linux");
    kb_node_set_str(a, info, "osImage", file_text("/etc/os-release", &buf, "PRETTY_NAME"));
    kb_node_set_str(a, info, "systemUUID", file_text("/sys/class/dmi/id/product_uuid", &buf, NULL));
    kb_node_put(a, status, "nodeInfo", info);
}

static void put_conditions(struct kb_arena *a, struct kb_node *status, kb_val old, int64_t now_us)
{
    static const struct kb_cond conditions[] = {
        {"MemoryPressure", "False", "KubeletHasSufficientMemory",
         "kubelet has sufficient memory available", false},
        {"DiskPressure", "False", "KubeletHasNoDiskPressure", "kubelet has no disk pressure",
         false},
        {"PIDPressure", "False", "KubeletHasSufficientPID", "kubelet has sufficient PID available",
         false},
        {"Ready", "True", "KubeletReady", "kubelet is posting ready status", false},
    };
    kb_val list = kb_val_at(old, "status.conditions");
    kb_node_put(a, status, "conditions",
                kb_val_count(list) > 0 ? kb_node_of(a, list) : kb_node_array(a));
    for (size_t i = 0; i < KB_COUNT(conditions); i++) {
        (void)kb_cond_set(a, status, &conditions[i], now_us);
        kb_node_put(a, kb_cond_node(status, conditions[i].type), "lastHeartbeatTime",
                    kb_node_time(a, now_us));
    }
}

static struct kb_node *make_status(struct kb_arena *a, const struct kb__node *node, kb_val old)
{
    struct kb_agent *agent = node->agent;
    struct kb_node *status = kb_node_map(a), *addresses = kb_node_array(a);
    put_address(a, addresses, "InternalIP", node->ip);
    put_address(a, addresses, "Hostname", node->name);
    kb_node_put(a, status, "addresses", addresses);
    put_amounts(a, status, "capacity", agent);
    put_amounts(a, status, "allocatable", agent);
    put_conditions(a, status, old, kb_ev_wall_us(agent->ev));
    kb_node_set_int(a, status, "daemonEndpoints.kubeletEndpoint.Port", 10250);
    put_info(a, status, node);
    kb_node_put(a, status, "images", kb__images_listed(agent, a));
    return status;
}

static void on_status(void *user, const struct kb_err *err, kb_val body)
{
    struct kb__node *node = user;
    (void)body;
    kb_ms next = err == NULL ? STATUS_MS : RETRY_MS;
    if (err != NULL && abs(err->code) == KB_ENOTFOUND) {
        kb_ev_arm(node->agent->ev, &node->status_timer, 0, register_node, node);
        return;
    }
    if (err != NULL)
        kb_warn("status of node %s: %s", node->name, err->text);
    kb_ev_arm(node->agent->ev, &node->status_timer, next, send_status, node);
}

static void patch_status(struct kb__node *node, kb_val old)
{
    KB_AUTO(kb_arena_finish) struct kb_arena arena = {0};
    KB_AUTO(kb_w_finish) struct kb_w w = {0};
    kb_w_map(&w);
    kb_w_kcstr(&w, "resource", "nodes");
    kb_w_kcstr(&w, "ns", "");
    kb_w_kcstr(&w, "name", node->name);
    kb_w_kcstr(&w, "subresource", "status");
    kb_w_kcstr(&w, "type", "merge");
    kb_w_kmap(&w, "patch");
    kb_w_key(&w, "status");
    kb_w_node(&w, make_status(&arena, node, old));
    kb_w_end(&w);
    kb_w_kcstr(&w, "manager", "kubelet");
    kb_w_end(&w);
    kb_ev_disarm(node->agent->ev, &node->status_timer);
    kb_call(node->agent->api, "object.patch", kb_w_val(&w), CALL_TIMEOUT_MS, on_status, node);
}

/* Conditions of others, and the times of ours, are kept: read the object first. */
static void on_read(void *user, const struct kb_err *err, kb_val body)
{
    struct kb__node *node = user;
    if (err != NULL)
        on_status(user, err, body);
    else
        patch_status(node, kb_val_get(body, "doc"));
}

static void send_status(void *arg)
{
    struct kb__node *node = arg;
    KB_AUTO(kb_w_finish) struct kb_w w = {0};
    KB_AUTO(kb_auto_free) char *key = kb_strf("nodes//%s", node->name);
    kb_w_map(&w);
    kb_w_kcstr(&w, "key", key);
    kb_w_end(&w);
    kb_call(kb_actor_peer(node->agent->actor, "store"), "store.get", kb_w_val(&w), CALL_TIMEOUT_MS,
            on_read, node);
}

/* ---- making it ---- */

static void on_registered(void *user, const struct kb_err *err, kb_val body)
{
    struct kb__node *node = user;
    struct kb_ev *ev = node->agent->ev;
    if (err != NULL && abs(err->code) != KB_EEXISTS && abs(err->code) != KB_ECONFLICT) {
        kb_warn("register node %s: %s", node->name, err->text);
        kb_ev_arm(ev, &node->status_timer, RETRY_MS, register_node, node);
        return;
    }
    node->registered = true;
    if (!node->started_told)
        kb__node_event(node, "Starting");
    node->started_told = true;
    kb__node_follow_pods(node);
    bool whole = err == NULL && kb_val_count(kb_val_at(body, "doc.status.conditions")) > 0;
    if (whole)
        kb_ev_arm(ev, &node->status_timer, STATUS_MS, send_status, node);
    else
        send_status(node);
    if (!kb_timer_armed(&node->lease_timer.timer))
        send_lease(node);
}

static void register_node(void *arg)
{
    struct kb__node *node = arg;
    KB_AUTO(kb_arena_finish) struct kb_arena arena = {0};
    KB_AUTO(kb_w_finish) struct kb_w w = {0};
    kb_w_map(&w);
    kb_w_kcstr(&w, "resource", "nodes");
    kb_w_kcstr(&w, "ns", "");
    kb_w_kmap(&w, "doc");
    kb_w_kcstr(&w, "apiVersion", "v1");
    kb_w_kcstr(&w, "kind", "Node");
    kb_w_kmap(&w, "metadata");
    kb_w_kcstr(&w, "name", node->name);
    w_labels(&w, node);
    kb_w_end(&w);
    kb_w_kmap(&w, "spec");
    if (node->cidr[0]) {
        kb_w_kcstr(&w, "podCIDR", node->cidr);
        kb_w_karray(&w, "podCIDRs");
        kb_w_cstr(&w, node->cidr);
        kb_w_end(&w);
    }
    kb_w_end(&w);
    kb_w_key(&w, "status");
    kb_w_node(&w, make_status(&arena, node, (kb_val){0}));
    kb_w_end(&w);
    kb_w_kcstr(&w, "manager", "kubelet");
    kb_w_end(&w);
    kb_call(node->agent->api, "object.create", kb_w_val(&w), CALL_TIMEOUT_MS, on_registered, node);
}

/* ---- lease ---- */

static void w_lease_spec(struct kb_w *w, const struct kb__node *node)
{
    char now[KB_TIME_BYTES];
    kb_time_format_micro(kb_ev_wall_us(node->agent->ev), now);
    kb_w_kmap(w, "spec");
    kb_w_kcstr(w, "holderIdentity", node->name);
    kb_w_kint(w, "leaseDurationSeconds", LEASE_SECONDS);
    kb_w_kcstr(w, "renewTime", now);
    kb_w_end(w);
}

static void on_lease_made(void *user, const struct kb_err *err, kb_val body)
{
    struct kb__node *node = user;
    bool ok = err == NULL || abs(err->code) == KB_EEXISTS;
    (void)body;
    if (!ok)
        kb_debug("lease of node %s: %s", node->name, err->text);
    kb_ev_arm(node->agent->ev, &node->lease_timer, ok ? LEASE_MS : RETRY_MS, send_lease, node);
}

static void make_lease(struct kb__node *node)
{
    KB_AUTO(kb_w_finish) struct kb_w w = {0};
    kb_w_map(&w);
    kb_w_kcstr(&w, "resource", "leases.coordination.k8s.io");
    kb_w_kcstr(&w, "ns", "kube-node-lease");
    kb_w_kmap(&w, "doc");
    kb_w_kcstr(&w, "apiVersion", "coordination.k8s.io/v1");
    kb_w_kcstr(&w, "kind", "Lease");
    kb_w_kmap(&w, "metadata");
    kb_w_kcstr(&w, "name", node->name);
    kb_w_kcstr(&w, "namespace", "kube-node-lease");
    kb_w_end(&w);
    w_lease_spec(&w, node);
    kb_w_end(&w);
    kb_w_kcstr(&w, "manager", "kubelet");
    kb_w_end(&w);
    kb_call(node->agent->api, "object.create", kb_w_val(&w), CALL_TIMEOUT_MS, on_lease_made, node);
}

static void on_renewed(void *user, const struct kb_err *err, kb_val body)
{
    struct kb__node *node = user;
    (void)body;
    if (err != NULL && abs(err->code) == KB_ENOTFOUND) {
        make_lease(node);
        return;
    }
    if (err != NULL)
        kb_warn("lease of node %s: %s", node->name, err->text);
    kb_ev_arm(node->agent->ev, &node->lease_timer, err == NULL ? LEASE_MS : RETRY_MS, send_lease,
              node);
}

static void send_lease(void *arg)
{
    struct kb__node *node = arg;
    KB_AUTO(kb_w_finish) struct kb_w w = {0};
    kb_w_map(&w);
    kb_w_kcstr(&w, "resource", "leases.coordination.k8s.io");
    kb_w_kcstr(&w, "ns", "kube-node-lease");
    kb_w_kcstr(&w, "name", node->name);
    kb_w_kcstr(&w, "type", "merge");
    kb_w_kmap(&w, "patch");
    w_lease_spec(&w, node);
    kb_w_end(&w);
    kb_w_kcstr(&w, "manager", "kubelet");
    kb_w_end(&w);
    kb_call(node->agent->api, "object.patch", kb_w_val(&w), LEASE_MS, on_renewed, node);
}

/* ---- */

/* Its Node as it will be registered. */
static struct kb_doc *first_facts(const struct kb__node *node)
{
    KB_AUTO(kb_w_finish) struct kb_w w = {0};
    kb_w_map(&w);
    kb_w_kmap(&w, "metadata");
    kb_w_kcstr(&w, "name", node->name);
    w_labels(&w, node);
    kb_w_end(&w);
    kb_w_end(&w);
    return kb_admit_node(kb_w_val(&w));
}

void kb__node_start(struct kb__node *node)
{
    const struct kb_agent *agent = node->agent;
    size_t index = (size_t)(node - agent->nodes);
    node->allocatable = (struct kb_amounts){{[KB_AMOUNT_PODS] = PODS_MAX,
                                             [KB_AMOUNT_CPU] = agent->cpu_milli,
                                             [KB_AMOUNT_MEMORY] = agent->memory_bytes,
                                             [KB_AMOUNT_EPHEMERAL] = INT64_MAX}};
    node->facts = first_facts(node);
    /* Many nodes do not come all in one instant. */
    kb_ev_arm(agent->ev, &node->status_timer, (kb_ms)(index / 4), register_node, node);
}

static struct kb__node *node_named(struct kb_agent *agent, kb_str name)
{
    size_t n = strlen(agent->options->node);
    uint64_t index;
    if (agent->n_nodes == 1)
        return kb_str_is(name, agent->nodes[0].name) ? &agent->nodes[0] : NULL;
    if (name.n < n + 2 || memcmp(name.p, agent->options->node, n) != 0 || name.p[n] != '-' ||
        !kb_str_u64(kb_str_n(name.p + n + 1, name.n - n - 1), &index) || index >= agent->n_nodes)
        return NULL;
    return &agent->nodes[index];
}

/* What people look for in `kubectl describe node`: when it was ready, who has cordoned it when. */
static void tell_changes(struct kb__node *node, kb_val doc)
{
    enum { FRESH_US = 60000000 }; /* an older one was told by an agent before us */
    int64_t since_us = kb_time_at(kb_cond_get(doc, "Ready"), "lastTransitionTime");
    bool ready = kb_cond_is(doc, "Ready", "True");
    bool cordoned = kb_val_bool_at(doc, "spec.unschedulable", false);
    if (ready && !node->ready_told && kb_ev_wall_us(node->agent->ev) - since_us < FRESH_US)
        kb__node_event(node, "NodeReady");
    if (cordoned != node->cordoned)
        kb__node_event(node, cordoned ? "NodeNotSchedulable" : "NodeSchedulable");
    node->ready_told = ready;
    node->cordoned = cordoned;
}

/* Somebody removed our Node, or thinks that we are not ready: say otherwise at once. */
void kb__node_seen(struct kb_agent *agent, const struct kb_change *change)
{
    struct kb_key key;
    if (kb_key_parse(change->key, &key, NULL) < 0)
        return;
    struct kb__node *node = node_named(agent, key.name);
    if (node != NULL && change->op == KB_PUT) {
        node->allocatable = kb_admit_allocatable(change->doc);
        kb_doc_destroy(&node->facts);
        node->facts = kb_admit_node(change->doc);
        tell_changes(node, change->doc);
    }
    if (node == NULL || !node->registered)
        return;
    if (change->op == KB_DEL)
        kb_ev_arm(agent->ev, &node->status_timer, 0, register_node, node);
    else if (!kb_cond_is(change->doc, "Ready", "True"))
        kb_ev_arm(agent->ev, &node->status_timer, 0, send_status, node);
}

void kb__node_images_changed(struct kb_agent *agent)
{
    for (size_t i = 0; i < agent->n_nodes; i++)
        if (agent->nodes[i].registered)
            kb_ev_arm(agent->ev, &agent->nodes[i].status_timer, 0, send_status, &agent->nodes[i]);
}

void kb__node_stop(struct kb__node *node)
{
    kb_ev_disarm(node->agent->ev, &node->lease_timer);
    kb_ev_disarm(node->agent->ev, &node->status_timer);
}
