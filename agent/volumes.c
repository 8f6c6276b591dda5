#include "agent/volumes.h"
#include "agent/files.h"
#include "bus/base/base64.h"
#include "bus/base/check.h"
#include "bus/base/file.h"
#include "bus/base/grow.h"
#include "bus/model/meta.h"
#include "bus/model/quantity.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

/* ---- files that change together ---- */

struct file {
    char *path; /* relative, maybe with folders */
    struct kb_buf bytes;
    mode_t mode;
};

struct files {
    struct file *list;
    size_t n, cap;
};

static void files_finish(struct files *files)
{
    for (size_t i = 0; i < files->n; i++) {
        free(files->list[i].path);
        kb_buf_finish(&files->list[i].bytes);
    }
    free(files->list);
}

static bool path_is_safe(kb_str path)
{
    kb_str rest = path;
    if (path.n == 0 || path.p[0] == '/')
        return false;
    while (rest.p != NULL) {
        kb_str part = kb_str_cut(&rest, '/');
        if (part.n == 0 || kb_str_is(part, "..") || (kb_str_starts(part, "..") && part.p == path.p))
            return false;
    }
    return true;
}

/* Where the bytes of one more file go, until the next is added. NULL: no path for a file. */
static struct kb_buf *file_add(struct files *files, kb_str path, mode_t mode)
{
    if (!path_is_safe(path))
        return NULL;
    KB_GROW(files->list, files->n, files->cap, 16);
    struct file *file = &files->list[files->n++];
    *file = (struct file){.path = kb_str_dup(path), .mode = mode};
    return &file->bytes;
}

static bool same_content(const char *folder, const struct files *files)
{
    KB_AUTO(kb_buf_finish) struct kb_buf old = {0};
    for (size_t i = 0; i < files->n; i++) {
        KB_AUTO(kb_auto_free) char *path = kb_strf("%s/..data/%s", folder, files->list[i].path);
        struct stat st;
        if (stat(path, &st) < 0 || (st.st_mode & 0707) != (files->list[i].mode & 0707) ||
            !kb_str_eq(kb_get_file(path, &old), kb_buf_str(&files->list[i].bytes)))
            return false;
    }
    KB_AUTO(kb_auto_free) char *count_path = kb_strf("%s/..data/..count", folder);
    uint64_t count = 0;
    return kb_str_u64(kb_get_file(count_path, &old), &count) && count == files->n;
}

static int write_one(const char *folder, const struct file *file, int64_t group, struct kb_err *err)
{
    KB_AUTO(kb_auto_free) char *path = kb_strf("%s/%s", folder, file->path);
    char *slash = strrchr(path, '/');
    *slash = '\0';
    if (kb_dir_make(path, 0755, err) < 0)
        return -err->code;
    *slash = '/';
    mode_t mode = file->mode | (group >= 0 ? (file->mode & 0400) >> 3 : 0);
    if (kb_put_file(path, kb_buf_str(&file->bytes), mode, err) < 0)
        return -err->code;
    if (group >= 0)
        (void)!chown(path, (uid_t)-1, (gid_t)group);
    return 0;
}

/* Point `link` to `target`, replacing what is there in one step. */
static int relink(const char *link, const char *target, struct kb_err *err)
{
    char is[PATH_MAX];
    ssize_t n = readlink(link, is, sizeof is);
    if (n >= 0 && kb_str_is(kb_str_n(is, (size_t)n), target))
        return 0;
    KB_AUTO(kb_auto_free) char *fresh = kb_strf("%s_tmp", link);
    unlink(fresh);
    if (symlink(target, fresh) < 0 || rename(fresh, link) < 0)
        return kb_err_sys(err, errno, "link '%s'", link);
    return 0;
}

static bool first_part_in(const struct files *files, const char *name)
{
    size_t n = strlen(name);
    for (size_t i = 0; i < files->n; i++)
        if (strncmp(files->list[i].path, name, n) == 0 &&
            (files->list[i].path[n] == '\0' || files->list[i].path[n] == '/'))
            return true;
    return false;
}

/* Visible names that are no more, and folders of earlier times. */
static void sweep(const char *folder, const char *current, const struct files *files)
{
    DIR *dir = opendir(folder);
    for (struct dirent *entry; dir != NULL && (entry = readdir(dir)) != NULL;) {
        const char *name = entry->d_name;
        KB_AUTO(kb_auto_free) char *path = kb_strf("%s/%s", folder, name);
        if (strcmp(name, ".") == 0 || strcmp(name, "..") == 0 || strcmp(name, "..data") == 0 ||
            strcmp(name, current) == 0)
            continue;
        if (name[0] == '.' && name[1] == '.')
            (void)kb_dir_remove(path, NULL);
        else if (!first_part_in(files, name))
            unlink(path);
    }
    if (dir != NULL)
        closedir(dir);
}

