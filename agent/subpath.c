/* subpath.c - folders below a volume, made where the kernel has looked that they are below it.
 *
 * WHY openat2 and not realpath first: what lies in the volume belongs to containers, which can put
 * a link in the way at any moment; RESOLVE_BENEATH decides in the same step in which it opens. */
#include "agent/subpath.h"
#include "bus/base/str.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

static int open_beneath(int base, const char *path, uint64_t flags)
{
    struct open_how how = {.flags = flags | O_CLOEXEC, .resolve = RESOLVE_BENEATH};
    return (int)syscall(SYS_openat2, base, path, &how, sizeof how);
}

static bool is_plain(kb_str sub)
{
    if (sub.n == 0 || sub.p[0] == '/')
        return false;
    while (sub.p != NULL)
        if (kb_str_is(kb_str_cut(&sub, '/'), ".."))
            return false;
    return true;
}

/* The last part of `path`, as a folder with these permissions whatever the umask. */
static int make_folder(int base, char *path, mode_t mode)
{
    char *slash = strrchr(path, '/');
    const char *name = slash != NULL ? slash + 1 : path;
    if (slash != NULL)
        *slash = '\0';
    KB_AUTO(kb_auto_close)
    int parent = open_beneath(base, slash != NULL ? path : ".", O_PATH | O_DIRECTORY);
    if (slash != NULL)
        *slash = '/';
    if (parent < 0 || mkdirat(parent, name, mode) < 0)
        return -1;
    KB_AUTO(kb_auto_close)
    int made = openat(parent, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    return made < 0 ? -1 : fchmod(made, mode);
}

/* Make what is missing, from the top down. */
static int make_missing(int base, char *path, mode_t mode)
{
    for (char *at = path;; at++) {
        char kept = *at;
        if (kept != '/' && kept != '\0')
            continue;
        *at = '\0';
        KB_AUTO(kb_auto_close) int there = *path ? open_beneath(base, path, O_PATH) : -1;
        bool failed = *path && there < 0 && (errno != ENOENT || make_folder(base, path, mode) < 0);
        *at = kept;
        if (failed)
            return -1;
        if (kept == '\0')
            return 0;
    }
}

int kb_subpath_make(const char *base, const char *sub, char **ret_path, struct kb_err *err)
{
    struct stat st;
    char link[64], real[4096];
    KB_AUTO(kb_auto_free) char *path = kb_str_dup(kb_str_of(sub));
    if (!is_plain(kb_str_of(sub)))
        return kb_err_set(err, KB_EFORBIDDEN, "subPath \"%s\" leads out of its volume", sub);
    KB_AUTO(kb_auto_close) int top = open(base, O_PATH | O_DIRECTORY | O_CLOEXEC);
    if (top < 0 || fstat(top, &st) < 0 || make_missing(top, path, st.st_mode & 0777) < 0)
        return kb_err_set(err, KB_EFORBIDDEN,
                          "failed to prepare subPath for volumeMount \"%s\": %s", sub,
                          strerror(errno));
    KB_AUTO(kb_auto_close) int fd = open_beneath(top, path, O_PATH);
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t n = fd < 0 ? -1 : readlink(link, real, sizeof real - 1);
    if (n < 0)
        return kb_err_set(err, KB_EFORBIDDEN,
                          "failed to prepare subPath for volumeMount \"%s\": %s", sub,
                          strerror(errno));
    *ret_path = kb_str_dup(kb_str_n(real, (size_t)n));
    return 0;
}
