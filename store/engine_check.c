/* engine_check.c - everything that must hold in the database, looked over. Each rule is one that
 * the code elsewhere relies on. */
#include "store/engine_int.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

struct cur_value {
    uint64_t rev;
    uint32_t idx, deleted;
    int64_t expires_ms;
};

struct check {
    struct kb_engine *e;
    struct kb_kv_txn *txn;
    kb_problem_fn *fn;
    void *user;
    struct kb_err *err;
};

static void problem(const struct check *c, const char *format, ...) KB_PRINTF(2, 3);
static void problem(const struct check *c, const char *format, ...)
{
    char text[KB_ERR_TEXT_BYTES];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof(text), format, args);
    va_end(args);
    c->fn(c->user, text);
}

static kb_val doc_val(kb_str doc)
{
    const uint8_t *p = (const uint8_t *)doc.p;
    return (kb_val){p, p + doc.n};
}

/* 1: it is there and whole, 0: it is not (reported only when damaged), or an error. */
static int version(const struct check *c, struct kb_vid id, struct kb_record *ret)
{
    uint8_t key[KB_VID_BYTES];
    kb_str bytes;
    kb_vid_put(id, key);
    int rc = kb_kv_get(c->txn, KB_KV_HIST, kb_str_n((char *)key, sizeof(key)), &bytes, c->err);
    if (rc == -KB_ENOTFOUND)
        return 0;
    return rc < 0 ? rc : kb_record_decode(bytes, ret, c->err) == 0;
}

static int current(const struct check *c, kb_str key, struct cur_value *ret)
{
    kb_str bytes;
    int rc = kb_kv_get(c->txn, KB_KV_CUR, key, &bytes, c->err);
    if (rc == -KB_ENOTFOUND || (rc == 0 && bytes.n != sizeof(*ret)))
        return 0;
    if (rc < 0)
        return rc;
    memcpy(ret, bytes.p, sizeof(*ret));
    return 1;
}

/* ---- versions ---- */

/* What is replaced must still be there, unless compaction has passed the change that replaced it.
 */
static int check_prev(const struct check *c, const struct kb_record *rec)
{
    struct kb_record prev;
    unsigned long long rev = rec->id.rev;
    if (rec->prev.rev == 0)
        return 0;
    if (rec->prev.rev >= rec->id.rev)
        problem(c, "revision %llu replaces the later one %llu", rev,
                (unsigned long long)rec->prev.rev);
    int rc = version(c, rec->prev, &prev);
    if (rc < 0)
        return rc;
    if (rc == 0) {
        bool gone = rec->id.rev <= c->e->compacted ||
                    (rec->prev_deleted && rec->prev.rev <= c->e->compacted);
        if (!gone)
            problem(c, "revision %llu of '" KB_STR_FMT "', replaced by %llu, is missing",
                    (unsigned long long)rec->prev.rev, KB_STR_ARG(rec->key), rev);
        return 0;
    }
    if (rec->id.rev <= c->e->applied.compact_done)
        problem(c, "revision %llu of '" KB_STR_FMT "' was compacted and is still there",
                (unsigned long long)rec->prev.rev, KB_STR_ARG(rec->key));
    if (!kb_str_eq(prev.key, rec->key) || prev.deleted != rec->prev_deleted)
        problem(c, "revision %llu of '" KB_STR_FMT "' replaces one of '" KB_STR_FMT "'", rev,
                KB_STR_ARG(rec->key), KB_STR_ARG(prev.key));
    return 0;
}

static int check_entries(const struct check *c, const struct kb_record *rec)
{
    struct kb_key parts;
    if (kb_key_parse(rec->key, &parts, NULL) < 0) {
        problem(c, "revision %llu has a malformed key", (unsigned long long)rec->id.rev);
        return 0;
    }
    const struct kb_resource *resource = kb_indices_of(&c->e->db_indices, parts.resource);
    for (size_t i = 0; !rec->deleted && resource && i < resource->n; i++) {
        const struct kb_index *index = &resource->indices[i];
        char entry[KB_INDEX_ENTRY_MAX_BYTES], scratch[KB_INDEX_SCRATCH_BYTES];
        kb_str value = kb_index_value(index->path, doc_val(rec->doc), scratch), found;
        size_t n = kb_index_entry(index->id, value, parts, entry);
        int rc = kb_kv_get(c->txn, KB_KV_INDEX, kb_str_n(entry, n), &found, c->err);
        if (rc == -KB_ENOTFOUND && index->ready)
            problem(c, "index '%s' lacks '" KB_STR_FMT "' (revision %llu)", index->name,
                    KB_STR_ARG(rec->key), (unsigned long long)rec->id.rev);
        else if (rc < 0 && rc != -KB_ENOTFOUND)
            return rc;
    }
    return 0;
}

