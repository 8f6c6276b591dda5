/* server.c - the step.
 *
 * One pass: take all that arrived, let handlers answer, then write each connection that has
 * something to say once. Replies never write by themselves: they mark their connection dirty. So a
 * head and its body, or fifty events, leave in one write, and a reply can never call back into its
 * caller. Connections die at the end of a step only, so no pointer of a pass goes stale. */
#include "actors/api/http/internal.h"

#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <arpa/inet.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { EVENTS_MAX = 256, ACCEPTS_MAX = 64, PASSES_MAX = 64, ACCEPT_PAUSE_MS = 100 };

static void config_defaults(struct kb_http_config *c)
{
#define DEFAULT(field, value)                                                                      \
    if (c->field == 0)                                                                             \
    c->field = (value)
    DEFAULT(max_conns, 20000);
    DEFAULT(max_header_bytes, 64 * 1024);
    DEFAULT(max_body_bytes, KB_BODY_MAX_BYTES);
    DEFAULT(max_body_total, 128u * 1024 * 1024);
    DEFAULT(max_head_total, 256u * 1024 * 1024);
    DEFAULT(max_queue_bytes, 16u * 1024 * 1024);
    DEFAULT(low_water, 256 * 1024);
    DEFAULT(max_ws_bytes, 1024 * 1024);
    DEFAULT(gzip_min_bytes, 128 * 1024);
    DEFAULT(handshake_ms, 10000);
    DEFAULT(header_ms, 30000);
    DEFAULT(body_ms, 60000);
    DEFAULT(idle_ms, 180000);
    DEFAULT(stall_ms, 30000);
#undef DEFAULT
}

/* "host:port", "[v6]:port", ":port" into something to bind. */
static int parse_listen(const char *text, struct addrinfo **ret, struct kb_err *err)
{
    char host[256] = "";
    const char *colon = strrchr(text, ':');
    if (colon == NULL)
        return kb_err_set(err, KB_EINVAL, "'%s' is not ADDRESS:PORT", text);
    kb_str address = kb_str_n(text, (size_t)(colon - text));
    if (address.n >= 2 && address.p[0] == '[' && address.p[address.n - 1] == ']')
        address = kb_str_n(address.p + 1, address.n - 2);
    if (!kb_str_copy(address, host, sizeof(host)))
        return kb_err_set(err, KB_EINVAL, "'%s' is not ADDRESS:PORT", text);
    struct addrinfo hints = {.ai_flags = AI_PASSIVE | AI_NUMERICSERV, .ai_socktype = SOCK_STREAM};
    int rc = getaddrinfo(host[0] ? host : NULL, colon + 1, &hints, ret);
    if (rc != 0)
        return kb_err_set(err, KB_EINVAL, "address '%s': %s", text, gai_strerror(rc));
    return 0;
}

static void addrinfo_free(struct addrinfo **info_p)
{
    if (*info_p)
        freeaddrinfo(*info_p);
}

/* No SO_REUSEPORT: a stale process would silently keep its share of the clients. */
static int open_listener(struct kb_http_server *server, struct kb_err *err)
{
    KB_AUTO(addrinfo_free) struct addrinfo *info = NULL;
    const char *text = server->config.listen;
    int rc = parse_listen(text, &info, err), one = 1, zero = 0;
    if (rc < 0)
        return rc;
    const struct addrinfo *use = info;
    for (const struct addrinfo *it = info; text[0] == ':' && it; it = it->ai_next)
        if (it->ai_family == AF_INET6)
            use = it;
    int type = SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC;
    server->listener = socket(use->ai_family, type, 0);
    if (server->listener < 0 && use != info)
        server->listener = socket((use = info)->ai_family, type, 0);
    if (server->listener < 0)
        return kb_err_sys(err, errno, "socket for '%s'", text);
    setsockopt(server->listener, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
    if (use->ai_family == AF_INET6)
        setsockopt(server->listener, IPPROTO_IPV6, IPV6_V6ONLY, &zero, sizeof(zero));
    if (bind(server->listener, use->ai_addr, use->ai_addrlen) < 0 ||
        listen(server->listener, SOMAXCONN) < 0)
        return kb_err_sys(err, errno, "listen on '%s'", text);
    struct sockaddr_storage bound = {0};
    socklen_t n = sizeof(bound);
    getsockname(server->listener, (struct sockaddr *)&bound, &n);
    server->port = ntohs(bound.ss_family == AF_INET6 ? ((struct sockaddr_in6 *)&bound)->sin6_port
                                                     : ((struct sockaddr_in *)&bound)->sin_port);
    return 0;
}

static void listen_on(struct kb_http_server *server, bool on)
{
    if (server->accepting == on || server->listener < 0)
        return;
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = server};
    epoll_ctl(server->epoll, on ? EPOLL_CTL_ADD : EPOLL_CTL_DEL, server->listener, &event);
    server->accepting = on;
}

static char *dup_or_null(const char *text)
{
    return text ? kb_str_dup(kb_str_of(text)) : NULL;
}

