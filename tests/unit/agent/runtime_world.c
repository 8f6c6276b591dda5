#include "tests/unit/agent/runtime_world.h"

#include "agent/cgroup.h"
#include "agent/files.h"
#include "agent/image/image.h"
#include "bus/base/file.h"
#include "tests/lib/test.h"

#include <limits.h>
#include <sched.h>
#include <stdlib.h>
#include <unistd.h>

static void on_sandbox(void *arg, const char *uid, int rc, const struct kb_err *err,
                       const struct kb_rt_sandbox_info *info)
{
    struct world *w = arg;
    (void)uid;
    w->sandboxes++;
    w->sandbox_rc = rc;
    snprintf(w->ip, sizeof w->ip, "%s", info->ip);
    snprintf(w->words, sizeof w->words, "%s", err->text);
}

static void on_gone(void *arg, const char *uid, int rc, const struct kb_err *err)
{
    struct world *w = arg;
    (void)uid;
    w->gone++;
    w->gone_rc = rc;
    snprintf(w->words, sizeof w->words, "%s", err->text);
}

static void on_started(void *arg, const struct kb_rt_ref *ref, int rc, const struct kb_err *err,
                       const struct kb_rt_container_info *info)
{
    struct world *w = arg;
    (void)ref;
    w->started++;
    w->started_rc = rc;
    snprintf(w->words, sizeof w->words, "%s", err->text);
    snprintf(w->id, sizeof w->id, "%s", info->id);
}

static void on_exited(void *arg, const struct kb_rt_ref *ref, const struct kb_rt_exit *exit)
{
    struct world *w = arg;
    (void)ref;
    w->exited++;
    w->exit = *exit;
}

static const struct kb_rt_listener listener = {on_sandbox, on_gone, on_started, on_exited};

static void on_found(void *arg, const char *uid, const struct kb_rt_sandbox_info *sandbox,
                     const struct kb_rt_ref *ref, const struct kb_rt_container_info *info)
{
    struct world *w = arg;
    (void)uid, (void)sandbox;
    if (ref == NULL)
        return;
    w->found++;
    w->found_state = info->state;
    w->exit = info->exit;
    snprintf(w->id, sizeof w->id, "%s", info->id);
}

/* Give up after a minute: a test that waits for what never comes fails here, not by hanging. */
void world_until(struct world *w, const unsigned *counter, unsigned at_least)
{
    kb_ms end = kb_ev_now(w->ev) + 60000;
    while (*counter < at_least) {
        KB_CHECK(kb_ev_now(w->ev) < end);
        kb_ev_run(w->ev, 1000);
    }
}

void world_open(struct world *w, const char *name)
{
    struct kb_err err = {0};
    KB_CHECK_OK(kb_runtime_new(name, w->ev, &w->options, &listener, w, &w->rt, &err), &err);
    KB_CHECK_OK(kb_runtime_adopt(w->rt, on_found, w, &err), &err);
}

/* Where the shim is, as bin/ and lib/ lie. Asked for in a mount namespace of its own, the system
 * names the program by a path outside of a chroot that we may be in. */
static char *find_shim(void)
{
    char self[PATH_MAX];
    ssize_t n = readlink("/proc/self/exe", self, sizeof self - 1);
    KB_CHECK(n > 0);
    self[n] = '\0';
    *strrchr(self, '/') = '\0';
    return kb_strf("%s/../lib/kubus/kubus-shim", self);
}

struct world *world_new(const char *runtime)
{
    struct kb_err err = {0};
    struct world *w = calloc(1, sizeof *w);
    w->shim = find_shim();
    /* Own network, and no mount of ours outlives the test. */
    KB_CHECK(unshare(CLONE_NEWNET | CLONE_NEWNS) == 0);
    w->ev = kb_ev_new(kb_clock_system());
    w->dir = kb_strf("%s/node", kb_test_dir());
    w->images = kb_strf("%s/images", kb_test_dir());
    w->log = kb_strf("%s/pods/u-1/logs/c/0.log", w->dir);
    w->out_fd = -1;
    w->cgroup = kb_strf("kubus-test-agent-%d", (int)getpid());
    w->options = (struct kb_rt_options){.node = "n1",
                                        .dir = w->dir,
                                        .image_dir = w->images,
                                        .shim = w->shim,
                                        .pod_cidr = "10.99.7.0/24",
                                        .cgroup = w->cgroup};
    KB_CHECK_OK(kb_image_busybox(w->images, &err), &err);
    world_open(w, runtime);
    return w;
}

