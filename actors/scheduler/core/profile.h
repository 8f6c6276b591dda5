/* A profile: which policies place a pod, in which order they filter, and what their scores weigh.
 */
#ifndef KUBUS_SCHEDULER_PROFILE_H
#define KUBUS_SCHEDULER_PROFILE_H

#include "actors/scheduler/core/guard.h"
#include "bus/base/err.h"
#include "plugins/policy.h"

enum { KB_PROFILE_POLICIES = 64 };

/* The extension points, by the names that a configuration calls them. `narrow` belongs to
 * preFilter, `normalize` to score, `unreserve` and `assign` to reserve. */
#define KB_POINT_MAP(X)                                                                            \
    X(PRE_ENQUEUE, "preEnqueue")                                                                   \
    X(QUEUE_SORT, "queueSort")                                                                     \
    X(PRE_FILTER, "preFilter")                                                                     \
    X(FILTER, "filter")                                                                            \
    X(POST_FILTER, "postFilter")                                                                   \
    X(PRE_SCORE, "preScore")                                                                       \
    X(SCORE, "score")                                                                              \
    X(RESERVE, "reserve")                                                                          \
    X(PERMIT, "permit")                                                                            \
    X(PRE_BIND, "preBind")                                                                         \
    X(BIND, "bind")                                                                                \
    X(POST_BIND, "postBind")

enum kb_point {
#define X(id, name) KB_POINT_##id,
    KB_POINT_MAP(X)
#undef X
        KB_POINTS
};

extern const char *const kb_point_names[KB_POINTS];
/* Does the policy have something to say there? */
bool kb_policy_extends(const struct kb_policy *policy, enum kb_point point);
/* Of the policy's points those of the bits `points` are to be asked: would one of them, `user`,
 * miss what another, `lacks`, prepares for it? A filter stands on preFilter; a score on preScore,
 * or on preFilter in a policy without preScore. */
bool kb_policy_lacks(const struct kb_policy *policy, uint32_t points, enum kb_point *ret_lacks,
                     enum kb_point *ret_user);

struct kb_profile_entry {
    const struct kb_policy *policy; /* must outlive the profile */
    int32_t weight;                 /* 0: the policy's own */
    const char *args;               /* JSON text, or NULL */
    uint32_t without;               /* the bits 1 << KB_POINT_… at which it is not to be asked */
    const char *version;            /* of a loaded file, or NULL */
    const char *held;               /* why it is held from the start, or NULL */
};

struct kb_profile {
    char *name; /* spec.schedulerName; NULL: there is none here (any more) */
    uint32_t n;
    struct kb_guard *guard;
    struct kb_profile_policy {
        struct kb_policy *policy; /* a copy of the profile's own, without what it is not asked */
        int32_t weight;
        uint32_t row; /* in the guard's page */
        void *instance;
        char *version, *held; /* NULL: built in; at work */
        bool untold;          /* held, and the driver does not know yet */
    } at[KB_PROFILE_POLICIES];
    uint32_t sorter;    /* which of them orders the queue */
    uint32_t grouper;   /* … and which says what group a pod is of; UINT32_MAX: none */
    uint32_t batcher;   /* … and which looks at pods in batches; UINT32_MAX: none */
    bool has_lifecycle; /* one of them reserves, permits, or takes part in binding */
    bool has_post_filter, has_hint;
    bool has_observer; /* one of them is told of pods that are placed */
};

/* Check the descriptors (ABI, size, exactly one queue_sort, at most one `group`) and what they are
 * to be asked (kb_policy_lacks), configure the policies. Borrows the guard. -KB_EINVAL, and nothing
 * was made. */
int kb_profile_init(struct kb_profile *p, const char *name, const struct kb_policy_host *host,
                    struct kb_guard *guard, const struct kb_profile_entry *entries, size_t n,
                    struct kb_err *err);
void kb_profile_finish(struct kb_profile *p);
/* Is this a descriptor that a profile can use? -KB_EINVAL with the reason. */
int kb_policy_check(const struct kb_policy *policy, struct kb_err *err);

/* Hold a policy: it is not asked any more, and the profile goes on without it. With
 * KB_POLICY_REQUIRED no node takes a pod of the profile meanwhile. One that orders the queue is
 * stood in for by PrioritySort. Plans that were made with it must have been dropped before. */
void kb_profile_hold(struct kb_profile *p, uint32_t policy, const char *why);

/* The default profile of Kubernetes, as far as its policies are built in. */
extern const struct kb_profile_entry kb_profile_default[];
extern const size_t kb_profile_default_n;
/* A built-in policy by name; NULL when there is none. */
const struct kb_policy *kb_policy_builtin(const char *name);

#endif
