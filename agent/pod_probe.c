/* pod_probe.c - when a container is asked how it is, and what follows from the answers.
 *
 * Startup first: until it has passed, the others are not asked. Readiness begins as "no" and only
 * shows; liveness and startup begin as "yes" and kill when they fail often enough. */
#include "agent/pod_core_impl.h"

#include <stdio.h>

static const char *const fields[] = {"startupProbe", "livenessProbe", "readinessProbe"};
static const char *const names[] = {"Startup", "Liveness", "Readiness"};
static const char *const kinds[] = {"startup", "liveness", "readiness"};

/* A container that has just started is asked for its readiness a little later and then often, for
 * one period at most and without complaint: most are ready within a few of these, and waiting for
 * the next whole period would keep the pod out of its Service for nothing. */
enum { EARLY_MS = 50 };

static kb_val probe_spec(const struct kb_pod_core *core, int at, int kind)
{
    return kb_val_get(kb_pod_core_spec(core, at), fields[kind]);
}

static kb_ms period_ms(kb_val spec)
{
    int64_t seconds = kb_val_int_at(spec, "periodSeconds", 10);
    return kb_seconds_ms(seconds > 0 ? seconds : 10);
}

void kb__probes_init(struct kb_pod_core *core, int at, struct kb_pod_time now)
{
    struct kb__container *c = &core->c[at];
    kb_ms age = c->started_us > 0 ? (now.wall_us - c->started_us) / 1000 : 0;
    for (int k = 0; k < KB_PROBES; k++) {
        kb_val spec = probe_spec(core, at, k);
        kb_ms delay = kb_seconds_ms(kb_val_int_at(spec, "initialDelaySeconds", 0)) - age;
        c->probes[k] = (struct kb__probe){.exists = kb_val_present(spec),
                                          .due_ms = now.ms + (delay > EARLY_MS ? delay : EARLY_MS)};
    }
    c->started = c->ready = false;
}

static bool asks(const struct kb__container *c, int kind)
{
    const struct kb__probe *p = &c->probes[kind];
    if (!p->exists || c->state != C_RUNNING || c->stop != STOP_NO || c->hook_pending)
        return false;
    return kind == KB_PROBE_STARTUP ? !p->passed : c->started;
}

void kb__probes_sync(struct kb_pod_core *core, int at, struct kb_pod_time now,
                     struct kb_pod_out *out)
{
    struct kb__container *c = &core->c[at];
    if (c->state != C_RUNNING || c->stop != STOP_NO)
        return;
    c->started = !c->hook_pending &&
                 (!c->probes[KB_PROBE_STARTUP].exists || c->probes[KB_PROBE_STARTUP].passed);
    c->ready = c->started &&
               (!c->probes[KB_PROBE_READINESS].exists || c->probes[KB_PROBE_READINESS].passed);
    for (int k = 0; k < KB_PROBES; k++) {
        struct kb__probe *p = &c->probes[k];
        if (!asks(c, k) || p->under_way || p->due_ms > now.ms)
            continue;
        p->under_way = true;
        p->due_ms = now.ms + period_ms(probe_spec(core, at, k));
        struct kb_pod_wish *wish = kb__pod_wish(out, KB_POD_PROBE, at);
        wish->probe = (enum kb_pod_probe)k;
        wish->attempt = c->attempt;
    }
}

kb_ms kb__probes_due(const struct kb_pod_core *core, int at)
{
    const struct kb__container *c = &core->c[at];
    kb_ms due = -1;
    for (int k = 0; k < KB_PROBES; k++) {
        const struct kb__probe *p = &c->probes[k];
        if (asks(c, k) && !p->under_way && (due < 0 || p->due_ms < due))
            due = p->due_ms;
    }
    return due;
}

static void failed(struct kb_pod_core *core, int at, int kind, kb_val spec, struct kb_pod_time now,
                   struct kb_pod_out *out)
{
    struct kb__container *c = &core->c[at];
    if (kind == KB_PROBE_READINESS) {
        c->probes[kind].passed = false;
        return;
    }
    kb__pod_event(core, out, at, false, "Killing",
                  "Container %s failed %s probe, will be restarted", c->name, kinds[kind]);
    int64_t own = kb_val_int_at(spec, "terminationGracePeriodSeconds", -1);
    c->killed_by_probe = true;
    kb__pod_stop_container(core, at, own >= 0 ? kb_seconds_ms(own) : kb__pod_grace_ms(core), now,
                           out);
}

static bool is_early(const struct kb__container *c, const struct kb__probe *p, int kind,
                     kb_ms period, struct kb_pod_time now)
{
    return kind == KB_PROBE_READINESS && !p->ever && p->early < 6 && asks(c, kind) &&
           now.wall_us - c->started_us < period * 1000;
}

void kb_pod_core_probed(struct kb_pod_core *core, int at, unsigned attempt, enum kb_pod_probe probe,
                        bool ok, const char *words, struct kb_pod_time now, struct kb_pod_out *out)
{
    struct kb__container *c = &core->c[at];
    struct kb__probe *p = &c->probes[probe];
    kb_val spec = probe_spec(core, at, probe);
    if (c->attempt != attempt || !p->exists)
        return;
    p->under_way = false;
    if (!ok && is_early(c, p, probe, period_ms(spec), now)) {
        p->due_ms = now.ms + (EARLY_MS << p->early++);
    } else if (asks(c, probe)) {
        p->ok_run = ok ? p->ok_run + 1 : 0;
        p->bad_run = ok ? 0 : p->bad_run + 1;
        if (!ok)
            kb__pod_event(core, out, at, true, "Unhealthy", "%s probe failed: %s", names[probe],
                          words);
        if (ok && p->ok_run >= kb_val_int_at(spec, "successThreshold", 1))
            p->passed = p->ever = true;
        if (!ok && p->bad_run >= kb_val_int_at(spec, "failureThreshold", 3)) {
            p->bad_run = 0;
            failed(core, at, probe, spec, now, out);
        }
    }
    kb_pod_core_tick(core, now, out);
}
