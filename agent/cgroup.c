/* cgroup.c - the two worlds of control groups.
 *
 * Version 1 has one tree a controller, version 2 one tree for all; everything here is written as
 * "for each tree". Memory's swap limit goes first when a limit rises and last when it falls, for
 * the kernel refuses a memory limit above the one with swap; we leave swap alone. */
#include "agent/cgroup.h"
#include "agent/files.h"
#include "bus/base/file.h"

#include <dirent.h>
#include <errno.h>
#include <ftw.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <time.h>
#include <unistd.h>

enum { PERIOD_US = 100000, CGROUP2_MAGIC = 0x63677270 };

static const char *const v1_controllers[] = {"cpu", "cpuacct", "memory", "pids"};

static bool is_cgroup2(const char *path)
{
    struct statfs fs;
    return statfs(path, &fs) == 0 && (uint32_t)fs.f_type == CGROUP2_MAGIC;
}

void kb_cgroups_probe(struct kb_cgroups *cgroups, const char *root)
{
    *cgroups = (struct kb_cgroups){.mode = KB_CGROUP_NONE, .root = root};
    KB_AUTO(kb_auto_free) char *v2 = kb_strf("%s/cgroup.controllers", root);
    KB_AUTO(kb_auto_free) char *memory = kb_strf("%s/memory/tasks", root);
    KB_AUTO(kb_auto_free) char *unified = kb_strf("%s/unified", root);
    if (access(v2, R_OK) == 0 && access(root, W_OK) == 0)
        cgroups->mode = KB_CGROUP_V2;
    else if (access(memory, W_OK) == 0)
        cgroups->mode = KB_CGROUP_V1;
    cgroups->hybrid = cgroups->mode == KB_CGROUP_V1 && is_cgroup2(unified);
}

int64_t kb_cgroup_shares(int64_t cpu_milli)
{
    int64_t shares = cpu_milli * 1024 / 1000;
    return shares < 2 ? 2 : shares > 262144 ? 262144 : shares;
}

int64_t kb_cgroup_quota_us(int64_t cpu_milli)
{
    int64_t quota = cpu_milli * PERIOD_US / 1000;
    return cpu_milli <= 0 ? 0 : quota < 1000 ? 1000 : quota;
}

int64_t kb_cgroup_weight(int64_t shares)
{
    return shares <= 0 ? 0 : 1 + (shares - 2) * 9999 / 262142;
}

/* "ROOT/CONTROLLER/PATH", "ROOT/PATH" on v2 (controller NULL). Caller frees. */
static char *group_dir(const struct kb_cgroups *cgroups, const char *controller, const char *path)
{
    return controller != NULL ? kb_strf("%s/%s/%s", cgroups->root, controller, path)
                              : kb_strf("%s/%s", cgroups->root, path);
}

static int poke(const char *dir, const char *file, const char *text, struct kb_err *err)
{
    KB_AUTO(kb_auto_free) char *path = kb_strf("%s/%s", dir, file);
    return kb_poke_file(path, text, err);
}

static int poke_int(const char *dir, const char *file, int64_t value, struct kb_err *err)
{
    char text[32];
    snprintf(text, sizeof text, "%lld", (long long)value);
    return poke(dir, file, text, err);
}

/* Version 2: a controller works in a group only when every ancestor hands it down. */
static void hand_down(const struct kb_cgroups *cgroups, const char *path)
{
    static const char *const controllers[] = {"+cpu", "+memory", "+pids"};
    for (size_t at = 0;; at++) {
        if (path[at] != '/' && path[at] != '\0' && at != 0)
            continue;
        KB_AUTO(kb_auto_free) char *dir = kb_strf("%s/%.*s", cgroups->root, (int)at, path);
        mkdir(dir, 0755);
        for (size_t i = 0; i < KB_COUNT(controllers); i++)
            (void)poke(dir, "cgroup.subtree_control", controllers[i], NULL);
        if (path[at] == '\0')
            return;
    }
}

static int make_v2(const struct kb_cgroups *cgroups, const char *path,
                   const struct kb_cgroup_limits *limits, struct kb_err *err)
{
    char text[64];
    KB_AUTO(kb_auto_free) char *dir = group_dir(cgroups, NULL, path);
    hand_down(cgroups, path);
    if (!kb_path_exists(dir))
        return kb_err_set(err, KB_EIO, "cannot make cgroup '%s'", dir);
    if (limits->cpu_shares > 0 &&
        poke_int(dir, "cpu.weight", kb_cgroup_weight(limits->cpu_shares), err) < 0)
        return kb_err_wrap(err, "cgroup");
    if (limits->cpu_quota_us > 0) {
        snprintf(text, sizeof text, "%lld %d", (long long)limits->cpu_quota_us, PERIOD_US);
        if (poke(dir, "cpu.max", text, err) < 0)
            return kb_err_wrap(err, "cgroup");
    }
    if (limits->memory_bytes > 0 && poke_int(dir, "memory.max", limits->memory_bytes, err) < 0)
        return kb_err_wrap(err, "cgroup");
    if (limits->pids > 0 && poke_int(dir, "pids.max", limits->pids, err) < 0)
        return kb_err_wrap(err, "cgroup");
    return 0;
}

