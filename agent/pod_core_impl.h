/* The inside of a pod's core, shared by the files pod_*.c alone. */
#ifndef KUBUS_AGENT_POD_CORE_IMPL_H
#define KUBUS_AGENT_POD_CORE_IMPL_H

#include "agent/pod_core.h"
#include "bus/base/sm.h"

/*  WAITING --> IMAGE --> STARTING --> RUNNING --> EXITED --> IMAGE (a restart)
 *     ^___________|___________|                     |
 *     (could not: again later)                      '--> for good                      */
enum { C_WAITING, C_IMAGE, C_STARTING, C_RUNNING, C_EXITED };

/* How far the stopping of a running container is. */
enum { STOP_NO, STOP_HOOK, STOP_TERM, STOP_KILL };

enum { POLICY_ALWAYS, POLICY_ON_FAILURE, POLICY_NEVER };

struct kb__probe {
    bool exists, under_way, passed, ever; /* ever: has passed once */
    int early;
    kb_ms due_ms;
    int ok_run, bad_run; /* consecutive results */
};

struct kb__exit {
    bool there;
    struct kb_rt_exit rt;
    const char *reason; /* static: Completed, Error, OOMKilled, StartError … */
    char *message, *id; /* owned; NULL: none */
    unsigned attempt;
};

struct kb__container {
    char *name;
    bool init, sidecar, ephemeral; /* ephemeral: was put in to look around; started once */
    int state, stop;
    unsigned attempt, next_attempt, restarts;
    char *id, *image, *image_id; /* never NULL */
    int64_t started_us;
    bool started, ready, hook_pending, killed_by_probe, adopted;
    const char *waiting_reason; /* static; NULL: none of its own */
    char *waiting_message;      /* NULL: none */
    kb_ms retry_ms;             /* not before; while WAITING or EXITED */
    kb_ms stop_at_ms;           /* SIGKILL, or the end of the hook */
    kb_ms stop_deadline_ms;
    kb_ms image_backoff_ms, flip_ms; /* ErrImagePull becomes ImagePullBackOff then */
    kb_ms backoff_ms, backoff_last_ms, exited_ms;
    bool backoff_told;
    struct kb__exit exit, last; /* of this attempt (EXITED), and of the one before */
    struct kb__probe probes[KB_PROBES];
};

struct kb_pod_core {
    uint32_t magic;
#define KB_POD_CORE_MAGIC 0x90dc04e1u
    struct kb_doc *doc, *status;
    char *uid, *ns, *name;
    struct kb_pod_node node;
    char ip[16];
    int n, n_init, n_main; /* init ones, then regular ones up to n_main, then ephemeral ones */
    int policy;
    struct kb__container *c;
    bool host_network, begun;
    bool prepared, preparing, sandbox, sandbox_under_way;
    kb_ms prepare_retry_ms, sandbox_retry_ms, teardown_retry_ms;
    bool initialized;
    bool deleting, object_gone; /* asked to go; its object went */
    bool failed;                /* deadline or init: no restarts, all stop */
    bool rejected;              /* the node did not take it */
    char *reason, *message;     /* of the pod; NULL: none */
    bool frozen;                /* over before we saw it: its status is not ours to rewrite */
    bool ended;                 /* the regular containers have, for good: the rest is to end */
    bool finished;              /* nothing of it runs, or will be started */
    bool tearing_down, torn_down, delete_told;
    int64_t start_us;
    kb_ms grace_deadline_ms, active_deadline_ms;
};

/* pod_core.c */
struct kb_pod_wish *kb__pod_wish(struct kb_pod_out *out, enum kb_pod_wish_kind kind, int container);
KB_PRINTF(6, 7)
void kb__pod_event(struct kb_pod_core *core, struct kb_pod_out *out, int container, bool warning,
                   const char *reason, const char *format, ...);
void kb__pod_text(char **text, const char *value); /* a copy in its place; NULL: none */
void kb__exit_move(struct kb__exit *to, struct kb__exit *from);
void kb__exit_set(struct kb__container *c, const struct kb_rt_exit *rt, const char *message);
void kb__container_info(struct kb__container *c, const struct kb_rt_container_info *info);

static inline kb_val kb__pod_root(const struct kb_pod_core *core)
{
    return kb_doc_root(core->doc);
}

/* Nothing more is started, and what runs is to end. */
static inline bool kb__pod_ends(const struct kb_pod_core *core)
{
    return core->deleting || core->failed || core->ended || core->finished;
}

/* pod_stop.c */
kb_ms kb__pod_grace_of(kb_val pod);
kb_ms kb__pod_grace_ms(const struct kb_pod_core *core);
/* What is left of the grace of a deletion that was before us. */
kb_ms kb__pod_grace_left_ms(const struct kb_pod_core *core, struct kb_pod_time now);
/* The pod is deleted; its grace ends then, unless it was to end sooner. */
void kb__pod_end_by(struct kb_pod_core *core, kb_ms deadline_ms);
void kb__pod_stop_container(struct kb_pod_core *core, int at, kb_ms grace_ms,
                            struct kb_pod_time now, struct kb_pod_out *out);
void kb__pod_stop_term(struct kb__container *c, int at, kb_ms now, struct kb_pod_out *out);
void kb__pod_stop_timers(struct kb_pod_core *core, struct kb_pod_time now, struct kb_pod_out *out);
/* Stop those of one kind; true when none is left. */
bool kb__pod_stop_all(struct kb_pod_core *core, bool sidecars, struct kb_pod_time now,
                      struct kb_pod_out *out);
void kb__pod_sync_stop(struct kb_pod_core *core, struct kb_pod_time now, struct kb_pod_out *out);
void kb__pod_sync_end(struct kb_pod_core *core, struct kb_pod_time now, struct kb_pod_out *out);

/* pod_probe.c */
void kb__probes_init(struct kb_pod_core *core, int at, struct kb_pod_time now);
void kb__probes_sync(struct kb_pod_core *core, int at, struct kb_pod_time now,
                     struct kb_pod_out *out);
kb_ms kb__probes_due(const struct kb_pod_core *core, int at); /* -1: none */

/* pod_status.c: build, compare, wish when it differs. */
void kb__pod_status(struct kb_pod_core *core, struct kb_pod_time now, struct kb_pod_out *out);
const char *kb__pod_phase(const struct kb_pod_core *core);
bool kb__pod_restarts(const struct kb_pod_core *core, const struct kb__container *c);

#endif
