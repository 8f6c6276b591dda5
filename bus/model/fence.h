/* Writing once (docs/protocol.md): the lease of a process that must not do a thing twice.
 *
 *     WANTED --ask--> ASKED --granted--> HELD
 *       ^               |                 |
 *       +---refused-----+                 |
 *       +--------------doubt--------------+
 *
 * All its writes carry the lease's epoch. A new one is wanted at start, for a process of this name
 * before this one may have left writes under way, and when it is in doubt: after a write with it
 * whose outcome is unknown, and after one that was refused for its sake although it should hold (a
 * store from a backup does not know it). One acquisition settles all that was sent before.
 *
 * Pure: time comes in, and the calls of the shell go out. Nobody else wants the lease: it is held
 * for a day, which is never renewed, since what counts is the epoch. */
#ifndef KUBUS_MODEL_FENCE_H
#define KUBUS_MODEL_FENCE_H

#include "bus/base/clock.h"
#include "bus/model/doc.h"

enum { KB_FENCE_CALL_MS = 15000, KB_FENCE_AGAIN_MS = 1000 };

struct kb_fence {
    char *lease;
    int state;
    kb_ms due_ms;       /* when it is asked for, in WANTED */
    int64_t epoch, rev; /* of the last one granted; 0: none yet */
};

KB_API void kb_fence_init(struct kb_fence *fence, const char *lease); /* WANTED, at once */
KB_API void kb_fence_finish(struct kb_fence *fence);

/* True: call "lease.acquire" of the store with `body` (empty before; the caller's), give up after
 * KB_FENCE_CALL_MS, and tell the answer. */
KB_API bool kb_fence_ask(struct kb_fence *fence, kb_ms now_ms, const char *holder,
                         struct kb_w *body);
/* The answer, or `err`: then it is asked for again after a while. True: it is granted. */
KB_API bool kb_fence_answer(struct kb_fence *fence, const struct kb_err *err, kb_val body,
                            kb_ms now_ms);
/* A write that carried `epoch` may or may not have been carried out, now or later; or was refused
 * for its epoch. False: an epoch that has been granted since settles it, at `rev`. True: one that
 * is to come will. */
KB_API bool kb_fence_doubt(struct kb_fence *fence, int64_t epoch, kb_ms now_ms);

/* May writes be sent? */
KB_API bool kb_fence_holds(const struct kb_fence *fence);
/* The member "lease" of a write. */
KB_API void kb_fence_write(const struct kb_fence *fence, struct kb_w *w);
/* When to ask; -1: not as far as is known. */
KB_API kb_ms kb_fence_wait_ms(const struct kb_fence *fence, kb_ms now_ms);

#endif
