/* doc.c - the reader side of documents, and what owns their bytes.
 *
 * WHY our own reader and not msgpack-c's: its unpacker decodes the whole value into a tree of
 * heap cells, while most readers here want one field of a few kilobytes. Walking the bytes costs
 * less than one allocation. msgpack-c packs (doc_write.c).
 *
 * INVARIANT: everything below `kb_val_check` may trust the bytes: lengths lie within the document,
 * keys are strings, depth is bounded. The checker is the only code that reads untrusted bytes. */
#include "bus/model/doc.h"

#include "bus/base/check.h"
#include "bus/base/limits.h"
#include "bus/base/map.h"
#include "bus/model/head.h"
#include "bus/model/path.h"

#include <math.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>

struct kb_doc {
    atomic_uint owners;
    size_t n;
    uint8_t *bytes; /* behind the struct, or taken from a buffer */
    uint8_t inlined[];
};

/* The text at `p`, in checked bytes: a string, as every key is. Short ones first, they are most. */
static inline kb_str text_at(const uint8_t *p)
{
    if ((*p & 0xe0) == 0xa0)
        return kb_str_n((const char *)p + 1, *p & 0x1f);
    if (*p == 0xd9)
        return kb_str_n((const char *)p + 2, p[1]);
    struct kb__head head = kb__head_read(p);
    return kb_str_n((const char *)head.at, head.n);
}

/* Behind the value at `p`, in checked bytes. Iterative: containers add to what is left to skip.
 * This is where readers spend their time, so what is frequent does not go through kb__head_read. */
static const uint8_t *skip(const uint8_t *p)
{
    uint64_t left = 1;
    while (left-- > 0) {
        uint8_t b = *p;
        if ((b & 0xe0) == 0xa0) { /* short text */
            p += 1 + (b & 0x1f);
        } else if (b == 0xd9) { /* text below 256 bytes */
            p += 2 + p[1];
        } else if (b <= 0x7f || b >= 0xe0 || b == 0xc0 || b == 0xc2 || b == 0xc3) {
            p++;
        } else if (b <= 0x9f) { /* small map or array */
            left += b <= 0x8f ? 2u * (b & 0x0f) : b & 0x0fu;
            p++;
        } else if (b >= 0xdc && b <= 0xdf) { /* a map or array of a writer's */
            left += kb__head_count(p) * (b >= 0xde ? UINT64_C(2) : UINT64_C(1));
            p += 1 + kb__head_count_bytes(b);
        } else {
            struct kb__head head = kb__head_read(p);
            p = head.at + (head.type == KB_STR ? head.n : 0);
            left += head.type == KB_MAP ? 2 * head.n : head.type == KB_ARRAY ? head.n : 0;
        }
    }
    return p;
}

/* ---- checking ---- */

struct level {
    uint64_t left; /* values still to come in this container */
    bool map;      /* an even number left: a key is next */
};

static int check_head(const uint8_t *p, const uint8_t *end, struct kb__head *head,
                      struct kb_err *err)
{
    if (p >= end)
        return kb_err_set(err, KB_EINVAL, "document is cut off");
    uint8_t extra = kb__head_extra(*p);
    if (extra == 0xff)
        return kb_err_set(err, KB_EINVAL, "document has a type that is not supported (0x%02x)", *p);
    if (end - p <= extra)
        return kb_err_set(err, KB_EINVAL, "document is cut off");
    *head = kb__head_read(p);
    if (*p == 0xcf && head->i < 0)
        return kb_err_set(err, KB_EINVAL, "integer does not fit in 64 bits with a sign");
    if (head->n > (uint64_t)(end - head->at))
        return kb_err_set(err, KB_EINVAL, "document is cut off");
    if (head->type == KB_DOUBLE && !isfinite(head->d))
        return kb_err_set(err, KB_EINVAL, "number is not finite");
    if (head->type == KB_STR && !head->bin &&
        !kb_str_is_utf8(kb_str_n((const char *)head->at, head->n)))
        return kb_err_set(err, KB_EINVAL, "text is not valid UTF-8");
    return 0;
}

