/* h2.c - HTTP/2 on a connection, by nghttp2.
 *
 * Bounds against abuse: 250 streams, reset and continuation limits, our own windows (a client may
 * have 1 MiB of one body and 8 MiB in all under way), header size, of one request and of all. A
 * stream is freed when nghttp2 says that it is closed and nowhere else. */
#include "actors/api/http/internal.h"

enum {
    STREAMS_MAX = 250,
    STREAM_WINDOW_BYTES = 1024 * 1024,
    CONN_WINDOW_BYTES = 8 * 1024 * 1024,
    RESETS_BURST = 1000,
    RESETS_PER_S = 100,
    CONTINUATIONS_MAX = 16
};

static struct kb_http_req *req_of(nghttp2_session *session, int32_t stream_id)
{
    return nghttp2_session_get_stream_user_data(session, stream_id);
}

/* Something of a request is under way: it must be complete in time. Nothing at all: idle. */
static void expect(struct kb__conn *conn)
{
    const struct kb_http_config *config = &conn->server->config;
    if (conn->h2_reading > 0)
        kb__conn_expect(conn, config->header_ms + config->body_ms);
    else
        kb__conn_expect(conn, kb_list_empty(&conn->reqs) ? config->idle_ms : 0);
}

static void deliver(struct kb__conn *conn, struct kb_http_req *req)
{
    conn->h2_reading--;
    expect(conn);
    kb__req_deliver(req);
}

static int on_begin_headers(nghttp2_session *session, const nghttp2_frame *frame, void *user)
{
    struct kb__conn *conn = user;
    if (frame->hd.type != NGHTTP2_HEADERS || frame->headers.cat != NGHTTP2_HCAT_REQUEST)
        return 0;
    struct kb_http_req *req = kb__req_new(conn);
    if (req == NULL)
        return NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE; /* that stream is reset */
    req->stream_id = frame->hd.stream_id;
    nghttp2_session_set_stream_user_data(session, frame->hd.stream_id, req);
    conn->h2_reading++;
    expect(conn);
    return 0;
}

static int on_header(nghttp2_session *session, const nghttp2_frame *frame, const uint8_t *name,
                     size_t name_n, const uint8_t *value, size_t value_n, uint8_t flags, void *user)
{
    (void)flags, (void)user;
    struct kb_http_req *req = req_of(session, frame->hd.stream_id);
    kb_str n = kb_str_n((const char *)name, name_n), v = kb_str_n((const char *)value, value_n);
    if (req == NULL || req->delivered || frame->headers.cat != NGHTTP2_HCAT_REQUEST)
        return 0;
    int rc = 0;
    if (kb_str_is(n, ":method"))
        kb__req_set_method(req, v);
    else if (kb_str_is(n, ":path"))
        rc = kb__req_add_target(req, v);
    else if (kb_str_is(n, ":authority"))
        rc = kb__req_add_name(req, kb_str_of("host")) < 0 ? -1 : kb__req_add_value(req, v);
    else if (n.n > 0 && n.p[0] != ':')
        rc = kb__req_add_name(req, n) < 0 ? -1 : kb__req_add_value(req, v);
    return rc < 0 ? NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE : 0;
}

static int on_frame_recv(nghttp2_session *session, const nghttp2_frame *frame, void *user)
{
    struct kb__conn *conn = user;
    struct kb_http_req *req = req_of(session, frame->hd.stream_id);
    bool request = frame->hd.type == NGHTTP2_HEADERS || frame->hd.type == NGHTTP2_DATA;
    if (req == NULL || !request || req->delivered)
        return 0;
    if (frame->hd.type == NGHTTP2_HEADERS && frame->headers.cat == NGHTTP2_HCAT_REQUEST)
        kb__req_head_done(req);
    if (frame->hd.flags & NGHTTP2_FLAG_END_STREAM)
        deliver(conn, req);
    return 0;
}

static int on_data(nghttp2_session *session, uint8_t flags, int32_t stream_id, const uint8_t *data,
                   size_t n, void *user)
{
    (void)flags;
    struct kb__conn *conn = user;
    struct kb_http_req *req = req_of(session, stream_id);
    if (req == NULL || req->delivered)
        return 0;
    if (req->problem || kb__req_add_body(req, kb_str_n((const char *)data, n)) < 0)
        deliver(conn, req);
    return 0;
}

static int on_stream_close(nghttp2_session *session, int32_t stream_id, uint32_t code, void *user)
{
    (void)code;
    struct kb__conn *conn = user;
    struct kb_http_req *req = req_of(session, stream_id);
    if (req == NULL)
        return 0;
    nghttp2_session_set_stream_user_data(session, stream_id, NULL);
    conn->h2_reading -= !req->delivered;
    kb__req_gone(req);
    expect(conn);
    return 0;
}

nghttp2_session_callbacks *kb__h2_callbacks(void)
{
    nghttp2_session_callbacks *callbacks = NULL;
    KB_ASSERT(nghttp2_session_callbacks_new(&callbacks) == 0);
    nghttp2_session_callbacks_set_on_begin_headers_callback(callbacks, on_begin_headers);
    nghttp2_session_callbacks_set_on_header_callback(callbacks, on_header);
    nghttp2_session_callbacks_set_on_frame_recv_callback(callbacks, on_frame_recv);
    nghttp2_session_callbacks_set_on_data_chunk_recv_callback(callbacks, on_data);
    nghttp2_session_callbacks_set_on_stream_close_callback(callbacks, on_stream_close);
    return callbacks;
}

