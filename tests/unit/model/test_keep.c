#include "bus/model/keep.h"
#include "bus/model/json.h"
#include "tests/lib/test.h"

static void check_kept(const char *paths, const char *json, const char *want)
{
    struct kb_keep *keep = kb_keep_new(kb_str_of(paths));
    KB_AUTO(kb_doc_destroy) struct kb_doc *doc = NULL;
    KB_AUTO(kb_w_finish) struct kb_w w = {0};
    KB_AUTO(kb_buf_finish) struct kb_buf out = {0};
    struct kb_err err = {0};
    KB_CHECK_OK(kb_json_doc(kb_str_of(json), &doc, &err), &err);
    kb_keep_write(keep, kb_doc_root(doc), &w);
    kb_json_write(&out, kb_w_val(&w), 0);
    KB_CHECK_STRN(kb_buf_str(&out), want);
    kb_keep_destroy(&keep);
    KB_CHECK(keep == NULL);
}

KB_TEST(keep, members_named_are_kept_in_their_order)
{
    static const char pod[] = "{\"kind\":\"Pod\",\"spec\":{\"nodeName\":\"n1\",\"containers\":[1]},"
                              "\"metadata\":{\"name\":\"a\",\"labels\":{\"x.y\":\"z\"}}}";
    check_kept("metadata spec.nodeName", pod,
               "{\"spec\":{\"nodeName\":\"n1\"},"
               "\"metadata\":{\"name\":\"a\",\"labels\":{\"x.y\":\"z\"}}}");
    check_kept("metadata.name,spec.nodeName", pod,
               "{\"spec\":{\"nodeName\":\"n1\"},\"metadata\":{\"name\":\"a\"}}");
    check_kept(" spec.containers  kind ", pod, "{\"kind\":\"Pod\",\"spec\":{\"containers\":[1]}}");
    check_kept("metadata.name metadata.name metadata.uid", pod, "{\"metadata\":{\"name\":\"a\"}}");
    check_kept("status", pod, "{}");
    check_kept("", pod, "{}");
}

KB_TEST(keep, the_whole_goes_before_a_part_of_it)
{
    static const char doc[] = "{\"a\":{\"b\":1,\"c\":2},\"d\":3}";
    check_kept("a.b a", doc, "{\"a\":{\"b\":1,\"c\":2}}");
    check_kept("a a.b", doc, "{\"a\":{\"b\":1,\"c\":2}}");
    check_kept("a.b.c d.e", doc, "{\"a\":{\"b\":1},\"d\":3}"); /* no maps: there they end */
}
