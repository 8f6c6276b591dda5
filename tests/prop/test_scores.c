/* NodeResourcesFit with its strategies, NodeResourcesBalancedAllocation, ImageLocality and
 * NodeAffinity with added affinity, under random arguments, against a slow, obvious reference on
 * random clusters. The reference keeps nodes, pods and arguments as plain structs and works each
 * verdict and score out from them alone, as the formulae are written down; the core gets the same
 * things as objects, one event at a time. Both must agree about every node after every step, about
 * the node that is chosen, and so must a core that is built afresh from what is left. */
#include "tests/lib/subject.h"
#include "tests/lib/test.h"
#include "tests/prop/scores_world.h"

#include <math.h>
#include <stdlib.h>

enum { WORLDS = 40, STEPS = 150 };

/* ---- the reference: requests ---- */

static bool is_scalar(int r)
{
    return r >= HUGE && r < AMOUNTS;
}

/* What the pod requests, when containers that state none count as `otherwise`. */
static int64_t want(const struct template *t, int r, int64_t otherwise)
{
    int64_t sum = 0, init = 0;
    if (r == POD_COUNT)
        return 0;
    for (int i = 0; i < t->containers; i++)
        sum += t->want[i][r] < 0 ? otherwise : t->want[i][r];
    if (t->init)
        init = t->want[2][r] < 0 ? otherwise : t->want[2][r];
    return sum > init ? sum : init;
}

/* As scores by strategy count. */
static int64_t nonzero(int r)
{
    return r == CPU ? 100 : r == MEMORY ? 200 << 20 : 0;
}

static int64_t used(const struct world *w, int node, int r, int64_t otherwise)
{
    int64_t sum = 0;
    for (int i = 0; i < PODS; i++)
        if (w->pods[i].there && w->pods[i].node == node)
            sum += want(&w->templates[w->pods[i].template], r, otherwise);
    return sum;
}

static int64_t has(const struct node *n, int r)
{
    return r == POD_COUNT || n->has[r] < 0 ? 0 : n->has[r];
}

static bool is_ignored(const struct args *a, int r)
{
    if (r != GPU && r != NIC && r != OTHER_GPU)
        return false;
    return (a->ignored & (1 << r)) || (a->groups & (r == OTHER_GPU ? 2 : 1));
}

/* The set of what does not suffice. */
static int lacks(const struct world *w, const struct template *t, int node)
{
    int set = 0, pods = 0;
    for (int i = 0; i < PODS; i++)
        pods += w->pods[i].there && w->pods[i].node == node;
    if (pods + 1 > w->nodes[node].pods)
        set |= 1 << POD_COUNT;
    for (int r = 0; r < AMOUNTS; r++) {
        int64_t more = want(t, r, 0);
        if (more > 0 && !is_ignored(&w->args, r) &&
            more > has(&w->nodes[node], r) - used(w, node, r, 0))
            set |= 1 << r;
    }
    return set;
}

/* ---- the reference: scores ---- */

static int64_t curve(const struct args *a, int64_t p)
{
    for (int i = 0; i < a->points; i++) {
        if (p > a->at[i])
            continue;
        if (i == 0)
            return 10 * a->score[0];
        return 10 * a->score[i - 1] + 10 * (a->score[i] - a->score[i - 1]) * (p - a->at[i - 1]) /
                                          (a->at[i] - a->at[i - 1]);
    }
    return 10 * a->score[a->points - 1];
}

static int64_t fit_of(const struct args *a, int64_t capacity, int64_t requested)
{
    bool over = requested > capacity;
    if (a->strategy == LEAST)
        return over ? 0 : (capacity - requested) * 100 / capacity;
    if (a->strategy == MOST)
        return over ? 100 : requested * 100 / capacity;
    return curve(a, over ? 100 : requested * 100 / capacity);
}

static int64_t fit_score(const struct world *w, const struct template *t, int node)
{
    const struct args *a = &w->args;
    int64_t sum = 0, weights = 0;
    for (int i = 0; i < (a->n ? a->n : 2); i++) {
        int r = a->n ? a->resource[i] : i, weight = a->n ? a->weights[i] : 1;
        int64_t more = want(t, r, nonzero(r)), capacity = has(&w->nodes[node], r);
        if (capacity == 0 || (more == 0 && is_scalar(r)))
            continue;
        int64_t one = fit_of(a, capacity, used(w, node, r, nonzero(r)) + more);
        if (a->strategy == RATIO && one <= 0)
            continue;
        sum += one * weight;
        weights += weight;
    }
    if (weights == 0)
        return 0;
    return a->strategy == RATIO ? (int64_t)round((double)sum / (double)weights) : sum / weights;
}

