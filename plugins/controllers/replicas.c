/* replicas.c - claim the pods that match, make up for those that miss, delete those too many, and
 * say in the status what there is.
 *
 * Pods are created and deleted in batches of at most 500 a run; the next run follows as soon as the
 * cache shows them. There is no slow start: when the first creation of a batch fails, what has not
 * been sent of it is dropped, and the key backs off. */
#include "plugins/controllers/replicas.h"

enum { BATCH_MAX = 500 };

struct state {
    kb_controller *c;
    const struct replicas_kind *kind;
    const struct kb_object *set;
    struct kb_selector *selector;
    struct kb_objects pods; /* active and ours */
    struct {
        uint64_t labels;
        bool known, selected, full; /* matches the selector; has all labels of the template */
    } seen[16];                     /* what is known of sets of labels: most pods have the same */
    int64_t wanted;
    bool deleting;
};

static void finish(struct state *s)
{
    kb_selector_destroy(&s->selector);
}

static struct kb_selector *selector_of(kb_val set, const struct replicas_kind *kind)
{
    struct kb_selector *selector = NULL;
    kb_val spec = kb_val_at(set, "spec.selector");
    if (!kind->label_selector)
        return kb_selector_of_map(spec);
    return kb_selector_of(spec, &selector, NULL) < 0 ? NULL : selector;
}

/* ---- claiming ---- */

/* The object's owner references with one more, or without the one of `uid`. */
static struct kb_node *owners_patch(struct kb_arena *a, kb_val pod, struct kb_node *add, kb_str uid)
{
    struct kb_node *list = kb_node_array(a), *patch = kb_node_map(a);
    kb_val refs = kb_val_at(pod, "metadata.ownerReferences");
    for (struct kb_iter it = kb_iter(refs); kb_iter_next(&it);)
        if (!kb_str_eq(kb_val_str(kb_val_get(it.val, "uid")), uid))
            kb_node_append(a, list, kb_node_of(a, it.val));
    if (add)
        kb_node_append(a, list, add);
    kb_node_set(a, patch, "metadata.ownerReferences", list);
    return patch;
}

static void adopt(struct state *s, const struct kb_object *pod)
{
    struct kb_arena *a = kb_arena(s->c);
    struct kb_node *ref = kb_owner_ref(a, s->set->doc, s->kind->api_version, s->kind->kind, true);
    struct kb_node *patch = owners_patch(a, pod->doc, ref, kb_meta_uid(s->set->doc));
    kb_wish_if_unchanged(kb_wish_patch(s->c, pod, NULL, patch));
}

static void release(struct state *s, const struct kb_object *pod)
{
    struct kb_node *patch = owners_patch(kb_arena(s->c), pod->doc, NULL, kb_meta_uid(s->set->doc));
    kb_wish_if_unchanged(kb_wish_patch(s->c, pod, NULL, patch));
}

static bool has_labels(kb_val pod, kb_val labels)
{
    kb_val own = kb_meta_labels(pod);
    for (struct kb_iter it = kb_iter(labels); kb_iter_next(&it);)
        if (!kb_str_eq(kb_val_str(kb_val_getn(own, it.key)), kb_val_str(it.val)))
            return false;
    return true;
}

/* Does the pod match the selector, and has it all labels of the template? */
static bool selected(struct state *s, const struct kb_object *pod, bool *ret_full)
{
    uint64_t labels = replicas_labels(pod);
    size_t at = labels % KB_COUNT(s->seen);
    if (!s->seen[at].known || s->seen[at].labels != labels) {
        s->seen[at].known = true;
        s->seen[at].labels = labels;
        s->seen[at].selected = kb_selector_match_object(s->selector, pod->doc);
        s->seen[at].full =
            has_labels(pod->doc, kb_val_at(s->set->doc, "spec.template.metadata.labels"));
    }
    *ret_full = s->seen[at].full;
    return s->seen[at].selected;
}

static void claim(struct state *s)
{
    struct kb_objects owned = kb_list_owned(s->c, "pods", kb_meta_uid(s->set->doc));
    struct kb_objects orphans = {0};
    bool full;
    if (!s->deleting)
        orphans = kb_list_orphans(s->c, "pods", s->set->key.ns);
    s->pods.items =
        kb_arena_alloc(kb_arena(s->c), (owned.count + orphans.count + 1) * sizeof(*s->pods.items));
    for (size_t i = 0; i < owned.count; i++) {
        const struct kb_object *pod = owned.items[i];
        if (!replicas_active(pod))
            continue;
        if (selected(s, pod, &full))
            s->pods.items[s->pods.count++] = pod;
        else if (!s->deleting)
            release(s, pod);
    }
    for (size_t i = 0; i < orphans.count; i++) {
        const struct kb_object *pod = orphans.items[i];
        if (!replicas_active(pod) || !selected(s, pod, &full))
            continue;
        adopt(s, pod);
        s->pods.items[s->pods.count++] = pod;
    }
}

