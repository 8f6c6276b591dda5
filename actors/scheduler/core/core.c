#include "actors/scheduler/core/core.h"

#include "actors/scheduler/core/host.h"
#include "actors/scheduler/core/lifecycle.h"
#include "actors/scheduler/core/outside.h"
#include "actors/scheduler/core/preempt.h"
#include "actors/scheduler/core/selectors.h"
#include "actors/scheduler/core/workload.h"
#include "bus/base/check.h"

#include <stdlib.h>

/* A plan in the order of last use: `recent` holds specs, the latest at the end. */
struct planned {
    struct kb_link link;
    struct kb_podspec *spec;
};

struct kb_core {
    struct kb_intern intern;
    struct kb_columns columns;
    struct kb_podspecs specs;
    struct kb_policy_host host;
    struct kb_profile profiles[KB_CORE_PROFILES];
    uint32_t profiles_n;
    struct kb_rand rand;
    bool ties_first;
    struct kb_workload workload;
    struct kb_link recent;
    struct kb_map planned; /* address of the spec → struct planned */
    size_t plan_budget;
    size_t plan_bytes;
    struct kb_lifecycle *life;
    struct kb_outsides outsides;
    struct kb_guard guard;
    struct kb_guard_page *own_page;
    uint32_t first; /* a profile that is at work */
    struct kb_promises *promises;
};

/* ---- what policies may ask ---- */

static const char *host_text(void *core, uint32_t id)
{
    return kb_intern_text(&((struct kb_core *)core)->intern, id);
}

static uint32_t host_intern(void *core, const char *text)
{
    return kb_intern_id(&((struct kb_core *)core)->intern, kb_str_of(text));
}

static bool host_number(void *core, uint32_t id, int64_t *ret)
{
    return kb_intern_number(&((struct kb_core *)core)->intern, id, ret);
}

static const uint32_t *host_label(void *core, uint32_t key)
{
    return kb_columns_label(&((struct kb_core *)core)->columns, key);
}

static uint32_t host_port_uses(void *core, uint16_t port, uint16_t protocol,
                               const struct kb_policy_port_use **ret)
{
    return kb_columns_port_uses(&((struct kb_core *)core)->columns, port, protocol, ret);
}

static uint32_t host_node_ports(void *core, uint32_t node, const struct kb_policy_port **ret)
{
    const struct kb_node_rec *rec = &((struct kb_core *)core)->columns.rec[node];
    *ret = rec->ports;
    return rec->ports_n;
}

static uint32_t host_resource(void *core, const char *name)
{
    return kb_columns_resource(&((struct kb_core *)core)->columns, kb_str_of(name));
}

static const char *host_resource_name(void *core_, uint32_t resource)
{
    struct kb_core *core = core_;
    return resource < core->columns.view.resources
               ? kb_intern_text(&core->intern, core->columns.resource_name[resource])
               : "";
}

static const struct kb_policy_workload *host_workload(void *core_)
{
    struct kb_core *core = core_;
    core->workload.wanted = true;
    return &core->workload.view;
}

static uint32_t host_random(void *core, uint32_t bound)
{
    return (uint32_t)kb_rand_below(&((struct kb_core *)core)->rand, bound ? bound : 1);
}

static const struct kb_policy_outside *host_outside(struct kb_policy_cycle *cycle,
                                                    const struct kb_policy_want *want)
{
    struct kb_core *core = cycle->host->core;
    struct kb_podspec *spec = KB_CONTAINER(cycle->pod, struct kb_podspec, pod);
    return kb_outside_get(&core->outsides, &core->columns, spec, want);
}

struct kb_outsides *kb_core_outsides(struct kb_core *core)
{
    return &core->outsides;
}

bool kb_core_waits(const struct kb_podspec *spec)
{
    return kb_outside_waits(spec);
}

void kb_core_used(struct kb_podspec *spec)
{
    kb_outside_used(spec);
}

/* ---- life ---- */

