#include "actors/scheduler/core/podspec.h"

#include "actors/scheduler/core/decode.h"
#include "actors/scheduler/core/relations.h"
#include "actors/scheduler/core/selectors.h"
#include "bus/base/check.h"
#include "bus/model/placement.h"
#include "bus/model/requests.h"

#include <stdlib.h>

enum { DEFAULT_CPU_MILLI = 100, DEFAULT_MEMORY = 200 * 1024 * 1024 };

/* ---- signature ---- */

static void sign_containers(struct kb_buf *sig, kb_val list)
{
    uint32_t n = (uint32_t)kb_val_count(list);
    kb_buf_add(sig, &n, sizeof(n));
    for (struct kb_iter it = kb_iter(list); kb_iter_next(&it);) {
        kb_val resources = {0}, ports = {0}, restart = {0};
        for (struct kb_iter f = kb_iter(it.val); kb_iter_next(&f);) {
            if (kb_str_is(f.key, "resources"))
                resources = f.val;
            else if (kb_str_is(f.key, "ports"))
                ports = f.val;
            else if (kb_str_is(f.key, "restartPolicy"))
                restart = f.val;
        }
        kb__sign(sig, kb_val_get(resources, "requests"));
        kb__sign(sig, ports);
        kb__sign(sig, restart);
    }
}

/* The members of a pod's spec that matter, found in one walk. */
struct fields {
    kb_val spec;
    kb_val containers, init, resources, overhead, selector, affinity, tolerations, node_name;
    kb_val spread, volumes;
    struct kb_gpu_ask gpus;
    struct kb_relations others;
};

static struct fields fields_of(kb_val pod)
{
    struct fields f = {.spec = kb_val_get(pod, "spec")};
    for (struct kb_iter it = kb_iter(f.spec); kb_iter_next(&it);) {
        kb_val *slot = kb_str_is(it.key, "containers")                  ? &f.containers
                       : kb_str_is(it.key, "initContainers")            ? &f.init
                       : kb_str_is(it.key, "resources")                 ? &f.resources
                       : kb_str_is(it.key, "overhead")                  ? &f.overhead
                       : kb_str_is(it.key, "nodeSelector")              ? &f.selector
                       : kb_str_is(it.key, "affinity")                  ? &f.affinity
                       : kb_str_is(it.key, "tolerations")               ? &f.tolerations
                       : kb_str_is(it.key, "nodeName")                  ? &f.node_name
                       : kb_str_is(it.key, "topologySpreadConstraints") ? &f.spread
                       : kb_str_is(it.key, "volumes")                   ? &f.volumes
                                                                        : NULL;
        if (slot != NULL)
            *slot = it.val;
    }
    f.others = (struct kb_relations){.affinity = kb_val_get(f.affinity, "podAffinity"),
                                     .anti_affinity = kb_val_get(f.affinity, "podAntiAffinity"),
                                     .spread = f.spread,
                                     .containers = f.containers,
                                     .init = f.init,
                                     .volumes = f.volumes};
    kb_relations_of_metadata(kb_val_get(pod, "metadata"), &f.others);
    f.affinity = kb_val_get(f.affinity, "nodeAffinity");
    f.gpus = kb_gpu_ask_of(pod);
    return f;
}

/* ---- requests ---- */

struct decoder {
    struct kb_columns *columns;
    struct kb_arena *arena;
};

static int64_t clamped(int64_t amount)
{
    return amount > KB_AMOUNT_MAX ? KB_AMOUNT_MAX : amount;
}

static int by_resource(const void *a, const void *b)
{
    const struct kb_policy_request *x = a, *y = b;
    return x->resource < y->resource ? -1 : x->resource > y->resource;
}

