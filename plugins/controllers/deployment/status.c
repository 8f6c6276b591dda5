/* status.c - what a Deployment says of its rollout: counts, Available, Progressing, ReplicaFailure.
 */
#include "plugins/controllers/deployment/deployment.h"

#include <inttypes.h>

void progress(struct rollout *r, const char *status, const char *reason, kb_str message)
{
    const struct kb_node *now = kb_cond_node(r->status, "Progressing");
    struct kb_cond cond = {"Progressing", status, reason, message.p, true};
    if (now && kb_str_is(kb_node_text(kb_node_get(now, "status")), status) &&
        kb_str_is(kb_node_text(kb_node_get(now, "reason")), reason))
        return;
    kb_cond_set(r->a, r->status, &cond, kb_now_us(r->c));
}

/* ---- counts ---- */

/* A count of zero is left out, as Kubernetes does. */
static void count(struct rollout *r, const char *field, int64_t n)
{
    if (n > 0)
        kb_node_set_int(r->a, r->status, field, n);
    else
        kb_node_del(r->status, field);
}

static void counts(struct rollout *r)
{
    int64_t present = 0, ready = 0, available = sum_available(r->all, r->nall);
    for (size_t i = 0; i < r->nall; i++) {
        present += r->all[i]->present;
        ready += r->all[i]->ready;
    }
    count(r, "observedGeneration", kb_meta_generation(r->d->doc));
    count(r, "replicas", present);
    count(r, "updatedReplicas", r->fresh ? r->fresh->present : 0);
    count(r, "readyReplicas", ready);
    count(r, "availableReplicas", available);
    count(r, "unavailableReplicas", sum_spec(r->all, r->nall) - available);
    if (r->collisions > 0)
        kb_node_set_int(r->a, r->status, "collisionCount", r->collisions);
}

static void availability(struct rollout *r)
{
    bool enough = sum_available(r->all, r->nall) >= r->replicas - r->unavailable;
    const struct kb_node *now = kb_cond_node(r->status, "Available");
    struct kb_cond cond = {"Available", enough ? "True" : "False",
                           enough ? "MinimumReplicasAvailable" : "MinimumReplicasUnavailable",
                           enough ? "Deployment has minimum availability."
                                  : "Deployment does not have minimum availability.",
                           true};
    if (now == NULL || !kb_str_is(kb_node_text(kb_node_get(now, "status")), cond.status) ||
        !kb_str_is(kb_node_text(kb_node_get(now, "reason")), cond.reason))
        kb_cond_set(r->a, r->status, &cond, kb_now_us(r->c));
}

/* ---- progress ---- */

static int64_t now_is(const struct rollout *r, const char *field)
{
    return kb_node_num(kb_node_get(r->status, field), 0);
}
static int64_t was(const struct rollout *r, const char *field)
{
    return kb_val_int32_at(kb_val_get(r->d->doc, "status"), field, 0);
}

static bool is_complete(const struct rollout *r)
{
    return now_is(r, "updatedReplicas") == r->replicas && now_is(r, "replicas") == r->replicas &&
           now_is(r, "availableReplicas") == r->replicas;
}

static bool is_moving(const struct rollout *r)
{
    int64_t old_now = now_is(r, "replicas") - now_is(r, "updatedReplicas");
    int64_t old_was = was(r, "replicas") - was(r, "updatedReplicas");
    return now_is(r, "updatedReplicas") > was(r, "updatedReplicas") || old_now < old_was ||
           now_is(r, "readyReplicas") > was(r, "readyReplicas") ||
           now_is(r, "availableReplicas") > was(r, "availableReplicas");
}

static int64_t updated_us(const struct rollout *r)
{
    int64_t us = 0;
    kb_str text =
        kb_node_text(kb_node_get(kb_cond_node(r->status, "Progressing"), "lastUpdateTime"));
    char copy[KB_TIME_BYTES * 2];
    if (kb_str_copy(text, copy, sizeof(copy)) && kb_time_parse(copy, &us) == 0)
        return us;
    return 0;
}

static int64_t left_us(const struct rollout *r)
{
    return updated_us(r) + r->deadline_s * 1000000 - kb_now_us(r->c);
}

