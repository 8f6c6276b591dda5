#include "store/engine.h"
#include "store/crc32c.h"
#include "store/kv.h"
#include "store/skip.h"
#include "tests/lib/test.h"
#include "tests/unit/store/disk.h"

#include "bus/base/file.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

/* ---- small helpers: one engine, without threads, small everything ---- */

static struct kb_err err;
static const struct kb_io *io; /* NULL: the real one */
static kb_ms now_ms;

static struct kb_engine *open_small(void)
{
    struct kb_engine *e = NULL;
    struct kb_engine_config config = {.dir = kb_test_dir(),
                                      .io = io,
                                      .segment_bytes = 64 * 1024,
                                      .map_bytes = 1 << 20,
                                      .checkpoint_bytes = 64 * 1024,
                                      .slice_bytes = 16 * 1024,
                                      .seed = 7};
    KB_CHECK_OK(kb_engine_open(&config, &e, &err), &err);
    return e;
}

static struct kb_doc *pod(const char *node, int n)
{
    struct kb_w w = {0};
    kb_w_map(&w);
    kb_w_key(&w, "metadata");
    kb_w_map(&w);
    kb_w_kcstr(&w, "uid", "u1");
    kb_w_end(&w);
    kb_w_key(&w, "spec");
    kb_w_map(&w);
    kb_w_kcstr(&w, "nodeName", node);
    kb_w_end(&w);
    kb_w_kint(&w, "n", n);
    kb_w_end(&w);
    struct kb_doc *doc = kb_w_doc(&w);
    kb_w_finish(&w);
    return doc;
}

/* Flush and poll until the batch has ended; its result. */
static int settle(struct kb_engine *e)
{
    struct kb_commit commit;
    int rc = 0;
    kb_engine_flush(e);
    while (kb_engine_busy(e)) {
        kb_engine_flush(e);
        if (kb_engine_poll(e, &commit) && commit.rc < 0)
            rc = commit.rc;
    }
    return rc;
}

static int put(struct kb_engine *e, const char *key, const char *node, int n, enum kb_write_cond cond,
               uint64_t rev)
{
    KB_AUTO(kb_doc_destroy) struct kb_doc *doc = pod(node, n);
    struct kb_write_op op = {
        .key = kb_str_of(key), .doc = kb_doc_root(doc), .cond = cond, .if_rev = rev};
    struct kb_write write = {.ops = &op, .n = 1};
    struct kb_commit commit;
    uint64_t at;
    size_t failed;
    int rc = kb_engine_write(e, &write, &at, &failed, &err);
    for (int i = 0; i < 100 && rc == -KB_EFULL;
         i++) { /* not now: let the database be brought up to date */
        kb_engine_tick(e, now_ms += 2000);
        while (kb_engine_poll(e, &commit))
            ;
        rc = kb_engine_write(e, &write, &at, &failed, &err);
    }
    return rc < 0 ? rc : settle(e);
}

static int del(struct kb_engine *e, const char *key)
{
    struct kb_write_op op = {.key = kb_str_of(key), .del = true};
    struct kb_write write = {.ops = &op, .n = 1};
    uint64_t at;
    size_t failed;
    int rc = kb_engine_write(e, &write, &at, &failed, &err);
    return rc < 0 ? rc : settle(e);
}

static int64_t value(struct kb_engine *e, const char *key, uint64_t rev)
{
    struct kb_item item;
    int rc = kb_engine_get(e, kb_str_of(key), rev, &item, &err);
    return rc < 0 ? rc : kb_val_int_at(item.doc, "n", -1000);
}

static void no_problem(void *user, const char *text)
{
    (void)user;
    kb_test_fail("check", 0, "%s", text);
}

static void check(struct kb_engine *e)
{
    KB_CHECK_OK(kb_engine_check(e, no_problem, NULL, &err), &err);
}

static size_t count(struct kb_engine *e, const char *prefix, const char *index, const char *of)
{
    struct kb_scan scan;
    struct kb_item item;
    struct kb_range range = {.prefix = kb_str_of(prefix),
                             .rev = KB_REV_LATEST,
                             .index = kb_str_of(index),
                             .value = kb_str_of(of)};
    size_t n = 0;
    KB_CHECK_OK(kb_scan_init(&scan, e, &range, &err), &err);
    while (kb_scan_next(&scan, &item, &err) > 0)
        n++;
    kb_scan_finish(&scan);
    return n;
}

