/* PrioritySort: higher priority first, then who came to the queue first. */
#include <kubus/policy.h>

static bool queue_sort(void *instance, const struct kb_policy_queued *a,
                       const struct kb_policy_queued *b)
{
    (void)instance;
    if (a->priority != b->priority)
        return a->priority > b->priority;
    if (a->queued_ms != b->queued_ms)
        return a->queued_ms < b->queued_ms;
    return a->seq < b->seq;
}

KB_POLICY(PrioritySort, .queue_sort = queue_sort);
