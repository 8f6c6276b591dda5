/* The cache of one resource: its objects by key, and lists of them by indices. Pure.
 *
 * An object is held as its own document, or as the part of it that the controller keeps. A change
 * that is not newer than what is held is ignored, so an answer to a write may be put in before the
 * view delivers the same change. */
#ifndef KUBUS_RUNTIME_CACHE_H
#define KUBUS_RUNTIME_CACHE_H

#include "bus/base/list.h"
#include "bus/base/map.h"
#include "bus/model/keep.h"
#include "plugins/plugin.h"

enum { KB_CACHE_INDICES_MAX = 4 };

/* What a cache can look up besides the key. Values are as in struct kb_plugin_watch. */
struct kb_cache {
    char *resource;
    struct kb_keep *keep;                      /* NULL: documents as they are */
    char *fields;                              /* the paths of `keep`, or NULL */
    struct kb_w scratch;                       /* what is kept of one */
    const char *indices[KB_CACHE_INDICES_MAX]; /* declared paths */
    size_t nindices;
    uint64_t (*digest)(kb_val doc); /* or NULL */
    unsigned asked;                 /* which of the built-in indices are kept */
    bool by_uid;                    /* keep KB_CACHE_BY_UID: before the first object */
    struct kb_map objects;          /* key → entry */
    struct kb_map lists;            /* index and value → list */
    size_t bytes;                   /* of documents */
};

void kb_cache_init(struct kb_cache *cache, const char *resource);
void kb_cache_finish(struct kb_cache *cache);
/* Before the first object: index by this path; twice is once. */
void kb_cache_add_index(struct kb_cache *cache, const char *path);

/* Before the first object: it will be asked for objects by their owner. */
void kb_cache_owned(struct kb_cache *cache);

/* From the next object on: hold these paths alone (bus/model/keep.h). Copied. */
void kb_cache_keep(struct kb_cache *cache, const char *paths);
/* What a controller needs of all resources to follow owners. */
#define KB_CACHE_METADATA                                                                          \
    "apiVersion kind metadata.name metadata.namespace metadata.uid metadata.ownerReferences "      \
    "metadata.finalizers metadata.deletionTimestamp"

/* Put a version: false when what is held is as new. The object held until then is in *ret_old,
 * valid until kb_cache_drop_old. */
bool kb_cache_put(struct kb_cache *cache, kb_str key, int64_t rev, kb_val doc,
                  const struct kb_object **ret_now, struct kb_object **ret_old);
/* Do two versions look the same to this controller, by what is kept of them? */
bool kb_cache_same(const struct kb_object *a, const struct kb_object *b);
/* Remove: false when it is not there, or is newer. */
bool kb_cache_del(struct kb_cache *cache, kb_str key, int64_t rev, struct kb_object **ret_old);
void kb_cache_drop_old(struct kb_object **old_p);

const struct kb_object *kb_cache_get(const struct kb_cache *cache, kb_str key);
size_t kb_cache_count(const struct kb_cache *cache);
/* All objects, into `a`. */
struct kb_objects kb_cache_all(const struct kb_cache *cache, struct kb_arena *a);

/* Lists. The first question to a built-in index is O(objects), unless kb_cache_owned came first. */
#define KB_CACHE_BY_NS     "@ns"
#define KB_CACHE_BY_OWNER  "@owner"   /* uid of the controlling owner */
#define KB_CACHE_BY_OWNERS "@owners"  /* uid of each owner: only when declared */
#define KB_CACHE_ORPHANS   "@orphans" /* by namespace: those without a controlling owner */
#define KB_CACHE_BY_UID    "@uid"
struct kb_objects kb_cache_by(struct kb_cache *cache, const char *index, kb_str value,
                              struct kb_arena *a);
const struct kb_object *kb_cache_by_first(const struct kb_cache *cache, const char *index,
                                          kb_str value);

#endif
