/* trace_objects.c - Kubernetes objects as a trace: YAML and JSON files, and JSON lines with times.
 *
 * In YAML a pod's times are annotations (KB_TRACE_ARRIVE, KB_TRACE_RUN), also of what makes pods,
 * or in its template; pods without them come a second apart, in the order of the file. */
#include "actors/scheduler/sim/trace.h"
#include "bus/model/json.h"
#include "bus/model/key.h"
#include "bus/model/kind.h"
#include "bus/model/yaml.h"

#include <stdlib.h>

struct reader {
    struct kb_trace *trace;
    const char *name;
    size_t line;
    unsigned want;
    struct kb_arena arena;
    struct kb_err *err;
};

static int wrong(struct reader *r, const char *what)
{
    return kb_err_set(r->err, KB_EINVAL, "%s:%zu: %s", r->name, r->line, what);
}

/* As the gateway would store it: a request that only a limit states, allocatable from capacity;
 * and an amount that is none is a mistake. The kinds are made once for the process. */
static int complete(struct reader *r, const char *resource, struct kb_node *object)
{
    static struct kb_kinds *kinds;
    struct kb_err why = {0};
    if (kinds == NULL)
        kinds = kb_kinds_builtin();
    const struct kb_schema *schema = kb_kinds_by_resource(kinds, kb_str_of(resource))->schema;
    if (kb_schema_decode(schema, &r->arena, object, NULL, &why) < 0)
        return wrong(r, why.text);
    kb_schema_default(schema, &r->arena, object);
    return 0;
}

static int add_node(struct reader *r, struct kb_node *object)
{
    kb_str name = kb_node_text_at(object, "metadata.name");
    if (!(r->want & KB_TRACE_NODES))
        return 0;
    if (!kb__trace_name(name))
        return wrong(r, "a node without metadata.name");
    if (r->trace->nodes_n >= KB_TRACE_MAX)
        return wrong(r, "too many nodes");
    if (complete(r, "nodes", object) < 0)
        return -KB_EINVAL;
    KB_AUTO(kb_doc_destroy) struct kb_doc *doc = kb_node_doc(object);
    kb_trace_add_node(r->trace, name, doc);
    return 0;
}

/* A time that an annotation states, or what stands in *ret. */
static int annotated(struct reader *r, const struct kb_node *object, const char *key, kb_ms *ret)
{
    struct kb_node *a = kb_node_at(object, "metadata.annotations");
    kb_str text = kb_node_text(kb_node_get(a, key));
    if (text.n == 0)
        return 0;
    r->trace->timed = true;
    return kb__trace_seconds(text, ret) ? 0 : wrong(r, "an annotation is not a number of seconds");
}

/* `at`, `run`: -1 when nothing outside the object says so. */
static int add_pods(struct reader *r, struct kb_node *pod, kb_str ns, kb_str name, int64_t n,
                    kb_ms at, kb_ms run)
{
    if (!(r->want & KB_TRACE_PODS))
        return 0;
    if (!kb__trace_name(name) || (ns.n > 0 && !kb__trace_name(ns)))
        return wrong(r, "a pod, or what makes pods, without metadata.name");
    if (n < 0 || n > KB_TRACE_MAX - (int64_t)r->trace->pods_n)
        return wrong(r, "too many pods");
    if (annotated(r, pod, KB_TRACE_ARRIVE, &at) < 0 || annotated(r, pod, KB_TRACE_RUN, &run) < 0 ||
        complete(r, "pods", pod) < 0)
        return -KB_EINVAL;
    ns = ns.n > 0 ? ns : kb_str_of("default");
    kb_node_set_str(&r->arena, pod, "metadata.namespace", ns);
    kb_node_unset(pod, "spec.schedulerName"); /* whose profile is tried, places all pods */
    KB_AUTO(kb_doc_destroy) struct kb_doc *doc = kb_node_doc(pod);
    for (int64_t i = 0; i < n; i++) {
        char *key =
            n == 1 ? kb_strf("pods/" KB_STR_FMT "/" KB_STR_FMT, KB_STR_ARG(ns), KB_STR_ARG(name))
                   : kb_strf("pods/" KB_STR_FMT "/" KB_STR_FMT "-%lld", KB_STR_ARG(ns),
                             KB_STR_ARG(name), (long long)i);
        kb_trace_add_pod(r->trace, kb_str_of(key), doc,
                         at >= 0 ? at : (kb_ms)r->trace->pods_n * 1000, run);
        free(key);
    }
    return 0;
}

