#include "agent/cgroup.h"
#include "agent/ev.h"
#include "agent/files.h"
#include "agent/job.h"
#include "agent/net/ipam.h"
#include "agent/oci_config.h"
#include "agent/runtime_shim.h"
#include "bus/base/file.h"
#include "bus/model/json.h"
#include "tests/lib/test.h"

#include <signal.h>
#include <unistd.h>

/* ---- addresses ---- */

KB_TEST(ipam, gives_each_owner_one_address_and_no_address_twice)
{
    struct kb_err err = {0};
    uint32_t a, b, again, c;
    KB_AUTO(kb_auto_free) char *dir = kb_strf("%s/ipam", kb_test_dir());
    KB_CHECK_OK(kb_ipam_take(dir, "10.9.1.0/24", "a", &a, &err), &err);
    KB_CHECK_OK(kb_ipam_take(dir, "10.9.1.0/24", "b", &b, &err), &err);
    KB_CHECK_OK(kb_ipam_take(dir, "10.9.1.0/24", "a", &again, &err), &err);
    KB_CHECK_U64(a, ==, 0x0a090102);
    KB_CHECK_U64(b, ==, 0x0a090103);
    KB_CHECK_U64(again, ==, a);
    KB_CHECK_OK(kb_ipam_give(dir, "a", &err), &err);
    KB_CHECK_OK(kb_ipam_take(dir, "10.9.1.0/24", "c", &c, &err), &err);
    KB_CHECK_U64(c, ==, 0x0a090104); /* a freed address rests until the range has been round */
}

KB_TEST(ipam, wraps_and_says_when_the_range_is_full)
{
    struct kb_err err = {0};
    uint32_t ip;
    char owner[8];
    KB_AUTO(kb_auto_free) char *dir = kb_strf("%s/ipam", kb_test_dir());
    for (int i = 0; i < 5; i++) {
        snprintf(owner, sizeof owner, "o%d", i);
        KB_CHECK_OK(kb_ipam_take(dir, "10.9.1.0/29", owner, &ip, &err), &err);
    }
    KB_CHECK(kb_ipam_take(dir, "10.9.1.0/29", "more", &ip, &err) == -KB_EFULL);
    KB_CHECK_OK(kb_ipam_give(dir, "o2", &err), &err);
    KB_CHECK_OK(kb_ipam_take(dir, "10.9.1.0/29", "more", &ip, &err), &err);
    KB_CHECK_U64(ip, ==, 0x0a090104);
    KB_CHECK(kb_ipam_take(dir, "10.9.1/29", "x", &ip, &err) == -KB_EINVAL);
}

/* ---- groups ---- */

KB_TEST(cgroup, requests_and_limits_follow_the_arithmetic_of_kubernetes)
{
    KB_CHECK_I64(kb_cgroup_shares(0), ==, 2);
    KB_CHECK_I64(kb_cgroup_shares(250), ==, 256);
    KB_CHECK_I64(kb_cgroup_quota_us(0), ==, 0);
    KB_CHECK_I64(kb_cgroup_quota_us(1), ==, 1000);
    KB_CHECK_I64(kb_cgroup_quota_us(1500), ==, 150000);
    KB_CHECK_I64(kb_cgroup_weight(2), ==, 1);
    KB_CHECK_I64(kb_cgroup_weight(262144), ==, 10000);
    KB_CHECK_I64(kb_cgroup_weight(1024), ==, 39);
}

KB_TEST(cgroup, version_two_writes_its_own_files)
{
    /* A folder that looks like a v2 tree: what is written where, without such a kernel. */
    struct kb_err err = {0};
    struct kb_cgroups cgroups;
    KB_AUTO(kb_buf_finish) struct kb_buf buf = {0};
    KB_AUTO(kb_auto_free) char *root = kb_strf("%s/cg", kb_test_dir());
    KB_AUTO(kb_auto_free) char *group = kb_strf("%s/kt/pod1", root);
    KB_AUTO(kb_auto_free) char *max = kb_strf("%s/cpu.max", group);
    KB_AUTO(kb_auto_free) char *weight = kb_strf("%s/cpu.weight", group);
    KB_AUTO(kb_auto_free) char *memory = kb_strf("%s/memory.max", group);
    KB_AUTO(kb_auto_free) char *controllers = kb_strf("%s/cgroup.controllers", root);
    KB_CHECK_OK(kb_dir_make(group, 0755, &err), &err);
    KB_CHECK_OK(kb_put_file(controllers, kb_str_of("cpu memory pids"), 0644, &err), &err);
    const char *files[] = {max, weight, memory};
    for (int i = 0; i < 3; i++)
        KB_CHECK_OK(kb_put_file(files[i], kb_str_of(""), 0644, &err), &err);
    kb_cgroups_probe(&cgroups, root);
    KB_CHECK(cgroups.mode == KB_CGROUP_V2);
    struct kb_cgroup_limits limits = {1024, 50000, 1 << 20, 0};
    KB_CHECK_OK(kb_cgroup_make(&cgroups, "kt/pod1", &limits, &err), &err);
    KB_CHECK_STRN(kb_get_file(max, &buf), "50000 100000");
    KB_CHECK_STRN(kb_get_file(weight, &buf), "39");
    KB_CHECK_STRN(kb_get_file(memory, &buf), "1048576");
}

