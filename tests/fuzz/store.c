/* Stories of a store: the input chooses calls, and what stands in them, from things that belong
 * together (a few objects, indices over their members, views by these), or brings bytes of its own.
 * Each input has a store of its own, which it may also restart. Whatever is said, every answer is a
 * document, and a list by an index has what a look at every object finds. */
#include "bus/base/check.h"
#include "bus/base/file.h"
#include "store/query.h"
#include "store/store_core.h"
#include "tests/fuzz/fuzz.h"
#include "tests/fuzz/input.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

enum { BODIES_MAX = 64 };

static struct kb_engine *engine;
static struct kb_store_core *core;
static struct kb_store_time now;
static char dir[64], runs[32];
static struct kb_w bodies[BODIES_MAX]; /* borrowed until they are answered */
static size_t bodies_n;
static struct kb_doc *listed; /* the answer of the last list; NULL: it was refused */
static int token, list_token;

static const char *const resources[] = {"pods", "nodes", "deployments.apps"};
static const char *const spaces[] = {"a", "b", ""};
static const char *const names[] = {"x", "y", "z", "x-0"};
static const char *const values[] = {"n1", "n2", "", "web"};
static const char *const indices[] = {"node", "app", "owner", "port", "fields", "name"};
static const char *const paths[] = {"spec.nodeName", "@label:app", "@owner",  "spec.ports[0].port",
                                    "spec.ports[1]", "spec",       "n",       "metadata",
                                    "spec.ports[4",  "[0]",        "spec..x", "@label:"};
static const char *const keys[] = {"node", "app",    "owner",  "port", "ns",
                                   "name", "labels", "fields", "with", "owner-shard"};
static const char *const choices[] = {
    "n1", "web", "x", "a", "app=web", "app%20in%20(web)", "old", "0/2", "spec,n.x", "8080"};
static const char *const leases[] = {"l", "m", ""};
static const char *const holders[] = {"h", "i", ""};

#define TEXT(in, list) fuzz_text(in, list, KB_COUNT(list))

static int no_sync(const struct kb_io *io, int fd)
{
    (void)io;
    (void)fd;
    return 0;
}

/* Where syncing costs nothing, if there is such a place. */
static void make_dir(void)
{
    snprintf(runs, sizeof(runs), "%s/kubus-fuzz-XXXXXX",
             access("/dev/shm", W_OK) == 0 ? "/dev/shm" : "/tmp");
    KB_ASSERT(mkdtemp(runs) != NULL);
}

static void remove_dir(void)
{
    kb_dir_remove(runs, NULL);
}

static void open_store(void)
{
    static struct kb_io io;
    struct kb_err err;
    io = *kb_io_system();
    io.sync = no_sync;
    struct kb_engine_config config = {
        .dir = dir, .io = &io, .seed = 1, .segment_bytes = 64 * 1024, .map_bytes = 1 << 20};
    struct kb_store_config store = {.history_s = 100};
    KB_ASSERT(kb_engine_open(&config, &engine, &err) == 0);
    core = kb_store_core_new(&store, engine);
}

static void drain(void)
{
    struct kb_store_wish wish;
    kb_store_core_step(core, now);
    while (kb_store_core_next(core, &wish)) {
        if (wish.body.p)
            KB_ASSERT(kb_val_check(wish.body.p, (size_t)(wish.body.end - wish.body.p), &wish.body,
                                   NULL) == 0);
        if (wish.token == &list_token && wish.kind == KB_STORE_REPLY)
            listed = kb_doc_of(wish.body);
    }
}

static void until_idle(void)
{
    for (int i = 0; i < 100 && !kb_store_core_idle(core); i++)
        drain();
    KB_ASSERT(kb_store_core_idle(core));
    while (bodies_n > 0)
        kb_w_finish(&bodies[--bodies_n]);
}

static void restart(void)
{
    until_idle();
    kb_store_core_destroy(&core);
    kb_engine_close(&engine);
    open_store();
}

/* ---- what stands in calls ---- */

static void put_text(struct kb_w *w, const char *key, kb_str text)
{
    if (kb_str_is_utf8(text))
        kb_w_kstr(w, key, text);
}

static kb_str key_of(struct fuzz_input *in, struct kb_buf *out)
{
    kb_buf_clear(out);
    kb_buf_add_str(out, TEXT(in, resources));
    kb_buf_putc(out, '/');
    kb_buf_add_str(out, TEXT(in, spaces));
    kb_buf_putc(out, '/');
    kb_buf_add_str(out, TEXT(in, names));
    return kb_buf_str(out);
}

static void put_view(struct fuzz_input *in, struct kb_buf *out)
{
    kb_buf_clear(out);
    kb_buf_add_str(out, TEXT(in, resources));
    unsigned n = fuzz_below(in, 4);
    for (unsigned i = 0; i < n; i++) {
        kb_buf_putc(out, i ? '&' : '?');
        kb_buf_add_str(out, TEXT(in, keys));
        kb_buf_putc(out, '=');
        kb_buf_add_str(out, TEXT(in, choices));
    }
}

