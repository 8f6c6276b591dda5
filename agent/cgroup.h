/* Control groups, version 1 (also hybrid) and 2, behind one set of functions.
 *
 * A group is named by its path below the root of the hierarchies: "kubus-3fa9c1/pod<uid>/<id>". On
 * version 1 it exists in each controller that we use (cpu, cpuacct, memory, pids …); a runtime may
 * make it in more, and removal looks everywhere. */
#ifndef KUBUS_AGENT_CGROUP_H
#define KUBUS_AGENT_CGROUP_H

#include "bus/base/buf.h"
#include "bus/base/err.h"

enum kb_cgroup_mode { KB_CGROUP_NONE, KB_CGROUP_V1, KB_CGROUP_V2 };

struct kb_cgroups {
    enum kb_cgroup_mode mode;
    bool hybrid;      /* v1 with a v2 tree mounted at `unified` */
    const char *root; /* "/sys/fs/cgroup"; another folder in tests */
};

struct kb_cgroup_limits {
    int64_t cpu_shares;   /* v1 terms, 2 … 262144; 0: unset */
    int64_t cpu_quota_us; /* of every 100 ms; 0: none */
    int64_t memory_bytes; /* 0: none */
    int64_t pids;         /* 0: none */
};

/* What this machine has; NONE when nothing can be written. */
void kb_cgroups_probe(struct kb_cgroups *cgroups, const char *root);

/* Kubernetes' arithmetic: requests to shares, limits to quota. */
int64_t kb_cgroup_shares(int64_t cpu_milli);   /* 0 gives 2, the least */
int64_t kb_cgroup_quota_us(int64_t cpu_milli); /* 0 gives 0; at least 1000 */
int64_t kb_cgroup_weight(int64_t shares);      /* v2: 1 … 10000 */

/* Make the group and its parents, and set its limits. Fine when it exists. */
int kb_cgroup_make(const struct kb_cgroups *cgroups, const char *path,
                   const struct kb_cgroup_limits *limits, struct kb_err *err);
/* SIGKILL to every process in the group and below. */
void kb_cgroup_kill(const struct kb_cgroups *cgroups, const char *path);
/* Kill and remove the group and all below, in every hierarchy. Waits (at most 2 s) for the dead
 * to leave: in a job. -KB_EIO when something stays. */
int kb_cgroup_remove(const struct kb_cgroups *cgroups, const char *path, struct kb_err *err);
/* The file whose "oom_kill N" line counts kills. Caller frees; NULL without cgroups. */
char *kb_cgroup_oom_file(const struct kb_cgroups *cgroups, const char *path);

#endif
