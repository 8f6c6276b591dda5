/* Random: any node that fits, each as likely as the others, and any GPU of it that can take a
 * share. It scores nothing: all nodes are then tied, and the core breaks ties evenly by its
 * generator. */
#include <kubus/policy.h>

static uint32_t assign(struct kb_policy_cycle *c, uint32_t node)
{
    const uint16_t *left = c->nodes->devices->gpus[node].free;
    uint32_t able[KB_POLICY_GPUS], n = 0;
    if (c->pod->gpu_milli >= KB_POLICY_GPU_MILLI || c->pod->gpus != 1)
        return 0;
    for (uint32_t i = 0; i < KB_POLICY_GPUS; i++)
        if (left[i] >= c->pod->gpu_milli)
            able[n++] = i;
    return n > 0 ? 1u << able[c->host->random(c->host->core, n)] : 0;
}

KB_POLICY(Random, .flags = KB_POLICY_EVEN_TIES, .assign = assign);
