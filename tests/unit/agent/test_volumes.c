/* Volumes that reflect objects, as files. */
#include "agent/files.h"
#include "agent/volumes.h"
#include "bus/model/json.h"
#include "tests/lib/test.h"

#include <sched.h>
#include <stdlib.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

struct objects {
    struct kb_doc *config, *secret;
};

static kb_val find(void *arg, const char *resource, kb_str ns, kb_str name)
{
    const struct objects *objects = arg;
    (void)ns, (void)name;
    return kb_doc_root(strcmp(resource, "secrets") == 0 ? objects->secret : objects->config);
}

static struct kb_doc *doc_of(const char *json)
{
    struct kb_err err = {0};
    struct kb_doc *doc = NULL;
    KB_CHECK_OK(kb_json_doc(kb_str_of(json), &doc, &err), &err);
    return doc;
}

/* One volume "v" with this source, in POD_DIR/volumes/v. */
static void set_up(const struct objects *objects, const char *source)
{
    struct kb_err err = {0};
    KB_AUTO(kb_auto_free)
    char *json = kb_strf("{\"metadata\":{\"name\":\"p\",\"namespace\":\"d\"},"
                         "\"spec\":{\"volumes\":[{\"name\":\"v\",%s}]}}",
                         source);
    KB_AUTO(kb_doc_destroy) struct kb_doc *pod = doc_of(json);
    struct kb_resolve r = {.pod = kb_doc_root(pod),
                           .pod_dir = kb_test_dir(),
                           .find = find,
                           .arg = (void *)(uintptr_t)objects};
    uint32_t made;
    KB_CHECK_OK(kb_volumes_setup(&r, &made, &err), &err);
    KB_CHECK_U64(made, ==, 1);
}

static const char *file(const char *name)
{
    return kb_test_keep(kb_strf("%s/volumes/v/%s", kb_test_dir(), name));
}

static void check_file(const char *name, const char *want)
{
    KB_AUTO(kb_buf_finish) struct kb_buf text = {0};
    KB_CHECK_STRN(kb_get_file(file(name), &text), want);
}

static void own_mounts(void)
{
    KB_CHECK(unshare(CLONE_NEWNS) == 0);
    KB_CHECK(mount("", "/", NULL, MS_PRIVATE | MS_REC, NULL) == 0);
}

KB_TEST(volumes, every_key_of_a_large_object_is_a_file)
{
    enum { KEYS = 600 };
    KB_AUTO(kb_buf_finish) struct kb_buf json = {0};
    kb_buf_puts(&json, "{\"data\":{");
    for (int i = 0; i < KEYS; i++)
        kb_buf_printf(&json, "%s\"k%d\":\"v%d\"", i ? "," : "", i, i);
    kb_buf_puts(&json, "}}");
    KB_AUTO(kb_doc_destroy) struct kb_doc *config = doc_of(json.p);
    struct objects objects = {.config = config};
    set_up(&objects, "\"configMap\":{\"name\":\"c\"}");
    check_file("k0", "v0");
    check_file("k599", "v599");
}

KB_TEST(volumes, a_secret_lies_in_memory_and_changes_in_one_step)
{
    own_mounts();
    struct stat volume, pod;
    KB_AUTO(kb_doc_destroy)
    struct kb_doc *first = doc_of("{\"data\":{\"a\":\"b25l\",\"b\":\"Yg==\"}}");
    KB_AUTO(kb_doc_destroy) struct kb_doc *second = doc_of("{\"data\":{\"a\":\"dHdv\"}}");
    struct objects objects = {.secret = first};
    static const char source[] = "\"secret\":{\"secretName\":\"s\",\"defaultMode\":256}";
    set_up(&objects, source);
    check_file("a", "one");
    KB_CHECK(stat(file(""), &volume) == 0 && stat(kb_test_dir(), &pod) == 0);
    KB_CHECK(volume.st_dev != pod.st_dev);
    KB_CHECK(stat(file("a"), &volume) == 0 && (volume.st_mode & 07777) == 0400);
    char was[256] = "", is[256] = "";
    KB_CHECK(readlink(file("..data"), was, sizeof was - 1) > 0);
    set_up(&objects, source); /* nothing new: nothing moves */
    KB_CHECK(readlink(file("..data"), is, sizeof is - 1) > 0);
    KB_CHECK_STR(is, was);
    objects.secret = second;
    set_up(&objects, source);
    check_file("a", "two");
    KB_CHECK(!kb_path_exists(file("b")) && !kb_path_exists(file(was)));
    KB_CHECK(umount2(file(""), MNT_DETACH) == 0);
}

KB_TEST(volumes, an_empty_folder_in_memory_has_its_size_wherever_the_pods_lie)
{
    own_mounts();
    KB_CHECK(mount("tmpfs", kb_test_dir(), "tmpfs", 0, NULL) == 0); /* as /tmp often is */
    struct objects objects = {0};
    struct stat volume, pod;
    static const char source[] = "\"emptyDir\":{\"medium\":\"Memory\",\"sizeLimit\":\"64Ki\"}";
    set_up(&objects, source);
    set_up(&objects, source);
    KB_CHECK(stat(file(""), &volume) == 0 && stat(kb_test_dir(), &pod) == 0);
    KB_CHECK(volume.st_dev != pod.st_dev);
    KB_CHECK(umount2(file(""), MNT_DETACH) == 0);
    KB_CHECK(umount2(kb_test_dir(), MNT_DETACH) == 0);
}
