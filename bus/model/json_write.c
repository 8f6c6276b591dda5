/* json_write.c - JSON text from documents and trees.
 *
 * Transcoding is on the path of every request, so the plain form is one walk over the msgpack
 * bytes: each head is read once, text is copied in runs between the characters to escape. Sorted
 * and rare forms go through a tree. */
#include "bus/model/json.h"

#include "bus/base/check.h"
#include "bus/model/head.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

/* 0: as it is; 'u': \u00xx; else the letter behind the backslash. */
static const char escapes[256] = {
    [0] = 'u',  [1] = 'u',    [2] = 'u',    [3] = 'u',    [4] = 'u',   [5] = 'u',     [6] = 'u',
    [7] = 'u',  ['\b'] = 'b', ['\t'] = 't', ['\n'] = 'n', [11] = 'u',  ['\f'] = 'f',  ['\r'] = 'r',
    [14] = 'u', [15] = 'u',   [16] = 'u',   [17] = 'u',   [18] = 'u',  [19] = 'u',    [20] = 'u',
    [21] = 'u', [22] = 'u',   [23] = 'u',   [24] = 'u',   [25] = 'u',  [26] = 'u',    [27] = 'u',
    [28] = 'u', [29] = 'u',   [30] = 'u',   [31] = 'u',   ['"'] = '"', ['\\'] = '\\',
};

/* Does any of these eight characters need an escape? Each byte of the sum below is above 127 when
 * its character is under 0x20, or is one of the two. Of 0x80 and above none is: that is UTF-8. */
static inline bool eight_plain(uint64_t x)
{
    const uint64_t ones = 0x0101010101010101u, high = 0x8080808080808080u;
    uint64_t control = (x - ones * 0x20) & ~x;
    uint64_t quote = x ^ ones * '"', slash = x ^ ones * '\\';
    quote = (quote - ones) & ~quote;
    slash = (slash - ones) & ~slash;
    return ((control | quote | slash) & high) == 0;
}

static char *write_escape(char *to, char c)
{
    static const char hex[] = "0123456789abcdef";
    char escape = escapes[(uint8_t)c];
    *to++ = '\\';
    *to++ = escape;
    if (escape == 'u') {
        *to++ = '0';
        *to++ = '0';
        *to++ = hex[(uint8_t)c >> 4];
        *to++ = hex[(uint8_t)c & 15];
    }
    return to;
}

static size_t escaped_bytes(kb_str s)
{
    size_t n = 0;
    for (size_t i = 0; i < s.n; i++)
        n += escapes[(uint8_t)s.p[i]] ? 6 : 1;
    return n;
}

void kb_json_write_str(struct kb_buf *out, kb_str s)
{
    /* Room for the worst case at once, six bytes a character, unless that is a lot. */
    char *to = kb_buf_reserve(out, (s.n <= 256 ? s.n * 6 : escaped_bytes(s)) + 2);
    const char *p = s.p, *end = s.n ? p + s.n : p;
    *to++ = '"';
    while (p < end) {
        uint64_t eight;
        if (end - p >= 8) {
            memcpy(&eight, p, 8);
            if (eight_plain(eight)) {
                memcpy(to, &eight, 8);
                p += 8, to += 8;
                continue;
            }
        }
        for (int i = 0; i < 8 && p < end; i++, p++) {
            if (escapes[(uint8_t)*p])
                to = write_escape(to, *p);
            else
                *to++ = *p;
        }
    }
    *to++ = '"';
    *to = '\0';
    out->n = (size_t)(to - out->p);
}

/* The fewest digits that read back as `d`, without the point: returns the exponent of the first. */
static int shortest_digits(double d, char digits[24])
{
    char text[40];
    for (int more = 14; more <= 16; more++) {
        snprintf(text, sizeof(text), "%.*e", more, d);
        if (strtod(text, NULL) == d)
            break;
    }
    char *e = strchr(text, 'e');
    size_t n = 0;
    for (const char *p = text; p < e; p++)
        if (*p != '.')
            digits[n++] = *p;
    while (n > 1 && digits[n - 1] == '0')
        n--;
    digits[n] = '\0';
    return atoi(e + 1);
}

