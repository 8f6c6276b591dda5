/* pod_adopt.c - the pods that were here before the agent was.
 *
 * What runs is taken from the runtime, what was before from the status that the API has: nothing is
 * started twice, and no restart or exit is forgotten. */
#include "agent/pod_core_impl.h"
#include "bus/model/meta.h"

#include <stdio.h>

static void read_old_exit(struct kb__exit *exit, kb_val terminated)
{
    static const char *const reasons[] = {"Completed", "Error", "OOMKilled", "StartError",
                                          "ContainerStatusUnknown"};
    if (!kb_val_present(terminated))
        return;
    exit->there = true;
    exit->rt.code = (int)kb_val_int_at(terminated, "exitCode", 0);
    exit->rt.signal = (int)kb_val_int_at(terminated, "signal", 0);
    exit->rt.started_us = kb_time_at(terminated, "startedAt");
    exit->rt.finished_us = kb_time_at(terminated, "finishedAt");
    exit->reason = "Error";
    for (size_t i = 0; i < KB_COUNT(reasons); i++)
        if (kb_str_is(kb_val_str_at(terminated, "reason"), reasons[i]))
            exit->reason = reasons[i];
    kb_str message = kb_val_str_at(terminated, "message");
    if (message.n > 0)
        exit->message = kb_str_dup(message);
    exit->id = kb_str_dup(kb_val_str_at(terminated, "containerID"));
}

/* What the API knows of a container from before we were. */
static kb_val old_status(const struct kb_pod_core *core, const struct kb__container *c)
{
    kb_val list = kb_val_at(kb__pod_root(core), c->init        ? "status.initContainerStatuses"
                                                : c->ephemeral ? "status.ephemeralContainerStatuses"
                                                               : "status.containerStatuses");
    for (struct kb_iter it = kb_iter(list); kb_iter_next(&it);)
        if (kb_str_is(kb_val_str_at(it.val, "name"), c->name))
            return it.val;
    return (kb_val){0};
}

static void adopt_running(struct kb_pod_core *core, int at, kb_val old, struct kb_pod_time now)
{
    struct kb__container *c = &core->c[at];
    bool same = kb_str_is(kb_val_str_at(old, "containerID"), c->id);
    c->state = C_RUNNING;
    kb__probes_init(core, at, now);
    struct kb__probe *startup = &c->probes[KB_PROBE_STARTUP],
                     *ready = &c->probes[KB_PROBE_READINESS];
    if (same && kb_val_bool_at(old, "started", false))
        startup->passed = true;
    if (same && kb_val_bool_at(old, "ready", false))
        ready->passed = true;
    c->started = startup->passed || !startup->exists;
    c->ready = c->started && (ready->passed || !ready->exists);
}

void kb_pod_core_found(struct kb_pod_core *core, const struct kb_rt_sandbox_info *sandbox,
                       const struct kb_rt_ref *ref, const struct kb_rt_container_info *info,
                       struct kb_pod_time now, struct kb_pod_out *out)
{
    if (ref == NULL) {
        core->sandbox = sandbox != NULL;
        if (sandbox != NULL)
            snprintf(core->ip, sizeof core->ip, "%s",
                     core->host_network || sandbox->host_network ? core->node.ip : sandbox->ip);
        return;
    }
    int at = kb_pod_core_find(core, kb_str_of(ref->container));
    struct kb__container *c = at >= 0 ? &core->c[at] : NULL;
    if (c == NULL || (c->adopted && ref->attempt < c->attempt)) {
        struct kb_pod_wish *wish = at >= 0 ? kb__pod_wish(out, KB_POD_REMOVE, at) : NULL;
        if (wish != NULL)
            wish->attempt = ref->attempt;
        return;
    }
    if (c->adopted) {
        kb__exit_move(&c->last, &c->exit);
        kb__pod_wish(out, KB_POD_REMOVE, at)->attempt = c->attempt;
    }
    kb_val old = old_status(core, c);
    c->adopted = true;
    c->attempt = ref->attempt;
    c->next_attempt = ref->attempt + 1;
    unsigned told = (unsigned)kb_val_int_at(old, "restartCount", 0);
    c->restarts = info->restarts > told ? info->restarts : told; /* unknown while it is started */
    if (!c->last.there)
        read_old_exit(&c->last, kb_val_at(old, "lastState.terminated"));
    kb__container_info(c, info);
    if (info->state == KB_RT_EXITED) {
        c->state = C_EXITED;
        c->exited_ms = now.ms - (now.wall_us - info->exit.finished_us) / 1000;
        kb__exit_set(c, &info->exit, NULL);
        kb_str last_id = kb_val_str_at(old, "state.terminated.containerID");
        if (!kb_str_is(last_id, c->id) && !c->last.there)
            read_old_exit(&c->last, kb_val_at(old, "state.terminated"));
    } else if (info->state == KB_RT_RUNNING) {
        adopt_running(core, at, old, now);
    } else {
        c->state = C_STARTING;
    }
    if (!c->init && !c->ephemeral)
        core->initialized = true;
}

/* The machine was started anew: no process is left, and if anything shall run again, the init
 * containers come first. */
static void start_over(struct kb_pod_core *core)
{
    bool again = core->policy == POLICY_ALWAYS || !core->initialized;
    for (int i = 0; i < core->n; i++)
        if (core->c[i].state == C_RUNNING || core->c[i].state == C_STARTING)
            return;
    for (int i = 0; i < core->n_init && again; i++) {
        struct kb__container *c = &core->c[i];
        core->initialized = false;
        if (c->state != C_EXITED || c->exit.rt.code != 0 || c->sidecar)
            continue;
        c->state = C_WAITING;
        kb__exit_move(&c->last, &c->exit);
        c->restarts++;
    }
}

/* A pod that was over when we first saw it stays over. */
static bool was_over(const struct kb_pod_core *core)
{
    kb_str phase = kb_val_str_at(kb__pod_root(core), "status.phase");
    return kb_str_is(phase, "Succeeded") || kb_str_is(phase, "Failed");
}

void kb_pod_core_begin(struct kb_pod_core *core, struct kb_pod_time now, struct kb_pod_out *out)
{
    core->begun = true;
    if (core->sandbox)
        core->prepared = false; /* volumes are brought up to date in any case */
    if (!core->sandbox && !was_over(core))
        start_over(core);
    if (was_over(core)) {
        core->finished = core->frozen = true;
        for (int i = 0; i < core->n; i++)
            if (core->c[i].adopted)
                core->frozen = false;
    }
    if (core->start_us == 0)
        core->start_us = now.wall_us / 1000000 * 1000000;
    if (kb_meta_deleting(kb__pod_root(core)))
        kb__pod_end_by(core, now.ms + kb__pod_grace_left_ms(core, now));
    kb_pod_core_tick(core, now, out);
}
