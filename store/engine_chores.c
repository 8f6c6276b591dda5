/* engine_chores.c - what is done in the database besides bringing it up to date, on the applier's
 * thread: indices that are new are built, those that are gone removed, versions that were compacted
 * forgotten. Each goes in slices and has its own mark in the database of how far it has got.
 *
 * Compaction: the change at revision S replaced version V. Once S is compacted nobody may ask for
 * V. So the walk over the changes between the last compaction and this one, each visited once,
 * finds all that there is to remove: V, and S itself when it is a tombstone. An index entry goes
 * with V unless a later version of the object has the same value. */
#include "store/engine_int.h"

#include <endian.h>
#include <stdlib.h>

enum { CHORE_STEPS = 2000 };

/* ---- chores: indices that are new ---- */

static int read_record(struct kb_kv_txn *txn, struct kb_vid id, struct kb_record *ret,
                       struct kb_err *err)
{
    uint8_t key[KB_VID_BYTES];
    kb_str bytes;
    kb_vid_put(id, key);
    int rc = kb_kv_get(txn, KB_KV_HIST, kb__bytes(key, sizeof(key)), &bytes, err);
    return rc < 0 ? rc : kb_record_decode(bytes, ret, err);
}

/* Entries for all kept versions of one object. */
static int build_object(struct kb__slice *s, const struct kb_index *index, kb_str key,
                        struct kb_vid id, struct kb_err *err)
{
    struct kb_key parts;
    char entry[KB_INDEX_ENTRY_MAX_BYTES], scratch[KB_VAL_TEXT_BYTES];
    int rc = kb_key_parse(key, &parts, err);
    while (rc == 0 && id.rev) {
        struct kb_record rec;
        rc = read_record(s->txn, id, &rec, err);
        if (rc < 0)
            return rc == -KB_ENOTFOUND ? 0 : rc;
        if (!rec.deleted) {
            kb_str value = kb_index_value(index->path, kb__doc_val(rec.doc), scratch);
            size_t n = kb_index_entry(index->id, value, parts, entry);
            rc = kb_kv_add(s->txn, KB_KV_INDEX, kb__bytes(entry, n), kb_str_of("-"), err);
        }
        s->cost += KB__PUT_COST;
        id = rec.prev;
    }
    return rc;
}

/* Objects from `from` on until the slice is full. 1: more are left, `from` is the next; 0: all
 * done. */
static int build_slice(struct kb__slice *s, const struct kb_index *index, const char *resource,
                       struct kb_buf *from, struct kb_err *err)
{
    KB_AUTO(kb_kv_cursor_end) struct kb_kv_cursor *cursor = NULL;
    KB_AUTO(kb_auto_free) char *prefix = kb_strf("%s/", resource);
    kb_str key, val;
    int rc = kb_kv_cursor(s->txn, KB_KV_CUR, &cursor, err);
    if (rc == 0)
        rc = kb_kv_seek(cursor, from->n ? kb_buf_str(from) : kb_str_of(prefix), &key, &val, err);
    for (; rc == 0; rc = kb_kv_next(cursor, &key, &val, err)) {
        struct kb__cur cur;
        if (!kb_str_starts(key, prefix))
            return 0;
        if (kb__slice_full(s)) {
            kb_buf_clear(from);
            kb_buf_add_str(from, key);
            return 1;
        }
        if (val.n != sizeof(cur))
            return kb_err_set(err, KB_EIO, "database: an entry of the current table is damaged");
        memcpy(&cur, val.p, sizeof(cur));
        rc = build_object(s, index, key, (struct kb_vid){cur.rev, cur.idx}, err);
        if (rc < 0)
            return rc;
    }
    return rc == -KB_ENOTFOUND ? 0 : rc;
}

static int put_ready(struct kb__slice *s, struct kb_resource *resource, struct kb_index *index,
                     struct kb_err *err)
{
    KB_AUTO(kb_w_finish) struct kb_w w = {0};
    KB_AUTO(kb_auto_free) char *name = kb_strf("decl/%s", resource->name);
    index->ready = true;
    kb_indices_write(resource, &w);
    int rc = kb_kv_put(s->txn, KB_KV_META, kb_str_of(name), kb_buf_str(&w.buf), err);
    index->ready = false; /* until it is committed */
    return rc;
}

static int build_index(struct kb_engine *e, struct kb_resource *resource, struct kb_index *index,
                       struct kb_err *err)
{
    KB_AUTO(kb_buf_finish) struct kb_buf from = {0};
    for (int more = 1; more > 0;) {
        struct kb__slice s;
        int rc = kb__slice_begin(e, &s, err);
        if (rc < 0)
            return rc;
        rc = more = build_slice(&s, index, resource->name, &from, err);
        if (rc == 0)
            rc = put_ready(&s, resource, index, err);
        if (rc >= 0)
            rc = kb__slice_commit(&s, err);
        kb_kv_abort(&s.txn);
        if (rc < 0)
            return rc;
    }
    index->ready = true;
    return 0;
}

