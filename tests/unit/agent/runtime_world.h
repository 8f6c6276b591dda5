/* One pod with one container through one runtime, for tests: what was heard of it, and waiting. */
#ifndef KUBUS_TESTS_UNIT_AGENT_RUNTIME_WORLD_H
#define KUBUS_TESTS_UNIT_AGENT_RUNTIME_WORLD_H

#include "agent/runtime.h"
#include "bus/base/buf.h"

#include <sys/types.h>

struct world {
    struct kb_ev *ev;
    struct kb_runtime *rt;
    struct kb_rt_options options;
    char *dir, *images, *log, *shim, *cgroup;
    int sandbox_rc, started_rc, gone_rc, exec_rc, exec_code;
    unsigned sandboxes, started, exited, gone, found, exec_done;
    char ip[16], words[512], id[128];
    enum kb_rt_state found_state;
    struct kb_rt_exit exit;
    struct kb_buf out;
    struct kb_ev_fd *out_watch;
    int out_fd;
};

/* A runtime ("oci", "process", "hollow"), in namespaces of our own for network and mounts; the
 * program `busybox` is its image. world_finish removes the pod, and checks that nothing is left. */
struct world *world_new(const char *runtime);
void world_finish(struct world *w);
/* Another agent, which adopts what it finds: after kb_runtime_destroy. */
void world_open(struct world *w, const char *runtime);

/* The sandbox of pod u-1, and a container c in it: with a program, or a script. */
void world_sandbox(struct world *w, bool share_pid);
struct kb_rt_container_spec world_spec(struct world *w, const char *const *argv);
void world_start(struct world *w, const struct kb_rt_container_spec *spec);
void world_start_sh(struct world *w, const char *script);

/* The process that holds the container. */
pid_t world_shim(struct world *w);

/* Wait for a counter, or for a text in the container's log, a minute at most. */
void world_until(struct world *w, const unsigned *counter, unsigned at_least);
void world_until_log(struct world *w, const char *want);
void world_check_log(struct world *w, const char *want);

#endif
