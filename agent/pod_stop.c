/* pod_stop.c - how what runs comes to its end.
 *
 * A container: preStop hook, SIGTERM, and at the end of the grace SIGKILL. A pod: the regular
 * containers first, then the sidecars, then what the node holds of it, then the API object. */
#include "agent/pod_core_impl.h"
#include "bus/model/meta.h"

#include <signal.h>

enum {
    KILL_LEAST_MS = 2000, /* between SIGTERM and SIGKILL, when the grace is used up */
    EVICTION_GRACE_MS = 1000,
};

kb_ms kb__pod_grace_of(kb_val pod)
{
    int64_t spec = kb_val_int_at(pod, "spec.terminationGracePeriodSeconds", 30);
    return kb_seconds_ms(kb_val_int_at(pod, "metadata.deletionGracePeriodSeconds", spec));
}

kb_ms kb__pod_grace_ms(const struct kb_pod_core *core)
{
    return kb__pod_grace_of(kb__pod_root(core));
}

/* At least enough for a SIGTERM to be heard: also our clock may be ahead of the API's. */
kb_ms kb__pod_grace_left_ms(const struct kb_pod_core *core, struct kb_pod_time now)
{
    kb_ms grace = kb__pod_grace_ms(core);
    kb_ms left =
        (kb_time_at(kb__pod_root(core), "metadata.deletionTimestamp") - now.wall_us) / 1000;
    if (left < KILL_LEAST_MS)
        left = KILL_LEAST_MS;
    return left < grace ? left : grace;
}

void kb__pod_end_by(struct kb_pod_core *core, kb_ms deadline_ms)
{
    if (!core->deleting || deadline_ms < core->grace_deadline_ms)
        core->grace_deadline_ms = deadline_ms;
    core->deleting = true;
}

static void send_signal(struct kb__container *c, int at, int sig, struct kb_pod_out *out)
{
    struct kb_pod_wish *wish = kb__pod_wish(out, KB_POD_SIGNAL, at);
    wish->attempt = c->attempt;
    wish->signal = sig;
}

void kb__pod_stop_term(struct kb__container *c, int at, kb_ms now, struct kb_pod_out *out)
{
    c->stop = STOP_TERM;
    c->stop_at_ms =
        c->stop_deadline_ms > now + KILL_LEAST_MS ? c->stop_deadline_ms : now + KILL_LEAST_MS;
    send_signal(c, at, SIGTERM, out);
}

static void stop_kill(struct kb__container *c, int at, struct kb_pod_out *out)
{
    c->stop = STOP_KILL;
    c->stop_at_ms = -1;
    send_signal(c, at, SIGKILL, out);
}

void kb__pod_stop_container(struct kb_pod_core *core, int at, kb_ms grace_ms,
                            struct kb_pod_time now, struct kb_pod_out *out)
{
    struct kb__container *c = &core->c[at];
    kb_ms deadline = now.ms + grace_ms;
    if (c->state != C_RUNNING)
        return;
    if (c->stop != STOP_NO) { /* only ever sooner */
        if (deadline < c->stop_deadline_ms && c->stop != STOP_KILL) {
            c->stop_deadline_ms = deadline;
            c->stop_at_ms = deadline;
        }
        return;
    }
    c->stop_deadline_ms = deadline;
    if (grace_ms <= 0) {
        stop_kill(c, at, out);
    } else if (kb_val_present(kb_val_at(kb_pod_core_spec(core, at), "lifecycle.preStop"))) {
        c->stop = STOP_HOOK;
        c->stop_at_ms = deadline;
        kb__pod_wish(out, KB_POD_HOOK, at)->hook = KB_HOOK_PRE_STOP;
    } else {
        kb__pod_stop_term(c, at, now.ms, out);
    }
}

void kb__pod_stop_timers(struct kb_pod_core *core, struct kb_pod_time now, struct kb_pod_out *out)
{
    for (int i = 0; i < core->n; i++) {
        struct kb__container *c = &core->c[i];
        if (c->state != C_RUNNING || c->stop == STOP_NO || c->stop == STOP_KILL ||
            c->stop_at_ms > now.ms)
            continue;
        if (c->stop == STOP_HOOK)
            kb__pod_stop_term(c, i, now.ms, out);
        else
            stop_kill(c, i, out);
    }
}

static bool is_live(const struct kb__container *c)
{
    return c->state == C_RUNNING || c->state == C_STARTING;
}

static kb_ms grace_left(const struct kb_pod_core *core, kb_ms now)
{
    if (core->object_gone)
        return 0;
    if (core->grace_deadline_ms >= 0)
        return core->grace_deadline_ms > now ? core->grace_deadline_ms - now : 0;
    return kb__pod_grace_ms(core);
}

/* Stop those of one kind; true when none is left. */
bool kb__pod_stop_all(struct kb_pod_core *core, bool sidecars, struct kb_pod_time now,
                      struct kb_pod_out *out)
{
    bool none = true;
    for (int i = 0; i < core->n; i++) {
        struct kb__container *c = &core->c[i];
        if (c->sidecar != sidecars || !is_live(c))
            continue;
        none = false;
        if (c->state == C_RUNNING && c->stop == STOP_NO) {
            kb__pod_event(core, out, i, false, "Killing", "Stopping container %s", c->name);
            kb__pod_stop_container(core, i, grace_left(core, now.ms), now, out);
        } else if (c->state == C_RUNNING && core->deleting) {
            kb__pod_stop_container(core, i, grace_left(core, now.ms), now, out);
        }
    }
    return none;
}

void kb__pod_sync_stop(struct kb_pod_core *core, struct kb_pod_time now, struct kb_pod_out *out)
{
    if (!kb__pod_stop_all(core, false, now, out) || !kb__pod_stop_all(core, true, now, out))
        return;
    core->finished = true;
}

/* What is left when all has ended: the node's part, then the object. */
void kb__pod_sync_end(struct kb_pod_core *core, struct kb_pod_time now, struct kb_pod_out *out)
{
    if (!core->deleting || !core->finished || core->sandbox_under_way)
        return;
    if (!core->torn_down) {
        if (!core->tearing_down && core->teardown_retry_ms <= now.ms) {
            core->tearing_down = true;
            kb__pod_wish(out, KB_POD_TEARDOWN, -1);
        }
        return;
    }
    if (!core->delete_told) {
        core->delete_told = true;
        if (!core->object_gone)
            kb__pod_wish(out, KB_POD_DELETE, -1);
    }
}

void kb_pod_core_evict(struct kb_pod_core *core, const char *why, struct kb_pod_time now,
                       struct kb_pod_out *out)
{
    if (!core->begun || kb__pod_ends(core))
        return;
    core->failed = true;
    core->grace_deadline_ms = now.ms + EVICTION_GRACE_MS;
    kb__pod_text(&core->reason, "Evicted");
    kb__pod_text(&core->message, why);
    kb__pod_event(core, out, -1, true, "Evicted", "%s", why);
    kb_pod_core_tick(core, now, out);
}
