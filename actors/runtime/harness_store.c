/* harness_store.c - the store and the API in small: what a controller's writes do to objects.
 *
 * It follows Kubernetes where a controller can tell: names, uids, generations, preconditions,
 * the split of status, finalizers and grace. Objects pass the same schemas as in the cluster. */
#include "actors/runtime/harness_impl.h"

#include "bus/base/grow.h"

#include <stdio.h>
#include <stdlib.h>

void kb__hstore_init(struct hstore *s, uint64_t seed)
{
    *s = (struct hstore){.kinds = kb_kinds_builtin(), .rev = 1};
    kb_rand_init(&s->rand, seed);
}

void kb__hstore_finish(struct hstore *s)
{
    for (size_t i = 0; i < s->count; i++) {
        free(s->items[i].key);
        kb_doc_destroy(&s->items[i].doc);
    }
    free(s->items);
    kb_kinds_destroy(&s->kinds);
}

/* Where the key is, or would be. */
static size_t place(const struct hstore *s, const char *key, bool *ret_there)
{
    size_t low = 0, high = s->count;
    while (low < high) {
        size_t mid = (low + high) / 2;
        int order = strcmp(s->items[mid].key, key);
        if (order == 0) {
            *ret_there = true;
            return mid;
        }
        if (order < 0)
            low = mid + 1;
        else
            high = mid;
    }
    *ret_there = false;
    return low;
}

const struct hobject *kb__hstore_get(const struct hstore *s, const char *key)
{
    bool there;
    size_t at = place(s, key, &there);
    return there ? &s->items[at] : NULL;
}

static void put(struct hstore *s, const char *key, struct kb_doc *doc)
{
    bool there;
    size_t at = place(s, key, &there);
    if (!there) {
        KB_GROW(s->items, s->count, s->cap, 64);
        memmove(&s->items[at + 1], &s->items[at], (s->count - at) * sizeof(*s->items));
        s->items[at] = (struct hobject){.key = kb_str_dup(kb_str_of(key))};
        s->count++;
    }
    kb_doc_destroy(&s->items[at].doc);
    s->items[at].doc = doc;
    s->items[at].rev = ++s->rev;
    s->commit(s->user, key, false, s->rev, kb_doc_root(doc));
}

void kb__hstore_remove(struct hstore *s, const char *key)
{
    bool there;
    size_t at = place(s, key, &there);
    KB_ASSERT(there);
    struct hobject gone = s->items[at];
    s->count--;
    memmove(&s->items[at], &s->items[at + 1], (s->count - at) * sizeof(*s->items));
    s->rev++;
    s->commit(s->user, gone.key, true, s->rev, kb_doc_root(gone.doc));
    free(gone.key);
    kb_doc_destroy(&gone.doc);
}

void kb__hstore_force(struct hstore *s, const char *key, const struct kb_node *object)
{
    put(s, key, kb_node_doc(object));
}

void kb__merge_patch(struct kb_arena *a, struct kb_node *target, const struct kb_node *patch)
{
    for (uint32_t i = 0; i < patch->count; i++) {
        const struct kb_member *m = &patch->items[i];
        struct kb_node *old = kb_node_getn(target, m->key);
        if (m->val->type == KB_NIL) {
            kb_node_deln(target, m->key);
        } else if (m->val->type == KB_MAP) {
            if (old == NULL || old->type != KB_MAP) {
                old = kb_node_map(a);
                kb_node_putn(a, target, m->key, old);
            }
            kb__merge_patch(a, old, m->val);
        } else {
            kb_node_putn(a, target, m->key, kb_node_copy(a, m->val));
        }
    }
}

/* ---- a call ---- */

struct call {
    struct hstore *s;
    struct kb_arena a;
    kb_val body;
    const struct kb_kind *kind;
    kb_str resource, ns, name, sub;
    char key[KB_KEY_MAX_BYTES + 1];
    const struct hobject *object; /* the one that is there */
    struct kb_err *err;
};

static int not_found(struct call *c)
{
    return kb_err_set(c->err, KB_ENOTFOUND, KB_STR_FMT " \"" KB_STR_FMT "\" not found",
                      KB_STR_ARG(c->kind->plural), KB_STR_ARG(c->name));
}

