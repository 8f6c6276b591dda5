/* The scheduler without its shell, in virtual time, against a store of a few lines: what it wishes
 * is written if the revision is still current, and every change comes back as from a view. */
#include "actors/scheduler/scheduler_core.h"
#include "bus/base/rand.h"
#include "tests/lib/policy.h"
#include "tests/lib/test.h"

#include <stdlib.h>

/* ---- a store, and changes under way to the scheduler ---- */

struct object {
    char key[64];
    int64_t rev;
    struct kb_doc *doc; /* NULL: deleted */
};

struct change {
    struct kb_link link;
    char key[64];
    int64_t rev;
    struct kb_doc *doc;
};

struct reply {
    struct kb_link link;
    char key[64];
    uint64_t attempt;
    enum kb_sched_wish_kind kind;
    int rc;
    int64_t rev;
};

struct world {
    struct object objects[256];
    int n;
    int64_t rev;
    kb_ms now;
    struct kb_link changes, replies;
    struct kb_sched *sched;
    struct kb_sched_out out;
    int events;
    char last_event[512];
    struct kb_rand rand;
    uint64_t lose; /* one answer, and one write, in so many is lost; 0: none */
};

static void start(struct world *w)
{
    *w = (struct world){.now = 1000};
    kb_list_init(&w->changes);
    kb_list_init(&w->replies);
    w->sched = kb_sched_new(1);
    kb_sched_time(w->sched, w->now, w->now * 1000);
}

static struct object *find(struct world *w, const char *key)
{
    for (int i = 0; i < w->n; i++)
        if (strcmp(w->objects[i].key, key) == 0)
            return &w->objects[i];
    KB_CHECK(w->n < (int)KB_COUNT(w->objects));
    struct object *o = &w->objects[w->n++];
    snprintf(o->key, sizeof(o->key), "%s", key);
    return o;
}

/* Takes `doc`; NULL deletes. */
static void store(struct world *w, const char *key, struct kb_doc *doc)
{
    struct object *o = find(w, key);
    kb_doc_destroy(&o->doc);
    o->doc = doc;
    o->rev = ++w->rev;
    struct change *c = calloc(1, sizeof(*c));
    snprintf(c->key, sizeof(c->key), "%s", key);
    c->rev = o->rev;
    c->doc = kb_doc_ref(doc);
    kb_list_push(&w->changes, &c->link);
}

static void store_json(struct world *w, const char *key, const char *json)
{
    store(w, key, kb_ptest_json(json));
}

static bool tell_change(struct world *w)
{
    struct kb_link *link = kb_list_pop(&w->changes);
    if (link == NULL)
        return false;
    struct change *c = KB_CONTAINER(link, struct change, link);
    kb_str key = kb_str_of(c->key);
    if (kb_str_starts(key, "nodes/")) {
        if (c->doc)
            kb_sched_node_put(w->sched, key, kb_doc_root(c->doc));
        else
            kb_sched_node_del(w->sched, key);
    } else if (c->doc) {
        kb_sched_pod_put(w->sched, key, c->rev, kb_doc_root(c->doc));
    } else {
        kb_sched_pod_del(w->sched, key);
    }
    kb_doc_destroy(&c->doc);
    free(c);
    return true;
}

static bool tell_reply(struct world *w)
{
    struct kb_link *link = kb_list_pop(&w->replies);
    if (link == NULL)
        return false;
    struct reply *r = KB_CONTAINER(link, struct reply, link);
    if (w->lose && kb_rand_below(&w->rand, w->lose) == 0)
        r->rc = -KB_EUNAVAILABLE;
    if (r->kind == KB_SCHED_BIND)
        kb_sched_bind_done(w->sched, kb_str_of(r->key), r->attempt, r->rc, r->rev, &w->out);
    else
        kb_sched_condition_done(w->sched, kb_str_of(r->key), r->rc);
    free(r);
    return true;
}

