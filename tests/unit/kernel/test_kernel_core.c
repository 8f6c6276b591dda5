#include "actors/kernel/kernel_core.h"
#include "bus/base/rand.h"
#include "tests/lib/test.h"

#include <signal.h>
#include <stdlib.h>

#define UUID "0a0a0a0a-0000-4000-8000-000000000001"

/* The world outside: what was wished, and processes that do as they are told. */
struct world {
    struct kb_kernel *kernel;
    kb_ms now_ms;
    int next_pid, spawned, killed, terminated, answers, refusals;
    bool ended;
    const struct kb_kernel_actor *answer;
};

static void world_carry_out(struct world *w)
{
    struct kb_kernel_wish wish;
    while (kb_kernel_wish(w->kernel, &wish)) {
        if (wish.kind == KB_KERNEL_SPAWN) {
            w->spawned++;
            kb_kernel_spawned(w->kernel, wish.actor->name, ++w->next_pid, w->now_ms);
        } else if (wish.kind == KB_KERNEL_SIGNAL) {
            w->killed += wish.signal == SIGKILL;
            w->terminated += wish.signal == SIGTERM;
        } else if (wish.kind == KB_KERNEL_ANSWER) {
            w->answers += wish.actor != NULL;
            w->refusals += wish.actor == NULL;
            w->answer = wish.actor;
        } else {
            w->ended = true;
        }
    }
}

static void world_start(struct world *w, const char *const *names, size_t n)
{
    *w = (struct world){.kernel = kb_kernel_new(), .now_ms = 1000, .next_pid = 100};
    for (size_t i = 0; i < n; i++)
        kb_kernel_add(w->kernel, names[i]);
    kb_kernel_start(w->kernel, w->now_ms);
    world_carry_out(w);
}

static const struct kb_kernel_actor *actor(const struct world *w, const char *name)
{
    const struct kb_kernel_actor *found = kb_kernel_find(w->kernel, kb_str_of(name));
    KB_CHECK(found != NULL);
    return found;
}

static const char *state(const struct world *w, const char *name)
{
    return kb_kernel_state_name(actor(w, name)->state);
}

static int registers(struct world *w, const char *name, int pid, bool ready)
{
    struct kb_err err = {0};
    struct kb_kernel_registration r = {
        kb_str_of(name), kb_str_of(UUID), kb_str_of("ipc://x"), {0}, pid, ready, 0};
    int rc = kb_kernel_register(w->kernel, &r, w->now_ms, &err);
    world_carry_out(w);
    return rc;
}

static int beats(struct world *w, const char *name)
{
    bool stop;
    int rc = kb_kernel_beat(w->kernel, kb_str_of(name), kb_str_of(UUID), true, (kb_val){0},
                            w->now_ms, &stop);
    world_carry_out(w);
    return rc;
}

static void exits(struct world *w, const char *name)
{
    kb_kernel_exited(w->kernel, name, actor(w, name)->pid, "exit 1", w->now_ms);
    world_carry_out(w);
}

/* Let time pass in steps that the core asked for; `beating` beats every second. */
static void passes(struct world *w, kb_ms ms, const char *beating)
{
    for (kb_ms end = w->now_ms + ms; w->now_ms < end;) {
        kb_ms step = kb_kernel_next_ms(w->kernel, w->now_ms);
        step = step > 1000 ? 1000 : step < 1 ? 1 : step;
        w->now_ms += step < end - w->now_ms ? step : end - w->now_ms;
        kb_kernel_tick(w->kernel, w->now_ms);
        world_carry_out(w);
        if (beating)
            beats(w, beating);
    }
}

static const char *const three[] = {"store", "api", "scheduler"};

KB_TEST(kernel_core, starts_all_at_once_and_knows_when_they_are_ready)
{
    struct world w;
    world_start(&w, three, 3);
    KB_CHECK_I64(w.spawned, ==, 3);
    KB_CHECK_STR(state(&w, "store"), "starting");
    w.now_ms += 40;
    KB_CHECK_I64(registers(&w, "store", 101, false), ==, 0);
    KB_CHECK_STR(state(&w, "store"), "starting");
    KB_CHECK_I64(registers(&w, "store", 101, true), ==, 0);
    KB_CHECK_STR(state(&w, "store"), "ready");
    KB_CHECK_I64(actor(&w, "store")->ready_ms, ==, 40);
    kb_kernel_destroy(&w.kernel);
}

