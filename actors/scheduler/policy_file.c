#include "actors/scheduler/policy_file.h"

#include "actors/scheduler/core/profile.h"
#include "bus/base/check.h"
#include "bus/base/file.h"

#include <dirent.h>
#include <dlfcn.h>
#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

bool kb_policy_name_valid(const char *name)
{
    size_t n = strspn(name, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_");
    return n > 0 && n < 64 && name[n] == '\0' && !(name[0] >= '0' && name[0] <= '9');
}

/* ---- is it whole? ---- */

static bool is_whole(kb_str file)
{
    Elf64_Ehdr head;
    if (file.n < sizeof(head))
        return false;
    memcpy(&head, file.p, sizeof(head));
    if (memcmp(head.e_ident, ELFMAG, SELFMAG) != 0 || head.e_ident[EI_CLASS] != ELFCLASS64 ||
        head.e_type != ET_DYN || head.e_phentsize != sizeof(Elf64_Phdr) || head.e_phnum == 0 ||
        head.e_phoff > file.n || head.e_phnum > (file.n - head.e_phoff) / sizeof(Elf64_Phdr))
        return false;
    for (uint32_t i = 0; i < head.e_phnum; i++) {
        Elf64_Phdr segment;
        memcpy(&segment, file.p + head.e_phoff + i * sizeof(segment), sizeof(segment));
        if (segment.p_offset > file.n || segment.p_filesz > file.n - segment.p_offset)
            return false;
    }
    /* The table of sections stands at the end of what a linker writes. */
    return head.e_shoff == 0 ||
           (head.e_shoff <= file.n && head.e_shnum <= (file.n - head.e_shoff) / sizeof(Elf64_Shdr));
}

static int read_whole(const char *path, struct kb_buf *bytes, struct kb_err *err)
{
    struct stat st;
    if (stat(path, &st) < 0)
        return kb_err_sys(err, errno, "'%s'", path);
    if (!S_ISREG(st.st_mode))
        return kb_err_set(err, KB_EINVAL, "'%s' is no file", path);
    int rc = kb_file_read(path, KB_POLICY_FILE_MAX_BYTES, bytes, err);
    if (rc < 0)
        return kb_err_wrap(err, "'%s'", path);
    if (!is_whole(kb_buf_str(bytes)))
        return kb_err_set(err, KB_EINVAL, "'%s' is no whole shared object for this machine", path);
    return 0;
}

/* ---- open ---- */

void kb_policy_file_close(struct kb_policy_file **file_p)
{
    struct kb_policy_file *file = *file_p;
    if (file == NULL)
        return;
    if (file->handle)
        dlclose(file->handle);
    free(file->path);
    free(file);
    *file_p = NULL;
}

static int check(const struct kb_policy_file *file, struct kb_err *err)
{
    if (file->policy == NULL)
        return kb_err_set(err, KB_EINVAL, "it has no symbol kubus_policy (see KB_POLICY)");
    if (kb_policy_check(file->policy, err) < 0)
        return -KB_EINVAL;
    if (!kb_policy_name_valid(file->policy->name))
        return kb_err_set(err, KB_EINVAL, "'%.64s' is no name for a policy", file->policy->name);
    return 0;
}

static int open_bytes(const char *path, kb_str bytes, struct kb_policy_file **ret,
                      struct kb_err *err)
{
    KB_AUTO(kb_policy_file_close) struct kb_policy_file *file = calloc(1, sizeof(*file));
    KB_ASSERT(file != NULL);
    snprintf(file->version, sizeof(file->version), "%016" PRIx64, kb_hash64(bytes.p, bytes.n));
    file->path = kb_str_dup(kb_str_of(path));
    file->handle = dlopen(path, RTLD_NOW | RTLD_LOCAL);
    if (file->handle == NULL)
        return kb_err_set(err, KB_EINVAL, "%s", dlerror());
    file->policy = dlsym(file->handle, "kubus_policy");
    if (check(file, err) < 0)
        return kb_err_wrap(err, "'%s'", path);
    *ret = KB_STEAL(file);
    return 0;
}

int kb_policy_file_open(const char *path, struct kb_policy_file **ret, struct kb_err *err)
{
    KB_AUTO(kb_buf_finish) struct kb_buf bytes = {0};
    KB_AUTO(kb_auto_free) char *full = realpath(path, NULL); /* dlopen searches for bare names */
    int rc = read_whole(path, &bytes, err);
    return rc < 0 ? rc : open_bytes(full ? full : path, kb_buf_str(&bytes), ret, err);
}

/* ---- keep ---- */

char *kb_policy_file_kept(const char *dir, const char *name, const char *version)
{
    return kb_strf("%s/%s-%s.so", dir, name, version);
}

/* Its name is known only when it is open: it is opened under a name of its bytes alone, and that
 * name stays as a second one for the same file. */
int kb_policy_file_keep(const char *path, const char *dir, struct kb_policy_file **ret,
                        struct kb_err *err)
{
    KB_AUTO(kb_buf_finish) struct kb_buf bytes = {0};
    KB_AUTO(kb_policy_file_close) struct kb_policy_file *file = NULL;
    int rc = read_whole(path, &bytes, err);
    if (rc == 0)
        rc = kb_dir_make(dir, 0755, err);
    if (rc < 0)
        return rc;
    uint64_t hash = kb_hash64(bytes.p, bytes.n);
    KB_AUTO(kb_auto_free) char *copy = kb_strf("%s/%016" PRIx64 ".so", dir, hash);
    bool there = utimensat(AT_FDCWD, copy, NULL, 0) == 0; /* it is needed again */
    if (!there && kb_file_write(copy, kb_buf_str(&bytes), 0644, err) < 0)
        return kb_err_wrap(err, "keep '%s'", path);
    rc = open_bytes(copy, kb_buf_str(&bytes), &file, err);
    if (rc < 0) {
        unlink(copy);
        return rc;
    }
    KB_AUTO(kb_auto_free)
    char *kept = kb_policy_file_kept(dir, file->policy->name, file->version);
    if (link(copy, kept) < 0 && errno != EEXIST)
        return kb_err_sys(err, errno, "'%s'", kept);
    free(file->path);
    file->path = KB_STEAL(kept);
    *ret = KB_STEAL(file);
    return 0;
}

/* "NAME-VERSION.so" or "VERSION.so" */
static bool version_of(const char *file, char version[KB_POLICY_VERSION_BYTES])
{
    const char *dash = strchr(file, '-');
    kb_str text = kb_str_of(dash ? dash + 1 : file);
    if (!kb_str_ends(text, ".so") || text.n != KB_POLICY_VERSION_BYTES - 1 + 3)
        return false;
    return kb_str_copy(kb_str_n(text.p, text.n - 3), version, KB_POLICY_VERSION_BYTES);
}

void kb_policy_file_sweep(const char *dir, int64_t before_us,
                          bool (*used)(void *user, const char *version), void *user)
{
    DIR *files = opendir(dir);
    struct dirent *entry;
    char version[KB_POLICY_VERSION_BYTES];
    while (files && (entry = readdir(files)) != NULL) {
        struct stat st;
        if (version_of(entry->d_name, version) && !used(user, version) &&
            fstatat(dirfd(files), entry->d_name, &st, AT_SYMLINK_NOFOLLOW) == 0 &&
            (int64_t)st.st_mtim.tv_sec * 1000000 < before_us)
            unlinkat(dirfd(files), entry->d_name, 0);
    }
    if (files)
        closedir(files);
}

/* ---- shipped ---- */

/* The folder of the module or program that this code is linked into. */
static char *own_folder(void)
{
    Dl_info info;
    if (dladdr(kb_profile_default, &info) == 0 || info.dli_fname == NULL)
        return NULL;
    char *path = realpath(info.dli_fname, NULL);
    char *slash = path ? strrchr(path, '/') : NULL;
    if (slash)
        *slash = '\0';
    return path;
}

char *kb_policy_file_shipped(const char *name)
{
    static const char *const folders[] = {"policies", "../lib/kubus/policies"};
    const char *lib = getenv("KUBUS_LIB");
    KB_AUTO(kb_auto_free) char *own = own_folder();
    if (!kb_policy_name_valid(name))
        return NULL;
    if (lib)
        return kb_strf("%s/policies/%s.so", lib, name);
    for (size_t i = 0; own && i < KB_COUNT(folders); i++) {
        char *path = kb_strf("%s/%s/%s.so", own, folders[i], name);
        if (access(path, R_OK) == 0)
            return path;
        free(path);
    }
    return kb_strf("/usr/lib/kubus/policies/%s.so", name);
}
