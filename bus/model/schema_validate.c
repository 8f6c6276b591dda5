/* Validation: everything that a schema says about values, with all that is wrong collected.
 *
 * A built-in kind speaks as Kubernetes' hand-written validation does ("must be greater than or
 * equal to 0"), a user-defined one as its OpenAPI validation ("spec.size in body should be greater
 * than or equal to 1"). */
#include "bus/model/schema_impl.h"

#include "bus/base/map.h"

static void validate(const struct kb_schema *s, const struct kb_node *node, const struct kb_at *at,
                     struct kb_causes *causes);

static kb_str place(const struct kb_at *at, struct kb_buf *buf)
{
    kb_buf_clear(buf);
    kb_at_write(at, buf);
    return kb_buf_str(buf);
}

/* ---- scalars ---- */

static bool in_range(const struct kb_schema *s, double value)
{
    return (!s->has_min || value >= s->min) && (!s->has_max || value <= s->max);
}

static void validate_number(const struct kb_schema *s, const struct kb_node *node,
                            const struct kb_at *at, struct kb_causes *causes)
{
    KB_AUTO(kb_buf_finish) struct kb_buf buf = {0};
    double value = node->type == KB_INT ? (double)node->i : node->d;
    if (in_range(s, value) || (s->zero_is_unset && value == 0))
        return;
    bool low = s->has_min && value < s->min;
    if (s->custom)
        kb_causes_add(causes, KB_CAUSE_INVALID, at, node,
                      KB_STR_FMT " in body should be %s than or equal to %.15g",
                      KB_STR_ARG(place(at, &buf)), low ? "greater" : "less", low ? s->min : s->max);
    else if (s->detail.n)
        kb_causes_add(causes, KB_CAUSE_INVALID, at, node, KB_STR_FMT, KB_STR_ARG(s->detail));
    else if (s->has_min && s->has_max)
        kb_causes_add(causes, KB_CAUSE_INVALID, at, node,
                      "must be between %.15g and %.15g, inclusive", s->min, s->max);
    else
        kb_causes_add(causes, KB_CAUSE_INVALID, at, node, "must be %s than or equal to %.15g",
                      low ? "greater" : "less", low ? s->min : s->max);
}

static size_t count_chars(kb_str s)
{
    size_t n = 0;
    for (size_t i = 0; i < s.n; i++)
        n += ((unsigned char)s.p[i] & 0xc0) != 0x80;
    return n;
}

static void validate_text(const struct kb_schema *s, const struct kb_node *node,
                          const struct kb_at *at, struct kb_causes *causes)
{
    KB_AUTO(kb_buf_finish) struct kb_buf buf = {0};
    const char *wrong = node->s.n || s->custom ? kb__format_check(s->format, node->s) : NULL;
    if (wrong)
        kb_causes_add(causes, KB_CAUSE_INVALID, at, node, "%s", wrong);
    if (s->has_max_length && (int64_t)count_chars(node->s) > s->max_length)
        kb_causes_add(causes, KB_CAUSE_TOO_LONG, at, node, "may not be more than %lld bytes",
                      (long long)s->max_length);
    if (s->has_min_length && (int64_t)count_chars(node->s) < s->min_length)
        kb_causes_add(causes, KB_CAUSE_INVALID, at, node,
                      KB_STR_FMT " in body should be at least %lld chars long",
                      KB_STR_ARG(place(at, &buf)), (long long)s->min_length);
    regmatch_t range = {0, (regoff_t)node->s.n};
    if (s->pattern && regexec(s->pattern, node->s.p ? node->s.p : "", 1, &range, REG_STARTEND) != 0)
        kb_causes_add(causes, KB_CAUSE_INVALID, at, node,
                      KB_STR_FMT " in body should match '" KB_STR_FMT "'",
                      KB_STR_ARG(place(at, &buf)), KB_STR_ARG(s->pattern_text));
}

static void validate_int_or_string(const struct kb_schema *s, const struct kb_node *node,
                                   const struct kb_at *at, struct kb_causes *causes)
{
    const char *wrong = NULL;
    if (node->type == KB_STR && (s->custom || !kb__format_is_quantity(s->format)))
        wrong = kb__format_check(s->format, node->s); /* a quantity was parsed at decoding */
    else if (node->type == KB_INT && kb__format_is_port(s->format))
        wrong = node->i < 1 || node->i > 65535 ? "must be between 1 and 65535, inclusive" : NULL;
    else if (node->type == KB_INT && kb__format_is_percent(s->format))
        wrong = node->i < 0 ? "must be greater than or equal to 0" : NULL;
    if (wrong)
        kb_causes_add(causes, KB_CAUSE_INVALID, at, node, "%s", wrong);
}

