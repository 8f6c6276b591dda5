#include "tests/lib/policy.h"

#include "actors/scheduler/core/preempt.h"
#include "bus/base/check.h"
#include "bus/model/json.h"

#include <stdio.h>
#include <stdlib.h>

struct ptest_pod {
    struct kb_link link;
    struct kb_core_pod pod;
};

struct kb_ptest {
    struct kb_core *core;
    struct kb_link pods;
    struct kb_buf text;
};

struct kb_doc *kb_ptest_json(const char *json)
{
    struct kb_err err = {0};
    struct kb_doc *doc = NULL;
    char *text = kb_str_dup(kb_str_of(json));
    for (char *c = text; *c; c++)
        *c = *c == '\'' ? '"' : *c;
    if (kb_json_doc(kb_str_of(text), &doc, &err) < 0) {
        fprintf(stderr, "%s: %s\n", err.text, text);
        abort();
    }
    free(text);
    return doc;
}

struct kb_ptest *kb_ptest_new(const struct kb_profile_entry *entries, size_t n)
{
    struct kb_ptest *t = calloc(1, sizeof(*t));
    struct kb_profile_entry all[KB_PROFILE_POLICIES];
    struct kb_err err = {0};
    uint32_t profile;
    bool sorts = false, preempts = false;
    KB_ASSERT(t != NULL && n + 3 <= KB_PROFILE_POLICIES);
    t->core = kb_sched_core_new(1);
    kb_list_init(&t->pods);
    for (size_t i = 0; i < n; i++) {
        all[i] = entries[i];
        sorts |= entries[i].policy->queue_sort != NULL;
        preempts |= entries[i].policy->post_filter != NULL;
    }
    if (!sorts) {
        all[n++] = (struct kb_profile_entry){.policy = kb_policy_builtin("SchedulingGates")};
        all[n++] = (struct kb_profile_entry){.policy = kb_policy_builtin("PrioritySort")};
    }
    if (!preempts)
        all[n++] = (struct kb_profile_entry){.policy = kb_policy_builtin("DefaultPreemption")};
    if (kb_core_add_profile(t->core, "default-scheduler", all, n, &profile, &err) < 0) {
        fprintf(stderr, "%s\n", err.text);
        abort();
    }
    return t;
}

void kb_ptest_destroy(struct kb_ptest **t_p)
{
    struct kb_ptest *t = *t_p;
    if (t == NULL)
        return;
    KB_LIST_EACH_SAFE(it, &t->pods)
    {
        struct ptest_pod *p = KB_CONTAINER(it, struct ptest_pod, link);
        kb_core_lift(t->core, &p->pod);
        free(p);
    }
    kb_sched_core_destroy(&t->core);
    kb_buf_finish(&t->text);
    free(t);
    *t_p = NULL;
}

struct kb_core *kb_ptest_core(struct kb_ptest *t)
{
    return t->core;
}

void kb_ptest_node(struct kb_ptest *t, const char *name, const char *json)
{
    KB_AUTO(kb_doc_destroy) struct kb_doc *doc = kb_ptest_json(json);
    kb_core_node_put(t->core, kb_str_of(name), kb_doc_root(doc));
}

void kb_ptest_node_gone(struct kb_ptest *t, const char *name)
{
    kb_core_node_del(t->core, kb_str_of(name));
}

void kb_ptest_object(struct kb_ptest *t, const char *resource, const char *ns, const char *name,
                     const char *json)
{
    KB_AUTO(kb_doc_destroy) struct kb_doc *doc = json ? kb_ptest_json(json) : NULL;
    kb_core_object_put(t->core, kb_str_of(resource), kb_str_of(ns), kb_str_of(name),
                       kb_doc_root(doc));
}

static struct kb_podspec *spec_of(struct kb_ptest *t, const char *json)
{
    KB_AUTO(kb_doc_destroy) struct kb_doc *doc = kb_ptest_json(json);
    return kb_core_spec(t->core, kb_doc_root(doc), 0, true);
}

