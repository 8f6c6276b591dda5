/* api_actor.c - the shell of the gateway: one loop for the bus and for HTTPS, who may do what, and
 * which part serves a request.
 *
 * The HTTP server is stepped when its descriptor is readable, when its timer is due, and at the end
 * of each pass in which something was answered: the answers of a whole batch from the bus leave
 * together.
 *
 * Who may do what, for now: members of system:masters anything, everybody else the health checks
 * and the version. (RBAC comes with its own issue.) */
#include "actors/api/api_actor.h"

#include "actors/api/api.h"
#include "actors/api/certs.h"
#include "actors/api/watch.h"
#include "bus/base/check.h"
#include "bus/base/log.h"

#include <stdlib.h>
#include <sys/epoll.h>

enum { STOP_MS = 5000 };
enum { CERTS_MS = 12 * 3600 * 1000, CERTS_RETRY_MS = 600 * 1000 };

/* ---- the loop's wiring ---- */

static void on_timer(void *user);

static void step(void *user)
{
    struct kb__api *api = user;
    kb_ms now_ms = kb_loop_now(api->loop);
    kb_http_server_step(api->http, now_ms);
    kb_ms wait_ms = kb_http_server_wait_ms(api->http, now_ms);
    api->http_timer.fn = on_timer;
    api->http_timer.user = api;
    if (wait_ms > 0)
        kb_loop_timer_set(api->loop, &api->http_timer, wait_ms);
    else
        kb_loop_timer_stop(api->loop, &api->http_timer);
    if (api->stopping && kb_http_server_idle(api->http))
        kb_actor_stopped(api->actor);
}

static void on_timer(void *user)
{
    step(user);
}

static void on_http_fd(void *user, int fd, uint32_t events)
{
    (void)fd, (void)events;
    step(user);
}

static void on_wake(void *user)
{
    struct kb__api *api = user;
    kb_loop_defer(api->loop, step, api);
}

/* ---- who may do what ---- */

static bool is_master(struct kb_http_req *req)
{
    for (size_t i = 0; i < kb_http_req_groups(req); i++)
        if (kb_str_is(kb_http_req_group(req, i), "system:masters"))
            return true;
    return false;
}

static void answer_forbidden(struct kb__api *api, struct kb_http_req *req,
                             const struct kb_route *route, const char *verb)
{
    kb_str user = kb_http_req_user(req);
    if (user.n == 0)
        user = kb_str_of("system:anonymous");
    if (route->kind == NULL) {
        kb__answer_code(api, req, 403, "Forbidden",
                        "forbidden: User \"" KB_STR_FMT "\" cannot %s path \"" KB_STR_FMT "\"",
                        KB_STR_ARG(user), verb, KB_STR_ARG(kb_http_req_path(req)));
        return;
    }
    kb_str resource = kb_status_resource(route->kind);
    KB_AUTO(kb_auto_free)
    char *where = route->ns.n
                      ? kb_strf(" in the namespace \"" KB_STR_FMT "\"", KB_STR_ARG(route->ns))
                      : kb_strf(" at the cluster scope");
    kb__answer_code(api, req, 403, "Forbidden",
                    KB_STR_FMT " is forbidden: User \"" KB_STR_FMT
                               "\" cannot %s resource \"" KB_STR_FMT "\" in API group \"" KB_STR_FMT
                               "\"%s",
                    KB_STR_ARG(resource), KB_STR_ARG(user), verb, KB_STR_ARG(route->kind->plural),
                    KB_STR_ARG(route->kind->group), where);
}

/* False: refused, and answered. */
static bool admitted(struct kb__api *api, struct kb_http_req *req, const struct kb_route *route,
                     const char *verb)
{
    bool token = kb_http_req_header(req, "authorization").n > 0;
    bool public = route->type == KB_ROUTE_HEALTH || route->type == KB_ROUTE_VERSION;
    if (is_master(req) || (public && !token && kb_http_req_cert(req) != KB_HTTP_CERT_BAD))
        return true;
    if (kb_http_req_cert(req) == KB_HTTP_CERT_BAD || token)
        kb__answer_code(api, req, 401, "Unauthorized", "Unauthorized");
    else
        answer_forbidden(api, req, route, verb);
    return false;
}

