/* agent_streams.c - `kubectl logs`, `exec` and `attach` as they arrive here: streams with credit. A
 * reader that is slow stops us from reading the file or the program's pipe; nothing is buffered
 * beyond what the stream takes. */
#include "agent/agent_impl.h"
#include "agent/files.h"
#include "bus/base/check.h"
#include "bus/base/log.h"
#include "bus/call.h"

#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

enum { CHUNK = 16384, ARGS_MAX = 1024, DRAIN_MS = 1000 };

struct pump { /* one output of a program */
    struct session *session;
    const char *name;
    int fd;
    struct kb_ev_fd *watch;
    struct kb_buf pending; /* read, but the stream was full */
    bool over;
};

struct session {
    struct kb_link link;
    struct kb_agent *agent;
    struct kb_stream *stream;
    /* logs */
    struct kb_log_reader *reader;
    char uid[64];
    int container;
    unsigned attempt;
    /* exec */
    struct kb_rt_exec *exec;
    struct kb_rt_exec_io io;
    bool ready, exited, stdin_over, peer_ended, ended;
    int exit_code;
    uint16_t rows, cols;
    struct pump out, err;
    struct kb_buf input;
    struct kb_ev_fd *in_watch;
    struct kb_ev_timer drain;
    char **argv;
};

/* Stop all that it does. */
static void session_release(struct session *s)
{
    struct kb_ev *ev = s->agent->ev;
    kb_ev_disarm(ev, &s->drain);
    kb_ev_unwatch(&s->out.watch);
    kb_ev_unwatch(&s->err.watch);
    kb_ev_unwatch(&s->in_watch);
    kb_log_destroy(&s->reader);
    kb_rt_exec_destroy(&s->exec);
    kb_buf_finish(&s->input);
    kb_buf_finish(&s->out.pending);
    kb_buf_finish(&s->err.pending);
    s->io = (struct kb_rt_exec_io){-1, -1, -1};
}

static void session_free(struct session *s)
{
    kb_list_remove(&s->link);
    session_release(s);
    for (char **it = s->argv; it != NULL && *it != NULL; it++)
        free(*it);
    free(s->argv);
    free(s);
}

/* Say our last word. The session is freed when the other side has said its own. */
static void session_end(struct session *s, kb_val body)
{
    bool over = s->peer_ended;
    s->ended = true;
    session_release(s);
    kb_stream_end(s->stream, body);
    if (over)
        session_free(s);
}

static struct session *session_new(struct kb_agent *agent)
{
    struct session *s = calloc(1, sizeof *s);
    KB_ASSERT(s != NULL);
    s->agent = agent;
    s->io = (struct kb_rt_exec_io){-1, -1, -1};
    kb_list_push(&agent->streams, &s->link);
    return s;
}

/* The pod and container that a call means; fails the request otherwise. */
static struct kb__pod *find(struct kb_agent *agent, kb_val body, int *ret_container,
                            struct kb_err *err)
{
    kb_str ns = kb_val_str_at(body, "ns"), name = kb_val_str_at(body, "pod");
    kb_str uid = kb_val_str_at(body, "uid"), container = kb_val_str_at(body, "container");
    struct kb__pod *pod = kb__pod_named(agent, ns, name);
    if (pod == NULL || (uid.n > 0 && !kb_str_is(uid, kb_pod_core_uid(pod->core)))) {
        kb_err_set(err, KB_ENOTFOUND, "pods \"" KB_STR_FMT "\" not found", KB_STR_ARG(name));
        return NULL;
    }
    *ret_container = kb_pod_core_find(pod->core, container);
    if (container.n == 0) /* the first regular one */
        *ret_container = (int)kb_val_count(
            kb_val_at(kb_doc_root(kb_pod_core_doc(pod->core)), "spec.initContainers"));
    if (*ret_container < 0 || *ret_container >= kb_pod_core_count(pod->core)) {
        kb_err_set(err, KB_EINVAL, "container " KB_STR_FMT " is not valid for pod " KB_STR_FMT,
                   KB_STR_ARG(container), KB_STR_ARG(name));
        return NULL;
    }
    return pod;
}

