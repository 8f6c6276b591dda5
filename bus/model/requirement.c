#include "bus/model/requirement.h"

enum kb_op kb_op_of(kb_str name)
{
    static const char *const names[KB_OPS] = {"In", "NotIn", "Exists", "DoesNotExist", "Gt", "Lt"};
    for (int op = 0; op < KB_OPS; op++)
        if (kb_str_is(name, names[op]))
            return (enum kb_op)op;
    return KB_OPS;
}
