#include "actors/kernel/kernel_actor.h"

#include "actors/kernel/kernel_core.h"
#include "actors/kernel/process.h"
#include "bus/actor.h"
#include "bus/base/check.h"
#include "bus/base/file.h"
#include "bus/base/list.h"
#include "bus/base/log.h"
#include "bus/base/map.h"
#include "bus/loop.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#ifndef KUBUS_VERSION
#define KUBUS_VERSION "0"
#endif

enum { LOG_MAX_BYTES = 8 * 1024 * 1024, LOG_CHECK_MS = 10000 };

/* A process that is watched, and whose it is. */
struct watched {
    struct kernel *kernel;
    struct kb_process *process;
    int pid;
    char name[];
};

/* A request to stop or start one actor, answered when that has come about. */
struct order {
    struct kb_link link;
    struct kb_request *request;
    bool start;
    char name[];
};

struct kernel {
    struct kb_actor *actor;
    struct kb_loop *loop;
    struct kb_kernel *core;
    const struct kb_plan *plan;
    const char *data_dir;
    char *run_dir;
    struct kb_map watched; /* name → struct watched */
    struct kb_link orders;
    struct kb_loop_timer tick, logs, beat;
    int beats; /* to the guardian */
    int64_t since_us;
};

static void carry_out(struct kernel *kernel);

static kb_ms now(const struct kernel *kernel)
{
    return kb_loop_now(kernel->loop);
}

/* ---- processes ---- */

static char *log_path(const struct kernel *kernel, const char *name)
{
    char *path = kb_strf("%s/logs/%s.log", kernel->data_dir, name);
    for (char *p = path + strlen(kernel->data_dir) + strlen("/logs/"); *p; p++)
        if (*p == '/')
            *p = '~';
    return path;
}

static void on_process_end(void *user, int pid, const char *how)
{
    struct watched *watched = user;
    struct kernel *kernel = watched->kernel;
    const struct kb_kernel_actor *actor = kb_kernel_find(kernel->core, kb_str_of(watched->name));
    bool wanted = actor && actor->state == KB_KERNEL_STOPPING;
    kb_log(wanted ? KB_LOG_INFO : KB_LOG_WARN, "%s[%d]: %s", watched->name, pid, how);
    kb_map_del(&kernel->watched, kb_str_of(watched->name));
    kb_kernel_exited(kernel->core, watched->name, pid, how, now(kernel));
    free(watched);
    carry_out(kernel);
}

/* Watch the process of this name; false: there is none. */
static bool watch(struct kernel *kernel, const char *name, int pid)
{
    struct watched *watched = kb_map_get(&kernel->watched, kb_str_of(name));
    if (watched && watched->pid == pid)
        return true;
    if (watched) {
        kb_map_del(&kernel->watched, kb_str_of(name));
        kb_process_unwatch(&watched->process);
        free(watched);
    }
    watched = calloc(1, sizeof(*watched) + strlen(name) + 1);
    KB_ASSERT(watched != NULL);
    watched->kernel = kernel;
    watched->pid = pid;
    memcpy(watched->name, name, strlen(name) + 1);
    watched->process = kb_process_watch(kernel->loop, pid, on_process_end, watched);
    if (watched->process == NULL) {
        free(watched);
        return false;
    }
    kb_map_put(&kernel->watched, kb_str_of(name), watched);
    return true;
}

static void spawn(struct kernel *kernel, const char *name)
{
    struct kb_err err = {0};
    int pid = 0;
    KB_AUTO(kb_auto_free) char *log = log_path(kernel, name);
    const struct kb_plan_actor *planned = kb_plan_find(kernel->plan, name);
    KB_ASSERT(planned != NULL);
    struct kb_process_start start = {.argv = planned->argv,
                                     .run_dir = kernel->run_dir,
                                     .restarts =
                                         kb_kernel_find(kernel->core, kb_str_of(name))->restarts,
                                     .log_path = log};
    if (kb_process_spawn(&start, &pid, &err) < 0) {
        kb_error("%s: %s", name, err.text);
        kb_kernel_exited(kernel->core, name, 0, err.text, now(kernel));
        return;
    }
    kb_debug("%s: process %d", name, pid);
    kb_kernel_spawned(kernel->core, name, pid, now(kernel));
    if (!watch(kernel, name, pid)) /* not even a zombie: cannot be */
        kb_kernel_exited(kernel->core, name, pid, "vanished", now(kernel));
}

