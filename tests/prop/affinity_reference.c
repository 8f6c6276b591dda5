#include "tests/prop/affinity_reference.h"

#include <math.h>

/* ---- affinity ---- */

static bool holds(const struct sel *s, const int label[LABELS])
{
    for (int i = 0; i < s->n; i++) {
        int value = label[s->all[i].label];
        bool in = value >= 0 && (s->all[i].values & (1 << value));
        if (s->all[i].op == 0 ? !in : s->all[i].op == 1 ? in : (value >= 0) != (s->all[i].op == 2))
            return false;
    }
    return !s->none;
}

/* Does the term, stated by a pod of template `of`, mean a pod of template `t`? */
static bool means(const struct world *w, const struct template *of, const struct term *term,
                  const struct template *t)
{
    bool named = term->spaces & (1 << t->space);
    bool liked = !term->like.none &&
                 (term->like.n == 0 ||
                  (w->spaces[t->space].there && holds(&term->like, w->spaces[t->space].label)));
    bool own = term->spaces == 0 && term->like.none && t->space == of->space;
    if ((!named && !liked && !own) || !holds(&term->labels, t->label))
        return false;
    int m = term->match, n = term->mismatch;
    return (m < 0 || of->label[m] < 0 || t->label[m] == of->label[m]) &&
           (n < 0 || of->label[n] < 0 || t->label[n] != of->label[n]);
}

static bool same_domain(const struct world *w, int key, int a, int b)
{
    return w->nodes[a].there && w->nodes[b].there && w->nodes[a].value[key] >= 0 &&
           w->nodes[a].value[key] == w->nodes[b].value[key];
}

/* for each pod on a node that is there */
#define EACH_POD(w, p, t)                                                                          \
    for (const struct pod *p = (w)->pods; p < (w)->pods + PODS; p++)                               \
        for (const struct template *t = &(w)->templates[p->template];                              \
             t != NULL && p->there && (w)->nodes[p->node].there; t = NULL)

static bool means_by_all(const struct world *w, const struct template *t,
                         const struct template *other)
{
    for (int i = 0; i < t->near_n; i++)
        if (!means(w, t, &t->near[i], other))
            return false;
    return true;
}

static bool is_near(const struct world *w, const struct template *t, int node)
{
    bool all = true, anywhere = false;
    for (int i = 0; i < t->near_n; i++) {
        bool found = false;
        if (w->nodes[node].value[t->near[i].key] < 0)
            return false;
        EACH_POD(w, p, other)
        {
            bool counts = means_by_all(w, t, other);
            found |= counts && same_domain(w, t->near[i].key, node, p->node);
            anywhere |= counts && w->nodes[p->node].value[t->near[i].key] >= 0;
        }
        all &= found;
    }
    return all || (!anywhere && means_by_all(w, t, t));
}

static const char *affinity_says(const struct world *w, const struct template *t, int node)
{
    if (!is_near(w, t, node))
        return "InterPodAffinity: node(s) didn't match pod affinity rules";
    EACH_POD(w, p, other)
    for (int i = 0; i < t->far_n; i++)
        if (means(w, t, &t->far[i], other) && same_domain(w, t->far[i].key, node, p->node))
            return "InterPodAffinity: node(s) didn't match pod anti-affinity rules";
    EACH_POD(w, p, other)
    for (int i = 0; i < other->far_n; i++)
        if (means(w, other, &other->far[i], t) && same_domain(w, other->far[i].key, node, p->node))
            return "InterPodAffinity: node(s) didn't satisfy existing pods anti-affinity rules";
    return NULL;
}

/* The weights of those terms of a pod of template `of` that mean a pod of template `t`, when the
 * two are, or would be, on these nodes. */
static int64_t weigh(const struct world *w, const struct template *of, const struct term *terms,
                     int n, const struct template *t, int a, int b)
{
    int64_t sum = 0;
    for (int i = 0; i < n; i++)
        if (means(w, of, &terms[i], t) && same_domain(w, terms[i].key, a, b))
            sum += terms[i].weight;
    return sum;
}

static int64_t affinity_raw(const struct world *w, const struct template *t, int node)
{
    int64_t sum = 0;
    EACH_POD(w, p, o)
    {
        struct term hard[2] = {o->near[0], o->near[1]};
        hard[0].weight = hard[1].weight = w->hard_weight;
        sum += weigh(w, t, t->like, t->like_n, o, node, p->node);
        sum -= weigh(w, t, t->dislike, t->dislike_n, o, node, p->node);
        sum += weigh(w, o, hard, o->near_n, t, node, p->node);
        sum += weigh(w, o, o->like, o->like_n, t, node, p->node);
        sum -= weigh(w, o, o->dislike, o->dislike_n, t, node, p->node);
    }
    return sum;
}

