/* engine_apply.c - bringing the database up to date, on the applier's thread.
 *
 * A closed generation is written in slices, each a durable commit of its own, small enough that the
 * disk is not held up for long. Until the last slice moves the log position, a crash finds the old
 * position and replays the log over what the slices have done: every step is idempotent. Only then
 * come the chores, each with its own mark of how far it has got: building indices that are new,
 * removing those that are gone, forgetting versions that were compacted.
 *
 * Compaction: the change at revision S replaced version V. Once S is compacted nobody may ask for
 * V. So the walk over the changes between the last compaction and this one, each visited once,
 * finds all that there is to remove: V, and S itself when it is a tombstone. An index entry goes
 * with V unless a later version of the object has the same value. */
#include "store/engine_int.h"

#include <endian.h>
#include <stdio.h>
#include <stdlib.h>

enum { PUT_COST = 512, CHORE_STEPS = 2000 };

struct cur_value {
    uint64_t rev;
    uint32_t idx, deleted;
    int64_t expires_ms;
};

static kb_str bytes_of(const void *p, size_t n)
{
    return kb_str_n(p, n);
}

static kb_val doc_val(kb_str doc)
{
    const uint8_t *p = (const uint8_t *)doc.p;
    return (kb_val){p, p + doc.n};
}

/* ---- the state record ---- */

int kb__state_put(struct kb_kv_txn *txn, const char *id, const struct kb__applied *a,
                  struct kb_err *err)
{
    KB_AUTO(kb_w_finish) struct kb_w w = {0};
    kb_w_map(&w);
    kb_w_kint(&w, "version", 1);
    kb_w_kcstr(&w, "id", id);
    kb_w_kint(&w, "segment", (int64_t)a->pos.segment);
    kb_w_kint(&w, "offset", (int64_t)a->pos.offset);
    kb_w_kint(&w, "batch", (int64_t)a->pos.batch);
    kb_w_kint(&w, "rev", (int64_t)a->rev);
    kb_w_kint(&w, "compacted", (int64_t)a->compacted);
    kb_w_kint(&w, "compact_done", (int64_t)a->compact_done);
    kb_w_kint(&w, "next_index", a->next_index);
    kb_w_end(&w);
    return kb_kv_put(txn, KB_KV_META, kb_str_of("state"), kb_buf_str(&w.buf), err);
}

static int load_lease(struct kb_engine *e, kb_str bytes, struct kb_err *err)
{
    kb_val val;
    if (kb_val_check(bytes.p, bytes.n, &val, err) < 0)
        return kb_err_set(err, KB_EIO, "database: a lease is damaged");
    struct kb_lease lease = {kb_val_str_at(val, "holder"), (uint64_t)kb_val_int_at(val, "epoch", 0),
                             kb_val_int_at(val, "ttl", 0)};
    return kb__lease_set(e, kb_val_str_at(val, "name"), &lease);
}

/* Leases and declarations. */
static int load_tables(struct kb_engine *e, struct kb_kv_txn *txn, struct kb_err *err)
{
    KB_AUTO(kb_kv_cursor_end) struct kb_kv_cursor *leases = NULL, *meta = NULL;
    kb_str key, bytes;
    int rc = kb_kv_cursor(txn, KB_KV_LEASE, &leases, err);
    if (rc < 0 || (rc = kb_kv_cursor(txn, KB_KV_META, &meta, err)) < 0)
        return rc;
    for (rc = kb_kv_seek(leases, kb_str_n(NULL, 0), &key, &bytes, err); rc == 0;
         rc = kb_kv_next(leases, &key, &bytes, err))
        if (load_lease(e, bytes, err) < 0)
            return -err->code;
    if (rc != -KB_ENOTFOUND)
        return rc;
    for (rc = kb_kv_seek(meta, kb_str_of("decl/"), &key, &bytes, err);
         rc == 0 && kb_str_starts(key, "decl/"); rc = kb_kv_next(meta, &key, &bytes, err)) {
        kb_val val;
        if (kb_val_check(bytes.p, bytes.n, &val, err) < 0 ||
            kb_indices_apply(&e->indices, val, err) < 0 ||
            kb_indices_apply(&e->db_indices, val, err) < 0)
            return kb_err_set(err, KB_EIO, "database: a declaration is damaged");
    }
    rc = kb_kv_seek(meta, kb_str_of("drop/"), &key, &bytes, err);
    e->chores = rc == 0 && kb_str_starts(key, "drop/");
    return rc == 0 || rc == -KB_ENOTFOUND ? 0 : rc;
}

