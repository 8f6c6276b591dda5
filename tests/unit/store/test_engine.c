/* What the engine promises while all goes well. */
#include "tests/lib/test.h"
#include "tests/unit/store/small.h"

#include <poll.h>
#include <stdlib.h>

KB_TEST(engine, what_is_written_is_read_at_every_revision)
{
    KB_AUTO(kb_engine_close) struct kb_engine *e = small_open();
    KB_CHECK_OK(small_put(e, "pods/a/x", "n1", 1, KB_COND_ABSENT, 0), &small.err);
    KB_CHECK_OK(small_put(e, "pods/a/x", "n1", 2, KB_COND_REV, 1), &small.err);
    KB_CHECK_OK(small_del(e, "pods/a/x"), &small.err);
    KB_CHECK_OK(small_put(e, "pods/a/x", "n1", 4, KB_COND_ABSENT, 0), &small.err);
    KB_CHECK_U64(kb_engine_rev(e), ==, 4);
    for (int pass = 0; pass < 2; pass++) { /* from memory, then from the database */
        KB_CHECK_I64(small_value(e, "pods/a/x", 1), ==, 1);
        KB_CHECK_I64(small_value(e, "pods/a/x", 2), ==, 2);
        KB_CHECK_I64(small_value(e, "pods/a/x", 3), ==, -KB_ENOTFOUND);
        KB_CHECK_I64(small_value(e, "pods/a/x", KB_REV_LATEST), ==, 4);
        KB_CHECK_OK(kb_engine_checkpoint(e, &small.err), &small.err);
    }
    small_check(e);
}

KB_TEST(engine, a_condition_that_fails_leaves_nothing_behind)
{
    KB_AUTO(kb_engine_close) struct kb_engine *e = small_open();
    KB_CHECK_OK(small_put(e, "pods/a/x", "n1", 1, KB_COND_ABSENT, 0), &small.err);
    KB_CHECK_I64(small_put(e, "pods/a/x", "n1", 2, KB_COND_ABSENT, 0), ==, -KB_EEXISTS);
    KB_CHECK_I64(small_put(e, "pods/a/x", "n1", 2, KB_COND_REV, 9), ==, -KB_ECONFLICT);
    KB_CHECK_I64(small_put(e, "pods/a/y", "n1", 2, KB_COND_REV, 1), ==, -KB_ENOTFOUND);
    KB_CHECK_I64(small_del(e, "pods/a/y"), ==, -KB_ENOTFOUND);
    KB_CHECK_U64(kb_engine_rev(e), ==, 1);
    KB_CHECK_I64(small_value(e, "pods/a/x", KB_REV_LATEST), ==, 1);
}

KB_TEST(engine, replays_its_log_after_a_restart)
{
    struct kb_engine *e = small_open();
    char key[32];
    for (int i = 0; i < 300; i++) {
        snprintf(key, sizeof(key), "pods/a/p%d", i);
        KB_CHECK_OK(small_put(e, key, i % 2 ? "n1" : "n2", i, KB_COND_NONE, 0), &small.err);
    }
    kb_engine_close(&e);
    e = small_open();
    KB_CHECK_U64(kb_engine_rev(e), ==, 300);
    KB_CHECK_I64(small_value(e, "pods/a/p299", KB_REV_LATEST), ==, 299);
    KB_CHECK_U64(small_count(e, "pods/a/", "", ""), ==, 300);
    small_check(e);
    kb_engine_close(&e);
}

KB_TEST(engine, an_index_is_exact_before_and_after_it_is_built)
{
    KB_AUTO(kb_engine_close) struct kb_engine *e = small_open();
    KB_CHECK_OK(small_put(e, "pods/a/x", "n1", 1, KB_COND_NONE, 0), &small.err);
    KB_CHECK_OK(small_put(e, "pods/a/y", "", 2, KB_COND_NONE, 0), &small.err);
    KB_CHECK_OK(small_declare_node(e), &small.err);
    for (int pass = 0; pass < 2; pass++) {
        KB_CHECK_U64(small_count(e, "pods/", "node", "n1"), ==, 1 + pass);
        KB_CHECK_U64(small_count(e, "pods/", "node", ""), ==, 1 - pass);
        KB_CHECK_OK(kb_engine_checkpoint(e, &small.err), &small.err);
        KB_CHECK_OK(small_put(e, "pods/a/y", "n1", 3, KB_COND_NONE, 0), &small.err);
    }
    small_check(e);
}

