/* Policies that misbehave once the cluster has a dozen pods, each in its own way: WAY. One crashes
 * when a pod fits nowhere, after it has asked all others why. GOOD is the same policy, mended. */
#include <kubus/policy.h>

enum { CRASH = 1, LOOP, NONSENSE, EXIT, ABORT, ASK, GOOD };

static volatile int *nowhere;

static void score(struct kb_policy_cycle *c, uint32_t from, uint32_t to, int64_t *score_out)
{
    int64_t pods = 0;
    for (uint32_t i = 0; i < c->nodes->count; i++)
        pods += c->nodes->requested[KB_POLICY_PODS][i];
    bool now = pods >= 12;
    for (uint32_t i = from; i < to; i++)
        score_out[i - from] = 50;
    if (now && WAY == CRASH)
        score_out[0] = *nowhere;
    for (volatile bool always = now && WAY == LOOP; always;)
        ;
    if (now && WAY == NONSENSE)
        score_out[0] = 1000;
    if (now && WAY == EXIT)
        exit(0);
    if (now && WAY == ABORT)
        abort();
}

static enum kb_policy_status post_filter(struct kb_policy_cycle *c, uint32_t *ret_node)
{
    for (uint32_t i = 0; i < c->nodes->count; i++)
        if (!c->preemption->fits(c, i))
            c->preemption->count_unfit(c);
    if (WAY == ASK)
        *ret_node = (uint32_t)*nowhere;
    return KB_POLICY_UNSCHEDULABLE;
}

KB_POLICY(Bad, .flags = KB_POLICY_GLOBAL, .weight = 1, .score = score, .post_filter = post_filter);
