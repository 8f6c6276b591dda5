/* Compiling: words of OpenAPI in, struct kb_schema out.
 *
 * WHY two passes: definitions refer to each other, and to themselves (JSONSchemaProps). A `$ref`
 * without words beside it is just the pointer. One with words beside it is a copy of its target
 * with those words applied on top; the copy is made after everything was compiled, when the target
 * is complete. What crosses objects (a default anywhere below) is computed last of all. WHY lazily:
 * a program that needs ten kinds does not pay for those it never touches. */
#include "bus/model/schema_impl.h"

#include "bus/base/check.h"
#include "bus/base/map.h"

#include <stdlib.h>

struct definition {
    kb_str name;
    kb_val source;
    struct kb_schema *schema;
    struct definition *next;
};

/* A copy to be made: `schema` is `target` with the words of `source` on top. */
struct fixup {
    struct kb_schema *schema;
    const struct kb_schema *target;
    kb_val source;
    bool done;
    struct fixup *next;
};

struct owned_regex {
    regex_t regex;
    struct owned_regex *next;
};

struct kb__schemas {
    struct kb_arena arena;
    struct kb_map definitions;
    struct fixup *fixups, **fixups_end;
    struct owned_regex *regexes;
    struct fresh {
        struct kb_schema *schema;
        struct fresh *next;
    } * fresh; /* compiled since the last finish */
    bool custom;
};

struct kb__schemas *kb__schemas_new(void)
{
    struct kb__schemas *set = calloc(1, sizeof(*set));
    KB_ASSERT(set != NULL);
    set->fixups_end = &set->fixups;
    return set;
}

void kb__schemas_destroy(struct kb__schemas **set_p)
{
    struct kb__schemas *set = KB_STEAL(*set_p);
    if (set == NULL)
        return;
    for (struct owned_regex *r = set->regexes; r; r = r->next)
        regfree(&r->regex);
    kb_map_finish(&set->definitions);
    kb_arena_finish(&set->arena);
    free(set);
}

struct kb_arena *kb__schemas_arena(struct kb__schemas *set)
{
    return &set->arena;
}

static void *take(struct kb__schemas *set, size_t n)
{
    void *p = kb_arena_alloc(&set->arena, n ? n : 1);
    memset(p, 0, n ? n : 1);
    return p;
}

void kb__schemas_define(struct kb__schemas *set, kb_str name, kb_val source)
{
    struct definition *def = take(set, sizeof(*def));
    def->name = kb_arena_str(&set->arena, name);
    def->source = source;
    kb_map_put(&set->definitions, name, def);
}

kb_val kb__schemas_source(const struct kb__schemas *set, kb_str name)
{
    const struct definition *def = kb_map_get(&set->definitions, name);
    return def ? def->source : (kb_val){0};
}

static int compile(struct kb__schemas *set, kb_val source, const struct kb_schema **ret,
                   struct kb_err *err);
static int compile_words(struct kb__schemas *set, kb_val source, struct kb_schema *s,
                         struct kb_err *err);

static struct kb_schema *schema_new(struct kb__schemas *set)
{
    struct kb_schema *s = take(set, sizeof(*s));
    struct fresh *fresh = take(set, sizeof(*fresh));
    s->one_of_default = KB__NO_PROP;
    s->custom = set->custom;
    *fresh = (struct fresh){s, set->fresh};
    set->fresh = fresh;
    return s;
}

static int definition_get(struct kb__schemas *set, kb_str name, const struct kb_schema **ret,
                          struct kb_err *err)
{
    struct definition *def = kb_map_get(&set->definitions, name);
    if (def == NULL)
        return kb_err_set(err, KB_EINVAL, "no definition named " KB_STR_FMT, KB_STR_ARG(name));
    if (def->schema == NULL) {
        def->schema = schema_new(set);
        def->schema->name = def->name;
        if (compile_words(set, def->source, def->schema, err) < 0) {
            def->schema = NULL;
            return kb_err_wrap(err, "definition " KB_STR_FMT, KB_STR_ARG(name));
        }
    }
    *ret = def->schema;
    return 0;
}

/* ---- small words ---- */

