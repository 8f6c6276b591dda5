#include "actors/scheduler/core/pods.h"

#include "actors/scheduler/core/selectors.h"
#include "bus/base/check.h"
#include "bus/base/grow.h"

#include <stdlib.h>

/* How many pods of a group are on a slot: an open-addressed table; what fell to 0 stays until the
 * table is made anew. */
struct place {
    uint32_t slot1; /* 1 + slot; 0: free */
    uint32_t n;
};

/* A count summed up by the domains of a label. */
struct tally {
    struct kb_policy_tally view;
    struct tally *next;
    uint32_t key;
    uint64_t seen;    /* version of the count that is summed up */
    uint64_t domains; /* and of the domains, 0: never */
    uint32_t *pods;
};

/* What is counted, and where. */
struct count {
    struct kb_policy_count view;
    struct kb_link link;
    struct kb_policy_count_change log[KB_POLICY_COUNT_LOG];
    uint32_t *at;
    struct tally *tallies;
    uint32_t refs;
    bool ending, by_namespace_labels;
    uint32_t n;
    const struct kb_policy_pods_selector *all;
    kb_str key;
    struct kb_arena arena;
};

struct term {
    struct count carriers;
    struct kb_policy_affinity is;
    enum kb_policy_carried_kind kind;
};

struct kb_pod_carries {
    uint32_t n;
    struct term *terms[];
};

struct kb_pod_group {
    struct kb_link link;
    uint32_t ns, refs;
    bool ending;
    struct kb_pod_labels labels;
    kb_str key;
    struct kb_arena arena;
    struct place *places;
    uint32_t places_n, places_cap;
    struct count **counts; /* that mean it */
    uint32_t counts_n, counts_cap;
    struct kb_policy_carried *carried; /* terms that mean it, as of carried_version */
    uint32_t carried_n;
    uint64_t carried_version;
};

/* ---- matching ---- */

static uint32_t label_of(struct kb_pod_labels labels, uint32_t key)
{
    for (uint32_t i = 0; i < labels.n; i++)
        if (labels.v[i].key == key)
            return labels.v[i].value;
    return 0;
}

static bool among(const struct kb_policy_requirement *r, uint32_t value)
{
    for (uint32_t i = 0; i < r->values_n; i++)
        if (r->values[i] == value)
            return true;
    return false;
}

static bool holds(const struct kb_policy_requirement *r, struct kb_pod_labels labels)
{
    uint32_t value = label_of(labels, r->key);
    if (r->invalid)
        return false;
    switch (r->op) {
    case KB_POLICY_IN:
    case KB_POLICY_NOT_IN:
        return kb_op_among(r->op, value != 0 && among(r, value));
    case KB_POLICY_EXISTS:
    case KB_POLICY_DOES_NOT_EXIST:
        return kb_op_there(r->op, value != 0);
    default:
        return false;
    }
}

bool kb_selector_holds(const struct kb_policy_selector *s, struct kb_pod_labels labels)
{
    for (uint32_t i = 0; i < s->all_n; i++)
        if (!holds(&s->all[i], labels))
            return false;
    return !s->none;
}

static kb_str id_key(const uint32_t *id)
{
    return kb_str_n((const char *)id, sizeof(*id));
}

static bool in_namespace(const struct kb_pods *p, const struct kb_policy_pods_selector *s,
                         uint32_t ns)
{
    for (uint32_t i = 0; i < s->namespaces_n; i++)
        if (s->namespaces[i] == ns)
            return true;
    if (s->namespaces_like.none)
        return false;
    const struct kb_pod_labels *labels = kb_map_get(&p->namespaces, id_key(&ns));
    /* Everything means also a namespace that is not known; labels are asked of those that are. */
    return s->namespaces_like.all_n == 0 ||
           (labels != NULL && kb_selector_holds(&s->namespaces_like, *labels));
}

bool kb_pods_selects(const struct kb_pods *p, const struct kb_policy_pods_selector *s, uint32_t ns,
                     struct kb_pod_labels labels)
{
    return in_namespace(p, s, ns) && kb_selector_holds(&s->labels, labels);
}

