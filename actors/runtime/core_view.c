/* core_view.c - which views a controller follows, what they deliver, and whom it concerns. */
#include "actors/runtime/core_impl.h"

#include <stdlib.h>

/* ---- making sources ---- */

static struct source *source_new(kb_controller *c, const char *resource, const char *query)
{
    struct source *src = calloc(1, sizeof(*src));
    KB_ASSERT(src != NULL);
    kb_cache_init(&src->cache, resource);
    src->partial = query != NULL && *query != '\0';
    src->pub.query = src->partial ? kb_strf("%s?%s", resource, query) : kb_strf("%s", resource);
    kb_list_push(&c->sources, &src->link);
    c->views_version++;
    return src;
}

void kb__source_free(struct source *src)
{
    kb_list_remove(&src->link);
    kb_cache_finish(&src->cache);
    kb_map_finish(&src->askers);
    free((char *)src->pub.query);
    free(src);
}

static struct source *source_of_query(kb_controller *c, const char *resource, const char *query)
{
    KB_AUTO(kb_auto_free)
    char *text = query && *query ? kb_strf("%s?%s", resource, query) : kb_strf("%s", resource);
    KB_LIST_EACH(link, &c->sources)
    {
        struct source *src = KB_CONTAINER(link, struct source, link);
        if (strcmp(src->pub.query, text) == 0)
            return src;
    }
    return NULL;
}

static struct source *source_ensure(kb_controller *c, const char *resource, const char *query)
{
    struct source *src = source_of_query(c, resource, query);
    if (src == NULL)
        src = source_new(c, resource, query);
    src->lasting = true;
    return src;
}

static void source_watch(struct source *src, const struct kb_plugin_watch *watch, bool all)
{
    if (watch->map || src->watch == NULL)
        src->watch = watch;
    if (watch->keep)
        kb_cache_keep(&src->cache, watch->keep);
    else if (all)
        kb_cache_keep(&src->cache, KB_CACHE_METADATA);
    if (watch->digest)
        src->cache.digest = watch->digest;
    if (watch->index)
        kb_cache_add_index(&src->cache, watch->index);
}

static bool is_all(const char *resource)
{
    return strcmp(resource, "*") == 0;
}

int kb__sources_make(kb_controller *c, struct kb_err *err)
{
    const struct kb_plugin *p = &c->plugin;
    c->demanded = !p->on_demand;
    if (p->primary == NULL)
        return kb_err_set(err, KB_EINVAL, "plugin %s has no primary resource", p->name);
    for (size_t i = 0; is_all(p->primary) && c->resource_names[i]; i++) {
        struct source *src = source_ensure(c, c->resource_names[i], NULL);
        kb_cache_keep(&src->cache, KB_CACHE_METADATA);
        src->primary = src->cache.by_uid = true;
    }
    if (!is_all(p->primary)) {
        struct source *src = source_ensure(c, p->primary, NULL);
        src->primary = src->cache.by_uid = true;
    }
    for (size_t i = 0; i < KB_PLUGIN_LIST_MAX && p->owns[i]; i++) {
        struct source *src = source_ensure(c, p->owns[i], NULL);
        src->owned = true;
        kb_cache_owned(&src->cache);
    }
    for (size_t i = 0; i < KB_PLUGIN_LIST_MAX && p->watches[i].resource; i++) {
        const struct kb_plugin_watch *watch = &p->watches[i];
        if (!is_all(watch->resource)) {
            source_watch(source_ensure(c, watch->resource, watch->query), watch, false);
            continue;
        }
        for (size_t r = 0; c->resource_names[r]; r++)
            source_watch(source_ensure(c, c->resource_names[r], watch->query), watch, true);
    }
    return 0;
}

bool kb__source_wanted(const kb_controller *c, const struct source *src)
{
    return c->demanded || src->primary || !src->lasting;
}

/* The first primary object is there. */
static void demand(kb_controller *c)
{
    if (c->demanded)
        return;
    c->demanded = true;
    c->views_version++;
}

/* ---- needs of single keys ---- */

bool kb_need(kb_controller *c, const char *view)
{
    KB_ASSERT(c->current != NULL);
    size_t n = strcspn(view, "?");
    KB_AUTO(kb_auto_free) char *resource = kb_str_dup(kb_str_n(view, n));
    const char *query = view[n] ? view + n + 1 : NULL;
    struct source *src = source_of_query(c, resource, query);
    if (src == NULL)
        src = source_new(c, resource, query);
    if (src->lasting)
        return src->listed;
    kb_str key = kb_str_n(c->current->key, c->current->n);
    src->asked_in = c->run_seq;
    kb_map_put(&src->askers, key, c);
    return src->listed;
}

