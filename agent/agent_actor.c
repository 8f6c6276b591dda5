/* agent_actor.c - the node agent between the bus and the machine.
 *
 * One loop: the bus's. Everything of the machine (children, inotify, sockets of probes, timers)
 * stands behind one descriptor, that of agent/ev.h. Order of the start: adopt what runs, then
 * follow the node's pods; what was adopted and is not in the first complete listing is removed. So
 * a pod is never started twice and never forgotten, whatever killed the agent before. */
#include "agent/agent_impl.h"
#include "agent/cgroup.h"
#include "agent/files.h"
#include "agent/net/netlink.h"
#include "agent/net/podnet.h"
#include "bus/base/check.h"
#include "bus/base/file.h"
#include "bus/base/log.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

/* ---- views ---- */

static void on_pod(void *user, const struct kb_change *change)
{
    kb__pod_change(user, change);
}

static void on_pods_synced(void *user, int64_t rev)
{
    struct kb__node *node = user;
    (void)rev;
    if (node->synced)
        return;
    node->synced = true;
    kb__admit_newcomers(node);
    if (node->agent->n_nodes == 1)
        kb__pod_unclaimed(node->agent);
}

static void on_node(void *user, const struct kb_change *change)
{
    kb__node_seen(user, change);
}

static void on_nodes_synced(void *user, int64_t rev)
{
    struct kb_agent *agent = user;
    bool waiting = agent->undecided || !agent->nodes_synced;
    agent->nodes_rev = rev;
    agent->nodes_synced = true;
    agent->undecided = false;
    if (!waiting)
        return;
    for (size_t i = 0; i < agent->n_nodes; i++)
        kb__admit_newcomers(&agent->nodes[i]);
}

static const struct kb_view_handlers pod_handlers = {on_pod, on_pods_synced};
static const struct kb_view_handlers node_handlers = {on_node, on_nodes_synced};

/* Once the Node is registered: by then the API has declared the index that the view needs. An agent
 * that comes back to running containers does not wait for that. Both wait for the first epoch. */
void kb__node_follow_pods(struct kb__node *node)
{
    KB_AUTO(kb_auto_free) char *query = kb_strf("pods?node=%s", node->name);
    node->follow = true;
    if (node->view == NULL && kb_fence_holds(&node->agent->fence))
        node->view = kb_view_open(node->agent->actor, query, NULL, &pod_handlers, node);
}

static void open_node_view(struct kb_agent *agent)
{
    KB_AUTO(kb_auto_free)
    char *nodes =
        agent->n_nodes == 1 ? kb_strf("nodes?name=%s", agent->nodes[0].name) : kb_strf("nodes");
    agent->node_view = kb_view_open(agent->actor, nodes, NULL, &node_handlers, agent);
}

/* ---- making ---- */

static int64_t machine_memory(void)
{
    KB_AUTO(kb_buf_finish) struct kb_buf buf = {0};
    for (kb_str rest = kb_get_file("/proc/meminfo", &buf); rest.p != NULL;) {
        kb_str line = kb_str_cut(&rest, '\n');
        int64_t kib;
        if (!kb_str_starts(line, "MemTotal:"))
            continue;
        kb_str value = kb_str_trim(kb_str_n(line.p + 9, line.n - 9));
        if (kb_str_i64(kb_str_cut(&value, ' '), &kib))
            return kib * 1024;
    }
    return INT64_C(1) << 30;
}

