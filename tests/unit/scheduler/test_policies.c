/* Each built-in policy against a table of cases, and the words for a pod that fits nowhere. */
#include "tests/lib/policy.h"
#include "tests/lib/test.h"

#include <stdio.h>
#include <stdlib.h>

static struct kb_ptest *all_policies(void)
{
    return kb_ptest_new(kb_profile_default, kb_profile_default_n);
}

static struct kb_ptest *only(const char *policy)
{
    struct kb_profile_entry entry = {.policy = kb_policy_builtin(policy)};
    return kb_ptest_new(&entry, 1);
}

#define ALLOC(cpu, memory)                                                                         \
    "'status': {'allocatable': {'cpu': '" cpu "', 'memory': '" memory "', 'pods': '110'}}"
#define NODE(cpu, memory)  "{" ALLOC(cpu, memory) "}"
#define REQUESTS(requests) "{'resources': {'requests': {" requests "}}}"
#define POD(requests)      "{'spec': {'containers': [" REQUESTS(requests) "]}}"

KB_TEST(fit, counts_requests_as_kubernetes_does)
{
    static const struct {
        const char *pod, *why;
    } cases[] = {
        {POD(""), ""},
        {POD("'cpu': '2', 'memory': '1Gi'"), ""},
        {POD("'cpu': '2001m'"), "Insufficient cpu"},
        {POD("'cpu': '3', 'memory': '2Gi'"), "Insufficient cpu; Insufficient memory"},
        {POD("'example.com/gpu': '1'"), "Insufficient example.com/gpu"},
        {POD("'example.com/gpu': '0'"), ""},
        /* init containers run one after the other: the largest counts, not the sum */
        {"{'spec': {'initContainers': [" REQUESTS("'cpu': '2'") "," REQUESTS(
             "'cpu': '2'") "],"
                           "'containers': [" REQUESTS("'cpu': '1'") "]}}",
         ""},
        {"{'spec': {'initContainers': [" REQUESTS("'cpu': '2500m'") "],"
                                                                    "'containers': [" REQUESTS(
                                                                        "'cpu': '1'") "]}}",
         "Insufficient cpu"},
        /* a sidecar runs beside the containers, and beside the init containers after it */
        {"{'spec': {'initContainers': [{'restartPolicy': 'Always', 'resources': {'requests':"
         "{'cpu': '1500m'}}}], 'containers': [" REQUESTS("'cpu': '1'") "]}}",
         "Insufficient cpu"},
        {"{'spec': {'initContainers': [{'restartPolicy': 'Always', 'resources': {'requests':"
         "{'cpu': '1'}}}, " REQUESTS("'cpu': '1500m'") "], 'containers': [{}]}}",
         "Insufficient cpu"},
        {"{'spec': {'initContainers': [" REQUESTS(
             "'cpu': '1500m'") ", {'restartPolicy':"
                               "'Always', 'resources': {'requests': {'cpu': '1'}}}], 'containers': "
                               "[{}]}}",
         ""},
        {"{'spec': {'overhead': {'cpu': '1500m'}, 'containers': [" REQUESTS("'cpu': '1'") "]}}",
         "Insufficient cpu"},
    };
    struct kb_ptest *t = only("NodeResourcesFit");
    kb_ptest_node(t, "n1", NODE("2", "1Gi"));
    for (size_t i = 0; i < KB_COUNT(cases); i++)
        KB_CHECK_STR(kb_ptest_why(t, "n1", cases[i].pod), cases[i].why);
    kb_ptest_destroy(&t);
}

KB_TEST(fit, counts_what_is_on_the_node)
{
    struct kb_ptest *t = only("NodeResourcesFit");
    kb_ptest_pod(t, "n1", POD("'cpu': '1500m'")); /* seen before its node */
    kb_ptest_node(t, "n1",
                  "{'status': {'allocatable': {'cpu': '2', 'memory': '1Gi', 'pods': '2'}}}");
    KB_CHECK_STR(kb_ptest_why(t, "n1", POD("'cpu': '501m'")), "Insufficient cpu");
    KB_CHECK_STR(kb_ptest_place(t, POD("'cpu': '500m'")), "n1");
    KB_CHECK_STR(kb_ptest_why(t, "n1", POD("")), "Too many pods");
    kb_ptest_destroy(&t);
}