static void read_requests(struct decoder *d, kb_val spec, struct kb_policy_pod *pod)
{
    static const struct kb_requests_missing defaults = {DEFAULT_CPU_MILLI, DEFAULT_MEMORY};
    struct kb_requests plain = kb_requests_of(spec, NULL, d->arena);
    struct kb_requests nonzero = kb_requests_of(spec, &defaults, d->arena);
    struct kb_policy_request *all = kb_arena_alloc(d->arena, (plain.n + 1) * sizeof(*all));
    uint32_t n = 0;
    all[n++] = (struct kb_policy_request){KB_POLICY_PODS, 1};
    for (uint32_t i = 0; i < plain.n; i++)
        if (plain.v[i].amount > 0 && !kb_str_is(plain.v[i].resource, "pods"))
            all[n++] = (struct kb_policy_request){
                kb_columns_resource(d->columns, plain.v[i].resource), clamped(plain.v[i].amount)};
    qsort(all, n, sizeof(*all), by_resource);
    pod->requests = all;
    pod->requests_n = n;
    pod->nonzero_cpu = clamped(kb_requests_amount(&nonzero, "cpu"));
    pod->nonzero_memory = clamped(kb_requests_amount(&nonzero, "memory"));
}

/* ---- GPUs ---- */

static void read_models(struct decoder *d, kb_str models, struct kb_policy_pod *pod)
{
    uint32_t most = 1;
    for (size_t i = 0; i < models.n; i++)
        most += models.p[i] == '|';
    uint32_t *ids = kb_arena_alloc(d->arena, most * sizeof(*ids));
    pod->gpu_models = ids;
    while (models.p) {
        kb_str one = kb_str_trim(kb_str_cut(&models, '|'));
        if (one.n > 0)
            ids[pod->gpu_models_n++] = kb_intern_id(d->columns->intern, one);
    }
}

/* By annotations, or else nvidia.com/gpu as whole GPUs. */
static void read_gpus(struct decoder *d, const struct kb_gpu_ask *ask, struct kb_policy_pod *pod)
{
    uint32_t nvidia = kb_columns_resource(d->columns, kb_str_of(KB_GPU_NVIDIA));
    pod->gpus = ask->gpus;
    pod->gpu_milli = ask->milli;
    for (uint32_t i = 0; i < pod->requests_n && !ask->stated; i++) {
        int64_t amount = pod->requests[i].amount;
        if (pod->requests[i].resource != nvidia)
            continue;
        pod->gpus = amount > KB_POLICY_GPUS ? KB_POLICY_GPUS + 1 : (uint32_t)amount;
        pod->gpu_milli = KB_POLICY_GPU_MILLI;
        pod->gpu_plain = true;
    }
    read_models(d, ask->models, pod);
}

/* ---- affinity, tolerations, ports ---- */

static uint32_t intern(struct decoder *d, kb_val val)
{
    return kb_intern_id(d->columns->intern, kb_val_str(val));
}

static struct kb_policy_requirement read_requirement(struct decoder *d, kb_val v, bool field)
{
    struct kb_policy_requirement r = {.op = kb_op_of(kb_val_str(kb_val_get(v, "operator")))};
    kb_val key = kb_val_get(v, "key"), values = kb_val_get(v, "values");
    r.key = field ? 0 : intern(d, key);
    r.invalid =
        r.op == KB_OPS ||
        (field && (!kb_str_is(kb_val_str(key), "metadata.name") || r.op > KB_POLICY_NOT_IN));
    if (r.op == KB_POLICY_GT || r.op == KB_POLICY_LT)
        r.invalid |= kb_val_count(values) != 1 ||
                     !kb_str_i64(kb_val_str(kb_val_index(values, 0)), &r.number);
    uint32_t *ids = kb_arena_alloc(d->arena, (kb_val_count(values) + 1) * sizeof(*ids));
    for (struct kb_iter it = kb_iter(values); kb_iter_next(&it);)
        ids[r.values_n++] = intern(d, it.val);
    r.values = ids;
    return r;
}

