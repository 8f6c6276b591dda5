/* The shell of a controller: its core on the bus. */
#ifndef KUBUS_RUNTIME_HOST_H
#define KUBUS_RUNTIME_HOST_H

#include "actors/runtime/core.h"
#include "bus/actor.h"

struct kb_host;

/* Run `plugin` in the actor, which must not run yet. The actor becomes ready once all that the
 * plugin follows has been listed. The lease `controller/ACTOR` is its own; `lease` of the
 * configuration is not looked at. */
int kb_host_new(struct kb_actor *actor, const struct kb_core_config *config,
                struct kb_host **ret_host, struct kb_err *err);
void kb_host_destroy(struct kb_host **host_p);

#endif
