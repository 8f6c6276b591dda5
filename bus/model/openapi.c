/* openapi.c - the components of the document: our schemas, in the words of OpenAPI.
 *
 * WHY not the definitions as they are: our own words (x-kubus-…, formats) mean nothing to others; a
 * definition that is only a named scalar or map (Labels, ApiVersion) would hide its type behind a
 * name; and words beside a $ref are ignored by OpenAPI 3.0, so they go around an `allOf`.
 *
 * A description stands where a type is used, the type's own if the property has none, and not at
 * the component: `kubectl explain` prints both, one below the other. Kinds keep theirs. */
#include "bus/model/openapi.h"

#include "bus/base/check.h"
#include "bus/model/json.h"
#include "bus/model/openapi_impl.h"

#include <stdlib.h>

#define REF "#/components/schemas/"

static void emit_schema(struct kb__openapi *o, kb_val schema, bool custom);

/* ---- names ---- */

/* Where Kubernetes keeps the types of each package; a definition names its package, core if not. */
static const char *package_prefix(kb_str package)
{
    static const struct {
        const char *package, *prefix;
    } table[] = {
        {"", "io.k8s.api.core.v1."},
        {"meta", "io.k8s.apimachinery.pkg.apis.meta.v1."},
        {"resource", "io.k8s.apimachinery.pkg.api.resource."},
        {"apps", "io.k8s.api.apps.v1."},
        {"autoscaling", "io.k8s.api.autoscaling.v1."},
        {"coordination", "io.k8s.api.coordination.v1."},
        {"policy", "io.k8s.api.policy.v1."},
    };
    for (size_t i = 0; i < KB_COUNT(table); i++)
        if (kb_str_is(package, table[i].package))
            return table[i].prefix;
    return "io.kubus.";
}

/* "stable.example.com" → "com.example.stable." */
static void reversed(struct kb_buf *out, kb_str group)
{
    while (group.n > 0) {
        size_t at = group.n;
        while (at > 0 && group.p[at - 1] != '.')
            at--;
        kb_buf_add(out, group.p + at, group.n - at);
        kb_buf_putc(out, '.');
        group.n = at > 0 ? at - 1 : 0;
    }
}

static struct kb__component *component(struct kb__openapi *o, kb_str name)
{
    struct kb__component *c = kb_map_get(&o->seen, name);
    if (c != NULL)
        return c;
    c = kb_arena_alloc(&o->arena, sizeof(*c));
    *c = (struct kb__component){.name = kb_arena_str(&o->arena, name)};
    kb_map_put(&o->seen, name, c);
    if (o->last != NULL)
        o->last->next = c;
    else
        o->first = c;
    o->last = c;
    return c;
}

static kb_str ref_of(struct kb__openapi *o, const struct kb__component *c)
{
    return kb_arena_printf(&o->arena, REF KB_STR_FMT, KB_STR_ARG(c->name));
}

static kb_str definition_ref(struct kb__openapi *o, kb_str name, kb_val source)
{
    kb_str full = kb_arena_printf(&o->arena, "%s" KB_STR_FMT,
                                  package_prefix(kb_val_str(kb_val_get(source, "x-kubus-package"))),
                                  KB_STR_ARG(name));
    struct kb__component *c = component(o, full);
    c->definition = name;
    c->source = source;
    return ref_of(o, c);
}

kb_str kb__openapi_definition(struct kb__openapi *o, const char *name)
{
    return definition_ref(o, kb_str_of(name), kb_kinds_definition(o->kinds, kb_str_of(name)));
}

kb_str kb__openapi_kind(struct kb__openapi *o, const struct kb_kind *kind, bool list)
{
    KB_AUTO(kb_buf_finish) struct kb_buf name = {0};
    if (kind->custom) {
        reversed(&name, kind->group);
        kb_buf_printf(&name, KB_STR_FMT ".", KB_STR_ARG(kind->version));
    } else {
        kb_val source = kb_kinds_definition(o->kinds, kind->schema_name);
        kb_buf_puts(&name, package_prefix(kb_val_str(kb_val_get(source, "x-kubus-package"))));
    }
    kb_buf_add_str(&name, list ? kind->list_kind : kind->kind);
    struct kb__component *c = component(o, kb_buf_str(&name));
    if (list) {
        c->list_of = kind;
    } else {
        c->kind = kind;
        c->source = kb_schema_source(kind->schema);
    }
    return ref_of(o, c);
}

