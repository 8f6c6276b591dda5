/* What the API says of itself: its groups, versions and resources, in both forms that clients ask
 * for.
 *
 * Pure: all of it follows from the registry of kinds. Each function appends JSON to `out`. Groups
 * and resources come in order of their names. */
#ifndef KUBUS_MODEL_DISCOVERY_H
#define KUBUS_MODEL_DISCOVERY_H

#include "bus/model/kind.h"

/* GET /api: an APIVersions; `server_address` is HOST:PORT. */
KB_API void kb_discovery_versions(kb_str server_address, struct kb_buf *out);
/* GET /apis: an APIGroupList. */
KB_API void kb_discovery_groups(const struct kb_kinds *kinds, struct kb_buf *out);
/* GET /apis/GROUP: an APIGroup. -KB_ENOTFOUND. */
KB_API int kb_discovery_group(const struct kb_kinds *kinds, kb_str group, struct kb_buf *out);
/* GET /api/v1 and /apis/GROUP/VERSION: an APIResourceList. -KB_ENOTFOUND. */
KB_API int kb_discovery_resources(const struct kb_kinds *kinds, kb_str group, kb_str version,
                                  struct kb_buf *out);
/* GET /api (`core`) and /apis with `Accept: …;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList`:
 * everything at once. */
KB_API void kb_discovery_aggregated(const struct kb_kinds *kinds, bool core, struct kb_buf *out);

#endif
