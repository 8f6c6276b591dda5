/* pod_core.c - what kubelet's pod worker decides, without anything that it does.
 *
 * WHY one pass over the whole pod after every event: the order in which a runtime, a probe and the
 * API tell things is not ours to choose, and after a restart of the agent all states are possible
 * at once. So no event has code for "what next"; it records a fact, and sync() derives what is
 * missing.
 *
 * Restarts follow kubelet: the first one at once, then after 10 s doubling to 5 min since the exit;
 * forgotten when the container ran for 10 min. Init containers run one by one; one whose
 * restartPolicy is Always (a sidecar) only has to have started, runs on, and is stopped last.
 *
 * Beside it: pod_stop.c (the end), pod_adopt.c (what an earlier agent left), pod_probe.c,
 * pod_status.c. */
#include "agent/admit.h"
#include "agent/pod_core_impl.h"
#include "bus/base/check.h"
#include "bus/base/grow.h"
#include "bus/model/meta.h"

#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

enum {
    BACKOFF_FIRST_MS = 10000,
    BACKOFF_MOST_MS = 300000,
    RETRY_MS = 10000, /* of what failed before a container existed */
    SANDBOX_RETRY_MS = 2000,
};

static const struct kb_sm_state container_states[] = {
    [C_WAITING] = {"Waiting", KB_SM_TO(C_IMAGE)},
    [C_IMAGE] = {"Image", KB_SM_TO(C_WAITING) | KB_SM_TO(C_STARTING) | KB_SM_TO(C_EXITED)},
    [C_STARTING] = {"Starting", KB_SM_TO(C_WAITING) | KB_SM_TO(C_RUNNING) | KB_SM_TO(C_EXITED)},
    [C_RUNNING] = {"Running", KB_SM_TO(C_EXITED)},
    [C_EXITED] = {"Exited", KB_SM_TO(C_IMAGE)},
};

static void move(struct kb__container *c, int to)
{
    kb_sm_move(container_states, &c->state, to, c->name);
}

/* ---- texts and exits: owned by the container ---- */

void kb__pod_text(char **text, const char *value)
{
    char *copy = value != NULL ? kb_str_dup(kb_str_of(value)) : NULL;
    free(*text);
    *text = copy;
}

static void exit_free(struct kb__exit *exit)
{
    free(exit->message);
    free(exit->id);
    *exit = (struct kb__exit){0};
}

void kb__exit_move(struct kb__exit *to, struct kb__exit *from)
{
    exit_free(to);
    *to = *from;
    *from = (struct kb__exit){0};
}

static void container_free(struct kb__container *c)
{
    exit_free(&c->exit);
    exit_free(&c->last);
    free(c->name);
    free(c->id);
    free(c->image);
    free(c->image_id);
    free(c->waiting_message);
}

/* ---- out ---- */

struct kb_pod_wish *kb__pod_wish(struct kb_pod_out *out, enum kb_pod_wish_kind kind, int container)
{
    KB_GROW(out->wishes, out->n, out->cap, 8);
    struct kb_pod_wish *wish = &out->wishes[out->n++];
    *wish = (struct kb_pod_wish){.kind = kind, .container = container};
    return wish;
}

void kb_pod_out_finish(struct kb_pod_out *out)
{
    kb_arena_finish(&out->arena);
    free(out->wishes);
    *out = (struct kb_pod_out){0};
}

void kb__pod_event(struct kb_pod_core *core, struct kb_pod_out *out, int container, bool warning,
                   const char *reason, const char *format, ...)
{
    char text[1024];
    va_list args;
    (void)core;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    struct kb_pod_wish *wish = kb__pod_wish(out, KB_POD_EVENT, container);
    wish->warning = warning;
    wish->reason = kb_arena_str(&out->arena, kb_str_of(reason)).p;
    wish->message = kb_arena_str(&out->arena, kb_str_of(text)).p;
}

/* ---- making ---- */

static void make_container(struct kb__container *c, kb_val spec)
{
    *c = (struct kb__container){.name = kb_str_dup(kb_val_str(kb_val_get(spec, "name")))};
    kb__pod_text(&c->id, "");
    kb__pod_text(&c->image, "");
    kb__pod_text(&c->image_id, "");
}

