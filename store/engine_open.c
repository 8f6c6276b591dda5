/* engine_open.c - from a folder to an engine, and back.
 *
 * DIR/lock is held while the engine is open. DIR/db holds the database and the log together, so
 * that a restore changes both by one rename. Opening reads the database's state, replays the log
 * from the position that the state names, and so has in memory what the database does not. */
#include "store/engine_int.h"

#include "bus/base/file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

enum { SMALL_MAP = 64 * 1024 };

static void defaults(struct kb_engine_config *c)
{
#define OR(field, value) c->field = c->field ? c->field : (value)
    OR(io, kb_io_system());
    OR(segment_bytes, (size_t)16 << 20);
    OR(map_bytes, (size_t)1 << 30);
    OR(map_max_bytes, UINT64_C(1) << 40);
    OR(checkpoint_bytes, (size_t)32 << 20);
    OR(checkpoint_ms, 1000);
    OR(memory_bytes, (size_t)256 << 20);
    OR(slice_bytes, (size_t)4 << 20);
#undef OR
}

/* DIR/lock; DIR/db/data.mdb, DIR/db/log/. A restore that was cut off between its two renames is
 * finished. */
static int folders(struct kb_engine *e, struct kb_err *err)
{
    KB_AUTO(kb_auto_free) char *lock = kb_strf("%s/lock", e->dir);
    KB_AUTO(kb_auto_free) char *db = kb_strf("%s/db", e->dir);
    KB_AUTO(kb_auto_free) char *fresh = kb_strf("%s/db.new", e->dir);
    KB_AUTO(kb_auto_free) char *old = kb_strf("%s/db.old", e->dir);
    struct stat st;
    if (kb_dir_make(e->dir, 0700, err) < 0)
        return -err->code;
    e->lock_fd = open(lock, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (e->lock_fd < 0)
        return kb_err_sys(err, errno, "store: open %s", lock);
    if (flock(e->lock_fd, LOCK_EX | LOCK_NB) < 0)
        return kb_err_set(err, KB_EUNAVAILABLE, "store: %s is in use by another process", e->dir);
    if (stat(db, &st) < 0 && stat(old, &st) == 0 && stat(fresh, &st) == 0 && rename(fresh, db) < 0)
        return kb_err_sys(err, errno, "store: rename %s", fresh);
    e->db_path = kb_strf("%s/data.mdb", db);
    e->log_dir = kb_strf("%s/log", db);
    return kb_dir_make(e->log_dir, 0700, err);
}

static uint64_t seed_of(const struct kb_engine_config *config)
{
    struct kb_rand rand;
    kb_rand_init_system(&rand);
    return config->seed ? config->seed : kb_rand_next(&rand);
}

/* A new database: an id and the position of the first batch, committed before anything is logged.
 */
static int init_state(struct kb_engine *e, struct kb_err *err)
{
    KB_AUTO(kb_kv_abort) struct kb_kv_txn *txn = NULL;
    struct kb_rand rand;
    kb_rand_init(&rand, e->config.seed);
    kb_rand_uuid(&rand, e->id);
    e->applied = (struct kb__applied){.pos = {1, KB_LOG_PAGE_BYTES, 1}};
    int rc = kb_kv_begin(e->kv, true, &txn, err);
    if (rc == 0)
        rc = kb__state_put(txn, e->id, &e->applied, err);
    return rc < 0 ? rc : kb_kv_commit(&txn, err);
}

static int on_replay(void *user, const struct kb_log_pos *next, const void *bytes, size_t n,
                     struct kb_err *err)
{
    struct kb_engine *e = user;
    int rc = kb__replay_batch(e, kb_str_n(bytes, n), err);
    e->active->end = *next;
    e->active->last_rev = e->durable_rev;
    return rc;
}

static int open_log(struct kb_engine *e, struct kb_err *err)
{
    struct kb_log_config config = {
        .io = e->config.io,
        .dir = e->log_dir,
        .segment_bytes = e->config.segment_bytes,
        .seed = e->config.seed + 1,
    };
    uint64_t hash[2] = {kb_hash64(e->id, 18), kb_hash64(e->id + 18, 18)};
    memcpy(config.id, hash, sizeof(config.id));
    int rc = kb_log_open(&config, &e->applied.pos, on_replay, e, &e->log, err);
    if (rc == 0)
        e->log_end = kb_log_end(e->log);
    return rc;
}

static bool unready(const struct kb_indices *indices)
{
    kb_str name;
    void *value;
    for (size_t i = 0; kb_map_next(&indices->resources, &i, &name, &value);) {
        const struct kb_resource *resource = value;
        for (size_t k = 0; k < resource->n; k++)
            if (!resource->indices[k].ready)
                return true;
    }
    return false;
}

static int open_data(struct kb_engine *e, struct kb_err *err)
{
    struct stat st;
    size_t map = e->config.map_bytes;
    if (stat(e->db_path, &st) == 0 && (size_t)st.st_size > map)
        map = (size_t)st.st_size + SMALL_MAP; /* of a database that had grown */
    int rc = kb_kv_open(e->db_path, map, e->config.io, &e->kv, err);
    if (rc == 0)
        rc = kb__state_load(e, err);
    if (rc == -KB_ENOTFOUND)
        rc = init_state(e, err);
    if (rc < 0)
        return rc;
    e->staged_rev = e->durable_rev = e->applied.rev;
    e->compacted = e->applied.compacted;
    rc = kb_kv_begin(e->kv, false, &e->read, err);
    if (rc == 0)
        rc = open_log(e, err);
    if (rc < 0)
        return rc;
    e->durable_batch = kb_log_end(e->log).batch - 1;
    e->active->last_batch = e->active->n || e->active->side ? e->durable_batch : 0;
    e->open.number = e->durable_batch + 1;
    e->chores |= unready(&e->indices) || e->applied.compact_done < e->applied.compacted;
    return 0;
}

static int start_threads(struct kb_engine *e, struct kb_err *err)
{
    e->event_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    if (e->event_fd < 0)
        return kb_err_sys(err, errno, "store: eventfd");
    int rc = pthread_create(&e->log_thread, NULL, kb__log_main, e);
    if (rc != 0)
        return kb_err_sys(err, rc, "store: thread");
    rc = pthread_create(&e->apply_thread, NULL, kb__apply_main, e);
    if (rc != 0) {
        e->stop = true;
        pthread_cond_broadcast(&e->log_wake);
        pthread_join(e->log_thread, NULL);
        return kb_err_sys(err, rc, "store: thread");
    }
    e->threads = true;
    return 0;
}

int kb_engine_open(const struct kb_engine_config *config, struct kb_engine **ret_engine,
                   struct kb_err *err)
{
    KB_AUTO(kb_engine_close) struct kb_engine *e = calloc(1, sizeof(*e));
    KB_ASSERT(e != NULL);
    e->config = *config;
    defaults(&e->config);
    e->config.seed = seed_of(config);
    e->dir = kb_str_dup(kb_str_of(config->dir));
    e->lock_fd = e->event_fd = -1;
    e->active = kb__gen_new();
    e->open.first_rev = e->flight.first_rev = e->spoiled.first_rev = 1;
    pthread_mutex_init(&e->lock, NULL);
    pthread_cond_init(&e->log_wake, NULL);
    pthread_cond_init(&e->apply_wake, NULL);
    pthread_cond_init(&e->done, NULL);
    int rc = folders(e, err);
    if (rc == 0)
        rc = open_data(e, err);
    if (rc == 0 && config->threads)
        rc = start_threads(e, err);
    if (rc == 0)
        *ret_engine = KB_STEAL(e);
    return rc;
}

static void stop_threads(struct kb_engine *e)
{
    if (!e->threads)
        return;
    pthread_mutex_lock(&e->lock);
    while (e->log_job == KB__QUEUED || e->log_job == KB__RUNNING)
        pthread_cond_wait(&e->done, &e->lock);
    e->stop = true;
    pthread_cond_broadcast(&e->log_wake);
    pthread_cond_broadcast(&e->apply_wake);
    pthread_mutex_unlock(&e->lock);
    pthread_join(e->log_thread, NULL);
    pthread_join(e->apply_thread, NULL);
    if (e->backup_thread)
        pthread_join(e->backup_thread, NULL);
    if (e->check_thread)
        pthread_join(e->check_thread, NULL);
}

static void free_leases(struct kb_engine *e)
{
    kb_str name;
    void *value;
    for (size_t i = 0; kb_map_next(&e->leases, &i, &name, &value);) {
        struct kb__lease *lease = value;
        free(lease->holder);
        free(lease);
    }
    kb_map_finish(&e->leases);
}

void kb_engine_close(struct kb_engine **engine_p)
{
    struct kb_engine *e = KB_STEAL(*engine_p);
    if (e == NULL)
        return;
    stop_threads(e);
    struct kb__batch *batches[] = {&e->open, &e->flight, &e->spoiled};
    for (size_t i = 0; i < KB_COUNT(batches); i++) {
        kb__batch_reset(batches[i]);
        kb_buf_finish(&batches[i]->bytes);
    }
    kb__gen_destroy(&e->active);
    kb__gen_destroy(&e->closed);
    kb__gen_destroy(&e->garbage);
    kb__check_destroy(&e->checking);
    kb_log_close(&e->log);
    kb_kv_abort(&e->read);
    kb_kv_close(&e->kv);
    kb_indices_finish(&e->indices);
    kb_indices_finish(&e->db_indices);
    free_leases(e);
    pthread_mutex_destroy(&e->lock);
    pthread_cond_destroy(&e->log_wake);
    pthread_cond_destroy(&e->apply_wake);
    pthread_cond_destroy(&e->done);
    kb_auto_close(&e->lock_fd);
    kb_auto_close(&e->event_fd);
    free(e->backup_file);
    free(e->db_path);
    free(e->log_dir);
    free(e->dir);
    free(e);
}
