/* Real containers through each runtime, in a network namespace of the test's own. */
#include "agent/files.h"
#include "agent/job.h"
#include "agent/runtime.h"
#include "bus/base/file.h"
#include "tests/lib/test.h"
#include "tests/unit/agent/runtime_world.h"

#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <sys/stat.h>
#include <unistd.h>

KB_TEST(oci, a_container_runs_logs_and_its_exit_code_is_kept)
{
    struct world *w = world_new("oci");
    world_sandbox(w, false);
    KB_CHECK_STR(w->ip, "10.99.7.2");
    world_start_sh(
        w, "hostname; ip -4 addr show eth0 | grep -o '10.99.7.2/24'; echo oops >&2; exit 3");
    world_until(w, &w->exited, 1);
    KB_CHECK_I64(w->exit.code, ==, 3);
    KB_CHECK(w->exit.started_us > 0 && w->exit.finished_us >= w->exit.started_us);
    world_check_log(w, " stdout F web-0\n");
    world_check_log(w, " stdout F 10.99.7.2/24\n");
    world_check_log(w, " stderr F oops\n");
    world_finish(w);
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
    world_sandbox(w, false);
    world_start_sh(w, "exit 0");
    world_until(w, &w->exited, 1);
    world_finish(w);
}

KB_TEST(oci, pods_reach_the_node_and_each_other_share_one_network)
{
    struct world *w = world_new("oci");
    struct kb_err err = {0};
    world_sandbox(w, false);
    world_start_sh(w, "echo hi >/tmp/index.html; exec httpd -f -p 8080 -h /tmp");
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
    struct kb_rt_container_spec other = world_spec(w, script);
    other.ref.container = "d";
    world_start(w, &other);
    world_until(w, &w->exited, 1);
    KB_CHECK_I64(w->exit.code, ==, 0);
    world_check_log(w, " stdout F hi\n");
    world_finish(w);
}

KB_TEST(oci, a_program_that_does_not_exist_is_a_failed_start_with_words)
{
    struct world *w = world_new("oci");
    const char *const argv[] = {"/no/such", NULL};
    struct kb_rt_container_spec spec = world_spec(w, argv);
    world_sandbox(w, false);
    kb_runtime_start(w->rt, &spec);
    world_until(w, &w->started, 1);
    KB_CHECK(w->started_rc < 0);
    KB_CHECK(strstr(w->words, "no/such") != NULL);
    world_finish(w);
}

KB_TEST(oci, an_agent_that_comes_back_adopts_and_loses_nothing)
{
    struct world *w = world_new("oci");
    char first[128];
    KB_AUTO(kb_auto_free) char *go = kb_strf("%s/go", kb_test_dir());
    KB_AUTO(kb_auto_free) char *pods = kb_strf("%s", kb_test_dir());
    struct kb_rt_mount mount = {.kind = KB_RT_BIND, .source = pods, .target = "/shared"};
    const char *const argv[] = {
        "sh", "-c", "echo one; while [ ! -e /shared/go ]; do sleep 0.05; done; echo two; exit 7",
        NULL};
    struct kb_rt_container_spec spec = world_spec(w, argv);
    spec.mounts = &mount;
    spec.n_mounts = 1;
    world_sandbox(w, false);
    world_start(w, &spec);
    snprintf(first, sizeof first, "%s", w->id);
    kb_runtime_destroy(&w->rt); /* as a kill -9 leaves it */

    world_open(w, "oci");
    KB_CHECK_U64(w->found, ==, 1);
    KB_CHECK(w->found_state == KB_RT_RUNNING);
    KB_CHECK_STR(w->id, first);
    kb_runtime_start(w->rt, &spec); /* asked again: nothing is started twice */
    KB_CHECK(close(creat(go, 0644)) == 0);
    world_until(w, &w->exited, 1);
    KB_CHECK_I64(w->exit.code, ==, 7);
    world_check_log(w, " stdout F one\n");
    world_check_log(w, " stdout F two\n");
    KB_CHECK_U64(w->started, ==, 1);

    kb_runtime_destroy(&w->rt); /* and once more, with it over */
    world_open(w, "oci");
    KB_CHECK(w->found_state == KB_RT_EXITED);
    KB_CHECK_I64(w->exit.code, ==, 7);
    world_finish(w);
}

/* The agent is killed as soon as a file of the container's is there; the start goes on without it,
 * while the next agent looks. */
KB_TEST(oci, an_agent_that_dies_in_the_middle_of_a_start_hears_of_it_when_it_is_back)
{
    static const char *const moments[] = {"lock", "shim", "meta", "config.json", "pid", "started"};
    struct world *w = world_new("oci");
    const char *const argv[] = {"sleep", "1000", NULL};
    struct kb_rt_container_spec spec = world_spec(w, argv);
    world_sandbox(w, false);
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
        world_open(w, "oci");
        KB_CHECK(kb_runtime_look(w->rt, &spec.ref, &info));
        if (info.state != KB_RT_RUNNING)
            world_until(w, &w->started, 1);
        if (w->started_rc < 0)
            kb_test_fail(__FILE__, __LINE__, "killed at %s: %s", moment, w->words);
        KB_CHECK(kb_runtime_look(w->rt, &spec.ref, &info) && info.state == KB_RT_RUNNING);
        KB_CHECK_I64(kb_runtime_signal(w->rt, &spec.ref, SIGKILL), ==, 0);
        world_until(w, &w->exited, 1);
        KB_CHECK_I64(w->exit.code, ==, 137);
    }
    world_finish(w);
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
    world_open(w, "oci");
}

