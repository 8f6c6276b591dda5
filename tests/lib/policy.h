/* A bench for trying a scheduling policy: nodes, pods on them, and a question, all as small JSON
 * texts, in which ' stands for ".
 *
 *     struct kb_ptest *t = kb_ptest_new(&(struct kb_profile_entry){.policy = &kubus_policy_Mine},
 * 1); kb_ptest_node(t, "n1", "{'status': {'allocatable': {'cpu': '4', 'pods': '110'}}}");
 *     kb_ptest_pod(t, "n1", "{'spec': …}");                      a pod that is there already
 *     KB_CHECK_STR(kb_ptest_why(t, "n1", POD), "");                it fits
 *     KB_CHECK_I64(kb_ptest_score(t, "Mine", "n1", POD), ==, 70);
 *     KB_CHECK_STR(kb_ptest_place(t, POD), "n1");
 *     kb_ptest_destroy(&t);
 *
 * SchedulingGates and PrioritySort are added when the entries order no queue, DefaultPreemption
 * when none of them makes room. */
#ifndef KUBUS_TESTS_LIB_POLICY_H
#define KUBUS_TESTS_LIB_POLICY_H

#include "actors/scheduler/core/core.h"

struct kb_ptest;

struct kb_ptest *kb_ptest_new(const struct kb_profile_entry *entries, size_t n);
void kb_ptest_destroy(struct kb_ptest **t_p);
/* Add a node, or change it. */
void kb_ptest_node(struct kb_ptest *t, const char *name, const char *json);
void kb_ptest_node_gone(struct kb_ptest *t, const char *name);
void kb_ptest_pod(struct kb_ptest *t, const char *node, const char *json);
/* Another object that placement depends on; NULL for `json`: it is gone. See kb_core_object_put. */
void kb_ptest_object(struct kb_ptest *t, const char *resource, const char *ns, const char *name,
                     const char *json);

/* Why the node does not take the pod: its reasons, joined by "; ". "" when it does. Valid until the
 * next call. */
const char *kb_ptest_why(struct kb_ptest *t, const char *node, const char *pod);
/* The weighted score that a policy gives; INT64_MIN when it gives none or the node does not fit. */
int64_t kb_ptest_score(struct kb_ptest *t, const char *policy, const char *node, const char *pod);
/* Place the pod: the node's name, or the message of an unschedulable pod. Valid until the next
 * call. */
const char *kb_ptest_place(struct kb_ptest *t, const char *pod);
struct kb_core *kb_ptest_core(struct kb_ptest *t);
/* A document from JSON with ' for ". Aborts on a mistake in it. */
struct kb_doc *kb_ptest_json(const char *json);

#endif
