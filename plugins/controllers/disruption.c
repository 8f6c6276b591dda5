/* disruption.c - how many pods of a PodDisruptionBudget may be taken down at this time.
 *
 * healthy:  pods that the selector means, ready and not being deleted
 * expected: with minAvailable as a number, the pods there are; else what their controllers want
 * desired:  minAvailable, or expected - maxUnavailable; shares of `expected` are rounded up
 * allowed:  healthy - desired, if that is more than none
 *
 * Somebody who admits an eviction notes the pod in status.disruptedPods; it counts as unhealthy
 * until it is seen to go, or for two minutes. */
#include <kubus/plugin.h>

#include <stdio.h>

enum { DISRUPTED_MS = 120000 };

struct count {
    int64_t expected, healthy, desired;
    size_t unmanaged;
    kb_ms again_ms; /* when a note in disruptedPods runs out; 0: there is none */
    struct kb_node *disrupted;
};

/* ---- who wants how many ---- */

/* The object behind the controlling owner reference of `of`; NULL when it has none that we know. */
static const struct kb_object *controller_of(kb_controller *c, const struct kb_object *of)
{
    kb_val owner = kb_meta_controller(of->doc);
    if (!kb_val_present(owner))
        return NULL;
    const char *resource =
        kb_resource_of(c, kb_val_str_at(owner, "apiVersion"), kb_val_str_at(owner, "kind"));
    static const char *const known[] = {"replicasets.apps", "deployments.apps",
                                        "replicationcontrollers"};
    for (size_t i = 0; resource != NULL && i < KB_COUNT(known); i++) {
        if (strcmp(resource, known[i]) != 0)
            continue;
        const struct kb_object *found =
            kb_get(c, resource, of->key.ns, kb_val_str_at(owner, "name"));
        return found && kb_str_eq(kb_meta_uid(found->doc), kb_val_str_at(owner, "uid")) ? found
                                                                                        : NULL;
    }
    return NULL;
}

/* A pod's controller, or the one behind that. */
static const struct kb_object *scale_of(kb_controller *c, const struct kb_object *pod)
{
    const struct kb_object *first = controller_of(c, pod);
    const struct kb_object *second = first ? controller_of(c, first) : NULL;
    return second ? second : first;
}

/* The sum over the different controllers of the pods. */
static int64_t expected_scale(kb_controller *c, const struct kb_objects *pods, struct count *count)
{
    KB_AUTO(kb_map_finish) struct kb_map seen = {0};
    int64_t sum = 0;
    for (size_t i = 0; i < pods->count; i++) {
        const struct kb_object *scale = scale_of(c, pods->items[i]);
        if (scale == NULL) {
            count->unmanaged++;
            continue;
        }
        if (kb_map_put(&seen, kb_meta_uid(scale->doc), (void *)(uintptr_t)scale) == NULL)
            sum += kb_val_int32_at(scale->doc, "spec.replicas", 1);
    }
    return sum;
}

/* "3", 3 or "50%" of `of`, rounded up; 0 for what is none of these. */
static int64_t share(kb_val val, int64_t of)
{
    kb_str text = kb_val_str(val);
    int64_t n = kb_val_int32(val, 0);
    bool percent = kb_str_ends(text, "%");
    if (text.n > 0 && !kb_str_i64(kb_str_n(text.p, text.n - percent), &n))
        return 0;
    if (n < 0 || n > INT32_MAX)
        return 0;
    if (!percent)
        return n;
    return n >= 100 ? of : (n * of + 99) / 100;
}

static void count_expected(kb_controller *c, kb_val spec, const struct kb_objects *pods,
                           struct count *count)
{
    kb_val least = kb_val_get(spec, "minAvailable"), most = kb_val_get(spec, "maxUnavailable");
    if (kb_val_present(most)) {
        count->expected = expected_scale(c, pods, count);
        count->desired = count->expected - share(most, count->expected);
        count->desired = count->desired < 0 ? 0 : count->desired;
    } else if (kb_val_str(least).n > 0) {
        count->expected = expected_scale(c, pods, count);
        count->desired = share(least, count->expected);
    } else if (kb_val_present(least)) {
        count->expected = (int64_t)pods->count;
        count->desired = kb_val_int32(least, 0);
    }
}

/* ---- who is healthy ---- */

/* Notes about pods that are there and neither go nor were admitted long ago are kept. */
static bool is_disrupted(kb_controller *c, kb_val notes, const struct kb_object *pod,
                         struct count *count)
{
    kb_val note = kb_val_getn(notes, pod->key.name);
    int64_t admitted_us;
    if (!kb_val_present(note) || kb_meta_deleting(pod->doc))
        return false;
    char text[KB_TIME_BYTES];
    if (!kb_str_copy(kb_val_str(note), text, sizeof(text)) || kb_time_parse(text, &admitted_us) < 0)
        return false;
    kb_ms left = DISRUPTED_MS - (kb_now_us(c) - admitted_us) / 1000;
    if (left <= 0)
        return false;
    count->again_ms = count->again_ms && count->again_ms < left ? count->again_ms : left;
    struct kb_arena *a = kb_arena(c);
    kb_node_put(a, count->disrupted, kb_arena_str(a, pod->key.name).p, kb_node_of(a, note));
    return true;
}

