/* What the store answers: the core on an engine without threads, in virtual time. Bodies are JSON
 * here. */
#include "bus/model/json.h"
#include "store/store_core.h"
#include "store/view_core.h"
#include "tests/lib/test.h"
#include "tests/unit/store/disk.h"

#include <stdlib.h>

static struct kb_engine *engine;
static struct kb_store_core *core;
static struct kb_store_time now = {1000, 5000000};
static struct kb_err err;

/* What the core said since the last call of `take`. */
static char events[32768];
static struct kb_doc *reply_doc;
static int reply_code; /* 1: not answered */
static char reply_text[256];

static void start_on(const struct kb_io *io, int64_t history_s)
{
    struct kb_engine_config config = {
        .dir = kb_test_dir(), .io = io, .segment_bytes = 64 * 1024, .map_bytes = 1 << 20};
    struct kb_store_config store = {.history_s = history_s};
    KB_CHECK_OK(kb_engine_open(&config, &engine, &err), &err);
    core = kb_store_core_new(&store, engine);
}

static void start(void)
{
    start_on(NULL, 0);
}

static void stop(void)
{
    kb_store_core_destroy(&core);
    kb_engine_close(&engine);
    kb_doc_destroy(&reply_doc);
}

/* "put pods/a/x@3 …; " for each change, "beat VIEW@REV; " */
static void note_event(const struct kb_store_wish *wish)
{
    size_t n = strlen(events);
    if (wish->body.p == NULL) {
        snprintf(events + n, sizeof(events) - n, "beat %s@%d; ", wish->topic.p, (int)wish->rev);
        return;
    }
    n += (size_t)snprintf(events + n, sizeof(events) - n, "%s %d-%d:", wish->topic.p,
                          (int)wish->prev, (int)wish->rev);
    for (struct kb_iter it = kb_iter(kb_val_get(wish->body, "changes")); kb_iter_next(&it);)
        n += (size_t)snprintf(events + n, sizeof(events) - n, " " KB_STR_FMT " " KB_STR_FMT "#%d",
                              KB_STR_ARG(kb_val_str_at(it.val, "op")),
                              KB_STR_ARG(kb_val_str_at(it.val, "key")),
                              (int)kb_val_int_at(it.val, "doc.n", 0));
    snprintf(events + n, sizeof(events) - n, "; ");
}

static void take(void)
{
    struct kb_store_wish wish;
    kb_store_core_step(core, now);
    while (kb_store_core_next(core, &wish)) {
        if (wish.kind == KB_STORE_EVENT) {
            note_event(&wish);
            continue;
        }
        kb_doc_destroy(&reply_doc);
        reply_doc = wish.body.p ? kb_doc_of(wish.body) : NULL;
        reply_code = wish.kind == KB_STORE_FAIL ? -wish.err->code : 0;
        snprintf(reply_text, sizeof(reply_text), "%.200s",
                 wish.kind == KB_STORE_FAIL ? wish.err->text : "");
    }
}

/* Ask; the result is the code, and reply_doc. */
static int ask(enum kb_store_method method, const char *json)
{
    KB_AUTO(kb_doc_destroy) struct kb_doc *body = NULL;
    KB_CHECK_OK(kb_json_doc(kb_str_of(json), &body, &err), &err);
    events[0] = '\0';
    reply_code = 1;
    kb_store_core_request(core, method, &reply_code, kb_doc_root(body), now);
    take();
    KB_CHECK(reply_code != 1);
    return reply_code;
}

static const char *reply(void)
{
    static struct kb_buf out;
    kb_buf_clear(&out);
    kb_json_write(&out, kb_doc_root(reply_doc), 0);
    return out.p;
}

static void put(const char *key, int n, const char *node)
{
    KB_AUTO(kb_auto_free)
    char *json = kb_strf(
        "{\"ops\":[{\"op\":\"put\",\"key\":\"%s\",\"doc\":{\"n\":%d,\"spec\":{\"nodeName\":\"%s\"},"
        "\"metadata\":{\"labels\":{\"app\":\"%s\"}}}}]}",
        key, n, node, n % 2 ? "odd" : "even");
    KB_CHECK_I64(ask(KB_STORE_TXN, json), ==, 0);
}

