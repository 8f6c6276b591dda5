/* Requirements on labels: "the value of KEY is In these", and the like.
 *
 * Who matches them does so on what it has: texts of one object (bus/model/selector.h), or numbers
 * of thousands of nodes in columns (the scheduler's core). What the operators are called, and when
 * each is true, stands here, for both. */
#ifndef KUBUS_MODEL_REQUIREMENT_H
#define KUBUS_MODEL_REQUIREMENT_H

#include "bus/base/str.h"

enum kb_op {
    KB_OP_IN,
    KB_OP_NOT_IN,
    KB_OP_EXISTS,
    KB_OP_DOES_NOT_EXIST,
    KB_OP_GT,
    KB_OP_LT,
    KB_OPS, /* their number; as a result: no operator */
};

/* By its name in an object: "In", "NotIn" …; KB_OPS: there is none of that name. */
KB_API enum kb_op kb_op_of(kb_str name);

/* In and NotIn: is the value there and among those of the requirement? */
static inline bool kb_op_among(enum kb_op op, bool among)
{
    return among == (op == KB_OP_IN);
}

/* Exists and DoesNotExist: is there a value? */
static inline bool kb_op_there(enum kb_op op, bool there)
{
    return there == (op == KB_OP_EXISTS);
}

/* Gt and Lt, for a value that is there and an integer; for all others neither is true. */
static inline bool kb_op_beyond(enum kb_op op, int64_t number, int64_t bound)
{
    return op == KB_OP_GT ? number > bound : number < bound;
}

#endif
