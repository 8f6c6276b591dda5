#include "bus/model/node.h"

#include "bus/base/check.h"
#include "bus/base/map.h"
#include "bus/model/head.h"
#include "bus/model/path.h"

#include <stdlib.h>

static struct kb_node *node_new(struct kb_arena *a, enum kb_type type)
{
    struct kb_node *node = kb_arena_alloc(a, sizeof(*node));
    memset(node, 0, sizeof(*node));
    node->type = type;
    return node;
}

struct kb_node *kb_node_nil(struct kb_arena *a)
{
    return node_new(a, KB_NIL);
}

struct kb_node *kb_node_bool(struct kb_arena *a, bool b)
{
    struct kb_node *node = node_new(a, KB_BOOL);
    node->b = b;
    return node;
}

struct kb_node *kb_node_int(struct kb_arena *a, int64_t i)
{
    struct kb_node *node = node_new(a, KB_INT);
    node->i = i;
    return node;
}

struct kb_node *kb_node_double(struct kb_arena *a, double d)
{
    struct kb_node *node = node_new(a, KB_DOUBLE);
    node->d = d;
    return node;
}

struct kb_node *kb_node_str(struct kb_arena *a, kb_str s)
{
    struct kb_node *node = node_new(a, KB_STR);
    node->s = kb_arena_str(a, s);
    return node;
}

extern inline struct kb_node *kb_node_cstr(struct kb_arena *a, const char *s);

struct kb_node *kb_node_map(struct kb_arena *a)
{
    return node_new(a, KB_MAP);
}

struct kb_node *kb_node_array(struct kb_arena *a)
{
    return node_new(a, KB_ARRAY);
}

static void items_reserve(struct kb_arena *a, struct kb_node *node, uint32_t cap)
{
    if (cap <= node->cap)
        return;
    struct kb_member *items = kb_arena_alloc(a, cap * sizeof(*items));
    if (node->count)
        memcpy(items, node->items, node->count * sizeof(*items));
    node->items = items;
    node->cap = cap;
}

static struct kb_node *node_of_container(struct kb_arena *a, kb_val val, enum kb_type type)
{
    struct kb_node *node = node_new(a, type);
    items_reserve(a, node, (uint32_t)kb_val_count(val));
    for (struct kb_iter it = kb_iter(val); kb_iter_next(&it);)
        node->items[node->count++] = (struct kb_member){it.key, kb_node_of(a, it.val)};
    return node;
}

/* Recursion is bounded by KB_DEPTH_MAX, which the check of a document enforces. */
struct kb_node *kb_node_of(struct kb_arena *a, kb_val val)
{
    enum kb_type type = kb_val_type(val);
    struct kb_node *node;
    switch (type) {
    case KB_NONE:
        return NULL;
    case KB_BOOL:
        return kb_node_bool(a, kb_val_bool(val, false));
    case KB_INT:
        return kb_node_int(a, kb_val_int(val, 0));
    case KB_DOUBLE:
        return kb_node_double(a, kb_val_double(val, 0));
    case KB_STR:
        node = node_new(a, KB_STR);
        node->s = kb_val_str(val);
        return node;
    case KB_ARRAY:
    case KB_MAP:
        return node_of_container(a, val, type);
    default:
        return kb_node_nil(a);
    }
}

struct kb_node *kb_node_copy(struct kb_arena *a, const struct kb_node *node)
{
    if (node == NULL)
        return NULL;
    struct kb_node *copy = kb_arena_alloc(a, sizeof(*copy));
    *copy = *node;
    if (node->type != KB_MAP && node->type != KB_ARRAY)
        return copy;
    copy->cap = copy->count = 0;
    items_reserve(a, copy, node->count);
    for (uint32_t i = 0; i < node->count; i++)
        copy->items[copy->count++] =
            (struct kb_member){node->items[i].key, kb_node_copy(a, node->items[i].val)};
    return copy;
}

static struct kb_member *member_find(const struct kb_node *map, kb_str key)
{
    if (map == NULL || map->type != KB_MAP)
        return NULL;
    for (uint32_t i = 0; i < map->count; i++)
        if (kb_str_eq(map->items[i].key, key))
            return &map->items[i];
    return NULL;
}

