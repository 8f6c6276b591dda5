/* What runs containers: an OCI runtime, plain processes, or only a pretence of them.
 *
 * Users call this header; implementers fill the table in agent/runtime_impl.h. Everything that
 * may take time is asked for here and answered through the listener, from the loop, never from
 * inside the call. Every request about one pod is carried out in the order it was made.
 *
 * A container is named by (pod uid, name, attempt), a sandbox by the pod's uid. Requests are
 * idempotent: what exists already is adopted, never made a second time, also across a restart of
 * the agent. */
#ifndef KUBUS_AGENT_RUNTIME_H
#define KUBUS_AGENT_RUNTIME_H

#include "agent/ev.h"
#include "bus/base/err.h"
#include "bus/base/str.h"

#include <sys/types.h>

struct kb_runtime;

/* ---- what is asked for ---- */

struct kb_rt_ref {
    const char *uid;       /* of the pod */
    const char *container; /* its name */
    unsigned attempt;      /* 0, 1, 2 … : each restart is a container of its own */
};

/* All texts and arrays are borrowed for the duration of the call only. */
struct kb_rt_sandbox_spec {
    const char *uid, *ns, *name;
    const char *hostname;
    const char *full_name;   /* with its domain, for /etc/hosts; may be NULL */
    const char *resolv_conf; /* whole files' text; NULL: none is made */
    const char *hosts_extra; /* lines after the standard ones of /etc/hosts; may be NULL */
    bool host_network, host_ipc, host_pid, share_pid;
    int64_t cpu_milli_request, cpu_milli_limit, memory_limit; /* of the whole pod; 0: none */
    const char *const *sysctls; /* "name=value", NULL-terminated; may be NULL */
};

enum kb_rt_mount_kind { KB_RT_BIND, KB_RT_TMPFS };
enum kb_rt_propagation { KB_RT_PRIVATE, KB_RT_HOST_TO_CONTAINER, KB_RT_BIDIRECTIONAL };

struct kb_rt_mount {
    enum kb_rt_mount_kind kind;
    const char *source, *target;
    /* Not NULL: not the source itself is mounted but this path below it (agent/inside.h), which is
     * made when it is missing and bound to `place` when the container is started, for what stands
     * in a volume may be changed until then by who uses it. */
    const char *below, *place;
    bool read_only;
    enum kb_rt_propagation propagation;
};

enum { KB_RT_UNSET = -1 };

struct kb_rt_container_spec {
    struct kb_rt_ref ref;
    const char *pod_name, *pod_ns;
    const char *image;       /* as the pod names it */
    unsigned restarts;       /* kept for whoever adopts it */
    const char *const *argv; /* NULL: the image's */
    const char *const *args; /* NULL: the image's, unless argv is set */
    const char *const *env;  /* "NAME=value"; over the image's */
    const char *cwd;         /* NULL: the image's */
    int64_t uid, gid;        /* KB_RT_UNSET: the image's user */
    const gid_t *groups;     /* supplemental */
    size_t n_groups;
    bool run_as_non_root; /* refuse to start as user 0 */
    bool host_pid;
    const char *pid_ns; /* path of the PID namespace to join; NULL: one of its own */
    bool privileged, read_only_rootfs, no_new_privileges, tty, with_stdin, stdin_once;
    bool seccomp_default;       /* the RuntimeDefault profile */
    const char *const *cap_add; /* "NET_ADMIN", "ALL"; NULL-terminated; may be NULL */
    const char *const *cap_drop;
    const struct kb_rt_mount *mounts;
    size_t n_mounts;
    int64_t cpu_milli_request, cpu_milli_limit, memory_limit; /* 0: none */
    int oom_score_adj;
    const char *log_path; /* of the CRI log */
    int64_t log_max_bytes;
    unsigned log_max_files;
};

/* ---- what is told ---- */

struct kb_rt_sandbox_info {
    const char *ip; /* "" with host network before the node's address is put in */
    bool host_network;
};

enum kb_rt_state { KB_RT_STARTING, KB_RT_RUNNING, KB_RT_EXITED };

struct kb_rt_exit {
    int code, signal;
    bool oom;
    bool lost; /* whoever stood by it was killed: the code (137) is a guess */
    int64_t started_us, finished_us;
};

struct kb_rt_container_info {
    const char *id;       /* "crun://<64 hexadecimal digits>" */
    const char *image;    /* as it was asked for */
    const char *image_id; /* "docker.io/library/busybox@sha256:…" */
    unsigned restarts;    /* as the specification said */
    enum kb_rt_state state;
    int64_t started_us;     /* 0 while it is starting */
    struct kb_rt_exit exit; /* with KB_RT_EXITED */
};

/* Reasons that a start failed with, in kubelet's words: they become the reason of the container's
 * waiting state. */
struct kb_rt_listener {
    /* The sandbox stands (rc 0) or could not be made. */
    void (*sandbox)(void *arg, const char *uid, int rc, const struct kb_err *err,
                    const struct kb_rt_sandbox_info *info);
    /* Sandbox, all containers and everything on disk of the pod are gone. */
    void (*pod_gone)(void *arg, const char *uid, int rc, const struct kb_err *err);
    /* The container runs (rc 0, info valid), or could not be created or started. */
    void (*started)(void *arg, const struct kb_rt_ref *ref, int rc, const struct kb_err *err,
                    const struct kb_rt_container_info *info);
    void (*exited)(void *arg, const struct kb_rt_ref *ref, const struct kb_rt_exit *exit);
};

