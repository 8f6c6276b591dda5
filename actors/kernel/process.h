/* Processes of actors: started with a log file as their output, watched until they end. */
#ifndef KUBUS_KERNEL_PROCESS_H
#define KUBUS_KERNEL_PROCESS_H

#include "bus/base/err.h"
#include "bus/base/str.h"

struct kb_loop;
struct kb_process; /* a watched one */

/* Start the program itself with these arguments, in a session of its own, output appended to
 * `log_path`. -KB_EIO. */
int kb_process_spawn(char *const *argv, const char *run_dir, const char *log_path, int *ret_pid,
                     struct kb_err *err);

/* Its end, once; the watch is gone then. `how`: "exit 1", "killed by signal 9". */
typedef void kb_process_fn(void *user, int pid, const char *how);
/* Watch a process, a child or not. NULL: there is none such. */
struct kb_process *kb_process_watch(struct kb_loop *loop, int pid, kb_process_fn *fn, void *user);
void kb_process_unwatch(struct kb_process **process_p);

int64_t kb_process_rss_bytes(int pid); /* 0: unknown */

/* Move a log aside when it has grown over `max_bytes`: PATH.1 gets what it has. Writers go on
 * writing; lines written just then may be lost. */
void kb_log_rotate(const char *path, int64_t max_bytes);

#endif
