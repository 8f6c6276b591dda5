/* A write as it comes in over HTTP, through the whole core of the object service, for the kind and
 * the verb that the first two bytes pick; the store is played here. What was written can be written
 * again and is then found unchanged. Or (the highest bit) the store has what the first part of the
 * input says, up to a NUL: what others wrote straight into it need not be of the kind's shape. */
#include "actors/api/objects_core.h"
#include "bus/base/check.h"
#include "bus/model/json.h"
#include "tests/fuzz/fuzz.h"

#include <stdlib.h>

static const char pod[] = "{\"metadata\":{\"name\":\"x\",\"finalizers\":[\"a.b/c\"]},\"spec\":{"
                          "\"containers\":[{\"name\":\"a\",\"image\":\"b\"}]}}";
static const char workload[] =
    "{\"metadata\":{\"name\":\"x\"},\"spec\":{\"selector\":{\"matchLabels\":{\"a\":\"b\"}},"
    "\"template\":{\"metadata\":{\"labels\":{\"a\":\"b\"}},\"spec\":{\"containers\":[{\"name\":"
    "\"a\","
    "\"image\":\"b\"}]}}}}";
static const char service[] =
    "{\"metadata\":{\"name\":\"x\"},\"spec\":{\"type\":\"NodePort\",\"ports\":[{\"port\":80}]}}";
static const char other[] = "{\"metadata\":{\"name\":\"x\"}}";

static const char *const subresources[] = {
    "", "status", "scale", "binding", "finalize", "ephemeralcontainers", "resize", "eviction"};

struct stage {
    struct kb_objects_core *core;
    struct kb_doc *doc; /* what was written last */
    bool wrote;
};

static void run(struct stage *stage, const struct kb_object_request *request)
{
    struct kb_object_op *op = kb_object_op_new(stage->core, request, 1704067200000000);
    kb_val current = kb_doc_root(stage->doc);
    struct kb_doc *written = NULL;
    bool refused = false;
    stage->wrote = false;
    while (kb_object_op_want(op) != KB_OP_DONE) {
        if (kb_object_op_want(op) == KB_OP_READ) {
            kb_object_op_read(op, 7, current);
            continue;
        }
        if (kb_object_op_want(op) == KB_OP_LIST) {
            kb_object_op_listed(op, (kb_val){0}, false);
            continue;
        }
        kb_val first = kb_val_index(kb_val_get(kb_object_op_txn(op), "ops"), 0);
        struct kb_err err = {0};
        if (!refused && kb_val_present(current)) { /* every write loses one race */
            refused = true;
            kb_err_set(&err, KB_ECONFLICT, "refused");
            kb_object_op_refused(op, &err, 0, 7, current);
            continue;
        }
        if (kb_val_present(kb_val_get(first, "doc")))
            written = kb_doc_of(kb_val_get(first, "doc"));
        stage->wrote = true;
        kb_object_op_committed(op, 8);
    }
    KB_ASSERT(kb_object_op_reply(op)->code >= 200);
    kb_object_op_release(&op);
    if (written) {
        kb_doc_destroy(&stage->doc);
        stage->doc = written;
    }
}

static struct kb_object_request create(const struct kb_kind *kind, const char *json, size_t n)
{
    return (struct kb_object_request){.verb = KB_VERB_CREATE,
                                      .kind = kind,
                                      .ns = kb_str_of(kind->namespaced ? "default" : ""),
                                      .body_type = KB_BODY_JSON,
                                      .body = kb_str_n(json, n)};
}

static void write_again(struct stage *stage, const struct kb_kind *kind)
{
    struct kb_object_request r = {.verb = KB_VERB_UPDATE, .kind = kind};
    KB_AUTO(kb_doc_destroy) struct kb_doc *before = kb_doc_ref(stage->doc);
    r.ns = kb_val_str_at(kb_doc_root(before), "metadata.namespace");
    r.name = kb_val_str_at(kb_doc_root(before), "metadata.name");
    r.body_type = KB_BODY_DOC;
    r.doc = kb_doc_root(before);
    run(stage, &r);
    KB_ASSERT(!stage->wrote);
}

static struct kb_kinds *kinds;

static struct kb_objects_core *core_new(void)
{
    struct kb_objects_config config = {.seed = 1};
    struct kb_w ns = {0};
    if (kinds == NULL)
        kinds = kb_kinds_builtin();
    struct kb_objects_core *core = kb_objects_core_new(kinds, &config);
    kb_w_map(&ns);
    kb_w_end(&ns);
    kb_objects_core_namespace(core, kb_str_of("default"), kb_w_val(&ns));
    kb_w_finish(&ns);
    return core;
}

static const char *sample_of(const struct kb_kind *kind)
{
    if (kb_str_is(kind->kind, "Pod"))
        return pod;
    if (kb_str_is(kind->kind, "Service"))
        return service;
    return kind->scale_spec.n ? workload : other;
}

static void pick(struct kb_object_request *r, unsigned choice)
{
    static const unsigned verbs[] = {KB_VERB_UPDATE, KB_VERB_PATCH, KB_VERB_DELETE, KB_VERB_CREATE};
    r->verb = verbs[choice >> 1 & 3];
    r->patch = (enum kb_patch_type)(choice >> 3 & 3) % 3;
    r->name = kb_str_of("x");
    r->subresource = kb_str_of(subresources[choice >> 5]);
}

/* A request about something odd. */
static void odd_input(struct stage *stage, const struct kb_kind *kind, unsigned choice, kb_str rest)
{
    kb_str before = kb_str_cut(&rest, '\0');
    if (kb_json_doc(before, &stage->doc, NULL) < 0)
        return;
    if (kb_val_type(kb_doc_root(stage->doc)) != KB_MAP) /* the store has maps alone */
        return;
    struct kb_object_request r = create(kind, rest.p ? rest.p : "", rest.n);
    pick(&r, choice);
    run(stage, &r);
}

static void one_input(struct stage *stage, const uint8_t *data, size_t n)
{
    const struct kb_kind *kind = kb_kinds_index(kinds, (data[0] & 127) % kb_kinds_count(kinds));
    const char *body = (const char *)data + 2;
    if (!kind->stored)
        return;
    if (data[0] & 128) {
        odd_input(stage, kind, data[1], kb_str_n(body, n - 2));
        return;
    }
    if (data[1] & 1) {
        struct kb_object_request r = create(kind, body, n - 2);
        run(stage, &r);
    } else {
        const char *sample = sample_of(kind);
        struct kb_object_request r = create(kind, sample, strlen(sample));
        run(stage, &r);
        pick(&r, data[1]);
        r.body = kb_str_n(body, n - 2);
        if (r.verb != KB_VERB_CREATE || r.subresource.n)
            run(stage, &r);
    }
    if (stage->doc)
        write_again(stage, kind);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    struct stage stage = {.core = core_new()};
    if (n >= 2)
        one_input(&stage, data, n);
    kb_doc_destroy(&stage.doc);
    kb_objects_core_destroy(&stage.core);
    return 0;
}
