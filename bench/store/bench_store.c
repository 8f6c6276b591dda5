/* bench_store - durable writes a second over the real bus: the store in one process, clients in
 * others, a fixed number of calls outstanding.
 *
 *     bench_store [--op create|update|get|list] [--outstanding N] [--clients N] [--seconds N] [--bytes
 * N]
 *                 [--data DIR] [--keep] [--json]
 *
 * create writes new keys on the condition that they are absent; update writes a client's own keys
 * again, each on the condition of the revision before; get reads them. Every reply means that the
 * write is durable. The data lies in DIR (a fresh folder in the working directory by default, so
 * that it is measured on a disk and not in a tmpfs). */
#include "bus/actor.h"
#include "bus/base/check.h"
#include "bus/base/file.h"
#include "bus/loop.h"
#include "store/store_main.h"

#include <getopt.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { CLIENTS_MAX = 16, SAMPLES = 2000000, KEYS = 1000 };

enum op { CREATE, UPDATE, GET, LIST };

struct options {
    enum op op;
    int outstanding, clients, seconds, bytes;
    const char *data;
    bool keep, json;
};

struct result { /* shared between the processes */
    int64_t calls, errors, cpu_us;
    uint32_t n;
    uint32_t us[SAMPLES];
};

struct client {
    const struct options *o;
    struct kb_actor *actor;
    struct kb_peer *peer;
    struct result *result;
    char *pad;
    int number, outstanding;
    int64_t made;
    int64_t revs[KEYS];
    struct kb_w w;
    bool over;
};

struct call {
    struct client *client;
    int64_t began_us;
    int key;
};

static int64_t now_us(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000000 + t.tv_nsec / 1000;
}

static int64_t cpu_us(int who)
{
    struct rusage use;
    getrusage(who, &use);
    return (int64_t)(use.ru_utime.tv_sec + use.ru_stime.tv_sec) * 1000000 + use.ru_utime.tv_usec +
           use.ru_stime.tv_usec;
}

static void next(struct call *call);
static void next_list(struct call *call);

static void on_reply(void *user, const struct kb_err *err, kb_val body)
{
    struct call *call = user;
    struct client *c = call->client;
    int64_t now = now_us();
    if (err) {
        if (c->result->errors++ == 0)
            fprintf(stderr, "bench_store: %s\n", err->text);
    } else {
        c->result->calls++;
        c->revs[call->key] = kb_val_int(kb_val_get(body, "rev"), 0);
    }
    if (c->result->n < SAMPLES)
        c->result->us[c->result->n++] = (uint32_t)(now - call->began_us);
    if (!c->over)
        next(call);
    else if (--c->outstanding == 0)
        kb_actor_stopped(c->actor);
}

static void write_put(struct client *c, const char *key, int64_t rev)
{
    struct kb_w *w = &c->w;
    kb_w_map(w);
    kb_w_karray(w, "ops");
    kb_w_map(w);
    kb_w_kcstr(w, "op", "put");
    kb_w_kcstr(w, "key", key);
    kb_w_kmap(w, "if");
    if (rev)
        kb_w_kint(w, "rev", rev);
    else
        kb_w_kbool(w, "absent", true);
    kb_w_end(w);
    kb_w_kmap(w, "doc");
    kb_w_kstr(w, "data", kb_str_n(c->pad, (size_t)c->o->bytes));
    kb_w_end(w);
    kb_w_end(w);
    kb_w_end(w);
    kb_w_end(w);
}

static void next(struct call *call)
{
    struct client *c = call->client;
    char key[80];
    kb_buf_clear(&c->w.buf);
    if (c->o->op == LIST) {
        next_list(call);
        return;
    }
    if (c->o->op == CREATE)
        snprintf(key, sizeof(key), "configmaps/bench-%d/object-%lld", c->number,
                 (long long)c->made++);
    else
        snprintf(key, sizeof(key), "configmaps/bench-%d/object-%d", c->number, call->key);
    if (c->o->op == GET && c->revs[call->key]) {
        kb_w_map(&c->w);
        kb_w_kcstr(&c->w, "key", key);
        kb_w_end(&c->w);
    } else {
        write_put(c, key, c->o->op == CREATE ? 0 : c->revs[call->key]);
    }
    bool read = c->o->op == GET && c->revs[call->key];
    call->began_us = now_us();
    kb_call(c->peer, read ? "store.get" : "store.txn", kb_w_val(&c->w), 60000, on_reply, call);
}

