/* What simulations leave behind: CSV files, tables for the terminal, a page with plots. */
#ifndef KUBUS_SCHEDULER_SIM_REPORT_H
#define KUBUS_SCHEDULER_SIM_REPORT_H

#include "actors/scheduler/sim/result.h"
#include "bus/base/err.h"

/* Many runs: all have the same policies and workloads in some order, and any seeds. */
struct kb_sim_runs {
    struct kb_sim_result *at;
    size_t n;
    const char *command; /* how it was called, for the page */
};

/* DIR/decisions.csv and DIR/series.csv of one run. -KB_EIO, -KB_ENOSPACE. */
int kb_report_run(const struct kb_sim *sim, const char *dir, struct kb_err *err);
/* DIR/runs.csv (a line a run), DIR/summary.csv (mean and standard deviation over seeds) and
 * DIR/page.html. */
int kb_report_runs(const struct kb_sim_runs *runs, const char *dir, struct kb_err *err);
/* The table for people: of one run, or mean ± standard deviation by workload and policy. */
void kb_report_table(const struct kb_sim_runs *runs, struct kb_buf *out);
/* The page: one file that needs no network. */
void kb_report_page(const struct kb_sim_runs *runs, struct kb_buf *out);

#endif
