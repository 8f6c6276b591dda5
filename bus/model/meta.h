/* What every object has: metadata, owners, finalizers, conditions.
 *
 * Readers take the whole object as a value in place and answer with "nothing" for what is absent.
 * They walk the document each time: a loop over many fields reads `metadata` once itself. */
#ifndef KUBUS_MODEL_META_H
#define KUBUS_MODEL_META_H

#include "bus/base/clock.h"
#include "bus/model/node.h"

/* ---- reading ---- */
KB_API kb_str kb_meta_name(kb_val object);
KB_API kb_str kb_meta_ns(kb_val object);
KB_API kb_str kb_meta_uid(kb_val object);
KB_API int64_t kb_meta_generation(kb_val object);
KB_API bool kb_meta_deleting(kb_val object); /* metadata.deletionTimestamp is set */
KB_API kb_val kb_meta_labels(kb_val object);
KB_API kb_val kb_meta_annotations(kb_val object);
KB_API kb_str kb_meta_label(kb_val object, const char *key);
KB_API kb_str kb_meta_annotation(kb_val object, const char *key);
KB_API bool kb_meta_has_finalizer(kb_val object, const char *finalizer);
/* Microseconds since 1970 of the time at `path` ("metadata.creationTimestamp"); 0 when there is
 * none. */
KB_API int64_t kb_time_at(kb_val object, const char *path);

/* ---- owners ---- */
/* The entry of metadata.ownerReferences that is the controller, or KB_NONE. */
KB_API kb_val kb_meta_controller(kb_val object);
KB_API kb_str kb_meta_controller_uid(kb_val object);
KB_API bool kb_meta_controlled_by(kb_val object, kb_str uid);
/* An entry for metadata.ownerReferences that names `owner`; apiVersion and kind are given, for a
 * document need not say them. With `controller`, blockOwnerDeletion is set as well. */
KB_API struct kb_node *kb_owner_ref(struct kb_arena *a, kb_val owner, const char *api_version,
                                    const char *kind, bool controller);

/* ---- conditions: the list at status.conditions, one entry a type ---- */
KB_API kb_val kb_cond_get(kb_val object, const char *type);
/* Its status is `status` ("True"). An absent condition is of no status. */
KB_API bool kb_cond_is(kb_val object, const char *type, const char *status);

struct kb_cond {
    const char *type, *status, *reason;
    const char *message;
    bool stamp_update; /* also keeps lastUpdateTime (Deployments), lastHeartbeatTime is not ours */
};
/* Set a condition in `status` (the map that holds "conditions"). lastTransitionTime becomes
 * `now_us` when the status word changes, lastUpdateTime when anything does. True when anything
 * changed. */
KB_API bool kb_cond_set(struct kb_arena *a, struct kb_node *status, const struct kb_cond *cond,
                        int64_t now_us);
KB_API bool kb_cond_remove(struct kb_node *status, const char *type);
KB_API struct kb_node *kb_cond_node(const struct kb_node *status, const char *type);

/* A metav1.Time. */
KB_API struct kb_node *kb_node_time(struct kb_arena *a, int64_t wall_us);

#endif
