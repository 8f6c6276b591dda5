/* FGD against the definition of the paper, written down slowly, on random clusters and workloads.
 */
#include "tests/lib/policy.h"
#include "tests/lib/test.h"

#include "actors/scheduler/sim/fragmentation.h"
#include "bus/base/rand.h"

#include <math.h>
#include <stdlib.h>

extern const struct kb_policy kubus_policy_FGD;

enum { NODES = 8, KINDS = 24, STEPS = 300 };

static const char *const models[] = {"T4", "V100", "A10"};

struct kind {
    int64_t cpu;
    uint32_t gpus, milli, models; /* models: set; 0: any */
    char json[512];
};

static void random_kind(struct kb_rand *rand, struct kind *k)
{
    KB_AUTO(kb_buf_finish) struct kb_buf b = {0};
    uint32_t form = (uint32_t)kb_rand_below(rand, 8); /* 7: shares of several GPUs */
    k->cpu = 500 * (int64_t)kb_rand_below(rand, 24);
    k->gpus = form < 1 ? 0 : form < 4 || form == 7 ? 1 : 1 + (uint32_t)kb_rand_below(rand, 4);
    k->gpus += form == 7;
    k->milli = form < 4 || form == 7 ? 50 * (1 + (uint32_t)kb_rand_below(rand, 19)) : 1000;
    k->models = kb_rand_below(rand, 3) ? 0 : 1 + (uint32_t)kb_rand_below(rand, 7);
    kb_buf_printf(&b, "{'metadata': {'annotations': {'x': ''");
    if (k->gpus > 0)
        kb_buf_printf(&b,
                      ", 'alibabacloud.com/gpu-count': '%u', 'alibabacloud.com/gpu-milli': '%u', "
                      "'alibabacloud.com/gpu-card-model': '%s|%s|%s'",
                      k->gpus, k->milli, k->models & 1 ? models[0] : "",
                      k->models & 2 ? models[1] : "", k->models & 4 ? models[2] : "");
    kb_buf_printf(&b,
                  "}}, 'spec': {'containers': [{'resources': {'requests': {'cpu': '%lldm'}}}]}}",
                  (long long)k->cpu);
    KB_CHECK(kb_str_copy(kb_buf_str(&b), k->json, sizeof(k->json)));
}

static void put_nodes(struct kb_rand *rand, struct kb_ptest *t)
{
    for (int i = 0; i < NODES; i++) {
        KB_AUTO(kb_auto_free) char *name = kb_strf("n%d", i);
        KB_AUTO(kb_auto_free)
        char *json = kb_strf(
            "{'metadata': {'labels': {'alibabacloud.com/gpu-card-model': '%s'}}, 'status': "
            "{'allocatable': {'cpu': '%d', 'pods': '99', 'alibabacloud.com/gpu-count': '%d'}}}",
            models[kb_rand_below(rand, 3)], 4 + (int)kb_rand_below(rand, 30),
            (int)kb_rand_below(rand, 9));
        kb_ptest_node(t, name, json);
    }
}

struct side {
    const struct kb_frag *frag;
    const struct kind *kind;
    int64_t cpu;
    uint32_t model;
    uint16_t left[KB_POLICY_GPUS];
};

static double points(const struct side *s, const uint16_t *after)
{
    double before = kb_frag_node(s->frag, s->cpu, s->model, s->left);
    double then = kb_frag_node(s->frag, s->cpu - s->kind->cpu, s->model, after);
    return 100 / (1 + exp(-(before - then) / 1000));
}

