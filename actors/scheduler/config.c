/* config.c - from the text of a KubeSchedulerConfiguration to profiles.
 *
 * In three steps, each with its own errors: the shape (known fields, right types), the values as
 * Kubernetes validates them, and what the sets of policies come to. Whoever follows a live
 * configuration gets one of two things: a configuration that can be used as a whole, or one message
 * with a path in it. */
#include "actors/scheduler/config.h"

#include "actors/scheduler/core/core.h"
#include "bus/base/check.h"
#include "bus/model/json.h"
#include "bus/model/yaml.h"

#include <stdlib.h>

static const char API_VERSION[] = "kubescheduler.config.k8s.io/v1";
static const char DEFAULT_NAME[] = "default-scheduler";

struct parse {
    struct kb_arena *arena;
    kb_config_resolve *resolve;
    void *user;
    struct kb_err *err;
};

/* ---- errors ---- */

static const char *path_of(struct parse *p, const char *path, const char *field)
{
    return *path ? kb_arena_printf(p->arena, "%s.%s", path, field).p : field;
}

static const char *item_of(struct parse *p, const char *path, size_t at)
{
    return kb_arena_printf(p->arena, "%s[%zu]", path, at).p;
}

/* "path: Invalid value: …: why", with the value as JSON. */
static int invalid(struct parse *p, const char *path, const struct kb_node *value, const char *why)
{
    KB_AUTO(kb_buf_finish) struct kb_buf text = {0};
    kb_json_write_node(&text, value, 0);
    int shown = text.n > 128 ? 128 : (int)text.n;
    return kb_err_set(p->err, KB_EINVAL, "%s: Invalid value: %.*s: %s", path, shown, text.p, why);
}

static int invalid_text(struct parse *p, const char *path, const char *value, const char *why)
{
    return kb_err_set(p->err, KB_EINVAL, "%s: Invalid value: \"%s\": %s", path, value, why);
}

/* ---- shape ---- */

struct field {
    const char *name;
    enum kb_type type; /* KB_NIL: any */
};

static const struct field top_fields[] = {{"apiVersion", KB_STR},
                                          {"kind", KB_STR},
                                          {"parallelism", KB_INT},
                                          {"leaderElection", KB_MAP},
                                          {"clientConnection", KB_MAP},
                                          {"enableProfiling", KB_BOOL},
                                          {"enableContentionProfiling", KB_BOOL},
                                          {"percentageOfNodesToScore", KB_INT},
                                          {"podInitialBackoffSeconds", KB_INT},
                                          {"podMaxBackoffSeconds", KB_INT},
                                          {"profiles", KB_ARRAY},
                                          {"extenders", KB_ARRAY},
                                          {"delayCacheUntilActive", KB_BOOL}};
static const struct field election_fields[] = {
    {"leaderElect", KB_BOOL},      {"leaseDuration", KB_STR}, {"renewDeadline", KB_STR},
    {"retryPeriod", KB_STR},       {"resourceLock", KB_STR},  {"resourceName", KB_STR},
    {"resourceNamespace", KB_STR},
};
static const struct field client_fields[] = {{"kubeconfig", KB_STR},
                                             {"acceptContentTypes", KB_STR},
                                             {"contentType", KB_STR},
                                             {"qps", KB_DOUBLE},
                                             {"burst", KB_INT}};
static const struct field profile_fields[] = {{"schedulerName", KB_STR},
                                              {"percentageOfNodesToScore", KB_INT},
                                              {"plugins", KB_MAP},
                                              {"pluginConfig", KB_ARRAY}};
static const struct field set_fields[] = {{"enabled", KB_ARRAY}, {"disabled", KB_ARRAY}};
static const struct field plugin_fields[] = {{"name", KB_STR}, {"weight", KB_INT}};
static const struct field args_fields[] = {{"name", KB_STR}, {"args", KB_MAP}};

