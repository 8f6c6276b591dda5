/* plan_try.c - what the policies would say, in a cluster that is not. */
#include "actors/scheduler/core/plan_impl.h"

/* Of a global policy: prepared for the columns as they are now. */
static bool takes_part(struct kb_plan *plan, const struct filter *f, bool *ret_refused)
{
    const struct kb_policy *p = plan->profile->at[f->policy].policy;
    *ret_refused = false;
    if (!f->global || p->pre_filter == NULL)
        return f->global || f->active;
    enum kb_policy_status s = KB_POLICY_OK;
    KB_ASK(plan->profile, f->policy, KB_POINT_PRE_FILTER,
           s = p->pre_filter(&plan->cycles[f->policy]));
    *ret_refused = s == KB_POLICY_UNSCHEDULABLE || s == KB_POLICY_ERROR;
    return s == KB_POLICY_OK;
}

uint32_t kb_plan_try(struct kb_plan *plan, uint32_t slot)
{
    if (!plan->columns->view.present[slot])
        return KB_PLAN_ABSENT;
    plan->doubted |= plan->globals_n > 0;
    for (uint32_t k = 0; k < plan->filters_n; k++) {
        const struct filter *f = &plan->filters[k];
        uint32_t out = 0;
        bool refused;
        if (takes_part(plan, f, &refused))
            KB_ASK(plan->profile, f->policy, KB_POINT_FILTER,
                   f->fn(&plan->cycles[f->policy], slot, slot + 1, &out));
        if (refused || out != 0)
            return (k + 1) << 24 | (refused ? KB_POLICY_UNRESOLVABLE : out & 0xffffffu);
    }
    return 0;
}
