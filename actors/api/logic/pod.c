/* Pods: what admission sets on them, and their grace. */
#include "actors/api/logic/logic.h"
#include "actors/api/logic/rules.h"

enum { UNREACHABLE_S = 300 };

/* ---- admission on create ---- */

static void set_service_account(struct kb_object_op *op, struct kb_node *spec)
{
    if (kb_node_text(kb_node_get(spec, "serviceAccountName")).n)
        return;
    kb_node_put(&op->arena, spec, "serviceAccountName", kb_node_cstr(&op->arena, "default"));
    kb_node_put(&op->arena, spec, "serviceAccount", kb_node_cstr(&op->arena, "default"));
}

/* Who has gates waits until they are gone, and it is said from the start. */
static void set_gated(struct kb_object_op *op, const struct kb_node *spec, struct kb_node *status)
{
    const struct kb_node *gates = kb_node_get(spec, "schedulingGates");
    struct kb_arena *a = &op->arena;
    if (gates == NULL || gates->type != KB_ARRAY || gates->count == 0)
        return;
    struct kb_node *list = kb_node_array(a), *condition = kb_node_map(a);
    kb_node_put(a, condition, "lastProbeTime", kb_node_nil(a));
    kb_node_put(a, condition, "lastTransitionTime", kb_node_nil(a));
    kb_node_set_cstr(a, condition, "message",
                     "Scheduling is blocked due to non-empty scheduling gates");
    kb_node_set_cstr(a, condition, "reason", "SchedulingGated");
    kb_node_set_cstr(a, condition, "status", "False");
    kb_node_set_cstr(a, condition, "type", "PodScheduled");
    kb_node_append(a, list, condition);
    kb_node_put(a, status, "conditions", list);
}

static bool tolerates(const struct kb_node *list, const char *key)
{
    for (uint32_t i = 0; i < list->count; i++) {
        const struct kb_node *item = list->items[i].val;
        kb_str have = kb_node_text(kb_node_get(item, "key"));
        kb_str effect = kb_node_text(kb_node_get(item, "effect"));
        if ((have.n == 0 || kb_str_is(have, key)) &&
            (effect.n == 0 || kb_str_is(effect, "NoExecute")))
            return true;
    }
    return false;
}

/* A pod leaves a node that is not ready after five minutes, unless it says otherwise. */
static void set_tolerations(struct kb_object_op *op, struct kb_node *spec)
{
    static const char *const keys[] = {"node.kubernetes.io/not-ready",
                                       "node.kubernetes.io/unreachable"};
    struct kb_arena *a = &op->arena;
    struct kb_node *list = kb_node_get(spec, "tolerations");
    if (list == NULL || list->type != KB_ARRAY) {
        list = kb_node_array(a);
        kb_node_put(a, spec, "tolerations", list);
    }
    for (size_t i = 0; i < KB_COUNT(keys); i++) {
        if (tolerates(list, keys[i]))
            continue;
        struct kb_node *item = kb_node_map(a);
        kb_node_put(a, item, "key", kb_node_cstr(a, keys[i]));
        kb_node_put(a, item, "operator", kb_node_cstr(a, "Exists"));
        kb_node_put(a, item, "effect", kb_node_cstr(a, "NoExecute"));
        kb_node_put(a, item, "tolerationSeconds", kb_node_int(a, UNREACHABLE_S));
        kb_node_append(a, list, item);
    }
}

static int prepare(struct kb_object_op *op)
{
    struct kb_arena *a = &op->arena;
    struct kb_node *spec = kb_node_ensure(a, op->obj, "spec");
    struct kb_node *status = kb_node_ensure(a, op->obj, "status");
    kb_rules_pod_default(a, spec);
    if (op->old == NULL) {
        set_service_account(op, spec);
        set_tolerations(op, spec);
        if (kb__admit_priority(op, spec) < 0)
            return -KB_EFORBIDDEN;
        status->count = 0;
        set_gated(op, spec, status);
    }
    if (kb_node_text(kb_node_get(status, "phase")).n == 0)
        kb_node_put(a, status, "phase", kb_node_cstr(a, "Pending"));
    if (kb_node_text(kb_node_get(status, "qosClass")).n == 0)
        kb_node_put(a, status, "qosClass", kb_node_cstr(a, kb_rules_pod_qos(spec)));
    return 0;
}

static void validate(struct kb_object_op *op)
{
    struct kb_at at = kb_at_field(NULL, "spec");
    kb_rules_pod_spec(kb_node_get(op->obj, "spec"), &at, false, &op->causes);
    if (op->old == NULL)
        kb_rules_pod_create(op->obj, &op->causes);
    else if (op->req.subresource.n == 0)
        kb_rules_pod_update(op->old, op->obj, &op->causes);
    else if (kb_str_is(op->req.subresource, "ephemeralcontainers"))
        kb_rules_pod_ephemeral(op->old, op->obj, &op->causes);
}

/* ---- deletion ---- */

/* Nobody has to be asked about a pod that runs nowhere, or has ended. */
static int64_t grace(struct kb_object_op *op, int64_t asked)
{
    kb_str phase = kb_node_text_at(op->old, "status.phase");
    bool placed = kb_node_text_at(op->old, "spec.nodeName").n != 0;
    return !placed || kb_str_is(phase, "Succeeded") || kb_str_is(phase, "Failed") ? 0 : asked;
}

const struct kb_logic kb__logic_pod = {
    .resource = "pods",
    .returns_deleted = true,
    .prepare = prepare,
    .validate = validate,
    .grace = grace,
};
