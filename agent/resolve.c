#include "agent/resolve.h"
#include "agent/files.h"
#include "agent/pod_core.h"
#include "bus/base/base64.h"
#include "bus/model/json.h"
#include "bus/model/meta.h"
#include "bus/model/quantity.h"

#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

/* ---- fields ---- */

static void add_map(kb_val map, struct kb_buf *out)
{
    bool first = true;
    for (struct kb_iter it = kb_iter(map); kb_iter_next(&it); first = false) {
        kb_buf_printf(out, "%s" KB_STR_FMT "=", first ? "" : "\n", KB_STR_ARG(it.key));
        kb_json_write_str(out, kb_val_str(it.val));
    }
}

/* "metadata.labels['key']": the value at the key. */
static bool add_subscript(kb_val pod, kb_str path, const char *map, struct kb_buf *out)
{
    size_t n = strlen(map);
    if (!kb_str_starts(path, map) || path.n < n + 4 || path.p[n] != '[')
        return false;
    kb_str key = kb_str_n(path.p + n + 2, path.n - n - 4);
    kb_buf_add_str(out, kb_val_str(kb_val_getn(kb_val_at(pod, map), key)));
    return true;
}

bool kb_resolve_field(const struct kb_resolve *r, kb_str path, struct kb_buf *out)
{
    if (kb_str_is(path, "metadata.name") || kb_str_is(path, "metadata.namespace") ||
        kb_str_is(path, "metadata.uid") || kb_str_is(path, "spec.serviceAccountName") ||
        kb_str_is(path, "spec.nodeName")) {
        KB_AUTO(kb_auto_free) char *text = kb_str_dup(path);
        kb_str value = kb_val_str_at(r->pod, text);
        if (value.n == 0 && kb_str_is(path, "spec.nodeName"))
            value = kb_str_of(r->node);
        kb_buf_add_str(out, value);
        return true;
    }
    if (kb_str_is(path, "metadata.labels") || kb_str_is(path, "metadata.annotations")) {
        add_map(kb_val_at(r->pod, path.n == 15 ? "metadata.labels" : "metadata.annotations"), out);
        return true;
    }
    if (kb_str_is(path, "status.hostIP") || kb_str_is(path, "status.hostIPs")) {
        kb_buf_puts(out, r->node_ip);
        return true;
    }
    if (kb_str_is(path, "status.podIP") || kb_str_is(path, "status.podIPs")) {
        kb_buf_puts(out, r->pod_ip);
        return true;
    }
    return add_subscript(r->pod, path, "metadata.labels", out) ||
           add_subscript(r->pod, path, "metadata.annotations", out);
}

bool kb_resolve_resource(const struct kb_resolve *r, kb_val ref, kb_val container,
                         struct kb_buf *out)
{
    kb_str what = kb_val_str_at(ref, "resource"), rest = what;
    kb_str kind = kb_str_cut(&rest, '.');
    kb_val list =
        kb_val_at(container, kb_str_is(kind, "limits") ? "resources.limits" : "resources.requests");
    kb_val value = kb_val_getn(list, rest);
    bool cpu = kb_str_is(rest, "cpu");
    if (rest.p == NULL)
        return false;
    int64_t milli = kb_val_milli(value, 0);
    int64_t units = kb_val_quantity(value, 0);
    if (!kb_val_present(value) && kb_str_is(kind, "limits")) {
        milli = cpu ? r->node_cpu_milli : r->node_memory * 1000;
        units = cpu ? (r->node_cpu_milli + 999) / 1000 : r->node_memory;
    }
    kb_val divisor = kb_val_get(ref, "divisor");
    int64_t by = kb_val_milli(divisor, 1000);
    if (by <= 0)
        by = 1000;
    int64_t result = by % 1000 == 0 ? (units + by / 1000 - 1) / (by / 1000) : (milli + by - 1) / by;
    kb_buf_printf(out, "%lld", (long long)result);
    return true;
}

/* ---- variables ---- */

