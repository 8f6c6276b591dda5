#include "actors/scheduler/sim/report.h"

#include "actors/scheduler/core/devices.h"
#include "bus/base/check.h"
#include "bus/base/file.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

static const char *const fates[] = {
    [KB_SIM_WAITING] = "waiting",     [KB_SIM_BOUND] = "bound",     [KB_SIM_DROPPED] = "dropped",
    [KB_SIM_PREEMPTED] = "preempted", [KB_SIM_DELETED] = "deleted", [KB_SIM_LOST] = "lost",
};

/* ---- CSV ---- */

static FILE *create(const char *dir, const char *name, char **ret_path, struct kb_err *err)
{
    *ret_path = kb_strf("%s/%s", dir, name);
    FILE *f = fopen(*ret_path, "w");
    if (f == NULL)
        kb_err_sys(err, errno, "%s", *ret_path);
    return f;
}

static int finish(FILE *f, const char *path, struct kb_err *err)
{
    bool bad = ferror(f) != 0;
    bad |= fclose(f) != 0;
    return bad ? kb_err_sys(err, errno, "%s", path) : 0;
}

/* A text as a field. */
static void put_text(FILE *f, const char *text)
{
    if (text[strcspn(text, ",\"\n\r")] == '\0') {
        fputs(text, f);
        return;
    }
    fputc('"', f);
    for (; *text; text++) {
        if (*text == '"')
            fputc('"', f);
        fputc(*text, f);
    }
    fputc('"', f);
}

static void put_seconds(FILE *f, kb_ms ms)
{
    if (ms >= 0)
        fprintf(f, "%.3f", (double)ms / 1000);
    fputc(',', f);
}

static void put_decision(FILE *f, const struct kb_sim_decision *d)
{
    char gpus[KB_GPU_INDEX_BYTES];
    kb_gpu_format(d->gpus, gpus);
    put_seconds(f, d->arrived_ms);
    put_seconds(f, d->decided_ms);
    put_seconds(f, d->left_ms);
    put_seconds(f, d->node ? d->decided_ms - d->arrived_ms : -1);
    put_text(f, d->key + strlen("pods/"));
    fprintf(f, ",%s,", fates[d->fate]);
    put_text(f, d->node ? d->node : "");
    fprintf(f, ",%s,%lld,%lld,%lld,", gpus, (long long)d->cpu, (long long)(d->memory >> 20),
            (long long)d->gpu_milli);
    put_text(f, d->why ? d->why : "");
    fputc('\n', f);
}

static int write_decisions(const struct kb_sim *sim, const char *dir, struct kb_err *err)
{
    KB_AUTO(kb_auto_free) char *path = NULL;
    size_t n;
    const struct kb_sim_decision *d = kb_sim_decisions(sim, &n);
    FILE *f = create(dir, "decisions.csv", &path, err);
    if (f == NULL)
        return -err->code;
    fputs("arrived_s,decided_s,left_s,wait_s,pod,fate,node,gpus,cpu_milli,memory_mib,gpu_milli,"
          "why\n",
          f);
    for (size_t i = 0; i < n; i++)
        put_decision(f, &d[i]);
    return finish(f, path, err);
}

/* The columns of all metrics, each with a comma before it, and the end of the line. */
static void put_metric_names(FILE *f)
{
#define X(member, key, title, unit) fputs("," key, f);
    KB_SIM_METRIC_MAP(X)
#undef X
    fputc('\n', f);
}

static void put_metrics(FILE *f, const struct kb_sim_values *v)
{
#define X(member, key, title, unit) fprintf(f, ",%.4f", v->member);
    KB_SIM_METRIC_MAP(X)
#undef X
    fputc('\n', f);
}