static void subscribe(const char *topic, bool on)
{
    events[0] = '\0';
    kb_store_core_subscribe(core, kb_str_n(topic, strlen(topic) + 1), on);
    take();
}

static void declare(void)
{
    KB_CHECK_I64(ask(KB_STORE_DECLARE,
                     "{\"resources\":[{\"resource\":\"pods\",\"indices\":[{\"name\":"
                     "\"node\",\"path\":\"spec.nodeName\"}]}]}"),
                 ==, 0);
}

KB_TEST(store, an_index_over_a_malformed_path_is_refused)
{
    static const char *const paths[] = {
        "", "spec.", "spec..x", "spec.ports[", "spec.ports[4", "spec.ports[x]", "@", "@label:"};
    start();
    put("pods/a/x", 1, "n1");
    for (size_t i = 0; i < KB_COUNT(paths); i++) {
        char json[256];
        snprintf(json, sizeof(json),
                 "{\"resources\":[{\"resource\":\"pods\",\"indices\":[{\"name\":"
                 "\"node\",\"path\":\"%s\"}]}]}",
                 paths[i]);
        KB_CHECK_I64(ask(KB_STORE_DECLARE, json), ==, -KB_EINVAL);
    }
    declare();
}

KB_TEST(store, a_declaration_names_a_resource_once)
{
    static const char twice[] =
        "{\"resources\":[{\"resource\":\"pods\",\"indices\":[{\"name\":\"a\",\"path\":\"x\"}]},"
        "{\"resource\":\"pods\",\"indices\":[{\"name\":\"a\",\"path\":\"y\"}]}]}";
    start();
    KB_CHECK_I64(ask(KB_STORE_DECLARE, twice), ==, -KB_EINVAL);
    declare();
}

KB_TEST(store, a_lease_has_a_name_of_bounded_length)
{
    char name[300], json[400];
    memset(name, 'x', sizeof(name));
    name[sizeof(name) - 1] = '\0';
    snprintf(json, sizeof(json), "{\"name\":\"%s\",\"holder\":\"h\",\"ttl_ms\":1}", name);
    start();
    KB_CHECK_I64(ask(KB_LEASE_ACQUIRE, json), ==, -KB_EINVAL);
    KB_CHECK_I64(ask(KB_LEASE_RENEW, json), ==, -KB_EINVAL);
}

KB_TEST(store, a_backup_does_not_replace_the_stores_own_files)
{
    static const char *const files[] = {"db/data.mdb", "db/log/x", "db/../db/data.mdb", "lock"};
    start();
    for (size_t i = 0; i < KB_COUNT(files); i++) {
        KB_AUTO(kb_auto_free)
        char *json = kb_strf("{\"file\":\"%s/%s\"}", kb_test_dir(), files[i]);
        KB_CHECK_I64(ask(KB_STORE_BACKUP, json), ==, -KB_EINVAL);
    }
}

/* What stands in a declaration has to be read back at the next start. */
KB_TEST(store, an_index_of_a_resource_that_cannot_be_is_refused)
{
    static const char *const resources[] = {"", "a/b", "\\u0000", "pods\\u0000", "a\\nb"};
    start();
    for (size_t i = 0; i < KB_COUNT(resources); i++) {
        char json[256];
        snprintf(json, sizeof(json), "{\"resources\":[{\"resource\":\"%s\",\"indices\":[]}]}",
                 resources[i]);
        KB_CHECK_I64(ask(KB_STORE_DECLARE, json), ==, -KB_EINVAL);
    }
}

/* ---- transactions ---- */

enum { LARGE = 24, LARGE_BYTES = 1400 * 1024 };

