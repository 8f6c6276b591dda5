/* rules_container.c - rules over one container: what it mounts, asks for, and is asked. */
#include "actors/api/logic/rules_impl.h"

#include "bus/base/map.h"
#include "bus/model/quantity.h"

#include <inttypes.h>

/* ---- fields of the pod, in variables and files ---- */

/* metadata.labels['key'] or metadata.annotations['key'] */
static bool is_subscripted(kb_str path)
{
    return (kb_str_starts(path, "metadata.labels['") ||
            kb_str_starts(path, "metadata.annotations['")) &&
           kb_str_ends(path, "']");
}

static bool is_one_of(kb_str text, const char *const *list, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (kb_str_is(text, list[i]))
            return true;
    return false;
}

static void add_not_supported(struct kb_causes *causes, const struct kb_at *at, kb_str bad,
                              const char *const *list, size_t n)
{
    KB_AUTO(kb_buf_finish) struct kb_buf text = {0};
    for (size_t i = 0; i < n; i++)
        kb_buf_printf(&text, "%s\"%s\"", i ? ", " : "", list[i]);
    kb_causes_add_str(causes, KB_CAUSE_NOT_SUPPORTED, at, bad, "supported values: %s", text.p);
}

void kb__rules_field_ref(const struct kb_node *ref, bool in_volume, const struct kb_at *at,
                         struct kb_causes *causes)
{
    static const char *const in_env[] = {"metadata.name",
                                         "metadata.namespace",
                                         "metadata.uid",
                                         "spec.nodeName",
                                         "spec.serviceAccountName",
                                         "status.hostIP",
                                         "status.hostIPs",
                                         "status.podIP",
                                         "status.podIPs"};
    static const char *const in_file[] = {"metadata.annotations", "metadata.labels",
                                          "metadata.name", "metadata.namespace", "metadata.uid"};
    const char *const *list = in_volume ? in_file : in_env;
    size_t n = in_volume ? KB_COUNT(in_file) : KB_COUNT(in_env);
    kb_str path = kb__text(ref, "fieldPath");
    struct kb_at here = kb_at_field(at, "fieldPath");
    if (path.n > 0 && !is_subscripted(path) && !is_one_of(path, list, n))
        add_not_supported(causes, &here, path, list, n);
}

void kb__rules_resource_ref(const struct kb_node *ref, bool in_volume, const struct kb_at *at,
                            struct kb_causes *causes)
{
    static const char *const list[] = {
        "limits.cpu",   "limits.ephemeral-storage",   "limits.memory",
        "requests.cpu", "requests.ephemeral-storage", "requests.memory"};
    kb_str resource = kb__text(ref, "resource");
    struct kb_at here = kb_at_field(at, "resource");
    if (in_volume && !kb__set(ref, "containerName"))
        KB__WRONG(causes, REQUIRED, at, "containerName", NULL);
    if (resource.n > 0 && !is_one_of(resource, list, KB_COUNT(list)) &&
        !kb_str_starts(resource, "limits.hugepages-") &&
        !kb_str_starts(resource, "requests.hugepages-"))
        add_not_supported(causes, &here, resource, list, KB_COUNT(list));
}

static void env(const struct kb_node *list, const struct kb_at *at, struct kb_causes *causes)
{
    for (uint32_t i = 0; i < kb__count(list); i++) {
        const struct kb_node *from = kb_node_get(kb__item(list, i), "valueFrom");
        struct kb_at item = kb_at_index(at, i), here = kb_at_field(&item, "valueFrom");
        struct kb_at field = kb_at_field(&here, "fieldRef");
        struct kb_at resource = kb_at_field(&here, "resourceFieldRef");
        if (kb__set(from, "fieldRef"))
            kb__rules_field_ref(kb_node_get(from, "fieldRef"), false, &field, causes);
        if (kb__set(from, "resourceFieldRef"))
            kb__rules_resource_ref(kb_node_get(from, "resourceFieldRef"), false, &resource, causes);
    }
}