KB_TEST(oci, a_runtime_that_hangs_is_given_up_and_a_later_start_works)
{
    struct world *w = world_new("oci");
    const char *const argv[] = {"sh", "-c", "echo here; sleep 86400", NULL};
    struct kb_rt_container_spec spec = world_spec(w, argv);
    world_sandbox(w, false);
    reopen_hanging(w);
    kb_runtime_start(w->rt, &spec);
    world_until(w, &w->started, 1);
    KB_CHECK_I64(w->started_rc, ==, -KB_ETIMEOUT);
    KB_CHECK_STR(w->words, "did not end within 1000 ms");
    kb_runtime_destroy(&w->rt);
    w->options.oci_path = NULL;
    w->options.job_limit_ms = 0;
    world_open(w, "oci");
    spec.ref.attempt = 1;
    world_start(w, &spec);
    world_until_log(w, "here");
    world_finish(w);
}

KB_TEST(oci, a_shim_that_is_killed_is_noticed_and_its_container_dies)
{
    struct world *w = world_new("oci");
    world_sandbox(w, false);
    world_start_sh(w, "exec sleep 1000");
    struct kb_rt_ref ref = {"u-1", "c", 0};
    pid_t pid = kb_runtime_pid(w->rt, &ref);
    KB_CHECK(kill(world_shim(w), SIGKILL) == 0);
    world_until(w, &w->exited, 1);
    KB_CHECK(w->exit.lost);
    KB_CHECK_I64(w->exit.code, ==, 137);
    KB_AUTO(kb_auto_free) char *proc = kb_strf("/proc/%d/exe", (int)pid);
    char target[64];
    while (readlink(proc, target, sizeof target) > 0)
        kb_ev_run(w->ev, 1);
    world_finish(w);
}

KB_TEST(oci, signals_end_it_and_memory_limits_are_seen_as_oom)
{
    struct world *w = world_new("oci");
    world_sandbox(w, false);
    world_start_sh(w, "trap 'exit 5' TERM; echo ready; while :; do sleep 0.05; done");
    struct kb_rt_ref ref = {"u-1", "c", 0};
    world_until_log(
        w, "ready"); /* before, TERM would be lost: process 1 ignores what it does not handle */
    KB_CHECK(kb_runtime_signal(w->rt, &ref, SIGTERM) == 0);
    world_until(w, &w->exited, 1);
    KB_CHECK_I64(w->exit.code, ==, 5);
    const char *const hog[] = {"sh", "-c", "dd if=/dev/zero of=/dev/null bs=200M count=1", NULL};
    struct kb_rt_container_spec spec = world_spec(w, hog);
    spec.ref.attempt = 1;
    spec.memory_limit = 32 << 20;
    world_start(w, &spec);
    world_until(w, &w->exited, 2);
    KB_CHECK(w->exit.oom);
    world_finish(w);
}

KB_TEST(process, who_asks_for_another_user_is_refused_and_not_run_as_root)
{
    const char *const argv[] = {"true", NULL};
    struct world *w = world_new("process");
    struct kb_rt_container_spec spec = world_spec(w, argv);
    spec.uid = (int64_t)geteuid() + 1000;
    spec.run_as_non_root = geteuid() != 0;
    world_sandbox(w, false);
    kb_runtime_start(w->rt, &spec);
    world_until(w, &w->started, 1);
    KB_CHECK_I64(w->started_rc, ==, -KB_EFORBIDDEN);
    world_finish(w);
}

KB_TEST(process, a_program_gets_all_its_arguments)
{
    enum { WORDS = 200 };
    const char *argv[WORDS + 1] = {"sh", "-c", "shift 195; echo $# $1"};
    struct world *w = world_new("process");
    for (int i = 3; i < WORDS; i++)
        argv[i] = i == WORDS - 1 ? "last" : "word";
    struct kb_rt_container_spec spec = world_spec(w, argv);
    world_sandbox(w, false);
    world_start(w, &spec);
    world_until(w, &w->exited, 1);
    world_check_log(w, " stdout F 1 last\n");
    world_finish(w);
}

KB_TEST(process, a_program_of_the_image_runs_logs_and_ends)
{
    struct world *w = world_new("process");
    world_sandbox(w, false);
    world_start_sh(w, "echo one; echo two >&2; exit 6");
    world_until(w, &w->exited, 1);
    KB_CHECK_I64(w->exit.code, ==, 6);
    world_check_log(w, " stdout F one\n");
    world_check_log(w, " stderr F two\n");
    world_finish(w);
}

KB_TEST(oci, a_shared_pid_namespace_has_one_process_one)
{
    struct world *w = world_new("oci");
    world_sandbox(w, true);
    world_start_sh(w, "tr '\\0' ' ' </proc/1/cmdline; echo; exit 0");
    world_until(w, &w->exited, 1);
    world_check_log(w, "kubus-pause");
    world_finish(w);
}

KB_TEST(oci, logs_rotate_by_size_and_lose_no_line)
{
    struct world *w = world_new("oci");
    const char *const argv[] = {"seq", "1", "2000", NULL};
    struct kb_rt_container_spec spec = world_spec(w, argv);
    spec.log_max_bytes = 20000;
    spec.log_max_files = 10;
    world_sandbox(w, false);
    world_start(w, &spec);
    world_until(w, &w->exited, 1);
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
    world_finish(w);
}

KB_TEST(hollow, says_that_all_runs_and_ends_when_told)
{
    struct world *w = world_new("hollow");
    world_sandbox(w, false);
    world_start_sh(w, "whatever");
    struct kb_rt_ref ref = {"u-1", "c", 0};
    KB_CHECK(kb_runtime_signal(w->rt, &ref, SIGTERM) == 0);
    world_until(w, &w->exited, 1);
    KB_CHECK_I64(w->exit.code, ==, 143);
    kb_runtime_remove(w->rt, &ref);
    world_finish(w);
}
