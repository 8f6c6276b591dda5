/* NodeResourcesFit: what the pod requests must be free on the node; of those that fit, the least
 * allocated is best. Least-allocated counts 100m and 200Mi for containers without requests, so that
 * pods which state none are spread as well. */
#include <kubus/policy.h>

#include <stdio.h>
#include <string.h>

/* A verdict's code has a bit for each request that is not free; the last one stands for all
 * further ones. */
enum { LAST_BIT = 21 };

static void filter(struct kb_policy_cycle *c, uint32_t from, uint32_t to, uint32_t *verdict)
{
    uint32_t n = to - from;
    memset(verdict, 0, n * sizeof(*verdict));
    for (uint32_t k = 0; k < c->pod->requests_n; k++) {
        const struct kb_policy_request *want = &c->pod->requests[k];
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

static int64_t least(int64_t allocatable, int64_t requested)
{
    return requested > allocatable ? 0
                                   : (allocatable - requested) * KB_POLICY_SCORE_MAX / allocatable;
}

static void score(struct kb_policy_cycle *c, uint32_t from, uint32_t to, int64_t *score_out)
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

KB_POLICY(NodeResourcesFit,
          .events = KB_POLICY_ON_NODE_ADD | KB_POLICY_ON_NODE_ALLOCATABLE | KB_POLICY_ON_POD_DELETE,
          .weight = 1, .filter = filter, .reason = reason, .score = score);
