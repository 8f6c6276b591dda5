#include "bus/model/discovery.h"

#include "bus/base/check.h"
#include "bus/model/json.h"

#include <stdlib.h>

/* The kinds that discovery shows, ordered by group, version and plural. */
struct listing {
    const struct kb_kind **items;
    size_t count;
};

static void listing_finish(struct listing *l)
{
    free(l->items);
}

static int kind_order(const void *a, const void *b)
{
    const struct kb_kind *x = *(const struct kb_kind *const *)a;
    const struct kb_kind *y = *(const struct kb_kind *const *)b;
    int order = kb_str_cmp(x->group, y->group);
    if (order == 0)
        order = kb_str_cmp(x->version, y->version);
    return order ? order : kb_str_cmp(x->plural, y->plural);
}

static struct listing listing_of(const struct kb_kinds *kinds)
{
    size_t n = kb_kinds_count(kinds);
    struct listing l = {calloc(n + 1, sizeof(*l.items)), 0};
    KB_ASSERT(l.items != NULL);
    for (size_t i = 0; i < n; i++) {
        const struct kb_kind *kind = kb_kinds_index(kinds, i);
        if (!kind->subresource_only)
            l.items[l.count++] = kind;
    }
    qsort(l.items, l.count, sizeof(*l.items), kind_order);
    return l;
}

/* From `from` on: the index behind the last kind of the same group (and version). */
static size_t same_group(const struct listing *l, size_t from, bool same_version)
{
    size_t to = from;
    while (to < l->count && kb_str_eq(l->items[to]->group, l->items[from]->group) &&
           (!same_version || kb_str_eq(l->items[to]->version, l->items[from]->version)))
        to++;
    return to;
}

static void head(struct kb_w *w, const char *kind, const char *api_version)
{
    kb_w_map(w);
    kb_w_kcstr(w, "kind", kind);
    kb_w_kcstr(w, "apiVersion", api_version);
}

static void finish(struct kb_w *w, struct kb_buf *out)
{
    kb_w_end(w);
    kb_json_write(out, kb_w_val(w), 0);
    kb_w_finish(w);
}

static void words(struct kb_w *w, const char *key, struct kb_strs list)
{
    if (list.count == 0)
        return;
    kb_w_karray(w, key);
    for (size_t i = 0; i < list.count; i++)
        kb_w_str(w, list.items[i]);
    kb_w_end(w);
}

/* In the order in which Kubernetes shows them: by name. */
static void verbs(struct kb_w *w, unsigned mask)
{
    static const unsigned order[] = {
        KB_VERB_CREATE, KB_VERB_DELETE, KB_VERB_DELETECOLLECTION, KB_VERB_GET,
        KB_VERB_LIST,   KB_VERB_PATCH,  KB_VERB_UPDATE,           KB_VERB_WATCH,
    };
    kb_w_karray(w, "verbs");
    for (size_t i = 0; i < KB_COUNT(order); i++)
        if (mask & order[i])
            kb_w_cstr(w, kb_verb_word(order[i]));
    kb_w_end(w);
}

/* ---- the form of old: a call for the groups, and one for each version ---- */

void kb_discovery_versions(kb_str server_address, struct kb_buf *out)
{
    struct kb_w w = {0};
    kb_w_map(&w);
    kb_w_kcstr(&w, "kind", "APIVersions");
    kb_w_karray(&w, "versions");
    kb_w_cstr(&w, "v1");
    kb_w_end(&w);
    kb_w_karray(&w, "serverAddressByClientCIDRs");
    kb_w_map(&w);
    kb_w_kcstr(&w, "clientCIDR", "0.0.0.0/0");
    kb_w_kstr(&w, "serverAddress", server_address);
    kb_w_end(&w);
    kb_w_end(&w);
    finish(&w, out);
}

static void group_version(struct kb_w *w, const struct kb_kind *kind)
{
    kb_w_map(w);
    kb_w_kstr(w, "groupVersion", kind->api_version);
    kb_w_kstr(w, "version", kind->version);
    kb_w_end(w);
}

/* The members of an APIGroup, of the kinds from `from` to before `to`. */
static void group_members(struct kb_w *w, const struct listing *l, size_t from, size_t to)
{
    kb_w_kstr(w, "name", l->items[from]->group);
    kb_w_karray(w, "versions");
    for (size_t i = from; i < to; i = same_group(l, i, true))
        group_version(w, l->items[i]);
    kb_w_end(w);
    kb_w_key(w, "preferredVersion");
    group_version(w, l->items[from]);
}

void kb_discovery_groups(const struct kb_kinds *kinds, struct kb_buf *out)
{
    KB_AUTO(listing_finish) struct listing l = listing_of(kinds);
    struct kb_w w = {0};
    head(&w, "APIGroupList", "v1");
    kb_w_karray(&w, "groups");
    for (size_t i = 0, to; i < l.count; i = to) {
        to = same_group(&l, i, false);
        if (l.items[i]->group.n == 0)
            continue;
        kb_w_map(&w);
        group_members(&w, &l, i, to);
        kb_w_end(&w);
    }
    kb_w_end(&w);
    finish(&w, out);
}

int kb_discovery_group(const struct kb_kinds *kinds, kb_str group, struct kb_buf *out)
{
    KB_AUTO(listing_finish) struct listing l = listing_of(kinds);
    for (size_t i = 0; group.n > 0 && i < l.count; i++) {
        if (!kb_str_eq(l.items[i]->group, group))
            continue;
        struct kb_w w = {0};
        head(&w, "APIGroup", "v1");
        group_members(&w, &l, i, same_group(&l, i, false));
        finish(&w, out);
        return 0;
    }
    return -KB_ENOTFOUND;
}

