/* engine_backup.c - a copy of the database while it runs, and its way back.
 *
 * The file is LMDB's compact copy of the newest snapshot with a trailer behind it: how long it is,
 * which revision, and a CRC32C over all before. A restored database is a new one, with a new id:
 * who followed the former sees that and lists again.
 *
 * A restore builds the new database beside the present one and puts it in its place with two
 * renames; what a crash between them leaves is finished at the next start (folders() in engine.c).
 */
#include "store/engine_int.h"

#include "bus/base/file.h"
#include "store/crc32c.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#define TRAILER_MAGIC UINT64_C(0x314b4142534b554b) /* "KUKSBAK1" */

struct trailer {
    uint64_t magic, bytes, rev;
    uint32_t crc, crc_trailer; /* of the copy; of what stands before it here */
};

enum { CHUNK = 1024 * 1024 };

/* CRC of the first `bytes` of a file, optionally copying them to `to`. */
static int digest(int fd, uint64_t bytes, int to, uint32_t *ret_crc, struct kb_err *err)
{
    KB_AUTO(kb_auto_free) char *chunk = malloc(CHUNK);
    uint32_t crc = 0;
    KB_ASSERT(chunk != NULL);
    for (uint64_t at = 0; at < bytes;) {
        size_t want = bytes - at < CHUNK ? (size_t)(bytes - at) : CHUNK;
        ssize_t got = pread(fd, chunk, want, (off_t)at);
        if (got <= 0)
            return got < 0 ? kb_err_sys(err, errno, "backup: read")
                           : kb_err_set(err, KB_EIO, "backup: the file is cut short");
        crc = kb_crc32c(crc, chunk, (size_t)got);
        for (ssize_t put = 0; to >= 0 && put < got;) {
            ssize_t n = pwrite(to, chunk + put, (size_t)(got - put), (off_t)at + put);
            if (n < 0)
                return kb_err_sys(err, errno, "backup: write");
            put += n;
        }
        at += (uint64_t)got;
    }
    *ret_crc = crc;
    return 0;
}

static int write_trailer(int fd, uint64_t rev, uint64_t *ret_bytes, struct kb_err *err)
{
    struct stat st;
    struct trailer t = {.magic = TRAILER_MAGIC, .rev = rev};
    if (fstat(fd, &st) < 0)
        return kb_err_sys(err, errno, "backup: stat");
    t.bytes = (uint64_t)st.st_size;
    int rc = digest(fd, t.bytes, -1, &t.crc, err);
    if (rc < 0)
        return rc;
    t.crc_trailer = kb_crc32c(0, &t, offsetof(struct trailer, crc_trailer));
    if (pwrite(fd, &t, sizeof(t), st.st_size) != (ssize_t)sizeof(t) || fsync(fd) < 0)
        return kb_err_sys(err, errno ? errno : ENOSPC, "backup: write");
    *ret_bytes = t.bytes + sizeof(t);
    return 0;
}

int kb__backup_write(struct kb_engine *e, const char *file, uint64_t *ret_bytes, struct kb_err *err)
{
    KB_AUTO(kb_auto_free) char *part = kb_strf("%s.part", file);
    KB_AUTO(kb_auto_close)
    int fd = open(part, O_RDWR | O_CREAT | O_TRUNC | O_NOFOLLOW | O_CLOEXEC, 0600);
    if (fd < 0)
        return kb_err_sys(err, errno, "backup: %s", part);
    int rc = kb_kv_copy(e->kv, fd, err);
    if (rc == 0)
        rc = write_trailer(fd, e->backup_rev, ret_bytes, err);
    if (rc == 0 && rename(part, file) < 0)
        rc = kb_err_sys(err, errno, "backup: %s", file);
    if (rc < 0) {
        unlink(part);
        return rc;
    }
    *strrchr(part, '/') = '\0'; /* the file's name is as durable as its bytes */
    int failed = kb_io_system()->sync_dir(kb_io_system(), *part ? part : "/");
    return failed < 0 ? kb_err_sys(err, -failed, "backup: sync %s", part) : 0;
}