static void put_on(struct kb_ptest *t, uint32_t slot, struct kb_podspec *spec, const char *json)
{
    KB_AUTO(kb_doc_destroy) struct kb_doc *doc = kb_ptest_json(json);
    struct ptest_pod *p = calloc(1, sizeof(*p));
    KB_ASSERT(p != NULL);
    kb_list_push(&t->pods, &p->link);
    p->pod.gpus = kb_gpu_index_of(kb_doc_root(doc));
    if (p->pod.gpus == 0)
        p->pod.gpus = kb_core_assign(t->core, spec, slot);
    kb_core_place(t->core, &p->pod, spec, slot,
                  (int32_t)kb_val_int_at(kb_doc_root(doc), "spec.priority", 0));
}

void kb_ptest_pod(struct kb_ptest *t, const char *node, const char *json)
{
    struct kb_podspec *spec = spec_of(t, json);
    put_on(t, kb_core_slot(t->core, kb_str_of(node)), spec, json);
    kb_core_spec_release(t->core, &spec);
}

/* The entry of a node in what `explain` says. */
static struct kb_doc *explain(struct kb_ptest *t, const char *node, const char *pod, kb_val *ret)
{
    struct kb_podspec *spec = spec_of(t, pod);
    struct kb_w w = {0};
    kb_core_explain(t->core, spec, &w);
    kb_core_spec_release(t->core, &spec);
    struct kb_doc *doc = kb_w_doc(&w);
    kb_w_finish(&w);
    *ret = (kb_val){0};
    for (struct kb_iter it = kb_iter(kb_doc_at(doc, "nodes")); kb_iter_next(&it);)
        if (kb_str_is(kb_val_str(kb_val_get(it.val, "name")), node))
            *ret = it.val;
    KB_ASSERT(ret->p != NULL);
    return doc;
}

const char *kb_ptest_why(struct kb_ptest *t, const char *node, const char *pod)
{
    kb_val entry;
    KB_AUTO(kb_doc_destroy) struct kb_doc *doc = explain(t, node, pod, &entry);
    kb_buf_clear(&t->text);
    kb_buf_puts(&t->text, "");
    for (struct kb_iter it = kb_iter(kb_val_get(entry, "reasons")); kb_iter_next(&it);) {
        kb_buf_puts(&t->text, t->text.n ? "; " : "");
        kb_buf_add_str(&t->text, kb_val_str(it.val));
    }
    return t->text.p;
}

int64_t kb_ptest_score(struct kb_ptest *t, const char *policy, const char *node, const char *pod)
{
    kb_val entry;
    KB_AUTO(kb_doc_destroy) struct kb_doc *doc = explain(t, node, pod, &entry);
    return kb_val_int(kb_val_get(kb_val_get(entry, "scores"), policy), INT64_MIN);
}

const char *kb_ptest_place(struct kb_ptest *t, const char *pod)
{
    KB_AUTO(kb_doc_destroy) struct kb_doc *doc = kb_ptest_json(pod);
    struct kb_podspec *spec = spec_of(t, pod);
    uint32_t slot;
    kb_buf_clear(&t->text);
    if (kb_core_decide(t->core, spec, &slot)) {
        kb_buf_puts(&t->text, kb_core_node_name(t->core, slot));
        put_on(t, slot, spec, pod);
    } else {
        kb_val root = kb_doc_root(doc);
        struct kb_policy_queued who = {
            .size = sizeof(who),
            .pod = &spec->pod,
            .priority = (int32_t)kb_val_int_at(root, "spec.priority", 0),
            .never_preempts = kb_str_is(kb_val_str_at(root, "spec.preemptionPolicy"), "Never")};
        struct kb_preemption p = {0};
        kb_core_diagnose(t->core, spec, &t->text);
        kb_core_post_filter(t->core, spec, &who, NULL, &p);
        if (p.text.n > 0)
            kb_buf_printf(&t->text, " %s", p.text.p);
        kb_preemption_finish(&p);
    }
    kb_core_spec_release(t->core, &spec);
    return t->text.p;
}
