/* A controller in one page: what a plugin exports, and what its reconcile function may call.
 *
 * ABI changelog (KB_PLUGIN_ABI; fields are only ever appended to struct kb_plugin within one)
 *   1  first; later: on_demand
 *
 * A plugin is one shared object with one descriptor:
 *
 *     static kb_result reconcile(kb_controller *c, kb_key key)
 *     {
 *         const struct kb_object *web = kb_get(c, "deployments.apps", key.ns, key.name);
 *         …
 *         return 0;
 *     }
 *
 *     KB_CONTROLLER("pdb-lite",
 *         .primary   = "pods",
 *         .owns      = {"leases.coordination.k8s.io"},
 *         .writes    = {"leases.coordination.k8s.io"},
 *         .reconcile = reconcile);
 *
 * `reconcile` is called with the key of a primary object that was created, changed or deleted, or
 * of which something owned or watched changed. It compares what is desired with what the cache
 * shows, and records *wishes*: it never blocks and never calls anybody. The runtime carries the
 * wishes out after it returned, and does not call it for this key again before all of them are
 * answered and visible in its cache. So it need not remember what it has under way: it may be
 * called at any time, again and again, and a run that finds nothing to do records nothing.
 *
 * Everything is single-threaded. What the cache gives is valid until reconcile returns, and so is
 * what lies in kb_arena(c). */
#ifndef KUBUS_PLUGIN_H
#define KUBUS_PLUGIN_H

#include "bus/base/check.h"
#include "bus/base/clock.h"
#include "bus/base/map.h"
#include "bus/base/rand.h"
#include "bus/model/json.h"
#include "bus/model/key.h"
#include "bus/model/meta.h"
#include "bus/model/placement.h"
#include "bus/model/quantity.h"
#include "bus/model/selector.h"

#define KB_PLUGIN_ABI 1u

enum { KB_PLUGIN_LIST_MAX = 16 };

typedef struct kb_controller kb_controller;
typedef struct kb_key kb_key;
typedef int kb_result; /* 0, or -KB_E…: the key is tried again after its back-off */

/* An object in the cache. */
struct kb_object {
    kb_key key;
    int64_t rev; /* metadata.resourceVersion, outside */
    kb_val doc;
    uint64_t digest; /* what the watch's digest function made of it; 0 without one */
};

/* What else is followed, beside the primary and what it owns. */
struct kb_plugin_watch {
    const char *resource; /* "nodes"; "*": all kinds there are */
    /* Which keys a change concerns: calls kb_enqueue. `now` is NULL when the object is gone, `old`
     * when it is new. NULL: a change only updates the cache. */
    void (*map)(kb_controller *c, const struct kb_object *now, const struct kb_object *old);
    /* Paths to keep in the cache, separated by spaces ("metadata spec.nodeName status"): the rest
     * of an object is not there for this controller, and changes of it do not wake it. NULL: all;
     * for "*" the part of the metadata that says who and whose an object is. */
    const char *keep;
    /* A path to index by ("spec.nodeName"), or "@owners": the uids of all owner references. See
     * kb_list_indexed. NULL: none. */
    const char *index;
    /* Only a part of the resource: what stands behind the `?` of a view ("ns=kube-node-lease"). */
    const char *query;
    /* Called once for each version of an object: what a run wants to know of many at a glance. */
    uint64_t (*digest)(kb_val doc);
};

struct kb_plugin {
    uint32_t abi, size; /* KB_PLUGIN_ABI and sizeof, as built: set by KB_CONTROLLER */
    const char *name;   /* "replicaset": also the field manager and the source of events */
    /* Resources are named as in store keys: "pods", "replicasets.apps". */
    const char *primary;                  /* its keys are reconciled */
    const char *owns[KB_PLUGIN_LIST_MAX]; /* a change reconciles the primary that controls it */
    struct kb_plugin_watch
        watches[KB_PLUGIN_LIST_MAX]; /* an entry for an owned resource adds to it */
    /* What it writes ("pods", "replicasets.apps/status"); "*": all objects, but no subresources.
     * A wish for anything else is refused with Forbidden. Events need no entry; what it follows it
     * may read. */
    const char *writes[KB_PLUGIN_LIST_MAX];
    kb_result (*reconcile)(kb_controller *c, kb_key key);
    /* May be NULL. Called once before anything else; *ret_user is what kb_user returns. */
    int (*start)(kb_controller *c, void **ret_user, struct kb_err *err);
    void (*stop)(void *user);
    /* Also reconcile every primary key each so often; 0: only on changes and kb_requeue. */
    kb_ms resync_ms;
    /* What it owns and watches is followed only once there is a primary object: a controller that
     * has nothing to do then costs nothing. For one that acts on behalf of such an object alone;
     * before its first run all is in the cache as ever. */
    bool on_demand;
};

/* Exactly one in a shared object. */
#define KB_CONTROLLER(name_, ...)                                                                  \
    KB_API extern const struct kb_plugin kb_plugin_descriptor;                                     \
    const struct kb_plugin kb_plugin_descriptor = {                                                \
        .abi = KB_PLUGIN_ABI, .size = sizeof(struct kb_plugin), .name = name_, __VA_ARGS__}

/* ---- reading the cache: nothing is copied ---- */

