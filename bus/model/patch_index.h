/* Members of a map by key while a patch goes over it: linear for small maps, hashed for large ones,
 * so that a patch of many members on a map of many is not quadratic. Private to this folder. */
#ifndef KUBUS_MODEL_PATCH_INDEX_H
#define KUBUS_MODEL_PATCH_INDEX_H

#include "bus/base/map.h"
#include "bus/model/node.h"

enum { KB__PATCH_LINEAR = 4096 };

struct kb__member_index {
    struct kb_map map; /* key → struct kb_node, when hashed */
    bool hashed;
};

static inline void kb__member_index_init(struct kb__member_index *index, const struct kb_node *map,
                                         uint32_t lookups)
{
    *index = (struct kb__member_index){.hashed = (uint64_t)map->count * lookups > KB__PATCH_LINEAR};
    for (uint32_t i = 0; index->hashed && i < map->count; i++)
        kb_map_put(&index->map, map->items[i].key, map->items[i].val);
}

static inline void kb__member_index_finish(struct kb__member_index *index)
{
    kb_map_finish(&index->map);
}

static inline struct kb_node *kb__member_get(const struct kb__member_index *index,
                                             const struct kb_node *map, kb_str key)
{
    return index->hashed ? kb_map_get(&index->map, key) : kb_node_getn(map, key);
}

/* Set a member, knowing what is there; a removal only marks it: see kb__members_sweep. */
static inline void kb__member_put(struct kb__member_index *index, struct kb_arena *a,
                                  struct kb_node *map, kb_str key, struct kb_node *before,
                                  struct kb_node *val)
{
    if (!index->hashed) {
        kb_node_putn(a, map, key, val);
    } else if (before) {
        *before = *val; /* the node stays where it is */
    } else {
        kb_node_insert(a, map, map->count, val);
        map->items[map->count - 1].key = kb_arena_str(a, key);
        kb_map_put(&index->map, key, val);
    }
}

static inline void kb__member_del(struct kb__member_index *index, struct kb_node *map, kb_str key)
{
    struct kb_node *val;
    if (!index->hashed)
        kb_node_deln(map, key);
    else if ((val = kb_map_del(&index->map, key)) != NULL)
        val->type = KB_NONE; /* swept at the end */
}

static inline void kb__members_sweep(const struct kb__member_index *index, struct kb_node *map)
{
    uint32_t kept = 0;
    for (uint32_t i = 0; index->hashed && i < map->count; i++)
        if (map->items[i].val->type != KB_NONE)
            map->items[kept++] = map->items[i];
    if (index->hashed)
        map->count = kept;
}

#endif
