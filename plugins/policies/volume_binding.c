/* VolumeBinding: a pod's claims must be usable from the node. A bound claim's volume says from
 * which nodes it can be reached. A claim whose class waits for the first consumer must find a
 * volume that suits it and can be reached from the node, each volume for one claim, the smallest
 * first; or its class must be able to make one there. Any other claim has to be bound before the
 * pod is placed.
 *
 * Which volumes come into question for a claim does not depend on the node, and is found out once;
 * a run over nodes then matches affinities column by column, and hands volumes out node by node.
 *
 * What a pod gets is held from reserve on, so that no other pod counts on it, and written in
 * pre_bind: the volume's claimRef, or the node that the claim's volume is to be made for. The pod
 * is bound when those who look after volumes have bound its claims. */
#include <kubus/policy/volumes_seen.h>

#include <stdio.h>

/* Bits of a verdict's code. */
enum { NODE_CONFLICT = 1, BIND_CONFLICT = 2, NO_VOLUME = 4 };

enum problem { NONE, NOT_FOUND, NOT_MADE, LOST, ENDING, UNBOUND };

/* A volume for a claim. */
struct option {
    const struct kb_policy_volume *volume;
    uint32_t row; /* of the matches */
    bool kept;    /* for this claim alone: it takes this one or none */
};

struct delayed {
    const struct kb_policy_claim *claim;
    const struct kb_policy_storage_class *class;
    uint32_t options_n;
    struct option *options; /* smallest first */
};

struct state {
    struct kb_policy_volumes_seen seen;
    enum problem problem;
    uint32_t problem_claim; /* place in the pod */
    bool volume_missing;
    uint32_t bound_n, delayed_n, rows_n;
    const struct kb_policy_volume **bound;
    struct delayed *delayed;              /* smallest claim first */
    const struct kb_policy_volume **rows; /* volumes that are an option, each once */
};

static void *zeroed(size_t n, size_t size)
{
    void *p = calloc(n + 1, size);
    if (p == NULL)
        abort();
    return p;
}

static void clear(struct state *s)
{
    for (uint32_t i = 0; i < s->delayed_n; i++)
        free(s->delayed[i].options);
    free(s->delayed);
    free(s->bound);
    free(s->rows);
    *s = (struct state){.seen = s->seen};
}

/* ---- claims ---- */

static enum problem problem_of(struct kb_policy_cycle *c, const struct kb_policy_claim_name *use)
{
    const struct kb_policy_claim *claim =
        c->host->storage->claim(c->host->core, use->ns, use->name);
    if (claim == NULL)
        return use->ephemeral ? NOT_MADE : NOT_FOUND;
    return claim->lost ? LOST : claim->ending ? ENDING : NONE;
}

static bool suits(struct kb_policy_cycle *c, const struct kb_policy_claim *claim,
                  const struct kb_policy_volume *v)
{
    struct kb_policy_pods_selector labels = {.namespaces_like.none = false,
                                             .labels = claim->selector};
    struct kb_policy_pod as = {.labels_n = v->labels_n, .labels = v->labels};
    return v->available && c->host->selects(c->host->core, &labels, &as) &&
           (claim->access & ~v->access) == 0;
}

static bool is_option(struct kb_policy_cycle *c, const struct kb_policy_claim *claim,
                      const struct kb_policy_volume *v, bool *ret_kept)
{
    *ret_kept = v->claim_name == claim->name && v->claim_ns == claim->ns &&
                (v->claim_uid == 0 || v->claim_uid == claim->uid);
    if (v->block != claim->block || v->bytes < claim->bytes || v->ending ||
        v->attributes_class != claim->attributes_class || (v->claim_name != 0 && !*ret_kept))
        return false;
    return *ret_kept || suits(c, claim, v);
}

static int by_size(const void *a, const void *b)
{
    const struct option *x = a, *y = b;
    if (x->kept != y->kept)
        return x->kept ? -1 : 1;
    if (x->volume->bytes != y->volume->bytes)
        return x->volume->bytes < y->volume->bytes ? -1 : 1;
    return x->volume->name < y->volume->name ? -1 : x->volume->name > y->volume->name;
}

