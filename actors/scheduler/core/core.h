/* The scheduling core: nodes in columns, kinds of pods, plans; from events to decisions.
 *
 * No clock, no threads, no I/O, no globals: the live scheduler drives it from the bus, a simulator
 * from a trace, a test from a table; equal calls with an equal seed give equal decisions.
 *
 *     spec = kb_core_spec(core, pod_object, profile, true);
 *     if (kb_core_decide(core, spec, &slot))
 *         kb_core_place(core, &pod, spec, slot, priority);     assumed from now on
 *     …
 *     kb_core_lift(core, &pod);                                it did not come to that, or it left
 *
 * It decides on what it was told; between two events nothing changes under a decision. */
#ifndef KUBUS_SCHEDULER_CORE_H
#define KUBUS_SCHEDULER_CORE_H

#include "actors/scheduler/core/plan.h"

enum { KB_CORE_PROFILES = 16 };

struct kb_core;
struct kb_lifecycle;
struct kb_promises;

/* A pod that is counted on a node; embed it in the owner, zero-initialized. */
struct kb_core_pod {
    struct kb_link node_link;
    struct kb_policy_placed view; /* the owner sets id, group, started_us and leaving */
    const char *key;              /* "pods/NS/NAME", the owner's; NULL: not told */
    struct kb_podspec *spec;      /* while placed: one reference */
    uint32_t slot;
    uint32_t gpus; /* the set that it has on its node; set before placing, 0: not known, or none */
    int32_t priority;
    bool placed;
};

struct kb_core *kb_sched_core_new(uint64_t seed);
void kb_sched_core_destroy(
    struct kb_core **core_p); /* all pods lifted, all specs released before */

/* Add a profile; ret is its index, in the order of adding. -KB_EINVAL, -KB_EFULL. */
int kb_core_add_profile(struct kb_core *core, const char *name,
                        const struct kb_profile_entry *entries, size_t n, uint32_t *ret_profile,
                        struct kb_err *err);
/* All profiles anew, in two steps, so that a driver can bring its queue into order in between, and
 * nothing changes when a policy refuses its arguments. Stage: make them, beside those at work;
 * -KB_EINVAL, -KB_EFULL. Commit: drop all plans, and put them to work; a profile keeps its index
 * when its name stays. The index of one whose name is gone means a profile without policies, for
 * pods that are placed. Afterwards nothing refers to the old descriptors. */
struct kb_core_profile {
    const char *name;
    const struct kb_profile_entry *entries;
    size_t n;
};
struct kb_core_stage;
int kb_core_stage(struct kb_core *core, const struct kb_core_profile *profiles, size_t n,
                  struct kb_core_stage **ret_stage, struct kb_err *err);
void kb_core_stage_destroy(struct kb_core_stage **stage_p); /* not committed */
void kb_core_commit(struct kb_core *core, struct kb_core_stage **stage_p);

/* Where the guard writes (core/guard.h): borrowed; what it says so far is copied. NULL: memory of
 * the core's own, as from the start. */
void kb_core_guard(struct kb_core *core, struct kb_guard_page *page);
/* The guard, for who calls policies outside of plans. */
struct kb_guard *kb__core_guard(struct kb_core *core);
/* A policy that was held because of nonsense, and was not told yet; texts are valid until the next
 * commit. In all profiles that use it. */
struct kb_core_held {
    const char *policy, *version, *why; /* version NULL: built in */
};
bool kb_core_next_held(struct kb_core *core, struct kb_core_held *ret);

/* The index of a profile by spec.schedulerName; UINT32_MAX: not one of ours. */
uint32_t kb_core_profile(const struct kb_core *core, kb_str name);
/* How many indices there are; some may be of profiles that are gone. */
uint32_t kb_core_profiles(const struct kb_core *core);
/* In the order of the profile, or of any when there is no such profile. */
bool kb_core_before(const struct kb_core *core, uint32_t profile, const struct kb_policy_queued *a,
                    const struct kb_policy_queued *b);
/* What the policy that orders the queue says is the pod's class; 0 without one. */
uint32_t kb_core_queue_class(const struct kb_core *core, const struct kb_policy_queued *pod);
bool kb_core_may_enter(const struct kb_core *core, uint32_t profile,
                       const struct kb_policy_queued *pod);

/* A node came or changed / went. Returns the set of KB_POLICY_ON_… that happened. */
uint32_t kb_core_node_put(struct kb_core *core, kb_str name, kb_val node);
bool kb_core_node_del(struct kb_core *core, kb_str name);
uint32_t kb_core_nodes(const struct kb_core *core);
const char *kb_core_node_name(const struct kb_core *core, uint32_t slot);

