/* Nodes in columns: what policies see (struct kb_policy_nodes), kept up to date by events.
 *
 * A node has a slot for as long as its object is there or any pod sits on it: pods may be seen
 * before their node, and may outlive it. A slot whose node's object is missing is not `present`,
 * but what its pods request is counted, so that the order of events does not matter: the columns
 * after any sequence of events equal those built from the objects that are left (a property test
 * says so).
 *
 * Every change of a slot raises the generation and is written to a log of slots. Whoever derived
 * something from the columns (struct kb_plan) remembers the generation and later looks only at the
 * slots behind it in the log: a snapshot without a copy. */
#ifndef KUBUS_SCHEDULER_COLUMNS_H
#define KUBUS_SCHEDULER_COLUMNS_H

#include "actors/scheduler/core/devices.h"
#include "actors/scheduler/core/domains.h"
#include "actors/scheduler/core/images.h"
#include "actors/scheduler/core/intern.h"
#include "actors/scheduler/core/owners.h"
#include "actors/scheduler/core/pods.h"
#include "actors/scheduler/core/volumes.h"
#include "bus/base/list.h"
#include "bus/model/doc.h"
#include "plugins/policy.h"

struct kb_label {
    uint32_t key, value;
};

/* What is kept of a node besides the columns. */
struct kb_node_rec {
    uint32_t labels_n;
    struct kb_label *labels; /* sorted by key */
    struct kb_link pods;     /* of struct kb_core_pod, by its node_link */
    uint32_t pods_n;
    uint32_t ports_n, ports_cap;
    struct kb_policy_port *ports; /* taken by its pods; one entry a pod and port */
    uint32_t alloc_n;
    struct kb_policy_request *alloc; /* what stands in `allocatable` */
};

struct kb_port_holders { /* of one port and protocol */
    uint32_t n, cap;
    struct kb_policy_port_use *uses;
};

/* Label columns kept; the least recently used makes room, since pods choose what keys they name. */
enum { KB_LABEL_COLUMNS = 128 };

struct kb_columns {
    struct kb_policy_nodes view; /* what policies see; its arrays belong to this struct */
    struct kb_intern *intern;
    uint32_t cap;
    struct kb_node_rec *rec;
    uint32_t *slot_of; /* [interned name] 1 + slot, 0: none */
    uint32_t slot_of_n;
    uint32_t *free_slots;
    uint32_t free_n;

    int64_t **allocatable, **requested; /* [resource]; a column without values is `zeros` */
    int64_t *zeros;
    uint32_t *resource_name; /* [resource] interned */
    uint32_t resources_cap;

    struct kb_label_column {
        uint32_t key;
        uint32_t *values; /* [slot] */
        uint64_t used;    /* when it was last asked for */
    } label_columns[KB_LABEL_COLUMNS];
    uint32_t label_columns_n;
    uint64_t label_uses;

    struct kb_map taint_set_of; /* bytes of the taints → 1 + index */
    struct kb_map ports;        /* port and protocol → struct kb_port_holders */
    struct kb_devices devices;
    struct kb_pods pods;
    struct kb_owners owners;
    struct kb_images images;
    struct kb_volumes volumes;
    struct kb_domain_tables domains;
    uint64_t labels_version; /* rises when labels of any node change */

    bool pretending;
    uint64_t hypotheses;

    uint32_t *log; /* ring of slots: entry g % log_cap was changed at generation g */
    uint32_t log_cap;
    uint64_t log_floor; /* the log holds nothing from before this generation */
};

void kb_columns_init(struct kb_columns *c, struct kb_intern *intern);
void kb_columns_finish(struct kb_columns *c);

/* Apply a Node object. Returns the set of KB_POLICY_ON_NODE_… that happened, 0 when nothing that
 * matters for placement changed (status heartbeats). */
uint32_t kb_columns_node_put(struct kb_columns *c, kb_str name, kb_val node);
/* The object is gone. Returns false when it was not there. */
bool kb_columns_node_del(struct kb_columns *c, kb_str name);

/* The slot of a name; kb_columns_hold makes one. UINT32_MAX: none. */
uint32_t kb_columns_find(const struct kb_columns *c, kb_str name);
uint32_t kb_columns_hold(struct kb_columns *c, kb_str name);
/* Count a pod on a slot, or take it off. gpus: the set that it has, 0 when it is not known. `link`
 * is the pod's link in the slot's list; `priority_of` reads the priority behind a link. Frees a
 * slot that is neither present nor used. */
typedef int32_t kb_priority_fn(const struct kb_link *link);
void kb_columns_pod_add(struct kb_columns *c, uint32_t slot, const struct kb_policy_pod *pod,
                        uint32_t gpus, int32_t priority, struct kb_link *link);
void kb_columns_pod_del(struct kb_columns *c, uint32_t slot, const struct kb_policy_pod *pod,
                        uint32_t gpus, int32_t priority, struct kb_link *link,
                        kb_priority_fn *priority_of);
/* From here on changes are thoughts: neither the generation nor the log knows of them, and whoever
 * made them takes them back before `false` ends it. */
void kb_columns_pretend(struct kb_columns *c, bool on);
/* Something that all verdicts and scores may depend on changed: whoever derived something from the
 * columns has to look at all slots again. */
void kb_columns_touch_all(struct kb_columns *c);

/* Index of a resource's columns by its name, made if new. */
uint32_t kb_columns_resource(struct kb_columns *c, kb_str name);
/* The label column of a key, built when first asked for. Valid until the next call. */
const uint32_t *kb_columns_label(struct kb_columns *c, uint32_t key);
/* The domains of a label. Valid until the next call. */
const struct kb_policy_domains *kb_columns_domains(struct kb_columns *c, uint32_t key);
uint32_t kb_columns_port_uses(const struct kb_columns *c, uint16_t port, uint16_t protocol,
                              const struct kb_policy_port_use **ret_uses);

/* The slots changed since `generation` are log entries (generation, view.generation]; false when
 * the log does not reach back so far, or when looking at all slots is cheaper. */
bool kb_columns_since(const struct kb_columns *c, uint64_t generation);
static inline uint32_t kb_columns_changed(const struct kb_columns *c, uint64_t generation)
{
    return c->log[generation & (c->log_cap - 1)];
}

#endif