static void validate_enum(const struct kb_schema *s, const struct kb_node *node,
                          const struct kb_at *at, struct kb_causes *causes)
{
    if (!s->custom && node->type == KB_STR && node->s.n == 0)
        return;
    for (uint32_t i = 0; i < s->enumeration->count; i++)
        if (kb_node_equal(node, s->enumeration->items[i].val))
            return;
    if (s->detail.n)
        kb_causes_add(causes, KB_CAUSE_INVALID, at, node, KB_STR_FMT, KB_STR_ARG(s->detail));
    else
        kb_causes_add(causes, KB_CAUSE_NOT_SUPPORTED, at, node, "supported values: " KB_STR_FMT,
                      KB_STR_ARG(s->enum_text));
}

/* ---- lists ---- */

/* Whether two items agree in all keys; without keys, in whole. */
static bool items_agree(const struct kb_node *a, const struct kb_node *b, const kb_str *keys,
                        size_t nkeys)
{
    if (nkeys == 0)
        return kb_node_equal(a, b);
    for (size_t i = 0; i < nkeys; i++)
        if (!kb_node_equal(kb_node_getn(a, keys[i]), kb_node_getn(b, keys[i])))
            return false;
    return true;
}

static void add_duplicate(const struct kb_node *item, const kb_str *keys, size_t nkeys, size_t i,
                          const struct kb_at *at, struct kb_causes *causes)
{
    struct kb_at here = kb_at_index(at, i);
    if (nkeys == 0) {
        kb_causes_add(causes, KB_CAUSE_DUPLICATE, &here, item, NULL);
        return;
    }
    if (nkeys == 1) {
        struct kb_at field = kb_at_name(&here, keys[0]);
        kb_causes_add(causes, KB_CAUSE_DUPLICATE, &field, kb_node_getn(item, keys[0]), NULL);
        return;
    }
    struct kb_node *shown = kb_node_map(causes->arena);
    for (size_t k = 0; k < nkeys; k++) {
        struct kb_node *val = kb_node_getn(item, keys[k]);
        if (val)
            kb_node_putn(causes->arena, shown, keys[k], val);
    }
    kb_causes_add(causes, KB_CAUSE_DUPLICATE, &here, shown, NULL);
}

static bool has_a_key(const struct kb_node *item, const kb_str *keys, size_t nkeys)
{
    for (size_t i = 0; i < nkeys; i++)
        if (kb_node_getn(item, keys[i]))
            return true;
    return nkeys == 0;
}

/* Long lists are hashed by the bytes of their keys: comparing all pairs would be an attack. */
static void find_duplicates_hashed(const struct kb_node *list, const kb_str *keys, size_t nkeys,
                                   const struct kb_at *at, struct kb_causes *causes)
{
    KB_AUTO(kb_map_finish) struct kb_map seen = {0};
    KB_AUTO(kb_w_finish) struct kb_w w = {0};
    for (uint32_t i = 0; i < list->count; i++) {
        struct kb_node *item = list->items[i].val;
        kb_buf_clear(&w.buf);
        kb_w_array(&w);
        if (nkeys == 0)
            kb_w_node(&w, item);
        for (size_t k = 0; k < nkeys; k++)
            kb_w_node(&w, kb_node_getn(item, keys[k]));
        kb_w_end(&w);
        if (has_a_key(item, keys, nkeys) && kb_map_put(&seen, kb_buf_str(&w.buf), item))
            add_duplicate(item, keys, nkeys, i, at, causes);
    }
}

static void find_duplicates(const struct kb_node *list, const kb_str *keys, size_t nkeys,
                            const struct kb_at *at, struct kb_causes *causes)
{
    enum { PAIRWISE = 24 };
    if (list->count > PAIRWISE) {
        find_duplicates_hashed(list, keys, nkeys, at, causes);
        return;
    }
    for (uint32_t i = 1; i < list->count; i++)
        for (uint32_t j = 0; j < i; j++)
            if (has_a_key(list->items[i].val, keys, nkeys) &&
                items_agree(list->items[i].val, list->items[j].val, keys, nkeys)) {
                add_duplicate(list->items[i].val, keys, nkeys, i, at, causes);
                break;
            }
}