static kb_str words(const struct rollout *r, const char *what)
{
    const char *kind = r->fresh ? "ReplicaSet" : "Deployment";
    kb_str name = r->fresh ? r->fresh->name : r->d->key.name;
    return kb_arena_printf(r->a, "%s \"" KB_STR_FMT "\" %s", kind, KB_STR_ARG(name), what);
}

/* It moves: the clock of the deadline starts anew, while the word stays. */
static void moving(struct rollout *r)
{
    struct kb_cond cond = {"Progressing", "True", "ReplicaSetUpdated",
                           words(r, "is progressing.").p, true};
    kb_cond_set(r->a, r->status, &cond, kb_now_us(r->c));
    struct kb_node *now = kb_cond_node(r->status, "Progressing");
    kb_node_put(r->a, now, "lastUpdateTime", kb_node_time(r->a, kb_now_us(r->c)));
}

static void judge(struct rollout *r)
{
    kb_str reason = kb_val_str_at(kb_cond_get(r->d->doc, "Progressing"), "reason");
    bool settled = now_is(r, "replicas") == now_is(r, "updatedReplicas") &&
                   kb_str_is(reason, "NewReplicaSetAvailable");
    if (!r->has_deadline) {
        kb_cond_remove(r->status, "Progressing");
        return;
    }
    if (settled)
        return;
    if (is_complete(r)) {
        progress(r, "True", "NewReplicaSetAvailable", words(r, "has successfully progressed."));
    } else if (is_moving(r)) {
        moving(r);
    } else if (kb_cond_node(r->status, "Progressing") && updated_us(r) > 0 && left_us(r) < 0 &&
               !kb_str_is(reason, "NewReplicaSetAvailable")) {
        progress(r, "False", "ProgressDeadlineExceeded", words(r, "has timed out progressing."));
    }
}

/* Come back when the deadline passes, for nothing else may happen until then. */
static void watch_deadline(const struct rollout *r)
{
    const struct kb_node *now = kb_cond_node(r->status, "Progressing");
    kb_str reason = kb_node_text(kb_node_get(now, "reason"));
    if (!r->has_deadline || now == NULL || is_complete(r) ||
        kb_str_is(reason, "ProgressDeadlineExceeded"))
        return;
    int64_t left_ms = left_us(r) / 1000;
    kb_requeue(r->c, (left_ms > 0 ? left_ms : 0) + 1000);
}

/* A ReplicaSet that cannot make pods: the new one first. */
static void failures(struct rollout *r)
{
    kb_cond_remove(r->status, "ReplicaFailure");
    for (size_t i = r->nall; i-- > 0;) {
        kb_val cond =
            r->all[i]->object ? kb_cond_get(r->all[i]->object->doc, "ReplicaFailure") : (kb_val){0};
        if (!kb_val_present(cond))
            continue;
        kb_node_append(r->a, kb_node_get(r->status, "conditions"), kb_node_of(r->a, cond));
        return;
    }
}

/* ---- writing ---- */

/* A merge patch from the status that was read to the one that is: members that went become null. */
static struct kb_node *difference(struct rollout *r)
{
    struct kb_node *out = kb_node_map(r->a);
    kb_val old = kb_val_get(r->d->doc, "status");
    const struct kb_node *before = kb_node_of(r->a, old);
    for (struct kb_iter it = kb_iter(old); kb_iter_next(&it);)
        if (kb_node_getn(r->status, it.key) == NULL)
            kb_node_putn(r->a, out, it.key, kb_node_nil(r->a));
    for (uint32_t i = 0; i < r->status->count; i++) {
        const struct kb_member *m = &r->status->items[i];
        if (!kb_node_equal(m->val, kb_node_getn(before, m->key)))
            kb_node_putn(r->a, out, m->key, m->val);
    }
    return out;
}

void write_status(struct rollout *r, bool rollout)
{
    counts(r);
    if (kb_node_get(r->status, "conditions") == NULL)
        kb_node_put(r->a, r->status, "conditions", kb_node_array(r->a));
    availability(r);
    if (rollout) {
        judge(r);
        failures(r);
    }
    struct kb_node *changed = difference(r);
    if (changed->count > 0) {
        struct kb_node *patch = kb_node_map(r->a);
        kb_node_put(r->a, patch, "status", changed);
        kb_wish_patch(r->c, r->d, "status", patch);
    }
    if (rollout)
        watch_deadline(r);
}
