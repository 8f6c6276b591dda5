#include "bus/model/placement.h"

#include "bus/model/meta.h"
#include "bus/model/requirement.h"
#include "bus/model/selector.h"

/* On fields: metadata.name alone, and In or NotIn. */
static bool field_match(kb_val requirement, kb_str name)
{
    enum kb_op op = kb_op_of(kb_val_str(kb_val_get(requirement, "operator")));
    bool among = false;
    if (!kb_str_is(kb_val_str(kb_val_get(requirement, "key")), "metadata.name"))
        return false;
    for (struct kb_iter it = kb_iter(kb_val_get(requirement, "values")); kb_iter_next(&it);)
        among |= kb_str_eq(kb_val_str(it.val), name);
    return (op == KB_OP_IN || op == KB_OP_NOT_IN) && kb_op_among(op, among);
}

static bool term_match(kb_val term, kb_val node)
{
    KB_AUTO(kb_selector_destroy) struct kb_selector *labels = NULL;
    struct kb_err malformed = {0};
    kb_val expressions = kb_val_get(term, "matchExpressions");
    kb_val fields = kb_val_get(term, "matchFields");
    if (kb_val_count(expressions) + kb_val_count(fields) == 0)
        return false;
    if (kb_selector_of(term, &labels, &malformed) < 0 || !kb_selector_match_object(labels, node))
        return false;
    for (struct kb_iter it = kb_iter(fields); kb_iter_next(&it);)
        if (!field_match(it.val, kb_meta_name(node)))
            return false;
    return true;
}

bool kb_node_selector_match(kb_val node_selector, kb_val node)
{
    for (struct kb_iter it = kb_iter(kb_val_get(node_selector, "nodeSelectorTerms"));
         kb_iter_next(&it);)
        if (term_match(it.val, node))
            return true;
    return false;
}

bool kb_node_affinity_match(kb_val spec, kb_val node)
{
    kb_val labels = kb_val_at(node, "metadata.labels");
    for (struct kb_iter it = kb_iter(kb_val_get(spec, "nodeSelector")); kb_iter_next(&it);) {
        kb_val value = kb_val_getn(labels, it.key);
        if (!kb_val_present(value) || !kb_str_eq(kb_val_str(value), kb_val_str(it.val)))
            return false;
    }
    kb_val required =
        kb_val_at(spec, "affinity.nodeAffinity.requiredDuringSchedulingIgnoredDuringExecution");
    return !kb_val_present(required) || kb_node_selector_match(required, node);
}

bool kb_toleration_match(kb_val toleration, kb_val taint)
{
    kb_str effect = kb_val_str_at(toleration, "effect"), key = kb_val_str_at(toleration, "key");
    kb_str op = kb_val_str_at(toleration, "operator");
    if (effect.n > 0 && !kb_str_eq(effect, kb_val_str_at(taint, "effect")))
        return false;
    if (key.n > 0 && !kb_str_eq(key, kb_val_str_at(taint, "key")))
        return false;
    if (kb_str_is(op, "Exists"))
        return true;
    return (op.n == 0 || kb_str_is(op, "Equal")) &&
           kb_str_eq(kb_val_str_at(toleration, "value"), kb_val_str_at(taint, "value"));
}

static bool tolerated(kb_val taint, kb_val tolerations)
{
    for (struct kb_iter it = kb_iter(tolerations); kb_iter_next(&it);)
        if (kb_toleration_match(it.val, taint))
            return true;
    return false;
}

kb_val kb_taint_untolerated(kb_val taints, const char *effect, kb_val tolerations)
{
    for (struct kb_iter it = kb_iter(taints); kb_iter_next(&it);)
        if (kb_str_is(kb_val_str_at(it.val, "effect"), effect) && !tolerated(it.val, tolerations))
            return it.val;
    return (kb_val){0};
}

struct kb_host_ports kb_host_ports(kb_val spec)
{
    return (struct kb_host_ports){.init = kb_val_get(spec, "initContainers"),
                                  .containers = kb_iter(kb_val_get(spec, "containers"))};
}

/* The next container whose ports count: any, or of the init containers those that stay. */
static bool next_container(struct kb_host_ports *it)
{
    for (;;) {
        while (kb_iter_next(&it->containers)) {
            kb_val restart = kb_val_get(it->containers.val, "restartPolicy");
            if (!it->sidecars || kb_str_is(kb_val_str(restart), "Always"))
                return true;
        }
        if (it->sidecars)
            return false;
        it->sidecars = true;
        it->containers = kb_iter(it->init);
    }
}

static bool read_port(kb_val v, struct kb_host_port *ret)
{
    int64_t port = kb_val_int(kb_val_get(v, "hostPort"), 0);
    kb_str protocol = kb_val_str(kb_val_get(v, "protocol"));
    kb_str ip = kb_val_str(kb_val_get(v, "hostIP"));
    if (port <= 0 || port > UINT16_MAX)
        return false;
    *ret = (struct kb_host_port){(uint16_t)port, protocol.n > 0 ? protocol : kb_str_of("TCP"),
                                 kb_str_is(ip, "0.0.0.0") ? (kb_str){0} : ip};
    return true;
}

bool kb_host_port_next(struct kb_host_ports *it, struct kb_host_port *ret)
{
    for (;;) {
        while (kb_iter_next(&it->ports))
            if (read_port(it->ports.val, ret))
                return true;
        if (!next_container(it))
            return false;
        it->ports = kb_iter(kb_val_get(it->containers.val, "ports"));
    }
}

bool kb_host_port_clash(const struct kb_host_port *a, const struct kb_host_port *b)
{
    return a->port == b->port && kb_str_eq(a->protocol, b->protocol) &&
           (a->ip.n == 0 || b->ip.n == 0 || kb_str_eq(a->ip, b->ip));
}
