/* Inside of the object service's shell: what its files share. */
#ifndef KUBUS_API_OBJECTS_SHELL_H
#define KUBUS_API_OBJECTS_SHELL_H

#include "actors/api/objects_core.h"
#include "bus/actor.h"
#include "bus/base/list.h"
#include "bus/loop.h"

enum { KB_OBJECTS_TIMEOUT_MS = 30000 };

struct kb_objects {
    struct kb_actor *actor;
    struct kb_peer *store;
    struct kb_objects_core *core;
    struct kb_view *namespaces, *kubernetes, *priorities, *accounts;
    struct kb_link tasks; /* struct kb_task: requests under way */
    struct kb_link collections;
    uint64_t last_id;

    size_t boot_at; /* bootstrap: the request that is next */
    bool declared, booting;
    bool boot_again; /* something of it was deleted meanwhile */
    void (*booted)(void *user);
    void *booted_user;
    struct kb_loop_timer boot_timer;
};

/* One request under way: an op and the call to the store that it waits for. */
struct kb_task {
    struct kb_link link;
    struct kb_objects *objects;
    struct kb_object_op *op;
    uint64_t id, call;
    kb_object_done_fn *done;
    void *user;
};

int64_t kb__objects_now_us(const struct kb_objects *objects);
/* A task for an op that exists already, in whatever state. */
void kb__task_start(struct kb_objects *objects, struct kb_object_op *op, uint64_t id,
                    kb_object_done_fn *done, void *user);
/* A deletecollection. False: `done` was called already. */
bool kb__collection_start(struct kb_objects *objects, const struct kb_object_request *request,
                          uint64_t id, kb_object_done_fn *done, void *user);
bool kb__collection_cancel(struct kb_objects *objects, uint64_t id);
void kb__collections_destroy(struct kb_objects *objects);
/* The methods object.*. */
void kb__objects_serve(struct kb_objects *objects);

#endif
