/* The scheduler without its shell, in virtual time. */
#include "tests/lib/test.h"
#include "tests/unit/scheduler/world.h"

#include <stdlib.h>

/* ---- stories ---- */

KB_TEST(step, a_pod_is_bound_with_condition_and_event_in_one_write)
{
    struct world w;
    world_start(&w);
    world_store_json(&w, "nodes//n1", NODE_OF("2"));
    world_store_json(&w, "pods/x/p", POD_OF("1", ""));
    world_settle(&w);
    KB_CHECK_STR(world_text_of(&w, "pods/x/p", "spec.nodeName"), "n1");
    KB_CHECK_STR(world_text_of(&w, "pods/x/p", "status.conditions[0].type"), "PodScheduled");
    KB_CHECK_STR(world_text_of(&w, "pods/x/p", "status.conditions[0].status"), "True");
    KB_CHECK_STR(world_text_of(&w, "pods/x/p", "status.conditions[0].lastTransitionTime"),
                 "1970-01-01T00:00:01Z");
    KB_CHECK_STR(w.last_event, "Successfully assigned x/p to n1");
    KB_CHECK_I64(w.rev, ==, 3);
    KB_CHECK_I64(kb_sched_wait_ms(w.sched), ==, -1);
    world_end(&w);
}

KB_TEST(step, a_pod_that_fits_nowhere_is_told_once_and_tried_when_it_can_fit)
{
    struct world w;
    world_start(&w);
    world_store_json(&w, "nodes//n1", NODE_OF("2"));
    world_store_json(&w, "pods/x/a", POD_OF("2", ""));
    world_settle(&w);
    world_store_json(&w, "pods/x/b", POD_OF("1", ""));
    world_settle(&w);
    KB_CHECK_STR(world_text_of(&w, "pods/x/b", "status.conditions[0].reason"), "Unschedulable");
    KB_CHECK_STR(world_text_of(&w, "pods/x/b", "status.conditions[0].message"),
                 "0/1 nodes are available: 1 Insufficient cpu. preemption: 0/1 nodes are "
                 "available: 1 No preemption victims found for incoming pod.");
    KB_CHECK_I64(w.events, ==, 2);
    int64_t rev = w.rev;
    world_wait_ms(&w, 20000);
    world_store_json(&w, "nodes//n2", NODE_OF("500m")); /* does not help: no attempt, no write */
    world_settle(&w);
    KB_CHECK_I64(w.rev, ==, rev + 1);
    world_store_json(&w, "nodes//n2", NODE_OF("1"));
    world_settle(&w);
    KB_CHECK_STR(world_text_of(&w, "pods/x/b", "spec.nodeName"), "n2");
    KB_CHECK_STR(world_text_of(&w, "pods/x/b", "status.conditions[0].status"), "True");
    world_end(&w);
}

KB_TEST(step, what_happens_early_waits_for_the_back_off)
{
    struct world w;
    world_start(&w);
    world_store_json(&w, "nodes//n1", NODE_OF("1"));
    world_store_json(&w, "pods/x/a", POD_OF("1", ""));
    world_settle(&w);
    world_store_json(&w, "pods/x/b", POD_OF("1", ""));
    world_settle(&w);
    world_wait_ms(&w, 400);
    world_store(&w, "pods/x/a", NULL);
    world_settle(&w);
    KB_CHECK_STR(world_text_of(&w, "pods/x/b", "spec.nodeName"), "");
    KB_CHECK_I64(kb_sched_wait_ms(w.sched), ==, 600);
    world_wait_ms(&w, 600);
    world_settle(&w);
    KB_CHECK_STR(world_text_of(&w, "pods/x/b", "spec.nodeName"), "n1");
    world_end(&w);
}

KB_TEST(step, gates_hold_a_pod_until_the_last_is_gone)
{
    struct world w;
    world_start(&w);
    world_store_json(&w, "nodes//n1", NODE_OF("2"));
    world_store_json(&w, "pods/x/p", POD_OF("1", "'schedulingGates': [{'name': 'g'}],"));
    world_settle(&w);
    KB_CHECK_STR(world_text_of(&w, "pods/x/p", "spec.nodeName"), "");
    KB_CHECK_U64(kb_sched_counts(w.sched).waiting.gated, ==, 1);
    world_store_json(&w, "pods/x/p", POD_OF("1", "'schedulingGates': [],"));
    world_settle(&w);
    KB_CHECK_STR(world_text_of(&w, "pods/x/p", "spec.nodeName"), "n1");
    world_end(&w);
}