static const char *type_name(enum kb_type type)
{
    switch (type) {
    case KB_BOOL:
        return "must be of type boolean";
    case KB_INT:
        return "must be of type integer";
    case KB_DOUBLE:
        return "must be of type number";
    case KB_STR:
        return "must be of type string";
    case KB_ARRAY:
        return "must be of type array";
    default:
        return "must be of type object";
    }
}

static bool has_type(const struct kb_node *node, enum kb_type type)
{
    return node->type == KB_NIL || node->type == type ||
           (type == KB_DOUBLE && node->type == KB_INT);
}

/* A map of known fields of the right types; null stands for "not there". */
static int check_map(struct parse *p, const char *path, const struct kb_node *map,
                     const struct field *fields, size_t fields_n)
{
    if (map->type != KB_MAP)
        return invalid(p, path, map, type_name(KB_MAP));
    for (uint32_t i = 0; i < map->count; i++) {
        const struct kb_member *m = &map->items[i];
        size_t k = 0;
        while (k < fields_n && !kb_str_is(m->key, fields[k].name))
            k++;
        if (k == fields_n)
            return kb_err_set(p->err, KB_EINVAL,
                              "strict decoding error: unknown field \"%s%s" KB_STR_FMT "\"", path,
                              *path ? "." : "", KB_STR_ARG(m->key));
        if (!has_type(m->val, fields[k].type))
            return invalid(p, path_of(p, path, fields[k].name), m->val, type_name(fields[k].type));
    }
    return 0;
}
#define CHECK_MAP(p, path, map, fields) check_map(p, path, map, fields, KB_COUNT(fields))

/* A member that is there and not null. */
static const struct kb_node *member(const struct kb_node *map, const char *name)
{
    const struct kb_node *node = kb_node_get(map, name);
    return node && node->type != KB_NIL ? node : NULL;
}

static const char *text_of(struct parse *p, const struct kb_node *map, const char *name)
{
    const struct kb_node *node = member(map, name);
    return node ? kb_arena_str(p->arena, kb_node_text(node)).p : "";
}

/* ---- one extension point's set ---- */

struct wanted {
    const char *name, *path;
    const struct kb_policy *policy;
    int32_t weight;
};

struct set {
    size_t on_n, off_n;
    struct wanted on[KB_PROFILE_POLICIES];
    const char *off[KB_PROFILE_POLICIES];
    bool off_all;
    const char *path;
};

static const struct wanted *wanted_in(const struct set *set, const char *name)
{
    for (size_t i = 0; i < set->on_n; i++)
        if (strcmp(set->on[i].name, name) == 0)
            return &set->on[i];
    return NULL;
}

static bool disabled_in(const struct set *set, const char *name)
{
    for (size_t i = 0; i < set->off_n; i++)
        if (strcmp(set->off[i], name) == 0)
            return true;
    return set->off_all;
}

/* Binding is what the scheduler itself does; to name it is fine. */
static bool is_binder(const char *name)
{
    return strcmp(name, "DefaultBinder") == 0;
}

static int read_enabled(struct parse *p, const char *path, const struct kb_node *item,
                        struct set *set)
{
    if (CHECK_MAP(p, path, item, plugin_fields) < 0)
        return -KB_EINVAL;
    struct wanted w = {.name = text_of(p, item, "name"), .path = path};
    const struct kb_node *weight = member(item, "weight");
    int64_t n = kb_node_num(weight, 0);
    w.policy = p->resolve(p->user, w.name);
    if (*w.name == '\0')
        return kb_err_set(p->err, KB_EINVAL, "%s.name: Required value", path);
    if (n < 0 || n > KB_CONFIG_MAX_WEIGHT)
        return invalid(p, path_of(p, path, "weight"), weight, "not in valid range [0-100000]");
    w.weight = (int32_t)n;
    if (w.policy == NULL && is_binder(w.name))
        return 0;
    if (w.policy == NULL)
        return invalid_text(p, path_of(p, path, "name"), w.name, "there is no policy of this name");
    if (wanted_in(set, w.name))
        return kb_err_set(p->err, KB_EINVAL, "%s: Duplicate value: \"%s\"", path, w.name);
    if (set->on_n == KB_PROFILE_POLICIES)
        return invalid_text(p, path, w.name, "more than 64 policies");
    set->on[set->on_n++] = w;
    return 0;
}

