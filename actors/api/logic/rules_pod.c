/* rules_pod.c - rules over the whole of a pod's spec. */
#include "actors/api/logic/rules_impl.h"

#include "bus/base/map.h"
#include "bus/model/quantity.h"

#include <inttypes.h>

const struct kb_node *kb__find(const struct kb_node *list, const char *key, kb_str want)
{
    for (uint32_t i = 0; i < kb__count(list); i++)
        if (kb_str_eq(kb__text(kb__item(list, i), key), want))
            return kb__item(list, i);
    return NULL;
}

void kb_rules_pod_default(struct kb_arena *arena, struct kb_node *spec)
{
    static const char *const lists[] = {"containers", "initContainers"};
    if (!kb_node_true(kb_node_get(spec, "hostNetwork")))
        return;
    for (size_t l = 0; l < KB_COUNT(lists); l++) {
        struct kb_node *containers = kb_node_get(spec, lists[l]);
        for (uint32_t i = 0; i < kb__count(containers); i++) {
            struct kb_node *ports = kb_node_get(kb__item(containers, i), "ports");
            for (uint32_t p = 0; p < kb__count(ports); p++) {
                struct kb_node *port = kb__item(ports, p);
                if (port->type == KB_MAP && kb__num(port, "hostPort", 0) == 0)
                    kb_node_set_int(arena, port, "hostPort", kb__num(port, "containerPort", 0));
            }
        }
    }
}

/* ---- ports of the node: each can be had once ---- */

static void host_port(struct kb_map *taken, const struct kb_node *port, const struct kb_at *at,
                      struct kb_causes *causes)
{
    int64_t number = kb__num(port, "hostPort", 0);
    if (number == 0)
        return;
    kb_str text = kb_arena_printf(causes->arena, KB_STR_FMT "/" KB_STR_FMT "/%" PRId64,
                                  KB_STR_ARG(kb__text(port, "protocol")),
                                  KB_STR_ARG(kb__text(port, "hostIP")), number);
    if (kb_map_put(taken, text, taken) != NULL) {
        struct kb_at here = kb_at_field(at, "hostPort");
        kb_causes_add_str(causes, KB_CAUSE_DUPLICATE, &here, text, NULL);
    }
}

static void host_ports(const struct kb_node *spec, const struct kb_at *at, struct kb_causes *causes)
{
    bool on_host = kb_node_true(kb_node_get(spec, "hostNetwork"));
    struct kb_at list = kb_at_field(at, "containers");
    const struct kb_node *containers = kb_node_get(spec, "containers");
    struct kb_map taken = {0};
    for (uint32_t i = 0; i < kb__count(containers); i++) {
        struct kb_at c = kb_at_index(&list, i), where = kb_at_field(&c, "ports");
        const struct kb_node *ports = kb_node_get(kb__item(containers, i), "ports");
        for (uint32_t p = 0; p < kb__count(ports); p++) {
            const struct kb_node *port = kb__item(ports, p);
            struct kb_at here = kb_at_index(&where, p);
            host_port(&taken, port, &here, causes);
            if (on_host && kb__num(port, "hostPort", 0) != kb__num(port, "containerPort", 0))
                KB__BAD(causes, INVALID, &here, port, "hostPort",
                        "must match `containerPort` when `hostNetwork` is true");
        }
    }
    kb_map_finish(&taken);
}

/* ---- containers ---- */

static void containers(const struct kb_node *spec, const char *key, enum kb__container_kind kind,
                       const struct kb_at *at, struct kb_causes *causes)
{
    const struct kb_node *list = kb_node_get(spec, key);
    struct kb_at where = kb_at_field(at, key);
    for (uint32_t i = 0; i < kb__count(list); i++) {
        struct kb_at here = kb_at_index(&where, i);
        kb__rules_container(kb__item(list, i), spec, kind, &here, causes);
    }
}

/* Names are unique over the three lists; within one, the schema has seen to it. */
static void names_across(const struct kb_node *spec, const char *key, const char *const *others,
                         size_t nothers, const struct kb_at *at, struct kb_causes *causes)
{
    const struct kb_node *list = kb_node_get(spec, key);
    struct kb_at where = kb_at_field(at, key);
    for (uint32_t i = 0; i < kb__count(list); i++) {
        struct kb_at here = kb_at_index(&where, i);
        kb_str name = kb__text(kb__item(list, i), "name");
        for (size_t o = 0; name.n > 0 && o < nothers; o++)
            if (kb__find(kb_node_get(spec, others[o]), "name", name) != NULL)
                KB__BAD(causes, DUPLICATE, &here, kb__item(list, i), "name", NULL);
    }
}

