/* objects_calls.c - object.* on the bus: docs/protocol.md, 7. */
#include "actors/api/objects_shell.h"

#include "bus/base/check.h"

#include <stdlib.h>

/* ---- answers ---- */

static void fail(struct kb_request *request, const struct kb_object_reply *reply)
{
    KB_AUTO(kb_w_finish) struct kb_w w = {0};
    struct kb_err err = {0};
    char reason[64];
    kb_str_copy(kb_val_str(kb_val_get(reply->doc, "reason")), reason, sizeof(reason));
    kb_str message = kb_val_str(kb_val_get(reply->doc, "message"));
    kb_err_set(&err, kb_err_from_reason(reason, reply->code), KB_STR_FMT, KB_STR_ARG(message));
    kb_w_map(&w);
    kb_w_kraw(&w, "status", reply->doc);
    if (reply->fenced)
        kb_w_kbool(&w, "fenced", true);
    kb_w_end(&w);
    kb_request_fail_with(&request, &err, kb_w_val(&w));
}

static void answer(void *user, const struct kb_object_reply *reply)
{
    struct kb_request *request = user;
    KB_AUTO(kb_w_finish) struct kb_w w = {0};
    if (reply->failed) {
        fail(request, reply);
        return;
    }
    kb_w_map(&w);
    kb_w_kstr(&w, "key", reply->key);
    kb_w_kint(&w, "rev", reply->rev);
    kb_w_kraw(&w, "doc", reply->doc);
    kb_w_end(&w);
    kb_request_reply(&request, kb_w_val(&w));
}

/* ---- questions ---- */

static kb_str text(kb_val body, const char *name)
{
    return kb_val_str(kb_val_get(body, name));
}

static enum kb_validation validation_of(kb_str word)
{
    return kb_str_is(word, "Strict")   ? KB_VALIDATION_STRICT
           : kb_str_is(word, "Ignore") ? KB_VALIDATION_IGNORE
                                       : KB_VALIDATION_WARN;
}

static enum kb_propagation propagation_of(kb_str word)
{
    return kb_str_is(word, "Background")   ? KB_PROPAGATION_BACKGROUND
           : kb_str_is(word, "Foreground") ? KB_PROPAGATION_FOREGROUND
           : kb_str_is(word, "Orphan")     ? KB_PROPAGATION_ORPHAN
                                           : KB_PROPAGATION_DEFAULT;
}

static int read_patch_type(kb_str word, enum kb_patch_type *ret)
{
    *ret = kb_str_is(word, "json")        ? KB_PATCH_JSON
           : kb_str_is(word, "strategic") ? KB_PATCH_STRATEGIC
                                          : KB_PATCH_MERGE_JSON;
    return word.n == 0 || kb_str_is(word, "merge") || *ret != KB_PATCH_MERGE_JSON ? 0 : -KB_EINVAL;
}

/* What all of the methods share. A failure has been answered. */
static int read_common(struct kb_objects *objects, struct kb_request *request, kb_val body,
                       const char *resource, struct kb_object_request *ret)
{
    struct kb_err err = {0};
    kb_str name = resource ? kb_str_of(resource) : text(body, "resource");
    kb_val grace = kb_val_get(body, "grace_s"), doc = kb_val_get(body, "doc");
    *ret = (struct kb_object_request){
        .kind = kb_kinds_by_resource(kb_objects_core_kinds(objects->core), name),
        .ns = text(body, "ns"),
        .name = text(body, "name"),
        .subresource = text(body, "subresource"),
        .body_type = KB_BODY_DOC,
        .doc = kb_val_present(doc) ? doc : kb_val_get(body, "patch"),
        .dry_run = kb_val_bool(kb_val_get(body, "dry_run"), false),
        .validation = validation_of(text(body, "validation")),
        .manager = text(body, "manager"),
        .user = kb_str_of(kb_request_caller(request)),
        .has_grace = kb_val_present(grace),
        .grace_s = kb_val_int(grace, 0),
        .propagation = propagation_of(text(body, "propagation")),
        .uid = text(body, "uid"),
        .rev = kb_val_int(kb_val_get(body, "rev"), 0),
        .lease = kb_val_str_at(body, "lease.name"),
        .epoch = kb_val_int_at(body, "lease.epoch", 0),
        .last_state = true,
        .label_selector = text(body, "labels"),
        .field_selector = text(body, "fields"),
    };
    if (ret->kind == NULL || !ret->kind->stored)
        kb_err_set(&err, KB_ENOTFOUND, "there is no resource '" KB_STR_FMT "'", KB_STR_ARG(name));
    else if (read_patch_type(text(body, "type"), &ret->patch) < 0)
        kb_err_set(&err, KB_EINVAL, "a patch of type merge, json or strategic");
    if (err.code == 0)
        return 0;
    kb_request_fail(&request, &err);
    return -err.code;
}

static void on_create(void *user, struct kb_request *request, kb_val body)
{
    struct kb_object_request r;
    if (read_common(user, request, body, NULL, &r) < 0)
        return;
    r.verb = KB_VERB_CREATE;
    kb_objects_do(user, &r, answer, request);
}

static void on_write(void *user, struct kb_request *request, kb_val body, unsigned verb)
{
    struct kb_object_request r;
    struct kb_err err = {0};
    if (read_common(user, request, body, NULL, &r) < 0)
        return;
    r.verb = verb;
    if (r.name.n == 0 && verb != KB_VERB_DELETECOLLECTION) {
        kb_err_set(&err, KB_EINVAL, "%s needs a name", kb_request_method(request));
        kb_request_fail(&request, &err);
        return;
    }
    kb_objects_do(user, &r, answer, request);
}

static void on_update(void *user, struct kb_request *request, kb_val body)
{
    on_write(user, request, body, KB_VERB_UPDATE);
}

static void on_patch(void *user, struct kb_request *request, kb_val body)
{
    on_write(user, request, body, KB_VERB_PATCH);
}

static void on_delete(void *user, struct kb_request *request, kb_val body)
{
    on_write(user, request, body, KB_VERB_DELETE);
}

static void on_deletecollection(void *user, struct kb_request *request, kb_val body)
{
    on_write(user, request, body, KB_VERB_DELETECOLLECTION);
}

static void on_bind(void *user, struct kb_request *request, kb_val body)
{
    KB_AUTO(kb_w_finish) struct kb_w w = {0};
    struct kb_object_request r;
    kb_w_map(&w);
    kb_w_kmap(&w, "target");
    kb_w_kcstr(&w, "kind", "Node");
    kb_w_kstr(&w, "name", text(body, "node"));
    kb_w_end(&w);
    kb_w_end(&w);
    if (read_common(user, request, body, "pods", &r) < 0)
        return;
    r.verb = KB_VERB_CREATE;
    r.subresource = kb_str_of("binding");
    r.doc = kb_w_val(&w);
    kb_objects_do(user, &r, answer, request);
}

static const struct kb_method methods[] = {
    {"object.create", on_create},
    {"object.update", on_update},
    {"object.patch", on_patch},
    {"object.delete", on_delete},
    {"object.deletecollection", on_deletecollection},
    {"object.bind", on_bind},
};

void kb__objects_serve(struct kb_objects *objects)
{
    kb_actor_serve(objects->actor, methods, KB_COUNT(methods), objects);
}