static int publish(const char *folder, const struct files *files, int64_t group, struct kb_err *err)
{
    char stamp[64], count[24];
    struct timespec now;
    if (kb_dir_make(folder, 0755, err) < 0)
        return -err->code;
    if (same_content(folder, files))
        return 0;
    clock_gettime(CLOCK_REALTIME, &now);
    snprintf(stamp, sizeof stamp, "..%lld.%09ld", (long long)now.tv_sec, now.tv_nsec);
    KB_AUTO(kb_auto_free) char *fresh = kb_strf("%s/%s", folder, stamp);
    KB_AUTO(kb_auto_free) char *data = kb_strf("%s/..data", folder);
    KB_AUTO(kb_auto_free) char *count_path = kb_strf("%s/..count", fresh);
    if (mkdir(fresh, 0755) < 0)
        return kb_err_sys(err, errno, "make '%s'", fresh);
    for (size_t i = 0; i < files->n; i++)
        if (write_one(fresh, &files->list[i], group, err) < 0)
            return -err->code;
    snprintf(count, sizeof count, "%zu", files->n);
    if (kb_put_file(count_path, kb_str_of(count), 0600, err) < 0 || relink(data, stamp, err) < 0)
        return -err->code;
    for (size_t i = 0; i < files->n; i++) {
        kb_str rest = kb_str_of(files->list[i].path);
        kb_str first = kb_str_cut(&rest, '/');
        KB_AUTO(kb_auto_free) char *name = kb_strf("%s/" KB_STR_FMT, folder, KB_STR_ARG(first));
        KB_AUTO(kb_auto_free) char *target = kb_strf("..data/" KB_STR_FMT, KB_STR_ARG(first));
        if (relink(name, target, err) < 0)
            return -err->code;
    }
    sweep(folder, stamp, files);
    return 0;
}

/* ---- sources ---- */

static int add_value(struct files *files, kb_str path, mode_t mode, kb_str text, bool base64)
{
    struct kb_buf *out = file_add(files, path, mode);
    if (out == NULL)
        return -1;
    if (base64)
        return kb_base64_decode(text, out);
    kb_buf_add_str(out, text);
    return 0;
}

/* The keys of an object: all, or those that `items` name. */
static int add_object(struct files *files, kb_val object, bool secret, kb_val items, mode_t mode,
                      const char *what, kb_str name, bool optional, struct kb_err *err)
{
    kb_val data = kb_val_get(object, "data"), binary = kb_val_get(object, "binaryData");
    if (!kb_val_present(items)) {
        for (struct kb_iter it = kb_iter(data); kb_iter_next(&it);)
            (void)add_value(files, it.key, mode, kb_val_str(it.val), secret);
        for (struct kb_iter it = kb_iter(binary); kb_iter_next(&it);)
            (void)add_value(files, it.key, mode, kb_val_str(it.val), true);
        return 0;
    }
    for (struct kb_iter it = kb_iter(items); kb_iter_next(&it);) {
        kb_str key = kb_val_str_at(it.val, "key");
        kb_val text = kb_val_getn(data, key), bytes = kb_val_getn(binary, key);
        mode_t own = (mode_t)kb_val_int_at(it.val, "mode", mode);
        if (!kb_val_present(text) && !kb_val_present(bytes)) {
            if (optional)
                continue;
            return kb_err_set(err, KB_ENOTFOUND,
                              "references non-existent %s key: " KB_STR_FMT " (" KB_STR_FMT ")",
                              what, KB_STR_ARG(key), KB_STR_ARG(name));
        }
        bool is_text = kb_val_present(text);
        (void)add_value(files, kb_val_str_at(it.val, "path"), own,
                        kb_val_str(is_text ? text : bytes), is_text ? secret : true);
    }
    return 0;
}

static int from_object(const struct kb_resolve *r, struct files *files, kb_val source, bool secret,
                       kb_str name, mode_t mode, struct kb_err *err)
{
    kb_str ns = kb_meta_ns(r->pod);
    kb_val object = r->find(r->arg, secret ? "secrets" : "configmaps", ns, name);
    bool optional = kb_val_bool_at(source, "optional", false);
    if (!kb_val_present(object))
        return optional ? 0
                        : kb_err_set(err, KB_ENOTFOUND, "%s \"" KB_STR_FMT "\" not found",
                                     secret ? "secret" : "configmap", KB_STR_ARG(name));
    return add_object(files, object, secret, kb_val_get(source, "items"), mode,
                      secret ? "secret" : "config", name, optional, err);
}

