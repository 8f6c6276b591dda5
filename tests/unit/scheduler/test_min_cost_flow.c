/* MinCostFlow: what is best for all pods together, against all possibilities tried one by one. */
#include "tests/lib/test.h"
#include "tests/unit/scheduler/world.h"

#include <stdlib.h>

extern const struct kb_policy kubus_policy_MinCostFlow;

enum { MOST = 6 };

/* Scores and filters from a table: a pod's column is its CPU request, a node's row its name. */
static int table[MOST][MOST]; /* -1: may not */

static int kind_of(const struct kb_policy_cycle *c)
{
    return (int)c->pod->requests[0].amount - 1; /* milli */
}

static int node_of(const struct kb_policy_cycle *c, uint32_t slot)
{
    return atoi(c->host->text(c->host->core, c->nodes->name[slot]) + 1);
}

static void table_filter(struct kb_policy_cycle *c, uint32_t from, uint32_t to, uint32_t *verdict)
{
    for (uint32_t i = from; i < to; i++)
        verdict[i - from] = c->nodes->present[i] && table[kind_of(c)][node_of(c, i)] < 0;
}

static void table_score(struct kb_policy_cycle *c, uint32_t from, uint32_t to, int64_t *score)
{
    for (uint32_t i = from; i < to; i++)
        score[i - from] = c->nodes->present[i] ? table[kind_of(c)][node_of(c, i)] : 0;
}

static void table_reason(struct kb_policy_cycle *c, uint32_t code, kb_policy_emit *emit, void *to)
{
    (void)c;
    (void)code;
    emit(to, "not in the table");
}

static const struct kb_policy Table = {.abi = KB_POLICY_ABI,
                                       .size = sizeof(Table),
                                       .name = "Table",
                                       .weight = 1,
                                       .filter = table_filter,
                                       .reason = table_reason,
                                       .score = table_score};

static struct kb_sched *scheduler(const char *args)
{
    struct kb_profile_entry entries[] = {
        {.policy = kb_policy_builtin("PrioritySort")},
        {.policy = kb_policy_builtin("NodeResourcesFit"), .without = 1u << KB_POINT_SCORE},
        {.policy = &Table},
        {.policy = &kubus_policy_MinCostFlow, .args = args}};
    struct kb_sched *s = NULL;
    struct kb_err err = {0};
    KB_CHECK_OK(kb_sched_new_with(1, "default-scheduler", entries, KB_COUNT(entries), &s, &err),
                &err);
    kb_sched_time(s, 1000, 1000000);
    return s;
}

static void put(struct kb_sched *s, const char *key, const char *json)
{
    KB_AUTO(kb_doc_destroy) struct kb_doc *doc = kb_ptest_json(json);
    if (strncmp(key, "nodes", 5) == 0)
        kb_sched_node_put(s, kb_str_of(key), kb_doc_root(doc));
    else
        kb_sched_pod_put(s, kb_str_of(key), 1, kb_doc_root(doc));
}

static void put_node(struct kb_sched *s, int node, int pods)
{
    char key[32], json[128];
    snprintf(key, sizeof(key), "nodes//n%d", node);
    snprintf(json, sizeof(json),
             "{'status': {'allocatable': {'cpu': '8', 'memory': '1Gi', 'pods': '%d'}}}", pods);
    put(s, key, json);
}

static void put_pod(struct kb_sched *s, int kind, int n)
{
    char key[32], json[256];
    snprintf(key, sizeof(key), "pods/x/p%d-%d", kind, n);
    snprintf(json, sizeof(json),
             "{'metadata': {'name': 'p', 'namespace': 'x', 'uid': 'u%d-%d'}, 'spec': "
             "{'containers': [{'resources': {'requests': {'cpu': '%dm'}}}]}}",
             kind, n, kind + 1);
    put(s, key, json);
}

/* Bindings and the sum of their scores. */
static int sum_up(const struct kb_sched_out *out, int *ret_bound)
{
    int sum = 0;
    *ret_bound = 0;
    for (size_t i = 0; i < out->n; i++) {
        if (out->wishes[i].kind != KB_SCHED_BIND)
            continue;
        kb_str node = kb_val_str(kb_doc_at(out->wishes[i].doc, "spec.nodeName"));
        (*ret_bound)++;
        sum += table[out->wishes[i].key[8] - '0'][node.p[1] - '0'];
    }
    return sum;
}

/* Of all ways to give each pod a node of its own or none: most pods, then the highest sum. */
static void best_of(int pods, int nodes, int pod, unsigned taken, int bound, int sum, int best[2])
{
    if (pod == pods) {
        if (bound > best[0] || (bound == best[0] && sum > best[1])) {
            best[0] = bound;
            best[1] = sum;
        }
        return;
    }
    best_of(pods, nodes, pod + 1, taken, bound, sum, best);
    for (int n = 0; n < nodes; n++)
        if (table[pod][n] >= 0 && !(taken & (1u << n)))
            best_of(pods, nodes, pod + 1, taken | (1u << n), bound + 1, sum + table[pod][n], best);
}

