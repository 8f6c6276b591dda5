/* runtime_shim.c - containers behind shims, as the agent sees them.
 *
 * The agent keeps no state that the disk does not have: a box (container) is a folder, a sandbox is
 * a folder, and an agent that starts reads them back (shim_adopt.c). A box is made by a job that
 * takes the folder's lock, prepares everything, and then becomes the shim by exec, so that between
 * the first file and the container's end somebody holds the lock: whoever finds it free and no
 * `exit` file knows that the shim was killed. The agent notices a container's end as the end of the
 * shim (a child, or a pidfd of an adopted one), never by polling.
 *
 * Removal does not ask the OCI runtime: its state is one folder below our own --root, its cgroup is
 * named by us, the mounts are ours. That saves 10 ms and works when the runtime is broken. */
#include "agent/runtime_shim.h"
#include "agent/files.h"
#include "agent/net/netlink.h"
#include "agent/sandbox.h"
#include "bus/base/check.h"
#include "bus/base/file.h"
#include "bus/base/rand.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

enum { JOB_LIMIT_MS = 120000 }; /* as long as a kubelet lets its runtime take */

/* Per pod: how many of its jobs run, and whether it shall be removed when they are done. */
struct shim_pod {
    struct kb_shim_rt *rt;
    char *uid;
    unsigned busy;
    bool remove, gone;
};

static struct shim_pod *pod_of(struct kb_shim_rt *rt, const char *uid)
{
    struct shim_pod *pod = kb_map_get(&rt->pods, kb_str_of(uid));
    if (pod == NULL) {
        pod = calloc(1, sizeof *pod);
        KB_ASSERT(pod != NULL);
        pod->rt = rt;
        pod->uid = kb_str_dup(kb_str_of(uid));
        kb_map_put(&rt->pods, kb_str_of(uid), pod);
    }
    return pod;
}

static void pod_idle(struct shim_pod *pod);

void kb__shim_pod_busy(struct kb_shim_rt *rt, const char *uid)
{
    pod_of(rt, uid)->busy++;
}

void kb__shim_pod_done(struct kb_shim_rt *rt, const char *uid)
{
    struct shim_pod *pod = pod_of(rt, uid);
    pod->busy--;
    pod_idle(pod);
}

static void pod_free(struct shim_pod *pod)
{
    free(pod->uid);
    free(pod);
}

char *kb__shim_pod_dir(const struct kb_shim_rt *rt, const char *uid)
{
    return kb_strf("%s/pods/%s", rt->dir, uid);
}

char *kb__shim_pod_cgroup(const struct kb_shim_rt *rt, const char *uid)
{
    return kb_strf("%s/pod%s", rt->cgroup, uid);
}

static char *pod_lock(const struct kb_shim_rt *rt, const char *uid)
{
    return kb_strf("%s/pods/.%s.lock", rt->dir, uid);
}

/* ---- boxes ---- */

static char *box_key(const struct kb_rt_ref *ref)
{
    return kb_strf("%s/%s/%u", ref->uid, ref->container, ref->attempt);
}

struct kb_box *kb__shim_box(struct kb_shim_rt *rt, const struct kb_rt_ref *ref)
{
    KB_AUTO(kb_auto_free) char *key = box_key(ref);
    return kb_map_get(&rt->boxes, kb_str_of(key));
}

struct kb_box *kb__shim_box_new(struct kb_shim_rt *rt, const struct kb_rt_ref *ref)
{
    struct kb_box *box = calloc(1, sizeof *box);
    KB_ASSERT(box != NULL);
    box->rt = rt;
    box->key = box_key(ref);
    box->uid = kb_str_dup(kb_str_of(ref->uid));
    box->name = kb_str_dup(kb_str_of(ref->container));
    box->attempt = ref->attempt;
    box->dir =
        kb_strf("%s/pods/%s/containers/%s/%u", rt->dir, ref->uid, ref->container, ref->attempt);
    box->pid_fd = box->shim_fd = box->inotify_fd = -1;
    kb_map_put(&rt->boxes, kb_str_of(box->key), box);
    return box;
}

