/* What the files of this folder share. Nobody outside includes it.
 *
 *   server.c  lifecycle, listener, the step        conn.c  bytes of one connection, TLS or plain
 *   tls.c     the SSL_CTX and who the client is    h1.c h2.c ws.c  the three protocols
 *   request.c what a request says                  reply.c answers; body.c their queue of bytes */
#ifndef KUBUS_API_HTTP_INTERNAL_H
#define KUBUS_API_HTTP_INTERNAL_H

#include "actors/api/http/server.h"
#include "bus/base/check.h"
#include "bus/base/limits.h"
#include "bus/base/list.h"
#include "bus/base/timers.h"
#include "bus/http/h1.h"
#include "bus/http/ws.h"

#include <nghttp2/nghttp2.h>
#include <openssl/ssl.h>
#include <zlib.h>

enum {
    KB__RECORD_BYTES = 16 * 1024,   /* a TLS record; what one write aims at */
    KB__SCRATCH_BYTES = 64 * 1024,  /* one read */
    KB__HELD_MAX_BYTES = 64 * 1024, /* read ahead while a request is being answered */
    KB__SEGMENTS_MAX = 32,
    KB__FIELDS_MAX = 128,
    KB__PARAMS_MAX = 1000,
    KB__REQ_BYTES = 4096, /* what a request costs beside its texts, roughly */
    KB__GROUPS_MAX = 32,
    KB__ROUNDS = 16 /* reads, or writes, of one connection before the others get their turn */
};

/* ---- body.c: bytes on their way to one client ---- */

/* Zero-initialized is empty and valid. */
struct kb__body {
    struct kb_blob **ring;
    size_t head, count, cap;
    size_t front_off; /* bytes of the front blob already taken */
    size_t bytes;     /* not yet taken */
    bool ended;       /* nothing more will be pushed */
    z_stream *gz;
    bool gz_done;
};

void kb__body_finish(struct kb__body *body);
void kb__body_push(struct kb__body *body, struct kb_blob *blob); /* takes the reference */
void kb__body_gzip(struct kb__body *body);                       /* before the first pull */
/* Move up to `cap` bytes into `out`; 0: nothing to take now, or never (kb__body_drained). */
size_t kb__body_pull(struct kb__body *body, char *out, size_t cap);
bool kb__body_drained(const struct kb__body *body);
/* Take the front blob out whole when at least `min` bytes of it are left and nothing transforms
 * them. The caller owns the reference. NULL otherwise. */
struct kb_blob *kb__body_take(struct kb__body *body, size_t min, size_t *ret_off);

/* ---- request.c ---- */

struct kb__field {
    uint32_t name, name_n, value, value_n; /* in `text`; name_n 0: merged into an earlier one */
};

struct kb__param {
    kb_str key, value;
};

struct kb_http_req {
    uint32_t magic;
#define KB__REQ_MAGIC 0x71e57a3bu
    struct kb__conn *conn;
    struct kb_link link;    /* conn->reqs, or server->free_reqs */
    struct kb_link drained; /* server->drained */

    struct kb_buf text; /* target, names and values one after the other */
    struct kb_buf body;
    struct kb__field *fields;
    size_t fields_n, fields_cap;
    uint32_t target, target_n; /* in `text` */
    bool value_began;          /* the piece that came last belonged to a value */
    enum kb_http_method method;
    char method_name[16];
    int problem;
    size_t accounted;      /* bytes of the body in server->body_bytes */
    size_t head_accounted; /* and of the rest in conn->head_bytes and server->head_bytes */

    kb_str path, query;
    char *decoded; /* memory of the segments and parameters */
    kb_str segments[KB__SEGMENTS_MAX];
    size_t segments_n;
    struct kb__param *params;
    size_t params_n;

    void *context;
    bool crowded_out; /* its head found no room among those under way */
    bool delivered;   /* on_request was called */
    bool finished;    /* the final act was done */
    bool started;     /* a head was given */
    bool head_staged;
    bool no_body; /* HEAD, 204, 304 */
    bool chunked;
    bool above_low;
    bool overflow;
    bool deferred; /* h2: nghttp2 waits for kb__req_wake */
    int32_t stream_id;
    struct kb_buf head; /* h1: ready to send */
    struct kb__body out;
};

/* NULL: heads that are under way, of all connections or of this one, take too much memory. */
struct kb_http_req *kb__req_new(struct kb__conn *conn);
void kb__req_free(struct kb_http_req *req); /* no callback */
/* on_close when the handler still waits, then free. */
void kb__req_gone(struct kb_http_req *req);
/* One byte string of the head; -1 when it goes over max_header_bytes, or, `crowded_out`, when heads
 * that are under way take too much memory. */
