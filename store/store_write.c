#include "store/store_int.h"

#include <stdlib.h>

enum { SMALL_TXN_OPS = 10 }; /* so many are below KB_TXN_MAX_BYTES, whatever they replace */
_Static_assert(SMALL_TXN_OPS * 2 * KB_OBJECT_MAX_BYTES <= KB_TXN_MAX_BYTES, "they are");

static const kb_val none;

/* Not now, but later without the caller's doing? */
static bool again(int rc)
{
    return rc == -KB_EFULL;
}

/* ---- transactions ---- */

static int parse_cond(kb_val cond, struct kb_write_op *op, struct kb_err *err)
{
    if (!kb_val_present(cond))
        return 0;
    kb_val rev = kb_val_get(cond, "rev"), uid = kb_val_get(cond, "uid");
    if (kb_val_bool_at(cond, "absent", false))
        op->cond = KB_COND_ABSENT;
    else if (kb_val_type(rev) == KB_INT)
        op->cond = KB_COND_REV;
    else if (kb_val_type(uid) == KB_STR)
        op->cond = KB_COND_UID;
    else
        return kb_err_set(err, KB_EINVAL, "a condition is none of absent, rev, uid");
    op->if_rev = (uint64_t)kb_val_int(rev, 0);
    op->if_uid = kb_val_str(uid);
    return 0;
}

/* `want_old` becomes true when the operation asks for the object before it. */
static int parse_op(const struct kb_store_core *core, kb_val val, struct kb_write_op *op,
                    bool *want_old, struct kb_err *err)
{
    kb_str kind = {0};
    kb_val cond = none;
    int64_t ttl_s = 0;
    *op = (struct kb_write_op){0};
    for (struct kb_iter it = kb_iter(val); kb_iter_next(&it);) { /* one walk: documents are long */
        if (kb_str_is(it.key, "op"))
            kind = kb_val_str(it.val);
        else if (kb_str_is(it.key, "key"))
            op->key = kb_val_str(it.val);
        else if (kb_str_is(it.key, "doc"))
            op->doc = it.val;
        else if (kb_str_is(it.key, "if"))
            cond = it.val;
        else if (kb_str_is(it.key, "ttl_s"))
            ttl_s = kb_val_int(it.val, 0);
        else if (kb_str_is(it.key, "old"))
            *want_old |= kb_val_bool(it.val, false);
    }
    op->del = kb_str_is(kind, "del");
    if (!op->del && !kb_str_is(kind, "put"))
        return kb_err_set(err, KB_EINVAL, "an operation is neither put nor del");
    if (ttl_s < 0 || ttl_s > INT64_C(1) << 32)
        return kb_err_set(err, KB_EINVAL, "ttl_s is out of range");
    if (ttl_s)
        op->expires_ms = core->time.wall_ms + ttl_s * 1000;
    return parse_cond(cond, op, err);
}

/* {index, current: {key, rev, doc}} of the operation that failed. */
static struct kb_doc *failure(struct kb_store_core *core, const struct kb_write_op *op,
                              size_t index)
{
    struct kb_item item;
    struct kb_err err;
    struct kb_w w = {0};
    kb_w_map(&w);
    kb_w_kint(&w, "index", (int64_t)index);
    if (kb_engine_staged(core->engine, op->key, &item, &err) == 0) {
        kb_w_key(&w, "current");
        kb__write_item(&w, &item);
    }
    kb_w_end(&w);
    struct kb_doc *doc = kb_w_doc(&w);
    kb_w_finish(&w);
    return doc;
}

/* {lease: NAME} */
static struct kb_doc *lease_lost(const struct kb_write *write)
{
    struct kb_w w = {0};
    kb_w_map(&w);
    kb_w_kstr(&w, "lease", write->lease);
    kb_w_end(&w);
    struct kb_doc *doc = kb_w_doc(&w);
    kb_w_finish(&w);
    return doc;
}

static bool depends_on_state(int rc)
{
    return rc == -KB_EEXISTS || rc == -KB_ECONFLICT || rc == -KB_ENOTFOUND;
}

