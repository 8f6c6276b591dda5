/* PodTopologySpread: pods of one sort are spread over the values of a node label. A required
 * constraint refuses a domain that would get too far ahead of the emptiest one; the others prefer
 * domains with fewer pods. Pods that state no constraint are spread by default constraints, over
 * what their services and their controller select.
 *
 * For each constraint it keeps which nodes count (they have the labels, and are admitted by the
 * pod's node affinity and tolerations as far as these are honored) and the sums of pods by domain
 * over those. Sums follow the changes of the count one by one; a verdict is a lookup of the node's
 * domain. */
#include <kubus/policy.h>

#include <math.h>
#include <stdio.h>

enum { TOO_MANY = 1, NO_LABEL };

enum { DEFAULTS_MAX = 16 };

struct args {
    bool system; /* the default constraints are those of the system */
    uint32_t hostname;
    uint32_t n;
    struct kb_policy_spread defaults[DEFAULTS_MAX];
};

struct constraint {
    struct kb_policy_spread is;
    const struct kb_policy_count *count; /* NULL: nothing is counted */
    bool self;                           /* the pod is one of those */
    uint8_t *counts;                     /* [slot] 1: the node counts */
    uint32_t domains_n;
    uint32_t *pods, *nodes; /* [domain] on nodes that count, and how many of these there are */
    double *share;          /* [domain] of the score */
    int64_t limit;          /* a domain with more pods than this takes no further one */
    double weight;
    uint64_t seen; /* version of the count */
};

struct list {
    uint32_t n;
    struct constraint *v;
};

struct state {
    bool made, all_labels; /* a node must have the labels of all constraints to be scored */
    uint32_t cap;
    uint64_t nodes, owners; /* versions */
    struct list hard, soft;
};

static void *make(void *old, size_t n, size_t size)
{
    void *p = realloc(old, (n + 1) * size);
    if (p == NULL)
        abort();
    memset(p, 0, (n + 1) * size);
    return p;
}

/* ---- which constraints ---- */

static bool is_empty(const struct kb_policy_selector *s)
{
    return !s->none && s->all_n == 0;
}

/* A selector that selects everything counts nothing, but the pod itself matches it. */
static void add(struct kb_policy_cycle *c, struct list *list, const struct kb_policy_spread *is)
{
    list->v = realloc(list->v, (list->n + 1) * sizeof(*list->v));
    if (list->v == NULL)
        abort();
    struct constraint *k = &list->v[list->n++];
    *k = (struct constraint){.is = *is};
    k->self = c->host->selects(c->host->core, &is->pods, c->pod);
    if (!is_empty(&is->pods.labels))
        k->count = c->host->count(c->host->core, &is->pods, 1, false);
}

static void clear(struct kb_policy_cycle *c, struct list *list)
{
    for (uint32_t i = 0; i < list->n; i++) {
        struct constraint *k = &list->v[i];
        if (k->count)
            c->host->count_end(c->host->core, k->count);
        free(k->counts);
        free(k->pods);
        free(k->nodes);
        free(k->share);
    }
    free(list->v);
    *list = (struct list){0};
}

static void find_constraints(struct kb_policy_cycle *c, struct state *s)
{
    const struct args *args = c->instance;
    struct kb_policy_pods_selector pods;
    clear(c, &s->hard);
    clear(c, &s->soft);
    for (uint32_t i = 0; i < c->pod->spread_n; i++)
        add(c, c->pod->spread[i].required ? &s->hard : &s->soft, &c->pod->spread[i]);
    s->all_labels = c->pod->spread_n > 0 || !args->system;
    if (c->pod->spread_n > 0 || !c->host->default_spread(c->host->core, c->pod, &pods))
        return;
    for (uint32_t i = 0; i < args->n; i++) {
        struct kb_policy_spread is = args->defaults[i];
        is.pods = pods;
        add(c, is.required ? &s->hard : &s->soft, &is);
    }
}

/* ---- which nodes count ---- */

