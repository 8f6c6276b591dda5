#include "actors/scheduler/core/plan.h"

#include "bus/base/check.h"

#include <stdlib.h>

enum { BLOCK = 64 }; /* slots under one leaf of the tree */

/* Highest total below, and how many have it. */
struct best {
    int32_t total;
    uint32_t ties;
};

/* A policy that scores, with what normalization needs. */
struct scorer {
    uint32_t policy;
    uint32_t normalize_by;
    int64_t weight;
    int64_t *raw;  /* [slot]; NULL for KB_POLICY_AS_IS */
    int64_t max;   /* over nodes that fit, 0 at least */
    uint32_t ties; /* how many have it */
};

typedef void filter_fn(struct kb_policy_cycle *cycle, uint32_t from, uint32_t to,
                       uint32_t *verdict);

struct filter {
    uint32_t policy;
    filter_fn *fn; /* its narrow or its filter */
};

struct kb_plan {
    const struct kb_profile *profile;
    struct kb_podspec *spec;
    struct kb_columns *columns;
    const struct kb_policy_host *host;
    uint64_t generation; /* up to date with */
    uint32_t cap;        /* slots that the arrays hold */
    uint32_t count;      /* slots evaluated */
    bool evaluated;
    bool everything; /* a policy needs all nodes computed each time */
    uint32_t refused_by;
    uint32_t filters_n, scorers_n;
    struct filter filters[2 * KB_PROFILE_POLICIES];
    struct scorer scorers[KB_PROFILE_POLICIES];
    struct kb_policy_cycle cycles[KB_PROFILE_POLICIES];
    uint32_t *verdict; /* [slot] */
    int32_t *base;     /* [slot] weighted sum of the scores that are as they are */
    int32_t *total;    /* [slot] */
    uint32_t leaves;   /* of the tree: a power of two */
    struct best *tree; /* [1] is the root, children of i are 2i and 2i+1 */
};

/* ---- making ---- */

static void add_filter(struct kb_plan *plan, uint32_t policy, filter_fn *fn)
{
    if (fn == NULL)
        return;
    plan->filters[plan->filters_n++] = (struct filter){policy, fn};
    plan->everything |= (plan->profile->at[policy].policy->flags & KB_POLICY_GLOBAL) != 0;
}

/* Ask the policies that prepare; leave out those without an opinion. What narrows comes first. */
static void prepare_filters(struct kb_plan *plan)
{
    bool takes_part[KB_PROFILE_POLICIES] = {0};
    for (uint32_t i = 0; i < plan->profile->n; i++) {
        const struct kb_policy *p = plan->profile->at[i].policy;
        enum kb_policy_status s = p->pre_filter ? p->pre_filter(&plan->cycles[i]) : KB_POLICY_OK;
        takes_part[i] = s == KB_POLICY_OK;
        bool refused = s == KB_POLICY_UNSCHEDULABLE || s == KB_POLICY_ERROR;
        if (refused && plan->refused_by == UINT32_MAX)
            plan->refused_by = i;
    }
    for (uint32_t i = 0; i < plan->profile->n; i++)
        if (takes_part[i])
            add_filter(plan, i, plan->profile->at[i].policy->narrow);
    for (uint32_t i = 0; i < plan->profile->n; i++)
        if (takes_part[i])
            add_filter(plan, i, plan->profile->at[i].policy->filter);
}

static void prepare(struct kb_plan *plan)
{
    plan->filters_n = plan->scorers_n = 0;
    plan->refused_by = UINT32_MAX;
    plan->everything = false;
    prepare_filters(plan);
    for (uint32_t i = 0; i < plan->profile->n; i++) {
        const struct kb_policy *p = plan->profile->at[i].policy;
        if (!p->score || (p->pre_score && p->pre_score(&plan->cycles[i]) != KB_POLICY_OK))
            continue;
        struct scorer *s = &plan->scorers[plan->scorers_n++];
        int64_t *raw = s->raw;
        *s = (struct scorer){i, p->normalize_by, plan->profile->at[i].weight, raw, 0, 0};
        plan->everything |= (p->flags & KB_POLICY_GLOBAL) || p->normalize_by == KB_POLICY_CUSTOM;
    }
}

