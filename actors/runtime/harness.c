/* harness.c - controllers in virtual time: messages between them and the store travel for a random
 * millisecond or two, in order within a view, in any order otherwise. One seed, one story. */
#include "actors/runtime/harness_impl.h"

#include "bus/base/log.h"
#include "bus/model/yaml.h"

#include <dlfcn.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

enum { PASSES_MAX = 1000000, CONTROLLERS_MAX = 16, FAULTS_MAX = 16 };

static const int64_t epoch_us = INT64_C(1750000000) * 1000000; /* the start, on the wall */

/* What is on its way. */
struct msg {
    struct kb_timer timer;
    enum { MSG_CHANGE, MSG_SYNCED, MSG_CALL, MSG_ANSWER, MSG_NODE } what;
    size_t controller;
    uint64_t life; /* of the controller it is for */
    struct hview *view;
    bool gone;
    char *key; /* or the method of a call */
    int64_t rev;
    uint64_t id;
    struct kb_doc *doc;
    bool failed;
    struct kb_err err;
};

/* A view that a controller follows. */
struct hview {
    struct kb_core_view *view;
    char *resource;
    kb_str ns, name; /* empty: all */
    kb_ms last_due;  /* of the message sent last: they keep their order */
    bool closed;
    struct hview *next;
};

struct hcontroller {
    const struct kb_plugin *plugin;
    void *so;
    kb_controller *core; /* NULL: stopped */
    uint64_t life, views_version;
    int64_t epoch; /* of its lease */
    struct hview *views;
};

struct fault {
    const char *method, *resource; /* method NULL: the answer is lost */
    int code, left;
};

struct kb_harness {
    struct hstore store;
    struct kb_resources resources;
    struct kb_rand rand;
    kb_ms now_ms;
    struct kb_timers messages, world;
    struct hcontroller controllers[CONTROLLERS_MAX];
    size_t ncontrollers;
    struct fault faults[FAULTS_MAX];
    size_t nfaults;
    kb_ms play_ms; /* < 0: nobody plays nodes */
    uint64_t writes;
    char last_key[KB_KEY_MAX_BYTES + 1];
};

static void fail(const char *format, ...) KB_PRINTF(1, 2);
static void fail(const char *format, ...)
{
    va_list args;
    va_start(args, format);
    fprintf(stderr, "harness: ");
    vfprintf(stderr, format, args);
    fprintf(stderr, "\n");
    va_end(args);
    abort();
}

static void wall_update(struct kb_harness *h)
{
    h->store.wall_us = epoch_us + h->now_ms * 1000;
}

/* ---- messages ---- */

static struct msg *msg_new(struct kb_harness *h, int what, size_t controller)
{
    struct msg *m = calloc(1, sizeof(*m));
    KB_ASSERT(m != NULL);
    m->what = what;
    m->controller = controller;
    m->life = h->controllers[controller].life;
    return m;
}

static void msg_free(struct msg *m)
{
    kb_doc_destroy(&m->doc);
    free(m->key);
    free(m);
}

static kb_ms travel(struct kb_harness *h)
{
    return h->now_ms + 1 + (kb_ms)kb_rand_below(&h->rand, 3);
}

static void send_to_view(struct kb_harness *h, struct msg *m, struct hview *view)
{
    kb_ms due = travel(h);
    m->view = view;
    view->last_due = due > view->last_due ? due : view->last_due;
    kb_timers_arm(&h->messages, &m->timer, view->last_due);
}

static bool view_covers(const struct hview *view, const char *key)
{
    struct kb_key parts;
    KB_ASSERT(kb_key_parse(kb_str_of(key), &parts, NULL) == 0);
    return !view->closed && kb_str_is(parts.resource, view->resource) &&
           (view->ns.n == 0 || kb_str_eq(view->ns, parts.ns)) &&
           (view->name.n == 0 || kb_str_eq(view->name, parts.name));
}

static void send_change(struct kb_harness *h, size_t at, struct hview *view, const char *key,
                        bool gone, int64_t rev, kb_val doc)
{
    struct msg *m = msg_new(h, MSG_CHANGE, at);
    m->key = kb_str_dup(kb_str_of(key));
    m->gone = gone;
    m->rev = rev;
    m->doc = kb_doc_of(doc);
    send_to_view(h, m, view);
}

