/* shim.c - the process that stands by one container, from its first byte to its exit code.
 *
 * WHY a process of its own: the agent may be killed and replaced at any moment, and then somebody
 * must still hold the ends of the container's pipes (or it dies of SIGPIPE), must still write its
 * log, and must still be the parent that collects its exit code. One such process a container
 * keeps a fault in one from touching another. It is static and links nothing of Kubus, so that
 * fifty of them cost as much memory as one page of the agent.
 *
 *     kubus-shim run  [--tty] [--stdin] [--stdin-once] [--direct] [--hide-unified] [--oom FILE]
 *                     --dir DIR --log FILE --log-bytes N --log-files N -- RUNTIME ARGS…
 *     kubus-shim exec [--tty] [--hide-unified] --dir DIR -- RUNTIME ARGS…
 *     kubus-shim pause
 *
 * `run`: descriptor 3 takes one line, "+PID STARTED_US" or "error TEXT", and is closed. Descriptor
 * 4 (the locked file DIR/lock) is only kept open: while the lock is held, the shim lives. The
 * runtime must write the container's pid to DIR/pid; DIR/started gets "PID STARTED_US"; with
 * --direct the arguments are the container's own program. At the end DIR/exit appears by rename,
 * whole: "code=C signal=S oom=0|1 started=US finished=US".
 *
 * DIR/attach.sock is a SEQPACKET socket for those who want to see the output as it comes and to
 * type: "attach IN" with the pipes for output and errors, "size ROWS COLUMNS" of the terminal,
 * "eof" of their input (which goes into the FIFO DIR/stdin). It closes with the container. Whoever
 * does not empty their pipes is dropped: the container never waits for them. With --stdin-once the
 * container's input ends with that of the first who had some (IN is 1).
 *
 * `exec`: descriptor 3 is a SEQPACKET socket: "ok PID" (with the tty's master attached under
 * --tty) or "error TEXT", later "exit CODE SIGNAL". When its other end closes, the process is
 * killed. Standard descriptors are the process's own.
 *
 * `pause`: process 1 of a PID namespace that containers share; it reaps.
 *
 * Rejected: logging in the agent (loses lines when it restarts); a daemon for all containers (one
 * more thing to keep alive); waiting for the log pipes to reach their end (a grandchild that
 * keeps one open would hold the exit code back: 200 ms after the exit we stop). */
#include "agent/shim/shim.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static int64_t wall_us(void)
{
    struct timespec ts;
    clock_gettime(CLOCK_REALTIME, &ts);
    return (int64_t)ts.tv_sec * 1000000 + ts.tv_nsec / 1000;
}

void shim_write(int fd, const char *p, size_t n)
{
    while (n > 0) {
        ssize_t w = write(fd, p, n);
        if (w < 0 && errno == EINTR)
            continue;
        if (w <= 0)
            return; /* a full disk loses the line, not the container */
        p += w;
        n -= (size_t)w;
    }
}

/* Say on descriptor 3 why there will be no container, and end. */
__attribute__((noreturn, format(printf, 1, 2))) static void fail(const char *format, ...)
{
    char text[1024];
    va_list args;
    size_t n = (size_t)snprintf(text, sizeof text, "error ");
    va_start(args, format);
    int w = vsnprintf(text + n, sizeof text - n, format, args);
    va_end(args);
    n = n + (size_t)w < sizeof text ? n + (size_t)w : sizeof text - 1;
    shim_write(REPORT_FD, text, n);
    _exit(1);
}

/* Read once. False at the stream's end. */
static bool stream_read(struct shim *shim, struct stream *stream)
{
    ssize_t r = read(stream->fd, stream->line + stream->n, LINE_BYTES - stream->n);
    if (r < 0 && (errno == EINTR || errno == EAGAIN))
        return true;
    if (r <= 0) { /* a tty whose last user has gone says EIO */
        shim_log_flush(shim, stream, true);
        close(stream->fd);
        stream->fd = -1;
        return false;
    }
    shim_attach_show(shim, stream, stream->line + stream->n, (size_t)r);
    stream->n += (size_t)r;
    shim_log_flush(shim, stream, false);
    return true;
}

/* ---- starting ---- */

