/* Programs that are run in containers that run already, and attaching to them. */
#include "agent/runtime.h"
#include "agent/runtime_shim.h"
#include "tests/lib/test.h"
#include "tests/unit/agent/runtime_world.h"

#include <signal.h>
#include <sys/socket.h>
#include <unistd.h>

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

static void on_odd_ready(void *arg, const struct kb_rt_exec_io *io)
{
    struct world *w = arg;
    KB_CHECK(w->exec_done == 0 && w->out_fd == 0);
    w->out_fd = -1;
    (void)io;
}

static const struct kb_rt_exec_handlers odd_handlers = {on_odd_ready, on_exec_done};

/* Until it has ended and all that it said is in w->out. */
static void exec_to_the_end(struct world *w, const struct kb_rt_exec_spec *spec)
{
    unsigned before = w->exec_done;
    kb_buf_clear(&w->out);
    struct kb_rt_exec *exec = kb_runtime_exec(w->rt, spec, &exec_handlers, w);
    world_until(w, &w->exec_done, before + 1);
    while (w->out_watch != NULL)
        kb_ev_run(w->ev, -1);
    kb_rt_exec_destroy(&exec);
}

static void exec_sh(struct world *w, const char *script, bool tty, bool with_stdin)
{
    const char *const argv[] = {"sh", "-c", script, NULL};
    exec_to_the_end(w, &(struct kb_rt_exec_spec){{"u-1", "c", 0}, argv, tty, with_stdin, 40, 120});
}

/* The shim ignores signals; neither the container's program nor one that is run in it does: a shell
 * could not even trap them. */
static void signals_story(const char *runtime)
{
    struct world *w = world_new(runtime);
    world_sandbox(w, false);
    world_start_sh(w, "(exec grep SigIgn: /proc/self/status); exec sleep 1000");
    world_until_log(w, "SigIgn:");
    exec_sh(w, "exec grep SigIgn: /proc/self/status", false, false);
    KB_CHECK_STRN(kb_buf_str(&w->out), "SigIgn:\t0000000000000000\n");
    world_check_log(w, " stdout F SigIgn:\t0000000000000000\n");
    world_finish(w);
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
    exec_to_the_end(w, &(struct kb_rt_exec_spec){{"u-1", "c", 0}, argv, false, false, 0, 0});
    KB_CHECK_STRN(kb_buf_str(&w->out), "1 last\n");
}

static void exec_story(const char *runtime)
{
    struct world *w = world_new(runtime);
    world_sandbox(w, false);
    world_start_sh(w, "exec sleep 1000");
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
        world_until(w, &w->exec_done, before + 1);
        KB_CHECK(w->exec_rc < 0 || w->exec_code == 127);
        kb_rt_exec_destroy(&exec);
    }
    world_finish(w);
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
    struct kb_rt_container_spec spec = world_spec(w, argv);
    spec.uid = 1000;
    spec.gid = 2000;
    spec.groups = groups;
    spec.n_groups = 1;
    spec.env = env;
    spec.cwd = "/tmp";
    spec.cap_drop = drop;
    spec.no_new_privileges = true;
    world_sandbox(w, false);
    world_start(w, &spec);
    exec_sh(w,
            "echo $(id -u) $(id -g) $(id -G) $WHO $(pwd); grep -E 'CapBnd|NoNewPrivs' "
            "/proc/self/status",
            false, false);
    KB_CHECK_STRN(kb_buf_str(&w->out),
                  "1000 2000 2000 4000 me /tmp\nCapBnd:\t0000000000000000\nNoNewPrivs:\t1\n");
    exec_sh(w, "echo $TERM", true, false);
    KB_CHECK(strstr(w->out.p, "xterm") != NULL);
    world_finish(w);
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
    struct kb_rt_container_spec spec = world_spec(w, argv);
    spec.with_stdin = true;
    spec.tty = tty;
    spec.stdin_once = once;
    world_start(w, &spec);
}