static void validate_list(const struct kb_schema *s, const struct kb_node *list,
                          const struct kb_at *at, struct kb_causes *causes)
{
    KB_AUTO(kb_buf_finish) struct kb_buf buf = {0};
    if (s->has_max_items && list->count > s->max_items) {
        struct kb_node count = {.type = KB_INT, .i = list->count};
        kb_causes_add(causes, KB_CAUSE_TOO_MANY, at, &count, "must have at most %lld items",
                      (long long)s->max_items);
    }
    if (s->has_min_items && list->count < s->min_items) {
        struct kb_node count = {.type = KB_INT, .i = list->count};
        kb_causes_add(causes, KB_CAUSE_INVALID, at, &count,
                      KB_STR_FMT " in body should have at least %lld items",
                      KB_STR_ARG(place(at, &buf)), (long long)s->min_items);
    }
    for (uint32_t i = 0; s->items && i < list->count; i++) {
        struct kb_at here = kb_at_index(at, i);
        validate(s->items, list->items[i].val, &here, causes);
    }
    if (s->nunique)
        find_duplicates(list, s->unique, s->nunique, at, causes);
    else if (s->custom && s->list_type == KB_LIST_MAP)
        find_duplicates(list, s->list_keys, s->nlist_keys, at, causes);
    else if (s->custom && s->list_type == KB_LIST_SET)
        find_duplicates(list, NULL, 0, at, causes);
}

/* ---- objects ---- */

static void validate_keys(const struct kb_schema *s, const struct kb_node *map,
                          const struct kb_at *at, struct kb_causes *causes)
{
    static uint8_t qualified;
    if (qualified == 0)
        qualified = kb__format_of(kb_str_of("qualified-name"));
    for (uint32_t i = 0; i < map->count; i++) {
        const char *wrong = kb__format_check(s->key_format, map->items[i].key);
        struct kb_at key = kb_at_key(at, map->items[i].key);
        if (wrong)
            kb_causes_add_str(causes, KB_CAUSE_INVALID, s->key_format == qualified ? at : &key,
                              map->items[i].key, "%s", wrong);
    }
}

/* "`operator` is 'In' or 'NotIn'" */
static void cond_text(const struct kb_schema *s, const struct kb__cond *cond, struct kb_buf *out)
{
    kb_buf_printf(out, "`" KB_STR_FMT "` is", KB_STR_ARG(s->props[cond->prop].name));
    if (cond->how == KB__COND_PRESENT || cond->values == NULL) {
        kb_buf_puts(out, " set");
        return;
    }
    if (cond->how == KB__COND_NOT_IN)
        kb_buf_puts(out, " not");
    for (uint32_t i = 0; i < cond->values->count; i++)
        kb_buf_printf(out, "%s '" KB_STR_FMT "'", i ? " or" : "",
                      KB_STR_ARG(kb_node_text(cond->values->items[i].val)));
}

static void add_broken(const struct kb_schema *s, const struct kb__cond *cond, bool required,
                       const struct kb_node *bad, const struct kb_at *at, struct kb_causes *causes)
{
    KB_AUTO(kb_buf_finish) struct kb_buf text = {0};
    enum kb_cause_type type = cond->invalid ? KB_CAUSE_INVALID
                              : required    ? KB_CAUSE_REQUIRED
                                            : KB_CAUSE_FORBIDDEN;
    if (cond->has_detail) {
        kb_causes_add(causes, type, at, bad, KB_STR_FMT, KB_STR_ARG(cond->detail));
        return;
    }
    cond_text(s, cond, &text);
    kb_causes_add(causes, type, at, bad, "%s be specified when %s", required ? "must" : "may not",
                  text.p);
}

static void validate_conditions(const struct kb_schema *s, struct kb_node *const *vals,
                                const struct kb_at *at, struct kb_causes *causes)
{
    for (uint16_t i = 0; i < s->conditional.count; i++) {
        uint16_t number = s->conditional.items[i];
        const struct kb__prop *prop = &s->props[number];
        bool empty = kb__node_empty(vals[number]);
        struct kb_at here = kb_at_name(at, prop->name);
        if (empty && prop->required_when && kb__cond_holds(prop->required_when, vals))
            add_broken(s, prop->required_when, true, vals[number], &here, causes);
        else if (!empty && prop->forbidden_when && kb__cond_holds(prop->forbidden_when, vals))
            add_broken(s, prop->forbidden_when, false, vals[number], &here, causes);
    }
}