/* Those that were put into the pod since; none goes before the pod does. */
static void add_ephemeral(struct kb_pod_core *core)
{
    kb_val list = kb_val_at(kb__pod_root(core), "spec.ephemeralContainers");
    for (struct kb_iter it = kb_iter(list); kb_iter_next(&it);) {
        kb_str name = kb_val_str(kb_val_get(it.val, "name"));
        if (!kb_admit_container_name(name) || kb_pod_core_find(core, name) >= 0)
            continue;
        core->c = realloc(core->c, ((size_t)core->n + 1) * sizeof *core->c);
        KB_ASSERT(core->c != NULL);
        struct kb__container *c = &core->c[core->n++];
        make_container(c, it.val);
        c->ephemeral = true;
    }
}

static void make_containers(struct kb_pod_core *core)
{
    kb_val spec = kb_val_get(kb__pod_root(core), "spec");
    kb_val lists[2] = {kb_val_get(spec, "initContainers"), kb_val_get(spec, "containers")};
    core->n_init = (int)kb_val_count(lists[0]);
    core->n = core->n_main = core->n_init + (int)kb_val_count(lists[1]);
    core->c = calloc((size_t)core->n + 1, sizeof *core->c);
    KB_ASSERT(core->c != NULL);
    struct kb__container *c = core->c;
    for (int k = 0; k < 2; k++)
        for (struct kb_iter it = kb_iter(lists[k]); kb_iter_next(&it); c++) {
            make_container(c, it.val);
            c->init = k == 0;
            c->sidecar =
                c->init && kb_str_is(kb_val_str(kb_val_get(it.val, "restartPolicy")), "Always");
        }
    add_ephemeral(core);
}

struct kb_pod_core *kb_pod_core_new(const struct kb_doc *pod, const struct kb_pod_node *node)
{
    struct kb_pod_core *core = calloc(1, sizeof *core);
    KB_ASSERT(core != NULL);
    core->magic = KB_POD_CORE_MAGIC;
    core->doc = kb_doc_ref(pod);
    core->node = *node;
    core->uid = kb_str_dup(kb_meta_uid(kb__pod_root(core)));
    core->ns = kb_str_dup(kb_meta_ns(kb__pod_root(core)));
    core->name = kb_str_dup(kb_meta_name(kb__pod_root(core)));
    kb_str policy = kb_val_str_at(kb__pod_root(core), "spec.restartPolicy");
    core->policy = kb_str_is(policy, "Never")       ? POLICY_NEVER
                   : kb_str_is(policy, "OnFailure") ? POLICY_ON_FAILURE
                                                    : POLICY_ALWAYS;
    core->host_network = kb_val_bool_at(kb__pod_root(core), "spec.hostNetwork", false);
    core->active_deadline_ms = core->grace_deadline_ms = -1;
    core->start_us = kb_time_at(kb__pod_root(core), "status.startTime");
    make_containers(core);
    return core;
}

void kb_pod_core_destroy(struct kb_pod_core **core_p)
{
    struct kb_pod_core *core = KB_STEAL(*core_p);
    if (core == NULL)
        return;
    for (int i = 0; i < core->n; i++)
        container_free(&core->c[i]);
    free(core->c);
    free(core->uid);
    free(core->ns);
    free(core->name);
    free(core->reason);
    free(core->message);
    kb_doc_destroy(&core->doc);
    kb_doc_destroy(&core->status);
    free(core);
}

/* ---- exits ---- */

void kb__exit_set(struct kb__container *c, const struct kb_rt_exit *rt, const char *message)
{
    exit_free(&c->exit);
    c->exit = (struct kb__exit){.there = true, .rt = *rt};
    c->exit.reason = rt->lost          ? "ContainerStatusUnknown"
                     : rt->oom         ? "OOMKilled"
                     : message != NULL ? "StartError"
                     : rt->code == 0   ? "Completed"
                                       : "Error";
    if (message == NULL && rt->lost)
        message = "The container could not be located when the pod was terminated";
    kb__pod_text(&c->exit.message, message);
    kb__pod_text(&c->exit.id, c->id);
    c->exit.attempt = c->attempt;
}

