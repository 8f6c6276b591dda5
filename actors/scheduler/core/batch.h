/* Decisions for many pods at once: what the `batch` of a profile's policy suggests. Suggestions are
 * taken when a pod's turn comes and its node still fits; so a batch can be wrong about how pods of
 * different kinds add up, and never overfills a node. */
#ifndef KUBUS_SCHEDULER_BATCH_H
#define KUBUS_SCHEDULER_BATCH_H

#include "actors/scheduler/core/pending.h"

enum { KB_BATCH_PODS = 256 };

/* Has the queue's profile a policy that wants batches? */
bool kb_core_batches(const struct kb_core *core);
/* A slot for each of the pods (in the order of their turns), or UINT32_MAX. n ≤ KB_BATCH_PODS. */
void kb_core_suggest(struct kb_core *core, struct kb_waiting *const *pods, size_t n, kb_ms now,
                     uint32_t *ret_slots);

#endif
