/* Preemption and gangs in any order of things: pods come, are written to and go, victims end late,
 * answers and writes are lost, the scheduler is killed. And the choice of victims against a slow,
 * obvious reference. */
#include "tests/lib/test.h"
#include "tests/unit/scheduler/world.h"

#include <stdlib.h>

extern const struct kb_policy kubus_policy_Gang;

/* ---- what stands in the store ---- */

enum { NODES = 4, CAPACITY = 4000, PODS = 28, GANGS = 4, GANG_OF = 3 };

static int priority_of(const struct object *o)
{
    return (int)kb_val_int(kb_doc_at(o->doc, "spec.priority"), 0);
}

static int milli_of(const struct object *o)
{
    kb_str cpu = kb_val_str(kb_doc_at(o->doc, "spec.containers[0].resources.requests.cpu"));
    return cpu.n ? atoi(cpu.p) : 0;
}

static bool is_pod(const struct object *o)
{
    return o->doc != NULL && strncmp(o->key, "pods/", 5) == 0;
}

static kb_str node_of(const struct object *o)
{
    return kb_val_str(kb_doc_at(o->doc, "spec.nodeName"));
}

static bool is_leaving(const struct object *o)
{
    return kb_val_present(kb_doc_at(o->doc, "metadata.deletionTimestamp"));
}

static bool is_quiet(const struct object *o)
{
    return kb_str_is(kb_val_str(kb_doc_at(o->doc, "spec.preemptionPolicy")), "Never");
}

static int used_on(struct world *w, int n)
{
    char name[8];
    int sum = 0;
    snprintf(name, sizeof(name), "n%d", n);
    for (int i = 0; i < w->n; i++)
        if (is_pod(&w->objects[i]) && kb_str_is(node_of(&w->objects[i]), name))
            sum += milli_of(&w->objects[i]);
    return sum;
}

static void check_nodes(struct world *w)
{
    for (int n = 0; n < NODES; n++)
        KB_CHECK_I64(used_on(w, n), <=, CAPACITY);
}

/* Somebody more important waits. */
static void check_victim(struct world *w, const char *key)
{
    int lowest = priority_of(world_find(w, key));
    bool more_important = false;
    for (int i = 0; i < w->n; i++) {
        const struct object *o = &w->objects[i];
        more_important |= is_pod(o) && priority_of(o) > lowest && !is_quiet(o);
    }
    KB_CHECK(more_important);
}

/* ---- random things ---- */

/* Nobody preempts among gangs: a gang that lost a member to a victim's fate is none of ours. */
static bool peaceful;

static void make_single(struct world *w, struct kb_rand *rand, const char *key, int i)
{
    world_store_text(
        w, key,
        "{'metadata': {'name': 'p%d', 'namespace': 'x', 'uid': 'u%d'}, 'spec': {%s"
        "'priority': %d, 'containers': [{'resources': {'requests': {'cpu': '%dm'}}}]}}",
        i, (int)w->rev, !peaceful && kb_rand_below(rand, 6) ? "" : "'preemptionPolicy': 'Never', ",
        (int)kb_rand_below(rand, 4), (int)(1 + kb_rand_below(rand, 6)) * 500);
}

/* A member goes, or comes again. */
static void write_pod(struct world *w, struct kb_rand *rand)
{
    char key[32];
    int i = (int)kb_rand_below(rand, PODS);
    snprintf(key, sizeof(key), "pods/x/p%d", i);
    struct object *o = world_find(w, key);
    if (o->doc == NULL)
        make_single(w, rand, key, i);
    else if (kb_rand_below(rand, 3) == 0 || is_leaving(o))
        world_store(w, key, NULL);
    else /* somebody writes the pod, as it stands */
        world_store(w, key, kb_doc_ref(o->doc));
}

static void write_gang(struct world *w, struct kb_rand *rand, int g, bool gone, int serial)
{
    int milli = (int)(1 + kb_rand_below(rand, 4)) * 500, priority = (int)kb_rand_below(rand, 3);
    for (int i = 0; i < GANG_OF; i++) {
        char key[64], json[512];
        snprintf(key, sizeof(key), "pods/x/g%d-%d", g, i);
        snprintf(json, sizeof(json),
                 "{'metadata': {'name': 'g%d-%d', 'namespace': 'x', 'uid': 'g%d-%d-%d', 'labels': "
                 "{'scheduling.x-k8s.io/pod-group': 'g%d', "
                 "'pod-group.scheduling.sigs.k8s.io/min-available': '%d'}}, 'spec': "
                 "{'preemptionPolicy': 'Never', 'priority': %d, 'containers': [{'resources': "
                 "{'requests': {'cpu': '%dm'}}}]}}",
                 g, i, g, i, serial, g, GANG_OF, priority, milli);
        world_store(w, key, gone ? NULL : kb_ptest_json(json));
    }
}

