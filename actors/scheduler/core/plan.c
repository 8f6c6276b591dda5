#include "actors/scheduler/core/nonsense.h"
#include "actors/scheduler/core/plan_impl.h"
#include "bus/base/check.h"

#include <stdlib.h>

/* ---- making ---- */

static const struct kb_policy *policy_of(const struct kb_plan *plan, uint32_t policy)
{
    return plan->profile->at[policy].policy;
}

static bool is_global(const struct kb_plan *plan, uint32_t policy)
{
    return (policy_of(plan, policy)->flags & KB_POLICY_GLOBAL) != 0;
}

static void list_filter(struct kb_plan *plan, uint32_t policy, filter_fn *fn)
{
    if (fn != NULL)
        plan->filters[plan->filters_n++] =
            (struct filter){.policy = policy, .fn = fn, .global = is_global(plan, policy)};
}

static void list_policies(struct kb_plan *plan)
{
    for (uint32_t i = 0; i < plan->profile->n; i++)
        list_filter(plan, i, policy_of(plan, i)->narrow);
    for (uint32_t i = 0; i < plan->profile->n; i++)
        list_filter(plan, i, policy_of(plan, i)->filter);
    for (uint32_t i = 0; i < plan->profile->n; i++)
        plan->globals_n += is_global(plan, i);
    for (uint32_t i = 0; i < plan->profile->n; i++)
        if (policy_of(plan, i)->score)
            plan->scorers[plan->scorers_n++] =
                (struct scorer){.policy = i,
                                .normalize_by = policy_of(plan, i)->normalize_by,
                                .weight = plan->profile->at[i].weight,
                                .global = is_global(plan, i)};
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
                                                   .instance = profile->at[i].instance,
                                                   .self = profile->at[i].policy};
    list_policies(plan);
    return plan;
}

void kb_plan_destroy(struct kb_plan **plan_p)
{
    struct kb_plan *plan = *plan_p;
    if (plan == NULL)
        return;
    for (uint32_t i = 0; i < plan->profile->n; i++)
        if (policy_of(plan, i)->release)
            KB_ASK(plan->profile, i, KB_GUARD_RELEASE,
                   policy_of(plan, i)->release(&plan->cycles[i]));
    for (uint32_t k = 0; k < plan->filters_n; k++)
        free(plan->filters[k].column);
    for (uint32_t k = 0; k < plan->scorers_n; k++) {
        free(plan->scorers[k].raw);
        free(plan->scorers[k].share);
    }
    free(plan->local);
    free(plan->verdict);
    free(plan->fits);
    free(plan->base);
    free(plan->total);
    free(plan->tree);
    free(plan);
    *plan_p = NULL;
}

size_t kb_plan_bytes(const struct kb_plan *plan)
{
    size_t per_slot = sizeof(*plan->local) + sizeof(*plan->verdict) + sizeof(*plan->fits) +
                      sizeof(*plan->base) + sizeof(*plan->total);
    for (uint32_t k = 0; k < plan->filters_n; k++)
        per_slot += plan->filters[k].column ? sizeof(uint32_t) : 0;
    for (uint32_t k = 0; k < plan->scorers_n; k++)
        per_slot += plan->scorers[k].raw ? sizeof(int64_t) + sizeof(int32_t) : 0;
    return sizeof(*plan) + plan->cap * per_slot + 2 * plan->leaves * sizeof(*plan->tree);
}

static void *resize(void *array, size_t bytes)
{
    void *resized = realloc(array, bytes);
    KB_ASSERT(resized != NULL);
    return resized;
}

