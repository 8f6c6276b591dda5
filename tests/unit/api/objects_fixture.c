#include "tests/unit/api/objects_fixture.h"

#include "bus/base/map.h"
#include "bus/model/kind.h"

#include <stdlib.h>

struct object {
    int64_t rev;
    struct kb_doc *doc;
};

struct cluster {
    struct kb_kinds *kinds;
    struct kb_objects_core *core;
    struct kb_map objects;
    int64_t rev, now_us;
    struct answer answer;
    void (*race)(struct cluster *cluster);
};

static void object_free(struct object *object)
{
    if (object)
        kb_doc_destroy(&object->doc);
    free(object);
}

struct cluster *cluster_new(void)
{
    struct cluster *c = calloc(1, sizeof(*c));
    struct kb_objects_config config = {.seed = 7, .api_address = kb_str_of("127.0.0.1:7443")};
    struct kb_object_request request;
    c->kinds = kb_kinds_builtin();
    c->core = kb_objects_core_new(c->kinds, &config);
    c->now_us = 1704067200ll * 1000000;
    for (size_t i = 0;; i++) {
        KB_AUTO(kb_arena_finish) struct kb_arena a = {0};
        if (!kb_objects_core_bootstrap(c->core, i, &a, &request))
            break;
        KB_CHECK_I64(cluster_request(c, &request)->code, <=, 201);
    }
    return c;
}

void cluster_destroy(struct cluster **c_p)
{
    struct cluster *c = KB_STEAL(*c_p);
    kb_str key;
    void *value;
    if (c == NULL)
        return;
    for (size_t i = 0; kb_map_next(&c->objects, &i, &key, &value);)
        object_free(value);
    kb_map_finish(&c->objects);
    kb_doc_destroy(&c->answer.doc);
    kb_objects_core_destroy(&c->core);
    kb_kinds_destroy(&c->kinds);
    free(c);
}

void cluster_advance(struct cluster *c, int64_t seconds)
{
    c->now_us += seconds * 1000000;
}

void cluster_race(struct cluster *c, void (*fn)(struct cluster *))
{
    c->race = fn;
}

struct kb_objects_core *cluster_core(struct cluster *c)
{
    return c->core;
}

kb_val cluster_get(struct cluster *c, const char *key)
{
    struct object *object = kb_map_get(&c->objects, kb_str_of(key));
    return object ? kb_doc_root(object->doc) : (kb_val){0};
}

void cluster_drop(struct cluster *c, const char *key)
{
    object_free(kb_map_del(&c->objects, kb_str_of(key)));
}

size_t cluster_count(struct cluster *c, const char *prefix)
{
    kb_str key;
    void *value;
    size_t n = 0;
    for (size_t i = 0; kb_map_next(&c->objects, &i, &key, &value);)
        n += kb_str_starts(key, prefix);
    return n;
}

/* ---- the store ---- */

static int check_op(struct cluster *c, kb_val op)
{
    struct object *object = kb_map_get(&c->objects, kb_val_str(kb_val_get(op, "key")));
    kb_val cond = kb_val_get(op, "if");
    int64_t rev = kb_val_int(kb_val_get(cond, "rev"), 0);
    if (kb_val_bool(kb_val_get(cond, "absent"), false) && object)
        return KB_EEXISTS;
    if ((rev || kb_str_is(kb_val_str(kb_val_get(op, "op")), "del")) && object == NULL)
        return KB_ENOTFOUND;
    return rev && object->rev != rev ? KB_ECONFLICT : 0;
}

static void apply_op(struct cluster *c, kb_val op)
{
    kb_str key = kb_val_str(kb_val_get(op, "key"));
    if (kb_str_is(kb_val_str(kb_val_get(op, "op")), "del")) {
        object_free(kb_map_del(&c->objects, key));
        return;
    }
    struct object *object = calloc(1, sizeof(*object));
    object->rev = c->rev;
    object->doc = kb_doc_of(kb_val_get(op, "doc"));
    object_free(kb_map_put(&c->objects, key, object));
}

