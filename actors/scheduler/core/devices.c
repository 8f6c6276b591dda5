#include "actors/scheduler/core/devices.h"

#include "bus/base/check.h"
#include "bus/base/grow.h"
#include "bus/model/quantity.h"

#include <stdio.h>
#include <stdlib.h>

#define OWN(type, array) ((type *)(uintptr_t)(array))

/* ---- memory ---- */

static void *bigger(const struct kb_devices *d, const void *old, uint32_t cap, size_t size)
{
    void *fresh = calloc(cap, size); /* of which nothing is touched before there are GPUs */
    KB_ASSERT(fresh != NULL);
    if (d->any && d->cap > 0)
        memcpy(fresh, old, d->cap * size);
    free(OWN(void, old));
    return fresh;
}

void kb_devices_grow(struct kb_devices *d, uint32_t cap)
{
    struct kb_policy_devices *v = &d->view;
    v->size = sizeof(*v);
    v->count = bigger(d, v->count, cap, sizeof(*v->count));
    v->model = bigger(d, v->model, cap, sizeof(*v->model));
    v->gpus = bigger(d, v->gpus, cap, sizeof(*v->gpus));
    v->free_milli = bigger(d, v->free_milli, cap, sizeof(*v->free_milli));
    v->kinds = bigger(d, v->kinds, cap, sizeof(*v->kinds));
    d->rec = bigger(d, d->rec, cap, sizeof(*d->rec));
    d->cap = cap;
}

void kb_devices_finish(struct kb_devices *d)
{
    for (uint32_t i = 0; d->any && i < d->cap; i++)
        free(d->rec[i].loose);
    free(OWN(void, d->view.count));
    free(OWN(void, d->view.model));
    free(OWN(void, d->view.gpus));
    free(OWN(void, d->view.free_milli));
    free(OWN(void, d->view.kinds));
    free(d->rec);
    *d = (struct kb_devices){0};
}

/* ---- choosing ---- */

/* The fullest GPU that can take a share; UINT32_MAX: none. */
static uint32_t fullest(const uint16_t *free_of, uint32_t milli, uint32_t taken)
{
    uint32_t best = UINT32_MAX;
    for (uint32_t i = 0; i < KB_POLICY_GPUS; i++)
        if (!(taken & (1u << i)) && free_of[i] >= milli &&
            (best == UINT32_MAX || free_of[i] < free_of[best]))
            best = i;
    return best;
}

static uint32_t choose(const uint16_t *free_of, uint32_t gpus, uint32_t milli)
{
    uint32_t set = 0;
    if (gpus > KB_POLICY_GPUS || milli == 0)
        return 0;
    for (uint32_t n = 0; n < gpus; n++) {
        uint32_t at = fullest(free_of, milli, set);
        if (at == UINT32_MAX)
            return 0;
        set |= 1u << at;
    }
    return set;
}

uint32_t kb_devices_choose(const struct kb_devices *d, uint32_t slot,
                           const struct kb_policy_pod *pod)
{
    return choose(d->view.gpus[slot].free, pod->gpus, pod->gpu_milli);
}

bool kb_devices_possible(const struct kb_devices *d, uint32_t slot, const struct kb_policy_pod *pod,
                         uint32_t gpus)
{
    uint32_t n = 0;
    if (gpus >> KB_POLICY_GPUS)
        return false;
    for (uint32_t i = 0; i < KB_POLICY_GPUS; i++) {
        if (!(gpus & (1u << i)))
            continue;
        if (d->view.gpus[slot].free[i] < pod->gpu_milli)
            return false;
        n++;
    }
    return n == pod->gpus;
}

/* ---- what the columns say, from the records ---- */

static void lay_loose(const struct kb_gpu_rec *rec, uint16_t *free_of)
{
    for (uint32_t k = 0; k < rec->loose_n; k++) {
        uint32_t set = choose(free_of, rec->loose[k].gpus, rec->loose[k].milli);
        for (uint32_t i = 0; i < KB_POLICY_GPUS; i++)
            if (set & (1u << i))
                free_of[i] = (uint16_t)(free_of[i] - rec->loose[k].milli);
    }
}

static void derive(struct kb_devices *d, uint32_t slot)
{
    const struct kb_gpu_rec *rec = &d->rec[slot];
    uint16_t *free_of = OWN(struct kb_policy_gpus, d->view.gpus)[slot].free;
    uint32_t sum = 0, kinds = 0;
    for (uint32_t i = 0; i < KB_POLICY_GPUS; i++) {
        int32_t left = i < d->view.count[slot] ? KB_POLICY_GPU_MILLI - rec->used[i] : 0;
        free_of[i] = (uint16_t)(left > 0 ? left : 0);
    }
    lay_loose(rec, free_of);
    for (uint32_t i = 0; i < KB_POLICY_GPUS; i++)
        sum += free_of[i];
    for (uint32_t k = 0; k <= KB_POLICY_GPUS; k++)
        kinds |= (uint32_t)(rec->pods_of_kind[k] > 0) << k;
    OWN(uint32_t, d->view.free_milli)[slot] = sum;
    OWN(uint32_t, d->view.kinds)[slot] = kinds;
}

/* ---- nodes ---- */

static uint32_t count_of(kb_val node)
{
    kb_val status = kb_val_get(node, "status"), list = kb_val_get(status, "allocatable");
    if (!kb_val_present(list))
        list = kb_val_get(status, "capacity");
    kb_val stated = kb_val_get(list, KB_GPU_COUNT);
    int64_t n =
        kb_val_quantity(kb_val_present(stated) ? stated : kb_val_get(list, KB_GPU_NVIDIA), 0);
    return n > 0 && n <= KB_POLICY_GPUS ? (uint32_t)n : 0;
}

