#include "bus/impl.h"
#include "tests/lib/test.h"

#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

enum { PIECE = 1000, PIECES = 64 * 1024 };

static long resident_mb(void)
{
    long size = 0, pages = 0;
    FILE *file = fopen("/proc/self/statm", "r");
    KB_CHECK(file != NULL && fscanf(file, "%ld %ld", &size, &pages) == 2);
    fclose(file);
    return pages * sysconf(_SC_PAGESIZE) >> 20;
}

/* A sanitizer's malloc keeps what is freed, and says nothing of its blocks to the C library. */
static bool malloc_is_libc(void)
{
    return mallinfo2().uordblks >= PIECES;
}

/* Something lasting stands at the end of what the burst took: malloc alone gives nothing back. */
static void *burst(void)
{
    static void *pieces[PIECES];
    for (size_t i = 0; i < PIECES; i++)
        pieces[i] = memset(malloc(PIECE), 1, PIECE);
    for (size_t i = 0; i + 1 < PIECES; i++)
        free(pieces[i]);
    return pieces[PIECES - 1];
}

KB_TEST(quiet, gives_back_what_a_burst_took_once_it_is_over)
{
    struct kb_actor actor = {.beat_ms = 2000};
    KB_AUTO(kb_auto_free) void *lasting = burst();
    long before = resident_mb();
    while (actor.tidy_us == 0) /* the first looks may find too little work since the start */
        kb__quiet_look(&actor);
    if (malloc_is_libc())
        KB_CHECK_I64(resident_mb(), <, before - 32);
}
