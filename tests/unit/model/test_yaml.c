#include "bus/model/yaml.h"
#include "tests/lib/test.h"

/* All documents of `text` as JSON, one a line, or the error. */
static const char *as_json(const char *text)
{
    struct kb_buf out = {0};
    KB_AUTO(kb_arena_finish) struct kb_arena a = {0};
    KB_AUTO(kb_yaml_close) struct kb_yaml *y = kb_yaml_open(kb_str_of(text));
    struct kb_node *node;
    struct kb_err err;
    int rc;
    kb_buf_puts(&out, "");
    while ((rc = kb_yaml_next(y, &a, &node, &err)) == 1) {
        if (out.n)
            kb_buf_putc(&out, '\n');
        kb_json_write_node(&out, node, 0);
    }
    if (rc < 0)
        kb_buf_printf(&out, "%s%s", out.n ? "\n" : "", err.text);
    return kb_test_keep(kb_buf_steal(&out, NULL));
}

static const char *as_yaml(const char *json)
{
    struct kb_buf out = {0};
    struct kb_doc *doc = NULL;
    struct kb_err err;
    KB_CHECK_OK(kb_json_doc(kb_str_of(json), &doc, &err), &err);
    kb_yaml_write(&out, kb_doc_root(doc));
    kb_doc_destroy(&doc);
    return kb_test_keep(kb_buf_steal(&out, NULL));
}

KB_TEST(yaml, scalars_mean_what_kubectl_takes_them_for)
{
    KB_CHECK_STR(as_json("[a, 'true', \"1\", true, False, yes, off, y, ~, null, ]"),
                 "[\"a\",\"true\",\"1\",true,false,true,false,true,null,null]");
    KB_CHECK_STR(
        as_json(
            "[0644, 0o17, 0x1f, 0b11, 1_000, +5, -7, 08, 1e3, .5, 1.5, 1., 18446744073709551615]"),
        "[420,15,31,3,1000,5,-7,8,1000,0.5,1.5,1,18446744073709552000]");
    KB_CHECK_STR(
        as_json("[2024-01-01, 1:20, 1.2.3, 100m, 1Gi, -, =, <<, !!str 1, !!int \"2\", a: b]"),
        "[\"2024-01-01\",\"1:20\",\"1.2.3\",\"100m\",\"1Gi\",\"-\",\"=\",\"<<\",\"1\",2,{\"a\":"
        "\"b\"}]");
    KB_CHECK_STR(as_json("1: a\ntrue: b\n1.5: c\n\"x\": d"),
                 "{\"1\":\"a\",\"true\":\"b\",\"1.5\":\"c\",\"x\":\"d\"}");
}

KB_TEST(yaml, a_stream_has_many_documents)
{
    KB_CHECK_STR(as_json(""), "");
    KB_CHECK_STR(as_json("# only a comment\n"), "");
    KB_CHECK_STR(as_json("a: 1\n---\n# nothing\n---\nb: |\n  x\n  y\n---\n"),
                 "{\"a\":1}\n{\"b\":\"x\\ny\\n\"}");
    KB_CHECK_STR(as_json("a: 1\n--- \nb: 2: 3\n"),
                 "{\"a\":1}\nyaml: line 3: mapping values are not allowed in this context");
}

KB_TEST(yaml, errors_name_their_line)
{
    KB_CHECK_STR(as_json("a: 1\nb: 2\na: 3\n"), "yaml: line 3: key \"a\" already set in map");
    KB_CHECK_STR(as_json("a: *x\n"), "yaml: unknown anchor 'x' referenced");
    KB_CHECK_STR(as_json("a: &x [1, *x]\n"), "yaml: anchor 'x' value contains itself");
    KB_CHECK_STR(as_json("a:\n  - .inf\n"), "yaml: line 2: .inf is not a finite number");
    KB_CHECK_STR(as_json("? [a]\n: b\n"), "yaml: line 1: a map's key must be text");
    KB_CHECK(strstr(as_json("a: \xff"), "yaml: "));
    KB_CHECK(strstr(as_json("a:\n\t- b"), "yaml: line 2: "));
}

