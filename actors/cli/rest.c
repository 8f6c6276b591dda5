#include "actors/cli/rest.h"

#include "actors/cli/rest_impl.h"
#include "bus/base/check.h"
#include "bus/base/limits.h"
#include "bus/model/json.h"

#include <stdio.h>
#include <stdlib.h>
#include <strings.h>

enum { CONNECT_TIMEOUT_S = 10, RESPONSE_MAX_BYTES = 1024 * 1024 * 1024 };

int kb_rest_new(const char *data_dir, bool own_only, struct kb_rest **ret_rest, struct kb_err *err)
{
    KB_AUTO(kb_rest_destroy) struct kb_rest *rest = calloc(1, sizeof(*rest));
    KB_ASSERT(rest != NULL);
    const char *given = own_only ? NULL : getenv("KUBECONFIG");
    KB_AUTO(kb_auto_free) char *own = kb_strf("%s/kubeconfig", data_dir);
    if (kb_kubeconfig_load(given && *given ? given : own, &rest->config, err) < 0)
        return -err->code;
    curl_global_init(CURL_GLOBAL_DEFAULT);
    rest->curl = curl_easy_init();
    KB_ASSERT(rest->curl != NULL);
    *ret_rest = KB_STEAL(rest);
    return 0;
}

void kb_rest_destroy(struct kb_rest **rest_p)
{
    struct kb_rest *rest = KB_STEAL(*rest_p);
    if (rest == NULL)
        return;
    if (rest->curl)
        curl_easy_cleanup(rest->curl);
    kb_kubeconfig_finish(&rest->config);
    free(rest);
}

const char *kb_rest_namespace(const struct kb_rest *rest)
{
    return rest->config.ns[0] ? rest->config.ns : "default";
}

/* ---- requests ---- */

void kb__rest_setup(struct kb_rest *rest, CURL *curl, const char *path, char *errors)
{
    KB_AUTO(kb_auto_free) char *url = kb_strf("%s%s", rest->config.server, path);
    struct curl_blob ca = {rest->config.ca.p, rest->config.ca.n, CURL_BLOB_NOCOPY};
    struct curl_blob cert = {rest->config.cert.p, rest->config.cert.n, CURL_BLOB_NOCOPY};
    struct curl_blob key = {rest->config.key.p, rest->config.key.n, CURL_BLOB_NOCOPY};
    curl_easy_setopt(curl, CURLOPT_URL, url);
    curl_easy_setopt(curl, CURLOPT_CAINFO_BLOB, &ca);
    curl_easy_setopt(curl, CURLOPT_SSLCERT_BLOB, &cert);
    curl_easy_setopt(curl, CURLOPT_SSLKEY_BLOB, &key);
    curl_easy_setopt(curl, CURLOPT_ERRORBUFFER, errors);
    curl_easy_setopt(curl, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(curl, CURLOPT_PROTOCOLS_STR, "https");
    curl_easy_setopt(curl, CURLOPT_CONNECTTIMEOUT, (long)CONNECT_TIMEOUT_S);
    errors[0] = '\0';
}

/* A transfer under way: success goes to the caller piece by piece, a failure is collected. */
struct transfer {
    struct kb_rest *rest;
    const struct kb_rest_request *request;
    struct kb_buf *out, failure;
};

static size_t on_body(char *data, size_t size, size_t count, void *user)
{
    struct transfer *t = user;
    size_t n = size * count;
    long status = 0;
    curl_easy_getinfo(t->rest->curl, CURLINFO_RESPONSE_CODE, &status);
    if (status >= 400) {
        if (t->failure.n < KB_BODY_MAX_BYTES)
            kb_buf_add(&t->failure, data, n);
        return n;
    }
    if (t->request->chunk)
        return t->request->chunk(t->request->user, kb_str_n(data, n)) ? n : 0;
    if (t->out->n + n > RESPONSE_MAX_BYTES)
        return 0;
    kb_buf_add(t->out, data, n);
    return n;
}

int kb__rest_failure(long http, kb_str body, struct kb_err *err)
{
    KB_AUTO(kb_arena_finish) struct kb_arena a = {0};
    struct kb_node *status = NULL;
    char reason[64];
    if (kb_json_parse(&a, body, NULL, &status, NULL) < 0)
        return kb_err_set(err, kb_err_from_reason(NULL, (int)http), "HTTP status %ld", http);
    kb_str message = kb_node_text_at(status, "message");
    kb_str_copy(kb_node_text_at(status, "reason"), reason, sizeof(reason));
    return kb_err_set(err, kb_err_from_reason(reason, (int)http),
                      "Error from server (%s): " KB_STR_FMT, reason, KB_STR_ARG(message));
}

static struct curl_slist *headers_of(const struct kb_rest_request *request)
{
    KB_AUTO(kb_auto_free)
    char *accept = kb_strf("Accept: %s", request->accept ? request->accept : "application/json");
    struct curl_slist *headers = curl_slist_append(NULL, accept);
    if (request->body.p) {
        KB_AUTO(kb_auto_free)
        char *type = kb_strf("Content-Type: %s",
                             request->content_type ? request->content_type : "application/json");
        headers = curl_slist_append(headers, type);
    }
    return headers;
}

int kb_rest_do(struct kb_rest *rest, const struct kb_rest_request *request, struct kb_buf *out,
               struct kb_err *err)
{
    char errors[CURL_ERROR_SIZE];
    struct transfer transfer = {.rest = rest, .request = request, .out = out};
    curl_easy_reset(rest->curl);
    kb__rest_setup(rest, rest->curl, request->path, errors);
    struct curl_slist *headers = headers_of(request);
    curl_easy_setopt(rest->curl, CURLOPT_HTTPHEADER, headers);
    curl_easy_setopt(rest->curl, CURLOPT_CUSTOMREQUEST, request->method);
    curl_easy_setopt(rest->curl, CURLOPT_WRITEFUNCTION, on_body);
    curl_easy_setopt(rest->curl, CURLOPT_WRITEDATA, &transfer);
    if (request->body.p) {
        curl_easy_setopt(rest->curl, CURLOPT_POSTFIELDS, request->body.p);
        curl_easy_setopt(rest->curl, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)request->body.n);
    }
    CURLcode code = curl_easy_perform(rest->curl);
    long status = 0;
    curl_easy_getinfo(rest->curl, CURLINFO_RESPONSE_CODE, &status);
    curl_slist_free_all(headers);
    int rc = 0;
    if (code == CURLE_WRITE_ERROR && request->chunk && status < 400)
        rc = 0; /* the caller has seen enough */
    else if (code != CURLE_OK)
        rc = kb_err_set(err, KB_EUNAVAILABLE, "%s: %s", rest->config.server,
                        errors[0] ? errors : curl_easy_strerror(code));
    else if (status >= 400)
        rc = kb__rest_failure(status, kb_buf_str(&transfer.failure), err);
    kb_buf_finish(&transfer.failure);
    return rc;
}

