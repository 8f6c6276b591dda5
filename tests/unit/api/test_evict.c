/* Stories of evictions: what a PodDisruptionBudget allows, and what is told when it does not. */
#include "tests/unit/api/objects_fixture.h"

#include <stdlib.h>

#define BUDGET  "poddisruptionbudgets.policy/default/b"
#define REFUSED "Cannot evict pod as it would violate the pod's disruption budget."

enum { CREATE = KB_VERB_CREATE, PATCH = KB_VERB_PATCH, DELETE = KB_VERB_DELETE };

static void pod(struct cluster *c, const char *name, const char *phase, bool ready)
{
    KB_AUTO(kb_auto_free)
    char *body = kb_strf("{\"metadata\":{\"name\":\"%s\",\"labels\":{\"app\":\"web\"}},\"spec\":{"
                         "\"nodeName\":\"n1\",\"containers\":[{\"name\":\"a\",\"image\":\"i\"}]}}",
                         name);
    KB_AUTO(kb_auto_free) char *key = kb_strf("pods/default/%s#status", name);
    KB_AUTO(kb_auto_free)
    char *status = kb_strf("{\"status\":{\"phase\":\"%s\",\"conditions\":[{\"type\":\"Ready\","
                           "\"status\":\"%s\"}]}}",
                           phase, ready ? "True" : "False");
    KB_CHECK_I64(cluster_do(c, CREATE, "pods/default/", body)->code, ==, 201);
    KB_CHECK_I64(cluster_do(c, PATCH, key, status)->code, ==, 200);
}

static void budget(struct cluster *c, const char *name, const char *more)
{
    KB_AUTO(kb_auto_free)
    char *body = kb_strf("{\"metadata\":{\"name\":\"%s\"},\"spec\":{\"minAvailable\":1,"
                         "\"selector\":{\"matchLabels\":{\"app\":\"web\"}}%s}}",
                         name, more);
    KB_CHECK_I64(cluster_do(c, CREATE, "poddisruptionbudgets.policy/default/", body)->code, ==,
                 201);
}

/* As its controller would write it. */
static void observe(struct cluster *c, int healthy, int desired, int allowed)
{
    KB_AUTO(kb_auto_free)
    char *status = kb_strf("{\"status\":{\"observedGeneration\":1,\"currentHealthy\":%d,"
                           "\"desiredHealthy\":%d,\"disruptionsAllowed\":%d}}",
                           healthy, desired, allowed);
    KB_CHECK_I64(cluster_do(c, PATCH, BUDGET "#status", status)->code, ==, 200);
}

static const struct answer *evict(struct cluster *c, const char *name, const char *options)
{
    KB_AUTO(kb_auto_free) char *key = kb_strf("pods/default/%s#eviction", name);
    KB_AUTO(kb_auto_free)
    char *body = kb_strf("{\"apiVersion\":\"policy/v1\",\"kind\":\"Eviction\",\"metadata\":{"
                         "\"name\":\"%s\",\"namespace\":\"default\"},\"deleteOptions\":{%s}}",
                         name, options);
    return cluster_do(c, CREATE, key, body);
}

static bool goes(struct cluster *c, const char *key)
{
    kb_val doc = cluster_get(c, key);
    return !kb_val_present(doc) || kb_val_present(kb_val_at(doc, "metadata.deletionTimestamp"));
}

static int64_t allowed(struct cluster *c)
{
    return kb_val_int_at(cluster_get(c, BUDGET), "status.disruptionsAllowed", -1);
}

