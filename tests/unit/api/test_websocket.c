#include "tests/unit/api/http_fixture.h"

#include "bus/http/ws.h"

#define UPGRADE                                                                                    \
    "Upgrade: websocket\r\nConnection: keep-alive, Upgrade\r\nSec-WebSocket-Version: 13\r\n"       \
    "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"

struct ws {
    struct client client;
    struct kb_ws_reader reader;
};

static struct ws ws_dial(const struct served *served, const char *protocols)
{
    struct ws ws = {.client = dial(served, NO_CERT), .reader = {.max_bytes = 1 << 20}};
    KB_AUTO(kb_auto_free) char *headers = kb_strf("%s%s", UPGRADE, protocols);
    KB_AUTO(answer_finish) struct answer answer = ask(&ws.client, "GET /ws", headers, (kb_str){0});
    KB_CHECK_I64(answer.status, ==, 101);
    KB_CHECK(strstr(answer.head.p, "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=") != NULL);
    return ws;
}

static void ws_end(struct ws *ws)
{
    client_close(&ws->client);
    kb_ws_reader_finish(&ws->reader);
}

static void ws_send(struct ws *ws, enum kb_ws_opcode opcode, bool fin, const char *text)
{
    static const unsigned char mask[4] = {1, 2, 3, 4};
    KB_AUTO(kb_buf_finish) struct kb_buf out = {0};
    unsigned char head[KB_WS_HEAD_BYTES];
    kb_buf_add(&out, head, kb_ws_head(head, opcode, fin, strlen(text), mask));
    kb_buf_puts(&out, text);
    kb_ws_mask(out.p + out.n - strlen(text), strlen(text), mask, 0);
    client_send(&ws->client, kb_buf_str(&out));
}

/* The next message; false when the connection ended. */
static bool ws_next(struct ws *ws, struct kb_ws_message *ret)
{
    for (;;) {
        kb_str data = kb_buf_str(&ws->client.in);
        int rc = kb_ws_read(&ws->reader, &data, ret);
        KB_CHECK_I64(rc, >=, 0);
        kb_buf_drop(&ws->client.in, ws->client.in.n - data.n);
        if (rc == 1)
            return true;
        if (!client_read(&ws->client))
            return false;
    }
}

static void expect(struct ws *ws, enum kb_ws_opcode opcode, const char *text)
{
    struct kb_ws_message message = {0};
    KB_CHECK(ws_next(ws, &message));
    KB_CHECK_I64(message.opcode, ==, opcode);
    KB_CHECK_STRN(message.data, text);
}

static int close_code(struct ws *ws)
{
    struct kb_ws_message message = {0};
    int code = 0;
    kb_str reason;
    do {
        KB_CHECK(ws_next(ws, &message));
    } while (message.opcode != KB_WS_CLOSE);
    KB_CHECK_I64(kb_ws_close_parse(message.data, &code, &reason), ==, 0);
    return code;
}

KB_TEST(websocket, echoes_messages_fragments_and_pings)
{
    KB_AUTO(served_end) struct served served = serve((struct kb_http_config){0}, true);
    KB_AUTO(ws_end)
    struct ws ws = ws_dial(&served, "Sec-WebSocket-Protocol: v5.channel.k8s.io\r\n");
    ws_send(&ws, KB_WS_TEXT, true, "grüße");
    expect(&ws, KB_WS_TEXT, "grüße");
    ws_send(&ws, KB_WS_BINARY, false, "ab");
    ws_send(&ws, KB_WS_PING, true, "p");
    ws_send(&ws, KB_WS_CONTINUATION, false, "cd");
    ws_send(&ws, KB_WS_CONTINUATION, true, "");
    expect(&ws, KB_WS_PONG, "p");
    expect(&ws, KB_WS_BINARY, "\1abcd");
}

