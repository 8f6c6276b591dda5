/* objects_core.c - the life of a request, and the tools that its stages share.
 *
 *   create:  NAMESPACE? → ACCOUNT? → COMMIT → DONE            (the hot path: no read at all)
 *   update, patch, scale, bind, delete:  CURRENT → COMMIT → DONE
 *   evict:  CURRENT → BUDGETS? → COMMIT → DONE   (objects_evict.c)
 *   COMMIT refused for a race: computed again on what the store sent along → COMMIT …
 *
 * All memory of an op is its arena, which goes back to a free list with its blocks: in the steady
 * state a request allocates nothing from the heap but the document that it writes. */
#include "actors/api/objects_impl.h"

#include "bus/base/check.h"
#include "bus/model/meta.h"

#include <arpa/inet.h>
#include <stdlib.h>

enum { TRIES_MAX = 16, FREE_OPS_MAX = 256 };

static char ns_active[] = "Active", ns_terminating[] = "Terminating";

/* ---- the core ---- */

static void parse_service_cidr(struct kb_objects_core *core, const char *cidr)
{
    struct in_addr address;
    char text[64];
    kb_str rest = kb_str_of(cidr), ip = kb_str_cut(&rest, '/');
    uint64_t bits = 0;
    bool ok = kb_str_copy(ip, text, sizeof(text)) && inet_pton(AF_INET, text, &address) == 1 &&
              kb_str_u64(rest, &bits) && bits >= 8 && bits <= 28;
    if (!ok) {
        inet_pton(AF_INET, "10.96.0.0", &address);
        bits = 16;
    }
    core->service_bits = (int)bits;
    core->service_net = ntohl(address.s_addr) & (uint32_t)(~0ull << (32 - bits));
}

struct kb_objects_core *kb_objects_core_new(const struct kb_kinds *kinds,
                                            const struct kb_objects_config *config)
{
    static const struct kb_objects_config none;
    struct kb_objects_core *core = calloc(1, sizeof(*core));
    KB_ASSERT(core != NULL);
    if (config == NULL)
        config = &none;
    core->kinds = kinds;
    if (config->seed)
        kb_rand_init(&core->rand, config->seed);
    else
        kb_rand_init_system(&core->rand);
    parse_service_cidr(core, config->service_cidr ? config->service_cidr : "10.96.0.0/16");
    core->node_port_first = config->node_port_first ? config->node_port_first : 30000;
    core->node_port_last = config->node_port_last ? config->node_port_last : 32767;
    core->api_address = kb_str_of(kb_str_dup(config->api_address));
    return core;
}

static void op_free(struct kb_object_op *op)
{
    kb_arena_finish(&op->arena);
    kb_w_finish(&op->txn);
    kb_w_finish(&op->out);
    free(op);
}

void kb_objects_core_destroy(struct kb_objects_core **core_p)
{
    struct kb_objects_core *core = KB_STEAL(*core_p);
    if (core == NULL)
        return;
    while (core->free_ops) {
        struct kb_object_op *op = core->free_ops;
        core->free_ops = op->next_free;
        op_free(op);
    }
    kb_map_finish(&core->namespaces);
    kb_map_finish(&core->accounts);
    kb__priorities_finish(core);
    free((char *)core->api_address.p);
    free(core);
}

const struct kb_kinds *kb_objects_core_kinds(const struct kb_objects_core *core)
{
    return core->kinds;
}

void kb_objects_core_namespace(struct kb_objects_core *core, kb_str name, kb_val doc)
{
    if (!kb_val_present(doc)) {
        kb_map_del(&core->namespaces, name);
        return;
    }
    bool terminating =
        kb_meta_deleting(doc) || kb_str_is(kb_val_str_at(doc, "status.phase"), "Terminating");
    kb_map_put(&core->namespaces, name, terminating ? ns_terminating : ns_active);
}

/* ---- tools ---- */