static int bound_of(struct world *w, int g)
{
    int n = 0;
    for (int i = 0; i < GANG_OF; i++) {
        char key[64];
        snprintf(key, sizeof(key), "pods/x/g%d-%d", g, i);
        n += node_of(world_find(w, key)).n > 0;
    }
    return n;
}

/* Is there room for a gang that waits? Its pods are alike. */
static bool would_fit(struct world *w, int g)
{
    char key[64];
    int room = 0;
    snprintf(key, sizeof(key), "pods/x/g%d-0", g);
    int milli = milli_of(world_find(w, key));
    for (int n = 0; n < NODES; n++)
        room += (CAPACITY - used_on(w, n)) / milli;
    return room >= GANG_OF;
}

static void end_one(struct world *w, struct kb_rand *rand)
{
    struct object *o = &w->objects[kb_rand_below(rand, (uint64_t)w->n)];
    if (is_pod(o) && is_leaving(o))
        world_store(w, o->key, NULL);
}

static void start(struct world *w, struct kb_rand *rand, uint64_t seed, bool gangs)
{
    static const struct kb_policy *policies[1] = {&kubus_policy_Gang};
    world_start_with(w, policies, gangs ? 1 : 0);
    peaceful = gangs;
    w->evicting = check_victim;
    kb_rand_init(rand, seed);
    kb_rand_init(&w->rand, seed + 1);
    for (int n = 0; n < NODES; n++) {
        char name[16];
        snprintf(name, sizeof(name), "n%d", n);
        world_node(w, name, "4");
    }
}

static void something_happens(struct world *w, struct kb_rand *rand)
{
    if (!peaceful && kb_rand_below(rand, 160) == 0)
        world_restart(w); /* what was reserved is not known to who comes next */
    else if (kb_rand_below(rand, 2))
        write_pod(w, rand);
    else
        end_one(w, rand);
}

/* Nothing is lost any more, victims end, and time passes. */
static void calm(struct world *w)
{
    w->lose = 0;
    for (int i = 0; i < 80; i++) {
        world_settle(w);
        check_nodes(w);
        world_end_evicted(w);
        world_wait_ms(w, 11000);
    }
    world_settle(w);
}

static void check_counts(struct world *w)
{
    struct kb_sched_counts c = kb_sched_counts(w->sched);
    size_t bound = 0, waiting = 0;
    for (int i = 0; i < w->n; i++) {
        bound += is_pod(&w->objects[i]) && node_of(&w->objects[i]).n > 0;
        waiting += is_pod(&w->objects[i]) && node_of(&w->objects[i]).n == 0;
    }
    KB_CHECK_U64(c.placed, ==, bound);
    KB_CHECK_U64(c.assumed, ==, 0);
    KB_CHECK_U64(c.held, ==, 0);
    KB_CHECK_U64(c.waiting.active + c.waiting.backoff + c.waiting.unschedulable + c.waiting.gated,
                 ==, waiting);
}

/* What is not for a pod of this priority to have on the node: those that it may not evict, and
 * those nominated before it. */
static int taken(struct world *w, int n, const struct object *pod)
{
    char name[8];
    int sum = 0;
    snprintf(name, sizeof(name), "n%d", n);
    for (int i = 0; i < w->n; i++) {
        const struct object *o = &w->objects[i];
        if (!is_pod(o) || o == pod)
            continue;
        kb_str nominated = kb_val_str(kb_doc_at(o->doc, "status.nominatedNodeName"));
        bool on =
            kb_str_is(node_of(o), name) && (is_quiet(pod) || priority_of(o) >= priority_of(pod));
        bool promised =
            node_of(o).n == 0 && kb_str_is(nominated, name) && priority_of(o) >= priority_of(pod);
        sum += on || promised ? milli_of(o) : 0;
    }
    return sum;
}