/* ---- spreading ---- */

/* The constraints at work, hard or soft; those by default have what the services and the
 * ReplicaSet (which selects l0=v0) say as selectors. */
static int constraints(const struct world *w, const struct template *t, bool hard,
                       struct spread out[2], struct sel also[2][SERVICES + 1])
{
    int n = 0;
    for (int i = 0; i < t->spread_n; i++) {
        if (t->spread[i].hard != hard)
            continue;
        for (int k = 0; k <= SERVICES; k++)
            also[n][k] = (struct sel){0};
        out[n++] = t->spread[i];
    }
    if (t->spread_n > 0 || hard)
        return n;
    struct sel by[SERVICES + 1] = {{0}};
    bool any = t->owned;
    if (t->owned)
        by[SERVICES] = (struct sel){.n = 1, .all = {{0, 0, 1}}};
    for (int i = 0; i < SERVICES; i++) {
        const struct service *s = &w->services[t->space][i];
        struct sel of = {0};
        for (int l = 0; s->there && l < 2; l++)
            if (s->label[l] >= 0)
                of.all[of.n++] = (struct need){l, 0, 1 << s->label[l]};
        if (of.n == 0 || !holds(&of, t->label))
            continue;
        by[i] = of;
        any = true;
    }
    if (!any)
        return 0;
    out[0] = (struct spread){.key = HOST, .skew = 3, .match = -1};
    out[1] = (struct spread){.key = 0, .skew = 5, .match = -1};
    for (int k = 0; k <= SERVICES; k++)
        also[0][k] = also[1][k] = by[k];
    return 2;
}

static bool spread_means(const struct template *of, const struct spread *s,
                         const struct sel also[SERVICES + 1], const struct template *t)
{
    bool merged = s->match >= 0 && of->label[s->match] >= 0;
    struct sel labels = s->labels;
    labels.none &= !merged;
    for (int k = 0; k <= SERVICES; k++)
        if (!holds(&also[k], t->label))
            return false;
    return t->space == of->space && holds(&labels, t->label) &&
           (!merged || t->label[s->match] == of->label[s->match]);
}

static bool means_everything(const struct template *of, const struct spread *s,
                             const struct sel also[SERVICES + 1])
{
    bool any = s->labels.none || s->labels.n > 0 || (s->match >= 0 && of->label[s->match] >= 0);
    for (int k = 0; k <= SERVICES; k++)
        any |= also[k].n > 0;
    return !any;
}

static bool counts(const struct world *w, const struct template *t, const struct spread all[2],
                   int n, const struct spread *s, bool all_labels, int node)
{
    const struct node *is = &w->nodes[node];
    for (int i = 0; i < n && all_labels; i++)
        if (is->value[all[i].key] < 0)
            return false;
    return is->there && (s->ignore_affinity || t->zone < 0 || is->value[0] == t->zone) &&
           (!s->honor_taints || !is->tainted || t->tolerates);
}

static int pods_in(const struct world *w, const struct template *t, const struct spread all[2],
                   int n, int which, const struct sel also[SERVICES + 1], bool all_labels, int node)
{
    const struct spread *s = &all[which];
    int found = 0;
    if (means_everything(t, s, also))
        return 0;
    EACH_POD(w, p, other)
    found += !p->ending && same_domain(w, s->key, node, p->node) &&
             counts(w, t, all, n, s, all_labels, p->node) && spread_means(t, s, also, other);
    return found;
}

static const char *spread_says(const struct world *w, const struct template *t, int node)
{
    struct spread all[2];
    struct sel also[2][SERVICES + 1];
    int n = constraints(w, t, true, all, also);
    for (int i = 0; i < n; i++) {
        int least = INT32_MAX, domains = 0;
        if (w->nodes[node].value[all[i].key] < 0)
            return "PodTopologySpread: node(s) didn't match pod topology spread constraints "
                   "(missing required label)";
        for (int m = 0; m < NODES; m++) {
            bool first = counts(w, t, all, n, &all[i], true, m);
            for (int k = 0; k < m && first; k++)
                first =
                    !(counts(w, t, all, n, &all[i], true, k) && same_domain(w, all[i].key, k, m));
            if (!first)
                continue;
            int pods = pods_in(w, t, all, n, i, also[i], true, m);
            domains++;
            least = pods < least ? pods : least;
        }
        least = domains < all[i].min_domains ? 0 : least;
        int64_t after =
            pods_in(w, t, all, n, i, also[i], true, node) + spread_means(t, &all[i], also[i], t);
        if (after - least > all[i].skew)
            return "PodTopologySpread: node(s) didn't match pod topology spread constraints";
    }
    return NULL;
}

