#include "bus/model/meta.h"

static kb_val meta(kb_val object, const char *field)
{
    return kb_val_get(kb_val_get(object, "metadata"), field);
}

kb_str kb_meta_name(kb_val object)
{
    return kb_val_str(meta(object, "name"));
}

kb_str kb_meta_ns(kb_val object)
{
    return kb_val_str(meta(object, "namespace"));
}

kb_str kb_meta_uid(kb_val object)
{
    return kb_val_str(meta(object, "uid"));
}

int64_t kb_meta_generation(kb_val object)
{
    return kb_val_int(meta(object, "generation"), 0);
}

bool kb_meta_deleting(kb_val object)
{
    return kb_val_present(meta(object, "deletionTimestamp"));
}

kb_val kb_meta_labels(kb_val object)
{
    return meta(object, "labels");
}

kb_val kb_meta_annotations(kb_val object)
{
    return meta(object, "annotations");
}

kb_str kb_meta_label(kb_val object, const char *key)
{
    return kb_val_str(kb_val_get(kb_meta_labels(object), key));
}

kb_str kb_meta_annotation(kb_val object, const char *key)
{
    return kb_val_str(kb_val_get(kb_meta_annotations(object), key));
}

bool kb_meta_has_finalizer(kb_val object, const char *finalizer)
{
    for (struct kb_iter it = kb_iter(meta(object, "finalizers")); kb_iter_next(&it);)
        if (kb_str_is(kb_val_str(it.val), finalizer))
            return true;
    return false;
}

int64_t kb_time_at(kb_val object, const char *path)
{
    char text[64];
    int64_t us = 0;
    if (!kb_str_copy(kb_val_str_at(object, path), text, sizeof(text)) || text[0] == '\0' ||
        kb_time_parse(text, &us) < 0)
        return 0;
    return us;
}

/* ---- owners ---- */

kb_val kb_meta_controller(kb_val object)
{
    for (struct kb_iter it = kb_iter(meta(object, "ownerReferences")); kb_iter_next(&it);)
        if (kb_val_bool(kb_val_get(it.val, "controller"), false))
            return it.val;
    return (kb_val){NULL, NULL};
}

kb_str kb_meta_controller_uid(kb_val object)
{
    return kb_val_str(kb_val_get(kb_meta_controller(object), "uid"));
}

bool kb_meta_controlled_by(kb_val object, kb_str uid)
{
    return uid.n && kb_str_eq(kb_meta_controller_uid(object), uid);
}

struct kb_node *kb_owner_ref(struct kb_arena *a, kb_val owner, const char *api_version,
                             const char *kind, bool controller)
{
    struct kb_node *ref = kb_node_map(a);
    kb_node_set_cstr(a, ref, "apiVersion", api_version);
    kb_node_set_cstr(a, ref, "kind", kind);
    kb_node_set_str(a, ref, "name", kb_meta_name(owner));
    kb_node_set_str(a, ref, "uid", kb_meta_uid(owner));
    if (controller) {
        kb_node_set_bool(a, ref, "controller", true);
        kb_node_set_bool(a, ref, "blockOwnerDeletion", true);
    }
    return ref;
}

/* ---- conditions ---- */

kb_val kb_cond_get(kb_val object, const char *type)
{
    for (struct kb_iter it = kb_iter(kb_val_at(object, "status.conditions")); kb_iter_next(&it);)
        if (kb_str_is(kb_val_str(kb_val_get(it.val, "type")), type))
            return it.val;
    return (kb_val){NULL, NULL};
}

bool kb_cond_is(kb_val object, const char *type, const char *status)
{
    return kb_str_is(kb_val_str(kb_val_get(kb_cond_get(object, type), "status")), status);
}

struct kb_node *kb_cond_node(const struct kb_node *status, const char *type)
{
    const struct kb_node *list = kb_node_get(status, "conditions");
    for (uint32_t i = 0; list && list->type == KB_ARRAY && i < list->count; i++)
        if (kb_str_is(kb_node_text(kb_node_get(list->items[i].val, "type")), type))
            return list->items[i].val;
    return NULL;
}

static bool put_text(struct kb_arena *a, struct kb_node *map, const char *key, const char *text)
{
    const struct kb_node *old = kb_node_get(map, key);
    if (text == NULL || *text == '\0')
        return kb_node_del(map, key);
    if (old && old->type == KB_STR && kb_str_is(old->s, text))
        return false;
    kb_node_set_cstr(a, map, key, text);
    return true;
}

static struct kb_node *cond_ensure(struct kb_arena *a, struct kb_node *status, const char *type)
{
    struct kb_node *cond = kb_cond_node(status, type);
    if (cond)
        return cond;
    struct kb_node *list = kb_node_get(status, "conditions");
    if (list == NULL || list->type != KB_ARRAY) {
        list = kb_node_array(a);
        kb_node_put(a, status, "conditions", list);
    }
    cond = kb_node_map(a);
    kb_node_set_cstr(a, cond, "type", type);
    kb_node_append(a, list, cond);
    return cond;
}

bool kb_cond_set(struct kb_arena *a, struct kb_node *status, const struct kb_cond *cond,
                 int64_t now_us)
{
    struct kb_node *node = cond_ensure(a, status, cond->type);
    bool moved = put_text(a, node, "status", cond->status);
    bool changed = moved;
    changed |= put_text(a, node, "reason", cond->reason);
    changed |= put_text(a, node, "message", cond->message);
    if (moved)
        kb_node_put(a, node, "lastTransitionTime", kb_node_time(a, now_us));
    if (changed && cond->stamp_update)
        kb_node_put(a, node, "lastUpdateTime", kb_node_time(a, now_us));
    return changed;
}

bool kb_cond_remove(struct kb_node *status, const char *type)
{
    struct kb_node *list = kb_node_get(status, "conditions");
    const struct kb_node *cond = kb_cond_node(status, type);
    for (uint32_t i = 0; cond && i < list->count; i++)
        if (list->items[i].val == cond) {
            kb_node_remove(list, i);
            return true;
        }
    return false;
}

struct kb_node *kb_node_time(struct kb_arena *a, int64_t wall_us)
{
    char text[KB_TIME_BYTES];
    kb_time_format(wall_us, text);
    return kb_node_cstr(a, text);
}
