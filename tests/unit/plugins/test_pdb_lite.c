#include "tests/unit/plugins/stories.h"

static const char budget[] =
    "apiVersion: v1\nkind: ConfigMap\n"
    "metadata: {name: web, namespace: shop, labels: {examples.kubus.dev/budget: 'true'}}\n"
    "data: {selector: app=web, minAvailable: 50%}\n";

static void pod(struct kb_harness *h, const char *name, const char *app)
{
    KB_AUTO(kb_auto_free)
    char *text = kb_strf(
        "apiVersion: v1\nkind: Pod\nmetadata: {name: %s, namespace: shop, labels: {app: %s}}\n"
        "spec: {containers: [{name: c, image: busybox}]}\n",
        name, app);
    kb_harness_apply(h, text);
}

KB_TEST(pdb_lite, counts_what_may_be_disturbed)
{
    KB_AUTO(kb_harness_destroy) struct kb_harness *h = kb_harness_new(kb_test_seed());
    LOAD(h, "pdb_lite");
    kb_harness_apply(h, budget);
    pod(h, "a", "web");
    pod(h, "b", "web");
    pod(h, "c", "web");
    pod(h, "d", "db");
    kb_harness_settle(h);
    kb_val data = kb_val_get(kb_harness_get(h, "configmaps/shop/web"), "data");
    CHECK_AT(data, "expectedPods", "3");
    CHECK_AT(data, "currentHealthy", "0");
    CHECK_AT(data, "disruptionsAllowed", "0");
    kb_harness_play_nodes(h, 0);
    kb_harness_settle(h);
    data = kb_val_get(kb_harness_get(h, "configmaps/shop/web"), "data");
    CHECK_AT(data, "desiredHealthy", "2");
    CHECK_AT(data, "disruptionsAllowed", "1");
    kb_harness_delete(h, "pods/shop/a", NULL);
    kb_harness_settle(h);
    data = kb_val_get(kb_harness_get(h, "configmaps/shop/web"), "data");
    CHECK_AT(data, "desiredHealthy", "1");
    CHECK_AT(data, "disruptionsAllowed", "1");
}

KB_TEST(pdb_lite, says_what_is_wrong_with_a_budget)
{
    KB_AUTO(kb_harness_destroy) struct kb_harness *h = kb_harness_new(kb_test_seed());
    LOAD(h, "pdb_lite");
    kb_harness_apply(h, budget);
    kb_harness_patch(h, "configmaps/shop/web", NULL, "{\"data\":{\"selector\":\"a in\"}}");
    kb_harness_settle(h);
    KB_CHECK_I64(kb_harness_events(h, "BadSelector"), ==, 1);
}