KB_TEST(kernel_core, backs_off_longer_each_time_and_forgets_after_a_stable_minute)
{
    struct world w;
    world_start(&w, three, 1);
    for (int i = 0; i < 3; i++) { /* 100, 200, 400 ms */
        exits(&w, "store");
        KB_CHECK_STR(state(&w, "store"), "backoff");
        passes(&w, (100 << i) - 1, NULL);
        KB_CHECK_I64(w.spawned, ==, i + 1);
        passes(&w, 1, NULL);
        KB_CHECK_I64(w.spawned, ==, i + 2);
    }
    KB_CHECK_I64(actor(&w, "store")->restarts, ==, 3);
    registers(&w, "store", w.next_pid, true);
    passes(&w, KB_KERNEL_STABLE_MS, "store");
    exits(&w, "store");
    passes(&w, 100, NULL);
    KB_CHECK_I64(w.spawned, ==, 5);
    kb_kernel_destroy(&w.kernel);
}

KB_TEST(kernel_core, kills_an_actor_that_missed_three_beats_and_starts_it_again)
{
    struct world w;
    world_start(&w, three, 1);
    registers(&w, "store", 101, true);
    passes(&w, 20000, "store");
    KB_CHECK_STR(state(&w, "store"), "ready");
    passes(&w, 6000, NULL);
    KB_CHECK_STR(state(&w, "store"), "hung");
    KB_CHECK_I64(w.killed, ==, 1);
    exits(&w, "store");
    passes(&w, 100, NULL);
    KB_CHECK_I64(w.spawned, ==, 2);
    kb_kernel_destroy(&w.kernel);
}

/* A tick that is put off by every beat of the others must not look like kubusd's own absence. */
KB_TEST(kernel_core, sees_a_hang_while_others_beat_so_often_that_it_never_ticks)
{
    struct world w;
    world_start(&w, three, 2);
    registers(&w, "store", 101, true);
    registers(&w, "api", 102, true);
    for (int i = 0; i < 6; i++) {
        w.now_ms += 1000;
        beats(&w, "api");
    }
    KB_CHECK_I64(kb_kernel_next_ms(w.kernel, w.now_ms), ==, 0);
    kb_kernel_tick(w.kernel, w.now_ms);
    KB_CHECK_STR(state(&w, "store"), "hung");
    kb_kernel_destroy(&w.kernel);
}

KB_TEST(kernel_core, gives_a_start_a_minute_before_it_calls_it_hung)
{
    struct world w;
    world_start(&w, three, 1);
    passes(&w, KB_KERNEL_START_MS - 1, NULL);
    KB_CHECK_I64(w.killed, ==, 0);
    passes(&w, 1, NULL);
    KB_CHECK_I64(w.killed, ==, 1);
    kb_kernel_destroy(&w.kernel);
}

KB_TEST(kernel_core, forgives_silence_during_its_own_absence)
{
    struct world w;
    world_start(&w, three, 1);
    registers(&w, "store", 101, true);
    w.now_ms += 3600000; /* suspended */
    kb_kernel_tick(w.kernel, w.now_ms);
    world_carry_out(&w);
    KB_CHECK_STR(state(&w, "store"), "ready");
    kb_kernel_destroy(&w.kernel);
}