/* Try every GPU for a share of one; the fullest first for all others. */
static double reference(const struct side *s)
{
    uint16_t after[KB_POLICY_GPUS];
    double best = -1;
    memcpy(after, s->left, sizeof(after));
    if (s->kind->gpus == 1 && s->kind->milli < 1000) {
        for (int g = 0; g < KB_POLICY_GPUS; g++) {
            if (s->left[g] < s->kind->milli)
                continue;
            after[g] = (uint16_t)(after[g] - s->kind->milli);
            double p = points(s, after);
            best = p > best ? p : best;
            after[g] = s->left[g];
        }
        return best;
    }
    for (uint32_t n = 0; n < s->kind->gpus; n++) {
        int at = -1;
        for (int g = 0; g < KB_POLICY_GPUS; g++)
            if (after[g] == s->left[g] && after[g] >= s->kind->milli &&
                (at < 0 || after[g] < after[at]))
                at = g;
        after[at] = (uint16_t)(after[at] - s->kind->milli);
    }
    return points(s, after);
}

static void check_all(struct kb_ptest *t, const struct kb_frag *frag, const struct kind *kind)
{
    const struct kb_columns *c = kb_core_columns(kb_ptest_core(t));
    for (int i = 0; i < NODES; i++) {
        KB_AUTO(kb_auto_free) char *name = kb_strf("n%d", i);
        uint32_t slot = kb_columns_find(c, kb_str_of(name));
        int64_t score = kb_ptest_score(t, "FGD", name, kind->json);
        if (score == INT64_MIN)
            continue;
        struct side s = {frag,
                         kind,
                         c->view.allocatable[KB_POLICY_CPU][slot] -
                             c->view.requested[KB_POLICY_CPU][slot],
                         c->devices.view.model[slot],
                         {0}};
        memcpy(s.left, c->devices.view.gpus[slot].free, sizeof(s.left));
        double want = reference(&s); /* at a whole number, rounding may differ by a hair */
        KB_CHECK(score == (int64_t)(want - 1e-9) || score == (int64_t)(want + 1e-9));
    }
}

static void tell(struct kb_rand *rand, struct kb_core *core, const struct kind *kinds)
{
    for (int i = 0; i < KINDS; i++) {
        KB_AUTO(kb_doc_destroy) struct kb_doc *doc = kb_ptest_json(kinds[i].json);
        struct kb_podspec *spec = kb_core_spec(core, kb_doc_root(doc), 0, false);
        kb_core_workload_tell(core, spec, 1 + kb_rand_below(rand, 40));
        kb_core_spec_release(core, &spec);
    }
    kb_core_workload_publish(core);
}

KB_TEST(fgd, scores_are_those_of_the_definition)
{
    extern const struct kb_policy kubus_policy_NodeResourcesFit, kubus_policy_GpuShare;
    struct kb_policy fit = kubus_policy_NodeResourcesFit;
    fit.score = NULL;
    struct kb_profile_entry entries[] = {
        {.policy = &fit}, {.policy = &kubus_policy_GpuShare}, {.policy = &kubus_policy_FGD}};
    static struct kind kinds[KINDS];
    struct kb_rand rand;
    kb_rand_init(&rand, kb_test_seed());
    KB_AUTO(kb_ptest_destroy) struct kb_ptest *t = kb_ptest_new(entries, KB_COUNT(entries));
    struct kb_core *core = kb_ptest_core(t);
    for (int i = 0; i < KINDS; i++)
        random_kind(&rand, &kinds[i]);
    put_nodes(&rand, t);
    for (int step = 0; step < STEPS; step++) {
        struct kb_frag frag = {0};
        if (step % 100 == 0)
            tell(&rand, core, kinds);
        kb_frag_init(&frag, kb_core_workload(core), 95);
        check_all(t, &frag, &kinds[kb_rand_below(&rand, KINDS)]);
        kb_ptest_place(t, kinds[kb_rand_below(&rand, KINDS)].json);
        if (step % 60 == 59)
            put_nodes(&rand, t);
        kb_frag_finish(&frag);
    }
}

