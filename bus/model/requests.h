/* What a pod requests of its node: the one sum that the scheduler places by and a node admits by,
 * as PodRequests of Kubernetes 1.32 has it.
 *
 * Containers and sidecars run together. Init containers run before them, one after the other, each
 * beside the sidecars that were started before it: so the largest of these moments counts, where it
 * is more. What the pod as a whole states of CPU and memory (spec.resources) replaces that; a
 * limit that stands there without a request is the request of a pod whose containers state none.
 * The overhead comes on top.
 *
 * Amounts are thousandths of CPU and whole units of all else, rounded up; negative and malformed
 * ones count as none, sums are capped at INT64_MAX. Pure. */
#ifndef KUBUS_MODEL_REQUESTS_H
#define KUBUS_MODEL_REQUESTS_H

#include "bus/base/arena.h"
#include "bus/model/doc.h"

struct kb_request {
    kb_str resource; /* "cpu", "memory", "example.com/gpu": borrowed from the spec */
    int64_t amount;  /* 0 occurs: it was named */
};

/* In the order in which the resources are named. */
struct kb_requests {
    const struct kb_request *v;
    uint32_t n;
};

/* What a container counts for that does not say what it requests. With requests of the pod as a
 * whole, only where nobody says anything. */
struct kb_requests_missing {
    int64_t cpu_milli, memory_bytes;
};

/* `spec` is a PodSpec. `missing` NULL: what is not stated is not requested. The array lives in
 * `arena`, its texts in the document. O(containers × resources that are named). */
KB_API struct kb_requests kb_requests_of(kb_val spec, const struct kb_requests_missing *missing,
                                         struct kb_arena *arena);
/* 0 for a resource that is not named. */
KB_API int64_t kb_requests_amount(const struct kb_requests *requests, const char *resource);

#endif