/* Behind what was compacted, every revision is there, with all its parts. */
static void check_dense(const struct check *c, struct kb_vid last, struct kb_vid id)
{
    if (id.rev <= c->e->compacted)
        return;
    bool next = id.rev == last.rev ? id.idx == last.idx + 1 : id.rev == last.rev + 1 && id.idx == 0;
    if (!next && (last.rev >= c->e->compacted && last.rev))
        problem(c, "revisions jump from %llu.%u to %llu.%u", (unsigned long long)last.rev, last.idx,
                (unsigned long long)id.rev, id.idx);
}

static int check_version(const struct check *c, kb_str key, const struct kb_record *rec)
{
    struct cur_value cur;
    unsigned long long rev = rec->id.rev;
    if (key.n != KB_VID_BYTES || !kb_vid_eq(kb_vid_get((const uint8_t *)key.p), rec->id))
        problem(c, "revision %llu is kept under another's id", rev);
    int rc = current(c, rec->key, &cur);
    if (rc < 0)
        return rc;
    if (rc == 0)
        problem(c, "'" KB_STR_FMT "' (revision %llu) has no current version", KB_STR_ARG(rec->key),
                rev);
    else if (cur.rev < rec->id.rev)
        problem(c, "'" KB_STR_FMT "' is at %llu, but has revision %llu", KB_STR_ARG(rec->key),
                (unsigned long long)cur.rev, rev);
    if (rec->deleted && rec->id.rev <= c->e->applied.compact_done)
        problem(c, "the tombstone of revision %llu was compacted and is still there", rev);
    rc = check_prev(c, rec);
    return rc < 0 ? rc : check_entries(c, rec);
}

static int check_versions(const struct check *c)
{
    KB_AUTO(kb_kv_cursor_end) struct kb_kv_cursor *cursor = NULL;
    struct kb_vid last = {c->e->compacted, UINT32_MAX};
    kb_str key, val;
    int rc = kb_kv_cursor(c->txn, KB_KV_HIST, &cursor, c->err);
    if (rc == 0)
        rc = kb_kv_seek(cursor, kb_str_n(NULL, 0), &key, &val, c->err);
    for (; rc == 0; rc = kb_kv_next(cursor, &key, &val, c->err)) {
        struct kb_record rec;
        if (kb_record_decode(val, &rec, c->err) < 0) {
            problem(c, "%s", c->err->text);
            continue;
        }
        check_dense(c, last, rec.id);
        if (rec.id.rev > last.rev || (rec.id.rev == last.rev && last.idx != UINT32_MAX))
            last = rec.id;
        int bad = check_version(c, key, &rec);
        if (bad < 0)
            return bad;
    }
    if (last.rev != c->e->applied.rev && c->e->applied.rev > c->e->compacted)
        problem(c, "the last revision is %llu, but should be %llu", (unsigned long long)last.rev,
                (unsigned long long)c->e->applied.rev);
    return rc == -KB_ENOTFOUND ? 0 : rc;
}

/* ---- current versions, expiry, index entries ---- */

static int check_current(const struct check *c)
{
    KB_AUTO(kb_kv_cursor_end) struct kb_kv_cursor *cursor = NULL;
    kb_str key, val;
    int rc = kb_kv_cursor(c->txn, KB_KV_CUR, &cursor, c->err);
    if (rc == 0)
        rc = kb_kv_seek(cursor, kb_str_n(NULL, 0), &key, &val, c->err);
    for (; rc == 0; rc = kb_kv_next(cursor, &key, &val, c->err)) {
        struct cur_value cur;
        struct kb_record rec;
        uint8_t when[KB__TTL_KEY_BYTES];
        kb_str found;
        if (val.n != sizeof(cur)) {
            problem(c, "the current version of '" KB_STR_FMT "' is damaged", KB_STR_ARG(key));
            continue;
        }
        memcpy(&cur, val.p, sizeof(cur));
        int there = version(c, (struct kb_vid){cur.rev, cur.idx}, &rec);
        if (there < 0)
            return there;
        if (there == 0 || !kb_str_eq(rec.key, key) || rec.deleted != (cur.deleted != 0) ||
            rec.expires_ms != cur.expires_ms)
            problem(c, "'" KB_STR_FMT "' is at revision %llu, which is not there or another's",
                    KB_STR_ARG(key), (unsigned long long)cur.rev);
        kb__ttl_key(cur.expires_ms, (struct kb_vid){cur.rev, cur.idx}, when);
        if (cur.expires_ms &&
            kb_kv_get(c->txn, KB_KV_TTL, kb_str_n((char *)when, sizeof(when)), &found, c->err) < 0)
            problem(c, "'" KB_STR_FMT "' expires, but nothing would see to it", KB_STR_ARG(key));
    }
    return rc == -KB_ENOTFOUND ? 0 : rc;
}

