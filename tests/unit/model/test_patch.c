#include "bus/base/rand.h"
#include "bus/model/json.h"
#include "bus/model/kind.h"
#include "bus/model/patch.h"
#include "tests/lib/nodes.h"
#include "tests/lib/test.h"

#include <stdlib.h>

struct patch_case {
    const char *target, *patch, *result;
    int code;
};

KB_TEST(patch, json_patch_follows_rfc_6902)
{
    static const struct patch_case cases[] = {
        {"{\"foo\":\"bar\"}", "[{\"op\":\"add\",\"path\":\"/baz\",\"value\":\"qux\"}]",
         "{\"baz\":\"qux\",\"foo\":\"bar\"}", 0},
        {"{\"foo\":[\"bar\",\"baz\"]}", "[{\"op\":\"add\",\"path\":\"/foo/1\",\"value\":\"qux\"}]",
         "{\"foo\":[\"bar\",\"qux\",\"baz\"]}", 0},
        {"{\"foo\":[1]}", "[{\"op\":\"add\",\"path\":\"/foo/-\",\"value\":{\"a\":null}}]",
         "{\"foo\":[1,{\"a\":null}]}", 0},
        {"{\"a\":1,\"b\":2}", "[{\"op\":\"remove\",\"path\":\"/a\"}]", "{\"b\":2}", 0},
        {"{\"a\":1}", "[{\"op\":\"replace\",\"path\":\"/a\",\"value\":2}]", "{\"a\":2}", 0},
        {"{\"a\":{\"x\":1},\"b\":{}}", "[{\"op\":\"move\",\"from\":\"/a/x\",\"path\":\"/b/y\"}]",
         "{\"a\":{},\"b\":{\"y\":1}}", 0},
        {"{\"a\":[1,2]}",
         "[{\"op\":\"copy\",\"from\":\"/a\",\"path\":\"/b\"},"
         "{\"op\":\"remove\",\"path\":\"/a/0\"}]",
         "{\"a\":[2],\"b\":[1,2]}", 0},
        {"{\"a/b\":1,\"c~d\":2}",
         "[{\"op\":\"test\",\"path\":\"/a~1b\",\"value\":1},"
         "{\"op\":\"remove\",\"path\":\"/c~0d\"}]",
         "{\"a/b\":1}", 0},
        {"{\"a\":1}", "[{\"op\":\"add\",\"path\":\"\",\"value\":{\"b\":1}}]", "{\"b\":1}", 0},
        {"{\"a\":1}", "[{\"op\":\"test\",\"path\":\"/a\",\"value\":2}]", NULL, KB_EUNPROCESSABLE},
        {"{\"a\":1}", "[{\"op\":\"remove\",\"path\":\"/b\"}]", NULL, KB_EUNPROCESSABLE},
        {"{\"a\":1}", "[{\"op\":\"add\",\"path\":\"/b/c\",\"value\":1}]", NULL, KB_EUNPROCESSABLE},
        {"{\"a\":[1]}", "[{\"op\":\"add\",\"path\":\"/a/2\",\"value\":1}]", NULL,
         KB_EUNPROCESSABLE},
        {"{\"a\":[1]}", "[{\"op\":\"remove\",\"path\":\"/a/00\"}]", NULL, KB_EUNPROCESSABLE},
        {"{\"a\":{}}", "[{\"op\":\"move\",\"from\":\"/a\",\"path\":\"/a/b\"}]", NULL,
         KB_EUNPROCESSABLE},
        {"{\"a\":1}", "[{\"op\":\"add\",\"path\":\"/b\"}]", NULL, KB_EINVAL},
        {"{\"a\":1}", "[{\"op\":\"burn\",\"path\":\"/a\"}]", NULL, KB_EINVAL},
        {"{\"a\":1}", "[{\"op\":\"remove\",\"path\":\"a\"}]", NULL, KB_EINVAL},
        {"{\"a\":1}", "{}", NULL, KB_EINVAL},
    };
    for (size_t i = 0; i < KB_COUNT(cases); i++) {
        KB_AUTO(kb_arena_finish) struct kb_arena a = {0};
        struct kb_err err = {0};
        struct kb_node *target = kb_test_node(&a, cases[i].target);
        int rc = kb_patch_json(&a, &target, kb_test_node(&a, cases[i].patch), &err);
        KB_CHECK_I64(rc, ==, -cases[i].code);
        if (rc == 0)
            KB_CHECK_STR(kb_test_node_text(&a, target), cases[i].result);
    }
}

