/* objects_delete.c - deletion: at once, after a grace, or once the last finalizer is gone.
 *
 *   no grace, no finalizers      the object is removed
 *   grace > 0 (pods)             deletionTimestamp = now + grace; whoever runs the pod deletes it
 * again with grace 0 when it has ended finalizers                   deletionTimestamp = now; the
 * write that takes the last finalizer away removes the object (objects_write.c) A propagation
 * policy is a finalizer too: the garbage collector takes it away when it has done what the policy
 * asks for. */
#include "actors/api/objects_impl.h"

/* DeleteOptions of the body win over those of the query. */
static int read_options(struct kb_object_op *op)
{
    struct kb_object_request *req = &op->req;
    struct kb_node *body = op->body;
    if (body == NULL || op->decoded)
        return 0;
    op->decoded = true;
    const struct kb_node *grace = kb_node_get(body, "gracePeriodSeconds");
    if (grace && grace->type == KB_INT) {
        req->has_grace = true;
        req->grace_s = grace->i;
    }
    kb_str policy = kb_node_text(kb_node_get(body, "propagationPolicy"));
    if (kb_str_is(policy, "Background"))
        req->propagation = KB_PROPAGATION_BACKGROUND;
    else if (kb_str_is(policy, "Foreground"))
        req->propagation = KB_PROPAGATION_FOREGROUND;
    else if (kb_str_is(policy, "Orphan"))
        req->propagation = KB_PROPAGATION_ORPHAN;
    else if (policy.n) {
        kb_status_bad_request(&op->status, &op->arena,
                              "invalid propagationPolicy \"" KB_STR_FMT
                              "\": must be Background, Foreground or Orphan",
                              KB_STR_ARG(policy));
        return kb__op_fail(op);
    }
    const struct kb_node *orphan = kb_node_get(body, "orphanDependents");
    if (orphan && orphan->type == KB_BOOL)
        req->propagation = orphan->b ? KB_PROPAGATION_ORPHAN : KB_PROPAGATION_BACKGROUND;
    const struct kb_node *dry = kb_node_get(body, "dryRun");
    if (dry && dry->type == KB_ARRAY && dry->count)
        req->dry_run = true;
    kb_str uid = kb_node_text_at(body, "preconditions.uid");
    kb_str rev = kb_node_text_at(body, "preconditions.resourceVersion");
    if (uid.n)
        req->uid = uid;
    if (rev.n && !kb_str_i64(rev, &req->rev))
        req->rev = -1;
    return 0;
}

static void set_finalizer(struct kb_object_op *op, struct kb_node *meta, const char *name, bool on)
{
    struct kb_node *list = kb_node_get(meta, "finalizers");
    for (uint32_t i = 0; list && list->type == KB_ARRAY && i < list->count; i++)
        if (kb_str_is(kb_node_text(list->items[i].val), name)) {
            if (!on)
                kb_node_remove(list, i);
            return;
        }
    if (!on)
        return;
    if (list == NULL || list->type != KB_ARRAY) {
        list = kb_node_array(&op->arena);
        kb_node_put(&op->arena, meta, "finalizers", list);
    }
    kb_node_append(&op->arena, list, kb_node_cstr(&op->arena, name));
}

static void apply_propagation(struct kb_object_op *op, struct kb_node *meta)
{
    enum kb_propagation policy = op->req.propagation;
    if (policy == KB_PROPAGATION_DEFAULT)
        return; /* finalizers that are there already are obeyed */
    set_finalizer(op, meta, "orphan", policy == KB_PROPAGATION_ORPHAN);
    set_finalizer(op, meta, "foregroundDeletion", policy == KB_PROPAGATION_FOREGROUND);
    struct kb_node *list = kb_node_get(meta, "finalizers");
    if (list && list->count == 0)
        kb_node_del(meta, "finalizers");
}

/* Mark as dying in `grace_s` seconds. */
static void mark(struct kb_object_op *op, struct kb_node *meta, int64_t grace_s)
{
    char when[KB_TIME_BYTES];
    int64_t generation = kb_node_num(kb_node_get(meta, "generation"), 0);
    kb_time_format(op->now_us + kb_seconds_us(grace_s), when);
    if (generation > 0 && kb_node_get(meta, "deletionTimestamp") == NULL)
        kb_node_put(&op->arena, meta, "generation", kb_node_int(&op->arena, generation + 1));
    kb_node_put(&op->arena, meta, "deletionTimestamp", kb_node_cstr(&op->arena, when));
    kb_node_put(&op->arena, meta, "deletionGracePeriodSeconds", kb_node_int(&op->arena, grace_s));
}

/* Seconds of grace for this deletion; 0: none. */
static int64_t grace_of(struct kb_object_op *op)
{
    int64_t asked = op->req.has_grace ? op->req.grace_s : -1;
    if (op->kind->grace_path.n == 0)
        return 0;
    int64_t grace =
        asked >= 0 ? asked : kb_node_num(kb_node_at(op->old, op->kind->grace_path.p), 0);
    if (op->logic && op->logic->grace)
        grace = op->logic->grace(op, grace);
    return grace < 0 ? 1 : grace;
}

/* A second deletion can only shorten the grace. */
static void delete_again(struct kb_object_op *op, struct kb_node *meta, int64_t grace_s)
{
    int64_t running = kb_node_num(kb_node_get(meta, "deletionGracePeriodSeconds"), 0);
    bool shorter = op->req.has_grace ? grace_s < running : running > 0 && grace_s == 0;
    bool finalizers = kb__meta_has_finalizers(op->kind, op->obj);
    if (running > 0 && !shorter) {
        kb__op_commit(op); /* changes nothing, or only the finalizers of a policy */
        return;
    }
    if (!finalizers && (running == 0 || grace_s == 0)) {
        op->removes = true;
        return;
    }
    if (running > 0)
        mark(op, meta, grace_s);
}

static void delete_first(struct kb_object_op *op, struct kb_node *meta, int64_t grace_s)
{
    if (grace_s == 0 && !kb__meta_has_finalizers(op->kind, op->obj))
        op->removes = true;
    else
        mark(op, meta, grace_s);
}

void kb__op_delete(struct kb_object_op *op)
{
    if (read_options(op) < 0 || kb__meta_preconditions(op) < 0)
        return;
    if (op->logic && op->logic->check_delete && op->logic->check_delete(op) < 0) {
        kb__op_fail(op);
        return;
    }
    op->obj = kb__op_old_tree(op);
    if (op->evicts)
        kb__op_mark_evicted(op);
    struct kb_node *meta = kb__op_meta(op->obj, &op->arena);
    int64_t grace_s = grace_of(op);
    apply_propagation(op, meta);
    if (kb_node_get(meta, "deletionTimestamp"))
        delete_again(op, meta, grace_s);
    else
        delete_first(op, meta, grace_s);
    if (op->stage == KB_STAGE_COMMIT || op->stage == KB_STAGE_DONE)
        return;
    if (op->removes) {
        if (op->logic && op->logic->release)
            op->logic->release(op);
        if (!op->req.last_state && !(op->logic && op->logic->returns_deleted))
            op->replies_status = true;
    } else if (op->logic && op->logic->prepare) {
        if (op->logic->prepare(op) < 0) { /* a Namespace becomes Terminating */
            kb__op_fail(op);
            return;
        }
    }
    kb__op_commit(op);
}