static int declare_node(struct kb_engine *e)
{
    KB_AUTO(kb_w_finish) struct kb_w w = {0};
    kb_w_array(&w);
    kb_w_map(&w);
    kb_w_kcstr(&w, "name", "node");
    kb_w_kcstr(&w, "path", "spec.nodeName");
    kb_w_end(&w);
    kb_w_end(&w);
    int rc = kb_engine_declare(e, kb_str_of("pods"), kb_w_val(&w), &err);
    return rc < 0 ? rc : settle(e);
}

/* ---- leaves ---- */

KB_TEST(crc32c, the_instruction_agrees_with_the_table)
{
    char data[4099];
    struct kb_rand rand;
    kb_rand_init(&rand, 3);
    for (size_t i = 0; i < sizeof(data); i++)
        data[i] = (char)kb_rand_next(&rand);
    KB_CHECK_U64(kb_crc32c(0, "123456789", 9), ==, 0xe3069283);
    for (size_t n = 0; n < sizeof(data); n += 61)
        KB_CHECK_U64(kb_crc32c(5, data, n), ==, kb_crc32c_table(5, data, n));
}

KB_TEST(skip, keeps_its_keys_in_order)
{
    KB_AUTO(kb_arena_finish) struct kb_arena arena = {0};
    struct kb_skip skip = {0};
    struct kb_rand rand;
    char key[16];
    kb_rand_init(&rand, kb_test_seed());
    for (int i = 0; i < 2000; i++) {
        snprintf(key, sizeof(key), "k%" PRIu64, kb_rand_below(&rand, 1000));
        kb_skip_add(&skip, &arena, kb_str_of(key));
        KB_CHECK(kb_skip_find(&skip, kb_str_of(key)) != NULL);
    }
    size_t n = 0;
    for (const struct kb_skip_node *a = kb_skip_first(&skip), *b; a; a = b, n++)
        if ((b = kb_skip_after(a)) != NULL)
            KB_CHECK(kb_str_cmp(a->key, b->key) < 0);
    KB_CHECK_U64(n, ==, skip.count);
    KB_CHECK(kb_skip_find(&skip, kb_str_of("z")) == NULL);
}

/* ---- the engine ---- */

KB_TEST(engine, what_is_written_is_read_at_every_revision)
{
    KB_AUTO(kb_engine_close) struct kb_engine *e = open_small();
    KB_CHECK_OK(put(e, "pods/a/x", "n1", 1, KB_COND_ABSENT, 0), &err);
    KB_CHECK_OK(put(e, "pods/a/x", "n1", 2, KB_COND_REV, 1), &err);
    KB_CHECK_OK(del(e, "pods/a/x"), &err);
    KB_CHECK_OK(put(e, "pods/a/x", "n1", 4, KB_COND_ABSENT, 0), &err);
    KB_CHECK_U64(kb_engine_rev(e), ==, 4);
    for (int pass = 0; pass < 2; pass++) { /* from memory, then from the database */
        KB_CHECK_I64(value(e, "pods/a/x", 1), ==, 1);
        KB_CHECK_I64(value(e, "pods/a/x", 2), ==, 2);
        KB_CHECK_I64(value(e, "pods/a/x", 3), ==, -KB_ENOTFOUND);
        KB_CHECK_I64(value(e, "pods/a/x", KB_REV_LATEST), ==, 4);
        KB_CHECK_OK(kb_engine_checkpoint(e, &err), &err);
    }
    check(e);
}

KB_TEST(engine, a_condition_that_fails_leaves_nothing_behind)
{
    KB_AUTO(kb_engine_close) struct kb_engine *e = open_small();
    KB_CHECK_OK(put(e, "pods/a/x", "n1", 1, KB_COND_ABSENT, 0), &err);
    KB_CHECK_I64(put(e, "pods/a/x", "n1", 2, KB_COND_ABSENT, 0), ==, -KB_EEXISTS);
    KB_CHECK_I64(put(e, "pods/a/x", "n1", 2, KB_COND_REV, 9), ==, -KB_ECONFLICT);
    KB_CHECK_I64(put(e, "pods/a/y", "n1", 2, KB_COND_REV, 1), ==, -KB_ENOTFOUND);
    KB_CHECK_I64(del(e, "pods/a/y"), ==, -KB_ENOTFOUND);
    KB_CHECK_U64(kb_engine_rev(e), ==, 1);
    KB_CHECK_I64(value(e, "pods/a/x", KB_REV_LATEST), ==, 1);
}