static void own_config(struct kb_http_server *server, const struct kb_http_config *config)
{
    server->config = *config;
    config_defaults(&server->config);
    server->config.cert_file = server->cert_file = dup_or_null(config->cert_file);
    server->config.key_file = server->key_file = dup_or_null(config->key_file);
    server->config.client_ca_file = server->client_ca_file = dup_or_null(config->client_ca_file);
}

int kb_http_server_new(const struct kb_http_config *config, struct kb_http_server **ret,
                       struct kb_err *err)
{
    KB_AUTO(kb_http_server_destroy) struct kb_http_server *server = calloc(1, sizeof(*server));
    KB_ASSERT(server != NULL && config->handler != NULL && config->handler->on_request != NULL);
    signal(SIGPIPE, SIG_IGN);
    server->magic = KB__SERVER_MAGIC;
    server->listener = server->epoll = -1;
    struct kb_link *heads[] = {&server->conns,  &server->dirty,   &server->ready,
                               &server->doomed, &server->drained, &server->free_reqs};
    for (size_t i = 0; i < KB_COUNT(heads); i++)
        kb_list_init(heads[i]);
    own_config(server, config);
    server->now_ms = kb_clock_now(kb_clock_system());
    server->scratch = malloc(KB__SCRATCH_BYTES);
    server->h2_callbacks = kb__h2_callbacks();
    server->h2_options = kb__h2_options();
    KB_ASSERT(server->scratch != NULL);
    server->epoll = epoll_create1(EPOLL_CLOEXEC);
    if (server->epoll < 0)
        return kb_err_sys(err, errno, "epoll");
    int rc = server->cert_file ? kb__tls_ctx(&server->config, &server->ctx, err) : 0;
    if (rc < 0 || (rc = open_listener(server, err)) < 0)
        return rc;
    server->config.listen = NULL;
    listen_on(server, true);
    *ret = KB_STEAL(server);
    return 0;
}

/* Each connection holds on to the context that it began with. */
int kb_http_server_renew(struct kb_http_server *server, struct kb_err *err)
{
    SSL_CTX *fresh = NULL;
    int rc = server->cert_file ? kb__tls_ctx(&server->config, &fresh, err) : 0;
    if (rc < 0 || fresh == NULL)
        return rc;
    SSL_CTX_free(server->ctx);
    server->ctx = fresh;
    return 0;
}

static void free_reqs_finish(struct kb_http_server *server)
{
    for (struct kb_link *link; (link = kb_list_pop(&server->free_reqs)) != NULL;) {
        struct kb_http_req *req = KB_CONTAINER(link, struct kb_http_req, link);
        kb_buf_finish(&req->text);
        kb_buf_finish(&req->body);
        kb_buf_finish(&req->head);
        free(req->fields);
        free(req);
    }
}

void kb_http_server_destroy(struct kb_http_server **server_p)
{
    struct kb_http_server *server = KB_STEAL(*server_p);
    if (server == NULL)
        return;
    KB_CHECK_OBJ(server, KB__SERVER_MAGIC);
    KB_LIST_EACH_SAFE(link, &server->conns)
    kb__conn_doom(KB_CONTAINER(link, struct kb__conn, link));
    for (struct kb_link *link; (link = kb_list_pop(&server->doomed)) != NULL;)
        kb__conn_destroy(KB_CONTAINER(link, struct kb__conn, doomed));
    free_reqs_finish(server);
    kb_timers_finish(&server->timers);
    kb_auto_close(&server->listener);
    kb_auto_close(&server->epoll);
    SSL_CTX_free(server->ctx);
    nghttp2_session_callbacks_del(server->h2_callbacks);
    nghttp2_option_del(server->h2_options);
    free(server->scratch);
    free(server->cert_file);
    free(server->key_file);
    free(server->client_ca_file);
    free(server);
}

int kb_http_server_fd(const struct kb_http_server *server)
{
    return server->epoll;
}

int kb_http_server_port(const struct kb_http_server *server)
{
    return server->port;
}

kb_ms kb_http_server_wait_ms(const struct kb_http_server *server, kb_ms now_ms)
{
    if (!kb_list_empty(&server->dirty) || !kb_list_empty(&server->ready) ||
        !kb_list_empty(&server->doomed) || !kb_list_empty(&server->drained))
        return 0;
    kb_ms wait_ms = kb_timers_wait_ms(&server->timers, now_ms);
    if (server->accept_again_ms) {
        kb_ms left_ms = server->accept_again_ms > now_ms ? server->accept_again_ms - now_ms : 0;
        wait_ms = wait_ms < 0 || left_ms < wait_ms ? left_ms : wait_ms;
    }
    return wait_ms;
}