int kb__state_load(struct kb_engine *e, struct kb_err *err)
{
    KB_AUTO(kb_kv_abort) struct kb_kv_txn *txn = NULL;
    struct kb__applied *a = &e->applied;
    kb_str bytes;
    kb_val val;
    int rc = kb_kv_begin(e->kv, false, &txn, err);
    if (rc == 0)
        rc = kb_kv_get(txn, KB_KV_META, kb_str_of("state"), &bytes, err);
    if (rc < 0)
        return rc;
    if (kb_val_check(bytes.p, bytes.n, &val, err) < 0 ||
        !kb_str_copy(kb_val_str_at(val, "id"), e->id, sizeof(e->id)))
        return kb_err_set(err, KB_EIO, "database: its state record is damaged");
    if (kb_val_int_at(val, "version", 0) != 1)
        return kb_err_set(err, KB_EIO,
                          "database: it was written by a newer version of this program");
    a->pos.segment = (uint64_t)kb_val_int_at(val, "segment", 0);
    a->pos.offset = (uint64_t)kb_val_int_at(val, "offset", 0);
    a->pos.batch = (uint64_t)kb_val_int_at(val, "batch", 0);
    a->rev = (uint64_t)kb_val_int_at(val, "rev", 0);
    a->compacted = (uint64_t)kb_val_int_at(val, "compacted", 0);
    a->compact_done = (uint64_t)kb_val_int_at(val, "compact_done", 0);
    a->next_index = (uint32_t)kb_val_int_at(val, "next_index", 0);
    e->indices.next_id = a->next_index;
    return load_tables(e, txn, err);
}

/* ---- slices ---- */

struct slice {
    struct kb_engine *e;
    struct kb_kv_txn *txn;
    size_t cost;
};

/* Begin one, when the map has room for it: KB__GROW otherwise. */
static int slice_begin(struct kb_engine *e, struct slice *s, struct kb_err *err)
{
    uint64_t map = kb_kv_map(e->kv), room = 16 * (uint64_t)e->config.slice_bytes;
    if (room > map / 4)
        room = map / 4;
    *s = (struct slice){.e = e};
    if (kb_kv_used(e->kv) + room > map && map < e->config.map_max_bytes)
        return KB__GROW;
    return kb_kv_begin(e->kv, true, &s->txn, err);
}

void kb__housekeep(struct kb_engine *e)
{
    struct kb_err err = {0};
    /* Failing (a full disk) is no harm yet: the log makes its segment itself when it must, and says
     * so then. */
    kb_log_housekeep(e->log, e->applied.pos.segment, &err);
}

static bool slice_full(const struct slice *s)
{
    return s->cost >= s->e->config.slice_bytes;
}

static int slice_commit(struct slice *s, struct kb_err *err)
{
    int rc = kb_kv_commit(&s->txn, err);
    if (rc == 0) {
        pthread_mutex_lock(&s->e->lock);
        s->e->slices++;
        pthread_mutex_unlock(&s->e->lock);
        kb__engine_wake(s->e);
        kb__housekeep(s->e);
    }
    return rc;
}

