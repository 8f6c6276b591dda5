/* The guard: who would be blamed for a crash, at each moment. */
#include "actors/scheduler/core/core.h"
#include "actors/scheduler/core/guard.h"
#include "actors/scheduler/core/profile.h"
#include "tests/lib/test.h"
#include "tests/unit/scheduler/world.h"

static const char *at_work(struct kb_core *core)
{
    static char text[KB_GUARD_NAME_BYTES + 32];
    const struct kb_guard_page *page = kb__core_guard(core)->page;
    if (page->at == 0)
        return "nobody";
    snprintf(text, sizeof(text), "%s in %s", page->rows[(page->at & 0xffff) - 1].name,
             kb_guard_point_name(page->at));
    return text;
}

static void expect(const struct kb_policy_cycle *c, const char *who)
{
    KB_CHECK_STR(at_work(c->host->core), who);
}

/* ---- one that refuses nodes with pods, and one that asks what it would say without them ---- */

static int filtered, reasoned;

static void filter(struct kb_policy_cycle *c, uint32_t from, uint32_t to, uint32_t *verdict)
{
    filtered++;
    expect(c, "Loner in filter");
    for (uint32_t i = from; i < to; i++)
        verdict[i - from] = c->nodes->requested[KB_POLICY_PODS][i] > 0;
}

static void say_why(struct kb_policy_cycle *c, uint32_t code, kb_policy_emit *emit, void *to)
{
    (void)code;
    reasoned++;
    expect(c, "Loner in reason");
    emit(to, "somebody is there");
}

static enum kb_policy_status post_filter(struct kb_policy_cycle *c, uint32_t *ret_node)
{
    const struct kb_policy_preemption *p = c->preemption;
    const struct kb_policy_placed *const *there;
    int before = filtered, said = reasoned;
    (void)ret_node;
    KB_CHECK_U64(p->pods(c, 0, &there), ==, 1);
    p->remove(c, there[0]);
    KB_CHECK(p->fits(c, 0));
    expect(c, "Asker in postFilter");
    p->put_back(c, there[0]);
    KB_CHECK(!p->fits(c, 0));
    expect(c, "Asker in postFilter");
    p->count_unfit(c);
    expect(c, "Asker in postFilter");
    KB_CHECK(filtered > before && reasoned == said + 1);
    return KB_POLICY_UNSCHEDULABLE;
}

static const struct kb_policy Loner = {.abi = KB_POLICY_ABI,
                                       .size = sizeof(Loner),
                                       .name = "Loner",
                                       .filter = filter,
                                       .reason = say_why};
static const struct kb_policy Asker = {
    .abi = KB_POLICY_ABI, .size = sizeof(Asker), .name = "Asker", .post_filter = post_filter};

KB_TEST(guard, who_asked_others_is_to_blame_for_what_comes_then)
{
    const struct kb_policy *policies[] = {&Loner, &Asker};
    KB_AUTO(world_end) struct world w;
    filtered = reasoned = 0;
    world_start_with(&w, policies, KB_COUNT(policies));
    world_node(&w, "n1", "8");
    world_pod(&w, "first", "1", "");
    world_settle(&w);
    KB_CHECK_STR(world_where(&w, "pods/x/first"), "n1");
    world_pod(&w, "second", "1", "");
    world_settle(&w);
    KB_CHECK_STR(world_where(&w, "pods/x/second"), "");
    KB_CHECK(reasoned > 0);
    KB_CHECK_STR(at_work(kb_sched_core(w.sched)), "nobody");
}

/* ---- one that has all points after a decision, and refuses in the last but one ---- */

static int visits;
static enum kb_policy_status prepared;

static enum kb_policy_status reserve(struct kb_policy_cycle *c, uint32_t node)
{
    (void)node;
    visits++;
    expect(c, "Walker in reserve");
    return KB_POLICY_OK;
}

static void unreserve(struct kb_policy_cycle *c, uint32_t node)
{
    (void)node;
    visits++;
    expect(c, "Walker in reserve");
}

static enum kb_policy_status permit(struct kb_policy_cycle *c, uint32_t node, int64_t *ret_wait_ms)
{
    (void)node, (void)ret_wait_ms;
    visits++;
    expect(c, "Walker in permit");
    return KB_POLICY_OK;
}

static enum kb_policy_status pre_bind(struct kb_policy_cycle *c, uint32_t node)
{
    (void)node;
    visits++;
    expect(c, "Walker in preBind");
    return prepared;
}

static void refuse(struct kb_policy_cycle *c, uint32_t code, kb_policy_emit *emit, void *to)
{
    (void)code;
    visits++;
    expect(c, "Walker in reason");
    emit(to, "not today");
}

static const struct kb_policy Walker = {.abi = KB_POLICY_ABI,
                                        .size = sizeof(Walker),
                                        .name = "Walker",
                                        .reserve = reserve,
                                        .unreserve = unreserve,
                                        .permit = permit,
                                        .pre_bind = pre_bind,
                                        .reason = refuse};

/* As if `Asker` had led to a pod's decision, with all that follows from it. */
static void decide_within_another(enum kb_policy_status prepare, int expected_visits)
{
    const struct kb_policy *policies[] = {&Walker, &Asker};
    KB_AUTO(world_end) struct world w;
    visits = 0;
    prepared = prepare;
    world_start_with(&w, policies, KB_COUNT(policies));
    struct kb_guard *guard = kb__core_guard(kb_sched_core(w.sched));
    uint32_t row = kb_guard_row(guard->page, "Asker", "");
    world_node(&w, "n1", "8");
    world_pod(&w, "p", "1", "");
    uint32_t outer = kb_guard_enter(guard, row, KB_POINT_POST_FILTER);
    world_settle(&w);
    KB_CHECK_I64(visits, ==, expected_visits);
    KB_CHECK_STR(at_work(kb_sched_core(w.sched)), "Asker in postFilter");
    kb_guard_leave(guard, outer);
}

KB_TEST(guard, a_pods_way_to_its_node_leaves_who_was_at_work_before)
{
    decide_within_another(KB_POLICY_OK, 3);
}

KB_TEST(guard, and_so_does_the_way_back)
{
    decide_within_another(KB_POLICY_UNSCHEDULABLE, 5);
}
