/* What the files of the gateway share: the actor's one state, and how requests are answered.
 * Folder-private.
 *
 *   api_main.c  flags                     api_actor.c  the loop's wiring, who may do what, dispatch
 *   route.c accept.c fields.c proto.c  what is asked for (pure)
 *   render.c    objects into JSON         answer.c     whole answers
 *   read.c      get                       list.c       lists
 *   cache.c     what both read (pure)     watch_*.c    following the store; watches, serialized
 * once write.c     everything that changes   streams.c    logs, exec, attach system.c    version,
 * health, metrics, discovery, OpenAPI */
#ifndef KUBUS_API_API_H
#define KUBUS_API_API_H

#include "actors/api/accept.h"
#include "actors/api/fields.h"
#include "actors/api/http/server.h"
#include "actors/api/objects.h"
#include "actors/api/proto.h"
#include "actors/api/route.h"
#include "actors/api/status.h"
#include "bus/actor.h"
#include "bus/base/limits.h"
#include "bus/base/list.h"
#include "bus/base/map.h"
#include "bus/loop.h"
#include "bus/model/columns.h"

enum { KB__CALL_MS = 30000 };

struct kb__api {
    struct kb_actor *actor;
    struct kb_loop *loop;
    struct kb_kinds *kinds;
    struct kb_objects *objects;
    struct kb_peer *store;
    struct kb_http_server *http;
    struct kb_loop_fd *http_fd;
    struct kb_loop_timer http_timer, certs_timer;
    struct kb_certs *certs;
    const char *listen; /* as given */
    char *host;
    struct kb_map columns;  /* resource -> struct kb_columns */
    struct kb_map heat;     /* resource -> how often it is read */
    struct kb_map hubs;     /* resource -> struct kb__hub */
    struct kb_proto *proto; /* made with the first body that is protobuf */
    struct kb_map requests; /* labels of the metric -> uint64_t on the heap */
    struct kb_buf labels;   /* scratch, to look one up */
    uint64_t answers[600];  /* by HTTP status */
    uint64_t cached_gets;   /* that needed no store.get */
    struct kb_map openapi;  /* "GROUP/VERSION" -> struct kb_blob */
    size_t watchers;
    bool bootstrapped, stopping;
    int64_t started_us;
};

/* What waits for something on behalf of a request: the first member of each context. The functions
 * may be NULL but for `closed`, which frees it. */
struct kb__op {
    struct kb__api *api;
    struct kb_http_req *req;
    void (*closed)(struct kb__op *op); /* the client went away */
    void (*drain)(struct kb__op *op);
    void (*message)(struct kb__op *op, kb_str data, bool text);
};
void kb__op_begin(struct kb__op *op, struct kb__api *api, struct kb_http_req *req);

/* ---- render.c ---- */

/* How one answer, or the events of one watch, are to look. */
enum kb__include { KB__INCLUDE_METADATA, KB__INCLUDE_NONE, KB__INCLUDE_OBJECT };
struct kb__look {
    const struct kb_kind *kind;
    struct kb_accept accept;
    enum kb__include include;   /* of a table's rows */
    struct kb_columns *columns; /* of a table */
};
/* From the Accept header and the query. On false a 406 was answered. */
bool kb__look_of(struct kb__api *api, struct kb_http_req *req, const struct kb_kind *kind,
                 struct kb__look *ret);

/* One object in the form asked for, as JSON. `headers`: a table says its columnDefinitions. */
void kb__render(const struct kb__look *look, kb_val object, int64_t rev, int64_t now_us,
                bool headers, struct kb_buf *out);
/* A list in three parts: the items (comma between them is the caller's), before and after them. */
void kb__render_list_head(const struct kb__look *look, int64_t rev, kb_str token, int64_t left,
                          struct kb_buf *out);
void kb__render_item(const struct kb__look *look, kb_val object, int64_t rev, int64_t now_us,
                     struct kb_buf *out);
void kb__render_list_tail(struct kb_buf *out);

/* ---- answer.c ---- */

void kb__answer_status(struct kb__api *api, struct kb_http_req *req,
                       const struct kb_status *status);
void kb__answer_err(struct kb__api *api, struct kb_http_req *req, const struct kb_err *err);
void kb__answer_code(struct kb__api *api, struct kb_http_req *req, int code, const char *reason,
                     const char *message, ...) KB_PRINTF(5, 6);
/* JSON text, as it is or turned into YAML. Takes the buffer. */
void kb__answer_json(struct kb__api *api, struct kb_http_req *req, int code,
                     const struct kb_accept *accept, const struct kb_object_reply *more,
                     struct kb_buf *json);
/* The same with 200, of a text in pieces, whose references it takes. */
void kb__answer_pieces(struct kb__api *api, struct kb_http_req *req, const struct kb_accept *accept,
                       struct kb_blob **pieces, size_t n);
void kb__answer_text(struct kb__api *api, struct kb_http_req *req, int code, kb_str text);
/* What a store's error means for a get of one object. */
void kb__answer_store_err(struct kb__api *api, struct kb_http_req *req, const struct kb_kind *kind,
                          kb_str name, const struct kb_err *err);
bool kb__param_true(struct kb_http_req *req, const char *name); /* "true" or "1" */
kb_str kb__param(struct kb_http_req *req, const char *name);
void kb__count_answer(struct kb__api *api, int code);

/* ---- the parts that serve; each answers, at once or later ---- */

void kb__get(struct kb__api *api, struct kb_http_req *req, const struct kb_route *route);
void kb__list(struct kb__api *api, struct kb_http_req *req, const struct kb_route *route);
void kb__watch(struct kb__api *api, struct kb_http_req *req, const struct kb_route *route);
void kb__watch_finish(struct kb__api *api); /* closes all hubs */
void kb__write(struct kb__api *api, struct kb_http_req *req, const struct kb_route *route,
               unsigned verb);
void kb__pod_log(struct kb__api *api, struct kb_http_req *req, const struct kb_route *route);
void kb__pod_exec(struct kb__api *api, struct kb_http_req *req, const struct kb_route *route);
void kb__system(struct kb__api *api, struct kb_http_req *req, const struct kb_route *route);

#endif
