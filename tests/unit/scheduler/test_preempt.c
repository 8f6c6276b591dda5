/* Preemption: whom it chooses, what is written and promised, and who has to wait for whom. */
#include "tests/lib/test.h"
#include "tests/unit/scheduler/world.h"

#include <stdlib.h>

/* A pod that runs on a node. */
static void runs(struct world *w, const char *name, const char *node, int milli, int priority,
                 const char *minute)
{
    char key[64];
    snprintf(key, sizeof(key), "pods/x/%s", name);
    world_store_text(
        w, key,
        "{'metadata': {'name': '%s', 'namespace': 'x', 'uid': 'u-%s', 'labels': {'app': "
        "'%s'}}, 'spec': {'nodeName': '%s', 'priority': %d, 'containers': [{'resources': "
        "{'requests': {'cpu': '%dm'}}}]}, 'status': {'startTime': "
        "'2025-01-01T00:%s:00Z'}}",
        name, name, name, node, priority, milli, minute);
}

static void arrives(struct world *w, const char *name, int milli, int priority, const char *more)
{
    char cpu[16], spec[128];
    snprintf(cpu, sizeof(cpu), "%dm", milli);
    snprintf(spec, sizeof(spec), "%s 'priority': %d,", more, priority);
    world_pod(w, name, cpu, spec);
}

static const char *nominated(struct world *w, const char *key)
{
    return world_text_of(w, key, "status.nominatedNodeName");
}

static bool leaving(struct world *w, const char *key)
{
    return kb_val_present(kb_doc_at(world_find(w, key)->doc, "metadata.deletionTimestamp"));
}

/* "low" has all of the node n1, and is on its way out: "high" was promised its place. */
static void promise(struct world *w)
{
    world_start(w);
    world_node(w, "n1", "1");
    runs(w, "low", "n1", 1000, 0, "01");
    arrives(w, "high", 1000, 10, "");
    world_settle(w);
}

KB_TEST(preempt, a_pod_of_lower_priority_makes_room_gracefully)
{
    KB_AUTO(world_end) struct world w;
    promise(&w);
    KB_CHECK_STR(nominated(&w, "pods/x/high"), "n1");
    KB_CHECK_STR(world_message(&w, "pods/x/high"), "0/1 nodes are available: 1 Insufficient cpu.");
    KB_CHECK(leaving(&w, "pods/x/low"));
    KB_CHECK_STR(world_text_of(&w, "pods/x/low", "status.conditions[0].type"), "DisruptionTarget");
    KB_CHECK_STR(world_text_of(&w, "pods/x/low", "status.conditions[0].reason"),
                 "PreemptionByScheduler");
    KB_CHECK_STR(world_message(&w, "pods/x/low"),
                 "default-scheduler: preempting to accommodate a higher priority pod");
    KB_CHECK_I64(w.evictions, ==, 1);
    world_end_evicted(&w);
    world_after(&w, 1000);
    KB_CHECK_STR(world_where(&w, "pods/x/high"), "n1");
    KB_CHECK_STR(w.last_event, "Successfully assigned x/high to n1");
}

KB_TEST(preempt, the_victim_is_told_by_whom)
{
    KB_AUTO(world_end) struct world w;
    world_start(&w);
    world_node(&w, "n1", "1");
    runs(&w, "low", "n1", 1000, 0, "01");
    while (world_tell_change(&w))
        ;
    arrives(&w, "high", 500, 10, "");
    world_tell_change(&w);
    kb_sched_decide(w.sched, 1, &w.out);
    kb_str reason = {0}, text = {0};
    for (size_t i = 0; i < w.out.n; i++) {
        if (w.out.wishes[i].kind != KB_SCHED_EVENT ||
            strcmp(w.out.wishes[i].key, "pods/x/low") != 0)
            continue;
        reason = kb_val_str(kb_doc_at(w.out.wishes[i].doc, "reason"));
        text = kb_val_str(kb_doc_at(w.out.wishes[i].doc, "message"));
    }
    KB_CHECK(kb_str_is(reason, "Preempted"));
    KB_CHECK(kb_str_is(text, "Preempted by pod u-high on node n1"));
}

