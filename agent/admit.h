/* May a node take a pod? Asked once, before anything of it is made, as kubelet asks: the scheduler
 * has answered already, but several of them may have chosen the node in the same moment, and
 * spec.nodeName can be written by anybody. A pod that is refused becomes Failed; whoever made it
 * makes another one.
 *
 * Checked are, in the order in which kubelet names the first that fails: requests against what is
 * allocatable, node selector and required node affinity, host ports, and NoExecute taints (of the
 * other effects NoSchedule is for schedulers alone). Pure. */
#ifndef KUBUS_AGENT_ADMIT_H
#define KUBUS_AGENT_ADMIT_H

#include "bus/model/doc.h"

enum kb_amount { KB_AMOUNT_PODS, KB_AMOUNT_CPU, KB_AMOUNT_MEMORY, KB_AMOUNT_EPHEMERAL, KB_AMOUNTS };

/* Of CPU in thousandths, of the others in units. */
struct kb_amounts {
    int64_t of[KB_AMOUNTS];
};

/* What a pod requests of these, as bus/model/requests.h sums it; and that it is one pod.
 * O(containers). */
struct kb_amounts kb_admit_requests(kb_val pod);
/* status.allocatable of a Node; what is not stated there is not limited. */
struct kb_amounts kb_admit_allocatable(kb_val node);
void kb_admit_add(struct kb_amounts *to, const struct kb_amounts *more); /* capped */

/* In kubelet's words: OutOfcpu, NodePorts … */
struct kb_refusal {
    char reason[64], message[256];
};

/* false: it does not fit beside what is `used`; `ret` says why. */
bool kb_admit_fits(const struct kb_amounts *pod, const struct kb_amounts *used,
                   const struct kb_amounts *allocatable, struct kb_refusal *ret);
/* What admission looks at of a Node, so that not the whole of it is kept: its name, labels and
 * taints. The caller's. */
struct kb_doc *kb_admit_node(kb_val node);
/* Is the node among those that the pod's nodeSelector and required node affinity mean? */
bool kb_admit_affinity(kb_val pod, kb_val node, struct kb_refusal *ret);
/* Does the pod tolerate all of the node's NoExecute taints, be it for a while? */
bool kb_admit_taints(kb_val pod, kb_val node, struct kb_refusal *ret);
/* Do both want the same host port? O(ports of one × ports of the other). */
bool kb_admit_ports_clash(kb_val pod, kb_val other);
void kb_admit_refuse_ports(struct kb_refusal *ret);
/* The API's rules for names that become names of folders, once more: what is in the store need not
 * have come through the API, and "..", as the uid of a pod that is deleted, would take the node's
 * whole folder with it. A uid that is not good belongs to no pod; the names of containers and
 * volumes are labels, each once. O(n²) in their number, which is bounded. */
bool kb_admit_uid(kb_str uid);
bool kb_admit_container_name(kb_str name);
bool kb_admit_names(kb_val pod, struct kb_refusal *ret);

#endif
