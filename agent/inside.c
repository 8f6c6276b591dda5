#include "agent/inside.h"
#include "bus/base/file.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

enum { READ_BYTES = 16384, TRIES = 32 };

/* EAGAIN: something was renamed meanwhile, and the kernel cannot vouch for the result. */
static int open_at(int dir, const char *path, int flags, uint64_t resolve)
{
    struct open_how how = {.flags = (uint64_t)(flags | O_CLOEXEC),
                           .resolve = resolve | RESOLVE_NO_MAGICLINKS};
    int fd = -1;
    for (int i = 0; i < TRIES; i++) {
        fd = (int)syscall(SYS_openat2, dir, path, &how, sizeof how);
        if (fd >= 0 || (errno != EAGAIN && errno != EINTR))
            break;
    }
    return fd;
}

int kb_inside_read(const char *root, const char *path, size_t max_bytes, struct kb_buf *buf,
                   struct kb_err *err)
{
    struct stat st;
    KB_AUTO(kb_auto_close) int dir = open(root, O_PATH | O_DIRECTORY | O_CLOEXEC);
    if (dir < 0)
        return kb_err_sys(err, errno, "open '%s'", root);
    KB_AUTO(kb_auto_close)
    int fd = open_at(dir, path, O_RDONLY | O_NONBLOCK | O_NOCTTY, RESOLVE_IN_ROOT);
    if (fd < 0)
        return kb_err_sys(err, errno, "open '%s' in '%s'", path, root);
    if (fstat(fd, &st) < 0 || !S_ISREG(st.st_mode) || (uint64_t)st.st_size > max_bytes)
        return kb_err_set(err, KB_EINVAL, "'%s' in '%s' is no file, or too long", path, root);
    for (size_t got = 0; got <= max_bytes;) {
        ssize_t n = read(fd, kb_buf_reserve(buf, READ_BYTES), READ_BYTES);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return kb_err_sys(err, errno, "read '%s' in '%s'", path, root);
        buf->n += (size_t)n;
        buf->p[buf->n] = '\0';
        got += (size_t)n;
        if (n == 0)
            return 0;
    }
    return kb_err_set(err, KB_EINVAL, "'%s' in '%s' grows", path, root);
}

static bool goes_back(const char *path)
{
    for (kb_str rest = kb_str_of(path); rest.p != NULL;)
        if (kb_str_is(kb_str_cut(&rest, '/'), ".."))
            return true;
    return *path == '/';
}

/* `name` in the folder `parent`, made when it is missing. `so_far` is its path below `top`. */
static int step(int top, const char *so_far, int parent, const char *name, mode_t mode)
{
    int fd = open_at(top, so_far, O_PATH, RESOLVE_BENEATH);
    if (fd >= 0 || errno != ENOENT)
        return fd;
    if (mkdirat(parent, name, mode) == 0)
        (void)fchmodat(parent, name, mode, AT_SYMLINK_NOFOLLOW); /* whatever the umask */
    else if (errno != EEXIST)
        return -1;
    return open_at(top, so_far, O_PATH, RESOLVE_BENEATH);
}

int kb_inside_make(const char *base, const char *path, struct kb_err *err)
{
    struct stat st;
    KB_AUTO(kb_auto_close) int top = open(base, O_PATH | O_DIRECTORY | O_CLOEXEC);
    if (top < 0 || fstat(top, &st) < 0)
        return kb_err_sys(err, errno, "open '%s'", base);
    if (goes_back(path))
        return kb_err_set(err, KB_EFORBIDDEN, "'%s' leads out of '%s'", path, base);
    KB_AUTO(kb_buf_finish) struct kb_buf so_far = {0};
    KB_AUTO(kb_auto_close) int at = open_at(top, ".", O_PATH, RESOLVE_BENEATH);
    for (kb_str rest = kb_str_of(path); at >= 0 && rest.p != NULL;) {
        kb_str part = kb_str_cut(&rest, '/');
        if (part.n == 0 || kb_str_is(part, "."))
            continue;
        KB_AUTO(kb_auto_free) char *name = kb_str_dup(part);
        kb_buf_printf(&so_far, "%s%s", so_far.n ? "/" : "", name);
        int next = step(top, so_far.p, at, name, st.st_mode & 02777);
        int saved = errno;
        close(at);
        at = next;
        errno = saved;
    }
    if (at < 0 && (errno == EXDEV || errno == ELOOP))
        return kb_err_set(err, KB_EFORBIDDEN, "'%s' leads out of '%s'", path, base);
    if (at < 0)
        return kb_err_sys(err, errno, "'%s' in '%s'", path, base);
    int fd = at;
    at = -1;
    return fd;
}

int kb_inside_bind(int fd, const char *target, struct kb_err *err)
{
    struct stat st;
    char source[64];
    KB_AUTO(kb_auto_free) char *folder = kb_str_dup(kb_str_of(target));
    char *slash = strrchr(folder, '/');
    if (slash != NULL)
        *slash = '\0';
    snprintf(source, sizeof source, "/proc/self/fd/%d", fd);
    while (umount2(target, MNT_DETACH | UMOUNT_NOFOLLOW) == 0)
        ;
    (void)remove(target);
    if (fstat(fd, &st) < 0)
        return kb_err_sys(err, errno, "'%s'", source);
    if (kb_dir_make(folder, 0755, err) < 0)
        return -err->code;
    int rc = S_ISDIR(st.st_mode) ? mkdir(target, 0755) : mknod(target, S_IFREG | 0644, 0);
    if (rc < 0)
        return kb_err_sys(err, errno, "make '%s'", target);
    if (mount(source, target, NULL, MS_BIND, NULL) < 0)
        return kb_err_sys(err, errno, "mount '%s'", target);
    return 0;
}
