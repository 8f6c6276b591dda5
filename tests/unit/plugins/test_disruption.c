/* Stories of the disruption controller, in virtual time. */
#include "tests/unit/plugins/stories.h"

#define BUDGET "poddisruptionbudgets.policy/shop/web"

static struct kb_harness *cluster(const char *spec)
{
    struct kb_harness *h = kb_harness_new(9);
    LOAD(h, "disruption");
    kb_harness_apply(h, "apiVersion: v1\nkind: Namespace\nmetadata: {name: shop}\n");
    KB_AUTO(kb_auto_free)
    char *text = kb_strf("apiVersion: policy/v1\nkind: PodDisruptionBudget\n"
                         "metadata: {name: web, namespace: shop}\nspec: %s\n",
                         spec);
    kb_harness_apply(h, text);
    return h;
}

static void pod(struct kb_harness *h, const char *name, const char *owner, bool ready)
{
    KB_AUTO(kb_auto_free)
    char *text = kb_strf("apiVersion: v1\nkind: Pod\n"
                         "metadata: {name: %s, namespace: shop, labels: {app: web}%s}\n"
                         "spec: {nodeName: n1, containers: [{name: c, image: busybox}]}\n",
                         name, owner);
    KB_AUTO(kb_auto_free) char *key = kb_strf("pods/shop/%s", name);
    kb_harness_apply(h, text);
    if (ready)
        kb_harness_patch(
            h, key, "status",
            "{\"status\":{\"conditions\":[{\"type\":\"Ready\",\"status\":\"True\"}]}}");
}

static void check(struct kb_harness *h, int expected, int healthy, int desired, int allowed)
{
    kb_val status = kb_val_get(kb_harness_get(h, BUDGET), "status");
    CHECK_INT_AT(status, "expectedPods", expected);
    CHECK_INT_AT(status, "currentHealthy", healthy);
    CHECK_INT_AT(status, "desiredHealthy", desired);
    CHECK_INT_AT(status, "disruptionsAllowed", allowed);
    CHECK_AT(status, "conditions[0].status", allowed ? "True" : "False");
    CHECK_AT(status, "conditions[0].reason", allowed ? "SufficientPods" : "InsufficientPods");
}

KB_TEST(disruption, a_number_of_pods_that_must_stay)
{
    KB_AUTO(kb_harness_destroy)
    struct kb_harness *h = cluster("{minAvailable: 2, selector: {matchLabels: {app: web}}}");
    pod(h, "a", "", true);
    pod(h, "b", "", true);
    pod(h, "c", "", false);
    kb_harness_run(h, 1000);
    check(h, 3, 2, 2, 0);
    kb_harness_patch(h, "pods/shop/c", "status",
                     "{\"status\":{\"conditions\":[{\"type\":\"Ready\",\"status\":\"True\"}]}}");
    kb_harness_run(h, 1000);
    check(h, 3, 3, 2, 1);
}

KB_TEST(disruption, a_share_of_what_the_controllers_want)
{
    KB_AUTO(kb_harness_destroy)
    struct kb_harness *h = cluster("{maxUnavailable: 50%, selector: {}}");
    kb_harness_apply(h, "apiVersion: apps/v1\nkind: ReplicaSet\n"
                        "metadata: {name: web, namespace: shop}\n"
                        "spec: {replicas: 5, selector: {matchLabels: {app: web}}, template: "
                        "{metadata: {labels: {app: web}}, spec: {containers: [{name: c, image: "
                        "busybox}]}}}\n");
    kb_str uid = kb_meta_uid(kb_harness_get(h, "replicasets.apps/shop/web"));
    KB_AUTO(kb_auto_free)
    char *owner = kb_strf(", ownerReferences: [{apiVersion: apps/v1, kind: ReplicaSet, name: web, "
                          "controller: true, uid: " KB_STR_FMT "}]",
                          KB_STR_ARG(uid));
    for (char name[] = "a"; name[0] <= 'd'; name[0]++)
        pod(h, name, owner, true);
    kb_harness_run(h, 1000);
    check(h, 5, 4, 2, 2); /* of 5, 3 may be missing, and one is already */
}

KB_TEST(disruption, an_admitted_eviction_counts_until_it_is_seen_or_two_minutes_have_passed)
{
    KB_AUTO(kb_harness_destroy)
    struct kb_harness *h = cluster("{minAvailable: 1, selector: {matchLabels: {app: web}}}");
    char now[KB_TIME_BYTES];
    pod(h, "a", "", true);
    pod(h, "b", "", true);
    kb_harness_run(h, 1000);
    check(h, 2, 2, 1, 1);
    kb_time_format(INT64_C(1750000000) * 1000000 + kb_harness_now_ms(h) * 1000, now);
    KB_AUTO(kb_auto_free)
    char *patch = kb_strf("{\"status\":{\"disruptedPods\":{\"a\":\"%s\"}}}", now);
    kb_harness_patch(h, BUDGET, "status", patch);
    kb_harness_run(h, 1000);
    check(h, 2, 1, 1, 0);
    kb_harness_run(h, 121000);
    check(h, 2, 2, 1, 1);
}
