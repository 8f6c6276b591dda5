/* Printer columns: the cells that `kubectl get` shows, from objects as the cluster holds them. */
#include "bus/base/clock.h"
#include "bus/model/columns.h"
#include "bus/model/json.h"
#include "bus/model/jsonpath.h"
#include "tests/lib/test.h"

#include <stdlib.h>

#define NOW "2026-01-02T03:04:05Z"

static struct kb_doc *json(const char *text)
{
    struct kb_doc *doc = NULL;
    struct kb_err err = {0};
    KB_CHECK_OK(kb_json_doc(kb_str_of(text), &doc, &err), &err);
    return doc;
}

/* The row of an object as JSON, with the columns given as JSON. */
static void check_row(bool crd, const char *columns_json, const char *object_json, const char *want)
{
    KB_AUTO(kb_doc_destroy) struct kb_doc *defs = json(columns_json);
    KB_AUTO(kb_doc_destroy) struct kb_doc *object = json(object_json);
    KB_AUTO(kb_columns_destroy) struct kb_columns *columns = NULL;
    KB_AUTO(kb_w_finish) struct kb_w w = {0};
    KB_AUTO(kb_buf_finish) struct kb_buf out = {0};
    struct kb_err err = {0};
    int64_t now;

    KB_CHECK(kb_time_parse(NOW, &now) == 0);
    KB_CHECK_OK((crd ? kb_columns_new_crd : kb_columns_new)(kb_doc_root(defs), &columns, &err),
                &err);
    kb_columns_row(columns, kb_doc_root(object), now, &w);
    kb_json_write(&out, kb_w_val(&w), 0);
    KB_CHECK_STR(out.p, want);
}

#define POD_COLUMNS                                                                                \
    "[{\"name\":\"Name\",\"cell\":\"name\"},{\"name\":\"Ready\",\"cell\":\"pod-ready\"},"          \
    "{\"name\":\"Status\",\"cell\":\"pod-status\"},{\"name\":\"Restarts\",\"cell\":"               \
    "\"pod-restarts\"},{\"name\":\"Age\",\"cell\":\"age\"}]"

static void check_pod(const char *meta, const char *spec, const char *status, const char *want)
{
    char *object =
        kb_strf("{\"metadata\":{\"name\":\"p\",\"creationTimestamp\":\"2026-01-02T03:00:00Z\"%s},"
                "\"spec\":{%s},\"status\":{%s}}",
                meta, spec, status);
    char *row = kb_strf("[\"p\",%s,\"4m5s\"]", want);
    check_row(false, POD_COLUMNS, object, row);
    free(object);
    free(row);
}

#define ONE     "\"containers\":[{\"name\":\"c\"}]"
#define TWO     "\"containers\":[{\"name\":\"c\"},{\"name\":\"d\"}]"
#define RUNNING "\"ready\":true,\"state\":{\"running\":{\"startedAt\":\"2026-01-02T03:00:01Z\"}}"

KB_TEST(columns, pod_status_is_the_phase_when_nothing_else_is_known)
{
    check_pod("", ONE, "\"phase\":\"Pending\"", "\"0/1\",\"Pending\",\"0\"");
    check_pod("", ONE,
              "\"phase\":\"Pending\",\"conditions\":[{\"type\":\"PodScheduled\",\"status\":"
              "\"False\",\"reason\":\"SchedulingGated\"}]",
              "\"0/1\",\"SchedulingGated\",\"0\"");
    check_pod("", ONE, "\"phase\":\"Failed\",\"reason\":\"Evicted\"", "\"0/1\",\"Evicted\",\"0\"");
}

KB_TEST(columns, pod_that_runs)
{
    check_pod(
        "", TWO,
        "\"phase\":\"Running\",\"containerStatuses\":[{\"name\":\"c\",\"restartCount\":0," RUNNING
        "},{\"name\":\"d\",\"restartCount\":3,\"ready\":false,\"state\":{\"running\":{}},"
        "\"lastState\":{\"terminated\":{\"finishedAt\":\"2026-01-02T02:59:05Z\"}}}]",
        "\"1/2\",\"Running\",\"3 (5m ago)\"");
}

