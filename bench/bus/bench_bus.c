/* bench_bus.c - calls a second between two processes over ipc: echo of a small map, with a fixed
 * number outstanding.
 *
 *     bench_bus [SECONDS [OUTSTANDING [BYTES [CLIENTS]]]]        default 2, 64, 256, 1 */
#include "bus/actor.h"
#include "bus/base/check.h"
#include "bus/base/file.h"
#include "bus/loop.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

struct client {
    struct kb_actor *actor;
    struct kb_peer *peer;
    struct kb_doc *body;
    int64_t calls, outstanding;
    uint32_t *us; /* how long each took; as many as fit */
    size_t n_us;
    bool over;
};

enum { SAMPLES = 4000000 };

struct one {
    struct client *client;
    int64_t started_us;
};

static int64_t now_us(void)
{
    struct timespec ts;
    clock_gettime(CLOCK_MONOTONIC, &ts);
    return (int64_t)ts.tv_sec * 1000000 + ts.tv_nsec / 1000;
}

static struct kb_actor *join(const char *dir, const char *name)
{
    struct kb_err err = {0};
    struct kb_actor *actor;
    struct kb_actor_config config = {
        .name = name, .data_dir = dir, .run_dir = dir, .standalone = true};
    if (kb_actor_new(&config, &actor, &err) < 0) {
        fprintf(stderr, "%s\n", err.text);
        exit(1);
    }
    return actor;
}

static void echo(void *user, struct kb_request *request, kb_val body)
{
    (void)user;
    kb_request_reply(&request, body);
}

static const struct kb_method methods[] = {{"bench.echo", echo}};

static void serve(const char *dir)
{
    struct kb_actor *actor = join(dir, "echo");
    kb_actor_serve(actor, methods, 1, NULL);
    kb_actor_run(actor, NULL);
    kb_actor_destroy(&actor);
    exit(0);
}

static void call(struct one *one);

static void on_reply(void *user, const struct kb_err *err, kb_val body)
{
    struct one *one = user;
    struct client *client = one->client;
    (void)body;
    KB_ASSERT(err == NULL);
    client->calls++;
    if (client->n_us < SAMPLES)
        client->us[client->n_us++] = (uint32_t)(now_us() - one->started_us);
    if (!client->over)
        call(one);
    else if (--client->outstanding == 0)
        kb_actor_stopped(client->actor);
}

static void call(struct one *one)
{
    one->started_us = now_us();
    kb_call(one->client->peer, "bench.echo", kb_doc_root(one->client->body), 10000, on_reply, one);
}

static void on_time(void *user)
{
    ((struct client *)user)->over = true;
}

static int order(const void *a, const void *b)
{
    uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
    return x < y ? -1 : x > y;
}

static int64_t run_client(const char *dir, const char *name, int seconds, int outstanding,
                          int bytes)
{
    struct client client = {.actor = join(dir, name), .outstanding = outstanding};
    struct one *ones = calloc((size_t)outstanding, sizeof(*ones));
    char *text = calloc(1, (size_t)bytes + 1);
    struct kb_w w = {0};
    client.us = malloc(SAMPLES * sizeof(*client.us));
    KB_ASSERT(ones && text && client.us);
    memset(text, 'x', (size_t)bytes);
    kb_w_map(&w);
    kb_w_kcstr(&w, "text", text);
    kb_w_end(&w);
    client.body = kb_w_doc(&w);
    client.peer = kb_actor_peer(client.actor, "echo");
    struct kb_loop_timer timer = {.fn = on_time, .user = &client};
    kb_loop_timer_set(kb_actor_loop(client.actor), &timer, (kb_ms)seconds * 1000);
    for (int i = 0; i < outstanding; i++) {
        ones[i].client = &client;
        call(&ones[i]);
    }
    kb_actor_run(client.actor, NULL);
    qsort(client.us, client.n_us, sizeof(*client.us), order);
    printf("%s: %lld calls/s, p50 %u us, p99 %u us\n", name, (long long)client.calls / seconds,
           client.us[client.n_us / 2], client.us[client.n_us * 99 / 100]);
    fflush(stdout);
    kb_actor_destroy(&client.actor);
    kb_doc_destroy(&client.body);
    free(client.us);
    free(ones);
    free(text);
    return client.calls;
}

int main(int argc, char **argv)
{
    char dir[] = "/tmp/kubus-bench-XXXXXX";
    int seconds = argc > 1 ? atoi(argv[1]) : 2, outstanding = argc > 2 ? atoi(argv[2]) : 64;
    int bytes = argc > 3 ? atoi(argv[3]) : 256, clients = argc > 4 ? atoi(argv[4]) : 1;
    if (mkdtemp(dir) == NULL || seconds < 1 || outstanding < 1)
        return 1;
    pid_t server = fork();
    if (server == 0)
        serve(dir);
    for (int i = 0; i < clients; i++)
        if (fork() == 0) {
            char name[32];
            snprintf(name, sizeof(name), "client-%d", i);
            run_client(dir, name, seconds, outstanding, bytes);
            exit(0);
        }
    for (int i = 0; i < clients; i++)
        wait(NULL);
    kill(server, SIGTERM);
    waitpid(server, NULL, 0);
    struct rusage usage;
    getrusage(RUSAGE_CHILDREN, &usage);
    printf("CPU of all: %.2f s\n",
           (double)usage.ru_utime.tv_sec + (double)usage.ru_stime.tv_sec +
               (double)(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) / 1e6);
    kb_dir_remove(dir, NULL);
    return 0;
}
