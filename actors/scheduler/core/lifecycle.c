/* lifecycle.c - the extension points after a decision.
 *
 * WHY policies do not bind, and need no way back into the scheduler: they see no I/O. Permits are
 * given and refused by marks on the waiting pods; who is marked goes to a list that the driver
 * empties, after the policy has returned. A gang of a thousand is released by one call of `permit`,
 * and no policy is ever called while another one is.
 *
 * WHY a pod's own memory of a policy (`own`) is an array made when first used: almost no pod has
 * any. */
#include "actors/scheduler/core/lifecycle.h"

#include "bus/base/check.h"
#include "bus/base/grow.h"

#include <stdio.h>
#include <stdlib.h>

enum stage { RESERVED, WAITING, PREPARING, BINDING, AWAITED };

struct kb_cycle {
    struct kb_link link;   /* in `waiting`, `preparing` or `ended` */
    struct kb_timer timer; /* the end of WAITING; when PREPARING, the next time to ask */
    kb_ms until;           /* the end of PREPARING; 0: not begun */
    struct kb_podspec *spec;
    struct kb_waiting *w;
    void *owner;
    uint32_t slot;
    enum stage stage;
    uint64_t pending; /* policies whose permit is missing */
    bool refused;     /* by a mark, while it waited */
    uint32_t by;      /* who refused, or whose time runs out first */
    int64_t wait_ms;
    char *why;
    void *own[KB_PROFILE_POLICIES];
    struct kb_w annotations;
    bool annotated; /* the map is open */
};

struct group {
    struct kb_policy_group view;
    struct kb_link members; /* of struct kb_waiting, by group_link */
};

struct kb_lifecycle {
    struct kb_link waiting, preparing, ended;
    size_t waiting_n;
    struct kb_timers timers;
    struct kb_map groups; /* id → struct group */
    uint32_t *sent_back;  /* groups, see kb_group_sent_back */
    size_t sent_back_n, sent_back_cap;
    struct kb_refusal refusal;
};

struct kb_lifecycle *kb__lifecycle_new(void)
{
    struct kb_lifecycle *l = calloc(1, sizeof(*l));
    KB_ASSERT(l != NULL);
    kb_list_init(&l->waiting);
    kb_list_init(&l->preparing);
    kb_list_init(&l->ended);
    return l;
}

void kb__lifecycle_destroy(struct kb_lifecycle **l_p)
{
    struct kb_lifecycle *l = *l_p;
    struct group *g;
    if (l == NULL)
        return;
    for (size_t i = 0; kb_map_next(&l->groups, &i, NULL, (void **)&g);)
        free(g);
    kb_map_finish(&l->groups);
    kb_timers_finish(&l->timers);
    free(l->sent_back);
    kb_buf_finish(&l->refusal.text);
    free(l);
    *l_p = NULL;
}

/* ---- calls of one policy about one pod ---- */

struct visit {
    uint32_t policy, outer; /* outer: who was at work before */
    struct kb_policy_cycle *cycle;
};

/* False: the policy is held, and there is nothing to leave. */
static bool enter(struct kb_core *core, struct kb_cycle *c, uint32_t policy, enum kb_point point,
                  struct visit *v)
{
    const struct kb_profile_policy *at = &kb__core_profile(core, c->spec->profile)->at[policy];
    struct kb_policy_cycle *cycle = kb_plan_cycle(kb__core_plan_kept(core, c->spec), policy);
    if (at->held)
        return false;
    cycle->who = &c->w->q;
    cycle->own = c->own[policy];
    cycle->code = 0;
    *v = (struct visit){policy, kb_guard_enter(kb__core_guard(core), at->row, point), cycle};
    return true;
}

static void leave(struct kb_core *core, struct kb_cycle *c, const struct visit *v)
{
    kb_guard_leave(kb__core_guard(core), v->outer);
    c->own[v->policy] = v->cycle->own;
    v->cycle->who = NULL;
    v->cycle->own = NULL;
}