/* ---- jobs and timers ---- */

struct story {
    int rc, exited;
    char text[64];
};

static int say_hello(void *arg, struct kb_buf *out, struct kb_err *err)
{
    (void)arg, (void)err;
    kb_buf_puts(out, "hello");
    return 0;
}

static int refuse(void *arg, struct kb_buf *out, struct kb_err *err)
{
    (void)arg, (void)out;
    return kb_err_set(err, KB_EFULL, "no room");
}

static void on_done(void *arg, int rc, kb_str out, const struct kb_err *err)
{
    struct story *story = arg;
    story->rc = rc;
    kb_str_copy(rc == 0 ? out : kb_str_of(err->text), story->text, sizeof story->text);
}

static void on_exit_(void *arg, int status)
{
    (void)status;
    ((struct story *)arg)->exited = 1;
}

static void on_timer(void *arg)
{
    ++*(int *)arg;
}

KB_TEST(job, reports_its_result_or_its_error)
{
    KB_AUTO(kb_ev_destroy) struct kb_ev *ev = kb_ev_new(kb_clock_system());
    struct story a = {.rc = 1}, b = {.rc = 1};
    kb_job_start(ev, &(struct kb_job_calls){say_hello, on_done, on_exit_}, 0, &a);
    kb_job_start(ev, &(struct kb_job_calls){refuse, on_done, on_exit_}, 60000, &b);
    while (!a.exited || !b.exited)
        kb_ev_run(ev, -1);
    KB_CHECK_I64(a.rc, ==, 0);
    KB_CHECK_STR(a.text, "hello");
    KB_CHECK_I64(b.rc, ==, -KB_EFULL);
    KB_CHECK_STR(b.text, "no room");
}

static int fail_oddly(void *arg, struct kb_buf *out, struct kb_err *err)
{
    (void)arg, (void)out;
    *err = (struct kb_err){.code = 9999, .text = "odd"};
    return -1;
}

KB_TEST(job, a_report_with_a_code_that_there_is_not_is_an_error_as_any_other)
{
    KB_AUTO(kb_ev_destroy) struct kb_ev *ev = kb_ev_new(kb_clock_system());
    struct story a = {.rc = 1};
    kb_job_start(ev, &(struct kb_job_calls){fail_oddly, on_done, on_exit_}, 0, &a);
    while (!a.exited)
        kb_ev_run(ev, -1);
    KB_CHECK_I64(a.rc, ==, -KB_EINTERNAL);
    KB_CHECK_STR(a.text, "odd");
}

/* A clock that stands until it is set. */
static kb_ms set_ms = 1000;

static kb_ms read_set(const struct kb_clock *clock)
{
    (void)clock;
    return set_ms;
}

static int64_t read_wall(const struct kb_clock *clock)
{
    (void)clock;
    return set_ms * 1000;
}

static const struct kb_clock set_clock = {read_set, read_wall};

static int pipe_end[2]; /* whoever lives of a job has its end for writing */

/* Hangs, as does a program that it runs. */
static int hang(void *arg, struct kb_buf *out, struct kb_err *err)
{
    (void)arg, (void)out, (void)err;
    fork();
    while (pause() < 0)
        continue;
    return 0;
}

/* As a start that has become the shim: the report has ended, the process goes on. */
static int report_and_stay(void *arg, struct kb_buf *out, struct kb_err *err)
{
    (void)arg, (void)out, (void)err;
    alarm(0);
    KB_CHECK(write(KB_JOB_REPORT_FD, "+up", 3) == 3);
    close(KB_JOB_REPORT_FD);
    while (pause() < 0)
        continue;
    return 0;
}

static void keep_pipe(void)
{
    KB_CHECK(pipe(pipe_end) == 0);
    /* A job closes all descriptors from its report's on; 0 is kept. */
    KB_CHECK(dup2(pipe_end[1], 0) == 0);
    close(pipe_end[1]);
}

