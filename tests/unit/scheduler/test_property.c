/* The core against a slow, obvious reference on random clusters. The reference keeps nodes and pods
 * as plain structs and judges each node by loops over pods and taints; the core gets the same
 * things as objects, one event at a time. What both say of every node must be equal, word for word,
 * after every step; and a core built afresh from what is left must say the same. */
#include "tests/lib/subject.h"
#include "tests/lib/test.h"

#include "bus/base/rand.h"

#include <stdlib.h>

enum { NODES = 24, PODS = 160, STEPS = 1500, TEMPLATES = 12 };

struct taint {
    int key, value, effect;
};

struct tolerance {
    int key, value, effect; /* key -1: every; effect 0: every */
    bool exists;
};

struct node {
    bool there;
    int64_t cpu, memory, pods, gpu;
    int zone, disk, cores; /* -1: no such label */
    bool cordoned;
    int taints_n;
    struct taint taints[2];
};

struct template
{
    int64_t cpu, memory, gpu, init_cpu; /* -1: not stated */
    int selector;                       /* zone, -1: none */
    int in_zones;                       /* bit mask of a required In; 0: none */
    int not_disk, more_cores;           /* further requirements of that term; -1: none */
    int prefer_zone[2], prefer_weight[2];
    int tolerances_n;
    struct tolerance tolerances[2];
    int port, ip; /* 0: none; 0: all addresses */
    int priority;
    char json[2048];
};

struct pod {
    bool there;
    int template, node;
};

struct world {
    struct kb_rand rand;
    struct node nodes[NODES];
    struct template templates[TEMPLATES];
    struct pod pods[PODS];
};

static const char *const effects[] = {"", "NoSchedule", "PreferNoSchedule", "NoExecute"};

static int pick(struct world *w, int n)
{
    return (int)kb_rand_below(&w->rand, (uint64_t)n);
}

static int maybe(struct world *w, int n) /* -1 as often as each of 0 … n - 1 */
{
    return pick(w, n + 1) - 1;
}

/* ---- making ---- */

static void random_node(struct world *w, struct node *n)
{
    n->there = true;
    n->cpu = 1000 * (1 + pick(w, 4));
    n->memory = (int64_t)(1 + pick(w, 4)) << 30;
    n->pods = 2 + pick(w, 8);
    n->gpu = pick(w, 3);
    n->zone = maybe(w, 3);
    n->disk = maybe(w, 2);
    n->cores = maybe(w, 8);
    n->cordoned = pick(w, 8) == 0;
    n->taints_n = pick(w, 4) > 1 ? 0 : 1 + pick(w, 2);
    for (int i = 0; i < 2; i++)
        n->taints[i] = (struct taint){pick(w, 3), pick(w, 2), 1 + pick(w, 3)};
}

static void node_json(const struct node *n, struct kb_buf *out)
{
    kb_buf_puts(out, "{'metadata': {'labels': {'a': 'b'");
    if (n->zone >= 0)
        kb_buf_printf(out, ", 'zone': 'z%d'", n->zone);
    if (n->disk >= 0)
        kb_buf_printf(out, ", 'disk': 'd%d'", n->disk);
    if (n->cores >= 0)
        kb_buf_printf(out, ", 'cores': '%d'", n->cores);
    kb_buf_printf(out, "}}, 'spec': {'unschedulable': %s, 'taints': [",
                  n->cordoned ? "true" : "false");
    for (int i = 0; i < n->taints_n; i++)
        kb_buf_printf(out, "%s{'key': 'k%d', 'value': 'v%d', 'effect': '%s'}", i ? "," : "",
                      n->taints[i].key, n->taints[i].value, effects[n->taints[i].effect]);
    kb_buf_printf(out,
                  "]}, 'status': {'allocatable': {'cpu': '%" PRId64 "m', 'memory': '%" PRId64
                  "', 'pods': '%" PRId64 "', 'x.io/gpu': '%" PRId64 "'}}}",
                  n->cpu, n->memory, n->pods, n->gpu);
}