static kb_str lookup(const char *const *env, kb_str name)
{
    for (const char *const *it = env; it != NULL && *it != NULL; it++) {
        kb_str value = kb_str_of(*it);
        if (kb_str_eq(kb_str_cut(&value, '='), name) && value.p != NULL)
            return value;
    }
    return (kb_str){0};
}

const char *kb_resolve_expand(kb_str text, const char *const *env, struct kb_arena *a)
{
    KB_AUTO(kb_buf_finish) struct kb_buf out = {0};
    kb_buf_reserve(&out, text.n + 1);
    for (size_t i = 0; i < text.n; i++) {
        const char *close = NULL;
        if (text.p[i] != '$' || i + 1 == text.n) {
            kb_buf_putc(&out, text.p[i]);
        } else if (text.p[i + 1] == '$') {
            kb_buf_putc(&out, '$');
            i++;
        } else if (text.p[i + 1] == '(' && (close = memchr(text.p + i, ')', text.n - i)) != NULL) {
            kb_str name = kb_str_n(text.p + i + 2, (size_t)(close - (text.p + i + 2)));
            kb_str value = lookup(env, name);
            if (value.p != NULL)
                kb_buf_add_str(&out, value);
            else
                kb_buf_add(&out, text.p + i, name.n + 3);
            i += name.n + 2;
        } else {
            kb_buf_putc(&out, '$');
        }
    }
    return kb_arena_str(a, kb_buf_str(&out)).p;
}

struct env {
    const char **v;
    size_t n, cap;
    struct kb_arena *a;
};

static void env_set(struct env *env, const char *setting)
{
    size_t name = strcspn(setting, "=");
    for (size_t i = 0; i < env->n; i++)
        if (strncmp(env->v[i], setting, name + 1) == 0) {
            env->v[i] = setting;
            return;
        }
    KB_ARENA_GROW(env->a, env->v, env->n + 1, env->cap, 16);
    env->v[env->n++] = setting;
    env->v[env->n] = NULL;
}

static void env_put(struct env *env, kb_str name, kb_str value)
{
    env_set(
        env,
        kb_arena_printf(env->a, KB_STR_FMT "=" KB_STR_FMT, KB_STR_ARG(name), KB_STR_ARG(value)).p);
}

/* A value of a Secret is base64 of bytes; a variable takes them as they are. */
static kb_str decode(struct kb_arena *a, kb_str base64)
{
    KB_AUTO(kb_buf_finish) struct kb_buf out = {0};
    if (kb_base64_decode(base64, &out) < 0)
        return (kb_str){0};
    return kb_arena_str(a, kb_buf_str(&out));
}

static int env_from(const struct kb_resolve *r, kb_val source, struct env *env, struct kb_err *err)
{
    bool secret = kb_val_present(kb_val_get(source, "secretRef"));
    kb_val ref = kb_val_get(source, secret ? "secretRef" : "configMapRef");
    kb_str name = kb_val_str_at(ref, "name"), prefix = kb_val_str_at(source, "prefix");
    kb_val object = r->find(r->arg, secret ? "secrets" : "configmaps", kb_meta_ns(r->pod), name);
    if (!kb_val_present(object))
        return kb_val_bool_at(ref, "optional", false)
                   ? 0
                   : kb_err_set(err, KB_EFORBIDDEN, "%s \"" KB_STR_FMT "\" not found",
                                secret ? "secret" : "configmap", KB_STR_ARG(name));
    for (struct kb_iter it = kb_iter(kb_val_get(object, "data")); kb_iter_next(&it);) {
        kb_str key =
            kb_arena_printf(env->a, KB_STR_FMT KB_STR_FMT, KB_STR_ARG(prefix), KB_STR_ARG(it.key));
        kb_str value = kb_val_str(it.val);
        env_put(env, key, secret ? decode(env->a, value) : value);
    }
    return 0;
}

