/* OpenAPI v3 of the whole API, one document a group and version: what `kubectl explain` reads, and
 * what tells clients which query parameters are understood.
 *
 * Pure: all of it follows from the registry of kinds. Components carry Kubernetes' names. */
#ifndef KUBUS_MODEL_OPENAPI_H
#define KUBUS_MODEL_OPENAPI_H

#include "bus/model/kind.h"

/* GET /openapi/v3: where the documents are, each with a hash that changes when it does. Makes all
 * documents to know: keep the answer until a kind changes. `server_version` is what /version says
 * ("v1.32.0"). */
KB_API void kb_openapi_index(const struct kb_kinds *kinds, const char *server_version,
                             struct kb_buf *out);
/* GET /openapi/v3/api/v1 and /openapi/v3/apis/GROUP/VERSION, as JSON. `server_version` is what
 * /version says ("v1.32.0"). -KB_ENOTFOUND: no kind is in that version. O(all that the kinds refer
 * to); some milliseconds for the core group: keep it. */
KB_API int kb_openapi_document(const struct kb_kinds *kinds, kb_str group, kb_str version,
                               const char *server_version, struct kb_buf *out);

/* GET /openapi/v2, as protobuf (KB_OPENAPI_V2_TYPE): only the parameters of each kind's PATCH. */
#define KB_OPENAPI_V2_TYPE "application/com.github.proto-openapi.spec.v2.v1.0+protobuf"
KB_API void kb_openapi_v2(const struct kb_kinds *kinds, const char *server_version,
                          struct kb_buf *out);

#endif
