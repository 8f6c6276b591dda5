/* <kubus/policy/cluster.h>: what a policy with the flag KB_POLICY_GLOBAL looks at besides single
 * nodes: how many pods of some sort are where, and when that has changed. */
#ifndef KUBUS_POLICY_CLUSTER_H
#define KUBUS_POLICY_CLUSTER_H

#include <kubus/policy/selectors.h>

#include <stdint.h>

/* How many pods of some sort are on each node, kept up to date. Pods that are being deleted count
 * only where that is said. */
enum { KB_POLICY_COUNT_LOG = 32 };

struct kb_policy_count_change {
    uint32_t slot;
    int32_t by;
};

struct kb_policy_count {
    uint64_t version; /* changes so far; the latest are log[version % KB_POLICY_COUNT_LOG] */
    uint64_t pods;
    const uint32_t *at; /* [slot]; NULL while there was none */
    const struct kb_policy_count_change *log;
};

struct kb_policy_domains;

/* A count summed up by the domains of a label. */
struct kb_policy_tally {
    uint64_t version;     /* rises with each change of the sums */
    uint64_t placed;      /* pods in all domains together */
    const uint32_t *pods; /* [domain]; 0 for domain 0 */
    const struct kb_policy_domains *domains;
};

/* Terms that pods of the cluster carry, and that mean the pod in question. */
enum kb_policy_carried_kind {
    KB_POLICY_CARRIED_ANTI_AFFINITY, /* required */
    KB_POLICY_CARRIED_AFFINITY,      /* required */
    KB_POLICY_CARRIED_PREFERENCE,    /* with a weight, below 0 for anti-affinity */
};

struct kb_policy_carried {
    enum kb_policy_carried_kind kind;
    int32_t weight;
    uint32_t topology_key;
    const struct kb_policy_count *carriers;
};

/* The values of a node label as small numbers: domain 0 is that of nodes without the label, and of
 * slots without a node. */
struct kb_policy_domains {
    uint64_t version;      /* differs whenever anything else here does */
    uint32_t n;            /* domains, with 0 */
    const uint32_t *of;    /* [slot] */
    const uint32_t *value; /* [domain] interned; 0 for domain 0 */
    const uint32_t *nodes; /* [domain] how many nodes; 0 for domain 0 */
};

/* What else changes in a cluster, as numbers that rise. */
struct kb_policy_versions {
    uint64_t nodes;   /* an object of a node changed, came or went; pods on it do not count */
    uint64_t carried; /* what `carried` returns for some pod, but not how many carry it */
    uint64_t owners;  /* what `default_spread` returns for some pod */
    uint64_t images;  /* what nodes hold */
    uint64_t volumes; /* claims, volumes, storage classes, limits, or which claims are in use */
};

#endif