kb_str kb__op_name(const struct kb_object_op *op)
{
    if (op->req.name.n)
        return op->req.name;
    return kb_node_text_at(op->obj ? op->obj : op->body, "metadata.name");
}

int kb__op_fail(struct kb_object_op *op)
{
    KB_ASSERT(op->status.code != 0);
    kb_buf_clear(&op->out.buf);
    kb_status_write(&op->status, &op->out);
    op->reply = (struct kb_object_reply){
        .code = op->status.code,
        .doc = kb_w_val(&op->out),
        .failed = true,
        .warnings = op->warnings,
        .nwarnings = op->nwarnings,
        .fenced = op->fenced,
        .retry_after_s = op->status.retry_after_s,
    };
    op->stage = KB_STAGE_DONE;
    return -KB_EINVAL;
}

void kb__op_read_next(struct kb_object_op *op, enum kb_op_stage stage, kb_str resource, kb_str ns,
                      kb_str name)
{
    struct kb_key key = {resource, ns, name};
    if (!kb_key_format(key, op->read_key, sizeof(op->read_key))) {
        kb_status_not_found(&op->status, &op->arena, op->kind, name);
        kb__op_fail(op);
        return;
    }
    op->stage = stage;
}

void kb__op_warn(struct kb_object_op *op, kb_str text)
{
    KB_ARENA_GROW(&op->arena, op->warnings, op->nwarnings, op->cap_warnings, 8);
    op->warnings[op->nwarnings++] = text;
}

struct kb_extra *kb__op_extra(struct kb_object_op *op, bool del, kb_str key, struct kb_node *doc)
{
    struct kb_extra *extra = kb_arena_alloc(&op->arena, sizeof(*extra)), **end = &op->extras;
    *extra = (struct kb_extra){.del = del, .key = key, .doc = doc};
    while (*end)
        end = &(*end)->next;
    *end = extra;
    return extra;
}

struct kb_node *kb__op_meta(struct kb_node *object, struct kb_arena *a)
{
    return kb_node_ensure(a, object, "metadata");
}

struct kb_node *kb__op_old_tree(struct kb_object_op *op)
{
    return kb_node_of(&op->arena, op->old_val);
}

/* ---- finishing an object ---- */

/* Of a write of status, only status is new: the rest was checked when it was written, and a check
 * that became stricter since must not keep a controller from reporting. */
static void default_and_check(struct kb_object_op *op, bool check)
{
    bool status_only = op->old && kb_str_is(op->req.subresource, "status");
    const struct kb_schema *schema = op->kind->schema;
    struct kb_node *node = op->obj;
    struct kb_at at = kb_at_field(NULL, "status");
    if (status_only) {
        schema = kb_schema_member(schema, kb_str_of("status"));
        node = kb_node_get(node, "status");
    }
    if (schema == NULL || node == NULL)
        return;
    if (!check)
        kb_schema_default(schema, &op->arena, node);
    else
        kb_schema_validate(schema, node, status_only ? &at : NULL, &op->causes);
    if (check && !status_only && op->logic && op->logic->validate)
        op->logic->validate(op);
}

int kb__op_finish_object(struct kb_object_op *op)
{
    op->causes.count = 0;
    default_and_check(op, false);
    if (op->logic && op->logic->prepare && op->logic->prepare(op) < 0)
        return kb__op_fail(op);
    kb__meta_validate(op);
    default_and_check(op, true);
    if (op->old)
        kb__meta_check_immutable(op);
    if (op->causes.count) {
        kb_status_invalid(&op->status, &op->arena, op->kind, kb__op_name(op), &op->causes);
        return kb__op_fail(op);
    }
    if (op->old)
        kb__meta_generation(op);
    return 0;
}

/* ---- committing ---- */

static void write_put(struct kb_object_op *op, kb_str key)
{
    struct kb_w *w = &op->txn;
    kb_w_map(w);
    kb_w_kcstr(w, "op", "put");
    kb_w_kstr(w, "key", key);
    kb_w_kraw(w, "doc", kb_w_val(&op->out));
    kb_w_kmap(w, "if");
    if (op->old)
        kb_w_kint(w, "rev", op->old_rev);
    else
        kb_w_kbool(w, "absent", true);
    kb_w_end(w);
    if (op->kind->ttl_s)
        kb_w_kint(w, "ttl_s", op->kind->ttl_s);
    kb_w_end(w);
}