static void leave_out_unlabeled(struct kb_policy_cycle *c, const struct list *list, uint8_t *counts)
{
    for (uint32_t i = 0; i < list->n; i++) {
        const uint32_t *of = c->host->domains(c->host->core, list->v[i].is.topology_key)->of;
        for (uint32_t slot = 0; slot < c->nodes->count; slot++)
            counts[slot] &= of[slot] != 0;
    }
}

static void honor_affinity(struct kb_policy_cycle *c, uint8_t *counts)
{
    const struct kb_policy_pod *pod = c->pod;
    uint32_t count = c->nodes->count;
    uint8_t *hit = make(NULL, count, 1), *any = make(NULL, count, 1);
    c->host->match(c->host->core, pod->selector, pod->selector_n, 0, count, hit);
    for (uint32_t slot = 0; slot < count; slot++)
        counts[slot] &= hit[slot];
    for (uint32_t t = 0; t < pod->required_n; t++) {
        const struct kb_policy_term *term = &pod->required[t];
        c->host->match(c->host->core, term->all, term->all_n, 0, count, hit);
        for (uint32_t slot = 0; slot < count && term->all_n > 0; slot++)
            any[slot] |= hit[slot];
    }
    for (uint32_t slot = 0; slot < count && pod->has_required; slot++)
        counts[slot] &= any[slot];
    free(hit);
    free(any);
}

static bool tolerated(const struct kb_policy_pod *pod, const struct kb_policy_taint *taint)
{
    for (uint32_t i = 0; i < pod->tolerations_n; i++) {
        const struct kb_policy_toleration *t = &pod->tolerations[i];
        if ((t->effect == KB_POLICY_ANY_EFFECT || t->effect == taint->effect) &&
            (t->key == 0 || t->key == taint->key) && (t->exists || t->value == taint->value))
            return true;
    }
    return false;
}

static void honor_taints(struct kb_policy_cycle *c, uint8_t *counts)
{
    uint8_t *admits = make(NULL, c->nodes->taint_sets_n, 1);
    for (uint32_t i = 0; i < c->nodes->taint_sets_n; i++) {
        const struct kb_policy_taint_set *set = &c->nodes->taint_sets[i];
        admits[i] = 1;
        for (uint32_t k = 0; k < set->n; k++)
            if (set->taints[k].effect != KB_POLICY_PREFER_NO_SCHEDULE &&
                !tolerated(c->pod, &set->taints[k]))
                admits[i] = 0;
    }
    for (uint32_t slot = 0; slot < c->nodes->count; slot++)
        counts[slot] &= admits[c->nodes->taint_set[slot]];
    free(admits);
}

static void find_nodes(struct kb_policy_cycle *c, const struct list *list, struct constraint *k,
                       bool all_labels)
{
    k->counts = make(k->counts, c->nodes->count, 1);
    memcpy(k->counts, c->nodes->present, c->nodes->count);
    if (all_labels)
        leave_out_unlabeled(c, list, k->counts);
    if (k->is.affinity_honored)
        honor_affinity(c, k->counts);
    if (k->is.taints_honored)
        honor_taints(c, k->counts);
}

/* ---- sums ---- */

static void sum_up(struct kb_policy_cycle *c, struct constraint *k)
{
    const struct kb_policy_domains *d = c->host->domains(c->host->core, k->is.topology_key);
    const uint32_t *at = k->count ? k->count->at : NULL;
    k->domains_n = d->n;
    k->pods = make(k->pods, d->n, sizeof(*k->pods));
    k->nodes = make(k->nodes, d->n, sizeof(*k->nodes));
    k->share = make(k->share, d->n, sizeof(*k->share));
    for (uint32_t slot = 0; slot < c->nodes->count; slot++) {
        k->pods[d->of[slot]] += at && k->counts[slot] ? at[slot] : 0;
        k->nodes[d->of[slot]] += k->counts[slot];
    }
}

static void follow(struct kb_policy_cycle *c, struct constraint *k)
{
    const struct kb_policy_domains *d = c->host->domains(c->host->core, k->is.topology_key);
    for (; k->seen < k->count->version; k->seen++) {
        struct kb_policy_count_change change = k->count->log[k->seen % KB_POLICY_COUNT_LOG];
        if (k->counts[change.slot])
            k->pods[d->of[change.slot]] += (uint32_t)change.by;
    }
}

