#include "bus/model/kind.h"

#include "bus/base/check.h"
#include "bus/base/grow.h"
#include "bus/base/map.h"
#include "bus/model/schema_impl.h"

#include <stdlib.h>

struct kb_kinds {
    struct kb__schemas *schemas;
    struct kb_arena *arena; /* that of the schemas */
    const struct kb_kind **items;
    size_t count, cap;
    struct kb_map by_resource, by_plural, by_kind;
    struct kb_doc **docs;
    size_t ndocs;
};

static const char *const verb_words[] = {"get",    "list",  "watch",  "create",
                                         "update", "patch", "delete", "deletecollection"};

unsigned kb_verb_of(kb_str word)
{
    for (size_t i = 0; i < KB_COUNT(verb_words); i++)
        if (kb_str_is(word, verb_words[i]))
            return 1u << i;
    return 0;
}

const char *kb_verb_word(unsigned verb)
{
    for (size_t i = 0; i < KB_COUNT(verb_words); i++)
        if (verb == 1u << i)
            return verb_words[i];
    return "";
}

struct kb_kinds *kb_kinds_new(void)
{
    struct kb_kinds *kinds = calloc(1, sizeof(*kinds));
    KB_ASSERT(kinds != NULL);
    kinds->schemas = kb__schemas_new();
    kinds->arena = kb__schemas_arena(kinds->schemas);
    return kinds;
}

void kb_kinds_destroy(struct kb_kinds **kinds_p)
{
    struct kb_kinds *kinds = KB_STEAL(*kinds_p);
    if (kinds == NULL)
        return;
    kb_map_finish(&kinds->by_resource);
    kb_map_finish(&kinds->by_plural);
    kb_map_finish(&kinds->by_kind);
    kb__schemas_destroy(&kinds->schemas);
    for (size_t i = 0; i < kinds->ndocs; i++)
        kb_doc_destroy(&kinds->docs[i]);
    free(kinds->docs);
    free(kinds->items);
    free(kinds);
}

/* ---- reading a kind's entry ---- */

static void *take(struct kb_kinds *kinds, size_t n)
{
    void *p = kb_arena_alloc(kinds->arena, n ? n : 1);
    memset(p, 0, n ? n : 1);
    return p;
}

static kb_str text_of(kb_val entry, const char *word)
{
    return kb_val_str(kb_val_get(entry, word));
}

/* A path without its leading dot, terminated. */
static kb_str path_of(struct kb_kinds *kinds, kb_val val)
{
    kb_str path = kb_val_str(val);
    if (path.n && path.p[0] == '.')
        path = kb_str_n(path.p + 1, path.n - 1);
    return kb_arena_str(kinds->arena, path);
}

static struct kb_strs strs_of(struct kb_kinds *kinds, kb_val list, bool paths)
{
    kb_str *items = take(kinds, kb_val_count(list) * sizeof(*items));
    size_t n = 0;
    for (struct kb_iter it = kb_iter(list); kb_iter_next(&it);)
        items[n++] = paths ? path_of(kinds, it.val) : kb_val_str(it.val);
    return (struct kb_strs){items, n};
}

static unsigned verbs_of(kb_val list)
{
    unsigned verbs = 0;
    for (struct kb_iter it = kb_iter(list); kb_iter_next(&it);)
        verbs |= kb_verb_of(kb_val_str(it.val));
    return verbs;
}

static kb_str or_str(kb_str a, kb_str b)
{
    return a.n ? a : b;
}

