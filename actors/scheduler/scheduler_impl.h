/* Inside of the scheduler's core: what its files share. scheduler_core.c takes in what the store
 * says, scheduler_cycle.c takes pods from the queue to their nodes. */
#ifndef KUBUS_SCHEDULER_SCHEDULER_IMPL_H
#define KUBUS_SCHEDULER_SCHEDULER_IMPL_H

#include "actors/scheduler/core/lifecycle.h"
#include "actors/scheduler/core/preempt.h"
#include "actors/scheduler/scheduler_core.h"

/* HELD: has a place, and waits for a permit, for what pre_bind wants, or for somebody else to bind
 * it. ASSUMED: has a place, and its binding is under way, or was and is not known to have come.
 * FOREIGN: waits for a scheduler that none of our profiles is; one may be configured later. */
enum kb_sched_state { POD_WAITING, POD_HELD, POD_ASSUMED, POD_PLACED, POD_FOREIGN };

struct kb_sched_pod {
    struct kb_core_pod core;
    struct kb_waiting wait; /* its spec is kept until PLACED */
    enum kb_sched_state state;
    char *key;
    char uid[40];
    int64_t rev;
    struct kb_doc *doc; /* as of rev, until PLACED */
    uint64_t attempt;   /* of the binding under way */
    int64_t tried_rev;  /* it depends on this revision */
    bool outdated; /* a conflict showed that we have not seen its newest state: see bind_done */
    struct kb_link parked; /* while a service outside is asked about its kind */
    bool readmit;          /* its profile may be another one by now: see kb__sched_readmit */
    uint64_t told;         /* hash of the last message about it */
    int64_t bound_rev;     /* of our binding, until the view shows it; else 0 */
    kb_ms bound_ms;        /* when it was answered */
    uint32_t nominated;    /* the node's name, interned; 0: none */
    bool nominated_by_us;  /* and not just believed */
    bool evicting;         /* an eviction is under way, or was and the view does not show it yet */
    struct kb_nomination *nomination; /* while it waits and the node is there */
    struct kb_link claim;             /* … and while it is not */
};

struct kb_sched {
    struct kb_core *core;
    struct kb_pending *pending;
    struct kb_map pods;    /* key → struct kb_sched_pod */
    struct kb_link parked; /* pods */
    kb_ms now;
    int64_t wall_us;
    uint32_t share, shares; /* this scheduler's number among so many; 0 and 0: it is alone */
    uint64_t attempt, serial, ids;
    struct kb_sched_counts counts;
    struct kb_link claims; /* of pods nominated to nodes that are not known */
    struct kb_preemption preemption;
    kb_sched_tap_fn *tap;
    void *tap_user;
    /* The last diagnosis: identical pods get it without the work. */
    struct kb_sched_diagnosis {
        struct kb_podspec *spec; /* a reference */
        uint64_t generation, promises;
        int32_t priority;
        bool never_preempts;
        uint32_t events;
        struct kb_buf text;
    } diagnosis;
};

static inline void kb__sched_told(const struct kb_sched *s, const struct kb_sched_input *input)
{
    if (s->tap != NULL)
        s->tap(s->tap_user, input);
}

struct kb_sched_wish *kb__sched_wish(struct kb_sched_out *out, enum kb_sched_wish_kind kind,
                                     const struct kb_sched_pod *pod);
void kb__sched_wish_event(struct kb_sched *s, const struct kb_sched_pod *pod, const char *type,
                          const char *reason, const char *message, struct kb_sched_out *out);
/* It loses its place, if it has one, and all that policies hold for it. */
void kb__sched_lift(struct kb_sched *s, struct kb_sched_pod *pod);
/* That, and it is WAITING again (in no queue yet). */
void kb__sched_take_back(struct kb_sched *s, struct kb_sched_pod *pod);
/* Take a pod that has no node in anew, from its document: into the queue, or among the foreign. */
void kb__sched_readmit(struct kb_sched *s, struct kb_sched_pod *pod);
/* Something happened, a set of KB_POLICY_ON_…, on a slot or (UINT32_MAX) elsewhere: for the queue,
 * and for who waits in pre_bind. */
void kb__sched_happened(struct kb_sched *s, uint32_t events, uint32_t slot);
/* Policies' post_bind; nothing is kept of the way to its node. */
void kb__sched_arrived(struct kb_sched *s, struct kb_sched_pod *pod);

/* ---- scheduler_preempt.c ---- */

/* Bring what the core knows in line with pod->nominated: it waits or not, the node is there or not.
 */
void kb__sched_promise(struct kb_sched *s, struct kb_sched_pod *pod);
void kb__sched_unpromise(struct kb_sched *s, struct kb_sched_pod *pod);
/* What its status says, unless we know better. */
void kb__sched_believe(struct kb_sched *s, struct kb_sched_pod *pod, kb_str nominated);
/* A node came: perhaps somebody is nominated to it. A node goes: those nominated to it wait. */
void kb__sched_claims(struct kb_sched *s);
void kb__sched_node_lost(struct kb_sched *s, kb_str node);
/* What status.nominatedNodeName shall be, "" for none; NULL: as it is. */
const char *kb__sched_nominated(struct kb_sched *s, const struct kb_sched_pod *pod);
/* No node fits: post_filter. What it has to say is in s->preemption.text. */
void kb__sched_preempt(struct kb_sched *s, struct kb_sched_pod *pod, struct kb_sched_out *out);

#endif
