/* Real containers through each runtime, in a network namespace of the test's own. */
#include "agent/cgroup.h"
#include "agent/files.h"
#include "agent/image/image.h"
#include "agent/job.h"
#include "agent/runtime.h"
#include "bus/base/file.h"
#include "tests/lib/test.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

enum { MAX_SEEN = 16 };

struct world {
    struct kb_ev *ev;
    struct kb_runtime *rt;
    struct kb_rt_options options;
    char *dir, *images, *log, *shim, *cgroup;
    int sandbox_rc, started_rc, gone_rc, exec_rc, exec_code;
    unsigned sandboxes, started, exited, gone, found, exec_done;
    char ip[16], words[512], id[128];
    enum kb_rt_state found_state;
    struct kb_rt_exit exit;
    struct kb_buf out;
    struct kb_ev_fd *out_watch;
    int out_fd;
};

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
static void until(struct world *w, const unsigned *counter, unsigned at_least)
{
    kb_ms end = kb_ev_now(w->ev) + 60000;
    while (*counter < at_least) {
        KB_CHECK(kb_ev_now(w->ev) < end);
        kb_ev_run(w->ev, 1000);
    }
}

static void open_runtime(struct world *w, const char *name)
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

static struct world *world_new(const char *runtime)
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
    open_runtime(w, runtime);
    return w;
}

static void sandbox(struct world *w, bool share_pid)
{
    struct kb_rt_sandbox_spec spec = {.uid = "u-1",
                                      .ns = "default",
                                      .name = "web-0",
                                      .hostname = "web-0",
                                      .share_pid = share_pid};
    kb_runtime_sandbox(w->rt, &spec);
    until(w, &w->sandboxes, 1);
    if (w->sandbox_rc < 0)
        kb_test_fail(__FILE__, __LINE__, "sandbox: %s", w->words);
}

static struct kb_rt_container_spec spec_of(struct world *w, const char *const *argv)
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

static void start(struct world *w, const struct kb_rt_container_spec *spec)
{
    unsigned before = w->started;
    kb_runtime_start(w->rt, spec);
    until(w, &w->started, before + 1);
    if (w->started_rc < 0)
        kb_test_fail(__FILE__, __LINE__, "start: %s", w->words);
}

static void start_sh(struct world *w, const char *script)
{
    const char *const argv[] = {"sh", "-c", script, NULL};
    struct kb_rt_container_spec spec = spec_of(w, argv);
    start(w, &spec);
}

static bool in_log(struct world *w, const char *want, struct kb_buf *buf)
{
    kb_str text = kb_get_file(w->log, buf);
    return strstr(text.p ? text.p : "", want) != NULL;
}

static void until_log(struct world *w, const char *want)
{
    KB_AUTO(kb_buf_finish) struct kb_buf buf = {0};
    kb_ms end = kb_ev_now(w->ev) + 60000;
    while (!in_log(w, want, &buf)) {
        KB_CHECK(kb_ev_now(w->ev) < end);
        kb_ev_run(w->ev, 5);
    }
}

static void check_log(struct world *w, const char *want)
{
    KB_AUTO(kb_buf_finish) struct kb_buf buf = {0};
    bool there = in_log(w, want, &buf);
    kb_str text = kb_buf_str(&buf);
    if (!there)
        kb_test_fail(__FILE__, __LINE__, "'%s' is not in the log:\n%s", want, text.p ? text.p : "");
}