KB_TEST(engine, replays_its_log_after_a_restart)
{
    struct kb_engine *e = open_small();
    char key[32];
    for (int i = 0; i < 300; i++) {
        snprintf(key, sizeof(key), "pods/a/p%d", i);
        KB_CHECK_OK(put(e, key, i % 2 ? "n1" : "n2", i, KB_COND_NONE, 0), &err);
    }
    kb_engine_close(&e);
    e = open_small();
    KB_CHECK_U64(kb_engine_rev(e), ==, 300);
    KB_CHECK_I64(value(e, "pods/a/p299", KB_REV_LATEST), ==, 299);
    KB_CHECK_U64(count(e, "pods/a/", "", ""), ==, 300);
    check(e);
    kb_engine_close(&e);
}

KB_TEST(engine, an_index_is_exact_before_and_after_it_is_built)
{
    KB_AUTO(kb_engine_close) struct kb_engine *e = open_small();
    KB_CHECK_OK(put(e, "pods/a/x", "n1", 1, KB_COND_NONE, 0), &err);
    KB_CHECK_OK(put(e, "pods/a/y", "", 2, KB_COND_NONE, 0), &err);
    KB_CHECK_OK(declare_node(e), &err);
    for (int pass = 0; pass < 2; pass++) {
        KB_CHECK_U64(count(e, "pods/", "node", "n1"), ==, 1 + pass);
        KB_CHECK_U64(count(e, "pods/", "node", ""), ==, 1 - pass);
        KB_CHECK_OK(kb_engine_checkpoint(e, &err), &err);
        KB_CHECK_OK(put(e, "pods/a/y", "n1", 3, KB_COND_NONE, 0), &err);
    }
    check(e);
}

KB_TEST(engine, compaction_forgets_what_was_replaced_and_no_more)
{
    KB_AUTO(kb_engine_close) struct kb_engine *e = open_small();
    KB_CHECK_OK(declare_node(e), &err);
    KB_CHECK_OK(put(e, "pods/a/x", "n1", 1, KB_COND_NONE, 0), &err);
    KB_CHECK_OK(put(e, "pods/a/x", "n2", 2, KB_COND_NONE, 0), &err);
    KB_CHECK_OK(put(e, "pods/a/y", "n2", 3, KB_COND_NONE, 0), &err);
    KB_CHECK_OK(del(e, "pods/a/y"), &err);
    KB_CHECK_OK(kb_engine_checkpoint(e, &err), &err);
    KB_CHECK(kb_engine_compact(e, 4, &err) == 1);
    KB_CHECK_OK(settle(e), &err);
    KB_CHECK_OK(put(e, "pods/a/y", "n3", 5, KB_COND_ABSENT, 0), &err);
    KB_CHECK_I64(value(e, "pods/a/x", 2), ==, -KB_EGONE);
    check(e);
    struct kb_engine_status status;
    KB_CHECK_OK(kb_engine_status(e, &status, &err), &err);
    KB_CHECK_U64(status.versions, ==, 2);
    KB_CHECK_U64(status.index_entries, ==, 2);
}

KB_TEST(engine, history_tells_every_change_in_order)
{
    KB_AUTO(kb_engine_close) struct kb_engine *e = open_small();
    for (int i = 1; i <= 30; i++) {
        KB_CHECK_OK(put(e, i % 2 ? "pods/a/x" : "pods/a/y", "n1", i, KB_COND_NONE, 0), &err);
        if (i == 20)
            KB_CHECK_OK(kb_engine_checkpoint(e, &err), &err);
    }
    struct kb_history h;
    struct kb_item item;
    KB_CHECK_OK(kb_history_init(&h, e, 5, &err), &err);
    for (int i = 6; i <= 30; i++) {
        KB_CHECK(kb_history_next(&h, &item, &err) == 1);
        KB_CHECK_U64(item.id.rev, ==, i);
        KB_CHECK_I64(kb_val_int_at(item.doc, "n", 0), ==, i);
        KB_CHECK_U64(item.prev.rev, ==, i - 2);
    }
    KB_CHECK(kb_history_next(&h, &item, &err) == 0);
    kb_history_finish(&h);
}