/* Columns of policies that have not spoken yet are made when they do. */
static void fit_arrays(struct kb_plan *plan)
{
    uint32_t cap = plan->columns->cap;
    if (plan->cap == cap)
        return;
    for (uint32_t k = 0; k < plan->filters_n; k++)
        if (plan->filters[k].column)
            plan->filters[k].column = resize(plan->filters[k].column, cap * sizeof(uint32_t));
    for (uint32_t k = 0; k < plan->scorers_n; k++) {
        struct scorer *s = &plan->scorers[k];
        s->raw = s->raw ? resize(s->raw, cap * sizeof(*s->raw)) : NULL;
        s->share = s->share ? resize(s->share, cap * sizeof(*s->share)) : NULL;
    }
    plan->local = resize(plan->local, cap * sizeof(*plan->local));
    plan->verdict = resize(plan->verdict, cap * sizeof(*plan->verdict));
    plan->fits = resize(plan->fits, cap * sizeof(*plan->fits));
    plan->base = resize(plan->base, cap * sizeof(*plan->base));
    plan->total = resize(plan->total, cap * sizeof(*plan->total));
    plan->cap = cap;
    for (plan->leaves = 1; plan->leaves * BLOCK < cap; plan->leaves *= 2)
        ;
    plan->tree = resize(plan->tree, 2 * plan->leaves * sizeof(*plan->tree));
}

/* ---- asking policies whether they take part ---- */

static void activate(struct kb_plan *plan, uint32_t policy, bool active)
{
    for (uint32_t k = 0; k < plan->filters_n; k++) {
        struct filter *f = &plan->filters[k];
        if (f->policy != policy)
            continue;
        f->active = active;
        if (active && f->global && f->column == NULL)
            f->column = resize(NULL, plan->cap * sizeof(*f->column));
    }
}

static void ask_filter(struct kb_plan *plan, uint32_t policy)
{
    const struct kb_policy *p = policy_of(plan, policy);
    enum kb_policy_status s = KB_POLICY_OK;
    if (p->pre_filter) {
        KB_ASK(plan->profile, policy, KB_POINT_PRE_FILTER,
               s = p->pre_filter(&plan->cycles[policy]));
        s = kb__check_status(plan->profile, policy, KB_POINT_PRE_FILTER, s);
    }
    plan->refused[policy] =
        s == KB_POLICY_UNSCHEDULABLE || s == KB_POLICY_ERROR || s == KB_POLICY_WAIT;
    activate(plan, policy, s == KB_POLICY_OK);
}

static void ask_score(struct kb_plan *plan, struct scorer *s)
{
    const struct kb_policy *p = policy_of(plan, s->policy);
    struct kb_policy_cycle *cycle = &plan->cycles[s->policy];
    cycle->fits = s->global ? plan->fits : NULL;
    s->active = true;
    if (p->pre_score) {
        enum kb_policy_status status;
        KB_ASK(plan->profile, s->policy, KB_POINT_PRE_SCORE, status = p->pre_score(cycle));
        s->active =
            kb__check_status(plan->profile, s->policy, KB_POINT_PRE_SCORE, status) == KB_POLICY_OK;
    }
    cycle->fits = NULL;
    bool summed = s->normalize_by == KB_POLICY_AS_IS && !s->global;
    if (s->active && !summed && s->raw == NULL) {
        s->raw = resize(NULL, plan->cap * sizeof(*s->raw));
        s->share = resize(NULL, plan->cap * sizeof(*s->share));
    }
}

static bool refused_locally(const struct kb_plan *plan)
{
    for (uint32_t i = 0; i < plan->profile->n; i++)
        if (plan->refused[i] && !is_global(plan, i))
            return true;
    return false;
}

static void prepare_local(struct kb_plan *plan)
{
    for (uint32_t i = 0; i < plan->profile->n; i++)
        if (!is_global(plan, i))
            ask_filter(plan, i);
    for (uint32_t k = 0; k < plan->scorers_n; k++)
        if (!plan->scorers[k].global)
            ask_score(plan, &plan->scorers[k]);
    plan->prepared = true;
}

/* ---- one run of slots ---- */

static void filter_local(struct kb_plan *plan, uint32_t from, uint32_t to)
{
    uint32_t out[KB_POLICY_RUN], n = to - from, live = 0;
    uint32_t *verdict = plan->local + from;
    const uint8_t *present = plan->columns->view.present + from;
    for (uint32_t i = 0; i < n; i++) {
        verdict[i] = present[i] ? 0 : KB_PLAN_ABSENT;
        live += present[i];
    }
    for (uint32_t k = 0; k < plan->filters_n && live > 0; k++) {
        const struct filter *f = &plan->filters[k];
        if (!f->active || f->global)
            continue;
        uint32_t tag = (k + 1) << 24;
        KB_ASK(plan->profile, f->policy, KB_POINT_FILTER,
               f->fn(&plan->cycles[f->policy], from, to, out));
        kb__check_verdicts(plan->profile, f->policy, out, present, n);
        live = 0;
        for (uint32_t i = 0; i < n; i++) {
            uint32_t refused = out[i] ? tag | (out[i] & 0xffffffu) : 0;
            verdict[i] = verdict[i] ? verdict[i] : refused;
            live += verdict[i] == 0;
        }
    }
}

