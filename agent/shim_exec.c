/* shim_exec.c - running a further program in a container, through a shim of its own (see shim.c):
 * streams are pipes, or the master of a terminal that the shim hands over.
 *
 * What it may and sees is what the container's own program does: user, groups, capabilities, folder
 * and environment come from the container's config.json. The runtime is told all of it: left to
 * itself it decides by its version (crun 1.8 takes root). */
#include "agent/files.h"
#include "agent/runtime_shim.h"
#include "bus/base/check.h"
#include "bus/base/file.h"
#include "bus/model/json.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

enum { OWN_ARGS_MAX = 32, WORDS_MAX = 2048, CONFIG_BYTES = 4 << 20 };

struct shim_exec {
    struct kb_rt_exec base;
    struct kb_ev *ev;
    char *dir;
    struct kb_rt_exec_io io;
    int socket, pid_fd;
    pid_t pid;
    struct kb_ev_fd *socket_watch;
    struct kb_ev_timer failing;
    struct kb_err err;
    bool tty, running, over;
    uint16_t rows, cols;
};

struct pipes {
    int in[2], out[2], err[2], socket[2];
};

static void pipes_finish(struct pipes *p)
{
    for (int i = 0; i < 2; i++) {
        kb_auto_close(&p->in[i]);
        kb_auto_close(&p->out[i]);
        kb_auto_close(&p->err[i]);
        kb_auto_close(&p->socket[i]);
    }
}

static void exec_over(struct shim_exec *exec, int rc, const struct kb_err *err, int code)
{
    if (exec->over)
        return;
    exec->over = true;
    kb_ev_unwatch(&exec->socket_watch);
    exec->base.handlers->done(exec->base.arg, rc, err, code);
}

static void on_failing(void *arg)
{
    struct shim_exec *exec = arg;
    exec_over(exec, -exec->err.code, &exec->err, -1);
}

static void fail_later(struct shim_exec *exec)
{
    kb_ev_arm(exec->ev, &exec->failing, 0, on_failing, exec);
}

/* One message of the shim; the descriptor that came with it in *ret_fd, or -1. */
static ssize_t receive(int socket, char *text, size_t cap, int *ret_fd)
{
    union {
        struct cmsghdr head;
        char space[CMSG_SPACE(sizeof(int))];
    } control = {0};
    struct iovec iov = {text, cap - 1};
    struct msghdr msg = {.msg_iov = &iov,
                         .msg_iovlen = 1,
                         .msg_control = control.space,
                         .msg_controllen = CMSG_LEN(sizeof(int))}; /* no room for a second one */
    ssize_t n = recvmsg(socket, &msg, MSG_CMSG_CLOEXEC | MSG_DONTWAIT);
    struct cmsghdr *head = n > 0 ? CMSG_FIRSTHDR(&msg) : NULL;
    *ret_fd = -1;
    if (head != NULL && head->cmsg_type == SCM_RIGHTS)
        memcpy(ret_fd, CMSG_DATA(head), sizeof *ret_fd);
    text[n > 0 ? n : 0] = '\0';
    return n;
}

static void set_size(struct shim_exec *exec)
{
    struct winsize size = {.ws_row = exec->rows, .ws_col = exec->cols};
    if (exec->tty && exec->io.out >= 0 && exec->rows > 0)
        ioctl(exec->io.out, TIOCSWINSZ, &size);
}

/* Takes the terminal, if there is to be one. */
static void exec_runs(struct shim_exec *exec, int *terminal_p)
{
    exec->running = true;
    if (exec->tty) {
        int terminal = *terminal_p;
        *terminal_p = -1;
        /* One each way, though they are the same: each can be watched and closed by itself. */
        exec->io = (struct kb_rt_exec_io){fcntl(terminal, F_DUPFD_CLOEXEC, 0), terminal, -1};
        set_size(exec);
    }
    int fds[3] = {exec->io.in, exec->io.out, exec->io.err};
    for (int i = 0; i < 3; i++)
        if (fds[i] >= 0)
            fcntl(fds[i], F_SETFL, O_NONBLOCK);
    if (exec->base.handlers->ready != NULL)
        exec->base.handlers->ready(exec->base.arg, &exec->io);
}

/* "ok" comes once; with the terminal, when there is to be one. (The kernel leaves a descriptor out
 * when we have too many.) */
