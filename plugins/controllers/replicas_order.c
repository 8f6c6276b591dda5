/* replicas_order.c - which pods go first when there are too many: those that do the least, as
 * Kubernetes orders them. Times count by their magnitude only (the logarithm of the age), so that
 * of pods about as old as each other any may go. */
#include "plugins/controllers/replicas.h"

#include <stdlib.h>

/* What the order needs of a pod, read once. */
struct rank {
    const struct kb_object *pod;
    int assigned, phase, ready;
    int64_t cost, ready_us, created_us, restarts;
    size_t doubled;     /* active related pods on its node */
    int ready_age, age; /* magnitudes */
};

static bool pod_active(kb_val pod)
{
    kb_str phase = kb_val_str_at(pod, "status.phase");
    return !kb_str_is(phase, "Succeeded") && !kb_str_is(phase, "Failed") && !kb_meta_deleting(pod);
}

uint64_t replicas_digest(kb_val pod)
{
    kb_val labels = kb_meta_labels(pod);
    uint64_t hash = kb_hash64(labels.p, kb_val_size(labels));
    return hash << 2 | (uint64_t)replicas_pod_ready(pod, NULL) << 1 | (uint64_t)pod_active(pod);
}

bool replicas_pod_ready(kb_val pod, int64_t *ret_since_us)
{
    kb_val ready = kb_cond_get(pod, "Ready");
    if (!kb_str_is(kb_val_str(kb_val_get(ready, "status")), "True"))
        return false;
    if (ret_since_us)
        *ret_since_us = kb_time_at(ready, "lastTransitionTime");
    return true;
}

static int64_t max_restarts(kb_val pod)
{
    int64_t most = 0;
    kb_val statuses = kb_val_at(pod, "status.containerStatuses");
    for (struct kb_iter it = kb_iter(statuses); kb_iter_next(&it);) {
        int64_t n = kb_val_int32(kb_val_get(it.val, "restartCount"), 0);
        most = n > most ? n : most;
    }
    return most;
}

/* The binary logarithm of the age in seconds, -1 below one. */
static int magnitude(int64_t now_us, int64_t since_us)
{
    int log = -1;
    for (int64_t seconds = (now_us - since_us) / 1000000; seconds > 0; seconds /= 2)
        log++;
    return log;
}

static int order(const void *x, const void *y)
{
    const struct rank *a = x, *b = y;
#define LESS_FIRST(field)                                                                          \
    if (a->field != b->field)                                                                      \
    return a->field < b->field ? -1 : 1
#define MORE_FIRST(field)                                                                          \
    if (a->field != b->field)                                                                      \
    return a->field > b->field ? -1 : 1
    LESS_FIRST(assigned);
    LESS_FIRST(phase);
    LESS_FIRST(ready);
    LESS_FIRST(cost);
    MORE_FIRST(doubled);
    if (a->ready && a->ready_us != b->ready_us) {
        LESS_FIRST(ready_age);
        return kb_str_cmp(kb_meta_uid(a->pod->doc), kb_meta_uid(b->pod->doc));
    }
    MORE_FIRST(restarts);
    if (a->created_us != b->created_us)
        LESS_FIRST(age);
    return kb_str_cmp(kb_meta_uid(a->pod->doc), kb_meta_uid(b->pod->doc));
#undef LESS_FIRST
#undef MORE_FIRST
}

static int phase_rank(kb_val pod)
{
    kb_str phase = kb_val_str_at(pod, "status.phase");
    return kb_str_is(phase, "Running") ? 2 : kb_str_is(phase, "Unknown") ? 1 : 0;
}

static struct rank rank_of(kb_controller *c, const struct kb_object *pod)
{
    struct rank r = {.pod = pod};
    int64_t now_us = kb_now_us(c);
    r.assigned = kb_val_str_at(pod->doc, "spec.nodeName").n > 0;
    r.phase = phase_rank(pod->doc);
    r.ready = replicas_pod_ready(pod->doc, &r.ready_us);
    kb_str_i64(kb_meta_annotation(pod->doc, "controller.kubernetes.io/pod-deletion-cost"), &r.cost);
    r.restarts = max_restarts(pod->doc);
    r.created_us = kb_time_at(pod->doc, "metadata.creationTimestamp");
    r.ready_age = magnitude(now_us, r.ready_us);
    r.age = magnitude(now_us, r.created_us);
    return r;
}

static int by_node(const void *x, const void *y)
{
    return kb_str_cmp(*(const kb_str *)x, *(const kb_str *)y);
}

/* How many of `nodes` (sorted) are `node`. */
static size_t count_of(const kb_str *nodes, size_t n, kb_str node)
{
    size_t low = 0, high = n, count = 0;
    while (low < high) {
        size_t mid = (low + high) / 2;
        if (kb_str_cmp(nodes[mid], node) < 0)
            low = mid + 1;
        else
            high = mid;
    }
    while (low + count < n && kb_str_eq(nodes[low + count], node))
        count++;
    return count;
}

void replicas_order(kb_controller *c, struct kb_objects pods, struct kb_objects related)
{
    struct rank *ranks = kb_arena_alloc(kb_arena(c), (pods.count + 1) * sizeof(*ranks));
    kb_str *nodes = kb_arena_alloc(kb_arena(c), (related.count + 1) * sizeof(*nodes));
    size_t n = 0;
    for (size_t i = 0; i < related.count; i++) {
        kb_str node = kb_val_str_at(related.items[i]->doc, "spec.nodeName");
        if (node.n && replicas_active(related.items[i]))
            nodes[n++] = node;
    }
    qsort(nodes, n, sizeof(*nodes), by_node);
    for (size_t i = 0; i < pods.count; i++) {
        ranks[i] = rank_of(c, pods.items[i]);
        ranks[i].doubled = count_of(nodes, n, kb_val_str_at(pods.items[i]->doc, "spec.nodeName"));
    }
    qsort(ranks, pods.count, sizeof(*ranks), order);
    for (size_t i = 0; i < pods.count; i++)
        pods.items[i] = ranks[i].pod;
}