static const struct kb_profile *profile_of(struct kb_core *core, const struct kb_cycle *c)
{
    return kb__core_profile(core, c->spec->profile);
}

/* A status that this extension point does not have counts as OK, and its policy will be held. */
static enum kb_policy_status checked(struct kb_core *core, struct kb_cycle *c, uint32_t policy,
                                     enum kb_point point, enum kb_policy_status status)
{
    bool waits = point == KB_POINT_PERMIT || point == KB_POINT_PRE_BIND;
    if ((uint32_t)status <= KB_POLICY_ERROR && (status != KB_POLICY_WAIT || waits))
        return status;
    kb_guard_blame(kb__core_guard(core), profile_of(core, c), policy, "status %d of %s is none",
                   (int)status, kb_point_names[point]);
    return KB_POLICY_OK;
}

/* ---- refusing ---- */

static void begin_refusal(struct kb_core *core, const struct kb_cycle *c, uint32_t policy)
{
    struct kb_refusal *r = &kb__core_life(core)->refusal;
    kb_buf_clear(&r->text);
    r->policy = policy;
    c->spec->refusers = policy == UINT32_MAX ? 0 : UINT64_C(1) << policy;
    r->events = policy == UINT32_MAX ? 0 : profile_of(core, c)->at[policy].policy->events;
}

static void emit(void *to, const char *reason)
{
    struct kb_buf *text = to;
    kb_buf_puts(text, text->n ? ", " : "");
    kb_buf_puts(text, reason);
}

/* By the policy's own words for the code that it set. */
static void refuse_by_code(struct kb_core *core, struct kb_cycle *c, const struct visit *v,
                           const char *otherwise)
{
    const struct kb_profile *profile = profile_of(core, c);
    const struct kb_policy *p = profile->at[v->policy].policy;
    struct kb_refusal *r = &kb__core_life(core)->refusal;
    begin_refusal(core, c, v->policy);
    if (p->reason)
        KB_ASK(profile, v->policy, KB_GUARD_REASON,
               p->reason(v->cycle, v->cycle->code, emit, &r->text));
    if (r->text.n == 0)
        kb_buf_printf(&r->text, "%s by plugin %s", otherwise, p->name);
}

static void refuse_by_text(struct kb_core *core, struct kb_cycle *c)
{
    begin_refusal(core, c, c->by);
    kb_buf_puts(&kb__core_life(core)->refusal.text, c->why);
}

const struct kb_refusal *kb_cycle_refusal(const struct kb_core *core)
{
    return &kb__core_life(core)->refusal;
}

/* ---- life of a cycle ---- */

static void stop_waiting(struct kb_lifecycle *l, struct kb_cycle *c)
{
    l->waiting_n -= c->stage == WAITING;
    kb_list_remove(&c->link);
    kb_timers_disarm(&l->timers, &c->timer);
}

static void destroy(struct kb_core *core, struct kb_cycle **c_p)
{
    struct kb_cycle *c = *c_p;
    stop_waiting(kb__core_life(core), c);
    c->w->cycle = NULL;
    kb_core_spec_release(core, &c->spec);
    kb_w_finish(&c->annotations);
    free(c->why);
    free(c);
    *c_p = NULL;
}

void kb_cycle_undo(struct kb_core *core, struct kb_cycle **c_p)
{
    struct kb_cycle *c = *c_p;
    if (c == NULL)
        return;
    const struct kb_profile *profile = profile_of(core, c);
    for (uint32_t i = profile->n; i-- > 0;) {
        if (!profile->at[i].policy->unreserve)
            continue;
        struct visit v;
        if (!enter(core, c, i, KB_POINT_RESERVE, &v))
            continue;
        profile->at[i].policy->unreserve(v.cycle, c->slot);
        leave(core, c, &v);
    }
    destroy(core, c_p);
}

