/* shim_attach.c - the streams of a container's own program, by way of its shim (see shim.c): the
 * shim writes the output into pipes of ours, input goes into the container's FIFO. */
#include "agent/files.h"
#include "agent/runtime_shim.h"
#include "bus/base/check.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

enum { PIPE_BYTES = 1 << 20 }; /* how far a reader may stay behind */

struct shim_attach {
    struct kb_rt_exec base;
    struct kb_ev *ev;
    struct kb_rt_exec_io io;
    int socket;
    struct kb_ev_fd *watch;
    struct kb_ev_timer begin;
    struct kb_err err; /* why there is nothing to attach to */
    bool over;
};

static void attach_over(struct shim_attach *attach, int rc)
{
    if (attach->over)
        return;
    attach->over = true;
    kb_ev_unwatch(&attach->watch);
    attach->base.handlers->done(attach->base.arg, rc, &attach->err, 0);
}

/* The shim says nothing: its end is the container's. */
static void on_socket(void *arg, uint32_t events)
{
    struct shim_attach *attach = arg;
    char byte;
    (void)events;
    ssize_t n = recv(attach->socket, &byte, 1, MSG_DONTWAIT);
    if (n <= 0 && !(n < 0 && (errno == EAGAIN || errno == EINTR)))
        attach_over(attach, 0);
}

static void on_begin(void *arg)
{
    struct shim_attach *attach = arg;
    if (attach->err.code != 0) {
        attach_over(attach, -attach->err.code);
        return;
    }
    attach->watch = kb_ev_watch(attach->ev, attach->socket, EPOLLIN, on_socket, attach);
    if (attach->base.handlers->ready != NULL)
        attach->base.handlers->ready(attach->base.arg, &attach->io);
}

static void say(struct shim_attach *attach, const char *text)
{
    if (attach->socket >= 0)
        (void)send(attach->socket, text, strlen(text), MSG_NOSIGNAL | MSG_DONTWAIT);
}

static void attach_close_stdin(struct kb_rt_exec *base)
{
    struct shim_attach *attach = (struct shim_attach *)base;
    kb_auto_close(&attach->io.in);
    say(attach, "eof");
}

static void attach_resize(struct kb_rt_exec *base, uint16_t rows, uint16_t cols)
{
    char text[32];
    snprintf(text, sizeof text, "size %u %u", rows, cols);
    say((struct shim_attach *)base, text);
}

static void attach_destroy(struct kb_rt_exec *base)
{
    struct shim_attach *attach = (struct shim_attach *)base;
    attach->over = true;
    kb_ev_disarm(attach->ev, &attach->begin);
    kb_ev_unwatch(&attach->watch);
    kb_auto_close(&attach->io.in);
    kb_auto_close(&attach->io.out);
    kb_auto_close(&attach->io.err);
    kb_auto_close(&attach->socket);
    free(attach);
}

static const struct kb_rt_exec_impl attach_impl = {attach_close_stdin, attach_resize,
                                                   attach_destroy};

/* ---- starting ---- */

/* The path may be longer than an address holds: it goes by the folder's descriptor. */
static int connect_shim(struct shim_attach *attach, int dir, struct kb_err *err)
{
    struct sockaddr_un addr = {.sun_family = AF_UNIX};
    snprintf(addr.sun_path, sizeof addr.sun_path, "/proc/self/fd/%d/attach.sock", dir);
    attach->socket = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (attach->socket < 0 || connect(attach->socket, (void *)&addr, sizeof addr) < 0)
        return kb_err_sys(err, errno, "attach");
    return 0;
}

static int open_output(int *ret_ours, int *ret_theirs, struct kb_err *err)
{
    int fds[2];
    if (pipe2(fds, O_CLOEXEC | O_NONBLOCK) < 0)
        return kb_err_sys(err, errno, "pipe");
    (void)fcntl(fds[1], F_SETPIPE_SZ, PIPE_BYTES);
    *ret_ours = fds[0];
    *ret_theirs = fds[1];
    return 0;
}

static int send_pipes(struct shim_attach *attach, const int fds[2], struct kb_err *err)
{
    union {
        struct cmsghdr head;
        char space[CMSG_SPACE(2 * sizeof(int))];
    } control = {0};
    char text[] = "attach 0";
    size_t bytes = (fds[1] >= 0 ? 2 : 1) * sizeof(int);
    struct iovec iov = {text, sizeof text - 1};
    struct msghdr msg = {.msg_iov = &iov,
                         .msg_iovlen = 1,
                         .msg_control = control.space,
                         .msg_controllen = CMSG_SPACE(bytes)};
    struct cmsghdr *head = CMSG_FIRSTHDR(&msg);
    head->cmsg_level = SOL_SOCKET;
    head->cmsg_type = SCM_RIGHTS;
    head->cmsg_len = CMSG_LEN(bytes);
    memcpy(CMSG_DATA(head), fds, bytes);
    if (attach->io.in >= 0)
        text[sizeof text - 2] = '1';
    if (sendmsg(attach->socket, &msg, MSG_NOSIGNAL) < 0)
        return kb_err_sys(err, errno, "attach");
    return 0;
}

static int attach_start(struct shim_attach *attach, struct kb_shim_rt *rt,
                        const struct kb_rt_exec_spec *spec, struct kb_err *err)
{
    struct kb_box *box = kb__shim_box(rt, &spec->ref);
    KB_AUTO(kb_auto_close) int out = -1, errors = -1;
    if (box == NULL || box->state != KB_RT_RUNNING)
        return kb_err_set(err, KB_ENOTFOUND, "container not found (\"%s\")", spec->ref.container);
    KB_AUTO(kb_auto_close) int dir = open(box->dir, O_PATH | O_DIRECTORY | O_CLOEXEC);
    if (dir < 0)
        return kb_err_sys(err, errno, "%s", box->dir);
    if (connect_shim(attach, dir, err) < 0 || open_output(&attach->io.out, &out, err) < 0 ||
        (!spec->tty && open_output(&attach->io.err, &errors, err) < 0))
        return -err->code;
    if (spec->with_stdin) /* one that has no input takes none */
        attach->io.in = openat(dir, "stdin", O_WRONLY | O_NONBLOCK | O_CLOEXEC);
    if (send_pipes(attach, (const int[2]){out, errors}, err) < 0)
        return -err->code;
    if (spec->tty && spec->rows > 0)
        attach_resize(&attach->base, spec->rows, spec->cols);
    return 0;
}

struct kb_rt_exec *kb__shim_attach(struct kb_runtime *base, const struct kb_rt_exec_spec *spec,
                                   const struct kb_rt_exec_handlers *handlers, void *user)
{
    struct shim_attach *attach = calloc(1, sizeof *attach);
    KB_ASSERT(attach != NULL);
    attach->base = (struct kb_rt_exec){&attach_impl, handlers, user};
    attach->ev = base->ev;
    attach->io = (struct kb_rt_exec_io){-1, -1, -1};
    attach->socket = -1;
    (void)attach_start(attach, (struct kb_shim_rt *)base, spec, &attach->err);
    kb_ev_arm(attach->ev, &attach->begin, 0, on_begin, attach);
    return &attach->base;
}