static bool may_run(struct shim_exec *exec, int terminal)
{
    if (exec->running)
        kb_err_set(&exec->err, KB_EINTERNAL, "the program's supervisor says twice that it runs");
    else if (exec->tty && (terminal < 0 || !isatty(terminal)))
        kb_err_set(&exec->err, KB_EINTERNAL, "the program's terminal did not arrive");
    else
        return true;
    exec_over(exec, -KB_EINTERNAL, &exec->err, -1);
    return false;
}

static void on_socket(void *arg, uint32_t events)
{
    struct shim_exec *exec = arg;
    char text[WORDS_MAX];
    KB_AUTO(kb_auto_close) int fd = -1;
    int code = 0;
    (void)events;
    ssize_t n = receive(exec->socket, text, sizeof text, &fd);
    if (n < 0 && (errno == EAGAIN || errno == EINTR))
        return;
    if (n <= 0) {
        kb_err_set(&exec->err, KB_EIO, "the program's supervisor was killed");
        exec_over(exec, -KB_EIO, &exec->err, -1);
    } else if (strncmp(text, "ok ", 3) == 0) {
        if (may_run(exec, fd))
            exec_runs(exec, &fd);
    } else if (sscanf(text, "exit %d", &code) == 1) {
        exec_over(exec, 0, &exec->err, code);
    } else {
        const char *words = strncmp(text, "error ", 6) == 0 ? text + 6 : text;
        kb_err_set(&exec->err, KB_EINTERNAL, "%s",
                   *words ? words : "the program's supervisor failed without a word");
        exec_over(exec, -KB_EINTERNAL, &exec->err, -1);
    }
}

/* ---- operations ---- */

static void exec_close_stdin(struct kb_rt_exec *base)
{
    struct shim_exec *exec = (struct shim_exec *)base;
    if (exec->tty) { /* the end of input of a terminal is a character */
        if (exec->io.in >= 0)
            (void)!write(exec->io.in, "\x04", 1);
        return;
    }
    kb_auto_close(&exec->io.in);
}

static void exec_resize(struct kb_rt_exec *base, uint16_t rows, uint16_t cols)
{
    struct shim_exec *exec = (struct shim_exec *)base;
    exec->rows = rows;
    exec->cols = cols;
    set_size(exec);
}

/* The shim ends by itself once it sees our end of the socket closed. It is our child: a job of the
 * kernel's (SIGCHLD ignored would lose other children's), so reap it when it is over. */
struct reaper {
    struct kb_ev_owned owned;
    struct kb_ev_fd *watch;
    int pid_fd;
    pid_t pid;
    char *dir;
};

static void reaper_free(struct kb_ev_owned *owned)
{
    struct reaper *reaper = KB_CONTAINER(owned, struct reaper, owned);
    kb_ev_disown(owned);
    waitpid(reaper->pid, NULL, WNOHANG);
    kb_ev_unwatch(&reaper->watch);
    close(reaper->pid_fd);
    (void)kb_dir_remove(reaper->dir, NULL);
    free(reaper->dir);
    free(reaper);
}

static void on_reap(void *arg, uint32_t events)
{
    struct reaper *reaper = arg;
    (void)events;
    reaper_free(&reaper->owned);
}

static void exec_destroy(struct kb_rt_exec *base)
{
    struct shim_exec *exec = (struct shim_exec *)base;
    exec->over = true;
    kb_ev_disarm(exec->ev, &exec->failing);
    kb_ev_unwatch(&exec->socket_watch);
    kb_auto_close(&exec->io.in);
    kb_auto_close(&exec->io.out);
    kb_auto_close(&exec->io.err);
    kb_auto_close(&exec->socket);
    if (exec->pid_fd >= 0) {
        struct reaper *reaper = calloc(1, sizeof *reaper);
        KB_ASSERT(reaper != NULL);
        *reaper = (struct reaper){.pid_fd = exec->pid_fd, .pid = exec->pid, .dir = exec->dir};
        reaper->watch = kb_ev_watch(exec->ev, exec->pid_fd, EPOLLIN, on_reap, reaper);
        kb_ev_own(exec->ev, &reaper->owned, reaper_free);
    } else if (exec->dir != NULL) {
        (void)kb_dir_remove(exec->dir, NULL);
        free(exec->dir);
    }
    free(exec);
}

static const struct kb_rt_exec_impl exec_impl = {exec_close_stdin, exec_resize, exec_destroy};

/* ---- starting ---- */

static void arg(const char **args, size_t *n, const char *text)
{
    args[(*n)++] = text;
    args[*n] = NULL;
}

