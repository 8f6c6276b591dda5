/* A cluster for tests of controllers: a store in memory, the writes of the API in small, and time
 * that jumps to what is due next. Installed as <kubus/harness.h> for authors of plugins.
 *
 *     struct kb_harness *h = kb_harness_new(7);
 *     kb_harness_load(h, "build/lib/kubus/plugins/replicaset.so");
 *     kb_harness_apply(h, "apiVersion: apps/v1\nkind: ReplicaSet\n…");
 *     kb_harness_settle(h);
 *     KB_CHECK_U64(kb_harness_count(h, "pods", "shop"), ==, 3);
 *
 * What it does as Kubernetes: names from generateName, uids, creationTimestamp, generation,
 * preconditions, status as a subresource, merge patches, finalizers, graceful deletion of pods,
 * namespaces that end once their finalizers are gone. What it does not: admission, validation; it
 * fills defaults with the built-in schemas. A harness without a kubelet can play one, see below. */
#ifndef KUBUS_RUNTIME_HARNESS_H
#define KUBUS_RUNTIME_HARNESS_H

#include <kubus/plugin.h>

struct kb_harness;

KB_API struct kb_harness *kb_harness_new(uint64_t seed);
KB_API void kb_harness_destroy(struct kb_harness **h_p);
/* Add a controller: a shared object, or a descriptor. Failing to load ends the program. */
KB_API void kb_harness_load(struct kb_harness *h, const char *path);
KB_API void kb_harness_add(struct kb_harness *h, const struct kb_plugin *plugin);
/* Kill a controller and start it anew, with an empty memory. */
KB_API void kb_harness_restart(struct kb_harness *h, const char *name);
KB_API void kb_harness_stop(struct kb_harness *h,
                            const char *name); /* kb_harness_restart undoes it */

/* ---- time ---- */
KB_API kb_ms kb_harness_now_ms(const struct kb_harness *h); /* since the start */
/* Let so much time pass, with everything that happens in it. */
KB_API void kb_harness_run(struct kb_harness *h, kb_ms ms);
/* Until nothing is left to do at this time; timers that wait stay waiting. */
KB_API void kb_harness_settle(struct kb_harness *h);

/* ---- what a user does; texts are YAML or JSON; a failure ends the program ---- */
/* Create, or replace all but the status. Returns the key, valid until the next call. */
KB_API const char *kb_harness_apply(struct kb_harness *h, const char *text);
/* Straight into the store, JSON of whatever shape: what admission would not let in. */
KB_API void kb_harness_force(struct kb_harness *h, const char *key, const char *json);
/* Merge patch of the object at "deployments.apps/shop/web"; `subresource` may be NULL. */
KB_API void kb_harness_patch(struct kb_harness *h, const char *key, const char *subresource,
                             const char *patch);
/* `propagation` may be NULL. No error when it is not there. */
KB_API void kb_harness_delete(struct kb_harness *h, const char *key, const char *propagation);

/* ---- what is there; values are valid until the store changes ---- */
KB_API kb_val kb_harness_get(const struct kb_harness *h, const char *key); /* or KB_NONE */
KB_API int64_t kb_harness_rev(const struct kb_harness *h);
/* Number of objects; `ns` NULL: all. */
KB_API size_t kb_harness_count(const struct kb_harness *h, const char *resource, const char *ns);
/* Objects in order of key: for (i = 0; kb_harness_next(h, "pods", "shop", &i, &key, &doc);) */
KB_API bool kb_harness_next(const struct kb_harness *h, const char *resource, const char *ns,
                            size_t *cursor, const char **ret_key, kb_val *ret_doc);
/* Number of events with this reason, counts summed. */
KB_API int64_t kb_harness_events(const struct kb_harness *h, const char *reason);
/* Writes that controllers have done so far, events not counted. */
KB_API uint64_t kb_harness_writes(const struct kb_harness *h);

/* ---- the world around ---- */
/* A scheduler and a kubelet in one: pods get the node "n1" and run `ready_ms` after they appear,
 * and go at once when deleted. Negative: off, the default. */
KB_API void kb_harness_play_nodes(struct kb_harness *h, kb_ms ready_ms);
/* The next `times` calls on the resource fail so ("object.create", "pods"). */
KB_API void kb_harness_fail(struct kb_harness *h, const char *method, const char *resource,
                            int code, int times);
/* The next `times` calls on the resource are carried out, but answered with Timeout. */
KB_API void kb_harness_lose_answers(struct kb_harness *h, const char *resource, int times);

#endif
