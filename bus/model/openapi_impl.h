/* What the two halves of the OpenAPI document share: components and paths. Private to bus/model. */
#ifndef KUBUS_MODEL_OPENAPI_IMPL_H
#define KUBUS_MODEL_OPENAPI_IMPL_H

#include "bus/base/arena.h"
#include "bus/base/map.h"
#include "bus/model/openapi.h"

/* A document being written. Components are written once each, in the order in which they were first
 * referred to. */
struct kb__openapi {
    const struct kb_kinds *kinds;
    kb_str group, version;
    struct kb_w w;
    struct kb_arena arena;
    struct kb_map seen; /* component name → struct kb__component */
    struct kb__component {
        kb_str name, definition; /* definition: in the registry; empty for made ones */
        kb_val source;
        const struct kb_kind *kind, *list_of;
        struct kb__component *next;
    } * first, *last;
};

/* "#/components/schemas/NAME" of a kind's own schema, of its list, or of a definition; the
 * component will be written. */
kb_str kb__openapi_kind(struct kb__openapi *o, const struct kb_kind *kind, bool list);
kb_str kb__openapi_definition(struct kb__openapi *o, const char *name);
/* {"$ref": ref} */
void kb__openapi_ref(struct kb__openapi *o, kb_str ref);
/* Write all components that were referred to, and those that these refer to. */
void kb__openapi_components(struct kb__openapi *o);
/* The paths of one kind. */
void kb__openapi_paths(struct kb__openapi *o, const struct kb_kind *kind);

#endif
