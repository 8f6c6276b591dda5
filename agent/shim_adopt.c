/* shim_adopt.c - what an earlier agent left, read back from the folders.
 *
 *     lock held, started there             it runs: watch its shim
 *     lock held, no started                it is being started: wait for the file, or for an end
 *     lock free, exit there                it has ended
 *     lock free, no exit, started there    its shim was killed: kill it, report it lost
 *     lock free, no exit, no started       it never came to be: clear it away
 *
 * Who holds the lock goes on while we look: a folder is watched before its files are read, so that
 * nothing comes about between the two unseen. */
#include "agent/files.h"
#include "agent/runtime_shim.h"
#include "agent/sandbox.h"
#include "bus/base/file.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/file.h>
#include <sys/inotify.h>
#include <sys/syscall.h>
#include <unistd.h>

static kb_str read_in(const char *dir, const char *name, struct kb_buf *buf)
{
    KB_AUTO(kb_auto_free) char *path = kb_strf("%s/%s", dir, name);
    return kb_get_file(path, buf);
}

/* The number behind "name=" among words. False: it is not among them. */
static bool word_number(kb_str text, const char *name, int64_t *ret)
{
    size_t n = strlen(name);
    while (text.p != NULL) {
        kb_str word = kb_str_trim(kb_str_cut(&text, ' '));
        if (word.n > n && word.p[n] == '=' && memcmp(word.p, name, n) == 0)
            return kb_str_i64(kb_str_n(word.p + n + 1, word.n - n - 1), ret);
    }
    return false;
}

bool kb__shim_parse_exit(kb_str text, struct kb_rt_exit *ret)
{
    int64_t code, signal = 0, oom = 0, lost = 0, started = 0, finished;
    if (!word_number(text, "code", &code) || !word_number(text, "finished", &finished))
        return false;
    (void)word_number(text, "signal", &signal);
    (void)word_number(text, "oom", &oom);
    (void)word_number(text, "lost", &lost);
    (void)word_number(text, "started", &started);
    *ret = (struct kb_rt_exit){.code = (int)code,
                               .signal = (int)signal,
                               .oom = oom != 0,
                               .lost = lost != 0,
                               .started_us = started,
                               .finished_us = finished};
    return true;
}

bool kb__shim_read_exit(const char *dir, struct kb_rt_exit *ret)
{
    KB_AUTO(kb_buf_finish) struct kb_buf buf = {0};
    return kb__shim_parse_exit(read_in(dir, "exit", &buf), ret);
}

bool kb__shim_parse_started(kb_str text, pid_t *ret_pid, int64_t *ret_us)
{
    kb_str rest = kb_str_trim(text);
    int64_t pid = 0, us = 0;
    if (!kb_str_i64(kb_str_cut(&rest, ' '), &pid) || !kb_str_i64(rest, &us) || pid <= 0 ||
        pid > INT32_MAX)
        return false;
    *ret_pid = (pid_t)pid;
    *ret_us = us;
    return true;
}

bool kb__shim_read_started(const char *dir, pid_t *ret_pid, int64_t *ret_us)
{
    KB_AUTO(kb_buf_finish) struct kb_buf buf = {0};
    return kb__shim_parse_started(read_in(dir, "started", &buf), ret_pid, ret_us);
}

void kb__shim_read_meta(struct kb_box *box)
{
    KB_AUTO(kb_buf_finish) struct kb_buf buf = {0};
    kb_str text = read_in(box->dir, "meta", &buf);
    if (text.n == 0)
        return;
    (void)kb_str_copy(kb_line_value(text, "id"), box->id, sizeof box->id);
    free(box->image);
    free(box->image_id);
    box->image = kb_str_dup(kb_line_value(text, "image"));
    box->image_id = kb_str_dup(kb_line_value(text, "image_id"));
    uint64_t restarts = 0;
    if (kb_str_u64(kb_line_value(text, "restarts"), &restarts))
        box->restarts = (unsigned)restarts;
    box->shared = kb_str_is(kb_line_value(text, "shared"), "1");
}

/* A pidfd of the shim, or -1 when that process is not it (any more). */
static int open_shim(const char *dir)
{
    KB_AUTO(kb_buf_finish) struct kb_buf buf = {0}, stat = {0};
    kb_str stamp = kb_str_trim(read_in(dir, "shim", &buf));
    int64_t pid = 0;
    if (!kb_str_i64(kb_str_cut(&stamp, ' '), &pid) || pid <= 1 || pid > INT32_MAX || stamp.n == 0)
        return -1;
    int fd = (int)syscall(SYS_pidfd_open, (pid_t)pid, 0);
    KB_AUTO(kb_auto_free) char *path = kb_strf("/proc/%d/stat", (int)pid);
    if (fd >= 0 && kb_str_eq(kb_proc_stamp(kb_get_file(path, &stat)), stamp))
        return fd;
    kb_auto_close(&fd);
    return -1;
}

