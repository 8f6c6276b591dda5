/* The engine against a model that a child could check: every version of every key in an array.
 * Random operations, random failures of the disk, power cuts at any operation; after each the
 * engine must have all that was acknowledged, nothing that was refused, and pass its own check. */
#include "bus/base/file.h"
#include "store/engine.h"
#include "tests/lib/test.h"
#include "tests/unit/store/disk.h"

#include <stdlib.h>

enum { KEYS = 30, VERSIONS = 4096, STEPS = 500, LEASES = 3, STORIES = 12 };

struct version {
    uint64_t rev;
    bool deleted;
    int n;
    char node[8], app[8];
    int64_t expires;
};

struct model {
    struct version versions[KEYS][VERSIONS];
    int count[KEYS];
    uint64_t rev; /* with what is staged */
    uint64_t compacted;
    uint64_t epoch[LEASES];
};

static struct model *m;        /* with what is staged */
static uint64_t acked, flying; /* durable for certain; what the batches under way would make it */
static uint64_t acked_epoch[LEASES], acked_compacted;
static struct kb_rand rnd;
static struct kb_engine *e;
static struct disk *disk;
static struct kb_err err;
static int counter;
static int64_t wall = 1000000;
static kb_ms now;

static uint64_t below(uint64_t n)
{
    return kb_rand_below(&rnd, n);
}

static const char *key_name(int k, char out[32])
{
    static const char *const resources[] = {"pods", "pods.metrics", "nodes"};
    static const char *const spaces[] = {"a", "a-b", ""};
    snprintf(out, 32, "%s/%s/x%d", resources[k % 3], k % 3 == 2 ? "" : spaces[k / 3 % 2], k);
    return out;
}

/* ---- the model ---- */

static const struct version *model_at(int k, uint64_t rev)
{
    for (int i = m->count[k] - 1; i >= 0; i--)
        if (m->versions[k][i].rev <= rev)
            return m->versions[k][i].deleted ? NULL : &m->versions[k][i];
    return NULL;
}

static void model_add(int k, struct version v)
{
    KB_CHECK(m->count[k] < VERSIONS);
    m->versions[k][m->count[k]++] = v;
}

/* Forget all above a revision: what a failed batch, or a crash, took back. */
static void model_cut(uint64_t rev)
{
    for (int k = 0; k < KEYS; k++)
        while (m->count[k] && m->versions[k][m->count[k] - 1].rev > rev)
            m->count[k]--;
    m->rev = rev;
}

/* ---- the engine, opened, cut off, opened again ---- */

static int try_open(void)
{
    struct kb_engine_config config = {.dir = kb_test_dir(),
                                      .io = disk_io(disk),
                                      .segment_bytes = 64 * 1024,
                                      .map_bytes = 1 << 20,
                                      .checkpoint_bytes = 16 * 1024,
                                      .checkpoint_ms = 200,
                                      .slice_bytes = 8 * 1024,
                                      .memory_bytes = 400 * 1024,
                                      .seed = 1 + below(1000)};
    return kb_engine_open(&config, &e, &err);
}

static void leases_compare(bool exact)
{
    for (int i = 0; i < LEASES; i++) {
        char name[16];
        snprintf(name, sizeof(name), "lease-%d", i);
        uint64_t have = kb_engine_lease(e, kb_str_of(name)).epoch;
        if (exact)
            KB_CHECK_U64(have, ==, m->epoch[i]);
        KB_CHECK_U64(have, >=, acked_epoch[i]);
        KB_CHECK_U64(have, <=, m->epoch[i]);
        m->epoch[i] = acked_epoch[i] = have;
    }
}

/* After a crash: everything acknowledged is there; of the batch under way all or nothing. */
static void recovered(void)
{
    uint64_t rev = kb_engine_rev(e);
    if (rev != acked && rev != flying)
        kb_test_fail(__FILE__, __LINE__, "recovered to %llu; acknowledged %llu, under way %llu",
                     (unsigned long long)rev, (unsigned long long)acked,
                     (unsigned long long)flying);
    leases_compare(false);
    KB_CHECK_U64(kb_engine_compacted(e), >=, acked_compacted);
    KB_CHECK_U64(kb_engine_compacted(e), <=,
                 m->compacted > acked_compacted ? m->compacted : acked_compacted);
    m->compacted = acked_compacted = kb_engine_compacted(e);
    model_cut(rev);
    acked = flying = rev;
}