static int put_version(struct slice *s, const struct kb__version *v, struct kb_err *err)
{
    uint8_t id[KB_VID_BYTES], when[KB__TTL_KEY_BYTES];
    kb_vid_put(v->rec.id, id);
    s->cost += v->bytes.n + PUT_COST;
    int rc = kb_kv_append(s->txn, KB_KV_HIST, bytes_of(id, sizeof(id)), v->bytes, err);
    if (rc == -KB_EEXISTS) /* replayed: a slice had written it already */
        rc = kb_kv_put(s->txn, KB_KV_HIST, bytes_of(id, sizeof(id)), v->bytes, err);
    if (rc == 0 && v->rec.prev_expires_ms) {
        kb__ttl_key(v->rec.prev_expires_ms, v->rec.prev, when);
        rc = kb_kv_del(s->txn, KB_KV_TTL, bytes_of(when, sizeof(when)), err);
        rc = rc == -KB_ENOTFOUND ? 0 : rc;
    }
    if (rc == 0 && v->rec.expires_ms) {
        kb__ttl_key(v->rec.expires_ms, v->rec.id, when);
        rc = kb_kv_put(s->txn, KB_KV_TTL, bytes_of(when, sizeof(when)), v->rec.key, err);
    }
    return rc;
}

static int put_cur(struct slice *s, const struct kb_skip_node *node, struct kb_err *err)
{
    const struct kb__version *v = node->value;
    if (v == NULL)
        return 0;
    struct cur_value cur = {v->rec.id.rev, v->rec.id.idx, v->rec.deleted, v->rec.expires_ms};
    s->cost += PUT_COST;
    return kb_kv_put(s->txn, KB_KV_CUR, node->key, bytes_of(&cur, sizeof(cur)), err);
}

static bool has_index(kb_val declaration, uint32_t id)
{
    for (struct kb_iter it = kb_iter(kb_val_get(declaration, "indices")); kb_iter_next(&it);)
        if (kb_val_int_at(it.val, "id", 0) == id)
            return true;
    return false;
}

/* The entries of this index are to be removed. */
static int put_drop(struct slice *s, uint32_t id, struct kb_err *err)
{
    char name[32];
    snprintf(name, sizeof(name), "drop/%010u", id);
    return kb_kv_put(s->txn, KB_KV_META, kb_str_of(name), kb_str_of("-"), err);
}

/* What a declaration replaces: one before it in the generation, or what the database has. */
static int drop_replaced(struct slice *s, const struct kb__gen *gen, const struct kb__side *side,
                         kb_val val, struct kb_err *err)
{
    kb_str resource = kb_val_str_at(val, "resource");
    kb_val before = {NULL, NULL}, other;
    int rc = 0;
    for (const struct kb__side *at = gen->side; at != side; at = at->next)
        if (at->type == KB_ENTRY_DECLARE &&
            kb_val_check(at->bytes.p, at->bytes.n, &other, err) == 0 &&
            kb_str_eq(kb_val_str_at(other, "resource"), resource))
            before = other;
    if (before.p) {
        for (struct kb_iter it = kb_iter(kb_val_get(before, "indices"));
             rc == 0 && kb_iter_next(&it);) {
            uint32_t id = (uint32_t)kb_val_int_at(it.val, "id", 0);
            rc = has_index(val, id) ? 0 : put_drop(s, id, err);
        }
        return rc;
    }
    const struct kb_resource *have = kb_indices_of(&s->e->db_indices, resource);
    for (size_t i = 0; have && i < have->n && rc == 0; i++)
        rc = has_index(val, have->indices[i].id) ? 0 : put_drop(s, have->indices[i].id, err);
    return rc;
}

/* Note what goes away, write what is there now. */
static int put_declaration(struct slice *s, const struct kb__gen *gen, const struct kb__side *side,
                           kb_val val, struct kb__applied *a, struct kb_err *err)
{
    KB_AUTO(kb_auto_free)
    char *name = kb_strf("decl/" KB_STR_FMT, KB_STR_ARG(kb_val_str_at(val, "resource")));
    KB_AUTO(kb_w_finish) struct kb_w w = {0};
    int rc = drop_replaced(s, gen, side, val, err);
    if (rc < 0)
        return rc;
    for (struct kb_iter it = kb_iter(kb_val_get(val, "indices")); kb_iter_next(&it);) {
        uint32_t id = (uint32_t)kb_val_int_at(it.val, "id", 0);
        if (id >= a->next_index)
            a->next_index = id + 1;
    }
    kb_w_raw(&w, val);
    return kb_kv_put(s->txn, KB_KV_META, kb_str_of(name), kb_buf_str(&w.buf), err);
}

