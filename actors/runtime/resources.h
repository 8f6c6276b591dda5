/* The resources there are, for controllers that follow all of them. */
#ifndef KUBUS_RUNTIME_RESOURCES_H
#define KUBUS_RUNTIME_RESOURCES_H

#include "plugins/plugin.h"

struct kb_resources {
    struct kb_resource_info *items; /* ended by a NULL resource */
    size_t count;
    struct kb_arena texts;
};

/* Those of the built-in kinds that are stored. The registry itself is not kept. */
void kb_resources_builtin(struct kb_resources *ret);
void kb_resources_finish(struct kb_resources *resources);

#endif
