/* NodeAffinity: spec.nodeSelector and required node affinity decide, preferred affinity scores.
 * Arguments may add affinity that holds for all pods of the profile. */
#include <kubus/policy.h>

enum { NO_MATCH = 1, NOT_NAMED, NOT_ENFORCED }; /* codes of verdicts */

struct args {
    bool enforced;
    uint32_t required_n, preferred_n;
    const struct kb_policy_term *required, *preferred;
};

static void match_all(struct kb_policy_cycle *c, const struct kb_policy_requirement *all,
                      uint32_t all_n, uint32_t from, uint32_t n, uint8_t *hit)
{
    c->host->match(c->host->core, all, all_n, from, from + n, hit);
}

/* A term without requirements matches nothing. */
static void match_term(struct kb_policy_cycle *c, const struct kb_policy_term *term, uint32_t from,
                       uint32_t n, uint8_t *hit)
{
    match_all(c, term->all, term->all_n, from, n, hit);
    if (term->all_n == 0)
        memset(hit, 0, n);
}

static void match_any(struct kb_policy_cycle *c, const struct kb_policy_term *terms,
                      uint32_t terms_n, uint32_t from, uint32_t n, uint8_t *any)
{
    uint8_t hit[KB_POLICY_RUN];
    memset(any, 0, n);
    for (uint32_t t = 0; t < terms_n; t++) {
        match_term(c, &terms[t], from, n, hit);
        for (uint32_t i = 0; i < n; i++)
            any[i] |= hit[i];
    }
}

static enum kb_policy_status pre_filter(struct kb_policy_cycle *c)
{
    const struct args *args = c->instance;
    return c->pod->selector_n == 0 && !c->pod->has_required && !args->enforced ? KB_POLICY_SKIP
                                                                               : KB_POLICY_OK;
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
    uint8_t any[KB_POLICY_RUN], term[KB_POLICY_RUN], hit[KB_POLICY_RUN];
    memset(any, 0, n);
    memset(verdict, 0, n * sizeof(*verdict));
    for (uint32_t t = 0; t < pod->required_n; t++) {
        if (!names_nodes(&pod->required[t]))
            return;
        memset(term, 1, n);
        for (uint32_t i = 0; i < pod->required[t].all_n; i++) {
            if (pod->required[t].all[i].key != 0)
                continue;
            match_all(c, &pod->required[t].all[i], 1, from, n, hit);
            for (uint32_t k = 0; k < n; k++)
                term[k] &= hit[k];
        }
        for (uint32_t i = 0; i < n; i++)
            any[i] |= term[i];
    }
    for (uint32_t i = 0; i < n && pod->required_n > 0; i++)
        verdict[i] = any[i] ? 0 : NOT_NAMED | KB_POLICY_UNRESOLVABLE;
}

static void filter(struct kb_policy_cycle *c, uint32_t from, uint32_t to, uint32_t *verdict)
{
    const struct kb_policy_pod *pod = c->pod;
    const struct args *args = c->instance;
    uint32_t n = to - from;
    uint8_t ok[KB_POLICY_RUN], any[KB_POLICY_RUN];
    match_all(c, pod->selector, pod->selector_n, from, n, ok);
    if (pod->has_required) {
        match_any(c, pod->required, pod->required_n, from, n, any);
        for (uint32_t i = 0; i < n; i++)
            ok[i] &= any[i];
    }
    for (uint32_t i = 0; i < n; i++)
        verdict[i] = ok[i] ? 0 : NO_MATCH | KB_POLICY_UNRESOLVABLE;
    if (!args->enforced)
        return;
    match_any(c, args->required, args->required_n, from, n, any);
    for (uint32_t i = 0; i < n; i++)
        verdict[i] = any[i] ? verdict[i] : NOT_ENFORCED | KB_POLICY_UNRESOLVABLE;
}

static void reason(struct kb_policy_cycle *c, uint32_t code, kb_policy_emit *emit, void *to)
{
    (void)c;
    emit(to, code == NOT_NAMED      ? "node(s) didn't satisfy plugin(s) [NodeAffinity]"
             : code == NOT_ENFORCED ? "node(s) didn't match scheduler-enforced node affinity"
                                    : "node(s) didn't match Pod's node affinity/selector");
}

static enum kb_policy_status pre_score(struct kb_policy_cycle *c)
{
    const struct args *args = c->instance;
    return c->pod->preferred_n + args->preferred_n == 0 ? KB_POLICY_SKIP : KB_POLICY_OK;
}

static void prefer(struct kb_policy_cycle *c, const struct kb_policy_term *terms, uint32_t terms_n,
                   uint32_t from, uint32_t n, int64_t *score_out)
{
    uint8_t hit[KB_POLICY_RUN];
    for (uint32_t t = 0; t < terms_n; t++) {
        match_term(c, &terms[t], from, n, hit);
        for (uint32_t i = 0; i < n; i++)
            score_out[i] += hit[i] ? terms[t].weight : 0;
    }
}

static void score(struct kb_policy_cycle *c, uint32_t from, uint32_t to, int64_t *score_out)
{
    const struct args *args = c->instance;
    memset(score_out, 0, (to - from) * sizeof(*score_out));
    prefer(c, c->pod->preferred, c->pod->preferred_n, from, to - from, score_out);
    prefer(c, args->preferred, args->preferred_n, from, to - from, score_out);
}

static int configure(const struct kb_policy_host *host, const char *json, void **ret_instance,
                     char *error, size_t error_bytes)
{
    struct args *args = calloc(1, sizeof(*args));
    (void)error, (void)error_bytes;
    if (args == NULL)
        abort();
    args->enforced = host->arg_terms(
        host->core, json,
        "addedAffinity.requiredDuringSchedulingIgnoredDuringExecution.nodeSelectorTerms", false,
        &args->required_n, &args->required);
    host->arg_terms(host->core, json,
                    "addedAffinity.preferredDuringSchedulingIgnoredDuringExecution", true,
                    &args->preferred_n, &args->preferred);
    *ret_instance = args;
    return 0;
}

KB_POLICY(NodeAffinity, .events = KB_POLICY_ON_NODE_ADD | KB_POLICY_ON_NODE_LABEL,
          .normalize_by = KB_POLICY_BY_MAX, .weight = 2, .configure = configure, .unload = free,
          .pre_filter = pre_filter, .narrow = narrow, .filter = filter, .reason = reason,
          .pre_score = pre_score, .score = score);
