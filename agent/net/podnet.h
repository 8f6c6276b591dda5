/* The network of pods on one node: by our own netlink, or by CNI plugins.
 *
 * Own: a bridge with the range's first address, one veth pair a pod, the default route through the
 * bridge. Addresses come from agent/net/ipam.h. All functions block: use them in jobs. The caller
 * is in the node's network namespace. */
#ifndef KUBUS_AGENT_NET_PODNET_H
#define KUBUS_AGENT_NET_PODNET_H

#include "agent/net/ipam.h"

#include <stdbool.h>

struct kb_podnet {
    const char *ipam_dir; /* addresses given; for CNI also the results of ADD */
    const char *cidr;     /* "10.244.1.0/24" */
    const char *bridge;   /* at most 15 bytes */
    const char
        *cni_dir; /* not NULL: CNI configuration files; the three above but ipam_dir unused */
    const char *cni_bin; /* colon-separated; NULL: /opt/cni/bin:/usr/lib/cni */
    int mtu;             /* 0: the kernel's */
};

struct kb_podnet_pod {
    const char *uid, *ns, *name;
    const char *netns; /* the pinned namespace */
};

/* Bridge, its address, forwarding. Once at the agent's start; fine to repeat. */
int kb_podnet_node(const struct kb_podnet *net, struct kb_err *err);
/* Give the pod its interface and address. Repeating it after a crash is fine. */
int kb_podnet_attach(const struct kb_podnet *net, const struct kb_podnet_pod *pod,
                     char ret_ip[KB_IP_BYTES], struct kb_err *err);
/* Undo; fine when there is nothing, or the namespace has gone. */
int kb_podnet_detach(const struct kb_podnet *net, const struct kb_podnet_pod *pod,
                     struct kb_err *err);
/* The first global IPv4 address of the node's namespace, or "127.0.0.1". */
void kb_podnet_node_ip(char ret_ip[KB_IP_BYTES]);

/* agent/net/cni.c */
int kb__cni_add(const struct kb_podnet *net, const struct kb_podnet_pod *pod,
                char ret_ip[KB_IP_BYTES], struct kb_err *err);
/* The first IPv4 address of a plugin's result, new style (ips) or old (ip4). False: none. */
struct kb_node;
bool kb__cni_result_ip(const struct kb_node *result, char ret_ip[KB_IP_BYTES]);
int kb__cni_del(const struct kb_podnet *net, const struct kb_podnet_pod *pod, struct kb_err *err);

#endif