/* Is it one of the store's own files, which a backup must not replace? */
static bool is_ours(const struct kb_engine *e, const char *file)
{
    KB_AUTO(kb_auto_free) char *folder = kb_strf("%.*s/", (int)(strrchr(file, '/') - file), file);
    KB_AUTO(kb_auto_free) char *db = kb_strf("%s/db", e->dir);
    KB_AUTO(kb_auto_free) char *where = realpath(folder, NULL);
    KB_AUTO(kb_auto_free) char *dir = realpath(e->dir, NULL);
    KB_AUTO(kb_auto_free) char *ours = realpath(db, NULL);
    size_t n = ours ? strlen(ours) : 0;
    if (where == NULL || ours == NULL)
        return false;
    if (strncmp(where, ours, n) == 0 && (where[n] == '/' || where[n] == '\0'))
        return true;
    return dir && strcmp(where, dir) == 0 && strcmp(strrchr(file, '/'), "/lock") == 0;
}

int kb_engine_backup(struct kb_engine *e, const char *file, struct kb_err *err)
{
    pthread_mutex_lock(&e->lock);
    bool busy = e->backup_job != KB__IDLE;
    pthread_mutex_unlock(&e->lock);
    if (busy)
        return kb_err_set(err, KB_EFULL, "a backup is being made");
    if (file[0] != '/')
        return kb_err_set(err, KB_EINVAL, "backup: '%s' is not an absolute path", file);
    if (is_ours(e, file))
        return kb_err_set(err, KB_EINVAL, "backup: '%s' is a file of the store's own", file);
    free(e->backup_file);
    e->backup_file = kb_str_dup(kb_str_of(file));
    e->backup_rev = e->durable_rev;
    e->backup_job = KB__QUEUED;
    e->backup_waits = true;
    kb__engine_wake(e); /* the next poll begins */
    return 0;
}

int kb_engine_backup_done(struct kb_engine *e, int *ret_rc, uint64_t *ret_rev, uint64_t *ret_bytes,
                          struct kb_err *ret_err)
{
    pthread_mutex_lock(&e->lock);
    bool done = e->backup_job == KB__DONE;
    if (done)
        e->backup_job = KB__IDLE;
    pthread_mutex_unlock(&e->lock);
    if (!done)
        return 0;
    if (e->backup_thread)
        pthread_join(e->backup_thread, NULL);
    e->backup_thread = 0;
    *ret_rc = e->backup_rc;
    *ret_rev = e->backup_rev;
    *ret_bytes = e->backup_bytes;
    *ret_err = e->backup_err;
    return 1;
}

/* ---- restore ---- */

static int read_trailer(int fd, const char *file, struct trailer *ret, struct kb_err *err)
{
    struct stat st;
    struct trailer t;
    if (fstat(fd, &st) < 0)
        return kb_err_sys(err, errno, "restore: %s", file);
    off_t at = st.st_size - (off_t)sizeof(t);
    if (at < 0 || pread(fd, &t, sizeof(t), at) != (ssize_t)sizeof(t) || t.magic != TRAILER_MAGIC ||
        t.bytes != (uint64_t)at ||
        t.crc_trailer != kb_crc32c(0, &t, offsetof(struct trailer, crc_trailer)))
        return kb_err_set(err, KB_EIO, "restore: %s is no backup, or is cut short", file);
    *ret = t;
    return 0;
}

