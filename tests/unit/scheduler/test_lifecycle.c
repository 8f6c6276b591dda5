/* The extension points after a decision, driven by policies that write down what happens to them.
 */
#include "actors/scheduler/core/lifecycle.h"
#include "tests/lib/test.h"
#include "tests/unit/scheduler/world.h"

#include <stdlib.h>

static char story[1024];

static void note(const char *what, const struct kb_policy_cycle *c)
{
    size_t n = strlen(story);
    snprintf(story + n, sizeof(story) - n, "%s%s", n ? " " : "", what);
    KB_CHECK(c->who != NULL && c->who->pod == c->pod);
}

static enum kb_policy_status answer_permit, answer_prepare, answer_bind, answer_reserve;

static enum kb_policy_status reserve(struct kb_policy_cycle *c, uint32_t node)
{
    note("reserve", c);
    KB_CHECK_I64(c->nodes->requested[KB_POLICY_PODS][node], ==, 1); /* it counts already */
    c->own = strdup("own");
    c->code = 7;
    return answer_reserve;
}

static void unreserve(struct kb_policy_cycle *c, uint32_t node)
{
    note("unreserve", c);
    (void)node;
    free(c->own);
    c->own = NULL;
}

static enum kb_policy_status permit(struct kb_policy_cycle *c, uint32_t node, int64_t *ret_wait_ms)
{
    note("permit", c);
    (void)node;
    *ret_wait_ms = 10000;
    c->code = 8;
    return answer_permit;
}

static enum kb_policy_status pre_bind(struct kb_policy_cycle *c, uint32_t node)
{
    note("prepare", c);
    (void)node;
    c->host->lifecycle->annotate(c, "x/disk", "d7");
    return answer_prepare;
}

static enum kb_policy_status bind(struct kb_policy_cycle *c, uint32_t node)
{
    note("bind", c);
    (void)node;
    return answer_bind;
}

static void post_bind(struct kb_policy_cycle *c, uint32_t node)
{
    note("bound", c);
    (void)node;
    KB_CHECK_STR((char *)c->own, "own");
    free(c->own);
    c->own = NULL;
}

static void reason(struct kb_policy_cycle *c, uint32_t code, kb_policy_emit *emit, void *to)
{
    (void)c;
    emit(to, code == 7 ? "no disk" : code == 8 ? "not today" : "?");
}

static const struct kb_policy Chatty = {.abi = KB_POLICY_ABI,
                                        .size = sizeof(Chatty),
                                        .name = "Chatty",
                                        .events = KB_POLICY_ON_NODE_ADD,
                                        .reserve = reserve,
                                        .unreserve = unreserve,
                                        .permit = permit,
                                        .pre_bind = pre_bind,
                                        .bind = bind,
                                        .post_bind = post_bind,
                                        .reason = reason};

/* Gives the permits of all that wait when a pod labelled "last" asks. */
static enum kb_policy_status wait_for_last(struct kb_policy_cycle *c, uint32_t node,
                                           int64_t *ret_wait_ms)
{
    const struct kb_policy_lifecycle *life = c->host->lifecycle;
    void *core = c->host->core;
    uint32_t word = life->label(core, c->who, "order.x/word");
    (void)node;
    *ret_wait_ms = 60000;
    if (word == 0)
        return KB_POLICY_WAIT;
    bool last = word == c->host->intern(core, "last");
    for (const struct kb_policy_queued *pod = life->waiting(core, NULL), *next; pod; pod = next) {
        next = life->waiting(core, pod);
        if (last)
            life->allow(c, pod);
        else
            life->reject(c, pod, "somebody said no");
    }
    return KB_POLICY_OK;
}

static const struct kb_policy LastWord = {
    .abi = KB_POLICY_ABI, .size = sizeof(LastWord), .name = "LastWord", .permit = wait_for_last};

static void begin(struct world *w, const struct kb_policy *policy)
{
    static const struct kb_policy *one[1];
    one[0] = policy;
    story[0] = 0;
    answer_reserve = answer_permit = answer_prepare = KB_POLICY_OK;
    answer_bind = KB_POLICY_SKIP;
    world_start_with(w, one, 1);
}

