/* quiet.c - what a burst needed and quiet does not, given back.
 *
 * malloc gives back what is free at the end of the heap, and a burst leaves something there that
 * stays. Asked to (malloc_trim), it gives back every free page, wherever it lies. That walks all
 * free memory, so it is done when there may be something to find and nobody waits: the process has
 * worked since the last time, and does so no more.
 *
 * Looked at with the beats to kubusd, which wake an actor anyway: no timer of its own. Processor
 * time and not resident memory, because memory that the end of a burst sets free is resident
 * before and after. Rejected: a lower M_TRIM_THRESHOLD (the end of the heap only, and a system call
 * at every turn), M_ARENA_MAX (it bounds threads' arenas; an actor's memory is nearly all in one),
 * M_MMAP_THRESHOLD (buffers that come and go would be mapped and cleared each time). */
#include "bus/impl.h"

#include "bus/base/memory.h"

#include <time.h>

enum { WORKED_US = 30000, QUIET_SHARE = 50 /* less than a fiftieth of the time */ };

static int64_t processor_us(void)
{
    struct timespec used = {0};
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &used);
    return (int64_t)used.tv_sec * 1000000 + used.tv_nsec / 1000;
}

void kb__quiet_look(struct kb_actor *actor)
{
    int64_t now_us = processor_us();
    bool quiet = now_us - actor->used_us < actor->beat_ms * 1000 / QUIET_SHARE;
    if (quiet && now_us - actor->tidy_us > WORKED_US) {
        kb_memory_give_back();
        actor->tidy_us = now_us = processor_us();
    }
    actor->used_us = now_us;
}
