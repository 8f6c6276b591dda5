/* What a plain YAML scalar means. Private to this folder. */
#ifndef KUBUS_MODEL_YAML_SCALAR_H
#define KUBUS_MODEL_YAML_SCALAR_H

#include "bus/model/doc.h"

struct kb__scalar {
    enum kb_type type; /* KB_NIL, KB_BOOL, KB_INT, KB_DOUBLE or KB_STR */
    bool b;
    int64_t i;
    double d;
};

/* Resolve the text of a plain scalar. A number past a double's range is infinite. */
struct kb__scalar kb__scalar_resolve(kb_str text);
/* A text that old readers would not take for text when written plain: a number, a boolean, a
 * date, a number of base 60. */
bool kb__scalar_needs_quotes(kb_str text);

#endif