KB_TEST(min_cost_flow, finds_what_is_best_for_all_together)
{
    struct kb_rand rand;
    kb_rand_init(&rand, kb_test_seed());
    for (int round = 0; round < 60; round++) {
        struct kb_sched *s = scheduler("{\"loadCost\": 0}");
        struct kb_sched_out out = {0};
        int pods = 2 + (int)kb_rand_below(&rand, MOST - 1), best[2] = {0}, bound;
        int nodes = 2 + (int)kb_rand_below(&rand, MOST - 1);
        for (int p = 0; p < MOST; p++)
            for (int n = 0; n < MOST; n++)
                table[p][n] = kb_rand_below(&rand, 4) ? (int)kb_rand_below(&rand, 101) : -1;
        for (int n = 0; n < nodes; n++)
            put_node(s, n, 1);
        for (int p = 0; p < pods; p++)
            put_pod(s, p, 0);
        best_of(pods, nodes, 0, 0, 0, 0, best);
        kb_sched_decide(s, 100, &out);
        int sum = sum_up(&out, &bound);
        KB_CHECK_I64(bound, ==, best[0]);
        KB_CHECK_I64(sum, ==, best[1]);
        kb_sched_out_finish(&out);
        kb_sched_destroy(&s);
    }
}

/* One by one, the first pod takes the only node that the second could have had. */
KB_TEST(min_cost_flow, leaves_a_node_to_who_has_no_other)
{
    struct kb_sched *s = scheduler(NULL);
    struct kb_sched_out out = {0};
    int bound;
    table[0][0] = 90, table[0][1] = 50;
    table[1][0] = 60, table[1][1] = -1;
    put_node(s, 0, 1);
    put_node(s, 1, 1);
    put_pod(s, 0, 0);
    put_pod(s, 1, 0);
    kb_sched_decide(s, 100, &out);
    KB_CHECK_I64(sum_up(&out, &bound), ==, 50 + 60);
    KB_CHECK_I64(bound, ==, 2);
    kb_sched_out_finish(&out);
    kb_sched_destroy(&s);
}

KB_TEST(min_cost_flow, spreads_by_what_a_full_node_costs)
{
    struct kb_sched *s = scheduler("{\"loadCost\": 30}");
    struct kb_sched_out out = {0};
    int bound;
    table[0][0] = 90, table[0][1] = 50; /* 0, 30, 60 … more of n1 against 40 for n0's */
    put_node(s, 0, 9);
    put_node(s, 1, 9);
    for (int i = 0; i < 6; i++)
        put_pod(s, 0, i);
    kb_sched_decide(s, 100, &out);
    KB_CHECK_I64(sum_up(&out, &bound), ==, 4 * 90 + 2 * 50);
    KB_CHECK_I64(bound, ==, 6);
    kb_sched_out_finish(&out);
    kb_sched_destroy(&s);
}

/* Kinds that fit alone and not together: what is too much goes elsewhere, or waits. */
KB_TEST(min_cost_flow, overfills_no_node)
{
    KB_AUTO(world_end) struct world w;
    static const struct kb_policy *policies[1] = {&kubus_policy_MinCostFlow};
    struct kb_rand rand;
    kb_rand_init(&rand, kb_test_seed());
    world_start_with(&w, policies, 1);
    for (int n = 0; n < 5; n++) {
        char name[16];
        snprintf(name, sizeof(name), "n%d", n);
        world_node(&w, name, "4");
    }
    int asked = 0, got = 0, left = 20000;
    for (int i = 0; i < 60; i++) {
        char name[16], cpu[16];
        snprintf(name, sizeof(name), "p%d", i);
        snprintf(cpu, sizeof(cpu), "%dm", 250 * (1 + (int)kb_rand_below(&rand, 6)));
        world_pod(&w, name, cpu, "");
        asked++;
    }
    world_settle(&w);
    int used[5] = {0};
    for (int i = 0; i < w.n; i++) {
        kb_str node = kb_val_str(kb_doc_at(w.objects[i].doc, "spec.nodeName"));
        kb_str cpu =
            kb_val_str(kb_doc_at(w.objects[i].doc, "spec.containers[0].resources.requests.cpu"));
        if (node.n == 0)
            continue;
        used[node.p[1] - '0'] += atoi(cpu.p);
        left -= atoi(cpu.p);
        got++;
    }
    for (int n = 0; n < 5; n++)
        KB_CHECK_I64(used[n], <=, 4000);
    struct kb_sched_counts c = kb_sched_counts(w.sched);
    KB_CHECK_U64(c.placed, ==, (size_t)got);
    KB_CHECK_U64(c.waiting.unschedulable, ==, (size_t)(asked - got));
    KB_CHECK_I64(left, <, 5 * 1500); /* what waits fits nowhere */
}
