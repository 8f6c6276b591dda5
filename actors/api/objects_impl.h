/* Inside of the object service's core: what its files and the logic of kinds share. */
#ifndef KUBUS_API_OBJECTS_IMPL_H
#define KUBUS_API_OBJECTS_IMPL_H

#include "actors/api/objects_core.h"
#include "bus/base/clock.h"
#include "bus/base/limits.h"
#include "bus/base/map.h"
#include "bus/base/rand.h"
#include "bus/model/key.h"

struct kb_logic;

struct kb_objects_core {
    const struct kb_kinds *kinds;
    struct kb_rand rand;
    struct kb_map namespaces; /* name → a static word: ns_active or ns_terminating */
    struct kb_map priorities; /* name → struct kb_priority */
    struct kb_map accounts;   /* of the ServiceAccounts "NS/NAME" → a static word */
    uint32_t service_net;     /* host order */
    int service_bits;         /* of the prefix */
    int node_port_first, node_port_last;
    kb_str api_address; /* heap, terminated */
    struct kb_object_op *free_ops;
    size_t nfree;
};

/* One more operation of the transaction, beside that on the object. */
struct kb_extra {
    bool del;
    bool dropped; /* not needed after all */
    bool chosen;  /* by us: when it is taken, another one will do */
    kb_str key;
    struct kb_node *doc; /* of a put */
    int64_t rev;         /* of a put: written only over this revision; 0: only if absent */
    struct kb_extra *next;
};

enum kb_op_stage {
    KB_STAGE_NAMESPACE, /* reads the namespace of a create */
    KB_STAGE_ACCOUNT,   /* reads the ServiceAccount of a pod's create */
    KB_STAGE_CURRENT,   /* reads the object */
    KB_STAGE_BUDGETS,   /* lists the budgets of an evicted pod's namespace */
    KB_STAGE_COMMIT,
    KB_STAGE_DONE,
};

struct kb_object_op {
    struct kb_objects_core *core;
    struct kb_object_op *next_free;
    struct kb_arena arena;
    struct kb_object_request req; /* texts in the arena */
    const struct kb_kind *kind;
    const struct kb_logic *logic; /* or NULL */
    int64_t now_us;
    char now[KB_TIME_BYTES];
    enum kb_op_stage stage;
    unsigned tries;
    char read_key[KB_KEY_MAX_BYTES + 1];

    struct kb_node *body; /* parsed; decoded by its own schema where it is a whole object */

    bool found;
    int64_t old_rev;
    kb_val old_val; /* in the arena */
    struct kb_node *old;

    struct kb_node *obj; /* what shall be */
    bool removes;        /* the commit removes the object instead of writing it */
    bool replies_status; /* answer with a Status instead of the object */
    bool replies_scale;
    bool generated_name; /* ours to change */
    bool fenced;         /* refused for its lease */
    bool decoded;        /* op->body was decoded as a whole object */
    int success_code;

    bool evicts;            /* a deletion that a budget must allow */
    struct kb_node *budget; /* the first that is about the pod, or NULL */
    kb_str budget_key;
    int64_t budget_rev;
    size_t nbudgets;   /* that are about the pod */
    kb_str list_after; /* the key that the next page of a list begins behind */

    struct kb_extra *extras;
    struct kb_w txn;

    struct kb_causes causes;
    struct kb_unknowns unknowns;
    kb_str *warnings;
    size_t nwarnings, cap_warnings;
    struct kb_status status;
    struct kb_w out; /* the object, or the Status, that is answered */
    struct kb_object_reply reply;
};

/* What a kind does beyond its schema. All members may be NULL. */
struct kb_logic {
    const char *resource;
    bool status_on_create; /* a create may bring a status along */
    bool returns_deleted;  /* a removal answers with the object, not with a Status */
    /* Computed values, admission. op->old is NULL on create. -KB_E… with op->status filled. */
    int (*prepare)(struct kb_object_op *op);
    /* What the schema cannot say: adds to op->causes. */
    void (*validate)(struct kb_object_op *op);
    /* Adds extras for what the object takes (addresses, ports), after validation. */
    int (*allocate)(struct kb_object_op *op);
    /* Adds extras for what a removal gives back. */
    void (*release)(struct kb_object_op *op);
    /* An extra's key was taken by somebody else: choose again, or fail with op->status. */
    int (*taken)(struct kb_object_op *op, kb_str key);
    /* It was written, or (op->removes) is gone: to know of it before the view shows it. */
    void (*committed)(struct kb_object_op *op);
    /* May this object be deleted? -KB_E… with op->status. */
    int (*check_delete)(struct kb_object_op *op);
    /* Grace in seconds for a deletion that asks for `asked` (-1: nothing); < 0: no grace. */
    int64_t (*grace)(struct kb_object_op *op, int64_t asked);
};
const struct kb_logic *kb__logic_of(kb_str resource);