static int compile_regex(struct kb__schemas *set, kb_str text, regex_t **ret, struct kb_err *err)
{
    struct owned_regex *owned = take(set, sizeof(*owned));
    if (regcomp(&owned->regex, kb_arena_str(&set->arena, text).p, REG_EXTENDED | REG_NOSUB) != 0)
        return kb_err_set(err, KB_EINVAL, "pattern '" KB_STR_FMT "' is no regular expression",
                          KB_STR_ARG(text));
    owned->next = set->regexes;
    set->regexes = owned;
    *ret = &owned->regex;
    return 0;
}

static int compile_type(kb_val source, struct kb_schema *s, struct kb_err *err)
{
    static const struct {
        const char *word;
        enum kb__type type;
    } types[] = {
        {"object", KB__OBJECT},   {"array", KB__LIST},    {"string", KB__STRING},
        {"integer", KB__INTEGER}, {"number", KB__NUMBER}, {"boolean", KB__BOOLEAN},
    };
    if (kb_val_bool(kb_val_get(source, "x-kubernetes-int-or-string"), false)) {
        s->type = KB__INT_OR_STRING;
        return 0;
    }
    kb_val type = kb_val_get(source, "type");
    if (!kb_val_present(type))
        return 0;
    for (size_t i = 0; i < KB_COUNT(types); i++)
        if (kb_str_is(kb_val_str(type), types[i].word)) {
            s->type = (uint8_t)types[i].type;
            return 0;
        }
    return kb_err_set(err, KB_EINVAL, "unknown type '" KB_STR_FMT "'",
                      KB_STR_ARG(kb_val_str(type)));
}

static const kb_str *compile_strs(struct kb__schemas *set, kb_val list, uint16_t *ret_n)
{
    kb_str *strs = take(set, kb_val_count(list) * sizeof(*strs));
    uint16_t n = 0;
    for (struct kb_iter it = kb_iter(list); kb_iter_next(&it);)
        strs[n++] = kb_val_str(it.val);
    *ret_n = n;
    return strs;
}

static bool read_limit(kb_val source, const char *word, double *ret)
{
    kb_val limit = kb_val_get(source, word);
    if (kb_val_present(limit))
        *ret = kb_val_double(limit, (double)kb_val_int(limit, 0));
    return kb_val_present(limit);
}

static bool read_size(kb_val source, const char *word, int64_t *ret)
{
    kb_val limit = kb_val_get(source, word);
    if (kb_val_present(limit))
        *ret = kb_val_int(limit, 0);
    return kb_val_present(limit);
}

static void compile_limits(kb_val source, struct kb_schema *s)
{
    s->has_min |= read_limit(source, "minimum", &s->min);
    s->has_max |= read_limit(source, "maximum", &s->max);
    s->has_min_length |= read_size(source, "minLength", &s->min_length);
    s->has_max_length |= read_size(source, "maxLength", &s->max_length);
    s->has_min_items |= read_size(source, "minItems", &s->min_items);
    s->has_max_items |= read_size(source, "maxItems", &s->max_items);
}

static void compile_enum(struct kb__schemas *set, kb_val list, struct kb_schema *s)
{
    KB_AUTO(kb_buf_finish) struct kb_buf text = {0};
    s->enumeration = kb_node_of(&set->arena, list);
    for (size_t i = 0; i < s->enumeration->count; i++) {
        const struct kb_node *value = s->enumeration->items[i].val;
        if (i)
            kb_buf_puts(&text, ", ");
        if (value->type == KB_INT)
            kb_buf_printf(&text, "\"%lld\"", (long long)value->i);
        else
            kb_buf_printf(&text, "\"" KB_STR_FMT "\"", KB_STR_ARG(kb_node_text(value)));
    }
    s->enum_text = kb_arena_str(&set->arena, kb_buf_str(&text));
}

