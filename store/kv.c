/* kv.c - LMDB, and nothing else of the program's knows it.
 *
 * WHY a layer: a version of the library, its flags, its error codes and its way with cursors are
 * facts about LMDB and not about the store; and a test can fail a commit here, which it cannot
 * inside of the library.
 *
 * FLAGS: no MDB_NOSYNC, no MDB_WRITEMAP (measured slower with full durability, and a stray pointer
 * would write into the database). MDB_NOTLS, because read transactions here belong to objects and
 * not to threads. MDB_NORDAHEAD, because access is random once the database is larger than memory.
 * MDB_NOMEMINIT is left out: what lies unused in a page must not be what was in our heap. */
#include "store/kv.h"

#include "bus/base/check.h"

#include <errno.h>
#include <inttypes.h>
#include <limits.h>
#include <lmdb.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/statvfs.h>

enum { MAX_READERS = 126, DB_MODE = 0600, FULL_BYTES = 64 * 1024 };

static const char *const table_names[KB_KV_TABLES] = {
    [KB_KV_META] = "meta",   [KB_KV_CUR] = "cur", [KB_KV_HIST] = "hist",
    [KB_KV_INDEX] = "index", [KB_KV_TTL] = "ttl", [KB_KV_LEASE] = "lease",
};

struct kb_kv {
    MDB_env *env;
    MDB_dbi dbi[KB_KV_TABLES];
    const struct kb_io *io;
};

struct kb_kv_txn {
    struct kb_kv *kv;
    MDB_txn *txn;
    bool write;
    bool idle; /* a read transaction that was reset */
};

struct kb_kv_cursor {
    MDB_cursor *cursor;
    struct kb_kv_txn *txn;
    bool deleted; /* the entry under it was: it already stands at the next */
};

static MDB_val to_val(kb_str s)
{
    return (MDB_val){s.n, (void *)(uintptr_t)s.p};
}

static kb_str from_val(MDB_val v)
{
    return kb_str_n(v.mv_data, v.mv_size);
}

static int fail(struct kb_err *err, int rc, const char *what)
{
    int code = rc == ENOSPC || rc == EDQUOT ? KB_ENOSPACE : KB_EIO;
    if (rc == MDB_MAP_FULL)
        return kb_err_set(err, KB_EFULL, "database: the map is full");
    return kb_err_set(err, code, "database: %s: %s", what, mdb_strerror(rc));
}

static int injected(struct kb_kv *kv, const char *what, struct kb_err *err)
{
    int rc = kv->io && kv->io->database ? kv->io->database(kv->io, what) : 0;
    return rc == 0 ? 0 : fail(err, -rc, what);
}

static int open_tables(struct kb_kv *kv, struct kb_err *err)
{
    MDB_txn *txn;
    int rc = mdb_txn_begin(kv->env, NULL, 0, &txn);
    if (rc != 0)
        return fail(err, rc, "begin");
    for (int i = 0; i < KB_KV_TABLES && rc == 0; i++)
        rc = mdb_dbi_open(txn, table_names[i], MDB_CREATE, &kv->dbi[i]);
    if (rc != 0) {
        mdb_txn_abort(txn);
        return fail(err, rc, "open tables");
    }
    rc = mdb_txn_commit(txn);
    return rc == 0 ? 0 : fail(err, rc, "commit");
}

/* A file that was cut short would be read behind its end: a SIGBUS. Refuse it. */
static int check_length(struct kb_kv *kv, const char *path, struct kb_err *err)
{
    struct stat st;
    if (stat(path, &st) < 0)
        return kb_err_sys(err, errno, "database: %s", path);
    MDB_envinfo info;
    MDB_stat stats;
    if (mdb_env_info(kv->env, &info) != 0 || mdb_env_stat(kv->env, &stats) != 0)
        return kb_err_set(err, KB_EIO, "database: %s cannot be read", path);
    /* A new file has two pages and no more; info.me_last_pgno counts from 0. */
    uint64_t need = ((uint64_t)info.me_last_pgno + 1) * stats.ms_psize;
    if ((uint64_t)st.st_size < need)
        return kb_err_set(err, KB_EIO,
                          "database: %s has %lld bytes and should have %llu: it was cut short. "
                          "Restore a backup",
                          path, (long long)st.st_size, (unsigned long long)need);
    return 0;
}

