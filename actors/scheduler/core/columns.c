#include "actors/scheduler/core/columns.h"

#include "actors/scheduler/core/decode.h"
#include "bus/base/check.h"
#include "bus/base/grow.h"

#include <stdio.h>
#include <stdlib.h>

static void *grow(void *array, size_t old_n, size_t new_n, size_t size)
{
    char *grown = realloc(array, new_n * size);
    KB_ASSERT(grown != NULL);
    memset(grown + old_n * size, 0, (new_n - old_n) * size);
    return grown;
}

/* The view's arrays are const for policies; here they are ours to write. */
#define OWN(type, array) ((type *)(uintptr_t)(array))
#define GROW(type, array, old_n, new_n)                                                            \
    ((array) = grow(OWN(void, array), (old_n), (new_n), sizeof(type)))

static void touch(struct kb_columns *c, uint32_t slot)
{
    if (c->pretending) {
        c->view.hypothesis = ++c->hypotheses;
        return;
    }
    c->log[c->view.generation & (c->log_cap - 1)] = slot;
    c->view.generation++;
}

bool kb_columns_since(const struct kb_columns *c, uint64_t generation)
{
    uint64_t behind = c->view.generation - generation;
    return generation >= c->log_floor && behind <= c->log_cap && behind <= c->view.count / 4 + 16;
}

void kb_columns_pretend(struct kb_columns *c, bool on)
{
    c->pretending = on;
    c->view.hypothesis = on ? ++c->hypotheses : 0;
}

void kb_columns_touch_all(struct kb_columns *c)
{
    c->log_floor = ++c->view.generation;
}

static void grow_slots(struct kb_columns *c)
{
    uint32_t old = c->cap, cap = old ? old * 2 : 64;
    struct kb_policy_nodes *v = &c->view;
    GROW(uint8_t, v->present, old, cap);
    GROW(int64_t, v->nonzero_cpu, old, cap);
    GROW(int64_t, v->nonzero_memory, old, cap);
    GROW(uint32_t, v->name, old, cap);
    GROW(uint8_t, v->unschedulable, old, cap);
    GROW(uint32_t, v->taint_set, old, cap);
    GROW(int32_t, v->lowest_priority, old, cap);
    GROW(uint32_t, c->free_slots, old, cap);
    int64_t *old_zeros = c->zeros;
    c->zeros = grow(NULL, 0, cap, sizeof(int64_t));
    for (uint32_t r = 0; r < v->resources; r++) {
        for (int k = 0; k < 2; k++) {
            int64_t **column = k ? &c->requested[r] : &c->allocatable[r];
            *column = *column == old_zeros ? c->zeros : grow(*column, old, cap, sizeof(int64_t));
        }
    }
    free(old_zeros);
    for (uint32_t i = 0; i < c->label_columns_n; i++)
        GROW(uint32_t, c->label_columns[i].values, old, cap);
    kb_devices_grow(&c->devices, cap);
    kb_pods_grow(&c->pods, cap);
    struct kb_node_rec *rec = calloc(cap, sizeof(*rec));
    KB_ASSERT(rec != NULL);
    for (uint32_t i = 0; i < cap; i++) { /* list heads move: link their members to the new place */
        if (i < old)
            rec[i] = c->rec[i];
        if (i < old && !kb_list_empty(&c->rec[i].pods))
            rec[i].pods.next->prev = rec[i].pods.prev->next = &rec[i].pods;
        else
            kb_list_init(&rec[i].pods);
    }
    free(c->rec);
    c->rec = rec;
    c->cap = cap;
    c->log_cap = cap * 2;
    free(c->log);
    c->log = calloc(c->log_cap, sizeof(*c->log));
    KB_ASSERT(c->log != NULL);
    c->log_floor = v->generation;
}