void kb_cycle_end(struct kb_core *core, struct kb_cycle **c_p)
{
    struct kb_cycle *c = *c_p;
    if (c == NULL)
        return;
    const struct kb_profile *profile = profile_of(core, c);
    for (uint32_t i = 0; i < profile->n; i++) {
        if (!profile->at[i].policy->post_bind)
            continue;
        struct visit v;
        if (!enter(core, c, i, KB_POINT_POST_BIND, &v))
            continue;
        profile->at[i].policy->post_bind(v.cycle, c->slot);
        leave(core, c, &v);
    }
    destroy(core, c_p);
}

void *kb_cycle_owner(const struct kb_cycle *c)
{
    return c->owner;
}

/* ---- reserve and permit ---- */

static bool reserve(struct kb_core *core, struct kb_cycle *c)
{
    const struct kb_profile *profile = profile_of(core, c);
    for (uint32_t i = 0; i < profile->n; i++) {
        if (!profile->at[i].policy->reserve)
            continue;
        struct visit v;
        if (!enter(core, c, i, KB_POINT_RESERVE, &v))
            continue;
        enum kb_policy_status s = profile->at[i].policy->reserve(v.cycle, c->slot);
        bool ok = checked(core, c, i, KB_POINT_RESERVE, s) == KB_POLICY_OK;
        if (!ok)
            refuse_by_code(core, c, &v, "reservation refused");
        leave(core, c, &v);
        if (!ok)
            return false;
    }
    return true;
}

/* What waits longest is not what counts: the first time that runs out refuses the pod. */
static void note_wait(struct kb_cycle *c, uint32_t policy, int64_t ms)
{
    ms = ms < 0 ? 0 : ms < KB_CYCLE_PERMIT_MAX_MS ? ms : KB_CYCLE_PERMIT_MAX_MS;
    if (c->pending == 0 || ms < c->wait_ms) {
        c->by = policy;
        c->wait_ms = ms;
    }
    c->pending |= UINT64_C(1) << policy;
}

static enum kb_policy_status permit(struct kb_core *core, struct kb_cycle *c)
{
    const struct kb_profile *profile = profile_of(core, c);
    for (uint32_t i = 0; i < profile->n; i++) {
        if (!profile->at[i].policy->permit)
            continue;
        int64_t ms = 0;
        struct visit v;
        if (!enter(core, c, i, KB_POINT_PERMIT, &v))
            continue;
        enum kb_policy_status s = profile->at[i].policy->permit(v.cycle, c->slot, &ms);
        s = checked(core, c, i, KB_POINT_PERMIT, s);
        if (s == KB_POLICY_WAIT)
            note_wait(c, i, ms);
        else if (s != KB_POLICY_OK && s != KB_POLICY_SKIP)
            refuse_by_code(core, c, &v, "permit refused");
        leave(core, c, &v);
        if (s == KB_POLICY_UNSCHEDULABLE || s == KB_POLICY_ERROR)
            return KB_POLICY_UNSCHEDULABLE;
    }
    return c->pending ? KB_POLICY_WAIT : KB_POLICY_OK;
}

enum kb_policy_status kb_cycle_begin(struct kb_core *core, struct kb_waiting *w, uint32_t slot,
                                     kb_ms now, void *owner)
{
    struct kb_lifecycle *l = kb__core_life(core);
    if (!kb__core_profile(core, w->spec->profile)->has_lifecycle)
        return KB_POLICY_OK;
    struct kb_cycle *c = calloc(1, sizeof(*c));
    KB_ASSERT(c != NULL);
    kb_list_init(&c->link);
    c->spec = w->spec;
    c->spec->refs++;
    c->w = w;
    w->cycle = c;
    c->owner = owner;
    c->slot = slot;
    enum kb_policy_status s = reserve(core, c) ? permit(core, c) : KB_POLICY_UNSCHEDULABLE;
    if (s == KB_POLICY_UNSCHEDULABLE) {
        kb_cycle_undo(core, &c);
        return s;
    }
    if (s == KB_POLICY_WAIT) {
        c->stage = WAITING;
        l->waiting_n++;
        kb_list_push(&l->waiting, &c->link);
        kb_timers_arm(&l->timers, &c->timer, now + c->wait_ms);
    }
    return s;
}

