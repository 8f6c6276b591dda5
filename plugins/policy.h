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
 * Changelog of the ABI
 *   1  first
 *   2  devices: GPUs one by one and in fractions (kb_policy_devices, `assign`), the workload,
 *      `random`
 *      lifecycle: post_filter, permit, pre_bind, bind and post_bind are driven; the pod itself
 *      (kb_policy_cycle.who), waiting pods, groups, preemption
 *      pods of the cluster: namespaces, labels, affinity, spreading, images, counts by node
 *      GLOBAL policies: `stale`, `fits`, normalization BY_SPAN and BY_REST
 *      the flag REQUIRED; `outside`, and WAIT from pre_filter
 *      volumes: claims, volumes, classes, limits, disks
 */
#ifndef KUBUS_POLICY_H
#define KUBUS_POLICY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#define KB_POLICY_ABI 2u

enum { KB_POLICY_RUN = 1024 }; /* slots in one call of filter or score, at most */

/* ---- pods ---- */

enum kb_policy_op {
    KB_POLICY_IN,
    KB_POLICY_NOT_IN,
    KB_POLICY_EXISTS,
    KB_POLICY_DOES_NOT_EXIST,
    KB_POLICY_GT,
    KB_POLICY_LT,
};

/* One requirement on a node's label, or on its name (matchFields metadata.name). */
struct kb_policy_requirement {
    uint32_t key; /* the label's key; 0: the node's name */
    uint32_t op;  /* enum kb_policy_op */
    uint32_t values_n;
    const uint32_t *values; /* of In and NotIn */
    int64_t number;         /* of Gt and Lt */
    bool invalid;           /* unknown operator or malformed value: matches no node */
};