/* {ops: [{op, key: pods/a/N, …}]} on all of the large objects, or one put. */
static struct kb_doc *large_ops(const char *op, int from, int to)
{
    KB_AUTO(kb_w_finish) struct kb_w w = {0};
    KB_AUTO(kb_auto_free) char *text = malloc(LARGE_BYTES);
    memset(text, 'x', LARGE_BYTES);
    kb_w_map(&w);
    kb_w_karray(&w, "ops");
    for (int i = from; i < to; i++) {
        KB_AUTO(kb_auto_free) char *key = kb_strf("pods/a/x%d", i);
        kb_w_map(&w);
        kb_w_kcstr(&w, "op", op);
        kb_w_kcstr(&w, "key", key);
        kb_w_kbool(&w, "old", true);
        if (strcmp(op, "put") == 0) {
            kb_w_kmap(&w, "doc");
            kb_w_kstr(&w, "data", kb_str_n(text, LARGE_BYTES));
            kb_w_end(&w);
        }
        kb_w_end(&w);
    }
    kb_w_end(&w);
    kb_w_end(&w);
    return kb_w_doc(&w);
}

static int ask_doc(enum kb_store_method method, struct kb_doc *body)
{
    events[0] = '\0';
    reply_code = 1;
    kb_store_core_request(core, method, &reply_code, kb_doc_root(body), now);
    take();
    kb_doc_destroy(&body);
    return reply_code;
}

KB_TEST(store, a_transaction_whose_answer_would_be_too_large_is_refused_before_it_is_done)
{
    start();
    for (int i = 0; i < LARGE; i++)
        KB_CHECK_I64(ask_doc(KB_STORE_TXN, large_ops("put", i, i + 1)), ==, 0);
    KB_CHECK_I64(ask_doc(KB_STORE_TXN, large_ops("del", 0, LARGE)), ==, -KB_E2BIG);
    KB_CHECK_I64(ask(KB_STORE_GET, "{\"key\":\"pods/a/x0\"}"), ==, 0);
    KB_CHECK_I64(ask_doc(KB_STORE_TXN, large_ops("del", 0, LARGE / 2)), ==, 0);
    KB_CHECK_I64(ask(KB_STORE_GET, "{\"key\":\"pods/a/x0\"}"), ==, -KB_ENOTFOUND);
}

KB_TEST(store, an_event_that_would_be_too_large_is_a_beat_and_the_replay_has_it)
{
    start();
    for (int i = 0; i < LARGE / 2; i++)
        KB_CHECK_I64(ask_doc(KB_STORE_TXN, large_ops("put", i, i + 1)), ==, 0);
    subscribe("pods", true);
    KB_CHECK_STR(events, "beat pods@12; ");
    KB_CHECK_I64(ask_doc(KB_STORE_TXN, large_ops("del", 0, LARGE / 2)), ==, 0);
    KB_CHECK_STR(events, "beat pods@13; ");
    KB_CHECK_I64(ask(KB_STORE_REPLAY, "{\"view\":\"pods\",\"since\":12}"), ==, 0);
    KB_CHECK_I64((int64_t)kb_val_count(kb_doc_at(reply_doc, "changes")), ==, LARGE / 2);
    put("pods/a/y", 1, "n1");
    KB_CHECK_STR(events, "pods 13-14: put pods/a/y#1; ");
}

KB_TEST(store, a_refusal_says_which_operation_and_what_is_there)
{
    start();
    put("pods/a/x", 1, "n1");
    KB_CHECK_I64(ask(KB_STORE_TXN,
                     "{\"ops\":[{\"op\":\"put\",\"key\":\"pods/a/y\",\"doc\":{}},{\"op\":"
                     "\"put\",\"key\":\"pods/a/x\",\"doc\":{},\"if\":{\"rev\":7}}]}"),
                 ==, -KB_ECONFLICT);
    KB_CHECK_I64(kb_val_int_at(kb_doc_root(reply_doc), "index", -1), ==, 1);
    KB_CHECK_I64(kb_val_int_at(kb_doc_root(reply_doc), "current.rev", -1), ==, 1);
    KB_CHECK_I64(ask(KB_STORE_GET, "{\"key\":\"pods/a/y\"}"), ==, -KB_ENOTFOUND);
    stop();
}

