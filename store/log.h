/* The write-ahead log: batches of bytes, each durable by one fdatasync, replayed at start.
 *
 * A log is a folder of numbered segments, made ahead and used again. A batch lies in one segment,
 * starts on a page of its own (4 KiB: what was acknowledged is never written again, not even in
 * part), and carries its number and a CRC32C over its bytes, started from a salt that only the
 * segment knows, so that no document can pretend to be a batch.
 *
 * At most one batch is under way: when a batch is whole, all before it were durable. So a damaged
 * batch with nothing whole behind it is a torn tail: it was never acknowledged, and it is cut off.
 * One with a whole batch behind it is damage to acknowledged data, and the log refuses to open. */
#ifndef KUBUS_STORE_LOG_H
#define KUBUS_STORE_LOG_H

#include "bus/base/err.h"
#include "store/io.h"

struct kb_log;

enum { KB_LOG_HEADER_BYTES = 48, KB_LOG_ID_BYTES = 16, KB_LOG_PAGE_BYTES = 4096 };

/* Where a batch goes: all before it is applied elsewhere, or durable. */
struct kb_log_pos {
    uint64_t segment, offset;
    uint64_t batch; /* its number; the first is 1 */
};

struct kb_log_config {
    const struct kb_io *io;
    const char *dir; /* exists */
    size_t segment_bytes;
    uint8_t id[KB_LOG_ID_BYTES]; /* of the database: another one's segments are refused */
    uint64_t seed;               /* of the salts */
};

/* One batch at replay; `bytes` is borrowed. A negative result stops the replay and is returned. */
typedef int kb_log_replay_fn(void *user, const struct kb_log_pos *next, const void *bytes, size_t n,
                             struct kb_err *err);

/* Open, replay everything from `from` on (a zeroed one: from the first batch of all), cut a torn
 * tail off. -KB_EIO: damaged, a segment is missing, or the disk failed; -KB_ENOSPACE. ret_torn: a
 * tail was cut. */
int kb_log_open(const struct kb_log_config *config, const struct kb_log_pos *from,
                kb_log_replay_fn *replay, void *user, struct kb_log **ret_log, struct kb_err *err);
void kb_log_close(struct kb_log **log_p);
/* Where the next batch will go. Not while an append is under way. */
struct kb_log_pos kb_log_end(const struct kb_log *log);

/* Make a batch durable. `bytes` starts with KB_LOG_HEADER_BYTES that the log fills in; the batch is
 * what follows them. Blocks for the sync. One thread at a time. -KB_ENOSPACE: no room; nothing was
 * written that a replay would see; the same may work later. -KB_EIO: the disk failed, and so did
 * undoing it: whether the batch is in the log is unknown, and the log takes no more. */
int kb_log_append(struct kb_log *log, void *bytes, size_t n, struct kb_err *err);
/* Make the names of a new log's files durable, which the first append does otherwise. By the
 * appending thread. */
int kb_log_settle(struct kb_log *log, struct kb_err *err);
bool kb_log_failed(const struct kb_log *log);

/* Housekeeping, from any one other thread while appends go on: make a segment ready when the
 * current one is half full; take segments wholly before `applied` into use again, or remove them.
 */
int kb_log_housekeep(struct kb_log *log, uint64_t applied_segment, struct kb_err *err);
/* Has it something to do that is not by `applied_segment`: no segment is ready, and the current one
 * is half full. */
bool kb_log_wants(struct kb_log *log);
/* Bytes of disk under segments. */
uint64_t kb_log_bytes(struct kb_log *log);

#endif
