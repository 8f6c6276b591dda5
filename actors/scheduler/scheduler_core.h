/* The scheduler without its shell: what comes from the store goes in, wishes come out.
 *
 * Its driver tells it the time, then of nodes and pods as they change, then lets it decide; it
 * carries out the wishes and reports how each binding went. A wish is a write that depends on the
 * revision at which the pod was seen: whoever wrote in between wins, and the pod is decided again
 * from what is then known.
 *
 *   not seen --put--> WAITING --decide--> (HELD) --> ASSUMED --bound--> PLACED --deleted--> gone
 *                        ^                   |          |
 *                        +-----refused-------+----------+
 *
 * An assumed pod counts on its node at once. Nothing here is kept that the store does not have:
 * after a kill, a new scheduler that is told of all nodes and pods goes on where the old one was.
 */
#ifndef KUBUS_SCHEDULER_SCHEDULER_CORE_H
#define KUBUS_SCHEDULER_SCHEDULER_CORE_H

#include "actors/scheduler/config.h"
#include "actors/scheduler/core/pending.h"

struct kb_sched;

enum kb_sched_wish_kind {
    KB_SCHED_BIND,      /* put `doc` if `rev` is current; report with kb_sched_bind_done */
    KB_SCHED_CONDITION, /* put `doc` if `rev` is current; report with kb_sched_condition_done */
    KB_SCHED_EVICT,     /* patch the status by `doc` (strategic; metadata.uid is a condition), then
                           delete gracefully; report with kb_sched_evict_done */
    KB_SCHED_EVENT,     /* create `doc`, an Event, in the namespace of `key` */
};

struct kb_sched_wish {
    enum kb_sched_wish_kind kind;
    char *key;          /* of the pod: "pods/NS/NAME" */
    int64_t rev;        /* the pod's, for BIND and CONDITION */
    uint64_t attempt;   /* of BIND, to be reported back */
    struct kb_doc *doc; /* the whole object to write */
};

/* Zero-initialized is empty. The driver takes wishes out by KB_STEAL of their parts, or finishes
 * them. */
struct kb_sched_out {
    struct kb_sched_wish *wishes;
    size_t n, cap;
};
void kb_sched_out_clear(struct kb_sched_out *out); /* frees what was not taken; keeps the memory */
void kb_sched_out_finish(struct kb_sched_out *out);

/* With the default profile, named "default-scheduler". Never NULL. */
struct kb_sched *kb_sched_new(uint64_t seed);
/* With one profile of the caller's. -KB_EINVAL. */
int kb_sched_new_with(uint64_t seed, const char *name, const struct kb_profile_entry *entries,
                      size_t n, struct kb_sched **ret, struct kb_err *err);
void kb_sched_destroy(struct kb_sched **s_p);
struct kb_core *kb_sched_core(struct kb_sched *s);

/* Other profiles from now on, between two decisions: plans are dropped, the queue is sorted anew,
 * pods that wait are taken in under the profile of their schedulerName as it is now (those of none
 * are kept aside, for one may come), and who waited for a permit is decided again. What is placed
 * stays. A binding under way counts as not reserved any more, for the policies that knew of it go.
 * -KB_EINVAL, and nothing changed; `check` does no more than find that out. Borrows nothing of
 * `config` but the descriptors. */
int kb_sched_check(struct kb_sched *s, const struct kb_config *config, struct kb_err *err);
int kb_sched_configure(struct kb_sched *s, const struct kb_config *config, struct kb_err *err);

/* Several schedulers decide for one cluster, this is number `share` (from 0) of `shares`: each
 * leaves the pods of another one's share to that one for KB_SCHED_LATER_MS, and then decides them
 * too. So in ordinary times no two do the same work, and when one is dead nothing waits for it
 * longer. Whoever binds first wins. For pods that come from now on. */
enum { KB_SCHED_LATER_MS = 2000 };
void kb_sched_share(struct kb_sched *s, uint32_t share, uint32_t shares);

/* The time of what follows. `now` never goes back; wall_us is only written into objects. */
void kb_sched_time(struct kb_sched *s, kb_ms now, int64_t wall_us);

/* What else placement depends on, by resource; the last is NULL. To be complete, like nodes and
 * pods, before anything is decided. */
extern const char *const kb_sched_resources[];