static void make_nodes(struct kb_agent *agent)
{
    const struct kb_agent_options *o = agent->options;
    agent->n_nodes = o->hollow_nodes > 0 ? o->hollow_nodes : 1;
    agent->nodes = calloc(agent->n_nodes, sizeof *agent->nodes);
    KB_ASSERT(agent->nodes != NULL);
    for (size_t i = 0; i < agent->n_nodes; i++) {
        struct kb__node *node = &agent->nodes[i];
        node->agent = agent;
        kb_list_init(&node->pods);
        if (o->hollow_nodes > 0) {
            snprintf(node->name, sizeof node->name, "%.40s-%zu", o->node, i);
            snprintf(node->ip, sizeof node->ip, "10.%zu.%zu.%zu", 128 + (i >> 16) % 128,
                     i >> 8 & 255, i & 255);
            continue;
        }
        snprintf(node->name, sizeof node->name, "%s", o->node);
        snprintf(node->cidr, sizeof node->cidr, "%s", o->pod_cidr ? o->pod_cidr : "");
        if (o->node_ip != NULL)
            snprintf(node->ip, sizeof node->ip, "%s", o->node_ip);
        else
            kb_podnet_node_ip(node->ip);
    }
}

static void fill_runtime_options(struct kb_agent *agent)
{
    const struct kb_agent_options *o = agent->options;
    agent->node_dir = kb_strf("%s/nodes/%s", o->data_dir, o->node);
    agent->image_dir = kb_strf("%s/images", o->data_dir);
    agent->rt_options = (struct kb_rt_options){.node = o->node,
                                               .dir = agent->node_dir,
                                               .image_dir = agent->image_dir,
                                               .node_ip = o->node_ip,
                                               .shim = o->shim,
                                               .oci_path = o->oci_path,
                                               .pod_cidr = o->pod_cidr,
                                               .bridge = o->bridge,
                                               .cni_dir = o->cni_dir,
                                               .cgroup = o->cgroup,
                                               .hollow_start_ms = o->hollow_start_ms,
                                               .hollow_stop_ms = o->hollow_stop_ms};
}

static struct kb_agent *agent_alloc(const struct kb_agent_options *options)
{
    struct kb_agent *agent = calloc(1, sizeof *agent);
    KB_ASSERT(agent != NULL);
    agent->options = options;
    agent->hollow = strcmp(options->runtime, "hollow") == 0;
    agent->ev = kb_ev_new(kb_clock_system());
    agent->cpu_milli = 1000 * sysconf(_SC_NPROCESSORS_ONLN);
    agent->memory_bytes = machine_memory();
    if (agent->hollow) { /* each one a machine of its own */
        agent->cpu_milli = 32000;
        agent->memory_bytes = INT64_C(256) << 30;
    }
    kb_rand_init_system(&agent->rand);
    kb_list_init(&agent->status_queue);
    kb_list_init(&agent->image_waits);
    kb_list_init(&agent->streams);
    fill_runtime_options(agent);
    return agent;
}

static void on_ev(void *user, int fd, uint32_t events)
{
    struct kb_agent *agent = user;
    (void)fd, (void)events;
    kb_ev_run(agent->ev, 0);
}

int kb_agent_new(struct kb_actor *actor, const struct kb_agent_options *options,
                 struct kb_agent **ret_agent, struct kb_err *err)
{
    struct kb_agent *agent = agent_alloc(options);
    agent->actor = actor;
    agent->api = kb_actor_peer(actor, "api");
    make_nodes(agent);
    if (kb_runtime_new(options->runtime, agent->ev, &agent->rt_options, &kb__pod_listener, agent,
                       &agent->rt, err) < 0 ||
        kb_runtime_adopt(agent->rt, kb__pod_found, agent, err) < 0) {
        int rc = -err->code;
        kb_agent_destroy(&agent);
        return rc;
    }
    kb__streams_serve(agent);
    kb__images_start(agent);
    agent->ev_watch =
        kb_loop_fd_add(kb_actor_loop(actor), kb_ev_pollfd(agent->ev), EPOLLIN, on_ev, agent);
    kb__fence_start(agent);
    kb__usage_start(agent);
    open_node_view(agent);
    if (agent->found.count > 0)
        kb__node_follow_pods(&agent->nodes[0]);
    for (size_t i = 0; i < agent->n_nodes; i++)
        kb__node_start(&agent->nodes[i]);
    *ret_agent = agent;
    return 0;
}

