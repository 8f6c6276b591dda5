/* GPUs of nodes, one by one: what policies see as struct kb_policy_devices.
 *
 * Which GPUs a pod has is a set of bits, kept with the pod (its annotation, live). Of a pod that
 * stands on a node without such a set (bound by somebody else) only the amount is known: such loose
 * amounts are laid onto what the others left, largest first and always in the same order, so that
 * the columns do not depend on the order of events. */
#ifndef KUBUS_SCHEDULER_DEVICES_H
#define KUBUS_SCHEDULER_DEVICES_H

#include "actors/scheduler/core/intern.h"
#include "bus/model/doc.h"
#include "plugins/policy.h"

/* In the manner of open-gpu-share; the first three of a pod, the last of a node. The first is also
 * a resource of nodes, beside nvidia.com/gpu. */
#define KB_GPU_COUNT  "alibabacloud.com/gpu-count"
#define KB_GPU_MILLI  "alibabacloud.com/gpu-milli"
#define KB_GPU_MODEL  "alibabacloud.com/gpu-card-model"
#define KB_GPU_INDEX  "alibabacloud.com/gpu-index"
#define KB_GPU_NVIDIA "nvidia.com/gpu"

/* What a pod asks for, as its object says. */
struct kb_gpu_ask {
    uint32_t gpus, milli;
    bool stated;   /* by annotations; else nvidia.com/gpu counts */
    kb_str models; /* "V100|A100", empty: any */
};
struct kb_gpu_ask kb_gpu_ask_of(kb_val pod);

struct kb_gpu_loose {
    uint32_t gpus, milli;
};

struct kb_gpu_rec {               /* of a slot */
    int32_t used[KB_POLICY_GPUS]; /* milli, by pods whose GPUs are known */
    uint16_t pods_of_kind[KB_POLICY_GPUS + 1];
    uint32_t loose_n, loose_cap;
    struct kb_gpu_loose *loose; /* largest first */
};

/* Zero-initialized is empty and valid. Memory of clusters without GPUs is never touched. */
struct kb_devices {
    struct kb_policy_devices view;
    uint32_t cap;
    struct kb_gpu_rec *rec;
    bool any; /* GPUs were ever seen */
};

void kb_devices_finish(struct kb_devices *d);
void kb_devices_grow(struct kb_devices *d, uint32_t cap);
/* The GPUs of a Node object (or of none). True when something changed. */
bool kb_devices_node_put(struct kb_devices *d, struct kb_intern *intern, uint32_t slot,
                         kb_val node);
/* Count a pod, or take it off (sign -1). gpus: the set that it has; 0: not known. */
void kb_devices_pod(struct kb_devices *d, uint32_t slot, const struct kb_policy_pod *pod,
                    uint32_t gpus, int sign);

/* Could the pod have this set of the node's GPUs, as they are free now? */
bool kb_devices_possible(const struct kb_devices *d, uint32_t slot, const struct kb_policy_pod *pod,
                         uint32_t gpus);
/* The default choice; 0 when it fits no set, or asks for none. */
uint32_t kb_devices_choose(const struct kb_devices *d, uint32_t slot,
                           const struct kb_policy_pod *pod);

/* A set as text, "0-3-5", and back; 0 for what is no set. */
enum { KB_GPU_INDEX_BYTES = 3 * KB_POLICY_GPUS };
void kb_gpu_format(uint32_t gpus, char out[KB_GPU_INDEX_BYTES]);
uint32_t kb_gpu_parse(kb_str text);
/* The set in a pod's annotation. */
uint32_t kb_gpu_index_of(kb_val pod);

#endif
