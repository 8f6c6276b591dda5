/* Whole files, read and written with bounds and without a half-written state. */
#ifndef KUBUS_BASE_FILE_H
#define KUBUS_BASE_FILE_H

#include "bus/base/buf.h"
#include "bus/base/err.h"

#include <sys/types.h>

/* Append the file's bytes to `buf`. -KB_ENOTFOUND, -KB_E2BIG past `max_bytes`, -KB_EIO. */
KB_API int kb_file_read(const char *path, size_t max_bytes, struct kb_buf *buf, struct kb_err *err);
/* Replace the file: temporary, fsync, rename, fsync of the folder. Survives power loss whole. */
KB_API int kb_file_write(const char *path, kb_str data, mode_t mode, struct kb_err *err);
/* mkdir -p. */
KB_API int kb_dir_make(const char *path, mode_t mode, struct kb_err *err);
/* rm -rf; a path that is not there is fine, and so are others that remove from it too. Does not
 * follow links, does not cross mounts. */
KB_API int kb_dir_remove(const char *path, struct kb_err *err);

#endif
