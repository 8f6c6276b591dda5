/* columns_pod.c - what kubectl shows of a pod.
 *
 * The STATUS word is not the phase: it is the most telling thing that can be said. In order: the
 * phase, the status' own reason, a scheduling gate; then the first init container that is not done
 * (Init:…); then, once initialized, the first container that waits or has ended; and over all of
 * these, that the pod is being deleted. */
#include "bus/model/columns_cell.h"

#include <stdio.h>

/* A container that runs beside the others although it stands among the init containers. */
static bool is_sidecar(kb_val pod, kb_str name)
{
    for (struct kb_iter it = kb_iter(kb_val_at(pod, "spec.initContainers")); kb_iter_next(&it);)
        if (kb_str_eq(kb_val_str_at(it.val, "name"), name))
            return kb_str_is(kb_val_str_at(it.val, "restartPolicy"), "Always");
    return false;
}

static bool condition_is_true(kb_val pod, const char *type)
{
    for (struct kb_iter it = kb_iter(kb_val_at(pod, "status.conditions")); kb_iter_next(&it);)
        if (kb_str_is(kb_val_str_at(it.val, "type"), type))
            return kb_str_is(kb_val_str_at(it.val, "status"), "True");
    return false;
}

static void set_reason(struct kb__pod_cells *p, const char *prefix, kb_str reason)
{
    snprintf(p->reason, sizeof(p->reason), "%s" KB_STR_FMT, prefix, KB_STR_ARG(reason));
}

/* Why a container ended: the reason's word, else the signal, else the exit code. */
static void set_ended(struct kb__pod_cells *p, const char *prefix, kb_val terminated)
{
    kb_str reason = kb_val_str_at(terminated, "reason");
    int64_t signal = kb_val_int_at(terminated, "signal", 0);
    if (reason.n > 0)
        set_reason(p, prefix, reason);
    else if (signal != 0)
        snprintf(p->reason, sizeof(p->reason), "%sSignal:%lld", prefix, (long long)signal);
    else
        snprintf(p->reason, sizeof(p->reason), "%sExitCode:%lld", prefix,
                 (long long)kb_val_int_at(terminated, "exitCode", 0));
}

struct restarts {
    int64_t count, last_us;
};

static void count_restarts(struct restarts *r, kb_val status)
{
    int64_t at = kb__time_us(kb_val_at(status, "lastState.terminated.finishedAt"));
    r->count += kb_val_int_at(status, "restartCount", 0);
    if (at > r->last_us)
        r->last_us = at;
}

/* One init container; true when it is the one that the pod waits for. */
static bool init_container(struct kb__pod_cells *p, kb_val pod, kb_val status, size_t at)
{
    kb_val terminated = kb_val_at(status, "state.terminated");
    kb_str waiting = kb_val_str_at(status, "state.waiting.reason");
    if (kb_val_present(terminated) && kb_val_int_at(terminated, "exitCode", 0) == 0)
        return false;
    if (is_sidecar(pod, kb_val_str_at(status, "name")) &&
        kb_val_bool_at(status, "started", false)) {
        p->ready += kb_val_bool_at(status, "ready", false);
        return false;
    }
    if (kb_val_present(terminated))
        set_ended(p, "Init:", terminated);
    else if (waiting.n > 0 && !kb_str_is(waiting, "PodInitializing"))
        set_reason(p, "Init:", waiting);
    else
        snprintf(p->reason, sizeof(p->reason), "Init:%zu/%zu", at,
                 kb_val_count(kb_val_at(pod, "spec.initContainers")));
    return true;
}

/* The init containers in turn, up to the one that the pod waits for; true when there is one. */
static bool init_containers(struct kb__pod_cells *p, kb_val pod, struct restarts *all,
                            struct restarts *sidecars)
{
    size_t at = 0;
    for (struct kb_iter it = kb_iter(kb_val_at(pod, "status.initContainerStatuses"));
         kb_iter_next(&it); at++) {
        count_restarts(all, it.val);
        if (is_sidecar(pod, kb_val_str_at(it.val, "name")))
            count_restarts(sidecars, it.val);
        if (init_container(p, pod, it.val, at))
            return true;
    }
    return false;
}

/* The containers: the first in the list that waits or has ended gives the reason. */
static void containers(struct kb__pod_cells *p, kb_val pod, struct restarts *restarts)
{
    bool running = false, named = false;
    for (struct kb_iter it = kb_iter(kb_val_at(pod, "status.containerStatuses"));
         kb_iter_next(&it);) {
        kb_str waiting = kb_val_str_at(it.val, "state.waiting.reason");
        kb_val terminated = kb_val_at(it.val, "state.terminated");
        count_restarts(restarts, it.val);
        if (waiting.n > 0 || kb_val_present(terminated)) {
            if (!named && waiting.n > 0)
                set_reason(p, "", waiting);
            else if (!named)
                set_ended(p, "", terminated);
            named = true;
        } else if (kb_val_bool_at(it.val, "ready", false) &&
                   kb_val_present(kb_val_at(it.val, "state.running"))) {
            running = true;
            p->ready++;
        }
    }
    if (running && strcmp(p->reason, "Completed") == 0)
        set_reason(p, "", kb_str_of(condition_is_true(pod, "Ready") ? "Running" : "NotReady"));
}