/* kubelet's back-off: the next span, doubled unless it was long quiet. */
static void backoff_next(struct kb__container *c, kb_ms now)
{
    bool fresh = c->backoff_ms == 0 || now - c->backoff_last_ms > 2 * BACKOFF_MOST_MS;
    c->backoff_ms = fresh                                 ? BACKOFF_FIRST_MS
                    : c->backoff_ms * 2 > BACKOFF_MOST_MS ? BACKOFF_MOST_MS
                                                          : c->backoff_ms * 2;
    c->backoff_last_ms = now;
}

/* Milliseconds that a restart has to wait still. */
static kb_ms backoff_left(const struct kb__container *c, kb_ms now)
{
    if (c->backoff_ms == 0 || c->exited_ms - c->backoff_last_ms > 2 * BACKOFF_MOST_MS)
        return 0;
    kb_ms left = c->exited_ms + c->backoff_ms - now;
    return left > 0 ? left : 0;
}

bool kb__pod_restarts(const struct kb_pod_core *core, const struct kb__container *c)
{
    if (core->deleting || core->failed || c->ephemeral)
        return false;
    if (c->sidecar)
        return !core->ended;
    if (c->init)
        return c->exit.rt.code != 0 && core->policy != POLICY_NEVER;
    return core->policy == POLICY_ALWAYS ||
           (core->policy == POLICY_ON_FAILURE && c->exit.rt.code != 0);
}

void kb__container_info(struct kb__container *c, const struct kb_rt_container_info *info)
{
    kb__pod_text(&c->id, info->id);
    kb__pod_text(&c->image, info->image);
    kb__pod_text(&c->image_id, info->image_id);
    c->started_us = info->started_us;
}

/* ---- starting ---- */

static void set_waiting(struct kb__container *c, const char *reason, const char *message)
{
    c->waiting_reason = reason;
    kb__pod_text(&c->waiting_message, message);
}

static void crash_loop(struct kb_pod_core *core, struct kb__container *c, kb_ms left, kb_ms now,
                       struct kb_pod_out *out)
{
    char text[512];
    kb_ms span = c->backoff_ms;
    char words[32];
    int n = 0;
    if (span >= 60000)
        n = snprintf(words, sizeof words, "%dm", (int)(span / 60000));
    snprintf(words + n, sizeof words - (size_t)n, "%ds", (int)(span / 1000 % 60));
    snprintf(text, sizeof text, "back-off %s restarting failed container=%s pod=%s_%s(%s)", words,
             c->name, core->name, core->ns, core->uid);
    set_waiting(c, "CrashLoopBackOff", text);
    c->retry_ms = now + left;
    if (!c->backoff_told)
        kb__pod_event(core, out, (int)(c - core->c), true, "BackOff",
                      "Back-off restarting failed container %s in pod %s_%s(%s)", c->name,
                      core->name, core->ns, core->uid);
    c->backoff_told = true;
}

/* The error of a pull is shown for a while, then that we wait for the next one. */
static void show_image_backoff(struct kb_pod_core *core, struct kb__container *c,
                               struct kb_pod_out *out)
{
    int at = (int)(c - core->c);
    kb_str image = kb_val_str(kb_val_get(kb_pod_core_spec(core, at), "image"));
    char text[512], error[360];
    snprintf(error, sizeof error, "%s", c->waiting_message ? c->waiting_message : "");
    snprintf(text, sizeof text, "Back-off pulling image \"" KB_STR_FMT "\": ErrImagePull: %s",
             KB_STR_ARG(image), error);
    set_waiting(c, "ImagePullBackOff", text);
    c->flip_ms = 0;
    kb__pod_event(core, out, at, false, "BackOff", "Back-off pulling image \"" KB_STR_FMT "\"",
                  KB_STR_ARG(image));
    kb__pod_event(core, out, at, true, "Failed", "Error: ImagePullBackOff");
}

