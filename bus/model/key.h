/* The store's keys: RESOURCE/NAMESPACE/NAME, RESOURCE being "pods" or "deployments.apps".
 * Cluster-scoped objects have an empty namespace: "nodes//n1". */
#ifndef KUBUS_MODEL_KEY_H
#define KUBUS_MODEL_KEY_H

#include "bus/base/err.h"
#include "bus/base/limits.h"
#include "bus/base/str.h"

/* The parts, borrowed from the key's text. */
struct kb_key {
    kb_str resource, ns, name;
};

/* May a resource be called so? No slash, no control characters, KB_NAME_MAX_BYTES at most. */
KB_API bool kb_resource_is_good(kb_str resource);
/* 0 or -KB_EINVAL: exactly two slashes, a resource and a name, KB_KEY_MAX_BYTES at most, no
 * control characters. */
KB_API int kb_key_parse(kb_str text, struct kb_key *ret_key, struct kb_err *err);
/* Write the text, terminated; false when it does not fit. KB_KEY_MAX_BYTES + 1 holds any. */
KB_API bool kb_key_format(struct kb_key key, char *out, size_t cap);

#endif