KB_TEST(job, one_that_hangs_is_killed_with_all_that_it_started)
{
    KB_AUTO(kb_ev_destroy) struct kb_ev *ev = kb_ev_new(&set_clock);
    struct story a = {.rc = 1};
    char byte;
    keep_pipe();
    kb_job_start(ev, &(struct kb_job_calls){hang, on_done, on_exit_}, 120000, &a);
    set_ms += 120000 - 1;
    kb_ev_run(ev, 0);
    KB_CHECK_I64(a.rc, ==, 1);
    set_ms += 1;
    kb_ev_run(ev, 0);
    KB_CHECK_I64(a.rc, ==, -KB_ETIMEOUT);
    KB_CHECK_STR(a.text, "did not end within 120000 ms");
    while (!a.exited)
        kb_ev_run(ev, -1);
    close(0);
    KB_CHECK_I64(read(pipe_end[0], &byte, 1), ==, 0); /* would hang while any of them lived */
}

KB_TEST(job, one_that_has_reported_may_stay_as_long_as_it_likes)
{
    KB_AUTO(kb_ev_destroy) struct kb_ev *ev = kb_ev_new(&set_clock);
    struct story a = {.rc = 1};
    struct kb_job *job =
        kb_job_start(ev, &(struct kb_job_calls){report_and_stay, on_done, on_exit_}, 120000, &a);
    while (a.rc == 1)
        kb_ev_run(ev, -1);
    KB_CHECK_STR(a.text, "up");
    set_ms += 3600000;
    kb_ev_run(ev, 0);
    KB_CHECK(!a.exited);
    KB_CHECK_I64(kill(kb_job_pid(job), 0), ==, 0);
    kill(kb_job_pid(job), SIGKILL);
    while (!a.exited)
        kb_ev_run(ev, -1);
}

KB_TEST(ev, timers_fire_through_the_descriptor_alone)
{
    KB_AUTO(kb_ev_destroy) struct kb_ev *ev = kb_ev_new(kb_clock_system());
    struct kb_ev_timer soon = {0}, never = {0};
    int fired = 0;
    kb_ev_arm(ev, &never, 3600000, on_timer, &fired);
    kb_ev_arm(ev, &soon, 5, on_timer, &fired);
    while (fired == 0)
        kb_ev_run(ev, -1); /* would hang if the timerfd were not set to the earliest */
    KB_CHECK_I64(fired, ==, 1);
    kb_ev_disarm(ev, &never);
}

/* ---- config.json ---- */

static struct kb_node *config_of(const struct kb_rt_container_spec *spec, struct kb_image *image,
                                 struct kb_arena *arena)
{
    struct kb_err err = {0};
    struct kb_node *node = NULL;
    KB_AUTO(kb_buf_finish) struct kb_buf out = {0};
    struct kb_oci_place place = {.rootfs = kb_test_dir(),
                                 .sandbox = kb_test_dir(),
                                 .cgroups_path = "/x/y",
                                 .hostname = "web-0"};
    KB_CHECK_OK(kb_oci_config(spec, image, &place, &out, &err), &err);
    KB_CHECK_OK(kb_json_parse(arena, kb_buf_str(&out), NULL, &node, &err), &err);
    return node;
}

static const char *none[] = {NULL}, *image_cmd[] = {"sh", NULL}, *image_ep[] = {"/entry", NULL};

KB_TEST(oci_config, command_and_args_override_as_kubernetes_says)
{
    KB_AUTO(kb_arena_finish) struct kb_arena arena = {0};
    struct kb_err err = {0};
    struct kb_image image = {
        .entrypoint = image_ep, .cmd = image_cmd, .env = none, .user = "", .cwd = ""};
    const char *const args[] = {"a", NULL}, *const command[] = {"c", NULL};
    struct kb_rt_container_spec spec = {.uid = KB_RT_UNSET, .gid = KB_RT_UNSET};
    const char **argv;
    KB_CHECK_OK(kb_oci_argv(&spec, &image, &arena, &argv, &err), &err);
    KB_CHECK_STR(argv[0], "/entry");
    KB_CHECK_STR(argv[1], "sh");
    spec.args = args;
    KB_CHECK_OK(kb_oci_argv(&spec, &image, &arena, &argv, &err), &err);
    KB_CHECK_STR(argv[1], "a");
    spec.args = NULL;
    spec.argv = command;
    KB_CHECK_OK(kb_oci_argv(&spec, &image, &arena, &argv, &err), &err);
    KB_CHECK_STR(argv[0], "c");
    KB_CHECK(argv[1] == NULL);
    image.entrypoint = image.cmd = none;
    spec.argv = NULL;
    KB_CHECK(kb_oci_argv(&spec, &image, &arena, &argv, &err) == -KB_EINVAL);
}