KB_TEST(engine, compaction_forgets_what_was_replaced_and_no_more)
{
    KB_AUTO(kb_engine_close) struct kb_engine *e = small_open();
    KB_CHECK_OK(small_declare_node(e), &small.err);
    KB_CHECK_OK(small_put(e, "pods/a/x", "n1", 1, KB_COND_NONE, 0), &small.err);
    KB_CHECK_OK(small_put(e, "pods/a/x", "n2", 2, KB_COND_NONE, 0), &small.err);
    KB_CHECK_OK(small_put(e, "pods/a/y", "n2", 3, KB_COND_NONE, 0), &small.err);
    KB_CHECK_OK(small_del(e, "pods/a/y"), &small.err);
    KB_CHECK_OK(kb_engine_checkpoint(e, &small.err), &small.err);
    KB_CHECK(kb_engine_compact(e, 4, &small.err) == 1);
    KB_CHECK_OK(small_settle(e), &small.err);
    KB_CHECK_OK(small_put(e, "pods/a/y", "n3", 5, KB_COND_ABSENT, 0), &small.err);
    KB_CHECK_I64(small_value(e, "pods/a/x", 2), ==, -KB_EGONE);
    small_check(e);
    struct kb_engine_status status;
    KB_CHECK_OK(kb_engine_status(e, &status, &small.err), &small.err);
    KB_CHECK_U64(status.versions, ==, 2);
    KB_CHECK_U64(status.index_entries, ==, 2);
}

KB_TEST(engine, history_tells_every_change_in_order)
{
    KB_AUTO(kb_engine_close) struct kb_engine *e = small_open();
    for (int i = 1; i <= 30; i++) {
        KB_CHECK_OK(small_put(e, i % 2 ? "pods/a/x" : "pods/a/y", "n1", i, KB_COND_NONE, 0),
                    &small.err);
        if (i == 20)
            KB_CHECK_OK(kb_engine_checkpoint(e, &small.err), &small.err);
    }
    struct kb_history h;
    struct kb_item item;
    KB_CHECK_OK(kb_history_init(&h, e, 5, &small.err), &small.err);
    for (int i = 6; i <= 30; i++) {
        KB_CHECK(kb_history_next(&h, &item, &small.err) == 1);
        KB_CHECK_U64(item.id.rev, ==, i);
        KB_CHECK_I64(kb_val_int_at(item.doc, "n", 0), ==, i);
        KB_CHECK_U64(item.prev.rev, ==, i - 2);
    }
    KB_CHECK(kb_history_next(&h, &item, &small.err) == 0);
    kb_history_finish(&h);
}

KB_TEST(engine, a_put_with_a_time_to_live_is_deleted_unless_put_again)
{
    struct kb_engine *e = small_open();
    KB_AUTO(kb_doc_destroy) struct kb_doc *doc = small_pod("n1", 1);
    for (int i = 0; i < 2; i++) {
        struct kb_write_op op = {.key = kb_str_of(i ? "events/a/y" : "events/a/x"),
                                 .doc = kb_doc_root(doc),
                                 .expires_ms = 1000};
        struct kb_write write = {.ops = &op, .n = 1};
        uint64_t rev;
        size_t failed;
        KB_CHECK_OK(kb_engine_write(e, &write, &rev, &failed, &small.err), &small.err);
    }
    KB_CHECK_OK(small_settle(e), &small.err);
    KB_CHECK_OK(small_put(e, "events/a/y", "n1", 2, KB_COND_NONE, 0), &small.err);
    kb_engine_close(&e);
    e = small_open();
    KB_CHECK_I64(kb_engine_next_expiry(e), ==, 1000);
    KB_CHECK_I64(kb_engine_expire(e, 999, 10, &small.err), ==, 0);
    KB_CHECK_I64(kb_engine_expire(e, 1000, 10, &small.err), ==, 1);
    KB_CHECK_OK(small_settle(e), &small.err);
    KB_CHECK_I64(small_value(e, "events/a/x", KB_REV_LATEST), ==, -KB_ENOTFOUND);
    KB_CHECK_I64(small_value(e, "events/a/y", KB_REV_LATEST), ==, 2);
    KB_CHECK_I64(kb_engine_next_expiry(e), ==, 0);
    small_check(e);
    kb_engine_close(&e);
}