static void make_pipe(int *ret_ours, int *ret_theirs)
{
    int fds[2];
    if (pipe2(fds, O_CLOEXEC) < 0)
        fail("pipe: %s", strerror(errno));
    fcntl(fds[0], F_SETFL, O_NONBLOCK);
    *ret_ours = fds[0];
    *ret_theirs = fds[1];
}

static void console_listen(struct shim *shim)
{
    struct sockaddr_un addr = {.sun_family = AF_UNIX, .sun_path = "console.sock"};
    unlink(addr.sun_path);
    shim->console_fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (shim->console_fd < 0 || bind(shim->console_fd, (void *)&addr, sizeof addr) < 0 ||
        listen(shim->console_fd, 1) < 0)
        fail("console socket: %s", strerror(errno));
}

/* The master that the runtime sent, or -1. */
static int console_receive(struct shim *shim)
{
    char byte[256];
    union {
        struct cmsghdr head;
        char space[CMSG_SPACE(sizeof(int))];
    } control = {0};
    struct iovec iov = {byte, sizeof byte};
    struct msghdr msg = {.msg_iov = &iov,
                         .msg_iovlen = 1,
                         .msg_control = control.space,
                         .msg_controllen = CMSG_LEN(sizeof(int))}; /* no room for a second one */
    int fd = -1, peer;

    fcntl(shim->console_fd, F_SETFL, O_NONBLOCK);
    peer = accept4(shim->console_fd, NULL, NULL, SOCK_CLOEXEC);
    if (peer >= 0 && recvmsg(peer, &msg, MSG_CMSG_CLOEXEC) > 0) {
        struct cmsghdr *head = CMSG_FIRSTHDR(&msg);
        if (head != NULL && head->cmsg_type == SCM_RIGHTS)
            memcpy(&fd, CMSG_DATA(head), sizeof fd);
    }
    if (peer >= 0)
        close(peer);
    close(shim->console_fd);
    shim->console_fd = -1;
    unlink("console.sock");
    return fd;
}

/* What the container will have as its standard descriptors. */
static void prepare_stdio(struct shim *shim)
{
    shim->child_in = open("/dev/null", O_RDONLY | O_CLOEXEC);
    if (shim->with_stdin) {
        if (mkfifo("stdin", 0600) < 0 && errno != EEXIST)
            fail("stdin: %s", strerror(errno));
        int fd = open("stdin", O_RDONLY | O_CLOEXEC | O_NONBLOCK);
        shim->stdin_keep = open("stdin", O_WRONLY | O_CLOEXEC | O_NONBLOCK);
        if (fd < 0 || shim->stdin_keep < 0)
            fail("stdin: %s", strerror(errno));
        if (shim->tty) {
            shim->stdin_fd = fd;
        } else {
            close(shim->child_in);
            fcntl(fd, F_SETFL, 0);
            shim->child_in = fd;
        }
    }
    if (shim->tty && !shim->direct) {
        console_listen(shim);
        /* The runtime's own words go here; the container writes to its tty. */
        shim->child_out = shim->child_err =
            open("runtime.out", O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
        return;
    }
    make_pipe(&shim->out.fd, &shim->child_out);
    make_pipe(&shim->err.fd, &shim->child_err);
}

/* In the child: become the runtime, or with --direct the container. */
__attribute__((noreturn)) static void child_exec(struct shim *shim)
{
    sigset_t none;
    for (int sig = 1; sig < NSIG; sig++) /* what we ignore would be ignored over there as well */
        signal(sig, SIG_DFL);
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
    if (!shim->exec) {
        dup2(shim->child_in, 0);
        dup2(shim->child_out, 1);
        dup2(shim->child_err, 2);
    }
    close(REPORT_FD);
    close(LOCK_FD);
    if (shim->direct)
        setsid();
    /* crun refuses a hybrid cgroup tree; hide the part that it stumbles over. */
    if (shim->hide_unified && unshare(CLONE_NEWNS) == 0) {
        mount("", "/", NULL, MS_SLAVE | MS_REC, NULL);
        umount2("/sys/fs/cgroup/unified", MNT_DETACH);
    }
    execvp(shim->command[0], shim->command);
    dprintf(2, "exec %s: %s\n", shim->command[0], strerror(errno));
    _exit(errno == ENOENT ? 127 : 126);
}

static long read_number(const char *path)
{
    char text[64] = "";
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd >= 0) {
        (void)!read(fd, text, sizeof text - 1);
        close(fd);
    }
    return strtol(text, NULL, 10);
}

