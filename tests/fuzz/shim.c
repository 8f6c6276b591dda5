/* What a shim and its agent say to each other. The input begins with who listens: the shim, to
 * those who attach (texts, with descriptors or without, while the container writes); or the agent,
 * to the shim of a program that it runs. Nobody trips over the other's words, and no descriptor
 * stays open. */
#include "agent/runtime_shim.h"
#include "agent/shim/shim.h"
#include "bus/base/check.h"
#include "tests/fuzz/fuzz.h"
#include "tests/fuzz/input.h"

#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

enum { CLIENTS = 3 };

static const char *const words[] = {"attach 0",     "attach 1", "size 24 80", "eof",
                                    "size 99999 x", "ok 5",     "exit 3 0",   "error no such file",
                                    "ok",           "exit"};

/* Which of the first descriptors are open. */
static uint64_t open_fds(void)
{
    uint64_t open = 0;
    for (int fd = 0; fd < 64; fd++)
        open |= (uint64_t)(fcntl(fd, F_GETFD) >= 0) << fd;
    return open;
}

/* One message with so many descriptors, which are pipes, files and terminals by turns. */
static void say(struct fuzz_input *in, int socket)
{
    static const char *const files[] = {"/dev/null", "/dev/ptmx", "/proc/self/stat"};
    union {
        struct cmsghdr head;
        char space[CMSG_SPACE(3 * sizeof(int))];
    } control = {0};
    kb_str text = fuzz_text(in, words, KB_COUNT(words));
    struct iovec iov = {(void *)(uintptr_t)text.p, text.n};
    struct msghdr msg = {.msg_iov = &iov, .msg_iovlen = 1};
    int fds[3], n = (int)fuzz_below(in, 4);
    for (int i = 0; i < n; i++) {
        fds[i] = open(files[fuzz_below(in, KB_COUNT(files))], O_RDWR | O_NOCTTY | O_CLOEXEC);
        if (fds[i] < 0)
            fds[i] = open("/dev/null", O_RDWR | O_CLOEXEC);
    }
    if (n > 0) {
        msg.msg_control = control.space;
        msg.msg_controllen = CMSG_SPACE((size_t)n * sizeof(int));
        struct cmsghdr *head = CMSG_FIRSTHDR(&msg);
        head->cmsg_level = SOL_SOCKET;
        head->cmsg_type = SCM_RIGHTS;
        head->cmsg_len = CMSG_LEN((size_t)n * sizeof(int));
        memcpy(CMSG_DATA(head), fds, (size_t)n * sizeof(int));
    }
    if (text.n > 0) /* an empty one would be an end */
        (void)!sendmsg(socket, &msg, MSG_NOSIGNAL | MSG_DONTWAIT);
    for (int i = 0; i < n; i++)
        close(fds[i]);
}

static void pair(int fds[2])
{
    KB_ASSERT(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, fds) == 0);
}

/* ---- the shim listens ---- */

static void shim_begin(struct shim *shim, struct fuzz_input *in, int theirs[CLIENTS])
{
    int pipe[2];
    unsigned flags = fuzz_byte(in);
    *shim = (struct shim){.tty = flags & 1, .stdin_once = flags & 2, .log_path = "/dev/null"};
    shim->stdin_fd = shim->stdin_keep = shim->attach_fd = shim->console_fd = -1;
    KB_ASSERT(pipe2(pipe, O_CLOEXEC | O_NONBLOCK) == 0);
    close(pipe[0]); /* a terminal whose other side has gone */
    shim->out = (struct stream){.name = "stdout", .fd = pipe[1]};
    shim->err = (struct stream){.name = "stderr", .fd = -1};
    if (flags & 4)
        shim->stdin_keep = fcntl(pipe[1], F_DUPFD_CLOEXEC, 0);
    shim_log_open(shim);
    for (int i = 0; i < CLIENTS_MAX; i++)
        shim->clients[i] = (struct client){-1, -1, -1, false};
    for (int i = 0; i < CLIENTS; i++) {
        int fds[2];
        pair(fds);
        shim->clients[i].socket = fds[0];
        theirs[i] = fds[1];
    }
}

static void shim_hears(struct shim *shim)
{
    for (int i = 0; i < CLIENTS_MAX; i++)
        if (shim->clients[i].socket >= 0)
            shim_attach_hear(shim, &shim->clients[i]);
}

