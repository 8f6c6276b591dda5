/* InterPodAffinity, PodTopologySpread and ImageLocality against tables of cases. That they hold in
 * general says tests/prop/test_affinity.c. */
#include "tests/lib/policy.h"
#include "tests/lib/test.h"

#include <stdio.h>

#define NEAR     "node(s) didn't match pod affinity rules"
#define FAR      "node(s) didn't match pod anti-affinity rules"
#define UNWANTED "node(s) didn't satisfy existing pods anti-affinity rules"
#define SPREAD   "node(s) didn't match pod topology spread constraints"
#define NO_LABEL SPREAD " (missing required label)"

static struct kb_ptest *only_with(const char *policy, const char *args)
{
    struct kb_profile_entry entry = {.policy = kb_policy_builtin(policy), .args = args};
    return kb_ptest_new(&entry, 1);
}

static void node(struct kb_ptest *t, const char *name, const char *zone)
{
    char text[256];
    if (zone)
        snprintf(text, sizeof(text),
                 "{'metadata': {'labels': {'host': '%s', 'kubernetes.io/hostname': '%s', 'zone': "
                 "'%s', 'topology.kubernetes.io/zone': '%s'}}}",
                 name, name, zone, zone);
    else
        snprintf(text, sizeof(text), "{'metadata': {'labels': {'host': '%s'}}}", name);
    kb_ptest_node(t, name, text);
}

/* n1 and n2 in zone a, n3 in zone b, n4 in none. */
static struct kb_ptest *cluster(const char *policy, const char *args)
{
    struct kb_ptest *t = only_with(policy, args);
    node(t, "n1", "a");
    node(t, "n2", "a");
    node(t, "n3", "b");
    node(t, "n4", NULL);
    return t;
}

#define POD(ns, labels, spec)                                                                      \
    "{'metadata': {'namespace': '" ns "', 'labels': {" labels "}}, 'spec': {'containers': [{}]"    \
    "" spec "}}"
#define APP(app) POD("x", "'app': '" app "'", "")
#define TERM(more, key)                                                                            \
    "[{'labelSelector': {'matchLabels': {'app': 'web'}}, 'topologyKey': '" key "'" more "}]"
#define REQUIRED(kind, terms)                                                                      \
    ", 'affinity': {'" kind "': {'requiredDuringSchedulingIgnoredDuringExecution': " terms "}}"
#define AFFINITY(terms)      REQUIRED("podAffinity", terms)
#define ANTI_AFFINITY(terms) REQUIRED("podAntiAffinity", terms)

KB_TEST(affinity, required_terms_ask_for_pods_in_the_same_domain)
{
    static const struct {
        const char *pod, *n1, *n2, *n3, *n4;
    } cases[] = {
        {POD("x", "", AFFINITY(TERM("", "zone"))), "", "", NEAR, NEAR},
        {POD("x", "", AFFINITY(TERM("", "host"))), "", NEAR, NEAR, NEAR},
        {POD("x", "", AFFINITY(TERM("", "no-such-label"))), NEAR, NEAR, NEAR, NEAR},
        /* another namespace, unless the term names it, or means it by label */
        {POD("y", "", AFFINITY(TERM("", "zone"))), NEAR, NEAR, NEAR, NEAR},
        {POD("y", "", AFFINITY(TERM(", 'namespaces': ['x']", "zone"))), "", "", NEAR, NEAR},
        {POD("y", "", AFFINITY(TERM(", 'namespaceSelector': {}", "zone"))), "", "", NEAR, NEAR},
        {POD("y", "",
             AFFINITY(TERM(", 'namespaceSelector': {'matchLabels': {'team': 'one'}}", "zone"))),
         "", "", NEAR, NEAR},
        {POD("y", "",
             AFFINITY(TERM(", 'namespaceSelector': {'matchLabels': {'team': 'two'}}", "zone"))),
         NEAR, NEAR, NEAR, NEAR},
        /* its own value of a label: of this kind, or of any other */
        {POD("x", "'v': '1'", AFFINITY(TERM(", 'matchLabelKeys': ['v']", "zone"))), "", "", NEAR,
         NEAR},
        {POD("x", "'v': '2'", AFFINITY(TERM(", 'matchLabelKeys': ['v']", "zone"))), NEAR, NEAR,
         NEAR, NEAR},
        {POD("x", "'v': '2'", AFFINITY(TERM(", 'mismatchLabelKeys': ['v']", "zone"))), "", "", NEAR,
         NEAR},
        /* without a selector a term means nobody */
        {POD("x", "", AFFINITY("[{'topologyKey': 'zone'}]")), NEAR, NEAR, NEAR, NEAR},
        {POD("x", "", ANTI_AFFINITY(TERM("", "zone"))), FAR, FAR, "", ""},
        {POD("x", "", ANTI_AFFINITY(TERM("", "host"))), FAR, "", "", ""},
    };
    struct kb_ptest *t = cluster("InterPodAffinity", NULL);
    kb_ptest_object(t, "namespaces", "", "x", "{'metadata': {'labels': {'team': 'one'}}}");
    kb_ptest_pod(t, "n1", POD("x", "'app': 'web', 'v': '1'", ""));
    for (size_t i = 0; i < KB_COUNT(cases); i++) {
        KB_CHECK_STR(kb_ptest_why(t, "n1", cases[i].pod), cases[i].n1);
        KB_CHECK_STR(kb_ptest_why(t, "n2", cases[i].pod), cases[i].n2);
        KB_CHECK_STR(kb_ptest_why(t, "n3", cases[i].pod), cases[i].n3);
        KB_CHECK_STR(kb_ptest_why(t, "n4", cases[i].pod), cases[i].n4);
    }
    kb_ptest_destroy(&t);
}

