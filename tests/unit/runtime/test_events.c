#include "actors/runtime/events.h"
#include "bus/model/json.h"
#include "tests/lib/test.h"

/* One occurrence; its write, if there is one, is answered at once. */
static enum kb_event_action add(struct kb_events *events, const char *message, int64_t now_us,
                                struct kb_arena *a, struct kb_node **ret)
{
    struct kb_node *more;
    KB_AUTO(kb_doc_destroy) struct kb_doc *pod = NULL;
    struct kb_err err;
    const char *text = "{\"metadata\":{\"name\":\"web-0\",\"namespace\":\"shop\",\"uid\":\"u\"}}";
    KB_CHECK_OK(kb_json_doc(kb_str_of(text), &pod, &err), &err);
    struct kb_event_in in = {"replicaset-controller", "Normal", "Created", message,
                             kb_doc_root(pod),        "v1",     "Pod",     kb_str_of("7")};
    kb_str ns, name;
    enum kb_event_action action = kb_events_add(events, &in, now_us, a, ret, &ns, &name);
    if (action != KB_EVENT_DROP)
        kb_events_answered(events, name, false, a, &more);
    return action;
}

KB_TEST(events, the_same_again_is_counted)
{
    KB_AUTO(kb_events_finish) struct kb_events events;
    KB_AUTO(kb_arena_finish) struct kb_arena a = {0};
    struct kb_node *node;
    kb_events_init(&events);
    KB_CHECK(add(&events, "x", 1000000, &a, &node) == KB_EVENT_CREATE);
    KB_CHECK_STRN(kb_node_text_at(node, "involvedObject.name"), "web-0");
    KB_CHECK_STRN(kb_node_text_at(node, "source.component"), "replicaset-controller");
    KB_CHECK(add(&events, "x", 2000000, &a, &node) == KB_EVENT_PATCH);
    KB_CHECK_I64(kb_node_num(kb_node_get(node, "count"), 0), ==, 2);
    KB_CHECK_STRN(kb_node_text_at(node, "lastTimestamp"), "1970-01-01T00:00:02Z");
    KB_CHECK(add(&events, "y", 3000000, &a, &node) == KB_EVENT_CREATE);
}

KB_TEST(events, many_similar_ones_become_one)
{
    KB_AUTO(kb_events_finish) struct kb_events events;
    KB_AUTO(kb_arena_finish) struct kb_arena a = {0};
    struct kb_node *node;
    char message[32];
    kb_events_init(&events);
    for (int i = 0; i < 12; i++) {
        snprintf(message, sizeof(message), "message %d", i);
        enum kb_event_action action = add(&events, message, 1000000 * i, &a, &node);
        KB_CHECK(action == (i <= 10 ? KB_EVENT_CREATE : KB_EVENT_PATCH));
    }
    KB_CHECK_STRN(kb_node_text_at(node, "message"), "(combined from similar events): message 11");
    KB_CHECK_I64(kb_node_num(kb_node_get(node, "count"), 0), ==, 2);
}

KB_TEST(events, a_flood_is_cut_and_goes_on_slowly)
{
    KB_AUTO(kb_events_finish) struct kb_events events;
    KB_AUTO(kb_arena_finish) struct kb_arena a = {0};
    struct kb_node *node;
    int sent = 0;
    kb_events_init(&events);
    for (int i = 0; i < 100; i++)
        sent += add(&events, "x", 1000000, &a, &node) != KB_EVENT_DROP;
    KB_CHECK_I64(sent, ==, 25);
    KB_CHECK(add(&events, "x", 302 * INT64_C(1000000), &a, &node) == KB_EVENT_PATCH);
    KB_CHECK_I64(kb_node_num(kb_node_get(node, "count"), 0), ==, 101);
}

KB_TEST(events, what_is_remembered_is_bounded)
{
    KB_AUTO(kb_events_finish) struct kb_events events;
    KB_AUTO(kb_arena_finish) struct kb_arena a = {0};
    struct kb_node *node;
    char message[32];
    kb_events_init(&events);
    for (int i = 0; i < 3 * KB_EVENTS_REMEMBERED; i++) {
        snprintf(message, sizeof(message), "message %d", i);
        add(&events, message, INT64_C(700000000) * i, &a, &node);
        kb_arena_reset(&a);
    }
    KB_CHECK_U64(events.known.count, ==, KB_EVENTS_REMEMBERED);
}

KB_TEST(events, what_occurs_while_the_write_is_under_way_follows_in_one)
{
    KB_AUTO(kb_events_finish) struct kb_events events;
    KB_AUTO(kb_arena_finish) struct kb_arena a = {0};
    KB_AUTO(kb_doc_destroy) struct kb_doc *pod = NULL;
    struct kb_err err;
    KB_CHECK_OK(kb_json_doc(kb_str_of("{\"metadata\":{\"name\":\"p\"}}"), &pod, &err), &err);
    struct kb_event_in in = {"c", "Normal", "R", "x", kb_doc_root(pod), "v1", "Pod", {0}};
    struct kb_node *node;
    kb_str ns, name;
    kb_events_init(&events);
    KB_CHECK(kb_events_add(&events, &in, 1, &a, &node, &ns, &name) == KB_EVENT_CREATE);
    for (int i = 0; i < 40; i++)
        KB_CHECK(kb_events_add(&events, &in, 2, &a, &node, &ns, &ns) == KB_EVENT_DROP);
    KB_CHECK(kb_events_answered(&events, name, false, &a, &node) == KB_EVENT_PATCH);
    KB_CHECK_I64(kb_node_num(kb_node_get(node, "count"), 0), ==, 41);
    KB_CHECK(kb_events_answered(&events, name, false, &a, &node) == KB_EVENT_DROP);
    KB_CHECK(kb_events_add(&events, &in, 3, &a, &node, &ns, &name) == KB_EVENT_PATCH);
    KB_CHECK(kb_events_answered(&events, name, true, &a, &node) == KB_EVENT_DROP);
    KB_CHECK(kb_events_add(&events, &in, 4, &a, &node, &ns, &name) == KB_EVENT_CREATE);
}
