/* An HTTPS server for one thread's event loop: HTTP/1.1, HTTP/2 (by ALPN) and WebSocket.
 *
 *     srv = kb_http_server_new(&config, &err);
 *     for (;;) {
 *         … poll on kb_http_server_fd(srv) and the actor's other descriptors,
 *           for at most kb_http_server_wait_ms(srv, now) …
 *         … do what the bus brought: this may answer requests …
 *         kb_http_server_step(srv, now);   // every pass: it also sends what was just answered
 *     }
 *
 * WHO OWNS A REQUEST. `on_request` hands a request to its handler. It stays valid, however long the
 * answer takes, until exactly one of these: the handler's final act (kb_http_reply*,
 * kb_http_stream_end, kb_http_abort, kb_http_ws_close), or `on_close`, with which the server says
 * that the client went away. Afterwards the pointer is dead. Whoever waits for something on behalf
 * of a request keeps a pointer to its own context in kb_http_req_set_user and forgets the request
 * in on_close.
 *
 * WHEN CALLBACKS COME. Only from inside kb_http_server_step and kb_http_server_destroy; never from
 * within a reply function. A callback may use any function on any request but must not step.
 *
 * Nothing here is global; two servers (TLS and plain) can live in one process. */
#ifndef KUBUS_API_HTTP_SERVER_H
#define KUBUS_API_HTTP_SERVER_H

#include "actors/api/http/blob.h"
#include "bus/base/clock.h"
#include "bus/base/err.h"

struct kb_http_server; /* opaque */
struct kb_http_req;    /* opaque */

/* ---- the server ---- */

struct kb_http_handler {
    /* A request, complete with its body. Look at kb_http_req_problem first. */
    void (*on_request)(void *user, struct kb_http_req *req);
    /* The client went away before the final act; `req` dies when this returns. May be NULL. */
    void (*on_close)(void *user, struct kb_http_req *req);
    /* The queue of a stream or WebSocket that stood above kb_http_config.low_water has fallen
     * below: write on. May be NULL. */
    void (*on_drain)(void *user, struct kb_http_req *req);
    /* A whole WebSocket message, text or binary, valid during the call. NULL: none is accepted. */
    void (*on_message)(void *user, struct kb_http_req *req, kb_str data, bool text);
};

/* Bounds and time-outs; 0 takes the default in brackets. */
struct kb_http_config {
    const char *listen; /* "127.0.0.1:6443", "[::1]:6443", ":6443" (any address), port 0: choose */
    /* PEM files; cert_file NULL means plain HTTP, for tests. client_ca_file NULL: no client
     * certificates. */
    const char *cert_file, *key_file, *client_ca_file;
    const struct kb_http_handler *handler; /* must outlive the server */
    /* Called when something was answered outside of a step, once until the next: call step soon.
     * May be NULL for a loop that steps in each pass. */
    void (*wake)(void *user);
    void *user;

    size_t max_conns;        /* [20,000] further clients wait in the backlog */
    size_t max_header_bytes; /* [64 KiB] request line and headers: 431 */
    size_t max_body_bytes;   /* [KB_BODY_MAX_BYTES] */
    size_t max_body_total;   /* [128 MiB] bodies under way on all connections together */
    size_t max_head_total;   /* [256 MiB] their heads; of one connection a sixteenth: 503 */
    size_t max_queue_bytes;  /* [16 MiB] unsent bytes of one stream: more closes that client */
    size_t low_water;        /* [256 KiB] */
    size_t max_ws_bytes;     /* [1 MiB] one WebSocket message from a client */
    size_t gzip_min_bytes;   /* [128 KiB] smaller bodies are never compressed */
    kb_ms handshake_ms;      /* [10 s] TLS, from accept to done */
    kb_ms header_ms;         /* [30 s] from a request's first byte to the end of its headers */
    kb_ms body_ms;           /* [60 s] and of its body */
    kb_ms idle_ms;           /* [180 s] between requests of a connection */
    kb_ms stall_ms;          /* [30 s] bytes to send, and the peer takes none */
};

/* -KB_EINVAL (addresses, PEM), -KB_EIO (bind, listen). Caller owns it. From here on the process
 * ignores SIGPIPE: OpenSSL writes to a client that is gone with write(2), which has no
 * MSG_NOSIGNAL. */
int kb_http_server_new(const struct kb_http_config *config, struct kb_http_server **ret,
                       struct kb_err *err);
/* Read the PEM files again: who connects from here on is shown the certificate that they hold now;
 * connections that are open stay as they are. On failure all stays as it was. -KB_EINVAL. */
int kb_http_server_renew(struct kb_http_server *server, struct kb_err *err);
/* Closes every connection; on_close comes for each request that is still open. */
void kb_http_server_destroy(struct kb_http_server **server_p);

int kb_http_server_fd(const struct kb_http_server *server); /* readable: step has work */
int kb_http_server_port(const struct kb_http_server *server);
/* Milliseconds until step has timers to fire; 0 when it has work now; -1: only the fd counts. */
kb_ms kb_http_server_wait_ms(const struct kb_http_server *server, kb_ms now_ms);
/* Take what arrived, fire time-outs, send what was answered. Never blocks. */
void kb_http_server_step(struct kb_http_server *server, kb_ms now_ms);

/* Stop taking connections and requests; those under way may finish. kb_http_server_idle then turns
 * true when the last connection is gone. Streams are ended by their handlers. */
void kb_http_server_stop(struct kb_http_server *server);
bool kb_http_server_idle(const struct kb_http_server *server);

struct kb_http_stats {
    uint64_t accepted, requests, bytes_in, bytes_out, overflows, timeouts, protocol_errors;
    uint64_t tls_failures;
    size_t conns, open_requests;
};
void kb_http_server_stats(const struct kb_http_server *server, struct kb_http_stats *ret);