/* Carry the wishes out, as the store would. */
static void perform(struct world *w)
{
    for (size_t i = 0; i < w->out.n; i++) {
        struct kb_sched_wish *wish = &w->out.wishes[i];
        if (wish->kind == KB_SCHED_EVENT) {
            w->events++;
            kb_str text = kb_val_str(kb_doc_at(wish->doc, "message"));
            snprintf(w->last_event, sizeof(w->last_event), KB_STR_FMT, KB_STR_ARG(text));
            continue;
        }
        struct object *o = find(w, wish->key);
        struct reply *r = calloc(1, sizeof(*r));
        *r = (struct reply){.attempt = wish->attempt, .kind = wish->kind};
        snprintf(r->key, sizeof(r->key), "%s", wish->key);
        r->rc = o->doc == NULL ? -KB_ENOTFOUND : o->rev != wish->rev ? -KB_ECONFLICT : 0;
        if (w->lose && kb_rand_below(&w->rand, w->lose) == 0)
            r->rc = -KB_ETIMEOUT;
        if (r->rc == 0)
            store(w, wish->key, KB_STEAL(wish->doc));
        r->rev = w->rev;
        kb_list_push(&w->replies, &r->link);
    }
    kb_sched_out_clear(&w->out);
}

static void wait_ms(struct world *w, kb_ms ms)
{
    w->now += ms;
    kb_sched_time(w->sched, w->now, w->now * 1000);
}

/* Until nothing is under way and nothing is due. */
static void settle(struct world *w)
{
    bool more = true;
    while (more) {
        more = false;
        while (tell_change(w))
            more = true;
        while (tell_reply(w))
            more = true;
        more |= kb_sched_decide(w->sched, 1000, &w->out) > 0;
        more |= kb_sched_wait_ms(w->sched) == 0;
        perform(w);
    }
}

static void clear(struct world *w)
{
    struct kb_link *link;
    while ((link = kb_list_pop(&w->changes)) != NULL) {
        struct change *c = KB_CONTAINER(link, struct change, link);
        kb_doc_destroy(&c->doc);
        free(c);
    }
    while ((link = kb_list_pop(&w->replies)) != NULL)
        free(KB_CONTAINER(link, struct reply, link));
    kb_sched_out_clear(&w->out);
    kb_sched_destroy(&w->sched);
}

static void end(struct world *w)
{
    clear(w);
    for (int i = 0; i < w->n; i++)
        kb_doc_destroy(&w->objects[i].doc);
    kb_sched_out_finish(&w->out);
}

/* Kill -9, and a new one that is told all that the store has before it decides anything. */
static void restart(struct world *w)
{
    clear(w);
    w->sched = kb_sched_new(2);
    kb_sched_time(w->sched, w->now, w->now * 1000);
    for (int i = 0; i < w->n; i++) {
        struct object *o = &w->objects[i];
        if (o->doc == NULL)
            continue;
        struct change *c = calloc(1, sizeof(*c));
        snprintf(c->key, sizeof(c->key), "%s", o->key);
        c->rev = o->rev;
        c->doc = kb_doc_ref(o->doc);
        kb_list_push(&w->changes, &c->link);
    }
    while (tell_change(w))
        ;
}

/* The text at a path of an object; valid until the next call. */
static const char *text_of(struct world *w, const char *key, const char *path)
{
    static char text[1024];
    kb_str_copy(kb_val_str(kb_doc_at(find(w, key)->doc, path)), text, sizeof(text));
    return text;
}

#define POD_OF(cpu, more)                                                                          \
    "{'metadata': {'name': 'p', 'namespace': 'x', 'uid': 'u'}, 'spec': {" more                     \
    "'containers': [{'resources': {'requests': {'cpu': '" cpu "'}}}]}}"
#define NODE_OF(cpu)                                                                               \
    "{'status': {'allocatable': {'cpu': '" cpu "', 'memory': '8Gi', 'pods': '100'}}}"

/* ---- stories ---- */

