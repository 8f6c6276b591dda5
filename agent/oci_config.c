/* oci_config.c - what kubelet and containerd together make of a container, as one JSON text. */
#include "agent/oci_config.h"
#include "agent/cgroup.h"
#include "agent/files.h"
#include "agent/inside.h"
#include "bus/model/json.h"

#include <dirent.h>
#include <errno.h>
#include <linux/capability.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

enum { USERS_MAX_BYTES = 1 << 20 };

static const char *const cap_names[] = {"CHOWN",
                                        "DAC_OVERRIDE",
                                        "DAC_READ_SEARCH",
                                        "FOWNER",
                                        "FSETID",
                                        "KILL",
                                        "SETGID",
                                        "SETUID",
                                        "SETPCAP",
                                        "LINUX_IMMUTABLE",
                                        "NET_BIND_SERVICE",
                                        "NET_BROADCAST",
                                        "NET_ADMIN",
                                        "NET_RAW",
                                        "IPC_LOCK",
                                        "IPC_OWNER",
                                        "SYS_MODULE",
                                        "SYS_RAWIO",
                                        "SYS_CHROOT",
                                        "SYS_PTRACE",
                                        "SYS_PACCT",
                                        "SYS_ADMIN",
                                        "SYS_BOOT",
                                        "SYS_NICE",
                                        "SYS_RESOURCE",
                                        "SYS_TIME",
                                        "SYS_TTY_CONFIG",
                                        "MKNOD",
                                        "LEASE",
                                        "AUDIT_WRITE",
                                        "AUDIT_CONTROL",
                                        "SETFCAP",
                                        "MAC_OVERRIDE",
                                        "MAC_ADMIN",
                                        "SYSLOG",
                                        "WAKE_ALARM",
                                        "BLOCK_SUSPEND",
                                        "AUDIT_READ",
                                        "PERFMON",
                                        "BPF",
                                        "CHECKPOINT_RESTORE"};

/* What a container has unless it says otherwise: bits of the list above. */
static const char *const cap_default[] = {
    "CHOWN",   "DAC_OVERRIDE", "FSETID",           "FOWNER",
    "MKNOD",   "NET_RAW",      "SETGID",           "SETUID",
    "SETFCAP", "SETPCAP",      "NET_BIND_SERVICE", "SYS_CHROOT",
    "KILL",    "AUDIT_WRITE"};

/* Not for a container under the default profile: they reach past its namespaces. The profile lists
 * what is refused, not what is allowed: new harmless system calls then work at once. */
static const char *const refused_calls[] = {"acct",
                                            "add_key",
                                            "bpf",
                                            "clock_adjtime",
                                            "clock_settime",
                                            "create_module",
                                            "delete_module",
                                            "finit_module",
                                            "fsconfig",
                                            "fsmount",
                                            "fsopen",
                                            "fspick",
                                            "get_kernel_syms",
                                            "get_mempolicy",
                                            "init_module",
                                            "ioperm",
                                            "iopl",
                                            "kcmp",
                                            "kexec_file_load",
                                            "kexec_load",
                                            "keyctl",
                                            "lookup_dcookie",
                                            "mbind",
                                            "mount",
                                            "mount_setattr",
                                            "move_mount",
                                            "move_pages",
                                            "nfsservctl",
                                            "open_by_handle_at",
                                            "open_tree",
                                            "perf_event_open",
                                            "pivot_root",
                                            "process_vm_readv",
                                            "process_vm_writev",
                                            "query_module",
                                            "quotactl",
                                            "quotactl_fd",
                                            "reboot",
                                            "request_key",
                                            "set_mempolicy",
                                            "setns",
                                            "settimeofday",
                                            "swapoff",
                                            "swapon",
                                            "_sysctl",
                                            "sysfs",
                                            "umount2",
                                            "umount",
                                            "unshare",
                                            "uselib",
                                            "userfaultfd",
                                            "ustat",
                                            "vm86",
                                            "vm86old"};

