#include "actors/scheduler/watchdog.h"

#include "bus/base/check.h"
#include "bus/base/log.h"
#include "bus/base/str.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

enum {
    TICK_MS = 250,
    LOOP_TICKS = 8, /* … of which the thread computed … */
    LOOP_CPU_MS = 1000,
    STUCK_TICKS = 20, /* without computing */
    STACK_BYTES = 64 * 1024,
    EXIT_CODE = 70,
};

/* There is one process, and a signal handler has no other way to know. */
static struct kb_guard_page *page;
static pthread_t worker;
static bool watching;

/* ---- signals ---- */

static const int signals[] = {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGABRT};

/* The default action follows: the instruction is tried again, with the handler reset. */
static void on_signal(int signal)
{
    if (page->at != 0 && page->cause == 0)
        page->cause = (uint32_t)signal;
}

static void on_exit_(void)
{
    if (page->at != 0 && page->cause == 0)
        page->cause = KB_GUARD_EXIT;
}

/* A stack of its own, for a policy may have used up the other one. */
static void catch_signals(void)
{
    stack_t stack = {.ss_sp = malloc(STACK_BYTES), .ss_size = STACK_BYTES};
    struct sigaction action = {.sa_handler = on_signal, .sa_flags = SA_ONSTACK | SA_RESETHAND};
    KB_ASSERT(stack.ss_sp != NULL);
    sigaltstack(&stack, NULL);
    for (size_t i = 0; i < KB_COUNT(signals); i++)
        sigaction(signals[i], &action, NULL);
    atexit(on_exit_);
}

/* ---- calls that do not return ---- */

static int64_t cpu_ms(void)
{
    clockid_t clock;
    struct timespec t = {0};
    if (pthread_getcpuclockid(worker, &clock) == 0)
        clock_gettime(clock, &t);
    return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

static void *watch(void *unused)
{
    const struct timespec tick = {.tv_nsec = TICK_MS * 1000000L};
    uint64_t calls = 0;
    int64_t since_cpu = 0;
    int ticks = 0;
    (void)unused;
    for (;;) {
        nanosleep(&tick, NULL);
        if (page->at == 0 || page->calls != calls) {
            calls = page->calls;
            since_cpu = cpu_ms();
            ticks = 0;
            continue;
        }
        ticks++;
        bool loops = ticks >= LOOP_TICKS && cpu_ms() - since_cpu >= LOOP_CPU_MS;
        if (!loops && ticks < STUCK_TICKS)
            continue;
        page->cause = KB_GUARD_LOOP;
        kb_error("policy %s does not return from %s: the scheduler starts anew",
                 page->rows[(page->at & 0xffff) - 1].name, kb_guard_point_name(page->at));
        _exit(EXIT_CODE);
    }
    return NULL;
}

void kb_watchdog_watch(void)
{
    pthread_t thread;
    sigset_t all, before;
    if (watching || page == NULL)
        return;
    worker = pthread_self();
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before); /* signals are the worker's */
    watching = pthread_create(&thread, NULL, watch, NULL) == 0;
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (watching)
        pthread_detach(thread);
}

/* ---- the file ---- */

static void write_why(uint32_t at, uint32_t cause, char *why, size_t n)
{
    const char *point = kb_guard_point_name(at);
    if (cause == KB_GUARD_LOOP)
        snprintf(why, n, "did not return from %s", point);
    else if (cause == KB_GUARD_EXIT)
        snprintf(why, n, "ended the process in %s", point);
    else
        snprintf(why, n, "crashed in %s (SIG%s)", point,
                 cause < 32 && sigabbrev_np((int)cause) ? sigabbrev_np((int)cause) : "?");
}

static void read_page(const struct kb_guard_page *old, struct kb_watchdog_found *found)
{
    uint32_t row = (old->at & 0xffff) - 1;
    *found = (struct kb_watchdog_found){0};
    if (old->magic != KB_GUARD_MAGIC || old->at == 0 || old->cause == 0 || row >= KB_GUARD_ROWS)
        return;
    found->blamed = true;
    snprintf(found->policy, sizeof(found->policy), "%.*s", KB_GUARD_NAME_BYTES - 1,
             old->rows[row].name);
    snprintf(found->version, sizeof(found->version), "%.*s", KB_GUARD_VERSION_BYTES - 1,
             old->rows[row].version);
    write_why(old->at, old->cause, found->why, sizeof(found->why));
}

int kb_watchdog_open(const char *path, struct kb_guard_page **ret_page,
                     struct kb_watchdog_found *ret_found, struct kb_err *err)
{
    KB_AUTO(kb_auto_close) int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (fd < 0 || ftruncate(fd, sizeof(*page)) < 0)
        return kb_err_sys(err, errno, "'%s'", path);
    void *map = mmap(NULL, sizeof(*page), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (map == MAP_FAILED)
        return kb_err_sys(err, errno, "map '%s'", path);
    page = map;
    read_page(page, ret_found);
    memset(map, 0, sizeof(*page));
    page->magic = KB_GUARD_MAGIC;
    catch_signals();
    *ret_page = page;
    return 0;
}
