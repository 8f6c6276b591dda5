/* node.c - watches over nodes: says when one has fallen silent, taints it, and moves its pods away.
 *
 * A node proves that it lives by renewing its Lease. What counts is when this controller saw the
 * renewal, by its own clock: clocks of nodes need not agree. A controller that starts anew gives
 * every node a whole grace period. After the grace the node's conditions become Unknown, it gets
 * the taints of Kubernetes, and each of its pods is deleted when its toleration of them runs out.
 * Pods of a node that does not exist any more are removed for good. */
#include <kubus/plugin.h>

#include <stdlib.h>

#define LEASES            "leases.coordination.k8s.io"
#define LEASE_NS          "kube-node-lease"
#define TAINT_NOT_READY   "node.kubernetes.io/not-ready"
#define TAINT_UNREACHABLE "node.kubernetes.io/unreachable"

enum { GRACE_MS = 40000, ORPHANED_PODS_MS = 40000 };

/* What this controller remembers of a node. */
struct seen {
    char renewed[64]; /* the lease's renewTime, as text */
    char beat[64];    /* the Ready condition's lastHeartbeatTime */
    kb_ms at_ms;      /* when either last changed */
    kb_ms gone_ms;    /* when the node was first found missing; 0: it is there */
};

struct nodes {
    struct kb_map seen; /* name → struct seen */
};

static int start(kb_controller *c, void **ret_user, struct kb_err *err)
{
    (void)c, (void)err;
    *ret_user = calloc(1, sizeof(struct nodes));
    KB_ASSERT(*ret_user != NULL);
    return 0;
}

static void stop(void *user)
{
    struct nodes *nodes = user;
    void *seen;
    for (size_t i = 0; kb_map_next(&nodes->seen, &i, NULL, &seen);)
        free(seen);
    kb_map_finish(&nodes->seen);
    free(nodes);
}

static struct seen *seen_of(kb_controller *c, kb_str name)
{
    struct nodes *nodes = kb_user(c);
    struct seen *seen = kb_map_get(&nodes->seen, name);
    if (seen)
        return seen;
    seen = calloc(1, sizeof(*seen));
    KB_ASSERT(seen != NULL);
    seen->at_ms = kb_now_ms(c);
    kb_map_put(&nodes->seen, name, seen);
    return seen;
}

static void seen_forget(kb_controller *c, kb_str name)
{
    struct nodes *nodes = kb_user(c);
    free(kb_map_del(&nodes->seen, name));
}

/* ---- silence ---- */

static bool text_changed(kb_str now, char *kept, size_t cap)
{
    if (kb_str_is(now, kept))
        return false;
    kb_str_copy(now, kept, cap);
    return true;
}

/* Milliseconds until the node counts as silent; ≤ 0 when it does. */
static kb_ms left_ms(kb_controller *c, const struct kb_object *node)
{
    struct seen *seen = seen_of(c, node->key.name);
    const struct kb_object *lease = kb_get(c, LEASES, kb_str_of(LEASE_NS), node->key.name);
    kb_str renewed = lease ? kb_val_str_at(lease->doc, "spec.renewTime") : kb_str_of("");
    kb_str beat = kb_val_str_at(kb_cond_get(node->doc, "Ready"), "lastHeartbeatTime");
    bool alive = text_changed(renewed, seen->renewed, sizeof(seen->renewed));
    alive |= text_changed(beat, seen->beat, sizeof(seen->beat));
    if (alive || seen->gone_ms)
        seen->at_ms = kb_now_ms(c);
    seen->gone_ms = 0;
    return seen->at_ms + GRACE_MS - kb_now_ms(c);
}

static void wish_unknown(kb_controller *c, const struct kb_object *node)
{
    static const char *const types[] = {"Ready", "MemoryPressure", "DiskPressure", "PIDPressure"};
    struct kb_arena *a = kb_arena(c);
    struct kb_node *object = kb_node_of(a, node->doc);
    struct kb_node *status = kb_node_ensure(a, object, "status");
    bool changed = false;
    for (size_t i = 0; i < KB_COUNT(types); i++) {
        bool posted = kb_val_present(kb_cond_get(node->doc, types[i]));
        struct kb_cond cond = {
            types[i], "Unknown", posted ? "NodeStatusUnknown" : "NodeStatusNeverUpdated",
            posted ? "Kubelet stopped posting node status." : "Kubelet never posted node status.",
            false};
        if (!kb_cond_is(node->doc, types[i], "Unknown"))
            changed |= kb_cond_set(a, status, &cond, kb_now_us(c));
    }
    if (!changed)
        return;
    kb_wish_update(c, node, "status", object);
    kb_event(c, node, "Normal", "NodeNotReady", "Node " KB_STR_FMT " status is now: NodeNotReady",
             KB_STR_ARG(node->key.name));
}

