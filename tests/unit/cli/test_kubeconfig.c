#include "actors/cli/kubeconfig.h"
#include "bus/base/file.h"
#include "tests/lib/test.h"

#include <stdlib.h>

static void put(const char *name, const char *text)
{
    struct kb_err err = {0};
    KB_AUTO(kb_auto_free) char *path = kb_strf("%s/%s", kb_test_dir(), name);
    KB_CHECK_OK(kb_file_write(path, kb_str_of(text), 0600, &err), &err);
}

static const char config_text[] =
    "clusters:\n"
    "- name: one\n"
    "  cluster: {server: 'https://h:1', certificate-authority: ca.pem}\n"
    "contexts:\n"
    "- name: here\n"
    "  context: {cluster: one, user: me}\n"
    "current-context: here\n"
    "users:\n"
    "- name: me\n"
    "  user: {client-certificate-data: Y2VydA==, client-key: ca.pem}\n";

KB_TEST(kubeconfig, files_that_it_names_lie_beside_it_as_kubectl_has_it)
{
    struct kb_err err = {0};
    KB_AUTO(kb_kubeconfig_finish) struct kb_kubeconfig config = {0};
    KB_AUTO(kb_auto_free) char *path = kb_strf("%s/config", kb_test_dir());
    put("config", config_text);
    put("ca.pem", "pem");
    KB_CHECK_OK(kb_kubeconfig_load(path, &config, &err), &err);
    KB_CHECK_STR(config.server, "https://h:1");
    KB_CHECK_STR(config.ns, "");
    KB_CHECK_STRN(kb_buf_str(&config.ca), "pem");
    KB_CHECK_STRN(kb_buf_str(&config.cert), "cert");
    KB_CHECK_STRN(kb_buf_str(&config.key), "pem");
}

KB_TEST(kubeconfig, one_that_names_nobody_is_refused_in_words)
{
    struct kb_err err = {0};
    KB_AUTO(kb_kubeconfig_finish) struct kb_kubeconfig config = {0};
    KB_CHECK_I64(kb_kubeconfig_parse(kb_str_of("users: x\nclusters: {}\n"), &config, &err), ==,
                 -KB_EINVAL);
    KB_CHECK_STR(err.text, "kubeconfig has no usable current-context");
    KB_CHECK_I64(kb_kubeconfig_parse(kb_str_of(""), &config, &err), ==, -KB_EINVAL);
}
