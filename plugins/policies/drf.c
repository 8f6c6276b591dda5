/* DRF: dominant resource fairness (Ghodsi et al., NSDI '11) as the order of the queue.
 *
 * A user's dominant share is the largest share that his pods have of any resource of the cluster.
 * Next comes the pod of the user whose dominant share is lowest: progressive filling, which gives
 * everybody the same share of what he needs most. Among the pods of one user, as everywhere: higher
 * priority first, then who came first. Priority also goes before fairness between users.
 *
 * A user is a namespace; with {"userLabel": "team"} the value of that label of the pods, and the
 * namespace for pods without it. With {"weights.NAME": 2} a user's share counts as half of what it
 * is. What counts is what pods request, of every resource but the number of pods itself. */
#include <kubus/policy.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct user {
    uint32_t pods, resources;
    double weight;
    int64_t *used;  /* [resource] */
    uint64_t as_of; /* generation that `share` belongs to, 1 + it; 0: none */
    double share;
};

struct drf {
    const struct kb_policy_host *host;
    char *args;
    uint32_t label; /* interned key; 0: namespaces */
    uint32_t users_n;
    struct user **users; /* [interned name] */
    uint64_t changes;    /* of what users have */
    uint64_t as_of;      /* of `total`: generation of the nodes, 1 + it */
    uint32_t resources;
    int64_t *total; /* [resource] of the cluster */
};

/* ---- arguments ---- */

/* A text in flat JSON arguments, into `out`. */
static void text_arg(const char *args, const char *name, char *out, size_t bytes)
{
    const char *at = args ? strstr(args, name) : NULL;
    out[0] = 0;
    if (at == NULL || at == args || at[-1] != '"' || at[strlen(name)] != '"')
        return;
    at = strchr(at + strlen(name) + 1, '"');
    for (size_t i = 0; at != NULL && i + 1 < bytes && at[1 + i] && at[1 + i] != '"'; i++) {
        out[i] = at[1 + i];
        out[i + 1] = 0;
    }
}

static int configure(const struct kb_policy_host *host, const char *args, void **ret_instance,
                     char *error, size_t error_bytes)
{
    char label[320];
    struct drf *d = calloc(1, sizeof(*d));
    text_arg(args, "userLabel", label, sizeof(label));
    if (d == NULL) {
        snprintf(error, error_bytes, "no memory");
        return -1;
    }
    d->host = host;
    d->args = malloc(args ? strlen(args) + 1 : 1);
    if (d->args == NULL) {
        free(d);
        return -1;
    }
    memcpy(d->args, args ? args : "", args ? strlen(args) + 1 : 1);
    d->label = label[0] ? host->intern(host->core, label) : 0;
    *ret_instance = d;
    return 0;
}

static void unload(void *instance)
{
    struct drf *d = instance;
    if (d == NULL)
        return;
    for (uint32_t i = 0; i < d->users_n; i++) {
        if (d->users[i])
            free(d->users[i]->used);
        free(d->users[i]);
    }
    free(d->users);
    free(d->total);
    free(d->args);
    free(d);
}

/* ---- what users have ---- */

static uint32_t user_of(const struct drf *d, const struct kb_policy_pod *pod)
{
    for (uint32_t i = 0; d->label != 0 && i < pod->labels_n; i++)
        if (pod->labels[i].key == d->label)
            return pod->labels[i].value;
    return pod->ns;
}

static struct user *user_at(struct drf *d, uint32_t id)
{
    if (id >= d->users_n) {
        uint32_t n = (id + 1) * 2;
        struct user **users = realloc(d->users, n * sizeof(struct user *));
        if (users == NULL)
            abort();
        memset(users + d->users_n, 0, (n - d->users_n) * sizeof(struct user *));
        d->users = users;
        d->users_n = n;
    }
    if (d->users[id] == NULL) {
        char name[400];
        snprintf(name, sizeof(name), "weights.%s", d->host->text(d->host->core, id));
        struct user *user = calloc(1, sizeof(*user));
        if (user == NULL)
            abort();
        user->weight = kb_policy_number(d->args, name, 1);
        user->weight = user->weight > 0 ? user->weight : 1;
        d->users[id] = user;
    }
    return d->users[id];
}

static void placed(void *instance, const struct kb_policy_placed *pod, int by)
{
    struct drf *d = instance;
    struct user *user = user_at(d, user_of(d, pod->pod));
    for (uint32_t i = 0; i < pod->pod->requests_n; i++) {
        const struct kb_policy_request *want = &pod->pod->requests[i];
        if (want->resource >= user->resources) {
            uint32_t n = want->resource + 1;
            int64_t *used = realloc(user->used, n * sizeof(*used));
            if (used == NULL)
                abort();
            memset(used + user->resources, 0, (n - user->resources) * sizeof(*used));
            user->used = used;
            user->resources = n;
        }
        user->used[want->resource] += by * want->amount;
    }
    user->pods += (uint32_t)by;
    user->as_of = 0;
}

/* ---- shares ---- */

static void add_up(struct drf *d, const struct kb_policy_nodes *nodes)
{
    if (nodes->resources != d->resources) {
        free(d->total);
        d->total = calloc(nodes->resources, sizeof(*d->total));
        if (d->total == NULL)
            abort();
        d->resources = nodes->resources;
    }
    for (uint32_t r = 0; r < nodes->resources; r++) {
        int64_t sum = 0;
        for (uint32_t i = 0; i < nodes->count; i++)
            sum += nodes->allocatable[r][i];
        d->total[r] = sum;
    }
}

static double share_of(struct drf *d, uint32_t id)
{
    const struct kb_policy_nodes *nodes = d->host->lifecycle->nodes(d->host->core);
    struct user *user = user_at(d, id);
    if (d->as_of != nodes->capacity + 1) {
        add_up(d, nodes);
        d->as_of = nodes->capacity + 1;
    }
    if (user->as_of == d->as_of)
        return user->share;
    user->share = 0;
    for (uint32_t r = 0; r < user->resources && r < d->resources; r++) {
        double share = d->total[r] > 0 ? (double)user->used[r] / (double)d->total[r] : 0;
        if (r != KB_POLICY_PODS && share > user->share)
            user->share = share;
    }
    user->share /= user->weight;
    user->as_of = d->as_of;
    return user->share;
}

static uint32_t queue_class(void *instance, const struct kb_policy_queued *pod)
{
    return user_of(instance, pod->pod);
}

static bool queue_sort(void *instance, const struct kb_policy_queued *a,
                       const struct kb_policy_queued *b)
{
    if (a->priority != b->priority)
        return a->priority > b->priority;
    uint32_t user_a = user_of(instance, a->pod), user_b = user_of(instance, b->pod);
    if (user_a != user_b) {
        double share_a = share_of(instance, user_a), share_b = share_of(instance, user_b);
        if (share_a != share_b)
            return share_a < share_b;
    }
    if (a->queued_ms != b->queued_ms)
        return a->queued_ms < b->queued_ms;
    return a->seq < b->seq;
}

KB_POLICY(DRF, .configure = configure, .unload = unload, .placed = placed,
          .queue_class = queue_class, .queue_sort = queue_sort);
