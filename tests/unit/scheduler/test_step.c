/* The scheduler without its shell, in virtual time. */
#include "tests/lib/test.h"
#include "tests/unit/scheduler/world.h"

#include <stdlib.h>

/* ---- stories ---- */

KB_TEST(step, a_pod_is_bound_with_condition_and_event_in_one_write)
{
    KB_AUTO(world_end) struct world w;
    world_start(&w);
    world_try_one(&w, "2");
    KB_CHECK_STR(world_where(&w, "pods/x/p"), "n1");
    KB_CHECK_STR(world_text_of(&w, "pods/x/p", "status.conditions[0].type"), "PodScheduled");
    KB_CHECK_STR(world_text_of(&w, "pods/x/p", "status.conditions[0].status"), "True");
    KB_CHECK_STR(world_text_of(&w, "pods/x/p", "status.conditions[0].lastTransitionTime"),
                 "1970-01-01T00:00:01Z");
    KB_CHECK_STR(w.last_event, "Successfully assigned x/p to n1");
    KB_CHECK_I64(w.rev, ==, 3);
    KB_CHECK_I64(kb_sched_wait_ms(w.sched), ==, -1);
}

KB_TEST(step, a_pod_that_fits_nowhere_is_told_once_and_tried_when_it_can_fit)
{
    KB_AUTO(world_end) struct world w;
    world_start(&w);
    world_node(&w, "n1", "2");
    world_pod(&w, "a", "2", "");
    world_settle(&w);
    world_pod(&w, "b", "1", "");
    world_settle(&w);
    KB_CHECK_STR(world_text_of(&w, "pods/x/b", "status.conditions[0].reason"), "Unschedulable");
    KB_CHECK_STR(world_message(&w, "pods/x/b"),
                 "0/1 nodes are available: 1 Insufficient cpu. preemption: 0/1 nodes are "
                 "available: 1 No preemption victims found for incoming pod.");
    KB_CHECK_I64(w.events, ==, 2);
    int64_t rev = w.rev;
    world_wait_ms(&w, 20000);
    world_node(&w, "n2", "500m"); /* does not help: no attempt, no write */
    world_settle(&w);
    KB_CHECK_I64(w.rev, ==, rev + 1);
    world_node(&w, "n2", "1");
    world_settle(&w);
    KB_CHECK_STR(world_where(&w, "pods/x/b"), "n2");
    KB_CHECK_STR(world_text_of(&w, "pods/x/b", "status.conditions[0].status"), "True");
}

KB_TEST(step, what_happens_early_waits_for_the_back_off)
{
    KB_AUTO(world_end) struct world w;
    world_start(&w);
    world_node(&w, "n1", "1");
    world_pod(&w, "a", "1", "");
    world_settle(&w);
    world_pod(&w, "b", "1", "");
    world_settle(&w);
    world_wait_ms(&w, 400);
    world_store(&w, "pods/x/a", NULL);
    world_settle(&w);
    KB_CHECK_STR(world_where(&w, "pods/x/b"), "");
    KB_CHECK_I64(kb_sched_wait_ms(w.sched), ==, 600);
    world_after(&w, 600);
    KB_CHECK_STR(world_where(&w, "pods/x/b"), "n1");
}

KB_TEST(step, gates_hold_a_pod_until_the_last_is_gone)
{
    KB_AUTO(world_end) struct world w;
    world_start(&w);
    world_node(&w, "n1", "2");
    world_pod(&w, "p", "1", "'schedulingGates': [{'name': 'g'}],");
    world_settle(&w);
    KB_CHECK_STR(world_where(&w, "pods/x/p"), "");
    KB_CHECK_U64(kb_sched_counts(w.sched).waiting.gated, ==, 1);
    world_pod(&w, "p", "1", "'schedulingGates': [],");
    world_settle(&w);
    KB_CHECK_STR(world_where(&w, "pods/x/p"), "n1");
}

KB_TEST(step, of_two_pods_the_one_with_priority_gets_the_place)
{
    KB_AUTO(world_end) struct world w;
    world_start(&w);
    world_node(&w, "n1", "1");
    world_pod(&w, "low", "1", "");
    world_pod(&w, "high", "1", "'priority': 10,");
    world_settle(&w);
    KB_CHECK_STR(world_where(&w, "pods/x/high"), "n1");
    KB_CHECK_STR(world_where(&w, "pods/x/low"), "");
}

