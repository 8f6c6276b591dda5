/* <kubus/policy/nodes.h>: nodes in columns, one array per attribute, indexed by the node's slot. */
#ifndef KUBUS_POLICY_NODES_H
#define KUBUS_POLICY_NODES_H

#include <kubus/policy/pod.h>

#include <stdint.h>

/* ---- what single nodes have ---- */

struct kb_policy_taint {
    uint32_t key, value, effect; /* effect: enum kb_policy_effect */
};

/* Nodes with equal taints share one set. */
struct kb_policy_taint_set {
    uint32_t n;
    const struct kb_policy_taint *taints;
};

/* An image on a node. */
struct kb_policy_image {
    uint32_t node; /* slot */
    int64_t bytes;
};

/* A host port that is taken on a node. */
struct kb_policy_port_use {
    uint32_t node; /* slot */
    struct kb_policy_port port;
};

/* ---- devices ---- */

/* GPUs are known one by one, since a pod may take a share of one (0.46 of it, say): free GPU in sum
 * says nothing about whether such a pod fits. A node with more than KB_POLICY_GPUS of them has
 * count 0 here, and its GPUs are only counted, in the columns of nvidia.com/gpu. */
enum { KB_POLICY_GPUS = 16, KB_POLICY_GPU_MILLI = 1000 };

struct kb_policy_gpus {
    uint16_t free[KB_POLICY_GPUS]; /* milli; 0 beyond the node's count */
};

/* Columns, [slot]. */
struct kb_policy_devices {
    uint32_t size;
    const uint8_t *count;
    const uint32_t *model; /* interned; 0: not known */
    const struct kb_policy_gpus *gpus;
    const uint32_t *free_milli; /* sum over the node's GPUs */
    /* Set of what the pods on the node are: bit n, n ≥ 1: a pod with n whole GPUs; bit 0: one with
     * shares. */
    const uint32_t *kinds;
};

/* ---- the columns ---- */

/* The columns. Read them anew in each call: arrays move when they grow. */
struct kb_policy_nodes {
    uint32_t size;
    uint32_t count;     /* slots in use: 0 ≤ slot < count */
    uint32_t present_n; /* nodes among them */
    uint32_t resources;
    uint64_t generation;               /* rises with every change of any node */
    const uint8_t *present;            /* [slot] 1: a node is there */
    const int64_t *const *allocatable; /* [resource][slot] */
    const int64_t *const *requested;   /* [resource][slot], by the pods that are on the node */
    const int64_t *nonzero_cpu, *nonzero_memory; /* as in kb_policy_pod, summed */
    const uint32_t *name;
    const uint8_t *unschedulable; /* 1: spec.unschedulable */
    const uint32_t *taint_set;    /* index into taint_sets; 0 is the empty set */
    uint32_t taint_sets_n;
    const struct kb_policy_taint_set *taint_sets;
    const int32_t *lowest_priority; /* of the pods on the node; INT32_MAX without any */
    const struct kb_policy_devices *devices;
    /* Not 0 during a dry run (preemption, nominated pods), in which pods were put on or taken off
     * nodes without a rise of `generation`; another number in each. What is derived from nodes in
     * one must not be kept. */
    uint64_t hypothesis;
    uint64_t capacity; /* rises with every change of what nodes have, or of which there are */
};

#endif
