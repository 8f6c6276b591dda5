/* What InterPodAffinity and PodTopologySpread have to say, by loops over all pods and terms, as the
 * rules are written down. */
#ifndef KUBUS_TESTS_PROP_AFFINITY_REFERENCE_H
#define KUBUS_TESTS_PROP_AFFINITY_REFERENCE_H

#include "tests/prop/affinity_world.h"

struct affinity_said {
    const char *why[NODES]; /* NULL: fits; not of nodes that are not there */
    bool spreads;           /* the pod has constraints that are only wished for, or by default */
    int64_t spread[NODES], affinity[NODES];
};

struct affinity_said affinity_reference(const struct world *w, const struct template *t);

#endif