static void random_template(struct world *w, struct template *t)
{
    t->cpu = pick(w, 3) ? 100 * pick(w, 9) : -1;
    t->memory = pick(w, 3) ? (int64_t)pick(w, 9) << 27 : -1;
    t->gpu = pick(w, 4) ? -1 : pick(w, 3);
    t->init_cpu = pick(w, 4) ? -1 : 200 * pick(w, 6);
    t->selector = pick(w, 4) ? -1 : pick(w, 3);
    t->in_zones = pick(w, 3) ? 0 : 1 + pick(w, 7);
    t->not_disk = maybe(w, 2);
    t->more_cores = maybe(w, 4);
    for (int i = 0; i < 2; i++) {
        t->prefer_zone[i] = pick(w, 2) ? -1 : pick(w, 3);
        t->prefer_weight[i] = 1 + pick(w, 100);
    }
    t->tolerances_n = pick(w, 3);
    for (int i = 0; i < 2; i++)
        t->tolerances[i] = (struct tolerance){maybe(w, 3), pick(w, 2), pick(w, 4), pick(w, 2)};
    for (int i = 0; i < 2; i++)
        t->tolerances[i].exists |= t->tolerances[i].key < 0;
    t->port = pick(w, 4) ? 0 : 80 + pick(w, 2);
    t->ip = pick(w, 3);
    t->priority = pick(w, 3);
}

static void requests_json(struct kb_buf *b, int64_t cpu, int64_t memory, int64_t gpu)
{
    kb_buf_puts(b, "'resources': {'requests': {'pad': '0'");
    if (cpu >= 0)
        kb_buf_printf(b, ", 'cpu': '%" PRId64 "m'", cpu);
    if (memory >= 0)
        kb_buf_printf(b, ", 'memory': '%" PRId64 "'", memory);
    if (gpu >= 0)
        kb_buf_printf(b, ", 'x.io/gpu': '%" PRId64 "'", gpu);
    kb_buf_puts(b, "}}");
}

static void affinity_json(struct kb_buf *b, const struct template *t)
{
    kb_buf_puts(b, ", 'affinity': {'nodeAffinity': {'none': 0");
    if (t->in_zones) {
        kb_buf_puts(b, ", 'requiredDuringSchedulingIgnoredDuringExecution': {'nodeSelectorTerms': "
                       "[{'matchExpressions': [{'key': 'zone', 'operator': 'In', 'values': ['no'");
        for (int z = 0; z < 3; z++)
            if (t->in_zones & (1 << z))
                kb_buf_printf(b, ", 'z%d'", z);
        kb_buf_puts(b, "]}");
        if (t->not_disk >= 0)
            kb_buf_printf(b, ", {'key': 'disk', 'operator': 'NotIn', 'values': ['d%d']}",
                          t->not_disk);
        if (t->more_cores >= 0)
            kb_buf_printf(b, ", {'key': 'cores', 'operator': 'Gt', 'values': ['%d']}",
                          t->more_cores);
        kb_buf_puts(b, "]}]}");
    }
    kb_buf_puts(b, ", 'preferredDuringSchedulingIgnoredDuringExecution': [");
    for (int i = 0, n = 0; i < 2; i++)
        if (t->prefer_zone[i] >= 0)
            kb_buf_printf(b,
                          "%s{'weight': %d, 'preference': {'matchExpressions': [{'key': 'zone', "
                          "'operator': 'In', 'values': ['z%d']}]}}",
                          n++ ? "," : "", t->prefer_weight[i], t->prefer_zone[i]);
    kb_buf_puts(b, "]}}");
}

static void template_json(struct template *t)
{
    KB_AUTO(kb_buf_finish) struct kb_buf b = {0};
    kb_buf_puts(&b, "{'spec': {'containers': [{");
    requests_json(&b, t->cpu, t->memory, t->gpu);
    if (t->port)
        kb_buf_printf(&b, ", 'ports': [{'hostPort': %d, 'hostIP': '%s%d'}]", t->port,
                      t->ip ? "10.0.0." : "0.0.0.", t->ip);
    kb_buf_puts(&b, "}], 'initContainers': [");
    if (t->init_cpu >= 0) {
        kb_buf_puts(&b, "{");
        requests_json(&b, t->init_cpu, 0, -1);
        kb_buf_puts(&b, "}");
    }
    kb_buf_puts(&b, "], 'tolerations': [");
    for (int i = 0; i < t->tolerances_n; i++) {
        const struct tolerance *o = &t->tolerances[i];
        kb_buf_printf(&b, "%s{'operator': '%s'", i ? "," : "", o->exists ? "Exists" : "Equal");
        if (o->key >= 0)
            kb_buf_printf(&b, ", 'key': 'k%d'", o->key);
        if (!o->exists)
            kb_buf_printf(&b, ", 'value': 'v%d'", o->value);
        kb_buf_printf(&b, ", 'effect': '%s'}", effects[o->effect]);
    }
    kb_buf_puts(&b, "]");
    if (t->selector >= 0)
        kb_buf_printf(&b, ", 'nodeSelector': {'zone': 'z%d'}", t->selector);
    affinity_json(&b, t);
    kb_buf_puts(&b, "}}");
    KB_CHECK(kb_str_copy(kb_buf_str(&b), t->json, sizeof(t->json)));
}

