/* agent_usage.c - pods that take more of the node's disk than they may are evicted.
 *
 * What has a limit: an emptyDir (sizeLimit; one in memory has it from its tmpfs), a container
 * (limits.ephemeral-storage: its writable layer and its logs), and the pod, when all of its
 * containers have one (those that only look around cannot): their sum, for all of that and its
 * emptyDirs. As kubelet does, it is
 * measured every ten seconds, and only where there is a limit; in a job, for trees may be large. */
#include "agent/agent_impl.h"
#include "agent/job.h"
#include "bus/model/quantity.h"

#include <errno.h>
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MEASURE_MS = 10000, MEASURE_LIMIT_MS = 60000, OPEN_FOLDERS = 16 };

/* ---- in the job ---- */

static int64_t walked_bytes;

static int add_file(const char *path, const struct stat *st, int type, struct FTW *at)
{
    (void)path, (void)type, (void)at;
    walked_bytes += (int64_t)st->st_blocks * 512;
    return 0;
}

static int64_t bytes_below(const char *folder)
{
    walked_bytes = 0;
    (void)nftw(folder, add_file, OPEN_FOLDERS, FTW_PHYS | FTW_MOUNT);
    return walked_bytes;
}

static int64_t layer_bytes(const struct kb__pod *pod, int container)
{
    const char *name = kb_pod_core_container_name(pod->core, container);
    KB_AUTO(kb_auto_free)
    char *upper = kb_strf("%s/containers/%s/%d/upper", pod->dir, name,
                          kb_pod_core_attempt(pod->core, container));
    KB_AUTO(kb_auto_free) char *logs = kb_strf("%s/logs/%s", pod->dir, name);
    return bytes_below(upper) + bytes_below(logs);
}

static int64_t storage_limit(kb_val container)
{
    return kb_val_quantity(kb_val_at(container, "resources.limits.ephemeral-storage"), 0);
}

/* The first emptyDir beyond its limit, as a message; all their bytes are added up. */
static bool volumes_exceed(const struct kb__pod *pod, int64_t *total, struct kb_buf *words)
{
    kb_val spec = kb_val_get(kb_doc_root(kb_pod_core_doc(pod->core)), "spec");
    for (struct kb_iter it = kb_iter(kb_val_get(spec, "volumes")); kb_iter_next(&it);) {
        kb_val empty = kb_val_get(it.val, "emptyDir"), limit = kb_val_get(empty, "sizeLimit");
        kb_str name = kb_val_str_at(it.val, "name");
        if (!kb_val_present(empty) || kb_str_is(kb_val_str_at(empty, "medium"), "Memory"))
            continue;
        KB_AUTO(kb_auto_free)
        char *folder = kb_strf("%s/volumes/" KB_STR_FMT, pod->dir, KB_STR_ARG(name));
        int64_t bytes = bytes_below(folder);
        *total += bytes;
        if (!kb_val_present(limit) || bytes <= kb_val_quantity(limit, 0))
            continue;
        kb_buf_printf(words,
                      "Usage of EmptyDir volume \"" KB_STR_FMT "\" exceeds the limit \"" KB_STR_FMT
                      "\". ",
                      KB_STR_ARG(name), KB_STR_ARG(kb_val_str(limit)));
        return true;
    }
    return false;
}

static bool containers_exceed(const struct kb__pod *pod, int64_t *total, int64_t *limits,
                              struct kb_buf *words)
{
    for (int i = 0; i < kb_pod_core_count(pod->core); i++) {
        kb_val container = kb_pod_core_spec(pod->core, i);
        int64_t limit = storage_limit(container), bytes = layer_bytes(pod, i);
        *total += bytes;
        if (kb_str_is(kb_str_of(kb_pod_core_list(pod->core, i)), "ephemeralContainers"))
            continue; /* it may have none */
        *limits = limit > 0 && *limits >= 0 ? *limits + limit : -1;
        if (limit <= 0 || bytes <= limit)
            continue;
        kb_buf_printf(
            words, "Container %s exceeded its local ephemeral storage limit \"" KB_STR_FMT "\". ",
            kb_pod_core_container_name(pod->core, i),
            KB_STR_ARG(kb_val_str_at(container, "resources.limits.ephemeral-storage")));
        return true;
    }
    return false;
}

