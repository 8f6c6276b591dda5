/* A scheduler without its shell, in virtual time, against a store of a few lines: what it wishes is
 * written if the revision is still current, and every change comes back as from a view. */
#ifndef KUBUS_TESTS_UNIT_SCHEDULER_WORLD_H
#define KUBUS_TESTS_UNIT_SCHEDULER_WORLD_H

#include "actors/scheduler/scheduler_core.h"
#include "bus/base/rand.h"
#include "tests/lib/policy.h"

struct object {
    char key[64];
    int64_t rev;
    struct kb_doc *doc; /* NULL: deleted */
};

struct change {
    struct kb_link link;
    char key[64];
    int64_t rev;
    struct kb_doc *doc;
};

struct reply {
    struct kb_link link;
    char key[64];
    uint64_t attempt;
    enum kb_sched_wish_kind kind;
    int rc;
    int64_t rev;
};

struct world {
    struct object objects[256];
    int n;
    int64_t rev;
    kb_ms now;
    struct kb_link changes, replies;
    const struct kb_policy *const *policies; /* beside those of the default profile */
    size_t policies_n;
    struct kb_sched *sched;
    struct kb_sched_out out;
    int events, evictions;
    void (*evicting)(struct world *w, const char *key); /* called before each; may be NULL */
    char last_event[512];
    struct kb_rand rand;
    uint64_t lose; /* one answer, and one write, in so many is lost; 0: none */
};

/* With the default profile, or with a policy more. */
void world_start(struct world *w);
void world_start_with(struct world *w, const struct kb_policy *const *policies, size_t n);
/* For a story in random order: a printed seed, and `lose` as below. Returns the story's own
 * generator. */
struct kb_rand world_start_random(struct world *w, uint64_t lose);
void world_end(struct world *w);
/* Kill -9, and a new one that is told all that the store has before it decides anything. */
void world_restart(struct world *w);

struct object *world_find(struct world *w, const char *key); /* made when it is not there */
void world_store(struct world *w, const char *key, struct kb_doc *doc); /* takes it; NULL deletes */
void world_store_json(struct world *w, const char *key, const char *json);
/* The same, as printf writes it. */
void world_store_text(struct world *w, const char *key, const char *format, ...) KB_PRINTF(3, 4);
/* nodes//NAME with so much CPU ("2", "500m"), 8Gi and room for 100 pods. */
void world_node(struct world *w, const char *name, const char *cpu);
/* pods/x/NAME that requests so much CPU; `more` stands in its spec: "" or "'priority': 10,". */
void world_pod(struct world *w, const char *name, const char *cpu, const char *more);
/* The node n1 with so much CPU, the pod p that requests 1, and what comes of it. */
void world_try_one(struct world *w, const char *cpu);

/* The text at a path of an object; valid until the next call. */
const char *world_text_of(struct world *w, const char *key, const char *path);
/* A pod's node; what its condition says. */
const char *world_where(struct world *w, const char *pod);
const char *world_message(struct world *w, const char *pod);

/* What is being deleted is gone: the agent of its node has ended it. */
bool world_end_evicted(struct world *w);

/* One step each; false: nothing was under way. */
bool world_tell_change(struct world *w);
bool world_tell_reply(struct world *w);
void world_perform(struct world *w); /* carry the wishes out, as the store would */
void world_wait_ms(struct world *w, kb_ms ms);
void world_settle(struct world *w);          /* until nothing is under way and nothing is due */
void world_after(struct world *w, kb_ms ms); /* wait and settle */

/* A story in random order: so many steps, each one of those above, a decision of a few pods, or a
 * little time; one in nine is `happens`. After each `check`, unless it is NULL. */
void world_walk(struct world *w, struct kb_rand *rand, int steps,
                void (*happens)(struct world *w, struct kb_rand *rand),
                void (*check)(struct world *w));
/* Nothing is lost any more, and time passes until no back-off is left. */
void world_calm(struct world *w);

#endif
