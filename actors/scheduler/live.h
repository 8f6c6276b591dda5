/* The configuration of a running scheduler, from the cluster, live.
 *
 * What shall be stands in the ConfigMap kube-system/kubus-scheduler:
 *     data:
 *       config.yaml: a KubeSchedulerConfiguration; none: the default
 *       policies:    "NAME: VERSION" lines: which loaded file (policy_file.h) each name means;
 *                    other names are built in, or shipped beside the program
 * What is stands in kube-system/kubus-scheduler-status, written by the schedulers:
 *     data:
 *       config.yaml, policies: the last configuration that could be used
 *       message:     why the one that shall be cannot, when it cannot
 *       held.NAME:   "VERSION why": a policy that is held. Delete the key to try it again.
 *
 * A configuration is used as a whole or not at all; when it cannot be, the one before goes on, also
 * after a restart, and an Event says so. A policy is held at its first crash or endless call (the
 * watchdog tells the next process), or at its first nonsense (the core tells): it would do it again
 * in the next cycle, and each crash costs all pods of the cluster a second. A newer version of it
 * starts with a clean sheet. */
#ifndef KUBUS_SCHEDULER_LIVE_H
#define KUBUS_SCHEDULER_LIVE_H

#include "actors/scheduler/scheduler_core.h"
#include "actors/scheduler/watchdog.h"

struct kb_actor;
struct kb_sched_live;

struct kb_sched_live_user {
    void (*changed)(void *user); /* another configuration is at work, or the first is */
    void (*event)(void *user, struct kb_doc **doc_p); /* an Event to create */
    void *user;
};

/* Borrows actor and scheduler. `changed` follows at the latest when the view is complete. */
struct kb_sched_live *kb_sched_live_new(struct kb_actor *actor, struct kb_sched *sched,
                                        const struct kb_sched_live_user *user);
/* A page for the guard, that outlives the process, and what was found in it (watchdog.h). Before
 * the actor runs. */
void kb_sched_live_guard(struct kb_sched_live *l, struct kb_guard_page *page,
                         const struct kb_watchdog_found *found);
void kb_sched_live_destroy(struct kb_sched_live **l_p); /* after the scheduler */
/* The first configuration is at work. */
bool kb_sched_live_ready(const struct kb_sched_live *l);
/* After decisions: policies that the core holds since are told. */
void kb_sched_live_look(struct kb_sched_live *l);
size_t kb_sched_live_held(const struct kb_sched_live *l);

/* For the calls scheduler.policies, scheduler.check and scheduler.keep. */
void kb_sched_live_describe(struct kb_sched_live *l, struct kb_w *w);
int kb_sched_live_check(struct kb_sched_live *l, kb_str config, kb_str policies,
                        struct kb_err *err);
int kb_sched_live_keep(struct kb_sched_live *l, const char *path, struct kb_w *w,
                       struct kb_err *err);

#endif
