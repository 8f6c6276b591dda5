/* NodeAffinity: spec.nodeSelector and required node affinity decide, preferred affinity scores. */
#include <kubus/policy.h>

#include <string.h>

enum { NO_MATCH = 1, NOT_NAMED = 2 }; /* codes of verdicts */

/* hit[i] for nodes from+i: the requirement holds. `column` has the label's values. */
static void match_values(const struct kb_policy_requirement *r, const uint32_t *column,
                         uint32_t from, uint32_t n, uint8_t *hit)
{
    memset(hit, 0, n);
    for (uint32_t v = 0; v < r->values_n; v++)
        for (uint32_t i = 0; i < n; i++)
            hit[i] |= column[from + i] == r->values[v];
    if (r->op == KB_POLICY_NOT_IN)
        for (uint32_t i = 0; i < n; i++)
            hit[i] = !hit[i];
}

static void match_number(struct kb_policy_cycle *c, const struct kb_policy_requirement *r,
                         const uint32_t *column, uint32_t from, uint32_t n, uint8_t *hit)
{
    for (uint32_t i = 0; i < n; i++) {
        int64_t number;
        hit[i] = column[from + i] != 0 &&
                 c->host->number(c->host->core, column[from + i], &number) &&
                 (r->op == KB_POLICY_GT ? number > r->number : number < r->number);
    }
}

static void match(struct kb_policy_cycle *c, const struct kb_policy_requirement *r, uint32_t from,
                  uint32_t n, uint8_t *hit)
{
    if (r->invalid) {
        memset(hit, 0, n);
        return;
    }
    const uint32_t *column = r->key == 0 ? c->nodes->name : c->host->label(c->host->core, r->key);
    switch (r->op) {
    case KB_POLICY_IN:
    case KB_POLICY_NOT_IN:
        match_values(r, column, from, n, hit);
        break;
    case KB_POLICY_EXISTS:
    case KB_POLICY_DOES_NOT_EXIST:
        for (uint32_t i = 0; i < n; i++)
            hit[i] = (column[from + i] != 0) == (r->op == KB_POLICY_EXISTS);
        break;
    default:
        match_number(c, r, column, from, n, hit);
    }
}

/* all[i] &= every requirement holds */
static void match_all(struct kb_policy_cycle *c, const struct kb_policy_requirement *all,
                      uint32_t all_n, uint32_t from, uint32_t n, uint8_t *result)
{
    uint8_t hit[KB_POLICY_RUN];
    for (uint32_t j = 0; j < all_n; j++) {
        match(c, &all[j], from, n, hit);
        for (uint32_t i = 0; i < n; i++)
            result[i] &= hit[i];
    }
}

static enum kb_policy_status pre_filter(struct kb_policy_cycle *c)
{
    return c->pod->selector_n == 0 && !c->pod->has_required ? KB_POLICY_SKIP : KB_POLICY_OK;
}

static bool names_nodes(const struct kb_policy_term *term)
{
    for (uint32_t i = 0; i < term->all_n; i++)
        if (term->all[i].key == 0 && term->all[i].op == KB_POLICY_IN && !term->all[i].invalid)
            return true;
    return false;
}

/* Terms that all name their nodes (as those of daemons do) leave the others out of the question. */
static void narrow(struct kb_policy_cycle *c, uint32_t from, uint32_t to, uint32_t *verdict)
{
    const struct kb_policy_pod *pod = c->pod;
    uint32_t n = to - from;
    uint8_t any[KB_POLICY_RUN], term[KB_POLICY_RUN];
    memset(any, 0, n);
    memset(verdict, 0, n * sizeof(*verdict));
    for (uint32_t t = 0; t < pod->required_n; t++) {
        if (!names_nodes(&pod->required[t]))
            return;
        memset(term, 1, n);
        for (uint32_t i = 0; i < pod->required[t].all_n; i++)
            if (pod->required[t].all[i].key == 0)
                match_all(c, &pod->required[t].all[i], 1, from, n, term);
        for (uint32_t i = 0; i < n; i++)
            any[i] |= term[i];
    }
    for (uint32_t i = 0; i < n && pod->required_n > 0; i++)
        verdict[i] = any[i] ? 0 : NOT_NAMED | KB_POLICY_UNRESOLVABLE;
}

static void filter(struct kb_policy_cycle *c, uint32_t from, uint32_t to, uint32_t *verdict)
{
    const struct kb_policy_pod *pod = c->pod;
    uint32_t n = to - from;
    uint8_t ok[KB_POLICY_RUN], any[KB_POLICY_RUN], term[KB_POLICY_RUN];
    memset(ok, 1, n);
    match_all(c, pod->selector, pod->selector_n, from, n, ok);
    memset(any, pod->has_required ? 0 : 1, n);
    for (uint32_t t = 0; t < pod->required_n; t++) {
        memset(term, pod->required[t].all_n != 0, n);
        match_all(c, pod->required[t].all, pod->required[t].all_n, from, n, term);
        for (uint32_t i = 0; i < n; i++)
            any[i] |= term[i];
    }
    for (uint32_t i = 0; i < n; i++)
        verdict[i] = ok[i] & any[i] ? 0 : NO_MATCH | KB_POLICY_UNRESOLVABLE;
}

static void reason(struct kb_policy_cycle *c, uint32_t code, kb_policy_emit *emit, void *to)
{
    (void)c;
    emit(to, code == NOT_NAMED ? "node(s) didn't satisfy plugin(s) [NodeAffinity]"
                               : "node(s) didn't match Pod's node affinity/selector");
}

static enum kb_policy_status pre_score(struct kb_policy_cycle *c)
{
    return c->pod->preferred_n == 0 ? KB_POLICY_SKIP : KB_POLICY_OK;
}

static void score(struct kb_policy_cycle *c, uint32_t from, uint32_t to, int64_t *score_out)
{
    uint32_t n = to - from;
    uint8_t term[KB_POLICY_RUN];
    memset(score_out, 0, n * sizeof(*score_out));
    for (uint32_t t = 0; t < c->pod->preferred_n; t++) {
        const struct kb_policy_term *preferred = &c->pod->preferred[t];
        memset(term, preferred->all_n != 0, n);
        match_all(c, preferred->all, preferred->all_n, from, n, term);
        for (uint32_t i = 0; i < n; i++)
            score_out[i] += term[i] ? preferred->weight : 0;
    }
}

KB_POLICY(NodeAffinity, .events = KB_POLICY_ON_NODE_ADD | KB_POLICY_ON_NODE_LABEL,
          .normalize_by = KB_POLICY_BY_MAX, .weight = 2, .pre_filter = pre_filter, .narrow = narrow,
          .filter = filter, .reason = reason, .pre_score = pre_score, .score = score);
