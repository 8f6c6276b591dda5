/* VolumeZone: a volume that carries labels of a zone or region is used there. */
#include <kubus/policy/volumes_seen.h>

#include <stdio.h>

enum { KEYS = 4, GENERAL = 2, VALUES_MAX = 16 };

/* What a volume says of one of these labels; the old names and, two places on, those of today. */
struct demand {
    uint32_t key;
    uint32_t n, values[VALUES_MAX];
};

struct state {
    struct kb_policy_volumes_seen seen;
    uint32_t keys[KEYS];
    uint32_t n;
    struct demand *demands;
    uint32_t problem, problem_claim; /* why no node will do, and whose: place in the pod */
};

enum { NO_CLAIM = 1, NO_CLASS_NAME, NO_CLASS, NO_VOLUME_NAME, NO_VOLUME };

static const char *const names[KEYS] = {
    "failure-domain.beta.kubernetes.io/zone", "failure-domain.beta.kubernetes.io/region",
    "topology.kubernetes.io/zone", "topology.kubernetes.io/region"};

/* Several zones are written as a__b. */
static void read_values(struct kb_policy_cycle *c, uint32_t value, struct demand *d)
{
    const char *text = c->host->text(c->host->core, value);
    while (text != NULL && d->n < VALUES_MAX) {
        char one[64];
        const char *end = strstr(text, "__");
        size_t n = end ? (size_t)(end - text) : strlen(text);
        snprintf(one, sizeof(one), "%.*s", (int)n, text);
        d->values[d->n++] = c->host->intern(c->host->core, one);
        text = end ? end + 2 : NULL;
    }
}

static void add_demands(struct kb_policy_cycle *c, struct state *s,
                        const struct kb_policy_volume *volume)
{
    for (uint32_t i = 0; i < volume->labels_n; i++) {
        for (uint32_t k = 0; k < KEYS; k++) {
            if (volume->labels[i].key != s->keys[k])
                continue;
            s->demands = realloc(s->demands, (s->n + 1) * sizeof(*s->demands));
            if (s->demands == NULL)
                abort();
            s->demands[s->n] = (struct demand){.key = k};
            read_values(c, volume->labels[i].value, &s->demands[s->n++]);
        }
    }
}

static uint32_t look_at(struct kb_policy_cycle *c, struct state *s,
                        const struct kb_policy_claim_name *use)
{
    const struct kb_policy_storage *storage = c->host->storage;
    const struct kb_policy_claim *claim = storage->claim(c->host->core, use->ns, use->name);
    if (claim == NULL)
        return NO_CLAIM;
    if (claim->volume == 0) {
        if (claim->storage_class == 0)
            return NO_CLASS_NAME;
        const struct kb_policy_storage_class *class =
            storage->storage_class(c->host->core, claim->storage_class);
        return class == NULL ? NO_CLASS : class->delayed ? 0 : NO_VOLUME_NAME;
    }
    const struct kb_policy_volume *volume = storage->volume(c->host->core, claim->volume);
    if (volume == NULL)
        return NO_VOLUME;
    add_demands(c, s, volume);
    return 0;
}

static enum kb_policy_status pre_filter(struct kb_policy_cycle *c)
{
    struct state *s = kb_policy_volumes_look(c, sizeof(*s));
    s->n = s->problem = 0;
    for (uint32_t k = 0; k < KEYS; k++)
        s->keys[k] = c->host->intern(c->host->core, names[k]);
    for (uint32_t i = 0; i < c->pod->claims_n && s->problem == 0; i++) {
        s->problem = look_at(c, s, &c->pod->claims[i]);
        s->problem_claim = i;
    }
    return s->problem ? KB_POLICY_UNSCHEDULABLE : s->n > 0 ? KB_POLICY_OK : KB_POLICY_SKIP;
}

static bool among(const struct demand *d, uint32_t value)
{
    for (uint32_t i = 0; i < d->n; i++)
        if (d->values[i] == value)
            return true;
    return false;
}

/* A node without any of these labels stands for a cluster of one zone, and takes all volumes. */
static void filter(struct kb_policy_cycle *c, uint32_t from, uint32_t to, uint32_t *verdict)
{
    const struct state *s = c->state;
    uint8_t labeled[KB_POLICY_RUN] = {0};
    uint32_t n = to - from;
    for (uint32_t k = 0; k < KEYS; k++) {
        const uint32_t *column = c->host->label(c->host->core, s->keys[k]) + from;
        for (uint32_t i = 0; i < n; i++)
            labeled[i] |= column[i] != 0;
    }
    memset(verdict, 0, n * sizeof(*verdict));
    for (uint32_t d = 0; d < s->n; d++) {
        uint32_t value[KB_POLICY_RUN], k = s->demands[d].key;
        memcpy(value, c->host->label(c->host->core, s->keys[k]) + from, n * sizeof(*value));
        if (k < GENERAL) {
            const uint32_t *today = c->host->label(c->host->core, s->keys[k + GENERAL]) + from;
            for (uint32_t i = 0; i < n; i++)
                value[i] = value[i] ? value[i] : today[i];
        }
        for (uint32_t i = 0; i < n; i++)
            if (labeled[i] && (value[i] == 0 || !among(&s->demands[d], value[i])))
                verdict[i] = 1 | KB_POLICY_UNRESOLVABLE;
    }
}

static void reason(struct kb_policy_cycle *c, uint32_t code, kb_policy_emit *emit, void *to)
{
    const struct state *s = c->state;
    const struct kb_policy_claim *claim = NULL;
    char text[400] = "node(s) had no available volume zone";
    if (code == 0 && s->problem != 0) {
        const struct kb_policy_claim_name *use = &c->pod->claims[s->problem_claim];
        claim = c->host->storage->claim(c->host->core, use->ns, use->name);
        if (s->problem == NO_CLAIM || claim == NULL)
            snprintf(text, sizeof(text), "persistentvolumeclaim \"%s\" not found",
                     c->host->text(c->host->core, use->name));
        else if (s->problem == NO_CLASS_NAME)
            snprintf(text, sizeof(text),
                     "PersistentVolumeClaim had no pv name and storageClass name");
        else if (s->problem == NO_CLASS)
            snprintf(text, sizeof(text), "storageclass.storage.k8s.io \"%s\" not found",
                     c->host->text(c->host->core, claim->storage_class));
        else if (s->problem == NO_VOLUME_NAME)
            snprintf(text, sizeof(text), "PersistentVolume had no name");
        else
            snprintf(text, sizeof(text), "persistentvolume \"%s\" not found",
                     c->host->text(c->host->core, claim->volume));
    }
    emit(to, text);
}

static void release(struct kb_policy_cycle *c)
{
    struct state *s = c->state;
    if (s != NULL)
        free(s->demands);
    free(s);
}

KB_POLICY(VolumeZone, .flags = KB_POLICY_GLOBAL,
          .events = KB_POLICY_ON_NODE_ADD | KB_POLICY_ON_NODE_LABEL | KB_POLICY_ON_OBJECT,
          .pre_filter = pre_filter, .filter = filter, .reason = reason, .release = release,
          .stale = kb_policy_volumes_stale);
