#include "actors/scheduler/core/profile.h"

#include "bus/base/check.h"
#include "bus/base/str.h"

#include <stdlib.h>

#define BUILTIN(X)                                                                                 \
    X(SchedulingGates)                                                                             \
    X(PrioritySort)                                                                                \
    X(NodeUnschedulable)                                                                           \
    X(NodeName)                                                                                    \
    X(TaintToleration)                                                                             \
    X(NodeAffinity)                                                                                \
    X(NodePorts)                                                                                   \
    X(NodeResourcesFit)                                                                            \
    X(GpuShare)                                                                                    \
    X(VolumeRestrictions)                                                                          \
    X(NodeVolumeLimits)                                                                            \
    X(VolumeBinding)                                                                               \
    X(VolumeZone)                                                                                  \
    X(PodTopologySpread)                                                                           \
    X(InterPodAffinity)                                                                            \
    X(DefaultPreemption)                                                                           \
    X(NodeResourcesBalancedAllocation)                                                             \
    X(ImageLocality)

#define X(name) extern const struct kb_policy kubus_policy_##name;
BUILTIN(X)
#undef X

/* In the order of Kubernetes: a node is ruled out in the name of the first policy that objects. */
const struct kb_profile_entry kb_profile_default[] = {
#define X(name) {.policy = &kubus_policy_##name},
    BUILTIN(X)
#undef X
};
const size_t kb_profile_default_n = KB_COUNT(kb_profile_default);

const struct kb_policy *kb_policy_builtin(const char *name)
{
    for (size_t i = 0; i < kb_profile_default_n; i++)
        if (strcmp(kb_profile_default[i].policy->name, name) == 0)
            return kb_profile_default[i].policy;
    return NULL;
}

const char *const kb_point_names[KB_POINTS] = {
#define X(id, name) [KB_POINT_##id] = name,
    KB_POINT_MAP(X)
#undef X
};

bool kb_policy_extends(const struct kb_policy *p, enum kb_point point)
{
    switch (point) {
    case KB_POINT_PRE_ENQUEUE:
        return p->pre_enqueue != NULL;
    case KB_POINT_QUEUE_SORT:
        return p->queue_sort != NULL;
    case KB_POINT_PRE_FILTER:
        return p->pre_filter != NULL || p->narrow != NULL;
    case KB_POINT_FILTER:
        return p->filter != NULL;
    case KB_POINT_POST_FILTER:
        return p->post_filter != NULL;
    case KB_POINT_PRE_SCORE:
        return p->pre_score != NULL;
    case KB_POINT_SCORE:
        return p->score != NULL;
    case KB_POINT_RESERVE:
        return p->reserve != NULL || p->unreserve != NULL || p->assign != NULL;
    case KB_POINT_PERMIT:
        return p->permit != NULL;
    case KB_POINT_PRE_BIND:
        return p->pre_bind != NULL;
    case KB_POINT_BIND:
        return p->bind != NULL;
    case KB_POINT_POST_BIND:
        return p->post_bind != NULL;
    case KB_POINTS:
        break;
    }
    return false;
}

bool kb_policy_lacks(const struct kb_policy *p, uint32_t points, enum kb_point *ret_lacks,
                     enum kb_point *ret_user)
{
    static const enum kb_point needs[][2] = {{KB_POINT_PRE_FILTER, KB_POINT_FILTER},
                                             {KB_POINT_PRE_SCORE, KB_POINT_SCORE},
                                             {KB_POINT_PRE_FILTER, KB_POINT_SCORE}};
    for (size_t i = 0; i < KB_COUNT(needs); i++) {
        enum kb_point lacks = needs[i][0], user = needs[i][1];
        if (lacks == KB_POINT_PRE_FILTER && user == KB_POINT_SCORE && p->pre_score)
            continue;
        if (!kb_policy_extends(p, lacks) || (points & 1u << lacks) || !kb_policy_extends(p, user) ||
            !(points & 1u << user))
            continue;
        *ret_lacks = lacks;
        *ret_user = user;
        return true;
    }
    return false;
}