static bool lock_is_held(const char *dir)
{
    KB_AUTO(kb_auto_free) char *path = kb_strf("%s/lock", dir);
    KB_AUTO(kb_auto_close) int fd = open(path, O_RDONLY | O_CLOEXEC); /* closing it is no event */
    return fd >= 0 && flock(fd, LOCK_EX | LOCK_NB) < 0 && errno == EWOULDBLOCK;
}

static void on_adopted_over(void *arg, uint32_t events)
{
    struct kb_box *box = arg;
    struct kb_err err = {0};
    (void)events;
    kb_ev_unwatch(&box->shim_watch);
    kb_ev_unwatch(&box->inotify_watch);
    pid_t pid;
    int64_t us;
    struct kb_shim_rt *rt = box->rt;
    KB_AUTO(kb_auto_free) char *uid = box->started_told ? NULL : kb_str_dup(kb_str_of(box->uid));
    if (!box->started_told && kb__shim_read_started(box->dir, &pid, &us))
        kb__shim_box_started(box, pid, us, true);
    if (box->started_told) {
        kb__shim_box_ended(box);
    } else {
        kb_err_set(&err, KB_EIO, "the start was interrupted");
        kb__shim_box_failed(box, -KB_EIO, &err);
    }
    if (uid)
        kb__shim_pod_done(rt, uid);
}

static void watch_shim(struct kb_box *box)
{
    box->shim_fd = open_shim(box->dir);
    if (box->shim_fd >= 0)
        box->shim_watch =
            kb_ev_watch(box->rt->base.ev, box->shim_fd, EPOLLIN, on_adopted_over, box);
}

/* A file has come, or whoever held the lock has closed it. */
static void on_files(void *arg, uint32_t events)
{
    struct kb_box *box = arg;
    char bytes[4096];
    pid_t pid;
    int64_t us;
    (void)events;
    while (read(box->inotify_fd, bytes, sizeof bytes) > 0)
        ;
    if (box->shim_fd < 0)
        watch_shim(box);
    if (box->shim_fd >= 0 && kb__shim_read_started(box->dir, &pid, &us)) {
        kb_ev_unwatch(&box->inotify_watch);
        kb__shim_box_started(box, pid, us, true);
        kb__shim_pod_done(box->rt, box->uid);
    } else if (box->shim_fd < 0 && !lock_is_held(box->dir)) {
        on_adopted_over(box, 0);
    }
}

static bool watch_files(struct kb_box *box)
{
    box->inotify_fd = inotify_init1(IN_CLOEXEC | IN_NONBLOCK);
    if (box->inotify_fd < 0 ||
        inotify_add_watch(box->inotify_fd, box->dir, IN_MOVED_TO | IN_CLOSE_WRITE) < 0)
        return false;
    box->inotify_watch = kb_ev_watch(box->rt->base.ev, box->inotify_fd, EPOLLIN, on_files, box);
    return true;
}

/* A job or shim of our predecessor had the lock. False: it has gone meanwhile. */
static bool adopt_held(struct kb_box *box)
{
    pid_t pid = 0;
    int64_t us = 0;
    bool watched = watch_files(box);
    watch_shim(box);
    if (box->shim_fd < 0 && (!watched || !lock_is_held(box->dir))) {
        kb_ev_unwatch(&box->inotify_watch);
        return false;
    }
    box->state = KB_RT_STARTING;
    if (box->shim_fd >= 0 && kb__shim_read_started(box->dir, &pid, &us)) {
        kb_ev_unwatch(&box->inotify_watch);
        kb__shim_box_started(box, pid, us, false);
    } else {
        kb__shim_pod_busy(box->rt, box->uid);
    }
    return true;
}

static void clear_away(struct kb_box *box)
{
    kb_unmount_below(box->dir);
    (void)kb_dir_remove(box->dir, NULL);
    kb__shim_box_free(box);
}

/* Nobody is at it. False: there is no such container (any more). */
static bool adopt_free(struct kb_box *box)
{
    pid_t pid = 0;
    int64_t us = 0;
    if (kb__shim_read_exit(box->dir, &box->exit)) {
        box->state = KB_RT_EXITED;
        box->dead = box->started_told = true;
        box->started_us = box->exit.started_us;
        return true;
    }
    if (!kb__shim_read_started(box->dir, &pid, &us)) {
        clear_away(box);
        return false;
    }
    box->started_told = true;
    box->started_us = us;
    box->pid = pid;
    kb__shim_box_settle(box);
    return true;
}