/* ---- selectors as bytes, and copies ---- */

static void put_u32(struct kb_buf *b, uint32_t n)
{
    kb_buf_add(b, &n, sizeof(n));
}

static void put_selector(struct kb_buf *b, const struct kb_policy_selector *s)
{
    put_u32(b, s->none);
    put_u32(b, s->all_n);
    for (uint32_t i = 0; i < s->all_n; i++) {
        const struct kb_policy_requirement *r = &s->all[i];
        put_u32(b, r->key);
        put_u32(b, r->invalid ? UINT32_MAX : r->op);
        put_u32(b, r->values_n);
        kb_buf_add(b, r->values, r->values_n * sizeof(*r->values));
    }
}

static void put_pods(struct kb_buf *b, const struct kb_policy_pods_selector *s)
{
    put_u32(b, s->namespaces_n);
    kb_buf_add(b, s->namespaces, s->namespaces_n * sizeof(*s->namespaces));
    put_selector(b, &s->namespaces_like);
    put_selector(b, &s->labels);
}

static const void *copy(struct kb_arena *a, const void *from, size_t bytes)
{
    void *to = kb_arena_alloc(a, bytes + 1);
    if (bytes > 0)
        memcpy(to, from, bytes);
    return to;
}

static struct kb_policy_selector copy_selector(struct kb_arena *a,
                                               const struct kb_policy_selector *s)
{
    struct kb_policy_selector to = *s;
    struct kb_policy_requirement *all = kb_arena_alloc(a, (s->all_n + 1) * sizeof(*all));
    for (uint32_t i = 0; i < s->all_n; i++) {
        all[i] = s->all[i];
        all[i].values = copy(a, s->all[i].values, s->all[i].values_n * sizeof(*all[i].values));
    }
    to.all = all;
    return to;
}

static struct kb_policy_pods_selector copy_pods(struct kb_arena *a,
                                                const struct kb_policy_pods_selector *s)
{
    return (struct kb_policy_pods_selector){
        .namespaces_n = s->namespaces_n,
        .namespaces = copy(a, s->namespaces, s->namespaces_n * sizeof(*s->namespaces)),
        .namespaces_like = copy_selector(a, &s->namespaces_like),
        .labels = copy_selector(a, &s->labels)};
}

/* ---- counts ---- */

static void count_change(const struct kb_pods *p, struct count *c, uint32_t slot, int32_t by)
{
    if (c->at == NULL) {
        c->view.at = c->at = calloc(p->cap, sizeof(*c->at));
        KB_ASSERT(c->at != NULL);
    }
    c->at[slot] += (uint32_t)by;
    c->view.pods += (uint64_t)(int64_t)by;
    c->log[c->view.version++ % KB_POLICY_COUNT_LOG] = (struct kb_policy_count_change){slot, by};
}

static void count_init(struct count *c, struct kb_link *list, kb_str key)
{
    c->view.log = c->log;
    c->key = kb_arena_str(&c->arena, key);
    c->refs = 1;
    kb_list_push(list, &c->link);
}

static void count_free(struct count *c)
{
    while (c->tallies != NULL) {
        struct tally *t = c->tallies;
        c->tallies = t->next;
        free(t->pods);
        free(t);
    }
    kb_list_remove(&c->link);
    kb_arena_finish(&c->arena);
    free(c->at);
    free(c);
}

static void count_grow(struct count *c, uint32_t old, uint32_t cap)
{
    if (c->at == NULL)
        return;
    c->at = realloc(c->at, cap * sizeof(*c->at));
    KB_ASSERT(c->at != NULL);
    memset(c->at + old, 0, (cap - old) * sizeof(*c->at));
    c->view.at = c->at;
}

static bool count_means(const struct kb_pods *p, const struct count *c,
                        const struct kb_pod_group *g)
{
    if (g->ending && !c->ending)
        return false;
    for (uint32_t i = 0; i < c->n; i++)
        if (!kb_pods_selects(p, &c->all[i], g->ns, g->labels))
            return false;
    return true;
}

