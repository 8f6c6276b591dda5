/* kernel_main.c - `kubus actor kernel --data DIR [--guard]`.
 *
 * With --guard it is the guardian: a process that does nothing but start kubusd again when it dies,
 * with no bus, no threads and next to no code that could fail. It also ends a kubusd that hangs. It
 * adopts the orphans of a dead kubusd as their reaper, so that they do not stay behind as zombies
 * where process 1 is careless. While it holds its lock the cluster lives, whether there is a kubusd
 * at this moment or not.
 */
#include "actors/kernel/kernel_actor.h"

#include "bus/actor.h"
#include "bus/base/log.h"
#include "bus/base/memory.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum {
    EXIT_RUNNING = 3, /* a kubusd of this cluster runs already */
    EXIT_PLAN = 4,    /* the plan cannot be read: trying again does not help */
    AGAIN_MIN_MS = 50,
    AGAIN_MAX_MS = 5000,
    STABLE_S = 60,
    SILENCE_S = 8, /* twice without a beat of kubusd's: it hangs */
};

int kb_kernel_main(int argc, char **argv);

/* ---- the guardian ---- */

static volatile sig_atomic_t kubusd, ending;

static void pass_on(int number)
{
    ending = 1;
    if (kubusd > 0)
        kill((pid_t)kubusd, number);
}

static void on_child(int number)
{
    (void)number; /* it only interrupts the wait */
}

/* Signals come in while waiting, and only then. *ret_waiting: the mask for it. */
static void take_signals(sigset_t *ret_waiting)
{
    struct sigaction ends = {.sa_handler = pass_on}, child = {.sa_handler = on_child};
    sigset_t ours;
    sigaction(SIGTERM, &ends, NULL);
    sigaction(SIGINT, &ends, NULL);
    sigaction(SIGCHLD, &child, NULL);
    sigaction(SIGHUP, &(struct sigaction){.sa_handler = SIG_IGN}, NULL);
    sigemptyset(&ours);
    sigaddset(&ours, SIGTERM);
    sigaddset(&ours, SIGINT);
    sigaddset(&ours, SIGCHLD);
    sigprocmask(SIG_BLOCK, &ours, ret_waiting);
}

/* kubusd writes a byte to the pipe with each beat of its own. */
static pid_t start_kubusd(const char *data_dir, const sigset_t *mask, int *ret_beats)
{
    int ends[2];
    char number[16];
    if (pipe2(ends, O_CLOEXEC) < 0)
        return -1;
    pid_t pid = fork();
    if (pid == 0) {
        snprintf(number, sizeof(number), "%d", ends[1]);
        fcntl(ends[1], F_SETFD, 0);
        sigprocmask(SIG_SETMASK, mask, NULL);
        execl("/proc/self/exe", "kubus", "actor", "kernel", "--data", data_dir, "--beats", number,
              (char *)NULL);
        _exit(127);
    }
    close(ends[1]);
    *ret_beats = ends[0];
    return pid;
}

/* Reap whoever has ended; true when kubusd has. */
static bool reap(int *ret_status)
{
    int status;
    pid_t pid;
    bool ended = false;
    while ((pid = waitpid(-1, &status, WNOHANG)) > 0)
        if (pid == (pid_t)kubusd) {
            *ret_status = status;
            ended = true;
        }
    return ended;
}

/* Wait for kubusd to end. One that hangs is ended: two silences in a row, for the first may be
 * that both of us were stopped. */
static int wait_for_kubusd(int beats, const sigset_t *mask)
{
    struct pollfd pipe_end = {.fd = beats, .events = POLLIN};
    int status = 0, silences = 0;
    while (!reap(&status)) {
        struct timespec silence = {SILENCE_S, 0};
        char bytes[64];
        int n = ppoll(&pipe_end, 1, &silence, mask);
        if (n > 0 && read(beats, bytes, sizeof(bytes)) <= 0)
            pipe_end.fd = -1; /* closed: it is about to end */
        silences = n == 0 ? silences + 1 : 0;
        if (silences == 2) {
            kb_warn("kubusd does not turn any more: ending it");
            kill((pid_t)kubusd, SIGKILL);
        }
    }
    return status;
}