static uint32_t taint_set_id(struct kb_columns *c, const struct kb_policy_taint *taints, uint32_t n)
{
    kb_str key = kb_str_n((const char *)taints, n * sizeof(*taints));
    uintptr_t known = (uintptr_t)kb_map_get(&c->taint_set_of, key);
    if (known != 0)
        return (uint32_t)(known - 1);
    uint32_t at = c->view.taint_sets_n;
    if ((at & (at - 1)) == 0)
        GROW(struct kb_policy_taint_set, c->view.taint_sets, at, at ? at * 2 : 1);
    struct kb_policy_taint *copy = calloc(n ? n : 1, sizeof(*copy));
    KB_ASSERT(copy != NULL);
    for (uint32_t i = 0; i < n; i++)
        copy[i] = taints[i];
    OWN(struct kb_policy_taint_set, c->view.taint_sets)[at] = (struct kb_policy_taint_set){n, copy};
    c->view.taint_sets_n++;
    kb_map_put(&c->taint_set_of, key, (void *)(uintptr_t)(at + 1));
    return at;
}

void kb_columns_init(struct kb_columns *c, struct kb_intern *intern)
{
    static const char *const fixed[KB_POLICY_RESOURCES] = {"cpu", "memory", "ephemeral-storage",
                                                           "pods"};
    *c = (struct kb_columns){.intern = intern, .view.size = sizeof(c->view)};
    c->view.devices = &c->devices.view;
    kb_pods_init(&c->pods, intern);
    kb_volumes_init(&c->volumes);
    grow_slots(c);
    for (uint32_t i = 0; i < KB_POLICY_RESOURCES; i++)
        kb_columns_resource(c, kb_str_of(fixed[i]));
    taint_set_id(c, NULL, 0);
}

void kb_columns_finish(struct kb_columns *c)
{
    struct kb_policy_nodes *v = &c->view;
    for (uint32_t r = 0; r < v->resources; r++) {
        if (c->allocatable[r] != c->zeros)
            free(c->allocatable[r]);
        if (c->requested[r] != c->zeros)
            free(c->requested[r]);
    }
    for (uint32_t i = 0; i < c->cap; i++) {
        free(c->rec[i].labels);
        free(c->rec[i].ports);
        free(c->rec[i].alloc);
    }
    for (uint32_t i = 0; i < c->label_columns_n; i++)
        free(c->label_columns[i].values);
    for (uint32_t i = 0; i < v->taint_sets_n; i++)
        free(OWN(void, v->taint_sets[i].taints));
    struct kb_port_holders *holders;
    for (size_t i = 0; kb_map_next(&c->ports, &i, NULL, (void **)&holders);) {
        free(holders->uses);
        free(holders);
    }
    kb_map_finish(&c->ports);
    kb_devices_finish(&c->devices);
    kb_pods_finish(&c->pods);
    kb_owners_finish(&c->owners);
    kb_images_finish(&c->images);
    kb_volumes_finish(&c->volumes);
    kb_domains_finish(&c->domains);
    kb_map_finish(&c->taint_set_of);
    const void *arrays[] = {v->present,     v->nonzero_cpu,   v->nonzero_memory,  v->name,
                            v->taint_set,   v->unschedulable, v->lowest_priority, v->taint_sets,
                            c->rec,         c->slot_of,       c->free_slots,      c->zeros,
                            c->allocatable, c->requested,     c->resource_name,   c->log};
    for (size_t i = 0; i < KB_COUNT(arrays); i++)
        free(OWN(void, arrays[i]));
    *c = (struct kb_columns){0};
}

/* ---- resources ---- */

uint32_t kb_columns_resource(struct kb_columns *c, kb_str name)
{
    uint32_t id = kb_intern_id(c->intern, name), n = c->view.resources;
    for (uint32_t r = 0; r < n; r++)
        if (c->resource_name[r] == id)
            return r;
    if (n == c->resources_cap) {
        uint32_t cap = n ? n * 2 : 8;
        GROW(int64_t *, c->allocatable, n, cap);
        GROW(int64_t *, c->requested, n, cap);
        GROW(uint32_t, c->resource_name, n, cap);
        c->resources_cap = cap;
        c->view.allocatable = (const int64_t *const *)c->allocatable;
        c->view.requested = (const int64_t *const *)c->requested;
    }
    c->allocatable[n] = c->requested[n] = c->zeros;
    c->resource_name[n] = id;
    c->view.resources++;
    return n;
}

