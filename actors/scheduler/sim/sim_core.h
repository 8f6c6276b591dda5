/* A simulation: the scheduler (scheduler_core.h, the very same as live) under a trace, in virtual
 * time. What the scheduler wishes happens at once and always succeeds; nothing else differs.
 *
 * Without `tune`, pods come and go as the trace says. With it, this is the arrival experiment of
 * Weng et al. (ATC 2023): the pods are shuffled, pods drawn from the trace are added behind them
 * (or some left out) until all that is asked for is `tune` times what the cluster has; then they
 * come one by one and stay, and one that finds no place is dropped. As there, nodes come in an
 * order drawn by the seed, and of the best nodes the first in this order is taken (unless the
 * policy is Random): without that, policies with many ties would scatter small pods, and come out a
 * few percent worse.
 *
 * Pure: no I/O and no clock; the same input gives the same output. */
#ifndef KUBUS_SCHEDULER_SIM_CORE_H
#define KUBUS_SCHEDULER_SIM_CORE_H

#include "actors/scheduler/core/profile.h"
#include "actors/scheduler/sim/trace.h"

/* Of several best nodes: one at random, or the first in an order drawn by the seed. By default as
 * the experiment is: even without `tune`, first with it. */
enum kb_sim_ties { KB_SIM_TIES_DEFAULT, KB_SIM_TIES_EVEN, KB_SIM_TIES_FIRST };

struct kb_sim_config {
    const char *profile; /* its name: pods of other schedulers are left alone */
    const struct kb_profile_entry *entries;
    size_t entries_n;
    kb_ms backoff_ms, backoff_max_ms; /* of the queue; 0: Kubernetes' */
    uint64_t seed;
    double tune; /* 0: the trace as it is */
    enum kb_sim_ties ties;
    bool drop;            /* a pod that finds no place at once is dropped, also without `tune` */
    double fails_per_day; /* of each node, on average */
    double repair_s;      /* how long a node that failed so is away */
    double popularity;    /* percent of the pods that are typical, for fragmentation; 0: 95 */
};

enum kb_sim_fate {
    KB_SIM_WAITING,
    KB_SIM_BOUND, /* also of one that has run its time */
    KB_SIM_DROPPED,
    KB_SIM_DELETED,
    KB_SIM_LOST,      /* its node failed, and it came again */
    KB_SIM_PREEMPTED, /* it had to make room, and came again */
};

/* What became of a pod: one for each time that it came. */
struct kb_sim_decision {
    const char *key; /* of the simulation */
    const char *node;
    const char *why; /* no node took it, when last tried; NULL when one did */
    enum kb_sim_fate fate;
    uint32_t gpus;                         /* set */
    kb_ms arrived_ms, decided_ms, left_ms; /* left: -1 when it stayed */
    int64_t cpu, memory, gpu_milli;        /* what it asks for: milli, bytes, in sum */
};

/* The state at the end of a moment in which something happened: moments rise. */
struct kb_sim_point {
    kb_ms at_ms;
    uint32_t arrived, running, waiting, dropped;
    int64_t arrived_gpu;      /* milli, of all that came */
    int64_t cpu, memory, gpu; /* in use: milli, bytes, milli */
    double frag;              /* milli-GPU that are fragments */
    double wait_s;            /* mean of those bound so far */
};

struct kb_sim_total {
    int64_t cpu, memory, gpu; /* of the cluster at the start */
    uint32_t nodes, pods;
};

struct kb_sim;

/* Set up. The trace must outlive it. -KB_EINVAL: the profile does not fit. */
int kb_sim_new(const struct kb_sim_config *config, const struct kb_trace *trace,
               struct kb_sim **ret_sim, struct kb_err *err);
void kb_sim_destroy(struct kb_sim **sim_p);
/* Go on for at most `steps` moments of virtual time; false: it is over. */
bool kb_sim_run(struct kb_sim *sim, size_t steps);
/* Not NULL: a policy returned what it must not, and was held: the run says nothing about it. */
const char *kb_sim_trouble(const struct kb_sim *sim);
/* Share of the run that is done, 0 to 1. */
double kb_sim_progress(const struct kb_sim *sim);

/* Valid until the next call of run. */
const struct kb_sim_decision *kb_sim_decisions(const struct kb_sim *sim, size_t *ret_n);
const struct kb_sim_point *kb_sim_points(const struct kb_sim *sim, size_t *ret_n);
struct kb_sim_total kb_sim_total(const struct kb_sim *sim);

#endif
