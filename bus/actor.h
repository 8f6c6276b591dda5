/* The skeleton of every process: a loop, a name, its place in the directory, calls, views.
 *
 *     struct kb_actor *actor;
 *     kb_actor_new(&config, &actor, &err);     joins the bus, tells kubusd "starting"
 *     kb_actor_serve(actor, methods, n, me);   if it serves calls
 *     kb_actor_ready(actor);                   may be called later, once it can serve
 *     rc = kb_actor_run(actor, &err);          until it is told to stop
 *     kb_actor_destroy(&actor);
 *
 * The skeleton sends heartbeats to kubusd (a hung loop is thereby seen), carries on when kubusd
 * dies and reports to its successor, and turns SIGTERM and SIGINT into an orderly stop.
 * Unless standalone, it holds a lock on its name while it lives, so that no two processes are ever
 * the same actor. */
#ifndef KUBUS_BUS_ACTOR_H
#define KUBUS_BUS_ACTOR_H

#include "bus/call.h"
#include "bus/view.h"

struct kb_loop;
struct kb_transport;

struct kb_actor_config {
    const char *name;     /* unique in the cluster: "store", "api", "agent/n1", "deployment" */
    const char *data_dir; /* the cluster's folder */
    /* Its sockets. NULL: kb_run_dir(data_dir). */
    const char *run_dir;
    bool publishes;  /* binds an events socket: the store, relays */
    bool standalone; /* no kubusd: services are looked up as sockets in run_dir; tests and tools */
    /* NULL: the real bus, with a loop of its own. Tests pass a simulated one (bus/transport.h). */
    struct kb_transport *transport;
    /* Called when the actor shall stop; it calls kb_actor_stopped() when done. NULL: at once. */
    void (*stop)(void *user);
    void *user;
};

KB_API int kb_actor_new(const struct kb_actor_config *config, struct kb_actor **ret_actor,
                        struct kb_err *err);
KB_API void kb_actor_destroy(struct kb_actor **actor_p);
KB_API struct kb_loop *kb_actor_loop(struct kb_actor *actor);
KB_API const struct kb_clock *kb_actor_clock(const struct kb_actor *actor);
KB_API const char *kb_actor_name(const struct kb_actor *actor);
KB_API const char *kb_actor_data_dir(const struct kb_actor *actor);
KB_API void kb_actor_ready(struct kb_actor *actor);
/* Run the loop until stopped. 0 after an orderly stop. */
KB_API int kb_actor_run(struct kb_actor *actor, struct kb_err *err);
KB_API void kb_actor_stop(struct kb_actor *actor); /* ask: as SIGTERM does */
/* kb_actor_run returns after this pass. A tool may call it in a reply and run again later. */
KB_API void kb_actor_stopped(struct kb_actor *actor);
/* SIGTERM or SIGINT came, or the supervisor's order to stop. */
KB_API bool kb_actor_stopping(const struct kb_actor *actor);
/* A figure shown by `kubus status` and /metrics: set, not added; sent with the next heartbeat. */
KB_API void kb_actor_gauge(struct kb_actor *actor, const char *name, int64_t value);

/* Publish bytes already framed on the events socket (the store): topic, header, body. */
KB_API void kb_actor_publish(struct kb_actor *actor, kb_str topic, kb_val header, kb_val body);
/* A subscriber came to, or the last one left, a topic. */
typedef void kb_subscription_fn(void *user, kb_str topic, bool subscribed);
KB_API void kb_actor_on_subscription(struct kb_actor *actor, kb_subscription_fn *fn, void *user);

/* Make the folder of a cluster's sockets, or see that it is ours: what lies in /tmp could be
 * another user's trap. -KB_EFORBIDDEN. */
KB_API int kb_run_dir_make(const char *run_dir, struct kb_err *err);
/* Hold the lock of an actor's name in this process until it ends: DIR/NAME.lock. -KB_EEXISTS when
 * another process has it; *ret_holder (may be NULL) is then its pid. A record lock, which a child
 * does not inherit: close the descriptor to give it up. */
KB_API int kb_run_lock(const char *run_dir, const char *name, int *ret_fd, int *ret_holder,
                       struct kb_err *err);
/* The pid that holds the lock of that name, 0 when nobody does. */
KB_API int kb_run_lock_holder(const char *run_dir, const char *name);

/* The folder of a cluster's sockets: DATA/run, or a short one under /tmp named by a hash of DATA
 * when that path is too long for a Unix socket. Caller frees. */
KB_API char *kb_run_dir(const char *data_dir);

/* What a module defines, and `kubus actor NAME …` calls; argv[0] is NAME. The exit code. */
KB_API int kb_module_main(int argc, char **argv);

#endif