static int build_indices(struct kb_engine *e, struct kb_err *err)
{
    kb_str name;
    void *value;
    int rc = 0;
    for (size_t i = 0; rc == 0 && kb_map_next(&e->db_indices.resources, &i, &name, &value);) {
        struct kb_resource *resource = value;
        for (size_t k = 0; k < resource->n && rc == 0; k++)
            if (!resource->indices[k].ready)
                rc = build_index(e, resource, &resource->indices[k], err);
    }
    return rc;
}

/* ---- chores: indices that are gone ---- */

/* 1: one slice was removed and more may be left. */
static int drop_slice(struct kb__slice *s, struct kb_err *err)
{
    KB_AUTO(kb_kv_cursor_end) struct kb_kv_cursor *meta = NULL, *cursor = NULL;
    kb_str key, val;
    char name[32];
    int rc = kb_kv_cursor(s->txn, KB_KV_META, &meta, err);
    if (rc == 0)
        rc = kb_kv_seek(meta, kb_str_of("drop/"), &key, &val, err);
    if (rc < 0 || !kb_str_starts(key, "drop/") || !kb_str_copy(key, name, sizeof(name)))
        return rc == -KB_ENOTFOUND || rc == 0 ? 0 : rc;
    uint32_t id = htobe32((uint32_t)strtoul(name + 5, NULL, 10));
    rc = kb_kv_cursor(s->txn, KB_KV_INDEX, &cursor, err);
    if (rc == 0)
        rc = kb_kv_seek(cursor, kb__bytes(&id, sizeof(id)), &key, &val, err);
    while (rc == 0 && key.n >= sizeof(id) && memcmp(key.p, &id, sizeof(id)) == 0) {
        if (kb__slice_full(s))
            return 1;
        rc = kb_kv_cursor_del(cursor, err);
        s->cost += KB__PUT_COST;
        if (rc == 0)
            rc = kb_kv_seek(cursor, kb__bytes(&id, sizeof(id)), &key, &val, err);
    }
    if (rc == 0 || rc == -KB_ENOTFOUND)
        rc = kb_kv_del(s->txn, KB_KV_META, kb_str_of(name), err);
    return rc < 0 ? rc : 1;
}

static int drop_indices(struct kb_engine *e, struct kb_err *err)
{
    for (int more = 1; more > 0;) {
        struct kb__slice s;
        int rc = kb__slice_begin(e, &s, err);
        if (rc < 0)
            return rc;
        rc = more = drop_slice(&s, err);
        if (rc > 0)
            rc = kb__slice_commit(&s, err);
        kb_kv_abort(&s.txn);
        if (rc < 0)
            return rc;
    }
    return 0;
}

/* ---- chores: compaction ---- */

struct step { /* one change that is compacted */
    struct kb_vid id, prev;
    bool deleted;
    kb_str key; /* in the arena */
};

/* Read the next changes of (compact_done, compacted], whole revisions. */
static int read_steps(struct kb__slice *s, struct kb_arena *arena, struct step **ret_steps,
                      size_t *ret_n, uint64_t *ret_done, struct kb_err *err)
{
    const struct kb__applied *a = &s->e->applied;
    KB_AUTO(kb_kv_cursor_end) struct kb_kv_cursor *cursor = NULL;
    size_t cap = CHORE_STEPS + KB_TXN_MAX_OPS, n = 0;
    struct step *steps = kb_arena_alloc(arena, cap * sizeof(*steps));
    uint8_t from[KB_VID_BYTES];
    kb_str key, val;
    kb_vid_put((struct kb_vid){a->compact_done + 1, 0}, from);
    int rc = kb_kv_cursor(s->txn, KB_KV_HIST, &cursor, err);
    if (rc == 0)
        rc = kb_kv_seek(cursor, kb__bytes(from, sizeof(from)), &key, &val, err);
    *ret_done = a->compacted;
    for (; rc == 0; rc = kb_kv_next(cursor, &key, &val, err)) {
        struct kb_record rec;
        if ((rc = kb_record_peek(val, &rec, err)) < 0)
            return rc;
        if (rec.id.rev > a->compacted)
            break;
        if (n >= CHORE_STEPS && rec.id.rev != steps[n - 1].id.rev) {
            *ret_done = steps[n - 1].id.rev;
            break;
        }
        KB_ASSERT(n < cap);
        steps[n++] = (struct step){rec.id, rec.prev, rec.deleted, kb_arena_str(arena, rec.key)};
    }
    *ret_steps = steps;
    *ret_n = n;
    return rc == -KB_ENOTFOUND ? 0 : rc;
}

