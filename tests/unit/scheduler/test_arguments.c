/* Arguments of the built-in policies that are about single nodes. */
#include "tests/lib/policy.h"
#include "tests/lib/test.h"

#include <stdio.h>

static struct kb_ptest *only_with(const char *policy, const char *args)
{
    struct kb_profile_entry entry = {.policy = kb_policy_builtin(policy), .args = args};
    return kb_ptest_new(&entry, 1);
}

/* A node with 10 CPU, 10 GiB and 4 of example.com/card. */
static const char node_json[] =
    "{'metadata': {'labels': {'zone': 'a'}}, 'status': {'allocatable': {'cpu': '10', 'memory': "
    "'10Gi', 'pods': '110', 'example.com/card': '4'}}}";
#define REQUESTS(text) "{'spec': {'containers': [{'resources': {'requests': {" text "}}}]}}"
#define STRATEGY(text) "{\"scoringStrategy\": {" text "}}"
#define SHAPE                                                                                      \
    "\"requestedToCapacityRatio\": {\"shape\": [{\"utilization\": 0, \"score\": 0}, "              \
    "{\"utilization\": 50, \"score\": 10}, {\"utilization\": 100, \"score\": 5}]}"

KB_TEST(fit, strategies)
{
    static const struct {
        const char *args, *pod;
        int64_t score;
    } cases[] = {
        {STRATEGY("\"type\": \"LeastAllocated\""), REQUESTS("'cpu': '2', 'memory': '4Gi'"), 70},
        {STRATEGY("\"type\": \"MostAllocated\""), REQUESTS("'cpu': '2', 'memory': '4Gi'"), 30},
        {STRATEGY(
             "\"type\": \"MostAllocated\", \"resources\": [{\"name\": \"cpu\", \"weight\": 3}, "
             "{\"name\": \"memory\", \"weight\": 1}]"),
         REQUESTS("'cpu': '2', 'memory': '4Gi'"), 25},
        /* an extended resource counts for pods that ask for it */
        {STRATEGY("\"type\": \"MostAllocated\", \"resources\": [{\"name\": \"cpu\"}, {\"name\": "
                  "\"example.com/card\"}]"),
         REQUESTS("'cpu': '2', 'example.com/card': '3'"), 47},
        {STRATEGY("\"type\": \"MostAllocated\", \"resources\": [{\"name\": \"cpu\"}, {\"name\": "
                  "\"example.com/card\"}]"),
         REQUESTS("'cpu': '2'"), 20},
        /* 2 of 10 CPU: 40; 4 of 10 GiB: 80 */
        {STRATEGY("\"type\": \"RequestedToCapacityRatio\", " SHAPE),
         REQUESTS("'cpu': '2', 'memory': '4Gi'"), 60},
        {STRATEGY("\"type\": \"RequestedToCapacityRatio\", " SHAPE),
         REQUESTS("'cpu': '8', 'memory': '10Gi'"), 60}, /* 70 and 50 */
        /* ephemeral storage is not there, and does not weigh */
        {STRATEGY("\"type\": \"RequestedToCapacityRatio\", " SHAPE
                  ", \"resources\": [{\"name\": \"cpu\"}, {\"name\": \"ephemeral-storage\"}]"),
         REQUESTS("'cpu': '5'"), 100},
        {NULL, REQUESTS(""), 98}, /* 99 and 98: 100m and 200Mi are counted for it */
    };
    for (size_t i = 0; i < KB_COUNT(cases); i++) {
        struct kb_ptest *t = only_with("NodeResourcesFit", cases[i].args);
        kb_ptest_node(t, "n1", node_json);
        KB_CHECK_I64(kb_ptest_score(t, "NodeResourcesFit", "n1", cases[i].pod), ==, cases[i].score);
        kb_ptest_destroy(&t);
    }
}

KB_TEST(fit, resources_that_are_ignored)
{
    const char *pod = REQUESTS("'example.com/card': '5', 'other.io/x': '1'");
    struct kb_ptest *t =
        only_with("NodeResourcesFit", "{\"ignoredResources\": [\"example.com/card\", \"cpu\"]}");
    kb_ptest_node(t, "n1", node_json);
    KB_CHECK_STR(kb_ptest_why(t, "n1", pod), "Insufficient other.io/x");
    KB_CHECK_STR(kb_ptest_why(t, "n1", REQUESTS("'cpu': '11'")), "Insufficient cpu");
    kb_ptest_destroy(&t);
    t = only_with("NodeResourcesFit", "{\"ignoredResourceGroups\": [\"other.io\"]}");
    kb_ptest_node(t, "n1", node_json);
    KB_CHECK_STR(kb_ptest_why(t, "n1", pod), "Insufficient example.com/card");
    kb_ptest_destroy(&t);
}

