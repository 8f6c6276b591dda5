#include "actors/scheduler/sim/sim_core.h"

#include "actors/scheduler/config.h"
#include "actors/scheduler/scheduler_core.h"
#include "actors/scheduler/sim/fragmentation.h"
#include "bus/base/check.h"
#include "bus/base/grow.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

enum { DECIDE_MOST = 4096 };

enum pod_state { POD_COMING, POD_WAITING, POD_RUNNING, POD_GONE };

struct sim_pod {
    struct kb_timer timer; /* arrival, then departure */
    const struct kb_trace_pod *of;
    char *key;
    enum pod_state state;
    uint32_t node;   /* while running: index */
    size_t decision; /* the latest */
    int64_t cpu, memory, gpu;
};

struct sim_node {
    struct kb_timer timer; /* next failure by rate, or repair */
    const struct kb_trace_node *of;
    char *key;
    bool up;
    double frag;
};

struct sim_fault {
    struct kb_timer timer;
    const struct kb_trace_fault *of;
};

struct kb_sim {
    struct kb_sim_config config;
    const struct kb_trace *trace;
    struct kb_sched *sched;
    struct kb_core *core;
    struct kb_sched_out out;
    struct kb_rand order, faults_rand;
    kb_ms now;
    int64_t rev;
    struct sim_pod *pods;
    size_t pods_n, pods_cap, done;
    struct sim_node *nodes;
    struct sim_fault *faults;
    struct kb_intern texts;        /* why pods wait: the same for many */
    struct kb_map pod_of, node_of; /* key → pod; name → node */
    char trouble[256];
    struct kb_timers pod_timers, node_timers, fault_timers;
    struct kb_frag frag;
    struct kb_sim_total total;
    struct kb_sim_point now_point;
    double wait_sum_s;
    uint64_t bound;
    bool changed;
    struct kb_sim_decision *decisions;
    size_t decisions_n, decisions_cap;
    struct kb_sim_point *points;
    size_t points_n, points_cap;
};

/* ---- what a pod asks for ---- */

static void measure(struct kb_sim *s, struct sim_pod *pod, bool tell)
{
    struct kb_podspec *spec = kb_core_spec(s->core, kb_doc_root(pod->of->doc), 0, false);
    pod->cpu = kb_policy_requested(&spec->pod, KB_POLICY_CPU);
    pod->memory = kb_policy_requested(&spec->pod, KB_POLICY_MEMORY);
    pod->gpu = (int64_t)spec->pod.gpus * spec->pod.gpu_milli;
    if (tell)
        kb_core_workload_tell(s->core, spec, 1);
    kb_core_spec_release(s->core, &spec);
}

static struct sim_pod *add_pod(struct kb_sim *s, const struct kb_trace_pod *of, char *key)
{
    KB_GROW(s->pods, s->pods_n, s->pods_cap, 1024);
    struct sim_pod *pod = &s->pods[s->pods_n++];
    *pod = (struct sim_pod){.of = of, .key = key};
    return pod;
}

/* ---- the workload ---- */

static int by_key(const void *a, const void *b)
{
    const struct sim_pod *x = a, *y = b;
    return strcmp(x->key, y->key);
}

static void shuffle(struct kb_sim *s)
{
    qsort(s->pods, s->pods_n, sizeof(*s->pods), by_key);
    for (size_t i = s->pods_n; i > 1; i--) {
        size_t k = (size_t)kb_rand_below(&s->order, i);
        struct sim_pod swap = s->pods[i - 1];
        s->pods[i - 1] = s->pods[k];
        s->pods[k] = swap;
    }
}

/* What counts: GPU, or CPU where there is none. */
static int64_t weight(const struct kb_sim *s, const struct sim_pod *pod)
{
    return s->total.gpu > 0 ? pod->gpu : pod->cpu;
}

static int64_t asked(const struct kb_sim *s)
{
    int64_t sum = 0;
    for (size_t i = 0; i < s->pods_n; i++)
        sum += weight(s, &s->pods[i]);
    return sum;
}

