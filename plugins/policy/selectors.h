/* <kubus/policy/selectors.h>: what means which nodes and which pods. Texts are interned. */
#ifndef KUBUS_POLICY_SELECTORS_H
#define KUBUS_POLICY_SELECTORS_H

#include <stdbool.h>
#include <stdint.h>

enum kb_policy_op {
    KB_POLICY_IN,
    KB_POLICY_NOT_IN,
    KB_POLICY_EXISTS,
    KB_POLICY_DOES_NOT_EXIST,
    KB_POLICY_GT,
    KB_POLICY_LT,
};

/* One requirement on a node's label, or on its name (matchFields metadata.name). */
struct kb_policy_requirement {
    uint32_t key; /* the label's key; 0: the node's name */
    uint32_t op;  /* enum kb_policy_op */
    uint32_t values_n;
    const uint32_t *values; /* of In and NotIn */
    int64_t number;         /* of Gt and Lt */
    bool invalid;           /* unknown operator or malformed value: matches no node */
};

/* All requirements must hold; a term without any matches nothing. */
struct kb_policy_term {
    uint32_t all_n;
    const struct kb_policy_requirement *all;
    int64_t weight; /* of a preferred term, 1-100 */
};

struct kb_policy_label {
    uint32_t key, value;
};

/* A label selector: all requirements must hold, of which only In, NotIn, Exists and DoesNotExist
 * occur; without any it means everything. */
struct kb_policy_selector {
    bool none; /* means nothing, whatever `all` says: a selector that was not given */
    uint32_t all_n;
    const struct kb_policy_requirement *all;
};

/* Pods by their labels, in namespaces by name or by label. */
struct kb_policy_pods_selector {
    uint32_t namespaces_n;
    const uint32_t *namespaces; /* rising */
    struct kb_policy_selector namespaces_like;
    struct kb_policy_selector labels;
};

#endif