/* Changes, in order of revision for each object. Keys are those of the store. */
void kb_sched_node_put(struct kb_sched *s, kb_str key, kb_val node);
void kb_sched_node_del(struct kb_sched *s, kb_str key);
void kb_sched_pod_put(struct kb_sched *s, kb_str key, int64_t rev, kb_val pod);
/* An object of another kind of kb_sched_resources came or changed, or is gone (KB_NONE). */
void kb_sched_object_put(struct kb_sched *s, kb_str key, kb_val object);
void kb_sched_pod_del(struct kb_sched *s, kb_str key);

/* Decide at most `most` pods; their wishes are appended. Returns how many were decided, fewer than
 * `most` when no more are due. */
size_t kb_sched_decide(struct kb_sched *s, size_t most, struct kb_sched_out *out);
/* How a BIND went: 0 with the new revision; -KB_ECONFLICT or -KB_ENOTFOUND: the pod was not as
 * seen; any other: unknown. The event of a success is appended to `out`. */
void kb_sched_bind_done(struct kb_sched *s, kb_str key, uint64_t attempt, int rc, int64_t rev,
                        struct kb_sched_out *out);
/* How a CONDITION went; how an EVICT went. */
void kb_sched_condition_done(struct kb_sched *s, kb_str key, int rc);
void kb_sched_evict_done(struct kb_sched *s, kb_str key, int rc);
/* Until decide may have something by time alone: 0 now, -1 never. */
kb_ms kb_sched_wait_ms(const struct kb_sched *s);

/* Policies may ask services outside (core/outside.h): the next question, to be carried out as a
 * call `policy.judge` and reported by kb_sched_answer, with KB_NONE and why when it was not
 * answered. Ask after each decide. */
struct kb_outside_ask;
bool kb_sched_next_ask(struct kb_sched *s, struct kb_outside_ask *ret);
void kb_sched_answer(struct kb_sched *s, uint64_t id, kb_val answer, const struct kb_err *why,
                     struct kb_sched_out *out);

struct kb_sched_counts {
    struct kb_pending_counts waiting;
    size_t nodes, placed;
    size_t
        assumed; /* have a place and are not known to be bound; `held` of them wait for permits */
    size_t held;
    uint64_t decided, bound, conflicts;
};
struct kb_sched_counts kb_sched_counts(const struct kb_sched *s);

/* All that it is told, and what it then wishes, for who writes it down: told again in this order,
 * to another one of the same seed, it gives the same wishes. */
enum kb_sched_input_kind {
    KB_SCHED_IN_TIME,
    KB_SCHED_IN_NODE_PUT,
    KB_SCHED_IN_NODE_DEL,
    KB_SCHED_IN_POD_PUT,
    KB_SCHED_IN_POD_DEL,
    KB_SCHED_IN_OBJECT_PUT,
    KB_SCHED_IN_DECIDE,
    KB_SCHED_IN_BIND_DONE,
    KB_SCHED_IN_CONDITION_DONE,
    KB_SCHED_IN_EVICT_DONE,
    KB_SCHED_IN_CONFIGURE,
    KB_SCHED_IN_SHARE,  /* attempt of most */
    KB_SCHED_IN_ASK,    /* one question was taken */
    KB_SCHED_IN_ANSWER, /* attempt: the id; doc, or rc and why */
};

/* The arguments of the function of that name. */
struct kb_sched_input {
    enum kb_sched_input_kind kind;
    kb_ms now;
    int64_t wall_us, rev;
    uint64_t attempt, most;
    int rc;
    kb_str key;
    kb_val doc;
    const char *why;
    const struct kb_config *config;
    const struct kb_sched_out *out; /* of DECIDE, BIND_DONE and ANSWER: … */
    size_t from;                    /* … wishes from here on are new */
};

/* Called for each input, when it has been taken in; NULL: no more. */
typedef void kb_sched_tap_fn(void *user, const struct kb_sched_input *input);
void kb_sched_tap(struct kb_sched *s, kb_sched_tap_fn *tap, void *user);

/* Changes of volumes and claims that placed pods need, as merge patches; see kb_volumes_next_write.
 * To be taken after each decide. */
bool kb_sched_next_write(struct kb_sched *s, struct kb_volume_write *ret);
void kb_sched_write_done(struct kb_sched *s, uint32_t ns, uint32_t claim, int rc);

/* Why the pod is where it is: what kb_core_explain says of it; false when there is no such pod. */
bool kb_sched_explain(struct kb_sched *s, kb_str key, struct kb_w *w);

#endif