KB_TEST(lifecycle, a_pod_passes_all_points_in_their_order)
{
    KB_AUTO(world_end) struct world w;
    begin(&w, &Chatty);
    world_try_one(&w, "2");
    KB_CHECK_STR(story, "reserve permit prepare bind bound");
    KB_CHECK_STR(world_where(&w, "pods/x/p"), "n1");
    kb_val notes = kb_doc_at(world_find(&w, "pods/x/p")->doc, "metadata.annotations");
    KB_CHECK(kb_str_is(kb_val_str(kb_val_get(notes, "x/disk")), "d7"));
}

KB_TEST(lifecycle, whoever_refuses_has_the_pod_taken_back_with_his_words)
{
    KB_AUTO(world_end) struct world w;
    begin(&w, &Chatty);
    answer_reserve = KB_POLICY_UNSCHEDULABLE;
    world_try_one(&w, "2");
    KB_CHECK_STR(story, "reserve unreserve");
    KB_CHECK_STR(world_message(&w, "pods/x/p"), "0/1 nodes are available: 1 no disk.");
    KB_CHECK_U64(kb_sched_counts(w.sched).assumed, ==, 0);
    story[0] = 0;
    answer_reserve = KB_POLICY_OK;
    answer_permit = KB_POLICY_UNSCHEDULABLE;
    world_wait_ms(&w, 11000);
    world_store_json(&w, "nodes//n0", "{}");
    world_settle(&w);
    KB_CHECK_STR(story, "reserve permit unreserve");
    KB_CHECK_STR(world_message(&w, "pods/x/p"), "0/1 nodes are available: 1 not today.");
}

KB_TEST(lifecycle, a_permit_that_never_comes_runs_out)
{
    KB_AUTO(world_end) struct world w;
    begin(&w, &Chatty);
    answer_permit = KB_POLICY_WAIT;
    world_try_one(&w, "2");
    KB_CHECK_U64(kb_sched_counts(w.sched).held, ==, 1);
    KB_CHECK_I64(kb_sched_wait_ms(w.sched), ==, 10000);
    world_after(&w, 10000);
    KB_CHECK_STR(story, "reserve permit unreserve");
    KB_CHECK_STR(world_message(&w, "pods/x/p"),
                 "0/1 nodes are available: 1 rejected due to timeout after waiting 10s at plugin "
                 "Chatty.");
    KB_CHECK_U64(kb_sched_counts(w.sched).held, ==, 0);
}

KB_TEST(lifecycle, a_pod_that_waits_for_a_permit_keeps_its_place_until_it_goes)
{
    KB_AUTO(world_end) struct world w;
    begin(&w, &Chatty);
    answer_permit = KB_POLICY_WAIT;
    world_try_one(&w, "1");
    world_pod(&w, "p", "1", ""); /* somebody writes it: no matter */
    world_pod(&w, "q", "1", "");
    world_settle(&w);
    KB_CHECK_STR(story, "reserve permit");
    world_store(&w, "pods/x/p", NULL);
    world_settle(&w);
    KB_CHECK_STR(story, "reserve permit unreserve");
    world_after(&w, 1000);
    KB_CHECK_STR(story, "reserve permit unreserve reserve permit");
}

KB_TEST(lifecycle, one_pod_gives_the_permits_of_the_others)
{
    KB_AUTO(world_end) struct world w;
    begin(&w, &LastWord);
    world_node(&w, "n1", "4");
    world_pod(&w, "a", "1", "");
    world_pod(&w, "b", "1", "");
    world_settle(&w);
    KB_CHECK_U64(kb_sched_counts(w.sched).held, ==, 2);
    world_store_json(&w, "pods/x/c",
                     "{'metadata': {'name': 'c', 'namespace': 'x', 'uid': 'c', 'labels': "
                     "{'order.x/word': 'last'}}, 'spec': {'containers': [{}]}}");
    world_settle(&w);
    KB_CHECK_STR(world_where(&w, "pods/x/a"), "n1");
    KB_CHECK_STR(world_where(&w, "pods/x/b"), "n1");
    KB_CHECK_STR(world_where(&w, "pods/x/c"), "n1");
    KB_CHECK_U64(kb_sched_counts(w.sched).placed, ==, 3);
}

