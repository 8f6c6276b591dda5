/* What a pod belongs to, as far as spreading by default goes by it: the services that select it,
 * and the ReplicaSet, StatefulSet or ReplicationController that controls it. Only selectors are
 * kept. */
#ifndef KUBUS_SCHEDULER_OWNERS_H
#define KUBUS_SCHEDULER_OWNERS_H

#include "actors/scheduler/core/pods.h"
#include "bus/model/doc.h"

/* Zero-initialized is empty and valid. */
struct kb_owners {
    struct kb_map services;    /* interned namespace → struct kb_owner_services */
    struct kb_map controllers; /* resource, namespace, name → struct kb_owner */
    struct kb_arena scratch;   /* of what default_spread returned last */
};

void kb_owners_finish(struct kb_owners *o);
/* An object of "services", "replicasets.apps", "statefulsets.apps" or "replicationcontrollers" is
 * there, or is gone (KB_NONE). True when what pods belong to may be different now. */
bool kb_owners_put(struct kb_owners *o, struct kb_intern *intern, kb_str resource, kb_str ns,
                   kb_str name, kb_val object);
/* See struct kb_policy_host. */
bool kb_owners_spread(struct kb_owners *o, const struct kb_policy_pod *pod,
                      struct kb_policy_pods_selector *ret);

#endif
