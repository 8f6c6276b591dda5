/* Links in places that others fill: none may lead out. */
#include "agent/files.h"
#include "agent/inside.h"
#include "agent/job.h"
#include "agent/oci_config.h"
#include "agent/resolve.h"
#include "agent/runtime_shim.h"
#include "bus/base/file.h"
#include "bus/model/json.h"
#include "tests/lib/test.h"

#include <sched.h>
#include <stdlib.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

static void run(const char *command)
{
    struct kb_err err = {0};
    KB_AUTO(kb_auto_free) char *line = kb_strf("cd %s; %s", kb_test_dir(), command);
    const char *argv[] = {"sh", "-ec", line, NULL};
    KB_CHECK_OK(kb_spawn(argv, (kb_str){0}, NULL, NULL, &err), &err);
}

static const char *at(const char *path)
{
    return kb_test_keep(kb_strf("%s/%s", kb_test_dir(), path));
}

static void check_leads_out(const char *path)
{
    struct kb_err err = {0};
    KB_CHECK_I64(kb_inside_make(at("volume"), path, &err), ==, -KB_EFORBIDDEN);
}

KB_TEST(inside, no_link_leads_out_and_nothing_is_made_out_there)
{
    run("mkdir volume volume-secret outside; ln -s ../volume-secret volume/beside;"
        "ln -s $PWD/outside volume/absolute; ln -s .. volume/up; ln -s / volume/root");
    check_leads_out("beside");
    check_leads_out("beside/new");
    check_leads_out("absolute/new");
    check_leads_out("up/outside/new");
    check_leads_out("root/tmp");
    check_leads_out("../volume");
    check_leads_out("a/../../volume");
    check_leads_out("/tmp");
    run("test -z \"$(ls outside; ls volume-secret)\"");
}

KB_TEST(inside, what_is_missing_is_made_as_open_as_the_volume_and_links_inside_are_followed)
{
    struct kb_err err = {0};
    struct stat made, real;
    run("mkdir -p volume/real/x; chmod 2777 volume; ln -s real volume/link");
    KB_AUTO(kb_auto_close) int fd = kb_inside_make(at("volume"), "new/deep..er/./most", &err);
    KB_CHECK(fd >= 0 && fstat(fd, &made) == 0);
    KB_CHECK_U64(made.st_mode, ==, S_IFDIR | 02777);
    KB_CHECK(kb_path_exists(at("volume/new/deep..er/most")));
    KB_AUTO(kb_auto_close) int linked = kb_inside_make(at("volume"), "link/x", &err);
    KB_CHECK(linked >= 0 && fstat(linked, &made) == 0);
    KB_CHECK(stat(at("volume/real/x"), &real) == 0 && real.st_ino == made.st_ino);
}

KB_TEST(inside, what_was_opened_is_bound_whatever_stands_in_its_place_by_then)
{
    struct kb_err err = {0};
    KB_CHECK(unshare(CLONE_NEWNS) == 0);
    KB_CHECK(mount("", "/", NULL, MS_PRIVATE | MS_REC, NULL) == 0);
    run("mkdir -p volume/sub outside; touch volume/sub/mine outside/theirs; echo text "
        ">volume/file");
    KB_AUTO(kb_auto_close) int fd = kb_inside_make(at("volume"), "sub", &err);
    KB_AUTO(kb_auto_close) int file = kb_inside_make(at("volume"), "file", &err);
    KB_CHECK(fd >= 0 && file >= 0);
    run("mv volume/sub volume/moved; ln -s ../outside volume/sub");
    KB_CHECK_OK(kb_inside_bind(fd, at("bound/0"), &err), &err);
    KB_CHECK(kb_path_exists(at("bound/0/mine")) && !kb_path_exists(at("bound/0/theirs")));
    KB_CHECK_OK(kb_inside_bind(file, at("bound/0"), &err), &err); /* in place of an earlier one */
    run("grep -q text bound/0");
    KB_CHECK(umount2(at("bound/0"), MNT_DETACH) == 0);
}

KB_TEST(inside, a_file_is_read_as_the_container_would_see_it)
{
    struct kb_err err = {0};
    KB_AUTO(kb_buf_finish) struct kb_buf text = {0};
    run("mkdir -p root/etc root/real; echo host >passwd; echo own >root/real/passwd;"
        "ln -s /real/passwd root/etc/passwd; ln -s ../../passwd root/etc/group;"
        "mkfifo root/etc/pipe; head -c 5000 /dev/zero >root/long");
    KB_CHECK_OK(kb_inside_read(at("root"), "/etc/passwd", 4096, &text, &err), &err);
    KB_CHECK_STRN(kb_buf_str(&text), "own\n");
    KB_CHECK(kb_inside_read(at("root"), "/etc/group", 4096, &text, &err) == -KB_ENOTFOUND);
    KB_CHECK(kb_inside_read(at("root"), "/etc/pipe", 4096, &text, &err) == -KB_EINVAL);
    KB_CHECK(kb_inside_read(at("root"), "/long", 4096, &text, &err) == -KB_EINVAL);
    KB_CHECK_STRN(kb_buf_str(&text), "own\n");
}

