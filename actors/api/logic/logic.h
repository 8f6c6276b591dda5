/* The logic of kinds: one table each, in a file of its own. */
#ifndef KUBUS_API_LOGIC_H
#define KUBUS_API_LOGIC_H

#include "actors/api/objects_impl.h"

extern const struct kb_logic kb__logic_pod, kb__logic_service, kb__logic_namespace, kb__logic_node,
    kb__logic_serviceaccount, kb__logic_secret, kb__logic_configmap, kb__logic_deployment,
    kb__logic_replicaset, kb__logic_replicationcontroller, kb__logic_lease, kb__logic_event,
    kb__logic_priorityclass, kb__logic_poddisruptionbudget;

#endif
