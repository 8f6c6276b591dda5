/* The object service as an actor: real store, real calls, on a simulated network. */
#include "actors/api/objects.h"
#include "bus/actor.h"
#include "bus/transport_sim.h"
#include "store/store_actor.h"
#include "tests/lib/test.h"

#include <stdlib.h>

struct world {
    struct kb_sim *sim;
    struct kb_actor *store_actor, *api_actor, *client;
    struct kb_store *store;
    struct kb_kinds *kinds;
    struct kb_objects *objects;
    struct kb_peer *api, *store_peer;
    bool booted;
    size_t pending, ok, failed;
    char message[512];
    struct kb_doc *body;
};

static struct kb_actor *actor_new(struct world *w, const char *name, bool publishes)
{
    struct kb_err err = {0};
    struct kb_actor *actor;
    struct kb_actor_config config = {.name = name,
                                     .data_dir = kb_test_dir(),
                                     .run_dir = kb_test_dir(),
                                     .publishes = publishes,
                                     .standalone = true,
                                     .transport = kb_sim_transport(w->sim, name)};
    KB_CHECK_OK(kb_actor_new(&config, &actor, &err), &err);
    return actor;
}

static void on_booted(void *user)
{
    ((struct world *)user)->booted = true;
}

static bool is_booted(void *user)
{
    return ((struct world *)user)->booted;
}

static struct world *world_new(void)
{
    struct world *w = calloc(1, sizeof(*w));
    struct kb_err err = {0};
    struct kb_engine_config engine = {0};
    struct kb_store_config store = {0};
    struct kb_objects_config objects = {.seed = 5};
    w->sim = kb_sim_new(kb_test_seed());
    w->store_actor = actor_new(w, "store", true);
    KB_CHECK_OK(kb_store_start(w->store_actor, kb_test_dir(), &engine, &store, &w->store, &err),
                &err);
    kb_actor_ready(w->store_actor);
    w->api_actor = actor_new(w, "api", false);
    w->kinds = kb_kinds_builtin();
    w->objects = kb_objects_new(w->api_actor, w->kinds, &objects);
    kb_objects_bootstrap(w->objects, on_booted, w);
    kb_actor_ready(w->api_actor);
    w->client = actor_new(w, "tester", false);
    w->api = kb_actor_peer(w->client, "api");
    w->store_peer = kb_actor_peer(w->client, "store");
    KB_CHECK(kb_sim_run_until(w->sim, is_booted, w, 30000));
    return w;
}

static void world_destroy(struct world **w_p)
{
    struct world *w = KB_STEAL(*w_p);
    kb_doc_destroy(&w->body);
    kb_objects_destroy(&w->objects);
    kb_kinds_destroy(&w->kinds);
    kb_actor_destroy(&w->client);
    kb_actor_destroy(&w->api_actor);
    kb_sim_run_for(w->sim, 1000); /* the store hears of it */
    kb_store_destroy(&w->store);
    kb_actor_destroy(&w->store_actor);
    kb_sim_destroy(&w->sim);
    free(w);
}

static void on_reply(void *user, const struct kb_err *err, kb_val body)
{
    struct world *w = user;
    w->pending--;
    if (err) {
        w->failed++;
        snprintf(w->message, sizeof(w->message), "%s", err->text);
    } else {
        w->ok++;
    }
    kb_doc_destroy(&w->body);
    w->body = kb_val_present(body) ? kb_doc_of(body) : NULL;
}

static bool is_idle(void *user)
{
    return ((struct world *)user)->pending == 0;
}

static void call(struct world *w, struct kb_peer *peer, const char *method, struct kb_w *body)
{
    w->pending++;
    kb_call(peer, method, kb_w_val(body), 20000, on_reply, w);
    kb_w_finish(body);
}

static void settle(struct world *w)
{
    KB_CHECK(kb_sim_run_until(w->sim, is_idle, w, 60000));
}

static struct kb_w begin(const char *resource, const char *name)
{
    struct kb_w w = {0};
    kb_w_map(&w);
    kb_w_kcstr(&w, "resource", resource);
    kb_w_kcstr(&w, "ns", "default");
    if (name)
        kb_w_kcstr(&w, "name", name);
    return w;
}

static void create_configmap(struct world *world, const char *name, const char *label)
{
    struct kb_w w = begin("configmaps", NULL);
    kb_w_kmap(&w, "doc");
    kb_w_kmap(&w, "metadata");
    kb_w_kcstr(&w, "name", name);
    kb_w_kmap(&w, "labels");
    kb_w_kcstr(&w, "l", label);
    kb_w_end(&w);
    kb_w_end(&w);
    kb_w_end(&w);
    kb_w_end(&w);
    call(world, world->api, "object.create", &w);
}

