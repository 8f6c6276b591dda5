/* bench_etcd: the peer's side of the store's figures: gRPC calls to an etcd over plain HTTP/2, by
 * hand (nghttp2 and a few bytes of protobuf), with a number of calls outstanding on some
 * connections.
 *
 *     bench_etcd --port N [--op put|get] [--requests N] [--outstanding N] [--connections N]
 *                [--value-bytes N] [--watchers N]
 *
 * put writes new keys of the given value; get reads them again. With watchers, each follows all
 * keys on a connection of its own, and events are timed from the sending of their put. Prints one
 * JSON line. */
#include "bench/measure.h"
#include "bus/base/buf.h"
#include "bus/base/check.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <nghttp2/nghttp2.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <unistd.h>

#define KEY_PREFIX "bench/"

struct options {
    const char *op;
    uint16_t port;
    uint32_t requests, outstanding, connections, value_bytes, watchers;
};

struct load;

struct call {
    uint32_t number;
    bool watch;
    struct kb_buf body;
    size_t sent;
    struct kb_buf in; /* of a watch: frames not yet complete */
    bool created;
};

struct conn {
    struct load *load;
    int fd;
    uint32_t events;
    nghttp2_session *session;
    bool watcher;
};

struct load {
    struct options o;
    int epoll;
    struct conn *conns;
    uint32_t started, done, errors, watching;
    char *value;
    double *sent_at, *latency, *event_lag;
    size_t event_n, event_max;
    double begin, end, last_event;
};

__attribute__((noreturn)) static void die(const char *what)
{
    fprintf(stderr, "bench_etcd: %s\n", what);
    exit(1);
}

/* ---- protobuf: fields that are bytes ---- */

static void put_varint(struct kb_buf *out, uint64_t n)
{
    for (; n > 127; n >>= 7)
        kb_buf_putc(out, (char)(n | 128));
    kb_buf_putc(out, (char)n);
}

static void put_bytes(struct kb_buf *out, int field, kb_str bytes)
{
    put_varint(out, (uint64_t)field << 3 | 2);
    put_varint(out, bytes.n);
    kb_buf_add_str(out, bytes);
}

static bool get_varint(kb_str *in, uint64_t *ret)
{
    *ret = 0;
    for (int shift = 0; in->n > 0 && shift < 64; shift += 7) {
        uint8_t byte = (uint8_t)*in->p++;
        in->n--;
        *ret |= (uint64_t)(byte & 127) << shift;
        if (byte < 128)
            return true;
    }
    return false;
}

/* A message behind its gRPC prefix. */
static void frame(struct kb_buf *out, const struct kb_buf *message)
{
    uint32_t n = (uint32_t)message->n;
    char prefix[5] = {0, (char)(n >> 24), (char)(n >> 16), (char)(n >> 8), (char)n};
    kb_buf_add(out, prefix, sizeof(prefix));
    kb_buf_add_str(out, kb_buf_str(message));
}

/* ---- calls ---- */

static ssize_t read_body(nghttp2_session *session, int32_t stream, uint8_t *buf, size_t cap,
                         uint32_t *flags, nghttp2_data_source *source, void *user)
{
    struct call *call = source->ptr;
    (void)session, (void)stream, (void)user;
    size_t n = call->body.n - call->sent;
    n = n < cap ? n : cap;
    if (n == 0 && call->watch)
        return NGHTTP2_ERR_DEFERRED; /* our side stays open */
    memcpy(buf, call->body.p + call->sent, n);
    call->sent += n;
    if (call->sent == call->body.n && !call->watch)
        *flags |= NGHTTP2_DATA_FLAG_EOF;
    return (ssize_t)n;
}

static nghttp2_nv field(const char *name, const char *value)
{
    return (nghttp2_nv){(uint8_t *)(uintptr_t)name, (uint8_t *)(uintptr_t)value, strlen(name),
                        strlen(value), NGHTTP2_NV_FLAG_NONE};
}