/* Draw from the trace until the next would be too many. */
static void add_drawn(struct kb_sim *s, double most)
{
    size_t n = s->trace->pods_n;
    double sum = (double)asked(s);
    for (size_t i = 0; i < KB_TRACE_MAX; i++) {
        const struct kb_trace_pod *of = &s->trace->pods[kb_rand_below(&s->order, n)];
        struct sim_pod *pod = add_pod(s, of, kb_strf("%s-tuned-%zu", of->key, i));
        measure(s, pod, false);
        sum += (double)weight(s, pod);
        if (sum > most) {
            free(pod->key);
            s->pods_n--;
            return;
        }
    }
}

static void leave_out(struct kb_sim *s, double most)
{
    double sum = (double)asked(s);
    while (sum > most && s->pods_n > 0) {
        size_t i = (size_t)kb_rand_below(&s->order, s->pods_n);
        sum -= (double)weight(s, &s->pods[i]);
        free(s->pods[i].key);
        memmove(&s->pods[i], &s->pods[i + 1], (--s->pods_n - i) * sizeof(*s->pods));
    }
}

static void tune(struct kb_sim *s)
{
    double most = s->config.tune * (double)(s->total.gpu > 0 ? s->total.gpu : s->total.cpu);
    shuffle(s);
    if (asked(s) == 0)
        return; /* nothing that could be added up to the ratio */
    if ((double)asked(s) > most)
        leave_out(s, most);
    else
        add_drawn(s, most);
}

/* ---- setting up ---- */

static int64_t nvidia_at(struct kb_sim *s, uint32_t slot)
{
    struct kb_columns *c = kb_core_columns(s->core);
    return c->view.allocatable[kb_columns_resource(c, kb_str_of(KB_GPU_NVIDIA))][slot];
}

static double unit_exponential(struct kb_rand *rand)
{
    return -log(1 - kb_rand_unit(rand));
}

static void arm_failure(struct kb_sim *s, struct sim_node *node)
{
    double days = unit_exponential(&s->faults_rand) / s->config.fails_per_day;
    kb_timers_arm(&s->node_timers, &node->timer, s->now + (kb_ms)(days * 86400e3));
}

/* In the order drawn by the seed. */
static void order_nodes(struct kb_sim *s)
{
    for (size_t i = 0; i < s->trace->nodes_n; i++)
        s->nodes[i].of = &s->trace->nodes[i];
    for (size_t i = s->trace->nodes_n; i > 1; i--) {
        size_t k = (size_t)kb_rand_below(&s->order, i);
        const struct kb_trace_node *swap = s->nodes[i - 1].of;
        s->nodes[i - 1].of = s->nodes[k].of;
        s->nodes[k].of = swap;
    }
}

static void make_nodes(struct kb_sim *s)
{
    const struct kb_columns *c = kb_core_columns(s->core);
    s->nodes = calloc(s->trace->nodes_n + 1, sizeof(*s->nodes));
    KB_ASSERT(s->nodes != NULL);
    order_nodes(s);
    for (size_t i = 0; i < s->trace->nodes_n; i++) {
        struct sim_node *n = &s->nodes[i];
        n->key = kb_strf("nodes//%s", n->of->name);
        n->up = true;
        kb_map_put(&s->node_of, kb_str_of(n->of->name), n);
        kb_sched_node_put(s->sched, kb_str_of(n->key), kb_doc_root(n->of->doc));
        if (s->config.fails_per_day > 0)
            arm_failure(s, n);
    }
    for (uint32_t slot = 0; slot < c->view.count; slot++) {
        if (!c->view.present[slot])
            continue;
        s->total.nodes++;
        s->total.cpu += c->view.allocatable[KB_POLICY_CPU][slot];
        s->total.memory += c->view.allocatable[KB_POLICY_MEMORY][slot];
        s->total.gpu +=
            KB_POLICY_GPU_MILLI *
            (c->devices.view.count[slot] ? c->devices.view.count[slot] : nvidia_at(s, slot));
    }
}

