/* SchedulingGates: a pod waits until all its gates have been removed. */
#include <kubus/policy.h>

static enum kb_policy_status pre_enqueue(void *instance, const struct kb_policy_queued *pod)
{
    (void)instance;
    return pod->gates == 0 ? KB_POLICY_OK : KB_POLICY_UNSCHEDULABLE;
}

KB_POLICY(SchedulingGates, .events = KB_POLICY_ON_POD_UPDATE, .pre_enqueue = pre_enqueue);
