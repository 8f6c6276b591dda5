#include "actors/scheduler/sim/fragmentation.h"

#include "bus/base/check.h"

static bool same_models(const struct kb_policy_demand *a, const struct kb_policy_demand *b)
{
    for (uint32_t i = 0; i < a->gpu_models_n && i < b->gpu_models_n; i++)
        if (a->gpu_models[i] != b->gpu_models[i])
            return false;
    return a->gpu_models_n == b->gpu_models_n;
}

static bool same_kind(const struct kb_policy_demand *a, const struct kb_policy_demand *b)
{
    return a->cpu == b->cpu && a->gpus == b->gpus && a->gpu_milli == b->gpu_milli &&
           same_models(a, b);
}

static int compare(int64_t a, int64_t b)
{
    return a > b ? -1 : a < b;
}

/* Most pods first; then the larger. */
static int by_pods(const void *a, const void *b)
{
    const struct kb_policy_demand *x = a, *y = b;
    int order = compare((int64_t)x->pods, (int64_t)y->pods);
    order = order ? order : compare(x->cpu, y->cpu);
    order = order ? order : compare(x->gpu_milli, y->gpu_milli);
    order = order ? order : compare(x->gpus, y->gpus);
    return order ? order : compare(x->gpu_models_n, y->gpu_models_n);
}

void kb_frag_init(struct kb_frag *f, const struct kb_policy_workload *workload, double popularity)
{
    uint32_t n = 0, at;
    double all = 0, reached = 0;
    f->typical = calloc(workload->n + 1, sizeof(*f->typical));
    KB_ASSERT(f->typical != NULL);
    for (uint32_t i = 0; i < workload->n; i++) {
        for (at = 0; at < n && !same_kind(&f->typical[at], &workload->demands[i]); at++)
            ;
        if (at == n)
            f->typical[n++] = workload->demands[i];
        else
            f->typical[at].pods += workload->demands[i].pods;
        all += (double)workload->demands[i].pods;
    }
    qsort(f->typical, n, sizeof(*f->typical), by_pods);
    f->pods = 0;
    for (at = 0; at < n && reached < all * popularity / 100; at++) {
        reached += (double)f->typical[at].pods;
        f->pods += f->typical[at].pods;
    }
    f->typical_n = at;
}

void kb_frag_finish(struct kb_frag *f)
{
    free(f->typical);
    *f = (struct kb_frag){0};
}

static bool allowed(const struct kb_policy_demand *d, uint32_t model)
{
    for (uint32_t i = 0; i < d->gpu_models_n; i++)
        if (d->gpu_models[i] == model)
            return true;
    return d->gpu_models_n == 0;
}

/* Of `all` milli that are free, those that are of no use for one kind of pod. */
static int64_t useless(const struct kb_policy_demand *d, int64_t free_cpu, uint32_t model,
                       const uint16_t *free_milli, int64_t all)
{
    uint32_t able = 0;
    int64_t too_full = 0;
    for (uint32_t g = 0; g < KB_POLICY_GPUS; g++) {
        if (free_milli[g] >= d->gpu_milli)
            able += free_milli[g] > 0;
        else
            too_full += free_milli[g];
    }
    bool runs = d->gpus > 0 && free_cpu >= d->cpu && allowed(d, model) && able >= d->gpus;
    return runs ? too_full : all;
}

double kb_frag_node(const struct kb_frag *f, int64_t free_cpu, uint32_t model,
                    const uint16_t free_milli[KB_POLICY_GPUS])
{
    int64_t all = 0, sum = 0;
    for (uint32_t g = 0; g < KB_POLICY_GPUS; g++)
        all += free_milli[g];
    if (all == 0 || f->pods == 0)
        return 0;
    for (uint32_t i = 0; i < f->typical_n; i++)
        sum +=
            (int64_t)f->typical[i].pods * useless(&f->typical[i], free_cpu, model, free_milli, all);
    return (double)sum / (double)f->pods;
}
