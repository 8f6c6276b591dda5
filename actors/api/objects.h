/* The object service: every write of an object, over HTTP and over the bus, goes through here.
 *
 * A request is decoded, defaulted, admitted, validated and made a transaction of the store by the
 * core (objects_core.h, pure); this shell reads what the core asks for and sends what it decides,
 * pipelined over the bus, and repeats what lost a race where Kubernetes would. Reads (get, list,
 * watch) do not come here: they go to the store's views, except for `get` of the subresource scale.
 *
 * It also serves these calls on the bus (docs/protocol.md, 7): object.create, update, patch,
 * delete, deletecollection, bind. */
#ifndef KUBUS_API_OBJECTS_H
#define KUBUS_API_OBJECTS_H

#include "actors/api/status.h"

struct kb_actor;
struct kb_objects;

struct kb_objects_config {
    const char *service_cidr;            /* NULL: "10.96.0.0/16" */
    int node_port_first, node_port_last; /* 0: 30000 to 32767 */
    kb_str api_address; /* of the gateway, for the `kubernetes` Service: "127.0.0.1:6443" */
    uint64_t seed;      /* of names, uids and addresses; 0: from the system */
};

/* Attach to an actor; serves the bus calls. `kinds` is borrowed. Never NULL. */
struct kb_objects *kb_objects_new(struct kb_actor *actor, const struct kb_kinds *kinds,
                                  const struct kb_objects_config *config);
void kb_objects_destroy(struct kb_objects **objects_p); /* callbacks under way will not run */
/* Declare the indices of all kinds to the store and make what every cluster has: namespaces
 * default, kube-system, kube-public, kube-node-lease, their ServiceAccounts, the Service
 * `kubernetes`. Idempotent. `done` comes when all is there; until then it tries again. */
void kb_objects_bootstrap(struct kb_objects *objects, void (*done)(void *user), void *user);

enum kb_body_type { KB_BODY_NONE, KB_BODY_JSON, KB_BODY_YAML, KB_BODY_DOC };
enum kb_patch_type { KB_PATCH_JSON, KB_PATCH_MERGE_JSON, KB_PATCH_STRATEGIC };
enum kb_validation { KB_VALIDATION_WARN, KB_VALIDATION_STRICT, KB_VALIDATION_IGNORE };
enum kb_propagation {
    KB_PROPAGATION_DEFAULT,
    KB_PROPAGATION_BACKGROUND,
    KB_PROPAGATION_FOREGROUND,
    KB_PROPAGATION_ORPHAN,
};

/* Zero-initialize, then set what applies. All texts are borrowed until kb_objects_do returns. */
struct kb_object_request {
    unsigned verb; /* KB_VERB_CREATE, UPDATE, PATCH, DELETE, DELETECOLLECTION; GET for scale */
    const struct kb_kind *kind;
    kb_str ns, name;    /* of the URL; name empty on create and deletecollection */
    kb_str subresource; /* "", "status", "scale", "binding", "finalize", "ephemeralcontainers", … */

    enum kb_body_type body_type; /* of a create, update, patch; DeleteOptions of a delete */
    kb_str body;                 /* JSON, YAML */
    kb_val doc;                  /* DOC */
    enum kb_patch_type patch;    /* of a PATCH */

    bool dry_run;
    enum kb_validation validation;
    kb_str manager; /* field manager */
    kb_str user;    /* who asks, for messages */

    /* Of a delete, beside those in a body (the body wins): */
    bool has_grace;
    int64_t grace_s;
    enum kb_propagation propagation;
    kb_str uid;  /* precondition */
    int64_t rev; /* expected revision, 0: any */

    /* Only while this lease is held with this epoch; empty: whatever happens. */
    kb_str lease;
    int64_t epoch;

    bool last_state; /* a removal answers with the object's last state, not with a Status */

    kb_str label_selector, field_selector; /* of a deletecollection */
};

/* The end of a request. Everything is borrowed until the callback returns. */
struct kb_object_reply {
    int code; /* HTTP: 200, 201, 202, or that of the failure */
    /* What to answer with: the object, or a Status object (failures; some deletes). Complete with
     * apiVersion and kind. */
    kb_val doc;
    /* > 0: the object's revision: write it as metadata.resourceVersion (kb_json_write_object).
     * 0: write `doc` as it is. */
    int64_t rev;
    kb_str key; /* of the object in the store; empty for a Status */
    bool failed;
    bool fenced;            /* it failed because the request's lease is not held with its epoch */
    const kb_str *warnings; /* one `Warning: 299 - "…"` header each */
    size_t nwarnings;
    int64_t retry_after_s; /* > 0: header Retry-After */
};
typedef void kb_object_done_fn(void *user, const struct kb_object_reply *reply);

/* Carry a request out. `done` is called exactly once, never from inside this function unless
 * the request is wrong in itself. Returns an id for kb_objects_cancel, 0 when `done` was called
 * already. */
uint64_t kb_objects_do(struct kb_objects *objects, const struct kb_object_request *request,
                       kb_object_done_fn *done, void *user);
/* Forget a request: its callback will not run. What was sent to the store may still happen. */
void kb_objects_cancel(struct kb_objects *objects, uint64_t id);

#endif
