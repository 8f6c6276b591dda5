/* GpuShare: the GPUs that the pod asks for must be free on the node, one by one: a share of a GPU
 * comes from a single one, whole GPUs are wholly free, and the model is one of those allowed. */
#include <kubus/policy.h>

enum { OTHER_MODEL = 1, NOT_FREE };

static enum kb_policy_status pre_filter(struct kb_policy_cycle *c)
{
    return c->pod->gpus > 0 ? KB_POLICY_OK : KB_POLICY_SKIP;
}

static bool allowed(const struct kb_policy_pod *pod, uint32_t model)
{
    for (uint32_t i = 0; i < pod->gpu_models_n; i++)
        if (pod->gpu_models[i] == model)
            return true;
    return pod->gpu_models_n == 0;
}

/* How many of the node's GPUs have that much free. */
static uint32_t enough(const struct kb_policy_gpus *gpus, uint16_t milli)
{
    uint32_t n = 0;
    for (uint32_t i = 0; i < KB_POLICY_GPUS; i++)
        n += gpus->free[i] >= milli;
    return n;
}

static void filter(struct kb_policy_cycle *c, uint32_t from, uint32_t to, uint32_t *verdict)
{
    const struct kb_policy_devices *d = c->nodes->devices;
    const struct kb_policy_pod *pod = c->pod;
    uint32_t impossible = pod->gpu_milli > KB_POLICY_GPU_MILLI ? KB_POLICY_UNRESOLVABLE : 0;
    for (uint32_t i = from; i < to; i++) {
        uint32_t *v = &verdict[i - from];
        *v = 0;
        if (d->count[i] == 0 && pod->gpu_plain && pod->gpu_models_n == 0)
            continue; /* counted as a resource, if at all */
        if (!allowed(pod, d->model[i]))
            *v = OTHER_MODEL | KB_POLICY_UNRESOLVABLE;
        else if (enough(&d->gpus[i], (uint16_t)pod->gpu_milli) < pod->gpus)
            *v = NOT_FREE | (d->count[i] < pod->gpus ? KB_POLICY_UNRESOLVABLE : impossible);
    }
}

static void reason(struct kb_policy_cycle *c, uint32_t code, kb_policy_emit *emit, void *to)
{
    (void)c;
    emit(to, code == OTHER_MODEL ? "node(s) had no GPU of an allowed model" : "Insufficient GPU");
}

KB_POLICY(GpuShare,
          .events = KB_POLICY_ON_NODE_ADD | KB_POLICY_ON_NODE_ALLOCATABLE |
                    KB_POLICY_ON_NODE_LABEL | KB_POLICY_ON_POD_DELETE,
          .pre_filter = pre_filter, .filter = filter, .reason = reason);
