/* scheduler_profiles.c - another configuration, while pods wait and bindings are under way.
 *
 * INVARIANT: nothing that a policy made outlives its profile: plans (by the core's commit), what a
 * pod on its way to a node holds of it (undone here), the last diagnosis. Specs stay: they know
 * their profile by index, and an index keeps its name. */
#include "actors/scheduler/scheduler_impl.h"
#include "bus/base/check.h"

#include <stdlib.h>

/* The queue is emptied in the old order, before the old policy that makes it goes. Who is to be
 * taken in anew is marked. */
static void step_aside(struct kb_sched *s, struct kb_sched_pod *pod)
{
    bool queued = pod->wait.where != KB_NOWHERE;
    kb_pending_remove(s->pending, &pod->wait);
    kb_list_remove(&pod->parked);
    if (pod->state == POD_HELD)
        kb__sched_take_back(s, pod);
    else
        kb_cycle_undo(s->core, &pod->wait.cycle);
    /* A binding that is under way is looked at when its answer comes. */
    pod->readmit = pod->state != POD_PLACED;
    if (pod->state == POD_ASSUMED && queued)
        kb__sched_take_back(s, pod);
}

static int stage(struct kb_sched *s, const struct kb_config *config, struct kb_core_stage **ret,
                 struct kb_err *err)
{
    struct kb_core_profile profiles[KB_CONFIG_PROFILES];
    for (size_t i = 0; i < config->profiles_n; i++)
        profiles[i] = (struct kb_core_profile){config->profiles[i].name,
                                               config->profiles[i].entries, config->profiles[i].n};
    return kb_core_stage(s->core, profiles, config->profiles_n, ret, err);
}

/* Who is to be taken in anew, in the order in which they came: the order of a map differs from one
 * process to the next, and what is recorded shall come out the same elsewhere. */
static int by_arrival(const void *a, const void *b)
{
    const struct kb_sched_pod *x = *(struct kb_sched_pod *const *)a;
    const struct kb_sched_pod *y = *(struct kb_sched_pod *const *)b;
    if (x->wait.q.seq != y->wait.q.seq)
        return x->wait.q.seq < y->wait.q.seq ? -1 : 1;
    return strcmp(x->key, y->key);
}

static void readmit_all(struct kb_sched *s)
{
    struct kb_sched_pod *pod, **all = calloc(s->pods.count + 1, sizeof(struct kb_sched_pod *));
    size_t n = 0;
    KB_ASSERT(all != NULL);
    for (size_t i = 0; kb_map_next(&s->pods, &i, NULL, (void **)&pod);)
        if (pod->readmit && pod->state != POD_ASSUMED)
            all[n++] = pod;
    qsort(all, n, sizeof(struct kb_sched_pod *), by_arrival);
    for (size_t i = 0; i < n; i++)
        kb__sched_readmit(s, all[i]);
    free(all);
}

int kb_sched_check(struct kb_sched *s, const struct kb_config *config, struct kb_err *err)
{
    struct kb_core_stage *staged = NULL;
    int rc = stage(s, config, &staged, err);
    kb_core_stage_destroy(&staged);
    return rc;
}

int kb_sched_configure(struct kb_sched *s, const struct kb_config *config, struct kb_err *err)
{
    struct kb_core_stage *staged = NULL;
    struct kb_sched_pod *pod;
    int rc = stage(s, config, &staged, err);
    if (rc < 0)
        return rc;
    for (size_t i = 0; kb_map_next(&s->pods, &i, NULL, (void **)&pod);)
        step_aside(s, pod);
    kb_core_spec_release(s->core, &s->diagnosis.spec);
    kb_core_commit(s->core, &staged);
    kb_pending_set_backoff(s->pending, config->backoff_ms, config->backoff_max_ms);
    readmit_all(s);
    kb__sched_happened(s, UINT32_MAX, UINT32_MAX);
    kb__sched_told(s, &(struct kb_sched_input){.kind = KB_SCHED_IN_CONFIGURE, .config = config});
    return 0;
}
