/* The few requests of rtnetlink that pods need, each sent and acknowledged at once.
 *
 * A socket stays in the network namespace in which it was opened, so that one process can work
 * in two. All addresses are IPv4 in host byte order. */
#ifndef KUBUS_AGENT_NET_NETLINK_H
#define KUBUS_AGENT_NET_NETLINK_H

#include "bus/base/err.h"

#include <stdbool.h>
#include <stdint.h>

/* A descriptor, or a negative code. */
int kb_nl_open(struct kb_err *err);
/* Index of a link, 0 when there is none. */
int kb_nl_index(int nl, const char *name);
/* Make a bridge with this hardware address (without one it would change with its ports); fine when
 * it exists. */
int kb_nl_bridge(int nl, const char *name, const uint8_t mac[6], struct kb_err *err);
/* Make a pair: `name` here, a port of bridge `master` (0: none), `peer` in the namespace of the
 * descriptor `peer_ns` (-1: here). Both down. -KB_EEXISTS when a name is taken. */
int kb_nl_veth(int nl, const char *name, const char *peer, int peer_ns, int master, int mtu,
               struct kb_err *err);
int kb_nl_up(int nl, int index, struct kb_err *err);
/* Remove; fine when it is not there. */
int kb_nl_del(int nl, const char *name, struct kb_err *err);
/* Fine when the address is there already. */
int kb_nl_addr(int nl, int index, uint32_t ip, int prefix, struct kb_err *err);
/* dst/prefix via gateway (0: none) over `index` (0: none); `blackhole` drops. Replaces. */
int kb_nl_route(int nl, uint32_t dst, int prefix, uint32_t gateway, int index, bool blackhole,
                struct kb_err *err);

#endif
