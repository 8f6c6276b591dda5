/* objects_boot.c - what every cluster has: its first namespaces, and the Service of the API itself,
 * as requests like any other. */
#include "actors/api/objects_impl.h"

static struct kb_node *object_node(struct kb_arena *a, const char *api_version, const char *kind,
                                   const char *name)
{
    struct kb_node *node = kb_node_map(a);
    kb_node_set_cstr(a, node, "apiVersion", api_version);
    kb_node_set_cstr(a, node, "kind", kind);
    kb_node_set_cstr(a, node, "metadata.name", name);
    return node;
}

static struct kb_node *kubernetes_service(const struct kb_objects_core *core, struct kb_arena *a)
{
    struct kb_node *node = object_node(a, "v1", "Service", "kubernetes");
    uint32_t ip = core->service_net + 1;
    int64_t port = 6443;
    kb_str rest = core->api_address;
    const char *colon = rest.n ? memrchr(rest.p, ':', rest.n) : NULL;
    if (colon)
        kb_str_i64(kb_str_n(colon + 1, rest.n - (size_t)(colon + 1 - rest.p)), &port);
    kb_node_set_cstr(a, node, "metadata.labels.component", "apiserver");
    kb_node_set_cstr(a, node, "metadata.labels.provider", "kubernetes");
    kb_node_set_str(
        a, node, "spec.clusterIP",
        kb_arena_printf(a, "%u.%u.%u.%u", ip >> 24, ip >> 16 & 255, ip >> 8 & 255, ip & 255));
    struct kb_node *ports = kb_node_array(a), *https = kb_node_map(a);
    kb_node_set_cstr(a, https, "name", "https");
    kb_node_set_cstr(a, https, "protocol", "TCP");
    kb_node_set_int(a, https, "port", 443);
    kb_node_set_int(a, https, "targetPort", port);
    kb_node_append(a, ports, https);
    kb_node_set(a, node, "spec.ports", ports);
    return node;
}

static struct kb_object_request request_of(struct kb_arena *a, const struct kb_node *body)
{
    KB_AUTO(kb_w_finish) struct kb_w w = {0};
    kb_w_node(&w, body);
    kb_str bytes = kb_arena_str(a, kb_buf_str(&w.buf));
    return (struct kb_object_request){
        .verb = KB_VERB_CREATE,
        .body_type = KB_BODY_DOC,
        .doc = {(const uint8_t *)bytes.p, (const uint8_t *)bytes.p + bytes.n},
        .manager = kb_str_of("kubus"),
    };
}

bool kb_objects_core_bootstrap(const struct kb_objects_core *core, size_t at, struct kb_arena *a,
                               struct kb_object_request *ret)
{
    static const char *const namespaces[] = {"default", "kube-system", "kube-public",
                                             "kube-node-lease"};
    enum { NAMESPACES = KB_COUNT(namespaces), SERVICE = NAMESPACES, PORTS, PRIORITIES };
    if (at < NAMESPACES) {
        *ret = request_of(a, object_node(a, "v1", "Namespace", namespaces[at]));
        ret->kind = kb_kinds_by_resource(core->kinds, kb_str_of("namespaces"));
        return true;
    }
    if (at >= PRIORITIES) {
        struct kb_node *priority = kb__system_priority(a, at - PRIORITIES);
        if (priority == NULL)
            return false;
        *ret = request_of(a, priority);
        ret->kind =
            kb_kinds_by_resource(core->kinds, kb_str_of("priorityclasses.scheduling.k8s.io"));
        return ret->kind != NULL;
    }
    struct kb_node *service = kubernetes_service(core, a);
    if (at == PORTS) { /* one that is there already may name the port of an earlier start */
        struct kb_node *patch = kb_node_map(a);
        kb_node_set(a, patch, "spec.ports", kb_node_at(service, "spec.ports"));
        service = patch;
    }
    *ret = request_of(a, service);
    ret->kind = kb_kinds_by_resource(core->kinds, kb_str_of("services"));
    ret->ns = kb_str_of("default");
    if (at == PORTS) {
        ret->verb = KB_VERB_PATCH;
        ret->patch = KB_PATCH_MERGE_JSON;
        ret->name = kb_str_of("kubernetes");
    }
    return true;
}