KB_TEST(engine, a_put_with_a_time_to_live_is_deleted_unless_put_again)
{
    struct kb_engine *e = open_small();
    KB_AUTO(kb_doc_destroy) struct kb_doc *doc = pod("n1", 1);
    for (int i = 0; i < 2; i++) {
        struct kb_write_op op = {.key = kb_str_of(i ? "events/a/y" : "events/a/x"),
                                 .doc = kb_doc_root(doc),
                                 .expires_ms = 1000};
        struct kb_write write = {.ops = &op, .n = 1};
        uint64_t rev;
        size_t failed;
        KB_CHECK_OK(kb_engine_write(e, &write, &rev, &failed, &err), &err);
    }
    KB_CHECK_OK(settle(e), &err);
    KB_CHECK_OK(put(e, "events/a/y", "n1", 2, KB_COND_NONE, 0), &err);
    kb_engine_close(&e);
    e = open_small();
    KB_CHECK_I64(kb_engine_next_expiry(e), ==, 1000);
    KB_CHECK_I64(kb_engine_expire(e, 999, 10, &err), ==, 0);
    KB_CHECK_I64(kb_engine_expire(e, 1000, 10, &err), ==, 1);
    KB_CHECK_OK(settle(e), &err);
    KB_CHECK_I64(value(e, "events/a/x", KB_REV_LATEST), ==, -KB_ENOTFOUND);
    KB_CHECK_I64(value(e, "events/a/y", KB_REV_LATEST), ==, 2);
    KB_CHECK_I64(kb_engine_next_expiry(e), ==, 0);
    check(e);
    kb_engine_close(&e);
}

KB_TEST(engine, a_lease_keeps_its_epoch_and_fences_writes)
{
    struct kb_engine *e = open_small();
    struct kb_lease lease = {kb_str_of("m1"), 3, 5000};
    KB_CHECK_OK(kb_engine_lease_put(e, kb_str_of("pool/0"), &lease, &err), &err);
    KB_CHECK_OK(settle(e), &err);
    kb_engine_close(&e);
    e = open_small();
    KB_CHECK_U64(kb_engine_lease(e, kb_str_of("pool/0")).epoch, ==, 3);
    KB_AUTO(kb_doc_destroy) struct kb_doc *doc = pod("n1", 1);
    struct kb_write_op op = {.key = kb_str_of("pods/a/x"), .doc = kb_doc_root(doc)};
    struct kb_write write = {.ops = &op, .n = 1, .lease = kb_str_of("pool/0"), .epoch = 2};
    uint64_t rev;
    size_t failed;
    KB_CHECK_I64(kb_engine_write(e, &write, &rev, &failed, &err), ==, -KB_ECONFLICT);
    write.epoch = 3;
    KB_CHECK_OK(kb_engine_write(e, &write, &rev, &failed, &err), &err);
    kb_engine_close(&e);
}

KB_TEST(engine, the_map_grows_before_it_is_full)
{
    KB_AUTO(kb_engine_close) struct kb_engine *e = open_small();
    struct kb_engine_status status;
    char key[32];
    for (int i = 0; i < 12000; i++) {
        KB_AUTO(kb_doc_destroy) struct kb_doc *doc = pod("n1", i);
        snprintf(key, sizeof(key), "pods/a/p%d", i * 7919 % 12000);
        struct kb_write_op op = {.key = kb_str_of(key), .doc = kb_doc_root(doc)};
        struct kb_write write = {.ops = &op, .n = 1};
        uint64_t rev;
        size_t failed;
        KB_CHECK_OK(kb_engine_write(e, &write, &rev, &failed, &err), &err);
        if (i % 200 == 0)
            KB_CHECK_OK(settle(e), &err);
    }
    KB_CHECK_OK(settle(e), &err);
    check(e);
    KB_CHECK_OK(kb_engine_status(e, &status, &err), &err);
    KB_CHECK_U64(status.map_bytes, >, 1 << 20);
    KB_CHECK_U64(status.objects, ==, 12000);
}

/* Wait for the engine's threads. */
static void await(struct kb_engine *e, bool idle)
{
    struct kb_commit commit;
    struct pollfd fd = {.fd = kb_engine_fd(e), .events = POLLIN};
    do {
        kb_engine_flush(e);
        kb_engine_tick(e, now_ms);
        while (kb_engine_poll(e, &commit))
            KB_CHECK_OK(commit.rc, &commit.err);
    } while (idle && kb_engine_busy(e) && poll(&fd, 1, 1000) >= 0);
}

