/* Which images nodes hold, by name. A node's list is taken apart only when its bytes changed: it
 * comes with every heartbeat of the node's status. */
#ifndef KUBUS_SCHEDULER_IMAGES_H
#define KUBUS_SCHEDULER_IMAGES_H

#include "actors/scheduler/core/intern.h"
#include "bus/model/doc.h"
#include "plugins/policy.h"

struct kb_image_rec { /* of a slot */
    uint64_t hash;    /* of the list's bytes */
    uint32_t n;
    uint32_t *names;
};

/* Zero-initialized is empty and valid. */
struct kb_images {
    struct kb_map by_name; /* interned name → struct kb_image_holders */
    uint32_t cap;
    struct kb_image_rec *rec; /* [slot] */
};

void kb_images_finish(struct kb_images *im);
/* status.images of the node in a slot, or KB_NONE. True when something changed. */
bool kb_images_node_put(struct kb_images *im, struct kb_intern *in, uint32_t slot, kb_val list);
/* Who holds an image. Valid until the next change. */
uint32_t kb_images_holders(const struct kb_images *im, uint32_t name,
                           const struct kb_policy_image **ret);

#endif
