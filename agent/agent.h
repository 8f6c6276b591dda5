/* The node agent as an actor: Kubus' kubelet. One process a node; for hollow nodes one process for
 * many. */
#ifndef KUBUS_AGENT_AGENT_H
#define KUBUS_AGENT_AGENT_H

#include "bus/base/err.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct kb_actor;
struct kb_agent;

struct kb_agent_options {
    const char *node; /* "n1"; for hollow nodes the prefix: hollow-0, hollow-1 … */
    const char *data_dir;
    const char *runtime;                                     /* "oci", "process", "hollow" */
    const char *pod_cidr;                                    /* of this node: "10.244.1.0/24" */
    const char *node_ip;                                     /* NULL: found */
    const char *bridge, *cgroup, *cni_dir, *shim, *oci_path; /* NULL: chosen */
    const char *cluster_dns, *cluster_domain;                /* NULL, "cluster.local" */
    const char *const *images; /* archives and layouts to load at start: "FILE" or "NAME=FILE" */
    size_t n_images;
    size_t hollow_nodes; /* 0: this is one node of that name */
    int64_t hollow_start_ms, hollow_stop_ms;
    bool hollow_events; /* hollow pods tell events as well */
    int64_t log_max_bytes;
    unsigned log_max_files;
};

/* Adopt what is there, follow the node's pods. The actor and the options outlive it. Call
 * kb_actor_run() then. */
int kb_agent_new(struct kb_actor *actor, const struct kb_agent_options *options,
                 struct kb_agent **ret_agent, struct kb_err *err);
/* Containers run on. */
void kb_agent_destroy(struct kb_agent **agent_p);

/* Remove every pod, network and group of this node from the machine; no actor is needed. */
int kb_agent_purge(const struct kb_agent_options *options, struct kb_err *err);

/* Enter the network namespace NAME (of iproute2) or at a path. With `link`, one that does not exist
 * is made, joined to the present one by a pair of links, and routed to: a further node on this
 * machine. ret_ip: the address of the node on that link. agent/node_net.c */
struct kb_node_net {
    const char *netns;      /* NAME or path */
    unsigned index;         /* 1, 2 …: chooses the link's addresses */
    const char *cluster_id; /* so that clusters do not collide; may be NULL */
    const char *pod_cidr;   /* of the node: routed to it from here */
};
int kb_node_net_enter(const struct kb_node_net *net, char ret_ip[16], struct kb_err *err);
int kb_node_net_remove(const struct kb_node_net *net, struct kb_err *err);

#endif
