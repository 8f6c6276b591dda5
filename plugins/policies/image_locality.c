/* ImageLocality: prefer nodes that hold the pod's images already, large ones above all. An image
 * that only few nodes hold counts for less, so that not all pods go to the first node that pulled
 * it. */
#include <kubus/policy.h>

static const int64_t MEBI = 1024 * 1024;
static const int64_t FROM = 23 * 1024 * 1024; /* less in sum is not worth anything */

struct state {
    uint64_t images, nodes; /* versions that the scores are made from */
    uint32_t count;
    int64_t *scores; /* [slot] */
};

static bool stale(struct kb_policy_cycle *c)
{
    const struct state *s = c->state;
    const struct kb_policy_versions *v = c->host->versions(c->host->core);
    return s == NULL || s->images != v->images || s->nodes != v->nodes ||
           s->count != c->nodes->count;
}

/* True when any node holds any of them. */
static bool sum_up(struct kb_policy_cycle *c, int64_t *sum)
{
    bool any = false;
    for (uint32_t i = 0; i < c->pod->images_n; i++) {
        const struct kb_policy_image *held;
        uint32_t n = c->host->image(c->host->core, c->pod->images[i], &held);
        double share = (double)n / (double)c->nodes->present_n;
        for (uint32_t k = 0; k < n; k++)
            sum[held[k].node] += (int64_t)((double)held[k].bytes * share);
        any |= n > 0;
    }
    return any;
}

static enum kb_policy_status pre_score(struct kb_policy_cycle *c)
{
    const struct kb_policy_versions *v = c->host->versions(c->host->core);
    if (!stale(c))
        return ((struct state *)c->state)->scores ? KB_POLICY_OK : KB_POLICY_SKIP;
    struct state *s = c->state ? c->state : calloc(1, sizeof(*s));
    if (s == NULL)
        abort();
    c->state = s;
    free(s->scores);
    *s = (struct state){v->images, v->nodes, c->nodes->count,
                        calloc(c->nodes->count + 1, sizeof(*s->scores))};
    if (s->scores == NULL)
        abort();
    if (!sum_up(c, s->scores)) {
        free(s->scores);
        s->scores = NULL;
        return KB_POLICY_SKIP;
    }
    int64_t most = 1000 * MEBI * c->pod->images_n;
    for (uint32_t i = 0; i < s->count; i++) {
        int64_t sum = s->scores[i] < FROM ? FROM : s->scores[i] > most ? most : s->scores[i];
        s->scores[i] = KB_POLICY_SCORE_MAX * (sum - FROM) / (most - FROM);
    }
    return KB_POLICY_OK;
}

static void score(struct kb_policy_cycle *c, uint32_t from, uint32_t to, int64_t *out)
{
    const struct state *s = c->state;
    memcpy(out, s->scores + from, (to - from) * sizeof(*out));
}

static void release(struct kb_policy_cycle *c)
{
    struct state *s = c->state;
    if (s != NULL)
        free(s->scores);
    free(s);
}

KB_POLICY(ImageLocality, .flags = KB_POLICY_GLOBAL, .weight = 1, .pre_score = pre_score,
          .score = score, .release = release, .stale = stale);
