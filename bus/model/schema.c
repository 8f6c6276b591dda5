#include "bus/model/schema_impl.h"

#include "bus/base/check.h"

#include <stdlib.h>

const struct kb_schema *kb_schema_member(const struct kb_schema *s, kb_str name)
{
    if (s == NULL)
        return NULL;
    uint16_t prop = kb__prop_find(s, name);
    return prop != KB__NO_PROP ? s->props[prop].schema : s->additional;
}

const struct kb_schema *kb_schema_items(const struct kb_schema *s)
{
    return s ? s->items : NULL;
}

const struct kb_schema *kb_schema_at(const struct kb_schema *s, const char *path)
{
    kb_str rest = kb_str_of(path);
    while (s && rest.p && rest.n) {
        kb_str step = kb_str_cut(&rest, '.');
        bool into = kb_str_ends(step, "[*]");
        step.n -= into ? 3 : 0;
        if (step.n)
            s = kb_schema_member(s, step);
        if (into)
            s = kb_schema_items(s);
    }
    return s;
}

kb_val kb_schema_source(const struct kb_schema *s)
{
    return s ? s->source : (kb_val){0};
}

kb_str kb_schema_name(const struct kb_schema *s)
{
    return s ? s->name : (kb_str){0};
}

unsigned kb_schema_patch(const struct kb_schema *s, kb_str *ret_merge_key)
{
    *ret_merge_key = s ? s->merge_key : (kb_str){0};
    return s ? s->patch : 0;
}

void kb__bind(const struct kb_schema *s, const struct kb_node *map, struct kb__bound *bound)
{
    bound->heap = NULL;
    bound->vals = bound->local;
    if (s->nprops > KB__BIND_MAX) {
        bound->heap = malloc(s->nprops * sizeof(*bound->heap));
        KB_ASSERT(bound->heap != NULL);
        bound->vals = bound->heap;
    }
    memset(bound->vals, 0, s->nprops * sizeof(*bound->vals));
    for (uint32_t i = 0; i < map->count; i++) {
        uint16_t prop = kb__prop_find(s, map->items[i].key);
        if (prop != KB__NO_PROP && map->items[i].val->type != KB_NIL)
            bound->vals[prop] = map->items[i].val;
    }
}

void kb__bound_finish(struct kb__bound *bound)
{
    free(bound->heap);
    bound->heap = NULL;
}

bool kb__node_empty(const struct kb_node *node)
{
    if (node == NULL || node->type == KB_NIL)
        return true;
    if (node->type == KB_STR)
        return node->s.n == 0;
    return (node->type == KB_MAP || node->type == KB_ARRAY) && node->count == 0;
}

static bool is_one_of(const struct kb_node *node, const struct kb_node *values)
{
    for (uint32_t i = 0; i < values->count; i++)
        if (kb_node_equal(node, values->items[i].val))
            return true;
    return false;
}

bool kb__cond_holds(const struct kb__cond *cond, struct kb_node *const *vals)
{
    if (cond->prop == KB__NO_PROP)
        return true;
    const struct kb_node *node = vals[cond->prop];
    regmatch_t range;
    switch (cond->how) {
    case KB__COND_IN:
        return node && is_one_of(node, cond->values);
    case KB__COND_NOT_IN:
        return node == NULL || !is_one_of(node, cond->values);
    case KB__COND_PATTERN:
        if (node == NULL || node->type != KB_STR)
            return false;
        range = (regmatch_t){0, (regoff_t)node->s.n};
        return regexec(cond->pattern, node->s.p ? node->s.p : "", 1, &range, REG_STARTEND) == 0;
    default:
        return !kb__node_empty(node);
    }
}

/* ---- defaults ---- */

static void put_default(struct kb_arena *a, const struct kb_schema *s, struct kb_node *map,
                        struct kb_node **vals, uint16_t prop, const struct kb_node *value)
{
    struct kb_node *copy = kb_node_copy(a, value);
    if (vals[prop]) {
        *vals[prop] = *copy; /* was "" or 0 */
    } else {
        uint32_t at = map->count;
        for (uint32_t i = 0; i < map->count; i++) /* an explicit null makes room for the default */
            if (map->items[i].val->type == KB_NIL &&
                kb_str_eq(map->items[i].key, s->props[prop].name))
                at = i;
        if (at == map->count)
            kb_node_insert(a, map, at, copy);
        map->items[at] = (struct kb_member){s->props[prop].name, copy};
        vals[prop] = copy;
    }
}