void kb__openapi_ref(struct kb__openapi *o, kb_str ref)
{
    kb_w_map(&o->w);
    kb_w_kstr(&o->w, "$ref", ref);
    kb_w_end(&o->w);
}

/* ---- schemas ---- */

/* Words that stay ours, or that are written by other means. */
static bool is_private(kb_str word, bool custom)
{
    return kb_str_starts(word, "x-kubus-") || kb_str_is(word, "$ref") ||
           (!custom &&
            (kb_str_is(word, "nullable") || kb_str_is(word, "x-kubernetes-int-or-string")));
}

/* A format as the world knows it; empty for our own. */
static kb_str public_format(kb_str format, bool custom)
{
    static const char *const known[] = {"int32", "int64", "float", "double", "byte", "date-time"};
    if (custom)
        return format;
    if (kb_str_is(format, "micro-time"))
        return kb_str_of("date-time");
    for (size_t i = 0; i < KB_COUNT(known); i++)
        if (kb_str_is(format, known[i]))
            return format;
    return (kb_str){0};
}

/* Whether others see this definition by its name; else its words are written where it is used. */
static bool is_named(kb_val definition)
{
    return kb_val_present(kb_val_get(definition, "properties")) ||
           kb_val_present(kb_val_get(definition, "x-kubus-package"));
}

static void emit_members(struct kb__openapi *o, kb_val members, bool custom)
{
    kb_w_map(&o->w);
    for (struct kb_iter it = kb_iter(members); kb_iter_next(&it);) {
        kb_w_str(&o->w, it.key);
        emit_schema(o, it.val, custom);
    }
    kb_w_end(&o->w);
}

/* The schema of a container's members: a bare reference stays bare, as the container has been
 * described. */
static void emit_items(struct kb__openapi *o, kb_val schema, bool custom)
{
    kb_str name = kb_val_str(kb_val_get(schema, "$ref"));
    kb_val definition = kb_kinds_definition(o->kinds, name);
    if (name.n > 0 && kb_val_count(schema) == 1 && is_named(definition))
        kb__openapi_ref(o, definition_ref(o, name, definition));
    else
        emit_schema(o, schema, custom);
}

static void emit_word(struct kb__openapi *o, kb_str word, kb_val val, bool custom)
{
    if (is_private(word, custom))
        return;
    if (kb_str_is(word, "format")) {
        kb_str format = public_format(kb_val_str(val), custom);
        if (format.n > 0)
            kb_w_kstr(&o->w, "format", format);
        return;
    }
    kb_w_str(&o->w, word);
    if (kb_str_is(word, "properties"))
        emit_members(o, val, custom);
    else if ((kb_str_is(word, "items") || kb_str_is(word, "additionalProperties")) &&
             kb_val_type(val) == KB_MAP)
        emit_items(o, val, custom);
    else
        kb_w_raw(&o->w, val);
}

/* The words of a schema, but for those that `except` has as well. */
static void emit_words(struct kb__openapi *o, kb_val schema, kb_val except, bool custom)
{
    for (struct kb_iter it = kb_iter(schema); kb_iter_next(&it);)
        if (kb_val_type(kb_val_getn(except, it.key)) == KB_NONE)
            emit_word(o, it.key, it.val, custom);
}

/* A reference with words beside it: those of `schema`, and the definition's description if `schema`
 * has none, as readers do not look for one behind the reference. */
static void emit_all_of(struct kb__openapi *o, kb_str ref, kb_val schema, kb_val definition)
{
    kb_val description = kb_val_get(definition, "description");
    kb_w_map(&o->w);
    kb_w_karray(&o->w, "allOf");
    kb__openapi_ref(o, ref);
    kb_w_end(&o->w);
    for (struct kb_iter it = kb_iter(schema); kb_iter_next(&it);)
        if (!kb_str_is(it.key, "format"))
            emit_word(o, it.key, it.val, false);
    if (kb_val_present(description) && !kb_val_present(kb_val_get(schema, "description")))
        kb_w_kraw(&o->w, "description", description);
    kb_w_end(&o->w);
}

static kb_str int_or_string(struct kb__openapi *o)
{
    return ref_of(o, component(o, kb_str_of("io.k8s.apimachinery.pkg.util.intstr.IntOrString")));
}

