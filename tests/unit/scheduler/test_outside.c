/* Pods of a profile that asks a service outside: they wait for the answer, and nothing else does.
 */
#include "actors/scheduler/core/outside.h"
#include "tests/lib/test.h"
#include "tests/unit/scheduler/world.h"

extern const struct kb_policy kubus_policy_Remote;

static const struct kb_policy *resolve(void *user, const char *name)
{
    (void)user;
    return strcmp(name, "Remote") == 0 ? &kubus_policy_Remote : kb_policy_builtin(name);
}

static void configure(struct world *w, const char *text)
{
    KB_AUTO(kb_config_finish) struct kb_config config = {0};
    struct kb_err err = {0};
    KB_CHECK_OK(kb_config_parse(kb_str_of(text), resolve, NULL, &config, &err), &err);
    KB_CHECK_OK(kb_sched_configure(w->sched, &config, &err), &err);
}

#define HEAD "apiVersion: kubescheduler.config.k8s.io/v1\nkind: KubeSchedulerConfiguration\n"
#define REMOTE(more)                                                                               \
    HEAD "profiles: [{plugins: {multiPoint: {enabled: [{name: Remote}]}}, pluginConfig: [{name: "  \
         "Remote, args: {service: judge, " more "}}]}]\n"

static void begin(struct world *w, const char *config)
{
    world_start(w);
    configure(w, config);
    world_node(w, "n1", "8");
    world_node(w, "n2", "8");
    world_pod(w, "p", "1", "");
    world_settle(w);
}

/* The question that stands, which must be one. */
static struct kb_outside_ask asked(struct world *w)
{
    struct kb_outside_ask ask, more;
    KB_CHECK(kb_sched_next_ask(w->sched, &ask));
    KB_CHECK(!kb_sched_next_ask(w->sched, &more));
    return ask;
}

/* Takes the question. NULL: nobody answers it. */
static void answer(struct world *w, struct kb_outside_ask *ask, const char *json)
{
    struct kb_err err = {.code = KB_ETIMEOUT, .text = "no answer"};
    KB_AUTO(kb_doc_destroy) struct kb_doc *doc = json ? kb_ptest_json(json) : NULL;
    kb_sched_answer(w->sched, ask->id, kb_doc_root(doc), json ? NULL : &err, &w->out);
    kb_doc_destroy(&ask->body);
    world_settle(w);
}

KB_TEST(outside, a_pod_waits_for_the_answer_and_goes_where_it_says)
{
    KB_AUTO(world_end) struct world w;
    begin(&w, REMOTE("pods: 8"));
    KB_CHECK_STR(world_where(&w, "pods/x/p"), "");
    struct kb_outside_ask ask = asked(&w);
    KB_CHECK_STR(ask.service, "judge");
    KB_CHECK_STRN(kb_val_str(kb_doc_at(ask.body, "nodes.name[1]")), "n2");
    KB_CHECK_I64(kb_val_int(kb_doc_at(ask.body, "nodes.allocatable.cpu[0]"), 0), ==, 8000);
    KB_CHECK_I64(kb_val_int(kb_doc_at(ask.body, "pod.requests.cpu"), 0), ==, 1000);
    answer(&w, &ask, "{'filter': [1, 0], 'reasons': ['not there']}");
    KB_CHECK_STR(world_where(&w, "pods/x/p"), "n2");
}

KB_TEST(outside, an_answer_serves_as_many_pods_as_it_may_and_then_it_is_asked_again)
{
    KB_AUTO(world_end) struct world w;
    begin(&w, REMOTE("pods: 2"));
    struct kb_outside_ask ask = asked(&w);
    world_pod(&w, "q", "1", "");
    world_pod(&w, "r", "1", "");
    world_settle(&w);
    answer(&w, &ask, "{'score': [0, 100]}");
    int bound = 0;
    static const char *const keys[] = {"pods/x/p", "pods/x/q", "pods/x/r"};
    for (int i = 0; i < 3; i++)
        bound += world_where(&w, keys[i])[0] != '\0';
    KB_CHECK_I64(bound, ==, 2);
    ask = asked(&w);
    answer(&w, &ask, "{}");
    KB_CHECK(world_where(&w, "pods/x/r")[0] != '\0' && world_where(&w, "pods/x/q")[0] != '\0');
}

KB_TEST(outside, without_an_answer_the_pod_is_told_and_tries_again)
{
    KB_AUTO(world_end) struct world w;
    begin(&w, REMOTE("timeoutMs: 500"));
    struct kb_outside_ask ask = asked(&w);
    KB_CHECK_I64(ask.timeout_ms, ==, 500);
    answer(&w, &ask, NULL);
    KB_CHECK_STR(world_message(&w, "pods/x/p"), "policy service judge: no answer");
    world_after(&w, 1500);
    ask = asked(&w);
    answer(&w, &ask, "{'filter': [0, 0, 0]}");
    KB_CHECK_STR(world_message(&w, "pods/x/p"), "policy service judge: filter[2] is nonsense");
}

KB_TEST(outside, one_that_is_optional_is_left_out_when_it_does_not_answer)
{
    KB_AUTO(world_end) struct world w;
    begin(&w, REMOTE("optional: 1"));
    struct kb_outside_ask ask = asked(&w);
    answer(&w, &ask, NULL);
    KB_CHECK(world_where(&w, "pods/x/p")[0] != '\0');
}

KB_TEST(outside, who_leaves_while_it_waits_is_not_waited_for)
{
    KB_AUTO(world_end) struct world w;
    begin(&w, REMOTE("pods: 2"));
    struct kb_outside_ask ask = asked(&w);
    world_store(&w, "pods/x/p", NULL);
    world_settle(&w);
    answer(&w, &ask, "{}"); /* nobody asks any more */
    world_pod(&w, "q", "1", "");
    world_settle(&w);
    ask = asked(&w);
    configure(&w, HEAD);
    world_settle(&w);
    KB_CHECK(world_where(&w, "pods/x/q")[0] != '\0');
    answer(&w, &ask, "{}");
}

KB_TEST(outside, a_node_that_comes_makes_the_answer_old)
{
    KB_AUTO(world_end) struct world w;
    begin(&w, REMOTE("pods: 100"));
    struct kb_outside_ask ask = asked(&w);
    answer(&w, &ask, "{'filter': [1, 1]}");
    KB_CHECK_STR(world_where(&w, "pods/x/p"), "");
    KB_CHECK(strstr(world_message(&w, "pods/x/p"),
                    "2 node(s) were refused by the policy service judge") != NULL);
    world_node(&w, "n3", "8");
    world_settle(&w);
    ask = asked(&w);
    answer(&w, &ask, "{'filter': [1, 1, 0]}");
    world_after(&w, 2000);
    KB_CHECK_STR(world_where(&w, "pods/x/p"), "n3");
}
