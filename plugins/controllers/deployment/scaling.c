/* scaling.c - how many pods each ReplicaSet shall have.
 *
 * A rolling update never has more pods than replicas + maxSurge, counted by what was asked for, and
 * never fewer available ones than replicas - maxUnavailable. Old pods that are not available are
 * taken away first: they help nobody, and a broken rollout must be able to be undone. */
#include "plugins/controllers/deployment/deployment.h"

#include <inttypes.h>
#include <stdlib.h>

static int64_t min64(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

int64_t sum_spec(struct rs *const *list, size_t n)
{
    int64_t sum = 0;
    for (size_t i = 0; i < n; i++)
        sum += list[i]->replicas;
    return sum;
}

int64_t sum_available(struct rs *const *list, size_t n)
{
    int64_t sum = 0;
    for (size_t i = 0; i < n; i++)
        sum += list[i]->available;
    return sum;
}

int64_t sum_sure(struct rs *const *list, size_t n)
{
    int64_t sum = 0;
    for (size_t i = 0; i < n; i++)
        sum += list[i]->sure;
    return sum;
}

/* The annotations by which the next run sees whether the deployment was scaled. */
static void note_size(struct rollout *r, struct rs *rs)
{
    const char *const names[] = {ANN_DESIRED, ANN_MAX};
    const int64_t values[] = {r->replicas, r->replicas + r->surge};
    for (size_t i = 0; rs->object && i < KB_COUNT(names); i++) {
        kb_str text = kb_arena_printf(r->a, "%" PRId64, values[i]);
        if (kb_str_eq(kb_meta_annotation(rs->object->doc, names[i]), text))
            continue;
        struct kb_node *all = kb_node_ensure(r->a, patch_of(r, rs), "metadata.annotations");
        kb_node_put(r->a, all, names[i], kb_node_str(r->a, text));
    }
}

bool scale(struct rollout *r, struct rs *rs, int64_t replicas)
{
    if (rs->replicas == replicas || rs->object == NULL)
        return false;
    kb_event(r->c, r->d, "Normal", "ScalingReplicaSet",
             "Scaled %s replica set " KB_STR_FMT " from %" PRId64 " to %" PRId64,
             rs->replicas < replicas ? "up" : "down", KB_STR_ARG(rs->name), rs->replicas, replicas);
    rs->replicas = replicas;
    kb_node_set_int(r->a, patch_of(r, rs), "spec.replicas", replicas);
    note_size(r, rs);
    return true;
}

/* ---- rolling update ---- */

int64_t fresh_replicas(const struct rollout *r, int64_t now_has)
{
    if (!r->rolling)
        return r->replicas;
    int64_t room = r->replicas + r->surge - sum_spec(r->all, r->nall);
    if (room <= 0)
        return now_has;
    return now_has + min64(room, r->replicas - now_has);
}

static bool grow_fresh(struct rollout *r)
{
    struct rs *fresh = r->fresh;
    if (fresh->replicas > r->replicas)
        return scale(r, fresh, r->replicas);
    return scale(r, fresh, fresh_replicas(r, fresh->replicas));
}

/* Old pods that are not available anyway, `most` at most; how many. */
static int64_t drop_unhealthy(struct rollout *r, int64_t most)
{
    int64_t dropped = 0;
    for (size_t i = 0; i < r->nold && dropped < most; i++) {
        struct rs *rs = r->old[i];
        int64_t idle = min64(most - dropped, rs->replicas - rs->sure);
        if (rs->replicas == 0 || idle <= 0)
            continue;
        dropped += idle;
        scale(r, rs, rs->replicas - idle);
    }
    return dropped;
}

static bool shrink_old(struct rollout *r)
{
    int64_t enough = r->replicas - r->unavailable;
    int64_t starting = r->fresh->replicas - r->fresh->sure;
    int64_t most = sum_spec(r->all, r->nall) - enough - starting;
    bool any;
    if (sum_spec(r->old, r->nold) == 0 || most <= 0)
        return false;
    any = drop_unhealthy(r, most) > 0;
    int64_t spare = sum_sure(r->all, r->nall) - enough;
    for (size_t i = 0; i < r->nold && spare > 0; i++) {
        int64_t down = min64(r->old[i]->replicas, spare);
        spare -= down;
        any |= scale(r, r->old[i], r->old[i]->replicas - down);
    }
    return any;
}

/* As DeploymentComplete of the status that was read. */
static bool is_complete(const struct rollout *r)
{
    kb_val status = kb_val_get(r->d->doc, "status");
    return kb_val_int32_at(status, "updatedReplicas", 0) == r->replicas &&
           kb_val_int32_at(status, "replicas", 0) == r->replicas &&
           kb_val_int32_at(status, "availableReplicas", 0) == r->replicas &&
           kb_val_int_at(status, "observedGeneration", 0) >= kb_meta_generation(r->d->doc);
}

void roll(struct rollout *r)
{
    sync_fresh(r, true);
    if (!grow_fresh(r) && !shrink_old(r) && is_complete(r))
        clean_up(r);
    write_status(r, true);
}

/* ---- recreate ---- */

/* Pods of old ReplicaSets that have not ended; true as well while it is not known. */
static bool old_pods_run(struct rollout *r)
{
    bool known = true, any = false;
    if (r->nold == 0)
        return false;
    for (size_t i = 0; i < r->nold; i++)
        any |= r->old[i]->present > 0;
    known = kb_need(r->c, kb_arena_printf(r->a, "pods?ns=" KB_STR_FMT, KB_STR_ARG(r->d->key.ns)).p);
    for (size_t i = 0; known && i < r->nold; i++) {
        struct kb_objects pods = kb_list_owned(r->c, "pods", kb_meta_uid(r->old[i]->object->doc));
        for (size_t p = 0; p < pods.count; p++) {
            kb_str phase = kb_val_str_at(pods.items[p]->doc, "status.phase");
            any |= !kb_str_is(phase, "Failed") && !kb_str_is(phase, "Succeeded");
        }
    }
    return any || !known;
}

void recreate(struct rollout *r)
{
    bool changed = false;
    sync_fresh(r, false);
    for (size_t i = 0; i < r->nold; i++)
        changed |= scale(r, r->old[i], 0);
    if (!changed && (r->fresh == NULL || r->fresh->replicas != r->replicas) && !old_pods_run(r)) {
        if (r->fresh == NULL)
            sync_fresh(r, true);
        scale(r, r->fresh, r->replicas);
    }
    if (!changed && is_complete(r))
        clean_up(r);
    write_status(r, true);
}

/* ---- a deployment that was scaled, or is paused ---- */

static size_t active(const struct rollout *r, struct rs **ret)
{
    size_t n = 0;
    for (size_t i = 0; i < r->nall; i++)
        if (r->all[i]->replicas > 0)
            ret[n++] = r->all[i];
    return n;
}

/* The only active one, or with none the newest; NULL with several. */
static struct rs *active_or_latest(const struct rollout *r, struct rs *const *list, size_t n)
{
    if (n > 0)
        return n == 1 ? list[0] : NULL;
    return r->fresh ? r->fresh : r->nold ? r->old[r->nold - 1] : NULL;
}

/* The new one has all that is wanted. */
static bool is_saturated(const struct rollout *r)
{
    int64_t desired;
    return r->fresh && r->fresh->object &&
           kb_str_i64(kb_meta_annotation(r->fresh->object->doc, ANN_DESIRED), &desired) &&
           r->fresh->replicas == r->replicas && desired == r->replicas &&
           r->fresh->available == r->replicas;
}

static int larger_newer(const void *a, const void *b)
{
    const struct rs *x = *(struct rs *const *)a, *y = *(struct rs *const *)b;
    if (x->replicas != y->replicas)
        return x->replicas > y->replicas ? -1 : 1;
    if (x->created_us != y->created_us)
        return x->created_us > y->created_us ? -1 : 1;
    return kb_str_cmp(x->name, y->name);
}

static int larger_older(const void *a, const void *b)
{
    const struct rs *x = *(struct rs *const *)a, *y = *(struct rs *const *)b;
    if (x->replicas == y->replicas && x->created_us != y->created_us)
        return x->created_us < y->created_us ? -1 : 1;
    return larger_newer(a, b);
}

/* The share of a change that falls to one, by its part of what there was. */
static int64_t share(const struct rollout *r, const struct rs *rs, int64_t left, bool up)
{
    int64_t before = kb_val_int32_at(r->d->doc, "status.replicas", 0), noted, part;
    if (rs->object && kb_str_i64(kb_meta_annotation(rs->object->doc, ANN_MAX), &noted))
        before = noted;
    if (left == 0 || rs->replicas == 0)
        return 0;
    if (r->replicas == 0)
        part = -rs->replicas;
    else if (before == 0)
        part = 0;
    else
        part = (2 * rs->replicas * (r->replicas + r->surge) + before) / (2 * before) - rs->replicas;
    return up ? min64(part, left) : -min64(-part, -left);
}

static void spread(struct rollout *r, struct rs **list, size_t n)
{
    int64_t allowed = r->replicas > 0 ? r->replicas + r->surge : 0;
    int64_t change = allowed - sum_spec(list, n), done = 0;
    int64_t *sizes = kb_arena_alloc(r->a, (n + 1) * sizeof(*sizes));
    qsort(list, n, sizeof(*list), change > 0 ? larger_newer : larger_older);
    for (size_t i = 0; i < n; i++) {
        int64_t part = share(r, list[i], change - done, change > 0);
        sizes[i] = list[i]->replicas + part;
        done += part;
    }
    for (size_t i = 0; i < n; i++) {
        if (i == 0)
            sizes[i] += change - done;
        if (!scale(r, list[i], sizes[i] > 0 ? sizes[i] : 0))
            note_size(r, list[i]);
    }
}

void scale_in_proportion(struct rollout *r)
{
    struct rs **list = kb_arena_alloc(r->a, (r->nall + 1) * sizeof(*list));
    size_t n = active(r, list);
    struct rs *only = active_or_latest(r, list, n);
    if (only) {
        if (!scale(r, only, r->replicas))
            note_size(r, only);
    } else if (is_saturated(r)) {
        for (size_t i = 0; i < r->nold; i++)
            scale(r, r->old[i], 0);
    } else if (r->rolling) {
        spread(r, list, n);
    }
}
