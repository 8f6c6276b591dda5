/* NodeVolumeLimits: a CSI driver can attach so many volumes to a node, as its CSINode says. A
 * volume that several pods of the node use counts once; a claim that is not bound yet counts as the
 * volume that its class will make. */
#include <kubus/policy/volumes_seen.h>

#include <stdio.h>

/* A volume as its driver counts it. */
struct attached {
    uint32_t driver;
    uint32_t kind; /* 0: by handle; else the class that makes it, for the claim ns/name */
    uint32_t ns, name;
};

struct list {
    uint32_t n, cap;
    struct attached *v;
};

struct state {
    struct kb_policy_volumes_seen seen;
    struct list wanted;
};

static bool same(const struct attached *a, const struct attached *b)
{
    return a->driver == b->driver && a->kind == b->kind && a->ns == b->ns && a->name == b->name;
}

static void add(struct list *l, struct attached a)
{
    for (uint32_t i = 0; i < l->n; i++)
        if (same(&l->v[i], &a))
            return;
    if (l->n == l->cap) {
        l->cap = l->cap ? l->cap * 2 : 8;
        l->v = realloc(l->v, l->cap * sizeof(*l->v));
        if (l->v == NULL)
            abort();
    }
    l->v[l->n++] = a;
}

static void add_claim(struct kb_policy_cycle *c, const struct kb_policy_claim_name *use,
                      struct list *to)
{
    const struct kb_policy_storage *s = c->host->storage;
    const struct kb_policy_claim *claim = s->claim(c->host->core, use->ns, use->name);
    if (claim == NULL)
        return;
    const struct kb_policy_volume *volume =
        claim->volume ? s->volume(c->host->core, claim->volume) : NULL;
    if (volume != NULL) {
        if (volume->driver != 0)
            add(to, (struct attached){volume->driver, 0, 0, volume->handle});
        return;
    }
    const struct kb_policy_storage_class *class =
        claim->storage_class ? s->storage_class(c->host->core, claim->storage_class) : NULL;
    if (class != NULL && class->provisioner != 0)
        add(to, (struct attached){class->provisioner, claim->storage_class, use->ns, use->name});
}

static enum kb_policy_status pre_filter(struct kb_policy_cycle *c)
{
    struct state *s = kb_policy_volumes_look(c, sizeof(*s));
    s->wanted.n = 0;
    for (uint32_t i = 0; i < c->pod->claims_n; i++)
        add_claim(c, &c->pod->claims[i], &s->wanted);
    return s->wanted.n > 0 ? KB_POLICY_OK : KB_POLICY_SKIP;
}

/* Would the volumes of this driver be too many? `on` is what the node's pods use. */
static bool exceeds(struct kb_policy_cycle *c, uint32_t node, uint32_t driver,
                    const struct list *on)
{
    const struct state *s = c->state;
    int64_t limit = c->host->storage->limit(c->host->core, node, driver), n = 0, more = 0;
    if (limit < 0)
        return false;
    for (uint32_t i = 0; i < on->n; i++)
        n += on->v[i].driver == driver;
    for (uint32_t i = 0; i < s->wanted.n; i++) {
        bool there = s->wanted.v[i].driver != driver;
        for (uint32_t k = 0; k < on->n && !there; k++)
            there = same(&on->v[k], &s->wanted.v[i]);
        more += !there;
    }
    return more > 0 && n + more > limit;
}

static bool is_limited(struct kb_policy_cycle *c, uint32_t node)
{
    const struct state *s = c->state;
    for (uint32_t i = 0; i < s->wanted.n; i++)
        if (c->host->storage->limit(c->host->core, node, s->wanted.v[i].driver) >= 0)
            return true;
    return false;
}

static void filter(struct kb_policy_cycle *c, uint32_t from, uint32_t to, uint32_t *verdict)
{
    const struct state *s = c->state;
    struct list on = {0};
    for (uint32_t node = from; node < to; node++) {
        const struct kb_policy_claim_name *uses;
        verdict[node - from] = 0;
        if (!is_limited(c, node))
            continue;
        uint32_t n = c->host->storage->node_claims(c->host->core, node, &uses);
        on.n = 0;
        for (uint32_t i = 0; i < n; i++)
            add_claim(c, &uses[i], &on);
        for (uint32_t i = 0; i < s->wanted.n; i++)
            verdict[node - from] |= exceeds(c, node, s->wanted.v[i].driver, &on);
    }
    free(on.v);
}

static void reason(struct kb_policy_cycle *c, uint32_t code, kb_policy_emit *emit, void *to)
{
    (void)c, (void)code;
    emit(to, "node(s) exceed max volume count");
}

static void release(struct kb_policy_cycle *c)
{
    struct state *s = c->state;
    if (s != NULL)
        free(s->wanted.v);
    free(s);
}

KB_POLICY(NodeVolumeLimits, .flags = KB_POLICY_GLOBAL,
          .events = KB_POLICY_ON_NODE_ADD | KB_POLICY_ON_POD_DELETE | KB_POLICY_ON_OBJECT,
          .pre_filter = pre_filter, .filter = filter, .reason = reason, .release = release,
          .stale = kb_policy_volumes_stale);
