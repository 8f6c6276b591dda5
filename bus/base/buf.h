/* A growable run of bytes: what is being written, read or sent. */
#ifndef KUBUS_BASE_BUF_H
#define KUBUS_BASE_BUF_H

#include "bus/base/str.h"

/* Zero-initialized is empty and valid. Always terminated by a NUL that `n` does not count, once
 * anything was appended. */
struct kb_buf {
    char *p;
    size_t n;
    size_t cap;
};

KB_API void kb_buf_finish(struct kb_buf *buf); /* frees; the buffer is empty and usable again */
KB_API void kb_buf_clear(struct kb_buf *buf);  /* n = 0, keeps the memory */
/* More memory than there is: at least `more` bytes and the terminator. For kb_buf_reserve. */
KB_API char *kb_buf_grow(struct kb_buf *buf, size_t more);

/* Room for `more` further bytes; the returned pointer is where they go. */
static inline char *kb_buf_reserve(struct kb_buf *buf, size_t more)
{
    return buf->n + more < buf->cap ? buf->p + buf->n : kb_buf_grow(buf, more);
}

static inline void kb_buf_add(struct kb_buf *buf, const void *data, size_t n)
{
    char *at = kb_buf_reserve(buf, n);
    if (n)
        memcpy(at, data, n);
    at[n] = '\0';
    buf->n += n;
}

static inline void kb_buf_add_str(struct kb_buf *buf, kb_str s)
{
    kb_buf_add(buf, s.p, s.n);
}

static inline void kb_buf_puts(struct kb_buf *buf, const char *cstr)
{
    kb_buf_add(buf, cstr, strlen(cstr));
}

static inline void kb_buf_putc(struct kb_buf *buf, char c)
{
    kb_buf_add(buf, &c, 1);
}

KB_API void kb_buf_puti(struct kb_buf *buf, int64_t i); /* in decimal */
KB_API void kb_buf_printf(struct kb_buf *buf, const char *format, ...) KB_PRINTF(2, 3);
/* Remove the first `n` bytes. O(rest). */
KB_API void kb_buf_drop(struct kb_buf *buf, size_t n);
/* Hand the bytes over (terminated). Caller frees; the buffer is empty. Never NULL. */
KB_API char *kb_buf_steal(struct kb_buf *buf, size_t *ret_n);

static inline kb_str kb_buf_str(const struct kb_buf *buf)
{
    return kb_str_n(buf->p, buf->n);
}

#endif
