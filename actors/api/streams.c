/* streams.c - what runs between a client and a node agent: logs, exec, attach.
 *
 * Both sides are asynchronous and either may be slow. Towards the client the HTTP queue is watched:
 * above its low-water mark the bus stream gets no more credit until it drains. Towards the agent a
 * full stream pauses the reading of the WebSocket. */
#include "actors/api/api.h"

#include "bus/base/check.h"
#include "bus/http/ws.h"
#include "bus/model/json.h"
#include "bus/model/key.h"
#include "bus/model/meta.h"

#include <stdio.h>
#include <stdlib.h>

enum { HIGH_BYTES = 256 * 1024 };

/* Channels of Kubernetes' remote command protocol: the first byte of each message. */
enum { CH_STDIN = 0, CH_STDOUT = 1, CH_STDERR = 2, CH_ERROR = 3, CH_RESIZE = 4, CH_CLOSE = 255 };

struct session {
    struct kb__op op;
    kb_str ns, pod, container;
    bool exec, attach, v5; /* else logs */
    bool in, out, err, tty;
    bool started, stdin_ended;
    uint64_t call;
    struct kb_stream *stream;
    struct kb_buf pending; /* stdin that the agent did not take yet */
};

static void session_free(struct session *s)
{
    if (s->call)
        kb_call_cancel(s->op.api->store, s->call);
    if (s->stream)
        kb_stream_abort(s->stream, &(struct kb_err){KB_ECANCELED, "the client went away"});
    kb_buf_finish(&s->pending);
    free(s);
}

static void session_closed(struct kb__op *op)
{
    session_free((struct session *)op);
}

static void session_drain(struct kb__op *op)
{
    struct session *s = (struct session *)op;
    if (s->stream)
        kb_stream_pause(s->stream, false);
}

static void hold_when_full(struct session *s)
{
    if (s->stream && kb_http_stream_queued(s->op.req) > HIGH_BYTES)
        kb_stream_pause(s->stream, true);
}

/* ---- logs ---- */

static void log_start(struct session *s)
{
    struct kb_http_header header = {"cache-control", "no-cache, private"};
    struct kb_http_head head = {
        .status = 200, .content_type = "text/plain", .headers = &header, .headers_n = 1};
    if (!s->started)
        kb_http_stream_start(s->op.req, &head);
    s->started = true;
}

static void log_data(void *user, struct kb_stream *stream, kb_val body)
{
    (void)stream;
    struct session *s = user;
    log_start(s);
    struct kb_blob *blob = kb_blob_new(kb_val_str(kb_val_get(body, "bytes")));
    int rc = kb_http_stream_write(s->op.req, blob);
    kb_blob_unref(&blob);
    if (rc == 0)
        hold_when_full(s);
}

static void log_end(void *user, struct kb_stream *stream, const struct kb_err *err, kb_val body)
{
    (void)body;
    struct session *s = user;
    if (err)
        s->stream = NULL;
    if (err && !s->started) {
        kb__answer_err(s->op.api, s->op.req, err);
    } else {
        log_start(s);
        if (err) { /* in the text, as there is no other place for it */
            KB_AUTO(kb_auto_free) char *text = kb_strf("\n%s\n", err->text);
            struct kb_blob *blob = kb_blob_new(kb_str_of(text));
            kb_http_stream_write(s->op.req, blob);
            kb_blob_unref(&blob);
        }
        kb_http_stream_end(s->op.req);
    }
    if (s->stream)
        kb_stream_end(stream, (kb_val){0});
    s->stream = NULL;
    session_free(s);
}

static const struct kb_stream_handlers log_handlers = {.data = log_data, .end = log_end};

/* ---- exec and attach, over WebSocket ---- */

static void channel_send(struct session *s, int channel, kb_str data)
{
    char prefix = (char)channel;
    kb_http_ws_send(s->op.req, kb_str_n(&prefix, 1), data, false);
}