KB_TEST(evict, without_a_budget_a_pod_goes_and_says_why)
{
    KB_AUTO(cluster_destroy) struct cluster *c = cluster_new();
    pod(c, "web", "Running", true);
    const struct answer *a = evict(c, "web", "\"gracePeriodSeconds\":7");
    KB_CHECK_I64(a->code, ==, 201);
    KB_CHECK_STR(answer_at(a, "status"), "Success");
    kb_val doc = cluster_get(c, "pods/default/web");
    KB_CHECK_STRN(kb_val_str_at(doc, "metadata.deletionTimestamp"), "2024-01-01T00:00:07Z");
    KB_CHECK_STRN(kb_val_str_at(doc, "status.conditions[1].type"), "DisruptionTarget");
    KB_CHECK_STRN(kb_val_str_at(doc, "status.conditions[1].status"), "True");
    KB_CHECK_STRN(kb_val_str_at(doc, "status.conditions[1].reason"), "EvictionByEvictionAPI");
    KB_CHECK_STRN(kb_val_str_at(doc, "status.conditions[1].message"), "Eviction API: evicting");
    KB_CHECK_STRN(kb_val_str_at(doc, "status.conditions[1].lastTransitionTime"),
                  "2024-01-01T00:00:00Z");
    KB_CHECK_I64(evict(c, "other", "")->code, ==, 404);
    a = cluster_do(c, CREATE, "pods/default/web#eviction", "{\"metadata\":{\"name\":\"x\"}}");
    KB_CHECK_I64(a->code, ==, 400);
    KB_CHECK_STR(answer_at(a, "message"), "name in URL does not match name in Eviction object");
}

KB_TEST(evict, a_budget_is_drawn_until_nothing_is_left)
{
    KB_AUTO(cluster_destroy) struct cluster *c = cluster_new();
    pod(c, "a", "Running", true);
    pod(c, "b", "Running", true);
    budget(c, "b", "");
    observe(c, 2, 1, 1);
    KB_CHECK_I64(evict(c, "a", "\"dryRun\":[\"All\"]")->code, ==, 201);
    KB_CHECK(!goes(c, "pods/default/a"));
    KB_CHECK_I64(allowed(c), ==, 1);
    KB_CHECK_I64(evict(c, "a", "\"preconditions\":{\"uid\":\"no\"}")->code, ==, 409);
    KB_CHECK_I64(allowed(c), ==, 1);
    KB_CHECK_I64(evict(c, "a", "")->code, ==, 201);
    KB_CHECK(goes(c, "pods/default/a"));
    kb_val status = kb_val_at(cluster_get(c, BUDGET), "status");
    KB_CHECK_I64(allowed(c), ==, 0);
    KB_CHECK_STRN(kb_val_str_at(status, "disruptedPods.a"), "2024-01-01T00:00:00Z");
    KB_CHECK_STRN(kb_val_str_at(status, "conditions[0].reason"), "InsufficientPods");
    const struct answer *a = evict(c, "b", "\"dryRun\":[\"All\"]");
    KB_CHECK_I64(a->code, ==, 429);
    a = evict(c, "b", "");
    KB_CHECK_I64(a->code, ==, 429);
    KB_CHECK_STR(answer_at(a, "reason"), "TooManyRequests");
    KB_CHECK_STR(answer_at(a, "message"), REFUSED);
    KB_CHECK_STR(answer_at(a, "details.causes[0].reason"), "DisruptionBudget");
    KB_CHECK_STR(answer_at(a, "details.causes[0].message"),
                 "The disruption budget b needs 1 healthy pods and has 2 currently");
    KB_CHECK(!goes(c, "pods/default/b"));
    KB_CHECK_I64(evict(c, "a", "")->code, ==, 201); /* it goes already */
}