KB_TEST(store, malformed_requests_are_refused)
{
    static const char *const bodies[] = {
        "{}",
        "{\"ops\":[]}",
        "{\"ops\":[1]}",
        "{\"ops\":[{\"op\":\"set\",\"key\":\"pods/a/x\"}]}",
        "{\"ops\":[{\"op\":\"put\",\"key\":\"pods/a\",\"doc\":{}}]}",
        "{\"ops\":[{\"op\":\"put\",\"key\":\"pods/a/x\"}]}",
        "{\"ops\":[{\"op\":\"put\",\"key\":\"pods/a/x\",\"doc\":{},\"if\":{}}]}",
        "{\"ops\":[{\"op\":\"put\",\"key\":\"pods/a/x\",\"doc\":{},\"ttl_s\":-1}]}",
        ("{\"ops\":[{\"op\":\"put\",\"key\":\"p/a/x\",\"doc\":{}},"
         "{\"op\":\"del\",\"key\":\"p/a/x\"}]}"),
    };
    start();
    for (size_t i = 0; i < KB_COUNT(bodies); i++)
        KB_CHECK_I64(ask(KB_STORE_TXN, bodies[i]), ==, -KB_EINVAL);
    KB_CHECK_I64(ask(KB_STORE_LIST, "{\"view\":\"pods?colour=red\"}"), ==, -KB_EINVAL);
    KB_CHECK_I64(ask(KB_STORE_LIST, "{\"view\":\"pods?owner-shard=3/3\"}"), ==, -KB_EINVAL);
    KB_CHECK_I64(ask(KB_STORE_REPLAY, "{\"view\":\"pods\"}"), ==, -KB_EINVAL);
    KB_CHECK_I64(ask(KB_LEASE_ACQUIRE, "{\"name\":\"l\",\"holder\":\"m\"}"), ==, -KB_EINVAL);
    KB_CHECK_U64(kb_engine_rev(engine), ==, 0);
    stop();
}

KB_TEST(store, a_view_with_a_name_that_is_too_long_is_refused_and_not_published)
{
    char name[KB_VIEW_MAX_BYTES + 2] = "pods?name=", json[sizeof(name) + 64];
    memset(name + strlen(name), 'x', sizeof(name) - 1 - strlen(name));
    start();
    snprintf(json, sizeof(json), "{\"view\":\"%s\"}", name);
    KB_CHECK_I64(ask(KB_STORE_LIST, json), ==, -KB_EINVAL);
    snprintf(json, sizeof(json), "{\"view\":\"%s\",\"since\":0}", name);
    KB_CHECK_I64(ask(KB_STORE_REPLAY, json), ==, -KB_EINVAL);
    subscribe(name, true);
    KB_CHECK_STR(events, "");
    subscribe(name, false);
    name[KB_VIEW_MAX_BYTES] = '\0'; /* the longest */
    snprintf(json, sizeof(json), "{\"view\":\"%s\"}", name);
    KB_CHECK_I64(ask(KB_STORE_LIST, json), ==, 0);
    subscribe(name, true);
    KB_CHECK(kb_str_starts(kb_str_of(events), "beat pods?name=xxx"));
    stop();
}

KB_TEST(store, the_object_before_is_told_where_asked)
{
    start();
    put("pods/a/x", 1, "n1");
    KB_CHECK_I64(ask(KB_STORE_TXN,
                     "{\"ops\":[{\"op\":\"del\",\"key\":\"pods/a/x\",\"old\":true},{\"op\":"
                     "\"put\",\"key\":\"pods/a/y\",\"doc\":{},\"old\":true}]}"),
                 ==, 0);
    kb_val results = kb_doc_at(reply_doc, "results");
    KB_CHECK_I64(kb_val_int_at(kb_val_index(results, 0), "old.rev", 0), ==, 1);
    KB_CHECK(!kb_val_present(kb_val_get(kb_val_index(results, 1), "old")));
    stop();
}

