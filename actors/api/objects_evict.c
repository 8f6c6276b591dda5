/* objects_evict.c - evictions: a deletion of a pod that its PodDisruptionBudget must allow.
 *
 *   EVICTION → CURRENT → the pod needs no leave ──────────────────────→ deletion
 *                      → BUDGETS: none, or unhealthy and free to go ──→ deletion
 *                               : two or more, or none left ──────────→ refused
 *                               : one with something left ────────────→ deletion + one taken of it
 *
 * What is taken of the budget is written in the transaction of the deletion, each on the condition
 * that its object is as it was read. So there is never a budget that has paid for a pod which then
 * stayed, and whatever loses a race, the pod or the budget, is asked about again from the start.
 * WHY the budgets are listed in the store and not kept in a view: a budget that was created before
 * the eviction was asked for must count, and a view may be late. */
#include "actors/api/objects_impl.h"

#include "bus/model/meta.h"
#include "bus/model/selector.h"

#include <stdio.h>

/* Above this somebody should have cleared them away: the budget's controller does not run. */
enum { DISRUPTED_MAX = 2000, RETRY_S = 10 };

static const char budgets_resource[] = "poddisruptionbudgets.policy";

/* ---- the request ---- */

static int check_body(struct kb_object_op *op)
{
    const struct kb_kind *kind =
        kb_kinds_by_kind(op->core->kinds, kb_str_of("policy/v1"), kb_str_of("Eviction"));
    struct kb_arena *a = &op->arena;
    if (kb_str_is(kb_node_text_at(op->body, "apiVersion"), "policy/v1beta1"))
        kb_node_set_cstr(a, op->body, "apiVersion", "policy/v1"); /* the two are alike */
    if (kb__op_decode(op, kind->schema, kind->api_version, kind->kind, op->body) < 0)
        return -KB_EINVAL;
    if (!kb_str_eq(kb_node_text_at(op->body, "metadata.name"), op->req.name)) {
        kb_status_bad_request(&op->status, a, "name in URL does not match name in Eviction object");
        return kb__op_fail(op);
    }
    return 0;
}

void kb__op_start_evict(struct kb_object_op *op)
{
    if (check_body(op) < 0)
        return;
    op->evicts = true;
    op->replies_status = true;
    op->success_code = 201;
    op->req.verb = KB_VERB_DELETE;
    op->body = kb_node_get(op->body, "deleteOptions");
    kb__op_read_next(op, KB_STAGE_CURRENT, op->kind->resource, op->req.ns, op->req.name);
}

/* ---- the pod ---- */

/* One that has ended, has not begun or is on its way out disrupts nobody. */
static bool needs_no_leave(const struct kb_node *pod)
{
    kb_str phase = kb_node_text_at(pod, "status.phase");
    return kb_str_is(phase, "Succeeded") || kb_str_is(phase, "Failed") ||
           kb_str_is(phase, "Pending") || kb_node_at(pod, "metadata.deletionTimestamp") != NULL;
}

static bool is_ready(const struct kb_node *pod)
{
    const struct kb_node *ready = kb_cond_node(kb_node_get(pod, "status"), "Ready");
    return kb_str_is(kb_node_text_at(ready, "status"), "True");
}

void kb__op_mark_evicted(struct kb_object_op *op)
{
    static const struct kb_cond evicted = {"DisruptionTarget", "True", "EvictionByEvictionAPI",
                                           "Eviction API: evicting", false};
    kb_cond_set(&op->arena, kb_node_ensure(&op->arena, op->obj, "status"), &evicted, op->now_us);
}

void kb__op_evict(struct kb_object_op *op)
{
    const struct kb_node *labels = kb_node_at(op->old, "metadata.labels");
    bool labelled = labels && labels->type == KB_MAP && labels->count > 0;
    op->budget = NULL;
    op->nbudgets = 0;
    op->extras = NULL;
    op->removes = false;
    if (needs_no_leave(op->old) || !labelled) {
        kb__op_delete(op);
        return;
    }
    op->list_after = (kb_str){0};
    snprintf(op->read_key, sizeof(op->read_key), "%s?ns=" KB_STR_FMT, budgets_resource,
             KB_STR_ARG(op->req.ns));
    op->stage = KB_STAGE_BUDGETS;
}

/* ---- the budget ---- */

static bool is_about(kb_val budget, kb_val labels)
{
    KB_AUTO(kb_selector_destroy) struct kb_selector *selector = NULL;
    kb_val wanted = kb_val_at(budget, "spec.selector");
    return kb_val_present(wanted) && kb_selector_of(wanted, &selector, NULL) == 0 &&
           kb_selector_match(selector, labels);
}

static void take_budget(struct kb_object_op *op, kb_val item)
{
    kb_val doc = kb_val_get(item, "doc");
    size_t n = kb_val_size(doc);
    uint8_t *copy = kb_arena_alloc(&op->arena, n);
    memcpy(copy, doc.p, n);
    op->budget = kb_node_of(&op->arena, (kb_val){copy, copy + n});
    op->budget_key = kb_arena_str(&op->arena, kb_val_str(kb_val_get(item, "key")));
    op->budget_rev = kb_val_int(kb_val_get(item, "rev"), 0);
}