/* ---- pre_bind and bind ---- */

/* OK when all are. */
static enum kb_policy_status pre_bind(struct kb_core *core, struct kb_cycle *c)
{
    const struct kb_profile *profile = profile_of(core, c);
    enum kb_policy_status worst = KB_POLICY_OK;
    for (uint32_t i = 0; i < profile->n; i++) {
        if (!profile->at[i].policy->pre_bind)
            continue;
        struct visit v;
        if (!enter(core, c, i, KB_POINT_PRE_BIND, &v))
            continue;
        enum kb_policy_status s = profile->at[i].policy->pre_bind(v.cycle, c->slot);
        s = checked(core, c, i, KB_POINT_PRE_BIND, s);
        bool refused = s == KB_POLICY_UNSCHEDULABLE || s == KB_POLICY_ERROR;
        if (refused)
            refuse_by_code(core, c, &v, "pre-bind refused");
        leave(core, c, &v);
        if (refused)
            return KB_POLICY_UNSCHEDULABLE;
        if (s == KB_POLICY_WAIT) {
            c->by = i;
            worst = s;
        }
    }
    return worst;
}

enum kb_policy_status kb_cycle_prepare(struct kb_core *core, struct kb_cycle **c_p, kb_ms now)
{
    struct kb_lifecycle *l = kb__core_life(core);
    struct kb_cycle *c = *c_p;
    if (c == NULL)
        return KB_POLICY_OK;
    enum kb_policy_status s = pre_bind(core, c);
    if (s == KB_POLICY_UNSCHEDULABLE) {
        kb_cycle_undo(core, c_p);
    } else if (s == KB_POLICY_WAIT) {
        c->until = c->until ? c->until : now + KB_CYCLE_PREPARE_MAX_MS;
        c->stage = PREPARING;
        kb_list_remove(&c->link);
        kb_list_push(&l->preparing, &c->link);
        kb_timers_arm(&l->timers, &c->timer, now + KB_CYCLE_PREPARE_AGAIN_MS);
    } else {
        stop_waiting(l, c);
        c->stage = BINDING;
    }
    return s;
}

bool kb_cycle_bind(struct kb_core *core, struct kb_cycle *c, kb_ms now)
{
    if (c == NULL)
        return false;
    const struct kb_profile *profile = profile_of(core, c);
    for (uint32_t i = 0; i < profile->n; i++) {
        if (!profile->at[i].policy->bind)
            continue;
        struct visit v;
        if (!enter(core, c, i, KB_POINT_BIND, &v))
            continue;
        bool taken = profile->at[i].policy->bind(v.cycle, c->slot) == KB_POLICY_OK;
        leave(core, c, &v);
        if (!taken)
            continue;
        c->stage = AWAITED;
        c->by = i;
        c->wait_ms = KB_CYCLE_OTHERS_MS;
        kb_timers_arm(&kb__core_life(core)->timers, &c->timer, now + KB_CYCLE_OTHERS_MS);
        return true;
    }
    return false;
}

kb_val kb_cycle_annotations(struct kb_cycle *c)
{
    if (c == NULL || c->annotations.buf.n == 0)
        return (kb_val){0};
    if (c->annotated)
        kb_w_end(&c->annotations);
    c->annotated = false;
    return kb_w_val(&c->annotations);
}

/* ---- whose waiting has ended ---- */

static void ended(struct kb_lifecycle *l, struct kb_cycle *c)
{
    stop_waiting(l, c);
    c->stage = RESERVED;
    kb_list_push(&l->ended, &c->link);
}

static void refuse(struct kb_lifecycle *l, struct kb_cycle *c, uint32_t by, char *why)
{
    c->refused = true;
    c->by = by;
    free(c->why);
    c->why = why;
    ended(l, c);
}

