/* objects_decode.c - a request's body into a tree of the kind's types, and what is said of fields
 * that are not the kind's or stand there twice. */
#include "actors/api/objects_impl.h"

#include "bus/model/json.h"
#include "bus/model/yaml.h"

static void cannot_handle(struct kb_object_op *op, kb_str api_version, kb_str kind, const char *why)
{
    kb_str version = api_version, rest = api_version;
    kb_str_cut(&rest, '/');
    if (rest.p)
        version = rest;
    kb_status_bad_request(&op->status, &op->arena,
                          KB_STR_FMT " in version \"" KB_STR_FMT
                                     "\" cannot be handled as a " KB_STR_FMT ": %s",
                          KB_STR_ARG(kind), KB_STR_ARG(version), KB_STR_ARG(kind), why);
}

/* Unknown and duplicate fields: an error, warnings, or nothing, as asked. */
static int report_strict(struct kb_object_op *op, kb_str api_version, kb_str kind)
{
    KB_AUTO(kb_buf_finish) struct kb_buf text = {0};
    if (op->unknowns.count == 0 || op->req.validation == KB_VALIDATION_IGNORE)
        return 0;
    for (size_t i = 0; i < op->unknowns.count; i++) {
        kb_str path = op->unknowns.paths[i];
        bool duplicate = kb_str_starts(path, "\001");
        kb_str line = kb_arena_printf(&op->arena, "%s field \"" KB_STR_FMT "\"",
                                      duplicate ? "duplicate" : "unknown", (int)path.n - duplicate,
                                      path.p + duplicate);
        if (op->req.validation == KB_VALIDATION_WARN)
            kb__op_warn(op, line);
        kb_buf_printf(&text, "%s" KB_STR_FMT,
                      i ? ", " : "strict decoding error: ", KB_STR_ARG(line));
    }
    op->unknowns.count = 0;
    if (op->req.validation == KB_VALIDATION_WARN)
        return 0;
    cannot_handle(op, api_version, kind, text.p);
    return kb__op_fail(op);
}

static int check_type_meta(struct kb_object_op *op, kb_str api_version, kb_str kind,
                           struct kb_node *node)
{
    kb_str have_version = kb_node_text(kb_node_get(node, "apiVersion"));
    kb_str have_kind = kb_node_text(kb_node_get(node, "kind"));
    if (have_version.n && !kb_str_eq(have_version, api_version)) {
        kb_status_bad_request(&op->status, &op->arena,
                              "the API version in the data (" KB_STR_FMT
                              ") does not match the expected API version (" KB_STR_FMT ")",
                              KB_STR_ARG(have_version), KB_STR_ARG(api_version));
        return kb__op_fail(op);
    }
    if (have_kind.n && !kb_str_eq(have_kind, kind)) {
        kb_status_bad_request(&op->status, &op->arena,
                              "the kind in the data (" KB_STR_FMT
                              ") does not match the expected kind (" KB_STR_FMT ")",
                              KB_STR_ARG(have_kind), KB_STR_ARG(kind));
        return kb__op_fail(op);
    }
    if (have_version.n == 0)
        kb_node_put(&op->arena, node, "apiVersion", kb_node_str(&op->arena, api_version));
    if (have_kind.n == 0)
        kb_node_put(&op->arena, node, "kind", kb_node_str(&op->arena, kind));
    return 0;
}

int kb__op_decode(struct kb_object_op *op, const struct kb_schema *schema, kb_str api_version,
                  kb_str kind, struct kb_node *node)
{
    struct kb_err err = {0};
    if (kb_schema_decode(schema, &op->arena, node, &op->unknowns, &err) < 0) {
        cannot_handle(op, api_version, kind, err.text);
        return kb__op_fail(op);
    }
    if (report_strict(op, api_version, kind) < 0)
        return -KB_EINVAL;
    return check_type_meta(op, api_version, kind, node);
}

/* Duplicate fields are kept among the unknown ones, marked by a first byte. */
static void on_duplicate(void *arg, const char *path)
{
    struct kb_object_op *op = arg;
    struct kb_unknowns *u = &op->unknowns;
    if (u->count >= KB_CAUSES_MAX)
        return;
    KB_ARENA_GROW(&op->arena, u->paths, u->count, u->cap, 8);
    u->paths[u->count++] = kb_arena_printf(&op->arena, "\001%s", path);
}

int kb__op_parse_body(struct kb_object_op *op, const struct kb_object_request *req)
{
    struct kb_read_opts opts = {on_duplicate, op};
    struct kb_err err = {0};
    int rc = 0;
    if (req->body_type == KB_BODY_JSON)
        rc = kb_json_parse(&op->arena, req->body, &opts, &op->body, &err);
    else if (req->body_type == KB_BODY_YAML)
        rc = kb_yaml_parse_one(&op->arena, req->body, &opts, &op->body, &err);
    else if (req->body_type == KB_BODY_DOC && kb_val_present(req->doc)) {
        size_t n = kb_val_size(req->doc);
        uint8_t *copy = kb_arena_alloc(&op->arena, n);
        memcpy(copy, req->doc.p, n);
        op->body = kb_node_of(&op->arena, (kb_val){copy, copy + n});
    }
    if (rc < 0) {
        kb_status_bad_request(&op->status, &op->arena, "%s", err.text);
        return kb__op_fail(op);
    }
    return 0;
}