/* ---- dispatch ---- */

static void not_found(struct kb__api *api, struct kb_http_req *req)
{
    kb__answer_code(api, req, 404, "NotFound", "the server could not find the requested resource");
}

static void not_allowed(struct kb__api *api, struct kb_http_req *req)
{
    kb__answer_code(api, req, 405, "MethodNotAllowed",
                    "the server does not allow this method on the requested resource");
}

/* log, exec and attach of a pod are streams to its node. True: it was one of these. */
static bool serve_stream(struct kb__api *api, struct kb_http_req *req, const struct kb_route *route)
{
    enum kb_http_method method = kb_http_req_method(req);
    if (!kb_str_is(route->kind->resource, "pods"))
        return false;
    if (kb_str_is(route->subresource, "log") && method == KB_HTTP_GET)
        kb__pod_log(api, req, route);
    else if (kb_str_is(route->subresource, "exec") || kb_str_is(route->subresource, "attach"))
        kb__pod_exec(api, req, route);
    else
        return false;
    return true;
}

static void serve_subresource(struct kb__api *api, struct kb_http_req *req,
                              const struct kb_route *route, unsigned verb)
{
    const struct kb_subresource *sub = kb_kind_subresource(route->kind, route->subresource);
    if (sub == NULL)
        not_found(api, req);
    else if (serve_stream(api, req, route))
        return;
    else if (!(sub->verbs & verb))
        not_allowed(api, req);
    else if (verb == KB_VERB_GET && kb_str_eq(sub->kind, route->kind->kind))
        kb__get(api, req, route);
    else
        kb__write(api, req, route, verb);
}

static void serve_resource(struct kb__api *api, struct kb_http_req *req,
                           const struct kb_route *route, unsigned verb)
{
    const struct kb_kind *kind = route->kind;
    if (verb == 0 || (kind->namespaced && route->ns.n == 0 && verb == KB_VERB_DELETECOLLECTION)) {
        not_allowed(api, req);
        return;
    }
    if (route->subresource.n > 0) {
        serve_subresource(api, req, route, verb);
        return;
    }
    bool create_nowhere = kind->namespaced && route->ns.n == 0 && verb == KB_VERB_CREATE;
    if (!(kind->verbs & verb) || create_nowhere)
        not_allowed(api, req);
    else if (verb == KB_VERB_GET)
        kb__get(api, req, route);
    else if (verb == KB_VERB_LIST)
        kb__list(api, req, route);
    else if (verb == KB_VERB_WATCH)
        kb__watch(api, req, route);
    else
        kb__write(api, req, route, verb);
}

/* Only by words of our own: anybody can make up a subresource, and each would stay counted. */
static void count_request(struct kb__api *api, const struct kb_route *route, const char *verb)
{
    const struct kb_subresource *sub =
        route->kind ? kb_kind_subresource(route->kind, route->subresource) : NULL;
    struct kb_buf *labels = &api->labels;
    kb_buf_clear(labels);
    kb_buf_puts(labels, "verb=\"");
    kb_buf_puts(labels, verb);
    kb_buf_puts(labels, "\",resource=\"");
    kb_buf_add_str(labels, route->kind ? route->kind->plural : (kb_str){0});
    kb_buf_puts(labels, "\",subresource=\"");
    kb_buf_add_str(labels, sub ? sub->name : (kb_str){0});
    kb_buf_puts(labels, "\"");
    uint64_t *counter = kb_map_get(&api->requests, kb_buf_str(labels));
    if (counter == NULL) {
        counter = calloc(1, sizeof(*counter));
        KB_ASSERT(counter != NULL);
        kb_map_put(&api->requests, kb_buf_str(labels), counter);
    }
    (*counter)++;
}