KB_TEST(patch, merge_patch_follows_rfc_7386)
{
    static const struct patch_case cases[] = {
        {"{\"a\":\"b\"}", "{\"a\":\"c\"}", "{\"a\":\"c\"}", 0},
        {"{\"a\":\"b\",\"b\":\"c\"}", "{\"a\":null}", "{\"b\":\"c\"}", 0},
        {"{\"a\":[{\"b\":\"c\"}]}", "{\"a\":[1]}", "{\"a\":[1]}", 0},
        {"{\"a\":\"foo\"}", "null", "null", 0},
        {"{\"e\":null}", "{\"a\":1}", "{\"a\":1,\"e\":null}", 0},
        {"[1,2]", "{\"a\":\"b\",\"c\":null}", "{\"a\":\"b\"}", 0},
        {"{}", "{\"a\":{\"bb\":{\"ccc\":null}}}", "{\"a\":{\"bb\":{}}}", 0},
    };
    for (size_t i = 0; i < KB_COUNT(cases); i++) {
        KB_AUTO(kb_arena_finish) struct kb_arena a = {0};
        struct kb_node *target = kb_test_node(&a, cases[i].target);
        kb_patch_merge(&a, &target, kb_test_node(&a, cases[i].patch));
        KB_CHECK_STR(kb_test_node_text(&a, target), cases[i].result);
    }
}

static const struct kb_schema *schema_at(const char *resource, const char *path)
{
    static struct kb_kinds *kinds;
    if (kinds == NULL)
        kinds = kb_kinds_builtin();
    return kb_schema_at(kb_kinds_by_resource(kinds, kb_str_of(resource))->schema, path);
}

KB_TEST(patch, strategic_patch_merges_lists_by_their_keys)
{
    static const struct patch_case cases[] = {
        {"{\"containers\":[{\"image\":\"a:1\",\"name\":\"a\"},{\"image\":\"b\",\"name\":\"b\"}]}",
         "{\"$setElementOrder/containers\":[{\"name\":\"a\"},{\"name\":\"b\"}],\"containers\":[{"
         "\"name\":\"a\",\"image\":\"a:2\"}]}",
         "{\"containers\":[{\"image\":\"a:2\",\"name\":\"a\"},{\"image\":\"b\",\"name\":\"b\"}]}",
         0},
        {"{\"containers\":[{\"name\":\"a\"},{\"name\":\"b\"}]}",
         "{\"containers\":[{\"$patch\":\"delete\",\"name\":\"a\"},{\"name\":\"c\"}]}",
         "{\"containers\":[{\"name\":\"b\"},{\"name\":\"c\"}]}", 0},
        {"{\"containers\":[{\"name\":\"a\"},{\"name\":\"b\"}]}",
         "{\"containers\":[{\"$patch\":\"replace\"},{\"name\":\"c\"}]}",
         "{\"containers\":[{\"name\":\"c\"}]}", 0},
        {"{\"containers\":[{\"name\":\"a\"},{\"name\":\"b\"},{\"name\":\"c\"}]}",
         "{\"$setElementOrder/containers\":[{\"name\":\"c\"},{\"name\":\"a\"}]}",
         "{\"containers\":[{\"name\":\"b\"},{\"name\":\"c\"},{\"name\":\"a\"}]}", 0},
        {"{\"nodeSelector\":{\"a\":\"1\",\"b\":\"2\"}}", "{\"nodeSelector\":{\"a\":null}}",
         "{\"nodeSelector\":{\"b\":\"2\"}}", 0},
        {"{\"nodeSelector\":{\"a\":\"1\"}}",
         "{\"nodeSelector\":{\"$patch\":\"replace\",\"b\":\"2\"}}",
         "{\"nodeSelector\":{\"b\":\"2\"}}", 0},
        {"{\"tolerations\":[{\"key\":\"a\"}]}", "{\"tolerations\":[{\"key\":\"b\"}]}",
         "{\"tolerations\":[{\"key\":\"b\"}]}", 0},
        {"{}",
         "{\"containers\":[{\"name\":\"a\",\"$patch\":\"delete\"},{\"name\":\"b\",\"image\":"
         "null}]}",
         "{\"containers\":[{\"name\":\"b\"}]}", 0},
        {"{\"volumes\":[{\"emptyDir\":{},\"name\":\"v\"}]}",
         "{\"volumes\":[{\"$retainKeys\":[\"name\",\"hostPath\"],\"hostPath\":{\"path\":\"/"
         "\"},\"name\":\"v\"}]}",
         "{\"volumes\":[{\"hostPath\":{\"path\":\"/\"},\"name\":\"v\"}]}", 0},
        {"{\"containers\":[{\"name\":\"a\"}]}", "{\"containers\":[{\"image\":\"x\"}]}", NULL,
         KB_EINVAL},
        {"{}", "{\"nodeSelector\":{\"$patch\":\"burn\"}}", NULL, KB_EINVAL},
    };
    for (size_t i = 0; i < KB_COUNT(cases); i++) {
        KB_AUTO(kb_arena_finish) struct kb_arena a = {0};
        struct kb_err err = {0};
        struct kb_node *target = kb_test_node(&a, cases[i].target);
        int rc = kb_patch_strategic(schema_at("pods", "spec"), &a, &target,
                                    kb_test_node(&a, cases[i].patch), &err);
        KB_CHECK_I64(rc, ==, -cases[i].code);
        if (rc == 0)
            KB_CHECK_STR(kb_test_node_text(&a, target), cases[i].result);
    }
}

