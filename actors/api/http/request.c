#include "actors/api/http/internal.h"

#include "bus/base/grow.h"

#include "bus/http/url.h"

#include <ctype.h>
#include <stdlib.h>
#include <strings.h>

enum { FREE_REQS_MAX = 256, KEEP_BYTES = 16 * 1024 };

/* A client may begin hundreds of requests on a connection, and have many connections: what their
 * heads take is bounded in total, and so that no connection takes it all. */
static bool head_account(struct kb__conn *conn, size_t n)
{
    enum { SHARE = 16 };
    struct kb_http_server *server = conn->server;
    size_t max = server->config.max_head_total;
    if (server->head_bytes + n > max || conn->head_bytes + n > max / SHARE)
        return false;
    server->head_bytes += n;
    conn->head_bytes += n;
    return true;
}

struct kb_http_req *kb__req_new(struct kb__conn *conn)
{
    struct kb_http_server *server = conn->server;
    if (!head_account(conn, KB__REQ_BYTES))
        return NULL;
    struct kb_link *link = kb_list_pop(&server->free_reqs);
    struct kb_http_req *req = NULL;
    if (link) {
        req = KB_CONTAINER(link, struct kb_http_req, link);
        server->free_reqs_n--;
    } else {
        req = calloc(1, sizeof(*req));
        KB_ASSERT(req != NULL);
    }
    req->magic = KB__REQ_MAGIC;
    req->conn = conn;
    req->head_accounted = KB__REQ_BYTES;
    kb_list_init(&req->drained);
    kb_list_push(&conn->reqs, &req->link);
    server->stats.open_requests++;
    return req;
}

static void buf_recycle(struct kb_buf *buf)
{
    if (buf->cap > KEEP_BYTES)
        kb_buf_finish(buf);
    buf->n = 0;
}

void kb__req_free(struct kb_http_req *req)
{
    KB_CHECK_OBJ(req, KB__REQ_MAGIC);
    struct kb_http_server *server = req->conn->server;
    server->stats.open_requests--;
    server->body_bytes -= req->accounted;
    server->head_bytes -= req->head_accounted;
    req->conn->head_bytes -= req->head_accounted;
    kb_list_remove(&req->link);
    kb_list_remove(&req->drained);
    kb__body_finish(&req->out);
    free(req->decoded);
    buf_recycle(&req->text);
    buf_recycle(&req->body);
    buf_recycle(&req->head);
    struct kb_http_req kept = {.text = req->text,
                               .body = req->body,
                               .head = req->head,
                               .fields = req->fields,
                               .fields_cap = req->fields_cap};
    *req = kept;
    if (server->free_reqs_n < FREE_REQS_MAX) {
        server->free_reqs_n++;
        kb_list_push(&server->free_reqs, &req->link);
        return;
    }
    kb_buf_finish(&req->text);
    kb_buf_finish(&req->body);
    kb_buf_finish(&req->head);
    free(req->fields);
    free(req);
}

void kb__req_gone(struct kb_http_req *req)
{
    const struct kb_http_config *config = &req->conn->server->config;
    if (req->delivered && !req->finished && config->handler->on_close) {
        req->finished = true;
        config->handler->on_close(config->user, req);
    }
    kb__req_free(req);
}

static int text_add(struct kb_http_req *req, kb_str piece)
{
    if (req->text.n + piece.n > req->conn->server->config.max_header_bytes)
        return -1;
    if (!head_account(req->conn, 2 * piece.n)) { /* it is decoded, or joined with others */
        req->crowded_out = true;
        return -1;
    }
    req->head_accounted += 2 * piece.n;
    kb_buf_add_str(&req->text, piece);
    return 0;
}

int kb__req_add_target(struct kb_http_req *req, kb_str piece)
{
    if (req->target_n == 0)
        req->target = (uint32_t)req->text.n;
    req->target_n += (uint32_t)piece.n;
    return text_add(req, piece);
}

int kb__req_add_name(struct kb_http_req *req, kb_str piece)
{
    if (req->value_began || req->fields_n == 0) {
        if (req->fields_n == KB__FIELDS_MAX)
            return -1;
        KB_GROW(req->fields, req->fields_n, req->fields_cap, 16);
        req->fields[req->fields_n++] = (struct kb__field){.name = (uint32_t)req->text.n};
        req->value_began = false;
    }
    size_t at = req->text.n;
    if (text_add(req, piece) < 0)
        return -1;
    for (; at < req->text.n; at++)
        req->text.p[at] = (char)tolower((unsigned char)req->text.p[at]);
    req->fields[req->fields_n - 1].name_n += (uint32_t)piece.n;
    return 0;
}

int kb__req_add_value(struct kb_http_req *req, kb_str piece)
{
    struct kb__field *field = &req->fields[req->fields_n - 1];
    if (!req->value_began)
        field->value = (uint32_t)req->text.n;
    req->value_began = true;
    field->value_n += (uint32_t)piece.n;
    return text_add(req, piece);
}

