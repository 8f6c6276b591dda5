/* Which pods come, counted by what they ask for: what policies see as struct kb_policy_workload.
 *
 * Either it is told in advance (a simulation knows its trace), or learned from the pods that are
 * seen: then what policies see is renewed each time the number of pods has doubled, since each
 * renewal makes every score be computed again. */
#ifndef KUBUS_SCHEDULER_WORKLOAD_H
#define KUBUS_SCHEDULER_WORKLOAD_H

#include "bus/base/arena.h"
#include "bus/base/buf.h"
#include "bus/base/map.h"
#include "plugins/policy.h"

/* Zero-initialized is empty and valid. */
struct kb_workload {
    struct kb_policy_workload view;
    struct kb_map by_demand; /* bytes of the demand → struct kb_policy_demand, in the arena */
    struct kb_arena arena;
    struct kb_buf scratch;
    uint64_t pods, published;
    bool told, wanted; /* told in advance; a policy asked */
};

void kb_workload_finish(struct kb_workload *w);
void kb_workload_add(struct kb_workload *w, const struct kb_policy_pod *pod, uint64_t pods);
/* Show policies what has been counted. Demands are ordered by what they are, not by when they came.
 */
void kb_workload_publish(struct kb_workload *w);
/* A pod was seen. True when it is time to publish. Does nothing before a policy asks. */
bool kb_workload_learn(struct kb_workload *w, const struct kb_policy_pod *pod);

#endif
