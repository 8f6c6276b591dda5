#include "tests/prop/scores_world.h"

const char *const scores_names[NAMES] = {"cpu",           "memory",   "ephemeral-storage",
                                         "hugepages-2Mi", "x.io/gpu", "x.io/nic",
                                         "y.io/gpu",      "pods"};
static const char *const held[IMAGES] = {"reg.io/a:latest", "reg.io/b:1", "c:latest",
                                         "host:5000/d:latest", "host:5000/e:2"};
static const char *const asked[IMAGES] = {"reg.io/a", "reg.io/b:1", "c", "host:5000/d",
                                          "host:5000/e:2"};

int scores_pick(struct world *w, int n)
{
    return (int)kb_rand_below(&w->rand, (uint64_t)n);
}

static int maybe(struct world *w, int n)
{
    return scores_pick(w, n + 1) - 1;
}

/* ---- making ---- */

static int64_t unit(int resource)
{
    return resource == CPU         ? 50
           : resource <= EPHEMERAL ? 100 << 20
           : resource == HUGE      ? 2 << 20
                                   : 1;
}

static struct term random_term(struct world *w)
{
    struct term t = {.n = scores_pick(w, 8) ? 1 + scores_pick(w, 2) : 0,
                     .weight = 1 + scores_pick(w, 100)};
    for (int i = 0; i < 2; i++)
        t.all[i] = (struct need){scores_pick(w, LABELS), scores_pick(w, 6), 1 + scores_pick(w, 7)};
    t.nodes = scores_pick(w, 6) ? 0 : 1 + scores_pick(w, (1 << NODES) - 1);
    return t;
}

void scores_random_template(struct world *w, struct template *t)
{
    *t = (struct template){.containers = 1 + scores_pick(w, 2), .init = scores_pick(w, 3) == 0};
    bool plain = scores_pick(w, 5) == 0;
    for (int i = 0; i < 3; i++) {
        for (int r = 0; r < AMOUNTS; r++)
            t->want[i][r] = plain || scores_pick(w, r < EPHEMERAL ? 4 : 2) == 0
                                ? -1
                                : scores_pick(w, 9) * unit(r);
        for (int r = HUGE; r < AMOUNTS; r++)
            t->want[i][r] = scores_pick(w, 3) ? -1 : scores_pick(w, 3) * unit(r);
        t->image[i] = maybe(w, IMAGES);
    }
    t->selector = scores_pick(w, 4) ? -1 : scores_pick(w, 3);
    t->required_n = scores_pick(w, 6) ? 0 : 1 + scores_pick(w, 2);
    t->preferred_n = scores_pick(w, 2) ? 0 : 1 + scores_pick(w, 2);
    for (int i = 0; i < 2; i++) {
        t->required[i] = random_term(w);
        t->preferred[i] = random_term(w);
    }
}

void scores_random_args(struct world *w, struct args *a)
{
    int rising = 0;
    *a = (struct args){.strategy = scores_pick(w, 3), .weight = 1 + scores_pick(w, 3)};
    a->n = scores_pick(w, 4) ? 1 + scores_pick(w, 4) : 0;
    for (int i = 0; i < 4; i++) {
        a->resource[i] = scores_pick(w, scores_pick(w, 2) ? HUGE : NAMES);
        a->weights[i] = 1 + scores_pick(w, scores_pick(w, 2) ? 100 : 3);
    }
    a->points = 1 + scores_pick(w, 5);
    for (int i = 0; i < a->points; i++) {
        a->at[i] = rising + scores_pick(w, 20);
        rising = a->at[i] + 1;
        a->score[i] = scores_pick(w, 3) ? scores_pick(w, 11) : 0;
    }
    a->ignored = scores_pick(w, 2) ? 0 : scores_pick(w, 1 << NAMES);
    a->groups = scores_pick(w, 2) ? 0 : scores_pick(w, 4);
    int seen = 0;
    for (int left = scores_pick(w, 5); left > 0; left--) {
        int r = scores_pick(w, NAMES);
        if ((seen & (1 << r)) == 0)
            a->balanced[a->balanced_n++] = r;
        seen |= 1 << r;
    }
    a->required_n = scores_pick(w, 3) ? 0 : 1 + scores_pick(w, 2);
    a->preferred_n = scores_pick(w, 2) ? 0 : 1 + scores_pick(w, 2);
    for (int i = 0; i < 2; i++) {
        a->required[i] = random_term(w);
        a->preferred[i] = random_term(w);
    }
}

