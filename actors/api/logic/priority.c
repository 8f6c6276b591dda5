/* PriorityClasses, what they mean for pods, and PodDisruptionBudgets. */
#include "actors/api/logic/logic.h"
#include "actors/api/logic/rules_impl.h"
#include "bus/base/check.h"

#include <stdlib.h>

#define MOST_BY_USERS 1000000000

static const struct system_class {
    const char *name;
    int64_t value;
    const char *description;
} system_classes[] = {
    {"system-node-critical", 2000001000,
     "Used for system critical pods that must not be moved from their current node."},
    {"system-cluster-critical", 2000000000,
     "Used for system critical pods that must run in the cluster, but can be moved to another node "
     "if necessary."},
};

struct kb_node *kb__system_priority(struct kb_arena *a, size_t i)
{
    if (i >= KB_COUNT(system_classes))
        return NULL;
    struct kb_node *node = kb_node_map(a);
    kb_node_set_cstr(a, node, "apiVersion", "scheduling.k8s.io/v1");
    kb_node_set_cstr(a, node, "kind", "PriorityClass");
    kb_node_set_cstr(a, node, "metadata.name", system_classes[i].name);
    kb_node_set_int(a, node, "value", system_classes[i].value);
    kb_node_set_cstr(a, node, "description", system_classes[i].description);
    return node;
}

/* ---- what is known ---- */

static void forget(struct kb_objects_core *core, kb_str name)
{
    struct kb_priority *p = kb_map_del(&core->priorities, name);
    if (p == NULL)
        return;
    free(p->name);
    free(p);
}

void kb_objects_core_priority(struct kb_objects_core *core, kb_str name, kb_val doc)
{
    forget(core, name);
    if (!kb_val_present(doc))
        return;
    struct kb_priority *p = calloc(1, sizeof(*p));
    KB_ASSERT(p != NULL);
    p->name = kb_str_dup(name);
    p->value = kb_val_int(kb_val_get(doc, "value"), 0);
    p->global_default = kb_val_bool(kb_val_get(doc, "globalDefault"), false);
    p->never_preempts = kb_str_is(kb_val_str(kb_val_get(doc, "preemptionPolicy")), "Never");
    kb_map_put(&core->priorities, name, p);
}

void kb__priorities_finish(struct kb_objects_core *core)
{
    struct kb_priority *p;
    for (size_t i = 0; kb_map_next(&core->priorities, &i, NULL, (void **)&p);) {
        free(p->name);
        free(p);
    }
    kb_map_finish(&core->priorities);
}

/* Should there be several, the lowest of them. */
static const struct kb_priority *global_default(const struct kb_objects_core *core)
{
    const struct kb_priority *found = NULL;
    struct kb_priority *p;
    for (size_t i = 0; kb_map_next(&core->priorities, &i, NULL, (void **)&p);)
        if (p->global_default && (found == NULL || p->value < found->value))
            found = p;
    return found;
}

/* ---- admission of pods ---- */

/* The class of a pod; the system's are known before anything was seen. False: there is none. */
static bool class_of(const struct kb_objects_core *core, kb_str name, struct kb_priority *ret)
{
    const struct kb_priority *p =
        name.n ? kb_map_get(&core->priorities, name) : global_default(core);
    *ret = (struct kb_priority){0};
    if (p != NULL)
        *ret = *p;
    for (size_t i = 0; p == NULL && i < KB_COUNT(system_classes); i++) {
        if (!kb_str_is(name, system_classes[i].name))
            continue;
        ret->value = system_classes[i].value;
        return true;
    }
    return p != NULL || name.n == 0;
}

static int must_not(struct kb_object_op *op, const char *what, kb_str given, kb_str computed)
{
    kb_status_forbidden(&op->status, &op->arena, op->kind, kb__op_name(op),
                        "the %s (" KB_STR_FMT ") must not be provided in pod spec; priority "
                        "admission controller computed " KB_STR_FMT
                        " from the given PriorityClass name",
                        what, KB_STR_ARG(given), KB_STR_ARG(computed));
    return -KB_EFORBIDDEN;
}

int kb__admit_priority(struct kb_object_op *op, struct kb_node *spec)
{
    struct kb_arena *a = &op->arena;
    kb_str name = kb__text(spec, "priorityClassName");
    const struct kb_node *given = kb_node_get(spec, "priority");
    struct kb_priority p;
    if (!class_of(op->core, name, &p)) {
        kb_status_forbidden(&op->status, a, op->kind, kb__op_name(op),
                            "no PriorityClass with name " KB_STR_FMT " was found",
                            KB_STR_ARG(name));
        return -KB_EFORBIDDEN;
    }
    if (given && kb_node_num(given, 0) != p.value)
        return must_not(op, "integer value of priority",
                        kb_arena_printf(a, "%lld", (long long)kb_node_num(given, 0)),
                        kb_arena_printf(a, "%lld", (long long)p.value));
    kb_str policy = kb_str_of(p.never_preempts ? "Never" : "PreemptLowerPriority");
    kb_str asked = kb__text(spec, "preemptionPolicy");
    if (asked.n > 0 && !kb_str_eq(asked, policy))
        return must_not(op, "string value of PreemptionPolicy", asked, policy);
    if (name.n == 0 && p.name != NULL)
        kb_node_put(a, spec, "priorityClassName", kb_node_cstr(a, p.name));
    kb_node_put(a, spec, "priority", kb_node_int(a, p.value));
    kb_node_put(a, spec, "preemptionPolicy", kb_node_str(a, policy));
    return 0;
}

