/* h1.c - HTTP/1.1 on a connection: one request at a time.
 *
 * The parser stops after each message and goes on when its answer is staged, so answers to
 * pipelined requests leave in order without a queue of requests. A request that is refused while
 * its body is still coming is answered at once, and the connection closed after a moment of reading
 * on. */
#include "actors/api/http/internal.h"

static int on_target(void *user, kb_str piece)
{
    struct kb__conn *conn = user;
    return kb__req_add_target(conn->current, piece);
}

static int on_name(void *user, kb_str piece)
{
    struct kb__conn *conn = user;
    return kb__req_add_name(conn->current, piece);
}

static int on_value(void *user, kb_str piece)
{
    struct kb__conn *conn = user;
    return kb__req_add_value(conn->current, piece);
}

static int on_begin(void *user)
{
    struct kb__conn *conn = user;
    KB_ASSERT(conn->current == NULL);
    conn->current = kb__req_new(conn);
    kb__conn_expect(conn, conn->server->config.header_ms);
    return conn->current ? 0 : -1;
}

/* The client waits for leave to send its body. */
static void expect_continue(struct kb__conn *conn, uint64_t length)
{
    if (length == 0 || kb_h1_is_1_0(conn->h1) ||
        !kb__req_header_has(conn->current, "expect", "100-continue"))
        return;
    kb_buf_puts(&conn->out, "HTTP/1.1 100 Continue\r\n\r\n");
    kb__conn_dirty(conn);
}

static enum kb_h1_verdict on_head(void *user)
{
    struct kb__conn *conn = user;
    struct kb_http_req *req = conn->current;
    uint64_t length = kb_h1_length(conn->h1);
    kb__req_set_method(req, kb_h1_method(conn->h1));
    kb__req_head_done(req);
    conn->keep_alive = kb_h1_keep_alive(conn->h1) && !conn->server->stopping;
    if (!kb_h1_is_1_0(conn->h1) && kb_http_req_header(req, "host").n == 0)
        req->problem = KB_EINVAL;
    if (length != UINT64_MAX && length > conn->server->config.max_body_bytes)
        req->problem = KB_E2BIG;
    if (req->problem) {
        conn->keep_alive = false;
        conn->discard = true;
        return KB_H1_NO_BODY;
    }
    expect_continue(conn, length);
    kb__conn_expect(conn, conn->server->config.body_ms);
    return KB_H1_GO;
}

static int on_body(void *user, kb_str piece)
{
    struct kb__conn *conn = user;
    return kb__req_add_body(conn->current, piece);
}

static void on_complete(void *user)
{
    struct kb__conn *conn = user;
    kb__conn_expect(conn, 0);
    kb__req_deliver(conn->current);
}

static const struct kb_h1_events events = {.begin = on_begin,
                                           .target = on_target,
                                           .name = on_name,
                                           .value = on_value,
                                           .head = on_head,
                                           .body = on_body,
                                           .complete = on_complete};

void kb__h1_begin(struct kb__conn *conn)
{
    conn->proto = &kb__proto_h1;
    conn->h1 = kb_h1_new(KB_H1_REQUEST, &events, conn);
    kb__conn_expect(conn, conn->server->config.idle_ms);
}

/* No request to answer: say it in the shortest way and hang up. */
static void refuse(struct kb__conn *conn, const char *status)
{
    conn->server->stats.protocol_errors++;
    if (conn->current) {
        kb__req_free(conn->current);
        conn->current = NULL;
    }
    kb_buf_printf(&conn->out,
                  "HTTP/1.1 %s\r\ncontent-type: text/plain; charset=utf-8\r\n"
                  "connection: close\r\n\r\n%s",
                  status, status);
    conn->discard = conn->closing = true;
    kb__conn_dirty(conn);
}

static ptrdiff_t h1_input(struct kb__conn *conn, kb_str data)
{
    struct kb_err err;
    if (kb_h1_stopped(conn->h1))
        return 0;
    ptrdiff_t n = kb_h1_feed(conn->h1, data, &err);
    if (n >= 0)
        return n;
    struct kb_http_req *req = conn->current;
    if (n == -KB_ECANCELED && req && req->problem) { /* the body went over a limit */
        conn->keep_alive = false;
        conn->discard = true;
        on_complete(conn);
    } else if (n == -KB_ECANCELED && (req == NULL || req->crowded_out)) {
        refuse(conn, "503 Service Unavailable");
    } else if (n == -KB_ECANCELED) {
        refuse(conn, "431 Request Header Fields Too Large");
    } else {
        refuse(conn, "400 Bad Request");
    }
    return (ptrdiff_t)data.n;
}

static void put_header(struct kb_buf *out, const char *name, const char *value)
{
    kb_buf_puts(out, name);
    kb_buf_add(out, ": ", 2);
    kb_buf_puts(out, value);
    kb_buf_add(out, "\r\n", 2);
}

