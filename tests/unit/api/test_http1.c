#include "tests/unit/api/http_fixture.h"

#include <poll.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <zlib.h>

static const kb_str nothing = {0};

KB_TEST(http1, answers_and_keeps_the_connection)
{
    KB_AUTO(served_end) struct served served = serve((struct kb_http_config){0}, false);
    KB_AUTO(client_close) struct client client = dial(&served, NO_CERT);
    for (int i = 0; i < 3; i++) {
        KB_AUTO(answer_finish) struct answer answer = get(&client, "/hello");
        KB_CHECK_I64(answer.status, ==, 200);
        KB_CHECK_STR(answer.body.p, "hello\n");
        KB_CHECK(!answer.closed);
    }
    KB_AUTO(answer_finish)
    struct answer closing = ask(&client, "GET /hello", "Connection: close\r\n", nothing);
    KB_CHECK(closing.closed);
    KB_CHECK(!client_read(&client));
}

KB_TEST(http1, decodes_path_query_and_headers)
{
    KB_AUTO(served_end) struct served served = serve((struct kb_http_config){0}, false);
    KB_AUTO(client_close) struct client client = dial(&served, NO_CERT);
    KB_AUTO(answer_finish)
    struct answer answer = ask(&client, "GET /info/a%2Fb//c?labelSelector=a%3Db+c&watch&x=1",
                               "Accept: text/a\r\naccept:  text/b \r\n", nothing);
    KB_CHECK_STR(answer.body.p, "GET h1 [info] [a/b] [c] labelSelector=a=b c; watch=; x=1; cert=0 "
                                "user= accept=text/a, text/b");
    KB_AUTO(answer_finish) struct answer bad = get(&client, "/info/%zz");
    KB_CHECK_I64(bad.status, ==, 400);
}

KB_TEST(http1, answers_pipelined_requests_in_order)
{
    KB_AUTO(served_end) struct served served = serve((struct kb_http_config){0}, false);
    KB_AUTO(client_close) struct client client = dial(&served, NO_CERT);
    KB_AUTO(client_close) struct client other = dial(&served, NO_CERT);
    client_puts(&client, "GET /hold HTTP/1.1\r\nHost: t\r\n\r\nPOST /echo HTTP/1.1\r\nHost: t\r\n"
                         "Content-Length: 3\r\n\r\nabcGET /hello HTTP/1.1\r\nHost: t\r\n\r\n");
    const char *expected[] = {"released", "abc", "hello\n"};
    for (int tries = 0; tries < 1000; tries++) { /* until the held request has arrived */
        KB_AUTO(answer_finish) struct answer release = get(&other, "/release");
        struct pollfd fd = {.fd = client.fd, .events = POLLIN};
        if (poll(&fd, 1, 5) == 1)
            break;
    }
    for (int i = 0; i < 3; i++) {
        KB_AUTO(answer_finish) struct answer answer = client_answer(&client, false);
        KB_CHECK_STR(answer.body.p, expected[i]);
    }
}

KB_TEST(http1, reads_chunked_bodies_and_says_continue)
{
    KB_AUTO(served_end) struct served served = serve((struct kb_http_config){0}, false);
    KB_AUTO(client_close) struct client client = dial(&served, NO_CERT);
    client_puts(&client, "POST /echo HTTP/1.1\r\nHost: t\r\nTransfer-Encoding: chunked\r\n"
                         "Expect: 100-continue\r\n\r\n");
    while (client.in.n < 25)
        KB_CHECK(client_read(&client));
    KB_CHECK_STR(client.in.p, "HTTP/1.1 100 Continue\r\n\r\n");
    kb_buf_clear(&client.in);
    client_puts(&client, "3\r\nabc\r\n4;x=y\r\ndefg\r\n0\r\nTrailer: t\r\n\r\n");
    KB_AUTO(answer_finish) struct answer answer = client_answer(&client, false);
    KB_CHECK_STR(answer.body.p, "abcdefg");
}

KB_TEST(http1, head_has_a_length_and_no_body)
{
    KB_AUTO(served_end) struct served served = serve((struct kb_http_config){0}, false);
    KB_AUTO(client_close) struct client client = dial(&served, NO_CERT);
    KB_AUTO(answer_finish) struct answer answer = ask(&client, "HEAD /hello", "", nothing);
    KB_CHECK(strstr(answer.head.p, "content-length: 6") != NULL);
    KB_CHECK_U64(answer.body.n, ==, 0);
    KB_AUTO(answer_finish) struct answer after = get(&client, "/hello");
    KB_CHECK_STR(after.body.p, "hello\n");
}