static int read_disabled(struct parse *p, const char *path, const struct kb_node *item,
                         struct set *set)
{
    if (CHECK_MAP(p, path, item, plugin_fields) < 0)
        return -KB_EINVAL;
    const char *name = text_of(p, item, "name");
    if (*name == '\0')
        return kb_err_set(p->err, KB_EINVAL, "%s.name: Required value", path);
    if (strcmp(name, "*") == 0) {
        set->off_all = true;
        return 0;
    }
    if (set->off_n == KB_PROFILE_POLICIES)
        return invalid_text(p, path, name, "more than 64 policies");
    set->off[set->off_n++] = name;
    return 0;
}

typedef int read_item(struct parse *p, const char *path, const struct kb_node *item,
                      struct set *set);

static int read_list(struct parse *p, const char *path, const struct kb_node *list, read_item *read,
                     struct set *set)
{
    for (uint32_t i = 0; list && i < list->count; i++)
        if (read(p, item_of(p, path, i), list->items[i].val, set) < 0)
            return -KB_EINVAL;
    return 0;
}

static int read_set(struct parse *p, const char *path, const struct kb_node *node, struct set *set)
{
    *set = (struct set){.path = path};
    if (node == NULL)
        return 0;
    if (CHECK_MAP(p, path, node, set_fields) < 0 ||
        read_list(p, path_of(p, path, "enabled"), member(node, "enabled"), read_enabled, set) < 0)
        return -KB_EINVAL;
    return read_list(p, path_of(p, path, "disabled"), member(node, "disabled"), read_disabled, set);
}

/* ---- what the sets of a profile come to ---- */

/* A policy that takes part. */
struct part {
    const char *name;
    const struct kb_policy *policy;
    int32_t weight;
    bool multi;      /* by multiPoint */
    uint32_t points; /* the bits at which it is asked */
    uint32_t rank;   /* its place in the order of filters */
};

enum { RANK_OVERRIDE = 0, RANK_MULTI = 1000, RANK_MORE = 2000, RANK_NO_FILTER = 3000 };

struct sets {
    struct set multi, at[KB_POINTS];
    struct part parts[2 * KB_PROFILE_POLICIES];
    uint32_t parts_n;
};

static struct part *part_of(struct sets *s, const char *name)
{
    for (uint32_t i = 0; i < s->parts_n; i++)
        if (strcmp(s->parts[i].name, name) == 0)
            return &s->parts[i];
    return NULL;
}

static struct part *add_part(struct sets *s, const char *name, const struct kb_policy *policy,
                             int32_t weight, bool multi)
{
    if (s->parts_n == KB_COUNT(s->parts))
        return NULL;
    struct part *part = &s->parts[s->parts_n];
    *part = (struct part){name, policy, weight, multi, 0, RANK_NO_FILTER + s->parts_n};
    s->parts_n++;
    return part;
}

static bool is_default(const char *name)
{
    for (size_t i = 0; i < kb_profile_default_n; i++)
        if (strcmp(kb_profile_default[i].policy->name, name) == 0)
            return true;
    return false;
}

/* Named without a weight: 1, as in Kubernetes; but a policy that is not of Kubernetes says its own.
 */
static int32_t weight_of(const struct wanted *w)
{
    return w->weight ? w->weight : is_default(w->name) ? 1 : 0;
}

