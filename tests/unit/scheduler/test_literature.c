/* The policies of the literature, each by a small table whose numbers can be checked by hand. */
#include "tests/lib/policy.h"
#include "tests/lib/test.h"

#include <stdlib.h>

extern const struct kb_policy kubus_policy_GpuShare, kubus_policy_BestFit, kubus_policy_WorstFit,
    kubus_policy_DotProduct, kubus_policy_GpuPacking, kubus_policy_GpuClustering,
    kubus_policy_Random;

#define NODE(cpu, gpus)                                                                            \
    "{'status': {'allocatable': {'cpu': '" cpu                                                     \
    "', 'pods': '110', 'alibabacloud.com/gpu-count': '" gpus "'}}}"
#define POD(cpu, gpus, milli)                                                                      \
    "{'metadata': {'annotations': {'alibabacloud.com/gpu-count': '" gpus                           \
    "', 'alibabacloud.com/gpu-milli': '" milli "'}}, 'spec': {'containers': [{'resources': "       \
    "{'requests': {'cpu': '" cpu "'}}}]}}"
#define ON(cpu, gpus, milli, index)                                                                \
    "{'metadata': {'annotations': {'alibabacloud.com/gpu-count': '" gpus                           \
    "', 'alibabacloud.com/gpu-milli': '" milli "', 'alibabacloud.com/gpu-index': '" index          \
    "'}}, 'spec': {'containers': [{'resources': {'requests': {'cpu': '" cpu "'}}}]}}"

static struct kb_ptest *bench(const struct kb_policy *policy)
{
    struct kb_profile_entry entries[] = {{.policy = &kubus_policy_GpuShare}, {.policy = policy}};
    return kb_ptest_new(entries, 2);
}

KB_TEST(best_fit, counts_what_would_be_left_against_the_largest_node)
{
    KB_AUTO(kb_ptest_destroy) struct kb_ptest *t = bench(&kubus_policy_BestFit);
    kb_ptest_node(t, "large", NODE("128", "8"));
    kb_ptest_node(t, "small", NODE("64", "2"));
    /* left: half of 128 and 7 of 8; 0 of 128 and 1 of 8 */
    KB_CHECK_I64(kb_ptest_score(t, "BestFit", "large", POD("64", "1", "1000")), ==, 31);
    KB_CHECK_I64(kb_ptest_score(t, "BestFit", "small", POD("64", "1", "1000")), ==, 93);
    KB_CHECK_I64(kb_ptest_score(t, "BestFit", "large", POD("0", "8", "1000")), ==, 50);
}

KB_TEST(worst_fit, is_the_reverse_and_takes_the_emptiest_gpu)
{
    KB_AUTO(kb_ptest_destroy) struct kb_ptest *t = bench(&kubus_policy_WorstFit);
    kb_ptest_node(t, "large", NODE("128", "8"));
    kb_ptest_node(t, "small", NODE("64", "2"));
    kb_ptest_pod(t, "large", ON("0", "1", "500", "0"));
    KB_CHECK_I64(kb_ptest_score(t, "WorstFit", "small", POD("64", "1", "1000")), ==, 6);
    KB_CHECK_STR(kb_ptest_place(t, POD("1", "1", "500")), "large");
    const struct kb_columns *c = kb_core_columns(kb_ptest_core(t));
    KB_CHECK_U64(c->devices.view.gpus[0].free[0], ==, 500);
    KB_CHECK_U64(c->devices.view.gpus[0].free[1], ==, 500);
}

KB_TEST(dot_product, prefers_the_smallest_product)
{
    KB_AUTO(kb_ptest_destroy) struct kb_ptest *t = bench(&kubus_policy_DotProduct);
    kb_ptest_node(t, "large", NODE("128", "8"));
    kb_ptest_node(t, "small", NODE("64", "4"));
    KB_CHECK_I64(kb_ptest_score(t, "DotProduct", "large", POD("32", "2", "1000")), ==, 75);
    KB_CHECK_I64(kb_ptest_score(t, "DotProduct", "small", POD("32", "2", "1000")), ==, 87);
}