/* The pods of a node that fell silent are not ready: Services shall not lead to them. */
static void wish_pods_not_ready(kb_controller *c, const struct kb_object *node)
{
    struct kb_objects pods = kb_list_indexed(c, "pods", node->key.name);
    for (size_t i = 0; i < pods.count; i++) {
        const struct kb_object *pod = pods.items[i];
        if (!kb_cond_is(pod->doc, "Ready", "True"))
            continue;
        struct kb_arena *a = kb_arena(c);
        struct kb_node *patch = kb_node_map(a);
        struct kb_node *status = kb_node_ensure(a, patch, "status");
        kb_node_put(a, status, "conditions",
                    kb_node_of(a, kb_val_at(pod->doc, "status.conditions")));
        struct kb_cond cond = {"Ready", "False", NULL, NULL, false};
        kb_cond_set(a, status, &cond, kb_now_us(c));
        kb_wish_if_unchanged(kb_wish_patch(c, pod, "status", patch));
        kb_event(c, pod, "Warning", "NodeNotReady", "Node is not ready");
    }
}

/* ---- taints ---- */

struct taint {
    const char *key, *effect;
    bool wanted, timed;
};

static bool taint_is(kb_val taint, const struct taint *want)
{
    return kb_str_is(kb_val_str_at(taint, "key"), want->key) &&
           kb_str_is(kb_val_str_at(taint, "effect"), want->effect);
}

static struct kb_node *taint_new(kb_controller *c, const struct taint *taint)
{
    struct kb_arena *a = kb_arena(c);
    struct kb_node *node = kb_node_map(a);
    kb_node_set_cstr(a, node, "key", taint->key);
    kb_node_set_cstr(a, node, "effect", taint->effect);
    if (taint->timed)
        kb_node_put(a, node, "timeAdded", kb_node_time(a, kb_now_us(c)));
    return node;
}

/* Which of our taints a node is to have, by its conditions. */
static size_t taints_wanted(const struct kb_object *node, struct taint out[10])
{
    bool unknown = kb_cond_is(node->doc, "Ready", "Unknown");
    bool not_ready = !unknown && !kb_cond_is(node->doc, "Ready", "True");
    const struct taint taints[] = {
        {TAINT_NOT_READY, "NoSchedule", not_ready, false},
        {TAINT_NOT_READY, "NoExecute", not_ready, true},
        {TAINT_UNREACHABLE, "NoSchedule", unknown, false},
        {TAINT_UNREACHABLE, "NoExecute", unknown, true},
        {"node.kubernetes.io/memory-pressure", "NoSchedule",
         kb_cond_is(node->doc, "MemoryPressure", "True"), false},
        {"node.kubernetes.io/disk-pressure", "NoSchedule",
         kb_cond_is(node->doc, "DiskPressure", "True"), false},
        {"node.kubernetes.io/pid-pressure", "NoSchedule",
         kb_cond_is(node->doc, "PIDPressure", "True"), false},
        {"node.kubernetes.io/network-unavailable", "NoSchedule",
         kb_cond_is(node->doc, "NetworkUnavailable", "True"), false},
        {"node.kubernetes.io/unschedulable", "NoSchedule",
         kb_val_bool_at(node->doc, "spec.unschedulable", false), false},
    };
    memcpy(out, taints, sizeof(taints));
    return KB_COUNT(taints);
}

static void wish_taints(kb_controller *c, const struct kb_object *node)
{
    struct taint wanted[10];
    bool there[10] = {false}, changed = false;
    size_t n = taints_wanted(node, wanted);
    struct kb_arena *a = kb_arena(c);
    struct kb_node *list = kb_node_array(a);
    for (struct kb_iter it = kb_iter(kb_val_at(node->doc, "spec.taints")); kb_iter_next(&it);) {
        bool keep = true;
        for (size_t i = 0; i < n; i++) {
            if (!taint_is(it.val, &wanted[i]))
                continue;
            there[i] = true;
            keep = wanted[i].wanted;
        }
        if (keep)
            kb_node_append(a, list, kb_node_of(a, it.val));
        changed |= !keep;
    }
    for (size_t i = 0; i < n; i++) {
        if (!wanted[i].wanted || there[i])
            continue;
        kb_node_append(a, list, taint_new(c, &wanted[i]));
        changed = true;
    }
    if (!changed)
        return;
    struct kb_node *patch = kb_node_map(a);
    kb_node_set(a, patch, "spec.taints", list);
    kb_wish_if_unchanged(kb_wish_patch(c, node, NULL, patch));
}

/* ---- eviction ---- */

/* When a pod has to leave because of one taint, wall clock in microseconds: 0 at once, INT64_MAX
 * never. Of several tolerations that fit, the shortest counts. */
