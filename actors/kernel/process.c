/* process.c - the one place of kubusd that knows processes.
 *
 * A process is watched by a pidfd, which works for children and for those of a kubusd that died
 * alike, and cannot mean another process that got the same number. Logs are files that actors
 * append to by themselves, not pipes to kubusd: they must be able to write while it is away. */
#include "actors/kernel/process.h"

#include "bus/base/check.h"
#include "bus/loop.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

extern char **environ;

struct kb_process {
    struct kb_loop_fd *watch;
    int pid, fd;
    kb_process_fn *fn;
    void *user;
};

static bool is_ours(const char *entry)
{
    return strncmp(entry, "KUBUS_RUN=", 10) == 0 || strncmp(entry, "KUBUS_RESTARTS=", 15) == 0;
}

/* Our environment, and what the process shall know; caller frees all three. */
static char **environment(const struct kb_process_start *start, char **ret_run, char **ret_restarts)
{
    size_t n = 0, out = 0;
    while (environ[n])
        n++;
    char **env = calloc(n + 3, sizeof(*env));
    KB_ASSERT(env != NULL);
    *ret_run = kb_strf("KUBUS_RUN=%s", start->run_dir);
    *ret_restarts = kb_strf("KUBUS_RESTARTS=%lld", (long long)start->restarts);
    for (size_t i = 0; i < n; i++)
        if (!is_ours(environ[i]))
            env[out++] = environ[i];
    env[out++] = *ret_run;
    env[out] = *ret_restarts;
    return env;
}

static void set_attributes(posix_spawnattr_t *attr)
{
    sigset_t none, all;
    sigemptyset(&none);
    sigfillset(&all);
    posix_spawnattr_init(attr);
    posix_spawnattr_setsigmask(attr, &none);
    posix_spawnattr_setsigdefault(attr, &all);
    posix_spawnattr_setflags(attr,
                             POSIX_SPAWN_SETSID | POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF);
}

int kb_process_spawn(const struct kb_process_start *start, int *ret_pid, struct kb_err *err)
{
    KB_AUTO(kb_auto_free) char *run = NULL, *restarts = NULL;
    KB_AUTO(kb_auto_free) char **env = environment(start, &run, &restarts);
    posix_spawn_file_actions_t files;
    posix_spawnattr_t attr;
    pid_t pid;
    set_attributes(&attr);
    posix_spawn_file_actions_init(&files);
    posix_spawn_file_actions_addopen(&files, STDIN_FILENO, "/dev/null", O_RDONLY, 0);
    posix_spawn_file_actions_addopen(&files, STDOUT_FILENO, start->log_path,
                                     O_WRONLY | O_CREAT | O_APPEND, 0640);
    posix_spawn_file_actions_adddup2(&files, STDOUT_FILENO, STDERR_FILENO);
    int rc = posix_spawn(&pid, "/proc/self/exe", &files, &attr, start->argv, env);
    posix_spawn_file_actions_destroy(&files);
    posix_spawnattr_destroy(&attr);
    if (rc != 0)
        return kb_err_sys(err, rc, "start '%s %s'", start->argv[0], start->argv[1]);
    *ret_pid = pid;
    return 0;
}

static void describe(const struct kb_process *process, char *out, size_t n)
{
    siginfo_t info = {0};
    if (waitid(P_PID, (id_t)process->pid, &info, WEXITED | WNOHANG) < 0 || info.si_pid == 0)
        snprintf(out, n, "ended");
    else if (info.si_code == CLD_EXITED)
        snprintf(out, n, "exit %d", info.si_status);
    else
        snprintf(out, n, "killed by signal %d", info.si_status);
}

static void on_end(void *user, int fd, uint32_t events)
{
    (void)fd, (void)events;
    struct kb_process *process = user;
    char how[64];
    int pid = process->pid;
    kb_process_fn *fn = process->fn;
    void *fn_user = process->user;
    describe(process, how, sizeof(how));
    kb_process_unwatch(&process);
    fn(fn_user, pid, how);
}

struct kb_process *kb_process_watch(struct kb_loop *loop, int pid, kb_process_fn *fn, void *user)
{
    int fd = (int)syscall(SYS_pidfd_open, pid, 0);
    if (fd < 0)
        return NULL;
    struct kb_process *process = calloc(1, sizeof(*process));
    KB_ASSERT(process != NULL);
    *process = (struct kb_process){.pid = pid, .fd = fd, .fn = fn, .user = user};
    process->watch = kb_loop_fd_add(loop, fd, EPOLLIN, on_end, process);
    return process;
}

void kb_process_unwatch(struct kb_process **process_p)
{
    struct kb_process *process = KB_STEAL(*process_p);
    if (process == NULL)
        return;
    kb_loop_fd_del(&process->watch);
    kb_auto_close(&process->fd);
    free(process);
}

int64_t kb_process_rss_bytes(int pid)
{
    char path[64], text[128];
    long long size, resident;
    snprintf(path, sizeof(path), "/proc/%d/statm", pid);
    KB_AUTO(kb_auto_close) int fd = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t n = fd >= 0 ? read(fd, text, sizeof(text) - 1) : -1;
    if (n <= 0)
        return 0;
    text[n] = '\0';
    if (sscanf(text, "%lld %lld", &size, &resident) != 2)
        return 0;
    return resident * sysconf(_SC_PAGESIZE);
}

/* So many bytes, or up to the end. */
static bool copy(int from, int to, int64_t n)
{
    while (n > 0) {
        ssize_t sent = sendfile(to, from, NULL, n > 1 << 20 ? 1 << 20 : (size_t)n);
        if (sent <= 0)
            return sent == 0;
        n -= sent;
    }
    return true;
}

/* Whole blocks can be taken off a file's head while others append to it: what is copied is taken
 * off, and nothing else. */
void kb_log_rotate(const char *path, int64_t max_bytes)
{
    struct stat st;
    if (stat(path, &st) < 0 || st.st_size <= max_bytes)
        return;
    KB_AUTO(kb_auto_free) char *old = kb_strf("%s.1", path);
    KB_AUTO(kb_auto_close) int from = open(path, O_RDWR | O_CLOEXEC);
    KB_AUTO(kb_auto_close) int to = open(old, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0640);
    int64_t block = st.st_blksize > 0 ? st.st_blksize : 4096;
    int64_t head = (st.st_size - 1) / block * block;
    if (from < 0 || to < 0 || !copy(from, to, head))
        return;
    if (head > 0 && fallocate(from, FALLOC_FL_COLLAPSE_RANGE, 0, head) == 0)
        return;
    if (copy(from, to, INT64_MAX) && ftruncate(from, 0) < 0) {
        /* it stays, and is tried again, as it is when the disk is full */
    }
}
