/* serviceaccount.c - every namespace has a ServiceAccount named "default". */
#include <kubus/plugin.h>

static kb_result reconcile(kb_controller *c, kb_key key)
{
    const kb_str name = kb_str_of("default");
    const struct kb_object *ns = kb_get(c, "namespaces", kb_str_of(""), key.name);
    if (ns == NULL || kb_meta_deleting(ns->doc) ||
        kb_get(c, "serviceaccounts", key.name, name) != NULL)
        return 0;
    struct kb_arena *a = kb_arena(c);
    struct kb_node *account = kb_node_map(a);
    kb_node_set_str(a, account, "metadata.name", name);
    kb_node_set_str(a, account, "metadata.namespace", key.name);
    kb_wish_create(c, "serviceaccounts", account);
    return 0;
}

static void account_changed(kb_controller *c, const struct kb_object *now,
                            const struct kb_object *old)
{
    if (now == NULL)
        kb_enqueue(c, kb_str_of(""), old->key.ns);
}

KB_CONTROLLER("serviceaccount", .primary = "namespaces",
              .watches = {{.resource = "serviceaccounts",
                           .query = "name=default",
                           .keep = "metadata",
                           .map = account_changed}},
              .writes = {"serviceaccounts"}, .reconcile = reconcile);