/* Of kb_sched_resources, by kind: where the scheduler looks for them. */
static const struct {
    const char *kind, *resource;
    bool namespaced;
} others[] = {
    {"Namespace", "namespaces", false},
    {"Service", "services", true},
    {"ReplicationController", "replicationcontrollers", true},
    {"ReplicaSet", "replicasets.apps", true},
    {"StatefulSet", "statefulsets.apps", true},
    {"PodDisruptionBudget", "poddisruptionbudgets.policy", true},
    {"PersistentVolume", "persistentvolumes", false},
    {"PersistentVolumeClaim", "persistentvolumeclaims", true},
    {"StorageClass", "storageclasses.storage.k8s.io", false},
    {"CSINode", "csinodes.storage.k8s.io", false},
};

static int add_other(struct reader *r, const struct kb_node *object, kb_str kind)
{
    kb_str name = kb_node_text_at(object, "metadata.name");
    kb_str ns = kb_node_text_at(object, "metadata.namespace");
    for (size_t i = 0; i < KB_COUNT(others); i++) {
        if (!kb_str_is(kind, others[i].kind))
            continue;
        if (!kb__trace_name(name) || (ns.n > 0 && !kb__trace_name(ns)))
            return wrong(r, "an object without metadata.name");
        ns = !others[i].namespaced ? (kb_str){0} : ns.n > 0 ? ns : kb_str_of("default");
        KB_AUTO(kb_auto_free)
        char *key = kb_strf("%s/" KB_STR_FMT "/" KB_STR_FMT, others[i].resource, KB_STR_ARG(ns),
                            KB_STR_ARG(name));
        KB_AUTO(kb_doc_destroy) struct kb_doc *doc = kb_node_doc(object);
        kb_trace_add_object(r->trace, kb_str_of(key), doc);
    }
    return 0;
}

/* A pod of a template, in the namespace of what has the template. */
static int add_template(struct reader *r, struct kb_node *object, kb_ms at, kb_ms run)
{
    struct kb_node *template = kb_node_at(object, "spec.template");
    if (template == NULL || template->type != KB_MAP)
        return 0; /* of a kind that is of no concern here */
    int64_t n = kb_node_num(kb_node_at(object, "spec.replicas"), 1);
    if (kb_node_at(object, "spec.parallelism"))
        n = kb_node_num(kb_node_at(object, "spec.parallelism"), 1);
    if (annotated(r, object, KB_TRACE_ARRIVE, &at) < 0 ||
        annotated(r, object, KB_TRACE_RUN, &run) < 0) /* the template's own come before them */
        return -KB_EINVAL;
    return add_pods(r, template, kb_node_text_at(object, "metadata.namespace"),
                    kb_node_text_at(object, "metadata.name"), n, at, run);
}

static int add_object(struct reader *r, struct kb_node *object, kb_ms at, kb_ms run)
{
    kb_str kind = kb_node_text(kb_node_get(object, "kind"));
    const struct kb_node *items = kb_node_get(object, "items");
    if (object == NULL || object->type != KB_MAP)
        return wrong(r, "not an object");
    if (kb_str_ends(kind, "List") && items && items->type == KB_ARRAY) {
        for (uint32_t i = 0; i < items->count; i++) {
            struct kb_node *item = items->items[i].val;
            kb_str own = kb_node_text(kb_node_get(item, "kind"));
            if (kb_str_ends(own, "List"))
                return wrong(r, "a list in a list");
            if (own.n == 0 && kind.n > 4 && item->type == KB_MAP) /* of a PodList: they say none */
                kb_node_set_str(&r->arena, item, "kind", kb_str_n(kind.p, kind.n - 4));
            if (add_object(r, item, at, run) < 0)
                return -KB_EINVAL;
        }
        return 0;
    }
    if (kb_str_is(kind, "Node"))
        return add_node(r, object);
    if (kb_str_is(kind, "Pod"))
        return add_pods(r, object, kb_node_text_at(object, "metadata.namespace"),
                        kb_node_text_at(object, "metadata.name"), 1, at, run);
    if (kind.n == 0)
        return wrong(r, "an object without kind");
    if (r->want & KB_TRACE_PODS && add_other(r, object, kind) < 0)
        return -KB_EINVAL;
    return add_template(r, object, at, run);
}

