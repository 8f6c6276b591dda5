/* pdb_lite.c - a first controller, whole: budgets for pods that may be down, kept in ConfigMaps.
 *
 *     kind: ConfigMap
 *     metadata: {name: web, labels: {examples.kubus.dev/budget: "true"}}
 *     data: {selector: app=web, minAvailable: 50%}
 *
 * It counts the pods that the selector matches and writes beside the question its answer:
 * expectedPods, currentHealthy, desiredHealthy and disruptionsAllowed. */
#include <kubus/plugin.h>

#include <stdio.h>

static bool is_budget(const struct kb_object *config)
{
    return kb_str_is(kb_meta_label(config->doc, "examples.kubus.dev/budget"), "true");
}

static bool is_healthy(const struct kb_object *pod)
{
    return kb_cond_is(pod->doc, "Ready", "True") && !kb_meta_deleting(pod->doc);
}

/* "3" or "50%" of `expected`, rounded up; -1 when it is neither. */
static int64_t share(kb_str text, int64_t expected)
{
    int64_t value;
    bool percent = kb_str_ends(text, "%");
    if (percent)
        text.n--;
    if (!kb_str_i64(text, &value) || value < 0)
        return -1;
    return percent ? (value * expected + 99) / 100 : value;
}

/* A pod concerns every budget of its namespace: which selectors match is for reconcile to see. */
static void map_pod(kb_controller *c, const struct kb_object *now, const struct kb_object *old)
{
    const struct kb_object *pod = now ? now : old;
    struct kb_objects configs = kb_list_ns(c, "configmaps", pod->key.ns);
    for (size_t i = 0; i < configs.count; i++)
        if (is_budget(configs.items[i]))
            kb_enqueue(c, pod->key.ns, configs.items[i]->key.name);
}

/* Put a number; true when it was another one before. */
static bool put(kb_controller *c, struct kb_node *data, kb_val old, const char *key, int64_t n)
{
    kb_str text = kb_arena_printf(kb_arena(c), "%lld", (long long)n);
    kb_node_set_str(kb_arena(c), data, key, text);
    return !kb_str_eq(text, kb_val_str(kb_val_get(old, key)));
}

static kb_result reconcile(kb_controller *c, kb_key key)
{
    const struct kb_object *config = kb_get(c, "configmaps", key.ns, key.name);
    if (config == NULL || !is_budget(config))
        return 0;

    kb_val data = kb_val_get(config->doc, "data");
    struct kb_err err = {0};
    KB_AUTO(kb_selector_destroy) struct kb_selector *selector = NULL;
    if (kb_selector_parse(kb_val_str(kb_val_get(data, "selector")), &selector, &err) < 0) {
        kb_event(c, config, "Warning", "BadSelector", "%s", err.text);
        return 0; /* trying again would not help: the next change of the object will */
    }

    int64_t expected = 0, healthy = 0;
    struct kb_objects pods = kb_list_ns(c, "pods", key.ns);
    for (size_t i = 0; i < pods.count; i++) {
        if (!kb_selector_match_object(selector, pods.items[i]->doc))
            continue;
        expected++;
        healthy += is_healthy(pods.items[i]);
    }
    int64_t desired = share(kb_val_str(kb_val_get(data, "minAvailable")), expected);
    if (desired < 0) {
        kb_event(c, config, "Warning", "BadMinAvailable", "minAvailable is a number or a share");
        return 0;
    }

    struct kb_node *patch = kb_node_map(kb_arena(c));
    struct kb_node *answer = kb_node_ensure(kb_arena(c), patch, "data");
    bool changed = put(c, answer, data, "expectedPods", expected);
    changed |= put(c, answer, data, "currentHealthy", healthy);
    changed |= put(c, answer, data, "desiredHealthy", desired);
    changed |=
        put(c, answer, data, "disruptionsAllowed", healthy > desired ? healthy - desired : 0);
    if (changed)
        kb_wish_patch(c, config, NULL, patch);
    return 0;
}

KB_CONTROLLER("pdb-lite", .primary = "configmaps",
              .watches = {{"pods", .map = map_pod, .keep = "metadata status.conditions"}},
              .writes = {"configmaps", "events"}, .reconcile = reconcile);