KB_TEST(websocket, takes_frames_sent_together_with_the_handshake)
{
    KB_AUTO(served_end) struct served served = serve((struct kb_http_config){0}, false);
    KB_AUTO(ws_end) struct ws ws = {.client = dial(&served, NO_CERT), .reader = {.max_bytes = 100}};
    client_puts(&ws.client, "GET /ws HTTP/1.1\r\nHost: t\r\n" UPGRADE "\r\n\x81\x82\1\2\3\4ij");
    KB_AUTO(answer_finish) struct answer answer = client_answer(&ws.client, false);
    KB_CHECK_I64(answer.status, ==, 101);
    expect(&ws, KB_WS_TEXT, "hh");
}

KB_TEST(websocket, chooses_the_newest_subprotocol)
{
    KB_AUTO(served_end) struct served served = serve((struct kb_http_config){0}, false);
    KB_AUTO(client_close) struct client client = dial(&served, NO_CERT);
    KB_AUTO(answer_finish)
    struct answer answer = ask(&client, "GET /ws",
                               UPGRADE "Sec-WebSocket-Protocol: v4.channel.k8s.io\r\n"
                                       "Sec-WebSocket-Protocol: v5.channel.k8s.io\r\n",
                               (kb_str){0});
    KB_CHECK(strstr(answer.head.p, "sec-websocket-protocol: v5.channel.k8s.io") != NULL);
}

KB_TEST(websocket, closes_from_either_side)
{
    KB_AUTO(served_end) struct served served = serve((struct kb_http_config){0}, true);
    KB_AUTO(ws_end) struct ws ours = ws_dial(&served, "");
    ws_send(&ours, KB_WS_CLOSE, true, "\x03\xe9");
    KB_CHECK_I64(close_code(&ours), ==, 1001);
    KB_AUTO(ws_end) struct ws theirs = ws_dial(&served, "");
    ws_send(&theirs, KB_WS_TEXT, true, "bye");
    KB_CHECK_I64(close_code(&theirs), ==, 1000);
    ws_send(&theirs, KB_WS_CLOSE, true, "\x03\xe8");
    KB_CHECK(!client_read(&theirs.client));
    wait_for(&served, "/closed", "1"); /* only the first was not the handler's own act */
}

KB_TEST(websocket, answers_broken_frames_with_the_code_of_the_rfc)
{
    static const struct {
        const char *frame;
        size_t n;
        int code;
    } cases[] = {{"\x82\x01x", 3, KB_WS_PROTOCOL_ERROR},        /* not masked */
                 {"\xc2\x80\0\0\0\0", 6, KB_WS_PROTOCOL_ERROR}, /* reserved bit */
                 {"\x83\x80\0\0\0\0", 6, KB_WS_PROTOCOL_ERROR}, /* unknown opcode */
                 {"\x80\x80\0\0\0\0", 6, KB_WS_PROTOCOL_ERROR}, /* nothing to continue */
                 {"\x09\x80\0\0\0\0", 6, KB_WS_PROTOCOL_ERROR}, /* a ping in pieces */
                 {"\x81\x81\0\0\0\0\xff", 7, KB_WS_NOT_UTF8},   /* text that is none */
                 {"\x82\xff\0\0\0\0\x7f\0\0\0\0\0\0\0", 14, KB_WS_TOO_BIG}};
    KB_AUTO(served_end) struct served served = serve((struct kb_http_config){0}, false);
    for (size_t i = 0; i < KB_COUNT(cases); i++) {
        KB_AUTO(ws_end) struct ws ws = ws_dial(&served, "");
        client_send(&ws.client, kb_str_n(cases[i].frame, cases[i].n));
        KB_CHECK_I64(close_code(&ws), ==, cases[i].code);
    }
}

KB_TEST(websocket, closes_a_client_that_does_not_keep_up)
{
    KB_AUTO(served_end) struct served served = serve((struct kb_http_config){0}, false);
    KB_AUTO(ws_end) struct ws ws = ws_dial(&served, "");
    ws_send(&ws, KB_WS_TEXT, true, "flood");
    wait_for(&served, "/closed", "1");
}
