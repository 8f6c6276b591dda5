#include "bus/base/clock.h"

#include "bus/base/err.h"

#include <ctype.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

static kb_ms system_now(const struct kb_clock *clock)
{
    (void)clock;
    struct timespec ts;
    clock_gettime(CLOCK_MONOTONIC, &ts);
    return (kb_ms)ts.tv_sec * 1000 + ts.tv_nsec / 1000000;
}

static int64_t system_wall(const struct kb_clock *clock)
{
    (void)clock;
    struct timespec ts;
    clock_gettime(CLOCK_REALTIME, &ts);
    return (int64_t)ts.tv_sec * 1000000 + ts.tv_nsec / 1000;
}

const struct kb_clock *kb_clock_system(void)
{
    static const struct kb_clock clock = {system_now, system_wall};
    return &clock;
}

static int64_t floor_div(int64_t a, int64_t b)
{
    return a / b - (a % b < 0);
}

void kb_time_format(int64_t wall_us, char out[KB_TIME_BYTES])
{
    time_t seconds = (time_t)floor_div(wall_us, 1000000);
    struct tm tm;
    gmtime_r(&seconds, &tm);
    strftime(out, KB_TIME_BYTES, "%Y-%m-%dT%H:%M:%SZ", &tm);
}

void kb_time_format_micro(int64_t wall_us, char out[KB_TIME_BYTES])
{
    time_t seconds = (time_t)floor_div(wall_us, 1000000);
    struct tm tm;
    gmtime_r(&seconds, &tm);
    size_t n = strftime(out, KB_TIME_BYTES, "%Y-%m-%dT%H:%M:%S", &tm);
    snprintf(out + n, KB_TIME_BYTES - n, ".%06dZ", (int)(wall_us - (int64_t)seconds * 1000000));
}

static int parse_fraction(const char **at, int64_t *ret_us)
{
    int64_t us = 0, scale = 100000;
    if (**at == '.') {
        (*at)++;
        if (!isdigit((unsigned char)**at))
            return -KB_EINVAL;
        for (; isdigit((unsigned char)**at); (*at)++, scale /= 10)
            us += (**at - '0') * scale;
    }
    *ret_us = us;
    return 0;
}

static int parse_offset(const char *at, int *ret_seconds)
{
    int hours, minutes, used = 0;
    char sign;
    if ((at[0] == 'Z' || at[0] == 'z') && at[1] == '\0') {
        *ret_seconds = 0;
        return 0;
    }
    if (sscanf(at, "%c%2d:%2d%n", &sign, &hours, &minutes, &used) != 3 || used != 6 ||
        at[6] != '\0' || (sign != '+' && sign != '-') || hours > 23 || minutes > 59)
        return -KB_EINVAL;
    *ret_seconds = (hours * 60 + minutes) * 60 * (sign == '-' ? -1 : 1);
    return 0;
}

int kb_time_parse(const char *text, int64_t *ret_wall_us)
{
    static const char shape[] = "dddd-dd-ddtdd:dd:dd";
    for (size_t i = 0; shape[i]; i++) {
        if (shape[i] == 'd'   ? !isdigit((unsigned char)text[i])
            : shape[i] == 't' ? toupper((unsigned char)text[i]) != 'T'
                              : text[i] != shape[i])
            return -KB_EINVAL;
    }
    struct tm tm = {0};
    sscanf(text, "%4d-%2d-%2d", &tm.tm_year, &tm.tm_mon, &tm.tm_mday);
    sscanf(text + 11, "%2d:%2d:%2d", &tm.tm_hour, &tm.tm_min, &tm.tm_sec);
    if (tm.tm_mon < 1 || tm.tm_mon > 12 || tm.tm_mday < 1 || tm.tm_mday > 31 || tm.tm_hour > 23 ||
        tm.tm_min > 59 || tm.tm_sec > 60)
        return -KB_EINVAL;
    tm.tm_year -= 1900;
    tm.tm_mon -= 1;
    int64_t us;
    int offset, day = tm.tm_mday;
    const char *at = text + sizeof(shape) - 1;
    if (parse_fraction(&at, &us) < 0 || parse_offset(at, &offset) < 0)
        return -KB_EINVAL;
    time_t seconds = timegm(&tm);
    if (tm.tm_mday != day && tm.tm_sec != 60)
        return -KB_EINVAL;
    *ret_wall_us = ((int64_t)seconds - offset) * 1000000 + us;
    return 0;
}