KB_TEST(affinity, the_first_pod_of_a_set_may_go_anywhere_with_the_label)
{
    struct kb_ptest *t = cluster("InterPodAffinity", NULL);
    const char *first = POD("x", "'app': 'web'", AFFINITY(TERM("", "zone")));
    KB_CHECK_STR(kb_ptest_why(t, "n3", first), "");
    KB_CHECK_STR(kb_ptest_why(t, "n4", first), NEAR);
    KB_CHECK_STR(kb_ptest_why(t, "n3", POD("x", "", AFFINITY(TERM("", "zone")))), NEAR);
    kb_ptest_pod(t, "n3", first);
    KB_CHECK_STR(kb_ptest_why(t, "n3", first), "");
    KB_CHECK_STR(kb_ptest_why(t, "n1", first), NEAR);
    kb_ptest_node_gone(t, "n3"); /* its pod counts no longer: the next one is the first */
    KB_CHECK_STR(kb_ptest_why(t, "n1", first), "");
    kb_ptest_destroy(&t);
}

KB_TEST(affinity, pods_that_are_there_keep_others_away)
{
    struct kb_ptest *t = cluster("InterPodAffinity", NULL);
    kb_ptest_pod(t, "n1", POD("x", "", ANTI_AFFINITY(TERM("", "zone"))));
    KB_CHECK_STR(kb_ptest_why(t, "n2", APP("web")), UNWANTED);
    KB_CHECK_STR(kb_ptest_why(t, "n3", APP("web")), "");
    KB_CHECK_STR(kb_ptest_why(t, "n2", APP("db")), "");
    KB_CHECK_STR(kb_ptest_why(t, "n2", POD("y", "'app': 'web'", "")), "");
    kb_ptest_destroy(&t);
}

#define PREFER(kind, weight, key)                                                                  \
    "'" kind "': {'preferredDuringSchedulingIgnoredDuringExecution': [{'weight': " weight          \
    ", 'podAffinityTerm': {'topologyKey': '" key                                                   \
    "', 'labelSelector': {'matchLabels': {'app': 'web'}}}}]}"

KB_TEST(affinity, preferences_of_both_sides_are_summed_and_spanned)
{
    const char *pod = POD("x", "'app': 'web'",
                          ", 'affinity': {" PREFER("podAffinity", "30", "zone") ", " PREFER(
                              "podAntiAffinity", "10", "host") "}");
    struct kb_ptest *t = cluster("InterPodAffinity", NULL);
    kb_ptest_pod(t, "n1", APP("web"));
    /* 30 - 10 on n1, 30 on n2, nothing elsewhere; weight of the policy 2 */
    KB_CHECK_I64(kb_ptest_score(t, "InterPodAffinity", "n1", pod), ==, 2 * 66);
    KB_CHECK_I64(kb_ptest_score(t, "InterPodAffinity", "n2", pod), ==, 200);
    KB_CHECK_I64(kb_ptest_score(t, "InterPodAffinity", "n3", pod), ==, 0);
    kb_ptest_destroy(&t);
    t = cluster("InterPodAffinity", NULL);
    kb_ptest_pod(t, "n3", POD("x", "", ", 'affinity': {" PREFER("podAffinity", "5", "zone") "}"));
    kb_ptest_pod(t, "n1", POD("x", "", AFFINITY(TERM("", "zone")))); /* counts 1 by default */
    KB_CHECK_I64(kb_ptest_score(t, "InterPodAffinity", "n3", APP("web")), ==, 200);
    KB_CHECK_I64(kb_ptest_score(t, "InterPodAffinity", "n2", APP("web")), ==, 2 * 20);
    KB_CHECK_I64(kb_ptest_score(t, "InterPodAffinity", "n4", APP("web")), ==, 0);
    KB_CHECK_I64(kb_ptest_score(t, "InterPodAffinity", "n3", APP("db")), ==, INT64_MIN);
    kb_ptest_destroy(&t);
}

