/* garbagecollector.c - deletes what lost its owners, and carries out the two other ways to delete
 * an owner: foreground (dependents first) and orphan (dependents stay, without the reference).
 *
 * Kubernetes builds a graph of all objects and asks the API before it believes that an owner is
 * absent. Here the cache's index by owner uid is the graph, and the store's one revision makes
 * absence exact: an owner existed before its dependent, so when the cache of the owner's resource
 * is complete up to the dependent's revision and the owner is not there, it is gone.
 *
 * Owners of a kind that nobody knows are left alone, and with them their dependents. */
#include <kubus/plugin.h>

#define FOREGROUND "foregroundDeletion"
#define ORPHAN     "orphan"

enum { CATCH_UP_MS = 250 };

/* How the owners of an object stand. */
struct owners {
    size_t solid;   /* there, and staying: or of a kind that is not known */
    size_t absent;  /* gone for certain */
    size_t waiting; /* being deleted in the foreground: waits for this object */
    bool unsure;    /* the cache has not caught up: look again */
};

enum standing { SOLID, ABSENT, WAITING, UNSURE };

static enum standing owner_standing(kb_controller *c, const struct kb_object *object, kb_val ref)
{
    const char *resource =
        kb_resource_of(c, kb_val_str_at(ref, "apiVersion"), kb_val_str_at(ref, "kind"));
    if (resource == NULL)
        return SOLID;
    const struct kb_object *owner = kb_get_uid(c, resource, kb_val_str_at(ref, "uid"));
    if (owner == NULL)
        return kb_cache_rev(c, resource) >= object->rev ? ABSENT : UNSURE;
    bool foreground = kb_meta_deleting(owner->doc) && kb_meta_has_finalizer(owner->doc, FOREGROUND);
    return foreground ? WAITING : SOLID;
}

static struct owners owners_of(kb_controller *c, const struct kb_object *object)
{
    struct owners owners = {0};
    kb_val refs = kb_val_at(object->doc, "metadata.ownerReferences");
    for (struct kb_iter it = kb_iter(refs); kb_iter_next(&it);) {
        enum standing standing = owner_standing(c, object, it.val);
        owners.solid += standing == SOLID;
        owners.absent += standing == ABSENT;
        owners.waiting += standing == WAITING;
        owners.unsure |= standing == UNSURE;
    }
    return owners;
}

/* ---- dependents ---- */

typedef void each_fn(kb_controller *c, const struct kb_object *dependent, void *arg);

static size_t each_dependent(kb_controller *c, kb_str owner_uid, each_fn *fn, void *arg)
{
    size_t count = 0;
    for (const char *const *resource = kb_resources(c); *resource; resource++) {
        struct kb_objects found = kb_list_indexed(c, *resource, owner_uid);
        for (size_t i = 0; i < found.count; i++)
            fn(c, found.items[i], arg);
        count += found.count;
    }
    return count;
}

static void enqueue_dependent(kb_controller *c, const struct kb_object *dependent, void *arg)
{
    (void)arg;
    kb_enqueue_key(c, dependent->key);
}

/* Whether a dependent holds up the foreground deletion of its owner. */
static bool blocks(const struct kb_object *dependent, kb_str owner_uid)
{
    kb_val refs = kb_val_at(dependent->doc, "metadata.ownerReferences");
    for (struct kb_iter it = kb_iter(refs); kb_iter_next(&it);)
        if (kb_str_eq(kb_val_str_at(it.val, "uid"), owner_uid))
            return kb_val_bool_at(it.val, "blockOwnerDeletion", false);
    return false;
}

struct foreground {
    kb_str uid;
    size_t blocking;
};

static void foreground_dependent(kb_controller *c, const struct kb_object *dependent, void *arg)
{
    struct foreground *foreground = arg;
    foreground->blocking += blocks(dependent, foreground->uid);
    kb_enqueue_key(c, dependent->key);
}

/* The list at metadata.NAME without some entries, as a patch that holds only if nobody else changed
 * the object meanwhile. */
static void wish_list(kb_controller *c, const struct kb_object *object, const char *name,
                      struct kb_node *list)
{
    struct kb_arena *a = kb_arena(c);
    struct kb_node *patch = kb_node_map(a);
    kb_node_put(a, kb_node_ensure(a, patch, "metadata"), name, list);
    kb_wish_if_unchanged(kb_wish_patch(c, object, NULL, patch));
}

static void wish_without_finalizer(kb_controller *c, const struct kb_object *object,
                                   const char *finalizer)
{
    struct kb_arena *a = kb_arena(c);
    struct kb_node *kept = kb_node_array(a);
    kb_val finalizers = kb_val_at(object->doc, "metadata.finalizers");
    for (struct kb_iter it = kb_iter(finalizers); kb_iter_next(&it);)
        if (!kb_str_is(kb_val_str(it.val), finalizer))
            kb_node_append(a, kept, kb_node_of(a, it.val));
    wish_list(c, object, "finalizers", kept);
}

