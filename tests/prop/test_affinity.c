/* InterPodAffinity and PodTopologySpread against a slow, obvious reference on random clusters. The
 * reference keeps nodes, pods and namespaces as plain structs and judges each node by loops over
 * all pods and terms, as the rules are written down; the core gets the same things as objects, one
 * event at a time. Verdicts and scores must be equal for every node after every step, and those of
 * a core that is built afresh from what is left. */
#include "tests/lib/policy.h"
#include "tests/lib/test.h"

#include "bus/base/rand.h"

#include <math.h>
#include <stdlib.h>

enum { NODES = 14, PODS = 60, TEMPLATES = 14, SPACES = 3, SERVICES = 2, STEPS = 900 };
enum { LABELS = 3, VALUES = 3, KEYS = 3, HOST = 1 };

static const char *const keys[KEYS] = {"topology.kubernetes.io/zone", "kubernetes.io/hostname",
                                       "rack"};

struct need {
    int label, op, values; /* op: In, NotIn, Exists, DoesNotExist; values: a set */
};

struct sel {
    bool none;
    int n;
    struct need all[2];
};

struct term {
    struct sel labels, like;
    int spaces; /* a set */
    int key, weight, match, mismatch;
};

struct spread {
    struct sel labels;
    int key, skew, min_domains, match;
    bool hard, ignore_affinity, honor_taints;
};

struct template
{
    int space, label[LABELS]; /* -1: none */
    int near_n, far_n, like_n, dislike_n, spread_n;
    struct term near[2], far[2], like[2], dislike[2];
    struct spread spread[2];
    int zone; /* node selector, -1: none */
    bool tolerates, owned;
    char *json, *ending_json;
};

struct node {
    bool there, tainted;
    int value[KEYS]; /* -1: none */
};

struct pod {
    bool there, ending;
    int template, node;
    struct kb_core_pod in_core;
};

struct space {
    bool there;
    int label[LABELS];
};

struct service {
    bool there;
    int label[LABELS];
};

struct world {
    struct kb_rand rand;
    int hard_weight;
    struct node nodes[NODES];
    struct template templates[TEMPLATES];
    struct pod pods[PODS];
    struct space spaces[SPACES];
    struct service services[SPACES][SERVICES];
};

static int pick(struct world *w, int n)
{
    return (int)kb_rand_below(&w->rand, (uint64_t)n);
}

static int maybe(struct world *w, int n)
{
    return pick(w, n + 1) - 1;
}

/* ---- making ---- */

static struct sel random_sel(struct world *w, int none_in)
{
    struct sel s = {.none = none_in && pick(w, none_in) == 0};
    s.n = s.none ? 0 : pick(w, 8) ? 1 : pick(w, 3);
    for (int i = 0; i < 2; i++)
        s.all[i] = (struct need){pick(w, LABELS), pick(w, 6), 1 + pick(w, 7)};
    for (int i = 0; i < 2; i++)
        s.all[i].op = s.all[i].op > 3 ? 0 : s.all[i].op;
    return s;
}

static struct term random_term(struct world *w)
{
    struct term t = {.labels = random_sel(w, 12), .like = random_sel(w, 1)};
    t.key = pick(w, KEYS);
    t.weight = 1 + pick(w, 100);
    t.match = pick(w, 4) ? -1 : pick(w, LABELS);
    t.mismatch = pick(w, 5) ? -1 : pick(w, LABELS);
    if (pick(w, 3) == 0) {
        t.spaces = pick(w, 1 << SPACES);
        t.like = random_sel(w, 2);
    }
    return t;
}