static void filter_global(struct kb_plan *plan, uint32_t k, uint32_t from, uint32_t to)
{
    struct filter *f = &plan->filters[k];
    uint32_t *column = f->column + from, n = to - from, tag = (k + 1) << 24;
    KB_ASK(plan->profile, f->policy, KB_POINT_FILTER,
           f->fn(&plan->cycles[f->policy], from, to, column));
    kb__check_verdicts(plan->profile, f->policy, column, plan->columns->view.present + from, n);
    for (uint32_t i = 0; i < n; i++)
        column[i] = column[i] ? tag | (column[i] & 0xffffffu) : 0;
}

/* The first objection: 0, none, becomes the largest number by taking one off. */
static void merge(struct kb_plan *plan, uint32_t from, uint32_t to)
{
    uint32_t first[KB_POLICY_RUN], n = to - from;
    const uint8_t *present = plan->columns->view.present + from;
    for (uint32_t i = 0; i < n; i++)
        first[i] = plan->local[from + i] - 1;
    for (uint32_t k = 0; k < plan->filters_n; k++) {
        if (!plan->filters[k].global || !plan->filters[k].active)
            continue;
        const uint32_t *column = plan->filters[k].column + from;
        for (uint32_t i = 0; i < n; i++)
            first[i] = column[i] - 1 < first[i] ? column[i] - 1 : first[i];
    }
    for (uint32_t k = 0; k < plan->overruled_n; k++) {
        uint32_t i = plan->overruled[k].slot - from;
        if (i < n && first[i] == UINT32_MAX)
            first[i] = plan->overruled[k].verdict - 1;
    }
    uint8_t flips = 0;
    for (uint32_t i = 0; i < n; i++) {
        plan->verdict[from + i] = present[i] ? first[i] + 1 : KB_PLAN_ABSENT;
        uint8_t fits = plan->verdict[from + i] == 0;
        flips |= fits ^ plan->fits[from + i];
        plan->fits[from + i] = fits;
    }
    plan->fits_changed |= flips;
}

/* The scores of local policies. */
static void score_local(struct kb_plan *plan, uint32_t from, uint32_t to)
{
    int64_t out[KB_POLICY_RUN];
    uint8_t fits[KB_POLICY_RUN];
    uint32_t n = to - from;
    for (uint32_t i = 0; i < n; i++)
        fits[i] = plan->local[from + i] == 0;
    memset(plan->base + from, 0, n * sizeof(*plan->base));
    for (uint32_t k = 0; k < plan->scorers_n; k++) {
        const struct scorer *s = &plan->scorers[k];
        if (!s->active || s->global)
            continue;
        int64_t *score = s->raw ? s->raw + from : out;
        KB_ASK(plan->profile, s->policy, KB_POINT_SCORE,
               policy_of(plan, s->policy)->score(&plan->cycles[s->policy], from, to, score));
        if (s->normalize_by != KB_POLICY_CUSTOM)
            kb__check_scores(plan->profile, s->policy, s->normalize_by, score, fits, n);
        for (uint32_t i = 0; i < n && !s->raw; i++)
            plan->base[from + i] += (int32_t)(s->weight * out[i]);
    }
}

static void score_global(struct kb_plan *plan, struct scorer *s, uint32_t from, uint32_t to)
{
    struct kb_policy_cycle *cycle = &plan->cycles[s->policy];
    cycle->fits = plan->fits;
    KB_ASK(plan->profile, s->policy, KB_POINT_SCORE,
           policy_of(plan, s->policy)->score(cycle, from, to, s->raw + from));
    if (s->normalize_by != KB_POLICY_CUSTOM)
        kb__check_scores(plan->profile, s->policy, s->normalize_by, s->raw + from,
                         plan->fits + from, to - from);
    cycle->fits = NULL;
}

