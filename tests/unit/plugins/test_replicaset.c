#include "tests/unit/plugins/stories.h"

static const char web[] = "apiVersion: apps/v1\n"
                          "kind: ReplicaSet\n"
                          "metadata: {name: web, namespace: shop}\n"
                          "spec:\n"
                          "  replicas: 3\n"
                          "  selector: {matchLabels: {app: web}}\n"
                          "  template:\n"
                          "    metadata: {labels: {app: web}, annotations: {a: b}}\n"
                          "    spec: {containers: [{name: c, image: busybox}]}\n";
static const char key[] = "replicasets.apps/shop/web";

static struct kb_harness *shop(void)
{
    struct kb_harness *h = kb_harness_new(kb_test_seed());
    LOAD(h, "replicaset");
    kb_harness_play_nodes(h, 0);
    kb_harness_apply(h, web);
    kb_harness_settle(h);
    return h;
}

static const char *a_pod(struct kb_harness *h, size_t at)
{
    const char *name = NULL;
    kb_val doc;
    size_t cursor = 0;
    for (size_t i = 0; i <= at; i++)
        KB_CHECK(kb_harness_next(h, "pods", "shop", &cursor, &name, &doc));
    return name;
}

KB_TEST(replicaset, makes_its_pods_and_says_so)
{
    KB_AUTO(kb_harness_destroy) struct kb_harness *h = shop();
    KB_CHECK_U64(kb_harness_count(h, "pods", "shop"), ==, 3);
    kb_val set = kb_harness_get(h, key), pod = kb_harness_get(h, a_pod(h, 0));
    CHECK_INT_AT(set, "status.replicas", 3);
    CHECK_INT_AT(set, "status.readyReplicas", 3);
    CHECK_INT_AT(set, "status.availableReplicas", 3);
    CHECK_INT_AT(set, "status.fullyLabeledReplicas", 3);
    CHECK_INT_AT(set, "status.observedGeneration", 1);
    CHECK_AT(pod, "metadata.ownerReferences[0].name", "web");
    CHECK_AT(pod, "metadata.annotations.a", "b");
    KB_CHECK(kb_str_starts(kb_meta_name(pod), "web-"));
    KB_CHECK_I64(kb_harness_events(h, "SuccessfulCreate"), ==, 3);
    uint64_t writes = kb_harness_writes(h);
    kb_harness_run(h, 3600 * 1000);
    KB_CHECK_U64(kb_harness_writes(h), ==, writes);
}

KB_TEST(replicaset, replaces_pods_that_go)
{
    KB_AUTO(kb_harness_destroy) struct kb_harness *h = shop();
    KB_AUTO(kb_auto_free) char *gone = kb_str_dup(kb_str_of(a_pod(h, 1)));
    kb_harness_delete(h, gone, NULL);
    kb_harness_settle(h);
    KB_CHECK_U64(kb_harness_count(h, "pods", "shop"), ==, 3);
    KB_CHECK(kb_harness_get(h, gone).p == NULL);
    kb_harness_patch(h, a_pod(h, 0), "status", "{\"status\":{\"phase\":\"Failed\"}}");
    kb_harness_settle(h);
    KB_CHECK_U64(kb_harness_count(h, "pods", "shop"), ==, 4);
    CHECK_INT_AT(kb_harness_get(h, key), "status.replicas", 3);
}

KB_TEST(replicaset, scales_both_ways_without_a_pod_too_many)
{
    KB_AUTO(kb_harness_destroy) struct kb_harness *h = shop();
    kb_harness_patch(h, key, NULL, "{\"spec\":{\"replicas\":1200}}");
    kb_harness_settle(h);
    KB_CHECK_U64(kb_harness_count(h, "pods", "shop"), ==, 1200);
    KB_CHECK_I64(kb_harness_get(h, key).p != NULL, ==, 1);
    kb_harness_patch(h, key, NULL, "{\"spec\":{\"replicas\":0}}");
    kb_harness_settle(h);
    KB_CHECK_U64(kb_harness_count(h, "pods", "shop"), ==, 0);
    CHECK_INT_AT(kb_harness_get(h, key), "status.replicas", 0);
    CHECK_INT_AT(kb_harness_get(h, key), "status.observedGeneration", 3);
}

KB_TEST(replicaset, adopts_and_releases_by_label)
{
    KB_AUTO(kb_harness_destroy) struct kb_harness *h = shop();
    kb_harness_apply(
        h,
        "apiVersion: v1\nkind: Pod\nmetadata: {name: lone, namespace: shop, labels: {app: web}}\n"
        "spec: {containers: [{name: c, image: busybox}]}\n");
    kb_harness_settle(h);
    KB_CHECK_U64(kb_harness_count(h, "pods", "shop"), ==, 3);
    KB_AUTO(kb_auto_free) char *first = kb_str_dup(kb_str_of(a_pod(h, 0)));
    kb_harness_patch(h, first, NULL, "{\"metadata\":{\"labels\":{\"app\":\"other\"}}}");
    kb_harness_settle(h);
    KB_CHECK_U64(kb_harness_count(h, "pods", "shop"), ==, 4);
    KB_CHECK_U64(kb_val_count(kb_val_at(kb_harness_get(h, first), "metadata.ownerReferences")), ==,
                 0);
    kb_harness_patch(h, first, NULL, "{\"metadata\":{\"labels\":{\"app\":\"web\"}}}");
    kb_harness_settle(h);
    KB_CHECK_U64(kb_harness_count(h, "pods", "shop"), ==, 3);
}