/* The default set, changed by multiPoint: replaced in its place, gone, or more at the end. */
static void merge_multi(struct parse *p, struct sets *s)
{
    for (size_t i = 0; i < kb_profile_default_n; i++) {
        const struct kb_policy *policy = kb_profile_default[i].policy;
        const struct wanted *w = wanted_in(&s->multi, policy->name);
        const struct kb_policy *other = p->resolve(p->user, policy->name);
        if (disabled_in(&s->multi, policy->name))
            continue;
        add_part(s, policy->name, other ? other : policy, w ? weight_of(w) : 0, true);
    }
    for (size_t i = 0; i < s->multi.on_n; i++) {
        const struct wanted *w = &s->multi.on[i];
        if (part_of(s, w->name) == NULL)
            add_part(s, w->name, w->policy, weight_of(w), true);
    }
}

static int expand_point(struct parse *p, struct sets *s, enum kb_point point)
{
    const struct set *set = &s->at[point];
    uint32_t bit = 1u << point, multi_n = s->parts_n;
    for (uint32_t i = 0; i < multi_n && !set->off_all; i++) {
        struct part *part = &s->parts[i];
        if (!part->multi || !kb_policy_extends(part->policy, point) ||
            disabled_in(set, part->name) || wanted_in(set, part->name))
            continue;
        part->points |= bit;
        part->rank = point == KB_POINT_FILTER ? RANK_MULTI + i : part->rank;
    }
    for (size_t i = 0; i < set->on_n; i++) {
        const struct wanted *w = &set->on[i];
        struct part *part = part_of(s, w->name);
        if (!kb_policy_extends(w->policy, point))
            return kb_err_set(p->err, KB_EINVAL,
                              "%s.name: Invalid value: \"%s\": the policy does not extend %s",
                              w->path, w->name, kb_point_names[point]);
        if (part == NULL && (part = add_part(s, w->name, w->policy, 0, false)) == NULL)
            return invalid_text(p, w->path, w->name, "more than 64 policies");
        part->points |= bit;
        if (point == KB_POINT_SCORE)
            part->weight = weight_of(w);
        if (point == KB_POINT_FILTER)
            part->rank = (part->multi ? RANK_OVERRIDE : RANK_MORE) + (uint32_t)i;
    }
    return 0;
}

static int check_part(struct parse *p, const char *path, const struct part *part)
{
    enum kb_point lacks, user;
    if (!kb_policy_lacks(part->policy, part->points, &lacks, &user))
        return 0;
    return kb_err_set(p->err, KB_EINVAL,
                      "%s.%s: Required value: %s is enabled for %s, which needs its %s", path,
                      kb_point_names[lacks], part->name, kb_point_names[user],
                      kb_point_names[lacks]);
}

static int by_rank(const void *a, const void *b)
{
    uint32_t x = ((const struct part *)a)->rank, y = ((const struct part *)b)->rank;
    return x < y ? -1 : x > y;
}

static int to_entries(struct parse *p, const char *path, struct sets *s,
                      struct kb_config_profile *ret)
{
    uint32_t sorters = 0;
    qsort(s->parts, s->parts_n, sizeof(s->parts[0]), by_rank);
    for (uint32_t i = 0; i < s->parts_n; i++) {
        const struct part *part = &s->parts[i];
        if (part->points == 0)
            continue;
        if (check_part(p, path, part) < 0)
            return -KB_EINVAL;
        if (ret->n == KB_PROFILE_POLICIES)
            return invalid_text(p, path, part->name, "more than 64 policies");
        sorters += (part->points & 1u << KB_POINT_QUEUE_SORT) != 0;
        ret->entries[ret->n++] = (struct kb_profile_entry){
            .policy = part->policy, .weight = part->weight, .without = ~part->points};
    }
    if (sorters != 1)
        return kb_err_set(p->err, KB_EINVAL,
                          "%s.queueSort: Invalid value: only one queue sort plugin required for "
                          "profile with scheduler name \"%s\", but got %u",
                          path, ret->name, sorters);
    return 0;
}