/* for each run (from, to) of all slots */
#define EACH_RUN(plan, from, to)                                                                   \
    for (uint32_t from = 0, to = run_end(plan, 0); from < (plan)->count;                           \
         from = to, to = run_end(plan, to))

static uint32_t run_end(const struct kb_plan *plan, uint32_t from)
{
    return plan->count - from < KB_POLICY_RUN ? plan->count : from + KB_POLICY_RUN;
}

/* ---- normalization ---- */

/* Minimum and maximum of a scorer over the nodes that fit, and the maximum's holders. */
static void measure(const struct kb_plan *plan, struct scorer *s)
{
    int64_t min = INT64_MAX, max = s->normalize_by == KB_POLICY_BY_SPAN ? INT64_MIN : 0;
    bool skip = s->normalize_by == KB_POLICY_BY_REST; /* what is below 0 */
    uint32_t ties = 0;
    for (uint32_t i = 0; i < plan->count; i++) {
        int64_t raw = s->raw[i];
        if (!plan->fits[i] || (skip && raw < 0))
            continue;
        min = raw < min ? raw : min;
        ties = raw > max ? 1 : ties + (raw == max);
        max = raw > max ? raw : max;
    }
    bool spans = s->normalize_by == KB_POLICY_BY_SPAN || skip;
    s->moved |= s->max != max || (spans && s->min != min);
    s->min = min;
    s->max = max;
    s->ties = ties;
}

static int64_t share_of(int64_t raw, int64_t of)
{
    return KB_POLICY_SCORE_MAX * raw / of;
}

static int64_t normalized(const struct scorer *s, int64_t raw)
{
    int64_t span, score;
    switch (s->normalize_by) {
    case KB_POLICY_BY_SPAN: /* in doubles, in this order: as Kubernetes does */
        span = s->max > s->min ? s->max - s->min : 0;
        return span > 0 ? (int64_t)(KB_POLICY_SCORE_MAX * ((double)(raw - s->min) / (double)span))
                        : 0;
    case KB_POLICY_BY_REST:
        if (raw < 0)
            return 0;
        return s->max == 0 ? KB_POLICY_SCORE_MAX : share_of(s->max + s->min - raw, s->max);
    case KB_POLICY_BY_MAX:
    case KB_POLICY_REVERSE:
        score = s->max > 0 ? share_of(raw, s->max) : 0;
        return s->normalize_by == KB_POLICY_REVERSE ? KB_POLICY_SCORE_MAX - score : score;
    default:
        return raw;
    }
}

static void share_custom(struct kb_plan *plan, struct scorer *s)
{
    int64_t *score = resize(NULL, plan->cap * sizeof(*score));
    struct kb_policy_cycle *cycle = &plan->cycles[s->policy];
    memcpy(score, s->raw, plan->count * sizeof(*score));
    cycle->fits = s->global ? plan->fits : NULL;
    KB_ASK(plan->profile, s->policy, KB_POINT_SCORE,
           policy_of(plan, s->policy)->normalize(cycle, plan->fits, score));
    kb__check_scores(plan->profile, s->policy, KB_POLICY_AS_IS, score, plan->fits, plan->count);
    cycle->fits = NULL;
    for (uint32_t i = 0; i < plan->count; i++)
        s->share[i] = (int32_t)(s->weight * score[i]);
    free(score);
}

/* share[i] = weight * (100 * (a + b * raw[i]) / of): what most normalizations are. Exact in doubles
 * while 100 * raw stays below 2^53: the quotient of two such integers never rounds up to the next.
 */
static void share_ratio(const struct kb_plan *plan, struct scorer *s)
{
    bool rest = s->normalize_by == KB_POLICY_BY_REST,
         reverse = s->normalize_by == KB_POLICY_REVERSE;
    double of = (double)s->max, plus = rest ? (double)(s->max + s->min) : 0, sign = rest ? -1 : 1;
    int32_t weight = (int32_t)s->weight;
    for (uint32_t i = 0; i < plan->count; i++) {
        double raw = plus + sign * (double)s->raw[i];
        int32_t score = (int32_t)(plan->fits[i] ? KB_POLICY_SCORE_MAX * raw / of : 0);
        score = rest && s->raw[i] < 0 ? 0 : score;
        s->share[i] = weight * (reverse ? KB_POLICY_SCORE_MAX - score : score);
    }
}