static void write_del(struct kb_object_op *op, kb_str key)
{
    struct kb_w *w = &op->txn;
    kb_w_map(w);
    kb_w_kcstr(w, "op", "del");
    kb_w_kstr(w, "key", key);
    kb_w_kmap(w, "if");
    kb_w_kint(w, "rev", op->old_rev);
    kb_w_end(w);
    kb_w_end(w);
}

static void write_extras(struct kb_object_op *op)
{
    struct kb_w *w = &op->txn;
    for (const struct kb_extra *extra = op->extras; extra; extra = extra->next) {
        if (extra->dropped)
            continue;
        kb_w_map(w);
        kb_w_kcstr(w, "op", extra->del ? "del" : "put");
        kb_w_kstr(w, "key", extra->key);
        if (!extra->del) {
            kb_w_key(w, "doc");
            kb_w_node(w, extra->doc);
            kb_w_kmap(w, "if");
            if (extra->rev)
                kb_w_kint(w, "rev", extra->rev);
            else
                kb_w_kbool(w, "absent", true);
            kb_w_end(w);
        }
        kb_w_end(w);
    }
}

static void set_key(struct kb_object_op *op)
{
    char key[KB_KEY_MAX_BYTES + 1];
    struct kb_key parts = {op->kind->resource,
                           op->kind->namespaced ? kb_node_text_at(op->obj, "metadata.namespace")
                                                : (kb_str){0},
                           kb_node_text_at(op->obj, "metadata.name")};
    kb_key_format(parts, key, sizeof(key)); /* fits: names were validated */
    op->reply.key = kb_arena_str(&op->arena, kb_str_of(key));
}

void kb__write_lease(struct kb_w *w, const struct kb_object_request *request)
{
    if (request->lease.n == 0)
        return;
    kb_w_kmap(w, "lease");
    kb_w_kstr(w, "name", request->lease);
    kb_w_kint(w, "epoch", request->epoch);
    kb_w_end(w);
}

static void write_txn(struct kb_object_op *op)
{
    kb_str key = op->reply.key;
    kb_buf_clear(&op->txn.buf);
    kb_w_map(&op->txn);
    kb_w_karray(&op->txn, "ops");
    if (op->removes)
        write_del(op, key);
    else
        write_put(op, key);
    write_extras(op);
    kb_w_end(&op->txn);
    kb__write_lease(&op->txn, &op->req);
    kb_w_end(&op->txn);
}

/* Equal documents of one writer have one size, whatever the order of members. A large one in
 * another order is written once more instead of being compared, which is quadratic. */
static bool is_same(kb_val a, kb_val b)
{
    enum { COMPARED_MAX_BYTES = 16 * 1024 };
    size_t n = kb_val_size(a);
    return n == kb_val_size(b) &&
           (memcmp(a.p, b.p, n) == 0 || (n <= COMPARED_MAX_BYTES && kb_val_equal(a, b)));
}

void kb__op_commit(struct kb_object_op *op)
{
    if (!op->removes && op->logic && op->logic->allocate && op->extras == NULL &&
        op->logic->allocate(op) < 0) {
        kb__op_fail(op);
        return;
    }
    set_key(op);
    kb__meta_order(op);
    kb_buf_clear(&op->out.buf);
    kb_w_node(&op->out, op->obj);
    if (op->out.buf.n > KB_OBJECT_MAX_BYTES) {
        kb_status_set(&op->status, &op->arena, 413, "RequestEntityTooLarge",
                      "Request entity too large: limit is %u", KB_OBJECT_MAX_BYTES);
        kb__op_fail(op);
        return;
    }
    bool same = op->old && !op->removes && is_same(kb_w_val(&op->out), op->old_val);
    if (op->req.dry_run || same) {
        kb__op_done(op, op->old ? op->old_rev : 0);
        return;
    }
    write_txn(op);
    op->stage = KB_STAGE_COMMIT;
}

