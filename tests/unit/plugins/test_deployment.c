#include "tests/unit/plugins/stories.h"

#include <stdlib.h>

static const char web[] = "apiVersion: apps/v1\n"
                          "kind: Deployment\n"
                          "metadata: {name: web, namespace: shop, annotations: {note: text}}\n"
                          "spec:\n"
                          "  replicas: 4\n"
                          "  selector: {matchLabels: {app: web}}\n"
                          "  strategy: {rollingUpdate: {maxSurge: 1, maxUnavailable: 1}}\n"
                          "  template:\n"
                          "    metadata: {labels: {app: web}}\n"
                          "    spec: {containers: [{name: c, image: v1}]}\n";
static const char key[] = "deployments.apps/shop/web";

/* A cluster with the two controllers; pods are ready after `ready_ms` (negative: never placed). */
static struct kb_harness *shop(kb_ms ready_ms)
{
    struct kb_harness *h = kb_harness_new(kb_test_seed());
    LOAD(h, "deployment");
    LOAD(h, "replicaset");
    kb_harness_play_nodes(h, ready_ms);
    kb_harness_apply(h, web);
    kb_harness_settle(h);
    return h;
}

static void set_image(struct kb_harness *h, const char *image)
{
    KB_AUTO(kb_auto_free)
    char *patch = kb_strf("{\"spec\":{\"template\":{\"spec\":{\"containers\":[{\"name\":\"c\","
                          "\"image\":\"%s\"}]}}}}",
                          image);
    kb_harness_patch(h, key, NULL, patch);
}

/* The ReplicaSet of an image, or KB_NONE. */
static kb_val set_of(struct kb_harness *h, const char *image)
{
    const char *name;
    kb_val doc;
    for (size_t i = 0; kb_harness_next(h, "replicasets.apps", "shop", &i, &name, &doc);)
        if (kb_str_is(kb_val_str_at(doc, "spec.template.spec.containers[0].image"), image))
            return doc;
    return (kb_val){0};
}

static size_t pods_of(struct kb_harness *h, const char *image)
{
    const char *name;
    kb_val doc;
    size_t n = 0;
    for (size_t i = 0; kb_harness_next(h, "pods", "shop", &i, &name, &doc);)
        n += kb_str_is(kb_val_str_at(doc, "spec.containers[0].image"), image);
    return n;
}

static size_t ready_pods(struct kb_harness *h)
{
    const char *name;
    kb_val doc;
    size_t n = 0;
    for (size_t i = 0; kb_harness_next(h, "pods", "shop", &i, &name, &doc);)
        n += kb_cond_is(doc, "Ready", "True");
    return n;
}

static void check_reason(struct kb_harness *h, const char *type, const char *status,
                         const char *reason)
{
    kb_val cond = kb_cond_get(kb_harness_get(h, key), type);
    KB_CHECK_STRN(kb_val_str_at(cond, "status"), status);
    KB_CHECK_STRN(kb_val_str_at(cond, "reason"), reason);
}

