/* The storage engine: versions of objects by key and revision, durable before they are visible.
 *
 * This header is all that the rest of the store knows of how data is kept: a log in front of LMDB
 * today (engine.c has the essay), perhaps a replicated log one day. It takes writes in batches:
 * what is staged is validated at once, against everything staged before it; kb_engine_flush makes
 * the batch durable; kb_engine_poll says how that went.
 *
 *   kb_engine_write … kb_engine_write   staged: invisible to readers, seen by later conditions
 *   kb_engine_flush                     on the way to the disk (one batch at a time)
 *   kb_engine_poll                      durable and visible, or undone as if it had never been
 *
 * Every function is called from one thread, the owner's. Work on the disk is done by threads of the
 * engine, or, with `threads` false, within kb_engine_poll: then nothing happens by itself (tests).
 *
 * Revisions: 1, 2, 3 … one for each transaction. Every version of an object is readable until
 * kb_engine_compact passes it. In all functions `err` may not be NULL. */
#ifndef KUBUS_STORE_ENGINE_H
#define KUBUS_STORE_ENGINE_H

#include "bus/base/clock.h"
#include "bus/base/rand.h"
#include "store/index.h"
#include "store/io.h"
#include "store/record.h"

struct kb_engine;

#define KB_REV_LATEST UINT64_MAX

/* Zeroes mean the defaults. */
struct kb_engine_config {
    const char *dir;        /* made when it is not there; locked while open */
    const struct kb_io *io; /* NULL: the system's */
    bool threads;
    size_t segment_bytes; /* of the log: 16 MiB */
    size_t map_bytes;     /* of the database at first: 1 GiB of addresses, not of memory or disk */
    uint64_t map_max_bytes;  /* it grows up to here: 1 TiB */
    size_t checkpoint_bytes; /* of changes in memory that start bringing the database up to date: 32
                                MiB */
    kb_ms checkpoint_ms;     /* or their age: 1 s */
    size_t memory_bytes;     /* of changes in memory at which writers wait: 256 MiB */
    size_t slice_bytes;      /* of changes in one transaction of the database: 4 MiB */
    uint64_t seed;           /* of the database's id and the log's salts; 0: from the system */
};

/* Open, make when new, replay the log's tail. -KB_EIO: damaged (the text says what and where);
 * -KB_EUNAVAILABLE: another process has it open; -KB_ENOSPACE. O(tail of the log). */
int kb_engine_open(const struct kb_engine_config *config, struct kb_engine **ret_engine,
                   struct kb_err *err);
/* Waits for the batch that is under way; one that is only staged is dropped. */
void kb_engine_close(struct kb_engine **engine_p);

const char *kb_engine_id(const struct kb_engine *engine);      /* a UUID; new after a restore */
uint64_t kb_engine_rev(const struct kb_engine *engine);        /* the last durable one */
uint64_t kb_engine_staged_rev(const struct kb_engine *engine); /* the last one given away */
uint64_t kb_engine_compacted(const struct kb_engine *engine);  /* reads at it and later are exact */
const struct kb_indices *kb_engine_indices(const struct kb_engine *engine);

/* ---- reading: what is durable ---- */

/* One version; borrowed until the next call that is not a read. */
struct kb_item {
    kb_str key;
    struct kb_vid id, prev; /* id.rev is the object's revision */
    bool deleted;
    bool created; /* there was no object before this version */
    kb_val doc;   /* KB_NONE when deleted */
};

/* The object as of `rev`. -KB_ENOTFOUND, -KB_EGONE (compacted), -KB_EIO (damaged). O(log n +
 * versions since). */
int kb_engine_get(struct kb_engine *engine, kb_str key, uint64_t rev, struct kb_item *ret_item,
                  struct kb_err *err);
/* A version by its id: the one before a change. -KB_ENOTFOUND when compacted. O(log n). */
int kb_engine_version(struct kb_engine *engine, struct kb_vid id, struct kb_item *ret_item,
                      struct kb_err *err);

struct kb_range {
    kb_str prefix; /* "pods/", "pods/shop/" */
    kb_str after;  /* only keys behind this one; empty: all */
    uint64_t rev;  /* as of */
    kb_str index;  /* with `value`: only objects with this value in this index; empty: all */
    kb_str value;
};

