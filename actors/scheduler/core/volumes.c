#include "actors/scheduler/core/volumes.h"

#include "actors/scheduler/core/columns.h"
#include "actors/scheduler/core/decode.h"
#include "actors/scheduler/core/podspec.h"
#include "actors/scheduler/core/selectors.h"
#include "bus/base/check.h"
#include "bus/base/grow.h"

#include <stdlib.h>

/* What is kept of an object. What is held changes its view; `as_is` is how the object says it. */
struct object {
    struct kb_arena arena;
    struct {
        uint32_t selected_node;                   /* of a claim */
        uint32_t claim_ns, claim_name, claim_uid; /* of a volume */
    } as_is;
    union {
        struct kb_policy_claim claim;
        struct kb_policy_volume volume;
        struct kb_policy_storage_class class;
    };
};

struct names {
    uint32_t n, cap;
    uint32_t *v;
};

struct limits {
    uint32_t n;
    struct {
        uint32_t driver;
        int64_t count;
    } v[];
};

/* What a claim gets before the cluster knows of it. */
struct hold {
    struct kb_link link; /* in `writes` while it is to be written */
    uint32_t ns, claim, uid, volume, node;
    uint32_t holders; /* pods that use the claim */
    bool written;     /* or under way */
};

struct claim_key {
    uint32_t ns, name;
};

static kb_str id_key(const uint32_t *id)
{
    return kb_str_n((const char *)id, sizeof(*id));
}

static kb_str claim_key(const struct claim_key *key)
{
    return kb_str_n((const char *)key, sizeof(*key));
}

static struct object *object_new(void)
{
    struct object *o = calloc(1, sizeof(*o));
    KB_ASSERT(o != NULL);
    return o;
}

static void object_free(struct object *o)
{
    if (o == NULL)
        return;
    kb_arena_finish(&o->arena);
    free(o);
}

static void free_object(void *object)
{
    object_free(object);
}

static void free_hold(void *hold)
{
    kb_list_remove(&((struct hold *)hold)->link);
    free(hold);
}

static void objects_finish(struct kb_map *map, void (*finish)(void *))
{
    void *object;
    for (size_t i = 0; kb_map_next(map, &i, NULL, &object);)
        finish(object);
    kb_map_finish(map);
}

void kb_volumes_init(struct kb_volumes *v)
{
    *v = (struct kb_volumes){0};
    kb_list_init(&v->writes);
}

void kb_volumes_finish(struct kb_volumes *v)
{
    objects_finish(&v->holds, free_hold);
    struct names *names;
    struct limits *limits;
    objects_finish(&v->claims, free_object);
    objects_finish(&v->volumes, free_object);
    objects_finish(&v->classes, free_object);
    for (size_t i = 0; kb_map_next(&v->by_class, &i, NULL, (void **)&names);) {
        free(names->v);
        free(names);
    }
    kb_map_finish(&v->by_class);
    for (size_t i = 0; kb_map_next(&v->limits, &i, NULL, (void **)&limits);)
        free(limits);
    kb_map_finish(&v->limits);
    kb_map_finish(&v->users);
    for (uint32_t slot = 0; slot < v->cap; slot++) {
        free(v->uses[slot].claims);
        free(v->uses[slot].disks);
    }
    free(v->uses);
}

/* ---- decoding ---- */

static uint32_t id_of(struct kb_intern *in, kb_val text)
{
    return kb_val_str(text).n > 0 ? kb_intern_id(in, kb_val_str(text)) : 0;
}

static uint32_t access_of(kb_val list)
{
    static const char *const modes[] = {"ReadWriteOnce", "ReadOnlyMany", "ReadWriteMany",
                                        "ReadWriteOncePod"};
    uint32_t set = 0;
    for (struct kb_iter it = kb_iter(list); kb_iter_next(&it);)
        for (uint32_t i = 0; i < KB_COUNT(modes); i++)
            set |= kb_str_is(kb_val_str(it.val), modes[i]) ? 1u << i : 0;
    return set;
}

