/* ConfigMaps and Secrets. */
#include "actors/api/logic/logic.h"
#include "actors/api/logic/rules.h"

static void configmap_validate(struct kb_object_op *op)
{
    kb_rules_configmap(op->obj, &op->causes);
}

const struct kb_logic kb__logic_configmap = {
    .resource = "configmaps",
    .validate = configmap_validate,
};

/* The values in plain text are written into data, and never stored as such. */
static int secret_prepare(struct kb_object_op *op)
{
    kb_rules_secret_default(&op->arena, op->obj);
    kb_node_del(op->obj, "stringData");
    return 0;
}

static void secret_validate(struct kb_object_op *op)
{
    kb_rules_secret(op->obj, &op->causes);
}

const struct kb_logic kb__logic_secret = {
    .resource = "secrets",
    .prepare = secret_prepare,
    .validate = secret_validate,
};