/* ---- mounts ---- */

static bool is_privileged(const struct kb_node *container)
{
    return kb_node_true(kb_node_get(kb_node_get(container, "securityContext"), "privileged"));
}

/* Two ways to say which part of the volume, and one mount at a path. */
static void mount_paths(const struct kb_node *mount, struct kb_map *taken, const struct kb_at *at,
                        struct kb_causes *causes)
{
    kb_str path = kb__text(mount, "mountPath");
    if (path.n > 0 && kb_map_put(taken, path, taken) != NULL)
        KB__BAD(causes, INVALID, at, mount, "mountPath", "must be unique");
    if (kb__set(mount, "subPath") && kb__set(mount, "subPathExpr"))
        KB__BAD(causes, INVALID, at, mount, "subPathExpr",
                "subPathExpr and subPath are mutually exclusive");
}

static void mount_rules(const struct kb_node *mount, const struct kb_node *c,
                        const struct kb_at *at, struct kb_causes *causes)
{
    kb_str recursive = kb__text(mount, "recursiveReadOnly");
    kb_str path = kb__text(mount, "mountPath");
    if (kb_str_has(path, ':'))
        KB__BAD(causes, INVALID, at, mount, "mountPath", "must not contain ':'");
    if (kb__find(kb_node_get(c, "volumeDevices"), "devicePath", path) != NULL)
        KB__BAD(causes, INVALID, at, mount, "mountPath",
                "must not already exist as a path in volumeDevices");
    if (kb__is(mount, "mountPropagation", "Bidirectional") && !is_privileged(c))
        KB__WRONG(causes, FORBIDDEN, at, "mountPropagation",
                  "Bidirectional mount propagation is available only to privileged containers");
    if (recursive.n == 0 || kb_str_is(recursive, "Disabled"))
        return;
    if (!kb_node_true(kb_node_get(mount, "readOnly")))
        KB__WRONG(causes, FORBIDDEN, at, "recursiveReadOnly",
                  "may only be specified when readOnly is true");
    if (kb__set(mount, "mountPropagation") && !kb__is(mount, "mountPropagation", "None"))
        KB__WRONG(causes, FORBIDDEN, at, "recursiveReadOnly",
                  "may only be specified when mountPropagation is None or not specified");
}

static void mounts(const struct kb_node *c, const struct kb_node *spec, bool ephemeral,
                   const struct kb_at *at, struct kb_causes *causes)
{
    const struct kb_node *volumes = kb_node_get(spec, "volumes");
    const struct kb_node *list = kb_node_get(c, "volumeMounts");
    struct kb_at where = kb_at_field(at, "volumeMounts");
    KB_AUTO(kb_map_finish) struct kb_map taken = {0};
    for (uint32_t i = 0; i < kb__count(list); i++) {
        const struct kb_node *mount = kb__item(list, i);
        struct kb_at here = kb_at_index(&where, i);
        kb_str name = kb__text(mount, "name");
        if (name.n > 0 && kb__find(volumes, "name", name) == NULL)
            KB__BAD(causes, NOT_FOUND, &here, mount, "name", NULL);
        mount_paths(mount, &taken, &here, causes);
        mount_rules(mount, c, &here, causes);
        static const char *const paths[] = {"subPath", "subPathExpr"};
        for (size_t p = 0; ephemeral && p < KB_COUNT(paths); p++)
            if (kb__set(mount, paths[p]))
                KB__WRONG(causes, FORBIDDEN, &here, paths[p],
                          "cannot be set for an Ephemeral Container");
    }
    list = kb_node_get(c, "volumeDevices");
    where = kb_at_field(at, "volumeDevices");
    for (uint32_t i = 0; i < kb__count(list); i++) {
        const struct kb_node *device = kb__item(list, i);
        struct kb_at here = kb_at_index(&where, i);
        const struct kb_node *volume = kb__find(volumes, "name", kb__text(device, "name"));
        if (kb__set(device, "name") && volume == NULL)
            KB__BAD(causes, NOT_FOUND, &here, device, "name", NULL);
        else if (volume != NULL && kb_node_get(volume, "persistentVolumeClaim") == NULL &&
                 kb_node_get(volume, "ephemeral") == NULL)
            KB__BAD(causes, INVALID, &here, device, "name",
                    "can only use volume source type of PersistentVolumeClaim or Ephemeral for "
                    "block mode");
    }
}