/* Laid out as ECMAScript and Go do: in full between 1e-6 and 1e21, else with an exponent. */
void kb_json_write_double(struct kb_buf *out, double d)
{
    if (!isfinite(d)) {
        kb_buf_puts(out, "null");
        return;
    }
    char digits[24];
    if (d < 0)
        kb_buf_putc(out, '-');
    int exponent = shortest_digits(fabs(d), digits), n = (int)strlen(digits);
    if (d != 0 && (exponent < -6 || exponent >= 21)) {
        kb_buf_printf(out, "%c%s%se%c%d", digits[0], n > 1 ? "." : "", digits + 1,
                      exponent < 0 ? '-' : '+', abs(exponent));
    } else if (exponent < 0) {
        kb_buf_printf(out, "0.%.*s%s", -exponent - 1, "00000", digits);
    } else if (n > exponent + 1) {
        kb_buf_printf(out, "%.*s.%s", exponent + 1, digits, digits + exponent + 1);
    } else {
        kb_buf_puts(out, digits);
        for (int i = n; i <= exponent; i++)
            kb_buf_putc(out, '0');
    }
}

static void new_line(struct kb_buf *out, unsigned depth, bool pretty)
{
    if (!pretty)
        return;
    memset(kb_buf_reserve(out, 1 + depth * 4), ' ', 1 + depth * 4);
    out->p[out->n] = '\n';
    out->n += 1 + depth * 4;
}

static void write_key(struct kb_buf *out, kb_str key, bool pretty)
{
    kb_json_write_str(out, key);
    kb_buf_add(out, ": ", pretty ? 2 : 1);
}

/* ---- from msgpack ---- */

struct walk {
    struct kb_buf *out;
    const uint8_t *p;
    bool pretty;
};

static void walk_value(struct walk *w, unsigned depth);

static kb_str walk_key(struct walk *w)
{
    struct kb__head head = kb__head_read(w->p);
    w->p = head.at + head.n;
    return kb_str_n((const char *)head.at, head.n);
}

static void walk_container(struct walk *w, bool map, uint64_t n, unsigned depth)
{
    kb_buf_putc(w->out, map ? '{' : '[');
    for (uint64_t i = 0; i < n; i++) {
        if (i)
            kb_buf_putc(w->out, ',');
        new_line(w->out, depth + 1, w->pretty);
        if (map)
            write_key(w->out, walk_key(w), w->pretty);
        walk_value(w, depth + 1);
    }
    if (n)
        new_line(w->out, depth, w->pretty);
    kb_buf_putc(w->out, map ? '}' : ']');
}

/* Recursion is bounded by KB_DEPTH_MAX, which the check of a document enforces. */
static void walk_value(struct walk *w, unsigned depth)
{
    struct kb__head head = kb__head_read(w->p);
    w->p = head.at;
    switch (head.type) {
    case KB_STR:
        kb_json_write_str(w->out, kb_str_n((const char *)head.at, head.n));
        w->p += head.n;
        return;
    case KB_INT:
        kb_buf_puti(w->out, head.i);
        return;
    case KB_BOOL:
        kb_buf_puts(w->out, head.i ? "true" : "false");
        return;
    case KB_DOUBLE:
        kb_json_write_double(w->out, head.d);
        return;
    case KB_MAP:
    case KB_ARRAY:
        walk_container(w, head.type == KB_MAP, head.n, depth);
        return;
    default:
        kb_buf_puts(w->out, "null");
    }
}

void kb_json_write(struct kb_buf *out, kb_val val, unsigned flags)
{
    if (flags & KB_JSON_SORTED) {
        KB_AUTO(kb_arena_finish) struct kb_arena a = {0};
        kb_json_write_node(out, kb_node_of(&a, val), flags);
        return;
    }
    if (val.p == NULL) {
        kb_buf_puts(out, "null");
        return;
    }
    struct walk w = {out, val.p, (flags & KB_JSON_PRETTY) != 0};
    walk_value(&w, 0);
}

