/* Whatever fails on the way, in the end there is exactly what was asked for. */
#include "tests/unit/plugins/stories.h"

static void random_fault(struct kb_harness *h, struct kb_rand *rand)
{
    static const char *const methods[] = {"object.create", "object.update", "object.patch",
                                          "object.delete"};
    static const char *const resources[] = {"pods", "replicasets.apps", "deployments.apps"};
    static const int codes[] = {KB_ECONFLICT, KB_ETIMEOUT, KB_EUNAVAILABLE, KB_EFORBIDDEN,
                                KB_EINTERNAL};
    const char *resource = resources[kb_rand_below(rand, KB_COUNT(resources))];
    int times = (int)kb_rand_below(rand, 6);
    if (kb_rand_below(rand, 3) == 0)
        kb_harness_lose_answers(h, resource, times);
    else
        kb_harness_fail(h, methods[kb_rand_below(rand, KB_COUNT(methods))], resource,
                        codes[kb_rand_below(rand, KB_COUNT(codes))], times);
}

static void random_deed(struct kb_harness *h, struct kb_rand *rand, int64_t *replicas,
                        int64_t *image)
{
    KB_AUTO(kb_auto_free) char *patch = NULL;
    size_t cursor = 0;
    const char *key;
    kb_val doc;
    switch (kb_rand_below(rand, 6)) {
    case 0:
        kb_harness_restart(h, kb_rand_below(rand, 2) ? "replicaset-controller"
                                                     : "deployment-controller");
        return;
    case 1: /* a pod dies, or somebody deletes it */
        for (uint64_t i = kb_rand_below(rand, 8);
             kb_harness_next(h, "pods", "shop", &cursor, &key, &doc);)
            if (i-- == 0) {
                if (kb_rand_below(rand, 2))
                    kb_harness_delete(h, key, NULL);
                else
                    kb_harness_patch(h, key, "status", "{\"status\":{\"phase\":\"Failed\"}}");
                return;
            }
        return;
    case 2:
        random_fault(h, rand);
        return;
    default:
        *replicas = (int64_t)kb_rand_below(rand, 25);
        *image = (int64_t)kb_rand_below(rand, 3);
        patch = kb_strf(
            "{\"spec\":{\"replicas\":%d,\"template\":{\"spec\":{\"containers\":[{\"name\":\"c\","
            "\"image\":\"x:%d\"}]}}}}",
            (int)*replicas, (int)*image);
        kb_harness_patch(h, "deployments.apps/shop/web", NULL, patch);
    }
}

static void check_pods(struct kb_harness *h, int64_t replicas, int64_t image)
{
    KB_AUTO(kb_auto_free) char *want = kb_strf("x:%d", (int)image);
    size_t cursor = 0;
    int64_t count = 0;
    const char *key;
    kb_val doc;
    while (kb_harness_next(h, "pods", "shop", &cursor, &key, &doc)) {
        if (kb_str_is(kb_val_str_at(doc, "status.phase"), "Failed"))
            continue;
        CHECK_AT(doc, "spec.containers[0].image", want);
        count++;
    }
    KB_CHECK_I64(count, ==, replicas);
    kb_val web = kb_harness_get(h, "deployments.apps/shop/web");
    CHECK_INT_AT(web, "status.replicas", replicas);
    CHECK_INT_AT(web, "status.availableReplicas", replicas);
    CHECK_INT_AT(web, "status.observedGeneration", kb_meta_generation(web));
}

static void story(uint64_t seed)
{
    KB_AUTO(kb_harness_destroy) struct kb_harness *h = kb_harness_new(seed);
    struct kb_rand rand;
    int64_t replicas = 5, image = 0;
    kb_rand_init(&rand, seed);
    LOAD(h, "deployment");
    LOAD(h, "replicaset");
    kb_harness_play_nodes(h, 20);
    kb_harness_apply(
        h,
        "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: web, namespace: shop}\n"
        "spec:\n  replicas: 5\n  selector: {matchLabels: {app: web}}\n  template:\n"
        "    metadata: {labels: {app: web}}\n    spec: {containers: [{name: c, image: 'x:0'}]}\n");
    for (int i = 0; i < 15; i++) {
        kb_harness_run(h, (kb_ms)kb_rand_below(&rand, 200));
        random_deed(h, &rand, &replicas, &image);
    }
    kb_harness_run(h, 30 * 60 * 1000);
    check_pods(h, replicas, image);
    uint64_t writes = kb_harness_writes(h);
    kb_harness_run(h, 60 * 60 * 1000);
    KB_CHECK_U64(kb_harness_writes(h), ==, writes); /* and then there is peace */
}

KB_TEST(faults, whatever_fails_the_end_is_what_was_asked_for)
{
    uint64_t seed = kb_test_seed();
    for (uint64_t i = 0; i < 40; i++)
        story(seed + i);
}