KB_TEST(lifecycle, or_has_them_refused)
{
    KB_AUTO(world_end) struct world w;
    begin(&w, &LastWord);
    world_node(&w, "n1", "4");
    world_pod(&w, "a", "1", "");
    world_settle(&w);
    world_store_json(&w, "pods/x/c",
                     "{'metadata': {'name': 'c', 'namespace': 'x', 'uid': 'c', 'labels': "
                     "{'order.x/word': 'never'}}, 'spec': {'containers': [{}]}}");
    world_settle(&w);
    KB_CHECK_STR(world_message(&w, "pods/x/a"), "0/1 nodes are available: 1 somebody said no.");
    KB_CHECK_STR(world_where(&w, "pods/x/a"), "");
}

KB_TEST(lifecycle, what_pre_bind_waits_for_is_asked_each_second_and_after_events)
{
    KB_AUTO(world_end) struct world w;
    begin(&w, &Chatty);
    answer_prepare = KB_POLICY_WAIT;
    world_try_one(&w, "2");
    KB_CHECK_I64(kb_sched_wait_ms(w.sched), ==, KB_CYCLE_PREPARE_AGAIN_MS);
    world_after(&w, 1000);
    world_store_json(&w, "nodes//n2", "{}");
    world_settle(&w);
    KB_CHECK_STR(story, "reserve permit prepare prepare prepare");
    answer_prepare = KB_POLICY_OK;
    world_after(&w, 1000);
    KB_CHECK_STR(world_where(&w, "pods/x/p"), "n1");
}

KB_TEST(lifecycle, what_others_bind_keeps_its_place_for_a_minute)
{
    KB_AUTO(world_end) struct world w;
    begin(&w, &Chatty);
    answer_bind = KB_POLICY_OK;
    world_try_one(&w, "2");
    KB_CHECK_STR(world_where(&w, "pods/x/p"), "");
    kb_val notes = kb_doc_at(world_find(&w, "pods/x/p")->doc, "metadata.annotations");
    KB_CHECK(kb_str_is(kb_val_str(kb_val_get(notes, "x/disk")), "d7"));
    world_after(&w, KB_CYCLE_OTHERS_MS);
    KB_CHECK_STR(story, "reserve permit prepare bind unreserve");
    world_store_json(&w, "nodes//n2", "{}");
    world_after(&w, 1000);
    world_pod(&w, "p", "1", "'nodeName': 'n1',");
    story[0] = 0;
    world_settle(&w);
    KB_CHECK_STR(story, "bound");
}

/* ---- hints ---- */

static bool helps;
static int hints;

static void only_blue(struct kb_policy_cycle *c, uint32_t from, uint32_t to, uint32_t *verdict)
{
    const uint32_t *color = c->host->label(c->host->core, c->host->intern(c->host->core, "color"));
    uint32_t blue = c->host->intern(c->host->core, "blue");
    for (uint32_t i = from; i < to; i++)
        verdict[i - from] = color[i] != blue;
}

static int hint(void *instance, const struct kb_policy_host *host, const struct kb_policy_pod *pod,
                uint32_t event, uint32_t node)
{
    (void)instance;
    (void)pod;
    KB_CHECK_U64(event, ==, KB_POLICY_ON_NODE_LABEL);
    KB_CHECK(node != UINT32_MAX && host->core != NULL);
    hints++;
    return helps;
}

static const struct kb_policy OnlyBlue = {.abi = KB_POLICY_ABI,
                                          .size = sizeof(OnlyBlue),
                                          .name = "OnlyBlue",
                                          .events = KB_POLICY_ON_NODE_LABEL,
                                          .filter = only_blue,
                                          .reason = reason,
                                          .hint = hint};

KB_TEST(lifecycle, a_hint_may_say_that_an_event_cannot_help)
{
    KB_AUTO(world_end) struct world w;
    begin(&w, &OnlyBlue);
    world_try_one(&w, "1");
    world_wait_ms(&w, 20000);
    world_store_json(&w, "nodes//n1",
                     "{'metadata': {'labels': {'color': 'blue'}}, 'status': {'allocatable': "
                     "{'cpu': '1', 'memory': '8Gi', 'pods': '9'}}}");
    world_settle(&w);
    KB_CHECK_I64(hints, ==, 1);
    KB_CHECK_STR(world_where(&w, "pods/x/p"), "");
    helps = true;
    world_store_json(&w, "nodes//n1",
                     "{'metadata': {'labels': {'color': 'blue', 'a': 'b'}}, 'status': "
                     "{'allocatable': {'cpu': '1', 'memory': '8Gi', 'pods': '9'}}}");
    world_settle(&w);
    KB_CHECK_STR(world_where(&w, "pods/x/p"), "n1");
}
