#include "agent/image/image.h"
#include "agent/image/sha256.h"
#include "agent/image/shown.h"
#include "agent/files.h"
#include "agent/job.h"
#include "bus/base/clock.h"
#include "bus/base/file.h"
#include "tests/lib/test.h"

#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <unistd.h>

static void check_name(const char *ref, const char *want)
{
    char name[KB_IMAGE_NAME_BYTES];
    bool ok = kb_image_normalize(ref, name);
    KB_CHECK(ok == (want != NULL));
    KB_CHECK_STR(name, want ? want : "");
}

KB_TEST(image, names_have_a_full_form)
{
    check_name("busybox", "docker.io/library/busybox:latest");
    check_name("busybox:1.35", "docker.io/library/busybox:1.35");
    check_name("docker.io/library/busybox", "docker.io/library/busybox:latest");
    check_name("grafana/grafana:9", "docker.io/grafana/grafana:9");
    check_name("localhost/app", "localhost/app:latest");
    check_name("reg.example:5000/a/b:v1", "reg.example:5000/a/b:v1");
    check_name("reg.example:5000/a/b", "reg.example:5000/a/b:latest");
    check_name("busybox:1@sha256:00", "docker.io/library/busybox@sha256:00");
    check_name("InvalidName", NULL);
    check_name("", NULL);
    check_name("a b", NULL);
    check_name(".hidden/x", NULL);
    check_name("../x", NULL);
}