static int write_series(const struct kb_sim *sim, const char *dir, struct kb_err *err)
{
    KB_AUTO(kb_auto_free) char *path = NULL;
    size_t n;
    const struct kb_sim_point *p = kb_sim_points(sim, &n);
    struct kb_sim_total total = kb_sim_total(sim);
    FILE *f = create(dir, "series.csv", &path, err);
    if (f == NULL)
        return -err->code;
    fputs("time_s,arrived,running,arrived_gpu_pct", f);
    put_metric_names(f);
    for (size_t i = 0; i < n; i++) {
        struct kb_sim_values v = kb_sim_values_of(&p[i], &total);
        fprintf(f, "%.3f,%u,%u,%.4f", (double)p[i].at_ms / 1000, p[i].arrived, p[i].running,
                total.gpu > 0 ? 100 * (double)p[i].arrived_gpu / (double)total.gpu : 0);
        put_metrics(f, &v);
    }
    return finish(f, path, err);
}

int kb_report_run(const struct kb_sim *sim, const char *dir, struct kb_err *err)
{
    int rc = kb_dir_make(dir, 0755, err);
    rc = rc < 0 ? rc : write_decisions(sim, dir, err);
    return rc < 0 ? rc : write_series(sim, dir, err);
}

/* ---- many runs ---- */

static int write_runs(const struct kb_sim_runs *runs, const char *dir, struct kb_err *err)
{
    KB_AUTO(kb_auto_free) char *path = NULL;
    FILE *f = create(dir, "runs.csv", &path, err);
    if (f == NULL)
        return -err->code;
    fputs("workload,policy,seed,nodes,gpus,pods,bound,unplaced,wait_p99_s,peak_waiting,seconds", f);
    put_metric_names(f);
    for (size_t i = 0; i < runs->n; i++) {
        const struct kb_sim_result *r = &runs->at[i];
        put_text(f, r->workload);
        fputc(',', f);
        put_text(f, r->policy);
        fprintf(f, ",%llu,%u,%.0f,%u,%u,%u,%.3f,%.0f,%.3f", (unsigned long long)r->seed, r->nodes,
                r->gpus, r->pods, r->bound, r->unplaced, r->wait_p99_s, r->peak_waiting,
                r->seconds);
        put_metrics(f, &r->value);
    }
    return finish(f, path, err);
}

/* Runs of the same workload and policy as run `first`, which is the first of them. */
struct group {
    const struct kb_sim_runs *runs;
    size_t first, n;
    const struct kb_sim_result **member;
};

static bool same_group(const struct kb_sim_result *a, const struct kb_sim_result *b)
{
    return strcmp(a->workload, b->workload) == 0 && strcmp(a->policy, b->policy) == 0;
}

/* The next group behind the one in *g (zero-initialized but for `runs`: the first); false: all were
 * seen. Frees what the last one held. */
static bool next_group(struct group *g)
{
    size_t at = g->member ? g->first + 1 : 0;
    free(g->member);
    g->member = NULL;
    for (; at < g->runs->n; at++) {
        size_t k = 0;
        while (k < at && !same_group(&g->runs->at[k], &g->runs->at[at]))
            k++;
        if (k == at)
            break;
    }
    if (at >= g->runs->n)
        return false;
    g->first = at;
    g->n = 0;
    g->member = calloc(g->runs->n, sizeof(*g->member));
    KB_ASSERT(g->member != NULL);
    for (size_t i = at; i < g->runs->n; i++)
        if (same_group(&g->runs->at[i], &g->runs->at[at]))
            g->member[g->n++] = &g->runs->at[i];
    return true;
}

static const struct {
    size_t offset;
    const char *key, *title, *unit;
} metrics[] = {
#define X(member, key_, title_, unit_)                                                             \
    {offsetof(struct kb_sim_values, member), key_, title_, unit_},
    KB_SIM_METRIC_MAP(X)
#undef X
};

static double metric_of(const struct kb_sim_values *v, size_t metric)
{
    return *(const double *)((const char *)v + metrics[metric].offset);
}