KB_TEST(step, a_write_in_between_wins_and_the_pod_is_decided_again)
{
    KB_AUTO(world_end) struct world w;
    world_start(&w);
    world_node(&w, "n1", "2");
    world_store_json(&w, "nodes//n2",
                     "{'metadata': {'labels': {'disk': 'ssd'}}, 'status': "
                     "{'allocatable': {'cpu': '1', 'memory': '8Gi', 'pods': '9'}}}");
    world_pod(&w, "p", "1", "");
    while (world_tell_change(&w))
        ;
    KB_CHECK_U64(kb_sched_decide(w.sched, 10, &w.out), ==, 1);
    world_pod(&w, "p", "1", "'nodeSelector': {'disk': 'ssd'},");
    world_perform(&w); /* refused: the pod has a newer revision */
    while (world_tell_reply(&w))
        ;
    KB_CHECK_U64(kb_sched_counts(w.sched).conflicts, ==, 1);
    world_settle(&w); /* and as soon as that is seen, without back-off, it goes elsewhere */
    KB_CHECK_STR(world_where(&w, "pods/x/p"), "n2");
    KB_CHECK_U64(kb_sched_counts(w.sched).assumed, ==, 0);
    KB_CHECK_U64(kb_sched_counts(w.sched).placed, ==, 1);
}

KB_TEST(step, a_store_that_was_restored_is_believed_though_its_revisions_went_back)
{
    KB_AUTO(world_end) struct world w;
    world_start(&w);
    world_node(&w, "n1", "2");
    w.rev = 1000;
    world_pod(&w, "p", "1", "");
    world_pod(&w, "q", "1", "");
    world_settle(&w);
    w.rev = 10; /* the backup is from before p was bound, and has no q */
    world_pod(&w, "p", "2", "");
    world_store(&w, "pods/x/q", NULL);
    world_settle(&w);
    KB_CHECK_STR(world_where(&w, "pods/x/p"), "n1");
    KB_CHECK_U64(kb_sched_counts(w.sched).placed, ==, 1);
}

KB_TEST(step, pods_of_other_schedulers_count_but_are_left_alone)
{
    KB_AUTO(world_end) struct world w;
    world_start(&w);
    world_node(&w, "n1", "1");
    world_pod(&w, "o", "1", "'schedulerName': 'other',");
    world_pod(&w, "q", "1", "'schedulerName': 'other', 'nodeName': 'n1',");
    world_pod(&w, "p", "1", "");
    world_settle(&w);
    KB_CHECK_STR(world_where(&w, "pods/x/o"), "");
    KB_CHECK_STR(world_where(&w, "pods/x/p"), "");
    world_wait_ms(&w, 5000);
    world_store_json(&w, "pods/x/q",
                     "{'metadata': {'uid': 'u-q'}, 'spec': {'schedulerName': 'other',"
                     "'nodeName': 'n1'}, 'status': {'phase': 'Succeeded'}}");
    world_settle(&w); /* what ended holds nothing */
    KB_CHECK_STR(world_where(&w, "pods/x/p"), "n1");
}

KB_TEST(step, of_many_kinds_that_wait_those_are_found_that_fit_now)
{
    enum { KINDS = 200 };
    KB_AUTO(world_end) struct world w;
    world_start(&w);
    world_node(&w, "n1", "1");
    for (int i = 0; i < KINDS; i++) {
        char name[16], more[64];
        snprintf(name, sizeof(name), "p%d", i);
        snprintf(more, sizeof(more), "'nodeSelector': {'kind': 'k%d'},", i);
        world_pod(&w, name, "1", more);
    }
    world_settle(&w);
    KB_CHECK_U64(kb_sched_counts(w.sched).waiting.unschedulable, ==, KINDS);
    world_wait_ms(&w, 20000);
    world_store_json(&w, "nodes//n2",
                     "{'metadata': {'labels': {'kind': 'k150'}}, 'status': {"
                     "'allocatable': {'cpu': '1', 'memory': '8Gi', 'pods': '9'}}}");
    uint64_t decided = kb_sched_counts(w.sched).decided;
    world_settle(&w);
    KB_CHECK_STR(world_where(&w, "pods/x/p150"), "n2");
    KB_CHECK_U64(kb_sched_counts(w.sched).decided, ==, decided + 1);
}

