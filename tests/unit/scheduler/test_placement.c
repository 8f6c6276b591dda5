/* A node and a scheduler say the same of a pod: bus/model/placement.h, which reads one pod and one
 * node as texts, against the policies, which run over columns of numbers. */
#include "bus/base/rand.h"
#include "bus/model/placement.h"
#include "tests/lib/policy.h"
#include "tests/lib/test.h"

enum { NODES = 8, PODS = 400 };

static const char *const values[] = {"0", "1", "2", "30", "x"};

static int below(struct kb_rand *rand, size_t n)
{
    return (int)kb_rand_below(rand, n);
}

static void random_values(struct kb_rand *rand, struct kb_buf *out, int n, const char *prefix)
{
    for (int i = 0; i < n; i++)
        kb_buf_printf(out, "%s'%s%s'", i ? ", " : "", prefix,
                      values[below(rand, KB_COUNT(values))]);
}

static void random_requirement(struct kb_rand *rand, struct kb_buf *out)
{
    static const char *const ops[] = {"In", "NotIn", "Exists", "DoesNotExist", "Gt", "Lt"};
    int op = below(rand, KB_COUNT(ops));
    int n = op < 2 ? 1 + below(rand, 2) : op < 4 ? 0 : 1;
    kb_buf_printf(out, "{'key': 'l%d', 'operator': '%s', 'values': [", below(rand, 3), ops[op]);
    random_values(rand, out, n, "");
    kb_buf_puts(out, "]}");
}

static void random_term(struct kb_rand *rand, struct kb_buf *out)
{
    int n = below(rand, 3);
    kb_buf_puts(out, "{'matchExpressions': [");
    for (int i = 0; i < n; i++) {
        kb_buf_puts(out, i ? ", " : "");
        random_requirement(rand, out);
    }
    kb_buf_puts(out, "]");
    if (below(rand, 4) == 0) {
        kb_buf_printf(out,
                      ", 'matchFields': [{'key': 'metadata.name', 'operator': '%s', 'values': [",
                      below(rand, 2) ? "In" : "NotIn");
        random_values(rand, out, 1, "n");
        kb_buf_puts(out, "]}]");
    }
    kb_buf_puts(out, "}");
}

static void random_tolerations(struct kb_rand *rand, struct kb_buf *out)
{
    static const char *const effects[] = {"", "NoSchedule", "PreferNoSchedule", "NoExecute"};
    int n = below(rand, 3);
    for (int i = 0; i < n; i++) {
        bool exists = below(rand, 2);
        kb_buf_printf(out, "%s{'key': '%s', 'operator': '%s', 'effect': '%s'", i ? ", " : "",
                      exists && below(rand, 3) == 0 ? ""
                      : below(rand, 2)              ? "t0"
                                                    : "t1",
                      exists ? "Exists" : "Equal", effects[below(rand, KB_COUNT(effects))]);
        kb_buf_printf(out, exists ? "}" : ", 'value': '%d'}", below(rand, 2));
    }
}

static void random_pod(struct kb_rand *rand, struct kb_buf *out)
{
    kb_buf_clear(out);
    kb_buf_puts(out, "{'spec': {'containers': [{}], 'nodeSelector': {");
    if (below(rand, 3) == 0)
        kb_buf_printf(out, "'l%d': '%s'", below(rand, 3), values[below(rand, KB_COUNT(values))]);
    kb_buf_puts(out, "}, 'tolerations': [");
    random_tolerations(rand, out);
    kb_buf_puts(out, "]");
    if (below(rand, 4) > 0) {
        int n = 1 + below(rand, 2);
        kb_buf_puts(out, ", 'affinity': {'nodeAffinity': {"
                         "'requiredDuringSchedulingIgnoredDuringExecution': "
                         "{'nodeSelectorTerms': [");
        for (int i = 0; i < n; i++) {
            kb_buf_puts(out, i ? ", " : "");
            random_term(rand, out);
        }
        kb_buf_puts(out, "]}}}");
    }
    kb_buf_puts(out, "}}");
}

