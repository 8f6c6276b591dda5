#include "bus/base/log.h"

#include "bus/base/clock.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static char log_actor[64] = "kubus";
static enum kb_log_level log_level = KB_LOG_INFO;
static const char *const level_names[] = {"debug", "info", "warn", "error"};

void kb_log_init(const char *actor)
{
    snprintf(log_actor, sizeof(log_actor), "%s", actor);
    const char *wanted = getenv("KUBUS_LOG");
    for (int i = 0; wanted && i < 4; i++)
        if (strcmp(wanted, level_names[i]) == 0)
            log_level = (enum kb_log_level)i;
}

void kb_log(enum kb_log_level level, const char *format, ...)
{
    if (level < log_level)
        return;
    char line[2048], stamp[KB_TIME_BYTES];
    kb_time_format_micro(kb_clock_wall_us(kb_clock_system()), stamp);
    int n = snprintf(line, sizeof(line), "%s %s %s[%d] ", stamp, level_names[level], log_actor,
                     (int)getpid());
    va_list args;
    va_start(args, format);
    int more = vsnprintf(line + n, sizeof(line) - (size_t)n - 1, format, args);
    va_end(args);
    size_t total = (size_t)n + (size_t)(more < 0 ? 0 : more);
    if (total > sizeof(line) - 2)
        total = sizeof(line) - 2;
    line[total++] = '\n';
    if (write(STDERR_FILENO, line, total) < 0) {
        /* nowhere to report it */
    }
}
