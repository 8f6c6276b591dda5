/* DefaultPreemption: makes room for a pod that fits nowhere, at the cost of pods of lower priority.
 *
 * On a node, all pods of lower priority are taken away in thought; if the pod fits then, as many of
 * them as possible are put back, those first whose eviction would violate a disruption budget, and
 * the most important first (higher priority, then longer running). Who is left is a victim. Of the
 * nodes looked at, the best is that with
 *
 *   the fewest violated budgets, then the lowest priority of its highest victim, then the smallest
 *   sum of priorities, then the fewest victims, then the victims of highest priority that started
 *   last, then the first that was looked at (the walk begins at a random node).
 *
 * Not every node is looked at: a share of those where it could help (minCandidateNodesPercentage,
 * and at least minCandidateNodesAbsolute) suffices once one of them violates no budget. */
#include <kubus/policy.h>

#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct args {
    double percentage, absolute;
};

static int configure(const struct kb_policy_host *host, const char *text, void **ret_instance,
                     char *error, size_t error_bytes)
{
    struct args a = {kb_policy_number(text, "minCandidateNodesPercentage", 10),
                     kb_policy_number(text, "minCandidateNodesAbsolute", 100)};
    const char *wrong = a.percentage < 0 || a.percentage > 100
                            ? "minCandidateNodesPercentage: not in valid range [0, 100]"
                        : a.absolute < 0 ? "minCandidateNodesAbsolute: not in valid range [0, inf)"
                        : a.percentage == 0 && a.absolute == 0
                            ? "minCandidateNodesPercentage: cannot be zero at the same time as "
                              "minCandidateNodesAbsolute"
                            : NULL;
    (void)host;
    if (wrong != NULL) {
        snprintf(error, error_bytes, "%s", wrong);
        return -1;
    }
    struct args *instance = malloc(sizeof(*instance));
    if (instance == NULL)
        return -1;
    *instance = a;
    *ret_instance = instance;
    return 0;
}

typedef const struct kb_policy_placed *placed;

/* What it would cost to make room on a node. */
struct candidate {
    uint32_t node, violations;
    uint32_t victims_n;
    placed *victims; /* most important first */
};

/* ---- victims on one node ---- */

static int64_t started(placed pod)
{
    return pod->started_us ? pod->started_us : INT64_MAX;
}

static int by_importance(const void *a, const void *b)
{
    placed x = *(const placed *)a, y = *(const placed *)b;
    if (x->priority != y->priority)
        return x->priority > y->priority ? -1 : 1;
    if (started(x) != started(y))
        return started(x) < started(y) ? -1 : 1;
    return x->id < y->id ? -1 : x->id > y->id;
}

/* Put back who can stay: in `violating` order first those who would violate a budget. */
static void reprieve(struct kb_policy_cycle *c, struct candidate *it, placed *all, uint32_t n,
                     const bool *violates, bool violating)
{
    const struct kb_policy_preemption *p = c->preemption;
    for (uint32_t i = 0; i < n; i++) {
        if (violates[i] != violating)
            continue;
        p->put_back(c, all[i]);
        if (p->fits(c, it->node))
            continue;
        p->remove(c, all[i]);
        it->victims[it->victims_n++] = all[i];
        it->violations += violating;
    }
}

/* Put all back. */
static void restore(struct kb_policy_cycle *c, const placed *pods, uint32_t n)
{
    for (uint32_t i = 0; i < n; i++)
        c->preemption->put_back(c, pods[i]);
}

/* Fill in `it` for its node; false: nothing can be done there, and why was counted. `lower` has
 * room for all pods of the node, as has it->victims. */
static bool choose_victims(struct kb_policy_cycle *c, struct candidate *it, placed *lower,
                           uint32_t n, bool *violates)
{
    const struct kb_policy_preemption *p = c->preemption;
    for (uint32_t i = 0; i < n; i++)
        p->remove(c, lower[i]);
    if (!p->fits(c, it->node)) {
        p->count_unfit(c);
        restore(c, lower, n);
        return false;
    }
    qsort(lower, n, sizeof(*lower), by_importance);
    p->violations(c, lower, n, violates);
    reprieve(c, it, lower, n, violates, true);
    reprieve(c, it, lower, n, violates, false);
    restore(c, it->victims, it->victims_n);
    if (it->victims_n > 1)
        qsort(it->victims, it->victims_n, sizeof(*it->victims), by_importance);
    return it->victims_n > 0;
}

static bool look_at(struct kb_policy_cycle *c, uint32_t node, struct candidate *ret)
{
    const placed *pods;
    *ret = (struct candidate){.node = node};
    if (c->nodes->lowest_priority[node] >= c->who->priority) { /* without a look at each pod */
        c->preemption->count(c, "No preemption victims found for incoming pod", 1);
        return false;
    }
    uint32_t all = c->preemption->pods(c, node, &pods), n = 0;
    placed *lower = calloc(all + 1, sizeof(*lower));
    bool *violates = calloc(all + 1, sizeof(*violates)), possible = false;
    ret->victims = calloc(all + 1, sizeof(*ret->victims));
    for (uint32_t i = 0; lower && i < all; i++)
        if (pods[i]->priority < c->who->priority)
            lower[n++] = pods[i];
    if (n == 0)
        c->preemption->count(c, "No preemption victims found for incoming pod", 1);
    else if (violates != NULL && ret->victims != NULL)
        possible = choose_victims(c, ret, lower, n, violates);
    free(lower);
    free(violates);
    if (!possible)
        free(ret->victims);
    return possible;
}

