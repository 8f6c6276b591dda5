/* A container's log as it may lie there: cut anywhere, with lines that no shim wrote. The first
 * byte picks what is asked for. However it looks, reading comes to its end, and says no more than
 * asked. */
#include "agent/logs.h"
#include "bus/base/check.h"
#include "bus/base/file.h"
#include "tests/fuzz/fuzz.h"

#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

enum { LIMIT_BYTES = 100, TURN_MS = 1000 };

static char dir[] = "/tmp/kubus-fuzz-logs-XXXXXX";
static char *path;
static struct kb_ev *ev;

static void clean(void)
{
    kb_ev_destroy(&ev);
    free(path);
    kb_dir_remove(dir, NULL);
}

static void start(void)
{
    char *made = mkdtemp(dir);
    KB_ASSERT(made != NULL);
    path = kb_strf("%s/0.log", dir);
    ev = kb_ev_new(kb_clock_system());
    atexit(clean);
}

struct reading {
    size_t n, lines;
    bool ended;
};

static bool on_bytes(void *arg, kb_str bytes)
{
    struct reading *reading = arg;
    reading->n += bytes.n;
    for (size_t i = 0; i < bytes.n; i++)
        reading->lines += bytes.p[i] == '\n';
    return true;
}

static void on_end(void *arg)
{
    struct reading *reading = arg;
    reading->ended = true;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    static const struct kb_log_handlers handlers = {on_bytes, on_end};
    if (n == 0)
        return 0;
    if (ev == NULL)
        start();
    struct kb_log_options options = {.timestamps = data[0] & 1,
                                     .tail = data[0] & 2 ? data[0] >> 4 : -1,
                                     .since_us = data[0] & 4 ? 1700000000000000 : 0,
                                     .limit_bytes = data[0] & 8 ? LIMIT_BYTES : 0};
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    ssize_t written = fd >= 0 ? write(fd, data + 1, n - 1) : -1;
    KB_ASSERT(written == (ssize_t)n - 1);
    close(fd);
    struct reading reading = {0};
    struct kb_log_reader *reader = kb_log_open(ev, path, &options, false, &handlers, &reading);
    while (!reading.ended)
        kb_ev_run(ev, TURN_MS);
    kb_log_destroy(&reader);
    KB_ASSERT(options.limit_bytes == 0 || reading.n <= LIMIT_BYTES);
    KB_ASSERT(options.tail < 0 || reading.lines <= (size_t)options.tail);
    return 0;
}