KB_TEST(step, of_two_pods_the_one_with_priority_gets_the_place)
{
    struct world w;
    world_start(&w);
    world_store_json(&w, "nodes//n1", NODE_OF("1"));
    world_store_json(&w, "pods/x/low", POD_OF("1", ""));
    world_store_json(&w, "pods/x/high", POD_OF("1", "'priority': 10,"));
    world_settle(&w);
    KB_CHECK_STR(world_text_of(&w, "pods/x/high", "spec.nodeName"), "n1");
    KB_CHECK_STR(world_text_of(&w, "pods/x/low", "spec.nodeName"), "");
    world_end(&w);
}

KB_TEST(step, a_write_in_between_wins_and_the_pod_is_decided_again)
{
    struct world w;
    world_start(&w);
    world_store_json(&w, "nodes//n1", NODE_OF("2"));
    world_store_json(&w, "nodes//n2",
                     "{'metadata': {'labels': {'disk': 'ssd'}}, 'status': "
                     "{'allocatable': {'cpu': '1', 'memory': '8Gi', 'pods': '9'}}}");
    world_store_json(&w, "pods/x/p", POD_OF("1", ""));
    while (world_tell_change(&w))
        ;
    KB_CHECK_U64(kb_sched_decide(w.sched, 10, &w.out), ==, 1);
    world_store_json(&w, "pods/x/p", POD_OF("1", "'nodeSelector': {'disk': 'ssd'},"));
    world_perform(&w); /* refused: the pod has a newer revision */
    while (world_tell_reply(&w))
        ;
    KB_CHECK_U64(kb_sched_counts(w.sched).conflicts, ==, 1);
    world_settle(&w); /* and as soon as that is seen, without back-off, it goes elsewhere */
    KB_CHECK_STR(world_text_of(&w, "pods/x/p", "spec.nodeName"), "n2");
    KB_CHECK_U64(kb_sched_counts(w.sched).assumed, ==, 0);
    KB_CHECK_U64(kb_sched_counts(w.sched).placed, ==, 1);
    world_end(&w);
}

KB_TEST(step, a_store_that_was_restored_is_believed_though_its_revisions_went_back)
{
    struct world w;
    world_start(&w);
    world_store_json(&w, "nodes//n1", NODE_OF("2"));
    w.rev = 1000;
    world_store_json(&w, "pods/x/p", POD_OF("1", ""));
    world_store_json(&w, "pods/x/q", POD_OF("1", ""));
    world_settle(&w);
    w.rev = 10; /* the backup is from before p was bound, and has no q */
    world_store_json(&w, "pods/x/p", POD_OF("2", ""));
    world_store(&w, "pods/x/q", NULL);
    world_settle(&w);
    KB_CHECK_STR(world_text_of(&w, "pods/x/p", "spec.nodeName"), "n1");
    KB_CHECK_U64(kb_sched_counts(w.sched).placed, ==, 1);
    world_end(&w);
}

KB_TEST(step, pods_of_other_schedulers_count_but_are_left_alone)
{
    struct world w;
    world_start(&w);
    world_store_json(&w, "nodes//n1", NODE_OF("1"));
    world_store_json(&w, "pods/x/o", POD_OF("1", "'schedulerName': 'other',"));
    world_store_json(&w, "pods/x/q", POD_OF("1", "'schedulerName': 'other', 'nodeName': 'n1',"));
    world_store_json(&w, "pods/x/p", POD_OF("1", ""));
    world_settle(&w);
    KB_CHECK_STR(world_text_of(&w, "pods/x/o", "spec.nodeName"), "");
    KB_CHECK_STR(world_text_of(&w, "pods/x/p", "spec.nodeName"), "");
    world_wait_ms(&w, 5000);
    world_store_json(&w, "pods/x/q",
                     "{'metadata': {'uid': 'u'}, 'spec': {'schedulerName': 'other',"
                     "'nodeName': 'n1'}, 'status': {'phase': 'Succeeded'}}");
    world_settle(&w); /* what ended holds nothing */
    KB_CHECK_STR(world_text_of(&w, "pods/x/p", "spec.nodeName"), "n1");
    world_end(&w);
}

KB_TEST(step, of_many_kinds_that_wait_those_are_found_that_fit_now)
{
    enum { KINDS = 200 };
    struct world w;
    world_start(&w);
    world_store_json(&w, "nodes//n1", NODE_OF("1"));
    for (int i = 0; i < KINDS; i++) {
        char key[64], json[512];
        snprintf(key, sizeof(key), "pods/x/p%d", i);
        snprintf(json, sizeof(json), POD_OF("1", "'nodeSelector': {'kind': 'k%d'},"), i);
        world_store_json(&w, key, json);
    }
    world_settle(&w);
    KB_CHECK_U64(kb_sched_counts(w.sched).waiting.unschedulable, ==, KINDS);
    world_wait_ms(&w, 20000);
    world_store_json(&w, "nodes//n2",
                     "{'metadata': {'labels': {'kind': 'k150'}}, 'status': {"
                     "'allocatable': {'cpu': '1', 'memory': '8Gi', 'pods': '9'}}}");
    uint64_t decided = kb_sched_counts(w.sched).decided;
    world_settle(&w);
    KB_CHECK_STR(world_text_of(&w, "pods/x/p150", "spec.nodeName"), "n2");
    KB_CHECK_U64(kb_sched_counts(w.sched).decided, ==, decided + 1);
    world_end(&w);
}