struct kb_plan *kb_plan_new(const struct kb_profile *profile, struct kb_podspec *spec,
                            struct kb_columns *columns, const struct kb_policy_host *host)
{
    struct kb_plan *plan = calloc(1, sizeof(*plan));
    KB_ASSERT(plan != NULL);
    plan->profile = profile;
    plan->spec = spec;
    plan->columns = columns;
    plan->host = host;
    for (uint32_t i = 0; i < profile->n; i++)
        plan->cycles[i] = (struct kb_policy_cycle){.size = sizeof(plan->cycles[i]),
                                                   .host = host,
                                                   .nodes = &columns->view,
                                                   .pod = &spec->pod,
                                                   .instance = profile->at[i].instance};
    prepare(plan);
    return plan;
}

void kb_plan_destroy(struct kb_plan **plan_p)
{
    struct kb_plan *plan = *plan_p;
    if (plan == NULL)
        return;
    for (uint32_t i = 0; i < plan->profile->n; i++)
        if (plan->profile->at[i].policy->release)
            plan->profile->at[i].policy->release(&plan->cycles[i]);
    for (uint32_t i = 0; i < KB_PROFILE_POLICIES; i++)
        free(plan->scorers[i].raw);
    free(plan->verdict);
    free(plan->base);
    free(plan->total);
    free(plan->tree);
    free(plan);
    *plan_p = NULL;
}

size_t kb_plan_bytes(const struct kb_plan *plan)
{
    size_t per_slot = sizeof(*plan->verdict) + sizeof(*plan->base) + sizeof(*plan->total);
    return sizeof(*plan) + plan->cap * (per_slot + plan->scorers_n * sizeof(int64_t)) +
           2 * plan->leaves * sizeof(*plan->tree);
}

static void *resize(void *array, size_t bytes)
{
    void *resized = realloc(array, bytes);
    KB_ASSERT(resized != NULL);
    return resized;
}

static void fit_arrays(struct kb_plan *plan)
{
    uint32_t cap = plan->columns->cap;
    for (uint32_t k = 0; k < plan->scorers_n; k++)
        if (plan->scorers[k].normalize_by != KB_POLICY_AS_IS &&
            (plan->scorers[k].raw == NULL || plan->cap != cap))
            plan->scorers[k].raw = resize(plan->scorers[k].raw, cap * sizeof(int64_t));
    if (plan->cap == cap)
        return;
    plan->verdict = resize(plan->verdict, cap * sizeof(*plan->verdict));
    plan->base = resize(plan->base, cap * sizeof(*plan->base));
    plan->total = resize(plan->total, cap * sizeof(*plan->total));
    plan->cap = cap;
    for (plan->leaves = 1; plan->leaves * BLOCK < cap; plan->leaves *= 2)
        ;
    plan->tree = resize(plan->tree, 2 * plan->leaves * sizeof(*plan->tree));
}

/* ---- filter and score one run of slots ---- */

static void filter_run(struct kb_plan *plan, uint32_t from, uint32_t to)
{
    uint32_t out[KB_POLICY_RUN], n = to - from, live = 0;
    uint32_t *verdict = plan->verdict + from;
    const uint8_t *present = plan->columns->view.present + from;
    for (uint32_t i = 0; i < n; i++) {
        verdict[i] = present[i] ? 0 : KB_PLAN_ABSENT;
        live += present[i];
    }
    for (uint32_t k = 0; k < plan->filters_n && live > 0; k++) {
        uint32_t policy = plan->filters[k].policy, tag = (policy + 1) << 24;
        plan->filters[k].fn(&plan->cycles[policy], from, to, out);
        live = 0;
        for (uint32_t i = 0; i < n; i++) {
            uint32_t refused = out[i] ? tag | (out[i] & 0xffffffu) : 0;
            verdict[i] = verdict[i] ? verdict[i] : refused;
            live += verdict[i] == 0;
        }
    }
}

static void score_run(struct kb_plan *plan, uint32_t from, uint32_t to)
{
    int64_t out[KB_POLICY_RUN];
    uint32_t n = to - from;
    memset(plan->base + from, 0, n * sizeof(*plan->base));
    for (uint32_t k = 0; k < plan->scorers_n; k++) {
        const struct scorer *s = &plan->scorers[k];
        const struct kb_policy *policy = plan->profile->at[s->policy].policy;
        if (s->normalize_by != KB_POLICY_AS_IS) {
            policy->score(&plan->cycles[s->policy], from, to, s->raw + from);
            continue;
        }
        policy->score(&plan->cycles[s->policy], from, to, out);
        for (uint32_t i = 0; i < n; i++)
            plan->base[from + i] += (int32_t)(s->weight * out[i]);
    }
}