KB_TEST(step, after_five_minutes_a_pod_is_tried_in_any_case)
{
    KB_AUTO(world_end) struct world w;
    world_start(&w);
    world_node(&w, "n1", "1");
    world_pod(&w, "p", "2", "");
    world_settle(&w);
    uint64_t decided = kb_sched_counts(w.sched).decided;
    KB_CHECK_I64(kb_sched_wait_ms(w.sched), ==, KB_PENDING_FLUSH_MS);
    world_after(&w, KB_PENDING_FLUSH_MS);
    KB_CHECK_U64(kb_sched_counts(w.sched).decided, ==, decided + 1);
}

/* ---- any order of things ---- */

static int64_t milli_on(struct world *w, const char *node)
{
    int64_t sum = 0;
    for (int i = 0; i < w->n; i++) {
        kb_val spec = kb_doc_at(w->objects[i].doc, "spec");
        if (kb_str_is(kb_val_str(kb_val_get(spec, "nodeName")), node))
            sum += atoi(kb_val_str_at(spec, "containers[0].resources.requests.cpu").p);
    }
    return sum;
}

static void random_write(struct world *w, struct kb_rand *rand)
{
    char key[32], uid[16];
    int i = (int)kb_rand_below(rand, 24);
    snprintf(key, sizeof(key), "pods/x/p%d", i);
    snprintf(uid, sizeof(uid), "u%d", (int)w->rev);
    struct object *o = world_find(w, key);
    if (o->doc == NULL) {
        world_store_text(w, key,
                         "{'metadata': {'name': 'p%d', 'namespace': 'x', 'uid': '%s'}, 'spec': {"
                         "'containers': [{'resources': {'requests': {'cpu': '%dm'}}}]}}",
                         i, uid, (int)(1 + kb_rand_below(rand, 3)) * 500);
    } else if (kb_rand_below(rand, 2)) {
        world_store(w, key, NULL);
    } else { /* somebody writes the pod, as it stands */
        world_store(w, key, kb_doc_ref(o->doc));
    }
}

static void something_happens(struct world *w, struct kb_rand *rand)
{
    if (kb_rand_below(rand, 60) == 0)
        world_restart(w);
    else
        random_write(w, rand);
}

static void check_nodes(struct world *w)
{
    KB_CHECK_I64(milli_on(w, "n1"), <=, 4000);
    KB_CHECK_I64(milli_on(w, "n2"), <=, 3000);
}

/* Each pod has its node, or waits because none has room for it. */
static void check_bound_or_too_large(struct world *w)
{
    struct kb_sched_counts counts = kb_sched_counts(w->sched);
    size_t bound = 0, waiting = 0;
    int64_t free1 = 4000 - milli_on(w, "n1"), free2 = 3000 - milli_on(w, "n2");
    for (int i = 0; i < w->n; i++) {
        kb_val spec = kb_doc_at(w->objects[i].doc, "spec.containers");
        if (!kb_val_present(spec))
            continue;
        int64_t cpu = atoi(kb_val_str_at(spec, "[0].resources.requests.cpu").p);
        bool has_node = world_where(w, w->objects[i].key)[0] != '\0';
        bound += has_node;
        waiting += !has_node;
        KB_CHECK(has_node || (cpu > free1 && cpu > free2));
    }
    KB_CHECK_U64(counts.placed, ==, bound);
    KB_CHECK_U64(counts.waiting.unschedulable, ==, waiting);
    KB_CHECK_U64(counts.assumed, ==, 0);
}

KB_TEST(step_property, in_any_order_no_node_is_overfull_and_what_fits_is_bound)
{
    KB_AUTO(world_end) struct world w;
    struct kb_rand rand = world_start_random(&w, 5);
    world_node(&w, "n1", "4");
    world_node(&w, "n2", "3");
    world_walk(&w, &rand, 6000, something_happens, check_nodes);
    world_calm(&w);
    check_bound_or_too_large(&w);
}