static int64_t leaves_us(kb_val pod, kb_val taint, int64_t now_us)
{
    bool tolerated = false;
    int64_t shortest = INT64_MAX;
    for (struct kb_iter it = kb_iter(kb_val_at(pod, "spec.tolerations")); kb_iter_next(&it);) {
        if (!kb_toleration_match(it.val, taint))
            continue;
        tolerated = true;
        if (!kb_val_present(kb_val_get(it.val, "tolerationSeconds")))
            continue;
        int64_t seconds = kb_val_int_at(it.val, "tolerationSeconds", 0);
        if (seconds < shortest)
            shortest = seconds < 0 ? 0 : seconds;
    }
    if (!tolerated)
        return 0;
    int64_t since = kb_time_at(taint, "timeAdded");
    return shortest > INT32_MAX ? INT64_MAX : (since ? since : now_us) + shortest * 1000000;
}

static int64_t pod_leaves_us(kb_val node, kb_val pod, int64_t now_us)
{
    int64_t earliest = INT64_MAX;
    for (struct kb_iter it = kb_iter(kb_val_at(node, "spec.taints")); kb_iter_next(&it);) {
        if (!kb_str_is(kb_val_str_at(it.val, "effect"), "NoExecute"))
            continue;
        int64_t at = leaves_us(pod, it.val, now_us);
        if (at < earliest)
            earliest = at;
    }
    return earliest;
}

static void evict(kb_controller *c, const struct kb_object *node)
{
    struct kb_objects pods = kb_list_indexed(c, "pods", node->key.name);
    int64_t now_us = kb_now_us(c), next_us = INT64_MAX;
    for (size_t i = 0; i < pods.count; i++) {
        const struct kb_object *pod = pods.items[i];
        if (kb_meta_deleting(pod->doc))
            continue;
        int64_t at = pod_leaves_us(node->doc, pod->doc, now_us);
        if (at > now_us) {
            next_us = at < next_us ? at : next_us;
            continue;
        }
        kb_wish_delete(c, pod);
        kb_event(c, pod, "Normal", "TaintManagerEviction",
                 "Marking for deletion Pod " KB_STR_FMT "/" KB_STR_FMT, KB_STR_ARG(pod->key.ns),
                 KB_STR_ARG(pod->key.name));
    }
    if (next_us != INT64_MAX)
        kb_requeue(c, (next_us - now_us) / 1000 + 1);
}

/* The node is gone: nobody will ever report that its pods have ended. */
static void remove_orphaned_pods(kb_controller *c, kb_str name)
{
    struct kb_objects pods = kb_list_indexed(c, "pods", name);
    if (pods.count == 0) {
        seen_forget(c, name);
        return;
    }
    struct seen *seen = seen_of(c, name);
    if (seen->gone_ms == 0)
        seen->gone_ms = kb_now_ms(c);
    kb_ms left = seen->gone_ms + ORPHANED_PODS_MS - kb_now_ms(c);
    if (left > 0) {
        kb_requeue(c, left);
        return;
    }
    for (size_t i = 0; i < pods.count; i++)
        kb_wish_grace(kb_wish_delete(c, pods.items[i]), 0);
}

static kb_result reconcile(kb_controller *c, kb_key key)
{
    const struct kb_object *node = kb_get(c, "nodes", kb_str_of(""), key.name);
    if (node == NULL) {
        remove_orphaned_pods(c, key.name);
        return 0;
    }
    kb_ms left = left_ms(c, node);
    if (left > 0) {
        kb_requeue(c, left);
    } else {
        wish_unknown(c, node);
        wish_pods_not_ready(c, node);
    }
    wish_taints(c, node);
    evict(c, node);
    return 0;
}

static void lease_changed(kb_controller *c, const struct kb_object *now,
                          const struct kb_object *old)
{
    kb_enqueue(c, kb_str_of(""), (now ? now : old)->key.name);
}

/* Only where a pod is matters here, not how it fares. */
static void pod_changed(kb_controller *c, const struct kb_object *now, const struct kb_object *old)
{
    kb_str node = now ? kb_val_str_at(now->doc, "spec.nodeName") : kb_str_of("");
    kb_str was = old ? kb_val_str_at(old->doc, "spec.nodeName") : kb_str_of("");
    if (node.n && !kb_str_eq(node, was))
        kb_enqueue(c, kb_str_of(""), node);
}

KB_CONTROLLER("node", .primary = "nodes",
              .watches = {{.resource = LEASES,
                           .query = "ns=" LEASE_NS,
                           .keep = "metadata spec",
                           .map = lease_changed},
                          {.resource = "pods",
                           .index = "spec.nodeName",
                           .keep = "metadata spec.nodeName spec.tolerations status.conditions",
                           .map = pod_changed}},
              .writes = {"nodes", "nodes/status", "pods", "pods/status"}, .start = start,
              .stop = stop, .reconcile = reconcile);