KB_TEST(deployment, makes_a_replicaset_and_says_when_it_is_done)
{
    KB_AUTO(kb_harness_destroy) struct kb_harness *h = shop(1000);
    check_reason(h, "Progressing", "True", "ReplicaSetUpdated");
    kb_harness_run(h, 5000);
    kb_val set = set_of(h, "v1"), d = kb_harness_get(h, key);
    kb_str hash = kb_meta_label(set, "pod-template-hash");
    KB_CHECK(hash.n > 0 && kb_str_starts(kb_meta_name(set), "web-"));
    KB_CHECK(kb_str_eq(hash, kb_val_str_at(set, "spec.selector.matchLabels.pod-template-hash")));
    KB_CHECK(
        kb_str_eq(hash, kb_val_str_at(set, "spec.template.metadata.labels.pod-template-hash")));
    KB_CHECK_STRN(kb_meta_annotation(set, "note"), "text");
    KB_CHECK_STRN(kb_meta_annotation(set, "deployment.kubernetes.io/desired-replicas"), "4");
    KB_CHECK_STRN(kb_meta_annotation(set, "deployment.kubernetes.io/max-replicas"), "5");
    KB_CHECK_STRN(kb_meta_annotation(set, "deployment.kubernetes.io/revision"), "1");
    KB_CHECK_STRN(kb_meta_annotation(d, "deployment.kubernetes.io/revision"), "1");
    CHECK_INT_AT(d, "status.replicas", 4);
    CHECK_INT_AT(d, "status.updatedReplicas", 4);
    CHECK_INT_AT(d, "status.readyReplicas", 4);
    CHECK_INT_AT(d, "status.availableReplicas", 4);
    CHECK_INT_AT(d, "status.observedGeneration", 1);
    KB_CHECK(!kb_val_present(kb_val_at(d, "status.unavailableReplicas")));
    check_reason(h, "Progressing", "True", "NewReplicaSetAvailable");
    check_reason(h, "Available", "True", "MinimumReplicasAvailable");
    KB_CHECK_I64(kb_harness_events(h, "ScalingReplicaSet"), ==, 1);
    uint64_t writes = kb_harness_writes(h);
    kb_harness_run(h, 3600 * 1000);
    KB_CHECK_U64(kb_harness_writes(h), ==, writes);
}

KB_TEST(deployment, rolls_within_its_bounds)
{
    KB_AUTO(kb_harness_destroy) struct kb_harness *h = shop(700);
    kb_harness_run(h, 5000);
    set_image(h, "v2");
    size_t steps = 0;
    while (pods_of(h, "v2") < 4 || pods_of(h, "v1") > 0 || ready_pods(h) < 4) {
        KB_CHECK_U64(kb_harness_count(h, "pods", "shop"), <=, 5);
        KB_CHECK_U64(ready_pods(h), >=, 3);
        KB_CHECK_U64(++steps, <, 1000);
        kb_harness_run(h, 50);
    }
    kb_harness_settle(h);
    check_reason(h, "Progressing", "True", "NewReplicaSetAvailable");
    CHECK_INT_AT(set_of(h, "v1"), "spec.replicas", 0);
    KB_CHECK_STRN(kb_meta_annotation(kb_harness_get(h, key), "deployment.kubernetes.io/revision"),
                  "2");
}

KB_TEST(deployment, goes_back_to_an_old_replicaset)
{
    KB_AUTO(kb_harness_destroy) struct kb_harness *h = shop(0);
    set_image(h, "v2");
    kb_harness_run(h, 5000);
    set_image(h, "v1");
    kb_harness_run(h, 5000);
    KB_CHECK_U64(kb_harness_count(h, "replicasets.apps", "shop"), ==, 2);
    KB_CHECK_U64(pods_of(h, "v1"), ==, 4);
    kb_val set = set_of(h, "v1");
    KB_CHECK_STRN(kb_meta_annotation(set, "deployment.kubernetes.io/revision"), "3");
    KB_CHECK_STRN(kb_meta_annotation(set, "deployment.kubernetes.io/revision-history"), "1");
}

KB_TEST(deployment, keeps_as_much_history_as_asked)
{
    KB_AUTO(kb_harness_destroy) struct kb_harness *h = shop(0);
    kb_harness_patch(h, key, NULL, "{\"spec\":{\"revisionHistoryLimit\":2}}");
    for (int i = 2; i <= 6; i++) {
        KB_AUTO(kb_auto_free) char *image = kb_strf("v%d", i);
        set_image(h, image);
        kb_harness_run(h, 5000);
    }
    KB_CHECK_U64(kb_harness_count(h, "replicasets.apps", "shop"), ==, 3);
    KB_CHECK(kb_val_present(set_of(h, "v4")) && kb_val_present(set_of(h, "v5")));
    KB_CHECK(!kb_val_present(set_of(h, "v3")));
}