static void count_healthy(kb_controller *c, kb_val status, const struct kb_objects *pods,
                          struct count *count)
{
    kb_val notes = kb_val_get(status, "disruptedPods");
    count->disrupted = kb_node_map(kb_arena(c));
    for (size_t i = 0; i < pods->count; i++) {
        const struct kb_object *pod = pods->items[i];
        bool disrupted = is_disrupted(c, notes, pod, count);
        count->healthy +=
            !disrupted && !kb_meta_deleting(pod->doc) && kb_cond_is(pod->doc, "Ready", "True");
    }
}

/* ---- the status ---- */

static struct kb_node *status_of(kb_controller *c, const struct kb_object *budget,
                                 const struct count *count)
{
    struct kb_arena *a = kb_arena(c);
    struct kb_node *status = kb_node_of(a, kb_val_get(budget->doc, "status"));
    if (status == NULL || status->type != KB_MAP)
        status = kb_node_map(a);
    int64_t allowed = count->healthy - count->desired;
    allowed = count->expected <= 0 || allowed < 0 ? 0 : allowed;
    struct kb_cond cond = {"DisruptionAllowed", allowed ? "True" : "False",
                           allowed ? "SufficientPods" : "InsufficientPods", "", false};
    int64_t generation = kb_val_int_at(budget->doc, "metadata.generation", 0);
    kb_node_set_int(a, status, "currentHealthy", count->healthy);
    kb_node_set_int(a, status, "desiredHealthy", count->desired);
    kb_node_set_int(a, status, "disruptionsAllowed", allowed);
    kb_node_set_int(a, status, "expectedPods", count->expected);
    kb_node_set_int(a, status, "observedGeneration", generation);
    if (count->disrupted->count > 0)
        kb_node_put(a, status, "disruptedPods", count->disrupted);
    else
        kb_node_del(status, "disruptedPods");
    kb_cond_set(a, status, &cond, kb_now_us(c));
    kb_node_put(a, kb_cond_node(status, cond.type), "observedGeneration",
                kb_node_int(a, generation));
    return status;
}

static bool same(const struct kb_node *status, kb_val old)
{
    KB_AUTO(kb_w_finish) struct kb_w w = {0};
    kb_w_node(&w, status);
    return kb_val_equal(kb_w_val(&w), old);
}

static struct kb_objects pods_of(kb_controller *c, const struct kb_object *budget)
{
    KB_AUTO(kb_selector_destroy) struct kb_selector *selector = NULL;
    kb_val wanted = kb_val_at(budget->doc, "spec.selector");
    struct kb_objects pods = kb_list_ns(c, "pods", budget->key.ns);
    size_t n = 0;
    bool any = kb_val_present(wanted) && kb_selector_of(wanted, &selector, NULL) == 0;
    for (size_t i = 0; any && i < pods.count; i++) {
        if (kb_selector_match_object(selector, pods.items[i]->doc))
            pods.items[n++] = pods.items[i];
    }
    pods.count = n;
    return pods;
}

static kb_result reconcile(kb_controller *c, kb_key key)
{
    const struct kb_object *budget = kb_get(c, "poddisruptionbudgets.policy", key.ns, key.name);
    struct count count = {0};
    if (budget == NULL || kb_meta_deleting(budget->doc))
        return 0;
    struct kb_objects pods = pods_of(c, budget);
    kb_val status = kb_val_get(budget->doc, "status");
    count_expected(c, kb_val_get(budget->doc, "spec"), &pods, &count);
    count_healthy(c, status, &pods, &count);
    if (count.unmanaged > 0 && count.unmanaged == pods.count)
        kb_event(c, budget, "Warning", "NoControllers", "found no controllers for %zu pods",
                 count.unmanaged);
    if (count.again_ms > 0)
        kb_requeue(c, count.again_ms);
    struct kb_node *wanted = status_of(c, budget, &count);
    if (same(wanted, status))
        return 0;
    struct kb_node *object = kb_node_of(kb_arena(c), budget->doc);
    kb_node_put(kb_arena(c), object, "status", wanted);
    kb_wish_update(c, budget, "status", object);
    return 0;
}

/* Whatever changed in a namespace: its budgets are few. */
static void map_change(kb_controller *c, const struct kb_object *now, const struct kb_object *old)
{
    struct kb_objects budgets =
        kb_list_ns(c, "poddisruptionbudgets.policy", (now ? now : old)->key.ns);
    for (size_t i = 0; i < budgets.count; i++)
        kb_enqueue(c, budgets.items[i]->key.ns, budgets.items[i]->key.name);
}

KB_CONTROLLER("disruption", .primary = "poddisruptionbudgets.policy",
              .watches = {{"pods", .map = map_change, .keep = "metadata status.conditions"},
                          {"replicasets.apps", .map = map_change, .keep = "metadata spec.replicas"},
                          {"deployments.apps", .map = map_change, .keep = "metadata spec.replicas"},
                          {"replicationcontrollers", .map = map_change,
                           .keep = "metadata spec.replicas"}},
              .writes = {"poddisruptionbudgets.policy/status", "events"}, .reconcile = reconcile,
              .on_demand = true);
