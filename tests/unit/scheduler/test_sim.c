/* Simulations as stories in virtual time. */
#include "actors/scheduler/sim/sim_core.h"
#include "tests/lib/test.h"

#include "bus/base/rand.h"

#include <stdlib.h>

static struct kb_err err;

#define NODES "sn,cpu_milli,memory_mib,gpu,model\n"
#define PODS  "name,cpu_milli,memory_mib,num_gpu,gpu_milli,creation_time,deletion_time\n"

static void add(struct kb_trace *t, const char *csv)
{
    KB_CHECK_OK(kb_trace_parse(t, KB_TRACE_CSV, kb_str_of(csv), "f", KB_TRACE_BOTH, &err), &err);
}

static struct kb_sim *run_with(const struct kb_trace *t, struct kb_sim_config config)
{
    struct kb_sim *sim = NULL;
    config.profile = "default-scheduler";
    config.entries = kb_profile_default;
    config.entries_n = kb_profile_default_n;
    KB_CHECK_OK(kb_sim_new(&config, t, &sim, &err), &err);
    while (kb_sim_run(sim, 1))
        ;
    return sim;
}

static const struct kb_sim_decision *decision(const struct kb_sim *sim, const char *key)
{
    size_t n;
    const struct kb_sim_decision *d = kb_sim_decisions(sim, &n), *last = NULL;
    for (size_t i = 0; i < n; i++)
        if (strcmp(d[i].key, key) == 0)
            last = &d[i];
    KB_CHECK(last != NULL);
    return last;
}

static struct kb_sim_point last_point(const struct kb_sim *sim)
{
    size_t n;
    const struct kb_sim_point *p = kb_sim_points(sim, &n);
    KB_CHECK(n > 0);
    return p[n - 1];
}

KB_TEST(sim, a_pod_that_does_not_fit_waits_until_one_leaves)
{
    KB_AUTO(kb_trace_finish) struct kb_trace t = {0};
    add(&t, NODES "n,1000,1024,0,\n");
    add(&t, PODS "a,1000,1,0,0,0,100\nb,1000,1,0,0,10,40\n");
    KB_AUTO(kb_sim_destroy) struct kb_sim *sim = run_with(&t, (struct kb_sim_config){.seed = 1});
    const struct kb_sim_decision *b = decision(sim, "pods/default/b");
    KB_CHECK(b->fate == KB_SIM_BOUND);
    KB_CHECK_STR(b->node, "n");
    KB_CHECK_I64(b->decided_ms, ==, 100000);
    KB_CHECK_I64(b->left_ms, ==, 130000); /* it runs for 30 s from then on */
    KB_CHECK_U64(last_point(sim).running, ==, 0);
    KB_CHECK(last_point(sim).wait_s == 45);
}

KB_TEST(sim, what_never_fits_is_left_waiting_and_the_simulation_ends)
{
    KB_AUTO(kb_trace_finish) struct kb_trace t = {0};
    add(&t, NODES "n,1000,1024,0,\n");
    add(&t, PODS "a,2000,1,0,0,0,100\nb,100,1,1,500,0,1\n");
    KB_AUTO(kb_sim_destroy) struct kb_sim *sim = run_with(&t, (struct kb_sim_config){.seed = 1});
    KB_CHECK(decision(sim, "pods/default/a")->fate == KB_SIM_WAITING);
    KB_CHECK(strstr(decision(sim, "pods/default/a")->why, "0/1 nodes are available: 1 Insuff") !=
             NULL);
    KB_CHECK_U64(last_point(sim).waiting, ==, 2);
}