KB_TEST(deployment, pauses_and_resumes)
{
    KB_AUTO(kb_harness_destroy) struct kb_harness *h = shop(0);
    kb_harness_patch(h, key, NULL, "{\"spec\":{\"paused\":true}}");
    kb_harness_settle(h);
    check_reason(h, "Progressing", "Unknown", "DeploymentPaused");
    set_image(h, "v2");
    kb_harness_run(h, 5000);
    KB_CHECK(!kb_val_present(set_of(h, "v2")));
    kb_harness_patch(h, key, NULL, "{\"spec\":{\"replicas\":6}}");
    kb_harness_run(h, 5000);
    KB_CHECK_U64(pods_of(h, "v1"), ==, 6);
    kb_harness_patch(h, key, NULL, "{\"spec\":{\"paused\":false}}");
    kb_harness_run(h, 5000);
    KB_CHECK_U64(pods_of(h, "v2"), ==, 6);
    KB_CHECK_U64(pods_of(h, "v1"), ==, 0);
    check_reason(h, "Progressing", "True", "NewReplicaSetAvailable");
}

KB_TEST(deployment, a_change_of_size_in_a_rollout_is_shared)
{
    KB_AUTO(kb_harness_destroy) struct kb_harness *h = shop(0);
    kb_harness_play_nodes(h, -1); /* new pods do not start: the rollout stands */
    set_image(h, "v2");
    kb_harness_run(h, 1000);
    CHECK_INT_AT(set_of(h, "v1"), "spec.replicas", 3);
    CHECK_INT_AT(set_of(h, "v2"), "spec.replicas", 2);
    kb_harness_patch(h, key, NULL, "{\"spec\":{\"replicas\":9}}");
    kb_harness_run(h, 1000);
    CHECK_INT_AT(set_of(h, "v1"), "spec.replicas", 6);
    CHECK_INT_AT(set_of(h, "v2"), "spec.replicas", 4);
    kb_harness_patch(h, key, NULL, "{\"spec\":{\"replicas\":0}}");
    kb_harness_run(h, 1000);
    CHECK_INT_AT(set_of(h, "v1"), "spec.replicas", 0);
    CHECK_INT_AT(set_of(h, "v2"), "spec.replicas", 0);
}

KB_TEST(deployment, says_when_it_is_stuck_and_when_it_goes_on)
{
    KB_AUTO(kb_harness_destroy) struct kb_harness *h = shop(0);
    kb_harness_run(h, 1000);
    kb_harness_play_nodes(h, -1);
    set_image(h, "v2");
    kb_harness_run(h, 590 * 1000);
    check_reason(h, "Progressing", "True", "ReplicaSetUpdated");
    kb_harness_run(h, 20 * 1000);
    check_reason(h, "Progressing", "False", "ProgressDeadlineExceeded");
    check_reason(h, "Available", "True", "MinimumReplicasAvailable");
    set_image(h, "v1");
    kb_harness_play_nodes(h, 0);
    kb_harness_run(h, 5000);
    check_reason(h, "Progressing", "True", "NewReplicaSetAvailable");
}

KB_TEST(deployment, recreate_has_no_two_versions_at_once)
{
    KB_AUTO(kb_harness_destroy) struct kb_harness *h = shop(0);
    kb_harness_patch(h, key, NULL,
                     "{\"spec\":{\"strategy\":{\"type\":\"Recreate\",\"rollingUpdate\":null}}}");
    kb_harness_run(h, 1000);
    set_image(h, "v2");
    for (int i = 0; i < 100; i++) {
        KB_CHECK(pods_of(h, "v1") == 0 || pods_of(h, "v2") == 0);
        kb_harness_run(h, 50);
    }
    KB_CHECK_U64(pods_of(h, "v2"), ==, 4);
    check_reason(h, "Progressing", "True", "NewReplicaSetAvailable");
}

