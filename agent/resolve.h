/* What the API says of a pod, turned into what a runtime needs: variables, commands, mounts, users,
 * limits. */
#ifndef KUBUS_AGENT_RESOLVE_H
#define KUBUS_AGENT_RESOLVE_H

#include "agent/runtime.h"
#include "bus/base/arena.h"
#include "bus/model/doc.h"

/* Finds another object of the pod's namespace: resource "configmaps" or "secrets". KB_NONE when it
 * does not exist. */
typedef kb_val kb_resolve_find(void *arg, const char *resource, kb_str ns, kb_str name);

struct kb_resolve {
    kb_val pod;
    const char *node, *node_ip, *pod_ip;
    const char *pod_dir;                 /* volumes lie in it */
    int64_t node_cpu_milli, node_memory; /* for limits that are not set */
    const char *cluster_dns;             /* NULL: the node's resolv.conf */
    const char *cluster_domain;
    kb_resolve_find *find;
    void *arg;
};

/* Fill *spec for `container` (an entry of spec.containers); ref, restarts, log_* are left to the
 * caller, who set them before. All texts live in `a`. -KB_EFORBIDDEN for what kubelet calls
 * CreateContainerConfigError. */
int kb_resolve_container(const struct kb_resolve *r, kb_val container, struct kb_arena *a,
                         struct kb_rt_container_spec *spec, struct kb_err *err);
void kb_resolve_sandbox(const struct kb_resolve *r, struct kb_arena *a,
                        struct kb_rt_sandbox_spec *spec);

/* Text of a fieldRef: "metadata.name", "metadata.labels['x']", "status.podIP" … False: no such
 * field. */
bool kb_resolve_field(const struct kb_resolve *r, kb_str path, struct kb_buf *out);
/* Text of a resourceFieldRef ("limits.cpu", divisor) of a container. */
bool kb_resolve_resource(const struct kb_resolve *r, kb_val ref, kb_val container,
                         struct kb_buf *out);
/* "$(NAME)" replaced from `env` ("NAME=value", NULL-terminated); "$$" is one dollar. */
const char *kb_resolve_expand(kb_str text, const char *const *env, struct kb_arena *a);
/* OOM score by quality of service, as kubelet sets it. */
int kb_resolve_oom_score(kb_val pod, kb_val container, int64_t node_memory);

/* Calls fn for each ConfigMap and Secret that the pod names. `volume`: a volume needs it before the
 * pod can start; otherwise a variable. */
typedef void kb_resolve_ref_fn(void *arg, const char *resource, kb_str name, bool volume);
void kb_resolve_refs(kb_val pod, kb_resolve_ref_fn *fn, void *arg);

#endif