static void find_limit(struct constraint *k)
{
    int64_t min = INT32_MAX, domains = 0;
    for (uint32_t i = 1; i < k->domains_n; i++) {
        min = k->nodes[i] > 0 && k->pods[i] < min ? k->pods[i] : min;
        domains += k->nodes[i] > 0;
    }
    min = domains < k->is.min_domains ? 0 : min;
    k->limit = k->is.max_skew + min - k->self;
}

static void sync_list(struct kb_policy_cycle *c, struct list *list, bool all_labels, bool anew)
{
    for (uint32_t i = 0; i < list->n; i++) {
        struct constraint *k = &list->v[i];
        uint64_t version = k->count ? k->count->version : 0;
        if (anew)
            find_nodes(c, list, k, all_labels);
        if (anew || version - k->seen > KB_POLICY_COUNT_LOG)
            sum_up(c, k);
        else if (version != k->seen)
            follow(c, k);
        else
            continue;
        k->seen = version;
        if (k->is.required)
            find_limit(k);
    }
}

static struct state *sync(struct kb_policy_cycle *c)
{
    struct state *s = c->state;
    const struct kb_policy_versions *v = c->host->versions(c->host->core);
    if (s == NULL)
        s = c->state = make(NULL, 1, sizeof(*s));
    bool other = !s->made || (c->pod->spread_n == 0 && s->owners != v->owners);
    bool anew = other || s->nodes != v->nodes || s->cap != c->nodes->count;
    if (other)
        find_constraints(c, s);
    sync_list(c, &s->hard, true, anew);
    sync_list(c, &s->soft, s->all_labels, anew);
    s->made = true;
    s->cap = c->nodes->count;
    s->nodes = v->nodes;
    s->owners = v->owners;
    return s;
}

static bool moved(const struct list *list)
{
    for (uint32_t i = 0; i < list->n; i++)
        if (list->v[i].count && list->v[i].count->version != list->v[i].seen)
            return true;
    return false;
}

static bool stale(struct kb_policy_cycle *c)
{
    const struct state *s = c->state;
    const struct kb_policy_versions *v = c->host->versions(c->host->core);
    return s == NULL || (c->pod->spread_n == 0 && s->owners != v->owners) ||
           ((s->hard.n > 0 || s->soft.n > 0) &&
            (s->nodes != v->nodes || s->cap != c->nodes->count)) ||
           moved(&s->hard) || moved(&s->soft);
}

/* ---- filter ---- */

static enum kb_policy_status pre_filter(struct kb_policy_cycle *c)
{
    return sync(c)->hard.n > 0 ? KB_POLICY_OK : KB_POLICY_SKIP;
}

static void filter(struct kb_policy_cycle *c, uint32_t from, uint32_t to, uint32_t *verdict)
{
    const struct state *s = c->state;
    memset(verdict, 0, (to - from) * sizeof(*verdict));
    for (uint32_t k = 0; k < s->hard.n; k++) {
        const struct constraint *is = &s->hard.v[k];
        const uint32_t *of = c->host->domains(c->host->core, is->is.topology_key)->of + from;
        const uint32_t *pods = is->pods;
        int64_t limit = is->limit;
        for (uint32_t i = 0; i < to - from; i++) {
            uint32_t code = pods[of[i]] > limit ? TOO_MANY : 0;
            code = of[i] == 0 ? NO_LABEL | KB_POLICY_UNRESOLVABLE : code;
            verdict[i] = verdict[i] ? verdict[i] : code;
        }
    }
}

static void reason(struct kb_policy_cycle *c, uint32_t code, kb_policy_emit *emit, void *to)
{
    (void)c;
    emit(to, code == NO_LABEL
                 ? "node(s) didn't match pod topology spread constraints (missing required label)"
                 : "node(s) didn't match pod topology spread constraints");
}

/* ---- score ---- */

