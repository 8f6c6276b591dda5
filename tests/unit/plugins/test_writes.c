/* A controller writes what its descriptor names, and nothing else. */
#include "tests/unit/plugins/stories.h"

static const char config[] = "apiVersion: v1\nkind: ConfigMap\n"
                             "metadata: {name: web, namespace: shop}\ndata: {seen: 'no'}\n";

/* How a run that failed ended, as the next one was told. */
static int failed_with[2];

static void wish_account(kb_controller *c)
{
    struct kb_node *account = kb_node_map(kb_arena(c));
    kb_node_set_cstr(kb_arena(c), account, "metadata.namespace", "shop");
    kb_node_set_cstr(kb_arena(c), account, "metadata.name", "made");
    kb_wish_tag(kb_wish_create(c, "serviceaccounts", account), "account");
}

static void wish_seen(kb_controller *c, const struct kb_object *object, const char *subresource)
{
    struct kb_node *patch = kb_node_map(kb_arena(c));
    kb_node_set_cstr(kb_arena(c), patch, subresource ? "status.seen" : "data.seen", "yes");
    kb_wish_tag(kb_wish_patch(c, object, subresource, patch), subresource ? "status" : "seen");
}

static kb_result trespass(kb_controller *c, kb_key key)
{
    static const char *const tags[] = {"account", "status"};
    const struct kb_object *object = kb_get(c, "configmaps", key.ns, key.name);
    if (object == NULL)
        return 0;
    for (size_t i = 0; i < KB_COUNT(tags); i++)
        if (kb_failure(c, tags[i]))
            failed_with[i] = kb_failure(c, tags[i])->code;
    if (failed_with[0])
        return 0;
    kb_event(c, object, "Normal", "Trying", "an event needs no permission");
    wish_account(c);
    wish_seen(c, object, "status");
    wish_seen(c, object, NULL);
    return 0;
}

static struct kb_plugin plugin(const char *writes)
{
    return (struct kb_plugin){.abi = KB_PLUGIN_ABI,
                              .size = sizeof(struct kb_plugin),
                              .name = "trespasser",
                              .primary = "configmaps",
                              .writes = {writes},
                              .reconcile = trespass};
}

KB_TEST(writes, what_a_descriptor_does_not_name_is_refused_and_the_rest_goes_on)
{
    KB_AUTO(kb_harness_destroy) struct kb_harness *h = kb_harness_new(kb_test_seed());
    struct kb_plugin p = plugin("configmaps");
    kb_harness_add(h, &p);
    kb_harness_apply(h, config);
    kb_harness_run(h, 60000);
    KB_CHECK_U64(kb_harness_count(h, "serviceaccounts", NULL), ==, 0);
    KB_CHECK_I64(failed_with[0], ==, KB_EFORBIDDEN);
    KB_CHECK_I64(failed_with[1], ==, KB_EFORBIDDEN);
    kb_val object = kb_harness_get(h, "configmaps/shop/web");
    CHECK_AT(object, "data.seen", "yes");
    KB_CHECK(!kb_val_present(kb_val_get(object, "status")));
    KB_CHECK_I64(kb_harness_events(h, "Trying"), >=, 1);
    KB_CHECK_U64(kb_harness_writes(h), ==, 1); /* the others have not even been sent */
}

KB_TEST(writes, of_everything_are_those_of_objects_not_of_subresources)
{
    KB_AUTO(kb_harness_destroy) struct kb_harness *h = kb_harness_new(kb_test_seed());
    struct kb_plugin p = plugin("*");
    kb_harness_add(h, &p);
    kb_harness_apply(h, config);
    kb_harness_settle(h);
    KB_CHECK_U64(kb_harness_count(h, "serviceaccounts", NULL), ==, 1);
    CHECK_AT(kb_harness_get(h, "configmaps/shop/web"), "data.seen", "yes");
    KB_CHECK(!kb_val_present(kb_val_get(kb_harness_get(h, "configmaps/shop/web"), "status")));
}

KB_TEST(writes, without_any_declared_are_none)
{
    KB_AUTO(kb_harness_destroy) struct kb_harness *h = kb_harness_new(kb_test_seed());
    struct kb_plugin p = plugin(NULL);
    kb_harness_add(h, &p);
    kb_harness_apply(h, config);
    kb_harness_run(h, 1000);
    KB_CHECK_U64(kb_harness_writes(h), ==, 0);
}
