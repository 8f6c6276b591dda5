/* objects.c - the shell of the object service: performs what the core asks for, against the store.
 *
 * Each request is a task that waits for at most one call. Nothing orders tasks but the store: calls
 * are pipelined, and what loses a race is refused there and computed again. */
#include "actors/api/objects_shell.h"

#include "bus/base/check.h"
#include "bus/base/log.h"
#include "bus/model/key.h"

#include <stdlib.h>

enum { BOOT_RETRY_MS = 200 };

int64_t kb__objects_now_us(const struct kb_objects *objects)
{
    return kb_clock_wall_us(kb_actor_clock(objects->actor));
}

/* ---- tasks ---- */

static void advance(struct kb_task *task);

static void task_free(struct kb_task *task)
{
    kb_list_remove(&task->link);
    kb_object_op_release(&task->op);
    free(task);
}

static void on_read(void *user, const struct kb_err *err, kb_val body)
{
    struct kb_task *task = user;
    task->call = 0;
    if (err == NULL)
        kb_object_op_read(task->op, kb_val_int(kb_val_get(body, "rev"), 0),
                          kb_val_get(body, "doc"));
    else if (err->code == KB_ENOTFOUND)
        kb_object_op_read(task->op, 0, (kb_val){0});
    else
        kb_object_op_failed(task->op, err);
    advance(task);
}

static void on_list(void *user, const struct kb_err *err, kb_val body)
{
    struct kb_task *task = user;
    task->call = 0;
    if (err)
        kb_object_op_failed(task->op, err);
    else
        kb_object_op_listed(task->op, kb_val_get(body, "items"),
                            kb_val_bool(kb_val_get(body, "more"), false));
    advance(task);
}

static void on_commit(void *user, const struct kb_err *err, kb_val body)
{
    struct kb_task *task = user;
    kb_val index = kb_val_get(body, "index"), current = kb_val_get(body, "current");
    task->call = 0;
    if (err == NULL)
        kb_object_op_committed(task->op, kb_val_int(kb_val_get(body, "rev"), 0));
    else if (kb_val_present(kb_val_get(body, "lease")))
        kb_object_op_fenced(task->op, err);
    else if (kb_val_present(index))
        kb_object_op_refused(task->op, err, (size_t)kb_val_int(index, 0),
                             kb_val_int(kb_val_get(current, "rev"), 0), kb_val_get(current, "doc"));
    else
        kb_object_op_failed(task->op, err);
    advance(task);
}

static void send_read(struct kb_task *task)
{
    KB_AUTO(kb_w_finish) struct kb_w w = {0};
    kb_w_map(&w);
    kb_w_kcstr(&w, "key", kb_object_op_key(task->op));
    kb_w_end(&w);
    task->call = kb_call(task->objects->store, "store.get", kb_w_val(&w), KB_OBJECTS_TIMEOUT_MS,
                         on_read, task);
}

static void send_list(struct kb_task *task)
{
    KB_AUTO(kb_w_finish) struct kb_w w = {0};
    kb_str after = kb_object_op_after(task->op);
    kb_w_map(&w);
    kb_w_kcstr(&w, "view", kb_object_op_key(task->op));
    if (after.n)
        kb_w_kstr(&w, "after", after);
    kb_w_end(&w);
    task->call = kb_call(task->objects->store, "store.list", kb_w_val(&w), KB_OBJECTS_TIMEOUT_MS,
                         on_list, task);
}

static void advance(struct kb_task *task)
{
    switch (kb_object_op_want(task->op)) {
    case KB_OP_READ:
        send_read(task);
        return;
    case KB_OP_LIST:
        send_list(task);
        return;
    case KB_OP_COMMIT:
        task->call = kb_call(task->objects->store, "store.txn", kb_object_op_txn(task->op),
                             KB_OBJECTS_TIMEOUT_MS, on_commit, task);
        return;
    default:
        break;
    }
    kb_list_remove(&task->link);
    task->done(task->user, kb_object_op_reply(task->op));
    task_free(task);
}

void kb__task_start(struct kb_objects *objects, struct kb_object_op *op, uint64_t id,
                    kb_object_done_fn *done, void *user)
{
    struct kb_task *task = calloc(1, sizeof(*task));
    KB_ASSERT(task != NULL);
    *task = (struct kb_task){.objects = objects, .op = op, .id = id, .done = done, .user = user};
    kb_list_push(&objects->tasks, &task->link);
    advance(task);
}