KB_TEST(sim, pods_of_a_node_that_fails_come_again)
{
    KB_AUTO(kb_trace_finish) struct kb_trace t = {0};
    add(&t, NODES "n,1000,1024,1,T4\n");
    add(&t, PODS "a,1000,1,1,500,0,100\n");
    KB_CHECK_OK(kb_trace_parse_fault(&t, "n@30+60", &err), &err);
    KB_AUTO(kb_sim_destroy) struct kb_sim *sim = run_with(&t, (struct kb_sim_config){.seed = 1});
    size_t n;
    const struct kb_sim_decision *d = kb_sim_decisions(sim, &n);
    KB_CHECK_U64(n, ==, 2);
    KB_CHECK(d[0].fate == KB_SIM_LOST);
    KB_CHECK_I64(d[0].left_ms, ==, 30000);
    KB_CHECK_I64(d[1].arrived_ms, ==, 30000);
    KB_CHECK_I64(d[1].decided_ms, ==, 90000);
    KB_CHECK_I64(d[1].left_ms, ==, 190000);
    KB_CHECK_U64(d[1].gpus, ==, 1);
    KB_CHECK_U64(last_point(sim).arrived, ==, 1);
}

KB_TEST(sim, failures_by_rate_lose_no_pod)
{
    KB_AUTO(kb_trace_finish) struct kb_trace t = {0};
    add(&t, NODES "n,4000,1024,0,\nm,4000,1024,0,\no,4000,1024,0,\n");
    add(&t, PODS "a,1000,1,0,0,0,864000\nb,1000,1,0,0,0,864000\n");
    KB_AUTO(kb_sim_destroy)
    struct kb_sim *sim =
        run_with(&t, (struct kb_sim_config){.seed = 3, .fails_per_day = 1, .repair_s = 600});
    size_t n;
    kb_sim_decisions(sim, &n);
    KB_CHECK_U64(n, >, 2);
    KB_CHECK(decision(sim, "pods/default/a")->fate == KB_SIM_BOUND);
    KB_CHECK(decision(sim, "pods/default/b")->fate == KB_SIM_BOUND);
    KB_CHECK_U64(last_point(sim).running, ==, 0);
}

KB_TEST(sim, a_pod_of_higher_priority_makes_another_leave_and_come_again)
{
    KB_AUTO(kb_trace_finish) struct kb_trace t = {0};
    add(&t, NODES "n,1000,1024,0,\n");
    KB_CHECK_OK(
        kb_trace_parse(
            &t, KB_TRACE_JSONL,
            kb_str_of("{\"at\": 0, \"run\": 100, \"object\": {\"kind\": \"Pod\", \"metadata\": "
                      "{\"name\": \"low\"}, \"spec\": {\"containers\": [{\"resources\": "
                      "{\"requests\": {\"cpu\": \"1\"}}}]}}}\n"
                      "{\"at\": 20, \"run\": 100, \"object\": {\"kind\": \"Pod\", \"metadata\": "
                      "{\"name\": \"high\"}, \"spec\": {\"priority\": 9, \"containers\": "
                      "[{\"resources\": {\"requests\": {\"cpu\": \"1\"}}}]}}}\n"),
            "f", KB_TRACE_BOTH, &err),
        &err);
    KB_AUTO(kb_sim_destroy) struct kb_sim *sim = run_with(&t, (struct kb_sim_config){.seed = 1});
    size_t n;
    const struct kb_sim_decision *d = kb_sim_decisions(sim, &n);
    KB_CHECK_U64(n, ==, 3);
    KB_CHECK(d[0].fate == KB_SIM_PREEMPTED && d[0].left_ms == 20000);
    KB_CHECK(decision(sim, "pods/default/high")->fate == KB_SIM_BOUND);
    KB_CHECK(decision(sim, "pods/default/high")->decided_ms < 22000); /* after its back-off */
    KB_CHECK(decision(sim, "pods/default/low")->fate == KB_SIM_BOUND);
    KB_CHECK_U64(last_point(sim).running + last_point(sim).waiting, ==, 0);
}

