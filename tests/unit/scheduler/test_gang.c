/* Gangs: all of a group, or none. */
#include "tests/lib/test.h"
#include "tests/unit/scheduler/world.h"

#include <stdlib.h>

extern const struct kb_policy kubus_policy_Gang;

static void begin(struct world *w)
{
    static const struct kb_policy *policies[1] = {&kubus_policy_Gang};
    world_start_with(w, policies, 1);
}

static void comes(struct world *w, const char *gang, int i, int of, int milli)
{
    char key[64];
    snprintf(key, sizeof(key), "pods/x/%s-%d", gang, i);
    world_store_text(
        w, key,
        "{'metadata': {'name': '%s-%d', 'namespace': 'x', 'uid': '%s-%d', 'labels': "
        "{'scheduling.x-k8s.io/pod-group': '%s'}, 'annotations': "
        "{'pod-group.scheduling.sigs.k8s.io/min-available': '%d'}}, 'spec': {'containers': "
        "[{'resources': {'requests': {'cpu': '%dm'}}}]}}",
        gang, i, gang, i, gang, of, milli);
}

static int placed(struct world *w, const char *gang)
{
    char prefix[64];
    int n = 0;
    snprintf(prefix, sizeof(prefix), "pods/x/%s-", gang);
    for (int i = 0; i < w->n; i++)
        if (strncmp(w->objects[i].key, prefix, strlen(prefix)) == 0 &&
            kb_val_present(kb_doc_at(w->objects[i].doc, "spec.nodeName")))
            n++;
    return n;
}

static void pass_ms(struct world *w, kb_ms ms)
{
    for (; ms > 0; ms -= 500) {
        world_after(w, 500);
    }
}

KB_TEST(gang, waits_until_it_is_complete_and_is_bound_at_once)
{
    KB_AUTO(world_end) struct world w;
    begin(&w);
    world_node(&w, "n1", "4");
    comes(&w, "a", 0, 3, 1000);
    comes(&w, "a", 1, 3, 1000);
    world_settle(&w);
    KB_CHECK_U64(kb_sched_counts(w.sched).waiting.gated, ==, 2);
    comes(&w, "a", 2, 3, 1000);
    world_settle(&w);
    KB_CHECK_I64(placed(&w, "a"), ==, 3);
    KB_CHECK_U64(kb_sched_counts(w.sched).held, ==, 0);
}

KB_TEST(gang, that_does_not_fit_holds_nothing)
{
    KB_AUTO(world_end) struct world w;
    begin(&w);
    world_node(&w, "n1", "2");
    for (int i = 0; i < 3; i++)
        comes(&w, "a", i, 3, 1000);
    world_settle(&w);
    KB_CHECK_I64(placed(&w, "a"), ==, 0);
    KB_CHECK_U64(kb_sched_counts(w.sched).held, ==, 0);
    world_pod(&w, "single", "2", "");
    world_settle(&w);
    KB_CHECK_STR(world_where(&w, "pods/x/single"), "n1");
    KB_CHECK_STR(world_message(&w, "pods/x/a-2"),
                 "0/1 nodes are available: 1 Insufficient cpu. preemption: 0/1 nodes are "
                 "available: 1 No preemption victims found for incoming pod.");
    world_node(&w, "n2", "3");
    pass_ms(&w, 11000);
    KB_CHECK_I64(placed(&w, "a"), ==, 3);
}

KB_TEST(gang, two_that_fit_one_at_a_time_do_not_block_each_other)
{
    KB_AUTO(world_end) struct world w;
    begin(&w);
    world_node(&w, "n1", "2");
    world_node(&w, "n2", "2");
    for (int i = 0; i < 4; i++) { /* they come interleaved */
        comes(&w, "a", i, 4, 1000);
        comes(&w, "b", i, 4, 1000);
    }
    world_settle(&w);
    pass_ms(&w, 20000);
    KB_CHECK_I64(placed(&w, "a") + placed(&w, "b"), ==, 4);
    KB_CHECK_I64(placed(&w, "a") * placed(&w, "b"), ==, 0);
    const char *first = placed(&w, "a") ? "a" : "b";
    for (int i = 0; i < 4; i++) {
        char key[32];
        snprintf(key, sizeof(key), "pods/x/%s-%d", first, i);
        world_store(&w, key, NULL);
    }
    world_settle(&w);
    pass_ms(&w, 20000);
    KB_CHECK_I64(placed(&w, first[0] == 'a' ? "b" : "a"), ==, 4);
}

