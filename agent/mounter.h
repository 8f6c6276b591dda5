/* A pod's volumes are set up in a child process: a path of the node that hangs (a file system
 * behind a network) holds this pod, and no other. (What a container mounts of them, be it a
 * subPath, is looked up by the job that starts it: a child as well.)
 *
 * One child at a time. What is asked for while one works is done by another after it, so that what
 * is told of is never older than the question; who asked before is told when the first has ended,
 * however often is asked meanwhile. A child that has not ended within the limit is
 * killed and told of as -KB_ETIMEOUT; while the system holds it nevertheless no other is started,
 * or they would pile up. A child does not outlive the agent. */
#ifndef KUBUS_AGENT_MOUNTER_H
#define KUBUS_AGENT_MOUNTER_H

#include "agent/job.h"

struct kb_mounter_calls {
    /* In the child. *made counts the volumes that are there, for who reads it after a hang. */
    int (*set_up)(void *arg, uint32_t *made, struct kb_err *err);
    /* In the agent, once for each child: `err` NULL when all are there. `answer`: somebody waited
     * for it. */
    void (*done)(void *arg, bool answer, uint32_t made, const struct kb_err *err);
    /* In the agent, after a stop that had to wait. */
    void (*stopped)(void *arg);
};

struct kb_mounter_run;

/* Embed. Zero-initialized has nothing to finish. */
struct kb_mounter {
    struct kb_ev *ev;
    const struct kb_mounter_calls *calls;
    void *arg;
    kb_ms limit_ms;
    struct kb_mounter_run *run; /* the child, or NULL */
    bool again, stopping;
    bool waits_now, waits_next; /* for the child that works; for one that starts after now */
};

void kb_mounter_init(struct kb_mounter *m, struct kb_ev *ev, const struct kb_mounter_calls *calls,
                     kb_ms limit_ms, void *arg);
void kb_mounter_run(struct kb_mounter *m, bool answer);
/* Nothing is set up any more, and nobody told. True: no child works; false: it is killed, and
 * `stopped` is called when it is gone, or the limit over. */
bool kb_mounter_stop(struct kb_mounter *m);
void kb_mounter_finish(struct kb_mounter *m); /* no callback from now on; fine inside of one */

#endif
