/* The object service's core: pure, one struct kb_object_op a request.
 *
 *     op = kb_object_op_new(core, &request, now_us);
 *     for (;;) switch (kb_object_op_want(op)) {
 *     case KB_OP_READ:   read kb_object_op_key(op) from the store → kb_object_op_read / _failed
 *     case KB_OP_LIST:   list the view kb_object_op_key(op) → kb_object_op_listed / _failed
 *     case KB_OP_COMMIT: send kb_object_op_txn(op) to the store   → kb_object_op_committed /
 * _refused case KB_OP_DONE:   answer with kb_object_op_reply(op); kb_object_op_release(&op)
 *     }
 *
 * Nothing here waits, reads a clock or talks to anybody; a test plays the store. What lost a race
 * is computed again on the state that won, which the store's refusal carries, as often as
 * Kubernetes would. */
#ifndef KUBUS_API_OBJECTS_CORE_H
#define KUBUS_API_OBJECTS_CORE_H

#include "actors/api/objects.h"

struct kb_objects_core;
struct kb_object_op;

struct kb_objects_core *kb_objects_core_new(const struct kb_kinds *kinds,
                                            const struct kb_objects_config *config);
void kb_objects_core_destroy(struct kb_objects_core **core_p);
const struct kb_kinds *kb_objects_core_kinds(const struct kb_objects_core *core);

/* What is known of a namespace: its object, or KB_NONE when it is gone. Without this a create asks
 * the store for its namespace. */
void kb_objects_core_namespace(struct kb_objects_core *core, kb_str name, kb_val doc);

/* What is known of a PriorityClass: its object, or KB_NONE when it is gone. */
void kb_objects_core_priority(struct kb_objects_core *core, kb_str name, kb_val doc);

/* Whether a ServiceAccount is there. Without this a create of a pod asks the store for its one. */
void kb_objects_core_account(struct kb_objects_core *core, kb_str ns, kb_str name, bool there);

enum kb_op_want { KB_OP_READ, KB_OP_LIST, KB_OP_COMMIT, KB_OP_DONE };

/* Everything of the request that is needed later is copied. Never NULL. */
struct kb_object_op *kb_object_op_new(struct kb_objects_core *core,
                                      const struct kb_object_request *request, int64_t now_us);
/* Gives the op back; its memory is used again. */
void kb_object_op_release(struct kb_object_op **op_p);

enum kb_op_want kb_object_op_want(const struct kb_object_op *op);
/* Of a READ: the key; of a LIST: the view. */
const char *kb_object_op_key(const struct kb_object_op *op);
/* Of a LIST: the key behind which the page begins; empty: the first page. Valid until answered. */
kb_str kb_object_op_after(const struct kb_object_op *op);
/* The answer to a READ; `doc` KB_NONE: not there. Copied. */
void kb_object_op_read(struct kb_object_op *op, int64_t rev, kb_val doc);
/* The answer to a LIST: objects {key, rev, doc} in the order of their keys; `more`: another page is
 * wanted. What is needed is copied. */
void kb_object_op_listed(struct kb_object_op *op, kb_val items, bool more);
/* The body of store.txn, {ops: […]}; valid until the op goes on. */
kb_val kb_object_op_txn(const struct kb_object_op *op);
void kb_object_op_committed(struct kb_object_op *op, int64_t rev);
/* The store refused a COMMIT: a condition failed at operation `index`; `rev` and `current` are what
 * stands there (KB_NONE: nothing). Ends the op, or makes it want something again. */
void kb_object_op_refused(struct kb_object_op *op, const struct kb_err *err, size_t index,
                          int64_t rev, kb_val current);
/* The store refused a COMMIT for the request's lease. Ends the op. */
void kb_object_op_fenced(struct kb_object_op *op, const struct kb_err *err);
/* A read or commit failed for a reason of its own (store away, deadline). Ends the op. */
void kb_object_op_failed(struct kb_object_op *op, const struct kb_err *err);
/* Once DONE; valid until released. */
const struct kb_object_reply *kb_object_op_reply(const struct kb_object_op *op);

/* Requests that make what every cluster has, in order: `at` from 0 until false is returned. The
 * body is built in `arena`. AlreadyExists is success. */
bool kb_objects_core_bootstrap(const struct kb_objects_core *core, size_t at,
                               struct kb_arena *arena, struct kb_object_request *ret);

/* The entry `lease` of a transaction, when the request has one. */
void kb__write_lease(struct kb_w *w, const struct kb_object_request *request);

#endif
