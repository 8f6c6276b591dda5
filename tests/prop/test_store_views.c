/* The real store behind followers of every shape of view, on links that drop, delay and break by
 * seed, in virtual time; the store is killed and started again on its data. In the end each
 * follower has had every change of its view once and in order, as a plain reading of the store's
 * own log says, and has the state that a listing gives. */
#include "bus/base/file.h"
#include "bus/loop.h"
#include "bus/transport_sim.h"
#include "store/store_actor.h"
#include "tests/lib/test.h"

#include <stdlib.h>

enum { KEYS = 36, WRITES = 400, LOG_MAX = 4000, FOLLOWERS = 12 };

struct object { /* what matters of a document; n 0: it does not exist */
    int n, ns, node, app, owner;
};

struct entry {
    int64_t rev;
    int key;
    struct object was, is;
};

struct world {
    struct kb_sim *sim;
    struct kb_actor *store_actor, *writer;
    struct kb_store *store;
    struct kb_peer *peer;
    struct object now[KEYS];
    struct entry log[LOG_MAX];
    int logged, counter;
    int64_t rev;
    bool waiting, failed;
    struct follower *followers;
    struct entry sent[4];
    int sent_n;
};

/* ---- views ---- */

static const char *const nodes[] = {"", "n0", "n1"};
static const char *const apps[] = {"", "web", "db"};

static uint64_t shard(const struct object *o, int key, uint64_t of)
{
    char uid[16];
    snprintf(uid, sizeof(uid), o->owner ? "o%d" : "u%d", o->owner ? o->owner : key);
    return kb_hash64(uid, strlen(uid)) % of;
}

static bool selects(int view, int key, const struct object *o)
{
    if (o->n == 0)
        return false;
    switch (view) {
    case 1:
        return o->ns == 0;
    case 2:
    case 11:
        return o->node == 1;
    case 3:
        return o->node == 0;
    case 4:
        return shard(o, key, 3) == 1;
    case 5:
        return o->app == 1;
    case 7:
        return o->node == 2 && o->ns == 1;
    case 8:
        return o->owner == 2;
    case 9:
        return o->app != 0 && shard(o, key, 2) == 0;
    default:
        return true;
    }
}

static const char *const queries[FOLLOWERS] = {
    "pods",
    "pods?ns=a",
    "pods?node=n0",
    "pods?node=",
    "pods?owner-shard=1/3",
    "pods?labels=app%3Dweb",
    "pods?with=old",
    "pods?node=n1&ns=b",
    "pods?owner=o2",
    "pods?labels=app%20in%20%28web%2Cdb%29&owner-shard=0/2",
    "pods?fields=n",
    "pods?fields=metadata.uid,n&node=n0",
};

/* ---- followers ---- */

struct seen {
    int64_t rev;
    int key, n;
    bool del;
    int old_n;
};

struct follower {
    struct world *world;
    struct kb_actor *actor;
    struct kb_view *view;
    int number;
    char host[8];
    int64_t listed, synced; /* the revision of its listing, -1: it is not complete */
    int n_of[KEYS];
    struct seen *seen;
    int count;
};

static void on_change(void *user, const struct kb_change *change)
{
    struct follower *f = user;
    int key = atoi(change->key.p + change->key.n - 2);
    int n = (int)kb_val_int_at(change->doc, "n", -1);
    KB_CHECK(f->count < LOG_MAX * 2);
    if (change->doc.p)
        KB_CHECK((f->number < 10) == kb_val_present(kb_val_get(change->doc, "spec")));
    if (f->listed >= 0)
        f->seen[f->count++] = (struct seen){change->rev, key, n, change->op == KB_DEL,
                                            (int)kb_val_int_at(change->old, "n", 0)};
    f->n_of[key] = change->op == KB_DEL ? 0 : n;
}

static void on_synced(void *user, int64_t rev)
{
    struct follower *f = user;
    KB_CHECK_I64(rev, >=, f->synced);
    f->synced = rev;
    if (f->listed < 0)
        f->listed = rev;
}

static const struct kb_view_handlers handlers = {.change = on_change, .synced = on_synced};

static struct kb_actor *join(struct world *w, const char *host, const char *name)
{
    struct kb_err err = {0};
    struct kb_actor *actor;
    struct kb_actor_config config = {.name = name,
                                     .data_dir = "/sim",
                                     .standalone = true,
                                     .publishes = strcmp(name, "store") == 0,
                                     .transport = kb_sim_transport(w->sim, host)};
    KB_CHECK_OK(kb_actor_new(&config, &actor, &err), &err);
    return actor;
}

static void follow(struct follower *f)
{
    struct kb_view_options options = {.with_old = f->number == 6};
    memset(f->n_of, 0, sizeof(f->n_of));
    f->listed = -1;
    f->synced = f->count = 0;
    f->actor = join(f->world, f->host, f->host);
    f->view = kb_view_open(f->actor, f->number == 6 ? "pods" : queries[f->number], &options,
                           &handlers, f);
}

