#include "tests/prop/affinity_world.h"

#include "tests/lib/test.h"

const char *const affinity_keys[KEYS] = {"topology.kubernetes.io/zone", "kubernetes.io/hostname",
                                         "rack"};

int affinity_pick(struct world *w, int n)
{
    return (int)kb_rand_below(&w->rand, (uint64_t)n);
}

int affinity_maybe(struct world *w, int n)
{
    return affinity_pick(w, n + 1) - 1;
}

/* ---- making ---- */

static struct sel random_sel(struct world *w, int none_in)
{
    struct sel s = {.none = none_in && affinity_pick(w, none_in) == 0};
    s.n = s.none ? 0 : affinity_pick(w, 8) ? 1 : affinity_pick(w, 3);
    for (int i = 0; i < 2; i++)
        s.all[i] =
            (struct need){affinity_pick(w, LABELS), affinity_pick(w, 6), 1 + affinity_pick(w, 7)};
    for (int i = 0; i < 2; i++)
        s.all[i].op = s.all[i].op > 3 ? 0 : s.all[i].op;
    return s;
}

static struct term random_term(struct world *w)
{
    struct term t = {.labels = random_sel(w, 12), .like = random_sel(w, 1)};
    t.key = affinity_pick(w, KEYS);
    t.weight = 1 + affinity_pick(w, 100);
    t.match = affinity_pick(w, 4) ? -1 : affinity_pick(w, LABELS);
    t.mismatch = affinity_pick(w, 5) ? -1 : affinity_pick(w, LABELS);
    if (affinity_pick(w, 3) == 0) {
        t.spaces = affinity_pick(w, 1 << SPACES);
        t.like = random_sel(w, 2);
    }
    return t;
}

void affinity_random_template(struct world *w, struct template *t)
{
    *t = (struct template){.space = affinity_pick(w, SPACES), .zone = affinity_maybe(w, 3)};
    t->zone = affinity_pick(w, 3) ? -1 : t->zone;
    t->tolerates = affinity_pick(w, 2);
    t->owned = affinity_pick(w, 2);
    for (int i = 0; i < LABELS; i++)
        t->label[i] = affinity_maybe(w, VALUES);
    bool plain = affinity_pick(w, 4) == 0;
    t->near_n = plain || affinity_pick(w, 3) ? 0 : 1 + affinity_pick(w, 2);
    t->far_n = plain || affinity_pick(w, 3) ? 0 : 1 + affinity_pick(w, 2);
    t->like_n = plain || affinity_pick(w, 3) ? 0 : 1 + affinity_pick(w, 2);
    t->dislike_n = plain || affinity_pick(w, 3) ? 0 : 1 + affinity_pick(w, 2);
    t->spread_n = plain || affinity_pick(w, 2) ? 0 : 1 + affinity_pick(w, 2);
    for (int i = 0; i < 2; i++) {
        t->near[i] = random_term(w);
        t->far[i] = random_term(w);
        t->like[i] = random_term(w);
        t->dislike[i] = random_term(w);
        t->spread[i] =
            (struct spread){.labels = random_sel(w, 12),
                            .key = affinity_pick(w, KEYS),
                            .skew = 1 + affinity_pick(w, 3),
                            .min_domains = affinity_pick(w, 3) ? 1 : 1 + affinity_pick(w, 4),
                            .match = affinity_pick(w, 4) ? -1 : affinity_pick(w, LABELS),
                            .hard = affinity_pick(w, 2),
                            .ignore_affinity = affinity_pick(w, 3) == 0,
                            .honor_taints = affinity_pick(w, 3) == 0};
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

void affinity_labels_json(struct kb_buf *b, const int label[LABELS])
{
    for (int i = 0, n = 0; i < LABELS; i++)
        if (label[i] >= 0)
            kb_buf_printf(b, "%s'l%d': 'v%d'", n++ ? ", " : "", i, label[i]);
}

static void term_json(struct kb_buf *b, const struct term *t)
{
    kb_buf_printf(b, "{'topologyKey': '%s'", affinity_keys[t->key]);
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
    kb_buf_printf(b, "{'topologyKey': '%s', 'maxSkew': %d, 'whenUnsatisfiable': '%s'",
                  affinity_keys[s->key], s->skew, s->hard ? "DoNotSchedule" : "ScheduleAnyway");
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

char *affinity_template_json(const struct template *t, bool ending)
{
    struct kb_buf b = {0};
    kb_buf_printf(&b, "{'metadata': {'namespace': 's%d'%s, 'labels': {", t->space,
                  ending ? ", 'deletionTimestamp': '2025-01-01T00:00:00Z'" : "");
    affinity_labels_json(&b, t->label);
    kb_buf_puts(&b, "}");
    if (t->owned)
        kb_buf_puts(&b, ", 'ownerReferences': [{'controller': true, 'apiVersion': 'apps/v1', "
                        "'kind': 'ReplicaSet', 'name': 'rs'}]");
    kb_buf_puts(&b, "}, 'spec': {'containers': [{}], ");
    if (t->zone >= 0)
        kb_buf_printf(&b, "'nodeSelector': {'%s': 'v%d'}, ", affinity_keys[0], t->zone);
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
