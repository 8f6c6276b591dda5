/* revisions.c - which ReplicaSets there are, which is the new one, and what they are called. */
#include "plugins/controllers/deployment/deployment.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

/* ---- templates ---- */

/* The pod template without the label that tells ReplicaSets apart. */
static struct kb_node *bare_template(struct rollout *r, kb_val doc)
{
    struct kb_node *template = kb_node_of(r->a, kb_val_at(doc, "spec.template"));
    if (template == NULL || template->type != KB_MAP)
        return kb_node_map(r->a);
    struct kb_node *labels = kb_node_at(template, "metadata.labels");
    if (labels != NULL && labels->type == KB_MAP)
        kb_node_del(labels, HASH_LABEL);
    return template;
}

/* Ten characters at most, without vowels and what looks alike: no words, no mistakes. */
static kb_str template_hash(struct rollout *r, const struct kb_node *template)
{
    static const char alphabet[] = "bcdfghjklmnpqrstvwxz2456789";
    KB_AUTO(kb_buf_finish) struct kb_buf text = {0};
    char digits[24];
    kb_json_write_node(&text, template, KB_JSON_SORTED);
    if (r->collisions > 0)
        kb_buf_printf(&text, "%" PRId64, r->collisions);
    snprintf(digits, sizeof(digits), "%" PRIu32, (uint32_t)kb_hash64(text.p, text.n));
    for (char *c = digits; *c; c++)
        *c = alphabet[(unsigned char)*c % (sizeof(alphabet) - 1)];
    return kb_arena_str(r->a, kb_str_of(digits));
}

/* ---- what there is ---- */

static struct rs *rs_of(struct rollout *r, const struct kb_object *object)
{
    struct rs *rs = kb_arena_alloc(r->a, sizeof(*rs));
    kb_val spec = kb_val_get(object->doc, "spec"), status = kb_val_get(object->doc, "status");
    *rs = (struct rs){.object = object, .name = object->key.name};
    rs->created_us = kb_time_at(object->doc, "metadata.creationTimestamp");
    rs->replicas = kb_val_int32_at(spec, "replicas", 1);
    rs->replicas = rs->was = rs->replicas < 0 ? 0 : rs->replicas;
    rs->present = kb_val_int32_at(status, "replicas", 0);
    rs->ready = kb_val_int32_at(status, "readyReplicas", 0);
    rs->available = kb_val_int32_at(status, "availableReplicas", 0);
    rs->sure = rs->available < rs->replicas ? rs->available : rs->replicas;
    kb_str_i64(kb_meta_annotation(object->doc, ANN_REVISION), &rs->revision);
    return rs;
}

static int by_age(const void *a, const void *b)
{
    const struct rs *x = *(struct rs *const *)a, *y = *(struct rs *const *)b;
    if (x->created_us != y->created_us)
        return x->created_us < y->created_us ? -1 : 1;
    return kb_str_cmp(x->name, y->name);
}

void find_replicasets(struct rollout *r)
{
    struct kb_objects owned = kb_list_owned(r->c, RS, r->uid);
    const struct kb_node *wanted = bare_template(r, r->d->doc);
    r->all = kb_arena_alloc(r->a, (owned.count + 1) * sizeof(*r->all));
    r->old = kb_arena_alloc(r->a, (owned.count + 1) * sizeof(*r->old));
    for (size_t i = 0; i < owned.count; i++)
        r->all[i] = rs_of(r, owned.items[i]);
    qsort(r->all, owned.count, sizeof(*r->all), by_age);
    for (size_t i = 0; i < owned.count; i++) {
        /* Of several with the same template the oldest is the new one, for ever. */
        if (r->fresh == NULL && kb_node_equal(bare_template(r, r->all[i]->object->doc), wanted))
            r->fresh = r->all[i];
        else
            r->old[r->nold++] = r->all[i];
    }
    memcpy(r->all, r->old, r->nold * sizeof(*r->all));
    r->nall = r->nold;
    if (r->fresh)
        r->all[r->nall++] = r->fresh;
}

/* ---- annotations ---- */

struct kb_node *patch_of(struct rollout *r, struct rs *rs)
{
    if (rs->patch == NULL)
        rs->patch = kb_node_map(r->a);
    return rs->patch;
}

static bool is_copied(kb_str annotation)
{
    static const char *const own[] = {ANN_REVISION, ANN_HISTORY, ANN_DESIRED,
                                      ANN_MAX,      ANN_APPLIED, ANN_ROLLBACK};
    for (size_t i = 0; i < KB_COUNT(own); i++)
        if (kb_str_is(annotation, own[i]))
            return false;
    return true;
}

