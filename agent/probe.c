#include "agent/probe.h"
#include "bus/base/buf.h"
#include "bus/base/check.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netdb.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

enum { OUTPUT_MAX = 1024 };

struct kb_probe {
    struct kb_ev *ev;
    kb_probe_done *done;
    void *arg;
    struct kb_ev_timer timer; /* the time-out, a sleep's end, or a result that is known already */
    bool ok;
    char words[OUTPUT_MAX + 256];
    int fd;
    bool http, connected;
    struct kb_ev_fd *watch, *out_watch, *err_watch;
    struct kb_rt_exec *exec;
    struct kb_rt_exec_io io;
    struct kb_buf request, output;
    size_t sent; /* of the request */
    char address[64];
    char path[256]; /* of an httpGet, for the words */
};

static void stop(struct kb_probe *p)
{
    kb_ev_disarm(p->ev, &p->timer);
    kb_ev_unwatch(&p->watch);
    kb_ev_unwatch(&p->out_watch);
    kb_ev_unwatch(&p->err_watch);
    kb_auto_close(&p->fd);
    kb_rt_exec_destroy(&p->exec);
}

static void finish(struct kb_probe *p, bool ok)
{
    stop(p);
    p->done(p->arg, ok, p->words); /* may destroy p */
}

static void on_known(void *arg)
{
    struct kb_probe *p = arg;
    finish(p, p->ok);
}

/* The result is known; tell it from the loop. */
static void settle(struct kb_probe *p, bool ok)
{
    p->ok = ok;
    kb_ev_arm(p->ev, &p->timer, 0, on_known, p);
}

/* ---- exec ---- */

static void on_exec_timeout(void *arg)
{
    struct kb_probe *p = arg;
    snprintf(p->words, sizeof p->words, "command timed out");
    finish(p, false);
}

static void take_output(struct kb_probe *p, int fd, struct kb_ev_fd **watch)
{
    char bytes[1024];
    ssize_t n = read(fd, bytes, sizeof bytes);
    if (n < 0 && (errno == EAGAIN || errno == EINTR))
        return;
    if (n <= 0 && watch != NULL)
        kb_ev_unwatch(watch);
    if (n > 0 && p->output.n < OUTPUT_MAX)
        kb_buf_add(&p->output, bytes, (size_t)n);
}

static void on_out(void *arg, uint32_t events)
{
    struct kb_probe *p = arg;
    (void)events;
    take_output(p, p->io.out, &p->out_watch);
}

static void on_err(void *arg, uint32_t events)
{
    struct kb_probe *p = arg;
    (void)events;
    take_output(p, p->io.err, &p->err_watch);
}

static void on_exec_ready(void *arg, const struct kb_rt_exec_io *io)
{
    struct kb_probe *p = arg;
    p->io = *io;
    p->out_watch = kb_ev_watch(p->ev, io->out, EPOLLIN, on_out, p);
    p->err_watch = kb_ev_watch(p->ev, io->err, EPOLLIN, on_err, p);
}

static void on_exec_done(void *arg, int rc, const struct kb_err *err, int code)
{
    struct kb_probe *p = arg;
    if (rc < 0) {
        snprintf(p->words, sizeof p->words, "%s", err->text);
        finish(p, false);
        return;
    }
    if (code != 0 && p->out_watch != NULL)
        take_output(p, p->io.out, NULL);
    if (code != 0 && p->err_watch != NULL)
        take_output(p, p->io.err, NULL);
    snprintf(p->words, sizeof p->words, KB_STR_FMT, KB_STR_ARG(kb_buf_str(&p->output)));
    finish(p, code == 0);
}

static void start_exec(struct kb_probe *p, struct kb_runtime *rt, kb_val command,
                       const struct kb_rt_ref *ref, kb_ms timeout_ms)
{
    static const struct kb_rt_exec_handlers handlers = {on_exec_ready, on_exec_done};
    size_t n = 0;
    char **argv = calloc(kb_val_count(command) + 1, sizeof *argv);
    KB_ASSERT(argv != NULL);
    for (struct kb_iter it = kb_iter(command); kb_iter_next(&it);)
        argv[n++] = kb_str_dup(kb_val_str(it.val));
    struct kb_rt_exec_spec spec = {.ref = *ref, .argv = (const char *const *)argv};
    kb_ev_arm(p->ev, &p->timer, timeout_ms, on_exec_timeout, p);
    p->exec = kb_runtime_exec(rt, &spec, &handlers, p);
    for (size_t i = 0; i < n; i++)
        free(argv[i]);
    free(argv);
}

/* ---- sockets ---- */