KB_TEST(evict, pods_that_disrupt_nobody_need_no_leave)
{
    static const char *const phases[] = {"Pending", "Succeeded", "Failed"};
    KB_AUTO(cluster_destroy) struct cluster *c = cluster_new();
    budget(c, "b", "");
    budget(c, "second", "");
    for (size_t i = 0; i < KB_COUNT(phases); i++) {
        pod(c, "p", phases[i], false);
        KB_CHECK_I64(evict(c, "p", "\"gracePeriodSeconds\":0")->code, ==, 201);
        KB_CHECK(!kb_val_present(cluster_get(c, "pods/default/p")));
    }
    pod(c, "p", "Running", true);
    const struct answer *a = evict(c, "p", "");
    KB_CHECK_I64(a->code, ==, 500);
    KB_CHECK_STR(answer_at(a, "message"),
                 "This pod has more than one PodDisruptionBudget, which the eviction subresource "
                 "does not support.");
    cluster_do(c, PATCH, "pods/default/p", "{\"metadata\":{\"labels\":{\"app\":\"else\"}}}");
    a = cluster_do(c, CREATE, "pods/default/p#eviction",
                   "{\"apiVersion\":\"policy/v1beta1\",\"metadata\":{\"name\":\"p\"}}");
    KB_CHECK_I64(a->code, ==, 201); /* as old clients write it */
}

KB_TEST(evict, a_budget_that_was_not_looked_at_yet_allows_nothing)
{
    KB_AUTO(cluster_destroy) struct cluster *c = cluster_new();
    pod(c, "web", "Running", true);
    budget(c, "b", "");
    const struct answer *a = evict(c, "web", "");
    KB_CHECK_I64(a->code, ==, 429);
    KB_CHECK_STR(answer_at(a, "message"), REFUSED);
    KB_CHECK_STR(answer_at(a, "details.retryAfterSeconds"), "10");
    KB_CHECK_STR(answer_at(a, "details.causes[0].message"),
                 "The disruption budget b is still being processed by the server.");
}

KB_TEST(evict, a_pod_that_is_not_ready_goes_as_the_policy_says)
{
    KB_AUTO(cluster_destroy) struct cluster *c = cluster_new();
    budget(c, "b", "");
    pod(c, "sick", "Running", false);
    observe(c, 0, 1, 0);
    KB_CHECK_I64(evict(c, "sick", "")->code, ==, 429);
    observe(c, 1, 1, 0);
    KB_CHECK_I64(evict(c, "sick", "")->code, ==, 201);
    cluster_do(c, DELETE, BUDGET, NULL);
    budget(c, "b", ",\"unhealthyPodEvictionPolicy\":\"AlwaysAllow\"");
    pod(c, "ill", "Running", false);
    pod(c, "well", "Running", true);
    observe(c, 0, 1, 0);
    KB_CHECK_I64(evict(c, "ill", "")->code, ==, 201);
    KB_CHECK_I64(allowed(c), ==, 0);
    KB_CHECK_I64(evict(c, "well", "")->code, ==, 429);
}

static void controller_writes(struct cluster *c)
{
    observe(c, 3, 1, 2);
}

static void controller_forbids(struct cluster *c)
{
    observe(c, 1, 1, 0);
}

static void pod_changes(struct cluster *c)
{
    cluster_do(c, PATCH, "pods/default/b", "{\"metadata\":{\"annotations\":{\"x\":\"y\"}}}");
}

KB_TEST(evict, what_changes_meanwhile_is_asked_about_again)
{
    KB_AUTO(cluster_destroy) struct cluster *c = cluster_new();
    pod(c, "a", "Running", true);
    pod(c, "b", "Running", true);
    budget(c, "b", "");
    observe(c, 2, 1, 1);
    cluster_race(c, controller_forbids);
    KB_CHECK_I64(evict(c, "a", "")->code, ==, 429);
    KB_CHECK(!goes(c, "pods/default/a"));
    observe(c, 2, 1, 1);
    cluster_race(c, controller_writes);
    KB_CHECK_I64(evict(c, "a", "")->code, ==, 201);
    KB_CHECK_I64(allowed(c), ==, 1);
    cluster_race(c, pod_changes);
    KB_CHECK_I64(evict(c, "b", "")->code, ==, 201);
    KB_CHECK_I64(allowed(c), ==, 0);
    KB_CHECK(kb_val_present(kb_val_at(cluster_get(c, "pods/default/b"), "metadata.annotations")));
}
