#include "bus/view_core.h"
#include "tests/lib/test.h"

#include <stdlib.h>

static enum kb_view_wish event(struct kb_view_core *core, int64_t prev, int64_t rev)
{
    struct kb_view_event e = {.db = kb_str_of("db"), .rev = rev, .prev = prev, .now = rev};
    return kb_view_core_event(core, &e, 0);
}

static enum kb_view_wish beat(struct kb_view_core *core, int64_t rev, int64_t now)
{
    struct kb_view_event e = {.beat = true, .db = kb_str_of("db"), .rev = rev, .now = now};
    return kb_view_core_event(core, &e, 0);
}

/* A view that has listed everything up to `rev`. */
static void live_at(struct kb_view_core *core, int64_t rev)
{
    kb_view_core_init(core, 0, 0);
    KB_CHECK_I64(kb_view_core_start(core), ==, KB_VIEW_LIST);
    KB_CHECK(kb_view_core_page(core, kb_str_of("db"), rev));
    KB_CHECK_I64(kb_view_core_listed(core, rev, false), ==, KB_VIEW_SYNCED);
}

KB_TEST(view_core, applies_an_event_that_follows_on_what_it_has)
{
    struct kb_view_core core;
    live_at(&core, 10);
    KB_CHECK_I64(event(&core, 8, 12), ==, KB_VIEW_APPLY);
    KB_CHECK(!kb_view_core_change(&core, kb_str_of("pods/a/b"), 10, false));
    KB_CHECK(kb_view_core_change(&core, kb_str_of("pods/a/b"), 12, false));
    KB_CHECK_I64(kb_view_core_applied(&core, 12), ==, KB_VIEW_SYNCED);
    KB_CHECK_I64(event(&core, 8, 12), ==, KB_VIEW_NOTHING);
    kb_view_core_finish(&core);
}

KB_TEST(view_core, replays_when_an_event_or_a_beat_shows_a_gap)
{
    struct kb_view_core core;
    live_at(&core, 10);
    KB_CHECK_I64(event(&core, 11, 12), ==, KB_VIEW_REPLAY);
    KB_CHECK_I64(event(&core, 12, 13), ==, KB_VIEW_NOTHING);                   /* under way */
    KB_CHECK_I64(kb_view_core_replayed(&core, 12, false), ==, KB_VIEW_REPLAY); /* 13 is missing */
    KB_CHECK_I64(kb_view_core_replayed(&core, 13, false), ==, KB_VIEW_SYNCED);
    KB_CHECK_I64(beat(&core, 13, 20), ==, KB_VIEW_SYNCED);
    KB_CHECK_I64(core.have, ==, 20);
    KB_CHECK_I64(beat(&core, 21, 22), ==, KB_VIEW_REPLAY);
    kb_view_core_finish(&core);
}

KB_TEST(view_core, replays_what_was_published_while_it_listed)
{
    struct kb_view_core core;
    kb_view_core_init(&core, 0, 0);
    KB_CHECK_I64(event(&core, 3, 15), ==, KB_VIEW_NOTHING);
    KB_CHECK(kb_view_core_page(&core, kb_str_of("db"), 10));
    KB_CHECK_I64(kb_view_core_listed(&core, 10, true), ==, KB_VIEW_LIST);
    KB_CHECK(kb_view_core_page(&core, kb_str_of("db"), 10));
    core.seen = 15;
    KB_CHECK_I64(kb_view_core_listed(&core, 10, false), ==, KB_VIEW_REPLAY);
    kb_view_core_finish(&core);
}

KB_TEST(view_core, relists_after_410_and_names_what_vanished)
{
    struct kb_view_core core;
    char **gone;
    kb_view_core_init(&core, 0, 0);
    KB_CHECK(kb_view_core_page(&core, kb_str_of("db"), 10));
    KB_CHECK(kb_view_core_item(&core, kb_str_of("pods/a/1"), 4));
    KB_CHECK(kb_view_core_item(&core, kb_str_of("pods/a/2"), 5));
    KB_CHECK(kb_view_core_item(&core, kb_str_of("pods/a/3"), 6));
    KB_CHECK_I64(kb_view_core_vanished(&core, &gone), ==, 0);
    KB_CHECK_I64(kb_view_core_listed(&core, 10, false), ==, KB_VIEW_SYNCED);
    KB_CHECK_I64(event(&core, 50, 60), ==, KB_VIEW_REPLAY);
    KB_CHECK_I64(kb_view_core_failed(&core, KB_EGONE), ==, KB_VIEW_LIST);
    KB_CHECK(kb_view_core_page(&core, kb_str_of("db"), 60));
    KB_CHECK(!kb_view_core_item(&core, kb_str_of("pods/a/1"), 4)); /* as it was */
    KB_CHECK(kb_view_core_item(&core, kb_str_of("pods/a/3"), 55));
    KB_CHECK_I64(kb_view_core_vanished(&core, &gone), ==, 1);
    KB_CHECK_STR(gone[0], "pods/a/2");
    KB_CHECK_I64(kb_view_core_listed(&core, 60, false), ==, KB_VIEW_SYNCED);
    free(gone[0]);
    free(gone);
    kb_view_core_finish(&core);
}

