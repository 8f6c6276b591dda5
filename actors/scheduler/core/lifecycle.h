/* A pod on its way from a decision to its node: reserve, permit, pre-bind, bind, post-bind.
 *
 *   placed --reserve--> RESERVED --permit--> (WAITING) --pre_bind--> (PREPARING) --bind--> BINDING
 *                          |                     |                        |                   |
 *                          +----- undo ----------+--------- undo ---------+---- undo          end
 *
 * A pod whose profile has no policy with any of these points has no struct kb_cycle at all, and
 * pays one comparison. Time is a parameter; whoever waited and may go on, or may not, is asked for
 * with kb_cycle_next, so that no call into a policy leads to another one.
 *
 * Groups are counted here as well: how many pods of a gang are known, and how many have a place. */
#ifndef KUBUS_SCHEDULER_LIFECYCLE_H
#define KUBUS_SCHEDULER_LIFECYCLE_H

#include "actors/scheduler/core/pending.h"

enum {
    KB_CYCLE_PERMIT_MAX_MS = 15 * 60 * 1000,
    KB_CYCLE_PREPARE_MAX_MS = 10 * 60 * 1000,
    KB_CYCLE_PREPARE_AGAIN_MS = 1000,
    KB_CYCLE_OTHERS_MS = 60 * 1000,
};

/* Who refused a pod, in words, and what could help. */
struct kb_refusal {
    uint32_t policy, events;
    struct kb_buf text;
};

/* The pod of `w` is placed on `slot`: reserve, then permit.
 *   OK             on to kb_cycle_prepare with w->cycle, NULL when there is nothing to do for it
 *   WAIT           kb_cycle_next will say when
 *   UNSCHEDULABLE  w->cycle is NULL; kb_cycle_refusal says why
 * `owner` is given back by kb_cycle_owner. `w` must stay until the cycle ends. */
enum kb_policy_status kb_cycle_begin(struct kb_core *core, struct kb_waiting *w, uint32_t slot,
                                     kb_ms now, void *owner);
/* pre_bind. OK: on to bind. WAIT: kb_cycle_next. UNSCHEDULABLE: it was undone. NULL is OK. */
enum kb_policy_status kb_cycle_prepare(struct kb_core *core, struct kb_cycle **c_p, kb_ms now);
/* bind: true when a policy has somebody else bind it; kb_cycle_next refuses it when that takes too
 * long. */
bool kb_cycle_bind(struct kb_core *core, struct kb_cycle *c, kb_ms now);
/* What policies want annotated, a map of texts; absent when nothing. Valid until the cycle ends. */
kb_val kb_cycle_annotations(struct kb_cycle *c);
/* It is bound: post_bind. It came to nothing: unreserve. Both end the cycle; NULL is fine. */
void kb_cycle_end(struct kb_core *core, struct kb_cycle **c_p);
void kb_cycle_undo(struct kb_core *core, struct kb_cycle **c_p);

/* A pod that waited and need not any more. *ret: OK (go on with kb_cycle_prepare), or UNSCHEDULABLE
 * (kb_cycle_refusal; the caller undoes it). NULL: none at this time. */
struct kb_cycle *kb_cycle_next(struct kb_core *core, kb_ms now, enum kb_policy_status *ret);
void *kb_cycle_owner(const struct kb_cycle *c);
/* Refuse a pod that waits, in nobody's name. False: it does not wait. */
bool kb_cycle_reject(struct kb_core *core, struct kb_cycle *c, const char *why);
/* Something happened: who waits in pre_bind is asked again. */
void kb_cycle_stir(struct kb_core *core);
/* Until kb_cycle_next may have something by time alone: 0 now, -1 never. */
kb_ms kb_cycle_wait_ms(const struct kb_core *core, kb_ms now);
const struct kb_refusal *kb_cycle_refusal(const struct kb_core *core);
size_t kb_cycle_waiting(const struct kb_core *core);

/* What a profile's policy says is the pod's group; 0: none. */
uint32_t kb_group_of(struct kb_core *core, uint32_t profile, const struct kb_waiting *w);
/* A pod of w->q.group is known, whether it waits or not / no longer. 0 is ignored. The time of a
 * group's first pod, w->q.queued_ms, is the group's. */
void kb_group_join(struct kb_core *core, struct kb_waiting *w);
void kb_group_leave(struct kb_core *core, struct kb_waiting *w);
/* The pods of a group, by their group_link; NULL: there is no such group. */
const struct kb_link *kb_group_members(const struct kb_core *core, uint32_t group);
/* One of its pods was placed, or (-1) no longer. */
void kb_group_placed(struct kb_core *core, uint32_t group, int by);
/* A group that a policy sent back and that was not asked for yet: its pods in the queue are to go
 * through the back-off. False: none. */
bool kb_group_sent_back(struct kb_core *core, uint32_t *ret_group);
const struct kb_policy_group *kb_group_get(const struct kb_core *core, uint32_t group);

/* For core.c. */
struct kb_lifecycle *kb__lifecycle_new(void);
void kb__lifecycle_destroy(struct kb_lifecycle **l_p);
extern const struct kb_policy_lifecycle kb__lifecycle_host;

#endif