static void subscribe(struct kb_pod_group *g, struct count *c)
{
    KB_GROW(g->counts, g->counts_n, g->counts_cap, 4);
    g->counts[g->counts_n++] = c;
}

static bool unsubscribe(struct kb_pod_group *g, const struct count *c)
{
    for (uint32_t i = 0; i < g->counts_n; i++) {
        if (g->counts[i] == c) {
            g->counts[i] = g->counts[--g->counts_n];
            return true;
        }
    }
    return false;
}

static void count_group(const struct kb_pods *p, struct count *c, const struct kb_pod_group *g,
                        int sign)
{
    for (uint32_t i = 0; i < g->places_cap; i++)
        if (g->places[i].n > 0)
            count_change(p, c, g->places[i].slot1 - 1, sign * (int32_t)g->places[i].n);
}

static void mean(const struct kb_pods *p, struct count *c, struct kb_pod_group *g)
{
    subscribe(g, c);
    count_group(p, c, g, 1);
}

const struct kb_policy_count *
kb_pods_count(struct kb_pods *p, const struct kb_policy_pods_selector *all, uint32_t n, bool ending)
{
    kb_buf_clear(&p->scratch);
    put_u32(&p->scratch, ending);
    for (uint32_t i = 0; i < n; i++)
        put_pods(&p->scratch, &all[i]);
    kb_str key = kb_buf_str(&p->scratch);
    struct count *c = kb_map_get(&p->by_what, key);
    if (c != NULL) {
        c->refs++;
        return &c->view;
    }
    c = calloc(1, sizeof(*c));
    KB_ASSERT(c != NULL);
    count_init(c, &p->counts, key);
    struct kb_policy_pods_selector *own = kb_arena_alloc(&c->arena, (n + 1) * sizeof(*own));
    for (uint32_t i = 0; i < n; i++) {
        own[i] = copy_pods(&c->arena, &all[i]);
        c->by_namespace_labels |= !own[i].namespaces_like.none && own[i].namespaces_like.all_n > 0;
    }
    c->all = own;
    c->n = n;
    c->ending = ending;
    kb_map_put(&p->by_what, c->key, c);
    KB_LIST_EACH(it, &p->groups)
    {
        struct kb_pod_group *g = KB_CONTAINER(it, struct kb_pod_group, link);
        if (count_means(p, c, g))
            mean(p, c, g);
    }
    return &c->view;
}

void kb_pods_count_end(struct kb_pods *p, const struct kb_policy_count *view)
{
    if (view == NULL)
        return;
    struct count *c = KB_CONTAINER((void *)(uintptr_t)view, struct count, view);
    if (--c->refs > 0)
        return;
    KB_LIST_EACH(it, &p->groups)
    unsubscribe(KB_CONTAINER(it, struct kb_pod_group, link), c);
    kb_map_del(&p->by_what, c->key);
    count_free(c);
}

/* ---- tallies ---- */

static struct tally *tally_of(struct count *c, uint32_t key)
{
    for (struct tally *t = c->tallies; t != NULL; t = t->next)
        if (t->key == key)
            return t;
    struct tally *t = calloc(1, sizeof(*t));
    KB_ASSERT(t != NULL);
    t->key = key;
    t->next = c->tallies;
    c->tallies = t;
    return t;
}

static void sum_up(struct tally *t, const struct count *c, const struct kb_policy_domains *d,
                   uint32_t slots)
{
    free(t->pods);
    t->pods = calloc(d->n, sizeof(*t->pods));
    KB_ASSERT(t->pods != NULL);
    for (uint32_t slot = 0; c->at != NULL && slot < slots; slot++)
        t->pods[d->of[slot]] += c->at[slot];
    t->pods[0] = 0;
    t->view.placed = 0;
    for (uint32_t i = 1; i < d->n; i++)
        t->view.placed += t->pods[i];
}

