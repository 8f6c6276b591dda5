#include "actors/scheduler/core/relations.h"

#include "actors/scheduler/core/selectors.h"
#include "actors/scheduler/core/volumes.h"

#include <stdlib.h>

void kb_relations_of_metadata(kb_val metadata, struct kb_relations *r)
{
    for (struct kb_iter it = kb_iter(metadata); kb_iter_next(&it);) {
        if (kb_str_is(it.key, "namespace"))
            r->ns = it.val;
        else if (kb_str_is(it.key, "name"))
            r->name = it.val;
        else if (kb_str_is(it.key, "labels"))
            r->labels = it.val;
        else if (kb_str_is(it.key, "deletionTimestamp"))
            r->ending = kb_val_present(it.val);
        else if (kb_str_is(it.key, "ownerReferences"))
            for (struct kb_iter o = kb_iter(it.val); kb_iter_next(&o);)
                if (kb_val_bool(kb_val_get(o.val, "controller"), false))
                    r->owner = o.val;
    }
}

/* ---- signature ---- */

void kb__sign(struct kb_buf *sig, kb_val val)
{
    uint32_t n = kb_val_present(val) ? (uint32_t)kb_val_size(val) : 0;
    kb_buf_add(sig, &n, sizeof(n));
    if (n > 0)
        kb_buf_add(sig, val.p, n);
}

static void sign_images(struct kb_buf *sig, kb_val containers)
{
    for (struct kb_iter it = kb_iter(containers); kb_iter_next(&it);)
        kb__sign(sig, kb_val_get(it.val, "image"));
}

void kb_relations_sign(const struct kb_relations *r, struct kb_buf *sig)
{
    kb_buf_add(sig, &r->ending, sizeof(r->ending));
    kb__sign(sig, r->ns);
    kb__sign(sig, r->labels);
    kb__sign(sig, kb_val_get(r->owner, "apiVersion"));
    kb__sign(sig, kb_val_get(r->owner, "kind"));
    kb__sign(sig, kb_val_get(r->owner, "name"));
    kb__sign(sig, r->affinity);
    kb__sign(sig, r->anti_affinity);
    kb__sign(sig, r->spread);
    sign_images(sig, r->init);
    sign_images(sig, r->containers);
    kb_volumes_sign(r->volumes, kb_val_str(r->name), sig);
}

/* ---- decoding ---- */

struct reader {
    struct kb_arena *arena;
    struct kb_intern *intern;
    struct kb_policy_pod *pod;
};

static int by_number(const void *a, const void *b)
{
    const uint32_t *x = a, *y = b;
    return *x < *y ? -1 : *x > *y;
}

static uint32_t label_of(const struct kb_policy_pod *pod, uint32_t key)
{
    for (uint32_t i = 0; i < pod->labels_n; i++)
        if (pod->labels[i].key == key)
            return pod->labels[i].value;
    return 0;
}

/* The pod's own values of these labels become part of the selector. */
static void add_keys(struct reader *r, struct kb_policy_selector *s, kb_val keys,
                     enum kb_policy_op op)
{
    for (struct kb_iter it = kb_iter(keys); kb_iter_next(&it);) {
        uint32_t key = kb_intern_id(r->intern, kb_val_str(it.val));
        uint32_t value = label_of(r->pod, key);
        if (value != 0)
            kb__selector_add(r->arena, s, key, op, value);
    }
}

static struct kb_policy_pods_selector own_namespace(struct reader *r)
{
    uint32_t *ns = kb_arena_alloc(r->arena, sizeof(*ns));
    *ns = r->pod->ns;
    return (struct kb_policy_pods_selector){
        .namespaces_n = 1, .namespaces = ns, .namespaces_like.none = true};
}

static struct kb_policy_affinity read_term(struct reader *r, kb_val v, int32_t weight)
{
    kb_val match = kb_val_get(v, "matchLabelKeys"), mismatch = kb_val_get(v, "mismatchLabelKeys");
    kb_val names = kb_val_get(v, "namespaces"), like = kb_val_get(v, "namespaceSelector");
    kb_val labels = kb_val_get(v, "labelSelector");
    struct kb_policy_affinity t = {
        .topology_key = kb_intern_id(r->intern, kb_val_str(kb_val_get(v, "topologyKey"))),
        .weight = weight};
    if (kb_val_count(names) == 0 && !kb_val_present(like)) {
        t.pods = own_namespace(r);
    } else {
        uint32_t *ids = kb_arena_alloc(r->arena, (kb_val_count(names) + 1) * sizeof(*ids));
        for (struct kb_iter it = kb_iter(names); kb_iter_next(&it);)
            ids[t.pods.namespaces_n++] = kb_intern_id(r->intern, kb_val_str(it.val));
        qsort(ids, t.pods.namespaces_n, sizeof(*ids), by_number);
        t.pods.namespaces = ids;
        t.pods.namespaces_like = kb__selector_of(r->arena, r->intern, like, 0);
    }
    size_t more = kb_val_count(match) + kb_val_count(mismatch);
    t.pods.labels = kb__selector_of(r->arena, r->intern, labels, (uint32_t)more);
    if (!t.pods.labels.none) {
        add_keys(r, &t.pods.labels, match, KB_POLICY_IN);
        add_keys(r, &t.pods.labels, mismatch, KB_POLICY_NOT_IN);
    }
    return t;
}

static const struct kb_policy_affinity *read_required(struct reader *r, kb_val affinity,
                                                      uint32_t *ret_n)
{
    kb_val list = kb_val_get(affinity, "requiredDuringSchedulingIgnoredDuringExecution");
    struct kb_policy_affinity *all =
        kb_arena_alloc(r->arena, (kb_val_count(list) + 1) * sizeof(*all));
    for (struct kb_iter it = kb_iter(list); kb_iter_next(&it);)
        all[(*ret_n)++] = read_term(r, it.val, 0);
    return all;
}