/* The last thing that the runtime said, on one line. */
static const char *runtime_words(void)
{
    static char text[900];
    ssize_t n = 0;
    int fd = open("runtime.log", O_RDONLY | O_CLOEXEC);
    if (fd >= 0) {
        off_t end = lseek(fd, 0, SEEK_END);
        if (end > (off_t)sizeof text - 1)
            lseek(fd, end - (off_t)sizeof text + 1, SEEK_SET);
        else
            lseek(fd, 0, SEEK_SET);
        n = read(fd, text, sizeof text - 1);
        close(fd);
    }
    text[n > 0 ? n : 0] = '\0';
    while (n > 0 && text[n - 1] == '\n')
        text[--n] = '\0';
    char *last = strrchr(text, '\n');
    return last != NULL ? last + 1 : text;
}

/* Collect children until the runtime has ended; its wait status. A container that is already over
 * by then (its pid is not known yet) is left for later: waitid would lose it, so we wait for one.
 */
static int wait_runtime(struct shim *shim)
{
    int status = 0;
    while (waitpid(shim->runtime_pid, &status, 0) < 0 && errno == EINTR)
        ;
    return status;
}

static void start(struct shim *shim)
{
    shim->runtime_pid = fork();
    if (shim->runtime_pid < 0)
        fail("fork: %s", strerror(errno));
    if (shim->runtime_pid == 0)
        child_exec(shim);
    if (!shim->exec) {
        close(shim->child_in);
        close(shim->child_out);
        if (shim->child_err != shim->child_out)
            close(shim->child_err);
    }
    if (shim->direct) {
        shim->pid = shim->runtime_pid;
    } else {
        int status = wait_runtime(shim);
        shim->pid = (pid_t)read_number("pid");
        if (!WIFEXITED(status) || WEXITSTATUS(status) != 0 || shim->pid <= 0) {
            const char *words = runtime_words();
            fail("%s", *words ? words : "the container runtime failed without a word");
        }
    }
    shim->started_us = wall_us();
}

/* ---- running ---- */

static bool was_oom(const struct shim *shim)
{
    char text[512] = "";
    int fd = shim->oom_path ? open(shim->oom_path, O_RDONLY | O_CLOEXEC) : -1;
    if (fd < 0)
        return false;
    (void)!read(fd, text, sizeof text - 1);
    close(fd);
    const char *at = strstr(text, "oom_kill ");
    return at != NULL && strtol(at + 9, NULL, 10) > 0;
}

