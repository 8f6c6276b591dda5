/* The objects that the scheduler writes, built from those that it read. */
#ifndef KUBUS_SCHEDULER_OBJECTS_H
#define KUBUS_SCHEDULER_OBJECTS_H

#include "bus/model/doc.h"

/* The PodScheduled condition of a pod; "" for reason and message leaves them out. */
struct kb_sched_condition {
    bool scheduled;
    const char *reason, *message;
    int64_t wall_us;
};

/* What the scheduler changes of a pod; all may be left out. */
struct kb_sched_edit {
    const char *node;      /* spec.nodeName */
    const char *nominated; /* status.nominatedNodeName; "" removes it */
    uint32_t gpus;         /* the set that stands in an annotation, see devices.h */
    kb_val annotations;    /* a map of texts, more of them */
    const struct kb_sched_condition *condition; /* lastTransitionTime: when its status changed */
};
/* The pod so changed. Caller owns. O(bytes of the pod). */
struct kb_doc *kb__sched_pod(kb_val pod, const struct kb_sched_edit *edit);
/* Is the condition there with this status, reason and message? */
bool kb__sched_has_condition(kb_val pod, const struct kb_sched_condition *condition);

/* A patch of the status of a pod that a scheduler evicts: the condition DisruptionTarget. */
struct kb_doc *kb__sched_disruption(kb_str uid, const char *scheduler, int64_t wall_us);

/* What an event is about, and when. `serial` helps to make its name unique. */
struct kb_sched_about {
    kb_str ns, name, uid;
    int64_t rev, wall_us;
    uint64_t serial;
    const char *kind; /* of apiVersion v1; NULL: Pod */
};
/* An Event (core/v1) from default-scheduler. Caller owns. */
struct kb_doc *kb__sched_event(const struct kb_sched_about *about, const char *type,
                               const char *reason, const char *message);

#endif
