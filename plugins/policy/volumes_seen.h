/* <kubus/policy/volumes_seen.h>: for policies that derive something from a pod's claims and from
 * the volumes behind them, and have to do it anew when these change. */
#ifndef KUBUS_POLICY_VOLUMES_SEEN_H
#define KUBUS_POLICY_VOLUMES_SEEN_H

#include <kubus/policy.h>

/* As of when. The state of such a policy begins with it. */
struct kb_policy_volumes_seen {
    uint64_t version;
};

/* For pre_filter: the policy's state, of so many bytes, zeroed when it is new, and from now on as
 * of the volumes as they are. Never NULL. */
static inline void *kb_policy_volumes_look(struct kb_policy_cycle *c, size_t state_bytes)
{
    struct kb_policy_volumes_seen *s = c->state ? c->state : calloc(1, state_bytes);
    if (s == NULL)
        abort();
    s->version = c->host->versions(c->host->core)->volumes;
    c->state = s;
    return s;
}

/* For `stale`: a pod without claims does not care. */
static inline bool kb_policy_volumes_stale(struct kb_policy_cycle *c)
{
    const struct kb_policy_volumes_seen *s = c->state;
    return s == NULL ||
           (c->pod->claims_n > 0 && s->version != c->host->versions(c->host->core)->volumes);
}

#endif