/* The last word: a Status on the error channel, from which kubectl takes the exit code. */
static void send_result(struct session *s, const struct kb_err *err, int64_t exit_code)
{
    KB_AUTO(kb_w_finish) struct kb_w w = {0};
    KB_AUTO(kb_buf_finish) struct kb_buf json = {0};
    char text[128];
    kb_w_map(&w);
    kb_w_kmap(&w, "metadata");
    kb_w_end(&w);
    kb_w_kcstr(&w, "status", err || exit_code ? "Failure" : "Success");
    if (err) {
        kb_w_kcstr(&w, "reason", "InternalError");
        kb_w_kcstr(&w, "message", err->text);
        kb_w_kint(&w, "code", 500);
    } else if (exit_code) {
        snprintf(text, sizeof(text), "command terminated with non-zero exit code: exit status %lld",
                 (long long)exit_code);
        kb_w_kcstr(&w, "message", text);
        kb_w_kcstr(&w, "reason", "NonZeroExitCode");
        kb_w_kmap(&w, "details");
        kb_w_karray(&w, "causes");
        kb_w_map(&w);
        kb_w_kcstr(&w, "reason", "ExitCode");
        snprintf(text, sizeof(text), "%lld", (long long)exit_code);
        kb_w_kcstr(&w, "message", text);
        kb_w_end(&w);
        kb_w_end(&w);
        kb_w_end(&w);
    }
    kb_w_end(&w);
    kb_json_write(&json, kb_w_val(&w), 0);
    channel_send(s, CH_ERROR, kb_buf_str(&json));
}

static void exec_data(void *user, struct kb_stream *stream, kb_val body)
{
    (void)stream;
    struct session *s = user;
    kb_val out = kb_val_get(body, "stdout"), err = kb_val_get(body, "stderr");
    if (out.p)
        channel_send(s, CH_STDOUT, kb_val_str(out));
    if (err.p)
        channel_send(s, CH_STDERR, kb_val_str(err));
    hold_when_full(s);
}

static void exec_end(void *user, struct kb_stream *stream, const struct kb_err *err, kb_val body)
{
    struct session *s = user;
    if (!err && !s->stdin_ended)
        kb_stream_end(stream, (kb_val){0});
    s->stream = NULL;
    send_result(s, err, kb_val_int(kb_val_get(body, "exit_code"), 0));
    kb_http_ws_close(s->op.req, KB_WS_NORMAL, "");
    session_free(s);
}

static void exec_writable(void *user, struct kb_stream *stream);

static const struct kb_stream_handlers exec_handlers = {exec_data, exec_end, exec_writable};

static void send_stdin(struct session *s, kb_str data)
{
    KB_AUTO(kb_w_finish) struct kb_w w = {0};
    kb_w_map(&w);
    kb_w_key(&w, "stdin");
    kb_w_bin(&w, data.p, data.n);
    kb_w_end(&w);
    if (kb_stream_send(s->stream, kb_w_val(&w)) == 0)
        return;
    /* Not queued: hold it, and the client, until the agent takes more. */
    KB_ASSERT(s->pending.n == 0);
    kb_buf_add_str(&s->pending, data);
    kb_http_ws_pause(s->op.req, true);
}

static void exec_writable(void *user, struct kb_stream *stream)
{
    (void)stream;
    struct session *s = user;
    KB_AUTO(kb_buf_finish) struct kb_buf data = s->pending;
    s->pending = (struct kb_buf){0};
    if (data.n > 0)
        send_stdin(s, kb_buf_str(&data));
    if (s->pending.n == 0)
        kb_http_ws_pause(s->op.req, false);
}

static void send_resize(struct session *s, kb_str json)
{
    KB_AUTO(kb_doc_destroy) struct kb_doc *doc = NULL;
    KB_AUTO(kb_w_finish) struct kb_w w = {0};
    if (kb_json_doc(json, &doc, NULL) < 0)
        return;
    kb_w_map(&w);
    kb_w_kmap(&w, "resize");
    kb_w_kint(&w, "width", kb_val_int_at(kb_doc_root(doc), "Width", 80));
    kb_w_kint(&w, "height", kb_val_int_at(kb_doc_root(doc), "Height", 24));
    kb_w_end(&w);
    kb_w_end(&w);
    kb_stream_send(s->stream, kb_w_val(&w));
}

static void exec_message(struct kb__op *op, kb_str data, bool text)
{
    (void)text;
    struct session *s = (struct session *)op;
    if (data.n == 0 || s->stream == NULL)
        return;
    int channel = (unsigned char)data.p[0];
    kb_str rest = kb_str_n(data.p + 1, data.n - 1);
    bool closes_stdin = channel == CH_CLOSE && s->v5 && rest.n == 1 && rest.p[0] == CH_STDIN;
    if (channel == CH_STDIN && s->in && rest.n && !s->stdin_ended) {
        send_stdin(s, rest);
    } else if (channel == CH_RESIZE && s->tty && !s->stdin_ended) {
        send_resize(s, rest);
    } else if (closes_stdin && !s->stdin_ended) {
        s->stdin_ended = true;
        kb_stream_end(s->stream, (kb_val){0});
    }
}

