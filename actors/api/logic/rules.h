/* What the schemas of the built-in kinds cannot say: rules over several fields, or over the old
 * object and the new (the list is in bus/model/kinds/README.md, "Rules in code").
 *
 * Pure. Objects are decoded and defaulted; each function adds all that is wrong to `causes`, in the
 * words of Kubernetes. A field that the schema has refused already may have any type: nothing here
 * trusts. */
#ifndef KUBUS_API_LOGIC_RULES_H
#define KUBUS_API_LOGIC_RULES_H

#include "bus/model/causes.h"

/* ---- pods: `spec` is a PodSpec, standing at `at` ---- */

/* After the schema's defaults: with hostNetwork, a port is its own host port. */
void kb_rules_pod_default(struct kb_arena *arena, struct kb_node *spec);
/* A pod's spec, or that of a template. */
void kb_rules_pod_spec(const struct kb_node *spec, const struct kb_at *at, bool is_template,
                       struct kb_causes *causes);
/* What holds only for a pod that is being created. */
void kb_rules_pod_create(const struct kb_node *pod, struct kb_causes *causes);
/* What an update may do to the fields that the kind's `mutable` lets change. */
void kb_rules_pod_update(const struct kb_node *old_pod, const struct kb_node *new_pod,
                         struct kb_causes *causes);
/* What the endpoint for them may do to a pod's ephemeral containers: add some. */
void kb_rules_pod_ephemeral(const struct kb_node *old_pod, const struct kb_node *new_pod,
                            struct kb_causes *causes);
/* "BestEffort", "Burstable" or "Guaranteed". */
const char *kb_rules_pod_qos(const struct kb_node *spec);

/* ---- other kinds: whole objects; `old` is NULL on create ---- */

/* Deployment, ReplicaSet or ReplicationController (`kind`): selector, template, rolling update. */
void kb_rules_workload(kb_str kind, const struct kb_node *obj, struct kb_causes *causes);
/* A ReplicationController without labels gets those of its template. */
void kb_rules_workload_default(kb_str kind, struct kb_arena *arena, struct kb_node *obj);
void kb_rules_service(const struct kb_node *obj, const struct kb_node *old,
                      struct kb_causes *causes);
void kb_rules_configmap(const struct kb_node *obj, struct kb_causes *causes);
/* stringData goes into data. */
void kb_rules_secret_default(struct kb_arena *arena, struct kb_node *obj);
void kb_rules_secret(const struct kb_node *obj, struct kb_causes *causes);
/* podCIDR and podCIDRs fill each other. */
void kb_rules_node_default(struct kb_arena *arena, struct kb_node *obj);
void kb_rules_node(const struct kb_node *obj, struct kb_causes *causes);
void kb_rules_event(const struct kb_node *obj, struct kb_causes *causes);

#endif
