/* GpuClustering: keep pods of a kind together, where a kind is a share of a GPU, one GPU, two GPUs
 * and so on. Best is a node with this kind alone, then one where it is among others, then an idle
 * one, last a node with other kinds only; among equals, the one with less GPU free ("maxGpus", 8,
 * is an argument: what the largest node has). A pod without GPUs may go anywhere. */
#include <kubus/policy.h>

static int configure(const struct kb_policy_host *host, const char *args, void **ret_instance,
                     char *error, size_t error_bytes)
{
    int64_t *most = malloc(sizeof(*most));
    (void)host, (void)error, (void)error_bytes;
    if (most == NULL)
        return -1;
    *most = (int64_t)(KB_POLICY_GPU_MILLI * kb_policy_number(args, "maxGpus", 8));
    *ret_instance = most;
    return 0;
}

static void score(struct kb_policy_cycle *c, uint32_t from, uint32_t to, int64_t *score_out)
{
    const struct kb_policy_devices *d = c->nodes->devices;
    const struct kb_policy_pod *pod = c->pod;
    int64_t most = *(const int64_t *)c->instance;
    uint32_t shift = pod->gpu_milli < KB_POLICY_GPU_MILLI ? 0 : pod->gpus, own = 0;
    own = 1u << (shift < KB_POLICY_GPUS ? shift : KB_POLICY_GPUS);
    for (uint32_t i = from; i < to; i++) {
        uint32_t kinds = d->kinds[i];
        int64_t used = most - (int64_t)d->free_milli[i];
        int64_t rank = kinds == own ? 3 : kinds & own ? 2 : kinds == 0 ? 1 : 0;
        score_out[i - from] = pod->gpus > 0 ? 25 * (used > 0 ? used : 0) / most + 25 * rank : 0;
    }
}

KB_POLICY(GpuClustering, .weight = 1, .configure = configure, .unload = free, .score = score);
