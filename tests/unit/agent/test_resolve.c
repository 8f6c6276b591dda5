/* What a pod's spec becomes on a node: texts, folders, names. */
#include "agent/resolve.h"
#include "bus/model/json.h"
#include "tests/lib/test.h"

static struct kb_doc *json(const char *text)
{
    struct kb_doc *doc = NULL;
    struct kb_err err = {0};
    KB_CHECK_OK(kb_json_doc(kb_str_of(text), &doc, &err), &err);
    return doc;
}

static struct kb_resolve resolve_of(const struct kb_doc *pod)
{
    return (struct kb_resolve){.pod = kb_doc_root(pod), .cluster_domain = "cluster.local"};
}

KB_TEST(resolve, labels_and_annotations_are_quoted_as_the_downward_api_does)
{
    KB_AUTO(kb_doc_destroy)
    struct kb_doc *pod = json("{\"metadata\":{\"labels\":{\"a\":\"b\"},\"annotations\":{\"note\":"
                              "\"say \\\"hi\\\"\\nbye\",\"x\":\"y\"}}}");
    struct kb_resolve r = resolve_of(pod);
    KB_AUTO(kb_buf_finish) struct kb_buf out = {0};
    KB_CHECK(kb_resolve_field(&r, kb_str_of("metadata.annotations"), &out));
    KB_CHECK_STRN(kb_buf_str(&out), "note=\"say \\\"hi\\\"\\nbye\"\nx=\"y\"");
    kb_buf_clear(&out);
    KB_CHECK(kb_resolve_field(&r, kb_str_of("metadata.labels"), &out));
    KB_CHECK_STRN(kb_buf_str(&out), "a=\"b\"");
}

KB_TEST(resolve, a_subdomain_gives_a_full_name_and_the_hostname_if_that_is_asked_for)
{
    KB_AUTO(kb_arena_finish) struct kb_arena a = {0};
    KB_AUTO(kb_doc_destroy)
    struct kb_doc *plain = json("{\"metadata\":{\"name\":\"db-0\",\"namespace\":\"shop\"}}");
    KB_AUTO(kb_doc_destroy)
    struct kb_doc *full = json("{\"metadata\":{\"name\":\"db-0\",\"namespace\":\"shop\"},\"spec\":"
                               "{\"subdomain\":\"db\",\"setHostnameAsFQDN\":true}}");
    struct kb_rt_sandbox_spec spec;
    struct kb_resolve r = resolve_of(plain);
    kb_resolve_sandbox(&r, &a, &spec);
    KB_CHECK_STR(spec.hostname, "db-0");
    KB_CHECK(spec.full_name == NULL);
    r = resolve_of(full);
    kb_resolve_sandbox(&r, &a, &spec);
    KB_CHECK_STR(spec.full_name, "db-0.db.shop.svc.cluster.local");
    KB_CHECK_STR(spec.hostname, spec.full_name);
}

/* JSON can hold a NUL; a name with one is longer than the text that C sees. */
KB_TEST(resolve, a_name_with_a_nul_is_no_variable)
{
    KB_AUTO(kb_arena_finish) struct kb_arena a = {0};
    static const char text[] = "$(A=1\0\0$\0(A) $(A)";
    KB_AUTO(kb_auto_free) char *only = kb_str_dup(kb_str_of("A=1"));
    const char *const env[] = {only, NULL};
    const char *out = kb_resolve_expand(kb_str_n(text, sizeof text - 1), env, &a);
    KB_CHECK(memcmp(out, "$(A=1\0\0$\0(A) 1", sizeof text - 3) == 0);
}
