/* What a run came to, as numbers that can be compared, averaged and drawn. Plain data of a fixed
 * size, so that a child process can hand it to its parent through a pipe. */
#ifndef KUBUS_SCHEDULER_SIM_RESULT_H
#define KUBUS_SCHEDULER_SIM_RESULT_H

#include "actors/scheduler/sim/sim_core.h"

/* The metrics: a member, what it is called in CSV and JSON, its title, its unit. Percentages are of
 * what the cluster has. */
#define KB_SIM_METRIC_MAP(X)                                                                       \
    X(gpu, "gpu_pct", "GPU allocated", "%")                                                        \
    X(cpu, "cpu_pct", "CPU allocated", "%")                                                        \
    X(memory, "memory_pct", "Memory allocated", "%")                                               \
    X(frag, "frag_pct", "GPU that is a fragment, of all GPU", "%")                                 \
    X(frag_free, "frag_of_free_pct", "GPU that is a fragment, of free GPU", "%")                   \
    X(waiting, "waiting", "Pods in the queue", "")                                                 \
    X(dropped, "dropped", "Pods dropped", "")                                                      \
    X(wait, "wait_s", "Mean waiting time", "s")

enum { KB_SIM_GRID = 201, KB_SIM_LABEL_BYTES = 64 };

struct kb_sim_values {
#define X(member, key, title, unit) double member;
    KB_SIM_METRIC_MAP(X)
#undef X
};

struct kb_sim_result {
    char policy[KB_SIM_LABEL_BYTES], workload[KB_SIM_LABEL_BYTES];
    uint64_t seed;
    bool by_arrivals; /* x is arrived GPU in percent of the cluster's; else hours */
    uint32_t nodes, pods, bound, dropped, unplaced; /* unplaced: waiting at the end */
    double gpus;                                    /* of the cluster */
    double wait_p99_s, peak_waiting;
    double seconds; /* that the run took, of real time */
    double x_end;
    struct kb_sim_values value; /* at the end when by_arrivals, else the mean over time until the
                                   last pod came */
    struct kb_sim_values curve[KB_SIM_GRID]; /* at x_end * i / (KB_SIM_GRID - 1) */
};

/* Of a run that is over. x_end: 0 for the end of the run itself. O(points + decisions · log). */
void kb_sim_result_of(const struct kb_sim *sim, const struct kb_sim_config *config, double x_end,
                      struct kb_sim_result *ret);
struct kb_sim_values kb_sim_values_of(const struct kb_sim_point *point,
                                      const struct kb_sim_total *total);

/* Mean and standard deviation (of a sample; 0 for one value). */
struct kb_sim_mean {
    double mean, stdev;
    size_t n;
};
struct kb_sim_mean kb_sim_mean(const double *values, size_t n);

#endif
