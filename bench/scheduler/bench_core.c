/* Decisions a second in the core alone: plain pods of one template, and of many templates mixed, on
 * a number of nodes; pods of a service, which are spread by default; and pods with constraints.
 * Each decision is placed before the next one is made. */
#include "actors/scheduler/core/core.h"
#include "bench/measure.h"
#include "bus/base/check.h"
#include "bus/model/json.h"

#include <stdio.h>
#include <stdlib.h>

enum kind { PLAIN, SERVICE, CONSTRAINED };

static const char *const kinds[] = {"plain", "service", "constrained"};

struct row {
    uint32_t nodes, pods, templates;
    enum kind kind;
};

/* Evenly over zones, preferably over hosts, near their own in a zone, far from what is noisy. */
#define CONSTRAINTS                                                                                \
    ",\"topologySpreadConstraints\":["                                                             \
    "{\"maxSkew\":2,\"topologyKey\":\"topology.kubernetes.io/zone\","                              \
    "\"whenUnsatisfiable\":\"DoNotSchedule\",\"labelSelector\":{\"matchLabels\":{\"app\":\"a%u\"}" \
    "}},"                                                                                          \
    "{\"maxSkew\":1,\"topologyKey\":\"kubernetes.io/hostname\","                                   \
    "\"whenUnsatisfiable\":\"ScheduleAnyway\",\"labelSelector\":{\"matchLabels\":{\"app\":\"a%"    \
    "u\"}}}"                                                                                       \
    "],\"affinity\":{\"podAffinity\":{\"preferredDuringSchedulingIgnoredDuringExecution\":["       \
    "{\"weight\":10,\"podAffinityTerm\":{\"topologyKey\":\"topology.kubernetes.io/zone\","         \
    "\"labelSelector\":{\"matchLabels\":{\"app\":\"a%u\"}}}}]},\"podAntiAffinity\":{"              \
    "\"requiredDuringSchedulingIgnoredDuringExecution\":[{\"topologyKey\":"                        \
    "\"kubernetes.io/hostname\",\"labelSelector\":{\"matchLabels\":{\"app\":\"noisy\"}}}]}}"

static struct kb_doc *json(const char *text)
{
    struct kb_doc *doc = NULL;
    struct kb_err err = {0};
    KB_ASSERT(kb_json_doc(kb_str_of(text), &doc, &err) == 0);
    return doc;
}

static struct kb_core *cluster(uint32_t nodes)
{
    struct kb_core *core = kb_sched_core_new(42);
    struct kb_err err = {0};
    uint32_t profile;
    KB_ASSERT(kb_core_add_profile(core, "default-scheduler", kb_profile_default,
                                  kb_profile_default_n, &profile, &err) == 0);
    for (uint32_t i = 0; i < nodes; i++) {
        char text[512], name[32];
        snprintf(name, sizeof(name), "node-%u", i);
        snprintf(text, sizeof(text),
                 "{\"metadata\":{\"labels\":{\"kubernetes.io/hostname\":\"%s\","
                 "\"topology.kubernetes.io/zone\":\"z%u\"}},"
                 "\"status\":{\"allocatable\":{\"cpu\":\"32\",\"memory\":\"256Gi\","
                 "\"pods\":\"110\"}}}",
                 name, i % 10);
        KB_AUTO(kb_doc_destroy) struct kb_doc *doc = json(text);
        kb_core_node_put(core, kb_str_of(name), kb_doc_root(doc));
    }
    return core;
}

static struct kb_doc *template(enum kind kind, uint32_t t)
{
    char text[2048], constraints[1024] = "";
    if (kind == CONSTRAINED)
        snprintf(constraints, sizeof(constraints), CONSTRAINTS, t, t, t);
    snprintf(text, sizeof(text),
             "{\"metadata\":{\"namespace\":\"bench\",\"labels\":{\"app\":\"a%u\",\"tier\":"
             "\"web\"}},\"spec\":{\"containers\":[{\"resources\":{\"requests\":{\"cpu\":\"%um\","
             "\"memory\":\"%uMi\"}}}]%s}}",
             t, 10 + t, 16 + t, constraints);
    return json(text);
}

static void run(struct row row)
{
    struct kb_core *core = cluster(row.nodes);
    struct kb_doc **docs = calloc(row.templates, sizeof(struct kb_doc *));
    struct kb_core_pod *pods = calloc(row.pods, sizeof(*pods));
    KB_ASSERT(docs != NULL && pods != NULL);
    for (uint32_t t = 0; t < row.templates; t++)
        docs[t] = template(row.kind, t);
    if (row.kind == SERVICE) {
        KB_AUTO(kb_doc_destroy)
        struct kb_doc *service = json("{\"spec\":{\"selector\":{\"tier\":\"web\"}}}");
        kb_core_object_put(core, kb_str_of("services"), kb_str_of("bench"), kb_str_of("web"),
                           kb_doc_root(service));
    }
    double start = bench_seconds(), first = 0;
    uint32_t placed = 0;
    for (uint32_t i = 0; i < row.pods; i++) {
        struct kb_podspec *spec =
            kb_core_spec(core, kb_doc_root(docs[i % row.templates]), 0, false);
        uint32_t slot;
        if (kb_core_decide(core, spec, &slot)) {
            kb_core_place(core, &pods[i], spec, slot, 0);
            placed++;
        }
        kb_core_spec_release(core, &spec);
        first = i == 0 ? bench_seconds() - start : first;
    }
    double took = bench_seconds() - start;
    printf("{\"bench\":\"core\",\"kind\":\"%s\",\"nodes\":%u,\"pods\":%u,\"templates\":%u,"
           "\"placed\":%u,"
           "\"first_ms\":%.2f,\"per_second\":%.0f}\n",
           kinds[row.kind], row.nodes, row.pods, row.templates, placed, first * 1e3,
           row.pods / took);
    for (uint32_t i = 0; i < row.pods; i++)
        kb_core_lift(core, &pods[i]);
    for (uint32_t t = 0; t < row.templates; t++)
        kb_doc_destroy(&docs[t]);
    kb_sched_core_destroy(&core);
    free(docs);
    free(pods);
}

int main(void)
{
    static const struct row rows[] = {
        {1000, 100000, 1, PLAIN},       {1000, 100000, 20, PLAIN},
        {100000, 300000, 1, PLAIN},     {100000, 100000, 20, PLAIN},
        {1000000, 300000, 1, PLAIN},    {1000, 20000, 1, SERVICE},
        {1000, 20000, 20, SERVICE},     {1000, 20000, 1, CONSTRAINED},
        {1000, 20000, 20, CONSTRAINED}, {100000, 1000, 1, CONSTRAINED},
    };
    for (size_t i = 0; i < KB_COUNT(rows); i++)
        run(rows[i]);
    return 0;
}