/* NULL when it is not there. O(1). */
KB_API const struct kb_object *kb_get(kb_controller *c, const char *resource, kb_str ns,
                                      kb_str name);
/* Lists: an array in the arena, in no particular order. O(found). */
struct kb_objects {
    const struct kb_object **items;
    size_t count;
};
KB_API struct kb_objects kb_list(kb_controller *c, const char *resource);
KB_API struct kb_objects kb_list_ns(kb_controller *c, const char *resource, kb_str ns);
/* Those whose controlling owner has this uid. */
KB_API struct kb_objects kb_list_owned(kb_controller *c, const char *resource, kb_str owner_uid);
/* Those in a namespace that nobody controls. */
KB_API struct kb_objects kb_list_orphans(kb_controller *c, const char *resource, kb_str ns);
/* Those with this value at the path that the watch declares as its index. */
KB_API struct kb_objects kb_list_indexed(kb_controller *c, const char *resource, kb_str value);
/* O(1) for the primary, O(objects) for others. */
KB_API const struct kb_object *kb_get_uid(kb_controller *c, const char *resource, kb_str uid);
/* Follow a view ("pods?ns=shop") for as long as each run for this key asks for it. False: its first
 * listing has not arrived; the key is reconciled when it has, and at every change after that.
 * Objects are then in the cache of the resource, beside those of other views on it. */
KB_API bool kb_need(kb_controller *c, const char *view);
/* How far the cache is complete for a resource (its slowest view): what was committed up to this
 * revision is seen. 0 before the first listing, and for what is not followed. */
KB_API int64_t kb_cache_rev(kb_controller *c, const char *resource);
/* The resources there are: those that a "*" watch follows, which is all but events.
 * NULL-terminated. */
KB_API const char *const *kb_resources(kb_controller *c);
/* What stands about a resource: its apiVersion and kind; false when it is unknown. */
struct kb_resource_info {
    const char *resource, *api_version, *kind;
    bool namespaced;
};
KB_API bool kb_resource_info(kb_controller *c, const char *resource, struct kb_resource_info *ret);
/* The resource of an owner reference or an event's object; NULL when it is unknown. */
KB_API const char *kb_resource_of(kb_controller *c, kb_str api_version, kb_str kind);

/* ---- context ---- */
KB_API void *kb_user(kb_controller *c);
KB_API struct kb_arena *kb_arena(kb_controller *c); /* of this run */
KB_API struct kb_rand *kb_rand(kb_controller *c);
KB_API int64_t kb_now_us(kb_controller *c); /* wall clock */
KB_API kb_ms kb_now_ms(kb_controller *c);   /* monotonic */
/* Why a wish with this tag failed in the run before this one for the same key; NULL: none did. */
KB_API const struct kb_err *kb_failure(kb_controller *c, const char *tag);
/* Reconcile this key again after so long, unless something does earlier. */
KB_API void kb_requeue(kb_controller *c, kb_ms after_ms);
/* Reconcile a key of the primary: from map functions and from reconcile. */
KB_API void kb_enqueue(kb_controller *c, kb_str ns, kb_str name);
/* The same for a controller whose primary is "*". */
KB_API void kb_enqueue_key(kb_controller *c, kb_key key);

/* ---- wishes ---- */
struct kb_wish; /* refine it before reconcile returns */

/* Create; metadata.namespace says where. `object` needs no apiVersion and kind. */
KB_API struct kb_wish *kb_wish_create(kb_controller *c, const char *resource,
                                      const struct kb_node *object);
/* Replace the object, or with `subresource` ("status", "finalize") that part of it. Refused as a
 * conflict when it has changed since `old`; then the key is simply run again. */
KB_API struct kb_wish *kb_wish_update(kb_controller *c, const struct kb_object *old,
                                      const char *subresource, const struct kb_node *object);
/* A JSON merge patch; a null removes. Only if the object still is the same one (uid). */
KB_API struct kb_wish *kb_wish_patch(kb_controller *c, const struct kb_object *of,
                                     const char *subresource, const struct kb_node *patch);
/* Only if the object still is the same one (uid). */
KB_API struct kb_wish *kb_wish_delete(kb_controller *c, const struct kb_object *of);

/* Only if the object has not changed since it was read. */
KB_API void kb_wish_if_unchanged(struct kb_wish *wish);
KB_API void kb_wish_grace(struct kb_wish *wish, int64_t grace_s);
KB_API void kb_wish_propagation(struct kb_wish *wish, const char *policy); /* "Orphan", … */
/* A name for kb_failure. When one fails, what is not yet sent with the same tag is dropped. */
KB_API void kb_wish_tag(struct kb_wish *wish, const char *tag);
/* An event about `about` when the wish succeeds (the %s is the name of the object), and one when it
 * fails (the %s is the error). Either reason may be NULL. Texts must be literals. */
KB_API void kb_wish_events(struct kb_wish *wish, const struct kb_object *about,
                           const char *ok_reason, const char *ok_format, const char *failed_reason,
                           const char *failed_format);
/* An event now. `type` is "Normal" or "Warning". Similar ones are counted, floods are cut. */
KB_API void kb_event(kb_controller *c, const struct kb_object *about, const char *type,
                     const char *reason, const char *format, ...) KB_PRINTF(5, 6);

#endif
