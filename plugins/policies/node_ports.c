/* NodePorts: a host port is held by one pod of a node. An address conflicts with itself and with
 * "all addresses". */
#include <kubus/policy.h>

#include <string.h>

static bool conflicts(uint32_t wanted_ip, uint32_t held_ip)
{
    return wanted_ip == 0 || held_ip == 0 || wanted_ip == held_ip;
}

static enum kb_policy_status pre_filter(struct kb_policy_cycle *c)
{
    return c->pod->ports_n == 0 ? KB_POLICY_SKIP : KB_POLICY_OK;
}

static bool node_refuses(struct kb_policy_cycle *c, uint32_t node)
{
    const struct kb_policy_port *held;
    uint32_t held_n = c->host->node_ports(c->host->core, node, &held);
    for (uint32_t i = 0; i < held_n; i++)
        for (uint32_t j = 0; j < c->pod->ports_n; j++)
            if (held[i].port == c->pod->ports[j].port &&
                held[i].protocol == c->pod->ports[j].protocol &&
                conflicts(c->pod->ports[j].ip, held[i].ip))
                return true;
    return false;
}

/* Over a long run it is cheaper to ask who holds a port than what each node holds. */
static void filter(struct kb_policy_cycle *c, uint32_t from, uint32_t to, uint32_t *verdict)
{
    if (to - from == 1) {
        verdict[0] = node_refuses(c, from);
        return;
    }
    memset(verdict, 0, (to - from) * sizeof(*verdict));
    for (uint32_t j = 0; j < c->pod->ports_n; j++) {
        const struct kb_policy_port *want = &c->pod->ports[j];
        const struct kb_policy_port_use *uses;
        uint32_t n = c->host->port_uses(c->host->core, want->port, want->protocol, &uses);
        for (uint32_t i = 0; i < n; i++)
            if (uses[i].node >= from && uses[i].node < to && conflicts(want->ip, uses[i].port.ip))
                verdict[uses[i].node - from] = 1;
    }
}

static void reason(struct kb_policy_cycle *c, uint32_t code, kb_policy_emit *emit, void *to)
{
    (void)c, (void)code;
    emit(to, "node(s) didn't have free ports for the requested pod ports");
}

KB_POLICY(NodePorts, .events = KB_POLICY_ON_NODE_ADD | KB_POLICY_ON_POD_DELETE,
          .pre_filter = pre_filter, .filter = filter, .reason = reason);
