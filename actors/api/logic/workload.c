/* Deployments, ReplicaSets, ReplicationControllers. */
#include "actors/api/logic/logic.h"
#include "actors/api/logic/rules.h"

static int prepare(struct kb_object_op *op)
{
    struct kb_node *spec = kb_node_at(op->obj, "spec.template.spec");
    if (spec && spec->type == KB_MAP)
        kb_rules_pod_default(&op->arena, spec);
    kb_rules_workload_default(op->kind->kind, &op->arena, op->obj);
    return 0;
}

static void validate(struct kb_object_op *op)
{
    kb_rules_workload(op->kind->kind, op->obj, &op->causes);
}

const struct kb_logic kb__logic_deployment = {
    .resource = "deployments.apps",
    .prepare = prepare,
    .validate = validate,
};

const struct kb_logic kb__logic_replicaset = {
    .resource = "replicasets.apps",
    .prepare = prepare,
    .validate = validate,
};

const struct kb_logic kb__logic_replicationcontroller = {
    .resource = "replicationcontrollers",
    .prepare = prepare,
    .validate = validate,
};
