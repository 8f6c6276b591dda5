#include "bus/model/json.h"
#include "bus/model/selector.h"
#include "tests/lib/test.h"

static kb_val json(const char *text)
{
    struct kb_doc *doc = NULL;
    struct kb_err err;
    KB_CHECK_OK(kb_json_doc(kb_str_of(text), &doc, &err), &err);
    return kb_doc_root(kb_test_keep(doc));
}

static const char *formatted(const char *text)
{
    static struct kb_err err;
    struct kb_selector *s;
    struct kb_buf out = {0};
    if (kb_selector_parse(kb_str_of(text), &s, &err) < 0)
        return err.text;
    kb_selector_format(s, &out);
    kb_selector_destroy(&s);
    return kb_test_keep(kb_buf_steal(&out, NULL));
}

static bool selects(const char *selector, const char *labels)
{
    struct kb_err err;
    struct kb_selector *s;
    KB_CHECK_OK(kb_selector_parse(kb_str_of(selector), &s, &err), &err);
    bool match = kb_selector_match(s, json(labels));
    KB_AUTO(kb_arena_finish) struct kb_arena a = {0};
    KB_CHECK(match == kb_selector_match_node(s, kb_node_of(&a, json(labels))));
    kb_selector_destroy(&s);
    return match;
}

KB_TEST(selector, text_has_a_canonical_form)
{
    KB_CHECK_STR(formatted(""), "");
    KB_CHECK_STR(formatted("x=a,y=b,z=c"), "x=a,y=b,z=c");
    KB_CHECK_STR(formatted("z in (b, a,b),y==1 , !x"), "!x,y=1,z in (a,b)");
    KB_CHECK_STR(formatted("a notin (),b"),
                 "unable to parse requirement: values: Invalid value: []: "
                 "for 'in', 'notin' operators, values set can't be empty");
    KB_CHECK_STR(formatted("e!=f,g notin (z),in,notin=in"), "e!=f,g notin (z),in,notin=in");
    KB_CHECK_STR(formatted("i>5,j<3,a=,b in (,x)"), "a=,b in (,x),i>5,j<3");
    KB_CHECK_STR(formatted("example.com/a=b"), "example.com/a=b");
}

KB_TEST(selector, what_is_wrong_is_named_as_kubernetes_does)
{
    KB_CHECK_STR(formatted("a,"), "found '', expected: identifier after ','");
    KB_CHECK_STR(formatted(",a"), "found ',', expected: !, identifier, or 'end of string'");
    KB_CHECK_STR(formatted("a in x"), "unable to parse requirement: found 'x', expected: '('");
    KB_CHECK_STR(formatted("a in (x"),
                 "unable to parse requirement: found '', expected: ',' or ')'");
    KB_CHECK_STR(formatted("a b"),
                 "unable to parse requirement: found 'b', expected: in, notin, =, ==, !=, gt, lt");
    KB_CHECK_STR(formatted("a=b c"), "found 'c', expected: ',' or 'end of string'");
    KB_CHECK_STR(formatted("!a=b"), "found '=', expected: ',' or 'end of string'");
    KB_CHECK(strstr(formatted("-a=b"), "<nil>: Invalid value: \"-a\": name part must consist of"));
    KB_CHECK(
        strstr(formatted("a=-b"), "values[0][a]: Invalid value: \"-b\": a valid label must be"));
    KB_CHECK(strstr(formatted("a>b"), "the value must be an integer"));
}

KB_TEST(selector, labels_are_matched)
{
    const char *labels = "{\"app\":\"web\",\"n\":\"7\",\"empty\":\"\"}";
    static const char *yes[] = {"",        "app",      "app=web", "app in (db,web)",
                                "app!=db", "other!=x", "!other",  "app notin (db)",
                                "n>6",     "n<8",      "empty=",  "app=web,n=7"};
    static const char *no[] = {"other", "app=db", "app!=web",     "app notin (web)", "!app",
                               "n>7",   "app>1",  "other in (a)", "app=web,n=8",     "other="};
    for (size_t i = 0; i < KB_COUNT(yes); i++)
        KB_CHECK(selects(yes[i], labels));
    for (size_t i = 0; i < KB_COUNT(no); i++)
        KB_CHECK(!selects(no[i], labels));
    KB_CHECK(selects("!a", "null") && !selects("a", "null"));
}

