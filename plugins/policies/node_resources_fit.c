/* NodeResourcesFit: what the pod requests must be free on the node. Of those that fit, the least
 * allocated is best, or the most allocated, or what a curve over utilization says; by CPU and
 * memory alike, or by any resources with weights. Scores count 100m and 200Mi for containers
 * without requests, so that pods which state none are spread as well. */
#include <kubus/policy.h>

#include <stdio.h>

/* A verdict's code has a bit for each request that is not free; the last one stands for all
 * further ones. */
enum { LAST_BIT = 21 };

enum strategy { LEAST, MOST, RATIO };
enum { RESOURCES_MAX = 16, POINTS_MAX = 32, IGNORED_MAX = 32 };

struct args {
    enum strategy strategy;
    bool plain; /* CPU and memory, alike */
    uint32_t resources_n, points_n, ignored_n, groups_n;
    struct {
        uint32_t resource;
        int64_t weight;
    } resources[RESOURCES_MAX];
    struct {
        int64_t utilization, score;
    } points[POINTS_MAX];
    uint32_t ignored[IGNORED_MAX]; /* names of extended resources that are not checked */
    uint32_t groups[IGNORED_MAX];  /* and what stands before the slash of such */
};

/* ---- filter ---- */

/* Extended resources have a domain, which is not one of Kubernetes'. */
static bool is_ignored(struct kb_policy_cycle *c, const struct args *args, uint32_t resource)
{
    if (args->ignored_n + args->groups_n == 0 || resource < KB_POLICY_RESOURCES)
        return false;
    const char *name = c->host->resource_name(c->host->core, resource);
    const char *slash = strchr(name, '/');
    if (slash == NULL || strstr(name, "kubernetes.io/") != NULL)
        return false;
    for (uint32_t i = 0; i < args->ignored_n; i++)
        if (strcmp(name, c->host->text(c->host->core, args->ignored[i])) == 0)
            return true;
    for (uint32_t i = 0; i < args->groups_n; i++) {
        const char *group = c->host->text(c->host->core, args->groups[i]);
        if (strncmp(name, group, (size_t)(slash - name)) == 0 && group[slash - name] == 0)
            return true;
    }
    return false;
}

static void filter(struct kb_policy_cycle *c, uint32_t from, uint32_t to, uint32_t *verdict)
{
    uint32_t n = to - from;
    memset(verdict, 0, n * sizeof(*verdict));
    for (uint32_t k = 0; k < c->pod->requests_n; k++) {
        const struct kb_policy_request *want = &c->pod->requests[k];
        if (is_ignored(c, c->instance, want->resource))
            continue;
        const int64_t *allocatable = c->nodes->allocatable[want->resource] + from;
        const int64_t *requested = c->nodes->requested[want->resource] + from;
        int64_t amount = want->amount;
        uint32_t bit = 1u << (k < LAST_BIT ? k : LAST_BIT);
        uint32_t never = want->resource == KB_POLICY_PODS ? 0 : KB_POLICY_UNRESOLVABLE;
        for (uint32_t i = 0; i < n; i++) {
            verdict[i] |= amount > allocatable[i] - requested[i] ? bit : 0;
            verdict[i] |= amount > allocatable[i] ? bit | never : 0;
        }
    }
}

static void reason(struct kb_policy_cycle *c, uint32_t code, kb_policy_emit *emit, void *to)
{
    char text[512];
    for (uint32_t k = 0; k < c->pod->requests_n && k <= LAST_BIT; k++) {
        uint32_t resource = c->pod->requests[k].resource;
        if ((code & (1u << k)) == 0)
            continue;
        if (resource == KB_POLICY_PODS) {
            emit(to, "Too many pods");
            continue;
        }
        snprintf(text, sizeof(text), "Insufficient %s",
                 c->host->resource_name(c->host->core, resource));
        emit(to, text);
    }
}

/* ---- score ---- */

static int64_t least(int64_t allocatable, int64_t requested)
{
    return requested > allocatable ? 0
                                   : (allocatable - requested) * KB_POLICY_SCORE_MAX / allocatable;
}

static int64_t most(int64_t allocatable, int64_t requested)
{
    requested = requested > allocatable ? allocatable : requested;
    return requested * KB_POLICY_SCORE_MAX / allocatable;
}

