/* Small tools of the rules. Private to this folder. */
#ifndef KUBUS_API_LOGIC_RULES_IMPL_H
#define KUBUS_API_LOGIC_RULES_IMPL_H

#include "actors/api/logic/rules.h"

/* Items of a list; 0 and NULL for anything else. */
static inline uint32_t kb__count(const struct kb_node *list)
{
    return list != NULL && list->type == KB_ARRAY ? list->count : 0;
}
static inline struct kb_node *kb__item(const struct kb_node *list, uint32_t i)
{
    return list->items[i].val;
}
static inline uint32_t kb__members(const struct kb_node *map)
{
    return map != NULL && map->type == KB_MAP ? map->count : 0;
}

/* The text of a member; empty when absent. */
static inline kb_str kb__text(const struct kb_node *map, const char *key)
{
    return kb_node_text(kb_node_get(map, key));
}
static inline bool kb__is(const struct kb_node *map, const char *key, const char *want)
{
    return kb_str_is(kb__text(map, key), want);
}
static inline int64_t kb__num(const struct kb_node *map, const char *key, int64_t otherwise)
{
    return kb_node_num(kb_node_get(map, key), otherwise);
}
/* There, and not null, "", [] or {}. */
static inline bool kb__set(const struct kb_node *map, const char *key)
{
    const struct kb_node *node = kb_node_get(map, key);
    if (node == NULL || node->type == KB_NIL)
        return false;
    if (node->type == KB_STR)
        return node->s.n > 0;
    return (node->type != KB_ARRAY && node->type != KB_MAP) || node->count > 0;
}

/* The item of a list whose member `key` is `want`; NULL when there is none. */
const struct kb_node *kb__find(const struct kb_node *list, const char *key, kb_str want);

/* Add `type` at the member `key` of what stands at `at`, with the value that is there. */
#define KB__BAD(causes, type, at, map, key, ...)                                                   \
    do {                                                                                           \
        struct kb_at kb_at_ = kb_at_field((at), (key));                                            \
        kb_causes_add((causes), KB_CAUSE_##type, &kb_at_, kb_node_get((map), (key)), __VA_ARGS__); \
    } while (0)
/* The same without showing a value. */
#define KB__WRONG(causes, type, at, key, ...)                                                      \
    do {                                                                                           \
        struct kb_at kb_at_ = kb_at_field((at), (key));                                            \
        kb_causes_add((causes), KB_CAUSE_##type, &kb_at_, NULL, __VA_ARGS__);                      \
    } while (0)

enum kb__container_kind { KB__MAIN, KB__INIT, KB__EPHEMERAL };

/* Everything about one container of a pod. */
void kb__rules_container(const struct kb_node *c, const struct kb_node *spec,
                         enum kb__container_kind kind, const struct kb_at *at,
                         struct kb_causes *causes);
/* A field of the pod as an environment variable, or as a file. */
void kb__rules_field_ref(const struct kb_node *ref, bool in_volume, const struct kb_at *at,
                         struct kb_causes *causes);
void kb__rules_resource_ref(const struct kb_node *ref, bool in_volume, const struct kb_at *at,
                            struct kb_causes *causes);
void kb__rules_volumes(const struct kb_node *volumes, const struct kb_at *at,
                       struct kb_causes *causes);
void kb__rules_scheduling(const struct kb_node *spec, const struct kb_at *at,
                          struct kb_causes *causes);

#endif
