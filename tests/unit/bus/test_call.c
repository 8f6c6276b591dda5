#include "bus/base/limits.h"
#include "bus/impl.h"
#include "bus/view.h"
#include "tests/unit/bus/pair.h"

#include <stdlib.h>

struct seen {
    int replies, errors, code;
    int64_t sum;
};

static void on_reply(void *user, const struct kb_err *err, kb_val body)
{
    struct seen *seen = user;
    seen->replies++;
    if (err) {
        seen->errors++;
        seen->code = err->code;
    } else {
        seen->sum += kb_val_int_at(body, "n", 0);
    }
}

static void echo(void *user, struct kb_request *request, kb_val body)
{
    if (user)
        ++*(int *)user;
    kb_request_reply(&request, body);
}

static struct kb_request *kept;

static void keep(void *user, struct kb_request *request, kb_val body)
{
    (void)body;
    kept = request;
    ++*(int *)user;
}

static void refuse(void *user, struct kb_request *request, kb_val body)
{
    struct kb_err err = {0};
    (void)user, (void)body;
    kb_err_set(&err, KB_ECONFLICT, "%s says %s", kb_request_method(request),
               kb_request_caller(request));
    kb_request_fail(&request, &err);
}

static const struct kb_method methods[] = {
    {"t.echo", echo}, {"t.keep", keep}, {"t.refuse", refuse}};

static void call_n(struct kb_peer *peer, const char *method, int64_t n, kb_ms timeout_ms,
                   struct seen *seen)
{
    KB_AUTO(kb_w_finish) struct kb_w w = {0};
    kb_w_map(&w);
    kb_w_kint(&w, "n", n);
    kb_w_end(&w);
    kb_call(peer, method, kb_w_val(&w), timeout_ms, on_reply, seen);
}

KB_TEST(call, gets_its_own_reply_when_many_are_under_way)
{
    struct pair pair;
    struct seen seen = {0};
    pair_start(&pair);
    kb_actor_serve(pair.server, methods, KB_COUNT(methods), NULL);
    for (int i = 1; i <= 5000; i++)
        call_n(pair.peer, "t.echo", i, 10000, &seen);
    pair_until(&pair, &seen.replies, 5000);
    KB_CHECK_I64(seen.errors, ==, 0);
    KB_CHECK_I64(seen.sum, ==, 5000 * 5001 / 2);
    pair_finish(&pair);
}

KB_TEST(call, waits_for_a_service_that_appears_later)
{
    struct pair pair = {.client = pair_actor("client")};
    struct seen seen = {0};
    pair.peer = kb_actor_peer(pair.client, "server");
    call_n(pair.peer, "t.echo", 5, 10000, &seen);
    for (int i = 0; i < 20; i++)
        kb_loop_pass(kb_actor_loop(pair.client), 5);
    KB_CHECK_I64(seen.replies, ==, 0);
    pair.server = pair_actor("server");
    kb_actor_serve(pair.server, methods, KB_COUNT(methods), NULL);
    pair_until(&pair, &seen.replies, 1);
    KB_CHECK_I64(seen.sum, ==, 5);
    pair_finish(&pair);
}

KB_TEST(call, ends_at_its_deadline_and_a_late_reply_harms_nobody)
{
    struct pair pair;
    struct seen seen = {0};
    int served = 0;
    pair_start(&pair);
    kb_actor_serve(pair.server, methods, KB_COUNT(methods), &served);
    call_n(pair.peer, "t.keep", 1, 200, &seen);
    pair_until(&pair, &seen.replies, 1);
    KB_CHECK_I64(seen.code, ==, KB_ETIMEOUT);
    KB_CHECK_I64(served, ==, 1);
    while (kb_request_left_ms(kept) > 0)
        kb_loop_pass(kb_actor_loop(pair.server), 1);
    kb_request_reply(&kept, (kb_val){NULL, NULL});
    call_n(pair.peer, "t.echo", 3, 10000, &seen);
    pair_until(&pair, &seen.replies, 2);
    KB_CHECK_I64(seen.errors, ==, 1);
    pair_finish(&pair);
}

KB_TEST(call, to_nobody_ends_at_its_deadline)
{
    struct pair pair = {.client = pair_actor("client")};
    struct seen seen = {0};
    call_n(kb_actor_peer(pair.client, "nobody"), "t.echo", 1, 100, &seen);
    pair_until(&pair, &seen.replies, 1);
    KB_CHECK_I64(seen.code, ==, KB_ETIMEOUT);
    pair_finish(&pair);
}

KB_TEST(call, fails_at_once_when_the_service_dies_and_the_next_reaches_its_successor)
{
    struct pair pair;
    struct seen seen = {0};
    int served = 0;
    pair_start(&pair);
    kb_actor_serve(pair.server, methods, KB_COUNT(methods), &served);
    call_n(pair.peer, "t.keep", 1, 60000, &seen);
    pair_until(&pair, &served, 1);
    kb_actor_destroy(&pair.server);
    pair_until(&pair, &seen.replies, 1);
    KB_CHECK_I64(seen.code, ==, KB_EUNAVAILABLE);
    call_n(pair.peer, "t.echo", 7, 10000, &seen);
    pair.server = pair_actor("server");
    kb_actor_serve(pair.server, methods, KB_COUNT(methods), NULL);
    pair_until(&pair, &seen.replies, 2);
    KB_CHECK_I64(seen.sum, ==, 7);
    pair_finish(&pair);
}