void kb__sources_forget(kb_controller *c, kb_str key)
{
    KB_LIST_EACH_SAFE(link, &c->sources)
    {
        struct source *src = KB_CONTAINER(link, struct source, link);
        if (src->lasting || src->asked_in == c->run_seq || kb_map_del(&src->askers, key) == NULL)
            continue;
        if (src->askers.count > 0)
            continue;
        c->views_version++;
        if (!src->pub.open) {
            kb__source_free(src);
            continue;
        }
        src->unwanted = true;
        kb_list_remove(&src->link);
        kb_list_push(&c->unwanted, &src->link);
    }
}

/* ---- for the shell ---- */

uint64_t kb_core_views_version(const kb_controller *core)
{
    return core->views_version;
}

size_t kb_core_views(kb_controller *core, struct kb_core_view ***ret_views)
{
    size_t count = 0;
    KB_LIST_EACH(link, &core->sources)
    {
        count++;
    }
    core->views = realloc(core->views, (count + 1) * sizeof(*core->views));
    KB_ASSERT(core->views != NULL);
    count = 0;
    KB_LIST_EACH(link, &core->sources)
    {
        struct source *src = KB_CONTAINER(link, struct source, link);
        if (!kb__source_wanted(core, src))
            continue;
        src->pub.fields = src->cache.fields;
        core->views[count++] = &src->pub;
    }
    *ret_views = core->views;
    return count;
}

struct kb_core_view *kb_core_view_unwanted(kb_controller *core)
{
    if (kb_list_empty(&core->unwanted))
        return NULL;
    return &KB_CONTAINER(core->unwanted.next, struct source, link)->pub;
}

void kb_core_view_closed(kb_controller *core, struct kb_core_view *view)
{
    (void)core;
    kb__source_free((struct source *)view);
}

bool kb__sources_listed(const kb_controller *c)
{
    KB_LIST_EACH(link, &c->sources)
    {
        const struct source *src = KB_CONTAINER(link, struct source, link);
        if (src->lasting && !src->listed && kb__source_wanted(c, src))
            return false;
    }
    return true;
}

/* ---- changes ---- */

/* The primary object that controls `object` shall be looked at. */
static void enqueue_owner(kb_controller *c, const struct kb_object *object)
{
    kb_str uid = object ? kb_meta_controller_uid(object->doc) : kb_str_n(NULL, 0);
    if (uid.n == 0)
        return;
    KB_LIST_EACH(link, &c->sources)
    {
        const struct source *src = KB_CONTAINER(link, struct source, link);
        const struct kb_object *owner =
            src->primary ? kb_cache_by_first(&src->cache, KB_CACHE_BY_UID, uid) : NULL;
        if (owner)
            kb_enqueue_key(c, owner->key);
    }
}

static void enqueue_askers(kb_controller *c, const struct source *src)
{
    kb_str key;
    void *value;
    for (size_t i = 0; kb_map_next(&src->askers, &i, &key, &value);)
        kb_queue_add(&c->queue, key);
}

static void concern(kb_controller *c, struct source *src, const struct kb_object *now,
                    const struct kb_object *old)
{
    const struct kb_object *any = now ? now : old;
    if (any == NULL)
        return;
    if (src->primary)
        kb_enqueue_key(c, any->key);
    if (src->owned) {
        enqueue_owner(c, now);
        kb_str before = old ? kb_meta_controller_uid(old->doc) : kb_str_n(NULL, 0);
        if (now == NULL || !kb_str_eq(before, kb_meta_controller_uid(now->doc)))
            enqueue_owner(c, old);
    }
    if (src->watch && src->watch->map)
        src->watch->map(c, now, old);
    if (src->listed)
        enqueue_askers(c, src);
}

void kb__source_change(kb_controller *c, struct source *src, bool gone, kb_str key, int64_t rev,
                       kb_val doc)
{
    const struct kb_object *now = NULL;
    struct kb_object *old = NULL;
    if (src->primary && !gone)
        demand(c);
    bool news = gone ? kb_cache_del(&src->cache, key, rev, &old)
                     : kb_cache_put(&src->cache, key, rev, doc, &now, &old);
    if (news && !(src->cache.keep && now && old && kb_cache_same(now, old)))
        concern(c, src, now, old);
    kb_cache_drop_old(&old);
}

void kb_core_change(kb_controller *core, struct kb_core_view *view, bool gone, kb_str key,
                    int64_t rev, kb_val doc)
{
    struct source *src = (struct source *)view;
    if (!src->unwanted)
        kb__source_change(core, src, gone, key, rev, doc);
}

int64_t kb_core_view_rev(const struct kb_core_view *view, kb_str key)
{
    const struct kb_object *object = kb_cache_get(&((const struct source *)view)->cache, key);
    return object ? object->rev : 0;
}

bool kb_core_view_next(const struct kb_core_view *view, size_t *cursor, kb_str *ret_key)
{
    const struct source *src = (const struct source *)view;
    return kb_map_next(&src->cache.objects, cursor, ret_key, NULL);
}