KB_TEST(step, a_pod_is_bound_with_condition_and_event_in_one_write)
{
    struct world w;
    start(&w);
    store_json(&w, "nodes//n1", NODE_OF("2"));
    store_json(&w, "pods/x/p", POD_OF("1", ""));
    settle(&w);
    KB_CHECK_STR(text_of(&w, "pods/x/p", "spec.nodeName"), "n1");
    KB_CHECK_STR(text_of(&w, "pods/x/p", "status.conditions[0].type"), "PodScheduled");
    KB_CHECK_STR(text_of(&w, "pods/x/p", "status.conditions[0].status"), "True");
    KB_CHECK_STR(text_of(&w, "pods/x/p", "status.conditions[0].lastTransitionTime"),
                 "1970-01-01T00:00:01Z");
    KB_CHECK_STR(w.last_event, "Successfully assigned x/p to n1");
    KB_CHECK_I64(w.rev, ==, 3);
    KB_CHECK_I64(kb_sched_wait_ms(w.sched), ==, -1);
    end(&w);
}

KB_TEST(step, a_pod_that_fits_nowhere_is_told_once_and_tried_when_it_can_fit)
{
    struct world w;
    start(&w);
    store_json(&w, "nodes//n1", NODE_OF("2"));
    store_json(&w, "pods/x/a", POD_OF("2", ""));
    settle(&w);
    store_json(&w, "pods/x/b", POD_OF("1", ""));
    settle(&w);
    KB_CHECK_STR(text_of(&w, "pods/x/b", "status.conditions[0].reason"), "Unschedulable");
    KB_CHECK_STR(text_of(&w, "pods/x/b", "status.conditions[0].message"),
                 "0/1 nodes are available: 1 Insufficient cpu. preemption: 0/1 nodes are "
                 "available: 1 No preemption victims found for incoming pod.");
    KB_CHECK_I64(w.events, ==, 2);
    int64_t rev = w.rev;
    wait_ms(&w, 20000);
    store_json(&w, "nodes//n2", NODE_OF("500m")); /* does not help: no attempt, no write */
    settle(&w);
    KB_CHECK_I64(w.rev, ==, rev + 1);
    store_json(&w, "nodes//n2", NODE_OF("1"));
    settle(&w);
    KB_CHECK_STR(text_of(&w, "pods/x/b", "spec.nodeName"), "n2");
    KB_CHECK_STR(text_of(&w, "pods/x/b", "status.conditions[0].status"), "True");
    end(&w);
}

KB_TEST(step, what_happens_early_waits_for_the_back_off)
{
    struct world w;
    start(&w);
    store_json(&w, "nodes//n1", NODE_OF("1"));
    store_json(&w, "pods/x/a", POD_OF("1", ""));
    settle(&w);
    store_json(&w, "pods/x/b", POD_OF("1", ""));
    settle(&w);
    wait_ms(&w, 400);
    store(&w, "pods/x/a", NULL);
    settle(&w);
    KB_CHECK_STR(text_of(&w, "pods/x/b", "spec.nodeName"), "");
    KB_CHECK_I64(kb_sched_wait_ms(w.sched), ==, 600);
    wait_ms(&w, 600);
    settle(&w);
    KB_CHECK_STR(text_of(&w, "pods/x/b", "spec.nodeName"), "n1");
    end(&w);
}

KB_TEST(step, gates_hold_a_pod_until_the_last_is_gone)
{
    struct world w;
    start(&w);
    store_json(&w, "nodes//n1", NODE_OF("2"));
    store_json(&w, "pods/x/p", POD_OF("1", "'schedulingGates': [{'name': 'g'}],"));
    settle(&w);
    KB_CHECK_STR(text_of(&w, "pods/x/p", "spec.nodeName"), "");
    KB_CHECK_U64(kb_sched_counts(w.sched).waiting.gated, ==, 1);
    store_json(&w, "pods/x/p", POD_OF("1", "'schedulingGates': [],"));
    settle(&w);
    KB_CHECK_STR(text_of(&w, "pods/x/p", "spec.nodeName"), "n1");
    end(&w);
}

KB_TEST(step, of_two_pods_the_one_with_priority_gets_the_place)
{
    struct world w;
    start(&w);
    store_json(&w, "nodes//n1", NODE_OF("1"));
    store_json(&w, "pods/x/low", POD_OF("1", ""));
    store_json(&w, "pods/x/high", POD_OF("1", "'priority': 10,"));
    settle(&w);
    KB_CHECK_STR(text_of(&w, "pods/x/high", "spec.nodeName"), "n1");
    KB_CHECK_STR(text_of(&w, "pods/x/low", "spec.nodeName"), "");
    end(&w);
}