void kb__shim_box_free(struct kb_box *box)
{
    kb_map_del(&box->rt->boxes, kb_str_of(box->key));
    kb_job_forget(&box->job);
    kb_ev_unwatch(&box->shim_watch);
    kb_ev_unwatch(&box->inotify_watch);
    kb_auto_close(&box->pid_fd);
    kb_auto_close(&box->shim_fd);
    kb_auto_close(&box->inotify_fd);
    free(box->key);
    free(box->uid);
    free(box->name);
    free(box->dir);
    free(box->image);
    free(box->image_id);
    free(box);
}

static struct kb_rt_ref ref_of(const struct kb_box *box)
{
    return (struct kb_rt_ref){box->uid, box->name, box->attempt};
}

void kb__shim_info(struct kb_box *box, struct kb_rt_container_info *ret)
{
    snprintf(box->full_id, sizeof box->full_id, "%s://%s",
             box->rt->oci ? (box->rt->is_crun ? "crun" : "runc") : "process", box->id);
    *ret = (struct kb_rt_container_info){.id = box->full_id,
                                         .image = box->image ? box->image : "",
                                         .image_id = box->image_id ? box->image_id : "",
                                         .restarts = box->restarts,
                                         .state = box->state,
                                         .started_us = box->started_us,
                                         .exit = box->exit};
}

void kb__shim_box_started(struct kb_box *box, pid_t pid, int64_t started_us, bool tell)
{
    struct kb_rt_container_info info;
    struct kb_rt_ref ref = ref_of(box);
    struct kb_err err = {0};
    kb__shim_read_meta(box);
    box->pid = pid;
    box->pid_fd = (int)syscall(SYS_pidfd_open, pid, 0); /* -1: over already; the shim will say */
    box->started_us = started_us;
    box->state = KB_RT_RUNNING;
    box->started_told = true;
    kb__shim_info(box, &info);
    if (tell)
        box->rt->base.listener->started(box->rt->base.arg, &ref, 0, &err, &info);
}

/* Clear what a failed start left, and say so. The box is gone afterwards. */
void kb__shim_box_failed(struct kb_box *box, int rc, const struct kb_err *err)
{
    struct kb_rt_container_info info;
    struct kb_rt_ref ref = ref_of(box);
    box->dead = true;
    box->state = KB_RT_EXITED;
    kb__shim_read_meta(box);
    kb__shim_info(box, &info);
    box->rt->base.listener->started(box->rt->base.arg, &ref, rc, err, &info);
}

static void write_lost_exit(struct kb_box *box)
{
    KB_AUTO(kb_auto_free) char *path = kb_strf("%s/exit", box->dir);
    KB_AUTO(kb_auto_free)
    char *text =
        kb_strf("code=137 signal=9 oom=0 lost=1 started=%lld finished=%lld\n",
                (long long)box->started_us, (long long)kb_clock_wall_us(kb_clock_system()));
    (void)kb_put_file(path, kb_str_of(text), 0600, NULL);
}

/* Everything that is left in the container's group dies with its first process. */
static void box_kill_rest(struct kb_box *box)
{
    KB_AUTO(kb_auto_free) char *pod = kb__shim_pod_cgroup(box->rt, box->uid);
    KB_AUTO(kb_auto_free) char *group = kb_strf("%s/%s", pod, box->id);
    if (box->rt->oci)
        kb_cgroup_kill(&box->rt->cgroups, group);
    else if (box->pid > 1)
        kill(-box->pid, SIGKILL);
}

/* The shim has gone: read how the container ended, or make an end of it. */
void kb__shim_box_settle(struct kb_box *box)
{
    box->dead = true;
    if (!kb__shim_read_exit(box->dir, &box->exit)) {
        if (box->pid_fd >= 0)
            syscall(SYS_pidfd_send_signal, box->pid_fd, SIGKILL, NULL, 0);
        box_kill_rest(box);
        write_lost_exit(box);
        kb__shim_read_exit(box->dir, &box->exit);
    } else if (box->shared) {
        box_kill_rest(box);
    }
    box->state = KB_RT_EXITED;
    kb_auto_close(&box->pid_fd);
}

