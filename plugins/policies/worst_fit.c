/* WorstFit: prefer the node, and on it the GPU, where the most would be left; of CPU and of GPU,
 * each by half. */
#include <kubus/policy/packing.h>

static void score(struct kb_policy_cycle *c, uint32_t from, uint32_t to, int64_t *score_out)
{
    double left[KB_POLICY_RUN];
    kb_policy_left(c, from, to, left);
    for (uint32_t i = 0; i < to - from; i++) {
        int64_t points = (int64_t)(left[i] * KB_POLICY_SCORE_MAX);
        score_out[i] = points < 0 ? 0 : points > KB_POLICY_SCORE_MAX ? KB_POLICY_SCORE_MAX : points;
    }
}

static uint32_t assign(struct kb_policy_cycle *c, uint32_t node)
{
    const uint16_t *left = c->nodes->devices->gpus[node].free;
    uint32_t emptiest = 0;
    if (c->pod->gpus != 1)
        return 0;
    for (uint32_t i = 1; i < KB_POLICY_GPUS; i++)
        emptiest = left[i] > left[emptiest] ? i : emptiest;
    return 1u << emptiest;
}

KB_POLICY(WorstFit, .weight = 1, .configure = kb_policy_largest_configure, .unload = free,
          .score = score, .assign = assign);
