/* YAML in and out, as kubectl reads and prints it.
 *
 * In: the YAML 1.1 of sigs.k8s.io/yaml: plain yes, no, on, off, y, n are booleans, 0644 is octal,
 * dates stay text, quoted scalars are text, "<<" merges. Keys that are numbers or booleans become
 * text. Aliases are expanded within a bound; duplicate keys are an error. */
#ifndef KUBUS_MODEL_YAML_H
#define KUBUS_MODEL_YAML_H

#include "bus/model/json.h"

/* A stream of documents. */
struct kb_yaml;

/* `text` is borrowed and must outlive the reader. */
KB_API struct kb_yaml *kb_yaml_open(kb_str text);
/* Called for duplicate keys instead of failing; the last then wins. Borrowed. */
KB_API void kb_yaml_set_opts(struct kb_yaml *yaml, const struct kb_read_opts *opts);
/* The next document that is not empty, in `a`: 1, and 0 at the end. -KB_EINVAL ("yaml: line 3:
 * …"), -KB_E2BIG (nested deeper than KB_DEPTH_MAX; aliases that expand too far); after an error
 * nothing more is read. */
KB_API int kb_yaml_next(struct kb_yaml *yaml, struct kb_arena *a, struct kb_node **ret_node,
                        struct kb_err *err);
/* Where the document that was read last begins, 1 for the first line. */
KB_API size_t kb_yaml_line(const struct kb_yaml *yaml);
KB_API void kb_yaml_close(struct kb_yaml **yaml_p);

/* All documents that are not empty, as an array; `opts` may be NULL. */
KB_API int kb_yaml_parse(struct kb_arena *a, kb_str text, const struct kb_read_opts *opts,
                         struct kb_node **ret_docs, struct kb_err *err);
/* A text of one document. An empty one reads as null; a second one is -KB_EINVAL. */
KB_API int kb_yaml_parse_one(struct kb_arena *a, kb_str text, const struct kb_read_opts *opts,
                             struct kb_node **ret_node, struct kb_err *err);

/* Append a document, keys sorted as kubectl sorts them, a newline at the end. Between several the
 * caller writes "---\n". */
KB_API void kb_yaml_write(struct kb_buf *out, kb_val val);
KB_API void kb_yaml_write_node(struct kb_buf *out, const struct kb_node *node);

#endif
