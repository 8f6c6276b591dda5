/* The files behind the engine: damaged, cut short, backed up and restored. */
#include "bus/base/file.h"
#include "tests/lib/test.h"
#include "tests/unit/store/small.h"

#include <fcntl.h>
#include <unistd.h>

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
    struct kb_engine *e = small_open();
    KB_AUTO(kb_auto_free) char *log = find_log();
    for (int i = 1; i <= 3; i++)
        KB_CHECK_OK(small_put(e, "pods/a/x", "n1", i, KB_COND_NONE, 0), &small.err);
    kb_engine_close(&e);
    damage(log, 4096 * 3 + 60);
    e = small_open();
    KB_CHECK_U64(kb_engine_rev(e), ==, 2);
    KB_CHECK_OK(small_put(e, "pods/a/x", "n1", 9, KB_COND_NONE, 0), &small.err);
    kb_engine_close(&e);
    e = small_open();
    KB_CHECK_I64(small_value(e, "pods/a/x", KB_REV_LATEST), ==, 9);
    kb_engine_close(&e);
}

KB_TEST(damage, in_the_middle_of_the_log_refuses_to_start)
{
    struct kb_engine *e = small_open();
    KB_AUTO(kb_auto_free) char *log = find_log();
    for (int i = 1; i <= 3; i++)
        KB_CHECK_OK(small_put(e, "pods/a/x", "n1", i, KB_COND_NONE, 0), &small.err);
    kb_engine_close(&e);
    damage(log, 4096 * 2 + 60);
    struct kb_engine_config config = {.dir = kb_test_dir()};
    KB_CHECK_I64(kb_engine_open(&config, &e, &small.err), ==, -KB_EIO);
    KB_CHECK(strstr(small.err.text, "batch 2") &&
             strstr(small.err.text, "acknowledged changes are lost"));
}

KB_TEST(damage, to_a_document_is_never_handed_out)
{
    struct kb_engine *e = small_open();
    KB_CHECK_OK(small_put(e, "pods/a/x", "a-node-that-can-be-found", 1, KB_COND_NONE, 0),
                &small.err);
    KB_CHECK_OK(kb_engine_checkpoint(e, &small.err), &small.err);
    kb_engine_close(&e);
    KB_AUTO(kb_auto_free) char *path = kb_strf("%s/db/data.mdb", kb_test_dir());
    KB_AUTO(kb_buf_finish) struct kb_buf file = {0};
    KB_CHECK_OK(kb_file_read(path, 1 << 24, &file, &small.err), &small.err);
    char *at = memmem(file.p, file.n, "a-node-that-can-be-found", 24);
    KB_CHECK(at != NULL);
    damage(path, at - file.p + 3);
    e = small_open();
    KB_CHECK_I64(small_value(e, "pods/a/x", KB_REV_LATEST), ==, -KB_EIO);
    kb_engine_close(&e);
}

KB_TEST(damage, a_database_cut_short_refuses_to_start)
{
    struct kb_engine *e = small_open();
    KB_CHECK_OK(small_put(e, "pods/a/x", "n1", 1, KB_COND_NONE, 0), &small.err);
    KB_CHECK_OK(kb_engine_checkpoint(e, &small.err), &small.err);
    kb_engine_close(&e);
    KB_AUTO(kb_auto_free) char *path = kb_strf("%s/db/data.mdb", kb_test_dir());
    KB_CHECK(truncate(path, 3 * 4096) == 0);
    struct kb_engine_config config = {.dir = kb_test_dir()};
    KB_CHECK_I64(kb_engine_open(&config, &e, &small.err), ==, -KB_EIO);
    KB_CHECK(strstr(small.err.text, "cut short") != NULL);
}

static int backup(struct kb_engine *e, const char *file, uint64_t *ret_rev)
{
    int rc;
    uint64_t bytes;
    struct kb_commit commit;
    KB_CHECK_OK(kb_engine_backup(e, file, &small.err), &small.err);
    while (!kb_engine_backup_done(e, &rc, ret_rev, &bytes, &small.err))
        kb_engine_poll(e, &commit);
    return rc;
}

KB_TEST(backup, comes_back_as_a_new_database_with_the_same_contents)
{
    struct kb_engine *e = small_open();
    KB_AUTO(kb_auto_free) char *file = kb_strf("%s/backup", kb_test_dir());
    char id[KB_UUID_BYTES];
    uint64_t rev = 0;
    KB_CHECK_OK(small_declare_node(e), &small.err);
    for (int i = 1; i <= 100; i++)
        KB_CHECK_OK(small_put(e, "pods/a/x", "n1", i, KB_COND_NONE, 0), &small.err);
    kb_str_copy(kb_str_of(kb_engine_id(e)), id, sizeof(id));
    KB_CHECK_OK(backup(e, file, &rev), &small.err);
    KB_CHECK_U64(rev, ==, 100);
    KB_CHECK_OK(small_put(e, "pods/a/y", "n1", 0, KB_COND_NONE, 0), &small.err);
    KB_CHECK_I64(kb_engine_restore(kb_test_dir(), file, &small.err), ==, -KB_EUNAVAILABLE);
    kb_engine_close(&e);
    KB_CHECK_OK(kb_engine_restore(kb_test_dir(), file, &small.err), &small.err);
    e = small_open();
    KB_CHECK_U64(kb_engine_rev(e), ==, 100);
    KB_CHECK_I64(small_value(e, "pods/a/x", 50), ==, 50);
    KB_CHECK_I64(small_value(e, "pods/a/y", KB_REV_LATEST), ==, -KB_ENOTFOUND);
    KB_CHECK(strcmp(kb_engine_id(e), id) != 0);
    KB_CHECK_OK(small_put(e, "pods/a/y", "n1", 1, KB_COND_NONE, 0), &small.err);
    small_check(e);
    kb_engine_close(&e);
    damage(file, 5000);
    KB_CHECK_I64(kb_engine_restore(kb_test_dir(), file, &small.err), ==, -KB_EIO);
}