/* ---- resources ---- */

/* Resources of others (example.com/gpu) are counted in wholes and cannot be overcommitted. */
static bool is_extended(kb_str name)
{
    return kb_str_has(name, '/') && !kb_str_starts(name, "kubernetes.io/");
}

static void amount(kb_str name, kb_str text, const struct kb_at *at, struct kb_causes *causes)
{
    struct kb_quantity q;
    struct kb_at here = kb_at_key(at, name);
    static const char *const own[] = {"cpu", "memory", "ephemeral-storage"};
    if (!kb_str_has(name, '/') && !is_one_of(name, own, KB_COUNT(own)) &&
        !kb_str_starts(name, "hugepages-"))
        kb_causes_add_str(causes, KB_CAUSE_INVALID, &here, name,
                          "must be a standard resource for containers");
    if (kb_quantity_parse(text, &q, NULL) < 0)
        return;
    if (q.negative)
        kb_causes_add_str(causes, KB_CAUSE_INVALID, &here, text,
                          "must be greater than or equal to 0");
    if (is_extended(name) && q.nano != 0)
        kb_causes_add_str(causes, KB_CAUSE_INVALID, &here, text, "must be an integer");
}

/* A request against the limit of the same name. */
static void request(kb_str name, kb_str text, kb_str limit_text, const struct kb_at *at,
                    struct kb_causes *causes)
{
    struct kb_quantity want, limit;
    struct kb_at here = kb_at_field(at, "requests");
    bool fixed = is_extended(name) || kb_str_starts(name, "hugepages-");
    if (kb_quantity_parse(text, &want, NULL) < 0)
        return;
    if (limit_text.n == 0) {
        if (fixed)
            KB__WRONG(causes, REQUIRED, at, "limits",
                      "Limit must be set for non overcommitable resources");
        return;
    }
    if (kb_quantity_parse(limit_text, &limit, NULL) < 0)
        return;
    int order = kb_quantity_cmp(want, limit);
    if (fixed && order != 0)
        kb_causes_add_str(causes, KB_CAUSE_INVALID, &here, text,
                          "must be equal to " KB_STR_FMT " limit of " KB_STR_FMT, KB_STR_ARG(name),
                          KB_STR_ARG(limit_text));
    else if (order > 0)
        kb_causes_add_str(causes, KB_CAUSE_INVALID, &here, text,
                          "must be less than or equal to " KB_STR_FMT " limit of " KB_STR_FMT,
                          KB_STR_ARG(name), KB_STR_ARG(limit_text));
}

