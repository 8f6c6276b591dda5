#include "bus/base/rand.h"
#include "bus/model/json.h"
#include "bus/model/key.h"
#include "bus/model/node.h"
#include "bus/model/path.h"
#include "tests/lib/test.h"

#include <stdlib.h>

static struct kb_doc *sample(void)
{
    struct kb_w w = {0};
    kb_w_map(&w);
    kb_w_kmap(&w, "spec");
    kb_w_kcstr(&w, "nodeName", "n1");
    kb_w_kint(&w, "replicas", -3);
    kb_w_karray(&w, "containers");
    kb_w_map(&w);
    kb_w_kcstr(&w, "image", "busybox");
    kb_w_end(&w);
    kb_w_map(&w);
    kb_w_kcstr(&w, "image", "nginx");
    kb_w_end(&w);
    kb_w_end(&w);
    kb_w_end(&w);
    kb_w_kbool(&w, "ok", true);
    kb_w_end(&w);
    struct kb_doc *doc = kb_w_doc(&w);
    kb_w_finish(&w);
    return doc;
}

KB_TEST(doc, a_path_is_read_in_place)
{
    KB_AUTO(kb_doc_destroy) struct kb_doc *doc = sample();
    KB_CHECK_STRN(kb_val_str(kb_doc_at(doc, "spec.nodeName")), "n1");
    KB_CHECK_STRN(kb_val_str(kb_doc_at(doc, "spec.containers[1].image")), "nginx");
    KB_CHECK_I64(kb_val_int_at(kb_doc_root(doc), "spec.replicas", 9), ==, -3);
    KB_CHECK(kb_val_bool_at(kb_doc_root(doc), "ok", false));
    KB_CHECK(kb_val_type(kb_doc_at(doc, "spec.containers[2].image")) == KB_NONE);
    KB_CHECK(kb_val_type(kb_doc_at(doc, "ok.more.still")) == KB_NONE);
}

static const struct {
    const char *path;
    bool good;
} paths[] = {
    {"spec", true},     {"spec.containers[1].image", true},
    {"a[0][12]", true}, {"[0].a", true},
    {"", false},        {".", false},
    {".a", false},      {"a.", false},
    {"a..b", false},    {"a.[0]", false},
    {"a[0]b", false},   {"a[", false},
    {"a[]", false},     {"a[x]", false},
    {"a[1", false},     {"a[-1]", false},
    {"a[ 1]", false},   {"a[1234567890]", false},
    {"a[0].", false},   {"]", true}, /* a name as any */
};

KB_TEST(doc, a_malformed_path_is_told_and_leads_nowhere)
{
    static const char json[] = "{\"\":{\"\":1},\"a\":[{\"b\":1},{\"\":1}],\"spec\":{\"\":1}}";
    struct kb_err err;
    KB_AUTO(kb_doc_destroy) struct kb_doc *doc = NULL;
    KB_CHECK_OK(kb_json_doc(kb_str_of(json), &doc, &err), &err);
    KB_AUTO(kb_arena_finish) struct kb_arena arena = {0};
    struct kb_node *tree = kb_node_of(&arena, kb_doc_root(doc));
    for (size_t i = 0; i < KB_COUNT(paths); i++) {
        KB_CHECK(kb_path_is_good(paths[i].path) == paths[i].good);
        if (paths[i].good || paths[i].path[0] == '\0')
            continue;
        KB_CHECK(kb_val_type(kb_doc_at(doc, paths[i].path)) == KB_NONE);
        KB_CHECK(kb_node_at(tree, paths[i].path) == NULL);
    }
}

