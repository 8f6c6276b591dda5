#include "tests/lib/simcluster.h"

#include "actors/api/objects.h"
#include "actors/runtime/host.h"
#include "actors/runtime/resources.h"
#include "actors/scheduler/scheduler_actor.h"
#include "bus/actor.h"
#include "bus/base/list.h"
#include "bus/base/map.h"
#include "bus/loop.h"
#include "bus/model/json.h"
#include "tests/lib/simstore.h"
#include "tests/lib/test.h"

#include <dlfcn.h>
#include <stdlib.h>

enum { ACTORS_MAX = 64, CALL_MS = 5000, RESYNC_MS = 300 };

enum kind { STORE, API, SCHEDULER, CONTROLLER, AGENT };

/* A node that only pretends. */
struct agent {
    struct simcluster *cluster;
    struct kb_actor *actor;
    struct kb_peer *api;
    struct kb_view *view;
    const char *node;
    struct kb_map pods; /* key → struct pod */
    struct kb_link all; /* those, and the ones that are gone with a call under way */
    struct kb_loop_timer resync;
    int registered; /* 0: no, 1: the Node is made, 2: and its status */
    bool registering;
};

struct pod {
    struct kb_link link;
    struct agent *agent;
    char *name;
    char ns[64], uid[64];
    bool running, deleting, busy, gone;
};

struct member {
    enum kind kind;
    char name[64];
    struct kb_actor *actor; /* NULL: dead */
    union {
        struct kb_store *store;
        struct kb_objects *objects;
        struct kb_sched_actor *scheduler;
        struct kb_host *host;
        struct agent *agent;
    };
};

struct simcluster {
    struct kb_sim *sim;
    struct member members[ACTORS_MAX];
    size_t n;
    const char *plugins_dir;
    struct kb_kinds *kinds;
    struct kb_resources resources;
    uint64_t seed;
    bool booted;
    struct kb_actor *tester;
    struct kb_doc *answer;
    struct kb_err answer_err;
    bool answered;
};

/* ---- agents ---- */

static struct kb_doc *doc_of(const char *json)
{
    struct kb_doc *doc = NULL;
    struct kb_err err = {0};
    KB_CHECK_OK(kb_json_doc(kb_str_of(json), &doc, &err), &err);
    return doc;
}

static void call_json(struct kb_peer *peer, const char *method, char *json, kb_reply_fn *fn,
                      void *user)
{
    KB_AUTO(kb_doc_destroy) struct kb_doc *body = doc_of(json);
    kb_call(peer, method, kb_doc_root(body), CALL_MS, fn, user);
    free(json);
}

static void pod_free(struct pod *pod)
{
    kb_list_remove(&pod->link);
    free(pod->name);
    free(pod);
}

static void on_pod_answer(void *user, const struct kb_err *err, kb_val body)
{
    struct pod *pod = user;
    (void)err, (void)body;
    pod->busy = false; /* what it wrote comes back by the view; what failed is tried again */
    if (pod->gone)
        pod_free(pod);
}

/* Bring one pod a step further: to Running, or away. */
static void pod_step(struct agent *agent, struct pod *pod)
{
    if (pod->busy || (pod->running && !pod->deleting))
        return;
    pod->busy = true;
    if (pod->deleting) {
        call_json(agent->api, "object.delete",
                  kb_strf("{\"resource\":\"pods\",\"ns\":\"%s\",\"name\":\"%s\",\"uid\":\"%s\","
                          "\"grace_s\":0}",
                          pod->ns, pod->name, pod->uid),
                  on_pod_answer, pod);
        return;
    }
    call_json(agent->api, "object.patch",
              kb_strf("{\"resource\":\"pods\",\"ns\":\"%s\",\"name\":\"%s\",\"uid\":\"%s\","
                      "\"subresource\":\"status\",\"type\":\"merge\",\"patch\":{\"status\":{"
                      "\"phase\":\"Running\",\"podIP\":\"10.0.0.1\",\"conditions\":["
                      "{\"type\":\"Ready\",\"status\":\"True\","
                      "\"lastTransitionTime\":\"2023-11-14T22:13:20Z\"}]}}}",
                      pod->ns, pod->name, pod->uid),
              on_pod_answer, pod);
}