static void send_synced(struct kb_harness *h, size_t at, struct hview *view, int64_t rev)
{
    struct msg *m = msg_new(h, MSG_SYNCED, at);
    m->rev = rev;
    send_to_view(h, m, view);
}

/* ---- playing nodes ---- */

static void world_arm(struct kb_harness *h, const char *key, kb_ms due_ms)
{
    struct msg *m = msg_new(h, MSG_NODE, 0);
    m->key = kb_str_dup(kb_str_of(key));
    kb_timers_arm(&h->world, &m->timer, due_ms);
}

static void pod_condition(struct kb_arena *a, struct kb_node *pod, const char *type, int64_t now_us)
{
    struct kb_cond cond = {.type = type, .status = "True"};
    kb_cond_set(a, kb_node_ensure(a, pod, "status"), &cond, now_us);
}

static void world_step(struct kb_harness *h, const char *key)
{
    KB_AUTO(kb_arena_finish) struct kb_arena a = {0};
    const struct hobject *object = kb__hstore_get(&h->store, key);
    if (object == NULL)
        return;
    if (kb_meta_deleting(kb_doc_root(object->doc))) {
        if (kb_val_count(kb_doc_at(object->doc, "metadata.finalizers")) == 0)
            kb__hstore_remove(&h->store, key);
        return;
    }
    KB_AUTO(kb_doc_destroy) struct kb_doc *held = kb_doc_ref(object->doc);
    struct kb_node *pod = kb_node_of(&a, kb_doc_root(held));
    if (!kb_str_is(kb_node_text_at(pod, "status.phase"), "Pending"))
        return;
    if (kb_node_text_at(pod, "spec.nodeName").n == 0)
        kb_node_set_cstr(&a, pod, "spec.nodeName", "n1");
    kb_node_set_cstr(&a, pod, "status.phase", "Running");
    pod_condition(&a, pod, "Ready", h->store.wall_us);
    pod_condition(&a, pod, "ContainersReady", h->store.wall_us);
    kb__hstore_force(&h->store, key, pod);
}

void kb_harness_play_nodes(struct kb_harness *h, kb_ms ready_ms)
{
    size_t cursor = 0;
    const char *key;
    kb_val doc;
    h->play_ms = ready_ms;
    while (ready_ms >= 0 && kb_harness_next(h, "pods", NULL, &cursor, &key, &doc))
        world_arm(h, key, h->now_ms + ready_ms);
}

static void on_commit(void *user, const char *key, bool gone, int64_t rev, kb_val doc)
{
    struct kb_harness *h = user;
    for (size_t i = 0; i < h->ncontrollers; i++)
        for (struct hview *view = h->controllers[i].views; view; view = view->next)
            if (view_covers(view, key)) {
                send_change(h, i, view, key, gone, rev, doc);
                send_synced(h, i, view, rev);
            }
    bool waits = kb_str_is(kb_val_str_at(doc, "status.phase"), "Pending");
    if (h->play_ms < 0 || gone || strncmp(key, "pods/", 5) != 0)
        return;
    if (kb_meta_deleting(doc))
        world_arm(h, key, h->now_ms);
    else if (waits)
        world_arm(h, key, h->now_ms + h->play_ms);
}

/* ---- life ---- */

struct kb_harness *kb_harness_new(uint64_t seed)
{
    struct kb_harness *h = calloc(1, sizeof(*h));
    KB_ASSERT(h != NULL);
    kb__hstore_init(&h->store, seed + 1);
    kb_resources_builtin(&h->resources);
    kb_rand_init(&h->rand, seed);
    h->store.commit = on_commit;
    h->store.user = h;
    h->play_ms = -1;
    wall_update(h);
    return h;
}

static void controller_stop(struct hcontroller *ctl)
{
    kb_core_destroy(&ctl->core);
    while (ctl->views) {
        struct hview *view = ctl->views;
        ctl->views = view->next;
        free(view->resource);
        free(view);
    }
    ctl->life++;
    ctl->views_version = 0;
}

static void controller_start(struct kb_harness *h, struct hcontroller *ctl)
{
    struct kb_core_config config = {.plugin = ctl->plugin,
                                    .seed = kb_rand_next(&h->rand),
                                    .resources = h->resources.items,
                                    .lease = ctl->plugin->name};
    struct kb_err err = {0};
    if (kb_core_new(&config, &ctl->core, &err) < 0)
        fail("%s", err.text);
    kb_core_time(ctl->core, h->now_ms, h->store.wall_us);
}

