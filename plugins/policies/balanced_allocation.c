/* NodeResourcesBalancedAllocation: prefer the node where the shares of CPU and memory in use would
 * be most alike. */
#include <kubus/policy.h>

static int64_t amount_of(const struct kb_policy_pod *pod, uint32_t resource)
{
    for (uint32_t i = 0; i < pod->requests_n; i++)
        if (pod->requests[i].resource == resource)
            return pod->requests[i].amount;
    return 0;
}

/* Pods that request neither would otherwise all go to the one node that is balanced best. */
static enum kb_policy_status pre_score(struct kb_policy_cycle *c)
{
    bool best_effort =
        amount_of(c->pod, KB_POLICY_CPU) == 0 && amount_of(c->pod, KB_POLICY_MEMORY) == 0;
    return best_effort ? KB_POLICY_SKIP : KB_POLICY_OK;
}

static double share(int64_t requested, int64_t allocatable)
{
    double fraction = (double)requested / (double)allocatable;
    return fraction > 1 ? 1 : fraction;
}

static void score(struct kb_policy_cycle *c, uint32_t from, uint32_t to, int64_t *score_out)
{
    const struct kb_policy_nodes *nodes = c->nodes;
    const int64_t *cpu = nodes->allocatable[KB_POLICY_CPU];
    const int64_t *memory = nodes->allocatable[KB_POLICY_MEMORY];
    const int64_t *cpu_used = nodes->requested[KB_POLICY_CPU];
    const int64_t *memory_used = nodes->requested[KB_POLICY_MEMORY];
    int64_t cpu_more = amount_of(c->pod, KB_POLICY_CPU);
    int64_t memory_more = amount_of(c->pod, KB_POLICY_MEMORY);
    for (uint32_t i = from; i < to; i++) {
        double deviation = 0; /* standard deviation of two values: half their distance */
        if (cpu[i] > 0 && memory[i] > 0) {
            deviation = (share(cpu_used[i] + cpu_more, cpu[i]) -
                         share(memory_used[i] + memory_more, memory[i])) /
                        2;
            deviation = deviation < 0 ? -deviation : deviation;
        }
        score_out[i - from] = (int64_t)((1 - deviation) * KB_POLICY_SCORE_MAX);
    }
}

KB_POLICY(NodeResourcesBalancedAllocation, .weight = 1, .pre_score = pre_score, .score = score);