/* Take the functions of an extension point out of a copy. */
static void leave_out(struct kb_policy *p, enum kb_point point)
{
    switch (point) {
    case KB_POINT_PRE_ENQUEUE:
        p->pre_enqueue = NULL;
        break;
    case KB_POINT_QUEUE_SORT:
        p->queue_sort = NULL;
        p->queue_class = NULL;
        break;
    case KB_POINT_PRE_FILTER:
        p->pre_filter = NULL;
        p->narrow = NULL;
        break;
    case KB_POINT_FILTER:
        p->filter = NULL;
        break;
    case KB_POINT_POST_FILTER:
        p->post_filter = NULL;
        break;
    case KB_POINT_PRE_SCORE:
        p->pre_score = NULL;
        break;
    case KB_POINT_SCORE:
        p->score = NULL;
        p->normalize = NULL;
        break;
    case KB_POINT_RESERVE:
        p->reserve = NULL;
        p->unreserve = NULL;
        p->assign = NULL;
        break;
    case KB_POINT_PERMIT:
        p->permit = NULL;
        break;
    case KB_POINT_PRE_BIND:
        p->pre_bind = NULL;
        break;
    case KB_POINT_BIND:
        p->bind = NULL;
        break;
    case KB_POINT_POST_BIND:
        p->post_bind = NULL;
        break;
    case KB_POINTS:
        break;
    }
}

static struct kb_policy *copy_of(const struct kb_profile_entry *entry)
{
    struct kb_policy *copy = malloc(sizeof(*copy));
    KB_ASSERT(copy != NULL);
    *copy = *entry->policy;
    for (int point = 0; point < KB_POINTS; point++)
        if (entry->without & (1u << point))
            leave_out(copy, (enum kb_point)point);
    return copy;
}

int kb_policy_check(const struct kb_policy *p, struct kb_err *err)
{
    const char *name = p->name ? p->name : "?";
    if (p->abi != KB_POLICY_ABI)
        return kb_err_set(err, KB_EINVAL, "policy %s: built for ABI %u, this is %u", name, p->abi,
                          KB_POLICY_ABI);
    if (p->size != sizeof(*p) || p->name == NULL)
        return kb_err_set(err, KB_EINVAL, "policy %s: descriptor of %u bytes, expected %zu", name,
                          p->size, sizeof(*p));
    if ((p->filter || p->narrow) && !p->reason)
        return kb_err_set(err, KB_EINVAL, "policy %s: filters without a reason", name);
    if (p->score && p->normalize_by == KB_POLICY_CUSTOM && !p->normalize)
        return kb_err_set(err, KB_EINVAL, "policy %s: has no normalize", name);
    return 0;
}

static int note_points(struct kb_profile *p, const struct kb_policy *policy, uint32_t at,
                       struct kb_err *err)
{
    p->has_lifecycle |= policy->reserve || policy->unreserve || policy->permit ||
                        policy->pre_bind || policy->bind || policy->post_bind;
    p->has_post_filter |= policy->post_filter != NULL;
    p->has_hint |= policy->hint != NULL;
    p->has_observer |= policy->placed != NULL;
    if (policy->group && p->grouper != UINT32_MAX)
        return kb_err_set(err, KB_EINVAL, "policy %s: another one groups the pods already",
                          policy->name);
    if (policy->batch && p->batcher != UINT32_MAX)
        return kb_err_set(err, KB_EINVAL, "policy %s: another one takes batches already",
                          policy->name);
    p->grouper = policy->group ? at : p->grouper;
    p->batcher = policy->batch ? at : p->batcher;
    return 0;
}

/* ---- held policies ---- */

static enum kb_policy_status refuse_all(struct kb_policy_cycle *c)
{
    (void)c;
    return KB_POLICY_UNSCHEDULABLE;
}

static void say_held(struct kb_policy_cycle *c, uint32_t code, kb_policy_emit *emit, void *to)
{
    (void)c, (void)code;
    emit(to, "a policy that this profile requires is held");
}

