#include "actors/api/http/blob.h"

#include "bus/base/check.h"

#include <stdlib.h>

/* The bytes stand behind the struct in one piece of memory, unless they came from a buffer. */
struct kb_blob *kb_blob_new(kb_str data)
{
    struct kb_blob *blob = malloc(sizeof(*blob) + data.n);
    KB_ASSERT(blob != NULL);
    *blob = (struct kb_blob){1, data.n, (char *)(blob + 1)};
    if (data.n)
        memcpy(blob + 1, data.p, data.n);
    return blob;
}

struct kb_blob *kb_blob_take(struct kb_buf *buf)
{
    struct kb_blob *blob = malloc(sizeof(*blob));
    KB_ASSERT(blob != NULL);
    blob->refs = 1;
    blob->p = kb_buf_steal(buf, &blob->n);
    return blob;
}

struct kb_blob *kb_blob_ref(struct kb_blob *blob)
{
    blob->refs++;
    return blob;
}

void kb_blob_unref(struct kb_blob **blob_p)
{
    struct kb_blob *blob = KB_STEAL(*blob_p);
    if (blob == NULL || --blob->refs > 0)
        return;
    if (blob->p != (char *)(blob + 1))
        free((char *)blob->p);
    free(blob);
}
