/* GPUs one by one: what fits, which are taken, and that the order of events leaves no trace. */
#include "tests/lib/policy.h"
#include "tests/lib/test.h"

#include "actors/scheduler/core/workload.h"
#include "bus/base/rand.h"

#include <stdlib.h>

extern const struct kb_policy kubus_policy_GpuShare;

#define NODE(gpus, model)                                                                          \
    "{'metadata': {'labels': {'alibabacloud.com/gpu-card-model': '" model "'}}, 'status': "        \
    "{'allocatable': {'cpu': '64', 'memory': '256Gi', 'pods': '110', "                             \
    "'alibabacloud.com/gpu-count': '" gpus "'}}}"
#define POD(gpus, milli)                                                                           \
    "{'metadata': {'annotations': {'alibabacloud.com/gpu-count': '" gpus                           \
    "', 'alibabacloud.com/gpu-milli': '" milli "'}}, 'spec': {'containers': [{}]}}"
#define ON(gpus, milli, index)                                                                     \
    "{'metadata': {'annotations': {'alibabacloud.com/gpu-count': '" gpus                           \
    "', 'alibabacloud.com/gpu-milli': '" milli "', 'alibabacloud.com/gpu-index': '" index          \
    "'}}, 'spec': {'containers': [{}]}}"
#define ALLOWED(models)                                                                            \
    "{'metadata': {'annotations': {'alibabacloud.com/gpu-count': '1', "                            \
    "'alibabacloud.com/gpu-card-model': '" models "'}}, 'spec': {'containers': [{}]}}"
#define PLAIN(n)                                                                                   \
    "{'spec': {'containers': [{'resources': {'requests': {'nvidia.com/gpu': '" n "'}}}]}}"

static struct kb_ptest *bench(void)
{
    struct kb_profile_entry entry = {.policy = &kubus_policy_GpuShare};
    return kb_ptest_new(&entry, 1);
}

static const uint16_t *free_of(struct kb_ptest *t, const char *node)
{
    struct kb_columns *c = kb_core_columns(kb_ptest_core(t));
    return c->devices.view.gpus[kb_columns_find(c, kb_str_of(node))].free;
}

KB_TEST(devices, a_share_must_come_from_one_gpu_and_whole_ones_must_be_free)
{
    KB_AUTO(kb_ptest_destroy) struct kb_ptest *t = bench();
    kb_ptest_node(t, "n", NODE("2", "T4"));
    kb_ptest_pod(t, "n", ON("1", "600", "0"));
    kb_ptest_pod(t, "n", ON("1", "300", "1"));
    KB_CHECK_STR(kb_ptest_why(t, "n", POD("1", "700")), "");
    KB_CHECK_STR(kb_ptest_why(t, "n", POD("1", "701")), "Insufficient GPU");
    KB_CHECK_STR(kb_ptest_why(t, "n", POD("1", "1000")), "Insufficient GPU");
    KB_CHECK_STR(kb_ptest_why(t, "n", POD("2", "400")), "");
    KB_CHECK_STR(kb_ptest_why(t, "n", POD("2", "500")), "Insufficient GPU");
    KB_CHECK_STR(kb_ptest_why(t, "n", POD("17", "100")), "Insufficient GPU");
    KB_CHECK_STR(kb_ptest_why(t, "n", POD("0", "0")), "");
}

KB_TEST(devices, a_share_goes_to_the_fullest_gpu_that_can_take_it)
{
    KB_AUTO(kb_ptest_destroy) struct kb_ptest *t = bench();
    kb_ptest_node(t, "n", NODE("4", "T4"));
    kb_ptest_pod(t, "n", ON("1", "600", "2"));
    KB_CHECK_STR(kb_ptest_place(t, POD("1", "300")), "n");
    KB_CHECK_U64(free_of(t, "n")[2], ==, 100);
    KB_CHECK_STR(kb_ptest_place(t, POD("1", "300")), "n");
    KB_CHECK_U64(free_of(t, "n")[0], ==, 700);
    KB_CHECK_STR(kb_ptest_place(t, POD("2", "1000")), "n");
    KB_CHECK_U64(free_of(t, "n")[1] + free_of(t, "n")[3], ==, 0);
}

KB_TEST(devices, only_the_models_that_a_pod_allows)
{
    KB_AUTO(kb_ptest_destroy) struct kb_ptest *t = bench();
    kb_ptest_node(t, "n", NODE("2", "T4"));
    kb_ptest_node(t, "none", "{}");
    KB_CHECK_STR(kb_ptest_why(t, "n", ALLOWED("V100|T4")), "");
    KB_CHECK_STR(kb_ptest_why(t, "n", ALLOWED("V100 | A10")),
                 "node(s) had no GPU of an allowed model");
    KB_CHECK_STR(kb_ptest_why(t, "none", ALLOWED("")), "Insufficient GPU");
    kb_ptest_node(t, "n", NODE("2", "A10"));
    KB_CHECK_STR(kb_ptest_why(t, "n", ALLOWED("V100 | A10")), "");
}

KB_TEST(devices, plain_gpus_are_whole_ones_where_they_are_known_one_by_one)
{
    KB_AUTO(kb_ptest_destroy) struct kb_ptest *t = bench();
    kb_ptest_node(t, "n", "{'status': {'allocatable': {'nvidia.com/gpu': '4', 'pods': '9'}}}");
    kb_ptest_node(t, "many", "{'status': {'allocatable': {'nvidia.com/gpu': '40', 'pods': '9'}}}");
    kb_ptest_pod(t, "n", ON("1", "100", "3"));
    KB_CHECK_STR(kb_ptest_why(t, "n", PLAIN("3")), "");
    KB_CHECK_STR(kb_ptest_why(t, "n", PLAIN("4")), "Insufficient GPU");
    KB_CHECK_STR(kb_ptest_why(t, "many", PLAIN("20")), "");
}

