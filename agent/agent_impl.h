/* The inside of the node agent, shared by agent_*.c alone.
 *
 *     agent_actor.c    making, views, the runtime's listener, stopping
 *     agent_pod.c      one pod: carries the wishes of its core out
 *     agent_admit.c    whether the node takes a pod
 *     agent_volumes.c  a pod's volumes
 *     agent_refs.c     ConfigMaps and Secrets that pods name, each followed by a view of its own
 *     agent_images.c   images: present, being pulled, refused
 *     agent_node.c     the Node object and its Lease
 *     agent_fence.c    the epoch that statuses carry
 *     agent_events.c   Events, counted up when they repeat
 *     agent_streams.c  agent.logs, agent.exec */
#ifndef KUBUS_AGENT_AGENT_IMPL_H
#define KUBUS_AGENT_AGENT_IMPL_H

#include "agent/admit.h"
#include "agent/agent.h"
#include "agent/ev.h"
#include "agent/image/shown.h"
#include "agent/logs.h"
#include "agent/mounter.h"
#include "agent/pod_core.h"
#include "agent/probe.h"
#include "agent/resolve.h"
#include "bus/actor.h"
#include "bus/base/list.h"
#include "bus/base/map.h"
#include "bus/base/rand.h"
#include "bus/model/fence.h"
#include "bus/loop.h"

enum { CALL_TIMEOUT_MS = 15000, STATUS_FLIGHT_MAX = 256, RETRY_CALL_MS = 1000 };

struct kb_agent {
    struct kb_actor *actor;
    const struct kb_agent_options *options;
    struct kb_ev *ev;
    struct kb_loop_fd *ev_watch;
    struct kb_peer *api;
    struct kb_runtime *rt;
    struct kb_rt_options rt_options;
    char *node_dir, *image_dir;
    struct kb_rand rand;
    bool hollow;
    int64_t cpu_milli, memory_bytes; /* of the machine */

    struct kb__node *nodes;
    size_t n_nodes;
    struct kb_view *node_view;
    bool nodes_synced, undecided; /* undecided: a pod waits for a later Node */
    int64_t nodes_rev;            /* up to which the Nodes are as seen */
    struct kb_map pods_by_uid, pods_by_key;
    struct kb_map found; /* uid → struct kb__found: what an earlier agent left, unclaimed */

    struct kb_map refs;
    struct kb_link status_queue; /* of struct kb__pod */
    size_t status_flying;
    struct kb_fence fence; /* of the epoch that they carry; without one they wait */
    struct kb_ev_timer fence_timer;

    bool images_ready;
    struct kb_images_shown images_shown;
    struct kb_link image_waits;
    struct kb_map pulls;

    struct kb_map event_counts;
    struct kb_ev_timer usage_timer;
    struct kb_link streams;
};

struct kb_node;

struct kb__node {
    struct kb_agent *agent;
    char name[64], ip[16], cidr[24];
    struct kb_view *view;
    bool registered, started_told, ready_told, cordoned, ready_seen, lease_made, synced;
    bool follow; /* its pods are to be followed, once there is an epoch */
    struct kb_amounts allocatable;
    struct kb_doc *facts; /* of its object, as last seen: see kb_admit_node */
    struct kb_link pods;  /* of struct kb__pod */
    struct kb_ev_timer lease_timer, status_timer;
    int64_t transition_us;
};

struct kb__ref {
    struct kb_agent *agent;
    char *key; /* "configmaps/ns/name" */
    struct kb_view *view;
    struct kb_doc *doc;
    bool synced;
    size_t users;
};

/* A pod's use of a ref. */
struct kb__use {
    struct kb_link link;
    struct kb__ref *ref;
    bool volume;
};

struct kb__pod {
    uint32_t magic;
#define KB__POD_MAGIC 0x60d60d01u
    struct kb_agent *agent;
    struct kb__node *node;
    struct kb_pod_core *core;
    struct kb_link node_link;
    struct kb_amounts requests;
    char *key, *dir;
    int64_t rev;
    int64_t judged_rev; /* of the Node that did not fit; -1: not asked yet */
    struct kb_ev_timer timer, status_timer;
    int depth;
    struct kb_mounter mounter;
    bool gone_from_api, removing, torn_down, prepare_waits;
    bool status_dirty, status_flying;
    struct kb_link status_link;
    struct kb_link uses;   /* of struct kb__use */
    struct kb_link probes; /* of struct running_probe */
};

/* agent_actor.c */
void kb__node_follow_pods(struct kb__node *node);

