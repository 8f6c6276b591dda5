/* kernel_core.c - the supervisor's decisions.
 *
 * Processes are cheap to start and safe to kill: the store is the only state. So there is one rule
 * for everything that goes wrong with an actor, be it a crash, a hang, or a start that leads
 * nowhere: end it, wait a little longer than the last time, start it again. One that ends again and
 * again without ever having been ready is held: tried every few minutes (what it lacks, say room on
 * the disk, may come back), or when somebody asks for it.
 *
 * There is no order of starting. All are started at once; whoever needs a service that is not there
 * yet waits in the directory. Stopping has an order: first those that write (controllers,
 * scheduler, agents), then the gateway, then the store.
 *
 * kubusd itself may die. Its successor finds who lives (each holds the lock of its name), takes
 * them for its own and expects to hear from them; nobody is started twice.
 *
 * A supervisor that was itself stopped for a while (a suspended machine) must not take its own
 * absence for everybody's hang: after it all are forgiven. */
#include "actors/kernel/kernel_core.h"

#include "bus/base/grow.h"
#include "bus/base/sm.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>

enum {
    ACTORS_MAX = 16384,
    NAME_MAX_BYTES = 128,
    ENDPOINT_MAX_BYTES = 256,
    GAUGES_MAX_BYTES = 16384,
    RESTARTS_MAX = 1000000000,
};

/*  STOPPED --spawn--> STARTING --ready--> READY --no beats--> HUNG
 *  STARTING, READY, HUNG --exit--> BACKOFF or HELD --due--> STARTING
 *  STARTING, READY, HUNG --stop--> STOPPING --exit--> STOPPED
 *  BACKOFF, HELD --stop--> STOPPED   */
static const struct kb_sm_state states[] = {
    [KB_KERNEL_STOPPED] = {"stopped", KB_SM_TO(KB_KERNEL_STARTING)},
    [KB_KERNEL_STARTING] = {"starting", KB_SM_TO(KB_KERNEL_READY) | KB_SM_TO(KB_KERNEL_HUNG) |
                                            KB_SM_TO(KB_KERNEL_BACKOFF) | KB_SM_TO(KB_KERNEL_HELD) |
                                            KB_SM_TO(KB_KERNEL_STOPPING) |
                                            KB_SM_TO(KB_KERNEL_STOPPED)},
    [KB_KERNEL_READY] = {"ready", KB_SM_TO(KB_KERNEL_STARTING) | KB_SM_TO(KB_KERNEL_HUNG) |
                                      KB_SM_TO(KB_KERNEL_BACKOFF) | KB_SM_TO(KB_KERNEL_STOPPING) |
                                      KB_SM_TO(KB_KERNEL_STOPPED)},
    [KB_KERNEL_HUNG] = {"hung", KB_SM_TO(KB_KERNEL_BACKOFF) | KB_SM_TO(KB_KERNEL_HELD) |
                                    KB_SM_TO(KB_KERNEL_STOPPING) | KB_SM_TO(KB_KERNEL_STOPPED)},
    [KB_KERNEL_BACKOFF] = {"backoff", KB_SM_TO(KB_KERNEL_STARTING) | KB_SM_TO(KB_KERNEL_STOPPED)},
    [KB_KERNEL_STOPPING] = {"stopping", KB_SM_TO(KB_KERNEL_STOPPED)},
    [KB_KERNEL_HELD] = {"held", KB_SM_TO(KB_KERNEL_STARTING) | KB_SM_TO(KB_KERNEL_STOPPED)},
};

struct waiter {
    struct waiter *next;
    char *name;
    kb_ms due_ms;
    void *token;
};

struct kb_kernel {
    struct kb_kernel_actor **actors;
    size_t n, cap;
    struct kb_kernel_wish *wishes; /* a queue: [first, n_wishes) */
    size_t first_wish, n_wishes, cap_wishes;
    struct waiter *waiters;
    kb_ms awake_ms;
    bool started, ending, ended;
};

const char *kb_kernel_state_name(int state)
{
    return states[state].name;
}

static void wish(struct kb_kernel *kernel, struct kb_kernel_wish w)
{
    KB_GROW(kernel->wishes, kernel->n_wishes, kernel->cap_wishes, 32);
    kernel->wishes[kernel->n_wishes++] = w;
}

bool kb_kernel_wish(struct kb_kernel *kernel, struct kb_kernel_wish *ret_wish)
{
    if (kernel->first_wish == kernel->n_wishes) {
        kernel->first_wish = kernel->n_wishes = 0;
        return false;
    }
    *ret_wish = kernel->wishes[kernel->first_wish++];
    return true;
}