/* Through the schema: decode, default, validate. */
static int admit(struct call *c, struct kb_node *object)
{
    struct kb_causes causes = {.arena = &c->a};
    int rc = kb_schema_decode(c->kind->schema, &c->a, object, NULL, c->err);
    if (rc < 0)
        return rc;
    kb_schema_default(c->kind->schema, &c->a, object);
    kb_schema_validate(c->kind->schema, object, NULL, &causes);
    if (causes.count == 0)
        return 0;
    KB_AUTO(kb_buf_finish) struct kb_buf text = {0};
    kb_causes_text(&causes, &text);
    return kb_err_set(c->err, KB_EUNPROCESSABLE, "%s", text.p);
}

static void reply(struct call *c, const char *key, int64_t rev, kb_val doc, struct kb_doc **ret)
{
    struct kb_w w = {0};
    kb_w_map(&w);
    kb_w_kcstr(&w, "key", key);
    kb_w_kint(&w, "rev", rev);
    kb_w_kraw(&w, "doc", doc);
    kb_w_end(&w);
    *ret = kb_w_doc(&w);
    kb_w_finish(&w);
    (void)c;
}

static bool is_pod(const struct call *c)
{
    return kb_str_is(c->resource, "pods");
}

static bool namespace_ends(const struct call *c)
{
    char key[KB_KEY_MAX_BYTES + 1];
    snprintf(key, sizeof(key), "namespaces//" KB_STR_FMT, KB_STR_ARG(c->ns));
    const struct hobject *ns = kb__hstore_get(c->s, key);
    return ns && kb_meta_deleting(kb_doc_root(ns->doc));
}

static struct kb_node *status_new(struct call *c)
{
    struct kb_node *status = kb_node_map(&c->a);
    if (is_pod(c))
        kb_node_set_cstr(&c->a, status, "phase", "Pending");
    if (kb_str_is(c->resource, "namespaces"))
        kb_node_set_cstr(&c->a, status, "phase", "Active");
    return status;
}

static int create(struct call *c, struct kb_doc **ret)
{
    struct kb_node *object = kb_node_of(&c->a, kb_val_get(c->body, "doc"));
    char uuid[KB_UUID_BYTES], suffix[6];
    if (namespace_ends(c))
        return kb_err_set(c->err, KB_EFORBIDDEN,
                          "unable to create new content in namespace " KB_STR_FMT
                          " because it is being terminated",
                          KB_STR_ARG(c->ns));
    kb_str name = kb_node_text_at(object, "metadata.name");
    if (name.n == 0) {
        kb_rand_suffix(&c->s->rand, suffix, 5);
        name =
            kb_arena_printf(&c->a, KB_STR_FMT "%s",
                            KB_STR_ARG(kb_node_text_at(object, "metadata.generateName")), suffix);
        kb_node_set_str(&c->a, object, "metadata.name", name);
    }
    c->name = name;
    KB_ASSERT(kb_key_format((kb_key){c->resource, c->ns, name}, c->key, sizeof(c->key)));
    if (kb__hstore_get(c->s, c->key))
        return kb_err_set(c->err, KB_EEXISTS, KB_STR_FMT " \"" KB_STR_FMT "\" already exists",
                          KB_STR_ARG(c->kind->plural), KB_STR_ARG(name));
    if (c->kind->namespaced)
        kb_node_set_str(&c->a, object, "metadata.namespace", c->ns);
    if (c->kind->status_split)
        kb_node_put(&c->a, object, "status", status_new(c));
    if (kb_str_is(c->resource, "namespaces") && kb_node_at(object, "spec.finalizers") == NULL) {
        struct kb_node *finalizers = kb_node_array(&c->a);
        kb_node_append(&c->a, finalizers, kb_node_cstr(&c->a, "kubernetes"));
        kb_node_set(&c->a, object, "spec.finalizers", finalizers);
    }
    kb_rand_uuid(&c->s->rand, uuid);
    kb_node_set_cstr(&c->a, object, "metadata.uid", uuid);
    kb_node_set(&c->a, object, "metadata.creationTimestamp", kb_node_time(&c->a, c->s->wall_us));
    if (c->kind->generation)
        kb_node_set_int(&c->a, object, "metadata.generation", 1);
    int rc = admit(c, object);
    if (rc < 0)
        return rc;
    put(c->s, c->key, kb_node_doc(object));
    reply(c, c->key, c->s->rev, kb_doc_root(kb__hstore_get(c->s, c->key)->doc), ret);
    return 0;
}