static struct kb_sim_mean mean_of(const struct group *g, size_t metric)
{
    double *values = calloc(g->n, sizeof(*values));
    KB_ASSERT(values != NULL);
    for (size_t i = 0; i < g->n; i++)
        values[i] = metric_of(&g->member[i]->value, metric);
    struct kb_sim_mean m = kb_sim_mean(values, g->n);
    free(values);
    return m;
}

static int write_summary(const struct kb_sim_runs *runs, const char *dir, struct kb_err *err)
{
    KB_AUTO(kb_auto_free) char *path = NULL;
    struct group g = {.runs = runs};
    FILE *f = create(dir, "summary.csv", &path, err);
    if (f == NULL)
        return -err->code;
    fputs("workload,policy,runs", f);
    for (size_t k = 0; k < KB_COUNT(metrics); k++)
        fprintf(f, ",%s_mean,%s_stdev", metrics[k].key, metrics[k].key);
    fputc('\n', f);
    while (next_group(&g)) {
        put_text(f, g.member[0]->workload);
        fputc(',', f);
        put_text(f, g.member[0]->policy);
        fprintf(f, ",%zu", g.n);
        for (size_t k = 0; k < KB_COUNT(metrics); k++) {
            struct kb_sim_mean m = mean_of(&g, k);
            fprintf(f, ",%.4f,%.4f", m.mean, m.stdev);
        }
        fputc('\n', f);
    }
    return finish(f, path, err);
}

int kb_report_runs(const struct kb_sim_runs *runs, const char *dir, struct kb_err *err)
{
    KB_AUTO(kb_buf_finish) struct kb_buf page = {0};
    KB_AUTO(kb_auto_free) char *path = kb_strf("%s/page.html", dir);
    int rc = kb_dir_make(dir, 0755, err);
    rc = rc < 0 ? rc : write_runs(runs, dir, err);
    rc = rc < 0 ? rc : write_summary(runs, dir, err);
    if (rc < 0)
        return rc;
    kb_report_page(runs, &page);
    return kb_file_write(path, kb_buf_str(&page), 0644, err);
}

/* ---- the table for people ---- */

static void put_mean(struct kb_buf *out, const struct group *g, size_t metric, int digits)
{
    struct kb_sim_mean m = mean_of(g, metric);
    kb_buf_printf(out, "  %7.*f", digits, m.mean);
    if (g->n > 1)
        kb_buf_printf(out, " ± %-5.*f", digits, m.stdev);
    else
        kb_buf_puts(out, "        ");
}

static void put_head(struct kb_buf *out, const struct kb_sim_result *r, size_t runs)
{
    static const char *const heads[] = {"GPU %", "CPU %", "memory %", "fragment %"};
    kb_buf_printf(out, "\n%s: %u pods on %u nodes with %.0f GPUs%s\n", r->workload, r->pods,
                  r->nodes, r->gpus, runs > 1 ? "; mean ± standard deviation over the seeds" : "");
    kb_buf_printf(out, "  %-16s  %4s", "policy", "runs");
    for (size_t k = 0; k < KB_COUNT(heads); k++)
        kb_buf_printf(out, "  %-15s", heads[k]);
    kb_buf_printf(out, "  %-15s  %8s\n", r->dropped ? "dropped" : "wait s", "run time");
}

void kb_report_table(const struct kb_sim_runs *runs, struct kb_buf *out)
{
    struct group g = {.runs = runs};
    const char *workload = NULL;
    enum { GPU, CPU, MEMORY, FRAG, DROPPED = 6, WAIT };
    while (next_group(&g)) {
        double seconds = 0;
        if (workload == NULL || strcmp(workload, g.member[0]->workload) != 0)
            put_head(out, g.member[0], g.n);
        workload = g.member[0]->workload;
        kb_buf_printf(out, "  %-16s  %4zu", g.member[0]->policy, g.n);
        for (size_t k = GPU; k <= FRAG; k++)
            put_mean(out, &g, k, 2);
        put_mean(out, &g, g.member[0]->dropped ? DROPPED : WAIT, g.member[0]->dropped ? 0 : 1);
        for (size_t i = 0; i < g.n; i++)
            seconds += g.member[i]->seconds / (double)g.n;
        kb_buf_printf(out, "  %6.2f s\n", seconds);
    }
    kb_buf_printf(
        out, "\n%s\n",
        runs->n > 0 && runs->at[0].by_arrivals
            ? "Shares of what the cluster has, when the last pod had come."
            : "Shares of what the cluster has, mean over the time until the last pod came.");
}