/* ---- which node ---- */

static int64_t sum_of(const struct candidate *it)
{
    int64_t sum = 0;
    for (uint32_t i = 0; i < it->victims_n; i++)
        sum += (int64_t)it->victims[i]->priority + INT32_MAX + 1;
    return sum;
}

/* When the first of its most important victims started. */
static int64_t start_of(const struct candidate *it)
{
    int64_t start = INT64_MAX;
    for (uint32_t i = 0; i < it->victims_n; i++)
        if (it->victims[i]->priority == it->victims[0]->priority && started(it->victims[i]) < start)
            start = started(it->victims[i]);
    return start;
}

static bool better(const struct candidate *a, const struct candidate *b)
{
    if (a->violations != b->violations)
        return a->violations < b->violations;
    if (a->victims[0]->priority != b->victims[0]->priority)
        return a->victims[0]->priority < b->victims[0]->priority;
    if (sum_of(a) != sum_of(b))
        return sum_of(a) < sum_of(b);
    if (a->victims_n != b->victims_n)
        return a->victims_n < b->victims_n;
    return start_of(a) > start_of(b);
}

static uint32_t enough(const struct args *args, uint32_t nodes)
{
    double n = nodes * args->percentage / 100;
    n = n < args->absolute ? args->absolute : n;
    return n > nodes ? nodes : (uint32_t)n;
}

/* Walk over the nodes where removing pods could help; false: none of them will do. */
static bool walk(struct kb_policy_cycle *c, const uint32_t *nodes, uint32_t n,
                 struct candidate *best)
{
    uint32_t most = enough(c->instance, n), found = 0, harmless = 0;
    uint32_t at = n ? (uint32_t)(c->preemption->offset % n) : 0;
    for (uint32_t i = 0; i < n && (harmless == 0 || found < most); i++, at = (at + 1) % n) {
        struct candidate it;
        if (!look_at(c, nodes[at], &it))
            continue;
        found++;
        harmless += it.violations == 0;
        bool first = best->victims == NULL;
        if (first || better(&it, best)) {
            free(best->victims);
            *best = it;
        } else {
            free(it.victims);
        }
    }
    return found > 0;
}

/* ---- the extension point ---- */

/* NULL, or why this pod may not preempt now. */
static const char *not_eligible(struct kb_policy_cycle *c)
{
    const struct kb_policy_preemption *p = c->preemption;
    const placed *pods;
    if (c->who->never_preempts)
        return "preemption: not eligible due to preemptionPolicy=Never.";
    if (p->nominated == UINT32_MAX || !c->nodes->present[p->nominated] ||
        (p->verdict(c, p->nominated) & KB_POLICY_UNRESOLVABLE))
        return NULL;
    uint32_t n = p->pods(c, p->nominated, &pods);
    for (uint32_t i = 0; i < n; i++)
        if (pods[i]->leaving && pods[i]->priority < c->who->priority)
            return "preemption: not eligible due to a terminating pod on the nominated node.";
    return NULL;
}

static enum kb_policy_status post_filter(struct kb_policy_cycle *c, uint32_t *ret_node)
{
    const struct kb_policy_preemption *p = c->preemption;
    struct candidate best = {0};
    uint32_t n = 0, hopeless = 0;
    const char *why = not_eligible(c);
    if (why != NULL) {
        p->say(c, why);
        return KB_POLICY_UNSCHEDULABLE;
    }
    uint32_t *nodes = calloc(c->nodes->count + 1, sizeof(*nodes));
    if (nodes == NULL)
        return KB_POLICY_ERROR;
    for (uint32_t i = 0; i < c->nodes->count; i++) {
        uint32_t verdict = c->nodes->present[i] ? p->verdict(c, i) : 0;
        if (verdict & KB_POLICY_UNRESOLVABLE)
            hopeless++;
        else if (verdict != 0)
            nodes[n++] = i;
    }
    p->count(c, "Preemption is not helpful for scheduling", hopeless);
    bool found = walk(c, nodes, n, &best);
    free(nodes);
    *ret_node = found ? best.node : UINT32_MAX;
    for (uint32_t i = 0; i < best.victims_n; i++)
        p->evict(c, best.victims[i]);
    free(best.victims);
    return found ? KB_POLICY_OK : KB_POLICY_UNSCHEDULABLE;
}

KB_POLICY(DefaultPreemption, .events = KB_POLICY_ON_POD_DELETE, .configure = configure,
          .unload = free, .post_filter = post_filter);