static void put_ports(struct fuzz_input *in, struct kb_w *w)
{
    kb_w_karray(w, "ports");
    unsigned n = fuzz_below(in, 4);
    for (unsigned i = 0; i < n; i++) {
        kb_w_map(w);
        kb_w_kint(w, "port", fuzz_number(in));
        kb_w_end(w);
    }
    kb_w_end(w);
}

static void put_owner(struct fuzz_input *in, struct kb_w *w)
{
    kb_w_karray(w, "ownerReferences");
    kb_w_map(w);
    kb_w_kbool(w, "controller", fuzz_below(in, 4) != 0);
    put_text(w, "uid", TEXT(in, values));
    kb_w_end(w);
    kb_w_end(w);
}

static void put_doc(struct fuzz_input *in, struct kb_w *w)
{
    kb_val raw;
    kb_w_key(w, "doc");
    unsigned members = fuzz_byte(in);
    if (members == 255) {
        kb_str bytes = fuzz_bytes(in, 255);
        kb_w_raw(w, kb_val_check(bytes.p, bytes.n, &raw, NULL) == 0 ? raw : (kb_val){NULL, NULL});
        return;
    }
    kb_w_map(w);
    kb_w_kint(w, "n", fuzz_number(in));
    kb_w_kmap(w, "metadata");
    put_text(w, "uid", TEXT(in, values));
    if (members & 1) {
        kb_w_kmap(w, "labels");
        put_text(w, "app", TEXT(in, values));
        kb_w_end(w);
    }
    if (members & 2)
        put_owner(in, w);
    kb_w_end(w);
    kb_w_kmap(w, "spec");
    if (members & 4)
        put_text(w, "nodeName", TEXT(in, values));
    if (members & 8)
        put_ports(in, w);
    kb_w_end(w);
    kb_w_end(w);
}

static void put_condition(struct fuzz_input *in, struct kb_w *w)
{
    unsigned kind = fuzz_below(in, 6);
    if (kind < 3)
        return;
    kb_w_kmap(w, "if");
    if (kind == 3)
        kb_w_kbool(w, "absent", true);
    else if (kind == 4)
        kb_w_kint(w, "rev", fuzz_number(in));
    else
        put_text(w, "uid", TEXT(in, values));
    kb_w_end(w);
}

static void put_op(struct fuzz_input *in, struct kb_w *w)
{
    KB_AUTO(kb_buf_finish) struct kb_buf key = {0};
    unsigned kind = fuzz_byte(in);
    kb_w_map(w);
    kb_w_kcstr(w, "op", kind % 4 == 3 ? "del" : "put");
    put_text(w, "key", key_of(in, &key));
    if (kind % 4 != 3)
        put_doc(in, w);
    put_condition(in, w);
    if (kind & 16)
        kb_w_kbool(w, "old", true);
    if (kind & 32)
        kb_w_kint(w, "ttl_s", fuzz_number(in));
    kb_w_end(w);
}

static void put_lease(struct fuzz_input *in, struct kb_w *w)
{
    put_text(w, "name", TEXT(in, leases));
    put_text(w, "holder", TEXT(in, holders));
    kb_w_kint(w, "epoch", fuzz_number(in));
    kb_w_kint(w, "ttl_ms", fuzz_number(in));
}

static void put_txn(struct fuzz_input *in, struct kb_w *w)
{
    unsigned n = 1 + fuzz_below(in, 4);
    kb_w_karray(w, "ops");
    for (unsigned i = 0; i < n; i++)
        put_op(in, w);
    kb_w_end(w);
    if (fuzz_below(in, 8) == 7) {
        kb_w_kmap(w, "lease");
        put_lease(in, w);
        kb_w_end(w);
    }
}

static void put_declaration(struct fuzz_input *in, struct kb_w *w)
{
    unsigned n = 1 + fuzz_below(in, 2);
    kb_w_karray(w, "resources");
    for (unsigned i = 0; i < n; i++) {
        kb_w_map(w);
        put_text(w, "resource", TEXT(in, resources));
        kb_w_karray(w, "indices");
        for (unsigned k = fuzz_below(in, 5); k > 0; k--) {
            kb_w_map(w);
            put_text(w, "name", TEXT(in, indices));
            put_text(w, "path", TEXT(in, paths));
            kb_w_end(w);
        }
        kb_w_end(w);
        kb_w_end(w);
    }
    kb_w_end(w);
}

static void put_read(struct fuzz_input *in, struct kb_w *w)
{
    KB_AUTO(kb_buf_finish) struct kb_buf text = {0};
    unsigned kind = fuzz_byte(in);
    put_view(in, &text);
    put_text(w, "view", kb_buf_str(&text));
    kb_w_kint(w, "since", fuzz_number(in));
    if (kind & 1)
        kb_w_kint(w, "limit", fuzz_number(in));
    if (kind & 2)
        kb_w_kint(w, "rev", fuzz_number(in));
    if (kind & 4)
        put_text(w, "after", key_of(in, &text));
    put_text(w, "key", key_of(in, &text));
}

/* ---- calls ---- */

