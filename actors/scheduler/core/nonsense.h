/* What policies return is checked before anything is made of it: the one that returned nonsense is
 * blamed (core/guard.h). Loops without branches over a run, beside what the policy itself does. */
#ifndef KUBUS_SCHEDULER_NONSENSE_H
#define KUBUS_SCHEDULER_NONSENSE_H

#include "actors/scheduler/core/profile.h"

/* Scores of `n` nodes, of which those that fit (fits[i]) count. */
void kb__check_scores(const struct kb_profile *profile, uint32_t policy, uint32_t normalize_by,
                      const int64_t *score, const uint8_t *fits, uint32_t n);
void kb__check_verdicts(const struct kb_profile *profile, uint32_t policy, const uint32_t *verdict,
                        const uint8_t *present, uint32_t n);
/* The status as it is, or SKIP when this extension point (preFilter, preScore) has no such. */
enum kb_policy_status kb__check_status(const struct kb_profile *profile, uint32_t policy,
                                       enum kb_point point, enum kb_policy_status status);

#endif
