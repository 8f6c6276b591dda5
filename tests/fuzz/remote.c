/* Answers of services that a policy asks: the input is a story of nodes and pods that come and go
 * and of what the service says, which are lists of the right length, of a wrong one, of nonsense,
 * or bytes of the input. The scheduler goes on, and binds no pod to a node that is not there. */
#include "actors/scheduler/core/outside.h"
#include "bus/base/check.h"
#include "tests/fuzz/fuzz.h"
#include "tests/fuzz/input.h"
#include "tests/lib/test.h"
#include "tests/unit/scheduler/world.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

extern const struct kb_policy kubus_policy_Remote;

enum { NODES = 5, PODS = 8, ASKS = 16 };

static const char *const texts[] = {"not there", "", "a", "\xc3\xa9\xc3\xa9", "%s%n"};
static struct kb_outside_ask asks[ASKS];
static size_t asks_n;

/* The world is of the tests' library. */
void kb_test_fail(const char *file, int line, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    fprintf(stderr, "%s:%d: ", file, line);
    vfprintf(stderr, format, args);
    va_end(args);
    abort();
}

uint64_t kb_test_seed(void)
{
    return 1;
}

static const struct kb_policy *resolve(void *user, const char *name)
{
    (void)user;
    return strcmp(name, "Remote") == 0 ? &kubus_policy_Remote : kb_policy_builtin(name);
}

static void configure(struct world *w, struct fuzz_input *in)
{
    KB_AUTO(kb_config_finish) struct kb_config config = {0};
    struct kb_err err = {0};
    unsigned flags = fuzz_byte(in);
    char text[512];
    snprintf(
        text, sizeof(text),
        "apiVersion: kubescheduler.config.k8s.io/v1\nkind: KubeSchedulerConfiguration\n"
        "profiles: [{plugins: {multiPoint: {enabled: [{name: Remote}]}}, pluginConfig: [{name: "
        "Remote, args: {service: judge, optional: %u, pods: %u, labels: zone}}]}]\n",
        flags & 1, 1 + flags / 2 % 8);
    KB_ASSERT(kb_config_parse(kb_str_of(text), resolve, NULL, &config, &err) == 0);
    KB_ASSERT(kb_sched_configure(w->sched, &config, &err) == 0);
}

static void take_asks(struct world *w)
{
    struct kb_outside_ask ask;
    while (kb_sched_next_ask(w->sched, &ask)) {
        if (asks_n == ASKS) {
            kb_doc_destroy(&asks[0].body);
            memmove(asks, asks + 1, --asks_n * sizeof(asks[0]));
        }
        asks[asks_n++] = ask;
    }
}

static void put_number(struct fuzz_input *in, struct kb_w *w)
{
    unsigned kind = fuzz_byte(in);
    if (kind < 200)
        kb_w_int(w, kind % 4);
    else if (kind < 220)
        kb_w_int(w, fuzz_number(in));
    else if (kind < 240)
        kb_w_double(w, (double)fuzz_number(in) / 7);
    else
        kb_w_cstr(w, "1");
}

static void put_numbers(struct fuzz_input *in, const char *key, size_t nodes, struct kb_w *w)
{
    unsigned kind = fuzz_byte(in);
    if (kind % 8 == 7)
        return;
    size_t n = kind >= 240 ? kind - 240 : nodes;
    kb_w_karray(w, key);
    for (size_t i = 0; i < n; i++)
        put_number(in, w);
    kb_w_end(w);
}

static void put_reasons(struct fuzz_input *in, struct kb_w *w)
{
    kb_w_karray(w, "reasons");
    for (unsigned n = fuzz_below(in, 5); n > 0; n--) {
        kb_str text = fuzz_text(in, texts, KB_COUNT(texts));
        kb_w_str(w, kb_str_is_utf8(text) ? text : kb_str_of("x"));
    }
    kb_w_end(w);
}

/* To one of the questions that stand, or to one of long ago. */
static void answer(struct world *w, struct fuzz_input *in)
{
    KB_AUTO(kb_w_finish) struct kb_w body = {0};
    struct kb_err err = {.code = KB_ETIMEOUT, .text = "no answer"};
    unsigned kind = fuzz_byte(in), which = fuzz_below(in, ASKS);
    size_t nodes = 0;
    uint64_t id = which;
    kb_val raw;
    if (which < asks_n) {
        id = asks[which].id;
        nodes = kb_val_count(kb_doc_at(asks[which].body, "nodes.name"));
        kb_doc_destroy(&asks[which].body);
        memmove(asks + which, asks + which + 1, (--asks_n - which) * sizeof(asks[0]));
    }
    kb_str bytes = kind % 8 == 7 ? fuzz_bytes(in, 255) : kb_str_n(NULL, 0);
    if (kind % 8 == 6) {
        kb_sched_answer(w->sched, id, (kb_val){0}, &err, &w->out);
        return;
    }
    if (kind % 8 == 7 && kb_val_check(bytes.p, bytes.n, &raw, NULL) == 0) {
        kb_w_raw(&body, raw);
    } else {
        kb_w_map(&body);
        put_numbers(in, "filter", nodes, &body);
        put_numbers(in, "score", nodes, &body);
        put_reasons(in, &body);
        kb_w_end(&body);
    }
    kb_sched_answer(w->sched, id, kb_w_val(&body), NULL, &w->out);
}

static const char *name_of(const char *prefix, unsigned i)
{
    static char name[32];
    snprintf(name, sizeof(name), "%s%u", prefix, i);
    return name;
}

static void step(struct world *w, struct fuzz_input *in)
{
    unsigned what = fuzz_byte(in), i = what / 16;
    if (what % 16 < 2)
        world_node(w, name_of("n", i % NODES), i & 8 ? "8" : "1");
    else if (what % 16 == 2)
        world_store(w, name_of("nodes//n", i % NODES), NULL);
    else if (what % 16 < 6)
        world_pod(w, name_of("p", i % PODS), "1", i & 8 ? "'priority': 10," : "");
    else if (what % 16 == 6)
        world_store(w, name_of("pods/x/p", i % PODS), NULL);
    else if (what % 16 == 7)
        world_after(w, 100 * fuzz_byte(in));
    else if (what % 16 == 8 && i == 0)
        configure(w, in);
    else
        answer(w, in);
    world_settle(w);
    take_asks(w);
}

static void check(struct world *w)
{
    for (unsigned i = 0; i < PODS; i++) {
        struct object *pod = world_find(w, name_of("pods/x/p", i));
        kb_str node = kb_val_str(kb_doc_at(pod->doc, "spec.nodeName"));
        KB_ASSERT(node.n == 0 || (node.n == 2 && node.p[0] == 'n'));
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    struct fuzz_input in = {data, data + n};
    struct world w;
    if (n > 1024)
        return 0;
    world_start(&w);
    configure(&w, &in);
    world_node(&w, "n0", "8");
    world_node(&w, "n1", "8");
    world_pod(&w, "p0", "1", "");
    world_settle(&w);
    take_asks(&w);
    while (in.at < in.end)
        step(&w, &in);
    check(&w);
    while (asks_n > 0)
        kb_doc_destroy(&asks[--asks_n].body);
    world_end(&w);
    return 0;
}
