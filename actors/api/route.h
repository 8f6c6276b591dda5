/* From a URL to what is asked for. Pure. */
#ifndef KUBUS_API_ROUTE_H
#define KUBUS_API_ROUTE_H

#include "bus/model/kind.h"

enum kb_route_type {
    KB_ROUTE_UNKNOWN,
    KB_ROUTE_INDEX,         /* / */
    KB_ROUTE_VERSION,       /* /version */
    KB_ROUTE_HEALTH,        /* /livez /readyz /healthz, and one check below: `name` */
    KB_ROUTE_METRICS,       /* /metrics */
    KB_ROUTE_OPENAPI_V2,    /* /openapi/v2 */
    KB_ROUTE_OPENAPI_INDEX, /* /openapi/v3 */
    KB_ROUTE_OPENAPI,       /* /openapi/v3/api/v1, /openapi/v3/apis/GROUP/VERSION */
    KB_ROUTE_API_VERSIONS,  /* /api */
    KB_ROUTE_API_GROUPS,    /* /apis */
    KB_ROUTE_API_GROUP,     /* /apis/GROUP */
    KB_ROUTE_API_RESOURCES, /* /api/v1, /apis/GROUP/VERSION */
    KB_ROUTE_NO_CRDS,       /* the list of CustomResourceDefinitions, when there is no such kind */
    KB_ROUTE_OBJECTS,       /* of `kind`, or of a namespace when `ns` is there */
    KB_ROUTE_OBJECT         /* one, or a subresource of it */
};

/* All texts are borrowed from the segments. */
struct kb_route {
    enum kb_route_type type;
    const struct kb_kind *kind;
    kb_str group, version;
    kb_str ns, name, subresource;
};

/* `segments`: of the path, decoded, without empty ones. A resource that is not known, or a
 * namespaced path to one that is not namespaced, is KB_ROUTE_UNKNOWN. */
struct kb_route kb_route_find(const struct kb_kinds *kinds, const kb_str *segments, size_t n);

/* The verb of authorization and metrics: "get", "list", "watch", "create", …; lower-case method
 * for what is not a resource. */
struct kb_route_verb {
    unsigned verb; /* KB_VERB_…, 0 when the method fits nothing */
    const char *word;
};
struct kb_route_verb kb_route_verb(const struct kb_route *route, kb_str method, bool watch);

#endif