static bool stage(struct kb_store_core *core, void *token, kb_val body,
                  const struct kb_write *write, bool want_old)
{
    struct kb_err err;
    uint64_t rev;
    size_t failed;
    int rc = kb_engine_write(core->engine, write, &rev, &failed, &err);
    if (again(rc))
        return false;
    if (depends_on_state(rc)) {
        kb__fail_later(core, token, &err,
                       failed < write->n ? failure(core, &write->ops[failed], failed)
                                         : lease_lost(write));
        return true;
    }
    if (rc < 0) {
        kb__fail(core, token, &err, none);
        return true;
    }
    for (size_t i = 0; i < write->n; i++)
        core->look_expiry |= write->ops[i].expires_ms != 0;
    struct kb__wait *wait = kb__wait_add(core, KB__WAIT_TXN, token);
    wait->rev = rev;
    wait->ops = (uint32_t)write->n;
    wait->want_old = want_old;
    wait->body = body;
    return true;
}

/* What a transaction writes and what it replaces may come together in one answer, one event, one
 * page of a replay: neither may be larger than a frame. */
static int check_total(const struct kb_store_core *core, const struct kb_write_op *ops, size_t n,
                       struct kb_err *err)
{
    size_t total = 0;
    for (size_t i = 0; n > SMALL_TXN_OPS && i < n; i++) {
        struct kb_item item;
        struct kb_err unused;
        total += kb_val_size(ops[i].doc);
        if (kb_engine_staged(core->engine, ops[i].key, &item, &unused) == 0)
            total += kb_val_size(item.doc);
        if (total > KB_TXN_MAX_BYTES)
            return kb_err_set(err, KB_E2BIG,
                              "the documents of a transaction, and those that it replaces, are "
                              "larger than %u bytes",
                              KB_TXN_MAX_BYTES);
    }
    return 0;
}

bool kb__txn(struct kb_store_core *core, void *token, kb_val body)
{
    enum { FEW = 4 };
    struct kb_write_op few[FEW], *ops = few;
    KB_AUTO(kb_auto_free) struct kb_write_op *many = NULL;
    struct kb_err err;
    kb_val list = none, lease = none;
    bool want_old = false;
    for (struct kb_iter it = kb_iter(body); kb_iter_next(&it);) { /* one walk here, too */
        if (kb_str_is(it.key, "ops"))
            list = it.val;
        else if (kb_str_is(it.key, "lease"))
            lease = it.val;
    }
    size_t n = kb_val_count(list), at = 0;
    if (kb_val_type(list) != KB_ARRAY || n == 0 || n > KB_TXN_MAX_OPS) {
        kb_err_set(&err, KB_EINVAL, "a transaction has a list of 1 to %u ops", KB_TXN_MAX_OPS);
        kb__fail(core, token, &err, none);
        return true;
    }
    if (n > FEW) {
        ops = many = calloc(n, sizeof(*many));
        KB_ASSERT(many != NULL);
    }
    for (struct kb_iter it = kb_iter(list); kb_iter_next(&it); at++) {
        if (parse_op(core, it.val, &ops[at], &want_old, &err) < 0) {
            kb__fail(core, token, &err, none);
            return true;
        }
    }
    if (check_total(core, ops, n, &err) < 0) {
        kb__fail(core, token, &err, none);
        return true;
    }
    struct kb_write write = {.ops = ops,
                             .n = n,
                             .lease = kb_val_str_at(lease, "name"),
                             .epoch = (uint64_t)kb_val_int_at(lease, "epoch", 0)};
    return stage(core, token, body, &write, want_old);
}

/* ---- declarations, compaction ---- */

static void reply_empty(struct kb_store_core *core, void *token)
{
    kb_w_map(&core->w);
    kb_w_end(&core->w);
    kb__reply(core, token);
}

/* Answer {} when what was staged is durable. */
static void reply_later(struct kb_store_core *core, void *token, struct kb_doc *doc)
{
    struct kb__wait *wait = kb__wait_add(core, KB__WAIT_REPLY, token);
    wait->doc = doc;
}

static struct kb_doc *empty_doc(void)
{
    struct kb_w w = {0};
    kb_w_map(&w);
    kb_w_end(&w);
    struct kb_doc *doc = kb_w_doc(&w);
    kb_w_finish(&w);
    return doc;
}

/* None twice: a declaration that has to wait half-way begins anew, and must find what it had staged
 * by then unchanged. */