static int by_claim(const void *a, const void *b)
{
    const struct delayed *x = a, *y = b;
    if (x->claim->bytes != y->claim->bytes)
        return x->claim->bytes < y->claim->bytes ? -1 : 1;
    return x->claim->name < y->claim->name ? -1 : x->claim->name > y->claim->name;
}

static uint32_t row_of(struct state *s, const struct kb_policy_volume *v)
{
    uint32_t row = 0;
    while (row < s->rows_n && s->rows[row] != v)
        row++;
    if (row < s->rows_n)
        return row;
    s->rows = realloc((void *)s->rows, (s->rows_n + 1) * sizeof(*s->rows));
    if (s->rows == NULL)
        abort();
    s->rows[s->rows_n++] = v;
    return row;
}

static void find_options(struct kb_policy_cycle *c, struct state *s, struct delayed *d)
{
    const struct kb_policy_storage *storage = c->host->storage;
    const uint32_t *names;
    uint32_t n = storage->volumes_of(c->host->core, d->claim->storage_class, &names);
    d->options = zeroed(n, sizeof(*d->options));
    for (uint32_t i = 0; i < n; i++) {
        const struct kb_policy_volume *v = storage->volume(c->host->core, names[i]);
        bool kept;
        if (!is_option(c, d->claim, v, &kept))
            continue;
        d->options[d->options_n++] = (struct option){v, row_of(s, v), kept};
    }
    qsort(d->options, d->options_n, sizeof(*d->options), by_size);
}

static enum problem take_claim(struct kb_policy_cycle *c, struct state *s,
                               const struct kb_policy_claim *claim)
{
    const struct kb_policy_storage *storage = c->host->storage;
    if (claim->bound) {
        const struct kb_policy_volume *v = storage->volume(c->host->core, claim->volume);
        s->volume_missing |= v == NULL;
        if (v != NULL)
            s->bound[s->bound_n++] = v;
        return NONE;
    }
    const struct kb_policy_storage_class *class =
        claim->storage_class ? storage->storage_class(c->host->core, claim->storage_class) : NULL;
    if (class == NULL || !class->delayed || claim->volume != 0)
        return UNBOUND;
    s->delayed[s->delayed_n++] = (struct delayed){claim, class, 0, NULL};
    return NONE;
}

static void look_at_claims(struct kb_policy_cycle *c, struct state *s)
{
    uint32_t n = c->pod->claims_n;
    s->bound = zeroed(n, sizeof(*s->bound));
    s->delayed = zeroed(n, sizeof(*s->delayed));
    for (uint32_t i = 0; i < n && s->problem == NONE; i++) {
        s->problem = problem_of(c, &c->pod->claims[i]);
        s->problem_claim = i;
    }
    for (uint32_t i = 0; i < n && s->problem == NONE; i++)
        s->problem = take_claim(
            c, s,
            c->host->storage->claim(c->host->core, c->pod->claims[i].ns, c->pod->claims[i].name));
    qsort(s->delayed, s->delayed_n, sizeof(*s->delayed), by_claim);
    for (uint32_t i = 0; i < s->delayed_n && s->problem == NONE; i++)
        find_options(c, s, &s->delayed[i]);
}

static enum kb_policy_status pre_filter(struct kb_policy_cycle *c)
{
    struct state *s = kb_policy_volumes_look(c, sizeof(*s));
    clear(s);
    if (c->pod->claims_n == 0)
        return KB_POLICY_SKIP;
    look_at_claims(c, s);
    return s->problem ? KB_POLICY_UNSCHEDULABLE : KB_POLICY_OK;
}

/* ---- nodes ---- */

static void match_any(struct kb_policy_cycle *c, const struct kb_policy_term *terms, uint32_t n,
                      uint32_t from, uint32_t to, uint8_t *any)
{
    uint8_t hit[KB_POLICY_RUN];
    memset(any, 0, to - from);
    for (uint32_t t = 0; t < n; t++) {
        if (terms[t].all_n == 0)
            continue;
        c->host->match(c->host->core, terms[t].all, terms[t].all_n, from, to, hit);
        for (uint32_t i = 0; i < to - from; i++)
            any[i] |= hit[i];
    }
}

static void match_volume(struct kb_policy_cycle *c, const struct kb_policy_volume *v, uint32_t from,
                         uint32_t to, uint8_t *reached)
{
    memset(reached, 1, to - from);
    if (v->has_required)
        match_any(c, v->required, v->required_n, from, to, reached);
}

