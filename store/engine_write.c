/* engine_write.c - staging: conditions against memory, versions into the active generation, entries
 * into the batch.
 *
 * What is staged is in the generation at once, so that the next condition sees it; readers do not,
 * for its revision is above the durable one. A batch that fails is undone from its newest version
 * back. */
#include "store/engine_int.h"

#include "bus/model/key.h"

#include <stdlib.h>

enum { BATCH_MAX_BYTES = 8 * 1024 * 1024 };

static void lease_free(struct kb__lease *lease)
{
    if (lease)
        free(lease->holder);
    free(lease);
}

/* ---- the batch ---- */

void kb__batch_reset(struct kb__batch *b)
{
    for (size_t i = 0; i < b->leases_n; i++) {
        free(b->leases[i].name);
        free(b->leases[i].before.holder);
    }
    free(b->leases);
    for (size_t i = 0; i < b->declares_n; i++)
        kb_doc_destroy(&b->declares[i]);
    free(b->declares);
    if (b->bytes.cap > BATCH_MAX_BYTES) /* one large batch shall not cost memory for ever */
        kb_buf_finish(&b->bytes);
    kb_buf_clear(&b->bytes);
    struct kb_buf keep = b->bytes;
    *b = (struct kb__batch){.bytes = keep, .first_rev = 1};
}

static struct kb__batch *batch_open(struct kb_engine *e)
{
    struct kb__batch *b = &e->open;
    if (b->bytes.n)
        return b;
    memset(kb_buf_reserve(&b->bytes, KB_LOG_HEADER_BYTES), 0, KB_LOG_HEADER_BYTES);
    b->bytes.n = KB_LOG_HEADER_BYTES;
    b->gen = e->active;
    b->gen_at = e->active->n;
    b->side_at = e->active->side_end;
    b->first_rev = e->staged_rev + 1;
    b->last_rev = e->staged_rev;
    b->gen_last_batch = e->active->last_batch;
    e->active->last_batch = b->number;
    if (e->active->born_ms < 0)
        e->active->born_ms = e->now_ms;
    return b;
}

void kb__batch_undo(struct kb_engine *e, struct kb__batch *b)
{
    if (b->bytes.n == 0)
        return;
    while (b->gen->n > b->gen_at)
        kb__gen_undo(b->gen, &e->indices);
    *b->side_at = NULL;
    b->gen->side_end = b->side_at;
    b->gen->last_batch = b->gen_last_batch;
    if (b->gen->n == 0 && b->gen->side == NULL)
        b->gen->born_ms = -1;
    for (size_t i = b->leases_n; i-- > 0;) {
        struct kb__lease_undo *undo = &b->leases[i];
        struct kb_lease before = {kb_str_of(undo->before.holder), undo->before.epoch,
                                  undo->before.ttl_ms};
        kb__lease_set(e, kb_str_of(undo->name), &before);
    }
    if (b->last_rev >= b->first_rev)
        e->staged_rev = b->first_rev - 1;
    memset(e->expire_from, 0, sizeof(e->expire_from));
}

/* May anything be staged now? `declares`: a declaration, which may follow another one. Objects wait
 * until it is durable: only then is it known which index entries they have. */
static int admit(struct kb_engine *e, bool declares, struct kb_err *err)
{
    size_t held = e->active->bytes + (e->closed ? e->closed->bytes : 0);
    if (e->failed)
        return kb_err_set(err, KB_EIO,
                          "the store's log has failed: it takes no writes until it is restarted");
    if (e->spoiled.bytes.n)
        return kb_err_set(err, KB_EFULL, "a failed batch is being undone");
    if (e->flight.declares_n || (e->open.declares_n && !declares))
        return kb_err_set(err, KB_EFULL, "a declaration is under way");
    if (e->open.bytes.n > BATCH_MAX_BYTES)
        return kb_err_set(err, KB_EFULL, "the batch is full");
    if (held < e->config.memory_bytes)
        return 0;
    if (e->failing)
        return kb_err_set(err, e->failing, "%.400s", e->failing_err.text);
    return kb_err_set(err, KB_EFULL, "the database is being brought up to date");
}

/* ---- objects ---- */