static void answer_problem(struct kb__api *api, struct kb_http_req *req, int problem)
{
    if (problem == KB_E2BIG)
        kb__answer_code(api, req, 413, "RequestEntityTooLarge",
                        "Request entity too large: limit is %u", KB_BODY_MAX_BYTES);
    else if (problem == KB_EUNAVAILABLE)
        kb__answer_code(api, req, 429, "TooManyRequests",
                        "too many requests, please try again later.");
    else
        kb__answer_code(api, req, 400, "BadRequest", "the request's target is malformed");
}

static void on_request(void *user, struct kb_http_req *req)
{
    struct kb__api *api = user;
    enum { SEGMENTS_MAX = 16 };
    kb_str segments[SEGMENTS_MAX];
    size_t n = kb_http_req_segments(req);
    int problem = kb_http_req_problem(req);
    if (problem) {
        answer_problem(api, req, problem);
        return;
    }
    for (size_t i = 0; i < n && i < SEGMENTS_MAX; i++)
        segments[i] = kb_http_req_segment(req, i);
    struct kb_route route = {0};
    if (n <= SEGMENTS_MAX)
        route = kb_route_find(api->kinds, segments, n);
    struct kb_route_verb verb =
        kb_route_verb(&route, kb_http_req_method_name(req), kb__param_true(req, "watch"));
    count_request(api, &route, verb.word);
    if (!admitted(api, req, &route, verb.word))
        return;
    if (route.type == KB_ROUTE_UNKNOWN)
        not_found(api, req);
    else if (route.kind)
        serve_resource(api, req, &route, verb.verb);
    else
        kb__system(api, req, &route);
}

static void on_close(void *user, struct kb_http_req *req)
{
    (void)user;
    struct kb__op *op = kb_http_req_context(req);
    if (op)
        op->closed(op);
}

static void on_drain(void *user, struct kb_http_req *req)
{
    (void)user;
    struct kb__op *op = kb_http_req_context(req);
    if (op && op->drain)
        op->drain(op);
}

static void on_message(void *user, struct kb_http_req *req, kb_str data, bool text)
{
    (void)user;
    struct kb__op *op = kb_http_req_context(req);
    if (op && op->message)
        op->message(op, data, text);
}

/* ---- start and stop ---- */

static void on_bootstrapped(void *user)
{
    struct kb__api *api = user;
    api->bootstrapped = true;
    kb_actor_ready(api->actor);
    kb_info("serving on https://%s", api->listen);
}

static void on_stop(void *user)
{
    struct kb__api *api = user;
    api->stopping = true;
    kb__watch_finish(api);
    kb_http_server_stop(api->http);
    on_wake(api);
}

static void make_columns(struct kb__api *api)
{
    for (size_t i = 0; i < kb_kinds_count(api->kinds); i++) {
        const struct kb_kind *kind = kb_kinds_index(api->kinds, i);
        struct kb_columns *columns = NULL;
        struct kb_err err = {0};
        if (kb_columns_new(kb_val_get(kind->source, "columns"), &columns, &err) < 0) {
            kb_warn("columns of " KB_STR_FMT ": %s", KB_STR_ARG(kind->resource), err.text);
            continue;
        }
        kb_map_put(&api->columns, kind->resource, columns);
    }
}

/* ---- certificates ---- */

static void check_certs(void *user)
{
    struct kb__api *api = user;
    struct kb_err err = {0};
    int64_t wall_us = kb_clock_wall_us(kb_actor_clock(api->actor));
    int rc = kb_certs_check(api->certs, api->http, wall_us, &err);
    if (rc < 0)
        kb_warn("certificates: %s", err.text);
    else if (rc > 0)
        kb_info("certificates were renewed");
    kb_loop_timer_set(api->loop, &api->certs_timer, rc < 0 ? CERTS_RETRY_MS : CERTS_MS);
}