static void share_all(struct kb_plan *plan, struct scorer *s)
{
    bool ratio = s->normalize_by == KB_POLICY_BY_MAX || s->normalize_by == KB_POLICY_REVERSE ||
                 s->normalize_by == KB_POLICY_BY_REST;
    if (s->normalize_by == KB_POLICY_CUSTOM) {
        share_custom(plan, s);
    } else if (ratio && s->max > 0 && s->max < INT64_C(1) << 40) {
        share_ratio(plan, s);
    } else {
        for (uint32_t i = 0; i < plan->count; i++)
            s->share[i] = plan->fits[i] ? (int32_t)(s->weight * normalized(s, s->raw[i])) : 0;
    }
}

static void share_one(const struct kb_plan *plan, struct scorer *s, uint32_t slot)
{
    s->share[slot] = plan->fits[slot] ? (int32_t)(s->weight * normalized(s, s->raw[slot])) : 0;
}

/* ---- totals, and the tree over them ---- */

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

static void combine(struct kb_plan *plan, uint32_t from, uint32_t to)
{
    int32_t *total = plan->total;
    memcpy(total + from, plan->base + from, (to - from) * sizeof(*total));
    for (uint32_t k = 0; k < plan->scorers_n; k++) {
        const struct scorer *s = &plan->scorers[k];
        if (!s->active || s->share == NULL)
            continue;
        for (uint32_t i = from; i < to; i++)
            total[i] += s->share[i];
    }
    for (uint32_t i = from; i < to; i++) {
        int32_t score = total[i] < 0 ? 0 : total[i];
        total[i] = plan->fits[i] ? score : -1;
    }
}

static void combine_all(struct kb_plan *plan)
{
    combine(plan, 0, plan->count);
    for (uint32_t b = 0; b < plan->leaves; b++)
        plan->tree[plan->leaves + b] = leaf(plan, b);
    for (uint32_t at = plan->leaves - 1; at > 0; at--)
        plan->tree[at] = better(plan->tree[2 * at], plan->tree[2 * at + 1]);
}

/* ---- bringing up to date ---- */

/* What an update has to do. */
struct update {
    bool all;      /* local policies judge every node, not just those that changed */
    bool verdicts; /* a global policy spoke: verdicts of all nodes are put together again */
    uint64_t from; /* else the slots that changed are the log's entries from here on */
};

static bool ask_stale(struct kb_plan *plan, uint32_t policy, bool all)
{
    const struct kb_policy *p = policy_of(plan, policy);
    bool stale = true;
    if (!all && !plan->doubted && p->stale)
        KB_ASK(plan->profile, policy, KB_POINT_PRE_FILTER, stale = p->stale(&plan->cycles[policy]));
    return stale;
}

/* Global policies that are stale filter all nodes anew. */
static void filter_globals(struct kb_plan *plan, struct update *u)
{
    for (uint32_t i = 0; i < plan->profile->n; i++) {
        plan->stale[i] = is_global(plan, i) && ask_stale(plan, i, u->all);
        if (plan->stale[i])
            ask_filter(plan, i);
    }
    for (uint32_t k = 0; k < plan->filters_n; k++) {
        struct filter *f = &plan->filters[k];
        if (!plan->stale[f->policy])
            continue;
        u->verdicts |= f->active || f->spoke;
        f->spoke = f->active;
        if (f->active)
            EACH_RUN(plan, from, to)
        filter_global(plan, k, from, to);
    }
}

/* Keep max and ties after a raw score went from `before` (if it fitted) to `after` (if it fits
 * now). */
static void follow(const struct kb_plan *plan, struct scorer *s, const int64_t *before,
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
        measure(plan, s);
    s->moved |= s->max != was;
}

