/* cache.c - objects by key, each linked into the lists of its indices' values.
 *
 * WHY lists and not sorted trees: a reconcile run wants "the pods of this owner" as a whole, in any
 * order; adding, moving and removing is then O(1) for each index. A list is found by the text
 * "INDEX VALUE" and freed with its last member.
 *
 * A list that nobody asks for costs as much as one that is used, at every change of every object.
 * So the indices that all caches can have are kept from the first question on. */
#include "actors/runtime/cache.h"

#include "bus/base/check.h"

#include <stdlib.h>

struct list {
    struct kb_link head;
    size_t count;
    size_t n;
    char name[];
};

struct slot {
    struct kb_link link;
    struct list *list;
    struct entry *entry;
};

struct entry {
    struct kb_object pub; /* first */
    struct kb_doc *doc;
    struct slot *slots;
    size_t nslots;
    size_t n;
    char key[];
};

void kb_cache_init(struct kb_cache *cache, const char *resource)
{
    *cache = (struct kb_cache){.resource = kb_str_dup(kb_str_of(resource))};
}

void kb_cache_add_index(struct kb_cache *cache, const char *path)
{
    for (size_t i = 0; i < cache->nindices; i++)
        if (strcmp(cache->indices[i], path) == 0)
            return;
    KB_ASSERT(cache->nindices < KB_CACHE_INDICES_MAX && kb_cache_count(cache) == 0);
    cache->indices[cache->nindices++] = path;
}

/* ---- indices ---- */

/* The indices that are kept once they were asked for. */
enum { NS = 1, OWNER = 2, ORPHANS = 4 };

static unsigned index_bit(const char *index)
{
    return strcmp(index, KB_CACHE_BY_NS) == 0      ? NS
           : strcmp(index, KB_CACHE_BY_OWNER) == 0 ? OWNER
           : strcmp(index, KB_CACHE_ORPHANS) == 0  ? ORPHANS
                                                   : 0;
}

void kb_cache_owned(struct kb_cache *cache)
{
    KB_ASSERT(kb_cache_count(cache) == 0);
    cache->asked |= OWNER | ORPHANS;
}

static void list_name(struct kb_buf *out, const char *index, kb_str value)
{
    kb_buf_clear(out);
    kb_buf_puts(out, index);
    kb_buf_putc(out, ' ');
    kb_buf_add_str(out, value);
}

static struct list *list_find(const struct kb_cache *cache, const char *index, kb_str value)
{
    char small[256];
    size_t n = strlen(index);
    if (n + 1 + value.n <= sizeof(small)) {
        memcpy(small, index, n);
        small[n] = ' ';
        if (value.n)
            memcpy(small + n + 1, value.p, value.n);
        return kb_map_get(&cache->lists, kb_str_n(small, n + 1 + value.n));
    }
    KB_AUTO(kb_buf_finish) struct kb_buf name = {0};
    list_name(&name, index, value);
    return kb_map_get(&cache->lists, kb_buf_str(&name));
}

static struct list *list_ensure(struct kb_cache *cache, kb_str name)
{
    struct list *list = kb_map_get(&cache->lists, name);
    if (list)
        return list;
    list = calloc(1, sizeof(*list) + name.n);
    KB_ASSERT(list != NULL);
    kb_list_init(&list->head);
    list->n = name.n;
    memcpy(list->name, name.p, name.n);
    kb_map_put(&cache->lists, name, list);
    return list;
}

/* The lists that an entry belongs to, while they are collected. */
struct memberships {
    struct kb_cache *cache;
    struct kb_buf name;
    struct list *lists[64];
    size_t count;
};

static void member_of(struct memberships *m, const char *index, kb_str value)
{
    if (m->count == KB_COUNT(m->lists))
        return; /* more owners than anybody has: the first ones count */
    list_name(&m->name, index, value);
    m->lists[m->count++] = list_ensure(m->cache, kb_buf_str(&m->name));
}

