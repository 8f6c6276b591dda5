/* job.c - fork, report, reap. No thread: a child that hangs in the kernel hangs alone. */
#include "agent/job.h"
#include "bus/base/check.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

enum { REPORT_MAX_BYTES = 8 << 20, ALARM_LATER_S = 5, LIMIT_AGAIN_MS = 1000 };

struct kb_job {
    struct kb_ev_owned owned;
    struct kb_ev *ev;
    pid_t pid;
    int pid_fd, report_fd;
    struct kb_ev_fd *pid_watch, *report_watch;
    struct kb_buf report;
    kb_job_done *done;
    kb_job_exited *exited;
    void *arg;
    bool forgotten, reaped;
    int status;
    kb_ms limit_ms;
    struct kb_ev_timer failed, limit;
};

static void job_free(struct kb_job *job)
{
    kb_ev_disown(&job->owned);
    kb_ev_disarm(job->ev, &job->failed);
    kb_ev_disarm(job->ev, &job->limit);
    kb_ev_unwatch(&job->pid_watch);
    kb_ev_unwatch(&job->report_watch);
    kb_auto_close(&job->pid_fd);
    kb_auto_close(&job->report_fd);
    kb_buf_finish(&job->report);
    free(job);
}

static void free_with_loop(struct kb_ev_owned *owned)
{
    job_free(KB_CONTAINER(owned, struct kb_job, owned));
}

/* The report is "error TEXT" or "error-CODE TEXT" of a failure, or anything else. */
static void job_report(struct kb_job *job)
{
    struct kb_err err = {0};
    kb_str text = kb_buf_str(&job->report);
    if (job->forgotten)
        return;
    if (kb_str_starts(text, "error-") || kb_str_starts(text, "error ")) {
        kb_str rest = text;
        kb_str head = kb_str_cut(&rest, ' ');
        int64_t code = KB_EINTERNAL;
        if (head.n <= 6 || !kb_str_i64(kb_str_n(head.p + 6, head.n - 6), &code) || code <= 0 ||
            code >= KB_ERR_COUNT)
            code = KB_EINTERNAL; /* the report may also come from a program that the child ran */
        kb_err_set(&err, (int)code, KB_STR_FMT, KB_STR_ARG(rest));
        job->done(job->arg, -err.code, (kb_str){0}, &err);
    } else if (text.n == 0) {
        kb_err_set(&err, KB_EINTERNAL, "the child ended without a report");
        job->done(job->arg, -err.code, (kb_str){0}, &err);
    } else {
        job->done(job->arg, 0, kb_str_n(text.p + 1, text.n - 1), &err);
    }
}

/* Free once the report has ended and the process is reaped. */
static void job_progress(struct kb_job *job)
{
    if (job->report_fd >= 0 || !job->reaped)
        return;
    if (!job->forgotten && job->exited != NULL)
        job->exited(job->arg, job->status);
    job_free(job);
}

static void report_ended(struct kb_job *job)
{
    kb_ev_disarm(job->ev, &job->limit);
    kb_ev_unwatch(&job->report_watch);
    kb_auto_close(&job->report_fd);
    job->report_fd = -1;
    job_report(job);
    job_progress(job);
}

/* It hangs: in the system, or in a program that it runs. What it started is in its group. A report
 * that waits to be read is one in time: it is we who are late. */
static void on_limit(void *arg)
{
    struct kb_job *job = arg;
    struct pollfd report = {.fd = job->report_fd, .events = POLLIN};
    if (poll(&report, 1, 0) > 0) {
        kb_ev_arm(job->ev, &job->limit, LIMIT_AGAIN_MS, on_limit, job);
        return;
    }
    kb_job_kill(job);
    kb_buf_clear(&job->report);
    kb_buf_printf(&job->report, "error-%d did not end within %lld ms", KB_ETIMEOUT,
                  (long long)job->limit_ms);
    report_ended(job);
}

static void on_report(void *arg, uint32_t events)
{
    struct kb_job *job = arg;
    (void)events;
    char *room = kb_buf_reserve(&job->report, 16384);
    ssize_t n = read(job->report_fd, room, 16384);
    if (n < 0 && (errno == EINTR || errno == EAGAIN))
        return;
    if (n > 0 && job->report.n + (size_t)n < REPORT_MAX_BYTES) {
        job->report.n += (size_t)n;
        return;
    }
    report_ended(job);
}