/* A port's number: itself, or the name of one of the container's. */
static int port_number(kb_val port, kb_val container)
{
    kb_str name = kb_val_str(port);
    int64_t number = kb_val_int(port, 0);
    if (name.n == 0)
        return (int)number;
    for (struct kb_iter it = kb_iter(kb_val_get(container, "ports")); kb_iter_next(&it);)
        if (kb_str_eq(kb_val_str_at(it.val, "name"), name))
            return (int)kb_val_int_at(it.val, "containerPort", 0);
    return kb_str_i64(name, &number) ? (int)number : 0;
}

static void failed_socket(struct kb_probe *p, int error)
{
    char text[128];
    if (error == ETIMEDOUT)
        snprintf(text, sizeof text, "i/o timeout");
    else
        snprintf(text, sizeof text, "connect: %s", strerror(error));
    for (char *at = text; *at; at++) /* Go writes errors in lower case */
        if (*at >= 'A' && *at <= 'Z')
            *at = (char)(*at + 32);
    if (p->http)
        snprintf(p->words, sizeof p->words, "Get \"http://%s%s\": dial tcp %s: %s", p->address,
                 p->path, p->address, text);
    else
        snprintf(p->words, sizeof p->words, "dial tcp %s: %s", p->address, text);
}

static void on_socket_timeout(void *arg)
{
    struct kb_probe *p = arg;
    if (p->connected && p->http)
        snprintf(p->words, sizeof p->words,
                 "Get \"http://%s\": context deadline exceeded (Client.Timeout exceeded while "
                 "awaiting headers)",
                 p->address);
    else
        failed_socket(p, ETIMEDOUT);
    finish(p, false);
}

int kb_probe_http_status(kb_str answer)
{
    enum { STATUS_AT = 9, ENOUGH = 12 }; /* "HTTP/1.1 200" */
    static const char shape[] = "HTTP/0.0 000";
    for (size_t i = 0; i < answer.n && i < ENOUGH; i++) {
        bool digit = answer.p[i] >= '0' && answer.p[i] <= '9';
        if (shape[i] == '0' ? !digit : answer.p[i] != shape[i])
            return -1;
    }
    if (answer.n < ENOUGH)
        return 0;
    const char *at = answer.p + STATUS_AT;
    int status = (at[0] - '0') * 100 + (at[1] - '0') * 10 + (at[2] - '0');
    return status >= 100 ? status : -1;
}

static void failed_get(struct kb_probe *p, const char *why)
{
    snprintf(p->words, sizeof p->words, "Get \"http://%s%s\": %s", p->address, p->path, why);
    finish(p, false);
}

/* The status line is enough. */
static void read_answer(struct kb_probe *p)
{
    char bytes[2048];
    ssize_t n = read(p->fd, bytes, sizeof bytes);
    if (n < 0 && (errno == EAGAIN || errno == EINTR))
        return;
    if (n > 0)
        kb_buf_add(&p->output, bytes, (size_t)n);
    int status = kb_probe_http_status(kb_buf_str(&p->output));
    if (status == 0 && n > 0)
        return;
    if (status <= 0) {
        failed_get(p, status < 0 ? "malformed HTTP response" : "EOF");
        return;
    }
    snprintf(p->words, sizeof p->words, "HTTP probe failed with statuscode: %d", status);
    finish(p, status >= 200 && status < 400);
}

/* As much of the request as the socket takes: a pod's author chooses how long its headers are. */
static void send_request(struct kb_probe *p)
{
    while (p->sent < p->request.n) {
        ssize_t n = send(p->fd, p->request.p + p->sent, p->request.n - p->sent, MSG_NOSIGNAL);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0 && errno == EAGAIN)
            return;
        if (n < 0) {
            failed_get(p, "write: broken pipe");
            return;
        }
        p->sent += (size_t)n;
    }
    kb_ev_rewatch(p->watch, EPOLLIN);
}

static void on_socket(void *arg, uint32_t events)
{
    struct kb_probe *p = arg;
    int error = 0;
    socklen_t n = sizeof error;
    (void)events;
    if (p->connected && p->sent < p->request.n) {
        send_request(p);
        return;
    }
    if (p->connected) {
        read_answer(p);
        return;
    }
    getsockopt(p->fd, SOL_SOCKET, SO_ERROR, &error, &n);
    if (error != 0) {
        failed_socket(p, error);
        finish(p, false);
    } else if (!p->http) {
        finish(p, true);
    } else {
        p->connected = true;
        send_request(p);
    }
}

