#include "tests/unit/api/http_fixture.h"

#include "actors/api/certs.h"
#include "bus/base/check.h"
#include "bus/http/h1.h"

#include <arpa/inet.h>
#include <openssl/x509.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

/* ---- the server's side ---- */

struct app {
    struct kb_http_server *server;
    struct kb_certs *certs; /* NULL without TLS */
    unsigned closed;
    bool stopping;
    struct kb_http_req *held[64];
    size_t held_n;
};

struct pump {
    size_t left, size, queue;
};

static const struct kb_http_head ok = {.status = 200, .content_type = "text/plain"};

static uint64_t number(struct kb_http_req *req, const char *name)
{
    kb_str text;
    uint64_t value = 0;
    if (kb_http_req_param(req, name, &text))
        kb_str_u64(text, &value);
    return value;
}

static void renew(struct app *app, struct kb_http_req *req)
{
    struct kb_err err = {0};
    int64_t days_us = (int64_t)number(req, "days") * 86400 * 1000000;
    int rc = kb_certs_check(app->certs, app->server, kb_clock_wall_us(kb_clock_system()) + days_us,
                            &err);
    kb_http_reply(req, &ok, kb_str_of(rc > 0 ? "renewed" : rc == 0 ? "good" : err.text));
}

static struct kb_blob *filler(size_t n)
{
    struct kb_buf buf = {0};
    char *at = kb_buf_reserve(&buf, n);
    for (size_t i = 0; i < n; i++)
        at[i] = (char)('a' + i % 26);
    buf.n = n;
    return kb_blob_take(&buf);
}

static void info(struct kb_http_req *req)
{
    KB_AUTO(kb_buf_finish) struct kb_buf out = {0};
    kb_buf_printf(&out, "%.*s h%d", KB_STR_ARG(kb_http_req_method_name(req)),
                  kb_http_req_protocol(req));
    for (size_t i = 0; i < kb_http_req_segments(req); i++)
        kb_buf_printf(&out, " [%.*s]", KB_STR_ARG(kb_http_req_segment(req, i)));
    kb_str key, value;
    for (size_t at = 0; kb_http_req_param_next(req, &at, &key, &value);)
        kb_buf_printf(&out, " %.*s=%.*s;", KB_STR_ARG(key), KB_STR_ARG(value));
    kb_buf_printf(&out, " cert=%d user=%.*s", kb_http_req_cert(req),
                  KB_STR_ARG(kb_http_req_user(req)));
    for (size_t i = 0; i < kb_http_req_groups(req); i++)
        kb_buf_printf(&out, " group=%.*s", KB_STR_ARG(kb_http_req_group(req, i)));
    kb_buf_printf(&out, " accept=%.*s", KB_STR_ARG(kb_http_req_header(req, "accept")));
    kb_http_reply(req, &ok, kb_buf_str(&out));
}

static void stream(struct kb_http_req *req)
{
    struct kb_blob *blob = filler(number(req, "size"));
    kb_http_stream_start(req, &ok);
    for (uint64_t n = number(req, "n"); n > 0; n--)
        kb_http_stream_write(req, blob);
    kb_blob_unref(&blob);
    kb_http_stream_end(req);
}

/* The filler's text in `n` pieces, each of which stands there once alone. */
static void pieces(struct kb_http_req *req)
{
    struct kb_blob *blobs[100];
    struct kb_blob *whole = filler(number(req, "size"));
    size_t n = number(req, "n"), from = 0;
    KB_ASSERT(n > 0 && n <= KB_COUNT(blobs));
    for (size_t i = 0; i < n; i++) {
        size_t to = whole->n * (i + 1) / n;
        blobs[i] = kb_blob_new(kb_str_n(whole->p + from, to - from));
        from = to;
    }
    kb_blob_unref(&whole);
    kb_http_reply_blobs(req, &ok, blobs, n);
}

