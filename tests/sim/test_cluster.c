/* test_cluster.c - stories of a whole cluster, on networks that misbehave, with actors that die.
 *
 * A story ends well when what was asked for is there, and nothing more. Beside that, the store's
 * whole history is read: no ReplicaSet ever had more living pods than it was told to have. */
#include "bus/base/map.h"
#include "tests/lib/simcluster.h"
#include "tests/lib/test.h"

#include <stdlib.h>

static const char *const controllers[] = {"deployment",     "replicaset", "garbagecollector",
                                          "serviceaccount", "namespace",  NULL};

static const struct kb_sim_link bad = {
    .delay_min_ms = 1, .delay_max_ms = 150, .drop = 0.2, .breaks = 0.005, .backlog = 200};
static const struct kb_sim_link good = {.delay_min_ms = 1, .delay_max_ms = 2};

static void apply(struct simcluster *c, int replicas, const char *image)
{
    int code = 0;
    KB_AUTO(kb_auto_free)
    char *doc =
        kb_strf("{\"apiVersion\":\"apps/v1\",\"kind\":\"Deployment\",\"metadata\":{\"name\":"
                "\"web\"},\"spec\":{\"replicas\":%d,\"selector\":{\"matchLabels\":{\"app\":"
                "\"web\"}},\"template\":{\"metadata\":{\"labels\":{\"app\":\"web\"}},"
                "\"spec\":{\"containers\":[{\"name\":\"c\",\"image\":\"%s\"}]}}}}",
                replicas, image);
    KB_AUTO(kb_auto_free)
    char *create =
        kb_strf("{\"resource\":\"deployments.apps\",\"ns\":\"default\",\"doc\":%s}", doc);
    KB_AUTO(kb_auto_free)
    char *update = kb_strf("{\"resource\":\"deployments.apps\",\"ns\":\"default\",\"name\":\"web\","
                           "\"type\":\"merge\",\"patch\":%s}",
                           doc);
    struct kb_doc *done = simcluster_call(c, "api", "object.create", &code, create);
    if (done == NULL && code == KB_EEXISTS)
        done = simcluster_call(c, "api", "object.patch", &code, update);
    KB_CHECK_I64(code, ==, 0);
    kb_doc_destroy(&done);
}

/* Pods of the default namespace that run this image, and that run at all. */
static void count_pods(struct simcluster *c, const char *image, int *ret_with, int *ret_all)
{
    KB_AUTO(kb_doc_destroy) struct kb_doc *list = simcluster_list(c, "pods?ns=default");
    *ret_with = *ret_all = 0;
    for (struct kb_iter it = kb_iter(kb_doc_at(list, "items")); kb_iter_next(&it);) {
        kb_val doc = kb_val_get(it.val, "doc");
        bool runs = kb_str_is(kb_val_str_at(doc, "status.phase"), "Running");
        *ret_with += runs && kb_str_is(kb_val_str_at(doc, "spec.containers[0].image"), image);
        (*ret_all)++;
    }
}

static bool deployment_done(struct simcluster *c, int replicas)
{
    KB_AUTO(kb_doc_destroy) struct kb_doc *list = simcluster_list(c, "deployments.apps?name=web");
    kb_val doc = kb_val_at(kb_doc_root(list), "items[0].doc");
    return kb_val_int_at(doc, "status.observedGeneration", -1) ==
               kb_val_int_at(doc, "metadata.generation", -2) &&
           kb_val_int_at(doc, "status.updatedReplicas", 0) == replicas &&
           kb_val_int_at(doc, "status.availableReplicas", 0) == replicas &&
           kb_val_int_at(doc, "status.replicas", 0) == replicas;
}

/* Wait for just these pods with this image, all running, and a Deployment that says so. */
static void until_rolled_out(struct simcluster *c, int replicas, const char *image, kb_ms limit_ms)
{
    kb_ms end_ms = kb_sim_now(simcluster_sim(c)) + limit_ms;
    for (;;) {
        int with, all;
        count_pods(c, image, &with, &all);
        if (with == replicas && all == replicas && deployment_done(c, replicas))
            return;
        if (kb_sim_now(simcluster_sim(c)) > end_ms)
            kb_test_fail(__FILE__, __LINE__, "%d of %d pods run %s, %d in all", with, replicas,
                         image, all);
        kb_sim_run_for(simcluster_sim(c), 500);
    }
}

/* ---- the history: most living pods that each ReplicaSet ever had ---- */

static void note_pod(struct kb_map *living, struct kb_map *owners, kb_val change, int most)
{
    kb_str key = kb_val_str_at(change, "key");
    kb_val doc = kb_val_get(change, "doc");
    kb_str owner = kb_val_str_at(doc, "metadata.ownerReferences[0].uid");
    bool lives = kb_str_is(kb_val_str_at(change, "op"), "put") &&
                 !kb_val_present(kb_val_at(doc, "metadata.deletionTimestamp"));
    bool lived = kb_map_get(living, key) != NULL;
    if (owner.n == 0 || lives == lived)
        return;
    uintptr_t count = (uintptr_t)kb_map_get(owners, owner);
    if (lives) {
        kb_map_put(living, key, living);
        kb_map_put(owners, owner, (void *)(count + 1));
        if ((int)count + 1 > most)
            kb_test_fail(__FILE__, __LINE__, "revision %lld: %d pods of one ReplicaSet, not %d",
                         (long long)kb_val_int_at(change, "rev", 0), (int)count + 1, most);
    } else {
        kb_map_del(living, key);
        if (count == 1)
            kb_map_del(owners, owner);
        else
            kb_map_put(owners, owner, (void *)(count - 1));
    }
}

