#include "bus/model/read.h"

#include "bus/base/check.h"

#include <stdlib.h>

enum { MANY_MEMBERS = 24 }; /* from here on a map's keys are hashed */

static struct kb__level *top(struct kb__builder *b)
{
    return b->depth ? &b->levels[b->depth - 1] : NULL;
}

static void level_finish(struct kb__level *level)
{
    if (level->seen)
        kb_map_finish(level->seen);
    free(level->seen);
    level->seen = NULL;
}

void kb__builder_finish(struct kb__builder *b)
{
    while (b->depth)
        level_finish(&b->levels[--b->depth]);
}

static void *index_mark(size_t index)
{
    return (void *)(uintptr_t)(index + 1);
}

static void level_hash(struct kb__level *level)
{
    level->seen = calloc(1, sizeof(*level->seen));
    KB_ASSERT(level->seen != NULL);
    for (uint32_t i = 0; i < level->node->count; i++)
        kb_map_put(level->seen, level->node->items[i].key, index_mark(i));
}

/* The member called `key`, or NULL. */
static struct kb_member *level_find(struct kb__level *level, kb_str key)
{
    if (level->seen == NULL && level->node->count >= MANY_MEMBERS)
        level_hash(level);
    if (level->seen) {
        size_t mark = (size_t)(uintptr_t)kb_map_get(level->seen, key);
        return mark ? &level->node->items[mark - 1] : NULL;
    }
    for (uint32_t i = 0; i < level->node->count; i++)
        if (kb_str_eq(level->node->items[i].key, key))
            return &level->node->items[i];
    return NULL;
}

void kb__builder_path(const struct kb__builder *b, struct kb_buf *out)
{
    for (size_t i = 0; i < b->depth; i++) {
        const struct kb__level *level = &b->levels[i];
        if (level->node->type == KB_MAP) {
            if (out->n)
                kb_buf_putc(out, '.');
            kb_buf_add_str(out, level->key);
        } else {
            uint32_t at = i + 1 < b->depth ? level->node->count - 1 : level->node->count;
            kb_buf_printf(out, "[%u]", at);
        }
    }
}

static void tell_duplicate(struct kb__builder *b)
{
    KB_AUTO(kb_buf_finish) struct kb_buf path = {0};
    kb__builder_path(b, &path);
    kb_buf_add(&path, "", 0);
    b->opts->duplicate(b->opts->arg, path.p);
}

void kb__builder_key(struct kb__builder *b, kb_str key)
{
    struct kb__level *level = top(b);
    KB_ASSERT(level != NULL && level->node->type == KB_MAP);
    const struct kb_member *member = level_find(level, key);
    level->key = member ? member->key : kb_arena_str(b->arena, key);
    level->repeated = member != NULL;
    if (member && b->opts && b->opts->duplicate)
        tell_duplicate(b);
}

bool kb__builder_repeated(const struct kb__builder *b)
{
    return b->depth && b->levels[b->depth - 1].repeated;
}

void kb__builder_add(struct kb__builder *b, struct kb_node *node)
{
    struct kb__level *level = top(b);
    if (level == NULL) {
        if (b->root == NULL)
            b->root = node;
        return;
    }
    if (level->node->type == KB_ARRAY) {
        kb_node_append(b->arena, level->node, node);
        return;
    }
    if (level->repeated) {
        level_find(level, level->key)->val = node;
        return;
    }
    kb_node_insert(b->arena, level->node, level->node->count, node);
    level->node->items[level->node->count - 1].key = level->key;
    if (level->seen)
        kb_map_put(level->seen, level->key, index_mark(level->node->count - 1));
}

bool kb__builder_open(struct kb__builder *b, struct kb_node *node)
{
    if (b->depth == KB_DEPTH_MAX)
        return false;
    kb__builder_add(b, node);
    b->levels[b->depth++] = (struct kb__level){.node = node};
    return true;
}

void kb__builder_close(struct kb__builder *b)
{
    KB_ASSERT(b->depth > 0);
    level_finish(&b->levels[--b->depth]);
}