static void resources(const struct kb_node *r, const struct kb_node *spec, const struct kb_at *at,
                      struct kb_causes *causes)
{
    const struct kb_node *limits = kb_node_get(r, "limits"), *requests = kb_node_get(r, "requests");
    const struct kb_node *claims = kb_node_get(r, "claims");
    struct kb_at at_limits = kb_at_field(at, "limits"), at_requests = kb_at_field(at, "requests");
    struct kb_at at_claims = kb_at_field(at, "claims");
    bool huge = false, plain = false;
    for (uint32_t i = 0; i < kb__members(limits); i++) {
        kb_str name = limits->items[i].key;
        amount(name, kb_node_text(limits->items[i].val), &at_limits, causes);
        huge |= kb_str_starts(name, "hugepages-");
        plain |= kb_str_is(name, "cpu") || kb_str_is(name, "memory");
    }
    for (uint32_t i = 0; i < kb__members(requests); i++) {
        kb_str name = requests->items[i].key, text = kb_node_text(requests->items[i].val);
        amount(name, text, &at_requests, causes);
        request(name, text, kb_node_text(kb_node_getn(limits, name)), at, causes);
        plain |= kb_str_is(name, "cpu") || kb_str_is(name, "memory");
    }
    if (huge && !plain)
        kb_causes_add(causes, KB_CAUSE_FORBIDDEN, at, NULL, "HugePages require cpu or memory");
    for (uint32_t i = 0; i < kb__count(claims); i++) {
        struct kb_at here = kb_at_index(&at_claims, i);
        kb_str name = kb__text(kb__item(claims, i), "name");
        if (kb__find(kb_node_get(spec, "resourceClaims"), "name", name) == NULL)
            KB__BAD(causes, NOT_FOUND, &here, kb__item(claims, i), "name", NULL);
    }
}

/* ---- probes, hooks, security ---- */

static void probes(const struct kb_node *c, const struct kb_at *at, struct kb_causes *causes)
{
    static const char *const once[] = {"livenessProbe", "startupProbe"};
    for (size_t i = 0; i < KB_COUNT(once); i++) {
        const struct kb_node *probe = kb_node_get(c, once[i]);
        struct kb_at here = kb_at_field(at, once[i]);
        if (probe != NULL && kb__num(probe, "successThreshold", 1) != 1)
            KB__BAD(causes, INVALID, &here, probe, "successThreshold", "must be 1");
    }
    const struct kb_node *ready = kb_node_get(c, "readinessProbe");
    struct kb_at here = kb_at_field(at, "readinessProbe");
    if (kb_node_get(ready, "terminationGracePeriodSeconds") != NULL)
        KB__BAD(causes, INVALID, &here, ready, "terminationGracePeriodSeconds",
                "must not be set for readinessProbes");
}

static void hooks(const struct kb_node *c, const struct kb_node *spec, const struct kb_at *at,
                  struct kb_causes *causes)
{
    static const char *const names[] = {"postStart", "preStop"};
    const struct kb_node *lifecycle = kb_node_get(c, "lifecycle");
    int64_t grace = kb__num(spec, "terminationGracePeriodSeconds", 30);
    struct kb_at where = kb_at_field(at, "lifecycle");
    for (size_t i = 0; i < KB_COUNT(names); i++) {
        const struct kb_node *sleep = kb_node_get(kb_node_get(lifecycle, names[i]), "sleep");
        struct kb_at hook = kb_at_field(&where, names[i]), here = kb_at_field(&hook, "sleep");
        int64_t seconds = kb__num(sleep, "seconds", 0);
        if (sleep != NULL && (seconds <= 0 || seconds > grace))
            kb_causes_add(causes, KB_CAUSE_INVALID, &here, kb_node_get(sleep, "seconds"),
                          "must be greater than 0 and less than terminationGracePeriodSeconds "
                          "(%" PRId64 "). Enable AllowPodLifecycleSleepActionZeroValue feature "
                          "gate for zero sleep.",
                          grace);
    }
}

static void security(const struct kb_node *c, const struct kb_at *at, struct kb_causes *causes)
{
    const struct kb_node *s = kb_node_get(c, "securityContext");
    const struct kb_node *escalation = kb_node_get(s, "allowPrivilegeEscalation");
    const struct kb_node *add = kb_node_get(kb_node_get(s, "capabilities"), "add");
    struct kb_at here = kb_at_field(at, "securityContext");
    if (escalation == NULL || kb_node_true(escalation))
        return;
    if (kb_node_true(kb_node_get(s, "privileged")))
        kb_causes_add(causes, KB_CAUSE_INVALID, &here, s,
                      "cannot set `allowPrivilegeEscalation` to false and `privileged` to true");
    for (uint32_t i = 0; i < kb__count(add); i++)
        if (kb_str_is(kb_node_text(kb__item(add, i)), "CAP_SYS_ADMIN"))
            kb_causes_add(causes, KB_CAUSE_INVALID, &here, s,
                          "cannot set `allowPrivilegeEscalation` to false and "
                          "`capabilities.Add` CAP_SYS_ADMIN");
}

