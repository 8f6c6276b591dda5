/* shim_start.c - inside the job that becomes a container's shim. Straight-line, blocking code: the
 * agent waits for nobody here. */
#include "agent/files.h"
#include "agent/inside.h"
#include "agent/oci_config.h"
#include "agent/runtime_shim.h"
#include "bus/base/check.h"
#include "bus/base/file.h"
#include "bus/base/grow.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/file.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

enum { LOCK_FD = 4, MOUNT_DATA_BYTES = 4096 };

static int put_in(const char *dir, const char *name, kb_str text, struct kb_err *err)
{
    KB_AUTO(kb_auto_free) char *path = kb_strf("%s/%s", dir, name);
    return kb_put_file(path, text, 0600, err);
}

/* Take the folder for ourselves, until the shim that we become ends. */
static int take_lock(const char *dir, struct kb_err *err)
{
    KB_AUTO(kb_auto_free) char *path = kb_strf("%s/lock", dir);
    KB_AUTO(kb_auto_free) char *meta = kb_strf("%s/meta", dir);
    if (kb_dir_make(dir, 0755, err) < 0)
        return -err->code;
    int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (fd < 0)
        return kb_err_sys(err, errno, "open '%s'", path);
    if (flock(fd, LOCK_EX | LOCK_NB) < 0 || kb_path_exists(meta))
        return kb_err_set(err, KB_EEXISTS, "the container in '%s' exists already", dir);
    if (fd != LOCK_FD && dup2(fd, LOCK_FD) < 0)
        return kb_err_sys(err, errno, "keep the lock");
    fcntl(LOCK_FD, F_SETFD, 0);
    return 0;
}

static void own_stamp(struct kb_buf *out)
{
    KB_AUTO(kb_buf_finish) struct kb_buf buf = {0};
    kb_str stamp = kb_proc_stamp(kb_get_file("/proc/self/stat", &buf));
    kb_buf_printf(out, "%d " KB_STR_FMT "\n", (int)getpid(), KB_STR_ARG(stamp));
}

static int write_records(const struct kb_box *box, const struct kb_image *image, struct kb_err *err)
{
    KB_AUTO(kb_buf_finish) struct kb_buf meta = {0}, stamp = {0};
    KB_AUTO(kb_auto_free)
    char *pid_pin = kb_strf("%s/pods/%s/sandbox/pid", box->rt->dir, box->uid);
    own_stamp(&stamp);
    kb_buf_printf(&meta, "id=%s\nimage=%s\nimage_id=%s\nshared=%d\nrestarts=%u\n", box->id,
                  image->name ? image->name : box->spec->image, image->id ? image->id : "",
                  box->spec->pid_ns != NULL || kb_path_exists(pid_pin), box->spec->restarts);
    if (put_in(box->dir, "shim", kb_buf_str(&stamp), err) < 0)
        return -err->code;
    return put_in(box->dir, "meta", kb_buf_str(&meta), err);
}

int kb__shim_sub_paths(struct kb_rt_mount *mounts, size_t n, struct kb_err *err)
{
    for (size_t i = 0; i < n; i++) {
        struct kb_rt_mount *m = &mounts[i];
        if (m->below == NULL)
            continue;
        KB_AUTO(kb_auto_close) int fd = kb_inside_make(m->source, m->below, err);
        if (fd < 0) {
            kb_err_wrap(err, "failed to prepare subPath for volumeMount");
            return -err->code;
        }
        if (geteuid() == 0 && kb_inside_bind(fd, m->place, err) < 0)
            return -err->code;
        m->source = m->place;
        m->below = m->place = NULL;
    }
    return 0;
}

/* Overlay of the image's layers and a writable folder. Layers are named relative to their common
 * folder: the kernel takes one page of options, and digests are long. */
