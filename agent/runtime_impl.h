/* For those who write a container runtime: embed `struct kb_runtime`, fill the table. */
#ifndef KUBUS_AGENT_RUNTIME_IMPL_H
#define KUBUS_AGENT_RUNTIME_IMPL_H

#include "agent/runtime.h"

/* The functions of runtime.h, one to one; all but `look`, `pid`, `wipe` are required. */
struct kb_runtime_impl {
    const char *name;
    void (*destroy)(struct kb_runtime *rt);
    int (*adopt)(struct kb_runtime *rt, kb_rt_found_fn *found, void *arg, struct kb_err *err);
    bool (*look)(struct kb_runtime *rt, const struct kb_rt_ref *ref,
                 struct kb_rt_container_info *ret_info);
    void (*sandbox)(struct kb_runtime *rt, const struct kb_rt_sandbox_spec *spec);
    void (*start)(struct kb_runtime *rt, const struct kb_rt_container_spec *spec);
    int (*signal)(struct kb_runtime *rt, const struct kb_rt_ref *ref, int signal);
    void (*remove)(struct kb_runtime *rt, const struct kb_rt_ref *ref);
    void (*remove_pod)(struct kb_runtime *rt, const char *uid);
    void (*wipe)(struct kb_runtime *rt);
    char *(*pod_dir)(struct kb_runtime *rt, const char *uid);
    pid_t (*pid)(struct kb_runtime *rt, const struct kb_rt_ref *ref);
    struct kb_rt_exec *(*exec)(struct kb_runtime *rt, const struct kb_rt_exec_spec *spec,
                               const struct kb_rt_exec_handlers *handlers, void *arg);
    struct kb_rt_exec *(*attach)(struct kb_runtime *rt, const struct kb_rt_exec_spec *spec,
                                 const struct kb_rt_exec_handlers *handlers, void *arg);
};

struct kb_runtime {
    const struct kb_runtime_impl *impl;
    struct kb_ev *ev;
    const struct kb_rt_options *options;
    const struct kb_rt_listener *listener;
    void *arg; /* of the listener */
    char version[64];
};

struct kb_rt_exec_impl {
    void (*close_stdin)(struct kb_rt_exec *exec);
    void (*resize)(struct kb_rt_exec *exec, uint16_t rows, uint16_t cols);
    void (*destroy)(struct kb_rt_exec *exec);
};

struct kb_rt_exec {
    const struct kb_rt_exec_impl *impl;
    const struct kb_rt_exec_handlers *handlers;
    void *arg;
};

/* Makers of the three that exist; as kb_runtime_new(). */
int kb__runtime_oci_new(struct kb_runtime **ret_rt, const struct kb_rt_options *options,
                        struct kb_err *err);
int kb__runtime_process_new(struct kb_runtime **ret_rt, const struct kb_rt_options *options,
                            struct kb_err *err);
int kb__runtime_hollow_new(struct kb_runtime **ret_rt, const struct kb_rt_options *options,
                           struct kb_err *err);

#endif