static void on_node_answer(void *user, const struct kb_err *err, kb_val body)
{
    struct agent *agent = user;
    (void)body;
    agent->registering = false;
    if (err == NULL || (agent->registered == 0 && err->code == KB_EEXISTS))
        agent->registered++;
}

static void register_node(struct agent *agent)
{
    if (agent->registering || agent->registered == 2)
        return;
    agent->registering = true;
    if (agent->registered == 0)
        call_json(agent->api, "object.create",
                  kb_strf("{\"resource\":\"nodes\",\"ns\":\"\",\"doc\":{\"apiVersion\":\"v1\","
                          "\"kind\":\"Node\",\"metadata\":{\"name\":\"%s\"}}}",
                          agent->node),
                  on_node_answer, agent);
    else
        call_json(agent->api, "object.patch",
                  kb_strf("{\"resource\":\"nodes\",\"ns\":\"\",\"name\":\"%s\","
                          "\"subresource\":\"status\",\"type\":\"merge\",\"patch\":{\"status\":{"
                          "\"capacity\":{\"cpu\":\"64\",\"memory\":\"256Gi\",\"pods\":\"110\"},"
                          "\"allocatable\":{\"cpu\":\"64\",\"memory\":\"256Gi\",\"pods\":\"110\"},"
                          "\"conditions\":[{\"type\":\"Ready\",\"status\":\"True\"}]}}}",
                          agent->node),
                  on_node_answer, agent);
}

static void on_resync(void *user)
{
    struct agent *agent = user;
    kb_str key;
    void *pod;
    register_node(agent);
    for (size_t i = 0; kb_map_next(&agent->pods, &i, &key, &pod);)
        pod_step(agent, pod);
    kb_loop_timer_set(kb_actor_loop(agent->actor), &agent->resync, RESYNC_MS);
}

static void on_pod(void *user, const struct kb_change *change)
{
    struct agent *agent = user;
    struct pod *pod = kb_map_get(&agent->pods, change->key);
    if (change->op == KB_DEL) {
        kb_map_del(&agent->pods, change->key);
        if (pod && pod->busy)
            pod->gone = true;
        else if (pod)
            pod_free(pod);
        return;
    }
    if (pod == NULL) {
        pod = calloc(1, sizeof(*pod));
        KB_CHECK(pod != NULL);
        pod->agent = agent;
        kb_list_push(&agent->all, &pod->link);
        pod->name = kb_str_dup(kb_val_str_at(change->doc, "metadata.name"));
        kb_map_put(&agent->pods, change->key, pod);
    }
    kb_str_copy(kb_val_str_at(change->doc, "metadata.namespace"), pod->ns, sizeof(pod->ns));
    kb_str_copy(kb_val_str_at(change->doc, "metadata.uid"), pod->uid, sizeof(pod->uid));
    pod->running = kb_str_is(kb_val_str_at(change->doc, "status.phase"), "Running");
    pod->deleting = kb_val_present(kb_val_at(change->doc, "metadata.deletionTimestamp"));
}

static const struct kb_view_handlers pod_handlers = {.change = on_pod};

static struct agent *agent_start(struct simcluster *c, struct kb_actor *actor, const char *name)
{
    struct agent *agent = calloc(1, sizeof(*agent));
    KB_CHECK(agent != NULL);
    kb_list_init(&agent->all);
    agent->cluster = c;
    agent->actor = actor;
    agent->node = strchr(name, '/') + 1;
    agent->api = kb_actor_peer(actor, "api");
    KB_AUTO(kb_auto_free) char *query = kb_strf("pods?node=%s", agent->node);
    agent->view = kb_view_open(actor, query, NULL, &pod_handlers, agent);
    agent->resync = (struct kb_loop_timer){.fn = on_resync, .user = agent};
    kb_loop_timer_set(kb_actor_loop(actor), &agent->resync, 1);
    return agent;
}