KB_TEST(fit, the_least_allocated_node_is_best)
{
    struct kb_ptest *t = only("NodeResourcesFit");
    kb_ptest_node(t, "n1", NODE("4", "4Gi"));
    kb_ptest_node(t, "n2", NODE("4", "4Gi"));
    kb_ptest_pod(t, "n1", POD("'cpu': '1', 'memory': '1Gi'"));
    const char *pod = POD("'cpu': '1', 'memory': '1Gi'");
    KB_CHECK_I64(kb_ptest_score(t, "NodeResourcesFit", "n1", pod), ==, 50);
    KB_CHECK_I64(kb_ptest_score(t, "NodeResourcesFit", "n2", pod), ==, 75);
    /* a container without requests counts as 100m and 200Mi: (97 + 95) / 2 */
    KB_CHECK_I64(kb_ptest_score(t, "NodeResourcesFit", "n2", POD("")), ==, 96);
    kb_ptest_destroy(&t);
}

KB_TEST(balanced, like_shares_of_cpu_and_memory_are_best)
{
    struct kb_ptest *t = only("NodeResourcesBalancedAllocation");
    kb_ptest_node(t, "n1", NODE("10", "10G"));
    const char *name = "NodeResourcesBalancedAllocation";
    KB_CHECK_I64(kb_ptest_score(t, name, "n1", POD("'cpu': '3', 'memory': '3G'")), ==, 100);
    KB_CHECK_I64(kb_ptest_score(t, name, "n1", POD("'cpu': '6', 'memory': '1G'")), ==, 75);
    KB_CHECK_I64(kb_ptest_score(t, name, "n1", POD("")), ==, INT64_MIN);
    kb_ptest_destroy(&t);
}

#define TERM(expressions) "{'matchExpressions': [" expressions "]}"
#define REQUIRED(terms)                                                                            \
    "{'spec': {'affinity': {'nodeAffinity': {'requiredDuringSchedulingIgnoredDuringExecution':"    \
    "{'nodeSelectorTerms': [" terms "]}}}}}"

KB_TEST(affinity, selector_and_terms_are_matched)
{
    static const struct {
        const char *pod;
        bool fits;
    } cases[] = {
        {"{'spec': {'nodeSelector': {'zone': 'a'}}}", true},
        {"{'spec': {'nodeSelector': {'zone': 'b'}}}", false},
        {"{'spec': {'nodeSelector': {'zone': 'a', 'none': ''}}}", false},
        {"{'spec': {'nodeSelector': {'empty': ''}}}", true},
        {REQUIRED(TERM("{'key': 'zone', 'operator': 'In', 'values': ['b', 'a']}")), true},
        {REQUIRED(TERM("{'key': 'zone', 'operator': 'NotIn', 'values': ['b', 'a']}")), false},
        {REQUIRED(TERM("{'key': 'none', 'operator': 'NotIn', 'values': ['a']}")), true},
        {REQUIRED(TERM("{'key': 'none', 'operator': 'Exists'}")), false},
        {REQUIRED(TERM("{'key': 'empty', 'operator': 'Exists'}")), true},
        {REQUIRED(TERM("{'key': 'none', 'operator': 'DoesNotExist'}")), true},
        {REQUIRED(TERM("{'key': 'zone', 'operator': 'DoesNotExist'}")), false},
        {REQUIRED(TERM("{'key': 'cores', 'operator': 'Gt', 'values': ['7']}")), true},
        {REQUIRED(TERM("{'key': 'cores', 'operator': 'Gt', 'values': ['8']}")), false},
        {REQUIRED(TERM("{'key': 'cores', 'operator': 'Lt', 'values': ['9']}")), true},
        {REQUIRED(TERM("{'key': 'zone', 'operator': 'Lt', 'values': ['9']}")), false},
        {REQUIRED(TERM("{'key': 'cores', 'operator': 'Lt', 'values': ['x']}")), false},
        /* all of a term, any of the terms; a term without content and no terms match nothing */
        {REQUIRED(TERM("{'key': 'zone', 'operator': 'Exists'},"
                       "{'key': 'none', 'operator': 'Exists'}")),
         false},
        {REQUIRED(TERM("{'key': 'none', 'operator': 'Exists'}") "," TERM(
             "{'key': 'zone', 'operator': 'Exists'}")),
         true},
        {REQUIRED("{}"), false},
        {REQUIRED(""), false},
        {REQUIRED("{'matchFields': [{'key': 'metadata.name', 'operator': 'In',"
                  "'values': ['n1']}]}"),
         true},
        {REQUIRED("{'matchFields': [{'key': 'metadata.name', 'operator': 'NotIn',"
                  "'values': ['n1']}]}"),
         false},
    };
    struct kb_ptest *t = only("NodeAffinity");
    kb_ptest_node(t, "n1", "{'metadata': {'labels': {'zone': 'a', 'cores': '8', 'empty': ''}}}");
    kb_ptest_node(t, "n2", "{}"); /* so that a run is longer than one node */
    for (size_t i = 0; i < KB_COUNT(cases); i++)
        KB_CHECK_STR(kb_ptest_why(t, "n1", cases[i].pod),
                     cases[i].fits ? "" : "node(s) didn't match Pod's node affinity/selector");
    kb_ptest_destroy(&t);
}