/* ---- the functions ---- */

struct kb_rt_options {
    const char *node;
    const char *dir;       /* DATA/nodes/NODE */
    const char *image_dir; /* DATA/images */
    const char *node_ip;   /* for pods without a network of their own */
    const char *shim;      /* NULL: found beside the program */
    const char *oci_path;  /* NULL: crun or runc, found in PATH */
    const char *pod_cidr;  /* "10.244.1.0/24" */
    const char *bridge;    /* NULL: a name made from `dir` */
    const char *cni_dir;   /* not NULL: networks by CNI */
    const char *cgroup; /* "kubus/n1-3f2a": the parent of all pods' groups; NULL: made from `dir` */
    kb_ms job_limit_ms; /* how long making, starting or removing may take; 0: two minutes */
    /* hollow only */
    kb_ms hollow_start_ms, hollow_stop_ms;
};

/* "oci", "process", "hollow". -KB_EINVAL for another name; -KB_EUNAVAILABLE when this machine
 * cannot (the text says what is missing). `listener` and the texts of `options` must outlive it. */
int kb_runtime_new(const char *name, struct kb_ev *ev, const struct kb_rt_options *options,
                   const struct kb_rt_listener *listener, void *arg, struct kb_runtime **ret_rt,
                   struct kb_err *err);
/* Containers run on. */
void kb_runtime_destroy(struct kb_runtime **rt_p);
const char *kb_runtime_name(const struct kb_runtime *rt);
/* "crun://1.8.1": for nodeInfo.containerRuntimeVersion. */
const char *kb_runtime_version(const struct kb_runtime *rt);

/* What an earlier agent left, each told to `found` before this returns; what is still being
 * started, or runs, is watched from now on, and the listener is told. Call once, before anything
 * else. `container` is NULL for a sandbox. */
typedef void kb_rt_found_fn(void *arg, const char *uid, const struct kb_rt_sandbox_info *sandbox,
                            const struct kb_rt_ref *ref, const struct kb_rt_container_info *info);
int kb_runtime_adopt(struct kb_runtime *rt, kb_rt_found_fn *found, void *arg, struct kb_err *err);
/* What an adopted container is like now; the texts are borrowed until its next event. False: its
 * start has failed. */
bool kb_runtime_look(struct kb_runtime *rt, const struct kb_rt_ref *ref,
                     struct kb_rt_container_info *ret_info);

void kb_runtime_sandbox(struct kb_runtime *rt, const struct kb_rt_sandbox_spec *spec);
void kb_runtime_start(struct kb_runtime *rt, const struct kb_rt_container_spec *spec);
/* Signal the container's first process. -KB_ENOTFOUND when it does not run. */
int kb_runtime_signal(struct kb_runtime *rt, const struct kb_rt_ref *ref, int signal);
/* Forget a container that has exited: its group, root and state; its log stays. */
void kb_runtime_remove(struct kb_runtime *rt, const struct kb_rt_ref *ref);
/* Kill what still runs and remove the pod whole, its logs and folder as well. */
void kb_runtime_remove_pod(struct kb_runtime *rt, const char *uid);
/* Remove what belongs to the node and not to a pod: bridge, groups. When no pod is left. */
void kb_runtime_wipe(struct kb_runtime *rt);
/* The pod's folder, made when missing ("" for hollow): volumes go there. Caller frees. */
char *kb_runtime_pod_dir(struct kb_runtime *rt, const char *uid);
/* The pid of a running container in the agent's eyes, for probes by namespace; 0 when unknown. */
pid_t kb_runtime_pid(struct kb_runtime *rt, const struct kb_rt_ref *ref);

/* ---- exec ---- */

struct kb_rt_exec;

struct kb_rt_exec_spec {
    struct kb_rt_ref ref;
    const char *const *argv;
    bool tty, with_stdin;
    uint16_t rows, cols; /* of the terminal; 0: default */
};

/* Our ends of the streams, not blocking; -1: none. With a tty all output comes on `out`, input goes
 * to the same descriptor. They belong to the exec: do not close them, except by
 * kb_rt_exec_close_stdin(). */
struct kb_rt_exec_io {
    int in, out, err;
};

struct kb_rt_exec_handlers {
    void (*ready)(void *arg, const struct kb_rt_exec_io *io);
    /* The process has ended, or never began (rc < 0). Output may still wait in the descriptors. */
    void (*done)(void *arg, int rc, const struct kb_err *err, int exit_code);
};

/* Run a program in a running container. Never NULL: failures come by done(). Destroying it kills
 * the program. */
struct kb_rt_exec *kb_runtime_exec(struct kb_runtime *rt, const struct kb_rt_exec_spec *spec,
                                   const struct kb_rt_exec_handlers *handlers, void *arg);
/* The streams of the container's own program: its output from now on, and its input when it has one
 * (`argv` is not used). It ends, with 0, when the container ends; destroying it harms nothing.
 * Whoever reads too slowly loses it. */
struct kb_rt_exec *kb_runtime_attach(struct kb_runtime *rt, const struct kb_rt_exec_spec *spec,
                                     const struct kb_rt_exec_handlers *handlers, void *arg);
void kb_rt_exec_close_stdin(struct kb_rt_exec *exec);
void kb_rt_exec_resize(struct kb_rt_exec *exec, uint16_t rows, uint16_t cols);
void kb_rt_exec_destroy(struct kb_rt_exec **exec_p);

#endif
