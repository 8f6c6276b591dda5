/* Arrays that grow: v with room for `cap` of which n are in use.
 *
 *     KB_GROW(out->wishes, out->n, out->cap, 64);
 *     out->wishes[out->n++] = wish;
 */
#ifndef KUBUS_GROW_H
#define KUBUS_GROW_H

#include "bus/base/check.h"

#include <stdint.h>
#include <stdlib.h>

/* Room for one more behind n: when there is none `cap` doubles, from `first` on. `cap` is of any
 * unsigned type; v may move, and is the caller's to free. Amortized O(1). Names its arguments more
 * than once. */
#define KB_GROW(v, n, cap, first)                                                                  \
    do {                                                                                           \
        if ((n) >= (cap)) {                                                                        \
            (cap) = (cap) ? (cap)*2 : (first);                                                     \
            (v) = kb_grow_to((void *)(v), (cap), sizeof(*(v)));                                    \
        }                                                                                          \
    } while (0)

/* For KB_GROW: realloc that does not fail. */
static inline void *kb_grow_to(void *v, size_t cap, size_t item_bytes)
{
    KB_ASSERT(cap <= SIZE_MAX / item_bytes);
    v = realloc(v, cap * item_bytes);
    KB_ASSERT(v != NULL);
    return v;
}

#endif
