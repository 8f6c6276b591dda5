/* objects_meta.c - metadata: what the server sets, what may never change, what must be well-formed.
 */
#include "actors/api/objects_impl.h"

#include <stdio.h>

enum { GENERATED_MAX = 63, SUFFIX = 5, ANNOTATIONS_MAX_BYTES = 256 * 1024 };

void kb__meta_new_name(struct kb_object_op *op)
{
    char suffix[SUFFIX + 1];
    struct kb_node *meta = kb__op_meta(op->obj, &op->arena);
    kb_str prefix = kb_node_text(kb_node_get(meta, "generateName"));
    if (prefix.n > GENERATED_MAX - SUFFIX)
        prefix.n = GENERATED_MAX - SUFFIX;
    kb_rand_suffix(&op->core->rand, suffix, SUFFIX);
    kb_node_put(&op->arena, meta, "name",
                kb_node_str(&op->arena, kb_arena_printf(&op->arena, KB_STR_FMT "%s",
                                                        KB_STR_ARG(prefix), suffix)));
}

static int check_namespace(struct kb_object_op *op, struct kb_node *meta)
{
    kb_str have = kb_node_text(kb_node_get(meta, "namespace"));
    if (!op->kind->namespaced) {
        kb_node_del(meta, "namespace");
        return 0;
    }
    if (have.n && !kb_str_eq(have, op->req.ns)) {
        kb_status_bad_request(&op->status, &op->arena,
                              "the namespace of the provided object does not match the namespace "
                              "sent on the request");
        return kb__op_fail(op);
    }
    if (have.n == 0)
        kb_node_put(&op->arena, meta, "namespace", kb_node_str(&op->arena, op->req.ns));
    return 0;
}

/* What no client sets. */
static void drop_server_fields(struct kb_node *meta)
{
    static const char *const fields[] = {"resourceVersion", "selfLink", "managedFields"};
    for (size_t i = 0; i < KB_COUNT(fields); i++)
        kb_node_del(meta, fields[i]);
}

int kb__meta_on_create(struct kb_object_op *op)
{
    char uid[KB_UUID_BYTES];
    struct kb_arena *a = &op->arena;
    struct kb_node *meta = kb__op_meta(op->obj, a);
    kb_str rv = kb_node_text(kb_node_get(meta, "resourceVersion"));
    if (rv.n && !kb_str_is(rv, "0")) {
        kb_status_bad_request(&op->status, a,
                              "resourceVersion should not be set on objects to be created");
        return kb__op_fail(op);
    }
    if (check_namespace(op, meta) < 0)
        return -KB_EINVAL;
    drop_server_fields(meta);
    kb_node_del(meta, "deletionTimestamp");
    kb_node_del(meta, "deletionGracePeriodSeconds");
    kb_node_del(meta, "generation");
    if (kb_node_text(kb_node_get(meta, "name")).n == 0 &&
        kb_node_text(kb_node_get(meta, "generateName")).n) {
        op->generated_name = true;
        kb__meta_new_name(op);
    }
    kb_rand_uuid(&op->core->rand, uid);
    kb_node_put(a, meta, "uid", kb_node_cstr(a, uid));
    kb_node_put(a, meta, "creationTimestamp", kb_node_cstr(a, op->now));
    if (op->kind->generation)
        kb_node_put(a, meta, "generation", kb_node_int(a, 1));
    return 0;
}

/* ---- update ---- */

static int check_revision(struct kb_object_op *op, struct kb_node *meta)
{
    int64_t want = 0;
    kb_str rv = kb_node_text(kb_node_get(meta, "resourceVersion"));
    if (rv.n && !kb_str_i64(rv, &want)) {
        kb_status_bad_request(&op->status, &op->arena,
                              "resourceVersion \"" KB_STR_FMT "\" is not one of this server",
                              KB_STR_ARG(rv));
        return kb__op_fail(op);
    }
    if ((want && want != op->old_rev) || (op->req.rev && op->req.rev != op->old_rev)) {
        kb_status_modified(&op->status, &op->arena, op->kind, op->req.name);
        return kb__op_fail(op);
    }
    return 0;
}

static int check_uid(struct kb_object_op *op, kb_str want)
{
    kb_str have = kb_node_text_at(op->old, "metadata.uid");
    if (want.n == 0 || kb_str_eq(want, have))
        return 0;
    kb_status_conflict(&op->status, &op->arena, op->kind, op->req.name,
                       "Precondition failed: UID in precondition: " KB_STR_FMT
                       ", UID in object meta: " KB_STR_FMT,
                       KB_STR_ARG(want), KB_STR_ARG(have));
    return kb__op_fail(op);
}