static void submit(struct conn *c, const char *path, struct call *call)
{
    nghttp2_nv head[] = {field(":method", "POST"),
                         field(":scheme", "http"),
                         field(":path", path),
                         field(":authority", "127.0.0.1"),
                         field("content-type", "application/grpc"),
                         field("te", "trailers")};
    nghttp2_data_provider body = {.source.ptr = call, .read_callback = read_body};
    if (nghttp2_submit_request(c->session, NULL, head, KB_COUNT(head), &body, call) < 0)
        die("submit");
}

static struct call *call_new(void)
{
    struct call *call = calloc(1, sizeof(*call));
    KB_ASSERT(call != NULL);
    return call;
}

static void next_call(struct conn *c)
{
    struct load *l = c->load;
    KB_AUTO(kb_buf_finish) struct kb_buf message = {0};
    char key[32];
    if (l->started == l->o.requests)
        return;
    struct call *call = call_new();
    call->number = l->started++;
    snprintf(key, sizeof(key), KEY_PREFIX "%u", call->number);
    put_bytes(&message, 1, kb_str_of(key));
    bool put = strcmp(l->o.op, "put") == 0;
    if (put)
        put_bytes(&message, 2, kb_str_n(l->value, l->o.value_bytes));
    frame(&call->body, &message);
    l->sent_at[call->number] = bench_seconds();
    submit(c, put ? "/etcdserverpb.KV/Put" : "/etcdserverpb.KV/Range", call);
}

static void start_watch(struct conn *c)
{
    KB_AUTO(kb_buf_finish) struct kb_buf create = {0}, message = {0};
    struct call *call = call_new();
    call->watch = true;
    put_bytes(&create, 1, kb_str_of(KEY_PREFIX));
    put_bytes(&create, 2, kb_str_of("bench0")); /* '0' follows '/' */
    put_bytes(&message, 1, kb_buf_str(&create));
    frame(&call->body, &message);
    submit(c, "/etcdserverpb.Watch/Watch", call);
}

/* ---- answers ---- */

static void on_watch_event(struct load *l, kb_str event)
{
    const char *at = memmem(event.p, event.n, KEY_PREFIX, strlen(KEY_PREFIX));
    if (at == NULL || l->event_n == l->event_max)
        return;
    uint32_t n = 0;
    for (at += strlen(KEY_PREFIX); at < event.p + event.n && *at >= '0' && *at <= '9'; at++)
        n = n * 10 + (uint32_t)(*at - '0');
    if (n >= l->o.requests)
        return;
    l->last_event = bench_seconds();
    l->event_lag[l->event_n++] = l->last_event - l->sent_at[n];
}

/* A WatchResponse: field 11 is an event, field 3 says that the watch was created. */
static void on_watch_message(struct load *l, struct call *call, kb_str in)
{
    uint64_t tag, n;
    while (in.n > 0 && get_varint(&in, &tag)) {
        if (!get_varint(&in, &n) || ((tag & 7) == 2 && n > in.n))
            die("a watch sent what is no message");
        if (tag >> 3 == 3 && !call->created) {
            call->created = true;
            l->watching++;
        }
        if ((tag & 7) != 2)
            continue;
        if (tag >> 3 == 11)
            on_watch_event(l, kb_str_n(in.p, n));
        in.p += n;
        in.n -= n;
    }
}

static int on_data(nghttp2_session *session, uint8_t flags, int32_t stream, const uint8_t *data,
                   size_t n, void *user)
{
    struct conn *c = user;
    struct call *call = nghttp2_session_get_stream_user_data(session, stream);
    (void)flags;
    if (call == NULL || !call->watch)
        return 0;
    kb_buf_add(&call->in, data, n);
    size_t at = 0;
    while (call->in.n - at >= 5) {
        const uint8_t *p = (const uint8_t *)call->in.p + at;
        size_t size = (size_t)p[1] << 24 | (size_t)p[2] << 16 | (size_t)p[3] << 8 | p[4];
        if (call->in.n - at < 5 + size)
            break;
        on_watch_message(c->load, call, kb_str_n((const char *)p + 5, size));
        at += 5 + size;
    }
    kb_buf_drop(&call->in, at);
    return 0;
}