/* details of a removal's Status */
static void reply_status(struct kb_object_op *op)
{
    op->status = (struct kb_status){0};
    if (op->removes && !op->evicts) {
        op->status.name = kb__op_name(op);
        op->status.group = op->kind->group;
        op->status.kind = op->kind->plural;
        op->status.uid = kb_node_text_at(op->obj, "metadata.uid");
    }
    kb_buf_clear(&op->out.buf);
    kb_status_write(&op->status, &op->out);
}

void kb__op_done(struct kb_object_op *op, int64_t rev)
{
    bool status = op->replies_status;
    if (op->replies_scale)
        kb__op_scale(op);
    else if (status)
        reply_status(op);
    op->reply.code = op->success_code ? op->success_code : 200;
    op->reply.doc = kb_w_val(&op->out);
    op->reply.rev = status ? 0 : rev;
    op->reply.warnings = op->warnings;
    op->reply.nwarnings = op->nwarnings;
    op->stage = KB_STAGE_DONE;
}

/* ---- the life of an op ---- */

static void copy_request(struct kb_object_op *op, const struct kb_object_request *from)
{
    struct kb_object_request *to = &op->req;
    kb_str *texts[] = {&to->ns,    &to->name, &to->subresource,    &to->manager,       &to->user,
                       &to->lease, &to->uid,  &to->label_selector, &to->field_selector};
    *to = *from;
    for (size_t i = 0; i < KB_COUNT(texts); i++)
        if (texts[i]->n)
            *texts[i] = kb_arena_str(&op->arena, *texts[i]);
    to->body = (kb_str){0};
    to->doc = (kb_val){0};
}

static struct kb_object_op *op_take(struct kb_objects_core *core)
{
    struct kb_object_op *op = core->free_ops;
    if (op) {
        core->free_ops = op->next_free;
        core->nfree--;
    } else {
        op = calloc(1, sizeof(*op));
        KB_ASSERT(op != NULL);
    }
    op->core = core;
    op->causes.arena = &op->arena;
    op->unknowns.arena = &op->arena;
    return op;
}

static int check_subresource(struct kb_object_op *op)
{
    const struct kb_object_request *req = &op->req;
    const struct kb_subresource *sub = kb_kind_subresource(op->kind, req->subresource);
    if (req->subresource.n == 0 || (sub && sub->verbs & req->verb))
        return 0;
    if (sub == NULL)
        kb_status_set(&op->status, &op->arena, 404, "NotFound",
                      "the server could not find the requested resource");
    else
        kb_status_set(&op->status, &op->arena, 405, "MethodNotAllowed",
                      "the server does not allow this method on the requested resource");
    return kb__op_fail(op);
}

/* Where each verb and subresource starts. */
static void op_start(struct kb_object_op *op)
{
    const struct kb_object_request *req = &op->req;
    if (check_subresource(op) < 0)
        return;
    bool creates =
        req->verb == KB_VERB_CREATE && req->subresource.n == 0 && !(op->kind && !op->kind->stored);
    if (creates) {
        kb__op_start_create(op);
        return;
    }
    if (req->verb == KB_VERB_CREATE && kb_str_is(req->subresource, "eviction")) {
        kb__op_start_evict(op);
        return;
    }
    kb__op_read_next(op, KB_STAGE_CURRENT, op->kind->resource, req->ns, req->name);
}