KB_TEST(yaml, aliases_and_merges_expand_within_bounds)
{
    KB_CHECK_STR(as_json("a: &x {b: 1, c: [2]}\nd: *x\n"),
                 "{\"a\":{\"b\":1,\"c\":[2]},\"d\":{\"b\":1,\"c\":[2]}}");
    KB_CHECK_STR(as_json("a: &x {b: 1, c: 2}\nd: {<<: *x, c: 3}\n"),
                 "{\"a\":{\"b\":1,\"c\":2},\"d\":{\"c\":3,\"b\":1}}");
    KB_CHECK_STR(as_json("x: {<<: [{a: 1}, {a: 2, b: 3}]}"), "{\"x\":{\"a\":1,\"b\":3}}");
    KB_CHECK(strstr(as_json("x: {<<: 3}"), "map merge requires"));
    KB_AUTO(kb_buf_finish) struct kb_buf laughs = {0};
    kb_buf_puts(&laughs, "a0: &a0 [x, x, x, x, x, x, x, x, x]\n");
    for (int i = 1; i < 12; i++)
        kb_buf_printf(&laughs, "a%d: &a%d [*a%d, *a%d, *a%d, *a%d, *a%d, *a%d, *a%d, *a%d]\n", i, i,
                      i - 1, i - 1, i - 1, i - 1, i - 1, i - 1, i - 1, i - 1);
    KB_CHECK_STR(as_json(laughs.p), "yaml: document contains excessive aliasing");
}

KB_TEST(yaml, nesting_is_bounded)
{
    KB_AUTO(kb_buf_finish) struct kb_buf deep = {0};
    for (int i = 0; i < 200; i++)
        kb_buf_putc(&deep, '[');
    KB_CHECK(strstr(as_json(deep.p), "nested deeper than 128"));
}

KB_TEST(yaml, is_written_as_kubectl_prints_it)
{
    KB_CHECK_STR(
        as_yaml("{\"kind\":\"Pod\",\"apiVersion\":\"v1\",\"metadata\":{\"name\":\"web\",\"labels\":"
                "{\"b\":\"1\","
                "\"a\":\"x "
                "y\"},\"creationTimestamp\":\"2024-05-01T10:00:00Z\"},\"spec\":{\"containers\":["
                "{\"name\":\"c\",\"ports\":[{\"containerPort\":80}],\"args\":[]}],\"f\":{}}}"),
        "apiVersion: v1\nkind: Pod\nmetadata:\n  creationTimestamp: \"2024-05-01T10:00:00Z\"\n  "
        "labels:\n"
        "    a: x y\n    b: \"1\"\n  name: web\nspec:\n  containers:\n  - args: []\n    name: c\n"
        "    ports:\n    - containerPort: 80\n  f: {}\n");
    KB_CHECK_STR(as_yaml("{\"a\":\"\",\"b\":\"true\",\"c\":\"x: "
                         "y\",\"d\":\"l1\\nl2\\n\",\"e\":\"*\",\"f\":null,\"g\":1.5,"
                         "\"h\":\"12:30\",\"i\":\"y\",\"j\":true,\"k\":\"it's\",\"l\":\"- a\"}"),
                 "a: \"\"\nb: \"true\"\nc: 'x: y'\nd: |\n  l1\n  l2\ne: '*'\nf: null\ng: 1.5\nh: "
                 "\"12:30\"\ni: \"y\"\n"
                 "j: true\nk: it's\nl: '- a'\n");
    KB_CHECK_STR(as_yaml("{\"a10\":1,\"a9\":2,\"a-b\":3,\"a\":4,\"ab\":5}"),
                 "a: 4\na-b: 3\na9: 2\na10: 1\nab: 5\n");
    KB_CHECK_STR(
        as_yaml("{\"m\":\"Container foo was using 100Ki, which exceeds its request of 0. It: was "
                "the reason "
                "why it was stopped\"}"),
        "m: 'Container foo was using 100Ki, which exceeds its request of 0. It: was the reason\n"
        "  why it was stopped'\n");
}

KB_TEST(yaml, what_is_written_reads_back)
{
    static const char *texts[] = {"y",         "0x1f",   "1e3",       "~",     "null", "a\nb",
                                  " lead",     "trail ", "tab\there", "#c",    "a #c", "\xc3\xa9",
                                  "x\n\n y\n", "\n",     "2001-1-1",  "1_000", ".5",   "-",
                                  "---",       "'",      "\"",        "\x01"};
    for (size_t i = 0; i < KB_COUNT(texts); i++) {
        KB_AUTO(kb_arena_finish) struct kb_arena a = {0};
        KB_AUTO(kb_buf_finish) struct kb_buf out = {0};
        struct kb_node *map = kb_node_map(&a), *back;
        struct kb_err err;
        kb_node_set_cstr(&a, map, "k", texts[i]);
        kb_yaml_write_node(&out, map);
        KB_CHECK_OK(kb_yaml_parse_one(&a, kb_buf_str(&out), NULL, &back, &err), &err);
        KB_CHECK_STRN(kb_node_text_at(back, "k"), texts[i]);
    }
}