static void flood(struct kb_http_req *req)
{
    struct kb_blob *blob = filler(64 * 1024);
    kb_http_stream_start(req, &ok);
    while (kb_http_stream_write(req, blob) == 0)
        ;
    kb_blob_unref(&blob);
}

static void pump_on(struct kb_http_req *req)
{
    struct pump *pump = kb_http_req_context(req);
    struct kb_blob *blob = filler(pump->size);
    while (pump->left > 0 && kb_http_stream_queued(req) < pump->queue) {
        kb_http_stream_write(req, blob);
        pump->left--;
    }
    kb_blob_unref(&blob);
    if (pump->left == 0) {
        free(pump);
        kb_http_req_set_user(req, NULL);
        kb_http_stream_end(req);
    }
}

static void ws(struct kb_http_req *req)
{
    static const char *const ours[] = {"v5.channel.k8s.io", "v4.channel.k8s.io", NULL};
    if (!kb_http_req_is_websocket(req)) {
        struct kb_http_head bad = {.status = 400};
        kb_http_reply(req, &bad, (kb_str){0});
        return;
    }
    kb_http_ws_accept(req, kb_http_ws_choose(req, ours));
}

static void release(struct app *app)
{
    for (size_t i = 0; i < app->held_n; i++)
        if (app->held[i])
            kb_http_reply(app->held[i], &ok, kb_str_of("released"));
    app->held_n = 0;
}

static void problem(struct kb_http_req *req)
{
    struct kb_http_head head = {.status = kb_err_http(kb_http_req_problem(req))};
    kb_http_reply(req, &head, kb_str_of("problem"));
}

static void on_request(void *user, struct kb_http_req *req)
{
    struct app *app = user;
    kb_str what = kb_http_req_segment(req, 0);
    struct kb_http_head missing = {.status = 404};
    struct kb_blob *blob = NULL;
    if (kb_http_req_problem(req)) {
        problem(req);
    } else if (kb_str_is(what, "hello")) {
        kb_http_reply(req, &ok, kb_str_of("hello\n"));
    } else if (kb_str_is(what, "pieces")) {
        pieces(req);
    } else if (kb_str_is(what, "echo")) {
        kb_http_reply(req, &ok, kb_http_req_body(req));
    } else if (kb_str_is(what, "info")) {
        info(req);
    } else if (kb_str_is(what, "closed")) {
        char text[16];
        snprintf(text, sizeof(text), "%u", app->closed);
        kb_http_reply(req, &ok, kb_str_of(text));
    } else if (kb_str_is(what, "hold")) {
        app->held[app->held_n++] = req;
    } else if (kb_str_is(what, "release")) {
        release(app);
        kb_http_reply(req, &ok, kb_str_of("done"));
    } else if (kb_str_is(what, "big")) {
        blob = filler(number(req, "size"));
        kb_http_reply_blob(req, &ok, &blob);
    } else if (kb_str_is(what, "stream")) {
        stream(req);
    } else if (kb_str_is(what, "flood")) {
        flood(req);
    } else if (kb_str_is(what, "drain")) {
        struct pump *pump = calloc(1, sizeof(*pump));
        pump->size = 16 * 1024;
        pump->left = number(req, "total") / pump->size;
        pump->queue = number(req, "queue");
        kb_http_req_set_user(req, pump);
        kb_http_stream_start(req, &ok);
        pump_on(req);
    } else if (kb_str_is(what, "ws")) {
        ws(req);
    } else if (kb_str_is(what, "renew")) {
        renew(app, req);
    } else if (kb_str_is(what, "stop")) {
        kb_http_reply(req, &ok, kb_str_of("stopping"));
        kb_http_server_stop(app->server);
        app->stopping = true;
    } else if (!kb_str_is(what, "never")) {
        kb_http_reply(req, &missing, kb_str_of("missing"));
    }
}