static void collect(struct memberships *m, const struct entry *e)
{
    kb_val doc = e->pub.doc;
    unsigned asked = m->cache->asked;
    if (asked & NS)
        member_of(m, KB_CACHE_BY_NS, e->pub.key.ns);
    if (m->cache->by_uid)
        member_of(m, KB_CACHE_BY_UID, kb_meta_uid(doc));
    kb_str owner = asked & (OWNER | ORPHANS) ? kb_meta_controller_uid(doc) : (kb_str){0};
    if (owner.n && asked & OWNER)
        member_of(m, KB_CACHE_BY_OWNER, owner);
    else if (owner.n == 0 && asked & ORPHANS)
        member_of(m, KB_CACHE_ORPHANS, e->pub.key.ns);
    for (size_t i = 0; i < m->cache->nindices; i++) {
        const char *path = m->cache->indices[i];
        if (strcmp(path, KB_CACHE_BY_OWNERS) == 0) {
            kb_val refs = kb_val_at(doc, "metadata.ownerReferences");
            for (struct kb_iter it = kb_iter(refs); kb_iter_next(&it);)
                member_of(m, path, kb_val_str(kb_val_get(it.val, "uid")));
        } else {
            member_of(m, path, kb_val_str_at(doc, path));
        }
    }
}

static void entry_link(struct kb_cache *cache, struct entry *e)
{
    struct memberships m = {.cache = cache};
    collect(&m, e);
    if (m.count == 0)
        return;
    e->slots = calloc(m.count, sizeof(*e->slots));
    KB_ASSERT(e->slots != NULL);
    e->nslots = m.count;
    for (size_t i = 0; i < m.count; i++) {
        e->slots[i].list = m.lists[i];
        e->slots[i].entry = e;
        m.lists[i]->count++;
        kb_list_push(&m.lists[i]->head, &e->slots[i].link);
    }
    kb_buf_finish(&m.name);
}

static void entry_unlink(struct kb_cache *cache, struct entry *e)
{
    for (size_t i = 0; i < e->nslots; i++) {
        struct list *list = e->slots[i].list;
        kb_list_remove(&e->slots[i].link);
        if (--list->count > 0)
            continue;
        kb_map_del(&cache->lists, kb_str_n(list->name, list->n));
        free(list);
    }
    free(e->slots);
    e->slots = NULL;
    e->nslots = 0;
}

/* ---- what is kept of a document ---- */

void kb_cache_keep(struct kb_cache *cache, const char *paths)
{
    kb_keep_destroy(&cache->keep);
    free(cache->fields);
    cache->keep = kb_keep_new(kb_str_of(paths));
    cache->fields = kb_str_dup(kb_str_of(paths));
}

static struct kb_doc *doc_kept(struct kb_cache *cache, kb_val doc)
{
    if (cache->keep == NULL)
        return kb_doc_of(doc);
    kb_buf_clear(&cache->scratch.buf);
    kb_keep_write(cache->keep, doc, &cache->scratch);
    return kb_doc_of(kb_w_val(&cache->scratch));
}

/* ---- objects ---- */

static struct entry *entry_new(struct kb_cache *cache, kb_str key, int64_t rev, kb_val doc)
{
    struct entry *e = calloc(1, sizeof(*e) + key.n + 1);
    KB_ASSERT(e != NULL);
    e->n = key.n;
    memcpy(e->key, key.p, key.n);
    e->doc = doc_kept(cache, doc);
    e->pub.rev = rev;
    e->pub.doc = kb_doc_root(e->doc);
    e->pub.digest = cache->digest ? cache->digest(e->pub.doc) : 0;
    const void *bytes;
    cache->bytes += kb_doc_bytes(e->doc, &bytes);
    return e;
}

static void entry_free(struct entry *e)
{
    kb_doc_destroy(&e->doc);
    free(e->slots);
    free(e);
}

static struct kb_object *entry_retire(struct kb_cache *cache, struct entry *e)
{
    const void *bytes;
    cache->bytes -= kb_doc_bytes(e->doc, &bytes);
    entry_unlink(cache, e);
    return &e->pub;
}

void kb_cache_drop_old(struct kb_object **old_p)
{
    struct kb_object *old = KB_STEAL(*old_p);
    if (old)
        entry_free((struct entry *)old);
}

