/* DotProduct: the packing heuristic of Tetris (Grandl et al., SIGCOMM 2014), with free CPU and GPU
 * of the node and the pod's requests as vectors. As in the comparison of Weng et al. (ATC 2023),
 * the smaller the product, the better the node: what is nearly full is filled first. */
#include <kubus/policy/packing.h>

static void score(struct kb_policy_cycle *c, uint32_t from, uint32_t to, int64_t *score_out)
{
    const struct kb_policy_largest *l = c->instance;
    const int64_t *cpu = c->nodes->allocatable[KB_POLICY_CPU];
    const int64_t *cpu_used = c->nodes->requested[KB_POLICY_CPU];
    const uint32_t *gpu = c->nodes->devices->free_milli;
    double want_cpu = (double)kb_policy_requested(c->pod, KB_POLICY_CPU) / l->cpu;
    double want_gpu = (double)c->pod->gpus * c->pod->gpu_milli / l->gpu;
    for (uint32_t i = from; i < to; i++) {
        double product =
            (double)(cpu[i] - cpu_used[i]) / l->cpu * want_cpu + (double)gpu[i] / l->gpu * want_gpu;
        int64_t points = (int64_t)(KB_POLICY_SCORE_MAX * (1 - product / 2));
        score_out[i - from] = points < 0 ? 0 : points;
    }
}

KB_POLICY(DotProduct, .weight = 1, .configure = kb_policy_largest_configure, .unload = free,
          .score = score);