KB_TEST(engine, its_threads_keep_the_same_promises)
{
    struct kb_engine *e = NULL;
    struct kb_engine_config config = {.dir = kb_test_dir(),
                                      .threads = true,
                                      .segment_bytes = 64 * 1024,
                                      .map_bytes = 1 << 20,
                                      .checkpoint_bytes = 64 * 1024,
                                      .slice_bytes = 16 * 1024};
    KB_CHECK_OK(kb_engine_open(&config, &e, &err), &err);
    for (int i = 0; i < 5000; i++) {
        KB_AUTO(kb_doc_destroy) struct kb_doc *doc = pod("n1", i);
        char key[32];
        snprintf(key, sizeof(key), "pods/a/p%d", i * 7919 % 1000);
        struct kb_write_op op = {.key = kb_str_of(key), .doc = kb_doc_root(doc)};
        struct kb_write write = {.ops = &op, .n = 1};
        uint64_t rev;
        size_t failed;
        KB_CHECK_OK(kb_engine_write(e, &write, &rev, &failed, &err), &err);
        if (i % 50 == 0)
            await(e, i % 100 == 0);
        if (i == 2500)
            KB_CHECK(kb_engine_compact(e, 1000, &err) == 1);
    }
    await(e, true);
    KB_CHECK_U64(count(e, "pods/", "", ""), ==, 1000);
    check(e);
    kb_engine_close(&e);
    e = open_small();
    KB_CHECK_U64(kb_engine_rev(e), ==, 5000);
    kb_engine_close(&e);
}

KB_TEST(engine, a_batch_larger_than_a_segment_gets_one_of_its_size)
{
    struct kb_engine *e = open_small();
    KB_AUTO(kb_w_finish) struct kb_w w = {0};
    KB_AUTO(kb_auto_free) char *pad = calloc(1, 1 << 20);
    uint64_t rev;
    size_t failed;
    memset(pad, 'x', 1 << 20);
    kb_w_map(&w);
    kb_w_kstr(&w, "pad", kb_str_n(pad, 1 << 20));
    kb_w_end(&w);
    struct kb_write_op ops[] = {{.key = kb_str_of("pods/a/x"), .doc = kb_w_val(&w)},
                                {.key = kb_str_of("pods/a/y"), .doc = kb_w_val(&w)}};
    struct kb_write write = {.ops = ops, .n = 2};
    for (int i = 0; i < 3; i++) {
        KB_CHECK_OK(kb_engine_write(e, &write, &rev, &failed, &err), &err);
        KB_CHECK_OK(settle(e), &err);
        KB_CHECK_OK(put(e, "pods/a/z", "n1", i, KB_COND_NONE, 0), &err);
    }
    kb_engine_close(&e);
    e = open_small();
    KB_CHECK_U64(kb_engine_rev(e), ==, 6);
    KB_CHECK_U64(count(e, "pods/", "", ""), ==, 3);
    check(e);
    kb_engine_close(&e);
}

KB_TEST(engine, one_process_at_a_time)
{
    KB_AUTO(kb_engine_close) struct kb_engine *e = open_small();
    struct kb_engine *other = NULL;
    struct kb_engine_config config = {.dir = kb_test_dir()};
    KB_CHECK_I64(kb_engine_open(&config, &other, &err), ==, -KB_EUNAVAILABLE);
}

/* ---- a full disk, a broken disk, damage ---- */

KB_TEST(disk, full_refuses_writes_answers_reads_and_recovers)
{
    KB_AUTO(disk_destroy) struct disk *disk = disk_new(1, kb_test_dir());
    io = disk_io(disk);
    KB_AUTO(kb_engine_close) struct kb_engine *e = open_small();
    KB_CHECK_OK(put(e, "pods/a/x", "n1", 1, KB_COND_NONE, 0), &err);
    disk_full(disk, true);
    uint64_t accepted = 1;
    int rc = 0;
    for (int i = 0; i < 200 && rc == 0; i++, accepted += rc == 0)
        rc = put(e, "pods/a/y", "n1", i, KB_COND_NONE, 0);
    KB_CHECK_I64(rc, ==, -KB_ENOSPACE); /* once the segment that was made is used up */
    KB_CHECK_U64(kb_engine_rev(e), ==, accepted);
    KB_CHECK_I64(value(e, "pods/a/x", KB_REV_LATEST), ==, 1);
    KB_CHECK_I64(kb_engine_checkpoint(e, &err), ==, -KB_ENOSPACE);
    disk_full(disk, false);
    KB_CHECK_OK(put(e, "pods/a/y", "n1", 7, KB_COND_NONE, 0), &err);
    check(e);
}

