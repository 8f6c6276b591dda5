/* runtime_hollow.c - containers that are only said to run, to simulate thousands of nodes: no
 * process, no file, no address that anybody could reach. Delays are parameters; a signal that ends
 * a program ends it after hollow_stop_ms. Nothing survives the agent: after a restart all is
 * started again. */
#include "agent/runtime_impl.h"
#include "bus/base/check.h"
#include "bus/base/list.h"
#include "bus/base/map.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>

struct hollow {
    struct kb_runtime base;
    struct kb_map boxes; /* "uid/name/attempt" → struct hollow_box */
    uint32_t next_ip, next_id;
    struct kb_link events; /* what is to be told in the next pass */
    struct kb_ev_timer flush;
};

struct hollow_box {
    struct kb_link link;
    struct hollow *rt;
    char *key, *uid, *name, *image;
    unsigned attempt, restarts;
    char id[72];
    enum kb_rt_state state;
    int64_t started_us;
    int signal;
    struct kb_ev_timer timer;
};

/* A sandbox made or a pod removed, told later. */
struct hollow_event {
    struct kb_link link;
    bool gone;
    char ip[16];
    bool host_network;
    char uid[];
};

static char *key_of(const struct kb_rt_ref *ref)
{
    return kb_strf("%s/%s/%u", ref->uid, ref->container, ref->attempt);
}

static struct hollow_box *find(struct kb_runtime *base, const struct kb_rt_ref *ref)
{
    KB_AUTO(kb_auto_free) char *key = key_of(ref);
    return kb_map_get(&((struct hollow *)base)->boxes, kb_str_of(key));
}

static void box_free(struct hollow_box *box)
{
    kb_map_del(&box->rt->boxes, kb_str_of(box->key));
    kb_ev_disarm(box->rt->base.ev, &box->timer);
    free(box->key);
    free(box->uid);
    free(box->name);
    free(box->image);
    free(box);
}

static void flush(void *arg)
{
    struct hollow *rt = arg;
    const struct kb_rt_listener *to = rt->base.listener;
    struct kb_err err = {0};
    for (struct kb_link *link; (link = kb_list_pop(&rt->events)) != NULL;) {
        struct hollow_event *event = KB_CONTAINER(link, struct hollow_event, link);
        struct kb_rt_sandbox_info info = {event->ip, event->host_network};
        if (event->gone)
            to->pod_gone(rt->base.arg, event->uid, 0, &err);
        else
            to->sandbox(rt->base.arg, event->uid, 0, &err, &info);
        free(event);
    }
}

static struct hollow_event *tell(struct hollow *rt, const char *uid)
{
    size_t n = strlen(uid) + 1;
    struct hollow_event *event = calloc(1, sizeof *event + n);
    KB_ASSERT(event != NULL);
    memcpy(event->uid, uid, n);
    if (kb_list_empty(&rt->events))
        kb_ev_arm(rt->base.ev, &rt->flush, 0, flush, rt);
    kb_list_push(&rt->events, &event->link);
    return event;
}

static void hollow_sandbox(struct kb_runtime *base, const struct kb_rt_sandbox_spec *spec)
{
    struct hollow *rt = (struct hollow *)base;
    struct hollow_event *event = tell(rt, spec->uid);
    event->host_network = spec->host_network;
    uint32_t ip = 0x0a000000u | (rt->next_ip++ & 0xffffffu);
    if (!spec->host_network)
        snprintf(event->ip, sizeof event->ip, "10.%u.%u.%u", ip >> 16 & 255, ip >> 8 & 255,
                 ip & 255);
}

static void on_started(void *arg)
{
    struct hollow_box *box = arg;
    struct kb_err err = {0};
    struct kb_rt_ref ref = {box->uid, box->name, box->attempt};
    box->state = KB_RT_RUNNING;
    box->started_us = kb_ev_wall_us(box->rt->base.ev);
    struct kb_rt_container_info info = {.id = box->id,
                                        .image = box->image,
                                        .image_id = box->image,
                                        .restarts = box->restarts,
                                        .state = box->state,
                                        .started_us = box->started_us};
    box->rt->base.listener->started(box->rt->base.arg, &ref, 0, &err, &info);
}

static void hollow_start(struct kb_runtime *base, const struct kb_rt_container_spec *spec)
{
    struct hollow *rt = (struct hollow *)base;
    if (find(base, &spec->ref) != NULL)
        return;
    struct hollow_box *box = calloc(1, sizeof *box);
    KB_ASSERT(box != NULL);
    box->rt = rt;
    box->key = key_of(&spec->ref);
    box->uid = kb_str_dup(kb_str_of(spec->ref.uid));
    box->name = kb_str_dup(kb_str_of(spec->ref.container));
    box->image = kb_str_dup(kb_str_of(spec->image));
    box->attempt = spec->ref.attempt;
    box->restarts = spec->restarts;
    snprintf(box->id, sizeof box->id, "hollow://%016llx%08x",
             (unsigned long long)kb_hash64(box->key, strlen(box->key)), rt->next_id++);
    kb_map_put(&rt->boxes, kb_str_of(box->key), box);
    kb_ev_arm(base->ev, &box->timer, base->options->hollow_start_ms, on_started, box);
}