/* Put what the deployment's annotations say and `before` does not into `out`. True: there was some.
 */
static bool copy_annotations(struct rollout *r, kb_val before, struct kb_node *out)
{
    bool any = false;
    for (struct kb_iter it = kb_iter(kb_meta_annotations(r->d->doc)); kb_iter_next(&it);) {
        if (!is_copied(it.key) || kb_val_equal(it.val, kb_val_getn(before, it.key)))
            continue;
        kb_node_putn(r->a, out, it.key, kb_node_of(r->a, it.val));
        any = true;
    }
    return any;
}

static struct kb_node *number(struct rollout *r, int64_t n)
{
    return kb_node_str(r->a, kb_arena_printf(r->a, "%" PRId64, n));
}

/* A ReplicaSet that comes back as the newest remembers the revisions that it was. */
static void remember_revision(struct rollout *r, kb_val before, struct kb_node *out)
{
    kb_str was = kb_val_str(kb_val_get(before, ANN_REVISION));
    kb_str history = kb_val_str(kb_val_get(before, ANN_HISTORY));
    if (was.n == 0)
        return;
    kb_node_put(r->a, out, ANN_HISTORY,
                kb_node_str(r->a, history.n == 0
                                      ? was
                                      : kb_arena_printf(r->a, KB_STR_FMT "," KB_STR_FMT,
                                                        KB_STR_ARG(history), KB_STR_ARG(was))));
}

static int64_t newest_revision(const struct rollout *r)
{
    int64_t max = 0;
    for (size_t i = 0; i < r->nold; i++)
        if (r->old[i]->revision > max)
            max = r->old[i]->revision;
    return max;
}

/* The deployment says which revision it is. */
static void tell_revision(struct rollout *r, int64_t revision)
{
    struct kb_node *patch = kb_node_map(r->a), *annotations = kb_node_map(r->a);
    kb_str text = kb_node_text(number(r, revision));
    if (kb_str_eq(kb_meta_annotation(r->d->doc, ANN_REVISION), text))
        return;
    kb_node_put(r->a, annotations, ANN_REVISION, number(r, revision));
    kb_node_set(r->a, patch, "metadata.annotations", annotations);
    kb_wish_patch(r->c, r->d, NULL, patch);
}

/* ---- the new one ---- */

static void refresh(struct rollout *r)
{
    struct rs *fresh = r->fresh;
    kb_val before = kb_meta_annotations(fresh->object->doc);
    struct kb_node *annotations = kb_node_map(r->a);
    int64_t revision = newest_revision(r) + 1;
    int64_t min_ready = kb_val_int32_at(r->d->doc, "spec.minReadySeconds", 0);
    bool changed = copy_annotations(r, before, annotations);
    if (fresh->revision < revision) {
        remember_revision(r, before, annotations);
        kb_node_put(r->a, annotations, ANN_REVISION, number(r, revision));
        fresh->revision = revision;
        changed = true;
    }
    if (changed)
        kb_node_set(r->a, patch_of(r, fresh), "metadata.annotations", annotations);
    if (kb_val_int32_at(fresh->object->doc, "spec.minReadySeconds", 0) != min_ready)
        kb_node_set_int(r->a, patch_of(r, fresh), "spec.minReadySeconds", min_ready);
    tell_revision(r, fresh->revision);
    if (r->has_deadline && kb_cond_node(r->status, "Progressing") == NULL)
        progress(r, "True", "FoundNewReplicaSet",
                 kb_arena_printf(r->a, "Found new replica set \"" KB_STR_FMT "\"",
                                 KB_STR_ARG(fresh->name)));
}

