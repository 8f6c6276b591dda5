/* What kubusd decides: which actors run, since when, who serves what. Pure: events and time come
 * in, wishes go out. actors/kernel/kernel_actor.c carries them out. */
#ifndef KUBUS_KERNEL_CORE_H
#define KUBUS_KERNEL_CORE_H

#include "bus/base/clock.h"
#include "bus/base/err.h"
#include "bus/base/rand.h"
#include "bus/model/doc.h"

enum {
    KB_KERNEL_BEAT_MS = 2000,
    KB_KERNEL_MISSED = 3,           /* beats without which an actor counts as hung */
    KB_KERNEL_START_MS = 60000,     /* from spawn to its first word; a store may have to recover */
    KB_KERNEL_STOP_MS = 10000,      /* from SIGTERM to SIGKILL */
    KB_KERNEL_BACKOFF_MIN_MS = 100, /* doubles with each end … */
    KB_KERNEL_BACKOFF_MAX_MS = 10000,
    KB_KERNEL_STABLE_MS = 60000, /* … and starts again after it was ready for so long */
    KB_KERNEL_HOLD_AFTER = 10,   /* ends in a row without having been ready: held */
    KB_KERNEL_HOLD_MS = 300000,  /* then it is tried so rarely */
};

enum kb_kernel_state {
    KB_KERNEL_STOPPED,
    KB_KERNEL_STARTING,
    KB_KERNEL_READY,
    KB_KERNEL_HUNG,
    KB_KERNEL_BACKOFF,
    KB_KERNEL_STOPPING,
    KB_KERNEL_HELD,
};

/* One actor, as the core sees it. Read it freely; only the core writes. */
struct kb_kernel_actor {
    char *name;
    int state;
    bool planned; /* ours to run */
    /* Its process is ours: planned, or found living. Others registered themselves; their pid may
     * mean nothing here, so they are never sent a signal. */
    bool ours;
    bool again;        /* STOPPING: start it again when it has ended */
    bool ready, heard; /* said that it can serve; said anything at all since it was started */
    int pid;           /* 0: no process */
    char instance[KB_UUID_BYTES];
    char *call, *events; /* endpoints; NULL: none, or not known yet */
    int64_t restarts;
    int failures;                              /* ends in a row without having been ready */
    kb_ms spawned_ms, ready_at_ms, beat_at_ms; /* points in time */
    kb_ms ready_ms;                            /* how long it took to be ready; -1: not yet */
    kb_ms backoff_ms, due_ms;                  /* due: of what the state waits for; 0: nothing */
    struct kb_doc *gauges;
    char message[200]; /* why it is not ready, or how it last ended */
};

enum kb_kernel_wish_kind {
    KB_KERNEL_SPAWN,  /* start `actor`; then tell spawned or exited */
    KB_KERNEL_SIGNAL, /* send `signal` to `pid` */
    KB_KERNEL_ANSWER, /* answer the resolve `token` with `actor`; NULL: not in time */
    KB_KERNEL_END,    /* all have ended: kubusd ends too */
};

struct kb_kernel_wish {
    enum kb_kernel_wish_kind kind;
    const struct kb_kernel_actor *actor; /* valid until the core's next event */
    int pid, signal;
    void *token;
};

struct kb_kernel;

struct kb_kernel *kb_kernel_new(void);
void kb_kernel_destroy(struct kb_kernel **kernel_p);

/* Take the next wish; false: none. */
bool kb_kernel_wish(struct kb_kernel *kernel, struct kb_kernel_wish *ret_wish);

/* Have this actor run; in the order of these calls they are started. */
void kb_kernel_add(struct kb_kernel *kernel, const char *name);
/* Before kb_kernel_start: a process of this name lives already. It is adopted, or, when its
 * arguments are not those of the plan, ended and replaced. */
void kb_kernel_found(struct kb_kernel *kernel, const char *name, int pid, bool fits, kb_ms now_ms);
void kb_kernel_start(struct kb_kernel *kernel, kb_ms now_ms);

void kb_kernel_spawned(struct kb_kernel *kernel, const char *name, int pid, kb_ms now_ms);
/* The process has ended, or could not be started (pid 0). `how` is for people. */
void kb_kernel_exited(struct kb_kernel *kernel, const char *name, int pid, const char *how,
                      kb_ms now_ms);

struct kb_kernel_registration {
    kb_str name, instance, call, events;
    int pid;
    bool ready;
    int64_t restarts; /* as it was told when it was started, perhaps by a kubusd before this one */
};
/* -KB_EINVAL; -KB_ECONFLICT: another process is this actor. */
int kb_kernel_register(struct kb_kernel *kernel, const struct kb_kernel_registration *registration,
                       kb_ms now_ms, struct kb_err *err);
/* -KB_ENOTFOUND: it has to register (again). *ret_stop: it shall end. */
int kb_kernel_beat(struct kb_kernel *kernel, kb_str name, kb_str instance, bool ready,
                   kb_val gauges, kb_ms now_ms, bool *ret_stop);

/* Where does it serve? Answered by a wish, at the latest when `wait_ms` are over. */
void kb_kernel_resolve(struct kb_kernel *kernel, kb_str name, kb_ms wait_ms, void *token,
                       kb_ms now_ms);

/* Stop one actor and hold it, or (NULL) all of them and then end. -KB_ENOTFOUND. */
int kb_kernel_stop(struct kb_kernel *kernel, const char *name, kb_ms now_ms, struct kb_err *err);
/* Stop and start it, or start it again after a stop. -KB_ENOTFOUND; -KB_EUNAVAILABLE: ending. */
int kb_kernel_restart(struct kb_kernel *kernel, const char *name, kb_ms now_ms, struct kb_err *err);

/* Let time pass: at least once a beat. */
void kb_kernel_tick(struct kb_kernel *kernel, kb_ms now_ms);
/* When the next tick is needed, at the latest a beat from now. */
kb_ms kb_kernel_next_ms(const struct kb_kernel *kernel, kb_ms now_ms);

const char *kb_kernel_state_name(int state);
size_t kb_kernel_count(const struct kb_kernel *kernel);
const struct kb_kernel_actor *kb_kernel_at(const struct kb_kernel *kernel, size_t i);
const struct kb_kernel_actor *kb_kernel_find(const struct kb_kernel *kernel, kb_str name);

#endif
