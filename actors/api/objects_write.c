/* objects_write.c - create, update, patch, and the subresources that write: what a request makes of
 * the current object. */
#include "actors/api/objects_impl.h"

#include "bus/model/patch.h"
#include "bus/model/selector.h"

/* ---- create ---- */

static int namespace_terminating(struct kb_object_op *op)
{
    struct kb_cause *cause = kb_arena_alloc(&op->arena, sizeof(*cause));
    kb_str name = kb__op_name(op);
    if (name.n == 0)
        name = kb_node_text_at(op->body, "metadata.generateName");
    kb_status_forbidden(&op->status, &op->arena, op->kind, name,
                        "unable to create new content in namespace " KB_STR_FMT
                        " because it is being terminated",
                        KB_STR_ARG(op->req.ns));
    *cause = (struct kb_cause){KB_CAUSE_NAMESPACE_TERMINATING, kb_str_of("metadata.namespace"),
                               kb_arena_printf(&op->arena,
                                               "namespace " KB_STR_FMT " is being terminated",
                                               KB_STR_ARG(op->req.ns))};
    op->status.causes = cause;
    op->status.ncauses = 1;
    return kb__op_fail(op);
}

void kb__op_start_create(struct kb_object_op *op)
{
    if (op->kind->namespaced) {
        const char *phase = kb_map_get(&op->core->namespaces, op->req.ns);
        if (op->req.ns.n == 0) {
            kb_status_bad_request(&op->status, &op->arena,
                                  "an empty namespace may not be set during creation");
            kb__op_fail(op);
            return;
        }
        if (phase == NULL) {
            kb__op_read_next(op, KB_STAGE_NAMESPACE, kb_str_of("namespaces"), (kb_str){0},
                             op->req.ns);
            return;
        }
        if (phase[0] == 'T') {
            namespace_terminating(op);
            return;
        }
    }
    if (kb__admit_account(op))
        kb__op_create(op);
}

static bool has_subresource(const struct kb_kind *kind, const char *name)
{
    return kb_kind_subresource(kind, kb_str_of(name)) != NULL;
}

void kb__op_create(struct kb_object_op *op)
{
    bool checked_absent = op->stage == KB_STAGE_CURRENT;
    op->obj = op->body;
    if (!checked_absent) {
        if (kb__op_decode(op, op->kind->schema, op->kind->api_version, op->kind->kind, op->obj) <
                0 ||
            kb__meta_on_create(op) < 0)
            return;
        if (has_subresource(op->kind, "status") && !(op->logic && op->logic->status_on_create))
            kb_node_del(op->obj, "status");
        if (kb__op_finish_object(op) < 0)
            return;
        if (op->req.dry_run) {
            kb__op_read_next(op, KB_STAGE_CURRENT, op->kind->resource,
                             op->kind->namespaced ? op->req.ns : (kb_str){0},
                             kb_node_text_at(op->obj, "metadata.name"));
            return;
        }
    }
    op->success_code = 201;
    kb__op_commit(op);
}

/* ---- patch ---- */

static int apply_patch(struct kb_object_op *op, const struct kb_schema *schema,
                       struct kb_node **target)
{
    struct kb_err err = {0};
    struct kb_node *patch = kb_node_copy(&op->arena, op->body);
    char rev[24];
    int rc = 0;
    kb_str_copy(kb_arena_printf(&op->arena, "%lld", (long long)op->old_rev), rev, sizeof(rev));
    kb_node_set_cstr(&op->arena, *target, "metadata.resourceVersion", rev);
    if (op->req.patch == KB_PATCH_JSON)
        rc = kb_patch_json(&op->arena, target, patch, &err);
    else if (op->req.patch == KB_PATCH_STRATEGIC)
        rc = kb_patch_strategic(schema, &op->arena, target, patch, &err);
    else
        kb_patch_merge(&op->arena, target, patch);
    if (rc == 0 && (*target)->type != KB_MAP)
        rc = kb_err_set(&err, KB_EUNPROCESSABLE, "the patch does not leave an object");
    if (rc < 0) {
        kb_status_of_err(&op->status, &op->arena, &err);
        return kb__op_fail(op);
    }
    return 0;
}

/* ---- subresources ---- */

static kb_str sub(const struct kb_object_op *op)
{
    return op->req.subresource;
}

