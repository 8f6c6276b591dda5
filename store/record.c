#include "store/record.h"

#include "bus/base/buf.h"
#include "store/crc32c.h"

#include <endian.h>
#include <stddef.h>

struct head {
    uint32_t crc; /* of all that follows */
    uint16_t key_bytes;
    uint8_t deleted, version;
    uint32_t doc_bytes, idx;
    uint64_t rev, prev_rev;
    uint32_t prev_idx, prev_deleted;
    int64_t expires_ms, prev_expires_ms;
};
_Static_assert(sizeof(struct head) == 56, "no holes");

struct entry_head {
    uint32_t bytes, type;
};

enum { RECORD_VERSION = 1 };

void kb_vid_put(struct kb_vid id, uint8_t out[KB_VID_BYTES])
{
    uint64_t rev = htobe64(id.rev);
    uint32_t idx = htobe32(id.idx);
    memcpy(out, &rev, sizeof(rev));
    memcpy(out + sizeof(rev), &idx, sizeof(idx));
}

struct kb_vid kb_vid_get(const uint8_t in[KB_VID_BYTES])
{
    uint64_t rev;
    uint32_t idx;
    memcpy(&rev, in, sizeof(rev));
    memcpy(&idx, in + sizeof(rev), sizeof(idx));
    return (struct kb_vid){be64toh(rev), be32toh(idx)};
}

kb_str kb_record_encode(struct kb_arena *arena, const struct kb_record *r)
{
    size_t n = sizeof(struct head) + r->key.n + r->doc.n;
    char *out = kb_arena_alloc(arena, n);
    struct head h = {
        .key_bytes = (uint16_t)r->key.n,
        .deleted = r->deleted,
        .version = RECORD_VERSION,
        .doc_bytes = (uint32_t)r->doc.n,
        .idx = r->id.idx,
        .rev = r->id.rev,
        .prev_rev = r->prev.rev,
        .prev_idx = r->prev.idx,
        .prev_deleted = r->prev_deleted,
        .expires_ms = r->expires_ms,
        .prev_expires_ms = r->prev_expires_ms,
    };
    memcpy(out, &h, sizeof(h));
    memcpy(out + sizeof(h), r->key.p, r->key.n);
    if (r->doc.n)
        memcpy(out + sizeof(h) + r->key.n, r->doc.p, r->doc.n);
    h.crc = kb_crc32c(0, out + sizeof(h.crc), n - sizeof(h.crc));
    memcpy(out, &h.crc, sizeof(h.crc));
    return kb_str_n(out, n);
}

int kb_record_peek(kb_str bytes, struct kb_record *ret_record, struct kb_err *err)
{
    struct head h;
    if (bytes.n < sizeof(h))
        return kb_err_set(err, KB_EIO, "a record of %zu bytes is too short", bytes.n);
    memcpy(&h, bytes.p, sizeof(h));
    if (h.version != RECORD_VERSION || sizeof(h) + h.key_bytes + (size_t)h.doc_bytes != bytes.n)
        return kb_err_set(err, KB_EIO, "a record of %zu bytes has a damaged head", bytes.n);
    *ret_record = (struct kb_record){
        .id = {h.rev, h.idx},
        .prev = {h.prev_rev, h.prev_idx},
        .expires_ms = h.expires_ms,
        .prev_expires_ms = h.prev_expires_ms,
        .deleted = h.deleted,
        .prev_deleted = h.prev_deleted,
        .key = kb_str_n(bytes.p + sizeof(h), h.key_bytes),
        .doc = kb_str_n(bytes.p + sizeof(h) + h.key_bytes, h.doc_bytes),
    };
    return 0;
}

int kb_record_decode(kb_str bytes, struct kb_record *ret_record, struct kb_err *err)
{
    uint32_t crc;
    struct kb_record record;
    int rc = kb_record_peek(bytes, &record, err);
    if (rc < 0)
        return rc;
    memcpy(&crc, bytes.p, sizeof(crc));
    if (crc != kb_crc32c(0, bytes.p + sizeof(crc), bytes.n - sizeof(crc)))
        return kb_err_set(err, KB_EIO, "the record of revision %llu is damaged",
                          (unsigned long long)record.id.rev);
    *ret_record = record;
    return 0;
}

void kb_entry_add(struct kb_buf *batch, enum kb_entry_type type, kb_str bytes)
{
    struct entry_head h = {(uint32_t)bytes.n, type};
    kb_buf_add(batch, &h, sizeof(h));
    kb_buf_add(batch, bytes.p, bytes.n);
}

int kb_entry_next(kb_str *rest, enum kb_entry_type *ret_type, kb_str *ret_bytes, struct kb_err *err)
{
    struct entry_head h;
    if (rest->n == 0)
        return 0;
    if (rest->n < sizeof(h))
        return kb_err_set(err, KB_EIO, "an entry of the log is cut off");
    memcpy(&h, rest->p, sizeof(h));
    if (h.bytes > rest->n - sizeof(h))
        return kb_err_set(err, KB_EIO, "an entry of the log is cut off");
    *ret_type = (enum kb_entry_type)h.type;
    *ret_bytes = kb_str_n(rest->p + sizeof(h), h.bytes);
    rest->p += sizeof(h) + h.bytes;
    rest->n -= sizeof(h) + h.bytes;
    return 1;
}
