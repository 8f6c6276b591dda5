#include "actors/scheduler/core/owners.h"

#include "actors/scheduler/core/selectors.h"
#include "bus/base/check.h"

#include <stdio.h>
#include <stdlib.h>

struct kb_owner {
    uint32_t name;
    struct kb_policy_selector selector;
    struct kb_doc *doc; /* the selector as it was given: did it change? */
    struct kb_arena arena;
};

struct kb_owner_services { /* of one namespace */
    uint32_t n;
    struct kb_owner **all;
};

struct controller_key {
    uint32_t resource, ns, name;
};

static kb_str bytes_of(const void *p, size_t n)
{
    return kb_str_n(p, n);
}

static void owner_free(struct kb_owner *owner)
{
    kb_doc_destroy(&owner->doc);
    kb_arena_finish(&owner->arena);
    free(owner);
}

void kb_owners_finish(struct kb_owners *o)
{
    struct kb_owner *owner;
    struct kb_owner_services *s;
    for (size_t i = 0; kb_map_next(&o->controllers, &i, NULL, (void **)&owner);)
        owner_free(owner);
    for (size_t i = 0; kb_map_next(&o->services, &i, NULL, (void **)&s);) {
        for (uint32_t k = 0; k < s->n; k++)
            owner_free(s->all[k]);
        free(s->all);
        free(s);
    }
    kb_map_finish(&o->controllers);
    kb_map_finish(&o->services);
    kb_arena_finish(&o->scratch);
}

/* A selector is a plain map with services and replication controllers. A service without one means
 * no pods: NULL. */
static struct kb_owner *owner_new(struct kb_intern *in, uint32_t name, kb_val selector, bool map)
{
    if (map && kb_val_count(selector) == 0)
        return NULL;
    struct kb_owner *owner = calloc(1, sizeof(*owner));
    KB_ASSERT(owner != NULL);
    owner->name = name;
    owner->selector = map ? kb__selector_of_map(&owner->arena, in, selector)
                          : kb__selector_of(&owner->arena, in, selector, 0);
    owner->doc = kb_val_present(selector) ? kb_doc_of(selector) : NULL;
    return owner;
}

static bool same_selector(const struct kb_owner *owner, kb_val selector)
{
    return owner != NULL && kb_val_equal(kb_doc_root(owner->doc), selector);
}

static bool put_service(struct kb_owners *o, struct kb_intern *in, uint32_t ns, uint32_t name,
                        kb_val selector)
{
    struct kb_owner_services *s = kb_map_get(&o->services, bytes_of(&ns, sizeof(ns)));
    uint32_t at = 0;
    while (s != NULL && at < s->n && s->all[at]->name != name)
        at++;
    bool known = s != NULL && at < s->n;
    if (known && same_selector(s->all[at], selector))
        return false;
    struct kb_owner *owner = owner_new(in, name, selector, true);
    if (known) {
        owner_free(s->all[at]);
        s->all[at] = owner ? owner : s->all[--s->n];
        return true;
    }
    if (owner == NULL)
        return false;
    if (s == NULL) {
        s = calloc(1, sizeof(*s));
        KB_ASSERT(s != NULL);
        kb_map_put(&o->services, bytes_of(&ns, sizeof(ns)), s);
    }
    s->all = realloc(s->all, (s->n + 1) * sizeof(struct kb_owner *));
    KB_ASSERT(s->all != NULL);
    s->all[s->n++] = owner;
    return true;
}

bool kb_owners_put(struct kb_owners *o, struct kb_intern *in, kb_str resource, kb_str ns,
                   kb_str name, kb_val object)
{
    kb_val selector = kb_val_get(kb_val_get(object, "spec"), "selector");
    struct controller_key key = {kb_intern_id(in, resource), kb_intern_id(in, ns),
                                 kb_intern_id(in, name)};
    if (kb_str_is(resource, "services"))
        return put_service(o, in, key.ns, key.name, selector);
    kb_str k = bytes_of(&key, sizeof(key));
    struct kb_owner *old = kb_map_get(&o->controllers, k);
    if (object.p == NULL) {
        kb_map_del(&o->controllers, k);
        if (old != NULL)
            owner_free(old);
        return old != NULL;
    }
    if (same_selector(old, selector))
        return false;
    struct kb_owner *owner =
        owner_new(in, key.name, selector, kb_str_is(resource, "replicationcontrollers"));
    if (owner != NULL)
        kb_map_put(&o->controllers, k, owner);
    else
        kb_map_del(&o->controllers, k);
    if (old != NULL)
        owner_free(old);
    return true;
}

static void append(struct kb_policy_requirement *all, uint32_t *n,
                   const struct kb_policy_selector *s)
{
    for (uint32_t i = 0; i < s->all_n; i++)
        all[(*n)++] = s->all[i];
}

bool kb_owners_spread(struct kb_owners *o, const struct kb_policy_pod *pod,
                      struct kb_policy_pods_selector *ret)
{
    struct controller_key key = {pod->owner_kind, pod->ns, pod->owner_name};
    const struct kb_owner_services *s =
        kb_map_get(&o->services, bytes_of(&pod->ns, sizeof(pod->ns)));
    const struct kb_owner *controller =
        pod->owner_kind ? kb_map_get(&o->controllers, bytes_of(&key, sizeof(key))) : NULL;
    struct kb_pod_labels labels = {pod->labels_n, pod->labels};
    uint32_t most = controller ? controller->selector.all_n : 0, n = 0;
    kb_arena_reset(&o->scratch);
    for (uint32_t i = 0; s != NULL && i < s->n; i++)
        most += s->all[i]->selector.all_n;
    struct kb_policy_requirement *all = kb_arena_alloc(&o->scratch, (most + 1) * sizeof(*all));
    for (uint32_t i = 0; s != NULL && i < s->n; i++)
        if (kb_selector_holds(&s->all[i]->selector, labels))
            append(all, &n, &s->all[i]->selector);
    if (controller != NULL)
        append(all, &n, &controller->selector);
    uint32_t *ns = kb_arena_alloc(&o->scratch, sizeof(*ns));
    *ns = pod->ns;
    *ret = (struct kb_policy_pods_selector){.namespaces_n = 1,
                                            .namespaces = ns,
                                            .namespaces_like.none = true,
                                            .labels = {false, n, all}};
    return n > 0;
}
