/* bench_load: requests over many connections, HTTP/1.1 over TLS or plain, one request under way on
 * each; and watchers beside them, whose events are timed from the sending of the request that
 * caused them.
 *
 *     bench_load --port N [--host ADDR] [--cert FILE --key FILE] [--connections N] [--requests N]
 *                [--method M] [--path P] [--body FILE] [--type T] [--watchers N --watch-path P
 * --name P]
 *
 * {n} in path and body becomes the number of the request. With watchers, NAME followed by that
 * number is what their events are recognized by. Prints one JSON line. One thread, epoll. */
#include "bench/measure.h"
#include "bus/base/buf.h"
#include "bus/base/check.h"
#include "bus/base/clock.h"
#include "bus/base/file.h"
#include "bus/http/h1.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <unistd.h>

enum {
    READ_BYTES = 256 * 1024,
    RECORD_BYTES = 16 * 1024,
    IDLE_LIMIT_MS = 60000,
    BODY_MAX = 4 << 20
};

struct options {
    const char *host, *cert, *key, *method, *path, *type, *watch_path, *name;
    uint16_t port;
    uint32_t connections, requests, watchers;
    struct kb_buf body;
};

struct load;

struct conn {
    struct load *load;
    int fd;
    SSL *ssl;
    bool watcher, connected;
    uint32_t events; /* of epoll, asked for */
    struct kb_buf out;
    size_t sent;
    struct kb_h1 *h1;
    uint32_t number; /* of the request under way */
    bool busy;
    struct kb_buf line; /* of a watch, incomplete */
};

struct load {
    struct options o;
    SSL_CTX *tls;
    int epoll;
    struct conn *conns;
    uint32_t started, done, errors, ready, watching;
    uint64_t bytes;
    double *sent_at;   /* [request] */
    double *latency;   /* [request] */
    double *event_lag; /* in the order of arrival */
    size_t event_n, event_max;
    double begin, end, last_event;
    uint32_t status[1000];
    char read_buf[READ_BYTES];
};

__attribute__((noreturn)) static void die(const char *what)
{
    fprintf(stderr, "bench_load: %s\n", what);
    ERR_print_errors_fp(stderr);
    exit(1);
}

/* ---- requests ---- */

static void add_numbered(struct kb_buf *out, kb_str text, uint32_t n)
{
    while (text.n > 0) {
        const char *at = memmem(text.p, text.n, "{n}", 3);
        size_t before = at ? (size_t)(at - text.p) : text.n;
        kb_buf_add(out, text.p, before);
        if (at == NULL)
            return;
        kb_buf_printf(out, "%u", n);
        text.p = at + 3;
        text.n -= before + 3;
    }
}

static void write_request(struct conn *c, const char *method, const char *path, uint32_t n)
{
    const struct options *o = &c->load->o;
    KB_AUTO(kb_buf_finish) struct kb_buf body = {0};
    kb_buf_clear(&c->out);
    c->sent = 0;
    kb_buf_printf(&c->out, "%s ", method);
    add_numbered(&c->out, kb_str_of(path), n);
    kb_buf_printf(&c->out, " HTTP/1.1\r\nHost: %s:%u\r\nAccept: application/json\r\n", o->host,
                  o->port);
    if (!c->watcher && o->body.n > 0) {
        add_numbered(&body, kb_buf_str(&o->body), n);
        kb_buf_printf(&c->out, "Content-Type: %s\r\nContent-Length: %zu\r\n", o->type, body.n);
    }
    kb_buf_puts(&c->out, "\r\n");
    kb_buf_add(&c->out, body.p, body.n);
}

static void next_request(struct conn *c)
{
    struct load *l = c->load;
    c->busy = false;
    if (c->watcher || l->started == l->o.requests)
        return;
    c->number = l->started++;
    c->busy = true;
    write_request(c, l->o.method, l->o.path, c->number);
    l->sent_at[c->number] = bench_seconds();
}

/* ---- responses ---- */

static enum kb_h1_verdict on_head(void *user)
{
    struct conn *c = user;
    int status = kb_h1_status(c->h1);
    if (c->watcher) {
        if (status != 200)
            die("the watch was refused");
        c->load->watching++;
    } else {
        c->load->status[status < 1000 && status > 0 ? status : 0]++;
        c->load->errors += status >= 400;
    }
    return KB_H1_GO;
}