int kb__req_add_target(struct kb_http_req *req, kb_str piece);
int kb__req_add_name(struct kb_http_req *req, kb_str piece);
int kb__req_add_value(struct kb_http_req *req, kb_str piece);
void kb__req_set_method(struct kb_http_req *req, kb_str name);
/* The head is complete: split and decode. Sets `problem` on a malformed target. */
void kb__req_head_done(struct kb_http_req *req);
/* -1 with `problem` set when a limit is hit; the body is then empty. */
int kb__req_add_body(struct kb_http_req *req, kb_str piece);
void kb__req_deliver(struct kb_http_req *req);
/* `token` is one of the comma-separated words of the header, in any case. */
bool kb__req_header_has(const struct kb_http_req *req, const char *lower_name, const char *token);

/* ---- reply.c ---- */

/* After bytes were taken from req->out: is on_drain due? */
void kb__req_pulled(struct kb_http_req *req);
const char *kb__status_text(int status);

/* ---- conn.c ---- */

struct kb__proto {
    /* Take bytes; returns how many. Those that are left are offered again after kb__conn_resume.
     * Negative: the connection is broken (doomed by the callee or by the caller). */
    ptrdiff_t (*input)(struct kb__conn *conn, kb_str data);
    /* Append to conn->out, or set conn->direct. False: nothing to send now. */
    bool (*fill)(struct kb__conn *conn);
    void (*eof)(struct kb__conn *conn);
    void (*start)(struct kb_http_req *req, const struct kb_http_head *head, int64_t length);
    void (*wake)(struct kb_http_req *req); /* bytes were pushed, or the end was */
    void (*abort)(struct kb_http_req *req);
    void (*stop)(struct kb__conn *conn); /* no new requests */
};

struct kb__conn {
    uint32_t magic;
#define KB__CONN_MAGIC 0x4c0aa11du
    struct kb_http_server *server;
    int fd;
    SSL *ssl;
    struct kb_link link, dirty, ready, doomed;
    struct kb_timer timer;
    kb_ms in_deadline_ms, out_deadline_ms; /* 0: none */
    uint32_t interest;
    bool handshaking, blocked, dead, closing, lingering, eof, resume, paused;
    bool discard; /* what arrives is no longer of interest */
    const struct kb__proto *proto;

    struct kb_buf out;
    size_t out_off;
    struct kb_blob *direct;
    size_t direct_off;
    struct kb_buf in; /* arrived, not yet taken */

    struct kb_link reqs;
    size_t head_bytes; /* of these */
    struct kb_h1 *h1;
    struct kb_http_req *current; /* h1, ws: the one request under way */
    bool keep_alive;
    nghttp2_session *h2;
    size_t h2_reading;
    struct kb_ws_reader ws;
    bool ws_close_sent;

    enum kb_http_cert cert;
    char *user;
    char *groups[KB__GROUPS_MAX];
    size_t groups_n;
};

void kb__conn_accept(struct kb_http_server *server, int fd);
void kb__conn_event(struct kb__conn *conn, uint32_t events);
void kb__conn_continue(struct kb__conn *conn); /* take up what is in conn->in */
void kb__conn_flush(struct kb__conn *conn);
void kb__conn_timer(struct kb__conn *conn);
void kb__conn_destroy(struct kb__conn *conn); /* with on_close for its requests */
/* To be destroyed at the end of the step. */
void kb__conn_doom(struct kb__conn *conn);
void kb__conn_dirty(struct kb__conn *conn);                   /* has something to send */
void kb__conn_resume(struct kb__conn *conn);                  /* may go on with its input */
void kb__conn_expect(struct kb__conn *conn, kb_ms within_ms); /* 0: no time-out on input */
void kb__conn_watch(struct kb__conn *conn); /* bring the epoll interest up to date */

extern const struct kb__proto kb__proto_h1, kb__proto_h2, kb__proto_ws;
void kb__h1_begin(struct kb__conn *conn);
int kb__h2_begin(struct kb__conn *conn);
nghttp2_session_callbacks *kb__h2_callbacks(void);
nghttp2_option *kb__h2_options(void);

/* ---- tls.c ---- */

int kb__tls_ctx(const struct kb_http_config *config, SSL_CTX **ret, struct kb_err *err);
void kb__tls_identify(struct kb__conn *conn);

/* ---- server.c ---- */

struct kb_http_server {
    uint32_t magic;
#define KB__SERVER_MAGIC 0x5e27e202u
    struct kb_http_config config;
    char *cert_file, *key_file, *client_ca_file;
    SSL_CTX *ctx;
    int epoll, listener;
    int port;
    bool stopping, accepting, stepping, woken;
    kb_ms now_ms, accept_again_ms;
    struct kb_timers timers;
    struct kb_link conns, dirty, ready, doomed, drained, free_reqs;
    size_t free_reqs_n;
    size_t body_bytes, head_bytes;
    nghttp2_session_callbacks *h2_callbacks;
    nghttp2_option *h2_options;
    int64_t date_s;
    char date[40];
    char *scratch;
    struct kb_http_stats stats;
};

const char *kb__server_date(struct kb_http_server *server);
void kb__server_wake(struct kb_http_server *server);

#endif