static bool adopt_box(struct kb_box *box)
{
    kb__shim_read_meta(box);
    return (lock_is_held(box->dir) && adopt_held(box)) || adopt_free(box);
}

static void adopt_attempt(struct kb_shim_rt *rt, const char *uid, const char *name,
                          unsigned attempt, kb_rt_found_fn *found, void *arg)
{
    struct kb_rt_ref ref = {uid, name, attempt};
    struct kb_rt_container_info info;
    struct kb_box *box = kb__shim_box_new(rt, &ref);
    if (!adopt_box(box))
        return;
    kb__shim_info(box, &info);
    found(arg, uid, NULL, &ref, &info);
}

static void each_entry(const char *path, void (*fn)(void *arg, const char *name), void *arg)
{
    DIR *dir = opendir(path);
    for (struct dirent *entry; dir != NULL && (entry = readdir(dir)) != NULL;)
        if (entry->d_name[0] != '.')
            fn(arg, entry->d_name);
    if (dir != NULL)
        closedir(dir);
}

struct walk {
    struct kb_shim_rt *rt;
    kb_rt_found_fn *found;
    void *arg;
    const char *uid, *name;
};

static void walk_attempt(void *arg, const char *entry)
{
    struct walk *walk = arg;
    uint64_t attempt;
    if (kb_str_u64(kb_str_of(entry), &attempt))
        adopt_attempt(walk->rt, walk->uid, walk->name, (unsigned)attempt, walk->found, walk->arg);
}

static void walk_name(void *arg, const char *entry)
{
    struct walk *walk = arg;
    KB_AUTO(kb_auto_free)
    char *path = kb_strf("%s/pods/%s/containers/%s", walk->rt->dir, walk->uid, entry);
    walk->name = entry;
    each_entry(path, walk_attempt, walk);
}

static void walk_pod(void *arg, const char *entry)
{
    struct walk *walk = arg;
    char ip[KB_IP_BYTES] = "";
    KB_AUTO(kb_auto_free) char *dir = kb_strf("%s/pods/%s", walk->rt->dir, entry);
    KB_AUTO(kb_auto_free) char *sandbox = kb_strf("%s/sandbox", dir);
    KB_AUTO(kb_auto_free) char *containers = kb_strf("%s/containers", dir);
    struct kb_rt_sandbox_info info = {.ip = ip};
    bool whole = kb_sandbox_find(sandbox, ip, &info.host_network);
    walk->found(walk->arg, entry, whole ? &info : NULL, NULL, NULL);
    walk->uid = entry;
    each_entry(containers, walk_name, walk);
}

/* After a reboot no process, mount or namespace is left: every container has ended, no sandbox
 * stands. */
static void forget_after_reboot(struct kb_shim_rt *rt)
{
    KB_AUTO(kb_buf_finish) struct kb_buf now = {0}, then = {0};
    KB_AUTO(kb_auto_free) char *path = kb_strf("%s/boot", rt->dir);
    KB_AUTO(kb_auto_free) char *pods = kb_strf("%s/pods", rt->dir);
    kb_str id = kb_get_file("/proc/sys/kernel/random/boot_id", &now);
    kb_str old = kb_get_file(path, &then);
    if (old.n > 0 && !kb_str_eq(id, old)) {
        DIR *dir = opendir(pods);
        for (struct dirent *entry; dir != NULL && (entry = readdir(dir)) != NULL;) {
            KB_AUTO(kb_auto_free) char *info = kb_strf("%s/%s/sandbox/info", pods, entry->d_name);
            if (entry->d_name[0] != '.')
                unlink(info);
        }
        if (dir != NULL)
            closedir(dir);
    }
    (void)kb_put_file(path, id, 0600, NULL);
}

int kb__shim_adopt(struct kb_runtime *base, kb_rt_found_fn *found, void *arg, struct kb_err *err)
{
    struct kb_shim_rt *rt = (struct kb_shim_rt *)base;
    struct walk walk = {rt, found, arg, NULL, NULL};
    KB_AUTO(kb_auto_free) char *pods = kb_strf("%s/pods", rt->dir);
    if (kb_dir_make(pods, 0755, err) < 0)
        return -err->code;
    if (rt->oci && kb_podnet_node(&rt->net, err) < 0)
        return -err->code;
    forget_after_reboot(rt);
    each_entry(pods, walk_pod, &walk);
    return 0;
}
