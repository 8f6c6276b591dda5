/* A disk that is full, broken or slow, and a map at its limit. */
#include "store/kv.h"
#include "tests/lib/test.h"
#include "tests/unit/store/disk.h"
#include "tests/unit/store/small.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

KB_TEST(disk, full_refuses_writes_answers_reads_and_recovers)
{
    KB_AUTO(disk_destroy) struct disk *disk = disk_new(1, kb_test_dir());
    small.io = disk_io(disk);
    KB_AUTO(kb_engine_close) struct kb_engine *e = small_open();
    KB_CHECK_OK(small_put(e, "pods/a/x", "n1", 1, KB_COND_NONE, 0), &small.err);
    disk_full(disk, true);
    uint64_t accepted = 1;
    int rc = 0;
    for (int i = 0; i < 200 && rc == 0; i++, accepted += rc == 0)
        rc = small_put(e, "pods/a/y", "n1", i, KB_COND_NONE, 0);
    KB_CHECK_I64(rc, ==, -KB_ENOSPACE); /* once the segment that was made is used up */
    KB_CHECK_U64(kb_engine_rev(e), ==, accepted);
    KB_CHECK_I64(small_value(e, "pods/a/x", KB_REV_LATEST), ==, 1);
    KB_CHECK_I64(kb_engine_checkpoint(e, &small.err), ==, -KB_ENOSPACE);
    disk_full(disk, false);
    KB_CHECK_OK(small_put(e, "pods/a/y", "n1", 7, KB_COND_NONE, 0), &small.err);
    small_check(e);
}

KB_TEST(disk, an_error_while_writing_is_undone_or_stops_the_log)
{
    KB_AUTO(disk_destroy) struct disk *disk = disk_new(1, kb_test_dir());
    small.io = disk_io(disk);
    struct kb_engine *e = small_open();
    KB_CHECK_OK(small_put(e, "pods/a/x", "n1", 1, KB_COND_NONE, 0), &small.err);
    disk_error_after(disk, 2); /* the sync */
    KB_CHECK_I64(small_put(e, "pods/a/x", "n1", 2, KB_COND_NONE, 0), ==, -KB_EIO);
    KB_CHECK_I64(small_value(e, "pods/a/x", KB_REV_LATEST), ==, 1);
    KB_CHECK_OK(small_put(e, "pods/a/x", "n1", 3, KB_COND_NONE, 0), &small.err);
    disk_broken(disk, true);
    KB_CHECK_I64(small_put(e, "pods/a/x", "n1", 4, KB_COND_NONE, 0), ==, -KB_EIO);
    disk_broken(disk, false);
    KB_CHECK_I64(small_put(e, "pods/a/x", "n1", 5, KB_COND_NONE, 0), ==,
                 -KB_EIO); /* until a restart */
    KB_CHECK_I64(small_value(e, "pods/a/x", KB_REV_LATEST), ==, 3);
    kb_engine_close(&e);
    e = small_open();
    KB_CHECK_OK(small_put(e, "pods/a/x", "n1", 6, KB_COND_NONE, 0), &small.err);
    kb_engine_close(&e);
}

/* A disk on which every seventh write of a log's page finds no room; what follows it does. For
 * threads. */
static int scarce_write(const struct kb_io *self, int fd, const void *data, size_t n, off_t at)
{
    static _Atomic unsigned count;
    (void)self;
    return ++count % 7 == 0 ? -ENOSPC : kb_io_system()->write(kb_io_system(), fd, data, n, at);
}

enum { SCARCE_KEYS = 40, SCARCE_WRITES = 6000 };

struct scarce {
    int value[SCARCE_KEYS]; /* what was acknowledged last */
    struct {
        uint64_t batch;
        int key, n;
    } staged[SCARCE_WRITES];
    int first, end, refused;
};

/* Take what has ended: acknowledged writes count, refused ones do not. */
static void scarce_take(struct kb_engine *e, struct scarce *t)
{
    struct kb_commit commit;
    kb_engine_flush(e);
    kb_engine_tick(e, small.now_ms += 10);
    while (kb_engine_poll(e, &commit)) {
        for (; t->first < t->end && t->staged[t->first].batch <= commit.batch; t->first++) {
            if (commit.rc == 0)
                t->value[t->staged[t->first].key] = t->staged[t->first].n;
            else
                t->refused++;
        }
        KB_CHECK(commit.rc == 0 || commit.rc == -KB_ENOSPACE);
        kb_engine_flush(e);
    }
}