static int check_op(const struct kb_write_op *op, struct kb_err *err)
{
    struct kb_key key;
    int rc = kb_key_parse(op->key, &key, err);
    if (rc < 0)
        return rc;
    if (op->del)
        return 0;
    if (kb_val_type(op->doc) != KB_MAP)
        return kb_err_set(err, KB_EINVAL, "'" KB_STR_FMT "': the document is not a map",
                          KB_STR_ARG(op->key));
    if (kb_val_size(op->doc) > KB_OBJECT_MAX_BYTES)
        return kb_err_set(err, KB_E2BIG, "'" KB_STR_FMT "' is larger than %u bytes",
                          KB_STR_ARG(op->key), KB_OBJECT_MAX_BYTES);
    return 0;
}

static int check_uid(struct kb_engine *e, const struct kb_write_op *op, const struct kb_record *now,
                     struct kb_err *err)
{
    struct kb_record full = *now;
    if (now->doc.p == NULL) {
        int rc = kb__newest(e, op->key, true, &full, err);
        if (rc < 0)
            return rc;
    }
    const uint8_t *p = (const uint8_t *)full.doc.p;
    kb_str uid = kb_val_str_at((kb_val){p, p + full.doc.n}, "metadata.uid");
    if (kb_str_eq(uid, op->if_uid))
        return 0;
    return kb_err_set(err, KB_ECONFLICT,
                      "Precondition failed: UID in precondition: " KB_STR_FMT
                      ", UID in object meta: " KB_STR_FMT,
                      KB_STR_ARG(op->if_uid), KB_STR_ARG(uid));
}

/* *ret_now: the newest version, its id zero when there never was one. */
static int check_cond(struct kb_engine *e, const struct kb_write_op *op, struct kb_record *ret_now,
                      struct kb_err *err)
{
    int rc = kb__newest(e, op->key, false, ret_now, err);
    if (rc == -KB_ENOTFOUND)
        *ret_now = (struct kb_record){.deleted = true};
    else if (rc < 0)
        return rc;
    bool there = !ret_now->deleted;
    if (op->cond == KB_COND_ABSENT && there)
        return kb_err_set(err, KB_EEXISTS, "'" KB_STR_FMT "' already exists", KB_STR_ARG(op->key));
    if (!there && (op->del || op->cond == KB_COND_REV || op->cond == KB_COND_UID))
        return kb_err_set(err, KB_ENOTFOUND, "'" KB_STR_FMT "' not found", KB_STR_ARG(op->key));
    if (op->cond == KB_COND_REV && ret_now->id.rev != op->if_rev)
        return kb_err_set(err, KB_ECONFLICT, "'" KB_STR_FMT "' is at revision %llu, not %llu",
                          KB_STR_ARG(op->key), (unsigned long long)ret_now->id.rev,
                          (unsigned long long)op->if_rev);
    return op->cond == KB_COND_UID ? check_uid(e, op, ret_now, err) : 0;
}

static int compare_keys(const void *a, const void *b)
{
    return kb_str_cmp(*(const kb_str *)a, *(const kb_str *)b);
}

/* No key twice in one transaction: which version would come first? */
static int check_twice(const struct kb_write *write, struct kb_err *err)
{
    if (write->n < 2)
        return 0;
    KB_AUTO(kb_auto_free) kb_str *keys = calloc(write->n, sizeof(*keys));
    KB_ASSERT(keys != NULL);
    for (size_t i = 0; i < write->n; i++)
        keys[i] = write->ops[i].key;
    qsort(keys, write->n, sizeof(*keys), compare_keys);
    for (size_t i = 1; i < write->n; i++)
        if (kb_str_eq(keys[i - 1], keys[i]))
            return kb_err_set(err, KB_EINVAL, "'" KB_STR_FMT "' stands twice in the transaction",
                              KB_STR_ARG(keys[i]));
    return 0;
}

static int check_lease(const struct kb_engine *e, const struct kb_write *write, struct kb_err *err)
{
    if (write->lease.n == 0)
        return 0;
    struct kb_lease lease = kb_engine_lease(e, write->lease);
    if (lease.holder.n && lease.epoch == write->epoch)
        return 0;
    return kb_err_set(err, KB_ECONFLICT, "lease '" KB_STR_FMT "' is not held with epoch %llu",
                      KB_STR_ARG(write->lease), (unsigned long long)write->epoch);
}

