/* <kubus/policy.h>: the ABI of scheduling policies. A policy is one file that includes this header
 * alone, and runs unchanged in the live scheduler and in a simulation: it sees no clock, no thread
 * and no I/O, and cannot tell which of the two calls it.
 *
 *     static void filter(struct kb_policy_cycle *c, uint32_t from, uint32_t to, uint32_t *verdict)
 *     {
 *         for (uint32_t i = from; i < to; i++)
 *             verdict[i - from] = c->nodes->unschedulable[i];
 *     }
 *     KB_POLICY(NodeUnschedulable, .filter = filter, .reason = reason);
 *
 * Nodes come as COLUMNS: one array per attribute, indexed by the node's slot. A filter or score is
 * called for a run of slots [from, to), KB_POLICY_RUN at most, and writes one number for each, so
 * that it is a loop which a compiler can vectorize. Not every slot holds a node (see `present`);
 * what is written for an empty slot, or as the score of a node that does not fit, is ignored, but
 * must not crash.
 *
 * IDENTICAL PODS SHARE WORK. All pods whose scheduling-relevant fields are equal are one
 * `kb_policy_pod`. Verdicts and scores are kept per kb_policy_pod, and after a change of a node
 * only that node's slot is computed again, in a run of length one. Hence the rule for policies
 * without the flag KB_POLICY_GLOBAL: a verdict and a raw score may depend on the pod, the node's
 * own columns and the policy's configuration, and on nothing else. A policy that looks at other
 * nodes or at the pods of the whole cluster sets the flag, and is computed anew for every decision,
 * or whenever its function `stale` says so; the verdicts and scores of others stand meanwhile.
 *
 * Texts (names, label keys and values, taints) are interned: equal texts have equal ids, 0 is
 * "none".
 *
 * WHERE IS WHAT. Here are the calls: a cycle, what a policy answers, and the descriptor, in which
 * each function says when it is called. What a policy sees and may ask for is in the headers that
 * this one includes; most need the first two. Beside them, for those that want it: what policies of
 * one sort share (<kubus/policy/packing.h>, <kubus/policy/volumes_seen.h>).
 *
 * Changelog of the ABI
 *   1  first
 *   2  devices: GPUs one by one and in fractions (kb_policy_devices, `assign`), the workload,
 *      `random`
 *      lifecycle: post_filter, permit, pre_bind, bind and post_bind are driven; the pod itself
 *      (kb_policy_cycle.who), waiting pods, groups, preemption
 *      pods of the cluster: namespaces, labels, affinity, spreading, images, counts by node
 *      GLOBAL policies: `stale`, `fits`, normalization BY_SPAN and BY_REST
 *      the flag REQUIRED; `outside`, and WAIT from pre_filter
 *      volumes: claims, volumes, classes, limits, disks */
#ifndef KUBUS_POLICY_H
#define KUBUS_POLICY_H

#include <kubus/policy/pod.h>       /* a pod: requests, tolerations, affinity …; and its turn */
#include <kubus/policy/nodes.h>     /* the nodes, in columns, with their GPUs */
#include <kubus/policy/host.h>      /* what can be asked: texts, labels, counts, arguments … */
#include <kubus/policy/arguments.h> /* … which a policy reads when it is put to work */
#include <kubus/policy/cluster.h>   /* for GLOBAL policies: pods counted by node and by domain */
#include <kubus/policy/volumes.h>   /* claims, volumes, storage classes */
#include <kubus/policy/workload.h>  /* what pods come */
#include <kubus/policy/lifecycle.h> /* pods one by one: groups, permits, preemption */
#include <kubus/policy/batch.h>     /* many pods at once */
#include <kubus/policy/outside.h>   /* what a process elsewhere says */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#define KB_POLICY_ABI 2u

enum { KB_POLICY_RUN = 1024 }; /* slots in one call of filter or score, at most */

/* ---- calls ---- */

