/* system.c - what the gateway says of itself: version, health, metrics, discovery, OpenAPI. */
#include "actors/api/api.h"

#include "bus/base/log.h"
#include "bus/model/discovery.h"
#include "bus/model/json.h"
#include "bus/model/openapi.h"

#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#define VERSION "v1.32.0"

static void answer_version(struct kb__api *api, struct kb_http_req *req)
{
    struct kb_buf json = {0};
    kb_buf_puts(&json, "{\n  \"major\": \"1\",\n  \"minor\": \"32\",\n"
                       "  \"gitVersion\": \"" VERSION "+kubus\",\n"
                       "  \"gitCommit\": \"\",\n  \"gitTreeState\": \"clean\",\n"
                       "  \"buildDate\": \"1970-01-01T00:00:00Z\",\n"
                       "  \"goVersion\": \"none\",\n  \"compiler\": \"" __VERSION__ "\",\n"
                       "  \"platform\": \"linux/amd64\"\n}");
    kb__answer_json(api, req, 200, NULL, NULL, &json);
}

/* ---- health ---- */

struct check {
    const char *name;
    bool live, ready; /* which of the two asks for it */
};

static const struct check checks[] = {{"ping", true, true},
                                      {"store", false, true},
                                      {"poststarthook/bootstrap", false, true},
                                      {"shutdown", false, true}};

struct health {
    struct kb__op op;
    kb_str what; /* livez, readyz, healthz */
    kb_str only;
    bool verbose;
    uint64_t call;
};

static void health_closed(struct kb__op *op)
{
    struct health *health = (struct health *)op;
    kb_call_cancel(op->api->store, health->call);
    free(health);
}

static bool check_ok(const struct kb__api *api, const struct check *check, bool store_ok)
{
    if (strcmp(check->name, "store") == 0)
        return store_ok;
    if (strcmp(check->name, "poststarthook/bootstrap") == 0)
        return api->bootstrapped;
    return strcmp(check->name, "shutdown") != 0 || !api->stopping;
}

static void health_answer(struct kb__api *api, struct kb_http_req *req, kb_str what, kb_str only,
                          bool verbose, bool store_ok)
{
    KB_AUTO(kb_buf_finish) struct kb_buf out = {0};
    bool live = kb_str_is(what, "livez"), all = true, known = only.n == 0;
    for (size_t i = 0; i < KB_COUNT(checks); i++) {
        bool asked =
            only.n ? kb_str_is(only, checks[i].name) : (live ? checks[i].live : checks[i].ready);
        if (!asked)
            continue;
        bool ok = check_ok(api, &checks[i], store_ok);
        known = true;
        all &= ok;
        kb_buf_printf(&out, ok ? "[+]%s ok\n" : "[-]%s failed: reason withheld\n", checks[i].name);
    }
    if (!known) {
        kb__answer_text(api, req, 404, kb_str_of("404 page not found\n"));
        return;
    }
    kb_buf_printf(&out, KB_STR_FMT " check %s\n", KB_STR_ARG(what), all ? "passed" : "failed");
    if (all && !verbose)
        kb__answer_text(api, req, 200, kb_str_of("ok"));
    else
        kb__answer_text(api, req, all ? 200 : 500, kb_buf_str(&out));
}

static void on_store_status(void *user, const struct kb_err *err, kb_val body)
{
    (void)body;
    struct health *health = user;
    health_answer(health->op.api, health->op.req, health->what, health->only, health->verbose,
                  err == NULL);
    free(health);
}

static void answer_health(struct kb__api *api, struct kb_http_req *req,
                          const struct kb_route *route)
{
    enum { STORE_MS = 2000 };
    bool verbose = kb_http_req_param(req, "verbose", NULL);
    if (kb_str_is(route->subresource, "livez") ||
        (route->name.n && !kb_str_is(route->name, "store"))) {
        health_answer(api, req, route->subresource, route->name, verbose, true);
        return;
    }
    struct health *health = calloc(1, sizeof(*health));
    health->what = route->subresource;
    health->only = route->name;
    health->verbose = verbose;
    health->op.closed = health_closed;
    kb__op_begin(&health->op, api, req);
    KB_AUTO(kb_w_finish) struct kb_w w = {0};
    kb_w_map(&w);
    kb_w_end(&w);
    health->call =
        kb_call(api->store, "store.status", kb_w_val(&w), STORE_MS, on_store_status, health);
}

/* ---- metrics, in the text format of Prometheus ---- */

static long rss_bytes(void)
{
    long pages = 0;
    FILE *file = fopen("/proc/self/statm", "re");
    if (file && fscanf(file, "%*s %ld", &pages) != 1)
        pages = 0;
    if (file)
        fclose(file);
    return pages * sysconf(_SC_PAGESIZE);
}

static void metric(struct kb_buf *out, const char *name, const char *type, const char *help,
                   double value)
{
    kb_buf_printf(out, "# HELP %s %s\n# TYPE %s %s\n%s %.17g\n", name, help, name, type, name,
                  value);
}

