/* The scheduling core as the subject of a property test: it is told of a random cluster, one event
 * at a time, beside a slow reference, and after each event both must say the same.
 *
 * Nodes and pods go by number: node 3 is "n3". Objects are small JSON texts, in which ' stands for
 * ". The reference and what is random are the test's own. */
#ifndef KUBUS_TESTS_LIB_SUBJECT_H
#define KUBUS_TESTS_LIB_SUBJECT_H

#include "tests/lib/policy.h"

struct kb_subject {
    struct kb_core *core;
    struct kb_core_pod *pods; /* [number] */
    int pods_n;
};

/* A core with one profile, for so many pods at most. kb_subject_finish takes them all off. */
struct kb_subject kb_subject_new(uint64_t seed, const struct kb_profile_entry *entries, size_t n,
                                 int pods);
void kb_subject_finish(struct kb_subject *s);

/* A node, or another object that placement depends on, came or changed; NULL: it is gone. A node is
 * told of twice: the second time nothing may change. */
void kb_subject_node(struct kb_subject *s, int node, const char *json);
void kb_subject_object(struct kb_subject *s, const char *resource, const char *ns, const char *name,
                       const char *json);
/* A pod came to a node, whether that is known or not, / went. */
void kb_subject_put(struct kb_subject *s, int pod, int node, const char *json, int32_t priority);
void kb_subject_lift(struct kb_subject *s, int pod);

/* The node that the core chooses for such a pod; -1: none. */
int kb_subject_decide(struct kb_subject *s, const char *pod);
/* What it says of each node: ret_of[number], absent for those that it does not know. The number of
 * nodes that it knows. Valid as long as the document. */
struct kb_doc *kb_subject_explain(struct kb_subject *s, const char *pod, kb_val *ret_of, int nodes,
                                  int *ret_known);
/* Of one of these: "POLICY: reason; reason …"; "" when the pod fits. */
void kb_subject_why(kb_val of, struct kb_buf *out);

#endif
