/* Stories of the example controller that docs/controller.md builds. */
#include "tests/unit/plugins/stories.h"

#define SERVER "deployments.apps/shop/hello"

static struct kb_harness *page(const char *labels)
{
    struct kb_harness *h = kb_harness_new(11);
    LOAD(h, "webpage");
    LOAD(h, "garbagecollector");
    kb_harness_apply(h, "apiVersion: v1\nkind: Namespace\nmetadata: {name: shop}\n");
    KB_AUTO(kb_auto_free)
    char *text = kb_strf("apiVersion: v1\nkind: ConfigMap\n"
                         "metadata: {name: hello, namespace: shop, labels: {%s}}\n"
                         "data: {index.html: Hello}\n",
                         labels);
    kb_harness_apply(h, text);
    kb_harness_settle(h);
    return h;
}

KB_TEST(webpage, a_labelled_configmap_gets_one_server)
{
    KB_AUTO(kb_harness_destroy) struct kb_harness *h = page("webpage: \"yes\"");
    CHECK_INT_AT(kb_harness_get(h, SERVER), "spec.replicas", 1);
    CHECK_AT(kb_harness_get(h, SERVER), "metadata.ownerReferences[0].name", "hello");
    KB_CHECK_I64(kb_harness_events(h, "Served"), ==, 1);
    KB_CHECK_U64(kb_harness_writes(h), ==, 1);
}

KB_TEST(webpage, one_without_the_label_gets_none)
{
    KB_AUTO(kb_harness_destroy) struct kb_harness *h = page("app: other");
    KB_CHECK_U64(kb_harness_count(h, "deployments.apps", NULL), ==, 0);
}

KB_TEST(webpage, the_annotation_scales_it)
{
    KB_AUTO(kb_harness_destroy) struct kb_harness *h = page("webpage: \"yes\"");
    kb_harness_patch(h, "configmaps/shop/hello", NULL,
                     "{\"metadata\":{\"annotations\":{\"webpage/replicas\":\"3\"}}}");
    kb_harness_settle(h);
    CHECK_INT_AT(kb_harness_get(h, SERVER), "spec.replicas", 3);
}

KB_TEST(webpage, a_server_that_somebody_deleted_comes_back)
{
    KB_AUTO(kb_harness_destroy) struct kb_harness *h = page("webpage: \"yes\"");
    kb_harness_delete(h, SERVER, NULL);
    kb_harness_settle(h);
    KB_CHECK(kb_val_present(kb_harness_get(h, SERVER)));
}

KB_TEST(webpage, the_server_goes_with_the_label_or_with_the_page)
{
    KB_AUTO(kb_harness_destroy) struct kb_harness *h = page("webpage: \"yes\"");
    kb_harness_patch(h, "configmaps/shop/hello", NULL,
                     "{\"metadata\":{\"labels\":{\"webpage\":null}}}");
    kb_harness_run(h, 1000);
    KB_CHECK(!kb_val_present(kb_harness_get(h, SERVER)));
    kb_harness_patch(h, "configmaps/shop/hello", NULL,
                     "{\"metadata\":{\"labels\":{\"webpage\":\"yes\"}}}");
    kb_harness_settle(h);
    KB_CHECK(kb_val_present(kb_harness_get(h, SERVER)));
    kb_harness_delete(h, "configmaps/shop/hello", "Background");
    kb_harness_run(h, 5000);
    KB_CHECK(!kb_val_present(kb_harness_get(h, SERVER)));
}