static void stage_op(struct kb_engine *e, struct kb__batch *b, const struct kb_write_op *op,
                     const struct kb_record *now, struct kb_vid id)
{
    struct kb_record rec = {
        .id = id,
        .prev = now->id,
        .prev_expires_ms = now->expires_ms,
        .expires_ms = op->del ? 0 : op->expires_ms,
        .deleted = op->del,
        .prev_deleted = now->deleted,
        .key = op->key,
    };
    if (!op->del)
        rec.doc = kb_str_n((const char *)op->doc.p, kb_val_size(op->doc));
    struct kb__version *v = kb__gen_add(b->gen, &e->indices, &rec);
    b->changes++;
    kb_entry_add(&b->bytes, KB_ENTRY_VERSION, v->bytes);
}

static int write_checks(struct kb_engine *e, const struct kb_write *write, struct kb_record *now,
                        size_t *ret_failed, struct kb_err *err)
{
    int rc = check_lease(e, write, err);
    if (rc < 0)
        *ret_failed = write->n;
    if (rc == 0)
        rc = check_twice(write, err);
    for (size_t i = 0; i < write->n && rc == 0; i++) {
        *ret_failed = i;
        rc = check_op(&write->ops[i], err);
        if (rc == 0)
            rc = check_cond(e, &write->ops[i], &now[i], err);
    }
    return rc;
}

int kb_engine_write(struct kb_engine *e, const struct kb_write *write, uint64_t *ret_rev,
                    size_t *ret_failed, struct kb_err *err)
{
    enum { FEW = 8 };
    struct kb_record few[FEW], *now = few;
    KB_AUTO(kb_auto_free) struct kb_record *many = NULL;
    *ret_failed = 0;
    if (write->n == 0 || write->n > KB_TXN_MAX_OPS)
        return kb_err_set(err, KB_EINVAL, "a transaction has 1 to %u operations", KB_TXN_MAX_OPS);
    int rc = admit(e, false, err);
    if (rc < 0)
        return rc;
    if (write->n > FEW) {
        now = many = calloc(write->n, sizeof(*many));
        KB_ASSERT(many != NULL);
    }
    rc = write_checks(e, write, now, ret_failed, err);
    if (rc < 0)
        return rc;
    struct kb__batch *b = batch_open(e);
    uint64_t rev = ++e->staged_rev;
    for (size_t i = 0; i < write->n; i++)
        stage_op(e, b, &write->ops[i], &now[i], (struct kb_vid){rev, (uint32_t)i});
    b->last_rev = rev;
    b->txns++;
    *ret_rev = rev;
    return 0;
}

/* ---- expiry ---- */

/* The first entry at or behind `from` in any of the three places; an object's key through *ret_key.
 */
static int next_ttl(struct kb_engine *e, const uint8_t from[KB__TTL_KEY_BYTES],
                    uint8_t ret_when[KB__TTL_KEY_BYTES], kb_str *ret_key, struct kb_err *err)
{
    kb_str start = kb_str_n((const char *)from, KB__TTL_KEY_BYTES), best = {0}, key, val;
    struct kb__gen *gens[2] = {e->active, e->closed};
    KB_AUTO(kb_kv_cursor_end) struct kb_kv_cursor *cursor = NULL;
    int rc = kb_kv_cursor(e->read, KB_KV_TTL, &cursor, err);
    if (rc < 0)
        return rc;
    rc = kb_kv_seek(cursor, start, &key, &val, err);
    if (rc == 0 && key.n == KB__TTL_KEY_BYTES) {
        best = key;
        *ret_key = val;
    } else if (rc != -KB_ENOTFOUND) {
        return rc < 0 ? rc : kb_err_set(err, KB_EIO, "database: an entry of expiry is damaged");
    }
    for (int i = 0; i < 2; i++) {
        const struct kb_skip_node *node = gens[i] ? kb_skip_seek(&gens[i]->ttl, start) : NULL;
        while (node && node->value == NULL)
            node = kb_skip_after(node);
        if (node && (best.p == NULL || kb_str_cmp(node->key, best) < 0)) {
            best = node->key;
            *ret_key = ((const struct kb__version *)node->value)->rec.key;
        }
    }
    if (best.p == NULL)
        return -KB_ENOTFOUND;
    memcpy(ret_when, best.p, KB__TTL_KEY_BYTES);
    return 0;
}

/* The smallest key behind this one: of all those of the same length, one more. */
static void ttl_step(uint8_t when[KB__TTL_KEY_BYTES])
{
    for (int i = KB__TTL_KEY_BYTES - 1; i >= 0 && ++when[i] == 0; i--)
        ;
}