KB_TEST(replicaset, failures_show_as_a_condition_and_are_tried_again)
{
    KB_AUTO(kb_harness_destroy) struct kb_harness *h = kb_harness_new(kb_test_seed());
    LOAD(h, "replicaset");
    kb_harness_play_nodes(h, 0);
    kb_harness_fail(h, "object.create", "pods", KB_EFORBIDDEN, 30);
    kb_harness_apply(h, web);
    kb_harness_run(h, 1000);
    kb_val cond = kb_cond_get(kb_harness_get(h, key), "ReplicaFailure");
    CHECK_AT(cond, "reason", "FailedCreate");
    CHECK_AT(cond, "status", "True");
    kb_harness_run(h, 20000);
    KB_CHECK_U64(kb_harness_count(h, "pods", "shop"), ==, 3);
    KB_CHECK(kb_cond_get(kb_harness_get(h, key), "ReplicaFailure").p == NULL);
    KB_CHECK(kb_harness_events(h, "FailedCreate") > 0);
}

KB_TEST(replicaset, lost_answers_do_not_double_pods)
{
    KB_AUTO(kb_harness_destroy) struct kb_harness *h = kb_harness_new(kb_test_seed());
    LOAD(h, "replicaset");
    kb_harness_play_nodes(h, 0);
    kb_harness_lose_answers(h, "pods", 3);
    kb_harness_apply(h, web);
    kb_harness_run(h, 10000);
    KB_CHECK_U64(kb_harness_count(h, "pods", "shop"), ==, 3);
    KB_CHECK_I64(kb_harness_events(h, "SuccessfulDelete"), ==, 0);
}

KB_TEST(replicaset, a_new_process_carries_on_where_the_old_one_died)
{
    KB_AUTO(kb_harness_destroy) struct kb_harness *h = shop();
    kb_harness_patch(h, key, NULL, "{\"spec\":{\"replicas\":40}}");
    kb_harness_run(h, 5); /* some creations are under way */
    kb_harness_restart(h, "replicaset-controller");
    kb_harness_settle(h);
    KB_CHECK_U64(kb_harness_count(h, "pods", "shop"), ==, 40);
}

/* Its calls are somewhere between it and the store when it dies; what they would still create, the
 * next process creates as well. */
KB_TEST(replicaset, writes_of_a_process_that_died_do_not_arrive_behind_those_of_the_next)
{
    for (kb_ms lived_ms = 1; lived_ms < 40; lived_ms++) {
        KB_AUTO(kb_harness_destroy) struct kb_harness *h = kb_harness_new(kb_test_seed());
        LOAD(h, "replicaset");
        kb_harness_apply(h, web);
        kb_harness_run(h, lived_ms);
        kb_harness_restart(h, "replicaset-controller");
        kb_harness_run(h, 1);
        for (int ms = 0; ms < 100; ms++) {
            KB_CHECK_U64(kb_harness_count(h, "pods", "shop"), <=, 3);
            kb_harness_run(h, 1);
        }
        kb_harness_settle(h);
        KB_CHECK_U64(kb_harness_count(h, "pods", "shop"), ==, 3);
    }
}

KB_TEST(replicaset, min_ready_seconds_delay_availability)
{
    KB_AUTO(kb_harness_destroy) struct kb_harness *h = shop();
    kb_harness_patch(h, key, NULL, "{\"spec\":{\"minReadySeconds\":30,\"replicas\":4}}");
    kb_harness_run(h, 20000);
    CHECK_INT_AT(kb_harness_get(h, key), "status.readyReplicas", 4);
    CHECK_INT_AT(kb_harness_get(h, key), "status.availableReplicas", 0);
    kb_harness_run(h, 12000);
    CHECK_INT_AT(kb_harness_get(h, key), "status.availableReplicas", 4);
}

KB_TEST(replicaset, the_least_useful_pod_goes_first)
{
    KB_AUTO(kb_harness_destroy) struct kb_harness *h = shop();
    KB_AUTO(kb_auto_free) char *cheap = kb_str_dup(kb_str_of(a_pod(h, 2)));
    KB_AUTO(kb_auto_free) char *unready = kb_str_dup(kb_str_of(a_pod(h, 0)));
    kb_harness_patch(
        h, cheap, NULL,
        "{\"metadata\":{\"annotations\":{\"controller.kubernetes.io/pod-deletion-cost\":\"-5\"}}}");
    kb_harness_patch(h, unready, "status",
                     "{\"status\":{\"conditions\":[{\"type\":\"Ready\",\"status\":\"False\"}]}}");
    kb_harness_settle(h);
    kb_harness_patch(h, key, NULL, "{\"spec\":{\"replicas\":2}}");
    kb_harness_settle(h);
    KB_CHECK(kb_harness_get(h, unready).p == NULL && kb_harness_get(h, cheap).p != NULL);
    kb_harness_patch(h, key, NULL, "{\"spec\":{\"replicas\":1}}");
    kb_harness_settle(h);
    KB_CHECK(kb_harness_get(h, cheap).p == NULL);
}

KB_TEST(replicationcontroller, works_with_a_plain_selector)
{
    KB_AUTO(kb_harness_destroy) struct kb_harness *h = kb_harness_new(kb_test_seed());
    LOAD(h, "replicationcontroller");
    kb_harness_play_nodes(h, 0);
    kb_harness_apply(
        h, "apiVersion: v1\nkind: ReplicationController\nmetadata: {name: old, namespace: shop}\n"
           "spec:\n  replicas: 2\n  selector: {app: old}\n  template:\n    metadata: {labels: "
           "{app: old}}\n"
           "    spec: {containers: [{name: c, image: busybox}]}\n");
    kb_harness_settle(h);
    KB_CHECK_U64(kb_harness_count(h, "pods", "shop"), ==, 2);
    CHECK_INT_AT(kb_harness_get(h, "replicationcontrollers/shop/old"), "status.readyReplicas", 2);
}
