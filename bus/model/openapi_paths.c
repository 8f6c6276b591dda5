/* openapi_paths.c - the paths of a kind: which calls there are, and which parameters they take. */
#include "bus/model/openapi_impl.h"

#include <ctype.h>

struct param {
    const char *name, *type, *description;
};

static const struct param pretty = {"pretty", "string", "true: with line breaks and indents."};
static const struct param write_params[] = {
    {"dryRun", "string", "All: check everything and change nothing."},
    {"fieldManager", "string", "Who changes the fields."},
    {"fieldValidation", "string",
     "What becomes of unknown and duplicate fields: Ignore, Warn or Strict."},
};
static const struct param force_param = {"force", "boolean",
                                         "Take fields over from other managers, when applying."};
static const struct param delete_params[] = {
    {"dryRun", "string", "All: check everything and change nothing."},
    {"gracePeriodSeconds", "integer", "Seconds until the object is removed by force."},
    {"orphanDependents", "boolean", "Old form of propagationPolicy."},
    {"propagationPolicy", "string",
     "What becomes of dependents: Background, Foreground or Orphan."},
};
static const struct param list_params[] = {
    {"allowWatchBookmarks", "boolean", "Send the revision reached from time to time."},
    {"continue", "string", "Token of the next chunk."},
    {"fieldSelector", "string", "Which objects, by field."},
    {"labelSelector", "string", "Which objects, by label."},
    {"limit", "integer", "Most objects in one chunk."},
    {"resourceVersion", "string", "Revision to list at, or to watch from."},
    {"resourceVersionMatch", "string", "How the revision is meant: Exact or NotOlderThan."},
    {"sendInitialEvents", "boolean", "Begin a watch with what is there."},
    {"timeoutSeconds", "integer", "When to end."},
    {"watch", "boolean", "Go on with the changes."},
};

static void param(struct kb_w *w, const char *in, const struct param *p)
{
    kb_w_map(w);
    kb_w_kcstr(w, "name", p->name);
    kb_w_kcstr(w, "in", in);
    kb_w_kcstr(w, "description", p->description);
    if (*in == 'p')
        kb_w_kbool(w, "required", true);
    kb_w_kmap(w, "schema");
    kb_w_kcstr(w, "type", p->type);
    kb_w_kbool(w, "uniqueItems", true);
    kb_w_end(w);
    kb_w_end(w);
}

static void params(struct kb_w *w, const struct param *list, size_t n)
{
    for (size_t i = 0; i < n; i++)
        param(w, "query", &list[i]);
}

/* One path being written. */
struct at {
    struct kb__openapi *o;
    const struct kb_kind *kind;
    const struct kb_subresource *sub; /* or NULL */
    bool all;                         /* of all namespaces */
    kb_str object, list;              /* references */
};

static void content(struct kb_w *w, struct kb__openapi *o, const char *type, kb_str ref)
{
    kb_w_kmap(w, type);
    kb_w_key(w, "schema");
    kb__openapi_ref(o, ref);
    kb_w_end(w);
}

static void body(const struct at *at, const char *method)
{
    static const char *const patches[] = {
        "application/apply-patch+yaml", "application/json-patch+json",
        "application/merge-patch+json", "application/strategic-merge-patch+json"};
    struct kb_w *w = &at->o->w;
    bool patch = strcmp(method, "patch") == 0, del = strcmp(method, "delete") == 0;
    if (strcmp(method, "get") == 0)
        return;
    kb_w_kmap(w, "requestBody");
    kb_w_kmap(w, "content");
    if (patch) {
        for (size_t i = 0; i < KB_COUNT(patches); i++) {
            kb_w_kmap(w, patches[i]);
            kb_w_kmap(w, "schema");
            kb_w_kcstr(w, "type", "object");
            kb_w_end(w);
            kb_w_end(w);
        }
    } else {
        content(w, at->o, del ? "*/*" : "application/json",
                del ? kb__openapi_definition(at->o, "DeleteOptions") : at->object);
    }
    kb_w_end(w);
    kb_w_end(w);
}

static void responses(const struct at *at, kb_str ref)
{
    struct kb_w *w = &at->o->w;
    kb_w_kmap(w, "responses");
    kb_w_kmap(w, "200");
    kb_w_kcstr(w, "description", "OK");
    kb_w_kmap(w, "content");
    content(w, at->o, "application/json", ref);
    kb_w_end(w);
    kb_w_end(w);
    kb_w_kmap(w, "401");
    kb_w_kcstr(w, "description", "Unauthorized");
    kb_w_end(w);
    kb_w_end(w);
}

/* "listCoreV1NamespacedPod" and the like: unique within the document. */
static void operation_id(const struct at *at, const char *action)
{
    KB_AUTO(kb_buf_finish) struct kb_buf id = {0};
    kb_str version = at->kind->version;
    kb_buf_puts(&id, action);
    kb_str group = at->kind->group.n > 0 ? at->kind->group : kb_str_of("core");
    kb_str part = kb_str_cut(&group, '.');
    kb_buf_putc(&id, (char)toupper((unsigned char)part.p[0]));
    kb_buf_add(&id, part.p + 1, part.n - 1);
    kb_buf_putc(&id, (char)toupper((unsigned char)version.p[0]));
    kb_buf_add(&id, version.p + 1, version.n - 1);
    kb_buf_puts(&id, at->kind->namespaced && !at->all ? "Namespaced" : "");
    kb_buf_add_str(&id, at->kind->kind);
    if (at->sub != NULL) {
        kb_buf_putc(&id, (char)toupper((unsigned char)at->sub->name.p[0]));
        kb_buf_add(&id, at->sub->name.p + 1, at->sub->name.n - 1);
    }
    kb_buf_puts(&id, at->all ? "ForAllNamespaces" : "");
    kb_w_kstr(&at->o->w, "operationId", kb_buf_str(&id));
}

