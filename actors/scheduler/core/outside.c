#include "actors/scheduler/core/outside.h"

#include "bus/base/check.h"

#include <stdlib.h>

enum { REASONS_MAX = 1000 };

enum state { NOTHING, WANTED, ASKED, ANSWERED };

struct kb_outside {
    struct kb_link link;
    struct kb_podspec *spec;
    enum state state;
    char *service;
    int64_t timeout_ms;
    bool optional;
    uint32_t pods, left; /* decisions that an answer serves, and that this one still does */
    uint32_t labels_n, *labels;
    uint64_t id, nodes; /* of the question; the version of the nodes when it was asked */
    uint32_t *slots, slots_n;
    uint32_t *verdict;
    int64_t *score;
    struct kb_arena arena; /* of the reasons */
    struct kb_policy_outside view;
};

void kb_outsides_init(struct kb_outsides *o)
{
    kb_list_init(&o->all);
}

void kb_outside_forget(struct kb_podspec *spec)
{
    struct kb_outside *one = KB_STEAL(spec->outside);
    if (one == NULL)
        return;
    kb_list_remove(&one->link);
    kb_arena_finish(&one->arena);
    free(one->service);
    free(one->labels);
    free(one->slots);
    free(one->verdict);
    free(one->score);
    free(one);
}

void kb_outsides_clear(struct kb_outsides *o)
{
    while (!kb_list_empty(&o->all))
        kb_outside_forget(KB_CONTAINER(o->all.next, struct kb_outside, link)->spec);
}

void kb_outsides_finish(struct kb_outsides *o)
{
    kb_outsides_clear(o);
}

/* ---- asking ---- */

static struct kb_outside *make(struct kb_outsides *o, struct kb_podspec *spec,
                               const struct kb_policy_want *want)
{
    struct kb_outside *one = calloc(1, sizeof(*one));
    KB_ASSERT(one != NULL);
    one->spec = spec;
    one->service = kb_str_dup(kb_str_of(want->service));
    one->timeout_ms = want->timeout_ms;
    one->optional = want->optional;
    one->pods = want->pods ? want->pods : 1;
    one->labels_n = want->labels_n;
    one->labels = calloc(want->labels_n + 1, sizeof(*one->labels));
    KB_ASSERT(one->labels != NULL);
    for (uint32_t i = 0; i < want->labels_n; i++)
        one->labels[i] = want->labels[i];
    one->view.size = sizeof(one->view);
    kb_list_push(&o->all, &one->link);
    spec->outside = one;
    return one;
}

const struct kb_policy_outside *kb_outside_get(struct kb_outsides *o, struct kb_columns *columns,
                                               struct kb_podspec *spec,
                                               const struct kb_policy_want *want)
{
    struct kb_outside *one = spec->outside ? spec->outside : make(o, spec, want);
    bool current = one->nodes == columns->pods.versions.nodes && one->left > 0;
    if (one->state == ANSWERED && current)
        return &one->view;
    if (one->state != ASKED)
        one->state = WANTED;
    return NULL;
}

bool kb_outside_waits(const struct kb_podspec *spec)
{
    return spec->outside && (spec->outside->state == WANTED || spec->outside->state == ASKED);
}

void kb_outside_used(struct kb_podspec *spec)
{
    if (spec->outside && spec->outside->left > 0)
        spec->outside->left--;
}

/* ---- the question ---- */

static const char *text(const struct kb_columns *c, uint32_t id)
{
    return kb_intern_text(c->intern, id);
}

static void write_pod(const struct kb_columns *c, const struct kb_policy_pod *pod, struct kb_w *w)
{
    kb_w_kmap(w, "pod");
    kb_w_kcstr(w, "namespace", text(c, pod->ns));
    kb_w_kmap(w, "labels");
    for (uint32_t i = 0; i < pod->labels_n; i++)
        kb_w_kcstr(w, text(c, pod->labels[i].key), text(c, pod->labels[i].value));
    kb_w_end(w);
    kb_w_kmap(w, "requests");
    for (uint32_t i = 0; i < pod->requests_n; i++)
        kb_w_kint(w, text(c, c->resource_name[pod->requests[i].resource]), pod->requests[i].amount);
    kb_w_end(w);
    kb_w_end(w);
}

static void write_amounts(const struct kb_columns *c, const struct kb_outside *one,
                          const char *name, const int64_t *const *amounts, struct kb_w *w)
{
    kb_w_kmap(w, name);
    for (uint32_t r = 0; r < c->view.resources; r++) {
        kb_w_karray(w, text(c, c->resource_name[r]));
        for (uint32_t i = 0; i < one->slots_n; i++)
            kb_w_int(w, amounts[r][one->slots[i]]);
        kb_w_end(w);
    }
    kb_w_end(w);
}

static void write_labels(struct kb_columns *c, const struct kb_outside *one, struct kb_w *w)
{
    kb_w_kmap(w, "labels");
    for (uint32_t k = 0; k < one->labels_n; k++) {
        const uint32_t *column = kb_columns_label(c, one->labels[k]);
        kb_w_karray(w, text(c, one->labels[k]));
        for (uint32_t i = 0; i < one->slots_n; i++)
            kb_w_cstr(w, text(c, column[one->slots[i]]));
        kb_w_end(w);
    }
    kb_w_end(w);
}

static void write_nodes(struct kb_columns *c, const struct kb_outside *one, struct kb_w *w)
{
    kb_w_kmap(w, "nodes");
    kb_w_karray(w, "name");
    for (uint32_t i = 0; i < one->slots_n; i++)
        kb_w_cstr(w, text(c, c->view.name[one->slots[i]]));
    kb_w_end(w);
    write_amounts(c, one, "allocatable", c->view.allocatable, w);
    write_amounts(c, one, "requested", c->view.requested, w);
    write_labels(c, one, w);
    kb_w_end(w);
}