static int read_documents(struct reader *r, struct kb_yaml *yaml)
{
    struct kb_node *object;
    struct kb_err why = {0};
    for (;;) {
        int rc = kb_yaml_next(yaml, &r->arena, &object, &why);
        r->line = kb_yaml_line(yaml);
        if (rc < 0)
            return kb_err_set(r->err, KB_EINVAL, "%s: %s", r->name, why.text);
        if (rc == 0)
            return 0;
        if (add_object(r, object, -1, -1) < 0)
            return -KB_EINVAL;
        kb_arena_reset(&r->arena);
    }
}

int kb__trace_yaml(struct kb_trace *trace, kb_str text, const char *name, unsigned want,
                   struct kb_err *err)
{
    struct reader r = {.trace = trace, .name = name, .want = want, .err = err};
    struct kb_yaml *yaml = kb_yaml_open(text);
    int rc = read_documents(&r, yaml);
    kb_yaml_close(&yaml);
    kb_arena_finish(&r.arena);
    return rc;
}

/* ---- JSON lines ---- */

/* A member that is a number of seconds; false: there, and none. */
static bool seconds(const struct kb_node *line, const char *key, kb_ms *ret)
{
    const struct kb_node *n = kb_node_get(line, key);
    double d = n == NULL ? -1 : n->type == KB_INT ? (double)n->i : n->type == KB_DOUBLE ? n->d : -2;
    if (n == NULL)
        return true;
    if (!(d >= 0 && d <= KB_TRACE_MAX_SECONDS))
        return false;
    *ret = (kb_ms)(d * 1000 + 0.5);
    return true;
}

static int add_line(struct reader *r, const struct kb_node *line)
{
    kb_ms at = -1, run = -1, dead = -1;
    kb_str gone = kb_node_text(kb_node_get(line, "delete"));
    kb_str node = kb_node_text(kb_node_get(line, "fail"));
    if (!seconds(line, "at", &at) || !seconds(line, "run", &run) || !seconds(line, "for", &dead))
        return wrong(r, "at, run and for are numbers of seconds");
    r->trace->timed |= at >= 0;
    if (kb_node_get(line, "object"))
        return add_object(r, kb_node_get(line, "object"), at, run);
    if (at < 0 || (gone.n == 0 && node.n == 0))
        return wrong(r, "a line has 'object', or 'at' with 'delete' or 'fail'");
    if (gone.n > 0 && !kb_str_has(gone, '/'))
        return wrong(r, "a pod is named NAMESPACE/NAME");
    if (!(r->want & KB_TRACE_PODS))
        return 0;
    KB_AUTO(kb_auto_free) char *key = kb_strf("pods/" KB_STR_FMT, KB_STR_ARG(gone));
    kb_trace_add_fault(r->trace, gone.n ? kb_str_of(key) : gone, node, at, dead);
    return 0;
}

int kb__trace_jsonl(struct kb_trace *trace, kb_str text, const char *name, unsigned want,
                    struct kb_err *err)
{
    struct reader r = {.trace = trace, .name = name, .want = want, .err = err};
    int rc = 0;
    while (rc == 0 && text.p) {
        struct kb_node *line;
        struct kb_err why = {0};
        kb_str raw = kb_str_trim(kb_str_cut(&text, '\n'));
        r.line++;
        if (raw.n == 0 || raw.p[0] == '#')
            continue;
        if (kb_json_parse(&r.arena, raw, NULL, &line, &why) < 0)
            rc = wrong(&r, why.text);
        else
            rc = line->type == KB_MAP ? add_line(&r, line) : wrong(&r, "a line is an object");
        kb_arena_reset(&r.arena);
    }
    kb_arena_finish(&r.arena);
    return rc;
}