KB_TEST(patch, strategic_patch_treats_lists_of_scalars_as_sets)
{
    KB_AUTO(kb_arena_finish) struct kb_arena a = {0};
    struct kb_err err = {0};
    struct kb_node *target = kb_test_node(&a, "{\"finalizers\":[\"a\",\"b\"]}");
    struct kb_node *patch = kb_test_node(&a, "{\"$deleteFromPrimitiveList/finalizers\":[\"a\"],"
                                             "\"$setElementOrder/finalizers\":[\"c\",\"b\"],"
                                             "\"finalizers\":[\"c\",\"b\"]}");
    KB_CHECK_OK(kb_patch_strategic(schema_at("pods", "metadata"), &a, &target, patch, &err), &err);
    KB_CHECK_STR(kb_test_node_text(&a, target), "{\"finalizers\":[\"c\",\"b\"]}");
}

/* A random tree of maps without nulls. */
static struct kb_node *random_tree(struct kb_arena *a, struct kb_rand *rand, int depth)
{
    static const char *const keys[] = {"a", "b", "c", "d/e", "~f"};
    if (depth == 0 || kb_rand_below(rand, 3) == 0)
        return kb_node_int(a, (int64_t)kb_rand_below(rand, 3));
    bool map = kb_rand_below(rand, 4) != 0;
    struct kb_node *node = map ? kb_node_map(a) : kb_node_array(a);
    for (uint64_t n = kb_rand_below(rand, 5); n > 0; n--)
        if (map)
            kb_node_put(a, node, keys[kb_rand_below(rand, KB_COUNT(keys))],
                        random_tree(a, rand, depth - 1));
        else
            kb_node_append(a, node, random_tree(a, rand, depth - 1));
    return node;
}

