/* What the files of the harness share. Private to this folder. */
#ifndef KUBUS_RUNTIME_HARNESS_IMPL_H
#define KUBUS_RUNTIME_HARNESS_IMPL_H

#include "actors/runtime/core.h"
#include "actors/runtime/harness.h"
#include "actors/runtime/resources.h"

#include "bus/base/timers.h"
#include "bus/model/kind.h"

/* One object of the store. */
struct hobject {
    char *key;
    struct kb_doc *doc;
    int64_t rev;
};

struct hstore {
    struct hobject *items; /* sorted by key */
    size_t count, cap;
    int64_t rev;
    int64_t wall_us;
    struct kb_rand rand;
    struct kb_kinds *kinds;
    /* Told of every commit; `doc` is the new state, or the last one when gone. */
    void (*commit)(void *user, const char *key, bool gone, int64_t rev, kb_val doc);
    void *user;
};

void kb__hstore_init(struct hstore *s, uint64_t seed);
void kb__hstore_finish(struct hstore *s);
const struct hobject *kb__hstore_get(const struct hstore *s, const char *key);
/* Carry out one call of docs/protocol.md section 7; the result's body into *ret. */
int kb__hstore_call(struct hstore *s, const char *method, kb_val body, struct kb_doc **ret,
                    struct kb_err *err);
/* Replace as a node agent would: anything may change. */
void kb__hstore_force(struct hstore *s, const char *key, const struct kb_node *object);
void kb__hstore_remove(struct hstore *s, const char *key);
void kb__merge_patch(struct kb_arena *a, struct kb_node *target, const struct kb_node *patch);

#endif
