/* The Kubernetes API from the command line: one client, made from a kubeconfig file.
 *
 * Synchronous: a command asks, waits, prints. HTTP and TLS are libcurl's. */
#ifndef KUBUS_CLI_REST_H
#define KUBUS_CLI_REST_H

#include "bus/base/buf.h"
#include "bus/base/err.h"
#include "bus/model/node.h"

struct kb_rest;

/* From $KUBECONFIG, or the cluster's own file in `data_dir`, which `own_only` insists on. Caller
 * destroys. */
int kb_rest_new(const char *data_dir, bool own_only, struct kb_rest **ret_rest, struct kb_err *err);
void kb_rest_destroy(struct kb_rest **rest_p);
/* The namespace of the kubeconfig's context, "default" when it names none. */
const char *kb_rest_namespace(const struct kb_rest *rest);

struct kb_rest_request {
    const char *method;       /* "GET" */
    const char *path;         /* "/api/v1/pods?limit=500", escaped where needed */
    const char *accept;       /* NULL: application/json */
    const char *content_type; /* of the body; NULL: application/json */
    kb_str body;
    /* Called for pieces of the body as they come, instead of collecting them. False stops. */
    bool (*chunk)(void *user, kb_str piece);
    void *user;
};

/* Perform. A Status answer becomes an error with its message. The body is appended to `out` (may
 * be NULL with `chunk`). 0, -KB_ENOTFOUND, -KB_ECONFLICT, …, -KB_EUNAVAILABLE without an answer. */
int kb_rest_do(struct kb_rest *rest, const struct kb_rest_request *request, struct kb_buf *out,
               struct kb_err *err);
/* The same with the answer parsed into `a`. */
int kb_rest_json(struct kb_rest *rest, const struct kb_rest_request *request, struct kb_arena *a,
                 struct kb_node **ret_node, struct kb_err *err);

/* A resource as discovery describes it. Texts live in the arena given. */
struct kb_rest_resource {
    kb_str group, version, plural, singular, kind;
    bool namespaced;
};
/* Find by plural, singular, short name or kind, with or without ".group": "po", "deploy.apps". */
int kb_rest_find(struct kb_rest *rest, struct kb_arena *a, kb_str name,
                 struct kb_rest_resource *ret, struct kb_err *err);
/* Find by apiVersion and kind. */
int kb_rest_find_kind(struct kb_rest *rest, struct kb_arena *a, kb_str api_version, kb_str kind,
                      struct kb_rest_resource *ret, struct kb_err *err);
/* All resources of a category ("all"), at most `cap`. Returns their number; 0: nobody is in it. */
int kb_rest_category(struct kb_rest *rest, struct kb_arena *a, kb_str name,
                     struct kb_rest_resource *ret, size_t cap, struct kb_err *err);
/* "/api/v1/namespaces/NS/pods/NAME": `ns` and `name` may be NULL. Lives in the arena. */
const char *kb_rest_path(struct kb_arena *a, const struct kb_rest_resource *resource,
                         const char *ns, const char *name);

/* A WebSocket to `path`, subprotocol v5.channel.k8s.io: `exec`. Messages start with their channel.
 */
struct kb_rest_ws;
int kb_rest_ws_open(struct kb_rest *rest, const char *path, struct kb_rest_ws **ret_ws,
                    struct kb_err *err);
void kb_rest_ws_destroy(struct kb_rest_ws **ws_p);
int kb_rest_ws_fd(const struct kb_rest_ws *ws); /* to poll; check kb_rest_ws_recv first */
int kb_rest_ws_send(struct kb_rest_ws *ws, int channel, const void *data, size_t n,
                    struct kb_err *err);
/* The next message, without its channel byte, appended to `out`. 1: got one; 0: none yet;
 * -KB_ECANCELED: closed. */
int kb_rest_ws_recv(struct kb_rest_ws *ws, int *ret_channel, struct kb_buf *out,
                    struct kb_err *err);

#endif
