/* namespace.c - ends namespaces: deletes what is in one that is being deleted, and takes the
 * finalizer "kubernetes" off its spec once nothing is left.
 *
 * The content of a namespace is followed only while it ends (kb_need), so that this controller
 * costs nothing for the namespaces that live. Conditions carry the types and reasons of Kubernetes.
 */
#include <kubus/plugin.h>

#define FINALIZER "kubernetes"

/* What is still there. */
struct rest {
    size_t objects;                  /* in all */
    size_t finalizing;               /* of these, how many wait for a finalizer of theirs */
    struct kb_buf kinds, finalizers; /* lists for messages */
};

static void rest_finish(struct rest *rest)
{
    kb_buf_finish(&rest->kinds);
    kb_buf_finish(&rest->finalizers);
}

static bool has_finalizer(kb_val ns)
{
    for (struct kb_iter it = kb_iter(kb_val_at(ns, "spec.finalizers")); kb_iter_next(&it);)
        if (kb_str_is(kb_val_str(it.val), FINALIZER))
            return true;
    return false;
}

/* Follow every namespaced resource in this namespace; false while a first listing is missing. */
static bool follow_content(kb_controller *c, kb_str ns)
{
    bool complete =
        kb_need(c, kb_arena_printf(kb_arena(c), "events?ns=" KB_STR_FMT, KB_STR_ARG(ns)).p);
    for (const char *const *resource = kb_resources(c); *resource; resource++) {
        struct kb_resource_info info;
        if (!kb_resource_info(c, *resource, &info) || !info.namespaced)
            continue;
        kb_str view = kb_arena_printf(kb_arena(c), "%s?ns=" KB_STR_FMT, *resource, KB_STR_ARG(ns));
        complete &= kb_need(c, view.p);
    }
    return complete;
}

static void count_finalizers(const struct kb_object *object, struct rest *rest)
{
    kb_val finalizers = kb_val_at(object->doc, "metadata.finalizers");
    rest->finalizing += kb_val_count(finalizers) > 0;
    for (struct kb_iter it = kb_iter(finalizers); kb_iter_next(&it);) {
        kb_str name = kb_val_str(it.val);
        if (rest->finalizers.p && memmem(rest->finalizers.p, rest->finalizers.n, name.p, name.n))
            continue;
        kb_buf_printf(&rest->finalizers, "%s" KB_STR_FMT, rest->finalizers.n ? ", " : "",
                      KB_STR_ARG(name));
    }
}

/* Delete what is not being deleted yet; count all. */
static void empty_resource(kb_controller *c, const char *resource, kb_str ns, struct rest *rest)
{
    struct kb_objects objects = kb_list_ns(c, resource, ns);
    for (size_t i = 0; i < objects.count; i++) {
        count_finalizers(objects.items[i], rest);
        if (!kb_meta_deleting(objects.items[i]->doc))
            kb_wish_delete(c, objects.items[i]);
    }
    rest->objects += objects.count;
    if (objects.count)
        kb_buf_printf(&rest->kinds, "%s%s has %zu resource instances", rest->kinds.n ? ", " : "",
                      resource, objects.count);
}

static void empty(kb_controller *c, kb_str ns, struct rest *rest)
{
    for (const char *const *resource = kb_resources(c); *resource; resource++) {
        struct kb_resource_info info;
        if (kb_resource_info(c, *resource, &info) && info.namespaced)
            empty_resource(c, *resource, ns, rest);
    }
    /* Events come from the ending of the others: they are last, and hold up nothing. */
    if (rest->objects == 0)
        empty_resource(c, "events", ns, rest);
}

static void wish_finalized(kb_controller *c, const struct kb_object *ns)
{
    struct kb_arena *a = kb_arena(c);
    struct kb_node *object = kb_node_of(a, ns->doc);
    struct kb_node *finalizers = kb_node_at(object, "spec.finalizers");
    for (uint32_t i = finalizers->count; i-- > 0;)
        if (kb_str_is(kb_node_text(finalizers->items[i].val), FINALIZER))
            kb_node_remove(finalizers, i);
    kb_wish_update(c, ns, "finalize", object);
}

static void wish_conditions(kb_controller *c, const struct kb_object *ns, const struct rest *rest)
{
    struct kb_arena *a = kb_arena(c);
    struct kb_node *object = kb_node_of(a, ns->doc);
    struct kb_node *status = kb_node_ensure(a, object, "status");
    kb_str remaining = kb_arena_printf(a, "Some resources are remaining: %s", rest->kinds.p);
    kb_str waiting =
        kb_arena_printf(a, "Some content in the namespace has finalizers remaining: %s",
                        rest->finalizers.p ? rest->finalizers.p : "");
    const struct kb_cond conditions[] = {
        {"NamespaceDeletionDiscoveryFailure", "False", "ResourcesDiscovered",
         "All resources successfully discovered", false},
        {"NamespaceDeletionGroupVersionParsingFailure", "False", "ParsedGroupVersions",
         "All legacy kube types successfully parsed", false},
        {"NamespaceDeletionContentFailure", "False", "ContentDeleted",
         "All content successfully deleted, may be waiting on finalization", false},
        {"NamespaceContentRemaining", rest->objects ? "True" : "False",
         rest->objects ? "SomeResourcesRemain" : "ContentRemoved",
         rest->objects ? remaining.p : "All content successfully removed", false},
        {"NamespaceFinalizersRemaining", rest->finalizing ? "True" : "False",
         rest->finalizing ? "SomeFinalizersRemain" : "ContentHasNoFinalizers",
         rest->finalizing ? waiting.p : "All content-preserving finalizers finished", false},
    };
    bool changed = false;
    for (size_t i = 0; i < KB_COUNT(conditions); i++)
        changed |= kb_cond_set(a, status, &conditions[i], kb_now_us(c));
    if (changed)
        kb_wish_update(c, ns, "status", object);
}

static kb_result reconcile(kb_controller *c, kb_key key)
{
    const struct kb_object *ns = kb_get(c, "namespaces", kb_str_of(""), key.name);
    KB_AUTO(rest_finish) struct rest rest = {0};
    if (ns == NULL || !kb_meta_deleting(ns->doc) || !has_finalizer(ns->doc))
        return 0;
    if (!follow_content(c, key.name))
        return 0; /* run again when the listings are there */
    empty(c, key.name, &rest);
    if (rest.objects == 0)
        wish_finalized(c, ns);
    else
        wish_conditions(c, ns, &rest);
    return 0;
}

KB_CONTROLLER("namespace", .primary = "namespaces",
              .writes = {"*", "namespaces/finalize", "namespaces/status"}, .reconcile = reconcile);