static kb_val container_named(kb_val pod, kb_str name)
{
    for (struct kb_iter it = kb_iter(kb_val_at(pod, "spec.containers")); kb_iter_next(&it);)
        if (kb_str_eq(kb_val_str_at(it.val, "name"), name))
            return it.val;
    return (kb_val){0};
}

static void from_downward(const struct kb_resolve *r, struct files *files, kb_val items,
                          mode_t mode)
{
    for (struct kb_iter it = kb_iter(items); kb_iter_next(&it);) {
        kb_val field = kb_val_get(it.val, "fieldRef"),
               resource = kb_val_get(it.val, "resourceFieldRef");
        struct kb_buf *out = file_add(files, kb_val_str_at(it.val, "path"),
                                      (mode_t)kb_val_int_at(it.val, "mode", mode));
        if (out == NULL)
            continue;
        if (kb_val_present(field))
            (void)kb_resolve_field(r, kb_val_str_at(field, "fieldPath"), out);
        else
            (void)kb_resolve_resource(
                r, resource, container_named(r->pod, kb_val_str_at(resource, "containerName")),
                out);
    }
}

/* A serviceAccountToken needs somebody who issues tokens: without one its file is absent. */
static int from_projected(const struct kb_resolve *r, struct files *files, kb_val projected,
                          mode_t mode, struct kb_err *err)
{
    for (struct kb_iter it = kb_iter(kb_val_get(projected, "sources")); kb_iter_next(&it);) {
        kb_val c = kb_val_get(it.val, "configMap"), s = kb_val_get(it.val, "secret");
        if (kb_val_present(c) &&
            from_object(r, files, c, false, kb_val_str_at(c, "name"), mode, err) < 0)
            return -err->code;
        if (kb_val_present(s) &&
            from_object(r, files, s, true, kb_val_str_at(s, "name"), mode, err) < 0)
            return -err->code;
        from_downward(r, files, kb_val_at(it.val, "downwardAPI.items"), mode);
    }
    return 0;
}

static bool is_mounted(const char *folder)
{
    struct stat own, above;
    KB_AUTO(kb_auto_free) char *up = kb_strf("%s/..", folder);
    return stat(folder, &own) == 0 && stat(up, &above) == 0 && own.st_dev != above.st_dev;
}

/* A secret never comes to a disk. A volume that already has content stays where it is: containers
 * have it mounted. Who may not mount (a runtime without root) has it on the disk. */
static int keep_in_memory(const char *folder, struct kb_err *err)
{
    KB_AUTO(kb_auto_free) char *data = kb_strf("%s/..data", folder);
    if (kb_dir_make(folder, 0755, err) < 0)
        return -err->code;
    if (kb_path_exists(data) || is_mounted(folder))
        return 0;
    if (mount("tmpfs", folder, "tmpfs", MS_NOSUID | MS_NODEV, "mode=0755") < 0 && errno != EPERM)
        return kb_err_sys(err, errno, "mount tmpfs");
    return 0;
}

static int reflect(const struct kb_resolve *r, kb_val volume, const char *folder,
                   struct kb_err *err)
{
    KB_AUTO(files_finish) struct files files = {0};
    kb_val config = kb_val_get(volume, "configMap"), secret = kb_val_get(volume, "secret");
    kb_val downward = kb_val_get(volume, "downwardAPI"),
           projected = kb_val_get(volume, "projected");
    kb_val source = kb_val_present(config)     ? config
                    : kb_val_present(secret)   ? secret
                    : kb_val_present(downward) ? downward
                                               : projected;
    mode_t mode = (mode_t)kb_val_int_at(source, "defaultMode", 0644);
    int64_t group = kb_val_int_at(r->pod, "spec.securityContext.fsGroup", -1);
    int rc = 0;
    if (kb_val_present(config))
        rc = from_object(r, &files, config, false, kb_val_str_at(config, "name"), mode, err);
    else if (kb_val_present(secret))
        rc = from_object(r, &files, secret, true, kb_val_str_at(secret, "secretName"), mode, err);
    else if (kb_val_present(downward))
        from_downward(r, &files, kb_val_get(downward, "items"), mode);
    else
        rc = from_projected(r, &files, projected, mode, err);
    if (rc < 0 || (!kb_val_present(config) && (rc = keep_in_memory(folder, err)) < 0))
        return rc;
    return publish(folder, &files, group, err);
}

