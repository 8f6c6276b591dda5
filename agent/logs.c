/* logs.c - a cursor over a log that is being rotated under it.
 *
 * The cursor is a descriptor and an offset in it. When the file is at its end and is no longer the
 * newest, the next one is that which stands one place before it now, found by inode: so no line is
 * read twice or left out, however often the shim rotates meanwhile. */
#include "agent/logs.h"
#include "bus/base/check.h"
#include "bus/base/clock.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/inotify.h>
#include <sys/stat.h>
#include <unistd.h>

enum { CHUNK = 32768, FILES_MAX = 100 };

struct kb_log_reader {
    struct kb_ev *ev;
    char *path;
    struct kb_log_options options;
    const struct kb_log_handlers *handlers;
    void *arg;
    int fd, inotify_fd;
    struct kb_ev_fd *watch;
    struct kb_ev_timer step;
    bool live, blocked, ended, mid_line;
    struct kb_buf raw;     /* read, not yet a whole record */
    struct kb_buf pending; /* made, not yet taken */
    int64_t sent;
};

static char *nth_path(const struct kb_log_reader *r, int n)
{
    return n == 0 ? kb_str_dup(kb_str_of(r->path)) : kb_strf("%s.%d", r->path, n);
}

static int open_nth(const struct kb_log_reader *r, int n)
{
    KB_AUTO(kb_auto_free) char *path = nth_path(r, n);
    return open(path, O_RDONLY | O_CLOEXEC);
}

static int oldest(const struct kb_log_reader *r)
{
    int n = 0;
    struct stat st;
    for (; n < FILES_MAX; n++) {
        KB_AUTO(kb_auto_free) char *path = nth_path(r, n + 1);
        if (stat(path, &st) < 0)
            break;
    }
    return n;
}

/* The place of the file that we read: 0 is the newest; -1: it was dropped. */
static int place(const struct kb_log_reader *r)
{
    struct stat own, st;
    if (fstat(r->fd, &own) < 0)
        return -1;
    for (int n = 0; n < FILES_MAX; n++) {
        KB_AUTO(kb_auto_free) char *path = nth_path(r, n);
        if (stat(path, &st) < 0) {
            if (n > 0)
                return -1;
            continue;
        }
        if (st.st_ino == own.st_ino && st.st_dev == own.st_dev)
            return n;
    }
    return -1;
}

/* Where the last `lines` lines of the file begin; *lines becomes how many are missing still. */
static off_t tail_offset(int fd, int64_t *lines)
{
    char bytes[CHUNK];
    off_t end = lseek(fd, 0, SEEK_END), at = end;
    while (at > 0) {
        size_t n = at > CHUNK ? CHUNK : (size_t)at;
        at -= (off_t)n;
        if (pread(fd, bytes, n, at) != (ssize_t)n)
            return at;
        for (size_t i = n; i-- > 0;) {
            if (bytes[i] != '\n' || at + (off_t)i == end - 1)
                continue;
            if (--*lines == 0)
                return at + (off_t)i + 1;
        }
    }
    if (end > 0)
        --*lines;
    return 0;
}

static void seek_start(struct kb_log_reader *r)
{
    int last = oldest(r);
    int64_t lines = r->options.tail;
    if (lines < 0) {
        r->fd = open_nth(r, last);
        return;
    }
    for (int n = 0; n <= last; n++) {
        int fd = open_nth(r, n);
        if (fd < 0)
            break;
        off_t at = lines > 0 ? tail_offset(fd, &lines) : lseek(fd, 0, SEEK_END);
        lseek(fd, at, SEEK_SET);
        kb_auto_close(&r->fd);
        r->fd = fd;
        if (lines <= 0)
            break;
    }
}

/* One record into `pending`: "TIME STREAM TAG TEXT". */
static void record(struct kb_log_reader *r, kb_str line)
{
    kb_str rest = line;
    kb_str time = kb_str_cut(&rest, ' ');
    (void)kb_str_cut(&rest, ' ');
    kb_str tag = kb_str_cut(&rest, ' ');
    if (rest.p == NULL)
        return;
    if (r->options.since_us > 0) {
        char text[64];
        int64_t us = 0;
        if (kb_str_copy(time, text, sizeof text) && kb_time_parse(text, &us) == 0 &&
            us < r->options.since_us)
            return;
    }
    if (r->options.timestamps && !r->mid_line)
        kb_buf_printf(&r->pending, KB_STR_FMT " ", KB_STR_ARG(time));
    kb_buf_add_str(&r->pending, rest);
    r->mid_line = kb_str_is(tag, "P");
    if (!r->mid_line)
        kb_buf_putc(&r->pending, '\n');
}

static void records(struct kb_log_reader *r)
{
    size_t at = 0;
    const char *nl;
    while (at < r->raw.n && (nl = memchr(r->raw.p + at, '\n', r->raw.n - at)) != NULL) {
        record(r, kb_str_n(r->raw.p + at, (size_t)(nl - (r->raw.p + at))));
        at = (size_t)(nl - r->raw.p) + 1;
    }
    kb_buf_drop(&r->raw, at);
}