static bool may_go(const struct call *c, const struct kb_node *object)
{
    const struct kb_node *finalizers = kb_node_at(object, "metadata.finalizers");
    const struct kb_node *own = kb_node_at(object, "spec.finalizers");
    return kb_node_at(object, "metadata.deletionTimestamp") &&
           (!finalizers || !finalizers->count) &&
           (!kb_str_is(c->resource, "namespaces") || !own || !own->count) &&
           kb_node_num(kb_node_at(object, "metadata.deletionGracePeriodSeconds"), 0) == 0;
}

/* Did anything outside metadata and status change? */
static bool spec_changed(const struct kb_node *a, const struct kb_node *b)
{
    for (uint32_t i = 0; i < a->count; i++) {
        kb_str key = a->items[i].key;
        if (!kb_str_is(key, "metadata") && !kb_str_is(key, "status") &&
            !kb_node_equal(a->items[i].val, kb_node_getn(b, key)))
            return true;
    }
    return a->count != b->count;
}

static void keep_metadata(struct call *c, const struct kb_node *old, struct kb_node *object)
{
    static const char *const kept[] = {"metadata.uid",
                                       "metadata.name",
                                       "metadata.namespace",
                                       "metadata.generation",
                                       "metadata.creationTimestamp",
                                       "metadata.deletionTimestamp",
                                       "metadata.deletionGracePeriodSeconds"};
    for (size_t i = 0; i < KB_COUNT(kept); i++) {
        struct kb_node *value = kb_node_at(old, kept[i]);
        if (value)
            kb_node_set(&c->a, object, kept[i], value);
        else
            kb_node_unset(object, kept[i]);
    }
}

static int store_changed(struct call *c, const struct kb_node *old, struct kb_node *object,
                         struct kb_doc **ret)
{
    int rc = admit(c, object);
    if (rc < 0)
        return rc;
    if (kb_node_equal(old, object)) {
        reply(c, c->key, c->object->rev, kb_doc_root(c->object->doc), ret);
        return 0;
    }
    if (c->kind->generation && c->sub.n == 0 && spec_changed(object, old))
        kb_node_set_int(&c->a, object, "metadata.generation",
                        kb_node_num(kb_node_at(old, "metadata.generation"), 0) + 1);
    if (may_go(c, object)) {
        KB_AUTO(kb_doc_destroy) struct kb_doc *last = kb_node_doc(object);
        kb__hstore_remove(c->s, c->key);
        reply(c, c->key, c->s->rev, kb_doc_root(last), ret);
        return 0;
    }
    put(c->s, c->key, kb_node_doc(object));
    reply(c, c->key, c->s->rev, kb_doc_root(kb__hstore_get(c->s, c->key)->doc), ret);
    return 0;
}

static int check_conditions(struct call *c)
{
    if (c->object == NULL)
        return not_found(c);
    kb_str uid = kb_val_str(kb_val_get(c->body, "uid"));
    int64_t rev = kb_val_int(kb_val_get(c->body, "rev"), 0);
    if (uid.n && !kb_str_eq(uid, kb_meta_uid(kb_doc_root(c->object->doc))))
        return kb_err_set(c->err, KB_ECONFLICT, "the UID in the precondition does not match");
    if (rev && rev != c->object->rev)
        return kb_err_set(c->err, KB_ECONFLICT,
                          "the object has been modified; please apply your changes to the latest "
                          "version and try again");
    return 0;
}

/* The object as it shall be, from what came in: only the part that the call is about. */
static int change(struct call *c, struct kb_node *in, struct kb_doc **ret)
{
    struct kb_node *old = kb_node_of(&c->a, kb_doc_root(c->object->doc));
    struct kb_node *object = in;
    if (kb_str_is(c->sub, "status")) {
        object = kb_node_copy(&c->a, old);
        struct kb_node *status = kb_node_get(in, "status");
        kb_node_put(&c->a, object, "status", status ? status : kb_node_map(&c->a));
    } else if (kb_str_is(c->sub, "finalize")) {
        object = kb_node_copy(&c->a, old);
        kb_node_unset(object, "spec.finalizers");
        if (kb_node_at(in, "spec.finalizers"))
            kb_node_set(&c->a, object, "spec.finalizers", kb_node_at(in, "spec.finalizers"));
    } else if (c->kind->status_split) {
        struct kb_node *status = kb_node_get(old, "status");
        kb_node_put(&c->a, object, "status", status ? status : kb_node_map(&c->a));
    }
    keep_metadata(c, old, object);
    return store_changed(c, old, object, ret);
}

