/* <kubus/policy/packing.h>: for policies that weigh CPU and GPU against each other. Both count as
 * shares of what the largest node has, and the arguments say what that is: "maxCpu" in cores, 128
 * unless given, and "maxGpus", 8. */
#ifndef KUBUS_POLICY_PACKING_H
#define KUBUS_POLICY_PACKING_H

#include <kubus/policy.h>

/* What the largest node has: CPU in milli, GPU in milli. The instance of such a policy. */
struct kb_policy_largest {
    double cpu, gpu;
};

/* For `configure`, with .unload = free. */
static inline int kb_policy_largest_configure(const struct kb_policy_host *host, const char *args,
                                              void **ret_instance, char *error, size_t error_bytes)
{
    struct kb_policy_largest *l = malloc(sizeof(*l));
    (void)host, (void)error, (void)error_bytes;
    if (l == NULL)
        return -1;
    l->cpu = 1000 * kb_policy_number(args, "maxCpu", 128);
    l->gpu = KB_POLICY_GPU_MILLI * kb_policy_number(args, "maxGpus", 8);
    *ret_instance = l;
    return 0;
}

/* What the pod would leave of the nodes in slots from … to-1: left[0] of the first. CPU and GPU
 * count by half: 1 is the largest node without any pod. Below 0 only where the pod does not fit. */
static inline void kb_policy_left(const struct kb_policy_cycle *c, uint32_t from, uint32_t to,
                                  double *left)
{
    const struct kb_policy_largest *l = c->instance;
    const int64_t *cpu = c->nodes->allocatable[KB_POLICY_CPU];
    const int64_t *cpu_used = c->nodes->requested[KB_POLICY_CPU];
    const uint32_t *gpu = c->nodes->devices->free_milli;
    double want_cpu = (double)kb_policy_requested(c->pod, KB_POLICY_CPU);
    double want_gpu = (double)c->pod->gpus * c->pod->gpu_milli;
    for (uint32_t i = from; i < to; i++)
        left[i - from] = ((double)(cpu[i] - cpu_used[i]) - want_cpu) / l->cpu * 0.5 +
                         ((double)gpu[i] - want_gpu) / l->gpu * 0.5;
}

#endif
