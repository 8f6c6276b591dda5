#include "bus/model/json.h"
#include "bus/model/meta.h"
#include "tests/lib/test.h"

static kb_val json(const char *text)
{
    struct kb_doc *doc = NULL;
    struct kb_err err;
    KB_CHECK_OK(kb_json_doc(kb_str_of(text), &doc, &err), &err);
    return kb_doc_root(kb_test_keep(doc));
}

KB_TEST(meta, is_read_in_place)
{
    kb_val pod = json(
        "{\"metadata\":{\"name\":\"web-0\",\"namespace\":\"shop\",\"uid\":\"u1\",\"generation\":3,"
        "\"labels\":{\"a.b/"
        "c\":\"x\"},\"finalizers\":[\"f1\"],\"creationTimestamp\":\"1970-01-01T00:00:02Z\","
        "\"ownerReferences\":[{\"uid\":\"o1\"},{\"uid\":\"o2\",\"controller\":true}]}}");
    KB_CHECK_STRN(kb_meta_name(pod), "web-0");
    KB_CHECK_STRN(kb_meta_ns(pod), "shop");
    KB_CHECK_STRN(kb_meta_label(pod, "a.b/c"), "x");
    KB_CHECK_I64(kb_meta_generation(pod), ==, 3);
    KB_CHECK(!kb_meta_deleting(pod) && kb_meta_has_finalizer(pod, "f1"));
    KB_CHECK(kb_meta_controlled_by(pod, kb_str_of("o2")) &&
             !kb_meta_controlled_by(pod, kb_str_of("o1")));
    KB_CHECK_I64(kb_time_at(pod, "metadata.creationTimestamp"), ==, 2000000);
    KB_CHECK(!kb_meta_controlled_by(json("{}"), kb_str_of("")));
}

KB_TEST(meta, a_condition_keeps_its_time_until_its_status_changes)
{
    KB_AUTO(kb_arena_finish) struct kb_arena a = {0};
    struct kb_node *status = kb_node_map(&a);
    struct kb_cond cond = {"Available", "False", "No", "none there", true};
    KB_CHECK(kb_cond_set(&a, status, &cond, 1000000));
    KB_CHECK(!kb_cond_set(&a, status, &cond, 2000000));
    cond.message = "one there";
    KB_CHECK(kb_cond_set(&a, status, &cond, 3000000));
    struct kb_node *node = kb_cond_node(status, "Available");
    KB_CHECK_STRN(kb_node_text_at(node, "lastTransitionTime"), "1970-01-01T00:00:01Z");
    KB_CHECK_STRN(kb_node_text_at(node, "lastUpdateTime"), "1970-01-01T00:00:03Z");
    cond.status = "True";
    KB_CHECK(kb_cond_set(&a, status, &cond, 4000000));
    KB_CHECK_STRN(kb_node_text_at(node, "lastTransitionTime"), "1970-01-01T00:00:04Z");
    KB_CHECK(kb_cond_remove(status, "Available") && !kb_cond_remove(status, "Available"));
}
