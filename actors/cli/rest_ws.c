/* rest_ws.c - the client side of a WebSocket (RFC 6455) over libcurl's TLS connection, as far as
 * `kubus exec` needs it: Debian 12's libcurl has no WebSocket support compiled in. */
#include "actors/cli/rest_impl.h"
#include "bus/base/base64.h"
#include "bus/base/check.h"
#include "bus/base/rand.h"

#include <poll.h>
#include <stdio.h>
#include <stdlib.h>

enum { WS_MESSAGE_MAX_BYTES = 4 * 1024 * 1024, WS_HEAD_MAX_BYTES = 64 * 1024 };
enum { WS_CONTINUATION, WS_TEXT, WS_BINARY, WS_CLOSE = 8, WS_PING, WS_PONG };

struct kb_rest_ws {
    CURL *curl;
    char errors[CURL_ERROR_SIZE];
    struct kb_buf in;      /* received, not yet parsed */
    struct kb_buf message; /* fragments so far */
    struct kb_rand rand;   /* masks */
    bool closed;
};

static int ws_write(struct kb_rest_ws *ws, kb_str data, struct kb_err *err)
{
    while (data.n) {
        size_t sent = 0;
        CURLcode code = curl_easy_send(ws->curl, data.p, data.n, &sent);
        if (code == CURLE_AGAIN) {
            struct pollfd fd = {.fd = kb_rest_ws_fd(ws), .events = POLLOUT};
            poll(&fd, 1, 1000);
        } else if (code != CURLE_OK) {
            return kb_err_set(err, KB_EUNAVAILABLE, "%s", curl_easy_strerror(code));
        }
        data.p += sent;
        data.n -= sent;
    }
    return 0;
}

/* Take what waits. 1: something came; 0: nothing; < 0: the connection is gone. */
static int ws_fill(struct kb_rest_ws *ws, struct kb_err *err)
{
    size_t n = 0;
    char *at = kb_buf_reserve(&ws->in, 16384);
    CURLcode code = curl_easy_recv(ws->curl, at, 16384, &n);
    if (code == CURLE_AGAIN)
        return 0;
    if (code != CURLE_OK || n == 0)
        return kb_err_set(err, KB_ECANCELED, "connection closed");
    ws->in.n += n;
    return 1;
}

static int ws_wait_fill(struct kb_rest_ws *ws, struct kb_err *err)
{
    for (;;) {
        int rc = ws_fill(ws, err);
        if (rc != 0)
            return rc;
        struct pollfd fd = {.fd = kb_rest_ws_fd(ws), .events = POLLIN};
        if (poll(&fd, 1, 30000) == 0)
            return kb_err_set(err, KB_ETIMEOUT, "no answer");
    }
}

/* More of the answer, kept as one text. */
static int ws_more(struct kb_rest_ws *ws, struct kb_err *err)
{
    if (ws->in.n > WS_HEAD_MAX_BYTES)
        return kb_err_set(err, KB_E2BIG, "the answer's head is too large");
    int rc = ws_wait_fill(ws, err);
    if (rc >= 0)
        ws->in.p[ws->in.n] = '\0';
    return rc;
}

/* A refusal: its body is a Status, which may come later than its head. */
static int ws_refused(struct kb_rest_ws *ws, size_t head_n, struct kb_err *err)
{
    const char *length = strcasestr(ws->in.p, "\r\ncontent-length:");
    size_t want = length != NULL && length < ws->in.p + head_n ? strtoul(length + 17, NULL, 10) : 0;
    while (ws->in.n < head_n + want && ws_more(ws, err) > 0)
        ;
    *err = (struct kb_err){0};
    long status = ws->in.n > 12 ? atol(ws->in.p + 9) : 500;
    return kb__rest_failure(status, kb_str_n(ws->in.p + head_n, ws->in.n - head_n), err);
}

/* The server's answer to the upgrade. */
static int ws_handshake_answer(struct kb_rest_ws *ws, struct kb_err *err)
{
    char *end;
    while (ws->in.p == NULL || (end = strstr(ws->in.p, "\r\n\r\n")) == NULL) {
        int rc = ws_more(ws, err);
        if (rc < 0)
            return rc;
    }
    size_t head_n = (size_t)(end + 4 - ws->in.p);
    if (strncmp(ws->in.p, "HTTP/1.1 101 ", 13) != 0)
        return ws_refused(ws, head_n, err);
    kb_buf_drop(&ws->in, head_n);
    return 0;
}

static int ws_handshake(struct kb_rest_ws *ws, const char *server, const char *path,
                        struct kb_err *err)
{
    uint64_t nonce[2] = {kb_rand_next(&ws->rand), kb_rand_next(&ws->rand)};
    KB_AUTO(kb_buf_finish) struct kb_buf head = {0};
    const char *host = strstr(server, "://");
    kb_buf_printf(&head,
                  "GET %s HTTP/1.1\r\nHost: %s\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
                  "Sec-WebSocket-Version: 13\r\n"
                  "Sec-WebSocket-Protocol: v5.channel.k8s.io\r\nSec-WebSocket-Key: ",
                  path, host ? host + 3 : server);
    kb_base64_encode(kb_str_n((const char *)nonce, sizeof(nonce)), &head);
    kb_buf_puts(&head, "\r\n\r\n");
    if (ws_write(ws, kb_buf_str(&head), err) < 0)
        return -err->code;
    return ws_handshake_answer(ws, err);
}