KB_TEST(columns, pod_whose_container_waits_or_has_ended)
{
    check_pod("", ONE,
              "\"phase\":\"Running\",\"containerStatuses\":[{\"name\":\"c\",\"restartCount\":5,"
              "\"state\":{\"waiting\":{\"reason\":\"CrashLoopBackOff\"}},\"lastState\":{"
              "\"terminated\":{\"exitCode\":1,\"finishedAt\":\"2026-01-02T03:03:35Z\"}}}]",
              "\"0/1\",\"CrashLoopBackOff\",\"5 (30s ago)\"");
    check_pod("", ONE,
              "\"phase\":\"Succeeded\",\"containerStatuses\":[{\"name\":\"c\",\"state\":{"
              "\"terminated\":{\"exitCode\":0,\"reason\":\"Completed\"}}}]",
              "\"0/1\",\"Completed\",\"0\"");
    check_pod("", ONE,
              "\"phase\":\"Failed\",\"containerStatuses\":[{\"name\":\"c\",\"state\":{"
              "\"terminated\":{\"exitCode\":3}}}]",
              "\"0/1\",\"ExitCode:3\",\"0\"");
    check_pod("", ONE,
              "\"phase\":\"Failed\",\"containerStatuses\":[{\"name\":\"c\",\"state\":{"
              "\"terminated\":{\"exitCode\":137,\"signal\":9}}}]",
              "\"0/1\",\"Signal:9\",\"0\"");
}

KB_TEST(columns, pod_of_which_one_container_is_done)
{
    static const char done[] =
        "\"phase\":\"Running\",\"containerStatuses\":[{\"name\":\"c\",\"state\":{\"terminated\":{"
        "\"exitCode\":0,\"reason\":\"Completed\"}}},{\"name\":\"d\"," RUNNING "}]%s";
    char *status = kb_strf(done, "");
    check_pod("", TWO, status, "\"1/2\",\"NotReady\",\"0\"");
    free(status);
    status = kb_strf(done, ",\"conditions\":[{\"type\":\"Ready\",\"status\":\"True\"}]");
    check_pod("", TWO, status, "\"1/2\",\"Running\",\"0\"");
    free(status);
}

#define INIT ONE ",\"initContainers\":[{\"name\":\"i\"},{\"name\":\"j\"}]"

KB_TEST(columns, pod_whose_init_containers_run)
{
    check_pod("", INIT,
              "\"phase\":\"Pending\",\"initContainerStatuses\":[{\"name\":\"i\",\"state\":{"
              "\"terminated\":{\"exitCode\":0}}},{\"name\":\"j\",\"state\":{\"running\":{}}}]",
              "\"0/1\",\"Init:1/2\",\"0\"");
    check_pod(
        "", INIT,
        "\"phase\":\"Pending\",\"initContainerStatuses\":[{\"name\":\"i\",\"restartCount\":2,"
        "\"state\":{\"waiting\":{\"reason\":\"CrashLoopBackOff\"}}},{\"name\":\"j\",\"state\":"
        "{\"waiting\":{\"reason\":\"PodInitializing\"}}}]",
        "\"0/1\",\"Init:CrashLoopBackOff\",\"2\"");
    check_pod("", INIT,
              "\"phase\":\"Pending\",\"initContainerStatuses\":[{\"name\":\"i\",\"state\":{"
              "\"terminated\":{\"exitCode\":1,\"reason\":\"Error\"}}}]",
              "\"0/1\",\"Init:Error\",\"0\"");
    check_pod("", INIT,
              "\"phase\":\"Pending\",\"initContainerStatuses\":[{\"name\":\"i\",\"state\":{"
              "\"waiting\":{\"reason\":\"PodInitializing\"}}}]",
              "\"0/1\",\"Init:0/2\",\"0\"");
}

KB_TEST(columns, sidecars_count_as_containers)
{
    check_pod("", ONE ",\"initContainers\":[{\"name\":\"s\",\"restartPolicy\":\"Always\"}]",
              "\"phase\":\"Running\",\"initContainerStatuses\":[{\"name\":\"s\",\"restartCount\":1,"
              "\"started\":true," RUNNING "}],\"containerStatuses\":[{\"name\":\"c\"," RUNNING "}]",
              "\"2/2\",\"Running\",\"1\"");
}