static void timers_drop(struct kb_timers *timers)
{
    struct kb_timer *timer;
    while ((timer = kb_timers_pop(timers, INT64_MAX)) != NULL)
        msg_free(KB_CONTAINER(timer, struct msg, timer));
    kb_timers_finish(timers);
}

void kb_harness_destroy(struct kb_harness **h_p)
{
    struct kb_harness *h = KB_STEAL(*h_p);
    if (h == NULL)
        return;
    for (size_t i = 0; i < h->ncontrollers; i++) {
        controller_stop(&h->controllers[i]);
        if (h->controllers[i].so)
            dlclose(h->controllers[i].so);
    }
    timers_drop(&h->messages);
    timers_drop(&h->world);
    kb__hstore_finish(&h->store);
    kb_resources_finish(&h->resources);
    free(h);
}

void kb_harness_add(struct kb_harness *h, const struct kb_plugin *plugin)
{
    KB_ASSERT(h->ncontrollers < CONTROLLERS_MAX);
    struct hcontroller *ctl = &h->controllers[h->ncontrollers++];
    ctl->plugin = plugin;
    controller_start(h, ctl);
}

void kb_harness_load(struct kb_harness *h, const char *path)
{
    void *so = dlopen(path, RTLD_NOW | RTLD_LOCAL);
    const struct kb_plugin *plugin = so ? dlsym(so, "kb_plugin_descriptor") : NULL;
    if (plugin == NULL)
        fail("%s", dlerror());
    kb_harness_add(h, plugin);
    h->controllers[h->ncontrollers - 1].so = so;
}

static struct hcontroller *controller_find(struct kb_harness *h, const char *name)
{
    for (size_t i = 0; i < h->ncontrollers; i++)
        if (strcmp(h->controllers[i].plugin->name, name) == 0)
            return &h->controllers[i];
    fail("no controller %s", name);
    return NULL;
}

void kb_harness_stop(struct kb_harness *h, const char *name)
{
    controller_stop(controller_find(h, name));
}

void kb_harness_restart(struct kb_harness *h, const char *name)
{
    struct hcontroller *ctl = controller_find(h, name);
    controller_stop(ctl);
    controller_start(h, ctl);
}

/* ---- one pass ---- */

static struct hview *view_new(struct hcontroller *ctl, struct kb_core_view *view)
{
    struct hview *v = calloc(1, sizeof(*v));
    KB_ASSERT(v != NULL);
    size_t n = strcspn(view->query, "?");
    v->view = view;
    v->resource = kb_str_dup(kb_str_n(view->query, n));
    for (kb_str rest = kb_str_of(view->query + n + (view->query[n] != '\0')); rest.n;) {
        kb_str value = kb_str_cut(&rest, '&'), word = kb_str_cut(&value, '=');
        if (kb_str_is(word, "ns"))
            v->ns = value;
        else if (kb_str_is(word, "name"))
            v->name = value;
        else
            fail("the harness knows ns= and name= in a view, not %s", view->query);
    }
    v->next = ctl->views;
    ctl->views = v;
    view->open = true;
    view->shell = v;
    return v;
}

static void views_open(struct kb_harness *h, size_t at)
{
    struct hcontroller *ctl = &h->controllers[at];
    if (ctl->views_version == kb_core_views_version(ctl->core))
        return;
    ctl->views_version = kb_core_views_version(ctl->core);
    struct kb_core_view **views, *unwanted;
    size_t n = kb_core_views(ctl->core, &views);
    for (size_t i = 0; i < n; i++) {
        if (views[i]->open)
            continue;
        struct hview *view = view_new(ctl, views[i]);
        for (size_t k = 0; k < h->store.count; k++) {
            const struct hobject *o = &h->store.items[k];
            if (view_covers(view, o->key))
                send_change(h, at, view, o->key, false, o->rev, kb_doc_root(o->doc));
        }
        send_synced(h, at, view, h->store.rev);
    }
    while ((unwanted = kb_core_view_unwanted(ctl->core)) != NULL) {
        struct hview *view = unwanted->shell;
        view->closed = true; /* its messages may be under way: freed with the controller */
        kb_core_view_closed(ctl->core, unwanted);
    }
}

