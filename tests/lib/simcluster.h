/* A whole cluster in one process and in virtual time: the real store, object service, scheduler and
 * controllers, each an actor on a host of its own in a simulated network, and agents that only
 * pretend to run pods. Hosts are named as the actors are. Everything repeats by seed, but for the
 * store's disk, which is real. */
#ifndef KUBUS_TESTS_LIB_SIMCLUSTER_H
#define KUBUS_TESTS_LIB_SIMCLUSTER_H

#include "bus/model/doc.h"
#include "bus/transport_sim.h"

struct simcluster;

/* Store, api, scheduler, these controllers (plugins in `plugins_dir`; NULL-terminated) and nodes
 * n1 … nN, all started, the cluster's first objects made. */
struct simcluster *simcluster_new(uint64_t seed, const char *plugins_dir,
                                  const char *const *controllers, int nodes);
void simcluster_destroy(struct simcluster **c_p);

struct kb_sim *simcluster_sim(struct simcluster *c);
size_t simcluster_count(const struct simcluster *c); /* actors */
const char *simcluster_name(const struct simcluster *c, size_t i);
/* End an actor, as kill -9 does but for the store, which closes its files; start it again. */
void simcluster_kill(struct simcluster *c, const char *name);
void simcluster_start(struct simcluster *c, const char *name);
bool simcluster_runs(const struct simcluster *c, const char *name);

/* Call with a body in JSON and wait; the call is repeated while its service is away or time runs
 * out, so it must be harmless to repeat. NULL when it was refused: *ret_code says why. Caller
 * destroys. */
struct kb_doc *simcluster_call(struct simcluster *c, const char *service, const char *method,
                               int *ret_code, const char *json);
/* store.list of a view, all of it. Caller destroys. */
struct kb_doc *simcluster_list(struct simcluster *c, const char *view);

#endif