static void compile_lists_words(struct kb__schemas *set, kb_val source, struct kb_schema *s)
{
    kb_str type = kb_val_str(kb_val_get(source, "x-kubernetes-list-type"));
    if (type.n)
        s->list_type = kb_str_is(type, "map")   ? KB_LIST_MAP
                       : kb_str_is(type, "set") ? KB_LIST_SET
                                                : KB_LIST_ATOMIC;
    kb_val keys = kb_val_get(source, "x-kubernetes-list-map-keys");
    if (kb_val_present(keys))
        s->list_keys = compile_strs(set, keys, &s->nlist_keys);
    kb_val unique = kb_val_get(source, "x-kubus-unique");
    if (kb_val_present(unique))
        s->unique = compile_strs(set, unique, &s->nunique);
    kb_str merge_key = kb_val_str(kb_val_get(source, "x-kubernetes-patch-merge-key"));
    if (merge_key.n)
        s->merge_key = merge_key;
    kb_str strategy = kb_val_str(kb_val_get(source, "x-kubernetes-patch-strategy"));
    while (strategy.n) {
        kb_str word = kb_str_cut(&strategy, ',');
        s->patch |= kb_str_is(word, "merge")        ? KB_PATCH_MERGE
                    : kb_str_is(word, "retainKeys") ? KB_PATCH_RETAIN_KEYS
                                                    : 0;
    }
}

static void compile_flag(kb_val source, const char *word, bool *flag)
{
    kb_val val = kb_val_get(source, word);
    if (kb_val_present(val))
        *flag = kb_val_bool(val, false);
}

static int compile_scalar_words(struct kb__schemas *set, kb_val source, struct kb_schema *s,
                                struct kb_err *err)
{
    kb_str format = kb_val_str(kb_val_get(source, "format"));
    if (format.n) {
        s->format = kb__format_of(format);
        s->int32 = kb_str_is(format, "int32");
    }
    kb_str key_format = kb_val_str(kb_val_get(source, "x-kubus-key-format"));
    if (key_format.n)
        s->key_format = kb__format_of(key_format);
    compile_flag(source, "nullable", &s->nullable);
    compile_flag(source, "x-kubernetes-preserve-unknown-fields", &s->preserve);
    compile_flag(source, "x-kubus-zero-is-unset", &s->zero_is_unset);
    compile_limits(source, s);
    compile_lists_words(set, source, s);
    kb_val enumeration = kb_val_get(source, "enum");
    if (kb_val_type(enumeration) == KB_ARRAY)
        compile_enum(set, enumeration, s);
    kb_str detail = kb_val_str(kb_val_get(source, "x-kubus-detail"));
    if (detail.n)
        s->detail = detail;
    kb_val dflt = kb_val_get(source, "default");
    if (kb_val_present(dflt))
        s->dflt = kb_node_of(&set->arena, dflt);
    kb_str pattern = kb_val_str(kb_val_get(source, "pattern"));
    s->pattern_text = pattern.n ? pattern : s->pattern_text;
    return pattern.n ? compile_regex(set, pattern, &s->pattern, err) : 0;
}

/* ---- objects ---- */

static uint16_t prop_number(const struct kb__prop *props, uint16_t n, kb_str name)
{
    for (uint16_t i = 0; i < n; i++)
        if (kb_str_eq(props[i].name, name))
            return i;
    return KB__NO_PROP;
}

static int compile_cond(struct kb__schemas *set, const struct kb__prop *props, uint16_t n,
                        kb_val source, struct kb__cond *ret, struct kb_err *err)
{
    *ret = (struct kb__cond){.prop = KB__NO_PROP};
    if (!kb_val_present(source))
        return 0;
    kb_str field = kb_val_str(kb_val_get(source, "field"));
    ret->prop = prop_number(props, n, field);
    if (ret->prop == KB__NO_PROP)
        return kb_err_set(err, KB_EINVAL, "condition on an unknown field '" KB_STR_FMT "'",
                          KB_STR_ARG(field));
    kb_str pattern = kb_val_str(kb_val_get(source, "pattern"));
    kb_val in = kb_val_get(source, "in"), not_in = kb_val_get(source, "notIn");
    ret->how = kb_val_present(in)       ? KB__COND_IN
               : kb_val_present(not_in) ? KB__COND_NOT_IN
               : pattern.n              ? KB__COND_PATTERN
                                        : KB__COND_PRESENT;
    ret->values = kb_node_of(&set->arena, kb_val_present(in) ? in : not_in);
    kb_val detail = kb_val_get(source, "detail");
    ret->has_detail = kb_val_present(detail);
    ret->detail = kb_val_str(detail);
    ret->invalid = kb_val_bool(kb_val_get(source, "invalid"), false);
    return pattern.n ? compile_regex(set, pattern, &ret->pattern, err) : 0;
}