static void on_close(void *user, struct kb_http_req *req)
{
    struct app *app = user;
    app->closed++;
    free(kb_http_req_context(req));
    for (size_t i = 0; i < app->held_n; i++)
        if (app->held[i] == req)
            app->held[i] = NULL;
}

static void on_drain(void *user, struct kb_http_req *req)
{
    (void)user;
    if (kb_http_req_context(req))
        pump_on(req);
}

static void on_message(void *user, struct kb_http_req *req, kb_str data, bool text)
{
    (void)user;
    if (kb_str_is(data, "bye"))
        kb_http_ws_close(req, 1000, "as you wish");
    else if (kb_str_is(data, "flood"))
        while (kb_http_ws_send(req, kb_str_of("\1"), kb_str_of("more and more"), false) == 0)
            ;
    else
        kb_http_ws_send(req, kb_str_of(text ? "" : "\1"), data, text);
}

static const struct kb_http_handler handler = {on_request, on_close, on_drain, on_message};

__attribute__((noreturn)) static void run_server(struct kb_http_config *config,
                                                 struct kb_certs *certs, int port_fd)
{
    struct app app = {.certs = certs};
    struct kb_err err = {0};
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    config->handler = &handler;
    config->user = &app;
    if (kb_http_server_new(config, &app.server, &err) < 0) {
        fprintf(stderr, "server: %s\n", err.text);
        _exit(1);
    }
    int port = kb_http_server_port(app.server);
    if (write(port_fd, &port, sizeof(port)) != sizeof(port))
        _exit(1);
    close(port_fd);
    const struct kb_clock *clock = kb_clock_system();
    for (;;) {
        struct pollfd fd = {.fd = kb_http_server_fd(app.server), .events = POLLIN};
        poll(&fd, 1, (int)kb_http_server_wait_ms(app.server, kb_clock_now(clock)));
        kb_http_server_step(app.server, kb_clock_now(clock));
        if (app.stopping && kb_http_server_idle(app.server))
            break;
    }
    kb_http_server_destroy(&app.server);
    _exit(0);
}

static const char *pki_file(const struct served *served, const char *name, char out[320])
{
    snprintf(out, 320, "%s/%s", served->dir, name);
    return out;
}

struct served serve(struct kb_http_config config, bool tls)
{
    struct served served = {.tls = tls};
    struct kb_err err = {0};
    int pipe_fd[2];
    KB_AUTO(kb_certs_destroy) struct kb_certs *certs = NULL;
    config.listen = "127.0.0.1:0";
    if (tls) {
        snprintf(served.dir, sizeof(served.dir), "%s/pki", kb_test_dir());
        struct kb_pki_config pki = {
            .dir = served.dir, .host = "127.0.0.1", .wall_us = kb_clock_wall_us(kb_clock_system())};
        KB_CHECK_OK(kb_certs_new(&pki, &certs, &err), &err);
        kb_certs_use(certs, &config);
    }
    KB_CHECK(pipe(pipe_fd) == 0);
    served.pid = fork();
    if (served.pid == 0) {
        close(pipe_fd[0]);
        run_server(&config, certs, pipe_fd[1]);
    }
    close(pipe_fd[1]);
    KB_CHECK(read(pipe_fd[0], &served.port, sizeof(int)) == sizeof(int));
    close(pipe_fd[0]);
    return served;
}

void served_end(struct served *served)
{
    int status;
    KB_CHECK_I64(waitpid(served->pid, &status, WNOHANG), ==, 0); /* it must still be alive */
    kill(served->pid, SIGKILL);
    waitpid(served->pid, &status, 0);
}

/* ---- the client's side ---- */