/* The changes since last time, from the log. */
static void follow(struct tally *t, const struct count *c, const struct kb_policy_domains *d)
{
    for (; t->seen < c->view.version; t->seen++) {
        struct kb_policy_count_change change = c->log[t->seen % KB_POLICY_COUNT_LOG];
        uint32_t domain = d->of[change.slot];
        if (domain == 0)
            continue;
        t->pods[domain] += (uint32_t)change.by;
        t->view.placed += (uint64_t)(int64_t)change.by;
        t->view.version++;
    }
}

const struct kb_policy_tally *kb_pods_tally(struct kb_pods *p, const struct kb_policy_count *count,
                                            uint32_t key, const struct kb_policy_domains *d)
{
    struct count *c = KB_CONTAINER((void *)(uintptr_t)count, struct count, view);
    struct tally *t = tally_of(c, key);
    if (t->domains != d->version || c->view.version - t->seen > KB_POLICY_COUNT_LOG) {
        sum_up(t, c, d, p->cap);
        t->view.version++;
        t->domains = d->version;
        t->seen = c->view.version;
    } else {
        follow(t, c, d);
    }
    t->view.domains = d;
    t->view.pods = t->pods;
    return &t->view;
}

/* ---- groups ---- */

static uint32_t hash_slot(uint32_t slot)
{
    return slot * 2654435769u >> 7;
}

static struct place *find_place(struct place *places, uint32_t cap, uint32_t slot)
{
    uint32_t i = hash_slot(slot) & (cap - 1);
    while (places[i].slot1 != 0 && places[i].slot1 != slot + 1)
        i = (i + 1) & (cap - 1);
    return &places[i];
}

static void grow_places(struct kb_pod_group *g)
{
    uint32_t live = 0;
    for (uint32_t i = 0; i < g->places_cap; i++)
        live += g->places[i].n > 0;
    uint32_t cap = 4;
    while (cap < live * 2 + 2)
        cap *= 2;
    struct place *places = calloc(cap, sizeof(*places));
    KB_ASSERT(places != NULL);
    for (uint32_t i = 0; i < g->places_cap; i++)
        if (g->places[i].n > 0)
            *find_place(places, cap, g->places[i].slot1 - 1) = g->places[i];
    free(g->places);
    g->places = places;
    g->places_cap = cap;
    g->places_n = live;
}

static void group_add(struct kb_pod_group *g, uint32_t slot, int by)
{
    if ((g->places_n + 1) * 4 > g->places_cap * 3)
        grow_places(g);
    struct place *place = find_place(g->places, g->places_cap, slot);
    if (place->slot1 == 0) {
        place->slot1 = slot + 1;
        g->places_n++;
    }
    place->n += (uint32_t)by;
}

static struct kb_pod_group *group_get(struct kb_pods *p, const struct kb_policy_pod *pod)
{
    kb_buf_clear(&p->scratch);
    put_u32(&p->scratch, pod->ns);
    put_u32(&p->scratch, pod->ending);
    kb_buf_add(&p->scratch, pod->labels, pod->labels_n * sizeof(*pod->labels));
    struct kb_pod_group *g = kb_map_get(&p->by_key, kb_buf_str(&p->scratch));
    if (g != NULL) {
        g->refs++;
        return g;
    }
    g = calloc(1, sizeof(*g));
    KB_ASSERT(g != NULL);
    g->refs = 1;
    g->ns = pod->ns;
    g->ending = pod->ending;
    g->key = kb_arena_str(&g->arena, kb_buf_str(&p->scratch));
    g->labels = (struct kb_pod_labels){
        pod->labels_n, copy(&g->arena, pod->labels, pod->labels_n * sizeof(*pod->labels))};
    g->carried_version = UINT64_MAX;
    kb_list_push(&p->groups, &g->link);
    kb_map_put(&p->by_key, g->key, g);
    KB_LIST_EACH(it, &p->counts)
    {
        struct count *c = KB_CONTAINER(it, struct count, link);
        if (count_means(p, c, g))
            subscribe(g, c);
    }
    return g;
}

