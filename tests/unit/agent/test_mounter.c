/* Volumes that are set up by a child: the agent goes on whatever becomes of it. The child waits for
 * a byte from a pipe with a name, which stands for a file system that does not answer. */
#include "agent/mounter.h"
#include "bus/base/clock.h"
#include "tests/lib/test.h"

#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

enum { NEVER_MS = 3600000, SOON_MS = 50, VOLUMES = 3 };

struct world {
    struct kb_ev *ev;
    struct kb_mounter mounter;
    char *fifo;
    int writer;       /* of it; -1: a child that opens it hangs */
    uint32_t version; /* a child sees the one of its start */
    const char *failure;
    int told, stopped, ticks;
    bool answer, finish_when_told;
    uint32_t made;
    struct kb_err err;
    struct kb_ev_timer timer;
};

static int set_up(void *arg, uint32_t *made, struct kb_err *err)
{
    struct world *w = arg;
    char byte;
    *made = w->version;
    int fd = open(w->fifo, O_RDONLY | O_CLOEXEC);
    if (fd < 0 || read(fd, &byte, 1) != 1)
        return kb_err_set(err, KB_EIO, "the pipe has ended");
    *made += VOLUMES;
    return w->failure != NULL ? kb_err_set(err, KB_ENOTFOUND, "%s", w->failure) : 0;
}

static void on_done(void *arg, bool answer, uint32_t made, const struct kb_err *err)
{
    struct world *w = arg;
    w->told++;
    w->answer = answer;
    w->made = made;
    w->err = err != NULL ? *err : (struct kb_err){0};
    if (w->finish_when_told)
        kb_mounter_finish(&w->mounter);
}

static void on_stopped(void *arg)
{
    struct world *w = arg;
    w->stopped++;
}

static void tick(void *arg)
{
    struct world *w = arg;
    w->ticks++;
    kb_ev_arm(w->ev, &w->timer, 1, tick, w);
}

static struct world *world_new(kb_ms limit_ms)
{
    static const struct kb_mounter_calls calls = {set_up, on_done, on_stopped};
    static struct world w; /* a test is a process */
    w.ev = kb_ev_new(kb_clock_system());
    w.fifo = kb_strf("%s/fifo", kb_test_dir());
    w.writer = -1;
    KB_CHECK(mkfifo(w.fifo, 0600) == 0);
    kb_mounter_init(&w.mounter, w.ev, &calls, limit_ms, &w);
    return &w;
}

static void world_end(struct world *w)
{
    kb_mounter_finish(&w->mounter);
    kb_ev_disarm(w->ev, &w->timer);
    kb_ev_destroy(&w->ev);
    if (w->writer >= 0)
        close(w->writer);
    free(w->fifo);
}

/* What children wait for: `n` bytes, for as many of them. */
static void answer(struct world *w, size_t n)
{
    if (w->writer < 0)
        w->writer = open(w->fifo, O_RDWR | O_CLOEXEC); /* does not wait for a reader */
    KB_CHECK(w->writer >= 0 && write(w->writer, "xxxxxxxx", n) == (ssize_t)n);
}

static void until_told(struct world *w, int times)
{
    while (w->told < times)
        kb_ev_run(w->ev, -1);
}

KB_TEST(mounter, tells_that_volumes_are_there_or_why_not)
{
    struct world *w = world_new(NEVER_MS);
    answer(w, 2);
    kb_mounter_run(&w->mounter, true);
    until_told(w, 1);
    KB_CHECK(w->answer && w->err.code == 0);
    KB_CHECK_U64(w->made, ==, VOLUMES);
    w->failure = "configmap \"x\" not found";
    kb_mounter_run(&w->mounter, false);
    until_told(w, 2);
    KB_CHECK(!w->answer);
    KB_CHECK_I64(w->err.code, ==, KB_ENOTFOUND);
    KB_CHECK_STR(w->err.text, "configmap \"x\" not found");
    world_end(w);
}