/* One line of a watch is one event. */
static void on_event(struct conn *c, kb_str line)
{
    struct load *l = c->load;
    size_t name_n = strlen(l->o.name);
    const char *at = memmem(line.p, line.n, l->o.name, name_n);
    if (at == NULL || l->event_n == l->event_max)
        return;
    uint32_t n = (uint32_t)strtoul(at + name_n, NULL, 10);
    if (n >= l->o.requests || l->sent_at[n] == 0)
        return;
    l->last_event = bench_seconds();
    l->event_lag[l->event_n++] = l->last_event - l->sent_at[n];
}

static int on_body(void *user, kb_str piece)
{
    struct conn *c = user;
    c->load->bytes += piece.n;
    if (!c->watcher)
        return 0;
    while (piece.n > 0) {
        const char *newline = memchr(piece.p, '\n', piece.n);
        size_t n = newline ? (size_t)(newline - piece.p) : piece.n;
        kb_buf_add(&c->line, piece.p, n);
        if (newline == NULL)
            break;
        on_event(c, kb_buf_str(&c->line));
        kb_buf_clear(&c->line);
        piece.p += n + 1;
        piece.n -= n + 1;
    }
    return 0;
}

static void on_complete(void *user)
{
    struct conn *c = user;
    struct load *l = c->load;
    if (c->watcher)
        return;
    l->end = bench_seconds();
    l->latency[l->done++] = l->end - l->sent_at[c->number];
    next_request(c);
}

static const struct kb_h1_events h1_events = {
    .head = on_head, .body = on_body, .complete = on_complete};

/* ---- a connection ---- */

static void want(struct conn *c, uint32_t events)
{
    struct epoll_event e = {.events = events, .data.ptr = c};
    if (c->events != events && epoll_ctl(c->load->epoll, EPOLL_CTL_MOD, c->fd, &e) < 0)
        die("epoll_ctl");
    c->events = events;
}

/* > 0: bytes; 0: would block (in *want_events what for); dies when the peer closes. */
static ssize_t io(struct conn *c, bool write, void *data, size_t n, uint32_t *want_events)
{
    if (c->ssl == NULL) {
        ssize_t got = write ? send(c->fd, data, n, MSG_NOSIGNAL) : recv(c->fd, data, n, 0);
        if (got > 0)
            return got;
        if (got < 0 && (errno == EAGAIN || errno == EINTR)) {
            *want_events |= write ? EPOLLOUT : EPOLLIN;
            return 0;
        }
        die("the server closed a connection");
    }
    int got = write ? SSL_write(c->ssl, data, (int)n) : SSL_read(c->ssl, data, (int)n);
    if (got > 0)
        return got;
    int error = SSL_get_error(c->ssl, got);
    if (error != SSL_ERROR_WANT_READ && error != SSL_ERROR_WANT_WRITE)
        die("the server closed a connection");
    *want_events |= error == SSL_ERROR_WANT_READ ? EPOLLIN : EPOLLOUT;
    return 0;
}

static bool flush(struct conn *c, uint32_t *want_events)
{
    while (c->sent < c->out.n) {
        ssize_t n = io(c, true, c->out.p + c->sent, c->out.n - c->sent, want_events);
        if (n == 0)
            return false;
        c->sent += (size_t)n;
    }
    return true;
}

static void feed(struct conn *c, const char *data, size_t n)
{
    struct kb_err err = {0};
    while (n > 0) {
        ptrdiff_t used = kb_h1_feed(c->h1, kb_str_n(data, n), &err);
        if (used < 0)
            die(err.text);
        data += used;
        n -= (size_t)used;
        if (kb_h1_stopped(c->h1))
            kb_h1_next(c->h1);
        else if (used == 0)
            die("the parser does not get on");
    }
}

static bool handshake(struct conn *c)
{
    int rc = c->ssl ? SSL_do_handshake(c->ssl) : 1;
    if (rc != 1) {
        int error = SSL_get_error(c->ssl, rc);
        if (error != SSL_ERROR_WANT_READ && error != SSL_ERROR_WANT_WRITE)
            die("TLS handshake");
        want(c, error == SSL_ERROR_WANT_READ ? EPOLLIN : EPOLLOUT);
        return false;
    }
    c->connected = true;
    c->load->ready++;
    if (c->watcher)
        write_request(c, "GET", c->load->o.watch_path, 0);
    return true;
}

