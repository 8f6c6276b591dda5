#include "actors/api/cache.h"

#include "bus/base/check.h"
#include "bus/base/grow.h"
#include "bus/model/json.h"

#include <stdlib.h>

/* `order`: the first `sorted` are in order of key, the rest are new. Entries that were deleted stay
 * in it until the next merge. */
struct kb_cache {
    struct kb_map by_key;
    struct kb_cache_entry **order;
    size_t count, cap, sorted, dead;
    size_t bytes;
    struct kb_buf scratch;
};

struct kb_cache *kb_cache_new(void)
{
    struct kb_cache *cache = calloc(1, sizeof(*cache));
    KB_ASSERT(cache != NULL);
    return cache;
}

static size_t doc_bytes(const struct kb_doc *doc)
{
    const void *bytes;
    return kb_doc_bytes(doc, &bytes);
}

static void drop_json(struct kb_cache *cache, struct kb_cache_entry *entry)
{
    if (entry->json == NULL)
        return;
    cache->bytes -= entry->json->n;
    kb_blob_unref(&entry->json);
}

static void empty_entry(struct kb_cache *cache, struct kb_cache_entry *entry)
{
    drop_json(cache, entry);
    if (entry->doc)
        cache->bytes -= doc_bytes(entry->doc);
    kb_doc_destroy(&entry->doc);
}

static void entry_free(struct kb_cache *cache, struct kb_cache_entry *entry)
{
    empty_entry(cache, entry);
    cache->bytes -= sizeof(*entry) + entry->key.n;
    free((char *)entry->key.p);
    free(entry);
}

void kb_cache_destroy(struct kb_cache **cache_p)
{
    struct kb_cache *cache = KB_STEAL(*cache_p);
    if (cache == NULL)
        return;
    for (size_t i = 0; i < cache->count; i++)
        entry_free(cache, cache->order[i]);
    free(cache->order);
    kb_map_finish(&cache->by_key);
    kb_buf_finish(&cache->scratch);
    free(cache);
}

static struct kb_cache_entry *entry_new(struct kb_cache *cache, kb_str key)
{
    struct kb_cache_entry *entry = calloc(1, sizeof(*entry));
    KB_ASSERT(entry != NULL);
    entry->key = kb_str_n(kb_str_dup(key), key.n);
    cache->bytes += sizeof(*entry) + key.n;
    kb_str rest = entry->key;
    kb_str_cut(&rest, '/');
    entry->ns = kb_str_cut(&rest, '/');
    entry->name = rest;
    KB_GROW(cache->order, cache->count, cache->cap, 64);
    /* A snapshot comes in order of key: then there is nothing to sort later. */
    bool in_order = cache->sorted == cache->count &&
                    (cache->count == 0 || kb_str_cmp(cache->order[cache->count - 1]->key, key) < 0);
    cache->order[cache->count++] = entry;
    cache->sorted += in_order;
    kb_map_put(&cache->by_key, entry->key, entry);
    return entry;
}

void kb_cache_put(struct kb_cache *cache, kb_str key, int64_t rev, kb_val doc)
{
    struct kb_cache_entry *entry = kb_map_get(&cache->by_key, key);
    if (entry == NULL)
        entry = entry_new(cache, key);
    empty_entry(cache, entry);
    entry->rev = rev;
    entry->doc = kb_doc_of(doc);
    cache->bytes += doc_bytes(entry->doc);
}

void kb_cache_del(struct kb_cache *cache, kb_str key)
{
    struct kb_cache_entry *entry = kb_map_del(&cache->by_key, key);
    if (entry == NULL)
        return;
    entry->deleted = true;
    empty_entry(cache, entry);
    cache->dead++;
}

struct kb_cache_entry *kb_cache_get(const struct kb_cache *cache, kb_str key)
{
    return kb_map_get(&cache->by_key, key);
}

static int by_key(const void *a, const void *b)
{
    const struct kb_cache_entry *x = *(struct kb_cache_entry *const *)a;
    const struct kb_cache_entry *y = *(struct kb_cache_entry *const *)b;
    return kb_str_cmp(x->key, y->key);
}

static void forget_dead(struct kb_cache *cache)
{
    size_t kept = 0, sorted = 0;
    for (size_t i = 0; i < cache->count; i++) {
        if (cache->order[i]->deleted) {
            entry_free(cache, cache->order[i]);
            continue;
        }
        cache->order[kept++] = cache->order[i];
        sorted += i < cache->sorted;
    }
    cache->count = kept;
    cache->sorted = sorted;
    cache->dead = 0;
}

/* Sort the new ones, then merge them in from the end. */
static void merge_new(struct kb_cache *cache)
{
    size_t n = cache->count - cache->sorted, at = cache->count, old = cache->sorted;
    struct kb_cache_entry **fresh = malloc(n * sizeof(*fresh));
    KB_ASSERT(fresh != NULL);
    memcpy(fresh, cache->order + cache->sorted, n * sizeof(*fresh));
    qsort(fresh, n, sizeof(*fresh), by_key);
    while (n > 0) {
        bool from_old = old > 0 && kb_str_cmp(cache->order[old - 1]->key, fresh[n - 1]->key) > 0;
        cache->order[--at] = from_old ? cache->order[--old] : fresh[--n];
    }
    free(fresh);
    cache->sorted = cache->count;
}

size_t kb_cache_all(struct kb_cache *cache, struct kb_cache_entry *const **ret)
{
    if (cache->dead > 0)
        forget_dead(cache);
    if (cache->sorted < cache->count)
        merge_new(cache);
    *ret = cache->order;
    return cache->count;
}

size_t kb_cache_from(struct kb_cache *cache, kb_str key)
{
    struct kb_cache_entry *const *all;
    size_t low = 0, high = kb_cache_all(cache, &all);
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (kb_str_cmp(all[middle]->key, key) < 0)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

struct kb_blob *kb_cache_json(struct kb_cache *cache, struct kb_cache_entry *entry)
{
    if (entry->json == NULL) {
        kb_buf_clear(&cache->scratch);
        kb_json_write_object(&cache->scratch, kb_doc_root(entry->doc), (uint64_t)entry->rev);
        entry->json = kb_blob_new(kb_buf_str(&cache->scratch));
        cache->bytes += entry->json->n;
    }
    entry->used = true;
    return entry->json;
}

void kb_cache_sweep(struct kb_cache *cache)
{
    if (cache->dead > 0) /* whoever reads objects one by one never lists, and merges none of them */
        forget_dead(cache);
    for (size_t i = 0; i < cache->count; i++) {
        if (!cache->order[i]->used)
            drop_json(cache, cache->order[i]);
        cache->order[i]->used = false;
    }
}

void kb_cache_keep_used(struct kb_cache *cache)
{
    for (size_t i = 0; i < cache->count; i++) {
        struct kb_cache_entry *entry = cache->order[i];
        if (!entry->used && !entry->deleted)
            kb_cache_del(cache, entry->key);
    }
    kb_cache_sweep(cache);
}

size_t kb_cache_bytes(const struct kb_cache *cache)
{
    return cache->bytes;
}
