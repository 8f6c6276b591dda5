/* compare.c - one run, or policies × workloads × seeds over all cores.
 *
 * A run is a process: the trace is read once and shared by fork, a child sends its result through a
 * pipe and goes. So a policy that crashes costs its own runs, and nothing has to be thread-safe. */
#include "actors/scheduler/sim/contender.h"
#include "actors/scheduler/sim/options.h"
#include "actors/scheduler/sim/report.h"

#include "bus/base/check.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

enum { STEPS = 256, TICK_MS = 200 };

struct workload {
    char name[KB_SIM_LABEL_BYTES];
    struct kb_trace trace;
    double x_end; /* hours; unless tuned */
};

struct job {
    size_t contender, workload;
    uint64_t seed;
};

/* What a child sends. */
struct message {
    int rc;
    struct kb_err err;
    struct kb_sim_result result;
};

struct worker {
    pid_t pid;
    int fd; /* -1: free */
    size_t job, got;
    struct message message;
};

struct compare {
    const struct kb_sim_options *options;
    const char *command;
    struct kb_contenders contenders;
    struct workload *workloads;
    size_t workloads_n;
    struct job *jobs;
    size_t jobs_n, started, done;
    struct kb_sim_result *results; /* [job] */
    struct worker *workers;
    size_t workers_n;
    kb_ms since;
    bool tty;
};

/* ---- what is to be done ---- */

static void name_workload(struct workload *w, const char *path)
{
    const char *slash = strrchr(path, '/'), *base = slash ? slash + 1 : path;
    const char *dot = strrchr(base, '.');
    snprintf(w->name, sizeof(w->name), "%.*s", (int)(dot ? dot - base : (long)strlen(base)), base);
}

static double hours_of(const struct kb_trace *t)
{
    kb_ms end = 0;
    for (size_t i = 0; i < t->pods_n; i++) {
        kb_ms left = t->pods[i].arrive_ms + (t->pods[i].run_ms > 0 ? t->pods[i].run_ms : 0);
        end = left > end ? left : end;
    }
    return (double)end / 3.6e6;
}

/* Each file of pods is a workload; all of them are on the same nodes. */
static int read_workload(const struct kb_sim_options *o, const char *pods, struct workload *w,
                         struct kb_err *err)
{
    int rc = 0;
    name_workload(w, pods);
    for (size_t i = 0; rc == 0 && i < o->nodes.n; i++)
        rc = kb_trace_read(&w->trace, o->nodes.at[i], KB_TRACE_NODES, err);
    if (rc == 0)
        rc = kb_trace_read(&w->trace, pods, KB_TRACE_PODS, err);
    for (size_t i = 0; rc == 0 && i < o->fails.n; i++)
        rc = kb_trace_parse_fault(&w->trace, o->fails.at[i], err);
    if (rc == 0 && w->trace.nodes_n == 0)
        rc = kb_err_set(err, KB_EINVAL, "there are no nodes");
    if (rc == 0 && w->trace.pods_n == 0)
        rc = kb_err_set(err, KB_EINVAL, "%s: there are no pods", pods);
    if (rc == 0)
        rc = kb_trace_check(&w->trace, err);
    w->x_end = hours_of(&w->trace);
    return rc;
}

static int read_workloads(struct compare *c, struct kb_err *err)
{
    const struct kb_sim_options *o = c->options;
    int rc = 0;
    c->workloads = calloc(o->pods.n, sizeof(*c->workloads));
    KB_ASSERT(c->workloads != NULL);
    for (; rc == 0 && c->workloads_n < o->pods.n; c->workloads_n++)
        rc = read_workload(o, o->pods.at[c->workloads_n], &c->workloads[c->workloads_n], err);
    return rc;
}

static bool is_file(const char *policy)
{
    return strchr(policy, '/') != NULL || kb_str_ends(kb_str_of(policy), ".so");
}

/* With a profile, files are policies that it may name. */
static int read_contenders(struct compare *c, struct kb_err *err)
{
    const struct kb_sim_options *o = c->options;
    int rc = 0;
    for (size_t i = 0; rc == 0 && i < o->policies.n; i++)
        rc = o->profile && is_file(o->policies.at[i])
                 ? kb_contenders_know(&c->contenders, o->policies.at[i], err)
                 : kb_contenders_add_policy(&c->contenders, o->policies.at[i], err);
    if (rc == 0 && o->profile)
        rc = kb_contenders_add_profiles(&c->contenders, o->profile, err);
    if (rc == 0 && c->contenders.n == 0)
        kb_contenders_add_default(&c->contenders);
    return rc;
}

static void plan(struct compare *c)
{
    uint64_t seeds = c->options->seed_to - c->options->seed_from + 1;
    c->jobs_n = c->workloads_n * c->contenders.n * (size_t)seeds;
    c->jobs = calloc(c->jobs_n, sizeof(*c->jobs));
    c->results = calloc(c->jobs_n, sizeof(*c->results));
    KB_ASSERT(c->jobs != NULL && c->results != NULL);
    size_t at = 0;
    for (size_t w = 0; w < c->workloads_n; w++)
        for (size_t p = 0; p < c->contenders.n; p++)
            for (uint64_t s = 0; s < seeds; s++)
                c->jobs[at++] = (struct job){p, w, c->options->seed_from + s};
}

