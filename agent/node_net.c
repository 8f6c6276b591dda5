/* node_net.c - further nodes on one machine: a network namespace each, joined to the first node's
 * by a pair of links with a /30 of their own out of 100.64.0.0/10, and a route to the node's pods.
 * The first node thereby is the router between all of them. */
#include "agent/agent.h"
#include "agent/files.h"
#include "agent/net/ipam.h"
#include "agent/net/netlink.h"
#include "agent/net/podnet.h"
#include "bus/base/file.h"
#include "bus/base/str.h"

#include <errno.h>
#include <fcntl.h>
#include <net/if.h>
#include <sched.h>
#include <stdio.h>
#include <sys/mount.h>
#include <sys/vfs.h>
#include <sys/wait.h>
#include <unistd.h>

enum { NSFS_MAGIC_ = 0x6e736673 };

static char *ns_path(const char *netns)
{
    return strchr(netns, '/') ? kb_str_dup(kb_str_of(netns)) : kb_strf("/run/netns/%s", netns);
}

static bool is_namespace(const char *path)
{
    struct statfs fs;
    return statfs(path, &fs) == 0 && (uint32_t)fs.f_type == NSFS_MAGIC_;
}

/* A new namespace bound to `path`, made in a child so that we stay where we are. */
static int make_namespace(const char *path, struct kb_err *err)
{
    int status = 0;
    if (kb_dir_make("/run/netns", 0755, err) < 0)
        return -err->code;
    int fd = open(path, O_RDONLY | O_CREAT | O_CLOEXEC, 0444);
    kb_auto_close(&fd);
    pid_t pid = fork();
    if (pid == 0)
        _exit(unshare(CLONE_NEWNET) < 0 ||
              mount("/proc/self/ns/net", path, NULL, MS_BIND, NULL) < 0);
    while (pid > 0 && waitpid(pid, &status, 0) < 0 && errno == EINTR)
        ;
    if (pid < 0 || status != 0)
        return kb_err_set(err, KB_EIO, "cannot make the network namespace '%s'", path);
    return 0;
}

/* Our end's address; the node's is the next one. */
static uint32_t link_address(const struct kb_node_net *net)
{
    const char *id = net->cluster_id ? net->cluster_id : "";
    uint32_t cluster = (uint32_t)(kb_hash64(id, strlen(id)) % 4096);
    return 0x64400000u + (cluster * 256 + net->index % 256) * 4 + 1;
}

static void link_name(const struct kb_node_net *net, char out[IFNAMSIZ])
{
    snprintf(out, IFNAMSIZ, "kbn%08x", (uint32_t)kb_hash64(net->netns, strlen(net->netns)));
}

static int join(const struct kb_node_net *net, int ns, struct kb_err *err)
{
    char name[IFNAMSIZ];
    uint32_t ours = link_address(net), pods;
    int bits;
    KB_AUTO(kb_auto_close) int nl = kb_nl_open(err);
    link_name(net, name);
    if (nl < 0)
        return -err->code;
    (void)kb_nl_del(nl, name, NULL);
    if (kb_nl_veth(nl, name, "eth0", ns, 0, 0, err) < 0)
        return -err->code;
    int index = kb_nl_index(nl, name);
    if (kb_nl_addr(nl, index, ours, 30, err) < 0 || kb_nl_up(nl, index, err) < 0)
        return -err->code;
    (void)kb_poke_file("/proc/sys/net/ipv4/ip_forward", "1", NULL);
    if (net->pod_cidr == NULL || kb_cidr_parse(net->pod_cidr, &pods, &bits, NULL) < 0)
        return 0;
    return kb_nl_route(nl, pods, bits, ours + 1, index, false, err);
}

/* Inside, once: addresses and the way out. */
static int configure(const struct kb_node_net *net, struct kb_err *err)
{
    uint32_t ours = link_address(net);
    KB_AUTO(kb_auto_close) int nl = kb_nl_open(err);
    if (nl < 0)
        return -err->code;
    int index = kb_nl_index(nl, "eth0");
    if (kb_nl_up(nl, kb_nl_index(nl, "lo"), err) < 0 ||
        kb_nl_addr(nl, index, ours + 1, 30, err) < 0 || kb_nl_up(nl, index, err) < 0)
        return -err->code;
    return kb_nl_route(nl, 0, 0, ours, index, false, err);
}

int kb_node_net_enter(const struct kb_node_net *net, char ret_ip[16], struct kb_err *err)
{
    KB_AUTO(kb_auto_free) char *path = ns_path(net->netns);
    bool there = is_namespace(path);
    if (!there && strchr(net->netns, '/') == NULL && make_namespace(path, err) < 0)
        return -err->code;
    KB_AUTO(kb_auto_close) int ns = open(path, O_RDONLY | O_CLOEXEC);
    if (ns < 0)
        return kb_err_sys(err, errno, "network namespace '%s'", path);
    if (!there && join(net, ns, err) < 0)
        return kb_err_wrap(err, "network namespace '%s'", path);
    if (setns(ns, CLONE_NEWNET) < 0)
        return kb_err_sys(err, errno, "enter '%s'", path);
    if (!there && configure(net, err) < 0)
        return kb_err_wrap(err, "network namespace '%s'", path);
    kb_podnet_node_ip(ret_ip);
    return 0;
}

int kb_node_net_remove(const struct kb_node_net *net, struct kb_err *err)
{
    KB_AUTO(kb_auto_free) char *path = ns_path(net->netns);
    if (strchr(net->netns, '/') != NULL || !kb_path_exists(path))
        return 0;
    (void)umount2(path, MNT_DETACH);
    return unlink(path) < 0 ? kb_err_sys(err, errno, "remove '%s'", path) : 0;
}
