#include "bus/actor.h"
#include "bus/base/file.h"
#include "bus/base/rand.h"
#include "bus/loop.h"
#include "tests/lib/test.h"

#include <dirent.h>
#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

/* What only a cluster that is stuck reaches, however slow the machine. */
enum { LIMIT_MS = 60000 };

static bool file_has(int pid, const char *file, const char *text)
{
    KB_AUTO(kb_buf_finish) struct kb_buf is = {0};
    KB_AUTO(kb_auto_free) char *path = kb_strf("/proc/%d/%s", pid, file);
    return kb_file_read(path, 1 << 20, &is, NULL) == 0 &&
           memmem(is.p, is.n, text, strlen(text)) != NULL;
}

/* Whatever a test leaves behind when it fails has its folder among its arguments. */
static void kill_leftovers(void)
{
    DIR *proc = opendir("/proc");
    struct dirent *entry;
    while (proc && (entry = readdir(proc)) != NULL) {
        int pid = atoi(entry->d_name);
        if (pid > 1 && pid != getpid() && file_has(pid, "cmdline", kb_test_dir()))
            kill(pid, SIGKILL);
    }
    if (proc)
        closedir(proc);
}

/* Gone, or a zombie that a careless process 1 has not reaped. */
static bool is_dead(int pid)
{
    return (kill(pid, 0) < 0 && errno == ESRCH) || file_has(pid, "stat", ") Z ");
}

/* A cluster of three probes under a real kubusd. */
struct cluster {
    char *data;
    pid_t guard;
    struct kb_actor *tool;
};

static pid_t start_guard(const char *data)
{
    pid_t pid = fork();
    KB_CHECK(pid >= 0);
    if (pid == 0) {
        setsid();
        setenv("KUBUS_LIB", KUBUS_TEST_LIB, 1);
        execl(KUBUS_BIN, "kubus", "actor", "kernel", "--guard", "--data", data, (char *)NULL);
        _exit(127);
    }
    return pid;
}

static void cluster_start(struct cluster *c)
{
    static const char plan[] =
        "{\"version\":1,\"clusterID\":\"cafe\",\"actors\":["
        "{\"name\":\"store\",\"argv\":[\"actor\",\"probe\",\"--name\",\"store\"]},"
        "{\"name\":\"api\",\"argv\":[\"actor\",\"probe\",\"--name\",\"api\"]},"
        "{\"name\":\"agent/n1\",\"argv\":[\"actor\",\"probe\",\"--name\",\"agent/n1\"]}]}";
    struct kb_err err = {0};
    c->data = kb_strf("%s/data", kb_test_dir());
    KB_AUTO(kb_auto_free) char *path = kb_strf("%s/cluster.json", c->data);
    KB_CHECK_OK(kb_dir_make(c->data, 0755, &err), &err);
    KB_CHECK_OK(kb_file_write(path, kb_str_of(plan), 0600, &err), &err);
    c->guard = start_guard(c->data);
    atexit(kill_leftovers);
    struct kb_actor_config config = {.name = "cli-1", .data_dir = c->data, .standalone = true};
    KB_CHECK_OK(kb_actor_new(&config, &c->tool, &err), &err);
}

struct answer {
    struct kb_actor *tool;
    struct kb_doc *doc;
    int code;
};

static void on_answer(void *user, const struct kb_err *err, kb_val body)
{
    struct answer *answer = user;
    answer->code = err ? err->code : 0;
    if (err == NULL)
        answer->doc = kb_doc_of(body);
    kb_actor_stopped(answer->tool);
}

/* Call and wait; NULL when it failed. Caller destroys. */
static struct kb_doc *ask(struct cluster *c, const char *service, const char *method,
                          const char *name)
{
    KB_AUTO(kb_w_finish) struct kb_w w = {0};
    struct answer answer = {.tool = c->tool};
    kb_w_map(&w);
    if (name)
        kb_w_kcstr(&w, "name", name);
    kb_w_end(&w);
    kb_call(kb_actor_peer(c->tool, service), method, kb_w_val(&w), 20000, on_answer, &answer);
    KB_CHECK_I64(kb_actor_run(c->tool, NULL), ==, 0);
    return answer.doc;
}

static void wake(void *user)
{
    kb_actor_stopped(user);
}

static void turn(struct cluster *c, kb_ms ms)
{
    struct kb_loop_timer timer = {.fn = wake, .user = c->tool};
    kb_loop_timer_set(kb_actor_loop(c->tool), &timer, ms);
    kb_actor_run(c->tool, NULL);
    kb_loop_timer_stop(kb_actor_loop(c->tool), &timer);
}

struct status {
    int ready, actors, kernel_pid;
    int pid[3], restarts[3];
};