static void random_template(struct world *w, struct template *t)
{
    *t = (struct template){.space = pick(w, SPACES), .zone = maybe(w, 3)};
    t->zone = pick(w, 3) ? -1 : t->zone;
    t->tolerates = pick(w, 2);
    t->owned = pick(w, 2);
    for (int i = 0; i < LABELS; i++)
        t->label[i] = maybe(w, VALUES);
    bool plain = pick(w, 4) == 0;
    t->near_n = plain || pick(w, 3) ? 0 : 1 + pick(w, 2);
    t->far_n = plain || pick(w, 3) ? 0 : 1 + pick(w, 2);
    t->like_n = plain || pick(w, 3) ? 0 : 1 + pick(w, 2);
    t->dislike_n = plain || pick(w, 3) ? 0 : 1 + pick(w, 2);
    t->spread_n = plain || pick(w, 2) ? 0 : 1 + pick(w, 2);
    for (int i = 0; i < 2; i++) {
        t->near[i] = random_term(w);
        t->far[i] = random_term(w);
        t->like[i] = random_term(w);
        t->dislike[i] = random_term(w);
        t->spread[i] = (struct spread){.labels = random_sel(w, 12),
                                       .key = pick(w, KEYS),
                                       .skew = 1 + pick(w, 3),
                                       .min_domains = pick(w, 3) ? 1 : 1 + pick(w, 4),
                                       .match = pick(w, 4) ? -1 : pick(w, LABELS),
                                       .hard = pick(w, 2),
                                       .ignore_affinity = pick(w, 3) == 0,
                                       .honor_taints = pick(w, 3) == 0};
    }
    if (t->spread[0].key == t->spread[1].key) /* {topologyKey, whenUnsatisfiable} is unique */
        t->spread[1].hard = !t->spread[0].hard;
}

/* ---- as objects ---- */

static void sel_json(struct kb_buf *b, const char *name, const struct sel *s)
{
    static const char *const ops[] = {"In", "NotIn", "Exists", "DoesNotExist"};
    if (s->none)
        return;
    kb_buf_printf(b, ", '%s': {'matchExpressions': [", name);
    for (int i = 0; i < s->n; i++) {
        const struct need *r = &s->all[i];
        kb_buf_printf(b, "%s{'key': 'l%d', 'operator': '%s', 'values': [", i ? "," : "", r->label,
                      ops[r->op]);
        for (int v = 0, n = 0; v < VALUES && r->op < 2; v++)
            if (r->values & (1 << v))
                kb_buf_printf(b, "%s'v%d'", n++ ? "," : "", v);
        kb_buf_puts(b, "]}");
    }
    kb_buf_puts(b, "]}");
}

static void labels_json(struct kb_buf *b, const int label[LABELS])
{
    for (int i = 0, n = 0; i < LABELS; i++)
        if (label[i] >= 0)
            kb_buf_printf(b, "%s'l%d': 'v%d'", n++ ? ", " : "", i, label[i]);
}

static void term_json(struct kb_buf *b, const struct term *t)
{
    kb_buf_printf(b, "{'topologyKey': '%s'", keys[t->key]);
    sel_json(b, "labelSelector", &t->labels);
    sel_json(b, "namespaceSelector", &t->like);
    if (t->spaces) {
        kb_buf_puts(b, ", 'namespaces': [");
        for (int i = 0, n = 0; i < SPACES; i++)
            if (t->spaces & (1 << i))
                kb_buf_printf(b, "%s's%d'", n++ ? "," : "", i);
        kb_buf_puts(b, "]");
    }
    if (t->match >= 0)
        kb_buf_printf(b, ", 'matchLabelKeys': ['l%d']", t->match);
    if (t->mismatch >= 0)
        kb_buf_printf(b, ", 'mismatchLabelKeys': ['l%d']", t->mismatch);
    kb_buf_puts(b, "}");
}

