/* Gang: the pods of a group get their nodes together, or none of them does.
 *
 * The conventions are those of the co-scheduling plugin of Kubernetes' scheduler-plugins, without
 * its PodGroup objects. A pod names its group by the label
 *
 *     scheduling.x-k8s.io/pod-group: NAME        (or pod-group.scheduling.sigs.k8s.io/name)
 *
 * and says how many of them it takes, as a label or an annotation
 *
 *     pod-group.scheduling.sigs.k8s.io/min-available: "4"
 *
 * A group lives in its namespace. Pods are held back until there are that many. Then they come to
 * their turn one after the other (the queue keeps a group together, by when its first pod came),
 * are reserved, and wait for their permits until enough of them have a place. When one of them
 * fits nowhere, or a wait ends (permitWaitingTimeSeconds, 60), all of the group give their places
 * back and the whole group goes through the back-off: so two groups never hold what the other one
 * waits for.
 *
 * Arguments: {"permitWaitingTimeSeconds": 60} */
#include <kubus/policy.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define GROUP     "scheduling.x-k8s.io/pod-group"
#define GROUP_OLD "pod-group.scheduling.sigs.k8s.io/name"
#define LEAST     "pod-group.scheduling.sigs.k8s.io/min-available"

enum { TOO_FEW = 1 };

struct gang {
    const struct kb_policy_host *host;
    int64_t wait_ms;
};

static int configure(const struct kb_policy_host *host, const char *args, void **ret_instance,
                     char *error, size_t error_bytes)
{
    double seconds = kb_policy_number(args, "permitWaitingTimeSeconds", 60);
    struct gang *gang = seconds > 0 && seconds <= 900 ? malloc(sizeof(*gang)) : NULL;
    if (gang == NULL) {
        snprintf(error, error_bytes, "permitWaitingTimeSeconds: more than 0 and at most 900");
        return -1;
    }
    *gang = (struct gang){host, (int64_t)(seconds * 1000)};
    *ret_instance = gang;
    return 0;
}

/* How many pods it takes; 0: the pod does not say. */
static int64_t least(const struct kb_policy_host *host, const struct kb_policy_queued *pod)
{
    int64_t n = 0;
    uint32_t text = host->lifecycle->label(host->core, pod, LEAST);
    if (text == 0)
        text = host->lifecycle->annotation(host->core, pod, LEAST);
    return text != 0 && host->number(host->core, text, &n) && n > 1 ? n : 0;
}

/* "NAMESPACE/NAME". A group of one is none. */
static uint32_t group(void *instance, const struct kb_policy_queued *pod)
{
    const struct kb_policy_host *host = ((struct gang *)instance)->host;
    char text[640];
    uint32_t name = host->lifecycle->label(host->core, pod, GROUP);
    if (name == 0)
        name = host->lifecycle->label(host->core, pod, GROUP_OLD);
    if (name == 0 || least(host, pod) == 0)
        return 0;
    snprintf(text, sizeof(text), "%s/%s", host->text(host->core, pod->ns),
             host->text(host->core, name));
    return host->intern(host->core, text);
}

/* By priority, then by when it came: of a group, when its first pod did. */
static bool queue_sort(void *instance, const struct kb_policy_queued *a,
                       const struct kb_policy_queued *b)
{
    const struct kb_policy_host *host = ((struct gang *)instance)->host;
    if (a->priority != b->priority)
        return a->priority > b->priority;
    int64_t since_a = a->queued_ms, since_b = b->queued_ms;
    if (a->group != 0)
        since_a = host->lifecycle->group(host->core, a->group)->since_ms;
    if (b->group != 0)
        since_b = host->lifecycle->group(host->core, b->group)->since_ms;
    if (since_a != since_b)
        return since_a < since_b;
    if (a->group != b->group)
        return a->group < b->group;
    return a->seq < b->seq;
}

/* Fewer than it takes: none of them need try. */
static enum kb_policy_status pre_enqueue(void *instance, const struct kb_policy_queued *pod)
{
    const struct kb_policy_host *host = ((struct gang *)instance)->host;
    if (pod->group == 0 ||
        host->lifecycle->group(host->core, pod->group)->known >= least(host, pod))
        return KB_POLICY_OK;
    return KB_POLICY_UNSCHEDULABLE;
}

static enum kb_policy_status permit(struct kb_policy_cycle *c, uint32_t node, int64_t *ret_wait_ms)
{
    const struct gang *gang = c->instance;
    const struct kb_policy_lifecycle *life = c->host->lifecycle;
    (void)node;
    if (c->who->group == 0)
        return KB_POLICY_OK;
    const struct kb_policy_group *g = life->group(c->host->core, c->who->group);
    if (g->known < least(c->host, c->who)) {
        c->code = TOO_FEW;
        return KB_POLICY_UNSCHEDULABLE;
    }
    *ret_wait_ms = gang->wait_ms;
    if (g->placed < least(c->host, c->who))
        return KB_POLICY_WAIT;
    for (const struct kb_policy_queued *pod = life->waiting(c->host->core, NULL), *next; pod;
         pod = next) {
        next = life->waiting(c->host->core, pod);
        if (pod->group == c->who->group)
            life->allow(c, pod);
    }
    return KB_POLICY_OK;
}

/* One of them gives its place back: so do all that still wait. */
static void unreserve(struct kb_policy_cycle *c, uint32_t node)
{
    (void)node;
    if (c->who->group != 0)
        c->host->lifecycle->send_back(c, c->who->group,
                                      "rejected because another pod of its group was");
}

/* One of them fits nowhere, and nobody made room for it. */
static enum kb_policy_status post_filter(struct kb_policy_cycle *c, uint32_t *ret_node)
{
    const struct kb_policy_group *g = c->host->lifecycle->group(c->host->core, c->who->group);
    (void)ret_node;
    if (c->who->group != 0 && g->placed < least(c->host, c->who))
        c->host->lifecycle->send_back(c, c->who->group,
                                      "rejected because another pod of its group fits nowhere");
    return KB_POLICY_UNSCHEDULABLE;
}

static void reason(struct kb_policy_cycle *c, uint32_t code, kb_policy_emit *emit, void *to)
{
    (void)c;
    emit(to, code == TOO_FEW ? "the pod group has fewer pods than it takes" : "pod group");
}

KB_POLICY(Gang,
          .events = KB_POLICY_ON_NODE_ADD | KB_POLICY_ON_NODE_ALLOCATABLE |
                    KB_POLICY_ON_NODE_LABEL | KB_POLICY_ON_NODE_TAINT | KB_POLICY_ON_POD_DELETE,
          .configure = configure, .unload = free, .group = group, .queue_sort = queue_sort,
          .pre_enqueue = pre_enqueue, .permit = permit, .unreserve = unreserve,
          .post_filter = post_filter, .reason = reason);
