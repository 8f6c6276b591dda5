/* Inside of a plan: for plan.c and plan_try.c. */
#ifndef KUBUS_SCHEDULER_PLAN_IMPL_H
#define KUBUS_SCHEDULER_PLAN_IMPL_H

#include "actors/scheduler/core/plan.h"

enum { BLOCK = 64 }; /* slots under one leaf of the tree */

/* Highest total below, and how many have it. */
struct best {
    int32_t total;
    uint32_t ties;
};

typedef void filter_fn(struct kb_policy_cycle *cycle, uint32_t from, uint32_t to,
                       uint32_t *verdict);

/* The narrow or the filter of a policy. Its place in the list is its rank: what narrows comes
 * first, then in the order of the profile. A verdict in here has 1 + rank on top, so that the
 * first objection is the smallest number. */
struct filter {
    uint32_t policy;
    filter_fn *fn;
    bool global, active;
    bool spoke;       /* its column is part of the verdicts */
    uint32_t *column; /* [slot] of a global one: its verdicts */
};

/* A policy that scores, with what normalization needs. */
struct scorer {
    uint32_t policy, normalize_by;
    int64_t weight;
    bool global, active;
    bool moved;       /* all its shares are to be made again */
    int64_t *raw;     /* [slot]; NULL: its scores go into `base` */
    int32_t *share;   /* [slot] normalized and weighted */
    int64_t min, max; /* over nodes that fit; max is 0 at least */
    uint32_t ties;    /* how many have the maximum; followed for BY_MAX and REVERSE */
};

struct kb_plan {
    const struct kb_profile *profile;
    struct kb_podspec *spec;
    struct kb_columns *columns;
    const struct kb_policy_host *host;
    uint64_t generation; /* up to date with */
    uint32_t cap;        /* slots that the arrays hold */
    uint32_t count;      /* slots evaluated */
    bool prepared, evaluated;
    bool doubted;      /* global policies were asked about a cluster that is not */
    bool fits_changed; /* of any node, in this update */
    uint32_t filters_n, scorers_n, globals_n;
    struct filter filters[2 * KB_PROFILE_POLICIES];
    struct scorer scorers[KB_PROFILE_POLICIES];
    struct kb_policy_cycle cycles[KB_PROFILE_POLICIES];
    bool refused[KB_PROFILE_POLICIES]; /* by its pre_filter */
    bool stale[KB_PROFILE_POLICIES];   /* of a global one: to be asked anew in this update */
    uint32_t *local;                   /* [slot] verdict of the policies that are not global */
    uint32_t *verdict;                 /* [slot] of all */
    uint8_t *fits;                     /* [slot] */
    int32_t *base;                     /* [slot] weighted sum of the scores that are as they are */
    int32_t *total;                    /* [slot] */
    const struct kb_overruled *overruled; /* verdicts from elsewhere, see kb_plan_overrule */
    uint32_t overruled_n;
    uint32_t leaves;   /* of the tree: a power of two */
    struct best *tree; /* [1] is the root, children of i are 2i and 2i+1 */
};

#endif