static int put_side(struct slice *s, const struct kb__gen *gen, const struct kb__side *side,
                    struct kb__applied *a, struct kb_err *err)
{
    kb_val val;
    if (kb_val_check(side->bytes.p, side->bytes.n, &val, err) < 0)
        return kb_err_set(err, KB_EINTERNAL, "an entry of the log is malformed");
    switch (side->type) {
    case KB_ENTRY_LEASE:
        return kb_kv_put(s->txn, KB_KV_LEASE, kb_val_str_at(val, "name"), side->bytes, err);
    case KB_ENTRY_DECLARE:
        return put_declaration(s, gen, side, val, a, err);
    case KB_ENTRY_COMPACT: {
        uint64_t rev = (uint64_t)kb_val_int_at(val, "rev", 0);
        if (rev > a->compacted)
            a->compacted = rev;
        return 0;
    }
    default:
        KB_UNREACHABLE();
    }
}

/* The last slice: leases, declarations, and the position. */
static int put_rest(struct slice *s, const struct kb__gen *gen, struct kb__applied *a,
                    struct kb_err *err)
{
    int rc = 0;
    for (const struct kb__side *side = gen->side; side && rc == 0; side = side->next)
        rc = put_side(s, gen, side, a, err);
    if (rc < 0)
        return rc;
    a->pos = gen->end;
    if (gen->last_rev > a->rev)
        a->rev = gen->last_rev;
    return kb__state_put(s->txn, s->e->id, a, err);
}

static void declarations_done(struct kb_engine *e, const struct kb__gen *gen)
{
    struct kb_err err;
    kb_val val;
    for (const struct kb__side *side = gen->side; side; side = side->next)
        if (side->type == KB_ENTRY_DECLARE &&
            kb_val_check(side->bytes.p, side->bytes.n, &val, &err) == 0)
            kb_indices_apply(&e->db_indices, val, &err);
}

static void set_applied(struct kb_engine *e, const struct kb__applied *a)
{
    pthread_mutex_lock(&e->lock);
    e->applied = *a;
    pthread_mutex_unlock(&e->lock);
}

/* Fill one slice from where the last one ended. */
static int fill(struct slice *s, struct kb__gen *gen, struct kb__progress *p, struct kb__applied *a,
                struct kb_err *err)
{
    int rc = 0;
    for (; rc == 0 && !slice_full(s) && p->order_at < gen->n; p->order_at += rc == 0)
        rc = put_version(s, gen->order[p->order_at], err);
    if (!p->keys_done && p->keys_at == NULL)
        p->keys_at = kb_skip_first(&gen->keys);
    while (rc == 0 && !slice_full(s) && p->keys_at) {
        rc = put_cur(s, p->keys_at, err);
        p->keys_at = kb_skip_after(p->keys_at);
    }
    p->keys_done = p->keys_at == NULL;
    if (!p->index_done && p->index_at == NULL)
        p->index_at = kb_skip_first(&gen->index);
    while (rc == 0 && !slice_full(s) && p->index_at) {
        if (p->index_at->value)
            rc = kb_kv_add(s->txn, KB_KV_INDEX, p->index_at->key, kb_str_of("-"), err);
        s->cost += PUT_COST;
        p->index_at = kb_skip_after(p->index_at);
    }
    p->index_done = p->index_at == NULL;
    if (rc == 0 && !slice_full(s) && p->order_at == gen->n && p->keys_done && p->index_done) {
        rc = put_rest(s, gen, a, err);
        p->rest_done = true;
    }
    return rc;
}

static int apply_changes(struct kb_engine *e, struct kb__gen *gen, struct kb_err *err)
{
    while (!gen->progress.rest_done) {
        struct slice s;
        struct kb__progress p = gen->progress;
        struct kb__applied a = e->applied;
        int rc = slice_begin(e, &s, err);
        if (rc < 0)
            return rc;
        rc = fill(&s, gen, &p, &a, err);
        if (rc == 0)
            rc = slice_commit(&s, err);
        kb_kv_abort(&s.txn);
        if (rc < 0)
            return rc;
        gen->progress = p;
        if (p.rest_done) {
            declarations_done(e, gen);
            set_applied(e, &a);
        }
    }
    return 0;
}

