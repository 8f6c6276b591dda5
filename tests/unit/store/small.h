/* A small engine for tests: without threads, and with segments, a map and checkpoints so small that
 * everything happens soon. In the test's folder, where the same one is opened again. */
#ifndef KUBUS_TESTS_UNIT_STORE_SMALL_H
#define KUBUS_TESTS_UNIT_STORE_SMALL_H

#include "store/engine.h"

/* Of the test that runs: each has a process of its own. */
extern struct small {
    struct kb_err err;      /* what went wrong last */
    const struct kb_io *io; /* NULL: the real one */
    kb_ms now_ms;
} small;

struct kb_engine *small_open(void);
/* {metadata: {uid: u1}, spec: {nodeName: NODE}, n: N} */
struct kb_doc *small_pod(const char *node, int n);
/* Flush and poll until the batch has ended; its result. */
int small_settle(struct kb_engine *e);
/* Write such a pod, or delete one, and settle. */
int small_put(struct kb_engine *e, const char *key, const char *node, int n,
              enum kb_write_cond cond, uint64_t rev);
int small_del(struct kb_engine *e, const char *key);
/* Write such a pod and do not wait for it. */
int small_stage(struct kb_engine *e, const char *key, const char *node, int n);
/* The pod's `n` at a revision, or an error. */
int64_t small_value(struct kb_engine *e, const char *key, uint64_t rev);
/* Objects under a prefix whose index has this value; "", "": all. */
size_t small_count(struct kb_engine *e, const char *prefix, const char *index, const char *of);
int small_declare_node(struct kb_engine *e); /* the index "node" of pods */
/* What is in the database holds together. */
void small_check(struct kb_engine *e);

#endif
