/* rules_scheduling.c - rules over what says where a pod may run, and over its volumes. */
#include "actors/api/logic/rules_impl.h"

#include "bus/base/map.h"
#include "bus/model/kind.h"
#include "bus/model/quantity.h"

/* ---- tolerations and spreading ---- */

/* What is wrong with a toleration's value is said of its operator. */
static void toleration(const struct kb_node *t, const struct kb_at *at, struct kb_causes *causes)
{
    struct kb_at at_operator = kb_at_field(at, "operator"), at_effect = kb_at_field(at, "effect");
    kb_str value = kb__text(t, "value");
    bool exists = kb__is(t, "operator", "Exists");
    const char *wrong = exists ? NULL : kb_format_check("label-value", value);
    if (!kb__set(t, "key") && !exists)
        kb_causes_add_str(causes, KB_CAUSE_INVALID, &at_operator, kb__text(t, "operator"),
                          "operator must be Exists when `key` is empty, which means \"match all "
                          "values and all keys\"");
    if (kb_node_get(t, "tolerationSeconds") != NULL && !kb__is(t, "effect", "NoExecute"))
        kb_causes_add_str(causes, KB_CAUSE_INVALID, &at_effect, kb__text(t, "effect"),
                          "effect must be 'NoExecute' when `tolerationSeconds` is set");
    if (exists && value.n > 0)
        kb_causes_add_str(causes, KB_CAUSE_INVALID, &at_operator, value,
                          "value must be empty when `operator` is 'Exists'");
    else if (wrong != NULL)
        kb_causes_add_str(causes, KB_CAUSE_INVALID, &at_operator, value, "%s", wrong);
}

static void tolerations(const struct kb_node *list, const struct kb_at *at,
                        struct kb_causes *causes)
{
    for (uint32_t i = 0; i < kb__count(list); i++) {
        struct kb_at here = kb_at_index(at, i);
        toleration(kb__item(list, i), &here, causes);
    }
}

static void match_keys_need_selector(const struct kb_node *term, const char *key,
                                     const struct kb_at *at, struct kb_causes *causes)
{
    if (kb__set(term, key) && kb_node_get(term, "labelSelector") == NULL)
        KB__WRONG(causes, FORBIDDEN, at, key,
                  "must not be specified when labelSelector is not set");
}

/* Whether a selector names this key. */
static bool selects_by(const struct kb_node *selector, kb_str key)
{
    return kb_node_getn(kb_node_get(selector, "matchLabels"), key) != NULL ||
           kb__find(kb_node_get(selector, "matchExpressions"), "key", key) != NULL;
}

static void match_keys_are_new(const struct kb_node *constraint, const struct kb_at *at,
                               struct kb_causes *causes)
{
    const struct kb_node *keys = kb_node_get(constraint, "matchLabelKeys");
    struct kb_at list = kb_at_field(at, "matchLabelKeys");
    for (uint32_t i = 0; i < kb__count(keys); i++) {
        struct kb_at here = kb_at_index(&list, i);
        kb_str key = kb_node_text(kb__item(keys, i));
        if (selects_by(kb_node_get(constraint, "labelSelector"), key))
            kb_causes_add_str(causes, KB_CAUSE_INVALID, &here, key,
                              "exists in both matchLabelKeys and labelSelector");
    }
}

/* The same key and action once more, further on in the list. */
static bool comes_again(const struct kb_node *list, uint32_t i)
{
    kb_str key = kb__text(kb__item(list, i), "topologyKey");
    kb_str action = kb__text(kb__item(list, i), "whenUnsatisfiable");
    for (uint32_t later = i + 1; later < kb__count(list); later++)
        if (kb_str_eq(kb__text(kb__item(list, later), "topologyKey"), key) &&
            kb_str_eq(kb__text(kb__item(list, later), "whenUnsatisfiable"), action))
            return true;
    return false;
}

static void spreading(const struct kb_node *list, const struct kb_at *at, struct kb_causes *causes)
{
    enum { COMPARED = 256 }; /* a thousand constraints are an attack */
    for (uint32_t i = 0; i < kb__count(list); i++) {
        const struct kb_node *c = kb__item(list, i);
        struct kb_at here = kb_at_index(at, i);
        struct kb_at pair = kb_at_field(&here, "{topologyKey, whenUnsatisfiable}");
        kb_str action = kb__text(c, "whenUnsatisfiable");
        if (kb_node_get(c, "minDomains") != NULL && !kb_str_is(action, "DoNotSchedule"))
            KB__BAD(causes, INVALID, &here, c, "minDomains",
                    "can only use minDomains if whenUnsatisfiable=DoNotSchedule, not " KB_STR_FMT,
                    KB_STR_ARG(action));
        if (i < COMPARED && comes_again(list, i)) {
            kb_str both =
                kb_arena_printf(causes->arena, "{" KB_STR_FMT ", " KB_STR_FMT "}",
                                KB_STR_ARG(kb__text(c, "topologyKey")), KB_STR_ARG(action));
            kb_causes_add_str(causes, KB_CAUSE_DUPLICATE, &pair, both, NULL);
        }
        match_keys_need_selector(c, "matchLabelKeys", &here, causes);
        match_keys_are_new(c, &here, causes);
    }
}