/* Begin to start a container that should run and does not, unless it has to wait. */
static void try_start(struct kb_pod_core *core, int at, kb_ms now, struct kb_pod_out *out)
{
    struct kb__container *c = &core->c[at];
    if (c->state != C_WAITING && c->state != C_EXITED)
        return;
    if (c->flip_ms > 0 && c->flip_ms <= now)
        show_image_backoff(core, c, out);
    if (c->retry_ms > now)
        return;
    if (c->state == C_EXITED) {
        kb_ms left = backoff_left(c, now);
        if (left > 0) {
            crash_loop(core, c, left, now, out);
            return;
        }
    }
    move(c, C_IMAGE);
    kb__pod_wish(out, KB_POD_IMAGE, at);
}

/* ---- running ---- */

static bool init_done(const struct kb__container *c)
{
    return c->sidecar ? c->state == C_RUNNING && c->started
                      : c->state == C_EXITED && c->exit.rt.code == 0;
}

/* Start what is next among the init containers; sidecars before it are kept running. */
static void sync_init(struct kb_pod_core *core, struct kb_pod_time now, struct kb_pod_out *out)
{
    for (int i = 0; i < core->n_init; i++) {
        struct kb__container *c = &core->c[i];
        if (!c->sidecar && c->state == C_EXITED && c->exit.rt.code != 0 &&
            core->policy == POLICY_NEVER) {
            core->failed = true;
            return;
        }
        if (init_done(c))
            continue;
        try_start(core, i, now.ms, out);
        return;
    }
    core->initialized = true;
}

/* Every regular container has ended for good: the sidecars have nobody left to serve. */
static bool is_served(const struct kb_pod_core *core)
{
    for (int i = core->n_init; i < core->n_main; i++)
        if (core->c[i].state != C_EXITED || kb__pod_restarts(core, &core->c[i]))
            return false;
    return core->n_main > core->n_init;
}

static void sync_run(struct kb_pod_core *core, struct kb_pod_time now, struct kb_pod_out *out)
{
    bool served = core->initialized && is_served(core);
    for (int i = core->n_main; i < core->n && !served; i++) /* also in what does not come up */
        if (core->c[i].state == C_WAITING)
            try_start(core, i, now.ms, out);
    if (!core->initialized)
        sync_init(core, now, out);
    if (!core->initialized || core->failed)
        return;
    core->ended = is_served(core);
    for (int i = 0; i < core->n_main; i++) {
        struct kb__container *c = &core->c[i];
        if (c->init && (!c->sidecar || core->ended))
            continue;
        if (c->state == C_WAITING || (c->state == C_EXITED && kb__pod_restarts(core, c)))
            try_start(core, i, now.ms, out);
    }
}

static void sync_ground(struct kb_pod_core *core, struct kb_pod_time now, struct kb_pod_out *out)
{
    if (!core->prepared) {
        if (!core->preparing && core->prepare_retry_ms <= now.ms) {
            core->preparing = true;
            kb__pod_wish(out, KB_POD_PREPARE, -1);
        }
    } else if (!core->sandbox && !core->sandbox_under_way && core->sandbox_retry_ms <= now.ms) {
        core->sandbox_under_way = true;
        kb__pod_wish(out, KB_POD_SANDBOX, -1);
    }
}

static void check_deadline(struct kb_pod_core *core, struct kb_pod_time now, struct kb_pod_out *out)
{
    int64_t seconds = kb_val_int_at(kb__pod_root(core), "spec.activeDeadlineSeconds", 0);
    if (seconds <= 0 || core->start_us == 0 || core->failed || core->ended || core->finished)
        return;
    int64_t left_us = core->start_us + kb_seconds_us(seconds) - now.wall_us;
    core->active_deadline_ms = now.ms + left_us / 1000 + 1;
    if (left_us > 0)
        return;
    core->active_deadline_ms = -1;
    core->failed = true;
    kb__pod_text(&core->reason, "DeadlineExceeded");
    kb__pod_text(&core->message, "Pod was active on the node longer than the specified deadline");
    kb__pod_event(core, out, -1, false, "DeadlineExceeded", "%s", core->message);
}

