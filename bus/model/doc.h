/* Documents: immutable msgpack, read in place.
 *
 * A `kb_doc` owns the bytes of one msgpack value that has been checked once: well-formed, nested
 * within KB_DEPTH_MAX, string keys in every map, valid UTF-8, no extension types. After that check
 * every reader works on the bytes themselves: a `kb_val` is a borrowed position in a document,
 * found by walking over what lies before it. Nothing is decoded that was not asked for. A document
 * is never changed: build a new one with a writer (below), or through a tree (bus/model/node.h).
 *
 * Field names are those of the Kubernetes JSON API. An integer is an int64; a uint64 above
 * INT64_MAX is refused by the check. */
#ifndef KUBUS_MODEL_DOC_H
#define KUBUS_MODEL_DOC_H

#include "bus/base/buf.h"
#include "bus/base/err.h"

struct kb_doc;

enum kb_type { KB_NONE, KB_NIL, KB_BOOL, KB_INT, KB_DOUBLE, KB_STR, KB_ARRAY, KB_MAP };

/* A borrowed value; {NULL, NULL} is KB_NONE, "not there". Valid as long as its document. Every
 * reader accepts KB_NONE and answers with "nothing", so that lookups chain without checks. */
typedef struct kb_val {
    const uint8_t *p;   /* first byte of the value */
    const uint8_t *end; /* end of the bytes that hold it; the value may end before */
} kb_val;

/* ---- documents ---- */

/* Check `n` bytes and copy them. -KB_EINVAL (malformed, trailing bytes), -KB_E2BIG (too deep). */
KB_API int kb_doc_new(const void *bytes, size_t n, struct kb_doc **ret_doc, struct kb_err *err);
/* A copy of a value that stands in a document already: not checked again. */
KB_API struct kb_doc *kb_doc_of(kb_val val);
/* Take over what a writer wrote (our own bytes: not checked). The buffer is empty afterwards. */
KB_API struct kb_doc *kb_doc_take(struct kb_buf *bytes);
KB_API struct kb_doc *kb_doc_ref(const struct kb_doc *doc); /* one more owner; NULL stays NULL */
KB_API void kb_doc_destroy(struct kb_doc **doc_p);          /* one owner fewer; count is atomic */
KB_API kb_val kb_doc_root(const struct kb_doc *doc);        /* KB_NONE for NULL */
KB_API size_t kb_doc_bytes(const struct kb_doc *doc, const void **ret_bytes);

/* Check bytes in place without owning them; ret_val borrows from `bytes`. For frames. */
KB_API int kb_val_check(const void *bytes, size_t n, kb_val *ret_val, struct kb_err *err);

/* ---- reading: O(bytes walked over), nothing is allocated ---- */

KB_API enum kb_type kb_val_type(kb_val val);
static inline bool kb_val_present(kb_val val) /* there, and not null */
{
    return val.p != NULL && *val.p != 0xc0;
}
KB_API bool kb_val_bool(kb_val val, bool otherwise);
KB_API int64_t kb_val_int(kb_val val, int64_t otherwise); /* a double without fraction counts */
/* What the API calls an int32; one that is out of range is as if it were absent, so that sums and
 * products of a few cannot overflow. */
KB_API int64_t kb_val_int32(kb_val val, int64_t otherwise);
KB_API double kb_val_double(kb_val val, double otherwise);
KB_API kb_str kb_val_str(kb_val val); /* empty when it is not a string */
/* A string, boolean or integer as text, in `scratch` if need be: what indices and field selectors
 * compare. Empty for all else. */
enum { KB_VAL_TEXT_BYTES = 32 };
KB_API kb_str kb_val_text(kb_val val, char scratch[KB_VAL_TEXT_BYTES]);
KB_API size_t kb_val_count(kb_val val);       /* members of a map or array, else 0 */
KB_API size_t kb_val_size(kb_val val);        /* its bytes */
KB_API bool kb_val_equal(kb_val a, kb_val b); /* deep; the order of map members does not matter */