struct kb_object_op *kb_object_op_new(struct kb_objects_core *core,
                                      const struct kb_object_request *request, int64_t now_us)
{
    struct kb_object_op *op = op_take(core);
    copy_request(op, request);
    op->kind = request->kind;
    op->logic = kb__logic_of(op->kind->resource);
    op->now_us = now_us;
    kb_time_format(now_us, op->now);
    if (kb__op_parse_body(op, request) < 0)
        return op;
    bool needs_body = request->verb & (KB_VERB_CREATE | KB_VERB_UPDATE | KB_VERB_PATCH);
    bool takes_list = request->verb == KB_VERB_PATCH && request->patch == KB_PATCH_JSON;
    enum kb_type want = takes_list ? KB_ARRAY : KB_MAP;
    if (needs_body ? op->body == NULL || op->body->type != want
                   : op->body != NULL && op->body->type != KB_MAP) {
        kb_status_bad_request(&op->status, &op->arena,
                              op->body ? "the body of the request is not %s"
                                       : "the request needs a body: %s",
                              takes_list ? "a list of operations" : "an object");
        kb__op_fail(op);
        return op;
    }
    op_start(op);
    return op;
}

void kb_object_op_release(struct kb_object_op **op_p)
{
    struct kb_object_op *op = KB_STEAL(*op_p);
    if (op == NULL)
        return;
    struct kb_objects_core *core = op->core;
    if (core->nfree >= FREE_OPS_MAX || op->out.buf.cap > KB_OBJECT_MAX_BYTES / 4) {
        op_free(op);
        return;
    }
    struct kb_arena arena = op->arena;
    struct kb_w txn = op->txn, out = op->out;
    kb_arena_reset(&arena);
    kb_buf_clear(&txn.buf);
    kb_buf_clear(&out.buf);
    *op =
        (struct kb_object_op){.arena = arena, .txn = txn, .out = out, .next_free = core->free_ops};
    core->free_ops = op;
    core->nfree++;
}

enum kb_op_want kb_object_op_want(const struct kb_object_op *op)
{
    return op->stage == KB_STAGE_DONE      ? KB_OP_DONE
           : op->stage == KB_STAGE_COMMIT  ? KB_OP_COMMIT
           : op->stage == KB_STAGE_BUDGETS ? KB_OP_LIST
                                           : KB_OP_READ;
}

const char *kb_object_op_key(const struct kb_object_op *op)
{
    return op->read_key;
}

kb_str kb_object_op_after(const struct kb_object_op *op)
{
    return op->list_after;
}

kb_val kb_object_op_txn(const struct kb_object_op *op)
{
    return kb_w_val(&op->txn);
}

const struct kb_object_reply *kb_object_op_reply(const struct kb_object_op *op)
{
    KB_ASSERT(op->stage == KB_STAGE_DONE);
    return &op->reply;
}

/* The object as it stands becomes op->old. */
static void take_current(struct kb_object_op *op, int64_t rev, kb_val doc)
{
    op->found = kb_val_present(doc);
    op->old_rev = rev;
    op->old = NULL;
    op->obj = NULL;
    op->removes = false;
    op->extras = NULL;
    op->nwarnings = 0;
    op->stage = KB_STAGE_CURRENT;
    if (!op->found)
        return;
    size_t n = kb_val_size(doc);
    uint8_t *copy = kb_arena_alloc(&op->arena, n);
    memcpy(copy, doc.p, n);
    op->old_val = (kb_val){copy, copy + n};
    op->old = kb_node_of(&op->arena, op->old_val);
}

/* With the current object at hand: what the request is about. */
static void go_on(struct kb_object_op *op)
{
    if (op->req.verb == KB_VERB_CREATE && op->req.subresource.n == 0) { /* a dry run */
        if (op->found) {
            kb_status_exists(&op->status, &op->arena, op->kind, kb__op_name(op));
            kb__op_fail(op);
            return;
        }
        kb__op_create(op);
        return;
    }
    if (!op->found) {
        kb_status_not_found(&op->status, &op->arena, op->kind, op->req.name);
        kb__op_fail(op);
        return;
    }
    if (op->evicts)
        kb__op_evict(op);
    else if (op->req.verb == KB_VERB_DELETE || op->req.verb == KB_VERB_DELETECOLLECTION)
        kb__op_delete(op);
    else if (kb_str_is(op->req.subresource, "binding"))
        kb__op_bind(op);
    else
        kb__op_update(op);
}

