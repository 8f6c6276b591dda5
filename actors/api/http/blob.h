/* A shared run of bytes: one serialized watch event stands in the queues of all its watchers at
 * once, one list body is sent without a copy. Immutable once made; one thread. */
#ifndef KUBUS_API_HTTP_BLOB_H
#define KUBUS_API_HTTP_BLOB_H

#include "bus/base/buf.h"

struct kb_blob {
    unsigned refs;
    size_t n;
    const char *p;
};

/* A copy of `data`; the caller owns one reference. Never NULL. */
struct kb_blob *kb_blob_new(kb_str data);
/* Takes the buffer's memory without copying; the buffer is empty afterwards. */
struct kb_blob *kb_blob_take(struct kb_buf *buf);
struct kb_blob *kb_blob_ref(struct kb_blob *blob); /* returns its argument */
static inline kb_str kb_blob_str(const struct kb_blob *blob)
{
    return kb_str_n(blob->p, blob->n);
}
void kb_blob_unref(struct kb_blob **blob_p); /* sets *blob_p to NULL; NULL inside is fine */

#endif