static void add_amount(struct kb_columns *c, int64_t **column, uint32_t slot, int64_t amount)
{
    if (*column == c->zeros)
        *column = grow(NULL, 0, c->cap, sizeof(int64_t));
    (*column)[slot] += amount;
}

/* ---- slots ---- */

uint32_t kb_columns_find(const struct kb_columns *c, kb_str name)
{
    uint32_t id = kb_intern_find(c->intern, name);
    return id < c->slot_of_n && c->slot_of[id] ? c->slot_of[id] - 1 : UINT32_MAX;
}

uint32_t kb_columns_hold(struct kb_columns *c, kb_str name)
{
    uint32_t id = kb_intern_id(c->intern, name);
    if (id < c->slot_of_n && c->slot_of[id])
        return c->slot_of[id] - 1;
    if (id >= c->slot_of_n) {
        uint32_t n = (id + 1) * 2;
        GROW(uint32_t, c->slot_of, c->slot_of_n, n);
        c->slot_of_n = n;
    }
    uint32_t slot;
    if (c->free_n > 0) {
        slot = c->free_slots[--c->free_n];
    } else {
        if (c->view.count == c->cap)
            grow_slots(c);
        slot = c->view.count++;
    }
    c->slot_of[id] = slot + 1;
    OWN(uint32_t, c->view.name)[slot] = id;
    OWN(int32_t, c->view.lowest_priority)[slot] = INT32_MAX;
    touch(c, slot);
    return slot;
}

/* Only a slot that is all zero again may be reused. */
static void release_if_empty(struct kb_columns *c, uint32_t slot)
{
    if (c->view.present[slot] || c->rec[slot].pods_n > 0)
        return;
    c->slot_of[c->view.name[slot]] = 0;
    OWN(uint32_t, c->view.name)[slot] = 0;
    c->free_slots[c->free_n++] = slot;
}

/* ---- nodes ---- */

static int by_key(const void *a, const void *b)
{
    const struct kb_label *x = a, *y = b;
    return x->key < y->key ? -1 : x->key > y->key;
}

static int by_resource(const void *a, const void *b)
{
    const struct kb_policy_request *x = a, *y = b;
    return x->resource < y->resource ? -1 : x->resource > y->resource;
}

static bool put_labels(struct kb_columns *c, uint32_t slot, kb_val labels)
{
    struct kb_node_rec *rec = &c->rec[slot];
    uint32_t n = 0;
    struct kb_label *fresh = calloc(kb_val_count(labels) + 1, sizeof(*fresh));
    KB_ASSERT(fresh != NULL);
    for (struct kb_iter it = kb_iter(labels); kb_iter_next(&it);)
        fresh[n++] = (struct kb_label){kb_intern_id(c->intern, it.key),
                                       kb_intern_id(c->intern, kb_val_str(it.val))};
    qsort(fresh, n, sizeof(*fresh), by_key);
    if (n == rec->labels_n && (n == 0 || memcmp(fresh, rec->labels, n * sizeof(*fresh)) == 0)) {
        free(fresh);
        return false;
    }
    free(rec->labels);
    rec->labels = fresh;
    rec->labels_n = n;
    c->labels_version++;
    for (uint32_t i = 0; i < c->label_columns_n; i++) {
        struct kb_label want = {c->label_columns[i].key, 0};
        const struct kb_label *hit = bsearch(&want, fresh, n, sizeof(*fresh), by_key);
        c->label_columns[i].values[slot] = hit ? hit->value : 0;
    }
    return true;
}

