/* What the store answers: requests in, replies and events out. No bus and no clock of its own.
 *
 * The shell hands requests over as they come (kb_store_core_request), calls kb_store_core_step at
 * the end of each pass of its loop and whenever the engine has something, and carries out the
 * wishes until there are none. Transactions are staged at once, answered when their batch is
 * durable, published after that. A refusal that depended on what was staged waits for the same
 * batch, so that nobody learns of a write that a crash could take back. */
#ifndef KUBUS_STORE_STORE_CORE_H
#define KUBUS_STORE_STORE_CORE_H

#include "store/engine.h"

struct kb_store_core;

struct kb_store_config {
    int64_t history_s; /* old versions are kept so long; 0: for ever */
};

/* `engine` is borrowed. */
struct kb_store_core *kb_store_core_new(const struct kb_store_config *config,
                                        struct kb_engine *engine);
void kb_store_core_destroy(struct kb_store_core **core_p);

enum kb_store_method {
    KB_STORE_GET,
    KB_STORE_LIST,
    KB_STORE_TXN,
    KB_STORE_REPLAY,
    KB_STORE_DECLARE,
    KB_STORE_STATUS,
    KB_STORE_COMPACT,
    KB_STORE_BACKUP,
    KB_STORE_CHECK,
    KB_LEASE_ACQUIRE,
    KB_LEASE_RENEW,
    KB_LEASE_RELEASE,
    KB_STORE_METHODS
};

struct kb_store_time {
    kb_ms now_ms;    /* monotonic */
    int64_t wall_ms; /* since 1970 */
};

/* `token` names the request in wishes; `body` stays valid until it is answered. */
void kb_store_core_request(struct kb_store_core *core, enum kb_store_method method, void *token,
                           kb_val body, struct kb_store_time time);
void kb_store_core_subscribe(struct kb_store_core *core, kb_str topic, bool on);
/* Returns ms until it wants to be called again, -1: only when something comes. */
kb_ms kb_store_core_step(struct kb_store_core *core, struct kb_store_time time);
/* Give buffers back: for a store that has become quiet. */
void kb_store_core_trim(struct kb_store_core *core);
/* No transaction is staged, under way, or waits: the store may stop. */
bool kb_store_core_idle(const struct kb_store_core *core);

enum kb_store_wish_kind { KB_STORE_REPLY, KB_STORE_FAIL, KB_STORE_EVENT };

struct kb_store_wish {
    enum kb_store_wish_kind kind;
    void *token; /* REPLY, FAIL */
    kb_val body; /* REPLY: the result; FAIL: more fields, or KB_NONE; EVENT: the changes, KB_NONE: a
                    beat */
    const struct kb_err *err; /* FAIL */
    kb_str topic;             /* EVENT, with its NUL */
    uint64_t rev, prev, now;  /* EVENT */
};
/* Take the next wish; borrowed until the next call of any function here. */
bool kb_store_core_next(struct kb_store_core *core, struct kb_store_wish *ret_wish);

#endif
