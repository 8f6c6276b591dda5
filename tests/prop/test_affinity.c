/* InterPodAffinity and PodTopologySpread against a slow, obvious reference on random clusters. The
 * reference keeps nodes, pods and namespaces as plain structs; the core gets the same things as
 * objects, one event at a time. Verdicts and scores must be equal for every node after every step,
 * and those of a core that is built afresh from what is left. */
#include "tests/lib/subject.h"
#include "tests/lib/test.h"
#include "tests/prop/affinity_reference.h"

#include <stdlib.h>

enum { STEPS = 900 };

static void compare(const struct world *w, struct kb_subject *s, const struct template *t)
{
    KB_AUTO(kb_buf_finish) struct kb_buf why = {0};
    struct affinity_said want = affinity_reference(w, t);
    kb_val of[NODES];
    int known;
    KB_AUTO(kb_doc_destroy) struct kb_doc *doc = kb_subject_explain(s, t->json, of, NODES, &known);
    for (int i = 0; i < NODES; i++) {
        KB_CHECK(w->nodes[i].there == kb_val_present(of[i]));
        if (!w->nodes[i].there)
            continue;
        kb_subject_why(of[i], &why);
        KB_CHECK_STR(why.p, want.why[i] ? want.why[i] : "");
        if (want.why[i])
            continue;
        kb_val scores = kb_val_get(of[i], "scores"),
               spread = kb_val_get(scores, "PodTopologySpread");
        KB_CHECK_I64(kb_val_int(kb_val_get(scores, "InterPodAffinity"), 0), ==,
                     2 * want.affinity[i]);
        KB_CHECK(kb_val_present(spread) == want.spreads);
        if (want.spreads)
            KB_CHECK_I64(kb_val_int(spread, -1), ==, 2 * want.spread[i]);
    }
}

/* ---- events ---- */

static void tell_node(const struct world *w, struct kb_subject *s, int i)
{
    const struct node *n = &w->nodes[i];
    KB_AUTO(kb_buf_finish) struct kb_buf b = {0};
    kb_buf_puts(&b, "{'metadata': {'labels': {'a': 'b'");
    for (int k = 0; k < KEYS; k++)
        if (n->value[k] >= 0)
            kb_buf_printf(&b, ", '%s': '%s%d'", affinity_keys[k], k == HOST ? "h" : "v",
                          n->value[k]);
    kb_buf_printf(&b, "}}, 'spec': {'taints': [%s]}}",
                  n->tainted ? "{'key': 't', 'effect': 'NoSchedule'}" : "");
    kb_subject_node(s, i, n->there ? b.p : NULL);
}

/* An object around some labels; `label` NULL: it is gone. */
static void tell_object(struct kb_subject *s, const char *resource, int space, const char *name,
                        const char *before, const int label[LABELS], const char *after)
{
    KB_AUTO(kb_buf_finish) struct kb_buf b = {0};
    char ns[16];
    snprintf(ns, sizeof(ns), "s%d", space);
    if (label != NULL) {
        kb_buf_puts(&b, before);
        affinity_labels_json(&b, label);
        kb_buf_puts(&b, after);
    }
    kb_subject_object(s, resource, name ? ns : "", name ? name : ns, label ? b.p : NULL);
}

static void tell_space(const struct world *w, struct kb_subject *s, int i)
{
    tell_object(s, "namespaces", i, NULL, "{'metadata': {'labels': {",
                w->spaces[i].there ? w->spaces[i].label : NULL, "}}}");
}

static void tell_service(const struct world *w, struct kb_subject *s, int space, int i)
{
    const struct service *of = &w->services[space][i];
    tell_object(s, "services", space, i ? "b" : "a", "{'spec': {'selector': {",
                of->there ? of->label : NULL, "}}}");
}

static void put_pod(const struct world *w, struct kb_subject *s, int i)
{
    const struct pod *p = &w->pods[i];
    const struct template *t = &w->templates[p->template];
    kb_subject_put(s, i, p->node, p->ending ? t->ending_json : t->json, 0);
}

static void step_node(struct world *w, struct kb_subject *s)
{
    int i = affinity_pick(w, NODES);
    struct node *n = &w->nodes[i];
    n->there = !n->there || affinity_pick(w, 3) > 0;
    n->tainted = affinity_pick(w, 4) == 0;
    n->value[0] = affinity_pick(w, 8) ? affinity_pick(w, 3) : -1;
    n->value[1] = affinity_pick(w, 8) ? i : -1;
    n->value[2] = affinity_maybe(w, 4);
    tell_node(w, s, i);
}