/* All requirements must hold; a term without any matches nothing. */
struct kb_policy_term {
    uint32_t all_n;
    const struct kb_policy_requirement *all;
    int64_t weight; /* of a preferred term, 1-100 */
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

struct kb_policy_request {
    uint32_t resource; /* index of the resource's columns */
    int64_t amount;    /* > 0; CPU in milli, everything else in units, rounded up */
};

/* ---- pods of the cluster ---- */

struct kb_policy_label {
    uint32_t key, value;
};

/* A label selector: all requirements must hold, of which only In, NotIn, Exists and DoesNotExist
 * occur; without any it means everything. */
struct kb_policy_selector {
    bool none; /* means nothing, whatever `all` says: a selector that was not given */
    uint32_t all_n;
    const struct kb_policy_requirement *all;
};

/* Pods by their labels, in namespaces by name or by label. */
struct kb_policy_pods_selector {
    uint32_t namespaces_n;
    const uint32_t *namespaces; /* rising */
    struct kb_policy_selector namespaces_like;
    struct kb_policy_selector labels;
};

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

/* How many pods of some sort are on each node, kept up to date. Pods that are being deleted count
 * only where that is said. */
enum { KB_POLICY_COUNT_LOG = 32 };

struct kb_policy_count_change {
    uint32_t slot;
    int32_t by;
};

struct kb_policy_count {
    uint64_t version; /* changes so far; the latest are log[version % KB_POLICY_COUNT_LOG] */
    uint64_t pods;
    const uint32_t *at; /* [slot]; NULL while there was none */
    const struct kb_policy_count_change *log;
};

struct kb_policy_domains;

/* A count summed up by the domains of a label. */
struct kb_policy_tally {
    uint64_t version;     /* rises with each change of the sums */
    uint64_t placed;      /* pods in all domains together */
    const uint32_t *pods; /* [domain]; 0 for domain 0 */
    const struct kb_policy_domains *domains;
};

/* Terms that pods of the cluster carry, and that mean the pod in question. */
enum kb_policy_carried_kind {
    KB_POLICY_CARRIED_ANTI_AFFINITY, /* required */
    KB_POLICY_CARRIED_AFFINITY,      /* required */
    KB_POLICY_CARRIED_PREFERENCE,    /* with a weight, below 0 for anti-affinity */
};

struct kb_policy_carried {
    enum kb_policy_carried_kind kind;
    int32_t weight;
    uint32_t topology_key;
    const struct kb_policy_count *carriers;
};

/* The values of a node label as small numbers: domain 0 is that of nodes without the label, and of
 * slots without a node. */
struct kb_policy_domains {
    uint64_t version;      /* differs whenever anything else here does */
    uint32_t n;            /* domains, with 0 */
    const uint32_t *of;    /* [slot] */
    const uint32_t *value; /* [domain] interned; 0 for domain 0 */
    const uint32_t *nodes; /* [domain] how many nodes; 0 for domain 0 */
};

/* An image on a node. */
struct kb_policy_image {
    uint32_t node; /* slot */
    int64_t bytes;
};

/* ---- volumes ---- */

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

enum kb_policy_access {
    KB_POLICY_READ_WRITE_ONCE = 1 << 0,
    KB_POLICY_READ_ONLY_MANY = 1 << 1,
    KB_POLICY_READ_WRITE_MANY = 1 << 2,
    KB_POLICY_READ_WRITE_ONCE_POD = 1 << 3,
};

struct kb_policy_claim {
    uint32_t ns, name, uid;
    bool lost, ending;
    bool bound;             /* wholly: to a volume, and that is settled */
    uint32_t volume;        /* name; 0: none */
    uint32_t storage_class; /* name; 0: none */
    uint32_t attributes_class;
    uint32_t selected_node; /* for which a volume is being made; name, 0: none */
    uint32_t access;        /* set of enum kb_policy_access */
    bool block;             /* a raw device */
    int64_t bytes;
    struct kb_policy_selector selector; /* of volumes, by label; everything when not given */
    uint32_t users;                     /* pods on nodes that use it */
};

struct kb_policy_volume {
    uint32_t name, storage_class, attributes_class;
    bool ending, available;
    bool block;
    uint32_t access;
    int64_t bytes;
    uint32_t claim_ns, claim_name, claim_uid; /* whom it is bound to, or kept for; 0: nobody */
    uint32_t labels_n;
    const struct kb_policy_label *labels;
    bool has_required; /* from which nodes it can be reached */
    uint32_t required_n;
    const struct kb_policy_term *required;
    uint32_t driver, handle; /* of a CSI volume; else 0 */
};

struct kb_policy_storage_class {
    bool delayed;         /* claims are bound when a pod that uses them is scheduled */
    uint32_t provisioner; /* 0: nobody makes volumes */
    uint32_t allowed_n;   /* where volumes may be made: any of these; none: anywhere */
    const struct kb_policy_term *allowed;
};

struct kb_policy_storage {
    uint32_t size;
    /* NULL: there is no such object. Valid until versions->volumes changes. */
    const struct kb_policy_claim *(*claim)(void *core, uint32_t ns, uint32_t name);
    const struct kb_policy_volume *(*volume)(void *core, uint32_t name);
    const struct kb_policy_storage_class *(*storage_class)(void *core, uint32_t name);
    /* The names of a class's volumes, in no order. */
    uint32_t (*volumes_of)(void *core, uint32_t class_name, const uint32_t **ret_names);
    /* How many volumes of a CSI driver can be attached to the node; -1: no limit. */
    int64_t (*limit)(void *core, uint32_t node, uint32_t driver);
    /* What the pods on a node use, one entry for each pod. Valid until the call ends. */
    uint32_t (*node_claims)(void *core, uint32_t node,
                            const struct kb_policy_claim_name **ret_claims);
    uint32_t (*node_disks)(void *core, uint32_t node, const struct kb_policy_disk **ret_disks);
    /* The claim gets this volume, or one that its class makes for the node (0). For all policies it
     * is so from now on, until the claim is bound or `let_go` takes it back; nothing is written. */
    void (*hold)(void *core, const struct kb_policy_claim *claim, uint32_t volume, uint32_t node);
    void (*let_go)(void *core, uint32_t ns, uint32_t claim);
    /* Write what is held to the cluster, for the controllers of volumes to carry out. May be called
     * as often as one likes until the claim is bound. */
    void (*bind)(void *core, uint32_t ns, uint32_t claim);
};

/* What else changes in a cluster, as numbers that rise. */
struct kb_policy_versions {
    uint64_t nodes;   /* an object of a node changed, came or went; pods on it do not count */
    uint64_t carried; /* what `carried` returns for some pod, but not how many carry it */
    uint64_t owners;  /* what `default_spread` returns for some pod */
    uint64_t images;  /* what nodes hold */
    uint64_t volumes; /* claims, volumes, storage classes, limits, or which claims are in use */
};

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
    /* GPUs, see "devices" below. */
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

/* ---- nodes ---- */

/* Resources with a fixed index; extended resources follow in the order they were first seen. */
enum { KB_POLICY_CPU, KB_POLICY_MEMORY, KB_POLICY_EPHEMERAL, KB_POLICY_PODS, KB_POLICY_RESOURCES };

struct kb_policy_taint {
    uint32_t key, value, effect; /* effect: enum kb_policy_effect */
};

/* Nodes with equal taints share one set. */
struct kb_policy_taint_set {
    uint32_t n;
    const struct kb_policy_taint *taints;
};

/* The columns. Read them anew in each call: arrays move when they grow. */
struct kb_policy_nodes {
    uint32_t size;
    uint32_t count;     /* slots in use: 0 ≤ slot < count */
    uint32_t present_n; /* nodes among them */
    uint32_t resources;
    uint64_t generation;               /* rises with every change of any node */
    const uint8_t *present;            /* [slot] 1: a node is there */
    const int64_t *const *allocatable; /* [resource][slot] */
    const int64_t *const *requested;   /* [resource][slot], by the pods that are on the node */
    const int64_t *nonzero_cpu, *nonzero_memory; /* as in kb_policy_pod, summed */
    const uint32_t *name;
    const uint8_t *unschedulable; /* 1: spec.unschedulable */
    const uint32_t *taint_set;    /* index into taint_sets; 0 is the empty set */
    uint32_t taint_sets_n;
    const struct kb_policy_taint_set *taint_sets;
    const int32_t *lowest_priority; /* of the pods on the node; INT32_MAX without any */
    const struct kb_policy_devices *devices;
    /* Not 0 during a dry run (preemption, nominated pods), in which pods were put on or taken off
     * nodes without a rise of `generation`; another number in each. What is derived from nodes in
     * one must not be kept. */
    uint64_t hypothesis;
    uint64_t capacity; /* rises with every change of what nodes have, or of which there are */
};

/* ---- devices ---- */

/* GPUs are known one by one, since a pod may take a share of one (0.46 of it, say): free GPU in sum
 * says nothing about whether such a pod fits. A node with more than KB_POLICY_GPUS of them has
 * count 0 here, and its GPUs are only counted, in the columns of nvidia.com/gpu. */
enum { KB_POLICY_GPUS = 16, KB_POLICY_GPU_MILLI = 1000 };

struct kb_policy_gpus {
    uint16_t free[KB_POLICY_GPUS]; /* milli; 0 beyond the node's count */
};

/* Columns, [slot]. */
struct kb_policy_devices {
    uint32_t size;
    const uint8_t *count;
    const uint32_t *model; /* interned; 0: not known */
    const struct kb_policy_gpus *gpus;
    const uint32_t *free_milli; /* sum over the node's GPUs */
    /* Set of what the pods on the node are: bit n, n ≥ 1: a pod with n whole GPUs; bit 0: one with
     * shares. */
    const uint32_t *kinds;
};

/* How many pods of one kind the cluster gets: what tomorrow will probably ask for. Known in
 * advance in a simulation; live, learned from the pods seen so far. When it changes (`version`),
 * all verdicts and scores are computed anew, so that a policy may depend on it without
 * KB_POLICY_GLOBAL. Live it is learned from the moment when a policy first asks for it, and renewed
 * each time the number of pods has doubled. */
struct kb_policy_demand {
    uint64_t pods;
    int64_t cpu, memory; /* milli, bytes */
    uint32_t gpus, gpu_milli;
    uint32_t gpu_models_n;
    const uint32_t *gpu_models; /* rising */
};

struct kb_policy_workload {
    uint32_t size;
    uint32_t n;
    uint64_t version; /* 0: nothing known yet */
    const struct kb_policy_demand *demands;
};

/* A host port that is taken on a node. */
struct kb_policy_port_use {
    uint32_t node; /* slot */
    struct kb_policy_port port;
};

enum kb_policy_arg_kind {
    KB_POLICY_ARG_NONE,
    KB_POLICY_ARG_BOOL,
    KB_POLICY_ARG_NUMBER,
    KB_POLICY_ARG_TEXT,
    KB_POLICY_ARG_LIST,
    KB_POLICY_ARG_OBJECT,
};

/* A value of a policy's arguments. */
struct kb_policy_arg {
    enum kb_policy_arg_kind kind;
    double number; /* of a number, and of a bool */
    uint32_t text; /* interned */
    uint32_t n;    /* members of a list or object */
};

/* ---- outside ---- */

/* What a process elsewhere is asked about all nodes at once, for one kb_policy_pod: how a policy in
 * another language takes part. It sees no bus and no waiting: the pod waits until the answer is
 * there. */
struct kb_policy_want {
    uint32_t size;
    const char *service; /* by its name on the bus */
    int64_t timeout_ms;
    uint32_t pods; /* decisions that one answer may serve, ≥ 1 */
    bool optional; /* without an answer in time, no verdicts and no scores, instead of waiting */
    uint32_t labels_n; /* labels of nodes that it wants to see */
    const uint32_t *labels;
};

struct kb_policy_outside {
    uint32_t size;
    uint32_t count;          /* of slots that it is about */
    uint64_t version;        /* another one for each answer */
    const uint32_t *verdict; /* [slot] 0, or 1 + index of a reason; NULL: all fit */
    const int64_t *score;    /* [slot] 0 … KB_POLICY_SCORE_MAX; NULL: none */
    uint32_t reasons_n;
    const char *const *reasons;
};

struct kb_policy_cycle;

/* What a policy may ask for. All functions are cheap; none may be kept past the policy's life. */
struct kb_policy_host {
    uint32_t size;
    void *core;
    const char *(*text)(void *core, uint32_t id); /* valid for the life of the core; "" for 0 */
    uint32_t (*intern)(void *core, const char *text);
    /* An interned text as an integer; false when it is none. */
    bool (*number)(void *core, uint32_t id, int64_t *ret);
    /* The column of a label: [slot] the value, 0 where the node has no such label. Built when first
     * asked for, then kept up to date. Valid until the next call of `label`. */
    const uint32_t *(*label)(void *core, uint32_t key);
    /* Who holds this host port, on any node and address; and what is taken on one node. Valid until
     * the call ends. */
    uint32_t (*port_uses)(void *core, uint16_t port, uint16_t protocol,
                          const struct kb_policy_port_use **ret_uses);
    uint32_t (*node_ports)(void *core, uint32_t node, const struct kb_policy_port **ret_ports);
    uint32_t (*resource)(void *core, const char *name); /* index of its columns, made if new */
    const char *(*resource_name)(void *core, uint32_t resource);
    /* What pods come, valid until its version changes; and a number below `bound` (> 0) from the
     * seeded generator: for assign, not for verdicts and scores, which must be repeatable. */
    const struct kb_policy_workload *(*workload)(void *core);
    uint32_t (*random)(void *core, uint32_t bound);
    const struct kb_policy_lifecycle *lifecycle;