KB_TEST(columns, pod_that_is_being_deleted)
{
    static const char deleted[] = ",\"deletionTimestamp\":\"2026-01-02T03:04:00Z\"";
    check_pod(deleted, ONE,
              "\"phase\":\"Running\",\"containerStatuses\":[{\"name\":\"c\"," RUNNING "}]",
              "\"1/1\",\"Terminating\",\"0\"");
    check_pod(deleted, ONE, "\"phase\":\"Running\",\"reason\":\"NodeLost\"",
              "\"0/1\",\"Unknown\",\"0\"");
    check_pod(deleted, ONE,
              "\"phase\":\"Succeeded\",\"containerStatuses\":[{\"name\":\"c\",\"state\":{"
              "\"terminated\":{\"exitCode\":0,\"reason\":\"Completed\"}}}]",
              "\"0/1\",\"Completed\",\"0\"");
}

KB_TEST(columns, wide_pod_cells)
{
    check_row(
        false,
        "[{\"cell\":\"pod-ip\"},{\"cell\":\"text-or-none\",\"path\":\".spec.nodeName\"},{"
        "\"cell\":\"pod-gates\"}]",
        "{\"spec\":{\"readinessGates\":[{\"conditionType\":\"a/b\"},{\"conditionType\":\"c\"}]}"
        ",\"status\":{\"podIPs\":[{\"ip\":\"10.0.0.7\"}],\"conditions\":[{\"type\":\"a/b\","
        "\"status\":\"True\"}]}}",
        "[\"10.0.0.7\",\"<none>\",\"1/2\"]");
}

KB_TEST(columns, node_cells)
{
    static const char columns[] =
        "[{\"cell\":\"node-status\"},{\"cell\":\"node-roles\"},{\"cell\":\"node-address\",\"of\":"
        "\"InternalIP\"},{\"cell\":\"node-address\",\"of\":\"ExternalIP\"},{\"cell\":"
        "\"text-or-unknown\",\"path\":\".status.nodeInfo.osImage\"}]";
    check_row(false, columns,
              "{\"metadata\":{\"labels\":{\"node-role.kubernetes.io/worker\":\"\","
              "\"node-role.kubernetes.io/control-plane\":\"\",\"kubernetes.io/role\":\"worker\"}},"
              "\"spec\":{\"unschedulable\":true},\"status\":{\"conditions\":[{\"type\":\"Ready\","
              "\"status\":\"True\"}],\"addresses\":[{\"type\":\"Hostname\",\"address\":\"n1\"},{"
              "\"type\":\"InternalIP\",\"address\":\"10.1.1.1\"}]}}",
              "[\"Ready,SchedulingDisabled\",\"control-plane,worker\",\"10.1.1.1\",\"<none>\","
              "\"<unknown>\"]");
    check_row(false, columns, "{}", "[\"Unknown\",\"<none>\",\"<none>\",\"<none>\",\"<unknown>\"]");
    check_row(false, "[{\"cell\":\"node-status\"}]",
              "{\"status\":{\"conditions\":[{\"type\":\"Ready\",\"status\":\"Unknown\"}]}}",
              "[\"NotReady\"]");
}

