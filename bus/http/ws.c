#include "bus/http/ws.h"

#include "bus/base/base64.h"
#include "bus/http/sha1.h"

enum { CONTROL_MAX_BYTES = 125 };

void kb_ws_reader_finish(struct kb_ws_reader *reader)
{
    kb_buf_finish(&reader->message);
    kb_buf_finish(&reader->control);
}

static int broken(struct kb_ws_reader *reader, int close_code)
{
    reader->close_code = close_code;
    return close_code == KB_WS_TOO_BIG ? -KB_E2BIG : -KB_EINVAL;
}

static bool is_control(enum kb_ws_opcode opcode)
{
    return opcode >= KB_WS_CLOSE;
}

/* Bytes that the head has, as far as it is known from what is there. */
static size_t head_length(const struct kb_ws_reader *reader)
{
    if (reader->head_n < 2)
        return 2;
    unsigned n7 = reader->head[1] & 127;
    size_t extended = n7 == 126 ? 2 : n7 == 127 ? 8 : 0;
    return 2 + extended + (reader->head[1] & 128 ? 4 : 0);
}

static uint64_t head_payload(const struct kb_ws_reader *reader)
{
    unsigned n7 = reader->head[1] & 127;
    if (n7 < 126)
        return n7;
    uint64_t n = 0;
    for (size_t i = 0; i < (n7 == 126 ? 2u : 8u); i++)
        n = n << 8 | reader->head[2 + i];
    return n;
}

/* The head is complete: check it against the rules of the RFC and our bounds. */
static int head_done(struct kb_ws_reader *reader)
{
    unsigned opcode = reader->head[0] & 15;
    bool masked = reader->head[1] & 128;
    uint64_t n = head_payload(reader);
    reader->fin = reader->head[0] & 128;
    reader->opcode = (enum kb_ws_opcode)opcode;
    if (reader->head[0] & 0x70 || masked != reader->masked || (opcode > 2 && opcode < 8) ||
        opcode > 10)
        return broken(reader, KB_WS_PROTOCOL_ERROR);
    if (is_control(reader->opcode)) {
        if (!reader->fin || n > CONTROL_MAX_BYTES)
            return broken(reader, KB_WS_PROTOCOL_ERROR);
        kb_buf_clear(&reader->control);
    } else {
        if (reader->in_message != (opcode == KB_WS_CONTINUATION))
            return broken(reader, KB_WS_PROTOCOL_ERROR);
        if (n > reader->max_bytes || reader->message.n + n > reader->max_bytes)
            return broken(reader, KB_WS_TOO_BIG);
        if (!reader->in_message)
            reader->message_opcode = reader->opcode;
        reader->in_message = true;
    }
    reader->payload_n = n;
    reader->payload_got = 0;
    reader->in_payload = true;
    return 0;
}

static int read_head(struct kb_ws_reader *reader, kb_str *data)
{
    while (data->n > 0 && reader->head_n < head_length(reader)) {
        reader->head[reader->head_n++] = (unsigned char)*data->p;
        data->p++, data->n--;
    }
    return reader->head_n >= 2 && reader->head_n == head_length(reader) ? head_done(reader) : 0;
}

static void read_payload(struct kb_ws_reader *reader, kb_str *data)
{
    struct kb_buf *into = is_control(reader->opcode) ? &reader->control : &reader->message;
    uint64_t left = reader->payload_n - reader->payload_got;
    size_t n = data->n < left ? data->n : (size_t)left;
    kb_buf_add(into, data->p, n);
    if (reader->masked)
        kb_ws_mask(into->p + into->n - n, n, reader->head + reader->head_n - 4,
                   reader->payload_got);
    reader->payload_got += n;
    data->p += n, data->n -= n;
}

/* A frame is complete: 1 when that completes a message. */
static int frame_done(struct kb_ws_reader *reader, struct kb_ws_message *ret)
{
    reader->head_n = 0;
    reader->in_payload = false;
    if (is_control(reader->opcode)) {
        *ret = (struct kb_ws_message){reader->opcode, kb_buf_str(&reader->control)};
        return 1;
    }
    if (!reader->fin)
        return 0;
    reader->in_message = false;
    reader->deliver = true;
    if (reader->message_opcode == KB_WS_TEXT && !kb_str_is_utf8(kb_buf_str(&reader->message)))
        return broken(reader, KB_WS_NOT_UTF8);
    *ret = (struct kb_ws_message){reader->message_opcode, kb_buf_str(&reader->message)};
    return 1;
}

int kb_ws_read(struct kb_ws_reader *reader, kb_str *data, struct kb_ws_message *ret)
{
    if (reader->deliver)
        kb_buf_clear(&reader->message);
    reader->deliver = false;
    while (data->n > 0) {
        if (!reader->in_payload) {
            int rc = read_head(reader, data);
            if (rc < 0)
                return rc;
        }
        if (!reader->in_payload)
            continue;
        read_payload(reader, data);
        if (reader->payload_got == reader->payload_n) {
            int rc = frame_done(reader, ret);
            if (rc != 0)
                return rc;
        }
    }
    return 0;
}

size_t kb_ws_head(unsigned char out[KB_WS_HEAD_BYTES], enum kb_ws_opcode opcode, bool fin,
                  uint64_t n, const unsigned char *mask)
{
    size_t at = 2, extended = n < 126 ? 0 : n <= 0xffff ? 2 : 8;
    out[0] = (unsigned char)((fin ? 128 : 0) | opcode);
    out[1] = (unsigned char)((mask ? 128 : 0) | (extended == 0 ? n : extended == 2 ? 126 : 127));
    for (size_t i = extended; i > 0; i--)
        out[at++] = (unsigned char)(n >> (8 * (i - 1)));
    if (mask) {
        memcpy(out + at, mask, 4);
        at += 4;
    }
    return at;
}

void kb_ws_mask(char *data, size_t n, const unsigned char mask[4], uint64_t at)
{
    for (size_t i = 0; i < n; i++)
        data[i] = (char)(data[i] ^ mask[(at + i) & 3]);
}

void kb_ws_accept_key(kb_str key, char out[KB_WS_ACCEPT_BYTES])
{
    unsigned char digest[KB_SHA1_BYTES];
    KB_AUTO(kb_buf_finish) struct kb_buf text = {0};
    kb_buf_add_str(&text, key);
    kb_buf_puts(&text, "258EAFA5-E914-47DA-95CA-C5AB0DC85B11");
    kb_sha1(kb_buf_str(&text), digest);
    kb_buf_clear(&text);
    kb_base64_encode(kb_str_n((const char *)digest, sizeof(digest)), &text);
    kb_str_copy(kb_buf_str(&text), out, KB_WS_ACCEPT_BYTES);
}

static bool close_code_valid(int code)
{
    return (code >= 1000 && code <= 1014 && code != 1004 && code != 1005 && code != 1006) ||
           (code >= 3000 && code <= 4999);
}

int kb_ws_close_parse(kb_str body, int *ret_code, kb_str *ret_reason)
{
    int code = 1005;
    kb_str reason = {0};
    if (body.n == 1)
        return -KB_EINVAL;
    if (body.n >= 2) {
        code = (unsigned char)body.p[0] << 8 | (unsigned char)body.p[1];
        reason = kb_str_n(body.p + 2, body.n - 2);
        if (!close_code_valid(code) || !kb_str_is_utf8(reason))
            return -KB_EINVAL;
    }
    *ret_code = code;
    *ret_reason = reason;
    return 0;
}