KB_TEST(http1, serves_1_0_clients)
{
    KB_AUTO(served_end) struct served served = serve((struct kb_http_config){0}, false);
    KB_AUTO(client_close) struct client client = dial(&served, NO_CERT);
    client_puts(&client, "GET /stream?n=3&size=2 HTTP/1.0\r\n\r\n");
    KB_AUTO(answer_finish) struct answer answer = client_answer(&client, false);
    KB_CHECK(answer.closed);
    KB_CHECK_STR(answer.body.p, "ababab");
}

KB_TEST(http1, streams_large_answers_whole_over_tls)
{
    KB_AUTO(served_end) struct served served = serve((struct kb_http_config){0}, true);
    KB_AUTO(client_close) struct client client = dial(&served, ADMIN_CERT);
    KB_AUTO(answer_finish) struct answer big = get(&client, "/big?size=5000000");
    KB_CHECK_U64(big.body.n, ==, 5000000);
    for (size_t i = 0; i < big.body.n; i++)
        KB_CHECK(big.body.p[i] == (char)('a' + i % 26));
    KB_AUTO(answer_finish) struct answer pieces = get(&client, "/stream?n=2000&size=1040");
    KB_CHECK_U64(pieces.body.n, ==, 2000 * 1040);
    for (size_t i = 0; i < pieces.body.n; i++)
        KB_CHECK(pieces.body.p[i] == (char)('a' + i % 26));
}

KB_TEST(http1, knows_its_client_by_certificate)
{
    KB_AUTO(served_end) struct served served = serve((struct kb_http_config){0}, true);
    KB_AUTO(client_close) struct client admin = dial(&served, ADMIN_CERT);
    KB_AUTO(answer_finish) struct answer answer = get(&admin, "/info");
    KB_CHECK_STR(answer.body.p,
                 "GET h1 [info] cert=1 user=kubernetes-admin group=system:masters accept=");
    KB_AUTO(client_close) struct client nobody = dial(&served, NO_CERT);
    KB_AUTO(answer_finish) struct answer anonymous = get(&nobody, "/info");
    KB_CHECK_STR(anonymous.body.p, "GET h1 [info] cert=0 user= accept=");
}

KB_TEST(http1, a_self_signed_master_is_nobody)
{
    KB_AUTO(served_end) struct served served = serve((struct kb_http_config){0}, true);
    KB_AUTO(client_close) struct client client = dial(&served, SELF_SIGNED_CERT);
    KB_AUTO(answer_finish) struct answer answer = get(&client, "/info");
    KB_CHECK_STR(answer.body.p, "GET h1 [info] cert=2 user= accept=");
}

KB_TEST(http1, compresses_large_answers_for_those_who_ask)
{
    KB_AUTO(served_end) struct served served = serve((struct kb_http_config){0}, true);
    KB_AUTO(client_close) struct client client = dial(&served, NO_CERT);
    KB_AUTO(answer_finish)
    struct answer answer =
        ask(&client, "GET /big?size=3000000", "Accept-Encoding: br, gzip\r\n", nothing);
    KB_CHECK(strstr(answer.head.p, "content-encoding: gzip") != NULL);
    KB_CHECK_U64(answer.body.n, <, 300000);
    KB_AUTO(kb_buf_finish) struct kb_buf plain = {0};
    z_stream z = {.next_in = (Bytef *)answer.body.p, .avail_in = (uInt)answer.body.n};
    KB_CHECK(inflateInit2(&z, 16 + MAX_WBITS) == Z_OK);
    z.next_out = (Bytef *)kb_buf_reserve(&plain, 3000001);
    z.avail_out = 3000001;
    KB_CHECK(inflate(&z, Z_FINISH) == Z_STREAM_END);
    KB_CHECK_U64(z.total_out, ==, 3000000);
    KB_CHECK(plain.p[2999999] == (char)('a' + 2999999 % 26));
    inflateEnd(&z);
    KB_AUTO(answer_finish)
    struct answer small = ask(&client, "GET /big?size=9", "Accept-Encoding: gzip\r\n", nothing);
    KB_CHECK_STR(small.body.p, "abcdefghi");
}

KB_TEST(http1, an_answer_in_pieces_is_one_body)
{
    KB_AUTO(served_end) struct served served = serve((struct kb_http_config){0}, true);
    KB_AUTO(client_close) struct client client = dial(&served, NO_CERT);
    KB_AUTO(answer_finish) struct answer small = get(&client, "/pieces?size=9&n=4");
    KB_CHECK_STR(small.body.p, "abcdefghi");
    KB_CHECK(strstr(small.head.p, "content-length: 9") != NULL);
    KB_AUTO(answer_finish) struct answer empty = get(&client, "/pieces?size=1&n=3");
    KB_CHECK_STR(empty.body.p, "a"); /* pieces of nothing too */
    KB_AUTO(answer_finish) struct answer big = get(&client, "/pieces?size=1000000&n=97");
    KB_AUTO(answer_finish) struct answer same = get(&client, "/big?size=1000000");
    KB_CHECK_U64(big.body.n, ==, 1000000);
    KB_CHECK(memcmp(big.body.p, same.body.p, 1000000) == 0);
    KB_AUTO(answer_finish)
    struct answer packed =
        ask(&client, "GET /pieces?size=3000000&n=97", "Accept-Encoding: gzip\r\n", nothing);
    KB_CHECK(strstr(packed.head.p, "content-encoding: gzip") != NULL);
    KB_CHECK_U64(packed.body.n, <, 300000);
}