KB_TEST(cycle_property, in_any_order_the_more_important_pods_have_their_places)
{
    KB_AUTO(world_end) struct world w;
    struct kb_rand rand;
    uint64_t seed = kb_test_seed();
    start(&w, &rand, seed, false);
    w.lose = 6;
    world_walk(&w, &rand, 8000, something_happens, check_nodes);
    calm(&w);
    check_counts(&w);
    for (int i = 0; i < w.n; i++) {
        const struct object *o = &w.objects[i];
        for (int n = 0; is_pod(o) && node_of(o).n == 0 && n < NODES; n++)
            KB_CHECK_I64(taken(&w, n, o) + milli_of(o), >, CAPACITY);
    }
}

KB_TEST(cycle_property, in_any_order_gangs_are_bound_whole_or_not_at_all)
{
    KB_AUTO(world_end) struct world w;
    struct kb_rand rand;
    uint64_t seed = kb_test_seed();
    bool there[GANGS] = {0};
    start(&w, &rand, seed, true);
    for (int round = 0; round < 6; round++) {
        w.lose = 6;
        for (int step = 0; step < 1500; step++) {
            int g = (int)kb_rand_below(&rand, GANGS);
            bool idle = !there[g] || bound_of(&w, g) == GANG_OF || bound_of(&w, g) == 0;
            if (kb_rand_below(&rand, 60) == 0 && idle) {
                there[g] = !there[g];
                write_gang(&w, &rand, g, !there[g], step + round * 10000);
                for (int i = 0; i < 200; i++) /* gone is gone before anything is bound to it */
                    world_tell_change(&w);
            }
            world_walk(&w, &rand, 1, something_happens, check_nodes);
        }
        calm(&w);
        check_counts(&w);
        for (int g = 0; g < GANGS; g++) {
            int n = bound_of(&w, g);
            KB_CHECK(n == 0 || n == GANG_OF);
            KB_CHECK(!there[g] || n == GANG_OF || !would_fit(&w, g));
        }
    }
}

/* ---- the choice of victims, against Kubernetes' algorithm written down on plain numbers ---- */

enum { RUNNING = 14, BUDGETS = 2 };

struct plain {
    int node, milli, priority, minute;
    int budget; /* -1: none */
    bool away;
};

struct choice {
    int node, violations, n;
    int victims[RUNNING]; /* most important first */
};

static int more_important(const struct plain *p, int a, int b)
{
    if (p[a].priority != p[b].priority)
        return p[a].priority > p[b].priority;
    return p[a].minute < p[b].minute;
}

static void sort(const struct plain *p, int *list, int n)
{
    for (int i = 1; i < n; i++)
        for (int k = i; k > 0 && more_important(p, list[k], list[k - 1]); k--) {
            int swap = list[k];
            list[k] = list[k - 1];
            list[k - 1] = swap;
        }
}

static bool fits(const struct plain *p, int node, int capacity, int milli)
{
    int sum = milli;
    for (int i = 0; i < RUNNING; i++)
        sum += p[i].node == node && !p[i].away ? p[i].milli : 0;
    return sum <= capacity;
}

/* False: no victims help on this node. */
static bool choose(struct plain *p, const int *allowed, int node, int milli, int priority,
                   struct choice *ret)
{
    int lower[RUNNING], n = 0, left[BUDGETS] = {allowed[0], allowed[1]};
    bool violates[RUNNING] = {0};
    *ret = (struct choice){.node = node};
    for (int i = 0; i < RUNNING; i++) {
        if (p[i].node != node || p[i].priority >= priority)
            continue;
        lower[n++] = i;
        p[i].away = true;
    }
    bool possible = n > 0 && fits(p, node, CAPACITY, milli);
    sort(p, lower, n);
    for (int i = 0; i < n; i++)
        violates[i] = p[lower[i]].budget >= 0 && --left[p[lower[i]].budget] < 0;
    for (int pass = 1; possible && pass >= 0; pass--) {
        for (int i = 0; i < n; i++) {
            if (violates[i] != (pass == 1))
                continue;
            p[lower[i]].away = false;
            if (fits(p, node, CAPACITY, milli))
                continue;
            p[lower[i]].away = true;
            ret->victims[ret->n++] = lower[i];
            ret->violations += pass;
        }
    }
    for (int i = 0; i < n; i++)
        p[lower[i]].away = false;
    sort(p, ret->victims, ret->n);
    return possible && ret->n > 0;
}

