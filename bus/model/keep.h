/* A part of documents: paths, made ready once and applied to each. What a view with `fields`
 * brings, and what a controller's cache holds. Pure. */
#ifndef KUBUS_MODEL_KEEP_H
#define KUBUS_MODEL_KEEP_H

#include "bus/model/doc.h"

struct kb_keep;

/* `paths` are separated by spaces or commas: "metadata spec.nodeName". They go through members of
 * maps only. Never NULL. */
struct kb_keep *kb_keep_new(kb_str paths);
void kb_keep_destroy(struct kb_keep **keep_p);

/* Write what the paths lead to, each map on the way with these members alone, in the order of
 * `val`. What is no map where a path goes on is written whole. Doing it twice changes nothing. */
void kb_keep_write(const struct kb_keep *keep, kb_val val, struct kb_w *w);

#endif