void world_sandbox(struct world *w, bool share_pid)
{
    struct kb_rt_sandbox_spec spec = {.uid = "u-1",
                                      .ns = "default",
                                      .name = "web-0",
                                      .hostname = "web-0",
                                      .share_pid = share_pid};
    kb_runtime_sandbox(w->rt, &spec);
    world_until(w, &w->sandboxes, 1);
    if (w->sandbox_rc < 0)
        kb_test_fail(__FILE__, __LINE__, "sandbox: %s", w->words);
}

struct kb_rt_container_spec world_spec(struct world *w, const char *const *argv)
{
    return (struct kb_rt_container_spec){.ref = {"u-1", "c", 0},
                                         .image = "busybox",
                                         .argv = argv,
                                         .uid = KB_RT_UNSET,
                                         .gid = KB_RT_UNSET,
                                         .log_path = w->log,
                                         .log_max_bytes = 10 << 20,
                                         .log_max_files = 5};
}

void world_start(struct world *w, const struct kb_rt_container_spec *spec)
{
    unsigned before = w->started;
    kb_runtime_start(w->rt, spec);
    world_until(w, &w->started, before + 1);
    if (w->started_rc < 0)
        kb_test_fail(__FILE__, __LINE__, "start: %s", w->words);
}

void world_start_sh(struct world *w, const char *script)
{
    const char *const argv[] = {"sh", "-c", script, NULL};
    struct kb_rt_container_spec spec = world_spec(w, argv);
    world_start(w, &spec);
}

static bool in_log(struct world *w, const char *want, struct kb_buf *buf)
{
    kb_str text = kb_get_file(w->log, buf);
    return strstr(text.p ? text.p : "", want) != NULL;
}

void world_until_log(struct world *w, const char *want)
{
    KB_AUTO(kb_buf_finish) struct kb_buf buf = {0};
    kb_ms end = kb_ev_now(w->ev) + 60000;
    while (!in_log(w, want, &buf)) {
        KB_CHECK(kb_ev_now(w->ev) < end);
        kb_ev_run(w->ev, 5);
    }
}

void world_check_log(struct world *w, const char *want)
{
    KB_AUTO(kb_buf_finish) struct kb_buf buf = {0};
    bool there = in_log(w, want, &buf);
    kb_str text = kb_buf_str(&buf);
    if (!there)
        kb_test_fail(__FILE__, __LINE__, "'%s' is not in the log:\n%s", want, text.p ? text.p : "");
}

void world_finish(struct world *w)
{
    kb_runtime_remove_pod(w->rt, "u-1");
    world_until(w, &w->gone, 1);
    if (w->gone_rc < 0)
        kb_test_fail(__FILE__, __LINE__, "remove: %s", w->words);
    KB_AUTO(kb_auto_free) char *pod = kb_strf("%s/pods/u-1", w->dir);
    KB_CHECK(!kb_path_exists(pod));
    struct kb_cgroups cgroups;
    kb_cgroups_probe(&cgroups, "/sys/fs/cgroup");
    kb_cgroup_remove(&cgroups, w->cgroup, NULL);
    kb_runtime_destroy(&w->rt);
    kb_ev_destroy(&w->ev);
    kb_buf_finish(&w->out);
    free(w->dir);
    free(w->images);
    free(w->shim);
    free(w->log);
    free(w->cgroup);
    free(w);
}

pid_t world_shim(struct world *w)
{
    KB_AUTO(kb_buf_finish) struct kb_buf buf = {0};
    KB_AUTO(kb_auto_free) char *path = kb_strf("%s/pods/u-1/containers/c/0/shim", w->dir);
    return (pid_t)atoi(kb_get_file(path, &buf).p);
}