static void reopen(void)
{
    kb_engine_close(&e);
    disk_power_cycle(disk);
    int rc = try_open();
    if (rc < 0)
        kb_test_fail(__FILE__, __LINE__, "open: %s", err.text);
    recovered();
}

/* A power cut while it starts, again and again, at every operation a little later. */
static void reopen_with_cuts(void)
{
    kb_engine_close(&e);
    for (uint64_t cut = 1 + below(4);; cut += 1 + below(6)) {
        disk_power_cycle(disk);
        disk_cut_after(disk, cut);
        if (try_open() == 0)
            break;
        KB_CHECK(disk_is_dead(disk));
        KB_CHECK(e == NULL);
    }
    disk_cut_after(disk, 0);
    if (disk_is_dead(disk)) {
        reopen();
        return;
    }
    recovered();
}

/* ---- taking results ---- */

static void on_commit(const struct kb_commit *commit)
{
    if (disk_is_dead(disk))
        return; /* nobody hears it */
    if (commit->rc == 0) {
        if (commit->changes)
            acked = kb_commit_change(commit, commit->changes - 1).id.rev;
        KB_CHECK_U64(kb_engine_rev(e), ==, acked);
    } else {
        KB_CHECK(commit->rc == -KB_ENOSPACE || commit->rc == -KB_EIO);
    }
}

static void settle(void)
{
    struct kb_commit commit;
    bool failed = false;
    for (int turns = 0; kb_engine_busy(e) && turns < 10; turns++) {
        kb_engine_flush(e);
        flying = m->rev;
        while (kb_engine_poll(e, &commit)) {
            on_commit(&commit);
            failed |= commit.rc < 0;
        }
    }
    KB_CHECK(!kb_engine_busy(e));
    if (disk_is_dead(disk))
        return;
    if (failed) {
        acked = kb_engine_rev(e);
        /* When the log has stopped, whether it has the batch is unknown. */
        flying = kb_engine_failed(e) ? m->rev : acked;
        model_cut(acked);
        for (int i = 0; i < LEASES; i++)
            m->epoch[i] = acked_epoch[i];
        m->compacted = acked_compacted;
    } else {
        flying = acked;
        KB_CHECK_U64(acked, ==, m->rev);
    }
    if (!failed) {
        leases_compare(true);
        KB_CHECK_U64(kb_engine_compacted(e), ==, m->compacted);
        acked_compacted = m->compacted;
    }
}

/* ---- operations ---- */

static struct kb_doc *make_doc(const struct version *v)
{
    struct kb_w w = {0};
    char pad[3000];
    size_t n = below(8) == 0 ? below(sizeof(pad)) : below(60);
    memset(pad, 'x', sizeof(pad));
    kb_w_map(&w);
    kb_w_kmap(&w, "metadata");
    kb_w_kmap(&w, "labels");
    kb_w_kcstr(&w, "app", v->app);
    kb_w_end(&w);
    kb_w_end(&w);
    kb_w_kmap(&w, "spec");
    kb_w_kcstr(&w, "nodeName", v->node);
    kb_w_end(&w);
    kb_w_kint(&w, "n", v->n);
    kb_w_kstr(&w, "pad", kb_str_n(pad, n));
    kb_w_end(&w);
    struct kb_doc *doc = kb_w_doc(&w);
    kb_w_finish(&w);
    return doc;
}

static int expected(int k, const struct kb_write_op *op)
{
    const struct version *v = model_at(k, UINT64_MAX);
    if (op->cond == KB_COND_ABSENT && v)
        return -KB_EEXISTS;
    if (!v && (op->del || op->cond == KB_COND_REV))
        return -KB_ENOTFOUND;
    return op->cond == KB_COND_REV && v->rev != op->if_rev ? -KB_ECONFLICT : 0;
}