KB_TEST(affinity, arguments)
{
    struct kb_ptest *t = cluster("InterPodAffinity", "{\"hardPodAffinityWeight\": 10, "
                                                     "\"ignorePreferredTermsOfExistingPods\": "
                                                     "true}");
    kb_ptest_pod(t, "n1", POD("x", "", AFFINITY(TERM("", "zone"))));
    KB_CHECK_I64(kb_ptest_score(t, "InterPodAffinity", "n1", APP("web")), ==, INT64_MIN);
    const char *own =
        POD("x", "'app': 'web'", ", 'affinity': {" PREFER("podAffinity", "5", "host") "}");
    kb_ptest_pod(t, "n3", APP("web"));
    KB_CHECK_I64(kb_ptest_score(t, "InterPodAffinity", "n1", own), ==, 200);
    KB_CHECK_I64(kb_ptest_score(t, "InterPodAffinity", "n3", own), ==, 100);
    kb_ptest_destroy(&t);
}

/* ---- spreading ---- */

#define CONSTRAINT(key, skew, when, more)                                                          \
    "{'topologyKey': '" key "', 'maxSkew': " skew ", 'whenUnsatisfiable': '" when                  \
    "', 'labelSelector': {'matchLabels': {'app': 'web'}}" more "}"
#define SPREADING(list)                                                                            \
    POD("x", "'app': 'web', 'v': '2'", ", 'topologySpreadConstraints': [" list "]")
#define HARD(more) SPREADING(CONSTRAINT("zone", "1", "DoNotSchedule", more))

KB_TEST(spread, a_domain_must_not_get_too_far_ahead)
{
    static const struct {
        const char *pod, *n1, *n3, *n4;
    } cases[] = {
        {HARD(""), SPREAD, "", NO_LABEL},
        {SPREADING(CONSTRAINT("zone", "2", "DoNotSchedule", "")), SPREAD, "", NO_LABEL},
        {SPREADING(CONSTRAINT("zone", "3", "DoNotSchedule", "")), "", "", NO_LABEL},
        /* pods of its own version: one in zone a */
        {HARD(", 'matchLabelKeys': ['v']"), SPREAD, "", NO_LABEL},
        {SPREADING(CONSTRAINT("zone", "2", "DoNotSchedule", ", 'matchLabelKeys': ['v']")), "", "",
         NO_LABEL},
        /* too few domains: the emptiest counts as zero */
        {HARD(", 'minDomains': 3"), SPREAD, "", NO_LABEL},
        {SPREADING(CONSTRAINT("host", "2", "DoNotSchedule", "")), SPREAD, "", ""},
        {SPREADING(CONSTRAINT("zone", "1", "ScheduleAnyway", "")), "", "", ""},
        /* a selector that selects all counts nobody */
        {POD("x", "'app': 'web'",
             ", 'topologySpreadConstraints': [{'topologyKey': 'zone', 'maxSkew': 1, "
             "'whenUnsatisfiable': 'DoNotSchedule', 'labelSelector': {}}]"),
         "", "", NO_LABEL},
    };
    struct kb_ptest *t = cluster("PodTopologySpread", NULL);
    kb_ptest_pod(t, "n1", APP("web"));
    kb_ptest_pod(t, "n1", POD("x", "'app': 'web', 'v': '2'", ""));
    kb_ptest_pod(t, "n3", POD("y", "'app': 'web'", "")); /* another namespace does not count */
    kb_ptest_pod(t, "n3",
                 "{'metadata': {'namespace': 'x', 'labels': {'app': 'web'}, 'deletionTimestamp': "
                 "'2025-01-01T00:00:00Z'}, 'spec': {}}"); /* nor who is leaving */
    for (size_t i = 0; i < KB_COUNT(cases); i++) {
        KB_CHECK_STR(kb_ptest_why(t, "n1", cases[i].pod), cases[i].n1);
        KB_CHECK_STR(kb_ptest_why(t, "n3", cases[i].pod), cases[i].n3);
        KB_CHECK_STR(kb_ptest_why(t, "n4", cases[i].pod), cases[i].n4);
    }
    kb_ptest_destroy(&t);
}

