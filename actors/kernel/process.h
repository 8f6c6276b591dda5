/* Processes of actors: started with a log file as their output, watched until they end. */
#ifndef KUBUS_KERNEL_PROCESS_H
#define KUBUS_KERNEL_PROCESS_H

#include "bus/base/err.h"
#include "bus/base/str.h"

struct kb_loop;
struct kb_process; /* a watched one */

struct kb_process_start {
    char *const *argv;    /* of the program itself */
    const char *run_dir;  /* its KUBUS_RUN */
    int64_t restarts;     /* its KUBUS_RESTARTS: it tells them to a kubusd that did not start it */
    const char *log_path; /* its output is appended there */
};
/* Start a process in a session of its own. -KB_EIO. */
int kb_process_spawn(const struct kb_process_start *start, int *ret_pid, struct kb_err *err);

/* Its end, once; the watch is gone then. `how`: "exit 1", "killed by signal 9". */
typedef void kb_process_fn(void *user, int pid, const char *how);
/* Watch a process, a child or not. NULL: there is none such. */
struct kb_process *kb_process_watch(struct kb_loop *loop, int pid, kb_process_fn *fn, void *user);
void kb_process_unwatch(struct kb_process **process_p);

int64_t kb_process_rss_bytes(int pid); /* 0: unknown */

/* Move a log aside when it has grown over `max_bytes`: PATH.1 gets what it has. Writers append on,
 * and lose no line, but on a file system that cannot take off a file's head: there, lines written
 * just then may be lost. */
void kb_log_rotate(const char *path, int64_t max_bytes);

#endif
