/* <kubus/policy/pod.h>: pods, as policies see them: what they ask for, whom they want near and far,
 * and when their turn is. */
#ifndef KUBUS_POLICY_POD_H
#define KUBUS_POLICY_POD_H

#include <kubus/policy/selectors.h>

#include <stdbool.h>
#include <stdint.h>

/* ---- what pods ask for ---- */

/* Resources with a fixed index; extended resources follow in the order they were first seen. */
enum { KB_POLICY_CPU, KB_POLICY_MEMORY, KB_POLICY_EPHEMERAL, KB_POLICY_PODS, KB_POLICY_RESOURCES };

struct kb_policy_request {
    uint32_t resource; /* index of the resource's columns */
    int64_t amount;    /* > 0; CPU in milli, everything else in units, rounded up */
};

enum kb_policy_effect {
    KB_POLICY_ANY_EFFECT,
    KB_POLICY_NO_SCHEDULE,
    KB_POLICY_PREFER_NO_SCHEDULE,
    KB_POLICY_NO_EXECUTE,
};

struct kb_policy_toleration {
    uint32_t key;    /* 0: every key (only with `exists`) */
    uint32_t value;  /* compared unless `exists` */
    uint32_t effect; /* KB_POLICY_ANY_EFFECT: every effect */
    bool exists;
};

enum kb_policy_protocol { KB_POLICY_TCP, KB_POLICY_UDP, KB_POLICY_SCTP };

struct kb_policy_port {
    uint16_t port;     /* host port, > 0 */
    uint16_t protocol; /* enum kb_policy_protocol */
    uint32_t ip;       /* interned host IP; 0: all addresses */
};

/* ---- whom they want near, and far ---- */

/* A term of pod affinity, or of anti-affinity. matchLabelKeys and mismatchLabelKeys are part of the
 * selector. */
struct kb_policy_affinity {
    uint32_t topology_key;
    int32_t weight; /* of a preferred term: 1 to 100, below 0 for anti-affinity; else 0 */
    struct kb_policy_pods_selector pods;
};

struct kb_policy_spread {
    uint32_t topology_key;
    int32_t max_skew;
    int32_t min_domains; /* 1 when not given */
    bool required;       /* DoNotSchedule */
    bool affinity_honored, taints_honored;
    struct kb_policy_pods_selector pods; /* of the pod's namespace, with matchLabelKeys */
};

/* ---- what they keep data on ---- */

/* A claim that a pod uses; in its namespace. */
struct kb_policy_claim_name {
    uint32_t ns, name;
    bool ephemeral; /* made for the pod, from a template in it */
};

/* A disk that is named in a pod itself, of a kind that pods on one node cannot share, or only when
 * all read: equal disks have equal ids. */
struct kb_policy_disk {
    uint32_t id;
    bool read_only;
};

/* ---- pods ---- */

/* What identical pods share. Lives as long as any cycle on it. */
struct kb_policy_pod {
    uint32_t size;
    uint32_t requests_n; /* by rising resource; always holds KB_POLICY_PODS = 1 */
    const struct kb_policy_request *requests;
    /* CPU (milli) and memory (bytes) with 100m and 200Mi for each container that states none: what
     * spreading by load counts with, so that pods without requests are spread too. */
    int64_t nonzero_cpu, nonzero_memory;
    uint32_t node_name;  /* spec.nodeName of a pod that asks for a node; else 0 */
    uint32_t selector_n; /* spec.nodeSelector, as In with one value */
    const struct kb_policy_requirement *selector;
    bool has_required; /* required node affinity; without any term it matches nothing */
    uint32_t required_n;
    const struct kb_policy_term *required; /* any of them */
    uint32_t preferred_n;
    const struct kb_policy_term *preferred;
    uint32_t tolerations_n;
    const struct kb_policy_toleration *tolerations;
    uint32_t ports_n;
    const struct kb_policy_port *ports;
    /* GPUs, see "devices" in nodes.h. */
    uint32_t gpus;      /* how many; 0: none */
    uint32_t gpu_milli; /* of each of them: 1000, or less for a share of a GPU */
    bool gpu_plain;     /* asked for as nvidia.com/gpu alone: any node that counts those will do */
    uint32_t gpu_models_n;
    const uint32_t *gpu_models; /* allowed; none: any */
    /* Who it is among the pods of the cluster. */
    uint32_t ns;
    uint32_t labels_n; /* by rising key */
    const struct kb_policy_label *labels;
    bool ending;                     /* it is being deleted */
    uint32_t owner_kind, owner_name; /* of its controller: "replicasets.apps" …; 0: none of these */
    uint32_t required_affinity_n, required_anti_affinity_n, preferred_affinity_n;
    const struct kb_policy_affinity *required_affinity, *required_anti_affinity;
    const struct kb_policy_affinity *preferred_affinity; /* both ways */
    uint32_t spread_n;
    const struct kb_policy_spread *spread;
    uint32_t images_n; /* of all containers, init containers too, as nodes name them */
    const uint32_t *images;
    uint32_t claims_n, disks_n;
    const struct kb_policy_claim_name *claims;
    const struct kb_policy_disk *disks;
    void *group, *carries; /* the core's own */
};

/* How much of a resource the pod requests; 0: nothing. O(requests), of which few pods have more
 * than four. */
static inline int64_t kb_policy_requested(const struct kb_policy_pod *pod, uint32_t resource)
{
    for (uint32_t i = 0; i < pod->requests_n; i++)
        if (pod->requests[i].resource == resource)
            return pod->requests[i].amount;
    return 0;
}

/* A pod that waits in the queue: what an order is made of. */
struct kb_policy_queued {
    uint32_t size;
    const struct kb_policy_pod *pod;
    int32_t priority;    /* spec.priority */
    uint32_t attempts;   /* tries before this one */
    int64_t queued_ms;   /* when it entered the queue, on the driver's clock */
    uint64_t seq;        /* rises with each pod that enters: the last word in a tie */
    uint32_t gates;      /* scheduling gates that it still has */
    uint64_t id;         /* of this pod; never given to another */
    uint32_t ns;         /* interned namespace */
    uint32_t group;      /* what `group` said of it; 0: none */
    bool never_preempts; /* preemptionPolicy Never */
};

#endif
