/* write.c - everything that changes an object, handed to the object service. */
#include "actors/api/api.h"

#include "bus/base/check.h"
#include "bus/model/json.h"

#include <stdlib.h>

enum { USUAL_BYTES = 1024 }; /* of an answer: most need no second allocation */

struct write {
    struct kb__op op;
    struct kb__look look;
    uint64_t id;
    bool answered;
};

static void write_closed(struct kb__op *op)
{
    struct write *write = (struct write *)op;
    if (write->id)
        kb_objects_cancel(op->api->objects, write->id);
    free(write);
}

static void write_done(void *user, const struct kb_object_reply *reply)
{
    struct write *write = user;
    struct kb__api *api = write->op.api;
    struct kb_buf json = {0};
    bool object = reply->rev > 0 && !reply->failed;
    kb_buf_reserve(&json, USUAL_BYTES);
    if (object && write->look.accept.form != KB_FORM_OBJECT)
        kb__render(&write->look, reply->doc, reply->rev,
                   kb_clock_wall_us(kb_actor_clock(api->actor)), true, &json);
    else if (object)
        kb_json_write_object(&json, reply->doc, (uint64_t)reply->rev);
    else
        kb_json_write(&json, reply->doc, 0);
    kb_buf_putc(&json, '\n');
    struct kb_accept accept = write->look.accept;
    accept.form = KB_FORM_OBJECT;
    kb__answer_json(api, write->op.req, reply->code, &accept, reply, &json);
    write->answered = true;
    if (write->id)
        free(write);
}

static kb_str media_type(struct kb_http_req *req)
{
    kb_str type = kb_http_req_header(req, "content-type");
    return kb_str_trim(kb_str_cut(&type, ';'));
}

static bool unsupported(struct kb__api *api, struct kb_http_req *req, const char *accepted)
{
    kb__answer_code(api, req, 415, "UnsupportedMediaType",
                    "the body of the request was in an unknown format - accepted media types "
                    "include: %s",
                    accepted);
    return false;
}

/* Go clients' encoding of built-in kinds. */
static bool protobuf_body(struct kb__api *api, struct kb_http_req *req, struct kb_doc **ret_doc,
                          struct kb_object_request *r)
{
    KB_AUTO(kb_arena_finish) struct kb_arena arena = {0};
    struct kb_node *object = NULL;
    struct kb_err err = {0};
    if (api->proto == NULL)
        api->proto = kb_proto_new();
    if (kb_proto_decode(api->proto, &arena, r->body, &object, &err) < 0) {
        kb__answer_err(api, req, &err);
        return false;
    }
    *ret_doc = kb_node_doc(object);
    r->body_type = KB_BODY_DOC;
    r->doc = kb_doc_root(*ret_doc);
    return true;
}

/* `ret_doc` owns what r->doc borrows. */
static bool body_of(struct kb__api *api, struct kb_http_req *req, struct kb_doc **ret_doc,
                    struct kb_object_request *r)
{
    kb_str type = media_type(req);
    r->body = kb_http_req_body(req);
    r->body_type = r->body.n ? KB_BODY_JSON : KB_BODY_NONE;
    if (r->verb == KB_VERB_PATCH) {
        r->body_type = KB_BODY_JSON;
        if (kb_str_is(type, "application/json-patch+json"))
            r->patch = KB_PATCH_JSON;
        else if (kb_str_is(type, "application/merge-patch+json"))
            r->patch = KB_PATCH_MERGE_JSON;
        else if (kb_str_is(type, "application/strategic-merge-patch+json"))
            r->patch = KB_PATCH_STRATEGIC;
        else
            return unsupported(api, req,
                               "application/json-patch+json, application/merge-patch+json, "
                               "application/strategic-merge-patch+json");
        return true;
    }
    if (r->body.n == 0 || type.n == 0 || kb_str_is(type, "application/json") ||
        kb_str_is(type, "*/*"))
        return true;
    if (kb_str_is(type, "application/vnd.kubernetes.protobuf"))
        return protobuf_body(api, req, ret_doc, r);
    if (!kb_str_is(type, "application/yaml"))
        return unsupported(api, req,
                           "application/json, application/yaml, "
                           "application/vnd.kubernetes.protobuf");
    r->body_type = KB_BODY_YAML;
    return true;
}

static void delete_options(struct kb_http_req *req, struct kb_object_request *r)
{
    kb_str propagation = kb__param(req, "propagationPolicy");
    r->has_grace = kb_str_i64(kb__param(req, "gracePeriodSeconds"), &r->grace_s);
    r->propagation = kb_str_is(propagation, "Background")   ? KB_PROPAGATION_BACKGROUND
                     : kb_str_is(propagation, "Foreground") ? KB_PROPAGATION_FOREGROUND
                     : kb_str_is(propagation, "Orphan") || kb__param_true(req, "orphanDependents")
                         ? KB_PROPAGATION_ORPHAN
                         : KB_PROPAGATION_DEFAULT;
    r->label_selector = kb__param(req, "labelSelector");
    r->field_selector = kb__param(req, "fieldSelector");
}

static bool options_of(struct kb__api *api, struct kb_http_req *req, struct kb_object_request *r)
{
    kb_str dry_run = kb__param(req, "dryRun"), validation = kb__param(req, "fieldValidation");
    r->dry_run = kb_str_is(dry_run, "All");
    if (dry_run.n && !r->dry_run) {
        kb__answer_code(api, req, 422, "Invalid",
                        "dryRun: Unsupported value: \"" KB_STR_FMT "\": supported values: \"All\"",
                        KB_STR_ARG(dry_run));
        return false;
    }
    r->validation = kb_str_is(validation, "Strict")   ? KB_VALIDATION_STRICT
                    : kb_str_is(validation, "Ignore") ? KB_VALIDATION_IGNORE
                                                      : KB_VALIDATION_WARN;
    /* Without one, the manager is the client's name: what stands before the slash of its agent. */
    kb_str agent = kb_http_req_header(req, "user-agent");
    r->manager = kb__param(req, "fieldManager");
    if (r->manager.n == 0)
        r->manager = kb_str_cut(&agent, '/');
    r->user = kb_http_req_user(req);
    if (r->verb == KB_VERB_DELETE || r->verb == KB_VERB_DELETECOLLECTION)
        delete_options(req, r);
    return true;
}

void kb__write(struct kb__api *api, struct kb_http_req *req, const struct kb_route *route,
               unsigned verb)
{
    struct kb_object_request r = {.verb = verb,
                                  .kind = route->kind,
                                  .ns = route->ns,
                                  .name = route->name,
                                  .subresource = route->subresource};
    struct kb__look look;
    KB_AUTO(kb_doc_destroy) struct kb_doc *doc = NULL;
    if (!kb__look_of(api, req, route->kind, &look) || !body_of(api, req, &doc, &r) ||
        !options_of(api, req, &r))
        return;
    if (look.columns && kb_str_is(route->subresource, "scale")) /* the answer is a Scale */
        look.columns = kb_map_get(&api->columns, kb_str_of("scales.autoscaling"));
    struct write *write = calloc(1, sizeof(*write));
    KB_ASSERT(write != NULL);
    write->look = look;
    write->op.closed = write_closed;
    kb__op_begin(&write->op, api, req);
    uint64_t id = kb_objects_do(api->objects, &r, write_done, write);
    if (write->answered)
        free(write);
    else
        write->id = id;
}
