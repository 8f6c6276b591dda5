#include "bus/base/limits.h"
#include "bus/model/json.h"
#include "tests/lib/test.h"

#include <stdlib.h>

/* Read `text` and write it again; the error's text when it is refused. Lives until the test ends.
 */
static const char *again(const char *text, unsigned flags)
{
    struct kb_arena a = {0};
    struct kb_buf out = {0};
    struct kb_node *node;
    struct kb_err err = {0};
    if (kb_json_parse(&a, kb_str_of(text), NULL, &node, &err) < 0) {
        kb_buf_puts(&out, err.text);
    } else {
        struct kb_buf from_node = {0};
        KB_AUTO(kb_doc_destroy) struct kb_doc *doc = kb_node_doc(node);
        kb_json_write(&out, kb_doc_root(doc), flags);
        kb_json_write_node(&from_node, node, flags);
        KB_CHECK_STR(out.p, from_node.p);
        kb_buf_finish(&from_node);
    }
    kb_arena_finish(&a);
    static char kept[8][4096];
    static int at;
    at = (at + 1) % 8;
    snprintf(kept[at], sizeof(kept[at]), "%s", out.p);
    kb_buf_finish(&out);
    return kept[at];
}

KB_TEST(json, what_is_read_is_written_again)
{
    static const char *same[] = {
        "{}",
        "[]",
        "null",
        "true",
        "-7",
        "9223372036854775807",
        "-9223372036854775808",
        "\"\"",
        "{\"a\":[1,2,{\"b\":null}],\"c\":\"x\"}",
        "0.1",
        "1.5",
        "1e+21",
        "1e-7",
        "-1.25e-300",
        "1234.5",
        "100",
        "123456789012345680000",
        "0.000001",
        "\"\\u0000\\b\\t\\n\\f\\r\\u001f\\\"\\\\/\"",
        "\"\xc3\xa9\xf0\x9f\x98\x80\"",
    };
    for (size_t i = 0; i < KB_COUNT(same); i++)
        KB_CHECK_STR(again(same[i], 0), same[i]);
    KB_CHECK_STR(again(" {\"b\" : 1.0 ,\n\"a\":-0 } \r\n", KB_JSON_SORTED), "{\"a\":0,\"b\":1}");
    KB_CHECK_STR(
        again("{\"a\":[],\"b\":{\"c\":[1,2]}}", KB_JSON_PRETTY),
        "{\n    \"a\": [],\n    \"b\": {\n        \"c\": [\n            1,\n            2\n"
        "        ]\n    }\n}");
}

/* The writer looks at eight characters at a time. */
KB_TEST(json, a_character_is_escaped_wherever_it_stands)
{
    for (int c = 0; c < 256; c++) {
        for (size_t at = 0; at < 20; at++) {
            KB_AUTO(kb_buf_finish) struct kb_buf out = {0};
            char text[20], want[8], *p;
            memset(text, 'a', sizeof(text));
            text[at] = (char)c;
            kb_json_write_str(&out, kb_str_n(text, sizeof(text)));
            const char *letter = c ? strchr("\bb\ff\nn\rr\tt\"\"\\\\", c) : NULL;
            bool named = c == '\b' || c == '\f' || c == '\n' || c == '\r' || c == '\t' ||
                         c == '"' || c == '\\';
            if (named)
                snprintf(want, sizeof(want), "\\%c", letter[1]);
            else if (c < 0x20)
                snprintf(want, sizeof(want), "\\u%04x", (unsigned)c);
            else
                snprintf(want, sizeof(want), "%c", c);
            p = out.p;
            KB_CHECK(*p == '"' && strspn(p + 1, "a") >= at);
            KB_CHECK(memcmp(p + 1 + at, want, strlen(want)) == 0);
            KB_CHECK_U64(out.n, ==, 2 + 19 + strlen(want));
        }
    }
}

KB_TEST(json, integers_past_int64_become_doubles)
{
    KB_CHECK_STR(again("18446744073709551615", 0), "18446744073709552000");
    KB_CHECK_STR(again("1e400", 0), "invalid JSON: number 1e400 is out of range");
}

KB_TEST(json, surrogates_read_as_go_reads_them)
{
    KB_CHECK_STR(again("\"\\ud83d\\ude00\"", 0), "\"\xf0\x9f\x98\x80\"");
    KB_CHECK_STR(again("\"\\uD83D\"", 0), "\"\xef\xbf\xbd\"");
    KB_CHECK_STR(again("\"\\ude00x\"", 0), "\"\xef\xbf\xbdx\"");
    KB_CHECK_STR(again("\"\\ud83d\\ud83d\\ude00\"", 0), "\"\xef\xbf\xbd\xf0\x9f\x98\x80\"");
    KB_CHECK_STR(again("\"\\\\ud83d\"", 0), "\"\\\\ud83d\"");
}