/* The class may still stand in the annotation from before there was a field. */
static uint32_t class_of(struct kb_intern *in, kb_val object)
{
    kb_val annotations = kb_val_at(object, "metadata.annotations");
    kb_val old = kb_val_get(annotations, "volume.beta.kubernetes.io/storage-class");
    return id_of(in, kb_val_present(old) ? old : kb_val_at(object, "spec.storageClassName"));
}

static bool phase_is(kb_val object, const char *phase)
{
    return kb_str_is(kb_val_str_at(object, "status.phase"), phase);
}

static bool is_ending(kb_val object)
{
    return kb_val_present(kb_val_at(object, "metadata.deletionTimestamp"));
}

static bool is_block(kb_val object)
{
    return kb_str_is(kb_val_str_at(object, "spec.volumeMode"), "Block");
}

static struct object *read_claim(struct kb_columns *c, kb_str ns, kb_str name, kb_val v)
{
    struct kb_intern *in = c->intern;
    struct object *o = object_new();
    kb_val annotations = kb_val_at(v, "metadata.annotations");
    kb_val selector = kb_val_at(v, "spec.selector");
    o->claim = (struct kb_policy_claim){
        .ns = kb_intern_id(in, ns),
        .name = kb_intern_id(in, name),
        .uid = id_of(in, kb_val_at(v, "metadata.uid")),
        .lost = phase_is(v, "Lost"),
        .ending = is_ending(v),
        .volume = id_of(in, kb_val_at(v, "spec.volumeName")),
        .storage_class = class_of(in, v),
        .attributes_class = id_of(in, kb_val_at(v, "spec.volumeAttributesClassName")),
        .selected_node = id_of(in, kb_val_get(annotations, "volume.kubernetes.io/selected-node")),
        .access = access_of(kb_val_at(v, "spec.accessModes")),
        .block = is_block(v),
        .bytes = kb__amount(kb_val_at(v, "spec.resources.requests.storage"), kb_str_of("storage")),
    };
    o->claim.bound = o->claim.volume != 0 &&
                     kb_val_present(kb_val_get(annotations, "pv.kubernetes.io/bind-completed"));
    o->claim.selector = kb__selector_of(&o->arena, in, selector, 0);
    o->claim.selector.none = false;
    return o;
}

static struct object *read_volume(struct kb_columns *c, kb_str name, kb_val v)
{
    struct kb_intern *in = c->intern;
    struct object *o = object_new();
    kb_val affinity = kb_val_at(v, "spec.nodeAffinity.required"),
           ref = kb_val_at(v, "spec.claimRef");
    o->volume = (struct kb_policy_volume){
        .name = kb_intern_id(in, name),
        .storage_class = class_of(in, v),
        .attributes_class = id_of(in, kb_val_at(v, "spec.volumeAttributesClassName")),
        .ending = is_ending(v),
        .available = phase_is(v, "Available"),
        .block = is_block(v),
        .access = access_of(kb_val_at(v, "spec.accessModes")),
        .bytes = kb__amount(kb_val_at(v, "spec.capacity.storage"), kb_str_of("storage")),
        .claim_ns = id_of(in, kb_val_get(ref, "namespace")),
        .claim_name = id_of(in, kb_val_get(ref, "name")),
        .claim_uid = id_of(in, kb_val_get(ref, "uid")),
        .has_required = kb_val_present(affinity),
        .driver = id_of(in, kb_val_at(v, "spec.csi.driver")),
        .handle = id_of(in, kb_val_at(v, "spec.csi.volumeHandle")),
    };
    o->volume.labels =
        kb__labels_of(&o->arena, in, kb_val_at(v, "metadata.labels"), &o->volume.labels_n);
    o->volume.required = kb_podspec_terms(c, &o->arena, kb_val_get(affinity, "nodeSelectorTerms"),
                                          false, &o->volume.required_n);
    return o;
}