static bool put_taints(struct kb_columns *c, uint32_t slot, kb_val spec)
{
    kb_val list = kb_val_get(spec, "taints");
    uint32_t n = 0, set;
    struct kb_policy_taint *taints = calloc(kb_val_count(list) + 1, sizeof(*taints));
    KB_ASSERT(taints != NULL);
    for (struct kb_iter it = kb_iter(list); kb_iter_next(&it);)
        taints[n++] = (struct kb_policy_taint){
            kb_intern_id(c->intern, kb_val_str(kb_val_get(it.val, "key"))),
            kb_intern_id(c->intern, kb_val_str(kb_val_get(it.val, "value"))),
            kb__effect(kb_val_str(kb_val_get(it.val, "effect")))};
    set = taint_set_id(c, taints, n);
    free(taints);
    uint8_t unschedulable = kb_val_bool(kb_val_get(spec, "unschedulable"), false);
    bool changed = set != c->view.taint_set[slot] || unschedulable != c->view.unschedulable[slot];
    OWN(uint32_t, c->view.taint_set)[slot] = set;
    OWN(uint8_t, c->view.unschedulable)[slot] = unschedulable;
    return changed;
}

static void count_alloc(struct kb_columns *c, uint32_t slot, int sign)
{
    const struct kb_node_rec *rec = &c->rec[slot];
    for (uint32_t i = 0; i < rec->alloc_n; i++)
        add_amount(c, &c->allocatable[rec->alloc[i].resource], slot, sign * rec->alloc[i].amount);
}

static bool put_allocatable(struct kb_columns *c, uint32_t slot, kb_val status)
{
    kb_val list = kb_val_get(status, "allocatable");
    if (!kb_val_present(list))
        list = kb_val_get(status, "capacity");
    struct kb_node_rec *rec = &c->rec[slot];
    uint32_t n = 0;
    struct kb_policy_request *fresh = calloc(kb_val_count(list) + 1, sizeof(*fresh));
    KB_ASSERT(fresh != NULL);
    for (struct kb_iter it = kb_iter(list); kb_iter_next(&it);) {
        int64_t amount = kb__amount(it.val, it.key);
        if (amount > 0)
            fresh[n++] = (struct kb_policy_request){kb_columns_resource(c, it.key), amount};
    }
    qsort(fresh, n, sizeof(*fresh), by_resource);
    bool same = n == rec->alloc_n;
    for (uint32_t i = 0; same && i < n; i++)
        same =
            fresh[i].resource == rec->alloc[i].resource && fresh[i].amount == rec->alloc[i].amount;
    if (same) {
        free(fresh);
        return false;
    }
    count_alloc(c, slot, -1);
    free(rec->alloc);
    rec->alloc = fresh;
    rec->alloc_n = n;
    count_alloc(c, slot, 1);
    return true;
}

uint32_t kb_columns_node_put(struct kb_columns *c, kb_str name, kb_val node)
{
    uint32_t slot = kb_columns_hold(c, name), events = 0;
    if (!c->view.present[slot]) {
        OWN(uint8_t, c->view.present)[slot] = 1;
        c->view.present_n++;
        events |= KB_POLICY_ON_NODE_ADD;
    }
    if (put_labels(c, slot, kb_val_get(kb_val_get(node, "metadata"), "labels")))
        events |= KB_POLICY_ON_NODE_LABEL;
    if (put_taints(c, slot, kb_val_get(node, "spec")))
        events |= KB_POLICY_ON_NODE_TAINT;
    if (put_allocatable(c, slot, kb_val_get(node, "status")))
        events |= KB_POLICY_ON_NODE_ALLOCATABLE;
    if (kb_devices_node_put(&c->devices, c->intern, slot, node))
        events |= KB_POLICY_ON_NODE_ALLOCATABLE;
    bool images = kb_images_node_put(&c->images, c->intern, slot,
                                     kb_val_get(kb_val_get(node, "status"), "images"));
    c->pods.versions.images += images;
    c->pods.versions.nodes += events != 0;
    if (events & (KB_POLICY_ON_NODE_ADD | KB_POLICY_ON_NODE_ALLOCATABLE))
        c->view.capacity++;
    if (events != 0)
        touch(c, slot);
    return events;
}

