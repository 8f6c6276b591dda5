/* doc_write.c - the streaming writer. A container's count is not known when it is opened, so its
 * header is written in the 16-bit form at once and corrected at the close; only one with 65,536
 * members or more has to move its content by two bytes. */
#include "bus/model/doc.h"

#include "bus/base/check.h"
#include "bus/base/grow.h"
#include "bus/model/head.h"

#include <msgpack.h>
#include <stdlib.h>

static int w_append(void *data, const char *bytes, size_t n)
{
    kb_buf_add(data, bytes, n);
    return 0;
}

static msgpack_packer w_packer(struct kb_w *w)
{
    return (msgpack_packer){.data = &w->buf, .callback = w_append};
}

/* One more item in the container that is open; a map takes a text as every other. */
static void w_count(struct kb_w *w, bool is_text)
{
    if (w->depth == 0) {
        KB_ASSERT(w->buf.n == 0);
        return;
    }
    struct kb_w_open *open = &w->stack[w->depth - 1];
    KB_ASSERT(!open->map || open->items % 2 == 1 || is_text);
    open->items++;
}

void kb_w_finish(struct kb_w *w)
{
    kb_buf_finish(&w->buf);
    free(w->stack);
    *w = (struct kb_w){0};
}

static void w_push(struct kb_w *w, struct kb_w_open open)
{
    w_count(w, false);
    KB_GROW(w->stack, w->depth, w->cap, 16);
    w->stack[w->depth++] = open;
}

static void w_open(struct kb_w *w, bool map)
{
    w_push(w, (struct kb_w_open){.at = w->buf.n, .map = map});
    kb_buf_add(&w->buf, map ? "\xde\0" : "\xdc\0", 3);
}

void kb__w_counted(struct kb_w *w, bool map, uint32_t count)
{
    if (count > 15) {
        w_open(w, map);
        return;
    }
    w_push(w, (struct kb_w_open){.map = map, .counted = true});
    kb_buf_putc(&w->buf, (char)((map ? 0x80 : 0x90) | count));
}

void kb_w_map(struct kb_w *w)
{
    w_open(w, true);
}

void kb_w_array(struct kb_w *w)
{
    w_open(w, false);
}

void kb_w_end(struct kb_w *w)
{
    KB_ASSERT(w->depth > 0);
    struct kb_w_open open = w->stack[--w->depth];
    KB_ASSERT(!open.map || open.items % 2 == 0);
    if (open.counted)
        return;
    uint32_t count = open.map ? open.items / 2 : open.items;
    if (count > UINT16_MAX) {
        kb_buf_add(&w->buf, "\0\0", 2);
        char *p = w->buf.p + open.at;
        memmove(p + 5, p + 3, w->buf.n - open.at - 5);
        p[0] = open.map ? (char)0xdf : (char)0xdd;
        p[1] = (char)(count >> 24);
        p[2] = (char)(count >> 16);
        p[3] = (char)(count >> 8);
        p[4] = (char)count;
        return;
    }
    char *p = w->buf.p + open.at;
    p[1] = (char)(count >> 8);
    p[2] = (char)count;
}

void kb_w_str(struct kb_w *w, kb_str s)
{
    w_count(w, true);
    if (s.n > UINT8_MAX) {
        msgpack_packer packer = w_packer(w);
        msgpack_pack_str(&packer, s.n);
        msgpack_pack_str_body(&packer, s.p, s.n);
        return;
    }
    char *at = kb_buf_reserve(&w->buf, s.n + 2);
    if (s.n > 31)
        *at++ = (char)0xd9;
    *at++ = (char)(s.n > 31 ? s.n : 0xa0 | s.n);
    if (s.n)
        memcpy(at, s.p, s.n);
    at[s.n] = '\0';
    w->buf.n = (size_t)(at - w->buf.p) + s.n;
}

extern inline void kb_w_cstr(struct kb_w *w, const char *s);

void kb_w_key(struct kb_w *w, const char *key)
{
    KB_ASSERT(w->depth > 0 && w->stack[w->depth - 1].map && w->stack[w->depth - 1].items % 2 == 0);
    kb_w_cstr(w, key);
}

void kb_w_int(struct kb_w *w, int64_t i)
{
    w_count(w, false);
    msgpack_packer packer = w_packer(w);
    msgpack_pack_int64(&packer, i);
}

void kb_w_bool(struct kb_w *w, bool b)
{
    w_count(w, false);
    kb_buf_putc(&w->buf, b ? (char)0xc3 : (char)0xc2);
}

void kb_w_double(struct kb_w *w, double d)
{
    w_count(w, false);
    msgpack_packer packer = w_packer(w);
    msgpack_pack_double(&packer, d);
}

void kb_w_nil(struct kb_w *w)
{
    w_count(w, false);
    kb_buf_putc(&w->buf, (char)0xc0);
}

void kb_w_raw(struct kb_w *w, kb_val val)
{
    if (val.p == NULL) {
        kb_w_nil(w);
        return;
    }
    w_count(w, false);
    kb_buf_add(&w->buf, val.p, kb_val_size(val));
}

void kb_w_bin(struct kb_w *w, const void *data, size_t n)
{
    w_count(w, false);
    msgpack_packer packer = w_packer(w);
    msgpack_pack_bin(&packer, n);
    if (n)
        msgpack_pack_bin_body(&packer, data, n);
}

void kb_w_kmap(struct kb_w *w, const char *key)
{
    kb_w_key(w, key);
    kb_w_map(w);
}

void kb_w_karray(struct kb_w *w, const char *key)
{
    kb_w_key(w, key);
    kb_w_array(w);
}

void kb_w_kstr(struct kb_w *w, const char *key, kb_str s)
{
    kb_w_key(w, key);
    kb_w_str(w, s);
}

void kb_w_kcstr(struct kb_w *w, const char *key, const char *s)
{
    kb_w_key(w, key);
    kb_w_cstr(w, s);
}

void kb_w_kint(struct kb_w *w, const char *key, int64_t i)
{
    kb_w_key(w, key);
    kb_w_int(w, i);
}

void kb_w_kbool(struct kb_w *w, const char *key, bool b)
{
    kb_w_key(w, key);
    kb_w_bool(w, b);
}

void kb_w_kraw(struct kb_w *w, const char *key, kb_val val)
{
    kb_w_key(w, key);
    kb_w_raw(w, val);
}

struct kb_doc *kb_w_doc(struct kb_w *w)
{
    KB_ASSERT(w->depth == 0 && w->buf.n > 0);
    return kb_doc_take(&w->buf);
}

kb_val kb_w_val(const struct kb_w *w)
{
    KB_ASSERT(w->depth == 0 && w->buf.n > 0);
    const uint8_t *p = (const uint8_t *)w->buf.p;
    return (kb_val){p, p + w->buf.n};
}