static int check_expiry(const struct check *c)
{
    KB_AUTO(kb_kv_cursor_end) struct kb_kv_cursor *cursor = NULL;
    kb_str key, val;
    int rc = kb_kv_cursor(c->txn, KB_KV_TTL, &cursor, c->err);
    if (rc == 0)
        rc = kb_kv_seek(cursor, kb_str_n(NULL, 0), &key, &val, c->err);
    for (; rc == 0; rc = kb_kv_next(cursor, &key, &val, c->err)) {
        struct cur_value cur;
        int there = current(c, val, &cur);
        if (there < 0)
            return there;
        struct kb_vid id = {0};
        if (key.n == KB__TTL_KEY_BYTES)
            id = kb_vid_get((const uint8_t *)key.p + 8);
        if (!there || cur.rev != id.rev || cur.idx != id.idx)
            problem(c, "the expiry of '" KB_STR_FMT "' is that of a former version",
                    KB_STR_ARG(val));
    }
    return rc == -KB_ENOTFOUND ? 0 : rc;
}

static const struct kb_index *index_by_id(const struct kb_engine *e, kb_str entry,
                                          kb_str *ret_resource)
{
    kb_str name;
    void *value;
    for (size_t i = 0; kb_map_next(&e->db_indices.resources, &i, &name, &value);) {
        const struct kb_resource *resource = value;
        for (size_t k = 0; k < resource->n; k++) {
            char prefix[KB_INDEX_ENTRY_MAX_BYTES];
            kb_index_entry(resource->indices[k].id, kb_str_n(NULL, 0), (struct kb_key){0}, prefix);
            if (entry.n >= 4 && memcmp(entry.p, prefix, 4) == 0) {
                *ret_resource = name;
                return &resource->indices[k];
            }
        }
    }
    return NULL;
}

/* Does any kept version of the object have the value of this entry? */
static int entry_needed(const struct check *c, const struct kb_index *index, kb_str key,
                        kb_str entry)
{
    struct cur_value cur;
    struct kb_key parts;
    int rc = current(c, key, &cur);
    if (rc <= 0 || kb_key_parse(key, &parts, NULL) < 0)
        return rc < 0 ? rc : 0;
    for (struct kb_vid id = {cur.rev, cur.idx}; id.rev;) {
        struct kb_record rec;
        char mine[KB_INDEX_ENTRY_MAX_BYTES], scratch[KB_INDEX_SCRATCH_BYTES];
        rc = version(c, id, &rec);
        if (rc <= 0)
            return rc;
        if (!rec.deleted) {
            kb_str value = kb_index_value(index->path, doc_val(rec.doc), scratch);
            size_t n = kb_index_entry(index->id, value, parts, mine);
            if (kb_str_eq(kb_str_n(mine, n), entry))
                return 1;
        }
        id = rec.prev;
    }
    return 0;
}

static int check_index(const struct check *c)
{
    KB_AUTO(kb_kv_cursor_end) struct kb_kv_cursor *cursor = NULL;
    kb_str key, val;
    int rc = kb_kv_cursor(c->txn, KB_KV_INDEX, &cursor, c->err);
    if (rc == 0)
        rc = kb_kv_seek(cursor, kb_str_n(NULL, 0), &key, &val, c->err);
    for (; rc == 0; rc = kb_kv_next(cursor, &key, &val, c->err)) {
        kb_str resource, name = kb_index_entry_name(key);
        const struct kb_index *index = index_by_id(c->e, key, &resource);
        if (index == NULL) {
            problem(c, "an index that is not declared has an entry '" KB_STR_FMT "'",
                    KB_STR_ARG(name));
            continue;
        }
        KB_AUTO(kb_auto_free)
        char *object = kb_strf(KB_STR_FMT "/" KB_STR_FMT, KB_STR_ARG(resource), KB_STR_ARG(name));
        int needed = entry_needed(c, index, kb_str_of(object), key);
        if (needed < 0)
            return needed;
        if (needed == 0)
            problem(c, "index '%s' has an entry of '%s' that no version needs", index->name,
                    object);
    }
    return rc == -KB_ENOTFOUND ? 0 : rc;
}

int kb_engine_check(struct kb_engine *e, kb_problem_fn *fn, void *user, struct kb_err *err)
{
    KB_AUTO(kb_kv_abort) struct kb_kv_txn *txn = NULL;
    int rc = kb_engine_checkpoint(e, err);
    if (rc < 0)
        return rc;
    if (kb_kv_verify(e->kv, err) < 0) {
        fn(user, err->text);
        return 0;
    }
    rc = kb_kv_begin(e->kv, false, &txn, err);
    struct check c = {e, txn, fn, user, err};
    if (rc == 0)
        rc = check_versions(&c);
    if (rc == 0)
        rc = check_current(&c);
    if (rc == 0)
        rc = check_expiry(&c);
    return rc < 0 ? rc : check_index(&c);
}
