/* <kubus/policy/lifecycle.h>: pods one by one, after a decision and instead of one: groups,
 * permits, preemption. */
#ifndef KUBUS_POLICY_LIFECYCLE_H
#define KUBUS_POLICY_LIFECYCLE_H

#include <kubus/policy/nodes.h>
#include <kubus/policy/pod.h>

#include <stdbool.h>
#include <stdint.h>

struct kb_policy_cycle;

/* A pod that has a node: bound, being bound, or reserved and waiting for a permit. */
struct kb_policy_placed {
    uint32_t size;
    uint32_t node; /* slot */
    uint64_t id;
    const struct kb_policy_pod *pod;
    int32_t priority;
    uint32_t group;     /* as in kb_policy_queued */
    int64_t started_us; /* status.startTime, 0: not started */
    bool leaving;       /* it was evicted by a scheduler, and has not ended yet */
};

/* How the pods of a group stand. */
struct kb_policy_group {
    uint32_t size;
    uint32_t known;   /* pods of the group that are neither gone nor ended */
    uint32_t placed;  /* of these, bound or reserved, those that wait for a permit among them */
    int64_t since_ms; /* when its first pod was seen, on the driver's clock */
};

/* What a policy may ask and do about pods one by one. */
struct kb_policy_lifecycle {
    uint32_t size;
    /* A label, or an annotation, of a pod that waits or is reserved: interned text, 0 for none. Not
     * cheap: walks the labels. */
    uint32_t (*label)(void *core, const struct kb_policy_queued *pod, const char *key);
    uint32_t (*annotation)(void *core, const struct kb_policy_queued *pod, const char *key);
    /* Write an annotation to the pod together with its binding; from reserve until bind. */
    void (*annotate)(struct kb_policy_cycle *cycle, const char *key, const char *value);
    /* The nodes, for functions without a cycle. */
    const struct kb_policy_nodes *(*nodes)(void *core);
    /* How a group stands; all 0 for an unknown one. Valid until the call ends. */
    const struct kb_policy_group *(*group)(void *core, uint32_t group);
    /* The pods that wait for permits, oldest first: the one after `after` (NULL: the first), or
     * NULL. A pod that is allowed or rejected waits no longer: ask for the next one before. */
    const struct kb_policy_queued *(*waiting)(void *core, const struct kb_policy_queued *after);
    /* This policy's permit for a waiting pod: when all that said WAIT have given theirs, it is
     * bound. Or its refusal, which sends the pod back to the queue. */
    void (*allow)(struct kb_policy_cycle *cycle, const struct kb_policy_queued *pod);
    void (*reject)(struct kb_policy_cycle *cycle, const struct kb_policy_queued *pod,
                   const char *why);
    /* The whole group goes through the back-off together: its pods that wait for permits are
     * rejected, and those whose turn would come next need not try. Also from post_filter. */
    void (*send_back)(struct kb_policy_cycle *cycle, uint32_t group, const char *why);
};

/* What post_filter may do, and only during that call. The hypothesis is a world of its own that
 * begins as things stand: pods can be taken off nodes in it, and are back when the call ends. */
struct kb_policy_preemption {
    uint32_t size;
    uint32_t nominated; /* slot of the pod's nominated node; UINT32_MAX: none */
    uint64_t offset;    /* a random number: where to begin among equals */
    /* What filtering said of the node: as from `filter`, 0 fits. */
    uint32_t (*verdict)(struct kb_policy_cycle *cycle, uint32_t node);
    /* The pods on a node, in no order. Valid until post_filter ends. */
    uint32_t (*pods)(struct kb_policy_cycle *cycle, uint32_t node,
                     const struct kb_policy_placed *const **ret_pods);
    void (*remove)(struct kb_policy_cycle *cycle, const struct kb_policy_placed *pod);
    void (*put_back)(struct kb_policy_cycle *cycle, const struct kb_policy_placed *pod);
    /* Would the pod fit on the node in the hypothesis? Pods that are nominated to the node and have
     * the same or a higher priority are counted as if they were there. */
    bool (*fits)(struct kb_policy_cycle *cycle, uint32_t node);
    /* Of a set of pods, which could not be evicted, each after those before it, without
     * violating a PodDisruptionBudget. */
    void (*violations)(struct kb_policy_cycle *cycle, const struct kb_policy_placed *const *pods,
                       uint32_t n, bool *ret_violates);
    /* Words for the pod's condition: "preemption: 0/N nodes are available: …", by how many nodes
     * have a reason; `count_unfit` counts the reasons of the last `fits` that said no, once. Or one
     * sentence. */
    void (*count)(struct kb_policy_cycle *cycle, const char *reason, uint32_t nodes);
    void (*count_unfit)(struct kb_policy_cycle *cycle);
    void (*say)(struct kb_policy_cycle *cycle, const char *text);
    /* Carried out when post_filter returns OK: evicted gracefully, or sent back to the queue when
     * it only waits for a permit. */
    void (*evict)(struct kb_policy_cycle *cycle, const struct kb_policy_placed *pod);
};

#endif