void kb_core_synced(kb_controller *core, struct kb_core_view *view, int64_t rev)
{
    struct source *src = (struct source *)view;
    bool first = !src->listed;
    src->rev = rev;
    src->listed = true;
    if (first)
        enqueue_askers(core, src);
    kb__runs_settle(core);
}

/* ---- what a plugin reads ---- */

#define EACH_SOURCE_OF(src, c, name)                                                               \
    KB_LIST_EACH(src##_link, &(c)->sources)                                                        \
    for (struct source *src = KB_CONTAINER(src##_link, struct source, link);                       \
         src && strcmp(src->cache.resource, (name)) == 0; src = NULL)

const struct kb_object *kb_get(kb_controller *c, const char *resource, kb_str ns, kb_str name)
{
    char text[KB_KEY_MAX_BYTES + 1];
    kb_key key = {kb_str_of(resource), ns, name};
    if (!kb_key_format(key, text, sizeof(text)))
        return NULL;
    EACH_SOURCE_OF(src, c, resource)
    {
        const struct kb_object *object = kb_cache_get(&src->cache, kb_str_of(text));
        if (object)
            return object;
    }
    return NULL;
}

/* What several views on one resource deliver, without an object twice. */
static void objects_add(kb_controller *c, struct kb_objects *all, struct kb_objects more)
{
    if (all->count == 0) {
        *all = more;
        return;
    }
    const struct kb_object **items =
        kb_arena_alloc(&c->arena, (all->count + more.count) * sizeof(*items));
    memcpy(items, all->items, all->count * sizeof(*items));
    size_t before = all->count, count = before;
    for (size_t i = 0; i < more.count; i++) {
        bool there = false;
        for (size_t k = 0; k < before && !there; k++)
            there = kb_str_eq(items[k]->key.name, more.items[i]->key.name) &&
                    kb_str_eq(items[k]->key.ns, more.items[i]->key.ns);
        if (!there)
            items[count++] = more.items[i];
    }
    *all = (struct kb_objects){items, count};
}

static struct kb_objects list_by(kb_controller *c, const char *resource, const char *index,
                                 kb_str value)
{
    struct kb_objects all = {0};
    EACH_SOURCE_OF(src, c, resource)
    objects_add(c, &all, kb_cache_by(&src->cache, index, value, &c->arena));
    return all;
}

struct kb_objects kb_list(kb_controller *c, const char *resource)
{
    struct kb_objects all = {0};
    EACH_SOURCE_OF(src, c, resource)
    objects_add(c, &all, kb_cache_all(&src->cache, &c->arena));
    return all;
}

struct kb_objects kb_list_ns(kb_controller *c, const char *resource, kb_str ns)
{
    return list_by(c, resource, KB_CACHE_BY_NS, ns);
}

struct kb_objects kb_list_owned(kb_controller *c, const char *resource, kb_str owner_uid)
{
    return list_by(c, resource, KB_CACHE_BY_OWNER, owner_uid);
}

struct kb_objects kb_list_orphans(kb_controller *c, const char *resource, kb_str ns)
{
    return list_by(c, resource, KB_CACHE_ORPHANS, ns);
}

struct kb_objects kb_list_indexed(kb_controller *c, const char *resource, kb_str value)
{
    struct kb_objects all = {0};
    EACH_SOURCE_OF(src, c, resource)
    for (size_t i = 0; i < src->cache.nindices; i++)
        objects_add(c, &all, kb_cache_by(&src->cache, src->cache.indices[i], value, &c->arena));
    return all;
}

/* Without an index: a walk over all. */
static const struct kb_object *search_uid(const struct kb_cache *cache, kb_str uid)
{
    KB_AUTO(kb_arena_finish) struct kb_arena a = {0};
    struct kb_objects all = kb_cache_all(cache, &a);
    for (size_t i = 0; i < all.count; i++)
        if (kb_str_eq(kb_meta_uid(all.items[i]->doc), uid))
            return all.items[i];
    return NULL;
}

const struct kb_object *kb_get_uid(kb_controller *c, const char *resource, kb_str uid)
{
    EACH_SOURCE_OF(src, c, resource)
    {
        const struct kb_object *object = src->cache.by_uid
                                             ? kb_cache_by_first(&src->cache, KB_CACHE_BY_UID, uid)
                                             : search_uid(&src->cache, uid);
        if (object)
            return object;
    }
    return NULL;
}

int64_t kb_cache_rev(kb_controller *c, const char *resource)
{
    int64_t rev = -1;
    EACH_SOURCE_OF(src, c, resource)
    {
        int64_t own = src->listed ? src->rev : 0;
        rev = rev < 0 || own < rev ? own : rev;
    }
    return rev < 0 ? 0 : rev;
}