KB_TEST(store, a_refusal_waits_for_the_write_that_it_depends_on)
{
    KB_AUTO(disk_destroy) struct disk *disk = disk_new(1, kb_test_dir());
    KB_AUTO(kb_doc_destroy) struct kb_doc *body = NULL;
    struct kb_store_wish wish;
    int first = 0, second = 0;
    start_on(disk_io(disk), 0);
    KB_CHECK_OK(
        kb_json_doc(kb_str_of("{\"ops\":[{\"op\":\"put\",\"key\":\"pods/a/x\",\"doc\":{},\"if\":{"
                              "\"absent\":true}}]}"),
                    &body, &err),
        &err);
    disk_error_after(disk, 2); /* the batch's sync fails: the object was never there */
    kb_store_core_request(core, KB_STORE_TXN, &first, kb_doc_root(body), now);
    kb_store_core_request(core, KB_STORE_TXN, &second, kb_doc_root(body), now);
    KB_CHECK(!kb_store_core_next(core, &wish));
    kb_store_core_step(core, now);
    for (int i = 0; i < 2; i++) {
        KB_CHECK(kb_store_core_next(core, &wish));
        KB_CHECK(wish.token == (i ? &second : &first));
        KB_CHECK(wish.kind == KB_STORE_FAIL && wish.err->code == KB_EIO);
    }
    KB_CHECK_I64(ask(KB_STORE_GET, "{\"key\":\"pods/a/x\"}"), ==, -KB_ENOTFOUND);
    stop();
}

/* ---- lists and replays ---- */

KB_TEST(store, a_list_in_pages_is_exact_at_its_revision)
{
    start();
    for (int i = 0; i < 5; i++) {
        KB_AUTO(kb_auto_free) char *key = kb_strf("pods/a/p%d", i);
        put(key, i, "n1");
    }
    KB_CHECK_I64(ask(KB_STORE_LIST, "{\"view\":\"pods\",\"limit\":2}"), ==, 0);
    KB_CHECK(kb_val_bool_at(kb_doc_root(reply_doc), "more", false));
    KB_CHECK_I64(kb_val_int_at(kb_doc_root(reply_doc), "rev", 0), ==, 5);
    put("pods/a/p2", 20, "n1");
    put("pods/a/p9", 9, "n1");
    KB_CHECK_I64(ask(KB_STORE_LIST, "{\"view\":\"pods\",\"after\":\"pods/a/p1\",\"rev\":5}"), ==,
                 0);
    kb_val items = kb_doc_at(reply_doc, "items");
    KB_CHECK_U64(kb_val_count(items), ==, 3);
    KB_CHECK_I64(kb_val_int_at(kb_val_index(items, 0), "doc.n", -1), ==, 2);
    KB_CHECK_I64(ask(KB_STORE_LIST, "{\"view\":\"pods\",\"rev\":99}"), ==, -KB_ETIMEOUT);
    stop();
}

KB_TEST(store, a_replay_shows_what_entered_and_left_the_view)
{
    start();
    declare();
    put("pods/a/x", 1, "");
    put("pods/a/x", 2, "n1");
    put("pods/a/x", 3, "n2");
    KB_CHECK_I64(ask(KB_STORE_REPLAY, "{\"view\":\"pods?node=n1\",\"since\":0}"), ==, 0);
    KB_CHECK(strstr(reply(), "{\"op\":\"put\",\"key\":\"pods/a/x\",\"rev\":2,") != NULL);
    KB_CHECK(strstr(reply(), "{\"op\":\"del\",\"key\":\"pods/a/x\",\"rev\":3,\"doc\":{\"n\":2,") !=
             NULL);
    KB_CHECK_I64(kb_val_int_at(kb_doc_root(reply_doc), "rev", 0), ==, 3);
    KB_CHECK_I64(ask(KB_STORE_COMPACT, "{\"rev\":2}"), ==, 0);
    KB_CHECK_I64(ask(KB_STORE_REPLAY, "{\"view\":\"pods\",\"since\":1}"), ==, -KB_EGONE);
    KB_CHECK_I64(ask(KB_STORE_REPLAY, "{\"view\":\"pods\",\"since\":2}"), ==, 0);
    KB_CHECK_I64(ask(KB_STORE_LIST, "{\"view\":\"pods\",\"rev\":1}"), ==, -KB_EGONE);
    stop();
}

