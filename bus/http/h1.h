/* HTTP/1.1 messages out of a byte stream, for servers and clients.
 *
 * A thin adapter: the parser underneath is Debian's http_parser, and only h1.c knows that, so that
 * its successor llhttp can take the place. The parser stops after each message, which is how a
 * server holds pipelined requests back until it has answered. */
#ifndef KUBUS_HTTP_H1_H
#define KUBUS_HTTP_H1_H

#include "bus/base/err.h"
#include "bus/base/str.h"

struct kb_h1; /* opaque */

enum kb_h1_type { KB_H1_REQUEST, KB_H1_RESPONSE };

/* Answers of `head`. */
enum kb_h1_verdict { KB_H1_GO, KB_H1_NO_BODY, KB_H1_STOP };

/* Pieces arrive in order; a target, name or value may come in several calls. The data callbacks
 * return 0, or anything else to stop with an error (kb_h1_feed returns -KB_ECANCELED). */
struct kb_h1_events {
    int (*begin)(void *user);
    int (*target)(void *user, kb_str piece);
    int (*name)(void *user, kb_str piece);
    int (*value)(void *user, kb_str piece);
    enum kb_h1_verdict (*head)(void *user); /* all headers are there */
    int (*body)(void *user, kb_str piece);
    void (*complete)(void *user);
};

/* Never NULL. `events` must outlive the parser. */
struct kb_h1 *kb_h1_new(enum kb_h1_type type, const struct kb_h1_events *events, void *user);
void kb_h1_destroy(struct kb_h1 **h1_p);

/* Parse up to the end of the message. Returns the bytes consumed: fewer than data.n when a message
 * ended, or a request asks for another protocol (kb_h1_upgrade). -KB_EINVAL: not HTTP. */
ptrdiff_t kb_h1_feed(struct kb_h1 *h1, kb_str data, struct kb_err *err);
/* The peer closed: 0 when that ends a message properly, else -KB_EINVAL. */
int kb_h1_eof(struct kb_h1 *h1, struct kb_err *err);
/* True from `complete` until kb_h1_next. While stopped, feed consumes nothing. */
bool kb_h1_stopped(const struct kb_h1 *h1);
void kb_h1_next(struct kb_h1 *h1);

/* About the current message, from `head` on. */
kb_str kb_h1_method(const struct kb_h1 *h1);
int kb_h1_status(const struct kb_h1 *h1);
bool kb_h1_upgrade(const struct kb_h1 *h1);    /* asks for, or was granted, another protocol */
bool kb_h1_keep_alive(const struct kb_h1 *h1); /* the connection may be used again */
bool kb_h1_is_1_0(const struct kb_h1 *h1);     /* knows no chunked coding */
/* Content-Length; UINT64_MAX when there is none, or the body is chunked. */
uint64_t kb_h1_length(const struct kb_h1 *h1);

#endif