static void commit(struct cluster *c, struct kb_object_op *op)
{
    if (c->race) {
        void (*race)(struct cluster *) = c->race;
        c->race = NULL;
        race(c);
    }
    kb_val ops = kb_val_get(kb_object_op_txn(op), "ops");
    size_t index = 0;
    for (struct kb_iter it = kb_iter(ops); kb_iter_next(&it); index++) {
        int code = check_op(c, it.val);
        if (code == 0)
            continue;
        struct kb_err err = {0};
        kb_err_set(&err, code, "refused");
        struct object *have = kb_map_get(&c->objects, kb_val_str(kb_val_get(it.val, "key")));
        kb_object_op_refused(op, &err, index, have ? have->rev : 0,
                             have ? kb_doc_root(have->doc) : (kb_val){0});
        return;
    }
    c->rev++;
    for (struct kb_iter it = kb_iter(ops); kb_iter_next(&it);)
        apply_op(c, it.val);
    kb_object_op_committed(op, c->rev);
}

/* All at once; the order of keys does not matter to who asks. */
static void list(struct cluster *c, struct kb_object_op *op)
{
    KB_AUTO(kb_w_finish) struct kb_w w = {0};
    kb_str ns = kb_str_of(kb_object_op_key(op)), resource = kb_str_cut(&ns, '?'), key;
    void *value;
    KB_CHECK(kb_str_is(kb_str_cut(&ns, '='), "ns"));
    KB_AUTO(kb_auto_free)
    char *prefix = kb_strf(KB_STR_FMT "/" KB_STR_FMT "/", KB_STR_ARG(resource), KB_STR_ARG(ns));
    kb_w_array(&w);
    for (size_t i = 0; kb_map_next(&c->objects, &i, &key, &value);) {
        const struct object *object = value;
        if (!kb_str_starts(key, prefix))
            continue;
        kb_w_map(&w);
        kb_w_kstr(&w, "key", key);
        kb_w_kint(&w, "rev", object->rev);
        kb_w_kraw(&w, "doc", kb_doc_root(object->doc));
        kb_w_end(&w);
    }
    kb_w_end(&w);
    kb_object_op_listed(op, kb_w_val(&w), false);
}

const struct answer *cluster_request(struct cluster *c, const struct kb_object_request *request)
{
    struct kb_object_op *op = kb_object_op_new(c->core, request, c->now_us);
    while (kb_object_op_want(op) != KB_OP_DONE) {
        if (kb_object_op_want(op) == KB_OP_COMMIT) {
            commit(c, op);
            continue;
        }
        if (kb_object_op_want(op) == KB_OP_LIST) {
            list(c, op);
            continue;
        }
        struct object *object = kb_map_get(&c->objects, kb_str_of(kb_object_op_key(op)));
        kb_object_op_read(op, object ? object->rev : 0,
                          object ? kb_doc_root(object->doc) : (kb_val){0});
    }
    const struct kb_object_reply *reply = kb_object_op_reply(op);
    kb_doc_destroy(&c->answer.doc);
    c->answer = (struct answer){.code = reply->code,
                                .rev = reply->rev,
                                .doc = kb_doc_of(reply->doc),
                                .warnings = reply->nwarnings};
    if (reply->nwarnings)
        kb_str_copy(reply->warnings[0], c->answer.warning, sizeof(c->answer.warning));
    kb_object_op_release(&op);
    return &c->answer;
}

struct kb_object_request cluster_target(struct cluster *c, unsigned verb, const char *target,
                                        const char *json)
{
    kb_str rest = kb_str_of(target), resource = kb_str_cut(&rest, '/'), ns = kb_str_cut(&rest, '/');
    kb_str sub = rest, name = kb_str_cut(&sub, '#');
    const struct kb_kind *kind = kb_kinds_by_resource(c->kinds, resource);
    KB_CHECK(kind != NULL);
    return (struct kb_object_request){
        .verb = verb,
        .kind = kind,
        .ns = ns,
        .name = name,
        .subresource = sub,
        .body_type = json ? KB_BODY_JSON : KB_BODY_NONE,
        .body = kb_str_of(json),
        .patch = KB_PATCH_STRATEGIC,
    };
}

const struct answer *cluster_do(struct cluster *c, unsigned verb, const char *target,
                                const char *json)
{
    struct kb_object_request request = cluster_target(c, verb, target, json);
    return cluster_request(c, &request);
}

const char *answer_at(const struct answer *answer, const char *path)
{
    static char text[4096];
    kb_val val = kb_doc_at(answer->doc, path);
    if (kb_val_type(val) == KB_INT)
        snprintf(text, sizeof(text), "%lld", (long long)kb_val_int(val, 0));
    else if (kb_val_type(val) == KB_BOOL)
        snprintf(text, sizeof(text), "%s", kb_val_bool(val, false) ? "true" : "false");
    else
        kb_str_copy(kb_val_str(val), text, sizeof(text));
    return text;
}
