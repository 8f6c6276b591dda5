/* Who takes part in a simulation: a profile of the scheduler under a name. */
#ifndef KUBUS_SCHEDULER_SIM_CONTENDER_H
#define KUBUS_SCHEDULER_SIM_CONTENDER_H

#include "actors/scheduler/config.h"

enum { KB_CONTENDERS = 64, KB_CONTENDER_NAME_BYTES = 64 };

struct kb_contender {
    char name[KB_CONTENDER_NAME_BYTES]; /* of the policy, or of the profile */
    kb_ms backoff_ms, backoff_max_ms;   /* of the file; else 0 */
    size_t n;
    struct kb_profile_entry entries[KB_PROFILE_POLICIES];
};

struct kb_policy_file;

/* Zero-initialized is empty and valid. Its policies are loaded until it is finished. */
struct kb_contenders {
    size_t n;
    struct kb_contender *at;       /* KB_CONTENDERS of them */
    struct kb_config config;       /* what profiles of a file are in */
    struct kb_policy_file **files; /* all that are open: found by their names from then on */
    size_t files_n;
};
void kb_contenders_finish(struct kb_contenders *c);

/* One more, of a policy by name (built in, or ../lib/kubus/policies/NAME.so beside the program) or
 * as FILE.so: the filters of the default profile, and the scores of this policy alone.
 * -KB_ENOTFOUND, -KB_EINVAL. */
int kb_contenders_add_policy(struct kb_contenders *c, const char *name_or_file, struct kb_err *err);
/* The profiles of a KubeSchedulerConfiguration; a policy that is not built in and was not named as
 * a file is looked for by its name. Once. */
int kb_contenders_add_profiles(struct kb_contenders *c, const char *path, struct kb_err *err);
/* The default profile, as "Kubernetes". */
void kb_contenders_add_default(struct kb_contenders *c);
/* A policy of a file, to be found by its name in profiles. Before any other. */
int kb_contenders_know(struct kb_contenders *c, const char *file, struct kb_err *err);

/* For kb_config_parse; user is a struct kb_contenders. */
const struct kb_policy *kb_contender_resolve(void *user, const char *name);
/* For replays: the file of this version if it is among those that are known, else of this name. */
const struct kb_policy *kb_contender_resolve_version(void *user, const char *name,
                                                     const char *version);

#endif
