/* Stories of the namespace and serviceaccount controllers, in virtual time. */
#include "tests/unit/plugins/stories.h"

#define NAMESPACE "apiVersion: v1\nkind: Namespace\nmetadata: {name: shop}\n"
#define CONFIGMAP "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: one, namespace: shop}\n"
#define HELD                                                                                       \
    "apiVersion: v1\nkind: ConfigMap\n"                                                            \
    "metadata: {name: held, namespace: shop, finalizers: [example.com/wait]}\n"

KB_TEST(namespace, a_deleted_one_takes_its_content_along)
{
    KB_AUTO(kb_harness_destroy) struct kb_harness *h = kb_harness_new(1);
    LOAD(h, "namespace");
    kb_harness_apply(h, NAMESPACE);
    kb_harness_apply(h, CONFIGMAP);
    kb_harness_settle(h);
    kb_harness_delete(h, "namespaces//shop", NULL);
    kb_harness_settle(h);
    KB_CHECK_U64(kb_harness_count(h, "configmaps", "shop"), ==, 0);
    KB_CHECK(!kb_val_present(kb_harness_get(h, "namespaces//shop")));
}

KB_TEST(namespace, waits_for_a_finalizer_in_it_and_says_so)
{
    KB_AUTO(kb_harness_destroy) struct kb_harness *h = kb_harness_new(1);
    LOAD(h, "namespace");
    kb_harness_apply(h, NAMESPACE);
    kb_harness_apply(h, HELD);
    kb_harness_delete(h, "namespaces//shop", NULL);
    kb_harness_settle(h);
    kb_val ns = kb_harness_get(h, "namespaces//shop");
    KB_CHECK(kb_cond_is(ns, "NamespaceContentRemaining", "True"));
    KB_CHECK(kb_cond_is(ns, "NamespaceFinalizersRemaining", "True"));
    kb_harness_patch(h, "configmaps/shop/held", NULL, "{\"metadata\":{\"finalizers\":null}}");
    kb_harness_settle(h);
    KB_CHECK(!kb_val_present(kb_harness_get(h, "namespaces//shop")));
}

KB_TEST(namespace, leaves_living_namespaces_alone)
{
    KB_AUTO(kb_harness_destroy) struct kb_harness *h = kb_harness_new(1);
    LOAD(h, "namespace");
    kb_harness_apply(h, NAMESPACE);
    kb_harness_apply(h, CONFIGMAP);
    kb_harness_settle(h);
    KB_CHECK_U64(kb_harness_writes(h), ==, 0);
}

KB_TEST(serviceaccount, the_default_one_is_made_and_made_again)
{
    KB_AUTO(kb_harness_destroy) struct kb_harness *h = kb_harness_new(1);
    LOAD(h, "serviceaccount");
    kb_harness_apply(h, NAMESPACE);
    kb_harness_settle(h);
    KB_CHECK(kb_val_present(kb_harness_get(h, "serviceaccounts/shop/default")));
    kb_harness_delete(h, "serviceaccounts/shop/default", NULL);
    kb_harness_settle(h);
    KB_CHECK(kb_val_present(kb_harness_get(h, "serviceaccounts/shop/default")));
}
