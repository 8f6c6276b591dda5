#include "agent/net/podnet.h"
#include "agent/files.h"
#include "agent/net/netlink.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <ifaddrs.h>
#include <net/if.h>
#include <sched.h>
#include <stdio.h>
#include <unistd.h>

int kb_podnet_node(const struct kb_podnet *net, struct kb_err *err)
{
    uint32_t network;
    int prefix;
    if (net->cni_dir != NULL)
        return 0;
    if (kb_cidr_parse(net->cidr, &network, &prefix, err) < 0)
        return -err->code;
    KB_AUTO(kb_auto_close) int nl = kb_nl_open(err);
    uint32_t gateway = network + 1;
    uint8_t mac[6] = {0x0a,
                      0x58,
                      (uint8_t)(gateway >> 24),
                      (uint8_t)(gateway >> 16),
                      (uint8_t)(gateway >> 8),
                      (uint8_t)gateway};
    if (nl < 0 || kb_nl_bridge(nl, net->bridge, mac, err) < 0)
        return kb_err_wrap(err, "pod network");
    int index = kb_nl_index(nl, net->bridge);
    if (kb_nl_addr(nl, index, gateway, prefix, err) < 0 || kb_nl_up(nl, index, err) < 0)
        return kb_err_wrap(err, "pod network");
    (void)kb_poke_file("/proc/sys/net/ipv4/ip_forward", "1", NULL);
    return 0;
}

static void veth_name(const char *uid, char out[IFNAMSIZ])
{
    snprintf(out, IFNAMSIZ, "veth%08x", (uint32_t)kb_hash64(uid, strlen(uid)));
}

/* Inside the pod's namespace: eth0 up with its address, and the way out. */
static int configure_inside(uint32_t ip, uint32_t network, int prefix, struct kb_err *err)
{
    KB_AUTO(kb_auto_close) int nl = kb_nl_open(err);
    if (nl < 0)
        return -err->code;
    int index = kb_nl_index(nl, "eth0");
    if (kb_nl_addr(nl, index, ip, prefix, err) < 0 || kb_nl_up(nl, index, err) < 0 ||
        kb_nl_route(nl, 0, 0, network + 1, index, false, err) < 0)
        return -err->code;
    return 0;
}

/* configure_inside() in the pinned namespace, then back. A failed return would be fatal for the
 * job, and so it ends it. */
static int with_netns(int pod_ns, uint32_t ip, uint32_t network, int prefix, struct kb_err *err)
{
    KB_AUTO(kb_auto_close) int own = open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC);
    if (own < 0 || setns(pod_ns, CLONE_NEWNET) < 0)
        return kb_err_sys(err, errno, "enter the pod's network namespace");
    int rc = configure_inside(ip, network, prefix, err);
    if (setns(own, CLONE_NEWNET) < 0)
        _exit(1);
    return rc;
}

static int attach_own(const struct kb_podnet *net, const struct kb_podnet_pod *pod,
                      uint32_t *ret_ip, struct kb_err *err)
{
    char name[IFNAMSIZ];
    uint32_t network;
    int prefix;
    if (kb_cidr_parse(net->cidr, &network, &prefix, err) < 0 ||
        kb_ipam_take(net->ipam_dir, net->cidr, pod->uid, ret_ip, err) < 0)
        return -err->code;
    KB_AUTO(kb_auto_close) int pod_ns = open(pod->netns, O_RDONLY | O_CLOEXEC);
    if (pod_ns < 0)
        return kb_err_sys(err, errno, "open '%s'", pod->netns);
    KB_AUTO(kb_auto_close) int nl = kb_nl_open(err);
    if (nl < 0)
        return -err->code;
    veth_name(pod->uid, name);
    int bridge = kb_nl_index(nl, net->bridge);
    if (bridge == 0)
        return kb_err_set(err, KB_EIO, "bridge %s has gone", net->bridge);
    int rc = kb_nl_veth(nl, name, "eth0", pod_ns, bridge, net->mtu, err);
    if (rc == -KB_EEXISTS) { /* half made by a job that was killed */
        kb_nl_del(nl, name, NULL);
        rc = kb_nl_veth(nl, name, "eth0", pod_ns, bridge, net->mtu, err);
    }
    if (rc < 0 || with_netns(pod_ns, *ret_ip, network, prefix, err) < 0)
        return -err->code;
    return kb_nl_up(nl, kb_nl_index(nl, name), err);
}

int kb_podnet_attach(const struct kb_podnet *net, const struct kb_podnet_pod *pod,
                     char ret_ip[KB_IP_BYTES], struct kb_err *err)
{
    uint32_t ip = 0;
    if (net->cni_dir != NULL)
        return kb__cni_add(net, pod, ret_ip, err);
    if (attach_own(net, pod, &ip, err) < 0)
        return kb_err_wrap(err, "pod network");
    kb_ip_format(ip, ret_ip);
    return 0;
}

int kb_podnet_detach(const struct kb_podnet *net, const struct kb_podnet_pod *pod,
                     struct kb_err *err)
{
    char name[IFNAMSIZ];
    if (net->cni_dir != NULL)
        return kb__cni_del(net, pod, err);
    KB_AUTO(kb_auto_close) int nl = kb_nl_open(err);
    if (nl < 0)
        return -err->code;
    veth_name(pod->uid, name);
    if (kb_nl_del(nl, name, err) < 0)
        return -err->code;
    return kb_ipam_give(net->ipam_dir, pod->uid, err);
}

void kb_podnet_node_ip(char ret_ip[KB_IP_BYTES])
{
    struct ifaddrs *all = NULL;
    snprintf(ret_ip, KB_IP_BYTES, "127.0.0.1");
    if (getifaddrs(&all) < 0)
        return;
    for (struct ifaddrs *it = all; it != NULL; it = it->ifa_next) {
        /* Bridges of pods (ours begin with "kb-") are no way to reach this node from outside. */
        if (it->ifa_addr == NULL || it->ifa_addr->sa_family != AF_INET ||
            (it->ifa_flags & IFF_LOOPBACK) || !(it->ifa_flags & IFF_UP) ||
            strncmp(it->ifa_name, "kb-", 3) == 0)
            continue;
        kb_ip_format(ntohl(((struct sockaddr_in *)(void *)it->ifa_addr)->sin_addr.s_addr), ret_ip);
        break;
    }
    freeifaddrs(all);
}