static void do_write(void)
{
    enum { MOST = 4 };
    struct kb_write_op ops[MOST] = {0};
    struct version news[MOST];
    struct kb_doc *docs[MOST] = {0};
    char names[MOST][32];
    int keys[MOST], want = 0;
    size_t n = 1 + below(MOST), failed;
    uint64_t rev;
    if (disk_is_dead(disk)) /* it was cut off meanwhile: what it says now, nobody hears */
        return;
    for (size_t i = 0; i < n; i++) {
        keys[i] = (int)((below(KEYS / MOST)) * MOST + i); /* distinct */
        const struct version *v = model_at(keys[i], UINT64_MAX);
        news[i] = (struct version){.n = ++counter, .deleted = below(4) == 0};
        snprintf(news[i].node, 8, "n%d", (int)below(3));
        snprintf(news[i].app, 8, "%s", below(2) ? "web" : "");
        if (below(6) == 0)
            news[i].expires = wall + (int64_t)below(3000);
        if (news[i].deleted)
            news[i].expires = 0;
        docs[i] = make_doc(&news[i]);
        ops[i] = (struct kb_write_op){.key = kb_str_of(key_name(keys[i], names[i])),
                                      .del = news[i].deleted,
                                      .doc = kb_doc_root(docs[i]),
                                      .expires_ms = news[i].expires,
                                      .cond = below(2) ? KB_COND_NONE : 1 + below(2),
                                      .if_rev = v && below(3) ? v->rev : below(m->rev + 1)};
        if (want == 0)
            want = expected(keys[i], &ops[i]);
    }
    struct kb_write write = {.ops = ops, .n = n};
    int rc = kb_engine_write(e, &write, &rev, &failed, &err);
    bool room = rc != -KB_EFULL && rc != -KB_ENOSPACE && rc != -KB_EIO;
    if (room)
        KB_CHECK_I64(rc, ==, want);
    if (rc == 0) {
        KB_CHECK_U64(rev, ==, ++m->rev);
        for (size_t i = 0; i < n; i++) {
            news[i].rev = rev;
            model_add(keys[i], news[i]);
        }
    }
    for (size_t i = 0; i < n; i++)
        kb_doc_destroy(&docs[i]);
}

static void do_lease(void)
{
    int i = (int)below(LEASES);
    char name[16];
    snprintf(name, sizeof(name), "lease-%d", i);
    struct kb_lease lease = {kb_str_of(below(2) ? "m1" : ""), m->epoch[i] + 1, 1000};
    if (kb_engine_lease_put(e, kb_str_of(name), &lease, &err) == 0)
        m->epoch[i]++;
}

static void do_declare(void)
{
    static const char *const paths[] = {"spec.nodeName", "@label:app", "n"};
    static const char *const names[] = {"node", "app", "n"};
    KB_AUTO(kb_w_finish) struct kb_w w = {0};
    kb_w_array(&w);
    for (int i = 0; i < 3; i++) {
        if (below(3) == 0)
            continue;
        kb_w_map(&w);
        kb_w_kcstr(&w, "name", names[i]);
        kb_w_kcstr(&w, "path", paths[below(8) ? i : (int)below(3)]);
        kb_w_end(&w);
    }
    kb_w_end(&w);
    settle();
    if (disk_is_dead(disk))
        return;
    kb_engine_declare(e, kb_str_of(below(2) ? "pods" : "nodes"), kb_w_val(&w), &err);
}

static void do_compact(void)
{
    uint64_t rev = acked ? below(acked + 1) : 0;
    if (kb_engine_compact(e, rev, &err) == 1)
        m->compacted = rev;
}

/* Deletes what has expired, one revision each, in the order of expiry. */
static void do_expire(void)
{
    settle();
    if (disk_is_dead(disk))
        return;
    wall += (int64_t)below(1500);
    uint64_t before = m->rev;
    int n = kb_engine_expire(e, wall, 100, &err);
    for (int i = 0; i < n; i++) {
        int best = -1;
        for (int k = 0; k < KEYS; k++) {
            const struct version *v = model_at(k, before);
            const struct version *now_v = model_at(k, UINT64_MAX), *b;
            if (v == NULL || now_v != v || v->expires == 0 || v->expires > wall)
                continue;
            b = best < 0 ? NULL : model_at(best, UINT64_MAX);
            char ka[32], kb[32];
            (void)ka;
            (void)kb;
            if (b == NULL || v->expires < b->expires ||
                (v->expires == b->expires && v->rev < b->rev) ||
                (v->expires == b->expires && v->rev == b->rev && k % 4 < best % 4))
                best = k;
        }
        KB_CHECK(best >= 0);
        model_add(best, (struct version){.rev = ++m->rev, .deleted = true});
    }
    if (n >= 0 && n < 100)
        for (int k = 0; k < KEYS; k++) {
            const struct version *v = model_at(k, UINT64_MAX);
            KB_CHECK(v == NULL || v->expires == 0 || v->expires > wall);
        }
}