static void metrics_http(struct kb__api *api, struct kb_buf *out)
{
    struct kb_http_stats s;
    kb_http_server_stats(api->http, &s);
    metric(out, "kubus_http_connections", "gauge", "Open client connections.", (double)s.conns);
    metric(out, "kubus_http_connections_total", "counter", "Accepted connections.",
           (double)s.accepted);
    metric(out, "kubus_http_requests_total", "counter", "Requests taken.", (double)s.requests);
    metric(out, "apiserver_current_inflight_requests", "gauge", "Requests being served.",
           (double)s.open_requests);
    metric(out, "kubus_http_received_bytes_total", "counter", "Bytes read.", (double)s.bytes_in);
    metric(out, "kubus_http_sent_bytes_total", "counter", "Bytes written.", (double)s.bytes_out);
    metric(out, "kubus_http_overflows_total", "counter",
           "Streams closed because their client did not keep up.", (double)s.overflows);
    metric(out, "kubus_http_timeouts_total", "counter", "Connections closed for being slow.",
           (double)s.timeouts);
    metric(out, "kubus_http_protocol_errors_total", "counter", "Malformed requests.",
           (double)s.protocol_errors);
    metric(out, "kubus_http_tls_failures_total", "counter", "Failed handshakes.",
           (double)s.tls_failures);
    metric(out, "apiserver_longrunning_requests", "gauge", "Watches.", (double)api->watchers);
    metric(out, "kubus_api_cached_gets_total", "counter", "Gets of what is kept in memory.",
           (double)api->cached_gets);
}

static void answer_metrics(struct kb__api *api, struct kb_http_req *req)
{
    KB_AUTO(kb_buf_finish) struct kb_buf out = {0};
    kb_str labels;
    void *value;
    metrics_http(api, &out);
    kb_buf_puts(&out, "# HELP apiserver_request_total Requests by verb and resource.\n"
                      "# TYPE apiserver_request_total counter\n");
    for (size_t i = 0; kb_map_next(&api->requests, &i, &labels, &value);)
        kb_buf_printf(&out, "apiserver_request_total{" KB_STR_FMT "} %llu\n", KB_STR_ARG(labels),
                      (unsigned long long)*(uint64_t *)value);
    kb_buf_puts(&out, "# HELP kubus_http_responses_total Answers by HTTP status.\n"
                      "# TYPE kubus_http_responses_total counter\n");
    for (size_t code = 0; code < KB_COUNT(api->answers); code++)
        if (api->answers[code] > 0)
            kb_buf_printf(&out, "kubus_http_responses_total{code=\"%zu\"} %llu\n", code,
                          (unsigned long long)api->answers[code]);
    struct timespec cpu;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &cpu);
    metric(&out, "process_cpu_seconds_total", "counter", "CPU time.",
           (double)cpu.tv_sec + (double)cpu.tv_nsec / 1e9);
    metric(&out, "process_resident_memory_bytes", "gauge", "Resident memory.", (double)rss_bytes());
    metric(&out, "process_start_time_seconds", "gauge", "Start, since 1970.",
           (double)api->started_us / 1e6);
    struct kb_http_head head = {.status = 200,
                                .content_type = "text/plain; version=0.0.4; charset=utf-8"};
    kb_http_reply(req, &head, kb_buf_str(&out));
}

/* ---- discovery and OpenAPI ---- */

static void answer_discovery(struct kb__api *api, struct kb_http_req *req,
                             const struct kb_route *route)
{
    struct kb_accept accept;
    struct kb_buf json = {0};
    int rc = 0;
    bool root = route->type == KB_ROUTE_API_VERSIONS || route->type == KB_ROUTE_API_GROUPS;
    unsigned forms = root ? 1u << KB_FORM_DISCOVERY : 0;
    if (!kb_accept_parse(kb_http_req_header(req, "accept"), forms, &accept)) {
        kb__answer_code(api, req, 406, "NotAcceptable",
                        "only the following media types are accepted: application/json, "
                        "application/yaml");
        return;
    }
    if (accept.form == KB_FORM_DISCOVERY && accept.v2beta1)
        accept.form = KB_FORM_OBJECT; /* the older form: the plain list serves as well */
    if (accept.form == KB_FORM_DISCOVERY)
        kb_discovery_aggregated(api->kinds, route->type == KB_ROUTE_API_VERSIONS, &json);
    else if (route->type == KB_ROUTE_API_VERSIONS)
        kb_discovery_versions(kb_str_of(api->listen), &json);
    else if (route->type == KB_ROUTE_API_GROUPS)
        kb_discovery_groups(api->kinds, &json);
    else if (route->type == KB_ROUTE_API_GROUP)
        rc = kb_discovery_group(api->kinds, route->group, &json);
    else
        rc = kb_discovery_resources(api->kinds, route->group, route->version, &json);
    if (rc < 0) {
        kb_buf_finish(&json);
        kb__answer_code(api, req, 404, "NotFound",
                        "the server could not find the requested resource");
        return;
    }
    kb__answer_json(api, req, 200, &accept, NULL, &json);
}