static void sync_pod(struct kb_pod_core *core, struct kb_pod_time now, struct kb_pod_out *out)
{
    KB_CHECK_OBJ(core, KB_POD_CORE_MAGIC);
    if (!core->begun)
        return;
    kb__pod_stop_timers(core, now, out);
    check_deadline(core, now, out);
    if (kb__pod_ends(core)) {
        kb__pod_sync_stop(core, now, out);
    } else {
        sync_ground(core, now, out);
        if (core->sandbox)
            sync_run(core, now, out);
        if (kb__pod_ends(core)) /* the sidecars, and who still looks around, end with it */
            kb__pod_sync_stop(core, now, out);
        for (int i = 0; i < core->n; i++)
            kb__probes_sync(core, i, now, out);
    }
    kb__pod_status(core, now, out);
    kb__pod_sync_end(core, now, out);
}

/* ---- events ---- */

void kb_pod_core_update(struct kb_pod_core *core, const struct kb_doc *pod, struct kb_pod_time now,
                        struct kb_pod_out *out)
{
    struct kb_doc *doc = kb_doc_ref(pod);
    kb_doc_destroy(&core->doc);
    core->doc = doc;
    add_ephemeral(core);
    kb_pod_core_ends(core, kb__pod_root(core), now, out);
}

void kb_pod_core_ends(struct kb_pod_core *core, kb_val pod, struct kb_pod_time now,
                      struct kb_pod_out *out)
{
    if (kb_meta_deleting(pod))
        kb__pod_end_by(core, now.ms + kb__pod_grace_of(pod));
    sync_pod(core, now, out);
}

void kb_pod_core_removed(struct kb_pod_core *core, struct kb_pod_time now, struct kb_pod_out *out)
{
    core->begun = core->deleting = core->object_gone = true;
    core->grace_deadline_ms = now.ms;
    sync_pod(core, now, out);
}

void kb_pod_core_reject(struct kb_pod_core *core, const char *reason, const char *message,
                        struct kb_pod_time now, struct kb_pod_out *out)
{
    char text[512];
    snprintf(text, sizeof text, "Pod was rejected: %s", message);
    core->begun = core->failed = core->rejected = true;
    core->start_us = now.wall_us / 1000000 * 1000000;
    kb__pod_text(&core->reason, reason);
    kb__pod_text(&core->message, text);
    kb__pod_event(core, out, -1, true, reason, "%s", message);
    if (kb_meta_deleting(kb__pod_root(core)))
        kb__pod_end_by(core, now.ms);
    sync_pod(core, now, out);
}

void kb_pod_core_prepared(struct kb_pod_core *core, const struct kb_err *err,
                          struct kb_pod_time now, struct kb_pod_out *out)
{
    core->preparing = false;
    core->prepared = err == NULL;
    if (err != NULL) {
        core->prepare_retry_ms = now.ms + RETRY_MS;
        kb__pod_event(core, out, -1, true, "FailedMount", "%s", err->text);
    }
    sync_pod(core, now, out);
}

void kb_pod_core_sandbox(struct kb_pod_core *core, const struct kb_err *err,
                         const struct kb_rt_sandbox_info *info, struct kb_pod_time now,
                         struct kb_pod_out *out)
{
    core->sandbox_under_way = false;
    core->sandbox = err == NULL;
    if (err != NULL) {
        core->sandbox_retry_ms = now.ms + SANDBOX_RETRY_MS;
        kb__pod_event(core, out, -1, true, "FailedCreatePodSandBox",
                      "Failed to create pod sandbox: %s", err->text);
    } else {
        bool host = core->host_network || info->host_network;
        snprintf(core->ip, sizeof core->ip, "%s", host ? core->node.ip : info->ip);
    }
    sync_pod(core, now, out);
}