/* ---- reading ---- */

static void compare_doc(const struct version *v, const struct kb_item *item)
{
    KB_CHECK_U64(item->id.rev, ==, v->rev);
    KB_CHECK_I64(kb_val_int_at(item->doc, "n", -1), ==, v->n);
}

static uint64_t some_rev(void)
{
    uint64_t low = kb_engine_compacted(e), high = kb_engine_rev(e);
    return below(2) ? high : low + below(high - low + 1);
}

static void read_all(void)
{
    uint64_t rev = some_rev();
    if (rev == 0)
        return;
    for (int k = 0; k < KEYS; k++) {
        char name[32];
        struct kb_item item;
        const struct version *v = model_at(k, rev);
        int rc = kb_engine_get(e, kb_str_of(key_name(k, name)), rev, &item, &err);
        if (rc < 0 && rc != -KB_ENOTFOUND)
            kb_test_fail(__FILE__, __LINE__, "get: %s", err.text);
        KB_CHECK_I64(rc, ==, v ? 0 : -KB_ENOTFOUND);
        if (v)
            compare_doc(v, &item);
    }
}

static int find_key(kb_str name)
{
    for (int k = 0; k < KEYS; k++) {
        char text[32];
        if (kb_str_is(name, key_name(k, text)))
            return k;
    }
    kb_test_fail(__FILE__, __LINE__, "an object that was never made");
}

static bool selects(int k, const struct version *v, const char *prefix, const char *after,
                    const char *path, const char *value)
{
    char name[32];
    key_name(k, name);
    if (v == NULL || strncmp(name, prefix, strlen(prefix)) != 0 || strcmp(name, after) <= 0)
        return false;
    if (path == NULL)
        return true;
    char num[16];
    snprintf(num, sizeof(num), "%d", v->n);
    return strcmp(value, strcmp(path, "spec.nodeName") == 0 ? v->node
                         : strcmp(path, "n") == 0           ? num
                                                            : v->app) == 0;
}

static void read_list(void)
{
    static const char *const prefixes[] = {"pods/", "pods/a/", "nodes/", "pods.metrics/a-b/"};
    static const char *const values[] = {"n0", "n1", "", "web", "5"};
    const char *prefix = prefixes[below(4)], *value = values[below(5)], *path = NULL;
    char after[32] = "", last[32] = "";
    struct kb_range range = {.prefix = kb_str_of(prefix), .rev = some_rev()};
    if (below(3) == 0)
        range.after = kb_str_of(key_name((int)below(KEYS), after));
    kb_str rest = range.prefix;
    const struct kb_resource *r = kb_indices_of(kb_engine_indices(e), kb_str_cut(&rest, '/'));
    if (r && r->n && below(2)) {
        const struct kb_index *index = &r->indices[below(r->n)];
        range.index = kb_str_of(index->name);
        range.value = kb_str_of(value);
        path = index->path;
    }
    int want = 0, got = 0, rc;
    for (int k = 0; k < KEYS; k++)
        want += selects(k, model_at(k, range.rev), prefix, after, path, value);
    struct kb_scan scan;
    struct kb_item item;
    KB_CHECK_OK(kb_scan_init(&scan, e, &range, &err), &err);
    while ((rc = kb_scan_next(&scan, &item, &err)) > 0) {
        int k = find_key(item.key);
        const struct version *v = model_at(k, range.rev);
        KB_CHECK(selects(k, v, prefix, after, path, value));
        compare_doc(v, &item);
        KB_CHECK(kb_str_cmp(item.key, kb_str_of(last)) > 0);
        kb_str_copy(item.key, last, sizeof(last));
        got++;
    }
    kb_scan_finish(&scan);
    KB_CHECK_I64(rc, ==, 0);
    if (got != want)
        kb_test_fail(__FILE__, __LINE__,
                     "list %s after '%s' at %llu of %llu where %s='%s' (ready %d): %d, not %d",
                     prefix, after, (unsigned long long)range.rev,
                     (unsigned long long)kb_engine_rev(e), path ? path : "-", value,
                     path ? kb_index_find(r, range.index)->ready : 0, got, want);
}