/* ---- affinity ---- */

static void node_requirement(const struct kb_node *r, bool of_fields, const struct kb_at *at,
                             struct kb_causes *causes)
{
    uint32_t n = kb__count(kb_node_get(r, "values"));
    bool bound = kb__is(r, "operator", "Gt") || kb__is(r, "operator", "Lt");
    bool in = kb__is(r, "operator", "In") || kb__is(r, "operator", "NotIn");
    bool none = kb__is(r, "operator", "Exists") || kb__is(r, "operator", "DoesNotExist");
    if (!of_fields && bound && n != 1)
        KB__WRONG(causes, REQUIRED, at, "values",
                  "must be specified single value when `operator` is 'Lt' or 'Gt'");
    if (!of_fields && in && n == 0)
        KB__WRONG(causes, REQUIRED, at, "values",
                  "must be specified when `operator` is 'In' or 'NotIn'");
    if (!of_fields && none && n > 0)
        KB__WRONG(causes, FORBIDDEN, at, "values",
                  "may not be specified when `operator` is 'Exists' or 'DoesNotExist'");
    if (!of_fields)
        return;
    if (none || bound)
        KB__BAD(causes, INVALID, at, r, "operator", "not a valid selector operator");
    else if (in && n != 1)
        KB__WRONG(causes, REQUIRED, at, "values",
                  "must be only one value when `operator` is 'In' or 'NotIn' for node field "
                  "selector");
    if (kb__set(r, "key") && !kb__is(r, "key", "metadata.name"))
        KB__BAD(causes, INVALID, at, r, "key", "not a valid field selector key");
}

static void node_term(const struct kb_node *term, const struct kb_at *at, struct kb_causes *causes)
{
    static const char *const keys[] = {"matchExpressions", "matchFields"};
    for (size_t k = 0; k < KB_COUNT(keys); k++) {
        const struct kb_node *list = kb_node_get(term, keys[k]);
        struct kb_at where = kb_at_field(at, keys[k]);
        for (uint32_t i = 0; i < kb__count(list); i++) {
            struct kb_at here = kb_at_index(&where, i);
            node_requirement(kb__item(list, i), k == 1, &here, causes);
        }
    }
}

static void node_affinity(const struct kb_node *a, const struct kb_at *at, struct kb_causes *causes)
{
    static const char hard[] = "requiredDuringSchedulingIgnoredDuringExecution";
    static const char soft[] = "preferredDuringSchedulingIgnoredDuringExecution";
    const struct kb_node *terms = kb_node_get(kb_node_get(a, hard), "nodeSelectorTerms");
    const struct kb_node *wishes = kb_node_get(a, soft);
    struct kb_at at_hard = kb_at_field(at, hard), at_soft = kb_at_field(at, soft);
    struct kb_at where = kb_at_field(&at_hard, "nodeSelectorTerms");
    for (uint32_t i = 0; i < kb__count(terms); i++) {
        struct kb_at here = kb_at_index(&where, i);
        node_term(kb__item(terms, i), &here, causes);
    }
    for (uint32_t i = 0; i < kb__count(wishes); i++) {
        struct kb_at item = kb_at_index(&at_soft, i), here = kb_at_field(&item, "preference");
        node_term(kb_node_get(kb__item(wishes, i), "preference"), &here, causes);
    }
}

static void pod_term(const struct kb_node *term, const struct kb_at *at, struct kb_causes *causes)
{
    match_keys_need_selector(term, "matchLabelKeys", at, causes);
    match_keys_need_selector(term, "mismatchLabelKeys", at, causes);
}

/* podAffinity and podAntiAffinity have the same shape. */
static void pod_affinity(const struct kb_node *a, const struct kb_at *at, struct kb_causes *causes)
{
    static const char hard[] = "requiredDuringSchedulingIgnoredDuringExecution";
    static const char soft[] = "preferredDuringSchedulingIgnoredDuringExecution";
    const struct kb_node *terms = kb_node_get(a, hard), *wishes = kb_node_get(a, soft);
    struct kb_at at_hard = kb_at_field(at, hard), at_soft = kb_at_field(at, soft);
    for (uint32_t i = 0; i < kb__count(terms); i++) {
        struct kb_at here = kb_at_index(&at_hard, i);
        pod_term(kb__item(terms, i), &here, causes);
    }
    for (uint32_t i = 0; i < kb__count(wishes); i++) {
        struct kb_at item = kb_at_index(&at_soft, i), here = kb_at_field(&item, "podAffinityTerm");
        pod_term(kb_node_get(kb__item(wishes, i), "podAffinityTerm"), &here, causes);
    }
}