KB_TEST(gpu_packing, shared_gpus_then_used_nodes_then_free_ones)
{
    KB_AUTO(kb_ptest_destroy) struct kb_ptest *t = bench(&kubus_policy_GpuPacking);
    kb_ptest_node(t, "free", NODE("64", "4"));
    kb_ptest_node(t, "used", NODE("64", "4"));
    kb_ptest_node(t, "shared", NODE("64", "4"));
    kb_ptest_pod(t, "used", ON("0", "1", "1000", "0"));
    kb_ptest_pod(t, "shared", ON("0", "1", "400", "2"));
    KB_CHECK_I64(kb_ptest_score(t, "GpuPacking", "free", POD("0", "1", "500")), ==, 29);
    KB_CHECK_I64(kb_ptest_score(t, "GpuPacking", "used", POD("0", "1", "500")), ==, 49);
    KB_CHECK_I64(kb_ptest_score(t, "GpuPacking", "shared", POD("0", "1", "500")), ==, 94);
    KB_CHECK_I64(kb_ptest_score(t, "GpuPacking", "used", POD("0", "3", "1000")), ==, 47);
    KB_CHECK_I64(kb_ptest_score(t, "GpuPacking", "shared", POD("0", "0", "0")), ==, 0);
}

KB_TEST(gpu_clustering, keeps_pods_of_a_kind_together)
{
    KB_AUTO(kb_ptest_destroy) struct kb_ptest *t = bench(&kubus_policy_GpuClustering);
    kb_ptest_node(t, "idle", NODE("64", "8"));
    kb_ptest_node(t, "same", NODE("64", "8"));
    kb_ptest_node(t, "mixed", NODE("64", "8"));
    kb_ptest_node(t, "other", NODE("64", "8"));
    kb_ptest_pod(t, "same", ON("0", "2", "1000", "0-1"));
    kb_ptest_pod(t, "mixed", ON("0", "2", "1000", "0-1"));
    kb_ptest_pod(t, "mixed", ON("0", "1", "500", "2"));
    kb_ptest_pod(t, "other", ON("0", "4", "1000", "0-1-2-3"));
    KB_CHECK_I64(kb_ptest_score(t, "GpuClustering", "same", POD("0", "2", "1000")), ==, 81);
    KB_CHECK_I64(kb_ptest_score(t, "GpuClustering", "mixed", POD("0", "2", "1000")), ==, 57);
    KB_CHECK_I64(kb_ptest_score(t, "GpuClustering", "idle", POD("0", "2", "1000")), ==, 25);
    KB_CHECK_I64(kb_ptest_score(t, "GpuClustering", "other", POD("0", "2", "1000")), ==, 12);
}

KB_TEST(random, takes_any_gpu_that_can_take_a_share)
{
    KB_AUTO(kb_ptest_destroy) struct kb_ptest *t = bench(&kubus_policy_Random);
    bool used[2] = {false};
    kb_ptest_node(t, "n", NODE("64", "3"));
    kb_ptest_pod(t, "n", ON("0", "1", "1000", "1"));
    for (int i = 0; i < 64; i++) {
        struct kb_core *core = kb_ptest_core(t);
        KB_AUTO(kb_doc_destroy) struct kb_doc *doc = kb_ptest_json(POD("0", "1", "500"));
        struct kb_podspec *spec = kb_core_spec(core, kb_doc_root(doc), 0, false);
        uint32_t set = kb_core_assign(core, spec, 0);
        KB_CHECK(set == 1 || set == 4);
        used[set == 4] = true;
        kb_core_spec_release(core, &spec);
    }
    KB_CHECK(used[0] && used[1]);
}

KB_TEST(policy_arguments, a_number_is_found_by_its_whole_name)
{
    const char *args = "{\"maxCpus\": 3, \"maxCpu\" : 96.5, \"x\": \"maxGpus\"}";
    KB_CHECK(kb_policy_number(args, "maxCpu", 1) == 96.5);
    KB_CHECK(kb_policy_number(args, "maxGpus", 8) == 8);
    KB_CHECK(kb_policy_number(NULL, "maxCpu", 128) == 128);
}
