/* log.c - the container's log: one line a record, whole lines in one write. */
#include "agent/shim/shim.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

static char out_buf[4 * LINE_BYTES]; /* records that go to the log in one write */
static size_t out_n;

void shim_log_open(struct shim *shim)
{
    struct stat st;
    shim->log_fd = open(shim->log_path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0640);
    shim->log_at = shim->log_fd >= 0 && fstat(shim->log_fd, &st) == 0 ? st.st_size : 0;
}

/* FILE becomes FILE.1, that one FILE.2 …; the last is overwritten. */
static void log_rotate(struct shim *shim)
{
    char from[4096], to[4096];
    if (shim->log_fd >= 0)
        close(shim->log_fd);
    for (int64_t i = shim->log_files - 1; i > 0; i--) {
        snprintf(to, sizeof to, "%s.%lld", shim->log_path, (long long)i);
        if (i > 1)
            snprintf(from, sizeof from, "%s.%lld", shim->log_path, (long long)(i - 1));
        else
            snprintf(from, sizeof from, "%s", shim->log_path);
        (void)rename(from, to);
    }
    if (shim->log_files <= 1)
        (void)unlink(shim->log_path);
    shim_log_open(shim);
}

static void batch_write(struct shim *shim)
{
    shim_write(shim->log_fd, out_buf, out_n);
    shim->log_at += (int64_t)out_n;
    out_n = 0;
}

/* "TIME STREAM " of the records that one read brought: they share their time. */
static int record_head(const struct stream *stream, char *head, size_t cap)
{
    struct timespec ts;
    struct tm tm;
    clock_gettime(CLOCK_REALTIME, &ts);
    gmtime_r(&ts.tv_sec, &tm);
    return snprintf(head, cap, "%04d-%02d-%02dT%02d:%02d:%02d.%09ldZ %s F ", tm.tm_year + 1900,
                    tm.tm_mon + 1, tm.tm_mday, tm.tm_hour, tm.tm_min, tm.tm_sec, ts.tv_nsec,
                    stream->name);
}

/* Add one record of the CRI format to the batch: "TIME STREAM F|P TEXT\n". */
static void batch_add(struct shim *shim, const char *head, size_t head_n, const char *p, size_t n,
                      char tag)
{
    size_t total = head_n + n + 1;
    int64_t size = shim->log_at + (int64_t)(out_n + total);
    bool rotate = shim->log_bytes > 0 && size > shim->log_bytes && size > (int64_t)total;
    if (rotate || out_n + total > sizeof out_buf)
        batch_write(shim);
    if (rotate)
        log_rotate(shim);
    memcpy(out_buf + out_n, head, head_n);
    out_buf[out_n + head_n - 2] = tag;
    memcpy(out_buf + out_n + head_n, p, n);
    out_buf[out_n + total - 1] = '\n';
    out_n += total;
}

void shim_log_flush(struct shim *shim, struct stream *stream, bool at_end)
{
    char head[96], *nl;
    size_t head_n = (size_t)record_head(stream, head, sizeof head), at = 0;
    while (at < stream->n && (nl = memchr(stream->line + at, '\n', stream->n - at)) != NULL) {
        size_t n = (size_t)(nl - (stream->line + at));
        batch_add(shim, head, head_n, stream->line + at, n, 'F');
        at += n + 1;
    }
    stream->n -= at;
    memmove(stream->line, stream->line + at, stream->n);
    if (stream->n == LINE_BYTES || (at_end && stream->n > 0)) {
        batch_add(shim, head, head_n, stream->line, stream->n, 'P');
        stream->n = 0;
    }
    batch_write(shim);
}
