#include "bus/base/base64.h"
#include "bus/base/arena.h"
#include "bus/base/buf.h"
#include "bus/base/clock.h"
#include "bus/base/err.h"
#include "bus/base/file.h"
#include "bus/base/map.h"
#include "bus/base/rand.h"
#include "bus/base/timers.h"
#include "tests/lib/test.h"

#include <stdlib.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

KB_TEST(err, wrapping_puts_the_place_before_the_cause)
{
    struct kb_err err = {0};
    KB_CHECK_I64(kb_err_set(&err, KB_EINVAL, "bad %s", "colon"), ==, -KB_EINVAL);
    KB_CHECK_I64(kb_err_wrap(&err, "manifest '%s'", "a.yaml"), ==, -KB_EINVAL);
    KB_CHECK_STR(err.text, "manifest 'a.yaml': bad colon");
    KB_CHECK_I64(kb_err_http(-KB_EGONE), ==, 410);
    KB_CHECK_I64(kb_err_from_reason("AlreadyExists", 409), ==, KB_EEXISTS);
}

KB_TEST(str, cut_walks_all_parts_also_empty_ones)
{
    kb_str rest = kb_str_of("a,,b");
    KB_CHECK_STRN(kb_str_cut(&rest, ','), "a");
    KB_CHECK_STRN(kb_str_cut(&rest, ','), "");
    KB_CHECK_STRN(kb_str_cut(&rest, ','), "b");
    KB_CHECK(rest.p == NULL);
}

KB_TEST(str, integers_refuse_overflow_and_rubbish)
{
    int64_t value;
    KB_CHECK(kb_str_i64(kb_str_of("-9223372036854775808"), &value) && value == INT64_MIN);
    KB_CHECK(!kb_str_i64(kb_str_of("9223372036854775808"), &value));
    KB_CHECK(!kb_str_i64(kb_str_of("12x"), &value));
    KB_CHECK(!kb_str_i64(kb_str_of(""), &value));
}

/* The map against a plain array, over random operations. */
KB_TEST(map, behaves_as_an_array_of_slots_does)
{
    struct kb_rand rand;
    struct kb_map map = {0};
    int values[64] = {0};
    bool present[64] = {false};
    kb_rand_init(&rand, kb_test_seed());
    for (int step = 0; step < 20000; step++) {
        char key[16];
        int slot = (int)kb_rand_below(&rand, 64);
        snprintf(key, sizeof(key), "key-%d", slot);
        void *was = kb_rand_below(&rand, 2) ? kb_map_put(&map, kb_str_of(key), &values[slot])
                                            : kb_map_del(&map, kb_str_of(key));
        KB_CHECK((was != NULL) == present[slot]);
        present[slot] = kb_map_get(&map, kb_str_of(key)) != NULL;
    }
    size_t count = 0, seen = 0;
    for (int i = 0; i < 64; i++)
        count += present[i];
    for (size_t at = 0; kb_map_next(&map, &at, NULL, NULL);)
        seen++;
    KB_CHECK_U64(seen, ==, count);
    KB_CHECK_U64(map.count, ==, count);
    kb_map_finish(&map);
}

KB_TEST(timers, equal_deadlines_fire_in_the_order_they_were_armed)
{
    struct kb_timers timers = {0};
    struct kb_timer timer[5] = {0};
    for (int i = 0; i < 5; i++)
        kb_timers_arm(&timers, &timer[i], i == 2 ? 5 : 10);
    kb_timers_arm(&timers, &timer[0], 10);
    kb_timers_disarm(&timers, &timer[3]);
    KB_CHECK_I64(kb_timers_wait_ms(&timers, 3), ==, 2);
    KB_CHECK(kb_timers_pop(&timers, 4) == NULL);
    KB_CHECK(kb_timers_pop(&timers, 10) == &timer[2]);
    KB_CHECK(kb_timers_pop(&timers, 10) == &timer[1]);
    KB_CHECK(kb_timers_pop(&timers, 10) == &timer[4]);
    KB_CHECK(kb_timers_pop(&timers, 10) == &timer[0]);
    KB_CHECK_I64(kb_timers_wait_ms(&timers, 10), ==, -1);
    kb_timers_finish(&timers);
}

