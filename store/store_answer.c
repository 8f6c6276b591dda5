#include "store/store_int.h"

#include <stdlib.h>

enum { KEEP_BYTES = 64 * 1024 };

struct kb__answer {
    struct kb_store_wish wish;
    struct kb_buf bytes; /* of wish.body */
    struct kb_err *err;
    struct kb__answer *next;
};

static struct kb__answer *answer_new(struct kb_store_core *core, enum kb_store_wish_kind kind,
                                     void *token)
{
    struct kb__answer *a = core->free_answers;
    if (a)
        core->free_answers = a->next;
    else
        a = calloc(1, sizeof(*a));
    KB_ASSERT(a != NULL);
    a->wish = (struct kb_store_wish){.kind = kind, .token = token};
    a->next = NULL;
    return a;
}

static struct kb__answer *answer_add(struct kb_store_core *core, enum kb_store_wish_kind kind,
                                     void *token)
{
    struct kb__answer *a = answer_new(core, kind, token);
    *core->answers_end = a;
    core->answers_end = &a->next;
    return a;
}

/* A beat at once, when all events before it have been taken. */
void kb__greet(struct kb_store_core *core, kb_str topic)
{
    struct kb__answer *a = answer_new(core, KB_STORE_EVENT, NULL);
    kb_buf_add_str(&a->bytes, topic);
    *core->greets_end = a;
    core->greets_end = &a->next;
}

static kb_val bytes_val(const struct kb_buf *buf)
{
    const uint8_t *p = (const uint8_t *)buf->p;
    return buf->n ? (kb_val){p, p + buf->n} : (kb_val){NULL, NULL};
}

void kb__reply(struct kb_store_core *core, void *token)
{
    struct kb__answer *a = answer_add(core, KB_STORE_REPLY, token);
    if (core->w.buf.n > KEEP_BYTES) { /* a large list: hand the bytes on rather than copy them */
        kb_buf_finish(&a->bytes);
        a->bytes = core->w.buf;
        core->w.buf = (struct kb_buf){0};
    } else {
        kb_buf_add(&a->bytes, core->w.buf.p, core->w.buf.n);
        kb_buf_clear(&core->w.buf);
    }
    a->wish.body = bytes_val(&a->bytes);
}

void kb__long_body(struct kb_store_core *core)
{
    if (core->w.buf.cap >= core->spare.cap)
        return;
    kb_buf_finish(&core->w.buf);
    core->w.buf = core->spare;
    core->spare = (struct kb_buf){0};
    kb_buf_clear(&core->w.buf);
}

void kb_store_core_trim(struct kb_store_core *core)
{
    kb_buf_finish(&core->spare);
    if (core->w.buf.n == 0)
        kb_buf_finish(&core->w.buf);
}

void kb__fail(struct kb_store_core *core, void *token, const struct kb_err *err, kb_val details)
{
    struct kb__answer *a = answer_add(core, KB_STORE_FAIL, token);
    a->err = malloc(sizeof(*a->err));
    KB_ASSERT(a->err != NULL);
    *a->err = *err;
    a->wish.err = a->err;
    if (details.p)
        kb_buf_add(&a->bytes, details.p, kb_val_size(details));
    a->wish.body = bytes_val(&a->bytes);
}

static void answer_done(struct kb_store_core *core, struct kb__answer *a)
{
    free(a->err);
    a->err = NULL;
    if (a->bytes.cap > KEEP_BYTES) { /* fresh memory costs more than what is written into it */
        kb_buf_finish(&core->spare);
        core->spare = a->bytes;
        a->bytes = (struct kb_buf){0};
    }
    kb_buf_clear(&a->bytes);
    a->next = core->free_answers;
    core->free_answers = a;
}

static struct kb__answer *pop(struct kb__answer **list, struct kb__answer ***end)
{
    struct kb__answer *a = *list;
    if (a) {
        *list = a->next;
        if (*list == NULL)
            *end = list;
    }
    return a;
}

/* Events first; then beats, which say that there are no others up to now. */
static bool next_event(struct kb_store_core *core, struct kb_views_event *ret)
{
    struct kb__answer *a;
    if (kb_views_next_event(core->views, ret))
        return true;
    while ((a = pop(&core->greets, &core->greets_end)) != NULL) {
        bool found = kb_views_beat_of(core->views, kb_buf_str(&a->bytes), ret);
        answer_done(core, a);
        if (found)
            return true;
    }
    if (core->beating && kb_views_beat(core->views, &core->beat_at, ret))
        return true;
    core->beating = false;
    return false;
}

bool kb_store_core_next(struct kb_store_core *core, struct kb_store_wish *ret_wish)
{
    struct kb_views_event event;
    struct kb__answer *a = KB_STEAL(core->taken);
    if (a)
        answer_done(core, a);
    a = pop(&core->answers, &core->answers_end);
    if (a) {
        core->taken = a;
        *ret_wish = a->wish;
        return true;
    }
    if (!next_event(core, &event))
        return false;
    *ret_wish = (struct kb_store_wish){.kind = KB_STORE_EVENT,
                                       .body = event.body,
                                       .topic = event.topic,
                                       .rev = event.rev,
                                       .prev = event.prev,
                                       .now = kb_engine_rev(core->engine)};
    return true;
}