KB_TEST(deployment, a_controller_that_dies_goes_on_where_it_was)
{
    KB_AUTO(kb_harness_destroy) struct kb_harness *h = shop(300);
    kb_harness_run(h, 5000);
    set_image(h, "v2");
    for (int i = 0; i < 40; i++) {
        kb_harness_run(h, 70);
        kb_harness_restart(h, i % 2 ? "deployment-controller" : "replicaset-controller");
        KB_CHECK_U64(kb_harness_count(h, "pods", "shop"), <=, 5);
        KB_CHECK_U64(kb_harness_count(h, "replicasets.apps", "shop"), <=, 2);
    }
    kb_harness_run(h, 10000);
    KB_CHECK_U64(pods_of(h, "v2"), ==, 4);
    KB_CHECK_U64(pods_of(h, "v1"), ==, 0);
}

KB_TEST(deployment, takes_another_name_when_its_hash_is_taken)
{
    struct kb_harness *h = kb_harness_new(kb_test_seed());
    LOAD(h, "deployment");
    kb_harness_fail(h, "object.create", "replicasets.apps", KB_EEXISTS, 1);
    kb_harness_apply(h, web);
    kb_harness_run(h, 60000);
    CHECK_INT_AT(kb_harness_get(h, key), "status.collisionCount", 1);
    KB_CHECK_U64(kb_harness_count(h, "replicasets.apps", "shop"), ==, 1);
    kb_harness_destroy(&h);
}

KB_TEST(deployment, gives_a_template_up_whose_names_are_all_taken_until_it_changes)
{
    KB_AUTO(kb_harness_destroy) struct kb_harness *h = kb_harness_new(kb_test_seed());
    LOAD(h, "deployment");
    kb_harness_fail(h, "object.create", "replicasets.apps", KB_EEXISTS, 102);
    kb_harness_apply(h, web);
    kb_harness_patch(h, key, NULL, "{\"spec\":{\"progressDeadlineSeconds\":600}}");
    kb_harness_run(h, 1000 * 60 * 60 * 24);
    CHECK_INT_AT(kb_harness_get(h, key), "status.collisionCount", 101);
    KB_CHECK_U64(kb_harness_count(h, "replicasets.apps", "shop"), ==, 0);
    kb_val progressing = kb_cond_get(kb_harness_get(h, key), "Progressing");
    CHECK_AT(progressing, "status", "False");
    CHECK_AT(progressing, "reason", "ReplicaSetCreateError");
    set_image(h, "v2");
    kb_harness_run(h, 60000);
    KB_CHECK_U64(kb_harness_count(h, "replicasets.apps", "shop"), ==, 1);
}

KB_TEST(deployment, adopts_a_replicaset_that_matches_and_releases_one_that_does_not)
{
    KB_AUTO(kb_harness_destroy) struct kb_harness *h = shop(0);
    KB_AUTO(kb_auto_free)
    char *set =
        kb_strf("replicasets.apps/shop/" KB_STR_FMT, KB_STR_ARG(kb_meta_name(set_of(h, "v1"))));
    kb_harness_patch(h, set, NULL, "{\"metadata\":{\"ownerReferences\":null}}");
    kb_harness_settle(h);
    CHECK_AT(kb_harness_get(h, set), "metadata.ownerReferences[0].name", "web");
    kb_harness_patch(h, set, NULL, "{\"metadata\":{\"labels\":{\"app\":\"other\"}}}");
    kb_harness_run(h, 1000);
    KB_CHECK_U64(kb_val_count(kb_val_at(kb_harness_get(h, set), "metadata.ownerReferences")), ==,
                 0);
    KB_CHECK_U64(kb_harness_count(h, "replicasets.apps", "shop"), ==, 2);
}

KB_TEST(deployment, lost_answers_do_not_double_anything)
{
    struct kb_harness *h = kb_harness_new(kb_test_seed());
    LOAD(h, "deployment");
    LOAD(h, "replicaset");
    kb_harness_play_nodes(h, 0);
    kb_harness_lose_answers(h, "replicasets.apps", 1);
    kb_harness_apply(h, web);
    kb_harness_run(h, 120000);
    KB_CHECK_U64(kb_harness_count(h, "replicasets.apps", "shop"), ==, 1);
    KB_CHECK_U64(pods_of(h, "v1"), ==, 4);
    check_reason(h, "Progressing", "True", "NewReplicaSetAvailable");
    kb_harness_destroy(&h);
}