static size_t count(struct world *world, const char *view)
{
    struct kb_w w = {0};
    kb_w_map(&w);
    kb_w_kcstr(&w, "view", view);
    kb_w_end(&w);
    call(world, world->store_peer, "store.list", &w);
    settle(world);
    return kb_val_count(kb_doc_at(world->body, "items"));
}

KB_TEST(objects_bus, a_controller_creates_patches_and_deletes)
{
    KB_AUTO(world_destroy) struct world *world = world_new();
    create_configmap(world, "cm", "x");
    settle(world);
    KB_CHECK_U64(world->ok, ==, 1);
    KB_CHECK_STRN(kb_val_str(kb_doc_at(world->body, "key")), "configmaps/default/cm");
    KB_CHECK_STRN(kb_val_str(kb_doc_at(world->body, "doc.kind")), "ConfigMap");
    struct kb_w w = begin("configmaps", "cm");
    kb_w_kcstr(&w, "type", "merge");
    kb_w_kmap(&w, "patch");
    kb_w_kmap(&w, "data");
    kb_w_kcstr(&w, "a", "b");
    kb_w_end(&w);
    kb_w_end(&w);
    kb_w_end(&w);
    call(world, world->api, "object.patch", &w);
    settle(world);
    KB_CHECK_STRN(kb_val_str(kb_doc_at(world->body, "doc.data.a")), "b");
    w = begin("configmaps", "cm");
    kb_w_kint(&w, "rev", 1);
    kb_w_end(&w);
    call(world, world->api, "object.delete", &w);
    settle(world);
    KB_CHECK_U64(world->failed, ==, 1);
    KB_CHECK(strstr(world->message, "Precondition failed: ResourceVersion in precondition: 1"));
    KB_CHECK_STRN(kb_val_str(kb_doc_at(world->body, "status.reason")), "Conflict");
    w = begin("configmaps", "cm");
    kb_w_end(&w);
    call(world, world->api, "object.delete", &w);
    settle(world);
    KB_CHECK_STRN(kb_val_str(kb_doc_at(world->body, "doc.data.a")), "b");
    KB_CHECK_U64(count(world, "configmaps"), ==, 0);
}

KB_TEST(objects_bus, a_hundred_creates_of_one_name_make_one_object)
{
    KB_AUTO(world_destroy) struct world *world = world_new();
    for (int i = 0; i < 100; i++)
        create_configmap(world, "same", "x");
    settle(world);
    KB_CHECK_U64(world->ok, ==, 1);
    KB_CHECK_U64(world->failed, ==, 99);
    KB_CHECK_STR(world->message, "configmaps \"same\" already exists");
}

KB_TEST(objects_bus, patches_from_everywhere_all_arrive)
{
    KB_AUTO(world_destroy) struct world *world = world_new();
    create_configmap(world, "cm", "x");
    settle(world);
    for (int i = 0; i < 12; i++) {
        char key[16];
        snprintf(key, sizeof(key), "k%d", i);
        struct kb_w w = begin("configmaps", "cm");
        kb_w_kmap(&w, "patch");
        kb_w_kmap(&w, "data");
        kb_w_kcstr(&w, key, "v");
        kb_w_end(&w);
        kb_w_end(&w);
        kb_w_end(&w);
        call(world, world->api, "object.patch", &w);
    }
    settle(world);
    KB_CHECK_U64(world->failed, ==, 0);
    KB_CHECK_U64(count(world, "configmaps"), ==, 1);
    KB_CHECK_U64(kb_val_count(kb_doc_at(world->body, "items[0].doc.data")), ==, 12);
}

KB_TEST(objects_bus, a_collection_is_deleted_by_selector_page_by_page)
{
    KB_AUTO(world_destroy) struct world *world = world_new();
    for (int i = 0; i < 1200; i++) {
        char name[32];
        snprintf(name, sizeof(name), "cm-%d", i);
        create_configmap(world, name, i % 12 == 0 ? "keep" : "drop");
    }
    settle(world);
    KB_CHECK_U64(world->ok, ==, 1200);
    struct kb_w w = begin("configmaps", NULL);
    kb_w_kcstr(&w, "labels", "l in (drop)");
    kb_w_end(&w);
    call(world, world->api, "object.deletecollection", &w);
    settle(world);
    KB_CHECK_U64(world->failed, ==, 0);
    KB_CHECK_U64(count(world, "configmaps"), ==, 100);
}

