/* answer.c - whole answers: Status objects, JSON, YAML, text. */
#include "actors/api/api.h"

#include "bus/base/check.h"
#include "bus/model/json.h"
#include "bus/model/yaml.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

enum { WARNINGS_MAX = 16 };

void kb__op_begin(struct kb__op *op, struct kb__api *api, struct kb_http_req *req)
{
    op->api = api;
    op->req = req;
    kb_http_req_set_user(req, op);
}

/* A Warning header's text stands in quotes. */
static char *warning_value(kb_str text)
{
    struct kb_buf out = {0};
    kb_buf_puts(&out, "299 - \"");
    for (size_t i = 0; i < text.n; i++) {
        char c = text.p[i];
        if (c == '"' || c == '\\')
            kb_buf_putc(&out, '\\');
        kb_buf_putc(&out, (unsigned char)c < ' ' ? ' ' : c);
    }
    kb_buf_putc(&out, '"');
    return kb_buf_steal(&out, NULL);
}

static void to_yaml(struct kb_buf *json)
{
    KB_AUTO(kb_arena_finish) struct kb_arena arena = {0};
    struct kb_node *node = NULL;
    struct kb_buf yaml = {0};
    if (kb_json_parse(&arena, kb_buf_str(json), NULL, &node, NULL) < 0)
        return;
    kb_yaml_write_node(&yaml, node);
    kb_buf_finish(json);
    *json = yaml;
}

void kb__answer_json(struct kb__api *api, struct kb_http_req *req, int code,
                     const struct kb_accept *accept, const struct kb_object_reply *more,
                     struct kb_buf *json)
{
    static const struct kb_accept plain = {0};
    struct kb_http_header headers[WARNINGS_MAX + 2];
    char *texts[WARNINGS_MAX];
    char retry[24];
    size_t n = 0, warnings = 0;
    headers[n++] = (struct kb_http_header){"cache-control", "no-cache, private"};
    for (; more && warnings < more->nwarnings && warnings < WARNINGS_MAX; warnings++) {
        texts[warnings] = warning_value(more->warnings[warnings]);
        headers[n++] = (struct kb_http_header){"warning", texts[warnings]};
    }
    if (more && more->retry_after_s > 0) {
        snprintf(retry, sizeof(retry), "%lld", (long long)more->retry_after_s);
        headers[n++] = (struct kb_http_header){"retry-after", retry};
    }
    if (accept && accept->encoding == KB_ENCODING_YAML)
        to_yaml(json);
    struct kb_http_head head = {.status = code,
                                .content_type = kb_accept_content_type(accept ? accept : &plain),
                                .headers = headers,
                                .headers_n = n};
    struct kb_blob *blob = kb_blob_take(json);
    kb__count_answer(api, code);
    kb_http_reply_blob(req, &head, &blob);
    while (warnings > 0)
        free(texts[--warnings]);
}

void kb__answer_pieces(struct kb__api *api, struct kb_http_req *req, const struct kb_accept *accept,
                       struct kb_blob **pieces, size_t n)
{
    struct kb_http_header header = {"cache-control", "no-cache, private"};
    struct kb_http_head head = {.status = 200,
                                .content_type = kb_accept_content_type(accept),
                                .headers = &header,
                                .headers_n = 1};
    if (accept->encoding == KB_ENCODING_YAML) {
        struct kb_buf json = {0};
        for (size_t i = 0; i < n; i++) {
            kb_buf_add_str(&json, kb_blob_str(pieces[i]));
            kb_blob_unref(&pieces[i]);
        }
        kb__answer_json(api, req, 200, accept, NULL, &json);
        return;
    }
    kb__count_answer(api, 200);
    kb_http_reply_blobs(req, &head, pieces, n);
}

void kb__answer_status(struct kb__api *api, struct kb_http_req *req, const struct kb_status *status)
{
    KB_AUTO(kb_w_finish) struct kb_w w = {0};
    struct kb_object_reply more = {.retry_after_s = status->retry_after_s};
    struct kb_buf json = {0};
    kb_status_write(status, &w);
    kb_json_write(&json, kb_w_val(&w), 0);
    kb_buf_putc(&json, '\n');
    kb__answer_json(api, req, status->code, NULL, &more, &json);
}

void kb__answer_err(struct kb__api *api, struct kb_http_req *req, const struct kb_err *err)
{
    KB_AUTO(kb_arena_finish) struct kb_arena arena = {0};
    struct kb_status status = {0};
    kb_status_of_err(&status, &arena, err);
    kb__answer_status(api, req, &status);
}

void kb__answer_code(struct kb__api *api, struct kb_http_req *req, int code, const char *reason,
                     const char *message, ...)
{
    KB_AUTO(kb_arena_finish) struct kb_arena arena = {0};
    struct kb_status status = {0};
    char text[KB_ERR_TEXT_BYTES * 2];
    va_list args;
    va_start(args, message);
    vsnprintf(text, sizeof(text), message, args);
    va_end(args);
    kb_status_set(&status, &arena, code, reason, "%s", text);
    kb__answer_status(api, req, &status);
}

void kb__answer_text(struct kb__api *api, struct kb_http_req *req, int code, kb_str text)
{
    struct kb_http_header header = {"cache-control", "no-cache, private"};
    struct kb_http_head head = {.status = code,
                                .content_type = "text/plain; charset=utf-8",
                                .headers = &header,
                                .headers_n = 1};
    kb__count_answer(api, code);
    kb_http_reply(req, &head, text);
}

void kb__answer_store_err(struct kb__api *api, struct kb_http_req *req, const struct kb_kind *kind,
                          kb_str name, const struct kb_err *err)
{
    KB_AUTO(kb_arena_finish) struct kb_arena arena = {0};
    struct kb_status status = {0};
    if (err->code == KB_ENOTFOUND)
        kb_status_not_found(&status, &arena, kind, name);
    else
        kb_status_of_err(&status, &arena, err);
    kb__answer_status(api, req, &status);
}

kb_str kb__param(struct kb_http_req *req, const char *name)
{
    kb_str value = {0};
    kb_http_req_param(req, name, &value);
    return value;
}

bool kb__param_true(struct kb_http_req *req, const char *name)
{
    kb_str value = kb__param(req, name);
    return kb_str_is(value, "true") || kb_str_is(value, "1") || kb_str_is(value, "True");
}

void kb__count_answer(struct kb__api *api, int code)
{
    if (code >= 0 && (size_t)code < KB_COUNT(api->answers))
        api->answers[code]++;
}