static void note_slots(const struct kb_columns *c, struct kb_outside *one)
{
    one->slots = realloc(one->slots, (c->view.count + 1) * sizeof(*one->slots));
    KB_ASSERT(one->slots != NULL);
    one->slots_n = 0;
    for (uint32_t slot = 0; slot < c->view.count; slot++)
        if (c->view.present[slot])
            one->slots[one->slots_n++] = slot;
}

bool kb_outsides_next(struct kb_outsides *o, struct kb_columns *c, struct kb_outside_ask *ret)
{
    KB_LIST_EACH(it, &o->all)
    {
        struct kb_outside *one = KB_CONTAINER(it, struct kb_outside, link);
        if (one->state != WANTED)
            continue;
        KB_AUTO(kb_w_finish) struct kb_w w = {0};
        one->state = ASKED;
        one->id = ++o->ids;
        one->nodes = c->pods.versions.nodes;
        note_slots(c, one);
        kb_w_map(&w);
        kb_w_kint(&w, "pods", one->pods);
        write_pod(c, &one->spec->pod, &w);
        write_nodes(c, one, &w);
        kb_w_end(&w);
        *ret = (struct kb_outside_ask){one->service, one->id, one->timeout_ms, kb_w_doc(&w)};
        return true;
    }
    return false;
}

/* ---- the answer ---- */

static int take_verdicts(struct kb_outside *one, kb_val list, uint32_t reasons, struct kb_err *err)
{
    uint32_t i = 0;
    for (struct kb_iter it = kb_iter(list); kb_iter_next(&it); i++) {
        int64_t code = kb_val_int(it.val, -1);
        if (i >= one->slots_n || code < 0 || code > reasons)
            return kb_err_set(err, KB_EINVAL, "filter[%u] is nonsense", i);
        one->verdict[one->slots[i]] = (uint32_t)code;
    }
    return i == one->slots_n
               ? 0
               : kb_err_set(err, KB_EINVAL, "filter has %u numbers for %u nodes", i, one->slots_n);
}

static int take_scores(struct kb_outside *one, kb_val list, struct kb_err *err)
{
    uint32_t i = 0;
    for (struct kb_iter it = kb_iter(list); kb_iter_next(&it); i++) {
        double score = kb_val_double(it.val, -1);
        if (i >= one->slots_n || !(score >= 0 && score <= KB_POLICY_SCORE_MAX))
            return kb_err_set(err, KB_EINVAL, "score[%u] is not in 0 … 100", i);
        one->score[one->slots[i]] = (int64_t)score;
    }
    return i == one->slots_n
               ? 0
               : kb_err_set(err, KB_EINVAL, "score has %u numbers for %u nodes", i, one->slots_n);
}

static void take_reasons(struct kb_outside *one, kb_val list)
{
    kb_arena_reset(&one->arena);
    size_t n = kb_val_count(list);
    n = n < REASONS_MAX ? n : REASONS_MAX;
    const char **reasons = kb_arena_alloc(&one->arena, (n + 1) * sizeof(*reasons));
    one->view.reasons = reasons;
    one->view.reasons_n = 0;
    for (struct kb_iter it = kb_iter(list); one->view.reasons_n < n && kb_iter_next(&it);)
        reasons[one->view.reasons_n++] = kb_arena_str(&one->arena, kb_val_str(it.val)).p;
}

static void *column(void *old, uint32_t count, size_t bytes)
{
    free(old);
    void *fresh = calloc(count + 1, bytes);
    KB_ASSERT(fresh != NULL);
    return fresh;
}

static int take(struct kb_outside *one, uint32_t count, kb_val answer, struct kb_err *err)
{
    kb_val filter = kb_val_get(answer, "filter"), score = kb_val_get(answer, "score");
    int rc = 0;
    one->verdict = column(one->verdict, count, sizeof(*one->verdict));
    one->score = column(one->score, count, sizeof(*one->score));
    take_reasons(one, kb_val_get(answer, "reasons"));
    if (kb_val_present(filter))
        rc = take_verdicts(one, filter, one->view.reasons_n ? one->view.reasons_n : 1, err);
    if (rc == 0 && kb_val_present(score))
        rc = take_scores(one, score, err);
    one->view.count = count;
    one->view.verdict = kb_val_present(filter) ? one->verdict : NULL;
    one->view.score = kb_val_present(score) ? one->score : NULL;
    return rc;
}

struct kb_podspec *kb_outsides_answer(struct kb_outsides *o, struct kb_columns *c, uint64_t id,
                                      kb_val answer, int *ret_rc, struct kb_err *err)
{
    KB_LIST_EACH(it, &o->all)
    {
        struct kb_outside *one = KB_CONTAINER(it, struct kb_outside, link);
        if (one->state != ASKED || one->id != id)
            continue;
        int rc = kb_val_type(answer) == KB_MAP ? take(one, c->view.count, answer, err)
                                               : -(err->code ? err->code : KB_EINVAL);
        if (rc < 0 && one->optional) {
            one->view.verdict = NULL;
            one->view.score = NULL;
            one->view.count = c->view.count;
            rc = 0;
        }
        one->state = rc < 0 ? NOTHING : ANSWERED;
        one->left = rc < 0 ? 0 : one->pods;
        one->view.version = id;
        if (rc < 0)
            kb_err_wrap(err, "policy service %s", one->service);
        *ret_rc = rc;
        return one->spec;
    }
    return NULL;
}