#define PREFERRED(weight, zone)                                                                    \
    "{'weight': " weight ", 'preference': {'matchExpressions': [{'key': 'zone', 'operator':"       \
    "'In', 'values': ['" zone "']}]}}"

KB_TEST(affinity, preferences_are_normalized_to_the_highest)
{
    struct kb_ptest *t = only("NodeAffinity");
    kb_ptest_node(t, "n1", "{'metadata': {'labels': {'zone': 'a'}}}");
    kb_ptest_node(t, "n2", "{'metadata': {'labels': {'zone': 'b'}}}");
    kb_ptest_node(t, "n3", "{}");
    const char *pod = "{'spec': {'affinity': {'nodeAffinity': {"
                      "'preferredDuringSchedulingIgnoredDuringExecution': [" PREFERRED(
                          "20", "a") "," PREFERRED("80", "b") "]}}}}";
    KB_CHECK_I64(kb_ptest_score(t, "NodeAffinity", "n1", pod), ==, 2 * 25);
    KB_CHECK_I64(kb_ptest_score(t, "NodeAffinity", "n2", pod), ==, 2 * 100);
    KB_CHECK_I64(kb_ptest_score(t, "NodeAffinity", "n3", pod), ==, 0);
    kb_ptest_node_gone(t, "n2"); /* the highest is another one now */
    KB_CHECK_I64(kb_ptest_score(t, "NodeAffinity", "n1", pod), ==, 2 * 100);
    KB_CHECK_STR(kb_ptest_place(t, pod), "n1");
    kb_ptest_destroy(&t);
}

#define TOLERATES(fields) "{'spec': {'tolerations': [{" fields "}]}}"