/* ---- chores: indices that are new ---- */

static int read_record(struct kb_kv_txn *txn, struct kb_vid id, struct kb_record *ret,
                       struct kb_err *err)
{
    uint8_t key[KB_VID_BYTES];
    kb_str bytes;
    kb_vid_put(id, key);
    int rc = kb_kv_get(txn, KB_KV_HIST, bytes_of(key, sizeof(key)), &bytes, err);
    return rc < 0 ? rc : kb_record_decode(bytes, ret, err);
}

/* Entries for all kept versions of one object. */
static int build_object(struct slice *s, const struct kb_index *index, kb_str key, struct kb_vid id,
                        struct kb_err *err)
{
    struct kb_key parts;
    char entry[KB_INDEX_ENTRY_MAX_BYTES], scratch[KB_INDEX_SCRATCH_BYTES];
    int rc = kb_key_parse(key, &parts, err);
    while (rc == 0 && id.rev) {
        struct kb_record rec;
        rc = read_record(s->txn, id, &rec, err);
        if (rc < 0)
            return rc == -KB_ENOTFOUND ? 0 : rc;
        if (!rec.deleted) {
            kb_str value = kb_index_value(index->path, doc_val(rec.doc), scratch);
            size_t n = kb_index_entry(index->id, value, parts, entry);
            rc = kb_kv_add(s->txn, KB_KV_INDEX, bytes_of(entry, n), kb_str_of("-"), err);
        }
        s->cost += PUT_COST;
        id = rec.prev;
    }
    return rc;
}

/* Objects from `from` on until the slice is full. 1: more are left, `from` is the next; 0: all
 * done. */