/* ---- PriorityClass ---- */

static int class_prepare(struct kb_object_op *op)
{
    const struct kb_priority *other = global_default(op->core);
    const struct kb_node *wants = kb_node_get(op->obj, "globalDefault");
    if (wants == NULL || wants->type != KB_BOOL || !wants->b || other == NULL ||
        kb_str_is(kb__op_name(op), other->name))
        return 0;
    kb_status_forbidden(&op->status, &op->arena, op->kind, kb__op_name(op),
                        "PriorityClass %s is already marked as default. Only one default can "
                        "exist",
                        other->name);
    return -KB_EFORBIDDEN;
}

static void check_system_class(struct kb_object_op *op, kb_str name, int64_t value)
{
    struct kb_at at = kb_at_field(NULL, "metadata");
    const struct kb_node *wants = kb_node_get(op->obj, "globalDefault");
    const char *wrong = "is not a known system priority class";
    kb_str why = kb_arena_printf(&op->arena, KB_STR_FMT " %s", KB_STR_ARG(name), wrong);
    for (size_t i = 0; i < KB_COUNT(system_classes); i++) {
        const struct system_class *c = &system_classes[i];
        if (!kb_str_is(name, c->name))
            continue;
        if (value == c->value && !(wants && wants->type == KB_BOOL && wants->b))
            return;
        why = value != c->value
                  ? kb_arena_printf(&op->arena, "value of %s PriorityClass must be %lld", c->name,
                                    (long long)c->value)
                  : kb_arena_printf(&op->arena, "globalDefault of %s PriorityClass must be false",
                                    c->name);
    }
    KB__WRONG(&op->causes, FORBIDDEN, &at, "name",
              "priority class names with 'system-' prefix are reserved for system use only. "
              "error: " KB_STR_FMT,
              KB_STR_ARG(why));
}

static void class_validate(struct kb_object_op *op)
{
    kb_str name = kb__op_name(op);
    int64_t value = kb__num(op->obj, "value", 0);
    if (op->old != NULL) {
        if (kb__num(op->old, "value", 0) != value)
            KB__WRONG(&op->causes, FORBIDDEN, NULL, "value", "may not be changed in an update.");
    } else if (kb_str_starts(name, "system-")) {
        check_system_class(op, name, value);
    } else if (value > MOST_BY_USERS) {
        KB__WRONG(&op->causes, FORBIDDEN, NULL, "value",
                  "maximum allowed value of a user defined priority is %d", MOST_BY_USERS);
    }
}

/* Who makes a class makes pods of it next: the view may be a moment late. */
static void class_committed(struct kb_object_op *op)
{
    KB_AUTO(kb_w_finish) struct kb_w w = {0};
    kb_str name = kb_node_text_at(op->obj, "metadata.name");
    kb_w_node(&w, op->obj);
    kb_objects_core_priority(op->core, name, op->removes ? (kb_val){0} : kb_w_val(&w));
}

const struct kb_logic kb__logic_priorityclass = {
    .resource = "priorityclasses.scheduling.k8s.io",
    .prepare = class_prepare,
    .validate = class_validate,
    .committed = class_committed,
};

/* ---- PodDisruptionBudget ---- */

static void check_share(struct kb_object_op *op, const struct kb_node *spec, const char *field)
{
    struct kb_at at = kb_at_field(NULL, "spec");
    kb_str text = kb__text(spec, field);
    int64_t share;
    if (kb_str_ends(text, "%") && kb_str_i64(kb_str_n(text.p, text.n - 1), &share) && share > 100)
        KB__BAD(&op->causes, INVALID, &at, spec, field, "must not be greater than 100%%");
}

static void budget_validate(struct kb_object_op *op)
{
    const struct kb_node *spec = kb_node_get(op->obj, "spec");
    if (kb_node_get(spec, "minAvailable") && kb_node_get(spec, "maxUnavailable")) {
        struct kb_at at = kb_at_field(NULL, "spec");
        kb_causes_add(&op->causes, KB_CAUSE_INVALID, &at, spec,
                      "minAvailable and maxUnavailable cannot be both set");
    }
    check_share(op, spec, "minAvailable");
    check_share(op, spec, "maxUnavailable");
}

const struct kb_logic kb__logic_poddisruptionbudget = {
    .resource = "poddisruptionbudgets.policy",
    .validate = budget_validate,
};
