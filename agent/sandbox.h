/* What the containers of a pod share: network, IPC and UTS namespaces pinned by bind mounts, one
 * /dev/shm, the files /etc/hosts, /etc/hostname, /etc/resolv.conf, and on request a process 1.
 *
 * No process keeps a namespace alive: a bind mount of /proc/self/ns/X does, for 200 kB of kernel
 * memory and 2 ms instead of a pause container's 70 ms. Functions block: use them in jobs. */
#ifndef KUBUS_AGENT_SANDBOX_H
#define KUBUS_AGENT_SANDBOX_H

#include "agent/net/podnet.h"
#include "agent/runtime.h"

/* Make the sandbox in `dir`, or find it made (then nothing is changed). `ret_ip` is "" with host
 * network. What a killed predecessor left half made is cleared first. */
int kb_sandbox_make(const char *dir, const struct kb_rt_sandbox_spec *spec,
                    const struct kb_podnet *net, const char *shim, char ret_ip[KB_IP_BYTES],
                    struct kb_err *err);
/* Whether `dir` holds a finished one, and its address. */
bool kb_sandbox_find(const char *dir, char ret_ip[KB_IP_BYTES], bool *ret_host_network);
/* Undo all of it, the network too. Fine on half a sandbox or none. */
int kb_sandbox_remove(const char *dir, const char *uid, const struct kb_podnet *net,
                      struct kb_err *err);
/* Detach every mount at or below `dir`. */
void kb_unmount_below(const char *dir);
/* Where a line of /proc/self/mountinfo says that something is mounted. Caller frees. */
char *kb__mount_point(kb_str line);

#endif
