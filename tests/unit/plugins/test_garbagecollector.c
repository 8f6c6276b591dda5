/* Stories of the garbage collector, in virtual time. */
#include "tests/unit/plugins/stories.h"
#include "bus/base/rand.h"

static struct kb_harness *cluster(void)
{
    struct kb_harness *h = kb_harness_new(3);
    LOAD(h, "garbagecollector");
    kb_harness_apply(h, "apiVersion: v1\nkind: Namespace\nmetadata: {name: shop}\n");
    return h;
}

/* A ConfigMap, owned by another one where `owner` names it. */
static void make(struct kb_harness *h, const char *name, const char *owner, bool block)
{
    KB_AUTO(kb_buf_finish) struct kb_buf text = {0};
    kb_buf_printf(&text,
                  "apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: %s\n"
                  "  namespace: shop\n",
                  name);
    if (owner) {
        KB_AUTO(kb_auto_free) char *key = kb_strf("configmaps/shop/%s", owner);
        kb_buf_printf(
            &text,
            "  ownerReferences:\n  - {apiVersion: v1, kind: ConfigMap, name: %s, uid: " KB_STR_FMT
            ", controller: true, blockOwnerDeletion: %s}\n",
            owner, KB_STR_ARG(kb_meta_uid(kb_harness_get(h, key))), block ? "true" : "false");
    }
    kb_harness_apply(h, text.p);
}

static bool there(struct kb_harness *h, const char *name)
{
    KB_AUTO(kb_auto_free) char *key = kb_strf("configmaps/shop/%s", name);
    return kb_val_present(kb_harness_get(h, key));
}

KB_TEST(garbagecollector, dependents_follow_their_owner_over_generations)
{
    KB_AUTO(kb_harness_destroy) struct kb_harness *h = cluster();
    make(h, "a", NULL, false);
    make(h, "b", "a", false);
    make(h, "c", "b", false);
    make(h, "other", NULL, false);
    kb_harness_settle(h);
    KB_CHECK(there(h, "b") && there(h, "c"));
    kb_harness_delete(h, "configmaps/shop/a", "Background");
    kb_harness_run(h, 5000);
    KB_CHECK(!there(h, "a") && !there(h, "b") && !there(h, "c"));
    KB_CHECK(there(h, "other"));
}

KB_TEST(garbagecollector, foreground_ends_the_dependents_first)
{
    KB_AUTO(kb_harness_destroy) struct kb_harness *h = cluster();
    make(h, "a", NULL, false);
    make(h, "b", "a", true);
    kb_harness_patch(h, "configmaps/shop/b", NULL,
                     "{\"metadata\":{\"finalizers\":[\"x.y/hold\"]}}");
    kb_harness_delete(h, "configmaps/shop/a", "Foreground");
    kb_harness_run(h, 5000);
    KB_CHECK(there(h, "a"));
    KB_CHECK(kb_meta_deleting(kb_harness_get(h, "configmaps/shop/b")));
    kb_harness_patch(h, "configmaps/shop/b", NULL, "{\"metadata\":{\"finalizers\":null}}");
    kb_harness_run(h, 5000);
    KB_CHECK(!there(h, "a") && !there(h, "b"));
}

KB_TEST(garbagecollector, orphaned_dependents_stay_without_the_reference)
{
    KB_AUTO(kb_harness_destroy) struct kb_harness *h = cluster();
    make(h, "a", NULL, false);
    make(h, "b", "a", true);
    kb_harness_delete(h, "configmaps/shop/a", "Orphan");
    kb_harness_run(h, 5000);
    KB_CHECK(!there(h, "a") && there(h, "b"));
    KB_CHECK_U64(
        kb_val_count(kb_val_at(kb_harness_get(h, "configmaps/shop/b"), "metadata.ownerReferences")),
        ==, 0);
}

KB_TEST(garbagecollector, an_owner_that_went_while_it_was_down_is_noticed)
{
    KB_AUTO(kb_harness_destroy) struct kb_harness *h = cluster();
    make(h, "a", NULL, false);
    make(h, "b", "a", false);
    kb_harness_settle(h);
    kb_harness_stop(h, "garbagecollector");
    kb_harness_delete(h, "configmaps/shop/a", "Background");
    kb_harness_run(h, 1000);
    KB_CHECK(there(h, "b"));
    kb_harness_restart(h, "garbagecollector");
    kb_harness_run(h, 5000);
    KB_CHECK(!there(h, "b"));
}

/* Random forests, random deletions: in the end exactly those are left whose root was not deleted.
 */
KB_TEST(garbagecollector, random_forests_lose_exactly_the_trees_of_deleted_roots)
{
    enum { COUNT = 40 };
    KB_AUTO(kb_harness_destroy) struct kb_harness *h = cluster();
    struct kb_rand rand;
    int parent[COUNT];
    bool alive[COUNT];
    char name[16], owner[16];
    kb_rand_init(&rand, kb_test_seed());
    for (int i = 0; i < COUNT; i++) {
        parent[i] = i && kb_rand_below(&rand, 3) ? (int)kb_rand_below(&rand, (uint64_t)i) : -1;
        alive[i] = true;
        snprintf(name, sizeof(name), "n%d", i);
        snprintf(owner, sizeof(owner), "n%d", parent[i]);
        make(h, name, parent[i] >= 0 ? owner : NULL, kb_rand_below(&rand, 2));
    }
    for (int i = 0; i < COUNT; i++) {
        if (kb_rand_below(&rand, 5) == 0) {
            KB_AUTO(kb_auto_free) char *key = kb_strf("configmaps/shop/n%d", i);
            kb_harness_delete(h, key, kb_rand_below(&rand, 2) ? "Background" : "Foreground");
            alive[i] = false;
        }
        alive[i] &= parent[i] < 0 || alive[parent[i]];
    }
    kb_harness_run(h, 30000);
    for (int i = 0; i < COUNT; i++) {
        snprintf(name, sizeof(name), "n%d", i);
        KB_CHECK(there(h, name) == alive[i]);
    }
}