static int key_of(const struct kb_resolve *r, kb_val ref, bool secret, struct env *env, kb_str name,
                  struct kb_err *err)
{
    kb_str object_name = kb_val_str_at(ref, "name"), key = kb_val_str_at(ref, "key");
    kb_str ns = kb_meta_ns(r->pod);
    bool optional = kb_val_bool_at(ref, "optional", false);
    kb_val object = r->find(r->arg, secret ? "secrets" : "configmaps", ns, object_name);
    if (!kb_val_present(object))
        return optional ? 0
                        : kb_err_set(err, KB_EFORBIDDEN, "%s \"" KB_STR_FMT "\" not found",
                                     secret ? "secret" : "configmap", KB_STR_ARG(object_name));
    kb_val value = kb_val_getn(kb_val_get(object, "data"), key);
    if (!kb_val_present(value))
        return optional
                   ? 0
                   : kb_err_set(err, KB_EFORBIDDEN,
                                "couldn't find key " KB_STR_FMT " in %s " KB_STR_FMT "/" KB_STR_FMT,
                                KB_STR_ARG(key), secret ? "Secret" : "ConfigMap", KB_STR_ARG(ns),
                                KB_STR_ARG(object_name));
    env_put(env, name, secret ? decode(env->a, kb_val_str(value)) : kb_val_str(value));
    return 0;
}

static kb_val container_named(kb_val pod, kb_str name)
{
    static const char *const lists[] = {"spec.containers", "spec.initContainers",
                                        "spec.ephemeralContainers"};
    for (size_t k = 0; k < KB_COUNT(lists); k++)
        for (struct kb_iter it = kb_iter(kb_val_at(pod, lists[k])); kb_iter_next(&it);)
            if (kb_str_eq(kb_val_str_at(it.val, "name"), name))
                return it.val;
    return (kb_val){0};
}

static int one_variable(const struct kb_resolve *r, kb_val container, kb_val var, struct env *env,
                        struct kb_err *err)
{
    KB_AUTO(kb_buf_finish) struct kb_buf out = {0};
    kb_str name = kb_val_str_at(var, "name");
    kb_val from = kb_val_get(var, "valueFrom"), ref;
    if (!kb_val_present(from)) {
        const char *value = kb_resolve_expand(kb_val_str_at(var, "value"), env->v, env->a);
        env_put(env, name, kb_str_of(value));
        return 0;
    }
    if (kb_val_present(ref = kb_val_get(from, "configMapKeyRef")))
        return key_of(r, ref, false, env, name, err);
    if (kb_val_present(ref = kb_val_get(from, "secretKeyRef")))
        return key_of(r, ref, true, env, name, err);
    bool known = false;
    if (kb_val_present(ref = kb_val_get(from, "fieldRef"))) {
        known = kb_resolve_field(r, kb_val_str_at(ref, "fieldPath"), &out);
    } else if (kb_val_present(ref = kb_val_get(from, "resourceFieldRef"))) {
        kb_str of = kb_val_str_at(ref, "containerName");
        known = kb_resolve_resource(r, ref, of.n ? container_named(r->pod, of) : container, &out);
    }
    if (!known)
        return kb_err_set(err, KB_EFORBIDDEN, "the source of variable " KB_STR_FMT " is unknown",
                          KB_STR_ARG(name));
    env_put(env, name, kb_buf_str(&out));
    return 0;
}

static int make_env(const struct kb_resolve *r, kb_val container, struct env *env,
                    struct kb_err *err)
{
    for (struct kb_iter it = kb_iter(kb_val_get(container, "envFrom")); kb_iter_next(&it);)
        if (env_from(r, it.val, env, err) < 0)
            return -err->code;
    for (struct kb_iter it = kb_iter(kb_val_get(container, "env")); kb_iter_next(&it);)
        if (one_variable(r, container, it.val, env, err) < 0)
            return -err->code;
    return 0;
}

static const char *const *expand_list(kb_val list, const char *const *env, struct kb_arena *a)
{
    size_t n = kb_val_count(list), i = 0;
    if (n == 0)
        return NULL;
    const char **out = kb_arena_alloc(a, (n + 1) * sizeof *out);
    for (struct kb_iter it = kb_iter(list); kb_iter_next(&it);)
        out[i++] = kb_resolve_expand(kb_val_str(it.val), env, a);
    out[i] = NULL;
    return out;
}

