/* A plan: the work of placing one kind of pod, kept and brought up to date.
 *
 * For one kb_podspec it holds each node's verdict (which policy refused it, and why) and total
 * score, and above the totals a tree of maxima. After a placement only the slots that changed since
 * (the log of the columns) are judged again, so a decision for an identical pod costs one
 * evaluation of one node and a walk down the tree, whatever the number of nodes.
 *
 * What makes that exact, and not an approximation:
 *  - a policy without KB_POLICY_GLOBAL promises that a verdict depends on that node alone;
 *  - scores normalized by the maximum over fitting nodes keep their raw column and the maximum with
 *    its number of holders; when the maximum moves, their shares of the totals are made again;
 *  - a GLOBAL policy has a column of verdicts and one of scores to itself. When it says that it is
 *    stale, those are made again for all nodes, and put together with what the others said before:
 *    passes over arrays, about ten nanoseconds a node, and none of the other policies is asked.
 *
 * Rejected: sampling a share of the nodes (Kubernetes' percentageOfNodesToScore) as the way to be
 * fast; it gives up the best node to save work that need not be done again. Sorting nodes by score:
 * ties must be broken evenly, and the tree counts them. Asking GLOBAL policies which slots a
 * placement changed: a domain is as often all nodes as one, and the passes are cheap. */
#ifndef KUBUS_SCHEDULER_PLAN_H
#define KUBUS_SCHEDULER_PLAN_H

#include "actors/scheduler/core/podspec.h"
#include "actors/scheduler/core/profile.h"
#include "bus/base/rand.h"

/* A verdict in a plan: the policy's own in the low bits, 1 + the policy's index on top. */
#define KB_PLAN_ABSENT          0xff000000u /* no node in this slot */
#define KB_PLAN_POLICY(verdict) (((verdict) >> 24) - 1)
#define KB_PLAN_CODE(verdict)   ((verdict)&KB_POLICY_CODE_MAX)

struct kb_plan;

struct kb_plan *kb_plan_new(const struct kb_profile *profile, struct kb_podspec *spec,
                            struct kb_columns *columns, const struct kb_policy_host *host);
void kb_plan_destroy(struct kb_plan **plan_p);
size_t kb_plan_bytes(const struct kb_plan *plan);

/* Bring up to date. O(slots changed since), or O(slots). */
void kb_plan_update(struct kb_plan *plan);
/* Nodes that a pod may not have although all policies agree, because room on them is promised to
 * others: as if these verdicts (from kb_plan_try) were theirs. Replaces the list before; it is
 * borrowed until then. O(nodes), unless both are empty. Up to date plans only. */
struct kb_overruled {
    uint32_t slot, verdict;
};
void kb_plan_overrule(struct kb_plan *plan, const struct kb_overruled *list, uint32_t n);
/* What the policies say of one slot in the columns as they are now, which may be a hypothesis:
 * nothing of the plan changes. 0: it fits. Global policies are prepared anew for it, and once more
 * by the next update. */
uint32_t kb_plan_try(struct kb_plan *plan, uint32_t slot);
/* Such a verdict in the form that KB_PLAN_POLICY and KB_PLAN_CODE take. */
uint32_t kb_plan_verdict_of(const struct kb_plan *plan, uint32_t verdict);

/* The slot of highest score, ties broken evenly by `rand`, or the first of them without it;
 * UINT32_MAX: no node fits. Up to date plans only. O(log slots). */
uint32_t kb_plan_pick(struct kb_plan *plan, struct kb_rand *rand);
bool kb_plan_fits_any(const struct kb_plan *plan);

/* [slot] of the last update; total -1: does not fit. */
uint32_t kb_plan_verdict(const struct kb_plan *plan, uint32_t slot);
int32_t kb_plan_total(const struct kb_plan *plan, uint32_t slot);
/* The policy whose pre_filter said that no node will do, or UINT32_MAX. */
uint32_t kb_plan_refused_by(const struct kb_plan *plan);
/* Weighted, normalized score that a policy gave; false: it gave none. Computed on the side. */
bool kb_plan_score(struct kb_plan *plan, uint32_t policy, uint32_t slot, int64_t *ret);
/* The policy's view of the work, for `reason`, `reserve` and the like. */
struct kb_policy_cycle *kb_plan_cycle(struct kb_plan *plan, uint32_t policy);

#endif
