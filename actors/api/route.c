#include "actors/api/route.h"

static struct kb_route plain(enum kb_route_type type)
{
    return (struct kb_route){.type = type};
}

/* PLURAL[/NAME[/SUBRESOURCE]] in a group and version, below a namespace or not. */
static struct kb_route resource_route(const struct kb_kinds *kinds, struct kb_route route,
                                      const kb_str *rest, size_t n)
{
    route.kind = kb_kinds_by_plural(kinds, route.group, route.version, rest[0]);
    bool in_ns = route.ns.n > 0;
    if (route.kind == NULL || n > 3 || (in_ns && !route.kind->namespaced) ||
        (!in_ns && n > 1 && route.kind->namespaced))
        return plain(KB_ROUTE_UNKNOWN);
    route.type = n == 1 ? KB_ROUTE_OBJECTS : KB_ROUTE_OBJECT;
    if (n > 1)
        route.name = rest[1];
    if (n > 2)
        route.subresource = rest[2];
    if (n > 2 && kb_kind_subresource(route.kind, rest[2]) == NULL)
        return plain(KB_ROUTE_UNKNOWN);
    return route;
}

/* What stands behind /api/v1 or /apis/GROUP/VERSION. "namespaces/NS/status" is a subresource of the
 * namespace, "namespaces/NS/pods" a list: the kinds tell. */
static struct kb_route group_route(const struct kb_kinds *kinds, struct kb_route route,
                                   const kb_str *rest, size_t n)
{
    if (n == 0) {
        route.type = KB_ROUTE_API_RESOURCES;
        return route;
    }
    if (n >= 3 && kb_str_is(rest[0], "namespaces")) {
        struct kb_route below = route;
        below.ns = rest[1];
        below = resource_route(kinds, below, rest + 2, n - 2);
        if (below.type != KB_ROUTE_UNKNOWN)
            return below;
    }
    return resource_route(kinds, route, rest, n);
}

static struct kb_route openapi_route(const kb_str *rest, size_t n)
{
    struct kb_route route = {.type = KB_ROUTE_OPENAPI};
    if (n == 1 && kb_str_is(rest[0], "v2"))
        return plain(KB_ROUTE_OPENAPI_V2);
    if (n == 1 && kb_str_is(rest[0], "v3"))
        return plain(KB_ROUTE_OPENAPI_INDEX);
    if (n == 3 && kb_str_is(rest[0], "v3") && kb_str_is(rest[1], "api")) {
        route.version = rest[2];
        return route;
    }
    if (n == 4 && kb_str_is(rest[0], "v3") && kb_str_is(rest[1], "apis")) {
        route.group = rest[2];
        route.version = rest[3];
        return route;
    }
    return plain(KB_ROUTE_UNKNOWN);
}

static struct kb_route apis_route(const struct kb_kinds *kinds, const kb_str *rest, size_t n)
{
    struct kb_route route = {0};
    if (n == 0)
        return plain(KB_ROUTE_API_GROUPS);
    route.group = rest[0];
    if (n == 1) {
        route.type = KB_ROUTE_API_GROUP;
        return route;
    }
    route.version = rest[1];
    route = group_route(kinds, route, rest + 2, n - 2);
    if (route.type == KB_ROUTE_UNKNOWN && n == 3 && kb_str_is(rest[0], "apiextensions.k8s.io") &&
        kb_str_is(rest[1], "v1") && kb_str_is(rest[2], "customresourcedefinitions"))
        return plain(KB_ROUTE_NO_CRDS);
    return route;
}

struct kb_route kb_route_find(const struct kb_kinds *kinds, const kb_str *segments, size_t n)
{
    if (n == 0)
        return plain(KB_ROUTE_INDEX);
    kb_str first = segments[0];
    if (kb_str_is(first, "api")) {
        struct kb_route route = {.version = n > 1 ? segments[1] : (kb_str){0}};
        return n == 1 ? plain(KB_ROUTE_API_VERSIONS)
                      : group_route(kinds, route, segments + 2, n - 2);
    }
    if (kb_str_is(first, "apis"))
        return apis_route(kinds, segments + 1, n - 1);
    if (kb_str_is(first, "openapi"))
        return openapi_route(segments + 1, n - 1);
    if (kb_str_is(first, "version") && n == 1)
        return plain(KB_ROUTE_VERSION);
    if (kb_str_is(first, "metrics") && n == 1)
        return plain(KB_ROUTE_METRICS);
    if (n <= 2 &&
        (kb_str_is(first, "livez") || kb_str_is(first, "readyz") || kb_str_is(first, "healthz"))) {
        struct kb_route route = {.type = KB_ROUTE_HEALTH, .subresource = first};
        if (n == 2)
            route.name = segments[1];
        return route;
    }
    return plain(KB_ROUTE_UNKNOWN);
}

static const struct {
    const char *method;
    unsigned object, objects; /* the verb on one object, and on a collection */
} verbs[] = {
    {"GET", KB_VERB_GET, KB_VERB_LIST}, {"HEAD", KB_VERB_GET, KB_VERB_LIST},
    {"POST", 0, KB_VERB_CREATE},        {"PUT", KB_VERB_UPDATE, 0},
    {"PATCH", KB_VERB_PATCH, 0},        {"DELETE", KB_VERB_DELETE, KB_VERB_DELETECOLLECTION}};

struct kb_route_verb kb_route_verb(const struct kb_route *route, kb_str method, bool watch)
{
    static const char *const words[] = {"get", "head", "post", "put", "patch", "delete"};
    bool resource = route->type == KB_ROUTE_OBJECTS || route->type == KB_ROUTE_OBJECT;
    for (size_t i = 0; i < KB_COUNT(verbs); i++) {
        if (!kb_str_is(method, verbs[i].method))
            continue;
        if (!resource)
            return (struct kb_route_verb){0, words[i]};
        unsigned verb = route->type == KB_ROUTE_OBJECTS ? verbs[i].objects : verbs[i].object;
        if (verb == 0 && i == 2 && route->subresource.n > 0)
            verb = KB_VERB_CREATE; /* POST …/binding, …/eviction, …/exec */
        if (verb == KB_VERB_LIST && watch)
            verb = KB_VERB_WATCH;
        return (struct kb_route_verb){verb, verb ? kb_verb_word(verb) : words[i]};
    }
    return (struct kb_route_verb){0, "unknown"};
}
