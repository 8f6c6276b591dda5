/* One pod's life as a pure state machine: events and time go in, wishes come out.
 *
 * It knows nothing of runtimes, files, sockets or the API: the shell (agent/agent_pod.c) carries
 * the wishes out and tells what became of them. Every function that changes something appends to
 * `out` and ends with one pass over the whole pod (level-triggered), so that events may come in any
 * order and twice.
 *
 * Containers are numbered: init containers first, in order, then the regular ones. */
#ifndef KUBUS_AGENT_POD_CORE_H
#define KUBUS_AGENT_POD_CORE_H

#include "agent/runtime.h"
#include "bus/base/arena.h"
#include "bus/model/doc.h"

struct kb_pod_core;

struct kb_pod_time {
    kb_ms ms;        /* monotonic */
    int64_t wall_us; /* for stamps */
};

enum kb_pod_probe { KB_PROBE_STARTUP, KB_PROBE_LIVENESS, KB_PROBE_READINESS, KB_PROBES };
enum kb_pod_hook { KB_HOOK_POST_START, KB_HOOK_PRE_STOP };

enum kb_pod_wish_kind {
    KB_POD_PREPARE,  /* make the pod's folders and volumes; answer: kb_pod_core_prepared() */
    KB_POD_SANDBOX,  /* answer: _sandbox() */
    KB_POD_IMAGE,    /* have the image of `container`, as its pull policy says; answer: _image() */
    KB_POD_START,    /* start `container` as `attempt`; answer: _started() */
    KB_POD_SIGNAL,   /* `signal` to `container`, `attempt`; its end comes by _exited() */
    KB_POD_HOOK,     /* run the `hook`; answer: _hook() */
    KB_POD_PROBE,    /* run the `probe` once; answer: _probed() */
    KB_POD_REMOVE,   /* forget `container`, `attempt`: it is over and another one came after it */
    KB_POD_EVENT,    /* tell people: warning, reason, message; `container` or -1 */
    KB_POD_STATUS,   /* kb_pod_core_status() has changed: write it */
    KB_POD_TEARDOWN, /* remove all that there is of it on the node; answer: _torn_down() */
    KB_POD_DELETE,   /* remove the API object: nothing of it is left here */
};

struct kb_pod_wish {
    enum kb_pod_wish_kind kind;
    int container;
    unsigned attempt;
    int signal;
    enum kb_pod_probe probe;
    enum kb_pod_hook hook;
    bool warning;
    const char *reason, *message; /* in the out's arena */
};

/* Wishes in order. Zero-initialized is empty. */
struct kb_pod_out {
    struct kb_arena arena;
    struct kb_pod_wish *wishes;
    size_t n, cap;
};
void kb_pod_out_finish(struct kb_pod_out *out);

/* What the node adds to a status. */
struct kb_pod_node {
    const char *ip;
};

/* `pod` is the API object; kept by reference. Nothing happens before the first _update or _begin.
 * Never NULL. */
struct kb_pod_core *kb_pod_core_new(const struct kb_doc *pod, const struct kb_pod_node *node);
void kb_pod_core_destroy(struct kb_pod_core **core_p);

/* What an earlier agent left of it; before _begin. `ref` NULL: the sandbox. */
void kb_pod_core_found(struct kb_pod_core *core, const struct kb_rt_sandbox_info *sandbox,
                       const struct kb_rt_ref *ref, const struct kb_rt_container_info *info,
                       struct kb_pod_time now, struct kb_pod_out *out);
void kb_pod_core_begin(struct kb_pod_core *core, struct kb_pod_time now, struct kb_pod_out *out);
/* Instead of _begin: the node does not take it (agent/admit.h). It is Failed, for this reason. */
void kb_pod_core_reject(struct kb_pod_core *core, const char *reason, const char *message,
                        struct kb_pod_time now, struct kb_pod_out *out);

/* ---- events ---- */
void kb_pod_core_update(struct kb_pod_core *core, const struct kb_doc *pod, struct kb_pod_time now,
                        struct kb_pod_out *out);
/* `pod` is a later version that is not taken: if it is deleted, the pod ends by that grace. */
void kb_pod_core_ends(struct kb_pod_core *core, kb_val pod, struct kb_pod_time now,
                      struct kb_pod_out *out);
