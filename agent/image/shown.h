/* What a Node says of the images that it has: status.images, the largest 50, each with its digest,
 * its names and its size.
 *
 * To tell that, two files an image are read; so it is kept until the folder of references changes.
 * An image that is pulled, loaded or removed changes it, by whomsoever: agents share the folder. */
#ifndef KUBUS_AGENT_IMAGE_SHOWN_H
#define KUBUS_AGENT_IMAGE_SHOWN_H

#include "bus/model/doc.h"

/* Zero-initialized knows nothing. */
struct kb_images_shown {
    struct kb_doc *list;
    int64_t changed_us; /* the folder, when the list was made; -1: it may have changed since */
    unsigned scans;
};

/* Valid until the next call. One stat(2) as long as nothing has changed. `wall_us` is the time: a
 * folder that has changed within the last second may change again without another stamp. */
kb_val kb_images_shown(struct kb_images_shown *shown, const char *dir, int64_t wall_us);
void kb_images_shown_finish(struct kb_images_shown *shown);

#endif