uint64_t kb_objects_do(struct kb_objects *objects, const struct kb_object_request *request,
                       kb_object_done_fn *done, void *user)
{
    uint64_t id = ++objects->last_id;
    if (request->verb == KB_VERB_DELETECOLLECTION) {
        return kb__collection_start(objects, request, id, done, user) ? id : 0;
    }
    struct kb_object_op *op = kb_object_op_new(objects->core, request, kb__objects_now_us(objects));
    if (kb_object_op_want(op) == KB_OP_DONE) {
        done(user, kb_object_op_reply(op));
        kb_object_op_release(&op);
        return 0;
    }
    kb__task_start(objects, op, id, done, user);
    return id;
}

void kb_objects_cancel(struct kb_objects *objects, uint64_t id)
{
    if (id == 0 || kb__collection_cancel(objects, id))
        return;
    KB_LIST_EACH_SAFE(link, &objects->tasks)
    {
        struct kb_task *task = KB_CONTAINER(link, struct kb_task, link);
        if (task->id != id)
            continue;
        if (task->call)
            kb_call_cancel(objects->store, task->call);
        task_free(task);
        return;
    }
}

/* ---- namespaces, and the Service of the API itself ---- */

static void boot_from_start(struct kb_objects *objects);

/* What every cluster has comes back when it is deleted. */
static void on_kubernetes(void *user, const struct kb_change *change)
{
    if (change->op == KB_DEL)
        boot_from_start(user);
}

static void on_namespace(void *user, const struct kb_change *change)
{
    struct kb_objects *objects = user;
    struct kb_key key;
    if (kb_key_parse(change->key, &key, NULL) == 0)
        kb_objects_core_namespace(objects->core, key.name,
                                  change->op == KB_PUT ? change->doc : (kb_val){0});
    if (change->op == KB_DEL && kb_str_starts(key.name, "kube-"))
        boot_from_start(objects);
}

static void on_priority(void *user, const struct kb_change *change)
{
    struct kb_objects *objects = user;
    struct kb_key key;
    if (kb_key_parse(change->key, &key, NULL) == 0)
        kb_objects_core_priority(objects->core, key.name,
                                 change->op == KB_PUT ? change->doc : (kb_val){0});
    if (change->op == KB_DEL && kb_str_starts(key.name, "system-"))
        boot_from_start(objects);
}

static void on_account(void *user, const struct kb_change *change)
{
    struct kb_objects *objects = user;
    struct kb_key key;
    if (kb_key_parse(change->key, &key, NULL) == 0)
        kb_objects_core_account(objects->core, key.ns, key.name, change->op == KB_PUT);
}

static const struct kb_view_handlers account_handlers = {.change = on_account};
static const struct kb_view_handlers priority_handlers = {.change = on_priority};
static const struct kb_view_handlers namespace_handlers = {.change = on_namespace};
static const struct kb_view_handlers kubernetes_handlers = {.change = on_kubernetes};

/* ---- bootstrap ---- */

static void boot(void *user);

static void boot_later(struct kb_objects *objects)
{
    objects->boot_timer.fn = boot;
    objects->boot_timer.user = objects;
    kb_loop_timer_set(kb_actor_loop(objects->actor), &objects->boot_timer, BOOT_RETRY_MS);
}

static void on_boot(void *user, const struct kb_object_reply *reply)
{
    struct kb_objects *objects = user;
    bool there = !reply->failed || reply->code == 409;
    objects->boot_at += there;
    if (there) {
        boot(objects);
        return;
    }
    kb_str message = kb_val_str(kb_val_get(reply->doc, "message"));
    kb_warn("bootstrap step %zu: %d " KB_STR_FMT, objects->boot_at, reply->code,
            KB_STR_ARG(message));
    boot_later(objects);
}

static void on_declared(void *user, const struct kb_err *err, kb_val body)
{
    struct kb_objects *objects = user;
    (void)body;
    objects->declared = err == NULL;
    if (err)
        boot_later(objects);
    else
        boot(objects);
}