KB_TEST(step, after_five_minutes_a_pod_is_tried_in_any_case)
{
    struct world w;
    world_start(&w);
    world_store_json(&w, "nodes//n1", NODE_OF("1"));
    world_store_json(&w, "pods/x/p", POD_OF("2", ""));
    world_settle(&w);
    uint64_t decided = kb_sched_counts(w.sched).decided;
    KB_CHECK_I64(kb_sched_wait_ms(w.sched), ==, KB_PENDING_FLUSH_MS);
    world_wait_ms(&w, KB_PENDING_FLUSH_MS);
    world_settle(&w);
    KB_CHECK_U64(kb_sched_counts(w.sched).decided, ==, decided + 1);
    world_end(&w);
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
    char key[32], json[512], uid[16];
    int i = (int)kb_rand_below(rand, 24);
    snprintf(key, sizeof(key), "pods/x/p%d", i);
    snprintf(uid, sizeof(uid), "u%d", (int)w->rev);
    struct object *o = world_find(w, key);
    if (o->doc == NULL) {
        snprintf(json, sizeof(json),
                 "{'metadata': {'name': 'p%d', 'namespace': 'x', 'uid': '%s'}, 'spec': {"
                 "'containers': [{'resources': {'requests': {'cpu': '%dm'}}}]}}",
                 i, uid, (int)(1 + kb_rand_below(rand, 3)) * 500);
        world_store_json(w, key, json);
    } else if (kb_rand_below(rand, 2)) {
        world_store(w, key, NULL);
    } else { /* somebody writes the pod, as it stands */
        world_store(w, key, kb_doc_ref(o->doc));
    }
}

KB_TEST(step_property, in_any_order_no_node_is_overfull_and_what_fits_is_bound)
{
    struct world w;
    struct kb_rand rand;
    uint64_t seed = kb_test_seed();
    kb_rand_init(&rand, seed);
    world_start(&w);
    kb_rand_init(&w.rand, seed + 1);
    w.lose = 5;
    world_store_json(&w, "nodes//n1", NODE_OF("4"));
    world_store_json(&w, "nodes//n2", NODE_OF("3"));
    for (int step = 0; step < 6000; step++) {
        switch (kb_rand_below(&rand, 9)) {
        case 0:
            random_write(&w, &rand);
            break;
        case 1:
        case 2:
        case 3:
            world_tell_change(&w);
            break;
        case 4:
        case 5:
            world_tell_reply(&w);
            break;
        case 6:
            kb_sched_decide(w.sched, 1 + kb_rand_below(&rand, 4), &w.out);
            break;
        case 7:
            world_perform(&w);
            break;
        default:
            world_wait_ms(&w, (kb_ms)kb_rand_below(&rand, 700));
            if (kb_rand_below(&rand, 60) == 0)
                world_restart(&w);
        }
        KB_CHECK_I64(milli_on(&w, "n1"), <=, 4000);
        KB_CHECK_I64(milli_on(&w, "n2"), <=, 3000);
    }
    w.lose = 0;
    for (int i = 0; i < 20; i++) {
        world_settle(&w);
        world_wait_ms(&w, 11000);
    }
    struct kb_sched_counts counts = kb_sched_counts(w.sched);
    size_t bound = 0, waiting = 0;
    int64_t free1 = 4000 - milli_on(&w, "n1"), free2 = 3000 - milli_on(&w, "n2");
    for (int i = 0; i < w.n; i++) {
        kb_val spec = kb_doc_at(w.objects[i].doc, "spec.containers");
        if (!kb_val_present(spec))
            continue;
        int64_t cpu = atoi(kb_val_str_at(spec, "[0].resources.requests.cpu").p);
        if (world_text_of(&w, w.objects[i].key, "spec.nodeName")[0]) {
            bound++;
        } else {
            waiting++;
            KB_CHECK(cpu > free1 && cpu > free2);
        }
    }
    KB_CHECK_U64(counts.placed, ==, bound);
    KB_CHECK_U64(counts.waiting.unschedulable, ==, waiting);
    KB_CHECK_U64(counts.assumed, ==, 0);
    world_end(&w);
}