static struct kb_policy_term read_term(struct decoder *d, kb_val v)
{
    kb_val labels = kb_val_get(v, "matchExpressions"), fields = kb_val_get(v, "matchFields");
    size_t most = kb_val_count(labels) + kb_val_count(fields);
    struct kb_policy_requirement *all = kb_arena_alloc(d->arena, (most + 1) * sizeof(*all));
    struct kb_policy_term term = {.all = all};
    for (struct kb_iter it = kb_iter(labels); kb_iter_next(&it);)
        all[term.all_n++] = read_requirement(d, it.val, false);
    for (struct kb_iter it = kb_iter(fields); kb_iter_next(&it);)
        all[term.all_n++] = read_requirement(d, it.val, true);
    return term;
}

/* nodeSelectorTerms, or those of preferences. */
static const struct kb_policy_term *read_terms(struct decoder *d, kb_val list, bool preferred,
                                               uint32_t *ret_n)
{
    struct kb_policy_term *t = kb_arena_alloc(d->arena, (kb_val_count(list) + 1) * sizeof(*t));
    *ret_n = 0;
    for (struct kb_iter it = kb_iter(list); kb_iter_next(&it);) {
        struct kb_policy_term *term = &t[(*ret_n)++];
        *term = read_term(d, preferred ? kb_val_get(it.val, "preference") : it.val);
        if (preferred)
            term->weight = kb_val_int(kb_val_get(it.val, "weight"), 0);
    }
    return t;
}

const struct kb_policy_term *kb_podspec_terms(struct kb_columns *columns, struct kb_arena *arena,
                                              kb_val list, bool preferred, uint32_t *ret_n)
{
    struct decoder d = {columns, arena};
    return read_terms(&d, list, preferred, ret_n);
}

static void read_affinity(struct decoder *d, const struct fields *f, struct kb_policy_pod *pod)
{
    struct kb_policy_requirement *sel =
        kb_arena_alloc(d->arena, (kb_val_count(f->selector) + 1) * sizeof(*sel));
    for (struct kb_iter it = kb_iter(f->selector); kb_iter_next(&it);) {
        uint32_t *value = kb_arena_alloc(d->arena, sizeof(*value));
        *value = intern(d, it.val);
        sel[pod->selector_n++] = (struct kb_policy_requirement){
            .key = kb_intern_id(d->columns->intern, it.key), .values_n = 1, .values = value};
    }
    pod->selector = sel;
    kb_val required = kb_val_get(f->affinity, "requiredDuringSchedulingIgnoredDuringExecution");
    kb_val preferred = kb_val_get(f->affinity, "preferredDuringSchedulingIgnoredDuringExecution");
    kb_val terms = kb_val_get(required, "nodeSelectorTerms");
    pod->has_required = kb_val_present(required);
    pod->required = read_terms(d, terms, false, &pod->required_n);
    pod->preferred = read_terms(d, preferred, true, &pod->preferred_n);
}

static void read_tolerations(struct decoder *d, const struct fields *f, struct kb_policy_pod *pod)
{
    struct kb_policy_toleration *all =
        kb_arena_alloc(d->arena, (kb_val_count(f->tolerations) + 1) * sizeof(*all));
    for (struct kb_iter it = kb_iter(f->tolerations); kb_iter_next(&it);) {
        kb_str effect = kb_val_str(kb_val_get(it.val, "effect"));
        kb_val key = kb_val_get(it.val, "key");
        all[pod->tolerations_n++] = (struct kb_policy_toleration){
            .key = kb_val_str(key).n ? intern(d, key) : 0,
            .value = intern(d, kb_val_get(it.val, "value")),
            .effect = kb__effect(effect),
            .exists = kb_str_is(kb_val_str(kb_val_get(it.val, "operator")), "Exists"),
        };
    }
    pod->tolerations = all;
}