KB_TEST(call, that_is_canceled_never_calls_back)
{
    struct pair pair;
    struct seen seen = {0}, other = {0};
    int served = 0;
    pair_start(&pair);
    kb_actor_serve(pair.server, methods, KB_COUNT(methods), &served);
    uint64_t id = kb_call(pair.peer, "t.keep", (kb_val){NULL, NULL}, 10000, on_reply, &seen);
    pair_until(&pair, &served, 1);
    kb_call_cancel(pair.peer, id);
    call_n(pair.peer, "t.echo", 1, 10000, &other);
    pair_until(&pair, &other.replies, 1);
    KB_CHECK(kb_request_left_ms(kept) <= 0); /* the server was told */
    kb_request_reply(&kept, (kb_val){NULL, NULL});
    call_n(pair.peer, "t.echo", 1, 10000, &other);
    pair_until(&pair, &other.replies, 2);
    KB_CHECK_I64(seen.replies, ==, 0);
    pair_finish(&pair);
}

static void answer_too_much(void *user, struct kb_request *request, kb_val body)
{
    KB_AUTO(kb_w_finish) struct kb_w w = {0};
    (void)user, (void)body;
    char *text = calloc(1, 65u * 1024 * 1024);
    KB_CHECK(text != NULL);
    kb_w_map(&w);
    kb_w_key(&w, "x");
    kb_w_bin(&w, text, 65u * 1024 * 1024);
    kb_w_end(&w);
    kb_request_reply(&request, kb_w_val(&w));
    free(text);
}

KB_TEST(call, whose_answer_is_too_large_fails_and_the_connection_stands)
{
    static const struct kb_method big[] = {{"t.big", answer_too_much}};
    struct pair pair;
    struct seen seen = {0};
    pair_start(&pair);
    kb_actor_serve(pair.server, methods, KB_COUNT(methods), NULL);
    kb_actor_serve(pair.server, big, 1, NULL);
    call_n(pair.peer, "t.big", 1, 10000, &seen);
    call_n(pair.peer, "t.echo", 4, 10000, &seen);
    pair_until(&pair, &seen.replies, 2);
    KB_CHECK_I64(seen.code, ==, KB_E2BIG);
    KB_CHECK_I64(seen.sum, ==, 4);
    pair_finish(&pair);
}

KB_TEST(call, carries_the_servers_error_and_the_callers_name)
{
    struct pair pair;
    struct seen seen = {0};
    pair_start(&pair);
    kb_actor_serve(pair.server, methods, KB_COUNT(methods), NULL);
    call_n(pair.peer, "t.refuse", 1, 10000, &seen);
    pair_until(&pair, &seen.replies, 1);
    KB_CHECK_I64(seen.code, ==, KB_ECONFLICT);
    call_n(pair.peer, "t.unknown", 1, 10000, &seen);
    pair_until(&pair, &seen.replies, 2);
    KB_CHECK_I64(seen.code, ==, KB_ENOSYS);
    pair_finish(&pair);
}

static void keep_many(void *user, struct kb_request *request, kb_val body)
{
    (void)request, (void)body; /* they end with the actor */
    ++*(int *)user;
}

/* Callers that send and send, and do not care for answers, must not fill the server's memory. */
KB_TEST(call, is_refused_while_too_much_is_under_way)
{
    enum { BYTES = 128 * 1024, TAKEN = 7 };
    static const struct kb_method method[] = {{"t.keep", keep_many}};
    struct pair pair;
    struct seen seen = {0};
    int taken = 0;
    KB_AUTO(kb_auto_free) char *text = calloc(1, BYTES);
    KB_AUTO(kb_w_finish) struct kb_w w = {0};
    pair_start(&pair);
    KB_CHECK_U64(pair.server->served_max_bytes, ==, KB_SERVED_MAX_BYTES);
    pair.server->served_max_bytes = (TAKEN + 1) * BYTES; /* and their headers */
    kb_actor_serve(pair.server, method, 1, &taken);
    kb_w_map(&w);
    kb_w_kstr(&w, "text", kb_str_n(text, BYTES));
    kb_w_end(&w);
    for (int i = 1; i <= TAKEN; i++) {
        kb_call(pair.peer, "t.keep", kb_w_val(&w), 60000, on_reply, &seen);
        pair_until(&pair, &taken, i);
    }
    kb_call(pair.peer, "t.keep", kb_w_val(&w), 60000, on_reply, &seen);
    pair_until(&pair, &seen.errors, 1);
    KB_CHECK_I64(seen.code, ==, KB_EFULL);
    call_n(pair.peer, "t.keep", 1, 60000, &seen); /* a small one still finds room */
    pair_until(&pair, &taken, TAKEN + 1);
    pair_finish(&pair);
}

/* Names of views are made of names in objects: one that is too long is refused by the store (see
 * tests/unit/store), not by an assertion here. */
KB_TEST(view, with_a_name_that_is_too_long_is_no_reason_to_end)
{
    static const struct kb_view_handlers handlers = {0};
    struct pair pair;
    char name[3000];
    memset(name, 'x', sizeof(name));
    name[sizeof(name) - 1] = '\0';
    pair_start(&pair);
    struct kb_view *view = kb_view_open(pair.client, name, NULL, &handlers, NULL);
    KB_CHECK(!kb_view_synced(view));
    kb_view_close(&view);
    pair_finish(&pair);
}