static void start_socket(struct kb_probe *p, const char *host, int port, kb_ms timeout_ms)
{
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
    snprintf(p->address, sizeof p->address, "%.40s:%d", host, port);
    if (port <= 0 || port > 65535 || inet_pton(AF_INET, host, &to.sin_addr) != 1) {
        snprintf(p->words, sizeof p->words, "invalid address %s", p->address);
        settle(p, false);
        return;
    }
    p->fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (p->fd < 0 ||
        (connect(p->fd, (struct sockaddr *)&to, sizeof to) < 0 && errno != EINPROGRESS)) {
        failed_socket(p, errno);
        settle(p, false);
        return;
    }
    p->watch = kb_ev_watch(p->ev, p->fd, EPOLLOUT, on_socket, p);
    kb_ev_arm(p->ev, &p->timer, timeout_ms, on_socket_timeout, p);
}

static void start_http(struct kb_probe *p, kb_val get, const struct kb_probe_target *target,
                       kb_ms timeout_ms)
{
    KB_AUTO(kb_auto_free) char *host = kb_str_dup(kb_val_str_at(get, "host"));
    kb_str path = kb_val_str_at(get, "path");
    int port = port_number(kb_val_get(get, "port"), target->container);
    bool named_host = false, agent = false;
    if (kb_str_is(kb_val_str_at(get, "scheme"), "HTTPS")) {
        snprintf(p->words, sizeof p->words, "probes over https are not supported by this agent");
        settle(p, false);
        return;
    }
    kb_buf_printf(&p->request, "GET %s" KB_STR_FMT " HTTP/1.1\r\n",
                  path.n && path.p[0] == '/' ? "" : "/", KB_STR_ARG(path));
    for (struct kb_iter it = kb_iter(kb_val_get(get, "httpHeaders")); kb_iter_next(&it);) {
        kb_str name = kb_val_str_at(it.val, "name");
        named_host |= name.n == 4 && strncasecmp(name.p, "host", 4) == 0;
        agent |= name.n == 10 && strncasecmp(name.p, "user-agent", 10) == 0;
        kb_buf_printf(&p->request, KB_STR_FMT ": " KB_STR_FMT "\r\n", KB_STR_ARG(name),
                      KB_STR_ARG(kb_val_str_at(it.val, "value")));
    }
    snprintf(p->path, sizeof p->path, "%s%.*s", path.n && path.p[0] == '/' ? "" : "/",
             path.n < 200 ? (int)path.n : 200, path.n ? path.p : "");
    const char *to = *host ? host : target->ip;
    if (!named_host)
        kb_buf_printf(&p->request, "Host: %s:%d\r\n", to, port);
    if (!agent)
        kb_buf_puts(&p->request, "User-Agent: kube-probe/1.32\r\n");
    kb_buf_puts(&p->request, "Accept: */*\r\nConnection: close\r\n\r\n");
    p->http = true;
    start_socket(p, to, port, timeout_ms);
}

/* ---- */

static void on_slept(void *arg)
{
    finish(arg, true);
}

struct kb_probe *kb_probe_start(struct kb_runtime *rt, struct kb_ev *ev, kb_val handler,
                                const struct kb_probe_target *target, kb_ms timeout_ms,
                                kb_probe_done *done, void *arg)
{
    struct kb_probe *p = calloc(1, sizeof *p);
    KB_ASSERT(p != NULL);
    *p = (struct kb_probe){.ev = ev, .done = done, .arg = arg, .fd = -1, .io = {-1, -1, -1}};
    kb_val exec = kb_val_get(handler, "exec"), http = kb_val_get(handler, "httpGet");
    kb_val tcp = kb_val_get(handler, "tcpSocket"), sleep = kb_val_get(handler, "sleep");
    if (strcmp(kb_runtime_name(rt), "hollow") == 0) {
        settle(p, true);
    } else if (kb_val_present(exec)) {
        start_exec(p, rt, kb_val_get(exec, "command"), &target->ref, timeout_ms);
    } else if (kb_val_present(http)) {
        start_http(p, http, target, timeout_ms);
    } else if (kb_val_present(tcp)) {
        KB_AUTO(kb_auto_free) char *host = kb_str_dup(kb_val_str_at(tcp, "host"));
        start_socket(p, *host ? host : target->ip,
                     port_number(kb_val_get(tcp, "port"), target->container), timeout_ms);
    } else if (kb_val_present(sleep)) {
        kb_ev_arm(ev, &p->timer, kb_seconds_ms(kb_val_int_at(sleep, "seconds", 0)), on_slept, p);
    } else {
        snprintf(p->words, sizeof p->words, "grpc probes are not supported by this agent");
        settle(p, false);
    }
    return p;
}

void kb_probe_destroy(struct kb_probe **probe_p)
{
    struct kb_probe *p = KB_STEAL(*probe_p);
    if (p == NULL)
        return;
    stop(p);
    kb_buf_finish(&p->request);
    kb_buf_finish(&p->output);
    free(p);
}