/* The criteria, each to be made small, the first that differs decides. */
static void criteria(const struct plain *p, const struct choice *c, int64_t out[5])
{
    int first = 60;
    out[0] = c->violations;
    out[1] = p[c->victims[0]].priority;
    out[2] = 0;
    for (int i = 0; i < c->n; i++) {
        out[2] += (int64_t)p[c->victims[i]].priority + 2147483648;
        if (p[c->victims[i]].priority == out[1] && p[c->victims[i]].minute < first)
            first = p[c->victims[i]].minute;
    }
    out[3] = c->n;
    out[4] = -first;
}

static int compare(const struct plain *p, const struct choice *a, const struct choice *b)
{
    int64_t x[5], y[5];
    criteria(p, a, x);
    criteria(p, b, y);
    for (int i = 0; i < 5; i++)
        if (x[i] != y[i])
            return x[i] < y[i] ? -1 : 1;
    return 0;
}

static void put_running(struct world *w, const struct plain *p, int i)
{
    char key[32], budget[32] = "";
    snprintf(key, sizeof(key), "pods/x/r%d", i);
    if (p->budget >= 0)
        snprintf(budget, sizeof(budget), "'b': 'b%d'", p->budget);
    world_store_text(
        w, key,
        "{'metadata': {'name': 'r%d', 'namespace': 'x', 'uid': 'r%d', 'labels': {%s}}, "
        "'spec': {'nodeName': 'n%d', 'priority': %d, 'containers': [{'resources': "
        "{'requests': {'cpu': '%dm'}}}]}, 'status': {'startTime': "
        "'2025-01-01T00:%02d:00Z'}}",
        i, i, budget, p->node, p->priority, p->milli, p->minute);
}

static void random_cluster(struct world *w, struct kb_rand *rand, struct plain *p, int *allowed)
{
    int used[NODES] = {0};
    for (int b = 0; b < BUDGETS; b++) {
        char key[64];
        allowed[b] = (int)kb_rand_below(rand, 3);
        snprintf(key, sizeof(key), "poddisruptionbudgets.policy/x/b%d", b);
        world_store_text(w, key,
                         "{'spec': {'selector': {'matchLabels': {'b': 'b%d'}}}, 'status': "
                         "{'disruptionsAllowed': %d}}",
                         b, allowed[b]);
    }
    for (int i = 0; i < RUNNING; i++) {
        p[i] = (struct plain){.node = (int)kb_rand_below(rand, NODES),
                              .milli = 250 * (int)(1 + kb_rand_below(rand, 6)),
                              .priority = (int)kb_rand_below(rand, 4),
                              .minute = i, /* no two alike: equals have no order to compare */
                              .budget = (int)kb_rand_below(rand, BUDGETS + 2) - 2};
        p[i].budget = p[i].budget < 0 ? -1 : p[i].budget;
        if (used[p[i].node] + p[i].milli > CAPACITY) {
            p[i].node = -1;
            continue;
        }
        used[p[i].node] += p[i].milli;
        put_running(w, &p[i], i);
    }
}

KB_TEST(cycle_property, victims_are_those_that_kubernetes_would_choose)
{
    struct kb_rand rand;
    int chosen = 0;
    for (uint64_t round = 0, seed = kb_test_seed(); round < 60; round++) {
        KB_AUTO(world_end) struct world w;
        struct plain p[RUNNING];
        struct choice best = {0}, it;
        int allowed[BUDGETS], milli, ties = 0;
        bool any = false, free_node = false;
        start(&w, &rand, seed + round, false);
        random_cluster(&w, &rand, p, allowed);
        milli = 500 * (int)(2 + kb_rand_below(&rand, 7));
        for (int n = 0; n < NODES; n++) {
            free_node |= fits(p, n, CAPACITY, milli);
            if (!choose(p, allowed, n, milli, 3, &it))
                continue;
            int order = any ? compare(p, &it, &best) : -1;
            ties = order == 0 ? ties + 1 : order < 0 ? 0 : ties;
            best = order < 0 ? it : best;
            any = true;
        }
        char cpu[16];
        snprintf(cpu, sizeof(cpu), "%dm", milli);
        w.evicting = NULL;
        world_pod(&w, "high", cpu, "'priority': 3,");
        world_settle(&w);
        KB_CHECK_I64(w.evictions, ==, free_node || !any ? 0 : best.n);
        for (int i = 0; !free_node && any && ties == 0 && i < best.n; i++) {
            char key[32];
            snprintf(key, sizeof(key), "pods/x/r%d", best.victims[i]);
            KB_CHECK(is_leaving(world_find(&w, key)));
            chosen++;
        }
    }
    KB_CHECK_I64(chosen, >, 0);
}