static void acquire(struct world *world)
{
    struct kb_w w = {0};
    kb_w_map(&w);
    kb_w_kcstr(&w, "name", "controller/c");
    kb_w_kcstr(&w, "holder", "c");
    kb_w_kint(&w, "ttl_ms", 1000);
    kb_w_end(&w);
    call(world, world->store_peer, "lease.acquire", &w);
}

static void delete_with_epoch(struct world *world, const char *name, int epoch)
{
    struct kb_w w = begin("configmaps", name);
    kb_w_kmap(&w, "lease");
    kb_w_kcstr(&w, "name", "controller/c");
    kb_w_kint(&w, "epoch", epoch);
    kb_w_end(&w);
    kb_w_end(&w);
    call(world, world->api, "object.delete", &w);
}

KB_TEST(objects_bus, a_write_with_an_epoch_that_is_over_is_refused)
{
    KB_AUTO(world_destroy) struct world *world = world_new();
    create_configmap(world, "cm", "x");
    settle(world);
    acquire(world);
    settle(world);
    KB_CHECK_I64(kb_val_int(kb_doc_at(world->body, "epoch"), 0), ==, 1);
    int64_t rev = kb_val_int(kb_doc_at(world->body, "rev"), 0);
    KB_CHECK(rev > 0);
    acquire(world);
    settle(world);
    KB_CHECK_I64(kb_val_int(kb_doc_at(world->body, "rev"), 0), ==, rev);
    delete_with_epoch(world, "cm", 1);
    settle(world);
    KB_CHECK_U64(world->failed, ==, 1);
    KB_CHECK(kb_val_bool(kb_doc_at(world->body, "fenced"), false));
    KB_CHECK_STRN(kb_val_str(kb_doc_at(world->body, "status.reason")), "Conflict");
    KB_CHECK_U64(count(world, "configmaps"), ==, 1);
    delete_with_epoch(world, "cm", 2);
    settle(world);
    KB_CHECK_U64(count(world, "configmaps"), ==, 0);
}

KB_TEST(objects_bus, a_pod_is_bound_once)
{
    KB_AUTO(world_destroy) struct world *world = world_new();
    struct kb_w w = begin("pods", NULL);
    kb_w_kmap(&w, "doc");
    kb_w_kmap(&w, "metadata");
    kb_w_kcstr(&w, "name", "p");
    kb_w_end(&w);
    kb_w_kmap(&w, "spec");
    kb_w_karray(&w, "containers");
    kb_w_map(&w);
    kb_w_kcstr(&w, "name", "a");
    kb_w_kcstr(&w, "image", "b");
    kb_w_end(&w);
    kb_w_end(&w);
    kb_w_end(&w);
    kb_w_end(&w);
    kb_w_end(&w);
    call(world, world->api, "object.create", &w);
    settle(world);
    KB_CHECK_U64(world->ok, ==, 1);
    for (int i = 0; i < 3; i++) {
        w = begin("pods", "p");
        kb_w_kcstr(&w, "node", i == 0 ? "n1" : "n2");
        kb_w_end(&w);
        call(world, world->api, "object.bind", &w);
    }
    settle(world);
    KB_CHECK_U64(world->ok, ==, 2);
    KB_CHECK_U64(count(world, "pods?node=n1"), ==, 1);
}

static bool is_kubernetes_back(void *user)
{
    struct world *world = user;
    if (world->pending)
        return false;
    if (kb_val_count(kb_doc_at(world->body, "items")) == 1)
        return true;
    struct kb_w w = {0};
    kb_w_map(&w);
    kb_w_kcstr(&w, "view", "services");
    kb_w_end(&w);
    call(world, world->store_peer, "store.list", &w);
    return false;
}

KB_TEST(objects_bus, the_service_of_the_api_comes_back_when_it_is_deleted)
{
    KB_AUTO(world_destroy) struct world *world = world_new();
    struct kb_w w = begin("services", "kubernetes");
    kb_w_end(&w);
    call(world, world->api, "object.delete", &w);
    settle(world);
    KB_CHECK_U64(world->ok, ==, 1);
    KB_CHECK(kb_sim_run_until(world->sim, is_kubernetes_back, world, 10000));
    KB_CHECK_STRN(kb_val_str(kb_doc_at(world->body, "items[0].doc.spec.clusterIP")), "10.96.0.1");
}