KB_TEST(columns, storage_cells)
{
    check_row(false,
              "[{\"cell\":\"name\"},{\"cell\":\"access-modes\",\"path\":\".spec.accessModes\"},"
              "{\"cell\":\"phase-or-terminating\",\"path\":\".status.phase\"},{\"cell\":"
              "\"claim-ref\",\"path\":\".spec.claimRef\"},{\"cell\":\"storage-class\"},{\"cell\":"
              "\"text-or-unset\",\"path\":\".spec.volumeMode\"}]",
              "{\"metadata\":{\"name\":\"pv\"},\"spec\":{\"accessModes\":[\"ReadWriteMany\","
              "\"ReadWriteOnce\"],\"claimRef\":{\"namespace\":\"x\",\"name\":\"c\"},"
              "\"storageClassName\":\"fast\"},\"status\":{\"phase\":\"Bound\"}}",
              "[\"pv\",\"RWO,RWX\",\"Bound\",\"x/c\",\"fast\",\"<unset>\"]");
    check_row(false,
              "[{\"cell\":\"class-name\"},{\"cell\":\"phase-or-terminating\",\"path\":"
              "\".status.phase\"},{\"cell\":\"claim-ref\",\"path\":\".spec.claimRef\"}]",
              "{\"metadata\":{\"name\":\"sc\",\"deletionTimestamp\":\"2026-01-01T00:00:00Z\","
              "\"annotations\":{\"storageclass.kubernetes.io/is-default-class\":\"true\"}}}",
              "[\"sc (default)\",\"Terminating\",\"\"]");
}

KB_TEST(columns, service_cells)
{
    static const char columns[] =
        "[{\"cell\":\"service-external-ip\"},{\"cell\":\"service-ports\"},{\"cell\":\"labels\","
        "\"path\":\".spec.selector\"}]";
    check_row(false, columns,
              "{\"spec\":{\"type\":\"NodePort\",\"ports\":[{\"port\":80,\"nodePort\":30080,"
              "\"protocol\":\"TCP\"},{\"port\":53,\"protocol\":\"UDP\"}],\"selector\":{\"b\":\"2\","
              "\"a\":\"1\"}}}",
              "[\"<none>\",\"80:30080/TCP,53/UDP\",\"a=1,b=2\"]");
    check_row(false, columns,
              "{\"spec\":{\"type\":\"LoadBalancer\"},\"status\":{\"loadBalancer\":{\"ingress\":[{"
              "\"hostname\":\"lb\"},{\"ip\":\"1.2.3.4\"},{\"ip\":\"1.2.3.4\"}]}}}",
              "[\"1.2.3.4,lb\",\"<none>\",\"<none>\"]");
    check_row(false, columns, "{\"spec\":{\"type\":\"LoadBalancer\"}}",
              "[\"<pending>\",\"<none>\",\"<none>\"]");
    check_row(false, columns, "{\"spec\":{\"type\":\"ExternalName\",\"externalName\":\"a.b\"}}",
              "[\"a.b\",\"<none>\",\"<none>\"]");
}

KB_TEST(columns, event_cells)
{
    static const char columns[] =
        "[{\"cell\":\"event-last-seen\"},{\"cell\":\"event-object\"},{\"cell\":\"event-source\"},{"
        "\"cell\":\"trimmed\",\"path\":\".message\"},{\"cell\":\"event-first-seen\"},{\"cell\":"
        "\"event-count\"}]";
    check_row(
        false, columns,
        "{\"involvedObject\":{\"kind\":\"ReplicaSet\",\"name\":\"web\"},\"message\":\" hi\\n\","
        "\"source\":{\"component\":\"kubelet\",\"host\":\"n1\"},\"firstTimestamp\":"
        "\"2026-01-02T02:04:05Z\",\"lastTimestamp\":\"2026-01-02T03:04:00Z\",\"count\":7}",
        "[\"5s\",\"replicaset/web\",\"kubelet, n1\",\"hi\",\"60m\",7]");
    check_row(false, columns,
              "{\"involvedObject\":{\"kind\":\"Pod\"},\"eventTime\":\"2026-01-02T03:03:05.5Z\","
              "\"reportingComponent\":\"x\"}",
              "[\"59s\",\"pod\",\"x\",\"\",\"59s\",1]");
    check_row(
        false, columns,
        "{\"eventTime\":\"2026-01-02T03:03:05Z\",\"series\":{\"count\":4,\"lastObservedTime\":"
        "\"2026-01-02T03:04:05Z\"}}",
        "[\"0s\",\"\",\"\",\"\",\"60s\",4]");
}

