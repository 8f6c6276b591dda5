/* Intrusive hash table for what is under way on the bus: calls and streams by their id. Chained;
 * the entry lives in its owner. The caller compares what the hash found. */
#ifndef KUBUS_BUS_TABLE_H
#define KUBUS_BUS_TABLE_H

#include "bus/base/check.h"

#include <stdint.h>
#include <stdlib.h>

struct kb__entry {
    struct kb__entry *next;
    uint64_t hash;
};

/* Zero-initialized is empty and valid. */
struct kb__table {
    struct kb__entry **slots;
    size_t count, cap; /* cap: a power of two, or 0 */
};

/* Ids count up, routes hash badly: mix them (splitmix64's finalizer). */
static inline uint64_t kb__mix(uint64_t x)
{
    x = (x ^ (x >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    x = (x ^ (x >> 27)) * UINT64_C(0x94d049bb133111eb);
    return x ^ (x >> 31);
}

static inline struct kb__entry *kb__table_first(const struct kb__table *table, uint64_t hash)
{
    struct kb__entry *entry = table->cap ? table->slots[hash & (table->cap - 1)] : NULL;
    while (entry && entry->hash != hash)
        entry = entry->next;
    return entry;
}

static inline struct kb__entry *kb__table_next(const struct kb__entry *entry)
{
    uint64_t hash = entry->hash;
    do
        entry = entry->next;
    while (entry && entry->hash != hash);
    return (struct kb__entry *)entry;
}

static inline void kb__table_grow(struct kb__table *table)
{
    size_t cap = table->cap ? table->cap * 2 : 32;
    struct kb__entry **slots = calloc(cap, sizeof(*slots));
    KB_ASSERT(slots != NULL);
    for (size_t i = 0; i < table->cap; i++)
        for (struct kb__entry *entry = table->slots[i], *next; entry; entry = next) {
            next = entry->next;
            entry->next = slots[entry->hash & (cap - 1)];
            slots[entry->hash & (cap - 1)] = entry;
        }
    free(table->slots);
    table->slots = slots;
    table->cap = cap;
}

static inline void kb__table_put(struct kb__table *table, struct kb__entry *entry, uint64_t hash)
{
    if (table->count >= table->cap)
        kb__table_grow(table);
    struct kb__entry **slot = &table->slots[hash & (table->cap - 1)];
    entry->hash = hash;
    entry->next = *slot;
    *slot = entry;
    table->count++;
}

static inline void kb__table_del(struct kb__table *table, struct kb__entry *entry)
{
    struct kb__entry **at = &table->slots[entry->hash & (table->cap - 1)];
    while (*at != entry)
        at = &(*at)->next;
    *at = entry->next;
    table->count--;
}

/* Any entry, NULL when empty: to take the table apart. */
static inline struct kb__entry *kb__table_any(const struct kb__table *table)
{
    for (size_t i = 0; table->count && i < table->cap; i++)
        if (table->slots[i])
            return table->slots[i];
    return NULL;
}

static inline void kb__table_finish(struct kb__table *table)
{
    free(table->slots);
    *table = (struct kb__table){0};
}

#endif
