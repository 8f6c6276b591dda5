/* rules_workload.c - Deployment, ReplicaSet, ReplicationController; and Services. */
#include "actors/api/logic/rules_impl.h"

#include "bus/base/map.h"

#include <stdio.h>

#include "bus/model/selector.h"

#include <stdlib.h>

/* ---- workloads ---- */

static bool selects(const struct kb_node *selector, const struct kb_node *labels, bool plain_map)
{
    KB_AUTO(kb_doc_destroy) struct kb_doc *doc = kb_node_doc(selector);
    KB_AUTO(kb_selector_destroy) struct kb_selector *compiled = NULL;
    if (plain_map)
        compiled = kb_selector_of_map(kb_doc_root(doc));
    else if (kb_selector_of(kb_doc_root(doc), &compiled, NULL) < 0)
        return true; /* the schema has said what is wrong with it */
    return kb_selector_match_node(compiled, labels);
}

static void selector_rules(const struct kb_node *spec, bool plain_map, const struct kb_at *at,
                           struct kb_causes *causes)
{
    const struct kb_node *selector = kb_node_get(spec, "selector");
    const struct kb_node *labels = kb_node_at(spec, "template.metadata.labels");
    bool empty = plain_map
                     ? kb__members(selector) == 0
                     : !kb__set(selector, "matchLabels") && !kb__set(selector, "matchExpressions");
    struct kb_at here = kb_at_field(at, "template.metadata.labels");
    struct kb_at at_selector = kb_at_field(at, "selector");
    KB_AUTO(kb_buf_finish) struct kb_buf text = {0};
    bool absent = selector == NULL || selector->type != KB_MAP; /* the schema has said so */
    if (plain_map && (absent || empty))
        return;
    if (!absent && empty) {
        kb_go_selector(selector, &text);
        kb_causes_add_go(causes, KB_CAUSE_INVALID, &at_selector, kb_buf_str(&text),
                         "empty selector is invalid for deployment");
    } else if (absent || !selects(selector, labels, plain_map)) {
        kb_go_labels(labels, &text);
        kb_causes_add_go(causes, KB_CAUSE_INVALID, &here, kb_buf_str(&text),
                         "`selector` does not match template `labels`");
    }
}

static void template_rules(kb_str kind, const struct kb_node *spec, const struct kb_at *at,
                           struct kb_causes *causes)
{
    const struct kb_node *pod = kb_node_at(spec, "template.spec");
    struct kb_at here = kb_at_field(at, "template.spec");
    if (pod == NULL)
        return;
    kb_rules_pod_spec(pod, &here, true, causes);
    if (kb__set(pod, "restartPolicy") && !kb__is(pod, "restartPolicy", "Always"))
        KB__BAD(causes, NOT_SUPPORTED, &here, pod, "restartPolicy", "supported values: \"Always\"");
    if (kb_node_get(pod, "activeDeadlineSeconds") != NULL)
        KB__WRONG(causes, FORBIDDEN, &here, "activeDeadlineSeconds",
                  "activeDeadlineSeconds in %s is not Supported",
                  kb_str_is(kind, "ReplicationController") ? "ReplicationController"
                                                           : "ReplicaSet");
}

/* A number, or the number before the %; -1 when it is neither. */
static int64_t amount_of(const struct kb_node *value, bool *ret_percent)
{
    int64_t n = kb_node_num(value, -1);
    kb_str text = kb_node_text(value);
    *ret_percent = kb_str_ends(text, "%");
    if (*ret_percent && !kb_str_i64(kb_str_n(text.p, text.n - 1), &n))
        return -1;
    return n;
}

static void rolling_rules(const struct kb_node *spec, const struct kb_at *at,
                          struct kb_causes *causes)
{
    const struct kb_node *rolling = kb_node_at(spec, "strategy.rollingUpdate");
    struct kb_at here = kb_at_field(at, "strategy.rollingUpdate");
    bool percent_down, percent_up;
    if (rolling == NULL)
        return;
    int64_t down = amount_of(kb_node_get(rolling, "maxUnavailable"), &percent_down);
    int64_t up = amount_of(kb_node_get(rolling, "maxSurge"), &percent_up);
    if (down == 0 && up == 0)
        KB__BAD(causes, INVALID, &here, rolling, "maxUnavailable",
                "may not be 0 when `maxSurge` is 0");
    if (percent_down && down > 100)
        KB__BAD(causes, INVALID, &here, rolling, "maxUnavailable",
                "must not be greater than 100%%");
}

void kb_rules_workload(kb_str kind, const struct kb_node *obj, struct kb_causes *causes)
{
    const struct kb_node *spec = kb_node_get(obj, "spec");
    struct kb_at at = kb_at_field(NULL, "spec");
    selector_rules(spec, kb_str_is(kind, "ReplicationController"), &at, causes);
    template_rules(kind, spec, &at, causes);
    if (!kb_str_is(kind, "Deployment"))
        return;
    rolling_rules(spec, &at, causes);
    if (kb__num(spec, "progressDeadlineSeconds", INT64_MAX) <= kb__num(spec, "minReadySeconds", 0))
        KB__BAD(causes, INVALID, &at, spec, "progressDeadlineSeconds",
                "must be greater than minReadySeconds");
}

void kb_rules_workload_default(kb_str kind, struct kb_arena *arena, struct kb_node *obj)
{
    struct kb_node *labels = kb_node_at(obj, "spec.template.metadata.labels");
    if (kb_str_is(kind, "ReplicationController") && kb__members(labels) > 0 &&
        kb__members(kb_node_at(obj, "metadata.labels")) == 0)
        kb_node_set(arena, obj, "metadata.labels", kb_node_copy(arena, labels));
}