static void random_trace(struct kb_rand *rand, struct kb_trace *t)
{
    KB_AUTO(kb_buf_finish) struct kb_buf nodes = {0}, pods = {0};
    kb_buf_puts(&nodes, NODES);
    kb_buf_puts(&pods, PODS);
    for (int i = 0; i < 12; i++)
        kb_buf_printf(&nodes, "n%d,%d,65536,%d,T4\n", i, 16000 + 16000 * (i % 3), i % 5);
    for (int i = 0; i < 200; i++) {
        bool share = kb_rand_below(rand, 2);
        int at = (int)kb_rand_below(rand, 5000);
        kb_buf_printf(&pods, "p%d,%d,%d,%d,%d,%d,%d\n", i, 500 * (1 + (int)kb_rand_below(rand, 8)),
                      512 * (int)kb_rand_below(rand, 8), share ? 1 : (int)kb_rand_below(rand, 4),
                      share ? 100 * (1 + (int)kb_rand_below(rand, 9)) : 1000, at,
                      at + (int)kb_rand_below(rand, 3000));
    }
    add(t, nodes.p);
    add(t, pods.p);
}

/* No node ever has more on it than it can hold, and the sums of the points are those of the
 * decisions. */
static void check_sound(const struct kb_sim *sim)
{
    size_t n, points_n;
    const struct kb_sim_decision *d = kb_sim_decisions(sim, &n);
    const struct kb_sim_point *points = kb_sim_points(sim, &points_n);
    struct kb_sim_total total = kb_sim_total(sim);
    for (size_t k = 0; k < points_n; k += 7) {
        int64_t cpu = 0, gpu = 0;
        uint32_t running = 0;
        for (size_t i = 0; i < n; i++) {
            bool on = d[i].fate == KB_SIM_BOUND && d[i].decided_ms <= points[k].at_ms &&
                      (d[i].left_ms < 0 || d[i].left_ms > points[k].at_ms);
            cpu += on ? d[i].cpu : 0;
            gpu += on ? d[i].gpu_milli : 0;
            running += on;
        }
        KB_CHECK_I64(points[k].cpu, ==, cpu);
        KB_CHECK_I64(points[k].gpu, ==, gpu);
        KB_CHECK_U64(points[k].running, ==, running);
        KB_CHECK(gpu <= total.gpu && cpu <= total.cpu);
        KB_CHECK(points[k].frag >= -1e-6 && points[k].frag <= (double)(total.gpu - gpu) + 1e-6);
    }
}

KB_TEST(sim_property, points_are_the_sums_of_decisions_and_equal_seeds_give_equal_runs)
{
    KB_AUTO(kb_trace_finish) struct kb_trace t = {0};
    struct kb_rand rand;
    kb_rand_init(&rand, kb_test_seed());
    random_trace(&rand, &t);
    struct kb_sim_config config = {.seed = kb_rand_next(&rand)};
    KB_AUTO(kb_sim_destroy) struct kb_sim *a = run_with(&t, config);
    KB_AUTO(kb_sim_destroy) struct kb_sim *b = run_with(&t, config);
    check_sound(a);
    size_t n, m;
    const struct kb_sim_decision *x = kb_sim_decisions(a, &n), *y = kb_sim_decisions(b, &m);
    KB_CHECK_U64(n, ==, m);
    for (size_t i = 0; i < n; i++) {
        KB_CHECK_STR(x[i].key, y[i].key);
        KB_CHECK(x[i].node == y[i].node && x[i].gpus == y[i].gpus);
        KB_CHECK_I64(x[i].decided_ms, ==, y[i].decided_ms);
    }
}

KB_TEST(sim_property, tuning_reaches_the_ratio_from_below_and_from_above)
{
    KB_AUTO(kb_trace_finish) struct kb_trace t = {0};
    struct kb_rand rand;
    kb_rand_init(&rand, kb_test_seed());
    random_trace(&rand, &t);
    for (int up = 0; up < 2; up++) {
        double ratio = up ? 20 : 0.5;
        KB_AUTO(kb_sim_destroy)
        struct kb_sim *sim = run_with(&t, (struct kb_sim_config){.seed = 7, .tune = ratio});
        struct kb_sim_point p = last_point(sim);
        double reached = (double)p.arrived_gpu / (double)kb_sim_total(sim).gpu;
        KB_CHECK(reached <= ratio && reached > ratio - 3.1 * 1000 / (double)kb_sim_total(sim).gpu);
        KB_CHECK_U64(p.running + p.dropped, ==, p.arrived);
        KB_CHECK_U64(p.waiting, ==, 0);
        check_sound(sim);
    }
}