KB_TEST(taints, are_tolerated_by_key_value_effect_and_operator)
{
    static const struct {
        const char *pod;
        bool fits;
    } cases[] = {
        {"{}", false},
        {TOLERATES("'operator': 'Exists'"), true},
        {TOLERATES("'key': 'k', 'operator': 'Exists'"), true},
        {TOLERATES("'key': 'x', 'operator': 'Exists'"), false},
        {TOLERATES("'key': 'k', 'value': 'v'"), true},
        {TOLERATES("'key': 'k', 'operator': 'Equal', 'value': 'w'"), false},
        {TOLERATES("'key': 'k', 'value': 'v', 'effect': 'NoSchedule'"), true},
        {TOLERATES("'key': 'k', 'value': 'v', 'effect': 'NoExecute'"), false},
    };
    struct kb_ptest *t = only("TaintToleration");
    kb_ptest_node(t, "n1",
                  "{'spec': {'taints': [{'key': 'p', 'effect': 'PreferNoSchedule'},"
                  "{'key': 'k', 'value': 'v', 'effect': 'NoSchedule'}]}}");
    for (size_t i = 0; i < KB_COUNT(cases); i++)
        KB_CHECK_STR(kb_ptest_why(t, "n1", cases[i].pod),
                     cases[i].fits ? "" : "node(s) had untolerated taint {k: v}");
    kb_ptest_node(t, "n2", "{'spec': {'taints': [{'key': 'p', 'effect': 'PreferNoSchedule'}]}}");
    kb_ptest_node(t, "n3", "{}");
    KB_CHECK_I64(kb_ptest_score(t, "TaintToleration", "n2", "{}"), ==, 0);
    KB_CHECK_I64(kb_ptest_score(t, "TaintToleration", "n3", "{}"), ==, 3 * 100);
    kb_ptest_destroy(&t);
}

KB_TEST(ports, a_host_port_is_held_once_by_address_and_protocol)
{
#define PORT(fields) "{'spec': {'containers': [{'ports': [{'hostPort': 80, " fields "}]}]}}"
    static const struct {
        const char *pod;
        bool fits;
    } cases[] = {
        {PORT("'protocol': 'TCP'"), false},
        {PORT("'protocol': 'UDP'"), true},
        {PORT("'hostIP': '0.0.0.0'"), false},
        {PORT("'hostIP': '127.0.0.1'"), false},
        {PORT("'hostIP': '127.0.0.2'"), true},
        {"{'spec': {'containers': [{'ports': [{'hostPort': 81}, {'containerPort': 80}]}]}}", true},
    };
    struct kb_ptest *t = only("NodePorts");
    kb_ptest_node(t, "n1", "{}");
    kb_ptest_node(t, "n2", "{}");
    kb_ptest_pod(t, "n1", PORT("'hostIP': '127.0.0.1'"));
    for (size_t i = 0; i < KB_COUNT(cases); i++)
        KB_CHECK_STR(kb_ptest_why(t, "n1", cases[i].pod),
                     cases[i].fits ? ""
                                   : "node(s) didn't have free ports for the requested pod ports");
    KB_CHECK_STR(kb_ptest_place(t, PORT("'protocol': 'TCP'")), "n2");
    KB_CHECK_STR(kb_ptest_why(t, "n2", PORT("'hostIP': '127.0.0.2'")),
                 "node(s) didn't have free ports for the requested pod ports");
    kb_ptest_destroy(&t);
}

KB_TEST(name_and_cordon, rule_nodes_out)
{
    struct kb_ptest *t = all_policies();
    kb_ptest_node(t, "n1", "{'spec': {'unschedulable': true}, " ALLOC("1", "1Gi") "}");
    kb_ptest_node(t, "n2", NODE("1", "1Gi"));
    KB_CHECK_STR(kb_ptest_why(t, "n1", "{}"), "node(s) were unschedulable");
    KB_CHECK_STR(kb_ptest_why(t, "n1",
                              TOLERATES("'key': 'node.kubernetes.io/unschedulable',"
                                        "'operator': 'Exists', 'effect': 'NoSchedule'")),
                 "");
    KB_CHECK_STR(kb_ptest_why(t, "n2", "{'spec': {'nodeName': 'n1'}}"),
                 "node(s) didn't match the requested node name");
    kb_ptest_destroy(&t);
}