static int build_slice(struct slice *s, const struct kb_index *index, const char *resource,
                       struct kb_buf *from, struct kb_err *err)
{
    KB_AUTO(kb_kv_cursor_end) struct kb_kv_cursor *cursor = NULL;
    KB_AUTO(kb_auto_free) char *prefix = kb_strf("%s/", resource);
    kb_str key, val;
    int rc = kb_kv_cursor(s->txn, KB_KV_CUR, &cursor, err);
    if (rc == 0)
        rc = kb_kv_seek(cursor, from->n ? kb_buf_str(from) : kb_str_of(prefix), &key, &val, err);
    for (; rc == 0; rc = kb_kv_next(cursor, &key, &val, err)) {
        struct cur_value cur;
        if (!kb_str_starts(key, prefix))
            return 0;
        if (slice_full(s)) {
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

static int put_ready(struct slice *s, struct kb_resource *resource, struct kb_index *index,
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
        struct slice s;
        int rc = slice_begin(e, &s, err);
        if (rc < 0)
            return rc;
        rc = more = build_slice(&s, index, resource->name, &from, err);
        if (rc == 0)
            rc = put_ready(&s, resource, index, err);
        if (rc >= 0)
            rc = slice_commit(&s, err);
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
static int drop_slice(struct slice *s, struct kb_err *err)
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
        rc = kb_kv_seek(cursor, bytes_of(&id, sizeof(id)), &key, &val, err);
    while (rc == 0 && key.n >= sizeof(id) && memcmp(key.p, &id, sizeof(id)) == 0) {
        if (slice_full(s))
            return 1;
        rc = kb_kv_cursor_del(cursor, err);
        s->cost += PUT_COST;
        if (rc == 0)
            rc = kb_kv_seek(cursor, bytes_of(&id, sizeof(id)), &key, &val, err);
    }
    if (rc == 0 || rc == -KB_ENOTFOUND)
        rc = kb_kv_del(s->txn, KB_KV_META, kb_str_of(name), err);
    return rc < 0 ? rc : 1;
}

static int drop_indices(struct kb_engine *e, struct kb_err *err)
{
    for (int more = 1; more > 0;) {
        struct slice s;
        int rc = slice_begin(e, &s, err);
        if (rc < 0)
            return rc;
        rc = more = drop_slice(&s, err);
        if (rc > 0)
            rc = slice_commit(&s, err);
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
static int read_steps(struct slice *s, struct kb_arena *arena, struct step **ret_steps,
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
        rc = kb_kv_seek(cursor, bytes_of(from, sizeof(from)), &key, &val, err);
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
static int value_later(struct slice *s, const struct kb_index *index, const struct step *step,
                       kb_str value, struct kb_err *err)
{
    struct cur_value cur;
    char scratch[KB_INDEX_SCRATCH_BYTES];
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
            kb_str_eq(kb_index_value(index->path, doc_val(rec.doc), scratch), value))
            return 1;
        id = rec.prev;
    }
    return 0;
}

/* Remove the entries that only the version `old`, replaced by the step, needed. */
static int forget_entries(struct slice *s, const struct step *step, const struct kb_record *old,
                          struct kb_err *err)
{
    struct kb_key parts;
    if (old->deleted || kb_key_parse(step->key, &parts, err) < 0)
        return 0;
    const struct kb_resource *resource = kb_indices_of(&s->e->db_indices, parts.resource);
    for (size_t i = 0; resource && i < resource->n; i++) {
        const struct kb_index *index = &resource->indices[i];
        char entry[KB_INDEX_ENTRY_MAX_BYTES], scratch[KB_INDEX_SCRATCH_BYTES];
        kb_str value = kb_index_value(index->path, doc_val(old->doc), scratch);
        int rc = value_later(s, index, step, value, err);
        if (rc < 0)
            return rc;
        if (rc > 0)
            continue;
        size_t n = kb_index_entry(index->id, value, parts, entry);
        rc = kb_kv_del(s->txn, KB_KV_INDEX, bytes_of(entry, n), err);
        if (rc < 0 && rc != -KB_ENOTFOUND)
            return rc;
    }
    return 0;
}

static int forget(struct slice *s, const struct step *step, struct kb_err *err)
{
    uint8_t id[KB_VID_BYTES];
    struct kb_record old;
    int rc = step->prev.rev ? read_record(s->txn, step->prev, &old, err) : -KB_ENOTFOUND;
    if (rc == 0) {
        rc = forget_entries(s, step, &old, err);
        kb_vid_put(step->prev, id);
        if (rc == 0)
            rc = kb_kv_del(s->txn, KB_KV_HIST, bytes_of(id, sizeof(id)), err);
    }
    if (rc < 0 && rc != -KB_ENOTFOUND)
        return rc;
    if (!step->deleted)
        return 0;
    struct cur_value cur;
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
    rc = kb_kv_del(s->txn, KB_KV_HIST, bytes_of(id, sizeof(id)), err);
    return rc == -KB_ENOTFOUND ? 0 : rc;
}

static int compact(struct kb_engine *e, struct kb_err *err)
{
    while (e->applied.compact_done < e->applied.compacted) {
        KB_AUTO(kb_arena_finish) struct kb_arena arena = {0};
        struct slice s;
        struct step *steps = NULL;
        size_t n = 0;
        struct kb__applied a = e->applied;
        int rc = slice_begin(e, &s, err);
        if (rc < 0)
            return rc;
        rc = read_steps(&s, &arena, &steps, &n, &a.compact_done, err);
        for (size_t i = 0; i < n && rc == 0; i++)
            rc = forget(&s, &steps[i], err);
        if (rc == 0)
            rc = kb__state_put(s.txn, e->id, &a, err);
        if (rc == 0)
            rc = slice_commit(&s, err);
        kb_kv_abort(&s.txn);
        if (rc < 0)
            return rc;
        set_applied(e, &a);
    }
    return 0;
}

int kb__apply(struct kb_engine *e, struct kb__gen *gen, struct kb_err *err)
{
    int rc = apply_changes(e, gen, err);
    if (rc == 0)
        rc = build_indices(e, err);
    if (rc == 0)
        rc = drop_indices(e, err);
    if (rc == 0)
        rc = compact(e, err);
    if (rc == -KB_ENOSPACE && kb_kv_used(e->kv) > kb_kv_map(e->kv) / 2 &&
        kb_kv_map(e->kv) < e->config.map_max_bytes)
        return KB__GROW;
    return rc;
}
