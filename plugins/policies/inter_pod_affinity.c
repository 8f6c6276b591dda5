/* InterPodAffinity: pods that want to be near other pods, or far from them, where near means the
 * same value of a node label. It works both ways: terms of the pod itself, and those terms of pods
 * that are there which mean this pod.
 *
 * All of it comes down to sums by domain: a count of pods by node (those that a term means, or that
 * carry a term) summed up by the values of a label, kept up to date by the host. A verdict or a
 * score is then a pass over the nodes that looks up each node's domain. */
#include <kubus/policy.h>

#include <stdio.h>

enum { NOT_NEAR = 1, TOO_NEAR, UNWANTED }; /* codes of verdicts */

struct args {
    int32_t hard_weight;
    bool ignore_preferences; /* of pods that are there, unless the pod has its own */
};

/* A count by domain that says something about the pod. */
struct part {
    const struct kb_policy_count *count;
    uint32_t topology_key;
    int32_t weight; /* of a score */
    bool ours;      /* the count is to be ended */
    uint64_t seen;  /* version of the tally when it was last looked at */
};

struct parts {
    uint32_t n, cap;
    struct part *v;
};

struct state {
    bool made, fits_itself;
    uint64_t carried;                                /* version of the terms that mean the pod */
    struct parts affinity, anti_affinity, preferred; /* of the pod; by its terms */
    struct parts existing, weighing;                 /* of others: required, and scored */
};

static void add(struct parts *p, struct part part)
{
    if (p->n == p->cap) {
        p->cap = p->cap ? p->cap * 2 : 4;
        p->v = realloc(p->v, p->cap * sizeof(*p->v));
        if (p->v == NULL)
            abort();
    }
    part.seen = UINT64_MAX;
    p->v[p->n++] = part;
}

static void clear(struct kb_policy_cycle *c, struct parts *p)
{
    for (uint32_t i = 0; i < p->n; i++)
        if (p->v[i].ours)
            c->host->count_end(c->host->core, p->v[i].count);
    free(p->v);
    *p = (struct parts){0};
}

static const struct kb_policy_tally *tally(struct kb_policy_cycle *c, const struct part *part)
{
    return c->host->tally(c->host->core, part->count, part->topology_key);
}

/* ---- the pod's own terms ---- */

static void add_own(struct kb_policy_cycle *c, struct parts *p,
                    const struct kb_policy_affinity *terms, uint32_t n)
{
    for (uint32_t i = 0; i < n; i++)
        add(p, (struct part){c->host->count(c->host->core, &terms[i].pods, 1, true),
                             terms[i].topology_key, terms[i].weight, true, 0});
}

/* Pods count for affinity when all terms mean them. */
static void add_affinity(struct kb_policy_cycle *c, struct state *s)
{
    const struct kb_policy_pod *pod = c->pod;
    struct kb_policy_pods_selector *all = calloc(pod->required_affinity_n + 1, sizeof(*all));
    if (all == NULL)
        abort();
    for (uint32_t i = 0; i < pod->required_affinity_n; i++)
        all[i] = pod->required_affinity[i].pods;
    for (uint32_t i = 0; i < pod->required_affinity_n; i++)
        add(&s->affinity,
            (struct part){c->host->count(c->host->core, all, pod->required_affinity_n, true),
                          pod->required_affinity[i].topology_key, 0, true, 0});
    free(all);
}

/* Does the pod match all its own terms? Labels of its namespace may have a say in that. */
static bool fits_itself(struct kb_policy_cycle *c)
{
    for (uint32_t i = 0; i < c->pod->required_affinity_n; i++)
        if (!c->host->selects(c->host->core, &c->pod->required_affinity[i].pods, c->pod))
            return false;
    return true;
}

/* ---- terms that mean the pod ---- */