static struct kb_policy_term read_topology(struct kb_arena *a, struct kb_intern *in, kb_val v)
{
    kb_val list = kb_val_get(v, "matchLabelExpressions");
    struct kb_policy_requirement *all = kb_arena_alloc(a, (kb_val_count(list) + 1) * sizeof(*all));
    struct kb_policy_term term = {.all = all};
    for (struct kb_iter it = kb_iter(list); kb_iter_next(&it);) {
        kb_val values = kb_val_get(it.val, "values");
        uint32_t *ids = kb_arena_alloc(a, (kb_val_count(values) + 1) * sizeof(*ids));
        struct kb_policy_requirement *r = &all[term.all_n++];
        *r = (struct kb_policy_requirement){.op = KB_POLICY_IN, .values = ids};
        r->key = kb_intern_id(in, kb_val_str(kb_val_get(it.val, "key")));
        for (struct kb_iter it2 = kb_iter(values); kb_iter_next(&it2);)
            ids[r->values_n++] = kb_intern_id(in, kb_val_str(it2.val));
    }
    return term;
}

static struct object *read_class(struct kb_columns *c, kb_val v)
{
    struct object *o = object_new();
    kb_val allowed = kb_val_get(v, "allowedTopologies");
    kb_str provisioner = kb_val_str(kb_val_get(v, "provisioner"));
    struct kb_policy_term *terms =
        kb_arena_alloc(&o->arena, (kb_val_count(allowed) + 1) * sizeof(*terms));
    for (struct kb_iter it = kb_iter(allowed); kb_iter_next(&it);)
        terms[o->class.allowed_n++] = read_topology(&o->arena, c->intern, it.val);
    o->class.allowed = terms;
    o->class.delayed =
        kb_str_is(kb_val_str(kb_val_get(v, "volumeBindingMode")), "WaitForFirstConsumer");
    if (!kb_str_is(provisioner, "kubernetes.io/no-provisioner") && provisioner.n > 0)
        o->class.provisioner = kb_intern_id(c->intern, provisioner);
    return o;
}

static struct limits *read_limits(struct kb_intern *in, kb_val v)
{
    kb_val drivers = kb_val_at(v, "spec.drivers");
    struct limits *l = calloc(1, sizeof(*l) + kb_val_count(drivers) * sizeof(l->v[0]));
    KB_ASSERT(l != NULL);
    for (struct kb_iter it = kb_iter(drivers); kb_iter_next(&it);) {
        kb_val count = kb_val_at(it.val, "allocatable.count");
        if (!kb_val_present(count))
            continue;
        l->v[l->n].driver = kb_intern_id(in, kb_val_str(kb_val_get(it.val, "name")));
        l->v[l->n++].count = kb_val_int(count, 0);
    }
    return l;
}

/* ---- what is held ---- */

static struct hold *hold_of(const struct kb_volumes *v, uint32_t ns, uint32_t claim)
{
    struct claim_key key = {ns, claim};
    return kb_map_get(&v->holds, claim_key(&key));
}

/* The views of claim and volume as their objects say, or with what is held. */
static void show(struct kb_volumes *v, const struct hold *h, bool held)
{
    struct claim_key key = {h->ns, h->claim};
    struct object *claim = kb_map_get(&v->claims, claim_key(&key));
    struct object *volume = h->volume ? kb_map_get(&v->volumes, id_key(&h->volume)) : NULL;
    if (claim != NULL) {
        uint32_t is = claim->as_is.selected_node;
        claim->claim.selected_node = held && h->volume == 0 && is == 0 ? h->node : is;
    }
    if (volume == NULL)
        return;
    bool ours = held && volume->as_is.claim_name == 0;
    volume->volume.claim_ns = ours ? h->ns : volume->as_is.claim_ns;
    volume->volume.claim_name = ours ? h->claim : volume->as_is.claim_name;
    volume->volume.claim_uid = ours ? h->uid : volume->as_is.claim_uid;
}

static void drop_hold(struct kb_volumes *v, struct hold *h)
{
    struct claim_key key = {h->ns, h->claim};
    kb_map_del(&v->holds, claim_key(&key));
    show(v, h, false);
    free_hold(h);
    v->version++;
}

void kb_volumes_let_go(struct kb_volumes *v, uint32_t ns, uint32_t claim)
{
    struct hold *h = hold_of(v, ns, claim);
    if (h != NULL && --h->holders == 0)
        drop_hold(v, h);
}

