/* What services outside say of the nodes, for kinds of pods whose policies ask them.
 *
 * The core does no I/O: a question stands in a list until the driver takes it, carries it out, and
 * brings the answer. Meanwhile no node takes such a pod, and kb_outside_waits says why. An answer
 * serves a number of decisions, and none after a node came, went or changed; then it is asked
 * again. What the answer does not see is what was placed since: who counts resources are the
 * policies in here. */
#ifndef KUBUS_SCHEDULER_OUTSIDE_H
#define KUBUS_SCHEDULER_OUTSIDE_H

#include "actors/scheduler/core/podspec.h"

struct kb_outside; /* of one podspec */

struct kb_outsides {
    struct kb_link all;
    uint64_t ids;
};

void kb_outsides_init(struct kb_outsides *o);
void kb_outsides_finish(struct kb_outsides *o);
/* Forget all answers and questions: other policies are at work. */
void kb_outsides_clear(struct kb_outsides *o);
void kb_outside_forget(struct kb_podspec *spec);

const struct kb_policy_outside *kb_outside_get(struct kb_outsides *o, struct kb_columns *columns,
                                               struct kb_podspec *spec,
                                               const struct kb_policy_want *want);
bool kb_outside_waits(const struct kb_podspec *spec);
void kb_outside_used(struct kb_podspec *spec); /* by one decision */

/* The next question that was not taken yet: the body of a call `policy.judge`. False: none. */
struct kb_outside_ask {
    const char *service; /* valid until the core changes */
    uint64_t id;
    int64_t timeout_ms;
    struct kb_doc *body; /* the caller's */
};
bool kb_outsides_next(struct kb_outsides *o, struct kb_columns *columns,
                      struct kb_outside_ask *ret);
/* How it was answered: KB_NONE, it was not, and *err says why. Whose question it was, or NULL when
 * nobody waits for it any more. -KB_… in *ret_rc when there is no answer, or one that is nonsense,
 * with the reason in *err; 0 when there is. */
struct kb_podspec *kb_outsides_answer(struct kb_outsides *o, struct kb_columns *columns,
                                      uint64_t id, kb_val answer, int *ret_rc, struct kb_err *err);

#endif