static void namespace_read(struct kb_object_op *op, kb_val doc)
{
    kb_objects_core_namespace(op->core, op->req.ns, doc);
    kb__op_start_create(op);
}

void kb_object_op_read(struct kb_object_op *op, int64_t rev, kb_val doc)
{
    KB_ASSERT(kb_object_op_want(op) == KB_OP_READ);
    if (op->stage == KB_STAGE_NAMESPACE) {
        if (!kb_val_present(doc)) {
            const struct kb_kind *ns =
                kb_kinds_by_resource(op->core->kinds, kb_str_of("namespaces"));
            kb_status_not_found(&op->status, &op->arena, ns, op->req.ns);
            kb__op_fail(op);
            return;
        }
        namespace_read(op, doc);
        return;
    }
    if (op->stage == KB_STAGE_ACCOUNT) {
        kb__account_read(op, kb_val_present(doc));
        return;
    }
    take_current(op, rev, doc);
    go_on(op);
}

void kb_object_op_listed(struct kb_object_op *op, kb_val items, bool more)
{
    KB_ASSERT(kb_object_op_want(op) == KB_OP_LIST);
    kb__op_budgets(op, items, more);
}

void kb_object_op_committed(struct kb_object_op *op, int64_t rev)
{
    KB_ASSERT(op->stage == KB_STAGE_COMMIT);
    if (op->logic && op->logic->committed)
        op->logic->committed(op);
    kb__op_done(op, rev);
}

void kb_object_op_failed(struct kb_object_op *op, const struct kb_err *err)
{
    kb_status_of_err(&op->status, &op->arena, err);
    kb__op_fail(op);
}

void kb_object_op_fenced(struct kb_object_op *op, const struct kb_err *err)
{
    op->fenced = true;
    kb_object_op_failed(op, err);
}

/* A create's name was taken: another one, when we chose it. */
static void create_lost(struct kb_object_op *op)
{
    if (!op->generated_name || op->tries >= 8) {
        kb_status_exists(&op->status, &op->arena, op->kind, kb__op_name(op));
        if (op->generated_name)
            op->status.retry_after_s = 1;
        kb__op_fail(op);
        return;
    }
    kb__meta_new_name(op);
    kb__op_commit(op);
}

static struct kb_extra *extra_at(struct kb_object_op *op, size_t index)
{
    for (struct kb_extra *extra = op->extras; extra; extra = extra->next)
        if (!extra->dropped && --index == 0)
            return extra;
    return NULL;
}

static void extra_lost(struct kb_object_op *op, const struct kb_err *err, size_t index)
{
    struct kb_extra *extra = extra_at(op, index);
    if (extra == NULL) {
        kb_object_op_failed(op, err);
    } else if (op->evicts) {
        kb__op_evict(op); /* the budget has changed */
    } else if (extra->del) {
        extra->dropped = true; /* was not there: nothing to give back */
        kb__op_commit(op);
    } else if (op->logic && op->logic->taken && op->logic->taken(op, extra->key) == 0) {
        kb__op_commit(op);
    } else {
        if (op->status.code == 0)
            kb_status_of_err(&op->status, &op->arena, err);
        kb__op_fail(op);
    }
}

void kb_object_op_refused(struct kb_object_op *op, const struct kb_err *err, size_t index,
                          int64_t rev, kb_val current)
{
    KB_ASSERT(op->stage == KB_STAGE_COMMIT);
    bool raced = err->code == KB_ECONFLICT || err->code == KB_EEXISTS || err->code == KB_ENOTFOUND;
    if (!raced || op->tries++ >= TRIES_MAX * (index ? 8u : 1u)) {
        kb_object_op_failed(op, err);
    } else if (index > 0) {
        extra_lost(op, err, index);
    } else if (op->old == NULL) {
        create_lost(op);
    } else {
        take_current(op, rev, current);
        go_on(op);
    }
}
