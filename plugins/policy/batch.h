/* <kubus/policy/batch.h>: many pods at once. */
#ifndef KUBUS_POLICY_BATCH_H
#define KUBUS_POLICY_BATCH_H

#include <kubus/policy/nodes.h>
#include <kubus/policy/pod.h>

#include <stdint.h>

/* Pods of one kind whose turn it is. */
struct kb_policy_batch_kind {
    const struct kb_policy_pod *pod;
    uint32_t pods;        /* how many */
    int32_t priority;     /* the highest of them */
    int64_t waited_ms;    /* the longest */
    const uint8_t *fits;  /* [slot] 1: all filters let one of them onto the node, as it is now */
    const int32_t *score; /* [slot] weighted sum of the scores, where it fits */
};

/* Arrays of pods times nodes: who may go where, and how good that is. */
struct kb_policy_batch {
    uint32_t size;
    uint32_t kinds_n;
    const struct kb_policy_batch_kind *kinds; /* in the order of their first pods */
    const struct kb_policy_nodes *nodes;
};

/* One pod of a kind shall have this node. It is taken if it still fits when the pod's turn comes.
 */
typedef void kb_policy_suggest(void *to, uint32_t kind, uint32_t node);

#endif