/* ---- the table of actors ---- */

static struct kb_kernel_actor *find(const struct kb_kernel *kernel, kb_str name)
{
    for (size_t i = 0; i < kernel->n; i++)
        if (kb_str_is(name, kernel->actors[i]->name))
            return kernel->actors[i];
    return NULL;
}

const struct kb_kernel_actor *kb_kernel_find(const struct kb_kernel *kernel, kb_str name)
{
    return find(kernel, name);
}

size_t kb_kernel_count(const struct kb_kernel *kernel)
{
    return kernel->n;
}

const struct kb_kernel_actor *kb_kernel_at(const struct kb_kernel *kernel, size_t i)
{
    return kernel->actors[i];
}

static struct kb_kernel_actor *add(struct kb_kernel *kernel, kb_str name)
{
    struct kb_kernel_actor *actor = find(kernel, name);
    if (actor)
        return actor;
    KB_GROW(kernel->actors, kernel->n, kernel->cap, 32);
    actor = calloc(1, sizeof(*actor));
    KB_ASSERT(actor != NULL);
    actor->name = kb_str_dup(name);
    actor->backoff_ms = KB_KERNEL_BACKOFF_MIN_MS;
    actor->ready_ms = -1;
    kernel->actors[kernel->n++] = actor;
    return actor;
}

void kb_kernel_add(struct kb_kernel *kernel, const char *name)
{
    struct kb_kernel_actor *actor = add(kernel, kb_str_of(name));
    actor->planned = actor->ours = true;
}

static void actor_free(struct kb_kernel_actor *actor)
{
    kb_doc_destroy(&actor->gauges);
    free(actor->name);
    free(actor->call);
    free(actor->events);
    free(actor);
}

struct kb_kernel *kb_kernel_new(void)
{
    struct kb_kernel *kernel = calloc(1, sizeof(*kernel));
    KB_ASSERT(kernel != NULL);
    return kernel;
}

void kb_kernel_destroy(struct kb_kernel **kernel_p)
{
    struct kb_kernel *kernel = KB_STEAL(*kernel_p);
    if (kernel == NULL)
        return;
    for (size_t i = 0; i < kernel->n; i++)
        actor_free(kernel->actors[i]);
    for (struct waiter *w = kernel->waiters, *next; w; w = next) {
        next = w->next;
        free(w->name);
        free(w);
    }
    free(kernel->actors);
    free(kernel->wishes);
    free(kernel);
}

static void move(struct kb_kernel_actor *actor, enum kb_kernel_state to)
{
    kb_sm_move(states, &actor->state, (int)to, actor->name);
}

static bool runs(const struct kb_kernel_actor *actor)
{
    return actor->pid != 0;
}

/* Every event says that kubusd turns. After a long silence of its own it forgives everybody's. */
static void awake(struct kb_kernel *kernel, kb_ms now_ms)
{
    kb_ms since = now_ms - kernel->awake_ms;
    kernel->awake_ms = now_ms;
    if (since <= 2 * KB_KERNEL_BEAT_MS)
        return;
    for (size_t i = 0; i < kernel->n; i++)
        kernel->actors[i]->beat_at_ms += since;
}

/* ---- the directory ---- */

static bool serves(const struct kb_kernel_actor *actor)
{
    return actor && actor->ready && actor->call && runs(actor);
}

/* Answer all that wait for this actor. */
static void answer_waiters(struct kb_kernel *kernel, const struct kb_kernel_actor *actor)
{
    for (struct waiter **at = &kernel->waiters; *at;) {
        struct waiter *w = *at;
        if (strcmp(w->name, actor->name) != 0) {
            at = &w->next;
            continue;
        }
        *at = w->next;
        wish(kernel,
             (struct kb_kernel_wish){.kind = KB_KERNEL_ANSWER, .actor = actor, .token = w->token});
        free(w->name);
        free(w);
    }
}

static void expire_waiters(struct kb_kernel *kernel, kb_ms now_ms)
{
    for (struct waiter **at = &kernel->waiters; *at;) {
        struct waiter *w = *at;
        if (w->due_ms > now_ms && !kernel->ending) {
            at = &w->next;
            continue;
        }
        *at = w->next;
        wish(kernel, (struct kb_kernel_wish){.kind = KB_KERNEL_ANSWER, .token = w->token});
        free(w->name);
        free(w);
    }
}