/* ---- progress ---- */

static kb_ms now(void)
{
    return kb_clock_now(kb_clock_system());
}

static void show_progress(const struct compare *c, double done)
{
    enum { WIDTH = 28 };
    char bar[WIDTH + 1];
    int full = (int)(done * WIDTH);
    double spent = (double)(now() - c->since) / 1000;
    if (!c->tty)
        return;
    for (int i = 0; i < WIDTH; i++)
        bar[i] = i < full ? '#' : '.';
    bar[WIDTH] = '\0';
    fprintf(stderr, "\r  [%s] %3.0f %%  %zu of %zu runs", bar, 100 * done, c->done, c->jobs_n);
    if (done > 0.02)
        fprintf(stderr, ", %.0f s left  ", spent / done - spent);
    fflush(stderr);
}

static void end_progress(const struct compare *c)
{
    if (c->tty)
        fprintf(stderr, "\r%*s\r", 78, "");
}

/* ---- a run ---- */

static struct kb_sim_config config_of(const struct compare *c, const struct job *job)
{
    const struct kb_contender *who = &c->contenders.at[job->contender];
    const struct kb_sim_options *o = c->options;
    return (struct kb_sim_config){.profile = "default-scheduler", /* it places all pods */
                                  .entries = who->entries,
                                  .entries_n = who->n,
                                  .backoff_ms = who->backoff_ms,
                                  .backoff_max_ms = who->backoff_max_ms,
                                  .seed = job->seed,
                                  .tune = o->tune,
                                  .ties = o->ties,
                                  .drop = o->drop,
                                  .fails_per_day = o->fails_per_day,
                                  .repair_s = o->repair_s,
                                  .popularity = o->popularity};
}

/* On success the caller owns *ret_sim. */
static int run(const struct compare *c, const struct job *job, bool show, struct kb_sim **ret_sim,
               struct kb_sim_result *ret, struct kb_err *err)
{
    struct kb_sim_config config = config_of(c, job);
    const struct workload *w = &c->workloads[job->workload];
    kb_ms since = now(), shown = since;
    int rc = kb_sim_new(&config, &w->trace, ret_sim, err);
    if (rc < 0)
        return kb_err_wrap(err, "%s", c->contenders.at[job->contender].name);
    while (kb_sim_run(*ret_sim, STEPS)) {
        if (!show || now() < shown + TICK_MS)
            continue;
        show_progress(c, kb_sim_progress(*ret_sim));
        shown = now();
    }
    if (kb_sim_trouble(*ret_sim) != NULL)
        return kb_err_set(err, KB_EINVAL, "seed %llu: %s", (unsigned long long)job->seed,
                          kb_sim_trouble(*ret_sim));
    double x_end = config.tune <= 0                 ? w->x_end
                   : kb_sim_total(*ret_sim).gpu > 0 ? 100 * config.tune
                                                    : 0;
    kb_sim_result_of(*ret_sim, &config, x_end, ret); /* all are drawn over the same stretch */
    ret->seconds = (double)(now() - since) / 1000;
    snprintf(ret->policy, sizeof(ret->policy), "%s", c->contenders.at[job->contender].name);
    snprintf(ret->workload, sizeof(ret->workload), "%s", w->name);
    return 0;
}

static int run_alone(struct compare *c, struct kb_err *err)
{
    KB_AUTO(kb_sim_destroy) struct kb_sim *sim = NULL;
    int rc = run(c, &c->jobs[0], true, &sim, &c->results[0], err);
    end_progress(c);
    c->done = 1;
    return rc == 0 && c->options->out ? kb_report_run(sim, c->options->out, err) : rc;
}

/* ---- many runs ---- */

static void write_all(int fd, const void *data, size_t n)
{
    for (const char *at = data; n > 0;) {
        ssize_t wrote = write(fd, at, n);
        if (wrote < 0 && errno == EINTR)
            continue;
        if (wrote <= 0)
            return;
        at += wrote;
        n -= (size_t)wrote;
    }
}

static _Noreturn void child(const struct compare *c, size_t job, int fd)
{
    static struct message m;
    struct kb_sim *sim = NULL;
    m.rc = run(c, &c->jobs[job], false, &sim, &m.result, &m.err);
    write_all(fd, &m, sizeof(m));
    _exit(0); /* everything goes with the process */
}

static int start(struct compare *c, struct worker *w, struct kb_err *err)
{
    int fds[2];
    if (pipe(fds) < 0)
        return kb_err_sys(err, errno, "pipe");
    w->job = c->started++;
    w->got = 0;
    w->pid = fork();
    if (w->pid == 0) {
        close(fds[0]);
        child(c, w->job, fds[1]);
    }
    close(fds[1]);
    w->fd = fds[0];
    if (w->pid < 0) {
        close(fds[0]);
        w->fd = -1;
        return kb_err_sys(err, errno, "fork");
    }
    return 0;
}