static void make_pods(struct kb_sim *s)
{
    for (size_t i = 0; i < s->trace->objects_n; i++)
        kb_sched_object_put(s->sched, kb_str_of(s->trace->objects[i].key),
                            kb_doc_root(s->trace->objects[i].doc));
    for (size_t i = 0; i < s->trace->pods_n; i++)
        measure(s, add_pod(s, &s->trace->pods[i], kb_strf("%s", s->trace->pods[i].key)), true);
    kb_core_workload_publish(s->core);
    if (s->config.tune > 0)
        tune(s);
    for (size_t i = 0; i < s->pods_n; i++) {
        struct sim_pod *pod = &s->pods[i];
        kb_map_put(&s->pod_of, kb_str_of(pod->key), pod);
        kb_timers_arm(&s->pod_timers, &pod->timer,
                      s->config.tune > 0 ? (kb_ms)i * 1000 : pod->of->arrive_ms);
    }
    s->total.pods = (uint32_t)s->pods_n;
}

static void make_faults(struct kb_sim *s)
{
    s->faults = calloc(s->trace->faults_n + 1, sizeof(*s->faults));
    KB_ASSERT(s->faults != NULL);
    for (size_t i = 0; i < s->trace->faults_n; i++) {
        s->faults[i].of = &s->trace->faults[i];
        kb_timers_arm(&s->fault_timers, &s->faults[i].timer, s->trace->faults[i].at_ms);
    }
}

static double frag_of(struct kb_sim *s, uint32_t slot)
{
    const struct kb_columns *c = kb_core_columns(s->core);
    if (slot == UINT32_MAX || !c->view.present[slot] || c->devices.view.count[slot] == 0)
        return 0;
    return kb_frag_node(
        &s->frag, c->view.allocatable[KB_POLICY_CPU][slot] - c->view.requested[KB_POLICY_CPU][slot],
        c->devices.view.model[slot], c->devices.view.gpus[slot].free);
}

static void follow_frag(struct kb_sim *s, struct sim_node *node)
{
    double fresh = frag_of(s, kb_columns_find(kb_core_columns(s->core), kb_str_of(node->of->name)));
    s->now_point.frag += fresh - node->frag;
    node->frag = fresh;
}

/* The scheduler with its one profile, and the back-off that goes with it. */
static int make_scheduler(struct kb_sim *s, struct kb_err *err)
{
    const struct kb_sim_config *c = &s->config;
    int rc = kb_sched_new_with(c->seed + 1, c->profile, c->entries, c->entries_n, &s->sched, err);
    if (rc < 0 || c->backoff_ms <= 0)
        return rc;
    struct kb_config_profile *profile = calloc(1, sizeof(*profile));
    KB_ASSERT(profile != NULL);
    profile->name = c->profile;
    for (; profile->n < c->entries_n; profile->n++)
        profile->entries[profile->n] = c->entries[profile->n];
    struct kb_config config = {.profiles = profile,
                               .profiles_n = 1,
                               .backoff_ms = c->backoff_ms,
                               .backoff_max_ms = c->backoff_max_ms};
    rc = kb_sched_configure(s->sched, &config, err);
    free(profile);
    if (rc < 0)
        kb_sched_destroy(&s->sched);
    return rc;
}

int kb_sim_new(const struct kb_sim_config *config, const struct kb_trace *trace,
               struct kb_sim **ret_sim, struct kb_err *err)
{
    struct kb_sim *s = calloc(1, sizeof(*s));
    KB_ASSERT(s != NULL);
    s->config = *config;
    s->trace = trace;
    kb_rand_init(&s->order, config->seed);
    kb_rand_init(&s->faults_rand, config->seed ^ 0x9e3779b97f4a7c15u);
    int rc = make_scheduler(s, err);
    if (rc < 0) {
        free(s);
        return rc;
    }
    s->core = kb_sched_core(s->sched);
    kb_core_ties_first(s->core, config->ties == KB_SIM_TIES_DEFAULT
                                    ? config->tune > 0
                                    : config->ties == KB_SIM_TIES_FIRST);
    make_nodes(s);
    make_pods(s);
    make_faults(s);
    kb_frag_init(&s->frag, kb_core_workload(s->core),
                 config->popularity > 0 ? config->popularity : 95);
    for (size_t i = 0; i < trace->nodes_n; i++)
        follow_frag(s, &s->nodes[i]);
    *ret_sim = s;
    return 0;
}