static bool fault_hits(struct kb_harness *h, const char *method, kb_val body, struct kb_err *err)
{
    kb_str resource = kb_val_str(kb_val_get(body, "resource"));
    for (size_t i = 0; i < h->nfaults; i++) {
        struct fault *f = &h->faults[i];
        if (f->left == 0 || !kb_str_is(resource, f->resource) ||
            (f->method ? method == NULL || strcmp(method, f->method) != 0 : method != NULL))
            continue;
        f->left--;
        kb_err_set(err, f->code, "%s", kb_err_text(f->code));
        return true;
    }
    return false;
}

/* Is the call of a process, or of a time, whose writes do not count any more? */
static bool is_fenced(const struct kb_harness *h, const struct msg *call, struct msg *answer)
{
    int64_t epoch = kb_val_int_at(kb_doc_root(call->doc), "lease.epoch", 0);
    if (epoch == 0 || epoch == h->controllers[call->controller].epoch)
        return false;
    kb_err_set(&answer->err, KB_ECONFLICT, "the lease is not held with this epoch");
    return true;
}

/* A call arrives at the API: it is carried out, and its answer goes back. */
static void call_arrives(struct kb_harness *h, const struct msg *call)
{
    struct msg *answer = msg_new(h, MSG_ANSWER, call->controller);
    kb_val body = kb_doc_root(call->doc);
    answer->id = call->id;
    answer->life = call->life; /* for the process that asked, not for the one that came after it */
    if (!kb_str_is(kb_val_str(kb_val_get(body, "resource")), "events"))
        h->writes++;
    answer->failed = is_fenced(h, call, answer) || fault_hits(h, call->key, body, &answer->err) ||
                     kb__hstore_call(&h->store, call->key, body, &answer->doc, &answer->err) < 0;
    if (!answer->failed)
        answer->failed = fault_hits(h, NULL, body, &answer->err);
    kb_timers_arm(&h->messages, &answer->timer, travel(h));
}

static void deliver(struct kb_harness *h, struct msg *m)
{
    struct hcontroller *ctl = &h->controllers[m->controller];
    bool alive = ctl->core && ctl->life == m->life;
    if (m->what == MSG_CALL) {
        call_arrives(h, m); /* a call under way outlives its caller */
    } else if (m->what == MSG_NODE) {
        world_step(h, m->key);
    } else if (alive && m->what == MSG_ANSWER) {
        kb_core_answer(ctl->core, m->id, m->failed ? &m->err : NULL, kb_doc_root(m->doc));
    } else if (alive && !m->view->closed) {
        if (m->what == MSG_CHANGE)
            kb_core_change(ctl->core, m->view->view, m->gone, kb_str_of(m->key), m->rev,
                           kb_doc_root(m->doc));
        else
            kb_core_synced(ctl->core, m->view->view, m->rev);
    }
    msg_free(m);
}

/* A new epoch, and the beat by which views without changes reach its revision. */
static void give_epoch(struct kb_harness *h, size_t at)
{
    struct hcontroller *ctl = &h->controllers[at];
    KB_AUTO(kb_w_finish) struct kb_w grant = {0};
    kb_w_map(&grant);
    kb_w_kint(&grant, "epoch", ++ctl->epoch);
    kb_w_kint(&grant, "rev", h->store.rev);
    kb_w_end(&grant);
    (void)kb_core_epoch(ctl->core, NULL, kb_w_val(&grant));
    for (struct hview *view = ctl->views; view; view = view->next)
        send_synced(h, at, view, h->store.rev);
}

static void controllers_run(struct kb_harness *h)
{
    for (size_t i = 0; i < h->ncontrollers; i++) {
        struct hcontroller *ctl = &h->controllers[i];
        struct kb_core_call call;
        if (ctl->core == NULL)
            continue;
        kb_core_time(ctl->core, h->now_ms, h->store.wall_us);
        KB_AUTO(kb_w_finish) struct kb_w asked = {0};
        if (kb_core_ask_epoch(ctl->core, ctl->plugin->name, &asked))
            give_epoch(h, i);
        views_open(h, i);
        while (kb_core_run(ctl->core))
            views_open(h, i);
        while (kb_core_next_call(ctl->core, &call)) {
            struct msg *m = msg_new(h, MSG_CALL, i);
            m->key = kb_str_dup(kb_str_of(call.method));
            m->id = call.id;
            m->doc = kb_doc_of(call.body);
            kb_timers_arm(&h->messages, &m->timer, travel(h));
        }
        struct kb_err refusal;
        while (kb_core_refusal(ctl->core, &refusal))
            kb_warn("%s", refusal.text);
    }
}