static int compile_default_when(struct kb__schemas *set, struct kb__prop *props, uint16_t n,
                                kb_val list, struct kb__prop *prop, struct kb_err *err)
{
    struct kb__default_when *all = take(set, kb_val_count(list) * sizeof(*all));
    prop->default_when = all;
    for (struct kb_iter it = kb_iter(list); kb_iter_next(&it);) {
        struct kb__default_when *one = &all[prop->ndefault_when++];
        one->value = kb_node_of(&set->arena, kb_val_get(it.val, "value"));
        if (compile_cond(set, props, n, kb_val_get(it.val, "when"), &one->when, err) < 0)
            return -KB_EINVAL;
    }
    return 0;
}

static int compile_sibling(struct kb__prop *props, uint16_t n, kb_str path, uint16_t *ret,
                           kb_str *ret_rest, struct kb_err *err)
{
    if (path.n == 0)
        return 0;
    kb_str rest = path, first = kb_str_cut(&rest, '.');
    *ret = prop_number(props, n, first);
    *ret_rest = rest;
    if (*ret == KB__NO_PROP)
        return kb_err_set(err, KB_EINVAL, "default from an unknown field '" KB_STR_FMT "'",
                          KB_STR_ARG(path));
    return 0;
}

static int compile_prop_cond(struct kb__schemas *set, struct kb__prop *props, uint16_t n,
                             kb_val source, const struct kb__cond **ret, struct kb_err *err)
{
    if (!kb_val_present(source))
        return 0;
    struct kb__cond *cond = take(set, sizeof(*cond));
    *ret = cond;
    return compile_cond(set, props, n, source, cond, err);
}

static int compile_prop_words(struct kb__schemas *set, struct kb__prop *props, uint16_t n,
                              struct kb__prop *prop, kb_val source, struct kb_err *err)
{
    kb_str unused;
    kb_val when = kb_val_get(source, "x-kubus-default-when");
    if (compile_default_when(set, props, n, when, prop, err) < 0 ||
        compile_sibling(props, n, kb_val_str(kb_val_get(source, "x-kubus-default-from")),
                        &prop->default_from, &prop->default_from_rest, err) < 0 ||
        compile_sibling(props, n, kb_val_str(kb_val_get(source, "x-kubus-default-keys-from")),
                        &prop->default_keys_from, &unused, err) < 0 ||
        compile_prop_cond(set, props, n, kb_val_get(source, "x-kubus-required-when"),
                          &prop->required_when, err) < 0 ||
        compile_prop_cond(set, props, n, kb_val_get(source, "x-kubus-forbidden-when"),
                          &prop->forbidden_when, err) < 0)
        return kb_err_wrap(err, "property " KB_STR_FMT, KB_STR_ARG(prop->name));
    return 0;
}

static struct kb__props number_fields(struct kb__schemas *set, const struct kb__prop *props,
                                      uint16_t n, kb_val list)
{
    uint16_t *items = take(set, kb_val_count(list) * sizeof(*items)), count = 0;
    for (struct kb_iter it = kb_iter(list); kb_iter_next(&it);) {
        uint16_t number = prop_number(props, n, kb_val_str(it.val));
        if (number != KB__NO_PROP)
            items[count++] = number;
    }
    return (struct kb__props){items, count};
}

/* Search a seed for which no two names share a slot. Twice the slots after each 200 failures, so
 * this ends for any set of different names. */
static void hash_props(struct kb__schemas *set, struct kb_schema *s)
{
    size_t size = 4;
    while (size < (size_t)s->nprops * 2)
        size *= 2;
    for (;; size *= 2) {
        uint16_t *slots = take(set, size * sizeof(*slots));
        for (uint32_t seed = 1; seed <= 200; seed++) {
            uint16_t i = 0;
            memset(slots, 0xff, size * sizeof(*slots));
            for (; i < s->nprops; i++) {
                uint16_t *slot = &slots[kb__name_hash(s->props[i].name, seed) & (size - 1)];
                if (*slot != KB__NO_PROP)
                    break;
                *slot = i;
            }
            if (i == s->nprops) {
                s->seed = seed;
                s->mask = (uint32_t)size - 1;
                s->slots = slots;
                return;
            }
        }
    }
}