    /* ---- pods of the cluster ---- */

    /* hit[i] for the node in slot from + i: all requirements hold. */
    void (*match)(void *core, const struct kb_policy_requirement *all, uint32_t n, uint32_t from,
                  uint32_t to, uint8_t *hit);
    /* Domains of a label; valid until the next call of `domains`. */
    const struct kb_policy_domains *(*domains)(void *core, uint32_t topology_key);
    /* Count the pods that all of these mean; `ending`: those that are being deleted as well. The
     * count is shared, and kept until count_end has been called as often. Counting anew costs all
     * kinds of pods in the cluster, to keep it up to date nearly nothing. */
    const struct kb_policy_count *(*count)(void *core, const struct kb_policy_pods_selector *all,
                                           uint32_t n, bool ending);
    void (*count_end)(void *core, const struct kb_policy_count *count);
    /* Valid until the next call of `tally` or `domains`. */
    const struct kb_policy_tally *(*tally)(void *core, const struct kb_policy_count *count,
                                           uint32_t topology_key);
    bool (*selects)(void *core, const struct kb_policy_pods_selector *pods,
                    const struct kb_policy_pod *pod);
    /* Valid until versions->carried changes. */
    uint32_t (*carried)(void *core, const struct kb_policy_pod *pod,
                        const struct kb_policy_carried **ret_terms);
    /* The pods that the services and the controller of this pod mean; false: there are none. Valid
     * until the next call of it. */
    bool (*default_spread)(void *core, const struct kb_policy_pod *pod,
                           struct kb_policy_pods_selector *ret_pods);
    const struct kb_policy_versions *(*versions)(void *core);
    /* Who holds an image. Valid until the call ends. */
    uint32_t (*image)(void *core, uint32_t name, const struct kb_policy_image **ret_nodes);
    const struct kb_policy_storage *storage;

