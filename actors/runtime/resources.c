#include "actors/runtime/resources.h"

#include "bus/model/kind.h"

#include <stdlib.h>

void kb_resources_builtin(struct kb_resources *ret)
{
    KB_AUTO(kb_kinds_destroy) struct kb_kinds *kinds = kb_kinds_builtin();
    size_t n = kb_kinds_count(kinds);
    *ret = (struct kb_resources){.items = calloc(n + 1, sizeof(*ret->items))};
    KB_ASSERT(ret->items != NULL);
    for (size_t i = 0; i < n; i++) {
        const struct kb_kind *kind = kb_kinds_index(kinds, i);
        if (!kind->stored)
            continue;
        ret->items[ret->count++] =
            (struct kb_resource_info){.resource = kb_arena_str(&ret->texts, kind->resource).p,
                                      .api_version = kb_arena_str(&ret->texts, kind->api_version).p,
                                      .kind = kb_arena_str(&ret->texts, kind->kind).p,
                                      .namespaced = kind->namespaced};
    }
}

void kb_resources_finish(struct kb_resources *resources)
{
    free(resources->items);
    kb_arena_finish(&resources->texts);
    *resources = (struct kb_resources){0};
}