static void finish(struct world *w)
{
    kb_runtime_remove_pod(w->rt, "u-1");
    until(w, &w->gone, 1);
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

KB_TEST(oci, a_container_runs_logs_and_its_exit_code_is_kept)
{
    struct world *w = world_new("oci");
    sandbox(w, false);
    KB_CHECK_STR(w->ip, "10.99.7.2");
    start_sh(w, "hostname; ip -4 addr show eth0 | grep -o '10.99.7.2/24'; echo oops >&2; exit 3");
    until(w, &w->exited, 1);
    KB_CHECK_I64(w->exit.code, ==, 3);
    KB_CHECK(w->exit.started_us > 0 && w->exit.finished_us >= w->exit.started_us);
    check_log(w, " stdout F web-0\n");
    check_log(w, " stdout F 10.99.7.2/24\n");
    check_log(w, " stderr F oops\n");
    finish(w);
}

KB_TEST(process, what_pods_have_is_for_no_other_user_of_the_node)
{
    struct stat st;
    KB_CHECK(mkdir(kb_test_keep(kb_strf("%s/node", kb_test_dir())), 0755) == 0); /* an old one */
    struct world *w = world_new("process");
    KB_CHECK(stat(w->dir, &st) == 0);
    KB_CHECK_U64(st.st_mode & 07777, ==, 0700);
    KB_CHECK(stat(w->images, &st) == 0);
    KB_CHECK_U64(st.st_mode & 07777, ==, 0700);
    sandbox(w, false);
    start_sh(w, "exit 0");
    until(w, &w->exited, 1);
    finish(w);
}

KB_TEST(oci, pods_reach_the_node_and_each_other_share_one_network)
{
    struct world *w = world_new("oci");
    struct kb_err err = {0};
    sandbox(w, false);
    start_sh(w, "echo hi >/tmp/index.html; exec httpd -f -p 8080 -h /tmp");
    /* Until it listens; a proxy that the environment names is not for us. */
    const char *argv[] = {"busybox", "wget", "-Y", "off", "-q", "-O", "-", "http://10.99.7.2:8080/",
                          NULL};
    int tries = 0;
    KB_AUTO(kb_buf_finish) struct kb_buf out = {0};
    while (kb_spawn(argv, (kb_str){0}, &out, NULL, &err) < 0)
        if (w->exited || ++tries >= 200)
            kb_test_fail(__FILE__, __LINE__, "%s", err.text);
    KB_CHECK_STRN(kb_buf_str(&out), "hi\n");
    const char *const script[] = {"wget", "-q", "-O", "-", "http://127.0.0.1:8080/", NULL};
    struct kb_rt_container_spec other = spec_of(w, script);
    other.ref.container = "d";
    start(w, &other);
    until(w, &w->exited, 1);
    KB_CHECK_I64(w->exit.code, ==, 0);
    check_log(w, " stdout F hi\n");
    finish(w);
}

KB_TEST(oci, a_program_that_does_not_exist_is_a_failed_start_with_words)
{
    struct world *w = world_new("oci");
    const char *const argv[] = {"/no/such", NULL};
    struct kb_rt_container_spec spec = spec_of(w, argv);
    sandbox(w, false);
    kb_runtime_start(w->rt, &spec);
    until(w, &w->started, 1);
    KB_CHECK(w->started_rc < 0);
    KB_CHECK(strstr(w->words, "no/such") != NULL);
    finish(w);
}

KB_TEST(oci, an_agent_that_comes_back_adopts_and_loses_nothing)
{
    struct world *w = world_new("oci");
    char first[128];
    KB_AUTO(kb_auto_free) char *go = kb_strf("%s/go", kb_test_dir());
    KB_AUTO(kb_auto_free) char *pods = kb_strf("%s", kb_test_dir());
    struct kb_rt_mount mount = {KB_RT_BIND, pods, "/shared", false, KB_RT_PRIVATE};
    const char *const argv[] = {
        "sh", "-c", "echo one; while [ ! -e /shared/go ]; do sleep 0.05; done; echo two; exit 7",
        NULL};
    struct kb_rt_container_spec spec = spec_of(w, argv);
    spec.mounts = &mount;
    spec.n_mounts = 1;
    sandbox(w, false);
    start(w, &spec);
    snprintf(first, sizeof first, "%s", w->id);
    kb_runtime_destroy(&w->rt); /* as a kill -9 leaves it */

    open_runtime(w, "oci");
    KB_CHECK_U64(w->found, ==, 1);
    KB_CHECK(w->found_state == KB_RT_RUNNING);
    KB_CHECK_STR(w->id, first);
    kb_runtime_start(w->rt, &spec); /* asked again: nothing is started twice */
    KB_CHECK(close(creat(go, 0644)) == 0);
    until(w, &w->exited, 1);
    KB_CHECK_I64(w->exit.code, ==, 7);
    check_log(w, " stdout F one\n");
    check_log(w, " stdout F two\n");
    KB_CHECK_U64(w->started, ==, 1);

    kb_runtime_destroy(&w->rt); /* and once more, with it over */
    open_runtime(w, "oci");
    KB_CHECK(w->found_state == KB_RT_EXITED);
    KB_CHECK_I64(w->exit.code, ==, 7);
    finish(w);
}

/* The agent is killed as soon as a file of the container's is there; the start goes on without it,
 * while the next agent looks. */
KB_TEST(oci, an_agent_that_dies_in_the_middle_of_a_start_hears_of_it_when_it_is_back)
{
    static const char *const moments[] = {"lock", "shim", "meta", "config.json", "pid", "started"};
    struct world *w = world_new("oci");
    const char *const argv[] = {"sleep", "1000", NULL};
    struct kb_rt_container_spec spec = spec_of(w, argv);
    sandbox(w, false);
    for (unsigned i = 0; i < 5 * KB_COUNT(moments); i++) {
        const char *moment = moments[i % KB_COUNT(moments)];
        KB_AUTO(kb_auto_free)
        char *file = kb_strf("%s/pods/u-1/containers/c/%u/%s", w->dir, i, moment);
        struct kb_rt_container_info info;
        spec.ref.attempt = i;
        w->started = w->exited = 0;
        w->started_rc = 0;
        kb_runtime_start(w->rt, &spec);
        while (!kb_path_exists(file))
            sched_yield();
        kb_runtime_destroy(&w->rt);
        kb_ev_destroy(&w->ev);
        w->ev = kb_ev_new(kb_clock_system());
        open_runtime(w, "oci");
        KB_CHECK(kb_runtime_look(w->rt, &spec.ref, &info));
        if (info.state != KB_RT_RUNNING)
            until(w, &w->started, 1);
        if (w->started_rc < 0)
            kb_test_fail(__FILE__, __LINE__, "killed at %s: %s", moment, w->words);
        KB_CHECK(kb_runtime_look(w->rt, &spec.ref, &info) && info.state == KB_RT_RUNNING);
        KB_CHECK_I64(kb_runtime_signal(w->rt, &spec.ref, SIGKILL), ==, 0);
        until(w, &w->exited, 1);
        KB_CHECK_I64(w->exit.code, ==, 137);
    }
    finish(w);
}

static pid_t shim_of(struct world *w)
{
    KB_AUTO(kb_buf_finish) struct kb_buf buf = {0};
    KB_AUTO(kb_auto_free) char *path = kb_strf("%s/pods/u-1/containers/c/0/shim", w->dir);
    return (pid_t)atoi(kb_get_file(path, &buf).p);
}

/* The agent starts anew, with a runtime of ours that does not return from starting a container. */
static void reopen_hanging(struct world *w)
{
    KB_AUTO(kb_auto_free) char *script = kb_strf("%s/hanging", kb_test_dir());
    static const char text[] = "#!/bin/sh\ncase \"$*\" in *create*|*run*) sleep 100000;; esac\n"
                               "exec \"$(command -v crun || command -v runc)\" \"$@\"\n";
    struct kb_err err = {0};
    KB_CHECK_OK(kb_file_write(script, kb_str_of(text), 0755, &err), &err);
    w->options.oci_path = script;
    w->options.job_limit_ms = 1000;
    kb_runtime_destroy(&w->rt);
    open_runtime(w, "oci");
}

KB_TEST(oci, a_runtime_that_hangs_is_given_up_and_a_later_start_works)
{
    struct world *w = world_new("oci");
    const char *const argv[] = {"sh", "-c", "echo here; sleep 86400", NULL};
    struct kb_rt_container_spec spec = spec_of(w, argv);
    sandbox(w, false);
    reopen_hanging(w);
    kb_runtime_start(w->rt, &spec);
    until(w, &w->started, 1);
    KB_CHECK_I64(w->started_rc, ==, -KB_ETIMEOUT);
    KB_CHECK_STR(w->words, "did not end within 1000 ms");
    kb_runtime_destroy(&w->rt);
    w->options.oci_path = NULL;
    w->options.job_limit_ms = 0;
    open_runtime(w, "oci");
    spec.ref.attempt = 1;
    start(w, &spec);
    until_log(w, "here");
    finish(w);
}

KB_TEST(oci, a_shim_that_is_killed_is_noticed_and_its_container_dies)
{
    struct world *w = world_new("oci");
    sandbox(w, false);
    start_sh(w, "exec sleep 1000");
    struct kb_rt_ref ref = {"u-1", "c", 0};
    pid_t pid = kb_runtime_pid(w->rt, &ref);
    KB_CHECK(kill(shim_of(w), SIGKILL) == 0);
    until(w, &w->exited, 1);
    KB_CHECK(w->exit.lost);
    KB_CHECK_I64(w->exit.code, ==, 137);
    KB_AUTO(kb_auto_free) char *proc = kb_strf("/proc/%d/exe", (int)pid);
    char target[64];
    while (readlink(proc, target, sizeof target) > 0)
        kb_ev_run(w->ev, 1);
    finish(w);
}

KB_TEST(oci, signals_end_it_and_memory_limits_are_seen_as_oom)
{
    struct world *w = world_new("oci");
    sandbox(w, false);
    start_sh(w, "trap 'exit 5' TERM; echo ready; while :; do sleep 0.05; done");
    struct kb_rt_ref ref = {"u-1", "c", 0};
    until_log(w,
              "ready"); /* before, TERM would be lost: process 1 ignores what it does not handle */
    KB_CHECK(kb_runtime_signal(w->rt, &ref, SIGTERM) == 0);
    until(w, &w->exited, 1);
    KB_CHECK_I64(w->exit.code, ==, 5);
    const char *const hog[] = {"sh", "-c", "dd if=/dev/zero of=/dev/null bs=200M count=1", NULL};
    struct kb_rt_container_spec spec = spec_of(w, hog);
    spec.ref.attempt = 1;
    spec.memory_limit = 32 << 20;
    start(w, &spec);
    until(w, &w->exited, 2);
    KB_CHECK(w->exit.oom);
    finish(w);
}

/* ---- exec ---- */

static void on_output(void *arg, uint32_t events)
{
    struct world *w = arg;
    (void)events;
    char *room = kb_buf_reserve(&w->out, 4096);
    ssize_t n = read(w->out_fd, room, 4096);
    if (n > 0)
        w->out.n += (size_t)n;
    else
        kb_ev_unwatch(&w->out_watch);
}

static void on_writable(void *arg, uint32_t events)
{
    (void)arg, (void)events;
}

static void on_exec_ready(void *arg, const struct kb_rt_exec_io *io)
{
    struct world *w = arg;
    w->out_fd = io->out;
    w->out_watch = kb_ev_watch(w->ev, io->out, EPOLLIN, on_output, w);
    if (io->in >= 0) {
        /* Also of a terminal: it may be full, and is then waited for beside its output. */
        struct kb_ev_fd *in_watch = kb_ev_watch(w->ev, io->in, EPOLLOUT, on_writable, w);
        kb_ev_unwatch(&in_watch);
        KB_CHECK(write(io->in, "typed\n", 6) == 6);
    }
}

static void on_exec_done(void *arg, int rc, const struct kb_err *err, int code)
{
    struct world *w = arg;
    w->exec_done++;
    w->exec_rc = rc;
    w->exec_code = code;
    snprintf(w->words, sizeof w->words, "%s", err->text);
}

static const struct kb_rt_exec_handlers exec_handlers = {on_exec_ready, on_exec_done};

static void exec_sh(struct world *w, const char *script, bool tty, bool with_stdin)
{
    const char *const argv[] = {"sh", "-c", script, NULL};
    struct kb_rt_exec_spec spec = {{"u-1", "c", 0}, argv, tty, with_stdin, 40, 120};
    unsigned before = w->exec_done;
    kb_buf_clear(&w->out);
    struct kb_rt_exec *exec = kb_runtime_exec(w->rt, &spec, &exec_handlers, w);
    until(w, &w->exec_done, before + 1);
    while (w->out_watch != NULL)
        kb_ev_run(w->ev, -1);
    kb_rt_exec_destroy(&exec);
}

/* The shim ignores signals; neither the container's program nor one that is run in it does: a shell
 * could not even trap them. */
static void signals_story(const char *runtime)
{
    struct world *w = world_new(runtime);
    sandbox(w, false);
    start_sh(w, "(exec grep SigIgn: /proc/self/status); exec sleep 1000");
    until_log(w, "SigIgn:");
    exec_sh(w, "exec grep SigIgn: /proc/self/status", false, false);
    KB_CHECK_STRN(kb_buf_str(&w->out), "SigIgn:\t0000000000000000\n");
    check_log(w, " stdout F SigIgn:\t0000000000000000\n");
    finish(w);
}

KB_TEST(oci, no_signal_is_ignored_in_a_container)
{
    signals_story("oci");
}

KB_TEST(process, no_signal_is_ignored_in_a_container)
{
    signals_story("process");
}

/* As many words as a command may have, and the last is there. */
static void exec_many(struct world *w)
{
    enum { WORDS = 1000 };
    const char *argv[WORDS + 1] = {"sh", "-c", "shift 995; echo $# $1"};
    for (int i = 3; i < WORDS; i++)
        argv[i] = i == WORDS - 1 ? "last" : "word";
    struct kb_rt_exec_spec spec = {{"u-1", "c", 0}, argv, false, false, 0, 0};
    unsigned before = w->exec_done;
    kb_buf_clear(&w->out);
    struct kb_rt_exec *exec = kb_runtime_exec(w->rt, &spec, &exec_handlers, w);
    until(w, &w->exec_done, before + 1);
    while (w->out_watch != NULL)
        kb_ev_run(w->ev, -1);
    kb_rt_exec_destroy(&exec);
    KB_CHECK_STRN(kb_buf_str(&w->out), "1 last\n");
}

static void exec_story(const char *runtime)
{
    struct world *w = world_new(runtime);
    sandbox(w, false);
    start_sh(w, "exec sleep 1000");
    exec_sh(w, "echo out; exit 4", false, false);
    if (w->exec_rc < 0)
        kb_test_fail(__FILE__, __LINE__, "exec: %s", w->words);
    KB_CHECK_I64(w->exec_code, ==, 4);
    KB_CHECK_STRN(kb_buf_str(&w->out), "out\n");
    exec_sh(w, "read x; echo got $x", false, true);
    KB_CHECK_STRN(kb_buf_str(&w->out), "got typed\n");
    exec_many(w);
    if (strcmp(runtime, "oci") == 0) {
        exec_sh(w,
                "tty >/dev/null && until [ \"$(stty size)\" = '40 120' ]; do :; done; echo sized",
                true, true);
        KB_CHECK(strstr(w->out.p, "sized") != NULL);
        const char *const argv[] = {"nothing-here", NULL};
        struct kb_rt_exec_spec spec = {{"u-1", "c", 0}, argv, false, false, 0, 0};
        unsigned before = w->exec_done;
        struct kb_rt_exec *exec = kb_runtime_exec(w->rt, &spec, &exec_handlers, w);
        until(w, &w->exec_done, before + 1);
        KB_CHECK(w->exec_rc < 0 || w->exec_code == 127);
        kb_rt_exec_destroy(&exec);
    }
    finish(w);
}

KB_TEST(oci, exec_streams_both_ways_with_and_without_a_terminal)
{
    exec_story("oci");
}

KB_TEST(process, exec_streams_both_ways)
{
    exec_story("process");
}

KB_TEST(oci, exec_is_the_containers_user_with_no_more_rights_than_it_has)
{
    struct world *w = world_new("oci");
    const char *const argv[] = {"sleep", "1000", NULL};
    const char *const env[] = {"WHO=me", NULL};
    const char *const drop[] = {"ALL", NULL};
    const gid_t groups[] = {4000};
    struct kb_rt_container_spec spec = spec_of(w, argv);
    spec.uid = 1000;
    spec.gid = 2000;
    spec.groups = groups;
    spec.n_groups = 1;
    spec.env = env;
    spec.cwd = "/tmp";
    spec.cap_drop = drop;
    spec.no_new_privileges = true;
    sandbox(w, false);
    start(w, &spec);
    exec_sh(w,
            "echo $(id -u) $(id -g) $(id -G) $WHO $(pwd); grep -E 'CapBnd|NoNewPrivs' "
            "/proc/self/status",
            false, false);
    KB_CHECK_STRN(kb_buf_str(&w->out),
                  "1000 2000 2000 4000 me /tmp\nCapBnd:\t0000000000000000\nNoNewPrivs:\t1\n");
    exec_sh(w, "echo $TERM", true, false);
    KB_CHECK(strstr(w->out.p, "xterm") != NULL);
    finish(w);
}

/* ---- attach ---- */

static void until_out(struct world *w, const char *want)
{
    kb_ms end = kb_ev_now(w->ev) + 60000;
    while (w->out.n == 0 || strstr(w->out.p, want) == NULL) {
        KB_CHECK(kb_ev_now(w->ev) < end);
        kb_ev_run(w->ev, 1000);
        kb_buf_add(&w->out, "", 0);
    }
}

static struct kb_rt_exec *attach(struct world *w, bool tty, const struct kb_rt_exec_handlers *h)
{
    struct kb_rt_exec_spec spec = {{"u-1", "c", 0}, NULL, tty, true, 40, 120};
    kb_buf_clear(&w->out);
    return kb_runtime_attach(w->rt, &spec, h, w);
}

static void start_reader(struct world *w, const char *script, bool tty, bool once)
{
    const char *const argv[] = {"sh", "-c", script, NULL};
    struct kb_rt_container_spec spec = spec_of(w, argv);
    spec.with_stdin = true;
    spec.tty = tty;
    spec.stdin_once = once;
    start(w, &spec);
}

static void attach_story(const char *runtime)
{
    struct world *w = world_new(runtime);
    sandbox(w, false);
    start_reader(w, "while read x; do echo got $x; done; echo over; exit 3", false, true);
    struct kb_rt_exec *exec = attach(w, false, &exec_handlers);
    until_out(w, "got typed\n");
    kb_rt_exec_close_stdin(exec); /* and with it the container's, who has asked for that */
    until_out(w, "over\n");
    until(w, &w->exec_done, 1);
    KB_CHECK_I64(w->exec_code, ==, 0);
    until(w, &w->exited, 1);
    KB_CHECK_I64(w->exit.code, ==, 3);
    check_log(w, " stdout F got typed\n");
    while (w->out_watch != NULL)
        kb_ev_run(w->ev, -1);
    kb_rt_exec_destroy(&exec);
    exec = attach(w, false, &exec_handlers); /* it is over */
    until(w, &w->exec_done, 2);
    KB_CHECK_I64(w->exec_rc, <, 0);
    kb_rt_exec_destroy(&exec);
    finish(w);
}

KB_TEST(oci, who_attaches_sees_the_output_and_types)
{
    attach_story("oci");
}

KB_TEST(process, who_attaches_sees_the_output_and_types)
{
    attach_story("process");
}

KB_TEST(oci, who_attaches_has_the_terminal_in_its_size_also_after_the_agent_came_back)
{
    struct world *w = world_new("oci");
    sandbox(w, false);
    start_reader(w, "while read x; do stty size; done", true, false);
    struct kb_rt_exec *exec = attach(w, true, &exec_handlers);
    until_out(w, "40 120");
    kb_ev_unwatch(&w->out_watch);
    kb_rt_exec_destroy(&exec);
    kb_runtime_destroy(&w->rt);
    open_runtime(w, "oci");
    KB_CHECK(w->found_state == KB_RT_RUNNING);
    exec = attach(w, true, &exec_handlers);
    until_out(w, "40 120");
    kb_ev_unwatch(&w->out_watch);
    kb_rt_exec_destroy(&exec);
    finish(w);
}

KB_TEST(oci, what_is_typed_finds_the_terminal_in_its_size_however_late_the_shim_is)
{
    struct world *w = world_new("oci");
    sandbox(w, false);
    start_reader(w, "read x; stty size; read x", true, false);
    KB_CHECK(kill(shim_of(w), SIGSTOP) == 0);
    struct kb_rt_exec *exec = attach(w, true, &exec_handlers);
    while (w->out_watch == NULL) /* it types as soon as it can */
        kb_ev_run(w->ev, 1000);
    KB_CHECK(kill(shim_of(w), SIGCONT) == 0);
    until_out(w, "40 120");
    kb_ev_unwatch(&w->out_watch);
    kb_rt_exec_destroy(&exec);
    finish(w);
}

static void on_ready_type_only(void *arg, const struct kb_rt_exec_io *io)
{
    (void)arg;
    KB_CHECK(write(io->in, "go\n", 3) == 3);
}

KB_TEST(oci, who_attaches_and_does_not_read_is_dropped_and_holds_nobody_up)
{
    static const struct kb_rt_exec_handlers lazy = {on_ready_type_only, on_exec_done};
    struct world *w = world_new("oci");
    sandbox(w, false);
    start_reader(w, "read x; head -c 3000000 /dev/zero; read x; exit 7", false, false);
    struct kb_rt_exec *exec = attach(w, false, &lazy);
    until(w, &w->exec_done, 1);
    KB_CHECK_U64(w->exited, ==, 0);
    kb_rt_exec_destroy(&exec);
    exec = attach(w, false, &lazy);
    until(w, &w->exited, 1);
    KB_CHECK_I64(w->exit.code, ==, 7);
    kb_rt_exec_destroy(&exec);
    finish(w);
}

KB_TEST(process, who_asks_for_another_user_is_refused_and_not_run_as_root)
{
    const char *const argv[] = {"true", NULL};
    struct world *w = world_new("process");
    struct kb_rt_container_spec spec = spec_of(w, argv);
    spec.uid = (int64_t)geteuid() + 1000;
    spec.run_as_non_root = geteuid() != 0;
    sandbox(w, false);
    kb_runtime_start(w->rt, &spec);
    until(w, &w->started, 1);
    KB_CHECK_I64(w->started_rc, ==, -KB_EFORBIDDEN);
    finish(w);
}

KB_TEST(process, a_program_gets_all_its_arguments)
{
    enum { WORDS = 200 };
    const char *argv[WORDS + 1] = {"sh", "-c", "shift 195; echo $# $1"};
    struct world *w = world_new("process");
    for (int i = 3; i < WORDS; i++)
        argv[i] = i == WORDS - 1 ? "last" : "word";
    struct kb_rt_container_spec spec = spec_of(w, argv);
    sandbox(w, false);
    start(w, &spec);
    until(w, &w->exited, 1);
    check_log(w, " stdout F 1 last\n");
    finish(w);
}

KB_TEST(process, a_program_of_the_image_runs_logs_and_ends)
{
    struct world *w = world_new("process");
    sandbox(w, false);
    start_sh(w, "echo one; echo two >&2; exit 6");
    until(w, &w->exited, 1);
    KB_CHECK_I64(w->exit.code, ==, 6);
    check_log(w, " stdout F one\n");
    check_log(w, " stderr F two\n");
    finish(w);
}

KB_TEST(oci, a_shared_pid_namespace_has_one_process_one)
{
    struct world *w = world_new("oci");
    sandbox(w, true);
    start_sh(w, "tr '\\0' ' ' </proc/1/cmdline; echo; exit 0");
    until(w, &w->exited, 1);
    check_log(w, "kubus-pause");
    finish(w);
}

KB_TEST(oci, logs_rotate_by_size_and_lose_no_line)
{
    struct world *w = world_new("oci");
    const char *const argv[] = {"seq", "1", "2000", NULL};
    struct kb_rt_container_spec spec = spec_of(w, argv);
    spec.log_max_bytes = 20000;
    spec.log_max_files = 10;
    sandbox(w, false);
    start(w, &spec);
    until(w, &w->exited, 1);
    KB_AUTO(kb_auto_free) char *dir = kb_strf("%s/pods/u-1/logs/c", w->dir);
    KB_AUTO(kb_buf_finish) struct kb_buf out = {0};
    struct kb_err err = {0};
    const char *count[] = {
        "sh",
        "-c",
        "cd $1; cat $(ls -rv) | cut -d' ' -f4 | cmp - /dev/fd/3 3<<E\n$(seq 1 2000)\nE\nls | wc -l",
        "sh",
        dir,
        NULL};
    KB_CHECK_OK(kb_spawn(count, (kb_str){0}, &out, NULL, &err), &err);
    KB_CHECK_STRN(kb_buf_str(&out), "5\n");
    finish(w);
}

KB_TEST(hollow, says_that_all_runs_and_ends_when_told)
{
    struct world *w = world_new("hollow");
    sandbox(w, false);
    start_sh(w, "whatever");
    struct kb_rt_ref ref = {"u-1", "c", 0};
    KB_CHECK(kb_runtime_signal(w->rt, &ref, SIGTERM) == 0);
    until(w, &w->exited, 1);
    KB_CHECK_I64(w->exit.code, ==, 143);
    kb_runtime_remove(w->rt, &ref);
    finish(w);
}