/* Eight bytes at a time; the last step looks at some of them again. */
static inline bool is_ascii(const uint8_t *p, size_t n)
{
    uint64_t all = 0, word;
    uint32_t half;
    if (n < 4) {
        for (size_t i = 0; i < n; i++)
            all |= p[i];
        return (all & 0x80) == 0;
    }
    if (n < 8) {
        memcpy(&half, p, sizeof(half));
        all = half;
        memcpy(&half, p + n - sizeof(half), sizeof(half));
        return ((all | half) & UINT64_C(0x80808080)) == 0;
    }
    for (size_t i = 0; i + sizeof(word) < n; i += sizeof(word)) {
        memcpy(&word, p + i, sizeof(word));
        all |= word;
    }
    memcpy(&word, p + n - sizeof(word), sizeof(word));
    return ((all | word) & UINT64_C(0x8080808080808080)) == 0;
}

/* Behind a value that is one byte, or an ASCII text below 256 bytes: most are. NULL: look closer.
 */
static inline const uint8_t *check_short(const uint8_t *p, const uint8_t *end, bool key)
{
    if (end - p < 2)
        return NULL;
    uint8_t b = *p;
    if ((b & 0xe0) == 0xa0 || b == 0xd9) {
        const uint8_t *at = b == 0xd9 ? p + 2 : p + 1;
        size_t n = b == 0xd9 ? p[1] : b & 0x1f;
        return n <= (size_t)(end - at) && is_ascii(at, n) ? at + n : NULL;
    }
    bool single = b <= 0x7f || b >= 0xe0 || b == 0xc0 || b == 0xc2 || b == 0xc3;
    return single && !key ? p + 1 : NULL;
}

int kb_val_check(const void *bytes, size_t n, kb_val *ret_val, struct kb_err *err)
{
    const uint8_t *p = bytes, *end = p + n;
    struct level stack[KB_DEPTH_MAX + 1], level = {.left = 1};
    size_t depth = 0;
    for (;;) {
        while (level.left == 0 && depth > 0)
            level = stack[--depth];
        if (level.left == 0)
            break;
        bool key = level.map && level.left % 2 == 0;
        const uint8_t *behind = check_short(p, end, key);
        level.left--;
        if (behind != NULL) {
            p = behind;
            continue;
        }
        struct kb__head head = {0};
        int rc = check_head(p, end, &head, err);
        if (rc < 0)
            return rc;
        if (key && (head.type != KB_STR || head.bin))
            return kb_err_set(err, KB_EINVAL, "map has a key that is not text");
        p = head.at + (head.type == KB_STR ? head.n : 0);
        if (head.type != KB_MAP && head.type != KB_ARRAY)
            continue;
        if (depth == KB_DEPTH_MAX)
            return kb_err_set(err, KB_E2BIG, "document is nested deeper than %u", KB_DEPTH_MAX);
        stack[depth++] = level;
        level.map = head.type == KB_MAP;
        level.left = head.n * (level.map ? 2 : 1);
    }
    if (p != end)
        return kb_err_set(err, KB_EINVAL, "document has trailing bytes");
    *ret_val = (kb_val){bytes, end};
    return 0;
}

/* ---- documents ---- */

static struct kb_doc *doc_copy(const void *bytes, size_t n)
{
    struct kb_doc *doc = malloc(sizeof(*doc) + n);
    KB_ASSERT(doc != NULL);
    atomic_init(&doc->owners, 1);
    doc->n = n;
    doc->bytes = doc->inlined;
    memcpy(doc->inlined, bytes, n);
    return doc;
}

int kb_doc_new(const void *bytes, size_t n, struct kb_doc **ret_doc, struct kb_err *err)
{
    struct kb_err local = {0};
    kb_val val;
    int rc = kb_val_check(bytes, n, &val, err ? err : &local);
    if (rc < 0)
        return rc;
    *ret_doc = doc_copy(bytes, n);
    return 0;
}

struct kb_doc *kb_doc_of(kb_val val)
{
    KB_ASSERT(val.p != NULL);
    return doc_copy(val.p, kb_val_size(val));
}

struct kb_doc *kb_doc_take(struct kb_buf *bytes)
{
    KB_ASSERT(bytes->n > 0);
    struct kb_doc *doc = malloc(sizeof(*doc));
    KB_ASSERT(doc != NULL);
    atomic_init(&doc->owners, 1);
    doc->bytes = (uint8_t *)kb_buf_steal(bytes, &doc->n);
    return doc;
}