/* Port names are unique within a container. */
static void port_names(const struct kb_node *c, const struct kb_at *at, struct kb_causes *causes)
{
    const struct kb_node *ports = kb_node_get(c, "ports");
    struct kb_at where = kb_at_field(at, "ports");
    for (uint32_t i = 0; i < kb__count(ports); i++) {
        kb_str name = kb__text(kb__item(ports, i), "name");
        struct kb_at here = kb_at_index(&where, i);
        if (name.n > 0 && kb__find(ports, "name", name) != kb__item(ports, i))
            KB__BAD(causes, DUPLICATE, &here, kb__item(ports, i), "name", NULL);
    }
}

static void forbid(const struct kb_node *c, const char *const *fields, size_t n, const char *why,
                   const struct kb_at *at, struct kb_causes *causes)
{
    for (size_t i = 0; i < n; i++)
        if (kb__set(c, fields[i]))
            KB__WRONG(causes, FORBIDDEN, at, fields[i], "%s", why);
}

/* What makes no sense for this kind of container. */
static void by_kind(const struct kb_node *c, const struct kb_node *spec,
                    enum kb__container_kind kind, const struct kb_at *at, struct kb_causes *causes)
{
    static const char *const with_life[] = {"lifecycle", "livenessProbe", "readinessProbe",
                                            "startupProbe"};
    static const char *const not_ephemeral[] = {"ports",        "livenessProbe", "readinessProbe",
                                                "startupProbe", "lifecycle",     "resources",
                                                "resizePolicy", "restartPolicy"};
    static const char *const only_init[] = {"restartPolicy"};
    if (kind == KB__MAIN)
        forbid(c, only_init, 1, "may not be set for non-init containers", at, causes);
    if (kind == KB__INIT && !kb__is(c, "restartPolicy", "Always"))
        forbid(c, with_life, KB_COUNT(with_life),
               "may not be set for init containers without restartPolicy=Always", at, causes);
    if (kind != KB__EPHEMERAL)
        return;
    forbid(c, not_ephemeral, KB_COUNT(not_ephemeral), "cannot be set for an Ephemeral Container",
           at, causes);
    kb_str target = kb__text(c, "targetContainerName");
    if (target.n > 0 && kb__find(kb_node_get(spec, "containers"), "name", target) == NULL &&
        kb__find(kb_node_get(spec, "initContainers"), "name", target) == NULL)
        KB__BAD(causes, NOT_FOUND, at, c, "targetContainerName", NULL);
}

void kb__rules_container(const struct kb_node *c, const struct kb_node *spec,
                         enum kb__container_kind kind, const struct kb_at *at,
                         struct kb_causes *causes)
{
    kb_str image = kb__text(c, "image");
    struct kb_at at_env = kb_at_field(at, "env"), at_resources = kb_at_field(at, "resources");
    if (image.n == 0)
        KB__WRONG(causes, REQUIRED, at, "image", NULL);
    else if (!kb_str_eq(image, kb_str_trim(image)))
        KB__BAD(causes, INVALID, at, c, "image", "must not have leading or trailing whitespace");
    env(kb_node_get(c, "env"), &at_env, causes);
    mounts(c, spec, kind == KB__EPHEMERAL, at, causes);
    resources(kb_node_get(c, "resources"), spec, &at_resources, causes);
    port_names(c, at, causes);
    probes(c, at, causes);
    hooks(c, spec, at, causes);
    security(c, at, causes);
    by_kind(c, spec, kind, at, causes);
}