static void agent_stop(struct agent *agent)
{
    kb_loop_timer_stop(kb_actor_loop(agent->actor), &agent->resync);
    while (!kb_list_empty(&agent->all))
        pod_free(KB_CONTAINER(agent->all.next, struct pod, link));
    kb_map_finish(&agent->pods);
    free(agent);
}

/* ---- actors ---- */

static void on_booted(void *user)
{
    ((struct simcluster *)user)->booted = true;
}

static void controller_start(struct simcluster *c, struct member *m)
{
    struct kb_err err = {0};
    KB_AUTO(kb_auto_free) char *path = kb_strf("%s/%s.so", c->plugins_dir, m->name);
    void *so = dlopen(path, RTLD_NOW | RTLD_LOCAL);
    if (so == NULL)
        kb_test_fail(__FILE__, __LINE__, "%s", dlerror());
    struct kb_core_config config = {.plugin = dlsym(so, "kb_plugin_descriptor"),
                                    .seed = ++c->seed,
                                    .resources = c->resources.items};
    KB_CHECK(config.plugin != NULL);
    KB_CHECK_OK(kb_host_new(m->actor, &config, &m->host, &err), &err);
}

static void member_start(struct simcluster *c, struct member *m)
{
    struct kb_err err = {0};
    struct kb_objects_config objects = {.seed = ++c->seed};
    struct kb_actor_config config = {.name = m->name,
                                     .data_dir = kb_test_dir(),
                                     .run_dir = kb_test_dir(),
                                     .publishes = m->kind == STORE,
                                     .standalone = true,
                                     .transport = kb_sim_transport(c->sim, m->name)};
    KB_CHECK_OK(kb_actor_new(&config, &m->actor, &err), &err);
    if (m->kind == STORE) {
        m->store = simstore_start(m->actor, kb_test_dir());
    } else if (m->kind == API) {
        m->objects = kb_objects_new(m->actor, c->kinds, &objects);
        kb_objects_bootstrap(m->objects, on_booted, c);
    } else if (m->kind == SCHEDULER) {
        m->scheduler = kb_sched_actor_new(m->actor, ++c->seed);
    } else if (m->kind == CONTROLLER) {
        controller_start(c, m);
    } else {
        m->agent = agent_start(c, m->actor, m->name);
    }
    kb_actor_ready(m->actor);
}

/* What hangs on the actor's calls and views ends with the actor, so that goes first where nothing
 * may call back any more. */
static void member_kill(struct member *m)
{
    if (m->actor == NULL)
        return;
    if (m->kind == STORE)
        simstore_stop(&m->store);
    else if (m->kind == API)
        kb_objects_destroy(&m->objects);
    else if (m->kind == SCHEDULER)
        kb_sched_actor_destroy(&m->scheduler);
    else if (m->kind == CONTROLLER)
        kb_host_destroy(&m->host);
    else
        agent_stop(m->agent);
    kb_actor_destroy(&m->actor);
}

static struct member *member_find(const struct simcluster *c, const char *name)
{
    for (size_t i = 0; i < c->n; i++)
        if (strcmp(c->members[i].name, name) == 0)
            return (struct member *)&c->members[i];
    kb_test_fail(__FILE__, __LINE__, "no actor %s", name);
}

static void member_add(struct simcluster *c, enum kind kind, const char *name)
{
    KB_CHECK(c->n < ACTORS_MAX);
    struct member *m = &c->members[c->n++];
    m->kind = kind;
    snprintf(m->name, sizeof(m->name), "%s", name);
    member_start(c, m);
}

void simcluster_kill(struct simcluster *c, const char *name)
{
    member_kill(member_find(c, name));
}

void simcluster_start(struct simcluster *c, const char *name)
{
    struct member *m = member_find(c, name);
    if (m->actor == NULL)
        member_start(c, m);
}

bool simcluster_runs(const struct simcluster *c, const char *name)
{
    return member_find(c, name)->actor != NULL;
}

