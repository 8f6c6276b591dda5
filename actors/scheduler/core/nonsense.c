#include "actors/scheduler/core/nonsense.h"

#include <inttypes.h>

/* Larger ones would overflow when they are normalized, and are none that anybody means. */
static const int64_t SCORE_LIMIT = INT64_C(1) << 50;

/* Raw scores of nodes that fit must be such that what they become is 0 … KB_POLICY_SCORE_MAX. */
void kb__check_scores(const struct kb_profile *profile, uint32_t policy, uint32_t normalize_by,
                      const int64_t *score, const uint8_t *fits, uint32_t n)
{
    int64_t low =
        normalize_by == KB_POLICY_BY_SPAN || normalize_by == KB_POLICY_BY_REST ? -SCORE_LIMIT : 0;
    int64_t high = normalize_by == KB_POLICY_AS_IS ? KB_POLICY_SCORE_MAX : SCORE_LIMIT;
    uint64_t span = (uint64_t)(high - low);
    uint8_t bad = 0;
    for (uint32_t i = 0; i < n; i++)
        bad |= fits[i] & ((uint64_t)score[i] - (uint64_t)low > span);
    for (uint32_t i = 0; bad && i < n; i++)
        if (fits[i] && (score[i] < low || score[i] > high))
            kb_guard_blame(profile->guard, profile, policy,
                           "score %" PRId64 " is not in %" PRId64 " … %" PRId64, score[i], low,
                           high);
}

void kb__check_verdicts(const struct kb_profile *profile, uint32_t policy, const uint32_t *verdict,
                        const uint8_t *present, uint32_t n)
{
    uint32_t bad = 0;
    for (uint32_t i = 0; i < n; i++)
        bad |= present[i] & ((verdict[i] & ~KB_POLICY_UNRESOLVABLE) > KB_POLICY_CODE_MAX ||
                             verdict[i] == KB_POLICY_UNRESOLVABLE);
    for (uint32_t i = 0; bad && i < n; i++)
        if (present[i] && ((verdict[i] & ~KB_POLICY_UNRESOLVABLE) > KB_POLICY_CODE_MAX ||
                           verdict[i] == KB_POLICY_UNRESOLVABLE))
            kb_guard_blame(profile->guard, profile, policy, "verdict 0x%" PRIx32 " is none",
                           verdict[i]);
}

/* One of those that this extension point has, which is a set of bits 1 << KB_POLICY_…. */
enum kb_policy_status kb__check_status(const struct kb_profile *profile, uint32_t policy,
                                       enum kb_point point, enum kb_policy_status status)
{
    uint32_t allowed =
        1u << KB_POLICY_OK | 1u << KB_POLICY_SKIP | 1u << KB_POLICY_ERROR |
        (point == KB_POINT_PRE_FILTER ? 1u << KB_POLICY_UNSCHEDULABLE | 1u << KB_POLICY_WAIT : 0);
    if ((uint32_t)status <= KB_POLICY_ERROR && (allowed & 1u << status))
        return status;
    kb_guard_blame(profile->guard, profile, policy, "status %d of %s is none", (int)status,
                   kb_point_names[point]);
    return KB_POLICY_SKIP;
}
