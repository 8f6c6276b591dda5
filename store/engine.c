/* engine.c - the threads, and what comes back from them.
 *
 *      stage ──> active generation + open batch                         owner's thread
 *                      │ flush
 *                      v
 *                 log: write, one fdatasync                              log thread
 *                      │ poll: durable, visible, published
 *                      v
 *      closed generation ──slices──> LMDB, chores, log segments freed    applier's thread
 *
 * WHY a log in front of LMDB: LMDB's own durable commit writes whole pages along the path to every
 * random key, and syncs twice; an appended log takes a third to a fifth of that (docs/decisions has
 * the figures). LMDB's commits stay durable all the same, so that it is never at risk; they only
 * happen elsewhere and later. Rejected: MDB_NOSYNC with a log in front (a power cut may corrupt the
 * tree, and then the log's tail does not help); an LMDB commit for each batch (13,000 creates/s at
 * 64 outstanding against 50,000).
 *
 * WHY two generations: the applier reads one that nobody changes any more while the owner fills the
 * other. A third would only hide that the disk is slower than the writers; instead writers wait
 * when the two are too large together.
 *
 * INVARIANT: what a reader may see is durable. Staged versions have revisions above durable_rev and
 * every read is at most at that. INVARIANT: a generation is closed only between batches, and
 * applied only when its last batch is durable, so undoing a failed batch never touches one that is
 * being applied. */
#include "store/engine_int.h"

#include <stdio.h>
#include <unistd.h>

enum { RETRY_MS = 1000, GROW_RETRY_MS = 100 };

void kb__engine_wake(struct kb_engine *e)
{
    uint64_t one = 1;
    if (e->event_fd >= 0 && write(e->event_fd, &one, sizeof(one)) < 0)
        return; /* it is readable already */
}

/* ---- jobs: on a thread, or within poll ---- */

static void run_log(struct kb_engine *e)
{
    struct kb_err err = {0};
    int rc = kb_log_append(e->log, e->flight.bytes.p, e->flight.bytes.n, &err);
    struct kb_log_pos end = kb_log_end(e->log);
    pthread_mutex_lock(&e->lock);
    e->log_job = KB__DONE;
    e->log_rc = rc;
    e->log_err = err;
    e->log_end = end;
    e->log_failed = kb_log_failed(e->log);
    pthread_cond_broadcast(&e->done);
    pthread_mutex_unlock(&e->lock);
}

void *kb__log_main(void *user)
{
    struct kb_engine *e = user;
    struct kb_err err = {0};
    kb_log_settle(e->log, &err); /* if it fails, the first batch tries again and says so */
    pthread_mutex_lock(&e->lock);
    for (;;) {
        while (e->log_job != KB__QUEUED && !e->stop)
            pthread_cond_wait(&e->log_wake, &e->lock);
        if (e->log_job != KB__QUEUED)
            break;
        e->log_job = KB__RUNNING;
        pthread_mutex_unlock(&e->lock);
        run_log(e);
        kb__engine_wake(e);
        pthread_mutex_lock(&e->lock);
    }
    pthread_mutex_unlock(&e->lock);
    return NULL;
}

static void run_apply(struct kb_engine *e)
{
    struct kb_err err = {0};
    int rc = kb__apply(e, e->closed, &err);
    if (rc == 0)
        kb__housekeep(e);
    pthread_mutex_lock(&e->lock);
    e->apply_job = KB__DONE;
    e->apply_rc = rc;
    e->apply_err = err;
    pthread_cond_broadcast(&e->done);
    pthread_mutex_unlock(&e->lock);
}

