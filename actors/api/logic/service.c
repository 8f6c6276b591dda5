/* Services: cluster addresses and node ports.
 *
 * WHY records in the store: an address is taken by a key of its own (serviceips//10.96.3.7),
 * written with condition `absent` in the transaction that writes the Service, and removed in the
 * one that removes it. Two Services can therefore never share one, whoever creates them and
 * whatever dies between, and nothing has to be repaired. An allocator that keeps a bitmap in memory
 * was rejected: it would have to be rebuilt at start and could not be shared by several gateways.
 *
 * Free ones are guessed at random in the upper part of the range, the lower being left for those
 * who ask for a certain one, as Kubernetes does; a guess that is taken is made again. */
#include "actors/api/logic/logic.h"
#include "actors/api/logic/rules.h"

#include <arpa/inet.h>
#include <stdio.h>

static const char ip_resource[] = "serviceips//", port_resource[] = "servicenodeports//";

static kb_str type_of(const struct kb_node *service)
{
    return kb_node_text_at(service, "spec.type");
}

static bool wants_ip(const struct kb_node *service)
{
    return service && !kb_str_is(type_of(service), "ExternalName");
}

static bool wants_ports(const struct kb_node *service)
{
    if (service == NULL)
        return false;
    const struct kb_node *allocate = kb_node_at(service, "spec.allocateLoadBalancerNodePorts");
    return kb_str_is(type_of(service), "NodePort") ||
           (kb_str_is(type_of(service), "LoadBalancer") &&
            (allocate == NULL || kb_node_true(allocate)));
}

static kb_str ip_of(const struct kb_node *service)
{
    return kb_node_text_at(service, "spec.clusterIP");
}

static bool is_address(kb_str ip)
{
    return ip.n && !kb_str_is(ip, "None");
}

static void set_ip(struct kb_object_op *op, struct kb_node *service, kb_str ip)
{
    struct kb_arena *a = &op->arena;
    struct kb_node *list = kb_node_array(a);
    kb_node_append(a, list, kb_node_str(a, ip));
    kb_node_set_str(a, service, "spec.clusterIP", ip);
    kb_node_set(a, service, "spec.clusterIPs", list);
}

/* ---- prepare ---- */

/* An update that leaves out what was allocated keeps it. */
static void keep_ports(struct kb_object_op *op)
{
    const struct kb_node *before = kb_node_at(op->old, "spec.ports");
    const struct kb_node *after = kb_node_at(op->obj, "spec.ports");
    for (uint32_t i = 0; after && i < after->count; i++) {
        struct kb_node *port = after->items[i].val;
        if (kb_node_num(kb_node_get(port, "nodePort"), 0))
            continue;
        for (uint32_t j = 0; before && j < before->count; j++) {
            const struct kb_node *was = before->items[j].val;
            struct kb_node *node_port = kb_node_get(was, "nodePort");
            if (node_port && kb_node_equal(kb_node_get(was, "port"), kb_node_get(port, "port")) &&
                kb_node_equal(kb_node_get(was, "protocol"), kb_node_get(port, "protocol")))
                kb_node_put(&op->arena, port, "nodePort", node_port);
        }
    }
}

static void drop_ports(struct kb_node *service)
{
    const struct kb_node *ports = kb_node_at(service, "spec.ports");
    for (uint32_t i = 0; ports && i < ports->count; i++)
        kb_node_del(ports->items[i].val, "nodePort");
}

static bool is_external(const struct kb_node *service)
{
    return service &&
           (kb_str_is(type_of(service), "NodePort") || kb_str_is(type_of(service), "LoadBalancer"));
}

static void drop_unchanged(struct kb_object_op *op, const char *path)
{
    if (kb_node_equal(kb_node_at(op->obj, path), kb_node_at(op->old, path)))
        kb_node_unset(op->obj, path);
}

