/* Traces as files say them: what is read, and what is said of mistakes. */
#include "actors/scheduler/sim/trace.h"
#include "tests/lib/test.h"

#include <stdlib.h>

static struct kb_err err;

static int parse(struct kb_trace *t, enum kb_trace_format format, const char *text)
{
    err = (struct kb_err){0};
    return kb_trace_parse(t, format, kb_str_of(text), "f", KB_TRACE_BOTH, &err);
}

KB_TEST(trace_csv, columns_are_found_by_name)
{
    KB_AUTO(kb_trace_finish) struct kb_trace t = {0};
    KB_CHECK_OK(parse(&t, KB_TRACE_CSV,
                      "model,cpu_milli,sn,memory_mib,x,gpu\r\nT4,64000,n1,1024,,2\r\n\r\n"),
                &err);
    KB_CHECK_OK(parse(&t, KB_TRACE_CSV,
                      "name,cpu_milli,memory_mib,num_gpu,gpu_milli,gpu_spec,creation_time,"
                      "deletion_time,scheduled_time\n"
                      "\"p \"\"1\"\"\",500,64.5,1,460,\"T4|A10\",10,100,20\n"
                      "p2,500,64,4,460,,11,,\n"),
                &err);
    KB_CHECK_U64(t.nodes_n, ==, 1);
    kb_val node = kb_doc_root(t.nodes[0].doc), have = kb_val_at(node, "status.allocatable");
    KB_CHECK_STR(t.nodes[0].name, "n1");
    KB_CHECK(kb_str_is(kb_val_str(kb_val_get(have, "cpu")), "64000m"));
    KB_CHECK(kb_str_is(kb_val_str(kb_val_get(have, "alibabacloud.com/gpu-count")), "2"));
    KB_CHECK_STR(t.pods[0].key, "pods/default/p \"1\"");
    KB_CHECK_I64(t.pods[0].arrive_ms, ==, 10000);
    KB_CHECK_I64(t.pods[0].run_ms, ==, 80000);
    KB_CHECK_I64(t.pods[1].run_ms, ==, -1);
    kb_val a = kb_val_at(kb_doc_root(t.pods[0].doc), "metadata.annotations");
    KB_CHECK(kb_str_is(kb_val_str(kb_val_get(a, "alibabacloud.com/gpu-milli")), "460"));
    KB_CHECK(kb_str_is(kb_val_str(kb_val_get(a, "alibabacloud.com/gpu-card-model")), "T4|A10"));
    a = kb_val_at(kb_doc_root(t.pods[1].doc), "metadata.annotations");
    KB_CHECK(kb_str_is(kb_val_str(kb_val_get(a, "alibabacloud.com/gpu-milli")), "1000"));
}

KB_TEST(trace_csv, pods_without_times_come_a_second_apart_and_stay)
{
    KB_AUTO(kb_trace_finish) struct kb_trace t = {0};
    KB_CHECK_OK(parse(&t, KB_TRACE_CSV, "name,cpu_milli,memory_mib\na,1,1\nb,1,1\n"), &err);
    KB_CHECK(!t.timed);
    KB_CHECK_I64(t.pods[1].arrive_ms, ==, 1000);
    KB_CHECK_I64(t.pods[1].run_ms, ==, -1);
}

KB_TEST(trace_csv, a_mistake_is_named_with_file_and_line)
{
    static const struct {
        const char *text, *says;
    } cases[] = {
        {"", "f: empty"},
        {"name,cpu_milli\n", "f:1: the first line names no column 'memory_mib'"},
        {"cpu_milli,memory_mib\n",
         "f:1: the first line names no column 'sn' (of nodes) or 'name' (of pods)"},
        {"sn,cpu_milli,memory_mib\nn,1,1\nm,x,1\n", "f:3: not an amount: 'x'"},
        {"sn,cpu_milli,memory_mib\nn,-1,1\n", "f:2: not an amount: '-1'"},
        {"name,cpu_milli,memory_mib\np,1\n", "f:2: not an amount: ''"},
        {"sn,cpu_milli,memory_mib\nn,inf,1\n", "f:2: not an amount: 'inf'"},
        {"sn,cpu_milli,memory_mib,gpu\nn,1,1,17\n", "f:2: not an amount: '17'"},
        {"sn,cpu_milli,memory_mib\n,1,1\n", "f:2: not a name: ''"},
        {"sn,cpu_milli,memory_mib\na/b,1,1\n", "f:2: not a name: 'a/b'"},
        {"name,cpu_milli,memory_mib,creation_time\np,1,1,soon\n",
         "f:2: not a number of seconds: 'soon'"},
        {"sn,cpu_milli,memory_mib\n\"n,1,1\n",
         "f:2: a quote is not closed, or something stands behind it: '\"n,1,1'"},
    };
    for (size_t i = 0; i < KB_COUNT(cases); i++) {
        KB_AUTO(kb_trace_finish) struct kb_trace t = {0};
        KB_CHECK(parse(&t, KB_TRACE_CSV, cases[i].text) < 0);
        KB_CHECK_STR(err.text, cases[i].says);
    }
}