/* Does what it saw after its listing agree with the log, change by change? */
static void verify(const struct follower *f)
{
    const struct world *w = f->world;
    int at = 0;
    for (int i = 0; i < w->logged; i++) {
        const struct entry *e = &w->log[i];
        bool was = selects(f->number, e->key, &e->was), is = selects(f->number, e->key, &e->is);
        if (e->rev <= f->listed || (!was && !is))
            continue;
        if (at == f->count)
            kb_test_fail(__FILE__, __LINE__, "%s: revision %lld is missing at the end",
                         queries[f->number], (long long)e->rev);
        const struct seen *s = &f->seen[at++];
        if (s->rev != e->rev || s->key != e->key || s->del != !is ||
            s->n != (is ? e->is.n : e->was.n))
            kb_test_fail(__FILE__, __LINE__, "%s: revision %lld key %d, but saw %lld key %d (%s)",
                         queries[f->number], (long long)e->rev, e->key, (long long)s->rev, s->key,
                         s->del ? "del" : "put");
        if (f->number == 6 && is)
            KB_CHECK_I64(s->old_n, ==, e->was.n);
    }
    KB_CHECK_I64(at, ==, f->count);
    for (int k = 0; k < KEYS; k++)
        KB_CHECK_I64(f->n_of[k], ==, selects(f->number, k, &w->now[k]) ? w->now[k].n : 0);
}

/* ---- the store and its writer ---- */

static void store_start(struct world *w)
{
    struct kb_err err = {0};
    struct kb_engine_config engine = {.segment_bytes = 256 * 1024, .checkpoint_bytes = 32 * 1024};
    struct kb_store_config config = {.history_s = 0};
    w->store_actor = join(w, "hs", "store");
    KB_CHECK_OK(kb_store_start(w->store_actor, kb_test_dir(), &engine, &config, &w->store, &err),
                &err);
    kb_actor_ready(w->store_actor);
}

static void store_kill(struct world *w)
{
    kb_store_destroy(&w->store);
    kb_actor_destroy(&w->store_actor);
}

static void on_written(void *user, const struct kb_err *err, kb_val body)
{
    struct world *w = user;
    w->waiting = false;
    w->failed = err != NULL;
    if (err)
        return;
    w->rev = kb_val_int_at(body, "rev", 0);
    for (int i = 0; i < w->sent_n; i++) {
        w->sent[i].rev = w->rev;
        w->log[w->logged++] = w->sent[i];
        w->now[w->sent[i].key] = w->sent[i].is;
    }
}

static bool answered(void *user)
{
    return !((struct world *)user)->waiting;
}

static void call(struct world *w, const char *method, struct kb_w *body)
{
    w->waiting = true;
    kb_call(w->peer, method, kb_w_val(body), 60000, on_written, w);
    kb_w_finish(body);
    KB_CHECK(kb_sim_run_until(w->sim, answered, w, 120000));
    KB_CHECK(!w->failed);
}

static void declare(struct world *w)
{
    static const char *const indices[][2] = {{"node", "spec.nodeName"}, {"owner", "@owner"}};
    struct kb_w b = {0};
    w->sent_n = 0;
    kb_w_map(&b);
    kb_w_karray(&b, "resources");
    kb_w_map(&b);
    kb_w_kcstr(&b, "resource", "pods");
    kb_w_karray(&b, "indices");
    for (int i = 0; i < 2; i++) {
        kb_w_map(&b);
        kb_w_kcstr(&b, "name", indices[i][0]);
        kb_w_kcstr(&b, "path", indices[i][1]);
        kb_w_end(&b);
    }
    kb_w_end(&b);
    kb_w_end(&b);
    kb_w_end(&b);
    kb_w_end(&b);
    call(w, "store.declare", &b);
}

static void write_doc(struct kb_w *b, int key, const struct object *o)
{
    char text[16];
    kb_w_map(b);
    kb_w_kmap(b, "metadata");
    snprintf(text, sizeof(text), "u%d", key);
    kb_w_kcstr(b, "uid", text);
    kb_w_kmap(b, "labels");
    if (o->app)
        kb_w_kcstr(b, "app", apps[o->app]);
    kb_w_end(b);
    if (o->owner) {
        snprintf(text, sizeof(text), "o%d", o->owner);
        kb_w_karray(b, "ownerReferences");
        kb_w_map(b);
        kb_w_kcstr(b, "uid", text);
        kb_w_kbool(b, "controller", true);
        kb_w_end(b);
        kb_w_end(b);
    }
    kb_w_end(b);
    kb_w_kmap(b, "spec");
    if (o->node)
        kb_w_kcstr(b, "nodeName", nodes[o->node]);
    kb_w_end(b);
    kb_w_kint(b, "n", o->n);
    kb_w_end(b);
}