static bool exec_accept(struct session *s)
{
    static const char *const protocols[] = {"v5.channel.k8s.io", "v4.channel.k8s.io", NULL};
    const char *protocol = kb_http_ws_choose(s->op.req, protocols);
    if (protocol == NULL) {
        kb__answer_code(
            s->op.api, s->op.req, 400, "BadRequest",
            "unable to upgrade: no subprotocol of v5.channel.k8s.io, v4.channel.k8s.io");
        return false;
    }
    s->v5 = protocol == protocols[0];
    kb_http_ws_accept(s->op.req, protocol);
    /* An empty message tells the client that the streams are there. */
    channel_send(s, s->out ? CH_STDOUT : s->err ? CH_STDERR : CH_ERROR, (kb_str){0});
    return true;
}

/* ---- the pod: where it runs, which container ---- */

static bool has_container(kb_val pod, const char *list, kb_str name)
{
    for (struct kb_iter it = kb_iter(kb_val_get(kb_val_get(pod, "spec"), list)); kb_iter_next(&it);)
        if (kb_str_eq(kb_val_str(kb_val_get(it.val, "name")), name))
            return true;
    return false;
}

static void container_names(kb_val pod, struct kb_buf *out)
{
    for (struct kb_iter it = kb_iter(kb_val_at(pod, "spec.containers")); kb_iter_next(&it);)
        kb_buf_printf(out, "%s" KB_STR_FMT, out->n ? " " : "",
                      KB_STR_ARG(kb_val_str(kb_val_get(it.val, "name"))));
}

/* The container named, or the only one, or the annotated default. False: answered with why not. */
static bool choose_container(struct session *s, kb_val pod)
{
    struct kb__api *api = s->op.api;
    kb_val containers = kb_val_at(pod, "spec.containers");
    if (s->container.n == 0)
        s->container = kb_meta_annotation(pod, "kubectl.kubernetes.io/default-container");
    if (s->container.n == 0 && (kb_val_count(containers) == 1 || s->exec))
        s->container = kb_val_str_at(kb_val_index(containers, 0), "name");
    if (s->container.n == 0) {
        KB_AUTO(kb_buf_finish) struct kb_buf names = {0};
        container_names(pod, &names);
        kb__answer_code(api, s->op.req, 400, "BadRequest",
                        "a container name must be specified for pod " KB_STR_FMT
                        ", choose one of: [%s]",
                        KB_STR_ARG(s->pod), names.p ? names.p : "");
        return false;
    }
    if (has_container(pod, "containers", s->container) ||
        has_container(pod, "initContainers", s->container) ||
        has_container(pod, "ephemeralContainers", s->container))
        return true;
    kb__answer_code(api, s->op.req, 400, "BadRequest",
                    "container " KB_STR_FMT " is not valid for pod " KB_STR_FMT,
                    KB_STR_ARG(s->container), KB_STR_ARG(s->pod));
    return false;
}

static void common_body(struct session *s, kb_val pod, struct kb_w *w)
{
    kb_w_map(w);
    kb_w_kstr(w, "ns", s->ns);
    kb_w_kstr(w, "pod", s->pod);
    kb_w_kstr(w, "uid", kb_meta_uid(pod));
    kb_w_kstr(w, "container", s->container);
}

/* False: a parameter is malformed, and was answered. */
static bool log_body(struct session *s, kb_val pod, struct kb_w *w)
{
    struct kb_http_req *req = s->op.req;
    int64_t number = 0, now_us = kb_clock_wall_us(kb_actor_clock(s->op.api->actor)), since_us = 0;
    kb_str since_time = kb__param(req, "sinceTime");
    common_body(s, pod, w);
    kb_w_kbool(w, "follow", kb__param_true(req, "follow"));
    kb_w_kbool(w, "timestamps", kb__param_true(req, "timestamps"));
    kb_w_kbool(w, "previous", kb__param_true(req, "previous"));
    if (kb_str_i64(kb__param(req, "tailLines"), &number) && number >= 0)
        kb_w_kint(w, "tail", number);
    if (kb_str_i64(kb__param(req, "limitBytes"), &number) && number > 0)
        kb_w_kint(w, "limit_bytes", number);
    if (kb_str_i64(kb__param(req, "sinceSeconds"), &number) && number > 0)
        since_us = now_us - kb_seconds_us(number);
    if (since_time.n) {
        KB_AUTO(kb_auto_free) char *text = kb_str_dup(since_time);
        if (kb_time_parse(text, &since_us) < 0) {
            kb__answer_code(s->op.api, req, 400, "BadRequest", "sinceTime: not a time: %s", text);
            return false;
        }
    }
    if (since_us > 0)
        kb_w_kint(w, "since_us", since_us);
    kb_w_end(w);
    return true;
}