void kb_profile_hold(struct kb_profile *p, uint32_t policy, const char *why)
{
    struct kb_profile_policy *at = &p->at[policy];
    struct kb_policy *was = at->policy;
    bool sorts = was->queue_sort != NULL;
    *was = (struct kb_policy){.abi = was->abi,
                              .size = was->size,
                              .name = was->name,
                              .flags = was->flags & ~(uint32_t)KB_POLICY_GLOBAL,
                              .events = was->events,
                              .unload = was->unload};
    if (sorts)
        was->queue_sort = kb_policy_builtin("PrioritySort")->queue_sort;
    if (was->flags & KB_POLICY_REQUIRED) {
        was->pre_filter = refuse_all;
        was->reason = say_held;
    }
    free(at->held);
    at->held = kb_str_dup(kb_str_of(why));
    at->untold = true;
}

/* ---- life ---- */

static int configure(struct kb_profile *p, const struct kb_policy_host *host,
                     const struct kb_profile_entry *entry, struct kb_err *err)
{
    struct kb_profile_policy *at = &p->at[p->n];
    char error[256] = "";
    int rc = 0;
    if (entry->held || !entry->policy->configure)
        return 0;
    KB_ASK(p, p->n, KB_GUARD_CONFIGURE,
           rc = entry->policy->configure(host, entry->args, &at->instance, error, sizeof(error)));
    return rc == 0 ? 0
                   : kb_err_set(err, KB_EINVAL, "policy %s: %s", entry->policy->name,
                                *error ? error : "refuses its arguments");
}

static int add(struct kb_profile *p, const struct kb_policy_host *host,
               const struct kb_profile_entry *entry, struct kb_err *err)
{
    struct kb_profile_policy *at = &p->at[p->n];
    enum kb_point lacks, user;
    if (kb_policy_check(entry->policy, err) < 0)
        return -KB_EINVAL;
    if (kb_policy_lacks(entry->policy, ~entry->without, &lacks, &user))
        return kb_err_set(err, KB_EINVAL, "policy %s: its %s needs its %s", entry->policy->name,
                          kb_point_names[user], kb_point_names[lacks]);
    *at = (struct kb_profile_policy){
        .row = kb_guard_row(p->guard->page, entry->policy->name, entry->version)};
    at->weight = entry->weight ? entry->weight : entry->policy->weight ? entry->policy->weight : 1;
    if (configure(p, host, entry, err) < 0)
        return -KB_EINVAL;
    at->policy = copy_of(entry);
    at->version = entry->version ? kb_str_dup(kb_str_of(entry->version)) : NULL;
    p->n++;
    if (entry->held) {
        kb_profile_hold(p, p->n - 1, entry->held);
        at->policy->unload = NULL;
        at->untold = false;
    }
    return note_points(p, at->policy, p->n - 1, err);
}

int kb_profile_init(struct kb_profile *p, const char *name, const struct kb_policy_host *host,
                    struct kb_guard *guard, const struct kb_profile_entry *entries, size_t n,
                    struct kb_err *err)
{
    uint32_t sorters = 0;
    *p = (struct kb_profile){.name = kb_str_dup(kb_str_of(name)),
                             .guard = guard,
                             .grouper = UINT32_MAX,
                             .batcher = UINT32_MAX};
    int rc = n <= KB_PROFILE_POLICIES
                 ? 0
                 : kb_err_set(err, KB_EINVAL, "more than %d policies", KB_PROFILE_POLICIES);
    for (size_t i = 0; rc == 0 && i < n; i++) {
        rc = add(p, host, &entries[i], err);
        if (rc == 0 && p->at[i].policy->queue_sort) {
            p->sorter = p->n - 1;
            sorters++;
        }
    }
    if (rc == 0 && sorters != 1)
        rc = kb_err_set(err, KB_EINVAL, "%u policies order the queue, exactly one must", sorters);
    if (rc < 0) {
        kb_profile_finish(p);
        return kb_err_wrap(err, "profile %s", name);
    }
    return 0;
}

void kb_profile_finish(struct kb_profile *p)
{
    for (uint32_t i = 0; i < p->n; i++) {
        if (p->at[i].policy->unload)
            KB_ASK(p, i, KB_GUARD_UNLOAD, p->at[i].policy->unload(p->at[i].instance));
        free(p->at[i].policy);
        free(p->at[i].version);
        free(p->at[i].held);
    }
    free(p->name);
    *p = (struct kb_profile){.grouper = UINT32_MAX, .batcher = UINT32_MAX};
}