KB_TEST(step, a_write_in_between_wins_and_the_pod_is_decided_again)
{
    struct world w;
    start(&w);
    store_json(&w, "nodes//n1", NODE_OF("2"));
    store_json(&w, "nodes//n2",
               "{'metadata': {'labels': {'disk': 'ssd'}}, 'status': "
               "{'allocatable': {'cpu': '1', 'memory': '8Gi', 'pods': '9'}}}");
    store_json(&w, "pods/x/p", POD_OF("1", ""));
    while (tell_change(&w))
        ;
    KB_CHECK_U64(kb_sched_decide(w.sched, 10, &w.out), ==, 1);
    store_json(&w, "pods/x/p", POD_OF("1", "'nodeSelector': {'disk': 'ssd'},"));
    perform(&w); /* refused: the pod has a newer revision */
    while (tell_reply(&w))
        ;
    KB_CHECK_U64(kb_sched_counts(w.sched).conflicts, ==, 1);
    settle(&w); /* and as soon as that is seen, without back-off, it goes elsewhere */
    KB_CHECK_STR(text_of(&w, "pods/x/p", "spec.nodeName"), "n2");
    KB_CHECK_U64(kb_sched_counts(w.sched).assumed, ==, 0);
    KB_CHECK_U64(kb_sched_counts(w.sched).placed, ==, 1);
    end(&w);
}

KB_TEST(step, a_store_that_was_restored_is_believed_though_its_revisions_went_back)
{
    struct world w;
    start(&w);
    store_json(&w, "nodes//n1", NODE_OF("2"));
    w.rev = 1000;
    store_json(&w, "pods/x/p", POD_OF("1", ""));
    store_json(&w, "pods/x/q", POD_OF("1", ""));
    settle(&w);
    w.rev = 10; /* the backup is from before p was bound, and has no q */
    store_json(&w, "pods/x/p", POD_OF("2", ""));
    store(&w, "pods/x/q", NULL);
    settle(&w);
    KB_CHECK_STR(text_of(&w, "pods/x/p", "spec.nodeName"), "n1");
    KB_CHECK_U64(kb_sched_counts(w.sched).placed, ==, 1);
    end(&w);
}

KB_TEST(step, pods_of_other_schedulers_count_but_are_left_alone)
{
    struct world w;
    start(&w);
    store_json(&w, "nodes//n1", NODE_OF("1"));
    store_json(&w, "pods/x/o", POD_OF("1", "'schedulerName': 'other',"));
    store_json(&w, "pods/x/q", POD_OF("1", "'schedulerName': 'other', 'nodeName': 'n1',"));
    store_json(&w, "pods/x/p", POD_OF("1", ""));
    settle(&w);
    KB_CHECK_STR(text_of(&w, "pods/x/o", "spec.nodeName"), "");
    KB_CHECK_STR(text_of(&w, "pods/x/p", "spec.nodeName"), "");
    wait_ms(&w, 5000);
    store_json(&w, "pods/x/q",
               "{'metadata': {'uid': 'u'}, 'spec': {'schedulerName': 'other',"
               "'nodeName': 'n1'}, 'status': {'phase': 'Succeeded'}}");
    settle(&w); /* what ended holds nothing */
    KB_CHECK_STR(text_of(&w, "pods/x/p", "spec.nodeName"), "n1");
    end(&w);
}

KB_TEST(step, of_many_kinds_that_wait_those_are_found_that_fit_now)
{
    enum { KINDS = 200 };
    struct world w;
    start(&w);
    store_json(&w, "nodes//n1", NODE_OF("1"));
    for (int i = 0; i < KINDS; i++) {
        char key[64], json[512];
        snprintf(key, sizeof(key), "pods/x/p%d", i);
        snprintf(json, sizeof(json), POD_OF("1", "'nodeSelector': {'kind': 'k%d'},"), i);
        store_json(&w, key, json);
    }
    settle(&w);
    KB_CHECK_U64(kb_sched_counts(w.sched).waiting.unschedulable, ==, KINDS);
    wait_ms(&w, 20000);
    store_json(&w, "nodes//n2",
               "{'metadata': {'labels': {'kind': 'k150'}}, 'status': {"
               "'allocatable': {'cpu': '1', 'memory': '8Gi', 'pods': '9'}}}");
    uint64_t decided = kb_sched_counts(w.sched).decided;
    settle(&w);
    KB_CHECK_STR(text_of(&w, "pods/x/p150", "spec.nodeName"), "n2");
    KB_CHECK_U64(kb_sched_counts(w.sched).decided, ==, decided + 1);
    end(&w);
}