void kb__rules_scheduling(const struct kb_node *spec, const struct kb_at *at,
                          struct kb_causes *causes)
{
    const struct kb_node *affinity = kb_node_get(spec, "affinity");
    struct kb_at at_affinity = kb_at_field(at, "affinity");
    struct kb_at at_node = kb_at_field(&at_affinity, "nodeAffinity");
    struct kb_at at_near = kb_at_field(&at_affinity, "podAffinity");
    struct kb_at at_far = kb_at_field(&at_affinity, "podAntiAffinity");
    struct kb_at at_tolerations = kb_at_field(at, "tolerations");
    struct kb_at at_spread = kb_at_field(at, "topologySpreadConstraints");
    node_affinity(kb_node_get(affinity, "nodeAffinity"), &at_node, causes);
    pod_affinity(kb_node_get(affinity, "podAffinity"), &at_near, causes);
    pod_affinity(kb_node_get(affinity, "podAntiAffinity"), &at_far, causes);
    tolerations(kb_node_get(spec, "tolerations"), &at_tolerations, causes);
    spreading(kb_node_get(spec, "topologySpreadConstraints"), &at_spread, causes);
}

/* ---- volumes ---- */

static void downward_items(const struct kb_node *items, const struct kb_at *at,
                           struct kb_causes *causes)
{
    for (uint32_t i = 0; i < kb__count(items); i++) {
        const struct kb_node *item = kb__item(items, i);
        struct kb_at here = kb_at_index(at, i);
        struct kb_at field = kb_at_field(&here, "fieldRef");
        struct kb_at resource = kb_at_field(&here, "resourceFieldRef");
        if (kb__set(item, "fieldRef"))
            kb__rules_field_ref(kb_node_get(item, "fieldRef"), true, &field, causes);
        if (kb__set(item, "resourceFieldRef"))
            kb__rules_resource_ref(kb_node_get(item, "resourceFieldRef"), true, &resource, causes);
    }
}

static void claim_path(struct kb_map *taken, kb_str path, const struct kb_at *at,
                       struct kb_causes *causes)
{
    if (path.n > 0 && kb_map_put(taken, path, taken) != NULL)
        kb_causes_add_str(causes, KB_CAUSE_INVALID, at, path, "conflicting duplicate paths");
}

/* One source of a projected volume: the files that it makes. */
static void projection(struct kb_map *taken, const struct kb_node *source, const struct kb_at *at,
                       struct kb_causes *causes)
{
    for (uint32_t m = 0; m < kb__members(source); m++) {
        const struct kb_node *s = source->items[m].val;
        const struct kb_node *items = kb_node_get(s, "items");
        struct kb_at where = kb_at_name(at, source->items[m].key);
        struct kb_at list = kb_at_field(&where, "items");
        struct kb_at own = kb_at_field(&where, "path");
        claim_path(taken, kb__text(s, "path"), &own, causes);
        for (uint32_t i = 0; i < kb__count(items); i++) {
            struct kb_at item = kb_at_index(&list, i), here = kb_at_field(&item, "path");
            claim_path(taken, kb__text(kb__item(items, i), "path"), &here, causes);
        }
        if (kb_str_is(source->items[m].key, "downwardAPI"))
            downward_items(items, &list, causes);
    }
}

static void volume(const struct kb_node *v, const struct kb_at *at, struct kb_causes *causes)
{
    const struct kb_node *downward = kb_node_get(v, "downwardAPI");
    const struct kb_node *sources = kb_node_get(kb_node_get(v, "projected"), "sources");
    const struct kb_node *empty = kb_node_get(v, "emptyDir");
    struct kb_at at_downward = kb_at_field(at, "downwardAPI");
    struct kb_at at_items = kb_at_field(&at_downward, "items");
    struct kb_at at_projected = kb_at_field(at, "projected");
    struct kb_at at_sources = kb_at_field(&at_projected, "sources");
    struct kb_at at_empty = kb_at_field(at, "emptyDir");
    struct kb_map taken = {0};
    struct kb_quantity size;
    downward_items(kb_node_get(downward, "items"), &at_items, causes);
    for (uint32_t i = 0; i < kb__count(sources); i++) {
        struct kb_at here = kb_at_index(&at_sources, i);
        projection(&taken, kb__item(sources, i), &here, causes);
    }
    kb_map_finish(&taken);
    if (kb__set(empty, "sizeLimit") &&
        kb_quantity_parse(kb__text(empty, "sizeLimit"), &size, NULL) == 0 && size.negative)
        KB__WRONG(causes, FORBIDDEN, &at_empty, "sizeLimit",
                  "SizeLimit field must be a valid resource quantity");
    if (kb_node_get(v, "secret") != NULL && !kb__set(kb_node_get(v, "secret"), "secretName")) {
        struct kb_at here = kb_at_field(at, "secret");
        KB__WRONG(causes, REQUIRED, &here, "secretName", NULL);
    }
    if (kb_node_get(v, "configMap") != NULL && !kb__set(kb_node_get(v, "configMap"), "name")) {
        struct kb_at here = kb_at_field(at, "configMap");
        KB__WRONG(causes, REQUIRED, &here, "name", NULL);
    }
}

void kb__rules_volumes(const struct kb_node *volumes, const struct kb_at *at,
                       struct kb_causes *causes)
{
    for (uint32_t i = 0; i < kb__count(volumes); i++) {
        struct kb_at here = kb_at_index(at, i);
        volume(kb__item(volumes, i), &here, causes);
    }
}