KB_TEST(disk, an_error_while_writing_is_undone_or_stops_the_log)
{
    KB_AUTO(disk_destroy) struct disk *disk = disk_new(1, kb_test_dir());
    io = disk_io(disk);
    struct kb_engine *e = open_small();
    KB_CHECK_OK(put(e, "pods/a/x", "n1", 1, KB_COND_NONE, 0), &err);
    disk_error_after(disk, 2); /* the sync */
    KB_CHECK_I64(put(e, "pods/a/x", "n1", 2, KB_COND_NONE, 0), ==, -KB_EIO);
    KB_CHECK_I64(value(e, "pods/a/x", KB_REV_LATEST), ==, 1);
    KB_CHECK_OK(put(e, "pods/a/x", "n1", 3, KB_COND_NONE, 0), &err);
    disk_broken(disk, true);
    KB_CHECK_I64(put(e, "pods/a/x", "n1", 4, KB_COND_NONE, 0), ==, -KB_EIO);
    disk_broken(disk, false);
    KB_CHECK_I64(put(e, "pods/a/x", "n1", 5, KB_COND_NONE, 0), ==, -KB_EIO); /* until a restart */
    KB_CHECK_I64(value(e, "pods/a/x", KB_REV_LATEST), ==, 3);
    kb_engine_close(&e);
    e = open_small();
    KB_CHECK_OK(put(e, "pods/a/x", "n1", 6, KB_COND_NONE, 0), &err);
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
    kb_engine_tick(e, now_ms += 10);
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
        KB_CHECK_I64(value(e, key, KB_REV_LATEST), ==, t->value[k] ? t->value[k] : -KB_ENOTFOUND);
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
    KB_CHECK_OK(kb_engine_open(&config, &e, &err), &err);
    KB_CHECK_OK(declare_node(e), &err);
    scarce.write = scarce_write;
    while (t->end < SCARCE_WRITES) {
        KB_AUTO(kb_doc_destroy) struct kb_doc *doc = pod("n1", t->end + 1);
        char key[32];
        int k = t->end * 31 % SCARCE_KEYS;
        snprintf(key, sizeof(key), "pods/a/p%d", k);
        struct kb_write_op op = {.key = kb_str_of(key), .doc = kb_doc_root(doc)};
        struct kb_write write = {.ops = &op, .n = 1};
        uint64_t rev;
        size_t failed;
        int rc = kb_engine_write(e, &write, &rev, &failed, &err);
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
    check(e);
    kb_engine_close(&e);
    e = open_small();
    scarce_compare(e, t);
    check(e);
    kb_engine_close(&e);
    free(t);
}

KB_TEST(disk, a_refused_batch_leaves_nothing_behind_that_would_be_waited_for)
{
    KB_AUTO(disk_destroy) struct disk *disk = disk_new(1, kb_test_dir());
    io = disk_io(disk);
    KB_AUTO(kb_engine_close) struct kb_engine *e = open_small();
    KB_CHECK_OK(put(e, "pods/a/x", "n1", 1, KB_COND_NONE, 0), &err);
    KB_CHECK_OK(kb_engine_checkpoint(e, &err), &err);
    disk_error_after(disk, 2); /* the sync */
    KB_CHECK_I64(put(e, "pods/a/x", "n1", 2, KB_COND_NONE, 0), ==, -KB_EIO);
    KB_CHECK_I64(kb_engine_tick(e, 60000), ==, -1);
    KB_CHECK_OK(put(e, "pods/a/x", "n1", 3, KB_COND_NONE, 0), &err);
    disk_error_after(disk, 2);
    KB_CHECK_I64(put(e, "pods/a/x", "n1", 4, KB_COND_NONE, 0), ==, -KB_EIO);
    KB_CHECK_OK(kb_engine_checkpoint(e, &err), &err); /* what was durable before it is applied */
    check(e);
}

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
    KB_CHECK_OK(kb_engine_open(&config, &e, &err), &err);
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
        rc = put(e, key, "n1", *ret_written, KB_COND_NONE, 0);
    }
    return rc;
}

