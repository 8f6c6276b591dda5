#include "actors/api/http/internal.h"

#include <stdlib.h>

const char *kb__status_text(int status)
{
    static const struct {
        int status;
        const char *text;
    } table[] = {{101, "Switching Protocols"},
                 {200, "OK"},
                 {201, "Created"},
                 {202, "Accepted"},
                 {204, "No Content"},
                 {301, "Moved Permanently"},
                 {302, "Found"},
                 {304, "Not Modified"},
                 {307, "Temporary Redirect"},
                 {400, "Bad Request"},
                 {401, "Unauthorized"},
                 {403, "Forbidden"},
                 {404, "Not Found"},
                 {405, "Method Not Allowed"},
                 {406, "Not Acceptable"},
                 {408, "Request Timeout"},
                 {409, "Conflict"},
                 {410, "Gone"},
                 {413, "Request Entity Too Large"},
                 {415, "Unsupported Media Type"},
                 {422, "Unprocessable Entity"},
                 {426, "Upgrade Required"},
                 {429, "Too Many Requests"},
                 {431, "Request Header Fields Too Large"},
                 {500, "Internal Server Error"},
                 {501, "Not Implemented"},
                 {502, "Bad Gateway"},
                 {503, "Service Unavailable"},
                 {504, "Gateway Timeout"},
                 {507, "Insufficient Storage"}};
    for (size_t i = 0; i < KB_COUNT(table); i++)
        if (table[i].status == status)
            return table[i].text;
    return "Unknown";
}

void kb__req_pulled(struct kb_http_req *req)
{
    if (!req->above_low || req->out.bytes >= req->conn->server->config.low_water)
        return;
    req->above_low = false;
    if (!req->finished)
        kb_list_push(&req->conn->server->drained, &req->drained);
}

static struct kb__conn *live(struct kb_http_req *req)
{
    KB_CHECK_OBJ(req, KB__REQ_MAGIC);
    KB_ASSERT(req->delivered && !req->finished);
    return req->conn;
}

static bool bodiless(const struct kb_http_req *req, int status)
{
    return req->method == KB_HTTP_HEAD || status == 204 || status == 304;
}

static bool wants_gzip(const struct kb_http_req *req, const struct kb_http_head *head, size_t n)
{
    if (n <= req->conn->server->config.gzip_min_bytes || req->no_body)
        return false;
    for (size_t i = 0; i < head->headers_n; i++)
        if (strcmp(head->headers[i].name, "content-encoding") == 0)
            return false;
    return kb__req_header_has(req, "accept-encoding", "gzip");
}

/* The same head with the two lines more that say how the body is coded. */
static void start_gzip(struct kb_http_req *req, const struct kb_http_head *head)
{
    size_t n = head->headers_n;
    KB_AUTO(kb_auto_free) struct kb_http_header *headers = malloc((n + 2) * sizeof(*headers));
    KB_ASSERT(headers != NULL);
    if (n)
        memcpy(headers, head->headers, n * sizeof(*headers));
    headers[n] = (struct kb_http_header){"content-encoding", "gzip"};
    headers[n + 1] = (struct kb_http_header){"vary", "Accept-Encoding"};
    struct kb_http_head more = *head;
    more.headers = headers;
    more.headers_n = n + 2;
    kb__body_gzip(&req->out);
    req->conn->proto->start(req, &more, -1);
}

void kb_http_reply_blobs(struct kb_http_req *req, const struct kb_http_head *head,
                         struct kb_blob **blobs, size_t blobs_n)
{
    struct kb__conn *conn = live(req);
    size_t bytes = 0;
    KB_ASSERT(!req->started);
    req->finished = req->started = true;
    req->no_body = bodiless(req, head->status);
    for (size_t i = 0; i < blobs_n; i++) {
        struct kb_blob *blob = KB_STEAL(blobs[i]);
        bytes += blob->n;
        if (req->no_body || conn->dead)
            kb_blob_unref(&blob);
        else
            kb__body_push(&req->out, blob);
    }
    req->out.ended = true;
    if (conn->dead)
        return;
    if (wants_gzip(req, head, bytes))
        start_gzip(req, head);
    else
        conn->proto->start(req, head, (int64_t)bytes);
    conn->proto->wake(req);
}

