/* <kubus/policy/outside.h>: what a policy asks a process elsewhere. */
#ifndef KUBUS_POLICY_OUTSIDE_H
#define KUBUS_POLICY_OUTSIDE_H

#include <stdbool.h>
#include <stdint.h>

/* What a process elsewhere is asked about all nodes at once, for one kb_policy_pod: how a policy in
 * another language takes part. It sees no bus and no waiting: the pod waits until the answer is
 * there. */
struct kb_policy_want {
    uint32_t size;
    const char *service; /* by its name on the bus */
    int64_t timeout_ms;
    uint32_t pods; /* decisions that one answer may serve, ≥ 1 */
    bool optional; /* without an answer in time, no verdicts and no scores, instead of waiting */
    uint32_t labels_n; /* labels of nodes that it wants to see */
    const uint32_t *labels;
};

struct kb_policy_outside {
    uint32_t size;
    uint32_t count;          /* of slots that it is about */
    uint64_t version;        /* another one for each answer */
    const uint32_t *verdict; /* [slot] 0, or 1 + index of a reason; NULL: all fit */
    const int64_t *score;    /* [slot] 0 … KB_POLICY_SCORE_MAX; NULL: none */
    uint32_t reasons_n;
    const char *const *reasons;
};

#endif
