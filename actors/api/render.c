/* render.c - objects as the API shows them: whole, as metadata only, as rows of a table. */
#include "actors/api/api.h"

#include "bus/model/json.h"

bool kb__look_of(struct kb__api *api, struct kb_http_req *req, const struct kb_kind *kind,
                 struct kb__look *ret)
{
    unsigned forms = 1u << KB_FORM_TABLE | 1u << KB_FORM_PARTIAL;
    struct kb__look look = {.kind = kind};
    if (!kb_accept_parse(kb_http_req_header(req, "accept"), forms, &look.accept)) {
        kb__answer_code(api, req, 406, "NotAcceptable",
                        "only the following media types are accepted: application/json, "
                        "application/yaml");
        return false;
    }
    kb_str include = kb__param(req, "includeObject");
    look.include = kb_str_is(include, "None")     ? KB__INCLUDE_NONE
                   : kb_str_is(include, "Object") ? KB__INCLUDE_OBJECT
                                                  : KB__INCLUDE_METADATA;
    if (look.accept.form == KB_FORM_TABLE)
        look.columns = kb_map_get(&api->columns, kind->resource);
    *ret = look;
    return true;
}

/* The rest of a document after the brace that opens it, with what comes before already there. */
static void partial(kb_val object, int64_t rev, struct kb_buf *out)
{
    KB_AUTO(kb_w_finish) struct kb_w w = {0};
    kb_w_map(&w);
    kb_w_kcstr(&w, "kind", "PartialObjectMetadata");
    kb_w_kcstr(&w, "apiVersion", "meta.k8s.io/v1");
    kb_w_kraw(&w, "metadata", kb_val_get(object, "metadata"));
    kb_w_end(&w);
    kb_json_write_object(out, kb_w_val(&w), (uint64_t)rev);
}

static void row(const struct kb__look *look, kb_val object, int64_t rev, int64_t now_us,
                struct kb_buf *out)
{
    KB_AUTO(kb_w_finish) struct kb_w w = {0};
    kb_columns_row(look->columns, object, now_us, &w);
    kb_buf_puts(out, "{\"cells\":");
    kb_json_write(out, kb_w_val(&w), 0);
    if (look->include != KB__INCLUDE_NONE)
        kb_buf_puts(out, ",\"object\":");
    if (look->include == KB__INCLUDE_OBJECT)
        kb_json_write_object(out, object, (uint64_t)rev);
    else if (look->include == KB__INCLUDE_METADATA)
        partial(object, rev, out);
    kb_buf_putc(out, '}');
}

static void definitions(const struct kb__look *look, struct kb_buf *out)
{
    KB_AUTO(kb_w_finish) struct kb_w w = {0};
    kb_columns_definitions(look->columns, &w);
    kb_json_write(out, kb_w_val(&w), 0);
}

void kb__render_item(const struct kb__look *look, kb_val object, int64_t rev, int64_t now_us,
                     struct kb_buf *out)
{
    if (look->columns)
        row(look, object, rev, now_us, out);
    else if (look->accept.form == KB_FORM_PARTIAL)
        partial(object, rev, out);
    else
        kb_json_write_object(out, object, (uint64_t)rev);
}

static void list_meta(int64_t rev, kb_str token, int64_t left, struct kb_buf *out)
{
    kb_buf_printf(out, "\"metadata\":{\"resourceVersion\":\"%lld\"", (long long)rev);
    if (token.n) {
        kb_buf_puts(out, ",\"continue\":");
        kb_json_write_str(out, token);
        if (left > 0)
            kb_buf_printf(out, ",\"remainingItemCount\":%lld", (long long)left);
    }
    kb_buf_putc(out, '}');
}

void kb__render_list_head(const struct kb__look *look, int64_t rev, kb_str token, int64_t left,
                          struct kb_buf *out)
{
    const struct kb_kind *kind = look->kind;
    if (look->columns)
        kb_buf_puts(out, "{\"kind\":\"Table\",\"apiVersion\":\"meta.k8s.io/v1\",");
    else if (look->accept.form == KB_FORM_PARTIAL)
        kb_buf_puts(out, "{\"kind\":\"PartialObjectMetadataList\","
                         "\"apiVersion\":\"meta.k8s.io/v1\",");
    else
        kb_buf_printf(out, "{\"kind\":\"%.*s\",\"apiVersion\":\"%.*s\",",
                      KB_STR_ARG(kind->list_kind), KB_STR_ARG(kind->api_version));
    list_meta(rev, token, left, out);
    if (look->columns) {
        kb_buf_puts(out, ",\"columnDefinitions\":");
        definitions(look, out);
        kb_buf_puts(out, ",\"rows\":[");
    } else {
        kb_buf_puts(out, ",\"items\":[");
    }
}

void kb__render_list_tail(struct kb_buf *out)
{
    kb_buf_puts(out, "]}\n");
}

void kb__render(const struct kb__look *look, kb_val object, int64_t rev, int64_t now_us,
                bool headers, struct kb_buf *out)
{
    if (look->columns == NULL) {
        kb__render_item(look, object, rev, now_us, out);
        return;
    }
    kb_buf_puts(out, "{\"kind\":\"Table\",\"apiVersion\":\"meta.k8s.io/v1\",");
    list_meta(rev, (kb_str){0}, 0, out);
    kb_buf_puts(out, ",\"columnDefinitions\":");
    if (headers)
        definitions(look, out);
    else
        kb_buf_puts(out, "null");
    kb_buf_puts(out, ",\"rows\":[");
    row(look, object, rev, now_us, out);
    kb_buf_puts(out, "]}");
}