/* The curve, straight between its points. */
static int64_t ratio(const struct args *args, int64_t allocatable, int64_t requested)
{
    int64_t p = requested > allocatable ? 100 : requested * 100 / allocatable;
    for (uint32_t i = 0; i < args->points_n; i++) {
        int64_t at = args->points[i].utilization, score = args->points[i].score;
        if (p > at)
            continue;
        if (i == 0)
            return score;
        int64_t before = args->points[i - 1].utilization, was = args->points[i - 1].score;
        return was + (score - was) * (p - before) / (at - before);
    }
    return args->points[args->points_n - 1].score;
}

static void score_plain(struct kb_policy_cycle *c, uint32_t from, uint32_t to, int64_t *score_out)
{
    const struct kb_policy_nodes *nodes = c->nodes;
    const int64_t *cpu = nodes->allocatable[KB_POLICY_CPU];
    const int64_t *memory = nodes->allocatable[KB_POLICY_MEMORY];
    for (uint32_t i = from; i < to; i++) {
        int64_t sum = 0, weights = 0;
        if (cpu[i] > 0) {
            sum += least(cpu[i], nodes->nonzero_cpu[i] + c->pod->nonzero_cpu);
            weights++;
        }
        if (memory[i] > 0) {
            sum += least(memory[i], nodes->nonzero_memory[i] + c->pod->nonzero_memory);
            weights++;
        }
        score_out[i - from] = weights > 1 ? sum / weights : sum;
    }
}

static int64_t amount_of(const struct kb_policy_pod *pod, uint32_t resource)
{
    if (resource == KB_POLICY_CPU)
        return pod->nonzero_cpu;
    if (resource == KB_POLICY_MEMORY)
        return pod->nonzero_memory;
    return kb_policy_requested(pod, resource);
}

static const int64_t *used_of(const struct kb_policy_nodes *nodes, uint32_t resource)
{
    return resource == KB_POLICY_CPU      ? nodes->nonzero_cpu
           : resource == KB_POLICY_MEMORY ? nodes->nonzero_memory
                                          : nodes->requested[resource];
}

/* One resource's share of the scores. An extended resource counts for pods that ask for it. */
static void score_one(struct kb_policy_cycle *c, uint32_t k, uint32_t from, uint32_t to,
                      int64_t *sum, int64_t *weights)
{
    const struct args *args = c->instance;
    uint32_t resource = args->resources[k].resource;
    int64_t more = amount_of(c->pod, resource), weight = args->resources[k].weight;
    if (resource == KB_POLICY_PODS || (more == 0 && resource >= KB_POLICY_RESOURCES))
        return;
    const int64_t *allocatable = c->nodes->allocatable[resource] + from;
    const int64_t *used = used_of(c->nodes, resource) + from;
    for (uint32_t i = 0; i < to - from; i++) {
        if (allocatable[i] == 0)
            continue;
        int64_t score = args->strategy == LEAST  ? least(allocatable[i], used[i] + more)
                        : args->strategy == MOST ? most(allocatable[i], used[i] + more)
                                                 : ratio(args, allocatable[i], used[i] + more);
        if (args->strategy == RATIO && score <= 0)
            continue;
        sum[i] += score * weight;
        weights[i] += weight;
    }
}

static void score(struct kb_policy_cycle *c, uint32_t from, uint32_t to, int64_t *score_out)
{
    const struct args *args = c->instance;
    int64_t weights[KB_POLICY_RUN] = {0};
    if (args->plain) {
        score_plain(c, from, to, score_out);
        return;
    }
    memset(score_out, 0, (to - from) * sizeof(*score_out));
    for (uint32_t k = 0; k < args->resources_n; k++)
        score_one(c, k, from, to, score_out, weights);
    for (uint32_t i = 0; i < to - from; i++) {
        if (weights[i] > 0 && args->strategy == RATIO)
            score_out[i] = (2 * score_out[i] + weights[i]) / (2 * weights[i]); /* rounded */
        else if (weights[i] > 0)
            score_out[i] /= weights[i];
    }
}

/* ---- arguments ---- */

static double number_at(const struct kb_policy_host *host, const char *json, const char *format,
                        uint32_t i, double otherwise)
{
    char path[96];
    struct kb_policy_arg arg;
    snprintf(path, sizeof(path), format, i);
    return host->arg(host->core, json, path, &arg) ? arg.number : otherwise;
}

static uint32_t text_at(const struct kb_policy_host *host, const char *json, const char *format,
                        uint32_t i)
{
    char path[96];
    struct kb_policy_arg arg;
    snprintf(path, sizeof(path), format, i);
    host->arg(host->core, json, path, &arg);
    return arg.text;
}