/* ---- the reference ---- */

static int64_t stated(int64_t amount, int64_t otherwise)
{
    return amount < 0 ? otherwise : amount;
}

static int64_t largest(int64_t a, int64_t b)
{
    return a > b ? a : b;
}

static int64_t pod_cpu(const struct template *t, int64_t otherwise)
{
    return largest(stated(t->cpu, otherwise), stated(t->init_cpu, 0));
}

static int64_t pod_memory(const struct template *t, int64_t otherwise)
{
    return stated(t->memory, otherwise);
}

struct used {
    int64_t cpu, memory, gpu, pods, nonzero_cpu, nonzero_memory;
};

static struct used used_on(const struct world *w, int node)
{
    struct used u = {0};
    for (int i = 0; i < PODS; i++) {
        const struct template *t = &w->templates[w->pods[i].template];
        if (!w->pods[i].there || w->pods[i].node != node)
            continue;
        u.cpu += pod_cpu(t, 0);
        u.memory += pod_memory(t, 0);
        u.gpu += stated(t->gpu, 0);
        u.pods++;
        u.nonzero_cpu += pod_cpu(t, 100);
        u.nonzero_memory += pod_memory(t, 200 << 20);
    }
    return u;
}

static bool tolerated(const struct template *t, struct taint taint)
{
    for (int i = 0; i < t->tolerances_n; i++) {
        struct tolerance o = t->tolerances[i];
        if ((o.effect == 0 || o.effect == taint.effect) && (o.key < 0 || o.key == taint.key) &&
            (o.exists || o.value == taint.value))
            return true;
    }
    return false;
}

static bool tolerates_cordon(const struct template *t)
{
    for (int i = 0; i < t->tolerances_n; i++)
        if (t->tolerances[i].key < 0 && t->tolerances[i].effect <= 1)
            return true;
    return false;
}

static bool affine(const struct template *t, const struct node *n)
{
    if (t->selector >= 0 && n->zone != t->selector)
        return false;
    if (t->in_zones == 0)
        return true;
    return n->zone >= 0 && (t->in_zones & (1 << n->zone)) &&
           (t->not_disk < 0 || n->disk != t->not_disk) &&
           (t->more_cores < 0 || n->cores > t->more_cores);
}

static bool port_taken(const struct world *w, const struct template *t, int node)
{
    for (int i = 0; i < PODS && t->port; i++) {
        const struct template *o = &w->templates[w->pods[i].template];
        if (w->pods[i].there && w->pods[i].node == node && o->port == t->port &&
            (o->ip == 0 || t->ip == 0 || o->ip == t->ip))
            return true;
    }
    return false;
}

/* "" fits; else "Policy: reason; reason". */
static void judge(const struct world *w, const struct template *t, int node, struct kb_buf *out)
{
    const struct node *n = &w->nodes[node];
    struct used u = used_on(w, node);
    kb_buf_clear(out);
    kb_buf_puts(out, "");
    if (n->cordoned && !tolerates_cordon(t)) {
        kb_buf_puts(out, "NodeUnschedulable: node(s) were unschedulable");
        return;
    }
    for (int i = 0; i < n->taints_n; i++) {
        if (n->taints[i].effect != 2 && !tolerated(t, n->taints[i])) {
            kb_buf_printf(out, "TaintToleration: node(s) had untolerated taint {k%d: v%d}",
                          n->taints[i].key, n->taints[i].value);
            return;
        }
    }
    if (!affine(t, n)) {
        kb_buf_puts(out, "NodeAffinity: node(s) didn't match Pod's node affinity/selector");
        return;
    }
    if (port_taken(w, t, node)) {
        kb_buf_puts(out, "NodePorts: node(s) didn't have free ports for the requested pod ports");
        return;
    }
    const char *between = "NodeResourcesFit: ";
    const struct {
        int64_t want, have, used;
        const char *reason;
    } checks[] = {{pod_cpu(t, 0), n->cpu, u.cpu, "Insufficient cpu"},
                  {pod_memory(t, 0), n->memory, u.memory, "Insufficient memory"},
                  {1, n->pods, u.pods, "Too many pods"},
                  {stated(t->gpu, 0), n->gpu, u.gpu, "Insufficient x.io/gpu"}};
    for (size_t i = 0; i < KB_COUNT(checks); i++) {
        if (checks[i].want > 0 && checks[i].want > checks[i].have - checks[i].used) {
            kb_buf_printf(out, "%s%s", between, checks[i].reason);
            between = "; ";
        }
    }
}

static int64_t least_share(int64_t have, int64_t used)
{
    return used > have ? 0 : (have - used) * 100 / have;
}