static void keep(struct kb_object_op *op, struct kb_node *to, const char *field)
{
    struct kb_node *val = kb_node_get(op->old, field);
    if (val)
        kb_node_put(&op->arena, to, field, val);
    else
        kb_node_del(to, field);
}

static void take(struct kb_object_op *op, struct kb_node *result, const struct kb_node *wanted,
                 const char *path)
{
    struct kb_node *val = kb_node_at(wanted, path);
    if (val)
        kb_node_set(&op->arena, result, path, val);
    else
        kb_node_unset(result, path);
}

/* A map of its own with the members of another. */
static struct kb_node *shallow(struct kb_arena *a, const struct kb_node *map)
{
    struct kb_node *copy = kb_node_map(a);
    for (uint32_t i = 0; map && map->type == KB_MAP && i < map->count; i++) {
        kb_node_insert(a, copy, i, map->items[i].val);
        copy->items[i].key = map->items[i].key;
    }
    return copy;
}

/* A write of status takes the status, and of metadata what Kubernetes admits. All else is shared
 * with the old tree: nothing below changes it. */
static struct kb_node *only_status(struct kb_object_op *op, struct kb_node *wanted)
{
    struct kb_node *result = shallow(&op->arena, op->old);
    kb_node_put(&op->arena, result, "metadata",
                shallow(&op->arena, kb_node_get(op->old, "metadata")));
    bool labels = kb_str_is(op->kind->resource, "pods") || kb_str_is(op->kind->resource, "nodes");
    take(op, result, wanted, "status");
    if (kb_node_get(result, "status") == NULL)
        kb_node_put(&op->arena, result, "status", kb_node_map(&op->arena));
    take(op, result, wanted, "metadata.annotations");
    if (labels)
        take(op, result, wanted, "metadata.labels");
    take(op, result, wanted, "metadata.resourceVersion");
    take(op, result, wanted, "metadata.uid");
    take(op, result, wanted, "metadata.name");
    return result;
}

static struct kb_node *only_finalizers(struct kb_object_op *op, struct kb_node *wanted)
{
    struct kb_node *result = kb__op_old_tree(op);
    take(op, result, wanted,
         op->kind->finalizers_path.n ? op->kind->finalizers_path.p : "metadata.finalizers");
    return result;
}

static void take_resources(struct kb_object_op *op, struct kb_node *result,
                           const struct kb_node *wanted)
{
    struct kb_node *to = kb_node_at(result, "spec.containers");
    const struct kb_node *from = kb_node_at(wanted, "spec.containers");
    for (uint32_t i = 0; to && from && i < to->count && i < from->count; i++) {
        struct kb_node *resources = kb_node_get(from->items[i].val, "resources");
        if (resources)
            kb_node_put(&op->arena, to->items[i].val, "resources", resources);
    }
}

/* What the endpoint lets through of what was sent. */
static struct kb_node *restrict_to_endpoint(struct kb_object_op *op, struct kb_node *wanted)
{
    if (kb_str_is(sub(op), "status"))
        return only_status(op, wanted);
    if (kb_str_is(sub(op), "finalize"))
        return only_finalizers(op, wanted);
    if (kb_str_is(sub(op), "ephemeralcontainers") || kb_str_is(sub(op), "resize")) {
        struct kb_node *result = kb__op_old_tree(op);
        if (kb_str_is(sub(op), "resize"))
            take_resources(op, result, wanted);
        else
            take(op, result, wanted, "spec.ephemeralContainers");
        return result;
    }
    if (op->kind->status_split)
        keep(op, wanted, "status");
    if (op->kind->finalizers_path.n)
        take(op, wanted, op->old, op->kind->finalizers_path.p);
    return wanted;
}

/* ---- scale ---- */

static kb_str selector_text(struct kb_object_op *op, const struct kb_node *object)
{
    const struct kb_kind *kind = op->kind;
    const struct kb_node *node =
        kind->scale_selector.n ? kb_node_at(object, kind->scale_selector.p) : NULL;
    KB_AUTO(kb_selector_destroy) struct kb_selector *selector = NULL;
    KB_AUTO(kb_buf_finish) struct kb_buf text = {0};
    KB_AUTO(kb_w_finish) struct kb_w w = {0};
    if (node == NULL || node->type == KB_STR)
        return kb_node_text(node);
    kb_w_node(&w, node);
    bool full = kb_str_is(kb_schema_name(kb_schema_at(kind->schema, kind->scale_selector.p)),
                          "LabelSelector");
    if (!full)
        selector = kb_selector_of_map(kb_w_val(&w));
    else if (kb_selector_of(kb_w_val(&w), &selector, NULL) < 0)
        return (kb_str){0};
    kb_selector_format(selector, &text);
    return kb_arena_str(&op->arena, kb_buf_str(&text));
}

