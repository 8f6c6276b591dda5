#include "agent/files.h"
#include "bus/base/file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

int kb_put_file(const char *path, kb_str text, mode_t mode, struct kb_err *err)
{
    KB_AUTO(kb_auto_free) char *temporary = kb_strf("%s.%d.tmp", path, (int)getpid());
    KB_AUTO(kb_auto_close)
    int fd = open(temporary, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, mode);
    if (fd < 0)
        return kb_err_sys(err, errno, "create '%s'", temporary);
    bool ok = fchmod(fd, mode) == 0;
    while (ok && text.n > 0) {
        ssize_t n = write(fd, text.p, text.n);
        if (n < 0 && errno == EINTR)
            continue;
        ok = n > 0;
        if (ok)
            text = kb_str_n(text.p + n, text.n - (size_t)n);
    }
    if (!ok || rename(temporary, path) < 0) {
        int saved = errno;
        unlink(temporary);
        return kb_err_sys(err, saved, "write '%s'", path);
    }
    return 0;
}

int kb_poke_file(const char *path, const char *text, struct kb_err *err)
{
    KB_AUTO(kb_auto_close) int fd = open(path, O_WRONLY | O_CLOEXEC);
    if (fd < 0 || write(fd, text, strlen(text)) < 0)
        return kb_err_sys(err, errno, "write '%s' to '%s'", text, path);
    return 0;
}

kb_str kb_line_value(kb_str text, const char *key)
{
    size_t n = strlen(key);
    while (text.p != NULL) {
        kb_str line = kb_str_cut(&text, '\n');
        if (line.n > n && line.p[n] == '=' && memcmp(line.p, key, n) == 0)
            return kb_str_n(line.p + n + 1, line.n - n - 1);
    }
    return (kb_str){0};
}

kb_str kb_get_file(const char *path, struct kb_buf *buf)
{
    kb_buf_clear(buf);
    if (kb_file_read(path, 1 << 20, buf, NULL) < 0)
        return (kb_str){0};
    return kb_buf_str(buf);
}

kb_str kb_proc_stamp(kb_str stat)
{
    enum { BETWEEN = 19 }; /* fields between the name and the time of the start */
    const char *paren = stat.n > 0 ? memrchr(stat.p, ')', stat.n) : NULL;
    if (paren == NULL || stat.p + stat.n - paren < 2)
        return (kb_str){0};
    kb_str rest = kb_str_n(paren + 2, (size_t)(stat.p + stat.n - paren) - 2);
    for (int i = 0; i < BETWEEN && rest.p != NULL; i++)
        kb_str_cut(&rest, ' ');
    return kb_str_cut(&rest, ' ');
}

bool kb_path_exists(const char *path)
{
    struct stat st;
    return lstat(path, &st) == 0;
}
