/* Paths below folders whose content others choose: the root of a container, a volume. A link in
 * there is the choice of whoever could write it, and must not lead out, not even when it is put
 * there while we look: the kernel resolves such a path (openat2), we never check and then open. */
#ifndef KUBUS_AGENT_INSIDE_H
#define KUBUS_AGENT_INSIDE_H

#include "bus/base/buf.h"
#include "bus/base/err.h"

/* Append the file `path` as a program whose root is `root` would see it, at most `max_bytes`.
 * -KB_ENOTFOUND; -KB_EINVAL: not a plain file, or too long; -KB_EIO. Never blocks on a pipe. */
int kb_inside_read(const char *root, const char *path, size_t max_bytes, struct kb_buf *buf,
                   struct kb_err *err);

/* A descriptor (O_PATH) of `path` below `base`; folders that are missing are made, with base's
 * mode. Links are followed as far as they stay below. The descriptor, which the caller closes, or
 * -KB_EFORBIDDEN: absolute, "..", or a link that leads out; -KB_EIO. */
int kb_inside_make(const char *base, const char *path, struct kb_err *err);

/* Bind what the descriptor names onto `target`, which is made as a file or folder and may be one of
 * an earlier time. Needs root. */
int kb_inside_bind(int fd, const char *target, struct kb_err *err);

#endif
