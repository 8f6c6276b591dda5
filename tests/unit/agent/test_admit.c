/* Whether a node takes a pod. */
#include "agent/admit.h"
#include "bus/model/json.h"
#include "tests/lib/test.h"

static struct kb_doc *json(const char *text)
{
    struct kb_doc *doc = NULL;
    struct kb_err err = {0};
    KB_CHECK_OK(kb_json_doc(kb_str_of(text), &doc, &err), &err);
    return doc;
}

static struct kb_amounts requests(const char *spec)
{
    KB_AUTO(kb_auto_free) char *text = kb_strf("{\"spec\":%s}", spec);
    KB_AUTO(kb_doc_destroy) struct kb_doc *doc = json(text);
    return kb_admit_requests(kb_doc_root(doc));
}

#define CPU(amount) "{\"resources\":{\"requests\":{\"cpu\":\"" amount "\"}}}"
#define ALWAYS(amount)                                                                             \
    "{\"restartPolicy\":\"Always\",\"resources\":{\"requests\":{\"cpu\":\"" amount "\"}}}"

KB_TEST(admit, a_pod_requests_what_it_may_use_at_once)
{
    static const struct {
        const char *spec;
        int64_t milli;
    } cases[] = {
        {"{\"containers\":[{}]}", 0},
        {"{\"containers\":[" CPU("100m") "," CPU("2") "]}", 2100},
        /* init containers run one by one, before the others */
        {"{\"containers\":[" CPU("1") "],\"initContainers\":[" CPU("3") "," CPU("2") "]}", 3000},
        {"{\"containers\":[" CPU("4") "],\"initContainers\":[" CPU("3") "]}", 4000},
        /* a sidecar runs beside what starts after it */
        {"{\"containers\":[" CPU("1") "],\"initContainers\":[" ALWAYS("1") "," CPU("3") "]}", 4000},
        {"{\"containers\":[" CPU("1") "],\"initContainers\":[" CPU("1500m") "," ALWAYS("1") "]}",
         2000},
        {"{\"containers\":[" CPU("1") "],\"overhead\":{\"cpu\":\"250m\"}}", 1250},
        {"{\"containers\":[" CPU("9223372036854775807") "," CPU("9223372036854775807") "]}",
         INT64_MAX},
        {"{\"containers\":[" CPU("-1") "," CPU("1") "]}", 1000},
    };
    for (size_t i = 0; i < KB_COUNT(cases); i++) {
        struct kb_amounts got = requests(cases[i].spec);
        KB_CHECK_I64(got.of[KB_AMOUNT_CPU], ==, cases[i].milli);
        KB_CHECK_I64(got.of[KB_AMOUNT_PODS], ==, 1);
    }
}

KB_TEST(admit, what_is_too_much_is_named_with_its_amounts)
{
    struct kb_amounts one = requests("{\"containers\":[" CPU("1500m") "]}"), used = {{0}};
    KB_AUTO(kb_doc_destroy)
    struct kb_doc *node = json("{\"status\":{\"allocatable\":{\"cpu\":\"2\",\"pods\":\"2\"}}}");
    struct kb_amounts room = kb_admit_allocatable(kb_doc_root(node));
    struct kb_refusal why;
    KB_CHECK(kb_admit_fits(&one, &used, &room, &why));
    kb_admit_add(&used, &one);
    KB_CHECK(!kb_admit_fits(&one, &used, &room, &why));
    KB_CHECK_STR(why.reason, "OutOfcpu");
    KB_CHECK_STR(why.message, "Node didn't have enough resource: cpu, requested: 1500, used: 1500, "
                              "capacity: 2000");
    struct kb_amounts none = requests("{\"containers\":[{}]}");
    KB_CHECK(kb_admit_fits(&none, &used, &room, &why));
    kb_admit_add(&used, &none);
    KB_CHECK(!kb_admit_fits(&none, &used, &room, &why));
    KB_CHECK_STR(why.reason, "OutOfpods");
}

static bool clash(const char *a, const char *b)
{
    KB_AUTO(kb_auto_free) char *x = kb_strf("{\"spec\":{\"containers\":[{\"ports\":[%s]}]}}", a);
    KB_AUTO(kb_auto_free)
    char *y = kb_strf("{\"spec\":{\"containers\":[{},{\"ports\":[{\"containerPort\":1},%s]}]}}", b);
    KB_AUTO(kb_doc_destroy) struct kb_doc *pod = json(x), *other = json(y);
    bool clashes = kb_admit_ports_clash(kb_doc_root(pod), kb_doc_root(other));
    KB_CHECK(kb_admit_ports_clash(kb_doc_root(other), kb_doc_root(pod)) == clashes);
    return clashes;
}

KB_TEST(admit, a_host_port_is_taken_once_on_each_address)
{
    KB_CHECK(clash("{\"hostPort\":80}", "{\"hostPort\":80,\"protocol\":\"TCP\"}"));
    KB_CHECK(!clash("{\"hostPort\":80}", "{\"hostPort\":81}"));
    KB_CHECK(!clash("{\"containerPort\":80}", "{\"containerPort\":80}"));
    KB_CHECK(!clash("{\"hostPort\":80}", "{\"hostPort\":80,\"protocol\":\"UDP\"}"));
    KB_CHECK(clash("{\"hostPort\":80,\"hostIP\":\"0.0.0.0\"}",
                   "{\"hostPort\":80,\"hostIP\":\"192.0.2.1\"}"));
    KB_CHECK(!clash("{\"hostPort\":80,\"hostIP\":\"192.0.2.2\"}",
                    "{\"hostPort\":80,\"hostIP\":\"192.0.2.1\"}"));
}