/* One policy at work on one kb_policy_pod. */
struct kb_policy_cycle {
    uint32_t size;
    const struct kb_policy_host *host;
    const struct kb_policy_nodes *nodes;
    const struct kb_policy_pod *pod;
    void *instance; /* from `configure` */
    void *state;    /* the policy's own, from pre_filter or pre_score on; freed by `release` */
    /* [slot] 1: the node fits, by the filters of all policies. In pre_score, score and normalize of
     * GLOBAL policies only; NULL elsewhere. */
    const uint8_t *fits;
    /* In calls about one pod (post_filter, reserve … post_bind); else NULL. */
    const struct kb_policy_queued *who;
    /* The policy's own for that pod: set in reserve or later, freed in unreserve or post_bind. */
    void *own;
    /* What a refusal by reserve, permit or pre_bind means: `reason` is asked for this code. */
    uint32_t code;
    const struct kb_policy *self;
    const struct kb_policy_preemption *preemption; /* in post_filter; else NULL */
};

enum kb_policy_status {
    KB_POLICY_OK,
    KB_POLICY_SKIP,          /* has no opinion on this pod: do not ask again in this cycle */
    KB_POLICY_UNSCHEDULABLE, /* no node can take this pod as things stand */
    KB_POLICY_WAIT,          /* permit, pre_bind: not yet; pre_filter: see `outside` */
    KB_POLICY_ERROR,
};

/* A verdict: 0 fits; else a code of the policy's own choice (1 … KB_POLICY_CODE_MAX), which
 * `reason` turns into text; with KB_POLICY_UNRESOLVABLE when removing pods from the node could not
 * help. Nodes of equal code must have equal reasons: they are counted by code. */
#define KB_POLICY_CODE_MAX     0x3fffffu
#define KB_POLICY_UNRESOLVABLE 0x400000u

/* What may make a pod schedulable that a policy refused (a set, `events`). */
enum kb_policy_event {
    KB_POLICY_ON_NODE_ADD = 1 << 0,
    KB_POLICY_ON_NODE_ALLOCATABLE = 1 << 1,
    KB_POLICY_ON_NODE_LABEL = 1 << 2,
    KB_POLICY_ON_NODE_TAINT = 1 << 3, /* and spec.unschedulable */
    KB_POLICY_ON_POD_DELETE = 1 << 4, /* a pod left its node, or ended on it */
    KB_POLICY_ON_POD_UPDATE = 1 << 5, /* the waiting pod itself changed */
    KB_POLICY_ON_POD_ADD = 1 << 6,    /* a pod came to a node, or its labels changed there */
    KB_POLICY_ON_OBJECT = 1 << 7,     /* a namespace, service or controller; a volume or claim */
};

/* How raw scores become 0 … KB_POLICY_SCORE_MAX over the nodes that fit. */
enum kb_policy_normalize {
    KB_POLICY_AS_IS,   /* they are in the range already */
    KB_POLICY_BY_MAX,  /* 100 * score / highest */
    KB_POLICY_REVERSE, /* 100 - that */
    KB_POLICY_BY_SPAN, /* 100 * (score - lowest) / (highest - lowest); 0 when those are equal */
    KB_POLICY_BY_REST, /* 100 * (highest + lowest - score) / highest, 100 when that is 0; a score
                          below 0 takes no part, and becomes 0 */
    KB_POLICY_CUSTOM,  /* by the function `normalize`, computed anew for every decision */
};

#define KB_POLICY_SCORE_MAX 100

enum kb_policy_flags {
    KB_POLICY_GLOBAL = 1 << 0, /* verdicts or scores of a node depend on more than that node */
    /* Should the policy be held (it crashed, looped, or returned nonsense), pods of its profile
     * wait, instead of being placed without it. */
    KB_POLICY_REQUIRED = 1 << 1,
    KB_POLICY_EVEN_TIES = 1 << 8, /* each of the best nodes shall be as likely as the others, also
                                     where the host would take the first (some simulations) */
};