static void validate_one_of(const struct kb_schema *s, struct kb_node *const *vals,
                            const struct kb_at *at, struct kb_causes *causes)
{
    KB_AUTO(kb_buf_finish) struct kb_buf names = {0};
    kb_str noun = kb_val_str(kb_val_get(s->source, "x-kubus-one-of-noun"));
    size_t set = 0;
    for (uint16_t i = 0; i < s->one_of.count; i++) {
        uint16_t number = s->one_of.items[i];
        struct kb_at here = kb_at_name(at, s->props[number].name);
        if (vals[number] == NULL || (vals[number]->type != KB_MAP && kb__node_empty(vals[number])))
            continue;
        if (set++ == 0)
            continue;
        if (noun.n)
            kb_causes_add(causes, KB_CAUSE_FORBIDDEN, &here, NULL,
                          "may not specify more than 1 " KB_STR_FMT, KB_STR_ARG(noun));
    }
    if (set > 1 && noun.n == 0)
        kb_causes_add_str(causes, KB_CAUSE_INVALID, at, (kb_str){0},
                          "may not have more than one field specified at a time");
    if (set)
        return;
    for (uint16_t i = 0; i < s->one_of.count; i++)
        kb_buf_printf(&names, "%s`" KB_STR_FMT "`",
                      i == 0                     ? ""
                      : i + 1 == s->one_of.count ? " or "
                                                 : ", ",
                      KB_STR_ARG(s->props[s->one_of.items[i]].name));
    if (noun.n)
        kb_causes_add(causes, KB_CAUSE_REQUIRED, at, NULL, "must specify a " KB_STR_FMT,
                      KB_STR_ARG(noun));
    else
        kb_causes_add_str(causes, KB_CAUSE_INVALID, at, kb_str_of(""), "must specify one of: %s",
                          names.p);
}

static void validate_at_most_one_of(const struct kb_schema *s, struct kb_node *const *vals,
                                    const struct kb_at *at, struct kb_causes *causes)
{
    uint16_t first = KB__NO_PROP;
    for (uint16_t i = 0; i < s->at_most_one_of.count; i++) {
        uint16_t number = s->at_most_one_of.items[i];
        struct kb_at here = kb_at_name(at, s->props[number].name);
        if (vals[number] == NULL || (vals[number]->type != KB_MAP && kb__node_empty(vals[number])))
            continue;
        if (first == KB__NO_PROP)
            first = number;
        else
            kb_causes_add_str(causes, KB_CAUSE_INVALID, &here, kb_str_of(""),
                              "may not be specified when `" KB_STR_FMT "` is not empty",
                              KB_STR_ARG(s->props[first].name));
    }
}

static void validate_members(const struct kb_schema *s, const struct kb_node *map,
                             const struct kb_at *at, struct kb_causes *causes)
{
    for (uint32_t i = 0; i < map->count; i++) {
        const struct kb_member *member = &map->items[i];
        uint16_t prop = kb__prop_find(s, member->key);
        if (prop != KB__NO_PROP) {
            struct kb_at here = kb_at_name(at, member->key);
            validate(s->props[prop].schema, member->val, &here, causes);
        } else if (s->additional) {
            /* Labels are reported at their map, other members at their key. */
            struct kb_at here =
                s->custom ? kb_at_name(at, member->key) : kb_at_key(at, member->key);
            bool label = !s->custom && s->additional->type == KB__STRING && s->additional->format;
            validate(s->additional, member->val,
                     label && !kb__format_is_bytes(s->additional->format) ? at : &here, causes);
        }
    }
}

static bool is_absent(const struct kb_schema *s, const struct kb__prop *prop,
                      const struct kb_node *val)
{
    if (val == NULL || s->custom)
        return val == NULL;
    if (val->type == KB_INT)
        return prop->schema->zero_is_unset && val->i == 0;
    return val->type != KB_MAP && kb__node_empty(val);
}