/* One transaction of up to three puts and deletes of different pods. */
static void write_some(struct world *w)
{
    struct kb_rand *rand = kb_sim_rand(w->sim);
    struct kb_w b = {0};
    int count = 1 + (int)kb_rand_below(rand, 3), first = (int)kb_rand_below(rand, KEYS);
    w->sent_n = 0;
    kb_w_map(&b);
    kb_w_karray(&b, "ops");
    for (int i = 0; i < count; i++) {
        int k = (first + i * 7) % KEYS;
        struct object o = {++w->counter, k % 2, (int)kb_rand_below(rand, 3),
                           (int)kb_rand_below(rand, 3), k % 4};
        char key[32];
        if (w->now[k].n && kb_rand_below(rand, 4) == 0)
            o = (struct object){0};
        snprintf(key, sizeof(key), "pods/%s/p%02d", k % 2 ? "b" : "a", k);
        kb_w_map(&b);
        kb_w_kcstr(&b, "op", o.n ? "put" : "del");
        kb_w_kcstr(&b, "key", key);
        if (o.n) {
            kb_w_key(&b, "doc");
            write_doc(&b, k, &o);
        }
        kb_w_end(&b);
        w->sent[w->sent_n++] = (struct entry){0, k, w->now[k], o};
    }
    kb_w_end(&b);
    kb_w_end(&b);
    call(w, "store.txn", &b);
}

/* ---- the story ---- */

static void random_link(struct world *w, const char *host)
{
    struct kb_rand *rand = kb_sim_rand(w->sim);
    struct kb_sim_link link = {
        .delay_min_ms = (kb_ms)kb_rand_below(rand, 20),
        .drop = kb_rand_unit(rand) * 0.4,
        .breaks = kb_rand_below(rand, 3) ? 0 : 0.02,
    };
    link.delay_max_ms = link.delay_min_ms + (kb_ms)kb_rand_below(rand, 1000);
    kb_sim_set_link(w->sim, "hs", host, &link);
}

static void trouble(struct world *w)
{
    struct kb_rand *rand = kb_sim_rand(w->sim);
    struct follower *f = &w->followers[kb_rand_below(rand, FOLLOWERS)];
    switch (kb_rand_below(rand, 5)) {
    case 0:
        kb_sim_partition(w->sim, "hs", f->host, true);
        break;
    case 1:
        kb_sim_partition(w->sim, "hs", f->host, false);
        break;
    case 2:
        kb_actor_destroy(&f->actor);
        follow(f);
        break;
    case 3:
        random_link(w, f->host);
        break;
    default:
        store_kill(w);
        kb_sim_run_for(w->sim, (kb_ms)kb_rand_below(rand, 3000));
        store_start(w);
    }
}

static bool all_synced(void *user)
{
    const struct world *w = user;
    for (int i = 0; i < FOLLOWERS; i++)
        if (w->followers[i].listed < 0 || w->followers[i].synced < w->rev)
            return false;
    return true;
}

static void story(uint64_t seed)
{
    static const struct kb_sim_link good = {.delay_min_ms = 1, .delay_max_ms = 5};
    static struct follower followers[FOLLOWERS];
    struct world *w = calloc(1, sizeof(*w));
    KB_AUTO(kb_auto_free) char *db = kb_strf("%s/db", kb_test_dir());
    KB_CHECK(kb_dir_remove(db, NULL) == 0);
    w->sim = kb_sim_new(seed);
    w->followers = followers;
    struct kb_rand *rand = kb_sim_rand(w->sim);
    store_start(w);
    w->writer = join(w, "hw", "writer");
    w->peer = kb_actor_peer(w->writer, "store");
    for (int i = 0; i < FOLLOWERS; i++) {
        struct follower *f = &followers[i];
        *f = (struct follower){.world = w, .number = i};
        f->seen = calloc(LOG_MAX * 2, sizeof(*f->seen));
        snprintf(f->host, sizeof(f->host), "h%d", i);
        random_link(w, f->host);
        if (i != 3)
            follow(f);
    }
    declare(w); /* after most have subscribed: they are taken up */
    follow(&followers[3]);
    for (int i = 0; i < WRITES; i++) {
        write_some(w);
        if (kb_rand_below(rand, 4) == 0)
            kb_sim_run_for(w->sim, (kb_ms)kb_rand_below(rand, 300));
        if (kb_rand_below(rand, 20) == 0)
            trouble(w);
    }
    for (int i = 0; i < FOLLOWERS; i++) { /* peace */
        kb_sim_partition(w->sim, "hs", followers[i].host, false);
        kb_sim_set_link(w->sim, "hs", followers[i].host, &good);
    }
    KB_CHECK(kb_sim_run_until(w->sim, all_synced, w, 120000));
    for (int i = 0; i < FOLLOWERS; i++) {
        verify(&followers[i]);
        kb_actor_destroy(&followers[i].actor);
        free(followers[i].seen);
    }
    kb_actor_destroy(&w->writer);
    store_kill(w);
    kb_sim_destroy(&w->sim);
    free(w);
}

KB_TEST(store_views, give_every_follower_every_change_once_and_in_order)
{
    for (uint64_t i = 0; i < 6; i++)
        story(kb_test_seed() + i);
}