int kb__meta_preconditions(struct kb_object_op *op)
{
    if (op->req.rev && op->req.rev != op->old_rev) {
        kb_status_conflict(&op->status, &op->arena, op->kind, op->req.name,
                           "Precondition failed: ResourceVersion in precondition: %lld, "
                           "ResourceVersion in object meta: %lld",
                           (long long)op->req.rev, (long long)op->old_rev);
        return kb__op_fail(op);
    }
    return check_uid(op, op->req.uid);
}

static bool list_has(const struct kb_node *list, kb_str text)
{
    for (uint32_t i = 0; list && list->type == KB_ARRAY && i < list->count; i++)
        if (kb_str_eq(kb_node_text(list->items[i].val), text))
            return true;
    return false;
}

/* A dying object gets no new finalizer. */
static void check_new_finalizers(struct kb_object_op *op, const struct kb_node *meta)
{
    KB_AUTO(kb_buf_finish) struct kb_buf added = {0};
    const struct kb_node *before = kb_node_at(op->old, "metadata.finalizers");
    const struct kb_node *after = kb_node_get(meta, "finalizers");
    if (kb_node_at(op->old, "metadata.deletionTimestamp") == NULL)
        return;
    for (uint32_t i = 0; after && after->type == KB_ARRAY && i < after->count; i++) {
        kb_str name = kb_node_text(after->items[i].val);
        if (!list_has(before, name))
            kb_buf_printf(&added, "%s\"" KB_STR_FMT "\"", added.n ? ", " : "", KB_STR_ARG(name));
    }
    if (added.n == 0)
        return;
    struct kb_at at = kb_at_field(NULL, "metadata.finalizers");
    kb_causes_add(&op->causes, KB_CAUSE_FORBIDDEN, &at, NULL,
                  "no new finalizers can be added if the object is being deleted, found new "
                  "finalizers []string{%s}",
                  added.p);
}

/* Whether anything but metadata and status differs. */
static bool content_differs(const struct kb_node *a, const struct kb_node *b)
{
    for (uint32_t i = 0; i < a->count; i++) {
        kb_str key = a->items[i].key;
        if (kb_str_is(key, "metadata") || kb_str_is(key, "status"))
            continue;
        if (!kb_node_equal(a->items[i].val, kb_node_getn(b, key)))
            return true;
    }
    return false;
}

static void keep_from_old(struct kb_object_op *op, struct kb_node *meta)
{
    static const char *const fields[] = {"name",
                                         "namespace",
                                         "uid",
                                         "creationTimestamp",
                                         "generateName",
                                         "deletionTimestamp",
                                         "deletionGracePeriodSeconds",
                                         "generation"};
    const struct kb_node *old = kb_node_get(op->old, "metadata");
    for (size_t i = 0; i < KB_COUNT(fields); i++) {
        struct kb_node *val = kb_node_get(old, fields[i]);
        if (val)
            kb_node_put(&op->arena, meta, fields[i], val);
        else
            kb_node_del(meta, fields[i]);
    }
}

int kb__meta_on_update(struct kb_object_op *op)
{
    struct kb_node *meta = kb__op_meta(op->obj, &op->arena);
    kb_str name = kb_node_text(kb_node_get(meta, "name"));
    if (name.n && !kb_str_eq(name, op->req.name)) {
        kb_status_bad_request(&op->status, &op->arena,
                              "the name of the object (" KB_STR_FMT
                              ") does not match the name on the URL (" KB_STR_FMT ")",
                              KB_STR_ARG(name), KB_STR_ARG(op->req.name));
        return kb__op_fail(op);
    }
    if (check_namespace(op, meta) < 0 || check_revision(op, meta) < 0 ||
        check_uid(op, op->req.uid) < 0 || check_uid(op, kb_node_text(kb_node_get(meta, "uid"))) < 0)
        return -KB_EINVAL;
    drop_server_fields(meta);
    keep_from_old(op, meta);
    return 0;
}

/* ---- checks ---- */