static void ended(struct kb_log_reader *r)
{
    r->ended = true;
    kb_ev_unwatch(&r->watch);
    r->handlers->end(r->arg); /* may destroy r */
}

/* Hand over what is pending. False: stop here (not taken, or the limit is reached and all is over).
 */
static bool deliver(struct kb_log_reader *r)
{
    if (r->pending.n == 0)
        return true;
    kb_str bytes = kb_buf_str(&r->pending);
    bool last = false;
    if (r->options.limit_bytes > 0 && r->sent + (int64_t)bytes.n >= r->options.limit_bytes) {
        bytes.n = (size_t)(r->options.limit_bytes - r->sent);
        last = true;
    }
    if (!r->handlers->bytes(r->arg, bytes)) {
        r->blocked = true;
        return false;
    }
    r->sent += (int64_t)bytes.n;
    kb_buf_clear(&r->pending);
    if (last) {
        ended(r);
        return false;
    }
    return true;
}

/* The next newer file, when there is one. */
static bool advance(struct kb_log_reader *r)
{
    int at = r->fd < 0 ? oldest(r) + 1 : place(r);
    int next = at < 0 ? oldest(r) : at - 1;
    if (at == 0)
        return false;
    int fd = open_nth(r, next);
    if (fd < 0)
        return false;
    kb_auto_close(&r->fd);
    r->fd = fd;
    return true;
}

static void watch(struct kb_log_reader *r);

static void step(void *arg)
{
    struct kb_log_reader *r = arg;
    if (r->blocked || r->ended || !deliver(r))
        return;
    ssize_t n = r->fd < 0 ? 0 : read(r->fd, kb_buf_reserve(&r->raw, CHUNK), CHUNK);
    if (n == 0 && r->fd >= 0 && place(r) != 0) /* rotated since: what came before that */
        n = read(r->fd, kb_buf_reserve(&r->raw, CHUNK), CHUNK);
    if (n > 0) {
        r->raw.n += (size_t)n;
        records(r);
        if (deliver(r))
            kb_ev_arm(r->ev, &r->step, 0, step, r);
        return;
    }
    if (advance(r)) {
        kb_ev_arm(r->ev, &r->step, 0, step, r);
    } else if (!r->options.follow || !r->live) {
        ended(r);
    } else {
        watch(r);
    }
}

static void on_inotify(void *arg, uint32_t events)
{
    struct kb_log_reader *r = arg;
    char bytes[4096];
    (void)events;
    while (read(r->inotify_fd, bytes, sizeof bytes) > 0)
        ;
    kb_ev_arm(r->ev, &r->step, 0, step, r);
}

/* Watch the folder: the file may come later, and is replaced at each rotation. Look once more after
 * that, for what was written in between. */
static void watch(struct kb_log_reader *r)
{
    if (r->watch != NULL)
        return;
    KB_AUTO(kb_auto_free) char *folder = kb_str_dup(kb_str_of(r->path));
    char *slash = strrchr(folder, '/');
    if (slash != NULL)
        *slash = '\0';
    r->inotify_fd = inotify_init1(IN_CLOEXEC | IN_NONBLOCK);
    if (r->inotify_fd < 0 ||
        inotify_add_watch(r->inotify_fd, folder, IN_MODIFY | IN_CREATE | IN_MOVED_TO) < 0) {
        ended(r);
        return;
    }
    r->watch = kb_ev_watch(r->ev, r->inotify_fd, EPOLLIN, on_inotify, r);
    kb_ev_arm(r->ev, &r->step, 0, step, r);
}

struct kb_log_reader *kb_log_open(struct kb_ev *ev, const char *path,
                                  const struct kb_log_options *options, bool live,
                                  const struct kb_log_handlers *handlers, void *arg)
{
    struct kb_log_reader *r = calloc(1, sizeof *r);
    KB_ASSERT(r != NULL);
    *r = (struct kb_log_reader){.ev = ev,
                                .path = kb_str_dup(kb_str_of(path)),
                                .options = *options,
                                .handlers = handlers,
                                .arg = arg,
                                .fd = -1,
                                .inotify_fd = -1,
                                .live = live};
    seek_start(r);
    kb_ev_arm(ev, &r->step, 0, step, r);
    return r;
}

void kb_log_resume(struct kb_log_reader *r)
{
    if (!r->blocked)
        return;
    r->blocked = false;
    kb_ev_arm(r->ev, &r->step, 0, step, r);
}

void kb_log_over(struct kb_log_reader *r)
{
    r->live = false;
    if (!r->blocked && !r->ended)
        kb_ev_arm(r->ev, &r->step, 0, step, r);
}

void kb_log_destroy(struct kb_log_reader **reader_p)
{
    struct kb_log_reader *r = KB_STEAL(*reader_p);
    if (r == NULL)
        return;
    kb_ev_disarm(r->ev, &r->step);
    kb_ev_unwatch(&r->watch);
    kb_auto_close(&r->inotify_fd);
    kb_auto_close(&r->fd);
    kb_buf_finish(&r->raw);
    kb_buf_finish(&r->pending);
    free(r->path);
    free(r);
}
