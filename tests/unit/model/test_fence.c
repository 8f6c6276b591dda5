/* The lease of who must not do a thing twice, in virtual time. */
#include "bus/model/fence.h"
#include "tests/lib/test.h"

/* A store that grants epochs, each at a later revision. */
struct store {
    int64_t epoch, rev;
    int asked;
};

static bool ask(struct kb_fence *f, struct store *s, kb_ms now)
{
    KB_AUTO(kb_w_finish) struct kb_w w = {0};
    if (!kb_fence_ask(f, now, "agent/n1", &w))
        return false;
    s->asked++;
    KB_CHECK_STRN(kb_val_str(kb_val_get(kb_w_val(&w), "name")), "controller/x");
    KB_CHECK_STRN(kb_val_str(kb_val_get(kb_w_val(&w), "holder")), "agent/n1");
    KB_CHECK_I64(kb_val_int(kb_val_get(kb_w_val(&w), "ttl_ms"), 0), ==, 86400000);
    return true;
}

static void grant(struct kb_fence *f, struct store *s, kb_ms now)
{
    KB_AUTO(kb_w_finish) struct kb_w w = {0};
    kb_w_map(&w);
    kb_w_kint(&w, "epoch", ++s->epoch);
    kb_w_kint(&w, "rev", s->rev += 10);
    kb_w_end(&w);
    KB_CHECK(kb_fence_answer(f, NULL, kb_w_val(&w), now));
    KB_CHECK(kb_fence_holds(f));
    KB_CHECK_I64(f->epoch, ==, s->epoch);
    KB_CHECK_I64(f->rev, ==, s->rev);
}

static struct kb_fence held(struct store *s)
{
    struct kb_fence f;
    kb_fence_init(&f, "controller/x");
    KB_CHECK(!kb_fence_holds(&f));
    KB_CHECK_I64(kb_fence_wait_ms(&f, 0), ==, 0);
    KB_CHECK(ask(&f, s, 0));
    grant(&f, s, 5);
    return f;
}

KB_TEST(fence, is_asked_for_once_and_again_a_second_after_a_refusal)
{
    struct store s = {0};
    struct kb_err away = {.code = KB_EUNAVAILABLE};
    KB_AUTO(kb_fence_finish) struct kb_fence f;
    kb_fence_init(&f, "controller/x");
    KB_CHECK(ask(&f, &s, 100));
    KB_CHECK(!ask(&f, &s, 101));
    KB_CHECK_I64(kb_fence_wait_ms(&f, 101), ==, -1);
    KB_CHECK(!kb_fence_answer(&f, &away, (kb_val){0}, 200));
    KB_CHECK_I64(kb_fence_wait_ms(&f, 300), ==, 900);
    KB_CHECK(!ask(&f, &s, 1199));
    KB_CHECK(!kb_fence_holds(&f));
    KB_CHECK(ask(&f, &s, 1200));
    grant(&f, &s, 1201);
    KB_CHECK_I64(kb_fence_wait_ms(&f, 1201), ==, -1);
    KB_CHECK(!ask(&f, &s, 99999));
}

KB_TEST(fence, one_epoch_settles_all_that_was_sent_before_it)
{
    struct store s = {0};
    KB_AUTO(kb_fence_finish) struct kb_fence f = held(&s);
    int64_t before = f.epoch;
    KB_CHECK(kb_fence_doubt(&f, before, 1000));
    KB_CHECK(!kb_fence_holds(&f));
    KB_CHECK(kb_fence_doubt(&f, before, 1001)); /* a hundred writes of it, one question */
    KB_CHECK(ask(&f, &s, 1001));
    KB_CHECK(kb_fence_doubt(&f, before, 1002));
    KB_CHECK(!ask(&f, &s, 1002));
    grant(&f, &s, 1010);
    KB_CHECK(!kb_fence_doubt(&f, before, 1011)); /* settled, at f.rev */
    KB_CHECK(kb_fence_holds(&f));
    KB_CHECK_I64(s.asked, ==, 2);
}

KB_TEST(fence, doubt_does_not_hurry_a_store_that_is_away)
{
    struct store s = {0};
    struct kb_err away = {.code = KB_ETIMEOUT};
    KB_AUTO(kb_fence_finish) struct kb_fence f = held(&s);
    KB_CHECK(kb_fence_doubt(&f, f.epoch, 1000));
    KB_CHECK(ask(&f, &s, 1000));
    KB_CHECK(!kb_fence_answer(&f, &away, (kb_val){0}, 16000));
    KB_CHECK(kb_fence_doubt(&f, f.epoch, 16001));
    KB_CHECK(!ask(&f, &s, 16001));
    KB_CHECK(ask(&f, &s, 17000));
}

KB_TEST(fence, a_write_carries_the_epoch_that_is_held)
{
    struct store s = {.epoch = 41};
    KB_AUTO(kb_fence_finish) struct kb_fence f = held(&s);
    KB_AUTO(kb_w_finish) struct kb_w w = {0};
    kb_w_map(&w);
    kb_fence_write(&f, &w);
    kb_w_end(&w);
    KB_CHECK_STRN(kb_val_str_at(kb_w_val(&w), "lease.name"), "controller/x");
    KB_CHECK_I64(kb_val_int_at(kb_w_val(&w), "lease.epoch", 0), ==, 42);
}
