/* TaintToleration: NoSchedule and NoExecute taints keep pods away that do not tolerate them;
 * PreferNoSchedule taints only count against the node.
 *
 * Nodes with equal taints share a set, so each set is judged once for a pod, and a run over nodes
 * is a lookup by set. */
#include <kubus/policy.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct reason_of {
    uint32_t key, value;
};

struct state {
    uint32_t sets_n, sets_cap; /* judged so far */
    uint32_t *verdict;         /* [set] */
    int64_t *preferred;        /* [set] PreferNoSchedule taints that the pod does not tolerate */
    uint32_t reasons_n;
    struct reason_of *reasons; /* code - 1 → the taint that it names */
};

static bool tolerates(const struct kb_policy_toleration *t, const struct kb_policy_taint *taint)
{
    return (t->effect == KB_POLICY_ANY_EFFECT || t->effect == taint->effect) &&
           (t->key == 0 || t->key == taint->key) && (t->exists || t->value == taint->value);
}

static bool tolerated(const struct kb_policy_pod *pod, const struct kb_policy_taint *taint)
{
    for (uint32_t i = 0; i < pod->tolerations_n; i++)
        if (tolerates(&pod->tolerations[i], taint))
            return true;
    return false;
}

static uint32_t code_of(struct state *s, const struct kb_policy_taint *taint)
{
    for (uint32_t i = 0; i < s->reasons_n; i++)
        if (s->reasons[i].key == taint->key && s->reasons[i].value == taint->value)
            return i + 1;
    if (s->reasons_n == KB_POLICY_CODE_MAX)
        return s->reasons_n;
    struct reason_of *grown = realloc(s->reasons, (s->reasons_n + 1) * sizeof(*grown));
    if (grown == NULL)
        abort();
    s->reasons = grown;
    s->reasons[s->reasons_n] = (struct reason_of){taint->key, taint->value};
    return ++s->reasons_n;
}

static void judge_set(struct kb_policy_cycle *c, struct state *s, uint32_t at)
{
    const struct kb_policy_taint_set *set = &c->nodes->taint_sets[at];
    s->verdict[at] = 0;
    s->preferred[at] = 0;
    for (uint32_t i = 0; i < set->n; i++) {
        const struct kb_policy_taint *taint = &set->taints[i];
        if (tolerated(c->pod, taint))
            continue;
        if (taint->effect == KB_POLICY_PREFER_NO_SCHEDULE)
            s->preferred[at]++;
        else if (s->verdict[at] == 0)
            s->verdict[at] = code_of(s, taint) | KB_POLICY_UNRESOLVABLE;
    }
}

/* Judge the sets that appeared since last time. */
static struct state *judged(struct kb_policy_cycle *c)
{
    struct state *s = c->state;
    uint32_t n = c->nodes->taint_sets_n;
    if (s->sets_n == n)
        return s;
    if (s->sets_cap < n) {
        s->sets_cap = n * 2;
        s->verdict = realloc(s->verdict, s->sets_cap * sizeof(*s->verdict));
        s->preferred = realloc(s->preferred, s->sets_cap * sizeof(*s->preferred));
        if (s->verdict == NULL || s->preferred == NULL)
            abort();
    }
    for (; s->sets_n < n; s->sets_n++)
        judge_set(c, s, s->sets_n);
    return s;
}

static enum kb_policy_status prepare(struct kb_policy_cycle *c)
{
    if (c->state == NULL)
        c->state = calloc(1, sizeof(struct state));
    if (c->state == NULL)
        abort();
    return KB_POLICY_OK;
}

static void filter(struct kb_policy_cycle *c, uint32_t from, uint32_t to, uint32_t *verdict)
{
    const struct state *s = judged(c);
    const uint32_t *set = c->nodes->taint_set;
    for (uint32_t i = from; i < to; i++)
        verdict[i - from] = s->verdict[set[i]];
}

static void score(struct kb_policy_cycle *c, uint32_t from, uint32_t to, int64_t *score_out)
{
    const struct state *s = judged(c);
    const uint32_t *set = c->nodes->taint_set;
    for (uint32_t i = from; i < to; i++)
        score_out[i - from] = s->preferred[set[i]];
}

static void reason(struct kb_policy_cycle *c, uint32_t code, kb_policy_emit *emit, void *to)
{
    const struct reason_of *taint = &((struct state *)c->state)->reasons[code - 1];
    char text[640];
    snprintf(text, sizeof(text), "node(s) had untolerated taint {%s: %s}",
             c->host->text(c->host->core, taint->key), c->host->text(c->host->core, taint->value));
    emit(to, text);
}

static void release(struct kb_policy_cycle *c)
{
    struct state *s = c->state;
    if (s == NULL)
        return;
    free(s->verdict);
    free(s->preferred);
    free(s->reasons);
    free(s);
}

KB_POLICY(TaintToleration, .events = KB_POLICY_ON_NODE_ADD | KB_POLICY_ON_NODE_TAINT,
          .normalize_by = KB_POLICY_REVERSE, .weight = 3, .pre_filter = prepare, .filter = filter,
          .reason = reason, .pre_score = prepare, .score = score, .release = release);