struct kb_core *kb_sched_core_new(uint64_t seed)
{
    struct kb_core *core = calloc(1, sizeof(*core));
    KB_ASSERT(core != NULL);
    kb_columns_init(&core->columns, &core->intern);
    kb_rand_init(&core->rand, seed);
    kb_list_init(&core->recent);
    core->plan_budget = 256u << 20;
    core->own_page = calloc(1, sizeof(*core->own_page));
    KB_ASSERT(core->own_page != NULL);
    core->guard.page = core->own_page;
    core->host = (struct kb_policy_host){.size = sizeof(core->host),
                                         .core = core,
                                         .text = host_text,
                                         .intern = host_intern,
                                         .number = host_number,
                                         .label = host_label,
                                         .port_uses = host_port_uses,
                                         .node_ports = host_node_ports,
                                         .resource = host_resource,
                                         .resource_name = host_resource_name,
                                         .workload = host_workload,
                                         .random = host_random,
                                         .lifecycle = &kb__lifecycle_host,
                                         .outside = host_outside};
    kb_outsides_init(&core->outsides);
    kb__host_fill_pods(&core->host);
    core->life = kb__lifecycle_new();
    core->promises = kb__promises_new();
    return core;
}

void kb_sched_core_destroy(struct kb_core **core_p)
{
    struct kb_core *core = *core_p;
    if (core == NULL)
        return;
    kb__lifecycle_destroy(&core->life);
    kb__promises_destroy(&core->promises);
    kb_outsides_finish(&core->outsides);
    kb_podspecs_finish(&core->specs);
    for (uint32_t i = 0; i < core->profiles_n; i++)
        kb_profile_finish(&core->profiles[i]);
    kb_map_finish(&core->planned);
    kb_workload_finish(&core->workload);
    kb_columns_finish(&core->columns);
    kb_intern_finish(&core->intern);
    free(core->own_page);
    free(core);
    *core_p = NULL;
}

static void tell_all(struct kb_core *core, struct kb_profile *p);

int kb_core_add_profile(struct kb_core *core, const char *name,
                        const struct kb_profile_entry *entries, size_t n, uint32_t *ret_profile,
                        struct kb_err *err)
{
    if (core->profiles_n == KB_CORE_PROFILES)
        return kb_err_set(err, KB_EFULL, "more than %d profiles", KB_CORE_PROFILES);
    if (kb_core_profile(core, kb_str_of(name)) != UINT32_MAX)
        return kb_err_set(err, KB_EINVAL, "profile %s: there is one of that name", name);
    int rc = kb_profile_init(&core->profiles[core->profiles_n], name, &core->host, &core->guard,
                             entries, n, err);
    if (rc < 0)
        return rc;
    *ret_profile = core->profiles_n++;
    tell_all(core, &core->profiles[*ret_profile]);
    return 0;
}

/* ---- all profiles anew ---- */

static void drop_plans(struct kb_core *core);

struct kb_core_stage {
    uint32_t n;
    struct kb_profile profiles[KB_CORE_PROFILES];
};

void kb_core_stage_destroy(struct kb_core_stage **stage_p)
{
    struct kb_core_stage *stage = *stage_p;
    if (stage == NULL)
        return;
    for (uint32_t i = 0; i < stage->n; i++)
        kb_profile_finish(&stage->profiles[i]);
    free(stage);
    *stage_p = NULL;
}

int kb_core_stage(struct kb_core *core, const struct kb_core_profile *profiles, size_t n,
                  struct kb_core_stage **ret_stage, struct kb_err *err)
{
    KB_AUTO(kb_core_stage_destroy) struct kb_core_stage *stage = calloc(1, sizeof(*stage));
    KB_ASSERT(stage != NULL);
    if (n == 0 || n > KB_CORE_PROFILES)
        return kb_err_set(err, KB_EFULL, "%zu profiles: 1 to %d are possible", n, KB_CORE_PROFILES);
    for (; stage->n < n; stage->n++) {
        const struct kb_core_profile *p = &profiles[stage->n];
        int rc = kb_profile_init(&stage->profiles[stage->n], p->name, &core->host, &core->guard,
                                 p->entries, p->n, err);
        if (rc < 0)
            return rc;
    }
    *ret_stage = KB_STEAL(stage);
    return 0;
}

/* Where a new profile goes: its name's place, or the first that is empty. */
static uint32_t place_of(struct kb_core *core, const char *name)
{
    uint32_t at = kb_core_profile(core, kb_str_of(name));
    if (at != UINT32_MAX)
        return at;
    for (at = 0; at < core->profiles_n; at++)
        if (core->profiles[at].name == NULL)
            return at;
    KB_ASSERT(core->profiles_n < KB_CORE_PROFILES);
    return core->profiles_n++;
}