/* ---- logs ---- */

static bool log_bytes(void *arg, kb_str bytes)
{
    struct session *s = arg;
    KB_AUTO(kb_w_finish) struct kb_w w = {0};
    kb_w_map(&w);
    kb_w_key(&w, "bytes");
    kb_w_bin(&w, bytes.p, bytes.n);
    kb_w_end(&w);
    return kb_stream_send(s->stream, kb_w_val(&w)) == 0;
}

static void log_end(void *arg)
{
    struct session *s = arg;
    session_end(s, (kb_val){0});
}

static void logs_data(void *user, struct kb_stream *stream, kb_val body)
{
    (void)user, (void)stream, (void)body;
}

/* The reader has closed its direction (which means nothing) or the stream broke. */
static void logs_gone(void *user, struct kb_stream *stream, const struct kb_err *err, kb_val body)
{
    struct session *s = user;
    (void)stream, (void)body;
    s->peer_ended = true;
    if (err != NULL || s->ended)
        session_free(s);
}

static void logs_writable(void *user, struct kb_stream *stream)
{
    struct session *s = user;
    (void)stream;
    if (s->reader != NULL)
        kb_log_resume(s->reader);
}

static const struct kb_stream_handlers logs_handlers = {logs_data, logs_gone, logs_writable};

/* The newest log before that of `attempt`; -1 when there is none. */
static int previous_log(const struct kb__pod *pod, const char *container, int attempt)
{
    KB_AUTO(kb_auto_free) char *path = kb_strf("%s/logs/%s", pod->dir, container);
    DIR *dir = opendir(path);
    int best = -1;
    for (struct dirent *entry; dir != NULL && (entry = readdir(dir)) != NULL;) {
        int n = atoi(entry->d_name);
        if (entry->d_name[0] != '.' && n < attempt && n > best)
            best = n;
    }
    if (dir != NULL)
        closedir(dir);
    return best;
}

/* Why a container has not started, in the words of kubelet. */
static const char *why_waiting(const struct kb__pod *pod, const char *container, struct kb_arena *a)
{
    static const char *const lists[] = {"containerStatuses", "initContainerStatuses"};
    const struct kb_doc *status = kb_pod_core_status(pod->core);
    kb_str reason = {0};
    for (size_t k = 0; k < KB_COUNT(lists); k++)
        for (struct kb_iter it = kb_iter(kb_doc_at(status, lists[k])); kb_iter_next(&it);)
            if (kb_str_is(kb_val_str_at(it.val, "name"), container))
                reason = kb_val_str_at(it.val, "state.waiting.reason");
    return kb_str_is(reason, "ErrImagePull")       ? "image can't be pulled"
           : kb_str_is(reason, "ImagePullBackOff") ? "trying and failing to pull image"
           : reason.n > 0                          ? kb_arena_str(a, reason).p
                                                   : "ContainerCreating";
}

/* Which attempt's log is meant; fails as kubelet does when there is none. */
static int choose_log(const struct kb__pod *pod, int container, bool previous, struct kb_err *err)
{
    const char *name = kb_pod_core_container_name(pod->core, container);
    int attempt = kb_pod_core_attempt(pod->core, container);
    if (previous) {
        int before = attempt < 0 ? -1 : previous_log(pod, name, attempt);
        if (before < 0)
            kb_err_set(err, KB_EINVAL,
                       "previous terminated container \"%s\" in pod \"%s\" not found", name,
                       kb_pod_core_name(pod->core));
        return before;
    }
    if (attempt < 0) {
        KB_AUTO(kb_arena_finish) struct kb_arena arena = {0};
        kb_err_set(err, KB_EINVAL, "container \"%s\" in pod \"%s\" is waiting to start: %s", name,
                   kb_pod_core_name(pod->core), why_waiting(pod, name, &arena));
    }
    return attempt;
}

