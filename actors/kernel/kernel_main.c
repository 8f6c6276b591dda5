/* kernel_main.c - `kubus actor kernel --data DIR [--guard]`.
 *
 * With --guard it is the guardian: a process that does nothing but start kubusd again when it dies,
 * with no bus, no threads and next to no code that could fail. It adopts the orphans of a dead
 * kubusd as their reaper, so that they do not stay behind as zombies where process 1 is careless.
 */
#include "actors/kernel/kernel_actor.h"

#include "bus/base/log.h"
#include "bus/base/memory.h"

#include <errno.h>
#include <limits.h>
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

static pid_t start_kubusd(const char *data_dir)
{
    pid_t pid = fork();
    if (pid == 0) {
        execl("/proc/self/exe", "kubus", "actor", "kernel", "--data", data_dir, (char *)NULL);
        _exit(127);
    }
    return pid;
}

/* Wait for kubusd to end, reaping everybody else's orphans meanwhile. */
static int wait_for_kubusd(void)
{
    for (;;) {
        int status;
        pid_t pid = waitpid(-1, &status, 0);
        if (pid == (pid_t)kubusd || (pid < 0 && errno == ECHILD))
            return pid < 0 ? 0 : status;
    }
}

static void pause_ms(int ms)
{
    struct timespec ts = {ms / 1000, (long)(ms % 1000) * 1000000};
    nanosleep(&ts, NULL);
}

static int guard(const char *data_dir)
{
    struct sigaction action = {.sa_handler = pass_on, .sa_flags = SA_RESTART};
    int again_ms = AGAIN_MIN_MS;
    sigaction(SIGTERM, &action, NULL);
    sigaction(SIGINT, &action, NULL);
    sigaction(SIGHUP, &(struct sigaction){.sa_handler = SIG_IGN}, NULL);
    prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0);
    for (;;) {
        time_t started = time(NULL);
        kubusd = start_kubusd(data_dir);
        if (kubusd < 0 && again_ms >= AGAIN_MAX_MS)
            return 1;
        kb_memory_give_back(); /* it will be here for long, and has nothing to do */
        int status = kubusd > 0 ? wait_for_kubusd() : 0;
        bool orderly = kubusd > 0 && WIFEXITED(status);
        if (orderly && (WEXITSTATUS(status) == 0 || WEXITSTATUS(status) == EXIT_RUNNING ||
                        WEXITSTATUS(status) == EXIT_PLAN))
            return WEXITSTATUS(status);
        kubusd = 0;
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

static int run(const char *data_dir)
{
    KB_AUTO(kb_plan_finish) struct kb_plan plan = {0};
    struct kb_err err = {0};
    if (kb_plan_load(data_dir, &plan, &err) < 0) {
        kb_error("%s", err.text);
        return EXIT_PLAN;
    }
    if (kb_kernel_run(data_dir, &plan, &err) < 0) {
        kb_error("%s", err.text);
        return err.code == KB_EEXISTS ? EXIT_RUNNING : 1;
    }
    return 0;
}

int kb_kernel_main(int argc, char **argv)
{
    const char *data = NULL;
    bool guards = false;
    for (int i = 1; i < argc; i++) {
        if (strcmp(argv[i], "--data") == 0 && i + 1 < argc)
            data = argv[++i];
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
    return guards ? guard(absolute) : run(absolute);
}
