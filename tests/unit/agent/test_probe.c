/* Probes against a server of the test's own, on loopback. */
#include "agent/probe.h"
#include "bus/base/buf.h"
#include "bus/model/json.h"
#include "tests/lib/test.h"

#include <arpa/inet.h>
#include <errno.h>
#include <sys/socket.h>
#include <unistd.h>

enum { GIVE_UP_MS = 60000 };

struct world {
    struct kb_ev *ev;
    struct kb_runtime *rt;
    int listener, client, port;
    struct kb_ev_fd *listener_watch, *client_watch;
    struct kb_buf request;
    const char *answer;
    bool over, ok;
    char words[512];
};

static bool is_whole(const struct kb_buf *request)
{
    return kb_str_ends(kb_buf_str(request), "\r\n\r\n");
}

static void on_client(void *arg, uint32_t events)
{
    struct world *w = arg;
    (void)events;
    ssize_t n = read(w->client, kb_buf_reserve(&w->request, 4096), 4096);
    if (n > 0)
        w->request.n += (size_t)n;
    if (n <= 0 || is_whole(&w->request)) {
        KB_CHECK(write(w->client, w->answer, strlen(w->answer)) == (ssize_t)strlen(w->answer));
        kb_ev_unwatch(&w->client_watch);
        kb_auto_close(&w->client);
    }
}

static void on_listener(void *arg, uint32_t events)
{
    struct world *w = arg;
    (void)events;
    w->client = accept(w->listener, NULL, NULL);
    KB_CHECK(w->client >= 0);
    w->client_watch = kb_ev_watch(w->ev, w->client, EPOLLIN, on_client, w);
}

static void on_done(void *arg, bool ok, const char *words)
{
    struct world *w = arg;
    w->over = true;
    w->ok = ok;
    snprintf(w->words, sizeof w->words, "%s", words);
}

static void world_init(struct world *w, const char *answer)
{
    struct kb_err err = {0};
    struct sockaddr_in here = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t n = sizeof here;
    struct kb_rt_options options = {.node = "n1", .dir = kb_test_dir(), .image_dir = kb_test_dir()};
    static const struct kb_rt_listener nobody;
    *w = (struct world){.ev = kb_ev_new(kb_clock_system()), .client = -1, .answer = answer};
    KB_CHECK_OK(kb_runtime_new("process", w->ev, &options, &nobody, NULL, &w->rt, &err), &err);
    w->listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    KB_CHECK(bind(w->listener, (struct sockaddr *)&here, sizeof here) == 0);
    KB_CHECK(listen(w->listener, 4) == 0);
    KB_CHECK(getsockname(w->listener, (struct sockaddr *)&here, &n) == 0);
    w->port = ntohs(here.sin_port);
    w->listener_watch = kb_ev_watch(w->ev, w->listener, EPOLLIN, on_listener, w);
}

static void world_finish(struct world *w)
{
    kb_ev_unwatch(&w->listener_watch);
    kb_ev_unwatch(&w->client_watch);
    kb_auto_close(&w->listener);
    kb_auto_close(&w->client);
    kb_runtime_destroy(&w->rt);
    kb_ev_destroy(&w->ev);
    kb_buf_finish(&w->request);
}

/* Probe with an httpGet that has these fields more, until the probe says what came of it. */
static void get(struct world *w, const char *fields)
{
    struct kb_err err = {0};
    KB_AUTO(kb_doc_destroy) struct kb_doc *doc = NULL;
    KB_AUTO(kb_auto_free) char *json = kb_strf("{\"httpGet\":{\"port\":%d%s}}", w->port, fields);
    KB_CHECK_OK(kb_json_doc(kb_str_of(json), &doc, &err), &err);
    struct kb_probe_target target = {.ip = "127.0.0.1"};
    w->over = false;
    kb_buf_clear(&w->request);
    struct kb_probe *probe =
        kb_probe_start(w->rt, w->ev, kb_doc_root(doc), &target, GIVE_UP_MS, on_done, w);
    while (!w->over)
        kb_ev_run(w->ev, 1000);
    kb_probe_destroy(&probe);
}

KB_TEST(probe, asks_and_takes_the_status_for_the_answer)
{
    KB_AUTO(world_finish) struct world w;
    world_init(&w, "HTTP/1.1 204 No Content\r\n\r\n");
    get(&w, ",\"path\":\"healthz?x=1\"");
    KB_CHECK(w.ok);
    KB_CHECK(
        kb_str_starts(kb_buf_str(&w.request), "GET /healthz?x=1 HTTP/1.1\r\nHost: 127.0.0.1:"));
    w.answer = "HTTP/1.0 503 Service Unavailable\r\n\r\nno";
    get(&w, ",\"path\":\"/healthz\"");
    KB_CHECK(!w.ok);
    KB_CHECK_STR(w.words, "HTTP probe failed with statuscode: 503");
    w.answer = "HTTP/1.";
    get(&w, ",\"path\":\"/a\"");
    KB_CHECK(!w.ok && kb_str_ends(kb_str_of(w.words), "/a\": EOF"));
    w.answer = "220 mail.example ESMTP\r\n";
    get(&w, ",\"path\":\"/a\"");
    KB_CHECK(!w.ok && kb_str_ends(kb_str_of(w.words), "malformed HTTP response"));
}

/* The path is the last text of the document: a sanitizer sees who reads behind it. */
KB_TEST(probe, a_path_is_read_to_its_end_and_no_further)
{
    KB_AUTO(world_finish) struct world w;
    world_init(&w, "nonsense");
    get(&w, ",\"path\":\"/ab\"");
    KB_AUTO(kb_auto_free)
    char *want = kb_strf("Get \"http://127.0.0.1:%d/ab\": malformed HTTP response", w.port);
    KB_CHECK_STR(w.words, want);
}

KB_TEST(probe, headers_may_be_longer_than_a_socket_takes_at_once)
{
    enum { LONG = 8 << 20 };
    KB_AUTO(world_finish) struct world w;
    KB_AUTO(kb_buf_finish) struct kb_buf fields = {0};
    world_init(&w, "HTTP/1.1 200 OK\r\n\r\n");
    kb_buf_puts(&fields, ",\"path\":\"/\",\"httpHeaders\":[{\"name\":\"x\",\"value\":\"");
    memset(kb_buf_reserve(&fields, LONG), 'v', LONG);
    fields.n += LONG;
    kb_buf_puts(&fields, "\"}]");
    get(&w, fields.p);
    KB_CHECK_STR(w.ok ? "" : w.words, "");
    KB_CHECK_U64(w.request.n, >, LONG);
}
