/* The pods that wait, in four places:
 *
 *               add                    pop
 *     (gated) -------->  ACTIVE  ----------------> being decided
 *                         ^   ^                        |  no node fits
 *                due time |   | something happened     v
 *                       BACKOFF <-------------- UNSCHEDULABLE
 *                               it happened early
 *
 * ACTIVE is in the order of the profile's queue_sort (turns.h). A pod that failed n times is not
 * tried again for min(1 s · 2^(n-1), 10 s); until then it waits in BACKOFF. UNSCHEDULABLE pods stay
 * until an event could help: first by what the refusing policies react to (and their hints, if they
 * have any), and then exactly: the pods of one kind (kb_podspec) move when their plan says that
 * some node takes them now, or has pods that are less important. One question for thousands of
 * identical pods, and no attempts in vain. After five minutes a pod moves in any case.
 *
 * Time is a parameter. */
#ifndef KUBUS_SCHEDULER_PENDING_H
#define KUBUS_SCHEDULER_PENDING_H

#include "actors/scheduler/core/core.h"
#include "bus/base/timers.h"

enum {
    KB_PENDING_BACKOFF_MS = 1000,
    KB_PENDING_BACKOFF_MAX_MS = 10000,
    KB_PENDING_FLUSH_MS = 300000,
};

enum kb_waiting_where { KB_NOWHERE, KB_GATED, KB_ACTIVE, KB_BACKOFF, KB_UNSCHEDULABLE };

struct kb_waiting_group;
struct kb_cycle;

/* Embed in the owner, zero-initialized; set `spec` (a reference of the owner's) and q.priority and
 * q.gates before adding. */
struct kb_waiting {
    struct kb_policy_queued q;
    kb_val object;          /* the pod, for labels and annotations; borrowed */
    struct kb_cycle *cycle; /* while it is on its way to a node; see lifecycle.h */
    struct kb_podspec *spec;
    enum kb_waiting_where where;
    size_t heap_at; /* in its class of the queue */
    struct kb_turns_class *queue_class;
    struct kb_timer timer;
    struct kb_link link;       /* among those of its kind */
    struct kb_link group_link; /* among those of q.group; see lifecycle.h */
    struct kb_waiting_group *group;
    kb_ms failed_ms; /* the last time no node was found */
    kb_ms later_ms;  /* it becomes ACTIVE so much later than it could: another one's to decide */
};

struct kb_pending;

/* The order is that of the core's first profile. Borrows the core. */
struct kb_pending *kb_pending_new(struct kb_core *core);
/* Back-off of a pod's first failure, and the longest; for failures from now on. */
void kb_pending_set_backoff(struct kb_pending *p, kb_ms first_ms, kb_ms most_ms);
void kb_pending_destroy(struct kb_pending **p_p); /* the waiting are their owners' */

/* Enter: ACTIVE, or GATED when a policy says so. For new pods, and after remove. */
void kb_pending_add(struct kb_pending *p, struct kb_waiting *w, kb_ms now);
void kb_pending_remove(struct kb_pending *p, struct kb_waiting *w); /* from wherever it is */
/* No node fits; `events` (KB_POLICY_ON_…) could change that. */
void kb_pending_failed(struct kb_pending *p, struct kb_waiting *w, uint32_t events, kb_ms now);
/* It was decided but did not come to that: again after its back-off, or at once. */
void kb_pending_retry(struct kb_pending *p, struct kb_waiting *w, bool at_once, kb_ms now);

/* A pod came to a group of pods (kb_policy_queued.group): those of it that may not enter the queue
 * are asked about again. */
void kb_pending_group(struct kb_pending *p, uint32_t group, kb_ms now);

/* The pods of a group whose turn would come go through the back-off instead. */
void kb_pending_send_back(struct kb_pending *p, uint32_t group, kb_ms now);

/* Something happened in the cluster: a set of KB_POLICY_ON_…, on the node of a slot; UINT32_MAX:
 * elsewhere, or everywhere. */
void kb_pending_event(struct kb_pending *p, uint32_t events, uint32_t slot);
/* The next to decide, taken out; NULL when none is due, or (wait_ms is 0 then) more unschedulable
 * pods have to be looked at first, of which each call does a few kinds. */
struct kb_waiting *kb_pending_pop(struct kb_pending *p, kb_ms now);
/* Until pop may have something by time alone: 0 now, -1 never. */
kb_ms kb_pending_wait_ms(const struct kb_pending *p, kb_ms now);

struct kb_pending_counts {
    size_t active, backoff, unschedulable, gated;
};
struct kb_pending_counts kb_pending_counts(const struct kb_pending *p);

#endif
