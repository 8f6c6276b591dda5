/* A simulated network with a virtual clock: many actors in one process, one thread, repeatable by
 * seed. It does to messages what real networks and ZeroMQ do, and no more:
 *
 *   - a connection keeps order, delays vary; between connections nothing is ordered;
 *   - calls are lost only when their connection breaks (what is in flight, both ways), and the
 * client is told;
 *   - published events are also dropped, singly or when the follower is too far behind;
 *   - a partition stops everything between two hosts; connections break after a while.
 *
 *     struct kb_sim *sim = kb_sim_new(seed);
 *     config.transport = kb_sim_transport(sim, "host-a");    one per actor; the actor borrows it
 *     kb_sim_run_until(sim, condition, user, 60000);          virtual milliseconds
 */
#ifndef KUBUS_BUS_TRANSPORT_SIM_H
#define KUBUS_BUS_TRANSPORT_SIM_H

#include "bus/base/clock.h"
#include "bus/base/rand.h"
#include "bus/transport.h"

struct kb_sim;

struct kb_sim_link {
    kb_ms delay_min_ms, delay_max_ms;
    double drop;    /* of a published event, 0 to 1 */
    double breaks;  /* of the connection, with each message, 0 to 1 */
    size_t backlog; /* events in flight to one follower, beyond which they are dropped; 0: 20000 */
};

struct kb_sim *kb_sim_new(uint64_t seed);
/* After all its actors. */
void kb_sim_destroy(struct kb_sim **sim_p);
/* A transport for one actor on this host. Owned by the simulation. */
struct kb_transport *kb_sim_transport(struct kb_sim *sim, const char *host);
struct kb_loop *kb_sim_loop(struct kb_sim *sim);
struct kb_rand *kb_sim_rand(struct kb_sim *sim);
kb_ms kb_sim_now(const struct kb_sim *sim);

/* How messages between two hosts fare, both ways; NULL hosts: the default for all (1 ms). */
void kb_sim_set_link(struct kb_sim *sim, const char *a, const char *b,
                     const struct kb_sim_link *link);
void kb_sim_partition(struct kb_sim *sim, const char *a, const char *b, bool cut);

/* Run until the condition holds (true) or that much virtual time is over (false). */
bool kb_sim_run_until(struct kb_sim *sim, bool (*condition)(void *user), void *user,
                      kb_ms limit_ms);
void kb_sim_run_for(struct kb_sim *sim, kb_ms ms);

#endif