static void scarce_settle(struct kb_engine *e, struct scarce *t)
{
    struct pollfd fd = {.fd = kb_engine_fd(e), .events = POLLIN};
    for (scarce_take(e, t); kb_engine_busy(e); scarce_take(e, t))
        KB_CHECK(poll(&fd, 1, 10000) >= 0);
}

static void scarce_compare(struct kb_engine *e, const struct scarce *t)
{
    char key[32];
    for (int k = 0; k < SCARCE_KEYS; k++) {
        snprintf(key, sizeof(key), "pods/a/p%d", k);
        KB_CHECK_I64(small_value(e, key, KB_REV_LATEST), ==,
                     t->value[k] ? t->value[k] : -KB_ENOTFOUND);
    }
}

KB_TEST(disk, threads_undo_what_the_disk_refuses_while_more_is_staged)
{
    struct kb_io scarce = *kb_io_system();
    struct kb_engine *e = NULL;
    struct scarce *t = calloc(1, sizeof(*t));
    struct kb_engine_config config = {.dir = kb_test_dir(),
                                      .io = &scarce,
                                      .threads = true,
                                      .segment_bytes = 256 * 1024,
                                      .checkpoint_bytes = 32 * 1024,
                                      .slice_bytes = 16 * 1024};
    KB_CHECK_OK(kb_engine_open(&config, &e, &small.err), &small.err);
    KB_CHECK_OK(small_declare_node(e), &small.err);
    scarce.write = scarce_write;
    while (t->end < SCARCE_WRITES) {
        char key[32];
        int k = t->end * 31 % SCARCE_KEYS;
        snprintf(key, sizeof(key), "pods/a/p%d", k);
        int rc = small_stage(e, key, "n1", t->end + 1);
        KB_CHECK(rc == 0 || rc == -KB_EFULL);
        if (rc == 0) {
            t->staged[t->end].batch = kb_engine_batch(e);
            t->staged[t->end].key = k;
            t->staged[t->end].n = t->end + 1;
            t->end++;
        }
        scarce_take(e, t);
        if (t->end % 100 == 0)
            scarce_settle(e, t); /* so that there are batches enough, however slow the disk is */
    }
    scarce_settle(e, t);
    KB_CHECK_I64(t->first, ==, t->end);
    KB_CHECK_I64(t->refused, >, 0);
    KB_CHECK_I64(t->refused, <, SCARCE_WRITES);
    scarce_compare(e, t);
    scarce.write = kb_io_system()->write;
    small_check(e);
    kb_engine_close(&e);
    e = small_open();
    scarce_compare(e, t);
    small_check(e);
    kb_engine_close(&e);
    free(t);
}

KB_TEST(disk, a_refused_batch_leaves_nothing_behind_that_would_be_waited_for)
{
    KB_AUTO(disk_destroy) struct disk *disk = disk_new(1, kb_test_dir());
    small.io = disk_io(disk);
    KB_AUTO(kb_engine_close) struct kb_engine *e = small_open();
    KB_CHECK_OK(small_put(e, "pods/a/x", "n1", 1, KB_COND_NONE, 0), &small.err);
    KB_CHECK_OK(kb_engine_checkpoint(e, &small.err), &small.err);
    disk_error_after(disk, 2); /* the sync */
    KB_CHECK_I64(small_put(e, "pods/a/x", "n1", 2, KB_COND_NONE, 0), ==, -KB_EIO);
    KB_CHECK_I64(kb_engine_tick(e, 60000), ==, -1);
    KB_CHECK_OK(small_put(e, "pods/a/x", "n1", 3, KB_COND_NONE, 0), &small.err);
    disk_error_after(disk, 2);
    KB_CHECK_I64(small_put(e, "pods/a/x", "n1", 4, KB_COND_NONE, 0), ==, -KB_EIO);
    KB_CHECK_OK(kb_engine_checkpoint(e, &small.err),
                &small.err); /* what was durable before it is applied */
    small_check(e);
}