/* As Go writes a duration. */
static char *time_text(int64_t ms, const char *policy)
{
    char span[64];
    int64_t s = ms / 1000;
    if (ms % 1000 == 0 && s >= 60)
        snprintf(span, sizeof(span), "%lldm%llds", (long long)(s / 60), (long long)(s % 60));
    else if (ms % 1000 == 0)
        snprintf(span, sizeof(span), "%llds", (long long)s);
    else
        snprintf(span, sizeof(span), "%lldms", (long long)ms);
    return kb_strf("rejected due to timeout after waiting %s at plugin %s", span, policy);
}

static void time_is_up(struct kb_core *core, struct kb_lifecycle *l, struct kb_cycle *c)
{
    const char *policy = profile_of(core, c)->at[c->by].policy->name;
    bool preparing = c->stage == PREPARING;
    refuse(l, c, c->by, time_text(preparing ? KB_CYCLE_PREPARE_MAX_MS : c->wait_ms, policy));
}

struct kb_cycle *kb_cycle_next(struct kb_core *core, kb_ms now, enum kb_policy_status *ret)
{
    struct kb_lifecycle *l = kb__core_life(core);
    struct kb_timer *timer;
    while ((timer = kb_timers_pop(&l->timers, now)) != NULL) {
        struct kb_cycle *c = KB_CONTAINER(timer, struct kb_cycle, timer);
        if (c->stage == PREPARING && now < c->until)
            ended(l, c);
        else
            time_is_up(core, l, c);
    }
    struct kb_link *link = kb_list_pop(&l->ended);
    if (link == NULL)
        return NULL;
    struct kb_cycle *c = KB_CONTAINER(link, struct kb_cycle, link);
    if (c->refused)
        refuse_by_text(core, c);
    *ret = c->refused ? KB_POLICY_UNSCHEDULABLE : KB_POLICY_OK;
    return c;
}

void kb_cycle_stir(struct kb_core *core)
{
    struct kb_lifecycle *l = kb__core_life(core);
    while (!kb_list_empty(&l->preparing))
        ended(l, KB_CONTAINER(l->preparing.next, struct kb_cycle, link));
}

bool kb_cycle_reject(struct kb_core *core, struct kb_cycle *c, const char *why)
{
    if (c == NULL || c->stage != WAITING)
        return false;
    refuse(kb__core_life(core), c, UINT32_MAX, kb_str_dup(kb_str_of(why)));
    return true;
}

kb_ms kb_cycle_wait_ms(const struct kb_core *core, kb_ms now)
{
    const struct kb_lifecycle *l = kb__core_life(core);
    return kb_list_empty(&l->ended) ? kb_timers_wait_ms(&l->timers, now) : 0;
}

size_t kb_cycle_waiting(const struct kb_core *core)
{
    return kb__core_life(core)->waiting_n;
}

/* ---- hints ---- */

bool kb_core_hints(const struct kb_core *core)
{
    for (uint32_t i = 0; i < kb__core_profiles(core); i++)
        if (kb__core_profile(core, i)->has_hint)
            return true;
    return false;
}

static uint32_t hinted(struct kb_core *core, const struct kb_podspec *spec, uint32_t policy,
                       uint32_t events, uint32_t slot)
{
    const struct kb_profile *profile = kb__core_profile(core, spec->profile);
    const struct kb_profile_policy *at = &profile->at[policy];
    uint32_t helpful = 0;
    events &= at->policy->events;
    if (at->policy->hint == NULL)
        return events;
    for (uint32_t bit = 1; events != 0; bit <<= 1) {
        int may = 0;
        if (!(events & bit))
            continue;
        events &= ~bit;
        KB_ASK(profile, policy, KB_POINT_FILTER,
               may = at->policy->hint(at->instance, kb__core_host(core), &spec->pod, bit, slot));
        helpful |= may ? bit : 0;
    }
    return helpful;
}