/* ---- the others ---- */

static int empty_dir(const struct kb_resolve *r, kb_val source, const char *folder,
                     struct kb_err *err)
{
    char options[96];
    int64_t size = kb_val_quantity(kb_val_get(source, "sizeLimit"), 0);
    int64_t group = kb_val_int_at(r->pod, "spec.securityContext.fsGroup", -1);
    bool fresh = !kb_path_exists(folder);
    if (kb_dir_make(folder, 0777, err) < 0)
        return -err->code;
    if (fresh)
        chmod(folder, group >= 0 ? 02777 : 0777); /* whatever the umask */
    if (fresh && group >= 0)
        (void)!chown(folder, (uid_t)-1, (gid_t)group);
    if (!kb_str_is(kb_val_str_at(source, "medium"), "Memory") || is_mounted(folder))
        return 0;
    int n = group >= 0 ? snprintf(options, sizeof options, "mode=2777,gid=%lld", (long long)group)
                       : snprintf(options, sizeof options, "mode=0777");
    if (size > 0)
        snprintf(options + n, sizeof options - (size_t)n, ",size=%lld", (long long)size);
    if (mount("tmpfs", folder, "tmpfs", 0, options) < 0)
        return kb_err_sys(err, errno, "mount tmpfs");
    return 0;
}

static int host_path(kb_val source, struct kb_err *err)
{
    static const struct {
        const char *type;
        mode_t format;
        const char *words;
    } checks[] = {{"Directory", S_IFDIR, "a directory"},
                  {"File", S_IFREG, "a file"},
                  {"Socket", S_IFSOCK, "a socket"},
                  {"CharDevice", S_IFCHR, "a character device"},
                  {"BlockDevice", S_IFBLK, "a block device"}};
    KB_AUTO(kb_auto_free) char *path = kb_str_dup(kb_val_str_at(source, "path"));
    kb_str type = kb_val_str_at(source, "type");
    struct stat st;
    bool there = stat(path, &st) == 0;
    if (kb_str_is(type, "DirectoryOrCreate") || (type.n == 0 && !there))
        return there && !S_ISDIR(st.st_mode)
                   ? kb_err_set(err, KB_EINVAL, "hostPath type check failed: %s is not a directory",
                                path)
                   : kb_dir_make(path, 0755, err);
    if (kb_str_is(type, "FileOrCreate") && !there) {
        int fd = open(path, O_CREAT | O_WRONLY | O_CLOEXEC, 0644);
        kb_auto_close(&fd);
        return kb_path_exists(path) ? 0 : kb_err_sys(err, errno, "make '%s'", path);
    }
    for (size_t i = 0; i < KB_COUNT(checks); i++)
        if (kb_str_is(type, checks[i].type) &&
            (!there || (st.st_mode & S_IFMT) != checks[i].format))
            return kb_err_set(err, KB_EINVAL, "hostPath type check failed: %s is not %s", path,
                              checks[i].words);
    return 0;
}

static int one_volume(const struct kb_resolve *r, kb_val volume, struct kb_err *err)
{
    static const char *const reflecting[] = {"configMap", "secret", "downwardAPI", "projected"};
    KB_AUTO(kb_auto_free)
    char *folder =
        kb_strf("%s/volumes/" KB_STR_FMT, r->pod_dir, KB_STR_ARG(kb_val_str_at(volume, "name")));
    kb_val empty = kb_val_get(volume, "emptyDir"), host = kb_val_get(volume, "hostPath");
    if (kb_val_present(empty))
        return empty_dir(r, empty, folder, err);
    if (kb_val_present(host))
        return host_path(host, err);
    for (size_t i = 0; i < KB_COUNT(reflecting); i++)
        if (kb_val_present(kb_val_get(volume, reflecting[i])))
            return reflect(r, volume, folder, err);
    return kb_err_set(err, KB_ENOSYS, "this kind of volume is not supported");
}

int kb_volumes_setup(const struct kb_resolve *r, uint32_t *made, struct kb_err *err)
{
    *made = 0;
    for (struct kb_iter it = kb_iter(kb_val_at(r->pod, "spec.volumes")); kb_iter_next(&it);) {
        if (one_volume(r, it.val, err) < 0)
            return kb_err_wrap(err, "MountVolume.SetUp failed for volume \"" KB_STR_FMT "\" ",
                               KB_STR_ARG(kb_val_str_at(it.val, "name")));
        ++*made;
    }
    return 0;
}