KB_TEST(message, of_a_pod_that_fits_nowhere_is_that_of_kubernetes)
{
    struct kb_ptest *t = all_policies();
    KB_CHECK_STR(kb_ptest_place(t, "{}"), "no nodes available to schedule pods");
    kb_ptest_node(t, "n1", NODE("1", "1Gi"));
    kb_ptest_node(t, "n2", "{'spec': {'taints': [{'key': 'gpu', 'effect': 'NoSchedule'}]}}");
    kb_ptest_node(t, "n3", "{'spec': {'taints': [{'key': 'gpu', 'effect': 'NoSchedule'}]}}");
    kb_ptest_pod(t, "n1", POD("'cpu': '500m'"));
    KB_CHECK_STR(kb_ptest_place(t, POD("'cpu': '1'")),
                 "0/3 nodes are available: 1 Insufficient cpu, 2 node(s) had untolerated taint "
                 "{gpu: }. preemption: 0/3 nodes are available: 1 No preemption victims found for "
                 "incoming pod, 2 Preemption is not helpful for scheduling.");
    KB_CHECK_STR(kb_ptest_place(t, "{'spec': {'preemptionPolicy': 'Never',"
                                   "'nodeSelector': {'a': 'b'}}}"),
                 "0/3 nodes are available: 1 node(s) didn't match Pod's node affinity/selector, "
                 "2 node(s) had untolerated taint {gpu: }. preemption: not eligible due to "
                 "preemptionPolicy=Never.");
    kb_ptest_destroy(&t);
}

KB_TEST(affinity, a_pod_that_names_its_node_leaves_the_others_out_of_the_question)
{
    struct kb_ptest *t = all_policies();
    const char *daemon = REQUIRED("{'matchFields': [{'key': 'metadata.name', 'operator': 'In',"
                                  "'values': ['n2']}]}");
    kb_ptest_node(t, "n1", "{'spec': {'unschedulable': true}}");
    kb_ptest_node(t, "n2", NODE("1", "1Gi"));
    KB_CHECK_STR(kb_ptest_why(t, "n1", daemon), "node(s) didn't satisfy plugin(s) [NodeAffinity]");
    KB_CHECK_STR(kb_ptest_place(t, daemon), "n2");
    kb_ptest_destroy(&t);
}

KB_TEST(queue_sort, priority_comes_before_age)
{
    const struct kb_policy *p = kb_policy_builtin("PrioritySort");
    struct kb_policy_queued old = {.queued_ms = 1, .seq = 1}, young = {.queued_ms = 2, .seq = 2};
    struct kb_policy_queued high = {.queued_ms = 3, .seq = 3, .priority = 1};
    KB_CHECK(p->queue_sort(NULL, &high, &old) && !p->queue_sort(NULL, &old, &high));
    KB_CHECK(p->queue_sort(NULL, &old, &young) && !p->queue_sort(NULL, &young, &old));
}

KB_TEST(profile, what_this_host_does_not_drive_is_refused)
{
    static const struct kb_policy binder = {
        .abi = KB_POLICY_ABI, .size = sizeof(binder), .name = "Binder", .bind = (void *)abs};
    static const struct kb_policy later = {.abi = 99, .size = sizeof(later), .name = "Later"};
    KB_AUTO(kb_sched_core_destroy) struct kb_core *core = kb_sched_core_new(1);
    struct kb_profile_entry entry = {.policy = &binder};
    struct kb_err err = {0};
    uint32_t profile;
    KB_CHECK_I64(kb_core_add_profile(core, "p", &entry, 1, &profile, &err), ==, -KB_EINVAL);
    entry.policy = &later;
    KB_CHECK_I64(kb_core_add_profile(core, "p", &entry, 1, &profile, &err), ==, -KB_EINVAL);
    KB_CHECK_STR(err.text, "profile p: policy Later: built for ABI 99, this is 2");
}

/* The example of docs/write-a-policy.md. */
static void fewest_pods(struct kb_policy_cycle *c, uint32_t from, uint32_t to, int64_t *score)
{
    const int64_t *pods = c->nodes->requested[KB_POLICY_PODS];
    for (uint32_t i = from; i < to; i++)
        score[i - from] = pods[i];
}