static void answers_free(struct kb__answer *a)
{
    while (a) {
        struct kb__answer *next = a->next;
        kb_buf_finish(&a->bytes);
        free(a->err);
        free(a);
        a = next;
    }
}

/* ---- waiting for a batch ---- */

struct kb__wait *kb__wait_add(struct kb_store_core *core, enum kb__wait_kind kind, void *token)
{
    struct kb__wait *wait = core->free_waits;
    if (wait)
        core->free_waits = wait->next;
    else
        wait = malloc(sizeof(*wait));
    KB_ASSERT(wait != NULL);
    *wait = (struct kb__wait){.kind = kind, .token = token, .batch = kb_engine_batch(core->engine)};
    *core->waits_end = wait;
    core->waits_end = &wait->next;
    return wait;
}

static void wait_done(struct kb_store_core *core, struct kb__wait *wait)
{
    kb_doc_destroy(&wait->doc);
    free(wait->err);
    wait->next = core->free_waits;
    core->free_waits = wait;
}

void kb__fail_later(struct kb_store_core *core, void *token, const struct kb_err *err,
                    struct kb_doc *details)
{
    if (!kb_engine_busy(core->engine)) {
        kb__fail(core, token, err, kb_doc_root(details));
        kb_doc_destroy(&details);
        return;
    }
    struct kb__wait *wait = kb__wait_add(core, KB__WAIT_FAIL, token);
    wait->doc = details;
    wait->err = malloc(sizeof(*wait->err));
    KB_ASSERT(wait->err != NULL);
    *wait->err = *err;
}

/* The object that the change replaced, as {key, rev, doc}. */
static void write_old(struct kb_store_core *core, const struct kb_item *change)
{
    struct kb_item old;
    struct kb_err err;
    if (!change->created && kb_engine_version(core->engine, change->prev, &old, &err) == 0) {
        kb_w_key(&core->w, "old");
        kb__write_item(&core->w, &old);
    }
}

/* {rev, results: [{rev, old?}]}; the transaction's changes begin at `at`. */
static void reply_txn(struct kb_store_core *core, const struct kb__wait *wait,
                      const struct kb_commit *commit, size_t at)
{
    struct kb_w *w = &core->w;
    struct kb_iter ops = kb_iter(wait->want_old ? kb_val_get(wait->body, "ops") : wait->body);
    kb_w_map(w);
    kb_w_kint(w, "rev", (int64_t)wait->rev);
    kb_w_karray(w, "results");
    for (uint32_t i = 0; i < wait->ops; i++) {
        kb_w_map(w);
        kb_w_kint(w, "rev", (int64_t)wait->rev);
        if (wait->want_old && kb_iter_next(&ops) && kb_val_bool_at(ops.val, "old", false)) {
            struct kb_item change = kb_commit_change(commit, at + i);
            write_old(core, &change);
        }
        kb_w_end(w);
    }
    kb_w_end(w);
    kb_w_end(w);
    kb__reply(core, wait->token);
}

/* Changes that the store itself staged (expiry) belong to no wait: find a transaction's by its
 * revision. */
static size_t changes_at(const struct kb_commit *commit, size_t at, uint64_t rev)
{
    while (at < commit->changes && kb_commit_change(commit, at).id.rev < rev)
        at++;
    return at;
}

void kb__wait_end(struct kb_store_core *core, const struct kb_commit *commit)
{
    size_t at = 0;
    while (core->waits && core->waits->batch <= commit->batch) {
        struct kb__wait *wait = core->waits;
        core->waits = wait->next;
        if (core->waits == NULL)
            core->waits_end = &core->waits;
        if (commit->rc < 0) {
            kb__fail(core, wait->token, &commit->err, (kb_val){NULL, NULL});
        } else if (wait->kind == KB__WAIT_TXN) {
            if (wait->want_old)
                at = changes_at(commit, at, wait->rev);
            reply_txn(core, wait, commit, at);
        } else if (wait->kind == KB__WAIT_FAIL) {
            kb__fail(core, wait->token, wait->err, kb_doc_root(wait->doc));
        } else {
            kb_w_raw(&core->w, kb_doc_root(wait->doc));
            kb__reply(core, wait->token);
        }
        wait_done(core, wait);
    }
}

void kb__answers_finish(struct kb_store_core *core)
{
    answers_free(core->answers);
    answers_free(core->taken);
    answers_free(core->greets);
    kb_buf_finish(&core->spare);
    answers_free(core->free_answers);
    while (core->waits) {
        struct kb__wait *wait = core->waits;
        core->waits = wait->next;
        wait_done(core, wait);
    }
    while (core->free_waits) {
        struct kb__wait *wait = core->free_waits;
        core->free_waits = wait->next;
        free(wait);
    }
}
