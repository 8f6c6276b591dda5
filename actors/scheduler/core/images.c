#include "actors/scheduler/core/images.h"

#include "bus/base/check.h"
#include "bus/base/grow.h"

#include <stdlib.h>

struct kb_image_holders {
    uint32_t n, cap;
    struct kb_policy_image *v;
};

static kb_str id_key(const uint32_t *id)
{
    return kb_str_n((const char *)id, sizeof(*id));
}

void kb_images_finish(struct kb_images *im)
{
    struct kb_image_holders *h;
    for (size_t i = 0; kb_map_next(&im->by_name, &i, NULL, (void **)&h);) {
        free(h->v);
        free(h);
    }
    for (uint32_t slot = 0; slot < im->cap; slot++)
        free(im->rec[slot].names);
    free(im->rec);
    kb_map_finish(&im->by_name);
}

static void drop(struct kb_images *im, uint32_t slot)
{
    struct kb_image_rec *rec = &im->rec[slot];
    for (uint32_t i = 0; i < rec->n; i++) {
        struct kb_image_holders *h = kb_map_get(&im->by_name, id_key(&rec->names[i]));
        for (uint32_t k = 0; k < h->n; k++) {
            if (h->v[k].node == slot) {
                h->v[k] = h->v[--h->n];
                break;
            }
        }
        if (h->n == 0) {
            kb_map_del(&im->by_name, id_key(&rec->names[i]));
            free(h->v);
            free(h);
        }
    }
    free(rec->names);
    *rec = (struct kb_image_rec){0};
}

/* False when the node holds it already: a name may stand in a list twice. */
static bool hold(struct kb_images *im, uint32_t name, uint32_t slot, int64_t bytes)
{
    struct kb_image_holders *h = kb_map_get(&im->by_name, id_key(&name));
    if (h == NULL) {
        h = calloc(1, sizeof(*h));
        KB_ASSERT(h != NULL);
        kb_map_put(&im->by_name, id_key(&name), h);
    }
    if (h->n > 0 && h->v[h->n - 1].node == slot)
        return false;
    KB_GROW(h->v, h->n, h->cap, 4);
    h->v[h->n++] = (struct kb_policy_image){slot, bytes};
    return true;
}

static void take(struct kb_images *im, struct kb_intern *in, uint32_t slot, kb_val list)
{
    struct kb_image_rec *rec = &im->rec[slot];
    size_t most = 0;
    for (struct kb_iter it = kb_iter(list); kb_iter_next(&it);)
        most += kb_val_count(kb_val_get(it.val, "names"));
    rec->names = calloc(most + 1, sizeof(*rec->names));
    KB_ASSERT(rec->names != NULL);
    for (struct kb_iter it = kb_iter(list); kb_iter_next(&it);) {
        int64_t bytes = kb_val_int(kb_val_get(it.val, "sizeBytes"), 0);
        for (struct kb_iter n = kb_iter(kb_val_get(it.val, "names")); kb_iter_next(&n);) {
            uint32_t name = kb_intern_id(in, kb_val_str(n.val));
            if (hold(im, name, slot, bytes < 0 ? 0 : bytes))
                rec->names[rec->n++] = name;
        }
    }
}

static void grow(struct kb_images *im, uint32_t slot)
{
    if (slot < im->cap)
        return;
    uint32_t cap = im->cap ? im->cap : 64;
    while (cap <= slot)
        cap *= 2;
    im->rec = realloc(im->rec, cap * sizeof(*im->rec));
    KB_ASSERT(im->rec != NULL);
    memset(im->rec + im->cap, 0, (cap - im->cap) * sizeof(*im->rec));
    im->cap = cap;
}

bool kb_images_node_put(struct kb_images *im, struct kb_intern *in, uint32_t slot, kb_val list)
{
    bool none = kb_val_count(list) == 0;
    uint64_t hash = none ? 0 : kb_hash64(list.p, kb_val_size(list)) | 1;
    if (slot >= im->cap && none)
        return false;
    grow(im, slot);
    if (im->rec[slot].hash == hash)
        return false;
    drop(im, slot);
    if (!none)
        take(im, in, slot, list);
    im->rec[slot].hash = hash;
    return true;
}

uint32_t kb_images_holders(const struct kb_images *im, uint32_t name,
                           const struct kb_policy_image **ret)
{
    const struct kb_image_holders *h = kb_map_get(&im->by_name, id_key(&name));
    *ret = h ? h->v : NULL;
    return h ? h->n : 0;
}
