/* What a pod requests, case by case as PodRequests of Kubernetes 1.32 sums it. */
#include "bus/model/json.h"
#include "bus/model/requests.h"
#include "tests/lib/test.h"

static struct kb_doc *json(const char *text)
{
    struct kb_doc *doc = NULL;
    struct kb_err err = {0};
    KB_CHECK_OK(kb_json_doc(kb_str_of(text), &doc, &err), &err);
    return doc;
}

#define ASKS(list)   "{\"resources\":{\"requests\":{" list "}}}"
#define ALWAYS(list) "{\"restartPolicy\":\"Always\",\"resources\":{\"requests\":{" list "}}}"
#define CPU(amount)  "\"cpu\":\"" amount "\""
#define MEM(amount)  "\"memory\":\"" amount "\""
#define GPU(amount)  "\"example.com/gpu\":\"" amount "\""

struct expected {
    int64_t cpu, memory, gpu;
};

static const struct {
    const char *containers, *init, *rest; /* of the spec */
    struct expected plain, counted;       /* counted: 100m and 1000 bytes where nothing is said */
} cases[] = {
    /* a pod without a word, and with one for all */
    {"{}", "", "", {0, 0, 0}, {100, 1000, 0}},
    {"{},{}", "", "", {0, 0, 0}, {200, 2000, 0}},
    {ASKS(CPU("1") "," MEM("1Ki")), "", "", {1000, 1024, 0}, {1000, 1024, 0}},
    /* containers run together; who says zero has said it */
    {ASKS(CPU("100m")) "," ASKS(CPU("2") "," GPU("1")), "", "", {2100, 0, 1}, {2100, 2000, 1}},
    {ASKS(CPU("0")), "", "", {0, 0, 0}, {0, 1000, 0}},
    {ASKS(CPU("0.0001")), "", "", {1, 0, 0}, {1, 1000, 0}},
    /* init containers one by one, before the others: the largest of each resource */
    {ASKS(CPU("1")),
     ASKS(CPU("3")) "," ASKS(CPU("2") "," MEM("5")),
     "",
     {3000, 5, 0},
     {3000, 1000, 0}},
    {ASKS(CPU("4")), ASKS(CPU("3")), "", {4000, 0, 0}, {4000, 1000, 0}},
    /* a sidecar runs beside all that starts after it, and nothing that starts before */
    {ASKS(CPU("1")), ALWAYS(CPU("1")) "," ASKS(CPU("3")), "", {4000, 0, 0}, {4000, 2000, 0}},
    {ASKS(CPU("1")), ASKS(CPU("1500m")) "," ALWAYS(CPU("1")), "", {2000, 0, 0}, {2000, 2000, 0}},
    {ASKS(CPU("1")),
     ALWAYS(CPU("1")) "," ALWAYS(CPU("2")) "," ASKS(CPU("3")),
     "",
     {6000, 0, 0},
     {6000, 3000, 0}},
    {ASKS(CPU("1")), ALWAYS(GPU("1")) "," ASKS(GPU("2")), "", {1000, 0, 3}, {1100, 2000, 3}},
    /* the overhead comes on top, also of what no container names */
    {ASKS(CPU("1")),
     "",
     "\"overhead\":{" CPU("250m") "," MEM("7") "}",
     {1250, 7, 0},
     {1250, 1007, 0}},
    /* what the pod says as a whole replaces the sum, for CPU and memory alone */
    {ASKS(CPU("1") "," MEM("5")) ",{}",
     "",
     "\"resources\":{\"requests\":{" CPU("3") "}}",
     {3000, 5, 0},
     {3000, 5, 0}},
    {ASKS(CPU("4")),
     ASKS(CPU("9")),
     "\"resources\":{\"requests\":{" CPU("3") "}}",
     {3000, 0, 0},
     {3000, 1000, 0}},
    {ASKS(GPU("2")), "", "\"resources\":{\"requests\":{" GPU("7") "}}", {0, 0, 2}, {100, 1000, 2}},
    {"{}",
     "",
     "\"resources\":{\"requests\":{" CPU("1") "}},\"overhead\":{" CPU("1") "}",
     {2000, 0, 0},
     {2000, 1000, 0}},
    /* a limit of the whole stands in for a request where no container has one */
    {"{}",
     "",
     "\"resources\":{\"limits\":{" CPU("2") "," MEM("9") "," GPU("4") "}}",
     {2000, 9, 0},
     {2000, 9, 0}},
    {ASKS(CPU("1")),
     "",
     "\"resources\":{\"limits\":{" CPU("2") "," MEM("9") "}}",
     {1000, 9, 0},
     {1000, 9, 0}},
    {"{}",
     "",
     "\"resources\":{\"requests\":{" CPU("1") "},\"limits\":{" CPU("2") "}}",
     {1000, 0, 0},
     {1000, 1000, 0}},
    /* limits of containers are made requests by the API, before anybody sums them */
    {"{\"resources\":{\"limits\":{" CPU("2") "}}}", "", "", {0, 0, 0}, {100, 1000, 0}},
    /* nonsense is nothing, too much is capped */
    {ASKS(CPU("-1")) "," ASKS(CPU("1")), "", "", {1000, 0, 0}, {1000, 2000, 0}},
    {ASKS(CPU("x") "," MEM("1")), "", "", {0, 1, 0}, {0, 1, 0}},
    {ASKS(CPU("9223372036854775807")) "," ASKS(CPU("9223372036854775807")),
     "",
     "",
     {INT64_MAX, 0, 0},
     {INT64_MAX, 2000, 0}},
};

static void check(kb_val spec, const struct kb_requests_missing *missing,
                  const struct expected *expected)
{
    KB_AUTO(kb_arena_finish) struct kb_arena arena = {0};
    struct kb_requests got = kb_requests_of(spec, missing, &arena);
    KB_CHECK_I64(kb_requests_amount(&got, "cpu"), ==, expected->cpu);
    KB_CHECK_I64(kb_requests_amount(&got, "memory"), ==, expected->memory);
    KB_CHECK_I64(kb_requests_amount(&got, "example.com/gpu"), ==, expected->gpu);
    KB_CHECK_I64(kb_requests_amount(&got, "example.com/other"), ==, 0);
}

KB_TEST(requests, are_the_most_that_a_pod_uses_at_once)
{
    static const struct kb_requests_missing missing = {100, 1000};
    for (size_t i = 0; i < KB_COUNT(cases); i++) {
        KB_AUTO(kb_auto_free)
        char *text =
            kb_strf("{\"containers\":[%s],\"initContainers\":[%s]%s%s}", cases[i].containers,
                    cases[i].init, cases[i].rest[0] ? "," : "", cases[i].rest);
        KB_AUTO(kb_doc_destroy) struct kb_doc *doc = json(text);
        check(kb_doc_root(doc), NULL, &cases[i].plain);
        check(kb_doc_root(doc), &missing, &cases[i].counted);
    }
}

KB_TEST(requests, of_a_pod_that_is_no_pod_are_none)
{
    KB_AUTO(kb_arena_finish) struct kb_arena arena = {0};
    struct kb_requests none = kb_requests_of((kb_val){0}, NULL, &arena);
    KB_CHECK_I64(none.n, ==, 0);
    KB_CHECK_I64(kb_requests_amount(&none, "cpu"), ==, 0);
}
