/* Building a tree from the events of a text parser, with duplicate keys found. Private to this
 * folder: JSON and YAML share it. */
#ifndef KUBUS_MODEL_READ_H
#define KUBUS_MODEL_READ_H

#include "bus/base/limits.h"
#include "bus/base/map.h"
#include "bus/model/json.h"

/* A container that is open. */
struct kb__level {
    struct kb_node *node;
    kb_str key;          /* of the next value, in a map */
    struct kb_map *seen; /* key → 1 + index, once the map is large */
    bool repeated;       /* `key` was there before */
};

/* Zero-initialized but for `arena` is ready. */
struct kb__builder {
    struct kb_arena *arena;
    const struct kb_read_opts *opts; /* or NULL */
    struct kb_node *root;            /* the first value that was added outside of any container */
    size_t depth;
    struct kb__level levels[KB_DEPTH_MAX];
};

void kb__builder_finish(struct kb__builder *b);
/* The next value's key. `key` is copied. */
void kb__builder_key(struct kb__builder *b, kb_str key);
/* True when the key given last is in the open map already. O(1) amortized. */
bool kb__builder_repeated(const struct kb__builder *b);
void kb__builder_add(struct kb__builder *b, struct kb_node *node);
/* Add a container and go into it; false when that is too deep. */
bool kb__builder_open(struct kb__builder *b, struct kb_node *node);
void kb__builder_close(struct kb__builder *b);
/* Where the next value goes: "spec.containers[0].name". */
void kb__builder_path(const struct kb__builder *b, struct kb_buf *out);

#endif