void kb_pod_core_image(struct kb_pod_core *core, int at, const struct kb_err *err,
                       const char *reason, struct kb_pod_time now, struct kb_pod_out *out)
{
    struct kb__container *c = &core->c[at];
    if (c->state != C_IMAGE)
        return;
    if (kb__pod_ends(core)) {
        move(c, c->exit.there ? C_EXITED : C_WAITING);
    } else if (err == NULL) {
        if (c->exit.there)
            backoff_next(c, now.ms);
        c->image_backoff_ms = c->flip_ms = 0;
        move(c, C_STARTING);
        struct kb_pod_wish *wish = kb__pod_wish(out, KB_POD_START, at);
        wish->attempt = c->attempt = c->next_attempt++;
    } else {
        /* First the error itself, then the waiting for the next try: ImagePullBackOff. */
        bool pulls = strcmp(reason, "ErrImagePull") == 0;
        set_waiting(c, reason, err->text);
        c->image_backoff_ms = c->image_backoff_ms == 0 ? BACKOFF_FIRST_MS : c->image_backoff_ms * 2;
        if (c->image_backoff_ms > BACKOFF_MOST_MS)
            c->image_backoff_ms = BACKOFF_MOST_MS;
        c->retry_ms = now.ms + (pulls ? c->image_backoff_ms : RETRY_MS);
        c->flip_ms = pulls ? now.ms + c->image_backoff_ms / 2 : 0;
        if (pulls)
            kb__pod_event(
                core, out, at, true, "Failed", "Failed to pull image \"" KB_STR_FMT "\": %s",
                KB_STR_ARG(kb_val_str_at(kb_pod_core_spec(core, at), "image")), err->text);
        kb__pod_event(core, out, at, true, "Failed", "Error: %s", reason);
        move(c, c->exit.there ? C_EXITED : C_WAITING);
    }
    sync_pod(core, now, out);
}

/* A start that failed before there was a container: no restart is counted. */
static void could_not_create(struct kb_pod_core *core, int at, const struct kb_err *err,
                             struct kb_pod_time now, struct kb_pod_out *out)
{
    struct kb__container *c = &core->c[at];
    const char *reason =
        err->code == KB_EFORBIDDEN ? "CreateContainerConfigError" : "CreateContainerError";
    set_waiting(c, reason, err->text);
    c->retry_ms = now.ms + RETRY_MS;
    kb__pod_event(core, out, at, true, "Failed", "Error: %s", err->text);
    kb__pod_wish(out, KB_POD_REMOVE, at)->attempt = c->attempt;
    move(c, c->exit.there ? C_EXITED : C_WAITING);
}

static void could_not_run(struct kb_pod_core *core, int at, const struct kb_err *err,
                          struct kb_pod_time now, struct kb_pod_out *out)
{
    struct kb__container *c = &core->c[at];
    struct kb_rt_exit exit = {.code = 128, .finished_us = now.wall_us};
    set_waiting(c, "RunContainerError", err->text);
    if (c->exit.there) {
        kb__exit_move(&c->last, &c->exit);
        c->restarts++;
        kb__pod_wish(out, KB_POD_REMOVE, at)->attempt = c->last.attempt;
    }
    kb__exit_set(c, &exit, err->text);
    if (!kb__pod_restarts(core, c))
        set_waiting(c, NULL, NULL); /* for nothing: it has ended */
    c->exited_ms = now.ms;
    c->backoff_told = false;
    kb__pod_event(core, out, at, true, "Failed", "Error: %s", err->text);
    move(c, C_EXITED);
}

