/* Stories of the node controller, in virtual time. */
#include "tests/unit/plugins/stories.h"

enum { GRACE_MS = 40000 };

static struct kb_harness *cluster(void)
{
    struct kb_harness *h = kb_harness_new(5);
    LOAD(h, "node");
    kb_harness_apply(h, "apiVersion: v1\nkind: Namespace\nmetadata: {name: kube-node-lease}\n");
    kb_harness_apply(h, "apiVersion: v1\nkind: Namespace\nmetadata: {name: shop}\n");
    kb_harness_apply(h, "apiVersion: v1\nkind: Node\nmetadata: {name: n1}\n");
    kb_harness_patch(h, "nodes//n1", "status",
                     "{\"status\":{\"conditions\":[{\"type\":\"Ready\",\"status\":\"True\","
                     "\"reason\":\"KubeletReady\"}]}}");
    kb_harness_apply(h, "apiVersion: coordination.k8s.io/v1\nkind: Lease\n"
                        "metadata: {name: n1, namespace: kube-node-lease}\n"
                        "spec: {holderIdentity: n1, renewTime: \"2024-01-01T00:00:00.000000Z\"}\n");
    return h;
}

static void renew(struct kb_harness *h, int beat)
{
    KB_AUTO(kb_auto_free)
    char *patch = kb_strf("{\"spec\":{\"renewTime\":\"2024-01-01T00:00:%02d.000000Z\"}}", beat);
    kb_harness_patch(h, "leases.coordination.k8s.io/kube-node-lease/n1", NULL, patch);
}

static void pod_on_n1(struct kb_harness *h, const char *name, const char *tolerations)
{
    KB_AUTO(kb_auto_free)
    char *text = kb_strf("apiVersion: v1\nkind: Pod\nmetadata: {name: %s, namespace: shop}\n"
                         "spec:\n  nodeName: n1\n  tolerations: %s\n"
                         "  containers: [{name: c, image: busybox}]\n",
                         name, tolerations);
    kb_harness_apply(h, text);
}

static bool tainted(struct kb_harness *h, const char *key)
{
    kb_val taints = kb_val_at(kb_harness_get(h, "nodes//n1"), "spec.taints");
    for (struct kb_iter it = kb_iter(taints); kb_iter_next(&it);)
        if (kb_str_is(kb_val_str_at(it.val, "key"), key))
            return true;
    return false;
}

static bool leaving(struct kb_harness *h, const char *key)
{
    kb_val pod = kb_harness_get(h, key);
    return !kb_val_present(pod) || kb_meta_deleting(pod);
}

KB_TEST(node, one_that_renews_its_lease_stays_ready)
{
    KB_AUTO(kb_harness_destroy) struct kb_harness *h = cluster();
    for (int beat = 1; beat < 20; beat++) {
        renew(h, beat);
        kb_harness_run(h, 10000);
    }
    KB_CHECK(kb_cond_is(kb_harness_get(h, "nodes//n1"), "Ready", "True"));
    KB_CHECK(!tainted(h, "node.kubernetes.io/unreachable"));
}

KB_TEST(node, one_that_falls_silent_is_unknown_after_the_grace_and_not_before)
{
    KB_AUTO(kb_harness_destroy) struct kb_harness *h = cluster();
    kb_harness_run(h, GRACE_MS - 1000);
    KB_CHECK(kb_cond_is(kb_harness_get(h, "nodes//n1"), "Ready", "True"));
    kb_harness_run(h, 2000);
    KB_CHECK(kb_cond_is(kb_harness_get(h, "nodes//n1"), "Ready", "Unknown"));
    KB_CHECK_STRN(kb_val_str_at(kb_cond_get(kb_harness_get(h, "nodes//n1"), "Ready"), "reason"),
                  "NodeStatusUnknown");
    KB_CHECK(tainted(h, "node.kubernetes.io/unreachable"));
    KB_CHECK_I64(kb_harness_events(h, "NodeNotReady"), >=, 1);
}

KB_TEST(node, pods_leave_a_silent_node_when_their_toleration_runs_out)
{
    KB_AUTO(kb_harness_destroy) struct kb_harness *h = cluster();
    pod_on_n1(h, "none", "[]");
    pod_on_n1(h, "minute",
              "[{key: node.kubernetes.io/unreachable, operator: Exists, "
              "effect: NoExecute, tolerationSeconds: 60}]");
    pod_on_n1(h, "always", "[{operator: Exists}]");
    kb_harness_run(h, GRACE_MS + 2000);
    KB_CHECK(leaving(h, "pods/shop/none"));
    KB_CHECK(!leaving(h, "pods/shop/minute"));
    kb_harness_run(h, 62000);
    KB_CHECK(leaving(h, "pods/shop/minute"));
    KB_CHECK(!leaving(h, "pods/shop/always"));
    KB_CHECK_I64(kb_harness_events(h, "TaintManagerEviction"), ==, 2);
}

KB_TEST(node, one_that_comes_back_loses_its_taints)
{
    KB_AUTO(kb_harness_destroy) struct kb_harness *h = cluster();
    kb_harness_run(h, GRACE_MS + 2000);
    renew(h, 30);
    kb_harness_patch(h, "nodes//n1", "status",
                     "{\"status\":{\"conditions\":[{\"type\":\"Ready\",\"status\":\"True\"}]}}");
    kb_harness_run(h, 1000);
    KB_CHECK(!tainted(h, "node.kubernetes.io/unreachable"));
}

KB_TEST(node, a_new_controller_gives_every_node_a_whole_grace)
{
    KB_AUTO(kb_harness_destroy) struct kb_harness *h = cluster();
    kb_harness_run(h, GRACE_MS - 2000);
    kb_harness_restart(h, "node");
    kb_harness_run(h, 10000);
    KB_CHECK(kb_cond_is(kb_harness_get(h, "nodes//n1"), "Ready", "True"));
}

KB_TEST(node, a_cordoned_node_gets_the_taint_and_loses_it_again)
{
    KB_AUTO(kb_harness_destroy) struct kb_harness *h = cluster();
    kb_harness_patch(h, "nodes//n1", NULL, "{\"spec\":{\"unschedulable\":true}}");
    kb_harness_settle(h);
    KB_CHECK(tainted(h, "node.kubernetes.io/unschedulable"));
    kb_harness_patch(h, "nodes//n1", NULL, "{\"spec\":{\"unschedulable\":null}}");
    kb_harness_settle(h);
    KB_CHECK(!tainted(h, "node.kubernetes.io/unschedulable"));
}

KB_TEST(node, pods_of_a_node_that_is_gone_are_removed)
{
    KB_AUTO(kb_harness_destroy) struct kb_harness *h = cluster();
    pod_on_n1(h, "left", "[{operator: Exists}]");
    kb_harness_settle(h);
    kb_harness_delete(h, "nodes//n1", NULL);
    kb_harness_run(h, 39000);
    KB_CHECK(kb_val_present(kb_harness_get(h, "pods/shop/left")));
    kb_harness_run(h, 3000);
    KB_CHECK(!kb_val_present(kb_harness_get(h, "pods/shop/left")));
}