KB_TEST(http1, refuses_bodies_over_the_limit)
{
    struct kb_http_config config = {.max_body_bytes = 1000};
    KB_AUTO(served_end) struct served served = serve(config, true);
    char body[1001] = {0};
    KB_AUTO(client_close) struct client fits = dial(&served, NO_CERT);
    KB_AUTO(answer_finish) struct answer ok = ask(&fits, "POST /echo", "", kb_str_n(body, 1000));
    KB_CHECK_I64(ok.status, ==, 200);
    KB_AUTO(answer_finish) struct answer big = ask(&fits, "POST /echo", "", kb_str_n(body, 1001));
    KB_CHECK_I64(big.status, ==, 413);
    KB_CHECK(big.closed);
    KB_AUTO(client_close) struct client chunked = dial(&served, NO_CERT);
    client_puts(&chunked,
                "POST /echo HTTP/1.1\r\nHost: t\r\nTransfer-Encoding: chunked\r\n\r\n1000\r\n");
    for (int i = 0; i < 4; i++)
        client_send(&chunked, kb_str_n(body, 1000));
    KB_AUTO(answer_finish) struct answer over = client_answer(&chunked, false);
    KB_CHECK_I64(over.status, ==, 413);
}

KB_TEST(http1, refuses_endless_headers_and_garbage)
{
    KB_AUTO(served_end) struct served served = serve((struct kb_http_config){0}, false);
    KB_AUTO(client_close) struct client client = dial(&served, NO_CERT);
    KB_AUTO(kb_buf_finish) struct kb_buf out = {0};
    kb_buf_puts(&out, "GET / HTTP/1.1\r\nHost: t\r\nX: ");
    for (int i = 0; i < 7000; i++)
        kb_buf_puts(&out, "0123456789");
    client_send(&client, kb_buf_str(&out));
    KB_AUTO(answer_finish) struct answer endless = client_answer(&client, false);
    KB_CHECK_I64(endless.status, ==, 431);
    const char *garbage[] = {"\x16\x03\x01 no TLS here\r\n\r\n", "GET / HTTP/1.1\r\n\r\n",
                             ("GET /x HTTP/1.1\r\nHost: t\r\nContent-Length: 1\r\n"
                              "Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n"),
                             "GET x HTTP/1.1\r\nHost: t\r\n\r\n"};
    for (size_t i = 0; i < KB_COUNT(garbage); i++) {
        KB_AUTO(client_close) struct client bad = dial(&served, NO_CERT);
        client_puts(&bad, garbage[i]);
        KB_AUTO(answer_finish) struct answer answer = client_answer(&bad, false);
        KB_CHECK_I64(answer.status, ==, 400);
        KB_CHECK(answer.closed);
    }
}

/* Below the limit of one head: it is no fault of this request that it finds no room. */
KB_TEST(http1, heads_that_take_too_much_in_total_are_told_to_come_later)
{
    KB_AUTO(served_end)
    struct served served = serve((struct kb_http_config){.max_head_total = 16 * 40960}, false);
    KB_AUTO(client_close) struct client client = dial(&served, NO_CERT);
    KB_AUTO(kb_buf_finish) struct kb_buf out = {0};
    kb_buf_puts(&out, "GET / HTTP/1.1\r\nHost: t\r\nX: ");
    for (int i = 0; i < 3000; i++)
        kb_buf_puts(&out, "0123456789");
    client_send(&client, kb_buf_str(&out));
    KB_AUTO(answer_finish) struct answer refused = client_answer(&client, false);
    KB_CHECK_I64(refused.status, ==, 503);
    KB_CHECK(refused.closed);
}

KB_TEST(http1, drops_those_who_send_too_slowly)
{
    struct kb_http_config config = {
        .header_ms = 50, .body_ms = 50, .idle_ms = 50, .handshake_ms = 50};
    KB_AUTO(served_end) struct served served = serve(config, false);
    const char *slow[] = {"", "GE", "GET / HTTP/1.1\r\nHost: ",
                          "POST /echo HTTP/1.1\r\nHost: t\r\nContent-Length: 9\r\n\r\nabc"};
    for (size_t i = 0; i < KB_COUNT(slow); i++) {
        KB_AUTO(client_close) struct client client = dial(&served, NO_CERT);
        client_puts(&client, slow[i]);
        KB_CHECK(!client_read(&client)); /* its time-out would fail this otherwise */
    }
}

