/* JSONPath, as far as printer columns use it: names, ['names'], indices, [*], slices, filters.
 *
 * `.spec.containers[*].name`, `.metadata.annotations['a.b/c']`, `.metadata.annotations.a\.b/c`,
 * `.status.conditions[?(@.type=="Ready")].status`, `.items[-1]`, `.items[0:2]`; braces around the
 * whole are allowed. Recursive descent (`..`) is not: no column of a real kind needs it, and it has
 * no bound. */
#ifndef KUBUS_MODEL_JSONPATH_H
#define KUBUS_MODEL_JSONPATH_H

#include "bus/model/doc.h"

struct kb_jsonpath;

/* Compile. 0 or -KB_EINVAL with what is wrong and where. */
KB_API int kb_jsonpath_new(kb_str text, struct kb_jsonpath **ret_path, struct kb_err *err);
KB_API void kb_jsonpath_destroy(struct kb_jsonpath **path_p);

/* Called for each value found, in document order; false ends the walk. */
typedef bool (*kb_jsonpath_fn)(void *context, kb_val val);
/* Walk. O(bytes walked over). A null that stands at the end of the path counts as found. */
KB_API void kb_jsonpath_each(const struct kb_jsonpath *path, kb_val root, kb_jsonpath_fn visit,
                             void *context);
/* The first value found, KB_NONE when there is none. */
KB_API kb_val kb_jsonpath_first(const struct kb_jsonpath *path, kb_val root);

#endif