static int check_resources(kb_val list, struct kb_err *err)
{
    KB_AUTO(kb_map_finish) struct kb_map seen = {0};
    if (kb_val_count(list) > KB_DECLARE_MAX)
        return kb_err_set(err, KB_E2BIG, "declare: more than %u resources", KB_DECLARE_MAX);
    for (struct kb_iter it = kb_iter(list); kb_iter_next(&it);) {
        kb_str name = kb_val_str_at(it.val, "resource");
        if (name.n > KB_NAME_MAX_BYTES)
            return kb_err_set(err, KB_EINVAL, "declare: the name of a resource is too long");
        if (kb_map_put(&seen, name, &seen))
            return kb_err_set(err, KB_EINVAL, "declare: '" KB_STR_FMT "' stands twice",
                              KB_STR_ARG(name));
    }
    return 0;
}

bool kb__declare(struct kb_store_core *core, void *token, kb_val body)
{
    bool staged = false;
    struct kb_err bad;
    if (check_resources(kb_val_get(body, "resources"), &bad) < 0) {
        kb__fail(core, token, &bad, none);
        return true;
    }
    for (struct kb_iter it = kb_iter(kb_val_get(body, "resources")); kb_iter_next(&it);) {
        struct kb_err err;
        int rc = kb_engine_declare(core->engine, kb_val_str_at(it.val, "resource"),
                                   kb_val_get(it.val, "indices"), &err);
        if (again(rc))
            return false; /* what is staged already is no news the next time */
        if (rc < 0) {
            kb__fail(core, token, &err, none);
            return true;
        }
        staged |= rc > 0;
    }
    if (staged)
        reply_later(core, token, empty_doc());
    else
        reply_empty(core, token);
    return true;
}

bool kb__compact(struct kb_store_core *core, void *token, kb_val body)
{
    struct kb_err err;
    int64_t rev = kb_val_int_at(body, "rev", 0);
    uint64_t now = kb_engine_rev(core->engine), to = rev > 0 ? (uint64_t)rev : now;
    int rc = kb_engine_compact(core->engine, to, &err);
    if (again(rc))
        return false;
    if (rc < 0) {
        kb__fail(core, token, &err, none);
        return true;
    }
    if (rc == 0)
        to = kb_engine_compacted(core->engine);
    else if (to > now)
        to = now;
    kb_w_map(&core->w);
    kb_w_kint(&core->w, "compacted", (int64_t)to);
    kb_w_end(&core->w);
    if (rc > 0)
        reply_later(core, token, kb_w_doc(&core->w));
    else
        kb__reply(core, token);
    return true;
}

/* ---- leases ---- */

static struct kb__lease_time *lease_time(struct kb_store_core *core, kb_str name)
{
    struct kb__lease_time *t = kb_map_get(&core->lease_times, name);
    if (t == NULL) {
        t = calloc(1, sizeof(*t));
        KB_ASSERT(t != NULL);
        kb_map_put(&core->lease_times, name, t);
        /* Held before this process began: who holds it has its whole time from now. */
        t->until_ms = core->time.now_ms + kb_engine_lease(core->engine, name).ttl_ms;
    }
    return t;
}

static bool lease_refuse(struct kb_store_core *core, void *token, kb_str name,
                         const struct kb_lease *lease)
{
    struct kb_err err;
    struct kb_w w = {0};
    kb_err_set(&err, KB_ECONFLICT, "lease '" KB_STR_FMT "' is held by '" KB_STR_FMT "'",
               KB_STR_ARG(name), KB_STR_ARG(lease->holder));
    kb_w_map(&w);
    kb_w_kstr(&w, "holder", lease->holder);
    kb_w_kint(&w, "epoch", (int64_t)lease->epoch);
    kb_w_end(&w);
    kb__fail_later(core, token, &err, kb_w_doc(&w));
    kb_w_finish(&w);
    return true;
}

struct lease_call {
    kb_str name, holder;
    uint64_t epoch;
    int64_t ttl_ms;
};

