/* PodDisruptionBudgets, as far as preemption goes by them: which pods they protect, and how many of
 * those may go at this time (status.disruptionsAllowed, which a controller keeps). */
#ifndef KUBUS_SCHEDULER_BUDGETS_H
#define KUBUS_SCHEDULER_BUDGETS_H

#include "actors/scheduler/core/core.h"

/* Zero-initialized is empty and valid. */
struct kb_budgets {
    struct kb_map all; /* "NS/NAME" → struct kb_budget */
};

void kb_budgets_finish(struct kb_budgets *b);
/* A budget as it is now; KB_NONE: gone. */
void kb_budgets_put(struct kb_budgets *b, struct kb_intern *intern, kb_str ns, kb_str name,
                    kb_val budget);
/* Were these pods evicted one after the other, which of them would violate a budget? As Kubernetes
 * counts: an empty selector protects nobody, nor is a pod without labels protected, nor one whose
 * eviction was admitted already. O(budgets · pods). */
void kb_budgets_violations(const struct kb_budgets *b, const struct kb_policy_placed *const *pods,
                           uint32_t n, bool *ret_violates);

#endif