KB_TEST(kernel_core, answers_who_waits_for_a_service_when_it_is_ready_or_time_is_up)
{
    struct world w;
    int a, b;
    world_start(&w, three, 3);
    kb_kernel_resolve(w.kernel, kb_str_of("store"), 5000, &a, w.now_ms);
    kb_kernel_resolve(w.kernel, kb_str_of("api"), 300, &b, w.now_ms);
    world_carry_out(&w);
    KB_CHECK_I64(w.answers + w.refusals, ==, 0);
    registers(&w, "store", 101, true);
    KB_CHECK_I64(w.answers, ==, 1);
    KB_CHECK_STR(w.answer->call, "ipc://x");
    passes(&w, 300, NULL);
    KB_CHECK_I64(w.refusals, ==, 1);
    kb_kernel_resolve(w.kernel, kb_str_of("store"), 0, &a, w.now_ms);
    world_carry_out(&w);
    KB_CHECK_I64(w.answers, ==, 2);
    kb_kernel_destroy(&w.kernel);
}

KB_TEST(kernel_core, stops_everybody_and_the_store_last)
{
    struct world w;
    world_start(&w, three, 3);
    KB_CHECK_I64(kb_kernel_stop(w.kernel, NULL, w.now_ms, NULL), ==, 0);
    world_carry_out(&w);
    KB_CHECK_STR(state(&w, "scheduler"), "stopping");
    KB_CHECK_STR(state(&w, "store"), "starting");
    exits(&w, "scheduler");
    exits(&w, "api");
    KB_CHECK_STR(state(&w, "store"), "stopping");
    KB_CHECK(!w.ended);
    passes(&w, KB_KERNEL_STOP_MS, NULL);
    KB_CHECK_I64(w.killed, ==, 1);
    exits(&w, "store");
    KB_CHECK(w.ended);
    kb_kernel_destroy(&w.kernel);
}

KB_TEST(kernel_core, stops_though_some_have_no_process_to_stop)
{
    struct world w;
    world_start(&w, three, 3);
    exits(&w, "scheduler");
    exits(&w, "api");
    KB_CHECK_STR(state(&w, "api"), "backoff");
    kb_kernel_stop(w.kernel, NULL, w.now_ms, NULL);
    world_carry_out(&w);
    KB_CHECK_STR(state(&w, "store"), "stopping");
    exits(&w, "store");
    KB_CHECK(w.ended);
    kb_kernel_destroy(&w.kernel);
}

KB_TEST(kernel_core, ends_at_once_when_nobody_lives)
{
    struct world w;
    world_start(&w, three, 3);
    for (int i = 0; i < 3; i++)
        exits(&w, three[i]);
    kb_kernel_stop(w.kernel, NULL, w.now_ms, NULL);
    world_carry_out(&w);
    KB_CHECK(w.ended);
    kb_kernel_destroy(&w.kernel);
}

KB_TEST(kernel_core, holds_an_actor_that_was_stopped_by_name_until_it_is_started)
{
    struct world w;
    world_start(&w, three, 1);
    registers(&w, "store", 101, true);
    KB_CHECK_I64(kb_kernel_stop(w.kernel, "store", w.now_ms, NULL), ==, 0);
    world_carry_out(&w);
    exits(&w, "store");
    passes(&w, 100000, NULL);
    KB_CHECK_STR(state(&w, "store"), "stopped");
    KB_CHECK_I64(w.spawned, ==, 1);
    KB_CHECK_I64(kb_kernel_restart(w.kernel, "store", w.now_ms, NULL), ==, 0);
    world_carry_out(&w);
    KB_CHECK_I64(w.spawned, ==, 2);
    KB_CHECK_I64(kb_kernel_stop(w.kernel, "nobody", w.now_ms, NULL), ==, -KB_ENOTFOUND);
    kb_kernel_destroy(&w.kernel);
}

KB_TEST(kernel_core, adopts_who_lives_and_starts_nobody_twice)
{
    struct world w = {.kernel = kb_kernel_new(), .now_ms = 1000, .next_pid = 100};
    kb_kernel_add(w.kernel, "store");
    kb_kernel_add(w.kernel, "api");
    kb_kernel_found(w.kernel, "store", 55, true, w.now_ms);
    kb_kernel_found(w.kernel, "agent/old", 66, false, w.now_ms);
    kb_kernel_start(w.kernel, w.now_ms);
    world_carry_out(&w);
    KB_CHECK_I64(w.spawned, ==, 1);    /* the api */
    KB_CHECK_I64(w.terminated, ==, 1); /* who is not in the plan */
    KB_CHECK_I64(beats(&w, "store"), ==, -KB_ENOTFOUND);
    KB_CHECK_I64(registers(&w, "store", 55, true), ==, 0);
    KB_CHECK_STR(state(&w, "store"), "ready");
    KB_CHECK_I64(registers(&w, "store", 77, true), ==, -KB_ECONFLICT);
    kb_kernel_destroy(&w.kernel);
}