static void write_exit(const struct shim *shim, int status)
{
    int sig = WIFSIGNALED(status) ? WTERMSIG(status) : 0;
    int code = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + sig;
    int fd = open("exit.tmp", O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    bool whole = fd >= 0 &&
                 dprintf(fd, "code=%d signal=%d oom=%d started=%lld finished=%lld\n", code, sig,
                         was_oom(shim), (long long)shim->started_us, (long long)wall_us()) > 0 &&
                 fsync(fd) == 0;
    if (fd >= 0)
        close(fd);
    if (whole) /* without it we count as lost, and nothing as a success that was none */
        rename("exit.tmp", "exit");
}

/* Reap whatever has ended. True and its status when the container is among it. */
static bool reap(struct shim *shim, int *ret_status)
{
    struct signalfd_siginfo info;
    bool over = false;
    int status;
    pid_t pid;
    while (read(shim->signal_fd, &info, sizeof info) > 0)
        ;
    while ((pid = waitpid(-1, &status, WNOHANG)) > 0) {
        if (pid == shim->pid) {
            *ret_status = status;
            over = true;
        }
    }
    return over;
}

static void feed_tty(struct shim *shim)
{
    char bytes[4096];
    ssize_t n = read(shim->stdin_fd, bytes, sizeof bytes);
    if (n > 0 && shim->out.fd >= 0)
        shim_write(shim->out.fd, bytes, (size_t)n);
    if (n == 0) { /* no writer is left, and none will matter */
        close(shim->stdin_fd);
        shim->stdin_fd = -1;
    }
}

/* One round of waiting. False when nothing came within `timeout_ms`. */
static bool pump(struct shim *shim, int timeout_ms)
{
    enum { FIRST_CLIENT = 5 };
    struct pollfd fds[FIRST_CLIENT + CLIENTS_MAX] = {{shim->signal_fd, POLLIN, 0},
                                                     {shim->out.fd, POLLIN, 0},
                                                     {shim->err.fd, POLLIN, 0},
                                                     {shim->stdin_fd, POLLIN, 0},
                                                     {shim->attach_fd, POLLIN, 0}};
    for (int i = 0; i < CLIENTS_MAX; i++)
        fds[FIRST_CLIENT + i] = (struct pollfd){shim->clients[i].socket, POLLIN, 0};
    int n = poll(fds, FIRST_CLIENT + CLIENTS_MAX, timeout_ms);
    if (n <= 0)
        return n < 0 && errno == EINTR;
    bool any = fds[0].revents || fds[1].revents || fds[2].revents || fds[4].revents;
    for (int i = 0; i < CLIENTS_MAX; i++) {
        if (fds[FIRST_CLIENT + i].revents == 0)
            continue;
        any = true;
        shim_attach_hear(shim, &shim->clients[i]);
    }
    if (fds[4].revents)
        shim_attach_accept(shim);
    if (fds[1].revents)
        stream_read(shim, &shim->out);
    if (fds[2].revents)
        stream_read(shim, &shim->err);
    if (fds[3].revents)
        feed_tty(shim);
    return any;
}

static void drain(struct shim *shim)
{
    int64_t until = wall_us() + DRAIN_MS * 1000;
    int status; /* of a grandchild that was left to us: it must not end the drain */
    while ((shim->out.fd >= 0 || shim->err.fd >= 0) && wall_us() < until && pump(shim, DRAIN_MS))
        (void)reap(shim, &status);
    if (shim->out.fd >= 0)
        shim_log_flush(shim, &shim->out, true);
    if (shim->err.fd >= 0)
        shim_log_flush(shim, &shim->err, true);
}

static void open_signals(struct shim *shim)
{
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGCHLD);
    sigprocmask(SIG_BLOCK, &set, NULL);
    shim->signal_fd = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
    signal(SIGPIPE, SIG_IGN);
    signal(SIGTERM, SIG_IGN);
    signal(SIGINT, SIG_IGN);
    signal(SIGHUP, SIG_IGN);
}

static int run(struct shim *shim)
{
    char ok[96];
    int status = 0;

    prepare_stdio(shim);
    start(shim);
    if (shim->console_fd >= 0) {
        shim->out.fd = console_receive(shim);
        if (shim->out.fd >= 0)
            fcntl(shim->out.fd, F_SETFL, O_NONBLOCK);
    }
    shim_log_open(shim);
    shim_attach_listen(shim);
    int fd = open("started.tmp", O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    int n = snprintf(ok, sizeof ok, "+%d %lld\n", (int)shim->pid, (long long)shim->started_us);
    shim_write(fd, ok + 1, (size_t)n - 1);
    close(fd);
    rename("started.tmp", "started");
    shim_write(REPORT_FD, ok, (size_t)n);
    close(REPORT_FD);

    while (!reap(shim, &status)) /* a child that has ended before is found at once */
        pump(shim, -1);
    drain(shim);
    write_exit(shim, status);
    return 0;
}

/* ---- exec ---- */

static void exec_report(const char *text, int fd)
{
    union {
        struct cmsghdr head;
        char space[CMSG_SPACE(sizeof(int))];
    } control = {0};
    struct iovec iov = {(void *)(uintptr_t)text, strlen(text)};
    struct msghdr msg = {.msg_iov = &iov, .msg_iovlen = 1};
    if (fd >= 0) {
        msg.msg_control = control.space;
        msg.msg_controllen = sizeof control.space;
        struct cmsghdr *head = CMSG_FIRSTHDR(&msg);
        head->cmsg_level = SOL_SOCKET;
        head->cmsg_type = SCM_RIGHTS;
        head->cmsg_len = CMSG_LEN(sizeof fd);
        memcpy(CMSG_DATA(head), &fd, sizeof fd);
    }
    (void)sendmsg(REPORT_FD, &msg, MSG_NOSIGNAL);
}

static int run_exec(struct shim *shim)
{
    char text[96];
    int status = 0, master = -1;

    if (shim->tty)
        console_listen(shim);
    start(shim);
    if (shim->tty) {
        master = console_receive(shim);
        if (master < 0)
            fail("the runtime sent no terminal");
    }
    snprintf(text, sizeof text, "ok %d", (int)shim->pid);
    exec_report(text, master);
    if (master >= 0)
        close(master);
    /* Let go of the streams, so that their reader sees an end when the process has ended. */
    int null = open("/dev/null", O_RDWR | O_CLOEXEC);
    for (int i = 0; i < 3; i++)
        dup2(null, i);
    while (!reap(shim, &status)) {
        struct pollfd fds[2] = {{shim->signal_fd, POLLIN, 0}, {REPORT_FD, POLLIN, 0}};
        if (poll(fds, 2, -1) > 0 && (fds[1].revents & (POLLHUP | POLLERR | POLLIN))) {
            kill(shim->pid, SIGKILL);
            return 0;
        }
    }
    int sig = WIFSIGNALED(status) ? WTERMSIG(status) : 0;
    snprintf(text, sizeof text, "exit %d %d", sig ? 128 + sig : WEXITSTATUS(status), sig);
    exec_report(text, -1);
    return 0;
}

/* ---- pause ---- */

static int run_pause(void)
{
    int status;
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGCHLD);
    sigaddset(&set, SIGTERM);
    sigaddset(&set, SIGINT);
    sigprocmask(SIG_BLOCK, &set, NULL);
    for (;;) {
        int sig = sigwaitinfo(&set, NULL);
        if (sig == SIGTERM || sig == SIGINT)
            return 0;
        while (waitpid(-1, &status, WNOHANG) > 0)
            ;
    }
}