/* May there be more to read than what `n` bytes were read of? Asking the kernel in vain after each
 * answer would be one of two reads. What OpenSSL holds it does not know of; behind a full record
 * stands another, as a rule. */
static bool more(const struct conn *c, ssize_t n)
{
    return c->ssl ? SSL_has_pending(c->ssl) == 1 || n >= RECORD_BYTES : n == READ_BYTES;
}

static void turn(struct conn *c)
{
    uint32_t events = EPOLLIN;
    if (!c->connected && !handshake(c))
        return;
    if (flush(c, &events)) {
        for (int i = 0; i < 16; i++) {
            ssize_t n = io(c, false, c->load->read_buf, READ_BYTES, &events);
            if (n == 0)
                break;
            feed(c, c->load->read_buf, (size_t)n);
            if (!flush(c, &events) || !more(c, n))
                break;
        }
    }
    want(c, events);
}

static void open_conn(struct load *l, struct conn *c, bool watcher)
{
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons(l->o.port)};
    int one = 1;
    c->load = l;
    c->watcher = watcher;
    c->h1 = kb_h1_new(KB_H1_RESPONSE, &h1_events, c);
    c->fd = socket(AF_INET, SOCK_STREAM, 0);
    if (inet_pton(AF_INET, l->o.host, &to.sin_addr) != 1 ||
        connect(c->fd, (struct sockaddr *)&to, sizeof(to)) < 0)
        die("cannot connect");
    setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
    fcntl(c->fd, F_SETFL, O_NONBLOCK);
    if (l->tls) {
        c->ssl = SSL_new(l->tls);
        SSL_set_fd(c->ssl, c->fd);
        SSL_set_connect_state(c->ssl);
    }
    c->events = EPOLLIN | EPOLLOUT;
    struct epoll_event e = {.events = c->events, .data.ptr = c};
    if (epoll_ctl(l->epoll, EPOLL_CTL_ADD, c->fd, &e) < 0)
        die("epoll_ctl");
}

/* ---- the run ---- */

static bool wait_until(struct load *l, bool (*reached)(const struct load *))
{
    struct epoll_event events[64];
    double last = bench_seconds();
    while (!reached(l)) {
        int n = epoll_wait(l->epoll, events, 64, 1000);
        for (int i = 0; i < n; i++)
            turn(events[i].data.ptr);
        if (n > 0)
            last = bench_seconds();
        else if (bench_seconds() - last > IDLE_LIMIT_MS / 1e3)
            return false;
    }
    return true;
}

static bool all_ready(const struct load *l)
{
    return l->ready == l->o.connections + l->o.watchers && l->watching == l->o.watchers;
}

static bool all_done(const struct load *l)
{
    return l->done == l->o.requests && l->event_n == l->event_max;
}

static void report(struct load *l, bool complete)
{
    double took = l->end - l->begin;
    printf("{\"complete\":%s,\"requests\":%u,\"errors\":%u,\"connections\":%u,\"seconds\":%.4f,"
           "\"per_second\":%.0f,\"p50_ms\":%.3f,\"p99_ms\":%.3f,\"max_ms\":%.3f,\"bytes\":%lu",
           complete ? "true" : "false", l->done, l->errors, l->o.connections, took, l->done / took,
           bench_quantile_ms(l->latency, l->done, 0.5),
           bench_quantile_ms(l->latency, l->done, 0.99), bench_quantile_ms(l->latency, l->done, 1),
           (unsigned long)l->bytes);
    if (l->o.watchers > 0)
        printf(",\"watchers\":%u,\"events\":%zu,\"events_per_second\":%.0f,\"event_p50_ms\":%.3f,"
               "\"event_p99_ms\":%.3f",
               l->o.watchers, l->event_n, (double)l->event_n / (l->last_event - l->begin),
               bench_quantile_ms(l->event_lag, l->event_n, 0.5),
               bench_quantile_ms(l->event_lag, l->event_n, 0.99));
    printf(",\"status\":{");
    for (int i = 0, n = 0; i < 1000; i++)
        if (l->status[i])
            printf("%s\"%d\":%u", n++ ? "," : "", i, l->status[i]);
    printf("}}\n");
}