/* First all keys are made, then they are listed. */
static void next_list(struct call *call)
{
    struct client *c = call->client;
    char text[64];
    if (c->made < KEYS) {
        snprintf(text, sizeof(text), "configmaps/bench-%d/object-%d", c->number, (int)c->made++);
        write_put(c, text, 0);
    } else {
        snprintf(text, sizeof(text), "configmaps?ns=bench-%d", c->number);
        kb_w_map(&c->w);
        kb_w_kcstr(&c->w, "view", text);
        kb_w_end(&c->w);
    }
    bool list = kb_val_type(kb_val_get(kb_w_val(&c->w), "view")) == KB_STR;
    call->began_us = now_us();
    kb_call(c->peer, list ? "store.list" : "store.txn", kb_w_val(&c->w), 60000, on_reply, call);
}

static void on_time(void *user)
{
    ((struct client *)user)->over = true;
}

static void run_client(const struct options *o, int number, struct result *result)
{
    struct kb_err err = {0};
    char name[32];
    snprintf(name, sizeof(name), "bench-%d", number);
    struct client *c = calloc(1, sizeof(*c));
    struct kb_actor_config config = {.name = name, .data_dir = o->data, .standalone = true};
    KB_ASSERT(c != NULL);
    *c = (struct client){
        .o = o, .result = result, .number = number, .outstanding = o->outstanding / o->clients};
    if (kb_actor_new(&config, &c->actor, &err) < 0) {
        fprintf(stderr, "%s\n", err.text);
        exit(1);
    }
    c->pad = malloc((size_t)o->bytes + 1);
    memset(c->pad, 'x', (size_t)o->bytes);
    c->peer = kb_actor_peer(c->actor, "store");
    struct call *calls = calloc((size_t)c->outstanding, sizeof(*calls));
    struct kb_loop_timer timer = {.fn = on_time, .user = c};
    kb_loop_timer_set(kb_actor_loop(c->actor), &timer, (kb_ms)o->seconds * 1000);
    for (int i = 0; i < c->outstanding; i++) {
        calls[i] = (struct call){.client = c, .key = i % KEYS};
        next(&calls[i]);
    }
    kb_actor_run(c->actor, &err);
    result->cpu_us = cpu_us(RUSAGE_SELF);
    exit(0);
}

static pid_t start_store(const struct options *o)
{
    pid_t pid = fork();
    KB_ASSERT(pid >= 0);
    if (pid == 0) {
        char *argv[] = {(char *)"store", (char *)"--data", (char *)o->data, (char *)"--standalone",
                        NULL};
        optind = 0; /* getopt begins anew */
        exit(kb_store_main(4, argv));
    }
    return pid;
}

static int order(const void *a, const void *b)
{
    uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
    return x < y ? -1 : x > y;
}

static int64_t store_cpu_us(pid_t pid)
{
    char path[64];
    KB_AUTO(kb_buf_finish) struct kb_buf text = {0};
    unsigned long user = 0, system = 0;
    snprintf(path, sizeof(path), "/proc/%d/stat", (int)pid);
    if (kb_file_read(path, 4096, &text, NULL) < 0)
        return 0;
    const char *at = strrchr(text.p, ')');
    if (at == NULL ||
        sscanf(at + 2, "%*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %lu %lu", &user, &system) != 2)
        return 0;
    return (int64_t)(user + system) * 1000000 / sysconf(_SC_CLK_TCK);
}

