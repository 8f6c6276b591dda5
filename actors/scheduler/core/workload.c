#include "actors/scheduler/core/workload.h"

#include "bus/base/check.h"

#include <stdlib.h>

enum { DEMANDS_MAX = 4096 }; /* kinds that are told apart: pods choose what they ask for */

void kb_workload_finish(struct kb_workload *w)
{
    free((void *)(uintptr_t)w->view.demands);
    kb_map_finish(&w->by_demand);
    kb_arena_finish(&w->arena);
    kb_buf_finish(&w->scratch);
    *w = (struct kb_workload){0};
}

static int by_id(const void *a, const void *b)
{
    uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
    return x < y ? -1 : x > y;
}

static struct kb_policy_demand demand_of(struct kb_workload *w, const struct kb_policy_pod *pod)
{
    struct kb_policy_demand d = {.cpu = kb_policy_requested(pod, KB_POLICY_CPU),
                                 .memory = kb_policy_requested(pod, KB_POLICY_MEMORY),
                                 .gpus = pod->gpus,
                                 .gpu_milli = pod->gpu_milli};
    uint32_t *models = kb_arena_alloc(&w->arena, (pod->gpu_models_n + 1) * sizeof(*models));
    for (uint32_t i = 0; i < pod->gpu_models_n; i++)
        models[i] = pod->gpu_models[i];
    qsort(models, pod->gpu_models_n, sizeof(*models), by_id);
    d.gpu_models = models;
    d.gpu_models_n = pod->gpu_models_n;
    return d;
}

/* What tells demands apart, without pointers and padding. */
static kb_str key_of(struct kb_buf *out, const struct kb_policy_pod *pod)
{
    kb_buf_clear(out);
    for (uint32_t i = 0; i < pod->requests_n; i++)
        if (pod->requests[i].resource <= KB_POLICY_MEMORY) {
            kb_buf_add(out, &pod->requests[i].resource, sizeof(pod->requests[i].resource));
            kb_buf_add(out, &pod->requests[i].amount, sizeof(pod->requests[i].amount));
        }
    kb_buf_add(out, &pod->gpus, sizeof(pod->gpus));
    kb_buf_add(out, &pod->gpu_milli, sizeof(pod->gpu_milli));
    kb_buf_add(out, pod->gpu_models, pod->gpu_models_n * sizeof(*pod->gpu_models));
    return kb_buf_str(out);
}

void kb_workload_add(struct kb_workload *w, const struct kb_policy_pod *pod, uint64_t pods)
{
    kb_str key = key_of(&w->scratch, pod);
    struct kb_policy_demand *d = kb_map_get(&w->by_demand, key);
    if (d == NULL && w->by_demand.count == DEMANDS_MAX)
        return;
    if (d == NULL) {
        d = kb_arena_alloc(&w->arena, sizeof(*d));
        *d = demand_of(w, pod);
        kb_map_put(&w->by_demand, key, d);
    }
    d->pods += pods;
    w->pods += pods;
}

static int64_t compare(int64_t a, int64_t b)
{
    return a < b ? -1 : a > b;
}

static int by_demand(const void *a, const void *b)
{
    const struct kb_policy_demand *x = a, *y = b;
    int64_t order = compare(x->cpu, y->cpu);
    order = order ? order : compare(x->memory, y->memory);
    order = order ? order : compare(x->gpus, y->gpus);
    order = order ? order : compare(x->gpu_milli, y->gpu_milli);
    order = order ? order : compare(x->gpu_models_n, y->gpu_models_n);
    for (uint32_t i = 0; order == 0 && i < x->gpu_models_n; i++)
        order = compare(x->gpu_models[i], y->gpu_models[i]);
    return (int)order;
}

void kb_workload_publish(struct kb_workload *w)
{
    struct kb_policy_demand *all = calloc(w->by_demand.count + 1, sizeof(*all)), *d;
    uint32_t n = 0;
    KB_ASSERT(all != NULL);
    for (size_t i = 0; kb_map_next(&w->by_demand, &i, NULL, (void **)&d);)
        all[n++] = *d;
    qsort(all, n, sizeof(*all), by_demand);
    free((void *)(uintptr_t)w->view.demands);
    uint64_t version = w->view.version + 1;
    w->view = (struct kb_policy_workload){sizeof(w->view), n, version, all};
    w->published = w->pods;
}

bool kb_workload_learn(struct kb_workload *w, const struct kb_policy_pod *pod)
{
    if (w->told || !w->wanted)
        return false;
    kb_workload_add(w, pod, 1);
    return w->pods >= 2 * w->published;
}