KB_TEST(preempt, who_never_preempts_or_has_no_lower_pods_says_so)
{
    KB_AUTO(world_end) struct world w;
    world_start(&w);
    world_node(&w, "n1", "1");
    runs(&w, "low", "n1", 1000, 5, "01");
    arrives(&w, "polite", 500, 10, "'preemptionPolicy': 'Never',");
    arrives(&w, "equal", 500, 5, "");
    arrives(&w, "large", 2000, 10, "");
    world_settle(&w);
    KB_CHECK_STR(world_message(&w, "pods/x/polite"),
                 "0/1 nodes are available: 1 Insufficient cpu. preemption: not eligible due to "
                 "preemptionPolicy=Never.");
    KB_CHECK_STR(world_message(&w, "pods/x/equal"),
                 "0/1 nodes are available: 1 Insufficient cpu. preemption: 0/1 nodes are "
                 "available: 1 No preemption victims found for incoming pod.");
    KB_CHECK_STR(world_message(&w, "pods/x/large"),
                 "0/1 nodes are available: 1 Insufficient cpu. preemption: 0/1 nodes are "
                 "available: 1 Preemption is not helpful for scheduling.");
    KB_CHECK_I64(w.evictions, ==, 0);
}

/* ---- the choice ---- */

struct victim {
    const char *name, *node;
    int milli, priority;
    const char *minute;
};

/* A pod of 1 CPU and priority 10 comes to nodes of 2 CPUs; who has to go? Names, joined. */
static const char *victims(const struct victim *all, const char *budget)
{
    static char names[256];
    struct world w;
    world_start(&w);
    names[0] = 0;
    for (int i = 1; i <= 3; i++) {
        char node[16];
        snprintf(node, sizeof(node), "n%d", i);
        bool used = false;
        for (const struct victim *v = all; v->name; v++)
            used |= strcmp(v->node, node) == 0;
        if (used)
            world_node(&w, node, "2");
    }
    if (budget)
        world_store_json(&w, "poddisruptionbudgets.policy/x/b", budget);
    for (const struct victim *v = all; v->name; v++)
        runs(&w, v->name, v->node, v->milli, v->priority, v->minute);
    arrives(&w, "high", 1000, 10, "");
    world_settle(&w);
    for (const struct victim *v = all; v->name; v++) {
        char key[64];
        snprintf(key, sizeof(key), "pods/x/%s", v->name);
        size_t n = strlen(names);
        if (leaving(&w, key))
            snprintf(names + n, sizeof(names) - n, "%s%s", n ? " " : "", v->name);
    }
    world_end(&w);
    return names;
}

KB_TEST(preempt_choice, as_many_as_possible_stay_the_most_important_first)
{
    KB_CHECK_STR(victims((struct victim[]){{"a", "n1", 500, 1, "01"},
                                           {"b", "n1", 500, 2, "01"},
                                           {"c", "n1", 500, 3, "01"},
                                           {"d", "n1", 500, 4, "01"},
                                           {0}},
                         NULL),
                 "a b");
    KB_CHECK_STR(victims((struct victim[]){{"a", "n1", 1000, 4, "01"},
                                           {"b", "n1", 500, 2, "01"},
                                           {"c", "n1", 500, 3, "01"},
                                           {0}},
                         NULL),
                 "b c");
    /* Of equals, who has run for longer stays. */
    KB_CHECK_STR(
        victims((struct victim[]){{"a", "n1", 1000, 4, "09"}, {"b", "n1", 1000, 4, "03"}, {0}},
                NULL),
        "a");
}

