/* All objects of one resource, as of one revision, and their JSON once somebody asked for it. Pure.
 *
 * Lookups are by hash, listings in order of key; new keys are merged into the order when a listing
 * needs it, so a burst of creates costs one sort. */
#ifndef KUBUS_API_CACHE_H
#define KUBUS_API_CACHE_H

#include "actors/api/http/blob.h"
#include "bus/base/map.h"
#include "bus/model/doc.h"

struct kb_cache_entry {
    kb_str key, ns, name; /* terminated; owned by the entry */
    int64_t rev;
    struct kb_doc *doc;
    struct kb_blob *json; /* with metadata.resourceVersion; NULL until kb_cache_json */
    bool used;            /* it, or its json, was asked for since the last sweep */
    bool deleted;         /* out of the cache, and only still in the order */
};

struct kb_cache;

/* Never NULL. */
struct kb_cache *kb_cache_new(void);
void kb_cache_destroy(struct kb_cache **cache_p);

/* `doc` is copied. */
void kb_cache_put(struct kb_cache *cache, kb_str key, int64_t rev, kb_val doc);
void kb_cache_del(struct kb_cache *cache, kb_str key); /* not there: fine */
/* NULL when there is none. Valid until the cache changes. */
struct kb_cache_entry *kb_cache_get(const struct kb_cache *cache, kb_str key);
/* All in order of key. Valid until the cache changes. O(n) after new keys, else O(1). */
size_t kb_cache_all(struct kb_cache *cache, struct kb_cache_entry *const **ret);
/* Of those, the first whose key is not before `key`. O(log n). */
size_t kb_cache_from(struct kb_cache *cache, kb_str key);
/* The object's JSON; the entry keeps its reference. Whoever takes one of their own may send it
 * while the object changes. */
struct kb_blob *kb_cache_json(struct kb_cache *cache, struct kb_cache_entry *entry);
/* Free the JSON that was not asked for since the sweep before, and what was deleted: entries of
 * deleted objects are not valid any more. */
void kb_cache_sweep(struct kb_cache *cache);
/* The same for a cache of some objects: entries that were not asked for go whole. */
void kb_cache_keep_used(struct kb_cache *cache);
size_t kb_cache_bytes(const struct kb_cache *cache); /* entries, documents, JSON */

#endif
