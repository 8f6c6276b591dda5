/* A server in a process of its own, and a blocking client, for the tests of actors/api/http. */
#ifndef KUBUS_TESTS_HTTP_FIXTURE_H
#define KUBUS_TESTS_HTTP_FIXTURE_H

#include "actors/api/http/server.h"
#include "tests/lib/test.h"

#include <openssl/ssl.h>
#include <sys/types.h>

/* What the server answers:
 *   /hello "hello\n"      /echo the body         /info what it knows of the request
 *   /never nothing        /closed how often on_close came
 *   /hold until /release  /big?size=N           /stream?n=N&size=S in N pieces
 *   /flood writes until it overflows            /drain?total=N with back-pressure
 *   /ws echoes messages; "bye" makes it close with 1000, "flood" overflows
 *   /renew?days=N looks at its certificates as if N days had gone by: "renewed" or "good"
 *   /stop begins a graceful stop */
struct served {
    pid_t pid;
    int port;
    bool tls;
    char dir[256];  /* its pki, when tls */
    int ahead_days; /* clients' clocks are so much ahead */
};

/* `config`: limits and time-outs to use; listen, files, handler are set here. */
struct served serve(struct kb_http_config config, bool tls);
void served_end(struct served *served);

struct client {
    int fd;
    SSL *ssl;
    SSL_CTX *ctx;
    struct kb_buf in; /* read but not consumed */
};

enum client_cert { NO_CERT, ADMIN_CERT, SELF_SIGNED_CERT };
struct client dial(const struct served *served, enum client_cert cert);
struct client dial_alpn(const struct served *served, enum client_cert cert, const char *alpn);
void client_close(struct client *client);
void client_send(struct client *client, kb_str data);
void client_puts(struct client *client, const char *text);
/* Read more into `in`; false at the end of the stream. */
bool client_read(struct client *client);

struct answer {
    int status;
    struct kb_buf head, body;
    bool closed; /* the connection ended with it */
};
/* One answer; fails the test when none comes. `to_head`: the request was HEAD. */
struct answer client_answer(struct client *client, bool to_head);
void answer_finish(struct answer *answer);
/* Send a request of a line and headers (each ending in \r\n) with a body, and take its answer. */
struct answer ask(struct client *client, const char *line, const char *headers, kb_str body);
struct answer get(struct client *client, const char *path);
/* Ask until the path answers `body`, over new connections; for what happens soon. */
void wait_for(const struct served *served, const char *path, const char *body);

#endif
