#include "actors/api/cache.h"
#include "bus/base/rand.h"
#include "bus/model/json.h"
#include "tests/lib/test.h"

#include <stdlib.h>

static void put(struct kb_cache *cache, const char *key, int64_t rev)
{
    KB_AUTO(kb_doc_destroy) struct kb_doc *doc = NULL;
    KB_CHECK_I64(kb_json_doc(kb_str_of("{\"metadata\":{\"name\":\"x\"}}"), &doc, NULL), ==, 0);
    kb_cache_put(cache, kb_str_of(key), rev, kb_doc_root(doc));
}

KB_TEST(cache, keeps_order_whatever_the_order_of_arrival)
{
    KB_AUTO(kb_cache_destroy) struct kb_cache *cache = kb_cache_new();
    static const char *const keys[] = {"pods/b/x", "pods/a/y", "pods/c/z", "pods/a/x", "pods//n"};
    static const char *const order[] = {"pods//n", "pods/a/x", "pods/a/y", "pods/b/x", "pods/c/z"};
    struct kb_cache_entry *const *all;
    for (size_t i = 0; i < KB_COUNT(keys); i++)
        put(cache, keys[i], 1);
    KB_CHECK_U64(kb_cache_all(cache, &all), ==, KB_COUNT(order));
    for (size_t i = 0; i < KB_COUNT(order); i++)
        KB_CHECK_STRN(all[i]->key, order[i]);
    KB_CHECK_STRN(all[1]->ns, "a");
    KB_CHECK_STRN(all[1]->name, "x");
    KB_CHECK_U64(kb_cache_from(cache, kb_str_of("pods/b/")), ==, 3);
    KB_CHECK_U64(kb_cache_from(cache, kb_str_of("pods/z")), ==, 5);
}

KB_TEST(cache, json_follows_the_object)
{
    KB_AUTO(kb_cache_destroy) struct kb_cache *cache = kb_cache_new();
    put(cache, "pods/a/x", 7);
    struct kb_cache_entry *entry = kb_cache_get(cache, kb_str_of("pods/a/x"));
    KB_CHECK_STRN(kb_blob_str(kb_cache_json(cache, entry)),
                  "{\"metadata\":{\"name\":\"x\",\"resourceVersion\":\"7\"}}");
    size_t with_json = kb_cache_bytes(cache);
    kb_cache_sweep(cache);
    KB_CHECK_U64(kb_cache_bytes(cache), ==, with_json);
    kb_cache_sweep(cache);
    KB_CHECK_U64(kb_cache_bytes(cache), <, with_json);
    put(cache, "pods/a/x", 8);
    KB_CHECK_STRN(kb_blob_str(kb_cache_json(cache, entry)),
                  "{\"metadata\":{\"name\":\"x\",\"resourceVersion\":\"8\"}}");
    struct kb_blob *sent = kb_blob_ref(kb_cache_json(cache, entry));
    kb_cache_del(cache, kb_str_of("pods/a/x"));
    KB_CHECK_STRN(kb_blob_str(sent), "{\"metadata\":{\"name\":\"x\",\"resourceVersion\":\"8\"}}");
    kb_blob_unref(&sent);
    KB_CHECK(kb_cache_get(cache, kb_str_of("pods/a/x")) == NULL);
    kb_cache_sweep(cache);
    KB_CHECK_U64(kb_cache_bytes(cache), ==, 0);
}

KB_TEST(cache, of_what_is_asked_for_forgets_the_rest)
{
    KB_AUTO(kb_cache_destroy) struct kb_cache *cache = kb_cache_new();
    put(cache, "pods/a/asked", 1);
    put(cache, "pods/a/gone", 1);
    put(cache, "pods/a/left", 1);
    kb_cache_json(cache, kb_cache_get(cache, kb_str_of("pods/a/asked")));
    kb_cache_del(cache, kb_str_of("pods/a/gone"));
    kb_cache_keep_used(cache);
    KB_CHECK(kb_cache_get(cache, kb_str_of("pods/a/left")) == NULL);
    struct kb_cache_entry *entry = kb_cache_get(cache, kb_str_of("pods/a/asked"));
    KB_CHECK(entry != NULL && entry->json != NULL);
    kb_cache_keep_used(cache);
    KB_CHECK_U64(kb_cache_bytes(cache), ==, 0);
}

KB_TEST(cache, of_objects_that_come_and_go_keeps_nothing_though_nobody_lists_them)
{
    KB_AUTO(kb_cache_destroy) struct kb_cache *cache = kb_cache_new();
    put(cache, "pods/a/stays", 1);
    size_t before = kb_cache_bytes(cache);
    for (int i = 0; i < 1000; i++) {
        KB_AUTO(kb_auto_free) char *key = kb_strf("pods/a/p%d", i);
        put(cache, key, 2 + i);
        kb_cache_del(cache, kb_str_of(key));
    }
    kb_cache_sweep(cache);
    KB_CHECK_U64(kb_cache_bytes(cache), ==, before);
    KB_CHECK(kb_cache_get(cache, kb_str_of("pods/a/stays")) != NULL);
}

/* Against a plain array of revisions: any puts, deletes and listings in any order. */
KB_TEST(cache, agrees_with_a_reference)
{
    enum { KEYS = 40, STEPS = 4000 };
    KB_AUTO(kb_cache_destroy) struct kb_cache *cache = kb_cache_new();
    int64_t reference[KEYS] = {0};
    struct kb_rand rand;
    kb_rand_init(&rand, kb_test_seed());
    for (int step = 1; step <= STEPS; step++) {
        char key[32];
        size_t which = kb_rand_below(&rand, KEYS), at = 0;
        struct kb_cache_entry *const *all;
        snprintf(key, sizeof(key), "pods/ns/p%02zu", which);
        if (kb_rand_below(&rand, 3) == 0)
            kb_cache_del(cache, kb_str_of(key)), reference[which] = 0;
        else
            put(cache, key, step), reference[which] = step;
        if (kb_rand_below(&rand, 4) > 0)
            continue;
        size_t n = kb_cache_all(cache, &all);
        for (size_t i = 0; i < KEYS; i++) {
            if (reference[i] == 0)
                continue;
            snprintf(key, sizeof(key), "pods/ns/p%02zu", i);
            KB_CHECK(at < n);
            KB_CHECK_STRN(all[at]->key, key);
            KB_CHECK_I64(all[at++]->rev, ==, reference[i]);
        }
        KB_CHECK_U64(at, ==, n);
    }
}