static int64_t number(const struct kb_node *budget, const char *path)
{
    return kb_node_num(kb_node_at(budget, path), 0);
}

/* Pods that are not ready: whether their going costs nothing. */
static bool goes_free(const struct kb_object_op *op)
{
    const struct kb_node *budget = op->budget;
    kb_str policy = kb_node_text_at(budget, "spec.unhealthyPodEvictionPolicy");
    int64_t desired = number(budget, "status.desiredHealthy");
    if (is_ready(op->old))
        return false;
    return kb_str_is(policy, "AlwaysAllow") ||
           (desired > 0 && number(budget, "status.currentHealthy") >= desired);
}

static int refuse(struct kb_object_op *op, int64_t retry_after_s, kb_str why)
{
    struct kb_cause *cause = kb_arena_alloc(&op->arena, sizeof(*cause));
    kb_status_set(&op->status, &op->arena, 429, "TooManyRequests",
                  "Cannot evict pod as it would violate the pod's disruption budget.");
    *cause = (struct kb_cause){.type = KB_CAUSE_DISRUPTION_BUDGET, .message = why};
    op->status.causes = cause;
    op->status.ncauses = 1;
    op->status.retry_after_s = retry_after_s;
    return kb__op_fail(op);
}

static int refuse_forgotten(struct kb_object_op *op, kb_str name)
{
    static const char resource[] = "poddisruptionbudget";
    kb_status_set(&op->status, &op->arena, 403, "Forbidden",
                  "%s.policy \"" KB_STR_FMT "\" is forbidden: DisruptedPods map too big - too many "
                  "evictions not confirmed by PDB controller",
                  resource, KB_STR_ARG(name));
    op->status.group = kb_str_of("policy");
    op->status.kind = kb_str_of(resource);
    op->status.name = name;
    return kb__op_fail(op);
}

static int check_budget(struct kb_object_op *op)
{
    const struct kb_node *budget = op->budget;
    struct kb_arena *a = &op->arena;
    kb_str name = kb_node_text_at(budget, "metadata.name");
    const struct kb_node *notes = kb_node_at(budget, "status.disruptedPods");
    if (number(budget, "status.observedGeneration") < number(budget, "metadata.generation"))
        return refuse(op, RETRY_S,
                      kb_arena_printf(a,
                                      "The disruption budget " KB_STR_FMT
                                      " is still being processed by the server.",
                                      KB_STR_ARG(name)));
    if (notes && notes->type == KB_MAP && notes->count > DISRUPTED_MAX)
        return refuse_forgotten(op, name);
    if (number(budget, "status.disruptionsAllowed") <= 0)
        return refuse(op, 0,
                      kb_arena_printf(a,
                                      "The disruption budget " KB_STR_FMT
                                      " needs %lld healthy pods and has %lld currently",
                                      KB_STR_ARG(name),
                                      (long long)number(budget, "status.desiredHealthy"),
                                      (long long)number(budget, "status.currentHealthy")));
    return 0;
}

/* One disruption less, with a note whom it was for. */
static void draw(struct kb_object_op *op)
{
    struct kb_arena *a = &op->arena;
    struct kb_node *status = kb_node_get(op->budget, "status");
    struct kb_node *notes = kb_node_get(status, "disruptedPods");
    int64_t left = number(op->budget, "status.disruptionsAllowed") - 1;
    kb_node_set_int(a, status, "disruptionsAllowed", left);
    if (notes == NULL || notes->type != KB_MAP) {
        notes = kb_node_map(a);
        kb_node_put(a, status, "disruptedPods", notes);
    }
    kb_node_putn(a, notes, op->req.name, kb_node_cstr(a, op->now));
    if (left == 0) {
        static const struct kb_cond none = {"DisruptionAllowed", "False", "InsufficientPods", NULL,
                                            false};
        kb_cond_set(a, status, &none, op->now_us);
        struct kb_node *allowed = kb_cond_node(status, none.type);
        kb_node_set_cstr(a, allowed, "message", ""); /* required, and empty */
        kb_node_set_int(a, allowed, "observedGeneration",
                        number(op->budget, "status.observedGeneration"));
    }
    kb__op_extra(op, false, op->budget_key, op->budget)->rev = op->budget_rev;
}

static void judge(struct kb_object_op *op)
{
    op->stage = KB_STAGE_CURRENT;
    if (op->nbudgets > 1) {
        kb_status_set(&op->status, &op->arena, 500, "",
                      "This pod has more than one PodDisruptionBudget, which the eviction "
                      "subresource does not support.");
        kb__op_fail(op);
        return;
    }
    if (op->nbudgets == 1 && !goes_free(op)) {
        if (check_budget(op) < 0)
            return;
        draw(op);
    }
    kb__op_delete(op);
}

void kb__op_budgets(struct kb_object_op *op, kb_val items, bool more)
{
    kb_val labels = kb_val_at(op->old_val, "metadata.labels"), last = {0};
    for (struct kb_iter it = kb_iter(items); kb_iter_next(&it);) {
        last = kb_val_get(it.val, "key");
        if (is_about(kb_val_get(it.val, "doc"), labels) && op->nbudgets++ == 0)
            take_budget(op, it.val);
    }
    if (more && kb_val_present(last))
        op->list_after = kb_arena_str(&op->arena, kb_val_str(last));
    else
        judge(op);
}
