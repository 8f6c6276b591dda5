/* A container's specification and its image into the config.json of the OCI runtime specification.
 */
#ifndef KUBUS_AGENT_OCI_CONFIG_H
#define KUBUS_AGENT_OCI_CONFIG_H

#include "agent/image/image.h"
#include "agent/runtime.h"
#include "bus/base/buf.h"

struct kb_oci_place {
    const char *rootfs;       /* mounted; users and groups are looked up in it */
    const char *sandbox;      /* folder of the pod's sandbox */
    const char *cgroups_path; /* "/kubus-3fa9c1/pod<uid>/<id>", or NULL */
    const char *hostname;     /* for the HOSTNAME variable; NULL: read from the sandbox */
    bool cgroup_v2;
    bool host_pid;
    const char *pid_ns; /* path of a PID namespace to join; NULL: the pod's, or a new one */
};

/* Append the JSON. -KB_EINVAL: an unknown user, nothing to run (kubelet: CreateContainerError);
 * -KB_EFORBIDDEN: root where root is refused (CreateContainerConfigError). */
int kb_oci_config(const struct kb_rt_container_spec *spec, const struct kb_image *image,
                  const struct kb_oci_place *place, struct kb_buf *out, struct kb_err *err);

/* The program and its arguments: NULL-terminated, in `arena`. -KB_EINVAL when there is nothing. */
int kb_oci_argv(const struct kb_rt_container_spec *spec, const struct kb_image *image,
                struct kb_arena *arena, const char ***ret_argv, struct kb_err *err);
/* The image's variables, overlaid by the container's, with PATH and HOSTNAME: NULL-terminated. */
const char **kb_oci_env(const struct kb_rt_container_spec *spec, const struct kb_image *image,
                        const char *hostname, struct kb_arena *arena);
/* What this process may set: `wanted`, or the least that a root without CAP_SYS_RESOURCE may. */
int kb_oom_score_clamp(int wanted);

/* Of a text like /etc/passwd: field `at`, a number, of the line whose field `key_at` is `key`.
 * False: there is no such line. (Here for the fuzzer.) */
bool kb__oci_lookup(kb_str text, int key_at, kb_str key, int at, int64_t *ret);

#endif