int kb_kv_open(const char *path, size_t map_bytes, const struct kb_io *io, struct kb_kv **ret_kv,
               struct kb_err *err)
{
    KB_AUTO(kb_kv_close) struct kb_kv *kv = calloc(1, sizeof(*kv));
    KB_ASSERT(kv != NULL);
    kv->io = io;
    int rc = mdb_env_create(&kv->env);
    if (rc != 0)
        return fail(err, rc, "create");
    mdb_env_set_maxdbs(kv->env, KB_KV_TABLES);
    mdb_env_set_maxreaders(kv->env, MAX_READERS);
    mdb_env_set_mapsize(kv->env, map_bytes);
    rc = mdb_env_open(kv->env, path, MDB_NOSUBDIR | MDB_NOTLS | MDB_NORDAHEAD, DB_MODE);
    if (rc != 0)
        return fail(err, rc, path);
    kb_kv_clear_readers(kv);
    if (check_length(kv, path, err) < 0)
        return -err->code;
    if (open_tables(kv, err) < 0)
        return kb_err_wrap(err, "%s", path);
    *ret_kv = KB_STEAL(kv);
    return 0;
}

void kb_kv_close(struct kb_kv **kv_p)
{
    if (*kv_p == NULL)
        return;
    if ((*kv_p)->env)
        mdb_env_close((*kv_p)->env);
    free(*kv_p);
    *kv_p = NULL;
}

/* ---- size ---- */

uint64_t kb_kv_used(struct kb_kv *kv)
{
    MDB_envinfo info;
    MDB_stat stat;
    if (mdb_env_info(kv->env, &info) != 0 || mdb_env_stat(kv->env, &stat) != 0)
        return 0;
    return ((uint64_t)info.me_last_pgno + 1) * stat.ms_psize;
}

uint64_t kb_kv_map(struct kb_kv *kv)
{
    MDB_envinfo info;
    return mdb_env_info(kv->env, &info) == 0 ? info.me_mapsize : 0;
}

int kb_kv_size(struct kb_kv *kv, struct kb_kv_size *ret_size, struct kb_err *err)
{
    struct kb_kv_size size = {.map_bytes = kb_kv_map(kv), .used_bytes = kb_kv_used(kv)};
    KB_AUTO(kb_kv_abort) struct kb_kv_txn *txn = NULL;
    MDB_envinfo info;
    if (mdb_env_info(kv->env, &info) == 0)
        size.readers = info.me_numreaders;
    if (kb_kv_begin(kv, false, &txn, err) < 0)
        return -err->code;
    for (int i = 0; i < KB_KV_TABLES; i++) {
        MDB_stat stat;
        int rc = mdb_stat(txn->txn, kv->dbi[i], &stat);
        if (rc != 0)
            return fail(err, rc, "stat");
        size.entries[i] = stat.ms_entries;
    }
    *ret_size = size;
    return 0;
}

int kb_kv_grow(struct kb_kv *kv, uint64_t bytes, struct kb_err *err)
{
    int rc = mdb_env_set_mapsize(kv->env, bytes);
    return rc == 0 ? 0 : fail(err, rc, "grow the map");
}

/* LMDB does not tell where its map is: look it up by the file. */
void kb_kv_trim(struct kb_kv *kv)
{
    const char *path = NULL;
    char line[PATH_MAX + 128];
    FILE *maps = fopen("/proc/self/maps", "re");
    if (maps == NULL || mdb_env_get_path(kv->env, &path) != 0)
        path = NULL;
    while (path && fgets(line, sizeof(line), maps)) {
        uintptr_t from, to;
        line[strcspn(line, "\n")] = '\0';
        if (kb_str_ends(kb_str_of(line), path) &&
            sscanf(line, "%" SCNxPTR "-%" SCNxPTR, &from, &to) == 2)
            madvise((void *)from, to - from, MADV_DONTNEED); /* shared: nothing is lost */
    }
    if (maps)
        fclose(maps);
}

int kb_kv_clear_readers(struct kb_kv *kv)
{
    int dead = 0;
    return mdb_reader_check(kv->env, &dead) == 0 ? dead : 0;
}

/* ---- transactions ---- */