static void add_carried(struct kb_policy_cycle *c, struct state *s)
{
    const struct args *args = c->instance;
    const struct kb_policy_carried *t;
    uint32_t n = c->host->carried(c->host->core, c->pod, &t);
    clear(c, &s->existing);
    clear(c, &s->weighing);
    for (uint32_t i = 0; i < n; i++) {
        struct part part = {t[i].carriers, t[i].topology_key, t[i].weight, false, 0};
        if (t[i].kind == KB_POLICY_CARRIED_AFFINITY)
            part.weight = args->hard_weight;
        if (t[i].kind == KB_POLICY_CARRIED_ANTI_AFFINITY)
            add(&s->existing, part);
        else if (part.weight != 0)
            add(&s->weighing, part);
    }
}

static struct state *refresh(struct kb_policy_cycle *c)
{
    struct state *s = c->state;
    uint64_t carried = c->host->versions(c->host->core)->carried;
    if (s == NULL)
        s = c->state = calloc(1, sizeof(*s));
    if (s == NULL)
        abort();
    if (!s->made) {
        add_affinity(c, s);
        add_own(c, &s->anti_affinity, c->pod->required_anti_affinity,
                c->pod->required_anti_affinity_n);
        add_own(c, &s->preferred, c->pod->preferred_affinity, c->pod->preferred_affinity_n);
    }
    if (!s->made || s->carried != carried) {
        s->fits_itself = fits_itself(c);
        add_carried(c, s);
    }
    s->made = true;
    s->carried = carried;
    return s;
}

/* Did any of the sums change? Looks at each, so that none is new the next time. */
static bool moved(struct kb_policy_cycle *c, struct parts *p)
{
    bool any = false;
    for (uint32_t i = 0; i < p->n; i++) {
        uint64_t version = tally(c, &p->v[i])->version;
        any |= p->v[i].seen != version;
        p->v[i].seen = version;
    }
    return any;
}

static bool stale(struct kb_policy_cycle *c)
{
    const struct state *old = c->state;
    bool anew = old == NULL || old->carried != c->host->versions(c->host->core)->carried;
    struct state *s = refresh(c);
    anew |= moved(c, &s->affinity);
    anew |= moved(c, &s->anti_affinity);
    anew |= moved(c, &s->preferred);
    anew |= moved(c, &s->existing);
    anew |= moved(c, &s->weighing);
    return anew;
}

static bool placed(struct kb_policy_cycle *c, const struct parts *p)
{
    for (uint32_t i = 0; i < p->n; i++)
        if (p->v[i].count->pods > 0 && tally(c, &p->v[i])->placed > 0)
            return true;
    return false;
}

/* ---- filter ---- */

static enum kb_policy_status pre_filter(struct kb_policy_cycle *c)
{
    const struct state *s = refresh(c);
    return s->affinity.n == 0 && s->anti_affinity.n == 0 && !placed(c, &s->existing)
               ? KB_POLICY_SKIP
               : KB_POLICY_OK;
}

/* Refuse nodes in whose domain there are such pods. */
static void keep_away(struct kb_policy_cycle *c, const struct parts *p, uint32_t code,
                      uint32_t from, uint32_t to, uint32_t *verdict)
{
    for (uint32_t k = 0; k < p->n; k++) {
        if (p->v[k].count->pods == 0)
            continue;
        const struct kb_policy_tally *t = tally(c, &p->v[k]);
        const uint32_t *of = t->domains->of + from, *pods = t->pods;
        for (uint32_t i = 0; i < to - from; i++) {
            uint32_t refused = pods[of[i]] > 0 ? code : 0;
            verdict[i] = verdict[i] ? verdict[i] : refused;
        }
    }
}

/* Each term's label must be there, with such pods in its domain; the first pod of a set that has
 * affinity to itself may go wherever the labels are. */
static void keep_near(struct kb_policy_cycle *c, const struct state *s, uint32_t from, uint32_t to,
                      uint32_t *verdict)
{
    bool first = s->affinity.n > 0 && s->fits_itself && !placed(c, &s->affinity);
    for (uint32_t k = 0; k < s->affinity.n; k++) {
        const struct kb_policy_tally *t = tally(c, &s->affinity.v[k]);
        const uint32_t *of = t->domains->of + from, *pods = t->pods;
        for (uint32_t i = 0; i < to - from; i++) {
            bool near = of[i] != 0 && (first || pods[of[i]] > 0);
            verdict[i] = near ? verdict[i] : NOT_NEAR | KB_POLICY_UNRESOLVABLE;
        }
    }
}

