/* What a scheduler was told and decided, told again: the same comes out. By property, on random
 * clusters with bindings that fail, nodes that come and go, preemption and other profiles. */
#include "actors/scheduler/config.h"
#include "actors/scheduler/record.h"
#include "actors/scheduler/sim/replay.h"
#include "tests/lib/test.h"

#include "bus/base/file.h"
#include "bus/base/rand.h"
#include "bus/model/json.h"

#include <stdlib.h>

enum { NODES = 12, PODS = 60, STEPS = 1200 };

static struct kb_err err;

struct story {
    struct kb_rand rand;
    struct kb_sched *s;
    struct kb_sched_out out;
    kb_ms now;
    int64_t rev;
    bool node_there[NODES], pod_there[PODS];
};

static int pick(struct story *y, int n)
{
    return (int)kb_rand_below(&y->rand, (uint64_t)n);
}

static struct kb_doc *doc_of(char *json)
{
    struct kb_doc *doc = NULL;
    for (char *c = json; *c; c++)
        *c = *c == '\'' ? '"' : *c;
    KB_CHECK_OK(kb_json_doc(kb_str_of(json), &doc, &err), &err);
    free(json);
    return doc;
}

static void step_node(struct story *y)
{
    int i = pick(y, NODES);
    KB_AUTO(kb_auto_free) char *key = kb_strf("nodes//n%d", i);
    if (y->node_there[i] && pick(y, 3) == 0) {
        kb_sched_node_del(y->s, kb_str_of(key));
        y->node_there[i] = false;
        return;
    }
    KB_AUTO(kb_doc_destroy)
    struct kb_doc *doc = doc_of(kb_strf(
        "{'metadata': {'name': 'n%d', 'labels': {'zone': 'z%d'}}, 'spec': {'unschedulable': %s}, "
        "'status': {'allocatable': {'cpu': '%d', 'pods': '%d', 'alibabacloud.com/gpu-count': "
        "'%d'}}}",
        i, pick(y, 3), pick(y, 8) ? "false" : "true", 2 + pick(y, 6), 3 + pick(y, 9), pick(y, 4)));
    kb_sched_node_put(y->s, kb_str_of(key), kb_doc_root(doc));
    y->node_there[i] = true;
}

static void step_pod(struct story *y)
{
    int i = pick(y, PODS);
    KB_AUTO(kb_auto_free) char *key = kb_strf("pods/t/p%d", i);
    if (y->pod_there[i]) {
        kb_sched_pod_del(y->s, kb_str_of(key));
        y->pod_there[i] = false;
        return;
    }
    KB_AUTO(kb_doc_destroy)
    struct kb_doc *doc = doc_of(
        kb_strf("{'metadata': {'name': 'p%d', 'namespace': 't', 'uid': 'u%lld', 'annotations': "
                "{'alibabacloud.com/gpu-count': '1', 'alibabacloud.com/gpu-milli': '%d'}}, 'spec': "
                "{'priority': %d, 'schedulerName': '%s', 'containers': [{'resources': {'requests': "
                "{'cpu': '%d'}}}]}}",
                i, (long long)y->rev, 250 * pick(y, 4), pick(y, 3),
                pick(y, 6) ? "default-scheduler" : "other", 1 + pick(y, 2)));
    kb_sched_pod_put(y->s, kb_str_of(key), ++y->rev, kb_doc_root(doc));
    y->pod_there[i] = true;
}

static void answer(struct story *y, const struct kb_sched_wish *w)
{
    static const int results[] = {0, 0, 0, 0, 0, -KB_ECONFLICT, -KB_ENOTFOUND, -KB_ETIMEOUT};
    int rc = results[pick(y, (int)KB_COUNT(results))];
    kb_str key = kb_str_of(w->key);
    if (w->kind == KB_SCHED_BIND) {
        kb_sched_bind_done(y->s, key, w->attempt, rc, ++y->rev, &y->out);
        if (rc == 0 && pick(y, 2))
            kb_sched_pod_put(y->s, key, y->rev, kb_doc_root(w->doc)); /* the view shows it */
    } else if (w->kind == KB_SCHED_CONDITION) {
        kb_sched_condition_done(y->s, key, rc);
    } else if (w->kind == KB_SCHED_EVICT) {
        kb_sched_evict_done(y->s, key, rc);
        if (rc == 0)
            kb_sched_pod_del(y->s, key);
    }
}

