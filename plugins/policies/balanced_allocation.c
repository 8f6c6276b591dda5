/* NodeResourcesBalancedAllocation: prefer the node where the shares of its resources in use would
 * be most alike; of CPU and memory, unless the arguments name others. */
#include <kubus/policy.h>

#include <math.h>
#include <stdio.h>

enum { RESOURCES_MAX = 16 };

struct args {
    uint32_t n;
    uint32_t resources[RESOURCES_MAX];
};

/* That each pod is one of the node's "pods" is no request of its own. */
static int64_t amount_of(const struct kb_policy_pod *pod, uint32_t resource)
{
    return resource == KB_POLICY_PODS ? 0 : kb_policy_requested(pod, resource);
}

/* Pods that request none of them would otherwise all go to the one node that is balanced best. */
static enum kb_policy_status pre_score(struct kb_policy_cycle *c)
{
    const struct args *args = c->instance;
    for (uint32_t k = 0; k < args->n; k++)
        if (amount_of(c->pod, args->resources[k]) != 0)
            return KB_POLICY_OK;
    return KB_POLICY_SKIP;
}

static double share(int64_t requested, int64_t allocatable)
{
    double fraction = (double)requested / (double)allocatable;
    return fraction > 1 ? 1 : fraction;
}

/* The standard deviation; of two values it is half their distance. */
static double deviation(const double *shares, uint32_t n)
{
    double sum = 0, squares = 0;
    if (n < 2)
        return 0;
    if (n == 2)
        return fabs((shares[0] - shares[1]) / 2);
    for (uint32_t i = 0; i < n; i++)
        sum += shares[i];
    for (uint32_t i = 0; i < n; i++)
        squares += (shares[i] - sum / n) * (shares[i] - sum / n);
    return sqrt(squares / n);
}

/* An extended resource counts for pods that ask for it. */
static void score(struct kb_policy_cycle *c, uint32_t from, uint32_t to, int64_t *score_out)
{
    const struct args *args = c->instance;
    const int64_t *allocatable[RESOURCES_MAX], *used[RESOURCES_MAX];
    int64_t more[RESOURCES_MAX];
    uint32_t n = 0;
    for (uint32_t k = 0; k < args->n; k++) {
        uint32_t resource = args->resources[k];
        more[n] = amount_of(c->pod, resource);
        if (resource == KB_POLICY_PODS || (more[n] == 0 && resource >= KB_POLICY_RESOURCES))
            continue;
        allocatable[n] = c->nodes->allocatable[resource];
        used[n++] = c->nodes->requested[resource];
    }
    for (uint32_t i = from; i < to; i++) {
        double shares[RESOURCES_MAX];
        uint32_t shares_n = 0;
        for (uint32_t k = 0; k < n; k++)
            if (allocatable[k][i] != 0)
                shares[shares_n++] = share(used[k][i] + more[k], allocatable[k][i]);
        score_out[i - from] = (int64_t)((1 - deviation(shares, shares_n)) * KB_POLICY_SCORE_MAX);
    }
}

static int configure(const struct kb_policy_host *host, const char *json, void **ret_instance,
                     char *error, size_t error_bytes)
{
    struct args *args = calloc(1, sizeof(*args));
    struct kb_policy_arg list, arg;
    if (args == NULL)
        abort();
    host->arg(host->core, json, "resources", &list);
    for (uint32_t i = 0; i < list.n && i < RESOURCES_MAX; i++) {
        char path[64];
        snprintf(path, sizeof(path), "resources[%u].name", i);
        if (!host->arg(host->core, json, path, &arg) || arg.kind != KB_POLICY_ARG_TEXT) {
            snprintf(error, error_bytes, "resources: name: Required value");
            free(args);
            return -1;
        }
        args->resources[args->n++] = host->resource(host->core, host->text(host->core, arg.text));
    }
    if (args->n == 0) {
        args->n = 2;
        args->resources[0] = KB_POLICY_CPU;
        args->resources[1] = KB_POLICY_MEMORY;
    }
    *ret_instance = args;
    return 0;
}

KB_POLICY(NodeResourcesBalancedAllocation, .weight = 1, .configure = configure, .unload = free,
          .pre_score = pre_score, .score = score);
