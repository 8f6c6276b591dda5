/* webpage.c - a first controller: a ConfigMap with the label "webpage" becomes a web server.
 *
 *     kubectl create configmap page --from-literal=index.html='Hello!'
 *     kubectl label configmap page webpage=yes
 *
 * For each such ConfigMap there is a Deployment of the same name that serves its files. The
 * annotation "webpage/replicas" says how many pods. docs/controller.md builds it step by step. */
#include <kubus/plugin.h>

static int64_t replicas_wanted(const struct kb_object *page)
{
    int64_t replicas;
    bool given = kb_str_i64(kb_meta_annotation(page->doc, "webpage/replicas"), &replicas);
    return given && replicas >= 0 && replicas <= 100 ? replicas : 1;
}

static void wish_server(kb_controller *c, const struct kb_object *page)
{
    struct kb_arena *a = kb_arena(c);
    struct kb_node *server = NULL;
    struct kb_err err = {0};
    kb_str name = page->key.name;
    kb_str text = kb_arena_printf(
        a,
        "{\"metadata\": {\"name\": \"%.*s\", \"namespace\": \"%.*s\"},"
        " \"spec\": {\"replicas\": %lld, \"selector\": {\"matchLabels\": {\"webpage\": \"%.*s\"}},"
        "  \"template\": {\"metadata\": {\"labels\": {\"webpage\": \"%.*s\"}}, \"spec\": {"
        "   \"volumes\": [{\"name\": \"files\", \"configMap\": {\"name\": \"%.*s\"}}],"
        "   \"containers\": [{\"name\": \"web\", \"image\": \"busybox\","
        "    \"command\": [\"httpd\", \"-f\", \"-p\", \"8080\", \"-h\", \"/www\"],"
        "    \"volumeMounts\": [{\"name\": \"files\", \"mountPath\": \"/www\"}]}]}}}}",
        KB_STR_ARG(name), KB_STR_ARG(page->key.ns), (long long)replicas_wanted(page),
        KB_STR_ARG(name), KB_STR_ARG(name), KB_STR_ARG(name));
    KB_ASSERT(kb_json_parse(a, text, NULL, &server, &err) == 0);
    struct kb_node *owners = kb_node_array(a);
    kb_node_append(a, owners, kb_owner_ref(a, page->doc, "v1", "ConfigMap", true));
    kb_node_set(a, server, "metadata.ownerReferences", owners);
    kb_wish_events(kb_wish_create(c, "deployments.apps", server), page, "Served",
                   "Created deployment %s", "ServeFailed", "Error creating deployment: %s");
}

static void wish_replicas(kb_controller *c, const struct kb_object *server, int64_t replicas)
{
    struct kb_node *patch = kb_node_map(kb_arena(c));
    kb_node_set_int(kb_arena(c), patch, "spec.replicas", replicas);
    kb_wish_patch(c, server, NULL, patch);
}

static kb_result reconcile(kb_controller *c, kb_key key)
{
    const struct kb_object *page = kb_get(c, "configmaps", key.ns, key.name);
    if (page == NULL || kb_meta_deleting(page->doc))
        return 0; /* the garbage collector takes the Deployment along */
    const struct kb_object *server = kb_get(c, "deployments.apps", key.ns, key.name);
    bool ours = server && kb_meta_controlled_by(server->doc, kb_meta_uid(page->doc));
    bool wanted = kb_meta_label(page->doc, "webpage").n > 0;
    if (wanted && server == NULL)
        wish_server(c, page);
    else if (!wanted && ours && !kb_meta_deleting(server->doc))
        kb_wish_delete(c, server);
    else if (ours && kb_val_int_at(server->doc, "spec.replicas", 1) != replicas_wanted(page))
        wish_replicas(c, server, replicas_wanted(page));
    return 0;
}

KB_CONTROLLER("webpage", .primary = "configmaps", .owns = {"deployments.apps"},
              .writes = {"deployments.apps"}, .reconcile = reconcile);
