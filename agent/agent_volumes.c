/* agent_volumes.c - a pod's volumes: set up before its sandbox, brought up to date when what they
 * reflect changes, by a child process (agent/mounter.h). A pod without volumes needs none. */
#include "agent/agent_impl.h"
#include "agent/volumes.h"

#include <stdlib.h>

enum { LIMIT_MS = 120000 }; /* about as long as kubelet waits for them */

static kb_val volumes_of(const struct kb__pod *pod)
{
    return kb_doc_at(kb_pod_core_doc(pod->core), "spec.volumes");
}

static int set_up(void *arg, uint32_t *made, struct kb_err *err)
{
    struct kb__pod *pod = arg;
    struct kb_resolve resolve = kb__pod_resolve(pod);
    return kb_volumes_setup(&resolve, made, err);
}

/* In kubelet's words, for what hangs has none of its own. */
static void tell_hang(const struct kb__pod *pod, uint32_t made, struct kb_err *err)
{
    KB_AUTO(kb_buf_finish) struct kb_buf names = {0};
    uint32_t at = 0;
    for (struct kb_iter it = kb_iter(volumes_of(pod)); kb_iter_next(&it); at++)
        if (at >= made)
            kb_buf_printf(&names, "%s" KB_STR_FMT, names.n ? " " : "",
                          KB_STR_ARG(kb_val_str_at(it.val, "name")));
    kb_err_set(err, KB_ETIMEOUT,
               "Unable to attach or mount volumes: unmounted volumes=[%.200s], unattached "
               "volumes=[], failed to process volumes=[]: context deadline exceeded",
               names.n ? names.p : "");
}

static void on_done(void *arg, bool answer, uint32_t made, const struct kb_err *err)
{
    struct kb__pod *pod = arg;
    struct kb_err failure = {0};
    if (err != NULL)
        failure = *err;
    if (err != NULL && abs(err->code) == KB_ETIMEOUT)
        tell_hang(pod, made, &failure);
    if (answer)
        kb__pod_prepared(pod, err != NULL ? &failure : NULL);
    else if (err != NULL)
        kb__event(pod->agent, pod, -1, true, "FailedMount", failure.text);
}

static void on_stopped(void *arg)
{
    kb__pod_remove(arg);
}

void kb__volumes_init(struct kb__pod *pod)
{
    static const struct kb_mounter_calls calls = {set_up, on_done, on_stopped};
    kb_mounter_init(&pod->mounter, pod->agent->ev, &calls, LIMIT_MS, pod);
}

void kb__volumes_prepare(struct kb__pod *pod)
{
    if (!kb__refs_synced(pod, true)) { /* on with it when they are */
        pod->prepare_waits = true;
        return;
    }
    pod->prepare_waits = false;
    if (pod->agent->hollow || kb_val_count(volumes_of(pod)) == 0)
        kb__pod_prepared(pod, NULL);
    else
        kb_mounter_run(&pod->mounter, true);
}

/* Before they are there, their preparation is to come, or the one under way is to be repeated. */
static bool wants_refresh(const struct kb__pod *pod)
{
    return !pod->agent->hollow && !pod->removing && kb_val_count(volumes_of(pod)) > 0 &&
           kb_pod_core_begun(pod->core) && !kb_pod_core_over(pod->core) &&
           (pod->mounter.run != NULL || kb_pod_core_grounded(pod->core));
}

void kb__volumes_refresh(struct kb__pod *pod)
{
    if (pod->prepare_waits)
        kb__volumes_prepare(pod);
    else if (wants_refresh(pod))
        kb_mounter_run(&pod->mounter, false);
}