static const char *const *texts(kb_val list, struct kb_arena *a)
{
    size_t n = kb_val_count(list), i = 0;
    const char **out = kb_arena_alloc(a, (n + 1) * sizeof *out);
    for (struct kb_iter it = kb_iter(list); kb_iter_next(&it);)
        out[i++] = kb_arena_str(a, kb_val_str(it.val)).p;
    out[i] = NULL;
    return out;
}

/* ---- mounts ---- */

static kb_val volume_named(kb_val pod, kb_str name)
{
    for (struct kb_iter it = kb_iter(kb_val_at(pod, "spec.volumes")); kb_iter_next(&it);)
        if (kb_str_eq(kb_val_str_at(it.val, "name"), name))
            return it.val;
    return (kb_val){0};
}

static bool is_reflecting(kb_val volume)
{
    static const char *const kinds[] = {"configMap", "secret", "downwardAPI", "projected"};
    for (size_t i = 0; i < KB_COUNT(kinds); i++)
        if (kb_val_present(kb_val_get(volume, kinds[i])))
            return true;
    return false;
}

/* `place`: where a subPath of it is bound to, below the pod's folder; the runtime does it, for the
 * volume's file system may hang. */
static int one_mount(const struct kb_resolve *r, kb_val mount, const char *const *env,
                     const char *place, struct kb_arena *a, struct kb_rt_mount *out,
                     struct kb_err *err)
{
    kb_str name = kb_val_str_at(mount, "name"), how = kb_val_str_at(mount, "mountPropagation");
    kb_val volume = volume_named(r->pod, name), host = kb_val_get(volume, "hostPath");
    if (!kb_val_present(volume))
        return kb_err_set(err, KB_EFORBIDDEN, "volume \"" KB_STR_FMT "\" not found",
                          KB_STR_ARG(name));
    const char *source =
        kb_val_present(host)
            ? kb_arena_str(a, kb_val_str_at(host, "path")).p
            : kb_arena_printf(a, "%s/volumes/" KB_STR_FMT, r->pod_dir, KB_STR_ARG(name)).p;
    kb_str sub = kb_val_str_at(mount, "subPath"), expr = kb_val_str_at(mount, "subPathExpr");
    const char *below = expr.n ? kb_resolve_expand(expr, env, a) : kb_arena_str(a, sub).p;
    bool in_it = below != NULL && *below != '\0';
    *out = (struct kb_rt_mount){
        .kind = KB_RT_BIND,
        .source = source,
        .below = in_it ? below : NULL,
        .place = in_it ? kb_arena_printf(a, "%s/subpaths/%s", r->pod_dir, place).p : NULL,
        .target = kb_arena_str(a, kb_val_str_at(mount, "mountPath")).p,
        .read_only = kb_val_bool_at(mount, "readOnly", false) || is_reflecting(volume),
        .propagation = kb_str_is(how, "Bidirectional")     ? KB_RT_BIDIRECTIONAL
                       : kb_str_is(how, "HostToContainer") ? KB_RT_HOST_TO_CONTAINER
                                                           : KB_RT_PRIVATE};
    return 0;
}

/* The file in which the container may leave its last words. */
static void termination_mount(const struct kb_resolve *r, kb_val container, struct kb_arena *a,
                              struct kb_rt_container_spec *spec, struct kb_rt_mount *out)
{
    kb_str path = kb_val_str_at(container, "terminationMessagePath");
    *out =
        (struct kb_rt_mount){.kind = KB_RT_BIND,
                             .source = kb_arena_printf(a, "%s/messages/%s.%u", r->pod_dir,
                                                       spec->ref.container, spec->ref.attempt)
                                           .p,
                             .target = path.n ? kb_arena_str(a, path).p : "/dev/termination-log"};
}