/* A new id, and a log that begins behind everything that the former one may have had. */
static int make_new(const char *path, struct kb_err *err)
{
    KB_AUTO(kb_engine_close) struct kb_engine *e = calloc(1, sizeof(*e));
    KB_AUTO(kb_kv_abort) struct kb_kv_txn *txn = NULL;
    struct kb_rand rand;
    struct stat st;
    KB_ASSERT(e != NULL);
    pthread_mutex_init(&e->lock, NULL);
    pthread_cond_init(&e->log_wake, NULL);
    pthread_cond_init(&e->apply_wake, NULL);
    pthread_cond_init(&e->done, NULL);
    e->lock_fd = e->event_fd = -1;
    if (stat(path, &st) < 0)
        return kb_err_sys(err, errno, "restore: %s", path);
    int rc = kb_kv_open(path, (size_t)st.st_size + ((size_t)64 << 20), NULL, &e->kv, err);
    if (rc == 0)
        rc = kb_kv_verify(e->kv, err);
    if (rc == 0)
        rc = kb__state_load(e, err);
    if (rc < 0)
        return rc;
    kb_rand_init_system(&rand);
    kb_rand_uuid(&rand, e->id);
    e->applied.pos.segment++;
    e->applied.pos.offset = KB_LOG_PAGE_BYTES;
    rc = kb_kv_begin(e->kv, true, &txn, err);
    if (rc == 0)
        rc = kb__state_put(txn, e->id, &e->applied, err);
    return rc < 0 ? rc : kb_kv_commit(&txn, err);
}

static int build_new(const char *fresh, const char *file, struct kb_err *err)
{
    KB_AUTO(kb_auto_free) char *path = kb_strf("%s/data.mdb", fresh);
    KB_AUTO(kb_auto_free) char *log = kb_strf("%s/log", fresh);
    struct trailer t = {0};
    uint32_t crc = 0;
    KB_AUTO(kb_auto_close) int from = open(file, O_RDONLY | O_CLOEXEC);
    if (from < 0)
        return kb_err_sys(err, errno, "restore: %s", file);
    int rc = read_trailer(from, file, &t, err);
    if (rc == 0 && (rc = kb_dir_remove(fresh, err)) == 0)
        rc = kb_dir_make(log, 0700, err);
    if (rc < 0)
        return rc;
    KB_AUTO(kb_auto_close) int to = open(path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    if (to < 0)
        return kb_err_sys(err, errno, "restore: %s", path);
    rc = digest(from, t.bytes, to, &crc, err);
    if (rc < 0)
        return rc;
    if (crc != t.crc)
        return kb_err_set(err, KB_EIO, "restore: %s is damaged", file);
    if (fsync(to) < 0)
        return kb_err_sys(err, errno, "restore: %s", path);
    return make_new(path, err);
}

static int sync_dir(const char *dir, struct kb_err *err)
{
    int rc = kb_io_system()->sync_dir(kb_io_system(), dir);
    return rc < 0 ? kb_err_sys(err, -rc, "restore: sync %s", dir) : 0;
}

int kb_engine_restore(const char *dir, const char *file, struct kb_err *err)
{
    KB_AUTO(kb_auto_free) char *lock = kb_strf("%s/lock", dir);
    KB_AUTO(kb_auto_free) char *db = kb_strf("%s/db", dir);
    KB_AUTO(kb_auto_free) char *fresh = kb_strf("%s/db.new", dir);
    KB_AUTO(kb_auto_free) char *old = kb_strf("%s/db.old", dir);
    int rc = kb_dir_make(dir, 0700, err);
    if (rc < 0)
        return rc;
    KB_AUTO(kb_auto_close) int lock_fd = open(lock, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (lock_fd < 0)
        return kb_err_sys(err, errno, "restore: %s", lock);
    if (flock(lock_fd, LOCK_EX | LOCK_NB) < 0)
        return kb_err_set(err, KB_EUNAVAILABLE, "restore: a store is running in %s: stop it first",
                          dir);
    rc = build_new(fresh, file, err);
    if (rc == 0)
        rc = sync_dir(fresh, err);
    if (rc == 0)
        rc = kb_dir_remove(old, err);
    if (rc < 0)
        return rc;
    if (rename(db, old) < 0 && errno != ENOENT)
        return kb_err_sys(err, errno, "restore: rename %s", db);
    if (rename(fresh, db) < 0)
        return kb_err_sys(err, errno, "restore: rename %s", fresh);
    return sync_dir(dir, err);
}
