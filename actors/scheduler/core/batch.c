#include "actors/scheduler/core/batch.h"

#include "bus/base/check.h"

#include <stdlib.h>

bool kb_core_batches(const struct kb_core *core)
{
    for (uint32_t i = 0; i < kb__core_profiles(core); i++)
        if (kb__core_profile(core, i)->batcher != UINT32_MAX)
            return true;
    return false;
}

/* A batch under way. */
struct batch {
    struct kb_arena arena;
    uint32_t kinds_n;
    struct kb_podspec *spec[KB_BATCH_PODS]; /* of a kind */
    struct kb_policy_batch_kind kinds[KB_BATCH_PODS];
    struct kb_waiting *const *pods;
    size_t n;
    uint32_t slots;
    uint32_t *suggested;
};

/* How each node stands to the kind: copied, for plans may go while others are made. */
static void read_plan(struct kb_core *core, struct batch *b, struct kb_podspec *spec,
                      struct kb_policy_batch_kind *kind)
{
    struct kb_plan *plan = kb__core_plan(core, spec);
    uint8_t *fits = kb_arena_alloc(&b->arena, b->slots + 1);
    int32_t *score = kb_arena_alloc(&b->arena, (b->slots + 1) * sizeof(*score));
    bool refused = kb_plan_refused_by(plan) != UINT32_MAX;
    for (uint32_t i = 0; i < b->slots; i++) {
        fits[i] = !refused && kb_plan_verdict(plan, i) == 0;
        score[i] = fits[i] ? kb_plan_total(plan, i) : 0;
    }
    kind->fits = fits;
    kind->score = score;
}

static void add_pod(struct kb_core *core, struct batch *b, const struct kb_waiting *w, kb_ms now)
{
    uint32_t k = 0;
    while (k < b->kinds_n && b->spec[k] != w->spec)
        k++;
    struct kb_policy_batch_kind *kind = &b->kinds[k];
    if (k == b->kinds_n) {
        b->spec[b->kinds_n++] = w->spec;
        *kind = (struct kb_policy_batch_kind){.pod = &w->spec->pod, .priority = w->q.priority};
        read_plan(core, b, w->spec, kind);
    }
    int64_t waited = now - w->q.queued_ms;
    kind->pods++;
    kind->priority = w->q.priority > kind->priority ? w->q.priority : kind->priority;
    kind->waited_ms = waited > kind->waited_ms ? waited : kind->waited_ms;
}

/* To the first pod of the kind that has none yet. */
static void suggest(void *to, uint32_t kind, uint32_t node)
{
    struct batch *b = to;
    for (size_t i = 0; kind < b->kinds_n && node < b->slots && i < b->n; i++) {
        if (b->pods[i]->spec != b->spec[kind] || b->suggested[i] != UINT32_MAX)
            continue;
        b->suggested[i] = node;
        return;
    }
}

void kb_core_suggest(struct kb_core *core, struct kb_waiting *const *pods, size_t n, kb_ms now,
                     uint32_t *ret_slots)
{
    const struct kb_profile *profile = NULL;
    struct batch *b = calloc(1, sizeof(*b));
    KB_ASSERT(b != NULL && n <= KB_BATCH_PODS);
    b->pods = pods;
    b->n = n;
    b->slots = kb_core_columns(core)->view.count;
    b->suggested = ret_slots;
    for (size_t i = 0; i < n; i++) {
        const struct kb_profile *p = kb__core_profile(core, pods[i]->spec->profile);
        ret_slots[i] = UINT32_MAX;
        if (profile == NULL && p->batcher != UINT32_MAX)
            profile = p;
        if (p == profile)
            add_pod(core, b, pods[i], now);
    }
    const struct kb_profile_policy *at = profile ? &profile->at[profile->batcher] : NULL;
    struct kb_policy_batch batch = {.size = sizeof(batch),
                                    .kinds_n = b->kinds_n,
                                    .kinds = b->kinds,
                                    .nodes = &kb_core_columns(core)->view};
    if (at != NULL && at->policy->batch && b->kinds_n > 0)
        KB_ASK(profile, profile->batcher, KB_POINT_SCORE,
               at->policy->batch(at->instance, &batch, suggest, b));
    kb_arena_finish(&b->arena);
    free(b);
}
