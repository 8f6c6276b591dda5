/* runtime.c - the calls of runtime.h, handed to the implementation. */
#include "agent/runtime_impl.h"

#include <stdlib.h>

int kb_runtime_new(const char *name, struct kb_ev *ev, const struct kb_rt_options *options,
                   const struct kb_rt_listener *listener, void *arg, struct kb_runtime **ret_rt,
                   struct kb_err *err)
{
    struct kb_runtime *rt = NULL;
    int rc;
    if (strcmp(name, "oci") == 0)
        rc = kb__runtime_oci_new(&rt, options, err);
    else if (strcmp(name, "process") == 0)
        rc = kb__runtime_process_new(&rt, options, err);
    else if (strcmp(name, "hollow") == 0)
        rc = kb__runtime_hollow_new(&rt, options, err);
    else
        return kb_err_set(err, KB_EINVAL, "no runtime '%s': oci, process or hollow", name);
    if (rc < 0)
        return kb_err_wrap(err, "runtime %s", name);
    rt->ev = ev;
    rt->options = options;
    rt->listener = listener;
    rt->arg = arg;
    *ret_rt = rt;
    return 0;
}

void kb_runtime_destroy(struct kb_runtime **rt_p)
{
    struct kb_runtime *rt = KB_STEAL(*rt_p);
    if (rt != NULL)
        rt->impl->destroy(rt);
}

const char *kb_runtime_name(const struct kb_runtime *rt)
{
    return rt->impl->name;
}

const char *kb_runtime_version(const struct kb_runtime *rt)
{
    return rt->version;
}

int kb_runtime_adopt(struct kb_runtime *rt, kb_rt_found_fn *found, void *arg, struct kb_err *err)
{
    return rt->impl->adopt(rt, found, arg, err);
}

bool kb_runtime_look(struct kb_runtime *rt, const struct kb_rt_ref *ref,
                     struct kb_rt_container_info *ret_info)
{
    return rt->impl->look != NULL && rt->impl->look(rt, ref, ret_info);
}

void kb_runtime_sandbox(struct kb_runtime *rt, const struct kb_rt_sandbox_spec *spec)
{
    rt->impl->sandbox(rt, spec);
}

void kb_runtime_start(struct kb_runtime *rt, const struct kb_rt_container_spec *spec)
{
    rt->impl->start(rt, spec);
}

int kb_runtime_signal(struct kb_runtime *rt, const struct kb_rt_ref *ref, int signal)
{
    return rt->impl->signal(rt, ref, signal);
}

void kb_runtime_remove(struct kb_runtime *rt, const struct kb_rt_ref *ref)
{
    rt->impl->remove(rt, ref);
}

void kb_runtime_remove_pod(struct kb_runtime *rt, const char *uid)
{
    rt->impl->remove_pod(rt, uid);
}

void kb_runtime_wipe(struct kb_runtime *rt)
{
    if (rt->impl->wipe != NULL)
        rt->impl->wipe(rt);
}

char *kb_runtime_pod_dir(struct kb_runtime *rt, const char *uid)
{
    return rt->impl->pod_dir(rt, uid);
}

pid_t kb_runtime_pid(struct kb_runtime *rt, const struct kb_rt_ref *ref)
{
    return rt->impl->pid != NULL ? rt->impl->pid(rt, ref) : 0;
}

struct kb_rt_exec *kb_runtime_exec(struct kb_runtime *rt, const struct kb_rt_exec_spec *spec,
                                   const struct kb_rt_exec_handlers *handlers, void *arg)
{
    return rt->impl->exec(rt, spec, handlers, arg);
}

struct kb_rt_exec *kb_runtime_attach(struct kb_runtime *rt, const struct kb_rt_exec_spec *spec,
                                     const struct kb_rt_exec_handlers *handlers, void *arg)
{
    return rt->impl->attach(rt, spec, handlers, arg);
}

void kb_rt_exec_close_stdin(struct kb_rt_exec *exec)
{
    exec->impl->close_stdin(exec);
}

void kb_rt_exec_resize(struct kb_rt_exec *exec, uint16_t rows, uint16_t cols)
{
    exec->impl->resize(exec, rows, cols);
}

void kb_rt_exec_destroy(struct kb_rt_exec **exec_p)
{
    struct kb_rt_exec *exec = KB_STEAL(*exec_p);
    if (exec != NULL)
        exec->impl->destroy(exec);
}