void kb_pod_core_started(struct kb_pod_core *core, int at, unsigned attempt,
                         const struct kb_err *err, const struct kb_rt_container_info *info,
                         struct kb_pod_time now, struct kb_pod_out *out)
{
    struct kb__container *c = &core->c[at];
    if (c->state != C_STARTING || c->attempt != attempt)
        return;
    if (err != NULL && err->code != KB_EINTERNAL) {
        could_not_create(core, at, err, now, out);
    } else if (err != NULL) {
        kb__container_info(c, info);
        could_not_run(core, at, err, now, out);
    } else {
        if (c->adopted && info->restarts > c->restarts)
            c->restarts = info->restarts; /* its start was seen by nobody but the shim */
        if (c->exit.there) {
            kb__exit_move(&c->last, &c->exit);
            c->restarts++;
            kb__pod_wish(out, KB_POD_REMOVE, at)->attempt = c->last.attempt;
        }
        kb__container_info(c, info);
        move(c, C_RUNNING);
        c->stop = STOP_NO;
        set_waiting(c, NULL, NULL);
        c->killed_by_probe = c->backoff_told = false;
        kb__pod_event(core, out, at, false, "Created", "Created container: %s", c->name);
        kb__pod_event(core, out, at, false, "Started", "Started container %s", c->name);
        kb__probes_init(core, at, now);
        c->hook_pending =
            kb_val_present(kb_val_at(kb_pod_core_spec(core, at), "lifecycle.postStart"));
        if (c->hook_pending)
            kb__pod_wish(out, KB_POD_HOOK, at)->hook = KB_HOOK_POST_START;
        kb__probes_sync(core, at, now, out);
    }
    sync_pod(core, now, out);
}

void kb_pod_core_exited(struct kb_pod_core *core, int at, unsigned attempt,
                        const struct kb_rt_exit *exit, const char *message, struct kb_pod_time now,
                        struct kb_pod_out *out)
{
    struct kb__container *c = &core->c[at];
    if (c->state != C_RUNNING || c->attempt != attempt)
        return;
    move(c, C_EXITED);
    kb__exit_set(c, exit, NULL);
    if (message != NULL && *message)
        kb__pod_text(&c->exit.message, message);
    c->exited_ms = now.ms;
    c->retry_ms = 0;
    c->stop = STOP_NO;
    c->ready = c->started = c->hook_pending = false;
    sync_pod(core, now, out);
}

void kb_pod_core_hook(struct kb_pod_core *core, int at, enum kb_pod_hook hook,
                      const struct kb_err *err, struct kb_pod_time now, struct kb_pod_out *out)
{
    struct kb__container *c = &core->c[at];
    if (c->state != C_RUNNING)
        return;
    if (hook == KB_HOOK_PRE_STOP) {
        if (err != NULL)
            kb__pod_event(core, out, at, true, "FailedPreStopHook", "PreStopHook failed");
        if (c->stop == STOP_HOOK)
            kb__pod_stop_term(c, at, now.ms, out);
    } else if (c->hook_pending) {
        c->hook_pending = false;
        if (err != NULL) {
            kb__pod_event(core, out, at, true, "FailedPostStartHook", "PostStartHook failed");
            set_waiting(c, "PostStartHookError", err->text);
            kb__pod_event(core, out, at, false, "Killing", "FailedPostStartHook");
            kb__pod_stop_container(core, at, kb__pod_grace_ms(core), now, out);
        }
    }
    sync_pod(core, now, out);
}

void kb_pod_core_torn_down(struct kb_pod_core *core, const struct kb_err *err,
                           struct kb_pod_time now, struct kb_pod_out *out)
{
    core->tearing_down = false;
    core->torn_down = err == NULL;
    if (err != NULL) {
        core->teardown_retry_ms = now.ms + RETRY_MS;
        kb__pod_event(core, out, -1, true, "FailedKillPod", "error killing pod: %s", err->text);
    }
    sync_pod(core, now, out);
}

void kb_pod_core_retry(struct kb_pod_core *core, struct kb_pod_time now, struct kb_pod_out *out)
{
    core->prepare_retry_ms = 0;
    for (int i = 0; i < core->n; i++)
        if (core->c[i].state == C_WAITING)
            core->c[i].retry_ms = 0;
    sync_pod(core, now, out);
}

void kb_pod_core_tick(struct kb_pod_core *core, struct kb_pod_time now, struct kb_pod_out *out)
{
    sync_pod(core, now, out);
}

/* ---- reading ---- */

static void sooner(kb_ms *due, kb_ms candidate)
{
    if (candidate >= 0 && (*due < 0 || candidate < *due))
        *due = candidate;
}