/* ---- views ---- */

KB_TEST(store, events_chain_and_an_object_that_moves_leaves_and_enters)
{
    start();
    declare();
    subscribe("pods?node=n1", true);
    KB_CHECK_STR(events, "beat pods?node=n1@0; ");
    subscribe("pods?labels=app%3Dodd", true);
    put("pods/a/x", 1, "n1");
    KB_CHECK_STR(events,
                 "pods?labels=app%3Dodd 0-1: put pods/a/x#1; pods?node=n1 0-1: put pods/a/x#1; ");
    put("pods/a/x", 2, "n1");
    KB_CHECK_STR(events,
                 "pods?labels=app%3Dodd 1-2: del pods/a/x#1; pods?node=n1 1-2: put pods/a/x#2; ");
    put("pods/a/x", 4, "n2");
    KB_CHECK_STR(events, "pods?node=n1 2-3: del pods/a/x#2; ");
    put("pods/a/x", 6, "n2");
    KB_CHECK_STR(events, "");
    subscribe("pods?node=n1", false);
    put("pods/a/x", 7, "n1");
    KB_CHECK_STR(events, "pods?labels=app%3Dodd 2-5: put pods/a/x#7; ");
    stop();
}

KB_TEST(store, a_view_of_some_fields_has_these_alone)
{
    static const char x[] = "{\"key\":\"pods/a/x\",\"rev\":2,\"doc\":{\"spec\":{\"nodeName\":"
                            "\"n1\"},\"metadata\":{\"labels\":{\"app\":\"even\"}}}}";
    start();
    declare();
    subscribe("pods?fields=n&node=n1", true);
    subscribe("pods?fields=spec&node=n1", true); /* another part of the same objects */
    put("pods/a/x", 1, "n1");
    KB_CHECK_STR(events, "pods?fields=spec&node=n1 0-1: put pods/a/x#0; "
                         "pods?fields=n&node=n1 0-1: put pods/a/x#1; ");
    put("pods/a/x", 2, "n1");
    KB_CHECK_I64(
        ask(KB_STORE_LIST, "{\"view\":\"pods?fields=metadata.labels,spec.nodeName&node=n1\"}"), ==,
        0);
    KB_CHECK(strstr(reply(), x) != NULL);
    put("pods/a/x", 3, "n2"); /* selected by what is not in the document */
    KB_CHECK_I64(ask(KB_STORE_REPLAY,
                     "{\"view\":\"pods?fields=n%2Cmetadata.uid&node=n1&with=old\",\"since\":1}"),
                 ==, 0);
    KB_CHECK(strstr(reply(), "[{\"op\":\"put\",\"key\":\"pods/a/x\",\"rev\":2,\"doc\":{\"n\":2,"
                             "\"metadata\":{}},\"old\":{\"n\":1,\"metadata\":{}}},"
                             "{\"op\":\"del\",\"key\":\"pods/a/x\",\"rev\":3,\"doc\":{\"n\":2,"
                             "\"metadata\":{}}}]") != NULL);
    stop();
}

KB_TEST(store, a_view_whose_index_comes_later_is_taken_up_then)
{
    start();
    subscribe("pods?node=n1", true);
    KB_CHECK_STR(events, "");
    put("pods/a/x", 1, "n1");
    declare();
    put("pods/a/x", 2, "n1");
    KB_CHECK_STR(events, "pods?node=n1 1-2: put pods/a/x#2; ");
    now.now_ms += 2500;
    events[0] = '\0';
    take();
    KB_CHECK_STR(events, "beat pods?node=n1@2; ");
    stop();
}

