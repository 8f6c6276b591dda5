/* cmd_exec.c - `kubus exec`: the terminal at this end of a WebSocket, a container at the other.
 *
 * Channels of v5.channel.k8s.io: 0 stdin, 1 stdout, 2 stderr, 3 the final Status, 4 resize,
 * 255 closes another channel. */
#include "actors/cli/objects.h"
#include "bus/model/json.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <termios.h>
#include <unistd.h>

enum { CH_STDIN, CH_STDOUT, CH_STDERR, CH_ERROR, CH_RESIZE, CH_CLOSE = 255 };

struct exec {
    struct kb_session session;
    struct kb_rest_ws *ws;
    bool stdin_on, tty;
    const char *container;
    struct termios saved;
    bool raw;
    int exit_code;
};

static volatile sig_atomic_t resized = 1;

static void on_winch(int signal)
{
    (void)signal;
    resized = 1;
}

static void exec_finish(struct exec *exec)
{
    if (exec->raw)
        tcsetattr(STDIN_FILENO, TCSAFLUSH, &exec->saved);
    kb_rest_ws_destroy(&exec->ws);
    kb_session_finish(&exec->session);
}

static void terminal_raw(struct exec *exec)
{
    struct sigaction action = {.sa_handler = on_winch};
    sigaction(SIGWINCH, &action, NULL);
    if (!exec->tty || tcgetattr(STDIN_FILENO, &exec->saved) < 0)
        return;
    struct termios raw = exec->saved;
    cfmakeraw(&raw);
    exec->raw = tcsetattr(STDIN_FILENO, TCSAFLUSH, &raw) == 0;
}

static void send_size(struct exec *exec)
{
    struct winsize size;
    resized = 0;
    if (!exec->tty || ioctl(STDIN_FILENO, TIOCGWINSZ, &size) < 0)
        return;
    char text[64];
    int n = snprintf(text, sizeof(text), "{\"Width\":%d,\"Height\":%d}", size.ws_col, size.ws_row);
    kb_rest_ws_send(exec->ws, CH_RESIZE, text, (size_t)n, NULL);
}

/* The Status that ends it: success, or the command's exit code among the causes. */
static int take_status(struct exec *exec, kb_str text, struct kb_err *err)
{
    struct kb_node *status = NULL;
    int64_t code;
    if (kb_json_parse(&exec->session.arena, text, NULL, &status, NULL) < 0 ||
        kb_str_is(kb_node_text_at(status, "status"), "Success"))
        return 0;
    if (kb_str_is(kb_node_text_at(status, "reason"), "NonZeroExitCode") &&
        kb_str_i64(kb_node_text_at(status, "details.causes[0].message"), &code)) {
        exec->exit_code = (int)code;
        return 0;
    }
    return kb_err_set(err, KB_EINTERNAL, KB_STR_FMT,
                      KB_STR_ARG(kb_node_text_at(status, "message")));
}

/* 0: go on; -KB_ECANCELED: it is over. */
static int take_messages(struct exec *exec, struct kb_err *err)
{
    for (;;) {
        KB_AUTO(kb_buf_finish) struct kb_buf data = {0};
        int channel, rc = kb_rest_ws_recv(exec->ws, &channel, &data, err);
        if (rc <= 0)
            return rc;
        if (channel == CH_ERROR && take_status(exec, kb_buf_str(&data), err) < 0)
            return -err->code;
        if (channel == CH_STDOUT || channel == CH_STDERR) {
            FILE *out = channel == CH_STDOUT ? stdout : stderr;
            fwrite(data.p, 1, data.n, out);
            fflush(out);
        }
    }
}

static int take_input(struct exec *exec, struct kb_err *err)
{
    char data[8192];
    ssize_t n = read(STDIN_FILENO, data, sizeof(data));
    if (n < 0 && errno == EINTR)
        return 0;
    if (n > 0)
        return kb_rest_ws_send(exec->ws, CH_STDIN, data, (size_t)n, err);
    exec->stdin_on = false;
    return kb_rest_ws_send(exec->ws, CH_CLOSE, "\0", 1, err);
}

static int pump(struct exec *exec, struct kb_err *err)
{
    for (;;) {
        int rc = take_messages(exec, err);
        if (rc < 0)
            return rc == -KB_ECANCELED ? 0 : rc;
        if (resized)
            send_size(exec);
        struct pollfd fds[2] = {{.fd = kb_rest_ws_fd(exec->ws), .events = POLLIN},
                                {.fd = exec->stdin_on ? STDIN_FILENO : -1, .events = POLLIN}};
        if (poll(fds, 2, -1) < 0 && errno != EINTR)
            return kb_err_sys(err, errno, "poll");
        if (fds[1].revents && take_input(exec, err) < 0)
            return -err->code;
    }
}

static void exec_path(struct exec *exec, const char *pod, const struct kb_operands *operands,
                      struct kb_buf *path)
{
    static const struct kb_rest_resource pods = {
        .version = {"v1", 2}, .plural = {"pods", 4}, .namespaced = true};
    kb_str yes = kb_str_of("true");
    kb_buf_printf(path, "%s/exec",
                  kb_rest_path(&exec->session.arena, &pods, kb_session_ns(&exec->session), pod));
    kb_query_add(path, "stdout", yes);
    if (!exec->tty)
        kb_query_add(path, "stderr", yes);
    if (exec->stdin_on)
        kb_query_add(path, "stdin", yes);
    if (exec->tty)
        kb_query_add(path, "tty", yes);
    if (exec->container)
        kb_query_add(path, "container", kb_str_of(exec->container));
    for (size_t i = 0; i < operands->after_count; i++)
        kb_query_add(path, "command", kb_str_of(operands->after_dashes[i]));
}

int kb_cmd_exec(const struct kb_command *command, int argc, char **argv)
{
    KB_AUTO(exec_finish) struct exec exec = {0};
    KB_AUTO(kb_buf_finish) struct kb_buf path = {0};
    const struct kb_opt opts[] = {
        KB_SESSION_OPTS(&exec.session),
        {"stdin", 'i', KB_OPT_FLAG, &exec.stdin_on, NULL, "pass standard input", 0, 0},
        {"tty", 't', KB_OPT_FLAG, &exec.tty, NULL, "with a terminal", 0, 0},
        {"container", 'c', KB_OPT_TEXT, &exec.container, "NAME", "of a pod with several", 0, 0},
    };
    struct kb_operands operands;
    struct kb_err err = {0};
    int rc = kb_command_parse(command, opts, KB_COUNT(opts), argc, argv, &operands);
    if (rc != 0)
        return rc < 0 ? 2 : 0;
    if (operands.count != 1 || operands.after_count == 0)
        return kb_command_misuse(command, "name one pod, and the command behind --");
    const char *pod;
    if (kb_session_open(&exec.session, &err) < 0 ||
        kb_session_pod(&exec.session, operands.items[0], &pod, &err) < 0)
        return kb_command_fail(command, &err);
    exec_path(&exec, pod, &operands, &path);
    if (kb_rest_ws_open(exec.session.rest, path.p, &exec.ws, &err) < 0)
        return kb_command_fail(command, &err);
    terminal_raw(&exec);
    rc = pump(&exec, &err);
    return rc < 0 ? kb_command_fail(command, &err) : exec.exit_code;
}