void kb_sim_destroy(struct kb_sim **sim_p)
{
    struct kb_sim *s = *sim_p;
    if (s == NULL)
        return;
    kb_sched_destroy(&s->sched);
    kb_sched_out_finish(&s->out);
    for (size_t i = 0; i < s->pods_n; i++)
        free(s->pods[i].key);
    for (size_t i = 0; i < s->trace->nodes_n; i++)
        free(s->nodes[i].key);
    kb_intern_finish(&s->texts);
    kb_map_finish(&s->pod_of);
    kb_map_finish(&s->node_of);
    kb_timers_finish(&s->pod_timers);
    kb_timers_finish(&s->node_timers);
    kb_timers_finish(&s->fault_timers);
    kb_frag_finish(&s->frag);
    free(s->pods);
    free(s->nodes);
    free(s->faults);
    free(s->decisions);
    free(s->points);
    free(s);
    *sim_p = NULL;
}

/* ---- what happens to pods ---- */

static struct kb_sim_decision *decision_of(struct kb_sim *s, const struct sim_pod *pod)
{
    return &s->decisions[pod->decision];
}

static void arrive(struct kb_sim *s, struct sim_pod *pod, bool again)
{
    KB_GROW(s->decisions, s->decisions_n, s->decisions_cap, 1024);
    pod->decision = s->decisions_n++;
    *decision_of(s, pod) = (struct kb_sim_decision){.key = pod->key,
                                                    .arrived_ms = s->now,
                                                    .decided_ms = -1,
                                                    .left_ms = -1,
                                                    .cpu = pod->cpu,
                                                    .memory = pod->memory,
                                                    .gpu_milli = pod->gpu};
    pod->state = POD_WAITING;
    s->now_point.waiting++;
    if (!again) {
        s->now_point.arrived++;
        s->now_point.arrived_gpu += pod->gpu;
        s->done++;
    }
    s->changed = true;
    kb_sched_pod_put(s->sched, kb_str_of(pod->key), ++s->rev, kb_doc_root(pod->of->doc));
}

static void leave(struct kb_sim *s, struct sim_pod *pod, enum kb_sim_fate fate)
{
    struct kb_sim_decision *d = decision_of(s, pod);
    kb_sched_pod_del(s->sched, kb_str_of(pod->key));
    if (pod->state == POD_RUNNING) {
        struct kb_sim_point *p = &s->now_point;
        p->running--;
        p->cpu -= pod->cpu;
        p->memory -= pod->memory;
        p->gpu -= pod->gpu;
        follow_frag(s, &s->nodes[pod->node]);
    } else if (pod->state == POD_WAITING) {
        s->now_point.waiting--;
        d->decided_ms = s->now;
    }
    if (pod->state != POD_COMING) {
        d->left_ms = s->now;
        d->fate = fate;
    }
    s->now_point.dropped += fate == KB_SIM_DROPPED;
    kb_timers_disarm(&s->pod_timers, &pod->timer);
    pod->state = POD_GONE;
    s->changed = true;
}

static void bound(struct kb_sim *s, struct sim_pod *pod, const struct kb_doc *doc)
{
    struct kb_sim_decision *d = decision_of(s, pod);
    struct kb_sim_point *p = &s->now_point;
    struct sim_node *node = kb_map_get(&s->node_of, kb_val_str(kb_doc_at(doc, "spec.nodeName")));
    KB_ASSERT(node != NULL && pod->state == POD_WAITING);
    d->fate = KB_SIM_BOUND;
    d->node = node->of->name;
    d->why = NULL;
    d->gpus = kb_gpu_index_of(kb_doc_root(doc));
    d->decided_ms = s->now;
    pod->state = POD_RUNNING;
    pod->node = (uint32_t)(node - s->nodes);
    p->waiting--;
    p->running++;
    p->cpu += pod->cpu;
    p->memory += pod->memory;
    p->gpu += pod->gpu;
    s->wait_sum_s += (double)(s->now - d->arrived_ms) / 1000;
    p->wait_s = s->wait_sum_s / (double)++s->bound;
    follow_frag(s, node);
    if (pod->of->run_ms >= 0 && s->config.tune <= 0)
        kb_timers_arm(&s->pod_timers, &pod->timer, s->now + pod->of->run_ms);
    s->changed = true;
}