static void step_decide(struct story *y)
{
    kb_sched_decide(y->s, 1 + (size_t)pick(y, 8), &y->out);
    for (size_t i = 0; i < y->out.n; i++) {
        struct kb_sched_wish w = y->out.wishes[i]; /* answers may add wishes and move the array */
        answer(y, &w);
    }
    kb_sched_out_clear(&y->out);
}

static void step_configure(struct story *y)
{
    static const char *const texts[] = {
        "", "profiles: [{schedulerName: default-scheduler}, {schedulerName: other}]\n",
        ("profiles: [{pluginConfig: [{name: NodeResourcesFit, args: {scoringStrategy: {type: "
         "MostAllocated}}}]}]\n"), /* clang takes it for a forgotten comma without parentheses */
    };
    struct kb_config config = {0};
    const char *text = texts[pick(y, (int)KB_COUNT(texts))];
    if (kb_config_parse(kb_str_of(text), NULL, NULL, &config, &err) < 0)
        return;
    KB_CHECK_OK(kb_sched_configure(y->s, &config, &err), &err);
    kb_config_finish(&config);
}

static void tell(struct story *y)
{
    for (int i = 0; i < STEPS; i++) {
        int what = pick(y, 100);
        y->now += pick(y, 4) ? pick(y, 50) : pick(y, 4000);
        kb_sched_time(y->s, y->now, 1700000000000000 + y->now * 1000);
        if (what < 15)
            step_node(y);
        else if (what < 60)
            step_pod(y);
        else if (what < 98)
            step_decide(y);
        else
            step_configure(y);
    }
}

KB_TEST(replay_property, a_record_gives_the_same_decisions)
{
    struct story y = {0};
    uint64_t seed = kb_test_seed();
    struct kb_record *record = NULL;
    KB_AUTO(kb_auto_free) char *path = kb_strf("%s/record", kb_test_dir());
    KB_AUTO(kb_buf_finish) struct kb_buf text = {0};
    KB_AUTO(kb_replay_finish) struct kb_replay replay = {0};
    kb_rand_init(&y.rand, seed);
    y.s = kb_sched_new(seed);
    KB_CHECK_OK(kb_record_open(y.s, seed, path, &record, &err), &err);
    tell(&y);
    kb_record_close(&record);
    uint64_t decided = kb_sched_counts(y.s).decided;
    kb_sched_out_finish(&y.out);
    kb_sched_destroy(&y.s);
    KB_CHECK_OK(kb_file_read(path, 1 << 28, &text, &err), &err);
    KB_CHECK_OK(kb_replay_run(kb_buf_str(&text), "record", NULL, NULL, &replay, &err), &err);
    if (replay.differences > 0)
        kb_test_fail(__FILE__, __LINE__, "%s", replay.report.p);
    KB_CHECK_U64(replay.decisions, >=, decided);
    KB_CHECK_U64(replay.bindings, >, 20);
}

