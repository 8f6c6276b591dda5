/* DATA/cluster.json: which actors a cluster has, and how they are started. Written by `kubus up`.
 */
#ifndef KUBUS_KERNEL_PLAN_H
#define KUBUS_KERNEL_PLAN_H

#include "bus/model/doc.h"

struct kb_plan_actor {
    char *name;
    char **argv; /* "kubus", what the plan says, "--data", DIR, NULL */
};

struct kb_plan {
    struct kb_plan_actor *actors;
    size_t n;
    char *cluster_id;
};

/* Read it. -KB_ENOTFOUND; -KB_EINVAL: not a plan. Finish in any case. */
int kb_plan_load(const char *data_dir, struct kb_plan *ret_plan, struct kb_err *err);
/* The same of its text. */
int kb_plan_parse(kb_str text, const char *data_dir, struct kb_plan *ret_plan, struct kb_err *err);
void kb_plan_finish(struct kb_plan *plan);
const struct kb_plan_actor *kb_plan_find(const struct kb_plan *plan, const char *name);
/* Does this process run with just these arguments? */
bool kb_plan_fits(const struct kb_plan_actor *actor, int pid);

#endif
