/* What a pod says about other pods, and who it is among them: namespace, labels, controller, pod
 * affinity, spreading; and the images of its containers. */
#ifndef KUBUS_SCHEDULER_RELATIONS_H
#define KUBUS_SCHEDULER_RELATIONS_H

#include "actors/scheduler/core/intern.h"
#include "bus/base/arena.h"
#include "bus/model/doc.h"
#include "plugins/policy.h"

/* The members of a pod that matter here. */
struct kb_relations {
    kb_val ns, labels, owner; /* owner: the reference of its controller */
    kb_val affinity, anti_affinity, spread;
    kb_val containers, init, volumes;
    kb_val name;
    bool ending;
};

/* `spec` members are the caller's to fill in: it walks over the pod's spec anyway. */
void kb_relations_of_metadata(kb_val metadata, struct kb_relations *r);
/* Append a value's bytes, with their number before them: what makes up a signature of pods. */
void kb__sign(struct kb_buf *sig, kb_val val);
/* Append all of it that could make two pods differ. */
void kb_relations_sign(const struct kb_relations *r, struct kb_buf *sig);
void kb_relations_read(const struct kb_relations *r, struct kb_arena *a, struct kb_intern *in,
                       struct kb_policy_pod *pod);
/* "busybox" → "busybox:latest": the name under which nodes list it. */
uint32_t kb_image_id(struct kb_intern *in, kb_str image);

#endif
