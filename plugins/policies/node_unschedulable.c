/* NodeUnschedulable: a cordoned node takes only pods that tolerate being there. */
#include <kubus/policy.h>

/* A pod that tolerates the taint of cordoned nodes does not care. */
static enum kb_policy_status pre_filter(struct kb_policy_cycle *c)
{
    uint32_t key = c->host->intern(c->host->core, "node.kubernetes.io/unschedulable");
    uint32_t empty = c->host->intern(c->host->core, "");
    for (uint32_t i = 0; i < c->pod->tolerations_n; i++) {
        const struct kb_policy_toleration *t = &c->pod->tolerations[i];
        if ((t->effect == KB_POLICY_ANY_EFFECT || t->effect == KB_POLICY_NO_SCHEDULE) &&
            (t->key == 0 || t->key == key) && (t->exists || t->value == empty))
            return KB_POLICY_SKIP;
    }
    return KB_POLICY_OK;
}

static void filter(struct kb_policy_cycle *c, uint32_t from, uint32_t to, uint32_t *verdict)
{
    const uint8_t *unschedulable = c->nodes->unschedulable;
    for (uint32_t i = from; i < to; i++)
        verdict[i - from] = unschedulable[i] ? 1 | KB_POLICY_UNRESOLVABLE : 0;
}

static void reason(struct kb_policy_cycle *c, uint32_t code, kb_policy_emit *emit, void *to)
{
    (void)c, (void)code;
    emit(to, "node(s) were unschedulable");
}

KB_POLICY(NodeUnschedulable, .events = KB_POLICY_ON_NODE_ADD | KB_POLICY_ON_NODE_TAINT,
          .pre_filter = pre_filter, .filter = filter, .reason = reason);