int kb_kv_begin(struct kb_kv *kv, bool write, struct kb_kv_txn **ret_txn, struct kb_err *err)
{
    struct kb_kv_txn *txn = calloc(1, sizeof(*txn));
    KB_ASSERT(txn != NULL);
    int rc = mdb_txn_begin(kv->env, NULL, write ? 0 : MDB_RDONLY, &txn->txn);
    if (rc != 0) {
        free(txn);
        return fail(err, rc, "begin");
    }
    txn->kv = kv;
    txn->write = write;
    *ret_txn = txn;
    return 0;
}

void kb_kv_reset(struct kb_kv_txn *txn)
{
    KB_ASSERT(!txn->write);
    if (!txn->idle)
        mdb_txn_reset(txn->txn);
    txn->idle = true;
}

int kb_kv_renew(struct kb_kv_txn *txn, struct kb_err *err)
{
    kb_kv_reset(txn);
    int rc = mdb_txn_renew(txn->txn);
    txn->idle = rc != 0;
    return rc == 0 ? 0 : fail(err, rc, "renew");
}

/* LMDB calls a write that was cut short an I/O error: on a full disk it is none. */
static bool disk_is_full(struct kb_kv *kv)
{
    const char *path;
    struct statvfs fs;
    return mdb_env_get_path(kv->env, &path) == 0 && statvfs(path, &fs) == 0 &&
           (uint64_t)fs.f_bavail * fs.f_frsize < FULL_BYTES;
}

int kb_kv_commit(struct kb_kv_txn **txn_p, struct kb_err *err)
{
    struct kb_kv_txn *txn = KB_STEAL(*txn_p);
    int rc = injected(txn->kv, "commit", err);
    if (rc < 0) {
        mdb_txn_abort(txn->txn);
    } else {
        rc = mdb_txn_commit(txn->txn);
        if (rc == EIO && disk_is_full(txn->kv))
            rc = ENOSPC;
        rc = rc == 0 ? 0 : fail(err, rc, "commit");
    }
    free(txn);
    return rc;
}

void kb_kv_abort(struct kb_kv_txn **txn_p)
{
    struct kb_kv_txn *txn = KB_STEAL(*txn_p);
    if (txn == NULL)
        return;
    mdb_txn_abort(txn->txn);
    free(txn);
}

int kb_kv_get(struct kb_kv_txn *txn, enum kb_kv_table table, kb_str key, kb_str *ret_val,
              struct kb_err *err)
{
    MDB_val k = to_val(key), v;
    int rc = mdb_get(txn->txn, txn->kv->dbi[table], &k, &v);
    if (rc == MDB_NOTFOUND)
        return -KB_ENOTFOUND;
    if (rc != 0)
        return fail(err, rc, "get");
    *ret_val = from_val(v);
    return 0;
}

static int put(struct kb_kv_txn *txn, enum kb_kv_table table, kb_str key, kb_str val,
               unsigned flags, struct kb_err *err)
{
    MDB_val k = to_val(key), v = to_val(val);
    if (injected(txn->kv, "put", err) < 0)
        return -err->code;
    int rc = mdb_put(txn->txn, txn->kv->dbi[table], &k, &v, flags);
    if (rc == MDB_KEYEXIST)
        return -KB_EEXISTS;
    return rc == 0 ? 0 : fail(err, rc, "put");
}

int kb_kv_put(struct kb_kv_txn *txn, enum kb_kv_table table, kb_str key, kb_str val,
              struct kb_err *err)
{
    return put(txn, table, key, val, 0, err);
}

int kb_kv_append(struct kb_kv_txn *txn, enum kb_kv_table table, kb_str key, kb_str val,
                 struct kb_err *err)
{
    return put(txn, table, key, val, MDB_APPEND, err);
}

int kb_kv_add(struct kb_kv_txn *txn, enum kb_kv_table table, kb_str key, kb_str val,
              struct kb_err *err)
{
    int rc = put(txn, table, key, val, MDB_NOOVERWRITE, err);
    return rc == -KB_EEXISTS ? 0 : rc;
}

int kb_kv_del(struct kb_kv_txn *txn, enum kb_kv_table table, kb_str key, struct kb_err *err)
{
    MDB_val k = to_val(key);
    if (injected(txn->kv, "put", err) < 0)
        return -err->code;
    int rc = mdb_del(txn->txn, txn->kv->dbi[table], &k, NULL);
    if (rc == MDB_NOTFOUND)
        return -KB_ENOTFOUND;
    return rc == 0 ? 0 : fail(err, rc, "delete");
}