static void wish_without_owner(kb_controller *c, const struct kb_object *dependent, void *arg)
{
    const kb_str *uid = arg;
    struct kb_arena *a = kb_arena(c);
    struct kb_node *kept = kb_node_array(a);
    kb_val refs = kb_val_at(dependent->doc, "metadata.ownerReferences");
    for (struct kb_iter it = kb_iter(refs); kb_iter_next(&it);)
        if (!kb_str_eq(kb_val_str_at(it.val, "uid"), *uid))
            kb_node_append(a, kept, kb_node_of(a, it.val));
    wish_list(c, dependent, "ownerReferences", kept);
}

/* ---- what is to be done about one object ---- */

static void collect_foreground(kb_controller *c, const struct kb_object *object)
{
    struct foreground foreground = {.uid = kb_meta_uid(object->doc)};
    each_dependent(c, foreground.uid, foreground_dependent, &foreground);
    if (foreground.blocking == 0)
        wish_without_finalizer(c, object, FOREGROUND);
}

static void collect_orphan(kb_controller *c, const struct kb_object *object)
{
    kb_str uid = kb_meta_uid(object->doc);
    if (each_dependent(c, uid, wish_without_owner, &uid) == 0)
        wish_without_finalizer(c, object, ORPHAN);
}

static bool ref_stays(kb_controller *c, const struct kb_object *object, kb_val ref)
{
    enum standing standing = owner_standing(c, object, ref);
    return standing == SOLID || standing == UNSURE;
}

static void wish_without_lost_owners(kb_controller *c, const struct kb_object *object)
{
    struct kb_arena *a = kb_arena(c);
    struct kb_node *kept = kb_node_array(a);
    kb_val refs = kb_val_at(object->doc, "metadata.ownerReferences");
    for (struct kb_iter it = kb_iter(refs); kb_iter_next(&it);)
        if (ref_stays(c, object, it.val))
            kb_node_append(a, kept, kb_node_of(a, it.val));
    wish_list(c, object, "ownerReferences", kept);
}

static void wish_collected(kb_controller *c, const struct kb_object *object, bool foreground)
{
    struct kb_wish *wish = kb_wish_delete(c, object);
    kb_wish_if_unchanged(wish);
    if (kb_meta_has_finalizer(object->doc, ORPHAN))
        kb_wish_propagation(wish, "Orphan");
    else if (foreground || kb_meta_has_finalizer(object->doc, FOREGROUND))
        kb_wish_propagation(wish, "Foreground");
    else
        kb_wish_propagation(wish, "Background");
}

static void count_only(kb_controller *c, const struct kb_object *dependent, void *arg)
{
    (void)c, (void)dependent, (void)arg;
}

static void collect_dependent(kb_controller *c, const struct kb_object *object)
{
    struct owners owners = owners_of(c, object);
    if (owners.absent + owners.waiting == 0 || owners.unsure) {
        if (owners.unsure)
            kb_requeue(c, CATCH_UP_MS);
        return;
    }
    if (owners.solid) {
        wish_without_lost_owners(c, object);
        return;
    }
    bool parent = each_dependent(c, kb_meta_uid(object->doc), count_only, NULL) > 0;
    wish_collected(c, object, owners.waiting > 0 && parent);
}

static kb_result reconcile(kb_controller *c, kb_key key)
{
    char resource[KB_KEY_MAX_BYTES + 1];
    kb_str_copy(key.resource, resource, sizeof(resource));
    const struct kb_object *object = kb_get(c, resource, key.ns, key.name);
    if (object == NULL)
        return 0;
    if (!kb_meta_deleting(object->doc))
        collect_dependent(c, object);
    else if (kb_meta_has_finalizer(object->doc, FOREGROUND))
        collect_foreground(c, object);
    else if (kb_meta_has_finalizer(object->doc, ORPHAN))
        collect_orphan(c, object);
    return 0;
}

static void enqueue_waiting_owners(kb_controller *c, const struct kb_object *object)
{
    kb_val refs = object ? kb_val_at(object->doc, "metadata.ownerReferences") : (kb_val){0};
    for (struct kb_iter it = kb_iter(refs); kb_iter_next(&it);) {
        const char *resource =
            kb_resource_of(c, kb_val_str_at(it.val, "apiVersion"), kb_val_str_at(it.val, "kind"));
        const struct kb_object *owner =
            resource ? kb_get_uid(c, resource, kb_val_str_at(it.val, "uid")) : NULL;
        if (owner && kb_meta_deleting(owner->doc))
            kb_enqueue_key(c, owner->key);
    }
}

/* An object that is gone concerns its dependents; one that went, or let go of an owner, concerns
 * owners that wait for it. */
static void changed(kb_controller *c, const struct kb_object *now, const struct kb_object *old)
{
    if (now == NULL)
        each_dependent(c, kb_meta_uid(old->doc), enqueue_dependent, NULL);
    enqueue_waiting_owners(c, now);
    enqueue_waiting_owners(c, old);
}

KB_CONTROLLER("garbagecollector", .primary = "*",
              .watches = {{.resource = "*", .index = "@owners", .map = changed}}, .writes = {"*"},
              .reconcile = reconcile);