static int on_header(nghttp2_session *session, const nghttp2_frame *head, const uint8_t *name,
                     size_t name_n, const uint8_t *value, size_t value_n, uint8_t flags, void *user)
{
    struct conn *c = user;
    (void)session, (void)head, (void)flags;
    if (kb_str_is(kb_str_n((const char *)name, name_n), "grpc-status") &&
        !kb_str_is(kb_str_n((const char *)value, value_n), "0"))
        c->load->errors++;
    return 0;
}

static int on_close(nghttp2_session *session, int32_t stream, uint32_t code, void *user)
{
    struct conn *c = user;
    struct load *l = c->load;
    struct call *call = nghttp2_session_get_stream_user_data(session, stream);
    if (call == NULL)
        return 0;
    if (call->watch || code != 0)
        die("a stream was reset");
    l->end = bench_seconds();
    l->latency[l->done++] = l->end - l->sent_at[call->number];
    kb_buf_finish(&call->body);
    kb_buf_finish(&call->in);
    free(call);
    next_call(c);
    return 0;
}

/* ---- connections ---- */

static void open_conn(struct load *l, struct conn *c, bool watcher)
{
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons(l->o.port)};
    int one = 1;
    to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    c->load = l;
    c->watcher = watcher;
    c->fd = socket(AF_INET, SOCK_STREAM, 0);
    if (connect(c->fd, (struct sockaddr *)&to, sizeof(to)) < 0)
        die("cannot connect");
    setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
    fcntl(c->fd, F_SETFL, O_NONBLOCK);
    nghttp2_session_callbacks *cb;
    nghttp2_session_callbacks_new(&cb);
    nghttp2_session_callbacks_set_on_data_chunk_recv_callback(cb, on_data);
    nghttp2_session_callbacks_set_on_header_callback(cb, on_header);
    nghttp2_session_callbacks_set_on_stream_close_callback(cb, on_close);
    nghttp2_session_client_new(&c->session, cb, c);
    nghttp2_session_callbacks_del(cb);
    nghttp2_settings_entry window = {NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, 1 << 24};
    nghttp2_submit_settings(c->session, NGHTTP2_FLAG_NONE, &window, 1);
    nghttp2_session_set_local_window_size(c->session, NGHTTP2_FLAG_NONE, 0, 1 << 26);
    struct epoll_event e = {.events = c->events = EPOLLIN | EPOLLOUT, .data.ptr = c};
    if (epoll_ctl(l->epoll, EPOLL_CTL_ADD, c->fd, &e) < 0)
        die("epoll_ctl");
}

static void send_waiting(struct conn *c)
{
    for (;;) {
        const uint8_t *p;
        ssize_t n = nghttp2_session_mem_send(c->session, &p);
        if (n < 0)
            die("send");
        if (n == 0)
            return;
        while (n > 0) { /* a call is small: wait for the socket rather than keep a remainder */
            ssize_t wrote = send(c->fd, p, (size_t)n, MSG_NOSIGNAL);
            if (wrote < 0 && errno != EAGAIN && errno != EINTR)
                die("the server closed a connection");
            if (wrote > 0) {
                p += wrote;
                n -= wrote;
            }
        }
    }
}

static void turn(struct conn *c)
{
    static uint8_t buf[1 << 16];
    for (;;) {
        ssize_t n = recv(c->fd, buf, sizeof(buf), 0);
        if (n < 0 && (errno == EAGAIN || errno == EINTR))
            break;
        if (n <= 0 || nghttp2_session_mem_recv(c->session, buf, (size_t)n) != n)
            die("the server closed a connection");
        send_waiting(c);
    }
    send_waiting(c);
}

static void wait_until(struct load *l, bool (*reached)(const struct load *))
{
    struct epoll_event events[64];
    double last = bench_seconds();
    while (!reached(l)) {
        int n = epoll_wait(l->epoll, events, 64, 1000);
        for (int i = 0; i < n; i++)
            turn(events[i].data.ptr);
        last = n > 0 ? bench_seconds() : last;
        if (bench_seconds() - last > 60)
            die("no answer for a minute");
    }
}