/* Everything that is due now. */
static void pass(struct kb_harness *h)
{
    struct kb_timer *timer;
    for (size_t i = 0; i < h->ncontrollers; i++)
        if (h->controllers[i].core)
            kb_core_time(h->controllers[i].core, h->now_ms, h->store.wall_us);
    while ((timer = kb_timers_pop(&h->world, h->now_ms)) != NULL)
        deliver(h, KB_CONTAINER(timer, struct msg, timer));
    while ((timer = kb_timers_pop(&h->messages, h->now_ms)) != NULL)
        deliver(h, KB_CONTAINER(timer, struct msg, timer));
    controllers_run(h);
}

static kb_ms soonest(kb_ms a, kb_ms b)
{
    return a < 0 ? b : b < 0 ? a : a < b ? a : b;
}

/* Until something is due, -1: never. */
static kb_ms wait_ms(const struct kb_harness *h, bool timers_too)
{
    kb_ms wait = kb_timers_wait_ms(&h->messages, h->now_ms);
    kb_ms world = kb_timers_wait_ms(&h->world, h->now_ms);
    if (timers_too || world == 0)
        wait = soonest(wait, world);
    for (size_t i = 0; i < h->ncontrollers; i++) {
        const kb_controller *core = h->controllers[i].core;
        kb_ms own = core ? kb_core_wait_ms(core) : -1;
        if (timers_too || own == 0)
            wait = soonest(wait, own);
    }
    return wait;
}

void kb_harness_run(struct kb_harness *h, kb_ms ms)
{
    kb_ms end = h->now_ms + ms;
    for (int i = 0; i < PASSES_MAX; i++) {
        pass(h);
        kb_ms wait = wait_ms(h, true);
        if (wait < 0 || h->now_ms + wait > end) {
            h->now_ms = end;
            wall_update(h);
            pass(h);
            return;
        }
        h->now_ms += wait;
        wall_update(h);
    }
    fail("too much happens within %" PRId64 " ms", ms);
}

void kb_harness_settle(struct kb_harness *h)
{
    for (int i = 0; i < PASSES_MAX; i++) {
        pass(h);
        kb_ms wait = wait_ms(h, false);
        if (wait < 0)
            return;
        h->now_ms += wait;
        wall_update(h);
    }
    fail("it does not settle");
}

kb_ms kb_harness_now_ms(const struct kb_harness *h)
{
    return h->now_ms;
}

/* ---- the user ---- */

static kb_val call_do(struct kb_harness *h, const char *method, struct kb_w *w)
{
    struct kb_doc *result = NULL;
    struct kb_err err = {0};
    wall_update(h);
    if (kb__hstore_call(&h->store, method, kb_w_val(w), &result, &err) < 0)
        fail("%s: %s", method, err.text);
    kb_str_copy(kb_val_str(kb_doc_at(result, "key")), h->last_key, sizeof(h->last_key));
    kb_doc_destroy(&result);
    return kb_harness_get(h, h->last_key);
}

static void call_begin(struct kb_w *w, kb_str resource, kb_str ns, kb_str name)
{
    kb_w_map(w);
    kb_w_kstr(w, "resource", resource);
    kb_w_kstr(w, "ns", ns);
    if (name.n)
        kb_w_kstr(w, "name", name);
}

const char *kb_harness_apply(struct kb_harness *h, const char *text)
{
    KB_AUTO(kb_arena_finish) struct kb_arena a = {0};
    KB_AUTO(kb_w_finish) struct kb_w w = {0};
    struct kb_node *object;
    struct kb_err err = {0};
    if (kb_yaml_parse_one(&a, kb_str_of(text), NULL, &object, &err) < 0)
        fail("%s", err.text);
    const struct kb_kind *kind = kb_kinds_by_kind(
        h->store.kinds, kb_node_text_at(object, "apiVersion"), kb_node_text_at(object, "kind"));
    if (kind == NULL)
        fail("unknown kind in %s", text);
    kb_str ns = kb_node_text_at(object, "metadata.namespace");
    kb_str name = kb_node_text_at(object, "metadata.name");
    if (kind->namespaced && ns.n == 0)
        ns = kb_str_of("default");
    char key[KB_KEY_MAX_BYTES + 1];
    bool there = name.n && kb_key_format((kb_key){kind->resource, ns, name}, key, sizeof(key)) &&
                 kb__hstore_get(&h->store, key);
    call_begin(&w, kind->resource, ns, there ? name : kb_str_of(""));
    kb_w_key(&w, "doc");
    kb_w_node(&w, object);
    kb_w_end(&w);
    call_do(h, there ? "object.update" : "object.create", &w);
    return h->last_key;
}