static void group_put(struct kb_pods *p, struct kb_pod_group *g)
{
    if (--g->refs > 0)
        return;
    kb_map_del(&p->by_key, g->key);
    kb_list_remove(&g->link);
    kb_arena_finish(&g->arena);
    free(g->places);
    free(g->counts);
    free(g->carried);
    free(g);
}

/* ---- terms ---- */

static struct term *term_get(struct kb_pods *p, const struct kb_policy_affinity *a,
                             enum kb_policy_carried_kind kind)
{
    kb_buf_clear(&p->scratch);
    put_u32(&p->scratch, kind);
    put_u32(&p->scratch, (uint32_t)a->weight);
    put_u32(&p->scratch, a->topology_key);
    put_pods(&p->scratch, &a->pods);
    kb_str key = kb_buf_str(&p->scratch);
    struct term *t = kb_map_get(&p->by_term, key);
    if (t != NULL) {
        t->carriers.refs++;
        return t;
    }
    t = calloc(1, sizeof(*t));
    KB_ASSERT(t != NULL);
    count_init(&t->carriers, &p->terms, key);
    t->kind = kind;
    t->is = *a;
    t->is.pods = copy_pods(&t->carriers.arena, &a->pods);
    kb_map_put(&p->by_term, t->carriers.key, t);
    p->versions.carried++;
    return t;
}

static void term_put(struct kb_pods *p, struct term *t)
{
    if (--t->carriers.refs > 0)
        return;
    kb_map_del(&p->by_term, t->carriers.key);
    p->versions.carried++;
    count_free(&t->carriers); /* the first member */
}

static void enroll_terms(struct kb_pods *p, struct kb_policy_pod *pod)
{
    uint32_t n =
        pod->required_affinity_n + pod->required_anti_affinity_n + pod->preferred_affinity_n;
    if (n == 0)
        return;
    struct kb_pod_carries *c = calloc(1, sizeof(*c) + n * sizeof(c->terms[0]));
    KB_ASSERT(c != NULL);
    for (uint32_t i = 0; i < pod->required_affinity_n; i++)
        c->terms[c->n++] = term_get(p, &pod->required_affinity[i], KB_POLICY_CARRIED_AFFINITY);
    for (uint32_t i = 0; i < pod->required_anti_affinity_n; i++)
        c->terms[c->n++] =
            term_get(p, &pod->required_anti_affinity[i], KB_POLICY_CARRIED_ANTI_AFFINITY);
    for (uint32_t i = 0; i < pod->preferred_affinity_n; i++)
        c->terms[c->n++] = term_get(p, &pod->preferred_affinity[i], KB_POLICY_CARRIED_PREFERENCE);
    pod->carries = c;
}

/* Which terms mean the group, looked up again when there are others than last time. */
static void match_terms(struct kb_pods *p, struct kb_pod_group *g)
{
    uint32_t cap = 0;
    g->carried_n = 0;
    free(g->carried);
    g->carried = NULL;
    KB_LIST_EACH(it, &p->terms)
    {
        struct term *t = KB_CONTAINER(it, struct term, carriers.link);
        if (!kb_pods_selects(p, &t->is.pods, g->ns, g->labels))
            continue;
        KB_GROW(g->carried, g->carried_n, cap, 4);
        g->carried[g->carried_n++] = (struct kb_policy_carried){
            t->kind, t->is.weight, t->is.topology_key, &t->carriers.view};
    }
    g->carried_version = p->versions.carried;
}

uint32_t kb_pods_carried(struct kb_pods *p, const struct kb_policy_pod *pod,
                         const struct kb_policy_carried **ret_terms)
{
    struct kb_pod_group *g = pod->group;
    if (g->carried_version != p->versions.carried)
        match_terms(p, g);
    *ret_terms = g->carried;
    return g->carried_n;
}

/* ---- pods ---- */

void kb_pods_enroll(struct kb_pods *p, struct kb_policy_pod *pod)
{
    pod->group = group_get(p, pod);
    enroll_terms(p, pod);
}