/* Another object that placement depends on came or changed, or is gone (KB_NONE): of "namespaces",
 * "services", "replicasets.apps", "statefulsets.apps" or "replicationcontrollers", and those of
 * kb_volumes_put. True when that may matter. */
bool kb_core_object_put(struct kb_core *core, kb_str resource, kb_str ns, kb_str name,
                        kb_val object);

/* What identical pods share; one more reference. See kb_podspec_get. */
struct kb_podspec *kb_core_spec(struct kb_core *core, kb_val pod, uint32_t profile,
                                bool wants_node);
void kb_core_spec_release(struct kb_core *core, struct kb_podspec **spec_p);

/* The slot of a node for a pod that says it is there, whether the node is known or not. */
uint32_t kb_core_slot(struct kb_core *core, kb_str node_name);
/* Count a pod on a slot / no longer. Lifting one that is not placed is fine. */
void kb_core_place(struct kb_core *core, struct kb_core_pod *pod, struct kb_podspec *spec,
                   uint32_t slot, int32_t priority);
void kb_core_lift(struct kb_core *core, struct kb_core_pod *pod);

/* The best node for such a pod; false: none fits. Does not place. */
bool kb_core_decide(struct kb_core *core, struct kb_podspec *spec, uint32_t *ret_slot);
/* The GPUs of the node that the pod shall have, by the policies or by default; 0: none, or the node
 * does not have them. To be put into kb_core_pod before placing. */
uint32_t kb_core_assign(struct kb_core *core, struct kb_podspec *spec, uint32_t slot);
/* Would any node take it? As decide, without choosing. */
bool kb_core_fits_any(struct kb_core *core, struct kb_podspec *spec);

/* Why no node takes it, in the words of Kubernetes: "0/3 nodes are available: 1 Insufficient cpu,
 * ….". Returns the set of KB_POLICY_ON_… that could change that. */
uint32_t kb_core_diagnose(struct kb_core *core, struct kb_podspec *spec, struct kb_buf *ret_text);
/* Has any policy at work a finer hint than its set of events? And of these events (on the node of a
 * slot; UINT32_MAX: unknown) those that may help such a pod, by what the policies that refused it
 * when it was last diagnosed say. */
bool kb_core_hints(const struct kb_core *core);
uint32_t kb_core_helpful(struct kb_core *core, const struct kb_podspec *spec, uint32_t events,
                         uint32_t slot);
/* Every node with the policy that rules it out and its reasons, or its total and each policy's
 * share: a map {generation, nodes: [{name, refusedBy, reasons: […]} | {name, total, scores: {…}}]}.
 */
void kb_core_explain(struct kb_core *core, struct kb_podspec *spec, struct kb_w *w);

/* What pods come: told in advance, `pods` of each kind and then once published; or learned from
 * each pod that is seen. See struct kb_policy_workload. */
void kb_core_workload_tell(struct kb_core *core, const struct kb_podspec *spec, uint64_t pods);
void kb_core_workload_publish(struct kb_core *core);
const struct kb_policy_workload *kb_core_workload(const struct kb_core *core);
void kb_core_workload_learn(struct kb_core *core, const struct kb_podspec *spec);

/* Questions to services outside, and their answers: see core/outside.h. While kb_core_waits, that
 * decide found no node means nothing. `used`: a decision was made. */
struct kb_outsides;
struct kb_outsides *kb_core_outsides(struct kb_core *core);
bool kb_core_waits(const struct kb_podspec *spec);
void kb_core_used(struct kb_podspec *spec);

/* For tests and the simulator: the columns as they are, and the generation. */
struct kb_columns *kb_core_columns(struct kb_core *core);
/* Take the first of the best nodes, in the order in which they were told, instead of one at random.
 * Packs what nobody has an opinion on, where a scheduler should spread it: for experiments of the
 * literature that do so. */
void kb_core_ties_first(struct kb_core *core, bool first);
/* Bytes of plans to keep before the least recently used are dropped; 256 MiB by default. */
void kb_core_plan_budget(struct kb_core *core, size_t bytes);

/* For the other files of the core. */
struct kb_plan *kb__core_plan(struct kb_core *core, struct kb_podspec *spec);
/* As it is, however old. */
struct kb_plan *kb__core_plan_kept(struct kb_core *core, struct kb_podspec *spec);
struct kb_lifecycle *kb__core_life(const struct kb_core *core);
struct kb_promises *kb__core_promises(const struct kb_core *core);
struct kb_rand *kb__core_rand(struct kb_core *core);
uint32_t kb__core_profiles(const struct kb_core *core);
const struct kb_policy_host *kb__core_host(const struct kb_core *core);
uint32_t kb__core_intern(struct kb_core *core, kb_str text);
const struct kb_profile *kb__core_profile(const struct kb_core *core, uint32_t profile);

#endif
