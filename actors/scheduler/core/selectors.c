#include "actors/scheduler/core/selectors.h"

#include <stdlib.h>

static struct kb_policy_requirement requirement(struct kb_arena *a, struct kb_intern *in, kb_val v)
{
    struct kb_policy_requirement r = {.op = kb_op_of(kb_val_str(kb_val_get(v, "operator")))};
    kb_val values = kb_val_get(v, "values");
    r.invalid = r.op > KB_OP_DOES_NOT_EXIST;
    r.key = kb_intern_id(in, kb_val_str(kb_val_get(v, "key")));
    uint32_t *ids = kb_arena_alloc(a, (kb_val_count(values) + 1) * sizeof(*ids));
    for (struct kb_iter it = kb_iter(values); kb_iter_next(&it);)
        ids[r.values_n++] = kb_intern_id(in, kb_val_str(it.val));
    r.values = ids;
    return r;
}

void kb__selector_add(struct kb_arena *a, struct kb_policy_selector *s, uint32_t key,
                      enum kb_policy_op op, uint32_t value)
{
    uint32_t *values = kb_arena_alloc(a, sizeof(*values));
    struct kb_policy_requirement *all = (void *)(uintptr_t)s->all; /* ours: see the callers */
    *values = value;
    all[s->all_n++] =
        (struct kb_policy_requirement){.key = key, .op = op, .values_n = 1, .values = values};
}

struct kb_policy_selector kb__selector_of(struct kb_arena *a, struct kb_intern *in, kb_val v,
                                          uint32_t more)
{
    kb_val labels = kb_val_get(v, "matchLabels"), expressions = kb_val_get(v, "matchExpressions");
    size_t most = kb_val_count(labels) + kb_val_count(expressions) + more;
    struct kb_policy_requirement *all = kb_arena_alloc(a, (most + 1) * sizeof(*all));
    struct kb_policy_selector s = {.none = !kb_val_present(v), .all = all};
    for (struct kb_iter it = kb_iter(labels); kb_iter_next(&it);)
        kb__selector_add(a, &s, kb_intern_id(in, it.key), KB_POLICY_IN,
                         kb_intern_id(in, kb_val_str(it.val)));
    for (struct kb_iter it = kb_iter(expressions); kb_iter_next(&it);)
        all[s.all_n++] = requirement(a, in, it.val);
    return s;
}

struct kb_policy_selector kb__selector_of_map(struct kb_arena *a, struct kb_intern *in, kb_val v)
{
    struct kb_policy_selector s = {
        .all = kb_arena_alloc(a, (kb_val_count(v) + 1) * sizeof(struct kb_policy_requirement))};
    for (struct kb_iter it = kb_iter(v); kb_iter_next(&it);)
        kb__selector_add(a, &s, kb_intern_id(in, it.key), KB_POLICY_IN,
                         kb_intern_id(in, kb_val_str(it.val)));
    return s;
}

static int by_key(const void *a, const void *b)
{
    const struct kb_policy_label *x = a, *y = b;
    return x->key < y->key ? -1 : x->key > y->key;
}

const struct kb_policy_label *kb__labels_of(struct kb_arena *a, struct kb_intern *in, kb_val v,
                                            uint32_t *ret_n)
{
    struct kb_policy_label *all = kb_arena_alloc(a, (kb_val_count(v) + 1) * sizeof(*all));
    uint32_t n = 0;
    for (struct kb_iter it = kb_iter(v); kb_iter_next(&it);)
        all[n++] = (struct kb_policy_label){kb_intern_id(in, it.key),
                                            kb_intern_id(in, kb_val_str(it.val))};
    qsort(all, n, sizeof(*all), by_key);
    *ret_n = n;
    return all;
}
