/* The volumes of a pod, as folders below POD_DIR/volumes.
 *
 * emptyDir is a folder, or a tmpfs with medium Memory; configMap, secret, downwardAPI and projected
 * are files that change together: they lie in a folder of their own time, `..data` points to it,
 * the visible names point through `..data`, and an update moves that one link. All but a
 * configMap's lie in memory, for a secret may be among them. hostPath needs no folder: it is
 * checked here and mounted from where it is. */
#ifndef KUBUS_AGENT_VOLUMES_H
#define KUBUS_AGENT_VOLUMES_H

#include "agent/resolve.h"

/* Make all volumes of the pod, or bring those that reflect objects up to date. Fine to repeat. The
 * error is kubelet's: "MountVolume.SetUp failed for volume …". Blocks as long as the node's file
 * systems do; *made counts the volumes that are there. */
int kb_volumes_setup(const struct kb_resolve *r, uint32_t *made, struct kb_err *err);

#endif
