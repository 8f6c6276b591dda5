/* Selectors of objects, decoded into an arena. */
#ifndef KUBUS_SCHEDULER_SELECTORS_H
#define KUBUS_SCHEDULER_SELECTORS_H

#include "actors/scheduler/core/intern.h"
#include "bus/base/arena.h"
#include "bus/model/doc.h"
#include "bus/model/requirement.h"
#include "plugins/policy.h"

/* What policies are told are the operators of bus/model, which they do not include. */
_Static_assert((int)KB_POLICY_IN == KB_OP_IN && (int)KB_POLICY_NOT_IN == KB_OP_NOT_IN &&
                   (int)KB_POLICY_EXISTS == KB_OP_EXISTS &&
                   (int)KB_POLICY_DOES_NOT_EXIST == KB_OP_DOES_NOT_EXIST &&
                   (int)KB_POLICY_GT == KB_OP_GT && (int)KB_POLICY_LT == KB_OP_LT,
               "one list of operators");

/* A LabelSelector; `none` when it is absent. `more` requirements of room are left at the end. */
struct kb_policy_selector kb__selector_of(struct kb_arena *a, struct kb_intern *in, kb_val v,
                                          uint32_t more);
/* A map of labels as requirements, each In with one value. */
struct kb_policy_selector kb__selector_of_map(struct kb_arena *a, struct kb_intern *in, kb_val v);
/* One requirement appended to a selector that has room. */
void kb__selector_add(struct kb_arena *a, struct kb_policy_selector *s, uint32_t key,
                      enum kb_policy_op op, uint32_t value);
/* Labels, sorted by key. */
const struct kb_policy_label *kb__labels_of(struct kb_arena *a, struct kb_intern *in, kb_val v,
                                            uint32_t *ret_n);

#endif
