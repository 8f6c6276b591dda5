/* What a pod's spec becomes on a node: texts, folders, names. */
#include "agent/files.h"
#include "agent/resolve.h"
#include "agent/subpath.h"
#include "bus/base/file.h"
#include "bus/model/json.h"
#include "tests/lib/test.h"

#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

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

static mode_t mode_of(const char *path)
{
    struct stat st;
    KB_CHECK(stat(path, &st) == 0);
    return st.st_mode & 0777;
}

KB_TEST(subpath, folders_are_made_as_open_as_their_volume)
{
    struct kb_err err = {0};
    KB_AUTO(kb_auto_free) char *base = kb_strf("%s/v", kb_test_dir());
    KB_AUTO(kb_auto_free) char *want = kb_strf("%s/v/a/b..c", kb_test_dir());
    KB_AUTO(kb_auto_free) char *upper = kb_strf("%s/v/a", kb_test_dir());
    KB_AUTO(kb_auto_free) char *path = NULL, *again = NULL;
    KB_CHECK(mkdir(base, 0700) == 0 && chmod(base, 0777) == 0);
    KB_CHECK_OK(kb_subpath_make(base, "a/b..c", &path, &err), &err);
    KB_CHECK_STR(path, want);
    KB_CHECK_U64(mode_of(path), ==, 0777);
    KB_CHECK_U64(mode_of(upper), ==, 0777);
    KB_CHECK_OK(kb_subpath_make(base, "a/b..c/", &again, &err), &err);
    KB_CHECK_STR(again, want);
}

KB_TEST(subpath, no_link_leads_out_of_the_volume_not_even_to_make_a_folder)
{
    struct kb_err err = {0};
    static const char *const bad[] = {"/etc", "../w", "a/../../w", "", "out", "out/new", "next/x"};
    KB_AUTO(kb_auto_free) char *base = kb_strf("%s/v", kb_test_dir());
    KB_AUTO(kb_auto_free) char *next = kb_strf("%s/v2", kb_test_dir());
    KB_AUTO(kb_auto_free) char *out = kb_strf("%s/v/out", kb_test_dir());
    KB_AUTO(kb_auto_free) char *sibling = kb_strf("%s/v/next", kb_test_dir());
    KB_AUTO(kb_auto_free) char *in = kb_strf("%s/v/in", kb_test_dir());
    KB_AUTO(kb_auto_free) char *there = kb_strf("%s/v/there", kb_test_dir());
    KB_AUTO(kb_auto_free) char *made = kb_strf("%s/new", kb_test_dir());
    KB_AUTO(kb_auto_free) char *path = NULL;
    KB_CHECK(mkdir(base, 0777) == 0 && mkdir(next, 0777) == 0 && mkdir(there, 0777) == 0);
    KB_CHECK(symlink("..", out) == 0 && symlink("../v2", sibling) == 0);
    KB_CHECK(symlink("there", in) == 0);
    for (size_t i = 0; i < KB_COUNT(bad); i++)
        if (kb_subpath_make(base, bad[i], &path, &err) != -KB_EFORBIDDEN)
            kb_test_fail(__FILE__, __LINE__, "subPath \"%s\" was let through", bad[i]);
    KB_CHECK(!kb_path_exists(made));
    KB_CHECK_OK(kb_subpath_make(base, "in", &path, &err), &err);
    KB_CHECK_STR(path, there);
}