static int open_https(struct kb__api *api, const char *data_dir, struct kb_err *err)
{
    static const struct kb_http_handler handler = {on_request, on_close, on_drain, on_message};
    KB_AUTO(kb_auto_free) char *pki_dir = kb_strf("%s/pki", data_dir);
    KB_AUTO(kb_auto_free) char *kubeconfig = kb_strf("%s/kubeconfig", data_dir);
    const char *colon = strrchr(api->listen, ':');
    kb_str host = kb_str_n(api->listen, colon ? (size_t)(colon - api->listen) : 0);
    if (host.n > 2 && host.p[0] == '[')
        host = kb_str_n(host.p + 1, host.n - 2);
    api->host = kb_str_dup(host);
    struct kb_pki_config pki = {.dir = pki_dir,
                                .kubeconfig = kubeconfig,
                                .host = api->host,
                                .port = colon ? atoi(colon + 1) : 0,
                                .wall_us = kb_clock_wall_us(kb_actor_clock(api->actor))};
    int rc = kb_certs_new(&pki, &api->certs, err);
    if (rc < 0)
        return rc;
    struct kb_http_config config = {
        .listen = api->listen, .handler = &handler, .wake = on_wake, .user = api};
    kb_certs_use(api->certs, &config);
    return kb_http_server_new(&config, &api->http, err);
}

static void map_destroy_values(struct kb_map *map, void (*destroy)(void *))
{
    kb_str key;
    void *value;
    for (size_t i = 0; kb_map_next(map, &i, &key, &value);)
        destroy(value);
    kb_map_finish(map);
}

static void destroy_columns(void *value)
{
    struct kb_columns *columns = value;
    kb_columns_destroy(&columns);
}

static void destroy_blob(void *value)
{
    struct kb_blob *blob = value;
    kb_blob_unref(&blob);
}

static void destroy_hub(void *value)
{
    kb__hub_destroy(value);
}

static void api_finish(struct kb__api *api)
{
    kb_loop_fd_del(&api->http_fd);
    if (api->http)
        kb_loop_timer_stop(api->loop, &api->http_timer);
    if (api->loop)
        kb_loop_timer_stop(api->loop, &api->certs_timer);
    kb_http_server_destroy(&api->http);
    kb_certs_destroy(&api->certs);
    map_destroy_values(&api->hubs, destroy_hub);
    kb_objects_destroy(&api->objects);
    kb_actor_destroy(&api->actor);
    map_destroy_values(&api->columns, destroy_columns);
    map_destroy_values(&api->openapi, destroy_blob);
    map_destroy_values(&api->requests, free);
    kb_buf_finish(&api->labels);
    map_destroy_values(&api->heat, free);
    kb_kinds_destroy(&api->kinds);
    kb_proto_destroy(&api->proto);
    free(api->host);
}

int kb_api_run(const struct kb_api_config *config, struct kb_err *err)
{
    KB_AUTO(api_finish) struct kb__api api = {.listen = config->listen};
    struct kb_actor_config actor = {.name = "api",
                                    .data_dir = config->data_dir,
                                    .standalone = config->standalone,
                                    .stop = on_stop,
                                    .user = &api};
    int rc = kb_actor_new(&actor, &api.actor, err);
    if (rc < 0)
        return rc;
    api.loop = kb_actor_loop(api.actor);
    api.started_us = kb_clock_wall_us(kb_actor_clock(api.actor));
    api.kinds = kb_kinds_builtin();
    api.store = kb_actor_peer(api.actor, "store");
    make_columns(&api);
    if ((rc = open_https(&api, config->data_dir, err)) < 0)
        return rc;
    api.http_fd = kb_loop_fd_add(api.loop, kb_http_server_fd(api.http), EPOLLIN, on_http_fd, &api);
    api.certs_timer = (struct kb_loop_timer){.fn = check_certs, .user = &api};
    kb_loop_timer_set(api.loop, &api.certs_timer, CERTS_MS);
    struct kb_objects_config objects = {.service_cidr = config->service_cidr,
                                        .api_address = kb_str_of(config->listen)};
    api.objects = kb_objects_new(api.actor, api.kinds, &objects);
    kb_objects_bootstrap(api.objects, on_bootstrapped, &api);
    return kb_actor_run(api.actor, err);
}
