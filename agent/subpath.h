/* What a volumeMount's subPath means: a place below a volume that a container, which may own the
 * volume's content, cannot lead elsewhere. */
#ifndef KUBUS_AGENT_SUBPATH_H
#define KUBUS_AGENT_SUBPATH_H

#include "bus/base/err.h"

/* The real path of `sub` below the folder `base`, of what is there or else of a folder made with
 * the permissions of `base`. Links are followed as long as they stay below `base`.
 * -KB_EFORBIDDEN: it is absolute, has a part "..", or leads out. Caller frees *ret_path. */
int kb_subpath_make(const char *base, const char *sub, char **ret_path, struct kb_err *err);

#endif
