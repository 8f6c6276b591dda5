/* Remote: verdicts and scores of a service on the bus, which may be written in any language; one
 * question about all nodes for a batch of identical pods. Arguments:
 *
 *     {"service": "judge", "timeoutMs": 1000, "pods": 32, "optional": 0, "labels": "zone,disk"}
 *
 * `pods`: how many decisions one answer serves. `optional`: 1 goes on without the service when it
 * does not answer; else pods wait. The service's answers are not seen by a simulation. */
#include <kubus/policy.h>

#include <stdio.h>

enum { LABELS = 16 };

struct instance {
    struct kb_policy_want want;
    char service[128];
    uint32_t labels[LABELS];
};

/* Of a kind of pods. */
struct state {
    uint64_t version; /* of the answer that was used; 0: waits */
};

/* A text that stands in flat arguments. */
static bool text_of(const char *args, const char *name, char *out, size_t n)
{
    char quoted[40];
    snprintf(quoted, sizeof(quoted), "\"%s\"", name);
    const char *at = args ? strstr(args, quoted) : NULL;
    if (at == NULL)
        return false;
    at += strlen(quoted);
    at += strspn(at, " \t\r\n:");
    size_t length = *at == '"' ? strcspn(at + 1, "\"\\") : 0;
    if (length == 0 || length >= n)
        return false;
    memcpy(out, at + 1, length);
    out[length] = '\0';
    return true;
}

static void read_labels(const struct kb_policy_host *host, const char *args, struct instance *me)
{
    char list[512], *at = list;
    if (!text_of(args, "labels", list, sizeof(list)))
        return;
    while (*(at += strspn(at, ", ")) && me->want.labels_n < LABELS) {
        size_t n = strcspn(at, ", ");
        char *end = at + n, *next = *end ? end + 1 : end;
        *end = '\0';
        me->labels[me->want.labels_n++] = host->intern(host->core, at);
        at = next;
    }
}

static int configure(const struct kb_policy_host *host, const char *args, void **ret, char *error,
                     size_t error_bytes)
{
    struct instance *me = calloc(1, sizeof(*me));
    double pods = kb_policy_number(args, "pods", 32);
    double timeout = kb_policy_number(args, "timeoutMs", 1000);
    if (me == NULL)
        return -1;
    if (!text_of(args, "service", me->service, sizeof(me->service)) ||
        !(pods >= 1 && pods <= 1e6) || !(timeout >= 1 && timeout <= 60000)) {
        snprintf(error, error_bytes,
                 "takes service (a text), pods (1 to 1000000), timeoutMs (1 to 60000), optional, "
                 "labels");
        free(me);
        return -1;
    }
    me->want = (struct kb_policy_want){.size = sizeof(me->want),
                                       .service = me->service,
                                       .timeout_ms = (int64_t)timeout,
                                       .pods = (uint32_t)pods,
                                       .optional = kb_policy_number(args, "optional", 0) != 0,
                                       .labels = me->labels};
    read_labels(host, args, me);
    *ret = me;
    return 0;
}

static const struct kb_policy_outside *outside(struct kb_policy_cycle *c)
{
    return c->host->outside(c, &((struct instance *)c->instance)->want);
}

static bool stale(struct kb_policy_cycle *c)
{
    const struct state *state = c->state;
    const struct kb_policy_outside *said = outside(c);
    return state == NULL || (said ? said->version : 0) != state->version;
}

static enum kb_policy_status pre_filter(struct kb_policy_cycle *c)
{
    const struct kb_policy_outside *said = outside(c);
    struct state *state = c->state ? c->state : calloc(1, sizeof(*state));
    if (state == NULL)
        return KB_POLICY_ERROR;
    c->state = state;
    state->version = said ? said->version : 0;
    return said ? KB_POLICY_OK : KB_POLICY_WAIT;
}

static void filter(struct kb_policy_cycle *c, uint32_t from, uint32_t to, uint32_t *verdict)
{
    const struct kb_policy_outside *said = outside(c);
    for (uint32_t i = from; i < to; i++)
        verdict[i - from] = said == NULL || i >= said->count ? 1
                            : said->verdict                  ? said->verdict[i]
                                                             : 0;
}

static void reason(struct kb_policy_cycle *c, uint32_t code, kb_policy_emit *emit, void *to)
{
    const struct kb_policy_outside *said = outside(c);
    char text[256];
    if (said && code >= 1 && code <= said->reasons_n) {
        emit(to, said->reasons[code - 1]);
        return;
    }
    snprintf(text, sizeof(text), "node(s) were refused by the policy service %s",
             ((struct instance *)c->instance)->service);
    emit(to, text);
}

static void score(struct kb_policy_cycle *c, uint32_t from, uint32_t to, int64_t *score_out)
{
    const struct kb_policy_outside *said = outside(c);
    for (uint32_t i = from; i < to; i++)
        score_out[i - from] = said && said->score && i < said->count ? said->score[i] : 0;
}

static void release(struct kb_policy_cycle *c)
{
    free(c->state);
}

KB_POLICY(Remote, .flags = KB_POLICY_GLOBAL,
          .events = KB_POLICY_ON_NODE_ADD | KB_POLICY_ON_NODE_ALLOCATABLE |
                    KB_POLICY_ON_NODE_LABEL | KB_POLICY_ON_NODE_TAINT | KB_POLICY_ON_POD_DELETE,
          .weight = 1, .configure = configure, .unload = free, .pre_filter = pre_filter,
          .filter = filter, .reason = reason, .score = score, .release = release, .stale = stale);
