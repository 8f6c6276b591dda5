#include "bus/base/str.h"

#include "bus/base/check.h"

#include <ctype.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

int kb_str_cmp(kb_str a, kb_str b)
{
    size_t n = a.n < b.n ? a.n : b.n;
    int order = n ? memcmp(a.p, b.p, n) : 0;
    if (order != 0)
        return order;
    return a.n < b.n ? -1 : a.n > b.n;
}

bool kb_str_starts(kb_str s, const char *prefix)
{
    size_t n = strlen(prefix);
    return s.n >= n && memcmp(s.p, prefix, n) == 0;
}

bool kb_str_ends(kb_str s, const char *suffix)
{
    size_t n = strlen(suffix);
    return s.n >= n && memcmp(s.p + s.n - n, suffix, n) == 0;
}

kb_str kb_str_cut(kb_str *rest, char sep)
{
    const char *at = rest->n ? memchr(rest->p, sep, rest->n) : NULL;
    kb_str head = *rest;
    if (at == NULL) {
        *rest = (kb_str){NULL, 0};
        return head;
    }
    head.n = (size_t)(at - rest->p);
    *rest = kb_str_n(at + 1, rest->n - head.n - 1);
    return head;
}

kb_str kb_str_trim(kb_str s)
{
    while (s.n && isspace((unsigned char)s.p[0]))
        s.p++, s.n--;
    while (s.n && isspace((unsigned char)s.p[s.n - 1]))
        s.n--;
    return s;
}

char *kb_str_dup(kb_str s)
{
    char *copy = malloc(s.n + 1);
    KB_ASSERT(copy != NULL);
    if (s.n)
        memcpy(copy, s.p, s.n);
    copy[s.n] = '\0';
    return copy;
}

bool kb_str_copy(kb_str s, char *out, size_t cap)
{
    if (s.n >= cap) {
        if (cap)
            out[0] = '\0';
        return false;
    }
    if (s.n)
        memcpy(out, s.p, s.n);
    out[s.n] = '\0';
    return true;
}

char *kb_strf(const char *format, ...)
{
    char *text = NULL;
    va_list args;
    va_start(args, format);
    int n = vasprintf(&text, format, args);
    va_end(args);
    KB_ASSERT(n >= 0);
    return text;
}

bool kb_str_u64(kb_str s, uint64_t *ret)
{
    uint64_t value = 0;
    if (s.n == 0)
        return false;
    for (size_t i = 0; i < s.n; i++) {
        if (s.p[i] < '0' || s.p[i] > '9')
            return false;
        if (__builtin_mul_overflow(value, 10u, &value) ||
            __builtin_add_overflow(value, (uint64_t)(s.p[i] - '0'), &value))
            return false;
    }
    *ret = value;
    return true;
}

bool kb_str_i64(kb_str s, int64_t *ret)
{
    bool negative = s.n && s.p[0] == '-';
    uint64_t magnitude;
    if (negative || (s.n && s.p[0] == '+'))
        s.p++, s.n--;
    if (!kb_str_u64(s, &magnitude) || magnitude > (uint64_t)INT64_MAX + negative)
        return false;
    *ret = negative ? (int64_t)(0 - magnitude) : (int64_t)magnitude;
    return true;
}

uint64_t kb_hash64(const void *data, size_t n)
{
    const unsigned char *p = data;
    uint64_t hash = 0xcbf29ce484222325u;
    for (size_t i = 0; i < n; i++)
        hash = (hash ^ p[i]) * 0x100000001b3u;
    return hash;
}

/* Behind the plain ASCII at `p`, eight bytes at a time. */
static const uint8_t *skip_ascii(const uint8_t *p, const uint8_t *end)
{
    uint64_t word;
    while (end - p >= 8) {
        memcpy(&word, p, 8);
        if (word & UINT64_C(0x8080808080808080))
            break;
        p += 8;
    }
    while (p < end && *p < 0x80)
        p++;
    return p;
}

bool kb_str_is_utf8(kb_str s)
{
    const uint8_t *p = (const uint8_t *)s.p, *end = s.n ? p + s.n : p;
    while (s.n && (p = skip_ascii(p, end)) < end) {
        uint8_t b = *p++;
        int more = b >= 0xf0 ? 3 : b >= 0xe0 ? 2 : 1;
        if (b < 0xc2 || b > 0xf4 || end - p < more)
            return false;
        uint8_t low = b == 0xe0 ? 0xa0 : b == 0xf0 ? 0x90 : 0x80;
        uint8_t high = b == 0xed ? 0x9f : b == 0xf4 ? 0x8f : 0xbf;
        for (int i = 0; i < more; i++, p++, low = 0x80, high = 0xbf)
            if (*p < low || *p > high)
                return false;
    }
    return true;
}