static bool in_stage(const struct kb_core_stage *stage, const char *name)
{
    for (uint32_t i = 0; name && i < stage->n; i++)
        if (strcmp(stage->profiles[i].name, name) == 0)
            return true;
    return false;
}

/* The names of the policies at work, for the guard's page. */
static void register_rows(struct kb_core *core)
{
    core->guard.page->rows_n = 0;
    for (uint32_t i = 0; i < core->profiles_n; i++) {
        struct kb_profile *p = &core->profiles[i];
        for (uint32_t k = 0; k < p->n; k++)
            p->at[k].row = kb_guard_row(core->guard.page, p->at[k].policy->name, p->at[k].version);
    }
}

void kb_core_commit(struct kb_core *core, struct kb_core_stage **stage_p)
{
    KB_AUTO(kb_core_stage_destroy) struct kb_core_stage *stage = KB_STEAL(*stage_p);
    drop_plans(core);
    kb_outsides_clear(&core->outsides);
    core->guard.blamed_profile = NULL;
    for (uint32_t i = 0; i < core->profiles_n; i++)
        if (!in_stage(stage, core->profiles[i].name))
            kb_profile_finish(&core->profiles[i]); /* its index stays, empty */
    for (uint32_t i = 0; i < stage->n; i++) {
        uint32_t at = place_of(core, stage->profiles[i].name);
        kb_profile_finish(&core->profiles[at]);
        core->profiles[at] = stage->profiles[i];
        core->first = at;
    }
    stage->n = 0;
    for (uint32_t i = 0; i < core->profiles_n; i++)
        core->profiles[i].guard = &core->guard;
    register_rows(core);
    for (uint32_t i = 0; i < core->profiles_n; i++)
        tell_all(core, &core->profiles[i]);
}

/* ---- the guard ---- */

void kb_core_guard(struct kb_core *core, struct kb_guard_page *page)
{
    page = page ? page : core->own_page;
    if (page == core->guard.page)
        return;
    memcpy(page->rows, core->guard.page->rows, sizeof(page->rows));
    page->rows_n = core->guard.page->rows_n;
    core->guard.page = page;
}

struct kb_guard *kb__core_guard(struct kb_core *core)
{
    return &core->guard;
}

bool kb_core_next_held(struct kb_core *core, struct kb_core_held *ret)
{
    struct kb_profile_policy *found = NULL;
    for (uint32_t i = 0; i < core->profiles_n; i++) {
        for (uint32_t k = 0; k < core->profiles[i].n; k++) {
            struct kb_profile_policy *at = &core->profiles[i].at[k];
            if (!at->untold || (found && strcmp(found->policy->name, at->policy->name) != 0))
                continue;
            at->untold = false;
            found = at;
        }
    }
    if (found)
        *ret = (struct kb_core_held){found->policy->name, found->version, found->held};
    return found != NULL;
}

uint32_t kb_core_profile(const struct kb_core *core, kb_str name)
{
    for (uint32_t i = 0; i < core->profiles_n; i++)
        if (core->profiles[i].name && kb_str_is(name, core->profiles[i].name))
            return i;
    return UINT32_MAX;
}

uint32_t kb_core_profiles(const struct kb_core *core)
{
    return core->profiles_n;
}

const struct kb_profile *kb__core_profile(const struct kb_core *core, uint32_t profile)
{
    KB_ASSERT(profile < core->profiles_n);
    return &core->profiles[profile];
}

bool kb_core_before(const struct kb_core *core, uint32_t profile, const struct kb_policy_queued *a,
                    const struct kb_policy_queued *b)
{
    const struct kb_profile *p = kb__core_profile(core, profile);
    p = p->n > 0 ? p : &core->profiles[core->first];
    const struct kb_profile_policy *sorter = &p->at[p->sorter];
    bool before;
    KB_ASK(p, p->sorter, KB_POINT_QUEUE_SORT,
           before = sorter->policy->queue_sort(sorter->instance, a, b));
    return before;
}

