/* The object service's core with a store in memory: requests in JSON, answers in JSON. */
#ifndef KUBUS_TESTS_OBJECTS_FIXTURE_H
#define KUBUS_TESTS_OBJECTS_FIXTURE_H

#include "actors/api/objects_core.h"
#include "tests/lib/test.h"

struct cluster;

/* With the namespaces and services of a fresh cluster. Time starts at 2024-01-01T00:00:00Z. */
struct cluster *cluster_new(void);
void cluster_destroy(struct cluster **cluster_p);
void cluster_advance(struct cluster *cluster, int64_t seconds);

struct answer {
    int code;
    int64_t rev;
    struct kb_doc *doc;
    size_t warnings;
    char warning[256]; /* the first */
};

/* Carry out a request and keep the answer until the next one. `target` is RESOURCE/NS/NAME, as a
 * key, with a "#subresource" behind it; `json` may be NULL. */
const struct answer *cluster_do(struct cluster *cluster, unsigned verb, const char *target,
                                const char *json);
/* The same with everything said. */
const struct answer *cluster_request(struct cluster *cluster,
                                     const struct kb_object_request *request);
/* What cluster_do starts from: set more, then cluster_request. */
struct kb_object_request cluster_target(struct cluster *cluster, unsigned verb, const char *target,
                                        const char *json);
/* Before the next commit is judged, do this in the store: a race. Once. */
void cluster_race(struct cluster *cluster, void (*fn)(struct cluster *cluster));

/* Gone from the store by another writer's doing, and no view has shown it. */
void cluster_drop(struct cluster *cluster, const char *key);
/* In the store: KB_NONE when not there. */
kb_val cluster_get(struct cluster *cluster, const char *key);
size_t cluster_count(struct cluster *cluster, const char *prefix);
struct kb_objects_core *cluster_core(struct cluster *cluster);

/* Text at a path of the answer; a number as its text; "" when absent. Until the next call. */
const char *answer_at(const struct answer *answer, const char *path);

#endif