void kb_volumes_hold(struct kb_volumes *v, const struct kb_policy_claim *claim, uint32_t volume,
                     uint32_t node_name)
{
    struct claim_key key = {claim->ns, claim->name};
    struct hold *h = hold_of(v, key.ns, key.name);
    if (h != NULL && h->volume == volume && h->uid == claim->uid) {
        h->holders++;
        return;
    }
    if (h != NULL)
        drop_hold(v, h);
    h = malloc(sizeof(*h));
    KB_ASSERT(h != NULL);
    *h = (struct hold){.ns = claim->ns,
                       .claim = claim->name,
                       .uid = claim->uid,
                       .volume = volume,
                       .node = node_name,
                       .holders = 1};
    kb_list_init(&h->link);
    kb_map_put(&v->holds, claim_key(&key), h);
    show(v, h, true);
    v->version++;
}

void kb_volumes_bind(struct kb_volumes *v, uint32_t ns, uint32_t claim)
{
    struct hold *h = hold_of(v, ns, claim);
    if (h == NULL || h->written)
        return;
    h->written = true;
    kb_list_push(&v->writes, &h->link);
}

void kb_volumes_written(struct kb_volumes *v, uint32_t ns, uint32_t claim, int rc)
{
    struct hold *h = hold_of(v, ns, claim);
    if (h != NULL)
        h->written = rc == 0;
}

static void write_reference(struct kb_w *w, const struct kb_intern *in, const struct hold *h)
{
    kb_w_kmap(w, "metadata");
    kb_w_kmap(w, "annotations");
    kb_w_kcstr(w, "pv.kubernetes.io/bound-by-controller", "yes");
    kb_w_end(w);
    kb_w_end(w);
    kb_w_kmap(w, "spec");
    kb_w_kmap(w, "claimRef");
    kb_w_kcstr(w, "apiVersion", "v1");
    kb_w_kcstr(w, "kind", "PersistentVolumeClaim");
    kb_w_kcstr(w, "name", kb_intern_text(in, h->claim));
    kb_w_kcstr(w, "namespace", kb_intern_text(in, h->ns));
    kb_w_kcstr(w, "uid", kb_intern_text(in, h->uid));
    kb_w_end(w);
    kb_w_end(w);
}

static void write_node(struct kb_w *w, const struct kb_intern *in, const struct hold *h)
{
    kb_w_kmap(w, "metadata");
    kb_w_kmap(w, "annotations");
    kb_w_kcstr(w, "volume.kubernetes.io/selected-node", kb_intern_text(in, h->node));
    kb_w_end(w);
    kb_w_end(w);
}

bool kb_volumes_next_write(struct kb_volumes *v, const struct kb_intern *in,
                           struct kb_volume_write *ret)
{
    struct kb_link *link = kb_list_pop(&v->writes);
    if (link == NULL)
        return false;
    const struct hold *h = KB_CONTAINER(link, struct hold, link);
    struct kb_w w = {0};
    kb_w_map(&w);
    if (h->volume)
        write_reference(&w, in, h);
    else
        write_node(&w, in, h);
    kb_w_end(&w);
    *ret = (struct kb_volume_write){
        .key = h->volume ? kb_strf("persistentvolumes//%s", kb_intern_text(in, h->volume))
                         : kb_strf("persistentvolumeclaims/%s/%s", kb_intern_text(in, h->ns),
                                   kb_intern_text(in, h->claim)),
        .patch = kb_w_doc(&w),
        .ns = h->ns,
        .claim = h->claim};
    kb_w_finish(&w);
    return true;
}

/* ---- objects come and go ---- */

static void list_of_class(struct kb_volumes *v, const struct kb_policy_volume *volume, bool add)
{
    struct names *names = kb_map_get(&v->by_class, id_key(&volume->storage_class));
    if (names == NULL) {
        names = calloc(1, sizeof(*names));
        KB_ASSERT(names != NULL);
        kb_map_put(&v->by_class, id_key(&volume->storage_class), names);
    }
    for (uint32_t i = 0; i < names->n && !add; i++)
        if (names->v[i] == volume->name)
            names->v[i--] = names->v[--names->n];
    if (!add)
        return;
    KB_GROW(names->v, names->n, names->cap, 8);
    names->v[names->n++] = volume->name;
}