static struct kb_node *scale_of(struct kb_object_op *op, const struct kb_node *object)
{
    struct kb_arena *a = &op->arena;
    static const char *const meta[] = {"name", "namespace", "uid", "creationTimestamp"};
    struct kb_node *scale = kb_node_map(a);
    kb_str selector = selector_text(op, object);
    kb_node_set_cstr(a, scale, "apiVersion", "autoscaling/v1");
    kb_node_set_cstr(a, scale, "kind", "Scale");
    for (size_t i = 0; i < KB_COUNT(meta); i++) {
        struct kb_node *val = kb_node_get(kb_node_get(object, "metadata"), meta[i]);
        if (val)
            kb_node_put(a, kb_node_ensure(a, scale, "metadata"), meta[i], val);
    }
    kb_node_set_int(a, scale, "spec.replicas",
                    kb_node_num(kb_node_at(object, op->kind->scale_spec.p), 0));
    kb_node_set_int(a, scale, "status.replicas",
                    kb_node_num(kb_node_at(object, op->kind->scale_status.p), 0));
    if (selector.n)
        kb_node_set_str(a, scale, "status.selector", selector);
    return scale;
}

/* The answer of a scale endpoint: from what is, or was just written. */
void kb__op_scale(struct kb_object_op *op)
{
    kb_buf_clear(&op->out.buf);
    kb_w_node(&op->out, scale_of(op, op->obj ? op->obj : op->old));
}

static int decode_scale(struct kb_object_op *op, struct kb_node *scale)
{
    kb_str version = kb_str_of("autoscaling/v1"), name = kb_str_of("Scale");
    const struct kb_kind *kind = kb_kinds_by_kind(op->core->kinds, version, name);
    struct kb_causes causes = {.arena = &op->arena};
    if (kb__op_decode(op, kind->schema, version, name, scale) < 0)
        return -KB_EINVAL;
    kb_schema_validate(kind->schema, scale, NULL, &causes);
    if (causes.count) {
        kb_status_invalid(&op->status, &op->arena, kind, op->req.name, &causes);
        return kb__op_fail(op);
    }
    return 0;
}

/* The object that a write to its scale asks for. */
static struct kb_node *scaled_object(struct kb_object_op *op)
{
    struct kb_node *scale = kb_node_copy(&op->arena, op->body);
    if (op->req.verb == KB_VERB_PATCH) {
        const struct kb_kind *kind =
            kb_kinds_by_kind(op->core->kinds, kb_str_of("autoscaling/v1"), kb_str_of("Scale"));
        scale = scale_of(op, op->old);
        if (apply_patch(op, kind->schema, &scale) < 0)
            return NULL;
    }
    if (decode_scale(op, scale) < 0)
        return NULL;
    struct kb_node *result = kb__op_old_tree(op);
    kb_node_set_int(&op->arena, result, op->kind->scale_spec.p,
                    kb_node_num(kb_node_at(scale, "spec.replicas"), 0));
    take(op, result, scale, "metadata.resourceVersion");
    take(op, result, scale, "metadata.uid");
    return result;
}

/* ---- update ---- */

/* The object that the request asks for, whole and decoded; NULL: it has failed. */
static struct kb_node *wanted_object(struct kb_object_op *op)
{
    const struct kb_kind *kind = op->kind;
    struct kb_node *wanted;
    if (op->req.verb == KB_VERB_PATCH) {
        wanted = kb__op_old_tree(op);
        if (apply_patch(op, kind->schema, &wanted) < 0)
            return NULL;
    } else {
        wanted = kb_node_copy(&op->arena, op->body);
    }
    if (kb__op_decode(op, kind->schema, kind->api_version, kind->kind, wanted) < 0)
        return NULL;
    return wanted;
}