/* The matches of a run: which node reaches which volume, and where classes make volumes. */
struct matches {
    uint32_t n;      /* nodes */
    uint8_t *rows;   /* [row][node] */
    uint8_t *makes;  /* [delayed claim][node] */
    uint8_t *chosen; /* [row] for the claims of one node */
    uint32_t *given; /* [delayed claim] the volume that it gets on that node; 0: one that is made */
};

static struct matches match_all(struct kb_policy_cycle *c, const struct state *s, uint32_t from,
                                uint32_t to)
{
    struct matches m = {.n = to - from};
    m.rows = zeroed((size_t)s->rows_n * m.n, 1);
    m.makes = zeroed((size_t)s->delayed_n * m.n, 1);
    m.chosen = zeroed(s->rows_n, 1);
    m.given = zeroed(s->delayed_n, sizeof(*m.given));
    for (uint32_t r = 0; r < s->rows_n; r++)
        match_volume(c, s->rows[r], from, to, m.rows + (size_t)r * m.n);
    for (uint32_t d = 0; d < s->delayed_n; d++) {
        const struct kb_policy_storage_class *class = s->delayed[d].class;
        uint8_t *makes = m.makes + (size_t)d * m.n;
        if (class->provisioner == 0)
            continue;
        memset(makes, 1, m.n);
        if (class->allowed_n > 0)
            match_any(c, class->allowed, class->allowed_n, from, to, makes);
    }
    return m;
}

static void matches_finish(struct matches *m)
{
    free(m->rows);
    free(m->makes);
    free(m->chosen);
    free(m->given);
}

static bool finds_volume(const struct delayed *d, struct matches *m, uint32_t node,
                         uint32_t *ret_volume)
{
    for (uint32_t i = 0; i < d->options_n; i++) {
        const struct option *o = &d->options[i];
        bool reached = m->rows[(size_t)o->row * m->n + node] && !m->chosen[o->row];
        m->chosen[o->row] |= reached;
        *ret_volume = reached ? o->volume->name : 0;
        if (reached || o->kept)
            return reached;
    }
    return false;
}

static bool is_satisfied(struct kb_policy_cycle *c, const struct state *s, struct matches *m,
                         uint32_t from, uint32_t node)
{
    bool all = true;
    for (uint32_t d = 0; d < s->delayed_n; d++) {
        uint32_t selected = s->delayed[d].claim->selected_node;
        if (selected != 0 && selected != c->nodes->name[from + node])
            return false;
    }
    memset(m->chosen, 0, s->rows_n);
    memset(m->given, 0, s->delayed_n * sizeof(*m->given));
    for (uint32_t d = 0; d < s->delayed_n && all; d++) {
        bool found = s->delayed[d].claim->selected_node == 0 &&
                     finds_volume(&s->delayed[d], m, node, &m->given[d]);
        all = found || m->makes[(size_t)d * m->n + node];
    }
    return all;
}

static void filter(struct kb_policy_cycle *c, uint32_t from, uint32_t to, uint32_t *verdict)
{
    const struct state *s = c->state;
    uint8_t reached[KB_POLICY_RUN];
    uint32_t n = to - from;
    for (uint32_t i = 0; i < n; i++)
        verdict[i] = s->volume_missing ? NO_VOLUME | KB_POLICY_UNRESOLVABLE : 0;
    for (uint32_t b = 0; b < s->bound_n && !s->volume_missing; b++) {
        match_volume(c, s->bound[b], from, to, reached);
        for (uint32_t i = 0; i < n; i++)
            verdict[i] |= reached[i] ? 0 : NODE_CONFLICT | KB_POLICY_UNRESOLVABLE;
    }
    if (s->delayed_n == 0)
        return;
    struct matches m = match_all(c, s, from, to);
    for (uint32_t i = 0; i < n; i++)
        if (!is_satisfied(c, s, &m, from, i))
            verdict[i] |= BIND_CONFLICT | KB_POLICY_UNRESOLVABLE;
    matches_finish(&m);
}

/* ---- one pod ---- */

