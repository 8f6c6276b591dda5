/* Reasons in words, with how many nodes have each: what "0/5 nodes are available:" goes on with. */
#ifndef KUBUS_SCHEDULER_HISTOGRAM_H
#define KUBUS_SCHEDULER_HISTOGRAM_H

#include "bus/base/buf.h"

/* Zero-initialized is empty. */
struct kb_histogram {
    struct kb_histogram_row {
        char *text;
        uint32_t n;
    } * rows;
    size_t n;
    uint32_t weight; /* nodes that the reason being added stands for */
};

void kb_histogram_finish(struct kb_histogram *h);
/* A kb_policy_emit: `weight` nodes more have this reason. */
void kb_histogram_add(void *to, const char *reason);
/* " 1 Insufficient cpu, 2 Too many pods.": sorted as texts, number first, as Kubernetes does; ""
 * when empty. */
void kb_histogram_write(const struct kb_histogram *h, struct kb_buf *out);

#endif