void kb_pods_release(struct kb_pods *p, struct kb_policy_pod *pod)
{
    struct kb_pod_carries *c = pod->carries;
    for (uint32_t i = 0; c != NULL && i < c->n; i++)
        term_put(p, c->terms[i]);
    free(c);
    if (pod->group != NULL)
        group_put(p, pod->group);
    pod->group = pod->carries = NULL;
}

void kb_pods_add(struct kb_pods *p, uint32_t slot, const struct kb_policy_pod *pod, int by)
{
    struct kb_pod_group *g = pod->group;
    const struct kb_pod_carries *c = pod->carries;
    group_add(g, slot, by);
    for (uint32_t i = 0; i < g->counts_n; i++)
        count_change(p, g->counts[i], slot, by);
    for (uint32_t i = 0; c != NULL && i < c->n; i++)
        count_change(p, &c->terms[i]->carriers, slot, by);
}

/* ---- namespaces ---- */

/* Counts that go by labels of namespaces: does each still mean the group? */
static void match_again(struct kb_pods *p, struct kb_pod_group *g)
{
    KB_LIST_EACH(it, &p->counts)
    {
        struct count *c = KB_CONTAINER(it, struct count, link);
        if (!c->by_namespace_labels)
            continue;
        bool did = unsubscribe(g, c), does = count_means(p, c, g);
        if (does)
            subscribe(g, c);
        if (did != does)
            count_group(p, c, g, does ? 1 : -1);
    }
}

void kb_pods_namespace(struct kb_pods *p, uint32_t ns, const struct kb_pod_labels *labels)
{
    struct kb_pod_labels *old = kb_map_del(&p->namespaces, id_key(&ns));
    bool same = old && labels && old->n == labels->n &&
                (old->n == 0 || memcmp(old->v, labels->v, old->n * sizeof(*old->v)) == 0);
    if (same) {
        kb_map_put(&p->namespaces, id_key(&ns), old);
        return;
    }
    if (labels != NULL) {
        struct kb_pod_labels *fresh = malloc(sizeof(*fresh) + labels->n * sizeof(*labels->v));
        KB_ASSERT(fresh != NULL);
        if (labels->n > 0)
            memcpy(fresh + 1, labels->v, labels->n * sizeof(*labels->v));
        *fresh = (struct kb_pod_labels){labels->n, (void *)(fresh + 1)};
        kb_map_put(&p->namespaces, id_key(&ns), fresh);
    }
    free(old);
    p->versions.carried++;
    KB_LIST_EACH(it, &p->groups)
    {
        struct kb_pod_group *g = KB_CONTAINER(it, struct kb_pod_group, link);
        if (g->ns == ns)
            match_again(p, g);
    }
}

/* ---- life ---- */

void kb_pods_init(struct kb_pods *p, struct kb_intern *intern)
{
    *p = (struct kb_pods){.intern = intern};
    kb_list_init(&p->groups);
    kb_list_init(&p->counts);
    kb_list_init(&p->terms);
}

void kb_pods_finish(struct kb_pods *p)
{
    struct kb_pod_labels *labels;
    KB_ASSERT(p->by_key.count == 0 && p->by_what.count == 0 && p->by_term.count == 0);
    for (size_t i = 0; kb_map_next(&p->namespaces, &i, NULL, (void **)&labels);)
        free(labels);
    kb_map_finish(&p->namespaces);
    kb_map_finish(&p->by_key);
    kb_map_finish(&p->by_what);
    kb_map_finish(&p->by_term);
    kb_buf_finish(&p->scratch);
}

void kb_pods_grow(struct kb_pods *p, uint32_t cap)
{
    KB_LIST_EACH(it, &p->counts)
    count_grow(KB_CONTAINER(it, struct count, link), p->cap, cap);
    KB_LIST_EACH(it, &p->terms)
    count_grow(KB_CONTAINER(it, struct count, link), p->cap, cap);
    p->cap = cap;
}