/* How many domains the nodes that fit lie in; without the label is a domain too. */
static uint32_t domains_that_fit(const struct kb_policy_cycle *c, const uint32_t *of, uint32_t n,
                                 const uint8_t *rated)
{
    uint8_t *seen = make(NULL, n, 1);
    uint32_t found = 0;
    for (uint32_t slot = 0; slot < c->nodes->count; slot++)
        seen[of[slot]] |= rated[slot];
    for (uint32_t i = 0; i < n; i++)
        found += seen[i];
    free(seen);
    return found;
}

/* Nodes that fit and are rated: with `all_labels`, those that have all labels. */
static uint8_t *find_rated(struct kb_policy_cycle *c, const struct state *s, uint32_t *ret_n)
{
    uint8_t *rated = make(NULL, c->nodes->count, 1);
    memcpy(rated, c->fits, c->nodes->count);
    if (s->all_labels)
        leave_out_unlabeled(c, &s->soft, rated);
    *ret_n = 0;
    for (uint32_t slot = 0; slot < c->nodes->count; slot++)
        *ret_n += rated[slot];
    return rated;
}

static enum kb_policy_status pre_score(struct kb_policy_cycle *c)
{
    const struct args *args = c->instance;
    struct state *s = sync(c);
    uint32_t rated_n;
    if (s->soft.n == 0)
        return KB_POLICY_SKIP;
    uint8_t *rated = find_rated(c, s, &rated_n);
    for (uint32_t i = 0; i < s->soft.n; i++) {
        struct constraint *k = &s->soft.v[i];
        const struct kb_policy_domains *d = c->host->domains(c->host->core, k->is.topology_key);
        bool by_node = k->is.topology_key == args->hostname;
        uint32_t size = by_node ? rated_n : domains_that_fit(c, d->of, d->n, rated);
        k->weight = log((double)size + 2);
        for (uint32_t j = 1; j < d->n; j++)
            k->share[j] = k->pods[j] * k->weight + (k->is.max_skew - 1);
        k->share[0] = 0;
    }
    free(rated);
    return KB_POLICY_OK;
}

/* A host's pods are counted whether the node counts or not. */
static void add_by_node(const struct constraint *k, const uint32_t *of, uint32_t from, uint32_t n,
                        double *sum)
{
    const uint32_t *at = k->count ? k->count->at : NULL;
    double skew = k->is.max_skew - 1;
    for (uint32_t i = 0; i < n; i++) {
        double pods = at ? at[from + i] : 0;
        sum[i] += of[i] ? pods * k->weight + skew : 0;
    }
}

static void score(struct kb_policy_cycle *c, uint32_t from, uint32_t to, int64_t *out)
{
    const struct args *args = c->instance;
    const struct state *s = c->state;
    double sum[KB_POLICY_RUN] = {0};
    uint8_t rated[KB_POLICY_RUN];
    uint32_t n = to - from;
    memset(rated, 1, n);
    for (uint32_t k = 0; k < s->soft.n; k++) {
        const struct constraint *is = &s->soft.v[k];
        const uint32_t *of = c->host->domains(c->host->core, is->is.topology_key)->of + from;
        for (uint32_t i = 0; i < n && s->all_labels; i++)
            rated[i] &= of[i] != 0;
        if (is->is.topology_key == args->hostname) {
            add_by_node(is, of, from, n, sum);
            continue;
        }
        for (uint32_t i = 0; i < n; i++)
            sum[i] += is->share[of[i]];
    }
    for (uint32_t i = 0; i < n; i++)
        out[i] = rated[i] ? (int64_t)(sum[i] + 0.5) : -1;
}

/* ---- arguments ---- */

static uint32_t text_at(const struct kb_policy_host *host, const char *json, uint32_t i,
                        const char *name, struct kb_policy_arg *arg)
{
    char path[80];
    snprintf(path, sizeof(path), "defaultConstraints[%u].%s", i, name);
    host->arg(host->core, json, path, arg);
    return arg->text;
}