void kb_kernel_resolve(struct kb_kernel *kernel, kb_str name, kb_ms wait_ms, void *token,
                       kb_ms now_ms)
{
    const struct kb_kernel_actor *actor = find(kernel, name);
    if (serves(actor) || wait_ms <= 0 || kernel->ending) {
        wish(kernel, (struct kb_kernel_wish){.kind = KB_KERNEL_ANSWER,
                                             .actor = serves(actor) ? actor : NULL,
                                             .token = token});
        return;
    }
    struct waiter *w = calloc(1, sizeof(*w));
    KB_ASSERT(w != NULL);
    *w = (struct waiter){kernel->waiters, kb_str_dup(name), now_ms + wait_ms, token};
    kernel->waiters = w;
}

/* ---- starting and ending ---- */

static void forget_process(struct kb_kernel_actor *actor)
{
    actor->pid = 0;
    actor->ready = actor->heard = false;
    actor->instance[0] = '\0';
    actor->ready_ms = -1;
    free(actor->call);
    free(actor->events);
    actor->call = actor->events = NULL;
    kb_doc_destroy(&actor->gauges);
}

static void start(struct kb_kernel *kernel, struct kb_kernel_actor *actor, kb_ms now_ms)
{
    move(actor, KB_KERNEL_STARTING);
    actor->again = false;
    actor->spawned_ms = now_ms;
    actor->due_ms = now_ms + KB_KERNEL_START_MS;
    wish(kernel, (struct kb_kernel_wish){.kind = KB_KERNEL_SPAWN, .actor = actor});
}

static void send_signal(struct kb_kernel *kernel, const struct kb_kernel_actor *actor, int number)
{
    if (runs(actor) && actor->ours)
        wish(kernel,
             (struct kb_kernel_wish){
                 .kind = KB_KERNEL_SIGNAL, .actor = actor, .pid = actor->pid, .signal = number});
}

static void stop(struct kb_kernel *kernel, struct kb_kernel_actor *actor, bool again, kb_ms now_ms)
{
    actor->again = again;
    if (actor->state == KB_KERNEL_STOPPING || actor->state == KB_KERNEL_STOPPED)
        return;
    if (!runs(actor) && actor->state != KB_KERNEL_STARTING) { /* BACKOFF, HELD */
        move(actor, KB_KERNEL_STOPPED);
        actor->due_ms = 0;
        return;
    }
    move(actor, KB_KERNEL_STOPPING);
    actor->due_ms = now_ms + KB_KERNEL_STOP_MS;
    send_signal(kernel, actor, SIGTERM);
}

void kb_kernel_found(struct kb_kernel *kernel, const char *name, int pid, bool fits, kb_ms now_ms)
{
    struct kb_kernel_actor *actor = add(kernel, kb_str_of(name));
    KB_ASSERT(!kernel->started && actor->state == KB_KERNEL_STOPPED);
    move(actor, KB_KERNEL_STARTING);
    actor->pid = pid;
    actor->ours = true;
    actor->heard = true; /* it is up for long: three beats must do */
    actor->spawned_ms = actor->beat_at_ms = now_ms;
    if (!fits)
        stop(kernel, actor, actor->planned, now_ms);
}

void kb_kernel_start(struct kb_kernel *kernel, kb_ms now_ms)
{
    kernel->started = true;
    kernel->awake_ms = now_ms;
    for (size_t i = 0; i < kernel->n; i++)
        if (kernel->actors[i]->planned && kernel->actors[i]->state == KB_KERNEL_STOPPED)
            start(kernel, kernel->actors[i], now_ms);
}

void kb_kernel_spawned(struct kb_kernel *kernel, const char *name, int pid, kb_ms now_ms)
{
    struct kb_kernel_actor *actor = find(kernel, kb_str_of(name));
    KB_ASSERT(actor != NULL);
    actor->pid = pid;
    actor->beat_at_ms = now_ms;
    if (actor->state == KB_KERNEL_STOPPING)
        send_signal(kernel, actor, SIGTERM);
}

/* Stopping goes in waves; the store is last. */
static int wave_of(const struct kb_kernel_actor *actor)
{
    return strcmp(actor->name, "store") == 0 ? 0 : strcmp(actor->name, "api") == 0 ? 1 : 2;
}