static bool all_watching(const struct load *l)
{
    return l->watching == l->o.watchers;
}

static bool all_done(const struct load *l)
{
    return l->done == l->o.requests && l->event_n == l->event_max;
}

/* ---- the run ---- */

static void run(struct load *l)
{
    uint32_t conns = l->o.connections + l->o.watchers;
    l->event_max = (size_t)l->o.watchers * l->o.requests;
    l->value = calloc(1, l->o.value_bytes + 1);
    l->conns = calloc(conns, sizeof(*l->conns));
    l->sent_at = calloc(l->o.requests, sizeof(double));
    l->latency = calloc(l->o.requests, sizeof(double));
    l->event_lag = calloc(l->event_max + 1, sizeof(double));
    l->epoll = epoll_create1(0);
    KB_ASSERT(l->value && l->conns && l->sent_at && l->latency && l->event_lag);
    memset(l->value, 'x', l->o.value_bytes);
    for (uint32_t i = 0; i < conns; i++)
        open_conn(l, &l->conns[i], i >= l->o.connections);
    for (uint32_t i = l->o.connections; i < conns; i++)
        start_watch(&l->conns[i]);
    for (uint32_t i = 0; i < conns; i++)
        turn(&l->conns[i]);
    wait_until(l, all_watching);
    l->begin = bench_seconds();
    for (uint32_t i = 0; i < l->o.outstanding; i++)
        next_call(&l->conns[i % l->o.connections]);
    for (uint32_t i = 0; i < l->o.connections; i++)
        turn(&l->conns[i]);
    wait_until(l, all_done);
    double took = l->end - l->begin;
    printf("{\"op\":\"%s\",\"requests\":%u,\"errors\":%u,\"outstanding\":%u,\"per_second\":%.0f,"
           "\"p50_ms\":%.3f,\"p99_ms\":%.3f",
           l->o.op, l->done, l->errors, l->o.outstanding, l->done / took,
           bench_quantile_ms(l->latency, l->done, 0.5),
           bench_quantile_ms(l->latency, l->done, 0.99));
    if (l->o.watchers > 0)
        printf(",\"watchers\":%u,\"events_per_second\":%.0f,\"event_p50_ms\":%.3f,"
               "\"event_p99_ms\":%.3f",
               l->o.watchers, (double)l->event_n / (l->last_event - l->begin),
               bench_quantile_ms(l->event_lag, l->event_n, 0.5),
               bench_quantile_ms(l->event_lag, l->event_n, 0.99));
    printf("}\n");
}

int main(int argc, char **argv)
{
    static const struct option names[] = {{"port", required_argument, NULL, 'p'},
                                          {"op", required_argument, NULL, 'o'},
                                          {"requests", required_argument, NULL, 'r'},
                                          {"outstanding", required_argument, NULL, 'u'},
                                          {"connections", required_argument, NULL, 'n'},
                                          {"value-bytes", required_argument, NULL, 'v'},
                                          {"watchers", required_argument, NULL, 'w'},
                                          {NULL, 0, NULL, 0}};
    static struct load l;
    l.o = (struct options){"put", 0, 5000, 64, 4, 1024, 0};
    int c;
    while ((c = getopt_long(argc, argv, "", names, NULL)) != -1) {
        uint32_t *number = c == 'r'   ? &l.o.requests
                           : c == 'u' ? &l.o.outstanding
                           : c == 'n' ? &l.o.connections
                           : c == 'v' ? &l.o.value_bytes
                           : c == 'w' ? &l.o.watchers
                                      : NULL;
        if (number)
            *number = (uint32_t)strtoul(optarg, NULL, 10);
        else if (c == 'p')
            l.o.port = (uint16_t)strtoul(optarg, NULL, 10);
        else if (c == 'o')
            l.o.op = optarg;
        else
            return 2;
    }
    if (l.o.port == 0 || l.o.connections == 0)
        return 2;
    run(&l);
    return 0;
}