KB_TEST(kernel_core, lets_others_register_but_never_signals_them)
{
    struct world w;
    bool stop = false;
    world_start(&w, three, 1);
    KB_CHECK_I64(registers(&w, "operator", 7, true), ==, 0);
    KB_CHECK_STR(state(&w, "operator"), "ready");
    kb_kernel_resolve(w.kernel, kb_str_of("operator"), 0, &w, w.now_ms);
    world_carry_out(&w);
    KB_CHECK_I64(w.answers, ==, 1);
    kb_kernel_stop(w.kernel, "operator", w.now_ms, NULL);
    kb_kernel_beat(w.kernel, kb_str_of("operator"), kb_str_of(UUID), true, (kb_val){0}, w.now_ms,
                   &stop);
    KB_CHECK(stop);
    passes(&w, 10000, NULL);
    KB_CHECK_STR(state(&w, "operator"), "stopped");
    KB_CHECK_I64(w.killed + w.terminated, ==, 0);
    KB_CHECK_I64(registers(&w, "operator", 8, true), ==, 0);
    KB_CHECK_STR(state(&w, "operator"), "ready");
    kb_kernel_destroy(&w.kernel);
}

/* Whatever happens in whatever order: never two processes of one actor, and left alone all is ready
 * in the end. */
KB_TEST(kernel_core, keeps_one_process_an_actor_through_random_trouble)
{
    struct kb_rand rand;
    struct world w;
    kb_rand_init(&rand, kb_test_seed());
    world_start(&w, three, 3);
    for (int i = 0; i < 20000; i++) {
        const char *name = three[kb_rand_below(&rand, 3)];
        const struct kb_kernel_actor *a = actor(&w, name);
        int before = w.spawned, lived = 0;
        switch (kb_rand_below(&rand, 8)) {
        case 0:
            if (a->pid)
                exits(&w, name);
            break;
        case 1:
        case 2:
            if (a->pid)
                registers(&w, name, a->pid, kb_rand_below(&rand, 2) == 1);
            break;
        case 3:
            beats(&w, name);
            break;
        case 4:
            if (kb_rand_below(&rand, 20) == 0)
                kb_kernel_stop(w.kernel, name, w.now_ms, NULL);
            break;
        case 5:
            if (kb_rand_below(&rand, 20) == 0)
                kb_kernel_restart(w.kernel, name, w.now_ms, NULL);
            break;
        default:
            w.now_ms += (kb_ms)kb_rand_below(&rand, 3000);
            kb_kernel_tick(w.kernel, w.now_ms);
        }
        lived = 0;
        for (size_t k = 0; k < 3; k++)
            lived += actor(&w, three[k])->pid != 0;
        world_carry_out(&w);
        int lives = 0;
        for (size_t k = 0; k < 3; k++)
            lives += actor(&w, three[k])->pid != 0;
        KB_CHECK(w.spawned == before || lives <= 3);
        KB_CHECK_I64(lives, >=, lived); /* a spawn never replaced a live process */
    }
    for (size_t k = 0; k < 3; k++) {
        kb_kernel_restart(w.kernel, three[k], w.now_ms, NULL);
        world_carry_out(&w);
        if (actor(&w, three[k])->state == KB_KERNEL_STOPPING)
            exits(&w, three[k]);
    }
    passes(&w, 1, NULL);
    for (size_t k = 0; k < 3; k++) {
        registers(&w, three[k], actor(&w, three[k])->pid, true);
        KB_CHECK_STR(state(&w, three[k]), "ready");
    }
    kb_kernel_destroy(&w.kernel);
}

