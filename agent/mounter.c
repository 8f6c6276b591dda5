#include "agent/mounter.h"

#include "bus/base/check.h"

#include <signal.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <unistd.h>

struct kb_mounter_run {
    struct kb_mounter *m;
    struct kb_job *job;
    uint32_t *made; /* shared with the child */
    pid_t agent;
    bool over; /* it was told of */
};

/* Nothing is told of it any more; the job reaps its process, whenever that is. */
static void release(struct kb_mounter_run *run)
{
    run->m->run = NULL;
    kb_job_forget(&run->job);
    munmap(run->made, sizeof *run->made);
    free(run);
}

static int in_child(void *arg, struct kb_buf *out, struct kb_err *err)
{
    const struct kb_mounter_run *run = arg;
    (void)out;
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (getppid() != run->agent)
        return kb_err_set(err, KB_EINTERNAL, "the agent is gone");
    return run->m->calls->set_up(run->m->arg, run->made, err);
}

static void start(struct kb_mounter *m);

static void on_done(void *arg, int rc, kb_str out, const struct kb_err *err)
{
    struct kb_mounter_run *run = arg;
    struct kb_mounter *m = run->m;
    uint32_t made = *run->made;
    (void)out;
    run->over = true;
    if (rc != -KB_ETIMEOUT || m->stopping)
        release(run); /* else it may be there still */
    if (m->stopping) {
        m->stopping = false;
        m->calls->stopped(m->arg);
        return;
    }
    bool answer = m->waits_now;
    m->waits_now = false;
    if (m->run == NULL && m->again)
        start(m);
    m->calls->done(m->arg, answer, made, rc < 0 ? err : NULL); /* m may be gone now */
}

/* Of one that was over the limit. */
static void on_exited(void *arg, int wait_status)
{
    struct kb_mounter_run *run = arg;
    struct kb_mounter *m = run->m;
    (void)wait_status;
    release(run);
    if (m->again)
        start(m);
}

static void start(struct kb_mounter *m)
{
    struct kb_mounter_run *run = calloc(1, sizeof *run);
    KB_ASSERT(run != NULL);
    run->made =
        mmap(NULL, sizeof *run->made, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    KB_ASSERT(run->made != MAP_FAILED);
    run->m = m;
    run->agent = getpid();
    m->run = run;
    m->waits_now = m->waits_next;
    m->again = m->waits_next = false;
    run->job =
        kb_job_start(m->ev, &(struct kb_job_calls){in_child, on_done, on_exited}, m->limit_ms, run);
}

void kb_mounter_init(struct kb_mounter *m, struct kb_ev *ev, const struct kb_mounter_calls *calls,
                     kb_ms limit_ms, void *arg)
{
    *m = (struct kb_mounter){.ev = ev, .calls = calls, .arg = arg, .limit_ms = limit_ms};
}

void kb_mounter_run(struct kb_mounter *m, bool answer)
{
    if (m->stopping)
        return;
    m->waits_next |= answer;
    if (m->run != NULL)
        m->again = true;
    else
        start(m);
}

bool kb_mounter_stop(struct kb_mounter *m)
{
    m->again = m->waits_now = m->waits_next = false;
    if (m->run != NULL && m->run->over)
        release(m->run); /* killed: whatever the system does with it, it does no more */
    if (m->run == NULL)
        return true;
    m->stopping = true;
    kb_job_kill(m->run->job);
    return false;
}

void kb_mounter_finish(struct kb_mounter *m)
{
    if (m->run == NULL)
        return;
    if (!m->run->over)
        kb_job_kill(m->run->job);
    release(m->run);
}