static struct kb_node *new_object(struct rollout *r, kb_str name, kb_str hash, int64_t replicas)
{
    struct kb_node *object = kb_node_map(r->a), *owners = kb_node_array(r->a);
    struct kb_node *template = bare_template(r, r->d->doc), *annotations = kb_node_map(r->a);
    struct kb_node *selector = kb_node_of(r->a, kb_val_at(r->d->doc, "spec.selector"));
    int64_t min_ready = kb_val_int32_at(r->d->doc, "spec.minReadySeconds", 0);
    kb_node_put(r->a, kb_node_ensure(r->a, template, "metadata.labels"), HASH_LABEL,
                kb_node_str(r->a, hash));
    if (selector == NULL) /* of an object that no admission has seen */
        selector = kb_node_map(r->a);
    kb_node_put(r->a, kb_node_ensure(r->a, selector, "matchLabels"), HASH_LABEL,
                kb_node_str(r->a, hash));
    copy_annotations(r, (kb_val){0}, annotations);
    kb_node_put(r->a, annotations, ANN_REVISION, number(r, newest_revision(r) + 1));
    kb_node_put(r->a, annotations, ANN_DESIRED, number(r, r->replicas));
    kb_node_put(r->a, annotations, ANN_MAX, number(r, r->replicas + r->surge));
    kb_node_append(r->a, owners, kb_owner_ref(r->a, r->d->doc, "apps/v1", "Deployment", true));
    kb_node_set_str(r->a, object, "metadata.name", name);
    kb_node_set_str(r->a, object, "metadata.namespace", r->d->key.ns);
    kb_node_set(r->a, object, "metadata.labels",
                kb_node_copy(r->a, kb_node_at(template, "metadata.labels")));
    kb_node_set(r->a, object, "metadata.annotations", annotations);
    kb_node_set(r->a, object, "metadata.ownerReferences", owners);
    kb_node_set_int(r->a, object, "spec.replicas", replicas);
    if (min_ready > 0)
        kb_node_set_int(r->a, object, "spec.minReadySeconds", min_ready);
    kb_node_set(r->a, object, "spec.selector", selector);
    kb_node_set(r->a, object, "spec.template", template);
    return object;
}

/* What became of the creation that the run before wished. */
static void creation_failed(struct rollout *r)
{
    const struct kb_err *err = kb_failure(r->c, TAG_NEW_RS);
    if (err && err->code == KB_EEXISTS) /* another template has this hash: take another */
        r->collisions++;
    else if (err && r->has_deadline)
        progress(r, "False", "ReplicaSetCreateError",
                 kb_arena_printf(r->a, "Failed to create new replica set: %s", err->text));
}

static kb_str name_of(struct rollout *r, kb_str hash)
{
    return kb_arena_printf(r->a, KB_STR_FMT "-" KB_STR_FMT, KB_STR_ARG(r->d->key.name),
                           KB_STR_ARG(hash));
}

static void make(struct rollout *r)
{
    const struct kb_node *template = bare_template(r, r->d->doc);
    creation_failed(r);
    kb_str hash = template_hash(r, template), name = name_of(r, hash);
    struct rs *fresh = kb_arena_alloc(r->a, sizeof(*fresh));
    *fresh = (struct rs){.name = name, .revision = newest_revision(r) + 1};
    int64_t replicas = fresh_replicas(r, 0);
    fresh->replicas = fresh->was = replicas;
    struct kb_wish *wish = kb_wish_create(r->c, RS, new_object(r, name, hash, replicas));
    kb_wish_tag(wish, TAG_NEW_RS);
    kb_wish_events(wish, r->d, NULL, NULL, "ReplicaSetCreateError",
                   "Failed to create new replica set: %s");
    if (replicas > 0)
        kb_event(r->c, r->d, "Normal", "ScalingReplicaSet",
                 "Scaled up replica set " KB_STR_FMT " from 0 to %" PRId64, KB_STR_ARG(name),
                 replicas);
    r->fresh = r->all[r->nall++] = fresh;
    tell_revision(r, fresh->revision);
    if (r->has_deadline && kb_failure(r->c, TAG_NEW_RS) == NULL)
        progress(
            r, "True", "NewReplicaSetCreated",
            kb_arena_printf(r->a, "Created new replica set \"" KB_STR_FMT "\"", KB_STR_ARG(name)));
}

void sync_fresh(struct rollout *r, bool create)
{
    if (r->fresh)
        refresh(r);
    else if (create)
        make(r);
}

/* ---- history ---- */

static int by_revision(const void *a, const void *b)
{
    const struct rs *x = *(struct rs *const *)a, *y = *(struct rs *const *)b;
    if (x->revision != y->revision)
        return x->revision < y->revision ? -1 : 1;
    return by_age(a, b);
}

void clean_up(struct rollout *r)
{
    struct rs **list = kb_arena_alloc(r->a, (r->nold + 1) * sizeof(*list));
    size_t n = 0;
    for (size_t i = 0; i < r->nold; i++)
        if (!kb_meta_deleting(r->old[i]->object->doc))
            list[n++] = r->old[i];
    qsort(list, n, sizeof(*list), by_revision);
    for (size_t i = 0; (int64_t)i < (int64_t)n - r->history; i++) {
        kb_val doc = list[i]->object->doc;
        bool seen = kb_val_int_at(doc, "status.observedGeneration", 0) >= kb_meta_generation(doc);
        if (list[i]->was == 0 && list[i]->replicas == 0 && list[i]->present == 0 && seen)
            kb_wish_propagation(kb_wish_delete(r->c, list[i]->object), "Background");
    }
}