static void evaluate_run(struct kb_plan *plan, uint32_t from, uint32_t to)
{
    filter_run(plan, from, to);
    score_run(plan, from, to);
}

/* ---- combine ---- */

static int64_t normalized(const struct scorer *s, int64_t raw)
{
    if (s->normalize_by == KB_POLICY_CUSTOM)
        return raw;
    int64_t score = s->max > 0 ? KB_POLICY_SCORE_MAX * raw / s->max : 0;
    return s->normalize_by == KB_POLICY_REVERSE ? KB_POLICY_SCORE_MAX - score : score;
}

static void combine(struct kb_plan *plan, uint32_t slot)
{
    int64_t total = plan->base[slot];
    for (uint32_t k = 0; k < plan->scorers_n; k++)
        if (plan->scorers[k].normalize_by != KB_POLICY_AS_IS)
            total +=
                plan->scorers[k].weight * normalized(&plan->scorers[k], plan->scorers[k].raw[slot]);
    plan->total[slot] = plan->verdict[slot] ? -1 : (int32_t)(total < 0 ? 0 : total);
}

static struct best leaf(const struct kb_plan *plan, uint32_t block)
{
    struct best best = {-1, 0};
    uint32_t from = block * BLOCK, to = from + BLOCK;
    to = to < plan->count ? to : plan->count;
    for (uint32_t i = from; i < to; i++)
        best.total = plan->total[i] > best.total ? plan->total[i] : best.total;
    for (uint32_t i = from; i < to && best.total >= 0; i++)
        best.ties += plan->total[i] == best.total;
    return best;
}

static struct best better(struct best a, struct best b)
{
    if (a.total == b.total)
        a.ties += b.ties;
    return a.total >= b.total ? a : b;
}

static void climb(struct kb_plan *plan, uint32_t slot)
{
    uint32_t at = plan->leaves + slot / BLOCK;
    plan->tree[at] = leaf(plan, slot / BLOCK);
    for (at /= 2; at > 0; at /= 2)
        plan->tree[at] = better(plan->tree[2 * at], plan->tree[2 * at + 1]);
}

/* The maximum of a scorer over the nodes that fit, and its holders. */
static void find_max(struct kb_plan *plan, struct scorer *s)
{
    s->max = 0;
    s->ties = 0;
    for (uint32_t i = 0; i < plan->count; i++) {
        if (plan->verdict[i] != 0 || s->raw[i] < s->max)
            continue;
        s->ties = s->raw[i] == s->max ? s->ties + 1 : 1;
        s->max = s->raw[i];
    }
}

static void normalize_custom(struct kb_plan *plan, struct scorer *s)
{
    uint8_t *fits = resize(NULL, plan->cap);
    for (uint32_t i = 0; i < plan->count; i++)
        fits[i] = plan->verdict[i] == 0;
    plan->profile->at[s->policy].policy->normalize(&plan->cycles[s->policy], fits, s->raw);
    free(fits);
}

static void combine_all(struct kb_plan *plan)
{
    for (uint32_t i = 0; i < plan->count; i++)
        combine(plan, i);
    for (uint32_t b = 0; b < plan->leaves; b++)
        plan->tree[plan->leaves + b] = leaf(plan, b);
    for (uint32_t at = plan->leaves - 1; at > 0; at--)
        plan->tree[at] = better(plan->tree[2 * at], plan->tree[2 * at + 1]);
}

static void evaluate_all(struct kb_plan *plan)
{
    if (plan->everything || plan->refused_by != UINT32_MAX)
        prepare(plan);
    fit_arrays(plan);
    plan->count = plan->columns->view.count;
    for (uint32_t from = 0; from < plan->count; from += KB_POLICY_RUN) {
        uint32_t left = plan->count - from;
        evaluate_run(plan, from, from + (left < KB_POLICY_RUN ? left : KB_POLICY_RUN));
    }
    for (uint32_t k = 0; k < plan->scorers_n; k++) {
        if (plan->scorers[k].normalize_by == KB_POLICY_CUSTOM)
            normalize_custom(plan, &plan->scorers[k]);
        else if (plan->scorers[k].normalize_by != KB_POLICY_AS_IS)
            find_max(plan, &plan->scorers[k]);
    }
    combine_all(plan);
}

/* ---- one slot changed ---- */

/* Keep max and ties after a raw score went from `before` (if it fitted) to `after` (if it fits
 * now). True when the maximum moved. */
