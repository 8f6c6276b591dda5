/* kubusd's shell: carries out what the core wishes, tells it what happens, serves kernel.*. */
#ifndef KUBUS_KERNEL_ACTOR_H
#define KUBUS_KERNEL_ACTOR_H

#include "actors/kernel/plan.h"

/* Run the cluster of `data_dir` (absolute) until it is stopped. `beats`: a descriptor that gets a
 * byte every two seconds, or -1. 0; -KB_EEXISTS: it runs already. */
int kb_kernel_run(const char *data_dir, const struct kb_plan *plan, int beats, struct kb_err *err);

#endif