static void container_writes(struct shim *shim, struct fuzz_input *in)
{
    struct stream *stream = fuzz_below(in, 2) ? &shim->err : &shim->out;
    kb_str bytes = fuzz_bytes(in, LINE_BYTES - stream->n);
    size_t times = 1 + fuzz_below(in, 100);
    for (size_t i = 0; i < times && stream->n + bytes.n <= LINE_BYTES && bytes.n > 0; i++) {
        memcpy(stream->line + stream->n, bytes.p, bytes.n);
        shim_attach_show(shim, stream, stream->line + stream->n, bytes.n);
        stream->n += bytes.n;
        shim_log_flush(shim, stream, false);
        KB_ASSERT(stream->n < LINE_BYTES);
    }
}

static void to_the_shim(struct fuzz_input *in)
{
    static struct shim shim;
    int theirs[CLIENTS];
    shim_begin(&shim, in, theirs);
    while (in->at < in->end) {
        unsigned what = fuzz_byte(in), who = what / 4 % CLIENTS;
        if (what % 4 == 0)
            shim_hears(&shim);
        else if (what % 4 == 1)
            container_writes(&shim, in);
        else if (what % 4 == 2 || what < 200)
            say(in, theirs[who]);
        else
            shutdown(theirs[who], SHUT_WR);
    }
    for (int i = 0; i < CLIENTS; i++)
        close(theirs[i]);
    shim_hears(&shim);
    for (int i = 0; i < CLIENTS_MAX; i++)
        KB_ASSERT(shim.clients[i].socket < 0 && shim.clients[i].out < 0);
    shim_log_flush(&shim, &shim.out, true);
    close(shim.log_fd);
    close(shim.out.fd);
    if (shim.stdin_keep >= 0)
        close(shim.stdin_keep);
}

/* ---- the agent listens ---- */

struct listener {
    struct kb_ev *ev;
    struct kb_ev_fd *in, *out;
    int ready, done;
};

static void on_io(void *arg, uint32_t events)
{
    struct listener *l = arg;
    (void)events;
    kb_ev_unwatch(&l->in);
    kb_ev_unwatch(&l->out);
}

static void on_ready(void *arg, const struct kb_rt_exec_io *io)
{
    struct listener *l = arg;
    KB_ASSERT(l->ready++ == 0 && l->done == 0);
    if (io->in >= 0)
        l->in = kb_ev_watch(l->ev, io->in, EPOLLOUT, on_io, l);
    if (io->out >= 0)
        l->out = kb_ev_watch(l->ev, io->out, EPOLLIN, on_io, l);
}

static void on_done(void *arg, int rc, const struct kb_err *err, int code)
{
    struct listener *l = arg;
    KB_ASSERT(l->done++ == 0 && (rc == 0 || err->text[0]));
    (void)code;
}

static void to_the_agent(struct fuzz_input *in)
{
    static const struct kb_rt_exec_handlers handlers = {on_ready, on_done};
    struct listener l = {.ev = kb_ev_new(kb_clock_system())};
    int fds[2];
    bool tty = fuzz_below(in, 2);
    pair(fds);
    struct kb_rt_exec *exec = kb__shim_exec_at(l.ev, fds[0], tty, &handlers, &l);
    while (in->at < in->end) {
        unsigned what = fuzz_below(in, 8);
        if (what == 0)
            kb_rt_exec_resize(exec, fuzz_byte(in), fuzz_byte(in));
        else if (what == 1)
            kb_rt_exec_close_stdin(exec);
        else
            say(in, fds[1]);
        kb_ev_run(l.ev, 0);
    }
    close(fds[1]);
    for (int i = 0; i < 100 && l.done == 0; i++)
        kb_ev_run(l.ev, 0);
    KB_ASSERT(l.done == 1);
    kb_ev_unwatch(&l.in);
    kb_ev_unwatch(&l.out);
    kb_rt_exec_destroy(&exec);
    kb_ev_destroy(&l.ev);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    struct fuzz_input in = {data, data + n};
    signal(SIGPIPE, SIG_IGN);
    uint64_t before = open_fds();
    if (fuzz_below(&in, 2))
        to_the_agent(&in);
    else
        to_the_shim(&in);
    KB_ASSERT(open_fds() == before);
    return 0;
}