static bool follow_max(struct kb_plan *plan, struct scorer *s, const int64_t *before,
                       const int64_t *after)
{
    int64_t was = s->max;
    if (before && *before == s->max && s->max > 0)
        s->ties--;
    if (after && *after > s->max) {
        s->max = *after;
        s->ties = 1;
    } else if (after && *after == s->max && s->max > 0) {
        s->ties++;
    }
    if (s->max > 0 && s->ties == 0)
        find_max(plan, s);
    return s->max != was;
}

/* True when all totals must be combined again. */
static bool evaluate_one(struct kb_plan *plan, uint32_t slot)
{
    bool moved = false, fitted = slot < plan->count && plan->verdict[slot] == 0;
    int64_t before[KB_PROFILE_POLICIES];
    for (uint32_t k = 0; k < plan->scorers_n; k++)
        before[k] = fitted && plan->scorers[k].raw ? plan->scorers[k].raw[slot] : 0;
    plan->count = slot >= plan->count ? slot + 1 : plan->count;
    evaluate_run(plan, slot, slot + 1);
    bool fits = plan->verdict[slot] == 0;
    for (uint32_t k = 0; k < plan->scorers_n; k++) {
        struct scorer *s = &plan->scorers[k];
        if (s->normalize_by != KB_POLICY_AS_IS)
            moved |= follow_max(plan, s, fitted ? &before[k] : NULL, fits ? &s->raw[slot] : NULL);
    }
    if (!moved) {
        combine(plan, slot);
        climb(plan, slot);
    }
    return moved;
}

void kb_plan_update(struct kb_plan *plan)
{
    const struct kb_columns *c = plan->columns;
    if (plan->evaluated && plan->generation == c->view.generation && !plan->everything)
        return;
    bool incremental = plan->evaluated && !plan->everything && plan->refused_by == UINT32_MAX &&
                       plan->cap == c->cap && kb_columns_since(c, plan->generation);
    if (!incremental) {
        evaluate_all(plan);
    } else {
        bool moved = false;
        /* Slots appear in rising order of first touch, so `count` has no holes. */
        for (uint64_t g = plan->generation; g < c->view.generation; g++)
            moved |= evaluate_one(plan, kb_columns_changed(c, g));
        if (moved)
            combine_all(plan);
    }
    plan->evaluated = true;
    plan->generation = c->view.generation;
}

/* ---- reading ---- */

bool kb_plan_fits_any(const struct kb_plan *plan)
{
    return plan->refused_by == UINT32_MAX && plan->tree[1].total >= 0;
}

uint32_t kb_plan_pick(struct kb_plan *plan, struct kb_rand *rand)
{
    if (!kb_plan_fits_any(plan))
        return UINT32_MAX;
    int32_t total = plan->tree[1].total;
    uint32_t ties = plan->tree[1].ties;
    uint32_t nth = ties > 1 ? (uint32_t)kb_rand_below(rand, ties) : 0, at = 1;
    while (at < plan->leaves) {
        at *= 2;
        uint32_t left = plan->tree[at].total == total ? plan->tree[at].ties : 0;
        if (nth >= left) {
            nth -= left;
            at++;
        }
    }
    for (uint32_t i = (at - plan->leaves) * BLOCK;; i++) {
        KB_ASSERT(i < plan->count);
        if (plan->total[i] == total && nth-- == 0)
            return i;
    }
}

uint32_t kb_plan_verdict(const struct kb_plan *plan, uint32_t slot)
{
    return slot < plan->count ? plan->verdict[slot] : KB_PLAN_ABSENT;
}

int32_t kb_plan_total(const struct kb_plan *plan, uint32_t slot)
{
    return slot < plan->count ? plan->total[slot] : -1;
}

uint32_t kb_plan_refused_by(const struct kb_plan *plan)
{
    return plan->refused_by;
}

bool kb_plan_score(struct kb_plan *plan, uint32_t policy, uint32_t slot, int64_t *ret)
{
    for (uint32_t k = 0; k < plan->scorers_n; k++) {
        struct scorer *s = &plan->scorers[k];
        if (s->policy != policy)
            continue;
        int64_t raw;
        if (s->normalize_by == KB_POLICY_AS_IS)
            plan->profile->at[policy].policy->score(&plan->cycles[policy], slot, slot + 1, &raw);
        else
            raw = normalized(s, s->raw[slot]);
        *ret = s->weight * raw;
        return true;
    }
    return false;
}

struct kb_policy_cycle *kb_plan_cycle(struct kb_plan *plan, uint32_t policy)
{
    return &plan->cycles[policy];
}