uint32_t kb_core_helpful(struct kb_core *core, const struct kb_podspec *spec, uint32_t events,
                         uint32_t slot)
{
    uint32_t helpful = 0, n = kb__core_profile(core, spec->profile)->n;
    if (spec->refusers == 0)
        return events; /* it was refused by none of them, or by one that is gone */
    for (uint32_t i = 0; i < n; i++)
        if (spec->refusers & (UINT64_C(1) << i))
            helpful |= hinted(core, spec, i, events, slot);
    return helpful;
}

/* ---- groups ---- */

static kb_str group_key(const uint32_t *group)
{
    return kb_str_n((const char *)group, sizeof(*group));
}

static struct group *group_at(const struct kb_lifecycle *l, uint32_t group)
{
    return kb_map_get(&l->groups, group_key(&group));
}

uint32_t kb_group_of(struct kb_core *core, uint32_t profile, const struct kb_waiting *w)
{
    const struct kb_profile *p = kb__core_profile(core, profile);
    if (p->grouper == UINT32_MAX)
        return 0;
    const struct kb_profile_policy *at = &p->at[p->grouper];
    uint32_t group = 0;
    if (at->policy->group)
        KB_ASK(p, p->grouper, KB_POINT_PRE_ENQUEUE, group = at->policy->group(at->instance, &w->q));
    return group;
}

void kb_group_join(struct kb_core *core, struct kb_waiting *w)
{
    struct kb_lifecycle *l = kb__core_life(core);
    if (w->q.group == 0)
        return;
    struct group *g = group_at(l, w->q.group);
    if (g == NULL) {
        g = calloc(1, sizeof(*g));
        KB_ASSERT(g != NULL);
        g->view.size = sizeof(g->view);
        g->view.since_ms = w->q.queued_ms;
        kb_list_init(&g->members);
        kb_map_put(&l->groups, group_key(&w->q.group), g);
    }
    g->view.known++;
    kb_list_push(&g->members, &w->group_link);
}

void kb_group_leave(struct kb_core *core, struct kb_waiting *w)
{
    struct kb_lifecycle *l = kb__core_life(core);
    struct group *g = w->q.group ? group_at(l, w->q.group) : NULL;
    if (g == NULL)
        return;
    kb_list_remove(&w->group_link);
    if (--g->view.known > 0)
        return;
    kb_map_del(&l->groups, group_key(&w->q.group));
    free(g);
}

const struct kb_link *kb_group_members(const struct kb_core *core, uint32_t group)
{
    const struct group *g = group ? group_at(kb__core_life(core), group) : NULL;
    return g ? &g->members : NULL;
}

void kb_group_placed(struct kb_core *core, uint32_t group, int by)
{
    struct group *g = group_at(kb__core_life(core), group);
    if (group != 0 && g != NULL)
        g->view.placed += (uint32_t)by;
}

const struct kb_policy_group *kb_group_get(const struct kb_core *core, uint32_t group)
{
    static const struct kb_policy_group none = {.size = sizeof(none)};
    const struct group *g = group_at(kb__core_life(core), group);
    return g ? &g->view : &none;
}

/* ---- what policies may ask and do ---- */

static uint32_t text_in(void *core, const struct kb_policy_queued *pod, const char *map,
                        const char *key)
{
    const struct kb_waiting *w = KB_CONTAINER(pod, const struct kb_waiting, q);
    kb_val metadata = kb_val_get(w->object, "metadata");
    kb_str text = kb_val_str(kb_val_getn(kb_val_get(metadata, map), kb_str_of(key)));
    return text.n ? kb__core_intern(core, text) : 0;
}

static uint32_t host_label(void *core, const struct kb_policy_queued *pod, const char *key)
{
    return text_in(core, pod, "labels", key);
}

static uint32_t host_annotation(void *core, const struct kb_policy_queued *pod, const char *key)
{
    return text_in(core, pod, "annotations", key);
}

static const struct kb_policy_nodes *host_nodes(void *core)
{
    return &kb_core_columns(core)->view;
}

static const struct kb_policy_group *host_group(void *core, uint32_t group)
{
    return kb_group_get(core, group);
}