/* ---- services ---- */

static bool is_external(const struct kb_node *spec)
{
    return kb__is(spec, "type", "NodePort") || kb__is(spec, "type", "LoadBalancer") ||
           kb__set(spec, "externalIPs");
}

/* Names and node ports seen so far: lists may be as long as a body. */
struct seen_ports {
    struct kb_map names, node_ports;
};

static bool node_port_seen(struct seen_ports *seen, const struct kb_node *port, int64_t node_port)
{
    char key[64];
    snprintf(key, sizeof(key), "%lld/" KB_STR_FMT, (long long)node_port,
             KB_STR_ARG(kb__text(port, "protocol")));
    return kb_map_put(&seen->node_ports, kb_str_of(key), (void *)port) != NULL;
}

static void port_rules(const struct kb_node *spec, const struct kb_node *ports, uint32_t i,
                       struct seen_ports *seen, const struct kb_at *at, struct kb_causes *causes)
{
    const struct kb_node *port = kb__item(ports, i);
    int64_t node_port = kb__num(port, "nodePort", 0);
    kb_str name = kb__text(port, "name");
    bool nodeless = kb__is(spec, "type", "ClusterIP") || kb__is(spec, "type", "ExternalName");
    if (name.n == 0 && kb__count(ports) > 1)
        KB__WRONG(causes, REQUIRED, at, "name", NULL);
    if (name.n > 0 && kb_map_put(&seen->names, name, (void *)port) != NULL)
        KB__BAD(causes, DUPLICATE, at, port, "name", NULL);
    if (node_port != 0 && nodeless)
        KB__WRONG(causes, FORBIDDEN, at, "nodePort",
                  "may not be used when `type` is '" KB_STR_FMT "'",
                  KB_STR_ARG(kb__text(spec, "type")));
    if (node_port != 0 && node_port_seen(seen, port, node_port))
        KB__BAD(causes, DUPLICATE, at, port, "nodePort", NULL);
}

static void address_rules(const struct kb_node *spec, const struct kb_node *old,
                          const struct kb_at *at, struct kb_causes *causes)
{
    const struct kb_node *all = kb_node_get(spec, "clusterIPs");
    kb_str ip = kb__text(spec, "clusterIP");
    kb_str first = kb__count(all) ? kb_node_text(kb__item(all, 0)) : (kb_str){0};
    kb_str before = kb__text(kb_node_get(old, "spec"), "clusterIP");
    bool was_alias = kb__is(kb_node_get(old, "spec"), "type", "ExternalName");
    struct kb_at list = kb_at_field(at, "clusterIPs"), here = kb_at_index(&list, 0);
    if (kb__is(spec, "type", "ExternalName")) {
        if (ip.n > 0 || first.n > 0)
            KB__WRONG(causes, FORBIDDEN, at, "clusterIPs",
                      "may not be set for ExternalName services");
        return;
    }
    if (ip.n > 0 && first.n > 0 && !kb_str_eq(ip, first))
        KB__BAD(causes, INVALID, at, spec, "clusterIPs", "first value must match `clusterIP`");
    if (kb_str_is(ip, "None") &&
        (kb__is(spec, "type", "LoadBalancer") || kb__is(spec, "type", "NodePort")))
        kb_causes_add_str(causes, KB_CAUSE_INVALID, &here, ip,
                          "may not be set to 'None' for " KB_STR_FMT " services",
                          KB_STR_ARG(kb__text(spec, "type")));
    if (before.n > 0 && !was_alias && !kb_str_eq(before, ip) && all == NULL)
        kb_causes_add_str(causes, KB_CAUSE_INVALID, &here, ip, "may not change once set");
    else if (before.n > 0 && !was_alias && !kb_str_eq(before, ip))
        kb_causes_add(causes, KB_CAUSE_INVALID, &here, all, "may not change once set");
}

static void policy_rules(const struct kb_node *spec, const struct kb_at *at,
                         struct kb_causes *causes)
{
    bool local = kb__is(spec, "externalTrafficPolicy", "Local");
    if (kb__set(spec, "externalTrafficPolicy") && !is_external(spec))
        KB__BAD(causes, INVALID, at, spec, "externalTrafficPolicy",
                "may only be set for externally-accessible services");
    if (kb__num(spec, "healthCheckNodePort", 0) != 0 &&
        !(local && kb__is(spec, "type", "LoadBalancer")))
        KB__BAD(causes, INVALID, at, spec, "healthCheckNodePort",
                "may only be set when `type` is 'LoadBalancer' and `externalTrafficPolicy` is "
                "'Local'");
}

void kb_rules_service(const struct kb_node *obj, const struct kb_node *old,
                      struct kb_causes *causes)
{
    const struct kb_node *spec = kb_node_get(obj, "spec"), *ports = kb_node_get(spec, "ports");
    struct kb_at at = kb_at_field(NULL, "spec"), where = kb_at_field(&at, "ports");
    bool portless = kb__is(spec, "clusterIP", "None") || kb__is(spec, "type", "ExternalName");
    if (kb__count(ports) == 0 && !portless)
        kb_causes_add(causes, KB_CAUSE_REQUIRED, &where, NULL, NULL);
    struct seen_ports seen = {0};
    for (uint32_t i = 0; i < kb__count(ports); i++) {
        struct kb_at here = kb_at_index(&where, i);
        port_rules(spec, ports, i, &seen, &here, causes);
    }
    kb_map_finish(&seen.names);
    kb_map_finish(&seen.node_ports);
    address_rules(spec, old, &at, causes);
    policy_rules(spec, &at, causes);
}