void *kb__apply_main(void *user)
{
    struct kb_engine *e = user;
    pthread_mutex_lock(&e->lock);
    for (;;) {
        while (e->apply_job != KB__QUEUED && !e->garbage && !e->want_housekeep && !e->stop)
            pthread_cond_wait(&e->apply_wake, &e->lock);
        if (e->stop)
            break;
        struct kb__gen *garbage = KB_STEAL(e->garbage);
        bool queued = e->apply_job == KB__QUEUED, housekeep = e->want_housekeep;
        e->want_housekeep = false;
        if (queued)
            e->apply_job = KB__RUNNING;
        pthread_mutex_unlock(&e->lock);
        kb__gen_destroy(&garbage);
        if (housekeep)
            kb__housekeep(e);
        if (queued) {
            run_apply(e);
            kb__engine_wake(e);
        }
        pthread_mutex_lock(&e->lock);
    }
    pthread_mutex_unlock(&e->lock);
    return NULL;
}

static void run_backup(struct kb_engine *e)
{
    struct kb_err err = {0};
    uint64_t bytes = 0;
    int rc = kb__backup_write(e, e->backup_file, &bytes, &err);
    pthread_mutex_lock(&e->lock);
    e->backup_job = KB__DONE;
    e->backup_rc = rc;
    e->backup_err = err;
    e->backup_bytes = bytes;
    pthread_mutex_unlock(&e->lock);
    kb__engine_wake(e);
}

static void *backup_main(void *user)
{
    run_backup(user);
    return NULL;
}

/* Does another thread of ours hold a snapshot? */
static bool reading(struct kb_engine *e)
{
    pthread_mutex_lock(&e->lock);
    bool yes = e->backup_job == KB__RUNNING || e->checking;
    pthread_mutex_unlock(&e->lock);
    return yes;
}

/* ---- generations ---- */

/* Close the active generation when nothing is staged in it, so that it can be applied. */
static bool gen_close(struct kb_engine *e)
{
    struct kb__gen *gen = e->active;
    if (e->closed || e->open.bytes.n || e->spoiled.bytes.n || e->flight.declares_n)
        return false;
    kb_str name;
    void *value;
    for (size_t i = 0; kb_map_next(&e->indices.resources, &i, &name, &value);) {
        const struct kb_resource *resource = value;
        for (size_t k = 0; k < resource->n; k++)
            if (!resource->indices[k].ready && gen->building_n < KB_COUNT(gen->building))
                gen->building[gen->building_n++] = resource->indices[k].id;
    }
    e->closed = gen;
    e->active = kb__gen_new();
    e->chores = false;
    return true;
}

static void apply_queue(struct kb_engine *e)
{
    struct kb__gen *gen = e->closed;
    if (gen == NULL || gen->last_batch > e->durable_batch || e->now_ms < e->retry_ms)
        return;
    pthread_mutex_lock(&e->lock);
    if (e->apply_job == KB__IDLE) {
        if (gen->end.segment == 0) { /* only chores */
            gen->end = e->applied.pos;
            gen->last_rev = e->applied.rev;
        }
        e->apply_job = KB__QUEUED;
        pthread_cond_signal(&e->apply_wake);
    }
    pthread_mutex_unlock(&e->lock);
}

static bool something(const struct kb__gen *gen)
{
    return gen->n || gen->side;
}

static void close_when_due(struct kb_engine *e)
{
    struct kb__gen *gen = e->active;
    bool due = gen->bytes >= e->config.checkpoint_bytes || e->backup_waits || e->chores ||
               (gen->born_ms >= 0 && e->now_ms - gen->born_ms >= e->config.checkpoint_ms);
    if ((something(gen) || e->chores) && due)
        gen_close(e);
    apply_queue(e);
}

static void mark_ready(struct kb_engine *e, const struct kb__gen *gen)
{
    kb_str name;
    void *value;
    for (size_t i = 0; kb_map_next(&e->indices.resources, &i, &name, &value);) {
        struct kb_resource *resource = value;
        for (size_t k = 0; k < resource->n; k++)
            for (size_t b = 0; b < gen->building_n; b++)
                if (resource->indices[k].id == gen->building[b])
                    resource->indices[k].ready = true;
    }
}

