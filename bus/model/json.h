/* JSON in and out.
 *
 * In: strict RFC 8259 through yajl, whole text at once, into a tree. Stricter than yajl where it is
 * lax (UTF-8, surrogates, what stands behind the document), and with the rules of Kubernetes:
 * a number without fraction or exponent that fits is an int64, any other a double; a lone
 * surrogate escape reads as U+FFFD; of duplicate keys the last wins, and each is reported.
 *
 * Out: a writer of our own, one walk over the msgpack bytes. */
#ifndef KUBUS_MODEL_JSON_H
#define KUBUS_MODEL_JSON_H

#include "bus/model/node.h"

/* What a reader of text (JSON, YAML) tells besides failure. Zero-initialized is "nothing". */
struct kb_read_opts {
    /* A key stood twice in one map, at `path` ("spec.containers[0].name"), the text borrowed for
     * the call. */
    void (*duplicate)(void *arg, const char *path);
    void *arg;
};

/* Read one value. All of it lives in `a`; `text` may go afterwards. `opts` may be NULL.
 * -KB_EINVAL (malformed; err names the byte), -KB_E2BIG (nested deeper than KB_DEPTH_MAX). O(n). */
KB_API int kb_json_parse(struct kb_arena *a, kb_str text, const struct kb_read_opts *opts,
                         struct kb_node **ret_node, struct kb_err *err);
/* The same into a document, duplicates unreported. Caller owns *ret_doc. */
KB_API int kb_json_doc(kb_str text, struct kb_doc **ret_doc, struct kb_err *err);

enum kb_json_flags {
    KB_JSON_PRETTY = 1, /* four spaces a level, as `kubectl get -o json`; no newline at the end */
    KB_JSON_SORTED = 2, /* members of maps by key, as kubectl prints them */
};

/* Append the text of a value. KB_NONE and NULL write null. O(n), and one walk when not sorted. */
KB_API void kb_json_write(struct kb_buf *out, kb_val val, unsigned flags);
KB_API void kb_json_write_node(struct kb_buf *out, const struct kb_node *node, unsigned flags);
/* An object as the API shows it: metadata.resourceVersion is written as `rev`, whatever the
 * document says there. Not pretty. */
KB_API void kb_json_write_object(struct kb_buf *out, kb_val object, uint64_t rev);
/* One text in quotes, escaped. */
KB_API void kb_json_write_str(struct kb_buf *out, kb_str s);
/* The shortest text that reads back as `d`; one that is not finite writes null. */
KB_API void kb_json_write_double(struct kb_buf *out, double d);

#endif