static const char *const masked_paths[] = {"/proc/acpi",
                                           "/proc/asound",
                                           "/proc/kcore",
                                           "/proc/keys",
                                           "/proc/latency_stats",
                                           "/proc/timer_list",
                                           "/proc/timer_stats",
                                           "/proc/sched_debug",
                                           "/proc/scsi",
                                           "/sys/firmware",
                                           "/sys/devices/virtual/powercap"};
static const char *const readonly_paths[] = {"/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys",
                                             "/proc/sysrq-trigger"};

static int cap_bit(const char *name)
{
    if (strncmp(name, "CAP_", 4) == 0)
        name += 4;
    for (size_t i = 0; i < KB_COUNT(cap_names); i++)
        if (strcmp(cap_names[i], name) == 0)
            return (int)i;
    return -1;
}

static uint64_t cap_ours(void)
{
    uint64_t set = 0;
    for (unsigned i = 0; i < KB_COUNT(cap_names); i++)
        if (prctl(PR_CAPBSET_READ, i, 0, 0, 0) == 1)
            set |= UINT64_C(1) << i;
    return set;
}

static uint64_t cap_list(const char *const *names, uint64_t all)
{
    uint64_t set = 0;
    for (; names != NULL && *names != NULL; names++) {
        int bit = cap_bit(*names);
        if (strcmp(*names, "ALL") == 0)
            set = all;
        else if (bit >= 0)
            set |= UINT64_C(1) << bit;
    }
    return set;
}

static uint64_t cap_set(const struct kb_rt_container_spec *spec)
{
    uint64_t ours = cap_ours(), set = 0;
    if (spec->privileged)
        return ours;
    for (size_t i = 0; i < KB_COUNT(cap_default); i++)
        set |= UINT64_C(1) << cap_bit(cap_default[i]);
    /* "ALL" goes first, then the single names, as containerd does: drop ALL, add CHOWN works. */
    bool drop_all = false, add_all = false;
    for (const char *const *it = spec->cap_drop; it && *it; it++)
        drop_all |= strcmp(*it, "ALL") == 0;
    for (const char *const *it = spec->cap_add; it && *it; it++)
        add_all |= strcmp(*it, "ALL") == 0;
    if (add_all)
        set = ours;
    if (drop_all)
        set = 0;
    if (!add_all)
        set |= cap_list(spec->cap_add, ours);
    if (!drop_all)
        set &= ~cap_list(spec->cap_drop, ours);
    return set & ours; /* more than we have ourselves would fail the whole start */
}

/* ---- who and what ---- */

/* Field `at` of the line whose field `key_at` is `key` (colon-separated), as a number. */
bool kb__oci_lookup(kb_str text, int key_at, kb_str key, int at, int64_t *ret)
{
    for (kb_str rest = text; rest.p != NULL;) {
        kb_str line = kb_str_cut(&rest, '\n'), fields[8] = {{0}};
        for (int i = 0; i < 8 && line.p != NULL; i++)
            fields[i] = kb_str_cut(&line, ':');
        if (kb_str_eq(fields[key_at], key) && kb_str_i64(fields[at], ret))
            return true;
    }
    return false;
}

struct ids {
    int64_t uid, gid;
};

/* One of the image's own files of users, which are not ours: no link in it leads to one of ours. */
static bool lookup(const char *rootfs, const char *file, int key_at, kb_str key, int at,
                   int64_t *ret)
{
    KB_AUTO(kb_buf_finish) struct kb_buf text = {0};
    return kb_inside_read(rootfs, file, USERS_MAX_BYTES, &text, NULL) == 0 &&
           kb__oci_lookup(kb_buf_str(&text), key_at, key, at, ret);
}