/* -1: pods that request nothing of what is to be balanced are not scored. */
static int64_t balanced_score(const struct world *w, const struct template *t, int node)
{
    const struct args *a = &w->args;
    double shares[4], mean = 0, squares = 0;
    int n = 0;
    bool any = false;
    for (int i = 0; i < (a->balanced_n ? a->balanced_n : 2); i++) {
        int r = a->balanced_n ? a->balanced[i] : i;
        int64_t more = want(t, r, 0), capacity = has(&w->nodes[node], r);
        any |= more != 0;
        if (capacity == 0 || (more == 0 && is_scalar(r)))
            continue;
        double share = (double)(used(w, node, r, 0) + more) / (double)capacity;
        shares[n++] = share > 1 ? 1 : share;
    }
    if (!any)
        return -1;
    if (n < 2)
        return 100;
    if (n == 2)
        return (int64_t)((1 - fabs((shares[0] - shares[1]) / 2)) * 100);
    for (int i = 0; i < n; i++)
        mean += shares[i];
    mean /= n;
    for (int i = 0; i < n; i++)
        squares += (shares[i] - mean) * (shares[i] - mean);
    return (int64_t)((1 - sqrt(squares / n)) * 100);
}

static int64_t image_score(const struct world *w, const struct template *t, int node)
{
    const int64_t mebi = 1 << 20;
    int64_t sum = 0, count = t->containers + t->init, nodes = 0;
    for (int i = 0; i < NODES; i++)
        nodes += w->nodes[i].there;
    for (int i = 0; i < 3; i++) {
        int image = t->image[i], holders = 0;
        if ((i >= t->containers && !(i == 2 && t->init)) || image < 0 ||
            !(w->nodes[node].images & (1 << image)))
            continue;
        for (int k = 0; k < NODES; k++)
            holders += w->nodes[k].there && (w->nodes[k].images & (1 << image));
        sum += (int64_t)((double)w->bytes[image] * ((double)holders / (double)nodes));
    }
    if (sum < 23 * mebi)
        return 0;
    sum = sum > 1000 * mebi * count ? 1000 * mebi * count : sum;
    return 100 * (sum - 23 * mebi) / (1000 * mebi * count - 23 * mebi);
}

static bool holds(const struct need *r, const struct node *n)
{
    int value = n->label[r->label];
    bool in = value >= 0 && (r->values & (1 << value));
    switch (r->op) {
    case IN:
        return in;
    case NOT_IN:
        return !in;
    case EXISTS:
        return value >= 0;
    case DOES_NOT_EXIST:
        return value < 0;
    case GREATER:
        return value >= 0 && value > r->values % 3;
    default:
        return value >= 0 && value < r->values % 3;
    }
}

static bool means(const struct world *w, const struct term *t, int node)
{
    if ((t->n == 0 && t->nodes == 0) || (t->nodes && !(t->nodes & (1 << node))))
        return false;
    for (int i = 0; i < t->n; i++)
        if (!holds(&t->all[i], &w->nodes[node]))
            return false;
    return true;
}

static bool means_any(const struct world *w, const struct term *terms, int n, int node)
{
    for (int i = 0; i < n; i++)
        if (means(w, &terms[i], node))
            return true;
    return n == 0;
}

static const char *affinity_says(const struct world *w, const struct template *t, int node)
{
    int named = 0;
    bool all = t->required_n > 0;
    for (int i = 0; i < t->required_n; i++) {
        all &= t->required[i].nodes != 0;
        named |= t->required[i].nodes;
    }
    if (all && !(named & (1 << node)))
        return "node(s) didn't satisfy plugin(s) [NodeAffinity]";
    if (!means_any(w, w->args.required, w->args.required_n, node))
        return "node(s) didn't match scheduler-enforced node affinity";
    if ((t->selector >= 0 && w->nodes[node].label[0] != t->selector) ||
        !means_any(w, t->required, t->required_n, node))
        return "node(s) didn't match Pod's node affinity/selector";
    return NULL;
}

static int64_t affinity_raw(const struct world *w, const struct template *t, int node)
{
    int64_t sum = 0;
    for (int i = 0; i < t->preferred_n; i++)
        sum += means(w, &t->preferred[i], node) ? t->preferred[i].weight : 0;
    for (int i = 0; i < w->args.preferred_n; i++)
        sum += means(w, &w->args.preferred[i], node) ? w->args.preferred[i].weight : 0;
    return sum;
}

/* ---- comparing ---- */

