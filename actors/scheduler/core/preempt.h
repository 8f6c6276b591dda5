/* Room that is promised: nominated pods, and the post-filter that makes it.
 *
 * A pod for which others were evicted is nominated to their node until it is placed. Until then its
 * room there is denied to pods of lower priority: a decision for such a pod asks the policies about
 * the node once more, with the nominated pods on it. With nobody nominated, a decision costs one
 * comparison more.
 *
 * Dry runs happen in the columns themselves (kb_columns_pretend): pods are taken off and put on,
 * policies look at one slot, and everything is put back before anybody else looks. */
#ifndef KUBUS_SCHEDULER_PREEMPT_H
#define KUBUS_SCHEDULER_PREEMPT_H

#include "actors/scheduler/core/budgets.h"

/* Embed in the owner, zero-initialized. */
struct kb_nomination {
    struct kb_link link, node_link; /* among all, and among those of its slot */
    struct kb_core_pod ghost; /* stands on the node in dry runs; its spec and slot are the room */
    uint64_t id;              /* of the pod */
    void *owner;              /* the owner's to set */
    bool on;
};

/* Promise room on a slot, in place of what was promised before. */
void kb_core_nominate(struct kb_core *core, struct kb_nomination *n, struct kb_podspec *spec,
                      uint32_t slot, const struct kb_policy_queued *who);
void kb_core_denominate(struct kb_core *core, struct kb_nomination *n);
/* The next nomination to a slot after `after` (NULL: the first). */
struct kb_nomination *kb_core_nominated(const struct kb_core *core, uint32_t slot,
                                        const struct kb_nomination *after);
/* Rises when anything changes that post_filter depends on and the columns do not. */
uint64_t kb_core_promises(const struct kb_core *core);
void kb_core_promises_changed(struct kb_core *core);

/* A PodDisruptionBudget as it is now; KB_NONE: gone. */
void kb_core_budget_put(struct kb_core *core, kb_str ns, kb_str name, kb_val budget);

/* As kb_core_decide, with regard to what is promised to others; the node that the pod itself is
 * nominated to (`own`, may be NULL) comes first, then `suggested` (UINT32_MAX: none). What follows
 * (kb_core_diagnose, kb_core_post_filter) sees the same, until kb_core_decided. */
bool kb_core_decide_for(struct kb_core *core, struct kb_podspec *spec,
                        const struct kb_policy_queued *who, const struct kb_nomination *own,
                        uint32_t suggested, uint32_t *ret_slot);
void kb_core_decided(struct kb_core *core, struct kb_podspec *spec);
/* Is any node overruled in the decision under way? Then what it said holds for this pod alone. */
bool kb_core_overruled(const struct kb_core *core);

/* Could post_filter find room for such a pod of this priority? Not without a node that has pods of
 * lower priority and did not refuse it for good. O(nodes). */
bool kb_core_may_preempt(struct kb_core *core, struct kb_podspec *spec, int32_t priority);

/* What the policies' post_filter came to. Zero-initialized is empty. */
struct kb_preemption {
    bool found;    /* nominate to `slot`, evict the victims */
    bool gives_up; /* the nomination that there was is void */
    uint32_t slot;
    struct kb_core_pod **victims;
    size_t victims_n, victims_cap;
    struct kb_buf text; /* "preemption: …", or empty */
};
void kb_preemption_finish(struct kb_preemption *p);
/* Ask them. Replaces what is in *p. */
void kb_core_post_filter(struct kb_core *core, struct kb_podspec *spec,
                         const struct kb_policy_queued *who, const struct kb_nomination *own,
                         struct kb_preemption *p);

/* For core.c. */
struct kb_promises;
struct kb_promises *kb__promises_new(void);
void kb__promises_destroy(struct kb_promises **p_p);

#endif