void kb__shim_box_ended(struct kb_box *box)
{
    struct kb_rt_ref ref = ref_of(box);
    if (box->dead)
        return;
    kb_ev_unwatch(&box->shim_watch);
    kb_ev_unwatch(&box->inotify_watch);
    kb__shim_box_settle(box);
    box->rt->base.listener->exited(box->rt->base.arg, &ref, &box->exit);
}

/* ---- starting ---- */

static void on_start_done(void *arg, int rc, kb_str out, const struct kb_err *err)
{
    struct kb_box *box = arg;
    struct shim_pod *pod = pod_of(box->rt, box->uid);
    pod->busy--;
    if (rc < 0) {
        kb__shim_box_failed(box, rc, err);
    } else {
        int64_t pid = 0, us = 0;
        kb_str rest = kb_str_trim(out);
        kb_str_i64(kb_str_cut(&rest, ' '), &pid);
        kb_str_i64(rest, &us);
        kb__shim_box_started(box, (pid_t)pid, us, true);
    }
    pod_idle(pod);
}

static void on_shim_exited(void *arg, int wait_status)
{
    struct kb_box *box = arg;
    (void)wait_status;
    box->job = NULL;
    kb__shim_box_ended(box);
}

static const struct kb_job_calls start_calls = {kb__shim_start_child, on_start_done,
                                                on_shim_exited};

static void make_id(char id[65])
{
    static const char digits[] = "0123456789abcdef";
    struct kb_rand rand;
    kb_rand_init_system(&rand);
    for (int i = 0; i < 64; i++)
        id[i] = digits[kb_rand_below(&rand, 16)];
    id[64] = '\0';
}

static void shim_start(struct kb_runtime *base, const struct kb_rt_container_spec *spec)
{
    struct kb_shim_rt *rt = (struct kb_shim_rt *)base;
    if (kb__shim_box(rt, &spec->ref) != NULL) /* under way or adopted: its events come */
        return;
    struct kb_box *box = kb__shim_box_new(rt, &spec->ref);
    make_id(box->id);
    box->image = kb_str_dup(kb_str_of(spec->image));
    box->state = KB_RT_STARTING;
    box->restarts = spec->restarts;
    box->spec = spec;
    pod_of(rt, spec->ref.uid)->busy++;
    box->job = kb_job_start(base->ev, &start_calls, rt->job_limit_ms, box);
    box->spec = NULL;
}

static int shim_signal(struct kb_runtime *base, const struct kb_rt_ref *ref, int sig)
{
    struct kb_box *box = kb__shim_box((struct kb_shim_rt *)base, ref);
    if (box == NULL || box->state != KB_RT_RUNNING || box->pid_fd < 0)
        return -KB_ENOTFOUND;
    if (!box->rt->oci && sig == SIGKILL)
        kill(-box->pid, SIGKILL);
    return syscall(SYS_pidfd_send_signal, box->pid_fd, sig, NULL, 0) < 0 ? -KB_ENOTFOUND : 0;
}

/* ---- sandboxes ---- */

/* Jobs outlive an agent that is killed: one that makes or removes the pod's sandbox waits for that
 * of the agent before. In a job; held until it ends, or until *ret_fd is closed. */
static int lock_pod(const struct kb_shim_rt *rt, const char *uid, int *ret_fd, struct kb_err *err)
{
    KB_AUTO(kb_auto_free) char *path = pod_lock(rt, uid);
    for (;;) {
        struct stat mine, there;
        KB_AUTO(kb_auto_close) int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
        if (fd < 0)
            return kb_err_sys(err, errno, "open '%s'", path);
        while (flock(fd, LOCK_EX) < 0 && errno == EINTR)
            ;
        if (fstat(fd, &mine) == 0 && stat(path, &there) == 0 && mine.st_ino == there.st_ino) {
            *ret_fd = fd;
            fd = -1;
            return 0;
        } /* else the one before us has removed the pod, and the file with it */
    }
}