static void read_history(void)
{
    uint64_t since = some_rev(), at = since;
    struct kb_history h;
    struct kb_item item;
    int rc, want = 0, got = 0;
    for (int k = 0; k < KEYS; k++)
        for (int i = 0; i < m->count[k]; i++)
            want += m->versions[k][i].rev > since && m->versions[k][i].rev <= kb_engine_rev(e);
    KB_CHECK_OK(kb_history_init(&h, e, since, &err), &err);
    while ((rc = kb_history_next(&h, &item, &err)) > 0) {
        KB_CHECK(item.id.rev == at || item.id.rev == at + 1);
        at = item.id.rev;
        const struct version *v = model_at(find_key(item.key), at);
        KB_CHECK(item.deleted == (v == NULL));
        if (v)
            compare_doc(v, &item);
        got++;
    }
    kb_history_finish(&h);
    KB_CHECK_I64(rc, ==, 0);
    KB_CHECK_I64(got, ==, want);
}

static void no_problem(void *user, const char *text)
{
    (void)user;
    kb_test_fail("check", 0, "%s", text);
}

static void do_check(void)
{
    settle();
    if (disk_is_dead(disk))
        return;
    int rc = kb_engine_check(e, no_problem, NULL, &err);
    if (rc != 0 && rc != -KB_ENOSPACE && rc != -KB_EIO)
        kb_test_fail(__FILE__, __LINE__, "check: %d %s", rc, err.text);
}

static void trouble(void)
{
    switch (below(6)) {
    case 0:
        disk_full(disk, true);
        break;
    case 1:
        disk_error_after(disk, 1 + below(20));
        break;
    case 2:
        disk_full(disk, false);
        break;
    default:
        disk_cut_after(disk, 1 + below(200));
        break;
    }
}

static void one_step(void)
{
    struct kb_commit commit;
    switch (below(16)) {
    case 0:
        do_lease();
        break;
    case 1:
        if (below(3) == 0)
            do_declare();
        break;
    case 2:
        do_compact();
        break;
    case 3:
        do_expire();
        break;
    case 4:
        kb_engine_tick(e, now += (kb_ms)below(300));
        while (kb_engine_poll(e, &commit)) {
            KB_CHECK(!"a batch that nobody sent has ended");
        }
        break;
    case 5:
    case 6:
        settle();
        break;
    default:
        do_write();
        break;
    }
}

/* A new world: nothing is known, the folder is empty. */
static void begin(uint64_t seed)
{
    KB_AUTO(kb_auto_free) char *db = kb_strf("%s/db", kb_test_dir());
    KB_CHECK_OK(kb_dir_remove(db, &err), &err);
    m = calloc(1, sizeof(*m));
    acked = flying = acked_compacted = 0;
    memset(acked_epoch, 0, sizeof(acked_epoch));
    counter = 0;
    kb_rand_init(&rnd, seed);
    disk = disk_new(seed, kb_test_dir());
}

static void story(bool cuts, uint64_t seed)
{
    int tell = getenv("KUBUS_TEST_LOUD") != NULL;
    begin(seed);
    KB_CHECK_OK(try_open(), &err);
    for (int i = 0; i < STEPS; i++) {
        one_step();
        if (disk_is_dead(disk) || below(60) == 0) {
            if (tell)
                fprintf(stderr, "step %d: reopen at %llu\n", i, (unsigned long long)acked);
            settle();
            if (cuts && below(3) == 0)
                reopen_with_cuts();
            else
                reopen();
        }
        if (below(12) == 0) {
            read_all();
            read_list();
            read_history();
        }
        if (below(60) == 0)
            do_check();
        if (cuts && below(25) == 0)
            trouble();
    }
    settle();
    reopen();
    read_all();
    read_history();
    do_check();
    kb_engine_close(&e);
    disk_destroy(&disk);
    free(m);
}

KB_TEST(engine_model, agrees_with_the_model)
{
    for (uint64_t i = 0; i < STORIES; i++)
        story(false, kb_test_seed() + i);
}

KB_TEST(engine_model, keeps_what_it_acknowledged_through_power_cuts_and_failing_disks)
{
    for (uint64_t i = 0; i < STORIES; i++)
        story(true, kb_test_seed() + i);
}
