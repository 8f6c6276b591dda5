#include "actors/runtime/cache.h"
#include "tests/lib/test.h"

static void put(struct kb_cache *cache, const char *key, int64_t rev, const char *json)
{
    const struct kb_object *now = NULL;
    struct kb_object *old = NULL;
    KB_AUTO(kb_doc_destroy) struct kb_doc *doc = NULL;
    KB_CHECK_I64(kb_json_doc(kb_str_of(json), &doc, NULL), ==, 0);
    KB_CHECK(kb_cache_put(cache, kb_str_of(key), rev, kb_doc_root(doc), &now, &old));
    kb_cache_drop_old(&old);
}

static size_t found(struct kb_cache *cache, const char *index, const char *value)
{
    KB_AUTO(kb_arena_finish) struct kb_arena a = {0};
    return kb_cache_by(cache, index, kb_str_of(value), &a).count;
}

KB_TEST(cache, has_in_a_list_also_what_was_there_before_anybody_asked_for_the_list)
{
    static const char plain[] = "{\"metadata\":{\"uid\":\"1\"}}";
    static const char owned[] = "{\"metadata\":{\"uid\":\"2\",\"ownerReferences\":"
                                "[{\"uid\":\"9\",\"controller\":true}]}}";
    KB_AUTO(kb_cache_finish) struct kb_cache cache = {0};
    kb_cache_init(&cache, "pods");
    put(&cache, "pods/a/x", 1, plain);
    put(&cache, "pods/a/y", 2, owned);
    KB_CHECK_U64(found(&cache, KB_CACHE_BY_NS, "a"), ==, 2);
    put(&cache, "pods/a/z", 3, plain);
    KB_CHECK_U64(found(&cache, KB_CACHE_BY_NS, "a"), ==, 3);
    KB_CHECK_U64(found(&cache, KB_CACHE_BY_OWNER, "9"), ==, 1);
    KB_CHECK_U64(found(&cache, KB_CACHE_ORPHANS, "a"), ==, 2);
    put(&cache, "pods/a/z", 4, owned);
    KB_CHECK_U64(found(&cache, KB_CACHE_BY_OWNER, "9"), ==, 2);
    KB_CHECK_U64(found(&cache, KB_CACHE_ORPHANS, "a"), ==, 1);
}