static int resolve_user(const struct kb_rt_container_spec *spec, const struct kb_image *image,
                        const char *rootfs, struct ids *ret, struct kb_err *err)
{
    static const char passwd[] = "/etc/passwd", group[] = "/etc/group";
    kb_str rest = kb_str_of(image->user);
    kb_str user = kb_str_cut(&rest, ':');
    struct ids ids = {spec->uid, spec->gid};
    char number[24];
    bool by_name = false;
    if (ids.uid == KB_RT_UNSET && user.n == 0)
        ids.uid = 0;
    if (ids.uid == KB_RT_UNSET && !kb_str_i64(user, &ids.uid)) {
        by_name = true;
        if (!lookup(rootfs, passwd, 0, user, 2, &ids.uid))
            return kb_err_set(err, KB_EINVAL,
                              "unable to find user " KB_STR_FMT
                              ": no matching entries in passwd file",
                              KB_STR_ARG(user));
    }
    if (ids.gid == KB_RT_UNSET && spec->uid == KB_RT_UNSET && rest.n > 0 &&
        !kb_str_i64(rest, &ids.gid) && !lookup(rootfs, group, 0, rest, 2, &ids.gid))
        return kb_err_set(err, KB_EINVAL, "unable to find group " KB_STR_FMT, KB_STR_ARG(rest));
    snprintf(number, sizeof number, "%lld", (long long)ids.uid);
    if (ids.gid == KB_RT_UNSET && !lookup(rootfs, passwd, 2, kb_str_of(number), 3, &ids.gid))
        ids.gid = 0;
    if (ids.uid < 0 || ids.uid > INT32_MAX || ids.gid < 0 || ids.gid > INT32_MAX)
        return kb_err_set(err, KB_EINVAL, "uids and gids must be in range 0-%d", INT32_MAX);
    if (spec->run_as_non_root && by_name)
        return kb_err_set(err, KB_EFORBIDDEN,
                          "container has runAsNonRoot and image has non-numeric user (" KB_STR_FMT
                          "), cannot verify user is non-root",
                          KB_STR_ARG(user));
    if (spec->run_as_non_root && ids.uid == 0)
        return kb_err_set(err, KB_EFORBIDDEN,
                          "container has runAsNonRoot and image will run as root");
    *ret = ids;
    return 0;
}

static size_t count(const char *const *list)
{
    size_t n = 0;
    while (list != NULL && list[n] != NULL)
        n++;
    return n;
}

int kb_oci_argv(const struct kb_rt_container_spec *spec, const struct kb_image *image,
                struct kb_arena *arena, const char ***ret_argv, struct kb_err *err)
{
    const char *const *head = spec->argv ? spec->argv : (const char *const *)image->entrypoint;
    const char *const *tail = spec->args           ? spec->args
                              : spec->argv != NULL ? NULL
                                                   : (const char *const *)image->cmd;
    size_t n = count(head), m = count(tail);
    if (n + m == 0)
        return kb_err_set(err, KB_EINVAL, "no command specified");
    const char **argv = kb_arena_alloc(arena, (n + m + 1) * sizeof *argv);
    for (size_t i = 0; i < n; i++)
        argv[i] = head[i];
    for (size_t i = 0; i < m; i++)
        argv[n + i] = tail[i];
    argv[n + m] = NULL;
    *ret_argv = argv;
    return 0;
}

static bool same_variable(const char *a, const char *b)
{
    size_t n = strcspn(a, "=");
    return n == strcspn(b, "=") && memcmp(a, b, n) == 0;
}

static void env_put(const char **list, size_t *n, const char *setting, bool replace)
{
    for (size_t i = 0; i < *n; i++)
        if (same_variable(list[i], setting)) {
            if (replace)
                list[i] = setting;
            return;
        }
    list[(*n)++] = setting;
}