/* ---- the number ---- */

static struct kb_node *pod_of_template(struct state *s)
{
    static const char *const copied[] = {"labels", "annotations", "finalizers"};
    struct kb_arena *a = kb_arena(s->c);
    kb_val template = kb_val_at(s->set->doc, "spec.template");
    struct kb_node *pod = kb_node_map(a), *owners = kb_node_array(a);
    struct kb_node *meta = kb_node_ensure(a, pod, "metadata");
    kb_str prefix = kb_arena_printf(a, KB_STR_FMT "-", KB_STR_ARG(s->set->key.name));
    kb_node_set_str(a, meta, "generateName", prefix);
    kb_node_set_str(a, meta, "namespace", s->set->key.ns);
    for (size_t i = 0; i < KB_COUNT(copied); i++) {
        kb_val value = kb_val_get(kb_val_get(template, "metadata"), copied[i]);
        if (kb_val_present(value))
            kb_node_put(a, meta, copied[i], kb_node_of(a, value));
    }
    kb_node_append(a, owners,
                   kb_owner_ref(a, s->set->doc, s->kind->api_version, s->kind->kind, true));
    kb_node_put(a, meta, "ownerReferences", owners);
    kb_node_put(a, pod, "spec", kb_node_of(a, kb_val_get(template, "spec")));
    return pod;
}

static void create_missing(struct state *s, int64_t missing)
{
    const struct kb_node *pod = pod_of_template(s);
    for (int64_t i = 0; i < missing && i < BATCH_MAX; i++) {
        struct kb_wish *wish = kb_wish_create(s->c, "pods", pod);
        kb_wish_tag(wish, "create");
        kb_wish_events(wish, s->set, "SuccessfulCreate", "Created pod: %s", "FailedCreate",
                       "Error creating: %s");
    }
}

/* All pods of the sets that have the same owner as this one, or else its own. */
static struct kb_objects related_pods(struct state *s)
{
    kb_str owner = kb_meta_controller_uid(s->set->doc);
    if (owner.n == 0)
        return s->pods;
    struct kb_objects sets = kb_list_owned(s->c, s->kind->resource, owner), all = {0};
    struct kb_objects *each = kb_arena_alloc(kb_arena(s->c), (sets.count + 1) * sizeof(*each));
    size_t total = 0;
    for (size_t i = 0; i < sets.count; i++) {
        each[i] = kb_list_owned(s->c, "pods", kb_meta_uid(sets.items[i]->doc));
        total += each[i].count;
    }
    all.items = kb_arena_alloc(kb_arena(s->c), (total + 1) * sizeof(*all.items));
    for (size_t i = 0; i < sets.count; i++)
        for (size_t k = 0; k < each[i].count; k++)
            all.items[all.count++] = each[i].items[k];
    return all;
}

static void delete_surplus(struct state *s, int64_t surplus)
{
    if ((size_t)surplus < s->pods.count)
        replicas_order(s->c, s->pods, related_pods(s));
    for (int64_t i = 0; i < surplus && i < BATCH_MAX; i++) {
        struct kb_wish *wish = kb_wish_delete(s->c, s->pods.items[i]);
        kb_wish_tag(wish, "delete");
        kb_wish_events(wish, s->set, "SuccessfulDelete", "Deleted pod: %s", "FailedDelete",
                       "Error deleting: %s");
    }
}

/* ---- status ---- */

struct counts {
    int64_t replicas, labeled, ready, available;
    int64_t next_us; /* until another one becomes available; 0: none waits */
};

static struct counts count(struct state *s)
{
    struct counts n = {.replicas = (int64_t)s->pods.count};
    int64_t min_us = kb_val_int32_at(s->set->doc, "spec.minReadySeconds", 0) * 1000000;
    for (size_t i = 0; i < s->pods.count; i++) {
        const struct kb_object *pod = s->pods.items[i];
        bool full;
        int64_t since = 0;
        selected(s, pod, &full);
        n.labeled += full;
        if (!replicas_ready(pod))
            continue;
        n.ready++;
        if (min_us)
            replicas_pod_ready(pod->doc, &since);
        int64_t left = since + min_us - kb_now_us(s->c);
        if (min_us == 0 || left <= 0)
            n.available++;
        else if (n.next_us == 0 || left < n.next_us)
            n.next_us = left;
    }
    return n;
}