void kb__req_set_method(struct kb_http_req *req, kb_str name)
{
    static const char *const names[] = {
        [KB_HTTP_GET] = "GET",        [KB_HTTP_HEAD] = "HEAD",   [KB_HTTP_POST] = "POST",
        [KB_HTTP_PUT] = "PUT",        [KB_HTTP_PATCH] = "PATCH", [KB_HTTP_DELETE] = "DELETE",
        [KB_HTTP_OPTIONS] = "OPTIONS"};
    req->method = KB_HTTP_OTHER;
    for (size_t i = 0; i < KB_COUNT(names); i++)
        if (kb_str_is(name, names[i]))
            req->method = (enum kb_http_method)i;
    kb_str_copy(name, req->method_name, sizeof(req->method_name));
}

static kb_str text_at(const struct kb_http_req *req, uint32_t at, uint32_t n)
{
    return kb_str_n(req->text.p + at, n);
}

static void trim_value(struct kb_http_req *req, struct kb__field *field)
{
    kb_str value = kb_str_trim(text_at(req, field->value, field->value_n));
    field->value_n = (uint32_t)value.n;
    field->value = value.n ? (uint32_t)(value.p - req->text.p) : 0;
}

static bool same_name(const struct kb_http_req *req, const struct kb__field *a,
                      const struct kb__field *b)
{
    return a->name_n > 0 && a->name_n == b->name_n &&
           memcmp(req->text.p + a->name, req->text.p + b->name, a->name_n) == 0;
}

/* Values of a repeated header become one, joined at the end of the text: all at once, so that the
 * text at most doubles, however often a client repeats itself. */
static void merge_into(struct kb_http_req *req, size_t first)
{
    KB_AUTO(kb_buf_finish) struct kb_buf joined = {0};
    struct kb__field *into = &req->fields[first];
    for (size_t i = first + 1; i < req->fields_n; i++) {
        struct kb__field *field = &req->fields[i];
        if (!same_name(req, into, field))
            continue;
        if (joined.n == 0)
            kb_buf_add_str(&joined, text_at(req, into->value, into->value_n));
        kb_buf_puts(&joined, ", ");
        kb_buf_add_str(&joined, text_at(req, field->value, field->value_n));
        field->name_n = 0;
    }
    if (joined.n == 0)
        return;
    into->value = (uint32_t)req->text.n;
    into->value_n = (uint32_t)joined.n;
    kb_buf_add_str(&req->text, kb_buf_str(&joined));
}

static void merge_repeated(struct kb_http_req *req)
{
    for (size_t i = 0; i < req->fields_n; i++)
        trim_value(req, &req->fields[i]);
    for (size_t i = 0; i + 1 < req->fields_n; i++)
        merge_into(req, i);
}

/* Decode the path into segments; returns where the next decoded byte goes, NULL when malformed. */
static char *decode_segments(struct kb_http_req *req, char *at)
{
    kb_str rest = req->path, segment;
    while (req->segments_n < KB__SEGMENTS_MAX && kb_url_segment(&rest, &segment)) {
        ptrdiff_t n = kb_url_decode(segment, false, at);
        if (n < 0)
            return NULL;
        req->segments[req->segments_n++] = kb_str_n(at, (size_t)n);
        at += n;
    }
    return at;
}

static bool decode_params(struct kb_http_req *req, char *at)
{
    kb_str rest = req->query, key, value;
    while (kb_url_param(&rest, &key, &value)) {
        struct kb__param *param = &req->params[req->params_n];
        ptrdiff_t key_n = kb_url_decode(key, true, at);
        if (key_n < 0)
            return false;
        param->key = kb_str_n(at, (size_t)key_n);
        at += key_n;
        ptrdiff_t value_n = kb_url_decode(value, true, at);
        if (value_n < 0)
            return false;
        param->value = kb_str_n(at, (size_t)value_n);
        at += value_n;
        req->params_n++;
    }
    return true;
}

/* "http://host/path" of a proxy's client: leave the path. */
static kb_str strip_authority(kb_str target)
{
    const char *scheme = target.n ? memmem(target.p, target.n, "://", 3) : NULL;
    if (scheme == NULL || target.p[0] == '/')
        return target;
    size_t from = (size_t)(scheme + 3 - target.p);
    const char *slash = memchr(target.p + from, '/', target.n - from);
    return slash ? kb_str_n(slash, target.n - (size_t)(slash - target.p)) : kb_str_of("/");
}

void kb__req_head_done(struct kb_http_req *req)
{
    merge_repeated(req);
    kb_str rest = strip_authority(text_at(req, req->target, req->target_n));
    rest = kb_str_cut(&rest, '#');
    req->path = kb_str_cut(&rest, '?');
    req->query = rest.p ? rest : kb_str_n("", 0);
    if (req->path.n == 0 || req->path.p[0] != '/') {
        req->problem = KB_EINVAL;
        return;
    }
    size_t params = req->query.n > 0;
    for (size_t i = 0; i < req->query.n; i++)
        params += req->query.p[i] == '&';
    size_t bytes = params * sizeof(struct kb__param);
    if (params > KB__PARAMS_MAX || !head_account(req->conn, bytes)) {
        req->problem = params > KB__PARAMS_MAX ? KB_EINVAL : KB_EUNAVAILABLE;
        return;
    }
    req->head_accounted += bytes;
    req->decoded = malloc(bytes + req->path.n + req->query.n + 1);
    KB_ASSERT(req->decoded != NULL);
    req->params = (struct kb__param *)(void *)req->decoded;
    char *at = decode_segments(req, req->decoded + bytes);
    if (at == NULL || !decode_params(req, at))
        req->problem = KB_EINVAL;
}

