/* netlink.c - rtnetlink by hand: a request is a few hundred bytes on the stack. Rejected: libmnl
 * and libnl (a dependency for six requests), running ip(8) (12 ms a pod). */
#include "agent/net/netlink.h"

#include <arpa/inet.h>
#include <errno.h>
#include <linux/if_link.h>
#include <linux/rtnetlink.h>
#include <linux/veth.h>
#include <net/if.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

struct request {
    union {
        struct nlmsghdr head;
        char bytes[1024];
    };
};

static void *append(struct request *req, size_t n)
{
    void *at = req->bytes + NLMSG_ALIGN(req->head.nlmsg_len);
    req->head.nlmsg_len = (uint32_t)(NLMSG_ALIGN(req->head.nlmsg_len) + NLMSG_ALIGN(n));
    return at;
}

static struct rtattr *attr(struct request *req, unsigned short type, const void *data, size_t n)
{
    struct rtattr *a = append(req, RTA_LENGTH(n));
    a->rta_type = type;
    a->rta_len = (unsigned short)RTA_LENGTH(n);
    if (n > 0)
        memcpy(RTA_DATA(a), data, n);
    return a;
}

static void attr_int(struct request *req, unsigned short type, int value)
{
    attr(req, type, &value, sizeof value);
}

static void attr_text(struct request *req, unsigned short type, const char *text)
{
    attr(req, type, text, strlen(text) + 1);
}

static void nest_end(struct request *req, struct rtattr *nest)
{
    nest->rta_len = (unsigned short)(req->bytes + req->head.nlmsg_len - (char *)nest);
}

static void request_init(struct request *req, uint16_t type, uint16_t flags)
{
    memset(req, 0, sizeof *req);
    req->head.nlmsg_len = NLMSG_HDRLEN;
    req->head.nlmsg_type = type;
    req->head.nlmsg_flags = (uint16_t)(NLM_F_REQUEST | NLM_F_ACK | flags);
}

/* Send and wait for the answer: 0 or an errno. */
static int transact(int nl, struct request *req)
{
    union {
        struct nlmsghdr head;
        char bytes[4096];
    } reply;
    if (send(nl, req->bytes, req->head.nlmsg_len, 0) < 0)
        return errno;
    ssize_t n = recv(nl, &reply, sizeof reply, 0);
    if (n < (ssize_t)NLMSG_LENGTH(sizeof(struct nlmsgerr)))
        return n < 0 ? errno : EPROTO;
    if (reply.head.nlmsg_type != NLMSG_ERROR)
        return EPROTO;
    return -((struct nlmsgerr *)NLMSG_DATA(&reply.head))->error;
}

int kb_nl_open(struct kb_err *err)
{
    int nl = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_ROUTE);
    struct sockaddr_nl local = {.nl_family = AF_NETLINK};
    if (nl < 0 || bind(nl, (struct sockaddr *)&local, sizeof local) < 0) {
        int saved = errno;
        if (nl >= 0)
            close(nl);
        return kb_err_sys(err, saved, "netlink socket");
    }
    return nl;
}

int kb_nl_index(int nl, const char *name)
{
    struct request req;
    union {
        struct nlmsghdr head;
        char bytes[16384];
    } reply;
    request_init(&req, RTM_GETLINK, 0);
    req.head.nlmsg_flags = NLM_F_REQUEST;
    ((struct ifinfomsg *)append(&req, sizeof(struct ifinfomsg)))->ifi_family = AF_UNSPEC;
    attr_text(&req, IFLA_IFNAME, name);
    if (send(nl, req.bytes, req.head.nlmsg_len, 0) < 0 || recv(nl, &reply, sizeof reply, 0) < 0 ||
        reply.head.nlmsg_type != RTM_NEWLINK)
        return 0;
    return ((struct ifinfomsg *)NLMSG_DATA(&reply.head))->ifi_index;
}

int kb_nl_bridge(int nl, const char *name, const uint8_t mac[6], struct kb_err *err)
{
    struct request req;
    request_init(&req, RTM_NEWLINK, NLM_F_CREATE | NLM_F_EXCL);
    append(&req, sizeof(struct ifinfomsg));
    attr_text(&req, IFLA_IFNAME, name);
    attr(&req, IFLA_ADDRESS, mac, 6);
    struct rtattr *info = attr(&req, IFLA_LINKINFO, NULL, 0);
    attr(&req, IFLA_INFO_KIND, "bridge", 6);
    nest_end(&req, info);
    int rc = transact(nl, &req);
    return rc == 0 || rc == EEXIST ? 0 : kb_err_sys(err, rc, "make bridge %s", name);
}