/* As many as an attacker likes: what they cost must not grow with their number. */
KB_TEST(views, spellings_of_a_query_are_bounded)
{
    start();
    for (int i = 0; i < 300; i++) {
        char topic[128] = "pods?name=";
        for (int bit = 0; bit < 9; bit++)
            strcat(topic, i >> bit & 1 ? "%78" : "x");
        subscribe(topic, true);
    }
    put("pods/a/xxxxxxxxx", 1, "n1");
    int told = 0;
    for (const char *at = events; (at = strstr(at, "put pods/a/xxxxxxxxx#1")) != NULL; at++)
        told++;
    KB_CHECK(told > 0 && told <= 100);
}

KB_TEST(views, two_spellings_of_a_query_are_two_topics)
{
    struct kb_views *views = kb_views_new();
    struct kb_indices none = {0};
    struct kb_views_event event;
    KB_CHECK_OK(kb_views_add(views, kb_str_of("pods?name=x&ns=a"), &none, 1, &err), &err);
    KB_CHECK_OK(kb_views_add(views, kb_str_of("pods?ns=a&name=x"), &none, 1, &err), &err);
    uint8_t doc[] = {0x80};
    struct kb_views_change change = {.key = kb_str_of("pods/a/x"), .rev = 2, .doc = {doc, doc + 1}};
    KB_CHECK(kb_views_need(views, kb_str_of("pods")) == KB_VIEWS_NEW);
    KB_CHECK(kb_views_need(views, kb_str_of("nodes")) == KB_VIEWS_NOTHING);
    kb_views_change(views, &change);
    KB_CHECK(kb_views_next_event(views, &event) && kb_views_next_event(views, &event));
    KB_CHECK(!kb_views_next_event(views, &event));
    kb_views_remove(views, kb_str_of("pods?name=x&ns=a"));
    change.rev = 3;
    kb_views_change(views, &change);
    KB_CHECK(kb_views_next_event(views, &event));
    KB_CHECK_U64(event.prev, ==, 2);
    KB_CHECK(!kb_views_next_event(views, &event));
    kb_views_destroy(&views);
}

/* ---- leases and time ---- */

static int acquire(const char *holder)
{
    KB_AUTO(kb_auto_free)
    char *json = kb_strf("{\"name\":\"shard/3\",\"holder\":\"%s\",\"ttl_ms\":5000}", holder);
    return ask(KB_LEASE_ACQUIRE, json);
}

KB_TEST(lease, is_one_holder_s_until_it_runs_out_and_fences_the_former)
{
    start();
    KB_CHECK_I64(acquire("m1"), ==, 0);
    KB_CHECK_I64(acquire("m2"), ==, -KB_ECONFLICT);
    KB_CHECK_STRN(kb_val_str(kb_doc_at(reply_doc, "holder")), "m1");
    now.now_ms += 4000;
    KB_CHECK_I64(
        ask(KB_LEASE_RENEW, "{\"name\":\"shard/3\",\"holder\":\"m1\",\"epoch\":1,\"ttl_ms\":5000}"),
        ==, 0);
    now.now_ms += 4000;
    KB_CHECK_I64(acquire("m2"), ==, -KB_ECONFLICT);
    now.now_ms += 1000;
    KB_CHECK_I64(acquire("m2"), ==, 0);
    KB_CHECK_I64(kb_val_int_at(kb_doc_root(reply_doc), "epoch", 0), ==, 2);
    KB_CHECK_I64(ask(KB_STORE_TXN,
                     "{\"ops\":[{\"op\":\"put\",\"key\":\"pods/a/x\",\"doc\":{}}],\"lease\":{"
                     "\"name\":\"shard/3\",\"epoch\":1}}"),
                 ==, -KB_ECONFLICT);
    KB_CHECK_I64(
        ask(KB_LEASE_RENEW, "{\"name\":\"shard/3\",\"holder\":\"m1\",\"epoch\":1,\"ttl_ms\":5000}"),
        ==, -KB_ECONFLICT);
    KB_CHECK_I64(ask(KB_LEASE_RELEASE, "{\"name\":\"shard/3\",\"holder\":\"m2\",\"epoch\":2}"), ==,
                 0);
    KB_CHECK_I64(acquire("m1"), ==, 0);
    KB_CHECK_I64(kb_val_int_at(kb_doc_root(reply_doc), "epoch", 0), ==, 3);
    stop();
}