struct sandbox_job {
    struct shim_pod *pod;
    char *dir;
    const struct kb_rt_sandbox_spec *spec;
    bool host_network;
};

static int sandbox_child(void *arg, struct kb_buf *out, struct kb_err *err)
{
    struct sandbox_job *job = arg;
    struct kb_shim_rt *rt = job->pod->rt;
    const struct kb_rt_sandbox_spec *spec = job->spec;
    char ip[KB_IP_BYTES] = "";
    struct kb_cgroup_limits limits = {.cpu_shares = kb_cgroup_shares(spec->cpu_milli_request),
                                      .cpu_quota_us = kb_cgroup_quota_us(spec->cpu_milli_limit),
                                      .memory_bytes = spec->memory_limit};
    KB_AUTO(kb_auto_free) char *group = kb__shim_pod_cgroup(rt, spec->uid);
    KB_AUTO(kb_auto_close) int lock = -1;
    if (lock_pod(rt, spec->uid, &lock, err) < 0)
        return -err->code;
    if (rt->oci) {
        if (kb_cgroup_make(&rt->cgroups, group, &limits, err) < 0 ||
            kb_sandbox_make(job->dir, spec, &rt->net, rt->shim, ip, err) < 0)
            return -err->code;
    } else {
        KB_AUTO(kb_auto_free) char *info = kb_strf("%s/info", job->dir);
        if (kb_dir_make(job->dir, 0755, err) < 0 ||
            kb_put_file(info, kb_str_of("ip=\nhost_network=1\n"), 0644, err) < 0)
            return -err->code;
    }
    kb_buf_puts(out, ip);
    return 0;
}

static void on_sandbox_done(void *arg, int rc, kb_str out, const struct kb_err *err)
{
    struct sandbox_job *job = arg;
    struct shim_pod *pod = job->pod;
    KB_AUTO(kb_auto_free) char *ip = kb_str_dup(out);
    struct kb_rt_sandbox_info info = {.ip = ip, .host_network = job->host_network};
    pod->busy--;
    free(job->dir);
    free(job);
    if (!pod->remove)
        pod->rt->base.listener->sandbox(pod->rt->base.arg, pod->uid, rc, err, &info);
    pod_idle(pod);
}

static const struct kb_job_calls sandbox_calls = {sandbox_child, on_sandbox_done, NULL};

static void shim_sandbox(struct kb_runtime *base, const struct kb_rt_sandbox_spec *spec)
{
    struct kb_shim_rt *rt = (struct kb_shim_rt *)base;
    struct sandbox_job *job = calloc(1, sizeof *job);
    KB_ASSERT(job != NULL);
    job->pod = pod_of(rt, spec->uid);
    job->pod->busy++;
    job->dir = kb_strf("%s/pods/%s/sandbox", rt->dir, spec->uid);
    job->spec = spec;
    job->host_network = spec->host_network || !rt->oci;
    kb_job_start(base->ev, &sandbox_calls, rt->job_limit_ms, job);
    job->spec = NULL;
}

/* ---- removing ---- */

static void remove_box_files(const struct kb_shim_rt *rt, const char *uid, const char *id,
                             const char *dir)
{
    KB_AUTO(kb_auto_free) char *pod = kb__shim_pod_cgroup(rt, uid);
    KB_AUTO(kb_auto_free) char *group = kb_strf("%s/%s", pod, id);
    KB_AUTO(kb_auto_free) char *state = kb_strf("%s/%s", rt->oci_root ? rt->oci_root : "", id);
    if (rt->oci && *id) {
        (void)kb_cgroup_remove(&rt->cgroups, group, NULL);
        kb_unmount_below(state);
        (void)kb_dir_remove(state, NULL);
    }
    kb_unmount_below(dir);
    (void)kb_dir_remove(dir, NULL);
}

struct remove_job {
    struct shim_pod *pod;
    char *dir;
    char id[65];
};

