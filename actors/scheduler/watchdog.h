/* The watchdog of a scheduler: what its guard's page (core/guard.h) is for.
 *
 * The page lies in a file. A signal that ends the process (SIGSEGV, SIGBUS, SIGFPE, SIGILL,
 * SIGABRT) while a policy is at work is written beside the policy's name; so is a call that does
 * not return: a thread looks four times a second, and ends the process when the same call is under
 * way for two seconds of which the process computed at least one (or for five in any case: it waits
 * for something, which policies must not). Who starts next reads the page. A process that is killed
 * from outside leaves no cause, and nobody is blamed. */
#ifndef KUBUS_SCHEDULER_WATCHDOG_H
#define KUBUS_SCHEDULER_WATCHDOG_H

#include "actors/scheduler/core/guard.h"
#include "bus/base/err.h"

#include <stdbool.h>

/* What ended the last process that used this file. */
struct kb_watchdog_found {
    bool blamed;
    char policy[KB_GUARD_NAME_BYTES], version[KB_GUARD_VERSION_BYTES];
    char why[128]; /* "crashed in filter (SIGSEGV)" */
};

/* Map the file, tell what stands in it, begin a new page, and catch the signals. One in a process;
 * it stays until the process ends. */
int kb_watchdog_open(const char *path, struct kb_guard_page **ret_page,
                     struct kb_watchdog_found *ret_found, struct kb_err *err);
/* Start looking for calls that do not return; from the thread that makes them. Once is enough. */
void kb_watchdog_watch(void);

#endif