static void emit_schema(struct kb__openapi *o, kb_val schema, bool custom)
{
    kb_str name = kb_val_str(kb_val_get(schema, "$ref"));
    if (name.n > 0) {
        kb_val definition = kb_kinds_definition(o->kinds, name);
        if (is_named(definition)) {
            emit_all_of(o, definition_ref(o, name, definition), schema, definition);
            return;
        }
        kb_w_map(&o->w);
        emit_words(o, schema, (kb_val){0}, custom);
        emit_words(o, definition, schema, custom);
        kb_w_end(&o->w);
    } else if (!custom && kb_val_bool_at(schema, "x-kubernetes-int-or-string", false)) {
        emit_all_of(o, int_or_string(o), schema, (kb_val){0});
    } else {
        kb_w_map(&o->w);
        emit_words(o, schema, (kb_val){0}, custom);
        kb_w_end(&o->w);
    }
}

/* ---- components ---- */

static void emit_either(struct kb__openapi *o, const char *a, const char *b)
{
    kb_w_karray(&o->w, "oneOf");
    for (int i = 0; i < 2; i++) {
        kb_w_map(&o->w);
        kb_w_kcstr(&o->w, "type", i == 0 ? a : b);
        kb_w_end(&o->w);
    }
    kb_w_end(&o->w);
}

static void emit_gvk(struct kb__openapi *o, const struct kb_kind *kind, kb_str name)
{
    kb_w_karray(&o->w, "x-kubernetes-group-version-kind");
    kb_w_map(&o->w);
    kb_w_kstr(&o->w, "group", kind->group);
    kb_w_kstr(&o->w, "kind", name);
    kb_w_kstr(&o->w, "version", kind->version);
    kb_w_end(&o->w);
    kb_w_end(&o->w);
}

static void emit_member_ref(struct kb__openapi *o, const char *member, const char *definition)
{
    kb_w_key(&o->w, member);
    kb_val source = kb_kinds_definition(o->kinds, kb_str_of(definition));
    if (is_named(source)) {
        kb__openapi_ref(o, kb__openapi_definition(o, definition));
        return;
    }
    kb_w_map(&o->w);
    emit_words(o, source, (kb_val){0}, false);
    kb_w_end(&o->w);
}

static void emit_list(struct kb__openapi *o, const struct kb_kind *kind)
{
    kb_w_map(&o->w);
    kb_w_key(&o->w, "description");
    kb_w_str(&o->w, kb_arena_printf(&o->arena, "A list of " KB_STR_FMT " objects.",
                                    KB_STR_ARG(kind->kind)));
    kb_w_kcstr(&o->w, "type", "object");
    kb_w_karray(&o->w, "required");
    kb_w_cstr(&o->w, "items");
    kb_w_end(&o->w);
    kb_w_kmap(&o->w, "properties");
    emit_member_ref(o, "apiVersion", "ApiVersion");
    kb_w_kmap(&o->w, "items");
    kb_w_kcstr(&o->w, "type", "array");
    kb_w_kcstr(&o->w, "description", "The objects.");
    kb_w_key(&o->w, "items");
    kb__openapi_ref(o, kb__openapi_kind(o, kind, false));
    kb_w_end(&o->w);
    emit_member_ref(o, "kind", "Kind");
    emit_member_ref(o, "metadata", "ListMeta");
    kb_w_end(&o->w);
    emit_gvk(o, kind, kind->list_kind);
    kb_w_end(&o->w);
}

/* The properties of a user-defined kind: what every object has stands beside its own. */
static void emit_custom(struct kb__openapi *o, kb_val source)
{
    kb_val own = kb_val_get(source, "properties");
    kb_w_kmap(&o->w, "properties");
    emit_member_ref(o, "apiVersion", "ApiVersion");
    emit_member_ref(o, "kind", "Kind");
    emit_member_ref(o, "metadata", "ObjectMeta");
    for (struct kb_iter it = kb_iter(own); kb_iter_next(&it);) {
        if (kb_str_is(it.key, "apiVersion") || kb_str_is(it.key, "kind") ||
            kb_str_is(it.key, "metadata"))
            continue;
        kb_w_str(&o->w, it.key);
        emit_schema(o, it.val, true);
    }
    kb_w_end(&o->w);
    for (struct kb_iter it = kb_iter(source); kb_iter_next(&it);)
        if (!kb_str_is(it.key, "properties"))
            emit_word(o, it.key, it.val, true);
}

/* All words but the description. */
static void emit_nameless(struct kb__openapi *o, kb_val source)
{
    for (struct kb_iter it = kb_iter(source); kb_iter_next(&it);)
        if (!kb_str_is(it.key, "description"))
            emit_word(o, it.key, it.val, false);
}