static void filter(struct kb_policy_cycle *c, uint32_t from, uint32_t to, uint32_t *verdict)
{
    const struct state *s = c->state;
    memset(verdict, 0, (to - from) * sizeof(*verdict));
    keep_near(c, s, from, to, verdict);
    keep_away(c, &s->anti_affinity, TOO_NEAR, from, to, verdict);
    keep_away(c, &s->existing, UNWANTED, from, to, verdict);
}

static void reason(struct kb_policy_cycle *c, uint32_t code, kb_policy_emit *emit, void *to)
{
    (void)c;
    emit(to, code == NOT_NEAR   ? "node(s) didn't match pod affinity rules"
             : code == TOO_NEAR ? "node(s) didn't match pod anti-affinity rules"
                                : "node(s) didn't satisfy existing pods anti-affinity rules");
}

/* ---- score ---- */

static enum kb_policy_status pre_score(struct kb_policy_cycle *c)
{
    const struct args *args = c->instance;
    const struct state *s = refresh(c);
    if (s->preferred.n == 0 && args->ignore_preferences)
        return KB_POLICY_SKIP;
    return placed(c, &s->preferred) || placed(c, &s->weighing) ? KB_POLICY_OK : KB_POLICY_SKIP;
}

static void weigh(struct kb_policy_cycle *c, const struct parts *p, uint32_t from, uint32_t to,
                  int64_t *score)
{
    for (uint32_t k = 0; k < p->n; k++) {
        if (p->v[k].count->pods == 0)
            continue;
        const struct kb_policy_tally *t = tally(c, &p->v[k]);
        const uint32_t *of = t->domains->of + from, *pods = t->pods;
        int64_t weight = p->v[k].weight;
        for (uint32_t i = 0; i < to - from; i++)
            score[i] += weight * pods[of[i]];
    }
}

static void score(struct kb_policy_cycle *c, uint32_t from, uint32_t to, int64_t *out)
{
    const struct state *s = c->state;
    memset(out, 0, (to - from) * sizeof(*out));
    weigh(c, &s->preferred, from, to, out);
    weigh(c, &s->weighing, from, to, out);
}

/* ---- life ---- */

static int configure(const struct kb_policy_host *host, const char *json, void **ret_instance,
                     char *error, size_t error_bytes)
{
    struct kb_policy_arg arg;
    struct args *args = calloc(1, sizeof(*args));
    if (args == NULL)
        abort();
    args->hard_weight = 1;
    if (host->arg(host->core, json, "hardPodAffinityWeight", &arg))
        args->hard_weight = (int32_t)arg.number;
    if (host->arg(host->core, json, "ignorePreferredTermsOfExistingPods", &arg))
        args->ignore_preferences = arg.number != 0;
    if (args->hard_weight < 0 || args->hard_weight > 100) {
        snprintf(error, error_bytes,
                 "hardPodAffinityWeight: Invalid value: %d: not in valid range "
                 "[0, 100]",
                 (int)args->hard_weight);
        free(args);
        return -1;
    }
    *ret_instance = args;
    return 0;
}

static void release(struct kb_policy_cycle *c)
{
    struct state *s = c->state;
    if (s == NULL)
        return;
    struct parts *all[] = {&s->affinity, &s->anti_affinity, &s->preferred, &s->existing,
                           &s->weighing};
    for (size_t i = 0; i < sizeof(all) / sizeof(all[0]); i++)
        clear(c, all[i]);
    free(s);
}

KB_POLICY(InterPodAffinity, .flags = KB_POLICY_GLOBAL,
          .events = KB_POLICY_ON_NODE_ADD | KB_POLICY_ON_NODE_LABEL | KB_POLICY_ON_POD_DELETE |
                    KB_POLICY_ON_POD_ADD | KB_POLICY_ON_OBJECT,
          .normalize_by = KB_POLICY_BY_SPAN, .weight = 2, .configure = configure, .unload = free,
          .pre_filter = pre_filter, .filter = filter, .reason = reason, .pre_score = pre_score,
          .score = score, .release = release, .stale = stale);