static void read_subresources(struct kb_kinds *kinds, kb_val map, struct kb_kind *kind)
{
    struct kb_subresource *subs = take(kinds, kb_val_count(map) * sizeof(*subs));
    kind->subresources = subs;
    for (struct kb_iter it = kb_iter(map); kb_iter_next(&it);) {
        struct kb_subresource *sub = &subs[kind->nsubresources++];
        bool scale = kb_str_is(it.key, "scale"), own = !kb_val_present(kb_val_get(it.val, "kind"));
        kb_val verbs = kb_val_get(it.val, "verbs");
        sub->name = it.key;
        sub->verbs =
            kb_val_present(verbs) ? verbs_of(verbs) : KB_VERB_GET | KB_VERB_PATCH | KB_VERB_UPDATE;
        sub->kind = own ? kind->kind : text_of(it.val, "kind");
        sub->group = own ? kind->group : text_of(it.val, "group");
        sub->version = or_str(text_of(it.val, "version"), kind->version);
        kind->status_split |= kb_str_is(it.key, "status");
        if (!scale)
            continue;
        sub->kind = kb_str_of("Scale");
        sub->group = kb_str_of("autoscaling");
        sub->version = kb_str_of("v1");
        kind->scale_spec = path_of(kinds, kb_val_get(it.val, "specReplicasPath"));
        kind->scale_status = path_of(kinds, kb_val_get(it.val, "statusReplicasPath"));
        kind->scale_selector = path_of(kinds, kb_val_get(it.val, "labelSelectorPath"));
    }
}

static void read_columns(struct kb_kinds *kinds, kb_val list, struct kb_kind *kind)
{
    struct kb_column *columns = take(kinds, kb_val_count(list) * sizeof(*columns));
    kind->columns = columns;
    for (struct kb_iter it = kb_iter(list); kb_iter_next(&it);)
        columns[kind->ncolumns++] = (struct kb_column){
            .name = text_of(it.val, "name"),
            .type = text_of(it.val, "type"),
            .format = text_of(it.val, "format"),
            .description = text_of(it.val, "description"),
            .priority = kb_val_int(kb_val_get(it.val, "priority"), 0),
            .source = it.val,
        };
}

static void read_selectable(struct kb_kinds *kinds, kb_val list, struct kb_kind *kind)
{
    struct kb_selectable *all = take(kinds, kb_val_count(list) * sizeof(*all));
    kind->selectable = all;
    for (struct kb_iter it = kb_iter(list); kb_iter_next(&it);) {
        struct kb_selectable *one = &all[kind->nselectable++];
        if (kb_val_type(it.val) == KB_STR) {
            one->name = one->path = path_of(kinds, it.val);
            continue;
        }
        one->name = text_of(it.val, "name");
        one->path = path_of(kinds, kb_val_get(it.val, "path"));
        one->otherwise = path_of(kinds, kb_val_get(it.val, "else"));
    }
}

static void read_indices(struct kb_kinds *kinds, kb_val list, struct kb_kind *kind)
{
    struct kb_kind_index *all = take(kinds, kb_val_count(list) * sizeof(*all));
    kind->indices = all;
    for (struct kb_iter it = kb_iter(list); kb_iter_next(&it);)
        all[kind->nindices++] = (struct kb_kind_index){
            .name = text_of(it.val, "name"),
            .path = path_of(kinds, kb_val_get(it.val, "path")),
            .controller = kb_val_bool(kb_val_get(it.val, "controller"), false),
        };
}

static void read_rules(struct kb_kinds *kinds, kb_val entry, struct kb_kind *kind)
{
    kb_val when = kb_val_get(entry, "immutableWhen"), only = kb_val_get(entry, "mutable");
    kind->immutable = strs_of(kinds, kb_val_get(entry, "immutable"), true);
    kind->immutable_once_set = strs_of(kinds, kb_val_get(entry, "immutableOnceSet"), true);
    kind->immutable_when = path_of(kinds, kb_val_get(when, "field"));
    kind->immutable_then = strs_of(kinds, kb_val_get(when, "fields"), true);
    kind->mutable_under = path_of(kinds, kb_val_get(only, "under"));
    kind->mutable_message = text_of(only, "message");
    kind->mutable_fields = strs_of(kinds, kb_val_get(only, "fields"), true);
    kind->name_format = kb_arena_str(kinds->arena, text_of(entry, "nameFormat"));
    kind->grace_path = path_of(kinds, kb_val_get(entry, "gracePath"));
    kind->finalizers_path = path_of(kinds, kb_val_get(entry, "finalizersPath"));
    kind->ttl_s = kb_val_int(kb_val_get(entry, "ttlSeconds"), 0);
}