KB_TEST(disk, a_map_at_its_limit_refuses_writes_and_a_larger_limit_helps)
{
    struct kb_engine *e = open_tight(1 << 20);
    int written;
    KB_CHECK_I64(write_until_refused(e, false, &written), ==, -KB_ENOSPACE);
    KB_CHECK(strstr(err.text, "the map is full at its limit") != NULL);
    KB_CHECK_U64(kb_engine_rev(e), ==, written);
    KB_CHECK_I64(value(e, "pods/a/p0", KB_REV_LATEST), ==, 0);
    kb_engine_close(&e);
    e = open_tight(16 << 20);
    KB_CHECK_U64(count(e, "pods/", "", ""), ==, written);
    KB_CHECK_OK(put(e, "pods/a/more", "n1", 1, KB_COND_NONE, 0), &err);
    check(e);
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
        if (kb_kv_open(path, 1 << 20, NULL, &kv, &err) == 0 &&
            kb_kv_begin(kv, false, &txn, &err) == 0 && write(ready[1], "x", 1) == 1)
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
    KB_CHECK_OK(put(e, "pods/a/p0", "n1", 0, KB_COND_NONE, 0), &err);
    KB_CHECK_OK(kb_engine_checkpoint(e, &err), &err);
    pid_t pid = stuck_reader();
    for (written = 0;;
         written++) { /* all but the newest version is compacted away, and still nothing is free */
        int rc = put(e, "pods/a/p0", "n1", written, KB_COND_NONE, 0);
        if (rc == 0 && written % 10 == 0)
            rc = kb_engine_compact(e, kb_engine_rev(e), &err) < 0 ? -err.code : settle(e);
        if (rc == -KB_ENOSPACE)
            break;
        KB_CHECK_OK(rc, &err);
        KB_CHECK(written < 20000);
    }
    KB_CHECK_I64(value(e, "pods/a/p0", KB_REV_LATEST), ==, written - 1);
    kill(pid, SIGKILL);
    waitpid(pid, NULL, 0);
    kb_engine_checkpoint(e, &err); /* finds the dead reader */
    KB_CHECK_OK(kb_engine_checkpoint(e, &err), &err);
    for (again = 0; again < 500; again++)
        KB_CHECK_OK(put(e, "pods/a/p0", "n1", again, KB_COND_NONE, 0), &err);
    check(e);
    kb_engine_close(&e);
}

static char *find_log(void)
{
    return kb_strf("%s/db/log/%016x.log", kb_test_dir(), 1);
}

static void damage(const char *path, off_t at)
{
    int fd = open(path, O_RDWR);
    char byte = 0;
    KB_CHECK(fd >= 0 && pread(fd, &byte, 1, at) == 1);
    byte = (char)(byte ^ 0x55);
    KB_CHECK(pwrite(fd, &byte, 1, at) == 1);
    close(fd);
}

KB_TEST(damage, a_torn_tail_is_cut_off)
{
    struct kb_engine *e = open_small();
    KB_AUTO(kb_auto_free) char *log = find_log();
    for (int i = 1; i <= 3; i++)
        KB_CHECK_OK(put(e, "pods/a/x", "n1", i, KB_COND_NONE, 0), &err);
    kb_engine_close(&e);
    damage(log, 4096 * 3 + 60);
    e = open_small();
    KB_CHECK_U64(kb_engine_rev(e), ==, 2);
    KB_CHECK_OK(put(e, "pods/a/x", "n1", 9, KB_COND_NONE, 0), &err);
    kb_engine_close(&e);
    e = open_small();
    KB_CHECK_I64(value(e, "pods/a/x", KB_REV_LATEST), ==, 9);
    kb_engine_close(&e);
}

KB_TEST(damage, in_the_middle_of_the_log_refuses_to_start)
{
    struct kb_engine *e = open_small();
    KB_AUTO(kb_auto_free) char *log = find_log();
    for (int i = 1; i <= 3; i++)
        KB_CHECK_OK(put(e, "pods/a/x", "n1", i, KB_COND_NONE, 0), &err);
    kb_engine_close(&e);
    damage(log, 4096 * 2 + 60);
    struct kb_engine_config config = {.dir = kb_test_dir()};
    KB_CHECK_I64(kb_engine_open(&config, &e, &err), ==, -KB_EIO);
    KB_CHECK(strstr(err.text, "batch 2") && strstr(err.text, "acknowledged changes are lost"));
}