static void set_argv(struct kb_arena *a, struct kb_node *process, const char *const *argv)
{
    struct kb_node *args = kb_node_array(a);
    for (; *argv != NULL; argv++)
        kb_node_append(a, args, kb_node_cstr(a, *argv));
    kb_node_put(a, process, "args", args);
}

/* Programs on a terminal ask what it can do. */
static void need_term(struct kb_arena *a, struct kb_node *process)
{
    struct kb_node *env = kb_node_get(process, "env");
    for (uint32_t i = 0; env != NULL && i < env->count; i++)
        if (kb_str_starts(kb_node_text(env->items[i].val), "TERM="))
            return;
    if (env != NULL)
        kb_node_append(a, env, kb_node_cstr(a, "TERM=xterm"));
}

/* The container's process with another command, for the runtime to read. */
static int write_process(const struct kb_box *box, const struct kb_rt_exec_spec *spec,
                         const char *dir, struct kb_err *err)
{
    KB_AUTO(kb_arena_finish) struct kb_arena arena = {0};
    KB_AUTO(kb_buf_finish) struct kb_buf text = {0};
    KB_AUTO(kb_auto_free) char *from = kb_strf("%s/config.json", box->dir);
    KB_AUTO(kb_auto_free) char *to = kb_strf("%s/process.json", dir);
    struct kb_node *config;
    if (kb_file_read(from, CONFIG_BYTES, &text, err) < 0 ||
        kb_json_parse(&arena, kb_buf_str(&text), NULL, &config, err) < 0)
        return kb_err_wrap(err, "the container's configuration");
    struct kb_node *process = kb_node_get(config, "process");
    if (process == NULL)
        return kb_err_set(err, KB_EINTERNAL, "'%s' has no process", from);
    kb_node_put(&arena, process, "terminal", kb_node_bool(&arena, spec->tty));
    set_argv(&arena, process, spec->argv);
    if (spec->tty)
        need_term(&arena, process);
    kb_buf_clear(&text);
    kb_json_write_node(&text, process, 0);
    return kb_put_file(to, kb_buf_str(&text), 0600, err);
}

/* The shim's arguments and those of the runtime, or of the program itself. Caller frees. */
static const char **exec_args(const struct kb_shim_rt *rt, const struct kb_box *box,
                              const struct kb_rt_exec_spec *spec, const char *dir)
{
    size_t n = 0, own = 0;
    while (spec->argv[own] != NULL)
        own++;
    const char **args = calloc(OWN_ARGS_MAX + own, sizeof *args);
    KB_ASSERT(args != NULL);
    arg(args, &n, rt->shim);
    arg(args, &n, "exec");
    arg(args, &n, "--dir");
    arg(args, &n, dir);
    if (spec->tty)
        arg(args, &n, "--tty");
    if (!rt->oci)
        arg(args, &n, "--direct");
    if (rt->oci && rt->cgroups.hybrid && rt->is_crun)
        arg(args, &n, "--hide-unified");
    arg(args, &n, "--");
    if (rt->oci) {
        arg(args, &n, rt->oci_path);
        arg(args, &n, "--root");
        arg(args, &n, rt->oci_root);
        arg(args, &n, "--log");
        arg(args, &n, "runtime.log");
        if (rt->is_crun)
            arg(args, &n,
                rt->cgroups.mode != KB_CGROUP_NONE ? "--cgroup-manager=cgroupfs"
                                                   : "--cgroup-manager=disabled");
        arg(args, &n, "exec");
        arg(args, &n, "--detach");
        arg(args, &n, "--pid-file");
        arg(args, &n, "pid");
        arg(args, &n, "--process");
        arg(args, &n, "process.json");
        if (spec->tty) {
            arg(args, &n, "--tty");
            arg(args, &n, "--console-socket");
            arg(args, &n, "console.sock");
        }
        arg(args, &n, box->id);
        KB_ASSERT(n < OWN_ARGS_MAX);
        return args;
    }
    for (const char *const *it = spec->argv; *it != NULL; it++)
        arg(args, &n, *it);
    return args;
}

static int open_pipes(struct pipes *p, const struct kb_rt_exec_spec *spec, struct kb_err *err)
{
    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, p->socket) < 0)
        return kb_err_sys(err, errno, "socket");
    if (spec->tty)
        return 0;
    if ((spec->with_stdin && pipe2(p->in, O_CLOEXEC) < 0) || pipe2(p->out, O_CLOEXEC) < 0 ||
        pipe2(p->err, O_CLOEXEC) < 0)
        return kb_err_sys(err, errno, "pipe");
    return 0;
}