static void on_pid(void *arg, uint32_t events)
{
    struct kb_job *job = arg;
    (void)events;
    if (waitpid(job->pid, &job->status, WNOHANG) == 0)
        return;
    job->reaped = true;
    kb_ev_unwatch(&job->pid_watch);
    job_progress(job);
}

static void write_all(int fd, const char *p, size_t n)
{
    while (n > 0) {
        ssize_t w = write(fd, p, n);
        if (w < 0 && errno == EINTR)
            continue;
        if (w <= 0)
            return;
        p += w;
        n -= (size_t)w;
    }
}

__attribute__((noreturn)) static void child(const struct kb_job *job, kb_job_fn *fn, int report_fd)
{
    struct kb_buf out = {0};
    struct kb_err err = {0};
    sigset_t none;

    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
    signal(SIGINT, SIG_DFL);
    signal(SIGTERM, SIG_DFL);
    signal(SIGPIPE, SIG_DFL);
    setpgid(0, 0); /* a ^C at a terminal is for the agent */
    if (job->limit_ms > 0)
        alarm((unsigned)((job->limit_ms + 999) / 1000) + ALARM_LATER_S);
    if (report_fd != KB_JOB_REPORT_FD) {
        dup2(report_fd, KB_JOB_REPORT_FD);
    } else {
        fcntl(report_fd, F_SETFD, 0);
    }
    syscall(SYS_close_range, KB_JOB_REPORT_FD + 1, ~0U, 0);
    kb_buf_putc(&out, '+');
    if (fn(job->arg, &out, &err) < 0) {
        kb_buf_clear(&out);
        kb_buf_printf(&out, "error-%d %s", err.code ? err.code : KB_EINTERNAL, err.text);
    }
    write_all(KB_JOB_REPORT_FD, out.p, out.n);
    _exit(0);
}

static void on_fork_failed(void *arg)
{
    struct kb_job *job = arg;
    job_report(job);
    job->reaped = true;
    job_progress(job);
}

struct kb_job *kb_job_start(struct kb_ev *ev, const struct kb_job_calls *calls, kb_ms limit_ms,
                            void *arg)
{
    int fds[2];
    struct kb_job *job = calloc(1, sizeof *job);
    KB_ASSERT(job != NULL);
    *job = (struct kb_job){.ev = ev,
                           .pid_fd = -1,
                           .report_fd = -1,
                           .done = calls->done,
                           .exited = calls->exited,
                           .limit_ms = limit_ms,
                           .arg = arg};
    kb_ev_own(ev, &job->owned, free_with_loop);
    if (pipe2(fds, O_CLOEXEC) < 0)
        fds[0] = fds[1] = -1;
    job->pid = fds[0] < 0 ? -1 : fork();
    if (job->pid == 0)
        child(job, calls->fn, fds[1]);
    if (job->pid > 0) {
        (void)setpgid(job->pid, job->pid); /* whoever of the two comes first */
        job->pid_fd = (int)syscall(SYS_pidfd_open, job->pid, 0);
    }
    if (job->pid < 0 || job->pid_fd < 0) {
        kb_auto_close(&fds[0]);
        kb_auto_close(&fds[1]);
        kb_buf_printf(&job->report, "error-%d fork: out of processes or descriptors", KB_EFULL);
        kb_ev_arm(ev, &job->failed, 0, on_fork_failed, job);
        return job;
    }
    close(fds[1]);
    job->report_fd = fds[0];
    fcntl(job->report_fd, F_SETFL, O_NONBLOCK);
    job->report_watch = kb_ev_watch(ev, job->report_fd, EPOLLIN, on_report, job);
    job->pid_watch = kb_ev_watch(ev, job->pid_fd, EPOLLIN, on_pid, job);
    if (limit_ms > 0)
        kb_ev_arm(ev, &job->limit, limit_ms, on_limit, job);
    return job;
}

void kb_job_kill(const struct kb_job *job)
{
    if (job->pid > 0 && !job->reaped)
        kill(-job->pid, SIGKILL);
}

pid_t kb_job_pid(const struct kb_job *job)
{
    return job->pid;
}

void kb_job_forget(struct kb_job **job_p)
{
    struct kb_job *job = KB_STEAL(*job_p);
    if (job != NULL)
        job->forgotten = true;
}

/* ---- programs ---- */

struct spawn {
    int in[2], out[2], err[2];
};