void kb_http_reply_blob(struct kb_http_req *req, const struct kb_http_head *head,
                        struct kb_blob **blob_p)
{
    kb_http_reply_blobs(req, head, blob_p, 1);
}

void kb_http_reply(struct kb_http_req *req, const struct kb_http_head *head, kb_str body)
{
    struct kb_blob *blob = kb_blob_new(body);
    kb_http_reply_blob(req, head, &blob);
}

void kb_http_stream_start(struct kb_http_req *req, const struct kb_http_head *head)
{
    struct kb__conn *conn = live(req);
    KB_ASSERT(!req->started);
    req->started = true;
    req->no_body = bodiless(req, head->status);
    if (conn->dead)
        return;
    if (head->compress && wants_gzip(req, head, SIZE_MAX))
        start_gzip(req, head);
    else
        conn->proto->start(req, head, -1);
}

static int push(struct kb_http_req *req, struct kb_blob *blob)
{
    struct kb__conn *conn = req->conn;
    const struct kb_http_config *config = &conn->server->config;
    if (req->out.bytes + blob->n > config->max_queue_bytes || req->overflow || conn->dead) {
        kb_blob_unref(&blob);
        if (!req->overflow && !conn->dead) {
            req->overflow = true;
            conn->server->stats.overflows++;
            conn->proto->abort(req);
        }
        return -KB_EFULL;
    }
    kb__body_push(&req->out, blob);
    req->above_low |= req->out.bytes >= config->low_water;
    conn->proto->wake(req);
    return 0;
}

int kb_http_stream_write(struct kb_http_req *req, struct kb_blob *blob)
{
    live(req);
    KB_ASSERT(req->started);
    return req->no_body ? 0 : push(req, kb_blob_ref(blob));
}

void kb_http_stream_end(struct kb_http_req *req)
{
    struct kb__conn *conn = live(req);
    KB_ASSERT(req->started);
    req->finished = req->out.ended = true;
    if (!conn->dead && !req->overflow)
        conn->proto->wake(req);
}

size_t kb_http_stream_queued(const struct kb_http_req *req)
{
    return req->out.bytes;
}

void kb_http_abort(struct kb_http_req *req)
{
    struct kb__conn *conn = live(req);
    req->finished = true;
    if (!conn->dead && !req->overflow)
        conn->proto->abort(req);
}

/* ---- WebSocket ---- */

bool kb_http_req_is_websocket(const struct kb_http_req *req)
{
    return req->conn->h2 == NULL && req->method == KB_HTTP_GET &&
           kb__req_header_has(req, "upgrade", "websocket") &&
           kb__req_header_has(req, "connection", "upgrade") &&
           kb_str_is(kb_http_req_header(req, "sec-websocket-version"), "13") &&
           kb_http_req_header(req, "sec-websocket-key").n == 24;
}

const char *kb_http_ws_choose(const struct kb_http_req *req, const char *const *ours)
{
    for (; *ours; ours++)
        if (kb__req_header_has(req, "sec-websocket-protocol", *ours))
            return *ours;
    return NULL;
}

int kb_http_ws_send(struct kb_http_req *req, kb_str prefix, kb_str data, bool text)
{
    live(req);
    KB_ASSERT(req->conn->proto == &kb__proto_ws || req->conn->dead);
    unsigned char head[KB_WS_HEAD_BYTES];
    size_t head_n =
        kb_ws_head(head, text ? KB_WS_TEXT : KB_WS_BINARY, true, prefix.n + data.n, NULL);
    struct kb_buf frame = {0};
    kb_buf_reserve(&frame, head_n + prefix.n + data.n);
    kb_buf_add(&frame, head, head_n);
    kb_buf_add_str(&frame, prefix);
    kb_buf_add_str(&frame, data);
    return push(req, kb_blob_take(&frame));
}

void kb_http_ws_pause(struct kb_http_req *req, bool paused)
{
    struct kb__conn *conn = live(req);
    if (conn->paused == paused || conn->dead)
        return;
    conn->paused = paused;
    if (!paused)
        kb__conn_resume(conn);
    kb__conn_watch(conn);
}