const char **kb_oci_env(const struct kb_rt_container_spec *spec, const struct kb_image *image,
                        const char *hostname, struct kb_arena *arena)
{
    size_t n = 0, room = count((const char *const *)image->env) + count(spec->env) + 4;
    const char **list = kb_arena_alloc(arena, room * sizeof *list);
    for (const char **it = image->env; it != NULL && *it != NULL; it++)
        env_put(list, &n, *it, true);
    for (const char *const *it = spec->env; it != NULL && *it != NULL; it++)
        env_put(list, &n, *it, true);
    env_put(list, &n, "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", false);
    if (hostname != NULL)
        env_put(list, &n, kb_arena_printf(arena, "HOSTNAME=%s", hostname).p, false);
    if (spec->tty)
        env_put(list, &n, "TERM=xterm", false);
    list[n] = NULL;
    return list;
}

int kb_oom_score_clamp(int wanted)
{
    KB_AUTO(kb_buf_finish) struct kb_buf buf = {0}, status = {0};
    int64_t own = 0;
    uint64_t caps = 0;
    for (kb_str rest = kb_get_file("/proc/self/status", &status); rest.p != NULL;) {
        kb_str line = kb_str_cut(&rest, '\n');
        if (kb_str_starts(line, "CapEff:\t"))
            caps = strtoull(line.p + 8, NULL, 16);
    }
    if (caps & UINT64_C(1) << CAP_SYS_RESOURCE)
        return wanted;
    if (!kb_str_i64(kb_str_trim(kb_get_file("/proc/self/oom_score_adj", &buf)), &own))
        own = 0;
    return wanted < own ? (int)own : wanted;
}

/* ---- the JSON ---- */

static void w_texts(struct kb_w *w, const char *key, const char *const *list, size_t n)
{
    kb_w_karray(w, key);
    for (size_t i = 0; i < n; i++)
        kb_w_cstr(w, list[i]);
    kb_w_end(w);
}

static void w_caps(struct kb_w *w, uint64_t set)
{
    static const char *const kinds[] = {"bounding", "effective", "permitted"};
    kb_w_kmap(w, "capabilities");
    for (size_t k = 0; k < KB_COUNT(kinds); k++) {
        kb_w_karray(w, kinds[k]);
        for (size_t i = 0; i < KB_COUNT(cap_names); i++) {
            char name[32];
            if (!(set & UINT64_C(1) << i))
                continue;
            snprintf(name, sizeof name, "CAP_%s", cap_names[i]);
            kb_w_cstr(w, name);
        }
        kb_w_end(w);
    }
    kb_w_end(w);
}

/* Supplemental groups: those asked for, and those that /etc/group has for the user's name. */
static void w_groups(struct kb_w *w, const struct kb_rt_container_spec *spec)
{
    if (spec->n_groups == 0)
        return;
    kb_w_karray(w, "additionalGids");
    for (size_t i = 0; i < spec->n_groups; i++)
        kb_w_int(w, spec->groups[i]);
    kb_w_end(w);
}

static void w_process(struct kb_w *w, const struct kb_rt_container_spec *spec,
                      const struct ids *ids, const char **argv, const char **env, const char *cwd)
{
    kb_w_kmap(w, "process");
    kb_w_kbool(w, "terminal", spec->tty);
    kb_w_kmap(w, "user");
    kb_w_kint(w, "uid", ids->uid);
    kb_w_kint(w, "gid", ids->gid);
    w_groups(w, spec);
    kb_w_end(w);
    w_texts(w, "args", argv, count(argv));
    w_texts(w, "env", env, count(env));
    kb_w_kcstr(w, "cwd", cwd);
    w_caps(w, cap_set(spec));
    kb_w_kbool(w, "noNewPrivileges", spec->no_new_privileges);
    kb_w_kint(w, "oomScoreAdj", kb_oom_score_clamp(spec->oom_score_adj));
    kb_w_end(w);
}