/* Whether a default applies: absent, or what stands for absence in a built-in kind. */
static bool is_unset(const struct kb_schema *s, const struct kb_node *node)
{
    if (node == NULL)
        return true;
    if (s->custom)
        return false;
    return (node->type == KB_STR && node->s.n == 0) ||
           (s->zero_is_unset && node->type == KB_INT && node->i == 0);
}

static void default_computed(struct kb_arena *a, const struct kb_schema *s, struct kb_node *map,
                             struct kb_node **vals, uint16_t number)
{
    const struct kb__prop *prop = &s->props[number];
    for (uint16_t i = 0; i < prop->ndefault_when && is_unset(prop->schema, vals[number]); i++)
        if (kb__cond_holds(&prop->default_when[i].when, vals)) {
            put_default(a, s, map, vals, number, prop->default_when[i].value);
            break;
        }
    if (prop->default_from != KB__NO_PROP && is_unset(prop->schema, vals[number])) {
        const struct kb_node *from = vals[prop->default_from];
        if (prop->default_from_rest.n)
            from = kb_node_at(from, prop->default_from_rest.p);
        if (!kb__node_empty(from))
            put_default(a, s, map, vals, number, from);
    }
}

static void default_keys(struct kb_arena *a, const struct kb_schema *s, struct kb_node *map,
                         struct kb_node **vals, uint16_t number)
{
    uint16_t source = s->props[number].default_keys_from;
    const struct kb_node *from = source == KB__NO_PROP ? NULL : vals[source];
    if (kb__node_empty(from) || from->type != KB_MAP)
        return;
    if (vals[number] == NULL)
        put_default(a, s, map, vals, number, kb_node_map(a));
    if (vals[number]->type != KB_MAP)
        return;
    for (uint32_t i = 0; i < from->count; i++)
        if (kb_node_getn(vals[number], from->items[i].key) == NULL)
            kb_node_putn(a, vals[number], from->items[i].key, kb_node_copy(a, from->items[i].val));
}

static void default_one_of(struct kb_arena *a, const struct kb_schema *s, struct kb_node *map,
                           struct kb_node **vals)
{
    for (uint16_t i = 0; i < s->one_of.count; i++)
        if (vals[s->one_of.items[i]])
            return;
    put_default(a, s, map, vals, s->one_of_default, kb_node_map(a));
}

static void default_object(const struct kb_schema *s, struct kb_arena *a, struct kb_node *map)
{
    KB_AUTO(kb__bound_finish) struct kb__bound bound;
    kb__bind(s, map, &bound);
    for (uint16_t i = 0; i < s->defaulted.count; i++) {
        uint16_t prop = s->defaulted.items[i];
        if (is_unset(s->props[prop].schema, bound.vals[prop]))
            put_default(a, s, map, bound.vals, prop, s->props[prop].schema->dflt);
    }
    for (uint16_t i = 0; i < s->computed.count; i++)
        default_computed(a, s, map, bound.vals, s->computed.items[i]);
    for (uint16_t i = 0; i < s->computed.count; i++)
        default_keys(a, s, map, bound.vals, s->computed.items[i]);
    if (s->one_of_default != KB__NO_PROP)
        default_one_of(a, s, map, bound.vals);
    for (uint16_t i = 0; i < s->nprops; i++)
        if (bound.vals[i] && s->props[i].schema->deep)
            kb_schema_default(s->props[i].schema, a, bound.vals[i]);
    if (s->additional && s->additional->deep)
        for (uint32_t i = 0; i < map->count; i++)
            if (kb__prop_find(s, map->items[i].key) == KB__NO_PROP)
                kb_schema_default(s->additional, a, map->items[i].val);
}

/* Recursion is bounded by the depth of the tree, which every reader bounds. A default of `{}` for a
 * member that refers to its own kind again would not end: compiled schemas of built-in kinds have
 * none, and those of CRDs cannot refer to themselves. */
void kb_schema_default(const struct kb_schema *s, struct kb_arena *a, struct kb_node *node)
{
    if (s == NULL || node == NULL || !s->deep)
        return;
    if (node->type == KB_MAP)
        default_object(s, a, node);
    else if (node->type == KB_ARRAY && s->items)
        for (uint32_t i = 0; i < node->count; i++)
            kb_schema_default(s->items, a, node->items[i].val);
}