static enum kb_policy_status reserve(struct kb_policy_cycle *c, uint32_t node)
{
    if (c->pod->claims_n == 0)
        return KB_POLICY_OK;
    if (kb_policy_volumes_stale(c) && pre_filter(c) != KB_POLICY_OK)
        return KB_POLICY_UNSCHEDULABLE;
    const struct state *s = c->state;
    struct matches m = match_all(c, s, node, node + 1);
    bool satisfied = is_satisfied(c, s, &m, node, 0);
    for (uint32_t d = 0; d < s->delayed_n && satisfied; d++)
        c->host->storage->hold(c->host->core, s->delayed[d].claim, m.given[d], node);
    matches_finish(&m);
    c->code = BIND_CONFLICT;
    return satisfied ? KB_POLICY_OK : KB_POLICY_UNSCHEDULABLE;
}

static void unreserve(struct kb_policy_cycle *c, uint32_t node)
{
    (void)node;
    for (uint32_t i = 0; i < c->pod->claims_n; i++)
        c->host->storage->let_go(c->host->core, c->pod->claims[i].ns, c->pod->claims[i].name);
}

static enum kb_policy_status pre_bind(struct kb_policy_cycle *c, uint32_t node)
{
    enum kb_policy_status status = KB_POLICY_OK;
    (void)node;
    for (uint32_t i = 0; i < c->pod->claims_n; i++) {
        const struct kb_policy_claim_name *use = &c->pod->claims[i];
        const struct kb_policy_claim *claim =
            c->host->storage->claim(c->host->core, use->ns, use->name);
        c->code = BIND_CONFLICT;
        if (claim == NULL || claim->lost || claim->ending)
            return KB_POLICY_UNSCHEDULABLE;
        if (claim->bound)
            continue;
        c->host->storage->bind(c->host->core, use->ns, use->name);
        status = KB_POLICY_WAIT;
    }
    return status;
}

/* ---- words ---- */

static void say_problem(struct kb_policy_cycle *c, kb_policy_emit *emit, void *to)
{
    const struct state *s = c->state;
    const struct kb_policy_claim_name *use = &c->pod->claims[s->problem_claim];
    const struct kb_policy_claim *claim =
        c->host->storage->claim(c->host->core, use->ns, use->name);
    const char *name = c->host->text(c->host->core, use->name);
    char text[640] = "pod has unbound immediate PersistentVolumeClaims";
    if (s->problem == NOT_FOUND)
        snprintf(text, sizeof(text), "persistentvolumeclaim \"%s\" not found", name);
    else if (s->problem == NOT_MADE)
        snprintf(text, sizeof(text),
                 "waiting for ephemeral volume controller to create the persistentvolumeclaim "
                 "\"%s\"",
                 name);
    else if (s->problem == LOST)
        snprintf(text, sizeof(text),
                 "persistentvolumeclaim \"%s\" bound to non-existent persistentvolume \"%s\"", name,
                 c->host->text(c->host->core, claim ? claim->volume : 0));
    else if (s->problem == ENDING)
        snprintf(text, sizeof(text), "persistentvolumeclaim \"%s\" is being deleted", name);
    emit(to, text);
}

static void reason(struct kb_policy_cycle *c, uint32_t code, kb_policy_emit *emit, void *to)
{
    const struct state *s = c->state;
    if (code == 0 && s->problem != NONE)
        say_problem(c, emit, to);
    if (code & NODE_CONFLICT)
        emit(to, "node(s) had volume node affinity conflict");
    if (code & BIND_CONFLICT)
        emit(to, "node(s) didn't find available persistent volumes to bind");
    if (code & NO_VOLUME)
        emit(to, "node(s) unavailable due to one or more pvc(s) bound to non-existent pv(s)");
}

static void release(struct kb_policy_cycle *c)
{
    struct state *s = c->state;
    if (s == NULL)
        return;
    clear(s);
    free(s);
}

KB_POLICY(VolumeBinding, .flags = KB_POLICY_GLOBAL,
          .events = KB_POLICY_ON_NODE_ADD | KB_POLICY_ON_NODE_LABEL | KB_POLICY_ON_OBJECT,
          .pre_filter = pre_filter, .filter = filter, .reason = reason, .reserve = reserve,
          .unreserve = unreserve, .pre_bind = pre_bind, .release = release,
          .stale = kb_policy_volumes_stale);
