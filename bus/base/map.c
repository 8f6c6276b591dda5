#include "bus/base/map.h"

#include "bus/base/check.h"

#include <stdlib.h>
#include <sys/random.h>

struct kb_map_slot {
    char *key; /* NULL: never used; map_tomb: deleted */
    uint32_t key_n;
    uint32_t hash;
    void *value;
};

static char map_tomb[1];

static uint64_t map_seed(void)
{
#ifdef FUZZING_BUILD_MODE_UNSAFE_FOR_PRODUCTION
    static uint64_t seed = 1; /* the same run again, if it is asked for */
#else
    static uint64_t seed;
#endif
    while (__atomic_load_n(&seed, __ATOMIC_RELAXED) == 0) {
        uint64_t fresh = 0;
        if (getrandom(&fresh, sizeof(fresh), 0) != (ssize_t)sizeof(fresh) || fresh == 0)
            fresh = 0x9e3779b97f4a7c15u ^ (uint64_t)(uintptr_t)&fresh;
        uint64_t none = 0;
        __atomic_compare_exchange_n(&seed, &none, fresh, false, __ATOMIC_RELAXED, __ATOMIC_RELAXED);
    }
    return seed;
}

static uint64_t rotl(uint64_t x, int b)
{
    return (x << b) | (x >> (64 - b));
}

/* SipHash-1-3 (Aumasson and Bernstein, 2012), keyed by the process's seed. */
static uint32_t map_hash(kb_str key)
{
    uint64_t k0 = map_seed(), k1 = rotl(k0, 32) * 0x9fb21c651e98df25u;
    uint64_t v0 = k0 ^ 0x736f6d6570736575u, v1 = k1 ^ 0x646f72616e646f6du;
    uint64_t v2 = k0 ^ 0x6c7967656e657261u, v3 = k1 ^ 0x7465646279746573u;
    uint64_t tail = (uint64_t)key.n << 56;
    size_t i = 0;
#define ROUND                                                                                      \
    v0 += v1, v1 = rotl(v1, 13) ^ v0, v0 = rotl(v0, 32), v2 += v3, v3 = rotl(v3, 16) ^ v2,         \
              v0 += v3, v3 = rotl(v3, 21) ^ v0, v2 += v1, v1 = rotl(v1, 17) ^ v2,                  \
              v2 = rotl(v2, 32)
    for (; i + 8 <= key.n; i += 8) {
        uint64_t m;
        memcpy(&m, key.p + i, 8);
        v3 ^= m;
        ROUND;
        v0 ^= m;
    }
    for (size_t j = 0; i + j < key.n; j++)
        tail |= (uint64_t)(unsigned char)key.p[i + j] << (8 * j);
    v3 ^= tail;
    ROUND;
    v0 ^= tail;
    v2 ^= 0xff;
    ROUND;
    ROUND;
    ROUND;
#undef ROUND
    uint64_t h = v0 ^ v1 ^ v2 ^ v3;
    return (uint32_t)(h ^ (h >> 32));
}

static bool slot_live(const struct kb_map_slot *slot)
{
    return slot->key != NULL && slot->key != map_tomb;
}

void kb_map_finish(struct kb_map *map)
{
    for (size_t i = 0; i < map->cap; i++)
        if (slot_live(&map->slots[i]))
            free(map->slots[i].key);
    free(map->slots);
    *map = (struct kb_map){0};
}

static struct kb_map_slot *map_find(const struct kb_map *map, kb_str key, uint32_t hash)
{
    if (map->cap == 0)
        return NULL;
    for (size_t i = hash & (map->cap - 1);; i = (i + 1) & (map->cap - 1)) {
        struct kb_map_slot *slot = &map->slots[i];
        if (slot->key == NULL)
            return NULL;
        if (slot->key != map_tomb && slot->hash == hash && slot->key_n == key.n &&
            (key.n == 0 || memcmp(slot->key, key.p, key.n) == 0))
            return slot;
    }
}

static void map_grow(struct kb_map *map)
{
    struct kb_map_slot *old = map->slots;
    size_t old_cap = map->cap;
    map->cap = map->count * 2 < 8 ? 16 : map->count * 2 >= old_cap ? old_cap * 2 : old_cap;
    map->slots = calloc(map->cap, sizeof(*map->slots));
    KB_ASSERT(map->slots != NULL);
    for (size_t i = 0; i < old_cap; i++) {
        if (!slot_live(&old[i]))
            continue;
        size_t at = old[i].hash & (map->cap - 1);
        while (map->slots[at].key != NULL)
            at = (at + 1) & (map->cap - 1);
        map->slots[at] = old[i];
    }
    map->used = map->count;
    free(old);
}

void *kb_map_get(const struct kb_map *map, kb_str key)
{
    if (map->count == 0)
        return NULL;
    struct kb_map_slot *slot = map_find(map, key, map_hash(key));
    return slot ? slot->value : NULL;
}

void *kb_map_put(struct kb_map *map, kb_str key, void *value)
{
    KB_ASSERT(value != NULL && key.n <= UINT32_MAX);
    uint32_t hash = map_hash(key);
    struct kb_map_slot *slot = map_find(map, key, hash);
    if (slot != NULL) {
        void *old = slot->value;
        slot->value = value;
        return old;
    }
    if (map->used * 4 >= map->cap * 3)
        map_grow(map);
    size_t at = hash & (map->cap - 1);
    while (slot_live(&map->slots[at]))
        at = (at + 1) & (map->cap - 1);
    if (map->slots[at].key == NULL)
        map->used++;
    map->slots[at] = (struct kb_map_slot){kb_str_dup(key), (uint32_t)key.n, hash, value};
    map->count++;
    return NULL;
}

void *kb_map_del(struct kb_map *map, kb_str key)
{
    struct kb_map_slot *slot = map->count ? map_find(map, key, map_hash(key)) : NULL;
    if (slot == NULL)
        return NULL;
    void *old = slot->value;
    free(slot->key);
    *slot = (struct kb_map_slot){.key = map_tomb};
    map->count--;
    return old;
}

bool kb_map_next(const struct kb_map *map, size_t *cursor, kb_str *ret_key, void **ret_value)
{
    while (*cursor < map->cap) {
        const struct kb_map_slot *slot = &map->slots[(*cursor)++];
        if (!slot_live(slot))
            continue;
        if (ret_key)
            *ret_key = kb_str_n(slot->key, slot->key_n);
        if (ret_value)
            *ret_value = slot->value;
        return true;
    }
    return false;
}
