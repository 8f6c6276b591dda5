/* Private to store_core_*.c. */
#ifndef KUBUS_STORE_STORE_INT_H
#define KUBUS_STORE_STORE_INT_H

#include "bus/base/check.h"
#include "store/store_core.h"
#include "store/view_core.h"

struct kb__answer; /* a wish that waits for the shell */
struct kb__wait;   /* a request that waits for its batch */
struct kb__queued; /* a request that the engine could not take yet */

struct kb__lease_time {
    kb_ms until_ms;
};

struct kb__sample { /* the revision at a time: what compaction by time goes by */
    kb_ms at_ms;
    uint64_t rev;
};

enum { KB__SAMPLES = 12 };

struct kb_store_core {
    struct kb_store_config config;
    struct kb_engine *engine;
    struct kb_views *views;
    struct kb_store_time time;
    struct kb__answer *answers, **answers_end, *taken;
    struct kb__wait *waits, **waits_end;   /* in order of batch */
    struct kb__queued *queue, **queue_end; /* in order of arrival */
    struct kb__answer *free_answers;
    struct kb__wait *free_waits;
    struct kb_map lease_times;              /* name → struct kb__lease_time */
    struct kb__sample samples[KB__SAMPLES]; /* the oldest first */
    size_t samples_n;
    uint64_t compacting;               /* what was asked for last by time */
    kb_ms beat_ms, expire_ms, look_ms; /* when next; 0: not planned */
    bool look_expiry;                  /* something may expire earlier than planned */
    bool beating;                      /* beats for all views are being taken, from here on: */
    size_t beat_at;
    struct kb__answer *greets, **greets_end; /* beats for views that somebody just came to */
    void *backup, *check;                    /* the tokens of those who asked */
    struct kb_w w;                           /* scratch for bodies */
    struct kb_buf spare;                     /* of the last long body, for the next */
};

/* store_answer.c */
/* Before a long body is written into core->w: give it the buffer that the last one had. */
void kb__long_body(struct kb_store_core *core);
/* Answer with what core->w holds, which is empty after it. */
void kb__reply(struct kb_store_core *core, void *token);
void kb__fail(struct kb_store_core *core, void *token, const struct kb_err *err, kb_val details);
/* The same when the batch that is staged now (or is under way) is durable; at once when there is
 * none. */
void kb__fail_later(struct kb_store_core *core, void *token, const struct kb_err *err,
                    struct kb_doc *details);
void kb__greet(struct kb_store_core *core, kb_str topic);
void kb__answers_finish(struct kb_store_core *core);

enum kb__wait_kind { KB__WAIT_TXN, KB__WAIT_REPLY, KB__WAIT_FAIL };

struct kb__wait {
    enum kb__wait_kind kind;
    uint64_t batch;
    void *token;
    struct kb__wait *next;
    /* TXN */
    uint64_t rev;
    uint32_t ops;
    bool want_old;
    kb_val body; /* of the request */
    /* REPLY, FAIL's details */
    struct kb_doc *doc;
    struct kb_err *err;
};
struct kb__wait *kb__wait_add(struct kb_store_core *core, enum kb__wait_kind kind, void *token);
/* A batch has ended: answer all that waited for it. */
void kb__wait_end(struct kb_store_core *core, const struct kb_commit *commit);

/* Each takes a request and answers it, now or later. False: not now, keep it in the queue. */
bool kb__txn(struct kb_store_core *core, void *token, kb_val body);
bool kb__declare(struct kb_store_core *core, void *token, kb_val body);
bool kb__compact(struct kb_store_core *core, void *token, kb_val body);
bool kb__acquire(struct kb_store_core *core, void *token, kb_val body);
bool kb__release(struct kb_store_core *core, void *token, kb_val body);
bool kb__check(struct kb_store_core *core, void *token, kb_val body);
void kb__renew(struct kb_store_core *core, void *token, kb_val body);
void kb__get(struct kb_store_core *core, void *token, kb_val body);
void kb__list(struct kb_store_core *core, void *token, kb_val body);
void kb__replay(struct kb_store_core *core, void *token, kb_val body);
void kb__status(struct kb_store_core *core, void *token, kb_val body);
void kb__backup(struct kb_store_core *core, void *token, kb_val body);

/* {key, rev, doc} */
void kb__write_item(struct kb_w *w, const struct kb_item *item);

#endif
