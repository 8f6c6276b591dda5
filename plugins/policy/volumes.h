/* <kubus/policy/volumes.h>: claims, volumes and storage classes. */
#ifndef KUBUS_POLICY_VOLUMES_H
#define KUBUS_POLICY_VOLUMES_H

#include <kubus/policy/pod.h>

#include <stdbool.h>
#include <stdint.h>

enum kb_policy_access {
    KB_POLICY_READ_WRITE_ONCE = 1 << 0,
    KB_POLICY_READ_ONLY_MANY = 1 << 1,
    KB_POLICY_READ_WRITE_MANY = 1 << 2,
    KB_POLICY_READ_WRITE_ONCE_POD = 1 << 3,
};

struct kb_policy_claim {
    uint32_t ns, name, uid;
    bool lost, ending;
    bool bound;             /* wholly: to a volume, and that is settled */
    uint32_t volume;        /* name; 0: none */
    uint32_t storage_class; /* name; 0: none */
    uint32_t attributes_class;
    uint32_t selected_node; /* for which a volume is being made; name, 0: none */
    uint32_t access;        /* set of enum kb_policy_access */
    bool block;             /* a raw device */
    int64_t bytes;
    struct kb_policy_selector selector; /* of volumes, by label; everything when not given */
    uint32_t users;                     /* pods on nodes that use it */
};

struct kb_policy_volume {
    uint32_t name, storage_class, attributes_class;
    bool ending, available;
    bool block;
    uint32_t access;
    int64_t bytes;
    uint32_t claim_ns, claim_name, claim_uid; /* whom it is bound to, or kept for; 0: nobody */
    uint32_t labels_n;
    const struct kb_policy_label *labels;
    bool has_required; /* from which nodes it can be reached */
    uint32_t required_n;
    const struct kb_policy_term *required;
    uint32_t driver, handle; /* of a CSI volume; else 0 */
};

struct kb_policy_storage_class {
    bool delayed;         /* claims are bound when a pod that uses them is scheduled */
    uint32_t provisioner; /* 0: nobody makes volumes */
    uint32_t allowed_n;   /* where volumes may be made: any of these; none: anywhere */
    const struct kb_policy_term *allowed;
};

struct kb_policy_storage {
    uint32_t size;
    /* NULL: there is no such object. Valid until versions->volumes changes. */
    const struct kb_policy_claim *(*claim)(void *core, uint32_t ns, uint32_t name);
    const struct kb_policy_volume *(*volume)(void *core, uint32_t name);
    const struct kb_policy_storage_class *(*storage_class)(void *core, uint32_t name);
    /* The names of a class's volumes, in no order. */
    uint32_t (*volumes_of)(void *core, uint32_t class_name, const uint32_t **ret_names);
    /* How many volumes of a CSI driver can be attached to the node; -1: no limit. */
    int64_t (*limit)(void *core, uint32_t node, uint32_t driver);
    /* What the pods on a node use, one entry for each pod. Valid until the call ends. */
    uint32_t (*node_claims)(void *core, uint32_t node,
                            const struct kb_policy_claim_name **ret_claims);
    uint32_t (*node_disks)(void *core, uint32_t node, const struct kb_policy_disk **ret_disks);
    /* The claim gets this volume, or one that its class makes for the node (0). For all policies it
     * is so from now on, until the claim is bound or `let_go` takes it back; nothing is written. */
    void (*hold)(void *core, const struct kb_policy_claim *claim, uint32_t volume, uint32_t node);
    void (*let_go)(void *core, uint32_t ns, uint32_t claim);
    /* Write what is held to the cluster, for the controllers of volumes to carry out. May be called
     * as often as one likes until the claim is bound. */
    void (*bind)(void *core, uint32_t ns, uint32_t claim);
};

#endif