static void validate_name(struct kb_object_op *op, const struct kb_node *meta)
{
    struct kb_at at = kb_at_field(NULL, "metadata.name");
    kb_str name = kb_node_text(kb_node_get(meta, "name"));
    if (name.n == 0) {
        kb_causes_add(&op->causes, KB_CAUSE_REQUIRED, &at, NULL,
                      "name or generateName is required");
        return;
    }
    const char *wrong = NULL;
    if (op->kind->name_format.n)
        wrong = kb_format_check(op->kind->name_format.p, name);
    else if (kb_str_is(name, ".") || kb_str_is(name, ".."))
        wrong = kb_str_is(name, ".") ? "may not be '.'" : "may not be '..'";
    for (size_t i = 0; wrong == NULL && i < name.n; i++)
        if (name.p[i] == '/' || name.p[i] == '%' || (unsigned char)name.p[i] < 0x20)
            wrong = name.p[i] == '/' ? "may not contain '/'" : "may not contain '%'";
    if (wrong == NULL && name.n > KB_NAME_MAX_BYTES)
        wrong = "must be no more than 253 characters";
    if (wrong)
        kb_causes_add_str(&op->causes, KB_CAUSE_INVALID, &at, name, "%s", wrong);
}

static void validate_owners(struct kb_object_op *op, const struct kb_node *owners)
{
    struct kb_at at = kb_at_field(NULL, "metadata.ownerReferences");
    kb_str controller = {0};
    for (uint32_t i = 0; owners && owners->type == KB_ARRAY && i < owners->count; i++) {
        const struct kb_node *owner = owners->items[i].val;
        if (!kb_node_true(kb_node_get(owner, "controller")))
            continue;
        kb_str name = kb_node_text(kb_node_get(owner, "name"));
        if (controller.n)
            kb_causes_add(&op->causes, KB_CAUSE_INVALID, &at, owners,
                          "Only one reference can have Controller set to true. Found \"true\" in "
                          "references for " KB_STR_FMT " and " KB_STR_FMT,
                          KB_STR_ARG(controller), KB_STR_ARG(name));
        controller = name;
    }
}

static void validate_annotations(struct kb_object_op *op, const struct kb_node *annotations)
{
    struct kb_at at = kb_at_field(NULL, "metadata.annotations");
    size_t n = 0;
    for (uint32_t i = 0; annotations && annotations->type == KB_MAP && i < annotations->count; i++)
        n += annotations->items[i].key.n + kb_node_text(annotations->items[i].val).n;
    if (n > ANNOTATIONS_MAX_BYTES)
        kb_causes_add(&op->causes, KB_CAUSE_TOO_LONG, &at, NULL, "may not be more than %d bytes",
                      ANNOTATIONS_MAX_BYTES);
}

void kb__meta_validate(struct kb_object_op *op)
{
    const struct kb_node *meta = kb_node_get(op->obj, "metadata");
    if (op->old == NULL)
        validate_name(op, meta);
    else
        check_new_finalizers(op, meta);
    validate_owners(op, kb_node_get(meta, "ownerReferences"));
    validate_annotations(op, kb_node_get(meta, "annotations"));
}

/* ---- what cannot change ---- */

static void check_path(struct kb_object_op *op, kb_str path, const char *why)
{
    const struct kb_node *before = kb_node_at(op->old, path.p),
                         *after = kb_node_at(op->obj, path.p);
    struct kb_at at = kb_at_name(NULL, path);
    KB_AUTO(kb_buf_finish) struct kb_buf text = {0};
    if (kb_node_equal(before, after))
        return;
    if (kb_str_is(path, "spec.selector") && after && after->type == KB_MAP) {
        kb_go_selector(after, &text);
        kb_causes_add_go(&op->causes, KB_CAUSE_INVALID, &at, kb_buf_str(&text), "%s", why);
        return;
    }
    kb_causes_add(&op->causes, KB_CAUSE_INVALID, &at, after ? after : kb_node_nil(&op->arena), "%s",
                  why);
}