static int read_plugins(struct parse *p, const char *path, const struct kb_node *plugins,
                        struct kb_config_profile *ret)
{
    struct field fields[KB_POINTS + 1] = {[KB_POINTS] = {"multiPoint", KB_MAP}};
    for (int i = 0; i < KB_POINTS; i++)
        fields[i] = (struct field){kb_point_names[i], KB_MAP};
    if (plugins && CHECK_MAP(p, path, plugins, fields) < 0)
        return -KB_EINVAL;
    struct sets *s = kb_arena_alloc(p->arena, sizeof(*s));
    s->parts_n = 0;
    if (read_set(p, path_of(p, path, "multiPoint"), member(plugins, "multiPoint"), &s->multi) < 0)
        return -KB_EINVAL;
    merge_multi(p, s);
    for (int i = 0; i < KB_POINTS; i++) {
        const char *name = kb_point_names[i];
        if (read_set(p, path_of(p, path, name), member(plugins, name), &s->at[i]) < 0 ||
            expand_point(p, s, (enum kb_point)i) < 0)
            return -KB_EINVAL;
    }
    return to_entries(p, path, s, ret);
}

/* ---- pluginConfig ---- */

/* The arguments as JSON, without apiVersion and kind, of which kind must be the policy's. */
static int read_args(struct parse *p, const char *path, const char *name, struct kb_node *args,
                     const char **ret_json)
{
    KB_AUTO(kb_buf_finish) struct kb_buf json = {0};
    const struct kb_node *kind = member(args, "kind");
    if (kind && !kb_str_is(kb_node_text(kind), kb_arena_printf(p->arena, "%sArgs", name).p))
        return invalid(p, path_of(p, path, "args.kind"), kind,
                       kb_arena_printf(p->arena, "the arguments of %s are %sArgs", name, name).p);
    kb_node_del(args, "kind");
    kb_node_del(args, "apiVersion");
    kb_json_write_node(&json, args, 0);
    *ret_json = kb_arena_str(p->arena, kb_buf_str(&json)).p;
    return 0;
}

static struct kb_profile_entry *entry_of(struct kb_config_profile *profile, const char *name)
{
    for (size_t i = 0; i < profile->n; i++)
        if (strcmp(profile->entries[i].policy->name, name) == 0)
            return &profile->entries[i];
    return NULL;
}

/* Names are those of policies that are enabled, that exist, or that anybody might have disabled. */
static int read_plugin_config(struct parse *p, const char *path, const struct kb_node *list,
                              struct kb_config_profile *ret)
{
    for (uint32_t i = 0; list && i < list->count; i++) {
        const char *at = item_of(p, path, i), *json = NULL;
        const struct kb_node *item = list->items[i].val;
        if (CHECK_MAP(p, at, item, args_fields) < 0)
            return -KB_EINVAL;
        const char *name = text_of(p, item, "name");
        struct kb_node *args = kb_node_get(item, "args");
        struct kb_profile_entry *entry = entry_of(ret, name);
        if (*name == '\0')
            return kb_err_set(p->err, KB_EINVAL, "%s.name: Required value", at);
        for (uint32_t k = 0; k < i; k++)
            if (kb_str_is(kb_node_text(member(list->items[k].val, "name")), name))
                return kb_err_set(p->err, KB_EINVAL, "%s: Duplicate value: \"%s\"", at, name);
        if (entry == NULL && p->resolve(p->user, name) == NULL && !is_binder(name))
            return invalid_text(p, path_of(p, at, "name"), name, "there is no policy of this name");
        if (args && args->type == KB_MAP && read_args(p, at, name, args, &json) < 0)
            return -KB_EINVAL;
        if (entry)
            entry->args = json;
    }
    return 0;
}

/* ---- profiles ---- */

