/* Strategic merge patch.
 *
 * A map merges member by member, as a merge patch does. A list whose schema has patch strategy
 * `merge` is merged item by item: objects by their merge key, scalars as a set. Directives:
 *   $patch: replace | delete | merge     in a map, or as the only word of a list's item
 *   $retainKeys: [k, …]                  in a map: members not listed go
 *   $deleteFromPrimitiveList/F: [v, …]   beside F: values to take out of the list F
 *   $setElementOrder/F: [v or {k: v}, …] beside F: how the list F is ordered afterwards
 * INVARIANT: no directive is left in the result, whether or not there was something to apply it to.
 */
#include "bus/model/patch.h"

#include "bus/model/patch_index.h"

struct merge {
    struct kb_arena *a;
    struct kb_err *err;
};

static const char delete_list[] = "$deleteFromPrimitiveList/";
static const char set_order[] = "$setElementOrder/";

static int merge_node(struct merge *m, const struct kb_schema *schema, struct kb_node **target,
                      struct kb_node *patch);

static bool is_directive(kb_str key)
{
    return kb_str_is(key, "$patch") || kb_str_is(key, "$retainKeys") ||
           kb_str_starts(key, delete_list) || kb_str_starts(key, set_order);
}

static kb_str directive(const struct kb_node *map)
{
    return map->type == KB_MAP ? kb_node_text(kb_node_get(map, "$patch")) : (kb_str){0};
}

/* What a patch becomes where there is nothing to merge it with: nulls and directives go. */
static struct kb_node *strip(struct kb_arena *a, struct kb_node *patch)
{
    if (patch->type != KB_MAP && patch->type != KB_ARRAY)
        return patch;
    struct kb_node *out = patch->type == KB_MAP ? kb_node_map(a) : kb_node_array(a);
    for (uint32_t i = 0; i < patch->count; i++) {
        struct kb_member *member = &patch->items[i];
        kb_str word = directive(member->val);
        if (patch->type == KB_MAP &&
            (member->val->type == KB_NIL || is_directive(member->key) || kb_str_is(word, "delete")))
            continue;
        if (patch->type == KB_ARRAY && word.n &&
            (kb_str_is(word, "delete") || member->val->count == 1))
            continue;
        kb_node_insert(a, out, out->count, strip(a, member->val));
        out->items[out->count - 1].key = member->key;
    }
    return out;
}

/* ---- lists ---- */

/* Text by which items are compared: the merge key's value, or the scalar itself. */
static kb_str identity(struct kb_arena *a, const struct kb_node *node, kb_str merge_key)
{
    struct kb_w w = {0};
    if (merge_key.n && node->type == KB_MAP)
        node = kb_node_getn(node, merge_key);
    if (node == NULL)
        return (kb_str){0};
    kb_w_node(&w, node);
    kb_str text = kb_arena_str(a, kb_buf_str(&w.buf));
    kb_w_finish(&w);
    return text;
}

/* Items of a list by identity: value is 1 + position. */
static void index_items(struct merge *m, const struct kb_node *list, kb_str merge_key,
                        struct kb_map *map)
{
    for (uint32_t i = 0; i < list->count; i++) {
        kb_str id = identity(m->a, list->items[i].val, merge_key);
        if (id.n && kb_map_get(map, id) == NULL)
            kb_map_put(map, id, (void *)(uintptr_t)(i + 1));
    }
}

/* Order: what the list of order names comes in that order; the others keep their places between
 * the items that stood before them. As kubectl expects, others follow what preceded them. */
static void order_items(struct merge *m, struct kb_node *list, const struct kb_node *order,
                        kb_str merge_key)
{
    KB_AUTO(kb_map_finish) struct kb_map wanted = {0};
    if (order == NULL || order->type != KB_ARRAY || list->count < 2)
        return;
    index_items(m, order, merge_key, &wanted);
    uint32_t n = list->count, count = 0;
    struct kb_member *items = kb_arena_alloc(m->a, n * sizeof(*items));
    uint32_t *rank = kb_arena_alloc(m->a, n * sizeof(*rank));
    for (uint32_t i = 0; i < n; i++) {
        kb_str id = identity(m->a, list->items[i].val, merge_key);
        rank[i] = id.n ? (uint32_t)(uintptr_t)kb_map_get(&wanted, id) : 0;
    }
    /* An item that is not named goes in front of the first named one that stood behind it. */
    uint32_t *by_rank = kb_arena_alloc(m->a, (order->count + 1) * sizeof(*by_rank));
    memset(by_rank, 0xff, (order->count + 1) * sizeof(*by_rank));
    for (uint32_t i = 0; i < n; i++)
        if (rank[i] && by_rank[rank[i]] == UINT32_MAX)
            by_rank[rank[i]] = i;
        else
            rank[i] = 0; /* not named, or named by an item before it */
    uint32_t next_other = 0;
    for (uint32_t r = 1; r <= order->count; r++) {
        uint32_t at = by_rank[r];
        if (at == UINT32_MAX)
            continue;
        for (; next_other < at; next_other++)
            if (rank[next_other] == 0)
                items[count++] = list->items[next_other];
        items[count++] = list->items[at];
    }
    for (; next_other < n; next_other++)
        if (rank[next_other] == 0)
            items[count++] = list->items[next_other];
    memcpy(list->items, items, count * sizeof(*items));
    list->count = count;
}

