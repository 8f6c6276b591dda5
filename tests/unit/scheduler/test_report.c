/* What simulations leave behind. */
#include "actors/scheduler/sim/report.h"
#include "tests/lib/test.h"

#include "bus/base/file.h"

#include <math.h>
#include <stdlib.h>

static struct kb_err err;

static struct kb_sim *small(struct kb_trace *t, const struct kb_sim_config *config)
{
    struct kb_sim *sim = NULL;
    KB_CHECK_OK(kb_trace_parse(t, KB_TRACE_CSV,
                               kb_str_of("sn,cpu_milli,memory_mib,gpu\nn,4000,4096,2\n"), "n",
                               KB_TRACE_NODES, &err),
                &err);
    KB_CHECK_OK(
        kb_trace_parse(t, KB_TRACE_CSV,
                       kb_str_of("name,cpu_milli,memory_mib,num_gpu,gpu_milli,creation_time,"
                                 "deletion_time\n\"a,b\",2000,1024,1,500,0,3600\nc,2000,0,2,0,"
                                 "1800,9000\n"),
                       "p", KB_TRACE_PODS, &err),
        &err);
    KB_CHECK_OK(kb_sim_new(config, t, &sim, &err), &err);
    while (kb_sim_run(sim, 100))
        ;
    return sim;
}

static const struct kb_sim_config plain = {
    .profile = "default-scheduler", .entries = kb_profile_default, .seed = 1};

static struct kb_sim_config config(void)
{
    struct kb_sim_config c = plain;
    c.entries_n = kb_profile_default_n;
    return c;
}

KB_TEST(report, decisions_and_series_of_a_run)
{
    KB_AUTO(kb_trace_finish) struct kb_trace t = {0};
    struct kb_sim_config c = config();
    KB_AUTO(kb_sim_destroy) struct kb_sim *sim = small(&t, &c);
    KB_AUTO(kb_auto_free) char *dir = kb_strf("%s/out", kb_test_dir());
    KB_CHECK_OK(kb_report_run(sim, dir, &err), &err);
    KB_AUTO(kb_buf_finish) struct kb_buf text = {0};
    KB_AUTO(kb_auto_free) char *path = kb_strf("%s/decisions.csv", dir);
    KB_CHECK_OK(kb_file_read(path, 1 << 20, &text, &err), &err);
    KB_CHECK_STR(text.p,
                 "arrived_s,decided_s,left_s,wait_s,pod,fate,node,gpus,cpu_milli,"
                 "memory_mib,gpu_milli,why\n"
                 "0.000,0.000,3600.000,0.000,\"default/a,b\",bound,n,0,2000,1024,500,\n"
                 "1800.000,3600.000,10800.000,1800.000,default/c,bound,n,0-1,2000,0,2000,\n");
}

KB_TEST(report, a_result_is_the_mean_over_time_until_the_last_pod_came)
{
    KB_AUTO(kb_trace_finish) struct kb_trace t = {0};
    struct kb_sim_config c = config();
    struct kb_sim_result *r = kb_test_keep(calloc(1, sizeof(*r)));
    KB_AUTO(kb_sim_destroy) struct kb_sim *sim = small(&t, &c);
    kb_sim_result_of(sim, &c, 0, r);
    KB_CHECK(fabs(r->value.gpu - 25) < 1e-9);
    KB_CHECK(fabs(r->value.wait - 900) < 1e-9);
    KB_CHECK(fabs(r->x_end - 3) < 1e-9);
    KB_CHECK(fabs(r->curve[0].gpu - 25) < 1e-9);
    KB_CHECK(fabs(r->curve[100].gpu - 100) < 1e-9); /* after one and a half of three hours */
    KB_CHECK(fabs(r->curve[KB_SIM_GRID - 1].gpu) < 1e-9);
    KB_CHECK_U64(r->bound, ==, 2);
    KB_CHECK(r->wait_p99_s == 0); /* of two, the 99th percentile by rank is the first */
}

KB_TEST(report, mean_and_standard_deviation_of_a_sample)
{
    double values[] = {2, 4, 4, 4, 5, 5, 7, 9};
    struct kb_sim_mean m = kb_sim_mean(values, 8);
    KB_CHECK(fabs(m.mean - 5) < 1e-12 && fabs(m.stdev - sqrt(32.0 / 7)) < 1e-12);
    KB_CHECK(kb_sim_mean(values, 1).stdev == 0);
}

KB_TEST(report, the_page_holds_its_data_and_nothing_from_elsewhere)
{
    KB_AUTO(kb_trace_finish) struct kb_trace t = {0};
    struct kb_sim_config c = config();
    struct kb_sim_result *r = kb_test_keep(calloc(1, sizeof(*r)));
    KB_AUTO(kb_sim_destroy) struct kb_sim *sim = small(&t, &c);
    kb_sim_result_of(sim, &c, 0, r);
    snprintf(r->policy, sizeof(r->policy), "</script><b>\"");
    struct kb_sim_runs runs = {r, 1, "kubus sim"};
    KB_AUTO(kb_buf_finish) struct kb_buf page = {0}, table = {0};
    kb_report_page(&runs, &page);
    kb_report_table(&runs, &table);
    KB_CHECK(strstr(page.p, "const DATA = {\"command\":\"kubus sim\"") != NULL);
    KB_CHECK(strstr(page.p, "\\u003c/script>\\u003cb>\\\"") != NULL);
    KB_CHECK(strstr(page.p, "src=") == NULL && strstr(page.p, "@import") == NULL);
    KB_CHECK(strstr(page.p, "</html>\n") != NULL);
    KB_CHECK(strstr(table.p, "2 pods on 1 nodes with 2 GPUs") != NULL);
}
