/* agent_refs.c - an agent may know of the cluster's ConfigMaps and Secrets exactly those that its
 * pods name: each is followed by a view of its own, shared by the pods that use it, and closed with
 * the last. */
#include "agent/agent_impl.h"
#include "bus/base/check.h"
#include "bus/base/log.h"
#include "bus/model/meta.h"
#include "bus/model/schema.h"

#include <stdlib.h>

static void on_change(void *user, const struct kb_change *change)
{
    struct kb__ref *ref = user;
    kb_doc_destroy(&ref->doc);
    if (change->op == KB_PUT)
        ref->doc = kb_doc_of(change->doc);
    if (ref->synced)
        kb__pod_refs_changed(ref->agent, ref);
}

static void on_synced(void *user, int64_t rev)
{
    struct kb__ref *ref = user;
    (void)rev;
    if (ref->synced)
        return;
    ref->synced = true;
    kb__pod_refs_changed(ref->agent, ref);
}

static const struct kb_view_handlers handlers = {on_change, on_synced};

static struct kb__ref *ref_get(struct kb_agent *agent, const char *resource, kb_str ns, kb_str name)
{
    KB_AUTO(kb_auto_free)
    char *key =
        kb_strf("%s/" KB_STR_FMT "/" KB_STR_FMT, resource, KB_STR_ARG(ns), KB_STR_ARG(name));
    struct kb__ref *ref = kb_map_get(&agent->refs, kb_str_of(key));
    if (ref != NULL)
        return ref;
    KB_AUTO(kb_auto_free)
    char *query = kb_strf("%s?name=" KB_STR_FMT "&ns=" KB_STR_FMT, resource, KB_STR_ARG(name),
                          KB_STR_ARG(ns));
    ref = calloc(1, sizeof *ref);
    KB_ASSERT(ref != NULL);
    ref->agent = agent;
    ref->key = KB_STEAL(key);
    kb_map_put(&agent->refs, kb_str_of(ref->key), ref);
    ref->view = kb_view_open(agent->actor, query, NULL, &handlers, ref);
    return ref;
}

static void use_ref(void *arg, const char *resource, kb_str name, bool volume)
{
    struct kb__pod *pod = arg;
    kb_str ns = kb_str_of(kb_pod_core_ns(pod->core));
    if (kb_format_check("dns1123-subdomain", name) != NULL)
        return; /* no object has such a name: it is not found */
    struct kb__ref *ref = ref_get(pod->agent, resource, ns, name);
    KB_LIST_EACH(it, &pod->uses)
    {
        struct kb__use *use = KB_CONTAINER(it, struct kb__use, link);
        if (use->ref == ref) {
            use->volume |= volume;
            return;
        }
    }
    struct kb__use *use = calloc(1, sizeof *use);
    KB_ASSERT(use != NULL);
    use->ref = ref;
    use->volume = volume;
    ref->users++;
    kb_list_push(&pod->uses, &use->link);
}

void kb__refs_of_pod(struct kb__pod *pod)
{
    kb__refs_of_pod_now(pod, kb_doc_root(kb_pod_core_doc(pod->core)));
}

void kb__refs_of_pod_now(struct kb__pod *pod, kb_val object)
{
    kb_resolve_refs(object, use_ref, pod);
}

static void ref_free(struct kb__ref *ref)
{
    kb_map_del(&ref->agent->refs, kb_str_of(ref->key));
    kb_view_close(&ref->view);
    kb_doc_destroy(&ref->doc);
    free(ref->key);
    free(ref);
}

void kb__refs_drop(struct kb__pod *pod)
{
    for (struct kb_link *link; (link = kb_list_pop(&pod->uses)) != NULL;) {
        struct kb__use *use = KB_CONTAINER(link, struct kb__use, link);
        if (--use->ref->users == 0)
            ref_free(use->ref);
        free(use);
    }
}

bool kb__refs_synced(const struct kb__pod *pod, bool volumes_only)
{
    KB_LIST_EACH(it, &pod->uses)
    {
        const struct kb__use *use = KB_CONTAINER(it, struct kb__use, link);
        if (!use->ref->synced && (use->volume || !volumes_only))
            return false;
    }
    return true;
}

kb_val kb__refs_find(void *arg, const char *resource, kb_str ns, kb_str name)
{
    struct kb__pod *pod = arg;
    KB_AUTO(kb_auto_free)
    char *key =
        kb_strf("%s/" KB_STR_FMT "/" KB_STR_FMT, resource, KB_STR_ARG(ns), KB_STR_ARG(name));
    const struct kb__ref *ref = kb_map_get(&pod->agent->refs, kb_str_of(key));
    return ref != NULL ? kb_doc_root(ref->doc) : (kb_val){0};
}

void kb__refs_free_all(struct kb_agent *agent)
{
    kb_str key;
    void *value;
    for (size_t i = 0; kb_map_next(&agent->refs, &i, &key, &value);)
        ref_free(value);
    kb_map_finish(&agent->refs);
}