static void self_sign(SSL_CTX *ctx)
{
    EVP_PKEY *key = EVP_EC_gen("P-256");
    X509 *cert = X509_new();
    X509_set_version(cert, X509_VERSION_3);
    ASN1_INTEGER_set(X509_get_serialNumber(cert), 7);
    X509_gmtime_adj(X509_getm_notBefore(cert), -60);
    X509_gmtime_adj(X509_getm_notAfter(cert), 3600);
    X509_NAME *name = X509_get_subject_name(cert);
    X509_NAME_add_entry_by_txt(name, "O", MBSTRING_UTF8, (const unsigned char *)"system:masters",
                               -1, -1, 0);
    X509_NAME_add_entry_by_txt(name, "CN", MBSTRING_UTF8, (const unsigned char *)"kubernetes-admin",
                               -1, -1, 0);
    X509_set_issuer_name(cert, name);
    X509_set_pubkey(cert, key);
    X509_sign(cert, key, EVP_sha256());
    SSL_CTX_use_certificate(ctx, cert);
    SSL_CTX_use_PrivateKey(ctx, key);
    X509_free(cert);
    EVP_PKEY_free(key);
}

struct client dial_alpn(const struct served *served, enum client_cert cert, const char *alpn)
{
    struct client client = {.fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)};
    struct sockaddr_in to = {.sin_family = AF_INET,
                             .sin_port = htons((uint16_t)served->port),
                             .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    struct timeval patience = {.tv_sec = 20};
    char path[320];
    signal(SIGPIPE, SIG_IGN);
    setsockopt(client.fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience));
    KB_CHECK(connect(client.fd, (struct sockaddr *)&to, sizeof(to)) == 0);
    if (!served->tls)
        return client;
    client.ctx = SSL_CTX_new(TLS_client_method());
    KB_CHECK(SSL_CTX_load_verify_file(client.ctx, pki_file(served, "ca.crt", path)) == 1);
    SSL_CTX_set_verify(client.ctx, SSL_VERIFY_PEER, NULL);
    if (cert == ADMIN_CERT) {
        SSL_CTX_use_certificate_file(client.ctx, pki_file(served, "admin.crt", path),
                                     SSL_FILETYPE_PEM);
        SSL_CTX_use_PrivateKey_file(client.ctx, pki_file(served, "admin.key", path),
                                    SSL_FILETYPE_PEM);
    } else if (cert == SELF_SIGNED_CERT) {
        self_sign(client.ctx);
    }
    if (alpn)
        SSL_CTX_set_alpn_protos(client.ctx, (const unsigned char *)alpn, (unsigned)strlen(alpn));
    client.ssl = SSL_new(client.ctx);
    SSL_set1_host(client.ssl, "kubernetes.default.svc");
    X509_VERIFY_PARAM_set_time(SSL_get0_param(client.ssl),
                               time(NULL) + (time_t)served->ahead_days * 86400);
    SSL_set_fd(client.ssl, client.fd);
    KB_CHECK(SSL_connect(client.ssl) == 1);
    return client;
}

struct client dial(const struct served *served, enum client_cert cert)
{
    return dial_alpn(served, cert, NULL);
}

void client_close(struct client *client)
{
    SSL_free(client->ssl);
    SSL_CTX_free(client->ctx);
    kb_auto_close(&client->fd);
    kb_buf_finish(&client->in);
}

void client_send(struct client *client, kb_str data)
{
    while (data.n > 0) {
        ssize_t n = client->ssl ? SSL_write(client->ssl, data.p, (int)data.n)
                                : send(client->fd, data.p, data.n, MSG_NOSIGNAL);
        if (n <= 0)
            return; /* the server hung up; the test sees that when it reads */
        data = kb_str_n(data.p + n, data.n - (size_t)n);
    }
}

void client_puts(struct client *client, const char *text)
{
    client_send(client, kb_str_of(text));
}

bool client_read(struct client *client)
{
    char *at = kb_buf_reserve(&client->in, 65536);
    ssize_t n = client->ssl ? SSL_read(client->ssl, at, 65536) : recv(client->fd, at, 65536, 0);
    if (n > 0)
        client->in.n += (size_t)n;
    client->in.p[client->in.n] = '\0';
    return n > 0;
}