void scores_random_node(struct world *w, struct node *n)
{
    n->there = true;
    for (int r = 0; r < AMOUNTS; r++)
        n->has[r] = scores_pick(w, 8) ? scores_pick(w, r < HUGE ? 80 : 10) * unit(r) : maybe(w, 1);
    n->pods = scores_pick(w, 8) ? 3 + scores_pick(w, 20) : 0;
    for (int i = 0; i < LABELS; i++)
        n->label[i] = maybe(w, 3);
    n->images = scores_pick(w, 1 << IMAGES);
}

/* ---- as objects ---- */

static void need_json(struct kb_buf *b, const struct need *r)
{
    static const char *const ops[] = {"In", "NotIn", "Exists", "DoesNotExist", "Gt", "Lt"};
    kb_buf_printf(b, "{'key': 'l%d', 'operator': '%s', 'values': [", r->label, ops[r->op]);
    for (int v = 0, n = 0; v < 3 && r->op <= NOT_IN; v++)
        if (r->values & (1 << v))
            kb_buf_printf(b, "%s'%d'", n++ ? "," : "", v);
    if (r->op >= GREATER)
        kb_buf_printf(b, "'%d'", r->values % 3);
    kb_buf_puts(b, "]}");
}

static void term_json(struct kb_buf *b, const struct term *t)
{
    kb_buf_puts(b, "{'matchExpressions': [");
    for (int i = 0; i < t->n; i++) {
        kb_buf_puts(b, i ? "," : "");
        need_json(b, &t->all[i]);
    }
    kb_buf_puts(b, "]");
    if (t->nodes) {
        kb_buf_puts(b, ", 'matchFields': [{'key': 'metadata.name', 'operator': 'In', 'values': [");
        for (int i = 0, n = 0; i < NODES; i++)
            if (t->nodes & (1 << i))
                kb_buf_printf(b, "%s'n%d'", n++ ? "," : "", i);
        kb_buf_puts(b, "]}]");
    }
    kb_buf_puts(b, "}");
}

void scores_affinity_json(struct kb_buf *b, const struct term *required, int required_n,
                          const struct term *preferred, int preferred_n)
{
    kb_buf_puts(b, "{'none': 0");
    if (required_n)
        kb_buf_puts(b, ", 'requiredDuringSchedulingIgnoredDuringExecution': "
                       "{'nodeSelectorTerms': [");
    for (int i = 0; i < required_n; i++) {
        kb_buf_puts(b, i ? "," : "");
        term_json(b, &required[i]);
    }
    kb_buf_puts(b, required_n ? "]}" : "");
    if (preferred_n)
        kb_buf_puts(b, ", 'preferredDuringSchedulingIgnoredDuringExecution': [");
    for (int i = 0; i < preferred_n; i++) {
        kb_buf_printf(b, "%s{'weight': %d, 'preference': ", i ? "," : "", preferred[i].weight);
        term_json(b, &preferred[i]);
        kb_buf_puts(b, "}");
    }
    kb_buf_puts(b, preferred_n ? "]}" : "}");
}

static void amounts_json(struct kb_buf *b, const int64_t amount[AMOUNTS])
{
    kb_buf_puts(b, "{'pad.io/pad': '0'");
    for (int r = 0; r < AMOUNTS; r++)
        if (amount[r] >= 0)
            kb_buf_printf(b, ", '%s': '%" PRId64 "%s'", scores_names[r], amount[r],
                          r == CPU ? "m" : "");
}