/* ---- what happens to nodes ---- */

static void fail_node(struct kb_sim *s, struct sim_node *node)
{
    uint32_t index = (uint32_t)(node - s->nodes);
    if (!node->up)
        return;
    node->up = false;
    for (size_t i = 0; i < s->pods_n; i++) {
        struct sim_pod *pod = &s->pods[i];
        if (pod->state != POD_RUNNING || pod->node != index)
            continue;
        leave(s, pod, KB_SIM_LOST);
        arrive(s, pod, true);
    }
    kb_sched_node_del(s->sched, kb_str_of(node->key));
    follow_frag(s, node);
    s->changed = true;
}

static void repair_node(struct kb_sim *s, struct sim_node *node)
{
    node->up = true;
    kb_sched_node_put(s->sched, kb_str_of(node->key), kb_doc_root(node->of->doc));
    follow_frag(s, node);
    s->changed = true;
}

/* A node's own timer: it failed by the rate, or it is repaired. */
static void node_due(struct kb_sim *s, struct sim_node *node)
{
    if (node->up) {
        fail_node(s, node);
        if (s->config.repair_s >= 0)
            kb_timers_arm(&s->node_timers, &node->timer,
                          s->now + (kb_ms)(s->config.repair_s * 1000));
        return;
    }
    repair_node(s, node);
    if (s->config.fails_per_day > 0)
        arm_failure(s, node);
}

static void fault_due(struct kb_sim *s, const struct kb_trace_fault *fault)
{
    struct sim_pod *pod = fault->key ? kb_map_get(&s->pod_of, kb_str_of(fault->key)) : NULL;
    struct sim_node *node = fault->node ? kb_map_get(&s->node_of, kb_str_of(fault->node)) : NULL;
    if (pod != NULL && pod->state != POD_GONE)
        leave(s, pod, KB_SIM_DELETED);
    if (node == NULL)
        return;
    fail_node(s, node);
    kb_timers_disarm(&s->node_timers, &node->timer);
    if (fault->for_ms >= 0)
        kb_timers_arm(&s->node_timers, &node->timer, s->now + fault->for_ms);
}

/* ---- steps ---- */

static void preempt(struct kb_sim *s, struct sim_pod *victim)
{
    kb_sched_evict_done(s->sched, kb_str_of(victim->key), 0);
    if (victim->state != POD_RUNNING)
        return;
    leave(s, victim, KB_SIM_PREEMPTED);
    arrive(s, victim, true);
}

/* What the condition says that shall be written. */
static const char *why_not(struct kb_sim *s, const struct kb_doc *doc)
{
    kb_val list = kb_doc_at(doc, "status.conditions");
    for (struct kb_iter it = kb_iter(list); kb_iter_next(&it);)
        if (kb_str_is(kb_val_str(kb_val_get(it.val, "type")), "PodScheduled"))
            return kb_intern_text(
                &s->texts, kb_intern_id(&s->texts, kb_val_str(kb_val_get(it.val, "message"))));
    return NULL;
}

static void grant(struct kb_sim *s, size_t at, bool drop)
{
    struct kb_sched_wish *w = &s->out.wishes[at];
    struct sim_pod *pod = kb_map_get(&s->pod_of, kb_str_of(w->key));
    if (pod == NULL)
        return;
    if (w->kind == KB_SCHED_EVICT)
        preempt(s, pod);
    if (pod->state != POD_WAITING)
        return;
    if (w->kind == KB_SCHED_BIND) {
        KB_AUTO(kb_doc_destroy) struct kb_doc *doc = KB_STEAL(w->doc);
        kb_sched_bind_done(s->sched, kb_str_of(pod->key), w->attempt, 0, ++s->rev, &s->out);
        bound(s, pod, doc);
    } else if (w->kind == KB_SCHED_CONDITION) {
        decision_of(s, pod)->why = why_not(s, w->doc);
        kb_sched_condition_done(s->sched, kb_str_of(pod->key), 0);
        if (drop)
            leave(s, pod, KB_SIM_DROPPED);
    }
}

