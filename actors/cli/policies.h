/* The scheduler's configuration from the command line: read from the cluster, edited as a tree,
 * written back, and waited for until every scheduler has looked at it.
 *
 * It is the ConfigMap kube-system/kubus-scheduler: config.yaml, a KubeSchedulerConfiguration, and
 * policies, which loaded file each name means. */
#ifndef KUBUS_CLI_POLICIES_H
#define KUBUS_CLI_POLICIES_H

#include "actors/cli/tool.h"
#include "bus/model/node.h"

struct kb_policies {
    struct kb_actor *tool;
    struct kb_arena arena;
    int64_t rev;              /* 0: the ConfigMap is not there */
    struct kb_node *config;   /* never NULL after a read */
    struct kb_node *versions; /* name → version */
};

/* Join the bus of the cluster in `data_dir`; -KB_EUNAVAILABLE when none runs there. */
int kb_policies_open(struct kb_policies *p, const char *data_dir, struct kb_err *err);
void kb_policies_finish(struct kb_policies *p);
int kb_policies_read(struct kb_policies *p, struct kb_err *err);
/* Take the configuration from a file instead. -KB_EINVAL, -KB_ENOTFOUND. */
int kb_policies_read_file(struct kb_policies *p, const char *path, struct kb_err *err);
/* Write what was edited, if nobody else wrote since it was read (-KB_ECONFLICT), and wait until all
 * schedulers have looked at it. -KB_EINVAL with the reason when they would refuse it: then it is
 * not written. */
int kb_policies_write(struct kb_policies *p, struct kb_err *err);

/* The names of the schedulers that run, as an array of texts in the arena. */
int kb_policies_schedulers(struct kb_policies *p, struct kb_node **ret_names, struct kb_err *err);
/* A call to a scheduler. */
int kb_policies_call(struct kb_policies *p, const char *scheduler, const char *method, kb_val body,
                     struct kb_doc **ret, struct kb_err *err);

/* ---- edits of a configuration, pure ---- */

/* Enable at multiPoint of the profile of that name (which must be there; the only one may have
 * none). weight 0: the policy's own. `args` NULL leaves those that it has. */
int kb_policies_enable(struct kb_arena *a, struct kb_node *config, const char *profile,
                       const char *name, int64_t weight, struct kb_node *args, struct kb_err *err);
/* Take it out of a profile, or of all (NULL), at every extension point, with its arguments. How
 * many places it stood in. */
size_t kb_policies_disable(struct kb_node *config, const char *profile, const char *name);
/* Is it named in any profile? */
bool kb_policies_uses(const struct kb_node *config, const char *name);

#endif