struct kb_node *kb_node_getn(const struct kb_node *map, kb_str key)
{
    struct kb_member *member = member_find(map, key);
    return member ? member->val : NULL;
}

extern inline struct kb_node *kb_node_get(const struct kb_node *map, const char *key);

static struct kb_node *node_index(const struct kb_node *array, size_t at)
{
    return array->type == KB_ARRAY && at < array->count ? array->items[at].val : NULL;
}

struct kb_node *kb_node_at(const struct kb_node *node, const char *path)
{
    struct kb_node *at = (struct kb_node *)node;
    struct kb_path_step step;
    while (at && kb_path_next(&path, &step))
        at = step.is_index ? node_index(at, step.index) : kb_node_getn(at, step.name);
    return *path ? NULL : at;
}

kb_str kb_node_text(const struct kb_node *node)
{
    return node && node->type == KB_STR ? node->s : kb_str_n(NULL, 0);
}

int64_t kb_node_num(const struct kb_node *node, int64_t otherwise)
{
    if (node && node->type == KB_INT)
        return node->i;
    if (node && node->type == KB_DOUBLE && node->d >= -0x1p63 && node->d < 0x1p63 &&
        node->d == (double)(int64_t)node->d)
        return (int64_t)node->d;
    return otherwise;
}

bool kb_node_true(const struct kb_node *node)
{
    return node && node->type == KB_BOOL && node->b;
}

kb_str kb_node_text_at(const struct kb_node *node, const char *path)
{
    return kb_node_text(kb_node_at(node, path));
}

/* Maps in different orders: through an index, for they may be as large as a body. */
static bool maps_equal_indexed(const struct kb_node *a, const struct kb_node *b)
{
    KB_AUTO(kb_map_finish) struct kb_map index = {0};
    for (uint32_t i = 0; i < b->count; i++)
        kb_map_put(&index, b->items[i].key, b->items[i].val);
    for (uint32_t i = 0; i < a->count; i++) {
        const struct kb_node *other = kb_map_get(&index, a->items[i].key);
        if (other == NULL || !kb_node_equal(a->items[i].val, other))
            return false;
    }
    return true;
}

static bool containers_equal(const struct kb_node *a, const struct kb_node *b)
{
    enum { LINEAR = 64 };
    if (a->count != b->count)
        return false;
    for (uint32_t i = 0; i < a->count; i++) {
        /* Equal maps mostly have one order. */
        bool in_place = a->type == KB_ARRAY || kb_str_eq(a->items[i].key, b->items[i].key);
        if (!in_place && a->count > LINEAR)
            return maps_equal_indexed(a, b);
        const struct kb_node *other = in_place ? b->items[i].val : kb_node_getn(b, a->items[i].key);
        if (other == NULL || !kb_node_equal(a->items[i].val, other))
            return false;
    }
    return true;
}

bool kb_node_equal(const struct kb_node *a, const struct kb_node *b)
{
    if (a == b || a == NULL || b == NULL)
        return a == b;
    if (a->type != b->type)
        return (a->type == KB_INT && b->type == KB_DOUBLE && (double)a->i == b->d) ||
               (a->type == KB_DOUBLE && b->type == KB_INT && a->d == (double)b->i);
    switch (a->type) {
    case KB_BOOL:
        return a->b == b->b;
    case KB_INT:
        return a->i == b->i;
    case KB_DOUBLE:
        return a->d == b->d;
    case KB_STR:
        return kb_str_eq(a->s, b->s);
    case KB_ARRAY:
    case KB_MAP:
        return containers_equal(a, b);
    default:
        return true;
    }
}

void kb_node_insert(struct kb_arena *a, struct kb_node *array, size_t at, struct kb_node *val)
{
    KB_ASSERT((array->type == KB_ARRAY || array->type == KB_MAP) && at <= array->count && val);
    if (array->count == array->cap)
        items_reserve(a, array, array->cap ? array->cap * 2 : 4);
    memmove(&array->items[at + 1], &array->items[at], (array->count - at) * sizeof(*array->items));
    array->items[at] = (struct kb_member){.val = val};
    array->count++;
}

void kb_node_append(struct kb_arena *a, struct kb_node *array, struct kb_node *val)
{
    KB_ASSERT(array->type == KB_ARRAY);
    kb_node_insert(a, array, array->count, val);
}