static int update(struct call *c, struct kb_doc **ret)
{
    int rc = check_conditions(c);
    return rc < 0 ? rc : change(c, kb_node_of(&c->a, kb_val_get(c->body, "doc")), ret);
}

static int patch(struct call *c, struct kb_doc **ret)
{
    int rc = check_conditions(c);
    if (rc < 0)
        return rc;
    struct kb_node *object = kb_node_of(&c->a, kb_doc_root(c->object->doc));
    object = kb_node_copy(&c->a, object);
    kb__merge_patch(&c->a, object, kb_node_of(&c->a, kb_val_get(c->body, "patch")));
    return change(c, object, ret);
}

static void add_finalizer(struct call *c, struct kb_node *object, const char *name)
{
    struct kb_node *list = kb_node_at(object, "metadata.finalizers");
    if (list == NULL) {
        list = kb_node_array(&c->a);
        kb_node_set(&c->a, object, "metadata.finalizers", list);
    }
    for (uint32_t i = 0; i < list->count; i++)
        if (kb_str_is(kb_node_text(list->items[i].val), name))
            return;
    kb_node_append(&c->a, list, kb_node_cstr(&c->a, name));
}

static int64_t grace_of(const struct call *c, const struct kb_node *object)
{
    if (!is_pod(c) || kb_node_text_at(object, "spec.nodeName").n == 0)
        return 0;
    int64_t given = kb_val_int(kb_val_get(c->body, "grace_s"), -1);
    return given >= 0 ? given
                      : kb_node_num(kb_node_at(object, "spec.terminationGracePeriodSeconds"), 30);
}

static int delete_(struct call *c, struct kb_doc **ret)
{
    int rc = check_conditions(c);
    if (rc < 0)
        return rc;
    struct kb_node *old = kb_node_of(&c->a, kb_doc_root(c->object->doc));
    struct kb_node *object = kb_node_copy(&c->a, old);
    kb_str propagation = kb_val_str(kb_val_get(c->body, "propagation"));
    int64_t grace = grace_of(c, object);
    struct kb_node *since = kb_node_at(object, "metadata.deletionTimestamp");
    if (kb_str_is(propagation, "Foreground"))
        add_finalizer(c, object, "foregroundDeletion");
    if (kb_str_is(propagation, "Orphan"))
        add_finalizer(c, object, "orphan");
    int64_t left = kb_node_num(kb_node_at(object, "metadata.deletionGracePeriodSeconds"), -1);
    if (since == NULL || grace < left) {
        kb_node_set(&c->a, object, "metadata.deletionTimestamp",
                    kb_node_time(&c->a, c->s->wall_us + grace * 1000000));
        kb_node_set_int(&c->a, object, "metadata.deletionGracePeriodSeconds", grace);
    }
    if (kb_str_is(c->resource, "namespaces"))
        kb_node_set_cstr(&c->a, object, "status.phase", "Terminating");
    return store_changed(c, old, object, ret);
}

int kb__hstore_call(struct hstore *s, const char *method, kb_val body, struct kb_doc **ret,
                    struct kb_err *err)
{
    struct call c = {.s = s,
                     .body = body,
                     .resource = kb_val_str(kb_val_get(body, "resource")),
                     .ns = kb_val_str(kb_val_get(body, "ns")),
                     .name = kb_val_str(kb_val_get(body, "name")),
                     .sub = kb_val_str(kb_val_get(body, "subresource")),
                     .err = err};
    c.kind = kb_kinds_by_resource(s->kinds, c.resource);
    if (c.kind == NULL)
        return kb_err_set(err, KB_ENOTFOUND, "no resource " KB_STR_FMT, KB_STR_ARG(c.resource));
    if (c.name.n && kb_key_format((kb_key){c.resource, c.ns, c.name}, c.key, sizeof(c.key)))
        c.object = kb__hstore_get(s, c.key);
    int rc = strcmp(method, "object.create") == 0   ? create(&c, ret)
             : strcmp(method, "object.update") == 0 ? update(&c, ret)
             : strcmp(method, "object.patch") == 0  ? patch(&c, ret)
                                                    : delete_(&c, ret);
    kb_arena_finish(&c.a);
    return rc;
}