/* Has any version of the object from its newest back to (not including) `until` this value? */
static int value_later(struct kb__slice *s, const struct kb_index *index, const struct step *step,
                       kb_str value, struct kb_err *err)
{
    struct kb__cur cur;
    char scratch[KB_VAL_TEXT_BYTES];
    kb_str bytes;
    int rc = kb_kv_get(s->txn, KB_KV_CUR, step->key, &bytes, err);
    if (rc < 0 || bytes.n != sizeof(cur))
        return rc == -KB_ENOTFOUND ? 0 : rc;
    memcpy(&cur, bytes.p, sizeof(cur));
    for (struct kb_vid id = {cur.rev, cur.idx}; id.rev && !kb_vid_eq(id, step->prev);) {
        struct kb_record rec;
        rc = read_record(s->txn, id, &rec, err);
        if (rc < 0)
            return rc == -KB_ENOTFOUND ? 0 : rc;
        if (!rec.deleted &&
            kb_str_eq(kb_index_value(index->path, kb__doc_val(rec.doc), scratch), value))
            return 1;
        id = rec.prev;
    }
    return 0;
}

/* Remove the entries that only the version `old`, replaced by the step, needed. */
static int forget_entries(struct kb__slice *s, const struct step *step, const struct kb_record *old,
                          struct kb_err *err)
{
    struct kb_key parts;
    if (old->deleted || kb_key_parse(step->key, &parts, err) < 0)
        return 0;
    const struct kb_resource *resource = kb_indices_of(&s->e->db_indices, parts.resource);
    for (size_t i = 0; resource && i < resource->n; i++) {
        const struct kb_index *index = &resource->indices[i];
        char entry[KB_INDEX_ENTRY_MAX_BYTES], scratch[KB_VAL_TEXT_BYTES];
        kb_str value = kb_index_value(index->path, kb__doc_val(old->doc), scratch);
        int rc = value_later(s, index, step, value, err);
        if (rc < 0)
            return rc;
        if (rc > 0)
            continue;
        size_t n = kb_index_entry(index->id, value, parts, entry);
        rc = kb_kv_del(s->txn, KB_KV_INDEX, kb__bytes(entry, n), err);
        if (rc < 0 && rc != -KB_ENOTFOUND)
            return rc;
    }
    return 0;
}

static int forget(struct kb__slice *s, const struct step *step, struct kb_err *err)
{
    uint8_t id[KB_VID_BYTES];
    struct kb_record old;
    int rc = step->prev.rev ? read_record(s->txn, step->prev, &old, err) : -KB_ENOTFOUND;
    if (rc == 0) {
        rc = forget_entries(s, step, &old, err);
        kb_vid_put(step->prev, id);
        if (rc == 0)
            rc = kb_kv_del(s->txn, KB_KV_HIST, kb__bytes(id, sizeof(id)), err);
    }
    if (rc < 0 && rc != -KB_ENOTFOUND)
        return rc;
    if (!step->deleted)
        return 0;
    struct kb__cur cur;
    kb_str bytes;
    rc = kb_kv_get(s->txn, KB_KV_CUR, step->key, &bytes, err);
    if (rc == 0 && bytes.n == sizeof(cur)) {
        memcpy(&cur, bytes.p, sizeof(cur));
        if (kb_vid_eq((struct kb_vid){cur.rev, cur.idx}, step->id))
            rc = kb_kv_del(s->txn, KB_KV_CUR, step->key, err);
    }
    if (rc < 0 && rc != -KB_ENOTFOUND)
        return rc;
    kb_vid_put(step->id, id);
    rc = kb_kv_del(s->txn, KB_KV_HIST, kb__bytes(id, sizeof(id)), err);
    return rc == -KB_ENOTFOUND ? 0 : rc;
}

static int compact(struct kb_engine *e, struct kb_err *err)
{
    while (e->applied.compact_done < e->applied.compacted) {
        KB_AUTO(kb_arena_finish) struct kb_arena arena = {0};
        struct kb__slice s;
        struct step *steps = NULL;
        size_t n = 0;
        struct kb__applied a = e->applied;
        int rc = kb__slice_begin(e, &s, err);
        if (rc < 0)
            return rc;
        rc = read_steps(&s, &arena, &steps, &n, &a.compact_done, err);
        for (size_t i = 0; i < n && rc == 0; i++)
            rc = forget(&s, &steps[i], err);
        if (rc == 0)
            rc = kb__state_put(s.txn, e->id, &a, err);
        if (rc == 0)
            rc = kb__slice_commit(&s, err);
        kb_kv_abort(&s.txn);
        if (rc < 0)
            return rc;
        kb__set_applied(e, &a);
    }
    return 0;
}

int kb__chores(struct kb_engine *e, struct kb_err *err)
{
    int rc = build_indices(e, err);
    if (rc == 0)
        rc = drop_indices(e, err);
    return rc < 0 ? rc : compact(e, err);
}
