/* Pods whose turn comes, in the order of queue_sort: a heap for each class (queue_class), one for
 * all where the profile has none. Within a class the order is a matter of the pods alone and does
 * not change while they wait; which class is next is found out anew each time, by comparing the
 * first pods of all of them. So an order that goes by what users have got so far needs no heap to
 * be built again. O(log pods + classes) a pod. */
#ifndef KUBUS_SCHEDULER_TURNS_H
#define KUBUS_SCHEDULER_TURNS_H

#include "actors/scheduler/core/core.h"

struct kb_waiting;
struct kb_turns_class;

/* Zero-initialized, but for the core, is empty and valid. */
struct kb_turns {
    struct kb_core *core;
    struct kb_map classes;        /* id → struct kb_turns_class */
    struct kb_turns_class **busy; /* those with pods */
    size_t busy_n, busy_cap;
    size_t n; /* pods */
};

void kb_turns_finish(struct kb_turns *q); /* the pods are their owners' */
void kb_turns_push(struct kb_turns *q, struct kb_waiting *w);
void kb_turns_remove(struct kb_turns *q, struct kb_waiting *w);
/* The next, left where it is; NULL when there is none. */
struct kb_waiting *kb_turns_first(const struct kb_turns *q);

#endif