static void w_mount(struct kb_w *w, const char *type, const char *source, const char *target,
                    const char *options)
{
    kb_w_map(w);
    kb_w_kcstr(w, "destination", target);
    kb_w_kcstr(w, "type", type);
    kb_w_kcstr(w, "source", source);
    kb_w_karray(w, "options");
    for (kb_str rest = kb_str_of(options); rest.p != NULL && rest.n > 0;)
        kb_w_str(w, kb_str_cut(&rest, ','));
    kb_w_end(w);
    kb_w_end(w);
}

static bool is_target(const struct kb_rt_container_spec *spec, const char *target)
{
    for (size_t i = 0; i < spec->n_mounts; i++)
        if (strcmp(spec->mounts[i].target, target) == 0)
            return true;
    return false;
}

/* A file of the sandbox onto its place, unless a volume is mounted there or there is no such file.
 */
static void w_sandbox_file(struct kb_w *w, const struct kb_rt_container_spec *spec,
                           const struct kb_oci_place *place, const char *file, const char *target)
{
    KB_AUTO(kb_auto_free) char *path = kb_strf("%s/%s", place->sandbox, file);
    if (!is_target(spec, target) && kb_path_exists(path))
        w_mount(w, "bind", path, target,
                spec->read_only_rootfs ? "rbind,rprivate,ro" : "rbind,rprivate,rw");
}

static void w_mounts(struct kb_w *w, const struct kb_rt_container_spec *spec,
                     const struct kb_oci_place *place)
{
    static const char *const propagation[] = {"rprivate", "rslave", "rshared"};
    const char *sys = spec->privileged ? "nosuid,noexec,nodev" : "nosuid,noexec,nodev,ro";
    kb_w_karray(w, "mounts");
    w_mount(w, "proc", "proc", "/proc", "nosuid,noexec,nodev");
    w_mount(w, "tmpfs", "tmpfs", "/dev", "nosuid,strictatime,mode=755,size=65536k");
    w_mount(w, "devpts", "devpts", "/dev/pts",
            "nosuid,noexec,newinstance,ptmxmode=0666,mode=0620,gid=5");
    w_mount(w, "mqueue", "mqueue", "/dev/mqueue", "nosuid,noexec,nodev");
    w_mount(w, "sysfs", "sysfs", "/sys", sys);
    w_mount(w, "cgroup", "cgroup", "/sys/fs/cgroup",
            spec->privileged ? "nosuid,noexec,nodev,relatime" : "nosuid,noexec,nodev,relatime,ro");
    if (!is_target(spec, "/dev/shm")) {
        KB_AUTO(kb_auto_free) char *shm = kb_strf("%s/shm", place->sandbox);
        w_mount(w, "bind", kb_path_exists(shm) ? shm : "/dev/shm", "/dev/shm",
                "rbind,rprivate,nosuid,nodev,noexec");
    }
    w_sandbox_file(w, spec, place, "hosts", "/etc/hosts");
    w_sandbox_file(w, spec, place, "hostname", "/etc/hostname");
    w_sandbox_file(w, spec, place, "resolv.conf", "/etc/resolv.conf");
    for (size_t i = 0; i < spec->n_mounts; i++) {
        const struct kb_rt_mount *m = &spec->mounts[i];
        char options[64];
        snprintf(options, sizeof options, "%s%s,%s",
                 m->kind == KB_RT_BIND ? "rbind," : "nosuid,nodev,",
                 propagation[m->kind == KB_RT_BIND ? m->propagation : KB_RT_PRIVATE],
                 m->read_only ? "ro" : "rw");
        w_mount(w, m->kind == KB_RT_BIND ? "bind" : "tmpfs",
                m->kind == KB_RT_BIND ? m->source : "tmpfs", m->target,
                m->kind == KB_RT_BIND ? options
                : m->read_only        ? "nosuid,nodev,ro"
                                      : "nosuid,nodev");
    }
    kb_w_end(w);
}