KB_TEST(http1, drops_a_silent_handshake)
{
    struct kb_http_config config = {.handshake_ms = 50};
    KB_AUTO(served_end) struct served served = serve(config, true);
    struct served raw = served;
    raw.tls = false;
    KB_AUTO(client_close) struct client client = dial(&raw, NO_CERT);
    KB_CHECK(!client_read(&client));
    KB_AUTO(client_close) struct client plain = dial(&raw, NO_CERT);
    client_puts(&plain, "GET / HTTP/1.1\r\nHost: t\r\n\r\n");
    while (client_read(&plain))
        ;
    KB_CHECK(strstr(plain.in.p, "HTTP request to an HTTPS server") != NULL);
}

KB_TEST(http1, tells_when_a_waiting_client_goes_away)
{
    KB_AUTO(served_end) struct served served = serve((struct kb_http_config){0}, true);
    struct client client = dial(&served, NO_CERT);
    client_puts(&client, "GET /never HTTP/1.1\r\nHost: t\r\n\r\n");
    wait_for(&served, "/closed", "0");
    client_close(&client);
    wait_for(&served, "/closed", "1");
}

KB_TEST(http1, closes_a_watcher_that_does_not_keep_up)
{
    struct kb_http_config config = {.max_queue_bytes = 1024 * 1024};
    KB_AUTO(served_end) struct served served = serve(config, false);
    KB_AUTO(client_close) struct client client = dial(&served, NO_CERT);
    client_puts(&client, "GET /flood HTTP/1.1\r\nHost: t\r\n\r\n");
    wait_for(&served, "/closed", "1");
    while (client_read(&client))
        ;
    KB_CHECK(client.in.n < 5 || memcmp(client.in.p + client.in.n - 5, "0\r\n\r\n", 5) != 0);
}

KB_TEST(http1, drops_a_client_that_takes_nothing)
{
    struct kb_http_config config = {.stall_ms = 100};
    KB_AUTO(served_end) struct served served = serve(config, false);
    KB_AUTO(client_close) struct client client = dial(&served, NO_CERT);
    client_puts(&client, "GET /drain?queue=1000000&total=100000000 HTTP/1.1\r\nHost: t\r\n\r\n");
    wait_for(&served, "/closed", "1");
}

KB_TEST(http1, drain_tells_when_to_write_on)
{
    struct kb_http_config config = {.max_queue_bytes = 200 * 1024, .low_water = 64 * 1024};
    KB_AUTO(served_end) struct served served = serve(config, true);
    KB_AUTO(client_close) struct client client = dial(&served, NO_CERT);
    KB_AUTO(answer_finish) struct answer answer = get(&client, "/drain?queue=150000&total=8388608");
    KB_CHECK_U64(answer.body.n, ==, 8388608);
    wait_for(&served, "/closed", "0");
}

KB_TEST(http1, stops_gracefully)
{
    struct served served = serve((struct kb_http_config){0}, false);
    KB_AUTO(client_close) struct client idle = dial(&served, NO_CERT);
    KB_AUTO(client_close) struct client busy = dial(&served, NO_CERT);
    KB_AUTO(answer_finish) struct answer first = get(&idle, "/hello");
    client_puts(&busy, "GET /drain?queue=1000000&total=30000000 HTTP/1.1\r\nHost: t\r\n\r\n");
    KB_CHECK(client_read(&busy));
    KB_AUTO(client_close) struct client stopper = dial(&served, NO_CERT);
    KB_AUTO(answer_finish) struct answer stop = get(&stopper, "/stop");
    KB_CHECK_STR(stop.body.p, "stopping");
    KB_CHECK(!client_read(&idle));
    KB_AUTO(answer_finish) struct answer rest = client_answer(&busy, false);
    KB_CHECK_U64(rest.body.n, >=, 29990000);
    int status;
    KB_CHECK(waitpid(served.pid, &status, 0) == served.pid && WIFEXITED(status) &&
             WEXITSTATUS(status) == 0);
}

KB_TEST(http1, serves_many_connections_at_once)
{
    enum { N = 200 };
    KB_AUTO(served_end)
    struct served served = serve((struct kb_http_config){.max_conns = 150}, false);
    struct client clients[N];
    for (int i = 0; i < N; i++) {
        clients[i] = dial(&served, NO_CERT);
        client_puts(&clients[i],
                    "POST /echo HTTP/1.1\r\nHost: t\r\nContent-Length: 5\r\n\r\nhello");
    }
    for (int i = 0; i < N;
         i++) { /* the last ones wait in the backlog for the first ones to leave */
        KB_AUTO(answer_finish) struct answer answer = client_answer(&clients[i], false);
        KB_CHECK_STR(answer.body.p, "hello");
        client_close(&clients[i]);
    }
}