/* Made once and kept: kubectl asks for it with every apply. */
static struct kb_blob *openapi_blob(struct kb__api *api, const struct kb_route *route)
{
    KB_AUTO(kb_auto_free)
    char *name =
        kb_strf(KB_STR_FMT "/" KB_STR_FMT, KB_STR_ARG(route->group), KB_STR_ARG(route->version));
    struct kb_blob *blob = kb_map_get(&api->openapi, kb_str_of(name));
    if (blob)
        return blob;
    struct kb_buf json = {0};
    if (route->type == KB_ROUTE_OPENAPI_INDEX) {
        kb_openapi_index(api->kinds, VERSION, &json);
    } else if (kb_openapi_document(api->kinds, route->group, route->version, VERSION, &json) < 0) {
        kb_buf_finish(&json);
        return NULL;
    }
    blob = kb_blob_take(&json);
    kb_map_put(&api->openapi, kb_str_of(name), blob);
    return blob;
}

static void answer_openapi(struct kb__api *api, struct kb_http_req *req,
                           const struct kb_route *route)
{
    struct kb_blob *blob = openapi_blob(api, route);
    if (blob == NULL) {
        kb__answer_code(api, req, 404, "NotFound",
                        "the server could not find the requested resource");
        return;
    }
    /* The index names each document with its hash, so a client may keep it for ever. */
    bool hashed = kb_http_req_param(req, "hash", NULL);
    struct kb_http_header header = {"cache-control",
                                    hashed ? "public, immutable" : "no-cache, private"};
    struct kb_http_head head = {
        .status = 200, .content_type = "application/json", .headers = &header, .headers_n = 1};
    struct kb_blob *ref = kb_blob_ref(blob);
    kb_http_reply_blob(req, &head, &ref);
}

/* Go clients ask for it in protobuf alone. */
static void answer_openapi_v2(struct kb__api *api, struct kb_http_req *req)
{
    struct kb_blob *blob = kb_map_get(&api->openapi, kb_str_of("v2"));
    if (blob == NULL) {
        struct kb_buf bytes = {0};
        kb_openapi_v2(api->kinds, VERSION, &bytes);
        blob = kb_blob_take(&bytes);
        kb_map_put(&api->openapi, kb_str_of("v2"), blob);
    }
    struct kb_http_head head = {.status = 200, .content_type = KB_OPENAPI_V2_TYPE};
    struct kb_blob *ref = kb_blob_ref(blob);
    kb_http_reply_blob(req, &head, &ref);
}

/* kubectl looks here for a kind that it does not find elsewhere, and says "no matches for kind" of
 * one that nobody defined only if it is told that there are no definitions. */
static void answer_no_crds(struct kb__api *api, struct kb_http_req *req)
{
    struct kb_buf json = {0};
    kb_buf_puts(&json, "{\"kind\":\"CustomResourceDefinitionList\","
                       "\"apiVersion\":\"apiextensions.k8s.io/v1\","
                       "\"metadata\":{\"resourceVersion\":\"0\"},\"items\":[]}\n");
    kb__answer_json(api, req, 200, NULL, NULL, &json);
}

static void answer_index(struct kb__api *api, struct kb_http_req *req)
{
    struct kb_buf json = {0};
    kb_buf_puts(&json,
                "{\"paths\":[\"/api\",\"/api/v1\",\"/apis\",\"/healthz\",\"/livez\",\"/metrics\","
                "\"/openapi/v3\",\"/readyz\",\"/version\"]}");
    kb__answer_json(api, req, 200, NULL, NULL, &json);
}

void kb__system(struct kb__api *api, struct kb_http_req *req, const struct kb_route *route)
{
    enum kb_http_method method = kb_http_req_method(req);
    if (method != KB_HTTP_GET && method != KB_HTTP_HEAD) {
        kb__answer_code(api, req, 405, "MethodNotAllowed",
                        "the server does not allow this method on the requested resource");
        return;
    }
    switch (route->type) {
    case KB_ROUTE_INDEX:
        answer_index(api, req);
        break;
    case KB_ROUTE_NO_CRDS:
        answer_no_crds(api, req);
        break;
    case KB_ROUTE_VERSION:
        answer_version(api, req);
        break;
    case KB_ROUTE_HEALTH:
        answer_health(api, req, route);
        break;
    case KB_ROUTE_METRICS:
        answer_metrics(api, req);
        break;
    case KB_ROUTE_OPENAPI_V2:
        answer_openapi_v2(api, req);
        break;
    case KB_ROUTE_OPENAPI_INDEX:
    case KB_ROUTE_OPENAPI:
        answer_openapi(api, req, route);
        break;
    default:
        answer_discovery(api, req, route);
    }
}