KB_TEST(json, what_is_no_json_is_refused)
{
    static const char *bad[] = {
        "",
        " ",
        "{",
        "{\"a\"}",
        "{\"a\":}",
        "[1,]",
        "{\"a\":1,}",
        "01",
        "1.",
        "+1",
        ".5",
        "nul",
        "'a'",
        "\"a",
        "\"\x01\"",
        "\"\\x\"",
        "{} \"abc",
        "{} x",
        "1 2",
        "\"\xed\xa0\x80\"",
        "\"\xc0\x80\"",
        "\"\xff\"",
        "{1:2}",
        "[1 2]",
        "NaN",
        "/*c*/1",
    };
    for (size_t i = 0; i < KB_COUNT(bad); i++)
        if (strncmp(again(bad[i], 0), "invalid JSON: ", 14) != 0)
            kb_test_fail(__FILE__, __LINE__, "accepted: %s as %s", bad[i], again(bad[i], 0));
}

KB_TEST(json, nesting_is_bounded)
{
    char text[2 * KB_DEPTH_MAX + 8];
    for (unsigned deep = KB_DEPTH_MAX; deep <= KB_DEPTH_MAX + 1; deep++) {
        KB_AUTO(kb_arena_finish) struct kb_arena a = {0};
        struct kb_node *node;
        memset(text, '[', deep);
        memset(text + deep, ']', deep);
        int rc = kb_json_parse(&a, kb_str_n(text, 2 * deep), NULL, &node, NULL);
        KB_CHECK_I64(rc, ==, deep > KB_DEPTH_MAX ? -KB_E2BIG : 0);
    }
}

static void collect(void *arg, const char *path)
{
    struct kb_buf *all = arg;
    kb_buf_printf(all, "%s;", path);
}

KB_TEST(json, duplicates_are_named_and_the_last_wins)
{
    KB_AUTO(kb_arena_finish) struct kb_arena a = {0};
    KB_AUTO(kb_buf_finish) struct kb_buf paths = {0};
    struct kb_read_opts opts = {collect, &paths};
    struct kb_node *node;
    struct kb_err err;
    const char *text = "{\"spec\":{\"c\":[{},{\"n\":1,\"m\":2,\"n\":3}]},\"spec\":{\"x\":[1]}}";
    KB_CHECK_OK(kb_json_parse(&a, kb_str_of(text), &opts, &node, &err), &err);
    KB_CHECK_STR(paths.p, "spec.c[1].n;spec;");
    KB_CHECK_U64(node->count, ==, 1);
    KB_CHECK_I64(kb_node_num(kb_node_at(node, "spec.x[0]"), 0), ==, 1);
}

KB_TEST(json, a_large_map_is_read_in_linear_time)
{
    KB_AUTO(kb_arena_finish) struct kb_arena a = {0};
    KB_AUTO(kb_buf_finish) struct kb_buf text = {0}, paths = {0};
    enum { MANY = 200000 };
    kb_buf_putc(&text, '{');
    for (int i = 0; i < MANY; i++)
        kb_buf_printf(&text, "\"k%d\":%d,", i, i);
    kb_buf_puts(&text, "\"k7\":-1}");
    struct kb_read_opts opts = {collect, &paths};
    struct kb_node *node;
    struct kb_err err;
    KB_CHECK_OK(kb_json_parse(&a, kb_buf_str(&text), &opts, &node, &err), &err);
    KB_CHECK_U64(node->count, ==, MANY);
    KB_CHECK_I64(node->items[7].val->i, ==, -1);
    KB_CHECK_STR(paths.p, "k7;");
}

KB_TEST(json, an_object_is_shown_with_its_revision)
{
    KB_AUTO(kb_buf_finish) struct kb_buf out = {0};
    KB_AUTO(kb_doc_destroy) struct kb_doc *doc = NULL;
    struct kb_err err;
    const char *text = "{\"kind\":\"Pod\",\"metadata\":{\"resourceVersion\":\"1\",\"name\":\"a\"},"
                       "\"spec\":{\"metadata\":{}}}";
    KB_CHECK_OK(kb_json_doc(kb_str_of(text), &doc, &err), &err);
    kb_json_write_object(&out, kb_doc_root(doc), 42);
    KB_CHECK_STR(out.p,
                 "{\"kind\":\"Pod\",\"metadata\":{\"name\":\"a\",\"resourceVersion\":\"42\"},"
                 "\"spec\":{\"metadata\":{}}}");
}
