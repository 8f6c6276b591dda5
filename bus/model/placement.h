/* What a pod says of the nodes that it may be on: its node selector, its required node affinity,
 * its tolerations, its host ports.
 *
 * For one pod and one node, read in place; for one pod and all nodes there are the scheduler's
 * columns. Pure. */
#ifndef KUBUS_MODEL_PLACEMENT_H
#define KUBUS_MODEL_PLACEMENT_H

#include "bus/model/doc.h"

/* A NodeSelector: is one of its nodeSelectorTerms true of the node, in all of its matchExpressions
 * (on labels) and matchFields (on metadata.name)? A term that is empty or malformed is true of no
 * node. O(requirements × labels). */
KB_API bool kb_node_selector_match(kb_val node_selector, kb_val node);
/* `spec` is a PodSpec: nodeSelector, and what node affinity requires during scheduling. */
KB_API bool kb_node_affinity_match(kb_val spec, kb_val node);

/* Does a toleration fit a taint? By effect, key and value, an empty effect or key being all. */
KB_API bool kb_toleration_match(kb_val toleration, kb_val taint);
/* The first taint of that effect in a list that no toleration of another fits; KB_NONE: there is
 * none. */
KB_API kb_val kb_taint_untolerated(kb_val taints, const char *effect, kb_val tolerations);

/* A port of the node that a pod wants for itself. */
struct kb_host_port {
    uint16_t port;
    kb_str protocol; /* "TCP" when nothing is said */
    kb_str ip;       /* empty for all addresses */
};

/* for (struct kb_host_ports it = kb_host_ports(spec); kb_host_port_next(&it, &port);) — of the
 * containers and sidecars of a PodSpec. Texts are borrowed. */
struct kb_host_ports {
    kb_val init; /* still to come */
    struct kb_iter containers, ports;
    bool sidecars;
};
KB_API struct kb_host_ports kb_host_ports(kb_val spec);
KB_API bool kb_host_port_next(struct kb_host_ports *it, struct kb_host_port *ret);
KB_API bool kb_host_port_clash(const struct kb_host_port *a, const struct kb_host_port *b);

#endif