struct said {
    const char *affinity[NODES]; /* NULL: fits */
    int lacks[NODES];
    bool fits[NODES];
    int64_t fit[NODES], balanced[NODES], image[NODES], near[NODES], total[NODES], best;
};

static struct said reference(const struct world *w, const struct template *t)
{
    struct said s = {.best = -1};
    int64_t max = 0;
    for (int i = 0; i < NODES; i++) {
        s.affinity[i] = affinity_says(w, t, i);
        s.lacks[i] = lacks(w, t, i);
        s.fits[i] = w->nodes[i].there && s.affinity[i] == NULL && s.lacks[i] == 0;
        s.near[i] = affinity_raw(w, t, i);
        max = s.fits[i] && s.near[i] > max ? s.near[i] : max;
    }
    for (int i = 0; i < NODES; i++) {
        if (!s.fits[i])
            continue;
        s.fit[i] = w->args.weight * fit_score(w, t, i);
        s.balanced[i] = balanced_score(w, t, i);
        s.image[i] = image_score(w, t, i);
        s.near[i] = max ? 2 * (100 * s.near[i] / max) : 0;
        s.total[i] = s.fit[i] + (s.balanced[i] < 0 ? 0 : s.balanced[i]) + s.image[i] + s.near[i];
        s.best = s.total[i] > s.best ? s.total[i] : s.best;
    }
    return s;
}

/* Reasons in any order: the set of what is lacking by what the core says. */
static int lacks_said(kb_val reasons)
{
    int set = 0;
    for (struct kb_iter it = kb_iter(reasons); kb_iter_next(&it);) {
        for (int r = 0; r < NAMES; r++) {
            char text[64];
            snprintf(text, sizeof(text), "Insufficient %s", scores_names[r]);
            if (kb_str_is(kb_val_str(it.val), r == POD_COUNT ? "Too many pods" : text))
                set |= 1 << r;
        }
    }
    return set;
}

static void compare_node(const struct said *s, int i, kb_val says)
{
    kb_val scores = kb_val_get(says, "scores"), reasons = kb_val_get(says, "reasons");
    kb_str by = kb_val_str(kb_val_get(says, "refusedBy"));
    KB_CHECK_I64(s->fits[i], ==, by.n == 0);
    if (s->affinity[i]) {
        KB_CHECK(kb_str_is(by, "NodeAffinity"));
        KB_CHECK(kb_str_is(kb_val_str(kb_val_index(reasons, 0)), s->affinity[i]));
    } else if (s->lacks[i]) {
        KB_CHECK(kb_str_is(by, "NodeResourcesFit"));
        KB_CHECK_I64(lacks_said(reasons), ==, s->lacks[i]);
    } else {
        KB_CHECK_I64(kb_val_int(kb_val_get(scores, "NodeResourcesFit"), -1), ==, s->fit[i]);
        KB_CHECK_I64(kb_val_int(kb_val_get(scores, "NodeResourcesBalancedAllocation"), -1), ==,
                     s->balanced[i]);
        KB_CHECK_I64(kb_val_int(kb_val_get(scores, "ImageLocality"), 0), ==, s->image[i]);
        KB_CHECK_I64(kb_val_int(kb_val_get(scores, "NodeAffinity"), 0), ==, s->near[i]);
        KB_CHECK_I64(kb_val_int(kb_val_get(says, "total"), -1), ==, s->total[i]);
    }
}

static void compare(const struct world *w, struct kb_subject *s, const struct template *t)
{
    struct said want = reference(w, t);
    int known, there = 0, chosen = kb_subject_decide(s, t->json);
    kb_val of[NODES];
    KB_CHECK_I64(chosen >= 0, ==, want.best >= 0);
    if (chosen >= 0 && want.best >= 0) {
        KB_CHECK(want.fits[chosen]);
        KB_CHECK_I64(want.total[chosen], ==, want.best);
    }
    KB_AUTO(kb_doc_destroy) struct kb_doc *doc = kb_subject_explain(s, t->json, of, NODES, &known);
    for (int i = 0; i < NODES; i++) {
        there += w->nodes[i].there;
        if (kb_val_present(of[i]))
            compare_node(&want, i, of[i]);
    }
    KB_CHECK_I64(known, ==, there);
}

/* ---- events ---- */

static void tell_node(const struct world *w, struct kb_subject *s, int i)
{
    KB_AUTO(kb_buf_finish) struct kb_buf b = {0};
    scores_node_json(&b, w, &w->nodes[i]);
    kb_subject_node(s, i, w->nodes[i].there ? b.p : NULL);
}

