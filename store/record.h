/* The bytes of one version of an object: the same in the log and in the database.
 *
 * A fixed head, the key, the document; a CRC32C over all of it, so that a document that the disk
 * has changed is never handed out. Host order: neither file travels between architectures. */
#ifndef KUBUS_STORE_RECORD_H
#define KUBUS_STORE_RECORD_H

#include "bus/base/arena.h"
#include "bus/base/err.h"

/* Which version of all: the revision, and the place in its transaction. Zero: none. */
struct kb_vid {
    uint64_t rev;
    uint32_t idx;
};

static inline bool kb_vid_eq(struct kb_vid a, struct kb_vid b)
{
    return a.rev == b.rev && a.idx == b.idx;
}

enum { KB_VID_BYTES = 12 };
/* Big-endian, so that bytes sort as ids do. */
void kb_vid_put(struct kb_vid id, uint8_t out[KB_VID_BYTES]);
struct kb_vid kb_vid_get(const uint8_t in[KB_VID_BYTES]);

struct kb_record {
    struct kb_vid id, prev;              /* prev: the version that this one replaces */
    int64_t expires_ms, prev_expires_ms; /* wall clock, milliseconds since 1970; 0: never */
    bool deleted;                        /* a tombstone: no document */
    bool prev_deleted;                   /* there is no prev, or it is a tombstone: a creation */
    kb_str key, doc;                     /* borrowed */
};

/* Encode into the arena; returns the bytes. In them, key and document are found by
 * kb_record_decode. */
kb_str kb_record_encode(struct kb_arena *arena, const struct kb_record *record);
/* -KB_EIO: not whole. The texts are borrowed from `bytes`. */
int kb_record_decode(kb_str bytes, struct kb_record *ret_record, struct kb_err *err);
/* The same without the checksum: for bytes that were checked. */
int kb_record_peek(kb_str bytes, struct kb_record *ret_record, struct kb_err *err);

/* ---- entries of a batch in the log ---- */
enum kb_entry_type {
    KB_ENTRY_VERSION = 1, /* a record */
    KB_ENTRY_LEASE,       /* msgpack {name, holder, epoch, ttl} */
    KB_ENTRY_DECLARE,     /* msgpack {resource, indices: [{id, name, path}]} */
    KB_ENTRY_COMPACT,     /* msgpack {rev} */
};

struct kb_buf;
void kb_entry_add(struct kb_buf *batch, enum kb_entry_type type, kb_str bytes);
/* Take the next entry of *rest. 1: there is one, 0: the end, -KB_EIO. */
int kb_entry_next(kb_str *rest, enum kb_entry_type *ret_type, kb_str *ret_bytes,
                  struct kb_err *err);

#endif