/* The wave that is to be stopped now; -1: nobody is left. */
static int wave_due(const struct kb_kernel *kernel)
{
    int wave = -1;
    for (size_t i = 0; i < kernel->n; i++) {
        const struct kb_kernel_actor *actor = kernel->actors[i];
        if (actor->planned && actor->state != KB_KERNEL_STOPPED && wave_of(actor) > wave)
            wave = wave_of(actor);
    }
    return wave;
}

/* Stop the wave that is due; when nobody is left, end. One without processes (they back off) is
 * stopped at once: then the next is due. */
static void go_on_ending(struct kb_kernel *kernel, kb_ms now_ms)
{
    int wave = wave_due(kernel), before;
    do {
        for (size_t i = kernel->n; i-- > 0;)
            if (kernel->actors[i]->planned && wave_of(kernel->actors[i]) == wave)
                stop(kernel, kernel->actors[i], false, now_ms);
        before = wave;
        wave = wave_due(kernel);
    } while (wave >= 0 && wave != before);
    if (wave >= 0 || kernel->ended)
        return;
    kernel->ended = true;
    wish(kernel, (struct kb_kernel_wish){.kind = KB_KERNEL_END});
}

static void back_off(struct kb_kernel_actor *actor, kb_ms now_ms)
{
    if (actor->ready_at_ms && now_ms - actor->ready_at_ms >= KB_KERNEL_STABLE_MS)
        actor->backoff_ms = KB_KERNEL_BACKOFF_MIN_MS;
    actor->failures = actor->ready_at_ms ? 0 : actor->failures + 1;
    bool held = actor->failures >= KB_KERNEL_HOLD_AFTER;
    move(actor, held ? KB_KERNEL_HELD : KB_KERNEL_BACKOFF);
    actor->due_ms = now_ms + (held ? KB_KERNEL_HOLD_MS : actor->backoff_ms);
    actor->backoff_ms *= 2;
    if (actor->backoff_ms > KB_KERNEL_BACKOFF_MAX_MS)
        actor->backoff_ms = KB_KERNEL_BACKOFF_MAX_MS;
    actor->ready_at_ms = 0;
    actor->restarts++;
}

void kb_kernel_exited(struct kb_kernel *kernel, const char *name, int pid, const char *how,
                      kb_ms now_ms)
{
    struct kb_kernel_actor *actor = find(kernel, kb_str_of(name));
    awake(kernel, now_ms);
    if (actor == NULL || actor->pid != pid)
        return; /* of a process before this one */
    bool hung = actor->state == KB_KERNEL_HUNG;
    snprintf(actor->message, sizeof(actor->message), "%s%s", hung ? "hung: " : "", how);
    forget_process(actor);
    actor->due_ms = 0;
    if (actor->state == KB_KERNEL_STOPPING || !actor->planned) {
        move(actor, KB_KERNEL_STOPPED);
        if (actor->again && !kernel->ending)
            start(kernel, actor, now_ms);
    } else if (actor->state != KB_KERNEL_STOPPED) {
        back_off(actor, now_ms);
    }
    if (kernel->ending)
        go_on_ending(kernel, now_ms);
}

/* ---- what actors say ---- */

static void set_ready(struct kb_kernel *kernel, struct kb_kernel_actor *actor, bool ready,
                      kb_ms now_ms)
{
    bool was = serves(actor);
    actor->ready = ready;
    if (ready && actor->ready_ms < 0) {
        actor->ready_ms = now_ms - actor->spawned_ms;
        actor->ready_at_ms = now_ms;
        actor->message[0] = '\0';
    }
    if (ready && actor->state == KB_KERNEL_STARTING)
        move(actor, KB_KERNEL_READY);
    else if (!ready && actor->state == KB_KERNEL_READY)
        move(actor, KB_KERNEL_STARTING);
    if (serves(actor) && !was)
        answer_waiters(kernel, actor);
}

/* Alive: what its state waited for is over, unless it is to end. */
static void heard(struct kb_kernel_actor *actor, kb_ms now_ms)
{
    actor->heard = true;
    actor->beat_at_ms = now_ms;
    if (actor->state == KB_KERNEL_STARTING)
        actor->due_ms = 0;
}

static void set_text(char **at, kb_str text)
{
    free(*at);
    *at = text.n ? kb_str_dup(text) : NULL;
}

/* Of services, of nodes, of processes by the way: printable, and no more than a file's name. */
static bool name_is_good(kb_str name)
{
    for (size_t i = 0; i < name.n; i++)
        if (name.p[i] <= ' ' || name.p[i] > '~')
            return false;
    return name.n > 0 && name.n <= NAME_MAX_BYTES;
}

