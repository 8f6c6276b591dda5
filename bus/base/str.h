/* A borrowed run of bytes with a length: text of a document, a part of a path, a frame. */
#ifndef KUBUS_BASE_STR_H
#define KUBUS_BASE_STR_H

#include "bus/base/auto.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

/* Not terminated; `p` may be NULL when `n` is 0. Valid as long as what it was borrowed from. */
typedef struct kb_str {
    const char *p;
    size_t n;
} kb_str;

#define KB_STR_FMT    "%.*s"
#define KB_STR_ARG(s) (int)(s).n, (s).p ? (s).p : ""

static inline kb_str kb_str_of(const char *cstr)
{
    return (kb_str){cstr, cstr ? strlen(cstr) : 0};
}

static inline kb_str kb_str_n(const char *p, size_t n)
{
    return (kb_str){p, n};
}

static inline bool kb_str_eq(kb_str a, kb_str b)
{
    return a.n == b.n && (a.n == 0 || memcmp(a.p, b.p, a.n) == 0);
}

static inline bool kb_str_is(kb_str a, const char *cstr)
{
    return kb_str_eq(a, kb_str_of(cstr));
}

static inline bool kb_str_has(kb_str s, char c)
{
    return s.n > 0 && memchr(s.p, c, s.n) != NULL;
}

/* Bytewise, shorter first on a common prefix: <0, 0, >0. */
KB_API int kb_str_cmp(kb_str a, kb_str b);
KB_API bool kb_str_starts(kb_str s, const char *prefix);
KB_API bool kb_str_ends(kb_str s, const char *suffix);

/* Cut *rest at the first `sep`: returns what stood before it, *rest becomes what stands behind.
 * Without a `sep`, returns all of *rest and sets rest->p to NULL, so a loop runs `while (rest.p)`.
 */
KB_API kb_str kb_str_cut(kb_str *rest, char sep);
KB_API kb_str kb_str_trim(kb_str s);

/* RFC 3629: no overlong forms, no surrogates, nothing above U+10FFFF. */
KB_API bool kb_str_is_utf8(kb_str s);

/* A terminated copy on the heap. Caller frees. */
KB_API char *kb_str_dup(kb_str s);
/* Copy into `out` of `cap` bytes, terminated; false when it does not fit (out is then empty). */
KB_API bool kb_str_copy(kb_str s, char *out, size_t cap);
/* printf onto the heap. Never NULL. Caller frees. */
KB_API char *kb_strf(const char *format, ...) KB_PRINTF(1, 2);

/* The whole of `s` as a decimal integer. False on anything else, or overflow. */
KB_API bool kb_str_i64(kb_str s, int64_t *ret);
KB_API bool kb_str_u64(kb_str s, uint64_t *ret);

/* 64-bit FNV-1a: stable across versions and machines, so that shards agree. Not for hostile keys.
 */
KB_API uint64_t kb_hash64(const void *data, size_t n);

#endif