static int remove_box_child(void *arg, struct kb_buf *out, struct kb_err *err)
{
    struct remove_job *job = arg;
    (void)out, (void)err;
    remove_box_files(job->pod->rt, job->pod->uid, job->id, job->dir);
    return 0;
}

static void on_box_removed(void *arg, int rc, kb_str out, const struct kb_err *err)
{
    struct remove_job *job = arg;
    struct shim_pod *pod = job->pod;
    (void)rc, (void)out, (void)err;
    pod->busy--;
    free(job->dir);
    free(job);
    pod_idle(pod);
}

static const struct kb_job_calls remove_box_calls = {remove_box_child, on_box_removed, NULL};

static void shim_remove(struct kb_runtime *base, const struct kb_rt_ref *ref)
{
    struct kb_shim_rt *rt = (struct kb_shim_rt *)base;
    struct kb_box *box = kb__shim_box(rt, ref);
    if (box == NULL || !box->dead)
        return;
    struct remove_job *job = calloc(1, sizeof *job);
    KB_ASSERT(job != NULL);
    job->pod = pod_of(rt, ref->uid);
    job->pod->busy++;
    job->dir = KB_STEAL(box->dir);
    memcpy(job->id, box->id, sizeof job->id);
    kb__shim_box_free(box);
    kb_job_start(base->ev, &remove_box_calls, rt->job_limit_ms, job);
}

static int read_id(const char *dir, char id[65])
{
    KB_AUTO(kb_auto_free) char *path = kb_strf("%s/meta", dir);
    KB_AUTO(kb_buf_finish) struct kb_buf buf = {0};
    return kb_str_copy(kb_line_value(kb_get_file(path, &buf), "id"), id, 65) ? 0 : -1;
}

/* Wait until the container's shim has written its last word and gone: it holds the lock. */
static void await_shim(const char *dir)
{
    KB_AUTO(kb_auto_free) char *path = kb_strf("%s/lock", dir);
    KB_AUTO(kb_auto_close) int fd = open(path, O_RDWR | O_CLOEXEC);
    while (fd >= 0 && flock(fd, LOCK_EX) < 0 && errno == EINTR)
        ;
}

/* The state that the OCI runtime keeps of each container of the pod. */
static void remove_states(const struct kb_shim_rt *rt, const char *pod_dir)
{
    char id[65];
    KB_AUTO(kb_auto_free) char *top = kb_strf("%s/containers", pod_dir);
    DIR *names = opendir(top);
    for (struct dirent *name; names != NULL && (name = readdir(names)) != NULL;) {
        if (name->d_name[0] == '.')
            continue;
        KB_AUTO(kb_auto_free) char *one = kb_strf("%s/%s", top, name->d_name);
        DIR *attempts = opendir(one);
        for (struct dirent *it; attempts != NULL && (it = readdir(attempts)) != NULL;) {
            KB_AUTO(kb_auto_free) char *dir = kb_strf("%s/%s", one, it->d_name);
            if (it->d_name[0] == '.' || read_id(dir, id) < 0)
                continue;
            await_shim(dir);
            if (rt->oci) {
                KB_AUTO(kb_auto_free) char *state = kb_strf("%s/%s", rt->oci_root, id);
                (void)kb_dir_remove(state, NULL);
            }
        }
        if (attempts != NULL)
            closedir(attempts);
    }
    if (names != NULL)
        closedir(names);
}

static int remove_pod_child(void *arg, struct kb_buf *out, struct kb_err *err)
{
    struct shim_pod *pod = arg;
    struct kb_shim_rt *rt = pod->rt;
    (void)out;
    KB_AUTO(kb_auto_free) char *dir = kb__shim_pod_dir(rt, pod->uid);
    KB_AUTO(kb_auto_free) char *sandbox = kb_strf("%s/sandbox", dir);
    KB_AUTO(kb_auto_free) char *group = kb__shim_pod_cgroup(rt, pod->uid);
    KB_AUTO(kb_auto_free) char *lock_path = pod_lock(rt, pod->uid);
    KB_AUTO(kb_auto_close) int lock = -1;
    if (lock_pod(rt, pod->uid, &lock, err) < 0)
        return -err->code;
    if (rt->oci && kb_cgroup_remove(&rt->cgroups, group, err) < 0)
        return -err->code;
    remove_states(rt, dir);
    if (kb_sandbox_remove(sandbox, pod->uid, rt->oci ? &rt->net : NULL, err) < 0)
        return -err->code;
    kb_unmount_below(dir);
    if (kb_dir_remove(dir, err) < 0)
        return -err->code;
    unlink(lock_path);
    return 0;
}