KB_TEST(mounter, the_loop_goes_on_while_a_path_hangs)
{
    struct world *w = world_new(NEVER_MS);
    tick(w);
    kb_mounter_run(&w->mounter, true);
    while (w->ticks < 10)
        kb_ev_run(w->ev, -1);
    KB_CHECK_I64(w->told, ==, 0);
    answer(w, 1);
    until_told(w, 1);
    KB_CHECK_I64(w->err.code, ==, 0);
    world_end(w);
}

KB_TEST(mounter, who_asks_meanwhile_is_told_of_what_came_after_the_question)
{
    struct world *w = world_new(NEVER_MS);
    kb_mounter_run(&w->mounter, false);
    w->version = 10;
    kb_mounter_run(&w->mounter, true);
    kb_mounter_run(&w->mounter, false);
    answer(w, 2);
    until_told(w, 1);
    KB_CHECK(!w->answer);
    KB_CHECK_U64(w->made, ==, VOLUMES);
    until_told(w, 2);
    KB_CHECK(w->answer);
    KB_CHECK_U64(w->made, ==, 10 + VOLUMES);
    KB_CHECK(w->mounter.run == NULL);
    world_end(w);
}

KB_TEST(mounter, who_waits_is_answered_however_often_is_asked_meanwhile)
{
    struct world *w = world_new(NEVER_MS);
    kb_mounter_run(&w->mounter, true);
    for (int i = 1; i <= 5; i++) {
        w->version = (uint32_t)i * 10;
        kb_mounter_run(&w->mounter, false);
        answer(w, 1);
        until_told(w, i);
        KB_CHECK(w->answer == (i == 1));
        KB_CHECK_U64(w->made, ==, (uint64_t)(i - 1) * 10 + VOLUMES);
    }
    answer(w, 1);
    until_told(w, 6);
    KB_CHECK(!w->answer && w->mounter.run == NULL);
    KB_CHECK_U64(w->made, ==, 50 + VOLUMES);
    world_end(w);
}

KB_TEST(mounter, what_hangs_is_given_up_and_tried_again)
{
    struct world *w = world_new(SOON_MS);
    kb_mounter_run(&w->mounter, true);
    until_told(w, 1);
    KB_CHECK(w->answer);
    KB_CHECK_I64(w->err.code, ==, KB_ETIMEOUT);
    KB_CHECK_U64(w->made, ==, 0); /* none of the volumes was there */
    w->mounter.limit_ms = NEVER_MS;
    kb_mounter_run(&w->mounter, true);
    answer(w, 1);
    until_told(w, 2);
    KB_CHECK(w->answer && w->err.code == 0);
    world_end(w);
}

KB_TEST(mounter, a_stop_ends_the_child_before_what_follows)
{
    struct world *w = world_new(NEVER_MS);
    KB_CHECK(kb_mounter_stop(&w->mounter)); /* nothing to end */
    kb_mounter_run(&w->mounter, true);
    kb_mounter_run(&w->mounter, true);
    KB_CHECK(!kb_mounter_stop(&w->mounter));
    kb_mounter_run(&w->mounter, true); /* too late */
    while (w->stopped == 0)
        kb_ev_run(w->ev, -1);
    KB_CHECK(w->mounter.run == NULL);
    KB_CHECK_I64(w->told, ==, 0);
    KB_CHECK(kb_mounter_stop(&w->mounter));
    world_end(w);
}

KB_TEST(mounter, its_owner_may_go_when_it_is_told_or_before)
{
    struct world *w = world_new(SOON_MS);
    w->finish_when_told = true;
    kb_mounter_run(&w->mounter, true);
    until_told(w, 1); /* of a child that hangs */
    KB_CHECK(w->mounter.run == NULL);
    kb_mounter_run(&w->mounter, true);
    kb_mounter_finish(&w->mounter);
    KB_CHECK(w->mounter.run == NULL);
    world_end(w);
}