typedef void kb_policy_emit(void *to, const char *reason);

/* ---- the descriptor ---- */

/* The descriptor. Functions that are NULL are not called. The names are those of the extension
 * points of Kubernetes. */
struct kb_policy {
    uint32_t abi, size; /* KB_POLICY_ABI and sizeof, as built */
    const char *name;
    uint32_t flags;
    uint32_t events;
    uint32_t normalize_by; /* enum kb_policy_normalize, of `score` */
    int32_t weight;        /* of the scores, unless the profile says otherwise; 0 counts as 1 */

    /* Arguments (`pluginConfig`) as JSON text, NULL for none. 0, or -1 with a message in `error`.
     */
    int (*configure)(const struct kb_policy_host *host, const char *args, void **ret_instance,
                     char *error, size_t error_bytes);
    void (*unload)(void *instance);

    /* true: a goes before b. Exactly one policy of a profile sets it. A strict weak order. */
    bool (*queue_sort)(void *instance, const struct kb_policy_queued *a,
                       const struct kb_policy_queued *b);
    /* May the pod enter the queue at all? OK or UNSCHEDULABLE (held until it changes). */
    enum kb_policy_status (*pre_enqueue)(void *instance, const struct kb_policy_queued *pod);

    /* Once before the first filter of a kb_policy_pod: OK, SKIP, or UNSCHEDULABLE with what
     * `reason` says to code 0. */
    enum kb_policy_status (*pre_filter)(struct kb_policy_cycle *cycle);
    /* Which nodes come into question at all, before the filter of any policy: what a pre-filter's
     * result says in Kubernetes. A verdict as from `filter`, for which `reason` is asked. */
    void (*narrow)(struct kb_policy_cycle *cycle, uint32_t from, uint32_t to, uint32_t *verdict);
    void (*filter)(struct kb_policy_cycle *cycle, uint32_t from, uint32_t to, uint32_t *verdict);
    /* Emit the reasons behind a code (without KB_POLICY_UNRESOLVABLE), one call for each. */
    void (*reason)(struct kb_policy_cycle *cycle, uint32_t code, kb_policy_emit *emit, void *to);
    /* No node fits: can room be made? OK: the pod is nominated to *ret_node, and who was evicted
     * makes room there. UNSCHEDULABLE: no, and the next policy is asked; this may be reused for an
     * identical pod of the same priority while nothing changes. *ret_node is the nominated node
     * when called; UINT32_MAX with UNSCHEDULABLE takes the nomination away. */
    enum kb_policy_status (*post_filter)(struct kb_policy_cycle *cycle, uint32_t *ret_node);

    enum kb_policy_status (*pre_score)(struct kb_policy_cycle *cycle);
    void (*score)(struct kb_policy_cycle *cycle, uint32_t from, uint32_t to, int64_t *score);
    /* Rewrite the scores of all slots in place; `fits[slot]` tells whose count. */
    void (*normalize)(struct kb_policy_cycle *cycle, const uint8_t *fits, int64_t *score);

    /* From here on a decision is one pod's (cycle->who), and the pod counts on the node. Each of
     * these may refuse: UNSCHEDULABLE. Whoever refuses, `unreserve` of all policies is called, in
     * reverse order, also of those whose reserve was not reached; so it must bear that. The plan of
     * the pod's kind may have been made anew in between (`state`): what is the pod's goes to `own`.
     */
    enum kb_policy_status (*reserve)(struct kb_policy_cycle *cycle, uint32_t node);
    void (*unreserve)(struct kb_policy_cycle *cycle, uint32_t node);
    /* WAIT: keep the place until all that said WAIT call `allow`, at most *ret_wait_ms (15 minutes
     * at most), then the pod is refused. */
    enum kb_policy_status (*permit)(struct kb_policy_cycle *cycle, uint32_t node,
                                    int64_t *ret_wait_ms);
    /* WAIT: asked again when something happened, and each second, for ten minutes at most. */
    enum kb_policy_status (*pre_bind)(struct kb_policy_cycle *cycle, uint32_t node);
    /* SKIP: leave it to the next policy, and in the end to the scheduler, which writes
     * spec.nodeName. OK: somebody else will bind the pod, moved by the annotations written now; the
     * pod keeps its place until it is seen on a node, for a minute at most. */
    enum kb_policy_status (*bind)(struct kb_policy_cycle *cycle, uint32_t node);
    void (*post_bind)(struct kb_policy_cycle *cycle, uint32_t node);