/* ---- cursors ---- */

int kb_kv_cursor(struct kb_kv_txn *txn, enum kb_kv_table table, struct kb_kv_cursor **ret_cursor,
                 struct kb_err *err)
{
    struct kb_kv_cursor *cursor = calloc(1, sizeof(*cursor));
    KB_ASSERT(cursor != NULL);
    int rc = mdb_cursor_open(txn->txn, txn->kv->dbi[table], &cursor->cursor);
    if (rc != 0) {
        free(cursor);
        return fail(err, rc, "cursor");
    }
    cursor->txn = txn;
    *ret_cursor = cursor;
    return 0;
}

void kb_kv_cursor_end(struct kb_kv_cursor **cursor_p)
{
    struct kb_kv_cursor *cursor = KB_STEAL(*cursor_p);
    if (cursor == NULL)
        return;
    mdb_cursor_close(cursor->cursor);
    free(cursor);
}

static int move(struct kb_kv_cursor *cursor, kb_str key, MDB_cursor_op op, kb_str *ret_key,
                kb_str *ret_val, struct kb_err *err)
{
    MDB_val k = to_val(key), v;
    int rc = mdb_cursor_get(cursor->cursor, &k, &v, op);
    cursor->deleted = false;
    if (rc == MDB_NOTFOUND || (rc == EINVAL && op == MDB_GET_CURRENT))
        return -KB_ENOTFOUND;
    if (rc != 0)
        return fail(err, rc, "cursor");
    *ret_key = from_val(k);
    *ret_val = from_val(v);
    return 0;
}

int kb_kv_seek(struct kb_kv_cursor *cursor, kb_str key, kb_str *ret_key, kb_str *ret_val,
               struct kb_err *err)
{
    MDB_cursor_op op = key.n == 0 ? MDB_FIRST : MDB_SET_RANGE; /* LMDB refuses an empty key */
    return move(cursor, key, op, ret_key, ret_val, err);
}

int kb_kv_next(struct kb_kv_cursor *cursor, kb_str *ret_key, kb_str *ret_val, struct kb_err *err)
{
    kb_str none = {0};
    /* After a delete LMDB's MDB_NEXT goes to the entry that took the place: no skip. */
    return move(cursor, none, MDB_NEXT, ret_key, ret_val, err);
}

int kb_kv_cursor_del(struct kb_kv_cursor *cursor, struct kb_err *err)
{
    if (injected(cursor->txn->kv, "put", err) < 0)
        return -err->code;
    int rc = mdb_cursor_del(cursor->cursor, 0);
    cursor->deleted = true;
    return rc == 0 ? 0 : fail(err, rc, "delete");
}

/* ---- whole ---- */

int kb_kv_copy(struct kb_kv *kv, int fd, struct kb_err *err)
{
    int rc = mdb_env_copyfd2(kv->env, fd, MDB_CP_COMPACT);
    return rc == 0 ? 0 : fail(err, rc, "copy");
}

int kb_kv_verify(struct kb_kv *kv, struct kb_err *err)
{
    KB_AUTO(kb_kv_abort) struct kb_kv_txn *txn = NULL;
    if (kb_kv_begin(kv, false, &txn, err) < 0)
        return -err->code;
    for (int i = 0; i < KB_KV_TABLES; i++) {
        KB_AUTO(kb_kv_cursor_end) struct kb_kv_cursor *cursor = NULL;
        kb_str key, val, none = {0};
        MDB_stat stat;
        size_t entries = 0;
        int rc = mdb_stat(txn->txn, kv->dbi[i], &stat);
        if (rc != 0)
            return fail(err, rc, table_names[i]);
        if (kb_kv_cursor(txn, (enum kb_kv_table)i, &cursor, err) < 0)
            return -err->code;
        for (rc = kb_kv_seek(cursor, none, &key, &val, err); rc == 0;
             rc = kb_kv_next(cursor, &key, &val, err))
            entries++;
        if (rc != -KB_ENOTFOUND)
            return kb_err_wrap(err, "table %s", table_names[i]);
        if (entries != stat.ms_entries)
            return kb_err_set(err, KB_EIO, "database: table %s has %zu entries, should have %zu",
                              table_names[i], entries, stat.ms_entries);
    }
    return 0;
}
