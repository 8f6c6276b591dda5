/* BestFit: prefer the node where the least would be left, of CPU and of GPU, each by half. */
#include <kubus/policy/packing.h>

static void score(struct kb_policy_cycle *c, uint32_t from, uint32_t to, int64_t *score_out)
{
    double left[KB_POLICY_RUN];
    kb_policy_left(c, from, to, left);
    for (uint32_t i = 0; i < to - from; i++) {
        int64_t points = (int64_t)((1 - left[i]) * KB_POLICY_SCORE_MAX);
        score_out[i] = points < 0 ? 0 : points;
    }
}

KB_POLICY(BestFit, .weight = 1, .configure = kb_policy_largest_configure, .unload = free,
          .score = score);