/* What belonged to the old type goes with it, unless the update says otherwise. */
static void drop_of_type(struct kb_object_op *op)
{
    bool was_balanced = op->old && kb_str_is(type_of(op->old), "LoadBalancer");
    if (is_external(op->old) && !is_external(op->obj)) {
        drop_unchanged(op, "spec.externalTrafficPolicy");
        drop_unchanged(op, "spec.healthCheckNodePort");
    }
    if (was_balanced && !kb_str_is(type_of(op->obj), "LoadBalancer")) {
        drop_unchanged(op, "spec.allocateLoadBalancerNodePorts");
        drop_unchanged(op, "spec.loadBalancerClass");
    }
}

static void prepare_ip(struct kb_object_op *op, struct kb_node *spec)
{
    struct kb_arena *a = &op->arena;
    const struct kb_node *list = kb_node_get(spec, "clusterIPs");
    kb_str ip = ip_of(op->obj);
    if (ip.n == 0 && list && list->type == KB_ARRAY && list->count)
        ip = kb_node_text(list->items[0].val);
    if (ip.n == 0 && op->old && wants_ip(op->old))
        ip = ip_of(op->old);
    if (ip.n && (list == NULL || list->count == 0 || ip_of(op->obj).n == 0))
        set_ip(op, op->obj, ip);
    if (kb_node_get(spec, "ipFamilies") == NULL) {
        struct kb_node *families = kb_node_array(a);
        kb_node_append(a, families, kb_node_cstr(a, "IPv4"));
        kb_node_put(a, spec, "ipFamilies", families);
    }
    if (kb_node_get(spec, "ipFamilyPolicy") == NULL)
        kb_node_put(a, spec, "ipFamilyPolicy", kb_node_cstr(a, "SingleStack"));
}

static int prepare(struct kb_object_op *op)
{
    struct kb_node *spec = kb_node_ensure(&op->arena, op->obj, "spec");
    if (wants_ip(op->obj)) {
        prepare_ip(op, spec);
    } else {
        kb_node_del(spec, "clusterIP");
        kb_node_del(spec, "clusterIPs");
        kb_node_del(spec, "ipFamilies");
        kb_node_del(spec, "ipFamilyPolicy");
    }
    drop_of_type(op);
    if (wants_ports(op->obj) && wants_ports(op->old))
        keep_ports(op);
    else if (!wants_ports(op->obj))
        drop_ports(op->obj);
    return 0;
}

static void validate(struct kb_object_op *op)
{
    kb_rules_service(op->obj, op->old, &op->causes);
}

/* ---- allocation ---- */

static struct kb_node *record(struct kb_object_op *op)
{
    struct kb_arena *a = &op->arena;
    struct kb_node *doc = kb_node_map(a);
    kb_node_put(
        a, doc, "service",
        kb_node_str(a, kb_arena_printf(a, KB_STR_FMT "/" KB_STR_FMT,
                                       KB_STR_ARG(kb_node_text_at(op->obj, "metadata.namespace")),
                                       KB_STR_ARG(kb_node_text_at(op->obj, "metadata.name")))));
    return doc;
}

static kb_str guess_ip(struct kb_object_op *op)
{
    const struct kb_objects_core *core = op->core;
    uint32_t size = (uint32_t)(1ull << (32 - core->service_bits));
    uint32_t band = size / 16 < 16 ? 16 : size / 16 > 256 ? 256 : size / 16;
    if (band * 2 > size)
        band = 1;
    uint32_t ip =
        core->service_net + band + (uint32_t)kb_rand_below(&op->core->rand, size - band - 1);
    return kb_arena_printf(&op->arena, "%u.%u.%u.%u", ip >> 24, ip >> 16 & 255, ip >> 8 & 255,
                           ip & 255);
}

static int64_t guess_port(struct kb_object_op *op)
{
    const struct kb_objects_core *core = op->core;
    int64_t size = core->node_port_last - core->node_port_first + 1;
    int64_t band = size / 32 < 16 ? 16 : size / 32 > 128 ? 128 : size / 32;
    if (band * 2 > size)
        band = 0;
    return core->node_port_first + band +
           (int64_t)kb_rand_below(&op->core->rand, (uint64_t)(size - band));
}

static kb_str ip_key(struct kb_object_op *op, kb_str ip)
{
    return kb_arena_printf(&op->arena, "%s" KB_STR_FMT, ip_resource, KB_STR_ARG(ip));
}