static struct kb_doc *tainted_node(void)
{
    KB_AUTO(kb_doc_destroy)
    struct kb_doc *node =
        json("{\"metadata\":{\"name\":\"n1\",\"labels\":{\"disk\":\"ssd\"}},\"spec\":{\"taints\":["
             "{\"key\":\"a\",\"effect\":\"NoSchedule\"},{\"key\":\"b\",\"effect\":\"NoExecute\"}]},"
             "\"status\":{\"images\":[]}}");
    return kb_admit_node(kb_doc_root(node));
}

KB_TEST(admit, a_node_that_the_pod_does_not_mean_refuses_it)
{
    KB_AUTO(kb_doc_destroy) struct kb_doc *node = tainted_node();
    KB_AUTO(kb_doc_destroy)
    struct kb_doc *mine = json("{\"spec\":{\"nodeSelector\":{\"disk\":\"ssd\"}}}");
    KB_AUTO(kb_doc_destroy)
    struct kb_doc *other = json("{\"spec\":{\"nodeSelector\":{\"disk\":\"hdd\"}}}");
    struct kb_refusal why = {0};
    KB_CHECK(kb_admit_affinity(kb_doc_root(mine), kb_doc_root(node), &why));
    KB_CHECK(!kb_admit_affinity(kb_doc_root(other), kb_doc_root(node), &why));
    KB_CHECK_STR(why.reason, "NodeAffinity");
    KB_CHECK_STR(why.message, "Predicate NodeAffinity failed: node(s) didn't match Pod's node "
                              "affinity/selector");
}

KB_TEST(admit, of_taints_those_that_evict_refuse)
{
    KB_AUTO(kb_doc_destroy) struct kb_doc *node = tainted_node();
    KB_AUTO(kb_doc_destroy) struct kb_doc *bare = json("{\"spec\":{}}");
    KB_AUTO(kb_doc_destroy)
    struct kb_doc *patient = json("{\"spec\":{\"tolerations\":[{\"key\":\"b\",\"operator\":"
                                  "\"Exists\",\"tolerationSeconds\":3}]}}");
    struct kb_refusal why = {0};
    KB_CHECK(kb_admit_taints(kb_doc_root(patient), kb_doc_root(node), &why));
    KB_CHECK(!kb_admit_taints(kb_doc_root(bare), kb_doc_root(node), &why));
    KB_CHECK_STR(why.reason, "TaintToleration");
    KB_CHECK_STR(why.message, "Predicate TaintToleration failed: node(s) had taints that the pod "
                              "didn't tolerate");
    KB_CHECK(kb_admit_taints(kb_doc_root(bare), (kb_val){0}, &why));
}

/* ---- names ---- */

KB_TEST(admit, names_that_would_lead_out_of_the_pods_folder_are_refused)
{
    static const char *const good[] = {"{\"spec\":{\"containers\":[{\"name\":\"a\"},{\"name\":\"b-"
                                       "1\"}],\"initContainers\":[{\"name\":"
                                       "\"c\"}],\"volumes\":[{\"name\":\"a\"}]}}",
                                       "{}"};
    static const char *const bad[] = {
        "{\"spec\":{\"containers\":[{\"name\":\"..\"}]}}",
        "{\"spec\":{\"containers\":[{\"name\":\"a/../../b\"}]}}",
        "{\"spec\":{\"containers\":[{}]}}",
        "{\"spec\":{\"containers\":[{\"name\":\"a\\u0000b\"}]}}",
        "{\"spec\":{\"containers\":[{\"name\":\"a\"}],\"initContainers\":[{\"name\":\"a\"}]}}",
        "{\"spec\":{\"volumes\":[{\"name\":\"../x\"}]}}",
        "{\"spec\":{\"volumes\":[5]}}"};
    static const char *const uids[] = {"", ".", "..", ".x", "a/b", "a b"};
    struct kb_refusal why;
    for (size_t i = 0; i < KB_COUNT(good); i++) {
        KB_AUTO(kb_doc_destroy) struct kb_doc *doc = json(good[i]);
        KB_CHECK(kb_admit_names(kb_doc_root(doc), &why));
    }
    for (size_t i = 0; i < KB_COUNT(bad); i++) {
        KB_AUTO(kb_doc_destroy) struct kb_doc *doc = json(bad[i]);
        KB_CHECK(!kb_admit_names(kb_doc_root(doc), &why));
        KB_CHECK_STR(why.reason, "UnexpectedAdmissionError");
    }
    for (size_t i = 0; i < KB_COUNT(uids); i++)
        KB_CHECK(!kb_admit_uid(kb_str_of(uids[i])));
    KB_CHECK(kb_admit_uid(kb_str_of("7d0e5c1a-0000-4000-8000-00000000000a")));
}