/* Walk over the objects of a range, in order of key. No other call of the engine but reads between
 * init and finish. */
struct kb_scan {
    struct kb_engine *engine;
    struct kb_kv_cursor *cursor;
    const struct kb_skip_node *nodes[2];
    kb_str at_key, at_val; /* under the cursor */
    uint64_t rev;
    uint32_t index_id; /* 0: by key */
    const char *path;  /* of the index, also when it is not ready: then every object is looked at */
    size_t prefix_n, resource_n;
    char prefix[KB_KEY_MAX_BYTES + KB_INDEX_PREFIX_BYTES + 1];
    char value[KB_VIEW_MAX_BYTES];
    size_t value_n;
    char resource[KB_KEY_MAX_BYTES + 1];
    char key[KB_KEY_MAX_BYTES + 1];
};
/* -KB_EGONE, -KB_EINVAL (unknown index). */
int kb_scan_init(struct kb_scan *scan, struct kb_engine *engine, const struct kb_range *range,
                 struct kb_err *err);
/* 1: *ret_item is the next, 0: the end, or an error. */
int kb_scan_next(struct kb_scan *scan, struct kb_item *ret_item, struct kb_err *err);
void kb_scan_finish(struct kb_scan *scan);

/* Walk over all changes with revisions above `since`, in order. As kb_scan. */
struct kb_history {
    struct kb_engine *engine;
    struct kb_kv_cursor *cursor;
    struct kb_vid next;
    uint64_t upto;
    bool started;
};
int kb_history_init(struct kb_history *history, struct kb_engine *engine, uint64_t since,
                    struct kb_err *err); /* -KB_EGONE */
int kb_history_next(struct kb_history *history, struct kb_item *ret_item, struct kb_err *err);
void kb_history_finish(struct kb_history *history);

/* ---- writing ---- */

enum kb_write_cond { KB_COND_NONE, KB_COND_ABSENT, KB_COND_REV, KB_COND_UID };

struct kb_write_op {
    kb_str key;
    bool del;
    kb_val doc; /* of a put: a checked map */
    enum kb_write_cond cond;
    uint64_t if_rev;
    kb_str if_uid;
    int64_t expires_ms; /* of a put: wall clock; 0: never */
};

struct kb_write {
    const struct kb_write_op *ops;
    size_t n;
    kb_str lease;   /* empty: none */
    uint64_t epoch; /* that it must have */
};

/* Stage a transaction; everything is copied. All conditions are checked against the state before
 * it. On failure nothing is staged and *ret_failed is the operation that failed, or write->n: its
 * lease is not held (-KB_ECONFLICT). -KB_EEXISTS, -KB_ECONFLICT, -KB_ENOTFOUND: a condition;
 * -KB_EINVAL, -KB_E2BIG: malformed; -KB_EFULL: not now, try again after the next poll;
 * -KB_ENOSPACE, -KB_EIO: the disk. */
int kb_engine_write(struct kb_engine *engine, const struct kb_write *write, uint64_t *ret_rev,
                    size_t *ret_failed, struct kb_err *err);
/* The object as conditions see it: with everything staged. -KB_ENOTFOUND when it is not there. */
int kb_engine_staged(struct kb_engine *engine, kb_str key, struct kb_item *ret_item,
                     struct kb_err *err);
/* Stage deletes of up to `max` objects that expire at `wall_ms` or before. Returns how many. */
int kb_engine_expire(struct kb_engine *engine, int64_t wall_ms, size_t max, struct kb_err *err);
/* When the next object expires, wall clock; 0: none. */
int64_t kb_engine_next_expiry(struct kb_engine *engine);

/* A lease as it was last staged; an empty holder: free. Borrowed until the next write. */
struct kb_lease {
    kb_str holder;
    uint64_t epoch; /* 0: never held */
    int64_t ttl_ms;
};
struct kb_lease kb_engine_lease(const struct kb_engine *engine, kb_str name);
int kb_engine_lease_put(struct kb_engine *engine, kb_str name, const struct kb_lease *lease,
                        struct kb_err *err);
/* for (size_t i = 0; kb_engine_lease_next(e, &i, &name, &lease);) */
bool kb_engine_lease_next(const struct kb_engine *engine, size_t *cursor, kb_str *ret_name,
                          struct kb_lease *ret_lease);