static void renew_snapshot(struct kb_engine *e)
{
    struct kb_err err = {0};
    if (kb_kv_renew(e->read, &err) <
        0) { /* no read can be answered: only a failed disk does this */
        e->failing = KB_EIO;
        e->failing_err = err;
    }
}

/* Larger, while no transaction is open: the applier waits for us, no backup or check runs. */
static int map_grow(struct kb_engine *e, struct kb_err *err)
{
    uint64_t map = kb_kv_map(e->kv), to = map * 2;
    if (to > e->config.map_max_bytes)
        to = e->config.map_max_bytes;
    if (to <= map)
        return kb_err_set(err, KB_ENOSPACE, "database: the map is full at its limit of %llu bytes",
                          (unsigned long long)map);
    kb_kv_reset(e->read);
    int rc = kb_kv_grow(e->kv, to, err);
    struct kb_err again = {0};
    if (kb_kv_renew(e->read, &again) < 0 && rc == 0) {
        *err = again;
        rc = -again.code;
    }
    return rc;
}

static void apply_failed(struct kb_engine *e, int rc, const struct kb_err *err)
{
    struct kb_err why = *err;
    e->retry_ms = e->now_ms + RETRY_MS;
    if (rc == KB__GROW && reading(e)) {
        e->retry_ms = e->now_ms + GROW_RETRY_MS;
        return;
    }
    if (rc == KB__GROW) {
        rc = map_grow(e, &why);
        if (rc == 0) {
            e->retry_ms = 0;
            return;
        }
    }
    kb_kv_clear_readers(e->kv);
    e->failing = -rc;
    e->failing_err = why;
}

/* Take what the applier has to say. */
static void collect_apply(struct kb_engine *e)
{
    pthread_mutex_lock(&e->lock);
    bool committed = e->slices != e->slices_seen;
    e->slices_seen = e->slices;
    bool done = e->apply_job == KB__DONE;
    int rc = e->apply_rc;
    struct kb_err err = e->apply_err;
    if (done)
        e->apply_job = KB__IDLE;
    pthread_mutex_unlock(&e->lock);
    if (committed)
        renew_snapshot(e);
    if (!done)
        return;
    if (rc < 0) {
        apply_failed(e, rc, &err);
        return;
    }
    mark_ready(e, e->closed);
    e->failing = 0;
    e->retry_ms = 0;
    struct kb__gen *gen = KB_STEAL(e->closed);
    if (!e->threads) {
        kb__gen_destroy(&gen);
        return;
    }
    pthread_mutex_lock(&e->lock);
    KB_ASSERT(e->garbage == NULL);
    e->garbage = gen;
    pthread_cond_signal(&e->apply_wake);
    pthread_mutex_unlock(&e->lock);
}

static void backup_start(struct kb_engine *e)
{
    pthread_mutex_lock(&e->lock);
    bool go = e->backup_waits && e->applied.rev >= e->backup_rev && e->apply_job == KB__IDLE;
    if (go) {
        e->backup_waits = false;
        e->backup_rev = e->applied.rev;
        e->backup_job = KB__RUNNING;
    }
    pthread_mutex_unlock(&e->lock);
    if (go && e->threads && pthread_create(&e->backup_thread, NULL, backup_main, e) == 0)
        return;
    if (go) {
        run_backup(e);
        e->backup_thread = 0;
    }
}

/* ---- flush and poll ---- */

uint64_t kb_engine_batch(const struct kb_engine *e)
{
    return e->open.bytes.n || e->flight.bytes.n == 0 ? e->open.number : e->flight.number;
}

bool kb_engine_busy(const struct kb_engine *e)
{
    return e->open.bytes.n || e->flight.bytes.n || e->spoiled.bytes.n;
}