/* Joins the namespace pinned at SANDBOX/file; without a pin the host's, or a new one. */
static void w_namespace(struct kb_w *w, const struct kb_oci_place *place, const char *type,
                        const char *file, bool new_without)
{
    KB_AUTO(kb_auto_free) char *path = file ? kb_strf("%s/%s", place->sandbox, file) : NULL;
    bool pinned = path != NULL && kb_path_exists(path);
    if (!pinned && !new_without)
        return;
    kb_w_map(w);
    kb_w_kcstr(w, "type", type);
    if (pinned)
        kb_w_kcstr(w, "path", path);
    kb_w_end(w);
}

static void w_resources(struct kb_w *w, const struct kb_rt_container_spec *spec)
{
    kb_w_kmap(w, "resources");
    kb_w_karray(w, "devices");
    kb_w_map(w);
    kb_w_kbool(w, "allow", spec->privileged);
    kb_w_kcstr(w, "access", "rwm");
    kb_w_end(w);
    kb_w_end(w);
    kb_w_kmap(w, "cpu");
    kb_w_kint(w, "shares", kb_cgroup_shares(spec->cpu_milli_request));
    if (spec->cpu_milli_limit > 0) {
        kb_w_kint(w, "quota", kb_cgroup_quota_us(spec->cpu_milli_limit));
        kb_w_kint(w, "period", 100000);
    }
    kb_w_end(w);
    if (spec->memory_limit > 0) {
        kb_w_kmap(w, "memory");
        kb_w_kint(w, "limit", spec->memory_limit);
        kb_w_end(w);
    }
    kb_w_end(w);
}

/* The host's devices, for a privileged container. */
static void w_devices(struct kb_w *w)
{
    struct stat st;
    DIR *dir = opendir("/dev");
    kb_w_karray(w, "devices");
    for (struct dirent *entry; dir != NULL && (entry = readdir(dir)) != NULL;) {
        KB_AUTO(kb_auto_free) char *path = kb_strf("/dev/%s", entry->d_name);
        if (lstat(path, &st) < 0 || (!S_ISCHR(st.st_mode) && !S_ISBLK(st.st_mode)) ||
            strcmp(entry->d_name, "ptmx") == 0 || strcmp(entry->d_name, "console") == 0)
            continue;
        kb_w_map(w);
        kb_w_kcstr(w, "path", path);
        kb_w_kcstr(w, "type", S_ISCHR(st.st_mode) ? "c" : "b");
        kb_w_kint(w, "major", major(st.st_rdev));
        kb_w_kint(w, "minor", minor(st.st_rdev));
        kb_w_kint(w, "fileMode", st.st_mode & 07777);
        kb_w_kint(w, "uid", st.st_uid);
        kb_w_kint(w, "gid", st.st_gid);
        kb_w_end(w);
    }
    if (dir != NULL)
        closedir(dir);
    kb_w_end(w);
}

static void w_seccomp(struct kb_w *w)
{
    static const char *const new_user[] = {"clone"}, *const newer[] = {"clone3"};
    kb_w_kmap(w, "seccomp");
    kb_w_kcstr(w, "defaultAction", "SCMP_ACT_ALLOW");
    kb_w_karray(w, "syscalls");
    kb_w_map(w);
    w_texts(w, "names", refused_calls, KB_COUNT(refused_calls));
    kb_w_kcstr(w, "action", "SCMP_ACT_ERRNO");
    kb_w_kint(w, "errnoRet", EPERM);
    kb_w_end(w);
    kb_w_map(w); /* clone with CLONE_NEWUSER; the flags of clone3 cannot be seen, libc falls back */
    w_texts(w, "names", new_user, 1);
    kb_w_kcstr(w, "action", "SCMP_ACT_ERRNO");
    kb_w_kint(w, "errnoRet", EPERM);
    kb_w_karray(w, "args");
    kb_w_map(w);
    kb_w_kint(w, "index", 0);
    kb_w_kint(w, "value", 0x10000000);
    kb_w_kint(w, "valueTwo", 0x10000000);
    kb_w_kcstr(w, "op", "SCMP_CMP_MASKED_EQ");
    kb_w_end(w);
    kb_w_end(w);
    kb_w_end(w);
    kb_w_map(w);
    w_texts(w, "names", newer, 1);
    kb_w_kcstr(w, "action", "SCMP_ACT_ERRNO");
    kb_w_kint(w, "errnoRet", ENOSYS);
    kb_w_end(w);
    kb_w_end(w);
    kb_w_end(w);
}