static void decide(struct kb_sim *s)
{
    size_t n;
    do {
        n = kb_sched_decide(s->sched, DECIDE_MOST, &s->out);
        bool drop = s->config.drop || s->config.tune > 0;
        for (size_t i = 0; i < s->out.n; i++) /* who makes others leave will find a place */
            drop &= s->out.wishes[i].kind != KB_SCHED_EVICT;
        for (size_t i = 0; i < s->out.n; i++)
            grant(s, i, drop);
        kb_sched_out_clear(&s->out);
    } while (n > 0 || kb_sched_wait_ms(s->sched) == 0);
}

/* Milliseconds until something happens; -1: nothing will. What only waits for a node that does not
 * come, waits for ever. */
static kb_ms next_in(const struct kb_sim *s)
{
    const struct kb_timers *all[] = {&s->pod_timers, &s->fault_timers};
    kb_ms least = -1, wait;
    struct kb_sched_counts counts = kb_sched_counts(s->sched);
    for (size_t i = 0; i < KB_COUNT(all); i++)
        if ((wait = kb_timers_wait_ms(all[i], s->now)) >= 0 && (least < 0 || wait < least))
            least = wait;
    bool more = least >= 0 || counts.waiting.active + counts.waiting.backoff + counts.held > 0 ||
                (s->now_point.waiting > 0 && s->node_timers.count > 0);
    if (!more)
        return -1;
    wait = kb_timers_wait_ms(&s->node_timers, s->now);
    least = wait >= 0 && (least < 0 || wait < least) ? wait : least;
    wait = kb_sched_wait_ms(s->sched);
    return wait >= 0 && (least < 0 || wait < least) ? wait : least;
}

static void happen(struct kb_sim *s)
{
    struct kb_timer *timer;
    while ((timer = kb_timers_pop(&s->node_timers, s->now)) != NULL)
        node_due(s, KB_CONTAINER(timer, struct sim_node, timer));
    while ((timer = kb_timers_pop(&s->fault_timers, s->now)) != NULL)
        fault_due(s, KB_CONTAINER(timer, struct sim_fault, timer)->of);
    while ((timer = kb_timers_pop(&s->pod_timers, s->now)) != NULL) {
        struct sim_pod *pod = KB_CONTAINER(timer, struct sim_pod, timer);
        if (pod->state == POD_COMING)
            arrive(s, pod, false);
        else
            leave(s, pod, KB_SIM_BOUND);
    }
}

static void look_for_trouble(struct kb_sim *s)
{
    struct kb_core_held held;
    if (s->trouble[0] == '\0' && kb_core_next_held(s->core, &held))
        snprintf(s->trouble, sizeof(s->trouble), "policy %s: %s", held.policy, held.why);
}

const char *kb_sim_trouble(const struct kb_sim *s)
{
    return s->trouble[0] ? s->trouble : NULL;
}

bool kb_sim_run(struct kb_sim *s, size_t steps)
{
    for (size_t i = 0; i < steps; i++) {
        kb_ms wait = next_in(s);
        if (wait < 0)
            return false;
        s->now += wait;
        kb_sched_time(s->sched, s->now, s->now * 1000);
        s->changed = false;
        happen(s);
        decide(s);
        look_for_trouble(s);
        if (s->trouble[0])
            return false;
        if (!s->changed)
            continue;
        s->now_point.at_ms = s->now;
        if (s->points_n > 0 && s->points[s->points_n - 1].at_ms == s->now)
            s->points_n--; /* a pod came and went in no time: one moment, one point */
        KB_GROW(s->points, s->points_n, s->points_cap, 1024);
        s->points[s->points_n++] = s->now_point;
    }
    return true;
}

double kb_sim_progress(const struct kb_sim *s)
{
    return s->pods_n > 0 ? (double)s->done / (double)s->pods_n : 1;
}

const struct kb_sim_decision *kb_sim_decisions(const struct kb_sim *s, size_t *ret_n)
{
    *ret_n = s->decisions_n;
    return s->decisions;
}

const struct kb_sim_point *kb_sim_points(const struct kb_sim *s, size_t *ret_n)
{
    *ret_n = s->points_n;
    return s->points;
}

struct kb_sim_total kb_sim_total(const struct kb_sim *s)
{
    return s->total;
}
