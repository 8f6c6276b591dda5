/* agent_admit.c - whether the node takes a pod.
 *
 * A pod that has a startTime, or of which something runs, was taken by an agent before this one and
 * is not asked again. Others wait until the first listing is complete, or one of them could be
 * given the room of a pod that runs and comes later in the listing. All wait until the Node has
 * been seen, or that it is gone: kubelet, too, takes no pod of the API before it knows its Node.
 * And none is refused by a Node that is older than itself, for the events of the two come by
 * different views, and it may follow a label that was put there for it. */
#include "agent/agent_impl.h"
#include "bus/model/meta.h"

/* Does it hold what it requested? */
static bool counts(const struct kb__pod *pod)
{
    return !pod->gone_from_api && kb_pod_core_begun(pod->core) && !kb_pod_core_over(pod->core);
}

bool kb__admit_refuses(const struct kb__pod *pod, struct kb_refusal *ret)
{
    struct kb_amounts used = {{0}};
    kb_val doc = kb_doc_root(kb_pod_core_doc(pod->core));
    bool clash = false;
    KB_LIST_EACH(it, &pod->node->pods)
    {
        const struct kb__pod *other = KB_CONTAINER(it, struct kb__pod, node_link);
        if (other == pod || !counts(other))
            continue;
        kb_admit_add(&used, &other->requests);
        clash |= kb_admit_ports_clash(doc, kb_doc_root(kb_pod_core_doc(other->core)));
    }
    kb_val node = kb_doc_root(pod->node->facts);
    if (!kb_admit_fits(&pod->requests, &used, &pod->node->allocatable, ret) ||
        !kb_admit_affinity(doc, node, ret))
        return true;
    if (clash)
        kb_admit_refuse_ports(ret);
    return clash || !kb_admit_taints(doc, node, ret);
}

bool kb__admit_open(const struct kb__node *node)
{
    return node->synced && node->agent->nodes_synced;
}

bool kb__admit_is_final(struct kb__pod *pod)
{
    struct kb_agent *agent = pod->agent;
    pod->judged_rev = agent->nodes_rev;
    if (agent->nodes_rev >= pod->rev)
        return true;
    agent->undecided = true;
    return false;
}

static int64_t created_us(const struct kb__pod *pod)
{
    return kb_time_at(kb_doc_root(kb_pod_core_doc(pod->core)), "metadata.creationTimestamp");
}

void kb__admit_newcomers(struct kb__node *node)
{
    while (kb__admit_open(node)) {
        struct kb__pod *oldest = NULL;
        KB_LIST_EACH(it, &node->pods)
        {
            struct kb__pod *pod = KB_CONTAINER(it, struct kb__pod, node_link);
            if (!kb_pod_core_begun(pod->core) && pod->judged_rev != node->agent->nodes_rev &&
                (oldest == NULL || created_us(pod) < created_us(oldest)))
                oldest = pod;
        }
        if (oldest == NULL)
            return;
        kb__pod_begin(oldest);
    }
}
