#include "bus/base/file.h"

#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

int kb_file_read(const char *path, size_t max_bytes, struct kb_buf *buf, struct kb_err *err)
{
    KB_AUTO(kb_auto_close) int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return kb_err_sys(err, errno, "open '%s'", path);
    size_t start = buf->n;
    for (;;) {
        char *at = kb_buf_reserve(buf, 16384);
        ssize_t n = read(fd, at, 16384);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return kb_err_sys(err, errno, "read '%s'", path);
        buf->n += (size_t)n;
        buf->p[buf->n] = '\0';
        if (n == 0)
            return 0;
        if (buf->n - start > max_bytes)
            return kb_err_set(err, KB_E2BIG, "'%s' is larger than %zu bytes", path, max_bytes);
    }
}

static int write_all(int fd, kb_str data)
{
    while (data.n > 0) {
        ssize_t n = write(fd, data.p, data.n);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return -1;
        data.p += n;
        data.n -= (size_t)n;
    }
    return 0;
}

static int sync_folder_of(const char *path)
{
    KB_AUTO(kb_auto_free) char *folder = kb_str_dup(kb_str_of(path));
    char *slash = strrchr(folder, '/');
    if (slash == folder)
        slash[1] = '\0';
    else if (slash)
        *slash = '\0';
    KB_AUTO(kb_auto_close) int fd = open(slash ? folder : ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    return fd < 0 ? -1 : fsync(fd);
}

int kb_file_write(const char *path, kb_str data, mode_t mode, struct kb_err *err)
{
    KB_AUTO(kb_auto_free) char *temporary = kb_strf("%s.%d.tmp", path, (int)getpid());
    KB_AUTO(kb_auto_close)
    int fd = open(temporary, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, mode);
    if (fd < 0)
        return kb_err_sys(err, errno, "create '%s'", temporary);
    if (fchmod(fd, mode) < 0 || write_all(fd, data) < 0 || fsync(fd) < 0 ||
        rename(temporary, path) < 0 || sync_folder_of(path) < 0) {
        int saved = errno;
        unlink(temporary);
        return kb_err_sys(err, saved, "write '%s'", path);
    }
    return 0;
}

int kb_dir_make(const char *path, mode_t mode, struct kb_err *err)
{
    KB_AUTO(kb_auto_free) char *partial = kb_str_dup(kb_str_of(path));
    for (char *at = partial + 1;; at++) {
        if (*at != '/' && *at != '\0')
            continue;
        char kept = *at;
        *at = '\0';
        if (mkdir(partial, mode) < 0 && errno != EEXIST)
            return kb_err_sys(err, errno, "make folder '%s'", partial);
        *at = kept;
        if (kept == '\0')
            return 0;
    }
}

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
    (void)st, (void)type, (void)ftw;
    return remove(path) < 0 && errno != ENOENT ? -1 : 0;
}

/* What others remove or make in it meanwhile ends a walk early: it is walked again. */
int kb_dir_remove(const char *path, struct kb_err *err)
{
    enum { WALKS = 16 };
    struct stat st;
    int walks = 0, error = 0;
    do {
        if (nftw(path, remove_one, 32, FTW_DEPTH | FTW_PHYS | FTW_MOUNT) == 0)
            return 0;
        error = errno;
        if (error == ENOENT && lstat(path, &st) < 0)
            return 0;
    } while (++walks < WALKS && (error == ENOENT || error == ENOTEMPTY || error == EEXIST));
    return kb_err_sys(err, error, "remove '%s'", path);
}