/* ---- the page ---- */

extern const char kb__sim_page[], kb__sim_page_end[]; /* page.html, see embed.S */

static void put_json_text(struct kb_buf *out, const char *text)
{
    kb_buf_putc(out, '"');
    for (; *text; text++) {
        if (*text == '"' || *text == '\\')
            kb_buf_putc(out, '\\');
        if (*text == '<' || (unsigned char)*text < ' ')
            kb_buf_printf(out, "\\u%04x", (unsigned)*text); /* never "</script>" */
        else
            kb_buf_putc(out, *text);
    }
    kb_buf_putc(out, '"');
}

static void put_run(struct kb_buf *out, const struct kb_sim_result *r)
{
    kb_buf_puts(out, "{\"workload\":");
    put_json_text(out, r->workload);
    kb_buf_puts(out, ",\"policy\":");
    put_json_text(out, r->policy);
    kb_buf_printf(out,
                  ",\"seed\":%llu,\"byArrivals\":%s,\"nodes\":%u,\"pods\":%u,\"gpus\":%.0f,"
                  "\"bound\":%u,\"unplaced\":%u,\"waitP99\":%.3f,\"xEnd\":%.6g,\"value\":{",
                  (unsigned long long)r->seed, r->by_arrivals ? "true" : "false", r->nodes, r->pods,
                  r->gpus, r->bound, r->unplaced, r->wait_p99_s, r->x_end);
    for (size_t k = 0; k < KB_COUNT(metrics); k++)
        kb_buf_printf(out, "%s\"%s\":%.5g", k ? "," : "", metrics[k].key, metric_of(&r->value, k));
    kb_buf_puts(out, "},\"curve\":{");
    for (size_t k = 0; k < KB_COUNT(metrics); k++) {
        kb_buf_printf(out, "%s\"%s\":[", k ? "," : "", metrics[k].key);
        for (size_t i = 0; i < KB_SIM_GRID; i++)
            kb_buf_printf(out, "%s%.5g", i ? "," : "", metric_of(&r->curve[i], k));
        kb_buf_putc(out, ']');
    }
    kb_buf_puts(out, "}}");
}

static void put_data(const struct kb_sim_runs *runs, struct kb_buf *out)
{
    kb_buf_puts(out, "{\"command\":");
    put_json_text(out, runs->command ? runs->command : "");
    kb_buf_puts(out, ",\"metrics\":[");
    for (size_t k = 0; k < KB_COUNT(metrics); k++)
        kb_buf_printf(out, "%s{\"key\":\"%s\",\"title\":\"%s\",\"unit\":\"%s\"}", k ? "," : "",
                      metrics[k].key, metrics[k].title, metrics[k].unit);
    kb_buf_puts(out, "],\"runs\":[");
    for (size_t i = 0; i < runs->n; i++) {
        kb_buf_puts(out, i ? ",\n" : "\n");
        put_run(out, &runs->at[i]);
    }
    kb_buf_puts(out, "]}");
}

void kb_report_page(const struct kb_sim_runs *runs, struct kb_buf *out)
{
    static const char mark[] = "/*DATA*/null";
    kb_str page = kb_str_n(kb__sim_page, (size_t)(kb__sim_page_end - kb__sim_page));
    const char *at = memmem(page.p, page.n, mark, strlen(mark));
    KB_ASSERT(at != NULL);
    kb_buf_add(out, page.p, (size_t)(at - page.p));
    put_data(runs, out);
    at += strlen(mark);
    kb_buf_add(out, at, (size_t)(page.p + page.n - at));
}
