/* DotProduct: the packing heuristic of Tetris (Grandl et al., SIGCOMM 2014), with free CPU and GPU
 * of the node and the pod's requests as vectors, both as shares of the largest node's ("maxCpu",
 * 128 cores, and "maxGpus", 8, are arguments). As in the comparison of Weng et al. (ATC 2023), the
 * smaller the product, the better the node: what is nearly full is filled first. */
#include <kubus/policy.h>

/* What a node of the cluster has at most: CPU in milli, GPU in milli. */
struct scale {
    double cpu, gpu;
};

static int configure(const struct kb_policy_host *host, const char *args, void **ret_instance,
                     char *error, size_t error_bytes)
{
    struct scale *s = malloc(sizeof(*s));
    (void)host, (void)error, (void)error_bytes;
    if (s == NULL)
        return -1;
    s->cpu = 1000 * kb_policy_number(args, "maxCpu", 128);
    s->gpu = KB_POLICY_GPU_MILLI * kb_policy_number(args, "maxGpus", 8);
    *ret_instance = s;
    return 0;
}

static void unload(void *instance)
{
    free(instance);
}

static int64_t requested(const struct kb_policy_pod *pod, uint32_t resource)
{
    for (uint32_t i = 0; i < pod->requests_n; i++)
        if (pod->requests[i].resource == resource)
            return pod->requests[i].amount;
    return 0;
}

static void score(struct kb_policy_cycle *c, uint32_t from, uint32_t to, int64_t *score_out)
{
    const struct scale *s = c->instance;
    const int64_t *cpu = c->nodes->allocatable[KB_POLICY_CPU];
    const int64_t *cpu_used = c->nodes->requested[KB_POLICY_CPU];
    const uint32_t *gpu = c->nodes->devices->free_milli;
    double want_cpu = (double)requested(c->pod, KB_POLICY_CPU) / s->cpu;
    double want_gpu = (double)c->pod->gpus * c->pod->gpu_milli / s->gpu;
    for (uint32_t i = from; i < to; i++) {
        double product =
            (double)(cpu[i] - cpu_used[i]) / s->cpu * want_cpu + (double)gpu[i] / s->gpu * want_gpu;
        int64_t points = (int64_t)(KB_POLICY_SCORE_MAX * (1 - product / 2));
        score_out[i - from] = points < 0 ? 0 : points;
    }
}

KB_POLICY(DotProduct, .weight = 1, .configure = configure, .unload = unload, .score = score);