uint32_t kb_core_queue_class(const struct kb_core *core, const struct kb_policy_queued *pod)
{
    const struct kb_profile *p = kb__core_profile(core, 0);
    p = p->n > 0 ? p : &core->profiles[core->first];
    const struct kb_profile_policy *sorter = &p->at[p->sorter];
    uint32_t id = 0;
    if (sorter->policy->queue_class)
        KB_ASK(p, p->sorter, KB_POINT_QUEUE_SORT,
               id = sorter->policy->queue_class(sorter->instance, pod));
    return id;
}

bool kb_core_may_enter(const struct kb_core *core, uint32_t profile,
                       const struct kb_policy_queued *pod)
{
    const struct kb_profile *p = kb__core_profile(core, profile);
    for (uint32_t i = 0; i < p->n; i++) {
        enum kb_policy_status s = KB_POLICY_OK;
        if (p->at[i].policy->pre_enqueue)
            KB_ASK(p, i, KB_POINT_PRE_ENQUEUE,
                   s = p->at[i].policy->pre_enqueue(p->at[i].instance, pod));
        if (s != KB_POLICY_OK)
            return false;
    }
    return true;
}

/* ---- nodes ---- */

uint32_t kb_core_node_put(struct kb_core *core, kb_str name, kb_val node)
{
    return kb_columns_node_put(&core->columns, name, node);
}

bool kb_core_node_del(struct kb_core *core, kb_str name)
{
    return kb_columns_node_del(&core->columns, name);
}

uint32_t kb_core_nodes(const struct kb_core *core)
{
    return core->columns.view.present_n;
}

const char *kb_core_node_name(const struct kb_core *core, uint32_t slot)
{
    return kb_intern_text(&core->intern, core->columns.view.name[slot]);
}

bool kb_core_object_put(struct kb_core *core, kb_str resource, kb_str ns, kb_str name,
                        kb_val object)
{
    struct kb_columns *c = &core->columns;
    if (kb_volumes_wants(resource)) {
        kb_volumes_put(&c->volumes, c, resource, ns, name, object);
        c->pods.versions.volumes = c->volumes.version;
        return true;
    }
    if (!kb_str_is(resource, "namespaces")) {
        bool changed = kb_owners_put(&c->owners, &core->intern, resource, ns, name, object);
        c->pods.versions.owners += changed;
        return changed;
    }
    struct kb_arena arena = {0};
    struct kb_pod_labels labels = {0};
    uint64_t before = c->pods.versions.carried;
    kb_val map = kb_val_get(kb_val_get(object, "metadata"), "labels");
    labels.v = kb__labels_of(&arena, &core->intern, map, &labels.n);
    kb_pods_namespace(&c->pods, kb_intern_id(&core->intern, name), object.p ? &labels : NULL);
    kb_arena_finish(&arena);
    return c->pods.versions.carried != before;
}

/* ---- plans ---- */

static kb_str spec_key(struct kb_podspec *const *spec)
{
    return kb_str_n((const char *)spec, sizeof(*spec));
}

static void drop_plan(struct kb_core *core, struct kb_podspec *spec)
{
    struct planned *p = kb_map_del(&core->planned, spec_key(&spec));
    if (p == NULL)
        return;
    core->plan_bytes -= kb_plan_bytes(spec->plan);
    kb_plan_destroy(&spec->plan);
    kb_list_remove(&p->link);
    free(p);
}

static void keep_budget(struct kb_core *core, const struct kb_podspec *current)
{
    while (core->plan_bytes > core->plan_budget) {
        struct planned *oldest = KB_CONTAINER(core->recent.next, struct planned, link);
        if (oldest->spec == current)
            return;
        drop_plan(core, oldest->spec);
    }
}

static struct kb_plan *updated_plan(struct kb_core *core, struct kb_podspec *spec)
{
    if (spec->plan == NULL) {
        struct planned *p = calloc(1, sizeof(*p));
        KB_ASSERT(p != NULL);
        p->spec = spec;
        kb_list_push(&core->recent, &p->link);
        kb_map_put(&core->planned, spec_key(&spec), p);
        spec->plan =
            kb_plan_new(kb__core_profile(core, spec->profile), spec, &core->columns, &core->host);
        core->plan_bytes += kb_plan_bytes(spec->plan);
    } else if (KB_CONTAINER(core->recent.prev, struct planned, link)->spec != spec) {
        struct planned *p = kb_map_get(&core->planned, spec_key(&spec));
        kb_list_remove(&p->link);
        kb_list_push(&core->recent, &p->link);
    }
    size_t before = kb_plan_bytes(spec->plan);
    kb_plan_update(spec->plan);
    core->plan_bytes += kb_plan_bytes(spec->plan) - before;
    keep_budget(core, spec);
    return spec->plan;
}