/* The API object is gone without our doing: stop at once and tear down. */
void kb_pod_core_removed(struct kb_pod_core *core, struct kb_pod_time now, struct kb_pod_out *out);
/* The node takes its room back: it ends within a second, Failed for the reason "Evicted". */
void kb_pod_core_evict(struct kb_pod_core *core, const char *why, struct kb_pod_time now,
                       struct kb_pod_out *out);
void kb_pod_core_prepared(struct kb_pod_core *core, const struct kb_err *err,
                          struct kb_pod_time now, struct kb_pod_out *out);
void kb_pod_core_sandbox(struct kb_pod_core *core, const struct kb_err *err,
                         const struct kb_rt_sandbox_info *info, struct kb_pod_time now,
                         struct kb_pod_out *out);
/* `err` NULL: it is here. `reason` on failure: ErrImagePull, ErrImageNeverPull, InvalidImageName.
 */
void kb_pod_core_image(struct kb_pod_core *core, int container, const struct kb_err *err,
                       const char *reason, struct kb_pod_time now, struct kb_pod_out *out);
/* `err` NULL: it runs. Codes: -KB_EFORBIDDEN the configuration cannot be used, -KB_EINTERNAL the
 * program could not be executed, others: it could not be created. */
void kb_pod_core_started(struct kb_pod_core *core, int container, unsigned attempt,
                         const struct kb_err *err, const struct kb_rt_container_info *info,
                         struct kb_pod_time now, struct kb_pod_out *out);
/* `message`: what it left as its termination message; may be NULL. */
void kb_pod_core_exited(struct kb_pod_core *core, int container, unsigned attempt,
                        const struct kb_rt_exit *exit, const char *message, struct kb_pod_time now,
                        struct kb_pod_out *out);
void kb_pod_core_hook(struct kb_pod_core *core, int container, enum kb_pod_hook hook,
                      const struct kb_err *err, struct kb_pod_time now, struct kb_pod_out *out);
void kb_pod_core_probed(struct kb_pod_core *core, int container, unsigned attempt,
                        enum kb_pod_probe probe, bool ok, const char *words, struct kb_pod_time now,
                        struct kb_pod_out *out);
/* `err` not NULL: it is wished again after a while. */
void kb_pod_core_torn_down(struct kb_pod_core *core, const struct kb_err *err,
                           struct kb_pod_time now, struct kb_pod_out *out);
/* What something waited for (a ConfigMap, an image) may be there now. */
void kb_pod_core_retry(struct kb_pod_core *core, struct kb_pod_time now, struct kb_pod_out *out);
/* A deadline of kb_pod_core_wait_ms() is over. */
void kb_pod_core_tick(struct kb_pod_core *core, struct kb_pod_time now, struct kb_pod_out *out);

/* ---- reading ---- */
kb_ms kb_pod_core_wait_ms(const struct kb_pod_core *core, kb_ms now_ms); /* -1: none */
const struct kb_doc *kb_pod_core_status(const struct kb_pod_core *core); /* the status map */
const struct kb_doc *kb_pod_core_doc(const struct kb_pod_core *core);
bool kb_pod_core_begun(const struct kb_pod_core *core);
bool kb_pod_core_grounded(const struct kb_pod_core *core); /* its volumes are there */
bool kb_pod_core_over(const struct kb_pod_core *core);     /* it has Succeeded or Failed */
const char *kb_pod_core_uid(const struct kb_pod_core *core);
const char *kb_pod_core_ns(const struct kb_pod_core *core);
const char *kb_pod_core_name(const struct kb_pod_core *core);
const char *kb_pod_core_ip(const struct kb_pod_core *core);
int kb_pod_core_count(const struct kb_pod_core *core);
/* Which list of the spec it stands in: "initContainers", "containers", "ephemeralContainers". */
const char *kb_pod_core_list(const struct kb_pod_core *core, int container);
kb_val kb_pod_core_spec(const struct kb_pod_core *core, int container); /* of the container */
const char *kb_pod_core_container_name(const struct kb_pod_core *core, int container);
int kb_pod_core_find(const struct kb_pod_core *core, kb_str container_name); /* -1: none */
/* The attempt that is running or was last; -1: none was started. */
int kb_pod_core_attempt(const struct kb_pod_core *core, int container);
bool kb_pod_core_running(const struct kb_pod_core *core, int container);
unsigned kb_pod_core_restarts(const struct kb_pod_core *core,
                              int container); /* of the attempt wished */
/* "Guaranteed", "Burstable", "BestEffort". */
const char *kb_pod_qos(kb_val pod);

#endif