KB_TEST(doc, what_is_malformed_is_refused)
{
    static const struct {
        const char *bytes;
        size_t n;
        int code;
    } cases[] = {
        {"", 0, KB_EINVAL},                     /* nothing */
        {"\x81\x01\x02", 3, KB_EINVAL},         /* a key that is a number */
        {"\x81\xa1k", 3, KB_EINVAL},            /* cut off */
        {"\xdd\xff\xff\xff\xff", 5, KB_EINVAL}, /* four billion members, none there */
        {"\xa2\xc3\x28", 3, KB_EINVAL},         /* not UTF-8 */
        {"\xc1", 1, KB_EINVAL},                 /* never used */
        {"\xd4\x01\x02", 3, KB_EINVAL},         /* extension */
        {"\x01\x02", 2, KB_EINVAL},             /* trailing */
        {"\xcf\xff\xff\xff\xff\xff\xff\xff\xff", 9, KB_EINVAL},
    };
    for (size_t i = 0; i < KB_COUNT(cases); i++) {
        struct kb_err err = {0};
        struct kb_doc *doc = NULL;
        KB_CHECK_I64(kb_doc_new(cases[i].bytes, cases[i].n, &doc, &err), ==, -cases[i].code);
        KB_CHECK(doc == NULL && err.text[0]);
        kb_val val;
        KB_CHECK_I64(kb_val_check(cases[i].bytes, cases[i].n, &val, NULL), ==, -cases[i].code);
    }
    char deep[200];
    kb_val val;
    struct kb_err err = {0};
    memset(deep, 0x91, sizeof(deep));
    KB_CHECK_I64(kb_val_check(deep, sizeof(deep), &val, &err), ==, -KB_E2BIG);
}

/* Random values, cut off and damaged anywhere: the checker never reads past the end (under ASan),
 * and what it lets pass is walked over to the very end. */
static void random_value(struct kb_w *w, struct kb_rand *rand, int depth)
{
    char text[300];
    size_t n = kb_rand_below(rand, 8) ? kb_rand_below(rand, 40) : kb_rand_below(rand, sizeof(text));
    uint64_t kind = kb_rand_below(rand, depth > 4 ? 5 : 8);
    memset(text, 'x', sizeof(text));
    switch (kind) {
    case 0:
        kb_w_nil(w);
        return;
    case 1:
        kb_w_bool(w, kb_rand_below(rand, 2));
        return;
    case 2:
        kb_w_int(w, (int64_t)(kb_rand_next(rand) >> kb_rand_below(rand, 64)) *
                        (kb_rand_below(rand, 2) ? 1 : -1));
        return;
    case 3:
        kb_w_double(w, kb_rand_unit(rand));
        return;
    case 4:
        kb_w_str(w, kb_str_n(text, n));
        return;
    default:
        if (kind == 5)
            kb_w_array(w);
        else
            kb_w_map(w);
        for (uint64_t i = kb_rand_below(rand, 6); i > 0; i--) {
            if (kind != 5)
                kb_w_str(w, kb_str_n(text, kb_rand_below(rand, 40)));
            random_value(w, rand, depth + 1);
        }
        kb_w_end(w);
    }
}

KB_TEST(doc_property, a_damaged_value_is_refused_or_walked_over_whole)
{
    struct kb_rand rand;
    struct kb_w w = {0};
    kb_rand_init(&rand, kb_test_seed());
    for (int i = 0; i < 3000; i++) {
        kb_buf_clear(&w.buf);
        random_value(&w, &rand, 0);
        size_t n = w.buf.n, cut = kb_rand_below(&rand, n + 1);
        char *bytes = malloc(n); /* of just that size, so that a step too far is seen */
        kb_val val;
        memcpy(bytes, w.buf.p, n);
        KB_CHECK_I64(kb_val_check(bytes, n, &val, NULL), ==, 0);
        KB_CHECK_U64(kb_val_size(val), ==, n);
        free(bytes);
        bytes = malloc(cut ? cut : 1);
        memcpy(bytes, w.buf.p, cut);
        if (cut > 0)
            bytes[kb_rand_below(&rand, cut)] = (char)kb_rand_next(&rand);
        if (kb_val_check(bytes, cut, &val, NULL) == 0)
            KB_CHECK_U64(kb_val_size(val), ==, cut);
        free(bytes);
    }
    kb_w_finish(&w);
}