KB_TEST(fit, arguments_that_make_no_sense)
{
    static const char *const cases[] = {
        STRATEGY("\"type\": \"Best\""),
        STRATEGY("\"type\": \"RequestedToCapacityRatio\""),
        STRATEGY(
            "\"type\": \"RequestedToCapacityRatio\", \"requestedToCapacityRatio\": {\"shape\": "
            "[{\"utilization\": 5, \"score\": 1}, {\"utilization\": 5, \"score\": 2}]}"),
        STRATEGY(
            "\"type\": \"RequestedToCapacityRatio\", \"requestedToCapacityRatio\": {\"shape\": "
            "[{\"utilization\": 5, \"score\": 11}]}"),
        STRATEGY("\"resources\": [{\"weight\": 1}]"),
        STRATEGY("\"resources\": [{\"name\": \"cpu\", \"weight\": 101}]"),
    };
    for (size_t i = 0; i < KB_COUNT(cases); i++) {
        struct kb_core *core = kb_sched_core_new(1);
        struct kb_err err = {0};
        uint32_t profile;
        const struct kb_profile_entry entries[] = {
            {.policy = kb_policy_builtin("PrioritySort")},
            {.policy = kb_policy_builtin("NodeResourcesFit"), .args = cases[i]}};
        KB_CHECK_I64(kb_core_add_profile(core, "p", entries, 2, &profile, &err), <, 0);
        kb_sched_core_destroy(&core);
    }
}

KB_TEST(balanced, resources_that_are_named)
{
    struct kb_ptest *t =
        only_with("NodeResourcesBalancedAllocation",
                  "{\"resources\": [{\"name\": \"cpu\", \"weight\": 1}, {\"name\": "
                  "\"memory\", \"weight\": 1}, {\"name\": \"example.com/card\", "
                  "\"weight\": 1}]}");
    const char *policy = "NodeResourcesBalancedAllocation";
    kb_ptest_node(t, "n1", node_json);
    /* shares 0.2, 0.4 and 0.75: deviation 0.2273 */
    KB_CHECK_I64(kb_ptest_score(t, policy, "n1",
                                REQUESTS("'cpu': '2', 'memory': '4Gi', 'example.com/card': '3'")),
                 ==, 77);
    KB_CHECK_I64(kb_ptest_score(t, policy, "n1", REQUESTS("'cpu': '2', 'memory': '4Gi'")), ==, 90);
    KB_CHECK_I64(kb_ptest_score(t, policy, "n1", REQUESTS("")), ==, INT64_MIN);
    kb_ptest_destroy(&t);
}

KB_TEST(balanced, being_a_pod_is_no_request)
{
    struct kb_ptest *t =
        only_with("NodeResourcesBalancedAllocation",
                  "{\"resources\": [{\"name\": \"cpu\", \"weight\": 1}, {\"name\": "
                  "\"pods\", \"weight\": 1}]}");
    const char *policy = "NodeResourcesBalancedAllocation";
    kb_ptest_node(t, "n1", node_json);
    KB_CHECK_I64(kb_ptest_score(t, policy, "n1", REQUESTS("'cpu': '2'")), ==, 100);
    KB_CHECK_I64(kb_ptest_score(t, policy, "n1", REQUESTS("")), ==, INT64_MIN);
    kb_ptest_destroy(&t);
}

KB_TEST(node_affinity, affinity_that_the_profile_adds)
{
    const char *args =
        "{\"addedAffinity\": {\"requiredDuringSchedulingIgnoredDuringExecution\": "
        "{\"nodeSelectorTerms\": [{\"matchExpressions\": [{\"key\": \"zone\", \"operator\": "
        "\"Exists\"}]}]}, \"preferredDuringSchedulingIgnoredDuringExecution\": [{\"weight\": 5, "
        "\"preference\": {\"matchExpressions\": [{\"key\": \"zone\", \"operator\": \"In\", "
        "\"values\": [\"a\"]}]}}]}}";
    struct kb_ptest *t = only_with("NodeAffinity", args);
    kb_ptest_node(t, "n1", node_json);
    kb_ptest_node(t, "n2", "{'metadata': {'labels': {'zone': 'b'}}}");
    kb_ptest_node(t, "n3", "{}");
    const char *picky = "{'spec': {'nodeSelector': {'zone': 'a'}}}";
    KB_CHECK_STR(kb_ptest_why(t, "n3", REQUESTS("")),
                 "node(s) didn't match scheduler-enforced node affinity");
    KB_CHECK_STR(kb_ptest_why(t, "n3", picky),
                 "node(s) didn't match scheduler-enforced node affinity");
    KB_CHECK_STR(kb_ptest_why(t, "n2", picky), "node(s) didn't match Pod's node affinity/selector");
    KB_CHECK_I64(kb_ptest_score(t, "NodeAffinity", "n1", REQUESTS("")), ==, 200);
    KB_CHECK_I64(kb_ptest_score(t, "NodeAffinity", "n2", REQUESTS("")), ==, 0);
    kb_ptest_destroy(&t);
}
