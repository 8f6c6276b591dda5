/* register.c - an actor's side of supervision: it tells kubusd that it is there, that it can serve,
 * and every few seconds that its loop turns.
 *
 * kubusd may die and come back: the connection to its successor makes the actor register again, and
 * so does a beat that is answered with NotFound. Nothing else of the actor notices. */
#include "bus/impl.h"

#include "bus/base/log.h"

#include <stdlib.h>
#include <unistd.h>

static void send_register(struct kb_actor *actor);

static struct kb_peer *kernel(struct kb_actor *actor)
{
    return kb_actor_peer(actor, "kernel");
}

static void on_registered(void *user, const struct kb_err *err, kb_val body)
{
    struct kb_actor *actor = user;
    actor->register_call = 0;
    if (err) {
        kb_debug("register: %s", err->text);
        return; /* the next beat, or the next connection, tries again */
    }
    int64_t beat_ms = kb_val_int_at(body, "beat_ms", KB__BEAT_MS);
    actor->beat_ms = beat_ms >= 50 && beat_ms <= 60000 ? beat_ms : KB__BEAT_MS;
    kb_loop_timer_set(actor->loop, &actor->beat_timer, actor->beat_ms);
}

static void send_register(struct kb_actor *actor)
{
    KB_AUTO(kb_w_finish) struct kb_w w = {0};
    KB_AUTO(kb_auto_free) char *call = kb__endpoint(actor, actor->name, "sock");
    KB_AUTO(kb_auto_free) char *events = kb__endpoint(actor, actor->name, "pub");
    kb_w_map(&w);
    kb_w_kcstr(&w, "name", actor->name);
    kb_w_kint(&w, "pid", getpid());
    kb_w_kcstr(&w, "instance", actor->instance);
    if (actor->server)
        kb_w_kcstr(&w, "call", call);
    if (actor->publisher)
        kb_w_kcstr(&w, "events", events);
    kb_w_kbool(&w, "ready", actor->ready);
    kb_w_kint(&w, "started_ms", actor->started_ms);
    kb_w_kint(&w, "restarts", actor->restarts);
    kb_w_end(&w);
    if (actor->register_call)
        kb_call_cancel(kernel(actor), actor->register_call);
    actor->register_call = kb_call(kernel(actor), "kernel.register", kb_w_val(&w), KB__BEAT_MS * 2,
                                   on_registered, actor);
}

static void on_beaten(void *user, const struct kb_err *err, kb_val body)
{
    struct kb_actor *actor = user;
    actor->beat_call = 0;
    if (err && err->code == KB_ENOTFOUND)
        send_register(actor);
    if (err == NULL && kb_str_is(kb_val_str_at(body, "order"), "stop"))
        kb_actor_stop(actor);
}

static void on_beat_timer(void *user)
{
    struct kb_actor *actor = user;
    kb_loop_timer_set(actor->loop, &actor->beat_timer, actor->beat_ms);
    if (!actor->transport->simulated)
        kb__quiet_look(actor);
    if (actor->beat_call)
        return; /* kubusd is away */
    KB_AUTO(kb_w_finish) struct kb_w w = {0};
    kb_w_map(&w);
    kb_w_kcstr(&w, "name", actor->name);
    kb_w_kcstr(&w, "instance", actor->instance);
    kb_w_kbool(&w, "ready", actor->ready);
    kb_w_kmap(&w, "gauges");
    kb_str name;
    void *value;
    for (size_t i = 0; kb_map_next(&actor->gauges, &i, &name, &value);) {
        kb_w_str(&w, name);
        kb_w_int(&w, *(int64_t *)value);
    }
    kb_w_end(&w);
    kb_w_end(&w);
    actor->beat_call =
        kb_call(kernel(actor), "kernel.beat", kb_w_val(&w), actor->beat_ms * 2, on_beaten, actor);
}

void kb__register_start(struct kb_actor *actor)
{
    const char *restarts = getenv("KUBUS_RESTARTS");
    actor->restarts = restarts ? strtoll(restarts, NULL, 10) : 0;
    actor->beat_ms = KB__BEAT_MS;
    actor->beat_timer = (struct kb_loop_timer){.fn = on_beat_timer, .user = actor};
    if (actor->standalone)
        return;
    kernel(actor)->on_up = send_register;
    kb__peer_use(kernel(actor));
    kb_loop_timer_set(actor->loop, &actor->beat_timer, actor->beat_ms);
}

void kb__register_ready(struct kb_actor *actor)
{
    if (!actor->standalone && kernel(actor)->state == KB__UP)
        send_register(actor);
}

void kb__register_stop(struct kb_actor *actor)
{
    kb_loop_timer_stop(actor->loop, &actor->beat_timer);
}