/* Declare the indices of a resource: a list of {name, path}. 1: staged, 0: nothing new, or an
 * error. Until they are built, scans by them look at every object. */
int kb_engine_declare(struct kb_engine *engine, kb_str resource, kb_val list, struct kb_err *err);
/* Forget versions that were replaced at `rev` or before. A revision above the durable one is
 * lowered to it. */
int kb_engine_compact(struct kb_engine *engine, uint64_t rev, struct kb_err *err);

/* The newest batch that has anything: a number that a caller can wait for, when kb_engine_busy. */
uint64_t kb_engine_batch(const struct kb_engine *engine);
/* Is anything staged, or under way? */
bool kb_engine_busy(const struct kb_engine *engine);
/* Send the staged batch to the disk; no-op when there is none, or one is under way. */
void kb_engine_flush(struct kb_engine *engine);

/* A batch that has ended. `rc` 0: durable. Else it was undone, and all staged behind it with it:
 * each is reported in its turn. With -KB_EIO it is not known whether the disk has it. */
struct kb_commit {
    uint64_t batch;
    int rc;
    struct kb_err err;
    size_t changes; /* how many versions, for kb_commit_change */
    bool declared;  /* indices have changed */
    const void *order;
};
/* 1: *ret_commit is filled, 0: nothing has ended. Valid until the next call. */
int kb_engine_poll(struct kb_engine *engine, struct kb_commit *ret_commit);
struct kb_item kb_commit_change(const struct kb_commit *commit, size_t at);

/* The log has stopped: whether the batch that failed is on the disk will only be known by opening
 * anew. */
bool kb_engine_failed(const struct kb_engine *engine);
/* Give memory back that is only a cache: for a store that has become quiet. */
void kb_engine_trim(struct kb_engine *engine);
/* Readable when kb_engine_poll has something to do; -1 without threads. */
int kb_engine_fd(const struct kb_engine *engine);
/* What is to be done by time: call it when due. Returns ms until the next time, -1: not needed
 * until the next write. */
kb_ms kb_engine_tick(struct kb_engine *engine, kb_ms now_ms);
/* Bring the database up to date with all that is durable, waiting for it. Nothing may be staged or
 * under way. */
int kb_engine_checkpoint(struct kb_engine *engine, struct kb_err *err);

/* ---- care ---- */

struct kb_engine_status {
    uint64_t rev, compacted, objects, versions, index_entries, leases;
    uint64_t db_bytes, map_bytes, log_bytes, memory_bytes;
    uint64_t applied_rev;   /* the database has all up to here */
    uint64_t batches, txns; /* since the start */
    uint32_t readers;
    int failing; /* 0, or the KB_E* for which the database is not brought up to date */
    char failing_text[160];
};
int kb_engine_status(struct kb_engine *engine, struct kb_engine_status *ret_status,
                     struct kb_err *err);

/* Look everything over; each problem is one call. Brings the database up to date first, then blocks
 * for O(data). */
typedef void kb_problem_fn(void *user, const char *text);
int kb_engine_check(struct kb_engine *engine, kb_problem_fn *fn, void *user, struct kb_err *err);

/* The same on a thread of its own (without threads: at once), which looks at the database as it is
 * now while the engine goes on; the problems are told by the call that says 1: it has ended.
 * -KB_EFULL: not while anything is staged or under way. */
int kb_engine_check_start(struct kb_engine *engine, struct kb_err *err);
int kb_engine_check_done(struct kb_engine *engine, kb_problem_fn *fn, void *user, int *ret_rc,
                         struct kb_err *ret_err);

/* Begin a copy of the database to a new file, on a thread of its own (without threads: at once).
 * What was durable at the call is in it. -KB_EFULL: one is being made. */
int kb_engine_backup(struct kb_engine *engine, const char *file, struct kb_err *err);
/* 1: a backup has ended since the last call, *ret_rc, *ret_rev and *ret_bytes say how. */
int kb_engine_backup_done(struct kb_engine *engine, int *ret_rc, uint64_t *ret_rev,
                          uint64_t *ret_bytes, struct kb_err *ret_err);
/* Put a backup in the place of the store in `dir`, which no process may have open. The file is
 * verified first; the former database is kept beside it as *.old. */
int kb_engine_restore(const char *dir, const char *file, struct kb_err *err);

#endif
