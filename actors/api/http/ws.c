/* ws.c - WebSocket on a connection that HTTP/1.1 has given up.
 * The request lives on as the handle of the conversation; its body queue holds whole frames. */
#include "actors/api/http/internal.h"

enum { CLOSE_WAIT_MS = 5000 };

void kb_http_ws_accept(struct kb_http_req *req, const char *subprotocol)
{
    struct kb__conn *conn = req->conn;
    KB_ASSERT(!req->started && !req->finished && kb_http_req_is_websocket(req));
    char accept[KB_WS_ACCEPT_BYTES];
    kb_ws_accept_key(kb_http_req_header(req, "sec-websocket-key"), accept);
    struct kb_http_header headers[] = {{"upgrade", "websocket"},
                                       {"connection", "Upgrade"},
                                       {"sec-websocket-accept", accept},
                                       {"sec-websocket-protocol", subprotocol}};
    struct kb_http_head head = {
        .status = 101, .headers = headers, .headers_n = subprotocol ? 4 : 3};
    kb_http_stream_start(req, &head);
    if (conn->dead)
        return;
    kb_buf_add_str(&conn->out, kb_buf_str(&req->head));
    req->head_staged = true;
    conn->proto = &kb__proto_ws;
    conn->ws =
        (struct kb_ws_reader){.masked = true, .max_bytes = conn->server->config.max_ws_bytes};
    kb__conn_expect(conn, 0);
    kb__conn_resume(conn);
}

static void push_control(struct kb__conn *conn, enum kb_ws_opcode opcode, kb_str data)
{
    unsigned char head[KB_WS_HEAD_BYTES];
    struct kb_buf frame = {0};
    kb_buf_add(&frame, head, kb_ws_head(head, opcode, true, data.n, NULL));
    kb_buf_add_str(&frame, data);
    kb__body_push(&conn->current->out, kb_blob_take(&frame));
    kb__conn_dirty(conn);
}

static void send_close(struct kb__conn *conn, int code, kb_str reason)
{
    enum { REASON_MAX = 123 };
    if (conn->ws_close_sent)
        return;
    conn->ws_close_sent = true;
    char body[2 + REASON_MAX] = {(char)(code >> 8), (char)code};
    size_t n = reason.n < REASON_MAX ? reason.n : REASON_MAX;
    while (n < reason.n && n > 0 && ((unsigned char)reason.p[n] & 0xc0) == 0x80)
        n--;
    if (n)
        memcpy(body + 2, reason.p, n);
    push_control(conn, KB_WS_CLOSE, kb_str_n(body, n + 2));
}

/* No more from the peer is of interest: send what is queued, then hang up. */
static void hang_up(struct kb__conn *conn)
{
    conn->discard = conn->closing = true;
    conn->current->out.ended = true;
    kb__conn_dirty(conn);
}

static void on_close_frame(struct kb__conn *conn, kb_str body)
{
    int code;
    kb_str reason;
    if (kb_ws_close_parse(body, &code, &reason) < 0)
        send_close(conn, KB_WS_PROTOCOL_ERROR, (kb_str){0});
    else
        send_close(conn, code == 1005 ? KB_WS_NORMAL : code, (kb_str){0});
    hang_up(conn);
    conn->eof = true; /* both have said it: no need to read on */
}

static void on_frame(struct kb__conn *conn, const struct kb_ws_message *message)
{
    const struct kb_http_config *config = &conn->server->config;
    struct kb_http_req *req = conn->current;
    switch (message->opcode) {
    case KB_WS_PING:
        if (req->out.bytes < config->max_queue_bytes && !conn->ws_close_sent)
            push_control(conn, KB_WS_PONG, message->data);
        break;
    case KB_WS_CLOSE:
        on_close_frame(conn, message->data);
        break;
    case KB_WS_TEXT:
    case KB_WS_BINARY:
        if (!req->finished && config->handler->on_message)
            config->handler->on_message(config->user, req, message->data,
                                        message->opcode == KB_WS_TEXT);
        break;
    default:
        break;
    }
}

static ptrdiff_t ws_input(struct kb__conn *conn, kb_str data)
{
    kb_str rest = data;
    while (!conn->paused && !conn->discard && !conn->dead) {
        struct kb_ws_message message;
        int rc = kb_ws_read(&conn->ws, &rest, &message);
        if (rc == 0)
            return (ptrdiff_t)data.n;
        if (rc < 0) {
            conn->server->stats.protocol_errors++;
            send_close(conn, conn->ws.close_code, (kb_str){0});
            hang_up(conn);
            return (ptrdiff_t)data.n;
        }
        on_frame(conn, &message);
    }
    return conn->discard ? (ptrdiff_t)data.n : (ptrdiff_t)(data.n - rest.n);
}

static bool ws_fill(struct kb__conn *conn)
{
    struct kb_http_req *req = conn->current;
    char *at = kb_buf_reserve(&conn->out, KB__RECORD_BYTES);
    size_t n = kb__body_pull(&req->out, at, KB__RECORD_BYTES);
    conn->out.n += n;
    kb__req_pulled(req);
    return n > 0;
}

static void ws_eof(struct kb__conn *conn)
{
    kb__conn_doom(conn);
}

static void ws_wake(struct kb_http_req *req)
{
    kb__conn_dirty(req->conn);
}

static void ws_abort(struct kb_http_req *req)
{
    kb__conn_doom(req->conn);
}

static void ws_stop(struct kb__conn *conn)
{
    (void)conn; /* its handler ends it */
}

void kb_http_ws_close(struct kb_http_req *req, int code, const char *reason)
{
    struct kb__conn *conn = req->conn;
    KB_CHECK_OBJ(req, KB__REQ_MAGIC);
    KB_ASSERT(!req->finished);
    req->finished = true;
    if (conn->dead || req->overflow)
        return;
    send_close(conn, code, kb_str_of(reason));
    if (conn->paused) {
        conn->paused = false;
        kb__conn_resume(conn);
    }
    kb__conn_expect(conn, CLOSE_WAIT_MS);
}

const struct kb__proto kb__proto_ws = {.input = ws_input,
                                       .fill = ws_fill,
                                       .eof = ws_eof,
                                       .wake = ws_wake,
                                       .abort = ws_abort,
                                       .stop = ws_stop};