int kb_rest_json(struct kb_rest *rest, const struct kb_rest_request *request, struct kb_arena *a,
                 struct kb_node **ret_node, struct kb_err *err)
{
    KB_AUTO(kb_buf_finish) struct kb_buf body = {0};
    int rc = kb_rest_do(rest, request, &body, err);
    return rc < 0 ? rc : kb_json_parse(a, kb_buf_str(&body), NULL, ret_node, err);
}

/* ---- discovery ---- */

static int get_json(struct kb_rest *rest, struct kb_arena *a, const char *path,
                    struct kb_node **ret_node, struct kb_err *err)
{
    struct kb_rest_request request = {.method = "GET", .path = path};
    return kb_rest_json(rest, &request, a, ret_node, err);
}

typedef bool match_fn(const struct kb_node *resource, kb_str name);

static bool match_name(const struct kb_node *resource, kb_str name)
{
    const struct kb_node *shorts = kb_node_get(resource, "shortNames");
    kb_str kind = kb_node_text_at(resource, "kind");
    if (kb_str_eq(name, kb_node_text_at(resource, "name")) ||
        kb_str_eq(name, kb_node_text_at(resource, "singularName")) ||
        (name.n == kind.n && strncasecmp(name.p, kind.p, name.n) == 0))
        return true;
    for (uint32_t i = 0; shorts && i < shorts->count; i++)
        if (kb_str_eq(name, kb_node_text(shorts->items[i].val)))
            return true;
    return false;
}

static bool match_kind(const struct kb_node *resource, kb_str kind)
{
    return kb_str_eq(kind, kb_node_text_at(resource, "kind"));
}

static bool match_category(const struct kb_node *resource, kb_str name)
{
    const struct kb_node *categories = kb_node_get(resource, "categories");
    for (uint32_t i = 0; categories && i < categories->count; i++)
        if (kb_str_eq(name, kb_node_text(categories->items[i].val)))
            return true;
    return false;
}

