/* Time comes in by interface: the monotonic clock of a process, or a simulated one. */
#ifndef KUBUS_BASE_CLOCK_H
#define KUBUS_BASE_CLOCK_H

#include "bus/base/auto.h"

#include <stdint.h>

typedef int64_t kb_ms; /* milliseconds; a point on a monotonic axis, or a span */

struct kb_clock {
    kb_ms (*now_ms)(const struct kb_clock *clock);    /* monotonic, for time-outs */
    int64_t (*wall_us)(const struct kb_clock *clock); /* microseconds since 1970 UTC, for stamps */
};

KB_API const struct kb_clock *kb_clock_system(void);

static inline kb_ms kb_clock_now(const struct kb_clock *clock)
{
    return clock->now_ms(clock);
}

static inline int64_t kb_clock_wall_us(const struct kb_clock *clock)
{
    return clock->wall_us(clock);
}

/* Seconds that somebody else chose, in milliseconds or microseconds: a thousand years either way at
 * most, so that adding a time to them cannot overflow. */
#define KB_SECONDS_MAX INT64_C(31556952000)

static inline int64_t kb_seconds(int64_t s)
{
    return s > KB_SECONDS_MAX ? KB_SECONDS_MAX : s < -KB_SECONDS_MAX ? -KB_SECONDS_MAX : s;
}

static inline kb_ms kb_seconds_ms(int64_t s)
{
    return kb_seconds(s) * 1000;
}

static inline int64_t kb_seconds_us(int64_t s)
{
    return kb_seconds(s) * 1000000;
}

/* RFC 3339 in UTC: "2006-01-02T15:04:05Z" (metav1.Time) and with microseconds
 * "2006-01-02T15:04:05.000000Z" (metav1.MicroTime). Times outside of the years 0 to 9999 become the
 * nearest one inside. */
enum { KB_TIME_BYTES = 32 };
KB_API void kb_time_format(int64_t wall_us, char out[KB_TIME_BYTES]);
KB_API void kb_time_format_micro(int64_t wall_us, char out[KB_TIME_BYTES]);
/* Either form, any fraction, any offset; 0 or -KB_EINVAL. */
KB_API int kb_time_parse(const char *text, int64_t *ret_wall_us);

#endif
