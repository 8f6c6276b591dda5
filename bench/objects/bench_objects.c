/* bench_objects: what one write costs in the core of the object service, without store and network:
 * JSON in, transaction out. Prints one JSON line a case.
 *
 *     bench_objects [CASE COUNT]
 *
 * With both, that case alone and so often: for a profiler that counts instructions. */
#include "actors/api/objects_core.h"
#include "bus/base/check.h"
#include "bus/base/clock.h"

#include <stdio.h>
#include <stdlib.h>

static const char configmap[] =
    "{\"apiVersion\":\"v1\",\"kind\":\"ConfigMap\",\"metadata\":{\"generateName\":\"cm-\"},"
    "\"data\":{"
    "\"k\":"
    "\"0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef0123456789"
    "abcdef0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef\"}}";
static const char pod[] =
    "{\"apiVersion\":\"v1\",\"kind\":\"Pod\",\"metadata\":{\"generateName\":\"web-\",\"labels\":{"
    "\"app\":\"web\",\"tier\":\"front\"}},\"spec\":{\"containers\":[{\"name\":\"a\",\"image\":"
    "\"nginx:1\",\"resources\":{\"requests\":{\"cpu\":\"100m\",\"memory\":\"64Mi\"}},\"ports\":[{"
    "\"containerPort\":80}],\"env\":[{\"name\":\"A\",\"value\":\"b\"}]}]}}";
static const char status_patch[] =
    "{\"status\":{\"phase\":\"Running\",\"podIP\":\"10.1.2.3\",\"conditions\":[{\"type\":\"Ready\","
    "\"status\":\"True\"}]}}";

static double seconds(void)
{
    return (double)kb_clock_wall_us(kb_clock_system()) / 1e6;
}

/* One request to its end, the store granting everything; the transaction's bytes. */
static size_t run(struct kb_objects_core *core, const struct kb_object_request *request,
                  kb_val current)
{
    struct kb_object_op *op = kb_object_op_new(core, request, 1704067200000000);
    size_t n = 0;
    while (kb_object_op_want(op) != KB_OP_DONE) {
        if (kb_object_op_want(op) == KB_OP_READ) {
            kb_object_op_read(op, 7, current);
            continue;
        }
        n = kb_val_size(kb_object_op_txn(op));
        kb_object_op_committed(op, 8);
    }
    KB_ASSERT(!kb_object_op_reply(op)->failed);
    kb_object_op_release(&op);
    return n;
}

static const char *only; /* the case; NULL: all */
static size_t count;     /* 0: for a second */

static void measure(const char *name, struct kb_objects_core *core,
                    const struct kb_object_request *request, kb_val current)
{
    double start = seconds(), spent;
    size_t n = 0, bytes = 0, round = count ? count : 1000;
    if (only && strcmp(only, name) != 0)
        return;
    do {
        for (size_t i = 0; i < round; i++, n++)
            bytes = run(core, request, current);
        spent = seconds() - start;
    } while (count == 0 && spent < 1);
    printf("{\"case\":\"%s\",\"per_second\":%.0f,\"us\":%.2f,\"txn_bytes\":%zu}\n", name,
           (double)n / spent, spent * 1e6 / (double)n, bytes);
}

int main(int argc, char **argv)
{
    if (argc == 3) {
        only = argv[1];
        count = strtoul(argv[2], NULL, 10);
    }
    struct kb_objects_config config = {.seed = 1};
    double start = seconds();
    struct kb_kinds *kinds = kb_kinds_builtin();
    printf("{\"case\":\"kinds\",\"ms\":%.2f}\n", (seconds() - start) * 1e3);
    struct kb_objects_core *core = kb_objects_core_new(kinds, &config);
    struct kb_w ns = {0};
    kb_w_map(&ns);
    kb_w_kcstr(&ns, "kind", "Namespace");
    kb_w_end(&ns);
    kb_objects_core_namespace(core, kb_str_of("default"), kb_w_val(&ns));
    kb_objects_core_account(core, kb_str_of("default"), kb_str_of("default"), true);
    struct kb_object_request r = {.verb = KB_VERB_CREATE,
                                  .kind = kb_kinds_by_resource(kinds, kb_str_of("configmaps")),
                                  .ns = kb_str_of("default"),
                                  .body_type = KB_BODY_JSON,
                                  .body = kb_str_of(configmap)};
    measure("create ConfigMap", core, &r, (kb_val){0});
    r.kind = kb_kinds_by_resource(kinds, kb_str_of("pods"));
    r.body = kb_str_of(pod);
    measure("create Pod", core, &r, (kb_val){0});
    struct kb_object_op *op = kb_object_op_new(core, &r, 1704067200000000);
    kb_val created = kb_val_get(kb_val_index(kb_val_get(kb_object_op_txn(op), "ops"), 0), "doc");
    r.verb = KB_VERB_PATCH;
    r.name = kb_val_str_at(created, "metadata.name");
    r.subresource = kb_str_of("status");
    r.patch = KB_PATCH_STRATEGIC;
    r.body = kb_str_of(status_patch);
    measure("patch Pod status", core, &r, created);
    r = (struct kb_object_request){
        .verb = KB_VERB_DELETE, .kind = r.kind, .ns = r.ns, .name = r.name};
    measure("delete Pod", core, &r, created);
    kb_object_op_release(&op);
    kb_w_finish(&ns);
    kb_objects_core_destroy(&core);
    kb_kinds_destroy(&kinds);
    return 0;
}