static bool lease_parse(struct kb_store_core *core, void *token, kb_val body, bool needs_ttl,
                        struct lease_call *ret)
{
    struct kb_err err;
    *ret = (struct lease_call){kb_val_str_at(body, "name"), kb_val_str_at(body, "holder"),
                               (uint64_t)kb_val_int_at(body, "epoch", 0),
                               kb_val_int_at(body, "ttl_ms", 0)};
    if (ret->name.n && ret->name.n <= KB_NAME_MAX_BYTES && ret->holder.n &&
        ret->holder.n <= KB_NAME_MAX_BYTES &&
        (!needs_ttl || (ret->ttl_ms > 0 && ret->ttl_ms <= INT64_C(86400000) * 366)))
        return true;
    kb_err_set(&err, KB_EINVAL,
               "a lease call has name and holder of up to %u bytes, and ttl_ms > 0",
               KB_NAME_MAX_BYTES);
    kb__fail(core, token, &err, none);
    return false;
}

bool kb__acquire(struct kb_store_core *core, void *token, kb_val body)
{
    struct kb_err err;
    struct lease_call call;
    if (!lease_parse(core, token, body, true, &call))
        return true;
    struct kb_lease now = kb_engine_lease(core->engine, call.name);
    struct kb__lease_time *t = lease_time(core, call.name);
    if (now.holder.n && !kb_str_eq(now.holder, call.holder) && t->until_ms > core->time.now_ms)
        return lease_refuse(core, token, call.name, &now);
    /* Also for one who holds it already: it has begun anew, and what its former self still sends
     * must not count. */
    struct kb_lease next = {call.holder, now.epoch + 1, call.ttl_ms};
    int rc = kb_engine_lease_put(core->engine, call.name, &next, &err);
    if (again(rc))
        return false;
    if (rc < 0) {
        kb__fail(core, token, &err, none);
        return true;
    }
    t->until_ms = core->time.now_ms + call.ttl_ms;
    kb_w_map(&core->w);
    kb_w_kint(&core->w, "epoch", (int64_t)next.epoch);
    kb_w_kint(&core->w, "rev", (int64_t)kb_engine_staged_rev(core->engine));
    kb_w_end(&core->w);
    reply_later(core, token, kb_w_doc(&core->w));
    return true;
}

static bool lease_mine(struct kb_store_core *core, void *token, const struct lease_call *call,
                       struct kb_lease *ret)
{
    *ret = kb_engine_lease(core->engine, call->name);
    if (ret->epoch == call->epoch && kb_str_eq(ret->holder, call->holder))
        return true;
    lease_refuse(core, token, call->name, ret);
    return false;
}

/* In memory alone: after a restart every lease has its whole time again. One that ran out and that
 * nobody else took is still its holder's. */
void kb__renew(struct kb_store_core *core, void *token, kb_val body)
{
    struct lease_call call;
    struct kb_lease lease;
    if (!lease_parse(core, token, body, true, &call) || !lease_mine(core, token, &call, &lease))
        return;
    lease_time(core, call.name)->until_ms = core->time.now_ms + call.ttl_ms;
    reply_empty(core, token);
}

bool kb__release(struct kb_store_core *core, void *token, kb_val body)
{
    struct kb_err err;
    struct lease_call call;
    struct kb_lease lease;
    if (!lease_parse(core, token, body, false, &call) || !lease_mine(core, token, &call, &lease))
        return true;
    struct kb_lease next = {kb_str_n(NULL, 0), lease.epoch, lease.ttl_ms};
    int rc = kb_engine_lease_put(core->engine, call.name, &next, &err);
    if (again(rc))
        return false;
    if (rc < 0)
        kb__fail(core, token, &err, none);
    else
        reply_later(core, token, empty_doc());
    return true;
}

/* ---- care ---- */

/* Waits in the queue until nothing is under way, so that the database can be brought up to date
 * with all that was answered. */
bool kb__check(struct kb_store_core *core, void *token, kb_val body)
{
    struct kb_err err;
    (void)body;
    int rc = core->check ? kb_err_set(&err, KB_EFULL, "a check is under way")
                         : kb_engine_check_start(core->engine, &err);
    if (again(rc) && core->check == NULL)
        return false;
    if (rc < 0)
        kb__fail(core, token, &err, none);
    else
        core->check = token;
    return true;
}

void kb__backup(struct kb_store_core *core, void *token, kb_val body)
{
    struct kb_err err;
    KB_AUTO(kb_auto_free) char *file = kb_str_dup(kb_val_str_at(body, "file"));
    if (core->backup)
        kb_err_set(&err, KB_EFULL, "a backup is being made");
    if (core->backup || kb_engine_backup(core->engine, file, &err) < 0)
        kb__fail(core, token, &err, none);
    else
        core->backup = token;
}