static void exec_body(struct session *s, kb_val pod, struct kb_w *w)
{
    kb_str key, value;
    common_body(s, pod, w);
    if (!s->attach) {
        kb_w_karray(w, "command");
        for (size_t at = 0; kb_http_req_param_next(s->op.req, &at, &key, &value);)
            if (kb_str_is(key, "command"))
                kb_w_str(w, value);
        kb_w_end(w);
    }
    kb_w_kbool(w, "stdin", s->in);
    kb_w_kbool(w, "stdout", s->out);
    kb_w_kbool(w, "stderr", s->err);
    kb_w_kbool(w, "tty", s->tty);
    kb_w_end(w);
}

static void open_stream(struct session *s, kb_val pod, kb_str node)
{
    KB_AUTO(kb_auto_free) char *service = kb_strf("agent/" KB_STR_FMT, KB_STR_ARG(node));
    KB_AUTO(kb_w_finish) struct kb_w w = {0};
    struct kb_peer *peer = kb_actor_peer(s->op.api->actor, service);
    if (!s->exec) {
        if (!log_body(s, pod, &w)) {
            session_free(s);
            return;
        }
        s->stream = kb_stream_open(peer, "agent.logs", kb_w_val(&w), &log_handlers, s);
        return;
    }
    if (!exec_accept(s)) {
        session_free(s);
        return;
    }
    exec_body(s, pod, &w);
    s->stream = kb_stream_open(peer, s->attach ? "agent.attach" : "agent.exec", kb_w_val(&w),
                               &exec_handlers, s);
}

static void on_pod(void *user, const struct kb_err *err, kb_val body)
{
    struct session *s = user;
    struct kb__api *api = s->op.api;
    kb_val pod = kb_val_get(body, "doc");
    kb_str node = kb_val_str_at(pod, "spec.nodeName");
    s->call = 0;
    if (err) {
        const struct kb_kind *kind = kb_kinds_by_resource(api->kinds, kb_str_of("pods"));
        kb__answer_store_err(api, s->op.req, kind, s->pod, err);
        session_free(s);
    } else if (!choose_container(s, pod)) {
        session_free(s);
    } else if (node.n == 0 && !s->exec) { /* nothing has run: nothing to show */
        kb__answer_text(api, s->op.req, 200, (kb_str){0});
        session_free(s);
    } else if (node.n == 0) {
        kb__answer_code(api, s->op.req, 400, "BadRequest",
                        "pod " KB_STR_FMT " does not have a host assigned", KB_STR_ARG(s->pod));
        session_free(s);
    } else if (s->exec && !kb_http_req_is_websocket(s->op.req)) {
        kb__answer_code(api, s->op.req, 400, "BadRequest", "Upgrade request required");
        session_free(s);
    } else {
        open_stream(s, pod, node);
    }
}

static void find_pod(struct session *s, const struct kb_route *route)
{
    char key[KB_KEY_MAX_BYTES + 1] = "";
    KB_AUTO(kb_w_finish) struct kb_w w = {0};
    kb_key_format((struct kb_key){route->kind->resource, route->ns, route->name}, key, sizeof(key));
    kb_w_map(&w);
    kb_w_kcstr(&w, "key", key);
    kb_w_end(&w);
    s->call = kb_call(s->op.api->store, "store.get", kb_w_val(&w), KB__CALL_MS, on_pod, s);
}

static struct session *session_new(struct kb__api *api, struct kb_http_req *req,
                                   const struct kb_route *route)
{
    struct session *s = calloc(1, sizeof(*s));
    KB_ASSERT(s != NULL);
    s->ns = route->ns;
    s->pod = route->name;
    s->container = kb__param(req, "container");
    s->op.closed = session_closed;
    s->op.drain = session_drain;
    kb__op_begin(&s->op, api, req);
    return s;
}

void kb__pod_log(struct kb__api *api, struct kb_http_req *req, const struct kb_route *route)
{
    find_pod(session_new(api, req, route), route);
}

void kb__pod_exec(struct kb__api *api, struct kb_http_req *req, const struct kb_route *route)
{
    /* A client that asks again without a WebSocket, as kubectl does when one was refused, shows
     * its user the second answer: so that is asked for last. */
    struct session *s = session_new(api, req, route);
    s->exec = true;
    s->attach = kb_str_is(route->subresource, "attach");
    s->in = kb__param_true(req, "stdin");
    s->out = kb__param_true(req, "stdout");
    s->tty = kb__param_true(req, "tty");
    s->err = kb__param_true(req, "stderr") && !s->tty;
    s->op.message = exec_message;
    find_pod(s, route);
}