static int make_mounts(const struct kb_resolve *r, kb_val container, const char *const *env,
                       struct kb_arena *a, struct kb_rt_container_spec *spec, struct kb_err *err)
{
    KB_AUTO(kb_auto_free) char *folder = kb_strf("%s/messages", r->pod_dir);
    kb_val list = kb_val_get(container, "volumeMounts");
    struct kb_rt_mount *mounts = kb_arena_alloc(a, (kb_val_count(list) + 1) * sizeof *mounts);
    size_t n = 0;
    for (struct kb_iter it = kb_iter(list); kb_iter_next(&it); n++) {
        KB_AUTO(kb_auto_free) char *place = kb_strf("%s/%zu", spec->ref.container, n);
        if (one_mount(r, it.val, env, place, a, &mounts[n], err) < 0)
            return -err->code;
    }
    if (*r->pod_dir) {
        termination_mount(r, container, a, spec, &mounts[n]);
        mkdir(folder, 0755);
        if (kb_put_file(mounts[n].source, (kb_str){0}, 0666, err) < 0)
            return -err->code;
        n++;
    }
    spec->mounts = mounts;
    spec->n_mounts = n;
    return 0;
}

/* ---- who ---- */

/* A setting of the container's security context, else of the pod's. */
static kb_val secure(const struct kb_resolve *r, kb_val container, const char *field)
{
    kb_val own = kb_val_get(kb_val_get(container, "securityContext"), field);
    return kb_val_present(own) ? own : kb_val_get(kb_val_at(r->pod, "spec.securityContext"), field);
}

static void make_groups(const struct kb_resolve *r, struct kb_arena *a,
                        struct kb_rt_container_spec *spec)
{
    kb_val list = kb_val_at(r->pod, "spec.securityContext.supplementalGroups");
    kb_val fs = kb_val_at(r->pod, "spec.securityContext.fsGroup");
    gid_t *groups = kb_arena_alloc(a, (kb_val_count(list) + 1) * sizeof *groups);
    size_t n = 0;
    for (struct kb_iter it = kb_iter(list); kb_iter_next(&it);)
        groups[n++] = (gid_t)kb_val_int(it.val, 0);
    if (kb_val_present(fs))
        groups[n++] = (gid_t)kb_val_int(fs, 0);
    spec->groups = groups;
    spec->n_groups = n;
}

static void make_security(const struct kb_resolve *r, kb_val container, struct kb_arena *a,
                          struct kb_rt_container_spec *spec)
{
    kb_val own = kb_val_get(container, "securityContext");
    kb_val escalation = kb_val_get(own, "allowPrivilegeEscalation");
    kb_val seccomp = secure(r, container, "seccompProfile");
    spec->uid = kb_val_int(secure(r, container, "runAsUser"), KB_RT_UNSET);
    spec->gid = kb_val_int(secure(r, container, "runAsGroup"), KB_RT_UNSET);
    spec->run_as_non_root = kb_val_bool(secure(r, container, "runAsNonRoot"), false);
    spec->privileged = kb_val_bool_at(own, "privileged", false);
    spec->read_only_rootfs = kb_val_bool_at(own, "readOnlyRootFilesystem", false);
    spec->no_new_privileges = kb_val_present(escalation) && !kb_val_bool(escalation, true);
    spec->seccomp_default = kb_str_is(kb_val_str_at(seccomp, "type"), "RuntimeDefault");
    spec->cap_add = texts(kb_val_at(own, "capabilities.add"), a);
    spec->cap_drop = texts(kb_val_at(own, "capabilities.drop"), a);
    spec->host_pid = kb_val_bool_at(r->pod, "spec.hostPID", false);
    make_groups(r, a, spec);
}

int kb_resolve_oom_score(kb_val pod, kb_val container, int64_t node_memory)
{
    const char *qos = kb_pod_qos(pod);
    int64_t request = kb_val_quantity(kb_val_at(container, "resources.requests.memory"), 0);
    if (strcmp(qos, "Guaranteed") == 0)
        return -997;
    if (strcmp(qos, "BestEffort") == 0)
        return 1000;
    int64_t score = node_memory > 0 ? 1000 - 1000 * request / node_memory : 999;
    return score < 3 ? 3 : score > 999 ? 999 : (int)score;
}

