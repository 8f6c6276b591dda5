/* The command line of `kubus sim`, shared by its commands. */
#ifndef KUBUS_SCHEDULER_SIM_OPTIONS_H
#define KUBUS_SCHEDULER_SIM_OPTIONS_H

#include "actors/scheduler/sim/sim_core.h"

enum { KB_SIM_LIST = 64, KB_SIM_SEEDS = 10000 };

struct kb_sim_list {
    const char *at[KB_SIM_LIST]; /* point into argv */
    size_t n;
};

struct kb_sim_options {
    struct kb_sim_list nodes, pods, policies, fails;
    const char *profile, *out;
    uint64_t seed_from, seed_to;
    double tune, fails_per_day, repair_s, popularity;
    enum kb_sim_ties ties;
    bool drop, help;
    int64_t jobs;                   /* 0: as many as there are cores */
    uint32_t node_count, pod_count; /* of generate */
    struct kb_sim_list rest;
};

/* Parse argv[1..] over what stands in *o. -KB_EINVAL with a text for the user. */
int kb_sim_options(int argc, char **argv, struct kb_sim_options *o, struct kb_err *err);
/* The command line as a text, for the page. Caller frees. */
char *kb_sim_command(int argc, char **argv);

/* The commands. They print what they did, or an error; exit codes. */
int kb_sim_compare(const struct kb_sim_options *o, const char *command); /* run and sweep */

#endif
