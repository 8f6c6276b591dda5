#include "actors/scheduler/core/guard.h"

#include "actors/scheduler/core/profile.h"
#include "bus/base/str.h"

#include <stdarg.h>
#include <stdio.h>

uint32_t kb_guard_row(struct kb_guard_page *page, const char *name, const char *version)
{
    version = version ? version : "";
    for (uint32_t i = 0; i < page->rows_n; i++)
        if (strcmp(page->rows[i].name, name) == 0 && strcmp(page->rows[i].version, version) == 0)
            return i;
    if (page->rows_n >= KB_GUARD_ROWS - 1) {
        page->rows[KB_GUARD_ROWS - 1] = (struct kb_guard_row){.name = "?"};
        return KB_GUARD_ROWS - 1;
    }
    struct kb_guard_row *row = &page->rows[page->rows_n];
    snprintf(row->name, sizeof(row->name), "%s", name);
    snprintf(row->version, sizeof(row->version), "%s", version);
    return page->rows_n++;
}

const char *kb_guard_point_name(uint32_t at)
{
    uint32_t point = at >> 16;
    switch (point) {
    case KB_GUARD_LOAD:
        return "load";
    case KB_GUARD_CONFIGURE:
        return "configure";
    case KB_GUARD_UNLOAD:
        return "unload";
    case KB_GUARD_RELEASE:
        return "release";
    case KB_GUARD_REASON:
        return "reason";
    default:
        return point < KB_POINTS ? kb_point_names[point] : "?";
    }
}

void kb_guard_blame(struct kb_guard *g, const void *profile, uint32_t policy, const char *format,
                    ...)
{
    if (g->blamed_profile != NULL)
        return;
    va_list args;
    va_start(args, format);
    vsnprintf(g->why, sizeof(g->why), format, args);
    va_end(args);
    g->blamed_profile = profile;
    g->blamed_policy = policy;
}