static bool followed(const struct scorer *s)
{
    return s->active && !s->global &&
           (s->normalize_by == KB_POLICY_BY_MAX || s->normalize_by == KB_POLICY_REVERSE);
}

/* One slot changed. Unless all verdicts are put together later, its own is now. */
static void judge_slot(struct kb_plan *plan, uint32_t slot, const struct update *u)
{
    int64_t before[KB_PROFILE_POLICIES];
    bool fitted = plan->fits[slot];
    for (uint32_t k = 0; k < plan->scorers_n; k++)
        before[k] = followed(&plan->scorers[k]) ? plan->scorers[k].raw[slot] : 0;
    filter_local(plan, slot, slot + 1);
    score_local(plan, slot, slot + 1);
    for (uint32_t k = 0; k < plan->filters_n; k++)
        if (plan->filters[k].global && plan->filters[k].active &&
            !plan->stale[plan->filters[k].policy])
            filter_global(plan, k, slot, slot + 1);
    if (u->verdicts)
        return;
    merge(plan, slot, slot + 1);
    for (uint32_t k = 0; k < plan->scorers_n; k++) {
        struct scorer *s = &plan->scorers[k];
        if (followed(s))
            follow(plan, s, fitted ? &before[k] : NULL, plan->fits[slot] ? &s->raw[slot] : NULL);
    }
}

/* Slots come into use in rising order, so new ones start as nodes that do not fit. */
static void take_in_slots(struct kb_plan *plan)
{
    uint32_t count = plan->columns->view.count;
    for (; plan->count < count; plan->count++) {
        plan->fits[plan->count] = 0;
        plan->verdict[plan->count] = plan->local[plan->count] = KB_PLAN_ABSENT;
        for (uint32_t k = 0; k < plan->scorers_n; k++)
            if (plan->scorers[k].raw)
                plan->scorers[k].raw[plan->count] = plan->scorers[k].share[plan->count] = 0;
    }
}

/* for each slot that changed */
#define EACH_CHANGED(plan, u, slot)                                                                \
    for (uint64_t g_ = (u)->from; g_ < (plan)->columns->view.generation; g_++)                     \
        for (uint32_t once_ = 1, slot = kb_columns_changed((plan)->columns, g_); once_; once_ = 0)

static void judge(struct kb_plan *plan, struct update *u)
{
    filter_globals(plan, u);
    if (u->all) {
        EACH_RUN(plan, from, to)
        {
            filter_local(plan, from, to);
            score_local(plan, from, to);
        }
    } else {
        EACH_CHANGED(plan, u, slot)
        judge_slot(plan, slot, u);
    }
    if (u->all || u->verdicts)
        EACH_RUN(plan, from, to)
    merge(plan, from, to);
}

/* Raw scores of global policies: all, or those of slots that changed. */
static void score_globals(struct kb_plan *plan, const struct update *u, bool *total)
{
    for (uint32_t k = 0; k < plan->scorers_n; k++) {
        struct scorer *s = &plan->scorers[k];
        if (!s->global)
            continue;
        bool anew = u->all || plan->stale[s->policy] || plan->fits_changed, was = s->active;
        if (anew)
            ask_score(plan, s);
        *total |= s->active != was;
        s->moved = anew;
        if (!s->active)
            continue;
        if (anew)
            EACH_RUN(plan, from, to)
        score_global(plan, s, from, to);
        else EACH_CHANGED(plan, u, slot) score_global(plan, s, slot, slot + 1);
    }
}

static void total_up(struct kb_plan *plan, const struct update *u, bool total)
{
    bool changed = u->all || u->verdicts || u->from != plan->columns->view.generation;
    for (uint32_t k = 0; k < plan->scorers_n; k++) {
        struct scorer *s = &plan->scorers[k];
        if (!s->active || s->raw == NULL)
            continue;
        if (u->all || u->verdicts || s->moved || (!followed(s) && changed))
            measure(plan, s);
        s->moved |= u->all || (s->normalize_by == KB_POLICY_CUSTOM && changed) ||
                    (u->verdicts && plan->fits_changed);
        if (s->moved)
            share_all(plan, s);
        else
            EACH_CHANGED(plan, u, slot)
        share_one(plan, s, slot);
        total |= s->moved;
        s->moved = false;
    }
    if (total || u->all || (u->verdicts && plan->fits_changed)) {
        combine_all(plan);
        return;
    }
    EACH_CHANGED(plan, u, slot)
    {
        combine(plan, slot, slot + 1);
        climb(plan, slot);
    }
}