void kb_node_remove(struct kb_node *container, size_t at)
{
    KB_ASSERT(at < container->count);
    container->count--;
    memmove(&container->items[at], &container->items[at + 1],
            (container->count - at) * sizeof(*container->items));
}

void kb_node_putn(struct kb_arena *a, struct kb_node *map, kb_str key, struct kb_node *val)
{
    KB_ASSERT(map->type == KB_MAP);
    if (val == NULL)
        return;
    struct kb_member *member = member_find(map, key);
    if (member) {
        member->val = val;
        return;
    }
    kb_node_insert(a, map, map->count, val);
    map->items[map->count - 1].key = kb_arena_str(a, key);
}

extern inline void kb_node_put(struct kb_arena *a, struct kb_node *map, const char *key,
                               struct kb_node *val);

bool kb_node_deln(struct kb_node *map, kb_str key)
{
    struct kb_member *member = member_find(map, key);
    if (member)
        kb_node_remove(map, (size_t)(member - map->items));
    return member != NULL;
}

bool kb_node_del(struct kb_node *map, const char *key)
{
    return kb_node_deln(map, kb_str_of(key));
}

static struct kb_node *ensure_n(struct kb_arena *a, struct kb_node *map, kb_str path)
{
    if (map->type != KB_MAP)
        *map = (struct kb_node){.type = KB_MAP};
    while (path.p && path.n) {
        kb_str key = kb_str_cut(&path, '.');
        struct kb_node *next = kb_node_getn(map, key);
        if (next == NULL || next->type != KB_MAP) {
            next = kb_node_map(a);
            kb_node_putn(a, map, key, next);
        }
        map = next;
    }
    return map;
}

struct kb_node *kb_node_ensure(struct kb_arena *a, struct kb_node *map, const char *path)
{
    return ensure_n(a, map, kb_str_of(path));
}

void kb_node_set(struct kb_arena *a, struct kb_node *map, const char *path, struct kb_node *val)
{
    const char *last = strrchr(path, '.');
    map = ensure_n(a, map, kb_str_n(path, last ? (size_t)(last - path) : 0));
    kb_node_put(a, map, last ? last + 1 : path, val);
}

void kb_node_set_str(struct kb_arena *a, struct kb_node *map, const char *path, kb_str s)
{
    kb_node_set(a, map, path, kb_node_str(a, s));
}

void kb_node_set_cstr(struct kb_arena *a, struct kb_node *map, const char *path, const char *s)
{
    kb_node_set(a, map, path, kb_node_cstr(a, s));
}

void kb_node_set_int(struct kb_arena *a, struct kb_node *map, const char *path, int64_t i)
{
    kb_node_set(a, map, path, kb_node_int(a, i));
}

void kb_node_set_bool(struct kb_arena *a, struct kb_node *map, const char *path, bool b)
{
    kb_node_set(a, map, path, kb_node_bool(a, b));
}

bool kb_node_unset(struct kb_node *map, const char *path)
{
    kb_str rest = kb_str_of(path);
    for (;;) {
        kb_str key = kb_str_cut(&rest, '.');
        if (rest.p == NULL)
            return kb_node_deln(map, key);
        map = kb_node_getn(map, key);
        if (map == NULL)
            return false;
    }
}

void kb_w_node(struct kb_w *w, const struct kb_node *node)
{
    switch (node ? node->type : KB_NIL) {
    case KB_BOOL:
        kb_w_bool(w, node->b);
        return;
    case KB_INT:
        kb_w_int(w, node->i);
        return;
    case KB_DOUBLE:
        kb_w_double(w, node->d);
        return;
    case KB_STR:
        kb_w_str(w, node->s);
        return;
    case KB_ARRAY:
    case KB_MAP:
        kb__w_counted(w, node->type == KB_MAP, node->count);
        for (uint32_t i = 0; i < node->count; i++) {
            if (node->type == KB_MAP)
                kb_w_str(w, node->items[i].key);
            kb_w_node(w, node->items[i].val);
        }
        kb_w_end(w);
        return;
    default:
        kb_w_nil(w);
    }
}

struct kb_doc *kb_node_doc(const struct kb_node *node)
{
    struct kb_w w = {0};
    kb_w_node(&w, node);
    struct kb_doc *doc = kb_w_doc(&w);
    kb_w_finish(&w);
    return doc;
}