KB_TEST(clock, times_survive_a_round_trip)
{
    char text[KB_TIME_BYTES];
    int64_t us;
    KB_CHECK_I64(kb_time_parse("2024-02-29T23:59:59.123456+02:00", &us), ==, 0);
    kb_time_format_micro(us, text);
    KB_CHECK_STR(text, "2024-02-29T21:59:59.123456Z");
    kb_time_format(us, text);
    KB_CHECK_STR(text, "2024-02-29T21:59:59Z");
    KB_CHECK_I64(kb_time_parse("2023-02-29T00:00:00Z", &us), <, 0);
    KB_CHECK_I64(kb_time_parse("yesterday", &us), <, 0);
}

static void check_time_refused(const char *text)
{
    int64_t us;
    KB_CHECK_I64(kb_time_parse(text, &us), ==, -KB_EINVAL);
}

KB_TEST(clock, dates_that_do_not_exist_are_refused)
{
    int64_t us, same;
    static const char *const bad[] = {
        "",
        "2024-01-01",
        "2024-00-10T00:00:00Z",
        "2024-13-10T00:00:00Z",
        "2024-04-31T00:00:00Z",
        "1900-02-29T00:00:00Z",
        "2024-01-01T24:00:00Z",
        "2024-01-01T00:60:00Z",
        "2024-01-01T00:00:61Z",
        "2024-01-01T00:00:00",
        "2024-01-01T00:00:00.Z",
        "2024-01-01T00:00:00+1:00",
        "2024-01-01T00:00:00+24:00",
        "2024-01-01T00:00:00+01:00 ",
    };
    for (size_t i = 0; i < KB_COUNT(bad); i++)
        check_time_refused(bad[i]);
    KB_CHECK_I64(kb_time_parse("2000-02-29t00:00:60z", &us), ==, 0); /* a leap second */
    KB_CHECK_I64(kb_time_parse("2000-02-29T00:01:00-00:00", &same), ==, 0);
    KB_CHECK_I64(us, ==, same);
}

/* The calendar's arithmetic against the C library's, over all years that a time can have. */
KB_TEST(clock, the_calendar_agrees_with_the_library)
{
    const int64_t first = INT64_C(-62167219200), behind = INT64_C(253402300800);
    struct kb_rand rand;
    kb_rand_init(&rand, kb_test_seed());
    for (int i = 0; i < 20000; i++) {
        char text[KB_TIME_BYTES], want[64];
        struct tm tm;
        int64_t us;
        time_t seconds = first + (int64_t)kb_rand_below(&rand, (uint64_t)(behind - first));
        int fraction = (int)kb_rand_below(&rand, 1000000);
        gmtime_r(&seconds, &tm);
        snprintf(want, sizeof(want), "%04d-%02d-%02dT%02d:%02d:%02d.%06dZ", tm.tm_year + 1900,
                 tm.tm_mon + 1, tm.tm_mday, tm.tm_hour, tm.tm_min, tm.tm_sec, fraction);
        kb_time_format_micro((int64_t)seconds * 1000000 + fraction, text);
        KB_CHECK_STR(text, want);
        KB_CHECK_I64(kb_time_parse(text, &us), ==, 0);
        KB_CHECK_I64(us, ==, (int64_t)seconds * 1000000 + fraction);
    }
}

KB_TEST(clock, times_out_of_range_become_the_nearest)
{
    char text[KB_TIME_BYTES];
    kb_time_format_micro(INT64_MIN, text);
    KB_CHECK_STR(text, "0000-01-01T00:00:00.000000Z");
    kb_time_format_micro(INT64_MAX, text);
    KB_CHECK_STR(text, "9999-12-31T23:59:59.999999Z");
    kb_time_format(-1, text);
    KB_CHECK_STR(text, "1969-12-31T23:59:59Z");
}

KB_TEST(buf, what_is_printed_fits_wherever_the_memory_ends)
{
    for (size_t before = 0; before < 70; before++) {
        KB_AUTO(kb_buf_finish) struct kb_buf buf = {0};
        for (size_t i = 0; i < before; i++)
            kb_buf_putc(&buf, '.');
        kb_buf_printf(&buf, "%s=%d", "answer", 42);
        kb_buf_puti(&buf, INT64_MIN);
        kb_buf_puti(&buf, 0);
        KB_CHECK_STR(buf.p + before, "answer=42-92233720368547758080");
        KB_CHECK_U64(buf.n, ==, strlen(buf.p));
    }
}