int kb_rest_ws_open(struct kb_rest *rest, const char *path, struct kb_rest_ws **ret_ws,
                    struct kb_err *err)
{
    KB_AUTO(kb_rest_ws_destroy) struct kb_rest_ws *ws = calloc(1, sizeof(*ws));
    KB_ASSERT(ws != NULL);
    kb_rand_init_system(&ws->rand);
    ws->curl = curl_easy_init();
    KB_ASSERT(ws->curl != NULL);
    kb__rest_setup(rest, ws->curl, path, ws->errors);
    curl_easy_setopt(ws->curl, CURLOPT_CONNECT_ONLY, 1L);
    curl_easy_setopt(ws->curl, CURLOPT_HTTP_VERSION, (long)CURL_HTTP_VERSION_1_1);
    curl_easy_setopt(ws->curl, CURLOPT_SSL_ENABLE_ALPN, 0L);
    CURLcode code = curl_easy_perform(ws->curl);
    if (code != CURLE_OK)
        return kb_err_set(err, KB_EUNAVAILABLE, "%s: %s", rest->config.server,
                          ws->errors[0] ? ws->errors : curl_easy_strerror(code));
    if (ws_handshake(ws, rest->config.server, path, err) < 0)
        return -err->code;
    *ret_ws = KB_STEAL(ws);
    return 0;
}

void kb_rest_ws_destroy(struct kb_rest_ws **ws_p)
{
    struct kb_rest_ws *ws = KB_STEAL(*ws_p);
    if (ws == NULL)
        return;
    curl_easy_cleanup(ws->curl);
    kb_buf_finish(&ws->in);
    kb_buf_finish(&ws->message);
    free(ws);
}

int kb_rest_ws_fd(const struct kb_rest_ws *ws)
{
    curl_socket_t fd = CURL_SOCKET_BAD;
    curl_easy_getinfo(ws->curl, CURLINFO_ACTIVESOCKET, &fd);
    return (int)fd;
}

static int ws_send_frame(struct kb_rest_ws *ws, int opcode, kb_str head, kb_str data,
                         struct kb_err *err)
{
    KB_AUTO(kb_buf_finish) struct kb_buf frame = {0};
    size_t n = head.n + data.n;
    uint32_t mask = (uint32_t)kb_rand_next(&ws->rand);
    kb_buf_putc(&frame, (char)(0x80 | opcode));
    if (n < 126) {
        kb_buf_putc(&frame, (char)(0x80 | n));
    } else {
        int bytes = n <= UINT16_MAX ? 2 : 8;
        kb_buf_putc(&frame, (char)(0x80 | (bytes == 2 ? 126 : 127)));
        for (int i = bytes - 1; i >= 0; i--)
            kb_buf_putc(&frame, (char)(n >> (8 * i)));
    }
    kb_buf_add(&frame, &mask, sizeof(mask));
    size_t at = frame.n;
    kb_buf_add_str(&frame, head);
    kb_buf_add_str(&frame, data);
    for (size_t i = 0; i < n; i++)
        frame.p[at + i] ^= ((const char *)&mask)[i % 4];
    return ws_write(ws, kb_buf_str(&frame), err);
}

int kb_rest_ws_send(struct kb_rest_ws *ws, int channel, const void *data, size_t n,
                    struct kb_err *err)
{
    char first = (char)channel;
    return ws_send_frame(ws, WS_BINARY, kb_str_n(&first, 1), kb_str_n(data, n), err);
}

/* The frame at the front of `in`, if it is all there: its opcode, payload and total size. */
static int ws_peek(const struct kb_rest_ws *ws, int *opcode, bool *last, kb_str *payload,
                   size_t *total, struct kb_err *err)
{
    const unsigned char *p = (const unsigned char *)ws->in.p;
    if (ws->in.n < 2)
        return 0;
    uint64_t n = p[1] & 0x7f;
    size_t head = 2 + (n == 126 ? 2 : n == 127 ? 8 : 0);
    if (ws->in.n < head)
        return 0;
    if (head > 2) {
        n = 0;
        for (size_t i = 2; i < head; i++)
            n = n << 8 | p[i];
    }
    if (p[1] & 0x80 || n > WS_MESSAGE_MAX_BYTES)
        return kb_err_set(err, KB_EINVAL, "the server sent a malformed frame");
    if (ws->in.n - head < n)
        return 0;
    *opcode = p[0] & 0x0f;
    *last = p[0] & 0x80;
    *payload = kb_str_n(ws->in.p + head, n);
    *total = head + n;
    return 1;
}

int kb_rest_ws_recv(struct kb_rest_ws *ws, int *ret_channel, struct kb_buf *out, struct kb_err *err)
{
    for (;;) {
        int opcode = 0;
        bool last = false;
        kb_str payload = {NULL, 0};
        size_t total = 0;
        int rc = ws_peek(ws, &opcode, &last, &payload, &total, err);
        if (rc == 0 && (rc = ws_fill(ws, err)) > 0)
            continue;
        if (rc <= 0)
            return rc;
        if (opcode == WS_CLOSE)
            return kb_err_set(err, KB_ECANCELED, "closed by the server");
        if (opcode == WS_PING)
            ws_send_frame(ws, WS_PONG, payload, kb_str_n(NULL, 0), NULL);
        if (opcode <= WS_BINARY)
            kb_buf_add_str(&ws->message, payload);
        kb_buf_drop(&ws->in, total);
        if (ws->message.n > WS_MESSAGE_MAX_BYTES)
            return kb_err_set(err, KB_E2BIG, "the server sent too large a message");
        if (opcode > WS_BINARY || !last || ws->message.n == 0)
            continue;
        *ret_channel = (unsigned char)ws->message.p[0];
        kb_buf_add(out, ws->message.p + 1, ws->message.n - 1);
        kb_buf_clear(&ws->message);
        return 1;
    }
}