KB_API kb_val kb_val_getn(kb_val map, kb_str key); /* keys with dots: labels */
/* Inline, so that the length of a key that is written out costs nothing. */
KB_API inline kb_val kb_val_get(kb_val map, const char *key)
{
    return kb_val_getn(map, (kb_str){key, strlen(key)});
}
KB_API kb_val kb_val_index(kb_val array, size_t at);
/* Walk a path (bus/model/path.h): "spec.containers[0].image". KB_NONE where it leads nowhere. */
KB_API kb_val kb_val_at(kb_val val, const char *path);
KB_API kb_val kb_doc_at(const struct kb_doc *doc, const char *path);
KB_API kb_str kb_val_str_at(kb_val val, const char *path);
KB_API int64_t kb_val_int_at(kb_val val, const char *path, int64_t otherwise);
KB_API int64_t kb_val_int32_at(kb_val val, const char *path, int64_t otherwise);
KB_API bool kb_val_bool_at(kb_val val, const char *path, bool otherwise);

/* for (struct kb_iter it = kb_iter(v); kb_iter_next(&it);) { it.key, it.val } — the key is empty
 * for arrays. On anything but a map or array it ends at once. */
struct kb_iter {
    kb_str key;
    kb_val val;
    const uint8_t *at, *end;
    size_t left;
    bool map;
};
KB_API struct kb_iter kb_iter(kb_val container);
KB_API bool kb_iter_next(struct kb_iter *it);

/* ---- writing: appends msgpack to a buffer ---- */

/* A streaming writer: containers are opened and closed, their counts are filled in at the close.
 * Zero-initialized is ready. Misuse (a key missing, unbalanced ends) asserts. */
struct kb_w {
    struct kb_buf buf;
    struct kb_w_open {
        size_t at;      /* of the container's header */
        uint32_t items; /* keys and values both, in a map */
        bool map;
        bool counted; /* the header says already how many there are */
    } * stack;
    uint32_t depth, cap;
};
KB_API void kb_w_finish(struct kb_w *w); /* frees what was written */
KB_API void kb_w_map(struct kb_w *w);
KB_API void kb_w_array(struct kb_w *w);
KB_API void kb_w_end(struct kb_w *w);
KB_API void kb_w_key(struct kb_w *w, const char *key);
KB_API void kb_w_str(struct kb_w *w, kb_str s); /* also as a key */
KB_API inline void kb_w_cstr(struct kb_w *w, const char *s)
{
    kb_w_str(w, (kb_str){s, s ? strlen(s) : 0});
}
KB_API void kb_w_int(struct kb_w *w, int64_t i);
KB_API void kb_w_bool(struct kb_w *w, bool b);
KB_API void kb_w_double(struct kb_w *w, double d);
KB_API void kb_w_nil(struct kb_w *w);
KB_API void kb_w_raw(struct kb_w *w, kb_val val); /* a copy of a value; KB_NONE writes nil */
/* key and value in one; the containers are open then */
KB_API void kb_w_kmap(struct kb_w *w, const char *key);
KB_API void kb_w_karray(struct kb_w *w, const char *key);
KB_API void kb_w_kstr(struct kb_w *w, const char *key, kb_str s);
KB_API void kb_w_kcstr(struct kb_w *w, const char *key, const char *s);
KB_API void kb_w_kint(struct kb_w *w, const char *key, int64_t i);
KB_API void kb_w_kbool(struct kb_w *w, const char *key, bool b);
KB_API void kb_w_kraw(struct kb_w *w, const char *key, kb_val val);
/* Bytes that are no text (a stream's data): msgpack bin. Read with kb_val_str. */
KB_API void kb_w_bin(struct kb_w *w, const void *data, size_t n);
/* The finished document; the writer is empty and ready again. All containers must be closed. */
KB_API struct kb_doc *kb_w_doc(struct kb_w *w);
/* The same value without owning it: valid until the writer changes. */
KB_API kb_val kb_w_val(const struct kb_w *w);

#endif