KB_TEST(image, sha256_agrees_with_the_standard)
{
    char hex[KB_SHA256_HEX];
    struct kb_sha256 sha;
    kb_sha256_init(&sha);
    kb_sha256_hex(&sha, hex);
    KB_CHECK_STR(hex, "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
    kb_sha256_init(&sha);
    kb_sha256_add(&sha, "abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq", 56);
    kb_sha256_hex(&sha, hex);
    KB_CHECK_STR(hex, "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1");
    kb_sha256_init(&sha);
    for (int i = 0; i < 1000; i++)
        for (int j = 0; j < 10; j++)
            kb_sha256_add(
                &sha,
                "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
                "aaaaaaaaaaaaaaaaaaaaaaaa",
                100);
    kb_sha256_hex(&sha, hex);
    KB_CHECK_STR(hex, "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0");
}

KB_TEST(image, busybox_is_made_here_and_opens_under_its_names)
{
    struct kb_err err = {0};
    KB_AUTO(kb_image_finish) struct kb_image image = {0}, same = {0};
    KB_AUTO(kb_auto_free) char *dir = kb_strf("%s/images", kb_test_dir());
    KB_CHECK(!kb_image_present(dir, "busybox"));
    KB_CHECK_OK(kb_image_busybox(dir, &err), &err);
    KB_CHECK_OK(kb_image_busybox(dir, &err), &err); /* again: nothing to do */
    KB_CHECK(kb_image_present(dir, "busybox:1.35"));
    KB_CHECK(!kb_image_present(dir, "busybox:9"));
    KB_CHECK_OK(kb_image_open(dir, "busybox", &image, &err), &err);
    KB_CHECK_STR(image.cmd[0], "sh");
    KB_CHECK_U64(image.n_layers, ==, 1);
    KB_AUTO(kb_auto_free) char *applet = kb_strf("%s/bin/httpd", image.layers[0]);
    KB_CHECK(access(applet, X_OK) == 0);
    KB_CHECK_OK(kb_image_open(dir, image.id, &same, &err), &err);
    KB_CHECK_STR(same.id, image.id);
}

/* The folder of references has changed long ago. */
static void age(const char *dir)
{
    const struct timespec then[2] = {{1000, 0}, {1000, 0}};
    KB_AUTO(kb_auto_free) char *refs = kb_strf("%s/refs", dir);
    KB_CHECK(utimensat(AT_FDCWD, refs, then, 0) == 0);
}

static size_t shown_names(struct kb_images_shown *shown, const char *dir)
{
    kb_val list = kb_images_shown(shown, dir, kb_clock_wall_us(kb_clock_system()));
    KB_CHECK_U64(kb_val_count(list), ==, 1);
    KB_CHECK(kb_val_int_at(list, "[0].sizeBytes", 0) > 0);
    return kb_val_count(kb_val_at(list, "[0].names"));
}

KB_TEST(image, what_is_shown_is_read_again_when_an_image_comes_or_goes)
{
    struct kb_err err = {0};
    KB_AUTO(kb_images_shown_finish) struct kb_images_shown shown = {0};
    KB_AUTO(kb_auto_free) char *dir = kb_strf("%s/images", kb_test_dir());
    KB_AUTO(kb_auto_free) char *from = kb_strf("%s/refs/docker.io~library~busybox:1.35", dir);
    KB_AUTO(kb_auto_free) char *to = kb_strf("%s/refs/docker.io~library~busybox:9", dir);
    KB_CHECK_U64(kb_val_count(kb_images_shown(&shown, dir, 5000000)), ==, 0);
    KB_CHECK_OK(kb_image_busybox(dir, &err), &err);
    size_t names = shown_names(&shown, dir); /* just now: there may be more in the same instant */
    KB_CHECK_U64(shown_names(&shown, dir), ==, names);
    KB_CHECK_U64(shown.scans, ==, 3);
    age(dir);
    for (int i = 0; i < 5; i++)
        KB_CHECK_U64(shown_names(&shown, dir), ==, names);
    KB_CHECK_U64(shown.scans, ==, 4);
    KB_CHECK(link(from, to) == 0);
    KB_CHECK_U64(shown_names(&shown, dir), ==, names + 1);
    age(dir);
    KB_CHECK(unlink(to) == 0);
    KB_CHECK_U64(shown_names(&shown, dir), ==, names);
}

static void run(const char *command, const char *arg)
{
    struct kb_err err = {0};
    const char *argv[] = {"sh", "-ec", command, "sh", arg, NULL};
    KB_CHECK_OK(kb_spawn(argv, (kb_str){0}, NULL, NULL, &err), &err);
}

KB_TEST(image, whiteouts_become_those_of_overlay)
{
    struct kb_err err = {0};
    struct stat st;
    char value[4] = "";
    KB_AUTO(kb_auto_free) char *tar = kb_strf("%s/l.tar", kb_test_dir());
    KB_AUTO(kb_auto_free) char *out = kb_strf("%s/out", kb_test_dir());
    run("cd $1; mkdir -p t/d t/e; touch t/.wh.gone t/d/.wh..wh..opq t/e/kept; tar -C t -czf l.tar "
        ".",
        kb_test_dir());
    KB_CHECK_OK(kb__image_unpack(tar, out, &err), &err);
    KB_AUTO(kb_auto_free) char *gone = kb_strf("%s/gone", out);
    KB_CHECK(lstat(gone, &st) == 0 && S_ISCHR(st.st_mode) && st.st_rdev == 0);
    KB_AUTO(kb_auto_free) char *opaque = kb_strf("%s/d", out);
    KB_CHECK(getxattr(opaque, "trusted.overlay.opaque", value, 4) == 1 && value[0] == 'y');
    KB_AUTO(kb_auto_free) char *marker = kb_strf("%s/d/.wh..wh..opq", out);
    KB_CHECK(!kb_path_exists(marker));
}

/* What a registry's tool complains, as the pull's error in words for people. */
static void check_pull_error(const char *complaint, const char *want)
{
    struct kb_err err = {0};
    KB_AUTO(kb_auto_free) char *images = kb_strf("%s/images", kb_test_dir());
    KB_AUTO(kb_auto_free) char *script = kb_strf("%s/skopeo", kb_test_dir());
    KB_AUTO(kb_auto_free) char *path = kb_strf("%s:%s", kb_test_dir(), getenv("PATH"));
    KB_AUTO(kb_auto_free)
    char *text = kb_strf("#!/bin/sh\ncat >&2 <<'END'\n%s\nEND\nexit 1\n", complaint);
    KB_CHECK_OK(kb_file_write(script, kb_str_of(text), 0755, &err), &err);
    setenv("PATH", path, 1);
    KB_CHECK_I64(kb_image_pull(images, "busybox", &err), <, 0);
    KB_CHECK_STR(err.text, want);
}

KB_TEST(image, a_pull_that_fails_says_why_in_plain_words)
{
    check_pull_error("time=\"2026-01-01T00:00:00Z\" level=warning msg=\"slow\"\n"
                     "time=\"2026-01-01T00:00:01Z\" level=fatal msg=\"Get \\\"https://r/v2/\\\": "
                     "connection refused\"",
                     "failed to pull and unpack image \"docker.io/library/busybox:latest\": "
                     "Get \"https://r/v2/\": connection refused");
    check_pull_error("no such tool",
                     "failed to pull and unpack image \"docker.io/library/busybox:latest\": "
                     "skopeo: exit status 1: no such tool");
}

KB_TEST(image, comes_from_a_layout_an_archive_and_what_docker_saves)
{
    struct kb_err err = {0};
    const char *top = kb_test_dir();
    KB_AUTO(kb_auto_free) char *from = kb_strf("%s/from", top);
    KB_AUTO(kb_auto_free) char *to = kb_strf("%s/to", top);
    KB_AUTO(kb_auto_free) char *layout = kb_strf("%s/layout", top);
    KB_AUTO(kb_auto_free) char *archive = kb_strf("%s/layout.tar", top);
    KB_AUTO(kb_auto_free) char *docker = kb_strf("%s/docker.tar", top);
    KB_CHECK_OK(kb_image_busybox(from, &err), &err);
    run("cd $1; mkdir layout; cp -r from/blobs layout; printf '{\"imageLayoutVersion\":\"1.0.0\"}' "
        ">layout/oci-layout;"
        "m=$(sed 's/.*://; s/ .*//' from/refs/docker.io~library~busybox:latest); s=$(stat -c %s "
        "from/blobs/sha256/$m);"
        "printf "
        "'{\"schemaVersion\":2,\"manifests\":[{\"mediaType\":\"application/"
        "vnd.oci.image.manifest.v1+json\","
        "\"digest\":\"sha256:%s\",\"size\":%s,\"annotations\":{\"org.opencontainers.image.ref."
        "name\":\"app:v1\"}}]}' $m $s"
        " >layout/index.json; tar -C layout -cf layout.tar .;"
        "skopeo --insecure-policy copy -q oci:layout:app:v1 docker-archive:docker.tar:x:y",
        top);
    KB_CHECK_OK(kb_image_load(to, layout, NULL, &err), &err);
    KB_CHECK(kb_image_present(to, "app:v1"));
    KB_CHECK_OK(kb_image_load(to, archive, "other:v2", &err), &err);
    KB_CHECK(kb_image_present(to, "docker.io/library/other:v2"));
    KB_CHECK_OK(kb_image_load(to, docker, "third", &err), &err);
    KB_CHECK(kb_image_present(to, "third:latest"));
    /* A blob that is not what its name says is refused. */
    run("cd $1; for f in layout/blobs/sha256/*; do echo x >>$f; done; rm -rf to", top);
    KB_CHECK(kb_image_load(to, layout, NULL, &err) == -KB_EINVAL);
    KB_CHECK(!kb_image_present(to, "app:v1"));
}

/* ---- images that lie ---- */

#define ZEROS "0000000000000000000000000000000000000000000000000000000000000000"

static void put(const char *path, const char *text)
{
    struct kb_err err = {0};
    KB_AUTO(kb_auto_free) char *full = kb_strf("%s/%s", kb_test_dir(), path);
    KB_AUTO(kb_auto_free) char *folder = kb_str_dup(kb_str_of(full));
    *strrchr(folder, '/') = '\0';
    KB_CHECK_OK(kb_dir_make(folder, 0755, &err), &err);
    KB_CHECK_OK(kb_file_write(full, kb_str_of(text), 0644, &err), &err);
}

static void hex_of(const char *text, char hex[KB_SHA256_HEX])
{
    struct kb_sha256 sha;
    kb_sha256_init(&sha);
    kb_sha256_add(&sha, text, strlen(text));
    kb_sha256_hex(&sha, hex);
}

/* A layout whose one image has this layer's digest; loading it must fail with these words. */
static void check_refused_layer(const char *digest, const char *words)
{
    struct kb_err err = {0};
    char config[KB_SHA256_HEX], manifest[KB_SHA256_HEX];
    KB_AUTO(kb_auto_free) char *store = kb_strf("%s/store", kb_test_dir());
    KB_AUTO(kb_auto_free) char *layout = kb_strf("%s/layout", kb_test_dir());
    hex_of("{}", config);
    KB_AUTO(kb_auto_free)
    char *text = kb_strf("{\"config\":{\"digest\":\"sha256:%s\"},\"layers\":[{\"digest\":\"%s\"}]}",
                         config, digest);
    hex_of(text, manifest);
    KB_AUTO(kb_auto_free) char *config_path = kb_strf("layout/blobs/sha256/%s", config);
    KB_AUTO(kb_auto_free) char *manifest_path = kb_strf("layout/blobs/sha256/%s", manifest);
    KB_AUTO(kb_auto_free)
    char *index = kb_strf("{\"manifests\":[{\"digest\":\"sha256:%s\"}]}", manifest);
    put(config_path, "{}");
    put(manifest_path, text);
    put("layout/index.json", index);
    KB_CHECK_I64(kb_image_load(store, layout, "liar", &err), ==, -KB_EINVAL);
    if (strstr(err.text, words) == NULL)
        kb_test_fail(__FILE__, __LINE__, "%s", err.text);
    KB_CHECK(!kb_image_present(store, "liar"));
}

KB_TEST(image, a_layer_without_an_honest_digest_is_refused)
{
    check_refused_layer("sha256:../../../../../../etc", "is no sha256 digest");
    check_refused_layer("sha512:" ZEROS, "is no sha256 digest");
    check_refused_layer("sha256:.,upperdir=.,zzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzz",
                        "is no sha256 digest");
    /* 64 bytes, of which a path sees none: it would be the folder of all layers. */
    check_refused_layer(
        "sha256:\\u000000000000000000000000000000000000000000000000000000000000000000"
        "00",
        "is no sha256 digest");
}

KB_TEST(image, an_index_below_an_index_is_not_trusted_with_its_digests)
{
    struct kb_err err = {0};
    char hex[KB_SHA256_HEX];
    static const char text[] = "{\"manifests\":[{\"digest\":\"\\u0000aaaaaaaaaaaa\"}]}";
    hex_of(text, hex);
    KB_AUTO(kb_auto_free) char *path = kb_strf("layout/blobs/sha256/%s", hex);
    KB_AUTO(kb_auto_free)
    char *index = kb_strf("{\"manifests\":[{\"digest\":\"sha256:%s\"}]}", hex);
    KB_AUTO(kb_auto_free) char *store = kb_strf("%s/store", kb_test_dir());
    KB_AUTO(kb_auto_free) char *layout = kb_strf("%s/layout", kb_test_dir());
    KB_AUTO(kb_image_finish) struct kb_image image = {0};
    put(path, text);
    put("layout/index.json", index);
    /* What is not in the layout may be for another machine; opening it then fails. */
    KB_CHECK_OK(kb_image_load(store, layout, "liar", &err), &err);
    KB_CHECK_I64(kb_image_open(store, "liar", &image, &err), ==, -KB_EINVAL);
}

/* A manifest can be in the store without having come as one: as a layer of another image. */
KB_TEST(image, opening_trusts_no_digest_of_a_manifest_that_was_not_imported_as_one)
{
    struct kb_err err = {0};
    KB_AUTO(kb_image_finish) struct kb_image image = {0};
    KB_AUTO(kb_auto_free) char *store = kb_strf("%s/store", kb_test_dir());
    put("store/blobs/sha256/" ZEROS, "{\"config\":{\"digest\":\"sha256:" ZEROS "\"},\"layers\":["
                                     "{\"digest\":\"sha256:../../x,upperdir=y\"}]}");
    put("store/refs/docker.io~library~liar:latest", "sha256:" ZEROS);
    KB_CHECK_I64(kb_image_open(store, "liar", &image, &err), ==, -KB_EINVAL);
}

KB_TEST(image, a_pipe_where_a_file_should_be_is_refused_and_not_waited_for)
{
    struct kb_err err = {0};
    KB_AUTO(kb_auto_free) char *store = kb_strf("%s/store", kb_test_dir());
    KB_AUTO(kb_auto_free) char *layout = kb_strf("%s/layout", kb_test_dir());
    run("cd $1; mkdir -p layout; mkfifo layout/index.json", kb_test_dir());
    KB_CHECK_I64(kb_image_load(store, layout, "liar", &err), ==, -KB_EINVAL);
}
