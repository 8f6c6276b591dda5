/* A profile: which policies place a pod, in which order they filter, and what their scores weigh.
 */
#ifndef KUBUS_SCHEDULER_PROFILE_H
#define KUBUS_SCHEDULER_PROFILE_H

#include "bus/base/err.h"
#include "plugins/policy.h"

enum { KB_PROFILE_POLICIES = 64 };

struct kb_profile_entry {
    const struct kb_policy *policy; /* must outlive the profile */
    int32_t weight;                 /* 0: the policy's own */
    const char *args;               /* JSON text, or NULL */
};

struct kb_profile {
    char *name; /* spec.schedulerName */
    uint32_t n;
    struct kb_profile_policy {
        const struct kb_policy *policy;
        int32_t weight;
        void *instance;
    } at[KB_PROFILE_POLICIES];
    uint32_t sorter; /* which of them orders the queue */
};

/* Check the descriptors (ABI, size, extension points that this host does not drive, exactly one
 * queue_sort), configure the policies. -KB_EINVAL, and nothing was made. */
int kb_profile_init(struct kb_profile *p, const char *name, const struct kb_policy_host *host,
                    const struct kb_profile_entry *entries, size_t n, struct kb_err *err);
void kb_profile_finish(struct kb_profile *p);

/* The default profile of Kubernetes, as far as its policies are built in. */
extern const struct kb_profile_entry kb_profile_default[];
extern const size_t kb_profile_default_n;
/* A built-in policy by name; NULL when there is none. */
const struct kb_policy *kb_policy_builtin(const char *name);

#endif
