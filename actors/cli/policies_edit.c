/* Edits of a KubeSchedulerConfiguration as a tree. Pure. */
#include "actors/cli/policies.h"

static struct kb_node *list_in(struct kb_arena *a, struct kb_node *map, const char *name)
{
    struct kb_node *list = kb_node_get(map, name);
    if (list && list->type == KB_ARRAY)
        return list;
    list = kb_node_array(a);
    kb_node_put(a, map, name, list);
    return list;
}

static bool is_profile(const struct kb_node *profile, const char *name, bool only)
{
    kb_str own = kb_node_text(kb_node_get(profile, "schedulerName"));
    return kb_str_is(own, name) || (own.n == 0 && only && strcmp(name, "default-scheduler") == 0);
}

/* Without any profile there is the default one. */
static struct kb_node *find_profile(struct kb_arena *a, struct kb_node *config, const char *name)
{
    struct kb_node *profiles = list_in(a, config, "profiles");
    if (profiles->count == 0 && strcmp(name, "default-scheduler") == 0) {
        struct kb_node *profile = kb_node_map(a);
        kb_node_set_cstr(a, profile, "schedulerName", name);
        kb_node_append(a, profiles, profile);
    }
    for (uint32_t i = 0; i < profiles->count; i++)
        if (is_profile(profiles->items[i].val, name, profiles->count == 1))
            return profiles->items[i].val;
    return NULL;
}

static struct kb_node *named_in(const struct kb_node *list, const char *name, uint32_t *ret_at)
{
    for (uint32_t i = 0; list && list->type == KB_ARRAY && i < list->count; i++) {
        if (!kb_str_is(kb_node_text(kb_node_get(list->items[i].val, "name")), name))
            continue;
        *ret_at = i;
        return list->items[i].val;
    }
    return NULL;
}

/* The entry of that name, made when there is none. */
static struct kb_node *entry_in(struct kb_arena *a, struct kb_node *list, const char *name)
{
    uint32_t at;
    struct kb_node *entry = named_in(list, name, &at);
    if (entry)
        return entry;
    entry = kb_node_map(a);
    kb_node_set_cstr(a, entry, "name", name);
    kb_node_append(a, list, entry);
    return entry;
}

static bool remove_from(struct kb_node *list, const char *name)
{
    uint32_t at;
    if (!named_in(list, name, &at))
        return false;
    kb_node_remove(list, at);
    return true;
}

int kb_policies_enable(struct kb_arena *a, struct kb_node *config, const char *profile,
                       const char *name, int64_t weight, struct kb_node *args, struct kb_err *err)
{
    struct kb_node *at = find_profile(a, config, profile);
    if (at == NULL)
        return kb_err_set(err, KB_ENOTFOUND, "there is no profile %s", profile);
    struct kb_node *multi = kb_node_ensure(a, at, "plugins.multiPoint");
    struct kb_node *entry = entry_in(a, list_in(a, multi, "enabled"), name);
    remove_from(kb_node_get(multi, "disabled"), name);
    if (weight > 0)
        kb_node_set_int(a, entry, "weight", weight);
    if (args)
        kb_node_put(a, entry_in(a, list_in(a, at, "pluginConfig"), name), "args", args);
    return 0;
}

static size_t disable_in(struct kb_node *profile, const char *name)
{
    struct kb_node *plugins = kb_node_get(profile, "plugins");
    size_t n = 0;
    for (uint32_t i = 0; plugins && plugins->type == KB_MAP && i < plugins->count; i++)
        n += remove_from(kb_node_get(plugins->items[i].val, "enabled"), name);
    remove_from(kb_node_get(profile, "pluginConfig"), name);
    return n;
}

size_t kb_policies_disable(struct kb_node *config, const char *profile, const char *name)
{
    struct kb_node *profiles = kb_node_get(config, "profiles");
    size_t n = 0;
    if (profiles == NULL || profiles->type != KB_ARRAY)
        return 0;
    for (uint32_t i = 0; i < profiles->count; i++)
        if (profile == NULL || is_profile(profiles->items[i].val, profile, profiles->count == 1))
            n += disable_in(profiles->items[i].val, name);
    return n;
}

bool kb_policies_uses(const struct kb_node *config, const char *name)
{
    const struct kb_node *profiles = kb_node_get(config, "profiles");
    uint32_t at;
    for (uint32_t i = 0; profiles && profiles->type == KB_ARRAY && i < profiles->count; i++) {
        const struct kb_node *plugins = kb_node_get(profiles->items[i].val, "plugins");
        for (uint32_t k = 0; plugins && plugins->type == KB_MAP && k < plugins->count; k++)
            if (named_in(kb_node_get(plugins->items[k].val, "enabled"), name, &at))
                return true;
    }
    return false;
}