int kb_resolve_container(const struct kb_resolve *r, kb_val container, struct kb_arena *a,
                         struct kb_rt_container_spec *spec, struct kb_err *err)
{
    struct env env = {.a = a};
    kb_str cwd = kb_val_str_at(container, "workingDir");
    kb_val resources = kb_val_get(container, "resources");
    spec->pod_name = kb_arena_str(a, kb_meta_name(r->pod)).p;
    spec->pod_ns = kb_arena_str(a, kb_meta_ns(r->pod)).p;
    spec->image = kb_arena_str(a, kb_val_str_at(container, "image")).p;
    if (make_env(r, container, &env, err) < 0)
        return -err->code;
    spec->env = env.v;
    spec->argv = expand_list(kb_val_get(container, "command"), env.v, a);
    spec->args = expand_list(kb_val_get(container, "args"), env.v, a);
    spec->cwd = cwd.n ? kb_arena_str(a, cwd).p : NULL;
    spec->tty = kb_val_bool_at(container, "tty", false);
    spec->with_stdin = kb_val_bool_at(container, "stdin", false);
    spec->stdin_once = kb_val_bool_at(container, "stdinOnce", false);
    spec->cpu_milli_request = kb_val_milli(kb_val_at(resources, "requests.cpu"), 0);
    spec->cpu_milli_limit = kb_val_milli(kb_val_at(resources, "limits.cpu"), 0);
    spec->memory_limit = kb_val_quantity(kb_val_at(resources, "limits.memory"), 0);
    spec->oom_score_adj = kb_resolve_oom_score(r->pod, container, r->node_memory);
    make_security(r, container, a, spec);
    return make_mounts(r, container, env.v, a, spec, err);
}

/* ---- the sandbox ---- */

static void add_words(struct kb_buf *out, const char *key, kb_val list, kb_str extra)
{
    if (kb_val_count(list) == 0 && extra.n == 0)
        return;
    kb_buf_puts(out, key);
    if (extra.n)
        kb_buf_printf(out, " " KB_STR_FMT, KB_STR_ARG(extra));
    for (struct kb_iter it = kb_iter(list); kb_iter_next(&it);)
        kb_buf_printf(out, " " KB_STR_FMT, KB_STR_ARG(kb_val_str(it.val)));
    kb_buf_putc(out, '\n');
}

static void add_options(struct kb_buf *out, kb_val list, const char *first)
{
    if (kb_val_count(list) == 0 && *first == '\0')
        return;
    kb_buf_printf(out, "options%s%s", *first ? " " : "", first);
    for (struct kb_iter it = kb_iter(list); kb_iter_next(&it);) {
        kb_str value = kb_val_str_at(it.val, "value");
        kb_buf_printf(out, " " KB_STR_FMT "%s" KB_STR_FMT,
                      KB_STR_ARG(kb_val_str_at(it.val, "name")), value.n ? ":" : "",
                      KB_STR_ARG(value));
    }
    kb_buf_putc(out, '\n');
}

static const char *resolv_conf(const struct kb_resolve *r, struct kb_arena *a)
{
    KB_AUTO(kb_buf_finish) struct kb_buf out = {0}, host = {0};
    kb_val config = kb_val_at(r->pod, "spec.dnsConfig");
    kb_str policy = kb_val_str_at(r->pod, "spec.dnsPolicy");
    bool host_net = kb_val_bool_at(r->pod, "spec.hostNetwork", false);
    bool cluster = r->cluster_dns != NULL &&
                   (kb_str_is(policy, "ClusterFirstWithHostNet") ||
                    ((kb_str_is(policy, "ClusterFirst") || policy.n == 0) && !host_net));
    kb_str ns = kb_meta_ns(r->pod), search = {0};
    if (cluster) {
        kb_buf_printf(&out, "nameserver %s\n", r->cluster_dns);
        search = kb_arena_printf(a, KB_STR_FMT ".svc.%s svc.%s %s", KB_STR_ARG(ns),
                                 r->cluster_domain, r->cluster_domain, r->cluster_domain);
    } else if (!kb_str_is(policy, "None")) {
        kb_buf_add_str(&out, kb_get_file("/etc/resolv.conf", &host));
        if (out.n > 0 && out.p[out.n - 1] != '\n')
            kb_buf_putc(&out, '\n');
    }
    for (struct kb_iter it = kb_iter(kb_val_get(config, "nameservers")); kb_iter_next(&it);)
        kb_buf_printf(&out, "nameserver " KB_STR_FMT "\n", KB_STR_ARG(kb_val_str(it.val)));
    add_words(&out, "search", kb_val_get(config, "searches"), search);
    add_options(&out, kb_val_get(config, "options"), cluster ? "ndots:5" : "");
    return kb_arena_str(a, kb_buf_str(&out)).p;
}