static void resource(struct kb_w *w, const struct kb_kind *kind)
{
    kb_w_map(w);
    kb_w_kstr(w, "name", kind->plural);
    kb_w_kstr(w, "singularName", kind->singular);
    kb_w_kbool(w, "namespaced", kind->namespaced);
    kb_w_kstr(w, "kind", kind->kind);
    verbs(w, kind->verbs);
    words(w, "shortNames", kind->short_names);
    words(w, "categories", kind->categories);
    kb_w_end(w);
}

static void resource_sub(struct kb_w *w, const struct kb_kind *kind,
                         const struct kb_subresource *sub)
{
    KB_AUTO(kb_buf_finish) struct kb_buf name = {0};
    kb_buf_printf(&name, KB_STR_FMT "/" KB_STR_FMT, KB_STR_ARG(kind->plural),
                  KB_STR_ARG(sub->name));
    kb_w_map(w);
    kb_w_kstr(w, "name", kb_buf_str(&name));
    kb_w_kcstr(w, "singularName", "");
    kb_w_kbool(w, "namespaced", kind->namespaced);
    if (!kb_str_eq(sub->group, kind->group) || !kb_str_eq(sub->version, kind->version)) {
        kb_w_kstr(w, "group", sub->group);
        kb_w_kstr(w, "version", sub->version);
    }
    kb_w_kstr(w, "kind", sub->kind);
    verbs(w, sub->verbs);
    kb_w_end(w);
}

int kb_discovery_resources(const struct kb_kinds *kinds, kb_str group, kb_str version,
                           struct kb_buf *out)
{
    KB_AUTO(listing_finish) struct listing l = listing_of(kinds);
    size_t from = 0;
    while (from < l.count &&
           (!kb_str_eq(l.items[from]->group, group) || !kb_str_eq(l.items[from]->version, version)))
        from++;
    if (from == l.count)
        return -KB_ENOTFOUND;
    struct kb_w w = {0};
    head(&w, "APIResourceList", "v1");
    kb_w_kstr(&w, "groupVersion", l.items[from]->api_version);
    kb_w_karray(&w, "resources");
    for (size_t i = from; i < same_group(&l, from, true); i++) {
        resource(&w, l.items[i]);
        for (size_t s = 0; s < l.items[i]->nsubresources; s++)
            resource_sub(&w, l.items[i], &l.items[i]->subresources[s]);
    }
    kb_w_end(&w);
    finish(&w, out);
    return 0;
}

/* ---- the form of today: everything in one answer ---- */

static void response_kind(struct kb_w *w, kb_str group, kb_str version, kb_str kind)
{
    kb_w_kmap(w, "responseKind");
    kb_w_kstr(w, "group", group);
    kb_w_kstr(w, "version", version);
    kb_w_kstr(w, "kind", kind);
    kb_w_end(w);
}

static void whole_resource(struct kb_w *w, const struct kb_kind *kind)
{
    kb_w_map(w);
    kb_w_kstr(w, "resource", kind->plural);
    response_kind(w, kind->group, kind->version, kind->kind);
    kb_w_kcstr(w, "scope", kind->namespaced ? "Namespaced" : "Cluster");
    kb_w_kstr(w, "singularResource", kind->singular);
    verbs(w, kind->verbs);
    words(w, "shortNames", kind->short_names);
    words(w, "categories", kind->categories);
    if (kind->nsubresources > 0) {
        kb_w_karray(w, "subresources");
        for (size_t i = 0; i < kind->nsubresources; i++) {
            const struct kb_subresource *sub = &kind->subresources[i];
            kb_w_map(w);
            kb_w_kstr(w, "subresource", sub->name);
            response_kind(w, sub->group, sub->version, sub->kind);
            verbs(w, sub->verbs);
            kb_w_end(w);
        }
        kb_w_end(w);
    }
    kb_w_end(w);
}

static void whole_group(struct kb_w *w, const struct listing *l, size_t from, size_t to)
{
    kb_w_map(w);
    kb_w_kmap(w, "metadata");
    if (l->items[from]->group.n > 0)
        kb_w_kstr(w, "name", l->items[from]->group);
    kb_w_end(w);
    kb_w_karray(w, "versions");
    for (size_t i = from, next; i < to; i = next) {
        next = same_group(l, i, true);
        kb_w_map(w);
        kb_w_kstr(w, "version", l->items[i]->version);
        kb_w_karray(w, "resources");
        for (size_t k = i; k < next; k++)
            whole_resource(w, l->items[k]);
        kb_w_end(w);
        kb_w_kcstr(w, "freshness", "Current");
        kb_w_end(w);
    }
    kb_w_end(w);
    kb_w_end(w);
}

void kb_discovery_aggregated(const struct kb_kinds *kinds, bool core, struct kb_buf *out)
{
    KB_AUTO(listing_finish) struct listing l = listing_of(kinds);
    struct kb_w w = {0};
    head(&w, "APIGroupDiscoveryList", "apidiscovery.k8s.io/v2");
    kb_w_kmap(&w, "metadata");
    kb_w_end(&w);
    kb_w_karray(&w, "items");
    for (size_t i = 0, to; i < l.count; i = to) {
        to = same_group(&l, i, false);
        if ((l.items[i]->group.n == 0) == core)
            whole_group(&w, &l, i, to);
    }
    kb_w_end(&w);
    finish(&w, out);
}