/* The members of `metadata`, with the revision in place of what it says. */
static void walk_metadata(struct walk *w, uint64_t rev)
{
    struct kb__head head = kb__head_read(w->p);
    w->p = head.at;
    kb_buf_putc(w->out, '{');
    for (uint64_t i = 0; i < head.n; i++) {
        kb_str key = walk_key(w);
        if (kb_str_is(key, "resourceVersion")) {
            w->p += kb_val_size((kb_val){w->p, NULL});
            continue;
        }
        write_key(w->out, key, false);
        walk_value(w, 2);
        kb_buf_putc(w->out, ',');
    }
    kb_buf_puts(w->out, "\"resourceVersion\":\"");
    kb_buf_puti(w->out, (int64_t)rev);
    kb_buf_puts(w->out, "\"}");
}

void kb_json_write_object(struct kb_buf *out, kb_val object, uint64_t rev)
{
    if (kb_val_type(object) != KB_MAP) {
        kb_json_write(out, object, 0);
        return;
    }
    struct kb__head head = kb__head_read(object.p);
    struct walk w = {out, head.at, false};
    kb_buf_putc(out, '{');
    for (uint64_t i = 0; i < head.n; i++) {
        if (i)
            kb_buf_putc(out, ',');
        kb_str key = walk_key(&w);
        write_key(out, key, false);
        if (kb_str_is(key, "metadata") && kb_val_type((kb_val){w.p, NULL}) == KB_MAP)
            walk_metadata(&w, rev);
        else
            walk_value(&w, 1);
    }
    kb_buf_putc(out, '}');
}

/* ---- from a tree ---- */

static int by_key(const void *a, const void *b)
{
    const struct kb_member *x = a, *y = b;
    return kb_str_cmp(x->key, y->key);
}

static void node_value(struct kb_buf *out, const struct kb_node *node, unsigned flags,
                       unsigned depth);

static void node_container(struct kb_buf *out, const struct kb_node *node, unsigned flags,
                           unsigned depth)
{
    bool pretty = (flags & KB_JSON_PRETTY) != 0, map = node->type == KB_MAP;
    KB_AUTO(kb_auto_free) struct kb_member *sorted = NULL;
    const struct kb_member *items = node->items;
    if (map && (flags & KB_JSON_SORTED) && node->count > 1) {
        sorted = malloc(node->count * sizeof(*sorted));
        KB_ASSERT(sorted != NULL);
        memcpy(sorted, items, node->count * sizeof(*sorted));
        qsort(sorted, node->count, sizeof(*sorted), by_key);
        items = sorted;
    }
    kb_buf_putc(out, map ? '{' : '[');
    for (uint32_t i = 0; i < node->count; i++) {
        if (i)
            kb_buf_putc(out, ',');
        new_line(out, depth + 1, pretty);
        if (map)
            write_key(out, items[i].key, pretty);
        node_value(out, items[i].val, flags, depth + 1);
    }
    if (node->count)
        new_line(out, depth, pretty);
    kb_buf_putc(out, map ? '}' : ']');
}

static void node_value(struct kb_buf *out, const struct kb_node *node, unsigned flags,
                       unsigned depth)
{
    switch (node ? node->type : KB_NIL) {
    case KB_STR:
        kb_json_write_str(out, node->s);
        return;
    case KB_INT:
        kb_buf_puti(out, node->i);
        return;
    case KB_BOOL:
        kb_buf_puts(out, node->b ? "true" : "false");
        return;
    case KB_DOUBLE:
        kb_json_write_double(out, node->d);
        return;
    case KB_MAP:
    case KB_ARRAY:
        node_container(out, node, flags, depth);
        return;
    default:
        kb_buf_puts(out, "null");
    }
}

void kb_json_write_node(struct kb_buf *out, const struct kb_node *node, unsigned flags)
{
    node_value(out, node, flags, 0);
}