static void free_boxes_of(struct kb_shim_rt *rt, const char *uid)
{
    kb_str key;
    void *value;
    for (size_t i = 0; kb_map_next(&rt->boxes, &i, &key, &value);) {
        struct kb_box *box = value;
        if (strcmp(box->uid, uid) == 0)
            kb__shim_box_free(box);
    }
}

static void on_pod_removed(void *arg, int rc, kb_str out, const struct kb_err *err)
{
    struct shim_pod *pod = arg;
    struct kb_shim_rt *rt = pod->rt;
    (void)out;
    pod->busy--;
    pod->remove = false;
    if (rc == 0) {
        free_boxes_of(rt, pod->uid);
        kb_map_del(&rt->pods, kb_str_of(pod->uid));
    }
    rt->base.listener->pod_gone(rt->base.arg, pod->uid, rc, err);
    if (rc == 0)
        pod_free(pod);
}

/* Kill what runs; the shims then end, which nobody is told any more. */
static void kill_boxes_of(struct kb_shim_rt *rt, const char *uid)
{
    kb_str key;
    void *value;
    for (size_t i = 0; kb_map_next(&rt->boxes, &i, &key, &value);) {
        struct kb_box *box = value;
        if (strcmp(box->uid, uid) != 0 || box->dead)
            continue;
        struct kb_rt_ref ref = ref_of(box);
        shim_signal(&rt->base, &ref, SIGKILL);
    }
}

static const struct kb_job_calls remove_pod_calls = {remove_pod_child, on_pod_removed, NULL};

static void pod_idle(struct shim_pod *pod)
{
    if (!pod->remove || pod->busy > 0)
        return;
    pod->busy++;
    kill_boxes_of(pod->rt, pod->uid);
    kb_job_start(pod->rt->base.ev, &remove_pod_calls, pod->rt->job_limit_ms, pod);
}

static void shim_remove_pod(struct kb_runtime *base, const char *uid)
{
    struct shim_pod *pod = pod_of((struct kb_shim_rt *)base, uid);
    if (pod->remove)
        return;
    pod->remove = true;
    pod_idle(pod);
}

/* ---- small questions ---- */

static bool shim_look(struct kb_runtime *base, const struct kb_rt_ref *ref,
                      struct kb_rt_container_info *ret_info)
{
    struct kb_box *box = kb__shim_box((struct kb_shim_rt *)base, ref);
    if (box == NULL || (box->dead && !box->started_told))
        return false;
    kb__shim_info(box, ret_info);
    return true;
}

static char *shim_pod_dir(struct kb_runtime *base, const char *uid)
{
    char *dir = kb__shim_pod_dir((struct kb_shim_rt *)base, uid);
    (void)kb_dir_make(dir, 0755, NULL);
    return dir;
}

static pid_t shim_pid(struct kb_runtime *base, const struct kb_rt_ref *ref)
{
    struct kb_box *box = kb__shim_box((struct kb_shim_rt *)base, ref);
    return box != NULL && box->state == KB_RT_RUNNING ? box->pid : 0;
}

/* ---- life ---- */

static void shim_wipe(struct kb_runtime *base)
{
    struct kb_shim_rt *rt = (struct kb_shim_rt *)base;
    struct kb_err err = {0};
    KB_AUTO(kb_auto_close) int nl = kb_nl_open(&err);
    if (nl >= 0 && rt->net.cni_dir == NULL)
        (void)kb_nl_del(nl, rt->bridge, NULL);
    (void)kb_cgroup_remove(&rt->cgroups, rt->cgroup, NULL);
}

