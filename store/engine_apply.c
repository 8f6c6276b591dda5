/* engine_apply.c - bringing the database up to date, on the applier's thread.
 *
 * A closed generation is written in slices, each a durable commit of its own, small enough that the
 * disk is not held up for long. Until the last slice moves the log position, a crash finds the old
 * position and replays the log over what the slices have done: every step is idempotent. Only then
 * come the chores (engine_chores.c). */
#include "store/engine_int.h"

#include <stdio.h>
#include <stdlib.h>

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

/* Begin one, when the map has room for it: KB__GROW otherwise. */
int kb__slice_begin(struct kb_engine *e, struct kb__slice *s, struct kb_err *err)
{
    uint64_t map = kb_kv_map(e->kv), room = 16 * (uint64_t)e->config.slice_bytes;
    if (room > map / 4)
        room = map / 4;
    *s = (struct kb__slice){.e = e};
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

int kb__slice_commit(struct kb__slice *s, struct kb_err *err)
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

static int put_version(struct kb__slice *s, const struct kb__version *v, struct kb_err *err)
{
    uint8_t id[KB_VID_BYTES], when[KB__TTL_KEY_BYTES];
    kb_vid_put(v->rec.id, id);
    s->cost += v->bytes.n + KB__PUT_COST;
    int rc = kb_kv_append(s->txn, KB_KV_HIST, kb__bytes(id, sizeof(id)), v->bytes, err);
    if (rc == -KB_EEXISTS) /* replayed: a slice had written it already */
        rc = kb_kv_put(s->txn, KB_KV_HIST, kb__bytes(id, sizeof(id)), v->bytes, err);
    if (rc == 0 && v->rec.prev_expires_ms) {
        kb__ttl_key(v->rec.prev_expires_ms, v->rec.prev, when);
        rc = kb_kv_del(s->txn, KB_KV_TTL, kb__bytes(when, sizeof(when)), err);
        rc = rc == -KB_ENOTFOUND ? 0 : rc;
    }
    if (rc == 0 && v->rec.expires_ms) {
        kb__ttl_key(v->rec.expires_ms, v->rec.id, when);
        rc = kb_kv_put(s->txn, KB_KV_TTL, kb__bytes(when, sizeof(when)), v->rec.key, err);
    }
    return rc;
}

static int put_cur(struct kb__slice *s, const struct kb_skip_node *node, struct kb_err *err)
{
    const struct kb__version *v = node->value;
    if (v == NULL)
        return 0;
    struct kb__cur cur = {v->rec.id.rev, v->rec.id.idx, v->rec.deleted, v->rec.expires_ms};
    s->cost += KB__PUT_COST;
    return kb_kv_put(s->txn, KB_KV_CUR, node->key, kb__bytes(&cur, sizeof(cur)), err);
}

static bool has_index(kb_val declaration, uint32_t id)
{
    for (struct kb_iter it = kb_iter(kb_val_get(declaration, "indices")); kb_iter_next(&it);)
        if (kb_val_int_at(it.val, "id", 0) == id)
            return true;
    return false;
}

/* The entries of this index are to be removed. */
static int put_drop(struct kb__slice *s, uint32_t id, struct kb_err *err)
{
    char name[32];
    snprintf(name, sizeof(name), "drop/%010u", id);
    return kb_kv_put(s->txn, KB_KV_META, kb_str_of(name), kb_str_of("-"), err);
}

/* What a declaration replaces: one before it in the generation, or what the database has. */
static int drop_replaced(struct kb__slice *s, const struct kb__gen *gen,
                         const struct kb__side *side, kb_val val, struct kb_err *err)
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
static int put_declaration(struct kb__slice *s, const struct kb__gen *gen,
                           const struct kb__side *side, kb_val val, struct kb__applied *a,
                           struct kb_err *err)
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

static int put_side(struct kb__slice *s, const struct kb__gen *gen, const struct kb__side *side,
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
static int put_rest(struct kb__slice *s, const struct kb__gen *gen, struct kb__applied *a,
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

void kb__set_applied(struct kb_engine *e, const struct kb__applied *a)
{
    pthread_mutex_lock(&e->lock);
    e->applied = *a;
    pthread_mutex_unlock(&e->lock);
}

/* Fill one slice from where the last one ended. */
static int fill(struct kb__slice *s, struct kb__gen *gen, struct kb__progress *p,
                struct kb__applied *a, struct kb_err *err)
{
    int rc = 0;
    for (; rc == 0 && !kb__slice_full(s) && p->order_at < gen->n; p->order_at += rc == 0)
        rc = put_version(s, gen->order[p->order_at], err);
    if (!p->keys_done && p->keys_at == NULL)
        p->keys_at = kb_skip_first(&gen->keys);
    while (rc == 0 && !kb__slice_full(s) && p->keys_at) {
        rc = put_cur(s, p->keys_at, err);
        p->keys_at = kb_skip_after(p->keys_at);
    }
    p->keys_done = p->keys_at == NULL;
    if (!p->index_done && p->index_at == NULL)
        p->index_at = kb_skip_first(&gen->index);
    while (rc == 0 && !kb__slice_full(s) && p->index_at) {
        if (p->index_at->value)
            rc = kb_kv_add(s->txn, KB_KV_INDEX, p->index_at->key, kb_str_of("-"), err);
        s->cost += KB__PUT_COST;
        p->index_at = kb_skip_after(p->index_at);
    }
    p->index_done = p->index_at == NULL;
    if (rc == 0 && !kb__slice_full(s) && p->order_at == gen->n && p->keys_done && p->index_done) {
        rc = put_rest(s, gen, a, err);
        p->rest_done = true;
    }
    return rc;
}

static int apply_changes(struct kb_engine *e, struct kb__gen *gen, struct kb_err *err)
{
    while (!gen->progress.rest_done) {
        struct kb__slice s;
        struct kb__progress p = gen->progress;
        struct kb__applied a = e->applied;
        int rc = kb__slice_begin(e, &s, err);
        if (rc < 0)
            return rc;
        rc = fill(&s, gen, &p, &a, err);
        if (rc == 0)
            rc = kb__slice_commit(&s, err);
        kb_kv_abort(&s.txn);
        if (rc < 0)
            return rc;
        gen->progress = p;
        if (p.rest_done) {
            declarations_done(e, gen);
            kb__set_applied(e, &a);
        }
    }
    return 0;
}

int kb__apply(struct kb_engine *e, struct kb__gen *gen, struct kb_err *err)
{
    int rc = apply_changes(e, gen, err);
    if (rc == 0)
        rc = kb__chores(e, err);
    if (rc != -KB_EFULL)
        return rc;
    if (kb_kv_map(e->kv) < e->config.map_max_bytes)
        return KB__GROW;
    return kb_err_set(err, KB_ENOSPACE, "database: the map is full at its limit of %llu bytes",
                      (unsigned long long)e->config.map_max_bytes);
}