/* What is known of PriorityClasses (logic/priority.c). */
struct kb_priority {
    char *name;
    int64_t value;
    bool global_default, never_preempts;
};
void kb__priorities_finish(struct kb_objects_core *core);
/* Admission of a pod that is being created: its priority from its class. -KB_EFORBIDDEN with
 * op->status. */
int kb__admit_priority(struct kb_object_op *op, struct kb_node *spec);
/* Admission of a pod that is being created: its ServiceAccount is there. False: the op reads it
 * first, and goes on in kb__account_read. True for other kinds. */
bool kb__admit_account(struct kb_object_op *op);
void kb__account_read(struct kb_object_op *op, bool there);
/* The PriorityClasses that every cluster has: the body of a create; NULL after the last one. */
struct kb_node *kb__system_priority(struct kb_arena *a, size_t i);

/* ---- the stages: each ends in a stage of its own ---- */
void kb__op_start_create(struct kb_object_op *op);
void kb__op_create(struct kb_object_op *op); /* namespace is fine */
void kb__op_update(struct kb_object_op *op); /* current is read: update, patch, subresources */
void kb__op_delete(struct kb_object_op *op); /* current is read */
void kb__op_bind(struct kb_object_op *op);
void kb__op_start_evict(struct kb_object_op *op);
void kb__op_evict(struct kb_object_op *op); /* the pod is read */
/* A page of the budgets of its namespace, {key, rev, doc} each. */
void kb__op_budgets(struct kb_object_op *op, kb_val items, bool more);
/* Note in the pod that shall be, op->obj, why it goes. */
void kb__op_mark_evicted(struct kb_object_op *op);
void kb__op_scale(struct kb_object_op *op);

/* ---- tools ---- */

/* End with op->status. Returns a negative code, for `return kb__op_fail(op)`. */
int kb__op_fail(struct kb_object_op *op);
/* Read a key next. */
void kb__op_read_next(struct kb_object_op *op, enum kb_op_stage stage, kb_str resource, kb_str ns,
                      kb_str name);
/* Default, prepare, validate op->obj; 0, or it has failed. */
int kb__op_finish_object(struct kb_object_op *op);
/* Make the transaction from op->obj (or the removal) and want to commit it; a dry run, or a write
 * that changes nothing, is done at once. */
void kb__op_commit(struct kb_object_op *op);
void kb__op_done(struct kb_object_op *op, int64_t rev);
void kb__op_warn(struct kb_object_op *op, kb_str text);
struct kb_extra *kb__op_extra(struct kb_object_op *op, bool del, kb_str key, struct kb_node *doc);
/* The body as it came, into op->body. objects_decode.c */
int kb__op_parse_body(struct kb_object_op *op, const struct kb_object_request *req);
/* Decode `node` by `schema`: types, unknown fields as the request wants them treated. */
int kb__op_decode(struct kb_object_op *op, const struct kb_schema *schema, kb_str api_version,
                  kb_str kind, struct kb_node *node);
/* A tree of the current object, new at each call. */
struct kb_node *kb__op_old_tree(struct kb_object_op *op);
struct kb_node *kb__op_meta(struct kb_node *object, struct kb_arena *a);
kb_str kb__op_name(const struct kb_object_op *op); /* of the object, for messages */

/* ---- metadata (objects_meta.c) ---- */
int kb__meta_on_create(struct kb_object_op *op);
void kb__meta_new_name(struct kb_object_op *op); /* another name from generateName */
int kb__meta_on_update(struct kb_object_op *op);
void kb__meta_validate(struct kb_object_op *op);
void kb__meta_check_immutable(struct kb_object_op *op);
/* One more when something outside of metadata and status changed. */
void kb__meta_generation(struct kb_object_op *op);
/* apiVersion, kind, metadata first, in the tree and thereby in the document. */
void kb__meta_order(struct kb_object_op *op);
bool kb__meta_has_finalizers(const struct kb_kind *kind, const struct kb_node *object);
/* uid and revision preconditions of the request against the current object. */
int kb__meta_preconditions(struct kb_object_op *op);

#endif