KB_TEST(damage, to_a_document_is_never_handed_out)
{
    struct kb_engine *e = open_small();
    KB_CHECK_OK(put(e, "pods/a/x", "a-node-that-can-be-found", 1, KB_COND_NONE, 0), &err);
    KB_CHECK_OK(kb_engine_checkpoint(e, &err), &err);
    kb_engine_close(&e);
    KB_AUTO(kb_auto_free) char *path = kb_strf("%s/db/data.mdb", kb_test_dir());
    KB_AUTO(kb_buf_finish) struct kb_buf file = {0};
    KB_CHECK_OK(kb_file_read(path, 1 << 24, &file, &err), &err);
    char *at = memmem(file.p, file.n, "a-node-that-can-be-found", 24);
    KB_CHECK(at != NULL);
    damage(path, at - file.p + 3);
    e = open_small();
    KB_CHECK_I64(value(e, "pods/a/x", KB_REV_LATEST), ==, -KB_EIO);
    kb_engine_close(&e);
}

KB_TEST(damage, a_database_cut_short_refuses_to_start)
{
    struct kb_engine *e = open_small();
    KB_CHECK_OK(put(e, "pods/a/x", "n1", 1, KB_COND_NONE, 0), &err);
    KB_CHECK_OK(kb_engine_checkpoint(e, &err), &err);
    kb_engine_close(&e);
    KB_AUTO(kb_auto_free) char *path = kb_strf("%s/db/data.mdb", kb_test_dir());
    KB_CHECK(truncate(path, 3 * 4096) == 0);
    struct kb_engine_config config = {.dir = kb_test_dir()};
    KB_CHECK_I64(kb_engine_open(&config, &e, &err), ==, -KB_EIO);
    KB_CHECK(strstr(err.text, "cut short") != NULL);
}

/* ---- backup ---- */

static int backup(struct kb_engine *e, const char *file, uint64_t *ret_rev)
{
    int rc;
    uint64_t bytes;
    struct kb_commit commit;
    KB_CHECK_OK(kb_engine_backup(e, file, &err), &err);
    while (!kb_engine_backup_done(e, &rc, ret_rev, &bytes, &err))
        kb_engine_poll(e, &commit);
    return rc;
}

KB_TEST(backup, comes_back_as_a_new_database_with_the_same_contents)
{
    struct kb_engine *e = open_small();
    KB_AUTO(kb_auto_free) char *file = kb_strf("%s/backup", kb_test_dir());
    char id[KB_UUID_BYTES];
    uint64_t rev = 0;
    KB_CHECK_OK(declare_node(e), &err);
    for (int i = 1; i <= 100; i++)
        KB_CHECK_OK(put(e, "pods/a/x", "n1", i, KB_COND_NONE, 0), &err);
    kb_str_copy(kb_str_of(kb_engine_id(e)), id, sizeof(id));
    KB_CHECK_OK(backup(e, file, &rev), &err);
    KB_CHECK_U64(rev, ==, 100);
    KB_CHECK_OK(put(e, "pods/a/y", "n1", 0, KB_COND_NONE, 0), &err);
    KB_CHECK_I64(kb_engine_restore(kb_test_dir(), file, &err), ==, -KB_EUNAVAILABLE);
    kb_engine_close(&e);
    KB_CHECK_OK(kb_engine_restore(kb_test_dir(), file, &err), &err);
    e = open_small();
    KB_CHECK_U64(kb_engine_rev(e), ==, 100);
    KB_CHECK_I64(value(e, "pods/a/x", 50), ==, 50);
    KB_CHECK_I64(value(e, "pods/a/y", KB_REV_LATEST), ==, -KB_ENOTFOUND);
    KB_CHECK(strcmp(kb_engine_id(e), id) != 0);
    KB_CHECK_OK(put(e, "pods/a/y", "n1", 1, KB_COND_NONE, 0), &err);
    check(e);
    kb_engine_close(&e);
    damage(file, 5000);
    KB_CHECK_I64(kb_engine_restore(kb_test_dir(), file, &err), ==, -KB_EIO);
}