static void emit_component(struct kb__openapi *o, const struct kb__component *c)
{
    kb_w_str(&o->w, c->name);
    if (c->list_of != NULL) {
        emit_list(o, c->list_of);
        return;
    }
    kb_w_map(&o->w);
    if (kb_str_ends(c->name, ".IntOrString")) {
        kb_w_kcstr(&o->w, "description", "An integer, or text such as a percentage or a name.");
        kb_w_kcstr(&o->w, "format", "int-or-string");
        emit_either(o, "integer", "string");
    } else if (kb_val_bool_at(c->source, "x-kubernetes-int-or-string", false)) {
        emit_nameless(o, c->source);
        emit_either(o, "string", "number");
    } else if (c->kind != NULL && c->kind->custom) {
        emit_custom(o, c->source);
    } else if (c->kind != NULL) {
        emit_words(o, c->source, (kb_val){0}, false);
    } else {
        emit_nameless(o, c->source);
    }
    if (c->kind != NULL)
        emit_gvk(o, c->kind, c->kind->kind);
    kb_w_end(&o->w);
}

void kb__openapi_components(struct kb__openapi *o)
{
    kb_w_map(&o->w);
    for (const struct kb__component *c = o->first; c != NULL; c = c->next)
        emit_component(o, c); /* may add further ones behind */
    kb_w_end(&o->w);
}

/* ---- documents ---- */

static void openapi_finish(struct kb__openapi *o)
{
    kb_w_finish(&o->w);
    kb_map_finish(&o->seen);
    kb_arena_finish(&o->arena);
}

int kb_openapi_document(const struct kb_kinds *kinds, kb_str group, kb_str version,
                        const char *server_version, struct kb_buf *out)
{
    KB_AUTO(openapi_finish)
    struct kb__openapi o = {.kinds = kinds, .group = group, .version = version};
    size_t found = 0;
    kb_w_map(&o.w);
    kb_w_kcstr(&o.w, "openapi", "3.0.0");
    kb_w_kmap(&o.w, "info");
    kb_w_kcstr(&o.w, "title", "Kubernetes");
    kb_w_kcstr(&o.w, "version", server_version);
    kb_w_end(&o.w);
    kb_w_kmap(&o.w, "paths");
    for (size_t i = 0; i < kb_kinds_count(kinds); i++) {
        const struct kb_kind *kind = kb_kinds_index(kinds, i);
        if (!kb_str_eq(kind->group, group) || !kb_str_eq(kind->version, version))
            continue;
        found++;
        kb__openapi_kind(&o, kind, false);
        if (!kind->subresource_only)
            kb__openapi_paths(&o, kind);
    }
    kb_w_end(&o.w);
    kb_w_kmap(&o.w, "components");
    kb_w_key(&o.w, "schemas");
    kb__openapi_components(&o);
    kb_w_end(&o.w);
    kb_w_end(&o.w);
    if (found == 0)
        return -KB_ENOTFOUND;
    kb_json_write(out, kb_w_val(&o.w), 0);
    return 0;
}

/* Whether a kind before `at` is in the same version. */
static bool is_repeated(const struct kb_kinds *kinds, size_t at)
{
    for (size_t i = 0; i < at; i++)
        if (kb_str_eq(kb_kinds_index(kinds, i)->api_version,
                      kb_kinds_index(kinds, at)->api_version))
            return true;
    return false;
}

void kb_openapi_index(const struct kb_kinds *kinds, const char *server_version, struct kb_buf *out)
{
    KB_AUTO(kb_buf_finish) struct kb_buf document = {0};
    bool any = false;
    kb_buf_puts(out, "{\"paths\":{");
    for (size_t i = 0; i < kb_kinds_count(kinds); i++) {
        const struct kb_kind *kind = kb_kinds_index(kinds, i);
        if (is_repeated(kinds, i))
            continue;
        kb_buf_clear(&document);
        kb_openapi_document(kinds, kind->group, kind->version, server_version, &document);
        const char *root = kind->group.n > 0 ? "apis" : "api";
        kb_buf_printf(out,
                      "%s\"%s/" KB_STR_FMT "\":{\"serverRelativeURL\":\"/openapi/v3/%s/" KB_STR_FMT
                      "?hash=%016llX\"}",
                      any ? "," : "", root, KB_STR_ARG(kind->api_version), root,
                      KB_STR_ARG(kind->api_version),
                      (unsigned long long)kb_hash64(document.p, document.n));
        any = true;
    }
    kb_buf_puts(out, "}}");
}