static void read_preferred(struct reader *r, const struct kb_relations *rel)
{
    static const char *const name = "preferredDuringSchedulingIgnoredDuringExecution";
    kb_val lists[] = {kb_val_get(rel->affinity, name), kb_val_get(rel->anti_affinity, name)};
    size_t most = kb_val_count(lists[0]) + kb_val_count(lists[1]);
    struct kb_policy_affinity *all = kb_arena_alloc(r->arena, (most + 1) * sizeof(*all));
    for (int anti = 0; anti < 2; anti++) {
        for (struct kb_iter it = kb_iter(lists[anti]); kb_iter_next(&it);) {
            int32_t weight = (int32_t)kb_val_int(kb_val_get(it.val, "weight"), 0);
            all[r->pod->preferred_affinity_n++] =
                read_term(r, kb_val_get(it.val, "podAffinityTerm"), anti ? -weight : weight);
        }
    }
    r->pod->preferred_affinity = all;
}

static bool is(kb_val v, const char *key, const char *value)
{
    return kb_str_is(kb_val_str(kb_val_get(v, key)), value);
}

static void read_spread(struct reader *r, kb_val list)
{
    struct kb_policy_spread *all =
        kb_arena_alloc(r->arena, (kb_val_count(list) + 1) * sizeof(*all));
    for (struct kb_iter it = kb_iter(list); kb_iter_next(&it);) {
        kb_val keys = kb_val_get(it.val, "matchLabelKeys");
        struct kb_policy_spread *s = &all[r->pod->spread_n++];
        *s = (struct kb_policy_spread){
            .topology_key = kb_intern_id(r->intern, kb_val_str(kb_val_get(it.val, "topologyKey"))),
            .max_skew = (int32_t)kb_val_int(kb_val_get(it.val, "maxSkew"), 1),
            .min_domains = (int32_t)kb_val_int(kb_val_get(it.val, "minDomains"), 1),
            .required = is(it.val, "whenUnsatisfiable", "DoNotSchedule"),
            .affinity_honored = !is(it.val, "nodeAffinityPolicy", "Ignore"),
            .taints_honored = is(it.val, "nodeTaintsPolicy", "Honor"),
            .pods = own_namespace(r)};
        s->pods.labels = kb__selector_of(r->arena, r->intern, kb_val_get(it.val, "labelSelector"),
                                         (uint32_t)kb_val_count(keys));
        uint32_t stated = s->pods.labels.all_n;
        add_keys(r, &s->pods.labels, keys, KB_POLICY_IN);
        s->pods.labels.none &= s->pods.labels.all_n == stated;
    }
    r->pod->spread = all;
}

static void read_owner(struct reader *r, kb_val owner)
{
    const char *kind = NULL;
    if (is(owner, "apiVersion", "apps/v1") && is(owner, "kind", "ReplicaSet"))
        kind = "replicasets.apps";
    else if (is(owner, "apiVersion", "apps/v1") && is(owner, "kind", "StatefulSet"))
        kind = "statefulsets.apps";
    else if (is(owner, "apiVersion", "v1") && is(owner, "kind", "ReplicationController"))
        kind = "replicationcontrollers";
    if (kind == NULL)
        return;
    r->pod->owner_kind = kb_intern_id(r->intern, kb_str_of(kind));
    r->pod->owner_name = kb_intern_id(r->intern, kb_val_str(kb_val_get(owner, "name")));
}

uint32_t kb_image_id(struct kb_intern *in, kb_str image)
{
    char name[600];
    size_t colon = 0, slash = 0;
    for (size_t i = 0; i < image.n; i++) {
        colon = image.p[i] == ':' ? i + 1 : colon;
        slash = image.p[i] == '/' ? i + 1 : slash;
    }
    if (image.n == 0 || colon > slash || image.n + sizeof(":latest") > sizeof(name))
        return kb_intern_id(in, image);
    if (image.n > 0)
        memcpy(name, image.p, image.n);
    memcpy(name + image.n, ":latest", sizeof(":latest"));
    return kb_intern_id(in, kb_str_of(name));
}

static void read_images(struct reader *r, const struct kb_relations *rel)
{
    size_t most = kb_val_count(rel->init) + kb_val_count(rel->containers);
    uint32_t *all = kb_arena_alloc(r->arena, (most + 1) * sizeof(*all));
    kb_val lists[] = {rel->init, rel->containers};
    for (int i = 0; i < 2; i++)
        for (struct kb_iter it = kb_iter(lists[i]); kb_iter_next(&it);)
            all[r->pod->images_n++] =
                kb_image_id(r->intern, kb_val_str(kb_val_get(it.val, "image")));
    r->pod->images = all;
}

void kb_relations_read(const struct kb_relations *rel, struct kb_arena *a, struct kb_intern *in,
                       struct kb_policy_pod *pod)
{
    struct reader r = {a, in, pod};
    pod->ns = kb_intern_id(in, kb_val_str(rel->ns));
    pod->ending = rel->ending;
    pod->labels = kb__labels_of(a, in, rel->labels, &pod->labels_n);
    pod->required_affinity = read_required(&r, rel->affinity, &pod->required_affinity_n);
    pod->required_anti_affinity =
        read_required(&r, rel->anti_affinity, &pod->required_anti_affinity_n);
    read_preferred(&r, rel);
    read_spread(&r, rel->spread);
    read_owner(&r, rel->owner);
    read_images(&r, rel);
    kb_volumes_of_pod(a, in, rel->volumes, kb_val_str(rel->name), pod);
}
