/* The pods of the cluster, as policies that look at them need them.
 *
 * GROUPS. Pods with equal namespace and labels are one group (a Deployment's revision is one), and
 * a selector is matched against a group once. A group knows how many of its pods are on which node.
 *
 * COUNTS. Whoever wants to know how many pods of some sort are on each node asks for a count once:
 * it is made from the groups, and then follows each pod that comes or goes. A group has the list of
 * the counts that mean it, so that a placement costs as many additions as there are counts of it.
 *
 * TERMS. Affinity works both ways: pods that are there have terms which mean pods that come. Equal
 * terms of all pods are one, with a count of the pods that carry it; a group remembers which terms
 * mean it.
 *
 * Everything hangs on kb_pods_add, so what is added and taken back leaves no trace but the
 * versions.
 */
#ifndef KUBUS_SCHEDULER_PODS_H
#define KUBUS_SCHEDULER_PODS_H

#include "actors/scheduler/core/intern.h"
#include "bus/base/arena.h"
#include "bus/base/buf.h"
#include "bus/base/list.h"
#include "bus/base/map.h"
#include "plugins/policy.h"

struct kb_pod_group;
struct kb_pod_carries;

struct kb_pods {
    struct kb_intern *intern;
    uint32_t cap;          /* slots */
    struct kb_map by_key;  /* groups */
    struct kb_map by_what; /* counts */
    struct kb_map by_term; /* terms */
    struct kb_link groups, counts, terms;
    struct kb_map namespaces; /* interned name → struct kb_pod_labels */
    struct kb_policy_versions versions;
    struct kb_buf scratch;
};

/* Labels of something, sorted by key. */
struct kb_pod_labels {
    uint32_t n;
    const struct kb_policy_label *v;
};

void kb_pods_init(struct kb_pods *p, struct kb_intern *intern);
void kb_pods_finish(struct kb_pods *p); /* all groups, counts and terms must have been released */
void kb_pods_grow(struct kb_pods *p, uint32_t cap); /* slots */

/* Set `group` and `carries` of a decoded pod. */
void kb_pods_enroll(struct kb_pods *p, struct kb_policy_pod *pod);
void kb_pods_release(struct kb_pods *p, struct kb_policy_pod *pod);
/* A pod came to a slot (by 1), or left it (by -1). */
void kb_pods_add(struct kb_pods *p, uint32_t slot, const struct kb_policy_pod *pod, int by);

/* A namespace has these labels (copied), or is gone (NULL). */
void kb_pods_namespace(struct kb_pods *p, uint32_t ns, const struct kb_pod_labels *labels);

bool kb_selector_holds(const struct kb_policy_selector *s, struct kb_pod_labels labels);
bool kb_pods_selects(const struct kb_pods *p, const struct kb_policy_pods_selector *s, uint32_t ns,
                     struct kb_pod_labels labels);

/* As in struct kb_policy_host. */
const struct kb_policy_count *kb_pods_count(struct kb_pods *p,
                                            const struct kb_policy_pods_selector *all, uint32_t n,
                                            bool ending);
void kb_pods_count_end(struct kb_pods *p, const struct kb_policy_count *count);
const struct kb_policy_tally *kb_pods_tally(struct kb_pods *p, const struct kb_policy_count *count,
                                            uint32_t key, const struct kb_policy_domains *domains);
uint32_t kb_pods_carried(struct kb_pods *p, const struct kb_policy_pod *pod,
                         const struct kb_policy_carried **ret_terms);

#endif