KB_TEST(gang, a_small_one_is_not_starved_by_a_large_one_that_never_fits)
{
    KB_AUTO(world_end) struct world w;
    begin(&w);
    world_node(&w, "n1", "3");
    for (int i = 0; i < 6; i++)
        comes(&w, "large", i, 6, 1000);
    world_settle(&w);
    for (int i = 0; i < 2; i++)
        comes(&w, "small", i, 2, 1500);
    world_settle(&w);
    pass_ms(&w, 1000);
    KB_CHECK_I64(placed(&w, "small"), ==, 2);
    KB_CHECK_I64(placed(&w, "large"), ==, 0);
}

KB_TEST(gang, a_member_that_comes_back_later_joins_those_that_run)
{
    KB_AUTO(world_end) struct world w;
    begin(&w);
    world_node(&w, "n1", "4");
    for (int i = 0; i < 3; i++)
        comes(&w, "a", i, 3, 1000);
    world_settle(&w);
    world_store(&w, "pods/x/a-1", NULL);
    world_settle(&w);
    comes(&w, "a", 7, 3, 1000);
    world_settle(&w);
    KB_CHECK_I64(placed(&w, "a"), ==, 3);
}

KB_TEST(gang, what_waits_for_a_gated_member_gives_up_in_time)
{
    KB_AUTO(world_end) struct world w;
    begin(&w);
    world_node(&w, "n1", "2");
    comes(&w, "a", 0, 2, 1000);
    world_store_json(&w, "pods/x/a-1",
                     "{'metadata': {'name': 'a-1', 'namespace': 'x', 'uid': 'a-1', 'labels': "
                     "{'scheduling.x-k8s.io/pod-group': 'a', "
                     "'pod-group.scheduling.sigs.k8s.io/min-available': '2'}}, 'spec': "
                     "{'schedulingGates': [{'name': 'g'}], 'containers': [{}]}}");
    world_settle(&w);
    KB_CHECK_U64(kb_sched_counts(w.sched).held, ==, 1);
    world_after(&w, 60000);
    KB_CHECK_STR(world_message(&w, "pods/x/a-0"),
                 "0/1 nodes are available: 1 rejected due to timeout after waiting 1m0s at plugin "
                 "Gang.");
    KB_CHECK_I64(placed(&w, "a"), ==, 0);
}

/* Killed between its bindings: what stands in the store is a gang of which `bound` have a node. */
static void partly_bound(struct world *w, int bound, int of)
{
    begin(w);
    world_node(w, "n1", "8");
    for (int i = 0; i < of; i++)
        comes(w, "a", i, of, 1000);
    world_settle(w);
    KB_CHECK_I64(placed(w, "a"), ==, of);
    for (int i = bound; i < of; i++) /* never bound, as far as the store knows */
        comes(w, "a", i, of, 1000);
    KB_CHECK_I64(placed(w, "a"), ==, bound);
}

KB_TEST(gang, whose_scheduler_was_killed_between_its_bindings_is_completed_by_the_next)
{
    for (int bound = 0; bound <= 4; bound++) {
        KB_AUTO(world_end) struct world w;
        partly_bound(&w, bound, 4);
        world_restart(&w);
        world_settle(&w);
        KB_CHECK_I64(placed(&w, "a"), ==, 4);
        KB_CHECK_U64(kb_sched_counts(w.sched).held, ==, 0);
    }
}

KB_TEST(gang, that_cannot_be_completed_keeps_what_is_bound_and_is_completed_when_there_is_room)
{
    KB_AUTO(world_end) struct world w;
    partly_bound(&w, 2, 4);
    world_node(&w, "n1", "3"); /* it has shrunk meanwhile */
    world_restart(&w);
    world_settle(&w);
    pass_ms(&w, 20000);
    KB_CHECK_I64(placed(&w, "a"), <=, 3);
    KB_CHECK_I64(placed(&w, "a"), >=, 2);
    world_node(&w, "n2", "2");
    world_settle(&w);
    pass_ms(&w, 70000);
    KB_CHECK_I64(placed(&w, "a"), ==, 4);
    KB_CHECK_U64(kb_sched_counts(w.sched).held, ==, 0);
}