static void container_json(struct kb_buf *b, const struct template *t, int i)
{
    kb_buf_printf(b, "{'image': '%s', 'resources': {'requests': ",
                  t->image[i] < 0 ? "nobody/has:1" : asked[t->image[i]]);
    amounts_json(b, t->want[i]);
    kb_buf_puts(b, "}}}");
}

char *scores_template_json(const struct template *t)
{
    struct kb_buf b = {0};
    kb_buf_puts(&b, "{'spec': {'initContainers': [");
    if (t->init)
        container_json(&b, t, 2);
    kb_buf_puts(&b, "], 'containers': [");
    for (int i = 0; i < t->containers; i++) {
        kb_buf_puts(&b, i ? "," : "");
        container_json(&b, t, i);
    }
    kb_buf_puts(&b, "], ");
    if (t->selector >= 0)
        kb_buf_printf(&b, "'nodeSelector': {'l0': '%d'}, ", t->selector);
    kb_buf_puts(&b, "'affinity': {'nodeAffinity': ");
    scores_affinity_json(&b, t->required, t->required_n, t->preferred, t->preferred_n);
    kb_buf_puts(&b, "}}}");
    char *text = kb_str_dup(kb_buf_str(&b));
    kb_buf_finish(&b);
    return text;
}

void scores_fit_json(struct kb_buf *b, const struct args *a)
{
    static const char *const types[] = {"LeastAllocated", "MostAllocated",
                                        "RequestedToCapacityRatio"};
    kb_buf_printf(b, "{'scoringStrategy': {'type': '%s', 'resources': [", types[a->strategy]);
    for (int i = 0; i < a->n; i++)
        kb_buf_printf(b, "%s{'name': '%s', 'weight': %d}", i ? "," : "",
                      scores_names[a->resource[i]], a->weights[i]);
    kb_buf_puts(b, "], 'requestedToCapacityRatio': {'shape': [");
    for (int i = 0; i < a->points; i++)
        kb_buf_printf(b, "%s{'utilization': %d, 'score': %d}", i ? "," : "", a->at[i], a->score[i]);
    kb_buf_puts(b, "]}}, 'ignoredResources': ['none.io/none'");
    for (int r = 0; r < NAMES; r++)
        if (a->ignored & (1 << r))
            kb_buf_printf(b, ", '%s'", scores_names[r]);
    kb_buf_printf(b, "], 'ignoredResourceGroups': ['x', 'x.io.net'%s%s]}",
                  a->groups & 1 ? ", 'x.io'" : "", a->groups & 2 ? ", 'y.io'" : "");
}

void scores_balanced_json(struct kb_buf *b, const struct args *a)
{
    kb_buf_puts(b, "{'resources': [");
    for (int i = 0; i < a->balanced_n; i++)
        kb_buf_printf(b, "%s{'name': '%s', 'weight': 1}", i ? "," : "",
                      scores_names[a->balanced[i]]);
    kb_buf_puts(b, "]}");
}

void scores_node_json(struct kb_buf *b, const struct world *w, const struct node *n)
{
    kb_buf_puts(b, "{'metadata': {'labels': {'a': 'b'");
    for (int k = 0; k < LABELS; k++)
        if (n->label[k] >= 0)
            kb_buf_printf(b, ", 'l%d': '%d'", k, n->label[k]);
    kb_buf_puts(b, "}}, 'status': {'allocatable': ");
    amounts_json(b, n->has);
    kb_buf_printf(b, ", 'pods': '%" PRId64 "'}, 'images': [", n->pods);
    for (int k = 0, some = 0; k < IMAGES; k++)
        if (n->images & (1 << k))
            kb_buf_printf(b, "%s{'names': ['digest%d', '%s'], 'sizeBytes': %" PRId64 "}",
                          some++ ? "," : "", k, held[k], w->bytes[k]);
    kb_buf_puts(b, "]}}");
}