static void send_signal(const struct kb_kernel_wish *wish)
{
    kb_log(wish->signal == SIGKILL ? KB_LOG_WARN : KB_LOG_INFO, "%s[%d]: %s%s%s", wish->actor->name,
           wish->pid, wish->signal == SIGKILL ? "killing it" : "stopping it",
           wish->actor->message[0] ? ": " : "", wish->actor->message);
    kill(wish->pid, wish->signal);
}

static void answer_resolve(struct kb_request *request, const struct kb_kernel_actor *actor)
{
    KB_AUTO(kb_w_finish) struct kb_w w = {0};
    struct kb_err err = {0};
    if (actor == NULL) {
        kb_err_set(&err, KB_EUNAVAILABLE, "'" KB_STR_FMT "' is not ready",
                   KB_STR_ARG(kb_val_str_at(kb_request_body(request), "name")));
        kb_request_fail(&request, &err);
        return;
    }
    kb_w_map(&w);
    kb_w_kcstr(&w, "call", actor->call);
    if (actor->events)
        kb_w_kcstr(&w, "events", actor->events);
    kb_w_kcstr(&w, "instance", actor->instance);
    kb_w_end(&w);
    kb_request_reply(&request, kb_w_val(&w));
}

/* Has it come about (0), is it still to come (1), or will it not (-1)? */
static int order_state(const struct kernel *kernel, const struct order *order)
{
    const struct kb_kernel_actor *actor = kb_kernel_find(kernel->core, kb_str_of(order->name));
    if (order->start)
        return actor->state == KB_KERNEL_READY                                       ? 0
               : actor->state == KB_KERNEL_STOPPED || actor->state == KB_KERNEL_HELD ? -1
                                                                                     : 1;
    return actor->state == KB_KERNEL_STOPPED ? 0 : actor->state == KB_KERNEL_STOPPING ? 1 : -1;
}

static void answer_orders(struct kernel *kernel)
{
    KB_LIST_EACH_SAFE(it, &kernel->orders)
    {
        struct order *order = KB_CONTAINER(it, struct order, link);
        int state = order_state(kernel, order);
        struct kb_err err = {0};
        if (state > 0 && kb_request_left_ms(order->request) > 0)
            continue;
        kb_err_set(&err, state > 0 ? KB_ETIMEOUT : KB_ECONFLICT, "'%s' was not %s%s", order->name,
                   order->start ? "started" : "stopped", state > 0 ? " in time" : "");
        if (state == 0)
            kb_request_reply(&order->request, (kb_val){NULL, NULL});
        else
            kb_request_fail(&order->request, &err);
        kb_list_remove(&order->link);
        free(order);
    }
}

static void carry_out(struct kernel *kernel)
{
    struct kb_kernel_wish wish;
    while (kb_kernel_wish(kernel->core, &wish)) {
        switch (wish.kind) {
        case KB_KERNEL_SPAWN:
            spawn(kernel, wish.actor->name);
            break;
        case KB_KERNEL_SIGNAL:
            send_signal(&wish);
            break;
        case KB_KERNEL_ANSWER:
            answer_resolve(wish.token, wish.actor);
            break;
        case KB_KERNEL_END:
            kb_info("all actors have ended");
            kb_actor_stopped(kernel->actor);
            break;
        }
    }
    answer_orders(kernel);
    kb_loop_timer_set(kernel->loop, &kernel->tick, kb_kernel_next_ms(kernel->core, now(kernel)));
}

static void on_tick(void *user)
{
    struct kernel *kernel = user;
    kb_kernel_tick(kernel->core, now(kernel));
    carry_out(kernel);
}

/* Tell the guardian that the loop turns. A guardian that is gone is no reason to stop. */
static void on_beat(void *user)
{
    struct kernel *kernel = user;
    if (write(kernel->beats, "", 1) < 0 && errno == EPIPE)
        return;
    kb_loop_timer_set(kernel->loop, &kernel->beat, KB_KERNEL_BEAT_MS);
}