static bool endpoint_is_good(kb_str endpoint)
{
    return endpoint.n == 0 ||
           (endpoint.n <= ENDPOINT_MAX_BYTES && !kb_str_has(endpoint, '\0') &&
            (kb_str_starts(endpoint, "ipc://") || kb_str_starts(endpoint, "tcp://")));
}

/* Those that came by themselves and have gone are remembered for `kernel.status`, but not all that
 * ever were. */
static void forget_old(struct kb_kernel *kernel)
{
    for (size_t i = 0; kernel->n >= ACTORS_MAX && i < kernel->n; i++) {
        struct kb_kernel_actor *actor = kernel->actors[i];
        if (actor->planned || actor->ours || runs(actor) || actor->state != KB_KERNEL_STOPPED)
            continue;
        actor_free(actor);
        kernel->n--;
        memmove(kernel->actors + i, kernel->actors + i + 1,
                (kernel->n - i) * sizeof(struct kb_kernel_actor *));
        return;
    }
}

static int check_registration(struct kb_kernel *kernel, const struct kb_kernel_registration *r,
                              struct kb_err *err)
{
    if (!name_is_good(r->name) || r->pid <= 0 || r->instance.n != KB_UUID_BYTES - 1)
        return kb_err_set(err, KB_EINVAL, "a registration needs name, pid and instance");
    if (!endpoint_is_good(r->call) || !endpoint_is_good(r->events))
        return kb_err_set(err, KB_EINVAL, "the registration of '" KB_STR_FMT "' has odd endpoints",
                          KB_STR_ARG(r->name));
    if (find(kernel, r->name) == NULL) {
        forget_old(kernel);
        if (kernel->n >= ACTORS_MAX)
            return kb_err_set(err, KB_EFULL, "%zu actors are registered already", kernel->n);
    }
    return 0;
}

int kb_kernel_register(struct kb_kernel *kernel, const struct kb_kernel_registration *r,
                       kb_ms now_ms, struct kb_err *err)
{
    int rc = check_registration(kernel, r, err);
    if (rc < 0)
        return rc;
    awake(kernel, now_ms);
    struct kb_kernel_actor *actor = add(kernel, r->name);
    if (runs(actor) && actor->pid != r->pid)
        return kb_err_set(err, KB_ECONFLICT, "'%s' is process %d, not %d", actor->name, actor->pid,
                          r->pid);
    if (!runs(actor) && actor->planned && actor->state == KB_KERNEL_STOPPED)
        return kb_err_set(err, KB_ECONFLICT, "'%s' is to be stopped", actor->name);
    if (!runs(actor) && actor->state != KB_KERNEL_STARTING) {
        /* Not of the plan, or started by a kubusd before this one and not found: it has the lock of
         * its name, so it is the one. */
        move(actor, KB_KERNEL_STARTING);
        actor->spawned_ms = now_ms;
    }
    actor->pid = r->pid;
    if (r->restarts > actor->restarts && r->restarts < RESTARTS_MAX)
        actor->restarts = r->restarts;
    kb_str_copy(r->instance, actor->instance, sizeof(actor->instance));
    set_text(&actor->call, r->call);
    set_text(&actor->events, r->events);
    heard(actor, now_ms);
    set_ready(kernel, actor, r->ready, now_ms);
    if (serves(actor))
        answer_waiters(kernel, actor);
    return 0;
}

int kb_kernel_beat(struct kb_kernel *kernel, kb_str name, kb_str instance, bool ready,
                   kb_val gauges, kb_ms now_ms, bool *ret_stop)
{
    struct kb_kernel_actor *actor = find(kernel, name);
    awake(kernel, now_ms);
    if (actor == NULL || !runs(actor) || !kb_str_is(instance, actor->instance))
        return -KB_ENOTFOUND;
    heard(actor, now_ms);
    set_ready(kernel, actor, ready, now_ms);
    kb_doc_destroy(&actor->gauges);
    if (kb_val_count(gauges) > 0 && kb_val_size(gauges) <= GAUGES_MAX_BYTES)
        actor->gauges = kb_doc_of(gauges);
    *ret_stop = actor->state == KB_KERNEL_STOPPING;
    return 0;
}

/* ---- orders ---- */