static int body_refused(struct kb_http_req *req, int problem)
{
    req->problem = problem;
    kb_buf_finish(&req->body);
    req->conn->server->body_bytes -= req->accounted;
    req->accounted = 0;
    return -1;
}

int kb__req_add_body(struct kb_http_req *req, kb_str piece)
{
    struct kb_http_server *server = req->conn->server;
    if (req->body.n + piece.n > server->config.max_body_bytes)
        return body_refused(req, KB_E2BIG);
    if (server->body_bytes + piece.n > server->config.max_body_total)
        return body_refused(req, KB_EUNAVAILABLE);
    server->body_bytes += piece.n;
    req->accounted += piece.n;
    kb_buf_add_str(&req->body, piece);
    return 0;
}

void kb__req_deliver(struct kb_http_req *req)
{
    struct kb_http_server *server = req->conn->server;
    KB_ASSERT(!req->delivered);
    req->delivered = true;
    server->stats.requests++;
    server->config.handler->on_request(server->config.user, req);
}

bool kb__req_header_has(const struct kb_http_req *req, const char *lower_name, const char *token)
{
    kb_str rest = kb_http_req_header(req, lower_name);
    size_t n = strlen(token);
    while (rest.p != NULL) {
        kb_str word = kb_str_trim(kb_str_cut(&rest, ','));
        if (word.n == n && strncasecmp(word.p, token, n) == 0)
            return true;
    }
    return false;
}

int kb_http_req_problem(const struct kb_http_req *req)
{
    return req->problem;
}

enum kb_http_method kb_http_req_method(const struct kb_http_req *req)
{
    return req->method;
}

kb_str kb_http_req_method_name(const struct kb_http_req *req)
{
    return kb_str_of(req->method_name);
}

kb_str kb_http_req_target(const struct kb_http_req *req)
{
    return text_at(req, req->target, req->target_n);
}

kb_str kb_http_req_path(const struct kb_http_req *req)
{
    return req->path;
}

size_t kb_http_req_segments(const struct kb_http_req *req)
{
    return req->segments_n;
}

kb_str kb_http_req_segment(const struct kb_http_req *req, size_t at)
{
    return at < req->segments_n ? req->segments[at] : (kb_str){0};
}

bool kb_http_req_param_next(const struct kb_http_req *req, size_t *cursor, kb_str *ret_key,
                            kb_str *ret_value)
{
    if (*cursor >= req->params_n)
        return false;
    *ret_key = req->params[*cursor].key;
    *ret_value = req->params[*cursor].value;
    (*cursor)++;
    return true;
}

bool kb_http_req_param(const struct kb_http_req *req, const char *name, kb_str *ret_value)
{
    for (size_t i = 0; i < req->params_n; i++) {
        if (!kb_str_is(req->params[i].key, name))
            continue;
        if (ret_value)
            *ret_value = req->params[i].value;
        return true;
    }
    return false;
}

kb_str kb_http_req_header(const struct kb_http_req *req, const char *lower_name)
{
    size_t n = strlen(lower_name);
    for (size_t i = 0; i < req->fields_n; i++) {
        const struct kb__field *field = &req->fields[i];
        if (field->name_n == n && memcmp(req->text.p + field->name, lower_name, n) == 0)
            return text_at(req, field->value, field->value_n);
    }
    return (kb_str){0};
}

kb_str kb_http_req_body(const struct kb_http_req *req)
{
    return kb_buf_str(&req->body);
}

int kb_http_req_protocol(const struct kb_http_req *req)
{
    return req->conn->h2 ? 2 : 1;
}

enum kb_http_cert kb_http_req_cert(const struct kb_http_req *req)
{
    return req->conn->cert;
}

kb_str kb_http_req_user(const struct kb_http_req *req)
{
    return kb_str_of(req->conn->cert == KB_HTTP_CERT_OK ? req->conn->user : NULL);
}

size_t kb_http_req_groups(const struct kb_http_req *req)
{
    return req->conn->cert == KB_HTTP_CERT_OK ? req->conn->groups_n : 0;
}

kb_str kb_http_req_group(const struct kb_http_req *req, size_t at)
{
    return at < kb_http_req_groups(req) ? kb_str_of(req->conn->groups[at]) : (kb_str){0};
}

void kb_http_req_set_user(struct kb_http_req *req, void *context)
{
    req->context = context;
}

void *kb_http_req_context(const struct kb_http_req *req)
{
    return req->context;
}