static void on_logs(void *user)
{
    struct kernel *kernel = user;
    KB_AUTO(kb_auto_free) char *own = log_path(kernel, "kernel");
    kb_log_rotate(own, LOG_MAX_BYTES);
    for (size_t i = 0; i < kb_kernel_count(kernel->core); i++) {
        KB_AUTO(kb_auto_free) char *path = log_path(kernel, kb_kernel_at(kernel->core, i)->name);
        kb_log_rotate(path, LOG_MAX_BYTES);
    }
    kb_loop_timer_set(kernel->loop, &kernel->logs, LOG_CHECK_MS);
}

/* ---- methods ---- */

/* A process that says to be one of the plan's, but is not the one that was started or found: it has
 * to hold the lock of that name, for kubusd will signal it. */
static int check_claim(const struct kernel *kernel, const struct kb_kernel_registration *r,
                       struct kb_err *err)
{
    const struct kb_kernel_actor *actor = kb_kernel_find(kernel->core, r->name);
    if (actor == NULL || !actor->ours || actor->pid == r->pid)
        return 0;
    if (kb_run_lock_holder(kernel->run_dir, actor->name) == r->pid)
        return 0;
    return kb_err_set(err, KB_ECONFLICT, "process %d does not hold the lock of '%s'", r->pid,
                      actor->name);
}

static void serve_register(void *user, struct kb_request *request, kb_val body)
{
    struct kernel *kernel = user;
    struct kb_err err = {0};
    struct kb_kernel_registration r = {
        .name = kb_val_str_at(body, "name"),
        .instance = kb_val_str_at(body, "instance"),
        .call = kb_val_str_at(body, "call"),
        .events = kb_val_str_at(body, "events"),
        .pid = (int)kb_val_int_at(body, "pid", 0),
        .ready = kb_val_bool_at(body, "ready", false),
        .restarts = kb_val_int_at(body, "restarts", 0),
    };
    if (check_claim(kernel, &r, &err) < 0 ||
        kb_kernel_register(kernel->core, &r, now(kernel), &err) < 0) {
        kb_warn("registration refused: %s", err.text);
        kb_request_fail(&request, &err);
        return;
    }
    const struct kb_kernel_actor *actor = kb_kernel_find(kernel->core, r.name);
    if (actor->ours && !watch(kernel, actor->name, actor->pid))
        kb_kernel_exited(kernel->core, actor->name, actor->pid, "vanished", now(kernel));
    KB_AUTO(kb_w_finish) struct kb_w w = {0};
    kb_w_map(&w);
    kb_w_kint(&w, "beat_ms", KB_KERNEL_BEAT_MS);
    kb_w_kcstr(&w, "cluster", kernel->plan->cluster_id);
    kb_w_end(&w);
    kb_request_reply(&request, kb_w_val(&w));
    carry_out(kernel);
}

static void serve_beat(void *user, struct kb_request *request, kb_val body)
{
    struct kernel *kernel = user;
    struct kb_err err = {0};
    bool stop = false;
    kb_str name = kb_val_str_at(body, "name");
    if (kb_kernel_beat(kernel->core, name, kb_val_str_at(body, "instance"),
                       kb_val_bool_at(body, "ready", false), kb_val_get(body, "gauges"),
                       now(kernel), &stop) < 0) {
        kb_err_set(&err, KB_ENOTFOUND, "'" KB_STR_FMT "' is not registered", KB_STR_ARG(name));
        kb_request_fail(&request, &err);
        return;
    }
    KB_AUTO(kb_w_finish) struct kb_w w = {0};
    kb_w_map(&w);
    if (stop)
        kb_w_kcstr(&w, "order", "stop");
    kb_w_end(&w);
    kb_request_reply(&request, kb_w_val(&w));
    carry_out(kernel);
}

static void serve_resolve(void *user, struct kb_request *request, kb_val body)
{
    struct kernel *kernel = user;
    kb_ms wait_ms = kb_val_int_at(body, "wait_ms", 0);
    if (wait_ms > kb_request_left_ms(request))
        wait_ms = kb_request_left_ms(request);
    kb_kernel_resolve(kernel->core, kb_val_str_at(body, "name"), wait_ms, request, now(kernel));
    carry_out(kernel);
}