static void gvk(const struct at *at)
{
    struct kb_w *w = &at->o->w;
    kb_w_kmap(w, "x-kubernetes-group-version-kind");
    kb_w_kstr(w, "group", at->sub != NULL ? at->sub->group : at->kind->group);
    kb_w_kstr(w, "kind", at->sub != NULL ? at->sub->kind : at->kind->kind);
    kb_w_kstr(w, "version", at->sub != NULL ? at->sub->version : at->kind->version);
    kb_w_end(w);
}

static void operation(const struct at *at, const char *method, const char *action)
{
    struct kb_w *w = &at->o->w;
    bool list = strcmp(action, "list") == 0, all = strcmp(action, "deletecollection") == 0;
    bool del = strcmp(method, "delete") == 0, get = strcmp(method, "get") == 0;
    kb_w_kmap(w, method);
    operation_id(at, action);
    kb_w_kcstr(w, "x-kubernetes-action", action);
    gvk(at);
    kb_w_karray(w, "parameters");
    if (list || all)
        params(w, list_params, KB_COUNT(list_params));
    if (del)
        params(w, delete_params, KB_COUNT(delete_params));
    else if (!get)
        params(w, write_params, KB_COUNT(write_params));
    if (strcmp(method, "patch") == 0)
        params(w, &force_param, 1);
    kb_w_end(w);
    body(at, method);
    responses(at, list ? at->list : del ? kb__openapi_definition(at->o, "Status") : at->object);
    kb_w_end(w);
}

struct call {
    unsigned verb;
    const char *method, *action;
};

/* Write the path with those of the calls that `verbs` has. */
static void path(const struct at *at, bool named, unsigned verbs, const struct call *calls,
                 size_t n)
{
    static const struct param ns_param = {"namespace", "string", "The namespace."};
    static const struct param name_param = {"name", "string", "The object's name."};
    KB_AUTO(kb_buf_finish) struct kb_buf text = {0};
    struct kb_w *w = &at->o->w;
    bool in_ns = at->kind->namespaced && !at->all;
    kb_buf_printf(&text, "/%s/" KB_STR_FMT "%s/" KB_STR_FMT "%s",
                  at->kind->group.n > 0 ? "apis" : "api", KB_STR_ARG(at->kind->api_version),
                  in_ns ? "/namespaces/{namespace}" : "", KB_STR_ARG(at->kind->plural),
                  named ? "/{name}" : "");
    if (at->sub != NULL)
        kb_buf_printf(&text, "/" KB_STR_FMT, KB_STR_ARG(at->sub->name));
    kb_w_str(w, kb_buf_str(&text));
    kb_w_map(w);
    for (size_t i = 0; i < n; i++)
        if (verbs & calls[i].verb)
            operation(at, calls[i].method, calls[i].action);
    kb_w_karray(w, "parameters");
    if (named)
        param(w, "path", &name_param);
    if (in_ns)
        param(w, "path", &ns_param);
    param(w, "query", &pretty);
    kb_w_end(w);
    kb_w_end(w);
}

/* The body of a subresource: a kind that is known, or the kind itself. */
static kb_str sub_object(struct kb__openapi *o, const struct kb_kind *kind,
                         const struct kb_subresource *sub)
{
    KB_AUTO(kb_buf_finish) struct kb_buf api_version = {0};
    if (sub->group.n > 0)
        kb_buf_printf(&api_version, KB_STR_FMT "/", KB_STR_ARG(sub->group));
    kb_buf_add_str(&api_version, sub->version);
    const struct kb_kind *of = kb_kinds_by_kind(o->kinds, kb_buf_str(&api_version), sub->kind);
    return kb__openapi_kind(o, of != NULL ? of : kind, false);
}

void kb__openapi_paths(struct kb__openapi *o, const struct kb_kind *kind)
{
    static const struct call collection[] = {
        {KB_VERB_LIST, "get", "list"},
        {KB_VERB_CREATE, "post", "post"},
        {KB_VERB_DELETECOLLECTION, "delete", "deletecollection"},
    };
    static const struct call item[] = {
        {KB_VERB_GET, "get", "get"},          {KB_VERB_CREATE, "post", "post"},
        {KB_VERB_UPDATE, "put", "put"},       {KB_VERB_PATCH, "patch", "patch"},
        {KB_VERB_DELETE, "delete", "delete"},
    };
    struct at at = {.o = o, .kind = kind};
    at.object = kb__openapi_kind(o, kind, false);
    at.list = kind->stored ? kb__openapi_kind(o, kind, true) : at.object;
    path(&at, false, kind->verbs, collection, KB_COUNT(collection));
    if (kind->verbs & KB_VERB_GET)
        path(&at, true, kind->verbs & ~(unsigned)KB_VERB_CREATE, item, KB_COUNT(item));
    if (kind->namespaced && (kind->verbs & KB_VERB_LIST)) {
        at.all = true;
        path(&at, false, kind->verbs & KB_VERB_LIST, collection, 1);
        at.all = false;
    }
    for (size_t i = 0; i < kind->nsubresources; i++) {
        at.sub = &kind->subresources[i];
        at.object = sub_object(o, kind, at.sub);
        path(&at, true, at.sub->verbs, item, KB_COUNT(item));
    }
}