/* A map that can soon grow no more. */
static struct kb_engine *open_tight(uint64_t map_max)
{
    struct kb_engine *e = NULL;
    struct kb_engine_config config = {.dir = kb_test_dir(),
                                      .segment_bytes = 64 * 1024,
                                      .map_bytes = 512 * 1024,
                                      .map_max_bytes = map_max,
                                      .checkpoint_bytes = 32 * 1024,
                                      .slice_bytes = 16 * 1024,
                                      .memory_bytes = 128 * 1024};
    KB_CHECK_OK(kb_engine_open(&config, &e, &small.err), &small.err);
    return e;
}

/* Write new objects, or the same one, until the store refuses; time goes on, so that it tries
 * again. */
static int write_until_refused(struct kb_engine *e, bool same, int *ret_written)
{
    char key[32];
    int rc = 0;
    for (*ret_written = 0; rc == 0 && *ret_written < 20000; *ret_written += rc == 0) {
        snprintf(key, sizeof(key), "pods/a/p%d", same ? 0 : *ret_written);
        rc = small_put(e, key, "n1", *ret_written, KB_COND_NONE, 0);
    }
    return rc;
}

KB_TEST(disk, a_map_at_its_limit_refuses_writes_and_a_larger_limit_helps)
{
    struct kb_engine *e = open_tight(1 << 20);
    int written;
    KB_CHECK_I64(write_until_refused(e, false, &written), ==, -KB_ENOSPACE);
    KB_CHECK(strstr(small.err.text, "the map is full at its limit") != NULL);
    KB_CHECK_U64(kb_engine_rev(e), ==, written);
    KB_CHECK_I64(small_value(e, "pods/a/p0", KB_REV_LATEST), ==, 0);
    kb_engine_close(&e);
    e = open_tight(16 << 20);
    KB_CHECK_U64(small_count(e, "pods/", "", ""), ==, written);
    KB_CHECK_OK(small_put(e, "pods/a/more", "n1", 1, KB_COND_NONE, 0), &small.err);
    small_check(e);
    kb_engine_close(&e);
}

/* Another process that reads the database and does not end: what it can see is not used again. */
static pid_t stuck_reader(void)
{
    int ready[2];
    char byte;
    KB_CHECK(pipe(ready) == 0);
    pid_t pid = fork();
    if (pid == 0) {
        KB_AUTO(kb_auto_free) char *path = kb_strf("%s/db/data.mdb", kb_test_dir());
        struct kb_kv *kv;
        struct kb_kv_txn *txn;
        if (kb_kv_open(path, 1 << 20, NULL, &kv, &small.err) == 0 &&
            kb_kv_begin(kv, false, &txn, &small.err) == 0 && write(ready[1], "x", 1) == 1)
            pause();
        _exit(1);
    }
    KB_CHECK(read(ready[0], &byte, 1) == 1);
    return pid;
}

KB_TEST(disk, a_reader_that_never_ends_fills_the_map_and_its_death_frees_it)
{
    struct kb_engine *e = open_tight(1 << 20);
    int written, again;
    KB_CHECK_OK(small_put(e, "pods/a/p0", "n1", 0, KB_COND_NONE, 0), &small.err);
    KB_CHECK_OK(kb_engine_checkpoint(e, &small.err), &small.err);
    pid_t pid = stuck_reader();
    for (written = 0;;
         written++) { /* all but the newest version is compacted away, and still nothing is free */
        int rc = small_put(e, "pods/a/p0", "n1", written, KB_COND_NONE, 0);
        if (rc == 0 && written % 10 == 0)
            rc = kb_engine_compact(e, kb_engine_rev(e), &small.err) < 0 ? -small.err.code
                                                                        : small_settle(e);
        if (rc == -KB_ENOSPACE)
            break;
        KB_CHECK_OK(rc, &small.err);
        KB_CHECK(written < 20000);
    }
    KB_CHECK_I64(small_value(e, "pods/a/p0", KB_REV_LATEST), ==, written - 1);
    kill(pid, SIGKILL);
    waitpid(pid, NULL, 0);
    kb_engine_checkpoint(e, &small.err); /* finds the dead reader */
    KB_CHECK_OK(kb_engine_checkpoint(e, &small.err), &small.err);
    for (again = 0; again < 500; again++)
        KB_CHECK_OK(small_put(e, "pods/a/p0", "n1", again, KB_COND_NONE, 0), &small.err);
    small_check(e);
    kb_engine_close(&e);
}