KB_TEST(step, after_five_minutes_a_pod_is_tried_in_any_case)
{
    struct world w;
    start(&w);
    store_json(&w, "nodes//n1", NODE_OF("1"));
    store_json(&w, "pods/x/p", POD_OF("2", ""));
    settle(&w);
    uint64_t decided = kb_sched_counts(w.sched).decided;
    KB_CHECK_I64(kb_sched_wait_ms(w.sched), ==, KB_PENDING_FLUSH_MS);
    wait_ms(&w, KB_PENDING_FLUSH_MS);
    settle(&w);
    KB_CHECK_U64(kb_sched_counts(w.sched).decided, ==, decided + 1);
    end(&w);
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
    struct object *o = find(w, key);
    if (o->doc == NULL) {
        snprintf(json, sizeof(json),
                 "{'metadata': {'name': 'p%d', 'namespace': 'x', 'uid': '%s'}, 'spec': {"
                 "'containers': [{'resources': {'requests': {'cpu': '%dm'}}}]}}",
                 i, uid, (int)(1 + kb_rand_below(rand, 3)) * 500);
        store_json(w, key, json);
    } else if (kb_rand_below(rand, 2)) {
        store(w, key, NULL);
    } else { /* somebody writes the pod, as it stands */
        store(w, key, kb_doc_ref(o->doc));
    }
}

KB_TEST(step_property, in_any_order_no_node_is_overfull_and_what_fits_is_bound)
{
    struct world w;
    struct kb_rand rand;
    uint64_t seed = kb_test_seed();
    kb_rand_init(&rand, seed);
    start(&w);
    kb_rand_init(&w.rand, seed + 1);
    w.lose = 5;
    store_json(&w, "nodes//n1", NODE_OF("4"));
    store_json(&w, "nodes//n2", NODE_OF("3"));
    for (int step = 0; step < 6000; step++) {
        switch (kb_rand_below(&rand, 9)) {
        case 0:
            random_write(&w, &rand);
            break;
        case 1:
        case 2:
        case 3:
            tell_change(&w);
            break;
        case 4:
        case 5:
            tell_reply(&w);
            break;
        case 6:
            kb_sched_decide(w.sched, 1 + kb_rand_below(&rand, 4), &w.out);
            break;
        case 7:
            perform(&w);
            break;
        default:
            wait_ms(&w, (kb_ms)kb_rand_below(&rand, 700));
            if (kb_rand_below(&rand, 60) == 0)
                restart(&w);
        }
        KB_CHECK_I64(milli_on(&w, "n1"), <=, 4000);
        KB_CHECK_I64(milli_on(&w, "n2"), <=, 3000);
    }
    w.lose = 0;
    for (int i = 0; i < 20; i++) {
        settle(&w);
        wait_ms(&w, 11000);
    }
    struct kb_sched_counts counts = kb_sched_counts(w.sched);
    size_t bound = 0, waiting = 0;
    int64_t free1 = 4000 - milli_on(&w, "n1"), free2 = 3000 - milli_on(&w, "n2");
    for (int i = 0; i < w.n; i++) {
        kb_val spec = kb_doc_at(w.objects[i].doc, "spec.containers");
        if (!kb_val_present(spec))
            continue;
        int64_t cpu = atoi(kb_val_str_at(spec, "[0].resources.requests.cpu").p);
        if (text_of(&w, w.objects[i].key, "spec.nodeName")[0]) {
            bound++;
        } else {
            waiting++;
            KB_CHECK(cpu > free1 && cpu > free2);
        }
    }
    KB_CHECK_U64(counts.placed, ==, bound);
    KB_CHECK_U64(counts.waiting.unschedulable, ==, waiting);
    KB_CHECK_U64(counts.assumed, ==, 0);
    end(&w);
}