struct reading {
    struct answer *answer;
    bool to_head, complete;
};

static int take_head(void *user, kb_str piece)
{
    struct reading *reading = user;
    kb_buf_add_str(&reading->answer->head, piece);
    return 0;
}

static int take_name(void *user, kb_str piece)
{
    struct reading *reading = user;
    kb_buf_putc(&reading->answer->head, '\n');
    return take_head(user, piece);
}

static int take_value(void *user, kb_str piece)
{
    struct reading *reading = user;
    kb_buf_puts(&reading->answer->head, ": ");
    return take_head(user, piece);
}

static enum kb_h1_verdict take_head_end(void *user)
{
    struct reading *reading = user;
    return reading->to_head ? KB_H1_NO_BODY : KB_H1_GO;
}

static int take_body(void *user, kb_str piece)
{
    struct reading *reading = user;
    kb_buf_add_str(&reading->answer->body, piece);
    return 0;
}

static void take_end(void *user)
{
    struct reading *reading = user;
    reading->complete = true;
}

struct answer client_answer(struct client *client, bool to_head)
{
    static const struct kb_h1_events events = {.name = take_name,
                                               .value = take_value,
                                               .head = take_head_end,
                                               .body = take_body,
                                               .complete = take_end};
    struct answer answer = {0};
    struct reading reading = {&answer, to_head, false};
    struct kb_err err = {0};
    struct kb_h1 *h1 = kb_h1_new(KB_H1_RESPONSE, &events, &reading);
    while (!reading.complete) {
        if (client->in.n == 0 && !client_read(client)) {
            answer.closed = true;
            kb_h1_eof(h1, &err);
            break;
        }
        ptrdiff_t n = kb_h1_feed(h1, kb_buf_str(&client->in), &err);
        KB_CHECK_OK((int)(n < 0 ? n : 0), &err);
        kb_buf_drop(&client->in, (size_t)n);
        if (kb_h1_status(h1) == 100 && reading.complete) {
            reading.complete = false;
            kb_buf_clear(&answer.head);
            kb_h1_next(h1);
        }
    }
    answer.status = reading.complete ? kb_h1_status(h1) : 0;
    answer.closed |= reading.complete && !kb_h1_keep_alive(h1);
    kb_h1_destroy(&h1);
    kb_buf_add(&answer.head, "", 0);
    kb_buf_add(&answer.body, "", 0);
    return answer;
}

void answer_finish(struct answer *answer)
{
    kb_buf_finish(&answer->head);
    kb_buf_finish(&answer->body);
}

struct answer ask(struct client *client, const char *line, const char *headers, kb_str body)
{
    KB_AUTO(kb_buf_finish) struct kb_buf out = {0};
    kb_buf_printf(&out, "%s HTTP/1.1\r\nHost: test\r\n%s", line, headers);
    if (body.n > 0)
        kb_buf_printf(&out, "Content-Length: %zu\r\n", body.n);
    kb_buf_puts(&out, "\r\n");
    kb_buf_add_str(&out, body);
    client_send(client, kb_buf_str(&out));
    return client_answer(client, kb_str_starts(kb_str_of(line), "HEAD"));
}

struct answer get(struct client *client, const char *path)
{
    KB_AUTO(kb_auto_free) char *line = kb_strf("GET %s", path);
    return ask(client, line, "", (kb_str){0});
}

void wait_for(const struct served *served, const char *path, const char *body)
{
    for (int tries = 0; tries < 2000; tries++) {
        KB_AUTO(client_close) struct client client = dial(served, NO_CERT);
        KB_AUTO(answer_finish) struct answer answer = get(&client, path);
        if (strcmp(answer.body.p, body) == 0)
            return;
        poll(NULL, 0, 2);
    }
    kb_test_fail(__FILE__, __LINE__, "%s never answered '%s'", path, body);
}
