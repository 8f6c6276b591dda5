#include "bus/base/clock.h"

#include "bus/base/err.h"

#include <ctype.h>
#include <stdbool.h>
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

/* ---- the calendar ----
 *
 * Each object that is made or changed carries times, so they are read and written here by
 * arithmetic: the C library takes a lock for its time zone and a format string for each. Years are
 * counted from March, which puts the leap day at the end of one, in eras of 400 years. */

enum { ERA_DAYS = 146097, EPOCH_DAYS = 719468 /* from 0000-03-01 to 1970-01-01 */ };

struct date {
    int64_t year;
    int month, day; /* from 1 */
};

static int64_t days_of(struct date date)
{
    int64_t year = date.year - (date.month <= 2);
    int64_t era = floor_div(year, 400), in_era = year - era * 400;
    int64_t in_year = (153 * ((date.month + 9) % 12) + 2) / 5 + date.day - 1;
    return era * ERA_DAYS + in_era * 365 + in_era / 4 - in_era / 100 + in_year - EPOCH_DAYS;
}

static struct date date_of(int64_t days)
{
    int64_t era = floor_div(days + EPOCH_DAYS, ERA_DAYS);
    int64_t in_era = days + EPOCH_DAYS - era * ERA_DAYS;
    int64_t year = (in_era - in_era / 1460 + in_era / 36524 - in_era / 146096) / 365;
    int64_t in_year = in_era - (year * 365 + year / 4 - year / 100);
    int month = (int)((5 * in_year + 2) / 153); /* 0 is March */
    struct date date = {.month = (month + 2) % 12 + 1,
                        .day = (int)(in_year - (153 * month + 2) / 5) + 1};
    date.year = year + era * 400 + (date.month <= 2);
    return date;
}

static int days_in_month(int64_t year, int month)
{
    static const int days[] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
    bool leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    return days[month - 1] + (month == 2 && leap);
}

/* ---- writing ---- */

static char *put_digits(char *to, int64_t value, int n, char after)
{
    for (int i = n - 1; i >= 0; i--, value /= 10)
        to[i] = (char)('0' + value % 10);
    to[n] = after;
    return to + n + 1;
}

/* Up to the seconds, and `after` behind them. */
static char *put_time(char *to, int64_t seconds, char after)
{
    int64_t days = floor_div(seconds, 86400), left = seconds - days * 86400;
    struct date date = date_of(days);
    to = put_digits(to, date.year, 4, '-');
    to = put_digits(to, date.month, 2, '-');
    to = put_digits(to, date.day, 2, 'T');
    to = put_digits(to, left / 3600, 2, ':');
    to = put_digits(to, left / 60 % 60, 2, ':');
    return put_digits(to, left % 60, 2, after);
}

/* RFC 3339 has the years 0 to 9999. */
static int64_t within_years(int64_t wall_us)
{
    const int64_t first = days_of((struct date){0, 1, 1}) * 86400 * 1000000;
    const int64_t behind = days_of((struct date){10000, 1, 1}) * 86400 * 1000000;
    return wall_us < first ? first : wall_us < behind ? wall_us : behind - 1;
}

void kb_time_format(int64_t wall_us, char out[KB_TIME_BYTES])
{
    *put_time(out, floor_div(within_years(wall_us), 1000000), 'Z') = '\0';
}

void kb_time_format_micro(int64_t wall_us, char out[KB_TIME_BYTES])
{
    int64_t us = within_years(wall_us), seconds = floor_div(us, 1000000);
    char *fraction = put_time(out, seconds, '.');
    *put_digits(fraction, us - seconds * 1000000, 6, 'Z') = '\0';
}

/* ---- reading ---- */

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

/* 'd' a digit, 't' the letter T in either case, all else itself. The text may go on behind it. */
static bool has_shape(const char *text, const char *shape)
{
    for (; *shape; shape++, text++) {
        bool fits = *shape == 'd'   ? isdigit((unsigned char)*text) != 0
                    : *shape == 't' ? *text == 'T' || *text == 't'
                                    : *text == *shape;
        if (!fits)
            return false;
    }
    return true;
}

static int two(const char *digits)
{
    return (digits[0] - '0') * 10 + digits[1] - '0';
}

static int parse_offset(const char *at, int *ret_seconds)
{
    if ((at[0] == 'Z' || at[0] == 'z') && at[1] == '\0') {
        *ret_seconds = 0;
        return 0;
    }
    if ((at[0] != '+' && at[0] != '-') || !has_shape(at + 1, "dd:dd") || at[6] != '\0')
        return -KB_EINVAL;
    int hours = two(at + 1), minutes = two(at + 4);
    if (hours > 23 || minutes > 59)
        return -KB_EINVAL;
    *ret_seconds = (hours * 60 + minutes) * 60 * (at[0] == '-' ? -1 : 1);
    return 0;
}

int kb_time_parse(const char *text, int64_t *ret_wall_us)
{
    static const char shape[] = "dddd-dd-ddtdd:dd:dd";
    if (!has_shape(text, shape))
        return -KB_EINVAL;
    struct date date = {two(text) * 100 + two(text + 2), two(text + 5), two(text + 8)};
    int hour = two(text + 11), minute = two(text + 14), second = two(text + 17);
    if (date.month < 1 || date.month > 12 || date.day < 1 ||
        date.day > days_in_month(date.year, date.month) || hour > 23 || minute > 59 || second > 60)
        return -KB_EINVAL;
    int64_t us;
    int offset;
    const char *at = text + sizeof(shape) - 1;
    if (parse_fraction(&at, &us) < 0 || parse_offset(at, &offset) < 0)
        return -KB_EINVAL;
    int64_t seconds = days_of(date) * 86400 + hour * 3600 + minute * 60 + second;
    *ret_wall_us = (seconds - offset) * 1000000 + us;
    return 0;
}