KB_TEST(spread, which_nodes_count)
{
    struct kb_ptest *t = cluster("PodTopologySpread", NULL);
    kb_ptest_node(t, "n5",
                  "{'metadata': {'labels': {'zone': 'c'}}, 'spec': {'taints': [{'key': 'k', "
                  "'effect': 'NoSchedule'}]}}");
    kb_ptest_pod(t, "n1", APP("web"));
    kb_ptest_pod(t, "n3", APP("web"));
    /* zone c is empty, and holds the others back, unless its taint is honored */
    KB_CHECK_STR(kb_ptest_why(t, "n1", HARD("")), SPREAD);
    KB_CHECK_STR(kb_ptest_why(t, "n1", HARD(", 'nodeTaintsPolicy': 'Honor'")), "");
    /* or the pod's selector leaves it out, unless that is ignored */
    const char *chooses = POD("x", "'app': 'web'",
                              ", 'nodeSelector': {'zone': 'a'}, 'topologySpreadConstraints': "
                              "[" CONSTRAINT("zone", "1", "DoNotSchedule", "") "]");
    KB_CHECK_STR(kb_ptest_why(t, "n1", chooses), "");
    const char *ignores =
        POD("x", "'app': 'web'",
            ", 'nodeSelector': {'zone': 'a'}, 'topologySpreadConstraints': [" CONSTRAINT(
                "zone", "1", "DoNotSchedule", ", 'nodeAffinityPolicy': 'Ignore'") "]");
    KB_CHECK_STR(kb_ptest_why(t, "n1", ignores), SPREAD);
    kb_ptest_destroy(&t);
}

KB_TEST(spread, prefers_domains_with_fewer_pods)
{
    struct kb_ptest *t = cluster("PodTopologySpread", NULL);
    const char *pod = SPREADING(CONSTRAINT("zone", "1", "ScheduleAnyway", ""));
    kb_ptest_pod(t, "n1", APP("web"));
    kb_ptest_pod(t, "n2", APP("web"));
    kb_ptest_pod(t, "n3", APP("web"));
    /* two domains: each pod weighs log 4, so zone a has 3 and zone b 1; n4 takes no part */
    KB_CHECK_I64(kb_ptest_score(t, "PodTopologySpread", "n1", pod), ==, 2 * 33);
    KB_CHECK_I64(kb_ptest_score(t, "PodTopologySpread", "n2", pod), ==, 2 * 33);
    KB_CHECK_I64(kb_ptest_score(t, "PodTopologySpread", "n3", pod), ==, 200);
    KB_CHECK_I64(kb_ptest_score(t, "PodTopologySpread", "n4", pod), ==, 0);
    KB_CHECK_I64(kb_ptest_score(t, "PodTopologySpread", "n1", APP("web")), ==, INT64_MIN);
    kb_ptest_destroy(&t);
}

KB_TEST(spread, pods_of_a_service_or_a_controller_are_spread_by_default)
{
    struct kb_ptest *t = cluster("PodTopologySpread", NULL);
    const char *pod = APP("web");
    kb_ptest_pod(t, "n1", pod);
    KB_CHECK_I64(kb_ptest_score(t, "PodTopologySpread", "n1", pod), ==, INT64_MIN);
    kb_ptest_object(t, "services", "x", "web", "{'spec': {'selector': {'app': 'web'}}}");
    /* host: log 6 + 2; zone: log 5 + 4, of three domains, as having none is one of them */
    KB_CHECK_I64(kb_ptest_score(t, "PodTopologySpread", "n1", pod), ==, 2 * 0);
    KB_CHECK(kb_ptest_score(t, "PodTopologySpread", "n3", pod) >
             kb_ptest_score(t, "PodTopologySpread", "n2", pod));
    kb_ptest_object(t, "services", "x", "web", NULL);
    KB_CHECK_I64(kb_ptest_score(t, "PodTopologySpread", "n1", pod), ==, INT64_MIN);
    const char *owned =
        "{'metadata': {'namespace': 'x', 'labels': {'app': 'web'}, 'ownerReferences': "
        "[{'apiVersion':"
        " 'apps/v1', 'kind': 'ReplicaSet', 'name': 'rs', 'controller': true}]}, 'spec': {}}";
    KB_CHECK_I64(kb_ptest_score(t, "PodTopologySpread", "n1", owned), ==, INT64_MIN);
    kb_ptest_object(t, "replicasets.apps", "x", "rs",
                    "{'spec': {'selector': {'matchLabels': {'app': 'web'}}}}");
    KB_CHECK(kb_ptest_score(t, "PodTopologySpread", "n3", owned) >
             kb_ptest_score(t, "PodTopologySpread", "n1", owned));
    kb_ptest_destroy(&t);
}