static void affinity_json(struct kb_buf *b, const char *name, const struct term *hard, int hard_n,
                          const struct term *soft, int soft_n)
{
    kb_buf_printf(b, "'%s': {'requiredDuringSchedulingIgnoredDuringExecution': [", name);
    for (int i = 0; i < hard_n; i++) {
        kb_buf_puts(b, i ? "," : "");
        term_json(b, &hard[i]);
    }
    kb_buf_puts(b, "], 'preferredDuringSchedulingIgnoredDuringExecution': [");
    for (int i = 0; i < soft_n; i++) {
        kb_buf_printf(b, "%s{'weight': %d, 'podAffinityTerm': ", i ? "," : "", soft[i].weight);
        term_json(b, &soft[i]);
        kb_buf_puts(b, "}");
    }
    kb_buf_puts(b, "]}");
}

static void spread_json(struct kb_buf *b, const struct spread *s)
{
    kb_buf_printf(b, "{'topologyKey': '%s', 'maxSkew': %d, 'whenUnsatisfiable': '%s'", keys[s->key],
                  s->skew, s->hard ? "DoNotSchedule" : "ScheduleAnyway");
    sel_json(b, "labelSelector", &s->labels);
    if (s->min_domains > 1)
        kb_buf_printf(b, ", 'minDomains': %d", s->min_domains);
    if (s->match >= 0)
        kb_buf_printf(b, ", 'matchLabelKeys': ['l%d']", s->match);
    if (s->ignore_affinity)
        kb_buf_puts(b, ", 'nodeAffinityPolicy': 'Ignore'");
    if (s->honor_taints)
        kb_buf_puts(b, ", 'nodeTaintsPolicy': 'Honor'");
    kb_buf_puts(b, "}");
}

static char *template_json(const struct template *t, bool ending)
{
    struct kb_buf b = {0};
    kb_buf_printf(&b, "{'metadata': {'namespace': 's%d'%s, 'labels': {", t->space,
                  ending ? ", 'deletionTimestamp': '2025-01-01T00:00:00Z'" : "");
    labels_json(&b, t->label);
    kb_buf_puts(&b, "}");
    if (t->owned)
        kb_buf_puts(&b, ", 'ownerReferences': [{'controller': true, 'apiVersion': 'apps/v1', "
                        "'kind': 'ReplicaSet', 'name': 'rs'}]");
    kb_buf_puts(&b, "}, 'spec': {'containers': [{}], ");
    if (t->zone >= 0)
        kb_buf_printf(&b, "'nodeSelector': {'%s': 'v%d'}, ", keys[0], t->zone);
    if (t->tolerates)
        kb_buf_puts(&b, "'tolerations': [{'operator': 'Exists'}], ");
    kb_buf_puts(&b, "'affinity': {");
    affinity_json(&b, "podAffinity", t->near, t->near_n, t->like, t->like_n);
    kb_buf_puts(&b, ", ");
    affinity_json(&b, "podAntiAffinity", t->far, t->far_n, t->dislike, t->dislike_n);
    kb_buf_puts(&b, "}, 'topologySpreadConstraints': [");
    for (int i = 0; i < t->spread_n; i++) {
        kb_buf_puts(&b, i ? "," : "");
        spread_json(&b, &t->spread[i]);
    }
    kb_buf_puts(&b, "]}}");
    char *text = kb_test_keep(kb_str_dup(kb_buf_str(&b)));
    kb_buf_finish(&b);
    return text;
}

/* ---- the reference ---- */

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