static void add_absent(const struct kb__prop *prop, const struct kb_at *at,
                       struct kb_causes *causes)
{
    struct kb_at here = kb_at_name(at, prop->name);
    if (prop->schema->enumeration && prop->schema->detail.n)
        kb_causes_add_str(causes, KB_CAUSE_INVALID, &here, (kb_str){0}, KB_STR_FMT,
                          KB_STR_ARG(prop->schema->detail));
    else
        kb_causes_add(causes, KB_CAUSE_REQUIRED, &here, NULL, KB_STR_FMT,
                      KB_STR_ARG(prop->schema->detail));
}

static void validate_object(const struct kb_schema *s, const struct kb_node *map,
                            const struct kb_at *at, struct kb_causes *causes)
{
    KB_AUTO(kb__bound_finish) struct kb__bound bound = {.heap = NULL};
    if (s->required.count || s->conditional.count || s->one_of.count || s->at_most_one_of.count) {
        kb__bind(s, map, &bound);
        for (uint16_t i = 0; i < s->required.count; i++) {
            uint16_t number = s->required.items[i];
            const struct kb_node *val = bound.vals[number];
            if (is_absent(s, &s->props[number], val))
                add_absent(&s->props[number], at, causes);
        }
        validate_conditions(s, bound.vals, at, causes);
        if (s->one_of.count)
            validate_one_of(s, bound.vals, at, causes);
        if (s->at_most_one_of.count)
            validate_at_most_one_of(s, bound.vals, at, causes);
    }
    if (s->key_format)
        validate_keys(s, map, at, causes);
    validate_members(s, map, at, causes);
}

/* ---- any ---- */

static bool type_fits(const struct kb_schema *s, const struct kb_node *node)
{
    switch (s->type) {
    case KB__OBJECT:
        return node->type == KB_MAP;
    case KB__LIST:
        return node->type == KB_ARRAY;
    case KB__STRING:
        return node->type == KB_STR;
    case KB__INTEGER:
        return node->type == KB_INT;
    case KB__NUMBER:
        return node->type == KB_INT || node->type == KB_DOUBLE;
    case KB__BOOLEAN:
        return node->type == KB_BOOL;
    case KB__INT_OR_STRING:
        return node->type == KB_INT || node->type == KB_STR;
    default:
        return true;
    }
}

static void add_wrong_type(const struct kb_schema *s, const struct kb_node *node,
                           const struct kb_at *at, struct kb_causes *causes)
{
    static const char *const want[] = {
        [KB__ANY] = "any",         [KB__OBJECT] = "object",
        [KB__LIST] = "array",      [KB__STRING] = "string",
        [KB__INTEGER] = "integer", [KB__NUMBER] = "number",
        [KB__BOOLEAN] = "boolean", [KB__INT_OR_STRING] = "integer,string",
    };
    static const char *const have[] = {
        [KB_NONE] = "null",     [KB_NIL] = "null",   [KB_BOOL] = "boolean", [KB_INT] = "integer",
        [KB_DOUBLE] = "number", [KB_STR] = "string", [KB_ARRAY] = "array",  [KB_MAP] = "object",
    };
    KB_AUTO(kb_buf_finish) struct kb_buf buf = {0};
    kb_causes_add_str(causes, KB_CAUSE_TYPE_INVALID, at, kb_str_of(have[node->type]),
                      KB_STR_FMT " in body must be of type %s: \"%s\"", KB_STR_ARG(place(at, &buf)),
                      want[s->type], have[node->type]);
}

static void validate(const struct kb_schema *s, const struct kb_node *node, const struct kb_at *at,
                     struct kb_causes *causes)
{
    if (node->type == KB_NIL && (s->nullable || !s->custom))
        return;
    if (!type_fits(s, node)) {
        add_wrong_type(s, node, at, causes);
        return;
    }
    if (s->enumeration)
        validate_enum(s, node, at, causes);
    if (s->type == KB__OBJECT)
        validate_object(s, node, at, causes);
    else if (s->type == KB__LIST)
        validate_list(s, node, at, causes);
    else if (s->type == KB__STRING)
        validate_text(s, node, at, causes);
    else if (s->type == KB__INT_OR_STRING)
        validate_int_or_string(s, node, at, causes);
    else if (node->type == KB_INT || node->type == KB_DOUBLE)
        validate_number(s, node, at, causes);
}

void kb_schema_validate(const struct kb_schema *schema, const struct kb_node *node,
                        const struct kb_at *at, struct kb_causes *causes)
{
    validate(schema, node, at, causes);
}
