/* The head of one msgpack value: shared by the reader of documents and the writers of text, which
 * walk the same bytes once. Private to this folder. */
#ifndef KUBUS_MODEL_HEAD_H
#define KUBUS_MODEL_HEAD_H

#include "bus/model/doc.h"

/* Open a container of so many members, which will be as many: its header is written at once, and in
 * one byte where that is enough. To be closed by kb_w_end. */
void kb__w_counted(struct kb_w *w, bool map, uint32_t count);

/* The head of a value: what it is, and where its content and the head end. */
struct kb__head {
    enum kb_type type;
    bool bin;          /* a KB_STR that is raw bytes */
    uint64_t n;        /* bytes of a string, members of a container */
    int64_t i;         /* integers and booleans */
    double d;          /* doubles */
    const uint8_t *at; /* behind the head */
};

static inline uint64_t kb__big_endian(const uint8_t *p, size_t n)
{
    uint64_t x = 0;
    if (n == 1) /* most */
        return *p;
    for (size_t i = 0; i < n; i++)
        x = x << 8 | p[i];
    return x;
}

static inline double kb__double_of(uint64_t bits)
{
    double d;
    memcpy(&d, &bits, sizeof(d));
    return d;
}

static inline double kb__float_of(uint32_t bits)
{
    float f;
    memcpy(&f, &bits, sizeof(f));
    return (double)f;
}

/* How many bytes follow the first byte `b` in the head: 0xff marks what we do not accept. */
static inline uint8_t kb__head_extra(uint8_t b)
{
    static const uint8_t extra[32] = {
        /* c0 nil, never, false, true */ 0,
        0xff,
        0,
        0,
        /* c4 bin8, 16, 32 */ 1,
        2,
        4,
        /* c7 ext8, 16, 32 */ 0xff,
        0xff,
        0xff,
        /* ca float, double */ 4,
        8,
        /* cc uint8..64 */ 1,
        2,
        4,
        8,
        /* d0 int8..64 */ 1,
        2,
        4,
        8,
        /* d4 fixext */ 0xff,
        0xff,
        0xff,
        0xff,
        0xff,
        /* d9 str8, 16, 32 */ 1,
        2,
        4,
        /* dc array16, 32, map16, 32 */ 2,
        4,
        2,
        4,
    };
    return b >= 0xc0 && b <= 0xdf ? extra[b - 0xc0] : 0;
}

static inline void kb__head_scalar(uint8_t b, const uint8_t *p, size_t extra, struct kb__head *head)
{
    uint64_t x = kb__big_endian(p, extra);
    head->type = KB_INT;
    if (b == 0xc0)
        head->type = KB_NIL;
    else if (b == 0xc2 || b == 0xc3)
        head->type = KB_BOOL, head->i = b == 0xc3;
    else if (b == 0xca)
        head->type = KB_DOUBLE, head->d = kb__float_of((uint32_t)x);
    else if (b == 0xcb)
        head->type = KB_DOUBLE, head->d = kb__double_of(x);
    else if (b <= 0xcf)
        head->i = (int64_t)x;
    else
        head->i = extra == 1   ? (int8_t)x
                  : extra == 2 ? (int16_t)x
                  : extra == 4 ? (int32_t)x
                               : (int64_t)x;
}

/* Of a container with a count of its own, 0xdc to 0xdf: how many bytes that takes, and the count.
 * Writers that fill it in later leave room for 16 bits. */
static inline size_t kb__head_count_bytes(uint8_t b)
{
    return b & 1 ? 4 : 2;
}

static inline uint32_t kb__head_count(const uint8_t *p)
{
    uint16_t half;
    uint32_t n;
    if (*p & 1) {
        memcpy(&n, p + 1, sizeof(n));
        return __builtin_bswap32(n);
    }
    memcpy(&half, p + 1, sizeof(half));
    return __builtin_bswap16(half);
}

/* What is not frequent. */
__attribute__((noinline, unused)) static void kb__head_rare(const uint8_t *p, struct kb__head *head)
{
    uint8_t b = *p;
    size_t extra = kb__head_extra(b);
    head->at = p + 1 + extra;
    if ((b >= 0xc4 && b <= 0xc6) || (b >= 0xd9 && b <= 0xdb)) {
        head->type = KB_STR;
        head->bin = b <= 0xc6;
        head->n = kb__big_endian(p + 1, extra);
    } else {
        kb__head_scalar(b, p + 1, extra, head);
    }
}

/* Read the head at `p`; the bytes are trusted, or `head_extra` was checked to lie within them.
 * Inlined everywhere, so that a reader pays for what it looks at. */
__attribute__((always_inline)) static inline struct kb__head kb__head_read(const uint8_t *p)
{
    uint8_t b = *p;
    struct kb__head head = {.at = p + 1};
    if ((b & 0xe0) == 0xa0) {
        head.type = KB_STR;
        head.n = b & 0x1f;
    } else if (b == 0xd9) {
        head.type = KB_STR;
        head.n = p[1];
        head.at = p + 2;
    } else if (b >= 0xdc && b <= 0xdf) {
        head.type = b >= 0xde ? KB_MAP : KB_ARRAY;
        head.n = kb__head_count(p);
        head.at = p + 1 + kb__head_count_bytes(b);
    } else if (b <= 0x7f || b >= 0xe0) {
        head.type = KB_INT;
        head.i = (int8_t)b;
    } else if (b <= 0x9f) {
        head.type = b <= 0x8f ? KB_MAP : KB_ARRAY;
        head.n = b & 0x0f;
    } else {
        kb__head_rare(p, &head);
    }
    return head;
}

#endif
