/* Patches: JSON Patch (RFC 6902), merge patch (RFC 7386) and Kubernetes' strategic merge patch.
 *
 * All work on trees in place: `target` is changed, and on failure is to be thrown away. Parts of
 * the patch may become parts of the target, so the patch must live as long. */
#ifndef KUBUS_MODEL_PATCH_H
#define KUBUS_MODEL_PATCH_H

#include "bus/model/schema.h"

/* Bounds what a patch of many copies can blow up: as Kubernetes. */
enum { KB_JSON_PATCH_MAX_OPS = 10000 };

/* Apply a list of operations. *target may be replaced as a whole. -KB_EINVAL: the patch is
 * malformed (answer 400). -KB_EUNPROCESSABLE: it does not apply: a path that is not there, a test
 * that fails (answer 422). -KB_E2BIG. */
KB_API int kb_patch_json(struct kb_arena *a, struct kb_node **target, const struct kb_node *patch,
                         struct kb_err *err);

/* Null removes, objects merge, all else replaces. *target may be replaced as a whole. */
KB_API void kb_patch_merge(struct kb_arena *a, struct kb_node **target, struct kb_node *patch);

/* Strategic merge, driven by the schema: lists with patch strategy `merge` are merged by their
 * merge key or as sets; $patch, $deleteFromPrimitiveList, $setElementOrder and $retainKeys are
 * obeyed. What has no schema is merged as by kb_patch_merge. -KB_EINVAL: an item of the patch
 * without its merge key, an unknown directive. */
KB_API int kb_patch_strategic(const struct kb_schema *schema, struct kb_arena *a,
                              struct kb_node **target, struct kb_node *patch, struct kb_err *err);

/* The merge patch that makes `to` out of `from`; an empty map when they are equal. */
KB_API struct kb_node *kb_patch_diff(struct kb_arena *a, const struct kb_node *from,
                                     const struct kb_node *to);

#endif