static void put_pod(const struct world *w, struct kb_subject *s, int i)
{
    const struct pod *p = &w->pods[i];
    kb_subject_put(s, i, p->node, w->templates[p->template].json, 0);
}

static void step_pod(struct world *w, struct kb_subject *s)
{
    int i = scores_pick(w, PODS), chosen = -1;
    struct pod *p = &w->pods[i];
    p->there = !p->there;
    if (!p->there) {
        kb_subject_lift(s, i);
        return;
    }
    p->template = scores_pick(w, TEMPLATES);
    p->node = scores_pick(w, NODES);
    if (scores_pick(w, 4))
        chosen = kb_subject_decide(s, w->templates[p->template].json);
    p->node = chosen >= 0 ? chosen : p->node;
    put_pod(w, s, i);
}

static void step(struct world *w, struct kb_subject *s)
{
    int i = scores_pick(w, NODES);
    if (scores_pick(w, 5)) {
        step_pod(w, s);
        return;
    }
    scores_random_node(w, &w->nodes[i]);
    w->nodes[i].there = scores_pick(w, 4) > 0;
    tell_node(w, s, i);
}

static struct kb_subject new_subject(const struct world *w, uint64_t seed)
{
    KB_AUTO(kb_buf_finish) struct kb_buf fit = {0};
    KB_AUTO(kb_buf_finish) struct kb_buf balanced = {0};
    KB_AUTO(kb_buf_finish) struct kb_buf added = {0};
    scores_fit_json(&fit, &w->args);
    scores_balanced_json(&balanced, &w->args);
    kb_buf_puts(&added, "{'addedAffinity': ");
    scores_affinity_json(&added, w->args.required, w->args.required_n, w->args.preferred,
                         w->args.preferred_n);
    kb_buf_puts(&added, "}");
    struct kb_buf *texts[] = {&fit, &balanced, &added};
    for (size_t i = 0; i < KB_COUNT(texts); i++)
        for (char *c = texts[i]->p; *c; c++)
            *c = *c == '\'' ? '"' : *c;
    const struct kb_profile_entry entries[] = {
        {.policy = kb_policy_builtin("PrioritySort")},
        {.policy = kb_policy_builtin("NodeAffinity"), .args = added.p},
        {.policy = kb_policy_builtin("NodeResourcesFit"), .args = fit.p, .weight = w->args.weight},
        {.policy = kb_policy_builtin("NodeResourcesBalancedAllocation"), .args = balanced.p},
        {.policy = kb_policy_builtin("ImageLocality")},
    };
    return kb_subject_new(seed, entries, KB_COUNT(entries), PODS);
}

static void compare_rebuilt(const struct world *w)
{
    KB_AUTO(kb_subject_finish) struct kb_subject fresh = new_subject(w, 1);
    for (int i = PODS - 1; i >= 0; i--)
        if (w->pods[i].there)
            put_pod(w, &fresh, i);
    for (int i = NODES - 1; i >= 0; i--)
        if (w->nodes[i].there)
            tell_node(w, &fresh, i);
    for (int i = 0; i < TEMPLATES; i++)
        compare(w, &fresh, &w->templates[i]);
}

static void one_world(uint64_t seed)
{
    struct world *w = calloc(1, sizeof(*w));
    kb_rand_init(&w->rand, seed);
    scores_random_args(w, &w->args);
    for (int i = 0; i < IMAGES; i++)
        w->bytes[i] = ((int64_t)scores_pick(w, 1500) << 20) + scores_pick(w, 1 << 20);
    for (int i = 0; i < TEMPLATES; i++) {
        scores_random_template(w, &w->templates[i]);
        w->templates[i].json = scores_template_json(&w->templates[i]);
    }
    KB_AUTO(kb_subject_finish) struct kb_subject s = new_subject(w, seed);
    kb_core_plan_budget(s.core, seed % 2 ? 20000 : 1 << 20); /* with and without dropping plans */
    for (int i = 0; i < NODES; i++) {
        scores_random_node(w, &w->nodes[i]);
        tell_node(w, &s, i);
    }
    for (int i = 0; i < STEPS; i++) {
        step(w, &s);
        compare(w, &s, &w->templates[scores_pick(w, TEMPLATES)]);
        if (i % 75 == 74)
            compare_rebuilt(w);
    }
    for (int i = 0; i < TEMPLATES; i++)
        free(w->templates[i].json);
    free(w);
}

KB_TEST(scores_property, says_what_the_reference_says)
{
    uint64_t seed = kb_test_seed();
    for (uint64_t i = 0; i < WORLDS; i++)
        one_world(seed * 1000003 + i);
}