static const char *host_aliases(const struct kb_resolve *r, struct kb_arena *a)
{
    KB_AUTO(kb_buf_finish) struct kb_buf out = {0};
    kb_val list = kb_val_at(r->pod, "spec.hostAliases");
    if (kb_val_count(list) == 0)
        return NULL;
    kb_buf_puts(&out, "\n# Entries added by HostAliases.\n");
    for (struct kb_iter it = kb_iter(list); kb_iter_next(&it);) {
        kb_buf_add_str(&out, kb_val_str_at(it.val, "ip"));
        for (struct kb_iter h = kb_iter(kb_val_get(it.val, "hostnames")); kb_iter_next(&h);)
            kb_buf_printf(&out, "\t" KB_STR_FMT, KB_STR_ARG(kb_val_str(h.val)));
        kb_buf_putc(&out, '\n');
    }
    return kb_arena_str(a, kb_buf_str(&out)).p;
}

static const char *const *sysctls(kb_val pod, struct kb_arena *a)
{
    kb_val list = kb_val_at(pod, "spec.securityContext.sysctls");
    const char **out = kb_arena_alloc(a, (kb_val_count(list) + 1) * sizeof *out);
    size_t n = 0;
    for (struct kb_iter it = kb_iter(list); kb_iter_next(&it);)
        out[n++] =
            kb_arena_printf(a, KB_STR_FMT "=" KB_STR_FMT, KB_STR_ARG(kb_val_str_at(it.val, "name")),
                            KB_STR_ARG(kb_val_str_at(it.val, "value")))
                .p;
    out[n] = NULL;
    return out;
}

/* Sums over the regular containers; a limit counts for the pod only when each of them has one. */
static void pod_resources(kb_val pod, struct kb_rt_sandbox_spec *spec)
{
    bool all_cpu = true, all_memory = true;
    for (struct kb_iter it = kb_iter(kb_val_at(pod, "spec.containers")); kb_iter_next(&it);) {
        kb_val limits = kb_val_at(it.val, "resources.limits");
        int64_t cpu = kb_val_milli(kb_val_get(limits, "cpu"), 0);
        int64_t memory = kb_val_quantity(kb_val_get(limits, "memory"), 0);
        spec->cpu_milli_request += kb_val_milli(kb_val_at(it.val, "resources.requests.cpu"), 0);
        spec->cpu_milli_limit += cpu;
        spec->memory_limit += memory;
        all_cpu &= cpu > 0;
        all_memory &= memory > 0;
    }
    if (!all_cpu || kb_val_count(kb_val_at(pod, "spec.initContainers")) > 0)
        spec->cpu_milli_limit = 0;
    if (!all_memory || kb_val_count(kb_val_at(pod, "spec.initContainers")) > 0)
        spec->memory_limit = 0;
}

/* "db-0.db.shop.svc.cluster.local", of a pod with a subdomain; else NULL. */
static const char *full_name(const struct kb_resolve *r, kb_str hostname, struct kb_arena *a)
{
    kb_str sub = kb_val_str_at(r->pod, "spec.subdomain");
    return sub.n == 0 ? NULL
                      : kb_arena_printf(a, KB_STR_FMT "." KB_STR_FMT "." KB_STR_FMT ".svc.%s",
                                        KB_STR_ARG(hostname), KB_STR_ARG(sub),
                                        KB_STR_ARG(kb_meta_ns(r->pod)), r->cluster_domain)
                            .p;
}

