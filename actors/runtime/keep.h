/* Which part of a document a cache holds: paths, made ready once and applied to each event. Pure.
 */
#ifndef KUBUS_RUNTIME_KEEP_H
#define KUBUS_RUNTIME_KEEP_H

#include "bus/model/doc.h"

struct kb_keep;

/* `paths` are separated by spaces: "metadata spec.nodeName". They go through members of maps only.
 * Never NULL. */
struct kb_keep *kb_keep_new(const char *paths);
void kb_keep_destroy(struct kb_keep **keep_p);

/* Write what the paths lead to, each map on the way with these members alone, in the order of
 * `val`. What is no map where a path goes on is written whole. */
void kb_keep_write(const struct kb_keep *keep, kb_val val, struct kb_w *w);

#endif
