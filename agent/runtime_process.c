/* runtime_process.c - plain processes, for machines without an OCI runtime or without root:
 * supervised, logged, restarted and probed like containers, isolated not at all. Programs are
 * looked up in the image's layers first, then on the machine; every pod has the node's address. */
#include "agent/runtime_shim.h"

#include <stdio.h>

int kb__runtime_process_new(struct kb_runtime **ret_rt, const struct kb_rt_options *options,
                            struct kb_err *err)
{
    struct kb_shim_rt *rt = NULL;
    if (kb__shim_rt_new(&kb__shim_impl_process, false, options, &rt, err) < 0)
        return -err->code;
    rt->cgroups.root = "/sys/fs/cgroup";
    snprintf(rt->base.version, sizeof rt->base.version, "process://1");
    *ret_rt = &rt->base;
    return 0;
}