/* In the child: descriptors 0 to 3 as the shim wants them, then the shim. */
__attribute__((noreturn)) static void exec_child(const struct pipes *p, const char **args)
{
    int null = open("/dev/null", O_RDWR | O_CLOEXEC);
    int want[4] = {p->in[0] >= 0 ? p->in[0] : null, p->out[1] >= 0 ? p->out[1] : null,
                   p->err[1] >= 0 ? p->err[1] : null, p->socket[1]};
    for (int i = 0; i < 4; i++) /* out of the way first: the targets may be in use as sources */
        want[i] = fcntl(want[i], F_DUPFD_CLOEXEC, 16);
    for (int i = 0; i < 4; i++)
        dup2(want[i], i);
    sigset_t none;
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
    syscall(SYS_close_range, 4, ~0U, 0);
    execv(args[0], (char *const *)(uintptr_t)args);
    dprintf(3, "error exec %s: %s", args[0], strerror(errno));
    _exit(1);
}

static int exec_start(struct shim_exec *exec, struct kb_shim_rt *rt,
                      const struct kb_rt_exec_spec *spec, struct kb_err *err)
{
    KB_AUTO(pipes_finish) struct pipes p = {{-1, -1}, {-1, -1}, {-1, -1}, {-1, -1}};
    struct kb_box *box = kb__shim_box(rt, &spec->ref);
    if (box == NULL || box->state != KB_RT_RUNNING)
        return kb_err_set(err, KB_ENOTFOUND, "container not found (\"%s\")", spec->ref.container);
    if (!rt->oci && spec->tty)
        return kb_err_set(err, KB_ENOSYS, "the process runtime has no terminals");
    exec->dir = kb_strf("%s/exec-%u", box->dir, rt->exec_seq++);
    if (kb_dir_remove(exec->dir, NULL) < 0 || kb_dir_make(exec->dir, 0700, err) < 0 ||
        (rt->oci && write_process(box, spec, exec->dir, err) < 0) || open_pipes(&p, spec, err) < 0)
        return -err->code;
    KB_AUTO(kb_auto_free) const char **args = exec_args(rt, box, spec, exec->dir);
    exec->pid = fork();
    if (exec->pid == 0)
        exec_child(&p, args);
    if (exec->pid < 0)
        return kb_err_sys(err, errno, "fork");
    exec->pid_fd = (int)syscall(SYS_pidfd_open, exec->pid, 0);
    exec->socket = p.socket[0];
    exec->io = (struct kb_rt_exec_io){p.in[1], p.out[0], p.err[0]};
    p.socket[0] = p.in[1] = p.out[0] = p.err[0] = -1;
    exec->socket_watch = kb_ev_watch(exec->ev, exec->socket, EPOLLIN, on_socket, exec);
    return 0;
}

static struct shim_exec *exec_new(struct kb_ev *ev, bool tty,
                                  const struct kb_rt_exec_handlers *handlers, void *user)
{
    struct shim_exec *exec = calloc(1, sizeof *exec);
    KB_ASSERT(exec != NULL);
    exec->base = (struct kb_rt_exec){&exec_impl, handlers, user};
    exec->ev = ev;
    exec->io = (struct kb_rt_exec_io){-1, -1, -1};
    exec->socket = exec->pid_fd = -1;
    exec->tty = tty;
    return exec;
}

struct kb_rt_exec *kb__shim_exec_at(struct kb_ev *ev, int socket, bool tty,
                                    const struct kb_rt_exec_handlers *handlers, void *user)
{
    struct shim_exec *exec = exec_new(ev, tty, handlers, user);
    exec->socket = socket;
    exec->socket_watch = kb_ev_watch(ev, socket, EPOLLIN, on_socket, exec);
    return &exec->base;
}

struct kb_rt_exec *kb__shim_exec(struct kb_runtime *base, const struct kb_rt_exec_spec *spec,
                                 const struct kb_rt_exec_handlers *handlers, void *user)
{
    struct shim_exec *exec = exec_new(base->ev, spec->tty, handlers, user);
    exec->rows = spec->rows;
    exec->cols = spec->cols;
    if (exec_start(exec, (struct kb_shim_rt *)base, spec, &exec->err) < 0)
        fail_later(exec);
    return &exec->base;
}