static uint32_t count_at(const struct kb_policy_host *host, const char *json, const char *path,
                         uint32_t most_n)
{
    struct kb_policy_arg arg;
    host->arg(host->core, json, path, &arg);
    return arg.n < most_n ? arg.n : most_n;
}

static const char *read_strategy(const struct kb_policy_host *host, const char *json,
                                 struct args *args)
{
    const char *type = host->text(host->core, text_at(host, json, "scoringStrategy.type", 0));
    if (strcmp(type, "MostAllocated") == 0)
        args->strategy = MOST;
    else if (strcmp(type, "RequestedToCapacityRatio") == 0)
        args->strategy = RATIO;
    else if (strcmp(type, "LeastAllocated") != 0 && type[0] != 0)
        return "scoringStrategy.type: Unsupported value";
    args->resources_n = count_at(host, json, "scoringStrategy.resources", RESOURCES_MAX);
    for (uint32_t i = 0; i < args->resources_n; i++) {
        uint32_t name = text_at(host, json, "scoringStrategy.resources[%u].name", i);
        double weight = number_at(host, json, "scoringStrategy.resources[%u].weight", i, 1);
        if (name == 0)
            return "scoringStrategy.resources: name: Required value";
        if (weight < 0 || weight > 100)
            return "scoringStrategy.resources: weight: Invalid value: not in valid range [1, 100]";
        args->resources[i].resource = host->resource(host->core, host->text(host->core, name));
        args->resources[i].weight = weight == 0 ? 1 : (int64_t)weight;
    }
    if (args->resources_n == 0) {
        args->resources_n = 2;
        args->resources[0].resource = KB_POLICY_CPU;
        args->resources[1].resource = KB_POLICY_MEMORY;
        args->resources[0].weight = args->resources[1].weight = 1;
        args->plain = args->strategy == LEAST;
    }
    return NULL;
}

static const char *read_shape(const struct kb_policy_host *host, const char *json,
                              struct args *args)
{
    const char *const list = "scoringStrategy.requestedToCapacityRatio.shape";
    args->points_n = args->strategy == RATIO ? count_at(host, json, list, POINTS_MAX) : 0;
    if (args->strategy == RATIO && args->points_n == 0)
        return "scoringStrategy.requestedToCapacityRatio.shape: Required value: at least one point";
    for (uint32_t i = 0; i < args->points_n; i++) {
        double at = number_at(
            host, json, "scoringStrategy.requestedToCapacityRatio.shape[%u].utilization", i, 0);
        double score =
            number_at(host, json, "scoringStrategy.requestedToCapacityRatio.shape[%u].score", i, 0);
        if (at < 0 || at > 100 || score < 0 || score > 10)
            return "scoringStrategy.requestedToCapacityRatio.shape: Invalid value: utilization is "
                   "in 0-100, score in 0-10";
        if (i > 0 && at <= (double)args->points[i - 1].utilization)
            return "scoringStrategy.requestedToCapacityRatio.shape: Invalid value: utilization "
                   "values must be sorted in increasing order";
        args->points[i].utilization = (int64_t)at;
        args->points[i].score = (int64_t)score * (KB_POLICY_SCORE_MAX / 10);
    }
    return NULL;
}

static int configure(const struct kb_policy_host *host, const char *json, void **ret_instance,
                     char *error, size_t error_bytes)
{
    struct args *args = calloc(1, sizeof(*args));
    if (args == NULL)
        abort();
    args->ignored_n = count_at(host, json, "ignoredResources", IGNORED_MAX);
    args->groups_n = count_at(host, json, "ignoredResourceGroups", IGNORED_MAX);
    for (uint32_t i = 0; i < args->ignored_n; i++)
        args->ignored[i] = text_at(host, json, "ignoredResources[%u]", i);
    for (uint32_t i = 0; i < args->groups_n; i++)
        args->groups[i] = text_at(host, json, "ignoredResourceGroups[%u]", i);
    const char *wrong = read_strategy(host, json, args);
    wrong = wrong ? wrong : read_shape(host, json, args);
    if (wrong != NULL) {
        snprintf(error, error_bytes, "%s", wrong);
        free(args);
        return -1;
    }
    *ret_instance = args;
    return 0;
}

KB_POLICY(NodeResourcesFit,
          .events = KB_POLICY_ON_NODE_ADD | KB_POLICY_ON_NODE_ALLOCATABLE | KB_POLICY_ON_POD_DELETE,
          .weight = 1, .configure = configure, .unload = free, .filter = filter, .reason = reason,
          .score = score);