static void dns(const struct kb_node *spec, const struct kb_at *at, struct kb_causes *causes)
{
    const struct kb_node *config = kb_node_get(spec, "dnsConfig");
    if (!kb__is(spec, "dnsPolicy", "None"))
        return;
    struct kb_at here = kb_at_field(at, "dnsConfig");
    if (config == NULL)
        kb_causes_add(causes, KB_CAUSE_REQUIRED, &here, NULL,
                      "must provide `dnsConfig` when `dnsPolicy` is None");
    else if (!kb__set(config, "nameservers"))
        KB__WRONG(causes, REQUIRED, &here, "nameservers",
                  "must provide at least one DNS nameserver when `dnsPolicy` is None");
}

void kb_rules_pod_spec(const struct kb_node *spec, const struct kb_at *at, bool is_template,
                       struct kb_causes *causes)
{
    static const char *const before_init[] = {"containers"};
    static const char *const before_ephemeral[] = {"containers", "initContainers"};
    struct kb_at volumes = kb_at_field(at, "volumes");
    kb__rules_volumes(kb_node_get(spec, "volumes"), &volumes, causes);
    containers(spec, "containers", KB__MAIN, at, causes);
    containers(spec, "initContainers", KB__INIT, at, causes);
    names_across(spec, "initContainers", before_init, KB_COUNT(before_init), at, causes);
    if (!is_template) {
        containers(spec, "ephemeralContainers", KB__EPHEMERAL, at, causes);
        names_across(spec, "ephemeralContainers", before_ephemeral, KB_COUNT(before_ephemeral), at,
                     causes);
    } else if (kb__set(spec, "ephemeralContainers")) {
        KB__WRONG(causes, FORBIDDEN, at, "ephemeralContainers",
                  "ephemeral containers not allowed in pod template");
    }
    host_ports(spec, at, causes);
    dns(spec, at, causes);
    kb__rules_scheduling(spec, at, causes);
    if (kb_node_true(kb_node_get(spec, "shareProcessNamespace")) &&
        kb_node_true(kb_node_get(spec, "hostPID")))
        KB__BAD(causes, INVALID, at, spec, "shareProcessNamespace",
                "ShareProcessNamespace and HostPID cannot both be enabled");
    if (!is_template && kb__set(spec, "schedulingGates") && kb__set(spec, "nodeName"))
        KB__WRONG(causes, FORBIDDEN, at, "nodeName",
                  "cannot be set until all schedulingGates have been cleared");
}

void kb_rules_pod_create(const struct kb_node *pod, struct kb_causes *causes)
{
    const struct kb_node *spec = kb_node_get(pod, "spec");
    struct kb_at at = kb_at_field(NULL, "spec");
    if (kb__set(spec, "ephemeralContainers"))
        KB__WRONG(causes, FORBIDDEN, &at, "ephemeralContainers", "cannot be set on create");
}

/* ---- updates ---- */

/* Every old toleration is still there; only tolerationSeconds may differ. */
static bool tolerations_grow(const struct kb_node *old, const struct kb_node *now,
                             struct kb_arena *arena)
{
    for (uint32_t i = 0; i < kb__count(old); i++) {
        struct kb_node *want = kb_node_copy(arena, kb__item(old, i));
        bool found = false;
        kb_node_del(want, "tolerationSeconds");
        for (uint32_t n = 0; !found && n < kb__count(now); n++) {
            struct kb_node *have = kb_node_copy(arena, kb__item(now, n));
            kb_node_del(have, "tolerationSeconds");
            found = kb_node_equal(want, have);
        }
        if (!found)
            return false;
    }
    return true;
}

static void deadline_shrinks(const struct kb_node *old, const struct kb_node *now,
                             const struct kb_at *at, struct kb_causes *causes)
{
    const struct kb_node *was = kb_node_get(old, "activeDeadlineSeconds");
    const struct kb_node *is = kb_node_get(now, "activeDeadlineSeconds");
    if (was == NULL)
        return;
    if (is == NULL)
        KB__BAD(causes, INVALID, at, now, "activeDeadlineSeconds",
                "must not update from a positive integer to nil value");
    else if (kb_node_num(is, 0) > kb_node_num(was, 0))
        KB__BAD(causes, INVALID, at, now, "activeDeadlineSeconds",
                "must be less than or equal to previous value");
}

static void same_containers(const struct kb_node *old, const struct kb_node *now, const char *key,
                            const struct kb_at *at, struct kb_causes *causes)
{
    const struct kb_node *was = kb_node_get(old, key), *is = kb_node_get(now, key);
    if (kb__count(was) != kb__count(is))
        KB__WRONG(causes, FORBIDDEN, at, key, "pod updates may not add or remove containers");
}

