/* NodeName: a pod that names its node goes there or nowhere. */
#include <kubus/policy.h>

static enum kb_policy_status pre_filter(struct kb_policy_cycle *c)
{
    return c->pod->node_name == 0 ? KB_POLICY_SKIP : KB_POLICY_OK;
}

static void filter(struct kb_policy_cycle *c, uint32_t from, uint32_t to, uint32_t *verdict)
{
    const uint32_t *name = c->nodes->name, wanted = c->pod->node_name;
    for (uint32_t i = from; i < to; i++)
        verdict[i - from] = name[i] == wanted ? 0 : 1 | KB_POLICY_UNRESOLVABLE;
}

static void reason(struct kb_policy_cycle *c, uint32_t code, kb_policy_emit *emit, void *to)
{
    (void)c, (void)code;
    emit(to, "node(s) didn't match the requested node name");
}

KB_POLICY(NodeName, .events = KB_POLICY_ON_NODE_ADD, .pre_filter = pre_filter, .filter = filter,
          .reason = reason);