/* A pod begins to end, goes, or comes: to any node, or to the one that the core chooses. */
static void step_pod(struct world *w, struct kb_subject *s)
{
    int i = affinity_pick(w, PODS), chosen = -1;
    struct pod *p = &w->pods[i];
    if (p->there) {
        p->there = !p->ending && affinity_pick(w, 3) == 0;
        p->ending = p->there;
        kb_subject_lift(s, i);
        if (p->there)
            put_pod(w, s, i);
        return;
    }
    *p = (struct pod){
        .there = true, .template = affinity_pick(w, TEMPLATES), .node = affinity_pick(w, NODES)};
    if (affinity_pick(w, 3))
        chosen = kb_subject_decide(s, w->templates[p->template].json);
    p->node = chosen >= 0 ? chosen : p->node;
    put_pod(w, s, i);
}

static void step(struct world *w, struct kb_subject *s)
{
    int i = affinity_pick(w, SPACES), k = affinity_pick(w, SERVICES), what = affinity_pick(w, 20);
    if (what == 0) {
        w->spaces[i].there = affinity_pick(w, 5) > 0;
        for (int l = 0; l < LABELS; l++)
            w->spaces[i].label[l] = affinity_maybe(w, VALUES);
        tell_space(w, s, i);
    } else if (what == 1) {
        w->services[i][k].there = affinity_pick(w, 3) > 0;
        for (int l = 0; l < LABELS; l++)
            w->services[i][k].label[l] = l < 2 ? affinity_maybe(w, 2) : -1;
        tell_service(w, s, i, k);
    } else if (what < 4) {
        step_node(w, s);
    } else {
        step_pod(w, s);
    }
}

static struct kb_subject new_subject(const struct world *w, uint64_t seed)
{
    static const int everything[LABELS] = {0, -1, -1};
    char args[64];
    snprintf(args, sizeof(args), "{\"hardPodAffinityWeight\": %d}", w->hard_weight);
    const struct kb_profile_entry entries[] = {
        {.policy = kb_policy_builtin("PrioritySort")},
        {.policy = kb_policy_builtin("TaintToleration")},
        {.policy = kb_policy_builtin("NodeAffinity")},
        {.policy = kb_policy_builtin("PodTopologySpread")},
        {.policy = kb_policy_builtin("InterPodAffinity"), .args = args},
    };
    struct kb_subject s = kb_subject_new(seed, entries, KB_COUNT(entries), PODS);
    for (int i = 0; i < SPACES; i++)
        tell_object(&s, "replicasets.apps", i, "rs", "{'spec': {'selector': {'matchLabels': {",
                    everything, "}}}}");
    return s;
}

static void compare_rebuilt(const struct world *w)
{
    KB_AUTO(kb_subject_finish) struct kb_subject fresh = new_subject(w, 1);
    for (int i = PODS - 1; i >= 0; i--)
        if (w->pods[i].there)
            put_pod(w, &fresh, i);
    for (int i = 0; i < SPACES; i++) {
        tell_space(w, &fresh, i);
        for (int k = 0; k < SERVICES; k++)
            tell_service(w, &fresh, i, k);
    }
    for (int i = NODES - 1; i >= 0; i--)
        tell_node(w, &fresh, i);
    for (int i = 0; i < TEMPLATES; i++)
        compare(w, &fresh, &w->templates[i]);
}

KB_TEST(affinity_property, says_what_the_reference_says)
{
    uint64_t seed = kb_test_seed();
    struct world *w = calloc(1, sizeof(*w));
    kb_rand_init(&w->rand, seed);
    w->hard_weight = affinity_pick(w, 3) ? 1 : 20 * affinity_pick(w, 5);
    for (int i = 0; i < TEMPLATES; i++) {
        affinity_random_template(w, &w->templates[i]);
        w->templates[i].json = affinity_template_json(&w->templates[i], false);
        w->templates[i].ending_json = affinity_template_json(&w->templates[i], true);
    }
    KB_AUTO(kb_subject_finish) struct kb_subject s = new_subject(w, seed);
    kb_core_plan_budget(s.core, seed % 2 ? 20000 : 1 << 20); /* with and without dropping plans */
    for (int i = 0; i < STEPS; i++) {
        step(w, &s);
        compare(w, &s, &w->templates[affinity_pick(w, TEMPLATES)]);
        if (i % 300 == 299)
            compare_rebuilt(w);
    }
    free(w);
}
