/* <kubus/policy/workload.h>: what pods come. */
#ifndef KUBUS_POLICY_WORKLOAD_H
#define KUBUS_POLICY_WORKLOAD_H

#include <stdint.h>

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

#endif
