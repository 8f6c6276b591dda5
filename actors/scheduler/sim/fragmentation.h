/* Fragmentation of GPUs as Weng et al. (ATC 2023) define it, written down as it is defined: what a
 * simulation reports, and what the policy FGD is tested against. plugins/policies/fgd.c explains
 * the measure and computes it in a faster way. */
#ifndef KUBUS_SCHEDULER_SIM_FRAGMENTATION_H
#define KUBUS_SCHEDULER_SIM_FRAGMENTATION_H

#include "plugins/policy.h"

/* Zero-initialized is "nothing known": no fragmentation. */
struct kb_frag {
    struct kb_policy_demand *typical; /* the most frequent first; their models are borrowed */
    uint32_t typical_n;
    uint64_t pods; /* of all typical pods */
};

/* The typical pods of a workload: the most frequent kinds (what differs in memory alone is one)
 * until they make up `popularity` percent of the pods. The workload must outlive it. */
void kb_frag_init(struct kb_frag *f, const struct kb_policy_workload *workload, double popularity);
void kb_frag_finish(struct kb_frag *f);
/* Milli-GPU of a node that are fragments, on average over the typical pods. O(typical pods). */
double kb_frag_node(const struct kb_frag *f, int64_t free_cpu, uint32_t model,
                    const uint16_t free_milli[KB_POLICY_GPUS]);

#endif