KB_TEST(engine, a_lease_keeps_its_epoch_and_fences_writes)
{
    struct kb_engine *e = small_open();
    struct kb_lease lease = {kb_str_of("m1"), 3, 5000};
    KB_CHECK_OK(kb_engine_lease_put(e, kb_str_of("pool/0"), &lease, &small.err), &small.err);
    KB_CHECK_OK(small_settle(e), &small.err);
    kb_engine_close(&e);
    e = small_open();
    KB_CHECK_U64(kb_engine_lease(e, kb_str_of("pool/0")).epoch, ==, 3);
    KB_AUTO(kb_doc_destroy) struct kb_doc *doc = small_pod("n1", 1);
    struct kb_write_op op = {.key = kb_str_of("pods/a/x"), .doc = kb_doc_root(doc)};
    struct kb_write write = {.ops = &op, .n = 1, .lease = kb_str_of("pool/0"), .epoch = 2};
    uint64_t rev;
    size_t failed;
    KB_CHECK_I64(kb_engine_write(e, &write, &rev, &failed, &small.err), ==, -KB_ECONFLICT);
    write.epoch = 3;
    KB_CHECK_OK(kb_engine_write(e, &write, &rev, &failed, &small.err), &small.err);
    kb_engine_close(&e);
}

KB_TEST(engine, the_map_grows_before_it_is_full)
{
    KB_AUTO(kb_engine_close) struct kb_engine *e = small_open();
    struct kb_engine_status status;
    char key[32];
    for (int i = 0; i < 12000; i++) {
        snprintf(key, sizeof(key), "pods/a/p%d", i * 7919 % 12000);
        KB_CHECK_OK(small_stage(e, key, "n1", i), &small.err);
        if (i % 200 == 0)
            KB_CHECK_OK(small_settle(e), &small.err);
    }
    KB_CHECK_OK(small_settle(e), &small.err);
    small_check(e);
    KB_CHECK_OK(kb_engine_status(e, &status, &small.err), &small.err);
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
        kb_engine_tick(e, small.now_ms);
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
    KB_CHECK_OK(kb_engine_open(&config, &e, &small.err), &small.err);
    for (int i = 0; i < 5000; i++) {
        char key[32];
        snprintf(key, sizeof(key), "pods/a/p%d", i * 7919 % 1000);
        KB_CHECK_OK(small_stage(e, key, "n1", i), &small.err);
        if (i % 50 == 0)
            await(e, i % 100 == 0);
        if (i == 2500)
            KB_CHECK(kb_engine_compact(e, 1000, &small.err) == 1);
    }
    await(e, true);
    KB_CHECK_U64(small_count(e, "pods/", "", ""), ==, 1000);
    small_check(e);
    kb_engine_close(&e);
    e = small_open();
    KB_CHECK_U64(kb_engine_rev(e), ==, 5000);
    kb_engine_close(&e);
}

KB_TEST(engine, a_batch_larger_than_a_segment_gets_one_of_its_size)
{
    struct kb_engine *e = small_open();
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
        KB_CHECK_OK(kb_engine_write(e, &write, &rev, &failed, &small.err), &small.err);
        KB_CHECK_OK(small_settle(e), &small.err);
        KB_CHECK_OK(small_put(e, "pods/a/z", "n1", i, KB_COND_NONE, 0), &small.err);
    }
    kb_engine_close(&e);
    e = small_open();
    KB_CHECK_U64(kb_engine_rev(e), ==, 6);
    KB_CHECK_U64(small_count(e, "pods/", "", ""), ==, 3);
    small_check(e);
    kb_engine_close(&e);
}

KB_TEST(engine, one_process_at_a_time)
{
    KB_AUTO(kb_engine_close) struct kb_engine *e = small_open();
    struct kb_engine *other = NULL;
    struct kb_engine_config config = {.dir = kb_test_dir()};
    KB_CHECK_I64(kb_engine_open(&config, &other, &small.err), ==, -KB_EUNAVAILABLE);
}