static int64_t affinity_raw(const struct world *w, const struct template *t, int node)
{
    int64_t sum = 0;
    EACH_POD(w, p, o)
    {
        for (int i = 0; i < t->like_n; i++)
            sum += means(w, t, &t->like[i], o) && same_domain(w, t->like[i].key, node, p->node)
                       ? t->like[i].weight
                       : 0;
        for (int i = 0; i < t->dislike_n; i++)
            sum -=
                means(w, t, &t->dislike[i], o) && same_domain(w, t->dislike[i].key, node, p->node)
                    ? t->dislike[i].weight
                    : 0;
        for (int i = 0; i < o->near_n; i++)
            sum += means(w, o, &o->near[i], t) && same_domain(w, o->near[i].key, node, p->node)
                       ? w->hard_weight
                       : 0;
        for (int i = 0; i < o->like_n; i++)
            sum += means(w, o, &o->like[i], t) && same_domain(w, o->like[i].key, node, p->node)
                       ? o->like[i].weight
                       : 0;
        for (int i = 0; i < o->dislike_n; i++)
            sum -=
                means(w, o, &o->dislike[i], t) && same_domain(w, o->dislike[i].key, node, p->node)
                    ? o->dislike[i].weight
                    : 0;
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

/* ---- comparing ---- */

struct said {
    const char *why[NODES]; /* NULL: fits */
    int64_t spread[NODES], affinity[NODES];
};

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

static void normalize_spread(const struct world *w, const bool fits[NODES], int64_t raw[NODES])
{
    int64_t min = INT64_MAX, max = 0;
    (void)w;
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

static struct said reference(const struct world *w, const struct template *t)
{
    struct said s = {{0}, {0}, {0}};
    bool fits[NODES];
    for (int i = 0; i < NODES; i++) {
        s.why[i] = w->nodes[i].there ? judge(w, t, i) : "absent";
        fits[i] = s.why[i] == NULL;
    }
    for (int i = 0; i < NODES; i++) {
        s.spread[i] = fits[i] ? spread_raw(w, t, fits, i) : 0;
        s.affinity[i] = fits[i] ? affinity_raw(w, t, i) : 0;
    }
    normalize_spread(w, fits, s.spread);
    normalize_affinity(fits, s.affinity);
    return s;
}

static struct kb_podspec *spec_of(struct kb_core *core, const char *json)
{
    KB_AUTO(kb_doc_destroy) struct kb_doc *doc = kb_ptest_json(json);
    return kb_core_spec(core, kb_doc_root(doc), 0, false);
}

static void compare(struct world *w, struct kb_core *core, const struct template *t)
{
    struct kb_w writer = {0};
    struct kb_podspec *spec = spec_of(core, t->json);
    struct said want = reference(w, t);
    struct spread all[2];
    struct sel also[2][SERVICES + 1];
    kb_core_explain(core, spec, &writer);
    kb_core_spec_release(core, &spec);
    KB_AUTO(kb_doc_destroy) struct kb_doc *doc = kb_w_doc(&writer);
    kb_w_finish(&writer);
    bool spreads = constraints(w, t, false, all, also) > 0;
    for (struct kb_iter it = kb_iter(kb_doc_at(doc, "nodes")); kb_iter_next(&it);) {
        int i = atoi(kb_val_str(kb_val_get(it.val, "name")).p + 1);
        char said[200] = "";
        kb_str by = kb_val_str(kb_val_get(it.val, "refusedBy"));
        kb_str reason = kb_val_str(kb_val_index(kb_val_get(it.val, "reasons"), 0));
        if (by.n > 0)
            snprintf(said, sizeof(said), KB_STR_FMT ": " KB_STR_FMT, KB_STR_ARG(by),
                     KB_STR_ARG(reason));
        KB_CHECK_STR(said, want.why[i] ? want.why[i] : "");
        if (want.why[i])
            continue;
        kb_val scores = kb_val_get(it.val, "scores");
        KB_CHECK_I64(kb_val_int(kb_val_get(scores, "InterPodAffinity"), 0), ==,
                     2 * want.affinity[i]);
        if (spreads)
            KB_CHECK_I64(kb_val_int(kb_val_get(scores, "PodTopologySpread"), -1), ==,
                         2 * want.spread[i]);
        else
            KB_CHECK(!kb_val_present(kb_val_get(scores, "PodTopologySpread")));
    }
}

/* ---- events ---- */

static void tell_node(struct world *w, struct kb_core *core, int i)
{
    const struct node *n = &w->nodes[i];
    KB_AUTO(kb_buf_finish) struct kb_buf b = {0};
    char name[16];
    snprintf(name, sizeof(name), "n%d", i);
    if (!n->there) {
        kb_core_node_del(core, kb_str_of(name));
        return;
    }
    kb_buf_puts(&b, "{'metadata': {'labels': {'a': 'b'");
    for (int k = 0; k < KEYS; k++)
        if (n->value[k] >= 0)
            kb_buf_printf(&b, ", '%s': '%s%d'", keys[k], k == HOST ? "h" : "v", n->value[k]);
    kb_buf_printf(&b, "}}, 'spec': {'taints': [%s]}}",
                  n->tainted ? "{'key': 't', 'effect': 'NoSchedule'}" : "");
    KB_AUTO(kb_doc_destroy) struct kb_doc *doc = kb_ptest_json(b.p);
    kb_core_node_put(core, kb_str_of(name), kb_doc_root(doc));
}

static void tell_object(struct kb_core *core, const char *resource, int space, const char *name,
                        const char *before, const int label[LABELS], const char *after)
{
    KB_AUTO(kb_buf_finish) struct kb_buf b = {0};
    KB_AUTO(kb_doc_destroy) struct kb_doc *doc = NULL;
    char ns[16];
    snprintf(ns, sizeof(ns), "s%d", space);
    if (label != NULL) {
        kb_buf_puts(&b, before);
        labels_json(&b, label);
        kb_buf_puts(&b, after);
        doc = kb_ptest_json(b.p);
    }
    kb_core_object_put(core, kb_str_of(resource), kb_str_of(name ? ns : ""),
                       kb_str_of(name ? name : ns), kb_doc_root(doc));
}

static void tell_space(struct world *w, struct kb_core *core, int i)
{
    tell_object(core, "namespaces", i, NULL, "{'metadata': {'labels': {",
                w->spaces[i].there ? w->spaces[i].label : NULL, "}}}");
}

static void tell_service(struct world *w, struct kb_core *core, int space, int i)
{
    const struct service *s = &w->services[space][i];
    tell_object(core, "services", space, i ? "b" : "a", "{'spec': {'selector': {",
                s->there ? s->label : NULL, "}}}");
}

static void put_pod(struct world *w, struct kb_core *core, struct pod *p)
{
    const struct template *t = &w->templates[p->template];
    char name[16];
    snprintf(name, sizeof(name), "n%d", p->node);
    struct kb_podspec *spec = spec_of(core, p->ending ? t->ending_json : t->json);
    kb_core_place(core, &p->in_core, spec, kb_core_slot(core, kb_str_of(name)), 0);
    kb_core_spec_release(core, &spec);
}

static void step_node(struct world *w, struct kb_core *core)
{
    int i = pick(w, NODES);
    struct node *n = &w->nodes[i];
    n->there = !n->there || pick(w, 3) > 0;
    n->tainted = pick(w, 4) == 0;
    n->value[0] = pick(w, 8) ? pick(w, 3) : -1;
    n->value[1] = pick(w, 8) ? i : -1;
    n->value[2] = maybe(w, 4);
    tell_node(w, core, i);
}

static void step_pod(struct world *w, struct kb_core *core)
{
    struct pod *p = &w->pods[pick(w, PODS)];
    if (p->there && pick(w, 3) == 0 && !p->ending) {
        kb_core_lift(core, &p->in_core);
        p->ending = true;
        put_pod(w, core, p);
        return;
    }
    if (p->there) {
        kb_core_lift(core, &p->in_core);
        p->there = false;
        return;
    }
    p->there = true;
    p->ending = false;
    p->template = pick(w, TEMPLATES);
    p->node = pick(w, NODES);
    uint32_t slot;
    struct kb_podspec *spec = spec_of(core, w->templates[p->template].json);
    if (pick(w, 3) && kb_core_decide(core, spec, &slot))
        p->node = atoi(kb_core_node_name(core, slot) + 1);
    kb_core_spec_release(core, &spec);
    put_pod(w, core, p);
}

static void step(struct world *w, struct kb_core *core)
{
    int i = pick(w, SPACES), k = pick(w, SERVICES), what = pick(w, 20);
    if (what == 0) {
        w->spaces[i].there = pick(w, 5) > 0;
        for (int l = 0; l < LABELS; l++)
            w->spaces[i].label[l] = maybe(w, VALUES);
        tell_space(w, core, i);
    } else if (what == 1) {
        w->services[i][k].there = pick(w, 3) > 0;
        for (int l = 0; l < LABELS; l++)
            w->services[i][k].label[l] = l < 2 ? maybe(w, 2) : -1;
        tell_service(w, core, i, k);
    } else if (what < 4) {
        step_node(w, core);
    } else {
        step_pod(w, core);
    }
}

static struct kb_core *new_core(struct world *w, uint64_t seed)
{
    struct kb_core *core = kb_sched_core_new(seed);
    struct kb_err err = {0};
    uint32_t profile;
    char args[64];
    static const int everything[LABELS] = {0, -1, -1};
    snprintf(args, sizeof(args), "{\"hardPodAffinityWeight\": %d}", w->hard_weight);
    const struct kb_profile_entry entries[] = {
        {.policy = kb_policy_builtin("PrioritySort")},
        {.policy = kb_policy_builtin("TaintToleration")},
        {.policy = kb_policy_builtin("NodeAffinity")},
        {.policy = kb_policy_builtin("PodTopologySpread")},
        {.policy = kb_policy_builtin("InterPodAffinity"), .args = args},
    };
    KB_CHECK_OK(
        kb_core_add_profile(core, "default-scheduler", entries, KB_COUNT(entries), &profile, &err),
        &err);
    for (int i = 0; i < SPACES; i++)
        tell_object(core, "replicasets.apps", i, "rs", "{'spec': {'selector': {'matchLabels': {",
                    everything, "}}}}");
    return core;
}

static void empty(struct world *w, struct kb_core *core)
{
    for (int i = 0; i < PODS; i++)
        kb_core_lift(core, &w->pods[i].in_core);
    kb_sched_core_destroy(&core);
}

static void compare_rebuilt(struct world *w)
{
    struct world *fresh = calloc(1, sizeof(*fresh));
    *fresh = *w;
    struct kb_core *core = new_core(fresh, 1);
    for (int i = PODS - 1; i >= 0; i--) {
        fresh->pods[i].in_core = (struct kb_core_pod){0};
        if (fresh->pods[i].there)
            put_pod(fresh, core, &fresh->pods[i]);
    }
    for (int i = 0; i < SPACES; i++) {
        tell_space(fresh, core, i);
        for (int k = 0; k < SERVICES; k++)
            tell_service(fresh, core, i, k);
    }
    for (int i = NODES - 1; i >= 0; i--)
        tell_node(fresh, core, i);
    for (int i = 0; i < TEMPLATES; i++)
        compare(fresh, core, &fresh->templates[i]);
    empty(fresh, core);
    free(fresh);
}

KB_TEST(affinity_property, says_what_the_reference_says)
{
    uint64_t seed = kb_test_seed();
    struct world *w = calloc(1, sizeof(*w));
    kb_rand_init(&w->rand, seed);
    w->hard_weight = pick(w, 3) ? 1 : 20 * pick(w, 5);
    for (int i = 0; i < TEMPLATES; i++) {
        random_template(w, &w->templates[i]);
        w->templates[i].json = template_json(&w->templates[i], false);
        w->templates[i].ending_json = template_json(&w->templates[i], true);
    }
    struct kb_core *core = new_core(w, seed);
    kb_core_plan_budget(core, seed % 2 ? 20000 : 1 << 20); /* with and without dropping plans */
    for (int i = 0; i < STEPS; i++) {
        step(w, core);
        compare(w, core, &w->templates[pick(w, TEMPLATES)]);
        if (i % 300 == 299)
            compare_rebuilt(w);
    }
    empty(w, core);
    free(w);
}