struct kb_doc *kb_doc_ref(const struct kb_doc *doc)
{
    struct kb_doc *shared = (struct kb_doc *)doc; /* only the count changes */
    if (shared)
        atomic_fetch_add_explicit(&shared->owners, 1, memory_order_relaxed);
    return shared;
}

void kb_doc_destroy(struct kb_doc **doc_p)
{
    struct kb_doc *doc = KB_STEAL(*doc_p);
    if (doc == NULL || atomic_fetch_sub_explicit(&doc->owners, 1, memory_order_acq_rel) != 1)
        return;
    if (doc->bytes != doc->inlined)
        free(doc->bytes);
    free(doc);
}

kb_val kb_doc_root(const struct kb_doc *doc)
{
    return doc ? (kb_val){doc->bytes, doc->bytes + doc->n} : (kb_val){NULL, NULL};
}

size_t kb_doc_bytes(const struct kb_doc *doc, const void **ret_bytes)
{
    *ret_bytes = doc->bytes;
    return doc->n;
}

/* ---- reading ---- */

enum kb_type kb_val_type(kb_val val)
{
    return val.p ? kb__head_read(val.p).type : KB_NONE;
}

bool kb_val_bool(kb_val val, bool otherwise)
{
    if (val.p == NULL)
        return otherwise;
    return *val.p == 0xc3 ? true : *val.p == 0xc2 ? false : otherwise;
}

int64_t kb_val_int(kb_val val, int64_t otherwise)
{
    if (val.p == NULL)
        return otherwise;
    struct kb__head head = kb__head_read(val.p);
    if (head.type == KB_INT)
        return head.i;
    if (head.type == KB_DOUBLE && head.d >= -0x1p63 && head.d < 0x1p63 && head.d == trunc(head.d))
        return (int64_t)head.d;
    return otherwise;
}

int64_t kb_val_int32(kb_val val, int64_t otherwise)
{
    int64_t i = kb_val_int(val, otherwise);
    return i >= INT32_MIN && i <= INT32_MAX ? i : otherwise;
}

double kb_val_double(kb_val val, double otherwise)
{
    if (val.p == NULL)
        return otherwise;
    struct kb__head head = kb__head_read(val.p);
    return head.type == KB_DOUBLE ? head.d : head.type == KB_INT ? (double)head.i : otherwise;
}

kb_str kb_val_str(kb_val val)
{
    if (val.p == NULL)
        return kb_str_n(NULL, 0);
    struct kb__head head = kb__head_read(val.p);
    return head.type == KB_STR ? kb_str_n((const char *)head.at, head.n) : kb_str_n(NULL, 0);
}

kb_str kb_val_text(kb_val val, char scratch[KB_VAL_TEXT_BYTES])
{
    switch (kb_val_type(val)) {
    case KB_STR:
        return kb_val_str(val);
    case KB_BOOL:
        return kb_str_of(kb_val_bool(val, false) ? "true" : "false");
    case KB_INT:
        snprintf(scratch, KB_VAL_TEXT_BYTES, "%lld", (long long)kb_val_int(val, 0));
        return kb_str_of(scratch);
    default:
        return kb_str_n(NULL, 0);
    }
}

size_t kb_val_count(kb_val val)
{
    if (val.p == NULL)
        return 0;
    struct kb__head head = kb__head_read(val.p);
    return head.type == KB_MAP || head.type == KB_ARRAY ? head.n : 0;
}

size_t kb_val_size(kb_val val)
{
    return val.p ? (size_t)(skip(val.p) - val.p) : 0;
}

struct kb_iter kb_iter(kb_val container)
{
    struct kb_iter it = {0};
    if (container.p == NULL)
        return it;
    struct kb__head head = kb__head_read(container.p);
    if (head.type != KB_MAP && head.type != KB_ARRAY)
        return it;
    it.at = head.at;
    it.end = container.end;
    it.left = head.n;
    it.map = head.type == KB_MAP;
    return it;
}

bool kb_iter_next(struct kb_iter *it)
{
    if (it->left == 0)
        return false;
    it->left--;
    if (it->val.p != NULL)
        it->at = skip(it->val.p);
    if (it->map) {
        it->key = text_at(it->at);
        it->at = (const uint8_t *)it->key.p + it->key.n;
    }
    it->val = (kb_val){it->at, it->end};
    return true;
}