/* What a user holds who is asked: pods/a/1 to pods/a/3 at these revisions. */
static int64_t held_rev(void *user, kb_str key)
{
    return ((int64_t *)user)[key.p[key.n - 1] - '1'];
}

static bool held_next(void *user, size_t *cursor, kb_str *ret_key)
{
    static const char *const keys[] = {"pods/a/1", "pods/a/2", "pods/a/3"};
    while (*cursor < 3 && ((int64_t *)user)[*cursor] == 0)
        ++*cursor;
    if (*cursor == 3)
        return false;
    *ret_key = kb_str_of(keys[(*cursor)++]);
    return true;
}

KB_TEST(view_core, asks_who_holds_the_objects_instead_of_keeping_their_keys)
{
    static const struct kb_view_held held = {held_rev, held_next};
    struct kb_view_core core;
    int64_t revs[3] = {0};
    char **gone;
    kb_view_core_init(&core, 0, 0);
    kb_view_core_held(&core, &held, revs);
    KB_CHECK(kb_view_core_page(&core, kb_str_of("db"), 10));
    KB_CHECK(kb_view_core_item(&core, kb_str_of("pods/a/1"), 4));
    KB_CHECK(kb_view_core_item(&core, kb_str_of("pods/a/2"), 5));
    revs[0] = 4, revs[1] = 5;
    revs[2] = 11; /* written by itself meanwhile: not in this listing, and not gone */
    KB_CHECK_I64(kb_view_core_vanished(&core, &gone), ==, 0);
    KB_CHECK_I64(kb_view_core_listed(&core, 10, false), ==, KB_VIEW_SYNCED);
    KB_CHECK_U64(core.keys.cap, ==, 0);
    KB_CHECK_I64(event(&core, 50, 60), ==, KB_VIEW_REPLAY);
    KB_CHECK_I64(kb_view_core_failed(&core, KB_EGONE), ==, KB_VIEW_LIST);
    KB_CHECK(kb_view_core_page(&core, kb_str_of("db"), 60));
    KB_CHECK(!kb_view_core_item(&core, kb_str_of("pods/a/1"), 4)); /* as it was */
    KB_CHECK(kb_view_core_item(&core, kb_str_of("pods/a/3"), 55));
    KB_CHECK_I64(kb_view_core_vanished(&core, &gone), ==, 1);
    KB_CHECK_STR(gone[0], "pods/a/2");
    KB_CHECK_I64(kb_view_core_listed(&core, 60, false), ==, KB_VIEW_SYNCED);
    KB_CHECK_U64(core.keys.cap, ==, 0);
    free(gone[0]);
    free(gone);
    kb_view_core_finish(&core);
}

KB_TEST(view_core, that_resumes_is_lost_when_the_history_is_gone)
{
    struct kb_view_core core;
    kb_view_core_init(&core, 7, 0);
    KB_CHECK_I64(kb_view_core_start(&core), ==, KB_VIEW_REPLAY);
    KB_CHECK_I64(kb_view_core_failed(&core, KB_EGONE), ==, KB_VIEW_LOST);
    kb_view_core_finish(&core);
}

KB_TEST(view_core, lists_again_when_another_database_speaks)
{
    struct kb_view_core core;
    live_at(&core, 10);
    struct kb_view_event e = {.db = kb_str_of("other"), .rev = 2, .prev = 1};
    KB_CHECK_I64(kb_view_core_event(&core, &e, 0), ==, KB_VIEW_LIST);
    KB_CHECK(kb_view_core_page(&core, kb_str_of("other"), 3));
    KB_CHECK_I64(kb_view_core_listed(&core, 3, false), ==, KB_VIEW_SYNCED);
    KB_CHECK_I64(core.have, ==, 3);
    kb_view_core_finish(&core);
}

KB_TEST(view_core, asks_when_nothing_was_heard_for_long)
{
    struct kb_view_core core;
    live_at(&core, 10);
    KB_CHECK_I64(kb_view_core_tick(&core, KB_VIEW_SILENCE_MS - 1), ==, KB_VIEW_NOTHING);
    KB_CHECK_I64(kb_view_core_tick(&core, KB_VIEW_SILENCE_MS), ==, KB_VIEW_REPLAY);
    KB_CHECK_I64(kb_view_core_failed(&core, KB_EUNAVAILABLE), ==, KB_VIEW_RETRY);
    KB_CHECK_I64(kb_view_core_retry(&core), ==, KB_VIEW_REPLAY);
    kb_view_core_finish(&core);
}