static void drop_plans(struct kb_core *core)
{
    while (!kb_list_empty(&core->recent))
        drop_plan(core, KB_CONTAINER(core->recent.next, struct planned, link)->spec);
}

/* A policy that returned nonsense is held wherever it is used, and what it said is forgotten. */
static bool hold_blamed(struct kb_core *core)
{
    struct kb_guard *g = &core->guard;
    const struct kb_profile *profile = g->blamed_profile;
    if (profile == NULL)
        return false;
    const struct kb_profile_policy *blamed = &profile->at[g->blamed_policy];
    const char *name = blamed->policy->name;
    g->blamed_profile = NULL;
    if (blamed->held)
        return false;
    drop_plans(core);
    for (uint32_t i = 0; i < core->profiles_n; i++)
        for (uint32_t k = 0; k < core->profiles[i].n; k++)
            if (strcmp(core->profiles[i].at[k].policy->name, name) == 0)
                kb_profile_hold(&core->profiles[i], k, g->why);
    return true;
}

/* The plan of a spec, up to date, and without nonsense in it. */
struct kb_plan *kb__core_plan(struct kb_core *core, struct kb_podspec *spec)
{
    struct kb_plan *plan = updated_plan(core, spec);
    while (hold_blamed(core))
        plan = updated_plan(core, spec);
    return plan;
}

struct kb_plan *kb__core_plan_kept(struct kb_core *core, struct kb_podspec *spec)
{
    return spec->plan ? spec->plan : kb__core_plan(core, spec);
}

void kb_core_plan_budget(struct kb_core *core, size_t bytes)
{
    core->plan_budget = bytes;
}

/* ---- pods ---- */

struct kb_podspec *kb_core_spec(struct kb_core *core, kb_val pod, uint32_t profile, bool wants_node)
{
    KB_ASSERT(profile < core->profiles_n);
    return kb_podspec_get(&core->specs, &core->columns, pod, profile, wants_node);
}

void kb_core_spec_release(struct kb_core *core, struct kb_podspec **spec_p)
{
    if (*spec_p == NULL)
        return;
    struct kb_podspec *last = kb_podspec_put(&core->specs, *spec_p);
    *spec_p = NULL;
    if (last == NULL)
        return;
    drop_plan(core, last);
    kb_outside_forget(last);
    kb_podspec_free(last);
}

uint32_t kb_core_slot(struct kb_core *core, kb_str node_name)
{
    return kb_columns_hold(&core->columns, node_name);
}

static int32_t priority_of(const struct kb_link *link)
{
    return KB_CONTAINER(link, const struct kb_core_pod, node_link)->priority;
}

/* ---- who is told of pods that are placed ---- */

static void tell_profile(struct kb_profile *p, const struct kb_core_pod *pod, int by)
{
    for (uint32_t i = 0; i < p->n; i++)
        if (p->at[i].policy->placed)
            KB_ASK(p, i, KB_POINT_RESERVE,
                   p->at[i].policy->placed(p->at[i].instance, &pod->view, by));
}

static void tell_placed(struct kb_core *core, const struct kb_core_pod *pod, int by)
{
    for (uint32_t i = 0; i < core->profiles_n; i++)
        if (core->profiles[i].has_observer)
            tell_profile(&core->profiles[i], pod, by);
}

/* A profile that is new is told of all. */
static void tell_all(struct kb_core *core, struct kb_profile *p)
{
    if (!p->has_observer)
        return;
    for (uint32_t slot = 0; slot < core->columns.view.count; slot++)
        KB_LIST_EACH(it, &core->columns.rec[slot].pods)
        {
            tell_profile(p, KB_CONTAINER(it, struct kb_core_pod, node_link), 1);
        }
}

