/* The shell of the scheduler: follows nodes and pods, lets the core decide in batches, writes
 * bindings straight to the store, each with a condition on the pod's revision and many under way at
 * once. */
#ifndef KUBUS_SCHEDULER_SCHEDULER_ACTOR_H
#define KUBUS_SCHEDULER_SCHEDULER_ACTOR_H

#include "bus/base/err.h"

#include <stdint.h>

struct kb_actor;
struct kb_sched_actor;
struct kb_guard_page;
struct kb_watchdog_found;

/* Begin on an actor that has joined the bus; reports ready once it has seen all nodes and pods.
 * Borrows the actor. Never NULL. */
struct kb_sched_actor *kb_sched_actor_new(struct kb_actor *actor, uint64_t seed);
/* See kb_sched_share. Before the actor runs. */
void kb_sched_actor_share(struct kb_sched_actor *a, uint32_t share, uint32_t shares);
/* See kb_sched_live_guard. */
void kb_sched_actor_guard(struct kb_sched_actor *a, struct kb_guard_page *page,
                          const struct kb_watchdog_found *found);
/* Write down what it is told and decides: see record.h. Right after new, with the same seed. */
int kb_sched_actor_record(struct kb_sched_actor *a, uint64_t seed, const char *path,
                          struct kb_err *err);
void kb_sched_actor_destroy(struct kb_sched_actor **a_p); /* before the actor */

#endif
