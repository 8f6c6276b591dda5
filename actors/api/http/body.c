/* body.c - the queue of bytes between a handler and its client.
 * Blobs are shared, so queueing an event for a thousand watchers costs a thousand pointers. They
 * are copied once, into the buffer that is encrypted and written. Compression happens here, while
 * pulling: a list of 20 MB is compressed in slices, between which other clients are served. */
#include "actors/api/http/internal.h"

#include <stdlib.h>

void kb__body_finish(struct kb__body *body)
{
    for (size_t i = 0; i < body->count; i++)
        kb_blob_unref(&body->ring[(body->head + i) % body->cap]);
    free(body->ring);
    if (body->gz) {
        deflateEnd(body->gz);
        free(body->gz);
    }
    *body = (struct kb__body){0};
}

static void ring_grow(struct kb__body *body)
{
    size_t cap = body->cap ? body->cap * 2 : 4;
    struct kb_blob **ring = malloc(cap * sizeof(struct kb_blob *));
    KB_ASSERT(ring != NULL);
    for (size_t i = 0; i < body->count; i++)
        ring[i] = body->ring[(body->head + i) % body->cap];
    free(body->ring);
    body->ring = ring;
    body->cap = cap;
    body->head = 0;
}

void kb__body_push(struct kb__body *body, struct kb_blob *blob)
{
    if (blob->n == 0) {
        kb_blob_unref(&blob);
        return;
    }
    if (body->count == body->cap)
        ring_grow(body);
    body->ring[(body->head + body->count++) % body->cap] = blob;
    body->bytes += blob->n;
}

void kb__body_gzip(struct kb__body *body)
{
    enum { GZIP_FORMAT = 16, MEMORY_LEVEL = 8 };
    body->gz = calloc(1, sizeof(*body->gz));
    KB_ASSERT(body->gz != NULL);
    int rc = deflateInit2(body->gz, Z_BEST_SPEED, Z_DEFLATED, MAX_WBITS + GZIP_FORMAT, MEMORY_LEVEL,
                          Z_DEFAULT_STRATEGY);
    KB_ASSERT(rc == Z_OK);
}

static kb_str front(const struct kb__body *body)
{
    if (body->count == 0)
        return (kb_str){0};
    struct kb_blob *blob = body->ring[body->head];
    return kb_str_n(blob->p + body->front_off, blob->n - body->front_off);
}

/* `n` bytes of the front blob are done with. */
static void advance(struct kb__body *body, size_t n)
{
    struct kb_blob **front_p = &body->ring[body->head];
    body->front_off += n;
    body->bytes -= n;
    if (body->front_off < (*front_p)->n)
        return;
    kb_blob_unref(front_p);
    body->head = (body->head + 1) % body->cap;
    body->count--;
    body->front_off = 0;
}

static size_t pull_plain(struct kb__body *body, char *out, size_t cap)
{
    size_t n = 0;
    while (n < cap && body->count > 0) {
        kb_str data = front(body);
        size_t take = data.n < cap - n ? data.n : cap - n;
        memcpy(out + n, data.p, take);
        advance(body, take);
        n += take;
    }
    return n;
}

static size_t pull_gzip(struct kb__body *body, char *out, size_t cap)
{
    enum { SLICE_BYTES = 64 * 1024 };
    z_stream *gz = body->gz;
    gz->next_out = (Bytef *)out;
    gz->avail_out = (uInt)cap;
    while (gz->avail_out > 0 && !body->gz_done) {
        kb_str data = front(body);
        if (data.n == 0 && !body->ended)
            break;
        size_t slice = data.n < SLICE_BYTES ? data.n : SLICE_BYTES;
        bool last = body->ended && slice == body->bytes;
        gz->next_in = (Bytef *)data.p;
        gz->avail_in = (uInt)slice;
        body->gz_done = deflate(gz, last ? Z_FINISH : Z_NO_FLUSH) == Z_STREAM_END;
        if (slice > 0)
            advance(body, slice - gz->avail_in);
    }
    return cap - gz->avail_out;
}

size_t kb__body_pull(struct kb__body *body, char *out, size_t cap)
{
    return body->gz ? pull_gzip(body, out, cap) : pull_plain(body, out, cap);
}

bool kb__body_drained(const struct kb__body *body)
{
    return body->ended && body->count == 0 && (body->gz == NULL || body->gz_done);
}

struct kb_blob *kb__body_take(struct kb__body *body, size_t min, size_t *ret_off)
{
    kb_str data = front(body);
    if (body->gz || data.n < min || data.n == 0)
        return NULL;
    *ret_off = body->front_off;
    struct kb_blob *blob = kb_blob_ref(body->ring[body->head]);
    advance(body, data.n);
    return blob;
}