bool kb_cache_put(struct kb_cache *cache, kb_str key, int64_t rev, kb_val doc,
                  const struct kb_object **ret_now, struct kb_object **ret_old)
{
    struct entry *old = kb_map_get(&cache->objects, key);
    *ret_old = NULL;
    if (old && old->pub.rev >= rev)
        return false;
    struct entry *e = entry_new(cache, key, rev, doc);
    if (kb_key_parse(kb_str_n(e->key, e->n), &e->pub.key, NULL) < 0) {
        entry_free(e);
        return false;
    }
    if (old)
        *ret_old = entry_retire(cache, old);
    kb_map_put(&cache->objects, key, e);
    entry_link(cache, e);
    *ret_now = &e->pub;
    return true;
}

bool kb_cache_same(const struct kb_object *a, const struct kb_object *b)
{
    const void *x, *y;
    size_t n = kb_doc_bytes(((const struct entry *)a)->doc, &x);
    return n == kb_doc_bytes(((const struct entry *)b)->doc, &y) && memcmp(x, y, n) == 0;
}

bool kb_cache_del(struct kb_cache *cache, kb_str key, int64_t rev, struct kb_object **ret_old)
{
    struct entry *e = kb_map_get(&cache->objects, key);
    *ret_old = NULL;
    if (e == NULL || e->pub.rev > rev)
        return false;
    kb_map_del(&cache->objects, key);
    *ret_old = entry_retire(cache, e);
    return true;
}

const struct kb_object *kb_cache_get(const struct kb_cache *cache, kb_str key)
{
    const struct entry *e = kb_map_get(&cache->objects, key);
    return e ? &e->pub : NULL;
}

size_t kb_cache_count(const struct kb_cache *cache)
{
    return cache->objects.count;
}

struct kb_objects kb_cache_all(const struct kb_cache *cache, struct kb_arena *a)
{
    struct kb_objects out = {0};
    kb_str key;
    void *e;
    out.items = kb_arena_alloc(a, (kb_cache_count(cache) + 1) * sizeof(*out.items));
    for (size_t i = 0; kb_map_next(&cache->objects, &i, &key, &e);)
        out.items[out.count++] = &((struct entry *)e)->pub;
    return out;
}

/* The first question: from now on it is kept. */
static void index_begin(struct kb_cache *cache, unsigned bit)
{
    kb_str key;
    void *e;
    cache->asked |= bit;
    for (size_t i = 0; kb_map_next(&cache->objects, &i, &key, &e);) {
        entry_unlink(cache, e);
        entry_link(cache, e);
    }
}

struct kb_objects kb_cache_by(struct kb_cache *cache, const char *index, kb_str value,
                              struct kb_arena *a)
{
    struct kb_objects out = {0};
    unsigned bit = index_bit(index);
    if (bit & ~cache->asked)
        index_begin(cache, bit);
    const struct list *list = list_find(cache, index, value);
    if (list == NULL)
        return out;
    out.items = kb_arena_alloc(a, list->count * sizeof(*out.items));
    KB_LIST_EACH(link, &list->head)
    {
        out.items[out.count++] = &KB_CONTAINER(link, struct slot, link)->entry->pub;
    }
    return out;
}

const struct kb_object *kb_cache_by_first(const struct kb_cache *cache, const char *index,
                                          kb_str value)
{
    const struct list *list = list_find(cache, index, value);
    return list ? &KB_CONTAINER(list->head.next, struct slot, link)->entry->pub : NULL;
}

void kb_cache_finish(struct kb_cache *cache)
{
    kb_str key;
    void *value;
    for (size_t i = 0; kb_map_next(&cache->objects, &i, &key, &value);) {
        struct entry *e = value;
        entry_unlink(cache, e);
        entry_free(e);
    }
    kb_map_finish(&cache->objects);
    kb_map_finish(&cache->lists);
    kb_keep_destroy(&cache->keep);
    kb_w_finish(&cache->scratch);
    free(cache->fields);
    free(cache->resource);
    *cache = (struct kb_cache){0};
}
