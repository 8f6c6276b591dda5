#include "bus/base/list.h"
#include "bus/loop_impl.h"
#include "bus/transport.h"
#include "tests/lib/test.h"

#include <arpa/inet.h>
#include <sys/socket.h>
#include <unistd.h>

/* What happened at one socket. */
struct end {
    struct kb_socket *socket;
    int messages, ups, downs, subscriptions, undelivered, code;
    char last[64];
};

static void on_message(void *user, struct kb_message *message)
{
    struct end *end = user;
    end->messages++;
    kb_str_copy(message->frame[0], end->last, sizeof(end->last));
    if (message->route.n)
        kb_socket_send(end->socket, message->route, message->frame, message->n);
    kb_message_destroy(&message);
}

static void on_up(void *user)
{
    ((struct end *)user)->ups++;
}

static void on_down(void *user)
{
    ((struct end *)user)->downs++;
}

static void on_subscription(void *user, kb_str topic, bool subscribed)
{
    struct end *end = user;
    end->subscriptions += subscribed ? 1 : -1;
    kb_str_copy(topic, end->last, sizeof(end->last));
}

static void on_undelivered(void *user, kb_str route, int code)
{
    struct end *end = user;
    end->undelivered++;
    end->code = code;
    kb_str_copy(route, end->last, sizeof(end->last));
}

static const struct kb_socket_handlers handlers = {.undelivered = on_undelivered,
                                                   .message = on_message,
                                                   .up = on_up,
                                                   .down = on_down,
                                                   .subscription = on_subscription};

static void open_end(struct kb_transport *transport, enum kb_socket_type type, const char *endpoint,
                     struct end *end)
{
    struct kb_err err = {0};
    KB_CHECK_OK(kb_socket_open(transport, type, endpoint, &handlers, end, &end->socket, &err),
                &err);
}

static void until(struct kb_transport *transport, const int *count, int want)
{
    kb_ms end_ms = kb_clock_now(kb_clock_system()) + 10000;
    while (*count < want) {
        KB_CHECK(kb_clock_now(kb_clock_system()) < end_ms);
        kb_loop_pass(transport->loop, 5);
    }
}

/* A port that was free a moment ago. */
static void free_endpoint(char out[64])
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t n = sizeof(address);
    KB_AUTO(kb_auto_close) int fd = socket(AF_INET, SOCK_STREAM, 0);
    KB_CHECK(bind(fd, (struct sockaddr *)&address, sizeof(address)) == 0);
    KB_CHECK(getsockname(fd, (struct sockaddr *)&address, &n) == 0);
    snprintf(out, 64, "tcp://127.0.0.1:%d", ntohs(address.sin_port));
}

KB_TEST(transport, carries_messages_over_tcp_and_notices_a_server_that_comes_back)
{
    struct kb_transport *transport;
    struct kb_err err = {0};
    struct end server = {0}, client = {0};
    char endpoint[64];
    kb_str frames[2] = {kb_str_of("head"), kb_str_of("body")}, none = {0};
    free_endpoint(endpoint);
    KB_CHECK_OK(kb_transport_zmq_new(&transport, &err), &err);
    open_end(transport, KB_SOCKET_CLIENT, endpoint, &client);
    open_end(transport, KB_SOCKET_SERVER, endpoint, &server);
    until(transport, &client.ups, 1);
    KB_CHECK_I64(kb_socket_send(client.socket, none, frames, 2), ==, 0);
    until(transport, &client.messages, 1);
    KB_CHECK_STR(client.last, "head");
    kb_socket_close(&server.socket);
    until(transport, &client.downs, 1);
    open_end(transport, KB_SOCKET_SERVER, endpoint, &server);
    until(transport, &client.ups, 2);
    kb_socket_close(&client.socket);
    kb_socket_close(&server.socket);
    kb_transport_destroy(&transport);
}

KB_TEST(transport, says_of_each_subscriber_that_came_and_of_the_last_that_left)
{
    struct kb_transport *transport;
    struct kb_err err = {0};
    struct end publisher = {0}, a = {0}, b = {0};
    KB_AUTO(kb_auto_free) char *endpoint = kb_strf("ipc://%s/t.pub", kb_test_dir());
    kb_str topic = kb_str_n("pods", 5), event[2] = {topic, kb_str_of("x")}, none = {0};
    KB_CHECK_OK(kb_transport_zmq_new(&transport, &err), &err);
    open_end(transport, KB_SOCKET_PUBLISHER, endpoint, &publisher);
    open_end(transport, KB_SOCKET_FOLLOWER, endpoint, &a);
    open_end(transport, KB_SOCKET_FOLLOWER, endpoint, &b);
    kb_socket_subscribe(a.socket, topic, true);
    until(transport, &publisher.subscriptions, 1);
    kb_socket_subscribe(b.socket, topic, true);
    until(transport, &publisher.subscriptions, 2);
    KB_CHECK_STR(publisher.last, "pods");
    kb_socket_send(publisher.socket, none, event, 2);
    until(transport, &a.messages, 1);
    until(transport, &b.messages, 1);
    kb_socket_close(&a.socket);
    kb_socket_close(&b.socket);
    int left = 0;
    while (publisher.subscriptions > 1) { /* one is told: that nobody is left */
        KB_CHECK(left++ < 2000);
        kb_loop_pass(transport->loop, 5);
    }
    kb_socket_close(&publisher.socket);
    kb_transport_destroy(&transport);
}

KB_TEST(transport, tells_of_what_it_could_not_send_and_goes_on_with_the_next)
{
    struct kb_transport *transport;
    struct kb_err err = {0};
    struct end server = {0}, client = {0};
    kb_str frames[2] = {kb_str_of("x"), kb_str_of("y")}, none = {0};
    KB_AUTO(kb_auto_free) char *endpoint = kb_strf("ipc://%s/t.sock", kb_test_dir());
    KB_CHECK_OK(kb_transport_zmq_new(&transport, &err), &err);
    open_end(transport, KB_SOCKET_SERVER, endpoint, &server);
    open_end(transport, KB_SOCKET_CLIENT, endpoint, &client);
    until(transport, &client.ups, 1);
    KB_CHECK_I64(kb_socket_send(server.socket, kb_str_of("nobody"), frames, 2), ==, 0);
    KB_CHECK_I64(kb_socket_send(client.socket, none, frames, 2), ==, 0);
    until(transport, &server.undelivered, 1);
    KB_CHECK_I64(server.code, ==, KB_EUNAVAILABLE);
    KB_CHECK_STR(server.last, "nobody");
    until(transport, &client.messages, 1);
    kb_socket_close(&client.socket);
    kb_socket_close(&server.socket);
    kb_transport_destroy(&transport);
}
