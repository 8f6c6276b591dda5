#include "tests/unit/api/http_fixture.h"

#include <nghttp2/nghttp2.h>
#include <stdlib.h>

enum { STREAMS = 64 };

struct h2_answer {
    int status;
    uint32_t code; /* why the stream ended */
    bool ended;
    struct kb_buf body;
};

struct h2 {
    struct client client;
    nghttp2_session *session;
    struct h2_answer answers[2 * STREAMS + 2];
    kb_str upload;
    size_t uploaded;
};

static struct h2_answer *answer_of(struct h2 *h2, int32_t id)
{
    KB_CHECK(id >= 0 && (size_t)id < KB_COUNT(h2->answers));
    return &h2->answers[id];
}

static int on_header(nghttp2_session *session, const nghttp2_frame *frame, const uint8_t *name,
                     size_t name_n, const uint8_t *value, size_t value_n, uint8_t flags, void *user)
{
    (void)session, (void)flags, (void)value_n;
    if (name_n == 7 && memcmp(name, ":status", 7) == 0)
        answer_of(user, frame->hd.stream_id)->status = atoi((const char *)value);
    return 0;
}

static int on_data(nghttp2_session *session, uint8_t flags, int32_t id, const uint8_t *data,
                   size_t n, void *user)
{
    (void)session, (void)flags;
    kb_buf_add(&answer_of(user, id)->body, data, n);
    return 0;
}

static int on_stream_close(nghttp2_session *session, int32_t id, uint32_t code, void *user)
{
    (void)session;
    answer_of(user, id)->ended = true;
    answer_of(user, id)->code = code;
    return 0;
}

static ssize_t send_bytes(nghttp2_session *session, const uint8_t *data, size_t n, int flags,
                          void *user)
{
    (void)session, (void)flags;
    struct h2 *h2 = user;
    client_send(&h2->client, kb_str_n((const char *)data, n));
    return (ssize_t)n;
}

static struct h2 h2_dial(const struct served *served, enum client_cert cert)
{
    return (struct h2){.client = dial_alpn(served, cert, "\x02h2")};
}

static void h2_open(struct h2 *h2)
{
    nghttp2_session_callbacks *callbacks;
    nghttp2_session_callbacks_new(&callbacks);
    nghttp2_session_callbacks_set_on_header_callback(callbacks, on_header);
    nghttp2_session_callbacks_set_on_data_chunk_recv_callback(callbacks, on_data);
    nghttp2_session_callbacks_set_on_stream_close_callback(callbacks, on_stream_close);
    nghttp2_session_callbacks_set_send_callback(callbacks, send_bytes);
    nghttp2_session_client_new(&h2->session, callbacks, h2);
    nghttp2_session_callbacks_del(callbacks);
    nghttp2_settings_entry window = {NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, 1 << 20};
    nghttp2_submit_settings(h2->session, 0, &window, 1);
    nghttp2_session_set_local_window_size(h2->session, 0, 0, 1 << 24);
}

static void h2_close(struct h2 *h2)
{
    nghttp2_session_del(h2->session);
    client_close(&h2->client);
    for (size_t i = 0; i < KB_COUNT(h2->answers); i++)
        kb_buf_finish(&h2->answers[i].body);
}

static nghttp2_nv nv(const char *name, const char *value)
{
    return (nghttp2_nv){(uint8_t *)name, (uint8_t *)value, strlen(name), strlen(value), 0};
}

static ssize_t read_upload(nghttp2_session *session, int32_t id, uint8_t *out, size_t cap,
                           uint32_t *flags, nghttp2_data_source *source, void *user)
{
    (void)session, (void)id, (void)source;
    struct h2 *h2 = user;
    size_t left = h2->upload.n - h2->uploaded, n = left < cap ? left : cap;
    memcpy(out, h2->upload.p + h2->uploaded, n);
    h2->uploaded += n;
    if (n == left)
        *flags |= NGHTTP2_DATA_FLAG_EOF;
    return (ssize_t)n;
}