static void h1_start(struct kb_http_req *req, const struct kb_http_head *head, int64_t length)
{
    struct kb__conn *conn = req->conn;
    struct kb_buf *out = &req->head;
    bool switching = head->status == 101;
    req->chunked = length < 0 && !req->no_body && !switching && !kb_h1_is_1_0(conn->h1);
    conn->keep_alive &=
        !conn->server->stopping && (length >= 0 || req->chunked || req->no_body || switching);
    kb_buf_puts(out, "HTTP/1.1 ");
    kb_buf_puti(out, head->status);
    kb_buf_putc(out, ' ');
    kb_buf_puts(out, kb__status_text(head->status));
    kb_buf_puts(out, "\r\n");
    for (size_t i = 0; i < head->headers_n; i++)
        put_header(out, head->headers[i].name, head->headers[i].value);
    if (head->content_type)
        put_header(out, "content-type", head->content_type);
    if (!switching)
        put_header(out, "date", kb__server_date(conn->server));
    if (req->chunked)
        put_header(out, "transfer-encoding", "chunked");
    else if (length >= 0 && head->status != 204 && head->status != 304) {
        kb_buf_puts(out, "content-length: ");
        kb_buf_puti(out, length);
        kb_buf_puts(out, "\r\n");
    }
    if (!switching && !conn->keep_alive)
        put_header(out, "connection", "close");
    else if (!switching && kb_h1_is_1_0(conn->h1))
        put_header(out, "connection", "keep-alive");
    kb_buf_puts(out, "\r\n");
    kb__conn_dirty(conn);
}

/* The answer is staged to its last byte: make room for the next request. */
static void answered(struct kb__conn *conn)
{
    kb__req_free(conn->current);
    conn->current = NULL;
    if (!conn->keep_alive) {
        conn->closing = true;
        return;
    }
    kb_h1_next(conn->h1);
    kb__conn_expect(conn, conn->server->config.idle_ms);
    conn->resume = conn->in.n > 0 || (conn->ssl && SSL_has_pending(conn->ssl)) || conn->eof;
}

/* Up to one record of the body as one chunk; its head has a fixed width, to be filled in after. */
static bool fill_chunk(struct kb__conn *conn, struct kb_http_req *req)
{
    enum { HEAD = 6, TAIL = 2 };
    char *at = kb_buf_reserve(&conn->out, HEAD + KB__RECORD_BYTES + TAIL);
    size_t n = kb__body_pull(&req->out, at + HEAD, KB__RECORD_BYTES - HEAD - TAIL);
    if (n == 0)
        return false;
    char head[HEAD + 1];
    snprintf(head, sizeof(head), "%04x\r\n", (unsigned)n);
    memcpy(at, head, HEAD);
    memcpy(at + HEAD + n, "\r\n", TAIL);
    conn->out.n += HEAD + n + TAIL;
    return true;
}

static bool fill_plain(struct kb__conn *conn, struct kb_http_req *req)
{
    conn->direct = kb__body_take(&req->out, KB__RECORD_BYTES, &conn->direct_off);
    if (conn->direct)
        return true;
    char *at = kb_buf_reserve(&conn->out, KB__RECORD_BYTES);
    size_t n = kb__body_pull(&req->out, at, KB__RECORD_BYTES);
    conn->out.n += n;
    return n > 0;
}

static bool h1_fill(struct kb__conn *conn)
{
    struct kb_http_req *req = conn->current;
    if (req == NULL || !req->started)
        return false;
    bool progress = !req->head_staged;
    if (!req->head_staged) {
        kb_buf_add_str(&conn->out, kb_buf_str(&req->head));
        req->head_staged = true;
    }
    if (!req->no_body)
        progress |= req->chunked ? fill_chunk(conn, req) : fill_plain(conn, req);
    kb__req_pulled(req);
    if (!kb__body_drained(&req->out))
        return progress;
    if (req->chunked)
        kb_buf_puts(&conn->out, "0\r\n\r\n");
    answered(conn);
    return false;
}

/* As Go's server has it: a client that closes while it waits for an answer has gone away. What is
 * already answered is still sent. */
static void h1_eof(struct kb__conn *conn)
{
    struct kb_http_req *req = conn->current;
    if (req && req->delivered && req->finished)
        return;
    if (req && req->delivered) {
        kb__conn_doom(conn);
        return;
    }
    conn->closing = true;
    kb__conn_dirty(conn);
}

static void h1_wake(struct kb_http_req *req)
{
    kb__conn_dirty(req->conn);
}

static void h1_abort(struct kb_http_req *req)
{
    kb__conn_doom(req->conn);
}

static void h1_stop(struct kb__conn *conn)
{
    conn->keep_alive = false;
    if (conn->current == NULL || !conn->current->delivered)
        kb__conn_doom(conn);
}

const struct kb__proto kb__proto_h1 = {.input = h1_input,
                                       .fill = h1_fill,
                                       .eof = h1_eof,
                                       .start = h1_start,
                                       .wake = h1_wake,
                                       .abort = h1_abort,
                                       .stop = h1_stop};