size_t simcluster_count(const struct simcluster *c)
{
    return c->n;
}

const char *simcluster_name(const struct simcluster *c, size_t i)
{
    return c->members[i].name;
}

struct kb_sim *simcluster_sim(struct simcluster *c)
{
    return c->sim;
}

/* ---- the whole ---- */

static bool is_booted(void *user)
{
    return ((struct simcluster *)user)->booted;
}

struct simcluster *simcluster_new(uint64_t seed, const char *plugins_dir,
                                  const char *const *controllers, int nodes)
{
    struct simcluster *c = calloc(1, sizeof(*c));
    struct kb_err err = {0};
    KB_CHECK(c != NULL);
    c->seed = seed;
    c->plugins_dir = plugins_dir;
    c->sim = kb_sim_new(seed);
    c->kinds = kb_kinds_builtin();
    kb_resources_builtin(&c->resources);
    member_add(c, STORE, "store");
    member_add(c, API, "api");
    KB_CHECK(kb_sim_run_until(c->sim, is_booted, c, 60000));
    member_add(c, SCHEDULER, "scheduler");
    for (; *controllers; controllers++)
        member_add(c, CONTROLLER, *controllers);
    for (int k = 1; k <= nodes; k++) {
        char name[32];
        snprintf(name, sizeof(name), "agent/n%d", k);
        member_add(c, AGENT, name);
    }
    struct kb_actor_config config = {.name = "tester",
                                     .data_dir = kb_test_dir(),
                                     .run_dir = kb_test_dir(),
                                     .standalone = true,
                                     .transport = kb_sim_transport(c->sim, "tester")};
    KB_CHECK_OK(kb_actor_new(&config, &c->tester, &err), &err);
    return c;
}

void simcluster_destroy(struct simcluster **c_p)
{
    struct simcluster *c = KB_STEAL(*c_p);
    if (c == NULL)
        return;
    kb_actor_destroy(&c->tester);
    for (size_t i = c->n; i-- > 0;) {
        member_kill(&c->members[i]);
        kb_sim_run_for(c->sim, 100);
    }
    kb_doc_destroy(&c->answer);
    kb_resources_finish(&c->resources);
    kb_kinds_destroy(&c->kinds);
    kb_sim_destroy(&c->sim);
    free(c);
}

/* ---- calls of the test ---- */

static void on_answer(void *user, const struct kb_err *err, kb_val body)
{
    struct simcluster *c = user;
    c->answered = true;
    c->answer_err = err ? *err : (struct kb_err){0};
    kb_doc_destroy(&c->answer);
    if (err == NULL)
        c->answer = kb_doc_of(body);
}

static bool is_answered(void *user)
{
    return ((struct simcluster *)user)->answered;
}

struct kb_doc *simcluster_call(struct simcluster *c, const char *service, const char *method,
                               int *ret_code, const char *json)
{
    for (int i = 0; i < 200; i++) {
        c->answered = false;
        call_json(kb_actor_peer(c->tester, service), method, kb_strf("%s", json), on_answer, c);
        KB_CHECK(kb_sim_run_until(c->sim, is_answered, c, 60000));
        int code = c->answer_err.code;
        if (ret_code)
            *ret_code = code;
        if (code == 0)
            return KB_STEAL(c->answer);
        if (code != KB_EUNAVAILABLE && code != KB_ETIMEOUT && code != KB_EFULL)
            return NULL;
        kb_sim_run_for(c->sim, 100);
    }
    kb_test_fail(__FILE__, __LINE__, "%s: %s", method, c->answer_err.text);
}

struct kb_doc *simcluster_list(struct simcluster *c, const char *view)
{
    KB_AUTO(kb_auto_free) char *body = kb_strf("{\"view\":\"%s\",\"limit\":5000}", view);
    struct kb_doc *doc = simcluster_call(c, "store", "store.list", NULL, body);
    if (doc == NULL)
        kb_test_fail(__FILE__, __LINE__, "list of %s: %s", view, c->answer_err.text);
    return doc;
}
