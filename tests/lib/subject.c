#include "tests/lib/subject.h"

#include "bus/base/check.h"
#include "tests/lib/test.h"

#include <stdio.h>
#include <stdlib.h>

struct node_name {
    char text[16];
};

static struct node_name name_of(int node)
{
    struct node_name name;
    snprintf(name.text, sizeof(name.text), "n%d", node);
    return name;
}

static struct kb_podspec *spec_of(struct kb_subject *s, const char *json)
{
    KB_AUTO(kb_doc_destroy) struct kb_doc *doc = kb_ptest_json(json);
    return kb_core_spec(s->core, kb_doc_root(doc), 0, true);
}

struct kb_subject kb_subject_new(uint64_t seed, const struct kb_profile_entry *entries, size_t n,
                                 int pods)
{
    struct kb_subject s = {.core = kb_sched_core_new(seed),
                           .pods = calloc((size_t)pods, sizeof(*s.pods)),
                           .pods_n = pods};
    struct kb_err err = {0};
    uint32_t profile;
    KB_ASSERT(s.pods != NULL);
    KB_CHECK_OK(kb_core_add_profile(s.core, "default-scheduler", entries, n, &profile, &err), &err);
    return s;
}

void kb_subject_finish(struct kb_subject *s)
{
    for (int i = 0; i < s->pods_n; i++)
        kb_core_lift(s->core, &s->pods[i]);
    kb_sched_core_destroy(&s->core);
    free(s->pods);
    *s = (struct kb_subject){0};
}

void kb_subject_node(struct kb_subject *s, int node, const char *json)
{
    KB_AUTO(kb_doc_destroy) struct kb_doc *doc = json ? kb_ptest_json(json) : NULL;
    struct node_name name = name_of(node);
    if (json == NULL) {
        kb_core_node_del(s->core, kb_str_of(name.text));
        return;
    }
    kb_core_node_put(s->core, kb_str_of(name.text), kb_doc_root(doc));
    KB_CHECK_U64(kb_core_node_put(s->core, kb_str_of(name.text), kb_doc_root(doc)), ==, 0);
}

void kb_subject_object(struct kb_subject *s, const char *resource, const char *ns, const char *name,
                       const char *json)
{
    KB_AUTO(kb_doc_destroy) struct kb_doc *doc = json ? kb_ptest_json(json) : NULL;
    kb_core_object_put(s->core, kb_str_of(resource), kb_str_of(ns), kb_str_of(name),
                       kb_doc_root(doc));
}

void kb_subject_put(struct kb_subject *s, int pod, int node, const char *json, int32_t priority)
{
    struct kb_podspec *spec = spec_of(s, json);
    uint32_t slot = kb_core_slot(s->core, kb_str_of(name_of(node).text));
    kb_core_place(s->core, &s->pods[pod], spec, slot, priority);
    kb_core_spec_release(s->core, &spec);
}

void kb_subject_lift(struct kb_subject *s, int pod)
{
    kb_core_lift(s->core, &s->pods[pod]);
}

int kb_subject_decide(struct kb_subject *s, const char *pod)
{
    struct kb_podspec *spec = spec_of(s, pod);
    uint32_t slot;
    bool decided = kb_core_decide(s->core, spec, &slot);
    KB_CHECK(decided == kb_core_fits_any(s->core, spec));
    kb_core_spec_release(s->core, &spec);
    return decided ? atoi(kb_core_node_name(s->core, slot) + 1) : -1;
}

struct kb_doc *kb_subject_explain(struct kb_subject *s, const char *pod, kb_val *ret_of, int nodes,
                                  int *ret_known)
{
    KB_AUTO(kb_w_finish) struct kb_w w = {0};
    struct kb_podspec *spec = spec_of(s, pod);
    kb_core_explain(s->core, spec, &w);
    kb_core_spec_release(s->core, &spec);
    struct kb_doc *doc = kb_w_doc(&w);
    memset(ret_of, 0, (size_t)nodes * sizeof(*ret_of));
    *ret_known = 0;
    for (struct kb_iter it = kb_iter(kb_doc_at(doc, "nodes")); kb_iter_next(&it); ++*ret_known) {
        int node = atoi(kb_val_str(kb_val_get(it.val, "name")).p + 1);
        KB_ASSERT(node < nodes);
        ret_of[node] = it.val;
    }
    return doc;
}

void kb_subject_why(kb_val of, struct kb_buf *out)
{
    kb_str by = kb_val_str(kb_val_get(of, "refusedBy"));
    int n = 0;
    kb_buf_clear(out);
    kb_buf_puts(out, "");
    if (by.n == 0)
        return;
    kb_buf_printf(out, KB_STR_FMT ": ", KB_STR_ARG(by));
    for (struct kb_iter it = kb_iter(kb_val_get(of, "reasons")); kb_iter_next(&it); n++) {
        kb_buf_puts(out, n ? "; " : "");
        kb_buf_add_str(out, kb_val_str(it.val));
    }
}