static struct kb_cycle *cycle_of(const struct kb_policy_queued *pod)
{
    return KB_CONTAINER(pod, const struct kb_waiting, q)->cycle;
}

static const struct kb_policy_queued *host_waiting(void *core, const struct kb_policy_queued *after)
{
    const struct kb_link *head = &kb__core_life(core)->waiting;
    const struct kb_link *next = after ? cycle_of(after)->link.next : head->next;
    return next == head ? NULL : &KB_CONTAINER(next, const struct kb_cycle, link)->w->q;
}

/* The calling policy's place in another pod's profile; UINT32_MAX: that has no such policy. */
static uint32_t place_in(struct kb_core *core, const struct kb_policy_cycle *cycle,
                         const struct kb_cycle *c)
{
    const struct kb_profile *profile = profile_of(core, c);
    for (uint32_t i = 0; i < profile->n; i++)
        if (strcmp(profile->at[i].policy->name, cycle->self->name) == 0)
            return i;
    return UINT32_MAX;
}

static void host_allow(struct kb_policy_cycle *cycle, const struct kb_policy_queued *pod)
{
    struct kb_core *core = cycle->host->core;
    struct kb_cycle *c = cycle_of(pod);
    uint32_t policy = c ? place_in(core, cycle, c) : UINT32_MAX;
    if (policy == UINT32_MAX || c->stage != WAITING)
        return;
    c->pending &= ~(UINT64_C(1) << policy);
    if (c->pending == 0)
        ended(kb__core_life(core), c);
}

static void host_reject(struct kb_policy_cycle *cycle, const struct kb_policy_queued *pod,
                        const char *why)
{
    struct kb_core *core = cycle->host->core;
    struct kb_cycle *c = cycle_of(pod);
    if (c != NULL && c->stage == WAITING)
        refuse(kb__core_life(core), c, place_in(core, cycle, c), kb_str_dup(kb_str_of(why)));
}

static void note_sent_back(struct kb_lifecycle *l, uint32_t group)
{
    for (size_t i = 0; i < l->sent_back_n; i++)
        if (l->sent_back[i] == group)
            return;
    KB_GROW(l->sent_back, l->sent_back_n, l->sent_back_cap, 16);
    l->sent_back[l->sent_back_n++] = group;
}

static void host_send_back(struct kb_policy_cycle *cycle, uint32_t group, const char *why)
{
    struct kb_core *core = cycle->host->core;
    struct kb_lifecycle *l = kb__core_life(core);
    const struct group *g = group ? group_at(l, group) : NULL;
    if (g == NULL)
        return;
    note_sent_back(l, group);
    KB_LIST_EACH(it, &g->members)
    {
        struct kb_cycle *c = KB_CONTAINER(it, struct kb_waiting, group_link)->cycle;
        if (c != NULL && c->stage == WAITING)
            refuse(l, c, place_in(core, cycle, c), kb_str_dup(kb_str_of(why)));
    }
}

bool kb_group_sent_back(struct kb_core *core, uint32_t *ret_group)
{
    struct kb_lifecycle *l = kb__core_life(core);
    if (l->sent_back_n == 0)
        return false;
    *ret_group = l->sent_back[--l->sent_back_n];
    return true;
}

static void host_annotate(struct kb_policy_cycle *cycle, const char *key, const char *value)
{
    struct kb_cycle *c = cycle->who ? cycle_of(cycle->who) : NULL;
    if (c == NULL || (c->annotations.buf.n > 0 && !c->annotated))
        return;
    if (c->annotations.buf.n == 0)
        kb_w_map(&c->annotations);
    c->annotated = true;
    kb_w_kcstr(&c->annotations, key, value);
}

const struct kb_policy_lifecycle kb__lifecycle_host = {
    .size = sizeof(kb__lifecycle_host),
    .label = host_label,
    .annotation = host_annotation,
    .annotate = host_annotate,
    .nodes = host_nodes,
    .group = host_group,
    .waiting = host_waiting,
    .allow = host_allow,
    .reject = host_reject,
    .send_back = host_send_back,
};
