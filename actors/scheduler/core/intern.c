#include "actors/scheduler/core/intern.h"

#include "bus/base/check.h"

#include <stdlib.h>

void kb_intern_finish(struct kb_intern *in)
{
    kb_map_finish(&in->ids);
    kb_arena_finish(&in->arena);
    free(in->texts);
    *in = (struct kb_intern){0};
}

uint32_t kb_intern_find(const struct kb_intern *in, kb_str text)
{
    return (uint32_t)(uintptr_t)kb_map_get(&in->ids, text);
}

uint32_t kb_intern_id(struct kb_intern *in, kb_str text)
{
    uint32_t id = kb_intern_find(in, text);
    if (id != 0)
        return id;
    if (in->n + 1 >= in->cap) {
        in->cap = in->cap ? in->cap * 2 : 64;
        in->texts = realloc(in->texts, in->cap * sizeof(*in->texts));
        KB_ASSERT(in->texts != NULL);
        in->texts[0] = (struct kb_intern_text){.text = kb_str_of("")};
    }
    id = ++in->n;
    struct kb_intern_text *t = &in->texts[id];
    t->text = kb_arena_str(&in->arena, text);
    t->is_number = kb_str_i64(text, &t->number);
    kb_map_put(&in->ids, text, (void *)(uintptr_t)id);
    return id;
}

const char *kb_intern_text(const struct kb_intern *in, uint32_t id)
{
    KB_ASSERT(id <= in->n);
    return id == 0 ? "" : in->texts[id].text.p;
}

bool kb_intern_number(const struct kb_intern *in, uint32_t id, int64_t *ret)
{
    if (id == 0 || id > in->n || !in->texts[id].is_number)
        return false;
    *ret = in->texts[id].number;
    return true;
}