/* ---- a request: what it says. All strings are valid as long as the request. ---- */

enum kb_http_method {
    KB_HTTP_GET,
    KB_HTTP_HEAD,
    KB_HTTP_POST,
    KB_HTTP_PUT,
    KB_HTTP_PATCH,
    KB_HTTP_DELETE,
    KB_HTTP_OPTIONS,
    KB_HTTP_OTHER
};

/* Why the request must not be served as it is; answer it with a Status of that code.
 * 0: fine. KB_E2BIG: the body went over the limit (and is empty here). KB_EINVAL: the target is
 * malformed. KB_EUNAVAILABLE: all bodies together went over max_body_total. */
int kb_http_req_problem(const struct kb_http_req *req);

enum kb_http_method kb_http_req_method(const struct kb_http_req *req);
kb_str kb_http_req_method_name(const struct kb_http_req *req);
kb_str kb_http_req_target(const struct kb_http_req *req); /* as sent: path and query */
kb_str kb_http_req_path(const struct kb_http_req *req);   /* as sent, still encoded */
/* Segments of the path, decoded, empty ones left out: "/api/v1/pods" has 3. */
size_t kb_http_req_segments(const struct kb_http_req *req);
kb_str kb_http_req_segment(const struct kb_http_req *req, size_t at); /* empty when out of range */
/* Decoded query parameters in the order sent; *cursor starts at 0. */
bool kb_http_req_param_next(const struct kb_http_req *req, size_t *cursor, kb_str *ret_key,
                            kb_str *ret_value);
/* The first parameter of that name; false when there is none. ret_value may be NULL. */
bool kb_http_req_param(const struct kb_http_req *req, const char *name, kb_str *ret_value);
/* A header's value, by its name in lower case; empty when absent. Repeated headers are joined with
 * ", " as RFC 9110 says. */
kb_str kb_http_req_header(const struct kb_http_req *req, const char *lower_name);
kb_str kb_http_req_body(const struct kb_http_req *req);
int kb_http_req_protocol(const struct kb_http_req *req); /* 1 or 2: the major version of HTTP */

/* Who speaks, by the client certificate. BAD: one was shown, and it does not verify: answer 401. */
enum kb_http_cert { KB_HTTP_CERT_NONE, KB_HTTP_CERT_OK, KB_HTTP_CERT_BAD };
enum kb_http_cert kb_http_req_cert(const struct kb_http_req *req);
kb_str kb_http_req_user(const struct kb_http_req *req); /* CN; empty unless CERT_OK */
size_t kb_http_req_groups(const struct kb_http_req *req);
kb_str kb_http_req_group(const struct kb_http_req *req, size_t at); /* O */

/* The handler's own context of this request. */
void kb_http_req_set_user(struct kb_http_req *req, void *context);
void *kb_http_req_context(const struct kb_http_req *req);

/* ---- answers ---- */

struct kb_http_header {
    const char *name; /* in lower case */
    const char *value;
};

struct kb_http_head {
    int status;
    const char *content_type; /* NULL: none */
    const struct kb_http_header *headers;
    size_t headers_n;
    bool compress; /* a stream: compress it when the client takes gzip; it is then not timely */
};

/* The whole answer, and the final act. `body` is copied; the blob's reference is taken (*blob_p
 * becomes NULL). Compressed when it is large and the client takes gzip. */
void kb_http_reply(struct kb_http_req *req, const struct kb_http_head *head, kb_str body);
void kb_http_reply_blob(struct kb_http_req *req, const struct kb_http_head *head,
                        struct kb_blob **blob_p);
/* The same with a body in pieces, each of which may stand in other answers too. */
void kb_http_reply_blobs(struct kb_http_req *req, const struct kb_http_head *head,
                         struct kb_blob **blobs, size_t blobs_n);

/* An answer in pieces: start, any number of writes, end (the final act). A write takes its own
 * reference of the blob. 0, or -KB_EFULL: the client does not keep up, its queue would exceed
 * max_queue_bytes; it is being closed (on_close follows), further writes do nothing. */
void kb_http_stream_start(struct kb_http_req *req, const struct kb_http_head *head);
int kb_http_stream_write(struct kb_http_req *req, struct kb_blob *blob);
void kb_http_stream_end(struct kb_http_req *req);
size_t
kb_http_stream_queued(const struct kb_http_req *req); /* bytes not yet handed to the socket */

/* Break the answer off so that the client notices: reset of the stream, or of the connection. The
 * final act; on_close does not follow. */
void kb_http_abort(struct kb_http_req *req);

/* ---- WebSocket, over HTTP/1.1 ---- */

/* The request is a well-formed handshake, of version 13. */
bool kb_http_req_is_websocket(const struct kb_http_req *req);
/* The first of `ours` (in our order of preference, NULL-terminated) that the client offers in
 * Sec-WebSocket-Protocol; NULL when none is. */
const char *kb_http_ws_choose(const struct kb_http_req *req, const char *const *ours);
/* Answer 101 with that subprotocol (NULL: none). From now on on_message, on_drain, on_close.
 * Only for kb_http_req_is_websocket. */
void kb_http_ws_accept(struct kb_http_req *req, const char *subprotocol);
/* One message of `prefix` and `data` together (prefix: the channel byte of Kubernetes' streams, may
 * be empty). 0, or -KB_EFULL as kb_http_stream_write. */
int kb_http_ws_send(struct kb_http_req *req, kb_str prefix, kb_str data, bool text);
/* While paused, nothing is read from this client: on_message does not come. */
void kb_http_ws_pause(struct kb_http_req *req, bool paused);
/* Send what is queued, then a close frame; the final act. */
void kb_http_ws_close(struct kb_http_req *req, int code, const char *reason);

#endif