static void socket_options(int fd)
{
    int one = 1, idle_s = 30, interval_s = 10, probes = 3, unacked_ms = 60000;
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
    setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &one, sizeof(one));
    setsockopt(fd, IPPROTO_TCP, TCP_KEEPIDLE, &idle_s, sizeof(idle_s));
    setsockopt(fd, IPPROTO_TCP, TCP_KEEPINTVL, &interval_s, sizeof(interval_s));
    setsockopt(fd, IPPROTO_TCP, TCP_KEEPCNT, &probes, sizeof(probes));
    setsockopt(fd, IPPROTO_TCP, TCP_USER_TIMEOUT, &unacked_ms, sizeof(unacked_ms));
}

/* Out of descriptors: look again in a while, rather than spin on a listener that stays readable. */
static void accept_pause(struct kb_http_server *server)
{
    listen_on(server, false);
    server->accept_again_ms = server->now_ms + ACCEPT_PAUSE_MS;
}

static void accept_some(struct kb_http_server *server)
{
    for (int i = 0; i < ACCEPTS_MAX; i++) {
        if (server->stats.conns >= server->config.max_conns) {
            accept_pause(server);
            return;
        }
        int fd = accept4(server->listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
        if (fd < 0 && (errno == EMFILE || errno == ENFILE || errno == ENOBUFS || errno == ENOMEM))
            accept_pause(server);
        if (fd < 0)
            return;
        socket_options(fd);
        server->stats.accepted++;
        kb__conn_accept(server, fd);
    }
}

static void take_events(struct kb_http_server *server)
{
    struct epoll_event events[EVENTS_MAX];
    int n = epoll_wait(server->epoll, events, EVENTS_MAX, 0);
    for (int i = 0; i < n; i++) {
        if (events[i].data.ptr == server)
            accept_some(server);
        else
            kb__conn_event(events[i].data.ptr, events[i].events);
    }
}

static void call_drained(struct kb_http_server *server)
{
    for (struct kb_link *link; (link = kb_list_pop(&server->drained)) != NULL;) {
        struct kb_http_req *req = KB_CONTAINER(link, struct kb_http_req, drained);
        if (!req->finished && !req->conn->dead && server->config.handler->on_drain)
            server->config.handler->on_drain(server->config.user, req);
    }
}

/* Input that was held back, output that is due; each may bring about more of the other. */
static void settle(struct kb_http_server *server)
{
    for (int pass = 0; pass < PASSES_MAX; pass++) {
        struct kb_link *link = kb_list_pop(&server->ready);
        while (link) {
            kb__conn_continue(KB_CONTAINER(link, struct kb__conn, ready));
            link = kb_list_empty(&server->dirty) ? kb_list_pop(&server->ready) : NULL;
        }
        while ((link = kb_list_pop(&server->dirty)) != NULL)
            kb__conn_flush(KB_CONTAINER(link, struct kb__conn, dirty));
        call_drained(server);
        if (kb_list_empty(&server->ready) && kb_list_empty(&server->dirty))
            return;
    }
}

void kb_http_server_step(struct kb_http_server *server, kb_ms now_ms)
{
    KB_CHECK_OBJ(server, KB__SERVER_MAGIC);
    server->now_ms = now_ms;
    server->stepping = true;
    take_events(server);
    if (server->accept_again_ms && now_ms >= server->accept_again_ms && !server->stopping) {
        server->accept_again_ms = 0;
        listen_on(server, true);
    }
    for (struct kb_timer *timer; (timer = kb_timers_pop(&server->timers, now_ms)) != NULL;)
        kb__conn_timer(KB_CONTAINER(timer, struct kb__conn, timer));
    settle(server);
    for (struct kb_link *link; (link = kb_list_pop(&server->doomed)) != NULL;)
        kb__conn_destroy(KB_CONTAINER(link, struct kb__conn, doomed));
    server->stepping = server->woken = false;
    if (kb_http_server_wait_ms(server, now_ms) == 0)
        kb__server_wake(server);
}

/* Work was queued: whoever runs the loop must step again. */
void kb__server_wake(struct kb_http_server *server)
{
    if (server->stepping || server->woken || server->config.wake == NULL)
        return;
    server->woken = true;
    server->config.wake(server->config.user);
}

void kb_http_server_stop(struct kb_http_server *server)
{
    if (server->stopping)
        return;
    server->stopping = true;
    listen_on(server, false);
    kb_auto_close(&server->listener);
    server->accept_again_ms = 0;
    KB_LIST_EACH_SAFE(link, &server->conns)
    {
        struct kb__conn *conn = KB_CONTAINER(link, struct kb__conn, link);
        if (conn->proto)
            conn->proto->stop(conn);
        else
            kb__conn_doom(conn);
    }
}

bool kb_http_server_idle(const struct kb_http_server *server)
{
    return kb_list_empty(&server->conns);
}

void kb_http_server_stats(const struct kb_http_server *server, struct kb_http_stats *ret)
{
    *ret = server->stats;
}

const char *kb__server_date(struct kb_http_server *server)
{
    time_t now = time(NULL);
    if (now != server->date_s) {
        struct tm tm;
        gmtime_r(&now, &tm);
        strftime(server->date, sizeof(server->date), "%a, %d %b %Y %H:%M:%S GMT", &tm);
        server->date_s = now;
    }
    return server->date;
}
