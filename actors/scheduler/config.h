/* KubeSchedulerConfiguration (kubescheduler.config.k8s.io/v1), from YAML or JSON to profiles.
 *
 * Read as Kubernetes 1.32 reads it: each profile starts from the default set of policies
 * (kb_profile_default) at `multiPoint`; what the profile enables there comes in addition or, of the
 * same name, instead; what it disables ('*': all) goes; then each extension point is filled from
 * multiPoint, less what is disabled for it, and with what is enabled for it by name.
 *
 * Where it differs:
 *  - a profile has ONE order of its policies for all extension points: that of `filter`, behind it
 * what does not filter, in the order of multiPoint. Which policy rules a node out first is seen by
 * people; the other points do not depend on the order, or hardly.
 *  - percentageOfNodesToScore (of the whole, and of a profile) is checked and has no effect: a plan
 * knows every node's score at the cost of those that changed, so that there is nothing to save by
 * looking at fewer.
 *  - parallelism, leaderElection, clientConnection and what concerns the debugging of the process
 * are checked and have no effect: there is one thread, no election (several schedulers may work at
 * once) and no client. `extenders` is refused: a policy does what they do.
 *  - a policy that prepares a filter or score needs to be asked there too: to enable `filter` alone
 * of one that has a preFilter is refused here, while Kubernetes fails each pod. */
#ifndef KUBUS_SCHEDULER_CONFIG_H
#define KUBUS_SCHEDULER_CONFIG_H

#include "actors/scheduler/core/profile.h"
#include "bus/base/arena.h"
#include "bus/base/clock.h"

enum { KB_CONFIG_PROFILES = 16, KB_CONFIG_MAX_BYTES = 1 << 20, KB_CONFIG_MAX_WEIGHT = 100000 };

struct kb_config {
    struct kb_arena arena; /* all texts, and the profiles */
    size_t profiles_n;
    struct kb_config_profile {
        const char *name; /* schedulerName */
        size_t n;
        struct kb_profile_entry entries[KB_PROFILE_POLICIES]; /* for kb_core_add_profile */
    } * profiles;
    kb_ms backoff_ms, backoff_max_ms;
};

/* A policy by name, or NULL. The parser asks for any name that occurs. */
typedef const struct kb_policy *kb_config_resolve(void *user, const char *name);

/* Parse into *ret, zero-initialized, to be finished by the caller. `resolve` NULL: the built-in
 * ones. The descriptors must outlive what is made of the configuration. -KB_EINVAL with the path of
 * what is wrong ("profiles[0].plugins.filter.enabled[1].name: …"), -KB_E2BIG; then *ret is
 * untouched. An empty text is the default configuration. */
int kb_config_parse(kb_str text, kb_config_resolve *resolve, void *user, struct kb_config *ret,
                    struct kb_err *err);
void kb_config_finish(struct kb_config *config);

#endif