static void w_linux(struct kb_w *w, const struct kb_rt_container_spec *spec,
                    const struct kb_oci_place *place)
{
    kb_w_kmap(w, "linux");
    kb_w_karray(w, "namespaces");
    w_namespace(w, place, "mount", NULL, true);
    w_namespace(w, place, "network", "net", false);
    w_namespace(w, place, "uts", "uts", false);
    w_namespace(w, place, "ipc", "ipc", false);
    if (place->pid_ns != NULL && !place->host_pid) {
        kb_w_map(w);
        kb_w_kcstr(w, "type", "pid");
        kb_w_kcstr(w, "path", place->pid_ns);
        kb_w_end(w);
    } else {
        w_namespace(w, place, "pid", "pid", !place->host_pid);
    }
    if (place->cgroup_v2)
        w_namespace(w, place, "cgroup", NULL, !spec->privileged);
    kb_w_end(w);
    if (place->cgroups_path != NULL)
        kb_w_kcstr(w, "cgroupsPath", place->cgroups_path);
    w_resources(w, spec);
    for (size_t i = 0; i < spec->n_mounts; i++)
        if (spec->mounts[i].propagation == KB_RT_BIDIRECTIONAL) {
            kb_w_kcstr(w, "rootfsPropagation", "rshared");
            break;
        }
    if (spec->privileged) {
        w_devices(w);
    } else {
        w_texts(w, "maskedPaths", masked_paths, KB_COUNT(masked_paths));
        w_texts(w, "readonlyPaths", readonly_paths, KB_COUNT(readonly_paths));
        if (spec->seccomp_default)
            w_seccomp(w);
    }
    kb_w_end(w);
}

int kb_oci_config(const struct kb_rt_container_spec *spec, const struct kb_image *image,
                  const struct kb_oci_place *place, struct kb_buf *out, struct kb_err *err)
{
    KB_AUTO(kb_arena_finish) struct kb_arena arena = {0};
    KB_AUTO(kb_w_finish) struct kb_w w = {0};
    KB_AUTO(kb_buf_finish) struct kb_buf name = {0};
    KB_AUTO(kb_auto_free) char *name_path = kb_strf("%s/hostname", place->sandbox);
    const char **argv = NULL;
    struct ids ids = {0, 0};
    if (resolve_user(spec, image, place->rootfs, &ids, err) < 0 ||
        kb_oci_argv(spec, image, &arena, &argv, err) < 0)
        return -err->code;
    kb_str hostname = kb_str_trim(kb_get_file(name_path, &name));
    const char **env = kb_oci_env(spec, image,
                                  place->hostname ? place->hostname
                                  : hostname.n    ? kb_arena_str(&arena, hostname).p
                                                  : NULL,
                                  &arena);
    const char *cwd = spec->cwd ? spec->cwd : *image->cwd ? image->cwd : "/";
    kb_w_map(&w);
    kb_w_kcstr(&w, "ociVersion", "1.0.2");
    w_process(&w, spec, &ids, argv, env, cwd);
    kb_w_kmap(&w, "root");
    kb_w_kcstr(&w, "path", place->rootfs);
    kb_w_kbool(&w, "readonly", spec->read_only_rootfs);
    kb_w_end(&w);
    w_mounts(&w, spec, place);
    w_linux(&w, spec, place);
    kb_w_end(&w);
    kb_json_write(out, kb_w_val(&w), 0);
    return 0;
}