bool kb_columns_node_del(struct kb_columns *c, kb_str name)
{
    uint32_t slot = kb_columns_find(c, name);
    if (slot == UINT32_MAX || !c->view.present[slot])
        return false;
    put_labels(c, slot, (kb_val){0});
    put_taints(c, slot, (kb_val){0});
    put_allocatable(c, slot, (kb_val){0});
    kb_devices_node_put(&c->devices, c->intern, slot, (kb_val){0});
    c->pods.versions.images += kb_images_node_put(&c->images, c->intern, slot, (kb_val){0});
    c->pods.versions.nodes++;
    OWN(uint8_t, c->view.present)[slot] = 0;
    c->view.present_n--;
    c->view.capacity++;
    touch(c, slot);
    release_if_empty(c, slot);
    return true;
}

/* ---- labels ---- */

static void fill_label(const struct kb_columns *c, struct kb_label_column *column)
{
    struct kb_label want = {column->key, 0};
    for (uint32_t slot = 0; slot < c->view.count; slot++) {
        const struct kb_node_rec *rec = &c->rec[slot];
        const struct kb_label *hit =
            rec->labels_n ? bsearch(&want, rec->labels, rec->labels_n, sizeof(want), by_key) : NULL;
        column->values[slot] = hit ? hit->value : 0;
    }
}

const uint32_t *kb_columns_label(struct kb_columns *c, uint32_t key)
{
    struct kb_label_column *oldest = &c->label_columns[0];
    for (uint32_t i = 0; i < c->label_columns_n; i++) {
        struct kb_label_column *column = &c->label_columns[i];
        if (column->key == key) {
            column->used = ++c->label_uses;
            return column->values;
        }
        oldest = column->used < oldest->used ? column : oldest;
    }
    if (c->label_columns_n < KB_LABEL_COLUMNS) {
        oldest = &c->label_columns[c->label_columns_n++];
        oldest->values = grow(NULL, 0, c->cap, sizeof(*oldest->values));
    }
    oldest->key = key;
    oldest->used = ++c->label_uses;
    fill_label(c, oldest);
    return oldest->values;
}

const struct kb_policy_domains *kb_columns_domains(struct kb_columns *c, uint32_t key)
{
    const struct kb_policy_domains *d =
        kb_domains_known(&c->domains, key, c->cap, c->labels_version);
    if (d != NULL)
        return d;
    const uint32_t *column = kb_columns_label(c, key);
    return kb_domains_get(&c->domains, key, column, c->view.count, c->cap, c->labels_version);
}

/* ---- host ports ---- */

static kb_str port_key(uint16_t port, uint16_t protocol, uint16_t out[2])
{
    out[0] = port;
    out[1] = protocol;
    return kb_str_n((const char *)out, 2 * sizeof(*out));
}

uint32_t kb_columns_port_uses(const struct kb_columns *c, uint16_t port, uint16_t protocol,
                              const struct kb_policy_port_use **ret_uses)
{
    uint16_t key[2];
    const struct kb_port_holders *h = kb_map_get(&c->ports, port_key(port, protocol, key));
    *ret_uses = h ? h->uses : NULL;
    return h ? h->n : 0;
}

static void port_add(struct kb_columns *c, uint32_t slot, struct kb_policy_port port)
{
    struct kb_node_rec *rec = &c->rec[slot];
    uint16_t key[2];
    kb_str k = port_key(port.port, port.protocol, key);
    struct kb_port_holders *h = kb_map_get(&c->ports, k);
    if (h == NULL) {
        h = calloc(1, sizeof(*h));
        KB_ASSERT(h != NULL);
        kb_map_put(&c->ports, k, h);
    }
    KB_GROW(h->uses, h->n, h->cap, 4);
    h->uses[h->n++] = (struct kb_policy_port_use){slot, port};
    KB_GROW(rec->ports, rec->ports_n, rec->ports_cap, 4);
    rec->ports[rec->ports_n++] = port;
}

