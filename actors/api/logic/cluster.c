/* Namespaces, nodes, service accounts, leases, events. */
#include "actors/api/logic/logic.h"
#include "actors/api/logic/rules.h"

/* ---- namespaces ---- */

static int namespace_prepare(struct kb_object_op *op)
{
    struct kb_arena *a = &op->arena;
    struct kb_node *meta = kb__op_meta(op->obj, a);
    bool dying = kb_node_get(meta, "deletionTimestamp") != NULL;
    struct kb_node *labels = kb_node_ensure(a, meta, "labels");
    kb_str name = kb_node_text(kb_node_get(meta, "name"));
    kb_node_put(a, labels, "kubernetes.io/metadata.name", kb_node_str(a, name));
    kb_node_set_cstr(a, op->obj, "status.phase", dying ? "Terminating" : "Active");
    return 0;
}

/* The ServiceAccount `default` comes with its namespace, in one transaction, so that pods can be
 * made at once. */
static int namespace_allocate(struct kb_object_op *op)
{
    char uid[KB_UUID_BYTES];
    struct kb_arena *a = &op->arena;
    if (op->old)
        return 0;
    kb_str name = kb_node_text_at(op->obj, "metadata.name");
    struct kb_node *account = kb_node_map(a);
    kb_rand_uuid(&op->core->rand, uid);
    kb_node_set_cstr(a, account, "apiVersion", "v1");
    kb_node_set_cstr(a, account, "kind", "ServiceAccount");
    kb_node_set_cstr(a, account, "metadata.name", "default");
    kb_node_set_str(a, account, "metadata.namespace", name);
    kb_node_set_cstr(a, account, "metadata.uid", uid);
    kb_node_set_cstr(a, account, "metadata.creationTimestamp", op->now);
    kb__op_extra(op, false,
                 kb_arena_printf(a, "serviceaccounts/" KB_STR_FMT "/default", KB_STR_ARG(name)),
                 account);
    return 0;
}

/* One that is there already is as good. */
static int namespace_taken(struct kb_object_op *op, kb_str key)
{
    for (struct kb_extra *extra = op->extras; extra; extra = extra->next)
        if (kb_str_eq(extra->key, key))
            extra->dropped = true;
    return 0;
}

static int namespace_check_delete(struct kb_object_op *op)
{
    static const char *const kept[] = {"default", "kube-system", "kube-public"};
    for (size_t i = 0; i < KB_COUNT(kept); i++)
        if (kb_str_is(op->req.name, kept[i])) {
            kb_status_forbidden(&op->status, &op->arena, op->kind, op->req.name,
                                "this namespace may not be deleted");
            return -KB_EFORBIDDEN;
        }
    return 0;
}

const struct kb_logic kb__logic_namespace = {
    .resource = "namespaces",
    .returns_deleted = true,
    .prepare = namespace_prepare,
    .allocate = namespace_allocate,
    .taken = namespace_taken,
    .check_delete = namespace_check_delete,
};

/* ---- nodes ---- */

static int node_prepare(struct kb_object_op *op)
{
    kb_rules_node_default(&op->arena, op->obj);
    return 0;
}

static void node_validate(struct kb_object_op *op)
{
    kb_rules_node(op->obj, &op->causes);
}

const struct kb_logic kb__logic_node = {
    .resource = "nodes",
    .status_on_create = true,
    .prepare = node_prepare,
    .validate = node_validate,
};

const struct kb_logic kb__logic_lease = {
    .resource = "leases.coordination.k8s.io",
};

/* ---- events ---- */

static void event_validate(struct kb_object_op *op)
{
    kb_rules_event(op->obj, &op->causes);
}

const struct kb_logic kb__logic_event = {
    .resource = "events",
    .validate = event_validate,
};