KB_TEST(spread, default_constraints_of_a_profile_may_refuse)
{
    const char *args = "{\"defaultingType\": \"List\", \"defaultConstraints\": [{\"maxSkew\": 1, "
                       "\"topologyKey\": \"zone\", \"whenUnsatisfiable\": \"DoNotSchedule\"}]}";
    struct kb_ptest *t = cluster("PodTopologySpread", args);
    kb_ptest_object(t, "services", "x", "web", "{'spec': {'selector': {'app': 'web'}}}");
    kb_ptest_pod(t, "n1", APP("web"));
    KB_CHECK_STR(kb_ptest_why(t, "n2", APP("web")), SPREAD);
    KB_CHECK_STR(kb_ptest_why(t, "n3", APP("web")), "");
    KB_CHECK_STR(kb_ptest_why(t, "n4", APP("web")), NO_LABEL);
    KB_CHECK_STR(kb_ptest_why(t, "n2", APP("db")), "");
    kb_ptest_destroy(&t);
}

KB_TEST(relations, what_a_pod_that_fits_nowhere_is_told)
{
    struct kb_ptest *t = kb_ptest_new(kb_profile_default, kb_profile_default_n);
    for (int i = 0; i < 3; i++) {
        char name[8], text[256];
        snprintf(name, sizeof(name), "n%d", i);
        snprintf(text, sizeof(text),
                 "{'metadata': {'labels': {'host': '%s'%s}}, 'status': {'allocatable': {'cpu': "
                 "'4', 'memory': '4Gi', 'pods': '10'}}}",
                 name, i == 2 ? "" : ", 'zone': 'a'");
        kb_ptest_node(t, name, text);
    }
    kb_ptest_pod(t, "n0", APP("web"));
    KB_CHECK_STR(kb_ptest_place(t, POD("x", "", AFFINITY(TERM("", "rack")))),
                 "0/3 nodes are available: 3 node(s) didn't match pod affinity rules. preemption: "
                 "0/3 nodes are available: 3 Preemption is not helpful for scheduling.");
    KB_CHECK_STR(kb_ptest_place(t, HARD(", 'minDomains': 2")),
                 "0/3 nodes are available: 1 node(s) didn't match pod topology spread constraints "
                 "(missing required label), 2 node(s) didn't match pod topology spread "
                 "constraints. preemption: 0/3 nodes are available: 1 Preemption is not helpful "
                 "for scheduling, 2 No preemption victims found for incoming pod.");
    kb_ptest_destroy(&t);
}

/* ---- images ---- */

KB_TEST(images, nodes_that_hold_large_ones_are_preferred)
{
    static const struct {
        const char *containers;
        int64_t n1, n2;
    } cases[] = {
        /* 600 MiB on one of two nodes counts half: (300 - 23) of (1000 - 23) */
        {"{'image': 'big'}", 28, 0},
        {"{'image': 'big:latest'}", 28, 0},
        {"{'image': 'big:v2'}", INT64_MIN, INT64_MIN},
        {"{'image': 'r.io:5000/both'}", 27, 27},
        {"{'image': 'big'}, {'image': 'r.io:5000/both'}", 28, 13},
        {"{'image': 'small:1'}", 0, 0}, /* under 23 MiB in sum */
    };
    struct kb_ptest *t = only_with("ImageLocality", NULL);
    kb_ptest_node(t, "n1",
                  "{'status': {'images': [{'names': ['big:latest', 'big@sha256:1'], 'sizeBytes': "
                  "629145600}, {'names': ['r.io:5000/both:latest'], 'sizeBytes': 305135616}, "
                  "{'names': ['small:1'], 'sizeBytes': 1048576}]}}");
    kb_ptest_node(t, "n2",
                  "{'status': {'images': [{'names': ['r.io:5000/both:latest'], 'sizeBytes': "
                  "305135616}]}}");
    for (size_t i = 0; i < KB_COUNT(cases); i++) {
        char pod[256];
        snprintf(pod, sizeof(pod), "{'spec': {'containers': [%s]}}", cases[i].containers);
        KB_CHECK_I64(kb_ptest_score(t, "ImageLocality", "n1", pod), ==, cases[i].n1);
        KB_CHECK_I64(kb_ptest_score(t, "ImageLocality", "n2", pod), ==, cases[i].n2);
    }
    kb_ptest_node(t, "n1", "{}"); /* images go */
    KB_CHECK_I64(
        kb_ptest_score(t, "ImageLocality", "n1", "{'spec': {'containers': [{'image': 'big'}]}}"),
        ==, INT64_MIN);
    kb_ptest_destroy(&t);
}
