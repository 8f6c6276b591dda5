/* What the runtimes that stand containers behind shims have in common: `oci` and `process`. Private
 * to runtime_*.c.
 *
 *     DIR/pods/UID/sandbox/              agent/sandbox.h
 *     DIR/pods/UID/volumes/, logs/       the agent's
 *     DIR/pods/UID/containers/NAME/N/    one container:
 *         lock      locked as long as its shim (or the job that becomes it) lives
 *         shim      "PID STARTTIME" of the shim
 *         meta      id=, image=, image_id=, shared=, restarts=  written before anything is started
 *         started   "PID MICROSECONDS", by the shim
 *         exit      by the shim, or by an agent that found the shim dead
 *         stdin     a FIFO, of a container that has input
 *         attach.sock  the shim's, for those who attach (shim/shim.c)
 *     DIR/pods/.UID.lock                 locked by the job that makes or removes the sandbox */
#ifndef KUBUS_AGENT_RUNTIME_SHIM_H
#define KUBUS_AGENT_RUNTIME_SHIM_H

#include "agent/cgroup.h"
#include "agent/job.h"
#include "agent/net/podnet.h"
#include "agent/runtime_impl.h"
#include "bus/base/map.h"

struct kb_shim_rt {
    struct kb_runtime base;
    bool oci, is_crun;
    kb_ms job_limit_ms;
    char *dir, *image_dir; /* absolute */
    char *shim;            /* the program */
    char *oci_path, *oci_root;
    char *cgroup; /* parent of all pods' groups */
    char *bridge, *ipam_dir;
    struct kb_cgroups cgroups;
    struct kb_podnet net;
    struct kb_map boxes; /* "uid/name/attempt" → struct kb_box */
    struct kb_map pods;  /* uid → struct shim_pod */
    unsigned exec_seq;
};

/* A container. */
struct kb_box {
    struct kb_shim_rt *rt;
    char *key, *uid, *name, *dir;
    unsigned attempt, restarts;
    char id[65], full_id[128];
    char *image, *image_id;
    enum kb_rt_state state;
    bool shared, dead, started_told;
    pid_t pid;
    int pid_fd;  /* of the container's first process */
    int shim_fd; /* of an adopted shim */
    int inotify_fd;
    struct kb_ev_fd *shim_watch, *inotify_watch;
    struct kb_job *job;
    int64_t started_us;
    struct kb_rt_exit exit;
    const struct kb_rt_container_spec *spec; /* only while its job is forked */
};

/* runtime_shim.c */
int kb__shim_rt_new(const struct kb_runtime_impl *impl, bool oci,
                    const struct kb_rt_options *options, struct kb_shim_rt **ret_rt,
                    struct kb_err *err);
struct kb_box *kb__shim_box(struct kb_shim_rt *rt, const struct kb_rt_ref *ref);
/* Something is under way in the pod: it is not removed before that is done. */
void kb__shim_pod_busy(struct kb_shim_rt *rt, const char *uid);
void kb__shim_pod_done(struct kb_shim_rt *rt, const char *uid);
char *kb__shim_pod_dir(const struct kb_shim_rt *rt, const char *uid);
char *kb__shim_pod_cgroup(const struct kb_shim_rt *rt, const char *uid);
extern const struct kb_runtime_impl kb__shim_impl_oci, kb__shim_impl_process;

/* shim_start.c: in a job's child; does not return on success (it has become the shim). */
int kb__shim_start_child(void *box, struct kb_buf *out, struct kb_err *err);
/* Those of `n` mounts that are of something below their source, bound to their place (without root
 * only looked up), which becomes the source. -KB_EFORBIDDEN: it leads out. May hang with a volume.
 */
int kb__shim_sub_paths(struct kb_rt_mount *mounts, size_t n, struct kb_err *err);

/* shim_adopt.c */
int kb__shim_adopt(struct kb_runtime *base, kb_rt_found_fn *found, void *arg, struct kb_err *err);
/* What the files of a container's folder say. */
bool kb__shim_read_exit(const char *dir, struct kb_rt_exit *ret);
bool kb__shim_read_started(const char *dir, pid_t *ret_pid, int64_t *ret_us);
void kb__shim_read_meta(struct kb_box *box);
/* The texts in them. False: not whole, as after a full disk: then it is as if it were not there. */
bool kb__shim_parse_exit(kb_str text, struct kb_rt_exit *ret);
bool kb__shim_parse_started(kb_str text, pid_t *ret_pid, int64_t *ret_us);
/* Used by both: a container that was found; its start and its end. */
struct kb_box *kb__shim_box_new(struct kb_shim_rt *rt, const struct kb_rt_ref *ref);
void kb__shim_box_free(struct kb_box *box);
void kb__shim_box_started(struct kb_box *box, pid_t pid, int64_t started_us, bool tell);
void kb__shim_box_failed(struct kb_box *box, int rc, const struct kb_err *err);
void kb__shim_box_settle(struct kb_box *box); /* its shim is dead */
void kb__shim_box_ended(struct kb_box *box);  /* the same, and tell the listener */
void kb__shim_info(struct kb_box *box, struct kb_rt_container_info *ret); /* borrows of the box */

/* shim_exec.c */
struct kb_rt_exec *kb__shim_exec(struct kb_runtime *base, const struct kb_rt_exec_spec *spec,
                                 const struct kb_rt_exec_handlers *handlers, void *arg);

/* The same for whoever is at the other end of `socket`, which is taken: for tests. */
struct kb_rt_exec *kb__shim_exec_at(struct kb_ev *ev, int socket, bool tty,
                                    const struct kb_rt_exec_handlers *handlers, void *arg);

/* shim_attach.c */
struct kb_rt_exec *kb__shim_attach(struct kb_runtime *base, const struct kb_rt_exec_spec *spec,
                                   const struct kb_rt_exec_handlers *handlers, void *arg);

#endif
