#include "actors/api/logic/logic.h"

static const struct kb_logic *const all[] = {
    &kb__logic_pod,
    &kb__logic_configmap,
    &kb__logic_secret,
    &kb__logic_service,
    &kb__logic_node,
    &kb__logic_namespace,
    &kb__logic_deployment,
    &kb__logic_replicaset,
    &kb__logic_replicationcontroller,
    &kb__logic_lease,
    &kb__logic_serviceaccount,
    &kb__logic_event,
    &kb__logic_priorityclass,
    &kb__logic_poddisruptionbudget,
};

const struct kb_logic *kb__logic_of(kb_str resource)
{
    for (size_t i = 0; i < KB_COUNT(all); i++)
        if (kb_str_is(resource, all[i]->resource))
            return all[i];
    return NULL;
}
