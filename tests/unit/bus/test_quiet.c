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

/* Something lasting stands at the end of what the burst took: malloc alone gives nothing back. Not
 * libc's: a sanitizer's, which keeps what is freed, and says nothing of its blocks to libc. */
static void *burst(bool *ret_libc)
{
    static void *pieces[PIECES];
    for (size_t i = 0; i < PIECES; i++)
        pieces[i] = memset(malloc(PIECE), 1, PIECE);
    *ret_libc = mallinfo2().uordblks >= (size_t)PIECE * PIECES;
    for (size_t i = 0; i + 1 < PIECES; i++)
        free(pieces[i]);
    return pieces[PIECES - 1];
}

KB_TEST(quiet, gives_back_what_a_burst_took_once_it_is_over)
{
    struct kb_actor actor = {.beat_ms = 2000};
    bool libc;
    KB_AUTO(kb_auto_free) void *lasting = burst(&libc);
    long before = resident_mb();
    while (actor.tidy_us == 0) /* the first looks may find too little work since the start */
        kb__quiet_look(&actor);
    if (libc)
        KB_CHECK_I64(resident_mb(), <, before - 32);
    else
        fprintf(stderr, "what is resident was not looked at: malloc is not libc's\n");
}