static int check_percentage(struct parse *p, const char *path, const struct kb_node *map)
{
    const struct kb_node *n = member(map, "percentageOfNodesToScore");
    if (n && (n->i < 0 || n->i > 100))
        return invalid(p, path_of(p, path, "percentageOfNodesToScore"), n,
                       "not in valid range [0-100]");
    return 0;
}

static int read_profile(struct parse *p, const char *path, const struct kb_node *node, bool only,
                        struct kb_config_profile *ret)
{
    ret->n = 0;
    if (CHECK_MAP(p, path, node, profile_fields) < 0 || check_percentage(p, path, node) < 0)
        return -KB_EINVAL;
    ret->name = text_of(p, node, "schedulerName");
    if (*ret->name == '\0' && !only)
        return kb_err_set(p->err, KB_EINVAL, "%s.schedulerName: Required value", path);
    ret->name = *ret->name ? ret->name : DEFAULT_NAME;
    if (read_plugins(p, path_of(p, path, "plugins"), member(node, "plugins"), ret) < 0)
        return -KB_EINVAL;
    return read_plugin_config(p, path_of(p, path, "pluginConfig"), member(node, "pluginConfig"),
                              ret);
}

static const struct kb_profile_entry *sorter_of(const struct kb_config_profile *profile)
{
    for (size_t i = 0; i < profile->n; i++)
        if (profile->entries[i].policy->queue_sort &&
            !(profile->entries[i].without & 1u << KB_POINT_QUEUE_SORT))
            return &profile->entries[i];
    KB_ASSERT(!"exactly one sorts: to_entries has checked");
    return NULL;
}

/* There is one queue. */
static bool same_order(const struct kb_config_profile *a, const struct kb_config_profile *b)
{
    const struct kb_profile_entry *x = sorter_of(a), *y = sorter_of(b);
    return x->policy == y->policy &&
           strcmp(x->args ? x->args : "{}", y->args ? y->args : "{}") == 0;
}

static int check_profiles(struct parse *p, const struct kb_config *config)
{
    for (size_t i = 1; i < config->profiles_n; i++) {
        const char *path = item_of(p, "profiles", i);
        for (size_t k = 0; k < i; k++)
            if (strcmp(config->profiles[i].name, config->profiles[k].name) == 0)
                return kb_err_set(p->err, KB_EINVAL, "%s.schedulerName: Duplicate value: \"%s\"",
                                  path, config->profiles[i].name);
        if (!same_order(&config->profiles[0], &config->profiles[i]))
            return kb_err_set(p->err, KB_EINVAL,
                              "%s.plugins.queueSort: Invalid value: has to match for all profiles",
                              path);
    }
    return 0;
}

static int read_profiles(struct parse *p, const struct kb_node *list, struct kb_config *ret)
{
    struct kb_node *none = kb_node_map(p->arena);
    size_t n = list ? list->count : 0;
    if (n > KB_CONFIG_PROFILES)
        return kb_err_set(p->err, KB_EINVAL, "profiles: Too many: %zu: must have at most %d items",
                          n, KB_CONFIG_PROFILES);
    ret->profiles_n = n ? n : 1;
    ret->profiles = kb_arena_alloc(p->arena, ret->profiles_n * sizeof(*ret->profiles));
    for (size_t i = 0; i < ret->profiles_n; i++) {
        const struct kb_node *node = n ? list->items[i].val : none;
        const char *path = item_of(p, "profiles", i);
        if (read_profile(p, path, node, ret->profiles_n == 1, &ret->profiles[i]) < 0)
            return -KB_EINVAL;
    }
    return check_profiles(p, ret);
}

/* ---- the whole ---- */