static int compile_props(struct kb__schemas *set, kb_val map, struct kb_schema *s,
                         struct kb_err *err)
{
    size_t n = kb_val_count(map);
    if (n >= KB__NO_PROP)
        return kb_err_set(err, KB_E2BIG, "%zu properties are too many", n);
    struct kb__prop *props = take(set, n * sizeof(*props));
    uint16_t count = 0;
    for (struct kb_iter it = kb_iter(map); kb_iter_next(&it); count++) {
        props[count] = (struct kb__prop){
            .name = it.key, .default_from = KB__NO_PROP, .default_keys_from = KB__NO_PROP};
        if (compile(set, it.val, &props[count].schema, err) < 0)
            return kb_err_wrap(err, "property " KB_STR_FMT, KB_STR_ARG(it.key));
    }
    size_t at = 0;
    for (struct kb_iter it = kb_iter(map); kb_iter_next(&it); at++)
        if (compile_prop_words(set, props, count, &props[at], it.val, err) < 0)
            return -KB_EINVAL;
    s->props = props;
    s->nprops = count;
    hash_props(set, s);
    return 0;
}

static void compile_object_words(struct kb__schemas *set, kb_val source, struct kb_schema *s)
{
    struct kb__prop *props = (struct kb__prop *)s->props;
    kb_val required = kb_val_get(source, "required");
    if (kb_val_present(required)) {
        s->required = number_fields(set, props, s->nprops, required);
        for (uint16_t i = 0; i < s->required.count; i++)
            props[s->required.items[i]].required = true;
    }
    kb_val one_of = kb_val_get(source, "x-kubus-one-of");
    if (kb_val_present(one_of))
        s->one_of = number_fields(set, props, s->nprops, one_of);
    kb_val at_most = kb_val_get(source, "x-kubus-at-most-one-of");
    if (kb_val_present(at_most))
        s->at_most_one_of = number_fields(set, props, s->nprops, at_most);
    kb_str fallback = kb_val_str(kb_val_get(source, "x-kubus-one-of-default"));
    if (fallback.n)
        s->one_of_default = prop_number(props, s->nprops, fallback);
}

static int compile_words(struct kb__schemas *set, kb_val source, struct kb_schema *s,
                         struct kb_err *err)
{
    s->source = s->source.p ? s->source : source;
    if (compile_type(source, s, err) < 0 || compile_scalar_words(set, source, s, err) < 0)
        return -KB_EINVAL;
    kb_val props = kb_val_get(source, "properties");
    if (kb_val_present(props) && compile_props(set, props, s, err) < 0)
        return -KB_EINVAL;
    kb_val additional = kb_val_get(source, "additionalProperties");
    if (kb_val_type(additional) == KB_MAP && compile(set, additional, &s->additional, err) < 0)
        return -KB_EINVAL;
    if (kb_val_type(additional) == KB_BOOL && kb_val_bool(additional, false))
        s->preserve = true;
    kb_val items = kb_val_get(source, "items");
    if (kb_val_present(items) && compile(set, items, &s->items, err) < 0)
        return -KB_EINVAL;
    compile_object_words(set, source, s);
    return 0;
}

static bool is_plain_ref(kb_val source)
{
    for (struct kb_iter it = kb_iter(source); kb_iter_next(&it);)
        if (!kb_str_is(it.key, "$ref") && !kb_str_is(it.key, "description") &&
            !kb_str_starts(it.key, "x-kubus-default-") && !kb_str_starts(it.key, "x-kubus-req") &&
            !kb_str_starts(it.key, "x-kubus-forbidden-"))
            return false;
    return true;
}

static int compile(struct kb__schemas *set, kb_val source, const struct kb_schema **ret,
                   struct kb_err *err)
{
    kb_str ref = kb_val_str(kb_val_get(source, "$ref"));
    if (ref.n == 0) {
        struct kb_schema *s = schema_new(set);
        *ret = s;
        return compile_words(set, source, s, err);
    }
    const struct kb_schema *target;
    if (definition_get(set, ref, &target, err) < 0)
        return -KB_EINVAL;
    *ret = target;
    if (is_plain_ref(source))
        return 0;
    struct fixup *fixup = take(set, sizeof(*fixup));
    *fixup = (struct fixup){.schema = schema_new(set), .target = target, .source = source};
    *set->fixups_end = fixup;
    set->fixups_end = &fixup->next;
    *ret = fixup->schema;
    return 0;
}

