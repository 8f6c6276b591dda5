/* The two files that a cluster is found and started by: its plan, and a kubeconfig, which may be
 * anybody's. */
#include "actors/cli/kubeconfig.h"
#include "actors/kernel/plan.h"
#include "bus/base/check.h"
#include "tests/fuzz/fuzz.h"

static void plan_of(kb_str text)
{
    KB_AUTO(kb_plan_finish) struct kb_plan plan = {0};
    struct kb_err err = {0};
    if (kb_plan_parse(text, "/data", &plan, &err) < 0) {
        KB_ASSERT(err.code != 0);
        return;
    }
    KB_ASSERT(plan.cluster_id != NULL);
    for (size_t i = 0; i < plan.n; i++) {
        size_t n = 0;
        while (plan.actors[i].argv[n] != NULL)
            n++;
        KB_ASSERT(n >= 4 && strcmp(plan.actors[i].argv[n - 2], "--data") == 0);
        KB_ASSERT(kb_plan_find(&plan, plan.actors[i].name) != NULL);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    kb_str text = kb_str_n((const char *)data, n);
    KB_AUTO(kb_kubeconfig_finish) struct kb_kubeconfig config = {0};
    struct kb_err err = {0};
    if (kb_kubeconfig_parse(text, &config, &err) == 0) {
        KB_ASSERT(config.server != NULL && config.ns != NULL);
        KB_ASSERT(config.ca_file == NULL || config.ca.n == 0);
    }
    plan_of(text);
    return 0;
}