/* Why the pod has to go; false: it need not. */
static bool exceeds(const struct kb__pod *pod, struct kb_buf *words)
{
    int64_t total = 0, limits = 0;
    if (volumes_exceed(pod, &total, words) || containers_exceed(pod, &total, &limits, words))
        return true;
    if (limits <= 0 || total <= limits)
        return false;
    kb_buf_printf(words,
                  "Pod ephemeral local storage usage exceeds the total limit of containers "
                  "%lld. ",
                  (long long)limits);
    return true;
}

/* ---- here ---- */

static bool has_limit(const struct kb__pod *pod)
{
    kb_val spec = kb_val_get(kb_doc_root(kb_pod_core_doc(pod->core)), "spec");
    bool runs = false, limited = false;
    for (int i = 0; i < kb_pod_core_count(pod->core); i++) {
        runs |= kb_pod_core_running(pod->core, i);
        limited |= storage_limit(kb_pod_core_spec(pod->core, i)) > 0;
    }
    for (struct kb_iter it = kb_iter(kb_val_get(spec, "volumes")); kb_iter_next(&it);)
        limited |= kb_val_present(kb_val_at(it.val, "emptyDir.sizeLimit")) &&
                   !kb_str_is(kb_val_str_at(it.val, "emptyDir.medium"), "Memory");
    return runs && limited;
}

/* "UID WORDS", one line for each pod that has to go. */
static int measure(void *arg, struct kb_buf *out, struct kb_err *err)
{
    struct kb_agent *agent = arg;
    struct kb__pod *pod;
    (void)err;
    for (size_t i = 0; kb_map_next(&agent->pods_by_uid, &i, NULL, (void **)&pod);) {
        KB_AUTO(kb_buf_finish) struct kb_buf words = {0};
        if (has_limit(pod) && exceeds(pod, &words))
            kb_buf_printf(out, "%s %s\n", kb_pod_core_uid(pod->core), words.p);
    }
    return 0;
}

static void on_due(void *arg);

static void on_measured(void *arg, int rc, kb_str out, const struct kb_err *err)
{
    struct kb_agent *agent = arg;
    (void)err;
    for (kb_str rest = out; rc == 0 && rest.p != NULL && rest.n > 0;) {
        kb_str words = kb_str_cut(&rest, '\n'), uid = kb_str_cut(&words, ' ');
        struct kb__pod *pod = kb_map_get(&agent->pods_by_uid, uid);
        KB_AUTO(kb_auto_free) char *text = kb_str_dup(words);
        if (pod != NULL)
            kb__pod_evict(pod, text);
    }
    kb_ev_arm(agent->ev, &agent->usage_timer, MEASURE_MS, on_due, agent);
}

static void on_due(void *arg)
{
    struct kb_agent *agent = arg;
    struct kb__pod *pod;
    bool any = false;
    for (size_t i = 0; !any && kb_map_next(&agent->pods_by_uid, &i, NULL, (void **)&pod);)
        any = has_limit(pod);
    if (any)
        kb_job_start(agent->ev, &(struct kb_job_calls){measure, on_measured, NULL},
                     MEASURE_LIMIT_MS, agent);
    else
        kb_ev_arm(agent->ev, &agent->usage_timer, MEASURE_MS, on_due, agent);
}

void kb__usage_start(struct kb_agent *agent)
{
    if (!agent->hollow)
        kb_ev_arm(agent->ev, &agent->usage_timer, MEASURE_MS, on_due, agent);
}

void kb__usage_stop(struct kb_agent *agent)
{
    kb_ev_disarm(agent->ev, &agent->usage_timer);
}