/* ---- the second pass ---- */

static int apply_fixups(struct kb__schemas *set, struct kb_err *err)
{
    for (struct fixup *fixup = set->fixups; fixup; fixup = fixup->next) {
        *fixup->schema = *fixup->target;
        if (compile_words(set, fixup->source, fixup->schema, err) < 0)
            return -KB_EINVAL;
    }
    set->fixups = NULL;
    set->fixups_end = &set->fixups;
    return 0;
}

static bool prop_computes(const struct kb__prop *prop)
{
    return prop->ndefault_when || prop->default_from != KB__NO_PROP ||
           prop->default_keys_from != KB__NO_PROP;
}

static bool spreads_depth(const struct kb_schema *s)
{
    if (s->one_of_default != KB__NO_PROP || (s->items && s->items->deep) ||
        (s->additional && s->additional->deep))
        return true;
    for (uint16_t i = 0; i < s->nprops; i++)
        if (s->props[i].schema->dflt || s->props[i].schema->deep || prop_computes(&s->props[i]))
            return true;
    return false;
}

static void list_props(struct kb__schemas *set, struct kb_schema *s)
{
    uint16_t *defaulted = take(set, s->nprops * sizeof(*defaulted)), nd = 0;
    uint16_t *computed = take(set, s->nprops * sizeof(*computed)), nc = 0;
    uint16_t *conditional = take(set, s->nprops * sizeof(*conditional)), nw = 0;
    for (uint16_t i = 0; i < s->nprops; i++) {
        const struct kb__prop *prop = &s->props[i];
        if (prop->schema->dflt)
            defaulted[nd++] = i;
        if (prop_computes(prop))
            computed[nc++] = i;
        if (prop->required_when || prop->forbidden_when)
            conditional[nw++] = i;
    }
    s->defaulted = (struct kb__props){defaulted, nd};
    s->computed = (struct kb__props){computed, nc};
    s->conditional = (struct kb__props){conditional, nw};
}

/* `deep` flows from children to parents until nothing changes: as many rounds as objects nest. */
static int finish(struct kb__schemas *set, struct kb_err *err)
{
    if (apply_fixups(set, err) < 0)
        return -KB_EINVAL;
    for (bool again = true; again;) {
        again = false;
        for (struct fresh *f = set->fresh; f; f = f->next)
            if (!f->schema->deep && spreads_depth(f->schema))
                f->schema->deep = again = true;
    }
    for (struct fresh *f = set->fresh; f; f = f->next)
        list_props(set, f->schema);
    set->fresh = NULL;
    return 0;
}

/* After a failure: what this run compiled is incomplete, and is compiled again when it is needed.
 */
static int give_up(struct kb__schemas *set)
{
    for (struct fresh *f = set->fresh; f; f = f->next) {
        struct definition *def = kb_map_get(&set->definitions, f->schema->name);
        if (def && def->schema == f->schema)
            def->schema = NULL;
    }
    set->fresh = NULL;
    set->fixups = NULL;
    set->fixups_end = &set->fixups;
    return -KB_EINVAL;
}

int kb__schemas_get(struct kb__schemas *set, kb_str name, const struct kb_schema **ret_schema,
                    struct kb_err *err)
{
    const struct kb_schema *schema;
    set->custom = false;
    if (definition_get(set, name, &schema, err) < 0 || finish(set, err) < 0)
        return give_up(set);
    *ret_schema = schema;
    return 0;
}

int kb__schemas_compile(struct kb__schemas *set, kb_val source, bool custom,
                        const struct kb_schema **ret_schema, struct kb_err *err)
{
    const struct kb_schema *schema;
    set->custom = custom;
    if (compile(set, source, &schema, err) < 0 || finish(set, err) < 0)
        return give_up(set);
    *ret_schema = schema;
    return 0;
}
