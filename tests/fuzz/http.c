/* What a hostile client may send to the HTTPS server, without TLS: requests, bodies, upgrades,
 * frames. The server and its one client live in this process. The first byte says where the input
 * is cut into two writes. */
#include "actors/api/http/server.h"
#include "bus/base/check.h"
#include "tests/fuzz/fuzz.h"

#include <arpa/inet.h>
#include <errno.h>
#include <sys/socket.h>
#include <unistd.h>

static const struct kb_http_head ok = {.status = 200, .content_type = "text/plain"};

static void on_request(void *user, struct kb_http_req *req)
{
    (void)user;
    kb_str key, value;
    for (size_t at = 0; kb_http_req_param_next(req, &at, &key, &value);)
        KB_ASSERT(key.p != NULL && value.p != NULL);
    if (kb_http_req_is_websocket(req)) {
        kb_http_ws_accept(req, NULL);
    } else if (kb_http_req_method(req) == KB_HTTP_GET) {
        struct kb_blob *blob = kb_blob_new(kb_http_req_target(req));
        kb_http_stream_start(req, &ok);
        kb_http_stream_write(req, blob);
        kb_blob_unref(&blob);
        kb_http_stream_end(req);
    } else {
        kb_http_reply(req, &ok, kb_http_req_body(req));
    }
}

static void on_message(void *user, struct kb_http_req *req, kb_str data, bool text)
{
    (void)user;
    if (data.n == 1)
        kb_http_ws_close(req, 1000, "enough");
    else
        kb_http_ws_send(req, (kb_str){0}, data, text);
}

static struct kb_http_server *the_server(void)
{
    static const struct kb_http_handler handler = {on_request, NULL, NULL, on_message};
    static struct kb_http_server *server;
    struct kb_http_config config = {
        .listen = "127.0.0.1:0", .handler = &handler, .max_body_bytes = 4096, .max_ws_bytes = 4096};
    struct kb_err err;
    if (server == NULL)
        KB_ASSERT(kb_http_server_new(&config, &server, &err) == 0);
    return server;
}

static void step(struct kb_http_server *server)
{
    for (int i = 0; i < 4; i++)
        kb_http_server_step(server, kb_clock_now(kb_clock_system()));
}

/* The fuzzer's own alarm may interrupt a connection that is being made: make another. */
static int connect_to(const struct kb_http_server *server)
{
    struct sockaddr_in to = {.sin_family = AF_INET,
                             .sin_port = htons((uint16_t)kb_http_server_port(server)),
                             .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    for (;;) {
        int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
        KB_ASSERT(fd >= 0);
        if (connect(fd, (struct sockaddr *)&to, sizeof(to)) == 0)
            return fd;
        KB_ASSERT(errno == EINTR);
        close(fd);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    struct kb_http_server *server = the_server();
    struct linger reset = {1, 0};
    if (n == 0 || n > 60000)
        return 0;
    int fd = connect_to(server);
    size_t cut = data[0] < n ? data[0] : n - 1;
    (void)!send(fd, data + 1, cut, MSG_NOSIGNAL);
    step(server);
    (void)!send(fd, data + 1 + cut, n - 1 - cut, MSG_NOSIGNAL | MSG_DONTWAIT);
    step(server);
    setsockopt(fd, SOL_SOCKET, SO_LINGER, &reset, sizeof(reset)); /* leaves no TIME_WAIT */
    close(fd);
    while (!kb_http_server_idle(server))
        step(server);
    return 0;
}