static void read_names(struct kb_kinds *kinds, kb_val entry, struct kb_kind *kind)
{
    kind->group = text_of(entry, "group");
    kind->version = text_of(entry, "version");
    kind->kind = text_of(entry, "kind");
    kind->list_kind = kb_arena_printf(kinds->arena, KB_STR_FMT "List", KB_STR_ARG(kind->kind));
    kind->plural = text_of(entry, "plural");
    kind->singular = text_of(entry, "singular");
    kind->resource = kind->group.n
                         ? kb_arena_printf(kinds->arena, KB_STR_FMT "." KB_STR_FMT,
                                           KB_STR_ARG(kind->plural), KB_STR_ARG(kind->group))
                         : kb_arena_str(kinds->arena, kind->plural);
    kind->api_version = kind->group.n
                            ? kb_arena_printf(kinds->arena, KB_STR_FMT "/" KB_STR_FMT,
                                              KB_STR_ARG(kind->group), KB_STR_ARG(kind->version))
                            : kind->version;
    kind->namespaced = kb_val_bool(kb_val_get(entry, "namespaced"), true);
    kind->generation = kb_val_bool(kb_val_get(entry, "generation"), false);
    kind->stored = kb_val_bool(kb_val_get(entry, "stored"), true);
    kind->subresource_only = kb_val_bool(kb_val_get(entry, "subresourceOnly"), false);
    kind->verbs = verbs_of(kb_val_get(entry, "verbs"));
    kind->short_names = strs_of(kinds, kb_val_get(entry, "shortNames"), false);
    kind->categories = strs_of(kinds, kb_val_get(entry, "categories"), false);
    kind->schema_name = text_of(entry, "schema");
}

/* ---- the registry ---- */

static kb_str plural_key(kb_str group, kb_str version, kb_str plural, char *out, size_t cap)
{
    struct kb_str parts[] = {group, version, plural};
    size_t n = 0;
    for (size_t i = 0; i < KB_COUNT(parts); i++) {
        if (n + parts[i].n + 1 > cap)
            return (kb_str){0};
        if (parts[i].n)
            memcpy(out + n, parts[i].p, parts[i].n);
        n += parts[i].n;
        out[n++] = '/';
    }
    return kb_str_n(out, n);
}

static void register_kind(struct kb_kinds *kinds, struct kb_kind *kind)
{
    char text[768];
    KB_GROW(kinds->items, kinds->count, kinds->cap, 16);
    kinds->items[kinds->count++] = kind;
    if (!kind->subresource_only && kb_map_get(&kinds->by_resource, kind->resource) == NULL)
        kb_map_put(&kinds->by_resource, kind->resource, kind);
    kb_str plural = plural_key(kind->group, kind->version, kind->plural, text, sizeof(text));
    if (plural.n)
        kb_map_put(&kinds->by_plural, plural, kind);
    kb_str by_kind = plural_key(kind->api_version, kind->kind, kb_str_of(""), text, sizeof(text));
    if (by_kind.n)
        kb_map_put(&kinds->by_kind, by_kind, kind);
}

static int add_kind(struct kb_kinds *kinds, kb_val entry, struct kb_err *err)
{
    struct kb_kind *kind = take(kinds, sizeof(*kind));
    kind->source = entry;
    read_names(kinds, entry, kind);
    if (kind->version.n == 0 || kind->kind.n == 0 || kind->plural.n == 0)
        return kb_err_set(err, KB_EINVAL, "a kind needs version, kind and plural");
    read_subresources(kinds, kb_val_get(entry, "subresources"), kind);
    read_columns(kinds, kb_val_get(entry, "columns"), kind);
    read_selectable(kinds, kb_val_get(entry, "selectableFields"), kind);
    read_indices(kinds, kb_val_get(entry, "indices"), kind);
    read_rules(kinds, entry, kind);
    if (kb__schemas_get(kinds->schemas, kind->schema_name, &kind->schema, err) < 0)
        return kb_err_wrap(err, "kind " KB_STR_FMT, KB_STR_ARG(kind->kind));
    register_kind(kinds, kind);
    return 0;
}