KB_TEST(columns, common_cells)
{
    check_row(
        false,
        "[{\"cell\":\"ready-of\",\"path\":\".status.readyReplicas\",\"of\":\".spec.replicas\"},"
        "{\"cell\":\"integer\",\"path\":\".status.none\"},{\"cell\":\"join\",\"path\":"
        "\".spec.c[*].name\"},{\"cell\":\"label-selector\",\"path\":\".spec.selector\"},{"
        "\"cell\":\"count\",\"paths\":[\".a\",\".b\"]},{\"cell\":\"age\"}]",
        "{\"spec\":{\"replicas\":3,\"c\":[{\"name\":\"x\"},{\"name\":\"y\"}],\"selector\":{"
        "\"matchLabels\":{\"app\":\"web\"},\"matchExpressions\":[{\"key\":\"z\",\"operator\":"
        "\"In\",\"values\":[\"q\",\"p\"]},{\"key\":\"b\",\"operator\":\"DoesNotExist\"}]}},"
        "\"status\":{\"readyReplicas\":2},\"a\":{\"k\":1,\"l\":2},\"b\":[0]}",
        "[\"2/3\",0,\"x,y\",\"app=web,!b,z in (p,q)\",3,\"<unknown>\"]");
    check_row(false, "[]", "{\"metadata\":{\"name\":\"n\",\"creationTimestamp\":\"" NOW "\"}}",
              "[\"n\",\"" NOW "\"]");
}

KB_TEST(columns, user_defined_columns)
{
    check_row(
        true,
        "[{\"name\":\"A\",\"type\":\"string\",\"jsonPath\":\".spec.a\"},{\"name\":\"B\","
        "\"type\":\"integer\",\"jsonPath\":\".spec.b\"},{\"name\":\"C\",\"type\":\"boolean\","
        "\"jsonPath\":\".spec.c\"},{\"name\":\"D\",\"type\":\"date\",\"jsonPath\":\".spec.d\"},"
        "{\"name\":\"E\",\"type\":\"string\",\"jsonPath\":\".spec.e\"},{\"name\":\"F\",\"type\":"
        "\"string\",\"jsonPath\":\".spec.f\"},{\"name\":\"G\",\"type\":\"number\",\"jsonPath\":"
        "\".spec.g\"}]",
        "{\"metadata\":{\"name\":\"n\"},\"spec\":{\"a\":12,\"b\":3,\"c\":true,\"d\":"
        "\"2026-01-02T01:04:05Z\",\"f\":[1,\"x\"],\"g\":1.5}}",
        "[\"n\",\"12\",3,true,\"120m\",null,\"[1,\\\"x\\\"]\",1.5]");
    check_row(true, "[]", "{\"metadata\":{\"name\":\"n\",\"creationTimestamp\":\"" NOW "\"}}",
              "[\"n\",\"0s\"]");
}

KB_TEST(columns, an_unknown_cell_is_refused)
{
    KB_AUTO(kb_doc_destroy) struct kb_doc *defs = json("[{\"name\":\"X\",\"cell\":\"no-such\"}]");
    struct kb_columns *columns = NULL;
    struct kb_err err = {0};
    KB_CHECK(kb_columns_new(kb_doc_root(defs), &columns, &err) == -KB_EINVAL);
    KB_CHECK(columns == NULL);
    KB_CHECK_STR(err.text, "column 'X': unknown cell 'no-such'");
}

KB_TEST(columns, definitions_carry_what_a_table_shows)
{
    KB_AUTO(kb_doc_destroy)
    struct kb_doc *defs = json("[{\"name\":\"Name\",\"type\":\"string\",\"format\":\"name\","
                               "\"cell\":\"name\",\"description\":\"d\",\"priority\":1}]");
    KB_AUTO(kb_columns_destroy) struct kb_columns *columns = NULL;
    KB_AUTO(kb_w_finish) struct kb_w w = {0};
    KB_AUTO(kb_buf_finish) struct kb_buf out = {0};
    struct kb_err err = {0};
    KB_CHECK_OK(kb_columns_new(kb_doc_root(defs), &columns, &err), &err);
    KB_CHECK_U64(kb_columns_count(columns), ==, 1);
    kb_columns_definitions(columns, &w);
    kb_json_write(&out, kb_w_val(&w), 0);
    KB_CHECK_STR(out.p, "[{\"name\":\"Name\",\"type\":\"string\",\"format\":\"name\","
                        "\"description\":\"d\",\"priority\":1}]");
}

