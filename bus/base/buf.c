#include "bus/base/buf.h"

#include "bus/base/check.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

void kb_buf_finish(struct kb_buf *buf)
{
    free(buf->p);
    *buf = (struct kb_buf){0};
}

void kb_buf_clear(struct kb_buf *buf)
{
    buf->n = 0;
    if (buf->p)
        buf->p[0] = '\0';
}

char *kb_buf_grow(struct kb_buf *buf, size_t more)
{
    size_t want = buf->n + more + 1;
    if (want > buf->cap) {
        size_t cap = buf->cap ? buf->cap * 2 : 64;
        buf->cap = cap > want ? cap : want;
        buf->p = realloc(buf->p, buf->cap);
        KB_ASSERT(buf->p != NULL);
    }
    return buf->p + buf->n;
}

void kb_buf_printf(struct kb_buf *buf, const char *format, ...)
{
    va_list args, again;
    va_start(args, format);
    va_copy(again, args);
    int n = vsnprintf(NULL, 0, format, args);
    KB_ASSERT(n >= 0);
    char *at = kb_buf_reserve(buf, (size_t)n);
    vsnprintf(at, (size_t)n + 1, format, again);
    buf->n += (size_t)n;
    va_end(again);
    va_end(args);
}

void kb_buf_drop(struct kb_buf *buf, size_t n)
{
    KB_ASSERT(n <= buf->n);
    if (n == 0)
        return;
    memmove(buf->p, buf->p + n, buf->n - n);
    buf->n -= n;
    buf->p[buf->n] = '\0';
}

char *kb_buf_steal(struct kb_buf *buf, size_t *ret_n)
{
    kb_buf_add(buf, "", 0);
    char *p = buf->p;
    if (ret_n)
        *ret_n = buf->n;
    *buf = (struct kb_buf){0};
    return p;
}