int kb_nl_veth(int nl, const char *name, const char *peer, int peer_ns, int master, int mtu,
               struct kb_err *err)
{
    struct request req;
    request_init(&req, RTM_NEWLINK, NLM_F_CREATE | NLM_F_EXCL);
    append(&req, sizeof(struct ifinfomsg));
    attr_text(&req, IFLA_IFNAME, name);
    if (mtu > 0)
        attr_int(&req, IFLA_MTU, mtu);
    if (master > 0)
        attr_int(&req, IFLA_MASTER, master);
    struct rtattr *info = attr(&req, IFLA_LINKINFO, NULL, 0);
    attr(&req, IFLA_INFO_KIND, "veth", 4);
    struct rtattr *data = attr(&req, IFLA_INFO_DATA, NULL, 0);
    struct rtattr *end = attr(&req, VETH_INFO_PEER, NULL, 0);
    append(&req, sizeof(struct ifinfomsg));
    attr_text(&req, IFLA_IFNAME, peer);
    if (mtu > 0)
        attr_int(&req, IFLA_MTU, mtu);
    if (peer_ns >= 0)
        attr_int(&req, IFLA_NET_NS_FD, peer_ns);
    nest_end(&req, end);
    nest_end(&req, data);
    nest_end(&req, info);
    int rc = transact(nl, &req);
    if (rc == EEXIST)
        return kb_err_set(err, KB_EEXISTS, "link %s or %s exists", name, peer);
    return rc == 0 ? 0 : kb_err_sys(err, rc, "make link %s", name);
}

int kb_nl_up(int nl, int index, struct kb_err *err)
{
    struct request req;
    request_init(&req, RTM_NEWLINK, 0);
    struct ifinfomsg *link = append(&req, sizeof *link);
    link->ifi_index = index;
    link->ifi_flags = link->ifi_change = IFF_UP;
    int rc = transact(nl, &req);
    return rc == 0 ? 0 : kb_err_sys(err, rc, "set link %d up", index);
}

int kb_nl_del(int nl, const char *name, struct kb_err *err)
{
    struct request req;
    request_init(&req, RTM_DELLINK, 0);
    append(&req, sizeof(struct ifinfomsg));
    attr_text(&req, IFLA_IFNAME, name);
    int rc = transact(nl, &req);
    return rc == 0 || rc == ENODEV ? 0 : kb_err_sys(err, rc, "remove link %s", name);
}

int kb_nl_addr(int nl, int index, uint32_t ip, int prefix, struct kb_err *err)
{
    struct request req;
    uint32_t net_ip = htonl(ip), broadcast = htonl(ip | (prefix < 32 ? UINT32_MAX >> prefix : 0));
    request_init(&req, RTM_NEWADDR, NLM_F_CREATE | NLM_F_EXCL);
    struct ifaddrmsg *addr = append(&req, sizeof *addr);
    addr->ifa_family = AF_INET;
    addr->ifa_prefixlen = (uint8_t)prefix;
    addr->ifa_index = (uint32_t)index;
    attr(&req, IFA_LOCAL, &net_ip, 4);
    attr(&req, IFA_ADDRESS, &net_ip, 4);
    attr(&req, IFA_BROADCAST, &broadcast, 4);
    int rc = transact(nl, &req);
    return rc == 0 || rc == EEXIST ? 0 : kb_err_sys(err, rc, "add an address to link %d", index);
}

int kb_nl_route(int nl, uint32_t dst, int prefix, uint32_t gateway, int index, bool blackhole,
                struct kb_err *err)
{
    struct request req;
    uint32_t net_dst = htonl(dst), net_gateway = htonl(gateway);
    request_init(&req, RTM_NEWROUTE, NLM_F_CREATE | NLM_F_REPLACE);
    struct rtmsg *route = append(&req, sizeof *route);
    route->rtm_family = AF_INET;
    route->rtm_dst_len = (uint8_t)prefix;
    route->rtm_table = RT_TABLE_MAIN;
    route->rtm_protocol = RTPROT_STATIC;
    route->rtm_scope = gateway || blackhole ? RT_SCOPE_UNIVERSE : RT_SCOPE_LINK;
    route->rtm_type = blackhole ? RTN_BLACKHOLE : RTN_UNICAST;
    attr(&req, RTA_DST, &net_dst, 4);
    if (gateway)
        attr(&req, RTA_GATEWAY, &net_gateway, 4);
    if (index)
        attr_int(&req, RTA_OIF, index);
    int rc = transact(nl, &req);
    return rc == 0 ? 0 : kb_err_sys(err, rc, "add a route");
}