static void define_all(struct kb_kinds *kinds, kb_val document)
{
    for (struct kb_iter it = kb_iter(kb_val_get(document, "definitions")); kb_iter_next(&it);)
        kb__schemas_define(kinds->schemas, it.key, it.val);
}

static int add_kinds(struct kb_kinds *kinds, kb_val document, struct kb_err *err)
{
    for (struct kb_iter it = kb_iter(kb_val_get(document, "kinds")); kb_iter_next(&it);)
        if (add_kind(kinds, it.val, err) < 0)
            return -KB_EINVAL;
    return 0;
}

int kb_kinds_add(struct kb_kinds *kinds, kb_val document, struct kb_err *err)
{
    if (kb_val_type(document) != KB_ARRAY) {
        define_all(kinds, document);
        return add_kinds(kinds, document, err);
    }
    for (struct kb_iter it = kb_iter(document); kb_iter_next(&it);)
        define_all(kinds, it.val);
    for (struct kb_iter it = kb_iter(document); kb_iter_next(&it);)
        if (add_kinds(kinds, it.val, err) < 0)
            return -KB_EINVAL;
    return 0;
}

int kb_kinds_add_doc(struct kb_kinds *kinds, struct kb_doc *doc, struct kb_err *err)
{
    kinds->docs = realloc(kinds->docs, (kinds->ndocs + 1) * sizeof(struct kb_doc *));
    KB_ASSERT(kinds->docs != NULL);
    kinds->docs[kinds->ndocs++] = kb_doc_ref(doc);
    return kb_kinds_add(kinds, kb_doc_root(doc), err);
}

int kb_kinds_compile(struct kb_kinds *kinds, kb_val openapi_v3, const struct kb_schema **ret_schema,
                     struct kb_err *err)
{
    return kb__schemas_compile(kinds->schemas, openapi_v3, true, ret_schema, err);
}

const struct kb_kind *kb_kinds_by_resource(const struct kb_kinds *kinds, kb_str resource)
{
    return kb_map_get(&kinds->by_resource, resource);
}

const struct kb_kind *kb_kinds_by_plural(const struct kb_kinds *kinds, kb_str group, kb_str version,
                                         kb_str plural)
{
    char text[768];
    kb_str key = plural_key(group, version, plural, text, sizeof(text));
    return key.n ? kb_map_get(&kinds->by_plural, key) : NULL;
}

const struct kb_kind *kb_kinds_by_kind(const struct kb_kinds *kinds, kb_str api_version,
                                       kb_str kind)
{
    char text[768];
    kb_str key = plural_key(api_version, kind, kb_str_of(""), text, sizeof(text));
    return key.n ? kb_map_get(&kinds->by_kind, key) : NULL;
}

size_t kb_kinds_count(const struct kb_kinds *kinds)
{
    return kinds->count;
}

const struct kb_kind *kb_kinds_index(const struct kb_kinds *kinds, size_t at)
{
    return at < kinds->count ? kinds->items[at] : NULL;
}

kb_val kb_kinds_definition(const struct kb_kinds *kinds, kb_str name)
{
    return kb__schemas_source(kinds->schemas, name);
}

const struct kb_subresource *kb_kind_subresource(const struct kb_kind *kind, kb_str name)
{
    for (size_t i = 0; i < kind->nsubresources; i++)
        if (kb_str_eq(kind->subresources[i].name, name))
            return &kind->subresources[i];
    return NULL;
}
