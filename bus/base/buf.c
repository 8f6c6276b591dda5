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
    size_t room = buf->cap - buf->n;
    int n = vsnprintf(room ? buf->p + buf->n : NULL, room, format, args);
    KB_ASSERT(n >= 0);
    if ((size_t)n >= room)
        vsnprintf(kb_buf_grow(buf, (size_t)n), (size_t)n + 1, format, again);
    buf->n += (size_t)n;
    va_end(again);
    va_end(args);
}

void kb_buf_puti(struct kb_buf *buf, int64_t i)
{
    char text[24], *p = text + sizeof(text);
    uint64_t x = i < 0 ? 0 - (uint64_t)i : (uint64_t)i;
    do
        *--p = (char)('0' + x % 10);
    while ((x /= 10) != 0);
    if (i < 0)
        *--p = '-';
    kb_buf_add(buf, p, (size_t)(text + sizeof(text) - p));
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