KB_TEST(trace_csv, nodes_where_pods_are_wanted_are_a_mistake)
{
    KB_AUTO(kb_trace_finish) struct kb_trace t = {0};
    KB_CHECK(kb_trace_parse(&t, KB_TRACE_CSV, kb_str_of("sn,cpu_milli,memory_mib\n"), "f",
                            KB_TRACE_PODS, &err) < 0);
    KB_CHECK_STR(err.text, "f: a list of nodes, where pods are wanted");
}

KB_TEST(trace_yaml, objects_and_what_makes_pods)
{
    KB_AUTO(kb_trace_finish) struct kb_trace t = {0};
    KB_CHECK_OK(
        parse(&t, KB_TRACE_YAML,
              "kind: List\nitems:\n- {kind: Node, metadata: {name: n1}}\n"
              "- {kind: ConfigMap, metadata: {name: c}}\n"
              "- {kind: Service, metadata: {name: s}}\n---\n"
              "kind: Deployment\nmetadata: {name: web, namespace: shop}\n"
              "spec: {replicas: 2, template: {spec: {containers: [{name: c}]}}}\n---\n"
              "kind: Pod\nmetadata: {name: p, annotations: {sim.kubus.dev/arrive-seconds: '3.5', "
              "sim.kubus.dev/run-seconds: '60'}}\n"),
        &err);
    KB_CHECK_U64(t.nodes_n, ==, 1);
    KB_CHECK_U64(t.pods_n, ==, 3);
    KB_CHECK_U64(t.objects_n, ==, 1);
    KB_CHECK_STR(t.objects[0].key, "services/default/s");
    KB_CHECK(kb_str_is(kb_val_str_at(kb_doc_root(t.pods[0].doc), "metadata.namespace"), "shop"));
    KB_CHECK_STR(t.pods[1].key, "pods/shop/web-1");
    KB_CHECK_I64(t.pods[1].arrive_ms, ==, 1000);
    KB_CHECK_I64(t.pods[2].arrive_ms, ==, 3500);
    KB_CHECK_I64(t.pods[2].run_ms, ==, 60000);
}

KB_TEST(trace_yaml, objects_are_completed_as_a_cluster_would_store_them)
{
    KB_AUTO(kb_trace_finish) struct kb_trace t = {0};
    KB_CHECK_OK(
        parse(&t, KB_TRACE_YAML,
              "kind: NodeList\nitems:\n- metadata: {name: n1}\n  status: {capacity: {cpu: 4, "
              "pods: 10}}\n---\n"
              "kind: Job\nmetadata: {name: j, annotations: {sim.kubus.dev/arrive-seconds: "
              "'7'}}\nspec: {template: {metadata: {annotations: "
              "{sim.kubus.dev/run-seconds: '5'}}, spec: {containers: [{name: c, resources: "
              "{limits: {nvidia.com/gpu: 1}}}]}}}\n"),
        &err);
    kb_val node = kb_doc_root(t.nodes[0].doc), pod = kb_doc_root(t.pods[0].doc);
    kb_val containers = kb_val_at(pod, "spec.containers");
    KB_CHECK(kb_str_is(kb_val_str_at(node, "status.allocatable.cpu"), "4"));
    struct kb_iter it = kb_iter(containers);
    KB_CHECK(kb_iter_next(&it));
    kb_val requests = kb_val_at(it.val, "resources.requests");
    KB_CHECK(kb_str_is(kb_val_str(kb_val_get(requests, "nvidia.com/gpu")), "1"));
    KB_CHECK(!kb_val_present(kb_val_at(pod, "spec.schedulerName")));
    KB_CHECK_I64(t.pods[0].arrive_ms, ==, 7000);
    KB_CHECK_I64(t.pods[0].run_ms, ==, 5000);
    KB_CHECK(parse(&t, KB_TRACE_YAML,
                   "kind: Pod\nmetadata: {name: p}\nspec: {containers: [{name: c, resources: "
                   "{requests: {cpu: lots}}}]}\n") < 0);
    KB_CHECK(kb_str_starts(kb_str_of(err.text), "f:1: quantities must match"));
}

KB_TEST(trace_yaml, mistakes_are_named)
{
    KB_AUTO(kb_trace_finish) struct kb_trace t = {0};
    KB_CHECK(parse(&t, KB_TRACE_YAML, "kind: Node\n---\n- a\n") < 0);
    KB_CHECK_STR(err.text, "f:1: a node without metadata.name");
    KB_CHECK(parse(&t, KB_TRACE_YAML, "a: [\n") < 0);
    KB_CHECK(kb_str_starts(kb_str_of(err.text), "f: yaml: line 2"));
}