static void close_both(int fds[2])
{
    kb_auto_close(&fds[0]);
    kb_auto_close(&fds[1]);
    fds[0] = fds[1] = -1;
}

static void spawn_finish(struct spawn *s)
{
    close_both(s->in);
    close_both(s->out);
    close_both(s->err);
}

__attribute__((noreturn)) static void spawn_child(struct spawn *s, const char *const *argv,
                                                  char *const *envp)
{
    sigset_t none;
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
    signal(SIGPIPE, SIG_DFL);
    dup2(s->in[0], 0);
    dup2(s->out[1], 1);
    dup2(s->err[1], 2);
    syscall(SYS_close_range, 3, ~0U, 0);
    if (envp != NULL)
        execvpe(argv[0], (char *const *)(uintptr_t)argv, envp);
    else
        execvp(argv[0], (char *const *)(uintptr_t)argv);
    dprintf(2, "%s: %s", argv[0], strerror(errno));
    _exit(127);
}

/* Read once into `buf`; closes the descriptor at its end. */
static void take(int *fd, struct kb_buf *buf, size_t max)
{
    char *room = kb_buf_reserve(buf, 65536);
    ssize_t n = read(*fd, room, 65536);
    if (n < 0 && errno == EINTR)
        return;
    if (n <= 0) {
        close(*fd);
        *fd = -1;
    } else if (buf->n + (size_t)n <= max) {
        buf->n += (size_t)n;
    }
}

static void converse(struct spawn *s, kb_str input, struct kb_buf *out, struct kb_buf *errs)
{
    while (s->out[0] >= 0 || s->err[0] >= 0) {
        struct pollfd fds[3] = {
            {s->out[0], POLLIN, 0}, {s->err[0], POLLIN, 0}, {s->in[1], POLLOUT, 0}};
        if (poll(fds, 3, -1) < 0)
            continue;
        if (fds[2].revents) {
            /* So much goes into a pipe that is ready; more might wait for who waits for us. */
            size_t portion = input.n < PIPE_BUF ? input.n : PIPE_BUF;
            ssize_t n = portion ? write(s->in[1], input.p, portion) : 0;
            if (n > 0)
                input = kb_str_n(input.p + n, input.n - (size_t)n);
            if (n < 0 || input.n == 0) {
                close(s->in[1]);
                s->in[1] = -1;
            }
        }
        if (fds[0].revents)
            take(&s->out[0], out, REPORT_MAX_BYTES);
        if (fds[1].revents)
            take(&s->err[0], errs, REPORT_MAX_BYTES);
    }
}

int kb_spawn_env(const char *const *argv, char *const *envp, kb_str input, struct kb_buf *out,
                 int *ret_code, struct kb_err *err)
{
    KB_AUTO(spawn_finish) struct spawn s = {{-1, -1}, {-1, -1}, {-1, -1}};
    KB_AUTO(kb_buf_finish) struct kb_buf errs = {0}, dropped = {0};
    int status = 0;

    if (pipe2(s.in, O_CLOEXEC) < 0 || pipe2(s.out, O_CLOEXEC) < 0 || pipe2(s.err, O_CLOEXEC) < 0)
        return kb_err_sys(err, errno, "pipe");
    signal(SIGPIPE, SIG_IGN);
    pid_t pid = fork();
    if (pid < 0)
        return kb_err_sys(err, errno, "fork");
    if (pid == 0)
        spawn_child(&s, argv, envp);
    kb_auto_close(&s.in[0]);
    kb_auto_close(&s.out[1]);
    kb_auto_close(&s.err[1]);
    s.in[0] = s.out[1] = s.err[1] = -1;
    converse(&s, input, out != NULL ? out : &dropped, &errs);
    while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
        ;
    int code = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
    if (ret_code != NULL)
        *ret_code = code;
    if (code == 0)
        return 0;
    kb_str words = kb_str_trim(kb_buf_str(&errs));
    if (words.n > 400)
        words = kb_str_n(words.p + words.n - 400, 400);
    return kb_err_set(err, KB_EINTERNAL, "%s: exit status %d: " KB_STR_FMT, argv[0], code,
                      KB_STR_ARG(words));
}

int kb_spawn(const char *const *argv, kb_str input, struct kb_buf *out, int *ret_code,
             struct kb_err *err)
{
    return kb_spawn_env(argv, NULL, input, out, ret_code, err);
}