nghttp2_option *kb__h2_options(void)
{
    nghttp2_option *options = NULL;
    KB_ASSERT(nghttp2_option_new(&options) == 0);
    nghttp2_option_set_no_closed_streams(options, 1);
    nghttp2_option_set_max_outbound_ack(options, 256);
#ifdef KUBUS_NGHTTP2_LIMITS
    nghttp2_option_set_stream_reset_rate_limit(options, RESETS_BURST, RESETS_PER_S);
    nghttp2_option_set_max_continuations(options, CONTINUATIONS_MAX);
#endif
    return options;
}

int kb__h2_begin(struct kb__conn *conn)
{
    struct kb_http_server *server = conn->server;
    uint32_t header_bytes = (uint32_t)server->config.max_header_bytes;
    nghttp2_settings_entry settings[] = {
        {NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS, STREAMS_MAX},
        {NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, STREAM_WINDOW_BYTES},
        {NGHTTP2_SETTINGS_MAX_HEADER_LIST_SIZE, header_bytes},
    };
    conn->proto = &kb__proto_h2;
    kb__conn_expect(conn, server->config.idle_ms);
    if (nghttp2_session_server_new2(&conn->h2, server->h2_callbacks, conn, server->h2_options) != 0)
        return -1;
    if (nghttp2_submit_settings(conn->h2, NGHTTP2_FLAG_NONE, settings, KB_COUNT(settings)) != 0 ||
        nghttp2_session_set_local_window_size(conn->h2, NGHTTP2_FLAG_NONE, 0, CONN_WINDOW_BYTES) !=
            0)
        return -1;
    kb__conn_dirty(conn);
    return 0;
}

static ptrdiff_t h2_input(struct kb__conn *conn, kb_str data)
{
    ssize_t n = nghttp2_session_mem_recv(conn->h2, (const uint8_t *)data.p, data.n);
    kb__conn_dirty(conn);
    if (n >= 0)
        return n > 0 ? n : (ptrdiff_t)data.n;
    conn->server->stats.protocol_errors++;
    conn->discard = conn->closing = true; /* the GOAWAY that nghttp2 has queued still goes out */
    return (ptrdiff_t)data.n;
}

static bool h2_fill(struct kb__conn *conn)
{
    const uint8_t *data = NULL;
    ssize_t n = nghttp2_session_mem_send(conn->h2, &data);
    if (n < 0)
        kb__conn_doom(conn);
    if (n > 0)
        kb_buf_add(&conn->out, data, (size_t)n);
    else if (!nghttp2_session_want_read(conn->h2) && !nghttp2_session_want_write(conn->h2))
        conn->closing = true;
    return n > 0;
}

static void h2_eof(struct kb__conn *conn)
{
    kb__conn_doom(conn);
}

/* nghttp2 asks for the next bytes of an answer. */
static ssize_t read_body(nghttp2_session *session, int32_t stream_id, uint8_t *out, size_t cap,
                         uint32_t *flags, nghttp2_data_source *source, void *user)
{
    (void)session, (void)stream_id, (void)user;
    struct kb_http_req *req = source->ptr;
    size_t n = kb__body_pull(&req->out, (char *)out, cap);
    kb__req_pulled(req);
    if (kb__body_drained(&req->out)) {
        *flags |= NGHTTP2_DATA_FLAG_EOF;
    } else if (n == 0) {
        req->deferred = true;
        return NGHTTP2_ERR_DEFERRED;
    }
    return (ssize_t)n;
}

static nghttp2_nv nv(const char *name, const char *value)
{
    return (nghttp2_nv){(uint8_t *)name, (uint8_t *)value, strlen(name), strlen(value),
                        NGHTTP2_NV_FLAG_NONE};
}

static void h2_start(struct kb_http_req *req, const struct kb_http_head *head, int64_t length)
{
    enum { OURS = 4, EXTRA_MAX = 28 };
    struct kb__conn *conn = req->conn;
    nghttp2_nv list[OURS + EXTRA_MAX];
    char status[8], content_length[24];
    size_t n = 0;
    snprintf(status, sizeof(status), "%d", head->status);
    list[n++] = nv(":status", status);
    for (size_t i = 0; i < head->headers_n && i < EXTRA_MAX; i++)
        list[n++] = nv(head->headers[i].name, head->headers[i].value);
    if (head->content_type)
        list[n++] = nv("content-type", head->content_type);
    list[n++] = nv("date", kb__server_date(conn->server));
    if (length >= 0 && head->status != 204 && head->status != 304) {
        snprintf(content_length, sizeof(content_length), "%lld", (long long)length);
        list[n++] = nv("content-length", content_length);
    }
    nghttp2_data_provider provider = {.source.ptr = req, .read_callback = read_body};
    nghttp2_submit_response(conn->h2, req->stream_id, list, n, req->no_body ? NULL : &provider);
    kb__conn_dirty(conn);
}

static void h2_wake(struct kb_http_req *req)
{
    if (req->deferred) {
        req->deferred = false;
        nghttp2_session_resume_data(req->conn->h2, req->stream_id);
    }
    kb__conn_dirty(req->conn);
}

static void h2_abort(struct kb_http_req *req)
{
    nghttp2_submit_rst_stream(req->conn->h2, NGHTTP2_FLAG_NONE, req->stream_id,
                              NGHTTP2_INTERNAL_ERROR);
    kb__conn_dirty(req->conn);
}

static void h2_stop(struct kb__conn *conn)
{
    nghttp2_submit_goaway(conn->h2, NGHTTP2_FLAG_NONE,
                          nghttp2_session_get_last_proc_stream_id(conn->h2), NGHTTP2_NO_ERROR, NULL,
                          0);
    kb__conn_dirty(conn);
}

const struct kb__proto kb__proto_h2 = {.input = h2_input,
                                       .fill = h2_fill,
                                       .eof = h2_eof,
                                       .start = h2_start,
                                       .wake = h2_wake,
                                       .abort = h2_abort,
                                       .stop = h2_stop};