static int limit_v1(const char *controller, const char *dir, const struct kb_cgroup_limits *limits,
                    struct kb_err *err)
{
    if (strcmp(controller, "cpu") == 0) {
        if (limits->cpu_shares > 0 && poke_int(dir, "cpu.shares", limits->cpu_shares, err) < 0)
            return kb_err_wrap(err, "cgroup");
        if (limits->cpu_quota_us > 0 &&
            (poke_int(dir, "cpu.cfs_period_us", PERIOD_US, err) < 0 ||
             poke_int(dir, "cpu.cfs_quota_us", limits->cpu_quota_us, err) < 0))
            return kb_err_wrap(err, "cgroup");
    }
    if (strcmp(controller, "memory") == 0) {
        /* So that what a container's runtime makes below is counted here as well. */
        (void)poke(dir, "memory.use_hierarchy", "1", NULL);
        if (limits->memory_bytes > 0 &&
            poke_int(dir, "memory.limit_in_bytes", limits->memory_bytes, err) < 0)
            return kb_err_wrap(err, "cgroup");
    }
    if (strcmp(controller, "pids") == 0 && limits->pids > 0 &&
        poke_int(dir, "pids.max", limits->pids, err) < 0)
        return kb_err_wrap(err, "cgroup");
    return 0;
}

int kb_cgroup_make(const struct kb_cgroups *cgroups, const char *path,
                   const struct kb_cgroup_limits *limits, struct kb_err *err)
{
    if (cgroups->mode == KB_CGROUP_NONE)
        return 0;
    if (cgroups->mode == KB_CGROUP_V2)
        return make_v2(cgroups, path, limits, err);
    for (size_t i = 0; i < KB_COUNT(v1_controllers); i++) {
        KB_AUTO(kb_auto_free) char *dir = group_dir(cgroups, v1_controllers[i], path);
        if (kb_dir_make(dir, 0755, err) < 0 || limit_v1(v1_controllers[i], dir, limits, err) < 0)
            return kb_err_wrap(err, "pod cgroup");
    }
    return 0;
}

/* ---- killing and removing ---- */

static void kill_procs(const char *dir)
{
    KB_AUTO(kb_auto_free) char *path = kb_strf("%s/cgroup.procs", dir);
    KB_AUTO(kb_buf_finish) struct kb_buf buf = {0};
    for (kb_str rest = kb_get_file(path, &buf); rest.p != NULL && rest.n > 0;) {
        int64_t pid;
        if (kb_str_i64(kb_str_cut(&rest, '\n'), &pid) && pid > 1)
            kill((pid_t)pid, SIGKILL);
    }
}

static int kill_one(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
    (void)st, (void)ftw;
    if (type == FTW_DP)
        kill_procs(path);
    return 0;
}

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
    (void)st, (void)ftw;
    if (type == FTW_DP)
        rmdir(path);
    return 0;
}

typedef int ftw_fn(const char *, const struct stat *, int, struct FTW *);

/* fn on the group and all below it, in every tree. False when it was nowhere. */
static bool each_tree(const struct kb_cgroups *cgroups, const char *path, ftw_fn *fn)
{
    bool any = false;
    if (cgroups->mode == KB_CGROUP_V2) {
        KB_AUTO(kb_auto_free) char *dir = group_dir(cgroups, NULL, path);
        any = kb_path_exists(dir) && nftw(dir, fn, 16, FTW_DEPTH | FTW_PHYS) == 0;
        return any;
    }
    DIR *root = opendir(cgroups->root);
    for (struct dirent *entry; root != NULL && (entry = readdir(root)) != NULL;) {
        if (entry->d_name[0] == '.' || entry->d_type == DT_LNK)
            continue;
        KB_AUTO(kb_auto_free) char *dir = group_dir(cgroups, entry->d_name, path);
        if (kb_path_exists(dir) && nftw(dir, fn, 16, FTW_DEPTH | FTW_PHYS) == 0)
            any = true;
    }
    if (root != NULL)
        closedir(root);
    return any;
}

void kb_cgroup_kill(const struct kb_cgroups *cgroups, const char *path)
{
    if (cgroups->mode == KB_CGROUP_V2) {
        KB_AUTO(kb_auto_free) char *dir = group_dir(cgroups, NULL, path);
        if (poke(dir, "cgroup.kill", "1", NULL) == 0)
            return;
    }
    if (cgroups->mode != KB_CGROUP_NONE)
        each_tree(cgroups, path, kill_one);
}

int kb_cgroup_remove(const struct kb_cgroups *cgroups, const char *path, struct kb_err *err)
{
    if (cgroups->mode == KB_CGROUP_NONE)
        return 0;
    for (int round = 0; round < 40; round++) {
        if (!each_tree(cgroups, path, remove_one) || !each_tree(cgroups, path, remove_one))
            return 0;
        kb_cgroup_kill(cgroups, path);
        nanosleep(&(struct timespec){0, 1000000L << (round < 6 ? round : 6)}, NULL);
    }
    return kb_err_set(err, KB_EIO, "cgroup '%s' does not become empty", path);
}

/* ---- reading ---- */

char *kb_cgroup_oom_file(const struct kb_cgroups *cgroups, const char *path)
{
    if (cgroups->mode == KB_CGROUP_NONE)
        return NULL;
    if (cgroups->mode == KB_CGROUP_V2)
        return kb_strf("%s/%s/memory.events", cgroups->root, path);
    return kb_strf("%s/memory/%s/memory.oom_control", cgroups->root, path);
}
