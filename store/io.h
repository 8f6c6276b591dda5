/* Files, by interface: everything that the log does to the disk goes through here, so that a test
 * can fail any operation, or cut the power at it.
 *
 * Each function returns 0 or a negative errno of the system (-ENOSPC, -EIO, -ENOENT …), not a
 * KB_E* code: the log decides what it means. Thread-safe as the system calls are. */
#ifndef KUBUS_STORE_IO_H
#define KUBUS_STORE_IO_H

#include "bus/base/buf.h"

#include <sys/types.h>

struct kb_io {
    /* Open for reading and writing; `create` makes it when it is not there. Returns the descriptor.
     */
    int (*open)(const struct kb_io *io, const char *path, bool create);
    int (*close)(const struct kb_io *io, int fd);
    int (*read)(const struct kb_io *io, int fd, void *data, size_t n, off_t at); /* bytes read */
    int (*write)(const struct kb_io *io, int fd, const void *data, size_t n, off_t at); /* all */
    int (*sync)(const struct kb_io *io, int fd); /* fdatasync */
    /* Blocks for [0, bytes), so that writes there need no space; the size becomes at least that. */
    int (*reserve)(const struct kb_io *io, int fd, off_t bytes);
    int (*size)(const struct kb_io *io, int fd, off_t *ret_bytes);
    int (*rename)(const struct kb_io *io, const char *from, const char *to);
    int (*remove)(const struct kb_io *io, const char *path);
    int (*sync_dir)(const struct kb_io *io, const char *path);
    /* Asked before the database commits or writes (`what`: "put", "commit"): 0, or the error with
     * which that shall fail. NULL: it never does. The database does its own I/O. */
    int (*database)(const struct kb_io *io, const char *what);
};

const struct kb_io *kb_io_system(void);

#endif