void kb_core_place(struct kb_core *core, struct kb_core_pod *pod, struct kb_podspec *spec,
                   uint32_t slot, int32_t priority)
{
    KB_ASSERT(!pod->placed);
    spec->refs++;
    pod->spec = spec;
    pod->slot = slot;
    pod->priority = priority;
    pod->placed = true;
    pod->view.size = sizeof(pod->view);
    pod->view.node = slot;
    pod->view.pod = &spec->pod;
    pod->view.priority = priority;
    if (pod->view.group != 0)
        kb_group_placed(core, pod->view.group, 1);
    kb_columns_pod_add(&core->columns, slot, &spec->pod, pod->gpus, priority, &pod->node_link);
    tell_placed(core, pod, 1);
}

void kb_core_lift(struct kb_core *core, struct kb_core_pod *pod)
{
    if (!pod->placed)
        return;
    kb_columns_pod_del(&core->columns, pod->slot, &pod->spec->pod, pod->gpus, pod->priority,
                       &pod->node_link, priority_of);
    pod->placed = false;
    tell_placed(core, pod, -1);
    if (pod->view.group != 0)
        kb_group_placed(core, pod->view.group, -1);
    pod->gpus = 0;
    kb_core_spec_release(core, &pod->spec);
}

/* ---- decisions ---- */

bool kb_core_fits_any(struct kb_core *core, struct kb_podspec *spec)
{
    return kb_plan_fits_any(kb__core_plan(core, spec));
}

void kb_core_ties_first(struct kb_core *core, bool first)
{
    core->ties_first = first;
}

static bool wants_even_ties(const struct kb_profile *profile)
{
    for (uint32_t i = 0; i < profile->n; i++)
        if (profile->at[i].policy->flags & KB_POLICY_EVEN_TIES)
            return true;
    return false;
}

bool kb_core_decide(struct kb_core *core, struct kb_podspec *spec, uint32_t *ret_slot)
{
    bool first = core->ties_first && !wants_even_ties(kb__core_profile(core, spec->profile));
    uint32_t slot = kb_plan_pick(kb__core_plan(core, spec), first ? NULL : &core->rand);
    if (slot == UINT32_MAX)
        return false;
    *ret_slot = slot;
    return true;
}

struct kb_lifecycle *kb__core_life(const struct kb_core *core)
{
    return core->life;
}

struct kb_promises *kb__core_promises(const struct kb_core *core)
{
    return core->promises;
}

uint32_t kb__core_profiles(const struct kb_core *core)
{
    return core->profiles_n;
}

const struct kb_policy_host *kb__core_host(const struct kb_core *core)
{
    return &core->host;
}

struct kb_rand *kb__core_rand(struct kb_core *core)
{
    return &core->rand;
}

uint32_t kb__core_intern(struct kb_core *core, kb_str text)
{
    return kb_intern_id(&core->intern, text);
}

uint32_t kb_core_assign(struct kb_core *core, struct kb_podspec *spec, uint32_t slot)
{
    const struct kb_profile *profile = kb__core_profile(core, spec->profile);
    const struct kb_devices *devices = &core->columns.devices;
    if (spec->pod.gpus == 0 || devices->view.count[slot] == 0)
        return 0;
    struct kb_plan *plan = kb__core_plan(core, spec);
    for (uint32_t i = 0; i < profile->n; i++) {
        const struct kb_policy *p = profile->at[i].policy;
        uint32_t set = 0;
        if (p->assign)
            KB_ASK(profile, i, KB_POINT_RESERVE, set = p->assign(kb_plan_cycle(plan, i), slot));
        if (set != 0 && kb_devices_possible(devices, slot, &spec->pod, set))
            return set;
    }
    return kb_devices_choose(devices, slot, &spec->pod);
}

/* ---- the workload ---- */

void kb_core_workload_tell(struct kb_core *core, const struct kb_podspec *spec, uint64_t pods)
{
    core->workload.told = true;
    kb_workload_add(&core->workload, &spec->pod, pods);
}

void kb_core_workload_publish(struct kb_core *core)
{
    kb_workload_publish(&core->workload);
    kb_columns_touch_all(&core->columns);
}

const struct kb_policy_workload *kb_core_workload(const struct kb_core *core)
{
    return &core->workload.view;
}

void kb_core_workload_learn(struct kb_core *core, const struct kb_podspec *spec)
{
    if (kb_workload_learn(&core->workload, &spec->pod))
        kb_core_workload_publish(core);
}

struct kb_columns *kb_core_columns(struct kb_core *core)
{
    return &core->columns;
}
