/* What the files of the deployment controller share. */
#ifndef KUBUS_PLUGINS_DEPLOYMENT_H
#define KUBUS_PLUGINS_DEPLOYMENT_H

#include <kubus/plugin.h>

#define RS           "replicasets.apps"
#define HASH_LABEL   "pod-template-hash"
#define ANN_REVISION "deployment.kubernetes.io/revision"
#define ANN_HISTORY  "deployment.kubernetes.io/revision-history"
#define ANN_DESIRED  "deployment.kubernetes.io/desired-replicas"
#define ANN_MAX      "deployment.kubernetes.io/max-replicas"
#define ANN_APPLIED  "kubectl.kubernetes.io/last-applied-configuration"
#define ANN_ROLLBACK "deprecated.deployment.rollback.to"
#define TAG_NEW_RS   "new-replicaset"

/* A ReplicaSet as one run sees it: `replicas` is what it shall have, `was` what the cache shows.
 * All changes of one run go into `patch`, which is wished once at the end. */
struct rs {
    const struct kb_object *object; /* NULL: created in this run */
    kb_str name;
    int64_t created_us, revision;
    int64_t replicas, was;             /* of the spec */
    int64_t present, ready, available; /* of the status */
    /* Available ones that will stay: of an old status, no more than were asked for since. */
    int64_t sure;
    struct kb_node *patch; /* or NULL */
};

struct rollout {
    kb_controller *c;
    struct kb_arena *a;
    const struct kb_object *d;
    kb_str uid;
    bool rolling, paused, has_deadline;
    int64_t replicas, surge, unavailable; /* resolved for this number of replicas */
    int64_t deadline_s, history, collisions;
    struct rs **all;  /* old ones by age, then the new one */
    struct rs **old;  /* by age */
    struct rs *fresh; /* the new one; NULL while there is none */
    size_t nall, nold;
    struct kb_node *status; /* being built */
};

/* ---- revisions.c: which ReplicaSets there are, and the new one ---- */
void find_replicasets(struct rollout *r);
/* Bring the new one's revision and annotations up to date; with `create`, make it where there is
 * none. */
void sync_fresh(struct rollout *r, bool create);
/* Delete old ones beyond the history limit. */
void clean_up(struct rollout *r);
struct kb_node *patch_of(struct rollout *r, struct rs *rs);

/* ---- scaling.c: how many pods each has ---- */
/* Wish so many replicas, with its event. True when that changes anything. */
bool scale(struct rollout *r, struct rs *rs, int64_t replicas);
void roll(struct rollout *r);
void recreate(struct rollout *r);
/* Spread a change of the number of replicas, or of a paused deployment's, over what there is. */
void scale_in_proportion(struct rollout *r);
/* How many replicas a new one may have right now. */
int64_t fresh_replicas(const struct rollout *r, int64_t now_has);
int64_t sum_spec(struct rs *const *list, size_t n);
int64_t sum_available(struct rs *const *list, size_t n);
int64_t sum_sure(struct rs *const *list, size_t n);

/* ---- status.c ---- */
/* Set the condition Progressing, unless it says so already. */
void progress(struct rollout *r, const char *status, const char *reason, kb_str message);
/* The status in full; with `rollout`, also whether it goes on, is done, or is stuck. */
void write_status(struct rollout *r, bool rollout);

#endif
