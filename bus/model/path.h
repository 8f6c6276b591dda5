/* Paths into documents and trees: names of members and [n], "spec.containers[0].image". A name with
 * a dot or a bracket cannot be written. Paths come from peers, too (an index that is declared), so
 * a malformed one is never a fault: it leads nowhere. Pure. */
#ifndef KUBUS_MODEL_PATH_H
#define KUBUS_MODEL_PATH_H

#include "bus/base/str.h"

struct kb_path_step {
    kb_str name; /* of a member; borrowed from the path */
    size_t index;
    bool is_index; /* an element of an array, not a member */
};

/* Take the first step of *path, a terminated text, which then begins behind it. False at the end,
 * and where what follows is malformed: *path is not empty then. */
KB_API bool kb_path_next(const char **path, struct kb_path_step *ret);

/* Whether it has a step and all of them are well formed. */
KB_API bool kb_path_is_good(const char *path);

#endif