/* Turns scores around by itself, over all nodes. */
static void turn_around(struct kb_policy_cycle *c, const uint8_t *fits, int64_t *score)
{
    int64_t most = 0;
    for (uint32_t i = 0; i < c->nodes->count; i++)
        most = fits[i] && score[i] > most ? score[i] : most;
    for (uint32_t i = 0; i < c->nodes->count; i++)
        score[i] = most ? 100 - 100 * score[i] / most : 100;
}

KB_TEST(example, a_policy_of_ten_lines_spreads_pods)
{
    static const struct kb_policy kept = {.abi = KB_POLICY_ABI,
                                          .size = sizeof(kept),
                                          .name = "FewestPods",
                                          .normalize_by = KB_POLICY_REVERSE,
                                          .score = fewest_pods};
    static const struct kb_policy custom = {.abi = KB_POLICY_ABI,
                                            .size = sizeof(custom),
                                            .name = "FewestPods",
                                            .normalize_by = KB_POLICY_CUSTOM,
                                            .score = fewest_pods,
                                            .normalize = turn_around};
    static const struct kb_policy global = {.abi = KB_POLICY_ABI,
                                            .size = sizeof(global),
                                            .name = "FewestPods",
                                            .flags = KB_POLICY_GLOBAL,
                                            .normalize_by = KB_POLICY_REVERSE,
                                            .score = fewest_pods};
    const struct kb_policy *variants[] = {&kept, &custom, &global};
    for (size_t v = 0; v < KB_COUNT(variants); v++) {
        struct kb_profile_entry entry = {.policy = variants[v]};
        struct kb_ptest *t = kb_ptest_new(&entry, 1);
        for (int i = 0; i < 3; i++)
            kb_ptest_node(t, (const char *[]){"n1", "n2", "n3"}[i], "{}");
        kb_ptest_pod(t, "n1", "{'spec': {'containers': [{}]}}");
        kb_ptest_pod(t, "n2", "{'spec': {'containers': [{}]}}");
        KB_CHECK_STR(kb_ptest_place(t, "{'spec': {'containers': [{}]}}"), "n3");
        for (int i = 0; i < 27; i++)
            kb_ptest_place(t, "{'spec': {'containers': [{}]}}");
        const struct kb_policy_nodes *nodes = &kb_core_columns(kb_ptest_core(t))->view;
        for (uint32_t i = 0; i < 3; i++)
            KB_CHECK_I64(nodes->requested[KB_POLICY_PODS][i], ==, 10);
        kb_ptest_destroy(&t);
    }
}

KB_TEST(labels, more_keys_than_columns_are_matched_all_the_same)
{
    char pod[128], labels[16384] = "{'metadata': {'labels': {'last': 'x'";
    struct kb_ptest *t = only("NodeAffinity");
    for (int i = 0; i < 2 * KB_LABEL_COLUMNS; i += 2)
        snprintf(labels + strlen(labels), sizeof(labels) - strlen(labels), ", 'k%d': 'v'", i);
    strcat(labels, "}}}");
    kb_ptest_node(t, "n1", labels);
    for (int i = 0; i < 6 * KB_LABEL_COLUMNS; i++) {
        int key = i % (2 * KB_LABEL_COLUMNS);
        snprintf(pod, sizeof(pod), "{'spec': {'nodeSelector': {'last': 'x', 'k%d': 'v'}}}", key);
        KB_CHECK_STR(kb_ptest_why(t, "n1", pod),
                     key % 2 == 0 ? "" : "node(s) didn't match Pod's node affinity/selector");
    }
    kb_ptest_destroy(&t);
}

KB_TEST(fit, amounts_beyond_all_reason_do_not_overflow)
{
    struct kb_ptest *t = all_policies();
    const char *huge = POD("'memory': '8E', 'cpu': '9223372036854775807'");
    kb_ptest_node(t, "n1", NODE("4", "8E"));
    for (int i = 0; i < 500; i++)
        kb_ptest_pod(t, "n1", huge);
    KB_CHECK_STR(kb_ptest_why(t, "n1", huge),
                 "Insufficient cpu; Insufficient memory; Too many pods");
    kb_ptest_destroy(&t);
}