KB_TEST(node, edits_make_a_new_document_and_leave_the_old_alone)
{
    KB_AUTO(kb_doc_destroy) struct kb_doc *doc = sample();
    KB_AUTO(kb_arena_finish) struct kb_arena a = {0};
    struct kb_node *root = kb_node_of(&a, kb_doc_root(doc));
    kb_node_set_cstr(&a, root, "metadata.labels.app", "web");
    kb_node_set_int(&a, root, "spec.replicas", 5);
    KB_CHECK(kb_node_unset(root, "spec.nodeName"));
    KB_CHECK(!kb_node_unset(root, "spec.nodeName"));
    KB_AUTO(kb_doc_destroy) struct kb_doc *edited = kb_node_doc(root);
    KB_CHECK_STRN(kb_val_str(kb_doc_at(edited, "metadata.labels.app")), "web");
    KB_CHECK_I64(kb_val_int(kb_doc_at(edited, "spec.replicas"), 0), ==, 5);
    KB_CHECK_STRN(kb_val_str(kb_doc_at(doc, "spec.nodeName")), "n1");
    KB_CHECK(!kb_val_equal(kb_doc_root(doc), kb_doc_root(edited)));
}

static struct kb_node *random_node(struct kb_rand *rand, struct kb_arena *a, int depth)
{
    switch (kb_rand_below(rand, depth > 4 ? 5 : 7)) {
    case 0:
        return kb_node_nil(a);
    case 1:
        return kb_node_bool(a, kb_rand_below(rand, 2));
    case 2:
        return kb_node_int(a, (int64_t)kb_rand_next(rand) >> kb_rand_below(rand, 64));
    case 3:
        return kb_node_double(a, kb_rand_unit(rand));
    case 4:
        return kb_node_str(a, kb_arena_printf(a, "%*d", (int)kb_rand_below(rand, 300), 7));
    default:;
        bool map = kb_rand_below(rand, 2);
        struct kb_node *node = map ? kb_node_map(a) : kb_node_array(a);
        for (uint64_t n = kb_rand_below(rand, 20); n > 0; n--) {
            struct kb_node *child = random_node(rand, a, depth + 1);
            if (map)
                kb_node_putn(a, node, kb_arena_printf(a, "k%d", (int)n), child);
            else
                kb_node_append(a, node, child);
        }
        return node;
    }
}

KB_TEST(node, random_trees_survive_encoding_and_decoding)
{
    struct kb_rand rand;
    kb_rand_init(&rand, kb_test_seed());
    for (int round = 0; round < 300; round++) {
        KB_AUTO(kb_arena_finish) struct kb_arena a = {0};
        KB_AUTO(kb_doc_destroy) struct kb_doc *again = NULL;
        struct kb_err err = {0};
        struct kb_node *node = random_node(&rand, &a, 0);
        KB_AUTO(kb_doc_destroy) struct kb_doc *doc = kb_node_doc(node);
        const void *bytes;
        size_t n = kb_doc_bytes(doc, &bytes);
        KB_CHECK_OK(kb_doc_new(bytes, n, &again, &err), &err);
        KB_CHECK(kb_node_equal(node, kb_node_of(&a, kb_doc_root(again))));
        KB_CHECK(kb_val_equal(kb_doc_root(doc), kb_doc_root(again)));
    }
}

KB_TEST(doc, an_array_past_65535_members_keeps_them_all)
{
    struct kb_w w = {0};
    kb_w_array(&w);
    for (int i = 0; i < 70000; i++)
        kb_w_int(&w, i);
    kb_w_end(&w);
    KB_AUTO(kb_doc_destroy) struct kb_doc *doc = kb_w_doc(&w);
    kb_w_finish(&w);
    KB_CHECK_U64(kb_val_count(kb_doc_root(doc)), ==, 70000);
    KB_CHECK_I64(kb_val_int(kb_val_index(kb_doc_root(doc), 69999), 0), ==, 69999);
}

KB_TEST(key, has_three_parts_or_is_refused)
{
    struct kb_key key;
    char text[64];
    KB_CHECK_I64(kb_key_parse(kb_str_of("pods/shop/web-0"), &key, NULL), ==, 0);
    KB_CHECK_STRN(key.ns, "shop");
    KB_CHECK_I64(kb_key_parse(kb_str_of("nodes//n1"), &key, NULL), ==, 0);
    KB_CHECK(kb_key_format(key, text, sizeof(text)));
    KB_CHECK_STR(text, "nodes//n1");
    static const char *const bad[] = {"", "pods", "pods/", "pods/a", "pods/a/", "/a/b", "p/a/b/c"};
    for (size_t i = 0; i < KB_COUNT(bad); i++)
        KB_CHECK_I64(kb_key_parse(kb_str_of(bad[i]), &key, NULL), ==, -KB_EINVAL);
}