static void check_history(struct simcluster *c, int most)
{
    KB_AUTO(kb_map_finish) struct kb_map living = {0};
    KB_AUTO(kb_map_finish) struct kb_map owners = {0};
    int64_t since = 0;
    for (bool more = true; more;) {
        KB_AUTO(kb_auto_free)
        char *body = kb_strf("{\"view\":\"pods\",\"since\":%lld,\"limit\":1000}", (long long)since);
        KB_AUTO(kb_doc_destroy)
        struct kb_doc *page = simcluster_call(c, "store", "store.replay", NULL, body);
        KB_CHECK(page != NULL);
        for (struct kb_iter it = kb_iter(kb_doc_at(page, "changes")); kb_iter_next(&it);)
            note_pod(&living, &owners, it.val, most);
        since = kb_val_int(kb_doc_at(page, "rev"), 0);
        more = kb_val_bool(kb_doc_at(page, "more"), false);
    }
}

/* ---- trouble ---- */

static void set_links(struct simcluster *c, const struct kb_sim_link *link)
{
    for (size_t i = 1; i < simcluster_count(c); i++) {
        kb_sim_set_link(simcluster_sim(c), "store", simcluster_name(c, i), link);
        kb_sim_set_link(simcluster_sim(c), "api", simcluster_name(c, i), link);
    }
}

/* Kill a random actor and bring it back a little later; `rounds` times. */
static void kill_at_random(struct simcluster *c, int rounds)
{
    struct kb_rand *rand = kb_sim_rand(simcluster_sim(c));
    for (int i = 0; i < rounds; i++) {
        const char *name = simcluster_name(c, kb_rand_below(rand, simcluster_count(c)));
        simcluster_kill(c, name);
        kb_sim_run_for(simcluster_sim(c), (kb_ms)kb_rand_below(rand, 1500));
        simcluster_start(c, name);
        kb_sim_run_for(simcluster_sim(c), (kb_ms)kb_rand_below(rand, 1500));
    }
}

KB_TEST(cluster, runs_a_deployment_and_rolls_it_over_on_bad_links)
{
    struct simcluster *c = simcluster_new(kb_test_seed(), KUBUS_TEST_PLUGINS, controllers, 3);
    set_links(c, &bad);
    apply(c, 6, "one");
    until_rolled_out(c, 6, "one", 600000);
    apply(c, 6, "two");
    until_rolled_out(c, 6, "two", 600000);
    apply(c, 2, "two");
    until_rolled_out(c, 2, "two", 600000);
    check_history(c, 6);
    simcluster_destroy(&c);
}

KB_TEST(cluster, converges_though_any_actor_is_killed_at_any_time)
{
    struct simcluster *c = simcluster_new(kb_test_seed(), KUBUS_TEST_PLUGINS, controllers, 3);
    char image[16];
    apply(c, 5, "v0");
    for (int v = 1; v <= 4; v++) {
        snprintf(image, sizeof(image), "v%d", v);
        apply(c, 5, image);
        kill_at_random(c, 12);
    }
    until_rolled_out(c, 5, image, 600000);
    check_history(c, 5);
    simcluster_destroy(&c);
}

KB_TEST(cluster, goes_on_after_a_partition_of_anybody_from_the_store)
{
    struct simcluster *c = simcluster_new(kb_test_seed(), KUBUS_TEST_PLUGINS, controllers, 2);
    struct kb_sim *sim = simcluster_sim(c);
    set_links(c, &bad);
    apply(c, 4, "one");
    until_rolled_out(c, 4, "one", 600000);
    for (size_t i = 1; i < simcluster_count(c); i++) {
        char image[32];
        snprintf(image, sizeof(image), "after-%zu", i);
        kb_sim_partition(sim, "store", simcluster_name(c, i), true);
        if (i > 1) /* else the api is cut off, and nothing can be asked for */
            apply(c, 4, image);
        kb_sim_run_for(sim, 30000);
        kb_sim_partition(sim, "store", simcluster_name(c, i), false);
        if (i > 1)
            until_rolled_out(c, 4, image, 600000);
    }
    set_links(c, &good);
    check_history(c, 4);
    simcluster_destroy(&c);
}

KB_TEST(cluster, leaves_nothing_of_a_deployment_that_was_deleted)
{
    struct simcluster *c = simcluster_new(kb_test_seed(), KUBUS_TEST_PLUGINS, controllers, 2);
    int with = 0, all = 1;
    set_links(c, &bad);
    apply(c, 4, "one");
    until_rolled_out(c, 4, "one", 600000);
    struct kb_doc *gone =
        simcluster_call(c, "api", "object.delete", NULL,
                        "{\"resource\":\"deployments.apps\",\"ns\":\"default\",\"name\":\"web\"}");
    kb_doc_destroy(&gone);
    for (int i = 0; i < 600 && all > 0; i++) {
        kb_sim_run_for(simcluster_sim(c), 500);
        count_pods(c, "one", &with, &all);
    }
    KB_CHECK_I64(all, ==, 0);
    KB_AUTO(kb_doc_destroy) struct kb_doc *sets = simcluster_list(c, "replicasets.apps");
    KB_CHECK_U64(kb_val_count(kb_doc_at(sets, "items")), ==, 0);
    simcluster_destroy(&c);
}