int kb_kernel_stop(struct kb_kernel *kernel, const char *name, kb_ms now_ms, struct kb_err *err)
{
    if (name == NULL) {
        kernel->ending = true;
        expire_waiters(kernel, now_ms);
        go_on_ending(kernel, now_ms);
        return 0;
    }
    struct kb_kernel_actor *actor = find(kernel, kb_str_of(name));
    if (actor == NULL)
        return kb_err_set(err, KB_ENOTFOUND, "there is no actor '%s'", name);
    stop(kernel, actor, false, now_ms);
    return 0;
}

int kb_kernel_restart(struct kb_kernel *kernel, const char *name, kb_ms now_ms, struct kb_err *err)
{
    struct kb_kernel_actor *actor = find(kernel, kb_str_of(name));
    if (actor == NULL || !actor->planned)
        return kb_err_set(err, KB_ENOTFOUND, "there is no actor '%s' to start", name);
    if (kernel->ending)
        return kb_err_set(err, KB_EUNAVAILABLE, "the cluster is being stopped");
    stop(kernel, actor, true, now_ms);
    actor->backoff_ms = KB_KERNEL_BACKOFF_MIN_MS;
    actor->failures = 0;
    if (actor->state == KB_KERNEL_STOPPED)
        start(kernel, actor, now_ms);
    return 0;
}

/* ---- time ---- */

/* Until when must this actor be heard? 0: no limit. */
static kb_ms silent_until(const struct kb_kernel_actor *actor)
{
    bool alive = actor->state == KB_KERNEL_STARTING || actor->state == KB_KERNEL_READY;
    if (!alive || !actor->heard || !runs(actor))
        return 0;
    return actor->beat_at_ms + KB_KERNEL_MISSED * KB_KERNEL_BEAT_MS;
}

/* One that came by itself is told to end in its beats, and forgotten when it is not heard any more.
 */
static void tick_foreign(struct kb_kernel_actor *actor, kb_ms now_ms)
{
    kb_ms heard_until = actor->beat_at_ms + KB_KERNEL_MISSED * KB_KERNEL_BEAT_MS;
    if (!runs(actor) || heard_until > now_ms)
        return;
    snprintf(actor->message, sizeof(actor->message), "not heard any more");
    forget_process(actor);
    actor->due_ms = 0;
    move(actor, KB_KERNEL_STOPPED);
}

static void tick_actor(struct kb_kernel *kernel, struct kb_kernel_actor *actor, kb_ms now_ms)
{
    kb_ms silent = silent_until(actor);
    bool due = actor->due_ms && actor->due_ms <= now_ms;
    if (!actor->ours) {
        tick_foreign(actor, now_ms);
        return;
    }
    if ((actor->state == KB_KERNEL_BACKOFF || actor->state == KB_KERNEL_HELD) && due) {
        start(kernel, actor, now_ms);
    } else if (actor->state == KB_KERNEL_STOPPING && due) {
        send_signal(kernel, actor, SIGKILL);
        actor->due_ms = now_ms + KB_KERNEL_STOP_MS;
    } else if (actor->state == KB_KERNEL_HUNG && due) {
        send_signal(kernel, actor, SIGKILL);
        actor->due_ms = now_ms + KB_KERNEL_BEAT_MS;
    } else if ((silent && silent <= now_ms) || (actor->state == KB_KERNEL_STARTING && due)) {
        snprintf(actor->message, sizeof(actor->message), "no beat for %lld ms",
                 (long long)(now_ms - actor->beat_at_ms));
        actor->ready = false;
        move(actor, KB_KERNEL_HUNG);
        send_signal(kernel, actor, SIGKILL);
        actor->due_ms = now_ms + KB_KERNEL_BEAT_MS;
    }
}

void kb_kernel_tick(struct kb_kernel *kernel, kb_ms now_ms)
{
    awake(kernel, now_ms);
    for (size_t i = 0; i < kernel->n; i++)
        tick_actor(kernel, kernel->actors[i], now_ms);
    expire_waiters(kernel, now_ms);
}

kb_ms kb_kernel_next_ms(const struct kb_kernel *kernel, kb_ms now_ms)
{
    kb_ms next = now_ms + KB_KERNEL_BEAT_MS;
    for (size_t i = 0; i < kernel->n; i++) {
        const struct kb_kernel_actor *actor = kernel->actors[i];
        kb_ms silent = silent_until(actor);
        if (actor->due_ms && actor->due_ms < next)
            next = actor->due_ms;
        if (silent && silent < next)
            next = silent;
    }
    for (const struct waiter *w = kernel->waiters; w; w = w->next)
        if (w->due_ms < next)
            next = w->due_ms;
    return next > now_ms ? next - now_ms : 0;
}