static void serve_logs(void *user, struct kb_request *request, kb_val body)
{
    struct kb_agent *agent = user;
    struct kb_err err = {0};
    int container = -1;
    bool previous = kb_val_bool_at(body, "previous", false);
    struct kb__pod *pod = find(agent, body, &container, &err);
    int attempt = pod != NULL ? choose_log(pod, container, previous, &err) : -1;
    if (attempt < 0) {
        kb_request_fail(&request, &err);
        return;
    }
    struct kb_log_options options = {.follow = kb_val_bool_at(body, "follow", false),
                                     .timestamps = kb_val_bool_at(body, "timestamps", false),
                                     .tail = kb_val_int_at(body, "tail", -1),
                                     .since_us = kb_val_int_at(body, "since_us", 0),
                                     .limit_bytes = kb_val_int_at(body, "limit_bytes", 0)};
    static const struct kb_log_handlers handlers = {log_bytes, log_end};
    KB_AUTO(kb_auto_free)
    char *path = kb__pod_log_path(pod, kb_pod_core_container_name(pod->core, container), attempt);
    struct session *s = session_new(agent);
    snprintf(s->uid, sizeof s->uid, "%s", kb_pod_core_uid(pod->core));
    s->container = container;
    s->attempt = (unsigned)attempt;
    bool live = !previous && kb_pod_core_running(pod->core, container);
    s->stream = kb_request_stream(&request, &logs_handlers, s);
    s->reader = kb_log_open(agent->ev, path, &options, live, &handlers, s);
}

void kb__streams_ended(struct kb_agent *agent, const struct kb__pod *pod, int container,
                       unsigned attempt)
{
    KB_LIST_EACH_SAFE(it, &agent->streams)
    {
        struct session *s = KB_CONTAINER(it, struct session, link);
        if (s->reader != NULL && strcmp(s->uid, kb_pod_core_uid(pod->core)) == 0 &&
            (container < 0 || (s->container == container && s->attempt == attempt)))
            kb_log_over(s->reader);
    }
}

/* ---- exec ---- */

static void exec_finish(struct session *s)
{
    KB_AUTO(kb_w_finish) struct kb_w w = {0};
    kb_w_map(&w);
    kb_w_kint(&w, "exit_code", s->exit_code);
    kb_w_end(&w);
    session_end(s, kb_w_val(&w));
}

static void check_exec_over(struct session *s)
{
    if (s->exited && s->out.over && s->err.over)
        exec_finish(s);
}

static void pump_over(struct pump *pump)
{
    pump->over = true;
    kb_ev_unwatch(&pump->watch);
}

/* Send what was read. False: the stream is full; `pending` waits for it to be writable. */
static bool pump_send(struct pump *pump)
{
    KB_AUTO(kb_w_finish) struct kb_w w = {0};
    if (pump->pending.n == 0)
        return true;
    kb_w_map(&w);
    kb_w_key(&w, pump->name);
    kb_w_bin(&w, pump->pending.p, pump->pending.n);
    kb_w_end(&w);
    if (kb_stream_send(pump->session->stream, kb_w_val(&w)) < 0) {
        kb_ev_unwatch(&pump->watch);
        return false;
    }
    kb_buf_clear(&pump->pending);
    return true;
}

static void pump_once(struct pump *pump)
{
    ssize_t n = read(pump->fd, kb_buf_reserve(&pump->pending, CHUNK), CHUNK);
    if (n < 0 && (errno == EAGAIN || errno == EINTR))
        return;
    if (n <= 0) {
        pump_over(pump);
        check_exec_over(pump->session);
        return;
    }
    pump->pending.n += (size_t)n;
    (void)pump_send(pump);
}