static int mount_rootfs(const struct kb_box *box, const struct kb_image *image, const char *rootfs,
                        struct kb_err *err)
{
    KB_AUTO(kb_buf_finish) struct kb_buf data = {0};
    KB_AUTO(kb_auto_free) char *upper = kb_strf("%s/upper", box->dir);
    KB_AUTO(kb_auto_free) char *work = kb_strf("%s/work", box->dir);
    KB_AUTO(kb_auto_free) char *layers = kb_strf("%s/layers", box->rt->image_dir);
    if (mkdir(rootfs, 0755) < 0 || mkdir(upper, 0755) < 0 || mkdir(work, 0755) < 0)
        return kb_err_sys(err, errno, "make '%s'", rootfs);
    if (image->n_layers == 0)
        return 0;
    KB_AUTO(kb_auto_close) int back = open(".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (chdir(layers) < 0)
        return kb_err_sys(err, errno, "'%s'", layers);
    kb_buf_puts(&data, "lowerdir=");
    for (size_t i = 0; i < image->n_layers; i++)
        kb_buf_printf(&data, "%s%s", i ? ":" : "", strrchr(image->layers[i], '/') + 1);
    kb_buf_printf(&data, ",upperdir=%s,workdir=%s", upper, work);
    if (data.n >= MOUNT_DATA_BYTES)
        return kb_err_set(err, KB_E2BIG, "the image has too many layers (%zu)", image->n_layers);
    int rc = mount("overlay", rootfs, "overlay", 0, data.p);
    int saved = errno;
    if (back >= 0)
        (void)!fchdir(back);
    return rc < 0 ? kb_err_sys(err, saved, "mount the image's layers") : 0;
}

/* Of the program that we become: nobody frees them. */
struct args {
    const char **v;
    size_t n, cap;
};

static void arg(struct args *args, const char *text)
{
    KB_GROW(args->v, args->n + 1, args->cap, 64);
    args->v[args->n++] = text;
    args->v[args->n] = NULL;
}

static void arg2(struct args *args, const char *option, const char *value)
{
    arg(args, option);
    arg(args, value);
}

static int log_folder(const char *log_path, struct kb_err *err)
{
    KB_AUTO(kb_auto_free) char *folder = kb_str_dup(kb_str_of(log_path));
    char *slash = strrchr(folder, '/');
    if (slash != NULL)
        *slash = '\0';
    return kb_dir_make(folder, 0755, err);
}

static void shim_args(const struct kb_box *box, struct args *args, struct kb_arena *arena)
{
    const struct kb_rt_container_spec *spec = box->spec;
    arg2(args, box->rt->shim, "run");
    arg2(args, "--dir", box->dir);
    arg2(args, "--log", spec->log_path);
    arg2(args, "--log-bytes", kb_arena_printf(arena, "%lld", (long long)spec->log_max_bytes).p);
    arg2(args, "--log-files", kb_arena_printf(arena, "%u", spec->log_max_files).p);
    if (spec->tty)
        arg(args, "--tty");
    if (spec->with_stdin)
        arg(args, "--stdin");
    if (spec->stdin_once)
        arg(args, "--stdin-once");
}

__attribute__((noreturn)) static void become(struct args *args)
{
    alarm(0); /* the job's: see job.h */
    execv(args->v[0], (char *const *)(uintptr_t)args->v);
    dprintf(KB_JOB_REPORT_FD, "error exec %s: %s", args->v[0], strerror(errno));
    _exit(1);
}

/* ---- oci ---- */

static int start_oci(struct kb_box *box, struct kb_err *err)
{
    struct kb_shim_rt *rt = box->rt;
    struct args args = {0};
    KB_AUTO(kb_image_finish) struct kb_image image = {0};
    KB_AUTO(kb_arena_finish) struct kb_arena arena = {0};
    KB_AUTO(kb_buf_finish) struct kb_buf config = {0};
    KB_AUTO(kb_auto_free) char *rootfs = kb_strf("%s/rootfs", box->dir);
    KB_AUTO(kb_auto_free) char *sandbox = kb_strf("%s/pods/%s/sandbox", rt->dir, box->uid);
    KB_AUTO(kb_auto_free) char *pod_group = kb__shim_pod_cgroup(rt, box->uid);
    KB_AUTO(kb_auto_free) char *group = kb_strf("/%s/%s", pod_group, box->id);
    KB_AUTO(kb_auto_free) char *oom = kb_cgroup_oom_file(&rt->cgroups, group + 1);
    struct kb_oci_place place = {.rootfs = rootfs,
                                 .sandbox = sandbox,
                                 .cgroups_path = rt->cgroups.mode != KB_CGROUP_NONE ? group : NULL,
                                 .cgroup_v2 = rt->cgroups.mode == KB_CGROUP_V2,
                                 .host_pid = box->spec->host_pid,
                                 .pid_ns = box->spec->pid_ns};
    if (kb_image_open(rt->image_dir, box->spec->image, &image, err) < 0 ||
        write_records(box, &image, err) < 0 || mount_rootfs(box, &image, rootfs, err) < 0 ||
        kb_oci_config(box->spec, &image, &place, &config, err) < 0 ||
        put_in(box->dir, "config.json", kb_buf_str(&config), err) < 0)
        return -err->code;
    shim_args(box, &args, &arena);
    if (rt->cgroups.hybrid && rt->is_crun)
        arg(&args, "--hide-unified");
    if (oom != NULL)
        arg2(&args, "--oom", oom);
    arg2(&args, "--", rt->oci_path);
    arg2(&args, "--root", rt->oci_root);
    arg2(&args, "--log", "runtime.log");
    if (rt->is_crun)
        arg(&args, rt->cgroups.mode != KB_CGROUP_NONE ? "--cgroup-manager=cgroupfs"
                                                      : "--cgroup-manager=disabled");
    arg2(&args, "run", "--detach");
    arg2(&args, "--bundle", box->dir);
    arg2(&args, "--pid-file", "pid");
    if (box->spec->tty)
        arg2(&args, "--console-socket", "console.sock");
    arg(&args, box->id);
    become(&args);
}

/* ---- process ---- */

/* Programs of the image come before those of the machine: PATH is given the image's folders. */
static const char *process_path(const struct kb_image *image, const char *path,
                                struct kb_arena *arena)
{
    KB_AUTO(kb_buf_finish) struct kb_buf out = {0};
    for (size_t i = 0; i < image->n_layers; i++)
        kb_buf_printf(&out,
                      "%s/usr/local/bin:%s/usr/bin:%s/bin:%s/usr/sbin:%s/sbin:", image->layers[i],
                      image->layers[i], image->layers[i], image->layers[i], image->layers[i]);
    kb_buf_puts(&out, path);
    return kb_arena_str(arena, kb_buf_str(&out)).p;
}

static void process_env(struct kb_box *box, const struct kb_image *image, struct kb_arena *arena)
{
    const char **env = kb_oci_env(box->spec, image, NULL, arena);
    clearenv();
    for (; *env != NULL; env++)
        putenv((char *)(uintptr_t)*env);
    const char *path = getenv("PATH");
    setenv("PATH", process_path(image, path ? path : "/usr/bin:/bin", arena), 1);
}

static int start_process(struct kb_box *box, struct kb_err *err)
{
    struct args args = {0};
    static struct kb_image image;
    static struct kb_arena arena;
    const char **argv = NULL;
    const struct kb_rt_container_spec *spec = box->spec;
    if (kb_image_open(box->rt->image_dir, spec->image, &image, err) < 0 ||
        write_records(box, &image, err) < 0 || kb_oci_argv(spec, &image, &arena, &argv, err) < 0)
        return -err->code;
    if (spec->tty)
        return kb_err_set(err, KB_ENOSYS, "the process runtime has no terminals");
    if (spec->run_as_non_root && geteuid() == 0)
        return kb_err_set(err, KB_EFORBIDDEN,
                          "container has runAsNonRoot and image will run as root");
    if (spec->uid != KB_RT_UNSET && spec->uid != (int64_t)geteuid())
        return kb_err_set(err, KB_EFORBIDDEN,
                          "the process runtime runs all as user %u, not as runAsUser %lld",
                          (unsigned)geteuid(), (long long)spec->uid);
    shim_args(box, &args, &arena);
    arg2(&args, "--direct", "--");
    for (; *argv != NULL; argv++)
        arg(&args, *argv);
    process_env(box, &image, &arena);
    if (geteuid() == 0 && spec->gid > 0 && setgid((gid_t)spec->gid) < 0)
        return kb_err_sys(err, errno, "change group");
    become(&args);
}

int kb__shim_start_child(void *user, struct kb_buf *out, struct kb_err *err)
{
    struct kb_box *box = user;
    struct kb_rt_container_spec spec = *box->spec;
    KB_AUTO(kb_arena_finish) struct kb_arena arena = {0};
    struct kb_rt_mount *mounts = kb_arena_alloc(&arena, (spec.n_mounts + 1) * sizeof *mounts);
    (void)out;
    for (size_t i = 0; i < spec.n_mounts; i++)
        mounts[i] = spec.mounts[i];
    spec.mounts = mounts;
    box->spec = &spec;
    if (take_lock(box->dir, err) < 0 || log_folder(spec.log_path, err) < 0 ||
        kb__shim_sub_paths(mounts, spec.n_mounts, err) < 0)
        return -err->code;
    return box->rt->oci ? start_oci(box, err) : start_process(box, err);
}