static void shim_destroy(struct kb_runtime *base)
{
    struct kb_shim_rt *rt = (struct kb_shim_rt *)base;
    kb_str key;
    void *value;
    for (size_t i = 0; kb_map_next(&rt->boxes, &i, &key, &value);)
        kb__shim_box_free(value);
    for (size_t i = 0; kb_map_next(&rt->pods, &i, &key, &value);)
        pod_free(value);
    kb_map_finish(&rt->boxes);
    kb_map_finish(&rt->pods);
    free(rt->dir);
    free(rt->image_dir);
    free(rt->shim);
    free(rt->oci_path);
    free(rt->oci_root);
    free(rt->cgroup);
    free(rt->bridge);
    free(rt->ipam_dir);
    free(rt);
}

/* The shim stands beside the program: bin/kubus and lib/kubus/kubus-shim. Caller frees. */
static char *find_shim(const char *given)
{
    char self[4096];
    ssize_t n = readlink("/proc/self/exe", self, sizeof self - 1);
    if (given != NULL)
        return kb_str_dup(kb_str_of(given));
    self[n > 0 ? n : 0] = '\0';
    char *slash = strrchr(self, '/');
    if (slash != NULL)
        *slash = '\0';
    return kb_strf("%s/../lib/kubus/kubus-shim", self);
}

int kb__shim_rt_new(const struct kb_runtime_impl *impl, bool oci,
                    const struct kb_rt_options *options, struct kb_shim_rt **ret_rt,
                    struct kb_err *err)
{
    char absolute[4096];
    struct kb_shim_rt *rt = calloc(1, sizeof *rt);
    KB_ASSERT(rt != NULL);
    rt->base.impl = impl;
    rt->oci = oci;
    rt->shim = find_shim(options->shim);
    /* Roots of containers, with programs that change the user, and files of all pods: not for the
     * node's own users. */
    bool ok = access(rt->shim, X_OK) == 0 && kb_dir_make(options->dir, 0700, err) == 0 &&
              chmod(options->dir, 0700) == 0 && realpath(options->dir, absolute) != NULL;
    if (!ok) {
        int rc =
            kb_err_set(err, KB_EUNAVAILABLE, "'%s' or '%s' cannot be used", rt->shim, options->dir);
        shim_destroy(&rt->base);
        return rc;
    }
    rt->dir = kb_str_dup(kb_str_of(absolute));
    uint32_t hash = (uint32_t)kb_hash64(absolute, strlen(absolute));
    rt->image_dir = kb_str_dup(kb_str_of(options->image_dir));
    rt->ipam_dir = kb_strf("%s/ipam", absolute);
    rt->job_limit_ms = options->job_limit_ms > 0 ? options->job_limit_ms : JOB_LIMIT_MS;
    rt->cgroup =
        options->cgroup ? kb_str_dup(kb_str_of(options->cgroup)) : kb_strf("kubus-%08x", hash);
    rt->bridge =
        options->bridge ? kb_str_dup(kb_str_of(options->bridge)) : kb_strf("kb-%08x", hash);
    rt->net = (struct kb_podnet){.ipam_dir = rt->ipam_dir,
                                 .cidr = options->pod_cidr ? options->pod_cidr : "10.244.0.0/24",
                                 .bridge = rt->bridge,
                                 .cni_dir = options->cni_dir};
    *ret_rt = rt;
    return 0;
}

#define COMMON                                                                                     \
    .destroy = shim_destroy, .adopt = kb__shim_adopt, .sandbox = shim_sandbox,                     \
    .start = shim_start, .signal = shim_signal, .remove = shim_remove, .look = shim_look,          \
    .remove_pod = shim_remove_pod, .pod_dir = shim_pod_dir, .pid = shim_pid,                       \
    .exec = kb__shim_exec, .attach = kb__shim_attach

const struct kb_runtime_impl kb__shim_impl_oci = {.name = "oci", COMMON, .wipe = shim_wipe};
const struct kb_runtime_impl kb__shim_impl_process = {.name = "process", COMMON};
