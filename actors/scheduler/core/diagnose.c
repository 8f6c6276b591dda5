/* Why a pod is where it is, or nowhere: texts from verdicts. Nodes are counted by verdict first,
 * and a policy is asked for words once per distinct verdict, so that the cost does not grow with
 * nodes times text. */
#include "actors/scheduler/core/core.h"

#include "actors/scheduler/core/histogram.h"
#include "bus/base/check.h"
#include "bus/base/grow.h"

#include <stdio.h>
#include <stdlib.h>

/* ---- counting ---- */

struct tally {
    struct tally_row {
        uint32_t verdict;
        uint32_t n;
    } * rows;
    size_t n, cap, last;
};

static void tally_add(struct tally *t, uint32_t verdict)
{
    if (t->n > 0 && t->rows[t->last].verdict == verdict) {
        t->rows[t->last].n++;
        return;
    }
    for (t->last = 0; t->last < t->n; t->last++)
        if (t->rows[t->last].verdict == verdict)
            break;
    if (t->last == t->n) {
        KB_GROW(t->rows, t->n, t->cap, 16);
        t->rows[t->n++] = (struct tally_row){verdict, 0};
    }
    t->rows[t->last].n++;
}

/* ---- the message of an unschedulable pod ---- */

static void ask_reason(const struct kb_profile *profile, struct kb_plan *plan, uint32_t policy,
                       uint32_t code, kb_policy_emit *emit, void *to)
{
    const struct kb_policy *p = profile->at[policy].policy;
    if (p->reason)
        KB_ASK(profile, policy, KB_GUARD_REASON,
               p->reason(kb_plan_cycle(plan, policy), code, emit, to));
}

static void write_one(void *to, const char *reason)
{
    kb_buf_printf(to, " %s.", reason);
}

uint32_t kb_core_diagnose(struct kb_core *core, struct kb_podspec *spec, struct kb_buf *ret_text)
{
    const struct kb_columns *c = kb_core_columns(core);
    const struct kb_profile *profile = kb__core_profile(core, spec->profile);
    struct kb_plan *plan = kb__core_plan(core, spec);
    if (c->view.present_n == 0) {
        kb_buf_puts(ret_text, "no nodes available to schedule pods");
        return KB_POLICY_ON_NODE_ADD;
    }
    uint32_t events = KB_POLICY_ON_NODE_ADD, refused_by = kb_plan_refused_by(plan);
    spec->refusers = refused_by != UINT32_MAX ? UINT64_C(1) << refused_by : 0;
    kb_buf_printf(ret_text, "0/%u nodes are available:", c->view.present_n);
    if (refused_by != UINT32_MAX) {
        events |= profile->at[refused_by].policy->events;
        ask_reason(profile, plan, refused_by, 0, write_one, ret_text);
    } else {
        struct tally t = {0};
        KB_AUTO(kb_histogram_finish) struct kb_histogram h = {0};
        for (uint32_t slot = 0; slot < c->view.count; slot++)
            if (c->view.present[slot] && kb_plan_verdict(plan, slot) != 0)
                tally_add(&t, kb_plan_verdict(plan, slot));
        for (size_t i = 0; i < t.n; i++) {
            uint32_t policy = KB_PLAN_POLICY(t.rows[i].verdict);
            h.weight = t.rows[i].n;
            events |= profile->at[policy].policy->events;
            spec->refusers |= UINT64_C(1) << policy;
            ask_reason(profile, plan, policy, KB_PLAN_CODE(t.rows[i].verdict), kb_histogram_add,
                       &h);
        }
        free(t.rows);
        kb_histogram_write(&h, ret_text);
    }
    return events;
}

/* ---- explain ---- */

static void write_reason(void *to, const char *reason)
{
    kb_w_cstr(to, reason);
}

static void explain_refused(const struct kb_profile *profile, struct kb_plan *plan, uint32_t policy,
                            uint32_t code, struct kb_w *w)
{
    kb_w_kcstr(w, "refusedBy", profile->at[policy].policy->name);
    kb_w_karray(w, "reasons");
    ask_reason(profile, plan, policy, code, write_reason, w);
    kb_w_end(w);
}

static void explain_fitting(const struct kb_profile *profile, struct kb_plan *plan, uint32_t slot,
                            struct kb_w *w)
{
    kb_w_kint(w, "total", kb_plan_total(plan, slot));
    kb_w_kmap(w, "scores");
    for (uint32_t i = 0; i < profile->n; i++) {
        int64_t score;
        if (kb_plan_score(plan, i, slot, &score))
            kb_w_kint(w, profile->at[i].policy->name, score);
    }
    kb_w_end(w);
}

void kb_core_explain(struct kb_core *core, struct kb_podspec *spec, struct kb_w *w)
{
    const struct kb_columns *c = kb_core_columns(core);
    const struct kb_profile *profile = kb__core_profile(core, spec->profile);
    struct kb_plan *plan = kb__core_plan(core, spec);
    uint32_t refused_by = kb_plan_refused_by(plan);
    kb_w_map(w);
    kb_w_kint(w, "generation", (int64_t)c->view.generation);
    kb_w_karray(w, "nodes");
    for (uint32_t slot = 0; slot < c->view.count; slot++) {
        uint32_t verdict = kb_plan_verdict(plan, slot);
        if (!c->view.present[slot])
            continue;
        kb_w_map(w);
        kb_w_kcstr(w, "name", kb_core_node_name(core, slot));
        if (refused_by != UINT32_MAX)
            explain_refused(profile, plan, refused_by, 0, w);
        else if (verdict != 0)
            explain_refused(profile, plan, KB_PLAN_POLICY(verdict), KB_PLAN_CODE(verdict), w);
        else
            explain_fitting(profile, plan, slot, w);
        kb_w_end(w);
    }
    kb_w_end(w);
    kb_w_end(w);
}