void kb_engine_flush(struct kb_engine *e)
{
    if (e->open.bytes.n == 0 || e->flight.bytes.n || e->spoiled.bytes.n)
        return;
    struct kb__batch next = e->flight; /* its buffer is used again */
    e->flight = e->open;
    e->open = next;
    e->open.number = e->flight.number + 1;
    close_when_due(e);
    pthread_mutex_lock(&e->lock);
    KB_ASSERT(e->log_job == KB__IDLE);
    e->log_job = KB__QUEUED;
    pthread_cond_signal(&e->log_wake);
    pthread_mutex_unlock(&e->lock);
}

static void batch_durable(struct kb_engine *e)
{
    struct kb__batch *b = &e->flight;
    struct kb_err err = {0};
    e->durable_batch = b->number;
    if (b->last_rev > e->durable_rev)
        e->durable_rev = b->last_rev;
    b->gen->end = e->log_end;
    b->gen->last_rev = e->durable_rev;
    for (size_t i = 0; i < b->declares_n; i++) {
        int rc = kb_indices_apply(&e->indices, kb_doc_root(b->declares[i]), &err);
        KB_ASSERT(rc == 0); /* it was made by kb_indices_plan */
    }
    if (b->compact > e->compacted)
        e->compacted = b->compact;
    e->batches++;
    e->txns += b->txns;
}

/* What is staged behind a failed batch fails with it; it is undone first, being newer. */
static void batch_failed(struct kb_engine *e, const struct kb_err *err)
{
    uint64_t number = e->open.number;
    kb__batch_undo(e, &e->open);
    kb__batch_undo(e, &e->flight);
    if (e->open.bytes.n) {
        struct kb__batch next = e->spoiled; /* empty; its buffer is used again */
        e->spoiled = e->open;
        e->spoiled_err = *err;
        e->open = next;
        e->open.number = number + 1;
    }
}

static int take_spoiled(struct kb_engine *e, struct kb_commit *ret)
{
    if (e->spoiled.bytes.n == 0)
        return 0;
    *ret = (struct kb_commit){
        .batch = e->spoiled.number, .rc = -e->spoiled_err.code, .err = e->spoiled_err};
    kb__batch_reset(&e->spoiled);
    return 1;
}

static int take_flight(struct kb_engine *e, struct kb_commit *ret)
{
    pthread_mutex_lock(&e->lock);
    bool done = e->log_job == KB__DONE;
    int rc = e->log_rc;
    struct kb_err err = e->log_err;
    if (done)
        e->log_job = KB__IDLE;
    if (done)
        e->failed = e->log_failed;
    pthread_mutex_unlock(&e->lock);
    if (!done)
        return 0;
    struct kb__batch *b = &e->flight;
    *ret = (struct kb_commit){.batch = b->number, .rc = rc, .err = err};
    if (rc == 0) {
        batch_durable(e);
        ret->changes = b->changes;
        ret->order = b->changes ? b->gen->order + b->gen_at : NULL;
        ret->declared = b->declares_n > 0;
    } else {
        batch_failed(e, &err);
    }
    kb__batch_reset(b);
    if (e->threads && kb_log_wants(e->log)) {
        pthread_mutex_lock(&e->lock);
        e->want_housekeep = true;
        pthread_cond_signal(&e->apply_wake);
        pthread_mutex_unlock(&e->lock);
    }
    return 1;
}

int kb_engine_poll(struct kb_engine *e, struct kb_commit *ret_commit)
{
    uint64_t count;
    if (e->event_fd >= 0 && read(e->event_fd, &count, sizeof(count)) < 0)
        count = 0;
    if (take_spoiled(e, ret_commit))
        return 1;
    if (!e->threads && e->log_job == KB__QUEUED)
        run_log(e);
    if (take_flight(e, ret_commit))
        return 1;
    if (!e->threads && e->apply_job == KB__QUEUED)
        run_apply(e);
    collect_apply(e);
    backup_start(e);
    close_when_due(e);
    return 0;
}

struct kb_item kb_commit_change(const struct kb_commit *commit, size_t at)
{
    struct kb__version *const *order = commit->order;
    KB_ASSERT(at < commit->changes);
    return kb__item_of(&order[at]->rec);
}

