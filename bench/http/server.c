/* bench_http_server: the HTTP library alone, answering at once: GET / 3 KB, POST / an echo,
 * GET /watch a stream that brings each POST's body. On SIGTERM it prints requests and CPU a
 * request, which is the figure to follow from commit to commit.
 *
 *     bench_http_server DIR [PORT]     keys and certificates are made in DIR; "-" for plain HTTP
 *     bench_load --port PORT --cert DIR/admin.crt --key DIR/admin.key --connections 64 --requests
 * 200000 */
#include "actors/api/http/server.h"
#include "actors/api/pki.h"

#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

enum { BODY_BYTES = 3000, WATCHERS_MAX = 10000 };

static volatile sig_atomic_t stopping;

struct bench {
    struct kb_blob *page;
    struct kb_http_req *watchers[WATCHERS_MAX];
    size_t watchers_n;
};

static void on_signal(int number)
{
    (void)number;
    stopping = 1;
}

static void on_request(void *user, struct kb_http_req *req)
{
    static const struct kb_http_head head = {.status = 200, .content_type = "application/json"};
    struct bench *bench = user;
    if (kb_http_req_method(req) == KB_HTTP_POST) {
        struct kb_blob *event = kb_blob_new(kb_http_req_body(req));
        for (size_t i = 0; i < bench->watchers_n; i++)
            kb_http_stream_write(bench->watchers[i], event);
        kb_http_reply_blob(req, &head, &event);
    } else if (kb_str_is(kb_http_req_path(req), "/watch") && bench->watchers_n < WATCHERS_MAX) {
        kb_http_stream_start(req, &head);
        bench->watchers[bench->watchers_n++] = req;
    } else {
        struct kb_blob *page = kb_blob_ref(bench->page);
        kb_http_reply_blob(req, &head, &page);
    }
}

static void on_close(void *user, struct kb_http_req *req)
{
    struct bench *bench = user;
    for (size_t i = 0; i < bench->watchers_n; i++)
        if (bench->watchers[i] == req)
            bench->watchers[i--] = bench->watchers[--bench->watchers_n];
}

static void report(const struct kb_http_server *server)
{
    struct kb_http_stats stats;
    struct rusage usage;
    kb_http_server_stats(server, &stats);
    getrusage(RUSAGE_SELF, &usage);
    double cpu_us = (double)(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) * 1e6 +
                    (double)(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec);
    printf("{\"requests\":%llu,\"cpu_us_per_request\":%.2f,\"sent_mb\":%.1f,\"rss_kb\":%ld}\n",
           (unsigned long long)stats.requests,
           cpu_us / (double)(stats.requests ? stats.requests : 1), (double)stats.bytes_out / 1e6,
           usage.ru_maxrss);
}

int main(int argc, char **argv)
{
    static struct bench bench;
    static const struct kb_http_handler handler = {on_request, on_close, NULL, NULL};
    const struct kb_clock *clock = kb_clock_system();
    struct kb_http_server *server = NULL;
    struct kb_err err = {0};
    if (argc < 2) {
        fprintf(stderr, "usage: bench_http_server DIR|- [PORT]\n");
        return 2;
    }
    KB_AUTO(kb_auto_free) char *listen = kb_strf("127.0.0.1:%s", argc > 2 ? argv[2] : "0");
    KB_AUTO(kb_auto_free) char *cert = kb_strf("%s/apiserver.crt", argv[1]);
    KB_AUTO(kb_auto_free) char *key = kb_strf("%s/apiserver.key", argv[1]);
    KB_AUTO(kb_auto_free) char *ca = kb_strf("%s/ca.crt", argv[1]);
    struct kb_http_config config = {.listen = listen, .handler = &handler, .user = &bench};
    if (strcmp(argv[1], "-") != 0) {
        struct kb_pki_config pki = {.dir = argv[1], .wall_us = kb_clock_wall_us(clock)};
        config.cert_file = cert;
        config.key_file = key;
        config.client_ca_file = ca;
        if (kb_pki_ensure(&pki, NULL, &err) < 0)
            fprintf(stderr, "%s\n", err.text);
    }
    struct kb_buf page = {0};
    memset(kb_buf_reserve(&page, BODY_BYTES), 'x', BODY_BYTES);
    page.n = BODY_BYTES;
    bench.page = kb_blob_take(&page);
    if (kb_http_server_new(&config, &server, &err) < 0) {
        fprintf(stderr, "%s\n", err.text);
        return 1;
    }
    signal(SIGTERM, on_signal);
    signal(SIGINT, on_signal);
    printf("port %d\n", kb_http_server_port(server));
    fflush(stdout);
    while (!stopping) {
        struct pollfd fd = {.fd = kb_http_server_fd(server), .events = POLLIN};
        poll(&fd, 1, (int)kb_http_server_wait_ms(server, kb_clock_now(clock)));
        kb_http_server_step(server, kb_clock_now(clock));
    }
    report(server);
    kb_http_server_destroy(&server);
    kb_blob_unref(&bench.page);
    return 0;
}