static int64_t ttl_when(const uint8_t when[KB__TTL_KEY_BYTES])
{
    struct kb_vid id;
    uint8_t shifted[KB_VID_BYTES] = {0};
    memcpy(shifted, when, 8);
    id = kb_vid_get(shifted);
    return (int64_t)id.rev;
}

int64_t kb_engine_next_expiry(struct kb_engine *e)
{
    uint8_t when[KB__TTL_KEY_BYTES];
    kb_str key;
    struct kb_err err;
    return next_ttl(e, e->expire_from, when, &key, &err) == 0 ? ttl_when(when) : 0;
}

int kb_engine_expire(struct kb_engine *e, int64_t wall_ms, size_t max, struct kb_err *err)
{
    int staged = 0;
    for (size_t i = 0; i < max; i++) {
        uint8_t when[KB__TTL_KEY_BYTES];
        kb_str key;
        struct kb_record now;
        int rc = next_ttl(e, e->expire_from, when, &key, err);
        if (rc == -KB_ENOTFOUND || (rc == 0 && ttl_when(when) > wall_ms))
            return staged;
        if (rc == 0)
            rc = kb__newest(e, key, false, &now, err);
        if (rc < 0 && rc != -KB_ENOTFOUND)
            return rc;
        if (rc == 0 && !now.deleted && kb_vid_eq(now.id, kb_vid_get(when + 8))) {
            char copy[KB_KEY_MAX_BYTES + 1];
            uint64_t rev;
            size_t failed;
            kb_str_copy(key, copy, sizeof(copy));
            struct kb_write_op op = {
                .key = kb_str_of(copy), .del = true, .cond = KB_COND_REV, .if_rev = now.id.rev};
            struct kb_write write = {.ops = &op, .n = 1};
            rc = kb_engine_write(e, &write, &rev, &failed, err);
            if (rc < 0)
                return staged ? staged : rc;
            staged++;
        }
        memcpy(e->expire_from, when, sizeof(when));
        ttl_step(e->expire_from);
    }
    return staged;
}

/* ---- leases ---- */

struct kb_lease kb_engine_lease(const struct kb_engine *e, kb_str name)
{
    const struct kb__lease *lease = kb_map_get(&e->leases, name);
    return lease ? (struct kb_lease){kb_str_of(lease->holder), lease->epoch, lease->ttl_ms}
                 : (struct kb_lease){0};
}

bool kb_engine_lease_next(const struct kb_engine *e, size_t *cursor, kb_str *ret_name,
                          struct kb_lease *ret_lease)
{
    void *value;
    if (!kb_map_next(&e->leases, cursor, ret_name, &value))
        return false;
    *ret_lease = kb_engine_lease(e, *ret_name);
    return true;
}

int kb__lease_set(struct kb_engine *e, kb_str name, const struct kb_lease *lease)
{
    if (lease->epoch == 0) {
        lease_free(kb_map_del(&e->leases, name));
        return 0;
    }
    struct kb__lease *copy = calloc(1, sizeof(*copy));
    KB_ASSERT(copy != NULL);
    copy->holder = kb_str_dup(lease->holder);
    copy->epoch = lease->epoch;
    copy->ttl_ms = lease->ttl_ms;
    lease_free(kb_map_put(&e->leases, name, copy));
    return 0;
}

static void side_entry(struct kb__batch *b, enum kb_entry_type type, struct kb_w *w)
{
    kb_str bytes = kb_buf_str(&w->buf);
    kb__gen_add_side(b->gen, type, bytes);
    kb_entry_add(&b->bytes, type, bytes);
}

int kb_engine_lease_put(struct kb_engine *e, kb_str name, const struct kb_lease *lease,
                        struct kb_err *err)
{
    KB_AUTO(kb_w_finish) struct kb_w w = {0};
    if (name.n == 0 || name.n > KB_NAME_MAX_BYTES || lease->holder.n > KB_NAME_MAX_BYTES)
        return kb_err_set(err, KB_EINVAL, "a lease has a name and a holder of up to %u bytes",
                          KB_NAME_MAX_BYTES);
    int rc = admit(e, false, err);
    if (rc < 0)
        return rc;
    struct kb__batch *b = batch_open(e);
    const struct kb__lease *before = kb_map_get(&e->leases, name);
    b->leases = realloc(b->leases, (b->leases_n + 1) * sizeof(*b->leases));
    KB_ASSERT(b->leases != NULL);
    struct kb__lease_undo *undo = &b->leases[b->leases_n++];
    *undo = (struct kb__lease_undo){.name = kb_str_dup(name)};
    if (before) {
        undo->before = *before;
        undo->before.holder = kb_str_dup(kb_str_of(before->holder));
    }
    kb_w_map(&w);
    kb_w_kstr(&w, "name", name);
    kb_w_kstr(&w, "holder", lease->holder);
    kb_w_kint(&w, "epoch", (int64_t)lease->epoch);
    kb_w_kint(&w, "ttl", lease->ttl_ms);
    kb_w_end(&w);
    side_entry(b, KB_ENTRY_LEASE, &w);
    return kb__lease_set(e, name, lease);
}