void kb_harness_force(struct kb_harness *h, const char *key, const char *json)
{
    KB_AUTO(kb_arena_finish) struct kb_arena a = {0};
    struct kb_node *object;
    struct kb_err err = {0};
    if (kb_json_parse(&a, kb_str_of(json), NULL, &object, &err) < 0)
        fail("%s", err.text);
    kb__hstore_force(&h->store, key, object);
}

void kb_harness_patch(struct kb_harness *h, const char *key, const char *subresource,
                      const char *patch)
{
    KB_AUTO(kb_w_finish) struct kb_w w = {0};
    KB_AUTO(kb_doc_destroy) struct kb_doc *doc = NULL;
    struct kb_err err = {0};
    struct kb_key parts;
    if (kb_key_parse(kb_str_of(key), &parts, &err) < 0 ||
        kb_json_doc(kb_str_of(patch), &doc, &err) < 0)
        fail("%s", err.text);
    call_begin(&w, parts.resource, parts.ns, parts.name);
    if (subresource)
        kb_w_kcstr(&w, "subresource", subresource);
    kb_w_kraw(&w, "patch", kb_doc_root(doc));
    kb_w_end(&w);
    call_do(h, "object.patch", &w);
}

void kb_harness_delete(struct kb_harness *h, const char *key, const char *propagation)
{
    KB_AUTO(kb_w_finish) struct kb_w w = {0};
    struct kb_key parts;
    if (kb_key_parse(kb_str_of(key), &parts, NULL) < 0)
        fail("%s is no key", key);
    if (kb__hstore_get(&h->store, key) == NULL)
        return;
    call_begin(&w, parts.resource, parts.ns, parts.name);
    if (propagation)
        kb_w_kcstr(&w, "propagation", propagation);
    kb_w_end(&w);
    call_do(h, "object.delete", &w);
}

/* ---- looking ---- */

kb_val kb_harness_get(const struct kb_harness *h, const char *key)
{
    const struct hobject *o = kb__hstore_get(&h->store, key);
    return o ? kb_doc_root(o->doc) : (kb_val){NULL, NULL};
}

int64_t kb_harness_rev(const struct kb_harness *h)
{
    return h->store.rev;
}

bool kb_harness_next(const struct kb_harness *h, const char *resource, const char *ns,
                     size_t *cursor, const char **ret_key, kb_val *ret_doc)
{
    while (*cursor < h->store.count) {
        const struct hobject *o = &h->store.items[(*cursor)++];
        struct kb_key key;
        KB_ASSERT(kb_key_parse(kb_str_of(o->key), &key, NULL) == 0);
        if (!kb_str_is(key.resource, resource) || (ns && !kb_str_is(key.ns, ns)))
            continue;
        *ret_key = o->key;
        *ret_doc = kb_doc_root(o->doc);
        return true;
    }
    return false;
}

size_t kb_harness_count(const struct kb_harness *h, const char *resource, const char *ns)
{
    size_t cursor = 0, count = 0;
    const char *key;
    kb_val doc;
    while (kb_harness_next(h, resource, ns, &cursor, &key, &doc))
        count++;
    return count;
}

int64_t kb_harness_events(const struct kb_harness *h, const char *reason)
{
    size_t cursor = 0;
    const char *key;
    kb_val doc;
    int64_t sum = 0;
    while (kb_harness_next(h, "events", NULL, &cursor, &key, &doc))
        if (kb_str_is(kb_val_str_at(doc, "reason"), reason))
            sum += kb_val_int_at(doc, "count", 1);
    return sum;
}

uint64_t kb_harness_writes(const struct kb_harness *h)
{
    return h->writes;
}

static void fault_add(struct kb_harness *h, struct fault fault)
{
    KB_ASSERT(h->nfaults < FAULTS_MAX);
    h->faults[h->nfaults++] = fault;
}

void kb_harness_fail(struct kb_harness *h, const char *method, const char *resource, int code,
                     int times)
{
    fault_add(h, (struct fault){method, resource, code, times});
}

void kb_harness_lose_answers(struct kb_harness *h, const char *resource, int times)
{
    fault_add(h, (struct fault){NULL, resource, KB_ETIMEOUT, times});
}