static kb_str port_key(struct kb_object_op *op, int64_t port)
{
    return kb_arena_printf(&op->arena, "%s%lld", port_resource, (long long)port);
}

static int refuse_ip(struct kb_object_op *op, kb_str ip, const char *why)
{
    struct kb_at at = kb_at_field(NULL, "spec.clusterIPs");
    op->causes.count = 0;
    kb_causes_add(&op->causes, KB_CAUSE_INVALID, &at, kb_node_at(op->obj, "spec.clusterIPs"),
                  "failed to allocate IP " KB_STR_FMT ": %s", KB_STR_ARG(ip), why);
    kb_status_invalid(&op->status, &op->arena, op->kind, kb__op_name(op), &op->causes);
    return -KB_EUNPROCESSABLE;
}

static int refuse_port(struct kb_object_op *op, uint32_t index, int64_t port, const char *why)
{
    struct kb_node value = {.type = KB_INT, .i = port};
    struct kb_at ports = kb_at_field(NULL, "spec.ports"), item = kb_at_index(&ports, index),
                 at = kb_at_field(&item, "nodePort");
    op->causes.count = 0;
    kb_causes_add(&op->causes, KB_CAUSE_INVALID, &at, &value, "%s", why);
    kb_status_invalid(&op->status, &op->arena, op->kind, kb__op_name(op), &op->causes);
    return -KB_EUNPROCESSABLE;
}

static bool in_service_range(const struct kb_objects_core *core, kb_str ip)
{
    struct in_addr address;
    char text[INET_ADDRSTRLEN];
    uint32_t mask = (uint32_t)(~0ull << (32 - core->service_bits));
    return kb_str_copy(ip, text, sizeof(text)) && inet_pton(AF_INET, text, &address) == 1 &&
           (ntohl(address.s_addr) & mask) == core->service_net;
}

static int allocate_ip(struct kb_object_op *op)
{
    kb_str had = wants_ip(op->old) ? ip_of(op->old) : (kb_str){0};
    kb_str has = wants_ip(op->obj) ? ip_of(op->obj) : (kb_str){0};
    bool chosen = false;
    if (wants_ip(op->obj) && has.n == 0) {
        has = guess_ip(op);
        set_ip(op, op->obj, has);
        chosen = true;
    }
    if (kb_str_eq(had, has))
        return 0;
    if (is_address(has) && !in_service_range(op->core, has))
        return refuse_ip(op, has, "the provided IP is not in the valid range of service addresses");
    if (is_address(has))
        kb__op_extra(op, false, ip_key(op, has), record(op))->chosen = chosen;
    if (is_address(had))
        kb__op_extra(op, true, ip_key(op, had), NULL);
    return 0;
}

static bool has_port(const struct kb_node *service, int64_t node_port, uint32_t below)
{
    const struct kb_node *ports = wants_ports(service) ? kb_node_at(service, "spec.ports") : NULL;
    for (uint32_t i = 0; ports && i < ports->count && i < below; i++)
        if (kb_node_num(kb_node_get(ports->items[i].val, "nodePort"), 0) == node_port)
            return true;
    return false;
}

/* One that no port of the service itself has; 0 when that needs too much luck. */
static int64_t guess_other_port(struct kb_object_op *op)
{
    enum { GUESSES = 200 };
    for (int i = 0; i < GUESSES; i++) {
        int64_t port = guess_port(op);
        if (!has_port(op->obj, port, UINT32_MAX))
            return port;
    }
    return 0;
}

static int allocate_port(struct kb_object_op *op, struct kb_node *port, uint32_t index)
{
    int64_t wanted = kb_node_num(kb_node_get(port, "nodePort"), 0);
    int64_t have = wanted ? wanted : guess_other_port(op);
    if (have == 0)
        return refuse_port(op, index, 0, "failed to allocate a nodePort: range is full");
    if (wanted == 0)
        kb_node_put(&op->arena, port, "nodePort", kb_node_int(&op->arena, have));
    if (has_port(op->old, have, UINT32_MAX) || has_port(op->obj, have, index))
        return 0; /* ours already, or shared by two protocols */
    if (have < op->core->node_port_first || have > op->core->node_port_last) {
        char why[96];
        snprintf(why, sizeof(why),
                 "provided port is not in the valid range. The range of valid ports is %d-%d",
                 op->core->node_port_first, op->core->node_port_last);
        return refuse_port(op, index, have, why);
    }
    kb__op_extra(op, false, port_key(op, have), record(op))->chosen = wanted == 0;
    return 0;
}