/* Give `copy` the value of `from` at a path like a.b[*].c. */
static void take_path(struct kb_arena *a, struct kb_node *copy, const struct kb_node *from,
                      kb_str path)
{
    kb_str rest = path, step = kb_str_cut(&rest, '.');
    bool each = kb_str_ends(step, "[*]");
    step.n -= each ? 3 : 0;
    struct kb_node *to_val = kb_node_getn(copy, step), *from_val = kb_node_getn(from, step);
    if (rest.p == NULL) {
        if (from_val)
            kb_node_putn(a, copy, step, from_val);
        else if (copy->type == KB_MAP)
            kb_node_deln(copy, step);
        return;
    }
    if (to_val == NULL || from_val == NULL)
        return;
    if (!each) {
        if (to_val->type == KB_MAP)
            take_path(a, to_val, from_val, rest);
        return;
    }
    for (uint32_t i = 0; to_val->type == KB_ARRAY && from_val->type == KB_ARRAY &&
                         i < to_val->count && i < from_val->count;
         i++)
        if (to_val->items[i].val->type == KB_MAP)
            take_path(a, to_val->items[i].val, from_val->items[i].val, rest);
}

static void check_mutable(struct kb_object_op *op)
{
    const struct kb_kind *kind = op->kind;
    struct kb_node *before = kb_node_at(op->old, kind->mutable_under.p);
    struct kb_node *after = kb_node_at(op->obj, kind->mutable_under.p);
    if (kb_node_equal(before, after))
        return;
    struct kb_node *copy = kb_node_copy(&op->arena, op->obj);
    for (size_t i = 0; i < kind->mutable_fields.count; i++)
        take_path(&op->arena, copy, op->old, kind->mutable_fields.items[i]);
    if (kb_node_equal(kb_node_at(copy, kind->mutable_under.p), before))
        return;
    struct kb_at at = kb_at_name(NULL, kind->mutable_under);
    kb_causes_add(&op->causes, KB_CAUSE_FORBIDDEN, &at, NULL, KB_STR_FMT,
                  KB_STR_ARG(kind->mutable_message));
}

void kb__meta_check_immutable(struct kb_object_op *op)
{
    const struct kb_kind *kind = op->kind;
    bool pods_own = op->req.subresource.n != 0; /* ephemeralcontainers, resize have own rules */
    for (size_t i = 0; i < kind->immutable.count; i++)
        check_path(op, kind->immutable.items[i], "field is immutable");
    for (size_t i = 0; i < kind->immutable_once_set.count; i++) {
        kb_str path = kind->immutable_once_set.items[i];
        if (kb_node_at(op->old, path.p))
            check_path(op, path, "field is immutable once set");
    }
    if (kind->immutable_when.n && kb_node_true(kb_node_at(op->old, kind->immutable_when.p)))
        for (size_t i = 0; i < kind->immutable_then.count; i++) {
            kb_str path = kind->immutable_then.items[i];
            struct kb_at at = kb_at_name(NULL, path);
            if (!kb_node_equal(kb_node_at(op->old, path.p), kb_node_at(op->obj, path.p)))
                kb_causes_add(&op->causes, KB_CAUSE_FORBIDDEN, &at, NULL,
                              "field is immutable when `" KB_STR_FMT "` is set",
                              KB_STR_ARG(kind->immutable_when));
        }
    if (kind->mutable_under.n && !pods_own)
        check_mutable(op);
}

void kb__meta_generation(struct kb_object_op *op)
{
    struct kb_node *meta = kb_node_get(op->obj, "metadata");
    int64_t generation = kb_node_num(kb_node_at(op->old, "metadata.generation"), 0);
    if (op->kind->generation &&
        (content_differs(op->obj, op->old) || content_differs(op->old, op->obj)))
        kb_node_put(&op->arena, meta, "generation", kb_node_int(&op->arena, generation + 1));
}

/* ---- order ---- */

void kb__meta_order(struct kb_object_op *op)
{
    static const char *const first[] = {"apiVersion", "kind", "metadata"};
    struct kb_node *obj = op->obj;
    uint32_t place = 0;
    for (size_t f = 0; f < KB_COUNT(first); f++)
        for (uint32_t i = place; i < obj->count; i++)
            if (kb_str_is(obj->items[i].key, first[f])) {
                struct kb_member member = obj->items[i];
                memmove(&obj->items[place + 1], &obj->items[place],
                        (i - place) * sizeof(*obj->items));
                obj->items[place++] = member;
                break;
            }
}

bool kb__meta_has_finalizers(const struct kb_kind *kind, const struct kb_node *object)
{
    const struct kb_node *own = kb_node_at(object, "metadata.finalizers");
    const struct kb_node *more =
        kind->finalizers_path.n ? kb_node_at(object, kind->finalizers_path.p) : NULL;
    return (own && own->type == KB_ARRAY && own->count) ||
           (more && more->type == KB_ARRAY && more->count);
}