static void put_count(struct kb_arena *a, struct kb_node *status, const char *field, int64_t n)
{
    kb_node_put(a, status, field, n ? kb_node_int(a, n) : kb_node_nil(a));
}

static bool conditions_update(struct state *s, struct kb_node *status)
{
    const struct kb_err *created = kb_failure(s->c, "create");
    const struct kb_err *deleted = kb_failure(s->c, "delete");
    if (created == NULL && deleted == NULL)
        return kb_cond_remove(status, "ReplicaFailure");
    if (kb_cond_node(status, "ReplicaFailure"))
        return false;
    struct kb_cond cond = {.type = "ReplicaFailure",
                           .status = "True",
                           .reason = created ? "FailedCreate" : "FailedDelete",
                           .message = created ? created->text : deleted->text};
    return kb_cond_set(kb_arena(s->c), status, &cond, kb_now_us(s->c));
}

static void update_status(struct state *s)
{
    struct kb_arena *a = kb_arena(s->c);
    struct counts n = count(s);
    kb_val old = kb_val_get(s->set->doc, "status");
    struct kb_node *whole = kb_node_of(a, old);
    if (whole == NULL || whole->type != KB_MAP)
        whole = kb_node_map(a);
    bool conditions = conditions_update(s, whole);
    if (n.next_us)
        kb_requeue(s->c, n.next_us / 1000 + 1);
    if (!conditions && kb_val_int32_at(old, "replicas", -1) == n.replicas &&
        kb_val_int32_at(old, "fullyLabeledReplicas", 0) == n.labeled &&
        kb_val_int32_at(old, "readyReplicas", 0) == n.ready &&
        kb_val_int32_at(old, "availableReplicas", 0) == n.available &&
        kb_val_int_at(old, "observedGeneration", 0) == kb_meta_generation(s->set->doc))
        return;
    struct kb_node *patch = kb_node_map(a), *status = kb_node_ensure(a, patch, "status");
    kb_node_set_int(a, status, "replicas", n.replicas);
    put_count(a, status, "fullyLabeledReplicas", n.labeled);
    put_count(a, status, "readyReplicas", n.ready);
    put_count(a, status, "availableReplicas", n.available);
    kb_node_set_int(a, status, "observedGeneration", kb_meta_generation(s->set->doc));
    if (conditions) {
        struct kb_node *list = kb_node_get(whole, "conditions");
        kb_node_put(a, status, "conditions", list->count ? list : kb_node_nil(a));
    }
    kb_wish_patch(s->c, s->set, "status", patch);
}

/* ---- in and out ---- */

/* Pods of a template that the selector does not match would be made without end. Admission refuses
 * such a set, but not all that is there has come through it. */
static bool finds_its_own(const struct state *s)
{
    return kb_selector_match_object(s->selector, kb_val_at(s->set->doc, "spec.template"));
}

kb_result replicas_reconcile(kb_controller *c, kb_key key, const struct replicas_kind *kind)
{
    KB_AUTO(finish) struct state s = {.c = c, .kind = kind};
    s.set = kb_get(c, kind->resource, key.ns, key.name);
    if (s.set == NULL)
        return 0;
    s.deleting = kb_meta_deleting(s.set->doc);
    s.wanted = kb_val_int32_at(s.set->doc, "spec.replicas", 1);
    s.wanted = s.wanted < 0 ? 0 : s.wanted;
    s.selector = selector_of(s.set->doc, kind);
    if (s.selector == NULL || kb_selector_is_everything(s.selector))
        return 0; /* would take every pod there is: nothing is done, as Kubernetes */
    claim(&s);
    int64_t surplus = (int64_t)s.pods.count - s.wanted;
    if (!s.deleting && surplus < 0 && finds_its_own(&s))
        create_missing(&s, -surplus);
    if (!s.deleting && surplus > 0)
        delete_surplus(&s, surplus);
    update_status(&s);
    return 0;
}

void replicas_map_pod(kb_controller *c, const struct kb_object *now, const struct kb_object *old,
                      const struct replicas_kind *kind)
{
    (void)old;
    if (now == NULL || kb_meta_controller_uid(now->doc).n || !replicas_active(now))
        return;
    struct kb_objects sets = kb_list_ns(c, kind->resource, now->key.ns);
    for (size_t i = 0; i < sets.count; i++) {
        KB_AUTO(kb_selector_destroy)
        struct kb_selector *selector = selector_of(sets.items[i]->doc, kind);
        if (selector && kb_selector_match_object(selector, now->doc))
            kb_enqueue(c, sets.items[i]->key.ns, sets.items[i]->key.name);
    }
}