static void parse(struct shim *shim, char **argv)
{
    for (char **arg = argv; *arg != NULL; arg++) {
        if (strcmp(*arg, "--") == 0) {
            shim->command = arg + 1;
            break;
        } else if (strcmp(*arg, "--tty") == 0)
            shim->tty = true;
        else if (strcmp(*arg, "--stdin") == 0)
            shim->with_stdin = true;
        else if (strcmp(*arg, "--stdin-once") == 0)
            shim->stdin_once = true;
        else if (strcmp(*arg, "--direct") == 0)
            shim->direct = true;
        else if (strcmp(*arg, "--hide-unified") == 0)
            shim->hide_unified = true;
        else if (arg[1] == NULL)
            fail("%s needs a value", *arg);
        else if (strcmp(*arg, "--dir") == 0)
            shim->dir = *++arg;
        else if (strcmp(*arg, "--log") == 0)
            shim->log_path = *++arg;
        else if (strcmp(*arg, "--oom") == 0)
            shim->oom_path = *++arg;
        else if (strcmp(*arg, "--log-bytes") == 0)
            shim->log_bytes = strtoll(*++arg, NULL, 10);
        else if (strcmp(*arg, "--log-files") == 0)
            shim->log_files = strtoll(*++arg, NULL, 10);
        else
            fail("unknown option %s", *arg);
    }
    if (shim->dir == NULL || shim->command == NULL || shim->command[0] == NULL ||
        (!shim->exec && shim->log_path == NULL))
        fail("--dir, --log and a command are needed");
}

int main(int argc, char **argv)
{
    static struct shim shim = {.log_fd = -1,
                               .out = {.name = "stdout", .fd = -1},
                               .err = {.name = "stderr", .fd = -1},
                               .stdin_fd = -1,
                               .stdin_keep = -1,
                               .attach_fd = -1,
                               .console_fd = -1,
                               .log_files = 1};
    if (argc < 2)
        return 2;
    if (strcmp(argv[1], "pause") == 0)
        return run_pause();
    shim.exec = strcmp(argv[1], "exec") == 0;
    parse(&shim, argv + 2);
    fcntl(REPORT_FD, F_SETFD, FD_CLOEXEC);
    if (!shim.exec)
        fcntl(LOCK_FD, F_SETFD, FD_CLOEXEC);
    setsid();
    umask(022);
    prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0);
    if (chdir(shim.dir) < 0)
        fail("%s: %s", shim.dir, strerror(errno));
    open_signals(&shim);
    return shim.exec ? run_exec(&shim) : run(&shim);
}
