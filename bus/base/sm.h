/* A lifecycle is a table: which state may follow which, with a name for each. One move, which
 * asserts that it is legal. */
#ifndef KUBUS_BASE_SM_H
#define KUBUS_BASE_SM_H

#include "bus/base/check.h"
#include "bus/base/log.h"

#include <stdint.h>

struct kb_sm_state {
    const char *name;
    uint32_t next; /* a set of KB_SM_TO(state) */
};

#define KB_SM_TO(state) (UINT32_C(1) << (state))

/* Move *state to `to` for the object `who`: asserts legality, writes one debug line. */
static inline void kb_sm_move(const struct kb_sm_state *table, int *state, int to, const char *who)
{
    KB_ASSERT(table[*state].next & KB_SM_TO(to));
    kb_debug("%s: %s -> %s", who, table[*state].name, table[to].name);
    *state = to;
}

#endif