static void remove_ids(struct merge *m, struct kb_node *list, const struct kb_map *gone,
                       kb_str merge_key)
{
    uint32_t kept = 0;
    for (uint32_t i = 0; i < list->count; i++) {
        kb_str id = identity(m->a, list->items[i].val, merge_key);
        if (id.n == 0 || kb_map_get(gone, id) == NULL)
            list->items[kept++] = list->items[i];
    }
    list->count = kept;
}

static bool replaces_list(const struct kb_node *patch)
{
    for (uint32_t i = 0; i < patch->count; i++)
        if (kb_str_is(directive(patch->items[i].val), "replace"))
            return true;
    return false;
}

static int merge_item(struct merge *m, const struct kb_schema *schema, struct kb_node *list,
                      struct kb_node *item, kb_str merge_key, struct kb_map *index)
{
    kb_str id = identity(m->a, item, merge_key);
    if (id.n == 0)
        return kb_err_set(m->err, KB_EINVAL,
                          "map: does not contain declared merge key: " KB_STR_FMT,
                          KB_STR_ARG(merge_key));
    uint32_t at = (uint32_t)(uintptr_t)kb_map_get(index, id);
    if (at)
        return merge_node(m, kb_schema_items(schema), &list->items[at - 1].val, item);
    kb_node_append(m->a, list, strip(m->a, item));
    kb_map_put(index, id, (void *)(uintptr_t)list->count);
    return 0;
}

static int merge_objects(struct merge *m, const struct kb_schema *schema, struct kb_node *list,
                         struct kb_node *patch, kb_str merge_key)
{
    KB_AUTO(kb_map_finish) struct kb_map index = {0}, gone = {0};
    index_items(m, list, merge_key, &index);
    for (uint32_t i = 0; i < patch->count; i++) {
        struct kb_node *item = patch->items[i].val;
        if (item->type != KB_MAP)
            return kb_err_set(m->err, KB_EINVAL, "an item of a list of objects is none");
        if (kb_str_is(directive(item), "delete")) {
            kb_str id = identity(m->a, item, merge_key);
            if (id.n == 0)
                return kb_err_set(m->err, KB_EINVAL,
                                  "map: does not contain declared merge key: " KB_STR_FMT,
                                  KB_STR_ARG(merge_key));
            kb_map_put(&gone, id, item);
            continue;
        }
        int rc = merge_item(m, schema, list, item, merge_key, &index);
        if (rc < 0)
            return rc;
    }
    if (gone.count)
        remove_ids(m, list, &gone, merge_key);
    return 0;
}

static void merge_scalars(struct merge *m, struct kb_node *list, struct kb_node *patch)
{
    KB_AUTO(kb_map_finish) struct kb_map index = {0};
    index_items(m, list, (kb_str){0}, &index);
    for (uint32_t i = 0; i < patch->count; i++) {
        kb_str id = identity(m->a, patch->items[i].val, (kb_str){0});
        if (kb_map_get(&index, id))
            continue;
        kb_node_append(m->a, list, patch->items[i].val);
        kb_map_put(&index, id, (void *)(uintptr_t)list->count);
    }
}

static int merge_list(struct merge *m, const struct kb_schema *schema, struct kb_node **target,
                      struct kb_node *patch)
{
    kb_str merge_key;
    bool merges = kb_schema_patch(schema, &merge_key) & KB_PATCH_MERGE;
    if (!merges || *target == NULL || (*target)->type != KB_ARRAY || replaces_list(patch)) {
        *target = strip(m->a, patch);
        return 0;
    }
    if (merge_key.n)
        return merge_objects(m, schema, *target, patch, merge_key);
    merge_scalars(m, *target, patch);
    return 0;
}