void kb_resolve_sandbox(const struct kb_resolve *r, struct kb_arena *a,
                        struct kb_rt_sandbox_spec *spec)
{
    kb_str hostname = kb_val_str_at(r->pod, "spec.hostname");
    if (hostname.n == 0)
        hostname = kb_meta_name(r->pod);
    while (hostname.n > 63 || (hostname.n > 0 && hostname.p[hostname.n - 1] == '-'))
        hostname.n--;
    const char *full = full_name(r, hostname, a);
    if (full != NULL && strlen(full) <= HOST_NAME_MAX &&
        kb_val_bool_at(r->pod, "spec.setHostnameAsFQDN", false))
        hostname = kb_str_of(full);
    *spec = (struct kb_rt_sandbox_spec){
        .uid = kb_arena_str(a, kb_meta_uid(r->pod)).p,
        .ns = kb_arena_str(a, kb_meta_ns(r->pod)).p,
        .name = kb_arena_str(a, kb_meta_name(r->pod)).p,
        .hostname = kb_arena_str(a, hostname).p,
        .full_name = full,
        .resolv_conf = resolv_conf(r, a),
        .hosts_extra = host_aliases(r, a),
        .host_network = kb_val_bool_at(r->pod, "spec.hostNetwork", false),
        .host_ipc = kb_val_bool_at(r->pod, "spec.hostIPC", false),
        .host_pid = kb_val_bool_at(r->pod, "spec.hostPID", false),
        .share_pid = kb_val_bool_at(r->pod, "spec.shareProcessNamespace", false),
        .sysctls = sysctls(r->pod, a)};
    pod_resources(r->pod, spec);
}

/* ---- what else is needed ---- */

static void volume_refs(kb_val volume, kb_resolve_ref_fn *fn, void *arg)
{
    kb_val config = kb_val_get(volume, "configMap"), secret = kb_val_get(volume, "secret");
    if (kb_val_present(config))
        fn(arg, "configmaps", kb_val_str_at(config, "name"), true);
    if (kb_val_present(secret))
        fn(arg, "secrets", kb_val_str_at(secret, "secretName"), true);
    for (struct kb_iter it = kb_iter(kb_val_at(volume, "projected.sources")); kb_iter_next(&it);) {
        kb_val c = kb_val_get(it.val, "configMap"), s = kb_val_get(it.val, "secret");
        if (kb_val_present(c))
            fn(arg, "configmaps", kb_val_str_at(c, "name"), true);
        if (kb_val_present(s))
            fn(arg, "secrets", kb_val_str_at(s, "name"), true);
    }
}

static void container_refs(kb_val container, kb_resolve_ref_fn *fn, void *arg)
{
    for (struct kb_iter it = kb_iter(kb_val_get(container, "envFrom")); kb_iter_next(&it);) {
        kb_str c = kb_val_str_at(it.val, "configMapRef.name");
        kb_str s = kb_val_str_at(it.val, "secretRef.name");
        if (c.n)
            fn(arg, "configmaps", c, false);
        if (s.n)
            fn(arg, "secrets", s, false);
    }
    for (struct kb_iter it = kb_iter(kb_val_get(container, "env")); kb_iter_next(&it);) {
        kb_str c = kb_val_str_at(it.val, "valueFrom.configMapKeyRef.name");
        kb_str s = kb_val_str_at(it.val, "valueFrom.secretKeyRef.name");
        if (c.n)
            fn(arg, "configmaps", c, false);
        if (s.n)
            fn(arg, "secrets", s, false);
    }
}

void kb_resolve_refs(kb_val pod, kb_resolve_ref_fn *fn, void *arg)
{
    static const char *const lists[] = {"spec.initContainers", "spec.containers",
                                        "spec.ephemeralContainers"};
    for (struct kb_iter it = kb_iter(kb_val_at(pod, "spec.volumes")); kb_iter_next(&it);)
        volume_refs(it.val, fn, arg);
    for (size_t k = 0; k < KB_COUNT(lists); k++)
        for (struct kb_iter it = kb_iter(kb_val_at(pod, lists[k])); kb_iter_next(&it);)
            container_refs(it.val, fn, arg);
}