static int allocate_ports(struct kb_object_op *op)
{
    const struct kb_node *after = wants_ports(op->obj) ? kb_node_at(op->obj, "spec.ports") : NULL;
    const struct kb_node *before = wants_ports(op->old) ? kb_node_at(op->old, "spec.ports") : NULL;
    uint32_t range = (uint32_t)(op->core->node_port_last - op->core->node_port_first + 1);
    if (after && after->count > range)
        return refuse_port(op, range, 0, "failed to allocate a nodePort: range is full");
    for (uint32_t i = 0; after && i < after->count; i++)
        if (allocate_port(op, after->items[i].val, i) < 0)
            return -KB_EUNPROCESSABLE;
    for (uint32_t i = 0; before && i < before->count; i++) {
        int64_t port = kb_node_num(kb_node_get(before->items[i].val, "nodePort"), 0);
        if (port && !has_port(op->obj, port, UINT32_MAX) && !has_port(op->old, port, i))
            kb__op_extra(op, true, port_key(op, port), NULL);
    }
    return 0;
}

static int allocate(struct kb_object_op *op)
{
    return allocate_ip(op) < 0 ? -KB_EUNPROCESSABLE : allocate_ports(op);
}

static int ip_taken(struct kb_object_op *op, struct kb_extra *extra)
{
    if (!extra->chosen)
        return refuse_ip(op, ip_of(op->obj), "provided IP is already allocated");
    kb_str ip = guess_ip(op);
    set_ip(op, op->obj, ip);
    extra->key = ip_key(op, ip);
    return 0;
}

static int port_taken(struct kb_object_op *op, struct kb_extra *extra, int64_t port)
{
    struct kb_node *ports = kb_node_at(op->obj, "spec.ports");
    int64_t other = guess_other_port(op);
    for (uint32_t i = 0; i < ports->count; i++) {
        struct kb_node *item = ports->items[i].val;
        if (kb_node_num(kb_node_get(item, "nodePort"), 0) != port)
            continue;
        if (!extra->chosen)
            return refuse_port(op, i, port, "provided port is already allocated");
        if (other == 0)
            return refuse_port(op, i, 0, "failed to allocate a nodePort: range is full");
        kb_node_put(&op->arena, item, "nodePort", kb_node_int(&op->arena, other));
    }
    extra->key = port_key(op, other);
    return 0;
}

static int taken(struct kb_object_op *op, kb_str key)
{
    int64_t port;
    for (struct kb_extra *extra = op->extras; extra; extra = extra->next) {
        if (extra->del || !kb_str_eq(extra->key, key))
            continue;
        if (kb_str_starts(key, ip_resource))
            return ip_taken(op, extra);
        size_t n = sizeof(port_resource) - 1;
        if (kb_str_i64(kb_str_n(key.p + n, key.n - n), &port))
            return port_taken(op, extra, port);
    }
    return -KB_EINTERNAL;
}

static void release(struct kb_object_op *op)
{
    const struct kb_node *ports = wants_ports(op->old) ? kb_node_at(op->old, "spec.ports") : NULL;
    if (wants_ip(op->old) && is_address(ip_of(op->old)))
        kb__op_extra(op, true, ip_key(op, ip_of(op->old)), NULL);
    for (uint32_t i = 0; ports && i < ports->count; i++) {
        int64_t port = kb_node_num(kb_node_get(ports->items[i].val, "nodePort"), 0);
        if (port && !has_port(op->old, port, i))
            kb__op_extra(op, true, port_key(op, port), NULL);
    }
}

const struct kb_logic kb__logic_service = {
    .resource = "services",
    .returns_deleted = true,
    .prepare = prepare,
    .validate = validate,
    .allocate = allocate,
    .release = release,
    .taken = taken,
};
