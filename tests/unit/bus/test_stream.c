#include "tests/unit/bus/pair.h"

#include <stdlib.h>

/* One end of a stream, and what happened to it. */
struct end {
    struct kb_stream *stream;
    int messages, ended, code, opened;
    int64_t sum, next;
    bool out_of_order, gone, hold;
    bool ends_when_told; /* answers an end with an end */
};

static void on_data(void *user, struct kb_stream *stream, kb_val body)
{
    struct end *end = user;
    int64_t n = kb_val_int_at(body, "n", -1);
    end->out_of_order |= n != end->next++;
    end->sum += n;
    end->messages++;
    if (end->hold)
        kb_stream_pause(stream, true);
}

static void on_end(void *user, struct kb_stream *stream, const struct kb_err *err, kb_val body)
{
    struct end *end = user;
    end->ended++;
    end->code = err ? err->code : 0;
    end->sum += kb_val_int_at(body, "last", 0);
    end->gone = err != NULL;
    if (err == NULL && end->ends_when_told)
        kb_stream_end(stream, (kb_val){NULL, NULL});
}

static const struct kb_stream_handlers handlers = {.data = on_data, .end = on_end};

static void accept_stream(void *user, struct kb_request *request, kb_val body)
{
    struct end *end = user;
    (void)body;
    end->stream = kb_request_stream(&request, &handlers, end);
    end->opened++;
}

static void refuse_stream(void *user, struct kb_request *request, kb_val body)
{
    struct kb_err err = {.code = KB_ENOTFOUND, .text = "no such pod"};
    (void)user, (void)body;
    kb_request_fail(&request, &err);
}

static const struct kb_method methods[] = {{"t.open", accept_stream}, {"t.refuse", refuse_stream}};

static int send_n(struct kb_stream *stream, const char *key, int64_t n, bool last)
{
    KB_AUTO(kb_w_finish) struct kb_w w = {0};
    kb_w_map(&w);
    kb_w_kint(&w, key, n);
    kb_w_end(&w);
    if (last)
        kb_stream_end(stream, kb_w_val(&w));
    return last ? 0 : kb_stream_send(stream, kb_w_val(&w));
}

static void start(struct pair *pair, struct end *server, struct end *client)
{
    pair_start(pair);
    kb_actor_serve(pair->server, methods, KB_COUNT(methods), server);
    client->stream = kb_stream_open(pair->peer, "t.open", (kb_val){NULL, NULL}, &handlers, client);
    pair_until(pair, &server->opened, 1);
}

KB_TEST(stream, carries_many_messages_in_order_both_ways_and_ends)
{
    struct pair pair;
    struct end server = {.ends_when_told = true}, client = {0};
    start(&pair, &server, &client);
    for (int i = 0; i < 1000; i++) {
        KB_CHECK_I64(send_n(client.stream, "n", i, false), ==, 0);
        KB_CHECK_I64(send_n(server.stream, "n", i, false), ==, 0);
    }
    send_n(client.stream, "last", 1000000, true);
    pair_until(&pair, &client.ended, 1);
    KB_CHECK_I64(server.messages, ==, 1000);
    KB_CHECK_I64(client.messages, ==, 1000);
    KB_CHECK(!server.out_of_order && !client.out_of_order);
    KB_CHECK_I64(server.sum, ==, 499500 + 1000000);
    KB_CHECK_I64(client.code, ==, 0);
    pair_finish(&pair);
}

KB_TEST(stream, stops_a_producer_whose_consumer_has_paused)
{
    struct pair pair;
    struct end server = {0}, client = {.hold = true};
    int rc = 0, sent = 0;
    start(&pair, &server, &client);
    for (int i = 0; i < 2000000 && rc == 0; i++, sent++)
        rc = send_n(server.stream, "n", i, false);
    KB_CHECK_I64(rc, ==, -KB_EFULL);
    pair_until(&pair, &client.messages, KB_STREAM_CREDIT);
    for (int i = 0; i < 20; i++) {
        kb_loop_pass(kb_actor_loop(pair.server), 1);
        kb_loop_pass(kb_actor_loop(pair.client), 1);
    }
    KB_CHECK_I64(client.messages, ==, KB_STREAM_CREDIT);
    client.hold = false;
    kb_stream_pause(client.stream, false);
    pair_until(&pair, &client.messages, sent - 1);
    KB_CHECK(!client.out_of_order);
    pair_finish(&pair);
}

KB_TEST(stream, that_one_side_aborts_breaks_the_other)
{
    struct pair pair;
    struct end server = {0}, client = {0};
    struct kb_err err = {.code = KB_ECONFLICT, .text = "moved"};
    start(&pair, &server, &client);
    kb_stream_abort(server.stream, &err);
    pair_until(&pair, &client.ended, 1);
    KB_CHECK_I64(client.code, ==, KB_ECONFLICT);
    struct end server2 = {0}, client2 = {0};
    kb_actor_serve(pair.server, methods, KB_COUNT(methods), &server2);
    client2.stream = kb_stream_open(pair.peer, "t.open", (kb_val){NULL, NULL}, &handlers, &client2);
    pair_until(&pair, &server2.opened, 1);
    kb_stream_abort(client2.stream, &err);
    pair_until(&pair, &server2.ended, 1);
    KB_CHECK_I64(server2.code, ==, KB_ECANCELED);
    KB_CHECK_I64(client2.ended, ==, 0);
    pair_finish(&pair);
}

KB_TEST(stream, that_the_server_refuses_ends_with_its_error)
{
    struct pair pair;
    struct end client = {0};
    pair_start(&pair);
    kb_actor_serve(pair.server, methods, KB_COUNT(methods), NULL);
    kb_stream_open(pair.peer, "t.refuse", (kb_val){NULL, NULL}, &handlers, &client);
    pair_until(&pair, &client.ended, 1);
    KB_CHECK_I64(client.code, ==, KB_ENOTFOUND);
    pair_finish(&pair);
}

KB_TEST(stream, breaks_when_the_other_process_is_gone)
{
    struct pair pair;
    struct end server = {0}, client = {0};
    start(&pair, &server, &client);
    kb_actor_destroy(&pair.server);
    pair_until(&pair, &client.ended, 1);
    KB_CHECK_I64(client.code, ==, KB_EUNAVAILABLE);
    pair_finish(&pair);
}

KB_TEST(stream, ends_on_the_server_when_the_client_is_gone)
{
    struct pair pair;
    struct end server = {0}, client = {0};
    start(&pair, &server, &client);
    kb_actor_destroy(&pair.client);
    kb_ms end_ms = kb_clock_now(kb_clock_system()) + 10000;
    while (server.ended == 0 && kb_clock_now(kb_clock_system()) < end_ms) {
        if (!server.gone)
            send_n(server.stream, "n", 1, false);
        kb_loop_pass(kb_actor_loop(pair.server), 1);
    }
    KB_CHECK_I64(server.ended, ==, 1);
    pair_finish(&pair);
}
