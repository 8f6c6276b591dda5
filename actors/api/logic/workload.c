/* Deployments, ReplicaSets, ReplicationControllers. */
#include "actors/api/logic/logic.h"

/* A ReplicationController without labels gets those of its template. */
static int controller_prepare(struct kb_object_op *op)
{
    struct kb_node *meta = kb__op_meta(op->obj, &op->arena);
    const struct kb_node *labels = kb_node_get(meta, "labels");
    struct kb_node *of_template = kb_node_at(op->obj, "spec.template.metadata.labels");
    if ((labels == NULL || labels->count == 0) && of_template && of_template->type == KB_MAP)
        kb_node_put(&op->arena, meta, "labels", kb_node_copy(&op->arena, of_template));
    return 0;
}

const struct kb_logic kb__logic_deployment = {
    .resource = "deployments.apps",
};

const struct kb_logic kb__logic_replicaset = {
    .resource = "replicasets.apps",
};

const struct kb_logic kb__logic_replicationcontroller = {
    .resource = "replicationcontrollers",
    .prepare = controller_prepare,
};
