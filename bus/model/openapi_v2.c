/* openapi_v2.c - as much of OpenAPI v2 as kubectl still needs: which query parameters a PATCH of
 * each kind understands. It asks for that in protobuf alone, when it applies a List.
 *
 * The numbers are those of the messages of github.com/google/gnostic, openapiv2/OpenAPIv2.proto. */
#include "bus/model/openapi.h"

/* Append field `number` with a length-delimited value. */
static void put(struct kb_buf *out, unsigned number, kb_str value)
{
    size_t key = (size_t)number << 3 | 2, n = value.n;
    for (int part = 0; part < 2; part++, key = n) {
        for (; key >= 0x80; key >>= 7)
            kb_buf_putc(out, (char)(key | 0x80));
        kb_buf_putc(out, (char)key);
    }
    kb_buf_add_str(out, value);
}

static void put_text(struct kb_buf *out, unsigned number, const char *text)
{
    put(out, number, kb_str_of(text));
}

/* Append `inner` as a field of `out`, and empty it. */
static void put_message(struct kb_buf *out, unsigned number, struct kb_buf *inner)
{
    put(out, number, kb_buf_str(inner));
    kb_buf_clear(inner);
}

/* Operation.parameters: a query parameter of type string. */
static void put_parameter(struct kb_buf *operation, const char *name)
{
    KB_AUTO(kb_buf_finish) struct kb_buf a = {0}, b = {0};
    put_text(&a, 2, "query");
    put_text(&a, 4, name);
    put_text(&a, 6, "string");
    put_message(&b, 3, &a); /* NonBodyParameter.query_parameter_sub_schema */
    put_message(&a, 2, &b); /* Parameter.non_body_parameter */
    put_message(&b, 1, &a); /* ParametersItem.parameter */
    put_message(operation, 8, &b);
}

/* NamedAny: the kind, as YAML. */
static void put_gvk(struct kb_buf *operation, const struct kb_kind *kind)
{
    KB_AUTO(kb_buf_finish) struct kb_buf yaml = {0}, any = {0}, named = {0};
    kb_buf_printf(&yaml,
                  "group: \"" KB_STR_FMT "\"\nkind: " KB_STR_FMT "\nversion: " KB_STR_FMT "\n",
                  KB_STR_ARG(kind->group), KB_STR_ARG(kind->kind), KB_STR_ARG(kind->version));
    put_message(&any, 2, &yaml);
    put_text(&named, 1, "x-kubernetes-group-version-kind");
    put_message(&named, 2, &any);
    put_message(operation, 13, &named);
}

/* Paths.path: the path of one object, with its PATCH. */
static void put_path(struct kb_buf *paths, const struct kb_kind *kind)
{
    static const char *const parameters[] = {"dryRun", "fieldManager", "fieldValidation", "force"};
    KB_AUTO(kb_buf_finish) struct kb_buf operation = {0}, item = {0}, named = {0}, path = {0};
    for (size_t i = 0; i < KB_COUNT(parameters); i++)
        put_parameter(&operation, parameters[i]);
    put_gvk(&operation, kind);
    put_message(&item, 8, &operation);
    kb_buf_printf(&path, "/%s/" KB_STR_FMT "%s/" KB_STR_FMT "/{name}",
                  kind->group.n > 0 ? "apis" : "api", KB_STR_ARG(kind->api_version),
                  kind->namespaced ? "/namespaces/{namespace}" : "", KB_STR_ARG(kind->plural));
    put_message(&named, 1, &path);
    put_message(&named, 2, &item);
    put_message(paths, 2, &named);
}

void kb_openapi_v2(const struct kb_kinds *kinds, const char *server_version, struct kb_buf *out)
{
    KB_AUTO(kb_buf_finish) struct kb_buf info = {0}, paths = {0};
    for (size_t i = 0; i < kb_kinds_count(kinds); i++)
        if (kb_kinds_index(kinds, i)->verbs & KB_VERB_PATCH)
            put_path(&paths, kb_kinds_index(kinds, i));
    put_text(&info, 1, "Kubernetes");
    put_text(&info, 2, server_version);
    put_text(out, 1, "2.0");
    put_message(out, 2, &info);
    put_message(out, 8, &paths);
}