static void attach_story(const char *runtime)
{
    struct world *w = world_new(runtime);
    world_sandbox(w, false);
    start_reader(w, "while read x; do echo got $x; done; echo over; exit 3", false, true);
    struct kb_rt_exec *exec = attach(w, false, &exec_handlers);
    until_out(w, "got typed\n");
    kb_rt_exec_close_stdin(exec); /* and with it the container's, who has asked for that */
    until_out(w, "over\n");
    world_until(w, &w->exec_done, 1);
    KB_CHECK_I64(w->exec_code, ==, 0);
    world_until(w, &w->exited, 1);
    KB_CHECK_I64(w->exit.code, ==, 3);
    world_check_log(w, " stdout F got typed\n");
    while (w->out_watch != NULL)
        kb_ev_run(w->ev, -1);
    kb_rt_exec_destroy(&exec);
    exec = attach(w, false, &exec_handlers); /* it is over */
    world_until(w, &w->exec_done, 2);
    KB_CHECK_I64(w->exec_rc, <, 0);
    kb_rt_exec_destroy(&exec);
    world_finish(w);
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
    world_sandbox(w, false);
    start_reader(w, "while read x; do stty size; done", true, false);
    struct kb_rt_exec *exec = attach(w, true, &exec_handlers);
    until_out(w, "40 120");
    kb_ev_unwatch(&w->out_watch);
    kb_rt_exec_destroy(&exec);
    kb_runtime_destroy(&w->rt);
    world_open(w, "oci");
    KB_CHECK(w->found_state == KB_RT_RUNNING);
    exec = attach(w, true, &exec_handlers);
    until_out(w, "40 120");
    kb_ev_unwatch(&w->out_watch);
    kb_rt_exec_destroy(&exec);
    world_finish(w);
}

KB_TEST(oci, what_is_typed_finds_the_terminal_in_its_size_however_late_the_shim_is)
{
    struct world *w = world_new("oci");
    world_sandbox(w, false);
    start_reader(w, "read x; stty size; read x", true, false);
    KB_CHECK(kill(world_shim(w), SIGSTOP) == 0);
    struct kb_rt_exec *exec = attach(w, true, &exec_handlers);
    while (w->out_watch == NULL) /* it types as soon as it can */
        kb_ev_run(w->ev, 1000);
    KB_CHECK(kill(world_shim(w), SIGCONT) == 0);
    until_out(w, "40 120");
    kb_ev_unwatch(&w->out_watch);
    kb_rt_exec_destroy(&exec);
    world_finish(w);
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
    world_sandbox(w, false);
    start_reader(w, "read x; head -c 3000000 /dev/zero; read x; exit 7", false, false);
    struct kb_rt_exec *exec = attach(w, false, &lazy);
    world_until(w, &w->exec_done, 1);
    KB_CHECK_U64(w->exited, ==, 0);
    kb_rt_exec_destroy(&exec);
    exec = attach(w, false, &lazy);
    world_until(w, &w->exited, 1);
    KB_CHECK_I64(w->exit.code, ==, 7);
    kb_rt_exec_destroy(&exec);
    world_finish(w);
}

/* The shim of a program on a terminal says that it runs, but the terminal is not with it: the
 * kernel leaves it out when the agent has too many descriptors. Or it says so twice. */
static void odd_words_story(bool tty, const char *words, int times)
{
    struct world w = {.ev = kb_ev_new(kb_clock_system())};
    int fds[2];
    KB_CHECK(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, fds) == 0);
    struct kb_rt_exec *exec = kb__shim_exec_at(w.ev, fds[0], tty, &odd_handlers, &w);
    for (int i = 0; i < times; i++)
        KB_CHECK(send(fds[1], words, strlen(words), MSG_NOSIGNAL) > 0);
    while (w.exec_done == 0)
        kb_ev_run(w.ev, -1);
    KB_CHECK_I64(w.exec_rc, ==, -KB_EINTERNAL);
    KB_CHECK(w.words[0] != '\0');
    kb_rt_exec_destroy(&exec);
    close(fds[1]);
    kb_ev_destroy(&w.ev);
}

KB_TEST(exec, odd_words_of_a_shim_end_the_program_not_the_agent)
{
    odd_words_story(true, "ok 5", 1);
    odd_words_story(false, "ok 5", 2);
    odd_words_story(false, "error ", 1);
}