static double share(int64_t used, int64_t have)
{
    return used > have ? 1 : (double)used / (double)have;
}

static int64_t raw_taints(const struct template *t, const struct node *n)
{
    int64_t count = 0;
    for (int i = 0; i < n->taints_n; i++)
        count += n->taints[i].effect == 2 && !tolerated(t, n->taints[i]);
    return count;
}

static int64_t raw_affinity(const struct template *t, const struct node *n)
{
    int64_t sum = 0;
    for (int i = 0; i < 2; i++)
        if (t->prefer_zone[i] >= 0 && n->zone == t->prefer_zone[i])
            sum += t->prefer_weight[i];
    return sum;
}

/* What the reference says of all nodes: totals (-1: does not fit). */
static void totals(const struct world *w, const struct template *t, const bool fits[NODES],
                   int64_t total[NODES])
{
    int64_t most_taints = 0, most_affinity = 0;
    for (int i = 0; i < NODES; i++) {
        if (!fits[i])
            continue;
        most_taints = largest(most_taints, raw_taints(t, &w->nodes[i]));
        most_affinity = largest(most_affinity, raw_affinity(t, &w->nodes[i]));
    }
    for (int i = 0; i < NODES; i++) {
        const struct node *n = &w->nodes[i];
        struct used u = used_on(w, i);
        total[i] = -1;
        if (!fits[i])
            continue;
        int64_t taints = most_taints ? 100 - 100 * raw_taints(t, n) / most_taints : 100;
        int64_t affinity = most_affinity ? 100 * raw_affinity(t, n) / most_affinity : 0;
        int64_t least = (least_share(n->cpu, u.nonzero_cpu + pod_cpu(t, 100)) +
                         least_share(n->memory, u.nonzero_memory + pod_memory(t, 200 << 20))) /
                        2;
        double apart =
            share(u.cpu + pod_cpu(t, 0), n->cpu) - share(u.memory + pod_memory(t, 0), n->memory);
        bool best_effort = pod_cpu(t, 0) == 0 && pod_memory(t, 0) == 0;
        int64_t balanced =
            best_effort ? 0 : (int64_t)((1 - (apart < 0 ? -apart : apart) / 2) * 100);
        total[i] = 3 * taints + 2 * affinity + least + balanced;
    }
}

/* ---- comparing ---- */

static void compare(struct world *w, struct kb_subject *s, const struct template *t)
{
    KB_AUTO(kb_buf_finish) struct kb_buf want = {0}, got = {0};
    bool fits[NODES] = {0};
    int64_t total[NODES];
    int there = 0, known;
    kb_val of[NODES];
    KB_AUTO(kb_doc_destroy) struct kb_doc *doc = kb_subject_explain(s, t->json, of, NODES, &known);
    for (int i = 0; i < NODES; i++) {
        KB_CHECK(w->nodes[i].there == kb_val_present(of[i]));
        if (!w->nodes[i].there)
            continue;
        there++;
        judge(w, t, i, &want);
        kb_subject_why(of[i], &got);
        KB_CHECK_STR(got.p, want.p);
        fits[i] = want.n == 0;
    }
    KB_CHECK_I64(known, ==, there);
    totals(w, t, fits, total);
    for (int i = 0; i < NODES; i++)
        if (fits[i])
            KB_CHECK_I64(kb_val_int(kb_val_get(of[i], "total"), -2), ==, total[i]);
}

/* ---- steps ---- */

static void tell_node(const struct world *w, struct kb_subject *s, int i)
{
    KB_AUTO(kb_buf_finish) struct kb_buf json = {0};
    node_json(&w->nodes[i], &json);
    kb_subject_node(s, i, w->nodes[i].there ? json.p : NULL);
}

static void step_node(struct world *w, struct kb_subject *s)
{
    int i = pick(w, NODES);
    if (w->nodes[i].there && pick(w, 3) == 0)
        w->nodes[i].there = false;
    else
        random_node(w, &w->nodes[i]);
    tell_node(w, s, i);
}

static void put_pod(const struct world *w, struct kb_subject *s, int i)
{
    const struct template *t = &w->templates[w->pods[i].template];
    kb_subject_put(s, i, w->pods[i].node, t->json, t->priority);
}

/* None that fits is better. */
static void check_best(const struct world *w, const struct template *t, int node)
{
    KB_AUTO(kb_buf_finish) struct kb_buf why = {0};
    bool fits[NODES];
    int64_t total[NODES], best = -1;
    for (int i = 0; i < NODES; i++) {
        judge(w, t, i, &why);
        fits[i] = w->nodes[i].there && why.n == 0;
    }
    totals(w, t, fits, total);
    for (int i = 0; i < NODES; i++)
        best = largest(best, total[i]);
    KB_CHECK_I64(total[node], ==, best);
}

