/* Keeping a number of pods: what ReplicaSets and ReplicationControllers have in common. */
#ifndef KUBUS_CONTROLLERS_REPLICAS_H
#define KUBUS_CONTROLLERS_REPLICAS_H

#include <kubus/plugin.h>

struct replicas_kind {
    const char *resource, *api_version, *kind;
    bool label_selector; /* spec.selector is a LabelSelector, not a plain map */
};

/* What of a pod is read here. */
#define REPLICAS_POD_FIELDS                                                                        \
    "metadata.name metadata.namespace metadata.uid metadata.labels metadata.annotations "          \
    "metadata.ownerReferences metadata.deletionTimestamp metadata.creationTimestamp "              \
    "spec.nodeName status.phase status.conditions status.containerStatuses"

kb_result replicas_reconcile(kb_controller *c, kb_key key, const struct replicas_kind *kind);
/* An orphan concerns every one whose selector matches it. */
void replicas_map_pod(kb_controller *c, const struct kb_object *now, const struct kb_object *old,
                      const struct replicas_kind *kind);

/* replicas_order.c: the pods to delete first, first. `related` are the active pods that share the
 * work, for not leaving two on one node. */
void replicas_order(kb_controller *c, struct kb_objects pods, struct kb_objects related);
bool replicas_pod_ready(kb_val pod, int64_t *ret_since_us); /* ret may be NULL */

/* The digest of a pod: whether it is active and ready, and a hash of its labels. With thousands of
 * pods in a set, each run looks at each of them: so it looks at a number. */
uint64_t replicas_digest(kb_val pod);
static inline bool replicas_active(const struct kb_object *pod)
{
    return pod->digest & 1;
}
static inline bool replicas_ready(const struct kb_object *pod)
{
    return pod->digest & 2;
}
static inline uint64_t replicas_labels(const struct kb_object *pod)
{
    return pod->digest >> 2;
}

#endif