static bool rated(const struct world *w, const struct template *t, const struct spread all[2],
                  int n, int node)
{
    for (int i = 0; i < n && t->spread_n > 0; i++)
        if (w->nodes[node].value[all[i].key] < 0)
            return false;
    return true;
}

/* -1: not rated. */
static int64_t spread_raw(const struct world *w, const struct template *t, const bool fits[NODES],
                          int node)
{
    struct spread all[2];
    struct sel also[2][SERVICES + 1];
    int n = constraints(w, t, false, all, also);
    bool all_labels = t->spread_n > 0;
    double sum = 0;
    if (!rated(w, t, all, n, node))
        return -1;
    for (int i = 0; i < n; i++) {
        int size = 0, pods = 0;
        for (int m = 0; m < NODES; m++) {
            bool first = fits[m] && rated(w, t, all, n, m);
            for (int k = 0; k < m && first && all[i].key != HOST; k++)
                first = !(fits[k] && rated(w, t, all, n, k) &&
                          w->nodes[k].value[all[i].key] == w->nodes[m].value[all[i].key]);
            size += first;
        }
        if (w->nodes[node].value[all[i].key] < 0)
            continue;
        if (all[i].key != HOST) {
            pods = pods_in(w, t, all, n, i, also[i], all_labels, node);
        } else if (!means_everything(t, &all[i], also[i])) {
            EACH_POD(w, p, other)
            pods += !p->ending && p->node == node && spread_means(t, &all[i], also[i], other);
        }
        sum += pods * log(size + 2) + (all[i].skew - 1);
    }
    return (int64_t)round(sum);
}

/* ---- both ---- */

static const char *judge(const struct world *w, const struct template *t, int node)
{
    const struct node *n = &w->nodes[node];
    if (n->tainted && !t->tolerates)
        return "TaintToleration: node(s) had untolerated taint {t: }";
    if (t->zone >= 0 && n->value[0] != t->zone)
        return "NodeAffinity: node(s) didn't match Pod's node affinity/selector";
    const char *why = spread_says(w, t, node);
    return why ? why : affinity_says(w, t, node);
}

static void normalize_spread(const bool fits[NODES], int64_t raw[NODES])
{
    int64_t min = INT64_MAX, max = 0;
    for (int i = 0; i < NODES; i++) {
        if (!fits[i] || raw[i] < 0)
            continue;
        min = raw[i] < min ? raw[i] : min;
        max = raw[i] > max ? raw[i] : max;
    }
    for (int i = 0; i < NODES; i++)
        raw[i] = raw[i] < 0 ? 0 : max == 0 ? 100 : 100 * (max + min - raw[i]) / max;
}

static void normalize_affinity(const bool fits[NODES], int64_t raw[NODES])
{
    int64_t min = INT64_MAX, max = INT64_MIN;
    for (int i = 0; i < NODES; i++) {
        min = fits[i] && raw[i] < min ? raw[i] : min;
        max = fits[i] && raw[i] > max ? raw[i] : max;
    }
    for (int i = 0; i < NODES; i++)
        raw[i] = max > min ? (int64_t)(100 * ((double)(raw[i] - min) / (double)(max - min))) : 0;
}

struct affinity_said affinity_reference(const struct world *w, const struct template *t)
{
    struct affinity_said s = {0};
    bool fits[NODES];
    struct spread all[2];
    struct sel also[2][SERVICES + 1];
    s.spreads = constraints(w, t, false, all, also) > 0;
    for (int i = 0; i < NODES; i++) {
        s.why[i] = w->nodes[i].there ? judge(w, t, i) : "absent";
        fits[i] = s.why[i] == NULL;
    }
    for (int i = 0; i < NODES; i++) {
        s.spread[i] = fits[i] ? spread_raw(w, t, fits, i) : 0;
        s.affinity[i] = fits[i] ? affinity_raw(w, t, i) : 0;
    }
    normalize_spread(fits, s.spread);
    normalize_affinity(fits, s.affinity);
    return s;
}