KB_TEST(preempt_choice, the_node_whose_highest_victim_is_lowest)
{
    KB_CHECK_STR(victims((struct victim[]){{"a", "n1", 2000, 5, "01"},
                                           {"b", "n2", 1000, 4, "01"},
                                           {"c", "n2", 1000, 4, "02"},
                                           {"d", "n3", 1500, 6, "01"},
                                           {0}},
                         NULL),
                 "c");
}

KB_TEST(preempt_choice, then_the_smallest_sum_of_priorities_then_the_fewest)
{
    KB_CHECK_STR(victims((struct victim[]){{"a", "n1", 1500, 5, "01"},
                                           {"b", "n1", 500, 5, "01"},
                                           {"c", "n2", 750, 5, "01"},
                                           {"d", "n2", 1250, 9, "02"},
                                           {"e", "n2", 0, 9, "02"},
                                           {0}},
                         NULL),
                 "a");
    KB_CHECK_STR(victims((struct victim[]){{"a", "n1", 1000, -1, "01"},
                                           {"b", "n1", 1000, 5, "01"},
                                           {"c", "n2", 500, -1, "01"},
                                           {"d", "n2", 500, -1, "01"},
                                           {"e", "n2", 1000, 5, "01"},
                                           {0}},
                         NULL),
                 "a");
}

KB_TEST(preempt_choice, then_the_one_whose_most_important_victims_started_last)
{
    KB_CHECK_STR(victims((struct victim[]){{"a", "n1", 2000, 5, "05"},
                                           {"b", "n2", 2000, 5, "07"},
                                           {"c", "n3", 2000, 5, "06"},
                                           {0}},
                         NULL),
                 "b");
}

#define BUDGET(selector, allowed, more)                                                            \
    "{'spec': {'selector': " selector "}, 'status': {'disruptionsAllowed': " allowed more "}}"

KB_TEST(preempt_choice, budgets_come_before_all_else)
{
    struct victim one_node[] = {{"a", "n1", 1000, 1, "01"}, {"b", "n1", 1000, 2, "01"}, {0}};
    struct victim two_nodes[] = {{"a", "n1", 2000, 1, "01"}, {"b", "n2", 2000, 9, "01"}, {0}};
    const char *a = "{'matchLabels': {'app': 'a'}}";
    char budget[256];
    snprintf(budget, sizeof(budget), BUDGET("%s", "0", ""), a);
    KB_CHECK_STR(victims(one_node, NULL), "a");
    KB_CHECK_STR(victims(one_node, budget), "b"); /* a is put back first */
    KB_CHECK_STR(victims(two_nodes, NULL), "a");
    KB_CHECK_STR(victims(two_nodes, budget), "b");
    snprintf(budget, sizeof(budget), BUDGET("%s", "1", ""), a);
    KB_CHECK_STR(victims(two_nodes, budget), "a");
    snprintf(budget, sizeof(budget), BUDGET("%s", "0", ", 'disruptedPods': {'a': ''}"), a);
    KB_CHECK_STR(victims(two_nodes, budget), "a");
    KB_CHECK_STR(victims(two_nodes, BUDGET("{}", "0", "")), "a");
}

KB_TEST(preempt_choice, a_budget_is_violated_when_there_is_no_other_way)
{
    struct victim only[] = {{"a", "n1", 2000, 1, "01"}, {0}};
    KB_CHECK_STR(victims(only, BUDGET("{'matchExpressions': [{'key': 'app', 'operator': "
                                      "'Exists'}]}",
                                      "0", "")),
                 "a");
}

/* ---- promises ---- */