static int end(struct compare *c, struct worker *w, struct kb_err *err)
{
    int status = 0;
    close(w->fd);
    w->fd = -1;
    while (waitpid(w->pid, &status, 0) < 0 && errno == EINTR)
        ;
    if (w->got < sizeof(w->message)) {
        const struct job *job = &c->jobs[w->job];
        return kb_err_set(err, KB_EINTERNAL, "%s, seed %llu: the run ended by %s",
                          c->contenders.at[job->contender].name, (unsigned long long)job->seed,
                          WIFSIGNALED(status) ? strsignal(WTERMSIG(status)) : "an error");
    }
    c->results[w->job] = w->message.result;
    c->done++;
    if (w->message.rc < 0)
        *err = w->message.err;
    return w->message.rc;
}

static int receive(struct compare *c, struct worker *w, struct kb_err *err)
{
    ssize_t n = read(w->fd, (char *)&w->message + w->got, sizeof(w->message) - w->got);
    if (n < 0)
        return errno == EINTR ? 0 : kb_err_sys(err, errno, "pipe");
    w->got += (size_t)n;
    return n == 0 || w->got == sizeof(w->message) ? end(c, w, err) : 0;
}

static int turn(struct compare *c, struct kb_err *err)
{
    struct pollfd fds[1024];
    int rc = 0;
    for (size_t i = 0; rc == 0 && i < c->workers_n; i++)
        if (c->workers[i].fd < 0 && c->started < c->jobs_n)
            rc = start(c, &c->workers[i], err);
    for (size_t i = 0; i < c->workers_n; i++)
        fds[i] = (struct pollfd){.fd = c->workers[i].fd, .events = POLLIN};
    if (rc == 0 && poll(fds, c->workers_n, TICK_MS) < 0 && errno != EINTR)
        rc = kb_err_sys(err, errno, "poll");
    for (size_t i = 0; rc == 0 && i < c->workers_n; i++)
        if (c->workers[i].fd >= 0 && fds[i].revents)
            rc = receive(c, &c->workers[i], err);
    show_progress(c, (double)c->done / (double)c->jobs_n);
    return rc;
}

static void stop_workers(struct compare *c)
{
    for (size_t i = 0; i < c->workers_n; i++) {
        if (c->workers[i].fd < 0)
            continue;
        kill(c->workers[i].pid, SIGKILL);
        waitpid(c->workers[i].pid, NULL, 0);
        close(c->workers[i].fd);
    }
    free(c->workers);
}

static int run_all(struct compare *c, struct kb_err *err)
{
    long cores = sysconf(_SC_NPROCESSORS_ONLN);
    size_t most = c->options->jobs > 0 ? (size_t)c->options->jobs : cores > 0 ? (size_t)cores : 1;
    int rc = 0;
    most = most < 1024 ? most : 1024;
    c->workers_n = most < c->jobs_n ? most : c->jobs_n;
    c->workers = calloc(c->workers_n, sizeof(*c->workers));
    KB_ASSERT(c->workers != NULL);
    for (size_t i = 0; i < c->workers_n; i++)
        c->workers[i].fd = -1;
    while (rc == 0 && c->done < c->jobs_n)
        rc = turn(c, err);
    stop_workers(c);
    end_progress(c);
    return rc;
}

/* ---- all together ---- */

static int report(struct compare *c, struct kb_err *err)
{
    KB_AUTO(kb_buf_finish) struct kb_buf table = {0};
    struct kb_sim_runs runs = {c->results, c->jobs_n, c->command};
    const char *out = c->options->out;
    kb_report_table(&runs, &table);
    fputs(table.p, stdout);
    if (out == NULL)
        return 0;
    int rc = kb_report_runs(&runs, out, err);
    if (rc == 0)
        printf("%s: %sruns.csv summary.csv page.html\n", out,
               c->jobs_n == 1 ? "decisions.csv series.csv " : "");
    return rc;
}

static int work(struct compare *c, struct kb_err *err)
{
    int rc = read_contenders(c, err);
    rc = rc < 0 ? rc : read_workloads(c, err);
    if (rc < 0)
        return rc;
    plan(c);
    rc = c->jobs_n == 1 ? run_alone(c, err) : run_all(c, err);
    return rc < 0 ? rc : report(c, err);
}

int kb_sim_compare(const struct kb_sim_options *o, const char *command)
{
    struct kb_err err = {0};
    struct compare c = {
        .options = o, .command = command, .since = now(), .tty = isatty(STDERR_FILENO) == 1};
    int rc = work(&c, &err);
    for (size_t i = 0; i < c.workloads_n; i++)
        kb_trace_finish(&c.workloads[i].trace);
    free(c.workloads);
    free(c.jobs);
    free(c.results);
    kb_contenders_finish(&c.contenders);
    if (rc < 0)
        fprintf(stderr, "kubus sim: %s\n", err.text);
    return rc < 0 ? 1 : 0;
}