/* agent_pod.c */
void kb__pod_change(struct kb__node *node, const struct kb_change *change);
void kb__pod_refs_changed(struct kb_agent *agent, struct kb__ref *ref);
void kb__pod_image(struct kb__pod *pod, int container, const struct kb_err *err,
                   const char *reason);
void kb__pod_unclaimed(struct kb_agent *agent);
void kb__pod_free_all(struct kb_agent *agent);
extern const struct kb_rt_listener kb__pod_listener;
void kb__pod_found(void *arg, const char *uid, const struct kb_rt_sandbox_info *sandbox,
                   const struct kb_rt_ref *ref, const struct kb_rt_container_info *info);
struct kb__pod *kb__pod_named(struct kb_agent *agent, kb_str ns, kb_str name);
char *kb__pod_log_path(const struct kb__pod *pod, const char *container, int attempt);
struct kb_pod_time kb__now(const struct kb_agent *agent);

struct kb_resolve kb__pod_resolve(struct kb__pod *pod);
void kb__pod_prepared(struct kb__pod *pod, const struct kb_err *err);
/* Have the runtime remove all that there is of it. */
void kb__pod_remove(struct kb__pod *pod);
/* The node takes its room back, and says why. */
void kb__pod_evict(struct kb__pod *pod, const char *why);
/* Begin with a pod, or reject it. */
void kb__pod_begin(struct kb__pod *pod);
/* Send statuses that waited, as far as there is room. */
void kb__pod_status_next(struct kb_agent *agent);

/* agent_fence.c */
void kb__fence_start(struct kb_agent *agent);
/* Nobody knows what became of a status with this epoch. Statuses wait until that is settled. */
void kb__fence_doubt(struct kb_agent *agent, int64_t epoch);
void kb__fence_stop(struct kb_agent *agent);

/* agent_admit.c */
/* Is there no room for it beside the pods that the node has taken? O(pods of the node). */
bool kb__admit_refuses(const struct kb__pod *pod, struct kb_refusal *ret);
/* Is all known that admission asks about? */
bool kb__admit_open(const struct kb__node *node);
/* Is the Node, by which it was judged, as new as the pod? Else it is asked again with a later one.
 */
bool kb__admit_is_final(struct kb__pod *pod);
/* Those that wait and can be asked: the oldest first. */
void kb__admit_newcomers(struct kb__node *node);

/* agent_volumes.c */
void kb__volumes_init(struct kb__pod *pod);
void kb__volumes_prepare(struct kb__pod *pod); /* answer: kb__pod_prepared, maybe at once */
void kb__volumes_refresh(struct kb__pod *pod); /* what they reflect has changed */

/* agent_usage.c */
void kb__usage_start(struct kb_agent *agent);
void kb__usage_stop(struct kb_agent *agent);

/* agent_refs.c */
void kb__refs_of_pod(struct kb__pod *pod);
void kb__refs_of_pod_now(struct kb__pod *pod, kb_val object); /* as it shall be */
void kb__refs_drop(struct kb__pod *pod);
bool kb__refs_synced(const struct kb__pod *pod, bool volumes_only);
kb_val kb__refs_find(void *pod, const char *resource, kb_str ns, kb_str name);
void kb__refs_free_all(struct kb_agent *agent);

/* agent_images.c */
void kb__images_start(struct kb_agent *agent);
void kb__images_want(struct kb__pod *pod, int container);
void kb__images_forget(struct kb__pod *pod);
/* status.images of a node: see agent/image/shown.h. */
struct kb_node *kb__images_listed(struct kb_agent *agent, struct kb_arena *a);
void kb__images_free_all(struct kb_agent *agent);

/* agent_node.c */
void kb__node_start(struct kb__node *node);
void kb__node_seen(struct kb_agent *agent, const struct kb_change *change);
void kb__node_stop(struct kb__node *node);
void kb__node_images_changed(struct kb_agent *agent); /* say it in the status, soon */

/* agent_events.c */
void kb__event(struct kb_agent *agent, const struct kb__pod *pod, int container, bool warning,
               const char *reason, const char *message);
/* "Starting", "NodeReady", "NodeNotSchedulable", "NodeSchedulable". */
void kb__node_event(struct kb__node *node, const char *reason);
void kb__events_free_all(struct kb_agent *agent);

/* agent_streams.c */
void kb__streams_serve(struct kb_agent *agent);
void kb__streams_ended(struct kb_agent *agent, const struct kb__pod *pod, int container,
                       unsigned attempt);
void kb__streams_free_all(struct kb_agent *agent);

/* A call of which nobody waits for the result; a failure other than NotFound is logged. */
void kb__call_and_forget(struct kb_agent *agent, const char *method, kb_val body);

#endif