static bool status(struct cluster *c, struct status *out)
{
    KB_AUTO(kb_doc_destroy) struct kb_doc *doc = ask(c, "kernel", "kernel.status", NULL);
    *out = (struct status){0};
    if (doc == NULL)
        return false;
    out->kernel_pid = (int)kb_val_int(kb_doc_at(doc, "pid"), 0);
    for (struct kb_iter it = kb_iter(kb_doc_at(doc, "actors")); kb_iter_next(&it);) {
        KB_CHECK(out->actors < 3);
        out->ready += kb_str_is(kb_val_str_at(it.val, "state"), "ready");
        out->pid[out->actors] = (int)kb_val_int_at(it.val, "pid", 0);
        out->restarts[out->actors++] = (int)kb_val_int_at(it.val, "restarts", 0);
    }
    return true;
}

/* Wait until `done` says so of the status; fails after `limit_ms`. */
static void until(struct cluster *c, bool (*done)(const struct status *now, const void *arg),
                  const void *arg, kb_ms limit_ms, struct status *out)
{
    kb_ms end = kb_clock_now(kb_clock_system()) + limit_ms;
    while (!status(c, out) || !done(out, arg)) {
        if (kb_clock_now(kb_clock_system()) > end)
            kb_test_fail(__FILE__, __LINE__, "waited for too long: %d of %d ready", out->ready,
                         out->actors);
        turn(c, 20);
    }
}

static bool all_ready(const struct status *now, const void *arg)
{
    (void)arg;
    return now->ready == 3;
}

/* All ready, and actor 1 is another process than before. */
static bool replaced(const struct status *now, const void *arg)
{
    const struct status *before = arg;
    return now->ready == 3 && now->pid[1] != before->pid[1];
}

static bool new_kernel(const struct status *now, const void *arg)
{
    const struct status *before = arg;
    return now->ready == 3 && now->kernel_pid != before->kernel_pid;
}

static void cluster_stop(struct cluster *c)
{
    struct status last;
    KB_CHECK(status(c, &last));
    KB_AUTO(kb_doc_destroy) struct kb_doc *doc = ask(c, "kernel", "kernel.stop", NULL);
    KB_CHECK(doc != NULL);
    int code = -1;
    while (waitpid(c->guard, &code, 0) < 0 && errno == EINTR) {
    }
    KB_CHECK_I64(code, ==, 0);
    for (int i = 0; i < 3; i++)
        KB_CHECK(is_dead(last.pid[i]));
    kb_actor_destroy(&c->tool);
    free(c->data);
}

KB_TEST(kubusd, starts_a_cluster_shows_it_and_stops_it)
{
    struct cluster c;
    struct status now;
    cluster_start(&c);
    until(&c, all_ready, NULL, LIMIT_MS, &now);
    KB_AUTO(kb_doc_destroy) struct kb_doc *pid = ask(&c, "agent/n1", "probe.pid", NULL);
    KB_CHECK_I64(kb_val_int(kb_doc_at(pid, "pid"), 0), ==, now.pid[2]);
    cluster_stop(&c);
}

KB_TEST(kubusd, restarts_an_actor_that_was_killed)
{
    struct cluster c;
    struct status before, after;
    cluster_start(&c);
    until(&c, all_ready, NULL, LIMIT_MS, &before);
    kill(before.pid[1], SIGKILL);
    until(&c, replaced, &before, LIMIT_MS, &after);
    KB_CHECK_I64(after.restarts[1], >=, 1);
    KB_CHECK_I64(after.pid[0], ==, before.pid[0]);
    cluster_stop(&c);
}

KB_TEST(kubusd, replaces_an_actor_that_hangs)
{
    struct cluster c;
    struct status before, after;
    cluster_start(&c);
    until(&c, all_ready, NULL, LIMIT_MS, &before);
    kill(before.pid[1], SIGSTOP);
    until(&c, replaced, &before, LIMIT_MS, &after);
    KB_CHECK(is_dead(before.pid[1]));
    cluster_stop(&c);
}

KB_TEST(kubusd, is_itself_replaced_and_its_successor_adopts_all_actors)
{
    struct cluster c;
    struct status before, after;
    cluster_start(&c);
    until(&c, all_ready, NULL, LIMIT_MS, &before);
    for (int i = 0; i < 3; i++) {
        kill(before.kernel_pid, SIGKILL);
        until(&c, new_kernel, &before, LIMIT_MS, &after);
        for (int k = 0; k < 3; k++)
            KB_CHECK_I64(after.pid[k], ==, before.pid[k]);
        before = after;
    }
    kill(before.pid[1], SIGKILL); /* the successor watches what it adopted */
    until(&c, replaced, &before, LIMIT_MS, &after);
    before = after;
    kill(before.kernel_pid, SIGKILL); /* and the one after it knows of that */
    until(&c, new_kernel, &before, LIMIT_MS, &after);
    KB_CHECK_I64(after.restarts[1], ==, before.restarts[1]);
    cluster_stop(&c);
}