/* Look through one group-version: how many were found, at most `cap`. */
static int find_in(struct kb_rest *rest, struct kb_arena *a, kb_str group, kb_str version,
                   match_fn *match, kb_str name, struct kb_rest_resource *ret, size_t cap,
                   struct kb_err *err)
{
    struct kb_node *list = NULL;
    int found = 0;
    const char *path = group.n ? kb_arena_printf(a, "/apis/" KB_STR_FMT "/" KB_STR_FMT,
                                                 KB_STR_ARG(group), KB_STR_ARG(version))
                                     .p
                               : kb_arena_printf(a, "/api/" KB_STR_FMT, KB_STR_ARG(version)).p;
    int rc = get_json(rest, a, path, &list, err);
    if (rc < 0)
        return rc;
    const struct kb_node *resources = kb_node_get(list, "resources");
    for (uint32_t i = 0; resources && i < resources->count && (size_t)found < cap; i++) {
        const struct kb_node *r = resources->items[i].val;
        kb_str plural = kb_node_text_at(r, "name");
        if (kb_str_has(plural, '/') || !match(r, name))
            continue;
        ret[found++] =
            (struct kb_rest_resource){.group = group,
                                      .version = version,
                                      .plural = plural,
                                      .singular = kb_node_text_at(r, "singularName"),
                                      .kind = kb_node_text_at(r, "kind"),
                                      .namespaced = kb_node_true(kb_node_get(r, "namespaced"))};
    }
    return found;
}

/* Through the core group and all others, or only the one named. */
static int find_all(struct kb_rest *rest, struct kb_arena *a, kb_str group, match_fn *match,
                    kb_str name, struct kb_rest_resource *ret, size_t cap, struct kb_err *err)
{
    struct kb_node *groups = NULL;
    int rc =
        group.p ? 0 : find_in(rest, a, kb_str_of(""), kb_str_of("v1"), match, name, ret, cap, err);
    size_t found = rc > 0 ? (size_t)rc : 0;
    if (rc < 0 || found == cap || (rc = get_json(rest, a, "/apis", &groups, err)) < 0)
        return rc;
    const struct kb_node *list = kb_node_get(groups, "groups");
    for (uint32_t i = 0; list && i < list->count && found < cap; i++) {
        kb_str here = kb_node_text_at(list->items[i].val, "name");
        kb_str version = kb_node_text_at(list->items[i].val, "preferredVersion.version");
        if (group.p && !kb_str_eq(group, here))
            continue;
        rc = find_in(rest, a, here, version, match, name, ret + found, cap - found, err);
        if (rc < 0)
            return rc;
        found += (size_t)rc;
    }
    return (int)found;
}

int kb_rest_find(struct kb_rest *rest, struct kb_arena *a, kb_str name,
                 struct kb_rest_resource *ret, struct kb_err *err)
{
    kb_str group = kb_str_n(name.p, name.n), bare = kb_str_cut(&group, '.');
    int rc = find_all(rest, a, group, match_name, bare, ret, 1, err);
    return rc < 0   ? rc
           : rc > 0 ? 0
                    : kb_err_set(err, KB_ENOTFOUND,
                                 "the server doesn't have a resource type \"" KB_STR_FMT "\"",
                                 KB_STR_ARG(name));
}

int kb_rest_category(struct kb_rest *rest, struct kb_arena *a, kb_str name,
                     struct kb_rest_resource *ret, size_t cap, struct kb_err *err)
{
    return find_all(rest, a, (kb_str){0}, match_category, name, ret, cap, err);
}

int kb_rest_find_kind(struct kb_rest *rest, struct kb_arena *a, kb_str api_version, kb_str kind,
                      struct kb_rest_resource *ret, struct kb_err *err)
{
    kb_str version = api_version, group = kb_str_cut(&version, '/');
    if (version.p == NULL) {
        version = group;
        group = kb_str_of("");
    }
    int rc = find_in(rest, a, group, version, match_kind, kind, ret, 1, err);
    if (rc == 0)
        return kb_err_set(err, KB_ENOTFOUND,
                          "no matches for kind \"" KB_STR_FMT "\" in version \"" KB_STR_FMT "\"",
                          KB_STR_ARG(kind), KB_STR_ARG(api_version));
    return rc < 0 ? rc : 0;
}

const char *kb_rest_path(struct kb_arena *a, const struct kb_rest_resource *r, const char *ns,
                         const char *name)
{
    bool in_ns = r->namespaced && ns && *ns;
    return kb_arena_printf(a, "/%s" KB_STR_FMT "%s" KB_STR_FMT "%s%s/" KB_STR_FMT "%s%s",
                           r->group.n ? "apis/" : "api", KB_STR_ARG(r->group), "/",
                           KB_STR_ARG(r->version), in_ns ? "/namespaces/" : "", in_ns ? ns : "",
                           KB_STR_ARG(r->plural), name ? "/" : "", name ? name : "")
        .p;
}