KB_TEST(oci_config, users_capabilities_and_limits_reach_the_file)
{
    KB_AUTO(kb_arena_finish) struct kb_arena arena = {0};
    struct kb_err err = {0};
    struct kb_image image = {
        .entrypoint = none, .cmd = image_cmd, .env = none, .user = "app", .cwd = "/srv"};
    const char *const drop[] = {"ALL", NULL}, *const add[] = {"CHOWN", NULL};
    KB_AUTO(kb_auto_free) char *etc = kb_strf("%s/etc", kb_test_dir());
    KB_AUTO(kb_auto_free) char *passwd = kb_strf("%s/etc/passwd", kb_test_dir());
    KB_CHECK_OK(kb_dir_make(etc, 0755, &err), &err);
    KB_CHECK_OK(kb_put_file(passwd, kb_str_of("root:x:0:0::/:\napp:x:70:71::/:\n"), 0644, &err),
                &err);
    struct kb_rt_container_spec spec = {.uid = KB_RT_UNSET,
                                        .gid = KB_RT_UNSET,
                                        .cap_add = add,
                                        .cap_drop = drop,
                                        .cpu_milli_limit = 500,
                                        .memory_limit = 1 << 24};
    struct kb_node *node = config_of(&spec, &image, &arena);
    KB_CHECK_I64(kb_node_num(kb_node_at(node, "process.user.uid"), -1), ==, 70);
    KB_CHECK_I64(kb_node_num(kb_node_at(node, "process.user.gid"), -1), ==, 71);
    KB_CHECK_STRN(kb_node_text_at(node, "process.cwd"), "/srv");
    KB_CHECK_U64(kb_node_at(node, "process.capabilities.bounding")->count, ==, 1);
    KB_CHECK_STRN(kb_node_text_at(node, "process.capabilities.bounding[0]"), "CAP_CHOWN");
    KB_CHECK_I64(kb_node_num(kb_node_at(node, "linux.resources.cpu.quota"), 0), ==, 50000);
    KB_CHECK_I64(kb_node_num(kb_node_at(node, "linux.resources.memory.limit"), 0), ==, 1 << 24);
    spec.run_as_non_root = true;
    KB_AUTO(kb_buf_finish) struct kb_buf out = {0};
    struct kb_oci_place place = {.rootfs = kb_test_dir(), .sandbox = kb_test_dir()};
    KB_CHECK(kb_oci_config(&spec, &image, &place, &out, &err) == -KB_EFORBIDDEN);
}

/* ---- what shims leave ---- */

KB_TEST(shim, a_record_that_a_full_disk_has_cut_is_no_record)
{
    struct kb_rt_exit exit = {.code = 9};
    pid_t pid = 0;
    int64_t us = 0;
    KB_CHECK(!kb__shim_parse_exit(kb_str_of(""), &exit));
    KB_CHECK(!kb__shim_parse_exit(kb_str_of("code=0 signal=0 oom=0 started=17"), &exit));
    KB_CHECK_I64(exit.code, ==, 9);
    KB_CHECK(
        kb__shim_parse_exit(kb_str_of("code=3 signal=0 oom=1 started=5 finished=17\n"), &exit));
    KB_CHECK_I64(exit.code, ==, 3);
    KB_CHECK(exit.oom && !exit.lost && exit.finished_us == 17);
    KB_CHECK(!kb__shim_parse_started(kb_str_of("12"), &pid, &us));
    KB_CHECK(!kb__shim_parse_started(kb_str_of("-1 17"), &pid, &us)); /* kill(-1) is everybody */
    KB_CHECK(kb__shim_parse_started(kb_str_of("12 17\n"), &pid, &us));
}

KB_TEST(job, a_program_may_answer_while_it_is_still_being_told)
{
    enum { LONG = 1 << 20 };
    struct kb_err err = {0};
    KB_AUTO(kb_buf_finish) struct kb_buf input = {0}, out = {0};
    const char *argv[] = {"cat", NULL};
    memset(kb_buf_reserve(&input, LONG), 'x', LONG);
    input.n = LONG;
    KB_CHECK_OK(kb_spawn(argv, kb_buf_str(&input), &out, NULL, &err), &err);
    KB_CHECK(kb_str_eq(kb_buf_str(&out), kb_buf_str(&input)));
}
