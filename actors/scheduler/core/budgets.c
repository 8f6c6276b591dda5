#include "actors/scheduler/core/budgets.h"

#include "actors/scheduler/core/selectors.h"
#include "bus/base/check.h"

#include <stdlib.h>

struct kb_budget {
    uint32_t ns;
    int64_t allowed;
    struct kb_policy_selector selector;
    uint32_t disrupted_n;
    kb_str *disrupted; /* names of pods */
    struct kb_arena arena;
};

static void destroy(struct kb_budget *b)
{
    if (b == NULL)
        return;
    kb_arena_finish(&b->arena);
    free(b);
}

void kb_budgets_finish(struct kb_budgets *b)
{
    struct kb_budget *it;
    for (size_t i = 0; kb_map_next(&b->all, &i, NULL, (void **)&it);)
        destroy(it);
    kb_map_finish(&b->all);
}

static struct kb_budget *read_budget(struct kb_intern *intern, kb_str ns, kb_val v)
{
    struct kb_budget *b = calloc(1, sizeof(*b));
    KB_ASSERT(b != NULL);
    kb_val selector = kb_val_get(kb_val_get(v, "spec"), "selector");
    kb_val status = kb_val_get(v, "status"), names = kb_val_get(status, "disruptedPods");
    b->ns = kb_intern_id(intern, ns);
    b->selector = kb__selector_of(&b->arena, intern, selector, 0);
    b->allowed = kb_val_int(kb_val_get(status, "disruptionsAllowed"), 0);
    b->disrupted = kb_arena_alloc(&b->arena, (kb_val_count(names) + 1) * sizeof(kb_str));
    for (struct kb_iter it = kb_iter(names); kb_iter_next(&it);)
        b->disrupted[b->disrupted_n++] = kb_arena_str(&b->arena, it.key);
    return b;
}

void kb_budgets_put(struct kb_budgets *b, struct kb_intern *intern, kb_str ns, kb_str name,
                    kb_val budget)
{
    KB_AUTO(kb_auto_free)
    char *key = kb_strf(KB_STR_FMT "/" KB_STR_FMT, KB_STR_ARG(ns), KB_STR_ARG(name));
    if (kb_val_present(budget))
        destroy(kb_map_put(&b->all, kb_str_of(key), read_budget(intern, ns, budget)));
    else
        destroy(kb_map_del(&b->all, kb_str_of(key)));
}

static bool was_admitted(const struct kb_budget *b, const char *key)
{
    const char *name = key ? strrchr(key, '/') : NULL;
    for (uint32_t i = 0; name != NULL && i < b->disrupted_n; i++)
        if (kb_str_is(b->disrupted[i], name + 1))
            return true;
    return false;
}

static bool protects(const struct kb_budget *b, const struct kb_policy_placed *view)
{
    const struct kb_core_pod *pod = KB_CONTAINER(view, const struct kb_core_pod, view);
    struct kb_pod_labels labels = {view->pod->labels_n, view->pod->labels};
    return b->ns == view->pod->ns && labels.n > 0 && !b->selector.none && b->selector.all_n > 0 &&
           kb_selector_holds(&b->selector, labels) && !was_admitted(b, pod->key);
}

void kb_budgets_violations(const struct kb_budgets *b, const struct kb_policy_placed *const *pods,
                           uint32_t n, bool *ret_violates)
{
    struct kb_budget *it;
    memset(ret_violates, 0, n * sizeof(*ret_violates));
    for (size_t i = 0; kb_map_next(&b->all, &i, NULL, (void **)&it);) {
        int64_t left = it->allowed;
        for (uint32_t k = 0; k < n; k++)
            if (protects(it, pods[k]) && --left < 0)
                ret_violates[k] = true;
    }
}
