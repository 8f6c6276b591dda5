#include "store/io.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

static int io_open(const struct kb_io *io, const char *path, bool create)
{
    (void)io;
    int fd = open(path, O_RDWR | O_CLOEXEC | (create ? O_CREAT : 0), 0600);
    return fd < 0 ? -errno : fd;
}

static int io_close(const struct kb_io *io, int fd)
{
    (void)io;
    return close(fd) < 0 ? -errno : 0;
}

static int io_read(const struct kb_io *io, int fd, void *data, size_t n, off_t at)
{
    (void)io;
    size_t done = 0;
    while (done < n) {
        ssize_t got = pread(fd, (char *)data + done, n - done, at + (off_t)done);
        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0)
            return -errno;
        if (got == 0)
            break;
        done += (size_t)got;
    }
    return (int)done;
}

static int io_write(const struct kb_io *io, int fd, const void *data, size_t n, off_t at)
{
    (void)io;
    size_t done = 0;
    while (done < n) {
        ssize_t put = pwrite(fd, (const char *)data + done, n - done, at + (off_t)done);
        if (put < 0 && errno == EINTR)
            continue;
        if (put <= 0)
            return put < 0 ? -errno : -EIO;
        done += (size_t)put;
    }
    return 0;
}

static int io_sync(const struct kb_io *io, int fd)
{
    (void)io;
    return fdatasync(fd) < 0 ? -errno : 0;
}

static int io_reserve(const struct kb_io *io, int fd, off_t bytes)
{
    (void)io;
    int rc = posix_fallocate(fd, 0, bytes); /* returns the error; leaves errno alone */
    return -rc;
}

static int io_size(const struct kb_io *io, int fd, off_t *ret_bytes)
{
    (void)io;
    struct stat st;
    if (fstat(fd, &st) < 0)
        return -errno;
    *ret_bytes = st.st_size;
    return 0;
}

static int io_rename(const struct kb_io *io, const char *from, const char *to)
{
    (void)io;
    return rename(from, to) < 0 ? -errno : 0;
}

static int io_remove(const struct kb_io *io, const char *path)
{
    (void)io;
    return unlink(path) < 0 ? -errno : 0;
}

static int io_sync_dir(const struct kb_io *io, const char *path)
{
    (void)io;
    KB_AUTO(kb_auto_close) int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0 || fsync(fd) < 0)
        return -errno;
    return 0;
}

const struct kb_io *kb_io_system(void)
{
    static const struct kb_io io = {
        .open = io_open,
        .close = io_close,
        .read = io_read,
        .write = io_write,
        .sync = io_sync,
        .reserve = io_reserve,
        .size = io_size,
        .rename = io_rename,
        .remove = io_remove,
        .sync_dir = io_sync_dir,
    };
    return &io;
}
