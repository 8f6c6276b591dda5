/* The shell of the scheduler: follows nodes and pods, lets the core decide in batches, writes
 * bindings straight to the store, each with a condition on the pod's revision and many under way at
 * once. */
#ifndef KUBUS_SCHEDULER_SCHEDULER_ACTOR_H
#define KUBUS_SCHEDULER_SCHEDULER_ACTOR_H

#include "bus/base/err.h"

#include <stdint.h>

struct kb_actor;
struct kb_sched_actor;

/* Begin on an actor that has joined the bus; reports ready once it has seen all nodes and pods.
 * Borrows the actor. Never NULL. */
struct kb_sched_actor *kb_sched_actor_new(struct kb_actor *actor, uint64_t seed);
void kb_sched_actor_destroy(struct kb_sched_actor **a_p); /* before the actor */

#endif
