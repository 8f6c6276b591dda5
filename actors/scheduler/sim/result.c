#include "actors/scheduler/sim/result.h"

#include "bus/base/check.h"

#include <math.h>
#include <stdlib.h>

static double percent(double part, double all)
{
    return all > 0 ? 100 * part / all : 0;
}

struct kb_sim_values kb_sim_values_of(const struct kb_sim_point *p,
                                      const struct kb_sim_total *total)
{
    double frag = p->frag > 0 ? p->frag : 0; /* it is kept by adding and subtracting */
    return (struct kb_sim_values){
        .gpu = percent((double)p->gpu, (double)total->gpu),
        .cpu = percent((double)p->cpu, (double)total->cpu),
        .memory = percent((double)p->memory, (double)total->memory),
        .frag = percent(frag, (double)total->gpu),
        .frag_free = percent(frag, (double)(total->gpu - p->gpu)),
        .waiting = p->waiting,
        .dropped = p->dropped,
        .wait = p->wait_s,
    };
}

static double x_of(const struct kb_sim_point *p, const struct kb_sim_result *r,
                   const struct kb_sim_total *total)
{
    return r->by_arrivals ? percent((double)p->arrived_gpu, (double)total->gpu)
                          : (double)p->at_ms / 3.6e6;
}

static void fill_curve(const struct kb_sim_point *points, size_t n,
                       const struct kb_sim_total *total, struct kb_sim_result *r)
{
    size_t at = 0;
    struct kb_sim_values now =
        n > 0 ? kb_sim_values_of(&points[0], total) : (struct kb_sim_values){0};
    for (size_t i = 0; i < KB_SIM_GRID; i++) {
        double x = r->x_end * (double)i / (KB_SIM_GRID - 1);
        for (; at < n && x_of(&points[at], r, total) <= x + 1e-9; at++)
            now = kb_sim_values_of(&points[at], total);
        r->curve[i] = now;
    }
}

/* The mean over time, from the first point until the last pod came. */
static struct kb_sim_values mean_over_time(const struct kb_sim_point *points, size_t n,
                                           const struct kb_sim_total *total)
{
    struct kb_sim_values sum = {0};
    double all = 0;
    for (size_t i = 0; i + 1 < n && points[i].arrived < points[n - 1].arrived; i++) {
        struct kb_sim_values v = kb_sim_values_of(&points[i], total);
        double span = (double)(points[i + 1].at_ms - points[i].at_ms);
#define X(member, key, title, unit) sum.member += span * v.member;
        KB_SIM_METRIC_MAP(X)
#undef X
        all += span;
    }
    if (all <= 0)
        return n > 0 ? kb_sim_values_of(&points[n - 1], total) : sum;
#define X(member, key, title, unit) sum.member /= all;
    KB_SIM_METRIC_MAP(X)
#undef X
    return sum;
}

static int by_number(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return x < y ? -1 : x > y;
}

static void count_decisions(const struct kb_sim *sim, struct kb_sim_result *r)
{
    size_t n, waits_n = 0;
    const struct kb_sim_decision *d = kb_sim_decisions(sim, &n);
    double *waits = malloc((n + 1) * sizeof(*waits)), sum = 0;
    KB_ASSERT(waits != NULL);
    for (size_t i = 0; i < n; i++) {
        r->dropped += d[i].fate == KB_SIM_DROPPED;
        r->unplaced += d[i].fate == KB_SIM_WAITING;
        if (d[i].node == NULL)
            continue;
        waits[waits_n] = (double)(d[i].decided_ms - d[i].arrived_ms) / 1000;
        sum += waits[waits_n++];
    }
    r->bound = (uint32_t)waits_n;
    qsort(waits, waits_n, sizeof(*waits), by_number);
    r->wait_p99_s = waits_n > 0 ? waits[(waits_n - 1) * 99 / 100] : 0;
    r->value.wait = waits_n > 0 ? sum / (double)waits_n : 0;
    free(waits);
}

void kb_sim_result_of(const struct kb_sim *sim, const struct kb_sim_config *config, double x_end,
                      struct kb_sim_result *r)
{
    size_t n;
    const struct kb_sim_point *points = kb_sim_points(sim, &n);
    struct kb_sim_total total = kb_sim_total(sim);
    *r = (struct kb_sim_result){.seed = config->seed, .nodes = total.nodes, .pods = total.pods};
    r->gpus = (double)total.gpu / KB_POLICY_GPU_MILLI;
    r->by_arrivals = config->tune > 0 && total.gpu > 0;
    r->x_end = x_end > 0 ? x_end : n > 0 ? x_of(&points[n - 1], r, &total) : 0;
    for (size_t i = 0; i < n; i++)
        r->peak_waiting = points[i].waiting > r->peak_waiting ? points[i].waiting : r->peak_waiting;
    fill_curve(points, n, &total, r);
    if (config->tune > 0 && n > 0)
        r->value = kb_sim_values_of(&points[n - 1], &total);
    else
        r->value = mean_over_time(points, n, &total);
    count_decisions(sim, r);
}

struct kb_sim_mean kb_sim_mean(const double *values, size_t n)
{
    struct kb_sim_mean m = {.n = n};
    double squares = 0;
    for (size_t i = 0; i < n; i++)
        m.mean += values[i] / (double)n;
    for (size_t i = 0; i < n; i++)
        squares += (values[i] - m.mean) * (values[i] - m.mean);
    m.stdev = n > 1 ? sqrt(squares / (double)(n - 1)) : 0;
    return m;
}
