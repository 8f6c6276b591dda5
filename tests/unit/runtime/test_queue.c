#include "actors/runtime/queue.h"
#include "bus/base/rand.h"
#include "tests/lib/test.h"

static kb_str take(struct kb_queue *q, kb_ms now)
{
    kb_str key = kb_str_of("(none)");
    kb_queue_take(q, now, &key);
    return key;
}

KB_TEST(queue, a_key_is_in_it_once_and_in_order)
{
    KB_AUTO(kb_queue_finish) struct kb_queue q;
    kb_queue_init(&q);
    kb_queue_add(&q, kb_str_of("a"));
    kb_queue_add(&q, kb_str_of("b"));
    kb_queue_add(&q, kb_str_of("a"));
    KB_CHECK_STRN(take(&q, 0), "a");
    KB_CHECK_STRN(take(&q, 0), "b");
    KB_CHECK_STRN(take(&q, 0), "(none)");
    KB_CHECK_I64(kb_queue_wait_ms(&q, 0), ==, -1);
}

KB_TEST(queue, what_is_added_while_worked_on_comes_back_afterwards)
{
    KB_AUTO(kb_queue_finish) struct kb_queue q;
    kb_queue_init(&q);
    kb_queue_add(&q, kb_str_of("a"));
    KB_CHECK_STRN(take(&q, 0), "a");
    kb_queue_add(&q, kb_str_of("a"));
    KB_CHECK_STRN(take(&q, 0), "(none)");
    kb_queue_done(&q, kb_str_of("a"));
    KB_CHECK_STRN(take(&q, 0), "a");
    kb_queue_done(&q, kb_str_of("a"));
    KB_CHECK_U64(q.items.count, ==, 0);
}

KB_TEST(queue, failures_double_the_delay_up_to_a_bound)
{
    KB_AUTO(kb_queue_finish) struct kb_queue q;
    kb_queue_init(&q);
    kb_str a = kb_str_of("a");
    kb_ms now = 0, delay = 0;
    for (int i = 0; i < 30; i++) {
        delay = kb_queue_add_failed(&q, a, now);
        KB_CHECK_I64(delay, ==, i < 18 && (5 << i) < 1000000 ? 5 << i : 1000000);
        KB_CHECK_STRN(take(&q, now + delay - 1), "(none)");
        KB_CHECK_STRN(take(&q, now + delay), "a");
        kb_queue_done(&q, a);
        now += delay;
    }
    kb_queue_forget(&q, a);
    KB_CHECK_I64(kb_queue_add_failed(&q, a, now), ==, 5);
}

KB_TEST(queue, the_earlier_of_two_delays_counts_and_an_add_overtakes_both)
{
    KB_AUTO(kb_queue_finish) struct kb_queue q;
    kb_queue_init(&q);
    kb_str a = kb_str_of("a");
    kb_queue_add_at(&q, a, 100);
    kb_queue_add_at(&q, a, 200);
    kb_queue_add_at(&q, a, 50);
    KB_CHECK_I64(kb_queue_wait_ms(&q, 10), ==, 40);
    kb_queue_add(&q, a);
    KB_CHECK_STRN(take(&q, 10), "a");
    kb_queue_done(&q, a);
    KB_CHECK_I64(kb_queue_wait_ms(&q, 10), ==, -1);
}

/* Against a model: no key is lost, none is worked on twice at once. */
KB_TEST(queue, random_use_neither_loses_nor_doubles_a_key)
{
    enum { KEYS = 20 };
    struct kb_rand rand;
    KB_AUTO(kb_queue_finish) struct kb_queue q;
    bool working[KEYS] = {0}, due[KEYS] = {0};
    kb_queue_init(&q);
    kb_rand_init(&rand, kb_test_seed());
    for (kb_ms now = 0; now < 20000; now++) {
        char name[8];
        size_t k = kb_rand_below(&rand, KEYS);
        kb_str taken;
        snprintf(name, sizeof(name), "%zu", k);
        if (kb_rand_below(&rand, 2)) {
            kb_queue_add(&q, kb_str_of(name));
            due[k] = true;
        } else if (working[k]) {
            working[k] = false;
            kb_queue_done(&q, kb_str_of(name));
        }
        if (kb_rand_below(&rand, 3) == 0 && kb_queue_take(&q, now, &taken)) {
            int64_t at;
            KB_CHECK(kb_str_i64(taken, &at) && due[at] && !working[at]);
            working[at] = true;
            due[at] = false;
        }
    }
    for (size_t k = 0; k < KEYS; k++) {
        char name[8];
        snprintf(name, sizeof(name), "%zu", k);
        if (working[k])
            kb_queue_done(&q, kb_str_of(name));
    }
    kb_str taken;
    while (kb_queue_take(&q, 20000, &taken)) {
        int64_t at;
        KB_CHECK(kb_str_i64(taken, &at) && due[at]);
        due[at] = false;
    }
    for (size_t k = 0; k < KEYS; k++)
        KB_CHECK(!due[k]);
}