static void on_pump(void *arg, uint32_t events)
{
    (void)events;
    pump_once(arg);
}

static void pump_watch(struct pump *pump)
{
    if (!pump->over && pump->fd >= 0 && pump->watch == NULL)
        pump->watch = kb_ev_watch(pump->session->agent->ev, pump->fd, EPOLLIN, on_pump, pump);
}

static void pump_start(struct session *s, struct pump *pump, const char *name, int fd)
{
    *pump = (struct pump){.session = s, .name = name, .fd = fd, .over = fd < 0};
    pump_watch(pump);
}

static void feed(struct session *s);

static void on_in(void *arg, uint32_t events)
{
    (void)events;
    feed(arg);
}

/* What has come for the program's input, as far as it takes it. */
static void feed(struct session *s)
{
    while (s->ready && s->input.n > 0 && s->io.in >= 0) {
        ssize_t n = write(s->io.in, s->input.p, s->input.n);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0 && errno == EAGAIN) {
            if (s->in_watch == NULL)
                s->in_watch = kb_ev_watch(s->agent->ev, s->io.in, EPOLLOUT, on_in, s);
            kb_stream_pause(s->stream, true);
            return;
        }
        if (n < 0) { /* it does not read any more */
            kb_buf_clear(&s->input);
            break;
        }
        kb_buf_drop(&s->input, (size_t)n);
    }
    if (s->ready && s->io.in < 0) /* it has no input: what comes for it goes nowhere */
        kb_buf_clear(&s->input);
    kb_ev_unwatch(&s->in_watch);
    kb_stream_pause(s->stream, s->input.n > 0); /* until it has started */
    if (s->ready && s->stdin_over && s->input.n == 0 && s->exec != NULL) {
        kb_rt_exec_close_stdin(s->exec);
        s->io.in = -1;
        s->stdin_over = false;
    }
}

static void exec_ready(void *arg, const struct kb_rt_exec_io *io)
{
    struct session *s = arg;
    s->ready = true;
    s->io = *io;
    pump_start(s, &s->out, "stdout", io->out);
    pump_start(s, &s->err, "stderr", io->err);
    if (s->rows > 0)
        kb_rt_exec_resize(s->exec, s->rows, s->cols);
    feed(s);
}

/* A grandchild that keeps an output open must not keep the session open. */
static void on_drained(void *arg)
{
    exec_finish(arg);
}

static void exec_done(void *arg, int rc, const struct kb_err *err, int exit_code)
{
    struct session *s = arg;
    if (rc < 0) {
        kb_stream_abort(s->stream, err);
        session_free(s);
        return;
    }
    s->exited = true;
    s->exit_code = exit_code;
    kb_ev_arm(s->agent->ev, &s->drain, DRAIN_MS, on_drained, s);
    check_exec_over(s);
}

static void exec_data(void *user, struct kb_stream *stream, kb_val body)
{
    struct session *s = user;
    kb_val bytes = kb_val_get(body, "stdin"), size = kb_val_get(body, "resize");
    (void)stream;
    if (kb_val_present(bytes)) {
        kb_buf_add_str(&s->input, kb_val_str(bytes));
        feed(s);
    }
    if (kb_val_present(size)) {
        s->cols = (uint16_t)kb_val_int_at(size, "width", 0);
        s->rows = (uint16_t)kb_val_int_at(size, "height", 0);
        if (s->ready && s->rows > 0)
            kb_rt_exec_resize(s->exec, s->rows, s->cols);
    }
}

static void exec_end(void *user, struct kb_stream *stream, const struct kb_err *err, kb_val body)
{
    struct session *s = user;
    (void)stream, (void)body;
    s->peer_ended = true;
    if (err != NULL || s->ended) { /* the caller has gone: so does the program */
        session_free(s);
        return;
    }
    s->stdin_over = true;
    feed(s);
}

