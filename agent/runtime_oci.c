/* runtime_oci.c - finding crun or runc. What they do for us is in runtime_shim.c and shim_start.c.
 *
 * crun first: a third of runc's start-up time and memory, and it starts containers with memory
 * limits that are too small for runc itself. */
#include "agent/files.h"
#include "agent/runtime_shim.h"
#include "bus/base/file.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

static char *in_path(const char *name)
{
    const char *path = getenv("PATH");
    kb_str rest = kb_str_of(path ? path : "/usr/sbin:/usr/bin:/sbin:/bin");
    while (rest.p != NULL) {
        kb_str dir = kb_str_cut(&rest, ':');
        char *full = kb_strf(KB_STR_FMT "/%s", KB_STR_ARG(dir), name);
        if (access(full, X_OK) == 0)
            return full;
        free(full);
    }
    return NULL;
}

/* "crun version 1.8.1\n…" becomes "crun://1.8.1". */
static int ask_version(struct kb_shim_rt *rt, struct kb_err *err)
{
    KB_AUTO(kb_buf_finish) struct kb_buf out = {0};
    const char *argv[] = {rt->oci_path, "--version", NULL};
    if (kb_spawn(argv, (kb_str){0}, &out, NULL, err) < 0)
        return -err->code;
    kb_str rest = kb_buf_str(&out);
    kb_str line = kb_str_cut(&rest, '\n');
    kb_str name = kb_str_cut(&line, ' ');
    kb_str_cut(&line, ' ');
    rt->is_crun = kb_str_is(name, "crun");
    snprintf(rt->base.version, sizeof rt->base.version, KB_STR_FMT "://" KB_STR_FMT,
             KB_STR_ARG(name), KB_STR_ARG(kb_str_trim(line)));
    return 0;
}

int kb__runtime_oci_new(struct kb_runtime **ret_rt, const struct kb_rt_options *options,
                        struct kb_err *err)
{
    struct kb_shim_rt *rt = NULL;
    if (geteuid() != 0)
        return kb_err_set(err, KB_EUNAVAILABLE, "containers need root");
    if (kb__shim_rt_new(&kb__shim_impl_oci, true, options, &rt, err) < 0)
        return -err->code;
    rt->oci_path = options->oci_path ? kb_str_dup(kb_str_of(options->oci_path)) : in_path("crun");
    if (rt->oci_path == NULL)
        rt->oci_path = in_path("runc");
    rt->oci_root = kb_strf("%s/oci", rt->dir);
    kb_cgroups_probe(&rt->cgroups, "/sys/fs/cgroup");
    if (rt->oci_path == NULL)
        kb_err_set(err, KB_EUNAVAILABLE, "neither crun nor runc is installed");
    if (rt->oci_path == NULL || kb_dir_make(rt->oci_root, 0700, err) < 0 ||
        ask_version(rt, err) < 0) {
        rt->base.impl->destroy(&rt->base);
        return -err->code;
    }
    *ret_rt = &rt->base;
    return 0;
}