static bool is_text(const struct kb_policy_host *host, uint32_t text, const char *what)
{
    return strcmp(host->text(host->core, text), what) == 0;
}

static void read_default(const struct kb_policy_host *host, const char *json, uint32_t i,
                         struct kb_policy_spread *to)
{
    struct kb_policy_arg arg;
    to->topology_key = text_at(host, json, i, "topologyKey", &arg);
    to->required =
        is_text(host, text_at(host, json, i, "whenUnsatisfiable", &arg), "DoNotSchedule");
    to->affinity_honored =
        !is_text(host, text_at(host, json, i, "nodeAffinityPolicy", &arg), "Ignore");
    to->taints_honored = is_text(host, text_at(host, json, i, "nodeTaintsPolicy", &arg), "Honor");
    text_at(host, json, i, "maxSkew", &arg);
    to->max_skew = (int32_t)arg.number;
    text_at(host, json, i, "minDomains", &arg);
    to->min_domains = arg.kind == KB_POLICY_ARG_NUMBER ? (int32_t)arg.number : 1;
}

static const char *problem(const struct kb_policy_host *host, const char *json,
                           const struct args *args)
{
    struct kb_policy_arg arg;
    for (uint32_t i = 0; i < args->n; i++) {
        if (args->defaults[i].topology_key == 0)
            return "defaultConstraints: topologyKey: Required value: can not be empty";
        if (args->defaults[i].max_skew < 1)
            return "defaultConstraints: maxSkew: Invalid value: not in valid range (0, inf)";
        text_at(host, json, i, "labelSelector", &arg);
        if (arg.kind != KB_POLICY_ARG_NONE)
            return "defaultConstraints: labelSelector: Forbidden: constraint must not define a "
                   "selector, as they deduced for each pod";
    }
    return NULL;
}

static int configure(const struct kb_policy_host *host, const char *json, void **ret_instance,
                     char *error, size_t error_bytes)
{
    struct kb_policy_arg type, list;
    struct args *args = make(NULL, 1, sizeof(*args));
    const char *wrong = NULL;
    args->hostname = host->intern(host->core, "kubernetes.io/hostname");
    host->arg(host->core, json, "defaultConstraints", &list);
    args->system =
        !host->arg(host->core, json, "defaultingType", &type) || is_text(host, type.text, "System");
    if (!args->system && !is_text(host, type.text, "List"))
        wrong = "defaultingType: Unsupported value: supported values: \"System\", \"List\"";
    else if (args->system && list.n > 0)
        wrong = "defaultingType: Invalid value: \"System\": when .defaultConstraints are not empty";
    else if (list.n > DEFAULTS_MAX)
        wrong = "defaultConstraints: too many";
    for (uint32_t i = 0; wrong == NULL && i < list.n; i++)
        read_default(host, json, args->n++, &args->defaults[i]);
    wrong = wrong ? wrong : problem(host, json, args);
    if (args->system) {
        struct kb_policy_spread is = {.min_domains = 1, .affinity_honored = true, .max_skew = 3};
        is.topology_key = args->hostname;
        args->defaults[args->n++] = is;
        is.topology_key = host->intern(host->core, "topology.kubernetes.io/zone");
        is.max_skew = 5;
        args->defaults[args->n++] = is;
    }
    if (wrong != NULL) {
        snprintf(error, error_bytes, "%s", wrong);
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
    clear(c, &s->hard);
    clear(c, &s->soft);
    free(s);
}

KB_POLICY(PodTopologySpread, .flags = KB_POLICY_GLOBAL,
          .events = KB_POLICY_ON_NODE_ADD | KB_POLICY_ON_NODE_LABEL | KB_POLICY_ON_NODE_TAINT |
                    KB_POLICY_ON_POD_DELETE | KB_POLICY_ON_POD_ADD | KB_POLICY_ON_OBJECT,
          .normalize_by = KB_POLICY_BY_REST, .weight = 2, .configure = configure, .unload = free,
          .pre_filter = pre_filter, .filter = filter, .reason = reason, .pre_score = pre_score,
          .score = score, .release = release, .stale = stale);