static void put_object(struct kb_map *map, kb_str key, struct object *fresh)
{
    object_free(kb_map_del(map, key));
    if (fresh != NULL)
        kb_map_put(map, key, fresh);
}

static void put_claim(struct kb_volumes *v, struct kb_columns *c, kb_str ns, kb_str name,
                      kb_val object)
{
    struct claim_key key = {kb_intern_id(c->intern, ns), kb_intern_id(c->intern, name)};
    struct object *fresh = object.p ? read_claim(c, ns, name, object) : NULL;
    if (fresh != NULL)
        fresh->claim.users = (uint32_t)(uintptr_t)kb_map_get(&v->users, claim_key(&key));
    if (fresh != NULL)
        fresh->as_is.selected_node = fresh->claim.selected_node;
    put_object(&v->claims, claim_key(&key), fresh);
    struct hold *h = hold_of(v, key.ns, key.name);
    if (h != NULL && (fresh == NULL || fresh->claim.bound || fresh->claim.uid != h->uid))
        drop_hold(v, h);
    else if (h != NULL)
        show(v, h, true);
}

static void put_volume(struct kb_volumes *v, struct kb_columns *c, kb_str name, kb_val object)
{
    uint32_t id = kb_intern_id(c->intern, name);
    const struct object *old = kb_map_get(&v->volumes, id_key(&id));
    struct object *fresh = object.p ? read_volume(c, name, object) : NULL;
    if (old != NULL)
        list_of_class(v, &old->volume, false);
    if (fresh != NULL)
        list_of_class(v, &fresh->volume, true);
    put_object(&v->volumes, id_key(&id), fresh);
    if (fresh == NULL)
        return;
    fresh->as_is.claim_ns = fresh->volume.claim_ns;
    fresh->as_is.claim_name = fresh->volume.claim_name;
    fresh->as_is.claim_uid = fresh->volume.claim_uid;
    struct hold *h;
    for (size_t i = 0; kb_map_next(&v->holds, &i, NULL, (void **)&h);)
        if (h->volume == id)
            show(v, h, true);
}

bool kb_volumes_wants(kb_str resource)
{
    return kb_str_is(resource, "persistentvolumes") ||
           kb_str_is(resource, "persistentvolumeclaims") ||
           kb_str_is(resource, "storageclasses.storage.k8s.io") ||
           kb_str_is(resource, "csinodes.storage.k8s.io");
}

void kb_volumes_put(struct kb_volumes *v, struct kb_columns *c, kb_str resource, kb_str ns,
                    kb_str name, kb_val object)
{
    uint32_t id = kb_intern_id(c->intern, name);
    v->version++;
    if (kb_str_is(resource, "persistentvolumeclaims")) {
        put_claim(v, c, ns, name, object);
    } else if (kb_str_is(resource, "persistentvolumes")) {
        put_volume(v, c, name, object);
    } else if (kb_str_is(resource, "storageclasses.storage.k8s.io")) {
        put_object(&v->classes, id_key(&id), object.p ? read_class(c, object) : NULL);
    } else {
        free(kb_map_del(&v->limits, id_key(&id)));
        if (object.p != NULL)
            kb_map_put(&v->limits, id_key(&id), read_limits(c->intern, object));
    }
}

/* ---- pods ---- */

static struct kb_volume_uses *uses_of(struct kb_volumes *v, uint32_t slot)
{
    if (slot >= v->cap) {
        uint32_t cap = v->cap ? v->cap : 64;
        while (cap <= slot)
            cap *= 2;
        v->uses = realloc(v->uses, cap * sizeof(*v->uses));
        KB_ASSERT(v->uses != NULL);
        memset(v->uses + v->cap, 0, (cap - v->cap) * sizeof(*v->uses));
        v->cap = cap;
    }
    return &v->uses[slot];
}