KB_TEST(lease, has_its_whole_time_again_after_a_restart)
{
    start();
    KB_CHECK_I64(acquire("m1"), ==, 0);
    stop();
    now.now_ms += 100000;
    start();
    KB_CHECK_I64(acquire("m2"), ==, -KB_ECONFLICT);
    now.now_ms += 5000;
    KB_CHECK_I64(acquire("m2"), ==, 0);
    stop();
}

KB_TEST(store, old_versions_are_kept_for_their_time_and_then_forgotten)
{
    start_on(NULL, 300);
    put("pods/a/x", 1, "n1");
    put("pods/a/x", 2, "n1");
    for (int s = 0; s < 290; s += 10) {
        now.now_ms += 10000;
        take();
        KB_CHECK_I64(ask(KB_STORE_GET, "{\"key\":\"pods/a/x\",\"rev\":1}"), ==, 0);
    }
    for (int s = 0; s < 70; s += 10) {
        now.now_ms += 10000;
        take();
    }
    KB_CHECK_I64(ask(KB_STORE_GET, "{\"key\":\"pods/a/x\",\"rev\":1}"), ==, -KB_EGONE);
    KB_CHECK_I64(ask(KB_STORE_GET, "{\"key\":\"pods/a/x\"}"), ==, 0);
    now.now_ms += 10000; /* and then there is nothing more to do by time */
    take();
    KB_CHECK_I64(kb_store_core_step(core, now), ==, -1);
    stop();
}

KB_TEST(store, what_was_put_with_a_time_to_live_goes_when_it_is_over)
{
    start();
    subscribe("events", true);
    KB_CHECK_I64(ask(KB_STORE_TXN,
                     "{\"ops\":[{\"op\":\"put\",\"key\":\"events/a/e\",\"doc\":{\"n\":1},"
                     "\"ttl_s\":60}]}"),
                 ==, 0);
    now.now_ms += 59999;
    now.wall_ms += 59999;
    take();
    KB_CHECK_I64(ask(KB_STORE_GET, "{\"key\":\"events/a/e\"}"), ==, 0);
    now.now_ms += 1;
    now.wall_ms += 1;
    events[0] = '\0';
    take();
    KB_CHECK(strstr(events, "events 1-2: del events/a/e#1; ") != NULL);
    KB_CHECK_I64(ask(KB_STORE_GET, "{\"key\":\"events/a/e\"}"), ==, -KB_ENOTFOUND);
    stop();
}

KB_TEST(store, its_status_check_and_backup_answer)
{
    KB_AUTO(kb_auto_free) char *json = kb_strf("{\"file\":\"%s/backup\"}", kb_test_dir());
    start();
    put("pods/a/x", 1, "n1");
    KB_CHECK_I64(ask(KB_STORE_CHECK, "{}"), ==, 0);
    KB_CHECK_STR(reply(), "{\"problems\":[]}");
    KB_CHECK_I64(ask(KB_STORE_STATUS, "{}"), ==, 0);
    KB_CHECK_I64(kb_val_int_at(kb_doc_root(reply_doc), "objects", 0), ==, 1);
    KB_CHECK_I64(ask(KB_STORE_BACKUP, json), ==, 0);
    KB_CHECK_I64(kb_val_int_at(kb_doc_root(reply_doc), "rev", 0), ==, 1);
    KB_CHECK_I64(ask(KB_STORE_BACKUP, "{\"file\":\"relative\"}"), ==, -KB_EINVAL);
    stop();
}