static void fill(const char *folder)
{
    struct kb_err err = {0};
    for (int i = 0; i < 60; i++) {
        KB_AUTO(kb_auto_free) char *dir = kb_strf("%s/%d/%d", folder, i % 6, i);
        KB_AUTO(kb_auto_free) char *file = kb_strf("%s/f", dir);
        KB_CHECK_OK(kb_dir_make(dir, 0755, &err), &err);
        KB_CHECK_OK(kb_file_write(file, kb_str_of("x"), 0644, &err), &err);
    }
}

KB_TEST(file, a_folder_that_two_remove_at_once_is_gone_for_both)
{
    char folder[] = "/tmp/kubus-test-XXXXXX";
    struct kb_err err = {0};
    KB_CHECK(mkdtemp(folder) != NULL);
    for (int round = 0; round < 30; round++) {
        fill(folder);
        pid_t other = fork();
        if (other == 0)
            _exit(kb_dir_remove(folder, NULL) < 0 || access(folder, F_OK) == 0);
        KB_CHECK_OK(kb_dir_remove(folder, &err), &err);
        KB_CHECK(access(folder, F_OK) < 0);
        int status = 0;
        KB_CHECK(waitpid(other, &status, 0) == other && status == 0);
    }
}

KB_TEST(file, a_written_file_reads_back_and_bounds_hold)
{
    struct kb_err err = {0};
    KB_AUTO(kb_buf_finish) struct kb_buf buf = {0};
    KB_AUTO(kb_auto_free) char *path = kb_strf("%s/sub/file", kb_test_dir());
    KB_AUTO(kb_auto_free) char *folder = kb_strf("%s/sub", kb_test_dir());
    KB_CHECK_OK(kb_dir_make(folder, 0755, &err), &err);
    KB_CHECK_OK(kb_file_write(path, kb_str_of("hello"), 0600, &err), &err);
    KB_CHECK_OK(kb_file_read(path, 100, &buf, &err), &err);
    KB_CHECK_STRN(kb_buf_str(&buf), "hello");
    KB_CHECK_I64(kb_file_read(path, 4, &buf, &err), ==, -KB_E2BIG);
    KB_CHECK_I64(kb_file_read("/nonexistent", 4, &buf, &err), ==, -KB_ENOTFOUND);
    KB_CHECK_OK(kb_dir_remove(folder, &err), &err);
    KB_CHECK_OK(kb_dir_remove(folder, &err), &err);
}

KB_TEST(rand, uuids_have_their_version_and_variant)
{
    struct kb_rand rand;
    char uuid[KB_UUID_BYTES];
    kb_rand_init(&rand, kb_test_seed());
    for (int i = 0; i < 1000; i++) {
        kb_rand_uuid(&rand, uuid);
        KB_CHECK_U64(strlen(uuid), ==, 36);
        KB_CHECK(uuid[14] == '4' && strchr("89ab", uuid[19]) != NULL);
    }
}

KB_TEST(arena, strings_stay_where_they_are_while_it_grows)
{
    struct kb_arena arena = {0};
    kb_str first = kb_arena_str(&arena, kb_str_of("first"));
    for (int i = 0; i < 10000; i++)
        kb_arena_printf(&arena, "filler %d", i);
    KB_CHECK_STR(first.p, "first");
    kb_arena_finish(&arena);
}

KB_TEST(base64, what_is_none_is_shown_at_the_byte_where_go_shows_it)
{
    static const struct {
        const char *text;
        size_t at;
    } cases[] = {{"!!", 0},  {"abc", 0},  {"abcd?", 4},   {"abcdabc", 4},
                 {"ab=", 3}, {"ab=c", 2}, {"ab==x", 4},   {"abc=x", 4},
                 {"=", 0},   {"a=", 1},   {"ab\ncd!", 5}, {"secret", 4}};
    for (size_t i = 0; i < KB_COUNT(cases); i++) {
        KB_AUTO(kb_buf_finish) struct kb_buf out = {0};
        KB_CHECK(kb_base64_decode(kb_str_of(cases[i].text), &out) < 0);
        KB_CHECK_U64(kb_base64_bad_at(kb_str_of(cases[i].text)), ==, cases[i].at);
    }
}
