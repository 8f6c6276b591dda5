/* What load generators share: a clock in seconds, and quantiles of what they timed. */
#ifndef KUBUS_BENCH_MEASURE_H
#define KUBUS_BENCH_MEASURE_H

#include <stddef.h>
#include <stdlib.h>
#include <time.h>

static inline double bench_seconds(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static inline int bench_by_value(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return x < y ? -1 : x > y;
}

/* Of `n` spans in seconds, which are sorted by it: the q-th quantile (0 … 1) in milliseconds. */
static inline double bench_quantile_ms(double *spans, size_t n, double q)
{
    if (n == 0)
        return 0;
    qsort(spans, n, sizeof(*spans), bench_by_value);
    size_t at = (size_t)(q * (double)n);
    return spans[at < n ? at : n - 1] * 1e3;
}

#endif
