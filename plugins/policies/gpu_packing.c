/* GpuPacking: GPUs that are shared already come first (the fuller the better), then free GPUs of
 * nodes in use, then free nodes (small ones first). A pod without GPUs may go anywhere. */
#include <kubus/policy.h>

enum { SHARED_FROM = 50, FREE_FROM = 33 };

static int64_t at_least(int64_t a, int64_t least)
{
    return a > least ? a : least;
}

/* The fullest GPUs that can take the pod: how many of them are wholly free, and what the others
 * have free in percent of a GPU. */
struct taken {
    int64_t whole, percent;
};

static struct taken take(const uint16_t *left, uint32_t gpus, uint32_t milli)
{
    struct taken t = {0, 0};
    uint32_t taken = 0;
    for (; gpus > 0; gpus--) {
        uint32_t best = KB_POLICY_GPUS;
        for (uint32_t i = 0; i < KB_POLICY_GPUS; i++)
            if (!(taken & (1u << i)) && left[i] >= milli &&
                (best == KB_POLICY_GPUS || left[i] < left[best]))
                best = i;
        if (best == KB_POLICY_GPUS)
            return t;
        taken |= 1u << best;
        t.whole += left[best] == KB_POLICY_GPU_MILLI;
        t.percent += left[best] * 100 / KB_POLICY_GPU_MILLI;
    }
    return t;
}

static int64_t judge(const struct kb_policy_pod *pod, uint32_t count, const uint16_t *left)
{
    uint32_t whole = 0;
    for (uint32_t i = 0; i < count; i++)
        whole += left[i] == KB_POLICY_GPU_MILLI;
    if (whole == count)
        return at_least(FREE_FROM - (int64_t)whole, whole);
    struct taken t = take(left, pod->gpus, pod->gpu_milli);
    if (t.whole > 0)
        return at_least(SHARED_FROM - t.whole, FREE_FROM);
    return at_least(KB_POLICY_SCORE_MAX - t.percent / 10, SHARED_FROM);
}

static void score(struct kb_policy_cycle *c, uint32_t from, uint32_t to, int64_t *score_out)
{
    const struct kb_policy_devices *d = c->nodes->devices;
    for (uint32_t i = from; i < to; i++)
        score_out[i - from] = c->pod->gpus > 0 ? judge(c->pod, d->count[i], d->gpus[i].free) : 0;
}

KB_POLICY(GpuPacking, .weight = 1, .score = score);