static void pause_ms(int ms)
{
    struct timespec ts = {ms / 1000, (long)(ms % 1000) * 1000000};
    nanosleep(&ts, NULL);
}

/* Is this how kubusd ends when it is not to come back? */
static bool for_good(int status)
{
    int code = WIFEXITED(status) ? WEXITSTATUS(status) : -1;
    return code == 0 || code == EXIT_RUNNING || code == EXIT_PLAN;
}

/* The lock says that the cluster lives, also while kubusd is being started again. */
static int guard(const char *data_dir)
{
    int again_ms = AGAIN_MIN_MS;
    sigset_t waiting;
    struct kb_err err = {0};
    KB_AUTO(kb_auto_close) int lock = -1;
    KB_AUTO(kb_auto_free) char *run_dir = kb_run_dir(data_dir);
    if (kb_run_dir_make(run_dir, &err) < 0 ||
        kb_run_lock(run_dir, "guard", &lock, NULL, &err) < 0) {
        kb_error("%s", err.text);
        return err.code == KB_EEXISTS ? EXIT_RUNNING : EXIT_PLAN;
    }
    take_signals(&waiting);
    prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0);
    for (;;) {
        time_t started = time(NULL);
        KB_AUTO(kb_auto_close) int beats = -1;
        kubusd = start_kubusd(data_dir, &waiting, &beats);
        kb_memory_give_back(); /* it will be here for long, and has nothing to do */
        int status = kubusd > 0 ? wait_for_kubusd(beats, &waiting) : -1;
        bool lived = kubusd > 0;
        kubusd = 0;
        if (lived && for_good(status))
            return WEXITSTATUS(status);
        if (ending)
            return 0;
        kb_warn("kubusd ended (status 0x%x): starting it again", (unsigned)status);
        if (time(NULL) - started >= STABLE_S)
            again_ms = AGAIN_MIN_MS;
        pause_ms(again_ms);
        again_ms = again_ms * 2 < AGAIN_MAX_MS ? again_ms * 2 : AGAIN_MAX_MS;
    }
}

/* ---- kubusd ---- */

static int run(const char *data_dir, int beats)
{
    KB_AUTO(kb_plan_finish) struct kb_plan plan = {0};
    struct kb_err err = {0};
    if (kb_plan_load(data_dir, &plan, &err) < 0) {
        kb_error("%s", err.text);
        return EXIT_PLAN;
    }
    if (kb_kernel_run(data_dir, &plan, beats, &err) < 0) {
        kb_error("%s", err.text);
        return err.code == KB_EEXISTS ? EXIT_RUNNING : 1;
    }
    return 0;
}

int kb_kernel_main(int argc, char **argv)
{
    const char *data = NULL;
    int beats = -1;
    bool guards = false;
    for (int i = 1; i < argc; i++) {
        if (strcmp(argv[i], "--data") == 0 && i + 1 < argc)
            data = argv[++i];
        else if (strcmp(argv[i], "--beats") == 0 && i + 1 < argc)
            beats = atoi(argv[++i]);
        else if (strcmp(argv[i], "--guard") == 0)
            guards = true;
        else
            data = "";
    }
    if (data == NULL || data[0] == '\0') {
        fprintf(stderr, "usage: kubus actor kernel --data DIR [--guard]\n");
        return 2;
    }
    KB_AUTO(kb_auto_free) char *absolute = realpath(data, NULL);
    if (absolute == NULL) {
        fprintf(stderr, "kubus actor kernel: '%s': %s\n", data, strerror(errno));
        return EXIT_PLAN;
    }
    prctl(PR_SET_NAME, guards ? "kubus-guard" : "kubus-kernel");
    return guards ? guard(absolute) : run(absolute, beats);
}