kb_ms kb_pod_core_wait_ms(const struct kb_pod_core *core, kb_ms now_ms)
{
    kb_ms due = -1;
    bool runs = !kb__pod_ends(core);
    if (runs && !core->prepared && !core->preparing)
        sooner(&due, core->prepare_retry_ms);
    if (runs && core->prepared && !core->sandbox && !core->sandbox_under_way)
        sooner(&due, core->sandbox_retry_ms);
    if (core->deleting && core->finished && !core->torn_down && !core->tearing_down)
        sooner(&due, core->teardown_retry_ms);
    if (runs)
        sooner(&due, core->active_deadline_ms);
    for (int i = 0; i < core->n; i++) {
        const struct kb__container *c = &core->c[i];
        if (c->state == C_RUNNING && c->stop != STOP_NO && c->stop != STOP_KILL)
            sooner(&due, c->stop_at_ms);
        else if (runs && core->sandbox && (c->state == C_WAITING || c->state == C_EXITED) &&
                 c->retry_ms > now_ms)
            sooner(&due, c->flip_ms > 0 ? c->flip_ms : c->retry_ms);
        else if (runs && c->state == C_RUNNING)
            sooner(&due, kb__probes_due(core, i));
    }
    if (due < 0)
        return -1;
    return due > now_ms ? due - now_ms : 0;
}

const struct kb_doc *kb_pod_core_status(const struct kb_pod_core *core)
{
    return core->status;
}

const struct kb_doc *kb_pod_core_doc(const struct kb_pod_core *core)
{
    return core->doc;
}

bool kb_pod_core_grounded(const struct kb_pod_core *core)
{
    return core->prepared;
}

bool kb_pod_core_begun(const struct kb_pod_core *core)
{
    return core->begun;
}

bool kb_pod_core_over(const struct kb_pod_core *core)
{
    const char *phase = kb__pod_phase(core);
    return strcmp(phase, "Succeeded") == 0 || strcmp(phase, "Failed") == 0;
}

const char *kb_pod_core_uid(const struct kb_pod_core *core)
{
    return core->uid;
}

const char *kb_pod_core_ns(const struct kb_pod_core *core)
{
    return core->ns;
}

const char *kb_pod_core_name(const struct kb_pod_core *core)
{
    return core->name;
}

const char *kb_pod_core_ip(const struct kb_pod_core *core)
{
    return core->ip;
}

int kb_pod_core_count(const struct kb_pod_core *core)
{
    return core->n;
}

const char *kb_pod_core_list(const struct kb_pod_core *core, int at)
{
    return at < core->n_init   ? "initContainers"
           : at < core->n_main ? "containers"
                               : "ephemeralContainers";
}

kb_val kb_pod_core_spec(const struct kb_pod_core *core, int at)
{
    kb_val spec = kb_val_get(kb__pod_root(core), "spec");
    if (at < core->n_init)
        return kb_val_index(kb_val_get(spec, "initContainers"), (size_t)at);
    kb_val late = kb_val_get(spec, "ephemeralContainers"); /* in any order */
    for (struct kb_iter it = kb_iter(late); at >= core->n_main && kb_iter_next(&it);)
        if (kb_str_is(kb_val_str(kb_val_get(it.val, "name")), core->c[at].name))
            return it.val;
    return kb_val_index(kb_val_get(spec, "containers"), (size_t)(at - core->n_init));
}

const char *kb_pod_core_container_name(const struct kb_pod_core *core, int at)
{
    return core->c[at].name;
}

int kb_pod_core_find(const struct kb_pod_core *core, kb_str name)
{
    for (int i = 0; i < core->n; i++)
        if (kb_str_is(name, core->c[i].name))
            return i;
    return -1;
}

int kb_pod_core_attempt(const struct kb_pod_core *core, int at)
{
    return core->c[at].next_attempt == 0 ? -1 : (int)core->c[at].attempt;
}

bool kb_pod_core_running(const struct kb_pod_core *core, int at)
{
    return core->c[at].state == C_RUNNING;
}

unsigned kb_pod_core_restarts(const struct kb_pod_core *core, int at)
{
    return core->c[at].restarts + (core->c[at].exit.there ? 1 : 0);
}