static kb_str model_of(kb_val node)
{
    kb_val labels = kb_val_get(kb_val_get(node, "metadata"), "labels");
    kb_str model = kb_val_str(kb_val_get(labels, KB_GPU_MODEL));
    return model.n > 0 ? model : kb_val_str(kb_val_get(labels, "nvidia.com/gpu.product"));
}

bool kb_devices_node_put(struct kb_devices *d, struct kb_intern *intern, uint32_t slot, kb_val node)
{
    uint32_t count = count_of(node);
    kb_str name = count > 0 ? model_of(node) : (kb_str){0};
    if (count == 0 && !d->any)
        return false;
    d->any = true;
    uint32_t model = name.n > 0 ? kb_intern_id(intern, name) : 0;
    if (d->view.count[slot] == count && d->view.model[slot] == model)
        return false;
    OWN(uint8_t, d->view.count)[slot] = (uint8_t)count;
    OWN(uint32_t, d->view.model)[slot] = model;
    derive(d, slot);
    return true;
}

/* ---- pods ---- */

static bool larger(struct kb_gpu_loose a, struct kb_gpu_loose b)
{
    return a.milli != b.milli ? a.milli > b.milli : a.gpus > b.gpus;
}

static void loose_add(struct kb_gpu_rec *rec, struct kb_gpu_loose ask)
{
    KB_GROW(rec->loose, rec->loose_n, rec->loose_cap, 4);
    uint32_t at = rec->loose_n++;
    for (; at > 0 && larger(ask, rec->loose[at - 1]); at--)
        rec->loose[at] = rec->loose[at - 1];
    rec->loose[at] = ask;
}

static void loose_del(struct kb_gpu_rec *rec, struct kb_gpu_loose ask)
{
    for (uint32_t i = 0; i < rec->loose_n; i++) {
        if (rec->loose[i].gpus != ask.gpus || rec->loose[i].milli != ask.milli)
            continue;
        rec->loose_n--;
        for (; i < rec->loose_n; i++)
            rec->loose[i] = rec->loose[i + 1];
        return;
    }
}

void kb_devices_pod(struct kb_devices *d, uint32_t slot, const struct kb_policy_pod *pod,
                    uint32_t gpus, int sign)
{
    if (pod->gpus == 0)
        return;
    struct kb_gpu_rec *rec = &d->rec[slot];
    struct kb_gpu_loose ask = {pod->gpus, pod->gpu_milli};
    uint32_t kind = pod->gpu_milli < KB_POLICY_GPU_MILLI ? 0
                    : pod->gpus < KB_POLICY_GPUS         ? pod->gpus
                                                         : KB_POLICY_GPUS;
    d->any = true;
    for (uint32_t i = 0; i < KB_POLICY_GPUS; i++)
        if (gpus & (1u << i))
            rec->used[i] += sign * (int32_t)pod->gpu_milli;
    if (gpus == 0 && sign > 0)
        loose_add(rec, ask);
    else if (gpus == 0)
        loose_del(rec, ask);
    rec->pods_of_kind[kind] = (uint16_t)(rec->pods_of_kind[kind] + sign);
    derive(d, slot);
}

/* ---- objects ---- */

struct kb_gpu_ask kb_gpu_ask_of(kb_val pod)
{
    struct kb_gpu_ask ask = {0};
    kb_val annotations = kb_val_get(kb_val_get(pod, "metadata"), "annotations");
    int64_t gpus = -1, milli = -1;
    for (struct kb_iter it = kb_iter(annotations); kb_iter_next(&it);) {
        if (kb_str_is(it.key, KB_GPU_COUNT))
            gpus = kb_val_quantity(it.val, 0);
        else if (kb_str_is(it.key, KB_GPU_MILLI))
            milli = kb_val_quantity(it.val, 0);
        else if (kb_str_is(it.key, KB_GPU_MODEL))
            ask.models = kb_val_str(it.val);
    }
    ask.stated = gpus > 0 ? milli != 0 : gpus == -1 && milli > 0;
    if (!ask.stated)
        return ask;
    gpus = gpus < 0 ? 1 : gpus;
    milli = milli < 0 ? KB_POLICY_GPU_MILLI : milli;
    ask.gpus = gpus > KB_POLICY_GPUS ? KB_POLICY_GPUS + 1 : (uint32_t)gpus;
    ask.milli = milli > KB_POLICY_GPU_MILLI ? KB_POLICY_GPU_MILLI + 1 : (uint32_t)milli;
    return ask;
}

void kb_gpu_format(uint32_t gpus, char out[KB_GPU_INDEX_BYTES])
{
    size_t n = 0;
    out[0] = '\0';
    for (uint32_t i = 0; i < KB_POLICY_GPUS; i++)
        if (gpus & (1u << i))
            n += (size_t)snprintf(out + n, KB_GPU_INDEX_BYTES - n, n ? "-%u" : "%u", i);
}

uint32_t kb_gpu_parse(kb_str text)
{
    uint32_t set = 0;
    while (text.p) {
        uint64_t i;
        if (!kb_str_u64(kb_str_cut(&text, '-'), &i) || i >= KB_POLICY_GPUS || (set & (1u << i)))
            return 0;
        set |= 1u << i;
    }
    return set;
}

uint32_t kb_gpu_index_of(kb_val pod)
{
    kb_val annotations = kb_val_get(kb_val_get(pod, "metadata"), "annotations");
    return kb_gpu_parse(kb_val_str(kb_val_get(annotations, KB_GPU_INDEX)));
}