void kb_agent_destroy(struct kb_agent **agent_p)
{
    struct kb_agent *agent = KB_STEAL(*agent_p);
    if (agent == NULL)
        return;
    kb_loop_fd_del(&agent->ev_watch);
    kb_view_close(&agent->node_view);
    for (size_t i = 0; i < agent->n_nodes; i++) {
        kb__node_stop(&agent->nodes[i]);
        kb_view_close(&agent->nodes[i].view);
        kb_doc_destroy(&agent->nodes[i].facts);
    }
    kb__usage_stop(agent);
    kb__streams_free_all(agent);
    kb__pod_free_all(agent);
    kb__refs_free_all(agent);
    kb__images_free_all(agent);
    kb__events_free_all(agent);
    kb_runtime_destroy(&agent->rt);
    kb__fence_stop(agent);
    kb_ev_destroy(&agent->ev);
    free(agent->nodes);
    free(agent->node_dir);
    free(agent->image_dir);
    free(agent);
}

/* ---- purge ---- */

struct purge {
    struct kb_agent *agent;
    char **uids;
    size_t n, left;
    int rc;
    struct kb_err err;
};

static void purge_found(void *arg, const char *uid, const struct kb_rt_sandbox_info *sandbox,
                        const struct kb_rt_ref *ref, const struct kb_rt_container_info *info)
{
    struct purge *purge = arg;
    (void)sandbox, (void)info;
    if (ref != NULL)
        return;
    purge->uids = realloc(purge->uids, (purge->n + 1) * sizeof *purge->uids);
    KB_ASSERT(purge->uids != NULL);
    purge->uids[purge->n++] = kb_str_dup(kb_str_of(uid));
}

static void purge_gone(void *arg, const char *uid, int rc, const struct kb_err *err)
{
    struct purge *purge = arg;
    (void)uid;
    purge->left--;
    if (rc < 0) {
        purge->rc = rc;
        purge->err = *err;
    }
}

static void purge_started(void *arg, const struct kb_rt_ref *ref, int rc, const struct kb_err *err,
                          const struct kb_rt_container_info *info)
{
    (void)arg, (void)ref, (void)rc, (void)err, (void)info;
}

static void purge_exited(void *arg, const struct kb_rt_ref *ref, const struct kb_rt_exit *exit)
{
    (void)arg, (void)ref, (void)exit;
}

static const struct kb_rt_listener purge_listener = {NULL, purge_gone, purge_started, purge_exited};

static int purge_pods(struct purge *purge)
{
    struct kb_agent *agent = purge->agent;
    if (kb_runtime_adopt(agent->rt, purge_found, purge, &purge->err) < 0)
        return -purge->err.code;
    purge->left = purge->n;
    for (size_t i = 0; i < purge->n; i++)
        kb_runtime_remove_pod(agent->rt, purge->uids[i]);
    while (purge->left > 0)
        kb_ev_run(agent->ev, -1);
    for (size_t i = 0; i < purge->n; i++)
        free(purge->uids[i]);
    free(purge->uids);
    return purge->rc;
}

int kb_agent_purge(const struct kb_agent_options *options, struct kb_err *err)
{
    if (strcmp(options->runtime, "hollow") == 0)
        return 0;
    KB_AUTO(kb_agent_destroy) struct kb_agent *agent = agent_alloc(options);
    struct purge purge = {.agent = agent};
    if (!kb_path_exists(agent->node_dir))
        return 0;
    if (kb_runtime_new(options->runtime, agent->ev, &agent->rt_options, &purge_listener, &purge,
                       &agent->rt, err) < 0)
        return -err->code;
    int rc = purge_pods(&purge);
    if (rc < 0) {
        *err = purge.err;
        return rc;
    }
    kb_runtime_wipe(agent->rt);
    return kb_dir_remove(agent->node_dir, err);
}