void kb_rules_pod_update(const struct kb_node *old_pod, const struct kb_node *new_pod,
                         struct kb_causes *causes)
{
    const struct kb_node *old = kb_node_get(old_pod, "spec"), *now = kb_node_get(new_pod, "spec");
    const struct kb_node *gates = kb_node_get(now, "schedulingGates");
    struct kb_at at = kb_at_field(NULL, "spec");
    same_containers(old, now, "containers", &at, causes);
    same_containers(old, now, "initContainers", &at, causes);
    deadline_shrinks(old, now, &at, causes);
    if (!tolerations_grow(kb_node_get(old, "tolerations"), kb_node_get(now, "tolerations"),
                          causes->arena))
        KB__WRONG(causes, FORBIDDEN, &at, "tolerations",
                  "existing toleration can not be modified except its tolerationSeconds");
    for (uint32_t i = 0; i < kb__count(gates); i++) {
        kb_str name = kb__text(kb__item(gates, i), "name");
        struct kb_at list = kb_at_field(&at, "schedulingGates"), gate = kb_at_index(&list, i);
        struct kb_at here = kb_at_field(&gate, "name");
        if (kb__find(kb_node_get(old, "schedulingGates"), "name", name) == NULL)
            kb_causes_add(causes, KB_CAUSE_FORBIDDEN, &here, NULL,
                          "only deletion is allowed, but found new scheduling gate '" KB_STR_FMT
                          "'",
                          KB_STR_ARG(name));
    }
}

static const struct kb_node *ephemeral_of(const struct kb_node *pod)
{
    return kb_node_get(kb_node_get(pod, "spec"), "ephemeralContainers");
}

void kb_rules_pod_ephemeral(const struct kb_node *old_pod, const struct kb_node *new_pod,
                            struct kb_causes *causes)
{
    const struct kb_node *old = ephemeral_of(old_pod), *now = ephemeral_of(new_pod);
    struct kb_at spec = kb_at_field(NULL, "spec"), at = kb_at_field(&spec, "ephemeralContainers");
    for (uint32_t i = 0; i < kb__count(old); i++) {
        const struct kb_node *was = kb__item(old, i);
        kb_str name = kb__text(was, "name");
        const struct kb_node *is = kb__find(now, "name", name);
        if (is == NULL || !kb_node_equal(was, is))
            kb_causes_add(causes, KB_CAUSE_FORBIDDEN, &at, NULL,
                          "existing ephemeral containers \"" KB_STR_FMT "\" may not be %s",
                          KB_STR_ARG(name), is == NULL ? "removed" : "changed");
    }
}

/* ---- quality of service ---- */

struct qos {
    struct kb_quantity requests[2], limits[2]; /* cpu, memory: sums over the containers */
    bool guaranteed;
};

static const char *const qos_resources[2] = {"cpu", "memory"};

static void qos_add(struct qos *q, const struct kb_node *container)
{
    const struct kb_node *resources = kb_node_get(container, "resources");
    for (int r = 0; r < 2; r++) {
        struct kb_quantity request = {0}, limit = {0};
        kb_str req = kb__text(kb_node_get(resources, "requests"), qos_resources[r]);
        kb_str lim = kb__text(kb_node_get(resources, "limits"), qos_resources[r]);
        if (req.n > 0 && kb_quantity_parse(req, &request, NULL) == 0)
            q->requests[r] = kb_quantity_add(q->requests[r], request);
        if (lim.n > 0 && kb_quantity_parse(lim, &limit, NULL) == 0)
            q->limits[r] = kb_quantity_add(q->limits[r], limit);
        q->guaranteed &= !kb_quantity_is_zero(limit);
    }
}

const char *kb_rules_pod_qos(const struct kb_node *spec)
{
    static const char *const lists[] = {"containers", "initContainers"};
    struct qos q = {.guaranteed = true};
    for (size_t l = 0; l < KB_COUNT(lists); l++) {
        const struct kb_node *list = kb_node_get(spec, lists[l]);
        for (uint32_t i = 0; i < kb__count(list); i++)
            qos_add(&q, kb__item(list, i));
    }
    bool any = false;
    for (int r = 0; r < 2; r++) {
        any |= !kb_quantity_is_zero(q.requests[r]) || !kb_quantity_is_zero(q.limits[r]);
        q.guaranteed &= kb_quantity_cmp(q.requests[r], q.limits[r]) == 0;
    }
    return !any ? "BestEffort" : q.guaranteed ? "Guaranteed" : "Burstable";
}