static int check_version(struct parse *p, const struct kb_node *root)
{
    const char *version = text_of(p, root, "apiVersion"), *kind = text_of(p, root, "kind");
    if (strcmp(version, API_VERSION) == 0 && strcmp(kind, "KubeSchedulerConfiguration") == 0)
        return 0;
    if (*kind == '\0')
        return kb_err_set(p->err, KB_EINVAL, "Object 'Kind' is missing");
    if (*version == '\0')
        return kb_err_set(p->err, KB_EINVAL, "Object 'apiVersion' is missing");
    return kb_err_set(p->err, KB_EINVAL, "no kind \"%s\" is registered for version \"%s\"", kind,
                      version);
}

static int read_backoff(struct parse *p, const struct kb_node *root, struct kb_config *ret)
{
    const struct kb_node *first = member(root, "podInitialBackoffSeconds");
    const struct kb_node *most = member(root, "podMaxBackoffSeconds");
    int64_t a = kb_node_num(first, 1), b = kb_node_num(most, 10), day = 86400;
    if (a <= 0 || a > day)
        return invalid(p, "podInitialBackoffSeconds", first, "must be greater than 0");
    if (b < a || b > 365 * day)
        return invalid(p, "podMaxBackoffSeconds", most,
                       "must be greater than or equal to PodInitialBackoffSeconds");
    ret->backoff_ms = a * 1000;
    ret->backoff_max_ms = b * 1000;
    return 0;
}

static int check_rest(struct parse *p, const struct kb_node *root)
{
    const struct kb_node *parallelism = member(root, "parallelism");
    const struct kb_node *election = member(root, "leaderElection");
    const struct kb_node *client = member(root, "clientConnection");
    const struct kb_node *extenders = member(root, "extenders");
    if (parallelism && parallelism->i <= 0)
        return invalid(p, "parallelism", parallelism,
                       "should be an integer value greater than zero");
    if ((election && CHECK_MAP(p, "leaderElection", election, election_fields) < 0) ||
        (client && CHECK_MAP(p, "clientConnection", client, client_fields) < 0))
        return -KB_EINVAL;
    if (extenders && extenders->count > 0)
        return kb_err_set(p->err, KB_EINVAL,
                          "extenders: Forbidden: this scheduler has none; write a policy");
    return 0;
}

static int read_root(struct parse *p, const struct kb_node *root, struct kb_config *ret)
{
    if (CHECK_MAP(p, "", root, top_fields) < 0 || check_version(p, root) < 0 ||
        check_rest(p, root) < 0 || check_percentage(p, "", root) < 0 ||
        read_backoff(p, root, ret) < 0)
        return -KB_EINVAL;
    return read_profiles(p, member(root, "profiles"), ret);
}

static const struct kb_policy *builtin(void *user, const char *name)
{
    (void)user;
    return kb_policy_builtin(name);
}

static struct kb_node *default_root(struct kb_arena *arena)
{
    struct kb_node *root = kb_node_map(arena);
    kb_node_set_cstr(arena, root, "apiVersion", API_VERSION);
    kb_node_set_cstr(arena, root, "kind", "KubeSchedulerConfiguration");
    return root;
}

int kb_config_parse(kb_str text, kb_config_resolve *resolve, void *user, struct kb_config *ret,
                    struct kb_err *err)
{
    KB_AUTO(kb_config_finish) struct kb_config config = {0};
    struct parse p = {&config.arena, resolve ? resolve : builtin, user, err};
    struct kb_node *root;
    if (text.n > KB_CONFIG_MAX_BYTES)
        return kb_err_set(err, KB_E2BIG, "the configuration is larger than %d bytes",
                          KB_CONFIG_MAX_BYTES);
    int rc = kb_yaml_parse_one(p.arena, text, NULL, &root, err);
    if (rc < 0)
        return rc;
    root = root->type == KB_NIL ? default_root(p.arena) : root;
    if (read_root(&p, root, &config) < 0)
        return -KB_EINVAL;
    *ret = config;
    config = (struct kb_config){0};
    return 0;
}

void kb_config_finish(struct kb_config *config)
{
    kb_arena_finish(&config->arena);
    *config = (struct kb_config){0};
}
