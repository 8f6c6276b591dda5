#include "actors/scheduler/sim/generate.h"

#include "bus/base/rand.h"

#include <math.h>

static const struct shape {
    uint32_t weight;
    uint32_t cpu, memory_gib, gpus;
    const char *model;
} shapes[] = {
    {18, 48, 192, 2, "T4"},  {14, 64, 256, 4, "T4"},   {8, 96, 384, 8, "V100"},
    {10, 96, 384, 8, "A10"}, {6, 128, 768, 8, "A100"}, {3, 128, 1024, 16, "A100"},
    {6, 96, 384, 0, ""},
};

/* CPU in quarters of a core per GPU or share; memory follows it. */
static const struct ask {
    uint32_t weight;
    uint32_t gpus, low_milli, high_milli, low_cpu, high_cpu;
} asks[] = {
    {16, 0, 0, 0, 1, 64},        {14, 1, 100, 300, 1, 12},     {20, 1, 300, 700, 4, 32},
    {4, 1, 700, 950, 8, 40},     {36, 1, 1000, 1000, 8, 48},   {4, 2, 1000, 1000, 16, 80},
    {3, 4, 1000, 1000, 48, 160}, {3, 8, 1000, 1000, 128, 320},
};

static uint32_t between(struct kb_rand *rand, uint32_t low, uint32_t high)
{
    return low + (uint32_t)kb_rand_below(rand, high - low + 1);
}

static double exponential(struct kb_rand *rand, double mean)
{
    return -mean * log(1 - kb_rand_unit(rand));
}

static const struct shape *any_shape(struct kb_rand *rand)
{
    uint32_t all = 0, k;
    for (size_t i = 0; i < KB_COUNT(shapes); i++)
        all += shapes[i].weight;
    k = (uint32_t)kb_rand_below(rand, all);
    for (size_t i = 0;; k -= shapes[i++].weight)
        if (k < shapes[i].weight)
            return &shapes[i];
}

static const struct ask *any_ask(struct kb_rand *rand)
{
    uint32_t all = 0, k;
    for (size_t i = 0; i < KB_COUNT(asks); i++)
        all += asks[i].weight;
    k = (uint32_t)kb_rand_below(rand, all);
    for (size_t i = 0;; k -= asks[i++].weight)
        if (k < asks[i].weight)
            return &asks[i];
}

static double mean_gpus(void)
{
    double sum = 0, all = 0;
    for (size_t i = 0; i < KB_COUNT(asks); i++) {
        sum += asks[i].weight * asks[i].gpus * (asks[i].low_milli + asks[i].high_milli) / 2000.0;
        all += asks[i].weight;
    }
    return sum / all;
}

static void write_pod(struct kb_rand *rand, uint32_t i, double at_s, double run_s,
                      struct kb_buf *out)
{
    static const char *const specs[] = {"", "", "", "", "", "", "V100|A100", "T4", "A10|A100"};
    const struct ask *a = any_ask(rand);
    uint32_t cpu = 250 * between(rand, a->low_cpu, a->high_cpu);
    uint32_t milli = a->gpus == 0 ? 0 : between(rand, a->low_milli / 10, a->high_milli / 10) * 10;
    const char *spec = a->gpus > 0 ? specs[kb_rand_below(rand, KB_COUNT(specs))] : "";
    kb_buf_printf(out, "pod-%05u,%u,%u,%u,%u,%s,%.0f,%.0f,\n", i, cpu, cpu * 4 * 1024 / 1000,
                  a->gpus, milli, a->gpus <= 4 || *spec != 'T' ? spec : "", at_s, at_s + run_s);
}

void kb_sim_generate(uint64_t seed, uint32_t nodes, uint32_t pods, struct kb_buf *ret_nodes,
                     struct kb_buf *ret_pods)
{
    enum { MEAN_RUN_S = 4 * 3600 };
    struct kb_rand rand;
    double gpus = 0, at = 0;
    kb_rand_init(&rand, seed);
    kb_buf_puts(ret_nodes, "sn,cpu_milli,memory_mib,gpu,model\n");
    for (uint32_t i = 0; i < nodes; i++) {
        const struct shape *s = any_shape(&rand);
        kb_buf_printf(ret_nodes, "node-%04u,%u,%u,%u,%s\n", i, s->cpu * 1000, s->memory_gib * 1024,
                      s->gpus, s->model);
        gpus += s->gpus;
    }
    double pause = mean_gpus() * MEAN_RUN_S / (0.9 * (gpus > 0 ? gpus : nodes));
    kb_buf_puts(ret_pods, "name,cpu_milli,memory_mib,num_gpu,gpu_milli,gpu_spec,creation_time,"
                          "deletion_time,scheduled_time\n");
    for (uint32_t i = 0; i < pods; i++) {
        at += exponential(&rand, pause);
        write_pod(&rand, i, at, 60 + exponential(&rand, MEAN_RUN_S - 60), ret_pods);
    }
}