KB_TEST(replay, another_decision_is_shown)
{
    KB_AUTO(kb_replay_finish) struct kb_replay replay = {0};
    const char *text =
        "{\"op\":\"begin\",\"version\":1,\"seed\":\"7\"}\n"
        "{\"op\":\"node-put\",\"key\":\"nodes//n1\",\"doc\":{\"status\":{\"allocatable\":{\"cpu\":"
        "\"4\",\"pods\":\"9\"}}}}\n"
        "{\"op\":\"pod-put\",\"key\":\"pods/t/a\",\"rev\":1,\"doc\":{\"metadata\":{},\"spec\":{"
        "\"containers\":[{}]}}}\n"
        "{\"op\":\"decide\",\"most\":8,\"wishes\":[{\"kind\":\"bind\",\"key\":\"pods/t/a\","
        "\"node\":\"n2\",\"gpus\":\"\",\"attempt\":1,\"rev\":1,\"hash\":\"0\"}]}\n"
        "{\"op\":\"deci"; /* it was killed here */
    KB_CHECK_OK(kb_replay_run(kb_str_of(text), "f", NULL, NULL, &replay, &err), &err);
    KB_CHECK_U64(replay.differences, ==, 1);
    KB_CHECK(strstr(replay.report.p, "f:4:\n  recorded  {\"kind\":\"bind\",\"key\":\"pods/t/a\","
                                     "\"node\":\"n2\"") != NULL);
    KB_CHECK(strstr(replay.report.p, "\"node\":\"n1\"") != NULL);
}

static const struct kb_policy *note_asked(void *user, const char *name, const char *version)
{
    kb_buf_printf(user, "%s %s;", name, version ? version : "-");
    return kb_policy_builtin("NodeName");
}

KB_TEST(replay, the_version_that_was_at_work_is_asked_for_and_what_is_held_stays_held)
{
    KB_AUTO(kb_buf_finish) struct kb_buf asked = {0}, text = {0};
    KB_AUTO(kb_replay_finish) struct kb_replay replay = {0};
    KB_AUTO(kb_auto_free) char *path = kb_strf("%s/record", kb_test_dir());
    struct kb_record *record = NULL;
    struct kb_sched *s = kb_sched_new(7);
    struct kb_config_profile profile = {
        .name = "default-scheduler",
        .n = 3,
        .entries = {
            {.policy = kb_policy_builtin("PrioritySort")},
            {.policy = kb_policy_builtin("NodeName"), .version = "f00d"},
            {.policy = kb_policy_builtin("NodePorts"), .version = "beef", .held = "crashed"}}};
    struct kb_config config = {.profiles = &profile, .profiles_n = 1};
    KB_CHECK_OK(kb_record_open(s, 7, path, &record, &err), &err);
    KB_CHECK_OK(kb_sched_configure(s, &config, &err), &err);
    kb_record_close(&record);
    kb_sched_destroy(&s);
    KB_CHECK_OK(kb_file_read(path, 1 << 20, &text, &err), &err);
    KB_CHECK(strstr(text.p, "\"version\":\"beef\",\"held\":\"crashed\"") != NULL);
    KB_CHECK_OK(kb_replay_run(kb_buf_str(&text), "record", note_asked, &asked, &replay, &err),
                &err);
    KB_CHECK_STR(asked.p, "NodeName f00d;NodePorts beef;");
}

KB_TEST(replay, what_is_no_record_is_refused_with_its_line)
{
    static const struct {
        const char *text, *says;
    } cases[] = {
        {"", "f: not a record"},
        {"{\"op\":\"time\"}\n", "f:1: a record starts with the line 'begin'"},
        {"{\"op\":\"begin\",\"version\":2}\n", "f:1: a record of a version that is not known here"},
        {"{\"op\":\"begin\",\"version\":1,\"seed\":\"1\"}\n{\"op\":\"x\"}\n",
         "f:2: an op that is not known here"},
        {"{\"op\":\"begin\",\"version\":1,\"seed\":\"1\"}\n{\"op\":\"configure\",\"profiles\":"
         "[{\"name\":\"a\",\"policies\":[{\"policy\":\"Gone\"}]}]}\n",
         "f:2: there is no policy 'Gone' here: give its file by --policies"},
    };
    for (size_t i = 0; i < KB_COUNT(cases); i++) {
        KB_AUTO(kb_replay_finish) struct kb_replay replay = {0};
        KB_CHECK(kb_replay_run(kb_str_of(cases[i].text), "f", NULL, NULL, &replay, &err) < 0);
        KB_CHECK_STR(err.text, cases[i].says);
    }
}
