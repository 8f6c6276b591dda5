/* Logs of actors that grow are moved aside; no line is lost, none is there twice. */
#include "actors/kernel/process.h"
#include "bus/base/file.h"
#include "tests/lib/test.h"

#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

enum { LINES = 20000, LINE_BYTES = 16, MAX_BYTES = 20000 };

struct story {
    char *log, *old; /* as the kernel has them */
    struct kb_buf seen;
    int rotations;
};

static void story_init(struct story *s, const char *folder)
{
    *s = (struct story){.log = kb_test_keep(kb_strf("%s/actor.log", folder)),
                        .old = kb_test_keep(kb_strf("%s/actor.log.1", folder))};
}

static int log_open(const struct story *s)
{
    int fd = open(s->log, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
    KB_CHECK(fd >= 0);
    return fd;
}

static void write_line(int fd, int number)
{
    char line[LINE_BYTES + 1];
    snprintf(line, sizeof(line), "line %010d\n", number);
    KB_CHECK_I64(write(fd, line, LINE_BYTES), ==, LINE_BYTES);
}

/* What was moved aside is taken, for the next rotation replaces it. */
static void rotate(struct story *s)
{
    KB_AUTO(kb_buf_finish) struct kb_buf moved = {0};
    kb_log_rotate(s->log, MAX_BYTES);
    if (kb_file_read(s->old, 64 << 20, &moved, NULL) < 0)
        return;
    kb_buf_add(&s->seen, moved.p, moved.n);
    s->rotations++;
    KB_CHECK(unlink(s->old) == 0);
}

static void check_all_lines(struct story *s)
{
    KB_AUTO(kb_buf_finish) struct kb_buf rest = {0};
    char line[LINE_BYTES + 1];
    KB_CHECK(kb_file_read(s->log, 64 << 20, &rest, NULL) == 0);
    kb_buf_add(&s->seen, rest.p, rest.n);
    KB_CHECK_U64(s->seen.n, ==, LINES * LINE_BYTES);
    for (int i = 0; i < LINES; i++) {
        snprintf(line, sizeof(line), "line %010d\n", i);
        KB_CHECK(memcmp(s->seen.p + (size_t)i * LINE_BYTES, line, LINE_BYTES) == 0);
    }
    kb_buf_finish(&s->seen);
}

static bool can_cut_heads(const char *folder)
{
    KB_AUTO(kb_auto_free) char *path = kb_strf("%s/probe", folder);
    KB_AUTO(kb_auto_close) int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    struct stat st;
    KB_CHECK(fd >= 0 && fstat(fd, &st) == 0);
    KB_CHECK(ftruncate(fd, 2 * st.st_blksize) == 0);
    return fallocate(fd, FALLOC_FL_COLLAPSE_RANGE, 0, st.st_blksize) == 0;
}

static void lines_between_rotations(const char *folder)
{
    struct story s;
    story_init(&s, folder);
    KB_AUTO(kb_auto_close) int fd = log_open(&s);
    for (int i = 0; i < LINES; i++) {
        write_line(fd, i);
        if (i % 700 == 0)
            rotate(&s);
    }
    KB_CHECK(s.rotations > 5);
    struct stat st;
    KB_CHECK(stat(s.log, &st) == 0);
    KB_CHECK_I64(st.st_size, <, MAX_BYTES + 700 * LINE_BYTES);
    check_all_lines(&s);
}

KB_TEST(log_rotate, no_line_is_lost)
{
    lines_between_rotations(kb_test_dir());
}

KB_TEST(log_rotate, nor_where_a_file_cannot_lose_its_head)
{
    char folder[] = "/dev/shm/kubus-log-XXXXXX";
    if (mkdtemp(folder) == NULL)
        return; /* no such file system here */
    lines_between_rotations(folder);
    kb_dir_remove(folder, NULL);
}

KB_TEST(log_rotate, nor_while_lines_are_being_written)
{
    struct story s;
    int code;
    if (!can_cut_heads(kb_test_dir()))
        return; /* as process.h says */
    story_init(&s, kb_test_dir());
    int fd = log_open(&s);
    pid_t writer = fork();
    if (writer == 0) {
        for (int i = 0; i < LINES; i++)
            write_line(fd, i);
        _exit(0);
    }
    while (waitpid(writer, &code, WNOHANG) == 0)
        rotate(&s);
    KB_CHECK_I64(code, ==, 0);
    rotate(&s);
    KB_CHECK(s.rotations > 0);
    close(fd);
    check_all_lines(&s);
}

/* A device that is always full stands where the log would go: it stays as it is. */
KB_TEST(log_rotate, on_a_full_disk_the_log_stays)
{
    struct story s;
    story_init(&s, kb_test_dir());
    int fd = log_open(&s);
    for (int i = 0; i < LINES; i++)
        write_line(fd, i);
    close(fd);
    KB_CHECK(symlink("/dev/full", s.old) == 0);
    kb_log_rotate(s.log, MAX_BYTES);
    KB_CHECK(unlink(s.old) == 0);
    check_all_lines(&s);
}

KB_TEST(log_rotate, a_small_one_stays)
{
    struct story s;
    struct stat st;
    story_init(&s, kb_test_dir());
    int fd = log_open(&s);
    for (int i = 0; i < MAX_BYTES / LINE_BYTES; i++)
        write_line(fd, i);
    close(fd);
    kb_log_rotate(s.log, MAX_BYTES);
    KB_CHECK(stat(s.old, &st) < 0);
    kb_log_rotate("/nowhere/at/all", MAX_BYTES);
}