static void use_claim(struct kb_volume_uses *u, struct kb_policy_claim_name claim, int by)
{
    if (by < 0) {
        for (uint32_t i = 0; i < u->claims_n; i++) {
            if (u->claims[i].ns == claim.ns && u->claims[i].name == claim.name) {
                u->claims[i] = u->claims[--u->claims_n];
                return;
            }
        }
        return;
    }
    KB_GROW(u->claims, u->claims_n, u->claims_cap, 4);
    u->claims[u->claims_n++] = claim;
}

static void use_disk(struct kb_volume_uses *u, struct kb_policy_disk disk, int by)
{
    if (by < 0) {
        for (uint32_t i = 0; i < u->disks_n; i++) {
            if (u->disks[i].id == disk.id && u->disks[i].read_only == disk.read_only) {
                u->disks[i] = u->disks[--u->disks_n];
                return;
            }
        }
        return;
    }
    KB_GROW(u->disks, u->disks_n, u->disks_cap, 4);
    u->disks[u->disks_n++] = disk;
}

void kb_volumes_pod(struct kb_volumes *v, uint32_t slot, const struct kb_policy_pod *pod, int by)
{
    if (pod->claims_n + pod->disks_n == 0)
        return;
    struct kb_volume_uses *u = uses_of(v, slot);
    for (uint32_t i = 0; i < pod->claims_n; i++) {
        struct claim_key key = {pod->claims[i].ns, pod->claims[i].name};
        struct object *claim = kb_map_get(&v->claims, claim_key(&key));
        uintptr_t users = (uintptr_t)kb_map_del(&v->users, claim_key(&key)) + (uintptr_t)by;
        use_claim(u, pod->claims[i], by);
        if (users > 0)
            kb_map_put(&v->users, claim_key(&key), (void *)users);
        if (claim != NULL)
            claim->claim.users = (uint32_t)users;
    }
    for (uint32_t i = 0; i < pod->disks_n; i++)
        use_disk(u, pod->disks[i], by);
    v->version += pod->claims_n > 0;
}

/* ---- what a pod uses ---- */

static kb_str claim_of(kb_val volume, kb_str pod_name, struct kb_arena *a, bool *ret_ephemeral)
{
    kb_val claim = kb_val_get(volume, "persistentVolumeClaim");
    *ret_ephemeral = kb_val_present(kb_val_get(volume, "ephemeral"));
    if (*ret_ephemeral)
        return kb_arena_printf(a, KB_STR_FMT "-" KB_STR_FMT, KB_STR_ARG(pod_name),
                               KB_STR_ARG(kb_val_str(kb_val_get(volume, "name"))));
    return kb_val_str(kb_val_get(claim, "claimName"));
}

static void read_disks(struct kb_arena *a, struct kb_intern *in, kb_val volume,
                       struct kb_policy_disk *disks, uint32_t *n)
{
    static const struct {
        const char *source, *id;
        bool shared; /* when all read */
    } kinds[] = {{"gcePersistentDisk", "pdName", true},
                 {"awsElasticBlockStore", "volumeID", false},
                 {"iscsi", "iqn", true}};
    for (size_t i = 0; i < KB_COUNT(kinds); i++) {
        kb_val source = kb_val_get(volume, kinds[i].source);
        if (!kb_val_present(source))
            continue;
        kb_str id = kb_arena_printf(a, "%s/" KB_STR_FMT, kinds[i].source,
                                    KB_STR_ARG(kb_val_str(kb_val_get(source, kinds[i].id))));
        bool reads = kb_val_bool(kb_val_get(source, "readOnly"), false);
        disks[(*n)++] = (struct kb_policy_disk){kb_intern_id(in, id), kinds[i].shared && reads};
    }
    kb_val rbd = kb_val_get(volume, "rbd");
    for (struct kb_iter it = kb_iter(kb_val_get(rbd, "monitors")); kb_iter_next(&it);) {
        kb_str id = kb_arena_printf(a, "rbd/" KB_STR_FMT "/" KB_STR_FMT "/" KB_STR_FMT,
                                    KB_STR_ARG(kb_val_str(it.val)),
                                    KB_STR_ARG(kb_val_str(kb_val_get(rbd, "pool"))),
                                    KB_STR_ARG(kb_val_str(kb_val_get(rbd, "image"))));
        bool reads = kb_val_bool(kb_val_get(rbd, "readOnly"), false);
        disks[(*n)++] = (struct kb_policy_disk){kb_intern_id(in, id), reads};
    }
}

