/* Hash map from a byte string to a pointer: open addressing, insertion order not kept.
 *
 * Keys are copied. Hashing is keyed by a per-process random seed, so that a peer who chooses keys
 * cannot choose collisions; iteration order is therefore not stable: sort where order matters. */
#ifndef KUBUS_BASE_MAP_H
#define KUBUS_BASE_MAP_H

#include "bus/base/str.h"

struct kb_map_slot;

/* Zero-initialized is empty and valid. */
struct kb_map {
    struct kb_map_slot *slots;
    size_t count;
    size_t used; /* live and deleted slots */
    size_t cap;  /* a power of two, or 0 */
};

KB_API void kb_map_finish(struct kb_map *map); /* does not touch the values */
/* Value of `key`, NULL when absent. O(1). */
KB_API void *kb_map_get(const struct kb_map *map, kb_str key);
/* Set `key`; returns the value that it replaces, or NULL. `value` must not be NULL. */
KB_API void *kb_map_put(struct kb_map *map, kb_str key, void *value);
/* Remove; returns the value that was there, or NULL. */
KB_API void *kb_map_del(struct kb_map *map, kb_str key);

/* for (size_t i = 0; kb_map_next(&map, &i, &key, &value);) — removing the current key is allowed,
 * adding is not. The key is valid until it is removed. */
KB_API bool kb_map_next(const struct kb_map *map, size_t *cursor, kb_str *ret_key,
                        void **ret_value);

#endif