    /* The state of a kb_policy_pod is no longer needed. */
    void (*release)(struct kb_policy_cycle *cycle);

    /* Of a GLOBAL policy: may verdicts or scores of this pod differ from those given last, on nodes
     * whose own columns did not change? Asked before each decision; when they may, pre_filter,
     * filter, pre_score and score are asked again for all nodes. Without it they always may. What
     * depends on `fits` need not be watched: when that changes, pre_score and score are asked
     * again. */
    bool (*stale)(struct kb_policy_cycle *cycle);

    /* Which GPUs of the node the pod shall have, as a set of bits; 0: no opinion. The first policy
     * of the profile with a set that is possible decides. Otherwise a share goes to the fullest GPU
     * that can take it, and whole GPUs to the first free ones. */
    uint32_t (*assign)(struct kb_policy_cycle *cycle, uint32_t node);
    /* Look at many pods at once, 256 at most, before they are decided one after the other: suggest
     * nodes for as many as it likes. Those without a suggestion, or whose node does not fit any
     * more, go to the best node as ever. One policy of a profile may set it. */
    void (*batch)(void *instance, const struct kb_policy_batch *batch, kb_policy_suggest *suggest,
                  void *to);
    /* Who orders the queue may say that pods are of classes (0 is one as well). queue_sort of two
     * pods of one class must not change while they wait. Of two of different classes it may: which
     * class is next is found out anew for each pod. */
    uint32_t (*queue_class)(void *instance, const struct kb_policy_queued *pod);
    /* A pod of the cluster, of whatever profile, came to count on a node (by 1), or does no longer
     * (-1). Told of all that are there when the policy is put to work. */
    void (*placed)(void *instance, const struct kb_policy_placed *pod, int by);
    /* The group that a pod belongs to, interned; 0: none. Asked when the pod is first seen, for
     * pods that have a node as well; its labels do not change that. One policy of a profile may set
     * it. */
    uint32_t (*group)(void *instance, const struct kb_policy_queued *pod);
    /* An event of the policy's set `events` happened (one bit): 0 says that it cannot help a pod of
     * this kind, which the policy refused. `node`: where; UINT32_MAX: unknown. The columns are as
     * after it. With a policy that has one, each event is asked about for each kind of pod that
     * waits; without, events cost nothing, and what may fit is found out exactly in any case. */
    int (*hint)(void *instance, const struct kb_policy_host *host, const struct kb_policy_pod *pod,
                uint32_t event, uint32_t node);
};

/* Define a policy. As a plugin of its own the descriptor is the symbol `kubus_policy`; built into a
 * program (KUBUS_POLICY_BUILTIN) it is `kubus_policy_NAME`. */
#ifdef KUBUS_POLICY_BUILTIN
#define KB_POLICY_SYMBOL_(name) kubus_policy_##name
#else
#define KB_POLICY_SYMBOL_(name) kubus_policy
#endif
#define KB_POLICY(name_, ...)                                                                      \
    extern const struct kb_policy KB_POLICY_SYMBOL_(name_);                                        \
    __attribute__((visibility("default"))) const struct kb_policy KB_POLICY_SYMBOL_(name_) = {     \
        .abi = KB_POLICY_ABI, .size = sizeof(struct kb_policy), .name = #name_, __VA_ARGS__}

#endif