void kb_plan_update(struct kb_plan *plan)
{
    const struct kb_columns *c = plan->columns;
    bool changed = plan->generation != c->view.generation, total = false;
    if (plan->evaluated && !changed && plan->globals_n == 0)
        return;
    bool refused = changed && refused_locally(plan);
    struct update u = {.all = !plan->evaluated || plan->cap != c->cap || refused ||
                              !kb_columns_since(c, plan->generation)};
    u.from = u.all ? c->view.generation : plan->generation;
    fit_arrays(plan);
    if (!plan->prepared || refused)
        prepare_local(plan);
    take_in_slots(plan);
    plan->fits_changed = false;
    judge(plan, &u);
    score_globals(plan, &u, &total);
    total_up(plan, &u, total);
    plan->evaluated = true;
    plan->doubted = false;
    plan->generation = c->view.generation;
}

void kb_plan_overrule(struct kb_plan *plan, const struct kb_overruled *list, uint32_t n)
{
    if (n == 0 && plan->overruled_n == 0)
        return;
    struct update u = {.verdicts = true, .from = plan->columns->view.generation};
    bool total = false;
    plan->overruled = list;
    plan->overruled_n = n;
    if (!plan->evaluated || plan->generation != u.from ||
        plan->count != plan->columns->view.count) {
        plan->evaluated = false; /* the next update sees to it */
        return;
    }
    memset(plan->stale, 0, sizeof(plan->stale));
    plan->fits_changed = false;
    EACH_RUN(plan, from, to)
    merge(plan, from, to);
    score_globals(plan, &u, &total);
    total_up(plan, &u, total);
}

/* ---- reading ---- */

bool kb_plan_fits_any(const struct kb_plan *plan)
{
    return kb_plan_refused_by(plan) == UINT32_MAX && plan->tree[1].total >= 0;
}

uint32_t kb_plan_pick(struct kb_plan *plan, struct kb_rand *rand)
{
    if (!kb_plan_fits_any(plan))
        return UINT32_MAX;
    int32_t total = plan->tree[1].total;
    uint32_t ties = plan->tree[1].ties;
    uint32_t nth = rand && ties > 1 ? (uint32_t)kb_rand_below(rand, ties) : 0, at = 1;
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
    return kb_plan_verdict_of(plan, slot < plan->count ? plan->verdict[slot] : KB_PLAN_ABSENT);
}

uint32_t kb_plan_verdict_of(const struct kb_plan *plan, uint32_t verdict)
{
    if (verdict == 0 || verdict == KB_PLAN_ABSENT)
        return verdict;
    return (plan->filters[(verdict >> 24) - 1].policy + 1) << 24 | (verdict & 0xffffffu);
}

int32_t kb_plan_total(const struct kb_plan *plan, uint32_t slot)
{
    return slot < plan->count ? plan->total[slot] : -1;
}

uint32_t kb_plan_refused_by(const struct kb_plan *plan)
{
    for (uint32_t i = 0; i < plan->profile->n; i++)
        if (plan->refused[i])
            return i;
    return UINT32_MAX;
}

bool kb_plan_score(struct kb_plan *plan, uint32_t policy, uint32_t slot, int64_t *ret)
{
    for (uint32_t k = 0; k < plan->scorers_n; k++) {
        struct scorer *s = &plan->scorers[k];
        if (s->policy != policy || !s->active)
            continue;
        int64_t raw;
        if (s->raw == NULL)
            KB_ASK(plan->profile, policy, KB_POINT_SCORE,
                   policy_of(plan, policy)->score(&plan->cycles[policy], slot, slot + 1, &raw));
        *ret = s->raw ? s->share[slot] : s->weight * raw;
        return true;
    }
    return false;
}

struct kb_policy_cycle *kb_plan_cycle(struct kb_plan *plan, uint32_t policy)
{
    return &plan->cycles[policy];
}