    /* ---- arguments ---- */

    /* What stands at a path ("resources[0].name") of the JSON text that `configure` was given;
     * false, and NONE: nothing does. Reads the text anew each time. */
    bool (*arg)(void *core, const char *args, const char *path, struct kb_policy_arg *ret);
    /* A list of node selector terms at a path, or of preferred ones. They live as long as the core.
     * false: there is none. */
    bool (*arg_terms)(
        void *core, const char *args, const char *path, bool preferred, uint32_t *ret_n,
        const struct kb_policy_term *
            *ret_terms); /* What a service says of this pod's kind, as of its last answer; NULL: it
                          * is asked, and pre_filter returns WAIT. Valid until the next call. */
    const struct kb_policy_outside *(*outside)(struct kb_policy_cycle *cycle,
                                               const struct kb_policy_want *want);
};

/* ---- lifecycle ---- */

struct kb_policy;
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

/* ---- batches ---- */

/* Pods of one kind whose turn it is. */
struct kb_policy_batch_kind {
    const struct kb_policy_pod *pod;
    uint32_t pods;        /* how many */
    int32_t priority;     /* the highest of them */
    int64_t waited_ms;    /* the longest */
    const uint8_t *fits;  /* [slot] 1: all filters let one of them onto the node, as it is now */
    const int32_t *score; /* [slot] weighted sum of the scores, where it fits */
};

/* Arrays of pods times nodes: who may go where, and how good that is. */
struct kb_policy_batch {
    uint32_t size;
    uint32_t kinds_n;
    const struct kb_policy_batch_kind *kinds; /* in the order of their first pods */
    const struct kb_policy_nodes *nodes;
};

/* One pod of a kind shall have this node. It is taken if it still fits when the pod's turn comes.
 */
typedef void kb_policy_suggest(void *to, uint32_t kind, uint32_t node);

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

/* A number that stands in a policy's arguments, {"name": 7, …}; `otherwise` when there is none. For
 * arguments that are a flat object. */
static inline double kb_policy_number(const char *args, const char *name, double otherwise)
{
    size_t n = strlen(name);
    for (const char *at = args; at != NULL && (at = strstr(at, name)) != NULL; at += n) {
        if (at == args || at[-1] != '"' || at[n] != '"')
            continue;
        const char *value = at + n + 1 + strspn(at + n + 1, " \t\r\n:");
        char *end;
        double number = strtod(value, &end);
        return end != value ? number : otherwise;
    }
    return otherwise;
}

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