static bool matters(kb_val volume)
{
    static const char *const sources[] = {"persistentVolumeClaim", "ephemeral", "gcePersistentDisk",
                                          "awsElasticBlockStore",  "iscsi",     "rbd"};
    for (struct kb_iter it = kb_iter(volume); kb_iter_next(&it);)
        for (size_t i = 0; i < KB_COUNT(sources); i++)
            if (kb_str_is(it.key, sources[i]))
                return true;
    return false;
}

void kb_volumes_of_pod(struct kb_arena *a, struct kb_intern *in, kb_val volumes, kb_str pod_name,
                       struct kb_policy_pod *pod)
{
    size_t claims = 0, disks = 0;
    for (struct kb_iter it = kb_iter(volumes); kb_iter_next(&it);) {
        claims++;
        disks += 1 + kb_val_count(kb_val_at(it.val, "rbd.monitors"));
    }
    struct kb_policy_claim_name *c = kb_arena_alloc(a, (claims + 1) * sizeof(*c));
    struct kb_policy_disk *d = kb_arena_alloc(a, (disks + 1) * sizeof(*d));
    for (struct kb_iter it = kb_iter(volumes); kb_iter_next(&it);) {
        bool ephemeral;
        if (!matters(it.val))
            continue;
        kb_str name = claim_of(it.val, pod_name, a, &ephemeral);
        if (name.n > 0)
            c[pod->claims_n++] =
                (struct kb_policy_claim_name){pod->ns, kb_intern_id(in, name), ephemeral};
        read_disks(a, in, it.val, d, &pod->disks_n);
    }
    pod->claims = c;
    pod->disks = d;
}

void kb_volumes_sign(kb_val volumes, kb_str pod_name, struct kb_buf *sig)
{
    for (struct kb_iter it = kb_iter(volumes); kb_iter_next(&it);) {
        if (!matters(it.val))
            continue;
        kb_buf_add(sig, it.val.p, kb_val_size(it.val));
        if (kb_val_present(kb_val_get(it.val, "ephemeral")))
            kb_buf_add_str(sig, pod_name);
    }
    kb_buf_putc(sig, 0);
}

/* ---- asking ---- */

const struct kb_policy_claim *kb_volumes_claim(const struct kb_volumes *v, uint32_t ns,
                                               uint32_t name)
{
    struct claim_key key = {ns, name};
    const struct object *o = kb_map_get(&v->claims, claim_key(&key));
    return o ? &o->claim : NULL;
}

const struct kb_policy_volume *kb_volumes_volume(const struct kb_volumes *v, uint32_t name)
{
    const struct object *o = kb_map_get(&v->volumes, id_key(&name));
    return o ? &o->volume : NULL;
}

const struct kb_policy_storage_class *kb_volumes_class(const struct kb_volumes *v, uint32_t name)
{
    const struct object *o = kb_map_get(&v->classes, id_key(&name));
    return o ? &o->class : NULL;
}

uint32_t kb_volumes_of_class(const struct kb_volumes *v, uint32_t class_name,
                             const uint32_t **ret_names)
{
    const struct names *names = kb_map_get(&v->by_class, id_key(&class_name));
    *ret_names = names ? names->v : NULL;
    return names ? names->n : 0;
}

int64_t kb_volumes_limit(const struct kb_volumes *v, uint32_t node_name, uint32_t driver)
{
    const struct limits *l = kb_map_get(&v->limits, id_key(&node_name));
    for (uint32_t i = 0; l != NULL && i < l->n; i++)
        if (l->v[i].driver == driver)
            return l->v[i].count;
    return -1;
}