static void random_node(struct kb_rand *rand, struct kb_buf *out, int at)
{
    const char *comma = "";
    kb_buf_clear(out);
    if (at < (int)KB_COUNT(values))
        kb_buf_printf(out, "{'metadata': {'name': 'n%s', 'labels': {", values[at]);
    else
        kb_buf_printf(out, "{'metadata': {'name': 'm%d', 'labels': {", at);
    for (int l = 0; l < 3; l++)
        if (below(rand, 3) > 0) {
            kb_buf_printf(out, "%s'l%d': '%s'", comma, l, values[below(rand, KB_COUNT(values))]);
            comma = ", ";
        }
    kb_buf_puts(out, "}}, 'spec': {'taints': [");
    int n = below(rand, 3);
    for (int i = 0; i < n; i++)
        kb_buf_printf(out, "%s{'key': 't%d', 'value': '%d', 'effect': '%s'}", i ? ", " : "", i,
                      below(rand, 2), below(rand, 2) ? "NoExecute" : "NoSchedule");
    kb_buf_puts(out, "]}}");
}

struct cluster {
    struct kb_ptest *affinity, *taints;
    struct kb_doc *nodes[NODES];
    char names[NODES][16];
};

static void cluster_make(struct cluster *c, struct kb_rand *rand)
{
    KB_AUTO(kb_buf_finish) struct kb_buf text = {0};
    struct kb_profile_entry affinity = {.policy = kb_policy_builtin("NodeAffinity")};
    struct kb_profile_entry taints = {.policy = kb_policy_builtin("TaintToleration")};
    c->affinity = kb_ptest_new(&affinity, 1);
    c->taints = kb_ptest_new(&taints, 1);
    for (int i = 0; i < NODES; i++) {
        random_node(rand, &text, i);
        c->nodes[i] = kb_ptest_json(text.p);
        kb_str name = kb_val_str(kb_doc_at(c->nodes[i], "metadata.name"));
        KB_CHECK(kb_str_copy(name, c->names[i], sizeof c->names[i]));
        kb_ptest_node(c->affinity, c->names[i], text.p);
        kb_ptest_node(c->taints, c->names[i], text.p);
    }
}

static void cluster_free(struct cluster *c)
{
    kb_ptest_destroy(&c->affinity);
    kb_ptest_destroy(&c->taints);
    for (int i = 0; i < NODES; i++)
        kb_doc_destroy(&c->nodes[i]);
}

static void ask(struct cluster *c, int at, const char *pod)
{
    KB_AUTO(kb_doc_destroy) struct kb_doc *doc = kb_ptest_json(pod);
    kb_val spec = kb_doc_at(doc, "spec"), node = kb_doc_root(c->nodes[at]);
    kb_val taints = kb_val_at(node, "spec.taints"), tolerations = kb_val_get(spec, "tolerations");
    bool meant = *kb_ptest_why(c->affinity, c->names[at], pod) == '\0';
    bool tolerates = *kb_ptest_why(c->taints, c->names[at], pod) == '\0';
    if (meant != kb_node_affinity_match(spec, node))
        kb_test_fail(__FILE__, __LINE__, "affinity of %s on %s", pod, c->names[at]);
    if (tolerates != (kb_taint_untolerated(taints, "NoExecute", tolerations).p == NULL &&
                      kb_taint_untolerated(taints, "NoSchedule", tolerations).p == NULL))
        kb_test_fail(__FILE__, __LINE__, "tolerations of %s on %s", pod, c->names[at]);
}

KB_TEST(placement, of_one_pod_on_one_node_is_judged_as_the_policies_judge_it)
{
    struct cluster c;
    KB_AUTO(kb_buf_finish) struct kb_buf pod = {0};
    uint64_t seed = kb_test_seed();
    struct kb_rand rand;
    kb_rand_init(&rand, seed);
    cluster_make(&c, &rand);
    for (int i = 0; i < PODS; i++) {
        random_pod(&rand, &pod);
        for (int n = 0; n < NODES; n++)
            ask(&c, n, pod.p);
    }
    cluster_free(&c);
}
