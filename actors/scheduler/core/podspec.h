/* What identical pods share: the scheduling-relevant fields of a pod, decoded once.
 *
 * Pods are identical when the bytes of those fields are (requests, host ports, overhead, node
 * selector, affinity, spreading, tolerations, images, namespace, labels, controller, and the
 * profile that places them). Comparing bytes, before
 * anything is decoded, makes the ten-thousandth pod of a Deployment cost a hash; two spellings of
 * the same thing make two specs, which is harmless. */
#ifndef KUBUS_SCHEDULER_PODSPEC_H
#define KUBUS_SCHEDULER_PODSPEC_H

#include "actors/scheduler/core/columns.h"

struct kb_plan;
struct kb_outside;

struct kb_podspec {
    struct kb_policy_pod pod;
    uint32_t profile;
    uint32_t refs;
    uint64_t refusers;          /* policies of the profile, as bits: see kb_core_helpful */
    struct kb_plan *plan;       /* work done for it so far, or NULL */
    struct kb_outside *outside; /* what a service says, or NULL */
    struct kb_pods *pods;       /* where it is enrolled */
    kb_str signature;           /* in the arena */
    struct kb_arena arena;
};

/* Zero-initialized is empty and valid. */
struct kb_podspecs {
    struct kb_map by_signature;
    struct kb_buf scratch;
};

void kb_podspecs_finish(struct kb_podspecs *specs); /* all must have been released */
/* The spec of a Pod object, with one more reference. New resources get columns. spec.nodeName
 * counts as a wish only with `wants_node`: on a bound pod it is a fact. */
struct kb_podspec *kb_podspec_get(struct kb_podspecs *specs, struct kb_columns *columns, kb_val pod,
                                  uint32_t profile, bool wants_node);
/* One reference fewer. At the last one the spec is taken out of the table, and returned: the
 * caller drops its plan and frees it with kb_podspec_free. Else NULL. */
struct kb_podspec *kb_podspec_put(struct kb_podspecs *specs, struct kb_podspec *spec);
void kb_podspec_free(struct kb_podspec *spec);

/* nodeSelectorTerms of a NodeSelector, or a list of preferred terms, decoded into an arena. */
const struct kb_policy_term *kb_podspec_terms(struct kb_columns *columns, struct kb_arena *arena,
                                              kb_val list, bool preferred, uint32_t *ret_n);

#endif