static void on_ended(void *arg)
{
    struct hollow_box *box = arg;
    struct kb_rt_ref ref = {box->uid, box->name, box->attempt};
    struct kb_rt_exit exit = {.code = 128 + box->signal,
                              .signal = box->signal,
                              .started_us = box->started_us,
                              .finished_us = kb_ev_wall_us(box->rt->base.ev)};
    box->state = KB_RT_EXITED;
    box->rt->base.listener->exited(box->rt->base.arg, &ref, &exit);
}

static int hollow_signal(struct kb_runtime *base, const struct kb_rt_ref *ref, int sig)
{
    struct hollow_box *box = find(base, ref);
    if (box == NULL || box->state != KB_RT_RUNNING)
        return -KB_ENOTFOUND;
    if (sig == SIGTERM || sig == SIGKILL || sig == SIGINT) {
        box->signal = sig;
        kb_ev_arm(base->ev, &box->timer, sig == SIGKILL ? 0 : base->options->hollow_stop_ms,
                  on_ended, box);
    }
    return 0;
}

static void hollow_remove(struct kb_runtime *base, const struct kb_rt_ref *ref)
{
    struct hollow_box *box = find(base, ref);
    if (box != NULL && box->state == KB_RT_EXITED)
        box_free(box);
}

/* Containers of a pod are looked for among all: pods are removed whole, and hollow ones are many;
 * so the caller removes each container before, and what is left here is what it did not know of. */
static void hollow_remove_pod(struct kb_runtime *base, const char *uid)
{
    tell((struct hollow *)base, uid)->gone = true;
}

static char *hollow_pod_dir(struct kb_runtime *base, const char *uid)
{
    (void)base, (void)uid;
    return kb_str_dup(kb_str_of(""));
}

static int hollow_adopt(struct kb_runtime *base, kb_rt_found_fn *found, void *arg,
                        struct kb_err *err)
{
    (void)base, (void)found, (void)arg, (void)err;
    return 0;
}

struct hollow_exec {
    struct kb_rt_exec base;
    struct kb_ev *ev;
    struct kb_ev_timer timer;
};

static void on_exec(void *arg)
{
    struct hollow_exec *exec = arg;
    struct kb_err err = {0};
    kb_err_set(&err, KB_ENOSYS, "a hollow container runs nothing");
    exec->base.handlers->done(exec->base.arg, -KB_ENOSYS, &err, -1);
}

static void exec_nothing(struct kb_rt_exec *exec)
{
    (void)exec;
}

static void exec_no_size(struct kb_rt_exec *exec, uint16_t rows, uint16_t cols)
{
    (void)exec, (void)rows, (void)cols;
}

static void exec_free(struct kb_rt_exec *base)
{
    struct hollow_exec *exec = (struct hollow_exec *)base;
    kb_ev_disarm(exec->ev, &exec->timer);
    free(exec);
}

static const struct kb_rt_exec_impl exec_impl = {exec_nothing, exec_no_size, exec_free};

static struct kb_rt_exec *hollow_exec(struct kb_runtime *base, const struct kb_rt_exec_spec *spec,
                                      const struct kb_rt_exec_handlers *handlers, void *arg)
{
    struct hollow_exec *exec = calloc(1, sizeof *exec);
    KB_ASSERT(exec != NULL);
    (void)spec;
    exec->base = (struct kb_rt_exec){&exec_impl, handlers, arg};
    exec->ev = base->ev;
    kb_ev_arm(base->ev, &exec->timer, 0, on_exec, exec);
    return &exec->base;
}

static void hollow_destroy(struct kb_runtime *base)
{
    struct hollow *rt = (struct hollow *)base;
    kb_str key;
    void *value;
    for (size_t i = 0; kb_map_next(&rt->boxes, &i, &key, &value);)
        box_free(value);
    kb_map_finish(&rt->boxes);
    if (rt->base.ev != NULL)
        kb_ev_disarm(rt->base.ev, &rt->flush);
    for (struct kb_link *link; (link = kb_list_pop(&rt->events)) != NULL;)
        free(KB_CONTAINER(link, struct hollow_event, link));
    free(rt);
}

static const struct kb_runtime_impl hollow_impl = {.name = "hollow",
                                                   .destroy = hollow_destroy,
                                                   .adopt = hollow_adopt,
                                                   .sandbox = hollow_sandbox,
                                                   .start = hollow_start,
                                                   .signal = hollow_signal,
                                                   .remove = hollow_remove,
                                                   .remove_pod = hollow_remove_pod,
                                                   .pod_dir = hollow_pod_dir,
                                                   .exec = hollow_exec,
                                                   .attach = hollow_exec};

int kb__runtime_hollow_new(struct kb_runtime **ret_rt, const struct kb_rt_options *options,
                           struct kb_err *err)
{
    struct hollow *rt = calloc(1, sizeof *rt);
    KB_ASSERT(rt != NULL);
    (void)options, (void)err;
    rt->base.impl = &hollow_impl;
    rt->next_ip = 1;
    kb_list_init(&rt->events);
    snprintf(rt->base.version, sizeof rt->base.version, "hollow://1");
    *ret_rt = &rt->base;
    return 0;
}
