#include "actors/api/pki.h"
#include "bus/base/base64.h"
#include "bus/base/clock.h"
#include "bus/base/file.h"
#include "tests/lib/test.h"

#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

static const char *const files[] = {"ca.crt",    "ca.key",    "apiserver.crt", "apiserver.key",
                                    "admin.crt", "admin.key", "sa.key",        "sa.pub"};

struct fixture {
    char dir[128], kubeconfig[128];
    struct kb_pki_config config;
};

static void setup(struct fixture *f)
{
    snprintf(f->dir, sizeof(f->dir), "%s/data/pki", kb_test_dir());
    snprintf(f->kubeconfig, sizeof(f->kubeconfig), "%s/data/kubeconfig", kb_test_dir());
    f->config = (struct kb_pki_config){.dir = f->dir,
                                       .kubeconfig = f->kubeconfig,
                                       .host = "10.1.2.3",
                                       .port = 6443,
                                       .hostname = "box",
                                       .wall_us = 1800000000000000};
}

static bool ensure(struct fixture *f)
{
    struct kb_err err = {0};
    bool changed = false;
    KB_CHECK_OK(kb_pki_ensure(&f->config, &changed, &err), &err);
    return changed;
}

static char *content(struct fixture *f, const char *name)
{
    struct kb_buf buf = {0};
    KB_AUTO(kb_auto_free) char *path = kb_strf("%s/%s", f->dir, name);
    KB_CHECK_I64(kb_file_read(path, 1 << 20, &buf, NULL), ==, 0);
    return kb_buf_steal(&buf, NULL);
}

/* What openssl's own program says about it. */
static int openssl(struct fixture *f, const char *arguments)
{
    KB_AUTO(kb_auto_free)
    char *line = kb_strf("cd %s && openssl %s >/dev/null 2>&1", f->dir, arguments);
    return system(line);
}

KB_TEST(pki, makes_what_openssl_verifies)
{
    struct fixture f;
    setup(&f);
    KB_CHECK(ensure(&f));
    KB_CHECK_I64(openssl(&f, "verify -attime 1800000000 -CAfile ca.crt -purpose sslserver "
                             "-verify_ip 10.1.2.3 apiserver.crt"),
                 ==, 0);
    KB_CHECK_I64(openssl(&f, "verify -attime 1800000000 -CAfile ca.crt -purpose sslserver "
                             "-verify_hostname box apiserver.crt"),
                 ==, 0);
    KB_CHECK_I64(
        openssl(&f, "verify -attime 1800000000 -CAfile ca.crt -purpose sslclient admin.crt"), ==,
        0);
    KB_CHECK_I64(
        openssl(&f, "verify -attime 1800000000 -CAfile ca.crt -purpose sslclient apiserver.crt"),
        !=, 0);
    KB_CHECK_I64(openssl(&f, "pkey -in sa.key -check -noout"), ==, 0);
    for (size_t i = 0; i < KB_COUNT(files); i++) {
        struct stat st;
        KB_AUTO(kb_auto_free) char *path = kb_strf("%s/%s", f.dir, files[i]);
        KB_CHECK(stat(path, &st) == 0 && (st.st_mode & 0777) == 0600);
    }
}

KB_TEST(pki, leaves_good_files_alone)
{
    struct fixture f;
    setup(&f);
    ensure(&f);
    char *before[KB_COUNT(files)];
    for (size_t i = 0; i < KB_COUNT(files); i++)
        before[i] = content(&f, files[i]);
    KB_CHECK(!ensure(&f));
    for (size_t i = 0; i < KB_COUNT(files); i++) {
        KB_AUTO(kb_auto_free) char *after = content(&f, files[i]);
        KB_CHECK_STR(after, before[i]);
        free(before[i]);
    }
}

KB_TEST(pki, mends_any_missing_or_broken_file)
{
    for (size_t i = 0; i < 2 * KB_COUNT(files); i++) {
        struct fixture f;
        setup(&f);
        ensure(&f);
        KB_AUTO(kb_auto_free) char *path = kb_strf("%s/%s", f.dir, files[i / 2]);
        if (i % 2)
            KB_CHECK_I64(kb_file_write(path, kb_str_of("-----BEGIN nonsense"), 0600, NULL), ==, 0);
        else
            KB_CHECK(unlink(path) == 0);
        ensure(&f);
        KB_CHECK_I64(
            openssl(&f, "verify -attime 1800000000 -CAfile ca.crt apiserver.crt admin.crt"), ==, 0);
        KB_CHECK(!ensure(&f));
    }
}

KB_TEST(pki, renews_before_the_end_and_keeps_the_ca)
{
    struct fixture f;
    setup(&f);
    ensure(&f);
    KB_AUTO(kb_auto_free) char *ca = content(&f, "ca.crt");
    KB_AUTO(kb_auto_free) char *key = content(&f, "apiserver.key");
    KB_AUTO(kb_auto_free) char *old = content(&f, "apiserver.crt");
    f.config.wall_us += (int64_t)340 * 86400 * 1000000;
    KB_CHECK(ensure(&f));
    KB_AUTO(kb_auto_free) char *same_ca = content(&f, "ca.crt");
    KB_AUTO(kb_auto_free) char *same_key = content(&f, "apiserver.key");
    KB_AUTO(kb_auto_free) char *new = content(&f, "apiserver.crt");
    KB_CHECK_STR(same_ca, ca);
    KB_CHECK_STR(same_key, key);
    KB_CHECK(strcmp(old, new) != 0);
    f.config.wall_us += (int64_t)3600 * 86400 * 1000000;
    KB_CHECK(ensure(&f));
    KB_AUTO(kb_auto_free) char *new_ca = content(&f, "ca.crt");
    KB_CHECK(strcmp(new_ca, ca) != 0);
}

KB_TEST(pki, a_new_address_gets_a_new_certificate)
{
    struct fixture f;
    setup(&f);
    ensure(&f);
    f.config.host = "192.168.7.7";
    KB_CHECK(ensure(&f));
    KB_CHECK_I64(
        openssl(&f,
                "verify -attime 1800000000 -CAfile ca.crt -verify_ip 192.168.7.7 apiserver.crt"),
        ==, 0);
}

KB_TEST(pki, writes_a_kubeconfig_that_embeds_it)
{
    struct fixture f;
    setup(&f);
    f.config.host = "0.0.0.0";
    ensure(&f);
    KB_AUTO(kb_buf_finish) struct kb_buf text = {0}, encoded = {0};
    KB_CHECK_I64(kb_file_read(f.kubeconfig, 1 << 20, &text, NULL), ==, 0);
    KB_CHECK(strstr(text.p, "server: https://127.0.0.1:6443\n") != NULL);
    KB_CHECK(strstr(text.p, "current-context: kubus\n") != NULL);
    KB_AUTO(kb_auto_free) char *ca = content(&f, "ca.crt");
    kb_base64_encode(kb_str_of(ca), &encoded);
    KB_CHECK(strstr(text.p, encoded.p) != NULL);
}