static void request(enum kb_store_method method, void *from, struct kb_w *w)
{
    kb_store_core_request(core, method, from, kb_w_val(w), now);
    if (bodies_n == BODIES_MAX)
        until_idle();
}

static void call(struct fuzz_input *in, enum kb_store_method method)
{
    struct kb_w *w = &bodies[bodies_n++];
    kb_w_map(w);
    if (method == KB_STORE_TXN)
        put_txn(in, w);
    else if (method == KB_STORE_DECLARE)
        put_declaration(in, w);
    else if (method >= KB_LEASE_ACQUIRE)
        put_lease(in, w);
    else if (method == KB_STORE_BACKUP) /* writes where it is told: not everywhere */
        put_text(w, "file", TEXT(in, values));
    else
        put_read(in, w);
    kb_w_end(w);
    request(method, &token, w);
}

static void call_raw(struct fuzz_input *in, enum kb_store_method method)
{
    kb_val body;
    kb_str bytes = fuzz_bytes(in, 255);
    if (method == KB_STORE_BACKUP || kb_val_check(bytes.p, bytes.n, &body, NULL) < 0)
        return;
    struct kb_w *w = &bodies[bodies_n++];
    kb_w_raw(w, body);
    request(method, &token, w);
}

static void subscribe(struct fuzz_input *in)
{
    KB_AUTO(kb_buf_finish) struct kb_buf topic = {0};
    bool on = fuzz_below(in, 3) != 0;
    put_view(in, &topic);
    kb_buf_putc(&topic, '\0');
    kb_store_core_subscribe(core, kb_buf_str(&topic), on);
}

static void step(struct fuzz_input *in)
{
    enum {
        SUBSCRIBE = KB_STORE_METHODS,
        RAW,
        TIME,
        RESTART,
        MORE_TXNS,
        MORE_LISTS = MORE_TXNS + 6
    };
    unsigned what = fuzz_below(in, MORE_LISTS + 4);
    if (what < KB_STORE_METHODS)
        call(in, (enum kb_store_method)what);
    else if (what == SUBSCRIBE)
        subscribe(in);
    else if (what == RAW)
        call_raw(in, (enum kb_store_method)fuzz_below(in, KB_STORE_METHODS));
    else if (what == RESTART)
        restart();
    else if (what >= MORE_LISTS)
        call(in, KB_STORE_LIST);
    else if (what >= MORE_TXNS)
        call(in, KB_STORE_TXN);
    now.now_ms += what == TIME ? fuzz_byte(in) * 1000 : 1;
    now.wall_ms += what == TIME ? fuzz_byte(in) * 1000 : 1;
    if (fuzz_byte(in) % 2)
        drain();
}

/* ---- what must hold ---- */

static struct kb_doc *list(const char *view)
{
    struct kb_w *w = &bodies[bodies_n++];
    listed = NULL;
    kb_w_map(w);
    kb_w_kcstr(w, "view", view);
    kb_w_end(w);
    request(KB_STORE_LIST, &list_token, w);
    until_idle();
    return KB_STEAL(listed);
}

/* The objects of the resource that the view selects, in their order, are those of its list. */
static void check_view(const char *view, const struct kb_doc *all)
{
    struct kb_query query = {0};
    KB_AUTO(kb_doc_destroy) struct kb_doc *some = list(view);
    if (some == NULL ||
        kb_query_parse(kb_str_of(view), kb_engine_indices(engine), &query, NULL) < 0)
        return;
    struct kb_iter found = kb_iter(kb_doc_at(some, "items"));
    for (struct kb_iter it = kb_iter(kb_doc_at(all, "items")); kb_iter_next(&it);) {
        struct kb_key key;
        kb_str text = kb_val_str_at(it.val, "key");
        KB_ASSERT(kb_key_parse(text, &key, NULL) == 0);
        if (kb_query_match(&query, key, kb_val_get(it.val, "doc")))
            KB_ASSERT(kb_iter_next(&found) && kb_str_eq(kb_val_str_at(found.val, "key"), text));
    }
    KB_ASSERT(!kb_iter_next(&found));
    kb_query_finish(&query);
}

static void check_all(void)
{
    static const char *const views[] = {"pods?node=n1",  "pods?app=web",     "pods?app=n1&node=n1",
                                        "pods?owner=n2", "pods?ns=a&port=0", "pods?node="};
    until_idle();
    KB_AUTO(kb_doc_destroy) struct kb_doc *all = list("pods");
    for (size_t i = 0; all && i < KB_COUNT(views); i++)
        check_view(views[i], all);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    struct fuzz_input in = {data, data + n};
    if (n > 4096)
        return 0;
    if (runs[0] == '\0') {
        make_dir();
        atexit(remove_dir);
    }
    snprintf(dir, sizeof(dir), "%s/store", runs);
    now = (struct kb_store_time){1, 1000};
    open_store();
    while (in.at < in.end)
        step(&in);
    check_all();
    if (n % 4 == 0) { /* opening is what takes the time */
        restart();
        check_all();
    }
    kb_store_core_destroy(&core);
    kb_engine_close(&engine);
    kb_dir_remove(dir, NULL);
    return 0;
}