static void put_actor(struct kb_w *w, const struct kb_kernel_actor *actor)
{
    kb_w_map(w);
    kb_w_kcstr(w, "name", actor->name);
    kb_w_kint(w, "pid", actor->pid);
    kb_w_kcstr(w, "state", kb_kernel_state_name(actor->state));
    kb_w_kint(w, "restarts", actor->restarts);
    if (actor->ready_ms >= 0)
        kb_w_kint(w, "ready_ms", actor->ready_ms);
    kb_w_kint(w, "rss_bytes", actor->pid ? kb_process_rss_bytes(actor->pid) : 0);
    if (actor->gauges)
        kb_w_kraw(w, "gauges", kb_doc_root(actor->gauges));
    kb_w_kcstr(w, "message", actor->message);
    kb_w_end(w);
}

static void serve_status(void *user, struct kb_request *request, kb_val body)
{
    struct kernel *kernel = user;
    KB_AUTO(kb_w_finish) struct kb_w w = {0};
    (void)body;
    kb_w_map(&w);
    kb_w_kcstr(&w, "version", KUBUS_VERSION);
    kb_w_kcstr(&w, "cluster", kernel->plan->cluster_id);
    kb_w_kint(&w, "pid", getpid());
    kb_w_kint(&w, "rss_bytes", kb_process_rss_bytes(getpid()));
    kb_w_kint(&w, "since_us", kernel->since_us);
    kb_w_karray(&w, "actors");
    for (size_t i = 0; i < kb_kernel_count(kernel->core); i++)
        put_actor(&w, kb_kernel_at(kernel->core, i));
    kb_w_end(&w);
    kb_w_end(&w);
    kb_request_reply(&request, kb_w_val(&w));
}

/* Take the order in, or say why not. */
static void place_order(struct kernel *kernel, struct kb_request *request, const char *name,
                        bool start)
{
    struct kb_err err = {0};
    int rc = start ? kb_kernel_restart(kernel->core, name, now(kernel), &err)
                   : kb_kernel_stop(kernel->core, name, now(kernel), &err);
    if (rc < 0) {
        kb_request_fail(&request, &err);
        return;
    }
    struct order *order = calloc(1, sizeof(*order) + strlen(name) + 1);
    KB_ASSERT(order != NULL);
    memcpy(order->name, name, strlen(name) + 1);
    order->request = request;
    order->start = start;
    kb_list_push(&kernel->orders, &order->link);
    carry_out(kernel);
}

static void serve_stop(void *user, struct kb_request *request, kb_val body)
{
    struct kernel *kernel = user;
    KB_AUTO(kb_auto_free) char *name = kb_str_dup(kb_val_str_at(body, "name"));
    kb_info("%s asks to stop %s", kb_request_caller(request), name[0] ? name : "the cluster");
    if (name[0]) {
        place_order(kernel, request, name, false);
        return;
    }
    kb_request_reply(&request, (kb_val){NULL, NULL});
    kb_kernel_stop(kernel->core, NULL, now(kernel), NULL);
    carry_out(kernel);
}

static void serve_restart(void *user, struct kb_request *request, kb_val body)
{
    struct kernel *kernel = user;
    KB_AUTO(kb_auto_free) char *name = kb_str_dup(kb_val_str_at(body, "name"));
    kb_info("%s asks to start %s", kb_request_caller(request), name);
    place_order(kernel, request, name, true);
}

static const struct kb_method methods[] = {
    {"kernel.register", serve_register}, {"kernel.beat", serve_beat},
    {"kernel.resolve", serve_resolve},   {"kernel.status", serve_status},
    {"kernel.stop", serve_stop},         {"kernel.restart", serve_restart},
};

/* ---- the whole ---- */

