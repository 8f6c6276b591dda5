/* The work queue: which key is due to be worked on, pure and in whatever time the caller lives in.
 *
 * A key is in the queue at most once. While it is being worked on, adding it again only marks it:
 * it comes back when the work is done. A key that failed waits 5 ms · 2^n, up to 1000 s, as
 * client-go's does; the count of its failures is forgotten when it is told to. */
#ifndef KUBUS_RUNTIME_QUEUE_H
#define KUBUS_RUNTIME_QUEUE_H

#include "bus/base/list.h"
#include "bus/base/map.h"
#include "bus/base/timers.h"

enum { KB_QUEUE_BACKOFF_FIRST_MS = 5, KB_QUEUE_BACKOFF_MAX_MS = 1000 * 1000 };

struct kb_queue {
    struct kb_map items;     /* key → item */
    struct kb_link ready;    /* in the order they became due */
    struct kb_timers timers; /* of those that wait */
    size_t ready_count, working_count;
};

void kb_queue_init(struct kb_queue *q);
void kb_queue_finish(struct kb_queue *q);

/* Due now. O(1). */
void kb_queue_add(struct kb_queue *q, kb_str key);
/* Due at `due_ms`, unless it is due earlier already. */
void kb_queue_add_at(struct kb_queue *q, kb_str key, kb_ms due_ms);
/* One more failure: due after its back-off. Returns the delay. */
kb_ms kb_queue_add_failed(struct kb_queue *q, kb_str key, kb_ms now_ms);
/* No failures any more. */
void kb_queue_forget(struct kb_queue *q, kb_str key);
uint32_t kb_queue_failures(const struct kb_queue *q, kb_str key);

/* The next key that is due; it counts as being worked on until kb_queue_done. The text is valid
 * until then. False when none is due. */
bool kb_queue_take(struct kb_queue *q, kb_ms now_ms, kb_str *ret_key);
void kb_queue_done(struct kb_queue *q, kb_str key);

/* Milliseconds until a key is due: 0 now, -1 never. */
kb_ms kb_queue_wait_ms(const struct kb_queue *q, kb_ms now_ms);

#endif