kb_ms kb_engine_tick(struct kb_engine *e, kb_ms now_ms)
{
    e->now_ms = now_ms;
    close_when_due(e);
    if (e->closed)
        return e->retry_ms > now_ms ? e->retry_ms - now_ms : -1; /* else the applier will tell */
    if (!something(e->active))
        return -1;
    kb_ms wait = e->active->born_ms + e->config.checkpoint_ms - now_ms;
    return wait < 0 ? 0 : wait;
}

/* Wait until the applier has nothing under way; then say how it went. */
static int apply_wait(struct kb_engine *e, struct kb_err *err)
{
    while (e->closed) {
        e->retry_ms = 0;
        apply_queue(e);
        if (!e->threads) {
            KB_ASSERT(e->apply_job ==
                      KB__QUEUED); /* its last batch is durable: none is under way */
            run_apply(e);
        } else {
            pthread_mutex_lock(&e->lock);
            while (e->apply_job == KB__QUEUED || e->apply_job == KB__RUNNING)
                pthread_cond_wait(&e->done, &e->lock);
            pthread_mutex_unlock(&e->lock);
        }
        collect_apply(e);
        if (e->closed && e->failing) {
            *err = e->failing_err;
            return -e->failing;
        }
    }
    return 0;
}

int kb_engine_checkpoint(struct kb_engine *e, struct kb_err *err)
{
    if (kb_engine_busy(e))
        return kb_err_set(err, KB_EFULL, "a batch is staged or under way");
    int rc = apply_wait(e, err);
    if (rc == 0 && (e->active->n || e->active->side || e->chores) && gen_close(e))
        rc = apply_wait(e, err);
    return rc;
}

/* ---- status ---- */

const char *kb_engine_id(const struct kb_engine *e)
{
    return e->id;
}

uint64_t kb_engine_rev(const struct kb_engine *e)
{
    return e->durable_rev;
}

uint64_t kb_engine_staged_rev(const struct kb_engine *e)
{
    return e->staged_rev;
}

uint64_t kb_engine_compacted(const struct kb_engine *e)
{
    return e->compacted;
}

const struct kb_indices *kb_engine_indices(const struct kb_engine *e)
{
    return &e->indices;
}

bool kb_engine_failed(const struct kb_engine *e)
{
    return e->failed;
}

void kb_engine_trim(struct kb_engine *e)
{
    struct kb__batch *batches[] = {&e->open, &e->flight};
    for (size_t i = 0; i < KB_COUNT(batches); i++)
        if (batches[i]->bytes.n == 0)
            kb_buf_finish(&batches[i]->bytes);
    kb_kv_trim(e->kv);
}

int kb_engine_fd(const struct kb_engine *e)
{
    return e->event_fd;
}

int kb_engine_status(struct kb_engine *e, struct kb_engine_status *ret, struct kb_err *err)
{
    struct kb_kv_size size;
    int rc = kb_kv_size(e->kv, &size, err);
    if (rc < 0)
        return rc;
    *ret = (struct kb_engine_status){
        .rev = e->durable_rev,
        .compacted = e->compacted,
        .objects = size.entries[KB_KV_CUR],
        .versions = size.entries[KB_KV_HIST],
        .index_entries = size.entries[KB_KV_INDEX],
        .leases = e->leases.count,
        .db_bytes = size.used_bytes,
        .map_bytes = size.map_bytes,
        .log_bytes = kb_log_bytes(e->log),
        .memory_bytes = e->active->bytes + (e->closed ? e->closed->bytes : 0),
        .batches = e->batches,
        .txns = e->txns,
        .readers = size.readers,
        .failing = e->failing,
    };
    pthread_mutex_lock(&e->lock);
    ret->applied_rev = e->applied.rev;
    pthread_mutex_unlock(&e->lock);
    if (e->failing)
        snprintf(ret->failing_text, sizeof(ret->failing_text), "%.150s", e->failing_err.text);
    return 0;
}