/* Whoever holds the lock of an actor's name lives, and was started by a kubusd before this one. */
static void find_living(struct kernel *kernel)
{
    DIR *dir = opendir(kernel->run_dir);
    struct dirent *entry;
    while (dir && (entry = readdir(dir)) != NULL) {
        kb_str file = kb_str_of(entry->d_name);
        if (!kb_str_ends(file, ".lock") || kb_str_is(file, "kernel.lock") ||
            kb_str_is(file, "guard.lock"))
            continue;
        KB_AUTO(kb_auto_free) char *name = kb_str_dup(kb_str_n(file.p, file.n - 5));
        int pid = kb_run_lock_holder(kernel->run_dir, name);
        for (char *p = name; *p; p++)
            if (*p == '~')
                *p = '/';
        if (pid <= 0 || !watch(kernel, name, pid))
            continue;
        const struct kb_plan_actor *planned = kb_plan_find(kernel->plan, name);
        bool fits = planned && kb_plan_fits(planned, pid);
        kb_info("%s lives as process %d: %s", name, pid, fits ? "adopted" : "to be replaced");
        kb_kernel_found(kernel->core, name, pid, fits, now(kernel));
    }
    if (dir)
        closedir(dir);
}

static void on_stop(void *user)
{
    struct kernel *kernel = user;
    struct kb_err err = {0};
    kb_info("asked to end: stopping the cluster");
    kb_kernel_stop(kernel->core, NULL, now(kernel), &err);
    carry_out(kernel);
}

static void start(struct kernel *kernel)
{
    kernel->loop = kb_actor_loop(kernel->actor);
    kernel->since_us = kb_clock_wall_us(kb_clock_system());
    kernel->tick = (struct kb_loop_timer){.fn = on_tick, .user = kernel};
    kernel->logs = (struct kb_loop_timer){.fn = on_logs, .user = kernel};
    kernel->beat = (struct kb_loop_timer){.fn = on_beat, .user = kernel};
    if (kernel->beats >= 0) {
        signal(SIGPIPE, SIG_IGN); /* actors get the default again: see process.c */
        fcntl(kernel->beats, F_SETFL, O_NONBLOCK);
        fcntl(kernel->beats, F_SETFD, FD_CLOEXEC);
        on_beat(kernel);
    }
    for (size_t i = 0; i < kernel->plan->n; i++)
        kb_kernel_add(kernel->core, kernel->plan->actors[i].name);
    find_living(kernel);
    kb_actor_serve(kernel->actor, methods, KB_COUNT(methods), kernel);
    kb_kernel_start(kernel->core, now(kernel));
    carry_out(kernel);
    kb_loop_timer_set(kernel->loop, &kernel->logs, LOG_CHECK_MS);
    kb_actor_ready(kernel->actor);
}

static void finish(struct kernel *kernel)
{
    kb_str name;
    void *value;
    if (kernel->loop) {
        kb_loop_timer_stop(kernel->loop, &kernel->tick);
        kb_loop_timer_stop(kernel->loop, &kernel->logs);
        kb_loop_timer_stop(kernel->loop, &kernel->beat);
    }
    for (size_t i = 0; kb_map_next(&kernel->watched, &i, &name, &value);) {
        struct watched *watched = value;
        kb_process_unwatch(&watched->process);
        free(watched);
    }
    kb_map_finish(&kernel->watched);
    for (struct kb_link *link; (link = kb_list_pop(&kernel->orders)) != NULL;)
        free(KB_CONTAINER(link, struct order, link)); /* their requests end with the actor */
    kb_actor_destroy(&kernel->actor);
    kb_kernel_destroy(&kernel->core);
    free(kernel->run_dir);
}

int kb_kernel_run(const char *data_dir, const struct kb_plan *plan, int beats, struct kb_err *err)
{
    KB_AUTO(finish)
    struct kernel kernel = {
        .plan = plan, .data_dir = data_dir, .run_dir = kb_run_dir(data_dir), .beats = beats};
    KB_AUTO(kb_auto_free) char *logs = kb_strf("%s/logs", data_dir);
    kb_list_init(&kernel.orders);
    KB_AUTO(kb_auto_close) int lock = -1;
    struct kb_actor_config config = {.name = "kernel",
                                     .data_dir = data_dir,
                                     .standalone = true,
                                     .stop = on_stop,
                                     .user = &kernel};
    if (kb_dir_make(logs, 0700, err) < 0 || kb_run_dir_make(kernel.run_dir, err) < 0)
        return -err->code;
    if (kb_run_lock(kernel.run_dir, "kernel", &lock, NULL, err) < 0)
        return -err->code;
    kernel.core = kb_kernel_new();
    if (kb_actor_new(&config, &kernel.actor, err) < 0)
        return -err->code;
    start(&kernel);
    return kb_actor_run(kernel.actor, err);
}