KB_TEST(preempt, what_was_promised_is_not_given_to_a_lower_pod)
{
    KB_AUTO(world_end) struct world w;
    promise(&w);
    world_end_evicted(&w);
    arrives(&w, "sneak", 500, 5, "");
    world_settle(&w); /* high is in its back-off: sneak could take the place */
    KB_CHECK_STR(world_where(&w, "pods/x/sneak"), "");
    KB_CHECK_STR(world_message(&w, "pods/x/sneak"),
                 "0/1 nodes are available: 1 Insufficient cpu. preemption: 0/1 nodes are "
                 "available: 1 No preemption victims found for incoming pod.");
    world_after(&w, 1000);
    KB_CHECK_STR(world_where(&w, "pods/x/high"), "n1");
}

KB_TEST(preempt, a_more_important_pod_takes_the_room_and_the_nomination_is_gone)
{
    KB_AUTO(world_end) struct world w;
    promise(&w);
    arrives(&w, "higher", 1000, 20, "");
    world_settle(&w);
    KB_CHECK_STR(nominated(&w, "pods/x/high"), "");
    KB_CHECK_STR(nominated(&w, "pods/x/higher"), "n1");
    KB_CHECK_I64(w.evictions, ==, 1); /* low goes already */
    world_end_evicted(&w);
    for (int i = 0; i < 3; i++) {
        world_after(&w, 5000);
    }
    KB_CHECK_STR(world_where(&w, "pods/x/higher"), "n1");
    KB_CHECK_STR(world_where(&w, "pods/x/high"), "");
}

KB_TEST(preempt, nobody_else_goes_while_a_victim_is_on_its_way_out)
{
    KB_AUTO(world_end) struct world w;
    world_start(&w);
    world_node(&w, "n1", "2");
    runs(&w, "a", "n1", 1000, 0, "01");
    runs(&w, "b", "n1", 1000, 0, "02");
    arrives(&w, "high", 1000, 10, "");
    world_settle(&w);
    KB_CHECK(leaving(&w, "pods/x/b"));
    world_wait_ms(&w, 20000);
    world_node(&w, "n2", "1m"); /* no help */
    world_after(&w, KB_PENDING_FLUSH_MS);
    KB_CHECK(!leaving(&w, "pods/x/a"));
    KB_CHECK_STR(world_message(&w, "pods/x/high"),
                 "0/2 nodes are available: 2 Insufficient cpu. preemption: not eligible due to a "
                 "terminating pod on the nominated node.");
    KB_CHECK_STR(nominated(&w, "pods/x/high"), "n1");
}

KB_TEST(preempt, a_scheduler_that_comes_back_knows_who_was_promised_what)
{
    KB_AUTO(world_end) struct world w;
    promise(&w);
    world_end_evicted(&w);
    arrives(&w, "sneak", 500, 5, "");
    world_restart(&w);
    world_settle(&w);
    KB_CHECK_STR(world_where(&w, "pods/x/high"), "n1");
    KB_CHECK_STR(world_where(&w, "pods/x/sneak"), "");
}

KB_TEST(preempt, a_node_that_goes_frees_who_was_nominated_to_it)
{
    KB_AUTO(world_end) struct world w;
    promise(&w);
    world_store(&w, "pods/x/low", NULL);
    world_store(&w, "nodes//n1", NULL);
    world_settle(&w);
    world_node(&w, "n2", "1");
    world_after(&w, 1000);
    KB_CHECK_STR(world_where(&w, "pods/x/high"), "n2");
}

KB_TEST(preempt, a_pod_that_waits_is_tried_again_when_less_important_ones_have_come)
{
    KB_AUTO(world_end) struct world w;
    world_start(&w);
    world_node(&w, "n1", "1");
    runs(&w, "rival", "n1", 1000, 20, "01");
    arrives(&w, "high", 1000, 10, "");
    world_settle(&w);
    world_wait_ms(&w, 20000);
    world_store(&w, "pods/x/rival", NULL); /* and its place is taken before high could have it */
    runs(&w, "low", "n1", 1000, 0, "02");
    world_settle(&w);
    KB_CHECK(leaving(&w, "pods/x/low"));
    KB_CHECK_STR(nominated(&w, "pods/x/high"), "n1");
}