KB_TEST(kubusd, is_replaced_when_it_hangs)
{
    struct cluster c;
    struct status before, after;
    cluster_start(&c);
    until(&c, all_ready, NULL, LIMIT_MS, &before);
    kill(before.kernel_pid, SIGSTOP);
    until(&c, new_kernel, &before, LIMIT_MS, &after);
    for (int k = 0; k < 3; k++)
        KB_CHECK_I64(after.pid[k], ==, before.pid[k]);
    cluster_stop(&c);
}

/* How many processes have this cluster's folder among their arguments and are no zombies. */
static int processes_of(const struct cluster *c)
{
    DIR *proc = opendir("/proc");
    struct dirent *entry;
    int n = 0;
    while ((entry = readdir(proc)) != NULL) {
        int pid = atoi(entry->d_name);
        n += pid > 1 && pid != getpid() && file_has(pid, "cmdline", c->data) && !is_dead(pid);
    }
    closedir(proc);
    return n;
}

/* A second process of a name ends when it cannot get the lock of its name. */
static bool five_processes(const struct status *now, const void *arg)
{
    return now->ready == 3 && processes_of(arg) == 5;
}

KB_TEST(kubusd, keeps_one_process_an_actor_when_everybody_is_killed_at_random)
{
    struct cluster c;
    struct status now;
    struct kb_rand rand;
    kb_rand_init(&rand, kb_test_seed());
    cluster_start(&c);
    until(&c, all_ready, NULL, LIMIT_MS, &now);
    for (int i = 0; i < 16; i++) {
        uint64_t who = kb_rand_below(&rand, 5);
        int pid = who < 3 ? now.pid[who] : now.kernel_pid;
        if (pid > 1)
            kill(pid, SIGKILL);
        turn(&c, (kb_ms)kb_rand_below(&rand, 150)); /* some before the last is mended */
        status(&c, &now);
    }
    until(&c, all_ready, NULL, LIMIT_MS, &now);
    until(&c, five_processes, &c, LIMIT_MS, &now); /* guardian, kubusd, three actors */
    cluster_stop(&c);
}

KB_TEST(kubusd, and_its_guardian_killed_leave_actors_that_the_next_start_adopts)
{
    struct cluster c;
    struct status before, after;
    cluster_start(&c);
    until(&c, all_ready, NULL, LIMIT_MS, &before);
    kill(c.guard, SIGKILL);
    waitpid(c.guard, NULL, 0);
    kill(before.kernel_pid, SIGKILL);
    while (!is_dead(before.kernel_pid)) /* until then it has its lock: nobody takes its place */
        turn(&c, 5);
    c.guard = start_guard(c.data);
    until(&c, new_kernel, &before, LIMIT_MS, &after);
    for (int k = 0; k < 3; k++)
        KB_CHECK_I64(after.pid[k], ==, before.pid[k]);
    cluster_stop(&c);
}

KB_TEST(kubusd, refuses_to_run_a_cluster_twice)
{
    struct cluster c;
    struct status now;
    int code = -1;
    cluster_start(&c);
    until(&c, all_ready, NULL, LIMIT_MS, &now);
    pid_t second = start_guard(c.data);
    waitpid(second, &code, 0);
    KB_CHECK(WIFEXITED(code) && WEXITSTATUS(code) == 3);
    until(&c, all_ready, NULL, LIMIT_MS, &now);
    cluster_stop(&c);
}

static bool one_stopped(const struct status *now, const void *arg)
{
    (void)arg;
    return now->ready == 2 && now->pid[2] == 0;
}

KB_TEST(kubusd, holds_an_actor_that_was_stopped_by_name)
{
    struct cluster c;
    struct status now;
    cluster_start(&c);
    until(&c, all_ready, NULL, LIMIT_MS, &now);
    struct kb_doc *doc = ask(&c, "kernel", "kernel.stop", "agent/n1");
    KB_CHECK(doc != NULL);
    kb_doc_destroy(&doc);
    KB_CHECK(status(&c, &now));
    KB_CHECK(one_stopped(&now, NULL)); /* the answer came when it had ended */
    doc = ask(&c, "kernel", "kernel.restart", "agent/n1");
    KB_CHECK(doc != NULL);
    kb_doc_destroy(&doc);
    KB_CHECK(status(&c, &now));
    KB_CHECK(all_ready(&now, NULL));
    cluster_stop(&c);
}