kb_val kb_val_getn(kb_val map, kb_str key)
{
    struct kb_iter it = kb_iter(map);
    if (it.map)
        while (kb_iter_next(&it))
            if (kb_str_eq(it.key, key))
                return it.val;
    return (kb_val){NULL, NULL};
}

extern inline kb_val kb_val_get(kb_val map, const char *key);

kb_val kb_val_index(kb_val array, size_t at)
{
    struct kb_iter it = kb_iter(array);
    if (!it.map)
        while (kb_iter_next(&it))
            if (at-- == 0)
                return it.val;
    return (kb_val){NULL, NULL};
}

kb_val kb_val_at(kb_val val, const char *path)
{
    struct kb_path_step step;
    while (val.p && kb_path_next(&path, &step))
        val = step.is_index ? kb_val_index(val, step.index) : kb_val_getn(val, step.name);
    return *path ? (kb_val){NULL, NULL} : val;
}

kb_val kb_doc_at(const struct kb_doc *doc, const char *path)
{
    return kb_val_at(kb_doc_root(doc), path);
}

kb_str kb_val_str_at(kb_val val, const char *path)
{
    return kb_val_str(kb_val_at(val, path));
}

int64_t kb_val_int_at(kb_val val, const char *path, int64_t otherwise)
{
    return kb_val_int(kb_val_at(val, path), otherwise);
}

int64_t kb_val_int32_at(kb_val val, const char *path, int64_t otherwise)
{
    return kb_val_int32(kb_val_at(val, path), otherwise);
}

bool kb_val_bool_at(kb_val val, const char *path, bool otherwise)
{
    return kb_val_bool(kb_val_at(val, path), otherwise);
}

/* In different orders: through an index of the places, for they may be as large as an object. */
static bool maps_equal_indexed(kb_val a, kb_val b)
{
    KB_AUTO(kb_map_finish) struct kb_map places = {0};
    for (struct kb_iter it = kb_iter(b); kb_iter_next(&it);)
        kb_map_put(&places, it.key, (void *)(uintptr_t)it.val.p);
    for (struct kb_iter it = kb_iter(a); kb_iter_next(&it);) {
        const uint8_t *p = kb_map_get(&places, it.key);
        if (p == NULL || !kb_val_equal(it.val, (kb_val){p, b.end}))
            return false;
    }
    return true;
}

/* Equal maps mostly have one order. */
static bool maps_equal(kb_val a, kb_val b)
{
    enum { LINEAR = 64 };
    bool large = kb_val_count(b) > LINEAR;
    struct kb_iter in = kb_iter(b);
    for (struct kb_iter it = kb_iter(a); kb_iter_next(&it);) {
        bool in_place = kb_iter_next(&in) && kb_str_eq(it.key, in.key);
        if (!in_place && large)
            return maps_equal_indexed(a, b);
        kb_val other = in_place ? in.val : kb_val_getn(b, it.key);
        if (other.p == NULL || !kb_val_equal(it.val, other))
            return false;
    }
    return true;
}

static bool arrays_equal(kb_val a, kb_val b)
{
    struct kb_iter x = kb_iter(a), y = kb_iter(b);
    while (kb_iter_next(&x) && kb_iter_next(&y))
        if (!kb_val_equal(x.val, y.val))
            return false;
    return true;
}

bool kb_val_equal(kb_val a, kb_val b)
{
    if (a.p == NULL || b.p == NULL)
        return a.p == b.p;
    struct kb__head x = kb__head_read(a.p), y = kb__head_read(b.p);
    if (x.type != y.type)
        return (x.type == KB_INT && y.type == KB_DOUBLE && (double)x.i == y.d) ||
               (x.type == KB_DOUBLE && y.type == KB_INT && x.d == (double)y.i);
    switch (x.type) {
    case KB_BOOL:
    case KB_INT:
        return x.i == y.i;
    case KB_DOUBLE:
        return x.d == y.d;
    case KB_STR:
        return x.n == y.n && memcmp(x.at, y.at, x.n) == 0;
    case KB_ARRAY:
        return x.n == y.n && arrays_equal(a, b);
    case KB_MAP:
        return x.n == y.n && maps_equal(a, b);
    default:
        return true;
    }
}