static int32_t h2_ask(struct h2 *h2, const char *method, const char *path, bool with_upload)
{
    nghttp2_nv list[] = {nv(":method", method), nv(":scheme", "https"), nv(":authority", "test"),
                         nv(":path", path), nv("accept", "a/b")};
    nghttp2_data_provider provider = {.read_callback = read_upload};
    int32_t id = nghttp2_submit_request(h2->session, NULL, list, KB_COUNT(list),
                                        with_upload ? &provider : NULL, NULL);
    nghttp2_session_send(h2->session);
    return id;
}

/* Exchange frames until the stream ended; false when the connection did. */
static bool h2_until(struct h2 *h2, int32_t id)
{
    while (!answer_of(h2, id)->ended) {
        if (nghttp2_session_send(h2->session) != 0 || !client_read(&h2->client))
            return false;
        struct kb_buf *in = &h2->client.in;
        ssize_t n = nghttp2_session_mem_recv(h2->session, (const uint8_t *)in->p, in->n);
        KB_CHECK_I64(n, ==, in->n);
        kb_buf_clear(in);
    }
    return true;
}

static const char *text_of(struct h2 *h2, int32_t id)
{
    kb_buf_add(&answer_of(h2, id)->body, "", 0);
    return answer_of(h2, id)->body.p;
}

KB_TEST(http2, serves_many_streams_on_one_connection)
{
    KB_AUTO(served_end) struct served served = serve((struct kb_http_config){0}, true);
    KB_AUTO(h2_close) struct h2 h2 = h2_dial(&served, ADMIN_CERT);
    h2_open(&h2);
    int32_t ids[STREAMS];
    for (int i = 0; i < STREAMS; i++)
        ids[i] = h2_ask(&h2, "GET", "/stream?n=50&size=1040", false);
    for (int i = 0; i < STREAMS; i++) {
        KB_CHECK(h2_until(&h2, ids[i]));
        KB_CHECK_I64(answer_of(&h2, ids[i])->status, ==, 200);
        KB_CHECK_U64(answer_of(&h2, ids[i])->body.n, ==, 52000);
    }
}

KB_TEST(http2, knows_path_headers_and_client)
{
    KB_AUTO(served_end) struct served served = serve((struct kb_http_config){0}, true);
    KB_AUTO(h2_close) struct h2 h2 = h2_dial(&served, ADMIN_CERT);
    h2_open(&h2);
    int32_t id = h2_ask(&h2, "DELETE", "/info/x%20y?a=b", false);
    KB_CHECK(h2_until(&h2, id));
    KB_CHECK_STR(text_of(&h2, id), "DELETE h2 [info] [x y] a=b; cert=1 user=kubernetes-admin "
                                   "group=system:masters accept=a/b");
}

KB_TEST(http2, takes_bodies_larger_than_the_first_window)
{
    KB_AUTO(served_end) struct served served = serve((struct kb_http_config){0}, true);
    KB_AUTO(h2_close) struct h2 h2 = h2_dial(&served, NO_CERT);
    h2_open(&h2);
    KB_AUTO(kb_auto_free) char *body = malloc(2500000);
    memset(body, 'x', 2500000);
    h2.upload = kb_str_n(body, 2500000);
    int32_t id = h2_ask(&h2, "POST", "/echo", true);
    KB_CHECK(h2_until(&h2, id));
    KB_CHECK_U64(answer_of(&h2, id)->body.n, ==, 2500000);
}

KB_TEST(http2, refuses_a_body_over_the_limit_and_lives_on)
{
    KB_AUTO(served_end)
    struct served served = serve((struct kb_http_config){.max_body_bytes = 9}, true);
    KB_AUTO(h2_close) struct h2 h2 = h2_dial(&served, NO_CERT);
    h2_open(&h2);
    h2.upload = kb_str_of("0123456789");
    int32_t big = h2_ask(&h2, "POST", "/echo", true);
    KB_CHECK(h2_until(&h2, big));
    KB_CHECK_I64(answer_of(&h2, big)->status, ==, 413);
    int32_t after = h2_ask(&h2, "GET", "/hello", false);
    KB_CHECK(h2_until(&h2, after));
    KB_CHECK_STR(text_of(&h2, after), "hello\n");
}