static void write_indices(const struct kb_kind *kind, struct kb_w *w)
{
    kb_w_map(w);
    kb_w_kstr(w, "resource", kind->resource);
    kb_w_karray(w, "indices");
    for (size_t i = 0; i < kind->nindices; i++) {
        kb_w_map(w);
        kb_w_kstr(w, "name", kind->indices[i].name);
        if (kind->indices[i].controller)
            kb_w_kcstr(w, "path", "@owner");
        else
            kb_w_kstr(w, "path", kind->indices[i].path);
        kb_w_end(w);
    }
    kb_w_end(w);
    kb_w_end(w);
}

static void declare(struct kb_objects *objects)
{
    KB_AUTO(kb_w_finish) struct kb_w w = {0};
    const struct kb_kinds *kinds = kb_objects_core_kinds(objects->core);
    kb_w_map(&w);
    kb_w_karray(&w, "resources");
    for (size_t i = 0; i < kb_kinds_count(kinds); i++)
        if (kb_kinds_index(kinds, i)->stored)
            write_indices(kb_kinds_index(kinds, i), &w);
    kb_w_end(&w);
    kb_w_end(&w);
    kb_call(objects->store, "store.declare", kb_w_val(&w), KB_OBJECTS_TIMEOUT_MS, on_declared,
            objects);
}

static void booted(struct kb_objects *objects)
{
    void (*done)(void *user) = objects->booted;
    objects->booting = false;
    objects->booted = NULL;
    if (done)
        done(objects->booted_user);
    if (objects->boot_again)
        boot_from_start(objects);
}

static void boot_from_start(struct kb_objects *objects)
{
    objects->boot_again = objects->booting;
    if (objects->booting || !objects->declared)
        return;
    objects->booting = true;
    objects->boot_at = 0;
    boot(objects);
}

/* One step after the other; each is idempotent. */
static void boot(void *user)
{
    struct kb_objects *objects = user;
    KB_AUTO(kb_arena_finish) struct kb_arena arena = {0};
    struct kb_object_request request;
    if (!objects->declared)
        declare(objects);
    else if (kb_objects_core_bootstrap(objects->core, objects->boot_at, &arena, &request))
        kb_objects_do(objects, &request, on_boot, objects);
    else
        booted(objects);
}

void kb_objects_bootstrap(struct kb_objects *objects, void (*done)(void *user), void *user)
{
    objects->booted = done;
    objects->booted_user = user;
    objects->booting = true;
    boot(objects);
}

/* ---- life ---- */

struct kb_objects *kb_objects_new(struct kb_actor *actor, const struct kb_kinds *kinds,
                                  const struct kb_objects_config *config)
{
    struct kb_objects *objects = calloc(1, sizeof(*objects));
    KB_ASSERT(objects != NULL);
    objects->actor = actor;
    objects->store = kb_actor_peer(actor, "store");
    objects->core = kb_objects_core_new(kinds, config);
    kb_list_init(&objects->tasks);
    kb_list_init(&objects->collections);
    objects->namespaces = kb_view_open(actor, "namespaces", NULL, &namespace_handlers, objects);
    objects->kubernetes = kb_view_open(actor, "services?name=kubernetes&ns=default", NULL,
                                       &kubernetes_handlers, objects);
    objects->priorities =
        kb_view_open(actor, "priorityclasses.scheduling.k8s.io", NULL, &priority_handlers, objects);
    objects->accounts = kb_view_open(actor, "serviceaccounts", NULL, &account_handlers, objects);
    kb__objects_serve(objects);
    return objects;
}

void kb_objects_destroy(struct kb_objects **objects_p)
{
    struct kb_objects *objects = KB_STEAL(*objects_p);
    if (objects == NULL)
        return;
    kb_loop_timer_stop(kb_actor_loop(objects->actor), &objects->boot_timer);
    kb__collections_destroy(objects);
    while (!kb_list_empty(&objects->tasks)) {
        struct kb_task *task = KB_CONTAINER(objects->tasks.next, struct kb_task, link);
        if (task->call)
            kb_call_cancel(objects->store, task->call);
        task_free(task);
    }
    kb_view_close(&objects->namespaces);
    kb_view_close(&objects->kubernetes);
    kb_view_close(&objects->priorities);
    kb_view_close(&objects->accounts);
    kb_objects_core_destroy(&objects->core);
    free(objects);
}