/* ---- declarations and compaction ---- */

int kb_engine_declare(struct kb_engine *e, kb_str resource, kb_val list, struct kb_err *err)
{
    KB_AUTO(kb_w_finish) struct kb_w w = {0};
    bool same = false;
    int rc = kb_indices_same(&e->indices, resource, list, &same, err);
    if (rc < 0 || same)
        return rc;
    rc = admit(e, true, err);
    if (rc < 0)
        return rc;
    struct kb__batch *b = batch_open(e);
    kb_indices_plan(&e->indices, resource, list, &w);
    side_entry(b, KB_ENTRY_DECLARE, &w);
    b->declares = realloc(b->declares, (b->declares_n + 1) * sizeof(struct kb_doc *));
    KB_ASSERT(b->declares != NULL);
    b->declares[b->declares_n++] = kb_w_doc(&w);
    return 1;
}

int kb_engine_compact(struct kb_engine *e, uint64_t rev, struct kb_err *err)
{
    KB_AUTO(kb_w_finish) struct kb_w w = {0};
    if (rev > e->durable_rev)
        rev = e->durable_rev;
    if (rev <= e->compacted || rev <= e->open.compact || rev <= e->flight.compact)
        return 0;
    int rc = admit(e, false, err);
    if (rc < 0)
        return rc;
    struct kb__batch *b = batch_open(e);
    kb_w_map(&w);
    kb_w_kint(&w, "rev", (int64_t)rev);
    kb_w_end(&w);
    side_entry(b, KB_ENTRY_COMPACT, &w);
    b->compact = rev;
    return 1;
}

/* ---- replay ---- */

static int replay_side(struct kb_engine *e, enum kb_entry_type type, kb_str bytes,
                       struct kb_err *err)
{
    kb_val val;
    int rc = kb_val_check(bytes.p, bytes.n, &val, err);
    if (rc < 0)
        return kb_err_set(err, KB_EIO, "log: an entry is malformed");
    kb__gen_add_side(e->active, type, bytes);
    switch (type) {
    case KB_ENTRY_LEASE: {
        struct kb_lease lease = {kb_val_str_at(val, "holder"),
                                 (uint64_t)kb_val_int_at(val, "epoch", 0),
                                 kb_val_int_at(val, "ttl", 0)};
        return kb__lease_set(e, kb_val_str_at(val, "name"), &lease);
    }
    case KB_ENTRY_DECLARE:
        return kb_indices_apply(&e->indices, val, err);
    case KB_ENTRY_COMPACT: {
        uint64_t rev = (uint64_t)kb_val_int_at(val, "rev", 0);
        if (rev > e->compacted)
            e->compacted = rev;
        return 0;
    }
    default:
        return kb_err_set(err, KB_EIO, "log: an entry is of an unknown type");
    }
}

int kb__replay_batch(struct kb_engine *e, kb_str entries, struct kb_err *err)
{
    enum kb_entry_type type;
    kb_str bytes;
    int rc;
    if (e->active->born_ms < 0)
        e->active->born_ms = 0;
    while ((rc = kb_entry_next(&entries, &type, &bytes, err)) > 0) {
        struct kb_record rec;
        if (type != KB_ENTRY_VERSION) {
            rc = replay_side(e, type, bytes, err);
            if (rc < 0)
                return rc;
            continue;
        }
        rc = kb_record_decode(bytes, &rec, err);
        if (rc < 0)
            return rc;
        if (rec.id.rev < e->staged_rev)
            return kb_err_set(err, KB_EIO, "log: revision %llu comes after %llu",
                              (unsigned long long)rec.id.rev, (unsigned long long)e->staged_rev);
        kb__gen_add(e->active, &e->indices, &rec);
        e->staged_rev = rec.id.rev;
    }
    e->durable_rev = e->staged_rev;
    return rc;
}