static void read_ports(struct decoder *d, kb_val spec, struct kb_policy_pod *pod)
{
    struct kb_policy_port *all = NULL;
    struct kb_host_port port;
    uint32_t cap = 0;
    for (struct kb_host_ports it = kb_host_ports(spec); kb_host_port_next(&it, &port);) {
        KB_ARENA_GROW(d->arena, all, pod->ports_n, cap, 4);
        all[pod->ports_n++] = (struct kb_policy_port){
            .port = port.port,
            .protocol = kb_str_is(port.protocol, "UDP")    ? KB_POLICY_UDP
                        : kb_str_is(port.protocol, "SCTP") ? KB_POLICY_SCTP
                                                           : KB_POLICY_TCP,
            .ip = port.ip.n > 0 ? kb_intern_id(d->columns->intern, port.ip) : 0,
        };
    }
    pod->ports = all;
}

/* ---- the table ---- */

static struct kb_podspec *decode(struct kb_columns *columns, const struct fields *f,
                                 kb_str signature, uint32_t profile, bool wants_node)
{
    struct kb_podspec *spec = calloc(1, sizeof(*spec));
    KB_ASSERT(spec != NULL);
    struct decoder d = {columns, &spec->arena};
    spec->profile = profile;
    spec->signature = kb_arena_str(&spec->arena, signature);
    spec->pod.size = sizeof(spec->pod);
    read_requests(&d, f->spec, &spec->pod);
    read_affinity(&d, f, &spec->pod);
    read_tolerations(&d, f, &spec->pod);
    read_ports(&d, f->spec, &spec->pod);
    uint32_t last = spec->pod.requests[spec->pod.requests_n - 1].resource;
    if (f->gpus.stated || last >= KB_POLICY_RESOURCES)
        read_gpus(&d, &f->gpus, &spec->pod);
    if (wants_node && kb_val_str(f->node_name).n > 0)
        spec->pod.node_name = intern(&d, f->node_name);
    kb_relations_read(&f->others, &spec->arena, columns->intern, &spec->pod);
    kb_pods_enroll(&columns->pods, &spec->pod);
    spec->pods = &columns->pods;
    return spec;
}

struct kb_podspec *kb_podspec_get(struct kb_podspecs *specs, struct kb_columns *columns, kb_val pod,
                                  uint32_t profile, bool wants_node)
{
    struct fields f = fields_of(pod);
    struct kb_buf *sig = &specs->scratch;
    kb_buf_clear(sig);
    kb_buf_add(sig, &profile, sizeof(profile));
    sign_containers(sig, f.containers);
    sign_containers(sig, f.init);
    kb__sign(sig, f.resources);
    kb__sign(sig, f.overhead);
    kb__sign(sig, f.selector);
    kb__sign(sig, f.affinity);
    kb__sign(sig, f.tolerations);
    kb_buf_add(sig, &f.gpus.gpus, sizeof(f.gpus.gpus));
    kb_buf_add(sig, &f.gpus.milli, sizeof(f.gpus.milli));
    kb_buf_add_str(sig, f.gpus.models);
    kb__sign(sig, wants_node ? f.node_name : (kb_val){0});
    kb_relations_sign(&f.others, sig);
    struct kb_podspec *spec = kb_map_get(&specs->by_signature, kb_buf_str(sig));
    if (spec == NULL) {
        spec = decode(columns, &f, kb_buf_str(sig), profile, wants_node);
        kb_map_put(&specs->by_signature, spec->signature, spec);
    }
    spec->refs++;
    return spec;
}

struct kb_podspec *kb_podspec_put(struct kb_podspecs *specs, struct kb_podspec *spec)
{
    KB_ASSERT(spec->refs > 0);
    if (--spec->refs > 0)
        return NULL;
    kb_map_del(&specs->by_signature, spec->signature);
    return spec;
}

void kb_podspec_free(struct kb_podspec *spec)
{
    KB_ASSERT(spec->plan == NULL);
    kb_pods_release(spec->pods, &spec->pod);
    kb_arena_finish(&spec->arena);
    free(spec);
}

void kb_podspecs_finish(struct kb_podspecs *specs)
{
    KB_ASSERT(specs->by_signature.count == 0);
    kb_map_finish(&specs->by_signature);
    kb_buf_finish(&specs->scratch);
}