/* ---- who stands on it ---- */

static const char *none[] = {NULL}, *command[] = {"sh", NULL};

static int config_of_user(const char *user, bool run_as_non_root, struct kb_err *err)
{
    KB_AUTO(kb_buf_finish) struct kb_buf out = {0};
    struct kb_image image = {.entrypoint = none, .cmd = command, .env = none, .cwd = ""};
    struct kb_rt_container_spec spec = {
        .uid = KB_RT_UNSET, .gid = KB_RT_UNSET, .run_as_non_root = run_as_non_root};
    struct kb_oci_place place = {.rootfs = at("root"), .sandbox = kb_test_dir()};
    image.user = user;
    return kb_oci_config(&spec, &image, &place, &out, err);
}

KB_TEST(inside, an_image_finds_no_user_of_the_node)
{
    struct kb_err err = {0};
    run("mkdir -p root/etc; echo node:x:7:7::/: >passwd; ln -s ../../passwd root/etc/passwd");
    KB_CHECK_I64(config_of_user("node", false, &err), ==, -KB_EINVAL);
    /* 2^32 would be root for who cuts it to 32 bits. */
    KB_CHECK_I64(config_of_user("4294967296", true, &err), ==, -KB_EINVAL);
    KB_CHECK_STR(err.text, "uids and gids must be in range 0-2147483647");
}

static const char pod_json[] =
    "{\"metadata\":{\"name\":\"p\",\"namespace\":\"d\",\"uid\":\"u\"},\"spec\":{"
    "\"volumes\":[{\"name\":\"data\",\"emptyDir\":{}},"
    "{\"name\":\"words\",\"projected\":{\"sources\":[]}},"
    "{\"name\":\"down\",\"downwardAPI\":{\"items\":[]}}],"
    "\"containers\":[{\"name\":\"c\",\"image\":\"i\",\"volumeMounts\":["
    "{\"name\":\"words\",\"mountPath\":\"/words\"},{\"name\":\"down\",\"mountPath\":\"/down\"},"
    "{\"name\":\"data\",\"mountPath\":\"/data\",\"subPath\":\"a/b\"}]}]}}";

static int resolve(struct kb_arena *arena, struct kb_rt_container_spec *spec, struct kb_err *err)
{
    KB_AUTO(kb_doc_destroy) struct kb_doc *doc = NULL;
    KB_CHECK_OK(kb_json_doc(kb_str_of(pod_json), &doc, err), err);
    kb_val pod = kb_doc_root(doc);
    struct kb_resolve r = {.pod = pod,
                           .node = "n",
                           .node_ip = "1.2.3.4",
                           .pod_ip = "",
                           .pod_dir = kb_test_dir(),
                           .cluster_domain = "cluster.local"};
    *spec = (struct kb_rt_container_spec){.ref = {"u", "c", 0}};
    return kb_resolve_container(&r, kb_val_at(pod, "spec.containers[0]"), arena, spec, err);
}

KB_TEST(inside, volumes_that_reflect_objects_are_not_written_by_containers)
{
    struct kb_err err = {0};
    struct kb_rt_container_spec spec;
    KB_AUTO(kb_arena_finish) struct kb_arena arena = {0};
    KB_CHECK(unshare(CLONE_NEWNS) == 0);
    KB_CHECK(mount("", "/", NULL, MS_PRIVATE | MS_REC, NULL) == 0);
    run("mkdir -p volumes/data");
    KB_CHECK_OK(resolve(&arena, &spec, &err), &err);
    KB_CHECK_STR(spec.mounts[2].source, at("volumes/data"));
    KB_CHECK(!kb_path_exists(at("volumes/data/a"))); /* its file system may hang */
    struct kb_rt_mount mounts[3] = {spec.mounts[0], spec.mounts[1], spec.mounts[2]};
    KB_CHECK_OK(kb__shim_sub_paths(mounts, 3, &err), &err);
    KB_CHECK(spec.mounts[0].read_only && spec.mounts[1].read_only && !spec.mounts[2].read_only);
    KB_CHECK(kb_path_exists(at("volumes/data/a/b")));
    KB_CHECK_STR(mounts[0].source, spec.mounts[0].source);
    KB_CHECK_STR(mounts[2].source, at("subpaths/c/2"));
    KB_CHECK(umount2(at("subpaths/c/2"), MNT_DETACH) == 0);
}

KB_TEST(inside, a_sub_path_through_a_link_to_elsewhere_is_refused)
{
    struct kb_err err = {0};
    struct kb_rt_container_spec spec;
    KB_AUTO(kb_arena_finish) struct kb_arena arena = {0};
    run("mkdir -p volumes/data volumes/data-of-another; ln -s ../data-of-another volumes/data/a");
    KB_CHECK_OK(resolve(&arena, &spec, &err), &err);
    struct kb_rt_mount mount = spec.mounts[2];
    KB_CHECK_I64(kb__shim_sub_paths(&mount, 1, &err), ==, -KB_EFORBIDDEN);
    run("test -z \"$(ls volumes/data-of-another)\"");
}