KB_TEST(columns, ages)
{
    static const struct {
        int64_t seconds;
        const char *want;
    } cases[] = {
        {-2, "<invalid>"},  {-1, "0s"},       {0, "0s"},           {119, "119s"},
        {120, "2m"},        {150, "2m30s"},   {599, "9m59s"},      {600, "10m"},
        {10799, "179m"},    {10800, "3h"},    {11000, "3h3m"},     {28800, "8h"},
        {172799, "47h"},    {172800, "2d"},   {180000, "2d2h"},    {691200, "8d"},
        {63071999, "729d"}, {63072000, "2y"}, {64000000, "2y10d"}, {252288000, "8y"},
    };
    for (size_t i = 0; i < KB_COUNT(cases); i++) {
        char text[KB_AGE_BYTES];
        kb_age_format(cases[i].seconds * 1000000, text);
        KB_CHECK_STR(text, cases[i].want);
    }
}

static bool collect(void *context, kb_val val)
{
    struct kb_buf *out = context;
    kb_buf_puts(out, out->n > 0 ? " " : "");
    kb_json_write(out, val, 0);
    return true;
}

KB_TEST(jsonpath, walks)
{
    static const struct {
        const char *path, *want;
    } cases[] = {
        {".a.b", "1"},
        {"{.a.b}", "1"},
        {"a.b", "1"},
        {"$.a.b", "1"},
        {".l[0].n", "\"x\""},
        {".l[-1].n", "\"z\""},
        {".l[*].n", "\"x\" \"y\" \"z\""},
        {".l[0:2].n", "\"x\" \"y\""},
        {".l[1:].n", "\"y\" \"z\""},
        {".l[:-1].n", "\"x\" \"y\""},
        {".l[9].n", ""},
        {".l[?(@.n==\"y\")].v", "2"},
        {".l[?(@.n == 'y')].v", "2"},
        {".l[?(@.v>1)].n", "\"y\" \"z\""},
        {".l[?(@.v<=2)].n", "\"x\" \"y\""},
        {".l[?(@.t)].n", "\"z\""},
        {".l[?(@.t==true)].n", "\"z\""},
        {".l[?(@.n!=\"y\")].v", "1 3"},
        {".m['a.b/c']", "5"},
        {".m.a\\.b/c", "5"},
        {".m[\"a.b/c\"]", "5"},
        {".a.*", "1 null"},
        {".none.x", ""},
        {".a.b.c", ""},
    };
    KB_AUTO(kb_doc_destroy)
    struct kb_doc *doc =
        json("{\"a\":{\"b\":1,\"z\":null},\"l\":[{\"n\":\"x\",\"v\":1},{\"n\":\"y\","
             "\"v\":2},{\"n\":\"z\",\"v\":3,\"t\":true}],\"m\":{\"a.b/c\":5}}");
    for (size_t i = 0; i < KB_COUNT(cases); i++) {
        KB_AUTO(kb_jsonpath_destroy) struct kb_jsonpath *path = NULL;
        KB_AUTO(kb_buf_finish) struct kb_buf out = {0};
        struct kb_err err = {0};
        KB_CHECK_OK(kb_jsonpath_new(kb_str_of(cases[i].path), &path, &err), &err);
        kb_jsonpath_each(path, kb_doc_root(doc), collect, &out);
        KB_CHECK_STR(out.p ? out.p : "", cases[i].want);
    }
}

KB_TEST(jsonpath, refuses_what_it_cannot_walk)
{
    static const char *const cases[] = {
        ".a..b", ".a[", ".a['x", ".a[x]", ".a[?(@.x==)]", ".a[?(x)]", ".a[?(@.x", ".a.", "[1",
    };
    for (size_t i = 0; i < KB_COUNT(cases); i++) {
        struct kb_jsonpath *path = NULL;
        struct kb_err err = {0};
        if (kb_jsonpath_new(kb_str_of(cases[i]), &path, &err) == 0)
            kb_test_fail(__FILE__, __LINE__, "'%s' was accepted", cases[i]);
    }
}
