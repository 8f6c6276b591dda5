/* WebSocket frames of RFC 6455: the codec that server and client share. No I/O.
 *
 * The reader puts fragments together, so that its user sees whole messages, with control frames in
 * between as they come. Sizes are bounded; what breaks the protocol is answered with the close code
 * that the RFC names. */
#ifndef KUBUS_HTTP_WS_H
#define KUBUS_HTTP_WS_H

#include "bus/base/buf.h"
#include "bus/base/err.h"

enum kb_ws_opcode {
    KB_WS_CONTINUATION = 0,
    KB_WS_TEXT = 1,
    KB_WS_BINARY = 2,
    KB_WS_CLOSE = 8,
    KB_WS_PING = 9,
    KB_WS_PONG = 10
};

enum kb_ws_code {
    KB_WS_NORMAL = 1000,
    KB_WS_GOING_AWAY = 1001,
    KB_WS_PROTOCOL_ERROR = 1002,
    KB_WS_NOT_UTF8 = 1007,
    KB_WS_TOO_BIG = 1009,
    KB_WS_INTERNAL = 1011
};

/* Zero-initialize, then set `masked` (true: the peer is a client, whose frames must be masked) and
 * `max_bytes` of one message. */
struct kb_ws_reader {
    bool masked;
    size_t max_bytes;
    int close_code; /* after -KB_EINVAL or -KB_E2BIG: what to tell the peer */

    unsigned char head[14];
    size_t head_n;
    uint64_t payload_n, payload_got;
    enum kb_ws_opcode opcode, message_opcode;
    bool in_payload, fin, in_message;
    struct kb_buf message, control;
    bool deliver; /* the last message was handed out and goes with the next call */
};

struct kb_ws_message {
    enum kb_ws_opcode opcode; /* TEXT, BINARY, CLOSE, PING or PONG */
    kb_str data;              /* valid until the next call */
};

void kb_ws_reader_finish(struct kb_ws_reader *reader);

/* Take bytes off the front of *data. 1: *ret is a whole message (call again for the rest), 0: all
 * taken, more is needed, -KB_EINVAL or -KB_E2BIG: see close_code; the reader is then unusable. */
int kb_ws_read(struct kb_ws_reader *reader, kb_str *data, struct kb_ws_message *ret);

enum { KB_WS_HEAD_BYTES = 14 };
/* Write the head of a frame of `n` payload bytes; returns its length. `mask`: 4 bytes, or NULL on
 * the server's side. */
size_t kb_ws_head(unsigned char out[KB_WS_HEAD_BYTES], enum kb_ws_opcode opcode, bool fin,
                  uint64_t n, const unsigned char *mask);
/* XOR `n` bytes with the mask, the first of them being byte `at` of the payload. */
void kb_ws_mask(char *data, size_t n, const unsigned char mask[4], uint64_t at);

/* Sec-WebSocket-Accept for a Sec-WebSocket-Key; 28 characters, terminated. */
enum { KB_WS_ACCEPT_BYTES = 29 };
void kb_ws_accept_key(kb_str key, char out[KB_WS_ACCEPT_BYTES]);

/* Body of a close frame; parse gives 1005 ("no status") for an empty one. */
int kb_ws_close_parse(kb_str body, int *ret_code, kb_str *ret_reason);

#endif