static void report(const struct options *o, struct result *const *results, int64_t took_us,
                   int64_t cpu)
{
    static uint32_t all[SAMPLES];
    uint32_t n = 0;
    int64_t calls = 0, errors = 0, client_cpu = 0;
    for (int i = 0; i < o->clients; i++) {
        calls += results[i]->calls;
        errors += results[i]->errors;
        client_cpu += results[i]->cpu_us;
        for (uint32_t k = 0; k < results[i]->n && n < SAMPLES; k++)
            all[n++] = results[i]->us[k];
    }
    if (n == 0 || calls == 0) {
        fprintf(stderr, "bench_store: nothing was answered\n");
        exit(1);
    }
    qsort(all, n, sizeof(*all), order);
    double rate = (double)calls * 1e6 / (double)took_us;
    if (o->json)
        printf("{\"per_second\": %.0f, \"p50_ms\": %.3f, \"p99_ms\": %.3f, \"outstanding\": %d, "
               "\"clients\": %d, \"errors\": %lld, \"store_cpu_us\": %.1f, \"client_cpu_us\": "
               "%.1f}\n",
               rate, all[n / 2] / 1e3, all[n * 99ull / 100] / 1e3, o->outstanding, o->clients,
               (long long)errors, (double)cpu / (double)calls, (double)client_cpu / (double)calls);
    else
        printf("%d outstanding, %d clients: %.0f/s, p50 %.2f ms, p99 %.2f ms, worst %.1f ms; CPU a "
               "call: store %.1f us, clients %.1f us; errors %lld\n",
               o->outstanding, o->clients, rate, all[n / 2] / 1e3, all[n * 99ull / 100] / 1e3,
               all[n - 1] / 1e3, (double)cpu / (double)calls, (double)client_cpu / (double)calls,
               (long long)errors);
}

static void parse(int argc, char **argv, struct options *o)
{
    static const struct option options[] = {
        {"op", 1, NULL, 'p'},      {"outstanding", 1, NULL, 'o'}, {"clients", 1, NULL, 'c'},
        {"seconds", 1, NULL, 's'}, {"bytes", 1, NULL, 'b'},       {"data", 1, NULL, 'd'},
        {"keep", 0, NULL, 'k'},    {"json", 0, NULL, 'j'},        {0}};
    for (int c; (c = getopt_long(argc, argv, "", options, NULL)) != -1;) {
        if (c == 'p')
            o->op = strcmp(optarg, "get") == 0      ? GET
                    : strcmp(optarg, "list") == 0   ? LIST
                    : strcmp(optarg, "update") == 0 ? UPDATE
                                                    : CREATE;
        else if (c == 'o')
            o->outstanding = atoi(optarg);
        else if (c == 'c')
            o->clients = atoi(optarg);
        else if (c == 's')
            o->seconds = atoi(optarg);
        else if (c == 'b')
            o->bytes = atoi(optarg);
        else if (c == 'd')
            o->data = optarg;
        else if (c == 'k')
            o->keep = true;
        else if (c == 'j')
            o->json = true;
        else
            exit(2);
    }
    if (o->clients == 0)
        o->clients = o->outstanding < 16 ? 1 : 2;
    if (o->outstanding < o->clients || o->clients > CLIENTS_MAX || o->outstanding > 16 * KEYS ||
        o->seconds < 1 || o->bytes < 0)
        exit(2);
}

int main(int argc, char **argv)
{
    struct options o = {.outstanding = 64, .seconds = 3, .bytes = 1024};
    struct result *results[CLIENTS_MAX];
    pid_t pids[CLIENTS_MAX];
    char folder[] = "bench-store-XXXXXX";
    parse(argc, argv, &o);
    if (o.data == NULL)
        o.data = mkdtemp(folder);
    KB_ASSERT(o.data != NULL);
    pid_t store = start_store(&o);
    int64_t began = now_us();
    for (int i = 0; i < o.clients; i++) {
        results[i] = mmap(NULL, sizeof(struct result), PROT_READ | PROT_WRITE,
                          MAP_SHARED | MAP_ANONYMOUS, -1, 0);
        KB_ASSERT(results[i] != MAP_FAILED);
        pids[i] = fork();
        KB_ASSERT(pids[i] >= 0);
        if (pids[i] == 0)
            run_client(&o, i, results[i]);
    }
    for (int i = 0; i < o.clients; i++)
        waitpid(pids[i], NULL, 0);
    int64_t took = now_us() - began, cpu = store_cpu_us(store);
    kill(store, SIGTERM);
    waitpid(store, NULL, 0);
    if (!o.keep)
        kb_dir_remove(o.data, NULL);
    report(&o, results, took, cpu);
    return 0;
}
