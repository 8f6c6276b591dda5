/* A record (actors/scheduler/record.h) told again to a new scheduler: does it decide the same? */
#ifndef KUBUS_SCHEDULER_SIM_REPLAY_H
#define KUBUS_SCHEDULER_SIM_REPLAY_H

#include "actors/scheduler/config.h"
#include "bus/base/buf.h"

struct kb_replay {
    uint64_t inputs, decisions, bindings, differences;
    uint64_t begins;      /* how often the scheduler was started */
    struct kb_buf report; /* the first differences, one a line */
};

/* A policy that is not built in, by its name and the version that was at work (NULL: none is
 * recorded); NULL: there is none. */
typedef const struct kb_policy *kb_replay_resolve(void *user, const char *name,
                                                  const char *version);

/* 0 also when there are differences.
 * -KB_EINVAL "NAME:LINE: …": not a record, or a policy is missing. */
int kb_replay_run(kb_str text, const char *name, kb_replay_resolve *resolve, void *user,
                  struct kb_replay *ret, struct kb_err *err);
void kb_replay_finish(struct kb_replay *replay);

#endif
