/* The guard: which policy is at work at this moment, and which one talked nonsense.
 *
 * Before a policy is called, one word says so in a page of memory (`at`), and afterwards that none
 * is; one more counts. The driver may put that page into a file that outlives the process: when a
 * policy crashes or loops, whoever comes next reads there which one it was, and where. It costs
 * three stores a call, of some 1000 nodes or of one: see bench/scheduler.
 *
 * A policy that returns what it must not (a score out of range, a verdict or a status that does not
 * exist) is blamed: the core then holds it (kb_profile_hold) before any decision is made from what
 * it said, and tells its driver.
 *
 * Rejected: to find the culprit by walking up the stack in a signal handler. It costs nothing while
 * all is well, and says nothing after a jump to a null pointer or a broken stack; also a policy
 * that loops inside a function of libc has to be found. */
#ifndef KUBUS_SCHEDULER_GUARD_H
#define KUBUS_SCHEDULER_GUARD_H

#include "bus/base/auto.h"

#include <stdint.h>

/* Where a policy may be at work, besides the extension points (enum kb_point). */
enum { KB_GUARD_LOAD = 32, KB_GUARD_CONFIGURE, KB_GUARD_UNLOAD, KB_GUARD_RELEASE, KB_GUARD_REASON };

enum {
    KB_GUARD_MAGIC = 0x6b62677a,
    KB_GUARD_ROWS = 192,
    KB_GUARD_NAME_BYTES = 64,
    KB_GUARD_VERSION_BYTES = 24,
    KB_GUARD_LOOP = 1000, /* `cause`, where others are signals */
    KB_GUARD_EXIT,
};

/* Zero-initialized is empty. Layout of a file: both ends are the same program. */
struct kb_guard_page {
    uint32_t magic, rows_n;
    volatile uint32_t at;    /* 0: no policy; else 1 + its row, and the point << 16 */
    volatile uint32_t cause; /* written by who ends the process because of `at`: a signal */
    volatile uint64_t calls;
    struct kb_guard_row {
        char name[KB_GUARD_NAME_BYTES];
        char version[KB_GUARD_VERSION_BYTES]; /* of a loaded file; "": built in */
    } rows[KB_GUARD_ROWS];
};

struct kb_guard {
    struct kb_guard_page *page;
    /* The first nonsense that was not dealt with yet. */
    const void *blamed_profile; /* NULL: none */
    uint32_t blamed_policy;
    char why[192];
};

/* The row of a policy; the last one, "?", stands for all for which there is no room. */
uint32_t kb_guard_row(struct kb_guard_page *page, const char *name, const char *version);
/* "filter", "configure" … of a value of `at`; "?" for what is not one. */
const char *kb_guard_point_name(uint32_t at);

/* Returns who was at work before, for kb_guard_leave: a policy's question to the core may lead to
 * another policy. */
static inline uint32_t kb_guard_enter(struct kb_guard *g, uint32_t row, uint32_t point)
{
    uint32_t before = g->page->at;
    g->page->calls = g->page->calls + 1;
    g->page->at = (1 + row) | point << 16;
    return before;
}

static inline void kb_guard_leave(struct kb_guard *g, uint32_t before)
{
    g->page->at = before;
}

/* KB_ASK(profile, i, KB_POINT_FILTER, policy->filter(…)): every call of a policy's function. */
#define KB_ASK(profile, i, point, call)                                                            \
    do {                                                                                           \
        uint32_t kb_was_ = kb_guard_enter((profile)->guard, (profile)->at[i].row, point);          \
        call;                                                                                      \
        kb_guard_leave((profile)->guard, kb_was_);                                                 \
    } while (0)

/* Remember that this policy of this profile returned nonsense, unless one is remembered already. */
void kb_guard_blame(struct kb_guard *g, const void *profile, uint32_t policy, const char *format,
                    ...) KB_PRINTF(4, 5);

#endif
