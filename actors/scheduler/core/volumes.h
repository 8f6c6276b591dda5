/* Claims, persistent volumes, storage classes and what nodes can attach, as placement needs them;
 * and which claims and disks the pods on each node use.
 *
 * An object is decoded once, when it changes. The rest follows pods as they come and go, through
 * kb_volumes_pod, so that it costs nothing for pods without volumes. */
#ifndef KUBUS_SCHEDULER_VOLUMES_H
#define KUBUS_SCHEDULER_VOLUMES_H

#include "actors/scheduler/core/intern.h"
#include "bus/base/arena.h"
#include "bus/base/list.h"
#include "bus/model/doc.h"
#include "plugins/policy.h"

struct kb_columns;

struct kb_volume_uses { /* of the pods on a node; one entry a pod and claim, or disk */
    uint32_t claims_n, claims_cap, disks_n, disks_cap;
    struct kb_policy_claim_name *claims;
    struct kb_policy_disk *disks;
};

/* A change of an object that was asked for: a merge patch. */
struct kb_volume_write {
    char *key; /* "persistentvolumes//NAME" or "persistentvolumeclaims/NS/NAME" */
    struct kb_doc *patch;
    uint32_t ns, claim; /* whose: to be reported back */
};

struct kb_volumes {
    struct kb_map claims;   /* interned namespace, name → struct claim */
    struct kb_map volumes;  /* interned name → struct volume */
    struct kb_map classes;  /* interned name → struct class */
    struct kb_map by_class; /* interned class → struct volume names of it */
    struct kb_map limits;   /* interned node → struct limits */
    struct kb_map holds;    /* interned namespace, name of a claim → struct hold */
    struct kb_link writes;  /* of holds that are to be written */
    struct kb_map users;    /* interned namespace, name of a claim → how many pods use it */
    uint32_t cap;
    struct kb_volume_uses *uses; /* [slot] */
    uint64_t version;
};

void kb_volumes_init(struct kb_volumes *v);
void kb_volumes_finish(struct kb_volumes *v);

/* Is this one of the resources that are kept here? */
bool kb_volumes_wants(kb_str resource);
/* An object of "persistentvolumes", "persistentvolumeclaims", "storageclasses.storage.k8s.io" or
 * "csinodes.storage.k8s.io" is there, or is gone (KB_NONE). */
void kb_volumes_put(struct kb_volumes *v, struct kb_columns *columns, kb_str resource, kb_str ns,
                    kb_str name, kb_val object);
/* A pod came to a slot (by 1), or left it (by -1). */
void kb_volumes_pod(struct kb_volumes *v, uint32_t slot, const struct kb_policy_pod *pod, int by);

/* The claims and disks among a pod's volumes (spec.volumes), into the arena. */
void kb_volumes_of_pod(struct kb_arena *a, struct kb_intern *in, kb_val volumes, kb_str pod_name,
                       struct kb_policy_pod *pod);
/* Append what of spec.volumes could make two pods differ. */
void kb_volumes_sign(kb_val volumes, kb_str pod_name, struct kb_buf *sig);

void kb_volumes_hold(struct kb_volumes *v, const struct kb_policy_claim *claim, uint32_t volume,
                     uint32_t node_name);
void kb_volumes_let_go(struct kb_volumes *v, uint32_t ns, uint32_t claim);
void kb_volumes_bind(struct kb_volumes *v, uint32_t ns, uint32_t claim);
/* The next change to write; the caller frees key and patch, and says how it went: what failed is
 * written again when it is asked for again. */
bool kb_volumes_next_write(struct kb_volumes *v, const struct kb_intern *in,
                           struct kb_volume_write *ret);
void kb_volumes_written(struct kb_volumes *v, uint32_t ns, uint32_t claim, int rc);

/* As in struct kb_policy_storage. NULL: there is no such object. */
const struct kb_policy_claim *kb_volumes_claim(const struct kb_volumes *v, uint32_t ns,
                                               uint32_t name);
const struct kb_policy_volume *kb_volumes_volume(const struct kb_volumes *v, uint32_t name);
const struct kb_policy_storage_class *kb_volumes_class(const struct kb_volumes *v, uint32_t name);
uint32_t kb_volumes_of_class(const struct kb_volumes *v, uint32_t class_name,
                             const uint32_t **ret_names);
int64_t kb_volumes_limit(const struct kb_volumes *v, uint32_t node_name, uint32_t driver);

#endif
