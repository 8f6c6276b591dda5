/* What each extension point costs a decision: a profile that only sorts, and the same with one
 * policy more that does next to nothing at one point. Pods of one kind, each placed before the next
 * one is decided; on 1,000 and on 10,000 nodes. */
#include "actors/scheduler/core/lifecycle.h"
#include "bench/measure.h"
#include "bus/base/check.h"
#include "bus/model/json.h"

#include <stdio.h>
#include <stdlib.h>

enum { PODS = 20000, ROUNDS = 3 };

static enum kb_policy_status ok(struct kb_policy_cycle *c)
{
    (void)c;
    return KB_POLICY_OK;
}

static void filter(struct kb_policy_cycle *c, uint32_t from, uint32_t to, uint32_t *verdict)
{
    for (uint32_t i = from; i < to; i++)
        verdict[i - from] = c->nodes->unschedulable[i];
}

static void reason(struct kb_policy_cycle *c, uint32_t code, kb_policy_emit *emit, void *to)
{
    (void)c, (void)code;
    emit(to, "never");
}

static void score(struct kb_policy_cycle *c, uint32_t from, uint32_t to, int64_t *score_out)
{
    for (uint32_t i = from; i < to; i++)
        score_out[i - from] = c->nodes->requested[KB_POLICY_PODS][i] & 63;
}

static void normalize(struct kb_policy_cycle *c, const uint8_t *fits, int64_t *score_)
{
    for (uint32_t i = 0; i < c->nodes->count; i++)
        score_[i] = fits[i] ? score_[i] : 0;
}

static enum kb_policy_status at_node(struct kb_policy_cycle *c, uint32_t node)
{
    (void)c, (void)node;
    return KB_POLICY_OK;
}

static enum kb_policy_status permit(struct kb_policy_cycle *c, uint32_t node, int64_t *wait_ms)
{
    (void)c, (void)node, (void)wait_ms;
    return KB_POLICY_OK;
}

#define BENCH(id, what_, ...)                                                                      \
    static const struct kb_policy id = {                                                           \
        .abi = KB_POLICY_ABI, .size = sizeof(id), .name = what_, __VA_ARGS__}

BENCH(nothing, "(none)", .flags = 0);
BENCH(prepares, "preFilter, preScore", .pre_filter = ok, .pre_score = ok);
BENCH(filters, "filter", .filter = filter, .reason = reason);
BENCH(scores, "score", .score = score);
BENCH(scores_max, "score, normalized by the host", .score = score,
      .normalize_by = KB_POLICY_BY_MAX);
BENCH(normalizes, "score, own normalize", .score = score, .normalize_by = KB_POLICY_CUSTOM,
      .normalize = normalize);
BENCH(global_filter, "filter, GLOBAL", .flags = KB_POLICY_GLOBAL, .filter = filter,
      .reason = reason);
BENCH(global_score, "score, GLOBAL", .flags = KB_POLICY_GLOBAL, .score = score);
BENCH(reserves, "reserve, permit, preBind", .reserve = at_node, .permit = permit,
      .pre_bind = at_node);

static struct kb_doc *json(const char *text)
{
    struct kb_doc *doc = NULL;
    KB_ASSERT(kb_json_doc(kb_str_of(text), &doc, NULL) == 0);
    return doc;
}

static struct kb_core *cluster(uint32_t nodes, const struct kb_policy *policy)
{
    struct kb_core *core = kb_sched_core_new(42);
    struct kb_profile_entry entries[] = {{.policy = kb_policy_builtin("PrioritySort")},
                                         {.policy = policy}};
    struct kb_err err = {0};
    uint32_t profile;
    KB_AUTO(kb_doc_destroy)
    struct kb_doc *doc = json("{\"status\":{\"allocatable\":{\"cpu\":\"32\",\"pods\":\"110\"}}}");
    KB_ASSERT(kb_core_add_profile(core, "bench", entries, 2, &profile, &err) == 0);
    for (uint32_t i = 0; i < nodes; i++) {
        char name[32];
        snprintf(name, sizeof(name), "node-%u", i);
        kb_core_node_put(core, kb_str_of(name), kb_doc_root(doc));
    }
    return core;
}

/* Nanoseconds a pod. */
static double measure(uint32_t nodes, const struct kb_policy *policy)
{
    struct kb_core *core = cluster(nodes, policy);
    struct kb_core_pod *pods = calloc(PODS, sizeof(*pods));
    KB_AUTO(kb_doc_destroy)
    struct kb_doc *doc = json("{\"spec\":{\"containers\":[{}]}}");
    struct kb_podspec *spec = kb_core_spec(core, kb_doc_root(doc), 0, false);
    KB_ASSERT(pods != NULL);
    double start = bench_seconds();
    for (uint32_t i = 0; i < PODS; i++) {
        struct kb_waiting w = {.spec = spec, .q = {.size = sizeof(w.q), .pod = &spec->pod}};
        uint32_t slot;
        KB_ASSERT(kb_core_decide(core, spec, &slot));
        kb_core_place(core, &pods[i], spec, slot, 0);
        KB_ASSERT(kb_cycle_begin(core, &w, slot, 0, NULL) == KB_POLICY_OK);
        KB_ASSERT(kb_cycle_prepare(core, &w.cycle, 0) == KB_POLICY_OK);
        kb_cycle_end(core, &w.cycle);
    }
    double took = bench_seconds() - start;
    for (uint32_t i = 0; i < PODS; i++)
        kb_core_lift(core, &pods[i]);
    kb_core_spec_release(core, &spec);
    kb_sched_core_destroy(&core);
    free(pods);
    return took / PODS * 1e9;
}

int main(void)
{
    static const struct kb_policy *const all[] = {&nothing,       &prepares,     &filters,
                                                  &scores,        &scores_max,   &normalizes,
                                                  &global_filter, &global_score, &reserves};
    static const uint32_t sizes[] = {1000, 10000};
    double base[2] = {0};
    for (size_t i = 0; i < KB_COUNT(all); i++) {
        for (size_t k = 0; k < KB_COUNT(sizes); k++) {
            double best = 1e18;
            for (int round = 0; round < ROUNDS; round++) {
                double ns = measure(sizes[k], all[i]);
                best = ns < best ? ns : best;
            }
            base[k] = i == 0 ? best : base[k];
            printf("{\"bench\":\"points\",\"point\":\"%s\",\"nodes\":%u,\"ns\":%.0f,\"more_ns\":"
                   "%.0f}\n",
                   all[i]->name, sizes[k], best, best - base[k]);
        }
    }
    return 0;
}