KB_TEST(trace_jsonl, objects_with_times_deletions_and_failures)
{
    KB_AUTO(kb_trace_finish) struct kb_trace t = {0};
    KB_CHECK_OK(parse(&t, KB_TRACE_JSONL,
                      "# a comment\n"
                      "{\"object\": {\"kind\": \"Node\", \"metadata\": {\"name\": \"n\"}}}\n\n"
                      "{\"at\": 1.5, \"run\": 20, \"object\": {\"kind\": \"Pod\", \"metadata\": "
                      "{\"name\": \"p\"}}}\n"
                      "{\"at\": 5, \"delete\": \"default/p\"}\n"
                      "{\"at\": 6, \"fail\": \"n\", \"for\": 60}\n"),
                &err);
    KB_CHECK_I64(t.pods[0].arrive_ms, ==, 1500);
    KB_CHECK_I64(t.pods[0].run_ms, ==, 20000);
    KB_CHECK_STR(t.faults[0].key, "pods/default/p");
    KB_CHECK_STR(t.faults[1].node, "n");
    KB_CHECK_I64(t.faults[1].for_ms, ==, 60000);
    KB_CHECK(parse(&t, KB_TRACE_JSONL, "\n{\"at\": 1}\n") < 0);
    KB_CHECK_STR(err.text, "f:2: a line has 'object', or 'at' with 'delete' or 'fail'");
    KB_CHECK(parse(&t, KB_TRACE_JSONL, "{\"at\": -1, \"delete\": \"x\"}\n") < 0);
    KB_CHECK_STR(err.text, "f:1: at, run and for are numbers of seconds");
}

KB_TEST(trace, names_are_checked_when_all_is_read)
{
    KB_AUTO(kb_trace_finish) struct kb_trace t = {0};
    KB_CHECK_OK(parse(&t, KB_TRACE_CSV, "sn,cpu_milli,memory_mib\nn,1,1\n"), &err);
    KB_CHECK_OK(
        parse(&t, KB_TRACE_CSV, "name,cpu_milli,memory_mib\np,1,1\np-2,1,1\np,1,1\np,1,1\n"), &err);
    KB_CHECK_OK(kb_trace_check(&t, &err), &err);
    KB_CHECK_STR(t.pods[0].key, "pods/default/p");
    KB_CHECK_STR(t.pods[2].key, "pods/default/p-3");
    KB_CHECK_STR(t.pods[3].key, "pods/default/p-4");
    KB_CHECK(parse(&t, KB_TRACE_JSONL, "{\"at\": 1, \"delete\": \"p\"}") < 0);
    KB_CHECK_STR(err.text, "f:1: a pod is named NAMESPACE/NAME");
    KB_CHECK_OK(parse(&t, KB_TRACE_JSONL, "{\"at\": 1, \"delete\": \"default/q\"}"), &err);
    KB_CHECK(kb_trace_check(&t, &err) < 0);
    KB_CHECK_STR(err.text, "there is no pod 'default/q', which is to be deleted");
}

KB_TEST(trace, a_node_that_stands_there_twice_or_fails_without_being_there_is_a_mistake)
{
    KB_AUTO(kb_trace_finish) struct kb_trace t = {0};
    KB_CHECK_OK(kb_trace_parse_fault(&t, "m@60", &err), &err);
    KB_CHECK_OK(parse(&t, KB_TRACE_CSV, "sn,cpu_milli,memory_mib\nn,1,1\n"), &err);
    KB_CHECK(kb_trace_check(&t, &err) < 0);
    KB_CHECK_STR(err.text, "there is no node 'm', which is to fail");
    KB_CHECK_OK(parse(&t, KB_TRACE_CSV, "sn,cpu_milli,memory_mib\nm,1,1\n"), &err);
    KB_CHECK_OK(kb_trace_check(&t, &err), &err);
    KB_CHECK_OK(parse(&t, KB_TRACE_CSV, "sn,cpu_milli,memory_mib\nn,1,1\n"), &err);
    KB_CHECK(kb_trace_check(&t, &err) < 0);
    KB_CHECK_STR(err.text, "the node 'n' is there twice");
}

KB_TEST(trace, a_failure_by_flag)
{
    KB_AUTO(kb_trace_finish) struct kb_trace t = {0};
    KB_CHECK_OK(kb_trace_parse_fault(&t, "n1@60", &err), &err);
    KB_CHECK_OK(kb_trace_parse_fault(&t, "n1@60+30.5", &err), &err);
    KB_CHECK_I64(t.faults[0].for_ms, ==, -1);
    KB_CHECK_I64(t.faults[1].for_ms, ==, 30500);
    KB_CHECK(kb_trace_parse_fault(&t, "n1", &err) < 0);
    KB_CHECK(kb_trace_parse_fault(&t, "n1@x", &err) < 0);
    KB_CHECK(kb_trace_parse_fault(&t, "@1", &err) < 0);
}
