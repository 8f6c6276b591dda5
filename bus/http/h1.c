#include "bus/http/h1.h"

#include "bus/base/check.h"

#include <http_parser.h>
#include <stdlib.h>

struct kb_h1 {
    struct http_parser parser;
    const struct kb_h1_events *events;
    void *user;
    bool stopped;
};

static struct kb_h1 *h1_of(struct http_parser *parser)
{
    return KB_ASSERT(parser->data != NULL), parser->data;
}

static int on_begin(struct http_parser *parser)
{
    struct kb_h1 *h1 = h1_of(parser);
    return h1->events->begin ? h1->events->begin(h1->user) : 0;
}

static int piece(struct http_parser *parser, int (*event)(void *, kb_str), const char *at, size_t n)
{
    return event ? event(h1_of(parser)->user, kb_str_n(at, n)) : 0;
}

static int on_url(struct http_parser *parser, const char *at, size_t n)
{
    return piece(parser, h1_of(parser)->events->target, at, n);
}

static int on_field(struct http_parser *parser, const char *at, size_t n)
{
    return piece(parser, h1_of(parser)->events->name, at, n);
}

static int on_value(struct http_parser *parser, const char *at, size_t n)
{
    return piece(parser, h1_of(parser)->events->value, at, n);
}

static int on_body(struct http_parser *parser, const char *at, size_t n)
{
    return piece(parser, h1_of(parser)->events->body, at, n);
}

/* http_parser: 0 goes on, 1 means that no body follows, anything else is an error. */
static int on_headers(struct http_parser *parser)
{
    struct kb_h1 *h1 = h1_of(parser);
    switch (h1->events->head ? h1->events->head(h1->user) : KB_H1_GO) {
    case KB_H1_GO:
        return 0;
    case KB_H1_NO_BODY:
        return 1;
    default:
        return -1;
    }
}

static int on_complete(struct http_parser *parser)
{
    struct kb_h1 *h1 = h1_of(parser);
    h1->stopped = true;
    http_parser_pause(parser, 1);
    if (h1->events->complete)
        h1->events->complete(h1->user);
    return 0;
}

static const struct http_parser_settings settings = {
    .on_message_begin = on_begin,
    .on_url = on_url,
    .on_header_field = on_field,
    .on_header_value = on_value,
    .on_headers_complete = on_headers,
    .on_body = on_body,
    .on_message_complete = on_complete,
};

struct kb_h1 *kb_h1_new(enum kb_h1_type type, const struct kb_h1_events *events, void *user)
{
    struct kb_h1 *h1 = calloc(1, sizeof(*h1));
    KB_ASSERT(h1 != NULL);
    http_parser_init(&h1->parser, type == KB_H1_REQUEST ? HTTP_REQUEST : HTTP_RESPONSE);
    h1->parser.data = h1;
    h1->events = events;
    h1->user = user;
    return h1;
}

void kb_h1_destroy(struct kb_h1 **h1_p)
{
    free(*h1_p);
    *h1_p = NULL;
}

static int failed(const struct kb_h1 *h1, struct kb_err *err)
{
    enum http_errno code = HTTP_PARSER_ERRNO(&h1->parser);
    bool ours = code >= HPE_CB_message_begin && code <= HPE_CB_chunk_complete;
    return kb_err_set(err, ours ? KB_ECANCELED : KB_EINVAL, "HTTP: %s",
                      http_errno_description(code));
}

ptrdiff_t kb_h1_feed(struct kb_h1 *h1, kb_str data, struct kb_err *err)
{
    if (h1->stopped || data.n == 0)
        return 0;
    size_t used = http_parser_execute(&h1->parser, &settings, data.p, data.n);
    enum http_errno code = HTTP_PARSER_ERRNO(&h1->parser);
    if (code == HPE_OK || code == HPE_PAUSED)
        return (ptrdiff_t)used;
    return failed(h1, err);
}

int kb_h1_eof(struct kb_h1 *h1, struct kb_err *err)
{
    if (h1->stopped)
        return 0;
    http_parser_execute(&h1->parser, &settings, NULL, 0);
    enum http_errno code = HTTP_PARSER_ERRNO(&h1->parser);
    return code == HPE_OK || code == HPE_PAUSED ? 0 : failed(h1, err);
}

bool kb_h1_stopped(const struct kb_h1 *h1)
{
    return h1->stopped;
}

void kb_h1_next(struct kb_h1 *h1)
{
    if (!h1->stopped)
        return;
    h1->stopped = false;
    http_parser_pause(&h1->parser, 0);
}

kb_str kb_h1_method(const struct kb_h1 *h1)
{
    return kb_str_of(http_method_str((enum http_method)h1->parser.method));
}

int kb_h1_status(const struct kb_h1 *h1)
{
    return h1->parser.status_code;
}

bool kb_h1_upgrade(const struct kb_h1 *h1)
{
    return h1->parser.upgrade;
}

bool kb_h1_keep_alive(const struct kb_h1 *h1)
{
    return http_should_keep_alive(&h1->parser) != 0;
}

bool kb_h1_is_1_0(const struct kb_h1 *h1)
{
    return h1->parser.http_major < 1 || (h1->parser.http_major == 1 && h1->parser.http_minor == 0);
}

uint64_t kb_h1_length(const struct kb_h1 *h1)
{
    return h1->parser.flags & F_CHUNKED ? UINT64_MAX : h1->parser.content_length;
}