/* An object that is dying goes with its last finalizer, once its grace is over. */
static bool dies_now(const struct kb_object_op *op)
{
    if (kb_node_at(op->obj, "metadata.deletionTimestamp") == NULL)
        return false;
    int64_t grace = kb_node_num(kb_node_at(op->obj, "metadata.deletionGracePeriodSeconds"), 0);
    return grace == 0 && !kb__meta_has_finalizers(op->kind, op->obj);
}

void kb__op_update(struct kb_object_op *op)
{
    bool scale = kb_str_is(sub(op), "scale");
    op->replies_scale = scale;
    if (op->req.verb == KB_VERB_GET) {
        kb__op_done(op, op->old_rev);
        return;
    }
    op->obj = scale ? scaled_object(op) : wanted_object(op);
    if (op->obj == NULL)
        return;
    if (!scale)
        op->obj = restrict_to_endpoint(op, op->obj);
    if (kb__meta_on_update(op) < 0 || kb__op_finish_object(op) < 0)
        return;
    if (dies_now(op)) {
        op->removes = true;
        if (op->logic && op->logic->release)
            op->logic->release(op);
    }
    kb__op_commit(op);
}

/* ---- binding ---- */

static int binding_refused(struct kb_object_op *op, kb_str node)
{
    kb_str bound = kb_node_text_at(op->old, "spec.nodeName");
    const struct kb_node *gates = kb_node_at(op->old, "spec.schedulingGates");
    const char *wrong = kb_format_check("dns1123-subdomain", node);
    if (bound.n)
        kb_status_conflict(&op->status, &op->arena, op->kind, op->req.name,
                           "pod " KB_STR_FMT " is already assigned to node \"" KB_STR_FMT "\"",
                           KB_STR_ARG(op->req.name), KB_STR_ARG(bound));
    else if (kb_node_at(op->old, "metadata.deletionTimestamp"))
        kb_status_conflict(&op->status, &op->arena, op->kind, op->req.name,
                           "pod " KB_STR_FMT " is being deleted, cannot be assigned to a host",
                           KB_STR_ARG(op->req.name));
    else if (gates && gates->count)
        kb_status_conflict(&op->status, &op->arena, op->kind, op->req.name,
                           "pod " KB_STR_FMT " has non-empty .spec.schedulingGates",
                           KB_STR_ARG(op->req.name));
    else if (node.n == 0)
        kb_status_bad_request(&op->status, &op->arena, "a binding needs target.name");
    else if (wrong)
        kb_status_bad_request(&op->status, &op->arena, "target.name: %s", wrong);
    else
        return 0;
    return kb__op_fail(op);
}

static void set_scheduled(struct kb_object_op *op)
{
    struct kb_arena *a = &op->arena;
    struct kb_node *status = kb_node_ensure(a, op->obj, "status");
    struct kb_node *conditions = kb_node_get(status, "conditions"), *condition = NULL;
    if (conditions == NULL || conditions->type != KB_ARRAY) {
        conditions = kb_node_array(a);
        kb_node_put(a, status, "conditions", conditions);
    }
    for (uint32_t i = 0; i < conditions->count; i++)
        if (kb_str_is(kb_node_text_at(conditions->items[i].val, "type"), "PodScheduled"))
            condition = conditions->items[i].val;
    if (condition == NULL) {
        condition = kb_node_map(a);
        kb_node_append(a, conditions, condition);
    }
    condition->count = 0;
    kb_node_set_cstr(a, condition, "type", "PodScheduled");
    kb_node_set_cstr(a, condition, "status", "True");
    kb_node_set_cstr(a, condition, "lastTransitionTime", op->now);
}

void kb__op_bind(struct kb_object_op *op)
{
    const struct kb_kind *kind =
        kb_kinds_by_kind(op->core->kinds, kb_str_of("v1"), kb_str_of("Binding"));
    if (!op->decoded &&
        kb__op_decode(op, kind->schema, kind->api_version, kind->kind, op->body) < 0)
        return;
    op->decoded = true;
    kb_str node = kb_node_text_at(op->body, "target.name");
    kb_str uid = kb_node_text_at(op->body, "metadata.uid");
    if (uid.n)
        op->req.uid = uid;
    if (kb__meta_preconditions(op) < 0 || binding_refused(op, node) < 0)
        return;
    op->obj = kb__op_old_tree(op);
    kb_node_set_str(&op->arena, op->obj, "spec.nodeName", node);
    set_scheduled(op);
    op->replies_status = true;
    op->success_code = 201;
    kb__op_commit(op);
}