static void exec_writable(void *user, struct kb_stream *stream)
{
    struct session *s = user;
    (void)stream;
    if (!s->ready)
        return;
    if (pump_send(&s->out))
        pump_watch(&s->out);
    if (pump_send(&s->err))
        pump_watch(&s->err);
}

static const struct kb_stream_handlers exec_stream_handlers = {exec_data, exec_end, exec_writable};
static const struct kb_rt_exec_handlers exec_handlers = {exec_ready, exec_done};

static char **command_of(kb_val command)
{
    size_t n = 0;
    char **argv = calloc(kb_val_count(command) + 1, sizeof *argv);
    KB_ASSERT(argv != NULL);
    for (struct kb_iter it = kb_iter(command); kb_iter_next(&it);)
        argv[n++] = kb_str_dup(kb_val_str(it.val));
    return argv;
}

static struct kb_rt_exec_spec exec_spec(const struct kb__pod *pod, int container, kb_val body)
{
    return (struct kb_rt_exec_spec){.ref = {kb_pod_core_uid(pod->core),
                                            kb_pod_core_container_name(pod->core, container),
                                            (unsigned)kb_pod_core_attempt(pod->core, container)},
                                    .tty = kb_val_bool_at(body, "tty", false),
                                    .with_stdin = kb_val_bool_at(body, "stdin", false)};
}

/* The same streams as those of an exec, of the container's own program. */
static void serve_attach(void *user, struct kb_request *request, kb_val body)
{
    struct kb_agent *agent = user;
    struct kb_err err = {0};
    int container = -1;
    struct kb__pod *pod = find(agent, body, &container, &err);
    if (pod != NULL && !kb_pod_core_running(pod->core, container))
        kb_err_set(&err, KB_EINVAL, "container %s is not running",
                   kb_pod_core_container_name(pod->core, container));
    if (pod == NULL || err.code != 0) {
        kb_request_fail(&request, &err);
        return;
    }
    struct session *s = session_new(agent);
    struct kb_rt_exec_spec spec = exec_spec(pod, container, body);
    s->stream = kb_request_stream(&request, &exec_stream_handlers, s);
    s->exec = kb_runtime_attach(agent->rt, &spec, &exec_handlers, s);
}

static void serve_exec(void *user, struct kb_request *request, kb_val body)
{
    struct kb_agent *agent = user;
    struct kb_err err = {0};
    int container = -1;
    struct kb__pod *pod = find(agent, body, &container, &err);
    kb_val command = kb_val_get(body, "command");
    if (pod != NULL && !kb_pod_core_running(pod->core, container))
        kb_err_set(&err, KB_EINVAL, "container not found (\"%s\")",
                   kb_pod_core_container_name(pod->core, container));
    else if (pod != NULL && (kb_val_count(command) == 0 || kb_val_count(command) > ARGS_MAX))
        kb_err_set(&err, KB_EINVAL, "you must specify at least 1 command for the container");
    if (pod == NULL || err.code != 0) {
        kb_request_fail(&request, &err);
        return;
    }
    struct session *s = session_new(agent);
    s->argv = command_of(command);
    struct kb_rt_exec_spec spec = exec_spec(pod, container, body);
    spec.argv = (const char *const *)s->argv;
    s->stream = kb_request_stream(&request, &exec_stream_handlers, s);
    s->exec = kb_runtime_exec(agent->rt, &spec, &exec_handlers, s);
}

/* ---- */

static const struct kb_method methods[] = {
    {"agent.logs", serve_logs}, {"agent.exec", serve_exec}, {"agent.attach", serve_attach}};

void kb__streams_serve(struct kb_agent *agent)
{
    kb_list_init(&agent->streams);
    kb_actor_serve(agent->actor, methods, KB_COUNT(methods), agent);
}

void kb__streams_free_all(struct kb_agent *agent)
{
    while (!kb_list_empty(&agent->streams))
        session_free(KB_CONTAINER(agent->streams.next, struct session, link));
}