static void until_due(struct world *w, const char *name)
{
    w->now_ms = actor(w, name)->due_ms;
    kb_kernel_tick(w->kernel, w->now_ms);
    world_carry_out(w);
}

KB_TEST(kernel, one_that_is_never_ready_is_held_and_tried_rarely_or_when_asked)
{
    struct world w;
    struct kb_err err = {0};
    world_start(&w, (const char *const[]){"c"}, 1);
    for (int i = 1; i < KB_KERNEL_HOLD_AFTER; i++) {
        exits(&w, "c");
        KB_CHECK_STR(state(&w, "c"), "backoff");
        until_due(&w, "c");
    }
    exits(&w, "c");
    KB_CHECK_STR(state(&w, "c"), "held");
    KB_CHECK_I64(actor(&w, "c")->due_ms - w.now_ms, ==, KB_KERNEL_HOLD_MS);
    until_due(&w, "c");
    KB_CHECK_STR(state(&w, "c"), "starting");
    exits(&w, "c");
    KB_CHECK_STR(state(&w, "c"), "held");
    KB_CHECK_I64(kb_kernel_restart(w.kernel, "c", w.now_ms, &err), ==, 0);
    world_carry_out(&w);
    KB_CHECK_I64(registers(&w, "c", w.next_pid, true), ==, 0);
    exits(&w, "c"); /* it was ready: forgiven */
    KB_CHECK_STR(state(&w, "c"), "backoff");
    kb_kernel_destroy(&w.kernel);
}

KB_TEST(kernel, a_successor_learns_how_often_an_actor_was_started)
{
    struct world w;
    struct kb_err err = {0};
    world_start(&w, (const char *const[]){"c"}, 1);
    struct kb_kernel_registration r = {
        kb_str_of("c"), kb_str_of(UUID), {0}, {0}, w.next_pid, true, 7};
    KB_CHECK_I64(kb_kernel_register(w.kernel, &r, w.now_ms, &err), ==, 0);
    KB_CHECK_I64(actor(&w, "c")->restarts, ==, 7);
    exits(&w, "c");
    KB_CHECK_I64(actor(&w, "c")->restarts, ==, 8);
    kb_kernel_destroy(&w.kernel);
}

KB_TEST(kernel_core, registrations_that_make_no_sense_are_refused)
{
    struct world w;
    struct kb_err err = {0};
    world_start(&w, three, 3);
    static const struct kb_kernel_registration odd[] = {
        {{"a\0b", 3}, {UUID, 36}, {"ipc://x", 7}, {0}, 5, true, 0},
        {{"a b", 3}, {UUID, 36}, {"ipc://x", 7}, {0}, 5, true, 0},
        {{"a", 1}, {UUID, 36}, {"inproc://x", 10}, {0}, 5, true, 0},
        {{"a", 1}, {UUID, 36}, {"ipc://\0", 7}, {0}, 5, true, 0},
        {{"a", 1}, {UUID, 36}, {"ipc://x", 7}, {"x", 1}, 5, true, 0},
        {{"a", 1}, {UUID, 36}, {"ipc://x", 7}, {0}, 0, true, 0},
    };
    for (size_t i = 0; i < KB_COUNT(odd); i++)
        KB_CHECK_I64(kb_kernel_register(w.kernel, &odd[i], w.now_ms, &err), ==, -KB_EINVAL);
    KB_CHECK_I64((int64_t)kb_kernel_count(w.kernel), ==, 3);
    kb_kernel_destroy(&w.kernel);
}

/* Names that were once registered do not stay for ever. */
KB_TEST(kernel_core, those_who_came_and_went_are_forgotten_when_there_are_many)
{
    struct world w;
    world_start(&w, three, 3);
    for (int i = 0; i < 17000; i++) {
        char name[32];
        snprintf(name, sizeof(name), "guest-%d", i);
        if (i == 16000)
            passes(&w, 60000, NULL);
        KB_CHECK_I64(registers(&w, name, 1000 + i, true), ==, 0);
    }
    KB_CHECK((int64_t)kb_kernel_count(w.kernel) <= 16384);
    kb_kernel_destroy(&w.kernel);
}