KB_TEST(patch, the_patch_of_a_difference_makes_the_one_into_the_other)
{
    struct kb_rand rand;
    kb_rand_init(&rand, kb_test_seed());
    for (int i = 0; i < 2000; i++) {
        KB_AUTO(kb_arena_finish) struct kb_arena a = {0};
        struct kb_err err = {0};
        struct kb_node *from = kb_node_map(&a), *to = kb_node_map(&a);
        kb_node_put(&a, from, "x", random_tree(&a, &rand, 4));
        kb_node_put(&a, to, "x", random_tree(&a, &rand, 4));
        struct kb_node *patch = kb_patch_diff(&a, from, to);
        struct kb_node *merged = kb_node_copy(&a, from), *strategic = kb_node_copy(&a, from);
        kb_patch_merge(&a, &merged, kb_node_copy(&a, patch));
        KB_CHECK(kb_node_equal(merged, to));
        KB_CHECK_OK(kb_patch_strategic(NULL, &a, &strategic, patch, &err), &err);
        KB_CHECK(kb_node_equal(strategic, to));
        KB_CHECK_U64(kb_patch_diff(&a, to, to)->count, ==, 0);
    }
}

/* Large maps take another way through the code than small ones: both must agree. */
KB_TEST(patch, large_maps_are_patched_as_small_ones_are)
{
    enum { N = 3000 };
    KB_AUTO(kb_arena_finish) struct kb_arena a = {0};
    struct kb_err err = {0};
    struct kb_node *target = kb_node_map(&a), *patch = kb_node_map(&a), *want = kb_node_map(&a);
    for (int i = 0; i < N; i++) {
        kb_str key = kb_arena_printf(&a, "key-%d", i);
        if (i % 4 != 3)
            kb_node_putn(&a, target, key, kb_node_int(&a, i));
        if (i % 4 != 0)
            kb_node_putn(&a, patch, key, i % 4 == 1 ? kb_node_nil(&a) : kb_node_int(&a, -i));
        if (i % 4 != 1)
            kb_node_putn(&a, want, key, kb_node_int(&a, i % 4 == 0 ? i : -i));
    }
    struct kb_node *merged = kb_node_copy(&a, target);
    kb_patch_merge(&a, &merged, kb_node_copy(&a, patch));
    KB_CHECK(kb_node_equal(merged, want));
    KB_CHECK_OK(kb_patch_strategic(NULL, &a, &target, patch, &err), &err);
    KB_CHECK(kb_node_equal(target, want));
}

static int patch_json(const char *target, const char *patch)
{
    KB_AUTO(kb_arena_finish) struct kb_arena arena = {0};
    struct kb_node *to, *ops;
    struct kb_err err = {0};
    KB_CHECK_OK(kb_json_parse(&arena, kb_str_of(target), NULL, &to, &err), &err);
    KB_CHECK_OK(kb_json_parse(&arena, kb_str_of(patch), NULL, &ops, &err), &err);
    return kb_patch_json(&arena, &to, ops, &err);
}

/* Each copy of a tree into its own deepest member doubles the depth: twenty would overflow any
 * stack that a later reader has. */
KB_TEST(patch, copies_of_copies_do_not_nest_without_end)
{
    KB_AUTO(kb_buf_finish) struct kb_buf patch = {0}, path = {0};
    kb_buf_puts(&patch, "[");
    kb_buf_puts(&path, "/a");
    for (int i = 0, depth = 1; i < 15; i++, depth *= 2) {
        kb_buf_printf(&patch, "%s{\"op\":\"copy\",\"from\":\"/a\",\"path\":\"%s/a\"}", i ? "," : "",
                      path.p);
        for (int k = 0; k < depth; k++)
            kb_buf_puts(&path, "/a");
    }
    kb_buf_puts(&patch, "]");
    KB_CHECK_I64(patch_json("{\"a\":{}}", patch.p), ==, -KB_E2BIG);
}

KB_TEST(patch, many_operations_on_a_long_list_are_refused)
{
    KB_AUTO(kb_buf_finish) struct kb_buf target = {0}, patch = {0};
    kb_buf_puts(&target, "{\"a\":[0");
    for (int i = 0; i < 100000; i++)
        kb_buf_puts(&target, ",0");
    kb_buf_puts(&target, "]}");
    for (int i = 0; i < 9000; i++)
        kb_buf_printf(&patch, "%c{\"op\":\"remove\",\"path\":\"/a/0\"}", i ? ',' : '[');
    kb_buf_puts(&patch, "]");
    KB_CHECK_I64(patch_json(target.p, patch.p), ==, -KB_E2BIG);
}