/* A pod leaves, comes bound (wherever, also to a node that is not there), or is placed. */
static void step_pod(struct world *w, struct kb_subject *s)
{
    int i = pick(w, PODS);
    struct pod *p = &w->pods[i];
    if (p->there) {
        p->there = false;
        kb_subject_lift(s, i);
        return;
    }
    p->template = pick(w, TEMPLATES);
    if (pick(w, 4) == 0) {
        p->node = pick(w, NODES);
    } else {
        p->node = kb_subject_decide(s, w->templates[p->template].json);
        if (p->node >= 0)
            check_best(w, &w->templates[p->template], p->node);
    }
    p->there = p->node >= 0;
    if (p->there)
        put_pod(w, s, i);
}

static struct kb_subject new_subject(uint64_t seed)
{
    return kb_subject_new(seed, kb_profile_default, kb_profile_default_n, PODS);
}

/* From the objects that are left, in another order. */
static void compare_rebuilt(struct world *w)
{
    KB_AUTO(kb_subject_finish) struct kb_subject fresh = new_subject(1);
    for (int i = PODS - 1; i >= 0; i--)
        if (w->pods[i].there)
            put_pod(w, &fresh, i);
    for (int i = NODES - 1; i >= 0; i--)
        if (w->nodes[i].there)
            tell_node(w, &fresh, i);
    for (int i = 0; i < TEMPLATES; i++)
        compare(w, &fresh, &w->templates[i]);
}

static struct world *new_world(uint64_t seed)
{
    struct world *w = calloc(1, sizeof(*w));
    kb_rand_init(&w->rand, seed);
    for (int i = 0; i < TEMPLATES; i++) {
        random_template(w, &w->templates[i]);
        template_json(&w->templates[i]);
    }
    return w;
}

KB_TEST(core_property, says_what_the_reference_says)
{
    uint64_t seed = kb_test_seed();
    struct world *w = new_world(seed);
    KB_AUTO(kb_subject_finish) struct kb_subject s = new_subject(seed);
    kb_core_plan_budget(s.core, seed % 2 ? 20000 : 1 << 20); /* with and without dropping plans */
    for (int step = 0; step < STEPS; step++) {
        if (pick(w, 4) == 0)
            step_node(w, &s);
        else
            step_pod(w, &s);
        compare(w, &s, &w->templates[pick(w, TEMPLATES)]);
        if (step % 250 == 249)
            compare_rebuilt(w);
    }
    free(w);
}

KB_TEST(core_property, equal_seeds_give_equal_decisions_and_ties_are_broken_evenly)
{
    enum { TRIES = 6000, ALIKE = 200 };
    struct kb_subject s[2] = {new_subject(7), new_subject(7)};
    struct kb_core *core[2] = {s[0].core, s[1].core};
    int chosen[ALIKE] = {0};
    KB_AUTO(kb_doc_destroy)
    struct kb_doc *node =
        kb_ptest_json("{'status': {'allocatable': {'cpu': '4', 'memory': '4Gi', 'pods': '10'}}}");
    KB_AUTO(kb_doc_destroy) struct kb_doc *pod = kb_ptest_json("{'spec': {'containers': [{}]}}");
    struct kb_podspec *spec[2];
    for (int k = 0; k < 2; k++) {
        for (int i = 0; i < ALIKE; i++) {
            char name[16];
            snprintf(name, sizeof(name), "n%d", i);
            kb_core_node_put(core[k], kb_str_of(name), kb_doc_root(node));
        }
        spec[k] = kb_core_spec(core[k], kb_doc_root(pod), 0, false);
    }
    for (int i = 0; i < TRIES; i++) {
        uint32_t slot[2];
        KB_CHECK(kb_core_decide(core[0], spec[0], &slot[0]));
        KB_CHECK(kb_core_decide(core[1], spec[1], &slot[1]));
        KB_CHECK_U64(slot[0], ==, slot[1]);
        chosen[slot[0]]++;
    }
    double chi = 0, expected = (double)TRIES / ALIKE;
    for (int i = 0; i < ALIKE; i++)
        chi += (chosen[i] - expected) * (chosen[i] - expected) / expected;
    KB_CHECK(chi < 280); /* 199 degrees of freedom: beyond 280 is one in ten thousand */
    for (int k = 0; k < 2; k++) {
        kb_core_spec_release(core[k], &spec[k]);
        kb_subject_finish(&s[k]);
    }
}
