/* The store on the bus: the shell around store_core. */
#ifndef KUBUS_STORE_STORE_ACTOR_H
#define KUBUS_STORE_STORE_ACTOR_H

#include "bus/actor.h"
#include "store/store_core.h"

struct kb_store;

/* Serve the store's methods and views by `actor` (made with `publishes`), keeping the data in
 * `dir`. `engine` may be NULL fields: see kb_engine_config; its `dir` is ignored. The actor is not
 * yet said to be ready. */
int kb_store_start(struct kb_actor *actor, const char *dir, const struct kb_engine_config *engine,
                   const struct kb_store_config *config, struct kb_store **ret_store,
                   struct kb_err *err);
/* The actor is to be destroyed right after: it would still hand requests over. */
void kb_store_destroy(struct kb_store **store_p);
/* Take no more, finish what is under way, bring the database up to date; then kb_actor_stopped. */
void kb_store_stop(struct kb_store *store);
/* The log has failed: the process should end, so that a fresh one finds out what is on the disk. */
bool kb_store_failed(const struct kb_store *store);

#endif