KB_TEST(devices, a_set_of_gpus_as_text_and_back)
{
    char text[KB_GPU_INDEX_BYTES];
    kb_gpu_format(0xffff, text);
    KB_CHECK_STR(text, "0-1-2-3-4-5-6-7-8-9-10-11-12-13-14-15");
    KB_CHECK_U64(kb_gpu_parse(kb_str_of(text)), ==, 0xffff);
    KB_CHECK_U64(kb_gpu_parse(kb_str_of("2")), ==, 4);
    KB_CHECK_U64(kb_gpu_parse(kb_str_of("")), ==, 0);
    KB_CHECK_U64(kb_gpu_parse(kb_str_of("1-1")), ==, 0);
    KB_CHECK_U64(kb_gpu_parse(kb_str_of("16")), ==, 0);
    KB_CHECK_U64(kb_gpu_parse(kb_str_of("1-")), ==, 0);
    KB_CHECK_U64(kb_gpu_parse(kb_str_of("-1")), ==, 0);
}

KB_TEST(workload, equal_demands_are_one_whatever_stands_between_their_members)
{
    KB_AUTO(kb_workload_finish) struct kb_workload w = {0};
    struct kb_policy_request requests[2][2];
    for (int i = 0; i < 2; i++) {
        memset(requests[i], i ? 0xa5 : 0x5a, sizeof(requests[i]));
        requests[i][0].resource = KB_POLICY_CPU;
        requests[i][0].amount = 1000;
        requests[i][1].resource = KB_POLICY_MEMORY;
        requests[i][1].amount = 4096;
        struct kb_policy_pod pod = {
            .requests = requests[i], .requests_n = 2, .gpus = 1, .gpu_milli = 500};
        kb_workload_add(&w, &pod, 3);
    }
    kb_workload_publish(&w);
    KB_CHECK_U64(w.view.n, ==, 1);
    KB_CHECK_U64(w.view.demands[0].pods, ==, 6);
    KB_CHECK_I64(w.view.demands[0].memory, ==, 4096);
}

/* ---- by property ---- */

enum { NODES = 4, PODS = 40, STEPS = 600 };

struct put {
    bool there;
    uint32_t slot, gpus;
    struct kb_policy_pod pod;
};

static void random_put(struct kb_rand *rand, const struct kb_devices *d, struct put *p)
{
    bool whole = kb_rand_below(rand, 2);
    p->slot = (uint32_t)kb_rand_below(rand, NODES);
    p->pod = (struct kb_policy_pod){
        .gpus = whole ? 1 + (uint32_t)kb_rand_below(rand, 4) : 1,
        .gpu_milli = whole ? 1000 : 50 * (1 + (uint32_t)kb_rand_below(rand, 19))};
    p->gpus = kb_rand_below(rand, 3) ? kb_devices_choose(d, p->slot, &p->pod) : 0;
    if (p->gpus != 0)
        KB_CHECK(kb_devices_possible(d, p->slot, &p->pod, p->gpus));
}

static void check_same(const struct kb_devices *a, const struct kb_devices *b)
{
    for (uint32_t i = 0; i < NODES; i++) {
        KB_CHECK(memcmp(&a->view.gpus[i], &b->view.gpus[i], sizeof(a->view.gpus[i])) == 0);
        KB_CHECK_U64(a->view.free_milli[i], ==, b->view.free_milli[i]);
        KB_CHECK_U64(a->view.kinds[i], ==, b->view.kinds[i]);
    }
}

KB_TEST(devices, the_columns_do_not_depend_on_the_order_of_events)
{
    KB_AUTO(kb_devices_finish) struct kb_devices d = {0};
    struct kb_intern intern = {0};
    struct kb_rand rand;
    static struct put puts[PODS];
    KB_AUTO(kb_doc_destroy) struct kb_doc *node = kb_ptest_json(NODE("8", "T4"));
    kb_rand_init(&rand, kb_test_seed());
    kb_devices_grow(&d, 2);
    kb_devices_node_put(&d, &intern, 0, kb_doc_root(node));
    kb_devices_grow(&d, NODES);
    for (uint32_t i = 1; i < NODES; i++)
        kb_devices_node_put(&d, &intern, i, kb_doc_root(node));
    for (int step = 0; step < STEPS; step++) {
        struct put *p = &puts[kb_rand_below(&rand, PODS)];
        if (!p->there)
            random_put(&rand, &d, p);
        kb_devices_pod(&d, p->slot, &p->pod, p->gpus, p->there ? -1 : 1);
        p->there = !p->there;
        KB_AUTO(kb_devices_finish) struct kb_devices fresh = {0};
        kb_devices_grow(&fresh, NODES);
        for (int i = PODS - 1; i >= 0; i--)
            if (puts[i].there)
                kb_devices_pod(&fresh, puts[i].slot, &puts[i].pod, puts[i].gpus, 1);
        for (uint32_t i = 0; i < NODES; i++)
            kb_devices_node_put(&fresh, &intern, i, kb_doc_root(node));
        check_same(&d, &fresh);
    }
    kb_intern_finish(&intern);
}