KB_TEST(http2, resets_only_the_stream_that_does_not_keep_up)
{
    KB_AUTO(served_end)
    struct served served = serve((struct kb_http_config){.max_queue_bytes = 4 * 1024 * 1024}, true);
    KB_AUTO(h2_close) struct h2 h2 = h2_dial(&served, NO_CERT);
    h2_open(&h2);
    int32_t flood = h2_ask(&h2, "GET", "/flood", false);
    KB_CHECK(h2_until(&h2, flood));
    KB_CHECK_U64(answer_of(&h2, flood)->code, !=, 0);
    int32_t closed = h2_ask(&h2, "GET", "/closed", false);
    KB_CHECK(h2_until(&h2, closed));
    KB_CHECK_STR(text_of(&h2, closed), "1");
}

KB_TEST(http2, tells_when_the_client_resets_a_stream)
{
    KB_AUTO(served_end) struct served served = serve((struct kb_http_config){0}, true);
    KB_AUTO(h2_close) struct h2 h2 = h2_dial(&served, NO_CERT);
    h2_open(&h2);
    int32_t never = h2_ask(&h2, "GET", "/never", false);
    nghttp2_submit_rst_stream(h2.session, 0, never, NGHTTP2_CANCEL);
    int32_t closed = h2_ask(&h2, "GET", "/closed", false);
    KB_CHECK(h2_until(&h2, closed));
    KB_CHECK_STR(text_of(&h2, closed), "1");
}

KB_TEST(http2, survives_a_flood_of_resets)
{
    KB_AUTO(served_end) struct served served = serve((struct kb_http_config){0}, true);
    KB_AUTO(h2_close) struct h2 h2 = h2_dial(&served, NO_CERT);
    h2_open(&h2);
    for (int i = 0; i < STREAMS - 1; i++) {
        int32_t id = h2_ask(&h2, "GET", "/never", false);
        nghttp2_submit_rst_stream(h2.session, 0, id, NGHTTP2_CANCEL);
        nghttp2_session_send(h2.session);
    }
    wait_for(&served, "/closed", "63");
}

KB_TEST(http2, what_the_heads_of_a_connection_take_is_bounded_in_total)
{
    KB_AUTO(served_end)
    struct served served = serve((struct kb_http_config){.max_head_total = 16 * 40960}, true);
    KB_AUTO(h2_close) struct h2 h2 = h2_dial(&served, NO_CERT);
    h2_open(&h2);
    int32_t ids[20];
    for (int i = 0; i < 20; i++)
        ids[i] = h2_ask(&h2, "GET", "/never", false);
    KB_CHECK(h2_until(&h2, ids[19]));
    KB_CHECK_U64(answer_of(&h2, ids[19])->code, !=, 0);
    KB_CHECK_U64(answer_of(&h2, ids[0])->code, ==, 0);
    wait_for(&served, "/hello", "hello\n"); /* others have their share */
    for (int i = 0; i < 4; i++)
        nghttp2_submit_rst_stream(h2.session, 0, ids[i], NGHTTP2_CANCEL);
    int32_t after = h2_ask(&h2, "GET", "/hello", false);
    KB_CHECK(h2_until(&h2, after));
    KB_CHECK_STR(text_of(&h2, after), "hello\n");
}

KB_TEST(http2, garbage_after_the_preface_ends_the_connection)
{
    KB_AUTO(served_end) struct served served = serve((struct kb_http_config){0}, true);
    KB_AUTO(h2_close) struct h2 h2 = h2_dial(&served, NO_CERT);
    client_puts(&h2.client, "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\nthis is no frame at all, not at all");
    while (client_read(&h2.client))
        ;
    wait_for(&served, "/closed", "0");
}