KB_TEST(selector, objects_select_too)
{
    struct kb_err err;
    KB_AUTO(kb_selector_destroy) struct kb_selector *s = NULL;
    const char *text = "{\"matchLabels\":{\"app\":\"web\"},\"matchExpressions\":[{\"key\":\"tier\","
                       "\"operator\":\"NotIn\",\"values\":[\"b\",\"a\"]}]}";
    KB_CHECK_OK(kb_selector_of(json(text), &s, &err), &err);
    KB_CHECK(kb_selector_match(s, json("{\"app\":\"web\"}")));
    KB_CHECK(!kb_selector_match(s, json("{\"app\":\"web\",\"tier\":\"a\"}")));
    KB_AUTO(kb_buf_finish) struct kb_buf out = {0};
    kb_selector_format(s, &out);
    KB_CHECK_STR(out.p, "app=web,tier notin (a,b)");
    kb_selector_destroy(&s);
    KB_CHECK_OK(kb_selector_of(json("null"), &s, &err), &err);
    KB_CHECK(kb_selector_is_nothing(s) && !kb_selector_match(s, json("{}")));
    kb_selector_destroy(&s);
    KB_CHECK_OK(kb_selector_of(json("{}"), &s, &err), &err);
    KB_CHECK(kb_selector_is_everything(s) && kb_selector_match(s, json("{}")));
    kb_selector_destroy(&s);
    KB_CHECK(kb_selector_of(json("{\"matchExpressions\":[{\"key\":\"a\",\"operator\":\"Is\"}]}"),
                            &s, &err) == -KB_EINVAL);
    KB_CHECK_STR(err.text, "\"Is\" is not a valid label selector operator");
    s = kb_selector_of_map(json("{}"));
    KB_CHECK(!kb_selector_match(s, json("{}")));
}

static bool fields(const char *selector, const char *object)
{
    struct kb_err err;
    struct kb_field_selector *s;
    KB_CHECK_OK(kb_field_selector_parse(kb_str_of(selector), &s, &err), &err);
    bool match = kb_field_selector_match(s, json(object));
    kb_field_selector_destroy(&s);
    return match;
}

KB_TEST(selector, fields_are_matched)
{
    const char *pod =
        "{\"metadata\":{\"name\":\"a,b\"},\"spec\":{\"nodeName\":\"n1\",\"hostNetwork\":true},"
        "\"n\":3}";
    static const char *yes[] = {"",
                                "metadata.name=a\\,b",
                                "spec.nodeName==n1,n=3",
                                "spec.nodeName!=n2",
                                "status.phase=",
                                "spec.hostNetwork=true",
                                "spec.unschedulable=false",
                                "spec.unschedulable!=true"};
    for (size_t i = 0; i < KB_COUNT(yes); i++)
        KB_CHECK(fields(yes[i], pod));
    KB_CHECK(!fields("spec.nodeName=n2", pod) && !fields("status.phase=Running", pod));
    struct kb_err err;
    struct kb_field_selector *s;
    KB_CHECK(kb_field_selector_parse(kb_str_of("abc"), &s, &err) == -KB_EINVAL);
    KB_CHECK_STR(err.text, "invalid selector: 'abc'; can't understand 'abc'");
    KB_CHECK(kb_field_selector_parse(kb_str_of("a=b\\x"), &s, &err) == -KB_EINVAL);
    KB_CHECK(kb_field_selector_parse(kb_str_of("a=b=c"), &s, &err) == -KB_EINVAL);
}
