/* The real store on an actor of a simulated cluster. (Apart from simcluster.c because the headers
 * of store and plugins do not stand one another in one file.) */
#ifndef KUBUS_TESTS_LIB_SIMSTORE_H
#define KUBUS_TESTS_LIB_SIMSTORE_H

struct kb_actor;
struct kb_store;

struct kb_store *simstore_start(struct kb_actor *actor, const char *dir);
void simstore_stop(struct kb_store **store_p);

#endif