static bool port_same(struct kb_policy_port a, struct kb_policy_port b)
{
    return a.port == b.port && a.protocol == b.protocol && a.ip == b.ip;
}

static void port_del(struct kb_columns *c, uint32_t slot, struct kb_policy_port port)
{
    struct kb_node_rec *rec = &c->rec[slot];
    uint16_t key[2];
    struct kb_port_holders *h = kb_map_get(&c->ports, port_key(port.port, port.protocol, key));
    for (uint32_t i = 0; h != NULL && i < h->n; i++) {
        if (h->uses[i].node == slot && port_same(h->uses[i].port, port)) {
            h->uses[i] = h->uses[--h->n];
            break;
        }
    }
    for (uint32_t i = 0; i < rec->ports_n; i++) {
        if (port_same(rec->ports[i], port)) {
            rec->ports[i] = rec->ports[--rec->ports_n];
            return;
        }
    }
}

/* ---- pods ---- */

static void count_pod(struct kb_columns *c, uint32_t slot, const struct kb_policy_pod *pod,
                      int sign)
{
    for (uint32_t i = 0; i < pod->requests_n; i++)
        add_amount(c, &c->requested[pod->requests[i].resource], slot,
                   sign * pod->requests[i].amount);
    OWN(int64_t, c->view.nonzero_cpu)[slot] += sign * pod->nonzero_cpu;
    OWN(int64_t, c->view.nonzero_memory)[slot] += sign * pod->nonzero_memory;
}

void kb_columns_pod_add(struct kb_columns *c, uint32_t slot, const struct kb_policy_pod *pod,
                        uint32_t gpus, int32_t priority, struct kb_link *link)
{
    count_pod(c, slot, pod, 1);
    kb_pods_add(&c->pods, slot, pod, 1);
    kb_volumes_pod(&c->volumes, slot, pod, 1);
    c->pods.versions.volumes = c->volumes.version;
    kb_devices_pod(&c->devices, slot, pod, gpus, 1);
    for (uint32_t i = 0; i < pod->ports_n; i++)
        port_add(c, slot, pod->ports[i]);
    c->rec[slot].pods_n++;
    kb_list_push(&c->rec[slot].pods, link);
    if (priority < c->view.lowest_priority[slot])
        OWN(int32_t, c->view.lowest_priority)[slot] = priority;
    touch(c, slot);
}

void kb_columns_pod_del(struct kb_columns *c, uint32_t slot, const struct kb_policy_pod *pod,
                        uint32_t gpus, int32_t priority, struct kb_link *link,
                        kb_priority_fn *priority_of)
{
    struct kb_node_rec *rec = &c->rec[slot];
    count_pod(c, slot, pod, -1);
    kb_pods_add(&c->pods, slot, pod, -1);
    kb_volumes_pod(&c->volumes, slot, pod, -1);
    c->pods.versions.volumes = c->volumes.version;
    kb_devices_pod(&c->devices, slot, pod, gpus, -1);
    for (uint32_t i = 0; i < pod->ports_n; i++)
        port_del(c, slot, pod->ports[i]);
    rec->pods_n--;
    kb_list_remove(link);
    if (priority <= c->view.lowest_priority[slot]) {
        int32_t lowest = INT32_MAX;
        KB_LIST_EACH(it, &rec->pods)
        {
            int32_t p = priority_of(it);
            lowest = p < lowest ? p : lowest;
            if (p == priority)
                break;
        }
        OWN(int32_t, c->view.lowest_priority)[slot] = lowest;
    }
    touch(c, slot);
    release_if_empty(c, slot);
}