static void prepare(struct load *l)
{
    uint32_t conns = l->o.connections + l->o.watchers;
    struct rlimit files = {conns + 64, conns + 64}, have;
    if (getrlimit(RLIMIT_NOFILE, &have) == 0 && have.rlim_cur < files.rlim_cur)
        setrlimit(RLIMIT_NOFILE, &files);
    l->event_max = (size_t)l->o.watchers * l->o.requests;
    l->conns = calloc(conns, sizeof(*l->conns));
    l->sent_at = calloc(l->o.requests, sizeof(double));
    l->latency = calloc(l->o.requests, sizeof(double));
    l->event_lag = calloc(l->event_max + 1, sizeof(double));
    l->epoll = epoll_create1(0);
    KB_ASSERT(l->conns && l->sent_at && l->latency && l->event_lag && l->epoll >= 0);
    if (l->o.cert == NULL)
        return;
    l->tls = SSL_CTX_new(TLS_client_method());
    if (l->tls == NULL || SSL_CTX_use_certificate_chain_file(l->tls, l->o.cert) != 1 ||
        SSL_CTX_use_PrivateKey_file(l->tls, l->o.key, SSL_FILETYPE_PEM) != 1)
        die("certificate or key");
    SSL_CTX_set_mode(l->tls, SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
    SSL_CTX_set_read_ahead(l->tls, 1); /* else each record costs a read for its head alone */
}

static void run(struct load *l)
{
    prepare(l);
    for (uint32_t i = 0; i < l->o.connections + l->o.watchers; i++)
        open_conn(l, &l->conns[i], i >= l->o.connections);
    if (!wait_until(l, all_ready))
        die("the connections were not made in time");
    l->bytes = 0;
    l->begin = bench_seconds();
    for (uint32_t i = 0; i < l->o.connections; i++) {
        next_request(&l->conns[i]);
        turn(&l->conns[i]);
    }
    report(l, wait_until(l, all_done));
}

static int parse(int argc, char **argv, struct options *o)
{
    static const struct option names[] = {
        {"host", required_argument, NULL, 'h'},        {"port", required_argument, NULL, 'p'},
        {"cert", required_argument, NULL, 'c'},        {"key", required_argument, NULL, 'k'},
        {"connections", required_argument, NULL, 'n'}, {"requests", required_argument, NULL, 'r'},
        {"method", required_argument, NULL, 'm'},      {"path", required_argument, NULL, 'P'},
        {"body", required_argument, NULL, 'b'},        {"type", required_argument, NULL, 't'},
        {"watchers", required_argument, NULL, 'w'},    {"watch-path", required_argument, NULL, 'W'},
        {"name", required_argument, NULL, 'N'},        {NULL, 0, NULL, 0}};
    struct kb_err err = {0};
    int c;
    while ((c = getopt_long(argc, argv, "", names, NULL)) != -1) {
        const char **text = c == 'h'   ? &o->host
                            : c == 'c' ? &o->cert
                            : c == 'k' ? &o->key
                            : c == 'm' ? &o->method
                            : c == 'P' ? &o->path
                            : c == 't' ? &o->type
                            : c == 'W' ? &o->watch_path
                            : c == 'N' ? &o->name
                                       : NULL;
        uint32_t *number = c == 'n'   ? &o->connections
                           : c == 'r' ? &o->requests
                           : c == 'w' ? &o->watchers
                                      : NULL;
        if (text)
            *text = optarg;
        else if (number)
            *number = (uint32_t)strtoul(optarg, NULL, 10);
        else if (c == 'p')
            o->port = (uint16_t)strtoul(optarg, NULL, 10);
        else if (c != 'b' || kb_file_read(optarg, BODY_MAX, &o->body, &err) < 0)
            return -1;
    }
    return o->port && (!o->cert) == (!o->key) && (!o->watchers || (o->watch_path && o->name)) ? 0
                                                                                              : -1;
}

int main(int argc, char **argv)
{
    struct load *l = calloc(1, sizeof(*l));
    KB_ASSERT(l != NULL);
    l->o = (struct options){.host = "127.0.0.1",
                            .method = "GET",
                            .path = "/",
                            .type = "application/json",
                            .connections = 64,
                            .requests = 1000};
    signal(SIGPIPE, SIG_IGN);
    if (parse(argc, argv, &l->o) < 0) {
        fprintf(stderr, "usage: see the head of bench/http/load.c\n");
        return 2;
    }
    run(l);
    return 0;
}
