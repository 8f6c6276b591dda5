/* Work that may block, done in a forked child: mounts, netlink, unpacking, starting a container.
 *
 * The child sees a snapshot of the agent's memory, so a job needs no copy of its arguments, and
 * it may block, crash or take its time without holding the agent. It reports through a pipe.
 * A job may also turn itself into another program (the shim): descriptor 3 then stays the
 * report, and the job is finished, for its owner, when that is closed. */
#ifndef KUBUS_AGENT_JOB_H
#define KUBUS_AGENT_JOB_H

#include "agent/ev.h"
#include "bus/base/buf.h"
#include "bus/base/err.h"

#include <sys/types.h>

struct kb_job;

enum { KB_JOB_REPORT_FD = 3 };

/* In the child. 0 and whatever was added to `out`, or a negative code with `err` filled. */
typedef int kb_job_fn(void *arg, struct kb_buf *out, struct kb_err *err);

/* In the agent, once, at the report's end: rc 0 and the bytes, or a negative code and the error.
 * `pid` still lives when the job has become another program. */
typedef void kb_job_done(void *arg, int rc, kb_str out, const struct kb_err *err);

/* In the agent, once, after `done`: the process is gone (waitpid's status). */
typedef void kb_job_exited(void *arg, int wait_status);

struct kb_job_calls {
    kb_job_fn *fn;
    kb_job_done *done;
    kb_job_exited *exited; /* may be NULL */
};

/* Fork and run fn(arg). Never NULL; it frees itself after the exit. A fork that fails is reported
 * through `done` from the loop. A job that has not reported after limit_ms (0: no limit) is killed
 * with all that it started, and reported as -KB_ETIMEOUT; one whose agent has died meanwhile ends a
 * little later by its alarm clock, which must be switched off before it becomes another program. */
struct kb_job *kb_job_start(struct kb_ev *ev, const struct kb_job_calls *calls, kb_ms limit_ms,
                            void *arg);
pid_t kb_job_pid(const struct kb_job *job);
/* With all that it started. Its end is told as of any other that ends without a report. */
void kb_job_kill(const struct kb_job *job);
/* The owner goes away: no callback any more. The process runs on. *job_p becomes NULL. */
void kb_job_forget(struct kb_job **job_p);

/* Run a program and wait for it, inside a job: argv[0] is looked up in PATH; `input` on its
 * standard input; its output is appended to `out` (NULL: dropped). Fails with the tail of what it
 * wrote on standard error when it exits with other than 0; the exit code goes to *ret_code when not
 * NULL. */
int kb_spawn(const char *const *argv, kb_str input, struct kb_buf *out, int *ret_code,
             struct kb_err *err);
/* The same with environment `envp` (NULL: ours). */
int kb_spawn_env(const char *const *argv, char *const *envp, kb_str input, struct kb_buf *out,
                 int *ret_code, struct kb_err *err);

#endif
