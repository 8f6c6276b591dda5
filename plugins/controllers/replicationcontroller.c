/* ReplicationControllers: the older form of ReplicaSets, with a plain selector. */
#include "plugins/controllers/replicas.h"

static const struct replicas_kind kind = {"replicationcontrollers", "v1", "ReplicationController",
                                          false};

static kb_result reconcile(kb_controller *c, kb_key key)
{
    return replicas_reconcile(c, key, &kind);
}

static void map_pod(kb_controller *c, const struct kb_object *now, const struct kb_object *old)
{
    replicas_map_pod(c, now, old, &kind);
}

KB_CONTROLLER("replication-controller", .primary = "replicationcontrollers", .owns = {"pods"},
              .watches = {{"pods", .map = map_pod, .keep = REPLICAS_POD_FIELDS,
                           .digest = replicas_digest}},
              .writes = {"pods", "replicationcontrollers/status", "events"}, .reconcile = reconcile,
              .on_demand = true);