KB_TEST(fgd, puts_a_share_where_the_least_becomes_useless)
{
    extern const struct kb_policy kubus_policy_GpuShare;
    struct kb_profile_entry entries[] = {{.policy = &kubus_policy_GpuShare},
                                         {.policy = &kubus_policy_FGD}};
    KB_AUTO(kb_ptest_destroy) struct kb_ptest *t = kb_ptest_new(entries, 2);
    struct kind half = {.gpus = 1, .milli = 500}, whole = {.gpus = 1, .milli = 1000};
    snprintf(half.json, sizeof(half.json),
             "{'metadata': {'annotations': {'alibabacloud.com/gpu-count': '1', "
             "'alibabacloud.com/gpu-milli': '500'}}, 'spec': {'containers': [{}]}}");
    snprintf(whole.json, sizeof(whole.json),
             "{'metadata': {'annotations': {'alibabacloud.com/gpu-count': '1', "
             "'alibabacloud.com/gpu-milli': '1000'}}, 'spec': {'containers': [{}]}}");
    const char *node = "{'status': {'allocatable': {'pods': '9', 'alibabacloud.com/gpu-count': "
                       "'2'}}}";
    kb_ptest_node(t, "a", node);
    kb_ptest_node(t, "b", node);
    struct kb_core *core = kb_ptest_core(t);
    for (int i = 0; i < 2; i++) {
        KB_AUTO(kb_doc_destroy) struct kb_doc *doc = kb_ptest_json(i ? half.json : whole.json);
        struct kb_podspec *spec = kb_core_spec(core, kb_doc_root(doc), 0, false);
        kb_core_workload_tell(core, spec, 50);
        kb_core_spec_release(core, &spec);
    }
    kb_core_workload_publish(core);
    KB_AUTO(kb_auto_free) char *first = kb_strf("%s", kb_ptest_place(t, half.json));
    KB_CHECK_STR(kb_ptest_place(t, half.json), first); /* the other half of the same GPU */
    const struct kb_columns *c = kb_core_columns(core);
    uint32_t slot = kb_columns_find(c, kb_str_of(first));
    KB_CHECK_U64(c->devices.view.free_milli[slot], ==, 1000);
    KB_CHECK(c->devices.view.gpus[slot].free[0] == 1000 ||
             c->devices.view.gpus[slot].free[1] == 1000);
}

KB_TEST(fgd, live_it_learns_what_comes_and_sees_it_anew_when_that_has_doubled)
{
    extern const struct kb_policy kubus_policy_GpuShare;
    struct kb_profile_entry entries[] = {{.policy = &kubus_policy_GpuShare},
                                         {.policy = &kubus_policy_FGD}};
    KB_AUTO(kb_ptest_destroy) struct kb_ptest *t = kb_ptest_new(entries, 2);
    struct kb_core *core = kb_ptest_core(t);
    const char *pod = "{'metadata': {'annotations': {'alibabacloud.com/gpu-milli': '300'}}, "
                      "'spec': {'containers': [{}]}}";
    const char *node = "{'status': {'allocatable': {'pods': '9', 'nvidia.com/gpu': '1'}}}";
    kb_ptest_node(t, "n", node);
    KB_CHECK_I64(kb_ptest_score(t, "FGD", "n", pod), ==, 50); /* nothing is known */
    KB_AUTO(kb_doc_destroy) struct kb_doc *doc = kb_ptest_json(pod);
    struct kb_podspec *spec = kb_core_spec(core, kb_doc_root(doc), 0, false);
    for (int i = 0; i < 11; i++)
        kb_core_workload_learn(core, spec);
    kb_core_spec_release(core, &spec);
    KB_CHECK_U64(kb_core_workload(core)->version, ==, 4); /* at 1, 2, 4 and 8 */
    KB_CHECK_U64(kb_core_workload(core)->demands[0].pods, ==, 8);
    /* Of 700 that are left all can be used; of 100 none. */
    KB_CHECK_I64(kb_ptest_score(t, "FGD", "n", pod), ==, 50);
    for (int i = 0; i < 2; i++)
        KB_CHECK_STR(kb_ptest_place(t, pod), "n");
    KB_CHECK_I64(kb_ptest_score(t, "FGD", "n", pod), ==, 47); /* 1 / (1 + e^0.1) */
}
