/* The ordered database under the store: LMDB, seen through what the store needs of it. The only
 * file that knows LMDB is kv.c.
 *
 * Commits are LMDB's normal ones: durable, never at risk from a power cut. One write transaction at
 * a time, by one thread; any number of read transactions, each usable by one thread at a time but
 * not bound to one. The map is a size that must grow: kb_kv_grow, while no transaction is open.
 *
 * Errors: -KB_EFULL (the map is full: grow it), -KB_ENOSPACE (the disk is), -KB_EIO (corrupt, or
 * the disk failed). */
#ifndef KUBUS_STORE_KV_H
#define KUBUS_STORE_KV_H

#include "bus/base/err.h"
#include "bus/base/str.h"
#include "store/io.h"

struct kb_kv;
struct kb_kv_txn;
struct kb_kv_cursor;

enum kb_kv_table {
    KB_KV_META,  /* where the store stands: text → record */
    KB_KV_CUR,   /* key → id of its newest version, deleted or not */
    KB_KV_HIST,  /* id → version: the record with its document */
    KB_KV_INDEX, /* index, hash of the value, ns/name → nothing */
    KB_KV_TTL,   /* when it expires, id → key */
    KB_KV_LEASE, /* name → holder, epoch */
    KB_KV_TABLES
};

/* Open or make the database file `path`. `map_bytes`: the map at first; it is never made smaller
 * than what the file holds. */
int kb_kv_open(const char *path, size_t map_bytes, const struct kb_io *io, struct kb_kv **ret_kv,
               struct kb_err *err);
void kb_kv_close(struct kb_kv **kv_p);

/* ---- size ---- */
struct kb_kv_size {
    uint64_t map_bytes, used_bytes; /* used: pages that were ever used; free ones are reused */
    uint64_t free_bytes;            /* of used: on the free list (0 unless asked for) */
    uint64_t entries[KB_KV_TABLES];
    uint32_t readers; /* slots taken */
};
int kb_kv_size(struct kb_kv *kv, struct kb_kv_size *ret_size, struct kb_err *err);
/* Bytes used, cheaply: no entries, no lists. */
uint64_t kb_kv_used(struct kb_kv *kv);
uint64_t kb_kv_map(struct kb_kv *kv);
/* Make the map `bytes`. No transaction of this process may be open: everything read is gone. */
int kb_kv_grow(struct kb_kv *kv, uint64_t bytes, struct kb_err *err);
/* Let go of the pages of the map that this process has touched; the system's cache keeps them. */
void kb_kv_trim(struct kb_kv *kv);
/* Free the slots of readers whose process has died. Returns how many. */
int kb_kv_clear_readers(struct kb_kv *kv);

/* ---- transactions ---- */
int kb_kv_begin(struct kb_kv *kv, bool write, struct kb_kv_txn **ret_txn, struct kb_err *err);
/* Read transactions only: let the snapshot go / take the newest. Keeps the slot. */
void kb_kv_reset(struct kb_kv_txn *txn);
int kb_kv_renew(struct kb_kv_txn *txn, struct kb_err *err);
int kb_kv_commit(struct kb_kv_txn **txn_p, struct kb_err *err); /* *txn_p is NULL after, always */
void kb_kv_abort(struct kb_kv_txn **txn_p);                     /* KB_AUTO; NULL is fine */

/* Values are borrowed from the map until the transaction ends, renews, or writes again. */
int kb_kv_get(struct kb_kv_txn *txn, enum kb_kv_table table, kb_str key, kb_str *ret_val,
              struct kb_err *err); /* -KB_ENOTFOUND leaves err alone */
int kb_kv_put(struct kb_kv_txn *txn, enum kb_kv_table table, kb_str key, kb_str val,
              struct kb_err *err);
/* For keys that rise: fills pages up and costs no search. -KB_EEXISTS when `key` does not rise. */
int kb_kv_append(struct kb_kv_txn *txn, enum kb_kv_table table, kb_str key, kb_str val,
                 struct kb_err *err);
/* Put unless it is there. */
int kb_kv_add(struct kb_kv_txn *txn, enum kb_kv_table table, kb_str key, kb_str val,
              struct kb_err *err);
int kb_kv_del(struct kb_kv_txn *txn, enum kb_kv_table table, kb_str key,
              struct kb_err *err); /* -KB_ENOTFOUND leaves err alone */

/* ---- cursors: end them before their transaction ---- */
int kb_kv_cursor(struct kb_kv_txn *txn, enum kb_kv_table table, struct kb_kv_cursor **ret_cursor,
                 struct kb_err *err);
void kb_kv_cursor_end(struct kb_kv_cursor **cursor_p);
/* To the first key ≥ `key`; to the next. -KB_ENOTFOUND at the end, err left alone. */
int kb_kv_seek(struct kb_kv_cursor *cursor, kb_str key, kb_str *ret_key, kb_str *ret_val,
               struct kb_err *err);
int kb_kv_next(struct kb_kv_cursor *cursor, kb_str *ret_key, kb_str *ret_val, struct kb_err *err);
/* Delete the entry that a write cursor stands at; the next kb_kv_next goes on behind it. */
int kb_kv_cursor_del(struct kb_kv_cursor *cursor, struct kb_err *err);

/* Write a compact copy of the newest committed state to `fd`, from any thread. */
int kb_kv_copy(struct kb_kv *kv, int fd, struct kb_err *err);
/* Walk all pages of all tables: 0, or the error that stopped it. For `check`. */
int kb_kv_verify(struct kb_kv *kv, struct kb_err *err);

#endif
