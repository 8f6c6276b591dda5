/* Which pod has which address: one file an address, so that a kill at any instant leaves each
 * address either given or free, and the owner readable.
 *
 * Addresses rise through the range and wrap, so that a freed one is not given again at once (peers
 * may still have connections to the old pod). The first address is the bridge's. */
#ifndef KUBUS_AGENT_NET_IPAM_H
#define KUBUS_AGENT_NET_IPAM_H

#include "bus/base/err.h"

#include <stdint.h>

/* "10.244.1.0/24" as network address and prefix length. -KB_EINVAL. */
int kb_cidr_parse(const char *text, uint32_t *ret_network, int *ret_prefix, struct kb_err *err);
enum { KB_IP_BYTES = 16 };
void kb_ip_format(uint32_t ip, char out[KB_IP_BYTES]);

/* The address of `owner` in the range: the one it has, else a new one. Safe against other processes
 * on the same folder (locked). -KB_EFULL when the range is used up. */
int kb_ipam_take(const char *dir, const char *cidr, const char *owner, uint32_t *ret_ip,
                 struct kb_err *err);
/* Give back all addresses of `owner`. Fine when it has none. */
int kb_ipam_give(const char *dir, const char *owner, struct kb_err *err);

#endif