static void initial_reason(struct kb__pod_cells *p, kb_val pod)
{
    kb_str reason = kb_val_str_at(pod, "status.reason");
    set_reason(p, "", reason.n > 0 ? reason : kb_val_str_at(pod, "status.phase"));
    for (struct kb_iter it = kb_iter(kb_val_at(pod, "status.conditions")); kb_iter_next(&it);)
        if (kb_str_is(kb_val_str_at(it.val, "type"), "PodScheduled") &&
            kb_str_is(kb_val_str_at(it.val, "reason"), "SchedulingGated"))
            set_reason(p, "", kb_str_of("SchedulingGated"));
}

static const struct kb__pod_cells *pod_cells(struct kb__row *row)
{
    struct kb__pod_cells *p = &row->pod;
    kb_val pod = row->object;
    if (p->made)
        return p;
    struct restarts restarts = {0}, sidecars = {0};
    p->made = true;
    p->total = (int64_t)kb_val_count(kb_val_at(pod, "spec.containers"));
    for (struct kb_iter it = kb_iter(kb_val_at(pod, "spec.initContainers")); kb_iter_next(&it);)
        p->total += kb_str_is(kb_val_str_at(it.val, "restartPolicy"), "Always");
    initial_reason(p, pod);
    bool initializing = init_containers(p, pod, &restarts, &sidecars);
    if (!initializing || condition_is_true(pod, "Initialized")) {
        restarts = sidecars;
        containers(p, pod, &restarts);
    }
    p->restarts = restarts.count;
    p->last_restart_us = restarts.last_us;
    kb_str phase = kb_val_str_at(pod, "status.phase");
    if (kb_val_present(kb_val_at(pod, "metadata.deletionTimestamp"))) {
        if (kb_str_is(kb_val_str_at(pod, "status.reason"), "NodeLost"))
            set_reason(p, "", kb_str_of("Unknown"));
        else if (!kb_str_is(phase, "Succeeded") && !kb_str_is(phase, "Failed"))
            set_reason(p, "", kb_str_of("Terminating"));
    }
    return p;
}

static void cell_ready(const struct kb__column *column, struct kb__row *row, struct kb_w *w)
{
    (void)column;
    const struct kb__pod_cells *p = pod_cells(row);
    char text[48];
    snprintf(text, sizeof(text), "%lld/%lld", (long long)p->ready, (long long)p->total);
    kb_w_cstr(w, text);
}

static void cell_status(const struct kb__column *column, struct kb__row *row, struct kb_w *w)
{
    (void)column;
    kb_w_cstr(w, pod_cells(row)->reason);
}

static void cell_restarts(const struct kb__column *column, struct kb__row *row, struct kb_w *w)
{
    (void)column;
    const struct kb__pod_cells *p = pod_cells(row);
    char text[80], age[KB_AGE_BYTES];
    kb__since_text(row, p->last_restart_us, age);
    if (p->restarts != 0 && p->last_restart_us != 0)
        snprintf(text, sizeof(text), "%lld (%s ago)", (long long)p->restarts, age);
    else
        snprintf(text, sizeof(text), "%lld", (long long)p->restarts);
    kb_w_cstr(w, text);
}

static void cell_ip(const struct kb__column *column, struct kb__row *row, struct kb_w *w)
{
    (void)column;
    kb_str ip = kb_val_str_at(row->object, "status.podIPs[0].ip");
    kb__cell_or(w, ip.n > 0 ? ip : kb_val_str_at(row->object, "status.podIP"), "<none>");
}

static void cell_gates(const struct kb__column *column, struct kb__row *row, struct kb_w *w)
{
    (void)column;
    char text[48] = "<none>";
    size_t met = 0, total = 0;
    for (struct kb_iter it = kb_iter(kb_val_at(row->object, "spec.readinessGates"));
         kb_iter_next(&it); total++) {
        char type[320];
        if (kb_str_copy(kb_val_str_at(it.val, "conditionType"), type, sizeof(type)))
            met += condition_is_true(row->object, type);
    }
    if (total > 0)
        snprintf(text, sizeof(text), "%zu/%zu", met, total);
    kb_w_cstr(w, text);
}

kb__cell_fn kb__cell_pod(kb_str name)
{
    static const struct {
        const char *name;
        kb__cell_fn fn;
    } table[] = {
        {"pod-ready", cell_ready}, {"pod-status", cell_status}, {"pod-restarts", cell_restarts},
        {"pod-ip", cell_ip},       {"pod-gates", cell_gates},
    };
    for (size_t i = 0; i < KB_COUNT(table); i++)
        if (kb_str_is(name, table[i].name))
            return table[i].fn;
    return NULL;
}