/* ---- maps ---- */

static void retain_keys(struct kb_node *map, const struct kb_node *keys)
{
    KB_AUTO(kb_map_finish) struct kb_map wanted = {0};
    uint32_t kept = 0;
    for (uint32_t k = 0; k < keys->count; k++)
        kb_map_put(&wanted, kb_node_text(keys->items[k].val), keys->items[k].val);
    for (uint32_t i = 0; i < map->count; i++)
        if (kb_map_get(&wanted, map->items[i].key))
            map->items[kept++] = map->items[i];
    map->count = kept;
}

static void delete_from_list(struct merge *m, struct kb_node *map, kb_str field,
                             const struct kb_node *values)
{
    KB_AUTO(kb_map_finish) struct kb_map gone = {0};
    struct kb_node *list = kb_node_getn(map, field);
    if (list == NULL || list->type != KB_ARRAY || values->type != KB_ARRAY)
        return;
    index_items(m, values, (kb_str){0}, &gone);
    remove_ids(m, list, &gone, (kb_str){0});
}

static kb_str behind(kb_str key, const char *prefix)
{
    size_t n = strlen(prefix);
    return kb_str_n(key.p + n, key.n - n);
}

static int merge_members(struct merge *m, const struct kb_schema *schema, struct kb_node *map,
                         struct kb_node *patch)
{
    KB_AUTO(kb__member_index_finish) struct kb__member_index index;
    kb__member_index_init(&index, map, patch->count);
    for (uint32_t i = 0; i < patch->count; i++) {
        struct kb_member *member = &patch->items[i];
        if (kb_str_starts(member->key, delete_list))
            delete_from_list(m, map, behind(member->key, delete_list), member->val);
        if (is_directive(member->key))
            continue;
        if (member->val->type == KB_NIL || kb_str_is(directive(member->val), "delete")) {
            kb__member_del(&index, map, member->key);
            continue;
        }
        struct kb_node *before = kb__member_get(&index, map, member->key), *after = before;
        int rc = merge_node(m, kb_schema_member(schema, member->key), &after, member->val);
        if (rc < 0)
            return rc;
        if (after != before)
            kb__member_put(&index, m->a, map, member->key, before, after);
    }
    kb__members_sweep(&index, map);
    for (uint32_t i = 0; i < patch->count; i++) {
        if (!kb_str_starts(patch->items[i].key, set_order))
            continue;
        kb_str field = behind(patch->items[i].key, set_order), merge_key;
        struct kb_node *list = kb_node_getn(map, field);
        kb_schema_patch(kb_schema_member(schema, field), &merge_key);
        if (list && list->type == KB_ARRAY)
            order_items(m, list, patch->items[i].val, merge_key);
    }
    return 0;
}

static int merge_map(struct merge *m, const struct kb_schema *schema, struct kb_node **target,
                     struct kb_node *patch)
{
    kb_str word = directive(patch);
    if (word.n && !kb_str_is(word, "replace") && !kb_str_is(word, "delete") &&
        !kb_str_is(word, "merge"))
        return kb_err_set(m->err, KB_EINVAL, "unknown patch directive: $patch: " KB_STR_FMT,
                          KB_STR_ARG(word));
    if (kb_str_is(word, "delete")) {
        *target = kb_node_map(m->a);
        return 0;
    }
    if (kb_str_is(word, "replace") || *target == NULL || (*target)->type != KB_MAP) {
        *target = strip(m->a, patch);
        return 0;
    }
    const struct kb_node *retain = kb_node_get(patch, "$retainKeys");
    if (retain && retain->type == KB_ARRAY)
        retain_keys(*target, retain);
    return merge_members(m, schema, *target, patch);
}

static int merge_node(struct merge *m, const struct kb_schema *schema, struct kb_node **target,
                      struct kb_node *patch)
{
    if (patch->type == KB_MAP)
        return merge_map(m, schema, target, patch);
    if (patch->type == KB_ARRAY)
        return merge_list(m, schema, target, patch);
    *target = patch;
    return 0;
}

int kb_patch_strategic(const struct kb_schema *schema, struct kb_arena *a, struct kb_node **target,
                       struct kb_node *patch, struct kb_err *err)
{
    struct merge m = {a, err};
    if (patch == NULL || patch->type != KB_MAP)
        return kb_err_set(err, KB_EINVAL, "a strategic merge patch is an object");
    return merge_node(&m, schema, target, patch);
}
